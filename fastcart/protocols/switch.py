"""A CAR with a switch: an arm that holds what the CAR-T cells do near a target, from visit to visit.

Drug-regulated receptors and small molecules that pause signalling let a clinic control the *effective*
concentration of effectors directly, and not only the number infused. At each visit a rule reads what a
laboratory measures daily, IL-6 and CAR-T cells in blood, and sets the activity of the CAR until the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import number, shown
from fastcart.errors import InputError
from fastcart.protocols.arms import Calendar, checked_visits
from fastcart.trial.adapter import CarSwitch, TrialAdapter

# often while the cells double within a day, rarely later
VISITS = (2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 17.0, 21.0, 28.0, 42.0)


@dataclass(frozen=True)
class Reading:
    """What is measured at a visit of an arm with a switch; every array has one value per patient.

    Parameters
    ----------
    day : float
    il6 : ndarray
        Serum IL-6, pg/mL.
    cells : ndarray
        CAR-T cells of all kinds, as the transgene in blood counts them.
    level : ndarray
        Activity of the CAR since the last visit, from 0 (off) to 1 (on).
    """

    day: float
    il6: np.ndarray
    cells: np.ndarray
    level: np.ndarray


Switch = Callable[[Reading], Any]


@dataclass(frozen=True, kw_only=True)
class Switched(Calendar):
    """A calendar of infusions of cells whose CAR is switched at visits.

    Parameters
    ----------
    switch : callable
        ``switch(reading)`` gets a `Reading` and returns the activity of the CAR until the next visit, from 0
        to 1, one value per patient or one number for all. It is asked on day 0, too, after the infusion; its
        last answer stays.
    visits : sequence of float
        Days of the visits, ascending, after day 0.

    Examples
    --------
    >>> from fastcart.protocols import Infusion, Switched, hold_effectors
    >>> Switched(name="S", infusions=(Infusion(0, 1, 1),), switch=hold_effectors(1e10), visits=(3, 7)).visits
    (3.0, 7.0)
    """

    switch: Switch = field(repr=False)
    visits: tuple[float, ...] = VISITS

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "visits", checked_visits(self.visits, self.name))
        if not callable(self.switch):
            raise InputError(
                f"The switch of the arm {self.name!r} must be a function, not {shown(self.switch)}."
            )


def hold_effectors(target: float, *, rise: float = 0.0, hold: float = np.inf) -> Switch:
    """Return the rule that holds the effective number of CAR-T cells, activity times cells, near a target.

    While IL-6 is above `hold` (pg/mL) the CAR is off. Else its activity is ``target exp(rise day) / cells``,
    at most 1: low effectors first, more of them later, without a change of the cells infused.

    Parameters
    ----------
    target : float
        Cells on day 0.
    rise : float
        Growth of the target, 1/day.
    hold : float
        pg/mL; infinity never switches off.
    """
    number(target, "The target of effective cells", positive=True)
    number(rise, "The rise of the target")

    def switch(reading: Reading) -> np.ndarray:
        wanted = target * np.exp(rise * reading.day)
        level = np.minimum(1.0, wanted / np.maximum(reading.cells, 1.0))
        return np.where(reading.il6 > hold, 0.0, level)

    return switch


def on_off(off: float, on: float) -> Switch:
    """Return the rule that switches the CAR off while IL-6 is above `off`, and on again below `on`.

    Parameters
    ----------
    off, on : float
        IL-6 in pg/mL.

    Raises
    ------
    InputError
        Unless ``on <= off``.
    """
    if number(on, "The threshold 'on'") > number(off, "The threshold 'off'"):
        raise InputError(f"The CAR must be switched on at an IL-6 not above 'off', not {on:g} > {off:g}.")

    def switch(reading: Reading) -> np.ndarray:
        rests = (reading.il6 > off) | ((reading.level == 0.0) & (reading.il6 > on))
        return np.where(rests, 0.0, 1.0)

    return switch


def first_level(arm: Switched, il6: Any, cells: Any) -> np.ndarray:
    """Return the activity of the CAR from day 0 on, given IL-6 and the cells that engraft."""
    cells = np.asarray(cells, dtype=np.float64)
    reading = Reading(0.0, np.broadcast_to(np.asarray(il6, dtype=np.float64), cells.shape), cells,
                      np.ones(cells.shape))  # fmt: skip
    return _level(arm, reading)


def switching(
    arm: Switched, adapter: TrialAdapter
) -> Sequence[tuple[float, Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]]]:
    """Return the visits of the arm as interventions of `fastcart.trial.course.course`.

    Raises
    ------
    InputError
        For a model without a switch.
    """
    state = switch_of(arm, adapter).state
    return [(day, partial(_visit, arm, adapter, state, day)) for day in arm.visits]


def switch_of(arm: Switched, adapter: TrialAdapter) -> CarSwitch:
    """Return the switch of a model.

    Raises
    ------
    InputError
        When it has none.
    """
    if adapter.switch is None:
        raise InputError(
            f"The arm {arm.name!r} needs a CAR with a switch, which the model {adapter.model.name!r} has not."
        )
    return adapter.switch


def _visit(
    arm: Switched, adapter: TrialAdapter, state: str, day: float, states: pd.DataFrame, patients: pd.DataFrame
) -> pd.DataFrame:
    marker, cells = adapter.marker.of(states), adapter.cells.of(states)
    level = _level(arm, Reading(day, marker, cells, states[state].to_numpy()))
    return states.assign(**{state: level})


def _level(arm: Switched, reading: Reading) -> np.ndarray:
    answer = arm.switch(reading)
    try:
        level = np.broadcast_to(np.asarray(answer, dtype=np.float64), reading.cells.shape)
    except (TypeError, ValueError):
        raise InputError(
            f"The switch of the arm {arm.name!r} must return one activity per patient, not {shown(answer)}."
        ) from None
    bad = ~((level >= 0) & (level <= 1))
    if bad.any():
        raise InputError(
            f"The switch of the arm {arm.name!r} sets on day {reading.day:g} the activity "
            f"{level[bad][0]:g}; it must lie in [0, 1]."
        )
    return level
