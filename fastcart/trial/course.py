"""The course of each patient under one arm, as if nobody died: when what happens, segment by segment.

Hazards of death feed back on nothing, so that deaths, and hazards of another size, are laid over this course
afterwards; see `fastcart.trial.outcomes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import pandas as pd

from fastcart.batch import first_method
from fastcart.checks import number, user_code
from fastcart.errors import InputError
from fastcart.events import Event
from fastcart.model import Model
from fastcart.models import for_trial
from fastcart.options import OF_A_COURSE, SolveKeywords, SolveOptions, chosen_options
from fastcart.solvers.status import Status
from fastcart.trial.adapter import GRADES, TrialAdapter
from fastcart.trial.segments import Patients, Segment, Segments
from fastcart.typing_names import Direction

__all__ = [
    "BLASTS_5_PERCENT",
    "EXTINCTION",
    "GRADES",
    "HORIZON",
    "MARKS",
    "MRD",
    "OPTIONS",
    "Intervention",
    "course",
    "first_time",
    "marks",
    "trial_options",
]

MRD = 1e8  # cells: one in 10 000 of a marrow of 1e12
BLASTS_5_PERCENT = 5e10
B_FROM = 45.0  # day from which B cells may be called recovered
EXTINCTION = 1.0  # cells
HORIZON = 730.0
MARKS = (7.0, 14.0, 28.0, 60.0, 90.0, 180.0, 270.0, 365.0, 455.0, 545.0, 730.0)
"""Days, besides 0 and the horizon, at which the two cumulative hazards are kept."""
OPTIONS = SolveOptions(t_end=HORIZON, rtol=1e-5, extinction=EXTINCTION)
"""How patients of a trial are solved where nothing else is said; t_end is the follow-up in days."""

States = pd.DataFrame
Now = Mapping[str, np.ndarray]  # states, parameters and thresholds by name
Intervention = tuple[float, Callable[[States, pd.DataFrame], States]]

_NEVER = 1e300  # a threshold that is not reached


@dataclass(frozen=True)
class _First:
    """A first time in the course of a patient.

    ``key`` names the time in the table, ``of`` the quantity of the model, ``level`` a number or a column.
    """

    key: str
    event: str
    of: str
    level: float | str
    at_start: Callable[[Now], np.ndarray]
    direction: Direction = "up"
    after: float = 0.0

    def reached(self, now: Now, begin: float) -> np.ndarray:
        """Return who is beyond the level already where a segment begins."""
        limit = now[self.level] if isinstance(self.level, str) else self.level
        value = self.at_start(now)
        return ((value < limit) if self.direction == "down" else (value > limit)) & (begin >= self.after)


def _firsts(adapter: TrialAdapter) -> list[_First]:
    """Return the first times that are looked for in a model; the others never come."""

    def state(name: str) -> Callable[[Now], np.ndarray]:
        return lambda now: now[name]

    burden, marker = adapter.burden, adapter.marker
    found = [_First("t_CR", "remission", burden.name, MRD, burden.of, "down")]
    if adapter.escaped is not None:
        found.append(_First("t_negative", "negative", adapter.escaped.name, 0.5, adapter.escaped_share))
    for grade, level in enumerate(adapter.grades, 1):
        found.append(_First(f"t_grade{grade}", f"grade{grade}", marker.name, level, marker.of))
    if adapter.recovery is not None:
        B = adapter.recovery.state
        found.append(_First("t_B_recovery", "B_recovery", B, _RECOVERED, state(B), after=B_FROM))
    for kind, column, hazard in _deaths(adapter):
        found.append(_First(f"t_{kind}", kind, hazard, column, state(hazard)))
    return found


_TIMES = (
    "t_CR", "t_negative", "t_grade1", "t_grade2", "t_grade3", "t_grade4", "t_B_recovery", "t_toxic",
    "t_leukemia", "t_relapse",
)  # fmt: skip
_RECOVERED = "B_recovered"  # column of the number of cells above which they are back


def _deaths(adapter: TrialAdapter) -> list[tuple[str, str, str]]:
    """Return kind, column of the luck of each patient, and cumulative hazard of the deaths of a model."""
    hazards = (("toxic", "U1", adapter.toxic), ("leukemia", "U2", adapter.disease_death))
    return [(kind, luck, hazard.state) for kind, luck, hazard in hazards if hazard is not None]


def _events(adapter: TrialAdapter, firsts: list[_First]) -> list[Event]:
    blasts: dict[str, Any] = {"of": adapter.burden.name, "threshold": BLASTS_5_PERCENT, "direction": "up"}
    remission, *others = (
        Event(f.event, of=f.of, threshold=f.level, direction=f.direction, after=f.after) for f in firsts
    )
    return [remission, Event("blasts", **blasts), Event("relapse", **blasts, after="remission"), *others]


def by_number(patients: pd.DataFrame) -> pd.DataFrame:
    """Return the patients with the column ``patient``: their places, where they have none."""
    return patients if "patient" in patients else patients.assign(patient=np.arange(len(patients)))


def course(
    patients: pd.DataFrame,
    doses: pd.DataFrame | None = None,
    *,
    interventions: Iterable[Intervention] = (),
    model: str | Model | TrialAdapter = "b_all",
    threads: int | None = None,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolveKeywords],
) -> pd.DataFrame:
    """Solve the patients of one arm, death-free, and return when what happens.

    Parameters
    ----------
    patients : DataFrame
        Columns of the model, and any others; ``U1`` and ``U2`` are the cumulative hazards of toxic death and
        of death by leukemia at which a patient dies (default: never).
    doses : DataFrame, optional
        As for `fastcart.solve`, e.g. from `TrialAdapter.infusions`.
    interventions : iterable of (day, function)
        ``function(states, patients)`` returns the states with which everyone goes on, before the infusions of
        that day; e.g. `fastcart.models.b_all.lymphodeplete`.
    model : str, Model or TrialAdapter
        As for `fastcart.models.for_trial`.
    threads : int, optional
    options, **keywords
        How to solve, see `trial_options`; ``t_end`` is the horizon in days.

    Returns
    -------
    DataFrame
        One row per patient, days and cells; what never happens is infinite, what failed is NaN. The letters
        are those of the trial, whatever the model calls it: S burden, L and R the parts of it with and
        without the target, C marker of toxicity, T CAR-T cells, B normal cells, Ht and Hl hazards.

        - ``patient``, ``status``, ``t_end``
        - ``t_CR``: first time with S below 1e8; ``t_relapse``: first time after it with S above 5e10, and
          ``relapse_negative``: whether R > L then
        - ``S0``, ``S28``, ``nadir_L`` (of the model's burden), ``final_L``, ``final_R``
        - ``t_grade1`` to ``t_grade4``: first times with C above the grades of the adapter; ``peak_C``,
          ``t_peak_C``, ``auc_C`` (e.g. pg/ml days)
        - ``peak_T``, ``t_peak_T``: most CAR-T cells
        - ``t_B_recovery``: first time from day 45 on with B above what the adapter says
        - ``Ht_<day>``, ``Hl_<day>``: cumulative hazards on the `MARKS` and at the horizon
        - ``t_toxic``, ``t_leukemia``: when they reach U1 and U2.

    Raises
    ------
    InputError
        For bad input; see `fastcart.solve`.
    """
    adapter = for_trial(model)
    model = adapter.model
    chosen = trial_options(options, keywords, course)
    horizon = chosen.horizon(model)
    stops = _stops(interventions, horizon)
    table = by_number(patients.reset_index(drop=True))
    everyone = Patients(_inputs(table, adapter))
    now = everyone.now
    walk = _Course.start(table, horizon, adapter)
    events = _events(adapter, walk.firsts)
    marker, cells = adapter.marker.name, adapter.cells.name
    segments = Segments(model, replace(chosen, peaks=(marker, cells), auc=(marker,)), walk.patient, threads)
    bounds = sorted({0.0, horizon, *(day for day, _ in stops)})
    for k, begin in enumerate(bounds[:-1]):
        end = bounds[k + 1]
        for _, change in (stop for stop in stops if stop[0] == begin):
            everyone.put(change(everyone.states(model.state_names), table), model.state_names)
        days = [day for day in marks(horizon) if begin < day <= end]
        if begin < B_FROM < end:  # where a segment begins then, its start tells
            days = sorted({*days, B_FROM})
        segment = Segment(
            end - begin, tuple(day - begin for day in days), walk.kept,
            tuple(_counted_from(event, begin) for event in events if _counts_before(event, end)),
        )  # fmt: skip
        solution = segments(everyone, segment, _between(doses, begin, end, last=end == horizon))
        ok = solution.status == Status.ok
        walk.follow(now, solution.endpoints, begin, ok)
        walk.relapse(solution.endpoints, begin)
        if days:
            walk.keep(solution.saved, days, now)
        # a failed patient goes on from where the segment began, and stays failed
        for j, name in enumerate(model.state_names):
            # a state that has faded to zero may lie below it by less than the tolerance
            now[name][:] = np.where(ok, np.maximum(solution.final[:, j], 0.0), now[name])
    return walk.frame(now)


def trial_options(
    options: SolveOptions | None, keywords: Mapping[str, Any], function: Callable[..., Any]
) -> SolveOptions:
    """Return how patients of a trial are to be solved, as a function was given it whole or by keywords.

    Parameters
    ----------
    options : SolveOptions, optional
        Default `OPTIONS`, which is also what keywords are added to: ``rtol`` 1e-5, ``extinction`` below one
        cell, 730 days. Given whole they stand for all of these, but for the horizon where they name none.
    keywords : mapping
        Single options; they count over those given whole.
    function : callable
        What was called, for its own names in the sentence about an unknown keyword.

    Raises
    ------
    InputError
        For unknown and bad options, and for peaks, areas, events and breaks, of which a trial has its own.
    """
    chosen = chosen_options(OPTIONS if options is None else options, keywords, function, "A trial")
    for name in OF_A_COURSE:
        if name in chosen.changed():
            raise InputError(
                f"A trial takes no {name!r}: it looks for what its outcomes need, and stops on its own days; "
                "use fastcart.solve for more."
            )
    return chosen if chosen.t_end is not None else replace(chosen, t_end=HORIZON)


def begins_with(adapter: TrialAdapter, options: SolveOptions) -> str | None:
    """Return the method with which the solver begins a course over the whole horizon, for manifests."""
    return first_method(adapter.model, replace(options, auc=(adapter.marker.name,)))


def marks(horizon: float) -> list[float]:
    """Return the days on which the cumulative hazards are kept."""
    return [day for day in MARKS if day < horizon] + [horizon]


def _counts_before(event: Event, end: float) -> bool:
    """Whether an event may count before a segment ends."""
    return isinstance(event.after, str) or event.after < end


def _counted_from(event: Event, begin: float) -> Event:
    """Return an event with its time ``after`` counted from the beginning of a segment."""
    if isinstance(event.after, str) or not event.after:
        return event
    return replace(event, after=max(0.0, event.after - begin))


def _stops(interventions: Iterable[Intervention], horizon: float) -> list[Intervention]:
    stops = sorted(interventions, key=lambda item: item[0])
    for day, _ in stops:
        if not 0.0 < number(day, "The day of an intervention") < horizon:
            raise InputError(f"The day {day:g} of an intervention must lie between 0 and {horizon:g}.")
    return stops


def _inputs(table: pd.DataFrame, adapter: TrialAdapter) -> pd.DataFrame:
    """Return the columns that the solver takes: states, parameters that are given, thresholds."""
    from fastcart.patients import check_patients

    model = adapter.model
    known = {*model.parameter_names, *model.state_names, "patient"}
    given = table[[name for name in table.columns if name in known]]
    y0, p = check_patients(model, given).arrays(0, len(table))
    # columns one by one make a frame slow; it is made of all of them at the end
    now: dict[str, np.ndarray] = {str(name): given[name].to_numpy() for name in given.columns}
    for j, name in enumerate(model.state_names):
        now[name] = y0[:, j]
    for j, name in enumerate(model.parameter_names):
        if name in now:
            now[name] = p[:, j]
    for _, name, _ in _deaths(adapter):
        drawn = table[name].to_numpy(dtype=float) if name in table else np.full(len(table), np.inf)
        now[name] = np.minimum(drawn, _NEVER)
    if adapter.recovery is not None:  # the last, as it is looked for late
        with user_code("The level of recovery of the adapter", locate=True):
            now[_RECOVERED] = adapter.recovery.level(dict(zip(model.parameter_names, p.T, strict=True)))
    del now["patient"]
    return pd.DataFrame(now)


def _between(doses: pd.DataFrame | None, begin: float, end: float, *, last: bool) -> pd.DataFrame | None:
    """Return the doses from ``begin`` on and before ``end``, with times counted from ``begin``."""
    if doses is None:
        return None
    time = doses["time"].to_numpy()
    rows = (time >= begin) & ((time <= end) if last else (time < end))
    return doses[rows].assign(time=time[rows] - begin) if rows.any() else None


@dataclass
class _Course:
    """First times and peaks over all segments so far."""

    adapter: TrialAdapter
    firsts: list[_First]
    patient: np.ndarray
    horizon: float
    values: dict[str, np.ndarray]
    ok: np.ndarray

    @classmethod
    def start(cls, table: pd.DataFrame, horizon: float, adapter: TrialAdapter) -> _Course:
        n = len(table)
        values = {name: np.full(n, np.inf) for name in (*_TIMES, "nadir_L")}
        values |= {name: np.zeros(n) for name in ("peak_C", "t_peak_C", "peak_T", "t_peak_T", "auc_C")}
        values |= {name: np.full(n, np.nan) for name in ("S0", "S28")}
        ok = np.ones(n, dtype=bool)
        return cls(adapter, _firsts(adapter), table["patient"].to_numpy(), horizon, values, ok)

    @property
    def kept(self) -> tuple[str, ...]:
        """What is asked for on fixed days."""
        names = [hazard for _, _, hazard in _deaths(self.adapter)]
        # states alone: with an observable among them all states would be kept, for it to be computed of
        names += self.adapter.burden.states or (self.adapter.burden.name,)
        recovery = self.adapter.recovery
        return tuple(dict.fromkeys(names if recovery is None else [*names, recovery.state]))

    def follow(self, now: Now, ends: Now, begin: float, ok: np.ndarray) -> None:
        """Take over what a segment says, and of whom; ``now`` are the states with which it began."""
        v = self.values
        self.ok &= ok
        if begin == 0.0:
            v["S0"] = np.array(self.adapter.burden.of(now))
        for first in self.firsts:
            # what cannot happen yet was not looked for
            crossed = begin + ends.get(f"event_{first.event}", np.full(len(ok), np.nan))
            time = np.where(first.reached(now, begin), begin, crossed)
            v[first.key] = np.fmin(v[first.key], time)
        for letter, name in (("C", self.adapter.marker.name), ("T", self.adapter.cells.name)):
            higher = ends[f"peak_{name}"] > v[f"peak_{letter}"]
            v[f"t_peak_{letter}"] = np.where(higher, begin + ends[f"t_peak_{name}"], v[f"t_peak_{letter}"])
            v[f"peak_{letter}"] = np.where(higher, ends[f"peak_{name}"], v[f"peak_{letter}"])
        v["auc_C"] = v["auc_C"] + ends[f"auc_{self.adapter.marker.name}"]
        v["nadir_L"] = np.fmin(v["nadir_L"], ends["nadir"])

    def relapse(self, ends: Now, begin: float) -> None:
        """Note the first crossing of 5 % blasts after remission, which may lie in the same segment."""
        v = self.values
        time = begin + np.where(v["t_CR"] <= begin, ends["event_blasts"], ends["event_relapse"])
        new = np.isfinite(v["t_CR"]) & np.isinf(v["t_relapse"]) & np.isfinite(time)
        v["t_relapse"] = np.where(new, time, v["t_relapse"])

    def keep(self, path: Now, days: list[float], now: Now) -> None:
        """Keep what is asked for on fixed days: hazards, the burden of day 28, whether B cells are back."""

        def on_days(name: str) -> np.ndarray:
            return path[name].reshape(-1, len(days))

        chosen = [(k, day) for k, day in enumerate(days) if day in marks(self.horizon)]
        hazards = {kind: on_days(state) for kind, _, state in _deaths(self.adapter)}
        for letter, kind in (("Ht", "toxic"), ("Hl", "leukemia")):
            values = hazards.get(kind, np.zeros((len(self.ok), len(days))))
            self.values |= {f"{letter}_{day:g}": values[:, k] for k, day in chosen}
        if 28.0 in days:
            burden = self.adapter.burden.of(path).reshape(-1, len(days))
            self.values["S28"] = burden[:, days.index(28.0)]
        if self.adapter.recovery is not None and B_FROM in days and self.horizon > B_FROM:
            B = on_days(self.adapter.recovery.state)[:, days.index(B_FROM)]
            t = self.values["t_B_recovery"]
            self.values["t_B_recovery"] = np.where(now[_RECOVERED] < B, np.fmin(t, B_FROM), t)

    def frame(self, now: Now) -> pd.DataFrame:
        """Return the table of `course`; ``now`` are the states at the horizon."""
        v, adapter = self.values, self.adapter
        negative = (v.pop("t_negative") <= v["t_relapse"]) & np.isfinite(v["t_relapse"]) & self.ok
        lost = () if adapter.escaped is None else adapter.escaped.states
        columns: dict[str, Any] = {
            **v,
            "final_L": _total(now, adapter.target, len(self.ok)),
            "final_R": _total(now, lost, len(self.ok)),
        }
        for name, values in columns.items():
            columns[name] = np.where(self.ok, values, np.nan)
        head = {
            "patient": self.patient,
            "status": np.where(self.ok, "ok", "failed"),
            "t_end": self.horizon,
            "relapse_negative": negative,
        }
        return pd.DataFrame(head | columns)


def _total(states: Now, names: tuple[str, ...], size: int) -> np.ndarray:
    return sum((states[name] for name in names), np.zeros(size))


def first_time(t: np.ndarray, values: np.ndarray, level: Any) -> np.ndarray:
    """Return the first times at which rising values reach a level, by linear interpolation.

    Parameters
    ----------
    t : ndarray, shape (days,)
    values : ndarray, shape (patients, days)
        Not falling, e.g. cumulative hazards.
    level : float or ndarray, shape (patients,)

    Returns
    -------
    ndarray, shape (patients,)
        Infinite where there is none.
    """
    above = values > np.reshape(np.broadcast_to(level, len(values)), (-1, 1))
    k = np.argmax(above, axis=1)
    rows, before = np.arange(len(values)), np.maximum(k - 1, 0)
    low, high = values[rows, before], values[rows, k]
    share = np.divide(level - low, high - low, out=np.zeros(len(values)), where=high > low)
    time = t[before] + share * (t[k] - t[before])
    return np.where(above.any(axis=1), time, np.inf)
