"""What each patient is given and when, where it depends on the patient: lag, steady state, reset, switches.

A `Regimen` holds the rows of a table of doses until the patients of a chunk are known, and turns them into
entries of `fastcart.solvers.doses`. Rows at one time count in the order of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fastcart.dose_tables import DoseRecords, Numbers
from fastcart.errors import InputError
from fastcart.solvers.doses import Changes, DosePlan, canonical, make_plan
from fastcart.solvers.steady import Repeated
from fastcart.solvers.system import System

Compute = Callable[[dict[str, np.ndarray], int], Mapping[str, np.ndarray]]
Steady = Callable[[Repeated], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Regimen:
    """Doses that depend on the patient.

    Parameters
    ----------
    system : System
    records : DoseRecords
        Sorted by patient and time.
    members : ndarray of int, shape (patients,)
        The numbers of the patients among all.
    t_end : float
    breaks : (ndarray of int, ndarray) or None
        Whose right-hand side may jump (by number among all, sorted), and when.
    stops : (ndarray of int, ndarray), optional
        The same by the place among ``members``, where it depends on more than the patient; then these count.
    """

    system: System
    records: DoseRecords
    members: np.ndarray
    t_end: float
    breaks: tuple[np.ndarray, np.ndarray] | None = None
    stops: tuple[np.ndarray, np.ndarray] | None = None

    def take(self, rows: slice | np.ndarray) -> Regimen:
        """Return the doses of some of the patients."""
        return replace(self, members=self.members[rows])

    def plan(
        self, y0: np.ndarray, p: np.ndarray, compute: Compute, steady: Steady
    ) -> tuple[DosePlan | None, np.ndarray]:
        """Make the entries of the patients.

        Parameters
        ----------
        y0 : ndarray, shape (patients, states)
        p : ndarray, shape (patients, parameters)
            Both get what a switch at time 0 makes of them, in place.
        compute : callable
            Gives the defaults that follow from other columns, of so many rows.
        steady : callable
            Finds steady states, see `fastcart.solvers.steady.steady_states`.

        Returns
        -------
        plan : DosePlan or None
        lost : ndarray of bool, shape (patients,)
            Who has no steady state.
        """
        given = _Given(self, y0, p)
        switches = given.switch(compute)
        begin = y0.copy()
        row, time, end, state, amount = given.doses()
        sets, jumps, lost = given.steady_states(begin, steady)
        row, time, end, state, amount = (
            np.concatenate([a, b]) for a, b in zip((row, time, end, state, amount), jumps, strict=True)
        )
        plan = make_plan(
            len(y0), y0.shape[1], row, time, end, state, amount, self.t_end, self._stops(), switches=switches,
            sets=sets,
        )  # fmt: skip
        return plan, lost

    def _stops(self) -> tuple[np.ndarray, np.ndarray] | None:
        if self.stops is not None or self.breaks is None:
            return self.stops
        row, time = self.breaks
        first = np.searchsorted(row, self.members)
        count = np.searchsorted(row, self.members, side="right") - first
        return np.repeat(np.arange(len(count)), count), time[ranges(first, count)]


def ranges(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return ``first[0], first[0] + 1, ...``, so many from each."""
    return np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)


