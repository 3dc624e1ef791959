"""Controlled arms: infused cells that are switched, depleted or made memory by a rule that sees measurements.

An arm is a calendar of infusions and a rule; a `Session` is the arm in a group of patients. It reads at each
visit what a clinic would measure, asks the rule, and does to the states what the rule says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import number, shown, user_code
from fastcart.errors import InputError
from fastcart.protocols.arms import Calendar, checked_visits, schedule_of
from fastcart.protocols.controllers import ControlRule
from fastcart.protocols.measurement import (
    AT_MOST_ONE,
    COMMANDS,
    KINDS,
    NOT_DONE,
    Assays,
    Command,
    History,
)
from fastcart.trial.adapter import Actuators, TrialAdapter

VISITS = tuple(float(day) for day in (*range(1, 29), *range(35, 120, 7)))
"""Daily to day 28, then weekly to day 119."""
SWITCHES = ("fraction", "graded")
_SOON = 1e-9  # days
_MADE_UP = {"burden": 1e10, "cells": 1e9, "il6": 300.0}  # readings with which a rule is rehearsed


@dataclass(frozen=True, kw_only=True)
class Controlled(Calendar):
    """A calendar of infusions of cells on which a rule acts at visits.

    Parameters
    ----------
    rule : callable
        ``rule(history)`` gets a `History` and returns a `Command`. It is asked on day 0, too, after the
        infusion of that day, and must be a plain function of the history.
    visits : sequence of float
        Days of the visits, ascending, after day 0; readings are made before an infusion of the same day.
    assays : Assays
        How a clinic measures.
    switch : "fraction" or "graded"
        Whether a share of the cells acts in full, or every cell in part.
    lag : float
        Mean days until the activity follows the drug; 0: at once.
    leak : float
        Activity that a CAR that is off has still.

    Examples
    --------
    >>> from fastcart.protocols import Controlled, Controller, Infusion, target
    >>> rule = Controller(target=target("RISE_T", 3e9))
    >>> Controlled(name="RISE_T", infusions=(Infusion(0, 1, 1),), rule=rule).lag
    0.25
    """

    rule: ControlRule = field(repr=False)
    visits: tuple[float, ...] = VISITS
    assays: Assays = field(default_factory=Assays)
    switch: str = "fraction"
    lag: float = 0.25
    leak: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "visits", checked_visits(self.visits, self.name))
        if not callable(self.rule):
            raise InputError(f"The rule of the arm {self.name!r} must be a function, not {shown(self.rule)}.")
        if self.switch not in SWITCHES:
            raise InputError(
                f"The switch of the arm {self.name!r} must be 'fraction' or 'graded', not "
                f"{shown(self.switch)}."
            )
        if number(self.lag, f"The lag of the arm {self.name!r}") < 0:
            raise InputError(f"The lag of the arm {self.name!r} must be days from 0 on, not {self.lag:g}.")
        if not 0 <= number(self.leak, f"The leak of the arm {self.name!r}") <= 1:
            raise InputError(f"The leak of the arm {self.name!r} must lie in [0, 1], not {self.leak:g}.")


class Session:
    """A controlled arm in a group of patients: what was read, and what was done.

    Parameters
    ----------
    arm : Controlled
    patients : DataFrame
        With ``patient`` and what engraftment needs.
    cells : ndarray, shape (patients,)
        Cells of each patient's product.
    adapter : TrialAdapter
    numbers : ndarray of int, shape (patients,)
        Of the patients in the population, which the noise of the assays follows.
    seed : int or None
        Of the assays; None measures exactly.

    Attributes
    ----------
    days : ndarray, shape (visits,)
        Day 0 and the visits of the arm.
    done : dict of str to ndarray, shape (patients, visits)
        The fields of `Command` by name.
    there : dict of str to ndarray, shape (patients, visits)
        What there was at each visit, whatever was read: cells that ``act`` (effectors times the activity of
        the CAR), ``memory`` cells and all ``cells``; after the infusion of day 0, before what is done.

    Raises
    ------
    InputError
        For a model whose infused cells cannot be acted on.
    """

    def __init__(
        self,
        arm: Controlled,
        patients: pd.DataFrame,
        cells: np.ndarray,
        *,
        adapter: TrialAdapter,
        numbers: np.ndarray,
        seed: int | None,
    ) -> None:
        self.arm, self.patients, self.cells, self.numbers, self.seed = arm, patients, cells, numbers, seed
        self.actuators = actuators_of(arm, adapter)
        self.adapter = self.actuators.add(adapter.model, arm.switch)
        self.days = np.array([0.0, *arm.visits])
        shape = (len(patients), len(self.days))
        self._read = {kind: np.zeros(shape) for kind in KINDS}
        self.done = {name: np.full(shape, value) for name, value in NOT_DONE.items()}
        self.there = {name: np.zeros(shape) for name in ("act", "memory", "cells")}
        self._places = pd.Index(patients["patient"])
        self._seen, self._rows = patients, np.arange(len(patients))

    def start(self) -> pd.DataFrame:
        """Return the patients with the states that follow from what is done on day 0."""
        states = pd.DataFrame(self.adapter.baseline(self.patients), index=self.patients.index)
        infused = [
            self.adapter.engrafted(self.patients, E, M, D=self.cells)
            for day, E, M in schedule_of(self.arm)
            if day == 0.0
        ]
        seen = states.copy()
        for parts in infused:
            for state, entered in zip(self.adapter.entry, parts, strict=True):
                seen[state] = seen[state] + entered
        changed = self._act(0, np.arange(len(states)), seen, states)
        own = self.actuators
        names = [own.activity, own.wanted, own.promotion, own.blockade, *self.adapter.entry]
        names = [name for name in names if name]
        rate = 1.0 / self.arm.lag if self.arm.lag > 0 else 0.0
        return self.patients.assign(**{name: changed[name] for name in names}, **{own.rate: rate})

    def interventions(self) -> Sequence[tuple[float, Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]]]:
        """Return the visits as interventions of `fastcart.trial.course.course`, in the order of days."""
        return [(day, partial(self._visit, place)) for place, day in enumerate(self.arm.visits, start=1)]

    def infused(self, what: str, until: float) -> np.ndarray:
        """Return the fraction of a budget, "effectors" or "memory", that the rule infused before a day."""
        return self.done[what][:, self.days < until].sum(axis=1)

    def _visit(self, place: int, states: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
        if patients is not self._seen:  # a course gives the same table at each visit
            self._seen, self._rows = patients, self._places.get_indexer(patients["patient"])
        return self._act(place, self._rows, states, states)

    def _act(self, place: int, rows: np.ndarray, seen: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
        """Measure, ask the rule, and return the states after what it says."""
        day, arm = float(self.days[place]), self.arm
        of = {"burden": self.adapter.burden.of, "cells": self.adapter.cells.of,
              "il6": self.adapter.marker.unblocked}  # fmt: skip
        for kind in KINDS:
            self._read[kind][rows, place] = arm.assays.read(
                kind, of[kind](seen), numbers=self.numbers[rows], day=day, seed=self.seed
            )
        self._keep(rows, place, seen)
        known = max(1, int(np.searchsorted(self.days[: place + 1], day - arm.assays.delay + _SOON, "right")))
        read = {kind: self._read[kind][rows, :known] for kind in KINDS}
        done = {name: values[rows, :place] for name, values in self.done.items()}
        own = self.actuators.activity
        history = History(
            day, arm.assays.delay, self.days[:known], **read, visits=self.days[:place], done=done,
            active=seen[own].to_numpy() if own else np.ones(len(rows)),
        )  # fmt: skip
        command = answered(arm, history)
        command["activity"] = np.maximum(command["activity"], arm.leak)
        for name, values in command.items():
            self.done[name][rows, place] = values
        return self._changed(states, rows, command)

    def _keep(self, rows: np.ndarray, place: int, seen: pd.DataFrame) -> None:
        """Keep what there is at a visit."""
        own = self.actuators
        active = seen[own.activity].to_numpy() if own.activity else 1.0
        self.there["act"][rows, place] = seen[own.effectors[0]].to_numpy() * active
        self.there["memory"][rows, place] = sum(seen[name].to_numpy() for name in own.memory)
        self.there["cells"][rows, place] = self.adapter.cells.of(seen)

    def _check_alone(self, command: Mapping[str, np.ndarray]) -> None:
        """Check that a rule that leaves actuators alone does so."""
        for name, state in (("promotion", self.actuators.promotion), ("blockade", self.actuators.blockade)):
            if not state and (command[name] != NOT_DONE[name]).any():
                raise InputError(
                    f"The rule of the arm {self.arm.name!r} says that it sets the activity alone "
                    f"(activity_alone), but commands a {name}; leave that attribute off."
                )

    def _changed(
        self, states: pd.DataFrame, rows: np.ndarray, command: Mapping[str, np.ndarray]
    ) -> pd.DataFrame:
        own = self.actuators
        self._check_alone(command)
        new: dict[str, Any] = {own.wanted: command["activity"]}
        if own.promotion:
            new[own.promotion] = command["promotion"]
        if self.arm.lag == 0:
            new[own.activity] = command["activity"]
        given = command["blockade"]
        if (given > 0).any():
            new[own.blockade] = np.where(given > 0, given, states[own.blockade])
        for names, kept in ((own.effectors, "keep_effectors"), (own.memory, "keep_memory")):
            if (command[kept] < 1).any():
                new |= {name: states[name].to_numpy() * command[kept] for name in names}
        if (command["effectors"] > 0).any() or (command["memory"] > 0).any():
            entered = self.adapter.engrafted(
                self.patients.iloc[rows], command["effectors"], command["memory"], D=self.cells[rows]
            )
            for name, cells in zip(self.adapter.entry, entered, strict=True):
                new[name] = np.asarray(new.get(name, states[name])) + cells
        return states.assign(**new)


def actuators_of(arm: Controlled, adapter: TrialAdapter) -> Actuators:
    """Return the states of a model through which a clinic acts on infused cells, no more than the arm needs.

    Raises
    ------
    InputError
        When it has none.
    """
    if adapter.actuators is None:
        raise InputError(
            f"The arm {arm.name!r} needs a model with a switch and other actuators, which "
            f"{adapter.model.name!r} has not."
        )
    # a rule that does not say what it leaves alone may do everything
    return adapter.actuators.alone if getattr(arm.rule, "activity_alone", False) else adapter.actuators


def answered(arm: Controlled, history: History) -> dict[str, np.ndarray]:
    """Ask the rule of an arm, and return its command by name, arrays of shape (patients,).

    Raises
    ------
    InputError
        For anything but a `Command` of numbers within their limits.
    """
    with user_code(f"The rule of the arm {arm.name!r}", locate=True):
        command = arm.rule(history)
    if not isinstance(command, Command):
        raise InputError(f"The rule of the arm {arm.name!r} must return a Command, not {shown(command)}.")
    size = len(history.cells)
    answer = {}
    for name in COMMANDS:
        given = getattr(command, name)
        try:
            values = np.broadcast_to(np.asarray(given, dtype=np.float64), size).copy()
        except (TypeError, ValueError):
            raise InputError(
                f"The rule of the arm {arm.name!r} must give {name!r} as one number per patient, not "
                f"{shown(given)}."
            ) from None
        bad = ~(np.isfinite(values) & (values >= 0))
        if name in AT_MOST_ONE:
            bad |= values > 1
        if bad.any():
            allowed = "lie in [0, 1]" if name in AT_MOST_ONE else "be a finite number from 0 on"
            raise InputError(
                f"The rule of the arm {arm.name!r} gives on day {history.day:g} the {name!r} "
                f"{values[bad][0]:g}; it must {allowed}."
            )
        answer[name] = values
    return answer


def rehearse(arm: Controlled) -> None:
    """Ask the rule of an arm at each visit about made-up readings, to see what it answers at all.

    Raises
    ------
    InputError
        As `answered`.
    """
    days, size = np.array([0.0, *arm.visits]), 2
    for place, day in enumerate(days):
        known = max(1, int(np.searchsorted(days[: place + 1], day - arm.assays.delay + _SOON, "right")))
        read = {kind: np.full((size, known), value) for kind, value in _MADE_UP.items()}
        done = {name: np.full((size, place), value) for name, value in NOT_DONE.items()}
        told = History(
            float(day), arm.assays.delay, days[:known], **read, visits=days[:place], done=done,
            active=np.ones(size),
        )  # fmt: skip
        answered(arm, told)


def mean_activity(session: Session | np.ndarray, weights: np.ndarray | None = None) -> tuple[float, ...]:
    """Return the geometric mean of the activity that an arm commanded, on each of its days.

    Parameters
    ----------
    session : Session or ndarray, shape (patients, visits)
        That has been followed to its last visit, or the activity that it commanded.
    weights : ndarray, shape (patients,), optional
        Default equal.
    """
    done = session.done["activity"] if isinstance(session, Session) else session
    logs = np.log(np.maximum(done, 1e-300))
    return tuple(np.exp(np.average(logs, axis=0, weights=weights)).tolist())


def without_measurement(arm: Controlled, activity: Sequence[float], name: str) -> Controlled:
    """Return the open loop of an arm: the same infusions and visits, a fixed activity on each day.

    Parameters
    ----------
    arm : Controlled
    activity : sequence of float
        On day 0 and on the visits of the arm, e.g. from `mean_activity`.
    name : str
    """
    from fastcart.protocols.controllers import Controller, Replay

    others = arm.rule if isinstance(arm.rule, Controller) else None
    days = (0.0, *arm.visits)
    return replace(arm, name=name, rule=Replay(days, tuple(activity), others))
