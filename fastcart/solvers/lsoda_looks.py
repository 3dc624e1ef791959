"""Looks between LSODA's steps: whether the solution follows a right-hand side that depends on time."""

from __future__ import annotations

import numpy as np
from numba import njit

from fastcart.solvers.lsoda_system import BARE, INSIDE, derivatives

SKIPPED = 1e-2  # a step so short, in units of the distance of the looks, has seen what there is
_PAIR = 1e-5  # distance of the two times of one look, in the same unit


@njit(**BARE)
def solve_linear(A, b):
    """Solve ``A x = b`` in place of ``b``; return whether the matrix allows it."""
    n = b.size
    for k in range(n):
        pivot = k
        for i in range(k + 1, n):
            if abs(A[i, k]) > abs(A[pivot, k]):
                pivot = i
        if not abs(A[pivot, k]) > 0.0:
            return False
        for j in range(n):
            A[k, j], A[pivot, j] = A[pivot, j], A[k, j]
        b[k], b[pivot] = b[pivot], b[k]
        for i in range(k + 1, n):
            factor = A[i, k] / A[k, k]
            for j in range(k, n):
                A[i, j] -= factor * A[k, j]
            b[i] -= factor * b[k]
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            b[k] -= A[k, j] * b[j]
        b[k] /= A[k, k]
    return True


def looks(grid: np.ndarray) -> np.ndarray:
    """Return the times of pairs of looks, two in each interval of a grid."""
    length = np.diff(grid)
    first = grid[:-1] + 0.381966 * length
    return np.stack([first, first + _PAIR * length], axis=1).ravel()


@njit(**INSIDE)
def become_error(system, t, step, u, f, f2, J, r):
    """Turn ``r``, what the slope is off by, into an error of the states over a step."""
    n = u.size
    for j in range(n):
        kept = u[j]
        u[j] += 1e-7 * (1.0 + abs(kept))
        change = u[j] - kept
        derivatives(system, t, u, f2)
        u[j] = kept
        for q in range(n):
            J[q, j] = (1.0 / step if q == j else 0.0) - (f2[q] - f[q]) / change
    if not solve_linear(J, r):
        r[:] = 0.0  # nothing can be said


@njit(**INSIDE)
def resolved(system, notes, count, times, out, pair):
    """Whether the solution follows its right-hand side between the steps too, wherever ``pair`` has a look.

    A right-hand side that depends on time may have a pulse, or whole periods, between two steps. At a pair of
    times close to each other the slope of the solution is compared with the right-hand side. Their difference
    is turned into an error of the states, over one step, by Newton's method: a stiff right-hand side is large
    wherever its states are a little off.
    """
    n, rtol = out.shape[1], system.rtol
    f0, f1, f2, r = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    J = np.empty((n, n))
    allowed = min(1000.0 * rtol, max(0.1, 30.0 * rtol))
    k = 0
    for i in range(times.size - 1):
        if not pair[i] or not pair[i + 1]:
            continue
        t, length = times[i], times[i + 1] - times[i]
        while k + 1 < count and notes[k + 1, 0] <= t:
            k += 1
        if k + 1 >= count:
            break
        if t <= notes[k, 0] or times[i + 1] > notes[k + 1, 0]:
            continue  # of two steps: what they differ by, over so short a time, is no slope
        step = min(notes[k + 1, 0], times[-1]) - notes[k, 0]
        if step * _PAIR < SKIPPED * length or not length > 0.0:
            continue
        derivatives(system, t, out[i], f0)
        derivatives(system, times[i + 1], out[i + 1], f1)
        suspect = False
        for j in range(n):
            r[j] = 0.5 * (f0[j] + f1[j]) - (out[i + 1, j] - out[i, j]) / length
            suspect = suspect or abs(step * r[j]) > allowed * (1.0 + abs(out[i, j]))
        if not suspect:
            continue
        become_error(system, t, step, out[i], f0, f2, J, r)
        for j in range(n):
            if abs(r[j]) > allowed * (1.0 + abs(out[i, j])):
                return False
    return True
