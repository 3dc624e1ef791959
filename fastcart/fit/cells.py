"""Cells of a table for fits: names of its columns, numbers and texts in them, and what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import number_in, real, shown
from fastcart.dose_tables import as_frame
from fastcart.errors import InputError, nearest
from fastcart.tables.ids import id_text
from fastcart.tables.storage import is_path, read_table

DOSE_COLUMNS = ("AMT", "RATE", "DUR", "EVID", "CMT", "ADDL", "II", "SS", "MDV")
_COLUMNS = ("ID", "TIME", "DV", "DVID", *DOSE_COLUMNS, "CENS", "LIMIT")
DEVIATION = "DVSD"  # no table has it by chance
KNOWN = (*_COLUMNS, DEVIATION)
_BELOW_A_LIMIT = ("BLQ", "BQL", "BLOQ", "LLOQ", "<LLOQ", "ND")
_MISSING = ("", ".", "NA", "NaN", "nan")


class Cells:
    """The columns of a table as numbers, empty cells at a default."""

    def __init__(self, frame: pd.DataFrame):
        self.frame = frame

    def numbers(self, name: str, default: float = 0.0) -> np.ndarray:
        """Return a column of numbers; the default for what is missing, and where there is no such column."""
        if name not in self.frame:
            return np.full(len(self.frame), default)
        values = np.full(len(self.frame), default)
        for row, cell in enumerate(self.frame[name]):
            if cell is None:
                continue
            value = number_in(cell) if isinstance(cell, str) else real(cell)
            if value is None or not np.isfinite(value):
                raise InputError(
                    f"The column {name!r} holds {shown(cell)} in row {row + 1}, where a number belongs"
                    + (_of_limits(cell) if name == "DV" else "")
                    + "."
                )
            values[row] = value
        return values


def _of_limits(cell: Any) -> str:
    """Say how a measurement beyond a limit is given, where a cell looks like one."""
    text = str(cell).strip().upper()
    if text[:1] in ("<", "≤") or text in _BELOW_A_LIMIT:
        return "; of what is below the limit of quantification, DV is the limit, and the column CENS is 1"
    if text[:1] in (">", "≥"):
        return "; of what is above a limit, DV is the limit, and the column CENS is -1"
    return ""


def named_columns(table: Any, given: dict[str, str | None], ignore: list[str]) -> pd.DataFrame:
    """Return the table with the names of columns that are known, and None for all that is missing."""
    frame = read_table(table, "The table") if is_path(table) else as_frame(table, "The table")
    if frame.empty:
        raise InputError("The table is empty; give at least one row.")
    for name in ignore:
        if name not in frame:
            raise InputError(f"The column to ignore {name!r} is not there." + nearest(name, frame.columns))
    frame = _renamed(frame.drop(columns=ignore).reset_index(drop=True), given)
    for name in frame.columns:
        if list(frame.columns).count(name) > 1:
            raise InputError(f"The column {shown(name)} is given twice; map or ignore one of them.")
    for name in ("ID", "TIME", "DV"):
        if name not in frame:
            raise InputError(
                f"The table has no column {name!r}, but {', '.join(map(str, frame.columns))}; name the one "
                f"that is it by map={{{name!r}: ...}}, in a specification by columns = {{ {name} = ... }}."
            )
    return pd.DataFrame({str(name): _filled(frame[name]) for name in frame}, dtype=object)


def _renamed(frame: pd.DataFrame, given: dict[str, str | None]) -> pd.DataFrame:
    """Return the table with the names of columns that are known."""
    for name, column in given.items():
        if name not in KNOWN:
            raise InputError(
                f"The map names {shown(name)}, which is no column of a fit." + nearest(name, KNOWN)
            )
        if column is not None and column not in frame:
            raise InputError(
                f"The map says that {name} is the column {shown(column)}, which is not there."
                + nearest(column, frame.columns)
            )
    renamed: dict[Any, str] = {column: name for name, column in given.items() if column is not None}
    dropped = []
    for column in frame.columns:
        name = str(column).upper()
        if column in renamed or name not in _COLUMNS:
            continue
        if name in given:
            dropped.append(column)
        else:
            renamed[column] = name
    return frame.drop(columns=dropped).rename(columns=renamed)


def _filled(column: pd.Series) -> list[Any]:
    """Return the cells of a column, None where nothing is in them."""
    missing = column.isna().to_numpy()
    return [
        None if gone or (isinstance(cell, str) and cell.strip() in _MISSING) else cell
        for cell, gone in zip(column.tolist(), missing, strict=True)
    ]


def text_of(cell: Any) -> str:
    """Return how a kind of measurement is compared: 1, 1.0 and the texts of them are one."""
    value = number_in(cell) if isinstance(cell, str) else real(cell)
    return str(cell).strip() if value is None else id_text(float(value))


def typed(values: list[Any]) -> np.ndarray:
    """Return numbers where all that is there are numbers, else what was given."""
    found = [np.nan if x is None else number_in(x) if isinstance(x, str) else real(x) for x in values]
    if any(x is None for x in found):
        return np.array(values, dtype=object)
    return np.array(found, dtype=float)
