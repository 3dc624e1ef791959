"""Array forms of a model's functions, for engines that keep states in arrays."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import carray, njit
from numba import types as numba_types

from fastcart.solvers.codegen import derivative_lines, labels, places, written
from fastcart.solvers.compile import (
    EXACT,
    EXACT_INNER,
    INNER,
    cached,
    made_once,
    may_raise,
    prepared_function,
    rebuild,
)
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.lanes.intrinsics import evaluate
from fastcart.solvers.named import named_call, naming, read_parameters
from fastcart.solvers.problem import Saves
from fastcart.solvers.problem import places as time_places
from fastcart.solvers.system import System
from fastcart.solvers.threads import in_parts

_BUFFER = numba_types.void(numba_types.CPointer(numba_types.float64))
_BLOCK = 32  # rows
_FEW_ROWS = 10_000  # that take less time than to start a thread

Parameters = np.ndarray | Callable[[float], np.ndarray]  # of patients, or where they switch, at a time


def _into(model: System, function: Any, outputs: int, options: dict[str, Any]) -> Any:
    """Make ``into(t, y, p, out)`` from a function that returns a tuple."""
    of_states = places("Y", model.state_names)
    given = [f"y[{name}]" for name in of_states], read_parameters(model, "p")
    lines = ["def into(t, y, p, out):", f"    f = {named_call('rhs', 't', *given)}"]
    lines += [f"    out[{i}] = f[{i}]" for i in range(outputs)]
    namespace = {"rhs": rebuild(function, options), **naming(model)}
    return rebuild(written(lines, of_states, namespace), options)


def natural_rhs(model: System, function: Any, *, exact: bool = True) -> Any:
    """Return ``into(t, y, p, out)``: derivatives in natural units, to be inlined into a kernel."""
    return _into(model, function, len(model.states), EXACT_INNER if exact else INNER)


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
    namespace = {"rhs": rebuild(model.rhs, EXACT_INNER), "exp": math.exp, "nan": math.nan, "empty": np.empty}
    function = written(lines, {"STATES": len(model.states), **constants}, {**namespace, **naming(model)})
    return cached(function, f"{model.name} for scipy", **EXACT)


def _observe_block(model: System, which: Sequence[int]) -> types.FunctionType:
    """Write what computes observables of saved states, `_BLOCK` rows of one patient at a time.

    All lies in one buffer at constant offsets, so that LLVM sees that nothing overlaps, and a block that is
    not full is filled up, so that each number comes from the same instructions wherever its row is.
    """
    n, m = len(model.states), len(model.parameters)
    of_states = places("Y", model.state_names, m, _BLOCK)
    first = m + (n + 1) * _BLOCK
    observed = places("O", [model.observable_names[k] for k in which], first, _BLOCK)
    constants = {
        "BLOCK": _BLOCK, "TIME": m + n * _BLOCK, "ROOM": first + len(which) * _BLOCK, **of_states, **observed,
    }  # fmt: skip
    call = named_call("function", "w[TIME + l]", [f"w[{name} + l]" for name in of_states], "p")
    lines = [
        "def observe_block(w_):",
        "    w = carray(w_, (ROOM,))",
        f"    p = {read_parameters(model, 'w')}",
        "    for l in range(BLOCK):",
        f"        f = {call}",
        *(f"        w[{name} + l] = f[{of}]" for name, of in zip(observed, which, strict=True)),
    ]
    names = {"function": rebuild(model.observe, EXACT_INNER), "carray": carray, **naming(model)}
    return written(lines, constants, names)


def _observe_rows(block, times, begin, offsets, saved, given, part, out):
    """Compute observables of the saved states of the patients from one to another, block by block."""
    states, parameters, columns = saved.shape[0], given.shape[1], out.shape[0]
    time = parameters + states * _BLOCK
    found = time + _BLOCK
    w = np.empty(found + columns * _BLOCK)
    for i in range(part[0], part[1]):
        for k in range(parameters):
            w[k] = given[i, k]
        shift = begin[i] - offsets[i]
        for first in range(offsets[i], offsets[i + 1], _BLOCK):
            last = min(_BLOCK, offsets[i + 1] - first) - 1
            for j in range(states):
                for r in range(_BLOCK):
                    w[parameters + j * _BLOCK + r] = saved[j, first + min(r, last)]
            for r in range(_BLOCK):
                w[time + r] = times[shift + first + min(r, last)]
            evaluate(block, w)
            for k in range(columns):
                for r in range(last + 1):
                    out[k, first + r] = w[found + k * _BLOCK + r]


def _observe_kernel(model: System, which: Sequence[int]) -> Any:
    """Compile the block of a model as a C function; the loop over blocks is the same for all models."""
    label, block = f"observables of {model.name}", _observe_block(model, which)
    made = cached(block, label, signature=_BUFFER, **EXACT)
    address, loop, told = made.address, _observe_rows, "the loop over observables"
    if may_raise(made):  # an error of a C function is lost: as part of the loop, Python gets it
        loop, told = prepared_function(loop, evaluate=_evaluated(rebuild(block, EXACT_INNER))), label
    rows = cached(loop, told, nogil=True, **EXACT)

    def kernel(times, begin, offsets, saved, given, low, high, out):
        rows(address, times, begin, offsets, saved, given, (low, high), out)

    return kernel


def _evaluated(block: Any) -> Any:
    """Return what stands for `evaluate` where a block is part of the kernel."""

    @njit(**EXACT_INNER)
    def evaluate(_, w):
        block(w)

    return evaluate


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
