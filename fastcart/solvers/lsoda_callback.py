"""The right-hand side as LSODA calls it: a C function that also keeps watch.

numbalsoda's wrapper takes one relative and one absolute tolerance and knows neither a longest step nor a time
that must not be passed. What it lacks is done here, from inside the right-hand side:

- LSODA tries a step at a new time. A later time says that the step before was accepted, an earlier one that
  it was not. So the time of the last accepted step is known, and the length of each step that is tried.
- A step that is too long, or that takes a count below zero, is refused: derivatives of changing sign let no
  corrector converge, and LSODA tries a quarter of the step at the same order.
- The model sees times of its own segment only, whatever LSODA tries beyond its end.
- The steps are noted, with what is looked for and its slope: between them nothing hides from who looks for
  turning points.
- Calls are counted, and once a patient has failed derivatives are zero, so that LSODA ends quickly.

All this is the same for every model and compiled once. A model's own derivatives are a C function of their
own, whose address is one of the control words; see `fastcart.solvers.lsoda_derivatives`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.extending import register_jitable

from fastcart.solvers.compile import FAST, INLINED, INNER, cached
from fastcart.solvers.lsoda_derivatives import FAILED, INFLOW, LEFT, TOLD, UNDEFINED
from fastcart.solvers.lsoda_library import behind, call_derivatives, rhs_signature
from fastcart.solvers.transform import LOG_FLOOR, LOG_ZERO

# LSODA passes the address of the control words. Before them lie the parameters and the scale of each state.
# Behind them lies what the derivatives tell. Then, for each state: the rate of infusion, the largest value,
# whether it is in logarithm, whether it may not be negative, the group with which it dies out. Then: what is
# noted with each step, see `noted_as`; the sums of integrals, four for each; the notes.
(
    CALLS, STEPS, LAST_T, BASE_T, FLAG, BUDGET, BAD, LOW, HIGH, MAX_STEP, REFUSED, REFUSED_T,
    RAISED, RTOL, NODES, STUCK, TROUBLE, GROWTH, GROWTH_BEFORE, RISE, AROUND,
    DERIVATIVES, STATES, PARAMETERS, INTEGRALS, COUNTS, NOTED, WIDTH, CONTROL,
) = range(29)  # fmt: skip
FLAG_BUDGET, FLAG_NON_FINITE, FLAG_LOG_INFLOW, FLAG_RAISED, FLAG_NEGATIVE = 1.0, 2.0, 4.0, 5.0, 6.0
FLAG_GAVE_UP, FLAG_UNRESOLVED, FLAG_STUCK, FLAG_BLOW_UP, FLAG_NO_ROOT = -1.0, 7.0, 8.0, 9.0, 11.0
# stuck at a state behind which there are no derivatives
FLAG_STUCK_NON_FINITE, FLAG_STUCK_RAISED = 12.0, 13.0

SUM, SUM_BASE, VALUE, VALUE_BASE, SUMS = range(5)  # of one integral: ∫|z| so far and |z|, also at BASE_T
NOTES = 20_000  # steps that are noted of a segment

# A wild trial step may leave the model's domain; LSODA rejects a huge derivative and tries a smaller step.
# So many in a row, and the patient itself is at fault.
_HUGE = 1e100
_BAD_IN_A_ROW = 60.0
_NO_STEP = 1e-13  # a step so short, relative to the time, goes nowhere
_NO_LENGTH = 1e-15
_BRIEF = 1e-6  # a step so short, relative to the time, may be one of many towards infinity
_STUCK_IN_A_ROW = 20.0  # calls in steps of no length, which LSODA would go on to make for ever
_REFUSED_IN_A_ROW = 150.0
_BELOW = 4.0  # tolerances that a count may lie below zero: the errors of some steps add up


class Places(NamedTuple):
    """Where from the control words on what lies behind them begins; see above."""

    rates: int
    most: int
    log: int
    counted: int
    groups: int
    noting: int
    sums: int
    notes: int


@register_jitable(**INLINED)
def places(n, noted, integrals):
    """Return the places for so many states, quantities that are noted, and integrals."""
    rates = CONTROL + TOLD + integrals
    noting = rates + 5 * n
    sums = noting + noted
    return Places(
        rates, rates + n, rates + 2 * n, rates + 3 * n, rates + 4 * n, noting, sums, sums + SUMS * integrals
    )


@register_jitable(**INLINED)
def noted_as(state, group):
    """Return the number that says what is noted: a state, or where that is -1 a group of states."""
    return float(state) if state >= 0 else -1.0 - group


def data_size(states: int, parameters: int, noted: int, integrals: int, width: int) -> int:
    """Return how many numbers the data of the right-hand side hold."""
    return parameters + states + places(states, noted, integrals).notes + NOTES * width


@njit(**INNER)
def keep_sums(c, at):
    """Take what integrals came to for that of the last step that was accepted."""
    for s in range(at.sums, at.notes, SUMS):
        c[s + SUM_BASE] = c[s + SUM]
        c[s + VALUE_BASE] = c[s + VALUE]


@njit(**INLINED)
def move_on(c, at, time):
    """Take a new time for that of a step: a later one says that the step before was accepted."""
    if time > c[LAST_T]:
        if c[LAST_T] - c[BASE_T] > _NO_LENGTH * time:
            c[TROUBLE] = 0.0
        c[BASE_T] = c[LAST_T]
        if c[INTEGRALS] != 0.0:
            keep_sums(c, at)
    c[STEPS] += 1.0
    c[LAST_T] = time


@njit(**INLINED)
def refuses(c, at, n, time, u):
    """Whether a step is too long or takes a count below zero.

    Where none can be found that is not below zero, the solution itself goes there.
    """
    refused = time - c[BASE_T] > c[MAX_STEP] or time == c[REFUSED_T]
    return counts_refuse(c, at, n, u, refused) if c[COUNTS] != 0.0 else refused


@njit(**INNER)
def counts_refuse(c, at, n, u, refused):
    """Whether a step is refused, because a count lies below zero if it is not for something else."""
    for i in range(n):
        if c[at.counted + i] != 0.0:
            below = u[i] < -_BELOW * c[RTOL] * (1.0 + c[at.most + i])
            refused = refused or below
            if not refused:
                c[at.most + i] = max(c[at.most + i], u[i])
            c[REFUSED] += 1.0 if below else 0.0
            if c[REFUSED] > _REFUSED_IN_A_ROW:
                c[FLAG] = FLAG_NEGATIVE
    return refused


@njit(**INNER)
def add_up(c, at, t):
    """Add up |z| by trapezoids over the steps; a step that was not accepted is forgotten."""
    base = min(max(c[BASE_T], c[LOW]), c[HIGH])
    for k in range((at.notes - at.sums) // SUMS):
        s = at.sums + SUMS * k
        size = abs(c[CONTROL + TOLD + k])
        c[s + SUM] = c[s + SUM_BASE] + 0.5 * (t - base) * (size + c[s + VALUE_BASE])
        c[s + VALUE] = size


@njit(**INNER)
def fastest(c, at, n, u, du):
    """Return the fastest growth of a state, relative to itself."""
    most = 0.0
    for i in range(n):
        if u[i] != 0.0:
            most = max(most, du[i] if c[at.log + i] != 0.0 else du[i] / u[i])
    return most


@njit(**INLINED)
def note_growth(c, at, n, time, u, du, bad):
    """Note the fastest growth of a state, relative to itself, where steps are short.

    Towards infinity its rate grows from step to step, and each step matters; see `blows_up`.
    """
    length = time - c[BASE_T]
    if length > _BRIEF * time:
        c[GROWTH] = c[GROWTH_BEFORE] = c[RISE] = 0.0
    elif not bad and length > _NO_LENGTH * time:
        c[GROWTH] = most = fastest(c, at, n - int(c[INTEGRALS]), u, du)
        c[RISE] = most * length
        if c[GROWTH_BEFORE] == 0.0:
            c[GROWTH_BEFORE] = most


@njit(**INNER)
def total(c, at, n, group, u, du):
    """Return the sum of a group of states, in natural units, and its slope."""
    value = slope = 0.0
    for i in range(n):
        if c[at.groups + i] == group and c[at.log + i] != 0.0:
            y = np.exp(max(u[i], LOG_FLOOR)) if u[i] != LOG_ZERO else 0.0
            value += y
            slope += y * du[i]
        elif c[at.groups + i] == group:
            value += c[i - n] * u[i]
            slope += c[i - n] * du[i]
    return value, slope


@njit(**INLINED)
def note_step(c, at, n, time, u, du):
    """Note a step that is tried, in the place of those that were not accepted."""
    width, k = int(c[WIDTH]), int(c[NODES])
    while k > 0 and c[at.notes + width * (k - 1)] >= time:
        k -= 1
    if k < NOTES:
        note = at.notes + width * k
        c[note] = time
        for j in range(at.sums - at.noting):
            what = c[at.noting + j]
            value, slope = (
                (u[int(what)], du[int(what)]) if what >= 0.0 else total(c, at, n, noted_as(-1, what), u, du)
            )
            c[note + 1 + 2 * j] = value
            c[note + 2 + 2 * j] = slope
        k += 1
    c[NODES] = k


@njit(**INNER)
def fill(n, du, value):
    """Give all derivatives the same value."""
    for i in range(n):
        du[i] = value


@njit(**INLINED)
def has_failed(c):
    """Count a call; return whether the patient has failed before it."""
    c[CALLS] += 1.0
    if c[FLAG] == 0.0 and c[CALLS] > c[BUDGET]:
        c[FLAG] = FLAG_BUDGET
    if c[FLAG] == 0.0 and c[RAISED] != 0.0:
        c[FLAG] = FLAG_RAISED
    return c[FLAG] != 0.0


@njit(**INLINED)
def note_trouble(c, time, bad, raised):
    """Note that there are no derivatives: too often in a row, and the patient has failed."""
    c[BAD] = c[BAD] + 1.0 if bad else 0.0
    if bad:
        c[TROUBLE] = FLAG_STUCK_RAISED if raised else FLAG_STUCK_NON_FINITE
        nowhere = 0.0 < time - c[BASE_T] < _NO_STEP * time
        if (c[BAD] > _BAD_IN_A_ROW or nowhere) and c[FLAG] == 0.0:
            c[FLAG] = FLAG_RAISED if raised else FLAG_NON_FINITE


@njit(**INLINED)
def take_steps(c, at, n, time, u):
    """Note the step that is tried; return whether it is refused."""
    if time != c[LAST_T]:
        move_on(c, at, time)
    c[STUCK] = c[STUCK] + 1.0 if time - c[BASE_T] <= _NO_LENGTH * time else 0.0
    if c[STUCK] > _STUCK_IN_A_ROW:
        c[FLAG] = FLAG_STUCK if c[TROUBLE] == 0.0 else c[TROUBLE]
        if c[REFUSED] > 0.0:
            c[FLAG] = FLAG_NEGATIVE
    return refuses(c, at, n, time, u)


@njit(**INLINED)
def derive(c, at, n, t, u, du):
    """Evaluate the model's derivatives; return whether that came to its end."""
    c[CONTROL + LEFT] = 1.0
    parameters = behind(c, -n - int(c[PARAMETERS]))
    address, rates, told = int(c[DERIVATIVES]), behind(c, at.rates), behind(c, CONTROL)
    call_derivatives(address, t, u, du, parameters, rates, told)
    return c[CONTROL + LEFT] == 0.0


