"""What is watched, computed from the states of one patient: states, observables, sums of states."""

from __future__ import annotations

from typing import Any

from numba import carray, types

import fastcart.math as vector_math
from fastcart.solvers.compile import FAST, INNER, cached, from_source, made_once, rebuild
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.lanes.rhs import SUBSTITUTES
from fastcart.solvers.named import named_call, naming
from fastcart.solvers.system import System
from fastcart.solvers.transform import LOG_FLOOR, LOG_ZERO

Of = tuple[str | tuple[int, ...], ...]

_SIGNATURE = types.void(types.CPointer(types.float64))


def natural_states(n: int, log: tuple[bool, ...], u: str, y: str) -> list[str]:
    """Return lines that turn the integrated variables ``u0, u1, ...`` into states ``y0, y1, ...``."""
    lines = []
    for i in range(n):
        value = f"exp(max({u}{i}, {LOG_FLOOR!r})) if {u}{i} != {LOG_ZERO!r} else 0.0" if log[i] else f"{u}{i}"
        lines.append(f"        {y}{i} = {value}")
    return lines


def quantity_function(model: System, log: tuple[bool, ...], quantities: Of) -> Any:
    """Compile ``f(buffer)`` for one patient: states as integrated, time, parameters, quantities (written).

    A quantity is the name of a state or an observable, or several states of which it is the sum.
    """
    sizes = (model.state_names, model.parameter_names, model.observable_names)
    key = ("quantities", fingerprint(model.observe), *map(tuple, sizes), log, quantities)
    return made_once(key, lambda: _quantity_function(model, log, quantities))


def _quantity_function(model: System, log: tuple[bool, ...], quantities: Of) -> Any:
    n, m = len(model.states), len(model.parameters)
    scope: dict[str, Any] = {"exp": vector_math.exp_bounded, "carray": carray}
    lines = ["def quantities(w_):", f"    w = carray(w_, ({n + 1 + m + len(quantities)},))"]
    lines += ["    if True:", *(f"        u{i} = w[{i}]" for i in range(n))]
    lines += natural_states(n, log, "u", "y")
    observed = model.observable_names
    if any(of in observed for of in quantities):
        scope["observe"] = rebuild(model.observe, INNER, SUBSTITUTES)
        scope |= naming(model)
        states, parameters = [f"y{i}" for i in range(n)], [f"w[{n + 1 + k}]" for k in range(m)]
        lines.append(f"        f = {named_call('observe', f'w[{n}]', states, parameters)}")
    for k, of in enumerate(quantities):
        if isinstance(of, tuple):
            value = " + ".join(f"y{i}" for i in of)
        else:
            value = f"f[{observed.index(of)}]" if of in observed else f"y{model.state_names.index(of)}"
        lines.append(f"        w[{n + 1 + m + k}] = {value}")
    function = from_source("\n".join(lines), "quantities", scope)
    return cached(function, f"quantities of {model.name}", signature=_SIGNATURE, **FAST)
