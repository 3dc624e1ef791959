"""The efficacy-toxicity frontier: the single infusion over a range of doses, the measure of every schedule.

A schedule that lowers toxicity may do no more than a smaller single dose would. Hence the iso-toxic
comparison: what would the single dose with the same rate of severe CRS have achieved?
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from fastcart.checks import number
from fastcart.errors import InputError

DOSES = (3e5, 6e5, 1.2e6, 2.5e6, 5e6, 1e7, 2e7, 4e7, 7e7, 1e8, 1.5e8, 2.5e8, 5e8, 1e9, 2e9)
_LEVELLED = 0.02  # by how much the rate of severe CRS may fall at a higher dose
_SAME = 0.01  # rates of severe CRS that are taken for equal
_SPAN = 30.0  # ratio of doses of equal toxicity above which no dose is the iso-toxic one
JUDGED = ("CR90", "EFS730", "OS730", "crs4", "toxic_death")
RESAMPLES = 1000


def check_doses(doses: object) -> tuple[float, ...]:
    """Return the doses of a scan, ascending.

    Raises
    ------
    InputError
        For fewer than three doses, or one that is not positive.
    """
    listed = list(doses) if isinstance(doses, list | tuple) else []
    if len(listed) < 3:
        raise InputError("The frontier needs a list of at least three doses.")
    values = sorted(number(dose, "A dose of the frontier", positive=True) for dose in listed)
    if len(set(values)) < len(values):
        raise InputError("The doses of the frontier must differ.")
    return tuple(values)


def isotoxic(arms: pd.DataFrame, frontier: pd.DataFrame) -> pd.DataFrame:
    """Compare each arm with the single dose of equal toxicity.

    Parameters
    ----------
    arms : DataFrame
        Indexed by name; columns ``crs3`` and those of `JUDGED`, expected values.
    frontier : DataFrame
        The single infusion, a row per ``dose``, with the same columns.

    Returns
    -------
    DataFrame
        Indexed as ``arms``: ``dose`` (cells, whose single infusion has the arm's rate of severe CRS;
        interpolated in its logarithm), and for each judged endpoint the value on the frontier and
        ``gain_<endpoint>``, the arm minus the frontier. The curve may rise with the dose or fall. NaN where
        the arm is outside the scanned range, where doses far apart are equally toxic, and all over where
        the curve turns.
    """
    scan = frontier.sort_values("dose")
    judged = ["crs3", *JUDGED]
    at = at_equal_toxicity(
        arms["crs3"].to_numpy(dtype=np.float64),
        scan["dose"].to_numpy(dtype=np.float64),
        scan[judged].to_numpy(dtype=np.float64),
    )
    result = pd.DataFrame(index=arms.index)
    result["crs3"] = arms["crs3"]
    result["dose"] = 10 ** at[:, 0]
    for k, name in enumerate(JUDGED, start=1):
        result[f"frontier_{name}"] = at[:, k]
        result[f"gain_{name}"] = arms[name] - at[:, k]
    return result


def at_equal_toxicity(wanted: np.ndarray, doses: np.ndarray, scan: np.ndarray) -> np.ndarray:
    """Return the single doses that have rates of severe CRS, and what they achieve.

    Parameters
    ----------
    wanted : ndarray, shape (arms,)
        Rates of severe CRS.
    doses : ndarray, shape (doses,)
        Ascending.
    scan : ndarray, shape (doses, 1 + endpoints)
        Severe CRS and other endpoints of the single infusion.

    Returns
    -------
    ndarray, shape (arms, 1 + endpoints)
        The logarithm to base 10 of the dose, and the endpoints there; NaN as for `isotoxic`.
    """
    toxicity, order = _levelled(scan[:, 0])
    doses, scan = doses[order], scan[order]
    _, known = _places(wanted, doses, toxicity)
    toxicity, rows = np.unique(toxicity, return_index=True)
    columns = [np.log10(doses), *scan[:, 1:].T]
    found = np.column_stack(
        [np.interp(wanted, toxicity, values[rows], left=np.nan, right=np.nan) for values in columns]
    )
    return np.where(known[:, None], found, np.nan)


def _levelled(rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rates of severe CRS that do not fall, and the order of the doses in which they are so.

    Rates rise with the dose, or fall with it where more cells are done sooner with the burden; small failures
    of either, by a finite population, are levelled. Of a curve that turns, the rates are NaN.
    """
    for order in (np.arange(len(rates)), np.arange(len(rates))[::-1]):
        levelled = np.maximum.accumulate(rates[order])
        if float((levelled - rates[order]).max()) <= _LEVELLED:
            return levelled, order
    return np.full(len(rates), np.nan), np.arange(len(rates))


