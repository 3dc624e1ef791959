"""Division of what a graph computes by one of its values, as far as its operations show a factor."""

from __future__ import annotations

from typing import Any

from fastcart.solvers.trace.graph import Traced, add, is_constant, multiply, negative, subtract, where


def split(value: Any, divisor: Traced, found: dict[int, tuple[Any, Any]] | None = None) -> tuple[Any, Any]:
    """Return a and b with ``value = a * divisor + b``, where nothing of b has the divisor for a factor."""
    found = {divisor.number: (1.0, 0.0)} if found is None else found
    if not isinstance(value, Traced):
        return 0.0, value
    if value.number not in found:
        found[value.number] = _split(value, divisor, found)
    return found[value.number]


def _split(value: Traced, divisor: Traced, found: dict[int, tuple[Any, Any]]) -> tuple[Any, Any]:
    if value.operation not in ("negative", "+", "-", "where", "*"):
        return 0.0, value
    operands = [value.argument(place) for place in range(len(value.arguments))]
    parts = [split(operand, divisor, found) for operand in operands]
    if value.operation == "negative":
        return negative(parts[0][0]), negative(parts[0][1])
    if value.operation == "where":
        return where(operands[0], parts[1][0], parts[2][0]), where(operands[0], parts[1][1], parts[2][1])
    if value.operation == "*":
        for place in (0, 1):
            if not is_constant(parts[place][0], 0) and is_constant(parts[place][1], 0):
                return multiply(parts[place][0], operands[1 - place]), 0.0
        return 0.0, value
    join = add if value.operation == "+" else subtract
    return join(parts[0][0], parts[1][0]), join(parts[0][1], parts[1][1])
