"""How often 90 % intervals of a population's means cover the truth: CAR-T cell kinetics with a limit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

import fastcart
from fastcart import fit, models

NAMES = ["foldx", "Tmax", "Cmax", "alpha", "FB", "beta"]
SPREAD = {"foldx": 1.2, "Tmax": 0.3, "Cmax": 0.8, "alpha": 0.4, "FB": 0.9, "beta": 0.7}
RESIDUAL, LIMIT, PATIENTS = 0.56, 50.0, 90
DAYS = np.array([2, 4, 7, 9, 11, 14, 21, 28, 60, 90, 180, 270, 365.0])
_NINETY = 1.6448536269514722
TYPICAL = {name: models.get("cart_kinetics").default_parameters()[name] for name in NAMES}


def measured(seed: int) -> fit.FitData:
    """Patients that drop out from day 28 on, visits that are missed."""
    random = np.random.default_rng((11, seed))
    drawn = {x: TYPICAL[x] * np.exp(SPREAD[x] * random.standard_normal(PATIENTS)) for x in NAMES}
    seen = fastcart.solve("cart_kinetics", pd.DataFrame(drawn), save_at=DAYS, save=["cells"]).trajectories
    table = pd.DataFrame({"ID": seen["patient"], "TIME": seen["t"]})
    table["DV"] = seen["cells"] * random.lognormal(0.0, RESIDUAL, len(seen))
    table["CENS"] = (table["DV"] < LIMIT).astype(int)
    table["DV"] = table["DV"].clip(lower=LIMIT)
    last = np.where(random.random(PATIENTS) < 0.4, random.uniform(28, 365, PATIENTS), 365.0)
    there = (table["TIME"].to_numpy() <= last[table["ID"]]) & (random.random(len(table)) > 0.06)
    return fit.read(table[there], "cart_kinetics")


def covered(sets: range) -> Iterator[np.ndarray]:
    """Yield for each set how many of its standard errors each mean lies from the truth."""
    truth = np.log([TYPICAL[x] for x in NAMES])
    for seed in sets:
        found = fit.population(
            "cart_kinetics", measured(seed), random=NAMES, seed=seed, iterations=(64, 30), chains=4,
            accuracy=1.0, observations=fit.Observation(1, "cells", fit.lognormal()),
            starts=[{name: 1.5 * TYPICAL[name] for name in NAMES}],
        )  # fmt: skip
        yield (found.row[:6] - truth) / np.sqrt(np.diag(found.cov))[:6]


@pytest.mark.slow
def test_intervals_of_cell_kinetics_cover():
    """Of 100 sets 80 to 98 cover, for each mean: 99.8 % of a binomial distribution of 90 %."""
    away = np.array(list(covered(range(100))))
    times = (np.abs(away) < _NINETY).sum(axis=0)
    assert ((times >= 80) & (times <= 98)).all(), times
