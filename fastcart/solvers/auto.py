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
from fastcart.solvers.problem import ChunkResult, Problem, Saves
from fastcart.solvers.status import Status

METHODS = lanes.METHODS
DEFAULT_METHOD = lanes.DEFAULT_METHOD

EXPLICIT_STEPS = 5_000  # an explicit method that needs more is not the right one
EXPLICIT_AHEAD = 20_000.0  # nor one whose step promises more than this
STIFF_AHEAD = 1e8  # no method gets through so many

_GIVEN_UP = (Status.max_steps, Status.step_too_small, Status.non_finite)
_BLOWN_UP = (Status.step_too_small, Status.non_finite)
_CLOSER = 1e-8  # rtol at which a blow-up is looked at again: next to it solutions turn around in time
_LAST_TRY = 5_000  # steps of LSODA where a solution seems to blow up: to say so too may take all it is given


def solve_chunk(
    problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None = None,
    saves: Saves | None = None,
) -> ChunkResult:  # fmt: skip
    """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`."""
    if problem.method is not None:
        return lanes.solve_chunk(problem, y0, p, threads, doses, saves)
    explicit, closer, stiff, last = _stages(problem)
    result = lanes.solve_chunk(explicit, y0, p, threads, doses, saves)
    attempts = [
        (_GIVEN_UP, lanes, stiff),
        ((Status.max_steps,), lsoda, problem),
        (_BLOWN_UP, lsoda, last),
        ((Status.max_steps,), lanes, problem),  # not stiff after all, only long: the explicit method again
    ]
    if problem.max_steps <= EXPLICIT_STEPS:
        attempts = []
    if problem.rtol > _CLOSER:
        attempts.insert(0, ((Status.blow_up,), lanes, closer))
    for given_up, solver, other in attempts if result.status.any() else ():
        rows = np.flatnonzero(np.isin(result.status, given_up))
        if rows.size:
            theirs = None if doses is None else doses.take(rows)
            times = None if saves is None else saves.take(rows)
            answer = solver.solve_chunk(other, y0[rows], p[rows], threads, theirs, times)
            # earlier answers say more than another failure
            keeps = solver is lsoda or other.method != lanes.STIFF_METHOD
            _take_over(result, rows, answer, keeps)
    return result


def _stages(problem: Problem) -> tuple[Problem, Problem, Problem, Problem]:
    """Return the problem for the explicit method, closer, the stiff one, and LSODA's last try, made once."""
    if "stages" not in problem.kept:
        # a longest step asks for a number of steps that says nothing about the method
        least = problem.t_end / problem.max_step
        budget = int(min(problem.max_steps, max(EXPLICIT_STEPS, 4 * least)))
        explicit = replace(problem, max_steps=budget, max_steps_ahead=max(EXPLICIT_AHEAD, 4 * least))
        method = lanes.default_method(problem.model, problem.rtol)
        problem.kept["stages"] = (
            explicit,
            replace(explicit, rtol=min(_CLOSER, problem.rtol), method=method),
            replace(problem, method=lanes.STIFF_METHOD, max_steps_ahead=max(STIFF_AHEAD, 4 * least)),
            replace(problem, max_steps=int(min(problem.max_steps, max(_LAST_TRY, 4 * least)))),
        )
    return problem.kept["stages"]


def _take_over(result: ChunkResult, rows: np.ndarray, other: ChunkResult, keeps: bool) -> None:
    """Take over answers for patients that were given up; with ``keeps`` an earlier failure says more."""
    if other.engine is None:
        other.engine = np.full(len(rows), "lsoda", dtype=object)
    better = np.flatnonzero(other.status == Status.ok) if keeps else np.arange(len(rows))
    result.put(rows[better], other.take(better))
