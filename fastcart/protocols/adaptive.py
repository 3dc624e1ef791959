"""Adaptive arms: what a rule sees, and the visits at which it decides for all patients at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import shown, user_code
from fastcart.errors import InputError
from fastcart.protocols.arms import Adaptive, Schedule

ASSAY_SD = 0.35  # of the logarithm of a measured burden
_ROUNDING = 1e-9

States = Mapping[str, np.ndarray]
Advance = Callable[[pd.DataFrame, States, float], dict[str, np.ndarray]]
Engraft = Callable[[pd.DataFrame, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Visit:
    """What is known at a visit: the measured history of each patient, and what was infused.

    Every array has one row per patient; the last column is this visit, the first one the baseline of day 0.

    Parameters
    ----------
    index : int
        Number of this visit; day 0 is 0.
    days : ndarray, shape (visits so far,)
    burdens : ndarray, shape (patients, visits so far)
        Measured leukemia cells L + R, with the noise of the assay.
    il6_levels : ndarray, shape (patients, visits so far)
        Serum IL-6, pg/mL.
    effectors_given, memory_given : ndarray, shape (patients, visits so far)
        Fractions of the budgets that were infused; zero in the last column, which is being decided.
    rows : ndarray of int, shape (patients,)
        Places of these patients in the table of all; those whose budget is used up come no more.
    """

    index: int
    days: np.ndarray
    burdens: np.ndarray
    il6_levels: np.ndarray
    effectors_given: np.ndarray
    memory_given: np.ndarray
    rows: np.ndarray

    @property
    def day(self) -> float:
        """Day of this visit."""
        return float(self.days[-1])

    @property
    def burden(self) -> np.ndarray:
        """Burden measured now."""
        return self.burdens[:, -1]

    @property
    def baseline(self) -> np.ndarray:
        """Burden measured on day 0."""
        return self.burdens[:, 0]

    @property
    def il6(self) -> np.ndarray:
        """IL-6 measured now."""
        return self.il6_levels[:, -1]

    @property
    def effectors_total(self) -> np.ndarray:
        """Fraction of the effector budget given so far."""
        return self.effectors_given.sum(axis=1)

    @property
    def memory_total(self) -> np.ndarray:
        """Fraction of the memory budget given so far."""
        return self.memory_given.sum(axis=1)

    @property
    def effector_infusions(self) -> np.ndarray:
        """Number of infusions of effectors so far."""
        return (self.effectors_given > 0).sum(axis=1)

    @property
    def last_effectors(self) -> np.ndarray:
        """Day of the last infusion of effectors; minus infinity before the first one."""
        return np.where(self.effectors_given > 0, self.days, -np.inf).max(axis=1)


Rule = Callable[[Visit], tuple[Any, Any]]


def follow_rule(
    arm: Adaptive,
    patients: pd.DataFrame,
    *,
    states: States,
    advance: Advance,
    engraft: Engraft,
    noise: Callable[[int], np.ndarray] | None = None,
    assay_sd: float = ASSAY_SD,
    into: tuple[str, str] = ("E", "M"),
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> Schedule:
    """Let a rule decide at each visit, for all patients at once, and return what is infused when.

    The result is a calendar for each patient, so that outcomes of adaptive arms come from the same solution
    as those of all others. Patients whose budget is used up need no further visits.

    Parameters
    ----------
    arm : Adaptive
    patients : DataFrame
        With ``patient``, and all that the two functions need.
    states : mapping of str to ndarray
        States of all patients on day 0, before any infusion; ``L``, ``R``, ``C``, ``E`` and ``M`` among them.
    advance : callable
        ``advance(patients, states, days)`` returns the states so many days later; the model is autonomous.
    engraft : callable
        ``engraft(patients, effectors, memory)`` returns the cells that engraft of these fractions of the
        budgets.
    noise : callable, optional
        ``noise(visit)`` returns a standard normal number for each patient, a function of the patient and of
        the number of the visit alone, so that it is common to all arms. Without it, measurements are exact.
    assay_sd : float
        Standard deviation of the logarithm of the measured burden.
    into : (str, str)
        The states that infused effector and memory cells enter.
    start : (array, array), each of shape (patients,), optional
        Fractions of day 0, one for each patient, instead of those of the arm.

    Returns
    -------
    list of (day, effectors, memory)
        Fractions of the budgets, arrays with one value per patient.

    Raises
    ------
    InputError
        When the rule returns something other than fractions, or more than is left of the budget.
    """
    ids = patients["patient"].to_numpy()
    n, columns = len(patients), 1 + len(arm.visits)
    days = np.array([0.0, *arm.visits])
    seen = {name: np.zeros((n, columns)) for name in ("burden", "il6", "effectors", "memory")}
    given = np.zeros((2, n))  # so far, of each budget
    now = {name: np.array(values, dtype=np.float64) for name, values in states.items()}
    rows, mine = np.arange(n), patients  # patients who still come to visits
    for visit, day in enumerate(days):
        if visit:
            now = advance(mine, now, float(day - days[visit - 1]))
        # no rule sees a patient whose integration failed; the outcomes will report the failure
        rows, mine, now = _only(np.isfinite(now["L"] + now["C"]), rows, mine, now)
        factor = 1.0 if noise is None else np.exp(assay_sd * noise(visit)[rows])
        seen["burden"][rows, visit] = (now["L"] + now["R"]) * factor
        seen["il6"][rows, visit] = now["C"]
        if start is None:
            decided = np.full(len(rows), arm.start.effectors), np.full(len(rows), arm.start.memory)
        else:
            decided = start[0][rows], start[1][rows]
        if visit:
            burdens, il6, E_given, M_given = (seen[name][rows, : visit + 1] for name in seen)
            known = Visit(visit, days[: visit + 1], burdens, il6, E_given, M_given, rows)
            decided = _decision(arm, known, ids[rows])
        for k, name in enumerate(("effectors", "memory")):
            seen[name][rows, visit] = decided[k]
            given[k, rows] += decided[k]
        for state, cells in zip(into, engraft(mine, *decided), strict=True):
            now[state] = now[state] + cells
        rows, mine, now = _only(given[:, rows].min(axis=0) < 1 - _ROUNDING, rows, mine, now)
        if not len(rows):
            break
    return [
        (float(day), seen["effectors"][:, visit], seen["memory"][:, visit])
        for visit, day in enumerate(days)
        if (seen["effectors"][:, visit] > 0).any() or (seen["memory"][:, visit] > 0).any()
    ]


def _only(
    chosen: np.ndarray, rows: np.ndarray, patients: pd.DataFrame, states: dict[str, np.ndarray]
) -> tuple[np.ndarray, pd.DataFrame, dict[str, np.ndarray]]:
    if chosen.all():
        return rows, patients, states
    return rows[chosen], patients[chosen], {name: values[chosen] for name, values in states.items()}


def _decision(arm: Adaptive, visit: Visit, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ask the rule, and check what it says."""
    with user_code(f"The rule of the arm {arm.name!r}"):
        answer = arm.rule(visit)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise InputError(
            f"The rule of the arm {arm.name!r} must return two values, the fractions of effectors and of "
            f"memory cells to infuse, not {shown(answer)}."
        )
    checked = []
    for what, value, total in zip(
        ("effectors", "memory cells"), answer, (visit.effectors_total, visit.memory_total), strict=True
    ):
        try:
            fraction = np.broadcast_to(np.asarray(value, dtype=np.float64), ids.shape).copy()
        except (TypeError, ValueError):
            raise InputError(
                f"The rule of the arm {arm.name!r} must return one fraction of {what} per patient, not "
                f"{shown(value)}."
            ) from None
        bad = ~np.isfinite(fraction) | (fraction < 0) | (total + fraction > 1 + _ROUNDING)
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(
                f"The rule of the arm {arm.name!r} asks on day {visit.day:g} for the fraction "
                f"{fraction[row]:.6g} of the {what} of patient {shown(ids[row])}, of which "
                f"{max(0.0, 1 - total[row]):.6g} is left."
            )
        checked.append(fraction)
    return checked[0], checked[1]
