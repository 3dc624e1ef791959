"""Array forms of a model's functions, for engines that keep states in arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastcart.solvers.codegen import derivative_lines, labels, places, written
from fastcart.solvers.compile import EXACT, FAST, cached, made_once, rebuild
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.named import named_call, naming
from fastcart.solvers.problem import Saves
from fastcart.solvers.problem import places as time_places
from fastcart.solvers.system import System
from fastcart.solvers.threads import in_parts

_BLOCK = 32  # rows
_FEW_ROWS = 10_000  # that take less time than to start a thread

Parameters = np.ndarray | Callable[[float], np.ndarray]  # of patients, or where they switch, at a time


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


def _observe_kernel(model: System, which: Sequence[int]) -> Any:
    """Compile what computes observables of saved states, `_BLOCK` rows of one patient at a time.

    All lies in one buffer at constant offsets, so that LLVM sees that nothing overlaps, and a block that is
    not full is filled up, so that each number comes from the same instructions wherever its row is.
    """
    n = len(model.states)
    of_states, of_parameters = places("Y", model.state_names, 0, _BLOCK), places("P", model.parameter_names)
    observed = places("O", [model.observable_names[k] for k in which], (n + 1) * _BLOCK, _BLOCK)
    constants = {
        "BLOCK": _BLOCK, "STATES": n, "TIME": n * _BLOCK, "FIRST": (n + 1) * _BLOCK, "COLUMNS": len(which),
        "ROOM": (n + 1 + len(which)) * _BLOCK, **of_states, **of_parameters, **observed,
    }  # fmt: skip
    parameters = labels(model.parameter_names)
    call = named_call(
        "function", "w[TIME + l]", [f"w[{name} + l]" for name in of_states], [f"p_{x}" for x in parameters]
    )
    lines = [
        "def observe_rows(times, begin, offsets, saved, given, low, high, out):",
        "    w = empty(ROOM)",
        "    for i in range(low, high):",
        *(f"        p_{x} = given[i, P_{x}]" for x in parameters),
        "        shift = begin[i] - offsets[i]",
        "        for first in range(offsets[i], offsets[i + 1], BLOCK):",
        "            last = min(BLOCK, offsets[i + 1] - first) - 1",
        "            for j in range(STATES):",
        "                for l in range(BLOCK):",
        "                    w[j * BLOCK + l] = saved[j, first + min(l, last)]",
        "            for l in range(BLOCK):",
        "                w[TIME + l] = times[shift + first + min(l, last)]",
        "            for l in range(BLOCK):",
        f"                f = {call}",
        *(f"                w[{name} + l] = f[{of}]" for name, of in zip(observed, which, strict=True)),
        "            for k in range(COLUMNS):",
        "                for l in range(last + 1):",
        "                    out[k, first + l] = w[FIRST + k * BLOCK + l]",
    ]
    names = {"function": rebuild(model.observe, EXACT), "empty": np.empty, **naming(model)}
    function = written(lines, constants, names)
    return cached(function, f"observables of {model.name}", nogil=True, **EXACT)


def observe_kernel(model: System, names: Sequence[str]) -> Any:
    """Return ``kernel(times, begin, offsets, saved, parameters, low, high, out)``, see `observe`."""
    which = tuple(model.observable_names.index(name) for name in names)
    states, parameters = tuple(model.state_names), tuple(model.parameter_names)
    key = ("observe", fingerprint(model.observe), states, parameters, which)
    return made_once(key, lambda: _observe_kernel(model, which))


def observe(
    model: System, times: np.ndarray, saves: Saves, saved: np.ndarray, parameters: Parameters,
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
    parameters : ndarray, shape (patients, parameters), or callable
        Where they switch, what gives them at a time.
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
    if callable(parameters):  # each row as a patient of its own
        index = time_places(saves.begin, np.diff(saves.offsets))
        who = np.repeat(np.arange(len(saves.begin)), np.diff(saves.offsets))
        given = np.empty((len(index), len(model.parameters)))
        for k in np.unique(index):
            given[index == k] = parameters(times[k])[who[index == k]]
        saves, parameters = Saves(index, index + 1), given
    kernel = observe_kernel(model, names)

    def part(low: int, high: int) -> None:
        kernel(times, saves.begin, saves.offsets, saved, parameters, low, high, out)

    in_parts(part, len(parameters), threads, brief=out.shape[1] < _FEW_ROWS)
    return out
