"""What a table for fits may hold that is allowed, and yet may be a mistake, in sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fastcart.fit.data import Measurements

_MOST_ROWS = 5  # that a warning lists


def notes_on_measurements(
    of: Measurements, ids: np.ndarray, time: np.ndarray, event: np.ndarray, patient: np.ndarray
) -> tuple[str, ...]:
    """Return what is allowed, but may be a mistake."""
    notes = []
    given = np.isin(event, (1, 4))
    if given.any():
        first = np.full(len(ids), np.inf)
        np.minimum.at(first, patient[given], time[given])
        early = np.isfinite(first[of.patient]) & (of.time < first[of.patient])
        if early.any():
            notes.append(f"{early.sum()} measurements lie before the first dose: {_listed(of.row[early])}.")
    same = np.zeros(len(of.time), dtype=bool)
    if len(of.time):
        order = np.lexsort((of.row, of.before, of.kind, of.time, of.patient))
        again = np.ones(len(order) - 1, dtype=bool)
        for values in (of.patient, of.time, of.kind, of.before):
            again &= values[order[1:]] == values[order[:-1]]
        same[order[1:][again]] = True
    if same.any():
        notes.append(
            f"{same.sum()} measurements have the patient, time and kind of another, and count as further "
            f"ones: {_listed(of.row[same])}."
        )
    return tuple(notes)


def notes_on_cells(frame: pd.DataFrame, dosed: np.ndarray) -> list[str]:
    """Return what stands in the table and is not read as it may be meant."""
    notes = []
    if dosed.any():
        notes.append(
            f"{dosed.sum()} rows of doses have a DV other than 0, which is not read; give measurements rows "
            f"of their own: {_listed(np.flatnonzero(dosed) + 1)}."
        )
    if "C" in frame:
        comment = np.array([isinstance(x, str) and x.strip().upper() == "C" for x in frame["C"]])
        if comment.any():
            notes.append(
                f"{comment.sum()} rows have a 'C' in the column 'C', as NONMEM marks comments, and count all "
                f"the same; leave them out: {_listed(np.flatnonzero(comment) + 1)}."
            )
    return notes


def _listed(rows: np.ndarray) -> str:
    """Return rows for a sentence, the first few of them."""
    shown_rows = ", ".join(str(row) for row in np.sort(rows)[:_MOST_ROWS])
    word = "row" if len(rows) == 1 else "rows"
    return f"{word} {shown_rows}" + (", ..." if len(rows) > _MOST_ROWS else "")
