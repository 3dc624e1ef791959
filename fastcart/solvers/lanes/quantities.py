"""Peaks, events and dying out: states and observables inside a step, located on the interpolant.

`fastcart.solvers.lanes.look` says which steps are worth it. Between two turning points a quantity goes one
way, so that each piece holds at most one crossing. A state turns where the polynomial of its slope changes
sign; what is computed from the states is sampled, in parts that are halved until a polynomial follows it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from fastcart.solvers.compile import INNER
from fastcart.solvers.lanes.bernstein import roots, slope
from fastcart.solvers.lanes.extinction import groups_of
from fastcart.solvers.lanes.interpolate import rise_of
from fastcart.solvers.lanes.layout import LANES, aligned_rows
from fastcart.solvers.lanes.look import (
    AFTER_ITEM,
    AFTER_TIME,
    BEST,
    BOTH,
    BY_PARAMETER,
    DIES,
    DIRECT,
    DOWN,
    IN_LOG,
    KIND,
    LEVEL,
    OUTLINED,
    PEAK,
    QUANTITY,
    SIDE,
    TERMINAL,
    THRESHOLD,
    UP,
    WHEN,
    keep_in_lane,
    need_at,
    of_item,
    one_function,
    set_side,
)
from fastcart.solvers.lanes.outline import TURNS
from fastcart.solvers.lanes.pointer import evaluate
from fastcart.solvers.problem import Problem
from fastcart.solvers.transform import LOG_ZERO

_L = LANES

_KINDS = {"up": UP, "down": DOWN, "both": BOTH}
# what is known in a slot: of a quantity the values at the ends of the step and whether it turns; of an item
# on which side of its threshold the step began
OLD, NEW, TURNING, BEGAN = range(4)
_MANY = 250  # turning points of a quantity in one step
_UNKNOWN = -1
JUST_BEGUN = 2.0  # instead of a side: no step yet since the start or a jump

_DEGREE = 6  # of the polynomials that follow a quantity
_NODES = 0.5 - 0.5 * np.cos(np.pi * np.arange(_DEGREE + 1) / _DEGREE)
_TESTS = np.array([0.19, 0.43, 0.81])  # where they must agree with it
_HALVINGS = 10
_POWERS = np.linalg.inv(np.vander(_NODES, increasing=True))  # coefficients of the polynomial through values
_TO_SLOPE = np.arange(1, _DEGREE + 1)[:, None] * _POWERS[1:]
_TO_TESTS = np.vander(_TESTS, _DEGREE + 1, increasing=True) @ _POWERS


@dataclass(frozen=True)
class Watch:
    """What the loop needs to know of peaks, events and states that may die out; see `watching`."""

    one_patient: int  # address of the function of the quantities
    items: np.ndarray
    which: np.ndarray
    groups: np.ndarray  # the group of each state that may die out, -1 for none
    outlined: tuple[int, ...]
    in_log: np.ndarray  # items whose values are logarithms
    sizes: tuple[int, int]  # states, parameters
    follows: float  # how near a polynomial must come to what it stands for, relative to its range

    def arrays(
        self, best: np.ndarray, when: np.ndarray, times: np.ndarray, slots: np.ndarray
    ) -> tuple[Any, ...]:
        """Return the tuple ``watch`` of the loop, with buffers of its own.

        ``slots`` says of each state the how manieth outline is its.
        """
        n, m = self.sizes
        quantities, items = len(self.which), len(self.items)
        one = np.zeros(n + 1 + m + quantities)
        V = aligned_rows(1, (2 * quantities + 4 * items + 3) * _L)[0]
        G = np.zeros((4, max(quantities, items), _L))
        found = np.zeros((quantities, _MANY + 1))
        wait = np.zeros((_HALVINGS + 2, 2))
        return (
            V, self.which, self.items, self.groups, self.one_patient, one, G, best, when, times, found,
            np.zeros(quantities, np.int64), wait, slots, self.follows,
        )  # fmt: skip


def watching(problem: Problem, log: np.ndarray) -> Watch | None:
    """Prepare peaks, events and extinction of a problem; None where it has none of them."""
    model, events = problem.model, problem.events
    if not problem.peaks and not events and problem.extinction is None:
        return None
    states = model.state_names
    marks = tuple(bool(x) for x in log)
    of = [*problem.peaks, *(event.of for event in events)]
    names = list(dict.fromkeys(of))
    quantities: list[str | tuple[int, ...]] = [*names]
    which = []
    for name in names:
        if name in states:
            j = states.index(name)
            which.append((j, j, -1))
        else:
            which.append((states.index(problem.integral_of(name)), -1, -1))
    rows: list[tuple[float, ...]] = [(names.index(x), PEAK, 0, -1, 0.0, -1.0, -1) for x in problem.peaks]
    flat = len(rows)
    order = {event.name: flat + i for i, event in enumerate(events)}
    for event in events:
        level, after = event.threshold, event.after
        rows.append(
            (names.index(event.of), _KINDS[event.direction], event.terminal,
             model.parameter_names.index(level) if isinstance(level, str) else -1,
             math.nan if isinstance(level, str) else level,
             -1.0 if isinstance(after, str) else after, order[after] if isinstance(after, str) else -1)
        )  # fmt: skip
    groups, members = groups_of([state.extinction for state in model.states])
    if problem.extinction is None:
        groups[:], members = -1, []
    for g, of_group in enumerate(members):
        state = of_group[0] if len(of_group) == 1 else -1
        rows.append((len(which), DIES, 1, -1, problem.extinction or 0.0, -1.0, -1))
        which.append((state, state, g))
        quantities.append(tuple(of_group))
    direct = [which[int(row[QUANTITY])][DIRECT] for row in rows]
    in_log = [state >= 0 and marks[state] for state in direct]
    items = np.array([(*row, flag) for row, flag in zip(rows, in_log, strict=True)], dtype=np.float64)
    one = one_function(model, marks, tuple(quantities))
    outlined = {row[OUTLINED] for row in which if row[OUTLINED] >= 0} | {i for m in members for i in m}
    return Watch(
        one.address, items, np.array(which, dtype=np.int64), groups, tuple(sorted(outlined)),
        np.array(in_log[: flat + len(events)], dtype=bool), (len(states), len(model.parameters)),
        min(max(problem.rtol, 1e-9), 1e-5),
    )  # fmt: skip


@njit(**INNER)
def threshold(items, i, p, j):
    """The threshold of item ``i`` for patient ``j``, in logarithm where its quantity is."""
    index = int(items[i, BY_PARAMETER])
    value = p[j, index] if index >= 0 else items[i, THRESHOLD]
    if items[i, IN_LOG] != 0.0:
        if value > 0.0:
            return np.log(value)
        return LOG_ZERO if value == 0.0 else -np.inf
    return value


@njit(**INNER)
def keep(best, when, j, i, value, t):
    """Record a value that may be a peak."""
    if value > best[j, i] or (value == best[j, i] and t < when[j, i]):
        best[j, i] = value
        when[j, i] = t


@njit(**INNER)
def happened(items, when, times, j, i, t):
    """Record an event, unless it only counts later."""
    behind = int(items[i, AFTER_ITEM])
    if t >= items[i, AFTER_TIME] and (behind < 0 or t > when[j, behind]):
        when[j, i] = min(when[j, i], t)
        times[j, i] += 1


@njit(**INNER)
def counts(kind, side):
    """Whether a crossing to that side is one that an event is about."""
    return kind != DOWN if side > 0.0 else kind != UP


@njit(**INNER)
def side_of(value, level, before):
    """The side of a threshold on which a value is; on the threshold itself, where it was before."""
    if value > level:
        return 1.0
    return -1.0 if value < level else before


@njit(**INNER)
def load_items(l, j, watch, p):
    """Set the thresholds of the patient that comes into a lane."""
    V, which, items = watch[0], watch[1], watch[2]
    for i in range(items.shape[0]):
        V[of_item(which, i, LEVEL) + l] = threshold(items, i, p, j)
        V[of_item(which, i, BEST) + l] = -np.inf
        V[of_item(which, i, WHEN) + l] = np.inf
        V[of_item(which, i, SIDE) + l] = 0.0


@njit(**INNER)
def begin_items(l, j, fresh, t, watch, B, places, own):
    """Record what holds at the start of a patient (``fresh`` is 1), or behind a jump (2).

    Returns whether the jump is an event that ends the course.
    """
    ends = False
    V, which, items = watch[0], watch[1], watch[2]
    when, times = watch[8], watch[9]
    count = which.shape[0]
    for k in range(count):
        r = which[k, OUTLINED]
        if r >= 0:  # the first stage is the integrand of an integral
            V[(count + k) * _L + l] = B[(places[2] if r < own else places[4]) + r * _L + l]
    for i in range(items.shape[0]):
        value = V[(count + int(items[i, QUANTITY])) * _L + l]
        if items[i, KIND] == PEAK:
            keep_in_lane(l, i, t, value, V, which)
        elif items[i, KIND] != DIES:
            before = V[of_item(which, i, SIDE) + l]
            set_side(l, i, value, V, which)
            now = V[of_item(which, i, SIDE) + l]
            if fresh == 2 and now != before and counts(items[i, KIND], now):
                before = times[j, i]
                happened(items, when, times, j, i, t)
                ends = ends or (items[i, TERMINAL] != 0.0 and times[j, i] > before)
        else:
            V[of_item(which, i, SIDE) + l] = JUST_BEGUN
    for k in range(count):
        V[k * _L + l] = V[(count + k) * _L + l]
    return ends


@njit(**INNER)
def enqueue_quantities(l, s, watch, B, places):
    """Copy what is known of the quantities in a lane into slot ``s`` of the queue."""
    V, which, items, G = watch[0], watch[1], watch[2], watch[6]
    count = which.shape[0]
    for k in range(count):
        G[OLD, k, s] = V[k * _L + l]
        G[NEW, k, s] = V[(count + k) * _L + l]
        r = which[k, OUTLINED]
        G[TURNING, k, s] = B[places[6] + (3 * watch[13][r] + TURNS) * _L + l] if r >= 0 else 1.0
    for i in range(items.shape[0]):
        G[BEGAN, i, s] = V[of_item(which, i, SIDE) + l]


@njit(**INNER)
def finish_items(l, j, watch):
    """Take over the peaks at the ends of steps when a patient is done."""
    V, which, items, best, when = watch[0], watch[1], watch[2], watch[7], watch[8]
    for i in range(items.shape[0]):
        if items[i, KIND] == PEAK:
            keep(best, when, j, i, V[of_item(which, i, BEST) + l], V[of_item(which, i, WHEN) + l])


@njit(**INNER)
def inside(theta, k, here, watch, step):
    """Quantity ``k`` at a place of the step of a slot; ``watch`` holds the patient's parameters.

    ``here`` is the slot, time and length of the step; ``step`` the states at its start, the polynomials of
    all states, how many states and parameters, and the degree.
    """
    s, t, h = here
    U_old, C, n, m, degree = step
    i = watch[1][k, DIRECT]
    if i >= 0:
        return U_old[i * _L + s] + rise_of(C, i, degree, theta)
    one = watch[5]
    for i in range(n):
        one[i] = U_old[i * _L + s] + rise_of(C, i, degree, theta)
    one[n] = t + theta * h
    evaluate(watch[4], one)
    return one[n + 1 + m + k]


@njit(**INNER)
def seek(low, high, level, k, here, watch, step):
    """Place in [low, high] where the quantity crosses ``level``: regula falsi, Illinois rule."""
    f_low = inside(low, k, here, watch, step) - level
    f_high = inside(high, k, here, watch, step) - level
    if (f_low > 0.0) == (f_high > 0.0):  # rounding at an end that is the crossing
        return low if abs(f_low) < abs(f_high) else high
    side = 0
    for count in range(100):
        theta = low - f_low * (high - low) / (f_high - f_low) if count % 8 != 7 else 0.5 * (low + high)
        if not low < theta < high:
            theta = 0.5 * (low + high)
        f = inside(theta, k, here, watch, step) - level
        if f == 0.0:
            return theta
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
        if high - low < 1e-13 or (moved < 1e-13 and count > 1):
            return theta  # next to the end that moved; the other may still be far
    return high


@njit(**INNER)
def turning_places(k, here, watch, step, room):
    """Fill in where quantity ``k`` turns within the step, once for all items that are about it."""
    found, known, G = watch[10], watch[11], watch[6]
    if known[k] != _UNKNOWN:
        return known[k]
    count = 0
    i = watch[1][k, DIRECT]
    if G[TURNING, k, here[0]] > 0.5:
        if i >= 0:
            top = slope(step[1], i, step[4], room[0])
            count = roots(room[0], top, 0.0, 1.0, room[1], found[k, :_MANY], 0)
        else:
            count = sampled_turns(k, here, watch, step, room)
    known[k] = count
    return count


@njit(**INNER)
def sampled_turns(k, here, watch, step, room):
    """Where a quantity that is computed from the states turns, by polynomials that follow it."""
    b, values = room[0], room[2]
    out, wait = watch[10][k, :_MANY], watch[12]
    wait[0, 0], wait[0, 1] = 0.0, 1.0
    waiting, count = 1, 0
    going = 0.0  # up or down, at the end of the part before
    while waiting > 0:
        waiting -= 1
        low, high = wait[waiting, 0], wait[waiting, 1]
        width = high - low
        least, most = np.inf, -np.inf
        for x in range(_DEGREE + 1):
            values[x] = inside(low + _NODES[x] * width, k, here, watch, step)
            least, most = min(least, values[x]), max(most, values[x])
        allowed = watch[14] * (most - least) + 1e-14 * max(abs(most), abs(least))
        follows = True
        for x in range(_TESTS.size):
            if follows:
                value = 0.0
                for j in range(_DEGREE + 1):
                    value += _TO_TESTS[x, j] * values[j]
                true = inside(low + _TESTS[x] * width, k, here, watch, step)
                follows = not abs(value - true) > allowed
        if not follows and waiting + 2 <= wait.shape[0] and width > 1.5 / 2**_HALVINGS:
            middle = 0.5 * (low + high)
            wait[waiting, 0], wait[waiting, 1] = middle, high
            wait[waiting + 1, 0], wait[waiting + 1, 1] = low, middle
            waiting += 2
            continue
        if not most - least > 1e-13 * max(abs(most), abs(least)):
            continue  # level, but for rounding
        for i in range(_DEGREE):
            b[i] = 0.0
            for j in range(_DEGREE + 1):
                b[i] += _TO_SLOPE[i, j] * values[j]
        first, last = values[1] - values[0], values[_DEGREE] - values[_DEGREE - 1]
        if going * first < 0.0 and count < out.size:  # a corner where two parts meet
            out[count] = low
            count += 1
        count = roots(b, _DEGREE - 1, low, high, room[1], out, count)
        going = 1.0 if last > 0.0 else (-1.0 if last < 0.0 else going)
    return count


@njit(**INNER)
def value_at(place, k, here, watch, step):
    """Quantity ``k`` at a place of the step; at its end as the solver has it."""
    if place >= 1.0 and watch[1][k, OUTLINED] >= 0:
        return watch[6][NEW, k, here[0]]
    return inside(min(place, 1.0), k, here, watch, step)


@njit(**INNER)
def first_end(j, here, watch, step, p, room):
    """Return the place of the first terminal event, or death of a group, and its item; 2.0, -1 for none."""
    items, G = watch[2], watch[6]
    s, t, h = here
    first, item = 2.0, -1
    for i in range(items.shape[0]):
        if items[i, TERMINAL] == 0.0:
            continue
        k, kind, level = int(items[i, QUANTITY]), items[i, KIND], threshold(items, i, p, j)
        side = G[BEGAN, i, s]
        before = G[OLD, k, s]
        if kind == DIES:
            before = inside(0.0, k, here, watch, step)
            if before == (LOG_ZERO if items[i, IN_LOG] != 0.0 else 0.0):
                continue  # gone already
        turns = turning_places(k, here, watch, step, room)
        low = 0.0
        for x in range(turns + 1):
            high = watch[10][k, x] if x < turns else 1.0
            after = value_at(high, k, here, watch, step)
            if kind == DIES:  # who is below and rises, by an inflow, is not dying
                crossed = after <= level and (before > level or after < before or side == JUST_BEGUN)
                now = 0.0
            else:
                now = side_of(after, level, side)
                crossed = now != side and counts(kind, now)
            side = now
            if crossed:
                below = before == level or (kind == DIES and before < level)
                place = low if below else seek(low, high, level, k, here, watch, step)
                if place < first and (kind == DIES or t + place * h >= items[i, AFTER_TIME]):
                    first, item = place, i
                    break
            low, before = high, after
    return first, item


@njit(**INNER)
def look_inside(j, end, here, watch, step, p, room):
    """Record peaks and crossings of all items that do not end the integration, up to ``theta = end``.

    ``end`` is 2 where the step does not end early; then the loop itself records what holds at its end.
    """
    last = min(end, 1.0)
    items, G, best, when, times = watch[2], watch[6], watch[7], watch[8], watch[9]
    s, t, h = here
    for i in range(items.shape[0]):
        k, kind = int(items[i, QUANTITY]), items[i, KIND]
        if items[i, TERMINAL] != 0.0:
            continue
        turns = turning_places(k, here, watch, step, room)
        level = 0.0 if kind == PEAK else threshold(items, i, p, j)
        low, before, side = 0.0, G[OLD, k, s], G[BEGAN, i, s]
        for x in range(turns + 1):
            high = min(watch[10][k, x], last) if x < turns else last
            if high <= low and x > 0:
                break
            after = value_at(high, k, here, watch, step)
            if kind == PEAK:
                if high < 1.0 or end <= 1.0:
                    keep(best, when, j, i, after, t + high * h)
            else:
                now = side_of(after, level, side)
                if now != side and counts(kind, now):
                    place = low if before == level else seek(low, high, level, k, here, watch, step)
                    happened(items, when, times, j, i, t + place * h)
                side = now
            low, before = high, after


@njit(**INNER)
def cut_quantities(l, end, here, watch, step):
    """Make the quantities at the place where the step was cut the start of what follows in the lane."""
    V, which, items = watch[0], watch[1], watch[2]
    for k in range(which.shape[0]):
        V[k * _L + l] = inside(end, k, here, watch, step)
    for i in range(items.shape[0]):
        if items[i, KIND] != PEAK and items[i, KIND] != DIES:
            set_side(l, i, V[int(items[i, QUANTITY]) * _L + l], V, which)


@njit(**INNER)
def forget_turns(watch):
    """Begin with another step: nobody knows yet where its quantities turn."""
    for k in range(watch[11].size):
        watch[11][k] = _UNKNOWN


@njit(**INNER)
def need_of(watch, l):
    """What the step of a lane needs."""
    return watch[0][need_at(watch[1], watch[2]) + l]
