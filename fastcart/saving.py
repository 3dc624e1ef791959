"""Times to save: the same for all patients, or each patient's own, one row after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_list_like

from fastcart.checks import held_to, shown
from fastcart.errors import InputError, counted, nearest
from fastcart.patients import check_times, finite_numbers
from fastcart.solvers.problem import Saves
from fastcart.tables.ids import id_places, id_shown

_COLUMNS = ("patient", "time")


@dataclass(frozen=True)
class SaveTimes:
    """Checked times to save.

    Parameters
    ----------
    times : ndarray
        Sorted; where patients have their own, those of one after those of the other.
    counts : ndarray of int, optional
        How many times each row has; None where all patients have all times.
    ids : array, optional
        Whose rows they are; None where they are those of the first patient, the second, and so on.
    """

    times: np.ndarray
    counts: np.ndarray | None = None
    ids: Any = None

    def of(self, ids: Any) -> Saves | None:
        """Return which times each patient has; None where all have all.

        Raises
        ------
        InputError
            For a patient that there is not, and where the number of rows is not that of the patients.
        """
        if self.counts is None:
            return None
        end = np.cumsum(self.counts)
        if self.ids is None:
            if len(self.counts) != len(ids):
                raise InputError(
                    f"The times in 'save_at' are {counted(len(self.counts), 'row')} for "
                    f"{counted(len(ids), 'patient')}; give each patient a row, also where it is empty."
                )
            return Saves(end - self.counts, end)
        places = id_places(pd.Series(self.ids), ids)
        if (places < 0).any():
            unknown = self.ids[int(np.argmax(places < 0))]
            raise InputError(
                f"The patient {id_shown(unknown)} of the times in 'save_at' is not among the ids of the "
                "patients; check the id."
            )
        saves = Saves(np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.int64))
        saves.begin[places], saves.end[places] = end - self.counts, end
        return saves


def check_save_at(given: Any, t_end: float) -> SaveTimes:
    """Check times to save: one row for all patients, a row for each of them, or a table.

    Parameters
    ----------
    given : sequence of float, sequence of sequences, DataFrame, mapping or None
        Rows of times must be sorted; a table has the columns ``patient`` and ``time``, its rows any order.
    t_end : float
        Horizon.

    Raises
    ------
    InputError
        For times that are not finite, negative, beyond the horizon or given twice, and for another table.
    """
    if isinstance(given, SaveTimes):
        return given
    if isinstance(given, pd.DataFrame | Mapping):
        return _from_table(given, t_end)
    rows = given if isinstance(given, list | tuple) else []
    if isinstance(given, np.ndarray) and given.dtype == object:
        rows = list(given)
    if not any(_is_row(row) for row in rows):
        return SaveTimes(check_times(given, t_end))
    if not all(_is_row(row) for row in rows):
        raise InputError(
            "The times in 'save_at' must be numbers, or a row of numbers for each patient, not both."
        )
    try:
        flat = [np.asarray(row, dtype=np.float64) for row in rows]
    except (TypeError, ValueError):
        flat = [np.empty((0, 0))]
    if any(row.ndim != 1 for row in flat):
        raise InputError("The times in 'save_at' must be a row of numbers for each patient.")
    counts = np.array([len(row) for row in flat], dtype=np.int64)
    times = _checked(np.concatenate(flat), counts, np.arange(len(counts)), t_end)
    return SaveTimes(times, counts)


def _is_row(values: Any) -> bool:
    return is_list_like(values) and not isinstance(values, set | Mapping) and np.ndim(values) > 0


def _from_table(given: Any, t_end: float) -> SaveTimes:
    listed = list(given)
    for name in listed:
        if name not in _COLUMNS:
            raise InputError(
                f"The column {shown(name)} is not one of a table of times in 'save_at'."
                + nearest(name, _COLUMNS)
            )
    if len(set(listed)) < len(_COLUMNS):
        raise InputError("A table of times in 'save_at' needs the columns 'patient' and 'time'.")
    try:
        frame = pd.DataFrame(given)
    except (TypeError, ValueError) as error:
        raise InputError(f"The times to save are not a table: {error}.") from None
    time = finite_numbers(frame["time"], "The column 'time' of the times to save holds", 0)
    if frame["patient"].isna().any():
        row = int(np.argmax(frame["patient"].isna())) + 1
        raise InputError(
            f"The column 'patient' of the times to save is empty in row {row}; name the patient."
        )
    group, ids = pd.factorize(frame["patient"])
    order = np.lexsort((time, group))
    counts = np.bincount(group, minlength=len(ids))
    return SaveTimes(_checked(time[order], counts, ids, t_end), counts, np.asarray(ids))


def _checked(times: np.ndarray, counts: np.ndarray, ids: Any, t_end: float) -> np.ndarray:
    """Return times of one patient after the other, having checked them."""
    row = np.repeat(np.arange(len(counts)), counts)
    held = held_to(times, t_end)
    within = np.diff(row, prepend=-1) == 0
    again = within & (np.diff(held, prepend=-np.inf) <= 0)
    for bad, what in (
        (~np.isfinite(times), "is not a finite number"),
        (times < 0, "is negative"),
        (held > t_end, f"exceeds the horizon {t_end:g}; raise t_end"),
        (again, "is not after the one before; times of a patient must be sorted and distinct"),
    ):
        if bad.any():
            k = int(np.argmax(bad))
            raise InputError(f"The time {times[k]:g} in 'save_at' of patient {id_shown(ids[row[k]])} {what}.")
    return held
