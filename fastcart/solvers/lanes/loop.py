"""The loop of the lane engine: keep all lanes busy, look after doses and events, refill at once.

Every lane has its own time and step, and takes the next patient the moment its own is done. What happens to
a patient does not depend on the others: the vector code treats every lane alike, and what is recorded does
not depend on when a step is looked at. The loop is compiled once for each set of features, for all models.
"""

from __future__ import annotations

from numba import njit

from fastcart.solvers.actions import AT_ONCE_MOST
from fastcart.solvers.compile import INLINED, INNER
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.event_detection import (
    AT_ONCE,
    COURSE_ENDS,
    LATER,
    QUIET,
    begin_items,
    detect,
    finish_items,
    load_items,
    take_over_lane,
)
from fastcart.solvers.lanes.intrinsics import claim, evaluate, take_step
from fastcart.solvers.lanes.lane import (
    MAX_STEPS,
    NEGATIVE,
    NO_ROOT,
    OK,
    diagnose,
    finish,
    fire,
    give_doses,
    is_due,
    load,
    park,
    restart,
    rise_at_corner,
    save_again,
    save_nothing,
    save_now,
    start_slopes,
)
from fastcart.solvers.lanes.layout import LANES
from fastcart.solvers.lanes.manifold import put_on_manifold
from fastcart.solvers.lanes.records import (
    ACTS,
    COME,
    COUNT,
    CUT,
    EMPTY,
    ENDS,
    FAILS,
    FILLER,
    GOES_ON,
    JUMPED,
    LIMIT,
    NEXT,
    OLD,
)
from fastcart.solvers.lanes.step_queue import enqueue, look_at_waiting, waits

_POLL = 64  # steps between looks at the request to stop


def run_lanes(task, patients, scheme, watch, detection, work, out):
    """Solve patients until none is left; see `fastcart.solvers.lanes.records` for the arguments."""
    queue = work.queue
    active, turns = 0, 0
    ended, jumped = LANES, 0
    while True:
        if ended > 0:
            active += fill(turns == 0, task, patients, scheme, watch, detection, work, out)
            if active == 0:
                break
        if ended > 0 or jumped > 0:
            chained = 0
            while begin_courses(chained, task, patients, watch, detection, work, out) > 0:
                restart_jumped(task, scheme.rhs, watch, work)
                chained += 1
        take_step(scheme.step, scheme.called, work.evaluation.buffer, task.burden)
        turns += 1
        if turns % _POLL == 0 and work.stop[0] != 0:
            return
        ended, jumped = 0, 0
        if quiet(task, scheme, watch, detection, work):
            continue
        work.flagged[COUNT] = 0
        urgent = not queue.copied
        for l in range(LANES):
            if queue.waiting[0] == LANES:
                look_at_waiting(task, patients, scheme, watch, detection, work, out)
            urgent = examine(l, task, patients, scheme, watch, detection, work) or urgent
        if urgent:
            look_at_waiting(task, patients, scheme, watch, detection, work, out)
        ended, jumped = look_after_flagged(task, patients, watch, detection, work, out)
        active -= ended
        if jumped > 0:
            restart_jumped(task, scheme.rhs, watch, work)
    look_at_waiting(task, patients, scheme, watch, detection, work, out)


@njit(**INNER)
def fill(first, task, patients, scheme, watch, detection, work, out):
    """Let patients into lanes that are empty; return how many came.

    At ``first`` a lane without a patient carries one that another has, so that its numbers stay ordinary.
    """
    came = 0
    for l in range(LANES):
        if work.lanes[l].patient == EMPTY:
            j = next_patient(patients, scheme, work)
            if first and j < 0 and work.block[FILLER] < 0:
                return 0
            if j >= 0 or first:
                load(l, j if j >= 0 else work.block[FILLER], task, patients, watch, work, out)
            if j >= 0:
                came += 1
                work.lanes[l].fresh = COME
                if detection is not None:
                    load_items(l, j, watch, detection, patients)
            else:
                park(l, work)
    return came


@njit(**INLINED)
def next_patient(patients, scheme, work):
    """Return who comes next, -1 for nobody.

    Blocks of patients are claimed from a counter that all threads share, so that all end at about one time.
    """
    block = work.block
    if block[NEXT] == block[LIMIT]:
        block[NEXT] = claim(work.claimed, LANES)
        block[LIMIT] = min(block[NEXT] + LANES, patients.u0.shape[0])
        if block[NEXT] >= block[LIMIT]:
            block[NEXT] = block[LIMIT]
            return -1
        start_slopes(block[NEXT], patients, scheme.rhs, work.start)
        if block[FILLER] < 0:
            block[FILLER] = block[NEXT]
    block[NEXT] += 1
    return block[NEXT] - 1


@njit(**INLINED)
def quiet(task, scheme, watch, detection, work):
    """Whether the steps of all lanes are done with: nothing to save, to record, to stop at."""
    flags = 0.0
    for l in range(LANES):
        flags += work.steps.numbers[q.FLAG, l]
    if detection is not None:
        flags += detect(work.steps, watch, detection, task, scheme)
    return flags == 0.0


@njit(**INLINED)
def examine(l, task, patients, scheme, watch, detection, work):
    """Let the step of a lane wait for a close look, if it asks for one; return whether that is urgent.

    Lanes that must be looked after are noted.
    """
    lane, numbers, flagged, need = work.lanes[l], work.steps.numbers, work.flagged, QUIET
    flag = int(numbers[q.FLAG, l])
    if detection is not None:
        need = detection.need[l]
    if (flag == 0 and need == QUIET) or lane.patient < 0:
        return False
    if flag & q.CORNER:
        rise_at_corner(l, task, work)
    dosed = flag & q.AT_STOP != 0 and is_due(l, lane.patient, patients.doses, work)
    if flag & (q.TURN | q.SAVE) != 0 or need > QUIET:
        enqueue(l, not dosed, need, patients.saves, scheme, watch, detection, work)
    if detection is not None and need == LATER:
        take_over_lane(l, numbers[q.T, l], watch, detection)
    if flag & (q.AT_STOP | q.TROUBLE) or need == AT_ONCE:
        flagged[flagged[COUNT]] = l
        flagged[COUNT] += 1
    # what came before a jump is recorded before it
    return need == AT_ONCE or (detection is not None and dosed and waits(l, work))


