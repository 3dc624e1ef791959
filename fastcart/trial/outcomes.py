"""Outcomes of a trial arm: remission, relapse, survival, cytokine release syndrome.

Definitions, with S = L + R leukemia cells and a marrow of 1e12 cells:

- CR28: alive on day 28 with S < 1e8. CR90, the primary endpoint: S < 1e8 reached alive by day 90, and not
  above 5e10 (5 % blasts) within 28 days. Both are kept, since arms that give cells late lose on day 28.
- relapse: first S > 5e10 after remission; CD19-negative where R > L then.
- EFS: relapse or death; who has no CR90 fails on day 90. OS: death.
- CRS: grade 1 to 4 by the peak of IL-6 while alive, above 150, 400, 1000, 3000 pg/ml; toxic death is grade 5.
- deaths: when the cumulative hazards reach U1 (toxic) and U2 (leukemia), exponential numbers of the patient
  that are the same in all arms.
- B-cell recovery: first time from day 45 on with B above a fifth of its value at rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fastcart.errors import InputError
from fastcart.trial.course import BLASTS_5_PERCENT, GRADES, HORIZON, MARKS, MRD, course, marks

CR_BY = 90.0
CR_HELD = 28.0
RFS_DAYS = 365.0
EARLY_B = 180.0  # B-cell recovery before this day is early
SURVIVAL_DAYS = (180.0, 365.0, 730.0)

__all__ = [
    "BLASTS_5_PERCENT",
    "GRADES",
    "HORIZON",
    "MARKS",
    "MRD",
    "course",
    "expected",
    "moments",
    "outcomes",
]


def outcomes(course: pd.DataFrame, *, deaths: bool = True) -> pd.DataFrame:
    """Return the outcomes of each patient.

    Parameters
    ----------
    course : DataFrame
        From `fastcart.trial.course.course`.
    deaths : bool
        Whether patients die; without it the outcomes are those of a world without deaths.

    Returns
    -------
    DataFrame
        One row per patient, in the same order; numbers are NaN and flags False where the solver failed:

        - ``patient``, ``status``
        - ``CR28``, ``CR90`` (bool), ``t_CR``
        - ``relapse`` (bool, seen before death and after CR90), ``t_relapse``, ``relapse_type`` (``CD19+``,
          ``CD19-`` or empty), ``RFS12`` (1, 0, NaN without CR90, or where the horizon comes first)
        - ``efs``, ``os`` (days, up to the horizon), ``efs_event``, ``os_event`` (bool), ``death_cause``
          (``toxic``, ``leukemia`` or empty), ``toxic_death``, ``leukemia_death`` (bool)
        - ``grade`` (0 to 5), ``crs_any``, ``crs3``, ``crs4`` (bool), ``t_onset``, ``peak_C``, ``auc_C``
        - ``t_B_recovery``, ``early_B_recovery`` (bool), ``peak_T``, ``t_peak_T``.
    """
    c = course
    ok = (c["status"] == "ok").to_numpy()
    horizon = c["t_end"].to_numpy()
    never = np.full(len(c), np.inf)
    toxic = c["t_toxic"].to_numpy() if deaths else never
    leukemia = c["t_leukemia"].to_numpy() if deaths else never
    death = np.minimum(toxic, leukemia)
    dies = ok & (death <= horizon)
    toxic_death = dies & (toxic <= leukemia)
    t_CR, t_relapse = c["t_CR"].to_numpy(), c["t_relapse"].to_numpy()
    CR90 = _remission(c) & (t_CR < death)
    relapse = CR90 & (t_relapse < death) & (t_relapse <= horizon)
    event_free = np.minimum(t_relapse, death)
    efs = np.where(CR90, event_free, np.minimum(CR_BY, death))
    reached = [c[f"t_grade{g}"].to_numpy() < death for g in (1, 2, 3, 4)]
    grade = np.where(toxic_death, 5, np.sum(reached, axis=0))
    t_B = c["t_B_recovery"].to_numpy()
    t_B = np.where(t_B < death, t_B, np.inf)
    columns: dict[str, Any] = {
        "patient": c["patient"],
        "status": c["status"],
        "CR28": ok & (death > 28.0) & (c["S28"].to_numpy() < MRD),
        "CR90": CR90,
        "t_CR": np.where(CR90, t_CR, np.where(ok, np.inf, np.nan)),
        "relapse": relapse,
        "t_relapse": np.where(relapse, t_relapse, np.where(ok, np.inf, np.nan)),
        "relapse_type": np.where(relapse, np.where(c["relapse_negative"], "CD19-", "CD19+"), ""),
        "RFS12": np.where(
            CR90 & (np.minimum(event_free, horizon) >= np.minimum(event_free, t_CR + RFS_DAYS)),
            event_free > t_CR + RFS_DAYS,
            np.nan,
        ),
        "efs": np.where(ok, np.minimum(efs, horizon), np.nan),
        "efs_event": ok & (efs <= horizon),
        "os": np.where(ok, np.minimum(death, horizon), np.nan),
        "os_event": dies,
        "death_cause": np.where(toxic_death, "toxic", np.where(dies, "leukemia", "")),
        "toxic_death": toxic_death,
        "leukemia_death": dies & ~toxic_death,
        "grade": np.where(ok, grade, np.nan),
        "crs_any": ok & (grade >= 1),
        "crs3": ok & (grade >= 3),
        "crs4": ok & (grade >= 4),
        "t_onset": c["t_grade1"],
        "t_B_recovery": np.where(ok, t_B, np.nan),
        "early_B_recovery": ok & (t_B < EARLY_B),
    }
    for name in ("peak_C", "t_peak_C", "auc_C", "peak_T", "t_peak_T"):
        columns[name] = c[name]
    return pd.DataFrame(columns, index=c.index)


def _remission(c: pd.DataFrame) -> np.ndarray:
    """Return who reaches CR90 without deaths."""
    held = c["t_relapse"] > c["t_CR"] + CR_HELD
    return ((c["status"] == "ok") & (c["t_CR"] <= CR_BY) & held).to_numpy()


def expected(
    course: pd.DataFrame,
    weights: np.ndarray | None = None,
    *,
    hT_factor: float = 1.0,
    hL_factor: float = 1.0,
) -> pd.Series:
    """Return the expected outcomes of an arm over the deaths, without drawing any.

    Exact up to interpolation of the hazards between `MARKS`, since deaths feed back on nothing; the hazards
    can be scaled here without solving anew.

    Parameters
    ----------
    course : DataFrame
        From `fastcart.trial.course.course`, of patients or of a weighted sample.
    weights : ndarray, shape (patients,), optional
        Default equal.
    hT_factor, hL_factor : float
        What ``hT`` and ``hL`` are multiplied by.

    Returns
    -------
    Series
        ``CR28, CR90, RFS12, crs_any, crs3, crs4, toxic_death`` (before death of leukemia and the horizon),
        ``EFS180, EFS365, EFS730, OS180, OS365, OS730, negative_share`` (CD19- among relapses),
        ``early_B_recovery`` (before day 180, of those in CR). What comes after the horizon is NaN. Patients
        that failed are left out; without any other all is NaN.
    """
    ok = (course["status"] == "ok").to_numpy()
    c = course[ok]
    w = _weights(weights, ok)
    horizon = float(course["t_end"].iloc[0])
    hazards = _Hazards(c, horizon, hT_factor, hL_factor)
    CR = _remission(c)
    t_CR, t_relapse = c["t_CR"].to_numpy(), c["t_relapse"].to_numpy()
    result: dict[str, float] = {}
    result["CR28"] = float(w @ ((c["S28"].to_numpy() < MRD) * hazards.alive(28.0)))
    in_CR = w * CR * hazards.alive(t_CR)
    # who may still reach remission, or lose it too soon, after the horizon
    undecided = np.where(np.isfinite(t_CR), CR & (t_CR + CR_HELD > horizon), horizon < CR_BY)
    result["CR90"] = np.nan if undecided.any() else float(in_CR.sum())
    free = CR & (t_relapse > t_CR + RFS_DAYS)
    seen = not (free & (t_CR + RFS_DAYS > horizon)).any()
    result["RFS12"] = _share(w * free * hazards.alive(t_CR + RFS_DAYS), in_CR) if seen else np.nan
    for name, grade in (("crs_any", 1), ("crs3", 3), ("crs4", 4)):
        result[name] = float(w @ _grade_reached(c, grade, hazards, horizon))
    result["toxic_death"] = float(w @ hazards.toxic_death(horizon))
    for day in SURVIVAL_DAYS:
        event_free = CR & (t_relapse > day) if day >= CR_BY else t_relapse > day
        alive = hazards.alive(day) if day <= horizon else np.full(len(c), np.nan)
        result[f"EFS{day:g}"] = float(w @ (event_free * alive))
        result[f"OS{day:g}"] = float(w @ alive)
    relapses = w * (CR & np.isfinite(t_relapse)) * hazards.alive(t_relapse)
    result["negative_share"] = _share(relapses * c["relapse_negative"].to_numpy(), relapses)
    t_B = c["t_B_recovery"].to_numpy()
    early = CR & (t_B < EARLY_B)
    result["early_B_recovery"] = (
        _share(w * early * hazards.alive(t_B), in_CR) if horizon >= EARLY_B else np.nan
    )
    if not ok.any():
        result = dict.fromkeys(result, np.nan)
    return pd.Series(result)


def _grade_reached(c: pd.DataFrame, grade: int, hazards: _Hazards, horizon: float) -> np.ndarray:
    """Return the probability of CRS of a grade or more: alive when it begins, or dead of CRS before."""
    t = c[f"t_grade{grade}"].to_numpy()
    begins = np.isfinite(t)
    return begins * hazards.alive(np.where(begins, t, horizon)) + hazards.toxic_death(
        np.where(begins, t, horizon)
    )


def deaths_expected(
    course: pd.DataFrame, day: float, *, hT_factor: float = 1.0, hL_factor: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of each patient to die of toxicity by the horizon, and to be alive on a day.

    Parameters
    ----------
    course : DataFrame
        Of patients that did not fail.
    day : float
        Not after the horizon.
    hT_factor, hL_factor : float
        What ``hT`` and ``hL`` are multiplied by.

    Returns
    -------
    toxic, alive : ndarray, shape (patients,)
    """
    horizon = float(course["t_end"].iloc[0])
    hazards = _Hazards(course, horizon, hT_factor, hL_factor)
    return hazards.toxic_death(horizon), hazards.alive(day)


