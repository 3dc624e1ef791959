"""Tables written as text, as programs of many countries write them: read as they stand, or refused.

Every cell is text. Only the columns that are asked for as numbers become numbers; identifiers such as
``001``, ``1E5`` or ``NA`` stay as they are.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from fastcart.checks import number_in, shown

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_OTHERS = {
    b"PK\x03\x04": "an Excel workbook or another zip file; give it its own ending, .xlsx",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save it as .xlsx or .csv",
    b"PAR1": "a Parquet file; give it the ending .parquet",
    b"\x1f\x8b": "compressed with gzip; give it the ending .csv.gz",
}
_BATCH_ROWS = 65_536  # rows turned into columns at a time
_MANY = 1_000  # cells that are worth importing pyarrow for
_SAMPLE = 50  # lines that the separator is found from
_POINT = re.compile(r"\s*[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_COMMA = re.compile(r"\s*[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_EITHER = re.compile(r"\s*[+-]?[1-9]\d{0,2}[.,]\d{3}\s*", re.ASCII)  # 1,234: a decimal or a thousand?


def read_delimited(
    path: Path, numbers: Collection[str] | None, as_text: Collection[str] = ()
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table of text; the separator and the encoding are found, or the file is refused.

    Parameters
    ----------
    path : Path
        Gzip where the name ends in ``.gz``.
    numbers : collection of str or None
        Columns that hold numbers; all others are text. None: every column that holds nothing else.
    as_text : collection of str
        Columns that are also returned as they are written.

    Returns
    -------
    frame : DataFrame
        Numbers as float64; text in pandas' type ``string``, in which an empty cell is missing. A column that
        should hold numbers and does not is left with its text in it.
    written : dict
        Columns of numbers that are in ``as_text``, as text.

    Raises
    ------
    ValueError, OSError
        With a reason that completes the sentence "the file cannot be read".
    """
    with _opened(path) as text:
        rows, separator = _records(text, path)
        names, places, width = _header(next(rows))
        wanted = [numbers is not None and name in numbers for name in names]
        columns: list[list[Any]] = [[] for _ in names]
        points = Points()
        written: dict[str, list[str]] = {
            name: [] for name, w in zip(names, wanted, strict=True) if w and name in as_text
        }
        for batch in _batches(_data_rows(rows, width, places)):
            for j, cells in zip(range(len(names)), zip(*batch, strict=True), strict=True):
                if names[j] in written:
                    written[names[j]].extend(cells)
                if wanted[j]:
                    points.look(cells)
                    converted = _converted(cells)
                    columns[j].append(cells if converted is None else converted)
                else:
                    columns[j].append(cells)
    _decimal_commas([parts for parts, w in zip(columns, wanted, strict=True) if w], points, separator)
    made = [_column(parts, w, numbers is None) for parts, w in zip(columns, wanted, strict=True)]
    frame = pd.DataFrame(dict(enumerate(made)))
    frame.columns = pd.Index(names, dtype=object)
    return frame, {name: text_column(cells) for name, cells in written.items()}


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a file as text, having looked at how it begins."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as raw:
        head = raw.read(4096)
        raw.seek(0)
        for mark, what in _OTHERS.items():
            if head.startswith(mark):
                raise ValueError(f"it is {what}")
        encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8")
        if encoding == "utf-8" and head.count(b"\0") * 4 > len(head):
            raise ValueError("it is neither UTF-8 nor begins with a byte order mark; save it as UTF-8")
        with io.TextIOWrapper(raw, encoding=encoding, newline="") as text:
            try:
                yield text
            except UnicodeDecodeError as error:
                raise ValueError(_encoding_reason(error, encoding)) from None


def _encoding_reason(error: UnicodeDecodeError, encoding: str) -> str:
    if encoding != "utf-8":
        return (
            f"it begins as {encoding.upper().removesuffix('-SIG')}, but does not go on so; save it as UTF-8"
        )
    before = re.split(r"[\r\n]", error.object[: error.start].decode("ascii", "replace"))[-1][-12:]
    near = f" behind {shown(before)}" if before else ""
    return f"it is not UTF-8 (byte 0x{error.object[error.start]:02x}{near}); save it as UTF-8"


