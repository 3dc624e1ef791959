"""Array forms of a model's functions, for engines that keep states in arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastcart.solvers.codegen import derivative_lines, labels, places, written
from fastcart.solvers.compile import EXACT, FAST, cached, prepared_function, rebuild
from fastcart.solvers.named import named_call, naming
from fastcart.solvers.system import System


def _into(model: System, function: Any, outputs: int, options: dict[str, Any]) -> Any:
    """Make ``into(t, y, p, out)`` from a function that returns a tuple."""
    of_states, of_parameters = places("Y", model.state_names), places("P", model.parameter_names)
    values = [f"y[{name}]" for name in of_states], [f"p[{name}]" for name in of_parameters]
    lines = ["def into(t, y, p, out):", f"    f = {named_call('rhs', 't', *values)}"]
    lines += [f"    out[{i}] = f[{i}]" for i in range(outputs)]
    namespace = {"rhs": rebuild(function, options), **naming(model)}
    return rebuild(written(lines, {**of_states, **of_parameters}, namespace), options)


def natural_rhs(model: System, function: Any, *, exact: bool = True) -> Any:
    """Return ``into(t, y, p, out)``: derivatives in natural units, to be inlined into a kernel."""
    return _into(model, function, len(model.states), EXACT if exact else FAST)


def internal_rhs(model: System, log: tuple[bool, ...], infused: bool) -> Any:
    """Return a compiled ``f(t, u, p, scale, r) -> du`` in integrated variables, without fast math.

    ``log`` says which states are in logarithm, ``infused`` whether the rates of infusion ``r`` are added.
    """
    derivatives, constants = derivative_lines(model, log, infused)
    lines = [
        "def internal_rhs(t, u, p, scale, r):",
        *derivatives,
        "    out = empty(STATES)",
        *[f"    out[U_{x}] = du_{x}" for x in labels(model.state_names)],
        "    return out",
    ]
    namespace = {"rhs": rebuild(model.rhs, EXACT), "exp": math.exp, "nan": math.nan, "empty": np.empty}
    function = written(lines, {"STATES": len(model.states), **constants}, {**namespace, **naming(model)})
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
