"""Event detection: tell, for all lanes at once, which steps need a close look.

A step is quiet where no quantity crosses a threshold between its ends, and none turns near something that is
looked for, by the bounds that the step made. Quiet steps, nearly all, are done with here. The items of the
burden are detected in the step itself, by the same rule (`fastcart.solvers.lanes.step_explicit.accept`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

import fastcart.math as vector_math
from fastcart.solvers.actions import acts, held_side, left_at
from fastcart.solvers.compile import INLINED
from fastcart.solvers.items import DOWN, UP
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.event_recording import (
    ABOVE,
    BELOW,
    EXTINCTION,
    JUST_BEGUN,
    MAXIMUM,
    UNDECIDED,
    counts,
    leaves_to_act,
    record_crossing,
    record_extremum,
    side_of,
    threshold_of,
)
from fastcart.solvers.lanes.layout import LANES
from fastcart.solvers.lanes.records import JUMPED
from fastcart.solvers.lanes.step_bounds import HIGH, LOW, TURNS
from fastcart.solvers.transform import LOG_FLOOR, LOG_ZERO

COURSE_ENDS = -2  # instead of an item
QUIET, LATER, AT_ONCE = 0.0, 1.0, 2.0  # what a step needs: nothing, a close look, one before the lane goes on


@njit(**INLINED)
def _copy_ends(steps, watch, value, own, last):
    """Copy all quantities at the ends of steps: states, or the integrands of integrals, which are stages."""
    for k in range(value.shape[0]):
        x, to = watch.quantities[k].bounded, value[k]
        if x >= 0:
            end = steps.u[x] if x < own else steps.stages[last, x]
            for l in range(LANES):
                to[l] = end[l]


@njit(**INLINED)
def detect(steps, watch, detection, task, scheme):
    """Fill in what the step of each lane needs, and take over the ends of quiet steps; return the sum."""
    items = watch.items
    need, accepted = detection.need, steps.numbers[q.ACCEPTED]
    _copy_ends(steps, watch, detection.value, task.absolute.size, scheme.stages - 1)
    for l in range(LANES):
        need[l] = QUIET
    for i in range(watch.of_burden, items.size):
        kind, asks = items[i].kind, AT_ONCE if items[i].ends else LATER
        if kind == EXTINCTION:
            _detect_extinction(i, steps, watch, detection, task)
        else:
            k = items[i].quantity
            bounds = steps.bounds[watch.bounds_of[watch.quantities[k].bounded]]
            value = detection.value[k]
            if kind == MAXIMUM:
                _detect_maximum(value, bounds, detection.best[i], need)
            else:
                _detect_crossing(kind, asks, value, bounds, detection.level[i], detection.side[i], need)
    total = 0.0
    for l in range(LANES):
        need[l] = need[l] if accepted[l] == q.ACCEPTED_STEP else QUIET
        total += need[l]
    for i in range(watch.of_burden, items.size):
        if items[i].kind == EXTINCTION:
            side = detection.side[i]
            for l in range(LANES):
                done = accepted[l] == q.ACCEPTED_STEP and need[l] == QUIET
                side[l] = UNDECIDED if done else side[l]
        else:
            value = detection.value[items[i].quantity]
            _take_over(i, value, steps.numbers, watch, detection)
    return total


@njit(**INLINED)
def _detect_maximum(value, bounds, best, need):
    """A step needs a look where the quantity turns and may get above its best end of a step, this one too."""
    for l in range(LANES):
        found = bounds[TURNS, l] > 0.5 and bounds[HIGH, l] > max(best[l], value[l])
        need[l] = max(need[l], LATER) if found else need[l]


@njit(**INLINED)
def _detect_crossing(kind, asks, value, bounds, level, side, need):
    """A step needs a look where the quantity has another side at its end, or turns and may visit both."""
    up, down = kind != DOWN, kind != UP
    for l in range(LANES):
        rises = up and value[l] > level[l] and side[l] <= 0.0
        falls = down and value[l] < level[l] and side[l] >= 0.0
        visits = bounds[TURNS, l] > 0.5 and bounds[LOW, l] < level[l] and bounds[HIGH, l] > level[l]
        need[l] = max(need[l], asks) if rises or falls or visits else need[l]


@njit(**INLINED)
def asks_for_look(i, l, steps, watch, detection):
    """Whether there may be something of an item in the step of a lane, by the rules of `detect`."""
    kind, k = watch.items[i].kind, watch.items[i].quantity
    x = watch.quantities[k].bounded
    if kind == EXTINCTION or x < 0:
        return True
    row = watch.bounds_of[x]
    turns, low, high = steps.bounds[row, TURNS, l], steps.bounds[row, LOW, l], steps.bounds[row, HIGH, l]
    value = detection.value[k, l]
    if kind == MAXIMUM:
        return turns > 0.5 and high > max(detection.best[i, l], value)
    level, side = detection.level[i, l], detection.side[i, l]
    rises = kind != DOWN and value > level and side <= 0.0
    falls = kind != UP and value < level and side >= 0.0
    return rises or falls or (turns > 0.5 and low < level < high)


@njit(**INLINED)
def _detect_extinction(i, steps, watch, detection, task):
    """A step needs a look at once where a sum of states, not yet all zero, may get down to its threshold."""
    k = watch.items[i].quantity
    lowest, alive, level, need = detection.lowest, detection.alive, detection.level[i], detection.need
    for l in range(LANES):
        lowest[l] = 0.0
        alive[l] = 0.0
    alone = watch.quantities[k].state >= 0
    for x in range(task.absolute.size):
        if watch.groups[x] == watch.quantities[k].group:
            old, low = steps.u_old[x], steps.bounds[watch.bounds_of[x], LOW]
            zero = LOG_ZERO if task.log[x] else 0.0
            by_log = task.log[x] and not alone
            for l in range(LANES):
                alive[l] += 1.0 if old[l] != zero else 0.0
                value = low[l]
                if by_log:
                    value = vector_math.exp_bounded(max(value, LOG_FLOOR)) if old[l] != LOG_ZERO else 0.0
                lowest[l] += value
    for l in range(LANES):
        need[l] = AT_ONCE if alive[l] > 0.0 and lowest[l] <= level[l] else need[l]


@njit(**INLINED)
def _take_over(i, value, numbers, watch, detection):
    """Make the ends of quiet steps the starts of the next, of all lanes."""
    accepted, time = numbers[q.ACCEPTED], numbers[q.T]
    need, best, when = detection.need, detection.best[i], detection.when[i]
    level, side = detection.level[i], detection.side[i]
    if watch.items[i].kind == MAXIMUM:
        for l in range(LANES):
            done = accepted[l] == q.ACCEPTED_STEP and need[l] == QUIET
            more = done and value[l] > best[l]
            best[l] = value[l] if more else best[l]
            when[l] = time[l] if more else when[l]
    else:
        for l in range(LANES):
            done = accepted[l] == q.ACCEPTED_STEP and need[l] == QUIET
            here = 1.0 if value[l] > level[l] else (-1.0 if value[l] < level[l] else side[l])
            side[l] = here if done else side[l]


@njit(**INLINED)
def take_over_lane(l, t, watch, detection):
    """Make the end of a step that was looked at, or waits for it, the start of the next."""
    items = watch.items
    for i in range(watch.of_burden, items.size):
        if items[i].kind == EXTINCTION:
            detection.side[i, l] = UNDECIDED
            continue
        value = detection.value[items[i].quantity, l]
        if items[i].kind == MAXIMUM:
            keep_in_lane(l, i, t, value, detection)
        else:
            set_side(l, i, value, watch, detection)


@njit(**INLINED)
def set_side(l, i, value, watch, detection):
    """Note on which side of its threshold a quantity is."""
    side, level = detection.side, detection.level
    side[i, l] = side_of(watch.items[i].kind, value, level[i, l], side[i, l])


@njit(**INLINED)
def settle_side(l, i, value, jumped, watch, detection):
    """Note on which side of its threshold a quantity is where a step was cut, or behind a jump."""
    if jumped and acts(watch.actions, i):
        level, side = detection.level[i, l], detection.side[i, l]
        detection.side[i, l] = held_side(watch.actions, i, value, level, side)
    else:
        set_side(l, i, value, watch, detection)


@njit(**INLINED)
def keep_in_lane(l, i, t, value, detection):
    """Record the value at the end of a step, or at a start, that may be a peak."""
    if value > detection.best[i, l]:
        detection.best[i, l] = value
        detection.when[i, l] = t


@njit(**INLINED)
def load_items(l, j, watch, detection, patients):
    """Set the thresholds of the patient that comes into a lane."""
    items = watch.items
    for i in range(watch.of_burden, items.size):
        state = watch.quantities[items[i].quantity].state
        detection.level[i, l] = threshold_of(items, i, patients, j, state)
        detection.best[i, l] = -np.inf
        detection.when[i, l] = np.inf
        detection.side[i, l] = UNDECIDED


@njit(**INLINED)
def begin_items(lane, l, steps, watch, detection, task):
    """Record what holds at the start of a patient, or behind a jump.

    Returns the item that acts because of the jump, -1 for none, or `COURSE_ENDS` where an event ends it.
    """
    items, best, j = watch.items, -1, lane.patient
    t, ends, jumped = steps.numbers[q.T, l], False, lane.fresh == JUMPED
    for i in range(watch.of_burden, items.size):
        kind = items[i].kind
        if kind == EXTINCTION:
            detection.side[i, l] = JUST_BEGUN
            continue
        x = watch.quantities[items[i].quantity].bounded
        # the first stage is the integrand of an integral
        value = steps.u[x, l] if x < task.absolute.size else steps.stages[0, x, l]
        if kind == MAXIMUM:
            keep_in_lane(l, i, t, value, detection)
            continue
        before, level = detection.side[i, l], detection.level[i, l]
        if i == lane.fired:
            state = watch.quantities[items[i].quantity].state
            crossed = ABOVE if kind == UP else BELOW
            detection.side[i, l] = left_at(watch.actions, i, state, value, level, crossed)
            continue
        if jumped and leaves_to_act(watch, i, value, level, before, t):
            if best < 0 or watch.actions.priority[i] > watch.actions.priority[best]:
                best = i
            continue
        settle_side(l, i, value, jumped, watch, detection)
        now = detection.side[i, l]
        if jumped and now != before and counts(kind, now):
            counted = record_crossing(watch, j, i, t)
            ends = ends or (items[i].ends != 0 and counted)
    if ends:
        return COURSE_ENDS
    if best >= 0:
        detection.side[best, l] = ABOVE if items[best].kind == UP else BELOW
        record_crossing(watch, j, best, t)
    return best


@njit(**INLINED)
def finish_items(l, j, watch, detection):
    """Take over the peaks at the ends of steps when a patient is done."""
    for i in range(watch.of_burden, watch.items.size):
        if watch.items[i].kind == MAXIMUM:
            record_extremum(watch, j, i, detection.when[i, l], detection.best[i, l])