def _records(text: TextIO, path: Path) -> tuple[Iterator[list[str]], str]:
    """Return the records from the header on, and the separator."""
    given, head, before = None, "", 0
    for before, line in enumerate(text):
        bare = line.rstrip("\r\n")
        named = re.fullmatch(r'"?sep=(.)"?', bare, re.IGNORECASE) if before == 0 else None
        if named:  # as Excel writes and reads it
            given = named[1]
        elif bare.strip(" ,;\t") and not bare.startswith("#"):
            head = line
            break
    if not head:
        raise pd.errors.EmptyDataError
    if not any(map(str.isascii, head)):  # the halves of UTF-16 swapped
        raise ValueError("its encoding is not clear; save it as UTF-8")
    sample = [head, *islice(text, _SAMPLE)]
    separator = given or _separator(sample, path)
    first = next(csv.reader(sample, delimiter=separator), [])
    # "a, b" in the header is how some write a table; a space in other places belongs to the text
    skip = len(first) > 1 and all(cell.startswith(" ") for cell in first[1:])
    reader = csv.reader(chain(sample, text), delimiter=separator, strict=True, skipinitialspace=skip)
    return _with_lines(reader, before), separator


def _with_lines(reader: Any, before: int) -> Iterator[list[str]]:
    """Yield records; what is wrong with one is said with its line in the file."""
    try:
        yield from reader
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise ValueError("a quotation mark that opens a cell is never closed") from None
        text = str(error)
        if "limit" in text:
            text = f"a cell is longer than {csv.field_size_limit()} characters"
        raise ValueError(f"line {before + reader.line_num}: {text}") from None


def _separator(sample: list[str], path: Path) -> str:
    """Return the separator: the only one in the header, or the only one that fits the rows."""
    widths = {s: _widths(sample, s) for s in SEPARATORS}
    found = [s for s in SEPARATORS if widths[s] and widths[s][0] > 1]
    if ".tsv" in [suffix.lower() for suffix in path.suffixes]:
        found = [s for s in found if s == "\t"] or found
    if len(found) > 1:
        fitting = [s for s in found if set(widths[s]) == {widths[s][0]}]
        if len(fitting) != 1:
            listed = " and ".join(SEPARATORS[s] for s in found)
            raise ValueError(
                f"its header holds more than one kind of separator ({listed}); begin the file with a line "
                "such as sep=; that names it"
            )
        found = fitting
    if not found and re.search(r"[^\s|][\s|]+[^\s|]", sample[0]):
        raise ValueError(
            f"its header {shown(sample[0].strip())} holds no separator; separate columns by commas, "
            "semicolons or tabs"
        )
    return found[0] if found else ","


def _widths(sample: list[str], separator: str) -> list[int]:
    widths: list[int] = []
    try:
        for row in csv.reader(sample, delimiter=separator):
            if row and not (widths and row[0].startswith("#")):
                widths.append(len(row))
    except csv.Error:
        pass
    return widths[:-1] if len(sample) > _SAMPLE else widths  # the last one may go on


def _header(cells: list[str]) -> tuple[list[str], list[int], int]:
    """Return the names of the columns, their places, and how many cells the header has."""
    names = [cell.strip() for cell in cells]
    if all(number_in(name) is not None for name in names):
        raise ValueError(
            f"its first row {shown(', '.join(names))} holds numbers, where the names of the columns belong"
        )
    places = [place for place, name in enumerate(names) if name]
    return [names[place] for place in places], places, len(names)


def _data_rows(records: Iterable[list[str]], width: int, places: Sequence[int]) -> Iterator[list[str]]:
    """Yield rows of one length; empty lines, comments and rows of empty cells at the end are left out.

    A row may lack cells at its end, and may have empty ones beyond the header.
    """
    nameless = [place for place in range(width) if place not in places]
    pending = row = 0
    for cells in records:
        if len(cells) == width and cells[0] and not pending and not nameless:  # nearly all
            row += 1
            yield cells
            continue
        if not cells:  # an empty line
            continue
        if not cells[0].strip() and not any(map(str.strip, cells)):
            pending += 1
            continue
        number = row + pending + 1
        if len(cells) != width:
            if len(cells) == 1 and cells[0].startswith("#"):  # a comment
                continue
            cells = _of_width(cells, width, number)
        if nameless:
            cells = _named(cells, places, nameless, number)
        for _ in range(pending):
            yield [""] * len(places)
        row, pending = number, 0
        yield cells


def _of_width(cells: list[str], width: int, row: int) -> list[str]:
    """Return a row of another length than the header with as many cells."""
    if len(cells) < width:
        if cells[0].startswith("#"):
            raise ValueError(
                f"row {row} begins with '#' and has {len(cells)} cells, but the header has {width}; comments "
                "belong above the header"
            )
        if "\0" in cells[0]:
            raise ValueError(f"row {row} holds zeros where text belongs; the file is damaged")
        return [*cells, *[""] * (width - len(cells))]
    if any(map(str.strip, cells[width:])):
        raise ValueError(
            f"row {row} has {len(cells)} cells, but the header has {width}; a decimal comma, or a comma in a "
            "text, needs quotation marks or another separator"
        )
    return cells[:width]


