"""Hanson et al. 2016: inflammation and CAR-T cells, killer and helper, in B-cell leukemia.

Source: Hanson et al., Toxicity management in CAR T cell therapy for B-ALL: mathematical modelling as a new
avenue for improvement, bioRxiv 049908 (2016), doi:10.1101/049908; equations and values by way of
BIOMD0000000837. Not fitted: values of the literature, for a random population of patients.
"""

from __future__ import annotations

from numba import njit

from fastcart.model import Model, Observable, State
from fastcart.models.zoo.parts import parameters

_DOC = """Inflammation by CAR-T cells, killer and helper cells, in B-cell leukemia (Hanson 2016).

Memory cells become 2**n effectors where they meet tumor cells and inflammation I, by h = I^2 / (I^2 + b^2).
With R = max(0, 1 - (B + C_m + C_e + H_m + H_e + L) / l), the room left, and a = a_1 (1 + a_2 H_e):

B' = r_1 B (1 - B / k) - d_1 B C_e, C_m' = r_2 C_m R - a h B C_m, C_e' = 2**n a h B C_m - d_3 C_e,
H_m' = r_3 H_m R - a_3 h B H_m, H_e' = 2**n a_3 h B H_m - d_4 H_e, L' = p_2 + r_4 L R - d_5 L,
I' = p_0 + p_1 B (C_e + H_e) - d_2 I - D. Cells are counted per volume of blood; time is in hours. BioModels
gives the volume as a milliliter, but the counts (1600 lymphocytes) are those of a microliter.
"""

_SOURCE = "Hanson et al. 2016 (BIOMD0000000837)"
_ROWS = (
    ("n", 6.0, "", "divisions of a memory cell that becomes effectors"),
    ("r_1", 0.003, "1/hour", "growth of tumor cells"),
    ("r_2", 0.1, "1/hour", "growth of cytotoxic memory cells"),
    ("r_3", 0.1, "1/hour", "growth of helper memory cells"),
    ("r_4", 0.1, "1/hour", "growth of other lymphocytes"),
    ("d_1", 2e-4, "1/(hour cell)", "killing of tumor cells by cytotoxic effectors"),
    ("d_2", 1.5, "1/hour", "decay of inflammation"),
    ("d_3", 0.004, "1/hour", "death of cytotoxic effectors"),
    ("d_4", 0.004, "1/hour", "death of helper effectors"),
    ("d_5", 2e-4, "1/hour", "death of other lymphocytes"),
    ("p_0", 200.0, "1/hour", "inflammation without CAR-T cells"),
    ("p_1", 0.002, "1/(hour cell^2)", "inflammation by effectors and tumor cells"),
    ("p_2", 0.4, "cells/hour", "new lymphocytes"),
    ("a_1", 4e-7, "1/(hour cell)", "activation of cytotoxic memory cells"),
    ("a_2", 2.0, "1/cell", "help of helper effectors"),
    ("a_3", 8e-5, "1/(hour cell)", "activation of helper memory cells"),
    ("b", 800.0, "", "inflammation at half of the activation"),
    ("l", 1600.0, "cells", "lymphocytes at rest"),
    ("k", 4800.0, "cells", "capacity for tumor cells"),
    ("D", 0.0, "1/hour", "inflammation that a drug removes"),
)


@njit
def _rhs(t, y, p):
    room = max(0.0, 1.0 - (y.B + y.C_m + y.C_e + y.H_m + y.H_e + y.L) / p.l)
    inflamed = y.I * y.I / (y.I * y.I + p.b * p.b)
    cytotoxic = p.a_1 * (1.0 + p.a_2 * y.H_e) * inflamed * y.B * y.C_m
    helping = p.a_3 * inflamed * y.B * y.H_m
    burst = 2.0**p.n
    return (
        p.r_2 * y.C_m * room - cytotoxic,
        burst * cytotoxic - p.d_3 * y.C_e,
        p.r_3 * y.H_m * room - helping,
        burst * helping - p.d_4 * y.H_e,
        p.p_2 + p.r_4 * y.L * room - p.d_5 * y.L,
        p.p_0 + p.p_1 * y.B * (y.C_e + y.H_e) - p.d_2 * y.I - p.D,
        (p.r_1 * (1.0 - y.B / p.k) - p.d_1 * y.C_e) * y.B,
    )


@njit
def _observe(t, y, p):
    return (y.C_m + y.C_e + y.H_m + y.H_e,)


def hanson() -> Model:
    """Return the model of Hanson et al. 2016: seven states, the start of BIOMD0000000837, time in hours."""
    return Model(
        "hanson",
        [
            State("C_m", "cells", 10.0, description="cytotoxic memory CAR-T cells"),
            State("C_e", "cells", 10.0, description="cytotoxic effector CAR-T cells"),
            State("H_m", "cells", 10.0, description="helper memory CAR-T cells"),
            State("H_e", "cells", 10.0, description="helper effector CAR-T cells"),
            State("L", "cells", 1600.0, description="other lymphocytes"),
            State("I", "", 140.0, description="inflammation"),
            State("B", "cells", 300.0, log=True, description="tumor cells"),
        ],
        parameters(_SOURCE, _ROWS, positive=("l", "k", "b")),
        _rhs,
        t_end=1000.0,
        burden="B",
        time_unit="hour",
        observables=[Observable("cart", "cells", "CAR-T cells of all kinds")],
        observe=_observe,
        doc=_DOC,
        references=("S. Hanson et al., bioRxiv 049908 (2016), doi:10.1101/049908",),
    )
