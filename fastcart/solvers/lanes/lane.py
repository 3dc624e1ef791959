"""What happens to a single lane between steps: a patient comes, gets doses, is done."""

from __future__ import annotations

import numpy as np
from numba import njit

from fastcart.solvers.actions import (
    ADD,
    PENDING,
    acted,
    delayed,
    earliest,
    leave_out,
    next_due,
    stop_before,
)
from fastcart.solvers.compile import INLINED
from fastcart.solvers.doses import AROUND_BREAK, BREAK, JUMP, PARAMETER, RATE
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.event_recording import record_burden
from fastcart.solvers.lanes.intrinsics import evaluate
from fastcart.solvers.lanes.layout import LANES, evaluation_rows
from fastcart.solvers.lanes.records import IDLE
from fastcart.solvers.lanes.step_explicit import RESOLVED
from fastcart.solvers.status import RISES
from fastcart.solvers.transform import LOG_ZERO, kept_share

(
    OK, MAX_STEPS, NON_FINITE, STEP_TOO_SMALL, LOG_INFLOW, SOLVER_ERROR, NOT_RUN, NEGATIVE, RHS_ERROR,
    BLOW_UP, NO_STEADY_STATE, NO_ROOT,
) = range(12)  # fmt: skip
ON_ITS_WAY = -1  # no trouble yet
_HAIR = 1e-12  # of the horizon
# The first step where something is integrated: of the horizon, and of the time to the next stop
_GLANCE, _NOT_ALL = 0.01, 0.15

_ACCELERATES = 1 + 1e-6


@njit(**INLINED)
def first_step(slopes, u, left, task):
    """A cautious first step: a twentieth of the time in which a state changes by itself.

    Hairer, Norsett & Wanner II.4, steps a and b of the automatic choice, with a larger factor: smaller first
    steps only take one step more to grow. The controller does the rest. Integrals do not count: they begin at
    zero and have no time of their own. But what is integrated may be faster than the states: a first step
    over all of its waves could by chance meet it where they look like none, and would be the only one. So
    could steps from dose to dose, each over the same number of waves; ``left`` is the time to the next.
    """
    d0 = 0.0
    d1 = 0.0
    for i in range(task.absolute.size):
        scale = task.absolute[i] + task.relative[i] * abs(u[i])
        d0 += (u[i] / scale) ** 2
        d1 += (slopes[i] / scale) ** 2
    if d0 < 1e-10 or d1 < 1e-10 or not np.isfinite(d1):
        h = 1e-6
    else:
        h = 0.05 * np.sqrt(d0 / d1)
    if u.size > task.absolute.size:
        h = min(h, _GLANCE * task.t_end)
        h = min(h, _NOT_ALL * left) if left > 0.0 else h
    return min(h, task.t_end)


@njit(**INLINED)
def start_slopes(first, patients, rhs, buffer):
    """Derivatives at the start of up to `LANES` patients at once."""
    u0, p = patients.u0, patients.p
    n, m = u0.shape[1], p.shape[1]
    rows = evaluation_rows(n, m)
    count = min(LANES, u0.shape[0] - first)
    for l in range(LANES):
        j = first + min(l, count - 1)
        for i in range(n):
            buffer[i, l] = u0[j, i]
        buffer[rows.time, l] = 0.0
        for k in range(m):
            buffer[rows.parameters + k, l] = p[j, k]
    evaluate(rhs, buffer)
    for l in range(count):
        for i in range(n):
            patients.slopes[first + l, i] = buffer[rows.derivatives + i, l]


@njit(**INLINED)
def load(l, j, task, patients, watch, work, out):
    """Put patient ``j`` into lane ``l``."""
    steps, numbers, u0, slopes = work.steps, work.steps.numbers, patients.u0, patients.slopes
    work.lanes[l].patient = j
    work.lanes[l].fired = -1
    work.lanes[l].waiting = 0
    for i in range(u0.shape[1]):
        steps.u[i, l] = u0[j, i]
        steps.stages[0, i, l] = slopes[j, i]
        work.evaluation.inflow[i, l] = 0.0
    for k in range(patients.p.shape[1]):
        work.evaluation.parameters[k, l] = patients.p[j, k]
    work.evaluation.raised[l] = 0.0
    work.unsure[:, :, l] = 0.0
    for row in range(q.Q_ROWS):
        numbers[row, l] = 0.0
    _stop_at_next_dose(l, patients.doses.begin[j], j, task, patients.doses, watch, work)
    _load_saves(l, j, patients, work, out.saved)
    numbers[q.ACCEPTED, l] = q.FRESH
    numbers[q.H, l] = first_step(slopes[j], u0[j], numbers[q.STOP, l], task)
    if task.burden >= 0:
        numbers[q.LEVEL, l] = u0[j, task.burden]
        record_burden(watch, j, 0.0, u0[j, task.burden], slopes[j, task.burden] > 0.0)


