"""Kimmel et al. 2021: CAR-T cells compete with normal T cells.

Source: Kimmel, Locke, Altrock, The roles of T cell competition and stochastic extinction events in chimeric
antigen receptor T cell therapy, Proc R Soc B 288, 20210229 (2021), doi:10.1098/rspb.2021.0229, equations
(2.1) to (2.3), values and start of Table 1. Fitted to medians of ZUMA-1: lymphocytes, CAR-T cells in blood,
and one measurement of the tumor. BIOMD0000001041 has the same, per microliter of blood: 5e8 cells each. The
stochastic extinction of the tumor below 100 cells is not part of these equations.
"""

from __future__ import annotations

from numba import njit

from fastcart.math import log
from fastcart.model import Model, State
from fastcart.models.human_ranges import IMMUNE_CELLS, TUMOR_CELLS
from fastcart.models.zoo.parts import parameters

_DOC = """CAR-T cells C compete with normal T cells N and kill lymphoma B (Kimmel 2021).

N' = -r_N N ln((N + C) / K_N), C' = -r C ln((N + C) / K_C), B' = r_B B - gamma_B B C / (k_B + C), where CAR-T
cells grow faster while lymphocytes T = N + C are few, r = rho_C + b (T - K_N)^2 / (a T^2 + (T - K_N)^2).
"""

_ROWS = (
    ("K_N", 2.5e11, "cells", "capacity for normal T cells"),
    ("K_C", 6.96e10, "cells", "capacity for CAR-T cells"),
    ("r_N", 0.17, "1/day", "growth of normal T cells"),
    ("rho_C", 0.0251, "1/day", "growth of CAR-T cells among many lymphocytes"),
    ("a", 0.423, "", "inefficiency of the signals of reconstitution"),
    ("b", 0.525, "1/day", "impact of reconstitution on CAR-T cells"),
    ("r_B", 0.01, "1/day", "growth of lymphoma (Table 1: 0.01 to 0.5)"),
    ("gamma_B", 1.15, "1/day", "killing of lymphoma"),
    ("k_B", 2.024e9, "cells", "CAR-T cells at half of the killing"),
)


@njit
def _rhs(t, y, p):
    total = y.N + y.C
    away = (total - p.K_N) * (total - p.K_N)
    growth = p.rho_C + p.b * away / (p.a * total * total + away)
    return (
        -p.r_N * log(total / p.K_N) * y.N,
        -growth * log(total / p.K_C) * y.C,
        (p.r_B - p.gamma_B * y.C / (p.k_B + y.C)) * y.B,
    )


def kimmel() -> Model:
    """Return the model of Kimmel et al. 2021, with the slowest growth of lymphoma of its Table 1."""
    return Model(
        "kimmel",
        [
            State("N", "cells", 3e9, log=True, description="normal T cells", plausible=IMMUNE_CELLS),
            State("C", "cells", 1.8e8, log=True, description="CAR-T cells", plausible=IMMUNE_CELLS),
            State("B", "cells", 9.486e10, log=True, description="lymphoma", plausible=TUMOR_CELLS),
        ],
        parameters("Kimmel et al. 2021, Table 1", _ROWS, positive=("K_N", "K_C", "k_B")),
        _rhs,
        t_end=365.0,
        burden="B",
        doc=_DOC,
        references=("G. J. Kimmel et al., Proc R Soc B 288, 20210229 (2021), doi:10.1098/rspb.2021.0229",),
    )
