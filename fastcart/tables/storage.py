"""Tables on disk: CSV, Parquet and Excel in, CSV and Parquet out, never half-written."""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeGuard

import pandas as pd

from fastcart.checks import reason, shown
from fastcart.errors import InputError, optional_import
from fastcart.tables.delimited import read_delimited
from fastcart.tables.unfinished import Unfinished
from fastcart.tables.workbook import read_workbook

_TEXT = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_WRITTEN = (".csv", ".csv.gz", ".parquet")
_READ = (*_TEXT, ".parquet", ".xlsx")
_BATCH_ROWS = 262_144  # rows of Parquet read at a time


def _pyarrow(module: str) -> Any:
    return optional_import(module, extra="parquet", purpose="Reading and writing Parquet files")


def _format(path: Path) -> str:
    """Return the ending that says how a table is written, in small letters."""
    name = path.name.lower()
    return next((ending for ending in (".csv.gz", ".tsv.gz") if name.endswith(ending)), path.suffix.lower())


def check_format(path: Path, what: str, *, read: bool = False) -> str:
    """Return the ending of a table to be written, or with ``read`` to be read, or say what is allowed."""
    ending = _format(path)
    if ending not in (_READ if read else _WRITTEN):
        more = ".csv.gz, .tsv and .xlsx are read too" if read else ".csv.gz is possible too"
        hint = "; a table of text in .txt needs the ending .csv" if read and ending == ".txt" else ""
        raise InputError(f"{what} {str(path)!r} must end in .csv or .parquet ({more}){hint}.")
    if ending == ".parquet":
        _pyarrow("pyarrow")
    return ending


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


def is_path(value: Any) -> TypeGuard[str | os.PathLike[str]]:
    """Return whether a value names a file: a path, or a text with an ending or a folder in it."""
    if isinstance(value, str):
        return bool(Path(value).suffix) or "/" in value or os.sep in value
    return isinstance(value, os.PathLike)


def read_table(
    path: str | os.PathLike[str], what: str, numbers: Collection[str] | None = None
) -> pd.DataFrame:
    """Read a whole table; see `TableReader`."""
    batches = list(TableReader(Path(path), what, numbers))
    return batches[0] if len(batches) == 1 else pd.concat(batches, ignore_index=True)


class TableReader:
    """Batches of rows of a file; Parquet is never held in memory as a whole.

    Parameters
    ----------
    path : Path
        ``.csv`` and ``.tsv``, also with ``.gz``; ``.parquet``; ``.xlsx``, of which the first sheet is read.
    what : str
        How errors call it, e.g. ``"The table of patients"``.
    numbers : collection of str, optional
        Columns of a table of text that hold numbers. All others are text, exactly as it is written, so that
        an id ``001`` stays one. Default: every column that holds nothing but numbers. Parquet and Excel know
        the types of their columns.
    as_text : collection of str
        Columns of a table of text, those of numbers too, that are held as they are written in ``written``.

    Attributes
    ----------
    rows : int
    written : dict
        Columns ``as_text`` of a table of text; empty for Parquet and Excel.

    Raises
    ------
    InputError
        When the file is missing, unreadable, empty or has another format.
    """

    def __init__(
        self,
        path: Path,
        what: str,
        numbers: Collection[str] | None = None,
        *,
        as_text: Collection[str] = (),
    ):
        self.path = path
        self.what = what
        with self._reading():
            if not path.exists():
                raise InputError(f"{what} {str(path)!r} does not exist; check the path.")
            if path.is_dir():
                raise InputError(f"{what} {str(path)!r} is a folder; give the name of a file.")
        ending = check_format(path, what, read=True)
        self._frame: pd.DataFrame | None = None
        self.written: dict[str, Any] = {}
        with self._reading():
            if ending == ".parquet":
                with _pyarrow("pyarrow.parquet").ParquetFile(path) as file:
                    self.rows = file.metadata.num_rows
            else:
                if ending == ".xlsx":
                    self._frame = read_workbook(path, numbers)
                else:
                    self._frame, self.written = read_delimited(path, numbers, as_text)
                self.rows = len(self._frame)

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

    @contextmanager
    def _reading(self) -> Iterator[None]:
        name = f"{self.what} {str(self.path)!r}"
        try:
            yield
        except pd.errors.EmptyDataError:
            raise InputError(f"{name} is empty; give a header and at least one row.") from None
        except InputError:
            raise
        except (OSError, EOFError, ValueError, NotImplementedError, zlib.error) as error:
            raise InputError(f"{name} cannot be read: {reason(error)}.") from error


def arrow_frame(rows: Any) -> pd.DataFrame:
    """Return a table or batch of pyarrow as a DataFrame that keeps pyarrow's types."""
    pa = _pyarrow("pyarrow")
    columns, names = [], []
    for name, values in zip(rows.schema.names, rows.columns, strict=True):
        if re.fullmatch(r"__index_level_\d+__", name):  # what pandas keeps of a nameless index
            continue
        columns.append(_decoded(pa, values))
        names.append(name)
    return pa.Table.from_arrays(columns, names=names).to_pandas(types_mapper=pd.ArrowDtype)


