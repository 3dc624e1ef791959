"""Array forms of a model's functions, for engines that keep states in arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastcart.solvers.compile import EXACT, FAST, cached, from_source, prepared_function, rebuild
from fastcart.solvers.named import named_call, naming
from fastcart.solvers.system import System
from fastcart.solvers.transform import derivative_source


def _into(model: System, function: Any, outputs: int, options: dict[str, Any]) -> Any:
    """Make ``into(t, y, p, out)`` from a function that returns a tuple."""
    states = [f"y[{i}]" for i in range(len(model.states))]
    parameters = [f"p[{i}]" for i in range(len(model.parameters))]
    lines = ["def into(t, y, p, out):", f"    f = {named_call('rhs', 't', states, parameters)}"]
    lines += [f"    out[{i}] = f[{i}]" for i in range(outputs)]
    namespace = {"rhs": rebuild(function, options), **naming(model)}
    return rebuild(from_source("\n".join(lines), "into", namespace), options)


def natural_rhs(model: System, function: Any, *, exact: bool = True) -> Any:
    """Return ``into(t, y, p, out)``: derivatives in natural units, to be inlined into a kernel."""
    return _into(model, function, len(model.states), EXACT if exact else FAST)


def internal_rhs(model: System, log: tuple[bool, ...], infused: bool) -> Any:
    """Return a compiled ``f(t, u, p, scale, r) -> du`` in integrated variables, without fast math.

    ``log`` says which states are in logarithm, ``infused`` whether the rates of infusion ``r`` are added.
    """
    n = len(model.states)
    lines = [
        "def internal_rhs(t, u, p, scale, r):",
        derivative_source(n, len(model.parameters), log, infused),
        f"    out = empty({n})",
        *[f"    out[{i}] = du{i}" for i in range(n)],
        "    return out",
    ]
    namespace = {"rhs": rebuild(model.rhs, EXACT), "exp": math.exp, "nan": math.nan, "empty": np.empty}
    namespace |= naming(model)
    function = from_source("\n".join(lines), "internal_rhs", namespace)
    return cached(function, f"{model.name} for scipy", **EXACT)


def _observe_rows(times, states, parameters, out):
    for i in range(states.shape[0]):
        for k in range(states.shape[1]):
            into(times[k], states[i, k], parameters[i], out[i, k])  # type: ignore[name-defined] # noqa: F821


def observe(model: System, times: np.ndarray, states: np.ndarray, parameters: np.ndarray):
    """Return the observables of saved states.

    Parameters
    ----------
    times : ndarray, shape (times,)
    states : ndarray, shape (patients, times, states)
        Natural units; NaN rows give NaN observables.
    parameters : ndarray, shape (patients, parameters)

    Returns
    -------
    ndarray, shape (patients, times, observables)
    """
    out = np.full((*states.shape[:2], len(model.observables)), np.nan)
    if model.observe is not None and states.size:
        into = _into(model, model.observe, len(model.observables), EXACT)
        kernel = cached(prepared_function(_observe_rows, into=into), f"observables of {model.name}", **EXACT)
        kernel(times, states, parameters, out)
    return out
