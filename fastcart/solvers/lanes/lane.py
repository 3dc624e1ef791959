"""What happens to a single lane between steps: a patient comes, gets doses, is done."""

from __future__ import annotations

import numpy as np
from numba import njit

from fastcart.solvers.compile import INNER
from fastcart.solvers.doses import BREAK, RATE
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.layout import LANES
from fastcart.solvers.lanes.pointer import evaluate
from fastcart.solvers.lanes.step_explicit import RESOLVED
from fastcart.solvers.lanes.watch import FIRST, LAST, LOWEST, T_LOWEST, candidate, crossing
from fastcart.solvers.transform import LOG_ZERO

_L = LANES

OK, MAX_STEPS, NON_FINITE, STEP_TOO_SMALL, LOG_INFLOW, SOLVER_ERROR, NOT_RUN, NEGATIVE, RHS_ERROR = range(9)
IDLE, EMPTY = -1, -2  # a lane without a patient: for good, or to be refilled


@njit(**INNER)
def first_step(f, u, h_limit, tolerance):
    """A cautious first step: a twentieth of the time in which a state changes by itself.

    Hairer, Norsett & Wanner II.4, steps a and b of the automatic choice, with a larger factor: smaller first
    steps only take one step more to grow. The controller does the rest. ``tolerance`` knows no integrals,
    which begin at zero and have no time of their own.
    """
    d0 = 0.0
    d1 = 0.0
    for i in range(tolerance.shape[1]):
        scale = tolerance[0, i] + tolerance[1, i] * abs(u[i])
        d0 += (u[i] / scale) ** 2
        d1 += (f[i] / scale) ** 2
    if d0 < 1e-10 or d1 < 1e-10 or not np.isfinite(d1):
        h = 1e-6
    else:
        h = 0.05 * np.sqrt(d0 / d1)
    return min(h, h_limit)


@njit(**INNER)
def start_block(ev, W, u0, p, first, f0, n, m):
    """Derivatives at the start of up to `LANES` patients at once."""
    count = min(_L, u0.shape[0] - first)
    for l in range(_L):
        j = first + min(l, count - 1)
        for i in range(n):
            W[i * _L + l] = u0[j, i]
        W[n * _L + l] = 0.0
        for k in range(m):
            W[(n + 1 + k) * _L + l] = p[j, k]
    evaluate(ev, W)
    for l in range(count):
        for i in range(n):
            f0[first + l, i] = W[(2 * n + 1 + m + i) * _L + l]


@njit(**INNER)
def load(l, j, W, Q, U, K, index, position, u0, p, f0, rows, saved, n, m, problem, doses, tolerance):
    """Put patient ``j`` into lane ``l``."""
    t_end, times, burden = problem[0], problem[1], problem[2]
    start, stop, time = doses[0], doses[1], doses[2]
    index[l] = j
    for i in range(n):
        U[i * _L + l] = u0[j, i]
        K[i * _L + l] = f0[j, i]
        W[(n + 1 + m + i) * _L + l] = 0.0
    for k in range(m):
        W[(n + 1 + k) * _L + l] = p[j, k]
    W[(3 * n + 1 + m) * _L + l] = 0.0
    for row in range(q.Q_ROWS):
        Q[row * _L + l] = 0.0
    position[l, 0] = start[j]
    Q[q.STOP * _L + l] = time[start[j]] if start[j] < stop[j] else t_end
    position[l, 1] = 0
    for k in range(times.size):
        for i in range(n):
            saved[j, k, i] = np.nan
    if times.size > 0 and times[0] == 0.0:
        for i in range(n):
            saved[j, 0, i] = u0[j, i]
        position[l, 1] = 1
    Q[q.NEXT_SAVE * _L + l] = times[position[l, 1]] if position[l, 1] < times.size else np.inf
    Q[q.ACCEPTED * _L + l] = q.FRESH
    Q[q.H * _L + l] = first_step(f0[j], u0[j], t_end, tolerance)
    Q[q.ERROR_OLD * _L + l] = 0.0
    if burden >= 0:
        Q[q.LEVEL * _L + l] = u0[j, burden]
        Q[q.LOWEST * _L + l] = u0[j, burden]
        rows[j, LAST], rows[j, FIRST] = -1.0, np.inf
        rows[j, LOWEST], rows[j, T_LOWEST] = u0[j, burden], 0.0
        if f0[j, burden] > 0.0:
            crossing(rows[j], 0.0)


@njit(**INNER)
def save_now(l, Q, U, position, saved, j, n, times):
    """Save the present state where a time to save is now (after a dose)."""
    k = position[l, 1]
    while k < times.size and times[k] <= Q[q.T * _L + l]:
        for i in range(n):
            saved[j, k, i] = U[i * _L + l]
        k += 1
    position[l, 1] = k
    Q[q.NEXT_SAVE * _L + l] = times[k] if k < times.size else np.inf


