"""Points of many searches to numbers: one batch of patients, aggregated over the virtual population.

Every point of every problem is solved for every patient of the population, as one batch (in blocks where that
is more than fits into memory; results do not depend on the blocks).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.batch import solve
from fastcart.checks import real, shown, user_code
from fastcart.errors import InputError
from fastcart.expressions import Expression
from fastcart.model import Model
from fastcart.optimization.early_growth import early_growth
from fastcart.optimization.variables import Aggregate, Excess
from fastcart.runs.chunks import Chunk, chunks, here, stream
from fastcart.scanning.doses import DoseTemplate
from fastcart.solvers.endpoints import survival_endpoints

_BLOCK = 1_000_000  # patients solved at once, at most
_AGGREGATES: dict[str, Callable[..., np.ndarray]] = {
    "mean": np.mean, "median": np.median, "min": np.min, "max": np.max,
}  # fmt: skip


@dataclass(frozen=True)
class Goal:
    """One objective.

    Parameters
    ----------
    quantity : Expression or callable
        A formula over endpoints, variables and columns, or a function of the table of endpoints.
    sign : float
        1 to minimise, -1 to maximise.
    name : str
    aggregate : str or float
    """

    quantity: Expression | Callable[[pd.DataFrame], Any]
    sign: float
    name: str
    aggregate: Aggregate


@dataclass(frozen=True)
class Values:
    """What points are worth.

    Parameters
    ----------
    objectives : ndarray, shape (problems, points, objectives)
        To be minimised; NaN where a patient failed, and where the objective is undefined: no number, or an
        infinite one.
    violation : ndarray, shape (problems, points)
        Sum over the constraints of the relative excess; 0 where all are kept; NaN where a patient failed or
        a side of a constraint is no number.
    tie : ndarray, shape (problems, points)
        What decides between points that are equal in the rest, the smaller the better: the mean logarithm of
        the final burden; 0 for models without one.
    growth : ndarray, shape (problems, points)
        Where all patients progress at once and a goal or a limit would gain from survival: the mean rate of
        growth at the start; else 0. Survival is 0 there whatever the rate, so this says how far a point is
        from a survival.
    failed : ndarray of int, shape (problems,)
        Patients that could not be solved.
    undefined : ndarray of int, shape (problems, objectives + constraints)
        Points at which a quantity is undefined although all patients were solved; in the order of the goals,
        then of the limits of the `Evaluator`.
    """

    objectives: np.ndarray
    violation: np.ndarray
    tie: np.ndarray
    growth: np.ndarray
    failed: np.ndarray
    undefined: np.ndarray


@dataclass(frozen=True)
class Evaluator:
    """What is the same for all points.

    Parameters
    ----------
    model : Model
    variables : sequence of str
    rows : mapping of str to ndarray, shape (problems,)
        Columns of the table of problems.
    population : mapping of str to ndarray, shape (patients,)
        Columns of the virtual population.
    patients : int
        Size of the population.
    doses : DoseTemplate or None
    goals : sequence of Goal
    limits : sequence of Excess
    options : mapping
        Further arguments of `fastcart.solve`.
    ids : array, shape (patients,), optional
        Ids of the population; None where there is no population, and the problems are the patients.
    names : Series, shape (problems,), optional
        Who the problems are, where their table says so in a column ``patient``.
    """

    model: Model
    variables: Sequence[str]
    rows: Mapping[str, np.ndarray]
    population: Mapping[str, np.ndarray]
    patients: int
    doses: DoseTemplate | None
    goals: Sequence[Goal]
    limits: Sequence[Excess]
    options: Mapping[str, Any]
    ids: Any = None
    names: pd.Series | None = None

    def __call__(self, rows: np.ndarray, points: np.ndarray) -> Values:
        """Return what points are worth.

        Parameters
        ----------
        rows : ndarray of int, shape (k,)
            Problems that the points belong to.
        points : ndarray, shape (k, points, variables)
            Natural values.
        """
        shape = points.shape[:2]
        flat = points.reshape(-1, points.shape[2])
        problem = np.repeat(rows, shape[1])
        blocks = chunks(len(flat), max(1, _BLOCK // self.patients))

        def solved(block: Chunk) -> tuple[np.ndarray, ...]:
            rows = slice(block.start, block.stop)
            return self._block(problem[rows], flat[rows])

        parts = [part for _, part in stream(blocks, here(solved))]
        objectives, excess, tie, growth, failed, undefined = (
            np.concatenate([part[j] for part in parts]) for j in range(6)
        )
        violation = np.maximum(excess, 0.0).sum(axis=1)
        return Values(
            objectives.reshape(*shape, -1), violation.reshape(shape), tie.reshape(shape),
            growth.reshape(shape), failed.reshape(shape).sum(axis=1),
            undefined.reshape(*shape, -1).sum(axis=1),
        )  # fmt: skip

    @property
    def quantities(self) -> list[str]:
        """Names of the objectives, then of the nonlinear constraints."""
        return [goal.name for goal in self.goals] + [limit.text for limit in self.limits]

    def broken(self, problem: int, point: np.ndarray) -> list[tuple[str, float, float, float]]:
        """Return the nonlinear constraints that a point breaks.

        Each with its text, the relative excess that counts, and both sides in the patient who exceeds most.
        """
        columns = self._columns(np.array([problem]), point[None])
        known = _Known(columns, self._solve(columns, 1))
        found = []
        for limit in self.limits:
            smaller = known.value(limit.smaller, limit.text)
            larger = known.value(limit.larger, limit.text)
            excess = relative_excess(smaller, larger)
            counted = float(aggregated(excess[None], limit.aggregate)[0])
            if counted > 0:
                worst = int(np.nanargmax(excess))
                found.append((limit.text, counted, float(smaller[worst]), float(larger[worst])))
        return found

    def endpoints(self, problem: np.ndarray, points: np.ndarray) -> pd.DataFrame:
        """Solve points, shape (n, variables), of the problems ``problem``, shape (n,); return all endpoints.

        Beside the columns of `fastcart.solve` there are ``row`` (the problem), the variables, and the
        columns of the problems and of the population. ``patient`` is who of the population it is; without
        one, who the problem is; where nobody is named, it is left out.
        """
        columns = self._columns(problem, points)
        frame = self._solve(columns, len(points))
        extra = {name: value for name, value in columns.items() if name not in frame}
        head: dict[str, Any] = {"row": np.repeat(problem, self.patients)}
        if self.ids is not None:
            head["patient"] = pd.Series(self.ids).array.take(np.tile(np.arange(self.patients), len(points)))
        elif self.names is not None:
            head["patient"] = self.names.array.take(problem)
        return pd.concat([pd.DataFrame({**head, **extra}), frame.drop(columns="patient")], axis=1)

    def _block(self, problem: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return objectives, excesses, ties, growth, patients that failed, and what is undefined."""
        columns = self._columns(problem, points)
        frame = self._solve(columns, len(points))
        ok = (frame["status"] == "ok").to_numpy()
        known = _Known(columns, frame)
        shape = (len(points), self.patients)
        failed = (~ok).reshape(shape).sum(axis=1)
        objectives, excess = self._quantities(known, shape)
        undefined = ~np.isfinite(np.hstack([objectives, excess])) & (failed == 0)[:, None]
        # an infinite one cannot be compared with others: it would win or lose against all of them
        objectives[~np.isfinite(objectives)] = np.nan
        objectives[failed > 0] = excess[failed > 0] = np.nan
        tie, growth = np.zeros((2, len(points)))
        if self.model.burden is not None:
            final = np.maximum(frame["final"].to_numpy(dtype=float), np.finfo(float).tiny)
            tie = np.log(final).reshape(shape).mean(axis=1)
            at_once = ((frame["pfs"] == 0).to_numpy().reshape(shape)).all(axis=1)
            if at_once.any() and len(self.goals) == 1:  # no search for a front is led by it
                longer = self._quantities(known.with_survival(), shape)
                wanted = at_once & self._improved((objectives, excess), longer)
                if wanted.any():
                    some = self._columns(problem[wanted], points[wanted])
                    rate = early_growth(self.model, *self._given(some, int(wanted.sum())), self.options)
                    growth[wanted] = rate.reshape(-1, self.patients).mean(axis=1)
        return objectives, excess, tie, growth, failed, undefined

    def _quantities(self, known: _Known, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the objectives, to be minimised, and the excesses over the limits; one row a point."""
        objectives = np.empty((shape[0], len(self.goals)))
        excess = np.empty((shape[0], len(self.limits)))
        for j, goal in enumerate(self.goals):
            value = known.value(goal.quantity, goal.name).reshape(shape)
            objectives[:, j] = goal.sign * aggregated(value, goal.aggregate)
        for j, limit in enumerate(self.limits):
            smaller = known.value(limit.smaller, limit.text)
            larger = known.value(limit.larger, limit.text)
            excess[:, j] = aggregated(relative_excess(smaller, larger).reshape(shape), limit.aggregate)
        return objectives, excess

    @staticmethod
    def _improved(now: tuple[np.ndarray, np.ndarray], then: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return at which points a goal gets better, or a limit that is exceeded nearer."""
        gained = (then[0] < now[0]) | (np.isfinite(then[0]) & ~np.isfinite(now[0]))
        return np.asarray(gained.any(axis=1) | ((then[1] < now[1]) & (now[1] > 0)).any(axis=1))

    def _columns(self, problem: np.ndarray, points: np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns of all patients: of their problem, of themselves, and the variables."""
        columns = {name: np.repeat(value[problem], self.patients) for name, value in self.rows.items()}
        columns |= {name: np.tile(value, len(points)) for name, value in self.population.items()}
        for j, name in enumerate(self.variables):
            columns[name] = np.repeat(points[:, j], self.patients)
        return columns

    def _solve(self, columns: Mapping[str, np.ndarray], points: int) -> pd.DataFrame:
        given, doses = self._given(columns, points)
        return solve(self.model, given, doses=doses, progress=False, warn=False, **self.options).endpoints

    def _given(self, columns: Mapping[str, np.ndarray], points: int) -> tuple[Any, pd.DataFrame | None]:
        """Return patients and doses as `fastcart.solve` takes them."""
        named = (*(event.threshold for event in self.options["events"]), *self.options["breaks"])
        known = {*self.model.parameter_names, *self.model.state_names, *named}
        given: Any = {name: value for name, value in columns.items() if name in known}
        size = points * self.patients
        doses = None
        if self.doses is not None:
            ids = {"patient": np.arange(size)}
            doses = self.doses.table(pd.DataFrame({**columns, **ids}))
        return given or size, doses


class _Known(Mapping):
    """Columns and endpoints by name, and what formulas and functions make of them."""

    def __init__(self, columns: Mapping[str, np.ndarray], frame: pd.DataFrame):
        self._columns = columns
        self._frame = frame
        self._table: pd.DataFrame | None = None

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._columns:
            return self._columns[name]
        return self._frame[name].to_numpy(dtype=float)

    def __iter__(self) -> Iterator[str]:
        return iter([*self._columns, *self._frame.columns])

    def __len__(self) -> int:
        return len(self._columns) + len(self._frame.columns)

    def with_survival(self) -> _Known:
        """Return the same, with everybody's progression a unit of time later."""
        later = {name: self._frame[name] + 1.0 for name in survival_endpoints()}
        return _Known(self._columns, self._frame.assign(**later))

    def value(self, quantity: Any, name: str) -> np.ndarray:
        """Return one number for each patient."""
        rows = len(self._frame)
        if isinstance(quantity, Expression):
            return np.broadcast_to(np.asarray(quantity(self), dtype=float), (rows,))
        if not callable(quantity):
            return np.full(rows, float(quantity))
        if self._table is None:
            extra = {key: value for key, value in self._columns.items() if key not in self._frame}
            self._table = self._frame.assign(**extra)
        with user_code(f"The function for {name!r}"):
            found = quantity(self._table.copy())
        return _as_numbers(found, self._table.index, name)


def _as_numbers(found: Any, index: pd.Index, name: str) -> np.ndarray:
    """Return what a function of the endpoints gave as one number for each row of their table."""
    wanted = f"The function for {name!r} must return one number for each of {len(index)} rows, not"
    if isinstance(found, pd.Series):
        if len(found) != len(index) or not found.index.is_unique or not index.isin(found.index).all():
            raise InputError(
                f"{wanted} a Series of {len(found)} with another index; keep the index of the table."
            )
        found = found.reindex(index)
    if found is None:
        raise InputError(f"{wanted} None; end it with 'return'.")
    try:
        array = np.asarray(found)
    except ValueError:  # rows of different lengths
        array = np.asarray(shown(found))
    if array.dtype.kind == "O" and array.shape == (len(index),):
        numbers = [float(value) if isinstance(value, bool) else real(value) for value in array]
        array = np.array([np.nan if value is None else value for value in numbers])
        if all(value is None for value in numbers):
            raise InputError(f"{wanted} {shown(found)}.")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{wanted} {shown(found)}.")
    if array.shape != (len(index),) and not (array.shape == () and len(index) == 1):
        raise InputError(
            f"{wanted} {'one number' if array.shape == () else f'an array of shape {array.shape}'}."
        )
    return np.broadcast_to(array.astype(float), (len(index),))


def aggregated(values: np.ndarray, how: Aggregate) -> np.ndarray:
    """Return one number for each point from those of its patients, shape (points, patients)."""
    if values.shape[1] == 1:
        return values[:, 0]
    with np.errstate(all="ignore"):  # infinite values
        if isinstance(how, str):
            return _AGGREGATES[how](values, axis=1)
        return np.quantile(values, how, axis=1)


def relative_excess(smaller: np.ndarray, larger: np.ndarray) -> np.ndarray:
    """Return by how much ``smaller`` exceeds ``larger``, from -1 to 1 for numbers of one sign.

    An infinite side is compared like any other number: what has no upper end exceeds every limit.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.abs(smaller) + np.abs(larger)
        excess = (smaller - larger) / np.where(size > 0, size, 1.0)
    infinite = (np.isinf(smaller) | np.isinf(larger)) & ~np.isnan(smaller) & ~np.isnan(larger)
    return np.where(infinite, np.greater(smaller, larger) * 1.0 - np.less(smaller, larger), excess)
