"""Solve the same model again and again: everything checked once, then arrays in and arrays out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Unpack

import numpy as np
import pandas as pd

from fastcart.batch import as_before, check_threads
from fastcart.breaks import break_times, require_break_columns
from fastcart.checks import is_whole, names, shown
from fastcart.dose_tables import as_frame
from fastcart.dosing import Doses
from fastcart.engines import as_model, dose_plan, resolve_engine, solve_rows
from fastcart.errors import InputError, nearest
from fastcart.events import require_columns
from fastcart.given import Chunk, check_switches, plan_of
from fastcart.model import Model
from fastcart.nonmem import is_nonmem
from fastcart.options import SolveKeywords, SolveOptions, chosen_options
from fastcart.patient_rows import NOTHING_KEPT, PatientTable
from fastcart.patients import number_columns
from fastcart.regimens import Regimen
from fastcart.result import endpoint_columns, saved_columns
from fastcart.rows import RowMaker
from fastcart.saving import SaveTimes, check_save_at
from fastcart.sensitivities import Sensitivities, check_sensitivities
from fastcart.solvers import interrupts
from fastcart.solvers.doses import DosePlan
from fastcart.solvers.problem import ChunkResult, Problem, Saves
from fastcart.solvers.status import NAMES
from fastcart.tables.ids import check_ids
from fastcart.typing_names import ModelName


@dataclass(frozen=True, eq=False)
class Solution:
    """What a prepared `Solver` returns: arrays, one row per patient.

    Parameters
    ----------
    status : ndarray of int, shape (patients,)
        How each patient ended, a number of `fastcart.solvers.status.Status`; 0 is ok.
    endpoints : dict of str to ndarray, shape (patients,)
        The columns of `fastcart.BatchResult.endpoints` that hold numbers, by name; NaN for patients that
        were not solved.
    final : ndarray, shape (patients, states)
        States at the end, in the order of the model, in its units.
    offsets : ndarray of int, shape (patients + 1,)
        What is saved of patient ``i`` are the rows ``offsets[i]`` to ``offsets[i + 1]``.
    t : ndarray, shape (rows,)
        Times that are saved.
    saved : dict of str to ndarray, shape (rows,)
        States and observables at these times, by name.
    sensitivities : dict of str to dict
        For each parameter or state that is differentiated by, the derivatives of what is saved.
    """

    status: np.ndarray
    endpoints: dict[str, np.ndarray]
    final: np.ndarray
    offsets: np.ndarray
    t: np.ndarray
    saved: dict[str, np.ndarray]
    sensitivities: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    @cached_property
    def failed(self) -> int:
        """How many patients were not solved."""
        return int(np.count_nonzero(self.status))

    def summary(self) -> dict[str, int]:
        """Return how many patients ended with each status, by name."""
        counts = np.bincount(self.status, minlength=len(NAMES)).tolist()
        return {name: count for name, count in zip(NAMES, counts, strict=True) if count}

    def of(self, patient: int) -> dict[str, np.ndarray]:
        """Return what is saved of one patient, by its row: ``t``, then states and observables by name."""
        rows = slice(self.offsets[patient], self.offsets[patient + 1])
        return {"t": self.t[rows], **{name: values[rows] for name, values in self.saved.items()}}


class Solver:
    """A model ready to be solved; made by `prepare`.

    Attributes
    ----------
    model : Model
    options : SolveOptions
    columns : tuple of str
        What the columns of the arrays mean that the solver is called with.
    threads : int
        Small batches run in the thread of the caller, whatever this is.
    """

    def __init__(
        self, model: Model, options: SolveOptions, columns: tuple[str, ...], problem: Problem, engine: str,
        threads: int, own: _Own, slopes: Sensitivities | None = None,
    ):  # fmt: skip
        self.model, self.options, self.columns, self.threads = model, options, columns, threads
        self._problem, self._engine, self._own, self._slopes = problem, engine, own, slopes
        self._rows = RowMaker(options.derive(model), columns)

    def __call__(self, values: Any = None, who: Any = None) -> Solution:
        """Solve patients.

        May be called from several threads at a time.

        Parameters
        ----------
        values : array-like, shape (patients, columns) or (columns,)
            Parameters and initial values, in the units of the model; one row may be given alone. Without
            it one patient with the defaults is solved.
        who : array-like of int, shape (patients,), optional
            For a solver whose patients have doses or times of their own: the place of each row's patient
            among those that were named. Default: every row is the patient of its place.

        Returns
        -------
        Solution

        Raises
        ------
        InputError
            For values of another shape, that are not finite, or beyond their ranges.
        """
        y0, p, table = self._rows.arrays(np.empty((1, 0)) if values is None else values)
        rows = self._own.rows(len(y0), who)
        problem, own = self._problem, self._own
        saves = None if own.saves is None else own.saves.take(rows)
        doses, lost = own.doses(rows, table), None
        if isinstance(doses, Regimen):
            chunk = Chunk(table(), 0, len(y0), y0, p)
            doses, lost = plan_of(problem, self._engine, chunk, doses, self.threads)
        given = p
        if self._slopes is not None:
            given = replace(self._slopes, table=table()).widened(0, len(y0), y0, p)
        result = solve_rows(problem, self._engine, y0, given, self.threads, doses, saves, lost=lost)
        interrupts.check()
        if saves is None:
            saves = Saves.all_of(problem.save_at, len(y0))
        taken = p if doses is None else doses.parameters(p)
        saved = saved_columns(problem, result, taken, saves, self.threads)
        return Solution(
            result.status, endpoint_columns(problem, result), result.final, result.offsets,
            saved.pop("t", problem.save_at), saved, _by_name(problem, result),
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"Solver({self.model.name!r}, columns={list(self.columns)}, engine={self._engine!r})"


def _by_name(problem: Problem, result: ChunkResult) -> dict[str, dict[str, np.ndarray]]:
    """Return derivatives of what was saved."""
    if result.saved_slopes is None or problem.directions is None:
        return {}
    return {
        name: dict(zip(problem.save, slopes, strict=True))
        for name, slopes in zip(problem.directions.names, result.saved_slopes, strict=True)
    }


@dataclass(frozen=True)
class _Own:
    """What the patients of a solver have of their own, and how many they are; None where all is shared."""

    patients: int | None
    saves: Saves | None
    plan: DosePlan | Regimen | None  # of these patients, or of the one that stands for all
    make_plan: Callable[[PatientTable], DosePlan | Regimen | None] | None  # where it depends on the values

    def rows(self, count: int, who: Any) -> np.ndarray:
        """Return the place of each row's patient."""
        if self.patients is None:
            if who is not None:
                raise InputError(
                    "All patients of this solver are given the same; name its patients in prepare, or leave "
                    "'who' off."
                )
            return np.zeros(count, dtype=np.int64)
        if who is None:
            if count != self.patients:
                raise InputError(
                    f"The solver was prepared for {self.patients} patients, not {count}; say by 'who' which "
                    "of them each row is."
                )
            return np.arange(count)
        rows = np.asarray(who)
        if rows.shape != (count,) or rows.dtype.kind not in "iu":
            raise InputError(f"'who' must hold a whole number for each of {count} rows, not {shown(who)}.")
        if count and not 0 <= rows.min() <= rows.max() < self.patients:
            raise InputError(f"'who' must hold places from 0 to {self.patients - 1}, not {shown(who)}.")
        return rows.astype(np.int64)

    def doses(self, rows: np.ndarray, table: Callable[[], PatientTable]) -> DosePlan | Regimen | None:
        """Return the doses of the rows."""
        if self.make_plan is not None:
            return self.make_plan(table())
        return None if self.plan is None else self.plan.take(rows)


