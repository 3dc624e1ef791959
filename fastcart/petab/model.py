"""The SBML model of a problem, with what its tables override as columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.sbml.building import Naming, model_of
from fastcart.sbml.document import Source, read
from fastcart.sbml.equations import Equations, equations_of

_T_END = 100.0  # each problem says how long it is


@dataclass(frozen=True, eq=False)
class Simulated:
    """A model, and what the ids of its file are called in it.

    Parameters
    ----------
    model : Model
    names : dict of str to str
        Of states, parameters and observables, by their ids.
    """

    model: Model
    names: dict[str, str]

    def column(self, name: str) -> str:
        """Return the parameter or state that stands for what a table overrides.

        Raises
        ------
        InputError
            For what follows from a rule.
        """
        column = self.names[name]
        if column not in self.columns:
            raise InputError(
                f"PEtab: the tables set {name!r}, which follows from a rule of the model or from its amount; "
                "set what it follows from."
            )
        return column

    @property
    def columns(self) -> set[str]:
        """Parameters and states of the model."""
        return {item.name for item in self.model.items}


def simulated(text: str, values: Mapping[str, float], overridden: Iterable[str]) -> Simulated:
    """Return the model of an SBML text.

    Parameters
    ----------
    text : str
    values : mapping
        Of the parameter table, which count over those of the file.
    overridden : iterable of str
        Ids that conditions set: their initial values may be missing in the file.

    Raises
    ------
    InputError
        For what `fastcart.sbml` does not take.
    """
    source = read(text)
    for name, value in values.items():
        _give(source, name, value)
    for name in overridden:
        if name not in values and _lacks(source, name):
            _give(source, name, 1.0)
    equations = equations_of(source)
    return Simulated(model_of(equations, t_end=_T_END, burden=None), _names(equations))


def _names(equations: Equations) -> dict[str, str]:
    return Naming([*equations.states, *equations.parameters, *equations.defined, *equations.algebraic]).of


def _lacks(source: Source, name: str) -> bool:
    """Whether the file has no value for what a condition sets."""
    if name in source.initial or name in source.assigned:
        return False
    if name in source.parameters:
        return source.parameters[name].value is None
    if name in source.compartments:
        return source.compartments[name].size is None
    if name in source.species:
        return source.species[name].amount is None and source.species[name].concentration is None
    return False


def _give(source: Source, name: str, value: float) -> None:
    """Let what a table sets have this value, instead of what the file says."""
    if math.isnan(value) or name in source.assigned:
        return
    if name in source.parameters:
        source.parameters[name].value = value
    elif name in source.compartments:
        source.compartments[name].size = value
    elif name in source.species:
        species = source.species[name]
        species.amount, species.concentration = (value, None) if species.by_amount else (None, value)
    else:
        return
    source.initial.pop(name, None)
