"""Numbers of the result files of Li & Lei 2025, repeated by the published scheme."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import fastcart
from fastcart.papers.li_lei_2025 import optima, plans
from fastcart.papers.li_lei_2025 import published_values as paper

_FILE = Path(__file__).parents[1] / "published_values" / "li_lei_2025.json"
_STATES = ["T4", "TP", "TE", "TM", "Tr", "C", "M"]


@pytest.fixture(scope="module")
def published():
    parts = json.loads(_FILE.read_text(encoding="utf-8"))
    del parts["source"]
    return {name: pd.DataFrame(part["rows"], columns=part["columns"]) for name, part in parts.items()}


def test_patients_of_the_sensitivity_study(published):
    rows = published["patients"]
    assert (rows["published_pfs_day"] <= 2).sum() >= 4  # without a response
    patients = rows.drop(columns="published_pfs_day")
    assert patients.shape[1] == len(paper.PFS_CORRELATION)
    pfs = fastcart.solve("li_lei", patients, engine="published").endpoints["pfs"]
    assert pfs.tolist() == rows["published_pfs_day"].tolist()


def test_optimised_doses(published):
    rows = published["optimised_doses"]
    pfs = fastcart.solve("li_lei", rows[["C", *plans.SUBTYPES]], engine="published").endpoints["pfs"]
    apart = (pfs - rows["published_pfs_day"]).abs()
    assert (apart == 0).mean() >= 0.9  # doses are stored to five digits
    assert apart.max() <= 3
    low, high = paper.FILE_PFS_RANGE
    assert rows["published_pfs_day"].between(low, high).all()
    for name, (least, most) in optima.box(rows["C"].to_numpy()).items():
        assert (rows[name] >= least * (1 - 1e-4)).all(), name
        assert (rows[name] <= most * (1 + 1e-4)).all(), name


@pytest.mark.parametrize(("name", "doses"), [("figure5", plans.CONTROL), ("figure8", paper.FIGURE_8_START)])
def test_courses(published, name, doses):
    rows = published[name].set_index("t_day")
    save_at = rows.index.to_numpy(float)
    result = fastcart.solve("li_lei", pd.DataFrame([doses]), engine="published", save_at=save_at)
    ours = result.trajectories.set_index("t")
    for state in _STATES:
        assert ours[state].to_numpy() == pytest.approx(rows[state].to_numpy(), rel=3e-4, abs=1e-12), state


def test_plans_c():
    table = plans.plan_c().set_index("plan")
    result = fastcart.solve("li_lei", table[list(plans.SUBTYPES)].reset_index(drop=True), engine="published")
    for plan, pfs in zip(table.index, result.endpoints["pfs"], strict=True):
        assert pfs == paper.PFS_PLAN_C[plan].value
