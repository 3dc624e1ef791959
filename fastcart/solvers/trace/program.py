"""The right-hand side of a system as it is integrated, and its Jacobian, as numbers of a graph.

A state in logarithm is ``u = ln y`` with ``du/dt = f/y``. What is a product with ``y`` in ``f`` is divided by
leaving out that factor, so that most of these quotients are none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastcart.solvers.compile import plain
from fastcart.solvers.named import arguments
from fastcart.solvers.system import System
from fastcart.solvers.trace import evaluate
from fastcart.solvers.trace.following import follow
from fastcart.solvers.trace.forward import derivatives
from fastcart.solvers.trace.graph import (
    Graph,
    Traced,
    TraceError,
    add,
    compare,
    larger,
    multiply,
    negative,
    reciprocal,
    subtract,
    unary,
    where,
)
from fastcart.solvers.transform import LOG_FLOOR, LOG_ZERO

TIME = -1  # the direction of time among those of derivatives

_CHECKS = 12  # random points at which a graph is held against its function
_CLOSE = 1e-9


class Point(NamedTuple):
    """Where a right-hand side is evaluated: numbers of a graph."""

    u: Sequence[Any]  # as integrated
    t: Any
    p: Sequence[Any]
    rates: Sequence[Any] | None  # of infusion


class Rates(NamedTuple):
    """Derivatives in natural units and as integrated, with what they were made of."""

    y: list[Any]
    f: list[Any]
    du: list[Any]


class Program:
    """The right-hand side of a system as it is integrated.

    Parameters
    ----------
    system : System
    log : tuple of bool
        Which states are integrated in logarithm.
    infused : bool
        Whether rates of infusion are added.

    Raises
    ------
    TraceError
        Where the right-hand side cannot be followed.
    """

    def __init__(self, system: System, log: tuple[bool, ...], infused: bool):
        self.system, self.log, self.infused = system, log, infused
        self.graph = Graph()
        check(system)

    @property
    def states(self) -> int:
        """How many there are."""
        return len(self.system.states)

    @property
    def parameters(self) -> int:
        """How many there are."""
        return len(self.system.parameters)

    def point(self) -> Point:
        """Return inputs of the graph: rows ``"u"``, ``"t"``, ``"p"`` and ``"r"``."""
        graph = self.graph
        return Point(
            [graph.input("u", i) for i in range(self.states)], graph.input("t"),
            [graph.input("p", k) for k in range(self.parameters)],
            [graph.input("r", i) for i in range(self.states)] if self.infused else None,
        )  # fmt: skip

    def rates(self, at: Point, *, to_differentiate: bool = False) -> Rates:
        """Return the derivatives at a point, on request in the form whose own derivatives are shortest."""
        y = [self._natural(u, log) for u, log in zip(at.u, self.log, strict=True)]
        system = self.system
        if to_differentiate and system.stiff_rhs is not None:
            system = replace(system, rhs=system.stiff_rhs)
        f = list(traced_rates(self.graph, system, at.t, y, at.p))
        if at.rates is not None:
            f = [
                value if log else add(value, rate)
                for value, log, rate in zip(f, self.log, at.rates, strict=True)
            ]
        du = [self._integrated(*values) for values in zip(at.u, y, f, self.log, strict=True)]
        return Rates(y, f, du)

    def jacobian(self, at: Point, rates: Rates) -> list[dict[int, Any]]:
        """Return what is not zero of the derivatives of ``du`` by the states, and by `TIME`, row by row."""
        seeds: dict[int, dict[int, Any]] = {}
        for j, (u, y, log) in enumerate(zip(at.u, rates.y, self.log, strict=True)):
            seeds[(y if log else u).number] = {j: y if log else 1.0}
        seeds[at.t.number] = {TIME: 1.0}
        rows = derivatives(self.graph, rates.f, seeds)
        return [
            self._log_row(i, row, at.u[i], rates) if log else row
            for i, (row, log) in enumerate(zip(rows, self.log, strict=True))
        ]

    def _log_row(self, i: int, row: dict[int, Any], u: Traced, rates: Rates) -> dict[int, Any]:
        alive = compare("!=", u, LOG_ZERO)
        quotients = {k: quotient(value, rates.y[i]) for k, value in row.items()}
        whole = quotient(rates.f[i], rates.y[i])
        quotients[i] = subtract(quotients.get(i, 0.0), whole)
        return {k: where(alive, value, 0.0) for k, value in quotients.items()}

    def _natural(self, u: Any, log: bool) -> Any:
        if not log:
            return u
        return where(compare("!=", u, LOG_ZERO), unary("exp_bounded", larger(u, LOG_FLOOR)), 0.0)

    def _integrated(self, u: Any, y: Any, f: Any, log: bool) -> Any:
        if not log:
            return f
        # an inflow into an exact zero has no logarithm: NaN, which is reported as such
        still = where(compare("==", f, 0.0), 0.0, math.nan)
        return where(compare("!=", u, LOG_ZERO), quotient(f, y), still)


def quotient(value: Any, divisor: Traced) -> Any:
    """Return value / divisor, term by term where a term has the divisor for a factor."""
    found = _divided(value, divisor)
    return multiply(value, reciprocal(divisor)) if found is None else found


def _divided(value: Any, divisor: Traced) -> Any:
    """Return value / divisor where the divisor is a factor of some of its terms, else None."""
    if not isinstance(value, Traced):
        return 0.0 if value == 0.0 else None
    known = divisor.graph.quotients  # each number is in many others
    key = (value.number, divisor.number)
    if key not in known:
        known[key] = _divided_node(value, divisor)
    return known[key]


def _divided_node(value: Traced, divisor: Traced) -> Any:
    if value.number == divisor.number:
        return 1.0
    if value.operation == "negative":
        inner = _divided(value.argument(0), divisor)
        return None if inner is None else negative(inner)
    if value.operation == "*":
        for place in (0, 1):
            inner = _divided(value.argument(place), divisor)
            if inner is not None:
                return multiply(inner, value.argument(1 - place))
    if value.operation == "where":
        sides = [value.argument(1), value.argument(2)]
        return _both_divided(sides, divisor, partial(where, value.argument(0)))
    if value.operation in ("+", "-"):
        sides = [value.argument(0), value.argument(1)]
        return _both_divided(sides, divisor, add if value.operation == "+" else subtract)
    return None


def _both_divided(sides: list, divisor: Traced, join: Callable[[Any, Any], Any]) -> Any:
    """Divide two numbers and join what comes of it; None where the divisor is a factor of neither."""
    divided = [_divided(side, divisor) for side in sides]
    if all(side is None for side in divided):
        return None
    rest = [
        multiply(side, reciprocal(divisor)) if inner is None else inner
        for side, inner in zip(sides, divided, strict=True)
    ]
    return join(*rest)


def traced_rates(graph: Graph, system: System, t: Any, y: Sequence[Any], p: Sequence[Any]) -> tuple[Any, ...]:
    """Return the right-hand side in natural units."""
    return _of_length(follow(graph, system.rhs, (t, *arguments(system, y, p))), len(system.states), "rates")


def traced_observables(
    graph: Graph, system: System, t: Any, y: Sequence[Any], p: Sequence[Any]
) -> tuple[Any, ...]:
    """Return the observables."""
    if system.observe is None:
        return ()
    values = follow(graph, system.observe, (t, *arguments(system, y, p)))
    return _of_length(values, len(system.observables), "observables")


def _of_length(values: tuple[Any, ...], count: int, what: str) -> tuple[Any, ...]:
    if len(values) != count:
        raise TraceError(f"returns {len(values)} {what} where there are {count}")
    return values


def check(system: System) -> None:
    """Hold the graph against the function itself, at random points.

    Raises
    ------
    TraceError
        Where they differ: then something in the function is not what it was taken for.
    """
    graph = Graph()
    n, m = len(system.states), len(system.parameters)
    inputs = {"y": n, "p": m, "t": 1}
    given = {row: [graph.input(row, k) for k in range(count)] for row, count in inputs.items()}
    outputs = traced_rates(graph, system, given["t"][0], given["y"], given["p"])
    function = plain(system.rhs)
    random = np.random.default_rng(0)
    for _ in range(_CHECKS):
        drawn = {row: np.exp(random.normal(size=count)).tolist() for row, count in inputs.items()}
        found = evaluate.values(graph, outputs, partial(_given, drawn))
        exact = _in_python(function, system, drawn)
        if exact is None:
            continue
        size = max((abs(value) for value in exact if math.isfinite(value)), default=0.0)
        for a, b in zip(found, exact, strict=True):
            if math.isfinite(b) and not abs(a - b) <= _CLOSE * (abs(b) + size):
                raise TraceError("is not what its graph says")


def _given(drawn: dict[str, list[float]], row: str, k: int) -> float:
    return drawn[row][k]


def _in_python(function: Callable, system: System, drawn: dict[str, list[float]]) -> list[float] | None:
    """Return the derivatives as Python computes them, None where it cannot."""
    try:
        with np.errstate(all="ignore"):
            values = function(drawn["t"][0], *arguments(system, drawn["y"], drawn["p"]))
            return [float(value) for value in values]
    except Exception:  # Python raises where the processor goes on
        return None
