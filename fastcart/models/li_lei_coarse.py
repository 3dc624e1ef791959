"""The coarse-grained model of Li & Lei 2025: effector and memory CAR-T cells, and tumor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numba import njit

from fastcart.model import Model, Observable, PublishedScheme, State
from fastcart.models.binding import free_tumor_cells, free_tumor_cells_published
from fastcart.models.human_ranges import IMMUNE_CELLS, TUMOR_CELLS
from fastcart.models.li_lei import C_FREE, DOC_BINDING, check_binding, check_killing, observed
from fastcart.models.li_lei_parameters import BY_NAME, REFERENCE

_NAMES = (
    "lambda_C", "K_C", "d_C", "k_TE", "K_1", "K_2", "lambda_TME", "lambda_TEM", "d_TE",
    "lambda_TM", "K_TM0", "K_TM1", "d_TM",
)  # fmt: skip


def _by_root(free_cells: Any) -> Any:
    """Make a function of states and parameters that looks for C* in each call."""

    @njit
    def bound(y, p):
        return free_cells(0.0, y.TE, y.TM, y.C, p.K_1, p.K_2, 0.0)

    return bound


@njit
def _by_equation(y, p):
    return y.C_free


@njit
def _equation(t, y, p):
    """Eq. (2.4) without CD4+ cells."""
    x = y.C_free
    return (x * (1.0 + p.K_1 * y.TE / (1.0 + p.K_1 * x) + p.K_2 * y.TM / (1.0 + p.K_2 * x)) - y.C,)


def _functions(bound: Any, killing_free: bool) -> dict[str, Any]:
    @njit
    def free_and_killing(y, p):
        x = bound(y, p)
        free = p.K_1 * y.TE / (1.0 + p.K_1 * x)
        numerator = free if killing_free else p.K_1 * y.TE
        return x, p.k_TE * numerator / (1.0 + free + p.K_2 * y.TM / (1.0 + p.K_2 * x) + p.K_1 * y.C)

    @njit
    def rhs(t, y, p):
        x, killing = free_and_killing(y, p)
        q = p.K_2 * x / (1.0 + p.K_2 * x)
        reactivation = p.lambda_TME * q * y.TM
        K_TM = p.K_TM0 + p.K_TM1 * q
        return (
            reactivation - (p.lambda_TEM + p.d_TE) * y.TE,
            p.lambda_TM * K_TM / (K_TM + y.TM) * y.TM + p.lambda_TEM * y.TE - reactivation - p.d_TM * y.TM,
            (p.lambda_C * p.K_C / (p.K_C + y.C) - p.d_C - killing) * y.C,
        )

    @njit
    def observe(t, y, p):
        return free_and_killing(y, p)

    @njit
    def observe_without_binding(t, y, p):
        return (free_and_killing(y, p)[1],)

    return {"rhs": rhs, "observe": observe, "observe_without_binding": observe_without_binding}


def li_lei_coarse(killing: str = "free", binding: str = "root") -> Model:
    """Build the coarse-grained model, eqs. (3.1)-(3.3)."""
    free, of_equation = check_killing(killing) == "free", check_binding(binding) == "equation"
    functions = _functions(_by_equation if of_equation else _by_root(free_tumor_cells), free)
    observables = [C_FREE, Observable("killing_TE", "1/day", "killing rate k(t) of Section 3.1")]
    published = PublishedScheme(_functions(_by_root(free_tumor_cells_published), free)["rhs"], step=0.1)
    parameters = []
    for name in _NAMES:
        parameter = BY_NAME[name]
        if name == "k_TE":
            parameter = replace(parameter, default=3.8, source="Li & Lei 2025, Figure 4 caption")
        parameters.append(parameter)
    return Model(
        name="li_lei_coarse",
        states=(
            State("TE", "cells", 1e7, description="effector CAR-T cells", plausible=IMMUNE_CELLS),
            State("TM", "cells", 1e3, description="memory CAR-T cells", plausible=IMMUNE_CELLS),
            State(
                "C", "cells", 1e6, log=True, description="tumor cells", extinction=True, plausible=TUMOR_CELLS
            ),
        ),
        parameters=parameters,
        rhs=functions["rhs"],
        t_end=100.0,
        burden="C",
        doc=(
            "Li & Lei 2025, coarse-grained model, eqs. (3.1)-(3.3): no cytokines, no CD4+, pre-CD8+ or "
            "regulatory cells. Option killing='free' (default, as printed and as the authors computed) "
            "or 'total'."
        )
        + DOC_BINDING,
        references=(REFERENCE,),
        options={"killing": killing, "binding": binding},
        **observed(functions, observables, _equation if of_equation else None, published),
    )
