"""Courses of fitted patients between measurements, on times that are close enough to draw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import real
from fastcart.errors import InputError
from fastcart.fit.data import NOT_CENSORED, FitData, Measurements
from fastcart.fit.likelihood import PreparedLikelihood, prepare
from fastcart.fit.observations import MEASURED, additive
from fastcart.tables.ids import id_places, id_shown

_IN_A_GAP = 12  # times between two measurements or doses
_OVER_ALL = 100  # and so many over the whole course


@dataclass(frozen=True, eq=False)
class FineCourses:
    """Times of some patients at which all observations are predicted.

    Parameters
    ----------
    prepared : PreparedLikelihood
        Of these times instead of the measurements.
    patients : ndarray of int
        The places of the patients.
    """

    prepared: PreparedLikelihood
    patients: np.ndarray

    def table(self, **theta: np.ndarray) -> pd.DataFrame:
        """Return a row for each patient, kind and time: ``patient``, ``time``, ``kind``, predictions.

        Parameters
        ----------
        **theta : ndarray, shape (patients, columns)
            Under the names of the columns to be. A course that cannot be solved is NaN.
        """
        of, data = self.prepared.data.measurements, self.prepared.data
        names = np.array([one.dvid for one in self.prepared.observations], dtype=object)
        table = pd.DataFrame({
            "patient": data.ids[of.patient], "time": of.time, "kind": names[of.kind],
        })  # fmt: skip
        for name, values in theta.items():
            table[name] = self.prepared.predictions(values, self.patients).values
        order = np.lexsort((of.row, of.kind, of.patient))
        return table.iloc[order].reset_index(drop=True)


def fine_courses(prepared: PreparedLikelihood, patients: Any = None, times: Any = None) -> FineCourses:
    """Return what predicts patients between their measurements.

    Parameters
    ----------
    prepared : PreparedLikelihood
        Of the fit.
    patients : sequence of ids, optional
        Default: all.
    times : sequence of float, optional
        The same for all patients. Default: from each patient's start to the last measurement, closer where
        there are more measurements; a jump at a dose has a point before and one behind.

    Raises
    ------
    InputError
        For patients that are not in the fit, and times before 0 or after the last measurement of the fit.
    """
    data = prepared.data
    places = _places(data, patients)
    chosen = None if times is None else _times(times, prepared.horizon)
    parts = []
    for place in places:
        grid, before = _grid(data, int(place)) if chosen is None else (chosen, np.zeros(len(chosen), bool))
        parts.append((np.full(len(grid), place), grid, before))
    patient, time, before = (np.concatenate([part[k] for part in parts]) for k in range(3))
    kinds = len(prepared.observations)
    many = len(time)
    measurements = Measurements(
        np.repeat(patient, kinds), np.repeat(time, kinds), np.tile(np.arange(kinds), many),
        np.ones(many * kinds), np.full(many * kinds, NOT_CENSORED), np.full(many * kinds, np.nan),
        np.full(many * kinds, np.nan), np.repeat(before, kinds), np.arange(1, many * kinds + 1),
    )  # fmt: skip
    order = np.argsort(measurements.patient, kind="stable")
    kinds_of = tuple(one.dvid for one in prepared.observations)
    # a known deviation belongs to a measurement, and there is none here
    seen = [
        replace(one, error=additive(1.0)) if one.error.kind == MEASURED else one
        for one in prepared.observations
    ]
    fine = prepare(
        prepared.model, replace(data, kinds=kinds_of, measurements=measurements.take(order)),
        prepared.columns, observations=seen, threads=prepared.threads,
        options=replace(prepared.options, t_end=prepared.horizon),
    )  # fmt: skip
    return FineCourses(fine, places)


def _places(data: FitData, given: Any) -> np.ndarray:
    if given is None:
        return np.arange(data.patients)
    listed = [given] if isinstance(given, str) or np.ndim(given) == 0 else list(given)
    places = id_places(pd.Series(listed), data.ids)
    if not len(places) or (places < 0).any():
        lost = listed[int(np.argmax(places < 0))] if len(places) else "nobody"
        raise InputError(f"The patient {id_shown(lost)} is not in the fit.")
    return np.sort(places)


def _times(given: Any, horizon: float) -> np.ndarray:
    listed = [given] if np.ndim(given) == 0 else list(given)
    numbers = [real(t) for t in listed]
    if not numbers or any(t is None or not 0 <= t <= horizon * (1 + 1e-12) for t in numbers):
        raise InputError(f"The times of courses must be numbers from 0 to {horizon:g}, the last measurement.")
    return np.unique(np.array(numbers, dtype=float))


def _grid(data: FitData, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Return times of one patient, and which are just before a dose."""
    of = data.measurements
    own = of.time[of.patient == place]
    last = float(own.max(initial=0.0)) or data.last_time
    given = _dose_times(data, place, last)
    marks = np.unique(np.concatenate([[0.0, last], own, given]))
    gaps = [np.linspace(a, b, _IN_A_GAP + 1) for a, b in pairwise(marks)]
    grid = np.unique(np.concatenate([np.linspace(0.0, last, _OVER_ALL), *gaps]))
    time = np.concatenate([given, grid])
    before = np.arange(len(time)) < len(given)
    order = np.lexsort((~before, time))
    return time[order], before[order]


def _dose_times(data: FitData, place: int, last: float) -> np.ndarray:
    """Return when a patient is given something up to a time, as far as the table says it in numbers."""
    doses = data.doses
    if doses is None or "patient" not in doses:
        return np.empty(0)
    mine = doses[doses["patient"] == data.ids[place]]
    found: list[float] = []
    for first, apart, more in zip(mine["time"], mine["every"], mine["repeats"], strict=True):
        start, step = real(first), real(apart)
        if start is not None:
            found += [start + k * (step or 0.0) for k in range(int(more) + 1)]
    times = np.unique(np.array(found, dtype=float))
    return times[(times >= 0) & (times <= last)]
