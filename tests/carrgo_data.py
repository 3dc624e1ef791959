"""The killing assays of CARRGO with dexamethasone as a table for a fit, where the references are there.

Brummer et al., MIT licence. Which rows of which column, the terminal weight and how standard deviations of
zero are replaced is said in `carrgo_refits.csv` of the references.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

NAMES = {
    "rho": "rho", "kappainv": "K_inverse", "c0": "c0", "kappac1": "kappa1", "kappac2": "kappa2",
    "theta": "theta", "c3": "c3",
}  # fmt: skip
BOUNDS = {
    "rho": (0, 1), "K_inverse": (0, 2), "c0": (-100, 100), "kappa1": (0, 40), "kappa2": (0, 10),
    "theta": (0, 10), "c3": (0, 10),
}  # fmt: skip
WHOLE_RECORD = {"PBT4": 666}  # rows; else 652


@dataclass(frozen=True)
class Assays:
    """A table for `fastcart.fit.read`, the published parameters, and what was found with them."""

    table: pd.DataFrame
    published: pd.DataFrame  # a row for each assay, of parameters
    refits: pd.DataFrame
    fixed: dict[Any, dict[str, float]]


def assays(folder: Path) -> Assays:
    """Return all 72 assays."""
    early = pd.read_csv(folder / "car_T_dex_pbt1_pbt2_lines.csv", encoding="utf-8-sig")
    late = pd.read_csv(folder / "car_T_dex_pbt3_pbt4_lines.csv", encoding="utf-8-sig")
    refits = pd.read_csv(folder / "carrgo_refits.csv")
    fits = pd.read_csv(folder / "fit_parameters.csv", encoding="utf-8-sig").dropna(subset=["tumor_line"])
    published = pd.DataFrame({ours: fits[f"{theirs}_val"].to_numpy() for theirs, ours in NAMES.items()})
    parts = []
    for k, row in refits.iterrows():
        frame = late if row.line == "PBT4" else early
        parts.append(_assay(frame, row).assign(ID=f"{row.line} {row.column}"))
        assert (fits.iloc[k].tumor_line, fits.iloc[k].data_column) == (row.line, row.column)
    ids = [f"{row.line} {row.column}" for _, row in refits.iterrows()]
    # what was estimated as 0 was free, too, of which the refits tell
    free = pd.DataFrame({ours: refits[theirs].to_numpy() > 1e-12 for theirs, ours in NAMES.items()})
    left = (published == 0) & ~free
    fixed = {
        name: {key: 0.0 for key, gone in left.iloc[k].items() if gone} for k, name in enumerate(ids)
    }  # fmt: skip
    return Assays(pd.concat(parts, ignore_index=True), published, refits, fixed)


def _assay(frame: pd.DataFrame, row: Any) -> pd.DataFrame:
    """Return the measurements of one assay: 'cancer', and the end of 'cart' where there are T cells."""
    begin, end = int(row.row_start), int(row.row_end)
    weighted = row.rule.startswith("sd_weighted")
    time = frame["Time (Hour)"].to_numpy()
    value = frame[row.column].to_numpy()[begin:end].astype(float)
    deviation = frame[row.column.replace("Y", "SD")].to_numpy()[begin:end].astype(float)
    hours = time[begin:end]
    cells = float(row.t_cell_start)
    if weighted and cells > 0:
        rest = time[end : WHOLE_RECORD.get(row.line, 652)]
        hours = np.append(hours, rest)
        value = np.append(value, np.zeros(len(rest)))
        deviation = np.append(deviation, np.full(len(rest), deviation.mean()))
    good = np.isfinite(hours) & np.isfinite(value) & np.isfinite(deviation)
    hours, value, deviation = hours[good], value[good], deviation[good]
    deviation = np.where(deviation == 0, deviation.mean(), deviation) if weighted else np.ones(len(hours))
    table = pd.DataFrame({"TIME": hours - hours[0], "DV": value, "sd": deviation, "DVID": "cancer"})
    if cells > 0:
        weight = 50.0 if weighted else 10.0
        last = {"TIME": hours[-1] - hours[0], "DV": row.t_cell_end, "sd": 1 / weight, "DVID": "cart"}
        table = pd.concat([table, pd.DataFrame([last])], ignore_index=True)
    return table.assign(cancer=value[0], cart=cells)
