"""Whether a right-hand side jumps where a state crosses a level: found by crossing it, at many places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastcart.solvers.system import System
from fastcart.solvers.trace.evaluate import values
from fastcart.solvers.trace.graph import Graph, Traced
from fastcart.solvers.trace.program import traced_rates

_PAIRS = 256  # of places, between which conditions may come true
_DOWN, _UP = -9.0, 4.0  # decades that states are moved by
_HALVINGS = 90
_JUMP = 1e-7  # of what a rate is at the places around: less is the rest of the way to the level


def jumping(system: System, y: np.ndarray, p: np.ndarray, t_end: float) -> bool:
    """Whether a rate jumps where a condition on the states changes.

    Parameters
    ----------
    system : System
    y, p : ndarray, shape (patients, states) and (patients, parameters)
        Of typical patients, around whom it is looked.
    t_end : float
    """
    graph = Graph()
    inputs = {"y": len(system.states), "p": len(system.parameters), "t": 1}
    given = {row: [graph.input(row, k) for k in range(count)] for row, count in inputs.items()}
    rates = traced_rates(graph, system, given["t"][0], given["y"], given["p"])
    conditions = _of_states(graph, rates, {state.number for state in given["y"]})
    if not conditions:
        return False
    random = np.random.default_rng(0)
    who = random.integers(0, len(y), _PAIRS)
    sizes = np.where(y[who] > 0.0, y[who], 1.0).T
    parameters, t = p[who].T, random.uniform(0.0, t_end, _PAIRS)
    ends = [sizes * 10.0 ** random.uniform(_DOWN, _UP, sizes.shape) for _ in range(2)]

    def at(part: np.ndarray) -> Callable[[str, int], Any]:
        # on the way from one place to the other each state goes by its logarithm
        states = ends[0] ** (1.0 - part) * ends[1] ** part
        rows = {"y": states, "p": parameters, "t": t[np.newaxis]}
        return lambda row, k: rows[row][k]

    none, all_of = np.zeros(_PAIRS), np.ones(_PAIRS)
    around = [np.abs(_array(values(graph, rates, at(part)))) for part in (none, all_of)]
    for condition in conditions:
        holds = _truth(graph, condition, at(none))
        crossed = holds != _truth(graph, condition, at(all_of))
        low, high = none.copy(), all_of.copy()
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            same = _truth(graph, condition, at(middle)) == holds
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        before, after = (_array(values(graph, rates, at(part))) for part in (low, high))
        size = np.maximum(np.maximum(*around), np.maximum(np.abs(before), np.abs(after)))
        if (crossed & np.isfinite(size) & (np.abs(after - before) > _JUMP * size)).any():
            return True
    return False


def _array(rows: Sequence[Any]) -> np.ndarray:
    return np.array([np.broadcast_to(row, _PAIRS) for row in rows], dtype=float)


def _truth(graph: Graph, condition: int, given: Callable[[str, int], Any]) -> np.ndarray:
    return np.broadcast_to(values(graph, [Traced(graph, condition)], given)[0], _PAIRS).astype(bool)


def _of_states(graph: Graph, outputs: Sequence[Any], states: set[int]) -> list[int]:
    """Return the comparisons that depend on states."""
    depends, found = set(states), []
    for number in graph.used(outputs):
        if graph.operations[number] == "input":
            continue
        if depends & {x for x in graph.arguments[number] if type(x) is int}:
            depends.add(number)
            if graph.operations[number] in ("<", "<="):
                found.append(number)
    return found
