"""Engine ``scipy``: `scipy.integrate.solve_ivp` one patient at a time, the slow independent oracle.

Integrals are states of their own, in units of a tenth of what they come to; that size is guessed, and where
the guess was far too large the patient is solved again. So is one whose right-hand side does between the
steps what the solution does not follow; then the steps are limited.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numba import float64
from numba.core.errors import NumbaError, UnsupportedBytecodeError

from fastcart.solvers.actions import ADD, AT_ONCE_MOST, PENDING, acted, acts, next_due
from fastcart.solvers.algebraic import settle, settling
from fastcart.solvers.arrays import internal_rhs
from fastcart.solvers.doses import (
    BREAK,
    JUMP,
    PARAMETER,
    RATE,
    DosePlan,
    around_breaks,
    between,
    entries_of,
)
from fastcart.solvers.items import AT_START, JUMPED, Watched, records_of, report, watched_of
from fastcart.solvers.problem import ChunkResult, Problem, Saves
from fastcart.solvers.reading import uses_time
from fastcart.solvers.scipy_watch import Watch
from fastcart.solvers.status import FASTER, RISES, Status
from fastcart.solvers.tableaus import get
from fastcart.solvers.tableaus.confirm import confirming_weights
from fastcart.solvers.transform import LOG_ZERO, kept_share, to_internal, to_natural

METHODS = ("DOP853", "Radau", "RK45", "BDF", "LSODA")
DEFAULT_METHOD = "DOP853"
EXPLICIT = ("DOP853", "RK45")
_OTHER_SIDE = ("BDF", "LSODA")  # whose interpolant holds up to the end of its step

LOOKS = 200  # between the steps, where the right-hand side depends on time
_LEAST_RTOL = 3e-14
_BELOW = 4.0  # tolerances that a count may lie below zero: the errors of some steps add up
_CLOSER = 0.1  # estimates of errors are least to be trusted where steps are as long as what is integrated
# SciPy's DOP853 interpolates to seventh order in long steps: in between it errs by up to 300 times rtol
_INTERPOLATED = 0.01
_TENTH = 0.1  # unit of an integral, in integrals of the absolute value
_TOO_LARGE = 30.0  # a unit so many times too large lets the error of an integral grow too much
_ATTEMPTS = 6
_NEAR = 1e-6  # of the time: where steps behind are on the way to infinity, if they are
_MAY_BLOW_UP = (Status.step_too_small, Status.non_finite)
_SHORTEST = 1e-12  # of the horizon: no segment is shorter


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
    problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None = None,
    saves: Saves | None = None,
) -> ChunkResult:  # fmt: skip
    """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`. One thread is used."""
    saves = saves or Saves.all_of(problem.save_at, len(y0))
    result = ChunkResult.empty(len(y0), problem, saves)
    f = internal_rhs(problem.model, tuple(bool(x) for x in problem.log), any(problem.infused))
    watched = watched_of(problem)
    records = records_of(watched, len(y0))
    common = _Common(problem, f, uses_time(problem.model.rhs), watched)
    _compile(f)
    u0 = to_internal(y0, problem.log, problem.scale)
    final = np.full_like(u0, np.nan)
    start, stop, *entries = entries_of(doses, len(y0))
    for i in range(len(y0)):
        own = replace(problem, save_at=problem.save_at[saves.begin[i] : saves.end[i]])
        mine = [values[start[i] : stop[i]] for values in entries]
        with np.errstate(all="ignore"):
            patient = _solve_one(replace(common, problem=own), u0[i], p[i], mine, records[i], result, i)
        if result.status[i] == Status.ok:
            final[i] = patient.final
            result.final[i] = to_natural(patient.final, problem.log, patient.scale)
            path = to_natural(patient.saved, problem.log, patient.scale)
            result.saved[:, saves.offsets[i] : saves.offsets[i + 1]] = path[:, problem.saved_states].T
            result.cured[i] = patient.cured
    report(result, problem, watched, records, y0, final)
    return result


def _compile(f: Any) -> None:
    """Compile the right-hand side where an error is not taken for one of the model at some time."""
    if hasattr(f, "compile"):  # without its compiler, numba makes plain functions
        f.compile((float64, *(float64[::1],) * 4))


@dataclass(frozen=True)
class _Common:
    """What is the same for all patients."""

    problem: Problem
    f: Callable[..., np.ndarray]  # derivatives in integrated variables
    timed: bool
    watched: Watched


def _solve_one(common: _Common, u0, p, entries, record, result: ChunkResult, i: int) -> _Patient:
    """Solve one patient, again where units of integrals or the longest step turn out to be too large."""
    problem = common.problem
    integrals = problem.integrals
    scale = problem.scale.copy()
    scale[len(u0) - integrals :] = 1.0
    interval = problem.t_end / LOOKS
    for attempt in range(_ATTEMPTS):
        patient = _Patient(replace(common, problem=problem), p, scale, entries, record)
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
    return patient


class _Solution:
    """Times and states of steps, and the interpolant of all, as `scipy.integrate.solve_ivp` returns them."""

    def __init__(self, t: np.ndarray, y: np.ndarray, pieces: list, other_side: bool):
        from scipy.integrate import OdeSolution

        self.t, self.y = t, y
        self.sol = OdeSolution(t, pieces, alt_segment=other_side)


class _Patient:
    """One patient on the way from dose to dose."""

    def __init__(self, common: _Common, p, scale, entries, record):
        self.problem, self.f, self.timed = common.problem, common.f, common.timed
        self.p, self.entries, self.scale = p.copy(), entries, scale
        problem = self.problem
        n = len(scale)
        self.rates = np.zeros(n)
        self.largest = np.zeros(n)
        self.integrated = slice(n - problem.integrals, n)
        self.size = np.zeros(problem.integrals)  # of the integrals: ∫|z|
        interpolates = len(common.watched.items) > 0 or bool((problem.save_at < problem.t_end).any())
        self._set_tolerances(interpolates)
        self.counts = np.flatnonzero(problem.nonnegative)
        self.calls = self.steps = 0
        self.now = 0.0
        self.low, self.high = 0.0, problem.t_end
        self.trouble = Status.ok  # that a right-hand side met last,
        self.t_trouble = np.inf  # and when
        self.watch = Watch(common.watched, record, problem.rtol, problem.log, scale, self.counted)
        self.cured = False

    def _set_tolerances(self, interpolates: bool) -> None:
        """A state in logarithm is known to rtol where its logarithm is known to that number."""
        problem = self.problem
        self.method = problem.method or DEFAULT_METHOD
        closer = _INTERPOLATED if interpolates and self.method == "DOP853" else 1.0
        smallest = max(closer * problem.rtol, _LEAST_RTOL)
        self.atol = np.full(len(self.scale), smallest)
        self.rtol: Any = np.where(problem.log, _LEAST_RTOL, smallest)
        for tolerance in (self.rtol, self.atol):
            tolerance[self.integrated] = np.maximum(_CLOSER * tolerance[self.integrated], _LEAST_RTOL)
        if self.method not in EXPLICIT:  # their Newton iterations take one number for all states
            self.rtol = max(_CLOSER * problem.rtol if problem.integrals else problem.rtol, _LEAST_RTOL)

    def rhs(self, t: float, u: np.ndarray) -> np.ndarray:
        """Return the derivatives, NaN where there are none: solve_ivp then tries a shorter step."""
        self._count()
        least = -_BELOW * self.problem.rtol * (1.0 + self.largest)
        if self.counts.size and (u[self.counts] < least[self.counts]).any():
            self.trouble, self.t_trouble = Status.negative, t
            return np.full(len(u), np.nan)
        return self.derivatives(t, u)

    def _count(self) -> None:
        self.calls += 1
        if self.calls > 20 * self.problem.max_steps:
            raise _BudgetError

    def counted(self, t: float, u: np.ndarray) -> np.ndarray:
        """Return the derivatives for a look at a step, which costs too: at a pole looks have no end."""
        self._count()
        return self.derivatives(t, u)

    def derivatives(self, t: float, u: np.ndarray) -> np.ndarray:
        """Return the derivatives, at times between two stops only."""
        try:
            du = self.f(min(max(t, self.low), self.high), u, self.p, self.scale, self.rates)
        except (NumbaError, UnsupportedBytecodeError):  # it cannot be compiled at all
            raise
        except Exception:
            self.trouble, self.t_trouble = Status.rhs_error, t
            return np.full(len(u), np.nan)
        if np.isfinite(u).all() and not np.isfinite(du).all():
            self.trouble, self.t_trouble = Status.non_finite, t
        return du

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
        """Go from stop to stop: doses, breaks, and where an item ends the integration or a group dies out."""
        problem, watch, b = self.problem, self.watch, self.problem.model.burden_index
        times, _, kinds, values = self.entries
        around, moment = around_breaks(kinds, values), watch.watched.actions.moment
        self.saved = np.full((len(problem.save_at), len(u0)), np.nan)
        u = u0.copy()
        watch.start(u, self.p)
        due, fired, item, chained = times == self.now, AT_START, -1, 0
        self.pending: list[tuple[float, int]] = []  # times and items of actions that wait
        while True:
            self._give(due, u)
            if watch.is_death(item):
                self.cured = watch.die_out(u, item, b) or self.cured
            elif item >= 0 and acts(watch.watched.actions, item):
                fired = item
                self._fire(item, u)
            elif item >= 0:
                break
            acted = self._act_due(u) or item >= 0
            changed = acted or bool(due.any())
            if changed:
                self._settle(u)
            since = self.now - moment if acted else self.now
            self.saved[(problem.save_at >= since) & (problem.save_at <= self.now)] = u  # after the doses
            if self.now >= problem.t_end and not changed:
                break
            waiting = min((time for time, _ in self.pending), default=math.inf)
            stop = times[times > self.now].min(initial=problem.t_end)
            if waiting < stop - moment:
                end = max(waiting, self.now + _SHORTEST * problem.t_end)
            else:
                end = stop
            due_there = waiting <= end or (times == end).any()
            inner = end < problem.t_end or (kinds[times == end] == BREAK).any()
            self.low, self.high = between(self.now, end, bool(inner), around)
            item = watch.stand(self.now, u, fired=fired)
            fired, due = JUMPED, times < 0
            chained = chained + 1 if item >= 0 else 0
            if chained > AT_ONCE_MOST:
                raise _FailedError(Status.max_steps)
            if item < 0 and self.now < problem.t_end:
                u, item = self._segment(end, end - moment if due_there else math.inf, u)
                due = (times == self.now) & (item < 0)
        self.final = u
        self.cured = self.cured and u[b] == (LOG_ZERO if problem.log[b] else 0.0)

    def _segment(self, end: float, held: float, u: np.ndarray) -> tuple[np.ndarray, int]:
        """Integrate to the next stop, or to where an item ends all; return state and item there.

        What happens from the time ``held`` on belongs to the moment of the stop, and comes behind it.
        """
        problem = self.problem
        slope = self.rhs(self.now, u)
        if not np.isfinite(slope).all():
            raise _FailedError(self._reason(slope, u))
        try:
            solution, item = self._run(end, held, u)
        except ValueError as error:
            singular = isinstance(error, np.linalg.LinAlgError)
            if not (singular or "infs or NaNs" in str(error)):
                raise
            # a Jacobian that is singular or not finite
            raise _FailedError(self.trouble or Status.non_finite) from None
        last = solution.y[:, -1]
        least = -_BELOW * problem.rtol * (1.0 + np.max(solution.y, axis=1, initial=0.0))
        if (solution.y[self.counts] < least[self.counts, np.newaxis]).any():
            raise _FailedError(Status.negative)
        self.largest = np.maximum(self.largest, solution.y.max(axis=1))
        if self.timed and not self._resolved(solution):
            raise _UnresolvedError
        self._measure(solution)
        inside = (problem.save_at > self.now) & (problem.save_at < solution.t[-1])
        if inside.any():
            self.saved[inside] = np.atleast_2d(solution.sol(problem.save_at[inside]).T)
        self.now = float(solution.t[-1])
        if item >= 0:
            self.watch.arrive(self.now, last, item)
        return last.copy(), item

    def _run(self, end: float, held: float, u: np.ndarray) -> tuple[_Solution, int]:
        """Step to the end, and look at each step; stop where an item ends the integration."""
        options = {"integrals": self.problem.integrals} if self.method == "DOP853" else {}
        solver = _confirmed(self.method)(
            self.rhs, self.now, u, end, rtol=self.rtol, atol=self.atol, max_step=self.problem.max_step,
            **options,
        )  # fmt: skip
        times, states, pieces = [self.now], [u], []
        try:
            item = self._steps(solver, held, times, states, pieces)
        except (ValueError, _BudgetError, _FailedError):
            self.now = times[-1]  # how far it came
            raise
        return _Solution(np.array(times), np.array(states).T, pieces, self.method in _OTHER_SIDE), item

    def _steps(self, solver: Any, held: float, times: list, states: list, pieces: list) -> int:
        """Step on, and add each step to the lists; return the item that ends the integration, or -1."""
        item = -1
        while solver.status == "running" and item < 0:
            solver.step()
            self.steps += solver.status != "failed"
            if solver.status == "failed" or not np.isfinite(solver.y).all():
                self.now = float(solver.t)
                reason = self._reason(self.rhs(self.now, solver.y), states[0])
                blows_up = reason in _MAY_BLOW_UP and self._blows_up(times, states)
                raise _FailedError(Status.blow_up if blows_up else reason)
            piece = solver.dense_output()
            t, y = float(solver.t), solver.y
            when, item = self.watch.step(piece, (times[-1], states[-1]), (t, y), held)
            if item >= 0:
                t = max(when, np.nextafter(times[-1], math.inf))  # a step of some length
                y = piece(t)
            times.append(t)
            states.append(y)
            pieces.append(piece)
        return item

    def _give(self, due, u) -> None:
        """Apply dose entries to the integrated variables and the rates of infusion."""
        _, states, kinds, values = (column[due] for column in self.entries)
        for j, kind, value in zip(states, kinds, values, strict=True):
            if kind == RATE:
                self.rates[j] = value
            elif kind == PARAMETER:
                self.p[j] = value
            elif kind != BREAK:
                self._change(j, value, u, anew=kind != JUMP)

    def _fire(self, item: int, u: np.ndarray) -> None:
        """Let an item that happened act, at once or later."""
        actions = self.watch.watched.actions
        of = actions.delay_of[item]
        wait = float(self.p[of] if of >= 0 else actions.delay[item])
        if not wait >= 0:
            raise _FailedError(Status.solver_error)
        if len(self.pending) == PENDING:
            raise _FailedError(Status.max_steps)
        if wait > 0 or of >= 0:
            self.pending.append((self.now + wait, item))
        else:
            self._act(item, u)

    def _act_due(self, u: np.ndarray) -> bool:
        """Let act what waited for this time; return whether anything did."""
        any_due = False
        while self.pending:
            waiting = np.array(self.pending).T
            x = next_due(self.watch.watched.actions, waiting, len(self.pending), self.now)
            if x < 0:
                break
            self._act(self.pending.pop(x)[1], u)
            any_due = True
        return any_due

    def _act(self, item: int, u: np.ndarray) -> None:
        """Change the states as an item asks for."""
        actions = self.watch.watched.actions
        for k in range(actions.first[item], actions.first[item + 1]):
            j, kind, of = actions.state[k], actions.kind[k], actions.parameter[k]
            value = float(self.p[of] if of >= 0 else actions.value[k])
            if kind == ADD:
                self._change(j, value, u, anew=False)
            else:
                self._change(j, acted(kind, self._natural(j, u), value), u, anew=True)

    def _settle(self, u: np.ndarray) -> None:
        """Solve for the algebraic variables where the states jumped to."""
        system, log = self.problem.model, self.problem.log
        if system.manifold is None and system.moments is None:
            return
        y = to_natural(u[np.newaxis], log, self.scale)
        if settle(system, np.array([self.now]), y, self.p[np.newaxis])[0]:
            raise _FailedError(Status.no_root)
        solved = settling(system).solved
        u[solved] = to_internal(y, log, self.scale)[0, solved]

    def _natural(self, j: int, u: np.ndarray) -> float:
        if self.problem.log[j]:
            return float(np.exp(u[j])) if u[j] != LOG_ZERO else 0.0
        return float(u[j] * self.scale[j])

    def _change(self, j: int, value: float, u: np.ndarray, *, anew: bool) -> None:
        """Add an amount to a state, or give it anew."""
        log, scale, rtol = self.problem.log[j], self.scale[j], self.problem.rtol
        y = 0.0 if anew else self._natural(j, u)
        total = y + value
        held = log or self.problem.nonnegative[j]
        if held and value < 0 and total < -rtol * (y if log else scale + abs(y)):
            raise _FailedError(Status.negative)
        before = u[j]
        if log:
            u[j] = np.log(total) if total > 0 else LOG_ZERO
        else:
            u[j] = value / scale if anew else u[j] + value / scale
        own, count = self.problem.differentiated
        if j < own:
            u[j + own : own * (1 + count) : own] *= kept_share(before, u[j], log, 1.0)

    def _reason(self, du, u) -> Status:
        """Tell why the integration stopped from the derivatives where it did."""
        near = abs(self.t_trouble - self.now) <= 1e-6 * self.problem.t_end
        if near and self.trouble != Status.non_finite:
            return self.trouble
        stuck = self.problem.log & (u == LOG_ZERO) & ~np.isfinite(du)
        if stuck.any():
            return Status.log_inflow
        return Status.non_finite if near or not np.isfinite(du).all() else Status.step_too_small

    def _blows_up(self, times, states) -> bool:
        """Whether the steps taken led towards infinity: ever shorter ones, and ever faster growth."""
        now = times[-1]
        earlier = np.searchsorted(times, now * (1 - _NEAR)) - 1
        if earlier < 0:
            return False
        before, last = (self._growth(times[k], states[k]) for k in (earlier, -1))
        return bool(last * (now - times[-2]) > RISES and last > FASTER * before)

    def _growth(self, t, u) -> float:
        """Return the fastest rate of growth of a state, relative to itself."""
        du = self.rhs(t, u)
        rates = np.where(self.problem.log, du, du / u)[: self.integrated.start]
        return float(np.max(rates[np.isfinite(rates)], initial=0.0))

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
