"""Chaudhury et al. 2020: three ways in which CAR-T cells expand, of a review of kinetic models.

Source: Chaudhury et al., Chimeric antigen receptor T cell therapies: a review of cellular
kinetic-pharmacodynamic modeling approaches, J Clin Pharmacol 60, S147-S159 (2020), doi:10.1002/jcph.1691,
equations (4)-(5), (7)-(9) and (S1)-(S3) by way of BIOMD0000001024, BIOMD0000001025 and MODEL2109110005.
Values that show how the models behave; decline and persistence are those of Stein et al. 2019, nothing was
fitted.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from fastcart.math import log
from fastcart.model import Model, Observable, State
from fastcart.models.zoo.parts import chosen, parameters

_DOC = """CAR-T cells and tumor U in blood, three ways of expansion (Chaudhury 2020).

Option expansion='EC50' (default): until T_max C_E' = rho C_E U / (EC50_rho + C_E + U) and no persisting cells
come, behind it C_E' = -(k_E + k_EP) C_E, C_P' = k_EP C_E - beta C_P; the tumor, with the share of it that
grows, F = 1 / (1 + (U_crit / U)^h): U' = F g U (1 - log U / log U_max) - d C_E U / (EC50_d + C_E + U).
'first order': as before with C_E' = rho C_E until T_max, and killing d C_E U.
'Lotka-Volterra': C_E' = rho C_E U - k_E C_E, U' = g U - d C_E U.
"""

_TINY = 1e-300  # of which a logarithm can be taken

_LATER = (
    ("k_EP", 0.0012, "1/day", "passage of expanding to persisting cells"),
    ("beta", 0.0032, "1/day", "death of persisting cells"),
    ("U_crit", 0.1, "cells/ul", "tumor cells of which half can grow"),
)
_ROWS: dict[str, tuple] = {
    "EC50": (
        ("rho", 8.8, "1/day", "expansion of CAR-T cells"),
        ("k_E", 0.16, "1/day", "death of expanding cells"),
        ("EC50_rho", 1.0, "cells/ul", "cells at half of the expansion"),
        ("g", 0.2, "1/day", "growth of the tumor"),
        ("d", 0.35, "1/day", "killing of tumor cells"),
        ("EC50_d", 10.0, "cells/ul", "cells at half of the killing"),
        *_LATER,
        ("U_max", 1000.0, "cells/ul", "capacity for tumor cells"),
        ("h", 3.0, "", "steepness of the loss of small tumors"),
        ("T_max", 9.3, "day", "end of the expansion"),
    ),
    "first order": (
        ("rho", 1.0, "1/day", "expansion of CAR-T cells"),
        ("k_E", 0.16, "1/day", "death of expanding cells"),
        ("g", 0.3, "1/day", "growth of the tumor"),
        ("d", 7e-4, "ul/(day cell)", "killing of tumor cells"),
        *_LATER,
        ("U_max", 100.0, "cells/ul", "capacity for tumor cells"),
        ("h", 3.0, "", "steepness of the loss of small tumors"),
        ("T_max", 9.3, "day", "end of the expansion"),
    ),
    "Lotka-Volterra": (
        ("rho", 0.0018, "ul/(day cell)", "expansion of CAR-T cells"),
        ("k_E", 0.16, "1/day", "death of CAR-T cells"),
        ("g", 0.15, "1/day", "growth of the tumor"),
        ("d", 1.5e-4, "ul/(day cell)", "killing of tumor cells"),
    ),
}
_ENTRIES = {"EC50": "BIOMD0000001025", "first order": "MODEL2109110005", "Lotka-Volterra": "BIOMD0000001024"}


@njit
def _growth(y, p):
    """The growth rate of a tumor that is lost where it is small and stops at its capacity."""
    size = max(y.U, _TINY)
    grows = 1.0 / (1.0 + (p.U_crit / size) ** p.h)
    return grows * p.g * (1.0 - log(size) / log(p.U_max))


@njit
def _saturating(t, y, p):
    grown = p.rho * y.U / (p.EC50_rho + y.C_E + y.U)
    expands = t <= p.T_max
    return (
        (grown if expands else -(p.k_E + p.k_EP)) * y.C_E,
        0.0 if expands else p.k_EP * y.C_E - p.beta * y.C_P,
        (_growth(y, p) - p.d * y.C_E / (p.EC50_d + y.C_E + y.U)) * y.U,
    )


@njit
def _first_order(t, y, p):
    expands = t <= p.T_max
    return (
        (p.rho if expands else -(p.k_E + p.k_EP)) * y.C_E,
        0.0 if expands else p.k_EP * y.C_E - p.beta * y.C_P,
        (_growth(y, p) - p.d * y.C_E) * y.U,
    )


@njit
def _predators(t, y, p):
    return (p.rho * y.U - p.k_E) * y.C_E, (p.g - p.d * y.C_E) * y.U


@njit
def _cart(t, y, p):
    return (y.C_E + y.C_P,)


def chaudhury(expansion: str = "EC50") -> Model:
    """Return one of the models of Chaudhury et al. 2020.

    Parameters
    ----------
    expansion : str
        ``"EC50"``, equations (7) to (9); ``"first order"``, (S1) to (S3); ``"Lotka-Volterra"``, (4) and (5).
    """
    rows = _ROWS[chosen("expansion", expansion, _ROWS)]
    states = [State("C_E", "cells/ul", 10.0, log=True, description="expanding CAR-T cells")]
    more: dict[str, Any] = {"rhs": _predators}
    if expansion != "Lotka-Volterra":
        states.append(State("C_P", "cells/ul", 0.0, description="persisting CAR-T cells"))
        more = {
            "rhs": _saturating if expansion == "EC50" else _first_order,
            "observables": [Observable("cart", "cells/ul", "CAR-T cells")],
            "observe": _cart,
            "breaks": ["T_max"],
        }
    states.append(State("U", "cells/ul", 900.0, log=True, description="tumor cells"))
    positive = ("EC50_rho", "EC50_d", "U_max", "U_crit", "T_max")
    return Model(
        "chaudhury",
        states,
        parameters(f"Chaudhury et al. 2020 ({_ENTRIES[expansion]})", rows, positive=positive),
        t_end=100.0 if expansion == "Lotka-Volterra" else 365.0,
        burden="U",
        doc=_DOC,
        options={"expansion": expansion},
        references=("A. Chaudhury et al., J Clin Pharmacol 60, S147-S159 (2020), doi:10.1002/jcph.1691",),
        **more,
    )
