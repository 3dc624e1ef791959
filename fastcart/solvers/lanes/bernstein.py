"""Polynomials on [0, 1] by their Bernstein coefficients, whose changes of sign bound the number of roots.

A polynomial lies between its smallest and its largest coefficient, and has at most as many roots in (0, 1) as
its coefficients change sign: where they do not, there is none (Farin, Curves and Surfaces for CAGD, ch. 5).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from fastcart.solvers.compile import INNER
from fastcart.solvers.lanes.root_finding import find_root
from fastcart.solvers.tableaus.base import ExplicitTableau, RosenbrockTableau

MAX_DEGREE = 8  # of what is looked at inside a step
_START, _STOP = MAX_DEGREE + 1, MAX_DEGREE + 2  # columns of the ends of an interval, in [0, 1]
STACK = 26  # rows of a scratch array: intervals that wait, at most
_SPLIT = 0.4763  # where an interval is cut; nobody's root is just there
_NARROW = 1e-6  # of a step: roots that are nearer to each other than this are a touch, not a crossing

_RATIOS = np.zeros((MAX_DEGREE + 1, MAX_DEGREE + 1, MAX_DEGREE + 1))  # C(i, m) / C(degree, m)
for _d in range(MAX_DEGREE + 1):
    for _i in range(_d + 1):
        for _m in range(_i + 1):
            _RATIOS[_d, _i, _m] = math.comb(_i, _m) / math.comb(_d, _m)


def slope_weights(tableau: ExplicitTableau | RosenbrockTableau, *, of_integrand: bool = False) -> np.ndarray:
    """Return weights of the stages that give the Bernstein coefficients of the slope on a step.

    For a method whose interpolant needs no stages of its own these are its exact slope. For the others they
    fit a polynomial of degree 4 to the slopes that the stages are, by least squares. Where the slope itself
    is followed, as the integrand of an integral, the slope of that polynomial tells a turn: then its degree
    and the trust in the stages are what the method says.

    Returns
    -------
    ndarray, shape (coefficients, stages)
    """
    if isinstance(tableau, RosenbrockTableau) or tableau.extra_c is None:
        power = tableau.dense * np.arange(1, tableau.dense.shape[1] + 1)
        degree = power.shape[1] - 1
        return _RATIOS[degree, : degree + 1, : degree + 1] @ power.T
    c = tableau.c
    trust = np.ones(len(c))
    trust[1] = 0.0  # a stage of order 1
    trust[[0, -1]] = 4.0  # the slopes at the ends are exact
    degree = 4
    if of_integrand and tableau.watched is not None:
        degree, trust = tableau.watched[0], np.array(tableau.watched[1])
    basis = np.column_stack(
        [math.comb(degree, i) * c**i * (1 - c) ** (degree - i) for i in range(degree + 1)]
    )
    return np.linalg.pinv(basis * trust[:, None]) * trust


@njit(**INNER)
def slope(C, i, degree, a):
    """Fill ``a`` with the coefficients of the slope of a rise ``sum_m C[i, m] theta^(m+1)``; its degree."""
    for m in range(degree):
        a[m] = (m + 1) * C[i, m]
    return degree - 1


@njit(**INNER)
def _changes(room, row, degree):
    """How often the coefficients in a row change sign, zeros left out."""
    count = 0
    last = 0.0
    for k in range(degree + 1):
        value = room[row, k]
        if value != 0.0:
            if last != 0.0 and (value > 0.0) != (last > 0.0):
                count += 1
            last = value
    return count


@njit(**INNER)
def polynomial(x, of):
    """The polynomial ``of`` coefficients and a degree at x, by Horner's scheme."""
    a, degree = of
    value = a[degree]
    for k in range(degree - 1, -1, -1):
        value = value * x + a[k]
    return value


@njit(**INNER)
def _to_bernstein(a, degree, room):
    """Fill the first row of ``room`` with the Bernstein coefficients of a polynomial on [0, 1].

    Returns how often they change sign, zeros left out, and the first of them that is not zero.
    """
    changes, first, last = 0, 0.0, 0.0
    for k in range(degree + 1):
        value = 0.0
        for m in range(k + 1):
            value += _RATIOS[degree, k, m] * a[m]
        room[0, k] = value
        if value != 0.0:
            first = value if first == 0.0 else first
            changes += 1 if last * value < 0.0 else 0
            last = 1.0 if value > 0.0 else -1.0
    return changes, first


@njit(**INNER)
def _first_of(room, row):
    """The first coefficient in a row that is not zero."""
    k = 0
    while room[row, k] == 0.0:
        k += 1
    return room[row, k]


@njit(**INNER)
def _halve(room, row, degree):
    """Cut the interval of a row in two: its right part stays there, the left one enters the next row."""
    start, stop = room[row, _START], room[row, _STOP]
    left = row + 1
    for k in range(degree + 1):
        room[left, k] = room[row, 0]
        for j in range(degree - k):
            room[row, j] = (1.0 - _SPLIT) * room[row, j] + _SPLIT * room[row, j + 1]
    middle = start + _SPLIT * (stop - start)
    room[left, _START], room[left, _STOP] = start, middle
    room[row, _START] = middle


@njit(**INNER)
def roots(a, degree, low, high, room, out, count):
    """Append to ``out`` the places in (low, high), in order, where a polynomial changes its sign.

    Parameters
    ----------
    a : ndarray
        Its coefficients, in ``x = (place - low) / (high - low)``.
    degree : int
    low, high : float
    room : ndarray, shape (`STACK`, `MAX_DEGREE` + 3)
        Scratch: intervals that wait, by Bernstein coefficients and ends.
    out : ndarray
    count : int
        How many places it holds already.

    Returns
    -------
    int
        How many it holds now.
    """
    changes, first = _to_bernstein(a, degree, room)
    if changes == 0:
        return count
    if changes == 1 and count < out.size:  # nearly always
        out[count] = low + (high - low) * find_root(polynomial, 0.0, 1.0, first < 0.0, (a, degree))
        return count + 1
    room[0, _START], room[0, _STOP] = 0.0, 1.0
    waiting = 1
    while waiting > 0:  # the left one of two parts is looked at first
        row = waiting - 1
        changes = _changes(room, row, degree)
        start, stop = room[row, _START], room[row, _STOP]
        if changes > 1 and stop - start >= _NARROW and waiting < STACK:
            _halve(room, row, degree)
            waiting += 1
            continue
        waiting -= 1
        if changes % 2 == 1 and count < out.size:
            x = find_root(polynomial, start, stop, _first_of(room, row) < 0.0, (a, degree))
            out[count] = low + (high - low) * x
            count += 1
    return count
