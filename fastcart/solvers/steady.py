"""Steady states under repeated doses: the fixed point of the map of one interval, by Newton's method.

The map takes the states at the begin of an interval to those at its end. Repeating it comes to the steady
state as slowly as the slowest state decays, so a few intervals are repeated and then Newton's method solves
``y = map(y)`` with differences for the Jacobian: all states of all patients are varied in one batch. The last
Newton step estimates the error; that the map changes nothing more would say little where it contracts
slowly. What is found must attract: all eigenvalues of the map are within the unit circle.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from fastcart.solvers.dosed import Solver, solve_dosed
from fastcart.solvers.doses import canonical, make_plan
from fastcart.solvers.problem import Problem
from fastcart.solvers.status import Status

_REPEATED = 4  # intervals before the first Newton step
_NEWTON = 25  # steps at most
_CLOSER = (0.1, 1e-3, 1e-5)  # parts of rtol, for maps that contract more and more slowly
_LEAST_RTOL = 1e-13
_ALWAYS_GOOD = 1e-10  # errors below are taken, whatever was asked for


@dataclass(frozen=True)
class Repeated:
    """Doses that have been repeated for ever, one for each steady state that is asked for.

    Parameters
    ----------
    start : ndarray, shape (doses, states)
        Where the search begins.
    p : ndarray, shape (doses, parameters)
    state : ndarray of int, shape (doses,)
    amount, length, lag, every : ndarray, shape (doses,)
        Given at ``lag`` in each interval of length ``every``, over a time ``length`` that may be longer than
        the interval; 0 is a bolus. Where ``every`` is 0, ``amount`` is the rate of an infusion without end.
    """

    start: np.ndarray
    p: np.ndarray
    state: np.ndarray
    amount: np.ndarray
    length: np.ndarray
    lag: np.ndarray
    every: np.ndarray

    def take(self, rows: np.ndarray) -> Repeated:
        """Return some of them."""
        return Repeated(*(getattr(self, item.name)[rows] for item in fields(self)))


def steady_states(
    problem: Problem, solve_chunk: Solver, doses: Repeated, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the states at the begin of an interval.

    What is found for one does not depend on the others.

    Parameters
    ----------
    problem : Problem
    solve_chunk : callable
        Of an engine.
    doses : Repeated
    threads : int

    Returns
    -------
    states : ndarray, shape (doses, states)
        Integrals are 0; the start where none was found.
    found : ndarray of bool, shape (doses,)
        Whether a state was found that attracts and is known to ``rtol``, or to 1e-10.
    """
    states, found = doses.start.copy(), np.zeros(len(doses.state), dtype=bool)
    states[:, states.shape[1] - problem.integrals :] = 0.0
    period = np.where(doses.every > 0, doses.every, problem.t_end)
    for length in np.unique(period):
        rows = np.flatnonzero(period == length)
        interval = replace(
            problem, t_end=float(length), save_at=np.empty(0), save=(), peaks=(), events=(), breaks=(),
            extinction=None,
        )  # fmt: skip
        for part in _CLOSER:
            closer = replace(interval, rtol=max(part * problem.rtol, _LEAST_RTOL))
            chosen = doses.take(rows)
            search = _Search(closer, problem.rtol, solve_chunk, chosen, threads)
            states[rows], found[rows] = search.run(states[rows])
            rows = rows[~found[rows]]
            if not rows.size:
                break
            states[rows, :] = doses.start[rows]
    states[~found] = doses.start[~found]
    return states, found


