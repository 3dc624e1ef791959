"""Populations of known data against exact answers; from starts off by a factor of three, three seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fit_models import ORAL
from numba import njit

from fastcart import Model, Parameter, State, fit, models
from fastcart.fit.modes import modes

pytestmark = pytest.mark.slow

SEEDS = (1, 2, 3)
WARFARIN = {
    "warfarin all additive": (fit.additive(), True), "warfarin all combined1": (fit.combined1(), True),
    "warfarin all combined2": (fit.combined2(), True),
    "warfarin nozero proportional": (fit.proportional(), False),
    "warfarin nozero combined2": (fit.combined2(), False),
}  # fmt: skip
ORAL_NAMES = ["ka", "CL", "V"]


@njit
def _saturable(t, y, p):
    return (-p.VM / p.V * y.C / (p.KM + y.C),)


def saturable() -> Model:
    parameters = [
        Parameter("DOSE", 1e5),
        Parameter("V", 67.0),
        Parameter("VM", 930.0),
        Parameter("KM", 222.0),
    ]
    start = State("C", "mg/L", lambda values: values["DOSE"] / values["V"])
    return Model("saturable", [start], parameters, _saturable, t_end=25.0)


def numbers(text: str) -> np.ndarray:
    """Return the numbers among the words of a text."""
    return np.array([float(x) for x in text.split() if x.replace(".", "", 1).lstrip("-").isdigit()])


def of_logarithm(row) -> str:
    """Return the words that have the standard error of a logarithm: they stand in one of two columns."""
    return row.se_or_error if "ln" in row.se_or_error else row.method


class Answers:
    """The exact answers of one problem: estimates in a row, standard errors, -2 ln L."""

    def __init__(self, folder, problem: str):
        table = pd.read_csv(folder / "reference_values.csv")
        mine = table[table["problem"] == problem].set_index("quantity")
        self.minus2LL = float(mine.filter(regex="^minus2LL($|_lnDV|_at_mle)", axis=0)["value"].iloc[0])
        means, spreads = (mine.filter(regex=f"^{name}", axis=0) for name in ("mu", "omega2"))
        last = mine.drop(index=[x for x in mine.index if x.startswith(("minus", "mu", "omega", "shr"))])
        mu, omega2, errors = (numbers(" ".join(part["value"])) for part in (means, spreads, last))
        self.row = np.concatenate([mu, 0.5 * np.log(omega2), np.log(errors)])
        self.error = numbers(" ".join([*means["se_or_error"], *map(of_logarithm, spreads.itertuples()),
                                       *map(of_logarithm, last.itertuples())]))  # fmt: skip
        assert len(self.error) == len(self.row)


def off_by_three(answers: Answers, names, seed: int) -> dict[str, float]:
    """A start off by a factor of three in every estimate."""
    signs = np.random.default_rng(1000 + seed).choice([-1, 1], len(answers.row))
    return dict(zip(names, np.exp(answers.row + np.log(3) * signs).tolist(), strict=True))


def agrees(found: fit.PopulationFit, answers: Answers, limits: dict[str, float]) -> None:
    size = len(found.complete.effects.random)
    away = np.abs(found.row - answers.row) / answers.error
    assert away[:size].max() < limits["mu"]
    assert away[size : 2 * size].max() < limits["omega"]
    assert abs(found.minus2LL - answers.minus2LL) < limits["minus2LL"]
    assert found.minus2LL_error <= limits["error"]
    np.testing.assert_allclose(np.sqrt(np.diag(found.cov)), answers.error, rtol=0.1)
    assert found.converged, found.problems


CLOSE = {"mu": 0.1, "omega": 0.15, "minus2LL": 0.1, "error": 0.03}


def individuals_agree(found: fit.PopulationFit, table: pd.DataFrame, answers: Answers) -> None:
    """Conditional means of the fit; modes at the exact estimates, since they move with these."""
    mine, effects = found.individuals(), found.complete.effects
    starts = found.best.known.summary.mean[:, np.newaxis]
    best = modes(found.complete, effects.unpack(answers.row), starts, found.deviations).phi
    for k, name in enumerate(effects.random):
        size = table[f"sd_ln_{name}"]
        assert (np.abs(best[:, k] - table[f"mode_ln_{name}"]) / size).max() < 0.02
        assert (np.abs(mine[f"{name}_scaled_mean"] - table[f"mean_ln_{name}"]) / size).max() < 0.05


def fitted_from_seeds(data: fit.FitData, answers: Answers, observation: fit.Observation) -> fit.PopulationFit:
    """Fit the oral model from each seed, which must agree with the answers; return the last fit."""
    names = [*ORAL_NAMES, *(f"omega_{x}" for x in ORAL_NAMES), *observation.error_names]
    for seed in SEEDS:
        found = fit.population(
            ORAL, data, random=ORAL_NAMES, observations=observation, seed=seed,
            starts=[off_by_three(answers, names, seed)],
        )  # fmt: skip
        agrees(found, answers, CLOSE)
    return found


def test_theophylline(references):
    table = pd.read_csv(references / "fit" / "theophylline.csv")
    table = table.assign(CMT=np.where(table["EVID"] == 1, "depot", "cp"))
    data, answers = fit.read(table, ORAL), Answers(references / "fit", "theophylline all additive")
    observation = fit.Observation("cp", "center / V", fit.additive())
    found = fitted_from_seeds(data, answers, observation)
    known = pd.read_csv(references / "fit" / "theophylline_all_additive_individual.csv")
    individuals_agree(found, known, answers)


@pytest.mark.parametrize("problem", WARFARIN)
@pytest.mark.filterwarnings("ignore:.*count as further ones")
def test_warfarin(references, problem):
    error, zeros = WARFARIN[problem]
    table = pd.read_csv(references / "fit" / "warfarin.csv")
    table = table[(table["dvid"] == "cp") & ((table["evid"] == 1) | (table["dv"] > 0) | zeros)]
    table = table.drop(columns="dvid").assign(CMT=np.where(table["evid"] == 1, "depot", "cp"))
    data, answers = fit.read(table, ORAL), Answers(references / "fit", problem)
    observation = fit.Observation("cp", "center / V", error)
    found = fitted_from_seeds(data, answers, observation)
    assert 0.6 < found.shrinkage().set_index("parameter").loc["ka", "variance"] < 0.75
    known = pd.read_csv(references / "fit" / f"{problem.replace(' ', '_')}_individual.csv")
    individuals_agree(found, known, answers)


def test_saturable_elimination_of_120_patients(references):
    table = pd.read_csv(references / "fit" / "Bolus_1CPTMM.csv")
    table = table[(table["SD"] == 1) & (table["EVID"] == 0)][["ID", "TIME", "DV", "DOSE"]].assign(DVID="C")
    model, answers = saturable(), Answers(references / "fit", "bolus_1cptmm SD==1 lognormal")
    data, random = fit.read(table, model), ["V", "VM", "KM"]
    for seed in SEEDS:
        found = fit.population(
            model, data, random=random, observations=fit.Observation("C", "C", fit.lognormal()), seed=seed,
            starts=[off_by_three(answers, [*random, *(f"omega_{x}" for x in random), "s_C"], seed)],
        )  # fmt: skip
        agrees(found, answers, CLOSE)
    assert found.minus2LL_of_DV == pytest.approx(25074.03, abs=0.1)
    known = pd.read_csv(references / "fit" / "bolus_1cptmm_sd_lognormal_individual.csv")
    individuals_agree(found, known, answers)


@pytest.mark.filterwarnings("ignore:.*count as further ones")
@pytest.mark.parametrize("seed", SEEDS)
def test_cell_kinetics_with_a_limit_of_quantification(references, seed):
    model = models.get("cart_kinetics")
    data = fit.read(references / "fit" / "cart_kinetics.csv", model, observables={1: "y"})
    answers = Answers(references / "fit", "cart_kinetics")
    random = ["foldx", "Tmax", "Cmax", "alpha", "FB", "beta"]
    found = fit.population(
        model, data, random=random, observations=fit.Observation("y", "cells", fit.lognormal()), seed=seed,
        starts=[off_by_three(answers, [*random, *(f"omega_{x}" for x in random), "s_y"], seed)], accuracy=0.1,
    )  # fmt: skip
    agrees(found, answers, {"mu": 0.2, "omega": 0.15, "minus2LL": 0.5, "error": 0.1})


def test_intervals_cover(references):
    """90 % intervals of means, of 100 simulated data sets of 24 patients (theophylline): 80 to 98 cover.

    99.8 % of a binomial distribution of 90 %.
    """
    table = pd.read_csv(references / "fit" / "theophylline.csv")
    times = np.unique(table["TIME"].round(0))
    truth, omega, sigma = np.array([0.46, 1.01, 3.45]), np.array([0.6, 0.27, 0.14]), 0.7
    covered = np.zeros(3)
    for number in range(100):
        random = np.random.default_rng((7, number))
        rows = []
        for i in range(24):
            ka, clearance, volume = np.exp(truth + omega * random.standard_normal(3))
            rows.append((i, 0.0, np.nan, 320.0, "depot"))
            k = clearance / volume
            curve = 320 * ka / (volume * (ka - k)) * (np.exp(-k * times) - np.exp(-ka * times))
            rows += [
                (i, t, c + sigma * random.standard_normal(), 0.0, "cp")
                for t, c in zip(times[1:], curve[1:], strict=True)
            ]
        data = fit.read(pd.DataFrame(rows, columns=["ID", "TIME", "DV", "AMT", "CMT"]), ORAL)
        found = fit.population(
            ORAL, data, random=ORAL_NAMES, accuracy=1.0, seed=number, iterations=(50, 20), chains=4,
            observations=fit.Observation("cp", "center / V", fit.additive()),
            starts=[{"ka": 1.0, "CL": 3.0, "V": 30.0}],
        )  # fmt: skip
        error = np.sqrt(np.diag(found.cov))[:3]
        covered += np.abs(found.row[:3] - truth) < 1.645 * error
    assert ((covered >= 80) & (covered <= 98)).all(), covered
