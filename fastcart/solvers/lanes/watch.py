"""Endpoints of the burden: crossings of its start and turning points inside a step.

What is recorded does not depend on the order in which the steps of a patient are looked at.
"""

from __future__ import annotations

from numba import njit

from fastcart.solvers.compile import INNER
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.bernstein import roots, slope
from fastcart.solvers.lanes.interpolate import rise_of, root
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
def watch_burden(row, Q, C, burden, degree, lane, room, end):
    """Look at the burden inside the last step, up to ``theta = end``: at each piece between its turns.

    Parameters
    ----------
    row : ndarray
        What is recorded of the patient.
    Q : ndarray
        Numbers of the lanes, or of the slots of the queue.
    C : ndarray
        Polynomials of the states.
    burden, degree, lane : int
    room : tuple of ndarray
        Scratch: coefficients, what waits, places.
    end : float
        2 where the step does not end early.
    """
    a, waiting, places = room
    t = Q[q.T_OLD * _L + lane]
    h = Q[q.H_USED * _L + lane]
    g0 = Q[q.ABOVE_OLD * _L + lane]
    level = Q[q.LEVEL * _L + lane]
    turns = 0
    if Q[q.TURNS * _L + lane] > 0.5:
        top = slope(C, burden, degree, a)
        turns = roots(a, top, 0.0, 1.0, waiting, places, 0)
    low, g_low = 0.0, g0
    for k in range(turns + 1):
        high = places[k] if k < turns else 1.0
        high = min(high, end)
        if high <= low:
            break
        g_high = Q[q.ABOVE_NEW * _L + lane] if high == 1.0 else g0 + rise_of(C, burden, degree, high)
        if high < 1.0:
            candidate(row, t + high * h, level + g_high)
        if g_low <= 0.0 and g_high > 0.0:
            crossing(row, t + (low if g_low == 0.0 else root(C, burden, degree, g0, low, high)) * h)
        low, g_low = high, g_high
