"""A graph as Python source: straight lines, which numba compiles and which can be traced again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import fastcart.math as vector_math
from fastcart.solvers.compile import from_source
from fastcart.solvers.trace.graph import Graph, Traced, TraceError

_IN_MATH = (
    "exp", "log", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "expm1", "log1p",
)  # fmt: skip
_TEXTS = {
    "+": "{} + {}", "-": "{} - {}", "*": "{} * {}", "/": "{} / {}", "negative": "-{}",
    "reciprocal": "1.0 / {}", "power": "math.pow({}, {})", "floor": "np.floor({})", "abs": "abs({})",
    "<": "{} < {}", "<=": "{} <= {}", "==": "{} == {}", "!=": "{} != {}", "&": "{} and {}", "|": "{} or {}",
    "not": "not {}", "where": "{1} if {0} else {2}", "max": "{1} if {0} < {1} else {0}",
    "min": "{1} if {1} < {0} else {0}", "exp_bounded": "vector_math.exp_bounded({})",
    "rough_reciprocal": "vector_math.rough_reciprocal({})", "rough_sqrt": "vector_math.rough_sqrt({})",
    **{name: f"math.{name}({{}})" for name in _IN_MATH},
}  # fmt: skip
_NAMES = {"math": math, "np": np, "vector_math": vector_math, "nan": math.nan, "inf": math.inf}


def function_of(
    graph: Graph, name: str, arguments: str, outputs: Sequence[Any], inputs: Mapping[str, str]
) -> Callable:
    """Return a plain Python function that computes outputs of a graph, as a tuple.

    Parameters
    ----------
    graph : Graph
    name : str
    arguments : str
        Of the function, as they stand in its text: ``"t, y, p"``.
    outputs : sequence
        Numbers of the graph or constants.
    inputs : mapping
        How each row of inputs is read, with its place in braces: ``"y[{}]"``.

    Raises
    ------
    TraceError
        For an operation that has no text.
    """
    lines = [f"def {name}({arguments}):"]
    for number in graph.used(outputs):
        operation, operands = graph.operations[number], graph.arguments[number]
        if operation == "input":
            row, place = operands
            lines.append(f"    n{number} = {inputs[row].format(place)}")
        elif operation in _TEXTS:
            lines.append(f"    n{number} = {_TEXTS[operation].format(*map(_text, operands))}")
        else:
            raise TraceError(f"needs {operation}, which has no text")
    values = "".join(f"{_text(x.number if isinstance(x, Traced) else float(x))}, " for x in outputs)
    lines.append(f"    return ({values})")
    return from_source("\n".join(lines), name, _NAMES)


def _text(operand: int | float) -> str:
    """Return a node or a constant as it stands in a line."""
    if type(operand) is int:
        return f"n{operand}"
    text = repr(float(operand))
    return f"({text})" if text.startswith("-") else text