@njit(**INLINED)
def _stop_at_next_dose(l, k, j, task, doses, watch, work):
    """Let entry ``k`` be the next of a patient, or none, unless an action is due before."""
    work.lanes[l].next_dose = k
    stop = doses.time[k] if k < doses.end[j] else task.t_end
    waiting = work.lanes[l].waiting
    work.steps.numbers[q.STOP, l] = stop_before(watch.actions, work.pending[l], waiting, stop)


@njit(**INLINED)
def is_due(l, j, doses, work):
    """Whether a dose or an action stops a lane where it stands."""
    lane = work.lanes[l]
    return (
        lane.next_dose < doses.end[j] or earliest(work.pending[l], lane.waiting) <= work.steps.numbers[q.T, l]
    )


@njit(**INLINED)
def held_from(l, j, doses, watch, work):
    """From when on the step of a lane belongs to the moment of a stop at its end; infinite for none."""
    numbers = work.steps.numbers
    if int(numbers[q.FLAG, l]) & q.AT_STOP != 0 and is_due(l, j, doses, work):
        return numbers[q.T, l] - watch.actions.moment
    return np.inf


@njit(**INLINED)
def save_next(l, k, j, saves, work):
    """Let time ``k`` be the next to save of patient ``j``, or none."""
    work.lanes[l].next_save = k
    work.steps.numbers[q.NEXT_SAVE, l] = saves.times[k] if k < saves.end[j] else np.inf


@njit(**INLINED)
def _load_saves(l, j, patients, work, saved):
    """Begin to save a patient, whose start may be among the times."""
    saves = patients.saves
    k = saves.begin[j]
    if k < saves.end[j] and saves.times[k] == 0.0:
        for c in range(saves.states.size):
            saved[c, k + saves.shift[j]] = patients.u0[j, saves.states[c]]
        k += 1
    save_next(l, k, j, saves, work)


@njit(**INLINED)
def save_now(l, j, saves, work, saved):
    """Save the present state where a time to save is now (after a dose)."""
    k, u = work.lanes[l].next_save, work.steps.u
    while k < saves.end[j] and saves.times[k] <= work.steps.numbers[q.T, l]:
        for c in range(saves.states.size):
            saved[c, k + saves.shift[j]] = u[saves.states[c], l]
        k += 1
    save_next(l, k, j, saves, work)


@njit(**INLINED)
def save_nothing(l, j, saves, work, saved):
    """Mark the times that a patient did not reach."""
    for k in range(work.lanes[l].next_save, saves.end[j]):
        for c in range(saves.states.size):
            saved[c, k + saves.shift[j]] = np.nan


@njit(**INLINED)
def save_again(l, j, saves, watch, work, saved):
    """Save the present state in the place of what was just saved at this moment, a break in it or not."""
    k, now = work.lanes[l].next_save, work.steps.numbers[q.T, l]
    now -= max(AROUND_BREAK * now, watch.actions.moment)
    while k > saves.begin[j] and saves.times[k - 1] >= now:
        k -= 1
    save_next(l, k, j, saves, work)
    save_now(l, j, saves, work, saved)


@njit(**INLINED)
def _give(l, u, i, amount, task):
    """Add an amount to a state; sensitivities go on, in the size of what is there now."""
    before = u[i, l]
    if not task.log[i]:
        u[i, l] += amount
    elif amount != 0.0:
        y = np.exp(u[i, l]) if u[i, l] != LOG_ZERO else 0.0
        u[i, l] = np.log(y + amount) if y + amount > 0.0 else LOG_ZERO
    if i < task.differentiated and amount != 0.0:
        share = kept_share(before, u[i, l], task.log[i], task.absolute[i] / task.relative[i])
        for k in range(1, 1 + task.directions):
            u[i + k * task.differentiated, l] *= share


