"""Courses of patients for a likelihood: rows of parameters in, predictions at each patient's times out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastcart.batch import make_problem
from fastcart.breaks import break_times, require_break_columns
from fastcart.dose_tables import as_frame, read_doses
from fastcart.dosing import check_doses
from fastcart.engines import begins_with, compiling_errors, resolve_engine, solve_rows
from fastcart.errors import InputError
from fastcart.fit.data import FitData
from fastcart.fit.layout import Layout
from fastcart.given import Chunk, plan_of
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.patient_rows import NOTHING_KEPT, PatientTable
from fastcart.patients import check_patients
from fastcart.regimens import Regimen
from fastcart.rows import RowMaker
from fastcart.saving import SaveTimes
from fastcart.sensitivities import Sensitivities, check_sensitivities
from fastcart.solvers.algebraic import begin as begin_with
from fastcart.solvers.arrays import observe, observe_kernel
from fastcart.solvers.dosed import dosed_problem, give_initial
from fastcart.solvers.doses import JUMP, PARAMETER, DosePlan, canonical, make_plan
from fastcart.solvers.lanes import engine as lanes
from fastcart.solvers.problem import Problem, Saves, places
from fastcart.solvers.status import Status
from fastcart.solvers.threads import in_few_parts

OUT_OF_RANGE = "out_of_range"
_OUT = -1  # the code of it
_AHEAD = 4.0  # times the budget of steps: an explicit step that promises more than this gives up

_TINY_PART = 1e-3  # of its default: where a parameter is zero, it counts as so large

Solved = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Group:
    """Whose data solves have, with what follows from that alone; kept from one call to the next.

    Parameters
    ----------
    who : ndarray of int, shape (solves,)
    saves : Saves
    plan : DosePlan or None
        Where it depends on nothing that is estimated.
    offsets : ndarray of int, shape (solves + 1,)
        Where the measurements of each solve begin.
    """

    who: np.ndarray
    saves: Saves
    plan: DosePlan | None
    offsets: np.ndarray

    def take(self, rows: np.ndarray) -> Group:
        """Return some of the solves; offsets are those of all."""
        plan = None if self.plan is None else self.plan.take(rows)
        return Group(self.who[rows], self.saves.take(rows), plan, self.offsets)


class Courses:
    """Solves patients with their own data, as often as asked.

    Attributes
    ----------
    columns : tuple of str
        What the columns of the values mean.
    threads : int
    problem : Problem
    """

    def __init__(
        self, model: Model, columns: tuple[str, ...], own: _Own, problem: Problem,
        given: DosePlan | Regimen | None, layout: Layout, threads: int,
    ):  # fmt: skip
        self.columns, self.threads, self.problem = columns, threads, problem
        self._model, self._own, self._given, self._layout = model, own, given, layout
        self._rows = RowMaker(model, (*columns, *own.names))
        self._named = [x for x in problem.breaks if isinstance(x, str)]
        self._observe = observe_kernel(problem.model, problem.save)
        self._alike, self._at_start = _alike(given), _at_start(given, problem)
        self._before_doses = bool(layout.at_start.any())

    def group(self, who: np.ndarray) -> Group:
        """Return what follows from whose data solves have."""
        of = self._layout.of
        offsets = np.zeros(len(who) + 1, dtype=np.int64)
        np.cumsum((of.end - of.begin)[who], out=offsets[1:])
        plan = self._given.take(who) if isinstance(self._given, DosePlan) else None
        return Group(who, self._layout.saves.take(who), plan, offsets)

    def solve(self, values: np.ndarray, group: Group) -> Solved:
        """Solve patients.

        Parameters
        ----------
        values : ndarray, shape (solves, columns)
        group : Group
            Whose data each solve has.

        Returns
        -------
        predicted : ndarray, shape (observations, rows)
            NaN where a solve failed.
        begin : ndarray of int, shape (solves,)
            The first row of each solve.
        status : ndarray of int, shape (solves,)
        """
        if self._own.names:
            values = np.hstack([values, self._own.values[group.who]])
        y0, p, good = self._rows.judged(values)
        saves = group.saves
        if good.all():
            predicted, status = self._solved(values, y0, p, group)
            return predicted, saves.offsets[:-1], status
        status = np.full(len(values), _OUT, dtype=np.int8)
        kept = np.flatnonzero(good)
        mine = group.take(kept)
        predicted = np.full((len(self.problem.save), int(saves.offsets[-1])), np.nan)
        if len(kept):
            found, status[kept] = self._solved(values[kept], y0[kept], p[kept], mine)
            predicted[:, places(saves.offsets[kept], np.diff(mine.saves.offsets))] = found
        return predicted, saves.offsets[:-1], status

    def slopes(self, values: np.ndarray, group: Group) -> Solved:
        """Solve patients, and differentiate what is predicted by the columns.

        Returns
        -------
        predicted : ndarray, shape (1 + columns, observations, rows)
            Predictions, and their slopes; NaN where a solve failed.
        begin, status
            As for `solve`.
        """
        directions = self._directions
        if directions is None:
            return self._differences(values, group)
        if self._own.names:
            values = np.hstack([values, self._own.values[group.who]])
        y0, p, good = self._rows.judged(values)
        saves = group.saves
        found = np.full((1 + len(self.columns), len(self.problem.save), int(saves.offsets[-1])), np.nan)
        status = np.full(len(values), _OUT, dtype=np.int8)
        kept = np.flatnonzero(good)
        chosen = group.take(kept)
        mine = chosen.saves
        rows = places(saves.offsets[kept], np.diff(mine.offsets))
        plan, _ = self._plan(values[kept], y0[kept], p[kept], chosen)
        columns = {name: values[kept, j] for j, name in enumerate(self._rows.columns)}
        table = PatientTable(self._model, columns, np.arange(len(kept)), NOTHING_KEPT)
        own, start = p[kept], y0[kept].copy()
        given = replace(directions, table=table).widened(0, len(kept), start, own)
        result = solve_rows(self._differentiated, "lanes", start, given, self.threads, plan, mine)
        status[kept] = result.status
        found[0, :, rows] = observe(
            self._differentiated.model, self.problem.save_at, mine, result.saved, own, self.problem.save,
            self.threads,
        ).T  # fmt: skip
        assert result.saved_slopes is not None
        for k, name in enumerate(directions.asked):
            found[1 + self.columns.index(name), :, rows] = result.saved_slopes[k].T
        return found, saves.offsets[:-1], status

    @cached_property
    def _directions(self) -> Sensitivities | None:
        """What predictions are differentiated by; None where it has no sensitivities that are known."""
        if self._before_doses:
            return None
        nobody = PatientTable(
            self._model, {x: np.empty(0) for x in self._rows.columns}, np.arange(0), NOTHING_KEPT
        )
        try:
            return check_sensitivities(
                self._model, self.columns, self.problem, "lanes", nobody, self._given
            )  # fmt: skip
        except InputError:
            return None

    @cached_property
    def _differentiated(self) -> Problem:
        assert self._directions is not None
        return replace(self.problem, directions=self._directions.directions, plain=self.problem)

    def _differences(self, values: np.ndarray, group: Group) -> Solved:
        """As `slopes`, by central differences."""
        size = np.maximum(np.abs(values), self._sizes)
        step = self.problem.rtol ** (1 / 3) * size
        predicted, begin, status = self.solve(values, group)
        found = np.empty((1 + len(self.columns), *predicted.shape))
        found[0] = predicted
        per_row = np.diff(group.saves.offsets)
        for c in range(len(self.columns)):
            above, below = values.copy(), values.copy()
            above[:, c] += step[:, c]
            below[:, c] -= step[:, c]
            high, _, _ = self.solve(above, group)
            low, _, _ = self.solve(below, group)
            found[1 + c] = (high - low) / (2.0 * np.repeat(step[:, c], per_row))
        return found, begin, status

    @cached_property
    def _sizes(self) -> np.ndarray:
        """How large each column is about, where it is zero."""
        defaults = self._model.defaults()
        return np.array([abs(defaults[name]) or 1.0 for name in self.columns]) * _TINY_PART

    def _solved(
        self, values: np.ndarray, y0: np.ndarray, p: np.ndarray, group: Group
    ) -> tuple[np.ndarray, np.ndarray]:
        problem, saves = self.problem, group.saves
        begin = saves.offsets
        plan, lost = self._plan(values, y0, p, group)
        start = y0.copy() if self._before_doses else y0
        if self._before_doses:
            begin_with(problem.model, start, p)
        saved, status = self._saved(y0, p, plan, group)
        if lost is not None:
            status[lost] = Status.no_steady_state
        if self._before_doses:
            rows = np.flatnonzero(self._layout.at_start[group.who])
            saved[:, begin[rows]] = start[rows][:, problem.saved_states].T
        if plan is not None and plan is not group.plan and (plan.kind == PARAMETER).any():
            given = plan.parameters(p)
            predicted = observe(
                problem.model, problem.save_at, saves, saved, given, problem.save, self.threads
            )
        else:
            predicted = np.empty((len(problem.save), saved.shape[1]))

            def part(low: int, high: int) -> None:
                self._observe(problem.save_at, saves.begin, begin, saved, p, low, high, predicted)

            in_few_parts(part, len(p), self.threads, predicted.size)
        failed = np.flatnonzero(status)
        if len(failed):
            predicted[:, places(begin[failed], np.diff(begin)[failed])] = np.nan
        return predicted, status

    def _saved(
        self, y0: np.ndarray, p: np.ndarray, plan: DosePlan | None, group: Group
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return states at the times to save, and how each patient ended."""
        problem, threads, saves = self.problem, self.threads, group.saves
        if problem.model.manifold is not None or problem.model.moments is not None:
            result = solve_rows(problem, "lanes", y0, p, threads, plan, saves)
            return result.saved, result.status
        if plan is None:
            return lanes.solve_saved(problem, y0, p, threads, None, saves)
        lacking = None
        if self._at_start is None:
            lacking = give_initial(problem, y0, plan)
        else:
            y0 += self._at_start[group.who]
        if self._alike is not None:
            infused, given = self._alike
            part = dosed_problem(problem, infused) if given else problem
            saved, status = lanes.solve_saved(part, y0, p, threads, plan if given else None, saves)
        else:
            saved = np.empty((len(problem.saved_states), int(saves.offsets[-1])))
            status = np.empty(len(p), dtype=np.int8)
            for rows, infused, mine in plan.parts():
                part = problem if mine is None else dosed_problem(problem, infused)
                theirs = saves.take(rows)
                some, status[rows] = lanes.solve_saved(part, y0[rows], p[rows], threads, mine, theirs)
                saved[:, places(saves.offsets[rows], np.diff(theirs.offsets))] = some
        if lacking is not None:
            status[lacking] = Status.negative
        return saved, status

    def _plan(
        self, values: np.ndarray, y0: np.ndarray, p: np.ndarray, group: Group
    ) -> tuple[DosePlan | None, np.ndarray | None]:
        """Return what each solve is given, and who has no steady state."""
        if group.plan is not None:
            return group.plan, None
        stops = self._stops(p)
        if self._given is None:
            if stops is None:
                return None, None
            none = np.empty(0)
            whose = np.empty(0, dtype=np.int64)
            t_end = self.problem.t_end
            return make_plan(len(p), y0.shape[1], whose, none, none, whose, none, t_end, stops), None
        assert isinstance(self._given, Regimen)
        columns = {name: values[:, j] for j, name in enumerate(self._rows.columns)}
        table = PatientTable(self._model, columns, np.arange(len(p)), NOTHING_KEPT)
        regimen = self._given.take(group.who)
        if stops is not None:
            regimen = replace(regimen, stops=stops)
        return plan_of(self.problem, "lanes", Chunk(table, 0, len(p), y0, p), regimen, self.threads)

    def _stops(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the breaks of each solve, where some are its own."""
        if not self._named:
            return None
        every = [np.full(len(p), x) if not isinstance(x, str) else p[:, self._model.parameter_names.index(x)]
                 for x in self.problem.breaks]  # fmt: skip
        times = np.column_stack(every)
        return np.repeat(np.arange(len(p)), times.shape[1]), times.ravel()


def _alike(given: DosePlan | Regimen | None) -> tuple[tuple[bool, ...], bool] | None:
    """Return into what all patients have infusions, and whether they are given something after time 0.

    None where they differ in that, or where it is not known before they are.
    """
    if not isinstance(given, DosePlan):
        return None
    parts = [(infused, mine is not None) for _, infused, mine in given.parts()]
    return parts[0] if len(parts) == 1 else None


def _at_start(given: DosePlan | Regimen | None, problem: Problem) -> np.ndarray | None:
    """Return what is added to initial values of each patient, where that is all that happens at the start."""
    if not isinstance(given, DosePlan):
        return None
    count = given.start - given.first
    row = np.repeat(np.arange(len(count)), count)
    entry = places(given.first, count)
    state = given.state[entry]
    once = len(np.unique(row * len(problem.model.states) + state)) == len(row)
    if not once or (given.kind[entry] != JUMP).any() or (given.value[entry] < 0).any():
        return None
    added = np.zeros((len(count), len(problem.model.states)))
    added[row, state] = given.value[entry]
    return added


class _Own:
    """Values that the data have of each patient, of parameters and states that nobody estimates."""

    def __init__(self, model: Model, data: FitData, columns: Sequence[str]):
        known = [item.name for item in model.items]
        self.names = tuple(x for x in data.covariates if x in known and x not in columns)
        table = data.covariates[list(self.names)].astype(float)
        if self.names:
            check_patients(model, table)
        self.values: Any = table.to_numpy()


def courses_of(
    model: Model, data: FitData, columns: tuple[str, ...], layout: Layout, options: SolveOptions, threads: int
) -> Courses:  # fmt: skip
    """Return what solves the patients of data, with a model whose observables are the predictions."""
    model = model.replace(burden=None) if options.extinction is None else model  # nobody asks for it
    times = canonical(layout.times, options.horizon(model))
    given_times = SaveTimes(times, layout.saves.end - layout.saves.begin)
    derived = options.derive(model)
    own = _Own(model, data, columns)
    hidden = () if model.moments is None else model.moments.hidden
    predictions = [name for name in model.observable_names if name not in hidden]
    problem = make_problem(model, options, save_at=given_times, save=predictions)
    resolve_engine(options.engine, problem)
    require_break_columns(model, problem.breaks, ())
    method = begins_with(options.engine, problem) or lanes.default_method(problem.model, problem.rtol)
    # the first steps of the stiff method may be very short, and grow at once
    ahead = np.inf if method == lanes.STIFF_METHOD else _AHEAD * problem.max_steps
    problem = replace(problem, method=method, max_steps_ahead=ahead)
    courses = Courses(derived, columns, own, problem, _given(problem, derived, data), layout, threads)
    with compiling_errors(problem.model):
        nobody = np.empty((0, len(problem.model.states))), np.empty((0, len(problem.model.parameters)))
        lanes.solve_chunk(problem, *nobody, 1, None, Saves(np.empty(0, np.int64), np.empty(0, np.int64)))
    return courses


def _given(problem: Problem, model: Model, data: FitData) -> DosePlan | Regimen | None:
    """Return what the patients are given: entries where these depend on nothing that is estimated."""
    named = any(isinstance(x, str) for x in problem.breaks)
    every = np.arange(data.patients)
    if not named:
        breaks = break_times(problem.breaks, PatientTable(model, {}, every, NOTHING_KEPT))
        return check_doses(problem.model, data.doses, data.ids, problem.t_end, breaks=breaks, warn=_silent)
    if data.doses is None:
        return None
    records = read_doses(problem.model, as_frame(data.doses), data.ids)
    return Regimen(problem.model, records.ordered(problem.t_end), every, problem.t_end)


def _silent(text: str) -> None:
    """Doses after the last measurement have no effect on what is fitted."""
