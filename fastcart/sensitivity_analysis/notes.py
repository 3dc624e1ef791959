"""What to know before indices are used: why one is missing, why one has no interval, who is censored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fastcart.sensitivity_analysis.design import Design
from fastcart.sensitivity_analysis.indices import Estimate
from fastcart.sensitivity_analysis.methods import find
from fastcart.sensitivity_analysis.methods.base import Method
from fastcart.sensitivity_analysis.outputs import Outputs
from fastcart.solvers.endpoints import survival_endpoints

CENSORED_SHARE = 0.01  # of the patients: from here on a study says what they do to its indices
_LOST_SHARE = 0.05  # of the patients: from here on it is a matter of warning that they are missing
COLUMNS = ["output", "index", "note", "serious"]


def find_notes(
    design: Design, outputs: Outputs, values: dict[str, np.ndarray], y: np.ndarray, found: Estimate
) -> pd.DataFrame:
    """Return notes as a table: ``output``, ``index`` (empty for all), ``note``, ``serious``.

    A serious one says that numbers are missing, or mean something else than they seem to.
    """
    method = find(design.method)
    notes: list[dict[str, Any]] = []
    counts = outputs.counts(values, found.used)
    for j, column in enumerate(outputs.columns):
        censored = _censored(method, outputs, column.column, counts.iloc[j])
        missing = _missing(design, y[:, j], int(found.used[j]))
        everybody = counts["censored"].iloc[j] >= counts["used"].iloc[j] > 0  # of those that are counted
        if missing and column.column in survival_endpoints() and everybody:
            text = (
                "no index, because all patients are censored at the horizon; choose another output or a "
                "longer horizon."
            )
            missing = [(text, True)]
        for text, serious in missing or [*censored, *_left_out(method, counts.iloc[j])]:
            notes.append({"output": column.name, "index": "", "note": text, "serious": serious})
        for index in method.indices:
            value, low = found.value[index][:, j], found.low[index][:, j]
            if not missing and (np.isfinite(value) & ~np.isfinite(low)).any():
                text = method.no_interval(design, index, int(found.used[j]), value, low)
                notes.append({"output": column.name, "index": index, "note": text, "serious": False})
        if not missing:
            of_output = {
                index: (found.value[index][:, j], found.low[index][:, j], found.high[index][:, j])
                for index in method.indices
            }
            for text in method.doubts(design, of_output):
                notes.append({"output": column.name, "index": "", "note": text, "serious": False})
    return pd.DataFrame(notes, columns=COLUMNS)


def sentences(notes: pd.DataFrame, *, serious: bool = False) -> list[str]:
    """Return the notes as sentences, one for all outputs that it holds for."""
    chosen = notes[notes["serious"].astype(bool)] if serious else notes
    lines = []
    for (index, text), part in chosen.groupby(["index", "note"], sort=False):
        names = list(dict.fromkeys(part["output"]))
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        lines.append(f"{shown}{f', {index}' if index else ''}: {text}")
    return lines


def _missing(design: Design, y: np.ndarray, used: int) -> list[tuple[str, bool]]:
    """Say why an output has no indices at all."""
    method = find(design.method)
    kept, block = y[np.isfinite(y)], method.block(design)
    blocks, complete = len(y) // block, used // block
    lost = (
        "one patient who failed{} or has no such value takes the rest of it along. Keep censored patients, "
        "choose an output that all patients have, or use a correlation."
    )
    if block > 1 and used == 0:
        return [
            (
                f"no index, because none of the {blocks} {method.unit} is complete: "
                + lost.format(", was left out"), True,
            )
        ]  # fmt: skip
    if block > 1 and complete < method.needed:
        return [
            (
                f"no index, because only {complete} of {blocks} {method.unit} are complete, and "
                f"{method.needed} are needed: {lost.format('')}", True,
            )
        ]  # fmt: skip
    if used == 0:
        return [("no index, because no patient has such a value or was kept.", True)]
    if len(kept) and np.ptp(kept) <= 1e-13 * np.abs(kept).max():
        return [("no index (or 0), because it is the same for all patients.", False)]
    return []


def _left_out(method: Method, count: pd.Series) -> list[tuple[str, bool]]:
    """Say how many patients are missing from the indices without having been asked for."""
    lost = int(count[["failed", "undefined", "with_others"]].sum())
    wanted = int(count["patients"] - count["left_out"] - count["censored_dropped"])
    if not lost:
        return []
    why = f"{int(count['failed'])} failed, {int(count['undefined'])} have no such value"
    if count["with_others"]:
        why += f", {int(count['with_others'])} stand in the same {method.unit} as one of them"
    return [
        (
            f"{lost} of {wanted} patients ({lost / wanted:.0%}) are left out ({why}); the indices are those "
            "of the part of the ranges that is left, in which inputs are no longer independent. Narrow the "
            "ranges, or choose an output that all patients have.", lost > _LOST_SHARE * wanted,
        )
    ]  # fmt: skip


def _censored(method: Method, outputs: Outputs, column: str, count: pd.Series) -> list[tuple[str, bool]]:
    """Say how many patients are censored, and what that does to indices of survival."""
    solved = int(count["patients"] - count["failed"] - count["left_out"])
    share = count["censored"] / solved if solved else 0.0
    if column not in survival_endpoints() or share < CENSORED_SHARE or method.censoring:
        return []
    how = {
        "keep": "counts the horizon as their survival, which weakens and bends its indices",
        "drop": "leaves them out, who lived longest, which bends its indices and may turn their sign",
    }["drop" if column == "progression" else outputs.censored]
    return [
        (
            f"{int(count['censored'])} of {solved} patients ({share:.0%}) are censored at the horizon; this "
            f"study {how}. Use the method 'concordance', which takes censoring into account, or a longer "
            "horizon.", True,
        )
    ]  # fmt: skip
