"""Survival statistics of many two-arm trials at once: log-rank test, Cox model, restricted mean.

Arrays hold a trial in each row, because power needs thousands of them; one trial is a row of its own. The
tests compare every number with lifelines, statsmodels or a likelihood written out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

_NEWTON_STEPS = 100
_HALVINGS = 60
_FARTHEST = 60.0  # no finite estimate of a log hazard ratio lies beyond, below a hundred million patients


@dataclass(frozen=True)
class _Risk:
    """Trials sorted by time; rows are trials, columns patients.

    ``first`` marks the first record of each distinct time, ``at_risk`` and ``deaths`` count the patients of
    this time (all, treated); ``rank`` numbers the events within a tie, from 0 on.
    """

    time: np.ndarray
    event: np.ndarray
    treated: np.ndarray
    first: np.ndarray
    at_risk: np.ndarray
    at_risk_treated: np.ndarray
    deaths: np.ndarray
    deaths_treated: np.ndarray
    rank: np.ndarray


def _risk(time: np.ndarray, event: np.ndarray, treated: np.ndarray) -> _Risk:
    time, event, treated = (np.atleast_2d(values) for values in (time, event, treated))
    event, treated = event.astype(bool), treated.astype(bool)
    order = np.lexsort((~event, time), axis=-1)  # at equal times events first
    time, event, treated = (np.take_along_axis(values, order, axis=1) for values in (time, event, treated))
    trials, n = time.shape
    first = np.ones((trials, n), dtype=bool)
    first[:, 1:] = time[:, 1:] != time[:, :-1]
    place = np.broadcast_to(np.arange(n), (trials, n))
    start = np.maximum.accumulate(np.where(first, place, 0), axis=1)
    last = np.ones((trials, n), dtype=bool)
    last[:, :-1] = first[:, 1:]
    stop = np.minimum.accumulate(np.where(last, place, n)[:, ::-1], axis=1)[:, ::-1]

    def until(values: np.ndarray) -> np.ndarray:
        """Return sums over all records before each, with one more column for all."""
        return np.concatenate([np.zeros((trials, 1), dtype=np.int64), np.cumsum(values, axis=1)], axis=1)

    events, treated_before = until(event), until(treated)
    treated_events = until(event & treated)

    def within(sums: np.ndarray) -> np.ndarray:
        return np.take_along_axis(sums, stop + 1, axis=1) - np.take_along_axis(sums, start, axis=1)

    return _Risk(
        time, event, treated, first,
        at_risk=n - start,
        at_risk_treated=treated_before[:, -1:] - np.take_along_axis(treated_before, start, axis=1),
        deaths=within(events), deaths_treated=within(treated_events),
        rank=place - start,
    )  # fmt: skip


def logrank(time: np.ndarray, event: np.ndarray, treated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return chi-square and p of the log-rank test in each trial.

    Parameters
    ----------
    time : ndarray, shape (trials, patients)
        Days to event or censoring.
    event, treated : ndarray of bool, shape (trials, patients)

    Returns
    -------
    chi_square, p : ndarray, shape (trials,)
        NaN where a trial has no event.
    """
    difference, variance = logrank_sums(time, event, treated)
    with np.errstate(invalid="ignore", divide="ignore"):
        chi_square = difference**2 / variance
    return chi_square, stats.chi2.sf(chi_square, 1)


