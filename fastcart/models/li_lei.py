"""The full model of Li & Lei 2025: five CAR-T subtypes, tumor, macrophages and four cytokines.

`li_lei` has the cytokines at quasi-equilibrium (7 states), `li_lei_cytokines` as four more equations
(11 states). Equation numbers are the paper's.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from fastcart.errors import InputError, nearest
from fastcart.math import reciprocals
from fastcart.model import Model, Observable, PublishedScheme, State
from fastcart.models.binding import binding_equilibrium, binding_published
from fastcart.models.li_lei_parameters import BY_NAME, PARAMETERS, REFERENCE

# Positions in the flat array of parameters
_INDEX = {parameter.name: index for index, parameter in enumerate(PARAMETERS)}
_lambda_I2_T4 = _INDEX["lambda_I2_T4"]
_lambda_Ig_TE = _INDEX["lambda_Ig_TE"]
_lambda_Ig_T4 = _INDEX["lambda_Ig_T4"]
_lambda_Tb_C = _INDEX["lambda_Tb_C"]
_lambda_I6_M = _INDEX["lambda_I6_M"]
_K_Tr = _INDEX["K_Tr"]
_K_Tb = _INDEX["K_Tb"]
_k_TE = _INDEX["k_TE"]
_k_T4 = _INDEX["k_T4"]
_K_1 = _INDEX["K_1"]
_K_2 = _INDEX["K_2"]
_K_3 = _INDEX["K_3"]
_d_I2 = _INDEX["d_I2"]
_d_Tb = _INDEX["d_Tb"]
_d_Ig = _INDEX["d_Ig"]
_d_I6 = _INDEX["d_I6"]
_K_C = _INDEX["K_C"]
_K_I2 = _INDEX["K_I2"]
_K_Ig = _INDEX["K_Ig"]
_K_I6 = _INDEX["K_I6"]

KILLING = ("total", "free")

CELLS = (
    State("T4", "cells", 1e4, log=True, description="CD4+ CAR-T cells"),
    State("TP", "cells", 1e7, log=True, description="pre-CD8+ CAR-T cells"),
    State("TE", "cells", 1e7, description="effector CAR-T cells"),
    State("TM", "cells", 1e3, description="memory CAR-T cells"),
    State("Tr", "cells", 1e3, log=True, description="regulatory CAR-T cells"),
    State("C", "cells", 1e6, log=True, description="tumor cells", extinction=True),
    State("M", "cells", 1e2, description="macrophages"),
)

_CYTOKINES = {
    "I2": "IL-2",
    "Ig": "IFN-γ",
    "Tb": "TGF-β",
    "I6": "IL-6",
}

_CELL_OBSERVABLES = (
    Observable("C_free", "cells", "free tumor cells C*, eq. (2.4)"),
    Observable("killing_TE", "1/day", "killing rate by effector CAR-T cells, eq. (3.4)"),
    Observable("killing_T4", "1/day", "killing rate by CD4+ CAR-T cells, eq. (3.5)"),
)

_DOC = """Li & Lei 2025, full model, eqs. (2.1)-(2.13){cytokines}.
C* is the number of free tumor cells, the root of eq. (2.4). Option killing='total' (default) counts all
effector and CD4+ cells in the numerators of the killing rates, as in everything the authors published for
this model; killing='free' counts unbound cells, as the printed formula (2.8) reads."""


def cytokine_equilibrium(values: Any) -> dict[str, Any]:
    """Return the cytokines at which eqs. (2.10)-(2.13) are at rest.

    Parameters
    ----------
    values : mapping of str to float or array
        Cell numbers ``T4, TE, Tr, C, M`` (cells) and the parameters of secretion and degradation.

    Returns
    -------
    dict
        ``I2, Ig, Tb, I6`` in ng/ml.
    """
    v = values
    Tb = v["lambda_Tb_C"] * v["C"] / v["d_Tb"]
    inhibition = 1 / (1 + v["Tr"] / v["K_Tr"]) + 1 / (1 + Tb / v["K_Tb"])
    secretion = v["lambda_Ig_TE"] * v["TE"] + v["lambda_Ig_T4"] * v["T4"]
    return {
        "I2": v["lambda_I2_T4"] * v["T4"] / v["d_I2"],
        "Ig": secretion * inhibition / v["d_Ig"],
        "Tb": Tb,
        "I6": v["lambda_I6_M"] * v["M"] / v["d_I6"],
    }


def _cytokine_states() -> tuple[State, ...]:
    def state(name: str) -> State:
        return State(
            name,
            "ng/ml",
            lambda values: cytokine_equilibrium(values)[name],
            # a hundredth of the half-saturation constant: less has no effect on any cell
            scale=0.01 * float(BY_NAME[f"K_{name}"].default),  # type: ignore[arg-type]
            description=f"{_CYTOKINES[name]} (starts at equilibrium with the cells)",
        )

    return tuple(state(name) for name in _CYTOKINES)


def _functions(equilibrium: Any, killing_free: bool) -> dict[str, Any]:
    """Make the right-hand sides and observables for one way to compute C* and one killing numerator."""
    # Hill terms are written as n/(h + n) with production over degradation folded into h, and several
    # reciprocals come from one division: the slowest vector instruction.

    @njit
    def binding(T4, TE, TM, C, p):
        """C*, the free fractions of TE, TM and T4, and the denominator D of eq. (2.8)."""
        x, a, b, d = equilibrium(T4, TE, TM, C, p[_K_1], p[_K_2], p[_K_3])
        D = 1.0 + p[_K_1] * TE * a + p[_K_2] * TM * b + p[_K_3] * T4 * d + p[_K_1] * C
        return x, a, b, d, D

    @njit
    def killing_rates(T4, TE, a, d, per_D, inhibition, p):
        """Eqs. (3.4) and (3.5); their numerators count all cells or free cells."""
        per_D = per_D * inhibition
        X_E = TE * a if killing_free else TE
        X_4 = T4 * d if killing_free else T4
        return p[_k_TE] * p[_K_1] * X_E * per_D, p[_k_T4] * p[_K_3] * X_4 * per_D

    @njit
    def cells(T4, TP, TE, TM, Tr, C, M, I2, K_I2, Ig, K_Ig, I6, K_I6, inhibition, per_C, p):
        """Eqs. (2.1)-(2.9) for given cytokines, each with its half-saturation in the same unit."""
        (lambda_T4_I2, lambda_TP_I2, lambda_Tr_I2, lambda_M_Ig, _, _, _, _, _, _, _, _, K_C, _, _, _, _,
         lambda_C, _, lambda_TM, lambda_TEM, lambda_TME, _, K_TM0, K_TM1, _, K_2, _,
         lambda_TPE, d_T4, d_TP, d_TE, d_TM, d_Tr, d_C, d_M, _, _, _, _, M_0) = p  # fmt: skip
        x, a, b, d, D = binding(T4, TE, TM, C, p)
        q = K_2 * x * b
        K_TM = K_TM0 + K_TM1 * q
        per_D, per_TM, _ = reciprocals(D, K_TM + TM, 1.0)
        kill_TE, kill_T4 = killing_rates(T4, TE, a, d, per_D, inhibition, p)
        per_I2, per_Ig, per_I6 = reciprocals(K_I2 + I2, K_Ig + Ig, K_I6 + I6)
        h2 = I2 * per_I2
        hg = Ig * per_Ig
        s = I6 * per_I6 + hg
        reactivation = lambda_TME * q * TM
        return (
            (lambda_T4_I2 * h2 - d_T4) * T4,
            (lambda_TP_I2 * h2 * inhibition - lambda_TPE * s - d_TP) * TP,
            lambda_TPE * s * TP + reactivation - (lambda_TEM + d_TE) * TE,
            lambda_TM * K_TM * per_TM * TM + lambda_TEM * TE - reactivation - d_TM * TM,
            (lambda_Tr_I2 * h2 - d_Tr) * Tr,
            (lambda_C * K_C * per_C - d_C - kill_TE - kill_T4) * C,
            lambda_M_Ig * M_0 * hg - d_M * M,
        )

    @njit
    def rhs(t, y, p):
        T4, TP, TE, TM, Tr, C, M = y
        # eqs. (2.10)-(2.13) at rest, each times its degradation rate
        I2 = p[_lambda_I2_T4] * T4
        Tb = p[_lambda_Tb_C] * C
        I6 = p[_lambda_I6_M] * M
        K_Tb = p[_K_Tb] * p[_d_Tb]
        per_Tr, per_Tb, per_C = reciprocals(p[_K_Tr] + Tr, K_Tb + Tb, p[_K_C] + C)
        inhibition = p[_K_Tr] * per_Tr
        # note the SUM of two inhibition factors in (2.11)
        Ig = (p[_lambda_Ig_TE] * TE + p[_lambda_Ig_T4] * T4) * (inhibition + K_Tb * per_Tb)
        return cells(
            T4, TP, TE, TM, Tr, C, M, I2, p[_K_I2] * p[_d_I2], Ig, p[_K_Ig] * p[_d_Ig],
            I6, p[_K_I6] * p[_d_I6], inhibition, per_C, p,
        )  # fmt: skip

    @njit
    def rhs_cytokines(t, y, p):
        T4, TP, TE, TM, Tr, C, M, I2, Ig, Tb, I6 = y
        per_Tr, per_Tb, per_C = reciprocals(p[_K_Tr] + Tr, p[_K_Tb] + Tb, p[_K_C] + C)
        inhibition = p[_K_Tr] * per_Tr
        f = cells(T4, TP, TE, TM, Tr, C, M, I2, p[_K_I2], Ig, p[_K_Ig], I6, p[_K_I6], inhibition, per_C, p)
        secretion = p[_lambda_Ig_TE] * TE + p[_lambda_Ig_T4] * T4
        return (
            f[0], f[1], f[2], f[3], f[4], f[5], f[6],
            p[_lambda_I2_T4] * T4 - p[_d_I2] * I2,
            secretion * (inhibition + p[_K_Tb] * per_Tb) - p[_d_Ig] * Ig,
            p[_lambda_Tb_C] * C - p[_d_Tb] * Tb,
            p[_lambda_I6_M] * M - p[_d_I6] * I6,
        )  # fmt: skip

    @njit
    def observe_cells(T4, TE, TM, Tr, C, p):
        x, a, _, d, D = binding(T4, TE, TM, C, p)
        inhibition = 1.0 / (1.0 + Tr / p[_K_Tr])
        kill_TE, kill_T4 = killing_rates(T4, TE, a, d, 1.0 / D, inhibition, p)
        return x, kill_TE, kill_T4

    @njit
    def observe(t, y, p):
        T4, TP, TE, TM, Tr, C, M = y
        x, kill_TE, kill_T4 = observe_cells(T4, TE, TM, Tr, C, p)
        Tb = p[_lambda_Tb_C] * C / p[_d_Tb]
        inhibition = 1.0 / (1.0 + Tr / p[_K_Tr]) + 1.0 / (1.0 + Tb / p[_K_Tb])
        Ig = (p[_lambda_Ig_TE] * TE + p[_lambda_Ig_T4] * T4) * inhibition / p[_d_Ig]
        return (
            p[_lambda_I2_T4] * T4 / p[_d_I2], Ig, Tb, p[_lambda_I6_M] * M / p[_d_I6], x, kill_TE, kill_T4
        )  # fmt: skip

    @njit
    def observe_cytokines(t, y, p):
        T4, TP, TE, TM, Tr, C, M, I2, Ig, Tb, I6 = y
        return observe_cells(T4, TE, TM, Tr, C, p)

    return {
        "rhs": rhs,
        "rhs_cytokines": rhs_cytokines,
        "observe": observe,
        "observe_cytokines": observe_cytokines,
    }


def check_killing(killing: str) -> str:
    """Return the option `killing`, or say what is allowed."""
    if killing not in KILLING:
        raise InputError(
            f"The option 'killing' must be 'total' or 'free', not {killing!r}." + nearest(killing, KILLING)
        )
    return killing


def li_lei(killing: str = "total") -> Model:
    """Build the full model with the cytokines at quasi-equilibrium (7 states)."""
    free = check_killing(killing) == "free"
    functions = _functions(binding_equilibrium, free)
    published = _functions(binding_published, free)
    cytokines = tuple(
        Observable(name, "ng/ml", f"{long} at quasi-equilibrium") for name, long in _CYTOKINES.items()
    )
    return Model(
        name="li_lei",
        states=CELLS,
        parameters=PARAMETERS,
        rhs=functions["rhs"],
        t_end=200.0,
        observables=(*cytokines, *_CELL_OBSERVABLES),
        observe=functions["observe"],
        burden="C",
        doc=_DOC.format(cytokines=", cytokines at quasi-equilibrium"),
        references=(REFERENCE,),
        published=PublishedScheme(published["rhs"], step=1.0),
        options={"killing": killing},
    )


def li_lei_cytokines(killing: str = "total") -> Model:
    """Build the full model with the cytokines as differential equations (11 states)."""
    functions = _functions(binding_equilibrium, check_killing(killing) == "free")
    return Model(
        name="li_lei_cytokines",
        states=(*CELLS, *_cytokine_states()),
        parameters=PARAMETERS,
        rhs=functions["rhs_cytokines"],
        t_end=200.0,
        observables=_CELL_OBSERVABLES,
        observe=functions["observe_cytokines"],
        burden="C",
        method="stab5",  # the cytokines decay at 4 to 8 a day
        doc=_DOC.format(cytokines=", cytokines as differential equations"),
        references=(REFERENCE,),
        options={"killing": killing},
    )
