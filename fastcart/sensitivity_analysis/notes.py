"""What to know before indices are used: why one is missing, why one has no interval, who is censored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fastcart.sensitivity_analysis.correlations import LEAST
from fastcart.sensitivity_analysis.design import FAST_CURVES, FAST_HARMONICS, Design
from fastcart.sensitivity_analysis.indices import INDICES, MORRIS_LEAST, SOBOL_COMPLETE, Estimate
from fastcart.sensitivity_analysis.outputs import SURVIVAL, Outputs

CENSORED_SHARE = 0.01  # of the patients: from here on a study says what they do to its indices
COLUMNS = ["output", "index", "note", "serious"]
_UNITS = {"sobol": "base points", "morris": "trajectories", "fast": "search curves"}


def find_notes(
    design: Design, outputs: Outputs, values: dict[str, np.ndarray], y: np.ndarray, found: Estimate
) -> pd.DataFrame:
    """Return notes as a table: ``output``, ``index`` (empty for all), ``note``, ``serious``.

    A serious one says that numbers are missing, or mean something else than they seem to.
    """
    notes: list[dict[str, Any]] = []
    counts = outputs.counts(values, found.used)
    for j, column in enumerate(outputs.columns):
        censored = _censored(design, outputs, column.column, counts.iloc[j])
        missing = _missing(design, y[:, j], int(found.used[j]))
        everybody = counts["censored"].iloc[j] >= counts["used"].iloc[j] > 0  # of those that are counted
        if missing and column.column in SURVIVAL and everybody:
            text = (
                "no index, because all patients are censored at the horizon; choose another output or a "
                "longer horizon."
            )
            missing = [(text, True)]
        for text, serious in missing or censored:
            notes.append({"output": column.name, "index": "", "note": text, "serious": serious})
        for index in INDICES[design.method]:
            text = "" if missing else _no_interval(design, index, int(found.used[j]), found, j)
            if text:
                notes.append({"output": column.name, "index": index, "note": text, "serious": False})
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
    kept = y[np.isfinite(y)]
    unit = _UNITS.get(design.method)
    if used == 0 and unit:
        return [
            (
                f"no index, because none of the {len(y) // design.block} {unit} is complete: one patient who "
                "failed, was left out or has no such value takes the rest of it along. Keep censored "
                "patients, choose an output that all patients have, or use a correlation.", True,
            )
        ]  # fmt: skip
    if design.method == "sobol" and used < SOBOL_COMPLETE * design.block:
        return [
            (
                f"no index, because only {used // design.block} of {len(y) // design.block} base points are "
                f"complete, and {SOBOL_COMPLETE} are needed: one patient who failed or has no such value "
                "takes the rest of it along. Keep censored patients, choose an output that all patients "
                "have, or use a correlation.", True,
            )
        ]  # fmt: skip
    if used == 0:
        return [("no index, because no patient has such a value or was kept.", True)]
    if len(kept) and np.ptp(kept) <= 1e-13 * np.abs(kept).max():
        return [("no index (or 0), because it is the same for all patients.", False)]
    return []


def _censored(design: Design, outputs: Outputs, column: str, count: pd.Series) -> list[tuple[str, bool]]:
    """Say how many patients are censored, and what that does to indices of survival."""
    solved = int(count["patients"] - count["failed"] - count["left_out"])
    share = count["censored"] / solved if solved else 0.0
    if column not in SURVIVAL or share < CENSORED_SHARE or design.method == "concordance":
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


def _no_interval(design: Design, index: str, used: int, found: Estimate, j: int) -> str:
    """Say why values have no interval; empty where they have one."""
    value, low = found.value[index][:, j], found.low[index][:, j]
    without = np.isfinite(value) & ~np.isfinite(low)
    if not without.any():
        return ""
    if design.method == "fast":
        return (
            f"no interval, because the error of FAST is a bias that its {FAST_CURVES} curves share: "
            f"frequencies interfere, and harmonics above the {FAST_HARMONICS}th are cut, so that of an "
            "output with jumps or fast changes S1 is too small; use 'sobol' for such outputs and for "
            "an interval."
        )
    if index == "sigma":
        return (
            "no interval, because it depends on the tails of effects, of which few values are seen; repeat "
            "with other seeds to see how it varies."
        )
    names = ", ".join(np.array(design.labels)[without][:5])
    if design.method in ("morris", "sobol") and np.isfinite(low).any():
        return f"no interval for {names}, because all {_UNITS[design.method]} give the same."
    if design.method == "morris":
        return f"no interval with less than {MORRIS_LEAST} trajectories, which may miss rare effects."
    if design.method == "sobol":
        return "no interval where all base points of one of the scrambles are missing."
    beyond = f"{LEAST} patients" + (" more than inputs" if design.method == "prcc" else "")
    if used < LEAST + (len(design.names) if design.method == "prcc" else 0):
        return f"no interval with less than {beyond}."
    return (
        f"no interval for {names}, because a correlation of 1 or -1, or too near to it for so few patients, "
        "has none."
    )
