"""Tables in Excel workbooks: the first sheet, its cells as they are, text as text and numbers as numbers."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Collection, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from fastcart.checks import first_line, is_whole, shown
from fastcart.errors import optional_import
from fastcart.tables.delimited import Points, text_column, two_ways

_EXACT = 2**53  # Excel's numbers are doubles


def read_workbook(path: Path, numbers: Collection[str] | None = None) -> pd.DataFrame:
    """Read the first sheet of a workbook.

    Parameters
    ----------
    path : Path
    numbers : collection of str, optional
        Columns that hold numbers, also where they are written as text; one such as the text 1.234, the point
        of which may be that of thousands, is refused.

    Returns
    -------
    DataFrame
        A column of numbers as Int64 or float64, one of dates as datetime64; all others as pandas' type
        ``string``, in which an empty cell is missing.

    Raises
    ------
    ValueError, OSError
        With a reason that completes the sentence "the file cannot be read".
    """
    openpyxl = optional_import("openpyxl", extra="xlsx", purpose="Reading Excel workbooks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about styles and the like
        rows = _rows(openpyxl, path)
    first = next((k for k, row in enumerate(rows) if _filled(row)), None)
    if first is None:
        raise pd.errors.EmptyDataError
    names = ["" if cell is None else str(cell).strip() for cell in rows[first]]
    body = rows[first + 1 :]
    while body and not _filled(body[-1]):
        body.pop()
    columns = list(zip_longest(*body, fillvalue=None)) if body else [()] * len(names)
    made, kept, points = [], [], Points()
    for place, cells in enumerate(columns):
        name = names[place] if place < len(names) else ""
        if name:
            kept.append(name)
            if numbers is not None and name in numbers:
                points.look([cell for cell in cells if isinstance(cell, str)])
            made.append(_column(cells))
        elif _filled(cells):
            row = next(k for k, cell in enumerate(cells) if cell is not None)
            raise ValueError(
                f"column {place + 1} has no name in the header, but holds {shown(cells[row])} in row "
                f"{row + 1}; name it, or leave it out"
            )
    if points.unclear and not points.decimal:
        raise ValueError(
            f"it holds the text {shown(points.unclear)}, {two_ways(points.unclear)}; turn it into a number "
            "in a spreadsheet program"
        )
    kept += [name for name in names[len(columns) :] if name]
    made += [text_column([pd.NA] * len(body))] * (len(kept) - len(made))
    frame = pd.DataFrame(dict(enumerate(made)))
    frame.columns = pd.Index(kept, dtype=object)
    return frame


def _rows(openpyxl: Any, path: Path) -> list[list[Any]]:
    """Return all rows of the first sheet; formulas as the values that were computed last."""
    try:
        with path.open("rb") as file:
            sheets = []
            for values in (True, False):
                book = openpyxl.load_workbook(file, read_only=True, data_only=values)
                sheet = book.worksheets[0]
                sheet.reset_dimensions()  # some programs write wrong ones
                sheets.append([list(row) for row in sheet.iter_rows(values_only=True)])
                if values and all(cell is not None for row in sheets[0] for cell in row):
                    break
                file.seek(0)
    except OSError:
        raise
    except Exception as error:  # what a damaged one raises depends on where it is damaged
        text = first_line(str(error)) or type(error).__name__
        raise ValueError(f"it is no workbook that Excel could have written, or is damaged ({text})") from None
    for k, (computed, written) in enumerate(zip(*sheets, strict=True) if len(sheets) == 2 else ()):
        for j, (value, formula) in enumerate(zip(computed, written, strict=False)):
            if value is None and formula is not None:
                cell = f"{openpyxl.utils.get_column_letter(j + 1)}{k + 1}"
                raise ValueError(
                    f"cell {cell} holds a formula without a value; open the workbook in a spreadsheet "
                    "program, and save it"
                )
    return sheets[0]


def _filled(cells: Sequence[Any]) -> bool:
    return any(cell is not None and (not isinstance(cell, str) or cell.strip()) for cell in cells)


def _column(cells: Sequence[Any]) -> Any:
    """Return cells as a column of one type."""
    given = [cell for cell in cells if cell is not None and cell != ""]
    kinds = {type(cell) for cell in given}
    if kinds and kinds <= {int, float}:
        if all(abs(cell) < _EXACT and cell == int(cell) for cell in given):
            return pd.array([None if c in (None, "") else int(c) for c in cells], dtype="Int64")
        return pd.array([None if c in (None, "") else float(c) for c in cells], dtype="Float64").to_numpy(
            float, na_value=float("nan")
        )
    if kinds == {datetime.datetime}:
        return pd.Series([None if c == "" else c for c in cells], dtype="datetime64[us]")
    return text_column(["" if cell is None else _text(cell) for cell in cells])


def _text(cell: Any) -> str:
    """Return a cell of a column that holds several kinds as text: a whole number without a point."""
    if isinstance(cell, float) and not is_whole(cell) and abs(cell) < _EXACT and cell == int(cell):
        return str(int(cell))
    return str(cell)
