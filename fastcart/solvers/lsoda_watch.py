"""Items on LSODA's solution: crossings, extrema and groups that die out, none missed that the steps can show.

The notes of LSODA's own steps say where to look (`fastcart.solvers.lsoda_marks`). There the piece is
integrated again with an output that is finer than the steps, and cubics through values and slopes are
searched, piece by piece cut further where one is too coarse for what it holds. Of an observable nothing is
known between the steps: there all is integrated again.

What such a cubic does not show is missed: a state or an observable that crosses a level and comes back, or
turns twice, within a quarter of a step. The integrals of observables that are watched are integrated too, so
that steps are short where an observable is fast.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fastcart.solvers.actions import comes_first
from fastcart.solvers.hermite import hermite, root, turning_points
from fastcart.solvers.items import DIES, HIGHEST, counts, dies, happened, is_extremum, keep, measure, side_of
from fastcart.solvers.lsoda_marks import later, mark_all, size_of
from fastcart.solvers.lsoda_system import BARE, INSIDE, Nodes, derivatives, fill_nodes, measure_all, trace

FINE = 12  # pieces, at least, into which an interval that is looked at is cut,
PER_STEP = 4  # and at least so many for each step in it
_CUBIC = 0.1  # tolerances that a cubic may be off by
_PARTS = 200.0
_NEAR = 4.0  # errors of a cubic by which a turning point may miss a level and yet cross it


@njit(**INSIDE)
def finer(t0, t1, notes, first, last):
    """Cut the time from ``t0`` to ``t1`` at the steps noted from ``first`` to ``last``, and finer."""
    pieces = last - first + 1
    each = max(PER_STEP, -(-FINE // pieces))
    times = np.empty(pieces * each + 1)
    times[0] = t0
    size = 1
    low = t0
    for k in range(first, last + 1):
        high = notes[k, 0] if k < last else t1
        for j in range(1, each + 1):
            t = low + (high - low) * j / each
            if t > times[size - 1]:
                times[size] = t
                size += 1
        low = high
    times[size - 1] = t1
    return times[:size]


# --- a closer look ----------------------------------------------------------------------------------------


@njit(**BARE)
def is_interesting(system, record, k, off, cubic, ending):
    """Whether a cubic that may be ``off`` by so much holds something that an item is about."""
    g0, d0, g1, d1 = cubic
    m0, m1 = turning_points(g0, d0, g1, d1)
    low, high = min(g0, g1), max(g0, g1)
    for place in (m0, m1):
        if place < 1.0:
            value = hermite(place, g0, d0, g1, d1)
            low, high = min(low, value), max(high, value)
    turns = m0 < 1.0
    off = _NEAR * off if turns else 0.0
    for i in range(record.size):
        if system.watched.items[i].quantity != k or system.watched.items[i].ends != ending:
            continue
        kind, level, best = system.watched.items[i].kind, record[i].level, record[i].best
        if is_extremum(kind):
            found = turns and (high + off > best if kind == HIGHEST else low - off < best)
        else:
            crosses = counts(kind, 1.0) if g1 > g0 else counts(kind, -1.0)
            found = (turns or crosses) and low - off < level < high + off
            found = found or (kind == DIES and turns and low < level)
        if found:
            return True
    return False


@njit(**BARE)
def parts_of(system, nodes, record, j, k, ending):
    """Return into how many parts piece ``j`` must be cut for its cubic to be as good as the solution.

    The cubic over two pieces is held against the value between them; that over one is 16 times better.
    """
    t, g, d = nodes.times, nodes.values[:, k], nodes.slopes[:, k]
    i = j if j + 2 < t.size else max(j - 1, 0)
    if i + 2 >= t.size:
        return 1
    h = t[i + 2] - t[i]
    middle = hermite((t[i + 1] - t[i]) / h, g[i], h * d[i], g[i + 2], h * d[i + 2])
    off = abs(middle - g[i + 1]) / 16.0
    ratio = off / (_CUBIC * system.rtol * max(size_of(system, k, g[j]), size_of(system, k, g[j + 1])))
    if not ratio > 1.0:
        return 1
    h = t[j + 1] - t[j]
    if not is_interesting(system, record, k, off, (g[j], h * d[j], g[j + 1], h * d[j + 1]), ending):
        return 1
    return int(min(np.ceil(1.5 * ratio**0.25), _PARTS))


@njit(**BARE)
def count_parts(system, nodes, record, ending, parts):
    """Fill in into how many parts each piece must be cut; return how many nodes that makes."""
    count = 1
    for j in range(parts.size):
        for k in range(nodes.values.shape[1]):
            parts[j] = max(parts[j], parts_of(system, nodes, record, j, k, ending))
        count += parts[j]
    return count


@njit(**INSIDE)
def refined(system, nodes, record, ending):
    """Integrate the pieces once more that are too coarse; return the nodes with those in between."""
    pieces, total = nodes.times.size - 1, nodes.values.shape[1]
    parts = np.ones(pieces, np.int64)
    count = count_parts(system, nodes, record, ending, parts)
    if count == pieces + 1:
        return nodes
    fine = Nodes(
        np.empty(count), np.empty((count, nodes.states.shape[1])), np.empty((count, total)),
        np.empty((count, total)),
    )  # fmt: skip
    x = 0
    for j in range(pieces):
        copy_node(nodes, j, fine, x)
        x += 1
        if parts[j] > 1:
            times = np.empty(parts[j] + 1)
            for y in range(times.size):
                times[y] = nodes.times[j] + (nodes.times[j + 1] - nodes.times[j]) * (y / parts[j])
            times[-1] = nodes.times[j + 1]
            nearer, done = trace(system, nodes.states[j], times)
            for y in range(1, parts[j] if done else 0):
                copy_node(nearer, y, fine, x)
                x += 1
    copy_node(nodes, pieces, fine, x)
    return Nodes(fine.times[: x + 1], fine.states[: x + 1], fine.values[: x + 1], fine.slopes[: x + 1])


@njit(**BARE)
def copy_node(source, j, target, x):
    """Copy one node."""
    target.times[x] = source.times[j]
    for i in range(source.states.shape[1]):
        target.states[x, i] = source.states[j, i]
    for k in range(source.values.shape[1]):
        target.values[x, k] = source.values[j, k]
        target.slopes[x, k] = source.slopes[j, k]


@njit(**INSIDE)
def look_closer(system, notes, times, out, record, ending):
    """Return nodes, fine enough, of the outputs ``times``; where they cannot be had, these themselves."""
    first = last = later(notes[:, 0], times[0])
    while last < notes.shape[0] and notes[last, 0] < times[-1]:
        last += 1
    pieces = finer(times[0], times[-1], notes, first, last)
    nodes, done = trace(system, out[0], pieces)
    if not done:
        total = system.watched.quantities.size
        nodes = Nodes(times, out, np.empty((times.size, total)), np.empty((times.size, total)))
        fill_nodes(system, nodes)
    else:  # what follows begins where the first integration was
        du = np.empty(out.shape[1])
        derivatives(system, times[-1], out[-1], du)
        slopes = np.empty(system.watched.quantities.size)
        measure_all(system, out[-1], du, nodes.values[-1], slopes)
    return refined(system, nodes, record, ending)


# --- what an item makes of it -----------------------------------------------------------------------------


@njit(**BARE)
def crossing(low, high, level, cubic, side):
    """Place in a piece of a cubic, between ``low`` and ``high``, where it comes to a side of a level."""
    g0, d0, g1, d1 = cubic
    return root(low, high, side * (g0 - level), side * d0, side * (g1 - level), side * d1)


@njit(**BARE)
def nothing_new(row, kind, side, before, after, t):
    """Whether going one way between two values says nothing more of an item; an extremum is recorded."""
    if is_extremum(kind):
        keep(row, kind, after, t)
        return True
    return not dies(before, after, row.level) if kind == DIES else side_of(after, row.level, side) == side


@njit(**BARE)
def follow(system, record, i, nodes, smooth):
    """Record item ``i`` along nodes; return the time at which it ends the integration, inf for none.

    Between nodes that are not ``smooth`` a quantity goes one way, and crosses nothing that counts but the
    level that it begins at.
    """
    item = system.watched.items[i]
    kind, level, k = item.kind, record[i].level, item.quantity
    side = record[i].side
    for j in range(nodes.times.size - 1):
        t, h = nodes.times[j], nodes.times[j + 1] - nodes.times[j]
        g0, g1 = nodes.values[j, k], nodes.values[j + 1, k]
        if not smooth and nothing_new(record[i], kind, side, g0, g1, nodes.times[j + 1]):
            continue
        cubic = (g0, g1 - g0, g1, g1 - g0)
        m0 = m1 = 2.0
        if smooth:
            cubic = (g0, h * nodes.slopes[j, k], g1, h * nodes.slopes[j + 1, k])
            m0, m1 = turning_points(cubic[0], cubic[1], cubic[2], cubic[3])
        low, before = 0.0, g0
        for high in (m0, m1, 1.0):
            if high > 1.0:
                continue
            after = hermite(high, g0, cubic[1], g1, cubic[3]) if high < 1.0 else g1
            if is_extremum(kind):
                keep(record[i], kind, after, t + high * h if high < 1.0 else nodes.times[j + 1])
            elif kind == DIES:
                if dies(before, after, level):
                    return t + (crossing(low, high, level, cubic, -1.0) if before > level else low) * h
            else:
                now = side_of(after, level, side)
                if now != side and counts(kind, now):
                    place = low if before == level else crossing(low, high, level, cubic, now)
                    if not item.ends:
                        happened(record, system.watched.items, i, t + place * h)
                    elif t + place * h >= item.after:
                        return t + place * h
                side = now
            low, before = high, after
    record[i].side = side
    return np.inf


@njit(**BARE)
def fill_values(system, outputs):
    """Fill in the values of the quantities that are noted with each step; of their slopes none is known."""
    out, values = outputs.states, outputs.values
    outputs.slopes[:, : system.noted] = np.nan  # until they are needed
    for k in range(system.noted):
        state = system.watched.quantities[k].state
        for j in range(outputs.times.size):
            if state >= 0:
                values[j, k] = out[j, state]
            else:
                values[j, k] = measure(system.watched, k, out[j], out[j], system.log, system.scale)[0]


@njit(**INSIDE)
def watch(system, notes, count, outputs, record, ending, held=np.inf):
    """Follow the items that end the integration, or all others, along the outputs of a segment.

    Crossings from the time ``held`` on are left to the look behind the stop at the end.

    Parameters
    ----------
    system : System
    notes : ndarray
    count : int
        Steps noted.
    outputs : Nodes
        Times and states; values are filled in, and slopes where they are needed.
    record : Record
    ending : bool

    Returns
    -------
    when : float
        Time of the first end, inf for none.
    item : int
        That ends it, -1 for none.
    """
    times, out, values = outputs.times, outputs.states, outputs.values
    notes = notes[:count]
    fill_values(system, outputs)
    hidden = np.zeros(times.size - 1, np.bool_)
    mark_all(system, notes, outputs, record, ending, hidden)
    when, item, actions = np.inf, -1, system.watched.actions
    ended = np.zeros(record.size, np.bool_)
    a = 0
    while a < hidden.size:
        b = a + 1
        while b < hidden.size and hidden[b] == hidden[a]:
            b += 1
        nodes = Nodes(times[a : b + 1], out[a : b + 1], values[a : b + 1], values[a : b + 1])
        if hidden[a]:
            nodes = look_closer(system, notes, nodes.times, nodes.states, record, ending)
        for i in range(record.size):
            if system.watched.items[i].ends == ending and not ended[i]:
                place = follow(system, record, i, nodes, hidden[a])
                ended[i] = place < np.inf
                held_back = place >= held and system.watched.items[i].kind != DIES
                if not held_back and comes_first(actions, place, i, when, item):
                    when, item = place, i
        if item >= 0 and times[b] > when + actions.moment:
            break
        a = b
    return when, item
