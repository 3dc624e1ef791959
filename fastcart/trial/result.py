"""All that a simulated trial computes, for its tables, figures and report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import pandas as pd

from fastcart.checks import shown
from fastcart.errors import InputError, counted, nearest
from fastcart.population import Population
from fastcart.representation import alert, in_brief, section, table
from fastcart.trial.analysis import Analysis
from fastcart.trial.proportions import few_patients
from fastcart.trial.spec import TrialSpec

PlotKind = Literal["frontier", "forest", "kaplan_meier", "power"]
PLOTS = get_args(PlotKind)


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        arms = [arm.name for arm in self.spec.arms]
        shown = ", ".join(arms[:6]) + (", ..." if len(arms) > 6 else "")
        left = f"{self.failed} not solved" if self.failed else ""
        return in_brief("TrialResult", [f"arms {shown}", counted(len(self.patients), "patient"), left])

    def _repr_html_(self) -> str:
        """Show expected values of the arms in a notebook."""
        left = (
            alert(f"{self.failed} patients were not solved in every arm and left out") if self.failed else ""
        )
        few = few_patients(len(self.patients))
        return section(repr(self), [left, alert(few) if few else "", table(self.arms, rows=30)])

    def plot(self, kind: PlotKind = "frontier", *, treatment: str | None = None) -> Any:
        """Draw what the trial shows.

        Parameters
        ----------
        kind : {'frontier', 'forest', 'kaplan_meier', 'power'}
            Efficacy against toxicity of all arms, what one trial would report, survival in one trial, power.
        treatment : str, optional
            Of ``kaplan_meier``; default the first.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputError
            For another kind or treatment.
        """
        from fastcart import plotting
        from fastcart.trial import figures

        if kind not in PLOTS:
            raise InputError(f"There is no plot {shown(kind)} of a trial." + nearest(kind, PLOTS))
        name = self.spec.treatments[0] if treatment is None else treatment
        if name not in self.trials:
            raise InputError(f"There is no treatment {shown(name)}." + nearest(name, self.trials))
        with plotting.style():
            if kind == "kaplan_meier":
                pair = (self.spec.control.name, name)
                trial = self.trials[name]
                return figures.kaplan_meier_figure(trial, pair, self.spec.horizon, self.spec.alpha)[0]
            draw = {
                "frontier": figures.frontier_figure, "forest": figures.forest_figure,
                "power": figures.power_figure,
            }[kind]  # fmt: skip
            return draw(self)[0]
