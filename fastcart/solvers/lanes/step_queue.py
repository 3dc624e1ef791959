"""Steps that are looked at closely: they wait until a block is full; then their extra stages are computed.

The interpolant of some methods needs stages of its own. Computed for a few lanes at a time they would cost
more than the rest of the step, so a copy of the lane's step is put aside, and the lane goes on. For the other
methods the queue is the lanes themselves, and a step is looked at where it is.
"""

from __future__ import annotations

from numba import njit

from fastcart.solvers.actions import acts
from fastcart.solvers.compile import INLINED, INNER
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.dense_output import (
    extra_stages,
    polynomials,
    rise_of,
    save_inside,
    saved_polynomials,
)
from fastcart.solvers.lanes.event_detection import AT_ONCE, LATER, QUIET, asks_for_look
from fastcart.solvers.lanes.event_location import (
    NOWHERE,
    begin_look,
    cut_items,
    first_end,
    hold_items,
    record_inside,
)
from fastcart.solvers.lanes.event_recording import record_crossing
from fastcart.solvers.lanes.extinction import die_out
from fastcart.solvers.lanes.lane import held_from, save_next
from fastcart.solvers.lanes.layout import LANES
from fastcart.solvers.lanes.records import ACTS, CUT, ENDS, GOES_ON, Look
from fastcart.solvers.lanes.step_bounds import TURNS


@njit(**INLINED)
def enqueue(l, inclusive, need, saves, scheme, watch, detection, work):
    """Let the step of a lane wait for a close look.

    Times to save before the end of the step are its own, with ``inclusive`` also that at its end.
    """
    queue, steps, t = work.queue, work.steps, work.steps.numbers[q.T, l]
    s = queue.waiting[0]
    queue.waiting[0] += 1
    slot, lane = queue.slots[s], work.lanes[l]
    slot.lane, slot.patient, slot.need, slot.place = l, lane.patient, need, s if queue.copied else l
    k, stop, times = lane.next_save, saves.end[lane.patient], saves.times
    slot.save_from = k
    while k < stop and (times[k] < t or (inclusive and times[k] == t)):
        k += 1
    slot.save_to = k
    save_next(l, k, lane.patient, saves, work)
    for k in range(queue.turning.shape[0]):
        state = watch.quantities[k].bounded
        queue.turning[k, s] = steps.bounds[watch.bounds_of[state], TURNS, l] if state >= 0 else 1.0
    if detection is not None:
        for i in range(watch.of_burden, queue.side.shape[0]):
            queue.side[i, s] = detection.side[i, l]
            queue.asks[i, s] = asks_for_look(i, l, steps, watch, detection)
    if queue.copied:
        _copy_step(l, s, work, scheme.stages)


@njit(**INLINED)
def waits(l, work):
    """Whether a step of a lane waits in which something may be recorded, not only saved."""
    queue, found = work.queue, False
    for s in range(queue.waiting[0]):
        slot = queue.slots[s]
        turns = int(queue.steps.numbers[q.FLAG, slot.place]) & q.TURN != 0
        found = found or (slot.lane == l and (slot.need > QUIET or turns))
    return found


@njit(**INLINED)
def _copy_step(l, s, work, stages):
    """Copy of the step of lane ``l`` what a close look needs into slot ``s``."""
    of, to = work.evaluation, work.queue.evaluation
    for k in range(of.parameters.shape[0]):
        to.parameters[k, s] = of.parameters[k, l]
    steps, copy = work.steps, work.queue.steps
    for r in range(q.COPIED):
        copy.numbers[r, s] = steps.numbers[r, l]
    for i in range(steps.u.shape[0]):
        to.inflow[i, s] = of.inflow[i, l]
        copy.u[i, s] = steps.u[i, l]
        copy.u_old[i, s] = steps.u_old[i, l]
        for j in range(stages):
            copy.stages[j, i, s] = steps.stages[j, i, l]


@njit(**INLINED)
def _copy_rows(of, to):
    """Copy rows of all lanes."""
    for i in range(of.shape[0]):
        for l in range(LANES):
            to[i, l] = of[i, l]


