"""What `fastcart.optimize` and `fastcart.pareto` have in common: their inputs, checked and put together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.batch import as_model, first_method, progress_bar
from fastcart.checks import shown
from fastcart.errors import InputError, nearest
from fastcart.events import Event, check_events
from fastcart.expressions import Expression
from fastcart.model import Model
from fastcart.optimization import variables as candidates
from fastcart.optimization.evaluation import Evaluator, Goal, Values
from fastcart.optimization.journal import PATTERN, Journal
from fastcart.optimization.space import Space
from fastcart.optimization.variables import Aggregate, Constraint
from fastcart.options import SolveOptions
from fastcart.patients import check_patients, number_columns
from fastcart.plotting import beside
from fastcart.runs.identity import describe_model, environment, plain
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import Run, open_run
from fastcart.scanning.doses import dose_template
from fastcart.solvers.endpoints import endpoint_names
from fastcart.tables.storage import csv_text

GOALS = {"maximize": -1.0, "minimize": 1.0}
PICTURES = ("history.png", "front.png")  # of one objective, of several
_TABLES = ("best.csv", "endpoints.csv", "history.csv", "front.csv")
_OWNS = (PATTERN, *_TABLES, *beside(PICTURES))


@dataclass(frozen=True)
class Setting:
    """Checked inputs of an optimization.

    Parameters
    ----------
    model : Model
    space : Space
    evaluator : Evaluator
    rows : DataFrame
        One row for each problem.
    start : ndarray, shape (problems, variables), or None
    content : dict
        What the results depend on, for the manifest.
    """

    model: Model
    space: Space
    evaluator: Evaluator
    rows: pd.DataFrame
    start: np.ndarray | None
    content: dict[str, Any]

    def describe_points(self, row: np.ndarray, points: np.ndarray) -> pd.DataFrame:
        """Return a table: the columns of the problems, and the variables."""
        head = self.rows.iloc[row].reset_index(drop=True)
        return pd.concat([head, pd.DataFrame(points, columns=list(self.evaluator.variables))], axis=1)


def prepare(
    model: str | Model,
    variables: Mapping[str, Any],
    goals: Sequence[tuple[Any, str, Aggregate | None]],
    *,
    constraints: Constraint | Sequence[Constraint],
    for_each: Any,
    patients: Any,
    doses: Any,
    start: Any,
    options: SolveOptions,
    threads: int | None,
) -> Setting:
    """Check the inputs of an optimization.

    ``goals`` are triples of quantity, ``"maximize"`` or ``"minimize"``, and aggregate; the rest is as in
    `fastcart.optimize`.
    """
    model = as_model(model)
    if not isinstance(variables, Mapping) or not variables:
        raise InputError(f"The variables must be a mapping of names to bounds, not {shown(variables)}.")
    template = dose_template(model, doses)
    rows_table = candidates.check_rows(for_each, number_columns(model))
    rows = candidates.numeric_columns(rows_table, model, "the table for_each")
    population, size, ids = _population(model, patients)
    _check_sources(model, list(variables), rows, population, [] if template is None else template.columns)
    check_events(model, options.events)
    known = [*variables, *rows, *population, *_endpoints(model, options.events)]
    linear, limits = candidates.split_constraints(constraints, list(variables), rows, known)
    space = candidates.make_space(model, variables, rows, len(rows_table), linear)
    checked = [_goal(*goal, known) for goal in goals]
    if patients is None and any(how is not None for _, _, how in goals):
        raise InputError(
            "An aggregate is over a virtual population, and no patients are given; give patients, or leave "
            "aggregate off."
        )
    options = options.watching(**_wanted([*checked, *limits]))
    method = first_method(model, options)
    evaluator = Evaluator(
        model, list(variables), rows, population, size, template, checked, limits,
        {**options.keywords(), "threads": threads}, None if patients is None else ids,
        rows_table.get("patient"),
    )  # fmt: skip
    first = _start(start, list(variables), space, len(rows_table))
    content = {
        "model": describe_model(model), "variables": plain(variables), "for_each": plain(rows_table),
        "goals": [
            [plain(quantity), way, plain(goal.aggregate)]
            for (quantity, way, _), goal in zip(goals, checked, strict=True)
        ],
        "constraints": [plain(item.text) for item in linear] + [plain(item) for item in limits],
        "population": {name: plain(value) for name, value in population.items()}, "patients": size,
        "ids": plain(list(ids)),
        "doses": None if template is None else plain(template.describe()), "start": plain(first),
        "solve": plain(_recorded(model, options)), "begins_with": method,
    }  # fmt: skip
    return Setting(model, space, evaluator, rows_table, first, content)


@contextmanager
def recorded(
    setting: Setting,
    kind: str,
    content: Mapping[str, Any],
    out: str | os.PathLike[str] | None,
    *,
    resume: bool,
    force: bool,
    batches: int,
    progress: bool | None,
):
    """Open the folder of a run, where one is asked for; yield the run and how points are evaluated.

    The second is a function of rows and points that returns `Values`; it keeps a journal and shows progress,
    of ``batches`` batches.
    """
    run: Run | None = None
    if out is not None:
        manifest = Manifest(kind, {**setting.content, **plain(content), "environment": environment()})
        run = open_run(out, manifest, resume=resume, force=force, owns=_OWNS)
    elif resume or force:
        raise InputError("To resume or replace an optimization, name its folder with out.")
    journal = Journal(run)
    try:
        with progress_bar(batches, progress, unit="iterations") as bar:

            def evaluate(rows: np.ndarray, points: np.ndarray) -> Values:
                values = journal(rows, points, setting.evaluator)
                bar.update()
                return values

            yield run, evaluate
    finally:
        if run is not None:
            run.close()


def undefined_points(names: Sequence[str], undefined: np.ndarray, points: int) -> list[str]:
    """Say which quantities are undefined at how many of the points.

    Parameters
    ----------
    names : sequence of str
    undefined : ndarray of int, shape (names,)
    points : int
    """
    return [
        f"{shown(name)} is undefined (no finite number) at {int(count)} of {points} points, which are left "
        "out."
        for name, count in zip(names, undefined, strict=True)
        if count
    ]


def least_broken(evaluator: Evaluator, problem: int, point: np.ndarray) -> str:
    """Say which constraints a point breaks, and by how much; to follow 'the nearest point'."""
    where = ", ".join(f"{name} = {value:.4g}" for name, value in zip(evaluator.variables, point, strict=True))
    who = " in the worst patient" if evaluator.patients > 1 else ""
    broken = [
        f"{shown(text)} ({smaller:.4g} > {larger:.4g}{who})"
        for text, _, smaller, larger in evaluator.broken(problem, point)
    ]
    if broken:
        return f"({where}) breaks {' and '.join(broken)}"
    return f"({where}) has no value of an objective or a constraint, or a patient who cannot be solved"


def write_tables(run: Run | None, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write the tables of a finished run as CSV."""
    if run is not None:
        for name, table in tables.items():
            run.write(f"{name}.csv", csv_text(table))