@njit(**INLINED)
def _lacks(l, u, i, amount, task):
    """Whether more is removed than there is of what may not be negative, the tolerance aside."""
    if amount >= 0.0 or not (task.log[i] or task.nonnegative[i]):
        return False
    if task.log[i]:
        y = np.exp(u[i, l]) if u[i, l] != LOG_ZERO else 0.0
        return y + amount < -task.relative[i] * y
    return u[i, l] + amount < -(task.absolute[i] + task.relative[i] * abs(u[i, l]))


@njit(**INLINED)
def _any_break(k, end, now, doses):
    """Whether one of the entries from ``k`` on that are due is a break."""
    while k < end and doses.time[k] <= now:
        if doses.kind[k] == BREAK:
            return True
        k += 1
    return False


@njit(**INLINED)
def give_doses(l, j, task, doses, watch, work):
    """Apply all entries of this time, and set the next stop; return whether more is removed than there is."""
    steps, numbers = work.steps, work.steps.numbers
    now, level, burden = numbers[q.T, l], numbers[q.LEVEL, l], task.burden
    was_above = False
    if burden >= 0:  # the value just before a dose may be the nadir, without a turning point
        record_burden(watch, j, now, steps.u[burden, l], False)
        was_above = steps.u[burden, l] > level
    k, lacks = work.lanes[l].next_dose, False
    if _any_break(k, doses.end[j], now, doses):
        find_slopes_at_end(l, now, task, work)
    while k < doses.end[j] and doses.time[k] <= now:
        if doses.kind[k] == JUMP:
            lacks = lacks or _lacks(l, steps.u, doses.state[k], doses.value[k], task)
        now = _give_dose(l, k, now, task, work, doses)
        k += 1
    lacks = _act_due(l, now, task, watch, work) or lacks
    numbers[q.T, l] = now
    _stop_at_next_dose(l, k, j, task, doses, watch, work)
    if burden >= 0:
        record_burden(watch, j, now, steps.u[burden, l], not was_above and steps.u[burden, l] > level)
    return lacks


@njit(**INLINED)
def find_slopes_at_end(l, t, task, work):
    """Evaluate the right-hand side where the step of a lane ended, at ``t``, if the step itself did not."""
    if task.later == 0:
        return
    steps, evaluation = work.steps, work.evaluation
    evaluation.time[l] = t
    evaluate(task.later, evaluation.buffer)
    for i in range(task.absolute.size):
        steps.stages[task.last, i, l] = evaluation.derivatives[i, l]


@njit(**INLINED)
def _pass_break(l, now, behind, task, work):
    """Go to the other side of a break, where the right-hand side is another.

    What happens meanwhile is much of a very short pulse: up to the break by the derivatives before it, and
    then by those behind, once they are known.
    """
    steps, numbers = work.steps, work.steps.numbers
    middle = behind if behind == task.t_end else 0.5 * (now + behind)
    if numbers[q.ACCEPTED, l] == q.ACCEPTED_STEP:
        for i in range(steps.u.shape[0]):
            if not (task.log[i] and steps.u[i, l] == LOG_ZERO):
                steps.u[i, l] += steps.stages[task.last, i, l] * (middle - now)
        numbers[q.ACCEPTED, l] = q.FRESH  # of another break at this place these derivatives know nothing
    numbers[q.BEHIND, l] += behind - middle
    return behind


@njit(**INLINED)
def _give_dose(l, k, now, task, work, doses):
    """Apply one entry; return the time, which a break moves to its other side."""
    u, inflow, i, value = work.steps.u, work.evaluation.inflow, doses.state[k], doses.value[k]
    if doses.kind[k] == BREAK:
        return _pass_break(l, now, value, task, work)
    if doses.kind[k] == RATE:
        inflow[i, l] = value
    elif doses.kind[k] == JUMP:
        _give(l, u, i, value, task)
    elif doses.kind[k] == PARAMETER:
        work.evaluation.parameters[i, l] = value
    else:  # from nothing to the value
        u[i, l] = LOG_ZERO if task.log[i] else 0.0
        _give(l, u, i, value, task)
    return now


@njit(**INLINED)
def _act(l, item, task, watch, work):
    """Change the states as an item asks for; return whether more is removed than there is."""
    actions, u, lacks = watch.actions, work.steps.u, False
    for k in range(actions.first[item], actions.first[item + 1]):
        i, value = actions.state[k], actions.value[k]
        if actions.parameter[k] >= 0:
            value = work.evaluation.parameters[actions.parameter[k], l]
        if actions.kind[k] != ADD:
            y = u[i, l]
            if task.log[i]:
                y = np.exp(u[i, l]) if u[i, l] != LOG_ZERO else 0.0
            value = acted(actions.kind[k], y, value)
            u[i, l] = LOG_ZERO if task.log[i] else 0.0
        lacks = lacks or _lacks(l, u, i, value, task)
        _give(l, u, i, value, task)
    return lacks


