"""What the compiled loop works on: arrays and numbers in named tuples, which cost numba nothing.

Letters, throughout: ``l`` a lane, ``s`` a slot of the queue, ``j`` a patient, ``i`` a state or an item,
``k`` a quantity or a time, ``n`` states, ``m`` parameters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastcart.solvers.actions import Actions
from fastcart.solvers.lanes.layout import LANES, Q_ROWS, Offsets, evaluation_rows

EMPTY, IDLE = -2, -1  # instead of a patient: to be refilled, or without one for good
GOES_ON, CUT, ENDS, ACTS, FAILS = range(5)  # fates
OLD, COME, JUMPED = range(3)  # of what is fresh in a lane
NEXT, LIMIT, FILLER = range(3)  # of `Work.block`
COUNT = -1  # of `Work.flagged`: how many there are


class Task(NamedTuple):
    """What is asked for of all patients."""

    t_end: float
    burden: int  # the state, -1 for none
    log: np.ndarray  # which states are integrated in logarithm
    absolute: np.ndarray  # tolerances of the states but the integrals
    relative: np.ndarray
    nonnegative: np.ndarray
    max_steps: float
    shortest: float  # step at time 0
    last: int  # of the stages, that is the derivative at the end of the step
    later: int  # address of the right-hand side, where steps leave only that of integrals there; 0 elsewhere
    unsure: float  # part of an integral that may come from a step across a corner
    differentiated: int  # states that have sensitivities,
    directions: int  # and how many each has
    settler: int  # address of what solves for the algebraic variables, 0 where there are none;
    solved: np.ndarray  # the states that it gives
    status: int  # and where in its row is whether it did


class Doses(NamedTuple):
    """Entries, as in `fastcart.solvers.doses`, and which of them are a patient's."""

    begin: np.ndarray
    end: np.ndarray
    time: np.ndarray
    state: np.ndarray
    kind: np.ndarray
    value: np.ndarray


class Saves(NamedTuple):
    """Times to save, which of them are a patient's, and where in `Out.saved` these go, for all states."""

    times: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    shift: np.ndarray  # the row of a time is its place among the times, and this much more
    states: np.ndarray  # that are saved


class Patients(NamedTuple):
    """Those of the chunk; integrated variables."""

    u0: np.ndarray  # patients x states
    p: np.ndarray  # patients x parameters
    slopes: np.ndarray  # patients x states, at time 0; filled in by the loop
    own: int  # states that are no integrals
    doses: Doses
    saves: Saves


class Scheme(NamedTuple):
    """What the loop needs to know of a method, and the addresses of what it calls."""

    step: int
    called: int  # by the step: the right-hand side, or the whole step of one model
    rhs: int
    stages: int  # blocks of states among the stages, extra ones left out
    dense: np.ndarray  # stages x `MAX_DEGREE`
    degree: int
    by_time: bool  # whether stages are slopes, to be multiplied by the step
    extra_c: np.ndarray  # of the stages that only the interpolant needs
    extra_weights: np.ndarray  # of the stages that each of them is computed from, in fours
    extra_used: np.ndarray  # which these are; -1 behind the last four


class Evaluation(NamedTuple):
    """What the right-hand side reads and writes (`fastcart.solvers.lanes.rhs`), in the step's buffer."""

    buffer: np.ndarray  # from its beginning on
    states: np.ndarray  # states x lanes
    time: np.ndarray
    parameters: np.ndarray
    inflow: np.ndarray
    derivatives: np.ndarray
    raised: np.ndarray


class Steps(NamedTuple):
    """The last step of each lane, or one in each slot of the queue: views of the step's buffer."""

    numbers: np.ndarray  # rows named in `fastcart.solvers.lanes.layout` x lanes
    u: np.ndarray  # states x lanes at the end of the step
    u_old: np.ndarray  # and at its start
    stages: np.ndarray  # stages x states x lanes
    bounds: np.ndarray  # bounded states x 3 x lanes, see `fastcart.solvers.lanes.step_bounds`


def views_of(buffer: np.ndarray, at: Offsets, n: int, m: int) -> tuple[Evaluation, Steps]:
    """Return the parts of a buffer that is laid out by ``at``."""
    L = LANES
    rows, place = buffer[: at.Q].reshape(-1, L), evaluation_rows(n, m)
    evaluation = Evaluation(
        buffer, rows[:n], rows[place.time], rows[place.parameters : place.parameters + m],
        rows[place.rates : place.rates + n], rows[place.derivatives : place.derivatives + n],
        rows[place.raised],
    )  # fmt: skip
    steps = Steps(
        buffer[at.Q : at.Q + Q_ROWS * L].reshape(Q_ROWS, L), buffer[at.U : at.U_old].reshape(n, L),
        buffer[at.U_old : at.K].reshape(n, L), buffer[at.K : at.bounds].reshape(-1, n, L),
        buffer[at.bounds : at.tolerance].reshape(n, 3, L),
    )  # fmt: skip
    return evaluation, steps


# Who is in each lane, and how far: a patient, or `EMPTY`, or `IDLE`; the next entry of the doses and time to
# save; what a close look said of the step; whether the patient just came, or jumped; the item that acted, or
# -1, or the status of who fails; how many actions wait
LANE = np.dtype(
    [(name, np.int64) for name in ("patient", "next_dose", "next_save", "fate", "fresh", "fired", "waiting")]
)