def _population(model: Model, patients: Any) -> tuple[dict[str, np.ndarray], int, Any]:
    """Return the columns of a population, its size and its ids."""
    if patients is None:
        return {}, 1, np.arange(1)
    table = check_patients(model, patients)
    return dict(table.columns), table.size, table.ids


def _check_sources(
    model: Model, variables: list[str], rows: Mapping, population: Mapping, dosed: list[str]
) -> None:
    """Check that every name comes from one place, and that every variable means something."""
    items = [item.name for item in model.items]
    for name in variables:
        if name not in items and name not in dosed:
            raise InputError(
                f"The variable {shown(name)} is not a parameter or state of model {model.name!r}, nor a "
                "column that the doses use." + nearest(name, [*items, *dosed])
            )
    for name in dosed:
        if name not in (*variables, *rows, *population):
            raise InputError(f"The doses use {name!r}, which is no variable and no column of a table.")
    places = {"the variables": variables, "for_each": rows, "the patients": population}
    seen: dict[str, str] = {}
    for place, given in places.items():
        for name in given:
            if name in seen:
                raise InputError(f"The name {name!r} is given both by {seen[name]} and by {place}.")
            seen[name] = place
    for name in seen:
        if name in _endpoints(model):
            raise InputError(f"The column {name!r} has the name of an endpoint; rename it.")