@njit(**INLINED)
def _act_due(l, now, task, watch, work):
    """Let act what waited for this time; return whether more is removed than there is."""
    lane, pending, lacks = work.lanes[l], work.pending[l], False
    x = next_due(watch.actions, pending, lane.waiting, now)
    while x >= 0:
        item = int(pending[1, x])
        leave_out(pending, lane.waiting, x)
        lane.waiting -= 1
        lacks = _act(l, item, task, watch, work) or lacks
        x = next_due(watch.actions, pending, lane.waiting, now)
    return lacks


@njit(**INLINED)
def fire(l, j, task, doses, watch, work):
    """Let the item that happened act, at once or later; return the status of who cannot go on, or -1."""
    lane, numbers, burden = work.lanes[l], work.steps.numbers, task.burden
    item, now = lane.fired, numbers[q.T, l]
    if numbers[q.STEPS, l] + numbers[q.REJECTED, l] >= task.max_steps:
        return MAX_STEPS
    if delayed(watch.actions, item):
        of = watch.actions.delay_of[item]
        wait = work.evaluation.parameters[of, l] if of >= 0 else watch.actions.delay[item]
        if not wait >= 0.0:
            return SOLVER_ERROR
        if lane.waiting == PENDING:
            return MAX_STEPS
        work.pending[l, 0, lane.waiting] = now + wait
        work.pending[l, 1, lane.waiting] = item
        lane.waiting += 1
    else:
        was_above = burden >= 0 and work.steps.u[burden, l] > numbers[q.LEVEL, l]
        if _act(l, item, task, watch, work):
            return NEGATIVE
        if burden >= 0:
            value = work.steps.u[burden, l]
            record_burden(watch, j, now, value, not was_above and value > numbers[q.LEVEL, l])
    _stop_at_next_dose(l, lane.next_dose, j, task, doses, watch, work)
    return -1


@njit(**INLINED)
def finish(l, j, status, task, work, out):
    """Write the results of a lane's patient."""
    u, numbers, burden = work.steps.u, work.steps.numbers, task.burden
    for i in range(u.shape[0]):
        out.final[j, i] = u[i, l]
        if status == OK and not np.isfinite(u[i, l]):
            status = NON_FINITE
    if status == OK and _unsure(l, task, work):
        status = STEP_TOO_SMALL
    out.status[j] = status
    out.counts[j, 0] = int(numbers[q.STEPS, l])
    out.counts[j, 1] = int(numbers[q.REJECTED, l])
    out.reached[j] = numbers[q.T, l]
    if burden >= 0:  # what died out may have been seeded again
        out.cured[j] = out.cured[j] and u[burden, l] == (LOG_ZERO if task.log[burden] else 0.0)


@njit(**INLINED)
def rise_at_corner(l, task, work):
    """Note how far integrals rose in a step that is as short as there is, though its error is not small."""
    steps, own = work.steps, task.absolute.size
    for i in range(own, steps.u.shape[0]):
        rise = abs(steps.u[i, l] - steps.u_old[i, l])
        work.unsure[i - own, 0, l] = max(work.unsure[i - own, 0, l], rise)
        work.unsure[i - own, 1, l] = max(work.unsure[i - own, 1, l], abs(steps.u[i, l]))


@njit(**INLINED)
def _unsure(l, task, work):
    """Whether much of an integral comes from such a step: it was at a pole, behind which there is none."""
    steps, own = work.steps, task.absolute.size
    for i in range(own, steps.u.shape[0]):
        rise, size = work.unsure[i - own, 0, l], max(work.unsure[i - own, 1, l], abs(steps.u[i, l]))
        if rise > task.unsure * size:
            return True
    return False


