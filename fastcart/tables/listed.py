"""Tables that are given as a list of rows, each a mapping of names to values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fastcart.errors import InputError


def rows_listed(given: Any, what: str, *, complete: bool = True) -> Any:
    """Return a list of rows, mappings of names to values, as a table; anything else as it is.

    Parameters
    ----------
    given : object
    what : str
        What the table is of, for errors: ``"the patients"``.
    complete : bool
        Whether all rows must have the same names; else what a row lacks is missing in it.

    Raises
    ------
    InputError
        For rows that do not have the same names.
    """
    if not isinstance(given, list | tuple) or not given:
        return given
    if not all(isinstance(row, Mapping | pd.Series) for row in given):
        return given
    rows = [dict(row) for row in given]
    columns = dict.fromkeys(name for row in rows for name in row)
    for k, row in enumerate(rows if complete else ()):
        for name in columns:
            if name not in row:
                raise InputError(
                    f"Row {k + 1} of {what} has no {name!r}, which others have; give it in every row."
                )
    return pd.DataFrame(rows, columns=list(columns))


def as_rows_or_columns(given: Any, example: str) -> str:
    """Return how a table is written, `` Write ...``, for a list or an array that is none; else nothing."""
    if not isinstance(given, list | tuple | np.ndarray):
        return ""
    return (
        f" Write columns, {{{example!r}: [1e6, 2e6]}}, or rows, [{{{example!r}: 1e6}}, {{{example!r}: 2e6}}]."
    )
