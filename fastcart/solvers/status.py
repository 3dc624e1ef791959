"""How the solution of one patient ended: one code, one name, one sentence."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Outcome of one patient's integration; failed patients have NaN endpoints."""

    ok = 0
    max_steps = 1
    non_finite = 2
    step_too_small = 3
    log_inflow = 4
    solver_error = 5
    not_run = 6
    negative = 7
    rhs_error = 8
    blow_up = 9
    no_steady_state = 10
    no_root = 11

    @property
    def sentence(self) -> str:
        """What happened, and what to do about it."""
        return _SENTENCES[self]


_SENTENCES = {
    Status.ok: "solved to the horizon",
    Status.max_steps: (
        "the budget of steps ran out before the horizon; the patient may be stiff: raise max_steps, "
        "loosen rtol, or use engine='lsoda'; or the right-hand side jumps to and fro where a state crosses a "
        "level ('if y.C < 1e9'): make that an Event, or a smooth function"
    ),
    Status.non_finite: (
        "the right-hand side became NaN or infinite; check this patient's parameters and initial values"
    ),
    Status.step_too_small: (
        "the step shrank below the resolution of time; the right-hand side may be discontinuous or singular, "
        "or drive a state in logarithm to zero, as a constant loss does: define that state with log=False"
    ),
    Status.log_inflow: (
        "a state that is integrated in logarithm is zero but has an inflow; define that state with "
        "log=False or start it above zero"
    ),
    Status.solver_error: "the solver gave up without a reason; try another engine or a looser rtol",
    Status.not_run: "not solved yet; in a result it would be an error of fastcart itself: please report it",
    Status.negative: (
        "a state that is marked nonnegative, or in logarithm, goes below zero; check this patient's "
        "parameters, what its doses remove, and the right-hand side where that state is nearly zero"
    ),
    Status.rhs_error: "the right-hand side raised an error; let it return nan where it has no value",
    Status.blow_up: (
        "the solution goes to infinity in finite time, and no engine goes on behind that; check the "
        "parameters of this patient, and whether growth should be limited"
    ),
    Status.no_steady_state: (
        "the repeated doses lead to no steady state that attracts and is known to rtol; check this patient's "
        "parameters, or give the doses before one by one"
    ),
    Status.no_root: (
        "the equation of an algebraic variable has no solution here, or leads to where it has none or more "
        "than one; check this patient's parameters and doses, and where the search starts; or events of the "
        "model act on each other, or wait, without an end"
    ),
}

# What tells a blow-up, y = C / (T - t)**a, from other failures: the rate of growth, y' / y = a / (T - t).
RISES = 1e-3  # part of itself by which a state grows within one step, however short
FASTER = 10.0  # and how many times faster than where steps began to be short

NAMES = [status.name for status in Status]
