"""Populations in another regime, with the dose and IL-6 scale that make them comparable with the default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.model import Model
from fastcart.protocols import Arm, get
from fastcart.trial.counterfactual import DOSE, arm_course
from fastcart.trial.course import GRADES
from fastcart.trial.frontier import isotoxic
from fastcart.trial.outcomes import expected
from fastcart.trial.together import arms_together

CR90 = 0.80  # of a single infusion in every regime
CRS3 = 0.46
BASELINE_C = 5.0  # pg/mL, IL-6 at rest
_DOSES = (1e5, 1e12)  # cells, where the dose is looked for; a body has about 1e12 lymphocytes
_FACTORS = (0.2, 2.0)  # of the growth rate
_REMISSION_DAYS = 120.0  # by then it is known who reached and kept remission by day 90
_HALVINGS = 12
_SCAN = (1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.35, 0.6, 1.0, 2.0)  # of the tuned dose


@dataclass(frozen=True)
class Regime:
    """A population whose single infusion has the usual remission and toxicity.

    Parameters
    ----------
    patients : DataFrame
    dose : float
        Cells; the smallest dose with the wanted remission, or the largest one where none reaches it.
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

    def scales(self, before: pd.DataFrame) -> dict[str, np.ndarray]:
        """Return what makes this regime of patients as they were: the dose and the factor of IL-6."""
        factor = float(self.patients["pC"].iloc[0] / before["pC"].iloc[0])
        numbers = {"dose": self.dose, "pC": factor, "amplification": self.amplification}
        return {name: np.array(value) for name, value in numbers.items()}


def tuned_dose(patients: pd.DataFrame, *, threads: int | None = None, model: str | Model = "b_all") -> Regime:
    """Set the dose to a remission rate of 80 %, and the production of IL-6 to 46 % of severe CRS."""

    def remission(log_dose: float) -> float:
        return _remission(patients, 10**log_dose, threads, model)

    low, high = np.log10(_DOSES)
    return _with_toxicity(patients, 10 ** _lowest(remission, low, high), threads, model)


def tuned_growth(
    patients: pd.DataFrame,
    *,
    threads: int | None = None,
    dose: float = DOSE,
    model: str | Model = "b_all",
) -> Regime:
    """Set the growth rate of effectors instead of the dose, which stays."""

    def grown(factor: float) -> pd.DataFrame:
        return patients.assign(rhoE=patients["rhoE"] * factor)

    factor = _lowest(lambda value: _remission(grown(value), dose, threads, model), *_FACTORS)
    return _with_toxicity(grown(factor), dose, threads, model)


def _remission(patients: pd.DataFrame, dose: float, threads: int | None, model: str | Model) -> float:
    path = arm_course(get("A0"), patients, dose=dose, t_end=_REMISSION_DAYS, model=model, threads=threads)
    return float(expected(path)["CR90"])


def _lowest(remission: Callable[[float], float], low: float, high: float) -> float:
    """Return about the lowest value with the wanted remission, by bisection."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if remission(middle) >= CR90 else (middle, high)
    return float(high)


def _with_toxicity(patients: pd.DataFrame, dose: float, threads: int | None, model: str | Model) -> Regime:
    """Scale IL-6, which acts on nothing and is linear in its production ``pC``: one solution is enough."""
    path = arm_course(get("A0"), patients, dose=dose, model=model, threads=threads)
    at = float(np.nanquantile(path["peak_C"].to_numpy(), 1 - CRS3))
    scale = (GRADES[2] - BASELINE_C) / (at - BASELINE_C)
    made = patients.assign(pC=patients["pC"] * scale)
    return Regime(made, dose, arm_course(get("A0"), made, dose=dose, model=model, threads=threads))


def compared(
    regime: Regime, arms: list[Arm], *, threads: int | None = None, label: dict[str, Any] | None = None
) -> pd.DataFrame:
    """Compare arms with the single infusion, and with the single infusion of equal toxicity.

    Returns
    -------
    DataFrame
        A row per arm: labels, dose, amplification, expected values, and gains over the iso-toxic single dose.
    """
    doses = [share * regime.dose for share in _SCAN]
    single = arms_together([(get("A0"), dose) for dose in doses], regime.patients, threads=threads)
    scan = [{"dose": dose, **expected(one.course)} for dose, one in zip(doses, single, strict=True)]
    rows = {"A0": expected(regime.control)}
    for arm in arms:
        rows[arm.name] = expected(arm_course(arm, regime.patients, dose=regime.dose, threads=threads))
    table = pd.DataFrame(rows).T
    gains = isotoxic(table, pd.DataFrame(scan)).drop(columns="crs3").rename(columns={"dose": "isotoxic_dose"})
    result = pd.concat([table, gains], axis=1).reset_index(names="arm")
    for k, (name, value) in enumerate((label or {}).items()):
        result.insert(k, name, value)
    return result.assign(dose=regime.dose, amplification=regime.amplification)
