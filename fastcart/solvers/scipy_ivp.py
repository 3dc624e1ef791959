"""Engine ``scipy``: `scipy.integrate.solve_ivp` one patient at a time, the slow independent oracle.

Integrals are states of their own, in units of a tenth of what they come to; that size is guessed, and where
the guess was far too large the patient is solved again. So is one whose right-hand side does between the
steps what the solution does not follow; then the steps are limited.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numba.core.errors import NumbaError, UnsupportedBytecodeError

from fastcart.solvers.arrays import internal_rhs
from fastcart.solvers.doses import AROUND_BREAK, BREAK, RATE, DosePlan, entries_of
from fastcart.solvers.problem import ChunkResult, Problem
from fastcart.solvers.reading import uses_time
from fastcart.solvers.status import Status
from fastcart.solvers.tableaus import get
from fastcart.solvers.tableaus.confirm import confirming_weights
from fastcart.solvers.transform import LOG_ZERO, to_internal, to_natural

METHODS = ("DOP853", "Radau", "RK45", "BDF", "LSODA")
DEFAULT_METHOD = "DOP853"
EXPLICIT = ("DOP853", "RK45")

LOOKS = 200  # between the steps, where the right-hand side depends on time
_DEGREE = 13  # no interpolant of these methods has a higher one
_LEAST_RTOL = 3e-14
_BELOW = 4.0  # tolerances that a count may lie below zero: the errors of some steps add up
_CLOSER = 0.1  # estimates of errors are least to be trusted where steps are as long as what is integrated
_TENTH = 0.1  # unit of an integral, in integrals of the absolute value
_TOO_LARGE = 30.0  # a unit so many times too large lets the error of an integral grow too much
_ATTEMPTS = 6

# places of a polynomial of that degree in a step, from -1 to 1, and its coefficients from the values there
_NODES = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))[::-1]
_TO_CHEBYSHEV = np.linalg.inv(np.polynomial.chebyshev.chebvander(_NODES, _DEGREE))


@cache
def _confirmed(method: str) -> Any:
    """Return SciPy's class for a method; that of DOP853 has a second estimate of the error of integrals.

    SciPy's own combines two such that a corner in what is integrated is overlooked rather often.
    """
    from scipy import integrate

    if method != "DOP853":
        return getattr(integrate, method)
    weights = confirming_weights(get("dop853"))

    class Confirmed(integrate.DOP853):
        def __init__(self, *args: Any, integrals: int, **options: Any):
            self._integrals = integrals
            super().__init__(*args, **options)

        def _estimate_error_norm(self, K: np.ndarray, h: float, scale: np.ndarray) -> float:
            own = super()._estimate_error_norm(K, h, scale)
            first = K.shape[1] - self._integrals
            others = h * (weights @ K[:, first:]) / scale[first:]
            return np.max(np.abs(others), initial=own)

    return Confirmed


class _BudgetError(Exception):
    """Too many calls of the right-hand side."""


class _FailedError(Exception):
    """The patient cannot be solved; carries the status."""


class _UnresolvedError(Exception):
    """The right-hand side does between the steps what the solution does not follow."""


def solve_chunk(
    problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None = None
) -> ChunkResult:
    """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`. One thread is used."""
    result = ChunkResult.empty(len(y0), problem)
    f = internal_rhs(problem.model, tuple(bool(x) for x in problem.log), any(problem.infused))
    timed = uses_time(problem.model.rhs)
    u0 = to_internal(y0, problem.log, problem.scale)
    start, stop, *entries = entries_of(doses, len(y0))
    for i in range(len(y0)):
        mine = [values[start[i] : stop[i]] for values in entries]
        with np.errstate(all="ignore"):
            _solve_one(problem, f, timed, u0[i], p[i], mine, result, i)
    return result


def _solve_one(problem: Problem, f, timed: bool, u0, p, entries, result: ChunkResult, i: int) -> None:
    """Solve one patient, again where units of integrals or the longest step turn out to be too large."""
    integrals = problem.integrals
    scale = problem.scale.copy()
    scale[len(u0) - integrals :] = 1.0
    interval = problem.t_end / LOOKS
    for attempt in range(_ATTEMPTS):
        patient = _Patient(problem, f, timed, p, scale, entries)
        try:
            if integrals and attempt == 0:
                patient.guess_units(u0)
            patient.solve(u0)
            result.status[i] = Status.ok
        except _BudgetError:
            result.status[i] = Status.max_steps
        except _FailedError as failed:
            result.status[i] = failed.args[0]
        except _UnresolvedError:
            result.status[i] = Status.solver_error
            shorter = interval if problem.max_step > interval else interval / 8
            if problem.max_step > shorter:
                problem = replace(problem, max_step=shorter)
                continue
        result.steps[i] += patient.steps
        result.rhs_calls[i] += patient.calls
        result.t_reached[i] = patient.now
        if not (integrals and patient.units_changed(failed=result.status[i] != Status.ok)):
            break
    if result.status[i] == Status.ok:
        patient.report(result, i)


class _Patient:
    """One patient on the way from dose to dose."""

    def __init__(self, problem: Problem, f, timed: bool, p, scale, entries):
        self.problem, self.f, self.timed, self.p, self.entries = problem, f, timed, p, entries
        self.scale = scale
        n = len(scale)
        self.rates = np.zeros(n)
        self.largest = np.zeros(n)
        self.integrated = slice(n - problem.integrals, n)
        self.size = np.zeros(problem.integrals)  # of the integrals: ∫|z|
        self._set_tolerances()
        self.counts = np.flatnonzero(problem.nonnegative)
        self.calls = self.steps = 0
        self.now = 0.0
        self.low, self.high = 0.0, problem.t_end
        self.trouble = Status.ok  # that a right-hand side met last,
        self.t_trouble = np.inf  # and when

    def _set_tolerances(self) -> None:
        """A state in logarithm is known to rtol where its logarithm is known to that number."""
        problem = self.problem
        self.method = problem.method or DEFAULT_METHOD
        self.atol = np.full(len(self.scale), problem.rtol)
        self.rtol: Any = np.where(problem.log, _LEAST_RTOL, max(problem.rtol, _LEAST_RTOL))
        for tolerance in (self.rtol, self.atol):
            tolerance[self.integrated] = np.maximum(_CLOSER * tolerance[self.integrated], _LEAST_RTOL)
        if self.method not in EXPLICIT:  # their Newton iterations take one number for all states
            self.rtol = max(_CLOSER * problem.rtol if problem.integrals else problem.rtol, _LEAST_RTOL)

    def rhs(self, t: float, u: np.ndarray) -> np.ndarray:
        """Return the derivatives, NaN where there are none: solve_ivp then tries a shorter step."""
        self.calls += 1
        if self.calls > 20 * self.problem.max_steps:
            raise _BudgetError
        least = -_BELOW * self.problem.rtol * (1.0 + self.largest)
        if self.counts.size and (u[self.counts] < least[self.counts]).any():
            self.trouble, self.t_trouble = Status.negative, t
            return np.full(len(u), np.nan)
        try:
            return self.f(min(max(t, self.low), self.high), u, self.p, self.scale, self.rates)
        except (NumbaError, UnsupportedBytecodeError):  # it cannot be compiled at all
            raise
        except Exception:
            self.trouble, self.t_trouble = Status.rhs_error, t
            return np.full(len(u), np.nan)

    def guess_units(self, u0) -> None:
        """Guess the units of the integrals by what is integrated at the start."""
        size = np.abs(self.rhs(0.0, u0)[self.integrated]) * self.problem.t_end
        known = (size > 0) & (size < 1e100)
        self.scale[self.integrated][known] = _TENTH * size[known]

    def units_changed(self, *, failed: bool) -> bool:
        """Set the units by what the integrals came to; return whether that calls for another attempt."""
        unit = _TENTH * self.size
        units = self.scale[self.integrated]  # a view
        wrong = (units > _TOO_LARGE * unit) | (failed & (_TOO_LARGE * units < unit))
        wrong &= (unit > 0) & np.isfinite(unit)
        units[wrong] = unit[wrong]
        return bool(wrong.any())

    def solve(self, u0) -> None:
        """Go from dose to dose and from break to break."""
        problem, b = self.problem, self.problem.model.burden_index
        self.course = _Course(u0[b], u0[b])
        times = self.entries[0]
        self.saved = np.empty((len(problem.save_at), len(u0)))
        u = u0.copy()
        while True:
            before = u[b]
            self._give(times == self.now, u)
            self.course.jump(self.now, before, u[b])
            self.saved[problem.save_at == self.now] = u  # the state after the doses
            if self.now >= problem.t_end:
                break
            end = times[times > self.now].min(initial=problem.t_end)
            # what jumps at the start is seen from behind, what jumps at the end from before
            self.low = self.now * (1.0 + AROUND_BREAK)
            self.high = end if end == problem.t_end else end * (1.0 - AROUND_BREAK)
            u = self._segment(end, u)
            self.now = end
        self.final = u

    def _segment(self, end: float, u: np.ndarray) -> np.ndarray:
        """Integrate to the next dose and look at what was found; return the state there."""
        from scipy.integrate import solve_ivp

        problem = self.problem
        options = {"integrals": problem.integrals} if self.method == "DOP853" else {}
        slope = self.rhs(self.now, u)
        if not np.isfinite(slope).all():
            raise _FailedError(self._reason(slope, u))
        try:
            solution = solve_ivp(
                self.rhs, (self.now, end), u, method=_confirmed(self.method), rtol=self.rtol,
                atol=self.atol, max_step=problem.max_step, dense_output=True, **options,
            )  # fmt: skip
        except ValueError as error:
            singular = isinstance(error, np.linalg.LinAlgError)
            if not (singular or "infs or NaNs" in str(error)):
                raise
            # a Jacobian that is singular or not finite
            raise _FailedError(self.trouble or Status.non_finite) from None
        last = solution.y[:, -1]
        self.steps += len(solution.t) - 1
        if solution.status != 0 or not np.isfinite(last).all():
            self.now = solution.t[-1]
            raise _FailedError(self._reason(self.rhs(self.now, last), u))
        least = -_BELOW * problem.rtol * (1.0 + np.max(solution.y, axis=1, initial=0.0))
        if (solution.y[self.counts] < least[self.counts, np.newaxis]).any():
            raise _FailedError(Status.negative)
        self.largest = np.maximum(self.largest, solution.y.max(axis=1))
        if self.timed and not self._resolved(solution):
            raise _UnresolvedError
        self._measure(solution)
        inside = (problem.save_at > self.now) & (problem.save_at < end)
        if inside.any():
            self.saved[inside] = np.atleast_2d(solution.sol(problem.save_at[inside]).T)
        if problem.model.burden_index >= 0:
            self.course.follow(solution, problem.model.burden_index)
        return last.copy()

    def _give(self, due, u) -> None:
        """Apply dose entries to the integrated variables and the rates of infusion."""
        _, states, kinds, values = (column[due] for column in self.entries)
        for j, kind, value in zip(states, kinds, values, strict=True):
            if kind == RATE:
                self.rates[j] = value
            elif kind == BREAK:
                continue
            elif self.problem.log[j]:
                u[j] = np.log((np.exp(u[j]) if u[j] != LOG_ZERO else 0.0) + value)
            else:
                u[j] += value / self.scale[j]

    def _reason(self, du, u) -> Status:
        """Tell why the integration stopped from the derivatives where it did."""
        if abs(self.t_trouble - self.now) <= 1e-6 * self.problem.t_end:
            return self.trouble
        if np.isfinite(du).all():
            return Status.step_too_small
        stuck = self.problem.log & (u == LOG_ZERO) & ~np.isfinite(du)
        return Status.log_inflow if stuck.any() else Status.non_finite

    def _measure(self, solution) -> None:
        """Add up |z| of the integrals by trapezoids."""
        if self.size.size:
            slopes = np.array([self.rhs(t, u) for t, u in zip(solution.t, solution.y.T, strict=True)])
            z = np.abs(slopes[:, self.integrated] * self.scale[self.integrated])
            self.size += np.trapezoid(z, solution.t, axis=0)

    def _resolved(self, solution) -> bool:
        """Whether the solution follows its right-hand side between the steps too, wherever is looked.

        The difference of the slopes is turned into an error of the states, over one step, by Newton's method:
        a stiff right-hand side is large wherever its states are a little off.
        """
        rtol = self.problem.rtol
        allowed = min(1e4 * rtol, max(0.1, 30 * rtol))
        interval = self.problem.t_end / LOOKS
        times = np.arange(LOOKS) * interval + 0.381966 * interval
        for t in times[(times > solution.t[0]) & (times < solution.t[-1])]:
            k = np.searchsorted(solution.t, t) - 1
            step = solution.t[k + 1] - solution.t[k]
            reach = min(1e-5 * step, t - solution.t[k], solution.t[k + 1] - t)
            if step < 0.01 * interval or reach < 1e-6 * step:
                continue
            before, u, behind = solution.sol([t - reach, t, t + reach]).T
            du = self.rhs(t, u)
            r = du - (behind - before) / (2 * reach)
            weight = allowed * (1.0 + np.abs(u))
            if not (np.abs(step * r) > weight).any():
                continue
            changes = 1e-7 * (1.0 + np.abs(u))
            columns = [
                (self.rhs(t, u + change) - du) / change[j] for j, change in enumerate(np.diag(changes))
            ]
            try:
                error = np.linalg.solve(np.eye(len(u)) / step - np.array(columns).T, r)
            except np.linalg.LinAlgError:
                continue
            if (np.abs(error) > weight).any():
                return False
        return True

    def report(self, result: ChunkResult, i: int) -> None:
        """Fill in the row of a patient that was solved."""
        problem, course, b = self.problem, self.course, self.problem.model.burden_index
        result.final[i] = to_natural(self.final, problem.log, self.scale)
        result.saved[i] = to_natural(self.saved, problem.log, self.scale)
        if b >= 0:
            above = self.final[b] > course.level
            result.progression[i] = course.crossings[0] if course.crossings else np.nan
            result.pfs[i] = (course.crossings[-1] if course.crossings else 0.0) if above else problem.t_end
            result.t_nadir[i] = course.t_lowest
            result.nadir[i] = to_natural(course.lowest, problem.log[b], self.scale[b])


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

    def follow(self, solution: Any, b: int) -> None:
        """Look at one solution, step by step, on its interpolant between all turning points of it."""
        from scipy.optimize import brentq

        def g(t):
            return float(solution.sol(t)[b]) - self.level

        first = True
        for low, high, turns in _turning_points(solution, b):
            places = np.array([low, *turns, high])
            values = np.array([g(t) for t in places])
            if first:
                values[0] = solution.y[b, 0] - self.level
            for k in range(len(places) - 1):
                if not values[k] <= 0 < values[k + 1]:
                    continue
                if first and k == 0 and values[0] == 0.0:  # growth from the very start
                    self.crossings.append(low)
                elif values[k] == 0.0:
                    self.crossings.append(places[k])
                else:
                    self.crossings.append(brentq(g, places[k], places[k + 1], xtol=1e-12))
            lowest = int(np.argmin(values))
            if values[lowest] + self.level < self.lowest:
                self.lowest, self.t_lowest = values[lowest] + self.level, places[lowest]
            first = False


def _turning_points(solution: Any, b: int):
    """Yield the ends of each step and all places between them where the interpolant's slope is zero.

    The interpolant is a polynomial, so its values at enough places say all about it.
    """
    from numpy.polynomial import chebyshev

    t = solution.t
    places = t[:-1, np.newaxis] + 0.5 * np.diff(t)[:, np.newaxis] * (1.0 + _NODES)
    values = solution.sol(places.ravel())[b].reshape(places.shape)
    slopes = chebyshev.chebder(_TO_CHEBYSHEV @ values.T).T
    for k, slope in enumerate(slopes):
        size = np.abs(slope)
        turns = np.empty(0)
        if size[0] <= size[1:].sum():  # else it has one sign throughout
            # rounding makes coefficients that the polynomial does not have
            noise = 1e-14 * _DEGREE**2 * np.abs(values[k]).max()
            known = np.flatnonzero(size > noise)
            roots = chebyshev.chebroots(slope[: known[-1] + 1]) if known.size and known[-1] > 0 else turns
            roots = np.real(roots[np.abs(np.imag(roots)) < 1e-6])
            roots = np.sort(roots[np.abs(roots) < 1.0])
            turns = t[k] + 0.5 * (t[k + 1] - t[k]) * (1.0 + roots)
        yield t[k], t[k + 1], turns
