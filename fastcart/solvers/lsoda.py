"""Engine ``lsoda``: numbalsoda's LSODA, patients shared out among threads.

The threads are Python's and the kernel leaves the interpreter's lock alone: unlike a ``prange`` loop, whose
layer of threads dies in a forked process and aborts where two threads enter it, they work after a fork,
beside other solves, and stop at an interrupt. LSODA keeps no state of its own beyond a call.

Marked states are integrated in logarithm. The right-hand side, a C callback, keeps watch over LSODA's
steps; see `fastcart.solvers.lsoda_callback`. Crossings, extrema and groups that die out are looked for on
LSODA's interpolated output and located by integrating a piece again with a fine output; see
`fastcart.solvers.lsoda_watch`. Each dose, each break and each group that dies out ends one integration and
starts the next.

Integrals are states of their own, in units of a tenth of what they come to: then an error of ``rtol`` is
one of the integral of the absolute value. That size is not known before, so it is guessed, and where the
guess was far too large the patient is solved again. Where the right-hand side depends on time, a look
between the steps shows whether something was stepped over, and the patient is solved again with shorter
steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from fastcart.solvers.actions import PENDING
from fastcart.solvers.algebraic import settling
from fastcart.solvers.compile import FAST, cached
from fastcart.solvers.doses import DosePlan, canonical, entries_of
from fastcart.solvers.items import Watched, records_of, report, watched_of
from fastcart.solvers.lsoda_callback import (
    FLAG_BLOW_UP,
    FLAG_BUDGET,
    FLAG_GAVE_UP,
    FLAG_LOG_INFLOW,
    FLAG_NEGATIVE,
    FLAG_NO_ROOT,
    FLAG_NON_FINITE,
    FLAG_RAISED,
    FLAG_STUCK,
    FLAG_STUCK_NON_FINITE,
    FLAG_STUCK_RAISED,
    FLAG_UNRESOLVED,
    HIGH,
    NODES,
    SUM,
    SUMS,
    data_size,
    places,
    watching_rhs,
)
from fastcart.solvers.lsoda_derivatives import derivatives_callback
from fastcart.solvers.lsoda_looks import looks
from fastcart.solvers.lsoda_patient import Answer, Outputs, Patient, Room, attempt, blows_up, prepare
from fastcart.solvers.lsoda_system import BARE, System, ask
from fastcart.solvers.problem import ChunkResult, Problem, Saves
from fastcart.solvers.quiet import run_quietly
from fastcart.solvers.reading import uses_time
from fastcart.solvers.status import Status
from fastcart.solvers.transform import to_internal, to_natural

GRID = 200  # output intervals in which crossings are looked for
METHODS = ("lsoda",)
DEFAULT_METHOD = "lsoda"

_PART = 32  # patients that a thread takes at once
_CLOSER = 0.1  # of rtol, where there are integrals
_LEAST_RTOL = 1e-12
_TENTH = 0.1  # unit of an integral, in integrals of the absolute value
_TOO_LARGE = 30.0  # a unit so many times too large lets the error of an integral grow too much
_STUCK = (FLAG_STUCK, FLAG_STUCK_NON_FINITE, FLAG_STUCK_RAISED)
_TOO_SMALL = (FLAG_BUDGET, FLAG_GAVE_UP, *_STUCK)  # how a patient ends where it is far too small
_MAY_BLOW_UP = (FLAG_BUDGET, FLAG_GAVE_UP, FLAG_STUCK, FLAG_STUCK_NON_FINITE, FLAG_NON_FINITE)
_SHORTER = 8.0  # steps are limited to an interval of the grid, then to this part of one
_ATTEMPTS = 6


class Task(NamedTuple):
    """What is the same for all patients."""

    address: int  # of what LSODA calls,
    derivatives: int  # and of the model's own derivatives
    log: np.ndarray
    counted: np.ndarray
    watched: Watched
    noted: int
    ends: bool
    width: int
    burden: int
    integrals: int
    timed: bool
    rtol: float
    max_step: float
    max_steps: int
    size: int  # of the data of the right-hand side
    differentiated: int  # states that have sensitivities,
    directions: int  # and how many each has
    settler: int  # address of what solves for the algebraic variables, 0 where there are none;
    solved: np.ndarray  # the states that it gives
    status: int  # where in its row is whether it did,
    room: int  # and how long the row is


class Tables(NamedTuple):
    """What is given and found, a row for each patient."""

    u0: np.ndarray
    p: np.ndarray
    scale: np.ndarray
    final: np.ndarray
    saved: np.ndarray  # rows x states
    offsets: np.ndarray  # where the rows of each patient begin
    flags: np.ndarray
    counts: np.ndarray
    reached: np.ndarray
    cured: np.ndarray
    records: np.recarray


@njit(**BARE)
def rescale(system, integrals, failed):
    """Set the units of the integrals by what they came to; return whether to solve the patient again."""
    again = False
    scale = system.scale[system.scale.size - integrals :]
    for j in range(integrals):
        unit = _TENTH * system.data[system.sums + SUMS * j + SUM]
        if (
            unit > 0.0
            and np.isfinite(unit)
            and (scale[j] > _TOO_LARGE * unit or (failed and _TOO_LARGE * scale[j] < unit))
        ):
            again = True
            scale[j] = unit
    return again


@njit(**BARE)
def first_units(system, u, du, integrals, t_end):
    """Guess the units of the integrals by what is integrated at the start."""
    system.data[system.control + NODES] = -1.0
    system.data[system.control + HIGH] = t_end
    ask(system, 0.0, u, du)
    for j in range(u.size - integrals, u.size):
        unit = _TENTH * abs(du[j]) * t_end
        if 0.0 < unit < 1e100:
            system.scale[j] = unit


def _solve_part(task, low, high, tables, outputs, entries, control):
    """Solve the patients ``low`` to ``high``."""
    n, m = tables.u0.shape[1], tables.p.shape[1]
    data, row = np.empty(task.size), np.zeros(task.room)
    most, total = outputs.grid.size + 2, task.watched.quantities.size
    room = Room(
        np.empty(most), np.empty(most, np.bool_), np.empty((most, n)), np.empty((most, total)),
        np.empty((most, total)), np.empty((2, total)), np.empty((2, PENDING)), np.zeros(1, np.int64),
    )  # fmt: skip
    at = places(n, task.noted, task.integrals)
    # LSODA's own limit is per output time, and only for what goes on behind the end of the budget: behind a
    # blow-up it may take steps of no length, derivatives of zero or not
    limit = min(8 * task.max_steps, 2**31 - 1)
    for i in range(low, high):
        if control[0] != 0:
            return
        system = System(
            task.address, task.derivatives, data, m + n, m + n + at.sums, m + n + at.notes, task.width,
            task.log, task.counted, tables.scale[i], task.watched, task.noted, task.ends,
            task.timed, task.rtol, limit, task.differentiated, task.directions, task.settler, task.solved,
            task.status, row,
        )  # fmt: skip
        if task.integrals > 0:
            prepare(system, tables.p[i], task.max_step, task.max_steps)
            first_units(system, tables.u0[i], room.out[0], task.integrals, outputs.grid[-1])
        patient = Patient(tables.u0[i], entries[0][i], entries[1][i])
        answer = Answer(
            task.burden, tables.final[i], tables.saved[tables.offsets[i] : tables.offsets[i + 1]],
            tables.counts[i], tables.reached[i : i + 1],
            tables.cured[i : i + 1],
        )  # fmt: skip
        record = tables.records[i]
        longest = task.max_step
        flag = 0.0
        interval = outputs.grid[-1] / GRID
        for _ in range(_ATTEMPTS):
            prepare(system, tables.p[i], longest, task.max_steps)
            flag = attempt(system, outputs, entries, patient, record, room, answer)
            if flag in _STUCK and longest > interval:
                longest = interval  # steps of no length may come of nothing but an error that is exactly 0
            elif flag == FLAG_UNRESOLVED:
                shorter = interval if longest > interval else interval / _SHORTER
                if longest <= shorter:
                    break
                longest = shorter
            elif task.integrals == 0 or not rescale(system, task.integrals, flag in _TOO_SMALL):
                break
        if flag in _MAY_BLOW_UP and blows_up(system):
            flag = FLAG_BLOW_UP
        tables.flags[i] = flag


@cache
def _loop() -> Any:
    return cached(_solve_part, "the LSODA loop", nogil=True, **FAST)


_STATUS = {
    0.0: "ok", FLAG_BUDGET: "max_steps", FLAG_NON_FINITE: "non_finite", FLAG_LOG_INFLOW: "log_inflow",
    FLAG_RAISED: "rhs_error", FLAG_NEGATIVE: "negative", FLAG_GAVE_UP: "solver_error",
    FLAG_UNRESOLVED: "solver_error", FLAG_STUCK: "step_too_small",
    FLAG_STUCK_NON_FINITE: "non_finite", FLAG_STUCK_RAISED: "rhs_error", FLAG_BLOW_UP: "blow_up",
    FLAG_NO_ROOT: "no_root",
}  # fmt: skip


def solve_chunk(
    problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None = None,
    saves: Saves | None = None,
) -> ChunkResult:  # fmt: skip
    """Solve one chunk of patients.

    Parameters
    ----------
    problem : Problem
    y0 : ndarray, shape (patients, states)
        Initial values, natural units.
    p : ndarray, shape (patients, parameters)
    threads : int
    doses : DosePlan, optional
        What these patients are given; the jumps at time 0 are already in ``y0``.
    saves : Saves, optional
        Which of the times to save are whose; default all of everyone.
    """
    model, log = problem.model, problem.log
    patients, n = y0.shape
    timed = uses_time(model.rhs)
    watched = watched_of(problem)
    noted = int((watched.quantities.integral < 0).sum())
    width = 1 + 2 * noted if timed or len(watched.items) else 0
    derivatives = derivatives_callback(
        model, tuple(bool(x) for x in log), any(problem.infused), problem.integrals
    )
    kernel = _loop()
    saves = saves or Saves.all_of(problem.save_at, patients)
    result = ChunkResult.empty(patients, problem, saves)
    path = np.full((int(saves.offsets[-1]), n), np.nan)
    scale = np.repeat(problem.scale[np.newaxis], patients, axis=0)
    scale[:, n - problem.integrals :] = 1.0  # until something is known
    found = settling(model)
    task = Task(
        watching_rhs().address, derivatives.address, log, problem.nonnegative, watched, noted,
        bool(watched.items.ends.any()), width, model.burden_index, problem.integrals, timed, _rtol(problem),
        problem.max_step, problem.max_steps, data_size(n, p.shape[1], noted, problem.integrals, width),
        *problem.differentiated, found.address, found.solved, found.row.status, found.row.room,
    )  # fmt: skip
    tables = Tables(
        to_internal(y0, log, problem.scale), p, scale, np.full_like(result.final, np.nan), path,
        saves.offsets, np.full(patients, np.nan), np.zeros((patients, 2), dtype=np.int64), result.t_reached,
        result.cured, records_of(watched, patients),
    )  # fmt: skip
    entries = entries_of(doses, patients)
    control = np.zeros(1, dtype=np.int64)
    outputs = partial(_outputs, problem, timed, width > 0, doses is not None)
    jobs = [
        partial(kernel, task, low, high, tables, outputs(times), entries, control)
        for low, high, times in _parts(problem.save_at, saves)
    ]
    run_quietly(jobs, threads, control)
    for flag, status in _STATUS.items():
        result.status[tables.flags == flag] = Status[status]
    report(result, problem, watched, tables.records, y0, tables.final)
    result.final = to_natural(tables.final, log, scale)
    for c, i in enumerate(problem.saved_states):
        unit = np.repeat(scale[:, i], np.diff(saves.offsets))
        result.saved[c] = to_natural(path[:, i], log[i], unit)
    result.steps, result.rhs_calls = tables.counts[:, 0].copy(), tables.counts[:, 1].copy()
    return result


def _rtol(problem: Problem) -> float:
    """Return the tolerance of a step: the errors of an integral add up over all steps."""
    return min(problem.rtol, max(_CLOSER * problem.rtol, _LEAST_RTOL)) if problem.integrals else problem.rtol


def _parts(times: np.ndarray, saves: Saves) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield which patients a thread takes at once, with the times to save that they have in common.

    One part is there also without patients, with which the kernel is only compiled.
    """
    patients, shared = len(saves.begin), saves.shared
    for low in range(0, max(patients, 1), _PART if shared else 1):
        high = min(low + _PART, patients) if shared else min(low + 1, patients)
        yield low, high, times if shared or low == patients else times[saves.begin[low] : saves.end[low]]


def _outputs(problem: Problem, timed: bool, noted: bool, dosed: bool, times: np.ndarray) -> Outputs:
    """Return all times of output, those to save among them."""
    grid = np.linspace(0.0, problem.t_end, GRID + 1)
    if dosed:  # so that no time of the grid lies next to a dose
        grid = canonical(grid, problem.t_end)
    pairs = looks(grid) if timed else np.empty(0)
    if not noted:  # nothing is looked for
        grid = grid[[0, -1]]
    grid = np.union1d(np.union1d(grid, times), pairs)
    return Outputs(grid, np.isin(grid, pairs), times)
