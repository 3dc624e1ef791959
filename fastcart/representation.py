"""How results show themselves in notebooks: plain tables of HTML, lines in red where one must look."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import pandas as pd

_MOST_ROWS = 12
_ALERT = "color:#b00020;font-weight:600"  # 7:1 on white


def cell(value: Any) -> str:
    """Return a value as a cell shows it: numbers with four digits, nothing for what is not there."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if math.isnan(number):
        return "–"
    return f"{number:.0f}" if number == round(number) and abs(number) < 1e6 else f"{number:.4g}"


def table(frame: pd.DataFrame, *, rows: int = _MOST_ROWS, index: bool = False) -> str:
    """Return a table as HTML, the first ``rows`` of it."""
    shown = frame.head(rows)
    heads = ([""] if index else []) + [str(name) for name in shown.columns]
    head = "".join(f"<th scope='col' style='text-align:right'>{escape(name)}</th>" for name in heads)
    body = []
    for label, values in zip(shown.index, shown.itertuples(index=False), strict=True):
        first = f"<th scope='row' style='text-align:right'>{escape(str(label))}</th>" if index else ""
        cells = "".join(f"<td style='text-align:right'>{escape(cell(value))}</td>" for value in values)
        body.append(f"<tr>{first}{cells}</tr>")
    more = len(frame) - len(shown)
    rest = f"<p>… and {more} more rows</p>" if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{rest}"


def facts(pairs: Iterable[tuple[str, Any]]) -> str:
    """Return names and values on one line."""
    return "<p>" + " · ".join(f"{escape(k)} <b>{escape(cell(v))}</b>" for k, v in pairs) + "</p>"


def alert(text: str) -> str:
    """Return a line in red; it says in words what it is about, for who sees no red."""
    return f"<p style='{_ALERT}'>{escape(text)}</p>"


def section(title: str, parts: Sequence[str]) -> str:
    """Return a title and what stands below it."""
    return f"<div><p><b>{escape(title)}</b></p>{''.join(part for part in parts if part)}</div>"


def in_brief(name: str, parts: Iterable[str]) -> str:
    """Return the short form of an object in one line, ``Name(part, part)``."""
    return f"{name}({', '.join(part for part in parts if part)})"
