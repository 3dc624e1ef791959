"""The vectorised right-hand side: derivatives of `LANES` patients from one buffer into the same buffer.

One C function per model. Where the function can be traced, its graph becomes vector code at once, in a tenth
of a second. Elsewhere numba compiles it, in some seconds: the loop over lanes is the outer loop, one lane is
straight-line code; all rows lie in one flat buffer at constant offsets, so LLVM needs no checks for overlap
and vectorises.
"""

from __future__ import annotations

import math
import operator
import types as python_types
from typing import Any

import numpy as np
from numba import carray, types

import fastcart.math as vector_math
from fastcart.solvers.codegen import written
from fastcart.solvers.compile import (
    FAST,
    INNER,
    assembly,
    cached,
    made_once,
    may_raise,
    rebuild,
)
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.lanes import codegen
from fastcart.solvers.lanes.rhs_traced import Compiled, traced_evaluation
from fastcart.solvers.named import naming
from fastcart.solvers.system import System
from fastcart.solvers.trace.graph import TraceError

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
    operator.pow: vector_math.power,
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
    numba cfunc or Compiled
        Its ``address`` is that of ``f(buffer)``; for the rows see `fastcart.solvers.lanes.layout.Rows`.
    """
    # by the content of the right-hand side, so that an edit of what it names is seen
    names = (tuple(model.state_names), tuple(model.parameter_names))
    key = ("evaluation", fingerprint(model.rhs), names, log, infused)
    return made_once(key, lambda: _made(model, log, infused))


def _made(model: System, log: tuple[bool, ...], infused: bool) -> Any:
    try:
        return traced_evaluation(model, log, infused)
    except TraceError:
        return _evaluation(model, log, infused)


def _evaluation(model: System, log: tuple[bool, ...], infused: bool) -> Any:
    scope = {
        **naming(model),
        "rhs": rebuild(model.rhs, INNER, SUBSTITUTES),
        "exp": vector_math.exp_bounded,
        "ratio": vector_math.ratio,
        "nan": math.nan,
        "carray": carray,
    }
    for guarded in (False, True):
        function = written(*codegen.evaluation(model, log, infused, guarded), scope)
        kernel = cached(function, f"{model.name} for lanes", signature=_signature, **_options(log))
        if not may_raise(kernel):
            break
        # an error would end the loop over lanes unseen, with neighbours left out: catch it in its own lane
    return kernel


def machine_code(model: System) -> str:
    """Return the assembly of the right-hand side for lanes; it is compiled anew, what is on disk has none."""
    log = tuple(state.log for state in model.states)
    made = evaluation(model, log, False)
    if isinstance(made, Compiled):
        return made.assembly()
    return assembly(made, **_options(log))


def _options(log: tuple[bool, ...]) -> dict[str, Any]:
    """Return options of the compiler: with one vector or two side by side, whichever was faster.

    Exponentials leave the processor waiting, which a second vector fills; but of many states, few of them in
    logarithm, two vectors only fill the registers.
    """
    alone = len(log) > _MANY and 3 * sum(log) < len(log)
    return {"interleave": 1 if alone else 2, **FAST}
