"""All that a simulated trial computes, for its tables, figures and report."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from fastcart.population import Population
from fastcart.trial.analysis import Analysis
from fastcart.trial.spec import TrialSpec


@dataclass(frozen=True)
class TrialResult:
    """All tables of a simulated trial.

    Attributes
    ----------
    spec : TrialSpec
    patients : DataFrame
        Those solved in every arm; the rows of ``outcomes``.
    failed : int
        Patients left out because an arm could not be solved.
    outcomes : dict of str to DataFrame
        By arm, a row per patient.
    arms : DataFrame
        Expected values of each arm, and mean infused cells.
    frontier : DataFrame
        The single infusion by dose, expected values.
    isotoxic : DataFrame
        Each arm against the single infusion of equal toxicity, with bootstrap intervals of the gains over the
        draws of the prior; ``unjudged`` is the share of resamples in which no scanned dose is as toxic.
    pairs : DataFrame
        Each treatment against the control, patient by patient.
    trials : dict of str to DataFrame
        By treatment, the patients of one randomized trial.
    analyses : dict of str to Analysis
        By treatment.
    tests : DataFrame
        One test for each endpoint and treatment, beside what is true in the model; see
        `fastcart.trial.primary`.
    power, sizes : DataFrame
        By treatment; the control against itself gives the type I error.
    population : Population
    reached : DataFrame
        For a calibrated population, each target: ``wanted``, what the weighted ``sample`` reached, and what
        the ``treated`` patients reach under the single infusion of the calibration; else empty.
    """

    spec: TrialSpec
    patients: pd.DataFrame
    failed: int
    outcomes: dict[str, pd.DataFrame]
    arms: pd.DataFrame
    frontier: pd.DataFrame
    isotoxic: pd.DataFrame
    pairs: pd.DataFrame
    trials: dict[str, pd.DataFrame]
    analyses: dict[str, Analysis]
    tests: pd.DataFrame
    power: pd.DataFrame
    sizes: pd.DataFrame
    population: Population
    reached: pd.DataFrame
