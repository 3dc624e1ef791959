"""Factors of a sparse matrix whose entries are numbers of a graph: the steps are chosen here, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastcart.solvers.trace.graph import multiply, reciprocal, subtract

Matrix = dict[tuple[int, int], Any]  # what is not zero, by row and column


@dataclass(frozen=True)
class Factors:
    """L and U in one matrix, the order of the pivots, and the inverse of each.

    The pivots are on the diagonal: that of ``I/(h gamma) - J`` is large at the steps that the error allows.
    """

    entries: Matrix
    order: list[int]
    inverse: dict[int, Any]


def factors(matrix: Matrix, size: int) -> Factors:
    """Factor a matrix, the next pivot where it costs least (Markowitz 1957); ties go to the first."""
    entries, left = dict(matrix), set(range(size))
    order: list[int] = []
    inverse: dict[int, Any] = {}
    while left:
        pivot = min(left, key=lambda k: (_cost(entries, left, k), k))
        left.discard(pivot)
        order.append(pivot)
        inverse[pivot] = reciprocal(entries[pivot, pivot])
        columns = [j for j in sorted(left) if (pivot, j) in entries]
        for i in sorted(left):
            if (i, pivot) not in entries:
                continue
            factor = entries[i, pivot] = multiply(entries[i, pivot], inverse[pivot])
            for j in columns:
                product = multiply(factor, entries[pivot, j])
                entries[i, j] = subtract(entries.get((i, j), 0.0), product)
    return Factors(entries, order, inverse)


def _cost(entries: Matrix, left: set[int], k: int) -> int:
    rows = sum((i, k) in entries for i in left if i != k)
    columns = sum((k, j) in entries for j in left if j != k)
    return rows * columns


def solve(matrix: Factors, right: Sequence[Any]) -> list[Any]:
    """Return x with A x = b, from the factors of A."""
    x, order = list(right), matrix.order
    for place, k in enumerate(order):
        for i in order[place + 1 :]:
            if (i, k) in matrix.entries:
                x[i] = subtract(x[i], multiply(matrix.entries[i, k], x[k]))
    for place in range(len(order) - 1, -1, -1):
        k = order[place]
        for j in order[place + 1 :]:
            if (k, j) in matrix.entries:
                x[k] = subtract(x[k], multiply(matrix.entries[k, j], x[j]))
        x[k] = multiply(x[k], matrix.inverse[k])
    return x
