"""The loop of the lane engine: keep all lanes busy, look after doses and events, refill at once.

Every lane has its own time and step, and takes the next patient the moment its own is done. What happens to
a patient does not depend on the others: the vector code treats every lane alike, and what is recorded does
not depend on when a step is looked at. The loop is compiled once for each set of features, for all models.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fastcart.solvers.compile import INNER
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.interpolate import rise_of
from fastcart.solvers.lanes.lane import (
    EMPTY,
    OK,
    diagnose,
    finish,
    give_doses,
    load,
    park,
    restart,
    save_now,
    start_block,
)
from fastcart.solvers.lanes.layout import LANES
from fastcart.solvers.lanes.look import AT_ONCE, GROUP, QUANTITY, QUIET, step_done, survey
from fastcart.solvers.lanes.pointer import claim, evaluate, take_step
from fastcart.solvers.lanes.quantities import (
    begin_items,
    cut_quantities,
    enqueue_quantities,
    finish_items,
    first_end,
    forget_turns,
    happened,
    load_items,
    look_inside,
    need_of,
)
from fastcart.solvers.lanes.queue import (
    LANE,
    NEED,
    PATIENT,
    SAVE_FROM,
    SAVE_TO,
    due,
    enqueue,
    extra_stages,
    polynomials,
    save_steps,
)
from fastcart.solvers.lanes.watch import FIRST, LAST, candidate, watch_burden
from fastcart.solvers.transform import LOG_ZERO

_L = LANES
_POLL = 64  # steps between looks at the request to stop

GOES_ON, CUT, ENDS = range(3)  # what a close look says of a lane


@njit(**INNER)
def cut_lane(l, t, end, B, places, U_old, C, degree, s, n):
    """Put a lane back to where its step ends early."""
    B[places[1] + q.T * _L + l] = t
    for i in range(n):
        B[places[2] + i * _L + l] = U_old[i * _L + s] + rise_of(C, i, degree, end)


@njit(**INNER)
def die_out(l, j, t, group, B, places, row, burden, n, groups, log, cured):
    """Set a group of states of a lane to zero."""
    for i in range(n):
        if groups[i] == group:
            zero = LOG_ZERO if log[i] else 0.0
            B[places[2] + i * _L + l] = zero
            if i == burden:
                cured[j] = True
                candidate(row, t, zero)
                if t == 0.0:  # it never grew
                    row[FIRST], row[LAST] = np.inf, -1.0


@njit(**INNER)
def look_closely(
    ev, first, stop, D, B, places, p, problem, log, method, watch, slots, position, C, room, rows, saved,
    cured, fate,
):  # fmt: skip
    """Look at the steps in slots ``first .. stop`` of ``D``, which are lanes where ``D`` is ``B`` itself.

    A step may turn out to end early, which ``fate`` tells its lane.
    """
    n, m = C.shape[0], p.shape[1]
    times, burden = problem[1], problem[2]
    stages, dense, degree, scaled_by_step, extra = method
    W, Q, K = D[: places[1]], D[places[1] : places[2]], D[places[4] : places[5]]
    U, U_old = D[places[2] : places[2] + n * _L], D[places[3] : places[3] + n * _L]
    if extra[0].size > 0:
        extra_stages(ev, W, Q, U_old, K, n, m, stages, extra)
    for s in range(first, stop):
        l, j = slots[s, LANE], slots[s, PATIENT]
        t, h = Q[q.T_OLD * _L + s], Q[q.H_USED * _L + s]
        need = slots[s, NEED]
        every = need > QUIET or slots[s, SAVE_FROM] < slots[s, SAVE_TO]
        states = (0, n) if every else (burden, burden + 1)
        polynomials(s, C, K, dense, degree, h if scaled_by_step else 1.0, n, states[0], states[1])
        end, item = 2.0, -1
        here, step = (s, t, h), (U_old, C, n, m, degree)
        if watch is not None and need > QUIET:
            one = watch[5]
            for k in range(m):
                one[n + 1 + k] = p[j, k]
            forget_turns(watch)
            if need == AT_ONCE:
                end, item = first_end(j, here, watch, step, p, room)
            look_inside(j, end, here, watch, step, p, room)
        if burden >= 0 and (int(Q[q.FLAG * _L + s]) & q.TURN or end <= 1.0):
            watch_burden(rows[j], Q, C, burden, degree, s, room, end)
        saved_to = save_steps(s, j, end, Q, U, U_old, C, degree, slots, saved, n, times)
        if end <= 1.0:
            cut_lane(l, t + end * h, end, B, places, U_old, C, degree, s, n)
            position[l, 1] = saved_to
            if watch is not None:
                group = watch[1][int(watch[2][item, QUANTITY]), GROUP]
                cut_quantities(l, end, here, watch, step)
                if group >= 0:
                    fate[l] = CUT
                    die_out(l, j, t + end * h, group, B, places, rows[j], burden, n, watch[3], log, cured)
                else:
                    fate[l] = ENDS
                    happened(watch[2], watch[8], watch[9], j, item, t + end * h)


def run_lanes(  # noqa: C901  one loop over lanes; splitting it would pass two dozen arrays around
    step, ev, B, D, places, u0, p, problem, doses, log, method, tolerance, limits, watch, rows, final, saved,
    codes, counts, reached, cured, control, index, position, slots, attention, fate, fresh, C, work, room, f0,
    blank,
):  # fmt: skip
    """Solve patients of ``u0`` until none is left; see `fastcart.solvers.lanes.engine` for the arguments."""
    patients, n = u0.shape
    m = p.shape[1]
    t_end, times, burden = problem[0], problem[1], problem[2]
    own = tolerance.shape[1]
    stages, dense, degree, scaled_by_step, extra = method
    size = n * _L
    W, Q, K = B[: places[1]], B[places[1] : places[2]], B[places[4] : places[5]]
    U = B[places[2] : places[2] + size]
    queues = extra[0].size > 0  # without extra stages a step is looked at where it is
    rows_used = places[4] // _L + stages * n
    last = (stages - 1) * size  # derivatives at the end of the step
    # blocks of patients are claimed from a counter that all threads share, so that all end at about one time
    following = claim(control[2:], _L)
    limit = min(following + _L, patients)
    filler = following
    if following < limit:
        start_block(ev, blank, u0, p, following, f0, n, m)
    active = 0
    turns = 0
    zero = patients - patients  # not the literal 0, for which numba would compile what takes it once more
    queued = zero
    refill = True
    begun = False
    # lanes may all be done in one turn, with blocks left: only a refill that finds no patient ends the loop
    working = following < limit
    while working:
        if refill:
            for l in range(_L):
                if index[l] == EMPTY:
                    if following == limit:
                        following = claim(control[2:], _L)
                        limit = min(following + _L, patients)
                        if following < limit:
                            start_block(ev, blank, u0, p, following, f0, n, m)
                        else:
                            following = limit
                    # a lane without a patient carries one of those before, so that its numbers stay ordinary
                    j = following if following < limit else filler
                    if following < limit or turns == 0:
                        load(
                            l, j, W, Q, U, K, index, position, u0, p, f0, rows, saved, n, m, problem, doses,
                            tolerance,
                        )  # fmt: skip
                        fresh[l] = 1
                        if watch is not None:
                            load_items(l, j, watch, p)
                    if following < limit:
                        following += 1
                        active += 1
                    else:
                        park(l, Q, U, index, n)
                        fresh[l] = 0
            refill = False
            begun = True
            if active == 0:
                break
        if begun:
            for l in range(_L):
                if watch is not None and fresh[l] > 0:
                    now = Q[q.T * _L + l]
                    if begin_items(l, index[l], fresh[l], now, watch, B, places, own):
                        Q[q.STOP * _L + l] = now  # a step of no length, and that was all
                        fate[l] = ENDS
                fresh[l] = 0
            begun = False
        take_step(step, ev, B, burden)
        turns += 1
        if turns % _POLL == 0 and control[0] != 0:
            return
        any_flag = 0.0
        for l in range(_L):
            any_flag += Q[q.FLAG * _L + l]
        if watch is not None:
            any_flag += survey(watch[0], watch[1], watch[2], watch[13], B, places, last, own, watch[3], log)
        if any_flag == 0.0:
            continue
        # --- which lanes need attention, and which of their steps a close look
        flagged = 0
        at_once = False
        for l in range(_L):
            flag = int(Q[q.FLAG * _L + l])
            need = QUIET
            if watch is not None:
                need = need_of(watch, l)
            j = index[l]
            if (flag == 0 and need == QUIET) or j < 0:
                continue
            close = flag & (q.TURN | q.SAVE) != 0 or need > QUIET
            now = need == AT_ONCE
            if watch is None and not queues and flag & (q.TURN | q.SAVE) == q.TURN:  # the most common case
                h_stage = Q[q.H_USED * _L + l] if scaled_by_step else 1.0
                polynomials(l, C, K, dense, degree, h_stage, n, burden, burden + 1)
                watch_burden(rows[j], Q, C, burden, degree, l, room, 2.0)
            elif close:
                if queued == _L:
                    look_closely(
                        ev, zero, queued, D, B, places, p, problem, log, method, watch, slots,
                        position, C, room, rows, saved, cured, fate,
                    )  # fmt: skip
                    queued = 0
                s = queued if queues else l
                slots[s, LANE] = l
                slots[s, PATIENT] = j
                slots[s, NEED] = int(need)
                dosed = flag & q.AT_STOP != 0 and position[l, 0] < doses[1][j]
                due(l, Q[q.T * _L + l], not dosed, Q, position, times, slots, s)
                if watch is not None and need > QUIET:
                    enqueue_quantities(l, s, watch, B, places)
                if queues:
                    enqueue(l, s, B, D, places, n, m, rows_used)
                    queued += 1
                    at_once = at_once or now
                else:
                    look_closely(
                        ev, l, l + 1, B, B, places, p, problem, log, method, watch, slots,
                        position, C, room, rows, saved, cured, fate,
                    )  # fmt: skip
            if watch is not None and need > QUIET and not now:
                step_done(l, Q[q.T * _L + l], watch[0], watch[1], watch[2])
            if flag & (q.AT_STOP | q.TROUBLE) or now:
                attention[flagged] = l
                flagged += 1
        if at_once:
            look_closely(
                ev, zero, queued, D, B, places, p, problem, log, method, watch, slots,
                position, C, room, rows, saved, cured, fate,
            )  # fmt: skip
            queued = 0
        # --- look after each flagged lane
        for k in range(flagged):
            l = attention[k]
            j = index[l]
            done = -1
            flag = int(Q[q.FLAG * _L + l])
            if fate[l] == ENDS:
                done = OK
            elif fate[l] == CUT:
                save_now(l, Q, U, position, saved, j, n, times)
                fresh[l] = 2
            else:
                if watch is not None and need_of(watch, l) == AT_ONCE:  # nothing came of it
                    step_done(l, Q[q.T * _L + l], watch[0], watch[1], watch[2])
                if flag & q.AT_STOP:
                    if position[l, 0] < doses[1][j]:
                        give_doses(l, W, Q, U, position, rows[j], j, n, m, problem, doses, log)
                        save_now(l, Q, U, position, saved, j, n, times)
                        fresh[l] = 2
                    # what a dose at the very horizon does is seen by one more step, of no length
                    if Q[q.T * _L + l] >= t_end and (watch is None or fresh[l] != 2):
                        done = OK
                elif flag & q.TROUBLE:
                    done = diagnose(l, Q, W, K, U, n, m, log, limits, tolerance)
            fate[l] = GOES_ON
            if done >= 0:
                finish(l, Q, U, j, done, n, burden, log, final, codes, counts, reached, cured)
                if watch is not None:
                    finish_items(l, j, watch)
                control[1] += 1
                fresh[l] = 0
                index[l] = EMPTY
                refill = True
                active -= 1
            begun = begun or fresh[l] == 2
        if begun:
            # one evaluation gives all restarted lanes their first stage
            for l in range(_L):
                for i in range(n):
                    W[i * _L + l] = U[i * _L + l]
                W[n * _L + l] = Q[q.T * _L + l]
            evaluate(ev, W)
            if watch is not None and queued > 0:  # what came before a jump is recorded before it
                look_closely(
                    ev, zero, queued, D, B, places, p, problem, log, method, watch, slots,
                    position, C, room, rows, saved, cured, fate,
                )  # fmt: skip
                queued = 0
            for k in range(flagged):
                if fresh[attention[k]] == 2:
                    restart(attention[k], W, Q, U, K, n, m, t_end, tolerance, work[0], work[1])
    if queued > 0:
        look_closely(
            ev, zero, queued, D, B, places, p, problem, log, method, watch, slots, position, C, room, rows,
            saved, cured, fate,
        )  # fmt: skip