def _places(wanted: np.ndarray, doses: np.ndarray, toxicity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which rates doses far apart have, and of which one dose can be told."""
    equal = np.abs(toxicity - wanted[:, None]) <= _SAME
    span = np.where(equal, doses, 0.0).max(axis=1) / np.where(equal, doses, np.inf).min(axis=1)
    apart = span > _SPAN
    return apart, ~apart & (wanted >= toxicity[0]) & (wanted <= toxicity[-1])


def falls(frontier: pd.DataFrame) -> bool:
    """Return whether severe CRS falls with the dose of the single infusion.

    Parameters
    ----------
    frontier : DataFrame
        As for `isotoxic`.
    """
    rates = frontier.sort_values("dose")["crs3"].to_numpy(dtype=np.float64)
    toxicity, order = _levelled(rates)
    return bool(np.isfinite(toxicity).all() and order[0] != 0)


def why_incomparable(crs3: float, frontier: pd.DataFrame) -> str:
    """Say why no single dose is the one of equal toxicity, where `isotoxic` finds none.

    Parameters
    ----------
    crs3 : float
        The rate of severe CRS of an arm.
    frontier : DataFrame
        As for `isotoxic`.
    """
    scan = frontier.sort_values("dose")
    toxicity, order = _levelled(scan["crs3"].to_numpy(dtype=np.float64))
    if np.isnan(toxicity).any():
        return "severe CRS turns with the single dose, so that several doses may have the same rate of it"
    apart, _ = _places(np.array([crs3]), scan["dose"].to_numpy(dtype=np.float64)[order], toxicity)
    if apart[0]:
        return "single doses far apart have the same rate of severe CRS"
    return "no single dose that was scanned has the same rate of severe CRS"


def resampled_means(
    parts: np.ndarray, clusters: np.ndarray, *, rng: np.random.Generator, resamples: int
) -> Iterator[np.ndarray]:
    """Yield means over patients in bootstrap samples that draw whole clusters of patients.

    A population of equal weights repeats the draws of its prior, some of them often: patients of one draw are
    copies, not independent.

    Parameters
    ----------
    parts : ndarray, shape (arms, patients, endpoints)
        What each patient adds; finite.
    clusters : ndarray, shape (patients,)
        The draw of the prior that each patient is.
    rng : Generator
    resamples : int

    Yields
    ------
    ndarray, shape (arms, endpoints)
    """
    _, place = np.unique(clusters, return_inverse=True)
    sizes = np.bincount(place).astype(np.float64)
    total = len(sizes)
    sums = np.zeros((total, len(parts), parts.shape[2]))
    np.add.at(sums, place, np.moveaxis(parts, 1, 0))
    for _ in range(resamples):
        times = np.bincount(rng.integers(0, total, total), minlength=total).astype(np.float64)
        yield np.tensordot(times, sums, axes=1) / (times @ sizes)


def percentile_limits(drawn: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Return percentile limits of bootstrap values, where some may be unknown.

    Parameters
    ----------
    drawn : ndarray, shape (resamples, ...)
        NaN is unknown: it counts as lower than all for the lower limit, as higher than all for the upper one.
    alpha : float
        The interval covers ``1 - alpha``.

    Returns
    -------
    low, high : ndarray
        NaN where so many are unknown that there is no limit.
    """
    low = np.quantile(np.where(np.isnan(drawn), -np.inf, drawn), alpha / 2, axis=0, method="lower")
    high = np.quantile(np.where(np.isnan(drawn), np.inf, drawn), 1 - alpha / 2, axis=0, method="higher")
    known = np.isfinite(low) & np.isfinite(high)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def draws_of(patients: pd.DataFrame) -> np.ndarray:
    """Return which draw of the prior each patient is; without a column ``source``, each its own."""
    return patients.get("source", pd.Series(np.arange(len(patients)))).to_numpy()


def gain_limits(
    arms: np.ndarray,
    scan: np.ndarray,
    doses: np.ndarray,
    clusters: np.ndarray,
    *,
    seed: int | np.random.SeedSequence,
    resamples: int = RESAMPLES,
    alpha: float = 0.05,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return bootstrap limits of the gains over the single dose of equal toxicity.

    Parameters
    ----------
    arms : ndarray, shape (arms, patients, 1 + judged)
        What each patient adds to severe CRS and to those of `JUDGED`; see
        `fastcart.trial.outcomes.contributions`. The same patients in every arm and at every dose.
    scan : ndarray, shape (doses, patients, 1 + judged)
        Of the single infusion.
    doses : ndarray, shape (doses,)
        Ascending.
    clusters : ndarray, shape (patients,)
        The draw of the prior that each patient is; they are resampled.
    seed : int or SeedSequence
    resamples : int
    alpha : float

    Returns
    -------
    low, high : ndarray, shape (arms, judged)
        As `percentile_limits`.
    unknown : ndarray, shape (arms,)
        Share of the resamples in which no single dose of the scan is as toxic as the arm.
    """
    rng = np.random.default_rng(seed)
    both = np.concatenate([arms, scan])
    drawn = np.empty((resamples, len(arms), len(JUDGED)))
    for k, means in enumerate(resampled_means(both, clusters, rng=rng, resamples=resamples)):
        found = means[: len(arms)]
        drawn[k] = found[:, 1:] - at_equal_toxicity(found[:, 0], doses, means[len(arms) :])[:, 1:]
    low, high = percentile_limits(drawn, alpha)
    return low, high, np.isnan(drawn[:, :, 0]).mean(axis=0)
