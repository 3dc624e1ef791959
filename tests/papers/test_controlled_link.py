"""Likeness to the endogenous response, and the question to other models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastcart.papers.srct import controlled_likeness as like
from fastcart.papers.srct import controlled_zoo as zoo
from fastcart.papers.srct.controlled_tables import Setting
from fastcart.population import sample
from fastcart.protocols import get
from fastcart.trial.families import ENDPOINTS, Scan


def test_the_endogenous_response_has_its_published_features():
    early, peak, kept = like.endogenous(*like.acute(1))
    assert np.exp(early) == pytest.approx(0.1046, abs=5e-5)
    assert peak == pytest.approx(8.5)
    assert np.exp(kept) == pytest.approx(0.0851, abs=5e-5)


def test_features_of_a_constant_exposure_are_closed_forms():
    days = np.array([0.0, 7.0, 14.0, 28.0, 56.0, 63.0])
    effectors = np.array([[2.0, 2, 2, 2, 0, 0], [0, 0, 1, 0, 0, 0]])
    memory = np.array([[0.0, 0, 0, 0, np.e**2, np.e**9], [1, 1, 1, 1, 8, 8]])
    found = like.features(days, effectors, memory, np.array([1.0, 8.0]))
    assert found[0, 0] == pytest.approx(np.log(0.25))
    assert found[1].tolist() == [-np.inf, 14.0, 0.0]
    assert found[0, 2] == pytest.approx(2 + 7 * 4 / 7)  # the logarithm is linear between visits
    assert like.likeness(found[0], found[0]) == 0.0
    away = found[0] + np.array([np.log(3), 5.0, np.log(10)])
    assert like.likeness(away, found[0]) == pytest.approx(-1.0)


def test_a_protocol_is_the_same_whatever_the_number():
    few, many = ({one.name: one for one in like.protocols(n)} for n in (5, 9))
    for name, one in few.items():
        assert one.dose == many[name].dose
        assert one.arm == many[name].arm
    order = [str(one.arm.infusions) for one in like.protocols(30)]
    assert order == sorted(order)


def test_likeness_is_measured_and_compared_with_the_single_dose():
    patients, weights = sample(6, seed=3), np.linspace(0.5, 1.5, 6)
    at = Setting(patients, weights, 1, 5, {"noise_seed": 5, "threads": 1})
    listed = [*like.named({"single 1e8": (get("A0"), 1e8)}), *like.protocols(2)]
    table = like.measured(listed, at, like.endogenous(*like.acute(1)))
    assert table["protocol"].tolist()[0] == "single 1e8"
    assert np.isfinite(table[["likeness", *like.FEATURES, "CR90", "EFS730"]]).all(axis=None)
    parts = np.zeros((2, 6, len(ENDPOINTS)))
    parts[1] = 1.0
    over = like.over_the_frontier(table, Scan("single", np.array([1e5, 1e8]), parts), weights)
    np.testing.assert_allclose(over["gain_CR90"], table["CR90"] - table["crs3"], atol=1e-12)


def ranked(n=40, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    table = pd.DataFrame({"likeness": x, "CR90": x**3, "EFS730": -x, "OS730": rng.normal(size=n)})
    table["crs3"] = np.exp(x)
    for name in like.BENEFITS:
        table[f"gain_{name}"] = rng.normal(size=n)
    for k, name in enumerate(like.FEATURES):
        table[name] = 2.0 + k + 0.1 * table["gain_EFS730"] * (k == 2)
    table.loc[0, "gain_EFS730"] = np.nan  # outside of the frontier
    return table


def test_rank_correlations():
    wanted = np.array([2.0, 3.0, 5.0])
    found = like.correlations(ranked(), wanted, resamples=50).set_index(["of", "with", "given"])
    assert (found["protocols"] == 39).all()
    assert found.loc[("likeness", "CR90", ""), "rank"] == pytest.approx(1.0)
    assert found.loc[("likeness", "EFS730", ""), "rank"] == pytest.approx(-1.0)
    assert np.isnan(found.loc[("likeness", "CR90", "crs3"), "rank"])  # nothing is left to explain
    assert abs(found.loc[("likeness", "gain_OS730", ""), "rank"]) < 0.4
    known = found.loc[found["rank"].notna() & found["low"].notna()]
    assert (known["low"] <= known["high"]).all()
    from scipy.stats import spearmanr

    inside = ranked().iloc[1:]
    rank = found.loc[("likeness", "gain_EFS730", ""), "rank"]
    assert rank == pytest.approx(spearmanr(inside["likeness"], inside["gain_EFS730"]).statistic)


def test_likeness_is_told_with_its_correlation_with_crs_or_not_at_all():
    rows = [
        ("likeness", "CR90", "", 0.96), ("likeness", "crs3", "", 0.95),
        ("likeness", "gain_EFS730", "", 0.15), ("memory kept", "gain_EFS730", "", 0.33),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["of", "with", "given", "rank"]).assign(
        low=0.1, high=0.99, protocols=94
    )
    text = like.in_words(table)
    assert "Over 94 random protocols" in text
    assert "severe CRS alike (+0.95" in text
    assert "memory kept +0.33" in text
    assert like.in_words(table[table["with"] != "crs3"]) == ""


# ---- other models


def test_models_say_why_they_cannot_be_asked():
    assert zoo.reason("b_all") == zoo.reason("kimmel") == ""
    assert "no tumor" in zoo.reason("crauste")
    assert zoo.reason("carrgo")
    assert zoo.reason("t_cell")


def test_patients_of_a_model_are_the_same_whatever_their_number():
    one = zoo.asked("kimmel")
    few, many = zoo.patients_of(one, 3), zoo.patients_of(one, 8)
    pd.testing.assert_frame_equal(few, many.head(3))
    assert (few[list(one.enters)] == 0).all(axis=None)
    for parameter in one.model.parameters:
        low, high = parameter.range
        assert many[parameter.name].between(low, high).all()


def test_a_clinic_infuses_takes_away_and_makes_memory():
    one = zoo.asked("b_all")
    now = {name: np.array([0.0, 0.0]) for name in one.model.state_names}
    dose = np.array([1e8, 2e8])
    zoo._act(one, now, zoo.FAMILIES["low, high"], 7.0, 1.0, dose, dose)
    np.testing.assert_allclose(now["E"], 0.3 * dose * one.enters["E"])
    now["E"][:] = 8e9, 1e12
    zoo._act(one, now, zoo.Family(target=True), 5.0, 1.0, np.array([4e9, 4e9]), dose)
    np.testing.assert_allclose(now["E"], [4e9, 5e10])  # a twentieth is left at least
    total = now["E"] + now["M"]
    zoo._act(one, now, zoo.Family(memory=True), 35.0, 7.0, dose, dose)
    np.testing.assert_allclose(now["E"] + now["M"], total)
    np.testing.assert_allclose(now["E"], np.exp(-0.21) * np.array([4e9, 5e10]))
    before = now["E"].copy()
    zoo._act(one, now, zoo.Family(target=True, memory=True), 90.0, 7.0, dose, dose)  # no visit
    np.testing.assert_array_equal(now["E"], before)


def test_other_models_are_compared_with_ours_in_the_same_question():
    table = zoo.zoo(["kimmel", "crauste"], 8, lambda _, make: make(), threads=1)
    assert table["model"].drop_duplicates().tolist() == ["b_all", "kimmel", "crauste"]
    assert (table.loc[table["model"] == "b_all", "agrees"] == "").all()
    assert "no tumor" in table.loc[table["model"] == "crauste", "reason"].iloc[0]
    assert "memory made at the end" not in set(table.loc[table["model"] == "kimmel", "contrast"])
    assert zoo._agreement(0.05, 0.2) == zoo._agreement(0.0, 0.02) == "yes"
    assert zoo._agreement(-0.05, 0.2) == "no"
    assert zoo._agreement(np.nan, 0.2) == ""


def test_agreement_in_words():
    rows = [("b_all", 0.2, ""), ("one", 0.1, "yes"), ("two", -0.1, "no"), ("three", np.nan, "")]
    table = pd.DataFrame(rows, columns=["model", "gain", "agrees"]).assign(contrast="rising", endpoint="CR90")
    (text,) = zoo.in_words(table)
    assert "+20.0 points of response in b_all" in text
    assert "1 of 2 other models that can be compared say the same; it helps in one" in text
    assert zoo.in_words(table.assign(gain=np.nan)) == []