def contributions(course: pd.DataFrame, *, hT_factor: float = 1.0) -> pd.DataFrame:
    """Return what each patient adds to expected outcomes, the probability over the deaths.

    The mean over patients that did not fail is what `expected` returns; bootstrap intervals need the parts.

    Parameters
    ----------
    course : DataFrame
    hT_factor : float
        What ``hT``, the rate of toxic death, is multiplied by.

    Returns
    -------
    DataFrame
        ``CR90``, ``crs3``, ``EFS730``, ``OS730``, ``crs4``, ``toxic_death``; ``clean730``: in remission and
        alive on day 730 without CRS of grade 3 or more; ``relapse_positive`` and ``relapse_negative``: CD19+
        and CD19- relapse by day 730. NaN for patients that failed.
    """
    ok = (course["status"] == "ok").to_numpy()
    c = course[ok]
    horizon = float(course["t_end"].iloc[0])
    hazards = _Hazards(c, horizon, hT_factor, 1.0)
    CR = _remission(c)
    seen = horizon >= 730.0
    alive = hazards.alive(730.0) if seen else np.full(len(c), np.nan)
    t_relapse = c["t_relapse"].to_numpy()
    free = CR * (t_relapse > 730.0) * alive
    relapse = CR * (t_relapse <= 730.0) * hazards.alive(t_relapse) if seen else np.full(len(c), np.nan)
    negative = c["relapse_negative"].to_numpy(dtype=bool)
    parts = {
        "CR90": CR * hazards.alive(c["t_CR"].to_numpy()),
        "crs3": _grade_reached(c, 3, hazards, horizon),
        "EFS730": free,
        "OS730": alive,
        "crs4": _grade_reached(c, 4, hazards, horizon),
        "toxic_death": hazards.toxic_death(horizon),
        "clean730": free * ~np.isfinite(c["t_grade3"].to_numpy()),
        "relapse_positive": relapse * ~negative,
        "relapse_negative": relapse * negative,
    }
    return pd.DataFrame(parts, index=c.index).reindex(course.index)


