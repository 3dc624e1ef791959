"""Tables of virtual patients: checked columns in, flat arrays of initial values and parameters out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.errors import InputError, nearest
from fastcart.model import Model, Parameter, State

Patients = pd.DataFrame | Mapping[str, Any] | int

_CHECKED_ROWS = 65_536  # rows of computed defaults looked at together


@dataclass(frozen=True)
class PatientTable:
    """Checked patients: given columns as arrays, everything else at its default.

    Parameters
    ----------
    model : Model
    columns : dict of str to ndarray
        Given parameters and initial values, each of length ``size``.
    ids : ndarray
        The ``patient`` column, or 0, 1, 2, ...
    kept : DataFrame
        Columns carried along to the endpoints.
    """

    model: Model
    columns: dict[str, np.ndarray]
    ids: np.ndarray
    kept: pd.DataFrame

    @property
    def size(self) -> int:
        """Number of patients."""
        return len(self.ids)

    def arrays(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return initial values and parameters of patients ``start`` to ``stop``, row by row."""
        model = self.model
        n = stop - start
        values: dict[str, Any] = {}
        for item in model.items:
            if item.name in self.columns:
                values[item.name] = self.columns[item.name][start:stop]
            elif not callable(item.default):
                values[item.name] = float(item.default)
        for item in model.items:
            if item.name not in values and callable(item.default):
                with np.errstate(all="ignore"):  # what cannot be computed is found by its NaN
                    values[item.name] = item.default(values)
        y0 = np.empty((n, len(model.states)))
        p = np.empty((n, len(model.parameters)))
        for j, name in enumerate(model.state_names):
            y0[:, j] = values[name]
        for j, name in enumerate(model.parameter_names):
            p[:, j] = values[name]
        return y0, p


def check_patients(
    model: Model, patients: Patients, keep: Sequence[str] = (), *, first_id: int = 0
) -> PatientTable:
    """Check a table of patients against a model.

    Parameters
    ----------
    model : Model
    patients : DataFrame, mapping, or int
        Columns are names of parameters and of states (initial values); a mapping may mix numbers and
        sequences; a number stands for so many default patients.
    keep : sequence of str
        Columns that are copied to the endpoints; they may have any name and type.
    first_id : int
        The id of the first patient where no ``patient`` column is given.

    Raises
    ------
    InputError
        For an unknown column, a value that is not a finite number, a value outside its range, an
        empty table, a duplicated id.
    """
    frame = _as_frame(patients)
    _check_column_names(model, frame, keep)
    if len(frame) == 0:
        raise InputError("The table of patients is empty; give at least one row.")
    items = {item.name: item for item in model.items}
    columns = {}
    for name in frame.columns:
        if name in items:
            columns[name] = _numbers(frame[name], name)
            _check_range(columns[name], items[name])
    ids = _ids(frame, first_id)
    kept = frame[list(keep)].reset_index(drop=True)
    table = PatientTable(model, columns, ids, kept)
    _check_computed_defaults(table)
    return table


def _check_computed_defaults(table: PatientTable) -> None:
    """Check that every default that follows from other columns is a finite number."""
    if not any(callable(item.default) and item.name not in table.columns for item in table.model.items):
        return
    for start in range(0, table.size, _CHECKED_ROWS):
        y0, p = table.arrays(start, min(start + _CHECKED_ROWS, table.size))
        bad = ~np.isfinite(np.hstack([p, y0]))
        if bad.any():
            row, column = (int(k) for k in np.argwhere(bad)[0])
            name = table.model.items[column].name
            raise InputError(
                f"The default of {name!r} cannot be computed from the other columns in row "
                f"{start + row + 1}; give the column {name!r}."
            )


