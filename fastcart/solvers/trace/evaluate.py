"""The numbers of a graph in Python: to check it against the function that it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastcart.solvers.trace.graph import Graph, Traced

_OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "negative": np.negative,
    "reciprocal": np.reciprocal, "rough_reciprocal": np.reciprocal, "rough_sqrt": np.sqrt, "power": np.power,
    "max": np.maximum, "min": np.minimum, "where": np.where, "<": np.less, "<=": np.less_equal,
    "==": np.equal, "!=": np.not_equal, "&": np.logical_and, "|": np.logical_or, "not": np.logical_not,
    "exp_bounded": np.exp, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
}  # fmt: skip


def values(graph: Graph, outputs: Sequence[Any], given: Callable[[str, int], Any]) -> list[Any]:
    """Return the values of outputs; ``given(row, place)`` returns an input, a number or an array."""
    found: dict[int, Any] = {}
    with np.errstate(all="ignore"):
        for number in graph.used(outputs):
            operation, arguments = graph.operations[number], graph.arguments[number]
            if operation == "input":
                value = given(*arguments)
                found[number] = np.float64(value) if np.isscalar(value) else value
                continue
            operands = [found[x] if type(x) is int else np.float64(x) for x in arguments]
            function = _OPERATIONS[operation] if operation in _OPERATIONS else getattr(np, operation)
            found[number] = function(*operands)
    return [found[value.number] if isinstance(value, Traced) else value for value in outputs]
