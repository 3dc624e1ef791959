"""What is watched, computed from the states of one patient: states, observables, sums of states."""

from __future__ import annotations

from typing import Any

from numba import carray, types

import fastcart.math as vector_math
from fastcart.solvers.codegen import written
from fastcart.solvers.compile import FAST, INNER, cached, made_once, rebuild
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.lanes import codegen
from fastcart.solvers.lanes.rhs import SUBSTITUTES
from fastcart.solvers.named import naming
from fastcart.solvers.system import System

Of = tuple[str | tuple[int, ...], ...]

_SIGNATURE = types.void(types.CPointer(types.float64))


def quantity_function(model: System, log: tuple[bool, ...], quantities: Of) -> Any:
    """Compile ``f(buffer)`` for one patient: states as integrated, time, parameters, quantities (written).

    A quantity is the name of a state or an observable, or several states of which it is the sum.
    """
    sizes = (model.state_names, model.parameter_names, model.observable_names)
    key = ("quantities", fingerprint(model.observe), *map(tuple, sizes), log, quantities)
    return made_once(key, lambda: _quantity_function(model, log, quantities))


def _quantity_function(model: System, log: tuple[bool, ...], quantities: Of) -> Any:
    scope: dict[str, Any] = {"exp": vector_math.exp_bounded, "carray": carray}
    if model.observe is not None:
        scope |= {"observe": rebuild(model.observe, INNER, SUBSTITUTES), **naming(model)}
    function = written(*codegen.quantities(model, log, quantities), scope)
    return cached(function, f"quantities of {model.name}", signature=_SIGNATURE, **FAST)
