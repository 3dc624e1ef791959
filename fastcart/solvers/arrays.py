"""Array forms of a model's functions, for engines that keep states in arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcart.solvers.codegen import derivative_lines, labels, places, written
from fastcart.solvers.compile import EXACT, FAST, cached, from_source, made_once, rebuild
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.named import named_call, naming
from fastcart.solvers.problem import Saves
from fastcart.solvers.system import System
from fastcart.solvers.threads import in_parts

_BLOCK = 32  # rows
_FEW_ROWS = 10_000  # that take less time than to start a thread


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


def _observe_source(model: System, which: Sequence[int]) -> str:
    """Return code that computes observables of saved states, `_BLOCK` rows of one patient at a time.

    All lies in one buffer at constant offsets, so that LLVM sees that nothing overlaps, and a block that is
    not full is filled up, so that each number comes from the same instructions wherever its row is.
    """
    n, m, L = len(model.states), len(model.parameters), _BLOCK
    call = named_call(
        "function", f"w[{n * L} + l]", [f"w[{j * L} + l]" for j in range(n)], [f"p{k}" for k in range(m)]
    )
    lines = [
        "def observe_rows(times, begin, offsets, saved, given, low, high, out):",
        f"    w = empty({(n + 1 + len(which)) * L})",
        "    for i in range(low, high):",
        *(f"        p{k} = given[i, {k}]" for k in range(m)),
        "        shift = begin[i] - offsets[i]",
        f"        for first in range(offsets[i], offsets[i + 1], {L}):",
        f"            last = min({L}, offsets[i + 1] - first) - 1",
        f"            for j in range({n}):",
        f"                for l in range({L}):",
        f"                    w[j * {L} + l] = saved[j, first + min(l, last)]",
        f"            for l in range({L}):",
        f"                w[{n * L} + l] = times[shift + first + min(l, last)]",
        f"            for l in range({L}):",
        f"                f = {call}",
        *(f"                w[{(n + 1 + k) * L} + l] = f[{of}]" for k, of in enumerate(which)),
        f"            for k in range({len(which)}):",
        "                for l in range(last + 1):",
        f"                    out[k, first + l] = w[({n + 1} + k) * {L} + l]",
    ]
    return "\n".join(lines)


def _observe_kernel(model: System, which: Sequence[int]) -> Any:
    names = {"function": rebuild(model.observe, EXACT), "empty": np.empty, **naming(model)}
    function = from_source(_observe_source(model, which), "observe_rows", names)
    return cached(function, f"observables of {model.name}", nogil=True, **EXACT)


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
    which = tuple(model.observable_names.index(name) for name in names)
    key = (
        "observe",
        fingerprint(model.observe),
        tuple(model.state_names),
        tuple(model.parameter_names),
        which,
    )
    kernel = made_once(key, lambda: _observe_kernel(model, which))

    def part(low: int, high: int) -> None:
        kernel(times, saves.begin, saves.offsets, saved, parameters, low, high, out)

    in_parts(part, len(parameters), threads, brief=out.shape[1] < _FEW_ROWS)
    return out
