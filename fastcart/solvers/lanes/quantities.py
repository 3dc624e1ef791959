"""Peaks and events: states and observables inside a step, located on the interpolant.

`fastcart.solvers.lanes.look` says which steps are worth it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from fastcart.solvers.compile import INNER
from fastcart.solvers.lanes.extinction import groups
from fastcart.solvers.lanes.interpolate import rise_of
from fastcart.solvers.lanes.layout import LANES, aligned_rows
from fastcart.solvers.lanes.look import (
    BOTH,
    DOWN,
    PEAK,
    UP,
    Item,
    Rows,
    look_function,
    one_function,
)
from fastcart.solvers.lanes.pointer import evaluate
from fastcart.solvers.problem import Problem

_L = LANES

_KINDS = {"up": UP, "down": DOWN, "both": BOTH}
# what is known of a quantity at the ends of a step; then where its slope changes sign, once that is asked for
OLD, NEW, SLOPE_OLD, SLOPE_NEW, TURN = range(5)
_UNKNOWN = -1.0
_REACH = 1e-4  # of a step, for differences in place of derivatives


@dataclass(frozen=True)
class Watch:
    """What the loop needs to know of peaks, events and states that may die out; see `watching`."""

    all_lanes: Any
    one_patient: Any
    rows: Rows
    # per item: which quantity, kind, is it terminal, parameter that is the threshold or -1, the threshold if
    # it is a number, time behind which an event counts, item behind whose first time it counts or -1
    items: np.ndarray
    direct: np.ndarray  # per quantity: the state that it is, as integrated; -1 where it takes the function
    sizes: tuple[int, int, int, int]  # states, parameters, quantities, groups
    extinct: tuple[np.ndarray, ...] | None

    def arrays(self, best: np.ndarray, when: np.ndarray, times: np.ndarray) -> tuple[Any, Any]:
        """Return the tuples ``look`` and ``watch`` of the loop, with buffers of their own."""
        n, m, quantities, groups = self.sizes
        r = self.rows
        at = np.array(
            [r.time, r.parameters, r.slopes, r.step, r.accepted, r.old, r.new, r.slope_old, r.slope_new,
             r.level, r.best, r.when, r.need]
        )  # fmt: skip
        look = (self.all_lanes.address, aligned_rows(1, r.total)[0], at, quantities + groups)
        if not len(self.items):
            return look, None
        one = np.zeros(n + 1 + m + quantities)
        ends = np.zeros((5, quantities, _L))
        return look, (self.one_patient.address, one, self.items, ends, best, when, times, self.direct)


def watching(problem: Problem, log: np.ndarray) -> Watch | None:
    """Prepare peaks, events and extinction of a problem; None where it has none of them."""
    model, events = problem.model, problem.events
    if not problem.peaks and not events and problem.extinction is None:
        return None
    marks = tuple(bool(x) for x in log)
    of = [*problem.peaks, *(event.of for event in events)]
    names = tuple(dict.fromkeys(of))
    flat = len(problem.peaks)
    kinds = [PEAK] * flat + [_KINDS[event.direction] for event in events]
    levels = [0.0] * flat + [event.threshold for event in events]
    terminal = [False] * flat + [event.terminal for event in events]
    after = [-1.0] * flat + [event.after for event in events]
    order = {event.name: flat + i for i, event in enumerate(events)}
    extinct = None
    if problem.extinction is not None:
        extinct = groups([state.extinction for state in model.states], log, problem.extinction)
    dying = [] if extinct is None else [
        ([int(i) for i in np.flatnonzero(extinct[0] == g)], bool(extinct[1][g]), float(extinct[2][g]))
        for g in range(len(extinct[2]))
    ]  # fmt: skip
    items = [Item(names.index(name), kind, end) for name, kind, end in zip(of, kinds, terminal, strict=True)]
    function, rows = look_function(model, marks, names, items, dying)
    # one array for all that the loop needs to know of the items: taking arrays out of a tuple takes time
    arrays = np.array(
        [[item.quantity for item in items], kinds, terminal,
         [model.parameter_names.index(v) if isinstance(v, str) else -1 for v in levels],
         [np.nan if isinstance(v, str) else v for v in levels],
         [-1.0 if isinstance(v, str) else v for v in after],
         [order[v] if isinstance(v, str) else -1 for v in after]], dtype=np.float64,
    ).reshape(7, len(items)).T.copy()  # fmt: skip
    one = one_function(model, marks, names) if items else None
    sizes = (len(model.states), len(model.parameters), len(names), len(dying))
    plain = {name: j for j, name in enumerate(model.state_names) if not marks[j]}
    direct = np.array([plain.get(name, -1) for name in names], dtype=np.int64)
    return Watch(function, one, rows, arrays, direct, sizes, extinct)


@njit(**INNER)
def crosses(kind, before, after, level):
    """Whether an item's quantity crosses its threshold in the item's direction."""
    up = before <= level and after > level
    down = before >= level and after < level
    return (up and kind != DOWN) or (down and kind != UP)


@njit(**INNER)
def threshold(items, i, p, j):
    """The threshold of item ``i`` for patient ``j``: a number, or one of the parameters."""
    index = int(items[i, 3])
    return p[j, index] if index >= 0 else items[i, 4]


@njit(**INNER)
def keep(best, when, j, i, value, t):
    """Record a value that may be a peak."""
    if value > best[j, i] or (value == best[j, i] and t < when[j, i]):
        best[j, i] = value
        when[j, i] = t


@njit(**INNER)
def happened(items, when, times, j, i, t):
    """Record an event, unless it only counts later."""
    behind = int(items[i, 6])
    if t >= items[i, 5] and (behind < 0 or t > when[j, behind]):
        when[j, i] = min(when[j, i], t)
        times[j, i] += 1


@njit(**INNER)
def load_items(l, j, look, items, p):
    """Set the thresholds of the patient that comes into a lane."""
    V, at = look[1], look[2]
    for i in range(items.shape[0]):
        V[at[9] + i * _L + l] = threshold(items, i, p, j)
        V[at[10] + i * _L + l] = -np.inf
        V[at[11] + i * _L + l] = np.inf


@njit(**INNER)
def keep_in_lane(l, i, t, value, V, at):
    """Record the value at the end of a step, or at a start, that may be a peak."""
    if value > V[at[10] + i * _L + l]:
        V[at[10] + i * _L + l] = value
        V[at[11] + i * _L + l] = t


@njit(**INNER)
def begin_items(l, j, fresh, t, look, items, p, when, times):
    """Record what holds at the start of a patient (``fresh`` is 1), or behind a jump (2)."""
    V, at = look[1], look[2]
    for i in range(items.shape[0]):
        k = int(items[i, 0])
        value = V[at[6] + k * _L + l]
        if items[i, 1] == PEAK:
            keep_in_lane(l, i, t, value, V, at)
        elif fresh == 2 and crosses(items[i, 1], V[at[5] + k * _L + l], value, threshold(items, i, p, j)):
            happened(items, when, times, j, i, t)


@njit(**INNER)
def step_end(l, t, look, items):
    """Record the end of a step as a candidate for peaks."""
    V, at = look[1], look[2]
    for i in range(items.shape[0]):
        if items[i, 1] == PEAK:
            keep_in_lane(l, i, t, V[at[6] + int(items[i, 0]) * _L + l], V, at)


@njit(**INNER)
def enqueue_quantities(l, s, look, G):
    """Copy what is known of the quantities in a lane into slot ``s`` of the queue."""
    V, at = look[1], look[2]
    for k in range(G.shape[1]):
        for a in range(4):
            G[a, k, s] = V[at[5 + a] + k * _L + l]
        G[TURN, k, s] = _UNKNOWN


@njit(**INNER)
def finish_items(l, j, look, items, best, when):
    """Take over the peaks at the ends of steps when a patient is done."""
    V, at = look[1], look[2]
    for i in range(items.shape[0]):
        if items[i, 1] == PEAK:
            keep(best, when, j, i, V[at[10] + i * _L + l], V[at[11] + i * _L + l])


@njit(**INNER)
def inside(theta, k, s, t, h, address, one, direct, U_old, C, n, m, degree):
    """Quantity ``k`` at a place of the step of slot ``s``; ``one`` holds the patient's parameters."""
    i = direct[k]
    if i >= 0:
        return U_old[i * _L + s] + rise_of(C, i, degree, theta)
    for i in range(n):
        one[i] = U_old[i * _L + s] + rise_of(C, i, degree, theta)
    one[n] = t + theta * h
    evaluate(address, one)
    return one[n + 1 + m + k]