def _as_frame(patients: Patients) -> pd.DataFrame:
    if isinstance(patients, pd.DataFrame):
        return patients
    if isinstance(patients, bool | np.bool_):
        raise InputError("The patients must be a table or a number of patients, not True or False.")
    if isinstance(patients, int | np.integer):
        if patients < 1:
            raise InputError(f"The number of patients must be at least 1, not {patients}.")
        return pd.DataFrame(index=range(int(patients)))
    if isinstance(patients, pd.Series):
        return patients.to_frame().T
    if isinstance(patients, Mapping):
        lengths = {str(k): len(v) for k, v in patients.items() if np.ndim(v) > 0 and not isinstance(v, str)}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{k}: {n}" for k, n in lengths.items())
            raise InputError(f"The columns of patients differ in length ({shown}); make them equal.")
        size = next(iter(lengths.values()), 1)
        return pd.DataFrame(dict(patients), index=range(size))
    raise InputError(
        "The patients must be a DataFrame, a mapping of columns, or a number of patients, not "
        f"{type(patients).__name__}."
    )


def _check_column_names(model: Model, frame: pd.DataFrame, keep: Sequence[str]) -> None:
    known = [*model.parameter_names, *model.state_names, "patient"]
    duplicated = frame.columns[frame.columns.duplicated()]
    if len(duplicated):
        raise InputError(f"The column {duplicated[0]!r} is given twice in the table of patients.")
    for name in keep:
        if name not in frame.columns:
            raise InputError(
                f"The column {name!r} to keep is not in the table of patients." + nearest(name, frame.columns)
            )
    for name in frame.columns:
        if name not in known and name not in keep:
            raise InputError(
                f"The column {name!r} is not a parameter or state of model {model.name!r}."
                + nearest(name, known)
                + " To carry a column along to the endpoints, keep it."
            )


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce")
    array = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if column.dtype == bool:
        raise InputError(f"The column {name!r} holds True or False where a number belongs.")
    bad = ~np.isfinite(array)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        given = column.iloc[row]
        shown = "an empty cell or NaN" if pd.isna(given) else repr(given)
        raise InputError(
            f"The column {name!r} holds {shown} in row {row + 1}, where a finite number belongs."
        )
    return array


def _check_range(values: np.ndarray, item: Parameter | State) -> None:
    if isinstance(item, Parameter):
        low, high = item.range
    else:
        low, high = (0.0 if item.log or item.unit == "cells" else -np.inf), np.inf
    bad = (values < low) | (values > high)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        allowed = f"at least {low:g}" if high == np.inf else f"from {low:g} to {high:g}"
        raise InputError(
            f"The column {item.name!r} holds {values[row]:g} in row {row + 1}; allowed is {allowed}"
            f"{' ' + item.unit if item.unit else ''}."
        )


def _ids(frame: pd.DataFrame, first_id: int) -> np.ndarray:
    if "patient" not in frame.columns:
        return np.arange(first_id, first_id + len(frame))
    ids = frame["patient"]
    if ids.isna().any():
        row = int(np.flatnonzero(ids.isna())[0])
        raise InputError(f"The column 'patient' is empty in row {row + 1}; every row needs an id.")
    duplicated = ids.duplicated()
    if duplicated.any():
        value = ids[duplicated].iloc[0]
        raise InputError(f"The id {value!r} stands more than once in the column 'patient'.")
    return ids.to_numpy()


def check_times(times: Any, t_end: float, what: str = "save_at") -> np.ndarray:
    """Check output times: finite, sorted, without repetition, from 0 to the horizon.

    Raises
    ------
    InputError
        For anything else.
    """
    if times is None:
        return np.empty(0)
    values: Iterable = times if np.ndim(times) else [times]
    try:
        array = np.asarray(list(values), dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"The times in {what!r} must be numbers, not {times!r}.") from None
    if array.ndim != 1 or not np.isfinite(array).all():
        raise InputError(f"The times in {what!r} must be finite numbers in one row.")
    if (array < 0).any():
        raise InputError(f"The times in {what!r} must not be negative; {array.min():g} is.")
    if (array > t_end).any():
        raise InputError(
            f"The times in {what!r} must not exceed the horizon {t_end:g}; {array.max():g} does. Raise t_end."
        )
    if (np.diff(array) <= 0).any():
        raise InputError(f"The times in {what!r} must be sorted and distinct.")
    return array
