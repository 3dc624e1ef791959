"""Rows of the per-lane buffers. Row ``r`` of lane ``l`` is at ``r * LANES + l`` of a flat array.

One flat buffer with constant offsets lets LLVM prove that rows do not overlap, and so vectorise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

LANES = 32
_LINE = 8  # numbers in a line of the cache
_ROOM = 32  # for parameters, or a multiple

# rows of the numbers, one per lane each; first what a close look at a step must know
T = 0  # time
T_OLD = 1  # start of the last step
H_USED = 2  # the last step
FLAG = 3  # what needs attention after the step, bits below
COPIED = 4
LEVEL = 4  # burden at the start: progression is above it
ABOVE_OLD = 5  # height of the burden above LEVEL at both ends of the step
ABOVE_NEW = 6
H = 7  # step to try next
ERROR = 8  # sum of squares of the scaled error of the last step
ERROR_OLD = 9  # logarithm to base 2 of that of the step accepted before, for the PI controller
STOP = 10  # time that must be hit exactly: a dose or the horizon
ACCEPTED = 11  # how the last step went: REJECTED_STEP, ACCEPTED_STEP or FRESH
STEPS = 12
REJECTED = 13
NEXT_SAVE = 14  # next time to save
HIT = 15  # 1 where the step ends at STOP
SECOND = 16  # second error sum, for methods with two estimates
SINCE = 17  # steps since MARK
OWN_ERROR = 18  # as ERROR, without what integrals add
MARK = 19  # where the progress was last looked at, at first the start or the last dose
BEHIND = 20  # what was left out just behind a break, in time
Q_ROWS = 21

# values of ACCEPTED
REJECTED_STEP = 0.0
ACCEPTED_STEP = 1.0
FRESH = 2.0  # no step yet since the start or a dose: the first stage is in place

# What grows by itself is not below notice, however small it is: soon it may be all there is. That
# is what doubles in a step, goes away from zero at its start, and ever faster: its slope in the middle of the
# step, or at its end, is more than so many times that at the start. Passing zero, or a source, is none.
STEEPER = 1.2
GROWTH = 1.3  # a pivot of a stiff step that is so many times smaller than without the Jacobian tells growth
# Its error may be this many times the relative tolerance of itself; other states have the absolute one, too.
OF_ITSELF = 100.0

# bits of FLAG
AT_STOP = 1
TURN = 2  # the burden crosses its start or turns where that matters
SAVE = 4
TROUBLE = 8
CORNER = 16  # as short a step as there is, and the rise of an integral is not known


class Offsets(NamedTuple):
    """Where each part of the buffer of all lanes begins, in numbers."""

    W: int
    Q: int
    U: int
    U_old: int
    K: int
    bounds: int  # of states within the step, see `fastcart.solvers.lanes.step_bounds`
    tolerance: int  # four for each state, see `fastcart.solvers.lanes.stage_sums.error_sums`
    limits: int
    control: int
    bounded: int  # how many states have bounds, then which
    total: int


# places among the limits
BUDGET, SMALLEST, HORIZON, AHEAD, STATES, MAX_STEP, COLLAPSED = range(7)
LIMITS = 7


class Rows(NamedTuple):
    """Where the rows of the right-hand side begin; the states come first.

    The parameters come last, and there is room for some more: so a step is the same code for models that
    have about as many.
    """

    time: int
    derivatives: int
    rates: int
    raised: int
    parameters: int
    total: int


@register_jitable
def roomy(parameters: int) -> int:
    """Return for how many parameters there is room where a model has so many."""
    return -(-max(parameters, 1) // _ROOM) * _ROOM


@register_jitable
def evaluation_rows(states: int, parameters: int) -> Rows:
    """Return the rows that the right-hand side reads and writes."""
    n = states
    return Rows(n, n + 1, 2 * n + 1, 3 * n + 1, 3 * n + 2, 3 * n + 2 + roomy(parameters))


def offsets(states: int, parameters: int, stages: int) -> Offsets:
    """Return the parts of the buffer: evaluation first, then per-lane numbers, states, stages, constants."""
    sizes = (
        evaluation_rows(states, parameters).total * LANES,
        Q_ROWS * LANES,
        states * LANES,
        states * LANES,
        stages * states * LANES,
        3 * states * LANES,
        4 * states,
        LIMITS,
        3,
        1 + states,
    )
    places = [0]
    for size in sizes:
        places.append(places[-1] + size)
    places[-1] = -(-places[-1] // _LINE) * _LINE  # what comes behind begins with a line of the cache
    return Offsets(*places)


def aligned_rows(count: int, size: int) -> np.ndarray:
    """Return ``count`` rows of ``size`` zeros, each from a multiple of 64 bytes on.

    A vector that spans two lines of the cache takes twice as long to load; NumPy aligns to 16 bytes.
    """
    line = 64 // np.dtype(float).itemsize
    padded = -(-size // line) * line
    room = np.zeros(count * padded + line)
    first = -room.ctypes.data % 64 // room.itemsize
    return room[first : first + count * padded].reshape(count, padded)[:, :size]