@njit(**INNER)
def seek(low, high, of_slope, level, k, s, t, h, address, one, direct, U_old, C, n, m, degree):
    """Place in [low, high] where the quantity crosses ``level``, or where its slope changes sign.

    Regula falsi with the Illinois rule. The ends must have opposite signs.
    """
    f_low = f_high = 0.0
    side = 0
    reach = _REACH if of_slope else 0.0
    for step in range(62):
        if step == 0:
            theta = low
        elif step == 1:
            theta = high
        else:
            theta = low - f_low * (high - low) / (f_high - f_low) if step % 8 != 7 else 0.5 * (low + high)
            if not low < theta < high:
                theta = 0.5 * (low + high)
        f = inside(theta + reach, k, s, t, h, address, one, direct, U_old, C, n, m, degree)
        f -= (
            inside(theta - reach, k, s, t, h, address, one, direct, U_old, C, n, m, degree)
            if of_slope
            else level
        )
        if step == 0:
            f_low = f
        elif step == 1:
            f_high = f
        elif f == 0.0:
            return theta
        else:
            if (f > 0.0) == (f_high > 0.0):
                moved = high - theta
                high, f_high = theta, f
                f_low *= 0.5 if side == 1 else 1.0
                side = 1
            else:
                moved = theta - low
                low, f_low = theta, f
                f_high *= 0.5 if side == -1 else 1.0
                side = -1
            if high - low < 1e-13 or (moved < 1e-13 and step > 3):
                return theta  # next to the end that moved; the other may still be far
    return high


