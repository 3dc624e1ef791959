"""Tables of virtual patients: checked columns in, flat arrays of initial values and parameters out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_complex_dtype, is_list_like, is_numeric_dtype, is_scalar

from fastcart.checks import held_to, is_whole, names, number_in, real, shown
from fastcart.errors import InputError, nearest
from fastcart.model import RESERVED, Model, Parameter, State, computed_default
from fastcart.tables.ids import check_ids
from fastcart.tables.storage import is_path, read_table

Patients = pd.DataFrame | Mapping[str, Any] | int | str | os.PathLike[str]

_CHECKED_ROWS = 65_536  # rows of computed defaults looked at together
_MAX_PATIENTS = 10**9
_ROWS = 512  # patients copied together


@dataclass(frozen=True)
class PatientTable:
    """Checked patients: given columns as arrays, everything else at its default.

    Parameters
    ----------
    model : Model
    columns : dict of str to ndarray
        Given parameters and initial values, each of length ``size``.
    ids : ndarray or pandas array
        The ``patient`` column in the type that it was given in, or 0, 1, 2, ...
    kept : DataFrame
        Columns carried along to the endpoints.
    """

    model: Model
    columns: dict[str, np.ndarray]
    ids: Any
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
                values[item.name] = computed_default(model, item, values, (n,))
        return _side_by_side(values, model.state_names, n), _side_by_side(values, model.parameter_names, n)


def _side_by_side(values: Mapping[str, Any], names: Sequence[str], n: int) -> np.ndarray:
    """Return numbers and columns as a table, row by row."""
    table = np.empty((n, len(names)))
    columns = [np.broadcast_to(values[name], n) for name in names]
    for start in range(0, n, _ROWS):  # so many rows stay in the cache
        block = table[start : start + _ROWS]
        for j, column in enumerate(columns):
            block[:, j] = column[start : start + _ROWS]
    return table


def check_patients(
    model: Model,
    patients: Patients,
    keep: Sequence[str] = (),
    *,
    first_id: int = 0,
    taken: Sequence[str] = (),
) -> PatientTable:
    """Check a table of patients against a model.

    Parameters
    ----------
    model : Model
    patients : DataFrame, mapping, path, or int
        Columns are names of parameters and of states (initial values), and ``patient``, the ids; a mapping
        may mix numbers and sequences; a path names a table for `fastcart.tables.storage.TableReader`; a
        number stands for so many default patients. Ids are compared as text, see `fastcart.tables.ids`.
    keep : sequence of str
        Columns that are copied to the endpoints; they may have any type.
    first_id : int
        How many rows come before these in the same file. The first patient has this id where no
        ``patient`` column is given, and errors count rows from there.
    taken : sequence of str
        Further columns of the endpoints, which cannot be kept.

    Raises
    ------
    InputError
        For an unknown column, a value that is not a finite number (an empty cell too), a value outside its
        range, an empty table, an id that is empty or stands twice.
    """
    keep = check_keep(model, keep, taken)
    if is_path(patients):
        patients = read_table(patients, "The table of patients", number_columns(model))
    if isinstance(patients, pd.Series):  # one patient
        patients = patients.to_frame().T
    if isinstance(patients, pd.DataFrame | Mapping):
        _check_column_names(model, list(patients), keep)
    frame = _as_frame(patients)
    if len(frame) == 0:
        raise InputError("The table of patients is empty; give at least one row.")
    given = set(frame.columns)
    items = [item for item in model.items if item.name in given and not is_computed(item)]
    columns = _good_columns(frame, items) or {
        item.name: _checked_column(frame[item.name], item, first_id) for item in items
    }
    ids = _ids(frame, first_id)
    kept = frame[keep].reset_index(drop=True)
    table = PatientTable(model, columns, ids, kept)
    _check_computed_defaults(table, first_id)
    _check_sums(table, first_id)
    return table


def _good_columns(frame: pd.DataFrame, items: Sequence[Parameter | State]) -> dict[str, np.ndarray] | None:
    """Return the columns of a small table where all of them are numbers in their ranges, looked at together.

    For anything else None: then each is looked at by itself, and the first bad cell named.
    """
    table = frame[[item.name for item in items]]
    if len(table) > _CHECKED_ROWS or not items or not all(kind == np.float64 for kind in table.dtypes):
        return None
    values = np.asfortranarray(table.to_numpy())
    lowest, highest = values.min(axis=0), values.max(axis=0)  # NaN where any is
    allowed = np.array([allowed_range(item) for item in items])
    good = (lowest >= allowed[:, 0]) & (highest <= allowed[:, 1]) & np.isfinite(lowest) & np.isfinite(highest)
    return {item.name: values[:, j] for j, item in enumerate(items)} if good.all() else None


def _checked_column(column: pd.Series, item: Parameter | State, first_id: int) -> np.ndarray:
    what = f"The column {item.name!r} holds"
    values = finite_numbers(column, what, first_id)
    _check_range(values, item, what, first_id)
    return values


def number_columns(model: Model) -> list[str]:
    """Return the columns of a table of patients that hold numbers; ids and what is kept may hold anything."""
    return [item.name for item in model.items if not is_computed(item)]


def is_computed(item: Parameter | State) -> bool:
    """Whether a state is an integral that `fastcart.solve` adds, which nobody can give."""
    return isinstance(item, State) and item.computed


def check_keep(model: Model, keep: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Return the columns to keep as a list, having checked that the endpoints have no such columns yet."""
    listed = names(keep, "The columns to keep")
    for name in listed:
        if name in RESERVED or name in {*taken, *(f"final_{state}" for state in model.state_names)}:
            raise InputError(
                f"The column {shown(name)} to keep has a name that the tables of results use themselves; "
                "rename it."
            )
    return listed


