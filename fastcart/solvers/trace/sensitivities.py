"""A system with its sensitivities: derivatives by parameters and initial values, as further states.

A direction k is a change of parameters and initial values together. With the exact Jacobian J, and g the
derivative by the parameters themselves, ``s = dy/dk`` follows ``ds/dt = J s + g``. What is integrated is
``w = s/r`` with r = y for a state in logarithm and ``r = sqrt(scale**2 + y**2)`` for the others: it neither
grows nor falls with the state, and an error that is small beside 1 is one that is small beside the state.
Beside s itself it could not be: s may go through zero where y is large.

References
----------
R. P. Dickinson, R. J. Gelinas, J. Comput. Phys. 21 (1976) 123-143.
T. Maly, L. R. Petzold, Appl. Numer. Math. 20 (1996) 57-79.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from numba import njit

from fastcart.solvers.compile import from_source
from fastcart.solvers.named import named_call, naming
from fastcart.solvers.system import Manifold, System, Variable
from fastcart.solvers.trace.following import follow
from fastcart.solvers.trace.forward import derivatives
from fastcart.solvers.trace.graph import (
    CONDITIONS,
    Graph,
    Traced,
    TraceError,
    add,
    compare,
    is_constant,
    multiply,
    negative,
    reciprocal,
    subtract,
    unary,
    where,
)
from fastcart.solvers.trace.program import check, traced_observables, traced_rates
from fastcart.solvers.trace.source import function_of
from fastcart.solvers.trace.sparse import factors, solve
from fastcart.solvers.trace.splitting import split

# An integral is controlled beside itself. That of a sensitivity may be nothing but noise where the area is
# large, so what is integrated has so many areas in it. Relative sensitivities that are just minus that number
# do not occur.
SHARE = math.pi

# Directions up to which both forms of the slopes are differentiated to see which is easier
_FEW = 4

_NAN = math.nan
_INPUTS = {"y": "y[{}]", "p": "p[{}]", "t": "t"}


@dataclass(frozen=True)
class Directions:
    """What a system is differentiated by.

    Parameters
    ----------
    names : tuple of str
    moved : tuple of (int, int)
        Which parameters change in which direction: their number, the number of the direction. By how much is
        said by further parameters, in this order.
    """

    names: tuple[str, ...]
    moved: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.names)


@dataclass(frozen=True)
class Setting:
    """How the states of a system are integrated.

    Parameters
    ----------
    log : tuple of bool
        Which states, integrals left out, are integrated in logarithm.
    scale : tuple of float
        Of the same states.
    fed : tuple of int
        States that are infused. Their rates of infusion become states, which doses jump.
    areas, hidden : int
        The last states of the system are integrals, of which first the areas are differentiated, and then the
        hidden ones not.
    """

    log: tuple[bool, ...]
    scale: tuple[float, ...]
    fed: tuple[int, ...]
    areas: int
    hidden: int

    @property
    def own(self) -> int:
        """How many states are no integrals."""
        return len(self.log)


def differentiated(system: System, directions: Directions, setting: Setting) -> System:
    """Return a system with sensitivities as further states.

    Returns
    -------
    System
        Its states are the own ones, their sensitivities, direction by direction; rates of infusion; areas,
        their sensitivities with `SHARE` times the area; the other integrals.

    Raises
    ------
    TraceError
        Where the system cannot be traced, or where its sensitivities jump.
    """
    check(system)
    traced = _Differentiated(system, directions, setting)
    own, last = setting.own, setting.own + setting.areas
    f = traced.rates
    forms = []
    for by_jacobian in (True, False):
        slopes = traced.slopes(by_jacobian=by_jacobian)
        blocks = [
            f[:own], *(rows[:own] for rows in slopes), [0.0] * len(setting.fed),
            f[own:last], *(rows[own:] for rows in slopes), f[last:],
        ]  # fmt: skip
        forms.append([value for block in blocks for value in block])
    traced.check_switches(forms[0])
    manifold = traced.manifold()
    stiff, rhs = (
        function_of(traced.graph, "rhs", "t, y, p", outputs, _INPUTS)
        for outputs in (traced.easiest(forms), traced.shortest(forms))
    )
    states = [*system.states[:own]]
    for k in range(directions.count):
        states += [Variable(f"_d{k}_{state.name}") for state in system.states[:own]]
    states += [Variable(f"_into_{system.states[i].name}") for i in setting.fed]
    states += system.states[own:last]
    for k in range(directions.count):
        states += [Variable(f"_d{k}_{state.name}", computed=True) for state in system.states[own:last]]
    states += system.states[last:]
    return replace(
        system, name=f"{system.name} with sensitivities", states=tuple(states),
        parameters=(*system.parameters, *(f"_moved{i}" for i in range(len(directions.moved)))),
        rhs=njit(rhs), stiff_rhs=njit(stiff), observe=_shortened(system, directions, setting), published=None,
        manifold=manifold,
    )  # fmt: skip


def _shortened(system: System, directions: Directions, setting: Setting) -> Any:
    """Return the observables of the system itself, of longer vectors; None for none."""
    if system.observe is None:
        return None
    own, first = setting.own, setting.own * (1 + directions.count) + len(setting.fed)
    behind = first + setting.areas * (1 + directions.count)
    places = [*range(own), *range(first, first + setting.areas), *range(behind, behind + setting.hidden)]
    states, parameters = [f"y[{i}]" for i in places], [f"p[{k}]" for k in range(len(system.parameters))]
    text = f"def observe(t, y, p):\n    return {named_call('base', 't', states, parameters)}"
    return njit(from_source(text, "observe", {"base": system.observe, **naming(system)}))


def differentiated_observables(system: System, directions: Directions, setting: Setting) -> System:
    """Return a system with derivatives of the observables, direction by direction, for `differentiated`."""
    traced = _Differentiated(system, directions, setting)
    forms = [traced.observed_slopes(by_jacobian=by_jacobian) for by_jacobian in (True, False)]
    outputs = traced.shortest([[value for rows in form for value in rows] for form in forms])
    traced.check_switches(outputs)
    observe = function_of(traced.graph, "observe", "t, y, p", outputs, _INPUTS)
    names = [f"_d{k}_{name}" for k in range(directions.count) for name in system.observables]
    return replace(system, observables=tuple(names), observe=njit(observe))


class _Differentiated:
    """The numbers of a system with its sensitivities."""

    def __init__(self, system: System, directions: Directions, setting: Setting):
        self.system, self.directions, self.setting, self.log = system, directions, setting, setting.log
        self.graph = graph = Graph()
        self.own = own = setting.own
        self.parameters = len(system.parameters)
        self.t = graph.input("t")
        self.y = [graph.input("y", i) for i in range(own)]
        self.p = [graph.input("p", k) for k in range(self.parameters)]
        self.sizes = [
            y if log else unary("sqrt", add(multiply(y, y), scale * scale))
            for y, log, scale in zip(self.y, setting.log, setting.scale, strict=True)
        ]
        # nothing depends on the integrals
        self.states = [*self.y, *[0.0] * (setting.areas + setting.hidden)]
        self.rates = list(traced_rates(graph, system, self.t, self.states, self.p))
        for place, i in enumerate(setting.fed):
            rate = graph.input("y", own * (1 + directions.count) + place)
            self.rates[i] = add(self.rates[i], rate)

    def slopes(self, *, by_jacobian: bool) -> list[list[Any]]:
        """Return what sensitivities of states and areas change by, row by row, for each direction.

        ``by_jacobian`` computes the Jacobian first, which pays for many directions; else derivatives go along
        each direction.
        """
        own, f, seeds = self.own, self.rates, self._seeds(by_jacobian=by_jacobian)
        parts = [split(f[i], y) if self.log[i] else (f[i], 0.0) for i, y in enumerate(self.y)]
        shares = derivatives(self.graph, [part for part, _ in parts], seeds)
        rests = derivatives(self.graph, [rest for _, rest in parts], seeds)
        areas = derivatives(self.graph, f[own : own + self.setting.areas], seeds)
        found = []
        if by_jacobian:
            for i in range(own):
                if not self.log[i]:
                    self._measure(i, shares[i])
        for k in range(self.directions.count):
            v = self._along(k)
            along = v if by_jacobian else {k: 1.0}
            rows = []
            for i in range(own):
                value = _product(shares[i], along)
                if self.log[i]:
                    value = self._alive(i, value, parts[i][1], _product(rests[i], along), v[i])
                elif not by_jacobian:
                    inverse, growth = self._growth(i)
                    value = subtract(multiply(value, inverse), multiply(growth, v[i]))
                rows.append(value)
            rows += [
                add(_product(row, along), multiply(SHARE, z)) for row, z in zip(areas, f[own:], strict=False)
            ]
            found.append(rows)
        return found

    def manifold(self) -> Manifold | None:
        """Return how sensitivities of algebraic variables follow from those of the others, where some are."""
        manifold, graph = self.system.manifold, self.graph
        if manifold is None:
            return None
        places, count = manifold.places, self.directions.count
        values = follow(graph, manifold.equations, (self.t, tuple(self.states), tuple(self.p)))
        seeds = self._seeds(by_jacobian=False)
        for j, place in enumerate(places):
            seeds[self.y[place].number] = {count + j: 1.0}
        rows = derivatives(graph, values[: len(places)], seeds)
        matrix = {
            (i, k - count): value for i, row in enumerate(rows) for k, value in row.items() if k >= count
        }
        factored = factors(matrix, len(places))
        outputs, following = [], []
        for k in range(count):
            slopes = solve(factored, [negative(row.get(k, 0.0)) for row in rows])
            for place, slope in zip(places, slopes, strict=True):
                relative = multiply(slope, reciprocal(self.sizes[place]))
                if self.log[place]:
                    relative = where(compare("<", 0.0, self.y[place]), relative, 0.0)
                outputs.append(relative)
                following.append(self.own * (1 + k) + place)
        function = function_of(graph, "followers", "t, y, p", outputs, _INPUTS)
        return manifold._replace(following=tuple(following), followers=function, fed=None)

    def _growth(self, i: int) -> tuple[Any, Any]:
        """Return 1/r of a state that is not in logarithm, and what r grows by, relative to itself."""
        inverse = reciprocal(self.sizes[i])
        return inverse, multiply(multiply(multiply(self.y[i], self.rates[i]), inverse), inverse)

    def _measure(self, i: int, row: dict[int, Any]) -> None:
        """Turn the derivatives of a slope into those of the sensitivity in the size of its state, for all."""
        inverse, growth = self._growth(i)
        for j in row:
            # the size of the state itself is in the numerator, too
            row[j] = _by_size(row[j], self.sizes[i], inverse) if j == i else multiply(row[j], inverse)
        row[i] = subtract(row.get(i, 0.0), growth)

    def _alive(self, i: int, share: Any, rest: Any, change: Any, v: Any) -> Any:
        """Return the slope of a sensitivity in logarithm; that of an exact zero stays where it is."""
        y = self.y[i]
        alive = compare("<", 0.0, y)
        if is_constant(rest, 0):
            return where(alive, share, 0.0)
        per_y = reciprocal(y)
        inflow = multiply(subtract(change, multiply(rest, v)), per_y)
        # an inflow that only the changed patient has makes a logarithm of nothing
        return where(alive, add(share, inflow), where(compare("==", change, 0.0), 0.0, _NAN))

    def observed_slopes(self, *, by_jacobian: bool) -> list[list[Any]]:
        """Return the derivatives of the observables, for each direction; see `slopes`."""
        z = traced_observables(self.graph, self.system, self.t, self.states, self.p)
        rows = derivatives(self.graph, z, self._seeds(by_jacobian=by_jacobian))
        return [
            [_product(row, self._along(k) if by_jacobian else {k: 1.0}) for row in rows]
            for k in range(self.directions.count)
        ]

    def _seeds(self, *, by_jacobian: bool) -> dict[int, dict[int, Any]]:
        """Return the derivatives of states and parameters by themselves, or by the directions."""
        seeds: dict[int, dict[int, Any]] = {y.number: {} for y in self.y}
        if by_jacobian:
            for j, y in enumerate(self.y):
                seeds[y.number] = {j: self.sizes[j]}
            for j in {j for j, _ in self.directions.moved}:
                seeds[self.p[j].number] = {self.own + j: 1.0}
            return seeds
        for k in range(self.directions.count):
            for j, change in self._along(k).items():
                if j < self.own:
                    seeds[self.y[j].number][k] = multiply(self.sizes[j], change)
                else:
                    seeds.setdefault(self.p[j - self.own].number, {})[k] = change
        return seeds

    def _along(self, k: int) -> dict[int, Any]:
        """Return what changes in a direction: sensitivities of states, then changes of parameters."""
        first = self.own * (1 + k)
        along = {j: self.graph.input("y", first + j) for j in range(self.own)}
        for place, (j, direction) in enumerate(self.directions.moved):
            if direction == k:
                along[self.own + j] = self.graph.input("p", self.parameters + place)
        return along

    def shortest(self, forms: Sequence[list[Any]]) -> list[Any]:
        """Return those of equal outputs that need the fewest operations."""
        return min(forms, key=lambda outputs: len(self.graph.used(outputs)))

    def easiest(self, forms: Sequence[list[Any]]) -> list[Any]:
        """Return those of equal outputs whose Jacobian needs the fewest operations, as stiff methods do.

        Of many directions it is that form which has the Jacobian of the system itself in it.
        """
        if self.directions.count > _FEW:
            return forms[0]
        states = [self.graph.input("y", i) for i in range(self.own * (1 + self.directions.count))]
        seeds = {state.number: {i: 1.0} for i, state in enumerate(states)}

        def work(outputs: list[Any]) -> int:
            rows = derivatives(self.graph, outputs, seeds)
            return len(self.graph.used([*outputs, *(value for row in rows for value in row.values())]))

        return min(forms, key=work)

    def check_switches(self, outputs: Sequence[Any]) -> None:
        """Refuse conditions that come true at a time which moves with a parameter.

        Raises
        ------
        TraceError
        """
        graph, moved = self.graph, {self.p[j].number: j for j, _ in self.directions.moved}
        reach: dict[int, frozenset[int]] = {}
        for number in graph.used(outputs):
            if graph.operations[number] == "input":
                timed = number == self.t.number
                reach[number] = frozenset([-1] if timed else [moved[number]] if number in moved else [])
                continue
            found = frozenset().union(*(reach[x] for x in graph.arguments[number] if type(x) is int))
            switches = graph.operations[number] in (*CONDITIONS, "floor")
            if switches and -1 in found and len(found) > 1:
                name = self.system.parameters[min(found - {-1})]
                raise TraceError(f"has a switch whose time moves with {name!r}")
            reach[number] = found


def _product(row: dict[int, Any], along: dict[int, Any]) -> Any:
    total: Any = 0.0
    for j in sorted(row.keys() & along.keys()):
        total = add(total, multiply(row[j], along[j]))
    return total


def _by_size(value: Any, size: Traced, inverse: Any) -> Any:
    share, rest = split(value, size)
    return share if is_constant(rest, 0) else multiply(value, inverse)