@njit(**INNER)
def give_numbers(c, n, du):
    """Give derivatives of zero to who has failed, else of a number that stands in for infinity."""
    for i in range(n):
        if c[FLAG] != 0.0:
            du[i] = 0.0
        elif 0.0 * du[i] != 0.0:
            du[i] = _HUGE


def lsoda_rhs(time, u, du, c):
    """Evaluate the derivatives as LSODA asks for them, and keep watch over its steps."""
    n = int(c[STATES])
    at = places(n, int(c[NOTED]), int(c[INTEGRALS]))
    if has_failed(c):
        fill(n, du, 0.0)
        return
    fresh = time != c[LAST_T]
    if take_steps(c, at, n, time, u):
        c[REFUSED_T] = time
        fill(n, du, _HUGE if c[CALLS] % 2.0 == 0.0 else -_HUGE)
        return
    c[REFUSED] = 0.0
    t = min(max(time, c[LOW]), c[HIGH])
    if not derive(c, at, n, t, u, du):
        c[RAISED] = 1.0
        return
    raised = c[CONTROL + FAILED] != 0.0
    bad = raised or c[CONTROL + UNDEFINED] != 0.0
    if c[CONTROL + INFLOW] > 0.0:
        c[FLAG] = FLAG_LOG_INFLOW
    if c[INTEGRALS] != 0.0:
        add_up(c, at, t)
    note_trouble(c, time, bad, raised)
    note_growth(c, at, n, time, u, du, bad)
    if c[WIDTH] > 0.0 and fresh and c[NODES] >= 0.0:
        note_step(c, at, n, time, u, du)
    if c[FLAG] != 0.0 or bad:
        give_numbers(c, n, du)


@cache
def watching_rhs() -> Any:
    """Compile what LSODA calls, for all models."""
    return cached(lsoda_rhs, "what LSODA calls", signature=rhs_signature, **FAST)