@njit(**INLINED)
def _follow_states(s, turns, task, scheme, watch, work):
    """Fill in the polynomials that a look at slot ``s`` needs: of all states only where it may be cut."""
    queue, C, items = work.queue, work.polynomials, watch.items
    place, need = queue.slots[s].place, queue.slots[s].need
    if need == AT_ONCE:
        polynomials(place, C, queue.steps, scheme, 0, C.shape[0])
        return
    if turns:
        polynomials(place, C, queue.steps, scheme, task.burden, task.burden + 1)
    if need > QUIET:
        for i in range(watch.of_burden, items.size):
            k = items[i].quantity
            if not queue.asks[i, s]:
                continue
            if i > watch.of_burden and items[i - 1].quantity == k and queue.asks[i - 1, s]:
                continue  # it is there
            read = watch.read[k]
            for x in range(read.size):
                if read[x] < 0:
                    break
                if not (turns and read[x] == task.burden):
                    polynomials(place, C, queue.steps, scheme, read[x], read[x] + 1)


@njit(**INNER)
def look_at_waiting(task, patients, scheme, watch, detection, work, out):
    """Record and save what is inside the steps that wait; one may end early, which its lane is told."""
    queue, C, numbers = work.queue, work.polynomials, work.queue.steps.numbers
    if queue.waiting[0] > 0 and scheme.extra_c.size > 0:
        _copy_rows(queue.evaluation.states, work.tried)
        extra_stages(queue.evaluation, queue.steps, scheme)
        _copy_rows(work.tried, queue.evaluation.states)
    saving = False
    for s in range(queue.waiting[0]):
        saving = saving or queue.slots[s].save_from < queue.slots[s].save_to
    if saving:
        saved_polynomials(work.saving, queue.steps, scheme, patients.saves.states)
    for s in range(queue.waiting[0]):
        slot = queue.slots[s]
        j, need, place = slot.patient, slot.need, slot.place
        turns = int(numbers[q.FLAG, place]) & q.TURN != 0
        _follow_states(s, turns, task, scheme, watch, work)
        begin_look(place, watch, queue.steps, queue.evaluation.parameters)
        end, item = NOWHERE, -1
        t, h = numbers[q.T_OLD, place], numbers[q.H_USED, place]
        # whose fate is known since a jump, takes a step of no length, in which nothing more happens
        if detection is not None and need == AT_ONCE and work.lanes[slot.lane].fate == GOES_ON:
            whole = Look(s, place, j, t, h, NOWHERE)
            held = held_from(slot.lane, j, patients.doses, watch, work)
            end, item, later = first_end(whole, held, queue, C, watch, detection, patients, scheme)
            if later and item < 0:
                hold_items(slot.lane, whole, queue, C, watch, detection, patients, scheme)
                detection.need[slot.lane] = LATER  # which is done with
        look = Look(s, place, j, t, h, end)
        burden_too = turns or end <= 1.0
        for i in range(watch.items.size):
            wanted = burden_too
            if i >= watch.of_burden:  # a cut has a new end
                wanted = need > QUIET and watch.items[i].ends == 0 and (queue.asks[i, s] or end <= 1.0)
            if wanted:
                record_inside(i, look, queue, C, watch, detection, patients, scheme)
        saved_to = save_inside(
            look, slot, queue.steps, work.saving, scheme.degree, patients.saves, out.saved
        )  # fmt: skip
        if detection is not None and end <= 1.0:
            work.lanes[slot.lane].next_save = saved_to
            _end_early(item, look, task, scheme, watch, detection, work, out)
    queue.waiting[0] = 0


@njit(**INLINED)
def _end_early(item, look, task, scheme, watch, detection, work, out):
    """Put a lane back to where its step ends early, and let states die out or the course end there."""
    queue, C, end, j = work.queue, work.polynomials, look.end, look.patient
    l, t = queue.slots[look.slot].lane, look.t + look.end * look.h
    work.steps.numbers[q.T, l] = t
    for i in range(C.shape[0]):
        start = queue.steps.u_old[i, look.place]
        work.steps.u[i, l] = start + rise_of(C, i, scheme.degree, end)
    cut_items(l, look, queue, C, watch, detection, scheme)
    group = watch.quantities[watch.items[item].quantity].group
    if group >= 0:
        work.lanes[l].fate = CUT
        die_out(l, j, group, work.steps, watch, task, out)
    else:
        work.lanes[l].fate = ENDS
        if acts(watch.actions, item):
            work.lanes[l].fate = ACTS
            work.lanes[l].fired = item
        record_crossing(watch, j, item, t)
