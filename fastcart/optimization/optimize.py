"""The best doses, or any other inputs of a model: many searches at once, each iteration one batch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd

from fastcart.checks import count, seed_of, seeded, shown
from fastcart.errors import InputError, counted, nearest
from fastcart.model import Model
from fastcart.optimization.methods import find
from fastcart.optimization.methods.base import Search
from fastcart.optimization.problem import (
    GOALS,
    Setting,
    least_broken,
    prepare,
    recorded,
    undefined_points,
    write_tables,
)
from fastcart.optimization.progress import Progress, StopRule
from fastcart.optimization.space import Space
from fastcart.optimization.swarm import SwarmSettings
from fastcart.optimization.variables import Aggregate, Constraint, Limit
from fastcart.options import SolveOptions, SolverKeywords, chosen_options
from fastcart.representation import alert, in_brief, section, table
from fastcart.saved import save_tables
from fastcart.typing_names import Goal, ModelName, OptimizationMethod

_NEAR = 1e-3  # of the width

__all__ = ["Limit", "OptimizationResult", "optimize"]


@dataclass(frozen=True, repr=False)
class OptimizationResult:
    """What `fastcart.optimize` returns.

    Attributes
    ----------
    best : DataFrame
        One row for each problem: columns of ``for_each``, the variables, ``objective``, ``violation``
        (sum of relative excesses over nonlinear constraints), ``feasible``, ``plateau`` (the objective is no
        better than the worst of the first points, which many of these share: nothing better was found),
        ``censored`` (share of the patients without progression by the horizon), ``evaluations`` (points),
        ``failed`` (patients that could not be solved, in all points), ``undefined`` (points without a value
        of the objective or of a constraint though all patients were solved), ``iterations``, ``stopped``
        (why).
    endpoints : DataFrame
        Endpoints of the best points: a row for each problem (``row``) and patient of the population. Without
        one, ``patient`` is the column of that name of ``for_each``, and left out where it has none.
    history : DataFrame
        For each problem and iteration: ``evaluations`` so far, ``objective`` and ``violation`` of the best
        point so far, ``feasible`` (share of this iteration's points that keep all constraints) and ``mean``
        (of their objectives).
    options : mapping
        Method, seed, and what else the results depend on.
    notes : tuple of str
        What to know before an optimum is used, a sentence each: where nothing better than a plateau was
        found, which variable has its optimum at a bound, what is undefined at how many points, which
        constraint cannot be kept and by how much.
    """

    best: pd.DataFrame
    endpoints: pd.DataFrame
    history: pd.DataFrame
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        feasible = int(self.best["feasible"].sum())
        kept = "all feasible" if feasible == len(self.best) else f"{feasible} feasible"
        goal = f"{self.options.get('goal', '')} {self.options['objective']}".strip()
        size = counted(len(self.best), "problem")
        return in_brief("OptimizationResult", [goal, size, kept, str(self.options["method"])])

    def _repr_html_(self) -> str:
        """Show how it went, what to know of it, and the best points."""
        return section(repr(self), [*(alert(note) for note in self.notes), table(self.best)])

    def plot(self, *, model: Model | None = None) -> Any:
        """Draw the best value so far against the points that were evaluated, a line for each problem.

        Only points that keep all constraints count. Of one problem the mean of each iteration is dotted.

        Parameters
        ----------
        model : Model, optional
            Gives the unit.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from fastcart.optimization.figures import draw_history

        return draw_history(self, model)

    def save(self, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write all into a folder, for `fastcart.load`; see `fastcart.BatchResult.save`."""
        tables = {"best": self.best, "endpoints": self.endpoints, "history": self.history}
        content = {"options": dict(self.options), "notes": list(self.notes)}
        return save_tables(folder, "optimization", None, content, tables, force=force)

    def summary(self) -> str:
        """Say in words how it went."""
        best = self.best
        solves = int(best["evaluations"].sum()) * self.options["patients"]
        lines = [
            f"{counted(len(best), 'problem')}, {counted(solves, 'solve')} "
            f"({int(best['failed'].sum())} failed), method {self.options['method']!r}."
        ]
        if best["feasible"].any():
            found = best.loc[best["feasible"], "objective"]
            lines.append(f"Objective {self.options['objective']!r}: {found.min():.6g} to {found.max():.6g}.")
        censored = int((best["feasible"] & (best["censored"] > 0)).sum()) if "censored" in best else 0
        if censored:
            lines.append(
                f"Optima that reach the horizon without progression (censored): {censored} of {len(best)}; a "
                "survival there is no maximum but the end of the simulation. Limit toxicity or the total "
                "dose, or extend the horizon."
            )
        return "\n".join([*lines, *self.notes])


@seeded
def optimize(
    model: ModelName | str | Model,
    variables: Mapping[str, Any],
    *,
    seed: int,
    objective: str | Callable[[pd.DataFrame], Any] = "pfs",
    goal: Goal = "maximize",
    constraints: Constraint | Sequence[Constraint] = (),
    for_each: Any = None,
    patients: Any = None,
    aggregate: Aggregate | None = None,
    doses: Any = None,
    method: OptimizationMethod = "pso",
    particles: int | None = None,
    iterations: int = 50,
    swarm: SwarmSettings | Mapping[str, Any] | None = None,
    start: Any = None,
    target: float | None = None,
    patience: int | None = None,
    tolerance: float = 0.0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    threads: int | None = None,
    progress: bool | None = None,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolverKeywords],
) -> OptimizationResult:
    """Find the inputs of a model that are best for an endpoint, for one problem or many at once.

    Parameters
    ----------
    model : str or Model
    variables : mapping
        What is varied: initial values, parameters, or names that ``doses`` uses as amounts, times and other
        numbers. Each with ``(low, high)`` or ``(low, high, "log")`` (searched in logarithm); bounds are
        numbers in the units of the model, or formulas over the columns of ``for_each``, such as ``"0.5*C"``.
    seed : int
        The same seed gives the same result, whatever threads and blocks.
    objective : str or callable
        An endpoint, a formula over endpoints, variables and columns (``"pfs - 1e-6*(TP + TE)"``), or a
        function of the table of endpoints (with variables and columns) that returns one number a row; a
        Series counts by its index. Where it is no finite number (the logarithm of a tumor that is gone), it
        is undefined: such points are counted, and never the best. Of points with equal objectives the one
        with the smaller final burden is better.
    goal : {'maximize', 'minimize'}
    constraints : str, Limit, or sequence of these
        Comparisons of formulas: ``"T4 + TP + TE + TM + Tr <= 2e7"``, ``"0.4 <= TE/TP <= 2"``, ``"peak_I6
        <= 2e-3"``. Those that are linear in the variables hold for every point that is solved; for all
        others Deb's rules decide, and every patient of the population must keep them (a `Limit` has another
        aggregate). ``TE/TP <= 2`` is not linear as written, ``TE <= 2*TP`` is.
    for_each : DataFrame, mapping, list of mappings or path, optional
        One problem for each row, e.g. a tumor burden or a patient: columns of the model, and others for
        bounds and constraints.
    patients : DataFrame, mapping, list of mappings, path or int, optional
        A virtual population: every point is solved for all of them. Default: one default patient.
    aggregate : str or float, optional
        How the objective of a point follows from those of its patients: ``"mean"`` (default), ``"median"``,
        ``"min"``, ``"max"``, or a quantile from 0 to 1. A point with a failed patient counts as worse than
        all others.
    doses : DosingSchedule, DataFrame, path or list of mappings, optional
        A schedule whose amounts, durations, lags, bioavailabilities and values of a parameter that switches
        may be names of variables or columns: ``DosingSchedule().bolus(7, "TE", "later")``. In tables and
        lists times may be, too: ``[{"time": "when", "state": "TE", "amount": "later"}]``, see
        `fastcart.scan`.
    method : {'pso', 'cmaes', 'de'}
        Particle swarm, CMA-ES (package cmaes) or differential evolution (SciPy).
    particles : int, optional
        Points of each problem in an iteration; default 25; at least 4 for ``cmaes``, 5 for ``de``.
    iterations : int
    swarm : SwarmSettings or mapping, optional
        How particles move.
    start : DataFrame, mapping, list of mappings or path, optional
        A first guess of all variables, and of nothing else: one row, or one for each problem; between the
        bounds, and keeping the linear constraints.
    target, patience, tolerance
        A problem stops when the objective reaches ``target``, or has not improved by more than the share
        ``tolerance`` in ``patience`` iterations.
    out : path, optional
        A folder that keeps every iteration and the tables.
    resume : bool
        Go on with the optimization in that folder; the result is the same as without interruption.
    force : bool
        Replace the optimization in that folder.
    threads, progress
        As for `fastcart.solve`.
    options : SolveOptions, optional
    **keywords
        Single options of the solver, see `fastcart.SolveOptions`; its ``method`` can only be given within
        ``options``. Formulas get their peaks and areas by themselves, a function of the endpoints needs
        ``peaks`` and ``auc``; ``events`` give ``event_<name>`` and ``count_<name>``.

    Returns
    -------
    OptimizationResult

    Raises
    ------
    InputError
        For bad input, before anything is solved; for a function that does not return one number a row.
    MissingDependencyError
        When the package of the method is not installed.

    Warns
    -----
    UserWarning
        Where nothing better than a plateau was found, and where a quantity is undefined at some points.

    Examples
    --------
    >>> import fastcart
    >>> result = fastcart.optimize(
    ...     "li_lei_coarse", {"TE": (1e6, 1e7), "TM": (10, 1e3)}, constraints="TE + TM <= 9e6",
    ...     particles=10, iterations=5, seed=1,
    ... )
    >>> bool(result.best["feasible"].all() and result.best["TE"].max() <= 9e6)
    True
    """  # fmt: skip
    optimizer = find(method)
    settings = _settings(swarm, particles)
    if settings.particles < optimizer.least:
        raise InputError(
            f"The method {method!r} needs at least {optimizer.least} particles, not {settings.particles}."
        )
    iterations = count(iterations, "The number of iterations")
    setting = prepare(
        model, variables, [(objective, goal, aggregate)], constraints=constraints, for_each=for_each,
        patients=patients, doses=doses, start=start, threads=threads,
        options=chosen_options(options, keywords, optimize, "An optimization"),
    )  # fmt: skip
    sign = GOALS[goal]
    stop = StopRule(None if target is None else sign * target, patience, tolerance)
    search = Search(setting.space, iterations, seed_of(seed), settings, stop, setting.start)
    content = {
        "method": method, "settings": settings, "iterations": iterations, "seed": search.seed, "stop": stop,
    }  # fmt: skip
    failed = np.zeros(setting.space.problems, dtype=np.int64)
    undefined = np.zeros((setting.space.problems, len(setting.evaluator.quantities)), dtype=np.int64)
    batches = iterations * (1 if optimizer.in_step else setting.space.problems)
    with recorded(
        setting, "search", content, out, resume=resume, force=force, batches=batches, progress=progress
    ) as (run, evaluate):

        def worth(rows: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, ...]:
            values = evaluate(rows, points)
            np.add.at(failed, rows, values.failed)
            np.add.at(undefined, rows, values.undefined)
            return values.objectives[..., 0], values.violation, values.tie, values.growth

        found = optimizer.run(search, worth)
        result, warned = _result(setting, found, sign, failed, undefined, {
            **content, "objective": objective if isinstance(objective, str) else "function",
            "goal": goal, "patients": setting.evaluator.patients,
        })  # fmt: skip
        write_tables(run, {"best": result.best, "endpoints": result.endpoints, "history": result.history})
    for note in warned:
        warnings.warn(note, stacklevel=3)  # for who called the decorated function
    return result


def _settings(swarm: Any, particles: int | None) -> SwarmSettings:
    """Return the settings of the swarm from a mapping or as given, with the number of particles."""
    if swarm is None:
        swarm = {}
    if isinstance(swarm, SwarmSettings):
        swarm = vars(swarm)
    if not isinstance(swarm, Mapping):
        raise InputError(f"The settings of the swarm must be a mapping, not {shown(swarm)}.")
    known = SwarmSettings.__dataclass_fields__
    for name in swarm:
        if name not in known:
            raise InputError(f"The swarm has no setting {shown(name)}." + nearest(name, known))
    chosen = dict(swarm)
    if particles is not None:
        chosen["particles"] = particles
    return SwarmSettings(**chosen)


def _result(
    setting: Setting,
    found: Progress,
    sign: float,
    failed: np.ndarray,
    undefined: np.ndarray,
    options: Mapping[str, Any],
) -> tuple[OptimizationResult, list[str]]:
    """Make the tables, with objectives as the user wants them: not turned round.

    Of the notes those to warn of are returned, too: what else they say the column ``feasible`` says, or it is
    a bound, which may be meant as a limit.
    """
    rows = np.arange(setting.space.problems)
    best = setting.describe_points(rows, found.point)
    solved = setting.evaluator.endpoints(rows, found.point)
    best["objective"] = np.where(np.isfinite(found.objective), sign * found.objective, np.nan)
    best["violation"] = found.violation
    feasible = (found.violation == 0) & np.isfinite(found.objective)
    best["feasible"] = feasible
    best["plateau"] = feasible & found.on_floor
    if setting.model.burden is not None:
        best["censored"] = solved.groupby("row")["censored"].mean().to_numpy()
        best["plateau"] &= best["censored"] < 1  # the horizon is a plateau of its own, and the best of all
    best["evaluations"] = found.evaluations
    best["failed"] = failed
    best["undefined"] = undefined.sum(axis=1)
    best["iterations"] = found.iterations
    best["stopped"] = np.where(found.reason == "", "iterations", found.reason)
    history = found.history()
    for name in ("objective", "mean"):
        history[name] = np.where(np.isfinite(history[name]), sign * history[name], np.nan)
    well = feasible & ~best["plateau"].to_numpy()
    points = int(found.evaluations.sum())
    nowhere = undefined_points(setting.evaluator.quantities, undefined.sum(axis=0), points)
    flat = _plateaus(best, found, sign)
    bounds = _at_bounds(setting.space, found.point[well], np.flatnonzero(well))
    notes = (*nowhere, *_unkept(setting, found), *flat, *bounds)
    return OptimizationResult(best, solved, history, options, notes), [*nowhere, *flat]


def _unkept(setting: Setting, found: Progress) -> list[str]:
    """Say for how many problems no allowed point was found, and how near the first of them came."""
    notes = []
    undefined = np.isinf(found.objective)
    if undefined.any():
        notes.append(
            f"{counted(int(undefined.sum()), 'problem')} found no point where the objective is a finite "
            "number and all patients are solved."
        )
    broken = np.flatnonzero(~undefined & (found.violation > 0))
    for k in broken[:1]:
        nearest = least_broken(setting.evaluator, int(k), found.point[k])
        one = f"the nearest, of row {k + 1}," if len(undefined) > 1 else "the nearest one"
        problems = counted(len(broken), "problem")
        notes.append(f"{problems} found no point that keeps all constraints; {one} {nearest}.")
    return notes


def _at_bounds(space: Space, points: np.ndarray, rows: np.ndarray) -> list[str]:
    """Say which variables have their optimum at an end of the box: beyond may be something better."""
    with np.errstate(invalid="ignore"):  # a box without width
        places = space.to_unit(points[:, None, :], rows)[:, 0]
    notes = []
    for j, name in enumerate(space.names):
        for side, held in (("lower", places[:, j] < _NEAR), ("upper", places[:, j] > 1 - _NEAR)):
            if held.any():
                count, where = int(held.sum()), ""
                if space.problems > 1:
                    where = f" in {count} of {space.problems} problems"
                if count < space.problems:
                    first = np.flatnonzero(held)[0]
                    where += f" ({'row' if count == 1 else 'first in row'} {rows[first] + 1})"
                notes.append(f"At a bound: {name!r} is at its {side} bound{where}.")
    return notes


def _plateaus(best: pd.DataFrame, found: Progress, sign: float) -> list[str]:
    flat = np.flatnonzero(best["plateau"].to_numpy())
    if not flat.size:
        return []
    values = np.unique(sign * found.objective[flat])
    level = f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}"
    return [
        f"{len(flat)} of {len(best)} problems found nothing better than a plateau (objective {level}), where "
        "many points have the same and the worst objective or no survival at all: this is no optimum. Give a "
        "start that is better, other bounds, more particles or iterations, or an objective with a slope."
    ]