def logrank_sums(time: np.ndarray, event: np.ndarray, treated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return events under the treatment beyond the expected ones, and their variance, in each trial.

    Parameters are those of `logrank`.
    """
    r = _risk(time, event, treated)
    d, n, n1 = r.deaths * r.first, r.at_risk, r.at_risk_treated
    expected = d * n1 / n
    spread = np.divide(n - d, n - 1, out=np.zeros(n.shape), where=n > 1)
    variance = (expected * (1 - n1 / n) * spread).sum(axis=1)
    return (r.deaths_treated * r.first - expected).sum(axis=1), variance


def cox(
    time: np.ndarray, event: np.ndarray, treated: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the logarithm of the hazard ratio, its standard error and Wald's p in each trial.

    Cox's model of one covariate, the arm, by Newton's method; ties by Efron. Parameters as for `logrank`.

    Returns
    -------
    log_hazard_ratio, standard_error, p : ndarray, shape (trials,)
        The estimate is infinite where, of all events with patients at risk in both arms, all are in one arm
        (monotone likelihood); it then has neither a standard error nor a p of Wald, both are NaN. All are NaN
        where there is no such event.
    """
    return cox_with_limits(time, event, treated)[:3]


def hazard_ratio_limits(
    time: np.ndarray, event: np.ndarray, treated: np.ndarray, *, alpha: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval of the hazard ratio in each trial.

    Parameters
    ----------
    time, event, treated
        As for `logrank`.
    alpha : float
        Intervals cover ``1 - alpha``.

    Returns
    -------
    low, high : ndarray, shape (trials,)
        Wald's limits where the estimate is finite. Where it is 0 or infinite, from there to where twice the
        logarithm of the partial likelihood has fallen by the quantile of chi-square (profile likelihood); NaN
        where there is no estimate.
    """
    return cox_with_limits(time, event, treated, alpha=alpha)[3:]


def cox_with_limits(
    time: np.ndarray, event: np.ndarray, treated: np.ndarray, *, alpha: float = 0.05
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return what `cox` and `hazard_ratio_limits` return, of one fit."""
    terms = _Terms.of(_risk(time, event, treated))
    beta, error = terms.fit()
    with np.errstate(invalid="ignore"):
        p = 2 * stats.norm.sf(np.abs(beta / error))
    reach = stats.norm.isf(alpha / 2) * error
    low, high = np.exp(beta - reach), np.exp(beta + reach)
    drop = 0.5 * stats.chi2.isf(alpha, 1)
    for sign in (-1.0, 1.0):
        rows = np.flatnonzero(beta == sign * np.inf)
        if len(rows):
            limit = np.exp(sign * terms.fallen(rows, drop, sign))
            low[rows], high[rows] = (limit, np.inf) if sign > 0 else (0.0, limit)
    return beta, error, p, low, high


def proportional_hazards(
    time: np.ndarray, event: np.ndarray, treated: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return chi-square and p of the score test against a hazard ratio that changes with the rank of time.

    The sum of Schoenfeld's residuals times the rank of their event, with its variance from the information;
    ties share their middle rank, so that the order of patients does not matter. Parameters as for `logrank`.

    Returns
    -------
    chi_square, p : ndarray, shape (trials,)
        NaN where the hazard ratio is not finite, and where no two informative events differ in time.

    References
    ----------
    P. M. Grambsch, T. M. Therneau, Proportional hazards tests and diagnostics based on weighted residuals,
    Biometrika 81:515 (1994).
    """
    r = _risk(time, event, treated)
    terms = _Terms.of(r)
    beta, error = terms.fit()
    share = terms.shares(np.where(np.isfinite(error), beta, 0.0))
    spread = share * (1 - share)
    before = np.cumsum(r.event, axis=1) - (r.rank + 1) * r.event  # events at earlier times, at an event
    rank = np.where(r.event, before + (r.deaths + 1) / 2, 0.0)
    score = (rank * (terms.treated - share)).sum(axis=1)
    total = spread.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (rank * spread).sum(axis=1) / total
        information = ((rank - mean[:, None]) ** 2 * spread).sum(axis=1)
        chi_square = score**2 / information
    chi_square[~np.isfinite(error) | (information <= 1e-12 * total)] = np.nan
    return chi_square, stats.chi2.sf(chi_square, 1)


@dataclass(frozen=True)
class _Terms:
    """The terms of Efron's partial likelihood, one per event; those with one arm at risk alone are zero.

    ``treated`` marks the events of the treatment arm, ``odds`` is its weight at risk over that of the
    control.
    """

    counts: np.ndarray
    treated: np.ndarray
    odds: np.ndarray

    @classmethod
    def of(cls, r: _Risk) -> _Terms:
        # Efron: the l-th of d tied events sees the tied ones with the weight 1 - l/d
        tied = r.rank / np.maximum(r.deaths, 1)
        at_risk_control, deaths_control = r.at_risk - r.at_risk_treated, r.deaths - r.deaths_treated
        counts = r.event & (r.at_risk_treated > 0) & (at_risk_control > 0)
        treated = (r.at_risk_treated - tied * r.deaths_treated) * counts
        control = np.where(counts, at_risk_control - tied * deaths_control, 1.0)
        return cls(counts, counts & r.treated, treated / control)

    def shares(self, beta: np.ndarray) -> np.ndarray:
        """Return the probability that the event is one of the treatment arm, at log hazard ratios."""
        weighted = self.odds * np.exp(beta)[:, None]
        return weighted / (1 + weighted)

    def fit(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the log hazard ratios and their standard errors; see `cox`."""
        observed, total = self.treated.sum(axis=1), self.counts.sum(axis=1)
        finite = (observed > 0) & (observed < total)
        beta, information = np.zeros(len(observed)), np.full(len(observed), np.nan)
        low, high = np.full(len(observed), -_FARTHEST), np.full(len(observed), _FARTHEST)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for _ in range(_NEWTON_STEPS):
                share = self.shares(beta)
                information = (share * (1 - share)).sum(axis=1)
                miss = observed - share.sum(axis=1)
                low, high = np.where(miss >= 0, beta, low), np.where(miss <= 0, beta, high)
                after = beta + miss / information
                # a step out of the bracket is halved instead: Newton's method alone may run away
                after = np.where((after >= low) & (after <= high), after, 0.5 * (low + high))
                moved = np.abs(after - beta)
                beta = np.where(finite, after, beta)
                if not (moved[finite] > 1e-12).any():
                    break
            error = 1 / np.sqrt(information)
        endless = np.where(total == 0, np.nan, np.where(observed == 0, -np.inf, np.inf))
        return np.where(finite, beta, endless), np.where(finite, error, np.nan)

    def fallen(self, rows: np.ndarray, drop: float, sign: float) -> np.ndarray:
        """Return where the log likelihood of an infinite estimate has fallen by ``drop``, times ``sign``."""
        odds, counts = self.odds[rows], self.counts[rows]
        with np.errstate(divide="ignore"):
            factors = np.where(counts, odds if sign < 0 else 1 / odds, 0.0)
        low, high = np.full(len(rows), -_FARTHEST), np.full(len(rows), _FARTHEST)
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            below = np.log1p(factors * np.exp(middle)[:, None]).sum(axis=1) < drop
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return -0.5 * (low + high)


def followed_to(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Return to which day the survival of each group is known.

    Parameters
    ----------
    time : ndarray, shape (groups, patients)
    event : ndarray of bool, shape (groups, patients)

    Returns
    -------
    ndarray, shape (groups,)
        The last follow-up; infinite where everyone has had the event, since the curve then stays at zero; NaN
        without patients. A curve that falls to zero because the last one at risk has the event, with others
        lost before, says nothing of later days.
    """
    time, event = np.atleast_2d(np.asarray(time, dtype=np.float64)), np.atleast_2d(event).astype(bool)
    if not time.shape[1]:
        return np.full(len(time), np.nan)
    return np.where(event.all(axis=1), np.inf, time.max(axis=1))


def restricted_mean(
    time: np.ndarray, event: np.ndarray, horizon: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean event-free time up to a horizon, and its standard error (Greenwood), in each group.

    Parameters
    ----------
    time : ndarray, shape (groups, patients)
    event : ndarray of bool, shape (groups, patients)
    horizon : float or ndarray, shape (groups,)
        Days.

    Returns
    -------
    mean, standard_error : ndarray, shape (groups,)
        Days. NaN where the horizon lies beyond what `followed_to` returns. The error is 0 where nobody has an
        event before the horizon, or all have it at once; it then says nothing.
    """
    time = np.atleast_2d(np.asarray(time, dtype=np.float64))
    event = np.atleast_2d(event).astype(bool)
    horizon = np.broadcast_to(np.asarray(horizon, dtype=np.float64), len(time))[:, None]
    if not time.shape[1]:
        return np.full(len(time), np.nan), np.full(len(time), np.nan)
    known = horizon[:, 0] <= followed_to(time, event)
    event = event & (time <= horizon)
    time = np.minimum(time, horizon)
    r = _risk(time, event, np.zeros(time.shape, dtype=bool))
    deaths = r.deaths * r.first
    survival = np.cumprod(1 - deaths / r.at_risk, axis=1)
    before = np.concatenate([np.ones((len(time), 1)), survival[:, :-1]], axis=1)
    gaps = np.diff(np.concatenate([np.zeros((len(time), 1)), r.time], axis=1), axis=1)
    rest = survival[:, -1] * (horizon[:, 0] - r.time[:, -1])
    area = before * gaps
    mean = area.sum(axis=1) + rest
    # area under the curve from each time on
    after = np.cumsum(area[:, ::-1], axis=1)[:, ::-1]
    after = np.concatenate([after[:, 1:], np.zeros((len(time), 1))], axis=1) + rest[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = after**2 * deaths / (r.at_risk * (r.at_risk - deaths))
    # where the last ones at risk all fail, no area is left behind
    error = np.sqrt(np.where(np.isfinite(terms), terms, 0.0).sum(axis=1))
    return np.where(known, mean, np.nan), np.where(known, error, np.nan)


def mean_difference(
    time: np.ndarray, event: np.ndarray, treated: np.ndarray, horizon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the difference of restricted means, treatment minus control, in each trial.

    Parameters
    ----------
    time : ndarray, shape (trials, patients)
    event, treated : ndarray of bool, shape (trials, patients)
    horizon : float
        Days.

    Returns
    -------
    difference, standard_error, horizon : ndarray, shape (trials,)
        Days. The means are restricted to the horizon, or to the last follow-up of the arm that is followed
        for less time where that is earlier. All NaN where an arm has no patient; the standard error is NaN
        where an arm has one patient, and where nobody has an event before the horizon: nothing tells how far
        the difference may be off.
    """
    time = np.atleast_2d(np.asarray(time, dtype=np.float64))
    event, treated = np.atleast_2d(event).astype(bool), np.atleast_2d(treated).astype(bool)
    arms = [list(_by_size(time, event, group)) for group in (~treated, treated)]
    reach = np.full((2, len(time)), np.nan)
    for k, groups in enumerate(arms):
        for rows, days, hit in groups:
            reach[k, rows] = followed_to(days, hit)
    until = np.minimum(horizon, reach.min(axis=0))
    means, errors = np.full((2, len(time)), np.nan), np.full((2, len(time)), np.nan)
    for k, groups in enumerate(arms):
        for rows, days, hit in groups:
            means[k, rows], errors[k, rows] = restricted_mean(days, hit, until[rows])
            if days.shape[1] < 2:
                errors[k, rows] = np.nan
    error = np.hypot(errors[0], errors[1])
    return means[1] - means[0], np.where(error > 0, error, np.nan), until


def _by_size(
    time: np.ndarray, event: np.ndarray, group: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield rows of trials whose arm has the same size, with times and events of its patients."""
    sizes = group.sum(axis=1)
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        members = np.nonzero(group[rows])[1].reshape(len(rows), size)
        yield (
            rows,
            np.take_along_axis(time[rows], members, axis=1),
            np.take_along_axis(event[rows], members, axis=1),
        )
