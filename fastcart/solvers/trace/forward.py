"""Exact derivatives of a graph by forward mode: only what is not zero is carried along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastcart.solvers.trace.graph import (
    CONDITIONS,
    Graph,
    Traced,
    TraceError,
    add,
    compare,
    divide,
    is_constant,
    multiply,
    negative,
    reciprocal,
    subtract,
    unary,
    where,
)

Directions = dict[int, Any]  # what is not zero, by direction

_NEAR_ZERO = 1e-280  # below, the slope of a power is 0, not 0 times infinity
_CONSTANT = (*CONDITIONS, "floor")

# slopes of functions of one number: of the result and the argument
_SLOPES: dict[str, Callable[[Traced, Any], Any]] = {
    "reciprocal": lambda y, x: negative(multiply(y, y)),
    "rough_reciprocal": lambda y, x: negative(multiply(y, y)),
    "exp": lambda y, x: y,
    "exp_bounded": lambda y, x: y,
    "expm1": lambda y, x: add(y, 1.0),
    "log": lambda y, x: reciprocal(x),
    "log1p": lambda y, x: reciprocal(add(1.0, x)),
    "sqrt": lambda y, x: multiply(0.5, reciprocal(y)),
    "rough_sqrt": lambda y, x: multiply(0.5, reciprocal(y)),
    "abs": lambda y, x: where(compare("<", x, 0.0), -1.0, 1.0),
    "sin": lambda y, x: unary("cos", x),
    "cos": lambda y, x: negative(unary("sin", x)),
    "tan": lambda y, x: add(1.0, multiply(y, y)),
    "asin": lambda y, x: reciprocal(unary("sqrt", subtract(1.0, multiply(x, x)))),
    "acos": lambda y, x: negative(reciprocal(unary("sqrt", subtract(1.0, multiply(x, x))))),
    "atan": lambda y, x: reciprocal(add(1.0, multiply(x, x))),
    "sinh": lambda y, x: unary("cosh", x),
    "cosh": lambda y, x: unary("sinh", x),
    "tanh": lambda y, x: subtract(1.0, multiply(y, y)),
}


def derivatives(graph: Graph, outputs: Sequence[Any], seeds: Mapping[int, Directions]) -> list[Directions]:
    """Return the derivatives of outputs, as further numbers of the graph.

    Parameters
    ----------
    graph : Graph
    outputs : sequence
        Numbers of the graph or constants.
    seeds : mapping
        For nodes, usually inputs, their derivatives by direction.

    Returns
    -------
    list of dict
        For each output what is not zero, by direction.
    """
    found: dict[int, Directions] = {}
    graph.lifting = True
    try:
        for number in graph.used(outputs):
            if number in seeds or graph.operations[number] == "input":
                found[number] = dict(seeds.get(number, {}))
            elif graph.operations[number] not in _CONSTANT:
                found[number] = _of_node(graph, number, found)
    finally:
        graph.lifting = False
    return [found.get(value.number, {}) if isinstance(value, Traced) else {} for value in outputs]


def _of_node(graph: Graph, number: int, found: Mapping[int, Directions]) -> Directions:
    """Return the derivatives of a node from those of its arguments."""
    operation, arguments = graph.operations[number], graph.arguments[number]
    of = [found.get(x, {}) if type(x) is int else {} for x in arguments]
    values = [Traced(graph, x) if type(x) is int else x for x in arguments]
    if not any(of):
        return {}
    if operation == "where":
        return _chosen(values[0], of[1], of[2])
    if operation in ("max", "min"):
        condition = compare("<", *(values if operation == "max" else values[::-1]))
        return _chosen(condition, of[1], of[0])
    total: Directions = {}
    for slope, directions in zip(_slopes(Traced(graph, number), operation, values, of), of, strict=True):
        for k, value in directions.items():
            term = multiply(slope, value)
            total[k] = add(total[k], term) if k in total else term
    return {k: value for k, value in total.items() if not is_constant(value, 0)}


def _chosen(condition: Any, yes: Directions, no: Directions) -> Directions:
    return {k: where(condition, yes.get(k, 0.0), no.get(k, 0.0)) for k in sorted(yes.keys() | no.keys())}


def _slopes(result: Traced, operation: str, x: list, of: list[Directions]) -> list:
    """Return the derivative of an operation by each of its arguments, 0 where nobody asks."""
    if operation in _SLOPES:
        return [_SLOPES[operation](result, x[0])]
    if operation == "+":
        return [1.0, 1.0]
    if operation == "-":
        return [1.0, -1.0]
    if operation == "negative":
        return [-1.0]
    if operation == "*":
        return [x[1], x[0]]
    if operation == "/":
        inverse = divide(1.0, x[1])
        return [inverse, negative(multiply(result, inverse)) if of[1] else 0.0]
    if operation == "power":
        by_base = by_exponent = 0.0
        if of[0]:
            slope = multiply(multiply(result, x[1]), reciprocal(x[0]))
            by_base = where(compare("<", _NEAR_ZERO, unary("abs", x[0])), slope, 0.0)
        if of[1]:
            slope = multiply(result, unary("log", x[0]))
            by_exponent = where(compare("<", _NEAR_ZERO, x[0]), slope, 0.0)
        return [by_base, by_exponent]
    raise TraceError(f"needs the derivative of {operation}, which is not known")
