"""Doses as every engine takes them: flat entries that the patients point into.

An entry changes something at one time: a jump adds an amount to a state, a rate sets the constant inflow that
lasts until the next rate of that state, a set gives a state a value (reset, steady state), a parameter gets
another value, a break changes nothing: there the right-hand side may jump. Engines stop exactly at each entry
and start anew behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable

from fastcart.solvers.compile import EXACT, cached

# kinds of entries, in the order in which they come at equal times
BREAK, PARAMETER, SET, JUMP, RATE = range(5)
# Where an engine stops before a break, and starts behind it, relative to its time: what is computed as a
# multiple of a period may lie some last digits to either side.
AROUND_BREAK = 1e-15
_ONE_BREAK = 4e-15  # nearer to each other, two are one

_DIGITS = 13  # significant digits of times of doses
_NEAR_ZERO = 1e-12  # of the horizon: a break before is one at the start

Entries = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def canonical(times: np.ndarray, t_end: float) -> np.ndarray:
    """Round times to 13 significant digits, and to the horizon what lies that near to it.

    Then ``3 * 0.1`` and ``0.3`` are the same time, and no engine meets an interval too short to step over.
    """
    with np.errstate(all="ignore"):
        exponent = np.floor(np.log10(times, where=times > 0, out=np.zeros(len(times))))
        factor = 10.0 ** (_DIGITS - 1 - exponent)
        rounded = np.round(times * factor) / factor
        rounded = np.where(np.isfinite(rounded), rounded, times)  # next to the ends of what a float can hold
        return np.where(np.abs(rounded - t_end) <= 1e-12 * t_end, t_end, rounded)


@register_jitable
def between(now: float, end: float, inner: bool, around: float) -> tuple[float, float]:
    """Return the times that a right-hand side may see between two stops; ``inner`` where another follows.

    What jumps at the first is seen from behind, what jumps at the last from before, each from ``around`` of
    the time away.
    """
    low, high = now * (1.0 + around), end * (1.0 - around) if inner else end
    return (low, high) if low <= high else (0.5 * (now + end), 0.5 * (now + end))


@register_jitable
def around_breaks(kind: np.ndarray, value: np.ndarray) -> float:
    """Return how far from a patient's breaks, relative to their times, a right-hand side is evaluated."""
    around = AROUND_BREAK
    for k in range(kind.size):
        if kind[k] == BREAK:
            around = max(around, value[k])
    return around


class Changes(NamedTuple):
    """Values that states or parameters take at times."""

    row: np.ndarray
    time: np.ndarray
    place: np.ndarray  # of the state or the parameter
    value: np.ndarray


