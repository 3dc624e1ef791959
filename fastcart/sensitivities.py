"""Sensitivities as they are asked for: names in, what each patient is changed by out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastcart.checks import names, shown
from fastcart.dose_tables import DoseRecords
from fastcart.errors import InputError, nearest
from fastcart.model import Model, State, computed_default
from fastcart.patients import PatientTable
from fastcart.regimens import Regimen
from fastcart.solvers.doses import DosePlan
from fastcart.solvers.problem import Problem
from fastcart.solvers.sensitivities import check
from fastcart.solvers.trace.graph import TraceError
from fastcart.solvers.trace.sensitivities import Directions

_APART = 1e-3  # of the size of a direction: how far computed defaults are looked at to both sides


@dataclass(frozen=True)
class Sensitivities:
    """What a batch is differentiated by.

    Parameters
    ----------
    asked : tuple of str
        Parameters and states (their initial values), in the order of the model.
    table : PatientTable
    problem : Problem
    """

    asked: tuple[str, ...]
    table: PatientTable
    problem: Problem

    @cached_property
    def _computed(self) -> dict[str, frozenset[str]]:
        """For each column that follows from others in this table, which of those it follows from."""
        model = self.table.model
        items = [i for i in model.items if callable(i.default) and i.name not in self.table.columns]
        known: dict[str, Any] = model.defaults()
        read = {}
        for item in items:
            noted = _Noting({name: value for name, value in known.items() if name != item.name})
            computed_default(model, item, noted, ())
            read[item.name] = frozenset(noted.read)
        found: dict[str, frozenset[str]] = {}
        for item in items:  # later ones may follow from earlier ones
            further = (found[name] for name in read[item.name] if name in found)
            found[item.name] = read[item.name].union(*further)
        return found

    def _followers(self, name: str) -> list[str]:
        """Return the columns that change with another."""
        return [follower for follower, of in self._computed.items() if name in of]

    @cached_property
    def directions(self) -> Directions:
        """Return the directions as solvers take them."""
        parameters = self.table.model.parameter_names
        moved = [
            (parameters.index(name), k)
            for k, asked in enumerate(self.asked)
            for name in [asked, *self._followers(asked)]
            if name in parameters
        ]
        return Directions(self.asked, tuple(moved))

    @property
    def further(self) -> int:
        """How many numbers each patient has behind its parameters."""
        own = len(self.problem.model.states) - self.problem.integrals
        return len(self.directions.moved) + len(self.asked) * (own + 1)

    def widened(self, start: int, stop: int, y0: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Return the parameters of patients with what `WithSensitivities` needs behind them."""
        own = len(self.problem.model.states) - self.problem.integrals
        states, parameters = self.table.model.state_names, self.table.model.parameter_names
        sizes = np.empty((len(p), len(self.asked)))
        initial = np.zeros((len(p), len(self.asked), own))
        moved = np.empty((len(p), len(self.directions.moved)))
        place = 0
        for k, name in enumerate(self.asked):
            values = p[:, parameters.index(name)] if name in parameters else y0[:, states.index(name)]
            size = sizes[:, k] = self._size(name, values)
            changes = (y0, p)  # not looked at where nothing follows
            if self._followers(name):
                changes = self._changes(name, start, stop, values, size)
            for j, direction in self.directions.moved:
                if direction == k:
                    moved[:, place] = size if parameters[j] == name else changes[1][:, j]
                    place += 1
            for state in self._followers(name):
                if state in states:
                    initial[:, k, states.index(state)] = changes[0][:, states.index(state)]
            if name in states:
                initial[:, k, states.index(name)] = size
        return np.hstack([p, moved, initial.reshape(len(p), -1), sizes])

    def refuse_moving_doses(self, records: DoseRecords) -> None:
        """Refuse doses that move with what is differentiated by.

        Raises
        ------
        InputError
        """
        if records.reset.any() or records.steady.any():
            raise InputError(
                "Sensitivities go through boluses, infusions and removals, not through a reset or a steady "
                "state; give the doses before one by one."
            )
        parameters = self.table.model.parameter_names
        moved = {parameters[j] for j, _ in self.directions.moved}
        of = [records.rate.of, records.duration.of, records.lag.of, records.bioavailability.of]
        fixed = {parameters[j] for j in np.concatenate(of) if j >= 0}
        fixed |= {parameters[j] for j in records.switched}
        if records.switched:  # what follows from it switches, too
            fixed |= set(self._computed)
        for name in sorted(moved & fixed):
            raise InputError(
                f"A dose depends on {name!r} or switches it, so there is no sensitivity to what it moves "
                "with; give the dose as a number, or leave that out of sensitivities."
            )

    def refuse_moving_breaks(self) -> None:
        """Refuse breaks that are what is differentiated by, or follow from it.

        Raises
        ------
        InputError
        """
        for name in self.problem.breaks:
            for asked in self.asked:
                if name == asked or name in self._followers(asked):
                    what = f"{name!r} itself" if name == asked else f"{name!r}, which follows from {asked!r}"
                    raise InputError(
                        f"The time of a break is {what}, so there is no sensitivity to it; give the break "
                        "as a number, or leave that name out of sensitivities."
                    )

    def _size(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return what counts as a large change, so that tolerances mean something."""
        item = next(item for item in self.table.model.items if item.name == name)
        default = 0.0 if callable(item.default) else abs(float(item.default))
        size = np.maximum(np.abs(values), default)
        return np.where(size > 0.0, size, item.scale if isinstance(item, State) else 1.0)

    def _changes(
        self, name: str, start: int, stop: int, values: np.ndarray, size: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return by how much computed initial values and parameters change, by a formula of order 4."""
        whole = np.empty(self.table.size)
        found = []
        for times in (-2, -1, 1, 2):
            whole[start:stop] = values + times * _APART * size
            moved = replace(self.table, columns={**self.table.columns, name: whole})
            found.append(moved.arrays(start, stop))
        changes = tuple(
            (8.0 * (found[2][x] - found[1][x]) - (found[3][x] - found[0][x])) / (12.0 * _APART)
            for x in (0, 1)
        )
        for values in changes:
            if not np.isfinite(values).all():
                raise InputError(
                    f"The sensitivity to {name!r} does not exist: a default that follows from it has no "
                    "derivative there; give the columns that are computed from it."
                )
        return changes[0], changes[1]


class _Noting(dict):
    """A mapping that notes what is asked for."""

    def __init__(self, values: Mapping[str, Any]):
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def __iter__(self) -> Iterator[str]:
        self.read.update(super().keys())
        return super().__iter__()

    def _all(self) -> None:
        self.read.update(super().keys())

    def keys(self) -> Any:
        self._all()
        return super().keys()

    def values(self) -> Any:
        self._all()
        return super().values()

    def items(self) -> Any:
        self._all()
        return super().items()


def check_sensitivities(
    model: Model, asked: Sequence[str], problem: Problem, engine: str, table: PatientTable,
    doses: DosePlan | Regimen | None,
) -> Sensitivities | None:  # fmt: skip
    """Check what a batch is to be differentiated by; None for nothing.

    Parameters
    ----------
    model : Model
        As the user gave it.
    asked : sequence of str
    problem : Problem
    engine : str
    table : PatientTable
    doses : DosePlan, Regimen or None

    Raises
    ------
    InputError
        For what the model does not have, and for what has no sensitivities or none that are known.
    """
    listed = names(asked, "What to differentiate by (sensitivities)")
    if not listed:
        return None
    known = [item.name for item in model.items]
    for name in listed:
        if name not in known:
            raise InputError(
                f"Model {model.name!r} has no parameter or state {shown(name)} to differentiate by."
                + nearest(name, known)
            )
    _refuse_moving(problem, engine, listed)
    result = Sensitivities(tuple(name for name in known if name in listed), table, problem)
    result.refuse_moving_breaks()
    if isinstance(doses, Regimen):
        result.refuse_moving_doses(doses.records)
    try:
        check(replace(problem, directions=result.directions))
    except TraceError as refusal:
        raise InputError(
            f"Sensitivities of model {model.name!r} are not known: its equations cannot be differentiated, "
            f"since a function of it {refusal}."
        ) from None
    return result


def _refuse_moving(problem: Problem, engine: str, asked: Sequence[str]) -> None:
    """Refuse what stops or changes the course at times that move with what is differentiated by."""
    if engine == "published":
        raise InputError("Engine 'published' knows no sensitivities; use another, e.g. 'auto'.")
    if problem.extinction is not None:
        raise InputError(
            "Sensitivities cannot go through an extinction, whose time moves with the parameters; leave off "
            "extinction."
        )
    for event in problem.events:
        if event.terminal:
            raise InputError(
                f"Sensitivities cannot end at event {event.name!r}, whose time moves with the parameters; "
                "let it not be terminal."
            )
        if event.actions:
            raise InputError(
                f"Sensitivities cannot go through what event {event.name!r} does, whose time moves with the "
                "parameters; leave off its actions."
            )
