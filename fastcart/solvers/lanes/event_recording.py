"""The recorder of lanes: crossings and extrema of what is watched, whoever found them.

What a crossing and an extremum are is said by `fastcart.solvers.items`, for all engines; here is where they
are kept of many patients, and the crossing that the steps themselves detect. What is recorded does not
depend on the order in which the steps of a patient are looked at.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fastcart.solvers.actions import acts
from fastcart.solvers.compile import INLINED
from fastcart.solvers.items import (
    DIES,
    FROM_START,
    HIGHEST,
    LOWEST,
    UP,
    keep,
    logarithm_of,
    note_crossing,
    part_of,
)
from fastcart.solvers.items import counts as counts_to_side
from fastcart.solvers.items import side_of as side_of_level

# Kinds of items: a largest or smallest value; a crossing of a threshold upwards, downwards, both; states that
# die out where their sum falls to a threshold; the crossing from at or below the patient's own start to above
# it, which the step itself detects
MAXIMUM, MINIMUM, EXTINCTION = HIGHEST, LOWEST, DIES
PROGRESSION = 6
ABOVE, BELOW, UNDECIDED = 1.0, -1.0, 0.0  # sides of a threshold
JUST_BEGUN = 2.0  # instead of a side: no step yet since the start or a jump


@njit(**INLINED)
def threshold_of(watched, i, patients, j, state):
    """The threshold of item ``i``, about ``state``, for a patient; in logarithm where its quantity is."""
    index = watched[i].parameter
    if index == FROM_START:
        return part_of(patients.u0[j, state], watched[i].threshold, watched[i].in_log)
    value = patients.p[j, index] if index >= 0 else watched[i].threshold
    return logarithm_of(value) if watched[i].in_log else value


@njit(**INLINED)
def side_of(kind, value, level, before):
    """The side of a threshold on which a value is; on that of the start below, on any other as before."""
    return side_of_level(value, level, BELOW if kind == PROGRESSION else before)


@njit(**INLINED)
def counts(kind, side):
    """Whether a crossing to that side is one that an item is about."""
    return counts_to_side(UP if kind == PROGRESSION else kind, side)


@njit(**INLINED)
def leaves_to_act(watch, i, value, level, side, t):
    """Whether item ``i`` is to act because its quantity jumps to a value; its side is left to tell."""
    kind = watch.items[i].kind
    if not acts(watch.actions, i) or t < watch.items[i].after:
        return False
    now = side_of(kind, value, level, side)
    return now != side and counts(kind, now)


@njit(**INLINED)
def record_extremum(watch, j, i, t, value):
    """Record a value that may be the largest, or smallest, of item ``i``."""
    keep(watch.recorded[j, i], watch.items[i].kind, value, t)


@njit(**INLINED)
def record_crossing(watch, j, i, t):
    """Record a crossing of item ``i``, unless it only counts later; return whether it counts."""
    behind = watch.items[i].behind
    first = watch.recorded[j, behind].first if behind >= 0 else -np.inf
    return note_crossing(watch.recorded[j, i], watch.items[i].after, first, t)


@njit(**INLINED)
def record_burden(watch, j, t, value, crosses):
    """Record a value of the burden at a start or beside a jump, and whether it passes the start there."""
    for i in range(watch.of_burden):
        if watch.items[i].kind == MINIMUM:
            record_extremum(watch, j, i, t, value)
        elif crosses:
            record_crossing(watch, j, i, t)


@njit(**INLINED)
def never_grew(watch, j):
    """Forget crossings of the burden of a patient in whom it died out at once."""
    for i in range(watch.of_burden):
        if watch.items[i].kind == PROGRESSION:
            watch.recorded[j, i].first = np.inf
            watch.recorded[j, i].last = -1.0