class _Given:
    """The rows of the patients of a chunk, one after the other."""

    def __init__(self, regimen: Regimen, y0: np.ndarray, p: np.ndarray):
        records, patients = regimen.records, len(regimen.members)
        self.records, self.system, self.t_end = records, regimen.system, regimen.t_end
        self.y0, self.p = y0, p
        if records.shared:
            first, count = np.zeros(patients, np.int64), np.full(patients, len(records.time))
        else:
            first = np.searchsorted(records.row, regimen.members)
            count = np.searchsorted(records.row, regimen.members, side="right") - first
        self.row = np.repeat(np.arange(patients), count)
        self.rec = ranges(first, count)
        self.time = records.time[self.rec]
        self.state = records.state[self.rec]
        self.start = np.repeat(np.cumsum(count) - count, count)  # the first row of the same patient
        self.path: dict[int, np.ndarray] = {}  # parameters that switch, at each row
        self.own = np.array([not state.computed for state in self.system.states])

    def switch(self, compute: Compute) -> Changes | None:
        """Follow the parameters that switch; return what changes later than at time 0."""
        place = np.arange(len(self.row))
        for column, k in enumerate(self.records.switched):
            values = self.records.values[self.rec, column]
            last = np.maximum.accumulate(np.where(np.isnan(values), -1, place))
            self.path[k] = np.where(last >= self.start, values[last], self.p[self.row, k])
        if not self.path:
            return None
        self._compute(compute)
        behind = np.append((np.diff(self.row) != 0) | (np.diff(self.time) != 0), True)
        final = np.flatnonzero(behind)  # of the rows of one patient at one time, the last
        row, time = self.row[final], self.time[final]
        first = np.diff(row, prepend=-1) != 0
        changes = []
        for k, path in self.path.items():
            value = path[final]
            before = np.where(first, self.p[row, k], np.roll(value, 1))
            changed = (value != before) & (time > 0)
            changes.append((row[changed], time[changed], np.full(changed.sum(), k), value[changed]))
            now = time == 0
            self.p[row[now], k] = value[now]
        return Changes(*(np.concatenate(columns) for columns in zip(*changes, strict=True)))

    def _compute(self, compute: Compute) -> None:
        """Let defaults that are computed follow the parameters that switch, and initial values at time 0."""
        names, states = list(self.system.parameters), self.system.state_names
        values = {
            name: self.path.get(k, self.p[self.row, k]) for k, name in enumerate(names)
        } | {name: self.y0[self.row, i] for i, name in enumerate(states)}  # fmt: skip
        found = compute(values, len(self.row))
        now = self.time == 0
        for name, value in found.items():
            if name in names:
                self.path[names.index(name)] = np.broadcast_to(value, len(self.row)).astype(float)
            else:
                self.y0[self.row[now], states.index(name)] = np.broadcast_to(value, len(self.row))[now]

    def numbers(self, cells: Numbers, what: str) -> np.ndarray:
        """Return a column, with each patient's own parameters at the time of the row."""
        own = cells.take(self.rec)
        values = own.value.copy()
        for k in np.unique(own.of[own.of >= 0]):
            rows = own.of == k
            values[rows] = self.path[k][rows] if k in self.path else self.p[self.row[rows], k]
            wrong = ~(values[rows] >= 0) | np.isinf(values[rows])
            if wrong.any():
                raise InputError(
                    f"The {what} {self.system.parameters[k]!r} of a dose is {values[rows][wrong][0]:g} for a "
                    "patient; it must be a number from 0 on."
                )
        return values

    def doses(self) -> tuple[np.ndarray, ...]:
        """Return patients, begins, ends, states and amounts of all boluses and infusions."""
        records, time = self.records, self.time
        self.lag = self.numbers(records.lag, "lag")
        self.amount = records.amount[self.rec] * self.numbers(records.bioavailability, "bioavailability")
        self.length = self.numbers(records.duration, "duration")
        self.rate = self.numbers(records.rate, "rate")
        flows = (records.rate.value[self.rec] > 0) | (records.rate.of[self.rec] >= 0)
        if (flows & (self.rate == 0) & (self.amount > 0)).any():
            raise InputError("The rate of a dose is 0 for a patient; it must be a positive number.")
        with np.errstate(all="ignore"):
            self.length = np.where(flows, self.amount / self.rate, self.length)
        self.every, steady = records.every[self.rec], records.steady[self.rec]
        self.until = self._cut_off(records.reset[self.rec] | (steady == 1))
        dose = np.flatnonzero((self.state >= 0) & (self.amount != 0))
        begin, every = time[dose] + self.lag[dose], self.every[dose]
        with np.errstate(all="ignore"):
            room = np.floor((self.t_end * (1 + 1e-12) - begin) / every)
        more = np.clip(np.where(every > 0, room, 0), 0, records.repeats[self.rec][dose]).astype(np.int64)
        e = np.repeat(dose, more + 1)
        k = ranges(np.zeros(len(more), np.int64), more + 1)
        begin = canonical(time[e] + self.lag[e] + k * self.every[e], self.t_end)
        return self._cut(e, begin, canonical(begin + self.length[e], self.t_end), self.amount[e])

    def _cut(
        self, e: np.ndarray, begin: np.ndarray, end: np.ndarray, amount: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Leave off what comes after the next reset, and end there what lasts longer."""
        until = self.until[e]
        cut = np.minimum(end, until)
        with np.errstate(all="ignore"):
            part = np.where(cut < end, (cut - begin) / (end - begin), 1.0)
        keep = begin < until
        return (self.row[e][keep], begin[keep], cut[keep], self.state[e][keep], (amount * part)[keep])

    def _cut_off(self, cuts: np.ndarray) -> np.ndarray:
        """Return the time of the next reset of each row's patient, infinite where there is none."""
        self.cuts = cuts
        places = np.append(np.flatnonzero(cuts), len(cuts))
        following = places[
            np.searchsorted(places, np.arange(len(cuts)), side="right").clip(max=len(places) - 1)
        ]
        same = (following < len(cuts)) & (self.row[following.clip(max=len(cuts) - 1)] == self.row)
        return np.where(same, self.time[following.clip(max=len(cuts) - 1)], np.inf)

    def steady_states(
        self, begin: np.ndarray, steady: Steady
    ) -> tuple[Changes | None, tuple[np.ndarray, ...], np.ndarray]:
        """Return the states that resets and steady states set, what they add, and whose were not found."""
        lost = np.zeros(len(begin), dtype=bool)
        code = self.records.steady[self.rec]
        asked = np.flatnonzero((code > 0) & (self.state >= 0) & (self.time <= self.t_end))
        states = np.zeros((len(self.row), begin.shape[1]))
        states[self.cuts] = begin[self.row[self.cuts]]
        if asked.size:
            states[asked], found = steady(self._repeated(asked, begin))
            lost[self.row[asked[~found]]] = True
        own = np.flatnonzero(self.own)
        cut = np.flatnonzero(self.cuts)
        last = np.append((np.diff(self.row[cut]) != 0) | (np.diff(self.time[cut]) != 0), True)
        cut = cut[last[: len(cut)]]
        # a reset with a steady state that adds: first the start again, then what is added
        start = np.where((code == 2)[:, np.newaxis], begin[self.row], states)
        sets = Changes(
            np.repeat(self.row[cut], len(own)), np.repeat(self.time[cut], len(own)), np.tile(own, len(cut)),
            start[cut][:, own].ravel(),
        )  # fmt: skip
        added = asked[code[asked] == 2]
        adds = (
            np.repeat(self.row[added], len(own)), np.repeat(self.time[added], len(own)),
            np.repeat(self.time[added], len(own)), np.tile(own, len(added)), states[added][:, own].ravel(),
        )  # fmt: skip
        jumps = tuple(np.concatenate([a, b]) for a, b in zip(adds, self._running(asked), strict=True))
        return sets if len(cut) else None, jumps, lost

    def _repeated(self, asked: np.ndarray, begin: np.ndarray) -> Repeated:
        endless = self.every[asked] == 0
        late = ~endless & (self.lag[asked] > self.every[asked] * (1 + 1e-12))
        if late.any():
            raise InputError(
                f"The lag {self.lag[asked][late][0]:g} of a dose at steady state is longer than the interval "
                f"{self.every[asked][late][0]:g} between its doses for a patient; shorten one, or give the "
                "doses one by one."
            )
        p = self.p[self.row[asked]]
        for k, path in self.path.items():
            p[:, k] = path[asked]
        return Repeated(
            begin[self.row[asked]], p, self.state[asked], np.where(endless, self.rate, self.amount)[asked]
            if endless.any() else self.amount[asked], self.length[asked],
            np.minimum(self.lag, self.every)[asked], self.every[asked],
        )  # fmt: skip

    def _running(self, asked: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return what still runs, at a steady state, of infusions of the intervals before."""
        asked = asked[(self.every[asked] > 0) & (self.length[asked] > 0)]
        before = np.ceil((self.lag[asked] + self.length[asked]) / self.every[asked]).astype(np.int64)
        e = np.repeat(asked, before)
        j = ranges(np.ones(len(before), np.int64), before)
        end = canonical(self.time[e] + self.lag[e] - j * self.every[e] + self.length[e], self.t_end)
        left = end > self.time[e] * (1 + 1e-12)
        e, end = e[left], end[left]
        amount = self.amount[e] / self.length[e] * (end - self.time[e])
        return self._cut(e, self.time[e], end, amount)
