"""Engine ``scipy``: `scipy.integrate.solve_ivp` one patient at a time, the slow independent oracle."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastcart.solvers.arrays import internal_rhs
from fastcart.solvers.doses import RATE, DosePlan, entries_of
from fastcart.solvers.problem import ChunkResult, Problem
from fastcart.solvers.status import Status
from fastcart.solvers.transform import LOG_ZERO, to_internal, to_natural

METHODS = ("DOP853", "Radau", "RK45", "BDF", "LSODA")
DEFAULT_METHOD = "DOP853"

SAMPLES = 8  # looks at the interpolant inside each step, before roots are polished


class _BudgetError(Exception):
    """Too many calls of the right-hand side."""


def solve_chunk(
    problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None = None
) -> ChunkResult:
    """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`. One thread is used."""
    result = ChunkResult.empty(len(y0), problem)
    f = internal_rhs(problem.model, tuple(bool(x) for x in problem.log), any(problem.infused))
    u0 = to_internal(y0, problem.log, problem.scale)
    start, stop, *entries = entries_of(doses, len(y0))
    for i in range(len(y0)):
        mine = [values[start[i] : stop[i]] for values in entries]
        with np.errstate(all="ignore"):
            _solve_one(problem, f, u0[i], p[i], mine, result, i)
    return result


def _solve_one(problem: Problem, f, u0, p, entries, result: ChunkResult, i: int) -> None:
    from scipy.integrate import solve_ivp

    calls = 0
    rates = np.zeros(len(u0))

    def rhs(t, u):
        nonlocal calls
        calls += 1
        if calls > 20 * problem.max_steps:
            raise _BudgetError
        return f(t, u, p, problem.scale, rates)  # a trial step that is not finite is rejected by solve_ivp

    b = problem.model.burden_index
    course = _Course(u0[b], u0[b])
    dose_times = entries[0]
    saved = np.empty((len(problem.save_at), len(u0)))
    u, now = u0.copy(), 0.0
    while True:
        before = u[b]
        _give(problem, entries, dose_times == now, u, rates)
        course.jump(now, before, u[b])
        saved[problem.save_at == now] = u  # the state after the doses
        if now >= problem.t_end:
            break
        end = dose_times[dose_times > now].min(initial=problem.t_end)
        slope = f(now, u, p, problem.scale, rates)
        if not np.isfinite(slope).all():
            result.status[i] = _reason(problem, slope, u)
            return
        try:
            solution = solve_ivp(
                rhs, (now, end), u, method=problem.method or DEFAULT_METHOD,
                rtol=max(problem.rtol, 3e-14), atol=problem.rtol, dense_output=True,
            )  # fmt: skip
        except _BudgetError:
            result.status[i] = Status.max_steps
            return
        last = solution.y[:, -1]
        result.rhs_calls[i] = calls
        result.steps[i] += len(solution.t) - 1
        result.t_reached[i] = solution.t[-1]
        if solution.status != 0 or not np.isfinite(last).all():
            result.status[i] = _reason(problem, f(solution.t[-1], last, p, problem.scale, rates), u)
            return
        inside = (problem.save_at > now) & (problem.save_at < end)
        if inside.any():
            saved[inside] = np.atleast_2d(solution.sol(problem.save_at[inside]).T)
        if b >= 0:
            course.follow(solution, b)
        u, now = last.copy(), end
    result.status[i] = Status.ok
    result.final[i] = to_natural(u, problem.log, problem.scale)
    result.saved[i] = to_natural(saved, problem.log, problem.scale)
    if b >= 0:
        above = u[b] > course.level
        result.progression[i] = course.crossings[0] if course.crossings else np.nan
        result.pfs[i] = (course.crossings[-1] if course.crossings else 0.0) if above else problem.t_end
        result.t_nadir[i] = course.t_lowest
        result.nadir[i] = to_natural(course.lowest, problem.log[b], problem.scale[b])


def _give(problem: Problem, entries, due, u, rates) -> None:
    """Apply dose entries to the integrated variables and the rates of infusion."""
    _, states, kinds, values = (column[due] for column in entries)
    for j, kind, value in zip(states, kinds, values, strict=True):
        if kind == RATE:
            rates[j] = value
        elif problem.log[j]:
            u[j] = np.log((np.exp(u[j]) if u[j] != LOG_ZERO else 0.0) + value)
        else:
            u[j] += value / problem.scale[j]


def _reason(problem: Problem, du, u0) -> Status:
    """Tell why the integration stopped from the derivatives where it did."""
    if np.isfinite(du).all():
        return Status.step_too_small
    stuck = problem.log & (u0 == LOG_ZERO) & ~np.isfinite(du)
    return Status.log_inflow if stuck.any() else Status.non_finite


@dataclass
class _Course:
    """Crossings of its start and nadir of the burden, from dose to dose; in the integrated variable."""

    level: float
    lowest: float
    t_lowest: float = 0.0
    crossings: list[float] = field(default_factory=list)

    def jump(self, t: float, before: float, after: float) -> None:
        """Note a dose: it may lift the burden above its start."""
        if before <= self.level < after:
            self.crossings.append(t)

    def follow(self, solution, b: int) -> None:
        """Look at one solution, on its dense output; each find is polished by Brent's methods."""
        from scipy.optimize import brentq, minimize_scalar

        def g(t):
            return float(solution.sol(t)[b]) - self.level

        pieces = [
            np.linspace(a, z, SAMPLES + 1)[:-1] for a, z in zip(solution.t[:-1], solution.t[1:], strict=True)
        ]
        times = np.append(np.concatenate(pieces), solution.t[-1])
        values = solution.sol(times)[b] - self.level
        values[0] = solution.y[b, 0] - self.level
        for k in np.flatnonzero((values[:-1] <= 0) & (values[1:] > 0)):
            length = times[k + 1] - times[k]
            at_level = k == 0 and values[0] == 0.0
            if at_level and g(times[0] + 1e-3 * length) > 0:  # growth from the very start
                self.crossings.append(times[0])
            else:
                low = times[k] + 1e-9 * length if at_level else times[k]
                self.crossings.append(brentq(g, low, times[k + 1], xtol=1e-12))
        place = int(np.argmin(values))
        self._candidate(times[place], values[place])
        low, high = times[max(place - 1, 0)], times[min(place + 1, len(times) - 1)]
        if high > low:
            polished = minimize_scalar(g, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
            self._candidate(polished.x, polished.fun)

    def _candidate(self, t: float, g: float) -> None:
        if g + self.level < self.lowest:
            self.lowest, self.t_lowest = g + self.level, t
