"""What engine ``auto`` begins with: an explicit method, or the stiff one where a step of it is traced.

Both are tried on the same typical patients, and their work is counted: steps, times what a step costs by the
operations in it. Nothing is timed and no patient of the user's is looked at, so that the choice follows from
the model and the options alone, and is the same for every batch, machine and day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fastcart.errors import InputError
from fastcart.solvers import tableaus
from fastcart.solvers.algebraic import begin
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.lanes import engine as lanes
from fastcart.solvers.problem import Problem
from fastcart.solvers.status import Status
from fastcart.solvers.trace.graph import TraceError

# In operations of a right-hand side, by least squares over the shipped models at two tolerances: the ratio of
# the two methods' times follows to about 25 %.
_AROUND = 1500.0  # what is around a step, whatever the method
_OF_SUM = 4.75  # each term of an explicit method's sums over its stages, which lie in memory
_STRAIGHT = 1.6  # a whole step in one line: thousands of numbers, which do not stay in registers
_known: dict[tuple, Choice] = {}


@dataclass(frozen=True)
class Choice:
    """A method, and why.

    Parameters
    ----------
    method : str
    reason : str
        The end of a sentence.
    """

    method: str
    reason: str


def choose(
    problem: Problem, typical: Callable[[], tuple[np.ndarray, np.ndarray]], *, budget: int, ahead: float
) -> Choice:
    """Return the method that engine ``auto`` begins with.

    Parameters
    ----------
    problem : Problem
    typical : callable
        Returns initial values and parameters of typical patients, a row each.
    budget : int
        Steps after which the explicit method gives a patient up.
    ahead : float
        Or so many that its step promises.
    """
    explicit = lanes.default_method(problem.model, problem.rtol)
    try:
        y0, p = typical()
        begin(problem.model, y0, p)
    except InputError as error:
        return Choice(explicit, f"there is no typical patient: {error}")
    key = (
        fingerprint(problem.model.rhs), tuple(problem.model.state_names), problem.log.tobytes(), explicit,
        problem.t_end, problem.rtol, problem.scale.tobytes(), problem.nonnegative.tobytes(),
        problem.integrals, problem.max_step, problem.max_steps, budget, ahead, y0.tobytes(), p.tobytes(),
    )  # fmt: skip
    if key not in _known:
        _known[key] = _compared(problem, explicit, y0, p, budget, ahead)
    return _known[key]


def _compared(
    problem: Problem, explicit: str, y0: np.ndarray, p: np.ndarray, budget: int, ahead: float
) -> Choice:
    """Try both methods on typical patients."""
    asked = replace(problem, save_at=np.empty(0), peaks=(), events=(), extinction=None, infused=())
    log = tuple(bool(x) for x in problem.log)
    try:
        whole = lanes.get_method(lanes.STIFF_METHOD).whole
        assert whole is not None
        core = whole.core(problem.model, log, False, problem.integrals)
    except TraceError as refusal:
        return Choice(explicit, f"the right-hand side {refusal}")
    method = lanes.get_method(explicit)
    sums = len(log) * np.count_nonzero(tableaus.get(explicit).A)
    costs = (
        method.calls_per_step(len(log)) * core.call_cost + _OF_SUM * sums + _AROUND,
        _STRAIGHT * core.cost + _AROUND,
    )
    first = lanes.solve_chunk(
        replace(asked, method=explicit, max_steps=budget, max_steps_ahead=ahead), y0, p, 1
    )
    second = lanes.solve_chunk(replace(asked, method=lanes.STIFF_METHOD), y0, p, 1)
    solved = second.status == Status.ok
    given_up = (first.status != Status.ok) & solved
    work = [
        (result.steps + result.rejected) * price for result, price in zip((first, second), costs, strict=True)
    ]
    work[0] = work[0] + given_up * work[1]  # who is given up is solved by the other
    if not solved.any():
        return Choice(explicit, "no typical patient is solved by the stiff method")
    ratio = float(work[0][solved].sum() / work[1][solved].sum())
    if ratio > 1.0:
        return Choice(lanes.STIFF_METHOD, f"{explicit} takes {ratio:.1f} times the work")
    return Choice(explicit, f"{lanes.STIFF_METHOD} takes {1 / ratio:.1f} times the work")
