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
from fastcart.checks import user_code
from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.studies.candidates import Aggregate, Excess
from fastcart.studies.expressions import Expression
from fastcart.studies.scan_doses import DoseTemplate

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
        To be minimised; NaN where a patient failed.
    violation : ndarray, shape (problems, points)
        Sum over the constraints of the relative excess; 0 where all are kept.
    failed : ndarray of int, shape (problems,)
        Patients that could not be solved.
    """

    objectives: np.ndarray
    violation: np.ndarray
    failed: np.ndarray


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
        Ids of the population; default 0, 1, 2, ...
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
        block = max(1, _BLOCK // self.patients)
        parts = [
            self._block(problem[start : start + block], flat[start : start + block])
            for start in range(0, len(flat), block)
        ]
        objectives, violation, failed = (np.concatenate([part[j] for part in parts]) for j in range(3))
        return Values(
            objectives.reshape(*shape, -1), violation.reshape(shape), failed.reshape(shape).sum(axis=1)
        )

    def endpoints(self, problem: np.ndarray, points: np.ndarray) -> pd.DataFrame:
        """Solve points, shape (n, variables), of the problems ``problem``, shape (n,); return all endpoints.

        Beside the columns of `fastcart.solve` there are ``row`` (the problem), the variables, and the
        columns of the problems and of the population.
        """
        columns = self._columns(problem, points)
        frame = self._solve(columns, len(points))
        extra = {name: value for name, value in columns.items() if name not in frame}
        ids = pd.Series(np.arange(self.patients) if self.ids is None else self.ids)
        index = ids.array.take(np.tile(np.arange(self.patients), len(points)))
        head = pd.DataFrame({"row": np.repeat(problem, self.patients), **extra})
        return pd.concat([head, frame.drop(columns="patient").assign(patient=index)], axis=1)

    def _block(self, problem: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        columns = self._columns(problem, points)
        frame = self._solve(columns, len(points))
        ok = (frame["status"] == "ok").to_numpy()
        known = _Known(columns, frame)
        shape = (len(points), self.patients)
        objectives = np.empty((len(points), len(self.goals)))
        for j, goal in enumerate(self.goals):
            value = known.value(goal.quantity, goal.name).reshape(shape)
            objectives[:, j] = goal.sign * aggregated(value, goal.aggregate)
        violation = np.zeros(len(points))
        for limit in self.limits:
            smaller = known.value(limit.smaller, limit.text)
            larger = known.value(limit.larger, limit.text)
            excess = aggregated(relative_excess(smaller, larger).reshape(shape), limit.aggregate)
            violation += np.maximum(excess, 0.0)
        failed = (~ok).reshape(shape).sum(axis=1)
        objectives[failed > 0] = np.nan
        violation[failed > 0] = np.nan
        return objectives, violation, failed

    def _columns(self, problem: np.ndarray, points: np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns of all patients: of their problem, of themselves, and the variables."""
        columns = {name: np.repeat(value[problem], self.patients) for name, value in self.rows.items()}
        columns |= {name: np.tile(value, len(points)) for name, value in self.population.items()}
        for j, name in enumerate(self.variables):
            columns[name] = np.repeat(points[:, j], self.patients)
        return columns

    def _solve(self, columns: Mapping[str, np.ndarray], points: int) -> pd.DataFrame:
        thresholds = (event.threshold for event in self.options.get("events", ()))
        known = {*self.model.parameter_names, *self.model.state_names, *thresholds}
        given: Any = {name: value for name, value in columns.items() if name in known}
        size = points * self.patients
        doses = None
        if self.doses is not None:
            ids = {"patient": np.arange(size)}
            doses = self.doses.table(pd.DataFrame({**columns, **ids}))
        result = solve(self.model, given or size, doses=doses, progress=False, warn=False, **self.options)
        return result.endpoints


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

    def value(self, quantity: Any, name: str) -> np.ndarray:
        """Return one number for each patient."""
        if isinstance(quantity, Expression):
            found = quantity(self)
        elif callable(quantity):
            if self._table is None:
                extra = {key: value for key, value in self._columns.items() if key not in self._frame}
                self._table = self._frame.assign(**extra)
            with user_code(f"The function for {name!r}"):
                found = np.asarray(quantity(self._table), dtype=float)
        else:
            found = quantity
        array = np.asarray(found, dtype=float)
        if array.shape not in ((), (len(self._frame),)):
            raise InputError(
                f"The function for {name!r} must return one number for each of {len(self._frame)} rows, not "
                f"an array of shape {array.shape}."
            )
        return np.broadcast_to(array, (len(self._frame),))


def aggregated(values: np.ndarray, how: Aggregate) -> np.ndarray:
    """Return one number for each point from those of its patients, shape (points, patients)."""
    if values.shape[1] == 1:
        return values[:, 0]
    if isinstance(how, str):
        return _AGGREGATES[how](values, axis=1)
    return np.quantile(values, how, axis=1)


def relative_excess(smaller: np.ndarray, larger: np.ndarray) -> np.ndarray:
    """Return by how much ``smaller`` exceeds ``larger``, from -1 to 1 for numbers of one sign."""
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.abs(smaller) + np.abs(larger)
        excess = (smaller - larger) / np.where(size > 0, size, 1.0)
    return np.where(np.isinf(smaller) & (smaller > larger), 1.0, excess)
