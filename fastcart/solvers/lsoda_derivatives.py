"""A model's derivatives for LSODA: a C function of what is integrated, and all that is made anew for a model.

What LSODA itself calls is the same for all models, see `fastcart.solvers.lsoda_callback`.
"""

from __future__ import annotations

import math
from typing import Any

from numba import carray

from fastcart.solvers.codegen import derivative_lines, labels, written
from fastcart.solvers.compile import FAST, INNER, cached, made_once, rebuild
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.lsoda_library import derivatives_signature
from fastcart.solvers.named import naming
from fastcart.solvers.reading import may_raise
from fastcart.solvers.system import System

# What it tells beside the derivatives: whether it was left by an error, or met one that it handles; whether a
# state in logarithm is zero but has an inflow; a sum that is no number where a derivative is none. Then, of
# each integral, what is integrated.
LEFT, FAILED, INFLOW, UNDEFINED, TOLD = range(5)


def derivatives_callback(model: System, log: tuple[bool, ...], infused: bool, integrals: int) -> Any:
    """Compile the derivatives in integrated variables as a C function.

    Parameters
    ----------
    model : System
    log : tuple of bool
        Which states are in logarithm.
    infused : bool
        Whether the rates of infusion are added.
    integrals : int
        How many states, the last, are integrals.
    """
    # by the content of the right-hand side, so that an edit of what it names is seen
    names = (tuple(model.state_names), tuple(model.parameter_names))
    key = ("lsoda derivatives", fingerprint(model.rhs), names, log, infused, integrals)
    return made_once(key, lambda: _derivatives_callback(model, log, infused, integrals))


def _derivatives_callback(model: System, log: tuple[bool, ...], infused: bool, integrals: int) -> Any:
    states = labels(model.state_names)
    summed = states[len(states) - integrals :]
    derivatives, constants = derivative_lines(model, log, infused)
    inflow = [
        f"(y_{x} == 0.0 and f[U_{x}] != 0.0)" for x, logarithm in zip(states, log, strict=True) if logarithm
    ]
    evaluation = [
        *derivatives,
        *[f"    du[U_{x}] = du_{x}" for x in states],
        *[f"    told[INTEGRAND_{x}] = f[U_{x}]" for x in summed],
        f"    told[UNDEFINED] = {' + '.join(f'0.0 * du_{x}' for x in states)}",
        f"    told[INFLOW] = 1.0 if {' or '.join(inflow) or 'False'} else 0.0",
    ]
    constants |= {
        "LEFT": LEFT, "FAILED": FAILED, "INFLOW": INFLOW, "UNDEFINED": UNDEFINED, "STATES": len(states),
        "PARAMETERS": len(model.parameters), "ROOM": TOLD + integrals,
        **{f"INTEGRAND_{x}": TOLD + k for k, x in enumerate(summed)},
    }  # fmt: skip
    names = {"rhs": rebuild(model.rhs, INNER), "exp": math.exp, "nan": math.nan, **naming(model)}
    if may_raise(model.rhs):
        evaluation, names = _caught(evaluation, constants, names)
    lines = [
        "def lsoda_derivatives(t, u_, du_, p_, r_, told_):",
        "    u = carray(u_, (STATES,)); du = carray(du_, (STATES,)); p = carray(p_, (PARAMETERS + STATES,))",
        "    scale = p[PARAMETERS:]; r = carray(r_, (STATES,)); told = carray(told_, (ROOM,))",
        "    told[FAILED] = 0.0",
        *evaluation,
        "    told[LEFT] = 0.0",
    ]
    function = written(lines, constants, {**names, "carray": carray})
    return cached(function, f"{model.name} for lsoda", signature=derivatives_signature, **FAST)


def _caught(
    evaluation: list[str], constants: dict[str, int], names: dict[str, Any]
) -> tuple[list[str], dict[str, Any]]:
    """Return lines that evaluate and handle an error of the model, and the names that they need.

    Handling the error takes time, so it is done where the code says that there may be one. Any other error
    leaves the callback at once. Then the right-hand side is called in a function of its own, because numba
    compiles the handling of an error around one call only in reasonable time; else it stands in the callback,
    where LLVM reads each parameter where it is needed.
    """
    derive = written(["def derive(t, u, du, p, scale, r, told):", *evaluation], constants, names)
    lines = [
        "    try:",
        "        derive(t, u, du, p, scale, r, told)",
        "    except Exception:",
        "        for i in range(STATES): du[i] = nan",
        "        for i in range(ROOM): told[i] = nan",
        "        told[FAILED] = 1.0",
    ]
    return lines, {"derive": rebuild(derive, INNER), "nan": math.nan}
