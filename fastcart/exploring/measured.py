"""Measurements that are laid over the bands: a table of times and values, read from text."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastcart.errors import InputError, nearest
from fastcart.exploring.settings import outputs_of
from fastcart.model import Model
from fastcart.tables.storage import read_table

MOST_POINTS = 5000
_WHAT = "The table of measurements"


def read_measured(text: str, model: Model) -> list[dict[str, Any]]:
    """Return measurements by quantity.

    Parameters
    ----------
    text : str
        CSV: columns ``time``, ``quantity``, ``value`` and perhaps ``sd``; or ``time`` and a column for each
        quantity, named as a state or observable. Separators and decimal commas are understood.
    model : Model

    Returns
    -------
    list of dict
        ``quantity``, ``time``, ``value``, and ``sd`` where it is given, lists of numbers.

    Raises
    ------
    InputError
        For a table without these columns, numbers, or a known quantity.
    """
    known = [item.name for item in outputs_of(model)]
    with tempfile.TemporaryDirectory() as folder:  # the reader takes files, and says what is wrong with them
        path = Path(folder) / "measurements.csv"
        path.write_text(text, encoding="utf-8")
        try:
            frame = read_table(path, _WHAT, {"time", "t", "value", "sd", *known})
        except InputError as error:  # its name says nothing to who gave the text
            raise InputError(str(error).replace(f" {str(path)!r}", "")) from None
    frame = frame.rename(columns={"t": "time"})
    if "time" not in frame:
        raise InputError(f"{_WHAT} needs a column 'time'; it has {', '.join(map(str, frame.columns))}.")
    if "quantity" in frame or "value" in frame:
        points = _long(frame, known)
    else:
        points = _wide(frame, known)
    if len(points) > MOST_POINTS:
        raise InputError(f"{_WHAT} has {len(points)} values; at most {MOST_POINTS} can be shown.")
    return [
        {"quantity": quantity, **{x: rows[x].tolist() for x in ("time", "value", "sd") if _given(rows, x)}}
        for quantity, rows in points.groupby("quantity", sort=False)
    ]


def _given(rows: pd.DataFrame, name: str) -> bool:
    return name in rows and bool(rows[name].notna().all())


def _long(frame: pd.DataFrame, known: list[str]) -> pd.DataFrame:
    for name in ("quantity", "value"):
        if name not in frame:
            raise InputError(
                f"{_WHAT} needs the columns 'time', 'quantity' and 'value'; {name!r} is missing."
            )
    frame = frame.assign(quantity=frame["quantity"].astype(str).str.strip())
    for name in frame["quantity"].unique():
        if name not in known:
            raise InputError(f"{_WHAT}: there is no state or observable {name!r}." + nearest(name, known))
    columns = [x for x in ("time", "quantity", "value", "sd") if x in frame]
    return _numbers(frame[columns], [x for x in columns if x != "quantity"])


def _wide(frame: pd.DataFrame, known: list[str]) -> pd.DataFrame:
    named = [name for name in frame.columns if name in known]
    if not named:
        raise InputError(
            f"{_WHAT} needs a column 'value' beside 'quantity', or columns named as states or observables, "
            f"such as {known[0]!r}."
        )
    parts = [
        _numbers(frame[["time", name]].rename(columns={name: "value"}).dropna(), ["time", "value"]).assign(
            quantity=name
        )
        for name in named
    ]
    return pd.concat(parts, ignore_index=True)


def _numbers(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the table with columns of finite numbers; a missing ``sd`` stays missing."""
    for name in names:
        values = pd.to_numeric(frame[name], errors="coerce")
        needed = values if name != "sd" else values[frame[name].notna()]
        if not np.isfinite(needed.to_numpy(dtype=float)).all():
            raise InputError(f"{_WHAT}: the column {name!r} must hold numbers.")
        frame = frame.assign(**{name: values})
    return frame
