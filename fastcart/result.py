"""Results of a batch: one row of endpoints per patient, a tidy table of trajectories."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastcart.errors import InputError, counted, nearest
from fastcart.model import Model
from fastcart.patients import PatientTable
from fastcart.plausible import outside, sentences
from fastcart.representation import alert, facts, in_brief, section, table
from fastcart.solvers.arrays import Parameters, observe
from fastcart.solvers.endpoints import endpoint_names
from fastcart.solvers.problem import ChunkResult, Problem, Saves, places
from fastcart.solvers.status import NAMES, Status
from fastcart.solvers.system import shown
from fastcart.tables.ids import id_places, id_text

_STATUS = pd.CategoricalDtype(NAMES)
_SUMMED = ("pfs", "progression", "nadir", "t_nadir", "final")
_MOST_SUGGESTED = 1000  # among more ids than this the nearest is not looked for
_LAST = ("engine", "steps", "rejected", "rhs_calls", "t_reached")  # columns


@dataclass(repr=False)
class BatchResult:
    """What `fastcart.solve` returns.

    Attributes
    ----------
    endpoints : DataFrame
        One row per patient: ``patient``, ``status``; of models with a tumor (a burden) ``pfs`` (last time at
        which the burden is at or below its start; the horizon when it still is, 0 when it never is),
        ``progression`` (first upward crossing, NaN where there is none), ``censored``, ``nadir`` and
        ``t_nadir``, ``final`` (burden at the horizon), ``cured`` (the burden died out, where an extinction
        threshold is given); ``final_<state>`` for every state, what ``peaks``, ``auc`` and ``events`` ask
        for, ``engine``, counters of the solver, and the columns asked to be kept. Patients that failed have
        NaN endpoints.
    trajectories : DataFrame or None
        ``patient``, ``t``, states and observables, when ``save_at`` was given.
    model : Model
    options : mapping
        Engine, tolerances, horizon: what the results depend on.
    sensitivities : DataFrame or None
        Derivatives over time, when both ``sensitivities`` and ``save_at`` were given: ``patient``, ``by``
        (the parameter or initial value), ``t``, and the columns of the trajectories.
    doses : DataFrame or None
        What was given after the start, as a table.

    Examples
    --------
    >>> import fastcart
    >>> result = fastcart.solve("li_lei", {"patient": ["low", "high"], "TE": [1e6, 1e8]}, save_at=range(101))
    >>> len(result), result["low"].endpoints["status"].tolist()
    (2, ['ok'])
    >>> result
    BatchResult('li_lei', 2 patients, all ok, 101 times)
    """

    endpoints: pd.DataFrame
    trajectories: pd.DataFrame | None
    model: Model
    options: Mapping[str, Any] = field(default_factory=dict)
    sensitivities: pd.DataFrame | None = None
    doses: pd.DataFrame | None = None

    def __len__(self) -> int:
        """Return the number of patients."""
        return len(self.endpoints)

    def __getitem__(self, patient: Any) -> BatchResult:
        """Return the result of one patient by id, or of several by a list of ids.

        Raises
        ------
        InputError
            When there is no such patient.
        """
        several = isinstance(patient, list | tuple | np.ndarray | pd.Series | pd.Index)
        rows = self.places(list(patient) if several else [patient])
        ids = self.endpoints["patient"].iloc[rows]

        def part(table: pd.DataFrame | None) -> pd.DataFrame | None:
            return None if table is None else table[table["patient"].isin(ids)].reset_index(drop=True)

        return replace(
            self, endpoints=self.endpoints.iloc[rows].reset_index(drop=True),
            trajectories=part(self.trajectories), sensitivities=part(self.sensitivities),
        )  # fmt: skip

    def places(self, patients: Sequence[Any]) -> np.ndarray:
        """Return the rows of patients by their ids, in the order of the result.

        Raises
        ------
        InputError
            When one is not there.
        """
        rows = id_places(pd.Series(list(patients), dtype=object), self.endpoints["patient"])
        if (rows < 0).any():
            unknown = list(patients)[int(np.argmax(rows < 0))]
            some = self.endpoints["patient"].iloc[:_MOST_SUGGESTED].map(id_text)
            raise InputError(f"There is no patient {unknown!r} in this result." + nearest(unknown, some))
        return np.unique(rows)

    def __repr__(self) -> str:
        counts = self.summary()
        bad = ", ".join(f"{n} {name}" for name, n in counts.items() if name != "ok")
        times = "" if self.trajectories is None else counted(self._times(), "time")
        size = counted(len(self), "patient")
        found = self.implausible()
        odd = [f"{k} implausible in {n}" for k, n in zip(found["quantity"], found["patients"], strict=True)]
        return in_brief("BatchResult", [repr(self.model.name), size, bad or "all ok", times, *odd])

    def _repr_html_(self) -> str:
        """Show model, patients, engine, horizon, statuses and quantiles of the endpoints in a notebook."""
        counts = self.summary()
        options = self.options
        engine = " ".join(filter(None, [str(options.get("engine", "")), options.get("begins_with") or ""]))
        horizon = f"{options.get('t_end', np.nan):g} {self.model.time_unit}s"
        times = [] if self.trajectories is None else [("times", self._times())]
        bad = [
            f"{n} of {len(self)}: {Status[name].sentence} ({name})"
            for name, n in counts.items()
            if name != "ok"
        ]
        return section(
            f"fastcart: {self.model.name}",
            [
                facts([("patients", len(self)), ("engine", engine), ("horizon", horizon), *times]),
                facts([("ok", counts.get("ok", 0))]) if not bad else "",
                *(alert(text) for text in bad),
                *(f"<p>{escape(note)}</p>" for note in self.notes),
                table(self.quantiles(), index=True, rows=20),
            ],
        )

    def _times(self) -> int:
        assert self.trajectories is not None
        return self.trajectories["t"].nunique()

    @property
    def notes(self) -> list[str]:
        """What to know before the numbers are used, a sentence each; see `implausible`."""
        return sentences(self.implausible(), self.model)

    def implausible(self) -> pd.DataFrame:
        """Return which quantities leave what their model holds plausible, and in how many patients.

        Looked at are the values at the end, peaks that were asked for, and saved courses. A state that counts
        something (its unit is one of cells, mass or substance) and is below 0 is implausible, too, by more
        than errors of the solver can be.

        Returns
        -------
        DataFrame
            ``quantity``, ``low``, ``high`` (the range), ``patients`` (outside of it), ``most`` (the value
            that is farthest out); empty where nobody leaves any.
        """
        return outside(self.model, self.endpoints, self.trajectories)

    def quantiles(self, levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> pd.DataFrame:
        """Return quantiles of the endpoints over the patients that were solved, a row for each endpoint."""
        solved = self.endpoints[self.endpoints["status"] == "ok"]
        names = [
            name for name in solved.columns
            if name in _SUMMED or str(name).startswith(("final_", "peak_", "t_peak_", "auc_", "event_"))
        ]  # fmt: skip
        rows = {}
        for name in names:
            values = solved[name].to_numpy(dtype=float)
            values = values[~np.isnan(values)]
            rows[name] = np.quantile(values, levels) if len(values) else np.full(len(levels), np.nan)
        return pd.DataFrame.from_dict(rows, orient="index", columns=[f"{level:.0%}" for level in levels])

    def plot(
        self, quantities: str | Sequence[str] | None = None, *, by: Any = None,
        bands: Sequence[float] = (0.05, 0.25, 0.75, 0.95), patients: Any = 0, observed: Any = None,
        doses: Any = None, ax: Any = None,
    ) -> Any:  # fmt: skip
        """Draw courses: median and bands of all patients that were solved, or of groups of them.

        The axis is logarithmic where values range over decades, whatever their unit, with a line at one cell
        where they fall below. A line that would climb before a bolus is interrupted there; give ``save_at``
        the times of `fastcart.DosingSchedule.save_times` to have the jump itself.

        Parameters
        ----------
        quantities : str or sequence of str, optional
            Saved states and observables; default the burden.
        by : str or sequence, optional
            Column of the endpoints (``keep=`` of `fastcart.solve`), or a value for each patient: a line for
            each group, its median; of up to three groups thin lines are the outermost bands.
        bands : sequence of float
            Quantiles in pairs from low to high; empty for none.
        patients : int or sequence
            So many single patients, or those with these ids, as thin lines.
        observed : DataFrame or mapping, optional
            Measurements: ``t``, columns named as quantities, for bars also ``<name>_low`` and ``<name>_high``
            or ``<name>_sd``, and the column of ``by``.
        doses : DosingSchedule, DataFrame or False, optional
            Ticks at the bottom; default those of the solve, False for none.
        ax : matplotlib Axes or several, optional
            Where to draw; default a new figure.

        Returns
        -------
        matplotlib Axes, or an array of them where ``quantities`` is a list

        Raises
        ------
        InputError
            Where nothing was saved, for an unknown quantity or column, more than eight groups.
        MissingDependencyError
            Without matplotlib.
        """
        from fastcart.result_figures import draw_courses

        return draw_courses(
            self, quantities, by=by, bands=bands, patients=patients, observed=observed, doses=doses, ax=ax
        )

    def plot_pfs(self, *, by: Any = None, ax: Any = None) -> Any:
        """Draw the share of patients without progression over time, after Kaplan and Meier.

        Parameters
        ----------
        by : str or sequence, optional
            Groups, as in `plot`.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        InputError
            For a model without a burden, an unknown column, more than eight groups.
        """
        from fastcart.result_figures import draw_pfs

        return draw_pfs(self, by=by, ax=ax)

    def to_xarray(self) -> Any:
        """Return all as an `xarray.Dataset`: courses over ``patient`` and ``t``, endpoints over ``patient``.

        Units and descriptions are attributes of the variables, model, options and versions of the whole.

        Raises
        ------
        InputError
            Where patients have times of their own.
        MissingDependencyError
            Without xarray (extra ``xarray``).
        """
        from fastcart.result_files import dataset_of

        return dataset_of(self)

    def save(self, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write all into a folder, for `fastcart.load`: tables as Parquet, the rest as JSON.

        The model itself is not kept, but its name, options and fingerprint: who loads the result with
        another model is told.

        Parameters
        ----------
        folder : path
        force : bool
            Replace a result that is there.

        Returns
        -------
        Path

        Raises
        ------
        InputError
            For a folder that holds a result already, unless ``force``.
        MissingDependencyError
            Without pyarrow (extra ``parquet``).
        """
        from fastcart.result_files import save_batch

        return save_batch(self, folder, force=force)

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
        row = self.endpoints.iloc[self.places([patient])[0]]
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
        return " ".join([text, *self[patient].notes])


def endpoint_columns(problem: Problem, result: ChunkResult) -> dict[str, np.ndarray]:
    """Return the numbers of the endpoints by name, in the order of the table, each of shape (patients,)."""
    model = problem.model
    ok = result.status == Status.ok
    columns: dict[str, np.ndarray] = {}
    if model.burden_index >= 0:  # else there is no tumor that could progress
        found = result.recorded()
        # a dose at the very horizon may lift the burden above its start: that is progression, not censoring
        found["censored"] = ok & (found["pfs"] >= result.t_reached) & ~result.above
        found["final"], found["cured"] = result.final[:, model.burden_index], result.cured
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
