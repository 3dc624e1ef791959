"""Algebraic variables by index reduction: an equation without derivatives becomes a differential one.

A variable x is determined by ``g(t, y, x) = 0``. Along the solution g stays zero, so with ``y' = f``

    x' = -(g_t + g_y f + k g) / g_x

The last term, after Baumgarte (1972), lets what errors of steps leave of g decay at a rate k. A variable in
logarithm has an equation between positive sides, ``left - right``, whose ratio is held: what follows of an
absolute error of a side that falls by twenty decades would be all that is left of it.

References
----------
J. Baumgarte, Comput. Methods Appl. Mech. Eng. 1 (1972) 1-16.
C. W. Gear, SIAM J. Sci. Stat. Comput. 9 (1988) 39-47.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastcart.solvers.named import arguments
from fastcart.solvers.system import System
from fastcart.solvers.trace.following import follow
from fastcart.solvers.trace.forward import derivatives
from fastcart.solvers.trace.graph import (
    CONDITIONS,
    Graph,
    Traced,
    TraceError,
    add,
    both,
    compare,
    divide,
    multiply,
    negative,
    reciprocal,
    subtract,
    unary,
    where,
)
from fastcart.solvers.trace.program import quotient
from fastcart.solvers.trace.source import function_of
from fastcart.solvers.trace.sparse import Matrix, factors, solve

_JUMPING = {*CONDITIONS, "floor"}
_FLOW = -1  # the direction in which time and states go
_INPUTS = {"y": "y[{}]", "p": "p[{}]", "t": "t", "f": "f[{}]"}


class Unknown(NamedTuple):
    """A variable that an equation determines: its place among the states."""

    place: int
    log: bool
    rate: float  # at which a deviation from the equation decays


class _Sides(NamedTuple):
    """An equation: the terms that are added, and those that are taken away."""

    left: Any
    right: Any
    relative: bool  # whether their ratio is held at 1, instead of their difference at 0

    @property
    def difference(self) -> Any:
        return subtract(self.left, self.right)

    def per_right(self, value: Any) -> Any:
        """Return a value over the right side."""
        return quotient(value, self.right) if isinstance(self.right, Traced) else divide(value, self.right)

    @property
    def positive(self) -> Any:
        return both(compare("<", 0.0, self.left), compare("<", 0.0, self.right))


class Reduction:
    """The equations of algebraic variables as a graph.

    Parameters
    ----------
    system : System
    residual : function
        ``residual(t, y, p)`` returns a number for each unknown.
    unknowns : sequence of Unknown

    Raises
    ------
    TraceError
        Where the residual cannot be followed or differentiated, or does not determine the unknowns.
    """

    def __init__(self, system: System, residual: Callable, unknowns: Sequence[Unknown]):
        self.unknowns = tuple(unknowns)
        self.graph = graph = Graph()
        self.t = graph.input("t")
        self.y = [graph.input("y", i) for i in range(len(system.states))]
        self.p = [graph.input("p", k) for k in range(len(system.parameters))]
        places = {unknown.place for unknown in unknowns}
        self.others = [i for i in range(len(self.y)) if i not in places]
        values = follow(graph, residual, (self.t, *arguments(system, self.y, self.p)))
        if len(values) != len(unknowns):
            raise TraceError(f"returns {len(values)} values for {len(unknowns)} algebraic variables")
        self._refuse_jumps(values)
        order = self._order(system, values)
        self.sides = [_sides(values[i], unknown.log) for i, unknown in zip(order, unknowns, strict=True)]

    def _refuse_jumps(self, values: Sequence[Any]) -> None:
        """Refuse equations that change at a moment or a state: no derivative tells how far unknowns jump."""
        graph = self.graph
        moving = {self.t.number, *(y.number for y in self.y)}
        for number in graph.used(values):
            if graph.operations[number] not in _JUMPING:
                continue
            if moving & set(graph.used([Traced(graph, number)])):
                raise TraceError(
                    "may jump where time or a state passes a value (if, comparison, floor); use min, max or "
                    "abs, or a parameter that switches at its time"
                )

    def _order(self, system: System, values: Sequence[Any]) -> list[int]:
        """Return for each unknown the equation that it is solved by, so that no pivot is always zero."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import maximum_bipartite_matching

        seeds = {self.y[x.place].number: {j: 1.0} for j, x in enumerate(self.unknowns)}
        rows = derivatives(self.graph, values, seeds)
        depends = np.array([[j in row for row in rows] for j in range(len(self.unknowns))])
        order = maximum_bipartite_matching(csr_array(depends), perm_type="column").tolist()
        if min(order) < 0:
            name = system.states[self.unknowns[order.index(min(order))].place].name
            raise TraceError(f"has no equation left that determines {name!r}")
        return order

    def slopes(self, *, divided: bool) -> Callable:
        """Return ``slopes(t, y, p, f)``: the derivatives of the unknowns where ``f`` are those of the others.

        Where an unknown in logarithm is zero, they are zero or not, and have a value only if ``divided``.
        """
        flow: dict[int, dict[int, Any]] = {self.t.number: {_FLOW: 1.0}}
        for k, i in enumerate(self.others):
            flow[self.y[i].number] = {_FLOW: self.graph.input("f", k)}
        for j, unknown in enumerate(self.unknowns):
            flow[self.y[unknown.place].number] = {j: 1.0}
        rows = [self._row(j, flow, relative=True) for j in range(len(self.unknowns))]
        if not any(side.relative for side in self.sides):
            found = self._solved(rows)
        elif divided or len(rows) > 1:
            rest = self._solved([self._row(j, flow, relative=False) for j in range(len(rows))])
            alive = self._all_positive()
            found = [where(alive, a, b) for a, b in zip(self._solved(rows), rest, strict=True)]
        else:
            found = [self._only(rows[0], self._row(0, flow, relative=False)[_FLOW])]
        return function_of(self.graph, "slopes", "t, y, p, f", found, _INPUTS)

    def _all_positive(self) -> Any:
        """Return whether all that is compared by ratios is positive."""
        alive: Any = True
        for unknown, side in zip(self.unknowns, self.sides, strict=True):
            if side.relative:
                alive = both(alive, both(compare("<", 0.0, self.y[unknown.place]), side.positive))
        return alive

    def _only(self, row: dict[int, Any], plain: Any) -> Any:
        """Return the derivative of the only unknown, in logarithm, as a product with it.

        An exact zero stays where its equation holds there; what else is not positive has no logarithm.
        """
        x, side = self.y[self.unknowns[0].place], self.sides[0]
        growth = multiply(quotient(negative(row[_FLOW]), x), reciprocal(row[0]))
        still = both(compare("==", x, 0.0), compare("==", plain, 0.0))
        return multiply(x, where(side.positive, growth, where(still, 0.0, np.nan)))

    def _row(self, j: int, flow: dict[int, dict[int, Any]], *, relative: bool) -> dict[int, Any]:
        """Return the derivatives of an equation by the unknowns, and along the flow with what pulls back."""
        side, unknown = self.sides[j], self.unknowns[j]
        left, right = derivatives(self.graph, [side.left, side.right], flow)
        apart = multiply(unknown.rate, side.difference)
        if side.relative and relative:
            # (ln left - ln right)' times left
            right = {k: multiply(side.left, side.per_right(value)) for k, value in right.items()}
            deviation = subtract(multiply(side.left, side.per_right(1.0)), 1.0)
            apart = multiply(side.left, multiply(unknown.rate, deviation))
        row = {k: subtract(left.get(k, 0.0), right.get(k, 0.0)) for k in sorted(left.keys() | right.keys())}
        row[_FLOW] = add(row.get(_FLOW, 0.0), apart)
        return row

    def _solved(self, rows: list[dict[int, Any]]) -> list[Any]:
        """Return the derivatives of the unknowns from the rows of the linear system."""
        flows = [negative(row.pop(_FLOW)) for row in rows]
        if len(rows) == 1:
            x = self.y[self.unknowns[0].place]
            inverse = reciprocal(rows[0][0])
            if self.unknowns[0].log:  # as a product with the variable, by which it is divided again
                return [multiply(x, multiply(quotient(flows[0], x), inverse))]
            return [multiply(flows[0], inverse)]
        matrix: Matrix = {(i, j): value for i, row in enumerate(rows) for j, value in row.items()}
        return solve(factors(matrix, len(rows)), flows)

    def equations(self) -> Callable:
        """Return ``equations(t, y, p)``: what Newton's method needs.

        For each equation its value, positive where the left side is larger; how large its terms are; its
        plain difference; then the derivatives of the values by the unknowns, row by row.
        """
        seeds = {self.y[x.place].number: {j: 1.0} for j, x in enumerate(self.unknowns)}
        values, sizes, differences, slopes = [], [], [], []
        for side in self.sides:
            value: Any = side.difference
            size = add(unary("abs", side.left), unary("abs", side.right))
            if side.relative:
                beyond = where(compare("<", value, 0.0), -np.inf, np.inf)
                ratio = unary("log", divide(side.left, side.right))
                value, size = where(side.positive, ratio, beyond), 1.0
            values.append(value)
            sizes.append(size)
            differences.append(side.difference)
            row = derivatives(self.graph, [value], seeds)[0]
            slopes += [row.get(j, 0.0) for j in range(len(self.unknowns))]
        return function_of(self.graph, "equations", "t, y, p", values + sizes + differences + slopes, _INPUTS)


def _sides(value: Any, log: bool) -> _Sides:
    """Return the sides of an equation: what is added and what is taken away."""
    sides: list[list[Any]] = [[], []]

    def walk(part: Any, taken: bool) -> None:
        operation = part.operation if isinstance(part, Traced) else ""
        if operation in ("+", "-"):
            walk(part.argument(0), taken)
            walk(part.argument(1), taken != (operation == "-"))
        elif operation == "negative":
            walk(part.argument(0), not taken)
        elif not isinstance(part, Traced) and part < 0:
            sides[not taken].append(-part)
        else:
            sides[taken].append(part)

    walk(value, False)
    totals: list[Any] = []
    for terms in sides:
        total: Any = 0.0
        for term in terms:
            total = add(total, term)
        totals.append(total)
    # a difference of logarithms is relative as it is
    logarithms = any(isinstance(x, Traced) and x.operation == "log" for terms in sides for x in terms)
    return _Sides(totals[0], totals[1], log and bool(sides[0]) and bool(sides[1]) and not logarithms)
