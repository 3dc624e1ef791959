"""Engine ``scipy``: `scipy.integrate.solve_ivp` one patient at a time, the slow independent oracle."""

from __future__ import annotations

import numpy as np

from fastcart.solvers.arrays import internal_rhs
from fastcart.solvers.problem import ChunkResult, Problem
from fastcart.solvers.status import Status
from fastcart.solvers.transform import LOG_ZERO, to_internal, to_natural

METHODS = ("DOP853", "Radau", "RK45", "BDF", "LSODA")
DEFAULT_METHOD = "DOP853"

SAMPLES = 8  # looks at the interpolant inside each step, before roots are polished


class _BudgetError(Exception):
    """Too many calls of the right-hand side."""


def solve_chunk(problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int) -> ChunkResult:
    """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`. One thread is used."""
    result = ChunkResult.empty(len(y0), problem)
    f = internal_rhs(problem.model)
    u0 = to_internal(y0, problem.log, problem.scale)
    for i in range(len(y0)):
        _solve_one(problem, f, u0[i], p[i], result, i)
    return result


def _solve_one(problem: Problem, f, u0, p, result: ChunkResult, i: int) -> None:
    from scipy.integrate import solve_ivp

    calls = 0

    def rhs(t, u):
        nonlocal calls
        calls += 1
        if calls > 20 * problem.max_steps:
            raise _BudgetError
        return f(t, u, p, problem.scale)  # a trial step that is not finite is rejected by solve_ivp

    start = f(0.0, u0, p, problem.scale)
    if not np.isfinite(start).all():
        result.status[i] = _reason(problem, start, u0)
        return
    try:
        with np.errstate(all="ignore"):
            solution = solve_ivp(
                rhs, (0.0, problem.t_end), u0, method=problem.method or DEFAULT_METHOD,
                rtol=max(problem.rtol, 3e-14), atol=problem.rtol, dense_output=True,
            )  # fmt: skip
    except _BudgetError:
        result.status[i] = Status.max_steps
        return
    result.rhs_calls[i] = calls
    result.steps[i] = len(solution.t) - 1
    result.t_reached[i] = solution.t[-1]
    if solution.status != 0 or not np.isfinite(solution.y[:, -1]).all():
        result.status[i] = _reason(problem, f(solution.t[-1], solution.y[:, -1], p, problem.scale), u0)
        return
    result.status[i] = Status.ok
    result.final[i] = to_natural(solution.y[:, -1], problem.log, problem.scale)
    if len(problem.save_at):
        saved = np.atleast_2d(solution.sol(problem.save_at).T)
        saved[problem.save_at == 0.0] = u0
        result.saved[i] = to_natural(saved, problem.log, problem.scale)
    if problem.model.burden_index >= 0:
        _endpoints(problem, solution, u0, result, i)


def _reason(problem: Problem, du, u0) -> Status:
    """Tell why the integration stopped from the derivatives where it did."""
    if np.isfinite(du).all():
        return Status.step_too_small
    stuck = problem.log & (u0 == LOG_ZERO) & ~np.isfinite(du)
    return Status.log_inflow if stuck.any() else Status.non_finite


def _endpoints(problem: Problem, solution, u0, result: ChunkResult, i: int) -> None:
    """PFS, progression and nadir on the dense output, each polished by Brent's methods."""
    from scipy.optimize import brentq, minimize_scalar

    b = problem.model.burden_index
    level = u0[b]

    def g(t):
        return float(solution.sol(t)[b]) - level

    pieces = [
        np.linspace(a, z, SAMPLES + 1)[:-1] for a, z in zip(solution.t[:-1], solution.t[1:], strict=True)
    ]
    times = np.append(np.concatenate(pieces), solution.t[-1])
    values = solution.sol(times)[b] - level
    values[0] = 0.0
    up = np.flatnonzero((values[:-1] <= 0) & (values[1:] > 0))
    crossings = []
    for k in up:
        if k == 0 and g(times[1] * 1e-3) > 0:  # growth from the very start
            crossings.append(0.0)
        else:
            crossings.append(brentq(g, times[k] or times[1] * 1e-9, times[k + 1], xtol=1e-12))
    result.progression[i] = crossings[0] if crossings else np.nan
    ended_above = values[-1] > 0
    result.pfs[i] = (crossings[-1] if crossings else 0.0) if ended_above else problem.t_end
    lowest = int(np.argmin(values))
    low, high = times[max(lowest - 1, 0)], times[min(lowest + 1, len(times) - 1)]
    best_t, best_g = times[lowest], values[lowest]
    if high > low:
        polished = minimize_scalar(g, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
        if polished.fun < best_g:
            best_t, best_g = polished.x, polished.fun
    result.t_nadir[i] = best_t
    result.nadir[i] = to_natural(best_g + level, problem.log[b], problem.scale[b])