@njit(**INLINED)
def diagnose(l, task, work):
    """Tell why a lane is in trouble.

    A lane whose steps promise too many more may be on the way to infinity. That takes only some dozens of
    steps more, for each shortens what is left by a good part, so it goes on until the time is known.
    """
    steps, numbers = work.steps, work.steps.numbers
    for i in range(steps.u.shape[0]):
        if task.log[i] and steps.u[i, l] == LOG_ZERO and steps.stages[0, i, l] != 0.0:
            return LOG_INFLOW
    short = numbers[q.H_USED, l] < RESOLVED * abs(numbers[q.T, l]) + task.shortest
    budget = numbers[q.STEPS, l] + numbers[q.REJECTED, l] >= task.max_steps
    if (short or not budget) and _blows_up(l, task, work):
        return BLOW_UP if short else ON_ITS_WAY
    if not np.isfinite(numbers[q.ERROR, l]) and (short or not _finite_slopes(l, steps)):
        return RHS_ERROR if work.evaluation.raised[l] != 0.0 else NON_FINITE
    if short and _below_zero(l, task, work):
        return NEGATIVE
    if budget:  # spent on steps so short that nothing changes, wherever an error is not raised
        hair = numbers[q.H_USED, l] < _HAIR * task.t_end
        return RHS_ERROR if hair and work.evaluation.raised[l] != 0.0 else MAX_STEPS
    return STEP_TOO_SMALL if short else MAX_STEPS


@njit(**INLINED)
def _blows_up(l, task, work):
    """Whether a state grows faster than any exponential, and much of itself within the step.

    Near a pole, ``y = C / (T - t)**a``, the rate of growth ``y' / y = a / (T - t)`` grows itself, and every
    step is a part of ``T - t``. Not both hold for a state that relaxes or saturates, however fast, nor where
    a right-hand side jumps.
    """
    steps, h = work.steps, work.steps.numbers[q.H_USED, l]
    if work.steps.numbers[q.ERROR_OLD, l] == 0.0:  # no step yet: it is a start that is too steep
        return False
    find_slopes_at_end(l, work.steps.numbers[q.T_OLD, l] + h, task, work)
    for i in range(task.differentiated if task.directions > 0 else task.absolute.size):
        before, after = steps.stages[0, i, l], steps.stages[task.last, i, l]
        if not task.log[i]:
            before /= steps.u_old[i, l]
            after /= work.evaluation.states[i, l]
        # an end of the step that is no number says nothing against it
        if before * h > RISES and np.isfinite(before) and not after < _ACCELERATES * before:
            return True
    return False


@njit(**INLINED)
def _finite_slopes(l, steps):
    """Whether all derivatives at the start of the step are finite."""
    finite = True
    for i in range(steps.u.shape[0]):
        finite = finite and np.isfinite(steps.stages[0, i, l])
    return finite


@njit(**INLINED)
def _below_zero(l, task, work):
    """Whether the step was taken back because something that may not would have become negative."""
    for i in range(task.absolute.size):
        floor = task.absolute[i] + task.relative[i] * abs(work.steps.u[i, l])
        if task.nonnegative[i] and work.evaluation.states[i, l] < -floor:
            return True
    return False


@njit(**INLINED)
def park(l, work):
    """Leave a lane idle: time stands still, no flags."""
    numbers = work.steps.numbers
    work.lanes[l].patient = IDLE
    numbers[q.STOP, l] = numbers[q.T, l]
    numbers[q.NEXT_SAVE, l] = np.inf


@njit(**INLINED)
def restart(l, task, watch, work):
    """Begin anew behind a dose or a cut, from the derivatives just evaluated."""
    steps, numbers, burden = work.steps, work.steps.numbers, task.burden
    slopes, u = work.states[0], work.states[1]
    was_above = burden >= 0 and steps.u[burden, l] > numbers[q.LEVEL, l]
    for i in range(steps.u.shape[0]):
        slopes[i] = work.evaluation.derivatives[i, l]
        steps.stages[0, i, l] = slopes[i]
        if numbers[q.BEHIND, l] > 0.0 and np.isfinite(slopes[i]):
            steps.u[i, l] += slopes[i] * numbers[q.BEHIND, l]
        u[i] = steps.u[i, l]
    if burden >= 0 and numbers[q.BEHIND, l] > 0.0:  # an inflow that begins at a break may lift it at once
        crosses = not was_above and u[burden] > numbers[q.LEVEL, l]
        record_burden(watch, work.lanes[l].patient, numbers[q.T, l], u[burden], crosses)
    numbers[q.BEHIND, l] = 0.0
    numbers[q.ACCEPTED, l] = q.FRESH
    numbers[q.H, l] = first_step(slopes, u, numbers[q.STOP, l] - numbers[q.T, l], task)
    numbers[q.ERROR_OLD, l] = 0.0
    numbers[q.SINCE, l] = 0.0
    numbers[q.MARK, l] = numbers[q.T, l]
