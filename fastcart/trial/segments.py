"""From one day of a course to the next: arrays in, arrays out, each kind of segment prepared once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.events import Event
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.prepared import Solution, Solver, prepare

_TOGETHER = 32768  # patients who go on at once, at most


class Patients:
    """Where patients are: parameters, states and thresholds, a column each of one array.

    Parameters
    ----------
    table : DataFrame, or mapping of columns
        Numbers only, at least one column.

    Attributes
    ----------
    values : ndarray, shape (patients, columns)
    now : dict of str to ndarray, shape (patients,)
        The columns by name; what is written to them is in ``values``.
    """

    def __init__(self, table: pd.DataFrame | Mapping[str, np.ndarray]) -> None:
        columns: Any = table  # a frame of them takes longer to make than the numbers to copy
        self.names = tuple(columns)
        self.values = np.empty((len(columns[self.names[0]]), len(self.names)), order="F")
        for j, name in enumerate(self.names):
            self.values[:, j] = columns[name]
        self.now = {name: self.values[:, j] for j, name in enumerate(self.names)}

    def of(self, names: Sequence[str]) -> np.ndarray:
        """Return some columns, shape (patients, names); those that come first as they are, others copied."""
        if tuple(names) == self.names[: len(names)]:
            return self.values[:, : len(names)]
        return np.column_stack([self.now[name] for name in names])

    def states(self, names: Sequence[str]) -> pd.DataFrame:
        """Return a table of some columns, a copy."""
        columns = np.array([self.now[name] for name in names])  # one block: a frame of columns takes longer
        return pd.DataFrame(columns.T, columns=list(names), copy=False)

    def put(self, states: pd.DataFrame, names: Sequence[str]) -> None:
        """Take over the columns of a table of the same patients."""
        if not states.index.equals(pd.RangeIndex(len(self.values))):
            states = states.reindex(range(len(self.values)))
        for name in names:
            self.now[name][:] = states[name].to_numpy(dtype=np.float64)


class Segment(NamedTuple):
    """A stretch of days, and when in it what is saved; days are counted from its beginning."""

    length: float
    days: tuple[float, ...]
    save: tuple[str, ...]
    events: tuple[Event, ...]


class Segments:
    """Solves patients from day to day; segments that are alike share one solver.

    Parameters
    ----------
    model : Model
    options : SolveOptions
        Horizon and events in them do not count.
    ids : ndarray, shape (patients,)
    threads : int, optional
    """

    def __init__(self, model: Model, options: SolveOptions, ids: np.ndarray, threads: int | None) -> None:
        self.model, self.options, self.ids, self.threads = model, options, ids, threads
        self._solvers: dict[tuple[tuple[str, ...], Segment], Solver] = {}

    def __call__(self, patients: Patients, segment: Segment, doses: pd.DataFrame | None) -> Solution:
        """Solve a segment from where the patients are now.

        Parameters
        ----------
        patients : Patients
        segment : Segment
        doses : DataFrame or None
            Those of the segment.

        Returns
        -------
        Solution
        """
        columns = self._columns(patients, segment)
        solver = self._solver(tuple(columns), segment, doses)
        values = patients.of(columns)
        size = len(patients.values)
        parts = []
        for first in range(0, size, _TOGETHER):
            rows = np.arange(first, min(first + _TOGETHER, size))
            parts.append(solver(values[rows[0] : rows[-1] + 1], None if doses is None else rows))
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _columns(self, patients: Patients, segment: Segment) -> list[str]:
        """Return what the solver of a segment is given: no threshold of what it does not look for."""
        known = {*self.model.state_names, *self.model.parameter_names}
        known |= {name for event in segment.events for name in event.named}
        return [name for name in patients.names if name in known]

    def _solver(self, columns: tuple[str, ...], segment: Segment, doses: pd.DataFrame | None) -> Solver:
        if doses is None and (columns, segment) in self._solvers:
            return self._solvers[columns, segment]
        days, save = (list(segment.days), segment.save) if segment.days else (None, None)
        solver = prepare(
            self.model, columns, patients=None if doses is None else self.ids.tolist(), doses=doses,
            save_at=days,
            save=save, threads=self.threads,
            options=replace(self.options, t_end=segment.length, events=segment.events),
        )  # fmt: skip
        if doses is None:
            self._solvers[columns, segment] = solver
        return solver


def _joined(parts: Sequence[Solution]) -> Solution:
    """Return solutions of patients, one part after the other, as one."""

    def by_name(tables: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}

    offsets, rows = [np.zeros(1, dtype=np.int64)], 0
    for part in parts:
        offsets.append(part.offsets[1:] + rows)
        rows += int(part.offsets[-1])
    return Solution(
        np.concatenate([part.status for part in parts]), by_name([part.endpoints for part in parts]),
        np.vstack([part.final for part in parts]), np.concatenate(offsets),
        np.concatenate([part.t for part in parts]), by_name([part.saved for part in parts]),
    )  # fmt: skip
