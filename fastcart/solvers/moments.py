"""What a model itself does at moments: conditions that become true, queues, priorities.

An event of `fastcart.Event` sees one quantity at one level, and acts on each state by itself. A model may say
more: a condition of several relations, values computed of all states, an order of those that act at the same
time. Then every relation ``left > right`` is a quantity of its own, ``-side * (left - right)`` with the side
on which it was, 1 or -1. Where that rises through zero the engine turns the side over, as an action, and asks
what follows (`moment_lines`), as it asks for algebraic variables (`fastcart.solvers.algebraic`). So no engine
knows more of this than quantities, levels, and a function that changes states. What must be remembered from
one moment to the next is kept in states without derivatives.

References
----------
M. Hucka et al., SBML Level 3 Version 2 Core (2019), section 4.11: events.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fastcart.solvers.compile import INNER

SLOTS = 8  # executions of one event that can wait at the same time
ROUNDS = 1000  # executions at one moment: more act on each other for ever
_NEAR = 1e-10  # of a time: what is due then is due now
_NEVER = -1.0  # instead of a time
_PRIME = 2147483647
AGAIN, DONE, NO_ROOM = range(3)


class MomentTable(NamedTuple):
    """The events of a model as numbers: places among the states, and among what is needed to know."""

    # of relations: the side, the side that was seen last, and how near to equal says nothing (states)
    side: np.ndarray
    seen: np.ndarray
    slack: np.ndarray
    left: np.ndarray  # needed
    right: np.ndarray
    strict: np.ndarray
    # of events
    true: np.ndarray  # the state that keeps whether the condition holds, 1 or -1
    before: np.ndarray  # whether it counts as true before time 0
    persistent: np.ndarray
    from_trigger: np.ndarray  # whether values are those of the time at which it was triggered
    delay: np.ndarray  # needed, or -1
    priority: np.ndarray  # needed, or -1
    waiting: np.ndarray  # the first state of its queue, or -1
    first: np.ndarray  # of its assignments; event j has those up to the first of the next
    # of assignments
    target: np.ndarray  # state
    value: np.ndarray  # needed
    first_scaled: np.ndarray  # concentrations in a compartment whose size is assigned
    scaled: np.ndarray
    turn: np.ndarray  # of events, the state that keeps which execution was its last one
    next: int  # the state that keeps the next time at which something is due


@njit(**INNER)
def _look(y, f, table, k, exact):
    """Set the side of a relation by what it is now, ``exact`` where equal counts."""
    left, right = f[table.left[k]], f[table.right[k]]
    if not exact and abs(left - right) <= y[table.slack[k]]:
        return
    holds = left > right if table.strict[k] else left >= right
    y[table.side[k]] = 1.0 if holds else -1.0
    y[table.slack[k]] = 0.0


@njit(**INNER)
def _look_around(y, f, table, first):
    """Set the sides of all relations; what the engine turned over stays."""
    for k in range(table.side.size):
        if first:
            _look(y, f, table, k, True)
        elif y[table.side[k]] == y[table.seen[k]]:
            _look(y, f, table, k, False)
        else:  # a crossing is where the engine says, though rounding may put the state before it
            y[table.slack[k]] = 2.0 * abs(f[table.left[k]] - f[table.right[k]])
        y[table.seen[k]] = y[table.side[k]]


@njit(**INNER)
def _load(y, table, due, values):
    """Take what waits out of the states."""
    for j in range(table.true.size):
        if table.waiting[j] >= 0:
            count = table.first[j + 1] - table.first[j]
            for x in range(SLOTS):
                place = table.waiting[j] + x * (1 + count)
                due[j, x] = y[place]
                for a in range(count):
                    values[j, x, a] = y[place + 1 + a]


@njit(**INNER)
def _store(y, table, due, values):
    """Put what waits into the states, and the next time."""
    soonest = np.inf
    for j in range(table.true.size):
        if table.waiting[j] >= 0:
            count = table.first[j + 1] - table.first[j]
            for x in range(SLOTS):
                place = table.waiting[j] + x * (1 + count)
                y[place] = due[j, x]
                for a in range(count):
                    y[place + 1 + a] = values[j, x, a] if due[j, x] != _NEVER else 0.0
                if due[j, x] != _NEVER:
                    soonest = min(soonest, due[j, x])
    if table.next >= 0:
        y[table.next] = soonest if soonest < np.inf else _NEVER


@njit(**INNER)
def _trigger(t, y, f, now, table, due, values):
    """Let events wait whose condition became true; return whether there was room."""
    for j in range(table.true.size):
        holds, held = now[j] > 0.0, y[table.true[j]] > 0.0
        if holds and not held:
            wait = f[table.delay[j]] if table.delay[j] >= 0 else 0.0
            x = 0
            while x < SLOTS and due[j, x] != _NEVER:
                x += 1
            if x == SLOTS or not (wait >= 0.0 and wait < np.inf):
                return False
            due[j, x] = t + wait
            for a in range(table.first[j], table.first[j + 1]):
                values[j, x, a - table.first[j]] = f[table.value[a]]
        if held and not holds and not table.persistent[j]:
            due[j, :] = _NEVER
        y[table.true[j]] = 1.0 if holds else -1.0
    return True


@njit(**INNER)
def _lot(executions, j):
    """A whole number at random for an event, the same whenever there have been as many executions."""
    x = (executions * 48271 + (j + 1) * 69621) % _PRIME
    for _ in range(3):
        x = ((x ^ (x >> 13)) + 1) * 48271 % _PRIME
    return x


@njit(**INNER)
def _goes_before(y, table, j, other, executions):
    """Whether an event is executed before another of the same priority.

    Those that were not executed yet go first, in their order. Then it is drawn by lot, as SBML asks for, so
    that none is left out for ever where one makes the others' conditions false again.
    """
    mine, theirs = y[table.turn[j]], y[table.turn[other]]
    if mine == 0.0 or theirs == 0.0:
        return mine < theirs
    return _lot(executions, j) > _lot(executions, other)


@njit(**INNER)
def _executions(y, table):
    """How many executions there have been."""
    latest = 0.0
    for i in range(table.turn.size):
        latest = max(latest, y[table.turn[i]])
    return int(latest)


@njit(**INNER)
def _chosen(t, y, f, table, due):
    """The event, and its place in the queue, that is executed next; -1 for none."""
    best, slot, highest = -1, -1, -np.inf
    executions = _executions(y, table)
    for j in range(table.true.size):
        priority = f[table.priority[j]] if table.priority[j] >= 0 else -np.inf
        for x in range(SLOTS):
            when = due[j, x]
            if when == _NEVER or when > t + _NEAR * max(abs(t), abs(when)):
                continue
            sooner = best == j and when < due[j, slot]
            first = best >= 0 and best != j and priority == highest
            first = first and _goes_before(y, table, j, best, executions)
            if best < 0 or priority > highest or sooner or first:
                best, slot, highest = j, x, priority
    return best, slot


@njit(**INNER)
def _execute(y, f, table, j, given):
    """Assign what an event assigns, all at once."""
    for a in range(table.first[j], table.first[j + 1]):
        value = given[a - table.first[j]] if table.from_trigger[j] else f[table.value[a]]
        before = y[table.target[a]]
        y[table.target[a]] = value
        for s in range(table.first_scaled[a], table.first_scaled[a + 1]):
            y[table.scaled[s]] *= before / value


@njit(**INNER)
def begin_moment(y, f, table, due, values):
    """Take what waits out of the states, and set the sides of all relations.

    Parameters
    ----------
    y : ndarray
        States in natural units, changed in place.
    f : ndarray
        What is needed, as numbers.
    table : MomentTable
    due, values : ndarray
        From `room_for`.
    """
    first = y[table.true[0]] == 0.0
    if first:
        for j in range(table.true.size):
            y[table.true[j]] = 1.0 if table.before[j] else -1.0
    else:
        _load(y, table, due, values)
    _look_around(y, f, table, first)


@njit(**INNER)
def next_of_moment(t, y, f, now, table, due, values):
    """Execute one event; return whether one was (`AGAIN`), or none is left (`DONE`), or there was no room.

    ``now`` says of each event whether its condition holds, 1 or -1, by the sides.
    """
    if not _trigger(t, y, f, now, table, due, values):
        return NO_ROOM
    j, slot = _chosen(t, y, f, table, due)
    if j < 0:
        _store(y, table, due, values)
        return DONE
    due[j, slot] = _NEVER
    y[table.turn[j]] = _executions(y, table) + 1.0
    _execute(y, f, table, j, values[j, slot])
    return AGAIN


@njit(**INNER)
def look_again(y, before, f, table):
    """Set the sides of those relations that an event changed."""
    for k in range(table.side.size):
        left, right = table.left[k], table.right[k]
        if f[left] != before[left] or f[right] != before[right]:
            _look(y, f, table, k, True)
        y[table.seen[k]] = y[table.side[k]]


@njit(**INNER)
def room_for(table):
    """Return room for the times and values of what waits."""
    most = 1
    for j in range(table.true.size):
        most = max(most, table.first[j + 1] - table.first[j])
    due = np.full((table.true.size, SLOTS), _NEVER)
    return due, np.zeros((table.true.size, SLOTS, most))


def moment_lines(needed: int, events: int) -> list[str]:
    """Return lines that do all that events of a model do at a time, and note how it went.

    They name ``w``, the row of states, time and parameters, ``say(t, y, p, f, now)``, which writes what is
    needed and whether the conditions hold, ``TABLE``, and what this module has.
    """
    return [
        f"    f, now, before = empty({max(1, needed)}), empty({events}), empty({max(1, needed)})",
        "    due, values = room_for(TABLE)",
        "    say(w[TIME], w, w[PARAMETERS:], f, now)",
        "    begin_moment(w, f, TABLE, due, values)",
        "    done, rounds = AGAIN, 0",
        "    while done == AGAIN:",
        "        say(w[TIME], w, w[PARAMETERS:], f, now)",
        "        if rounds > 0:",
        "            look_again(w, before, f, TABLE)",
        "            say(w[TIME], w, w[PARAMETERS:], f, now)",
        "        before[:] = f",
        "        done = next_of_moment(w[TIME], w, f, now, TABLE, due, values)",
        "        rounds += 1",
        "        done = NO_ROOM if rounds > ROUNDS else done",
    ]