class _Hazards:
    """Cumulative hazards of all patients at any time, linear between the marks."""

    def __init__(self, c: pd.DataFrame, horizon: float, hT_factor: float, hL_factor: float) -> None:
        days = marks(horizon)
        self.days = np.array([0.0, *days])
        zero = np.zeros((len(c), 1))
        self.Ht = np.hstack([zero, hT_factor * c[[f"Ht_{d:g}" for d in days]].to_numpy()])
        self.Hl = np.hstack([zero, hL_factor * c[[f"Hl_{d:g}" for d in days]].to_numpy()])

        toxic, both = np.diff(self.Ht), np.diff(self.Ht + self.Hl)
        alive = np.exp(-(self.Ht + self.Hl)[:, :-1])
        # between two marks both hazards are constant: of the deaths there, toxic ones have a fixed share
        shares = np.divide(toxic, both, out=np.zeros(toxic.shape), where=both > 0)
        self.toxic_share = shares
        self.toxic_deaths = np.hstack([zero, np.cumsum(alive * shares * -np.expm1(-both), axis=1)])

    def _place(self, t: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the last mark at or before a time, and the share of the way to the next one."""
        t = np.minimum(np.broadcast_to(np.asarray(t, dtype=float), len(self.Ht)), self.days[-1])
        k = np.clip(np.searchsorted(self.days, t, side="right") - 1, 0, len(self.days) - 2)
        return k, (t - self.days[k]) / (self.days[k + 1] - self.days[k])

    def _at(self, values: np.ndarray, t: Any) -> np.ndarray:
        k, share = self._place(t)
        rows = np.arange(len(values))
        return (1 - share) * values[rows, k] + share * values[rows, k + 1]

    def toxic_death(self, t: Any) -> np.ndarray:
        """Probability to have died of toxicity by a time, which leukemia may forestall."""
        k, _ = self._place(t)
        rows = np.arange(len(self.Ht))
        since = self._at(self.Ht + self.Hl, t) - (self.Ht + self.Hl)[rows, k]
        alive = np.exp(-(self.Ht + self.Hl)[rows, k])
        return self.toxic_deaths[rows, k] + alive * self.toxic_share[rows, k] * -np.expm1(-since)

    def alive(self, t: Any) -> np.ndarray:
        """Probability to be alive."""
        return np.exp(-self._at(self.Ht, t) - self._at(self.Hl, t))


def _weights(weights: np.ndarray | None, ok: np.ndarray) -> np.ndarray:
    w = np.ones(len(ok)) if weights is None else np.asarray(weights, dtype=float)
    if w.shape != ok.shape or not np.isfinite(w).all() or (w < 0).any():
        raise InputError("The weights must be a finite number from 0 on for each patient of the course.")
    total = w[ok].sum()
    return w[ok] / total if total > 0 else np.full(int(ok.sum()), np.nan)


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    """Return a ratio of sums; NaN for an empty whole."""
    total = float(whole.sum())
    return float(part.sum()) / total if total > 0 else float("nan")


def moments(course: pd.DataFrame) -> pd.DataFrame:
    """Return the death-free quantities that a population is calibrated on, one row per patient.

    They depend on the parameters alone, never on U1, U2 or noise: weights that follow luck would make the
    patients regress to the mean in every other arm.

    Parameters
    ----------
    course : DataFrame

    Returns
    -------
    DataFrame
        ``ok``, ``CR90``, ``RFS12``, ``crs_any``, ``crs3``, ``crs4``, ``relapse``, ``negative``,
        ``early_B_recovery`` (bool), ``ln_t_peak_T``, ``ln_peak_T``, ``ln_peak_C``. RFS12, relapse, negative
        and early B-cell recovery are of patients in CR90, and False for the others.
    """
    c = course
    ok = (c["status"] == "ok").to_numpy()
    CR = _remission(c)
    t_relapse = c["t_relapse"].to_numpy()
    relapse = CR & np.isfinite(t_relapse)
    columns: dict[str, Any] = {"ok": ok, "CR90": CR, "RFS12": CR & (t_relapse > c["t_CR"] + RFS_DAYS)}
    for name, grade in (("crs_any", 1), ("crs3", 3), ("crs4", 4)):
        columns[name] = ok & np.isfinite(c[f"t_grade{grade}"])
    columns |= {
        "relapse": relapse,
        "negative": relapse & c["relapse_negative"].to_numpy(dtype=bool),
        "early_B_recovery": CR & (c["t_B_recovery"] < EARLY_B),
        "ln_t_peak_T": np.log(np.maximum(c["t_peak_T"], 1e-9)),
        "ln_peak_T": np.log(c["peak_T"]),
        "ln_peak_C": np.log(c["peak_C"]),
    }
    return pd.DataFrame(columns, index=c.index)
