"""Several objectives at once: the points of which none is better in all, by pymoo.

Reference: K. Deb et al., IEEE Trans. Evol. Comput. 6, 182 (2002), NSGA-II.
"""

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
from fastcart.errors import InputError, counted, optional_import
from fastcart.model import Model
from fastcart.optimization.evaluation import Values
from fastcart.optimization.methods.base import latin_hypercube
from fastcart.optimization.problem import (
    Setting,
    least_broken,
    prepare,
    recorded,
    undefined_points,
    write_tables,
)
from fastcart.optimization.space import Space
from fastcart.optimization.swarm import generator
from fastcart.optimization.variables import Aggregate, Constraint
from fastcart.options import SolveKeywords, SolveOptions, chosen_options
from fastcart.representation import alert, in_brief, section, table
from fastcart.saved import save_tables
from fastcart.typing_names import ModelName

_LOST = 1e9  # the violation of points without a value; larger than that of all others
Evaluate = Callable[[np.ndarray, np.ndarray], Values]


@dataclass(frozen=True, repr=False)
class ParetoResult:
    """What `fastcart.pareto` returns.

    Attributes
    ----------
    front : DataFrame
        The points of which none is better in all objectives: ``row`` (the problem), columns of ``for_each``,
        the variables, and a column for each objective; sorted by the first objective. Points that break a
        constraint, and those at which an objective is undefined (no finite number), are not in it.
    endpoints : DataFrame
        Endpoints of these points: a row for each point (``point``, its place in ``front``) and patient of
        the population; see `fastcart.OptimizationResult` where there is none.
    failed : int
        Patients that could not be solved, in all points; points with such patients are not in the front.
    options : mapping
    nearest : DataFrame
        For each problem without a front the point that comes nearest to one: ``row``, columns of
        ``for_each``, the variables, ``violation`` (sum of relative excesses over nonlinear constraints; NaN
        where no point has finite objectives).
    notes : tuple of str
        What to know before the front is used, a sentence each: what is undefined at how many points, which
        constraint cannot be kept and by how much.
    """

    front: pd.DataFrame
    endpoints: pd.DataFrame
    failed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    nearest: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return in_brief("ParetoResult", [counted(len(self.front), "point"), counted(len(self.notes), "note")])

    def _repr_html_(self) -> str:
        """Show what to know of the front, and its first points."""
        return section(repr(self), [*(alert(note) for note in self.notes), table(self.front)])

    def plot(self, *, model: Model | None = None) -> Any:
        """Draw the front: each further objective against the first one, in a colour for each problem.

        Parameters
        ----------
        model : Model, optional
            Gives the units.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputError
            Where the front has no point.
        """
        from fastcart.optimization.figures import draw_front

        return draw_front(self, model)

    def save(self, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write all into a folder, for `fastcart.load`; see `fastcart.BatchResult.save`."""
        tables = {"front": self.front, "endpoints": self.endpoints, "nearest": self.nearest}
        content = {"options": dict(self.options), "notes": list(self.notes), "failed": self.failed}
        return save_tables(folder, "front", None, content, tables, force=force)

    def summary(self) -> str:
        """Say in words how it went."""
        return "\n".join([f"{len(self.front)} points ({self.failed} patients failed).", *self.notes])


@seeded
def pareto(
    model: ModelName | str | Model,
    variables: Mapping[str, Any],
    *,
    objectives: Mapping[str, Any],
    seed: int,
    constraints: Constraint | Sequence[Constraint] = (),
    for_each: Any = None,
    patients: Any = None,
    aggregate: Aggregate | None = None,
    doses: Any = None,
    particles: int = 100,
    iterations: int = 50,
    start: Any = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    threads: int | None = None,
    progress: bool | None = None,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolveKeywords],
) -> ParetoResult:
    """Find the trade-off between several objectives, for one problem or many at once, by NSGA-II of pymoo.

    Parameters
    ----------
    objectives : mapping
        Two or more. A formula, as in `fastcart.optimize`, to ``"maximize"`` or ``"minimize"``; for a function
        of the endpoints: its name to ``(function, "maximize" or "minimize")``.
    particles : int
        Points of each problem in an iteration, and at most so many in its front.

    All other parameters are as in `fastcart.optimize`.

    Returns
    -------
    ParetoResult

    Raises
    ------
    InputError
        For bad input, before anything is solved.
    MissingDependencyError
        When pymoo is not installed.

    Warns
    -----
    UserWarning
        Where a problem has no point that keeps all constraints, or a quantity is undefined at some points.

    Examples
    --------
    >>> import fastcart
    >>> result = fastcart.pareto(
    ...     "li_lei_coarse", {"TE": (1e6, 1e7), "TM": (10, 1e3)},
    ...     objectives={"pfs": "maximize", "TE + TM": "minimize"}, particles=20, iterations=5, seed=1,
    ... )
    >>> list(result.front)
    ['row', 'TE', 'TM', 'pfs', 'TE + TM']
    """  # fmt: skip
    optional_import("pymoo", extra="optimize", purpose="Finding a Pareto front")
    goals = _goals(objectives, aggregate)
    size, iterations = (
        count(particles, "The number of particles"),
        count(iterations, "The number of iterations"),
    )
    setting = prepare(
        model, variables, goals, constraints=constraints, for_each=for_each, patients=patients, doses=doses,
        start=start, threads=threads, options=chosen_options(options, keywords, pareto, "A Pareto front"),
    )  # fmt: skip
    seed = seed_of(seed)
    content = {"method": "nsga2", "particles": size, "iterations": iterations, "seed": seed}
    with recorded(
        setting, "front", content, out, resume=resume, force=force, batches=iterations, progress=progress
    ) as (run, evaluate):
        found = _search(setting, evaluate, size, iterations, seed)
        result = _result(setting, list(objectives), found, {**content, "objectives": dict(objectives)})
        write_tables(run, {"front": result.front, "endpoints": result.endpoints})
    for note in result.notes:
        warnings.warn(note, stacklevel=3)  # for who called the decorated function
    return result


def _goals(objectives: Any, aggregate: Aggregate | None) -> list[tuple[Any, str, Aggregate | None]]:
    if not isinstance(objectives, Mapping) or len(objectives) < 2:
        raise InputError(
            "A front needs a mapping of two objectives or more to 'maximize' or 'minimize', not "
            f"{shown(objectives)}; for one objective use optimize."
        )
    goals = []
    for name, given in objectives.items():
        pair = given if isinstance(given, tuple) and len(given) == 2 else (name, given)
        goals.append((pair[0], pair[1], aggregate))
    return goals


@dataclass(frozen=True)
class _Found:
    """Fronts of all problems: points and objectives of each; and the least violation, with its point."""

    fronts: list[tuple[np.ndarray, np.ndarray]]
    nearest: np.ndarray
    violation: np.ndarray
    failed: int
    undefined: np.ndarray
    points: int


def _search(setting: Setting, evaluate: Evaluate, size: int, iterations: int, seed: int) -> _Found:
    """Run NSGA-II on all problems in step."""
    from pymoo.core.evaluator import Evaluator
    from pymoo.core.problem import Problem
    from pymoo.problems.static import StaticProblem

    space, n_goals = setting.space, len(setting.evaluator.goals)
    problem = Problem(n_var=space.dimensions, n_obj=n_goals, n_ieq_constr=1, xl=0.0, xu=1.0)
    algorithms = [_algorithm(setting, problem, size, iterations, seed, k) for k in range(space.problems)]
    rows = np.arange(space.problems)
    failed, undefined = 0, np.zeros(len(setting.evaluator.quantities), dtype=np.int64)
    nearest, least = np.full((space.problems, space.dimensions), np.nan), np.full(space.problems, np.inf)
    for _ in range(iterations):
        asked = [algorithm.ask() for algorithm in algorithms]
        natural = _decode(space, np.array([part.get("X") for part in asked]), rows)
        values = evaluate(rows, natural)
        failed += int(values.failed.sum())
        undefined += values.undefined.sum(axis=0)
        # pymoo sorts by violation first; what could not be solved has a larger one than all others
        lost = np.isnan(values.violation) | np.isnan(values.objectives).any(axis=2)
        worth = np.where(lost[..., None], 0.0, values.objectives)
        broken = np.where(lost, _LOST, values.violation)
        place = broken.argmin(axis=1)
        better = broken[rows, place] < least
        nearest[better] = natural[rows, place][better]
        least[better] = broken[rows, place][better]
        for k, (algorithm, part) in enumerate(zip(algorithms, asked, strict=True)):
            Evaluator().eval(StaticProblem(problem, F=worth[k], G=broken[k][:, None]), part)
            algorithm.tell(infills=part)
    fronts = []
    for k, algorithm in enumerate(algorithms):
        best = algorithm.opt
        kept = best[best.get("G")[:, 0] <= 0]
        unit = kept.get("X").reshape(-1, space.dimensions)
        points = _decode(space, unit[None], rows[k : k + 1])[0]
        fronts.append((points, kept.get("F").reshape(-1, n_goals)))
    least[least >= _LOST] = np.nan
    return _Found(fronts, nearest, least, failed, undefined, iterations * size * space.problems)


def _algorithm(setting: Setting, problem: Any, size: int, iterations: int, seed: int, k: int) -> Any:
    """Return NSGA-II for one problem, with a Latin hypercube as its first points."""
    from pymoo.algorithms.moo.nsga2 import NSGA2

    space = setting.space
    rng = generator(seed, k)
    first = latin_hypercube(rng, size, space.dimensions)
    if setting.start is not None:
        first[0] = space.to_unit(setting.start[k : k + 1][:, None, :], np.array([k]))[0, 0]
    algorithm = NSGA2(pop_size=size, n_offsprings=size, sampling=first, eliminate_duplicates=False)
    algorithm.setup(
        problem, termination=("n_gen", iterations + 1), seed=int(rng.integers(2**31)), verbose=False
    )
    return algorithm


def _decode(space: Space, unit: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return natural values inside the linear constraints."""
    return space.repair(space.to_natural(np.clip(unit, 0.0, 1.0), rows), rows)


def _result(
    setting: Setting,
    names: list[str],
    found: _Found,
    options: Mapping[str, Any],
) -> ParetoResult:
    tables, endpoints = [], []
    signs = np.array([goal.sign for goal in setting.evaluator.goals])
    for k, (points, worth) in enumerate(found.fronts):
        points, first = np.unique(points, axis=0, return_index=True)
        worth = worth[first]
        order = np.lexsort(worth.T[::-1])
        points, worth = points[order], worth[order] * signs
        row = np.full(len(points), k)
        table = setting.describe_points(row, points)
        table.insert(0, "row", row)
        tables.append(table.assign(**dict(zip(names, worth.T, strict=True))))
        if len(points):
            endpoints.append(setting.evaluator.endpoints(row, points))
    front = pd.concat(tables, ignore_index=True)
    solved = pd.concat(endpoints, ignore_index=True) if endpoints else pd.DataFrame({"row": []})
    solved.insert(0, "point", np.repeat(np.arange(len(front)), setting.evaluator.patients))
    lost = np.flatnonzero([not len(points) for points, _ in found.fronts])
    nearest = setting.describe_points(lost, found.nearest[lost])
    nearest.insert(0, "row", lost)
    notes = undefined_points(setting.evaluator.quantities, found.undefined, found.points)
    undefined = np.isnan(found.violation[lost])
    if undefined.any():
        notes.append(
            f"{counted(int(undefined.sum()), 'problem')} found no point where all objectives are finite "
            "numbers and all patients are solved."
        )
    broken = lost[~undefined]
    for k in broken[:1]:
        one = f"the nearest, of row {k + 1}," if len(found.fronts) > 1 else "the nearest one"
        notes.append(
            f"{counted(len(broken), 'problem')} found no point that keeps all constraints; {one} "
            f"{least_broken(setting.evaluator, int(k), found.nearest[k])}."
        )
    return ParetoResult(
        front, solved, found.failed, options, nearest.assign(violation=found.violation[lost]), tuple(notes)
    )