@dataclass(frozen=True)
class DosePlan:
    """Doses of many patients; those that share a schedule point at the same entries.

    Parameters
    ----------
    time : ndarray, shape (entries,)
        Sorted for each schedule; at equal times in the order of the kinds.
    state : ndarray of int, shape (entries,)
        The state, or the parameter.
    kind : ndarray of int, shape (entries,)
        `BREAK`, `PARAMETER`, `SET`, `JUMP` or `RATE`.
    value : ndarray, shape (entries,)
        Amount, amount per unit of time, or the new value; natural units.
    first, start, stop : ndarray of int, shape (patients,)
        Entries ``first`` to ``start`` are sets and jumps at time 0, which belong to the initial values;
        ``start`` to ``stop`` are all others.
    group : ndarray of int, shape (patients,)
        Patients of one group have infusions into the same states.
    infused : ndarray of bool, shape (groups, states)
    """

    time: np.ndarray
    state: np.ndarray
    kind: np.ndarray
    value: np.ndarray
    first: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    group: np.ndarray
    infused: np.ndarray

    @property
    def entries(self) -> Entries:
        """What engines take: start, stop, time, state, kind, value."""
        return self.start, self.stop, self.time, self.state, self.kind, self.value

    def take(self, rows: slice | np.ndarray) -> DosePlan:
        """Return the doses of some of the patients."""
        return replace(
            self, first=self.first[rows], start=self.start[rows], stop=self.stop[rows], group=self.group[rows]
        )

    def add_initial(self, y0: np.ndarray) -> None:
        """Apply sets and jumps at time 0 to initial values (patients x states, natural units), in place."""
        count = self.start - self.first
        for k in range(int(count.max(initial=0))):
            rows = np.flatnonzero(count > k)
            entry = self.first[rows] + k
            state, value = self.state[entry], self.value[entry]
            y0[rows, state] = np.where(self.kind[entry] == SET, value, y0[rows, state] + value)

    def parameters(self, p: np.ndarray) -> np.ndarray | Callable[[Any], np.ndarray]:
        """Return the parameters, or where they switch a function of time that gives them.

        Parameters
        ----------
        p : ndarray, shape (patients, parameters)
            At time 0. The function takes one time for all, or an array with one for each.
        """
        if not (self.kind == PARAMETER).any():
            return p
        count = self.stop - self.start
        row = np.repeat(np.arange(len(count)), count)
        entry = np.arange(count.sum()) + np.repeat(self.start - (np.cumsum(count) - count), count)
        switches = self.kind[entry] == PARAMETER
        row, entry = row[switches], entry[switches]

        def at(t: Any) -> np.ndarray:
            values, due = p.copy(), self.time[entry] <= np.broadcast_to(t, len(p))[row]
            values[row[due], self.state[entry[due]]] = self.value[entry[due]]  # the last one holds
            return values

        return at

    def parts(self) -> Iterator[tuple[np.ndarray, tuple[bool, ...], DosePlan | None]]:
        """Split the patients so that the solution of none depends on the doses of the others.

        Yields
        ------
        rows : ndarray of int
        infused : tuple of bool
            States that receive an infusion; empty where there is none.
        doses : DosePlan or None
            Of these rows; None where nothing is given after time 0.
        """
        dosed = self.stop > self.start
        for group in np.unique(self.group):
            for given in (False, True):
                rows = np.flatnonzero((self.group == group) & (dosed == given))
                if rows.size:
                    flags = self.infused[group]
                    infused = tuple(bool(flag) for flag in flags) if flags.any() else ()
                    yield rows, infused, self.take(rows) if given else None


def entries_of(plan: DosePlan | None, patients: int) -> Entries:
    """Return the entries of a plan, or none for each patient."""
    if plan is not None:
        return plan.entries
    none = np.zeros(patients, dtype=np.int64)
    return none, none, np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)


def make_plan(
    schedules: int, states: int, row: np.ndarray, time: np.ndarray, end: np.ndarray, state: np.ndarray,
    amount: np.ndarray, t_end: float, breaks: tuple[np.ndarray, np.ndarray] | None = None, *,
    switches: Changes | None = None, sets: Changes | None = None,
) -> DosePlan | None:  # fmt: skip
    """Turn doses into a plan with one patient for each schedule.

    Parameters
    ----------
    schedules, states : int
    row : ndarray of int, shape (doses,)
        Whose dose it is, from 0 to ``schedules - 1``.
    time, end : ndarray, shape (doses,)
        Times from `canonical`; a dose whose end is not after its time is a bolus.
    state : ndarray of int, shape (doses,)
    amount : ndarray, shape (doses,)
        Natural units; negative for a removal, which is a bolus.
    t_end : float
        Doses after this horizon are left out.
    breaks : (ndarray of int, ndarray), optional
        Whose right-hand side may jump, and when; those at 0 and beyond the horizon are left out.
    switches, sets : Changes, optional
        Parameters, later than 0, and states that get new values; each at most once at a time.

    Returns
    -------
    DosePlan or None
        None where no dose is left.
    """
    # a dose of nothing is no dose: it neither stops an engine nor changes how a state is integrated
    given = (amount != 0) & (time <= t_end)
    row, time, end, state, amount = (values[given] for values in (row, time, end, state, amount))
    lasts = end > time
    rates = _rates(row[lasts], state[lasts], time[lasts], end[lasts], amount[lasts], t_end)
    jumps = (row[~lasts], time[~lasts], state[~lasts], amount[~lasts])
    others = [part[:2] for part in (jumps, rates, _until(switches, t_end), _until(sets, t_end))]
    parts = (_stops(breaks, others, t_end), _until(switches, t_end), _until(sets, t_end), jumps, rates)
    row, time, state, value = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    kind = np.repeat([BREAK, PARAMETER, SET, JUMP, RATE], [len(part[0]) for part in parts])
    if not len(row):
        return None
    order = np.lexsort((state, kind, time, row))
    twice = np.ones(len(order) - 1, dtype=bool)
    for values in (state, kind, time, row):
        twice &= values[order[1:]] == values[order[:-1]]
    if twice.any():  # the value is the last key, so that sums do not depend on the order of rows in the table
        order = np.lexsort((value, state, kind, time, row))
    row, time, state, kind, value = (values[order] for values in (row, time, state, kind, value))
    bounds = np.searchsorted(row, np.arange(schedules + 1))
    at_start = (time == 0) & ((kind == JUMP) | (kind == SET))
    at_zero = np.bincount(row[at_start], minlength=schedules)
    flags = np.zeros((schedules, states), dtype=bool)
    flags[row[kind == RATE], state[kind == RATE]] = True
    group = np.zeros(schedules, dtype=np.int64)
    for j in np.flatnonzero(flags.any(axis=0)):
        group = np.unique(2 * group + flags[:, j], return_inverse=True)[1]
    _, member = np.unique(group, return_index=True)
    return DosePlan(
        time, state, kind, value, bounds[:-1], bounds[:-1] + at_zero, bounds[1:], group, flags[member]
    )


