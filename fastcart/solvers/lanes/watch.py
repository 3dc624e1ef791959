"""Endpoints of the burden: crossings of its start and turning points inside a step.

What is recorded does not depend on the order in which the steps of a patient are looked at.
"""

from __future__ import annotations

from numba import njit

from fastcart.solvers.compile import INNER
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.interpolate import rise, root, turning_point
from fastcart.solvers.lanes.layout import LANES

_L = LANES

# columns of a patient's row
LAST, FIRST, LOWEST, T_LOWEST = range(4)


@njit(**INNER)
def crossing(row, t):
    """Record an upward crossing of the start."""
    row[FIRST] = min(row[FIRST], t)
    row[LAST] = max(row[LAST], t)


@njit(**INNER)
def candidate(row, t, value):
    """Record a value that may be the nadir."""
    if value < row[LOWEST] or (value == row[LOWEST] and t < row[T_LOWEST]):
        row[LOWEST] = value
        row[T_LOWEST] = t


@njit(**INNER)
def watch_burden(row, Q, c, degree, lane, work, end):
    """Look at the burden, of polynomial ``c``, inside the last step, up to ``theta = end``.

    A step holds at most one turning point that matters: the signs of the slope at its ends tell.
    """
    t = Q[q.T_OLD * _L + lane]
    h = Q[q.H_USED * _L + lane]
    g0 = Q[q.ABOVE_OLD * _L + lane]
    level = Q[q.LEVEL * _L + lane]
    s0 = Q[q.SLOPE_OLD * _L + lane]
    s1 = Q[q.SLOPE_NEW * _L + lane]
    low = 0.0
    g_low = g0
    if s0 * s1 < 0.0:
        turn = turning_point(c, work, degree)
        if turn < end:
            g_turn = g0 + rise(c, degree, turn)
            if s0 < 0.0:
                candidate(row, t + turn * h, level + g_turn)
            if g_low <= 0.0 and g_turn > 0.0:
                place = 0.0 if g_low == 0.0 else root(c, degree, g0, 0.0, turn)
                crossing(row, t + place * h)
            low = turn
            g_low = g_turn
    g_end = Q[q.ABOVE_NEW * _L + lane] if end >= 1.0 else g0 + rise(c, degree, end)
    if g_low <= 0.0 and g_end > 0.0:
        place = 0.0 if (low == 0.0 and g_low == 0.0) else root(c, degree, g0, low, min(end, 1.0))
        crossing(row, t + place * h)
    if end < 1.0:
        candidate(row, t + end * h, level + g_end)
