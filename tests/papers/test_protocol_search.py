"""Search over protocols, the CAR with a switch, the growth lag: limits, common code paths, small searches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import in_python
from hypothesis import given
from hypothesis import strategies as st

import fastcart
from fastcart.errors import InputError
from fastcart.models.b_all import _rhs, entry, infusions, lymphodeplete
from fastcart.papers.srct import search as study
from fastcart.papers.srct.many_arms import courses_together
from fastcart.papers.srct.protocol_families import CALENDAR, FAMILIES, NICHE, RULE, SWITCH
from fastcart.papers.srct.protocol_search import SHARES, gains, judge, search, setting
from fastcart.population import sample
from fastcart.protocols import Infusion, Reading, Switched, budgets, get, hold_effectors, on_off
from fastcart.trial.counterfactual import arm_course
from fastcart.trial.outcomes import contributions, expected

DEFAULT = fastcart.models.get("b_all")
SWITCHED = fastcart.models.get("b_all", switch=True)
LAGGING = fastcart.models.get("b_all", growth_lag=2.0)
BOTH = fastcart.models.get("b_all", growth_lag=2.0, switch=True)
P = tuple(DEFAULT.default_parameters().values())
SINGLE = (Infusion(0, 1, 1),)
N = 40


@pytest.fixture(scope="module")
def patients():
    return sample(N, seed=5)


@pytest.fixture(scope="module")
def slow():
    """Patients whose product hardly amplifies, where splitting gains, with the frontier of their dose."""
    some = sample(N, seed=5)
    return setting(some.assign(rhoE=some["rhoE"] * 1.4 / 2.95), dose=6e10)


def random_states(generator) -> tuple[float, ...]:
    cells = 10 ** generator.uniform(3, 11, 7)
    return (*cells, generator.uniform(0, 1), 10 ** generator.uniform(0, 4), 0.1, 0.2)


# --- growth lag -----------------------------------------------------------------------------------


def test_without_options_the_model_is_the_same():
    same = fastcart.models.get("b_all", growth_lag=0.0, switch=False)
    assert same.rhs is DEFAULT.rhs is _rhs
    assert same.state_names == DEFAULT.state_names
    assert same.parameter_names == DEFAULT.parameter_names


@pytest.mark.parametrize("options", [{"growth_lag": -1}, {"growth_lag": "long"}, {"switch": "yes"}])
def test_bad_options_are_told(options):
    with pytest.raises(InputError, match="option"):
        fastcart.models.get("b_all", **options)


@pytest.mark.parametrize("seed", range(5))
def test_variants_contain_the_model(seed):
    """With u = 1 and nobody waiting, each variant has the derivatives of the model."""
    y = random_states(np.random.default_rng(seed))
    there = np.array(in_python(DEFAULT)(0.0, y, P))
    for model, p, rest in (
        (SWITCHED, P, (1.0,)), (LAGGING, (*P, 2.0), (0.0, 0.0)), (BOTH, (*P, 2.0), (0.0, 0.0, 1.0))
    ):  # fmt: skip
        here = np.array(in_python(model)(0.0, (*y, *rest), p))
        np.testing.assert_allclose(here[:11], there, rtol=1e-12)
        assert not here[11:].any()
        seen = np.array(in_python(model, "observe")(0.0, (*y, *rest), p))
        np.testing.assert_allclose(seen, in_python(DEFAULT, "observe")(0.0, y, P), rtol=1e-12)


def test_waiting_cells_enter_the_others_and_are_counted():
    generator = np.random.default_rng(1)
    y, waiting = random_states(generator), (3e7, 4e7)
    p = dict(zip(LAGGING.parameter_names, (*P, 2.0), strict=True))
    d = dict(zip(LAGGING.state_names, in_python(LAGGING)(0.0, (*y, *waiting), (*P, 2.0)), strict=True))
    # the others see waiting cells in the niche alone, where X stands, too
    crowded = (*y[:5], y[5] + sum(waiting), *y[6:])
    there = dict(zip(DEFAULT.state_names, in_python(DEFAULT)(0.0, crowded, P), strict=True))
    assert d["E"] - there["E"] == pytest.approx(waiting[0] / 2, rel=1e-6)
    assert d["M"] - there["M"] == pytest.approx(waiting[1] / 2, rel=1e-6)
    assert d["E_lag"] == pytest.approx(-(0.5 + p["dE"]) * waiting[0])
    assert d["M_lag"] == pytest.approx(-(0.5 + p["dM"]) * waiting[1])
    assert d["X"] == pytest.approx(there["X"] + p["dX"] * sum(waiting))
    observed = in_python(LAGGING, "observe")(0.0, (*y, *waiting), (*P, 2.0))
    seen = dict(zip(LAGGING.observable_names, observed, strict=True))
    assert seen["T"] == pytest.approx(y[3] + y[4] + y[5] + sum(waiting))


def test_waiting_cells_without_antigen_have_a_closed_form():
    table = pd.DataFrame([{"L": 0.0, "R": 0.0, "B": 0.0, "sB": 0.0, "rhoM": 0.0, "rN": 0.0}])
    days = [1.0, 3.0, 10.0]
    result = fastcart.solve(
        LAGGING, table, doses=infusions(table, [(0, 1, 0)], into=entry(LAGGING)), t_end=10, save_at=days,
        rtol=1e-9,
    )  # fmt: skip
    path, t = result.trajectories, np.array(days)
    start = 0.08 * 0.65e8
    leave, fade = 0.5 + 0.18, 0.18 + 3e-3
    np.testing.assert_allclose(path["E_lag"], start * np.exp(-leave * t), rtol=1e-7)
    effectors = start / 2 * (np.exp(-fade * t) - np.exp(-leave * t)) / (leave - fade)
    np.testing.assert_allclose(path["E"], effectors, rtol=1e-7)


def test_what_enters_the_lag():
    table = sample(3, seed=1)
    assert entry(DEFAULT) == ("E", "M")
    assert entry(LAGGING) == ("E_lag", "M_lag")
    doses = infusions(table, [(0, 1, 1)], into=entry(LAGGING))
    assert set(doses["state"]) == {"E_lag", "M_lag"}
    states = pd.DataFrame([dict.fromkeys(LAGGING.state_names, 1.0)])
    assert lymphodeplete(states, 5.0, phi=0.1)[["E_lag", "M_lag"]].to_numpy() == pytest.approx(0.1)


def test_a_lag_delays_the_peak(patients):
    there = arm_course(get("A0"), patients)
    here = arm_course(get("A0"), patients, model=LAGGING)
    assert (here["status"] == "ok").all()
    assert (here["t_peak_T"] > there["t_peak_T"]).mean() > 0.9


# --- switch ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_car_that_is_off_does_nothing(seed):
    y = random_states(np.random.default_rng(seed))
    p = dict(zip(DEFAULT.parameter_names, P, strict=True))
    L, R, B, E, M, X, _, A, C = y[:9]
    d = dict(zip(SWITCHED.state_names, in_python(SWITCHED)(0.0, (*y, 0.0), P), strict=True))
    assert d["L"] == pytest.approx(p["rL"] * L * (1 - (L + R) / p["KL"]))
    assert d["B"] == pytest.approx(p["sB"] - p["dB"] * B)
    assert d["E"] == pytest.approx(-(p["dE"] + p["muEM"]) * E)
    assert d["X"] == pytest.approx(-p["dX"] * X)
    assert d["A"] == pytest.approx(-p["dA"] * A)
    assert d["u"] == 0


def test_a_switch_that_stays_on_is_the_single_infusion(patients):
    on = Switched(name="on", infusions=SINGLE, switch=lambda reading: 1.0, visits=(3.0, 9.0))
    here, there = arm_course(on, patients), arm_course(get("A0"), patients)
    assert (here["status"] == "ok").all()
    np.testing.assert_allclose(here["peak_C"], there["peak_C"], rtol=1e-3)
    assert abs(expected(here) - expected(there)).drop(["RFS12", "negative_share"]).max() < 0.01


def test_a_switch_that_stays_off_cures_nobody(patients):
    off = Switched(name="off", infusions=SINGLE, switch=lambda reading: 0.0, visits=(3.0,))
    here = arm_course(off, patients)
    assert not np.isfinite(here["t_CR"]).any()
    # IL-6 stays at rest
    np.testing.assert_allclose(here["peak_C"], 5.0, rtol=1e-3)


def test_a_smaller_target_lowers_il6(patients):
    arms = [
        Switched(name=f"{target:g}", infusions=SINGLE, switch=hold_effectors(target), visits=(2.0, 5.0, 8.0))
        for target in (1e9, 1e13)
    ]
    low, high = courses_together(arms, patients)
    assert (low["peak_C"] <= high["peak_C"] * 1.001).all()
    assert low["peak_C"].median() < 0.5 * high["peak_C"].median()


def reading(il6, cells, level=1.0, day=2.0):
    return Reading(day, np.array(il6), np.array(cells), np.full(len(il6), level))


def test_rules_of_switches():
    rule = hold_effectors(1e9, rise=0.5, hold=400)
    assert rule(reading([5.0, 5.0, 500.0], [1e8, 1e10, 1e8])) == pytest.approx([1, 0.1 * np.e, 0])
    assert list(on_off(400, 100)(reading([500.0, 300.0], [1, 1]))) == [0, 1]
    assert list(on_off(400, 100)(reading([300.0, 50.0], [1, 1], level=0.0))) == [0, 1]
    with pytest.raises(InputError, match="not above 'off'"):
        on_off(100, 400)


@pytest.mark.parametrize("answer", [2.0, np.nan, "on"])
def test_a_bad_activity_is_told(answer, patients):
    arm = Switched(name="S", infusions=SINGLE, switch=lambda reading: answer, visits=(3.0,))
    with pytest.raises(InputError, match="The switch of the arm 'S'"):
        arm_course(arm, patients)


@pytest.mark.parametrize("visits", [(3.0, 3.0), (0.0, 3.0)])
def test_bad_visits_are_told(visits):
    with pytest.raises(InputError, match=r"[Vv]isit"):
        Switched(name="S", infusions=SINGLE, switch=hold_effectors(1e9), visits=visits)


# --- together -------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("A0", "A3", "A5"), ("A6", "A6"), ("X7", "X9")])
def test_arms_solved_together_are_the_arms(names, patients):
    arms = [get(name) for name in names]
    for arm, here in zip(arms, courses_together(arms, patients), strict=True):
        there = arm_course(arm, patients)[here.columns]
        pd.testing.assert_frame_equal(here, there, rtol=1e-4, check_exact=False)


def test_rules_solved_together_are_the_rules(patients):
    arms = [RULE.make({**RULE.start, "first": first}) for first in (0.1, 0.5)]
    for arm, here in zip(arms, courses_together(arms, patients), strict=True):
        there = arm_course(arm, patients)
        np.testing.assert_array_equal(here["peak_C"], there["peak_C"])


def test_arms_of_two_kinds_are_not_solved_together(patients):
    with pytest.raises(InputError, match="one kind"):
        courses_together([get("A0"), get("A6")], patients)


def test_contributions_sum_to_expected_values(patients):
    path = arm_course(get("A3"), patients)
    parts, values = contributions(path), expected(path)
    assert set(parts) - set(values.index) == {"clean730", "relapse_positive", "relapse_negative"}
    for name in set(parts) & set(values.index):
        assert parts[name].mean() == pytest.approx(values[name], rel=1e-12)


# --- families and search --------------------------------------------------------------------------


@given(seed=st.integers(0, 1000))
def test_every_point_of_a_family_is_an_arm(seed):
    for family in FAMILIES:
        space = family.space()
        unit = np.random.default_rng(seed).uniform(size=(1, 1, space.dimensions))
        point = space.repair(space.to_natural(unit))[0, 0]
        arm = family.arm(point)
        assert family.say(family.numbers(point))
        if family is CALENDAR:
            for what in ("effectors", "memory"):
                assert sum(getattr(i, what) for i in arm.infusions) == pytest.approx(1)
        if family is NICHE:
            assert all(cells > 0 for cells in budgets(arm, pd.DataFrame({"fM": [0.3]}), 1e8))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_first_guesses_lie_inside(family):
    for name, (low, high) in family.bounds.items():
        assert low <= family.start[name] <= high


def test_the_single_infusion_gains_nothing(slow):
    table = judge({"A0": get("A0"), "A3": get("A3")}, slow, seed=1, replicates=20).set_index("arm")
    assert abs(table.loc["A0", ["gain_EFS730", "low", "high"]].astype(float)).max() < 1e-9
    assert table.loc["A3", "low"] <= table.loc["A3", "gain_EFS730"] <= table.loc["A3", "high"]
    assert table["best"].sum() <= 1
    again = judge({"A0": get("A0"), "A3": get("A3")}, slow, seed=1, replicates=20).set_index("arm")
    pd.testing.assert_frame_equal(table, again)


def test_a_search_finds_what_it_says_and_again(slow):
    found = search(CALENDAR, slow, seed=3, particles=4, iterations=3)
    assert found.evaluations == 12
    worth = gains(slow.parts([found.arm]), slow.frontier, ["found"]).loc["found"]
    assert worth["gain_EFS730"] == pytest.approx(found.gain, abs=1e-12)
    assert found.keeps
    assert worth["crs3"] <= slow.single["crs3"]
    assert worth["EFS730"] >= slow.single["EFS730"] - 0.02
    # the first guess is A3, which gains much where the product hardly amplifies
    guess = gains(slow.parts([get("A3")]), slow.frontier, ["A3"]).loc["A3", "gain_EFS730"]
    assert found.gain >= guess - 1e-9 > 0.05
    assert search(CALENDAR, slow, seed=3, particles=4, iterations=3).numbers == found.numbers


def test_the_frontier_is_the_single_infusion(slow):
    place = SHARES.index(0.1)
    path = arm_course(get("A0"), slow.patients, dose=0.1 * slow.dose)
    assert np.mean(slow.frontier[place, :, 0]) == pytest.approx(expected(path)["crs3"], rel=1e-6)


@pytest.mark.parametrize("family", [NICHE, SWITCH], ids=["niche", "switch"])
def test_other_families_can_be_searched(family, slow):
    found = search(family, slow, seed=1, particles=3, iterations=2)
    assert set(found.numbers) == set(family.bounds)
    assert found.words


# --- the study ------------------------------------------------------------------------------------


def told_table() -> pd.DataFrame:
    rows = [
        ("A0", "default (nu 0.85)", 0.0, True), ("calendar", "default (nu 0.85)", 0.2, True),
        ("switch", "default (nu 0.85)", 0.4, False), ("A0", "nu 0.60", 0.0, True),
        ("calendar", "nu 0.60", -0.1, True), ("switch", "nu 0.60", np.nan, False),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["arm", "structure", "gain_EFS730", "eligible"])
    return table.assign(
        het=1.0, rhoE=1.4, amplification=3.0, crs3=0.4, EFS730=0.5, CR90=0.8, protocol="", best=0.9,
        low=table["gain_EFS730"] - 0.05, high=table["gain_EFS730"] + 0.05,
    )  # fmt: skip


def test_the_best_protocol_must_be_eligible():
    best = study.best_by_regime(told_table())
    assert list(best["arm"]) == ["calendar"]
    across = study.across_structures(told_table()).set_index("arm")
    assert across.loc["calendar", ["structures", "least", "most", "wins"]].tolist() == [2, -0.1, 0.2, 1]
    assert across.loc["A0", "wins"] == 1
    assert across.loc["switch", "structures"] == 1
    words = study.findings(told_table())
    assert "four infusions on any days" in words
    assert "+20.0 points" in words


def test_findings_do_not_claim_what_the_interval_does_not():
    table = told_table()
    table["low"] = -0.01
    assert "no protocol gains beyond doubt" in study.findings(table)
