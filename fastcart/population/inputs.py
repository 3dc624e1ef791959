"""What may vary between the virtual patients of a model, and what is the same for all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fastcart.model import Parameter
from fastcart.models.b_all_parameters import PARAMETERS

DEFAULT_DOSE = 1e8  # cells of the product


@dataclass(frozen=True)
class Inputs:
    """The inputs of a model, by the names that a prior has for them.

    Parameters
    ----------
    model : str
    parameters : mapping of str to (float, float)
        Parameters that may vary, with what they are allowed to be.
    initial : mapping of str to str
        Initial values, and the states that they are of.
    shares : mapping of str to (str, str)
        Shares at the start, with the state that they give and the state that they are a share of: as many
        cells, or none where that is less than one.
    constants : mapping of str to float
        Columns that are the same for all patients.
    """

    model: str
    parameters: Mapping[str, tuple[float, float]]
    initial: Mapping[str, str] = field(default_factory=dict)
    shares: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All that may vary."""
        return (*self.initial, *self.shares, *self.parameters)

    def limits(self, name: str) -> tuple[float, float]:
        """Return what an input is allowed to be."""
        return self.parameters.get(name, (0.0, math.inf))

    def columns(self, drawn: Mapping[str, np.ndarray], defaults: Mapping[str, float]) -> dict:
        """Return columns of a table of patients from what was drawn.

        Parameters
        ----------
        drawn : mapping of str to ndarray, shape (patients,)
            By the names of the prior.
        defaults : mapping of str to float
            Of states, where a share is of one that does not vary.
        """
        rest = dict(drawn)
        columns = {state: rest.pop(name) for name, state in self.initial.items() if name in rest}
        for name, (state, whole) in self.shares.items():
            if name in rest:
                cells = rest.pop(name) * columns.get(whole, defaults.get(whole, 0.0))
                columns[state] = np.where(cells >= 1.0, cells, 0.0)
        return {**columns, **rest}


def parameters_of(parameters: tuple[Parameter, ...], *, but: tuple[str, ...]) -> dict:
    """Return the allowed values of parameters by name, without some."""
    return {p.name: p.range for p in parameters if p.name not in but}


B_ALL = Inputs(
    model="b_all",
    parameters=parameters_of(PARAMETERS, but=("D", "hT", "hL")),
    initial={"L0": "L", "B0": "B", "N0": "N"},
    shares={"fR": ("R", "L")},  # CD19- cells among the leukemia
    constants={"D": DEFAULT_DOSE},
)