def prepare(
    model: ModelName | str | Model,
    columns: Sequence[str] = (),
    *,
    patients: int | Sequence[Any] | None = None,
    doses: Doses | None = None,
    save_at: Any = None,
    save: Sequence[str] | None = None,
    sensitivities: Sequence[str] = (),
    threads: int | None = None,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolveKeywords],
) -> Solver:
    """Prepare a model to be solved many times, with other parameters and initial values each time.

    Everything that does not change is checked here once and the machine code is compiled or loaded; the
    solver that is returned takes arrays and returns arrays, in a fraction of the time of `fastcart.solve`,
    with the same numbers to the bit. For fits, swarms, samplers, and whatever else asks for few patients at
    a time.

    Parameters
    ----------
    model : str or Model
    columns : sequence of str
        Parameters, and states (initial values), that the solver is given, in this order; all others have
        their defaults.
    patients : int or sequence, optional
        How many patients have doses or times to save of their own, or the ids of these. The rows that the
        solver is called with are then these patients. Needed where tables name patients.
    doses : DosingSchedule, DataFrame, mapping or path, optional
        As for `fastcart.solve`; a column ``patient`` names the patients above. Lags, steady states and what
        else depends on the patient are made out at each call.
    save_at : sequence of float, list of sequences, DataFrame or mapping, optional
        Times at which states and observables are kept, of all patients or each patient's own, see
        `fastcart.solve`.
    save : sequence of str, optional
        Which states and observables; default all.
    sensitivities : sequence of str
        Parameters and states that the solution is differentiated by, see `fastcart.solve`.
    threads : int, optional
        At most so many threads; default: all processors that this process may use. Small batches run in the
        thread of the caller.
    options : SolveOptions, optional
    **keywords
        Single options, see `fastcart.SolveOptions`.

    Returns
    -------
    Solver
        ``solver(values)``, see `Solver.__call__`.

    Raises
    ------
    InputError
        For bad input.

    Examples
    --------
    >>> import fastcart
    >>> solver = fastcart.prepare("li_lei", ["TE", "lambda_C"])
    >>> solution = solver([[1e7, 0.18], [5e7, 0.18]])
    >>> solution.failed, solution.endpoints["pfs"].shape
    (0, (2,))
    """
    model = as_model(model)
    chosen = chosen_options(options, keywords, prepare, "A prepared solver")
    times = check_save_at(save_at, chosen.horizon(model))
    problem = as_before(model, chosen, times, save)
    engine = resolve_engine(chosen.engine, problem)
    derived = chosen.derive(model)
    listed = _known_columns(derived, columns)
    require_columns(model, problem.events, listed)
    require_break_columns(model, problem.breaks, listed)
    own = _own(model, problem, engine, patients, doses, times)
    nobody = PatientTable(derived, {x: np.empty(0) for x in listed}, np.arange(0), NOTHING_KEPT)
    if isinstance(own.plan, Regimen):
        check_switches(own.plan, nobody, problem)
    slopes = check_sensitivities(model, sensitivities, problem, engine, nobody, own.plan)
    if slopes is not None:
        problem = replace(problem, directions=slopes.directions)
    solver = Solver(model, chosen, listed, problem, engine, check_threads(threads), own, slopes)
    states, parameters = len(problem.model.states), len(problem.model.parameters)
    parameters += 0 if slopes is None else slopes.further
    solve_rows(problem, engine, np.empty((0, states)), np.empty((0, parameters)), 1)  # compiles
    return solver


