"""Measurements beside the formulas that predict them: what each formula reads, for all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.checks import shown
from fastcart.errors import InputError
from fastcart.petab.conditions import Given, Givens, Setting, Values, givens
from fastcart.petab.formulas import TIME, Formula, formula_of, placeholder
from fastcart.petab.model import Simulated


class Argument(NamedTuple):
    """What a name in a formula is: ``saved`` or ``parameter`` with its place, ``time``, or ``given``."""

    kind: str
    place: int
    givens: Givens | None


@dataclass(frozen=True, eq=False)
class Observed:
    """The measurements of one observable.

    Parameters
    ----------
    name : str
    rows : ndarray of int
        Which measurements, in the order of the table.
    transformation : str
    noise : str
    value, deviation : Formula
    value_arguments, deviation_arguments : list of Argument
    """

    name: str
    rows: np.ndarray
    transformation: str
    noise: str
    value: Formula
    deviation: Formula
    value_arguments: list[Argument]
    deviation_arguments: list[Argument]


class Maker:
    """Makes `Observed` of tables.

    Parameters
    ----------
    simulated : Simulated
    settings : mapping of str to Setting
    values : Values
    """

    def __init__(self, simulated: Simulated, settings: Mapping[str, Setting], values: Values):
        self._simulated, self._settings, self._values = simulated, settings, values
        self.saved: list[str] = []

    def all_of(self, observables: pd.DataFrame, measurements: pd.DataFrame) -> list[Observed]:
        """Return the observables that are measured.

        Raises
        ------
        InputError
            For formulas that cannot be read, and for names that nothing has.
        """
        names = [str(name) for name in observables.index]
        values = {
            name: formula_of(observables.loc[name, "observableFormula"], f"the formula of {name!r}")
            for name in names
        }
        found = []
        for name in names:
            rows = np.flatnonzero(measurements["observableId"].astype(str).to_numpy() == name)
            if not len(rows):
                continue
            row = dict(observables.loc[name])
            deviation = formula_of(row["noiseFormula"], f"the noise of {name!r}").with_names(
                {k: v for k, v in values.items() if k not in self._simulated.names}
            )
            mine = measurements.iloc[rows]
            self._check(name, row, mine)
            arguments = [
                [self._argument(x, name, mine) for x in formula.names]
                for formula in (values[name], deviation)
            ]
            how = str(row["observableTransformation"]), str(row["noiseDistribution"])
            found.append(Observed(name, rows, *how, values[name], deviation, *arguments))
        return found

    def _check(self, name: str, row: Mapping[str, Any], mine: pd.DataFrame) -> None:
        if row["observableTransformation"] != "lin" and (mine["measurement"] <= 0).any():
            raise InputError(
                f"PEtab: a measurement of {name!r} is not positive, but its transformation is logarithmic."
            )

    def _argument(self, name: str, observable: str, mine: pd.DataFrame) -> Argument:
        """Return what a name in a formula stands for in these measurements."""
        if name == TIME:
            return Argument(TIME, -1, None)
        filled = placeholder(name)
        if filled is not None:
            return self._filled(filled, observable, mine)
        others = [self._settings[c].others for c in mine["simulationConditionId"].astype(str)]
        if others and all(name in x for x in others):
            return Argument("given", -1, givens([x[name] for x in others]))
        if name in self._simulated.names:
            return self._of_model(name, observable)
        given = self._values.named(name)
        if given is None:
            raise InputError(
                f"PEtab: the observable {observable!r} reads {name!r}, which neither the model nor a table "
                "has."
            )
        return Argument("given", -1, givens([given] * len(mine)))

    def _of_model(self, name: str, observable: str) -> Argument:
        column, model = self._simulated.names[name], self._simulated.model
        if column in model.parameter_names:
            return Argument("parameter", model.parameter_names.index(column), None)
        if column not in model.state_names and column not in model.observable_names:
            raise InputError(f"PEtab: the observable {observable!r} reads {name!r}, which has no value.")
        if column not in self.saved:
            self.saved.append(column)
        return Argument("saved", self.saved.index(column), None)

    def _filled(self, filled: tuple[str, int, str], observable: str, mine: pd.DataFrame) -> Argument:
        """Return what measurements put in for a name of their own."""
        kind, number, of = filled
        if of != observable:
            raise InputError(f"PEtab: the observable {observable!r} reads a {kind}Parameter of {of!r}.")
        listed: list[Given] = []
        for cell in mine[f"{kind}Parameters"]:
            parts = [] if _empty(cell) else str(cell).split(";")
            if len(parts) < number:
                raise InputError(
                    f"PEtab: a measurement of {observable!r} has no {kind}Parameter{number}; its "
                    f"{kind}Parameters are {shown(cell)}."
                )
            listed.append(self._values.of(parts[number - 1], f"a {kind}Parameter of {observable!r}"))
        return Argument("given", -1, givens(listed))


def _empty(cell: Any) -> bool:
    return bool(pd.isna(cell)) or str(cell).strip() == ""


class At(NamedTuple):
    """What formulas read of some rows of parameters, at all measurements.

    Parameters
    ----------
    natural : ndarray, shape (rows, parameters)
    time : ndarray, shape (measurements,)
    saved : callable
        Returns a saved quantity, of its place, at some measurements: rows x measurements.
    parameter : callable
        The same of a parameter of the model.
    """

    natural: np.ndarray
    time: np.ndarray
    saved: Callable[[int, np.ndarray], np.ndarray]
    parameter: Callable[[int, np.ndarray], np.ndarray]


def arguments(listed: list[Argument], rows: np.ndarray, at: At) -> list[np.ndarray]:
    """Return the arrays that a formula of some measurements reads."""
    found = []
    for argument in listed:
        if argument.kind == TIME:
            found.append(at.time[np.newaxis, rows])
        elif argument.kind == "saved":
            found.append(at.saved(argument.place, rows))
        elif argument.kind == "parameter":
            found.append(at.parameter(argument.place, rows))
        else:
            assert argument.givens is not None
            found.append(argument.givens.of(at.natural))
    return found


class SlopesAt(NamedTuple):
    """Derivatives of what `At` gives: of a quantity at some measurements, dynamic x rows x measurements."""

    saved: Callable[[int, np.ndarray], np.ndarray]
    parameter: Callable[[int, np.ndarray], np.ndarray]
    dynamic: np.ndarray


def slopes(formula: Formula, listed: list[Argument], rows: np.ndarray, at: At, by: SlopesAt) -> np.ndarray:
    """Return the derivatives of a formula by all parameters, rows x measurements x parameters."""
    given = arguments(listed, rows, at)
    shape = (len(at.natural), len(rows))
    found = np.zeros((*shape, at.natural.shape[1]))
    for argument, slope in zip(listed, formula.slopes(given), strict=True):
        if slope is None or argument.kind == TIME:
            continue
        whole = np.broadcast_to(slope, shape)
        if argument.kind == "given":
            assert argument.givens is not None
            some = np.flatnonzero(argument.givens.place >= 0)
            found[:, some, argument.givens.place[some]] += whole[:, some]
            continue
        of = by.saved if argument.kind == "saved" else by.parameter
        found[:, :, by.dynamic] += np.moveaxis(of(argument.place, rows), 0, 2) * whole[:, :, np.newaxis]
    return found
