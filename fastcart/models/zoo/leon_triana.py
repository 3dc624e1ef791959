"""León-Triana et al. 2020 and 2021: CAR-T cells against leukemia, and against a solid tumor.

Sources: León-Triana et al., CAR T cell therapy in B-cell acute lymphoblastic leukaemia: Insights from
mathematical models, Commun Nonlinear Sci Numer Simul 94, 105570 (2021), doi:10.1016/j.cnsns.2020.105570,
equations (3) and (4) by way of BIOMD0000001012 and BIOMD0000001011; León-Triana et al., Dual-target CAR-Ts
with on- and off-tumour activity may override immune suppression in solid cancers, Cancers 13, 703 (2021),
doi:10.3390/cancers13040703, equations (1) to (6) by way of BIOMD0000001013 and BIOMD0000001014. Both take
values of the literature; neither is fitted to patients.
"""

from __future__ import annotations

from numba import njit

from fastcart.model import Model, Observable, State
from fastcart.models.human_ranges import IMMUNE_CELLS, TUMOR_CELLS
from fastcart.models.zoo.parts import Row, chosen, parameters

_LEUKEMIA = """CAR-T cells C, leukemia L and healthy B cells B, all of which carry CD19 (León-Triana 2020).

C' = k alpha (L + B) C - C / tau_C, L' = rho_L L - alpha L C, B' = -alpha B C - B / tau_B.
Option B_cells='immature' adds what the bone marrow gives, with s = I_0 / (1 + C / C_50): k alpha beta s to C'
and s / tau_I to B', as BioModels has equation (3).
"""

_SOLID = """CAR-T cells C against a solid tumor T that makes them inactive (León-Triana 2021).

T' = rho_T T - alpha_2 C T, C' = rho_C C T / (g_T + T) - alpha_1 C T / (g_C + C) - C / tau_C.
Option targets='two': CAR-T cells C_B that also meet B cells B outside of the tumor, and go to it at the rate
k: k C_B is added to C', C_B' = rho_B C_B B / (g_B + B) - C_B / tau_C - k C_B,
B' = -alpha_B B C_B - B / tau_B.
"""

_ROWS = (
    ("alpha", 4.5e-11, "1/(day cell)", "killing of leukemia and B cells"),
    ("k", 0.25, "", "CAR-T cells that come of a kill"),
    ("rho_L", 1.0 / 30.0, "1/day", "growth of leukemia"),
    ("tau_C", 14.0, "day", "life of CAR-T cells"),
    ("tau_B", 60.0, "day", "life of B cells"),
)
_IMMATURE = (
    ("beta", 0.1, "", "stimulation by immature B cells"),
    ("I_0", 1e7, "cells", "immature B cells"),
    ("tau_I", 6.0, "day", "maturation of B cells"),
    ("C_50", 1e9, "cells", "CAR-T cells at half of the production of B cells"),
)
_SOLID_ROWS = (
    ("rho_C", 0.9, "1/day", "stimulation of CAR-T cells by the tumor"),
    ("g_T", 1e10, "cells", "tumor cells at half of the stimulation"),
    ("alpha_1", 0.04, "1/day", "inactivation of CAR-T cells by the tumor"),
    ("g_C", 2e9, "cells", "CAR-T cells at half of the inactivation"),
    ("tau_C", 7.0, "day", "life of CAR-T cells"),
    ("rho_T", 0.02, "1/day", "growth of the tumor"),
    ("alpha_2", 2.5e-10, "1/(day cell)", "killing of tumor cells"),
)
_DUAL_ROWS = (
    ("rho_B", 0.9, "1/day", "stimulation of CAR-T cells by B cells"),
    ("g_B", 1e10, "cells", "B cells at half of the stimulation"),
    ("k", 0.2, "1/day", "passage of CAR-T cells to the tumor"),
    ("alpha_B", 4.5e-11, "1/(day cell)", "killing of B cells"),
    ("tau_B", 60.0, "day", "life of B cells"),
)


@njit
def _mature(t, y, p):
    return (
        (p.k * p.alpha * (y.L + y.B) - 1.0 / p.tau_C) * y.C,
        (p.rho_L - p.alpha * y.C) * y.L,
        -(p.alpha * y.C + 1.0 / p.tau_B) * y.B,
    )


@njit
def _immature(t, y, p):
    source = p.I_0 / (1.0 + y.C / p.C_50)
    grown = p.k * p.alpha * ((y.L + y.B) * y.C + p.beta * source)
    return (
        grown - y.C / p.tau_C,
        (p.rho_L - p.alpha * y.C) * y.L,
        source / p.tau_I - (p.alpha * y.C + 1.0 / p.tau_B) * y.B,
    )


