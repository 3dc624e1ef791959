"""Courses of a problem's conditions: rows of arrays in, what formulas read at times of measurements out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fastcart.batch import make_problem
from fastcart.engines import begins_with, resolve_engine, solve_rows
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.result import saved_columns
from fastcart.saving import SaveTimes
from fastcart.solvers.doses import DosePlan, make_plan
from fastcart.solvers.lanes import engine as lanes
from fastcart.solvers.problem import ChunkResult, Problem, Saves, places
from fastcart.solvers.sensitivities import check
from fastcart.solvers.status import Status
from fastcart.solvers.trace.graph import TraceError
from fastcart.solvers.trace.sensitivities import Directions

_FEW_STEPS = 5000  # of a course with sensitivities
_TIGHT = 1e-10
_HORIZONS = (1e3, 1e5, 1e8, 1e11)  # how long a steady state is waited for, one after the other
_PLACES = (0.5, 0.62, 0.81, 1.0)  # of these, between which nothing may change
_STEADY = 1e-6  # of a state, and of what still matters of it


class Slopes(NamedTuple):
    """Derivatives by the dynamic parameters, and the sizes that these count by, a row for each course.

    Parameters
    ----------
    states : ndarray, shape (rows, dynamic, states)
        Of initial values.
    parameters : ndarray, shape (rows, dynamic, parameters)
    sizes : ndarray, shape (rows, dynamic)
    """

    states: np.ndarray
    parameters: np.ndarray
    sizes: np.ndarray

    def take(self, rows: np.ndarray) -> Slopes:
        """Return some rows."""
        return Slopes(self.states[rows], self.parameters[rows], self.sizes[rows])


class Solved(NamedTuple):
    """Results.

    Parameters
    ----------
    values : ndarray, shape (quantities, times of all courses)
        NaN where a course failed.
    status : ndarray of int, shape (rows,)
    slopes : ndarray or None, shape (dynamic, quantities, times of all courses)
    """

    values: np.ndarray
    status: np.ndarray
    slopes: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Courses:
    """Solves courses whose times are those of one of several conditions.

    Parameters
    ----------
    problem : Problem
    saves : Saves
        Of each condition.
    engine : str
    moved : tuple of (int, int)
        Which parameters change with which dynamic parameter.
    dynamic : int
        How many of these there are.
    threads : int
    """

    problem: Problem
    saves: Saves
    engine: str
    moved: tuple[tuple[int, int], ...]
    dynamic: int
    threads: int

    def solve(
        self, y0: np.ndarray, p: np.ndarray, condition: np.ndarray, slopes: Slopes | None = None
    ) -> Solved:
        """Solve courses, a row each; with slopes what they are differentiated by, too."""
        saves = self.saves.take(condition)
        problem = self.problem if slopes is None else self._differentiated
        found, status, by = self._solved(problem, y0, p, saves, slopes)
        self._again(problem, (y0, p, saves, slopes), found, status, by)
        return Solved(found, status, by)

    def _again(
        self, problem: Problem, given: tuple, found: np.ndarray, status: np.ndarray, by: np.ndarray | None
    ) -> None:
        """Let those that failed, perhaps after their last measurement, end with it."""
        y0, p, saves, slopes = given
        last = problem.save_at[saves.end - 1]
        failed = (status != Status.ok) & (last < problem.t_end) & (last > 0.0)
        for end in np.unique(last[failed]):
            rows = np.flatnonzero(failed & (last == end))
            mine = saves.take(rows)
            theirs = None if slopes is None else slopes.take(rows)
            part = replace(problem, t_end=float(end))
            some, status[rows], some_by = self._solved(part, y0[rows], p[rows], mine, theirs)
            at = places(saves.offsets[rows], np.diff(mine.offsets))
            found[:, at] = some
            if by is not None:
                by[..., at] = some_by

    def _solved(
        self, problem: Problem, y0: np.ndarray, p: np.ndarray, saves: Saves, slopes: Slopes | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        start = y0.copy()
        given = p if slopes is None else self._widened(p, slopes)
        plan = self._plan(problem, start, p)
        result = self._run(problem, start, given, plan, saves)
        columns = saved_columns(problem, result, np.ascontiguousarray(p), saves, self.threads)
        values = np.stack([columns[name] for name in problem.save])
        return values, result.status, result.saved_slopes

    def _run(
        self, problem: Problem, y0: np.ndarray, p: np.ndarray, plan: DosePlan | None, saves: Saves
    ) -> ChunkResult:
        """Solve; with sensitivities by the two methods of lanes, each with few steps, and no one else.

        What they cannot solve is left to differences of courses without, which take much less time.
        """
        if problem.directions is None or self.engine != "auto" or problem.method is not None:
            return solve_rows(problem, self.engine, y0, p, self.threads, plan, saves)
        first = begins_with("auto", self.problem)
        methods = [first, lanes.STIFF_METHOD] if first != lanes.STIFF_METHOD else [first]
        result, rows = None, np.arange(len(y0))
        for method in methods:
            part = self._limited(problem, method)
            mine = None if plan is None else plan.take(rows)
            found = solve_rows(part, "lanes", y0[rows].copy(), p[rows], self.threads, mine, saves.take(rows))
            if result is None:
                result = found
            else:
                result.put(rows, found)
            rows = np.flatnonzero((result.status != Status.ok) & (result.status != Status.blow_up))
            if not len(rows):
                break
        assert result is not None
        return result

    def _limited(self, problem: Problem, method: str | None) -> Problem:
        """Return the problem for one method with few steps, made once.

        At tight tolerances the first steps are so short that they say nothing of how many there will be.
        """
        key = f"few steps {method} {problem.t_end}"
        if key not in self.problem.kept:
            budget = min(_FEW_STEPS, problem.max_steps)
            ahead = 4.0 * budget if problem.rtol > _TIGHT else np.inf
            self.problem.kept[key] = replace(problem, method=method, max_steps=budget, max_steps_ahead=ahead)
        return self.problem.kept[key]

    def _widened(self, p: np.ndarray, slopes: Slopes) -> np.ndarray:
        """Return parameters with what `fastcart.solvers.sensitivities` needs behind them."""
        own = len(self.problem.model.states) - self.problem.integrals
        moved = [slopes.parameters[:, d, j] * slopes.sizes[:, d] for j, d in self.moved]
        initial = np.zeros((len(p), self.dynamic, own))
        initial[:, :, : slopes.states.shape[2]] = slopes.states * slopes.sizes[:, :, np.newaxis]
        columns = [p, *(x[:, np.newaxis] for x in moved), initial.reshape(len(p), -1), slopes.sizes]
        return np.ascontiguousarray(np.hstack(columns))

    def _plan(self, problem: Problem, y0: np.ndarray, p: np.ndarray) -> DosePlan | None:
        """Return where the right-hand side of each course may jump."""
        if not problem.breaks:
            return None
        names = list(problem.model.parameter_names)
        every = [p[:, names.index(x)] if isinstance(x, str) else np.full(len(p), x) for x in problem.breaks]
        times = np.column_stack(every)
        stops = np.repeat(np.arange(len(p)), times.shape[1]), times.ravel()
        none, whose = np.empty(0), np.empty(0, dtype=np.int64)
        return make_plan(len(p), y0.shape[1], whose, none, none, whose, none, problem.t_end, stops)

    @cached_property
    def _differentiated(self) -> Problem:
        directions = Directions(tuple(f"d{k}" for k in range(self.dynamic)), self.moved)
        return replace(self.problem, directions=directions, plain=self.problem)

    @cached_property
    def differentiable(self) -> bool:
        """Whether there are sensitivities: none through events, and times of jumps that move."""
        problem = self.problem
        if problem.model.moments is not None or any(
            isinstance(x, str) and self._moves(x) for x in problem.breaks
        ):
            return False
        try:
            check(self._differentiated)
        except TraceError:
            return False
        return True

    def _moves(self, name: str) -> bool:
        names = list(self.problem.model.parameter_names)
        return names.index(name) in {j for j, _ in self.moved}


def courses_of(
    model: Model, options: SolveOptions, times: Sequence[np.ndarray], save: Sequence[str],
    moved: tuple[tuple[int, int], ...], dynamic: int, threads: int,
) -> Courses:  # fmt: skip
    """Return what solves conditions, each with its own times."""
    flat = np.concatenate(times)
    horizon = float(flat.max()) or 1.0
    counts = np.array([len(x) for x in times], dtype=np.int64)
    chosen = replace(options, t_end=horizon)
    kept = SaveTimes(flat, counts)
    problem = make_problem(model, chosen, save_at=kept, save=list(save))
    engine = resolve_engine(chosen.engine, problem)
    end = np.cumsum(counts)
    return Courses(problem, Saves(end - counts, end), engine, moved, dynamic, threads)


@dataclass(frozen=True, eq=False)
class Steady:
    """Finds steady states by long solves.

    Parameters
    ----------
    model : Model
    options : SolveOptions
    save : tuple of str
        What formulas read.
    moved, dynamic, threads
        As of `Courses`.
    """

    model: Model
    options: SolveOptions
    save: tuple[str, ...]
    moved: tuple[tuple[int, int], ...]
    dynamic: int
    threads: int

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What is known of a steady state: all states, then what formulas read besides."""
        states = tuple(self.model.state_names)
        return (*states, *(name for name in self.save if name not in states))

    @cached_property
    def rounds(self) -> list[Courses]:
        """What solves to one horizon after the other."""
        return [
            courses_of(
                self.model,
                self.options,
                [horizon * np.array(_PLACES)],
                self.names,
                self.moved,
                self.dynamic,
                self.threads,
            )
            for horizon in _HORIZONS
        ]

    def solve(self, y0: np.ndarray, p: np.ndarray, slopes: Slopes | None = None) -> Solved:
        """Return the steady state that each row comes to, one value of each quantity.

        A row that comes to none within the longest horizon has the status ``no_steady_state``.
        """
        rows, count = np.arange(len(y0)), len(self.model.states)
        values = np.full((len(self.names), len(y0)), np.nan)
        by = None if slopes is None else np.full((self.dynamic, len(self.names), len(y0)), np.nan)
        status = np.full(len(y0), Status.no_steady_state, dtype=np.int8)
        scale = np.array([state.scale for state in self.model.states])[:, np.newaxis]
        for courses in self.rounds:
            if not len(rows):
                break
            mine = None if slopes is None else slopes.take(rows)
            found = courses.solve(y0[rows], p[rows], np.zeros(len(rows), dtype=np.int64), mine)
            seen = found.values.reshape(len(self.names), len(rows), len(_PLACES))
            last = seen[:count, :, -1]
            apart = np.abs(seen[:count] - last[..., np.newaxis]).max(axis=2)
            steady = (found.status == Status.ok) & (apart <= _STEADY * (np.abs(last) + scale)).all(axis=0)
            values[:, rows[steady]] = seen[:, steady, -1]
            if by is not None and found.slopes is not None:
                theirs = found.slopes.reshape(self.dynamic, len(self.names), len(rows), len(_PLACES))
                by[:, :, rows[steady]] = theirs[:, :, steady, -1]
            status[rows[steady]] = Status.ok
            lost = found.status != Status.ok
            status[rows[lost]] = found.status[lost]
            rows = rows[~steady & ~lost]
        return Solved(values, status, by)
