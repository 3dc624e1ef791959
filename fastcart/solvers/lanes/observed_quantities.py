"""What is watched, computed from the states of one patient: states, observables, sums of states."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types

import fastcart.math as vector_math
from fastcart.solvers.codegen import written
from fastcart.solvers.compile import FAST, INNER, cached, made_once, plain, rebuild
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.lanes import codegen
from fastcart.solvers.lanes.rhs import SUBSTITUTES
from fastcart.solvers.named import arguments, naming
from fastcart.solvers.system import System
from fastcart.solvers.trace.graph import Graph, TraceError
from fastcart.solvers.trace.program import traced_observables

Of = tuple[str | tuple[int, ...], ...]

_CHECKS = 4  # random points
_SIGNATURE = types.void(types.CPointer(types.float64))


def quantity_function(model: System, log: tuple[bool, ...], quantities: Of) -> Any:
    """Compile ``f(buffer)`` for one patient: states as integrated, time, parameters, quantities (written).

    A quantity is the name of a state or an observable, or several states of which it is the sum.
    """
    sizes = (model.state_names, model.parameter_names, model.observable_names)
    key = ("quantities", fingerprint(model.observe), *map(tuple, sizes), log, quantities)
    return made_once(key, lambda: _quantity_function(model, log, quantities))


def states_read(model: System, quantities: Of) -> np.ndarray:
    """Return which states each quantity is computed from, shape (quantities, states), the rest -1.

    Of observables that cannot be followed, and of those that follow otherwise than said, these are all.
    """
    sizes = (model.state_names, model.parameter_names, model.observable_names)
    key = ("states read", fingerprint(model.observe), *map(tuple, sizes), quantities)
    return made_once(key, lambda: _states_read(model, quantities))


def _states_read(model: System, quantities: Of) -> np.ndarray:
    n, names = len(model.states), list(model.state_names)
    observed = any(x in model.observable_names for x in quantities)
    of_observables = _read_by_observables(model) if observed else {}
    rows = np.full((len(quantities), n), -1)
    for k, x in enumerate(quantities):
        if isinstance(x, tuple):
            read = list(x)
        else:
            read = [names.index(x)] if x in names else of_observables.get(x, list(range(n)))
        rows[k, : len(read)] = read
    return rows


def _read_by_observables(model: System) -> dict[str, list[int]]:
    """Return the states that each observable is computed from; none where that is not known."""
    graph, n, m = Graph(), len(model.states), len(model.parameters)
    y, p = [graph.input("y", i) for i in range(n)], [graph.input("p", k) for k in range(m)]
    try:
        values = traced_observables(graph, model, graph.input("t"), y, p)
    except TraceError:
        return {}
    read = {}
    for name, value in zip(model.observable_names, values, strict=True):
        used = {number for number in graph.used([value]) if graph.operations[number] == "input"}
        read[name] = [i for i in range(n) if y[i].number in used]
    return read if _nothing_else_matters(model, list(read.values())) else {}


def _nothing_else_matters(model: System, read: list[list[int]]) -> bool:
    """Whether observables stay as they are, at random points, when states change that they do not read."""
    function, random = plain(model.observe), np.random.default_rng(0)
    for _ in range(_CHECKS):
        y, other = np.exp(random.normal(size=(2, len(model.states))))
        p = np.exp(random.normal(size=len(model.parameters))).tolist()
        for k, places in enumerate(read):
            changed = other.copy()
            changed[places] = y[places]
            try:
                with np.errstate(all="ignore"):
                    first, second = (
                        float(function(1.0, *arguments(model, x.tolist(), p))[k]) for x in (y, changed)
                    )
            except Exception:  # Python raises where the processor goes on
                continue
            if first != second and first == first:
                return False
    return True


def _quantity_function(model: System, log: tuple[bool, ...], quantities: Of) -> Any:
    scope: dict[str, Any] = {"exp": vector_math.exp_bounded, "carray": carray}
    if model.observe is not None:
        scope |= {"observe": rebuild(model.observe, INNER, SUBSTITUTES), **naming(model)}
    function = written(*codegen.quantities(model, log, quantities), scope)
    return cached(function, f"quantities of {model.name}", signature=_SIGNATURE, **FAST)