# Whose step waits for a close look: its place among `Queue.steps`; which times to save lie in it; what the
# items need, but for those of the burden
SLOT = np.dtype(
    [(name, np.int64) for name in ("lane", "place", "patient", "save_from", "save_to")] + [("need", float)]
)

# What is watched: a quantity that crosses a level, or its largest or smallest value. Kinds are those of
# `fastcart.solvers.lanes.event_recording`; whether it ends the course, or lets states die out; the parameter
# that is the threshold or -1, the threshold if it is a number; the time from which it counts; the item behind
# whose first time it counts or -1; whether the quantity is integrated in logarithm
ITEM = np.dtype(
    [
        ("quantity", np.int64), ("kind", np.int64), ("ends", np.int64), ("parameter", np.int64),
        ("threshold", float), ("after", float), ("behind", np.int64), ("in_log", np.int64),
    ]
)  # fmt: skip

# What the items are about: the state whose bounds it has (itself, or the integral of it; -1 for a sum of
# states), the state that it is or -1, the group of states that it sums or -1
QUANTITY = np.dtype([(name, np.int64) for name in ("bounded", "state", "group")])

# What is found out of each item: the largest or smallest value; time of the first crossing, or of that value,
# and of the last crossing; how many crossings
RECORD = np.dtype([("best", float), ("first", float), ("last", float), ("times", np.int64)])


class Queue(NamedTuple):
    """Steps that are looked at closely.

    They are copies where stages are missing, unless nearly every step is looked at: then, as where no stages
    are missing, they are those of the lanes.
    """

    copied: bool
    evaluation: Evaluation
    steps: Steps
    slots: np.ndarray  # of `SLOT`
    waiting: np.ndarray  # how many there are, one number
    side: np.ndarray  # items x slots: on which side of its threshold the step began
    turning: np.ndarray  # quantities x slots: whether it turns within the step
    asks: np.ndarray  # items x slots: whether there may be something of it in the step


class Detection(NamedTuple):
    """What is kept of the items in each lane, to tell which steps need a close look."""

    level: np.ndarray  # items x lanes
    best: np.ndarray  # value so far at an end of a step
    when: np.ndarray
    side: np.ndarray  # of the level, at the end of the last step
    need: np.ndarray  # of each lane
    value: np.ndarray  # quantities x lanes, at the end of the step
    lowest: np.ndarray  # scratch
    alive: np.ndarray


class Turns(NamedTuple):
    """Where quantities turn in the step that is looked at."""

    places: np.ndarray  # quantities x places
    known: np.ndarray  # how many there are, -1 where nobody knows yet
    parts: np.ndarray  # scratch: parts of the step that wait
    samples: np.ndarray
    follows: float  # how near a polynomial must come to a quantity, relative to its range


class Roots(NamedTuple):
    """Scratch of the search for roots of polynomials."""

    coefficients: np.ndarray
    intervals: np.ndarray


class Watch(NamedTuple):
    """All that is watched; the items of the burden come first."""

    items: np.ndarray  # of `ITEM`
    quantities: np.ndarray  # of `QUANTITY`
    recorded: np.ndarray  # of `RECORD`, patients x items
    of_burden: int  # how many items are detected by the step itself, the others by `Detection`
    bounds_of: np.ndarray  # where the bounds of a state are, -1 for nowhere
    groups: np.ndarray  # the group of each state that may die out, or -1
    actions: Actions
    function: int  # address of what computes the quantities of one patient; 0 if only the burden is watched
    read: np.ndarray  # of each quantity, the states that it is computed from, then -1
    one: np.ndarray  # the buffer of the function
    turns: Turns
    roots: Roots


class Work(NamedTuple):
    """What each thread has of its own, and the counters that all share."""

    evaluation: Evaluation
    steps: Steps
    lanes: np.ndarray  # of `LANE`
    flagged: np.ndarray  # lanes that are to be looked after
    pending: np.ndarray  # lanes x 2 x actions that wait: times and items
    queue: Queue
    polynomials: np.ndarray  # states x `MAX_DEGREE`, of the step that is looked at
    saving: np.ndarray  # saved states x `MAX_DEGREE` x slots: polynomials of all steps
    states: np.ndarray  # scratch, 2 x states
    row: np.ndarray  # of one patient, for the algebraic variables
    tried: np.ndarray  # states x lanes: where the last step would have gone, meanwhile
    start: np.ndarray  # rows of the right-hand side x lanes, for the starts of patients
    unsure: (
        np.ndarray
    )  # integrals x 2 x lanes: most rise in a step across a corner, and the largest value there
    block: np.ndarray  # claimed patients: the next one, their end, one that fills lanes without a patient
    stop: np.ndarray  # shared: not zero, to stop
    done: np.ndarray  # shared: how many patients are done
    claimed: np.ndarray  # shared: how many patients are claimed


class Out(NamedTuple):
    """Results, one row per patient."""

    final: np.ndarray
    saved: np.ndarray  # saved states x rows
    status: np.ndarray
    counts: np.ndarray  # steps, rejected steps
    reached: np.ndarray
    cured: np.ndarray


class Look(NamedTuple):
    """One step that is looked at closely."""

    slot: int
    place: int  # of the step
    patient: int
    t: float
    h: float
    end: float  # where it is cut, 2 where it is not


# the order of the fields is part of machine code that takes them
ALL = (
    Task, Doses, Saves, Patients, Scheme, Evaluation, Steps, Queue, Detection, Turns, Roots, Actions, Watch,
    Work, Out, Look,
)  # fmt: skip
