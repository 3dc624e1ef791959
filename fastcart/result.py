"""Results of a batch: one row of endpoints per patient, a tidy table of trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.patients import PatientTable
from fastcart.solvers.arrays import observe
from fastcart.solvers.problem import ChunkResult, Problem
from fastcart.solvers.status import NAMES, Status
from fastcart.tables.ids import id_text

_STATUS = pd.CategoricalDtype(NAMES)
COUNTERS = ("steps", "rejected", "rhs_calls", "t_reached")  # the last columns, behind the name of the engine


@dataclass
class BatchResult:
    """What `fastcart.solve` returns.

    Attributes
    ----------
    endpoints : DataFrame
        One row per patient: ``patient``, ``status``, ``pfs`` (last time at which the burden is at or
        below its start; the horizon when it still is, 0 when it never is), ``progression`` (first
        upward crossing, NaN where there is none), ``censored``, ``nadir`` and ``t_nadir``, ``final``
        (burden at the horizon), ``cured`` (the burden died out, where an extinction threshold is given),
        ``final_<state>`` for every state, what ``peaks``, ``auc`` and ``events`` ask for, ``engine``,
        counters of the solver, and the columns asked to be kept. Patients that failed have NaN endpoints.
    trajectories : DataFrame or None
        ``patient``, ``t``, states and observables, when ``save_at`` was given.
    model : Model
    options : mapping
        Engine, tolerances, horizon: what the results depend on.
    """

    endpoints: pd.DataFrame
    trajectories: pd.DataFrame | None
    model: Model
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> pd.DataFrame:
        """The endpoints of patients that were not solved."""
        return self.endpoints[self.endpoints["status"] != "ok"]

    def summary(self) -> dict[str, int]:
        """Return how many patients ended with each status."""
        counts = self.endpoints["status"].value_counts()
        return {str(name): int(n) for name, n in counts.items() if n}

    def explain(self, patient: Any) -> str:
        """Say in words how the integration of one patient went.

        Raises
        ------
        InputError
            When there is no such patient.
        """
        ids = self.endpoints["patient"]
        rows = self.endpoints[[id_text(value) == id_text(patient) for value in ids]]
        if rows.empty:
            raise InputError(f"There is no patient {patient!r} in this result.")
        row = rows.iloc[0]
        status = Status[str(row["status"])]
        unit = f"{self.model.time_unit}s"
        text = f"Patient {patient}: {status.sentence} (status {status.name!r}, engine {row['engine']!r}"
        text += f", {row['steps']} steps, {row['rejected']} rejected, {row['rhs_calls']} calls)."
        if status is not Status.ok:
            reached = row["t_reached"]
            if np.isfinite(reached):
                text += f" It had reached t = {reached:g} {unit}."
        elif self.model.burden is not None:
            if row["censored"]:
                text += f" No progression by {row['pfs']:g} {unit} (censored)."
            else:
                text += f" Progression-free survival {row['pfs']:g} {unit}."
            text += f" Nadir {row['nadir']:.4g} at {row['t_nadir']:.4g} {unit}."
        return text


def endpoint_columns(problem: Problem, result: ChunkResult) -> dict[str, np.ndarray]:
    """Return the numbers of the endpoints by name, in the order of the table, each of shape (patients,)."""
    model = problem.model
    ok = result.status == Status.ok
    has_burden = model.burden_index >= 0
    burden = result.final[:, model.burden_index] if has_burden else np.full(len(ok), np.nan)
    # a dose at the very horizon may lift the burden above its start there: that is progression, not censoring
    censored = ok & (result.pfs >= result.t_reached) & ~result.above & has_burden
    columns = {
        "pfs": result.pfs,
        "progression": result.progression,
        "censored": censored,
        "nadir": result.nadir,
        "t_nadir": result.t_nadir,
        "final": burden,
        "cured": result.cured,
    }
    integrals = [f"auc_{name}" for name in problem.auc]
    for j, name in enumerate(model.state_names[: len(model.states) - len(problem.integrands)]):
        columns[name if name in integrals else f"final_{name}"] = result.final[:, j]
    columns.update(_watched(problem, result, ok))
    columns["steps"] = result.steps
    columns["rejected"] = result.rejected
    columns["rhs_calls"] = result.rhs_calls
    columns["t_reached"] = result.t_reached
    return columns


def endpoints_frame(
    problem: Problem, table: PatientTable, start: int, stop: int, result: ChunkResult, engine: str
) -> pd.DataFrame:
    """Make the endpoints table of one chunk."""
    numbers = endpoint_columns(problem, result)
    counters = {name: numbers.pop(name) for name in COUNTERS}
    columns: dict[str, Any] = {
        "patient": table.ids[start:stop].copy(),  # not the caller's own
        "status": pd.Categorical.from_codes(result.status, dtype=_STATUS, validate=False),
        **numbers,
        "engine": result.engine if result.engine is not None else engine,
        **counters,
    }
    frame = pd.DataFrame(columns, index=range(stop - start), copy=False)
    if not len(table.kept.columns):
        return frame
    return pd.concat([frame, table.kept.iloc[start:stop].reset_index(drop=True)], axis=1)


def _watched(problem: Problem, result: ChunkResult, ok: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of peaks and events."""
    columns = {}
    for i, name in enumerate(problem.peaks):
        columns[f"peak_{name}"] = np.where(ok, result.best[:, i], np.nan)
        columns[f"t_peak_{name}"] = np.where(ok, result.when[:, i], np.nan)
    for i, event in enumerate(problem.events, start=len(problem.peaks)):
        happened = ok & (result.times[:, i] > 0)
        columns[f"event_{event.name}"] = np.where(happened, result.when[:, i], np.nan)
        columns[f"count_{event.name}"] = np.where(ok, result.times[:, i], 0)
    return columns


def saved_columns(
    problem: Problem, result: ChunkResult, p: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return what was saved of some patients, one after the other, in columns.

    Returns
    -------
    times : ndarray, shape (rows,)
    offsets : ndarray of int, shape (patients + 1,)
        Where the rows of each patient begin.
    columns : dict of str to ndarray, shape (rows,)
    """
    model = problem.model
    times, saved = problem.save_at, result.saved
    offsets = np.arange(len(saved) + 1) * len(times)
    if not len(times):
        return times, offsets, {}
    states, observables = list(model.state_names), list(model.observable_names)
    observed = observe(model, times, saved, p) if set(problem.save) & set(observables) else None
    columns = {}
    for name in problem.save:
        if name in states:
            columns[name] = saved[:, :, states.index(name)].ravel()
        else:
            assert observed is not None
            columns[name] = observed[:, :, observables.index(name)].ravel()
    return np.tile(times, len(saved)), offsets, columns


def trajectories_frame(
    problem: Problem, table: PatientTable, start: int, stop: int, result: ChunkResult, p: np.ndarray
) -> pd.DataFrame:
    """Make the tidy table of states and observables of one chunk."""
    times, _, columns = saved_columns(problem, result, p)
    ids = table.ids[start:stop].repeat(len(problem.save_at))
    return pd.DataFrame({"patient": ids, "t": times, **columns}, copy=False)