def _until(changes: Changes | None, t_end: float) -> tuple[np.ndarray, ...]:
    if changes is None:
        return np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64), np.empty(0)
    return tuple(column[changes.time <= t_end] for column in changes)


def _stops(
    breaks: tuple[np.ndarray, np.ndarray] | None, others: Sequence[tuple[np.ndarray, ...]], t_end: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, times, states and values of breaks, each once; the value is how wide one is.

    Their times are what the right-hand side compares with, to the last digit, unless one of the ``others`` is
    due at the same time.
    """
    row, time = (np.empty(0, np.int64), np.empty(0)) if breaks is None else breaks
    rounded = canonical(time, t_end)
    inside = (rounded > _NEAR_ZERO * t_end) & (rounded <= t_end)
    row, time, rounded = row[inside], time[inside], rounded[inside]
    order = np.lexsort((time, rounded, row))
    row, time, rounded = row[order], time[order], rounded[order]
    new = (np.diff(row, prepend=-1) != 0) | (np.diff(time, prepend=-1.0) > _ONE_BREAK * time)
    starts = np.flatnonzero(new)
    spread = (np.maximum.reduceat(time, starts) if len(starts) else time) - time[new]
    row, time, rounded = row[new], time[new], rounded[new]
    dosed = np.zeros(len(row), dtype=bool)
    if len(row) and sum(len(other[0]) for other in others):
        due = {pair for other in others for pair in zip(other[0].tolist(), other[1].tolist(), strict=True)}
        dosed[:] = [pair in due for pair in zip(row.tolist(), rounded.tolist(), strict=True)]
    taken = np.where(dosed | (rounded == t_end), rounded, time)
    apart = AROUND_BREAK + (np.abs(taken - time) + spread) / taken
    return row, taken, np.zeros(len(row), dtype=np.int64), apart


def _rates(row, state, begin, end, amount, t_end):
    """Turn infusions into rates to be set: rows, times, states, values."""
    if not len(row):
        return row, begin, state, amount
    with np.errstate(over="ignore"):  # an infinite rate is found by the engines
        rate = amount / (end - begin)
    order = np.lexsort((rate, end, begin, state, row))
    row, state, begin, end, rate = (values[order] for values in (row, state, begin, end, rate))
    new = (np.diff(row, prepend=-1) != 0) | (np.diff(state, prepend=-1) != 0)
    bounds = np.append(np.flatnonzero(new), len(row))
    source = np.empty(2 * len(row), dtype=np.int64)
    times, values = np.empty(2 * len(row)), np.empty(2 * len(row))
    kernel = cached(_set_rates, "schedules of infusions", **EXACT)
    count = kernel(bounds, begin, end, rate, t_end, source, times, values)
    source = source[:count]
    return row[source], times[:count], state[source], values[:count]


def _set_rates(bounds, begin, end, rate, t_end, source, times, values):
    """For each patient and state add up what runs, anew at each change: behind the last it is exactly 0."""
    count = 0
    for g in range(bounds.size - 1):
        a, b = bounds[g], bounds[g + 1]
        changes = np.sort(np.concatenate((begin[a:b], end[a:b])))
        for c in range(changes.size):
            t = changes[c]
            if t >= t_end:
                break
            if c > 0 and t == changes[c - 1]:
                continue
            total = 0.0
            for k in range(a, b):
                if begin[k] > t:
                    break
                if t < end[k]:
                    total += rate[k]
            source[count] = a
            times[count] = t
            values[count] = total
            count += 1
    return count
