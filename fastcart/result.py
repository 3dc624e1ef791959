"""Results of a batch: one row of endpoints per patient, a tidy table of trajectories."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.patients import PatientTable
from fastcart.solvers.arrays import Parameters, observe
from fastcart.solvers.endpoints import endpoint_names
from fastcart.solvers.problem import ChunkResult, Problem, Saves, places
from fastcart.solvers.status import NAMES, Status
from fastcart.solvers.system import shown
from fastcart.tables.ids import id_text

_STATUS = pd.CategoricalDtype(NAMES)
_LAST = ("engine", "steps", "rejected", "rhs_calls", "t_reached")  # columns


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
    sensitivities : DataFrame or None
        Derivatives over time, when both ``sensitivities`` and ``save_at`` were given: ``patient``, ``by``
        (the parameter or initial value), ``t``, and the columns of the trajectories.
    """

    endpoints: pd.DataFrame
    trajectories: pd.DataFrame | None
    model: Model
    options: Mapping[str, Any] = field(default_factory=dict)
    sensitivities: pd.DataFrame | None = None

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
    found = result.recorded()
    found["censored"] = ok & (found["pfs"] >= result.t_reached) & ~result.above & has_burden
    found["final"], found["cured"] = burden, result.cured
    columns = {name: found[name] for name in endpoint_names()}
    integrals = [f"auc_{name}" for name in problem.auc]
    named = model.state_names[: len(model.states) - len(problem.integrands)]
    in_tables = set(shown(model, named))
    for j, name in enumerate(named):
        if name not in in_tables:
            continue
        columns[name if name in integrals else f"final_{name}"] = result.final[:, j]
    columns.update(_slopes(problem, result))
    columns.update(_watched(problem, result, ok))
    columns["steps"] = result.steps
    columns["rejected"] = result.rejected
    columns["rhs_calls"] = result.rhs_calls
    columns["t_reached"] = result.t_reached
    return columns


class Tables:
    """Columns of endpoints and trajectories of all patients, filled chunk by chunk.

    Parameters
    ----------
    problem : Problem
    table : PatientTable
        Of these patients.
    engine : str
    saves : Saves, optional
        Which of the times to save are whose; default all of everyone.
    """

    def __init__(
        self, problem: Problem, table: PatientTable, engine: str, saves: Saves | None = None
    ):  # fmt: skip
        self.problem, self.table, self.engine = problem, table, engine
        self.saves, self._lock = saves, threading.Lock()
        self.endpoints: dict[str, np.ndarray] = {}
        self.saved: dict[str, np.ndarray] = {}
        self.slopes: np.ndarray | None = None  # directions x columns x rows

    def put(self, start: int, stop: int, result: ChunkResult, p: Parameters, threads: int) -> None:
        """Take the results of patients ``start`` to ``stop``, and their parameters, from any thread."""
        problem, size = self.problem, self.table.size
        engine = result.engine
        if engine is None:
            engine = np.full(stop - start, self.engine)
        columns = {"status": result.status, "engine": engine.astype(object)}
        columns |= endpoint_columns(problem, result)
        saves = _part(problem, self.saves, start, stop)
        saved = saved_columns(problem, result, p, saves, threads)
        if stop - start == size:  # all at once: nothing is copied
            self.endpoints, self.saved, self.slopes = columns, saved, result.saved_slopes
            return
        with self._lock:
            if not self.endpoints:
                self._offsets = _part(problem, self.saves, 0, size).offsets
                block = np.empty((len(saved), int(self._offsets[-1])))  # one column after the other
                self.saved = dict(zip(saved, block, strict=True))
                self.endpoints = {name: np.empty(size, values.dtype) for name, values in columns.items()}
                if result.saved_slopes is not None:
                    self.slopes = np.empty((*result.saved_slopes.shape[:2], int(self._offsets[-1])))
        for name, values in columns.items():
            self.endpoints[name][start:stop] = values
        rows = slice(self._offsets[start], self._offsets[stop])
        for name, values in saved.items():
            self.saved[name][rows] = values
        if self.slopes is not None:
            self.slopes[..., rows] = result.saved_slopes

    def endpoints_frame(self) -> pd.DataFrame:
        """Return the table of endpoints."""
        table, columns = self.table, dict(self.endpoints)
        frame = pd.DataFrame(
            {
                "patient": table.ids.copy(),  # not the caller's own
                "status": pd.Categorical.from_codes(columns.pop("status"), dtype=_STATUS, validate=False),
                **{name: values for name, values in columns.items() if name not in _LAST},
                **{name: columns[name] for name in _LAST},
            },
            index=range(table.size), copy=False,
        )  # fmt: skip
        if not len(table.kept.columns):
            return frame
        return pd.concat([frame, table.kept.reset_index(drop=True)], axis=1)

    def trajectories_frame(self) -> pd.DataFrame | None:
        """Return the tidy table of states and observables; None where nothing was to be saved."""
        if not len(self.problem.save_at):
            return None
        ids = self.table.ids.repeat(self._counts())
        return pd.DataFrame({"patient": ids, **self.saved}, copy=False)

    def _counts(self) -> Any:
        """Return how many times each patient has."""
        return len(self.problem.save_at) if self.saves is None else np.diff(self.saves.offsets)

    def sensitivities_frame(self) -> pd.DataFrame | None:
        """Return the tidy table of derivatives over time; None where none were asked for."""
        directions = self.problem.directions
        if directions is None or self.slopes is None:
            return None
        who = np.tile(np.arange(self.table.size).repeat(self._counts()), directions.count)
        order = np.argsort(who, kind="stable")  # of a patient direction by direction
        by = np.repeat(np.arange(directions.count), self.slopes.shape[2])[order]
        columns = {
            "patient": self.table.ids[who[order]],
            "by": pd.Categorical.from_codes(by, dtype=pd.CategoricalDtype(list(directions.names))),
            "t": np.tile(self.saved["t"], directions.count)[order],
        }
        for c, name in enumerate(self.problem.save):
            columns[name] = self.slopes[:, c].ravel()[order]
        return pd.DataFrame(columns, copy=False)