def _check_computed_defaults(table: PatientTable, first_id: int) -> None:
    """Check that every default that follows from other columns is a number within its range."""
    items = table.model.items
    computed = [j for j, i in enumerate(items) if callable(i.default) and i.name not in table.columns]
    if not computed:
        return
    for start in range(0, table.size, _CHECKED_ROWS):
        y0, p = table.arrays(start, min(start + _CHECKED_ROWS, table.size))
        for j in computed:
            name = items[j].name
            values = p[:, j] if j < p.shape[1] else y0[:, j - p.shape[1]]
            bad = ~np.isfinite(values)
            if bad.any():
                row = first_id + start + int(np.argmax(bad)) + 1
                raise InputError(
                    f"The default of {name!r} cannot be computed from the other columns in row {row}; "
                    f"give the column {name!r}."
                )
            _check_range(values, items[j], f"The computed default of {name!r} is", first_id + start)


def _check_sums(table: PatientTable, first_id: int) -> None:
    """Check that parameters that must add up to a total do so in every row."""
    names = table.model.parameter_names
    # a sum that no column touches holds the model's own values
    sums = [c for c in table.model.constraints if any(name in table.columns for name in c.parameters)]
    for start in range(0, table.size if sums else 0, _CHECKED_ROWS):
        _, p = table.arrays(start, min(start + _CHECKED_ROWS, table.size))
        for constraint in sums:
            total = p[:, [names.index(name) for name in constraint.parameters]].sum(axis=1)
            bad = np.abs(total - constraint.total) > constraint.tolerance
            if bad.any():
                row = int(np.argmax(bad))
                raise InputError(
                    f"{' + '.join(constraint.parameters)} must be {constraint.total:g}, but is "
                    f"{total[row]:.10g} in row {first_id + start + row + 1}; change one of these columns."
                )


def _as_frame(patients: Any) -> pd.DataFrame:
    if isinstance(patients, pd.DataFrame):
        return patients
    if isinstance(patients, bool | np.bool_):
        raise InputError("The number of patients must be a whole number, not True or False.")
    if is_whole(patients):
        if not 1 <= patients <= _MAX_PATIENTS:
            raise InputError(
                f"The number of patients must be at least 1 and at most {_MAX_PATIENTS}, not "
                f"{shown(patients)}."
            )
        return pd.DataFrame(index=range(int(patients)))
    if isinstance(patients, Mapping):
        if all(map(_is_column, patients.values())) and len({len(v) for v in patients.values()}) == 1:
            return pd.DataFrame(dict(patients), copy=False)  # the common case of studies, in less time
        columns = {name: _column(values, name) for name, values in patients.items()}
        lengths = {name: len(c) for name, c in columns.items() if is_list_like(patients[name])}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{k}: {n}" for k, n in lengths.items())
            raise InputError(f"The columns of patients differ in length ({listed}); make them equal.")
        size = next(iter(lengths.values()), 1)
        for name in columns.keys() - lengths.keys():
            columns[name] = columns[name].repeat(size).reset_index(drop=True)
        return pd.DataFrame(columns, index=range(size))
    raise InputError(
        "The patients must be a DataFrame, a mapping of columns, a path or a number of patients, not "
        f"{type(patients).__name__}."
    )


