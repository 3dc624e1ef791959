"""Engine ``lanes``: from a chunk of patients to threads that keep SIMD lanes busy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from fastcart.solvers.actions import PENDING
from fastcart.solvers.algebraic import settling
from fastcart.solvers.compile import FAST, cached
from fastcart.solvers.doses import BREAK, DosePlan, entries_of
from fastcart.solvers.endpoints import Found, fill, level_of, watched_marks
from fastcart.solvers.items import asked_of
from fastcart.solvers.lanes import records
from fastcart.solvers.lanes.dense_output import MAX_DEGREE
from fastcart.solvers.lanes.layout import LANES, aligned_rows, evaluation_rows, offsets, roomy
from fastcart.solvers.lanes.loop import run_lanes
from fastcart.solvers.lanes.methods import DEFAULT_METHOD as DEFAULT_METHOD
from fastcart.solvers.lanes.methods import METHODS as METHODS
from fastcart.solvers.lanes.methods import STIFF_METHOD as STIFF_METHOD
from fastcart.solvers.lanes.methods import Method
from fastcart.solvers.lanes.methods import default_method as default_method
from fastcart.solvers.lanes.methods import get_method as get_method
from fastcart.solvers.lanes.rhs import evaluation
from fastcart.solvers.lanes.watched_items import Table, items_of
from fastcart.solvers.problem import ChunkResult, Problem, Saves
from fastcart.solvers.status import Status
from fastcart.solvers.threads import in_parts, in_threads
from fastcart.solvers.trace.graph import TraceError
from fastcart.solvers.transform import from_log_in_place, to_internal, to_natural

_Buffers = tuple[records.Watch, records.Detection | None, records.Work]

_UNSURE = 1e-3  # part of an integral: no more of it may come from where its integrand is not followed
# Absolute tolerances of integrals, times rtol. What begins at zero as a power of time is steep on every
# scale: without them each decade above zero would take steps of its own.
_FLOOR = 1e-30  # in any unit
_FAINT = 1e-9  # of an integrand that is a state, in its scale
# The error of an integral is relative to its rise in the step, and to this part of what it is so far.
_SO_FAR = 0.01
# Integrals that are there only so that the steps follow what is watched: how large that is comes from the
# states, so that it is enough to see all its turns. The error may be larger by a part of the change of the
# integrand in the step, rtol times the first number, but at most the second: what stands out is seen with it.
# And what happened so far says little of a small wave on a high level, which comes late.
_SEEN, _SEEN_WELL, _SO_FAR_SEEN = 100.0, 1e-3, 1e-3
# Absolute tolerances of states that double in a step, as parts of the usual ones: below is rounding.
_FAINT_STATE = 1e-6
_SMALLEST = 1e-25  # of the horizon: steps at its very start may be so short
_ROUNDING = 1.5e-14  # relative errors below are rounding
_NO_BLOCK = (0, 0, -1)  # no patients are claimed
# All in the thread of the caller: so few blocks of patients that a second thread would hardly have started. A
# part in it: states times steps that take about a second where every patient needs all steps
_FEW = 8
_BRIEF = 2e6
_DENSE = 40  # times to save of a patient from which on nearly every step has one
_FEW_STATES = 4  # whose steps are copied in less time than all polynomials are made
_FEW_VALUES = 10_000  # are converted before a thread has started


@cache
def _loop() -> Any:
    # it makes no arrays, so that it needs no counts of references, which take time at every call and slice
    return cached(run_lanes, "the loop of the lane engine", takes=records.ALL, nogil=True, _nrt=False, **FAST)


def solve_chunk(
    problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None = None,
    saves: Saves | None = None,
) -> ChunkResult:  # fmt: skip
    """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`."""
    patients, n = y0.shape
    kit = _kit(problem, p.shape[1])
    saves = saves or Saves.all_of(problem.save_at, patients)
    result = ChunkResult.empty(patients, problem, saves, blank_saved=False)
    recorded = kit.table.recorded(patients)
    u0 = to_internal(y0, problem.log, 1.0)
    out = records.Out(
        np.full((patients, n), np.nan), result.saved, result.status, np.zeros((patients, 2), np.int64),
        result.t_reached, result.cured,
    )  # fmt: skip
    _run(kit, _Given(u0, p, doses, saves), recorded, out, threads)
    _take_results(result, problem, kit.table, recorded, y0, u0, out)
    _saved_in_natural_units(problem, result.saved, threads)
    result.rhs_calls = (result.steps + result.rejected) * kit.calls_per_step + 1
    result.engine = np.full(patients, f"lanes-{kit.name}", dtype=object)
    return result


def solve_saved(
    problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None, saves: Saves
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Solve patients of whom only what is saved is asked: in less time than `solve_chunk` where they are few.

    Returns
    -------
    saved : ndarray, shape (saved states, rows)
        Natural units; of patients that failed, any numbers.
    status : ndarray of int, shape (patients,)
    """
    patients, n = y0.shape
    kit = _kit(problem, p.shape[1])
    recorded = kit.table.recorded(patients)
    status = np.full(patients, Status.not_run, dtype=np.int8)
    saved = np.empty((len(problem.saved_states), int(saves.offsets[-1])))
    out = records.Out(
        np.empty((patients, n)), saved, status, np.empty((patients, 2), np.int64), np.empty(patients),
        np.zeros(patients, dtype=np.bool_),
    )  # fmt: skip
    u0 = to_internal(y0, problem.log, 1.0) if problem.log.any() else y0
    _run(kit, _Given(u0, p, doses, saves), recorded, out, threads)
    _saved_in_natural_units(problem, saved, threads)
    return saved, status


class _Given(NamedTuple):
    """Patients, as the caller has them."""

    u0: np.ndarray
    p: np.ndarray
    doses: DosePlan | None
    saves: Saves


def _run(kit: _Kit, given: _Given, recorded: np.ndarray, out: records.Out, threads: int) -> None:
    """Let the loop solve patients."""
    problem, saves, (patients, n) = kit.problem, given.saves, given.u0.shape
    everyone = records.Patients(
        given.u0, given.p, np.empty((patients, n)), n - problem.integrals,
        records.Doses(*_around_breaks(problem.t_end, *entries_of(given.doses, patients))),
        records.Saves(
            problem.save_at, saves.begin, saves.end, saves.offsets[:-1] - saves.begin, problem.saved_states
        ),
    )  # fmt: skip
    control = np.zeros(3, dtype=np.int64)
    kernel = _loop()
    # without stages of its own an interpolant could be evaluated where it is, but then of all lanes each time
    copied = saves.offsets[-1] < _DENSE * patients and (len(kit.method.extra[0]) > 0 or n <= _FEW_STATES)

    def run() -> None:
        with kit.lent(copied, control) as (watch, detection, work):
            watch = watch._replace(recorded=recorded)
            work = work._replace(stop=control[:1], done=control[1:2], claimed=control[2:])
            kernel(kit.task, everyone, kit.scheme, watch, detection, work, out)

    blocks = -(-patients // LANES)
    short = blocks * n * problem.max_steps <= _BRIEF
    brief = short and (threads == 1 or blocks <= _FEW)
    in_threads([run] * (1 if brief else min(threads, blocks)), threads, control, brief=brief, joined=short)


class _Kit:
    """What the loop is given of a problem, the same for all patients; made once, kept with the problem."""

    def __init__(self, problem: Problem, parameters: int):
        self.problem, self.parameters = problem, parameters
        self.name = problem.method or default_method(problem.model, problem.rtol)
        self.method = get_method(self.name)
        self.table = items_of(problem, problem.log)
        self.scheme, self.calls_per_step = _scheme(problem, self.method, parameters)
        whole = self.scheme.called != self.scheme.rhs
        self.task = _task(problem, self.method, self.scheme.rhs if whole else 0)
        self._buffers: dict[bool, list[_Buffers]] = {False: [], True: []}

    @contextmanager
    def lent(self, copied: bool, control: np.ndarray) -> Iterator[_Buffers]:
        """Lend the buffers of one thread, which no other has meanwhile, as they are at the start.

        What was stopped, by an interrupt or through ``control``, leaves lanes in them: they are lost.
        """
        try:
            buffers = self._buffers[copied].pop()
        except IndexError:  # more threads than ever before
            table = self.table
            buffers = (
                table.watch(table.recorded(0)), table.detection(),
                _work(self.problem, self.method, table, self.parameters, copied),
            )  # fmt: skip
        yield buffers
        if control[0] != 0:
            return
        _, detection, work = buffers
        work.lanes["patient"] = records.EMPTY
        work.block[:] = _NO_BLOCK
        for array in detection or ():
            array.fill(0.0)
        self._buffers[copied].append(buffers)


def _kit(problem: Problem, parameters: int) -> _Kit:
    if "lanes" not in problem.kept:
        problem.kept["lanes"] = _Kit(problem, parameters)
    return problem.kept["lanes"]


def _task(problem: Problem, method: Method, later: int) -> records.Task:
    """Return what is asked for, as the loop takes it; ``later`` is explained there."""
    own = len(problem.log) - problem.integrals
    absolute = problem.rtol * np.where(problem.log, 1.0, problem.scale)[:own]
    found = settling(problem.model)
    return records.Task(
        float(problem.t_end), problem.model.burden_index, problem.log, absolute,
        np.full(own, problem.rtol), problem.nonnegative[:own].copy(), float(problem.max_steps),
        _SMALLEST * problem.t_end, method.blocks - 1, later, min(problem.rtol, _UNSURE),
        *problem.differentiated, found.address, found.solved, found.row.status,
    )  # fmt: skip


def _scheme(problem: Problem, method: Method, parameters: int) -> tuple[records.Scheme, int]:
    """Return the method and the right-hand side, compiled, and the calls of it in a step."""
    n = len(problem.log)
    log, infused = tuple(bool(x) for x in problem.log), any(problem.infused)
    sizes = (n, roomy(parameters), problem.integrals, tuple(np.flatnonzero(problem.nonnegative).tolist()))
    rhs = evaluation(problem.model, log, infused)
    step, called, calls = method.step, rhs.address, method.calls_per_step(n)
    if method.whole is not None:
        with suppress(TraceError):
            called = method.whole.core(problem.model, log, infused, problem.integrals).address
            step, calls = method.whole.step, method.whole.calls_per_step
    scheme = records.Scheme(
        step(*sizes).address, called, rhs.address, method.blocks, method.dense, method.degree,
        method.scaled_by_step, *method.extra,
    )  # fmt: skip
    return scheme, calls


def _floors(problem: Problem) -> np.ndarray:
    """Return the integrals below which nothing is asked of them, shape (integrals,)."""
    floors = np.full(problem.integrals, _FLOOR)
    if problem.differentiated[1] == 0:
        places = {state.name: j for j, state in enumerate(problem.model.states)}
        for k, name in enumerate(problem.auc):
            if name in places and not problem.log[places[name]]:
                floors[k] = max(_FLOOR, _FAINT * problem.scale[places[name]] * problem.t_end)
    return floors


def _work(problem: Problem, method: Method, table: Table, parameters: int, copied: bool) -> records.Work:
    """Return what a thread has of its own: buffers of the lanes and of the queue, with the constants set."""
    control = np.zeros(3, dtype=np.int64)
    n, items, quantities = len(problem.log), len(table.items), len(table.quantities)
    at = offsets(n, parameters, method.blocks + len(method.extra[0]))
    buffers = aligned_rows(2, at.total + method.work(n))
    relative, so_far, change = np.full((3, n), [[problem.rtol], [_SO_FAR], [0.0]])
    watched = n - len(problem.integrands)
    so_far[watched:] = _SO_FAR_SEEN
    change[watched:] = min(_SEEN * problem.rtol, _SEEN_WELL)
    units = np.where(problem.log, 1.0, problem.scale)
    own = n - problem.integrals
    units[own:] = _floors(problem)
    faint = np.where(problem.log, 1.0, _FAINT_STATE) * units
    grown = problem.differentiated[0] or own
    faint[grown:] = units[grown:]  # what sensitivities begin with says nothing of the rest
    so_far[:own] = problem.rtol * faint[:own]
    buffers[:, at.tolerance : at.limits] = [*(relative * units), *relative, *so_far, *change]
    buffers[:, at.limits : at.control] = [
        problem.max_steps, _SMALLEST * problem.t_end, problem.t_end, problem.max_steps_ahead, n,
        problem.max_step, (_ROUNDING / problem.rtol) ** 2,
    ]  # fmt: skip
    buffers[:, at.control : at.bounded] = method.controller
    bounded = table.bounded
    buffers[:, at.bounded : at.bounded + 1 + len(bounded)] = len(bounded), *bounded
    evaluation, steps = records.views_of(buffers[0], at, n, parameters)
    waiting = records.views_of(buffers[1], at, n, parameters) if copied else (evaluation, steps)
    lanes = np.zeros(LANES, dtype=records.LANE)
    lanes["patient"] = records.EMPTY
    queue = records.Queue(
        copied, *waiting, np.zeros(LANES, dtype=records.SLOT), np.zeros(1, np.int64),
        np.zeros((items, LANES)), np.zeros((quantities, LANES)), np.zeros((items, LANES), np.bool_),
    )  # fmt: skip
    saving = aligned_rows(1, len(problem.saved_states) * MAX_DEGREE * LANES)
    return records.Work(
        evaluation, steps, lanes, np.zeros(LANES + 1, np.int64), np.zeros((LANES, 2, PENDING)), queue,
        np.zeros((n, MAX_DEGREE)), saving.reshape(-1, MAX_DEGREE, LANES), np.zeros((2, n)),
        np.zeros(settling(problem.model).row.room),
        aligned_rows(1, n * LANES).reshape(n, LANES),
        aligned_rows(1, evaluation_rows(n, parameters).total * LANES).reshape(-1, LANES),
        np.zeros((problem.integrals, 2, LANES)), np.array(_NO_BLOCK),
        control[:1], control[1:2], control[2:],
    )  # fmt: skip


def _take_results(
    result: ChunkResult, problem: Problem, table: Table, recorded: np.ndarray, y0: np.ndarray,
    u0: np.ndarray, out: records.Out,
) -> None:  # fmt: skip
    """Fill in the endpoints and the states, in natural units."""
    log = problem.log
    asked, burden = asked_of(problem), problem.model.burden_index
    if burden >= 0:
        found = [
            Found(level_of(u0[:, burden], mark.part, log[burden]), of["first"], of["last"], of["best"])
            for mark, of in zip(watched_marks(), recorded.T, strict=False)
        ]
        fill(result, found, y0[:, burden], out.final[:, burden], log=log[burden])
    result.best, result.when = recorded["best"][:, asked].copy(), recorded["first"][:, asked].copy()
    result.times = recorded["times"][:, asked].copy()
    for i in np.flatnonzero(table.items["in_log"][asked]):
        result.best[:, i] = to_natural(result.best[:, i], True, 1.0)
    result.final = to_natural(out.final, log, 1.0, overwrite=True)
    result.steps, result.rejected = out.counts[:, 0].copy(), out.counts[:, 1].copy()


def _saved_in_natural_units(problem: Problem, saved: np.ndarray, threads: int) -> None:
    """Turn logarithms among what is saved into the states, in place."""
    in_log = np.flatnonzero(problem.log[problem.saved_states])

    def part(low: int, high: int) -> None:
        for c in in_log:
            from_log_in_place(saved[c, low:high])

    if in_log.size:
        in_parts(part, saved.shape[1], threads, least=_FEW_VALUES, brief=saved.size < _FEW_VALUES)


def _around_breaks(t_end: float, *entries: np.ndarray) -> tuple[np.ndarray, ...]:
    """Let each break begin just before its time and lead to just behind it; nobody evaluates in between.

    That at the horizon leads to the horizon.
    """
    begin, end, time, state, kind, value = entries
    breaks = kind == BREAK
    if not breaks.any():
        return entries
    before = np.where(breaks, time * (1 - value), time)
    behind = np.minimum(time * (1 + value), t_end)
    return begin, end, before, state, kind, np.where(breaks, behind, value)