def _named(cells: list[str], places: Sequence[int], nameless: Sequence[int], row: int) -> list[str]:
    """Return the cells below a name; the others must be empty."""
    for place in nameless:
        if cells[place].strip():
            raise ValueError(
                f"column {place + 1} has no name in the header, but holds {shown(cells[place])} in row "
                f"{row}; name it, or leave it out"
            )
    return [cells[place] for place in places]


def _batches(rows: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    while batch := list(islice(rows, _BATCH_ROWS)):
        yield batch


def _converted(cells: Sequence[str]) -> np.ndarray | None:
    """Return cells as numbers; None where one of them is not, as `fastcart.checks.number_in` has it."""
    joined = "".join(cells)
    if not joined.isascii() or "_" in joined:
        return None
    if len(cells) >= _MANY and (found := _by_pyarrow(cells)) is not None:
        return found
    try:
        return np.array(list(map(float, cells)), dtype=np.float64)
    except ValueError:
        return None


def _by_pyarrow(cells: Sequence[str]) -> np.ndarray | None:
    """Return cells as the same numbers in less time; None without pyarrow, or where it finds no number."""
    try:
        import pyarrow as pa
    except ImportError:
        return None
    try:
        return pa.array(cells, pa.string()).cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:  # also spaces around a number, and a sign +
        return None


class Points:
    """Numbers with a point that were seen so far: one in decimals, and one that may be in thousands."""

    def __init__(self) -> None:
        self.decimal: str | None = None
        self.unclear: str | None = None

    def look(self, cells: Sequence[str]) -> None:
        """Look at further cells."""
        if self.decimal is not None:
            return
        for cell in cells:
            if "." in cell and _POINT.fullmatch(cell):
                if _EITHER.fullmatch(cell):
                    self.unclear = self.unclear or cell.strip()
                else:
                    self.decimal = cell.strip()
                    return


def _decimal_commas(columns: list[list[Any]], points: Points, separator: str) -> None:
    """Turn decimal commas into points, in place, where they can be nothing else.

    Raises
    ------
    ValueError
        Where a comma may be that of thousands, or other numbers of the file have a point; where a point may
        be that of thousands, which goes with semicolons and tabs.
    """
    texts = [(parts, k) for parts in columns for k, part in enumerate(parts) if isinstance(part, tuple)]
    cells = (cell for parts, k in texts for cell in parts[k] if "," in cell)
    commas = [cell.strip() for cell in cells if _COMMA.fullmatch(cell)]
    write = "write all numbers with a decimal point and without commas"
    point = points.decimal or points.unclear
    if commas and point:
        raise ValueError(
            f"it holds numbers with a comma, as {shown(commas[0])}, and with a point, as {shown(point)}; "
            f"{write}"
        )
    if commas and all(map(_EITHER.fullmatch, commas)):
        raise ValueError(f"it holds the number {shown(commas[0])}, {two_ways(commas[0])}; {write}")
    separators = {";": "semicolons", "\t": "tabs"}.get(separator, f"characters {shown(separator)}")
    if points.unclear and not points.decimal and separator != ",":
        raise ValueError(
            f"it holds the number {shown(points.unclear)}, {two_ways(points.unclear)} where {separators} "
            "separate columns; separate them by commas, then a point is a decimal point"
        )
    for parts, k in texts if commas else ():
        replaced = tuple(c.replace(",", ".") if "," in c and _COMMA.fullmatch(c) else c for c in parts[k])
        converted = _converted(replaced)
        parts[k] = replaced if converted is None else converted


def two_ways(number: str) -> str:
    """Return what a number such as 1.234 may be, in words."""
    whole, part = re.split("[.,]", number)
    return f"which may be {whole}.{part} or {whole}{part}"


def _column(parts: list[Any], wanted: bool, infer: bool) -> Any:
    """Join the parts of a column."""
    if wanted and all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts) if parts else np.empty(0)
    cells = [cell for part in parts for cell in part]
    if infer and cells and (numbers := _converted(cells)) is not None:
        return numbers
    if wanted:  # the cell that is no number is named where the column is checked
        return pd.Series([pd.NA if isinstance(c, str) and not c.strip() else c for c in cells], dtype=object)
    return text_column(cells)


def text_column(cells: Sequence[Any]) -> Any:
    """Return texts as a column in which an empty one is missing."""
    values = np.array([*cells, None], dtype=object)[:-1]
    values[[isinstance(cell, str) and not cell for cell in cells]] = pd.NA
    return pd.array(values, dtype="string")