@njit
def _one(t, y, p):
    stimulated = p.rho_C * y.T / (p.g_T + y.T) - p.alpha_1 * y.T / (p.g_C + y.C)
    return (stimulated - 1.0 / p.tau_C) * y.C, (p.rho_T - p.alpha_2 * y.C) * y.T


@njit
def _two(t, y, p):
    stimulated = p.rho_C * y.T / (p.g_T + y.T) - p.alpha_1 * y.T / (p.g_C + y.C)
    return (
        (stimulated - 1.0 / p.tau_C) * y.C + p.k * y.C_B,
        (p.rho_T - p.alpha_2 * y.C) * y.T,
        (p.rho_B * y.B / (p.g_B + y.B) - 1.0 / p.tau_C - p.k) * y.C_B,
        -(p.alpha_B * y.C_B + 1.0 / p.tau_B) * y.B,
    )


@njit
def _all_cart(t, y, p):
    return (y.C + y.C_B,)


def leon_triana(B_cells: str = "mature") -> Model:
    """Return the model of leukemia of 2020.

    Parameters
    ----------
    B_cells : str
        ``"mature"``: equations (4), nothing follows on the B cells that are killed; ``"immature"``: equations
        (3), the bone marrow makes new ones.
    """
    immature = chosen("B_cells", B_cells, ("mature", "immature")) == "immature"
    source = f"León-Triana et al. 2020 (BIOMD000000{1012 if immature else 1011})"
    rows = (*_ROWS, *_IMMATURE) if immature else _ROWS
    return Model(
        "leon_triana",
        [
            State("C", "cells", 1e7, log=not immature, description="CAR-T cells", plausible=IMMUNE_CELLS),
            State("L", "cells", 5e10, log=True, description="leukemia", plausible=TUMOR_CELLS),
            State(
                "B", "cells", 2.5e10, log=not immature, description="healthy B cells", plausible=IMMUNE_CELLS
            ),
        ],
        parameters(source, rows, positive=("tau_C", "tau_B", "tau_I", "C_50")),
        _immature if immature else _mature,
        t_end=365.0,
        burden="L",
        doc=_LEUKEMIA,
        options={"B_cells": B_cells},
        references=(
            "O. León-Triana et al., Commun Nonlinear Sci Numer Simul 94, 105570 (2021), "
            "doi:10.1016/j.cnsns.2020.105570",
        ),
    )


def leon_triana_solid(targets: str = "one") -> Model:
    """Return the model of a solid tumor of 2021.

    Parameters
    ----------
    targets : str
        ``"one"``: CAR-T cells meet the tumor only, equations (1) and (2); ``"two"``: B cells, too, equations
        (3) to (6).
    """
    two = chosen("targets", targets, ("one", "two")) == "two"
    source = f"León-Triana et al. 2021 (BIOMD000000{1014 if two else 1013})"
    states = [
        State(
            "C",
            "cells",
            0.0 if two else 4e8,
            log=not two,
            description="CAR-T cells at the tumor",
            plausible=IMMUNE_CELLS,
        ),
        State(
            "T",
            "cells",
            3.35e10 if two else 6.7e9,
            log=True,
            description="tumor cells",
            plausible=TUMOR_CELLS,
        ),
    ]
    rows: tuple[Row, ...] = _SOLID_ROWS
    if two:
        states += [
            State(
                "C_B",
                "cells",
                2e8,
                log=True,
                description="CAR-T cells outside of the tumor",
                plausible=IMMUNE_CELLS,
            ),
            State("B", "cells", 2.5e10, log=True, description="healthy B cells", plausible=IMMUNE_CELLS),
        ]
        rows = tuple((n, 0.02 if n == "alpha_1" else v, u, d) for n, v, u, d in rows) + _DUAL_ROWS
    return Model(
        "leon_triana_solid",
        states,
        parameters(source, rows, positive=("g_T", "g_C", "tau_C", "g_B", "tau_B")),
        _two if two else _one,
        t_end=365.0,
        burden="T",
        observables=[Observable("cart", "cells", "CAR-T cells")] if two else (),
        observe=_all_cart if two else None,
        doc=_SOLID,
        options={"targets": targets},
        references=("O. León-Triana et al., Cancers 13, 703 (2021), doi:10.3390/cancers13040703",),
    )
