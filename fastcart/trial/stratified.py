"""Tests within strata, for trials that randomize within strata; each of many trials at once.

A trial that is randomized within strata varies less than one that is not. A test that does not know it is
conservative: it finds less than it could.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from fastcart.trial.curves import beyond, kaplan_meier
from fastcart.trial.proportions import ALPHA, nobody, row
from fastcart.trial.survival import logrank_sums

STRATIFIED = "stratified"  # the randomization whose tests are


def stratified_logrank(
    time: np.ndarray, event: np.ndarray, treated: np.ndarray, strata: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return chi-square and p of the log-rank test within strata in each trial.

    Parameters
    ----------
    time : ndarray, shape (trials, patients)
        Days to event or censoring, from 0 on.
    event, treated : ndarray of bool, shape (trials, patients)
    strata : ndarray of int, shape (trials, patients)

    Returns
    -------
    chi_square, p : ndarray, shape (trials,)
        NaN where a trial has no event with both arms at risk.
    """
    time, event, treated, strata = (np.atleast_2d(values) for values in (time, event, treated, strata))
    difference, variance = np.zeros(len(time)), np.zeros(len(time))
    for stratum in np.unique(strata):
        inside = strata == stratum
        # who is in another stratum leaves before anyone can have an event
        parts = logrank_sums(np.where(inside, time, -1.0), event & inside, treated)
        difference, variance = difference + parts[0], variance + parts[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        chi_square = difference**2 / variance
    return chi_square, stats.chi2.sf(chi_square, 1)


def mantel_haenszel(
    hit: np.ndarray, known: np.ndarray, treated: np.ndarray, strata: np.ndarray
) -> np.ndarray:
    """Return p of the Cochran-Mantel-Haenszel test, without correction for continuity, in each trial.

    Parameters
    ----------
    hit, known, treated : ndarray of bool, shape (trials, patients)
        Who has the event, of whom it is known, and who is treated.
    strata : ndarray of int, shape (trials, patients)

    Returns
    -------
    ndarray, shape (trials,)
        NaN where an arm has nobody; 1 where nobody, or everybody, has the event.
    """
    hit, known, treated, strata = (np.atleast_2d(values) for values in (hit, known, treated, strata))
    difference, variance = np.zeros(len(hit)), np.zeros(len(hit))
    for stratum in np.unique(strata):
        inside = known & (strata == stratum)
        n, n1 = inside.sum(axis=1), (inside & treated).sum(axis=1)
        m, x = (inside & hit).sum(axis=1), (inside & hit & treated).sum(axis=1)
        size = np.maximum(n, 1)
        difference = difference + x - n1 * m / size
        spread = n1 * (n - n1) * m * (n - m) / (size**2 * np.maximum(n - 1.0, 1.0))
        variance = variance + np.where(n > 1, spread, 0.0)
    chi_square = np.divide(difference**2, variance, out=np.zeros(len(hit)), where=variance > 0)
    empty = ((known & treated).sum(axis=1) == 0) | ((known & ~treated).sum(axis=1) == 0)
    return np.where(empty, np.nan, stats.chi2.sf(chi_square, 1))


def landmark_difference(
    time: np.ndarray, event: np.ndarray, treated: np.ndarray, day: float, *, alpha: float = ALPHA
) -> dict[str, Any]:
    """Return the difference of Kaplan-Meier estimates on a day, treatment minus control, as a contrast.

    Parameters
    ----------
    time : ndarray, shape (patients,)
        Days to event or censoring.
    event, treated : ndarray of bool, shape (patients,)
    day : float
    alpha : float
        The interval covers ``1 - alpha``.

    Returns
    -------
    dict
        Of `fastcart.trial.proportions.row`: variance by Greenwood, p of the normal law. NaN with the reason
        in ``note`` where an arm is not followed so far.
    """
    what = f"difference on day {day:g}"
    method = "Kaplan-Meier, Greenwood; normal test"
    treated = np.asarray(treated, dtype=bool)
    note = nobody(int((~treated).sum()), int(treated.sum()))
    shares, variances = [], []
    for group in (~treated, treated):
        if note:
            break
        days, hit = np.asarray(time)[group], np.asarray(event, dtype=bool)[group]
        note = beyond(days, hit, day)
        share = float(kaplan_meier(days, hit).at(np.array([day]))[0])
        shares.append(share)
        variances.append(share**2 * _greenwood(days, hit, day))
    if note:
        return row(what, np.nan, np.nan, np.nan, np.nan, method, note)
    difference, error = shares[1] - shares[0], float(np.sqrt(sum(variances)))
    reach = stats.norm.isf(alpha / 2) * error
    if not error > 0:
        same = difference == 0
        note = "no event by then in either arm" if same else "shares of 0 and 1: no interval"
        return row(what, difference, np.nan, np.nan, 1.0 if same else np.nan, method, note)
    p = float(2 * stats.norm.sf(abs(difference) / error))
    return row(what, difference, difference - reach, difference + reach, p, method, "")


def _greenwood(time: np.ndarray, event: np.ndarray, day: float) -> float:
    """Return Greenwood's sum of ``d / (n (n - d))`` up to a day; 0 where nobody is left."""
    times, deaths = np.unique(time[event & (time <= day)], return_counts=True)
    at_risk = np.array([(time >= t).sum() for t in times], dtype=np.float64)
    left = at_risk - deaths
    return float(np.sum(np.divide(deaths, at_risk * left, out=np.zeros(len(times)), where=left > 0)))
