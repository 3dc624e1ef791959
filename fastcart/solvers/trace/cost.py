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


def cost(graph: Graph, outputs: Sequence[Any]) -> float:
    """Return the cost of outputs, and of all that they depend on."""
    return sum(_COSTS.get(graph.operations[number], 1.0) for number in graph.used(outputs))
