"""Endpoints of the burden: crossings of its start and turning points inside a step."""

from __future__ import annotations

from numba import njit

from fastcart.solvers.compile import INNER
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.evaluate import LANES
from fastcart.solvers.lanes.interpolate import coefficients, find, rise

_L = LANES


@njit(**INNER)
def crossing(Q, lane, t):
    """Record an upward crossing of the start."""
    if Q[q.FIRST * _L + lane] < 0.0:
        Q[q.FIRST * _L + lane] = t
    Q[q.LAST * _L + lane] = t


@njit(**INNER)
def candidate(Q, lane, t, value):
    """Record a value that may be the nadir."""
    if value < Q[q.LOWEST * _L + lane]:
        Q[q.LOWEST * _L + lane] = value
        Q[q.T_LOWEST * _L + lane] = t


@njit(**INNER)
def watch_burden(Q, K, dense, h_stage, burden, n, lane, c, end):
    """Look at the burden inside the last step, up to ``theta = end``.

    A step holds at most one turning point that matters: the signs of the slope at its ends tell.
    """
    degree = dense.shape[1]
    coefficients(c, K, dense, h_stage, burden, n, lane)
    t = Q[q.T_OLD * _L + lane]
    h = Q[q.H_USED * _L + lane]
    g0 = Q[q.ABOVE_OLD * _L + lane]
    level = Q[q.LEVEL * _L + lane]
    s0 = Q[q.SLOPE_OLD * _L + lane]
    s1 = Q[q.SLOPE_NEW * _L + lane]
    low = 0.0
    g_low = g0
    if s0 * s1 < 0.0:
        turn = find(c, degree, 0.0, 0.0, 1.0, True, s0 < 0.0)
        if turn < end:
            g_turn = g0 + rise(c, degree, turn)
            if s0 < 0.0:
                candidate(Q, lane, t + turn * h, level + g_turn)
            if g_low <= 0.0 and g_turn > 0.0:
                place = 0.0 if g_low == 0.0 else find(c, degree, g0, 0.0, turn, False, True)
                crossing(Q, lane, t + place * h)
            low = turn
            g_low = g_turn
    g_end = Q[q.ABOVE_NEW * _L + lane] if end == 1.0 else g0 + rise(c, degree, end)
    if g_low <= 0.0 and g_end > 0.0:
        place = 0.0 if (low == 0.0 and g_low == 0.0) else find(c, degree, g0, low, end, False, True)
        crossing(Q, lane, t + place * h)
    if end < 1.0:
        candidate(Q, lane, t + end * h, level + g_end)
