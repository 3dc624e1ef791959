"""The coarse-grained model of Li & Lei 2025: effector and memory CAR-T cells, and tumor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numba import njit

from fastcart.model import Model, Observable, PublishedScheme, State
from fastcart.models.binding import free_tumor_cells, free_tumor_cells_published
from fastcart.models.li_lei import check_killing
from fastcart.models.li_lei_parameters import BY_NAME, REFERENCE

_NAMES = (
    "lambda_C", "K_C", "d_C", "k_TE", "K_1", "K_2", "lambda_TME", "lambda_TEM", "d_TE",
    "lambda_TM", "K_TM0", "K_TM1", "d_TM",
)  # fmt: skip


def _functions(free_cells: Any, killing_free: bool) -> dict[str, Any]:
    @njit
    def free_and_killing(TE, TM, C, k_TE, K_1, K_2):
        x = free_cells(0.0, TE, TM, C, K_1, K_2, 0.0)
        free = K_1 * TE / (1.0 + K_1 * x)
        numerator = free if killing_free else K_1 * TE
        return x, k_TE * numerator / (1.0 + free + K_2 * TM / (1.0 + K_2 * x) + K_1 * C)

    @njit
    def rhs(t, y, p):
        TE, TM, C = y
        (lambda_C, K_C, d_C, k_TE, K_1, K_2, lambda_TME, lambda_TEM, d_TE,
         lambda_TM, K_TM0, K_TM1, d_TM) = p  # fmt: skip
        x, killing = free_and_killing(TE, TM, C, k_TE, K_1, K_2)
        q = K_2 * x / (1.0 + K_2 * x)
        reactivation = lambda_TME * q * TM
        K_TM = K_TM0 + K_TM1 * q
        return (
            reactivation - (lambda_TEM + d_TE) * TE,
            lambda_TM * K_TM / (K_TM + TM) * TM + lambda_TEM * TE - reactivation - d_TM * TM,
            (lambda_C * K_C / (K_C + C) - d_C - killing) * C,
        )

    @njit
    def observe(t, y, p):
        TE, TM, C = y
        return free_and_killing(TE, TM, C, p[3], p[4], p[5])

    return {"rhs": rhs, "observe": observe}


def li_lei_coarse(killing: str = "free") -> Model:
    """Build the coarse-grained model, eqs. (3.1)-(3.3)."""
    free = check_killing(killing) == "free"
    functions = _functions(free_tumor_cells, free)
    published = _functions(free_tumor_cells_published, free)
    parameters = []
    for name in _NAMES:
        parameter = BY_NAME[name]
        if name == "k_TE":
            parameter = replace(parameter, default=3.8, source="Li & Lei 2025, Figure 4 caption")
        parameters.append(parameter)
    return Model(
        name="li_lei_coarse",
        states=(
            State("TE", "cells", 1e7, description="effector CAR-T cells"),
            State("TM", "cells", 1e3, description="memory CAR-T cells"),
            State("C", "cells", 1e6, log=True, description="tumor cells", extinction=True),
        ),
        parameters=parameters,
        rhs=functions["rhs"],
        t_end=100.0,
        observables=(
            Observable("C_free", "cells", "free tumor cells C*, eq. (2.4)"),
            Observable("killing_TE", "1/day", "killing rate k(t) of Section 3.1"),
        ),
        observe=functions["observe"],
        burden="C",
        doc=(
            "Li & Lei 2025, coarse-grained model, eqs. (3.1)-(3.3): no cytokines, no CD4+, pre-CD8+ or "
            "regulatory cells. Option killing='free' (default, as printed and as the authors computed) "
            "or 'total'."
        ),
        references=(REFERENCE,),
        published=PublishedScheme(published["rhs"], step=0.1),
        options={"killing": killing},
    )
