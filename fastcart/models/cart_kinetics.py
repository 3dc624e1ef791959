"""CAR-T cell kinetics in blood: growth to a maximum, then two phases of decay; made for fits of populations.

Source: Stein et al., Tisagenlecleucel model-based cellular kinetic analysis of chimeric antigen receptor-T
cells, CPT Pharmacometrics Syst Pharmacol 8, 285-295 (2019): the model, and its typical values as public
libraries of models carry them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numba import njit

from fastcart.math import log
from fastcart.model import Model, Observable, Parameter, State
from fastcart.models.human_ranges import COPIES_PER_UG

_HIGH = 1e12
_DOC = """CAR-T cell kinetics in blood: growth to a maximum, then two phases of decay.

Until Tmax effectors grow foldx-fold, E' = ln(foldx) / Tmax E, from E(0) = Cmax / foldx; behind it
E' = -alpha E, and memory cells come of them, M' = FB (alpha - beta) E - beta M. So cells are
Cmax ((1 - FB) exp(-alpha s) + FB exp(-beta s)), a time s after Tmax.
"""


@njit
def _rhs(t, y, p):
    grows = t < p.Tmax
    growth = log(p.foldx) / p.Tmax
    turned = p.FB * (p.alpha - p.beta) * y.E - p.beta * y.M
    return (growth if grows else -p.alpha) * y.E, 0.0 if grows else turned


@njit
def _observe(t, y, p):
    return (y.E + y.M,)


def _start(values: Mapping[str, Any]) -> Any:
    return values["Cmax"] / values["foldx"]


def cart_kinetics() -> Model:
    """Return the model of CAR-T cell kinetics.

    Until ``Tmax`` effectors grow ``foldx``-fold, ``E' = ln(foldx) / Tmax E``, from ``E(0) = Cmax / foldx``;
    behind it ``E' = -alpha E`` and memory cells come of them, ``M' = FB (alpha - beta) E - beta M``. So cells
    are ``Cmax ((1 - FB) exp(-alpha s) + FB exp(-beta s))``, a time ``s`` after ``Tmax``.
    """
    source = "Stein et al. 2019"
    return Model(
        "cart_kinetics",
        [
            State(
                "E",
                "copies/ug",
                _start,
                description="effector cells, transgene copies",
                plausible=COPIES_PER_UG,
            ),
            State(
                "M", "copies/ug", 0.0, description="memory cells, transgene copies", plausible=COPIES_PER_UG
            ),
        ],
        [
            Parameter("foldx", 3900.0, "", "foldx", (1e-6, _HIGH), source, "fold expansion"),
            Parameter("Tmax", 9.3, "day", "T_max", (1e-6, 1e6), source, "time of the maximum"),
            Parameter("Cmax", 24000.0, "copies/ug", "C_max", (0.0, _HIGH), source, "maximum"),
            Parameter("alpha", 0.16, "1/day", "alpha", (0.0, 1e6), source, "initial decline"),
            Parameter("FB", 0.0079, "", "F_B", (0.0, 1e6), source, "share of memory at the maximum"),
            Parameter("beta", 0.0032, "1/day", "beta", (0.0, 1e6), source, "terminal decline"),
        ],
        _rhs,
        t_end=365.0,
        observables=[Observable("cells", "copies/ug", "effector and memory cells")],
        observe=_observe,
        breaks=["Tmax"],
        doc=_DOC,
        references=("CPT Pharmacometrics Syst Pharmacol 8, 285-295 (2019)",),
    )
