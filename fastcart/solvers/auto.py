"""Engine ``auto``: lanes with an explicit method; who turns out stiff goes on to the stiff one, then LSODA.

The choice is made for each patient by itself: an explicit method that would need too many steps, or runs out
of them, gives the patient up, and the next solver starts it anew.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from fastcart.solvers import lsoda
from fastcart.solvers.lanes import engine as lanes
from fastcart.solvers.problem import ChunkResult, Problem
from fastcart.solvers.status import Status

METHODS = lanes.METHODS
DEFAULT_METHOD = lanes.DEFAULT_METHOD

EXPLICIT_STEPS = 5_000  # an explicit method that needs more is not the right one
EXPLICIT_AHEAD = 20_000.0  # nor one whose step promises more than this

_GIVEN_UP = (Status.max_steps, Status.step_too_small, Status.non_finite)


def solve_chunk(problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int) -> ChunkResult:
    """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`."""
    if problem.method is not None:
        return lanes.solve_chunk(problem, y0, p, threads)
    explicit = replace(
        problem, max_steps=min(problem.max_steps, EXPLICIT_STEPS), max_steps_ahead=EXPLICIT_AHEAD
    )
    result = lanes.solve_chunk(explicit, y0, p, threads)
    if problem.max_steps <= EXPLICIT_STEPS:
        return result
    _again(result, lanes, replace(problem, method=lanes.STIFF_METHOD), y0, p, threads)
    _again(result, lsoda, problem, y0, p, threads)
    return result


def _again(result: ChunkResult, solver, problem: Problem, y0, p, threads: int) -> None:
    """Solve the patients that were given up with another solver; keep its answer where it has one."""
    rows = np.flatnonzero(np.isin(result.status, _GIVEN_UP))
    if not rows.size:
        return
    other: ChunkResult = solver.solve_chunk(problem, y0[rows], p[rows], threads)
    better = (other.status == Status.ok) if solver is lsoda else np.ones(len(rows), dtype=bool)
    assert result.engine is not None
    result.engine = result.engine.astype(object)
    for field in fields(ChunkResult):
        if field.name != "engine":
            getattr(result, field.name)[rows[better]] = getattr(other, field.name)[better]
    names = "lsoda" if other.engine is None else other.engine[better]
    result.engine[rows[better]] = names
