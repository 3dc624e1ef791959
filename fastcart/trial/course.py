"""The course of each patient under one arm, as if nobody died: when what happens, from `fastcart.solve`.

Hazards of death feed back on nothing, so that deaths, and hazards of another size, are laid over this course
afterwards; see `fastcart.trial.outcomes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fastcart.batch import as_model, solve
from fastcart.checks import number
from fastcart.errors import InputError
from fastcart.events import Event
from fastcart.model import Model

MRD = 1e8  # cells: one in 10 000 of a marrow of 1e12
BLASTS_5_PERCENT = 5e10
GRADES = (150.0, 400.0, 1000.0, 3000.0)  # IL-6 above which CRS has grade 1, 2, 3, 4; pg/ml
RECOVERED_B = 0.2  # of the B cells at rest
B_FROM = 45.0  # day from which B cells may be called recovered
EXTINCTION = 1.0  # cells
HORIZON = 730.0
MARKS = (7.0, 14.0, 28.0, 60.0, 90.0, 180.0, 270.0, 365.0, 455.0, 545.0, 730.0)
"""Days, besides 0 and the horizon, at which the two cumulative hazards are kept."""

States = pd.DataFrame
Intervention = tuple[float, Callable[[States, pd.DataFrame], States]]

_KEPT = ("Ht", "Hl", "S", "B")  # what is asked for on fixed days
_NEVER = 1e300  # a threshold that is not reached
_EVENTS = (
    Event("remission", of="S", threshold=MRD, direction="down"),
    Event("blasts", of="S", threshold=BLASTS_5_PERCENT, direction="up"),
    Event("relapse", of="S", threshold=BLASTS_5_PERCENT, direction="up", after="remission"),
    Event("negative", of="negative", threshold=0.5, direction="up"),
    *(Event(f"grade{g}", of="C", threshold=level, direction="up") for g, level in enumerate(GRADES, 1)),
    Event("B_recovery", of="B", threshold="B_recovered", direction="up", after=B_FROM),
    Event("toxic", of="Ht", threshold="U1", direction="up"),
    Event("leukemia", of="Hl", threshold="U2", direction="up"),
)
# name of a first time in the course: event, quantity at the start of a segment, threshold
_FIRST = {
    "t_CR": ("remission", "S", MRD),
    "t_negative": ("negative", "negative", 0.5),
    **{f"t_grade{g}": (f"grade{g}", "C", level) for g, level in enumerate(GRADES, 1)},
    "t_B_recovery": ("B_recovery", "B", "B_recovered"),
    "t_toxic": ("toxic", "Ht", "U1"),
    "t_leukemia": ("leukemia", "Hl", "U2"),
}


def course(
    patients: pd.DataFrame,
    doses: pd.DataFrame | None = None,
    *,
    t_end: float = HORIZON,
    interventions: Iterable[Intervention] = (),
    model: str | Model = "b_all",
    rtol: float = 1e-5,
    threads: int | None = None,
) -> pd.DataFrame:
    """Solve the patients of one arm, death-free, and return when what happens.

    Parameters
    ----------
    patients : DataFrame
        Columns of the model, and any others; ``U1`` and ``U2`` are the cumulative hazards of toxic death and
        of death by leukemia at which a patient dies (default: never).
    doses : DataFrame, optional
        As for `fastcart.solve`, e.g. from `fastcart.models.b_all.infusions`.
    t_end : float
        Horizon in days.
    interventions : iterable of (day, function)
        ``function(states, patients)`` returns the states with which everyone goes on, before the infusions of
        that day; e.g. `fastcart.models.b_all.lymphodeplete`.
    model : str or Model
        The B-ALL model or a variant of it with the same states and observables.
    rtol, threads
        As for `fastcart.solve`.

    Returns
    -------
    DataFrame
        One row per patient, days and cells; what never happens is infinite, what failed is NaN:

        - ``patient``, ``status``, ``t_end``
        - ``t_CR``: first time with S = L + R below 1e8; ``t_relapse``: first time after it with S above 5e10,
          and ``relapse_negative``: whether R > L then
        - ``S0``, ``S28``, ``nadir_L``, ``final_L``, ``final_R``
        - ``t_grade1`` to ``t_grade4``: first times with IL-6 above 150, 400, 1000, 3000 pg/ml; ``peak_C``,
          ``t_peak_C``, ``auc_C`` (pg/ml days)
        - ``peak_T``, ``t_peak_T``: most CAR-T cells
        - ``t_B_recovery``: first time from day 45 on with more than a fifth of the B cells at rest
        - ``Ht_<day>``, ``Hl_<day>``: cumulative hazards on the `MARKS` and at the horizon
        - ``t_toxic``, ``t_leukemia``: when they reach U1 and U2.

    Raises
    ------
    InputError
        For bad input; see `fastcart.solve`.
    """
    model = as_model(model)
    horizon = number(t_end, "The horizon t_end", positive=True)
    stops = _stops(interventions, horizon)
    table = patients.reset_index(drop=True)
    if "patient" not in table:
        table.insert(0, "patient", np.arange(len(table)))
    now = _inputs(table, model)
    walk = _Course.start(table, horizon)
    options: dict[str, Any] = {"rtol": rtol, "threads": threads, "extinction": EXTINCTION, "progress": False}
    bounds = sorted({0.0, horizon, *(day for day, _ in stops)})
    for k, begin in enumerate(bounds[:-1]):
        end = bounds[k + 1]
        for _, change in (stop for stop in stops if stop[0] == begin):
            changed = change(now[model.state_names].copy(), table)
            now[model.state_names] = changed[model.state_names]
        days = [day for day in marks(horizon) if begin < day <= end]
        if begin < B_FROM < end:  # where a segment begins then, its start tells
            days = sorted({*days, B_FROM})
        result = solve(
            model, now, doses=_between(doses, begin, end, last=end == horizon), t_end=end - begin,
            save_at=[day - begin for day in days], save=_KEPT if days else None, peaks=("C", "T"), auc=("C",),
            events=[_counted_from(event, begin) for event in _EVENTS], warn=False, **options,
        )  # fmt: skip
        ends = result.endpoints
        walk.follow(now, ends, begin)
        walk.relapse(ends, begin)
        if days:
            walk.keep(result.trajectories, days, now["B_recovered"].to_numpy())
        # a failed patient goes on from where the segment began, and stays failed
        ok = (ends["status"] == "ok").to_numpy()
        for name in model.state_names:
            # a state that has faded to zero may lie below it by less than the tolerance
            now[name] = np.where(ok, np.maximum(ends[f"final_{name}"], 0.0), now[name])
    return walk.frame(now)


def marks(horizon: float) -> list[float]:
    """Return the days on which the cumulative hazards are kept."""
    return [day for day in MARKS if day < horizon] + [horizon]


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


def _inputs(table: pd.DataFrame, model: Model) -> pd.DataFrame:
    """Return the columns that the solver takes: states, parameters that are given, thresholds."""
    from fastcart.patients import check_patients

    known = {*model.parameter_names, *model.state_names, "patient"}
    given = table[[name for name in table.columns if name in known]]
    y0, p = check_patients(model, given).arrays(0, len(table))
    now = given.copy()
    for j, name in enumerate(model.state_names):
        now[name] = y0[:, j]
    values = dict(zip(model.parameter_names, p.T, strict=True))
    now["B_recovered"] = RECOVERED_B * values["sB"] / values["dB"]
    for name in ("U1", "U2"):
        drawn = table[name].to_numpy(dtype=float) if name in table else np.full(len(table), np.inf)
        now[name] = np.minimum(drawn, _NEVER)
    return now


def _between(doses: pd.DataFrame | None, begin: float, end: float, *, last: bool) -> pd.DataFrame | None:
    """Return the doses from ``begin`` on and before ``end``, with times counted from ``begin``."""
    if doses is None:
        return None
    time = doses["time"].to_numpy()
    rows = (time >= begin) & ((time <= end) if last else (time < end))
    part = doses[rows].assign(time=time[rows] - begin)
    return part if len(part) else None


@dataclass
class _Course:
    """First times and peaks over all segments so far."""

    patient: np.ndarray
    horizon: float
    values: dict[str, np.ndarray]
    ok: np.ndarray

    @classmethod
    def start(cls, table: pd.DataFrame, horizon: float) -> _Course:
        n = len(table)
        values = {name: np.full(n, np.inf) for name in (*_FIRST, "t_relapse", "nadir_L")}
        values |= {name: np.zeros(n) for name in ("peak_C", "t_peak_C", "peak_T", "t_peak_T", "auc_C")}
        values |= {name: np.full(n, np.nan) for name in ("S0", "S28")}
        return cls(table["patient"].to_numpy(), horizon, values, np.ones(n, dtype=bool))

    def follow(self, now: pd.DataFrame, ends: pd.DataFrame, begin: float) -> None:
        """Take over what a segment says; ``now`` are the states with which it began."""
        v = self.values
        self.ok &= (ends["status"] == "ok").to_numpy()
        S = (now["L"] + now["R"]).to_numpy()
        at_start = {"S": S, "negative": now["R"].to_numpy() / np.maximum(S, 1e-300)}
        if begin == 0.0:
            v["S0"] = S
        for name, (event, quantity, level) in _FIRST.items():
            value = at_start[quantity] if quantity in at_start else now[quantity].to_numpy()
            limit = now[level].to_numpy() if isinstance(level, str) else level
            beyond = (value < limit) if event == "remission" else (value > limit)
            beyond &= event != "B_recovery" or begin >= B_FROM
            time = np.where(beyond, begin, begin + ends[f"event_{event}"].to_numpy())
            v[name] = np.fmin(v[name], time)
        for name in ("C", "T"):
            higher = ends[f"peak_{name}"].to_numpy() > v[f"peak_{name}"]
            v[f"t_peak_{name}"] = np.where(higher, begin + ends[f"t_peak_{name}"], v[f"t_peak_{name}"])
            v[f"peak_{name}"] = np.where(higher, ends[f"peak_{name}"], v[f"peak_{name}"])
        v["auc_C"] = v["auc_C"] + ends["auc_C"].to_numpy()
        v["nadir_L"] = np.fmin(v["nadir_L"], ends["nadir"].to_numpy())

    def relapse(self, ends: pd.DataFrame, begin: float) -> None:
        """Note the first crossing of 5 % blasts after remission, which may lie in the same segment."""
        v = self.values
        time = begin + np.where(v["t_CR"] <= begin, ends["event_blasts"], ends["event_relapse"])
        new = np.isfinite(v["t_CR"]) & np.isinf(v["t_relapse"]) & np.isfinite(time)
        v["t_relapse"] = np.where(new, time, v["t_relapse"])

    def keep(self, path: pd.DataFrame | None, days: list[float], B_recovered: np.ndarray) -> None:
        """Keep what is asked for on fixed days: hazards, the leukemia of day 28, whether B cells are back."""
        assert path is not None
        for name in ("Ht", "Hl"):
            columns = path[name].to_numpy().reshape(-1, len(days)).T
            kept = [pair for pair in zip(days, columns, strict=True) if pair[0] in marks(self.horizon)]
            self.values |= {f"{name}_{day:g}": column for day, column in kept}
        if 28.0 in days:
            self.values["S28"] = path["S"].to_numpy().reshape(-1, len(days))[:, days.index(28.0)]
        if B_FROM in days and self.horizon > B_FROM:
            B = path["B"].to_numpy().reshape(-1, len(days))[:, days.index(B_FROM)]
            t = self.values["t_B_recovery"]
            self.values["t_B_recovery"] = np.where(B_recovered < B, np.fmin(t, B_FROM), t)

    def frame(self, now: pd.DataFrame) -> pd.DataFrame:
        """Return the table of `course`; ``now`` are the states at the horizon."""
        v = self.values
        negative = (v.pop("t_negative") <= v["t_relapse"]) & np.isfinite(v["t_relapse"]) & self.ok
        columns: dict[str, Any] = {
            **v,
            "final_L": now["L"].to_numpy(),
            "final_R": now["R"].to_numpy(),
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
