"""Engine ``lanes``: from a chunk of patients to threads that keep SIMD lanes busy."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import Any

import numpy as np

from fastcart.solvers import tableaus
from fastcart.solvers.compile import FAST, cached
from fastcart.solvers.lanes import explicit
from fastcart.solvers.lanes.evaluate import evaluation
from fastcart.solvers.lanes.layout import offsets
from fastcart.solvers.lanes.loop import run_lanes
from fastcart.solvers.problem import ChunkResult, Problem
from fastcart.solvers.status import Status
from fastcart.solvers.transform import to_internal, to_natural

METHODS = ("tsit5", "vern7", "dop853")
DEFAULT_METHOD = "tsit5"

_TIGHT = 3e-7  # below this rtol the method of order 8 takes less time
_PIECE = 2048  # patients that a thread takes at once


def default_method(rtol: float) -> str:
    """Return the explicit method that is fastest at a tolerance."""
    return "dop853" if rtol < _TIGHT else "tsit5"


@lru_cache(maxsize=16)
def _explicit(name: str) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return exponents of the controller, dense output and extra stages of an explicit method."""
    t: Any = tableaus.get(name)
    order = t.error_order + 1
    # for the square of the error norm; PI control as in Hairer & Wanner IV.2
    exponents = np.array([0.7 / order / 2, 0.4 / order / 2])
    if t.extra_c is None:
        extra = (np.empty(0), np.empty((0, 0)))
    else:
        extra = (t.extra_c.copy(), t.extra_A.copy())
    return exponents, t.dense.copy(), extra


def solve_chunk(problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int) -> ChunkResult:
    """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`."""
    model = problem.model
    n = len(model.states)
    method = problem.method or default_method(problem.rtol)
    tableau: Any = tableaus.get(method)
    stages = len(tableau.c)
    exponents, dense, extra = _explicit(method)
    log = problem.log
    ones = np.ones(n)
    callback = evaluation(model, tuple(bool(x) for x in log), False)
    step = explicit.step_function(tableau, n, p.shape[1])
    kernel = cached(run_lanes, "the loop of the lane engine", nogil=True, **FAST)
    result = ChunkResult.empty(len(y0), problem)
    u0 = to_internal(y0, log, ones)
    tolerance = np.empty((2, n))
    tolerance[0] = problem.rtol * np.where(log, 1.0, problem.scale)
    tolerance[1] = problem.rtol
    horizon = problem.t_end
    limits = np.array([problem.max_steps, 1e-14 * horizon, horizon, np.inf, n])
    rows = np.full((len(y0), 4), np.nan)
    final = np.full((len(y0), n), np.nan)
    counts = np.zeros((len(y0), 2), dtype=np.int64)
    cured = np.zeros(len(y0), dtype=np.bool_)
    extinct = np.full(n, -np.inf)
    start = np.zeros(len(y0), dtype=np.int64)
    doses = (start, start, np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    shared = (horizon, problem.save_at, model.burden_index)
    control = np.zeros((2,), dtype=np.int64)

    at = offsets(n, p.shape[1], stages + len(extra[0]))
    places = np.array([at.W, at.Q, at.U, at.U_old, at.K, at.tolerance])

    def run(a: int, b: int) -> None:
        buffer = np.zeros(at.total)
        buffer[at.tolerance : at.limits] = tolerance.ravel()
        buffer[at.limits : at.control] = limits
        buffer[at.control :] = exponents
        part = (doses[0][a:b], doses[1][a:b], *doses[2:])
        kernel(
            step.address, callback.address, buffer, places, u0[a:b], p[a:b], shared, part, log, stages, dense, True,
            extra, tolerance, limits, extinct, rows[a:b], final[a:b], result.saved[a:b], result.status[a:b], counts[a:b],
            result.t_reached[a:b], cured[a:b], control,
        )  # fmt: skip

    in_threads(run, len(y0), threads, control)
    if model.burden_index >= 0:
        result.pfs, result.progression, lowest, result.t_nadir = rows.T.copy()
        b = model.burden_index
        result.nadir = to_natural(lowest, log[b], 1.0)
    result.final = to_natural(final, log, ones)
    result.saved = to_natural(result.saved, log, ones)
    result.steps, result.rejected = counts[:, 0].copy(), counts[:, 1].copy()
    result.rhs_calls = (result.steps + result.rejected) * (stages - 1) + 1
    result.engine = np.full(len(y0), f"lanes-{method}")
    return result


def in_threads(run: Any, patients: int, threads: int, control: np.ndarray) -> None:
    """Run pieces of the patients in threads; an interrupt stops them within a moment.

    Parameters
    ----------
    run : callable
        ``run(start, stop)``, releases the interpreter's lock while it works.
    patients, threads : int
    control : ndarray of int
        A number other than zero in ``control[0]`` asks the kernels to stop.
    """
    pieces = [(a, min(a + _PIECE, patients)) for a in range(0, patients, _PIECE)]
    if threads == 1 and len(pieces) == 1 and threading.current_thread() is not threading.main_thread():
        run(*pieces[0])
        return
    with ThreadPoolExecutor(min(threads, len(pieces))) as pool:
        futures = [pool.submit(run, *piece) for piece in pieces]
        try:
            wait(futures)
        except BaseException:
            control[0] = 1
            pool.shutdown(cancel_futures=True)
            raise
        for future in futures:
            future.result()


__all__ = ["DEFAULT_METHOD", "METHODS", "Status", "solve_chunk"]
