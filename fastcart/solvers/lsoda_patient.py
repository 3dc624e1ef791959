"""One patient with LSODA: from stop to stop, over doses, breaks and groups that die out.

What is asked for besides the states is looked for on each segment; see `fastcart.solvers.lsoda_watch`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fastcart.solvers.actions import (
    ADD,
    AT_ONCE_MOST,
    PENDING,
    acted,
    acts,
    delayed,
    earliest,
    leave_out,
    next_due,
    stop_before,
)
from fastcart.solvers.doses import BREAK, JUMP, PARAMETER, RATE, around_breaks, between
from fastcart.solvers.items import AT_START, DIES, JUMPED, begin, belongs, clear, happened, measure, settle
from fastcart.solvers.lanes.intrinsics import evaluate
from fastcart.solvers.lsoda_callback import (
    AROUND,
    BAD,
    BASE_T,
    BUDGET,
    CALLS,
    COUNTS,
    DERIVATIVES,
    FLAG,
    FLAG_BUDGET,
    FLAG_GAVE_UP,
    FLAG_NEGATIVE,
    FLAG_NO_ROOT,
    FLAG_NON_FINITE,
    FLAG_RAISED,
    FLAG_UNRESOLVED,
    GROWTH,
    GROWTH_BEFORE,
    HIGH,
    INTEGRALS,
    LAST_T,
    LOW,
    MAX_STEP,
    NODES,
    NOTED,
    PARAMETERS,
    RAISED,
    REFUSED,
    REFUSED_T,
    RISE,
    RTOL,
    STATES,
    STEPS,
    STUCK,
    SUM,
    SUM_BASE,
    SUMS,
    WIDTH,
    noted_as,
    places,
)
from fastcart.solvers.lsoda_looks import resolved
from fastcart.solvers.lsoda_system import (
    BARE,
    INSIDE,
    Nodes,
    ask,
    derivatives,
    integrate,
    measure_all,
    set_clock,
)
from fastcart.solvers.lsoda_watch import watch
from fastcart.solvers.status import FASTER, RISES
from fastcart.solvers.transform import LOG_ZERO, kept_share

_SHORTEST = 1e-12  # of the horizon: no segment is shorter


class Outputs(NamedTuple):
    """Times of output without doses, sorted; which of them are looks between the steps; the times to save."""

    grid: np.ndarray
    pair: np.ndarray
    save_at: np.ndarray


class Patient(NamedTuple):
    """Initial values as they are integrated, and the first and last of the entries of doses."""

    start: np.ndarray
    first: int
    stop: int


class Answer(NamedTuple):
    """Where the results of one patient go, as they are integrated."""

    burden: int
    final: np.ndarray
    saved: np.ndarray
    counts: np.ndarray  # steps, calls
    reached: np.ndarray  # one number
    cured: np.ndarray  # one


class Room(NamedTuple):
    """Scratch: outputs of a segment with what is measured there, and of one point values and slopes."""

    times: np.ndarray
    looked: np.ndarray
    out: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    here: np.ndarray
    pending: np.ndarray  # times and items of actions that wait
    waiting: np.ndarray  # how many there are, one number


@njit(**BARE)
def add_amount(i, amount, u, system):
    """Add an amount to a state; more than there is of what may not be negative is noted as a failure."""
    log, scale, before = system.log[i], system.scale[i], u[i]
    if amount < 0.0 and (log or system.counted[i]):
        y = u[i] * scale
        if log:
            y = np.exp(u[i]) if u[i] != LOG_ZERO else 0.0
        if y + amount < -system.rtol * (y if log else scale + abs(y)):
            system.data[system.control + FLAG] = FLAG_NEGATIVE
        amount = max(amount, -y) if log else amount
    if log:
        y = (np.exp(u[i]) if u[i] != LOG_ZERO else 0.0) + amount
        u[i] = np.log(y) if y > 0.0 else LOG_ZERO
    else:
        u[i] += amount / scale
    if i < system.differentiated:
        share = kept_share(before, u[i], log, 1.0)
        for k in range(1, 1 + system.directions):
            u[i + k * system.differentiated] *= share


@njit(**BARE)
def give_doses(entries, k, stop, now, u, system):
    """Apply the entries from ``k`` that are due now; return the next one."""
    _, _, time, state, kind, value = entries
    rates = system.control + places(u.size, system.noted, (system.notes - system.sums) // SUMS).rates
    while k < stop and time[k] <= now:
        i = state[k]
        if kind[k] == RATE:
            system.data[rates + i] = value[k]
        elif kind[k] == JUMP:
            add_amount(i, value[k], u, system)
        elif kind[k] == PARAMETER:
            system.data[i] = value[k]
        elif kind[k] != BREAK:  # from nothing to the value
            u[i] = LOG_ZERO if system.log[i] else 0.0
            add_amount(i, value[k], u, system)
        k += 1
    return k


@njit(**INSIDE)
def put_on_manifold(system, now, u):
    """Solve for the algebraic variables where the states jumped to; no solution is noted as a failure."""
    if system.settler == 0:
        return
    row, n, m = system.row, u.size, system.control - u.size
    for i in range(n):
        row[i] = u[i] * system.scale[i]
        if system.log[i]:
            row[i] = np.exp(u[i]) if u[i] != LOG_ZERO else 0.0
    row[n] = now
    row[n + 1 : n + 1 + m] = system.data[:m]
    evaluate(system.settler, row)
    for i in system.solved:
        u[i] = row[i] / system.scale[i]
        if system.log[i]:
            u[i] = np.log(row[i]) if row[i] > 0.0 else LOG_ZERO
    if row[system.status] != 0.0 and system.data[system.control + FLAG] == 0.0:
        system.data[system.control + FLAG] = FLAG_NO_ROOT


@njit(**BARE)
def act(item, u, system):
    """Change the states as an item asks for."""
    actions = system.watched.actions
    for k in range(actions.first[item], actions.first[item + 1]):
        i, value = actions.state[k], actions.value[k]
        if actions.parameter[k] >= 0:
            value = system.data[actions.parameter[k]]
        if actions.kind[k] == ADD:
            add_amount(i, value, u, system)
            continue
        y = u[i] * system.scale[i]
        if system.log[i]:
            y = np.exp(u[i]) if u[i] != LOG_ZERO else 0.0
        u[i] = LOG_ZERO if system.log[i] else 0.0
        add_amount(i, acted(actions.kind[k], y, value), u, system)


@njit(**BARE)
def fire(item, now, u, system, room):
    """Let an item that happened act, at once or later."""
    actions = system.watched.actions
    if not delayed(actions, item):
        act(item, u, system)
        return
    wait = actions.delay[item]
    if actions.delay_of[item] >= 0:
        wait = system.data[actions.delay_of[item]]
    x = room.waiting[0]
    if not wait >= 0.0:
        system.data[system.control + FLAG] = FLAG_GAVE_UP
    elif x == PENDING:
        system.data[system.control + FLAG] = FLAG_BUDGET
    else:
        room.pending[0, x], room.pending[1, x] = now + wait, item
        room.waiting[0] = x + 1


@njit(**BARE)
def act_due(now, u, system, room):
    """Let act what waited for this time; return whether anything did."""
    any_due = False
    while True:
        x = next_due(system.watched.actions, room.pending, room.waiting[0], now)
        if x < 0:
            return any_due
        item = int(room.pending[1, x])
        leave_out(room.pending, room.waiting[0], x)
        room.waiting[0] -= 1
        act(item, u, system)
        any_due = True


@njit(**BARE)
def output_times(outputs, g, now, end, room):
    """Fill in now, the grid in between, and the end; return their number and the next place in the grid."""
    times, looked = room.times, room.looked
    times[0] = now
    looked[0] = False
    size = 1
    first = now if now == 0.0 else now + _SHORTEST * outputs.grid[-1]  # LSODA takes no step that short
    while outputs.grid[g] < end:
        if outputs.grid[g] > first:
            times[size] = outputs.grid[g]
            looked[size] = outputs.pair[g]
            size += 1
        g += 1
    times[size] = end
    looked[size] = False
    return size + 1, g


@njit(**INSIDE)
def keep_saved(saved, s, save_at, times, out):
    """Keep the states at times to save, from the one numbered ``s``; return the next number."""
    for i in range(times.size):
        while s < save_at.size and save_at[s] == times[i]:
            saved[s] = out[i]
            s += 1
    return s


@njit(**INSIDE)
def keep_near(saved, s, save_at, now, t_end, u):
    """Keep the state for times to save that follow a stop nearer than LSODA can step; return the next one."""
    while now > 0.0 and s < save_at.size and save_at[s] <= now + _SHORTEST * t_end and save_at[s] < t_end:
        saved[s] = u
        s += 1
    return s


@njit(**INSIDE)
def save_again(saved, s, save_at, since, u):
    """Give what was saved at this moment, of the times before the one numbered ``s``, the present state."""
    while s > 0 and save_at[s - 1] >= since:
        s -= 1
        saved[s] = u


@njit(**BARE)
def describe(system, n, m):
    """Tell the right-hand side what it is given; see `fastcart.solvers.lsoda_callback`."""
    data, control = system.data, system.control
    integrals = (system.notes - system.sums) // SUMS
    data[control + DERIVATIVES] = system.derivatives
    data[control + STATES], data[control + PARAMETERS] = n, m
    data[control + INTEGRALS], data[control + NOTED] = integrals, system.noted
    data[control + WIDTH] = system.width
    at = places(n, system.noted, integrals)
    for i in range(n):
        data[control + at.log + i] = system.log[i]
        data[control + at.counted + i] = system.counted[i]
        data[control + COUNTS] += system.counted[i]
        data[control + at.groups + i] = system.watched.groups[i]
    for k in range(system.noted):
        quantity = system.watched.quantities[k]
        data[control + at.noting + k] = noted_as(quantity.state, quantity.group)


@njit(**INSIDE)
def prepare(system, p, max_step, max_steps):
    """Fill in the data of the right-hand side for one patient, at the start."""
    data, control, m = system.data, system.control, p.size
    data[:m] = p
    data[m:control] = system.scale
    data[control : system.notes] = 0.0
    data[control + REFUSED_T] = -1.0
    data[control + BUDGET] = 4.0 * max_steps  # LSODA makes about two calls a step, more if stiff
    data[control + RTOL] = system.rtol
    data[control + MAX_STEP] = max_step * (1.0 + 1e-9)
    describe(system, control - m, m)


@njit(**BARE)
def blows_up(system):
    """Whether a patient that failed was on the way to infinity: shorter and shorter steps, faster growth."""
    data, control = system.data, system.control
    rises = data[control + RISE] > RISES
    return rises and data[control + GROWTH] > FASTER * data[control + GROWTH_BEFORE]


@njit(**BARE)
def start_segment(system, now, end, inner, u, du):
    """Set the clock of a segment, evaluate its first derivatives, and return what is wrong with them.

    ``inner`` says whether it ends before the horizon, or at a break there.
    """
    data, control = system.data, system.control
    set_clock(system, now)
    data[control + LOW], data[control + HIGH] = between(now, end, inner, data[control + AROUND])
    data[control + NODES] = data[control + REFUSED_T] = -1.0
    for s in range(system.sums, system.notes, SUMS):
        data[s + SUM_BASE] = data[s + SUM]
    ask(system, now, u, du)
    if data[control + REFUSED] != 0.0:
        return FLAG_NEGATIVE
    while data[control + FLAG] == 0.0 and (data[control + BAD] != 0.0 or data[control + RAISED] != 0.0):
        data[control + STUCK] = 0.0
        ask(system, now, u, du)  # until it says why
    if system.width > 0:
        note = data[system.notes : system.notes + system.width]
        note[0] = now
        for k in range(system.noted):
            note[1 + 2 * k], note[2 + 2 * k] = measure(system.watched, k, u, du, system.log, system.scale)
        data[control + NODES] = 1.0
    return data[control + FLAG]


@njit(**INSIDE)
def stop_noting(system):
    """Return the notes of steps, and how many there are; no more are added."""
    count = max(int(system.data[system.control + NODES]), 0)
    system.data[system.control + NODES] = -1.0
    return system.data[system.notes :].reshape((-1, system.width)), count


@njit(**INSIDE)
def examine(system, room, size, record, ending, held=np.inf):
    """Look at a segment: for an end of the integration, or between the steps and for all other items.

    Ends from the time ``held`` on are left to the look behind the stop at the end.

    Returns
    -------
    flag : float
        What is wrong, or 0.
    when, item : float, int
        From `fastcart.solvers.lsoda_watch.watch`.
    """
    data, control = system.data, system.control
    notes, count = stop_noting(system)
    times, out = room.times[:size], room.out[:size]
    kept = data[system.sums : system.notes].copy()
    calls, budget = data[control + CALLS], data[control + BUDGET]
    data[control + BUDGET] = np.inf  # the budget is LSODA's
    flag, when, item = 0.0, np.inf, -1
    if not ending and system.timed and not resolved(system, notes, count, times, out, room.looked):
        flag = FLAG_UNRESOLVED
    else:
        outputs = Nodes(times, out, room.values[:size], room.slopes[:size])
        when, item = watch(system, notes, count, outputs, record, ending, held)
    data[system.sums : system.notes] = kept
    data[control + BUDGET] = budget + data[control + CALLS] - calls
    data[control + NODES] = count
    # what is located with derivatives turned to zero is not there
    return max(flag, data[control + FLAG]), when, item


@njit(**INSIDE)
def run(system, u, room, size):
    """Integrate a segment; return 0 or what went wrong."""
    data, control = system.data, system.control
    done = integrate(system, u, room.times[:size], room.out[:size])
    if data[control + FLAG] != 0.0:
        return data[control + FLAG]
    if data[control + RAISED] != 0.0:
        return FLAG_RAISED
    if done and data[control + BAD] != 0.0:  # LSODA went on with the number that stands in for infinity
        return FLAG_NON_FINITE
    if done and data[control + LAST_T] < room.times[size - 1] * (1.0 - _SHORTEST):
        return FLAG_GAVE_UP  # it says so too where derivatives are so large that it takes no step at all
    return 0.0 if done else FLAG_GAVE_UP


@njit(**INSIDE)
def run_again(system, outputs, g, now, end, u, room, sums):
    """Integrate a segment once more, to an earlier end; return what went wrong, number of outputs, ``g``."""
    data, control = system.data, system.control
    data[system.sums : system.notes] = sums
    for word in (FLAG, BAD, RAISED, REFUSED):
        data[control + word] = 0.0
    size, g = output_times(outputs, g, now, end, room)
    flag = start_segment(system, now, end, True, u, room.out[0])
    if flag == 0.0:
        flag = run(system, u, room, size)
    return flag, size, g


@njit(**INSIDE)
def advance(system, outputs, g, now, stop, u, record, room):
    """Go to the next stop, or to where an item ends the integration before it.

    ``stop`` is its time, and from when on what happens belongs to its moment, infinite at the horizon.

    Such an end is located first, and the segment integrated once more up to there. A patient whose
    integration fails behind such an end has not failed.

    Returns
    -------
    flag : float
        What went wrong, or 0.
    size, g : int
        Number of outputs, next place in the grid.
    end : float
    item : int
        That ends the integration there, or -1.
    """
    start, item = g, -1
    end, held = stop
    sums = system.data[system.sums : system.notes].copy()
    size, g = output_times(outputs, start, now, end, room)
    flag = run(system, u, room, size)
    if system.ends:
        trouble = flag
        if trouble != 0.0:
            notes, count = stop_noting(system)
            end = min(end, notes[count - 2, 0]) if count > 2 else now  # the last of them was not accepted
            if not end > now:
                return trouble, size, g, end, item
            flag, size, g = run_again(system, outputs, start, now, end, u, room, sums)
        when = np.inf
        if flag == 0.0:
            flag, when, item = examine(system, room, size, record, True, held)
        if trouble != 0.0 and item < 0:
            return trouble, size, g, end, item
        if flag == 0.0 and when < end:
            end = min(end, max(when, now + _SHORTEST * outputs.grid[-1]))
            flag, size, g = run_again(system, outputs, start, now, end, u, room, sums)
    if flag == 0.0 and system.width > 0:
        flag, _, _ = examine(system, room, size, record, False)
    return flag, size, g, end, item


@njit(**BARE)
def die_out(system, u, item, answer):
    """Set a group of states to zero."""
    for i in range(u.size):
        if belongs(system.watched, system.watched.items[item].quantity, i):
            u[i] = LOG_ZERO if system.log[i] else 0.0
            if i == answer.burden:
                answer.cured[0] = True


@njit(**INSIDE)
def conclude(system, answer, u, now, s, over):
    """Write the results of a patient, from the ``s``-th time to save on."""
    for k in range(s, answer.saved.shape[0]):
        for i in range(u.size):
            answer.saved[k, i] = np.nan if over else u[i]
    answer.final[:] = u
    answer.counts[0] += int(system.data[system.control + STEPS])
    answer.counts[1] += int(system.data[system.control + CALLS])
    answer.reached[0] = now
    b = answer.burden
    if b >= 0:  # what died out may have been seeded again
        answer.cured[0] = answer.cured[0] and u[b] == (LOG_ZERO if system.log[b] else 0.0)


@njit(**BARE)
def came_to(system, now, flag):
    """Return how far the integration came, behind the last stop where it failed."""
    if flag == 0.0:
        return now
    return max(now, min(system.data[system.control + BASE_T], system.data[system.control + HIGH]))


@njit(**BARE)
def stand(system, record, now, end, inner, u, room, fired):
    """Record what holds at the start of a segment; return what is wrong, and the item that ends it there."""
    flag = start_segment(system, now, end, inner, u, room.out[0])
    if not now < end:  # the end has been reached, whatever comes behind
        flag = system.data[system.control + FLAG] = 0.0
    item = -1
    if flag == 0.0:
        measure_all(system, u, room.out[0], room.here[0], room.here[1])
        item = begin(record, system.watched, room.here[0], now, fired)
    return flag, item


@njit(**BARE)
def next_stop(entries, k, stop, now, t_end, room, actions):
    """Return the next stop: a dose, an action that waits, or the horizon; and whether another follows.

    The third number is from when on what happens belongs to the moment of the stop, infinite at the horizon.
    """
    end = entries[2][k] if k < stop else t_end
    inner = k < stop and (end < t_end or entries[4][k] == BREAK)
    due = stop_before(actions, room.pending, room.waiting[0], end)
    if due < end:
        return max(due, now + _SHORTEST * t_end), True, due - actions.moment
    waits = k < stop or earliest(room.pending, room.waiting[0]) <= end
    return end, inner, end - actions.moment if waits else np.inf


@njit(**BARE)
def is_over(system, item):
    """Whether an item ends the integration for good."""
    return item >= 0 and system.watched.items[item].kind != DIES and not acts(system.watched.actions, item)


@njit(**BARE)
def happen(system, u, item, now, answer, room):
    """Let an item change the states that ends the integration; return what came before the next."""
    if system.watched.items[item].kind == DIES:
        die_out(system, u, item, answer)
        return JUMPED
    fire(item, now, u, system, room)
    return item


@njit(**INSIDE)
def attempt(system, outputs, entries, patient, record, room, answer):
    """Solve one patient from stop to stop; return 0 or what went wrong."""
    u = patient.start.copy()
    clear(record, system.watched, u, system.data, system.log, system.scale)
    answer.cured[0] = False
    k, stop, time = patient.first, patient.stop, entries[2]
    system.data[system.control + AROUND] = around_breaks(entries[4][k:stop], entries[5][k:stop])
    now, t_end = 0.0, outputs.grid[-1]
    g = s = 0
    item, fired, chained = -1, AT_START, 0
    room.waiting[0] = 0
    while True:
        stays = item >= 0 or (k < stop and time[k] <= now)  # something changes at this very time
        k = give_doses(entries, k, stop, now, u, system)
        acted = act_due(now, u, system, room) or item >= 0
        stays = acted or stays
        if stays:
            put_on_manifold(system, now, u)
        if acted:
            save_again(answer.saved, s, outputs.save_at, now - system.watched.actions.moment, u)
        flag = system.data[system.control + FLAG]
        if flag != 0.0 or (now >= t_end and not stays):
            break
        end, inner, held = next_stop(entries, k, stop, now, t_end, room, system.watched.actions)
        flag, item = stand(system, record, now, end, inner, u, room, fired)
        fired = JUMPED
        chained = chained + 1 if item >= 0 else 0
        if flag == 0.0 and item < 0 and now < t_end:
            s = keep_near(answer.saved, s, outputs.save_at, now, t_end, u)
            flag, size, g, end, item = advance(system, outputs, g, now, (end, held), u, record, room)
            if flag == 0.0:
                # without the end: what is saved at a dose is the state after it
                s = keep_saved(answer.saved, s, outputs.save_at, room.times[: size - 1], room.out)
                u[:] = room.out[size - 1]
                now = end
                if item >= 0:
                    arrive(system, record, now, u, item, room)
        elif item >= 0:  # at the time of a dose, which is saved where no group dies out there as well
            room.times[0], room.out[0, :] = now, u
            if is_over(system, item):
                s = keep_saved(answer.saved, s, outputs.save_at, room.times[:1], room.out)
        flag = FLAG_BUDGET if chained > AT_ONCE_MOST else flag
        if flag != 0.0 or is_over(system, item):
            break
        if item >= 0:
            fired = happen(system, u, item, now, answer, room)
    conclude(system, answer, u, came_to(system, now, flag), s, flag == 0.0 and item >= 0)
    return flag


@njit(**BARE)
def arrive(system, record, now, u, item, room):
    """Record that an item ends the integration, and how the others stand there."""
    derivatives(system, now, u, room.out[0])
    measure_all(system, u, room.out[0], room.here[0], room.here[1])
    settle(record, system.watched, room.here[0], now)
    if system.watched.items[item].kind != DIES:
        happened(record, system.watched.items, item, now)
