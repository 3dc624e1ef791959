"""Grades of CRS are cut where defined, cells that were infused die out, seeds of bootstraps count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numba import njit

import fastcart
from fastcart import DosingSchedule, Model, State
from fastcart.models.b_all import infusions
from fastcart.papers.srct.protocol_search import judge, setting
from fastcart.population import sample
from fastcart.protocols import get
from fastcart.sensitivity_analysis.indices import estimate
from fastcart.sensitivity_analysis.sampler import make_design
from fastcart.trial.course import course

# IL-6 in pg/ml above which CRS has grade 1, 2, 3, 4
CUTS = {"grade1": 150.0, "grade2": 400.0, "grade3": 1000.0, "grade4": 3000.0}


@pytest.fixture(scope="module")
def arm():
    patients = sample(1200, seed=12)
    doses = infusions(patients, [(0, 1, 1)])
    return patients, doses, course(patients, doses)


@pytest.mark.parametrize("grade", CUTS)
def test_a_grade_is_reached_above_its_cut_and_not_below(arm, grade):
    _, _, path = arm
    cut = CUTS[grade]
    reached, peak = np.isfinite(path[f"t_{grade}"]), path["peak_C"]
    assert reached.equals(peak > cut)
    # patients close to the cut on both sides, so that it can be nowhere else
    assert ((peak > cut) & (peak < 1.05 * cut)).any()
    assert ((peak < cut) & (peak > 0.95 * cut)).any()


@pytest.mark.parametrize("grade", CUTS)
def test_a_grade_begins_when_il6_passes_its_cut(arm, grade):
    patients, doses, path = arm
    k = int(np.flatnonzero(np.isfinite(path[f"t_{grade}"]))[0])
    one = patients.iloc[[k]]
    known = fastcart.models.get("b_all")
    columns = [name for name in one if name in (*known.parameter_names, *known.state_names)]
    when = float(path[f"t_{grade}"].iloc[k])
    mine = doses[doses["patient"] == path["patient"].iloc[k]].drop(columns="patient")
    saved = fastcart.solve("b_all", one[columns], doses=mine, t_end=when + 1, save_at=[when], rtol=1e-8)
    assert saved.trajectories["C"].iloc[0] == pytest.approx(CUTS[grade], rel=1e-3)


# --- cells that were infused die out as others do ---------------------------------------------------------


@njit
def _decay(t, y, p):
    return -p[0] * y[0], -p[0] * y[1], -p[1] * y[2]


INFUSED = Model(
    "infused",
    [
        State("E", default=0.0, log=True, extinction="T"),
        State("M", default=0.0, extinction="T"),
        State("C", default=100.0, log=True, extinction=True),
    ],
    {"k": 0.5, "d": 0.1},
    _decay,
    t_end=100.0,
    burden="C",
)


@pytest.mark.parametrize("method", ["tsit5", "vern7", "dop853", "stab5", "rodas5p"])
@pytest.mark.parametrize(("state", "other"), [("E", "M"), ("M", "E")])
def test_what_was_infused_dies_out_when_the_sum_falls_below(method, state, other):
    """100 cells in 2 days, then exponential decay: the group is gone when its sum falls through 1."""
    k = 0.5
    plan = DosingSchedule().infusion(0.0, state, 100.0, 2.0).bolus(1.0, other, 10.0)
    left = 50.0 / k * -np.expm1(-k * 2.0) + 10.0 * np.exp(-k)  # at the end of the infusion
    gone = 2.0 + np.log(left / 1.0) / k
    result = fastcart.solve(
        INFUSED, 1, doses=plan, engine="lanes", method=method, rtol=1e-9, extinction=1.0,
        save_at=[0.5, 2.0, gone - 1e-3, gone + 1e-3, 100.0],
    )  # fmt: skip
    assert result.summary() == {"ok": 1}
    total = result.trajectories["E"] + result.trajectories["M"]
    assert total.iloc[0] == pytest.approx(50.0 / k * -np.expm1(-k * 0.5), rel=1e-6)
    assert total.iloc[1] == pytest.approx(left, rel=1e-6)
    assert total.iloc[2] == pytest.approx(np.exp(k * 1e-3), rel=1e-6)
    assert (result.trajectories[["E", "M"]].iloc[3:] == 0).all(axis=None)
    ends = result.endpoints.iloc[0]
    # the tumor, which no infusion touches: 100 exp(-0.1 t) falls through 1 on day 46.05
    assert ends["final_C"] == 0
    assert ends["t_nadir"] == pytest.approx(np.log(100.0) / 0.1, rel=1e-6)


@pytest.mark.parametrize("method", ["tsit5", "vern7", "rodas5p"])
def test_a_tumor_that_was_infused_dies_out_alone(method):
    """What receives an infusion is not integrated in logarithm: its threshold is one of cells still."""
    plan = DosingSchedule().infusion(0.0, "C", 50.0, 1.0)
    left = (100.0 - 500.0) * np.exp(-0.1) + 500.0
    gone = 1.0 + np.log(left / 3.0) / 0.1
    ends = fastcart.solve(
        INFUSED, 1, doses=plan, engine="lanes", method=method, rtol=1e-9, extinction=3.0
    ).endpoints.iloc[0]
    assert ends["status"] == "ok"
    assert ends["cured"]
    assert ends["final_C"] == 0
    assert ends["t_nadir"] == pytest.approx(gone, rel=1e-6)


# --- seeds ------------------------------------------------------------------------------------------------


def test_intervals_of_correlations_are_no_matter_of_chance():
    """They come from a jackknife of the sample: the seed that drew it is all that they depend on."""
    design = make_design("pearson", {"a": (0.0, 1.0), "b": (0.0, 1.0)}, 60, seed=1)
    y = design.x @ [[1.0], [0.3]] + np.sin(40 * design.x[:, :1])
    one, other = (estimate(design, y, seed=seed) for seed in (1, 2))
    for name in one.value:
        for part in ("value", "low", "high"):
            np.testing.assert_array_equal(getattr(one, part)[name], getattr(other, part)[name])
        assert (one.low[name] < one.value[name]).all()
        assert (one.value[name] < one.high[name]).all()


def test_the_seed_of_the_bootstrap_of_protocols():
    patients = sample(30, seed=5)
    where = setting(patients.assign(rhoE=patients["rhoE"] * 1.4 / 2.95), dose=6e10)
    arms = {"A3": get("A3")}
    one, same, other = (judge(arms, where, seed=seed, replicates=40) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert one["gain_EFS730"].equals(other["gain_EFS730"])
    assert (one["low"] != other["low"]).all()
    assert (one["high"] != other["high"]).all()
