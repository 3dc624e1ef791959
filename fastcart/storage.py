"""Tables on disk: CSV and Parquet in, CSV and Parquet out, never half-written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from fastcart.checks import reason
from fastcart.errors import InputError, optional_import

FORMATS = (".csv", ".parquet")
_BATCH_ROWS = 262_144  # rows of Parquet read at a time


def _pyarrow(module: str) -> Any:
    return optional_import(module, extra="parquet", purpose="Reading and writing Parquet files")


def check_format(path: Path, what: str) -> str:
    """Return ``.csv`` or ``.parquet``, or say what is allowed."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{what} {str(path)!r} must end in .csv or .parquet.")
    if suffix == ".parquet":
        _pyarrow("pyarrow")
    return suffix


def check_output(path: Path, what: str, *, force: bool, source: Path | None = None) -> None:
    """Check that an output file can be written, before anything is computed.

    Raises
    ------
    InputError
        For a wrong ending, an existing file without ``force``, the file ``source`` that the input comes
        from, a folder that is missing or not writable.
    """
    check_format(path, what)
    folder = path.parent
    if path.is_dir():
        raise InputError(f"{what} {str(path)!r} is a folder; give the name of a file.")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise InputError(f"{what} {str(path)!r} is the table of patients itself; give another name.")
    if path.exists() and not force:
        raise InputError(f"{what} {str(path)!r} exists already; use --force to replace it.")
    if not folder.is_dir():
        raise InputError(f"The folder {str(folder)!r} for {what.lower()} does not exist; create it.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"The folder {str(folder)!r} for {what.lower()} is not writable.")


class TableReader:
    """Batches of rows of a CSV or Parquet file; Parquet is never held in memory as a whole.

    Parameters
    ----------
    path : Path
    what : str
        How errors call it, e.g. ``"The table of patients"``.

    Raises
    ------
    InputError
        When the file is missing, unreadable, empty or has another format.
    """

    def __init__(self, path: Path, what: str):
        self.path = path
        self.what = what
        if not path.exists():
            raise InputError(f"{what} {str(path)!r} does not exist; check the path.")
        if path.is_dir():
            raise InputError(f"{what} {str(path)!r} is a folder; give the name of a file.")
        self._suffix = check_format(path, what)
        self._frame: pd.DataFrame | None = None
        with self._reading():
            if self._suffix == ".csv":
                self._frame = self._read_csv()
                self.rows = len(self._frame)
            else:
                with _pyarrow("pyarrow.parquet").ParquetFile(path) as file:
                    self.rows = file.metadata.num_rows

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Yield the rows batch by batch, in types that have room for empty cells.

        The type of a column is then the same in every batch, and whole numbers stay whole and exact.
        """
        if self._frame is not None:
            yield self._frame
            return
        with self._reading(), _pyarrow("pyarrow.parquet").ParquetFile(self.path) as file:
            empty = True
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                empty = False
                yield arrow_frame(batch)
            if empty:
                yield arrow_frame(file.schema_arrow.empty_table())

    def _read_csv(self) -> pd.DataFrame:
        frame = pd.read_csv(
            self.path, skipinitialspace=True, dtype_backend="numpy_nullable", low_memory=False,
            float_precision="round_trip",  # before pandas 3 the default is off in the last digit
        )  # fmt: skip
        # where rows are longer than the header, pandas takes the first cells for an index
        if not isinstance(frame.index, pd.RangeIndex):
            raise ValueError("the rows have more cells than the header")
        return frame

    @contextmanager
    def _reading(self) -> Iterator[None]:
        name = f"{self.what} {str(self.path)!r}"
        try:
            yield
        except pd.errors.EmptyDataError:
            raise InputError(f"{name} is empty; give a header and at least one row.") from None
        except (OSError, ValueError, NotImplementedError) as error:
            raise InputError(f"{name} cannot be read: {reason(error)}.") from error


def arrow_frame(rows: Any) -> pd.DataFrame:
    """Return a table or batch of pyarrow as a DataFrame that keeps pyarrow's types."""
    pa = _pyarrow("pyarrow")
    columns, names = [], []
    for name, values in zip(rows.schema.names, rows.columns, strict=True):
        if re.fullmatch(r"__index_level_\d+__", name):  # what pandas keeps of a nameless index
            continue
        # categories as what they stand for: their codes may differ from batch to batch
        dictionary = pa.types.is_dictionary(values.type)
        columns.append(values.cast(values.type.value_type) if dictionary else values)
        names.append(name)
    return pa.Table.from_arrays(columns, names=names).to_pandas(types_mapper=pd.ArrowDtype)


class TableWriter:
    """Write a table part by part to a temporary file; it gets its name only when all went well.

    Use as a context manager; an exception inside removes the temporary file.

    Parameters
    ----------
    path : Path
        Where the table goes; ``.csv`` or ``.parquet``.
    """

    def __init__(self, path: Path):
        self.path = path
        self._suffix = path.suffix.lower()
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._writer: Any = None
        self._started = False

    def __enter__(self) -> TableWriter:
        """Open the temporary file."""
        if self._suffix == ".csv":
            self._writer = self._temporary.open("w", newline="", encoding="utf-8")
        return self

    def write(self, part: pd.DataFrame) -> None:
        """Append rows."""
        if self._suffix == ".csv":
            part.to_csv(self._writer, index=False, header=not self._started)
        else:
            pa = _pyarrow("pyarrow")
            # categories as plain text: a dictionary may differ from part to part
            plain = part.astype(dict.fromkeys(part.select_dtypes("category").columns, "str"))
            table = pa.Table.from_pandas(plain, preserve_index=False)
            if self._writer is None:
                parquet = _pyarrow("pyarrow.parquet")
                self._writer = parquet.ParquetWriter(self._temporary, table.schema)
            self._writer.write_table(table.cast(self._writer.schema))
        self._started = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; rename when all went well, else remove."""
        try:
            if self._writer is not None:
                self._writer.close()
            if kind is None and self._started:
                self._temporary.replace(self.path)
        finally:  # closing may fail, e.g. where the disk is full
            self._temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file through a temporary file and a rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
