"""Adaptive arms: the visits at which a rule decides for all patients at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from fastcart.checks import shown, user_code
from fastcart.errors import InputError
from fastcart.protocols.arms import Adaptive, Schedule
from fastcart.protocols.visit import Visit
from fastcart.trial.adapter import TrialAdapter

ASSAY_SD = 0.35  # of the logarithm of a measured burden
_ROUNDING = 1e-9

States = Mapping[str, np.ndarray]
Advance = Callable[[pd.DataFrame, States, float], dict[str, np.ndarray]]


def follow_rule(
    arm: Adaptive,
    patients: pd.DataFrame,
    *,
    cells: np.ndarray,
    adapter: TrialAdapter,
    advance: Advance,
    noise: Callable[[int], np.ndarray] | None = None,
    assay_sd: float = ASSAY_SD,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> Schedule:
    """Let a rule decide at each visit, for all patients at once, and return what is infused when.

    The result is a calendar for each patient, so that outcomes of adaptive arms come from the same solution
    as those of all others. Patients whose budget is used up need no further visits.

    Parameters
    ----------
    arm : Adaptive
    patients : DataFrame
        With ``patient``, columns of the model, and what engraftment needs.
    cells : ndarray, shape (patients,)
        Cells of each patient's product.
    adapter : TrialAdapter
        The model: what is measured, what the infused cells enter.
    advance : callable
        ``advance(patients, states, days)`` returns the states so many days later; the model is autonomous.
    noise : callable, optional
        ``noise(visit)`` returns a standard normal number for each patient, a function of the patient and of
        the number of the visit alone, so that it is common to all arms. Without it, measurements are exact.
    assay_sd : float
        Standard deviation of the logarithm of the measured burden.
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
    now = {name: np.array(values) for name, values in adapter.baseline(patients).items()}
    rows, mine = np.arange(n), patients  # patients who still come to visits
    for visit, day in enumerate(days):
        if visit:
            now = advance(mine, now, float(day - days[visit - 1]))
        # no rule sees a patient whose integration failed; the outcomes will report the failure
        burden, marker = adapter.burden.of(now), adapter.marker.of(now)
        known = np.isfinite(burden + marker)
        rows, mine, now = _only(known, rows, mine, now)
        factor = 1.0 if noise is None else np.exp(assay_sd * noise(visit)[rows])
        seen["burden"][rows, visit] = burden[known] * factor
        seen["il6"][rows, visit] = marker[known]
        if start is None:
            decided = np.full(len(rows), arm.start.effectors), np.full(len(rows), arm.start.memory)
        else:
            decided = start[0][rows], start[1][rows]
        if visit:
            burdens, il6, E_given, M_given = (seen[name][rows, : visit + 1] for name in seen)
            told = Visit(visit, days[: visit + 1], burdens, il6, E_given, M_given, rows)
            decided = _decision(arm, told, ids[rows])
        for k, name in enumerate(("effectors", "memory")):
            seen[name][rows, visit] = decided[k]
            given[k, rows] += decided[k]
        engrafted = adapter.engrafted(mine, *decided, D=cells[rows])
        for state, entered in zip(adapter.entry, engrafted, strict=True):
            now[state] = now[state] + entered
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
    with user_code(f"The rule of the arm {arm.name!r}", locate=True):
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
