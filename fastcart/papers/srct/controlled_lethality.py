"""Deadlier CRS: what families achieve where toxicity kills more, from the same courses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from fastcart.papers.srct.controlled import Solved, Study
from fastcart.papers.srct.controlled_findings import LEVEL
from fastcart.protocols import get
from fastcart.trial.counterfactual import arm_course
from fastcart.trial.families import ENDPOINTS, Scan, at_level
from fastcart.trial.outcomes import expected

WANTED = (0.10, 0.20, 0.40)
"""Shares of toxic deaths under the clinical single dose, beside that of the calibration."""


def factors(patients: pd.DataFrame, weights: np.ndarray, **options: object) -> tuple[float, ...]:
    """Return by how much the hazard of toxic death is multiplied for each of the shares `WANTED`."""
    course = arm_course(get("A0"), patients, **options)  # type: ignore[arg-type]

    def excess(ln_factor: float, wanted: float) -> float:
        return expected(course, weights, hT_factor=float(np.exp(ln_factor)))["toxic_death"] - wanted

    return tuple(float(np.exp(brentq(excess, -10, 15, args=(wanted,), xtol=1e-9))) for wanted in WANTED)


def lethality(study: Solved | Study, weights: np.ndarray, given: Sequence[float]) -> pd.DataFrame:
    """Return the best survival of each family, and gains over the single dose of equal severe CRS.

    Rows: ``wanted`` (toxic deaths under the clinical dose), ``family``, ``best_OS730`` with the ``intensity``
    and ``crs3`` at which it is, ``gain_CR90``, ``gain_EFS730``, ``gain_OS730`` at the rate `LEVEL`.
    """
    rows = []
    for k, wanted in enumerate((None, *WANTED)):
        scans = _deadlier(study, k - 1) if given else {}
        if wanted is None:
            scans = {name: study.scans[name] for name in study.deadlier}
        if "single" not in scans:
            continue
        reference = _read(scans["single"], weights)
        usual = scans["single"].table(weights)
        toxic = float(usual["toxic_death"].iloc[int((usual["intensity"] / 1e8 - 1).abs().argmin())])
        for name, scan in scans.items():
            table, read = scan.table(weights), _read(scan, weights)
            best = table.iloc[int(table["OS730"].argmax())]
            row = {"wanted": toxic if wanted is None else wanted, "family": name}
            row |= {"best_OS730": best["OS730"], "intensity": best["intensity"], "crs3": best["crs3"]}
            row |= {f"gain_{one}": read[one] - reference[one] for one in ("CR90", "EFS730", "OS730")}
            rows.append(row)
    columns = [
        "wanted",
        "family",
        "best_OS730",
        "intensity",
        "crs3",
        "gain_CR90",
        "gain_EFS730",
        "gain_OS730",
    ]
    return pd.DataFrame(rows, columns=columns)


def _deadlier(study: Solved | Study, k: int) -> dict[str, Scan]:
    return {
        name: Scan(name, study.scans[name].intensities, parts[max(k, 0)])
        for name, parts in study.deadlier.items()
    }


def _read(scan: Scan, weights: np.ndarray) -> Mapping[str, float]:
    means = scan.means(np.where(scan.ok, weights, 0.0))
    found = at_level(means, scan.intensities, LEVEL)
    return dict(zip(ENDPOINTS, found[:-1].tolist(), strict=True))


def in_words(table: pd.DataFrame) -> str:
    """Say which family survives best as CRS is made deadlier, and from where on restraint pays."""
    told, first = [], None
    for wanted, rows in table.dropna(subset=["best_OS730"]).groupby("wanted"):
        plain = rows[rows["family"] != "promote x10"]
        best = plain.iloc[int(plain["best_OS730"].argmax())]
        single = rows.loc[rows["family"] == "single", "best_OS730"]
        if not len(single):
            return ""
        told.append(
            f"{100 * float(wanted):.3g} %: {best['family']} {100 * best['best_OS730']:.1f} %, single dose "  # type: ignore[arg-type]
            f"{100 * float(single.iloc[0]):.1f} %"
        )
        if first is None and best["family"] != "single":
            first = float(wanted)  # type: ignore[arg-type]
    if len(told) < 2:
        return ""
    pays = (
        f"restraint pays in survival once CRS kills {100 * first:.3g} % under the clinical dose"
        if first is not None
        else "restraint does not pay in survival at any of these rates"
    )
    return (
        "Best survival at 24 months over all intensities by how many CRS kills under the clinical dose, "
        f"families without promotion: {'; '.join(told)}. So {pays}."
    )
