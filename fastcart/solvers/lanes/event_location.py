"""Event location: what is watched, inside a step, on the dense output.

`fastcart.solvers.lanes.event_detection` says which steps are worth it. Between two turning points a quantity
goes one way, so that each piece holds at most one crossing. A state turns where the polynomial of its slope
changes sign; what is computed from the states is sampled, in parts that are halved until a polynomial follows
it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fastcart.solvers.actions import comes_first
from fastcart.solvers.compile import INLINED, INNER
from fastcart.solvers.lanes.bernstein import roots, slope
from fastcart.solvers.lanes.dense_output import rise_of
from fastcart.solvers.lanes.event_detection import settle_side, take_over_lane
from fastcart.solvers.lanes.event_recording import (
    BELOW,
    EXTINCTION,
    JUST_BEGUN,
    MAXIMUM,
    MINIMUM,
    PROGRESSION,
    UNDECIDED,
    counts,
    leaves_to_act,
    record_crossing,
    record_extremum,
    side_of,
    threshold_of,
)
from fastcart.solvers.lanes.intrinsics import evaluate
from fastcart.solvers.lanes.root_finding import find_root
from fastcart.solvers.transform import LOG_ZERO

MANY = 250  # turning points of a quantity in one step
HALVINGS = 10
NOWHERE = 2.0  # instead of a place in the step
_UNKNOWN = -1

_DEGREE = 7  # of the polynomials that follow a quantity: that of the interpolants, which sums of states have
_NOISE = 1e-13  # of a value: what rounding leaves of exponentials of logarithms, and of what comes of them
_NODES = 0.5 - 0.5 * np.cos(np.pi * np.arange(_DEGREE + 1) / _DEGREE)
_TESTS = np.array([0.19, 0.43, 0.81])  # where they must agree with it
_POWERS = np.linalg.inv(np.vander(_NODES, increasing=True))  # coefficients of the polynomial through values
_TO_SLOPE = np.arange(1, _DEGREE + 1)[:, None] * _POWERS[1:]
_TO_TESTS = np.vander(_TESTS, _DEGREE + 1, increasing=True) @ _POWERS


class Course(NamedTuple):
    """A quantity within one step."""

    state: int  # the state that it is, or -1
    output: int  # its place in the buffer ``one``
    place: int
    t: float
    h: float
    u_old: np.ndarray
    polynomials: np.ndarray
    degree: int
    function: int
    read: np.ndarray  # the states that it is computed from, then -1
    one: np.ndarray  # with the patient's parameters


@njit(**INLINED)
def course_of(k, look, u_old, polynomials, degree, watch):
    """Quantity ``k`` within a step."""
    quantities = watch.quantities
    return Course(
        quantities[k].state, watch.one.size - quantities.size + k, look.place, look.t, look.h, u_old,
        polynomials, degree, watch.function, watch.read[k], watch.one,
    )  # fmt: skip


@njit(**INNER)
def value_of(theta, course):
    """Value at a place of the step."""
    u_old, C, s, i = course.u_old, course.polynomials, course.place, course.state
    if i >= 0:
        return u_old[i, s] + rise_of(C, i, course.degree, theta)
    n, one, read = u_old.shape[0], course.one, course.read
    for j in range(n):
        x = read[j]
        if x < 0:
            break
        one[x] = u_old[x, s] + rise_of(C, x, course.degree, theta)
    one[n] = course.t + theta * course.h
    evaluate(course.function, one)
    return one[course.output]


@njit(**INNER)
def height_of(theta, data):
    """Value above a level."""
    course, level = data
    return value_of(theta, course) - level


@njit(**INLINED)
def begin_look(place, watch, steps, parameters):
    """Begin with another step: its parameters hold, and nobody knows yet where quantities turn.

    States that nothing is computed from are as at its start.
    """
    known, one = watch.turns.known, watch.one
    for k in range(known.size):
        known[k] = _UNKNOWN
    if watch.function != 0:
        first = one.size - known.size - parameters.shape[0]
        for x in range(steps.u_old.shape[0]):
            one[x] = steps.u_old[x, place]
        for k in range(parameters.shape[0]):
            one[first + k] = parameters[k, place]


@njit(**INNER)
def turning_places(k, course, turning, turns, work, detection):
    """Fill in where quantity ``k`` turns within the step, once for all items that are about it."""
    if turns.known[k] != _UNKNOWN:
        return turns.known[k]
    count = 0
    if turning > 0.5:
        if course.state >= 0:
            top = slope(course.polynomials, course.state, course.degree, work.coefficients)
            places = turns.places[k, :MANY]
            count = roots(work.coefficients, top, 0.0, 1.0, work.intervals, places, 0)
        elif detection is not None:  # the burden is a state
            count = _sampled_turns(course, turns.places[k, :MANY], turns, work)
    turns.known[k] = count
    return count


@njit(**INNER)
def _sampled_turns(course, out, turns, work):
    """Where a quantity that is computed from the states turns, by polynomials that follow it."""
    b, values, parts = work.coefficients, turns.samples, turns.parts
    parts[0, 0], parts[0, 1] = 0.0, 1.0
    waiting, count = 1, 0
    going = 0.0  # up or down, at the end of the part before
    while waiting > 0:
        waiting -= 1
        low, high = parts[waiting, 0], parts[waiting, 1]
        width = high - low
        least, most = np.inf, -np.inf
        for x in range(_DEGREE + 1):
            values[x] = value_of(low + _NODES[x] * width, course)
            least, most = min(least, values[x]), max(most, values[x])
        base = values[0]
        for x in range(_DEGREE + 1):
            values[x] -= base  # of what hardly changes, the weights' rounding would be larger than the change
        largest = max(abs(most), abs(least))
        follows = _follows(
            low, width, course, base, values, turns.follows * (most - least) + _NOISE * largest
        )
        if not follows and waiting + 2 <= parts.shape[0] and width > 1.5 / 2**HALVINGS:
            middle = 0.5 * (low + high)
            parts[waiting, 0], parts[waiting, 1] = middle, high
            parts[waiting + 1, 0], parts[waiting + 1, 1] = low, middle
            waiting += 2
            continue
        if not most - least > 10 * _NOISE * largest:
            continue  # level, but for rounding
        for i in range(_DEGREE):
            b[i] = 0.0
            for j in range(_DEGREE + 1):
                b[i] += _TO_SLOPE[i, j] * values[j]
        first, last = values[1] - values[0], values[_DEGREE] - values[_DEGREE - 1]
        if going * first < 0.0 and count < out.size:  # a corner where two parts meet
            out[count] = low
            count += 1
        count = roots(b, _DEGREE - 1, low, high, work.intervals, out, count)
        going = 1.0 if last > 0.0 else (-1.0 if last < 0.0 else going)
    return count


@njit(**INNER)
def _follows(low, width, course, base, values, allowed):
    """Whether the polynomial through the values at the nodes is near enough to the quantity elsewhere."""
    for x in range(_TESTS.size):
        value = 0.0
        for j in range(_DEGREE + 1):
            value += _TO_TESTS[x, j] * values[j]
        if abs(base + value - value_of(low + _TESTS[x] * width, course)) > allowed:
            return False
    return True


@njit(**INLINED)
def _at_start(k, course, queue, watch, own):
    """Quantity ``k`` at the start of the step, as the solver has it where it does."""
    i = watch.quantities[k].bounded
    if i < 0:
        return value_of(0.0, course)
    steps = queue.steps
    return steps.u_old[i, course.place] if i < own else steps.stages[0, i, course.place]


@njit(**INLINED)
def _at(place, k, course, queue, watch, last):
    """Quantity ``k`` at a place of the step; at its end as the solver has it."""
    i = watch.quantities[k].bounded
    if place < 1.0 or i < 0:
        return value_of(min(place, 1.0), course)
    steps, s = queue.steps, course.place
    return steps.u[i, s] if watch.quantities[k].state >= 0 else steps.stages[last, i, s]


@njit(**INLINED)
def _first_crossing(i, look, queue, C, watch, detection, patients, scheme):
    """Place in the step where item ``i`` first crosses its threshold so that it ends the course."""
    items, s, own = watch.items, look.slot, patients.own
    k, kind = items[i].quantity, items[i].kind
    course = course_of(k, look, queue.steps.u_old, C, scheme.degree, watch)
    level = threshold_of(items, i, patients, look.patient, course.state)
    side, before = queue.side[i, s], _at_start(k, course, queue, watch, own)
    dies = kind == EXTINCTION
    if dies and before == (LOG_ZERO if items[i].in_log else 0.0):
        return NOWHERE  # gone already
    if dies and side == JUST_BEGUN and before < level:
        return 0.0  # what is seeded anew must be more
    turns = turning_places(k, course, queue.turning[k, s], watch.turns, watch.roots, detection)
    low = 0.0
    for x in range(turns + 1):
        high = watch.turns.places[k, x] if x < turns else 1.0
        after = _at(high, k, course, queue, watch, scheme.stages - 1)
        if dies:  # who is below and rises, by an inflow, is not dying
            crossed = after <= level and (before > level or after < before)
            now = BELOW if crossed else UNDECIDED
        else:
            now = side_of(kind, after, level, side)
            crossed = now != side and counts(kind, now)
        side = now
        if crossed:
            below = before == level or (dies and before < level)
            place = low if below else find_root(height_of, low, high, now > 0.0, (course, level))
            if dies or look.t + place * look.h >= items[i].after:
                return place
        low, before = high, after
    return NOWHERE


@njit(**INLINED)
def record_inside(i, look, queue, C, watch, detection, patients, scheme):
    """Record extrema or crossings of item ``i``, which does not end the course, up to where the step is cut.

    Where it is not, the loop itself records what is largest at its end.
    """
    items, j, s = watch.items, look.patient, look.slot
    k, kind = items[i].quantity, items[i].kind
    course = course_of(k, look, queue.steps.u_old, C, scheme.degree, watch)
    turns = turning_places(k, course, queue.turning[k, s], watch.turns, watch.roots, detection)
    extremum = kind in (MAXIMUM, MINIMUM)
    level = 0.0 if extremum else threshold_of(items, i, patients, j, course.state)
    low, before = 0.0, _at_start(k, course, queue, watch, patients.own)
    side = side_of(kind, before, level, BELOW) if kind == PROGRESSION else queue.side[i, s]
    last = min(look.end, 1.0)
    for x in range(turns + 1):
        high = min(watch.turns.places[k, x], last) if x < turns else last
        if high <= low and x > 0:
            break
        after = _at(high, k, course, queue, watch, scheme.stages - 1)
        if not extremum:
            now = side_of(kind, after, level, side)
            if now != side and counts(kind, now):
                place = low
                if before != level:
                    place = find_root(height_of, low, high, now > 0.0, (course, level))
                record_crossing(watch, j, i, look.t + place * look.h)
            side = now
        elif high < 1.0 or look.end <= 1.0:
            record_extremum(watch, j, i, look.t + high * look.h, after)
        low, before = high, after


@njit(**INLINED)
def first_end(look, held, queue, C, watch, detection, patients, scheme):
    """Return the place of the first crossing that ends the course, and its item; `NOWHERE`, -1 for none.

    Crossings from the time ``held`` on are left to the look behind the stop at the end of the step; the third
    number says whether there are any.
    """
    items = watch.items
    first, item, later = NOWHERE, -1, False
    for i in range(watch.of_burden, items.size):
        if items[i].ends:
            place = _first_crossing(i, look, queue, C, watch, detection, patients, scheme)
            if place == NOWHERE:
                continue
            t, when = look.t + place * look.h, look.t + first * look.h
            if t >= held and items[i].kind != EXTINCTION:
                later = True
            elif comes_first(watch.actions, t, i, when, item):
                first, item = place, i
    return first, item, later


@njit(**INLINED)
def hold_items(l, look, queue, C, watch, detection, patients, scheme):
    """Make the end of a step the start of the next, but for what crosses at the moment of the stop there."""
    items = watch.items
    take_over_lane(l, look.t + look.h, watch, detection)
    for i in range(watch.of_burden, items.size):
        if not items[i].ends or items[i].kind == EXTINCTION:
            continue
        if _first_crossing(i, look, queue, C, watch, detection, patients, scheme) <= 1.0:
            detection.side[i, l] = queue.side[i, look.slot]


@njit(**INLINED)
def cut_items(l, look, queue, C, watch, detection, scheme):
    """Note the sides of thresholds where the step of a lane was cut."""
    items = watch.items
    for i in range(watch.of_burden, items.size):
        if items[i].kind != MAXIMUM and items[i].kind != EXTINCTION:
            course = course_of(items[i].quantity, look, queue.steps.u_old, C, scheme.degree, watch)
            value, t = value_of(look.end, course), look.t + look.end * look.h
            if not leaves_to_act(watch, i, value, detection.level[i, l], detection.side[i, l], t):
                settle_side(l, i, value, True, watch, detection)
