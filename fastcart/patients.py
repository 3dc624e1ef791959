"""Tables of virtual patients: checked columns in, flat arrays of initial values and parameters out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_complex_dtype, is_list_like, is_numeric_dtype, is_scalar

from fastcart.checks import held_to, is_whole, names, number_in, real, shown
from fastcart.errors import InputError, nearest
from fastcart.model import RESERVED, Model, Parameter, State
from fastcart.patient_rows import (
    CHECKED_ROWS,
    check_followers,
    check_range,
    plain_table,
    ranges_of,
    within_ranges,
)
from fastcart.patient_rows import PatientTable as PatientTable
from fastcart.patient_rows import allowed_range as allowed_range
from fastcart.patient_rows import is_computed as is_computed
from fastcart.solvers.threads import in_threads
from fastcart.tables.ids import check_ids
from fastcart.tables.listed import as_rows_or_columns, rows_listed
from fastcart.tables.storage import is_path, read_table

Patients = pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]] | int | str | os.PathLike[str]

_IDS = ("id", "subject", "subjid", "subjectid", "usubjid", "patientid", "pid")
_MAX_PATIENTS = 10**9
_TYPICAL, _VARIED, _CHOICES = 32, 0.1, 100.0


def typical_patients(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Return initial values and parameters of patients around the typical one of a model, always the same.

    All varies by a tenth, but for parameters that may be choices: small whole numbers.

    Returns
    -------
    y0, p : ndarray, shape (patients, states), (patients, parameters)
    """
    random = np.random.default_rng(0)
    given = {name: np.full(_TYPICAL, float(value)) for name, value in model.typical.items()}
    y0, p = check_patients(model, given or _TYPICAL).arrays(0, _TYPICAL)
    choices = (p == np.round(p)) & (np.abs(p) < _CHOICES)
    varied = np.where(choices, p, p * np.exp(_VARIED * random.normal(size=p.shape)))
    return y0 * np.exp(_VARIED * random.normal(size=y0.shape)), varied


def check_patients(
    model: Model,
    patients: Patients,
    keep: Sequence[str] = (),
    *,
    first_id: int = 0,
    taken: Sequence[str] = (),
    threads: int = 1,
) -> PatientTable:
    """Check a table of patients against a model.

    Parameters
    ----------
    model : Model
    patients : DataFrame, mapping, list of mappings, path, or int
        Columns are names of parameters and of states (initial values), and ``patient``, the ids; a mapping
        may mix numbers and sequences; a list has a mapping for each row; a path names a table for
        `fastcart.tables.storage.TableReader`; a number stands for so many default patients. Ids are compared
        as text, see `fastcart.tables.ids`.
    keep : sequence of str
        Columns that are copied to the endpoints; they may have any type.
    first_id : int
        How many rows come before these in the same file. The first patient has this id where no
        ``patient`` column is given, and errors count rows from there.
    taken : sequence of str
        Further columns of the endpoints, which cannot be kept.
    threads : int
        That look at the columns of a large table.

    Raises
    ------
    InputError
        For an unknown column, a value that is not a finite number (an empty cell too), a value outside its
        range, an empty table, an id that is empty or stands twice.
    """
    keep = check_keep(model, keep, taken)
    if is_path(patients):
        patients = read_table(patients, "The table of patients", number_columns(model))
    patients = rows_listed(patients, "the patients")
    if isinstance(patients, pd.Series):  # one patient
        patients = patients.to_frame().T
    if isinstance(patients, pd.DataFrame | Mapping):
        _check_column_names(model, list(patients), keep)
    if not keep and (plain := plain_table(model, patients, first_id)) is not None:
        check_followers(plain, first_id)
        return plain
    frame = _as_frame(patients, model)
    if len(frame) == 0:
        raise InputError("The table of patients is empty; give at least one row.")
    given = set(frame.columns)
    items = [item for item in model.items if item.name in given and not is_computed(item)]
    columns = _good_columns(frame, items)
    if columns is None:
        columns = _checked_columns(frame, items, first_id, threads)
    ids = _ids(frame, first_id)
    kept = frame[keep].reset_index(drop=True)
    table = PatientTable(model, columns, ids, kept)
    check_followers(table, first_id)
    return table


def _good_columns(frame: pd.DataFrame, items: Sequence[Parameter | State]) -> dict[str, np.ndarray] | None:
    """Return the columns of a small table where all of them are numbers in their ranges, looked at together.

    For anything else None: then each is looked at by itself, and the first bad cell named.
    """
    if len(frame) > CHECKED_ROWS or not items:
        return None
    table = frame[[item.name for item in items]]
    if not all(kind == np.float64 for kind in table.dtypes):
        return None
    values = np.asfortranarray(table.to_numpy())
    good = within_ranges(values, *ranges_of(items))
    return {item.name: values[:, j] for j, item in enumerate(items)} if good.all() else None


def _checked_columns(
    frame: pd.DataFrame, items: Sequence[Parameter | State], first_id: int, threads: int
) -> dict[str, np.ndarray]:
    """Return each column as numbers, having checked them one by one; those of a large table in threads."""
    found: dict[str, np.ndarray] = {}

    def look(column: pd.Series, item: Parameter | State) -> None:
        found[item.name] = checked_column(column, item, first_id)

    jobs = [partial(look, frame[item.name], item) for item in items]
    if jobs:
        small = len(frame) <= CHECKED_ROWS
        in_threads(jobs, threads, np.zeros(1, dtype=np.int64), brief=small)
    return {item.name: found[item.name] for item in items}


def checked_column(column: pd.Series, item: Parameter | State, first_id: int) -> np.ndarray:
    """Return a column as numbers, having checked that each is finite and in its range."""
    what = f"The column {item.name!r} holds"
    values = finite_numbers(column, what, first_id)
    check_range(values, item, what, first_id)
    return values


def number_columns(model: Model) -> list[str]:
    """Return the columns of a table of patients that hold numbers; ids and what is kept may hold anything."""
    return [item.name for item in model.items if not is_computed(item)]


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


def _as_frame(patients: Any, model: Model) -> pd.DataFrame:
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
        f"{type(patients).__name__}." + as_rows_or_columns(patients, model.state_names[0])
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


def nearest_column(name: Any, known: Sequence[str]) -> str:
    """Return what `nearest` does, and ``patient`` where a column has a usual name of ids."""
    word = str(name).lower()
    if word.replace("_", "") in _IDS and word not in {other.lower() for other in known}:
        return " Did you mean 'patient'? The ids of the patients are in a column of this name."
    return nearest(name, known)


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
                + nearest_column(name, known)
                + f" To carry it along to the endpoints, keep it: keep=[{str(name)!r}], or --keep {name}."
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