def arrow_table(frame: pd.DataFrame) -> Any:
    """Return a DataFrame as a table of pyarrow, the types of which do not depend on the rows."""
    pa = _pyarrow("pyarrow")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    columns = [_decoded(pa, column) for column in table.columns]
    return pa.Table.from_arrays(columns, names=table.column_names)


def _decoded(pa: Any, values: Any) -> Any:
    """Return categories as what they stand for: their codes may differ from batch to batch."""
    if pa.types.is_dictionary(values.type):
        return values.cast(values.type.value_type)
    # pandas can do little with views
    return values.cast(pa.string()) if str(values.type) == "string_view" else values


def check_writable(frame: pd.DataFrame, path: Path) -> None:
    """Check that columns come back from a file of this format as they are.

    Raises
    ------
    InputError
        Where they do not: lists, structures and bytes have no form in CSV.
    """
    if _format(path) == ".parquet":
        return
    for name, kind in frame.dtypes.items():
        if isinstance(kind, pd.ArrowDtype):
            types = _pyarrow("pyarrow").types
            arrow = kind.pyarrow_dtype
            if types.is_nested(arrow) or "binary" in str(arrow):
                raise InputError(
                    f"The column {shown(name)} holds values of the type {arrow}, which CSV has no form for; "
                    "write to a .parquet file, or leave the column out."
                )


class TableWriter:
    """Write a table part by part to a temporary file; it gets its name only when all went well.

    Use as a context manager; an exception inside removes the temporary file. What a run that was killed left
    of the same table is removed; one that is still being written is left alone.

    Parameters
    ----------
    path : Path
        Where the table goes; ``.csv``, ``.csv.gz`` or ``.parquet``.

    Raises
    ------
    InputError
        On entry, where another process is writing the same table.
    OSError
        Where it cannot be written; ``filename`` is the path.
    """

    def __init__(self, path: Path):
        self.path = path
        self._ending = _format(path)
        self._file: Unfinished | None = None
        self._writer: Any = None
        self._started = False

    def __enter__(self) -> TableWriter:
        """Open the temporary file."""
        with naming(self.path):
            self._file = Unfinished(self.path)
        if self._ending != ".parquet":
            raw: Any = self._file.stream
            if self._ending == ".csv.gz":  # without name and time: the same table gives the same bytes
                raw = gzip.GzipFile("", "wb", 6, raw, 0)
            self._writer = _Lines(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
        return self

    def write(self, part: pd.DataFrame) -> None:
        """Append rows."""
        assert self._file is not None
        with naming(self.path):
            if self._ending != ".parquet":
                _write_csv(part, self._writer, header=not self._started)
            else:
                table = arrow_table(part)
                if self._writer is None:
                    parquet = _pyarrow("pyarrow.parquet")
                    self._writer = parquet.ParquetWriter(self._file.stream, table.schema)
                self._writer.write_table(table.cast(self._writer.schema))
        self._started = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; rename when all went well, else remove."""
        assert self._file is not None
        try:
            with naming(self.path):
                if self._writer is not None:
                    self._writer.close()
                if kind is None and self._started:
                    self._file.finish()
        finally:  # closing may fail, e.g. where the disk is full
            with naming(self.path):
                self._file.remove()


class _Lines(io.TextIOBase):
    """A file for the module csv, which hands over one record at a time: each ends in a line feed alone."""

    def __init__(self, file: io.TextIOWrapper | io.StringIO):
        self._inner = file

    def writable(self) -> bool:
        return True

    def write(self, record: str) -> int:
        return self._inner.write(record.removesuffix("\r\n") + "\n")

    def close(self) -> None:
        """Hand on what is buffered; the file below stays open."""
        if not self.closed:
            super().close()
            self._inner.flush()
            below = self._inner.detach() if isinstance(self._inner, io.TextIOWrapper) else None
            if isinstance(below, gzip.GzipFile):
                below.close()


def _write_csv(table: pd.DataFrame, lines: Any, *, header: bool) -> None:
    # the end of a line in two signs: else a cell that holds one of them is written without quotation marks
    table.to_csv(lines, index=False, header=header, lineterminator="\r\n")


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as the text of a CSV file."""
    text = io.StringIO(newline="")
    _write_csv(table, _Lines(text), header=True)
    return text.getvalue()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in an error of the operating system, e.g. that the disk is full."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file through a temporary file and a rename.

    Raises
    ------
    OSError
        Where it cannot be written; ``filename`` is the path.
    """
    with naming(path):
        file = Unfinished(path)
        try:
            file.stream.write(text.encode())
            file.finish()
        finally:
            file.remove()
