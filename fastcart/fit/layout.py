"""Measurements beside observations: which are of which, as kernels take them, checked that they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastcart.errors import InputError, nearest
from fastcart.fit.data import BELOW, NOT_CENSORED, FitData, Measurements
from fastcart.fit.densities import Errors, Measured
from fastcart.fit.observations import COMBINED1, COMBINED2, LOGNORMAL, MEASURED, PROPORTIONAL, Observation
from fastcart.solvers.problem import Saves

_FLOOR = 1e-12  # of the largest measurement of a kind: less of a prediction does not make a deviation smaller
_HAIR = 4e-12  # of a time: so much earlier lies what was measured before a dose; times have 13 digits


@dataclass(frozen=True)
class Layout:
    """Measurements, and the times that are saved for them.

    Parameters
    ----------
    of : Measured
    errors : Errors
    error_names : tuple of str
    error_values : ndarray
        NaN where they are to be estimated.
    times : ndarray
        To save, those of one patient after the other.
    saves : Saves
    at_start : ndarray of bool, shape (patients,)
        Whose first time is the start before doses are given.
    log_values : ndarray, shape (patients,)
        Sum of ``ln DV`` over log-normal measurements that are not censored: twice this makes of -2 ln L by
        densities of ``ln DV`` that by densities of ``DV``.
    rows : ndarray of int
        The row of the table of each measurement.
    """

    of: Measured
    errors: Errors
    error_names: tuple[str, ...]
    error_values: np.ndarray
    times: np.ndarray
    saves: Saves
    at_start: np.ndarray
    log_values: np.ndarray
    rows: np.ndarray


def layout_of(data: FitData, observations: Sequence[Observation], t_end: float) -> Layout:
    """Return the measurements of these observations.

    Raises
    ------
    InputError
        For an observation of which the data have nothing, a measurement after the horizon, one that a
        log-normal or a proportional error cannot take, a known deviation that is not there.
    """
    kinds = {name: k for k, name in enumerate(data.kinds)}
    for one in observations:
        if one.dvid not in kinds and len(data.measurements.time):
            raise InputError(f"The data have no measurement {one.dvid!r}." + nearest(one.dvid, list(kinds)))
    number = np.full(len(data.kinds), -1)
    for k, one in enumerate(observations):
        if one.dvid in kinds:
            number[kinds[one.dvid]] = k
    taken = data.measurements.take(np.flatnonzero(number[data.measurements.kind] >= 0))
    kind = number[taken.kind]
    late = taken.time > t_end * (1 + 1e-12)
    if late.any():
        row = int(np.argmax(late))
        raise InputError(
            f"The measurement in row {taken.row[row]} is at {taken.time[row]:g}, after the horizon "
            f"{t_end:g}; raise t_end."
        )
    models = np.array([one.error.kind for one in observations], dtype=np.int64)
    value, limit = _values(taken, kind, models)
    floor = np.zeros(len(observations))
    np.maximum.at(floor, kind, _FLOOR * np.abs(taken.value))
    names = [name for one in observations for name in one.error_names]
    given = [np.nan if x is None else x for one in observations for x in one.error.values]
    sizes = [len(one.error.values) for one in observations]
    errors = Errors(models, np.cumsum([0, *sizes[:-1]]).astype(np.int64), np.maximum(floor, 1e-300))
    times, saves, place, at_start = _times(taken, data.patients)
    bounds = np.searchsorted(taken.patient, np.arange(data.patients + 1)).astype(np.int64)
    logs = (models[kind] == LOGNORMAL) & (taken.censored == NOT_CENSORED)
    sums = np.bincount(taken.patient[logs], value[logs], data.patients)
    of = Measured(
        bounds[:-1].copy(), bounds[1:].copy(), place, kind, value, taken.censored, limit, taken.deviation
    )  # fmt: skip
    return Layout(of, errors, tuple(names), np.array(given), times, saves, at_start, sums, taken.row)


def _values(taken: Measurements, kind: np.ndarray, models: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return measurements and limits, logarithms of those that are log-normal."""
    model = models[kind] if len(models) else kind
    logs = model == LOGNORMAL
    wrong = logs & (taken.value <= 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        if taken.censored[row] == BELOW:
            raise InputError(
                f"The measurement in row {taken.row[row]} is censored (CENS 1) and has the DV "
                f"{taken.value[row]:g}, below which a log-normal error has nothing: DV must hold the limit "
                "of quantification there."
            )
        raise InputError(
            f"The measurement in row {taken.row[row]} is {taken.value[row]:g}, which a log-normal error "
            "cannot take; leave it off, or give the limit of quantification with CENS 1."
        )
    wrong = (model == PROPORTIONAL) & (taken.value == 0) & (taken.censored == NOT_CENSORED)
    if wrong.any():
        raise InputError(
            f"The measurement in row {taken.row[int(np.argmax(wrong))]} is 0, which a proportional error "
            "cannot take: predictions near 0 make it as likely as one likes; leave it off, give the limit of "
            "quantification with CENS 1, or add an additive part (combined1, combined2)."
        )
    wrong = (model == MEASURED) & ~(taken.deviation > 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"The measurement in row {taken.row[row]} has no known standard deviation above 0; "
            "map={'DVSD': ...} names the column of them."
        )
    ends = np.where(taken.censored == BELOW, -np.inf, np.inf)
    limit = np.where(np.isnan(taken.limit), ends, taken.limit)
    value = taken.value.copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        value[logs] = np.log(taken.value[logs])
        limit[logs] = np.where(limit[logs] > 0, np.log(limit[logs]), -np.inf)
    return value, limit


def _times(taken: Measurements, patients: int) -> tuple[np.ndarray, Saves, np.ndarray, np.ndarray]:
    """Return times to save, whose, the place of each measurement among them, and who starts before a dose.

    What was measured just before a dose is saved a hair earlier; before one at the start, at the start, and
    what was measured behind that one a hair later.
    """
    time = np.where(taken.before, taken.time * (1.0 - _HAIR), taken.time)
    first = taken.before & (taken.time == 0.0)
    at_start = np.zeros(patients, dtype=bool)
    at_start[taken.patient[first]] = True
    largest = taken.time.max(initial=0.0) or 1.0
    time = np.where(at_start[taken.patient] & (taken.time == 0.0) & ~taken.before, 1e-12 * largest, time)
    order = np.lexsort((time, taken.patient))
    patient, ordered = taken.patient[order], time[order]
    new = np.append(True, (np.diff(patient) != 0) | (np.diff(ordered) != 0))[: len(ordered)]
    counts = np.bincount(patient[new], minlength=patients)
    end = np.cumsum(counts).astype(np.int64)
    begin = end - counts
    place = np.empty(len(time), dtype=np.int64)
    place[order] = np.cumsum(new) - 1 - begin[patient]
    return ordered[new], Saves(begin, end), place, at_start


def varies(model: int) -> bool:
    """Whether the standard deviation of an error model depends on the prediction."""
    return model in (PROPORTIONAL, COMBINED1, COMBINED2)