@njit(**INNER)
def give(l, U, i, amount, log):
    """Add an amount to a state."""
    if not log:
        U[i * _L + l] += amount
    elif amount != 0.0:
        u = U[i * _L + l]
        y = np.exp(u) if u != LOG_ZERO else 0.0
        U[i * _L + l] = np.log(y + amount) if y + amount > 0.0 else LOG_ZERO


@njit(**INNER)
def give_doses(l, W, Q, U, position, row, j, n, m, problem, doses, log):
    """Apply all dose entries of this time, and set the next stop."""
    t_end, burden = problem[0], problem[2]
    stop, time, state, kind, value = doses[1], doses[2], doses[3], doses[4], doses[5]
    now = Q[q.T * _L + l]
    before = U[burden * _L + l] - Q[q.LEVEL * _L + l] if burden >= 0 else 0.0
    if burden >= 0:  # the value just before a dose may be the nadir, without a turning point
        candidate(row, now, U[burden * _L + l])
    k = position[l, 0]
    while k < stop[j] and time[k] <= now:
        i = state[k]
        if kind[k] == BREAK:  # to the other side, where the right-hand side is another
            for x in range(n):  # what is infused meanwhile is much of a very short infusion
                give(l, U, x, W[(n + 1 + m + x) * _L + l] * (value[k] - now), log[x])
            now = value[k]
            Q[q.T * _L + l] = now
        elif kind[k] == RATE:
            rate = (n + 1 + m + i) * _L + l
            give(l, U, i, (value[k] - W[rate]) * (now - time[k]), log[i])
            W[rate] = value[k]
        else:
            give(l, U, i, value[k], log[i])
        k += 1
    position[l, 0] = k
    Q[q.STOP * _L + l] = time[k] if k < stop[j] else t_end
    if burden >= 0:
        after = U[burden * _L + l] - Q[q.LEVEL * _L + l]
        if before <= 0.0 and after > 0.0:
            crossing(row, now)


@njit(**INNER)
def finish(l, Q, U, j, status, n, burden, log, final, codes, counts, reached, cured):
    """Write the results of a lane's patient."""
    for i in range(n):
        final[j, i] = U[i * _L + l]
        if status == OK and not np.isfinite(U[i * _L + l]):
            status = NON_FINITE
    codes[j] = status
    counts[j, 0] = int(Q[q.STEPS * _L + l])
    counts[j, 1] = int(Q[q.REJECTED * _L + l])
    reached[j] = Q[q.T * _L + l]
    if burden >= 0:  # what died out may have been seeded again
        cured[j] = cured[j] and U[burden * _L + l] == (LOG_ZERO if log[burden] else 0.0)


@njit(**INNER)
def diagnose(l, Q, W, K, U, n, m, log, limits, tolerance):
    """Tell why a lane is in trouble."""
    for i in range(n):
        if log[i] and U[i * _L + l] == LOG_ZERO and K[i * _L + l] != 0.0:
            return LOG_INFLOW
    short = Q[q.H_USED * _L + l] < RESOLVED * abs(Q[q.T * _L + l]) + limits[q.SMALLEST]
    if not np.isfinite(Q[q.ERROR * _L + l]):
        raised = W[(3 * n + 1 + m) * _L + l] != 0.0
        for i in range(n):
            if not np.isfinite(K[i * _L + l]):
                return RHS_ERROR if raised else NON_FINITE
        if short:
            return RHS_ERROR if raised else NON_FINITE
    if short:
        for i in range(tolerance.shape[1]):
            floor = tolerance[0, i] + tolerance[1, i] * abs(U[i * _L + l])
            if tolerance[2, i] != 0.0 and W[i * _L + l] < -floor:
                return NEGATIVE
    if Q[q.STEPS * _L + l] + Q[q.REJECTED * _L + l] >= limits[q.BUDGET]:
        return MAX_STEPS
    return STEP_TOO_SMALL if short else MAX_STEPS


@njit(**INNER)
def park(l, Q, U, index, n):
    """Leave a lane idle: time stands still, no flags."""
    index[l] = IDLE
    Q[q.STOP * _L + l] = Q[q.T * _L + l]
    Q[q.NEXT_SAVE * _L + l] = np.inf


@njit(**INNER)
def restart(l, W, Q, U, K, n, m, t_end, tolerance, du, u):
    """Begin anew behind a dose or a cut, from the derivatives in ``W``."""
    for i in range(n):
        f = W[(2 * n + 1 + m + i) * _L + l]
        K[i * _L + l] = f
        du[i] = f
        u[i] = U[i * _L + l]
    Q[q.ACCEPTED * _L + l] = q.FRESH
    Q[q.H * _L + l] = first_step(du, u, t_end, tolerance)
    Q[q.ERROR_OLD * _L + l] = 0.0
    Q[q.SINCE * _L + l] = 0.0
    Q[q.MARK * _L + l] = Q[q.T * _L + l]
