"""Survival statistics of many small two-arm trials at once: log-rank test, Cox model, restricted mean.

lifelines analyses one trial; here arrays hold a trial in each row, because power needs thousands of them. The
tests compare every number with lifelines or statsmodels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

_NEWTON_STEPS = 30
_LARGEST_LOG_HAZARD_RATIO = 20.0  # beyond it the estimate is infinite: all events are in one arm


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
    r = _risk(time, event, treated)
    d, n, n1 = r.deaths * r.first, r.at_risk, r.at_risk_treated
    expected = d * n1 / n
    spread = np.divide(n - d, n - 1, out=np.zeros(n.shape), where=n > 1)
    variance = (expected * (1 - n1 / n) * spread).sum(axis=1)
    difference = (r.deaths_treated * r.first - expected).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        chi_square = difference**2 / variance
    return chi_square, stats.chi2.sf(chi_square, 1)


def cox(
    time: np.ndarray, event: np.ndarray, treated: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the logarithm of the hazard ratio, its standard error and Wald's p in each trial.

    Cox's model of one covariate, the arm, by Newton's method; ties by Efron. Parameters as for `logrank`.

    Returns
    -------
    log_hazard_ratio, standard_error, p : ndarray, shape (trials,)
        NaN where a trial has no finite estimate, because all events are in one arm.
    """
    r = _risk(time, event, treated)
    # Efron: the l-th of d tied events sees the tied ones with the weight 1 - l/d
    tied = r.rank / np.maximum(r.deaths, 1)
    weight_treated = (r.at_risk_treated - tied * r.deaths_treated) * r.event
    weight_control = (r.at_risk - r.at_risk_treated - tied * (r.deaths - r.deaths_treated)) * r.event
    weight_control = np.where(r.event, weight_control, 1.0)  # no event: share 0, no division by zero
    observed = (r.event & r.treated).sum(axis=1)
    beta = np.zeros(len(observed))
    information = np.zeros(len(observed))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for _ in range(_NEWTON_STEPS):
            weighted = weight_treated * np.exp(beta)[:, None]
            share = weighted / (weighted + weight_control)
            information = (share * (1 - share)).sum(axis=1)
            step = (observed - share.sum(axis=1)) / information
            beta = beta + np.clip(step, -2, 2)
            if not (np.abs(step) > 1e-12).any():
                break
        error = 1 / np.sqrt(information)
    events = r.event.sum(axis=1)
    finite = (observed > 0) & (observed < events) & (np.abs(beta) < _LARGEST_LOG_HAZARD_RATIO)
    beta, error = np.where(finite, beta, np.nan), np.where(finite, error, np.nan)
    return beta, error, 2 * stats.norm.sf(np.abs(beta / error))


def restricted_mean(time: np.ndarray, event: np.ndarray, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean event-free time up to a horizon, and its standard error (Greenwood), in each group.

    Parameters
    ----------
    time : ndarray, shape (groups, patients)
    event : ndarray of bool, shape (groups, patients)
    horizon : float
        Days.

    Returns
    -------
    mean, standard_error : ndarray, shape (groups,)
        Days. The last survival estimate is carried on to the horizon where follow-up ends earlier.
    """
    time = np.atleast_2d(np.asarray(time, dtype=np.float64))
    event = np.atleast_2d(event).astype(bool) & (time <= horizon)
    time = np.minimum(time, horizon)
    r = _risk(time, event, np.zeros(time.shape, dtype=bool))
    deaths = r.deaths * r.first
    survival = np.cumprod(1 - deaths / r.at_risk, axis=1)
    before = np.concatenate([np.ones((len(time), 1)), survival[:, :-1]], axis=1)
    gaps = np.diff(np.concatenate([np.zeros((len(time), 1)), r.time], axis=1), axis=1)
    rest = survival[:, -1] * (horizon - r.time[:, -1])
    area = before * gaps
    mean = area.sum(axis=1) + rest
    # area under the curve from each time on
    after = np.cumsum(area[:, ::-1], axis=1)[:, ::-1]
    after = np.concatenate([after[:, 1:], np.zeros((len(time), 1))], axis=1) + rest[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = after**2 * deaths / (r.at_risk * (r.at_risk - deaths))
    # where the last ones at risk all fail, no area is left behind
    return mean, np.sqrt(np.where(np.isfinite(terms), terms, 0.0).sum(axis=1))
