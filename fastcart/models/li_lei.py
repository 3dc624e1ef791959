"""The full model of Li & Lei 2025: five CAR-T subtypes, tumor, macrophages and four cytokines.

`li_lei` has the cytokines at quasi-equilibrium (7 states), `li_lei_cytokines` as four more equations
(11 states). Equation numbers are the paper's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from numba import njit

from fastcart.errors import InputError, nearest
from fastcart.math import reciprocals
from fastcart.model import Algebraic, Model, Observable, PublishedScheme, State
from fastcart.models.binding import binding_equilibrium, binding_published
from fastcart.models.human_ranges import IL6_NG_PER_ML, IMMUNE_CELLS, TUMOR_CELLS
from fastcart.models.li_lei_parameters import BY_NAME, PARAMETERS, REFERENCE

KILLING = ("total", "free")
BINDING = ("root", "equation")

CELLS = (
    State("T4", "cells", 1e4, log=True, description="CD4+ CAR-T cells", plausible=IMMUNE_CELLS),
    State("TP", "cells", 1e7, log=True, description="pre-CD8+ CAR-T cells", plausible=IMMUNE_CELLS),
    State("TE", "cells", 1e7, description="effector CAR-T cells", plausible=IMMUNE_CELLS),
    State("TM", "cells", 1e3, description="memory CAR-T cells", plausible=IMMUNE_CELLS),
    State("Tr", "cells", 1e3, log=True, description="regulatory CAR-T cells", plausible=IMMUNE_CELLS),
    State("C", "cells", 1e6, log=True, description="tumor cells", extinction=True, plausible=TUMOR_CELLS),
    State("M", "cells", 1e2, description="macrophages", plausible=IMMUNE_CELLS),
)

_CYTOKINES = {
    "I2": "IL-2",
    "Ig": "IFN-γ",
    "Tb": "TGF-β",
    "I6": "IL-6",
}

_PLAUSIBLE = {"I6": IL6_NG_PER_ML}

C_FREE = Observable("C_free", "cells", "free tumor cells C*, eq. (2.4)")

_CELL_OBSERVABLES = (
    C_FREE,
    Observable("killing_TE", "1/day", "killing rate by effector CAR-T cells, eq. (3.4)"),
    Observable("killing_T4", "1/day", "killing rate by CD4+ CAR-T cells, eq. (3.5)"),
)

_DOC = """Li & Lei 2025, full model, eqs. (2.1)-(2.13){cytokines}.
C* is the number of free tumor cells, the root of eq. (2.4). Option killing='total' (default) counts all
effector and CD4+ cells in the numerators of the killing rates, as in everything the authors published for
this model; killing='free' counts unbound cells, as the printed formula (2.8) reads."""

DOC_BINDING = """
Option binding='equation' has C* as an algebraic variable, whose equation is (2.4) as printed: the largest
errors are smaller, for a fifth more time; binding='root' (default) looks for the root in each call."""


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


def _at_equilibrium(name: str, values: Any) -> Any:
    return cytokine_equilibrium(values)[name]


def _cytokine_states() -> tuple[State, ...]:
    def state(name: str) -> State:
        return State(
            name,
            "ng/ml",
            partial(_at_equilibrium, name),
            # a hundredth of the half-saturation constant: less has no effect on any cell
            scale=0.01 * float(BY_NAME[f"K_{name}"].default),  # type: ignore[arg-type]
            description=f"{_CYTOKINES[name]} (starts at equilibrium with the cells)",
            plausible=_PLAUSIBLE.get(name),
        )

    return tuple(state(name) for name in _CYTOKINES)


def _by_root(equilibrium: Any) -> Any:
    """Make a function of states and parameters that looks for C* in each call."""

    @njit
    def bound(y, p):
        return equilibrium(y.T4, y.TE, y.TM, y.C, p.K_1, p.K_2, p.K_3)

    return bound


@njit
def _by_equation(y, p):
    """Return C*, which is known, and the free fractions of TE, TM and T4."""
    a, b, d = reciprocals(1.0 + p.K_1 * y.C_free, 1.0 + p.K_2 * y.C_free, 1.0 + p.K_3 * y.C_free)
    return y.C_free, a, b, d


@njit
def _equation(t, y, p):
    """Eq. (2.4)."""
    _, a, b, d = _by_equation(y, p)
    return (y.C_free * (1.0 + p.K_1 * y.TE * a + p.K_2 * y.TM * b + p.K_3 * y.T4 * d) - y.C,)


def _functions(bound: Any, killing_free: bool) -> dict[str, Any]:
    """Make the right-hand sides and observables for one way to get at C* and one killing numerator."""
    # Hill terms are written as n/(h + n) with production over degradation folded into h, and several
    # reciprocals come from one division: the slowest vector instruction.

    @njit
    def binding(y, p):
        """C*, the free fractions of TE, TM and T4, and the denominator D of eq. (2.8)."""
        x, a, b, d = bound(y, p)
        D = 1.0 + p.K_1 * y.TE * a + p.K_2 * y.TM * b + p.K_3 * y.T4 * d + p.K_1 * y.C
        return x, a, b, d, D

    @njit
    def killing_rates(y, a, d, per_D, inhibition, p):
        """Eqs. (3.4) and (3.5); their numerators count all cells or free cells."""
        per_D = per_D * inhibition
        X_E = y.TE * a if killing_free else y.TE
        X_4 = y.T4 * d if killing_free else y.T4
        return p.k_TE * p.K_1 * X_E * per_D, p.k_T4 * p.K_3 * X_4 * per_D

    @njit
    def cells(y, p, cytokines, K, inhibition, per_C):
        """Eqs. (2.1)-(2.9) for IL-2, IFN-γ and IL-6, each with its half-saturation K in the same unit."""
        I2, Ig, I6 = cytokines
        K_I2, K_Ig, K_I6 = K
        x, a, b, d, D = binding(y, p)
        q = p.K_2 * x * b
        K_TM = p.K_TM0 + p.K_TM1 * q
        per_D, per_TM, _ = reciprocals(D, K_TM + y.TM, 1.0)
        kill_TE, kill_T4 = killing_rates(y, a, d, per_D, inhibition, p)
        per_I2, per_Ig, per_I6 = reciprocals(K_I2 + I2, K_Ig + Ig, K_I6 + I6)
        h2 = I2 * per_I2
        hg = Ig * per_Ig
        s = I6 * per_I6 + hg
        reactivation = p.lambda_TME * q * y.TM
        return (
            (p.lambda_T4_I2 * h2 - p.d_T4) * y.T4,
            (p.lambda_TP_I2 * h2 * inhibition - p.lambda_TPE * s - p.d_TP) * y.TP,
            p.lambda_TPE * s * y.TP + reactivation - (p.lambda_TEM + p.d_TE) * y.TE,
            p.lambda_TM * K_TM * per_TM * y.TM + p.lambda_TEM * y.TE - reactivation - p.d_TM * y.TM,
            (p.lambda_Tr_I2 * h2 - p.d_Tr) * y.Tr,
            (p.lambda_C * p.K_C * per_C - p.d_C - kill_TE - kill_T4) * y.C,
            p.lambda_M_Ig * p.M_0 * hg - p.d_M * y.M,
        )

    @njit
    def rhs(t, y, p):
        # eqs. (2.10)-(2.13) at rest, each times its degradation rate
        I2 = p.lambda_I2_T4 * y.T4
        Tb = p.lambda_Tb_C * y.C
        I6 = p.lambda_I6_M * y.M
        K_Tb = p.K_Tb * p.d_Tb
        per_Tr, per_Tb, per_C = reciprocals(p.K_Tr + y.Tr, K_Tb + Tb, p.K_C + y.C)
        inhibition = p.K_Tr * per_Tr
        # note the SUM of two inhibition factors in (2.11)
        Ig = (p.lambda_Ig_TE * y.TE + p.lambda_Ig_T4 * y.T4) * (inhibition + K_Tb * per_Tb)
        K = (p.K_I2 * p.d_I2, p.K_Ig * p.d_Ig, p.K_I6 * p.d_I6)
        return cells(y, p, (I2, Ig, I6), K, inhibition, per_C)

    @njit
    def rhs_cytokines(t, y, p):
        per_Tr, per_Tb, per_C = reciprocals(p.K_Tr + y.Tr, p.K_Tb + y.Tb, p.K_C + y.C)
        inhibition = p.K_Tr * per_Tr
        secretion = p.lambda_Ig_TE * y.TE + p.lambda_Ig_T4 * y.T4
        return (
            *cells(y, p, (y.I2, y.Ig, y.I6), (p.K_I2, p.K_Ig, p.K_I6), inhibition, per_C),
            p.lambda_I2_T4 * y.T4 - p.d_I2 * y.I2,
            secretion * (inhibition + p.K_Tb * per_Tb) - p.d_Ig * y.Ig,
            p.lambda_Tb_C * y.C - p.d_Tb * y.Tb,
            p.lambda_I6_M * y.M - p.d_I6 * y.I6,
        )

    @njit
    def observe_cells(y, p):
        x, a, _, d, D = binding(y, p)
        inhibition = 1.0 / (1.0 + y.Tr / p.K_Tr)
        return x, *killing_rates(y, a, d, 1.0 / D, inhibition, p)

    @njit
    def observe(t, y, p):
        Tb = p.lambda_Tb_C * y.C / p.d_Tb
        inhibition = 1.0 / (1.0 + y.Tr / p.K_Tr) + 1.0 / (1.0 + Tb / p.K_Tb)
        Ig = (p.lambda_Ig_TE * y.TE + p.lambda_Ig_T4 * y.T4) * inhibition / p.d_Ig
        return (
            p.lambda_I2_T4 * y.T4 / p.d_I2,
            Ig,
            Tb,
            p.lambda_I6_M * y.M / p.d_I6,
            *observe_cells(y, p),
        )

    @njit
    def observe_without_binding(t, y, p):
        I2, Ig, Tb, I6, _, killing_TE, killing_T4 = observe(t, y, p)
        return I2, Ig, Tb, I6, killing_TE, killing_T4

    @njit
    def observe_cytokines(t, y, p):
        return observe_cells(y, p)

    return {
        "rhs": rhs,
        "observe_without_binding": observe_without_binding,
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


def check_binding(binding: str) -> str:
    """Return the option `binding`, or say what is allowed."""
    if binding not in BINDING:
        raise InputError(
            f"The option 'binding' must be 'root' or 'equation', not {binding!r}." + nearest(binding, BINDING)
        )
    return binding


def observed(
    functions: dict[str, Any], observables: list[Observable], residual: Any, published: PublishedScheme
) -> dict[str, Any]:
    """Return what binding decides of a model: C* is observed, or a variable, if there is an equation of it.

    The published scheme is that of a model that observes it.
    """
    if residual is None:
        return {"observables": observables, "observe": functions["observe"], "published": published}
    free = Algebraic("C_free", "cells", log=True, start="C", description=C_FREE.description)
    others = [one for one in observables if one is not C_FREE]
    observe = functions["observe_without_binding"]
    return {"observables": others, "observe": observe, "algebraic": [free], "residual": residual}


def li_lei(killing: str = "total", binding: str = "root") -> Model:
    """Build the full model with the cytokines at quasi-equilibrium (7 states)."""
    free, of_equation = check_killing(killing) == "free", check_binding(binding) == "equation"
    functions = _functions(_by_equation if of_equation else _by_root(binding_equilibrium), free)
    observables = [
        *(
            Observable(name, "ng/ml", f"{long} at quasi-equilibrium", _PLAUSIBLE.get(name))
            for name, long in _CYTOKINES.items()
        ),
        *_CELL_OBSERVABLES,
    ]
    published = PublishedScheme(_functions(_by_root(binding_published), free)["rhs"], step=1.0)
    return Model(
        name="li_lei",
        states=CELLS,
        parameters=PARAMETERS,
        rhs=functions["rhs"],
        t_end=200.0,
        burden="C",
        doc=_DOC.format(cytokines=", cytokines at quasi-equilibrium") + DOC_BINDING,
        references=(REFERENCE,),
        options={"killing": killing, "binding": binding},
        **observed(functions, observables, _equation if of_equation else None, published),
    )


def li_lei_cytokines(killing: str = "total") -> Model:
    """Build the full model with the cytokines as differential equations (11 states)."""
    functions = _functions(_by_root(binding_equilibrium), check_killing(killing) == "free")
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
