"""The loop of the lane engine, compiled once for each family of methods."""

from __future__ import annotations

import numpy as np

from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.driver import (
    EMPTY,
    NON_FINITE,
    OK,
    diagnose,
    extinction_time,
    finish,
    first_step,
    give_doses,
    load,
    may_die,
    park,
    save_now,
    save_until,
    start_block,
)
from fastcart.solvers.lanes.evaluate import LANES
from fastcart.solvers.lanes.explicit import FEW, extra_stages
from fastcart.solvers.lanes.interpolate import coefficients, rise
from fastcart.solvers.lanes.pointer import evaluate, take_step
from fastcart.solvers.lanes.watch import watch_burden
from fastcart.solvers.transform import LOG_ZERO

_L = LANES
_POLL = 64  # steps between looks at the request to stop


def run_lanes(  # noqa: C901  one loop over lanes; splitting it would pass two dozen arrays around
    step, ev, ev_few, B, places, u0, p, problem, doses, log, stages, dense, scaled_by_step, extra, tolerance,
    limits, extinct, rows, final, saved, codes, counts, reached, cured, control,
):  # fmt: skip
    """Solve patients ``0 .. len(u0)``; see `fastcart.solvers.lanes.engine` for the arguments."""
    patients, n = u0.shape
    m = p.shape[1]
    t_end, times, burden = problem[0], problem[1], problem[2]
    size = n * _L
    W = B[: places[1]]
    Q = B[places[1] : places[2]]
    U = B[places[2] : places[2] + size]
    U_old = B[places[3] : places[3] + size]
    K = B[places[4] : places[5]]
    c = np.zeros(dense.shape[1])
    f0 = np.zeros((patients, n))
    index = np.full(_L, EMPTY, np.int64)
    position = np.zeros((_L, 2), np.int64)
    restart = np.zeros(_L, np.bool_)
    du = np.zeros(n)
    u = np.zeros(n)
    ends = np.ones(_L)
    which = np.full(_L, -1, np.int64)
    lanes = np.zeros(_L, np.int64)
    attention = np.zeros(_L, np.int64)
    small = np.ones((3 * n + m + 1) * FEW)
    last = (stages - 1) * size  # derivatives at the end of the step
    watch_extinction = False
    for i in range(n):
        watch_extinction = watch_extinction or extinct[i] > -np.inf
    for first in range(0, patients, _L):
        start_block(ev, W, u0, p, first, f0, n, m)
    following = 0
    active = min(_L, patients)
    turns = 0
    refill = True
    while active > 0:
        if refill:
            for l in range(_L):
                if index[l] == EMPTY:
                    if following < patients or turns == 0:
                        # a lane without a patient carries the last, so that its numbers stay ordinary
                        load(
                            l, min(following, patients - 1), W, Q, U, K, index, position, u0, p, f0, saved, n,
                            m, problem, doses, tolerance,
                        )  # fmt: skip
                    if following >= patients:
                        park(l, Q, U, index, n)
                    following += 1
            refill = False
        take_step(step, ev, B, burden)
        turns += 1
        if turns % _POLL == 0 and control[0] != 0:
            return
        any_flag = 0.0
        for l in range(_L):
            any_flag += Q[q.FLAG * _L + l]
        if any_flag == 0.0 and not watch_extinction:
            continue
        # --- which lanes need attention, and which of them the interpolant with its extra stages
        flagged = 0
        few = 0
        for l in range(_L):
            flag = int(Q[q.FLAG * _L + l])
            falls = False
            if watch_extinction and Q[q.ACCEPTED * _L + l] == q.ACCEPTED_STEP:
                falls = may_die(l, Q, U, U_old, K, n, last, extinct)
            if index[l] >= 0 and (flag != 0 or falls):
                attention[flagged] = l
                flagged += 1
                if flag & (q.TURN | q.SAVE) or falls:
                    lanes[few] = l
                    few += 1
        if few > 0 and extra[0].size > 0:
            extra_stages(ev_few, small, lanes, few, W, Q, U_old, K, n, m, stages, extra)
        # --- look after each flagged lane
        again = False
        emptied = 0
        for k in range(flagged):
            l = attention[k]
            j = index[l]
            ends[l] = 1.0
            which[l] = -1
            restart[l] = False
            flag = int(Q[q.FLAG * _L + l])
            accepted = Q[q.ACCEPTED * _L + l] > 0.5
            h_stage = Q[q.H_USED * _L + l] if scaled_by_step else 1.0
            if watch_extinction and accepted:
                place, state = extinction_time(l, U, U_old, K, c, dense, h_stage, n, last, extinct, log)
                if state >= 0:
                    ends[l] = place
                    which[l] = state
            if flag == 0 and which[l] < 0:
                continue
            if burden >= 0 and (flag & q.TURN or which[l] >= 0):
                watch_burden(Q, K, dense, h_stage, burden, n, l, c, ends[l])
            if which[l] >= 0:
                # cut the step where the state dies out, and go on from there without it
                t_cut = Q[q.T_OLD * _L + l] + ends[l] * Q[q.H_USED * _L + l]
                if flag & q.SAVE:
                    save_until(
                        l, t_cut, False, Q, U, U_old, K, position, saved, j, c, dense, h_stage, n, times
                    )
                for i in range(n):
                    coefficients(c, K, dense, h_stage, i, n, l)
                    U[i * _L + l] = U_old[i * _L + l] + rise(c, dense.shape[1], ends[l])
                U[which[l] * _L + l] = LOG_ZERO if log[which[l]] else 0.0
                Q[q.T * _L + l] = t_cut
                if which[l] == burden:
                    cured[j] = True
                    Q[q.LOWEST * _L + l] = U[burden * _L + l]
                    Q[q.T_LOWEST * _L + l] = t_cut
                save_now(l, Q, U, position, saved, j, n, times)
                restart[l] = True
                again = True
                continue
            more = position[l, 0] < doses[1][j]
            if flag & q.SAVE:
                save_until(
                    l, Q[q.T * _L + l], not (flag & q.AT_STOP and more), Q, U, U_old, K, position, saved, j,
                    c, dense, h_stage, n, times,
                )  # fmt: skip
            done = -1
            if flag & q.AT_STOP:
                if more:
                    give_doses(l, W, Q, U, position, j, n, m, problem, doses, log)
                    save_now(l, Q, U, position, saved, j, n, times)
                    restart[l] = True
                    again = True
                    if Q[q.T * _L + l] >= t_end:
                        done = OK
                else:
                    done = OK
            elif flag & q.TROUBLE:
                done = diagnose(l, Q, W, K, U, n, m, log, limits)
            if done >= 0:
                if done == OK:
                    for i in range(n):
                        if not np.isfinite(U[i * _L + l]):
                            done = NON_FINITE
                finish(l, Q, U, W, j, done, n, problem, rows, final, codes, counts, reached)
                control[1] += 1
                restart[l] = False
                index[l] = EMPTY
                refill = True
                if following + emptied >= patients:
                    active -= 1
                emptied += 1
        if again:
            # one evaluation gives all restarted lanes their first stage
            for l in range(_L):
                for i in range(n):
                    W[i * _L + l] = U[i * _L + l]
                W[n * _L + l] = Q[q.T * _L + l]
            evaluate(ev, W)
            for k in range(flagged):
                l = attention[k]
                if restart[l]:
                    for i in range(n):
                        f = W[(2 * n + 1 + m + i) * _L + l]
                        K[i * _L + l] = f
                        du[i] = f
                        u[i] = U[i * _L + l]
                    Q[q.ACCEPTED * _L + l] = q.FRESH
                    Q[q.H * _L + l] = first_step(du, u, t_end, tolerance, n)
                    Q[q.ERROR_OLD * _L + l] = 1.0
                    Q[q.SINCE * _L + l] = 0.0
