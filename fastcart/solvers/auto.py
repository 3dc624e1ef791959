"""Engine ``auto``: lanes with an explicit method; who turns out stiff goes on to the stiff one, then LSODA.

The choice is made for each patient by itself: an explicit method that would need too many steps, or runs out
of them, gives the patient up, and the next solver starts it anew.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastcart.solvers import lsoda
from fastcart.solvers.doses import DosePlan
from fastcart.solvers.lanes import engine as lanes
from fastcart.solvers.problem import ChunkResult, Problem
from fastcart.solvers.status import Status

METHODS = lanes.METHODS
DEFAULT_METHOD = lanes.DEFAULT_METHOD

EXPLICIT_STEPS = 5_000  # an explicit method that needs more is not the right one
EXPLICIT_AHEAD = 20_000.0  # nor one whose step promises more than this

_GIVEN_UP = (Status.max_steps, Status.step_too_small, Status.non_finite)
_BLOWN_UP = (Status.step_too_small, Status.non_finite)
_CLOSER = 1e-8  # rtol at which a blow-up is looked at again: next to it solutions turn around in time
_LAST_TRY = 5_000  # steps of LSODA where a solution seems to blow up: to say so too may take all it is given


def solve_chunk(
    problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None = None
) -> ChunkResult:
    """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`."""
    if problem.method is not None:
        return lanes.solve_chunk(problem, y0, p, threads, doses)
    # a longest step asks for a number of steps that says nothing about the method
    least = problem.t_end / problem.max_step
    budget = int(min(problem.max_steps, max(EXPLICIT_STEPS, 4 * least)))
    explicit = replace(problem, max_steps=budget, max_steps_ahead=max(EXPLICIT_AHEAD, 4 * least))
    result = lanes.solve_chunk(explicit, y0, p, threads, doses)
    if problem.rtol > _CLOSER:
        method = lanes.default_method(problem.model, problem.rtol)
        closer = replace(explicit, rtol=_CLOSER, method=method)
        _again(result, (Status.blow_up,), lanes, closer, y0, p, threads, doses)
    if problem.max_steps <= EXPLICIT_STEPS:
        return result
    _again(result, _GIVEN_UP, lanes, replace(problem, method=lanes.STIFF_METHOD), y0, p, threads, doses)
    _again(result, (Status.max_steps,), lsoda, problem, y0, p, threads, doses)
    last = replace(problem, max_steps=int(min(problem.max_steps, max(_LAST_TRY, 4 * least))))
    _again(result, _BLOWN_UP, lsoda, last, y0, p, threads, doses)
    # not stiff after all, only long: the explicit method with all steps
    _again(result, (Status.max_steps,), lanes, problem, y0, p, threads, doses)
    return result


def _again(
    result: ChunkResult, given_up: tuple[Status, ...], solver, problem: Problem, y0, p, threads: int, doses
) -> None:
    """Solve the patients that were given up with another solver; keep its answer where it has one."""
    rows = np.flatnonzero(np.isin(result.status, given_up))
    if not rows.size:
        return
    theirs = None if doses is None else doses.take(rows)
    other: ChunkResult = solver.solve_chunk(problem, y0[rows], p[rows], threads, theirs)
    if other.engine is None:
        other.engine = np.full(len(rows), "lsoda")
    # earlier answers say more than another failure
    keeps = solver is lsoda or problem.method != lanes.STIFF_METHOD
    better = np.flatnonzero(other.status == Status.ok) if keeps else np.arange(len(rows))
    result.put(rows[better], other.take(better))
