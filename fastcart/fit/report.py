"""The report of a population's fit, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fastcart._version import __version__
from fastcart.fit.population_fit import PopulationFit
from fastcart.fit.population_tables import AGREE
from fastcart.fit.spec import FitSpec
from fastcart.fit.spec_designs import DesignsSpec

_BEST = 12  # schedules in the report

_CAPTIONS = {
    "observed_and_predicted": "Measured against predicted, with typical parameters (a) and with the most "
    "probable ones of each patient (b); residuals over their standard deviations (c, d; dashed: 95 % if the "
    "model is right). Censored measurements are left out.",
    "predictive_check": "Percentiles of the measurements (black) on 90 % of the simulations (bands), at each "
    "visit, or in bins of time where visits are at many times. Where a percentile is below the limit of "
    "quantification it is not known; the lower panel has the share below it.",
    "predictive_check_corrected": "The same, corrected for predictions.",
    "distribution_errors": "Normalised prediction distribution errors: standard normal if the model is "
    "right. A censored measurement is drawn beyond its limit, given what else was measured of its patient.",
    "courses": "The first patients: most probable course (line), that of typical parameters (dotted), "
    "measurements (dots), limits of censored ones (hollow triangles).",
    "traces": "The way of each start; from the dotted line on it is averaged. Black: the maximum.",
    "starts": "Where each start ended, with 95 % of the Monte Carlo error.",
}


def report_text(spec: FitSpec, fit: PopulationFit, tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the report."""
    data, best = fit.complete.prepared.data, fit.best.known
    used = [one.dvid for one in fit.complete.prepared.observations]
    lines = [
        f"# {spec.title}",
        "",
        f"**{'Converged' if fit.converged else 'NOT converged'}.** {_verdict(fit)}",
        "",
        *(f"- {text}" for text in fit.problems),
        *([""] if fit.problems else []),
        "## Data",
        "",
        *(f"- {line}" for line in data.summary(used=used).splitlines()),
        "",
        "## Estimates",
        "",
        _markdown(_estimates(tables["estimates"])),
        "",
        "Typical values and standard deviations of random effects (`omega`) in the scale of each parameter; "
        "intervals of 95 % by the standard error in that scale. Standard errors: observed information "
        f"(Louis) from importance samples; condition number of the estimates {fit.condition:.3g}.",
        "",
        "## Likelihood",
        "",
        _markdown(_criteria(fit)),
        "",
        "-2 ln L includes the terms with 2 pi" + _of_logs(fit) + ".",
        f" The least effective number of draws of a patient is {best.rounds.effective.min():.0f}.",
        "",
        "## Random effects",
        "",
        _markdown(tables["shrinkage"]),
        "",
        "Shrinkage by both definitions: 1 - variance / omega^2 and 1 - SD / omega, of conditional means and "
        "of modes; of residuals in the last rows.",
        "",
        "## Starts",
        "",
        _markdown(
            tables["starts"][
                ["minus2LL", "error", "least_effective_draws", "still_to_gain", "explored", "stationary"]
            ]
        ),
        "",
        f"Starts agree if -2 ln L differs by at most {AGREE:g}. Still to gain: by how much a further step of "
        "Newton would lower -2 ln L.",
        "",
        "## Figures",
        "",
    ]
    for name, caption in _CAPTIONS.items():
        lines += [f"![{name}](figures/{name}.png)", "", caption, ""]
    if spec.designs is not None:
        lines += _of_designs(spec.designs, tables["designs"])
    lines += ["## Methods", "", *_methods(fit), "", f"fastcart {__version__}; tables are in `tables`."]
    return "\n".join(lines) + "\n"


def _of_designs(spec: DesignsSpec, table: pd.DataFrame) -> list[str]:
    """Return the section on visits to come."""
    at = f" at {spec.at:g}" if spec.at is not None else ""
    limit = f" A measurement below {spec.limit:g} says that it is below." if spec.limit is not None else ""
    best = table.head(_BEST)[["schedule", "days", "sd", "sd_low", "sd_high", "left", "above"]]
    return [
        "## Visits to come", "",
        f"How well `{spec.quantity}`{at} of a patient is told by visits, of {len(table)} schedules the "
        f"best: expected posterior standard deviation, mean (`sd`) and 10 to 90 % of {spec.patients} virtual "
        f"patients of this fit; what is `left` of that without visits; the expected share `above` the limit."
        f"{limit} First order, with the fitted population as prior.", "",
        _markdown(best), "",
        "![designs](figures/designs.png)", "",
        "Visits (a) and what is left to know (b): mean (red), 10 to 90 % of the patients (bars), without any "
        "visit (dashed). All schedules: `tables/designs.csv`.", "",
    ]  # fmt: skip


def _verdict(fit: PopulationFit) -> str:
    many = len(fit.ended)
    way = (
        f"{many} starts, far apart, ended within {AGREE:g}"
        if many > 1 and fit.converged
        else f"{many} starts"
    )
    return f"-2 ln L is {fit.minus2LL:.3f} with a Monte Carlo error of {fit.minus2LL_error:.3f} ({way})."


def _of_logs(fit: PopulationFit) -> str:
    if fit.minus2LL_of_DV == fit.minus2LL:
        return ""
    return (
        "; log-normal measurements count by densities of ln DV (by those of DV it is "
        f"{fit.minus2LL_of_DV:.3f})"
    )


def _estimates(table: pd.DataFrame) -> pd.DataFrame:
    shown = table[["parameter", "estimate", "se", "rse", "low", "high", "scale", "says"]].copy()
    shown["rse"] = [f"{100 * x:.1f} %" if np.isfinite(x) else "" for x in shown["rse"]]
    return shown


def _criteria(fit: PopulationFit) -> pd.DataFrame:
    rows = [
        ("-2 ln L", fit.minus2LL), ("Monte Carlo error of it", fit.minus2LL_error), ("AIC", fit.aic),
        ("BIC", fit.bic), ("BICc", fit.bicc),
    ]  # fmt: skip
    return pd.DataFrame([(name, f"{value:.3f}") for name, value in rows], columns=["criterion", "value"])


def _methods(fit: PopulationFit) -> list[str]:
    ways = [
        "Stochastic approximation of EM with Markov chains (proposals from the population, of one random "
        "effect, of all along each patient's shape), until nothing that is estimated drifts, then averaged; "
        "from there Newton's steps on the likelihood itself, by importance sampling (t distributions with 5 "
        "degrees of freedom, a tenth of the draws from the population, scrambled Sobol points).",
        "A solve that fails counts as impossible.",
    ]
    if fit.complete.effects.fixed:
        ways.append(
            "Parameters without random effect: by Newton's steps on the complete likelihood: "
            + ", ".join(fit.complete.effects.fixed) + "."
        )  # fmt: skip
    return [f"- {text}" for text in ways]


def _markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown, with five digits."""

    def cell(value: Any) -> str:
        if isinstance(value, float | np.floating):
            return "" if np.isnan(value) else f"{value:.5g}"
        return str(value)

    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(cell(x) for x in row) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines)
