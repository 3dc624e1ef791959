"""Engine ``lanes``: from a chunk of patients to threads that keep SIMD lanes busy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from fastcart.solvers import tableaus
from fastcart.solvers.compile import FAST, cached
from fastcart.solvers.doses import AROUND_BREAK, BREAK, DosePlan, entries_of
from fastcart.solvers.lanes import step_explicit as explicit
from fastcart.solvers.lanes import step_rosenbrock as rosenbrock
from fastcart.solvers.lanes.bernstein import STACK
from fastcart.solvers.lanes.lane import EMPTY
from fastcart.solvers.lanes.layout import LANES, aligned_rows, evaluation_rows, offsets
from fastcart.solvers.lanes.loop import run_lanes
from fastcart.solvers.lanes.quantities import watching
from fastcart.solvers.lanes.queue import MAX_DEGREE
from fastcart.solvers.lanes.rhs import evaluation
from fastcart.solvers.lanes.watch import FIRST, LAST, LOWEST, T_LOWEST
from fastcart.solvers.problem import ChunkResult, Problem
from fastcart.solvers.status import Status
from fastcart.solvers.system import System
from fastcart.solvers.tableaus.base import ExplicitTableau
from fastcart.solvers.threads import in_threads
from fastcart.solvers.transform import to_internal, to_natural

METHODS = tableaus.NAMES
DEFAULT_METHOD = "tsit5"
STIFF_METHOD = "rodas5p"

_NO_FLOOR = 1e-250  # absolute tolerance of integrals: they are measured by themselves
_SMALLEST = 1e-25  # of the horizon: steps at its very start may be so short
_ROUNDING = 1.5e-14  # relative errors below are rounding
_TIGHT = 5e-6  # from this rtol down the method of order 7 does better than that of order 5


def default_method(model: System, rtol: float) -> str:
    """Return the explicit method that a model names, else the one that is fastest at a tolerance."""
    # dop853 needs a little less work for the same error at the ends of steps, but vern7 has the better
    # interpolant: in a population, the largest errors of crossings are ten times smaller
    return model.method or ("vern7" if rtol <= _TIGHT else "tsit5")


@dataclass(frozen=True)
class Method:
    """What the loop needs to know of a method."""

    step: Callable[..., Any]  # of states, parameters, integrals, and which states may not be negative
    blocks: int  # blocks of states among the stages, extra ones left out
    exponents: np.ndarray
    dense: np.ndarray  # with columns of zeros up to `MAX_DEGREE`
    degree: int
    scaled_by_step: bool
    extra: tuple[np.ndarray, np.ndarray]
    calls_per_step: Callable[[int], int]
    work: Callable[[int], int]


@cache
def get_method(name: str) -> Method:
    """Return the method of that name, as the loop takes it."""
    tableau = tableaus.get(name)
    # Exponents for the square of the error norm. A little PI control (Hairer & Wanner IV.2) keeps steps
    # smooth where stability limits them; more of it takes more steps for the same error of these models.
    order = tableau.error_order + 1
    gains = (tableau.gains if isinstance(tableau, ExplicitTableau) else None) or (1.0, 0.1)
    exponents = np.array(gains) / order / 2
    none = (np.empty(0), np.empty((0, 0)))
    if isinstance(tableau, ExplicitTableau):
        table, stages = tableau, len(tableau.c)
        extra = none
        if table.extra_c is not None and table.extra_A is not None:
            extra = (table.extra_c.copy(), table.extra_A.copy())
        return Method(
            cache(lambda *sizes: explicit.step_function(table, *sizes)), stages, exponents,
            _widened(table.dense), table.dense.shape[1], True, extra,
            lambda n: stages - 1 + (table.extra_stages + 1 if table.held else 0), lambda n: 0,
        )  # fmt: skip
    stiff = tableau
    return Method(
        cache(lambda *sizes: rosenbrock.step_function(stiff, *sizes)), rosenbrock.stage_rows(stiff),
        exponents, _widened(rosenbrock.dense_weights(stiff)), stiff.dense.shape[1], False, none,
        lambda n: len(stiff.c) + n + 3, rosenbrock.work_size,
    )  # fmt: skip


def _widened(dense: np.ndarray) -> np.ndarray:
    return np.hstack([dense, np.zeros((len(dense), MAX_DEGREE - dense.shape[1]))])


@cache
def _loop() -> Any:
    # it makes no arrays, so that it needs no counts of references, which take time at every call and slice
    return cached(run_lanes, "the loop of the lane engine", nogil=True, _nrt=False, **FAST)


def solve_chunk(
    problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None = None
) -> ChunkResult:
    """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`."""
    model = problem.model
    patients, n = y0.shape
    name = problem.method or default_method(model, problem.rtol)
    method = get_method(name)
    log = problem.log
    ones = np.ones(n)
    marks, infused = tuple(bool(x) for x in log), any(problem.infused)
    own = n - problem.integrals
    counted = problem.nonnegative
    callback = evaluation(model, marks, infused)
    step = method.step(n, p.shape[1], problem.integrals, tuple(np.flatnonzero(counted).tolist()))
    kernel = _loop()
    result = ChunkResult.empty(patients, problem, blank_saved=False)
    u0 = to_internal(y0, log, ones)
    at = offsets(n, p.shape[1], method.blocks + len(method.extra[0]))
    places = np.array([at.W, at.Q, at.U, at.U_old, at.K, at.tolerance, at.outline])
    tolerance = np.full((3, n), problem.rtol)
    tolerance[0] *= np.where(log, 1.0, problem.scale)
    tolerance[0, own:] = _NO_FLOOR
    tolerance[2] = counted
    limits = np.array(
        [problem.max_steps, _SMALLEST * problem.t_end, problem.t_end, problem.max_steps_ahead, n,
         problem.max_step, (_ROUNDING / problem.rtol) ** 2], dtype=float,
    )  # fmt: skip
    rows = np.full((patients, 4), np.nan)
    final = np.full((patients, n), np.nan)
    counts = np.zeros((patients, 2), dtype=np.int64)
    watch = watching(problem, log)
    outlined = [model.burden_index] if model.burden else []
    outlined += [i for i in (watch.outlined if watch else ()) if i not in outlined]
    slots = np.full(n, -1)
    slots[outlined] = np.arange(len(outlined))
    begin, end, *entries = _around_breaks(*entries_of(doses, patients))
    shared = (problem.t_end, problem.save_at, model.burden_index)
    control = np.zeros(3, dtype=np.int64)
    slopes = np.zeros((patients, n))
    of_method = (method.blocks, method.dense, method.degree, method.scaled_by_step, method.extra)

    def run() -> None:
        buffers = aligned_rows(2, at.total + method.work(n))
        buffers[:, at.tolerance : at.limits] = tolerance[:2].ravel()
        buffers[:, at.limits : at.control] = limits
        buffers[:, at.control : at.watched] = method.exponents
        buffers[:, at.watched : at.watched + 1 + len(outlined)] = len(outlined), *outlined
        items = None if watch is None else watch.arrays(result.best, result.when, result.times, slots)
        room = (np.zeros(MAX_DEGREE + 3), np.zeros((STACK, MAX_DEGREE + 3)), np.zeros(MAX_DEGREE + 3))
        kernel(
            step.address, callback.address, buffers[0], buffers[1], places, u0, p, shared,
            (begin, end, *entries), log, of_method, tolerance[:, :own].copy(), limits, items, rows, final,
            result.saved, result.status, counts, result.t_reached, result.cured, control,
            np.full(LANES, EMPTY), np.zeros((LANES, 2), np.int64), np.zeros((LANES, 5), np.int64),
            *np.zeros((3, LANES), np.int64), np.zeros((n, MAX_DEGREE)), np.zeros((2, n)), room,
            slopes, aligned_rows(1, evaluation_rows(n, p.shape[1]) * LANES)[0],
        )  # fmt: skip

    in_threads([run] * min(threads, -(-patients // LANES)), threads, control)
    if model.burden_index >= 0:
        _burden_endpoints(result, rows, u0[:, model.burden_index], final[:, model.burden_index])
        result.nadir = to_natural(result.nadir, log[model.burden_index], 1.0)
    if watch is not None:
        for i in np.flatnonzero(watch.in_log):
            result.best[:, i] = to_natural(result.best[:, i], True, 1.0)
    result.final = to_natural(final, log, ones, overwrite=True)
    result.saved = to_natural(result.saved, log, ones, overwrite=True)
    result.steps, result.rejected = counts[:, 0].copy(), counts[:, 1].copy()
    result.rhs_calls = (result.steps + result.rejected) * method.calls_per_step(n) + 1
    result.engine = np.full(patients, f"lanes-{name}")
    return result


def _around_breaks(*entries: np.ndarray) -> tuple[np.ndarray, ...]:
    """Let each break begin just before its time and lead to just behind it; nobody evaluates in between."""
    begin, end, time, state, kind, value = entries
    breaks = kind == BREAK
    if not breaks.any():
        return entries
    before = np.where(breaks, time * (1 - AROUND_BREAK), time)
    return begin, end, before, state, kind, np.where(breaks, time * (1 + AROUND_BREAK), value)


def _burden_endpoints(result: ChunkResult, rows: np.ndarray, level: np.ndarray, last: np.ndarray) -> None:
    """Fill in PFS, progression and nadir, the latter as integrated, from what the loop recorded."""
    below = last <= level
    first = rows[:, FIRST]
    result.pfs = np.where(below, result.t_reached, np.maximum(rows[:, LAST], 0.0))
    result.progression = np.where(np.isfinite(first), first, np.where(below, np.nan, 0.0))
    at_end = last < rows[:, LOWEST]
    result.nadir = np.where(at_end, last, rows[:, LOWEST])
    result.t_nadir = np.where(at_end, result.t_reached, rows[:, T_LOWEST])


__all__ = ["DEFAULT_METHOD", "METHODS", "STIFF_METHOD", "Status", "solve_chunk"]
