"""Array forms of a model's functions, for engines that keep states in arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcart.solvers.compile import EXACT, FAST, cached, from_source, prepared_function, rebuild
from fastcart.solvers.named import named_call, naming
from fastcart.solvers.problem import Saves
from fastcart.solvers.system import System
from fastcart.solvers.threads import in_parts
from fastcart.solvers.transform import derivative_source

_FEW_ROWS = 10_000  # that take less time than to start a thread


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


def _observe_rows(times, begin, offsets, saved, parameters, which, low, high, out):
    y, values = np.empty(saved.shape[0]), np.empty(outputs)  # type: ignore[name-defined] # noqa: F821
    for i in range(low, high):
        for row in range(offsets[i], offsets[i + 1]):
            for j in range(y.size):
                y[j] = saved[j, row]
            t = times[begin[i] + row - offsets[i]]
            into(t, y, parameters[i], values)  # type: ignore[name-defined] # noqa: F821
            for k in range(which.size):
                out[k, row] = values[which[k]]


def observe(
    model: System, times: np.ndarray, saves: Saves, saved: np.ndarray, parameters: np.ndarray,
    names: Sequence[str], threads: int,
) -> np.ndarray:  # fmt: skip
    """Return observables of saved states.

    Parameters
    ----------
    model : System
    times : ndarray
    saves : Saves
        Which of the times are whose.
    saved : ndarray, shape (states, rows)
        All states, natural units; NaN columns give NaN observables.
    parameters : ndarray, shape (patients, parameters)
    names : sequence of str
        The observables asked for.
    threads : int

    Returns
    -------
    ndarray, shape (names, rows)
    """
    out = np.empty((len(names), saved.shape[1]))
    if model.observe is None or not out.size:
        return out
    which = np.array([model.observable_names.index(name) for name in names], dtype=np.int64)
    into = _into(model, model.observe, len(model.observables), EXACT)
    function = prepared_function(_observe_rows, into=into, outputs=len(model.observables))
    kernel = cached(function, f"observables of {model.name}", nogil=True, **EXACT)

    def part(low: int, high: int) -> None:
        kernel(times, saves.begin, saves.offsets, saved, parameters, which, low, high, out)

    in_parts(part, len(parameters), threads, brief=out.shape[1] < _FEW_ROWS)
    return out
