"""Factors of a sparse matrix whose entries are numbers of a graph: the steps are chosen here, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastcart.solvers.trace.graph import multiply, reciprocal, subtract

Matrix = dict[tuple[int, int], Any]  # what is not zero, by row and column


@dataclass(frozen=True)
class Factors:
    """L and U in one matrix, the pivots of each part in their order, and the inverse of each.

    Each part follows those that it needs. The pivots are on the diagonal: that of ``I/(h gamma) - J`` is
    large at the steps that the error allows.
    """

    entries: Matrix
    parts: list[list[int]]
    inverse: dict[int, Any]


def factors(matrix: Matrix, size: int) -> Factors:
    """Factor a matrix part by part: unknowns that depend on each other, behind those that they depend on.

    Between parts nothing is eliminated, so entries there stay as sparse as they are. Parts with equal
    entries, as sensitivities to several parameters have, are factored once, since equal operations are one.

    Within a part the next pivot is where it costs least (Markowitz 1957); ties go to the first.
    """
    entries = dict(matrix)
    inverse: dict[int, Any] = {}
    parts = [_eliminate(entries, set(part), inverse) for part in _parts(matrix, size)]
    return Factors(entries, parts, inverse)


def _parts(matrix: Matrix, size: int) -> list[list[int]]:
    """Return the strongly connected components of unknowns, needed ones first (Tarjan 1972)."""
    needs: list[list[int]] = [[] for _ in range(size)]
    for i, j in sorted(matrix):
        if i != j:
            needs[i].append(j)
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    found: list[list[int]] = []
    for root in range(size):
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        way = [(root, iter(needs[root]))]
        while way:
            i, rest = way[-1]
            j = next(rest, -1)
            if j < 0:
                way.pop()
                if way:
                    low[way[-1][0]] = min(low[way[-1][0]], low[i])
                if low[i] == index[i]:
                    place = stack.index(i)
                    found.append(sorted(stack[place:]))
                    del stack[place:]
            elif j not in index:
                index[j] = low[j] = len(index)
                stack.append(j)
                way.append((j, iter(needs[j])))
            elif j in stack:
                low[i] = min(low[i], index[j])
    return found


def _eliminate(entries: Matrix, left: set[int], inverse: dict[int, Any]) -> list[int]:
    """Factor the entries among some unknowns, in place; return the order of the pivots."""
    order: list[int] = []
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
    return order


def _cost(entries: Matrix, left: set[int], k: int) -> int:
    rows = sum((i, k) in entries for i in left if i != k)
    columns = sum((k, j) in entries for j in left if j != k)
    return rows * columns


def solve(matrix: Factors, right: Sequence[Any]) -> list[Any]:
    """Return x with A x = b, from the factors of A."""
    x, entries = list(right), matrix.entries
    rows: dict[int, list[int]] = {}
    for i, j in sorted(entries):
        rows.setdefault(i, []).append(j)
    known: set[int] = set()
    for order in matrix.parts:
        for i in order:
            for j in rows[i]:
                if j in known:
                    x[i] = subtract(x[i], multiply(entries[i, j], x[j]))
        for place, k in enumerate(order):
            for i in order[place + 1 :]:
                if (i, k) in entries:
                    x[i] = subtract(x[i], multiply(entries[i, k], x[k]))
        for place in range(len(order) - 1, -1, -1):
            k = order[place]
            for j in order[place + 1 :]:
                if (k, j) in entries:
                    x[k] = subtract(x[k], multiply(entries[k, j], x[j]))
            x[k] = multiply(x[k], matrix.inverse[k])
        known.update(order)
    return x
