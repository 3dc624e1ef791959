"""What events do to states: the same table for all engines.

An event that acts ends one integration where it happens; the states are changed, at once or after a delay,
and the next begins. What waits for its time is kept by each engine, see `PENDING`.

Times that differ by less than `MOMENT` are one, since where an event crosses is known to rounding only. At
one moment comes first what the clock says, in the order of the kinds in `fastcart.solvers.doses`, then what
waited for its time, then the end by an event, then events that act; each the highest priority first. What
is saved is the state behind all that. So what crosses within a moment before a stop is left to the look
behind it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from fastcart.solvers.compile import INNER
from fastcart.solvers.problem import Problem

SET, ADD, SCALE = range(3)
KINDS = {"set": SET, "add": ADD, "scale": SCALE}
PENDING = 64  # delayed actions of one patient that can wait at the same time
MOMENT = 1e-11  # of the horizon
AT_ONCE_MOST = 1000  # actions at one time: more act on each other for ever


class Actions(NamedTuple):
    """What the items do; item ``i`` has the rows ``first[i]`` to ``first[i + 1]``, or none."""

    first: np.ndarray
    state: np.ndarray
    kind: np.ndarray
    parameter: np.ndarray  # that is the value, or -1
    value: np.ndarray
    delay: np.ndarray  # of each item
    delay_of: np.ndarray  # the parameter that it is, or -1
    priority: np.ndarray  # the highest acts first
    near: np.ndarray  # how far from its level an item may be that is at it, with
    relative: float  # this part of the level: the tolerance
    moment: float  # times that are nearer to each other are one


def actions_of(problem: Problem, items: int, first: int, *, scaled: bool) -> Actions:
    """Return what the events of a problem do, which are the items from ``first`` on.

    ``scaled`` says whether states that are not in logarithm are integrated in units of their scale.
    """
    states, parameters = problem.model.state_names, problem.model.parameter_names

    def place(value: float | str) -> int:
        return parameters.index(value) if isinstance(value, str) else -1

    def number(value: float | str) -> float:
        return 0.0 if isinstance(value, str) else float(value)

    manifold = problem.model.manifold
    algebraic = () if manifold is None else manifold.places
    count, delay, delay_of = np.zeros(items, np.int64), np.zeros(items), np.full(items, -1)
    priority, near = np.zeros((2, items))
    rows = []
    for i, event in enumerate(problem.events, start=first):
        count[i] = len(event.actions)
        delay[i], delay_of[i] = number(event.delay), place(event.delay)
        priority[i] = np.inf if event.terminal else event.priority
        if event.of in states:
            j = states.index(event.of)
            near[i] = problem.rtol * (1.0 if scaled or problem.log[j] else problem.scale[j])
        rows += [
            (states.index(a.state), KINDS[a.kind], place(a.value), number(a.value)) for a in event.actions
        ]
        if event.actions:  # which move the algebraic variables, whatever they act on
            rows += [(j, KINDS["add"], -1, 0.0) for j in algebraic]
            count[i] += len(algebraic)
    columns = np.array(rows, dtype=float).reshape(-1, 4).T
    return Actions(
        np.append(0, np.cumsum(count)), *(column.astype(np.int64) for column in columns[:3]),
        columns[3].copy(), delay, delay_of, priority, near, problem.rtol, MOMENT * problem.t_end,
    )  # fmt: skip


@register_jitable(**INNER)
def acts(actions, i):
    """Whether an item does something to states."""
    return actions.first[i + 1] > actions.first[i]


@register_jitable(**INNER)
def delayed(actions, i):
    """Whether what an item does may come later."""
    return actions.delay[i] > 0.0 or actions.delay_of[i] >= 0


@register_jitable(**INNER)
def acted(kind, y, value):
    """Return what becomes of a state, in natural units."""
    if kind == SET:
        return value
    return y + value if kind == ADD else y * value


@register_jitable(**INNER)
def moves(actions, i, state):
    """Whether what item ``i`` does at once changes a quantity: a state, or any other (-1)."""
    found = False
    for k in range(actions.first[i], actions.first[i + 1]):
        found = found or state < 0 or actions.state[k] == state
    return found


@register_jitable(**INNER)
def turns_over(actions, i):
    """Whether item ``i`` turns a sign over, as relations of `fastcart.solvers.moments` do their side.

    What it is about then is on either side: what is left at its level may cross it the next moment again.
    """
    k = actions.first[i]
    return actions.kind[k] == SCALE and actions.parameter[k] < 0 and actions.value[k] == -1.0


@register_jitable(**INNER)
def held_side(actions, i, value, level, before):
    """The side of its level on which item ``i`` is; if that cannot be told from the level, as before."""
    if abs(value - level) <= actions.near[i] + actions.relative * abs(level):
        return before
    return 1.0 if value > level else -1.0


@register_jitable(**INNER)
def left_at(actions, i, state, value, level, crossed):
    """The side of its level on which item ``i`` is behind its own action.

    ``crossed`` is the side that it came to, about a ``state`` or an observable (-1). What it does not change
    is at the level, to rounding, and on that side.
    """
    if delayed(actions, i) or not moves(actions, i, state):
        return crossed
    if state < 0 and value == level and turns_over(actions, i):
        return 0.0
    return held_side(actions, i, value, level, crossed)


@register_jitable(**INNER)
def earliest(pending, count):
    """The earliest time of what waits, infinite for none; ``pending`` are times and items."""
    first = np.inf
    for x in range(count):
        first = min(first, pending[0, x])
    return first


@register_jitable(**INNER)
def stop_before(actions, pending, count, stop):
    """The next stop: what waits, unless that is the moment of ``stop``, which is then exact."""
    due = earliest(pending, count)
    return due if due < stop - actions.moment else stop


@register_jitable(**INNER)
def comes_first(actions, place, i, when, item):
    """Whether item ``i`` at a time ends an integration rather than ``item`` at ``when`` (-1 for none)."""
    if item < 0:
        return place < np.inf
    if actions.priority[i] > actions.priority[item]:
        return place <= when + actions.moment
    return place < when - actions.moment or (place < when and actions.priority[i] == actions.priority[item])


@register_jitable(**INNER)
def next_due(actions, pending, count, now):
    """The place of what is due at this moment and acts first, -1 for none."""
    best = -1
    for x in range(count):
        if pending[0, x] <= now + actions.moment:
            i = int(pending[1, x])
            if best < 0 or actions.priority[i] > actions.priority[int(pending[1, best])]:
                best = x
    return best


@register_jitable(**INNER)
def leave_out(pending, count, x):
    """Take away what is at a place, and keep the order of the others."""
    for k in range(x, count - 1):
        pending[0, k] = pending[0, k + 1]
        pending[1, k] = pending[1, k + 1]