def _endpoints(model: Model, events: Sequence[Event] = ()) -> list[str]:
    quantities = [*model.state_names, *model.observable_names]
    burden = endpoint_names() if model.burden is not None else []
    found = [*burden, "steps", *(f"final_{name}" for name in model.state_names)]
    found += [f"{kind}_{name}" for kind in ("peak", "t_peak", "auc") for name in quantities]
    return [*found, *(f"{kind}_{event.name}" for kind in ("event", "count") for event in events)]


def _goal(quantity: Any, way: str, aggregate: Aggregate | None, known: Sequence[str]) -> Goal:
    if way not in GOALS:
        raise InputError(
            f"The goal must be 'maximize' or 'minimize', not {shown(way)}." + nearest(way, GOALS)
        )
    how = candidates.check_aggregate("mean" if aggregate is None else aggregate)
    if callable(quantity):
        return Goal(quantity, GOALS[way], getattr(quantity, "__name__", "objective"), how)
    formula = Expression(quantity)
    formula.check_names(list(known), f"The objective {shown(quantity)}")
    return Goal(formula, GOALS[way], quantity, how)


def _recorded(model: Model, options: SolveOptions) -> dict[str, Any]:
    """Return what a manifest holds of the options: always these, and of the others what is no default."""
    always = ("rtol", "t_end", "atol", "extinction", "events", "engine")
    given = {name: getattr(options, name) for name in always}
    return {**given, **options.changed(), "t_end": options.horizon(model)}


def _wanted(used: Sequence[Any]) -> dict[str, list[str]]:
    """Return the peaks and areas that formulas use."""
    found: dict[str, list[str]] = {"peaks": [], "auc": []}
    formulas = [part for item in used for part in vars(item).values() if isinstance(part, Expression)]
    for formula in formulas:
        for name in formula.names:
            for key, starts in (("peaks", ("peak_", "t_peak_")), ("auc", ("auc_",))):
                for start in starts:
                    quantity = name.removeprefix(start)
                    if name.startswith(start) and quantity not in found[key]:
                        found[key].append(quantity)
    return found


def _start(start: Any, variables: list[str], space: Space, problems: int) -> np.ndarray | None:
    """Return the first guess, one row for each problem."""
    if start is None:
        return None
    frame = candidates.check_rows(start, variables)
    for name in variables:
        if name not in frame.columns:
            raise InputError(f"The start needs a column {name!r} for each of the variables {variables}.")
    for name in frame.columns:
        if name not in variables:
            raise InputError(
                f"The start has {shown(name)}, which is not varied; leave it out, or vary it."
                + nearest(name, variables)
            )
    values = np.column_stack(
        [candidates.finite_numbers(frame[n], f"The start {n!r} holds", 0) for n in variables]
    )
    if len(values) not in (1, problems):
        raise InputError(
            f"The start needs one row, or one for each of {problems} problems, not {len(values)}."
        )
    points = np.broadcast_to(values, (problems, len(variables)))
    _check_start(points, variables, space)
    return points.copy()


def _check_start(points: np.ndarray, variables: list[str], space: Space) -> None:
    """Check that a first guess lies in the box and keeps the linear constraints, up to rounding."""
    where = [f" in row {k + 1}" if len(points) > 1 else "" for k in range(len(points))]
    for k, j in np.argwhere((points < space.lower) | (points > space.upper)):
        raise InputError(
            f"The start {variables[j]!r} must lie between its bounds {space.lower[k, j]:g} and "
            f"{space.upper[k, j]:g}, not at {points[k, j]:g}{where[k]}; change the start or the bounds."
        )
    for k in np.flatnonzero(space.linear_excess(points[:, None, :])[:, 0].max(axis=1, initial=0.0) > 1e-9):
        raise InputError(
            f"The start breaks a linear constraint{where[k]}; give one that keeps all of them, or none."
        )