class _Search:
    """Newton's method for all doses of one interval, each stopped by itself."""

    def __init__(self, problem: Problem, rtol: float, solve_chunk: Solver, doses: Repeated, threads: int):
        self.problem, self.rtol, self.solve_chunk, self.threads = problem, rtol, solve_chunk, threads
        self.doses = doses
        self.own = doses.start.shape[1] - problem.integrals
        self.log = problem.log[: self.own]
        self.held = self.log | problem.nonnegative[: self.own]
        self.scale = np.where(self.log, 0.0, problem.scale[: self.own])

    def map(self, doses: Repeated, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the own states at the end of an interval, and whether it was solved."""
        states = doses.start.shape[1]
        start = np.zeros((len(y), states))
        start[:, : self.own] = y
        row, begin, end, amount = _within(doses, self.problem.t_end)
        plan = make_plan(
            len(y), states, row, begin, end, doses.state[row], amount, self.problem.t_end
        )  # fmt: skip
        result = solve_dosed(self.solve_chunk, self.problem, start, doses.p, self.threads, plan)
        after = result.final[:, : self.own]
        return after, (result.status == Status.ok) & np.isfinite(after).all(axis=1)

    def run(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the states, and which were found."""
        full, y = y.copy(), y[:, : self.own].copy()
        found = np.zeros(len(y), dtype=bool)
        going = np.arange(len(y))
        for _ in range(_REPEATED):
            after, good = self.map(self.doses.take(going), y[going])
            y[going[good]] = after[good]
            going = going[good]
        for _ in range(_NEWTON):
            if not going.size:
                break
            y[going], done, good = self.step(self.doses.take(going), y[going])
            found[going[done & good]] = True
            going = going[good & ~done]
        full[:, : self.own] = y
        return full, found

    def step(self, doses: Repeated, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take a Newton step; return the states, who has arrived, and who may go on."""
        count, n = y.shape
        size = np.sqrt(self.problem.rtol) * np.maximum(np.abs(y), self.scale)
        varied = np.repeat(y, n + 1, axis=0).reshape(count, n + 1, n)
        varied[:, np.arange(n), np.arange(n)] += size
        change = varied[:, np.arange(n), np.arange(n)] - y  # what was added, after rounding
        rows = np.repeat(np.arange(count), n + 1)
        ends, solved = self.map(doses.take(rows), varied.reshape(-1, n))
        after = ends.reshape(count, n + 1, n)
        good = np.asarray(solved.reshape(count, n + 1).all(axis=1))
        base = after[:, n]
        divisor = np.where(change == 0, 1.0, change)  # an exact zero in logarithm stays one
        with np.errstate(all="ignore"):
            J = np.swapaxes((after[:, :n] - base[:, None]) / divisor[:, :, None], 1, 2)
        J[np.broadcast_to((change == 0)[:, None, :], J.shape)] = 0.0
        good = good & np.isfinite(J).all(axis=(1, 2))
        J[~good] = 0.0
        new, done = base.copy(), np.zeros(count, dtype=bool)
        for j in np.flatnonzero(good):
            new[j], done[j], good[j] = self.newton(y[j], base[j], J[j])
        return new, done, good

    def newton(self, y: np.ndarray, after: np.ndarray, J: np.ndarray) -> tuple[np.ndarray, bool, bool]:
        """Return the next states of one, whether these are the steady ones, and whether to go on."""
        try:
            inverse = np.linalg.inv(np.eye(len(y)) - J)
        except np.linalg.LinAlgError:
            return after, False, True
        step = inverse @ (after - y)
        new = y + step
        weight = self.scale + np.maximum(np.abs(new), np.abs(after))
        if self.held.any() and (new[self.held] < -self.rtol * weight[self.held]).any():
            return after, False, True  # as if the interval were repeated
        new = np.where(self.held, np.maximum(new, 0.0), new)
        if (np.abs(step) > 0.1 * self.rtol * weight).any():
            return new, False, True
        attracts = bool(np.abs(np.linalg.eigvals(J)).max(initial=0.0) < 1.0)
        # errors of one interval add up over all before it
        error = self.problem.rtol * (np.abs(inverse) @ weight)
        known = bool((error <= max(self.rtol, _ALWAYS_GOOD) * weight).all())
        return new, True, attracts and known


def _within(doses: Repeated, period: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return which dose, begin, end and amount of all that is given within one interval."""
    endless = doses.every == 0
    every = np.where(endless, period, doses.every)
    length = np.where(endless, period, doses.length)
    amount = np.where(endless, doses.amount * period, doses.amount)
    before = np.ceil((doses.lag + length) / every).astype(np.int64)  # those of earlier intervals
    before[endless | (length == 0)] = 0
    row = np.repeat(np.arange(len(every)), before + 1)
    k = np.arange(len(row)) - np.repeat(np.cumsum(before + 1) - (before + 1), before + 1)
    begin = doses.lag[row] - k * every[row]
    end = begin + length[row]
    lasts = length[row] > 0
    inside = np.where(lasts, (end > 0) & (begin < period), (begin >= 0) & (begin <= period))
    row, begin, end, lasts = row[inside], begin[inside], end[inside], lasts[inside]
    first, last = np.maximum(begin, 0.0), np.minimum(end, period)
    part = np.where(lasts, (last - first) / np.where(lasts, end - begin, 1.0), 1.0)
    return row, canonical(first, period), canonical(last, period), amount[row] * part
