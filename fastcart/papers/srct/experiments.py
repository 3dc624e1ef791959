"""The experiments of the specification: each returns one table, computed by code that a user can call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from fastcart.models.b_all import infusions
from fastcart.papers.srct.tuning import compared, tuned_dose, tuned_growth
from fastcart.population import PRIOR, sample
from fastcart.protocols import get
from fastcart.sensitivity_analysis.methods.ranks import partial_rank_correlations
from fastcart.trial.counterfactual import arm_course
from fastcart.trial.course import course
from fastcart.trial.frontier import isotoxic
from fastcart.trial.outcomes import expected, moments

DEFAULT_RHO_E = 2.95
RHO_E = (0.6, 1.0, 1.4, 1.8, 2.2, 2.6, 2.95)
HET = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5)
REGIME_HET = (0.25, 0.5, 1.0, 1.5)
LETHALITY = (0.015, 0.10, 0.20, 0.40)
ADULT = 70 / 39  # body weights, kg; extensive quantities grow with it
SPLIT_ARMS = ("A3", "A4", "A5")
NICHE_ARMS = ("A5", "X1", "X2", "X3", "X4", "X5", "X6", "X7", "X8", "X9", "X10", "X11", "X12", "X13")

_IN_REMISSION = ("CD19+ relapse", "CD19- relapse", "early_B_recovery")  # correlated among those alone

# what a structural variant changes: parameters by value, or as a multiple of the patient's own
VARIANTS: dict[str, dict[str, tuple[str, float]]] = {
    "default (nu 0.85)": {},
    "antigen-driven (nu 0.30)": {"nu": ("is", 0.30)},
    "nu 0.60": {"nu": ("is", 0.60)},
    "slow niche closure (rN / 2)": {"rN": ("times", 0.5)},
    "wide niche (Kq 1e11)": {"Kq": ("times", 1e11 / 3.2e10)},
    "strong exhaustion (KX 5e10)": {"KX": ("times", 5e10 / 7e11)},
    "all memory cells engraft (F_M 1)": {"F_M": ("is", 1.0)},
    "effectors do not engraft (F_E 0.005)": {"F_E": ("is", 0.005)},
    "IL-6 from killing, too (aD = aE)": {"aD": ("is", 1.6e-12)},
}


def changed(patients: pd.DataFrame, changes: dict[str, tuple[str, float]]) -> pd.DataFrame:
    """Return patients with other parameters."""
    columns: dict[str, Any] = {}
    for name, (how, value) in changes.items():
        columns[name] = value if how == "is" else patients[name] * value
    return patients.assign(**columns)


def heterogeneity(n: int, *, seed: int, threads: int | None = None) -> pd.DataFrame:
    """Single infusion and low-high-memory in populations from like to unlike patients (8.4)."""
    rows = []
    for het in HET:
        patients = sample(n, seed=seed, het=het)
        for name in ("A0", "A5"):
            values = expected(arm_course(get(name), patients, threads=threads))
            rows.append({"het": het, "arm": name, **values})
    return pd.DataFrame(rows)


def lethality(patients: pd.DataFrame, *, threads: int | None = None) -> pd.DataFrame:
    """Make CRS deadlier, until up to 40 % die of it (8.4); no new solution is needed."""
    from scipy.optimize import brentq

    courses = {name: arm_course(get(name), patients, threads=threads) for name in ("A0", "A5")}

    def excess(ln_factor: float, wanted: float) -> float:
        return expected(courses["A0"], hT_factor=float(np.exp(ln_factor)))["toxic_death"] - wanted

    rows = []
    for wanted in LETHALITY:
        factor = float(np.exp(brentq(excess, -10, 15, args=(wanted,), xtol=1e-9)))
        for name, path in courses.items():
            values = expected(path, hT_factor=factor)
            rows.append({"wanted": wanted, "hT_factor": factor, "arm": name, **values})
    return pd.DataFrame(rows)


def amplification(
    patients: pd.DataFrame, *, rho_E: Sequence[float] = RHO_E, threads: int | None = None
) -> pd.DataFrame:
    """Lower the growth of effectors and give more cells instead (8.3), to see where splitting wins."""
    parts = []
    for value in rho_E:
        slower = changed(patients, {"rhoE": ("times", value / DEFAULT_RHO_E)})
        regime = tuned_dose(slower, threads=threads)
        arms = [get(name) for name in SPLIT_ARMS]
        parts.append(compared(regime, arms, threads=threads, label={"rhoE": value}))
    return pd.concat(parts, ignore_index=True)


def regime_map(
    n: int,
    *,
    seed: int,
    rho_E: Sequence[float] = RHO_E,
    hets: Sequence[float] = REGIME_HET,
    threads: int | None = None,
) -> pd.DataFrame:
    """Gains of splitting over an iso-toxic single dose, over amplification and heterogeneity."""
    parts = []
    for het in hets:
        table = amplification(sample(n, seed=seed, het=het), rho_E=rho_E, threads=threads)
        table.insert(0, "het", het)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def structures(
    patients: pd.DataFrame, *, variants: Sequence[str] = tuple(VARIANTS), threads: int | None = None
) -> pd.DataFrame:
    """Other structures of the model (8.5), with the growth of effectors and IL-6 set anew."""
    parts = []
    for name in variants:
        regime = tuned_growth(changed(patients, VARIANTS[name]), threads=threads)
        arms = [get(arm) for arm in SPLIT_ARMS]
        parts.append(compared(regime, arms, threads=threads, label={"variant": name}))
    return pd.concat(parts, ignore_index=True)


def niche(patients: pd.DataFrame, frontier: pd.DataFrame, *, threads: int | None = None) -> pd.DataFrame:
    """Exploratory arms, niche support above all, against the frontier of the single dose (8.5)."""
    rows = {name: expected(arm_course(get(name), patients, threads=threads)) for name in ("A0", *NICHE_ARMS)}
    table = pd.DataFrame(rows).T
    gains = isotoxic(table, frontier).drop(columns="crs3")
    titles = pd.DataFrame({"title": [get(name).title for name in table.index]}, index=table.index)
    return pd.concat([titles, table, gains], axis=1).reset_index(names="arm")


def frontier(patients: pd.DataFrame, doses: Sequence[float], *, threads: int | None = None) -> pd.DataFrame:
    """Expected outcomes of the single infusion by dose."""
    return pd.DataFrame(
        [{"dose": d, **expected(arm_course(get("A0"), patients, dose=d, threads=threads))} for d in doses]
    )


# Frey et al. 2020, J Clin Oncol 38:415: cohort, cells, schedule, observed remissions and CRS deaths
COHORTS = (
    ("LD, single", 5e7, "A0", (3, 9), None),
    ("LD, split", 5e7, "A1", (3, 9), None),
    ("HDS", 5e8, "A0", (3, 6), (3, 6)),
    ("HDF", 5e8, "A1h", (18, 20), (0, 20)),
)


def frey(patients: pd.DataFrame, *, threads: int | None = None) -> pd.DataFrame:
    """Adult cohorts out of sample: nothing is fitted, doses are scaled by body weight (9).

    P is the probability of a result at least as improbable, by the exact binomial test.
    """
    rows = []
    for name, dose, arm, (responses, treated), deaths in COHORTS:
        values = expected(arm_course(get(arm), patients, dose=dose / ADULT, threads=threads))
        exact = stats.binomtest(responses, treated)
        interval = exact.proportion_ci(method="exact")
        row = {
            "cohort": name,
            "cells": dose,
            "patients": treated,
            "CR90": values["CR90"],
            "observed": responses / treated,
            "low": interval.low,
            "high": interval.high,
            "p_CR": stats.binomtest(responses, treated, values["CR90"]).pvalue,
            "toxic_death": values["toxic_death"],
            "deaths": np.nan,
            "p_deaths": np.nan,
        }
        if deaths is not None:
            row["deaths"] = deaths[0] / deaths[1]
            row["p_deaths"] = stats.binomtest(*deaths, values["toxic_death"]).pvalue
        rows.append(row)
    return pd.DataFrame(rows)


def why_patients_differ(n: int, *, seed: int, threads: int | None = None) -> pd.DataFrame:
    """Partial rank correlations of outcomes with every input, inputs independent (8.6).

    Relapse and B-cell recovery: among patients in remission.
    """
    patients = sample(n, seed=seed, prior=PRIOR.independent())
    path = course(patients, infusions(patients, [(0.0, 1.0, 1.0)]), threads=threads)
    told = moments(path)
    # the share of CD19- cells that there are: less than one cell is none
    inputs = patients.drop(columns=["patient", "R"]).assign(fR=patients["R"] / patients["L"])
    inputs = inputs.loc[:, inputs[told["ok"]].nunique() > 1]
    outcome = pd.DataFrame(
        {
            "ln_peak_T": told["ln_peak_T"],
            "ln_peak_C": told["ln_peak_C"],
            "CR90": told["CR90"],
            "CD19+ relapse": told["relapse"] & ~told["negative"],
            "CD19- relapse": told["negative"],
            "early_B_recovery": told["early_B_recovery"],
        }
    ).astype(np.float64)
    remission = told["ok"] & told["CR90"]
    columns = {}
    for name in outcome:
        rows = remission if name in _IN_REMISSION else told["ok"]
        x, y = inputs[rows].to_numpy(), outcome.loc[rows, [name]].to_numpy()
        columns[name] = partial_rank_correlations(x, y)[:, 0]
    return pd.DataFrame(columns, index=inputs.columns).reset_index(names="parameter")
