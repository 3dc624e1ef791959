"""States that die out: alone, or a group of them when their sum falls below the threshold.

A state that dies out alone is compared as it is integrated, a group by the sum of its cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from fastcart.solvers.compile import INNER
from fastcart.solvers.lanes.interpolate import rise_of
from fastcart.solvers.lanes.layout import LANES
from fastcart.solvers.transform import LOG_ZERO

_L = LANES
_GOLDEN = 0.6180339887498949


def groups(marks: Sequence[bool | str], log: np.ndarray, cells: float) -> tuple[np.ndarray, ...]:
    """Return each state's group (-1 for none), and of each group: is it one state; threshold.

    Parameters
    ----------
    marks : sequence of bool or str
        ``State.extinction`` of each state.
    log : ndarray of bool
        Which states are integrated in logarithm.
    cells : float
        The threshold.
    """
    names = [mark if isinstance(mark, str) else j for j, mark in enumerate(marks) if mark]
    order = {name: g for g, name in enumerate(dict.fromkeys(names))}
    group = np.array([order[m if isinstance(m, str) else j] if m else -1 for j, m in enumerate(marks)])
    alone = np.array([np.count_nonzero(group == g) == 1 for g in range(len(order))])
    limit = np.array([np.log(cells) if alone[g] and log[group == g][0] else cells for g in range(len(order))])
    return group, alone, limit


@njit(**INNER)
def natural(u, is_log):
    """The state in cells."""
    if is_log:
        return np.exp(u) if u != LOG_ZERO else 0.0
    return u


@njit(**INNER)
def size(g, U, l, n, extinct, log):
    """The one state of a group as it is integrated, or the sum of the cells of a group."""
    group, alone = extinct[0], extinct[1]
    total = 0.0
    for i in range(n):
        if group[i] == g:
            total += U[i * _L + l] if alone[g] else natural(U[i * _L + l], log[i])
    return total


@njit(**INNER)
def slope(g, U, K, at, l, n, extinct, log):
    """Derivative of `size`, from the derivatives at offset ``at``."""
    group, alone = extinct[0], extinct[1]
    total = 0.0
    for i in range(n):
        if group[i] == g:
            by_log = log[i] and not alone[g]
            total += K[at + i * _L + l] * (natural(U[i * _L + l], True) if by_log else 1.0)
    return total


@njit(**INNER)
def gone(g, U, l, n, extinct, log):
    """Whether all states of a group are an exact zero."""
    zero = True
    for i in range(n):
        zero = zero and (extinct[0][i] != g or U[i * _L + l] == (LOG_ZERO if log[i] else 0.0))
    return zero


@njit(**INNER)
def size_inside(g, theta, U_old, C, l, n, degree, extinct, log):
    """`size` at a place of the step, from the polynomials ``C`` of all states."""
    group, alone = extinct[0], extinct[1]
    total = 0.0
    for i in range(n):
        if group[i] == g:
            u = U_old[i * _L + l] + rise_of(C, i, degree, theta)
            total += u if alone[g] else natural(u, log[i])
    return total


@njit(**INNER)
def lowest_place(g, U_old, C, l, n, degree, extinct, log):
    """Place of the lowest point of a group that first falls and then grows, by golden sections."""
    a, b = 0.0, 1.0
    for _ in range(40):
        x, y = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
        at_x = size_inside(g, x, U_old, C, l, n, degree, extinct, log)
        if at_x < size_inside(g, y, U_old, C, l, n, degree, extinct, log):
            b = y
        else:
            a = x
    return 0.5 * (a + b)


@njit(**INNER)
def extinction_place(l, U, U_old, K, C, n, last, degree, extinct, log):
    """Return theta at which the first group falls through its threshold, and that group; 2.0, -1 for none."""
    limit = extinct[2]
    first, which = 2.0, -1
    for g in range(limit.size):
        if gone(g, U_old, l, n, extinct, log):
            continue
        v0, v1 = size(g, U_old, l, n, extinct, log), size(g, U, l, n, extinct, log)
        place = 2.0
        if v0 <= limit[g]:
            place = 0.0
        else:
            low, high = 0.0, 1.0
            falls = slope(g, U_old, K, 0, l, n, extinct, log) < 0.0
            if v1 > limit[g] and falls and slope(g, U, K, last, l, n, extinct, log) > 0.0:
                high = lowest_place(g, U_old, C, l, n, degree, extinct, log)
                v1 = size_inside(g, high, U_old, C, l, n, degree, extinct, log)
            if v1 <= limit[g]:
                for _ in range(50):
                    middle = 0.5 * (low + high)
                    if size_inside(g, middle, U_old, C, l, n, degree, extinct, log) > limit[g]:
                        low = middle
                    else:
                        high = middle
                place = high
        if place < first:
            first, which = place, g
    return first, which
