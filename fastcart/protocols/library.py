"""The arms of the simulated trial: A0 to A6, and exploratory ones that need not keep the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from fastcart.errors import InputError, nearest
from fastcart.protocols.arms import Adaptive, Arm, Calendar, Infusion, Lymphodepletion
from fastcart.protocols.visit import Rule, Visit

THIRDS = (1 / 3, 1 / 3, 1 / 3)
RISING = (0.1, 0.3, 0.6)  # Frey et al. 2020, J Clin Oncol 38:415
HOLD_IL6 = 400.0  # pg/mL; above it nothing is infused
VISITS = tuple(float(day) for day in range(3, 121, 3))


def _mixed(fractions: tuple[float, ...], days: tuple[float, ...]) -> tuple[Infusion, ...]:
    """Return infusions of the unsorted product."""
    return tuple(Infusion(day, f, f) for f, day in zip(fractions, days, strict=True))


def hold_if_crs(fractions: Mapping[float, float], threshold: float = HOLD_IL6) -> Rule:
    """Return the rule that infuses fixed fractions on fixed days, and skips one while IL-6 is high.

    Parameters
    ----------
    fractions : mapping of day to fraction
        Of effectors and memory cells alike.
    threshold : float
        pg/mL; infinity never holds.
    """

    def rule(visit: Visit) -> tuple[np.ndarray, np.ndarray]:
        fraction = np.where(visit.il6 > threshold, 0.0, fractions.get(visit.day, 0.0))
        return fraction, fraction

    return rule


def lhm_rule(
    *,
    tranches: tuple[float, float, float] = RISING,
    hold: float = HOLD_IL6,
    interval: float = 3.0,
    response: float = 0.5,
    escape: tuple[float, float] = (6.0, 150.0),
    latest_effectors: float = 21.0,
    memory_burden: float = 1e9,
    latest_memory: float = 45.0,
) -> Rule:
    """Return the rule "low, then high effectors, memory last", which follows the measured burden.

    Parameters
    ----------
    tranches : (float, float, float)
        Fractions of the effectors.
    hold : float
        IL-6 in pg/mL.
    interval, latest_effectors, latest_memory : float
        Days.
    response : float
        Fraction of the baseline burden.
    escape : (float, float)
        Day, and IL-6 in pg/mL.
    memory_burden : float
        Cells.

    Notes
    -----
    While IL-6 is above `hold` (pg/mL) nothing is infused. The next tranche of effectors is released when
    `interval` days have passed since the last one, and the burden is at most `response` times its baseline,
    or there is no response (from day ``escape[0]`` on with IL-6 below ``escape[1]``), or day
    `latest_effectors` is reached. All memory cells follow once the burden is at most `memory_burden` cells,
    or on day `latest_memory`.
    """

    def rule(visit: Visit) -> tuple[np.ndarray, np.ndarray]:
        free = visit.il6 <= hold
        falling = visit.burden <= response * visit.baseline
        no_response = (visit.day >= escape[0]) & (visit.il6 < escape[1])
        due = free & (visit.day - visit.last_effectors >= interval)
        due &= falling | no_response | (visit.day >= latest_effectors)
        following = np.array([*tranches, 0.0])[np.minimum(visit.effector_infusions, len(tranches))]
        low = (visit.burden <= memory_burden) | (visit.day >= latest_memory)
        return np.where(due, following, 0.0), np.where(free & low, 1 - visit.memory_total, 0.0)

    return rule


def burden_adapted(
    threshold: float = 2e11, reduced: float = 0.1, *, column: str = "L"
) -> Callable[[pd.DataFrame, float], Any]:
    """Return what sets the doses: `reduced` times as many cells above the baseline burden `threshold`.

    The baseline burden is a column of the table of patients, ``L`` for the model ``b_all``.
    """

    def dose_of(patients: pd.DataFrame, dose: float) -> Any:
        if column not in patients:
            raise InputError(f"A dose by burden needs the baseline in the column {column!r} of the patients.")
        return np.where(patients[column].to_numpy() > threshold, reduced * dose, dose)

    return dose_of


_SINGLE = (Infusion(0, 1, 1),)
_LHM = (*(Infusion(day, f) for f, day in zip(RISING, (0, 7, 14), strict=True)), Infusion(28, 0, 1))
_HALVES = (Infusion(0, 0.5, 0.5), Infusion(28, 0.5, 0.5))


def _niche(name: str, days: tuple[float, ...], phi: float = 1.0) -> Calendar:
    listed = " and ".join(f"{day:g}" for day in days)
    return Calendar(
        name=name,
        title=f"Single infusion, niche support on day {listed}",
        infusions=_SINGLE,
        lymphodepletions=tuple(Lymphodepletion(day, phi) for day in days),
    )


STANDARD: tuple[Arm, ...] = (
    Calendar(name="A0", title="Single infusion", infusions=_SINGLE),
    Calendar(name="A1", title="Split 10/30/60 %, days 0-2", infusions=_mixed(RISING, (0, 1, 2))),
    Adaptive(
        name="A1h",
        title="Split 10/30/60 %, days 0-2, held in CRS",
        start=Infusion(0, 0.1, 0.1),
        rule=hold_if_crs({1.0: 0.3, 2.0: 0.6}),
        visits=(1.0, 2.0),
        complete=False,
    ),
    Calendar(name="A2", title="Thirds, daily", infusions=_mixed(THIRDS, (0, 1, 2))),
    Calendar(name="A3", title="Thirds, weekly", infusions=_mixed(THIRDS, (0, 7, 14))),
    Calendar(name="A4", title="Escalating 10/30/60 %, weekly", infusions=_mixed(RISING, (0, 7, 14))),
    Calendar(name="A5", title="Low-high-memory, calendar", infusions=_LHM),
    # a tranche that is due while IL-6 stays above the hold to the last visit is never given
    Adaptive(
        name="A6",
        title="Low-high-memory, adaptive",
        start=Infusion(0, 0.1, 0.0),
        rule=lhm_rule(),
        visits=VISITS,
        complete=False,
    ),
)

EXPLORATORY: tuple[Arm, ...] = (
    Calendar(
        name="X1", title="Effectors day 0, memory day 28", infusions=(Infusion(0, 1, 0), Infusion(28, 0, 1))
    ),
    Calendar(
        name="X2", title="Memory day 0, effectors day 7", infusions=(Infusion(0, 0, 1), Infusion(7, 1, 0))
    ),
    Calendar(
        name="X3",
        title="Low-high-memory, niche support day 28",
        infusions=_LHM,
        lymphodepletions=(Lymphodepletion(28, 1.0),),
    ),
    Calendar(
        name="X4",
        title="Low-high-memory, chemotherapy day 28",
        infusions=_LHM,
        lymphodepletions=(Lymphodepletion(28, 0.1),),
    ),
    Calendar(
        name="X5",
        title="Halves days 0 and 28, niche support day 28",
        infusions=_HALVES,
        lymphodepletions=(Lymphodepletion(28, 1.0),),
    ),
    Calendar(
        name="X6",
        title="Halves days 0 and 28, chemotherapy day 28",
        infusions=_HALVES,
        lymphodepletions=(Lymphodepletion(28, 0.1),),
    ),
    _niche("X7", (14,)),
    _niche("X8", (28,)),
    _niche("X9", (14, 28)),
    Calendar(
        name="X10", title="Single infusion, double dose", infusions=(Infusion(0, 2, 2),), equal_budget=False
    ),
    Calendar(
        name="X11",
        title="Single infusion, tenfold memory day 28",
        infusions=(Infusion(0, 1, 1), Infusion(28, 0, 10)),
        equal_budget=False,
    ),
    Calendar(
        name="X12",
        title="Single infusion, a tenth of the dose at high burden",
        infusions=_SINGLE,
        equal_budget=False,
        dose_of=burden_adapted(),
    ),
    Calendar(
        name="X13",
        title="Half of the cells, once, niche support day 28",
        infusions=(Infusion(0, 0.5, 0.5),),
        lymphodepletions=(Lymphodepletion(28, 1.0),),
        equal_budget=False,
    ),
)

ARMS: dict[str, Arm] = {arm.name: arm for arm in (*STANDARD, *EXPLORATORY)}


def get(name: str) -> Arm:
    """Return the arm of that name.

    Parameters
    ----------
    name : str
        One of `ARMS`.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if name not in ARMS:
        raise InputError(f"There is no arm {name!r}." + nearest(name, ARMS))
    return ARMS[name]
