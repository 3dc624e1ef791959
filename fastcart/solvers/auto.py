"""Engine ``auto``: lanes with the method that suits the model; who it does not suit goes on to others.

What it begins with, an explicit method or the stiff one, follows from the model and the options
(`fastcart.solvers.choice`). From there each patient goes on by itself: a method that would need too many
steps, or runs out of them, gives the patient up, and the next solver starts it anew.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import NamedTuple

import numpy as np

from fastcart.solvers.choice import Choice, choose
from fastcart.solvers.doses import DosePlan
from fastcart.solvers.lanes import engine as lanes
from fastcart.solvers.problem import ChunkResult, Problem, Saves
from fastcart.solvers.status import Status

METHODS = lanes.METHODS
DEFAULT_METHOD = lanes.DEFAULT_METHOD

EXPLICIT_STEPS = 5_000  # an explicit method that needs more is not the right one
EXPLICIT_AHEAD = 20_000.0  # nor one whose step promises more than this

_GIVEN_UP = (Status.max_steps, Status.step_too_small, Status.non_finite)
_BLOWN_UP = (Status.step_too_small, Status.non_finite)
_CLOSER = 1e-8  # rtol at which a blow-up is looked at again: next to it solutions turn around in time
_LANES, _LSODA = "fastcart.solvers.lanes.engine", "fastcart.solvers.lsoda"  # the latter needs numbalsoda
_LAST_TRY = 5_000  # steps of LSODA where a solution seems to blow up: to say so too may take all it is given


class _Stage(NamedTuple):
    """Who is solved once more, and how."""

    given_up: tuple[Status, ...]
    solver: str  # its module, which is imported where anybody needs it
    problem: Problem
    keeps: bool  # whether an earlier failure says more than another one


def solve_chunk(
    problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None = None,
    saves: Saves | None = None,
) -> ChunkResult:  # fmt: skip
    """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`."""
    if problem.method is not None:
        return lanes.solve_chunk(problem, y0, p, threads, doses, saves)
    if "stages" not in problem.kept:
        problem.kept["stages"] = _stages(problem)
    first, stages = problem.kept["stages"]
    result = lanes.solve_chunk(first, y0, p, threads, doses, saves)
    if not result.status.any():
        return result
    for stage in stages:
        rows = np.flatnonzero(np.isin(result.status, stage.given_up))
        if rows.size:
            theirs = None if doses is None else doses.take(rows)
            times = None if saves is None else saves.take(rows)
            solver = import_module(stage.solver)
            answer = solver.solve_chunk(stage.problem, y0[rows], p[rows], threads, theirs, times)
            _take_over(result, rows, answer, stage.keeps)
    return result


def chosen(problem: Problem) -> Choice:
    """Return the method that a problem begins with, and why."""
    if problem.plain is not None:
        return chosen(problem.plain)
    if problem.typical is None:
        return Choice(lanes.default_method(problem.model, problem.rtol), "nobody is typical")
    if "choice" not in problem.kept:
        explicit = _explicit(problem)
        problem.kept["choice"] = choose(
            problem, problem.typical, budget=explicit.max_steps, ahead=explicit.max_steps_ahead
        )
    return problem.kept["choice"]


def _least(problem: Problem) -> float:
    """Return the steps that a longest step asks for: they say nothing about the method."""
    return problem.t_end / problem.max_step


def _explicit(problem: Problem) -> Problem:
    """Return the problem for the explicit method."""
    least = 4 * _least(problem)
    budget = int(min(problem.max_steps, max(EXPLICIT_STEPS, least)))
    return replace(
        problem, method=lanes.default_method(problem.model, problem.rtol), max_steps=budget,
        max_steps_ahead=max(EXPLICIT_AHEAD, least),
    )  # fmt: skip


def _stages(problem: Problem) -> tuple[Problem, list[_Stage]]:
    """Return how all are solved, and then those that were given up, one after the other."""
    explicit, stiff = _explicit(problem), replace(problem, method=lanes.STIFF_METHOD)
    others = [_Stage(_GIVEN_UP, _LANES, stiff, False)]
    first = explicit
    if chosen(problem).method == lanes.STIFF_METHOD:
        first, others = stiff, [_Stage(_GIVEN_UP, _LANES, explicit, True)]
    stages = []
    if problem.rtol > _CLOSER:
        looks = [stiff, explicit] if first is stiff else [explicit]
        stages += [_Stage((Status.blow_up,), _LANES, replace(x, rtol=_CLOSER), True) for x in looks]
    if problem.max_steps > EXPLICIT_STEPS:
        last = replace(problem, max_steps=int(min(problem.max_steps, max(_LAST_TRY, 4 * _least(problem)))))
        stages += [
            *others,
            _Stage((Status.max_steps,), _LSODA, problem, True),
            _Stage(_BLOWN_UP, _LSODA, last, True),
            # not stiff after all, only long: the explicit method with all steps
            _Stage((Status.max_steps,), _LANES, replace(explicit, max_steps=problem.max_steps,
                                                       max_steps_ahead=np.inf), True),
        ]  # fmt: skip
    return first, stages


def _take_over(result: ChunkResult, rows: np.ndarray, other: ChunkResult, keeps: bool) -> None:
    """Take over answers for patients that were given up."""
    if other.engine is None:
        other.engine = np.full(len(rows), "lsoda", dtype=object)
    better = np.flatnonzero(other.status == Status.ok) if keeps else np.arange(len(rows))
    result.put(rows[better], other.take(better))