def _part(problem: Problem, saves: Saves | None, start: int, stop: int) -> Saves:
    return Saves.all_of(problem.save_at, stop - start) if saves is None else saves.take(slice(start, stop))


def _slopes(problem: Problem, result: ChunkResult) -> dict[str, np.ndarray]:
    """Return the columns of derivatives at the end."""
    if problem.directions is None:
        return {}
    states = problem.model.state_names[: len(problem.model.states) - problem.integrals]
    ends = [*(f"final_{name}" for name in states), *(f"auc_{name}" for name in problem.auc)]
    assert result.final_slopes is not None
    return {
        f"d_{end}_d_{name}": result.final_slopes[:, k, j]
        for k, name in enumerate(problem.directions.names)
        for j, end in enumerate(ends)
    }


def _watched(problem: Problem, result: ChunkResult, ok: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of peaks and events."""
    columns = {}
    for i, name in enumerate(problem.peaks):
        columns[f"peak_{name}"] = np.where(ok, result.best[:, i], np.nan)
        columns[f"t_peak_{name}"] = np.where(ok, result.when[:, i], np.nan)
    for i, event in enumerate(problem.asked_events, start=len(problem.peaks)):
        happened = ok & (result.times[:, i] > 0)
        columns[f"event_{event.name}"] = np.where(happened, result.when[:, i], np.nan)
        columns[f"count_{event.name}"] = np.where(ok, result.times[:, i], 0)
    return columns


def saved_columns(
    problem: Problem, result: ChunkResult, p: Parameters, saves: Saves, threads: int
) -> dict[str, np.ndarray]:
    """Return what was saved of some patients, one after the other, in columns.

    Parameters
    ----------
    problem : Problem
    result : ChunkResult
    p : ndarray, shape (patients, parameters), or callable
        Where they switch, what gives them at a time.
    saves : Saves
        Which of the times are whose.
    threads : int

    Returns
    -------
    dict of str to ndarray, shape (rows,)
        Times ``t``, then states and observables in the order asked for.
    """
    model, times, states = problem.model, problem.save_at, list(problem.saved_states)
    if not len(times):
        return {}
    names = [name for name in problem.save if name in model.observable_names]
    observed = observe(model, times, saves, result.saved, p, names, threads) if names else None
    if saves.shared:
        columns = {"t": np.tile(times, len(saves.begin))}
    else:
        columns = {"t": times[places(saves.begin, np.diff(saves.offsets))]}
    for name in problem.save:
        if name in names and observed is not None:
            columns[name] = observed[names.index(name)]
        else:
            columns[name] = result.saved[states.index(model.state_names.index(name))]
    return columns
