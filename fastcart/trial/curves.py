"""Survival and cumulative incidence of one arm at landmarks, never beyond its last follow-up.

The estimates are written out: with lifelines 0.30 a median can be the event after the right one, where the
curve passes through one half, and competing risks need their ties broken at random.

References
----------
E. Marubini, M. G. Valsecchi, Analysing survival data from clinical trials and observational studies, Wiley
(1995): the variance of the cumulative incidence, here as in every textbook by the delta method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from fastcart.trial.observe import CAUSES
from fastcart.trial.proportions import ALPHA
from fastcart.trial.survival import followed_to

NO_PATIENT = "no patient in this arm"


@dataclass(frozen=True)
class Curve:
    """Kaplan-Meier's estimate of one arm: steps with pointwise log-log limits.

    Attributes
    ----------
    day, survival, low, high : ndarray, shape (steps,)
        From day 0 on, a step for each day with an event, and the last follow-up; the value holds from that
        day on. The limits are NaN where the estimate is 0 or 1.
    """

    day: np.ndarray
    survival: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def at(self, day: float | np.ndarray) -> np.ndarray:
        """Return the survival on days; the last value holds beyond the last step."""
        return self.survival[np.searchsorted(self.day, day, side="right") - 1]

    @property
    def median(self) -> float:
        """First day with a survival of at most one half; infinite where it is not reached."""
        low = self.survival <= 0.5 * (1 + 1e-9)  # rounding must not hide a half
        return float(self.day[low.argmax()]) if low.any() else np.inf


def kaplan_meier(time: np.ndarray, event: np.ndarray, *, alpha: float = ALPHA) -> Curve:
    """Return Kaplan-Meier's estimate.

    Parameters
    ----------
    time : ndarray, shape (patients,)
        Days to event or censoring, of at least one patient.
    event : ndarray of bool, shape (patients,)
    alpha : float
        Intervals cover ``1 - alpha``.
    """
    time, event = np.asarray(time, dtype=np.float64), np.asarray(event, dtype=bool)
    days = np.unique(np.concatenate([[0.0], time[event], [time.max()]]))
    ends, ends_with_event = np.sort(time), np.sort(time[event])
    at_risk = len(time) - np.searchsorted(ends, days, side="left")
    deaths = np.searchsorted(ends_with_event, days, side="right") - np.searchsorted(ends_with_event, days)
    survival = np.cumprod((at_risk - deaths) / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.cumsum(deaths / (at_risk * (at_risk - deaths)))) / np.log(survival)
        reach = stats.norm.isf(alpha / 2) * error  # negative, as the logarithm
        low, high = survival ** np.exp(-reach), survival ** np.exp(reach)
    inside = (survival > 0) & (survival < 1)
    return Curve(days, survival, np.where(inside, low, np.nan), np.where(inside, high, np.nan))


def landmark_survival(
    time: np.ndarray, event: np.ndarray, landmarks: Sequence[float], *, alpha: float = ALPHA
) -> list[dict[str, Any]]:
    """Return Kaplan-Meier estimates with log-log intervals at landmarks, those at risk, and the median.

    Parameters
    ----------
    time : ndarray, shape (patients,)
        Days to event or censoring.
    event : ndarray of bool, shape (patients,)
    landmarks : sequence of float
        Days.
    alpha : float
        Intervals cover ``1 - alpha``.

    Returns
    -------
    list of dict
        ``day, survival, low, high, at_risk, median`` (infinite where it is not reached), and ``note``: why a
        number is NaN. Nothing is given beyond the last follow-up, unless everyone had the event before.
        Where the estimate is 1 or 0 the limits are those of Clopper and Pearson, of those followed to that
        day.
    """
    time, event = np.asarray(time, dtype=np.float64), np.asarray(event, dtype=bool)
    if not len(time):
        missing = dict.fromkeys(("survival", "low", "high"), np.nan)
        return [
            {"day": day, **missing, "at_risk": 0, "median": np.nan, "note": NO_PATIENT} for day in landmarks
        ]
    curve = kaplan_meier(time, event, alpha=alpha)
    rows = []
    for day in landmarks:
        place = int(np.searchsorted(curve.day, day, side="right")) - 1
        share, low, high = (float(values[place]) for values in (curve.survival, curve.low, curve.high))
        at_risk = int((time >= day).sum())
        note = beyond(time, event, day)
        if note:
            share = low = high = np.nan
        elif not (event & (time <= day)).any():
            # everyone at risk has come so far: their number is binomial
            low, high = (alpha / 2) ** (1 / at_risk), 1.0
        elif share == 0.0:
            low, high, note = 0.0, np.nan, "patients were lost before: no upper limit"
            if event.all():
                high, note = -np.expm1(np.log(alpha / 2) / len(time)), ""
        rows.append(
            {
                "day": day,
                "survival": share,
                "low": float(low),
                "high": float(high),
                "at_risk": at_risk,
                "median": curve.median,
                "note": note,
            }
        )
    return rows


def cumulative_incidence(
    time: np.ndarray, cause: np.ndarray, landmarks: Sequence[float], *, alpha: float = ALPHA
) -> list[dict[str, Any]]:
    """Return the cumulative incidence of each cause at landmarks, with the others as competing risks.

    Aalen and Johansen's estimate, with ties as they are; variance by the delta method, log-log intervals.

    Parameters
    ----------
    time : ndarray, shape (patients,)
        Days to the first event or to censoring.
    cause : ndarray of int, shape (patients,)
        Place in `fastcart.trial.observe.CAUSES`; 0 is censored.
    landmarks : sequence of float
    alpha : float

    Returns
    -------
    list of dict
        ``cause, day, incidence, low, high, note``. Nothing is given beyond the last follow-up, unless
        everyone had an event before. Where a cause has no event the upper limit is Clopper and Pearson's of
        those who are known to have been followed so far; it is wide, never too narrow.
    """
    time, cause = np.asarray(time, dtype=np.float64), np.asarray(cause)
    z = stats.norm.isf(alpha / 2)
    rows = []
    for code, name in enumerate(CAUSES[1:], start=1):
        for day in landmarks:
            note = beyond(time, cause > 0, day) if len(time) else NO_PATIENT
            share = low = high = np.nan
            if not note:
                share, error = _incidence(time, cause, code, day)
                # without anyone lost so far all were followed; else at least those who are still at risk
                lost = ((cause == 0) & (time < day)).any()
                followed = int((time >= day).sum()) if lost else len(time)
                edge = (alpha / 2) ** (1 / followed) if followed else np.nan
                if share <= 0.0:
                    low, high = 0.0, 1.0 - edge
                elif error == 0.0 or share >= 1.0:
                    low, high = (np.nan if lost else edge), 1.0
                else:
                    reach = z * error / (share * np.log(share))  # negative, as the logarithm
                    low, high = share ** np.exp(-reach), share ** np.exp(reach)
                if np.isnan([low, high]).any():
                    note = "patients were lost before: no limit"
            rows.append(
                {
                    "cause": name,
                    "day": day,
                    "incidence": share,
                    "low": float(low),
                    "high": float(high),
                    "note": note,
                }
            )
    return rows


def _incidence(time: np.ndarray, cause: np.ndarray, code: int, day: float) -> tuple[float, float]:
    """Return the cumulative incidence of one cause on a day, and its standard error."""
    days = np.unique(time[(cause > 0) & (time <= day)])
    at_risk = (time[:, None] >= days).sum(axis=0)
    here = time[:, None] == days
    d = (here & (cause > 0)[:, None]).sum(axis=0)
    c = (here & (cause == code)[:, None]).sum(axis=0)
    before = np.concatenate([[1.0], np.cumprod(1 - d / at_risk)[:-1]]) if len(days) else np.empty(0)
    steps = before * c / at_risk
    share = min(float(steps.sum()), 1.0)
    if len(days) and (c == d).all():  # without competing events it is what survival leaves: 1 is exactly 1
        share = 1.0 - float(np.prod(1 - d / at_risk))
    rest = share - np.cumsum(steps)
    left = np.maximum(at_risk - d, 1)  # where nobody is left, nothing comes after: rest is 0
    third = 2 * rest * before * c / at_risk**2
    variance = rest**2 * d / (at_risk * left) + before**2 * c * (at_risk - c) / at_risk**3 - third
    return share, float(np.sqrt(max(variance.sum(), 0.0)))


def beyond(time: np.ndarray, event: np.ndarray, day: float) -> str:
    """Return why a curve says nothing on a day, in words; empty where it does."""
    if day <= followed_to(time, event)[0]:
        return ""
    return f"nobody is followed to day {day:g}; the last follow-up is day {time.max():.4g}"
