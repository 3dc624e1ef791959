"""What a graph costs, in multiplications of one lane: to compare methods without a clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastcart.solvers.trace.graph import LIBRARY, Graph

# on processors with vectors; rough, and it need not be more: methods differ by factors
_COSTS = {
    "input": 0.5, "negative": 0.0, "/": 5.0, "reciprocal": 5.0, "sqrt": 6.0, "exp": 18.0,
    "exp_bounded": 16.0, "log": 28.0, "power": 50.0, "floor": 1.0,
    **dict.fromkeys(LIBRARY, 200.0),
}  # fmt: skip
# operations that wait for each other, of those that are more than one
_CHAINS = {
    "input": 0, "/": 4, "reciprocal": 4, "sqrt": 5, "exp": 16, "exp_bounded": 14, "log": 22, "power": 40,
    **dict.fromkeys(LIBRARY, 50),
}  # fmt: skip


def cost(graph: Graph, outputs: Sequence[Any]) -> float:
    """Return the cost of outputs, and of all that they depend on."""
    return sum(_COSTS.get(graph.operations[number], 1.0) for number in graph.used(outputs))


def chain(graph: Graph, outputs: Sequence[Any]) -> int:
    """Return how many operations wait for each other in the longest chain that leads to outputs."""
    until: dict[int, int] = {}
    for number in graph.used(outputs):
        operation, arguments = graph.operations[number], graph.arguments[number]
        before = [] if operation == "input" else [until.get(x, 0) for x in arguments if type(x) is int]
        until[number] = max(before, default=0) + _CHAINS.get(operation, 1)
    return max(until.values(), default=0)
