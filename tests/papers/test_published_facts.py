"""What Li & Lei 2025 published, to the printed digits: numbers that stand in these tests themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from published_facts import DRAWN, DRAWN_NAMES, OPTIMAL_DOSES, PARAMETERS, TRAJECTORIES

import fastcart
from fastcart.papers.li_lei_2025 import optima

SUBTYPES = ["T4", "TP", "TE", "TM", "Tr"]
DOSES = pd.DataFrame(OPTIMAL_DOSES, columns=["C", *SUBTYPES, "pfs"])


def five_digits(values) -> list[float]:
    return [float(f"{value:.4e}") for value in values]


def test_every_parameter_of_the_tables():
    assert fastcart.models.get("li_lei").default_parameters() == PARAMETERS


@pytest.mark.parametrize("name", [name for name in TRAJECTORIES if name != "figure4_notreatment"])
def test_trajectories(name):
    model, states, by_day = TRAJECTORIES[name]
    start = dict(zip(states, by_day[0], strict=True))
    days = [float(day) for day in by_day]
    path = fastcart.solve(model, start, engine="published", t_end=200.0, save_at=days).trajectories
    for day, printed in by_day.items():
        row = path[path["t"] == day].iloc[0]
        assert five_digits(row[list(states)]) == list(printed), day


def test_pfs_after_drawn_parameters():
    table = pd.DataFrame(DRAWN, columns=[*DRAWN_NAMES, "pfs"])
    found = fastcart.solve("li_lei", table.drop(columns="pfs"), engine="published").endpoints["pfs"]
    assert found.tolist() == table["pfs"].tolist()


def test_pfs_after_optimised_doses():
    found = fastcart.solve("li_lei", DOSES[["C", *SUBTYPES]], engine="published").endpoints["pfs"]
    apart = (found - DOSES["pfs"]).abs()
    # doses are printed to five digits, which may move a patient across a day
    assert (apart > 0).sum() <= 1
    assert apart.max() <= 3


def test_optimised_doses_lie_in_the_box():
    for name, (low, high) in optima.box(DOSES["C"].to_numpy()).items():
        assert (DOSES[name] >= low * (1 - 1e-4)).all(), name
        assert (DOSES[name] <= high * (1 + 1e-4)).all(), name


def test_the_published_protocol_of_optimisation():
    """A random draw of 100 doses, kept at its best, has the published PFS: so that is what was done."""
    ours = optima.published_protocol(DOSES["C"].to_numpy(), threads=2, progress=False)
    found = fastcart.solve("li_lei", ours, engine="published").endpoints["pfs"]
    apart = found - DOSES["pfs"]
    assert abs(apart.mean()) < 0.5
    assert apart.abs().max() <= 3


def test_drawn_parameters_vary_by_ten_percent_but_one_around_another_value():
    from fastcart.papers.li_lei_2025 import figure2_study as study

    for name, values in zip(DRAWN_NAMES, np.transpose(DRAWN)[:-1], strict=True):
        middle = study.LAMBDA_T4_I2 if name == "lambda_T4_I2" else PARAMETERS[name]
        assert (np.abs(values / middle - 1) < 0.1002).all(), name
