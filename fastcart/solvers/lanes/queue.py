"""Steps that must be looked at closely wait here until a block is full; then their extra stages are computed.

The interpolant of some methods needs stages of its own. Computed for a few lanes at a time they would cost
more than the rest of the step, so a copy of the lane's step is put aside, and the lane goes on.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fastcart.solvers.compile import INNER
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.interpolate import rise_of
from fastcart.solvers.lanes.layout import LANES
from fastcart.solvers.lanes.pointer import evaluate

_L = LANES

MAX_DEGREE = 8  # of the interpolants

# columns of the slots: whose step it is, which times to save lie in it, what else asks for a close look
LANE, PATIENT, SAVE_FROM, SAVE_TO, NEED = range(5)


@njit(**INNER)
def enqueue(l, s, B, D, places, n, m, stop):
    """Copy of the step of lane ``l`` what a close look needs into slot ``s`` of a buffer of the same layout.

    That is parameters and rates, the first rows of ``Q``, and all from the states up to ``stop``.
    """
    for r in range(n + 1, 2 * n + 1 + m):
        D[r * _L + s] = B[r * _L + l]
    first = places[1] // _L
    for r in range(first, first + q.Q_LOOKED):
        D[r * _L + s] = B[r * _L + l]
    for r in range(places[2] // _L, stop):
        D[r * _L + s] = B[r * _L + l]


@njit(**INNER)
def due(l, limit, inclusive, Q, position, times, slots, s):
    """Note which times to save lie before ``limit``, and move on behind them."""
    k = position[l, 1]
    slots[s, SAVE_FROM] = k
    while k < times.size and (times[k] < limit or (inclusive and times[k] == limit)):
        k += 1
    slots[s, SAVE_TO] = k
    position[l, 1] = k
    Q[q.NEXT_SAVE * _L + l] = times[k] if k < times.size else np.inf


@njit(**INNER)
def extra_stages(ev, W, Q, U_old, K, n, m, stages, extra):
    """Compute the stages that only the interpolant needs, behind the others in ``K``."""
    c, A = extra
    size = n * _L
    f = (2 * n + 1 + m) * _L
    for x in range(c.size):
        for i in range(n):
            for l in range(_L):
                W[i * _L + l] = 0.0
            for j in range(stages + x):
                weight = A[x, j]
                if weight != 0.0:
                    for l in range(_L):
                        W[i * _L + l] += weight * K[j * size + i * _L + l]
            for l in range(_L):
                W[i * _L + l] = U_old[i * _L + l] + Q[q.H_USED * _L + l] * W[i * _L + l]
        for l in range(_L):
            W[n * _L + l] = Q[q.T_OLD * _L + l] + c[x] * Q[q.H_USED * _L + l]
        evaluate(ev, W)
        for k in range(size):
            K[(stages + x) * size + k] = W[f + k]


@njit(**INNER)
def polynomials(s, C, K, dense, degree, h_stage, n, first, stop):
    """Fill ``C`` with the polynomials of states ``first .. stop`` of slot or lane ``s``.

    ``h_stage`` multiplies the stages, ``n`` is the number of all states; ``dense`` has `MAX_DEGREE` columns.
    """
    for i in range(first, stop):
        for k in range(0, degree, 4):
            c0 = c1 = c2 = c3 = 0.0  # numbers, not places in memory, which take longer
            for j in range(dense.shape[0]):
                stage = h_stage * K[(j * n + i) * _L + s]
                c0 += dense[j, k] * stage
                c1 += dense[j, k + 1] * stage
                c2 += dense[j, k + 2] * stage
                c3 += dense[j, k + 3] * stage
            C[i, k], C[i, k + 1], C[i, k + 2], C[i, k + 3] = c0, c1, c2, c3


@njit(**INNER)
def save_steps(s, j, end, Q, U, U_old, C, degree, slots, saved, n, times):
    """Save what is due in a step, before ``theta = end`` where that is at most 1; return how far."""
    t0, h = Q[q.T_OLD * _L + s], Q[q.H_USED * _L + s]
    for k in range(slots[s, SAVE_FROM], slots[s, SAVE_TO]):
        if end <= 1.0 and times[k] >= t0 + end * h:
            return k
        for i in range(n):
            if times[k] == Q[q.T * _L + s]:
                saved[j, k, i] = U[i * _L + s]
            else:
                saved[j, k, i] = U_old[i * _L + s] + rise_of(C, i, degree, (times[k] - t0) / h)
    return slots[s, SAVE_TO]
