"""The patients of a scan, rows of which are made or read only when their chunk is solved."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from fastcart.checks import reason
from fastcart.errors import InputError, optional_import
from fastcart.model import Model
from fastcart.patients import PatientTable, check_patients, number_columns
from fastcart.sampling.design import Design
from fastcart.tables.ids import check_ids
from fastcart.tables.listed import rows_listed
from fastcart.tables.storage import TableReader, arrow_frame, is_path, read_table

_HASHED_BYTES = 1 << 22

Ranges = Mapping[str, tuple[float, float]]


class Source(Protocol):
    """Patients by rows: ``patient`` and the columns in ``names``."""

    @property
    def size(self) -> int:
        """Number of patients."""

    @property
    def names(self) -> list[str]:
        """Names of the columns, without ``patient``."""

    def rows(self, start: int, stop: int) -> pd.DataFrame:
        """Return rows ``start`` to ``stop``."""

    def highest(self) -> dict[str, float]:
        """Return the highest value that each column of doses reaches."""

    def describe(self) -> dict[str, Any]:
        """Return what tells these patients from others, in the types of JSON."""


def patient_source(
    model: Model, patients: Any, *, dose_columns: Ranges | None = None, keep: Sequence[str] = ()
) -> Source:
    """Check patients as a whole and return them as a source of rows.

    Parameters
    ----------
    model : Model
    patients : Design, path, DataFrame, mapping, list of mappings or int
        A path names a table, see `fastcart.tables.storage.TableReader`; Parquet is never held in memory as a
        whole.
    dose_columns : mapping of str to (float, float), optional
        Columns that doses use, which must be there, and what they may hold.
    keep : sequence of str
        Further columns that go along to the endpoints.

    Raises
    ------
    InputError
        As for `fastcart.patients.check_patients`.
    """
    dose_columns = dose_columns or {}
    if isinstance(patients, Design):
        if keep:
            raise InputError("A sample has no further columns to keep; all its columns are kept.")
        patients.checked(model, dose_columns)
        source: Source = _Sample(patients)
    elif is_path(patients):
        source = _file(model, Path(patients), dose_columns, keep)
    else:
        source = _Table(model, patients, dose_columns, keep)
    for name in dose_columns:
        if name not in source.names:
            raise InputError(f"The doses use the column {name!r}, which the patients do not have.")
    return source


class _Sample:
    """A design, which already is a source of rows."""

    def __init__(self, design: Design):
        self._design = design
        self.size = design.size
        self.names = design.names

    def rows(self, start: int, stop: int) -> pd.DataFrame:
        return self._design.rows(start, stop)

    def highest(self) -> dict[str, float]:
        return {name: item.support[1] for name, item in self._design.columns.items()}

    def describe(self) -> dict[str, Any]:
        return {"sample": self._design.describe()}


class _Table:
    """A table in memory."""

    def __init__(self, model: Model, patients: Any, dose_columns: Ranges, keep: Sequence[str]):
        patients = rows_listed(patients, "the patients")
        columns = list(patients) if isinstance(patients, pd.DataFrame | dict) else []
        extra = [*(name for name in dose_columns if name in columns), *keep]
        self._frame = _plain_frame(check_patients(model, patients, extra), dose_columns)
        self.size = len(self._frame)
        self.names = [name for name in self._frame.columns if name != "patient"]
        self._doses = [name for name in dose_columns if name in self.names]

    def rows(self, start: int, stop: int) -> pd.DataFrame:
        return self._frame.iloc[start:stop].reset_index(drop=True)

    def highest(self) -> dict[str, float]:
        return {name: float(self._frame[name].max()) for name in self._doses}

    def describe(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for name in self._frame.columns:
            values = self._frame[name]
            digest.update(f"{name} {values.dtype}".encode())
            try:
                digest.update(pd.util.hash_pandas_object(values, index=False).to_numpy().tobytes())
            except TypeError:  # lists and the like
                digest.update(repr(values.tolist()).encode())
        return {"rows": self.size, "columns": self.names, "hash": digest.hexdigest()}


class _ParquetFile:
    """A Parquet file; one of its groups of rows is in memory at a time."""

    def __init__(self, model: Model, path: Path, dose_columns: Ranges, keep: Sequence[str]):
        self._model, self._path, self._doses = model, path, dose_columns
        reader = TableReader(path, "The table of patients")
        ids, first = [], 0
        self._highest: dict[str, float] = {}
        for batch in reader:  # everything is checked before anything is computed
            self._keep = [*(name for name in dose_columns if name in batch.columns), *keep]
            frame = self._plain(batch, first)
            ids.append(frame["patient"].to_numpy())
            for name in set(dose_columns) & set(frame.columns):
                self._highest[name] = max(self._highest.get(name, -np.inf), float(frame[name].max()))
            first += len(frame)
        check_ids(np.concatenate(ids))
        self.size = first
        self.names = [name for name in frame.columns if name != "patient"]
        self._parquet = optional_import("pyarrow.parquet", extra="parquet", purpose="Reading Parquet files")
        with self._parquet.ParquetFile(path) as file:
            groups = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
        self._bounds = np.concatenate([[0], np.cumsum(groups)])
        self._group: tuple[int, pd.DataFrame] | None = None

    def _plain(self, batch: pd.DataFrame, first: int) -> pd.DataFrame:
        return _plain_frame(check_patients(self._model, batch, self._keep, first_id=first), self._doses)

    def _read(self, group: int) -> pd.DataFrame:
        if self._group is None or self._group[0] != group:
            try:
                with self._parquet.ParquetFile(self._path) as file:
                    frame = arrow_frame(file.read_row_group(group))
            except (OSError, ValueError) as error:
                raise InputError(
                    f"The table of patients {str(self._path)!r} cannot be read: {reason(error)}."
                ) from error
            self._group = (group, self._plain(frame, int(self._bounds[group])))
        return self._group[1]

    def rows(self, start: int, stop: int) -> pd.DataFrame:
        first = int(np.searchsorted(self._bounds, start, side="right")) - 1
        parts = []
        for group in range(first, len(self._bounds) - 1):
            low = int(self._bounds[group])
            if low >= stop:
                break
            parts.append(self._read(group).iloc[max(0, start - low) : stop - low])
        return pd.concat(parts, ignore_index=True)

    def highest(self) -> dict[str, float]:
        return self._highest

    def describe(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        with self._path.open("rb") as file:
            while block := file.read(_HASHED_BYTES):
                digest.update(block)
        return {"rows": self.size, "columns": self.names, "hash": digest.hexdigest()}


def _file(model: Model, path: Path, dose_columns: Ranges, keep: Sequence[str]) -> Source:
    if path.suffix.lower() == ".parquet":
        return _ParquetFile(model, path, dose_columns, keep)
    numbers = [*number_columns(model), *dose_columns]
    frame = read_table(path, "The table of patients", numbers)
    return _Table(model, frame, dose_columns, keep)


def _plain_frame(table: PatientTable, dose_columns: Ranges) -> pd.DataFrame:
    """Return checked patients as a table with numbers in NumPy's types."""
    from fastcart.patients import finite_numbers

    frame = pd.DataFrame({"patient": _of_one_type(pd.Series(table.ids), "patient"), **table.columns})
    for name in table.kept.columns:
        values = table.kept[name]
        if name in dose_columns:
            numbers = finite_numbers(values, f"The column {name!r} of doses holds", 0)
            low, high = dose_columns[name]
            wrong = (numbers < low) | (numbers > high)
            if wrong.any():
                row = int(np.argmax(wrong))
                allowed = "it must not be negative" if (low, high) == (0.0, np.inf) else (
                    f"allowed is from {low:g} to {high:g}"
                )  # fmt: skip
                raise InputError(
                    f"The column {name!r} of doses holds {numbers[row]:g} in row {row + 1}; {allowed}."
                )
            frame[name] = numbers
        else:
            frame[name] = _of_one_type(values, name)
    return frame


def _of_one_type(values: pd.Series, name: str) -> Any:
    """Return a column in a type that is the same in every part, whatever the cells in it.

    Raises
    ------
    InputError
        Where the cells are of several types.
    """
    if values.dtype != object:
        return values.array
    pa = optional_import("pyarrow", extra="parquet", purpose="A scan")
    try:
        cells = pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        kinds = ", ".join(sorted({type(value).__name__ for value in values}))
        raise InputError(
            f"The column {name!r} of the patients holds values of several types ({kinds}), which a Parquet "
            "file cannot hold; make them all text."
        ) from None
    return pd.arrays.ArrowExtensionArray(cells)