def _known_columns(model: Model, columns: Any) -> tuple[str, ...]:
    listed = names(columns, "The columns that a solver is given")
    known = number_columns(model)
    for name in listed:
        if name not in known:
            raise InputError(
                f"The column {shown(name)} is not a parameter or state of model {model.name!r}."
                + nearest(name, known)
            )
    return tuple(listed)


def _own(
    model: Model, problem: Problem, engine: str, patients: Any, doses: Doses | None, times: SaveTimes
) -> _Own:  # fmt: skip
    """Check what is given to each patient, by itself or to all."""
    ids = _ids(patients)
    if ids is None and times.counts is not None:
        if times.ids is not None:
            raise InputError("The times to save name patients; name these in prepare, patients=..., too.")
        ids = np.arange(len(times.counts))
    every = np.zeros(1, dtype=np.int64) if ids is None else ids
    table = None if doses is None else as_frame(doses)
    if ids is None and table is not None and ("patient" in table or (is_nonmem(table) and "ID" in table)):
        raise InputError(
            "The doses name patients; name these in prepare, patients=..., or leave the column off to give "
            "every row every dose."
        )
    named = [x for x in problem.breaks if isinstance(x, str)]
    if named and ids is not None:
        raise InputError(
            f"A solver cannot have both patients of its own and the break {named[0]!r} of each patient; give "
            "breaks as times, or use fastcart.solve."
        )
    if named:
        dose_plan(problem, engine, table, every)  # checks the doses
        return _Own(None, None, None, lambda given: dose_plan(
            problem, engine, table, given.ids, breaks=break_times(problem.breaks, given)
        ))  # fmt: skip
    nobody = PatientTable(model, {}, every, NOTHING_KEPT)
    plan = dose_plan(problem, engine, table, every, breaks=break_times(problem.breaks, nobody))
    saves = times.of(every)
    return _Own(None if ids is None else len(ids), saves, plan, None)


def _ids(patients: Any) -> Any:
    if patients is None:
        return None
    if is_whole(patients) and patients > 0:
        return np.arange(patients)
    if isinstance(patients, str) or not hasattr(patients, "__len__") or not len(patients):
        raise InputError(f"The patients of a solver are their number or their ids, not {shown(patients)}.")
    ids = pd.Series(patients, name="patient")
    check_ids(ids)
    return ids.to_numpy()
