"""A chunk of patients with their doses, for any engine: those that are dosed alike go together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fastcart.solvers.algebraic import begin, with_rates
from fastcart.solvers.doses import DosePlan, canonical
from fastcart.solvers.problem import ChunkResult, Problem, Saves
from fastcart.solvers.status import Status

Solver = Callable[..., ChunkResult]


def solve_dosed(
    solve_chunk: Solver, problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int,
    doses: DosePlan | None, saves: Saves | None = None,
) -> ChunkResult:  # fmt: skip
    """Apply what is given at time 0 to ``y0``, in place, and solve the patients.

    Parameters
    ----------
    solve_chunk : callable
        Of an engine.
    problem : Problem
    y0 : ndarray, shape (patients, states)
    p : ndarray, shape (patients, parameters)
    threads : int
    doses : DosePlan or None
    saves : Saves, optional
        Which of the times to save are theirs; default all.

    Returns
    -------
    ChunkResult
        Status ``negative`` for those from whom more is removed at time 0 than there is.
    """
    if doses is None:
        begin(problem.model, y0, p)
        return solve_chunk(problem, y0, p, threads, None, saves)
    lacking = give_initial(problem, y0, doses)
    begin(problem.model, y0, p)
    parts = []
    for rows, infused, given in doses.parts():
        part = problem
        if given is not None:
            part = dosed_problem(problem, infused)
        parts.append((rows, part, given))
    if len(parts) == 1:  # all are dosed alike: without copies
        part, values, plan = with_rates(parts[0][1], p, parts[0][2])
        result = solve_chunk(part, y0, values, threads, plan, saves)
    else:
        result = ChunkResult.empty(len(y0), problem, saves or Saves.all_of(problem.save_at, len(y0)))
        for rows, part, given in parts:
            theirs = None if saves is None else saves.take(rows)
            part, values, plan = with_rates(part, p[rows], given)
            result.put(rows, solve_chunk(part, y0[rows], values, threads, plan, theirs))
    result.status[lacking] = Status.negative
    return result


def give_initial(problem: Problem, y0: np.ndarray, doses: DosePlan) -> np.ndarray:
    """Apply what is given at time 0 to ``y0``, in place; return from whom more is removed than there is."""
    doses.add_initial(y0)
    missing = (y0 < 0) & np.array([state.log or state.nonnegative for state in problem.model.states])
    y0[missing] = 0.0
    return missing.any(axis=1)


def dosed_problem(problem: Problem, infused: tuple[bool, ...]) -> Problem:
    """Return the problem of patients who are given something after time 0, made once."""
    key = f"dosed {infused}"
    if key not in problem.kept:
        times = canonical(problem.save_at, problem.t_end)
        problem.kept[key] = replace(problem, infused=infused, save_at=times)
    return problem.kept[key]
