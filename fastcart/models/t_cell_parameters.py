"""Parameters of the T-cell model: names, defaults, units, sources.

Names are flat, one column each. Phenotypes are S, C, M, E; ``P_SC`` is the chance that a daughter of a
dividing S cell is a C cell, ``Kon_SC`` and ``Koff_SC`` are conversions per day from S to C while the drive is
on and off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from fastcart.model import Parameter

PHENOTYPES = ("S", "C", "M", "E")
FATES = (*PHENOTYPES, "X")
ARROWS = tuple(a + b for a in PHENOTYPES for b in PHENOTYPES if a != b)

LONG = {
    "N": "naive",
    "S": "stem-like memory (Tscm)",
    "C": "central memory (Tcm)",
    "M": "effector memory (Tem)",
    "E": "effector",
    "X": "terminal or exhausted",
}

# Sums that every patient must keep: (what it is, the parameters, which of them follows from the others)
ROWS = tuple((f"P_{a}", tuple(f"P_{a}{b}" for b in FATES), f"P_{a}{a}") for a in PHENOTYPES)
FIRST_FATES = tuple((name, tuple(f"{name}_{b}" for b in PHENOTYPES)) for name in ("flo", "fhi"))

_RATE = "1/day"
_INFINITY = math.inf

# name, default, unit, lowest, highest, source, description
_COMMON = (
    ("d_N", 0.005, _RATE, 0, _INFINITY, "assumed; human 0.0003-0.0006, Macallan 2019", "loss of naive cells"),
    ("alpha", 1.0, _RATE, 0, _INFINITY, "assumed; recruitment near complete, van Heijst 2009",
     "recruitment of naive cells at full drive"),
    ("lambda_I", 2.0, _RATE, 0, _INFINITY, "assumed, set by the day of the peak", "rise of the drive"),
    ("delta_I", 0.55, _RATE, 0, _INFINITY, "assumed, set by the day of the peak", "decay of the drive"),
    ("K_I", 1e5, "antigen", 0, _INFINITY, "assumed", "half-saturation of the drive by antigen"),
    ("eta", 1.0, "antigen/cell", 0, _INFINITY, "assumed", "competition of T cells for antigen"),
    ("K_T", 1e8, "cells", 1e-100, 1e100, "assumed", "crowding of T cells"),
    ("q", 1.0, "", 0, _INFINITY, "theory", "power of the drive in Kon"),
    ("xi", 0.0, _RATE, 0, _INFINITY, "assumed", "exhaustion of M and E at full drive"),
    ("omega", 0.0, _RATE, 0, _INFINITY, "assumed", "return of X to M without drive"),
    ("dXon", 0.05, _RATE, 0, _INFINITY, "assumed", "death of X at full drive"),
    ("dXoff", 0.30, _RATE, 0, _INFINITY, "assumed; X needs antigen, Wherry 2004", "death of X without drive"),
    ("g", 2.5, _RATE, 0, _INFINITY, "assumed", "growth of antigen"),
    ("K_A", 1e8, "antigen", 1e-100, 1e100, "assumed", "carrying capacity of antigen"),
    ("theta", 1.0, "antigen", 0, _INFINITY, "assumed", "antigen below which growth stops"),
    ("delta_A", 0.3, _RATE, 0, _INFINITY, "assumed", "loss of antigen by itself"),
    ("s_A", 0.0, "antigen/day", 0, _INFINITY, "assumed", "source of antigen"),
    ("kappa", 2e-5, "1/(cell day)", 0, _INFINITY, "Bocharov 2015; mass action, Ganusov 2011",
     "killing of antigen per effector"),
    ("phi_M", 0.3, "", 0, _INFINITY, "assumed; Ganusov 2011 allows 1", "killing by M, relative to E"),
    ("phi_X", 0.1, "", 0, _INFINITY, "assumed", "killing by X, relative to E"),
)  # fmt: skip

# for S, C, M, E
_KINETICS = {
    "rho": ((1.6, 2.0, 2.5, 2.8), "division at full drive", "Bocharov 2015; order Kretschmer 2020"),
    "h": ((0.01, 0.02, 0.005, 0.0), "homeostatic division", "Macallan 2019; Choo 2010; M assumed"),
    "don": ((0.01, 0.021, 0.02, 0.05), "death at full drive", "S as h; others assumed"),
    "doff": ((0.01, 0.021, 0.02, 0.45), "death without drive", "E: De Boer 2001, Bocharov 2015"),
}

_VACCINE = (
    ("d_V", 0.5, _RATE, 0, _INFINITY, "assumed", "decay of vaccine antigen"),
)  # fmt: skip
_BLASTS = (("rho_B", 2.8, _RATE, 0, _INFINITY, "assumed; within Bocharov 2015", "division of blasts"),)
_TREATMENT = (
    ("k_drug", 10.0, _RATE, 0, _INFINITY, "brief scenario", "loss of antigen under full treatment"),
)  # fmt: skip

DEFAULTS: dict[str, float] = {name: default for name, default, *_ in _COMMON} | {
    f"{rate}_{a}": value
    for rate, (values, _, _) in _KINETICS.items()
    for a, value in zip(PHENOTYPES, values, strict=True)
}


def _left_by(others: tuple[str, ...], values: Mapping[str, Any]) -> Any:
    """The default of the chance to keep the phenotype: what the other fates leave."""
    left = 1.0 - sum(values[other] for other in others)
    return np.where(np.abs(left) < 1e-12, 0.0, left)  # what rounding leaves of nothing


def _source_of_naive(values: Mapping[str, Any]) -> Any:
    return values["d_N"] * values["N"]


def parameters(
    values: Mapping[str, float], *, vaccine: bool, treatment: bool, blasts: bool = False
) -> tuple[Parameter, ...]:
    """Return all parameters with the defaults ``values`` (of a preset and a scenario).

    Parameters
    ----------
    values : mapping of str to float
        Every topology value; kinetic rates where they differ from the common ones.
    vaccine, treatment, blasts : bool
        Whether the parameters of these parts belong to the model.
    """
    result = [_parameter(row, values) for row in _COMMON]
    source_of_naive = values.get("s_N", _source_of_naive)
    result.insert(
        1, Parameter("s_N", source_of_naive, unit="cells/day", source="steady state: d_N N(0)",
                     description="new naive cells"),
    )  # fmt: skip
    for rate, (defaults, text, source) in _KINETICS.items():
        for a, default in zip(PHENOTYPES, defaults, strict=True):
            name = f"{rate}_{a}"
            result.append(
                Parameter(name, values.get(name, default), unit=_RATE, source=source,
                          description=f"{text} of {a}")
            )  # fmt: skip
    for name, row in FIRST_FATES:
        drive = "weak" if name == "flo" else "strong"
        for b, fate in zip(PHENOTYPES, row, strict=True):
            result.append(
                Parameter(fate, values[fate], range=(0, 1), source="preset",
                          description=f"chance of a first daughter to be {b} at {drive} drive")
            )  # fmt: skip
    for _, row, kept in ROWS:
        for fate in row:
            others = tuple(other for other in row if other != kept)
            chance = partial(_left_by, others) if fate == kept else values[fate]
            result.append(
                Parameter(fate, chance, range=(0, 1), source="preset",
                          description=f"chance of a daughter of {fate[2]} to be {fate[3]}"
                          + (", the rest of its row" if fate == kept else ""))
            )  # fmt: skip
    for phase, text in (("on", "at full drive"), ("off", "without drive")):
        for arrow in ARROWS:
            name = f"K{phase}_{arrow}"
            result.append(
                Parameter(name, values[name], unit=_RATE, source="preset",
                          description=f"conversion of {arrow[0]} to {arrow[1]} {text}")
            )  # fmt: skip
    inputs = [*(_VACCINE if vaccine else ()), *(_TREATMENT if treatment else ())]
    inputs += _BLASTS if blasts else ()
    return tuple(result + [_parameter(row, values) for row in inputs])


def _parameter(row: tuple, values: Mapping[str, float]) -> Parameter:
    name, default, unit, low, high, source, text = row
    return Parameter(
        name, values.get(name, default), unit=unit, range=(low, high), source=source, description=text
    )
