"""Populations in another regime, with the dose and IL-6 scale that make them comparable with the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.protocols import Arm, get
from fastcart.trial.counterfactual import arm_course
from fastcart.trial.course import GRADES
from fastcart.trial.frontier import isotoxic
from fastcart.trial.outcomes import expected

CR90 = 0.80  # of a single infusion in every regime
CRS3 = 0.46
BASELINE_C = 5.0  # pg/mL, IL-6 at rest
_DOSES = (1e5, 1e13)  # cells, where the dose is looked for
_HALVINGS = 12
_SCAN = (1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.35, 0.6, 1.0, 2.0)  # of the tuned dose


@dataclass(frozen=True)
class Regime:
    """A population whose single infusion has the usual remission and toxicity.

    Parameters
    ----------
    patients : DataFrame
    dose : float
        Cells; the smallest dose with the wanted remission, or the best one where none reaches it.
    control : DataFrame
        Course of the single infusion.
    """

    patients: pd.DataFrame
    dose: float
    control: pd.DataFrame

    @property
    def amplification(self) -> float:
        """Median of the most CAR-T cells over the engrafted ones."""
        p = self.patients
        engrafted = self.dose * (p["F_E"] * (1 - p["fM"]) + p["F_M"] * p["fM"])
        return float(np.median(self.control["peak_T"].to_numpy() / engrafted.to_numpy()))


def tuned(patients: pd.DataFrame, *, threads: int | None = None, dose: float | None = None) -> Regime:
    """Set the dose to a remission rate of 80 %, and the production of IL-6 to 46 % of severe CRS.

    IL-6 acts on nothing, and is linear in its production ``pC``: one solution gives the scale exactly.

    Parameters
    ----------
    patients : DataFrame
    threads : int, optional
    dose : float, optional
        Keep this dose, and set IL-6 only.
    """
    if dose is None:
        low, high = np.log10(_DOSES)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            course = arm_course(get("A0"), patients, dose=10**middle, t_end=120.0, threads=threads)
            low, high = (low, middle) if expected(course)["CR90"] >= CR90 else (middle, high)
        dose = float(10**high)
    course = arm_course(get("A0"), patients, dose=dose, t_end=120.0, threads=threads)
    peaks = course["peak_C"].to_numpy()
    at = np.nanquantile(peaks, 1 - CRS3)
    scale = (GRADES[2] - BASELINE_C) / (at - BASELINE_C)
    made = patients.assign(pC=patients["pC"] * scale)
    return Regime(made, dose, arm_course(get("A0"), made, dose=dose, threads=threads))


def compared(
    regime: Regime, arms: list[Arm], *, threads: int | None = None, label: dict[str, Any] | None = None
) -> pd.DataFrame:
    """Compare arms with the single infusion, and with the single infusion of equal toxicity.

    Returns
    -------
    DataFrame
        A row per arm: labels, dose, amplification, expected values, and gains over the iso-toxic single dose.
    """
    scan = [
        {
            "dose": share * regime.dose,
            **expected(arm_course(get("A0"), regime.patients, dose=share * regime.dose, threads=threads)),
        }
        for share in _SCAN
    ]
    rows = {"A0": expected(regime.control)}
    for arm in arms:
        rows[arm.name] = expected(arm_course(arm, regime.patients, dose=regime.dose, threads=threads))
    table = pd.DataFrame(rows).T
    gains = isotoxic(table, pd.DataFrame(scan)).drop(columns="crs3").rename(columns={"dose": "isotoxic_dose"})
    result = pd.concat([table, gains], axis=1).reset_index(names="arm")
    for k, (name, value) in enumerate((label or {}).items()):
        result.insert(k, name, value)
    return result.assign(dose=regime.dose, amplification=regime.amplification)
