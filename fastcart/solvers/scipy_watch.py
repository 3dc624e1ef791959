"""Items on the dense output of SciPy's steps: turning points of each quantity, and crossings between them.

The interpolant of a state is a polynomial, so its values at enough places say all about it. What is computed
from the states is sampled, in parts that are halved until a polynomial follows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from fastcart.solvers.actions import comes_first
from fastcart.solvers.items import (
    DIES,
    Watched,
    begin,
    belongs,
    clear,
    counts,
    dies,
    happened,
    is_extremum,
    keep,
    measure,
    settle,
    side_of,
)
from fastcart.solvers.transform import LOG_ZERO

_DEGREE = 13  # no interpolant of these methods has a higher one
_SHORT = 1e-10  # part of a time
_HALVINGS = 10
_TESTS = np.array([-0.62, -0.14, 0.62])  # where a polynomial must agree with what it follows

# places of a polynomial of that degree in a step, from -1 to 1, and its coefficients from the values there
_NODES = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))[::-1]
_TO_CHEBYSHEV = np.linalg.inv(chebyshev.chebvander(_NODES, _DEGREE))
_AT_TESTS = chebyshev.chebvander(_TESTS, _DEGREE) @ _TO_CHEBYSHEV

Knots = list[tuple[float, float]]


class Watch:
    """The items of one patient, from step to step.

    Parameters
    ----------
    watched : Watched
    record : recarray
        What is found of each item.
    rtol : float
    log, scale : ndarray, shape (states,)
    derivatives : callable
        ``derivatives(t, u)`` in integrated variables.
    """

    def __init__(
        self, watched: Watched, record: Any, rtol: float, log: np.ndarray, scale: np.ndarray,
        derivatives: Callable[[float, np.ndarray], np.ndarray],
    ):  # fmt: skip
        self.watched, self.record, self.log, self.scale = watched, record, log, scale
        self.derivatives = derivatives
        self.follows = min(max(rtol, 1e-9), 1e-5)  # relative to the range, how near a polynomial must come
        self.computed = bool((watched.quantities.state < 0).any())
        self.ending = np.flatnonzero(watched.items.ends).tolist()
        self.others = np.flatnonzero(~watched.items.ends).tolist()

    def start(self, u: np.ndarray, p: np.ndarray) -> None:
        """Forget what was found, and set the levels."""
        clear(self.record, self.watched, u, p, self.log, self.scale)

    def stand(self, t: float, u: np.ndarray, *, fired: int) -> int:
        """Record what holds at the start or behind a jump; return the item that ends it, or -1."""
        return begin(self.record, self.watched, self._values(t, u), t, fired)

    def arrive(self, t: float, u: np.ndarray, item: int) -> None:
        """Record that an item ends the integration, and how the others stand there."""
        settle(self.record, self.watched, self._values(t, u), t)
        if not self.is_death(item):
            happened(self.record, self.watched.items, item, t)

    def is_death(self, item: int) -> bool:
        """Whether an item is a group that dies out."""
        return item >= 0 and self.watched.items[item].kind == DIES

    def die_out(self, u: np.ndarray, item: int, burden: int) -> bool:
        """Set a group to zero; return whether the burden belongs to it."""
        k = self.watched.items[item].quantity
        dead = [i for i in range(len(u)) if belongs(self.watched, k, i)]
        for i in dead:
            u[i] = LOG_ZERO if self.log[i] else 0.0
        return burden in dead

    def step(
        self, piece: Any, start: tuple[float, np.ndarray], stop: tuple[float, np.ndarray], held: float
    ) -> tuple[float, int]:
        """Look at one step; return the time at which an item ends the integration, and the item, or -1.

        ``piece`` is the interpolant between ``start`` and ``stop``, times and states. Ends from the time
        ``held`` on are left to the look behind the stop there.
        """
        knots = self._knots(piece, start, stop)
        when, item = math.inf, -1
        for i in self.ending:
            place = self._follow(i, knots, piece, math.inf)
            held_back = place >= held and not self.is_death(i)
            if not held_back and comes_first(self.watched.actions, place, i, when, item):
                when, item = place, i
        for i in self.others:
            self._follow(i, knots, piece, when)
        return when, item

    def _values(self, t: float, u: np.ndarray) -> np.ndarray:
        du = self.derivatives(t, u) if self.computed else u
        return np.array([self._measure(k, u, du) for k in range(len(self.watched.quantities))])

    def _measure(self, k: int, u: np.ndarray, du: np.ndarray) -> float:
        return measure(self.watched, k, u, du, self.log, self.scale)[0]

    def _value(self, k: int, piece: Any, t: float) -> float:
        """Quantity ``k`` at a time of a step."""
        u = piece(t)
        state = self.watched.quantities[k].state
        return float(u[state] if state >= 0 else self._measure(k, u, self.derivatives(t, u)))

    def _knots(self, piece: Any, start: tuple, stop: tuple) -> list[Knots]:
        """Return, for each quantity, times and values between which it goes one way."""
        low, high = start[0], stop[0]
        first, last = self._values(*start), self._values(*stop)
        states = piece(_places(low, high))
        knots = []
        for k, quantity in enumerate(self.watched.quantities):
            if quantity.state >= 0:
                turns = _turns(states[quantity.state], low, high)
            else:
                turns = self._sampled(k, piece, low, high, 0)
            inside = [(t, self._value(k, piece, t)) for t in turns]
            knots.append([(low, first[k]), *inside, (high, last[k])])
        return knots

    def _sampled(self, k: int, piece: Any, low: float, high: float, depth: int) -> list[float]:
        """Return where a quantity that is computed turns, and where two polynomials meet that follow it."""
        values = np.array([self._value(k, piece, t) for t in _places(low, high)])
        size = np.abs(values).max()
        spread = values.max() - values.min()
        if not spread > 1e-13 * size:
            return []  # level, but for rounding
        true = np.array([self._value(k, piece, t) for t in _mapped(_TESTS, low, high)])
        off = np.abs(_AT_TESTS @ values - true).max()
        room = high - low > _SHORT * max(abs(low), abs(high))  # else it is rounding that cannot be followed
        if off > self.follows * spread + 1e-14 * size and depth < _HALVINGS and room:
            middle = 0.5 * (low + high)
            before, behind = (
                self._sampled(k, piece, a, b, depth + 1) for a, b in ((low, middle), (middle, high))
            )
            return [*before, middle, *behind]
        return _turns(values, low, high)

    def _follow(self, i: int, knots: list[Knots], piece: Any, end: float) -> float:
        """Record item ``i`` in a step, up to a time; return when it ends the integration, inf for never."""
        item, row = self.watched.items[i], self.record[i]
        kind, k, level, side = item.kind, item.quantity, row.level, row.side
        for (low, before), (high, after) in pairwise(knots[k]):
            if low >= end:
                break
            if high > end:
                high, after = end, self._value(k, piece, end)
            if is_extremum(kind):
                keep(row, kind, after, high)
            elif kind == DIES:
                if dies(before, after, level):
                    return self._seek(k, piece, low, high, level) if before > level else low
            else:
                now = side_of(after, level, side)
                if now != side and counts(kind, now):
                    place = low if before == level else self._seek(k, piece, low, high, level)
                    if not item.ends:
                        happened(self.record, self.watched.items, i, place)
                    elif place >= item.after:
                        return place
                side = now
        row.side = side
        return math.inf

    def _seek(self, k: int, piece: Any, low: float, high: float, level: float) -> float:
        """Return the time at which a quantity crosses a level."""
        from scipy.optimize import brentq

        before, after = self._value(k, piece, low) - level, self._value(k, piece, high) - level
        if (before > 0) == (after > 0):  # rounding at an end that is the crossing
            return low if abs(before) < abs(after) else high
        return brentq(lambda t: self._value(k, piece, t) - level, low, high, xtol=1e-12)


def _mapped(places: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + 0.5 * (high - low) * (1.0 + places)


def _places(low: float, high: float) -> np.ndarray:
    return _mapped(_NODES, low, high)


def _turns(values: np.ndarray, low: float, high: float) -> list[float]:
    """Return the places at which the slope of the polynomial through values at `_places` is zero, sorted."""
    slope = chebyshev.chebder(_TO_CHEBYSHEV @ values)
    size = np.abs(slope)
    if size[0] > size[1:].sum():  # it has one sign throughout
        return []
    # rounding makes coefficients that the polynomial does not have
    known = np.flatnonzero(size > 1e-14 * _DEGREE**2 * np.abs(values).max())
    if not known.size or known[-1] == 0:
        return []
    roots = chebyshev.chebroots(slope[: known[-1] + 1])
    roots = np.real(roots[np.abs(np.imag(roots)) < 1e-6])
    return _mapped(np.sort(roots[np.abs(roots) < 1.0]), low, high).tolist()
