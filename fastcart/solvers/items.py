"""What is looked for along a solution: one item for each quantity with a level or an extremum.

What standard endpoints are read off, peaks, events and groups that die out are all items, and `rows_of` lists
them for all engines. Engines ``lsoda`` and ``scipy`` cut a solution into pieces between turning points, each
in its own way, and find crossings in them; what these mean is decided here, for one patient at a time.
Kernels and Python call the same functions. Engine ``lanes`` has records of its own, for many patients at a
time, and in them notes crossings and extrema by the same functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable

from fastcart.solvers.actions import Actions, actions_of, acts, held_side, left_at
from fastcart.solvers.compile import INNER
from fastcart.solvers.endpoints import Found, fill, watched_marks
from fastcart.solvers.problem import ChunkResult, Problem
from fastcart.solvers.transform import LOG_FLOOR, LOG_ZERO, to_natural

HIGHEST, LOWEST, UP, DOWN, BOTH, DIES = range(6)  # kinds of items
KINDS = {"up": UP, "down": DOWN, "both": BOTH, "highest": HIGHEST, "lowest": LOWEST}
NO_PARAMETER = -1  # instead of the parameter that is a threshold, which is a number,
FROM_START = -2  # or a part of the patient's own start
AT_START, JUMPED = -2, -1  # instead of the item whose action came before


class Row(NamedTuple):
    """One thing that is looked for."""

    of: str | int  # a state or observable, or the number of a group that dies out
    kind: int
    ends: bool = False  # whether the integration ends there, or goes on from zero
    parameter: int = NO_PARAMETER  # that is the threshold
    threshold: float = math.nan  # if it is a number, or the part of the start that it is
    after: float = -1.0  # the time from which a crossing counts,
    behind: int = -1  # or the row behind whose first time it counts


def rows_of(problem: Problem) -> list[Row]:
    """Return all that is looked for: marks of the burden, peaks, events, groups that die out."""
    burden, names = problem.model.burden, problem.model.parameter_names
    marks = watched_marks() if burden is not None else []
    rows = [Row(str(burden), KINDS[m.kind], parameter=FROM_START, threshold=m.part) for m in marks]
    rows += [Row(name, HIGHEST) for name in problem.peaks]
    place = {event.name: len(rows) + i for i, event in enumerate(problem.events)}
    for event in problem.events:
        level, after = event.threshold, event.after
        behind = place[after] if isinstance(after, str) else -1
        rows.append(
            Row(
                event.of, KINDS[event.direction], event.terminal or bool(event.actions),
                names.index(level) if isinstance(level, str) else NO_PARAMETER,
                math.nan if isinstance(level, str) else level, -1.0 if isinstance(after, str) else after,
                behind,
            )
        )  # fmt: skip
    if problem.extinction is not None:
        _, members = groups_of([state.extinction for state in problem.model.states])
        rows += [Row(g, DIES, True, threshold=problem.extinction) for g in range(len(members))]
    return rows


def first_event(problem: Problem) -> int:
    """Return the row of the first event."""
    return asked_of(problem).stop - len(problem.events)


def asked_of(problem: Problem) -> slice:
    """Return which rows are peaks and events."""
    first = len(watched_marks()) if problem.model.burden is not None else 0
    return slice(first, first + len(problem.peaks) + len(problem.events))


def groups_of(states: Sequence[bool | str]) -> tuple[np.ndarray, list[list[int]]]:
    """Return the group of each state, -1 for none, and the states of each group.

    Parameters
    ----------
    states : sequence of bool or str
        ``State.extinction`` of each state.
    """
    names = [mark if isinstance(mark, str) else j for j, mark in enumerate(states) if mark]
    order = {name: g for g, name in enumerate(dict.fromkeys(names))}
    group = np.array([order[m if isinstance(m, str) else j] if m else -1 for j, m in enumerate(states)])
    return group, [np.flatnonzero(group == g).tolist() for g in range(len(order))]


@register_jitable(**INNER)
def part_of(start, part, log):
    """A part of a start, as it is integrated; see `fastcart.solvers.endpoints.level_of`."""
    if not log:
        return part * start
    return start + np.log(part) if start != LOG_ZERO else start


@register_jitable(**INNER)
def logarithm_of(level):
    """The logarithm of a level; that of nothing is `LOG_ZERO`, and below it is no level at all."""
    return np.log(level) if level > 0.0 else (LOG_ZERO if level == 0.0 else -np.inf)


# A quantity is a state, the derivative of a state (which is the integral of an observable), or the sum of a
# group of states; what it is not is -1. ``zero`` is what it is where nothing is left of it. A state is taken
# as it is integrated, in logarithm or its scale, all others in natural units. Observables come last.
QUANTITY = np.dtype([("state", "i8"), ("integral", "i8"), ("group", "i8"), ("zero", "f8")])

# A `Row`, with the number of its quantity.
ITEM = np.dtype(
    [("quantity", "i8"), ("kind", "i8"), ("ends", "?"), ("parameter", "i8"), ("threshold", "f8"),
     ("after", "f8"), ("behind", "i8")], align=True,
)  # fmt: skip

# What is known of an item of one patient up to some time. ``side`` of the level: 1, -1, or 0 where the start
# is on it; ``best``: the extremum; ``first``: when that was, or the first time of an event.
RECORD = np.dtype(
    [("level", "f8"), ("side", "f8"), ("best", "f8"), ("first", "f8"), ("last", "f8"), ("times", "i8")]
)


class Watched(NamedTuple):
    """All that is looked for in a problem."""

    items: np.recarray  # of `ITEM`
    quantities: np.recarray  # of `QUANTITY`
    groups: np.ndarray  # of each state, the group with which it dies out, or -1
    actions: Actions


def watched_of(problem: Problem) -> Watched:
    """Return all that is looked for in a problem."""
    states = problem.model.state_names
    groups, members = groups_of([state.extinction for state in problem.model.states])
    # a group of one is that state
    alone = {g: states[m[0]] for g, m in enumerate(members) if len(m) == 1}
    rows = [row._replace(of=alone.get(row.of, row.of)) for row in rows_of(problem)]
    of = sorted(dict.fromkeys(row.of for row in rows), key=lambda x: isinstance(x, str) and x not in states)
    quantities = [
        (-1, -1, x, 0.0) if isinstance(x, int)
        else (states.index(x), -1, -1, LOG_ZERO if problem.log[states.index(x)] else 0.0) if x in states
        else (-1, states.index(problem.integral_of(x)), -1, 0.0)
        for x in of
    ]  # fmt: skip
    items = [(of.index(row.of), *row[1:]) for row in rows]
    actions = actions_of(problem, len(rows), first_event(problem), scaled=True)
    return Watched(_table(items, ITEM), _table(quantities, QUANTITY), groups, actions)


def _table(rows: list[tuple], dtype: np.dtype) -> Any:
    return np.array(rows, dtype=dtype).view(np.recarray)


def records_of(watched: Watched, patients: int) -> np.recarray:
    """Return room for what is found, shape (patients, items)."""
    return np.zeros((patients, len(watched.items)), dtype=RECORD).view(np.recarray)


@register_jitable(**INNER)
def clear(record, watched, start, p, log, scale):
    """Begin with a patient: set the levels, in units of the quantities, and forget what was found."""
    for i in range(record.size):
        item = watched.items[i]
        state = watched.quantities[item.quantity].state
        level = item.threshold
        if item.parameter >= 0:
            level = p[item.parameter]
        if item.parameter == FROM_START:
            level = part_of(start[state], item.threshold, log[state])
        elif state >= 0 and log[state]:
            level = logarithm_of(level)
        elif state >= 0:
            level /= scale[state]
        row = record[i]
        row.level = level
        row.side = 0.0
        row.best = np.inf if item.kind == LOWEST else -np.inf
        row.first = np.inf
        row.last = -np.inf
        row.times = 0


@register_jitable(**INNER)
def measure(watched, k, u, du, log, scale):
    """Return the value of a quantity, and its slope where it is no observable."""
    quantity = watched.quantities[k]
    i = quantity.state
    if i >= 0:
        return u[i], du[i]
    i = quantity.integral
    if i >= 0:
        return du[i] * scale[i], np.nan
    value, slope = 0.0, 0.0
    for i in range(u.size):
        if watched.groups[i] == quantity.group:
            if log[i]:
                y = np.exp(max(u[i], LOG_FLOOR)) if u[i] != LOG_ZERO else 0.0
                slope += y * du[i]
            else:
                y = u[i] * scale[i]
                slope += scale[i] * du[i]
            value += y
    return value, slope


@register_jitable(**INNER)
def belongs(watched, k, i):
    """Whether quantity ``k`` is state ``i``, or a sum that it is part of."""
    quantity = watched.quantities[k]
    return quantity.state == i or (quantity.group >= 0 and watched.groups[i] == quantity.group)


@register_jitable(**INNER)
def is_extremum(kind):
    """Whether an item is about an extremum."""
    return kind in (HIGHEST, LOWEST)


@register_jitable(**INNER)
def side_of(value, level, before):
    """The side of a level on which a value is; on the level itself, where it was before."""
    if value > level:
        return 1.0
    return -1.0 if value < level else before


@register_jitable(**INNER)
def counts(kind, side):
    """Whether a crossing to that side is one that an event is about."""
    return kind != DOWN if side > 0.0 else kind != UP


@register_jitable(**INNER)
def dies(before, after, level):
    """Whether a group dies out on the way between two values; who is below and rises does not."""
    return after <= level and (before > level or after < before)


@register_jitable(**INNER)
def keep(row, kind, value, t):
    """Record a value that may be the extremum."""
    better = value > row.best if kind == HIGHEST else value < row.best
    if better or (value == row.best and t < row.first):
        row.best = value
        row.first = t


@register_jitable(**INNER)
def happened(record, items, i, t):
    """Record a crossing of item ``i``, unless it only counts later; return whether it counts."""
    behind = record[items[i].behind].first if items[i].behind >= 0 else -np.inf
    return note_crossing(record[i], items[i].after, behind, t)


@register_jitable(**INNER)
def note_crossing(row, after, behind, t):
    """Record a crossing, unless it lies before one time or not behind another; return whether it counts."""
    if t < after or not t > behind:
        return False
    row.first = min(row.first, t)
    row.last = max(row.last, t)
    row.times += 1
    return True


@register_jitable(**INNER)
def turns_to(record, watched, i, value, t):
    """Whether a jump to a value is a crossing at which item ``i`` acts."""
    item, row = watched.items[i], record[i]
    if is_extremum(item.kind) or item.kind == DIES or not acts(watched.actions, i):
        return False
    now = side_of(value, row.level, row.side)
    return now != row.side and counts(item.kind, now) and t >= item.after


@register_jitable(**INNER)
def first_to_act(record, watched, values, t, fired):
    """The item that acts first at a jump, -1 for none; it is recorded, the others wait for the next look."""
    best = -1
    if fired != AT_START:
        for i in range(record.size):
            before = best < 0 or watched.actions.priority[i] > watched.actions.priority[best]
            value = values[watched.items[i].quantity]
            if i != fired and before and turns_to(record, watched, i, value, t):
                best = i
    if best >= 0:
        record[best].side = side_of(
            values[watched.items[best].quantity], record[best].level, record[best].side
        )
        happened(record, watched.items, best, t)
    return best


@register_jitable(**INNER)
def begin(record, watched, values, t, fired):
    """Record what holds at the start, or behind a jump; return the item that ends it there, or -1.

    Who may die out and is below the level dies at once: what is seeded anew must be more.

    Parameters
    ----------
    record : recarray
    watched : Watched
    values : ndarray
        Of the quantities.
    t : float
    fired : int
        What came before, `AT_START`, `JUMPED`, or the item that acted; a jump over a level is a crossing.
    """
    ending = -1
    for i in range(record.size):
        item, row = watched.items[i], record[i]
        value = values[item.quantity]
        if is_extremum(item.kind):
            keep(row, item.kind, value, t)
        elif item.kind == DIES:
            if ending < 0 and value < row.level and value != watched.quantities[item.quantity].zero:
                ending = i
        elif i == fired:
            crossed = 1.0 if item.kind == UP else -1.0
            state = watched.quantities[item.quantity].state
            row.side = left_at(watched.actions, i, state, value, row.level, crossed)
        elif fired != AT_START and acts(watched.actions, i):
            if not turns_to(record, watched, i, value, t):  # who turns waits for its turn
                row.side = held_side(watched.actions, i, value, row.level, row.side)
        else:
            before = row.side
            row.side = side_of(value, row.level, before)
            crosses = fired != AT_START and row.side != before and counts(item.kind, row.side)
            if crosses and happened(record, watched.items, i, t) and item.ends:
                ending = i
    return ending if ending >= 0 else first_to_act(record, watched, values, t, fired)


@register_jitable(**INNER)
def settle(record, watched, values, t):
    """Note on which sides of their levels the events that end the integration are, where it is cut.

    What acts there as well is left to the next look.
    """
    for i in range(record.size):
        item, value = watched.items[i], values[watched.items[i].quantity]
        if not item.ends or item.kind == DIES or turns_to(record, watched, i, value, t):
            continue
        level, side = record[i].level, record[i].side
        held = acts(watched.actions, i)
        record[i].side = (
            held_side(watched.actions, i, value, level, side) if held else side_of(value, level, side)
        )


def report(
    result: ChunkResult, problem: Problem, watched: Watched, records: np.recarray, y0: np.ndarray,
    final: np.ndarray,
) -> None:  # fmt: skip
    """Fill in what the items found, and the endpoints of the burden.

    ``y0`` are the initial values, ``final`` the last states of all patients as they are integrated,
    ``result.t_reached`` their times.
    """
    asked, b = asked_of(problem), problem.model.burden_index
    result.best = records.best[:, asked].copy()
    for i, quantity in enumerate(watched.items.quantity[asked]):
        state = watched.quantities.state[quantity]
        if state >= 0:
            result.best[:, i] = to_natural(result.best[:, i], problem.log[state], problem.scale[state])
    result.when, result.times = records.first[:, asked].copy(), records.times[:, asked].copy()
    if b >= 0:
        marks: list[Any] = [records[:, i] for i in range(asked.start)]
        found = [Found(mark.level, mark.first, mark.last, mark.best) for mark in marks]
        fill(result, found, y0[:, b], final[:, b], log=problem.log[b], scale=problem.scale[b])