@njit(**INNER)
def turn_of(k, s, t, h, G, address, one, direct, U_old, C, n, m, degree):
    """Place where the slope of quantity ``k`` changes sign; all items that are about it share it."""
    if G[TURN, k, s] == _UNKNOWN:
        G[TURN, k, s] = seek(0.0, 1.0, True, 0.0, k, s, t, h, address, one, direct, U_old, C, n, m, degree)
    return G[TURN, k, s]


@njit(**INNER)
def comes_back(k, s, h, level, G):
    """Whether a quantity that ends on the side of ``level`` where it began may have been on the other."""
    old, new, slope_old, slope_new = G[OLD, k, s], G[NEW, k, s], G[SLOPE_OLD, k, s], G[SLOPE_NEW, k, s]
    reach = h * (abs(slope_old) + abs(slope_new))
    top = slope_old > 0.0 and slope_new < 0.0 and old <= level and new <= level
    bottom = slope_old < 0.0 and slope_new > 0.0 and old >= level and new >= level
    return (top and max(old, new) + reach > level) or (bottom and min(old, new) - reach < level)


@njit(**INNER)
def may_cross(i, s, j, h, items, G, p):
    """Whether an event may happen inside the step, by what is known of its ends."""
    k, level = int(items[i, 0]), threshold(items, i, p, j)
    return crosses(items[i, 1], G[OLD, k, s], G[NEW, k, s], level) or comes_back(k, s, h, level, G)


@njit(**INNER)
def crossings(i, s, j, end, t, h, items, G, p, address, one, direct, U_old, C, n, m, degree):
    """Return the places of the crossings of an event up to ``theta = end``, at most two; 2.0 for none."""
    k, kind, level = int(items[i, 0]), items[i, 1], threshold(items, i, p, j)
    first = second = 2.0
    turn = 2.0
    if comes_back(k, s, h, level, G):
        turn = turn_of(k, s, t, h, G, address, one, direct, U_old, C, n, m, degree)
    low, before = 0.0, G[OLD, k, s]
    while low < end:
        high = turn if low < turn < end else end
        after = G[NEW, k, s]
        if high < 1.0:
            after = inside(high, k, s, t, h, address, one, direct, U_old, C, n, m, degree)
        if crosses(kind, before, after, level):
            place = low
            if before != level:
                place = seek(
                    low, high, False, level, k, s, t, h, address, one, direct, U_old, C, n, m, degree
                )
            if first > 1.0:
                first = place
            else:
                second = place
        low, before = high, after
    return first, second


@njit(**INNER)
def first_terminal(s, j, t, h, items, G, p, address, one, direct, U_old, C, n, m, degree):
    """Return the place of the first terminal event in the step, and its item; 2.0, -1 for none."""
    first, which = 2.0, -1
    for i in range(items.shape[0]):
        if items[i, 2] != 0.0 and may_cross(i, s, j, h, items, G, p):
            for place in crossings(
                i, s, j, 1.0, t, h, items, G, p, address, one, direct, U_old, C, n, m, degree
            ):
                if place < first and t + place * h >= items[i, 5]:
                    first, which = place, i
    return first, which


@njit(**INNER)
def look_inside(
    s, j, end, t, h, items, G, p, best, when, times, address, one, direct, U_old, C, n, m, degree
):
    """Record peaks and crossings of all items that do not end the integration, up to ``theta = end``."""
    for i in range(items.shape[0]):
        k = int(items[i, 0])
        if items[i, 1] == PEAK:
            turn = 2.0
            top = G[SLOPE_OLD, k, s] > 0.0 and G[SLOPE_NEW, k, s] < 0.0
            reach = h * (abs(G[SLOPE_OLD, k, s]) + abs(G[SLOPE_NEW, k, s]))
            if top and max(G[OLD, k, s], G[NEW, k, s]) + reach > best[j, i]:
                turn = turn_of(k, s, t, h, G, address, one, direct, U_old, C, n, m, degree)
            for place in (end, turn):
                if place < 1.0 and place <= end:
                    value = inside(place, k, s, t, h, address, one, direct, U_old, C, n, m, degree)
                    keep(best, when, j, i, value, t + place * h)
        elif items[i, 2] == 0.0 and may_cross(i, s, j, h, items, G, p):
            for place in crossings(
                i, s, j, end, t, h, items, G, p, address, one, direct, U_old, C, n, m, degree
            ):
                if place <= 1.0:
                    happened(items, when, times, j, i, t + place * h)


@njit(**INNER)
def cut_quantities(l, s, end, t, h, look, quantities, address, one, direct, U_old, C, n, m, degree):
    """Make the quantities at the place where the step was cut the start of what follows in the lane."""
    for k in range(quantities):
        look[1][look[2][5] + k * _L + l] = inside(
            end, k, s, t, h, address, one, direct, U_old, C, n, m, degree
        )