@njit(**INLINED)
def look_after_flagged(task, patients, watch, detection, work, out):
    """Look after all lanes that ask for it; return how many ended, and how many jumped."""
    ended, jumped = 0, 0
    for x in range(work.flagged[COUNT]):
        l = work.flagged[x]
        if look_after(l, task, patients, watch, detection, work, out):
            ended += 1
        elif work.lanes[l].fresh == JUMPED:
            jumped += 1
    return ended, jumped


@njit(**INLINED)
def stand_at_stop(l, j, task, patients, watch, detection, work, out):
    """Give what is due to a lane; return the status of who is done, or -1."""
    lanes, lacks, lost = work.lanes, False, False
    if is_due(l, j, patients.doses, work):
        waiting = lanes[l].waiting
        lacks = give_doses(l, j, task, patients.doses, watch, work)
        lost = not put_on_manifold(l, task, work)
        if lanes[l].waiting < waiting:
            save_again(l, j, patients.saves, watch, work, out.saved)
        else:
            save_now(l, j, patients.saves, work, out.saved)
        lanes[l].fresh = JUMPED
    if lacks or lost:
        return NEGATIVE if lacks else NO_ROOT
    # what a dose at the very horizon does is seen by one more step, of no length
    ended = work.steps.numbers[q.T, l] >= task.t_end and (detection is None or lanes[l].fresh != JUMPED)
    return OK if ended else -1


@njit(**INLINED)
def look_after(l, task, patients, watch, detection, work, out):
    """Give doses that are due to a lane, or take its patient's results; return whether it was done."""
    lanes, numbers = work.lanes, work.steps.numbers
    j, flag, fate, done = lanes[l].patient, int(numbers[q.FLAG, l]), lanes[l].fate, -1
    lanes[l].fate = GOES_ON
    if fate == ENDS:
        done = OK
    elif fate == FAILS:
        done = lanes[l].fired
    elif fate == ACTS:
        done = fire(l, j, task, patients.doses, watch, work)
        done = NO_ROOT if not put_on_manifold(l, task, work) and done < 0 else done
        save_again(l, j, patients.saves, watch, work, out.saved)
        lanes[l].fresh = JUMPED
    elif fate == CUT:  # also at a jump that left too little of something to live
        done = -1 if put_on_manifold(l, task, work) else NO_ROOT
        save_again(l, j, patients.saves, watch, work, out.saved)
        lanes[l].fresh = JUMPED
    else:
        if detection is not None and detection.need[l] == AT_ONCE:  # nothing came of it
            take_over_lane(l, numbers[q.T, l], watch, detection)
        if flag & q.AT_STOP:
            done = stand_at_stop(l, j, task, patients, watch, detection, work, out)
        elif flag & q.TROUBLE:
            done = diagnose(l, task, work)
    if done < 0:
        return False
    finish(l, j, done, task, work, out)
    save_nothing(l, j, patients.saves, work, out.saved)
    if detection is not None:
        finish_items(l, j, watch, detection)
    work.done[0] += 1
    lanes[l].fresh = OLD
    lanes[l].patient = EMPTY
    return True


@njit(**INLINED)
def restart_jumped(task, rhs, watch, work):
    """Give all lanes that jumped their first stage, by one evaluation."""
    steps, evaluation = work.steps, work.evaluation
    for l in range(LANES):
        for i in range(steps.u.shape[0]):
            evaluation.states[i, l] = steps.u[i, l]
        evaluation.time[l] = steps.numbers[q.T, l]
    evaluate(rhs, evaluation.buffer)
    for x in range(work.flagged[COUNT]):
        if work.lanes[work.flagged[x]].fresh == JUMPED:
            restart(work.flagged[x], task, watch, work)


@njit(**INNER)
def begin_courses(chained, task, patients, watch, detection, work, out):
    """Record what holds where a patient just came or jumped; return how many lanes jumped again.

    These are events that act because of the jump, and so for many times if they act on each other for ever.
    """
    lanes, numbers, flagged = work.lanes, work.steps.numbers, work.flagged
    flagged[COUNT] = 0
    for l in range(LANES):
        if detection is not None and lanes[l].fresh != OLD:
            item = begin_items(lanes[l], l, work.steps, watch, detection, task)
            lanes[l].fired = item if item >= 0 else -1
            if item >= 0:
                status = fire(l, lanes[l].patient, task, patients.doses, watch, work)
                status = NO_ROOT if not put_on_manifold(l, task, work) and status < 0 else status
                status = MAX_STEPS if chained > AT_ONCE_MOST else status
                save_again(l, lanes[l].patient, patients.saves, watch, work, out.saved)
                if status < 0:
                    flagged[flagged[COUNT]] = l
                    flagged[COUNT] += 1
                    lanes[l].fresh = JUMPED
                    continue
                lanes[l].fate, lanes[l].fired = FAILS, status
            elif item == COURSE_ENDS:
                lanes[l].fate = ENDS
            if lanes[l].fate != GOES_ON:
                numbers[q.STOP, l] = numbers[q.T, l]  # a step of no length, and that was all
        lanes[l].fresh = OLD
    return flagged[COUNT]
