"""The vectorised right-hand side: derivatives of `LANES` patients from one buffer into the same buffer.

One C function per model. The loop over lanes is the outer loop, one lane is straight-line code; all rows
lie in one flat buffer at constant offsets, so LLVM needs no checks for overlap and vectorises.
"""

from __future__ import annotations

import math
import types as python_types
from typing import Any

import numpy as np
from numba import carray, types

import fastcart.math as vector_math
from fastcart.solvers.compile import (
    FAST,
    INNER,
    assembly,
    cached,
    from_source,
    made_once,
    may_raise,
    rebuild,
)
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.lanes.layout import LANES, evaluation_rows
from fastcart.solvers.named import named, named_call, naming
from fastcart.solvers.system import System
from fastcart.solvers.transform import LOG_FLOOR, LOG_ZERO

_signature = types.void(types.CPointer(types.float64))
_MANY = 8  # states of two vectors, beyond which registers run short


def _substitute(module: python_types.ModuleType) -> python_types.ModuleType:
    """A stand-in for ``math`` or ``numpy`` whose exp, log, pow and sqrt vectorise."""
    stand_in = python_types.ModuleType(module.__name__)
    stand_in.__dict__.update(
        {name: value for name, value in module.__dict__.items() if not name.startswith("__")}
    )
    for name in ("exp", "log", "pow", "sqrt", "power"):
        if hasattr(module, name):
            setattr(stand_in, name, getattr(vector_math, "pow" if name == "power" else name))
    return stand_in


SUBSTITUTES: dict[Any, Any] = {
    math: _substitute(math),
    np: _substitute(np),
    math.exp: vector_math.exp,
    math.log: vector_math.log,
    math.pow: vector_math.pow,
    np.exp: vector_math.exp,
    np.log: vector_math.log,
}


def evaluation(model: System, log: tuple[bool, ...], infused: bool) -> Any:
    """Compile the right-hand side for lanes.

    Parameters
    ----------
    model : Model
    log : tuple of bool
        Which states are integrated in logarithm here.
    infused : bool
        Whether rates of infusion are added to the derivatives.

    Returns
    -------
    numba cfunc
        ``f(buffer)``; rows of `LANES` values: states, time, parameters, rates, derivatives (written).
    """
    # by the content of the right-hand side, so that an edit of what it names is seen
    names = (tuple(model.state_names), tuple(model.parameter_names))
    key = ("evaluation", fingerprint(model.rhs), names, log, infused)
    return made_once(key, lambda: _evaluation(model, log, infused))


def _evaluation(model: System, log: tuple[bool, ...], infused: bool) -> Any:
    sizes = (len(model.states), len(model.parameters))
    scope = {
        **naming(model),
        "rhs": rebuild(model.rhs, INNER, SUBSTITUTES),
        "exp": vector_math.exp_bounded,
        "ratio": vector_math.ratio,
        "nan": math.nan,
        "carray": carray,
    }
    for guarded in (False, True):
        function = from_source(_source(*sizes, log, infused, guarded), "evaluate_lanes", scope)
        kernel = cached(function, f"{model.name} for lanes", signature=_signature, **_options(log))
        if not may_raise(kernel):
            break
        # an error would end the loop over lanes unseen, with neighbours left out: catch it in its own lane
    return kernel


def machine_code(model: System) -> str:
    """Return the assembly of the right-hand side for lanes; it is compiled anew, what is on disk has none."""
    log = tuple(state.log for state in model.states)
    return assembly(evaluation(model, log, False), **_options(log))


def _options(log: tuple[bool, ...]) -> dict[str, Any]:
    """Return options of the compiler: with one vector or two side by side, whichever was faster.

    Exponentials leave the processor waiting, which a second vector fills; but of many states, few of them in
    logarithm, two vectors only fill the registers.
    """
    alone = len(log) > _MANY and 3 * sum(log) < len(log)
    return {"interleave": 1 if alone else 2, **FAST}


def _source(n: int, m: int, log: tuple[bool, ...], infused: bool, guarded: bool) -> str:
    L = LANES
    t, p, r, f = n, n + 1, n + 1 + m, 2 * n + 1 + m
    lines = [
        "def evaluate_lanes(w_):",
        f"    w = carray(w_, ({evaluation_rows(n, m) * L},))",
        f"    for l in range({L}):",
        f"        t = w[{t * L} + l]",
    ]
    for i in range(n):
        lines.append(f"        u{i} = w[{i * L} + l]")
        if log[i]:
            lines.append(f"        y{i} = exp(max(u{i}, {LOG_FLOOR!r})) if u{i} != {LOG_ZERO!r} else 0.0")
        else:
            lines.append(f"        y{i} = u{i}")
    states, parameters = [f"y{i}" for i in range(n)], [f"w[{(p + k) * L} + l]" for k in range(m)]
    if guarded:
        raised = f"            w[{(3 * n + 1 + m) * L} + l] = 1.0"
        # numba knows no long tuple that is made inside of try
        lines += [f"        y = {named('states', states)}", f"        p = {named('parameters', parameters)}"]
        lines.append(f"        f = ({'nan, ' * n})")
        lines += ["        try:", "            f = rhs(t, y, p)"]
        lines += ["        except Exception:", raised]
    else:
        lines.append(f"        f = {named_call('rhs', 't', states, parameters)}")
    for i in range(n):
        value = f"f[{i}] + w[{(r + i) * L} + l]" if infused and not log[i] else f"f[{i}]"
        if log[i]:
            # an inflow into an exact zero has no logarithm: NaN, which is reported as such
            value = f"ratio({value}, y{i}) if y{i} > 0.0 else (0.0 if f[{i}] == 0.0 else nan)"
        lines.append(f"        w[{(f + i) * L} + l] = {value}")
    return "\n".join(lines)
