"""Which intervals between LSODA's outputs may hold what is looked for, by the notes of its steps.

The slope of LSODA's polynomial on a step follows the slopes at the steps around it; where these, with a wide
margin, leave no room for a change of sign, a state only rises or only falls, and its ends tell all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fastcart.solvers.hermite import hermite, turning_points
from fastcart.solvers.items import DIES, HIGHEST, counts, dies, is_extremum, measure, side_of
from fastcart.solvers.lsoda_callback import NOTES
from fastcart.solvers.lsoda_system import BARE, INSIDE, derivatives

_DEEPER = 0.1  # tolerances by which an extremum is looked for beyond the best value that is known
_MARGIN = 2.0  # spreads of the slopes at the steps around that the slope inside a step may leave them by


@njit(**BARE)
def size_of(system, k, value):
    """What a tolerance of a quantity is relative to; integrated variables are about one or larger."""
    return 1.0 + abs(value) if system.watched.quantities[k].state >= 0 else abs(value)


@njit(**BARE)
def later(times, t):
    """Return the number of the first time that is later than ``t``."""
    low, high = 0, times.size
    while low < high:
        middle = (low + high) // 2
        if times[middle] > t:
            high = middle
        else:
            low = middle + 1
    return low


@njit(**BARE)
def mark(times, t0, t1, hidden):
    """Mark the intervals between outputs that overlap with ``t0`` to ``t1``."""
    k = max(later(times, t0) - 1, 0)
    while k < hidden.size and times[k] < t1:
        hidden[k] = True
        k += 1


class Step(NamedTuple):
    """What the notes say of a quantity on one step."""

    before: float
    after: float
    half: float  # of its length
    low: float  # the least slope that is possible,
    high: float  # and the greatest
    first: bool  # whether a segment begins here: growth from the level itself needs no search


@njit(**BARE)
def may_hold(kind, level, bound, step):
    """Whether a step may hold what an item is about; ``bound`` is what an extremum must reach."""
    g0, g1 = step.before, step.after
    monotone = step.low >= 0.0 or step.high <= 0.0
    middle, reach = 0.5 * (g0 + g1), step.half * max(-step.low, step.high)
    if is_extremum(kind):
        return not monotone and (-middle if kind == HIGHEST else middle) - reach < bound
    if not monotone:
        return middle - reach <= level < middle + reach
    if step.first and g0 == level:
        return False
    return (counts(kind, 1.0) and g0 <= level < g1) or (counts(kind, -1.0) and g0 >= level > g1)


@njit(**BARE)
def may_die(level, zero, step):
    """Whether a group that is ``zero`` where nothing is left of it may die out within a step."""
    g0, g1 = step.before, step.after
    return step.low < 0.0 and min(g0, g1) <= level and (g0 != zero or g1 != zero)


class Scratch(NamedTuple):
    """What is found of one quantity, and of one item."""

    low: np.ndarray  # the least slope that is possible on each step,
    high: np.ndarray  # and the greatest
    marked: np.ndarray  # intervals in which a step may hold what the item is about
    du: np.ndarray


@njit(**BARE)
def steps_of(notes, v, scratch):
    """Fill in the slopes that are possible on each step, of what is in column ``v``."""
    count = notes.shape[0]
    for s in range(count - 1):
        least = most = notes[s, v + 1]
        for j in range(max(s - 1, 0), min(s + 3, count)):
            least = min(least, notes[j, v + 1])
            most = max(most, notes[j, v + 1])
        spread = _MARGIN * (most - least)
        scratch.low[s], scratch.high[s] = least - spread, most + spread


@njit(**BARE)
def mark_steps(notes, v, item, level, bound, zero, times, scratch):
    """Mark the intervals in which a step may hold what an item is about.

    ``notes`` are the steps of a segment, from column ``v`` on the values and slopes of the quantity, which is
    ``zero`` where nothing is left of it; its slopes are from `steps_of`.
    """
    count, kind = notes.shape[0], item.kind
    low, high, marked = scratch.low, scratch.high, scratch.marked
    for s in range(count):
        t0 = notes[s, 0]
        if t0 >= times[-1]:
            break
        if s + 1 == count:  # the notes were full
            if count == NOTES:
                mark(times, t0, times[-1], marked)
            break
        half = 0.5 * (notes[s + 1, 0] - t0)
        step = Step(notes[s, v], notes[s + 1, v], half, low[s], high[s], s == 0)
        if (kind == DIES and may_die(level, zero, step)) or may_hold(kind, level, bound, step):
            mark(times, t0, notes[s + 1, 0], marked)


@njit(**BARE)
def shows(system, record, i, best, cubic):
    """Whether the cubic of an interval shows what item ``i`` is about; ``best`` is that of all outputs."""
    g0, d0, g1, d1 = cubic
    kind, level = system.watched.items[i].kind, record[i].level
    m0, m1 = turning_points(g0, d0, g1, d1)
    before = g0
    for place in (m0, m1, 1.0):
        if place > 1.0:
            continue
        after = hermite(place, g0, d0, g1, d1) if place < 1.0 else g1
        if is_extremum(kind):
            if place < 1.0 and (after >= best if kind == HIGHEST else after <= best):
                return True
        elif kind == DIES:
            if dies(before, after, level):
                return True
        else:
            side = side_of(before, level, 0.0)
            now = side_of(after, level, side)
            if now != side and before != level and counts(kind, now):
                return True
        before = after
    return False


@njit(**BARE)
def slope_at(system, outputs, k, j, du):
    """Return the slope of a quantity at an output; it is found once."""
    if np.isnan(outputs.slopes[j, k]):
        derivatives(system, outputs.times[j], outputs.states[j], du)
        outputs.slopes[j, k] = measure(system.watched, k, outputs.states[j], du, system.log, system.scale)[1]
    return outputs.slopes[j, k]


@njit(**BARE)
def mark_shown(system, notes, outputs, record, i, best, scratch, hidden):
    """Mark in ``hidden`` the intervals that are ``marked`` and hold steps, and those that show something.

    An interval of less than a step shows it by the cubic through its ends. So does one that the steps left
    out, but whose ends say otherwise: steps are noted as predicted.
    """
    times, values, marked, du = outputs.times, outputs.values, scratch.marked, scratch.du
    kind, level, k = system.watched.items[i].kind, record[i].level, system.watched.items[i].quantity
    first = 0  # of the notes behind the start of the interval
    for j in range(times.size - 1):
        while first < notes.shape[0] and notes[first, 0] <= times[j]:
            first += 1
        if is_extremum(kind):
            doubt = values[j, k] == best or values[j + 1, k] == best
        else:
            doubt = j == 0 or (values[j, k] <= level) != (values[j + 1, k] <= level)
        if hidden[j] or not (doubt or marked[j]):
            continue
        if marked[j] and first + 1 < notes.shape[0] and notes[first + 1, 0] < times[j + 1]:
            hidden[j] = True
            continue
        h = times[j + 1] - times[j]
        d0, d1 = slope_at(system, outputs, k, j, du), slope_at(system, outputs, k, j + 1, du)
        hidden[j] = shows(system, record, i, best, (values[j, k], h * d0, values[j + 1, k], h * d1))


@njit(**BARE)
def bound_of(system, kind, k, best):
    """Return what an extremum must reach to be looked at, in the direction in which less is better."""
    if not is_extremum(kind):
        return 0.0
    return (-best if kind == HIGHEST else best) - _DEEPER * system.rtol * size_of(system, k, best)


@njit(**INSIDE)
def mark_all(system, notes, outputs, record, ending, hidden):
    """Mark the intervals that must be looked at for the items that end the integration, or the others."""
    steps = notes.shape[0]
    scratch = Scratch(
        np.empty(steps), np.empty(steps), np.zeros(hidden.size, np.bool_), np.empty(outputs.states.shape[1])
    )
    mark_items(system, notes, outputs, record, ending, scratch, hidden)


@njit(**BARE)
def mark_items(system, notes, outputs, record, ending, scratch, hidden):
    """Mark the intervals for all items, see `mark_all`."""
    times, values, items = outputs.times, outputs.values, system.watched.items
    known = -1  # the quantity that slopes are of
    for i in range(record.size):
        k, kind = items[i].quantity, items[i].kind
        if items[i].ends != ending:
            continue
        if k >= system.noted:
            hidden[:] = True
            return
        if k != known:
            steps_of(notes, 1 + 2 * k, scratch)
            known = k
        best = record[i].best
        if is_extremum(kind):
            for j in range(times.size):
                best = max(best, values[j, k]) if kind == HIGHEST else min(best, values[j, k])
        bound, zero = bound_of(system, kind, k, best), system.watched.quantities[k].zero
        scratch.marked[:] = False
        mark_steps(notes, 1 + 2 * k, items[i], record[i].level, bound, zero, times, scratch)
        mark_shown(system, notes, outputs, record, i, best, scratch, hidden)
