"""Conditions as rows of the model: what each sets, by a number or an estimated parameter, and its slopes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.checks import number_in, shown
from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.petab.model import Simulated
from fastcart.petab.parameters import Parameters
from fastcart.rows import RowMaker

_APART = 1e-3  # of its size: how far beside a parameter what follows from it is looked at


class Given(NamedTuple):
    """A value: that of an estimated parameter by its place, or a number where the place is -1."""

    place: int
    number: float


class Givens(NamedTuple):
    """Values of several things as arrays."""

    place: np.ndarray
    number: np.ndarray

    def of(self, natural: np.ndarray) -> np.ndarray:
        """Return the values in each row of natural parameters, rows x things."""
        if not natural.shape[1]:
            return np.broadcast_to(self.number, (len(natural), len(self.number)))
        return np.where(self.place >= 0, natural[:, self.place], self.number)


def givens(listed: Sequence[Given]) -> Givens:
    """Return values as arrays."""
    return Givens(
        np.array([x.place for x in listed], dtype=np.int64), np.array([x.number for x in listed], dtype=float)
    )


@dataclass(frozen=True, eq=False)
class Setting:
    """What one condition says.

    Parameters
    ----------
    columns : dict of str to Given
        Of parameters and states of the model.
    restarted : frozenset of str
        States that the condition itself sets, also behind a pre-equilibration.
    others : dict of str to Given
        What the model does not know, and formulas read.
    """

    columns: dict[str, Given]
    restarted: frozenset[str]
    others: dict[str, Given]


class Values:
    """Turns what cells of tables hold into values."""

    def __init__(self, parameters: Parameters, simulated: Simulated):
        self._parameters, self._simulated = parameters, simulated

    def of(self, cell: Any, what: str) -> Given:
        """Return the value of a cell: a number, or an id.

        Raises
        ------
        InputError
            For an id that stands for no number.
        """
        number = float(cell) if isinstance(cell, int | float | np.number) else number_in(str(cell))
        if number is not None:
            return Given(-1, number)
        name = str(cell).strip()
        found = self.named(name)
        if found is None:
            raise InputError(
                f"PEtab: {what} is {shown(cell)}, which is neither a number nor a parameter of the tables."
            )
        return found

    def named(self, name: str) -> Given | None:
        """Return the value of an id; None where it stands for none."""
        parameters, simulated = self._parameters, self._simulated
        if name in parameters.names:
            return Given(parameters.names.index(name), math.nan)
        if name in parameters.fixed:
            return Given(-1, parameters.fixed[name])
        column = simulated.names.get(name)
        for item in simulated.model.parameters:
            if item.name == column and not callable(item.default):
                return Given(-1, float(item.default))
        return None


def settings(
    conditions: pd.DataFrame, parameters: Parameters, simulated: Simulated, values: Values
) -> dict[str, Setting]:
    """Return what each condition of the table says.

    Raises
    ------
    InputError
        For cells that hold no value, and for what cannot be set.
    """
    base: dict[str, Given] = {}
    for name in (*parameters.names, *parameters.fixed):
        if name in simulated.names:
            given = values.named(name)
            assert given is not None
            base[simulated.column(name)] = given
    states = set(simulated.model.state_names)
    found = {}
    for condition, row in conditions.iterrows():
        own: dict[str, Given] = {}
        others: dict[str, Given] = {}
        for key, cell in row.items():
            name = str(key)
            if name == "conditionName":
                continue
            inside = name in simulated.names
            if _empty(cell):
                if not (inside and simulated.column(name) in states) and not _sized(simulated, str(name)):
                    raise InputError(f"PEtab: the condition {condition!r} has no value for {name!r}.")
                continue
            given = values.of(cell, f"{name!r} in the condition {condition!r}")
            if inside:
                own[simulated.column(name)] = given
            else:
                others[name] = given
        found[str(condition)] = Setting({**base, **own}, frozenset(own) & states, others)
    return found


def _empty(cell: Any) -> bool:
    return bool(pd.isna(cell)) or str(cell).strip().lower() in ("", "nan")


def _sized(simulated: Simulated, name: str) -> bool:
    """Whether what a cell leaves empty has a value in the model."""
    return name in simulated.names


class Rows:
    """Makes initial values and parameters of one condition, and their slopes by what is estimated."""

    def __init__(self, model: Model, setting: Setting):
        self.model, self.setting = model, setting
        self.columns = tuple(setting.columns)
        self._given = givens([setting.columns[name] for name in self.columns])
        self._maker = RowMaker(model, self.columns)

    @property
    def places(self) -> set[int]:
        """Which of the estimated parameters it depends on."""
        return {x.place for x in self.setting.columns.values()} - {-1}

    def arrays(self, natural: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return initial values, parameters, and which rows are in their ranges."""
        return self._maker.judged(self._given.of(natural))

    @cached_property
    def _followers(self) -> dict[str, set[str]]:
        """Return which given columns each computed one depends on."""
        found: dict[str, set[str]] = {}
        for item in self.model.items:
            if callable(item.default) and item.name not in self.columns:
                read = _read(item.default, self.model)
                found[item.name] = set().union(*(found.get(name, {name}) for name in read))
        return found

    def moved(self, place: int) -> tuple[list[str], list[str]]:
        """Return the columns that are an estimated parameter, and those that follow from it."""
        own = [name for name in self.columns if self.setting.columns[name].place == place]
        followers = [name for name, of in self._followers.items() if of & set(own)]
        return own, followers

    def slopes(
        self, natural: np.ndarray, dynamic: Sequence[int], sizes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return derivatives of initial values and parameters, rows x dynamic x states or parameters.

        What follows from a parameter is looked at beside it, by a formula of order 4.
        """
        states, parameters = self.model.state_names, self.model.parameter_names
        of_states = np.zeros((len(natural), len(dynamic), len(states)))
        of_parameters = np.zeros((len(natural), len(dynamic), len(parameters)))
        for d, place in enumerate(dynamic):
            own, followers = self.moved(place)
            both = ((of_states, states), (of_parameters, parameters))
            for into, names in both:
                into[:, d, [names.index(name) for name in own if name in names]] = 1.0
            if not followers:
                continue
            beside = []
            for times in (-2, -1, 1, 2):
                moved = natural.copy()
                moved[:, place] += times * _APART * sizes[:, d]
                beside.append(self.arrays(moved)[:2])
            for part, (into, names) in enumerate(both):
                which = [names.index(name) for name in followers if name in names]
                a, b, c, e = (x[part][:, which] for x in beside)
                into[:, d, which] = (8.0 * (c - b) - (e - a)) / (12.0 * _APART * sizes[:, d, np.newaxis])
        return of_states, of_parameters


def _read(default: Any, model: Model) -> set[str]:
    """Return the columns that a default of an SBML model is computed from."""
    names: Mapping[str, str] = getattr(default, "names", {})
    columns = getattr(default, "columns", None)
    if columns is None:  # not of a file: anything
        return {item.name for item in model.items}
    return {names.get(name, name) for name in columns}