def _is_column(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "fiu"


def _column(values: Any, name: str) -> pd.Series:
    """Return one column of a mapping, in its own order whatever its index; a scalar as one row."""
    if isinstance(values, set | Mapping) or getattr(values, "ndim", 1) > 1:
        raise InputError(
            f"The column {name!r} must be a number or one row of values, not {type(values).__name__} "
            f"{shown(values)}."
        )
    if not is_list_like(values):
        values = [values[()] if isinstance(values, np.ndarray) else values]
    elif isinstance(values, pd.Series):
        values = values.array
    elif not hasattr(values, "dtype"):
        values = list(values)
    try:
        return pd.Series(values)
    except OverflowError:  # a whole number beyond what a float can hold; the check of values says so
        return pd.Series(values, dtype=object)


def _check_column_names(model: Model, given: list, keep: list[str]) -> None:
    for name in keep:
        if name not in set(given):
            raise InputError(
                f"The column {shown(name)} to keep is not in the table of patients." + nearest(name, given)
            )
    known = [*number_columns(model), "patient"]
    allowed = {*known, *keep}
    seen = set()
    for name in given:
        if name not in allowed:
            raise InputError(
                f"The column {shown(name)} is not a parameter or state of model {model.name!r}."
                + nearest(name, known)
                + " To carry a column along to the endpoints, keep it."
            )
        if name in seen:
            raise InputError(f"The column {name!r} is given twice in the table of patients.")
        seen.add(name)


def finite_numbers(column: pd.Series, what: str, first_id: int) -> np.ndarray:
    """Return a column as finite numbers.

    Raises
    ------
    InputError
        For a cell that holds none; ``what`` begins the sentence, rows are counted from ``first_id``.
    """
    kind = column.dtype
    if kind == np.float64:
        array = np.ascontiguousarray(column.to_numpy())
    elif is_numeric_dtype(kind) and not is_bool_dtype(kind) and not is_complex_dtype(kind):
        array = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        array = np.array([_cell(value) for value in column])
    if not (np.isfinite(array.min(initial=0.0)) and np.isfinite(array.max(initial=0.0))):
        row = int(np.argmin(np.isfinite(array)))
        given = column.iloc[row]
        text = shown(given)
        if isinstance(given, bool | np.bool_):
            text = "True or False"
        elif is_scalar(given) and pd.isna(given):
            text = "an empty cell or NaN"
        raise InputError(f"{what} {text} in row {first_id + row + 1}, where a finite number belongs.")
    return array


def _cell(value: Any) -> float:
    """Return the number in a cell, also one that is written as text; else NaN."""
    result = number_in(value) if isinstance(value, str) else real(value)
    return np.nan if result is None else result


def allowed_range(item: Parameter | State) -> tuple[float, float]:
    """Return the lowest and the highest value that a parameter or an initial value may have."""
    if isinstance(item, Parameter):
        return item.range
    return (0.0 if item.log or item.nonnegative or item.unit == "cells" else -np.inf), np.inf


def _check_range(values: np.ndarray, item: Parameter | State, what: str, first_id: int) -> None:
    low, high = allowed_range(item)
    if values.min(initial=low) < low or values.max(initial=high) > high:
        row = int(np.argmax((values < low) | (values > high)))
        allowed = f"at least {low:g}" if high == np.inf else f"from {low:g} to {high:g}"
        raise InputError(
            f"{what} {values[row]:g} in row {first_id + row + 1}; allowed is {allowed}"
            f"{' ' + item.unit if item.unit else ''}."
        )


def _ids(frame: pd.DataFrame, first_id: int) -> Any:
    if "patient" not in frame.columns:
        return np.arange(first_id, first_id + len(frame))
    ids = frame["patient"]
    empty = ids.isna().to_numpy()
    if not is_numeric_dtype(ids.dtype):
        empty = empty | np.array([isinstance(value, str) and not value for value in ids], dtype=bool)
    if empty.any():
        row = first_id + int(np.argmax(empty)) + 1
        raise InputError(f"The column 'patient' is empty in row {row}; every row needs an id.")
    check_ids(ids)
    return ids.to_numpy() if isinstance(ids.dtype, np.dtype) else ids.array


def check_times(times: Any, t_end: float, what: str = "save_at") -> np.ndarray:
    """Check output times: finite, sorted, without repetition, from 0 to the horizon.

    A time that is beyond the horizon by rounding alone, such as ``3 * 0.1`` beyond 0.3, is the horizon.

    Raises
    ------
    InputError
        For anything else.
    """
    if times is None:
        return np.empty(0)
    flat = getattr(times, "ndim", 1) < 2 and not isinstance(times, str | bytes | set | Mapping)
    values = (times if is_list_like(times) else [times]) if flat else []
    array = np.array([real(value) for value in values], dtype=np.float64)  # None becomes NaN
    if not flat or not np.isfinite(array).all():
        raise InputError(f"The times in {what!r} must be finite numbers in one row, not {shown(times)}.")
    if (array < 0).any():
        raise InputError(f"The times in {what!r} must not be negative; {array.min():g} is.")
    array = held_to(array, t_end)
    if (array > t_end).any():
        raise InputError(
            f"The times in {what!r} must not exceed the horizon {t_end:g}; {array.max():g} does. Raise t_end."
        )
    if (np.diff(array) <= 0).any():
        raise InputError(f"The times in {what!r} must be sorted and distinct.")
    return array
