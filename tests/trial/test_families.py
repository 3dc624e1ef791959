"""Families at equal toxicity: interpolation, dominated points, ranges, bootstrap, refinement."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastcart.errors import InputError
from fastcart.protocols import get
from fastcart.trial.counterfactual import arm_course
from fastcart.trial.families import (
    BENEFITS,
    ENDPOINTS,
    Comparing,
    Family,
    Scan,
    at_level,
    between,
    gains,
    of_doses,
    resampled_weights,
    scan,
)
from fastcart.trial.outcomes import expected

N = 200


def means(**columns: list[float]) -> np.ndarray:
    size = len(next(iter(columns.values())))
    return np.column_stack([np.asarray(columns.get(name, [0.5] * size), dtype=float) for name in ENDPOINTS])


def value(found: np.ndarray, name: str) -> float:
    return float(found[ENDPOINTS.index(name)])


MONOTONE = means(crs3=[0.1, 0.2, 0.4], CR90=[0.3, 0.5, 0.6], EFS730=[0.2, 0.3, 0.4], crs4=[0.0, 0.1, 0.2])
X = np.array([1e6, 1e7, 1e8])


@pytest.mark.parametrize("rule", ["envelope", "monotone"])
def test_both_rules_interpolate_linearly_where_all_rises(rule):
    found = at_level(MONOTONE, X, 0.3, rule=rule)
    for name, wanted in (("CR90", 0.55), ("EFS730", 0.35), ("crs4", 0.15), ("crs3", 0.3)):
        assert value(found, name) == pytest.approx(wanted)
    assert found[-1] == pytest.approx(7.5)
    assert value(at_level(MONOTONE, X, 0.15, on="crs4", rule=rule), "CR90") == pytest.approx(0.55)


@pytest.mark.parametrize("rule", ["envelope", "monotone"])
@pytest.mark.parametrize("level", [0.09, 0.41])
def test_nothing_is_said_outside_of_the_range(rule, level):
    assert np.isnan(at_level(MONOTONE, X, level, rule=rule)).all()


def test_dominated_points_are_dropped():
    """A scan whose toxicity first falls with the intensity: the mild end is worse and more toxic."""
    turned = means(crs3=[0.45, 0.34, 0.36, 0.40], CR90=[0.5, 0.7, 0.8, 0.85], EFS730=[0.3, 0.45, 0.48, 0.47])
    x = np.array([3e8, 1.5e9, 3e9, 1.2e10])
    found = at_level(turned, x, 0.38)
    assert value(found, "CR90") == pytest.approx(0.825)
    assert value(found, "EFS730") == pytest.approx(0.48)  # the best at or below the level
    assert value(at_level(turned, x, 0.45), "CR90") == pytest.approx(0.85)
    assert np.isnan(at_level(turned, x, 0.33)).all()
    # forced to be monotone, the scan begins above the level
    assert np.isnan(at_level(turned, x, 0.38, rule="monotone")).all()


def random_scan(name: str, shift: float, seed: int = 1) -> Scan:
    """Return a scan of patients with a propensity; ``shift`` is a gain in remission."""
    u = np.random.default_rng(seed).random(N)
    parts = np.zeros((5, N, len(ENDPOINTS)))
    for k, rate in enumerate(np.linspace(0.1, 0.6, 5)):
        parts[k, :, ENDPOINTS.index("crs3")] = u < rate
        parts[k, :, ENDPOINTS.index("crs4")] = u < rate / 2
        for endpoint in ("CR90", "EFS730", "OS730", "clean730"):
            parts[k, :, ENDPOINTS.index(endpoint)] = 0.5 * rate + 0.3 * u + shift
    return Scan(name, np.logspace(6, 8, 5), parts)


PATIENTS = pd.DataFrame({"patient": np.arange(N)})


def test_a_family_gains_nothing_over_itself_and_a_shift_over_a_shifted_one():
    one, other = random_scan("one", 0.0), random_scan("other", 0.07)
    none = gains(one, one, PATIENTS, seed=1, how=Comparing(resamples=20))
    assert (none["gain"] == 0).all()
    inside = none[none["unknown"] == 0]
    assert len(inside) >= 4 * len(ENDPOINTS)
    assert (inside[["low", "high"]] == 0).to_numpy().all()
    table = gains(other, one, PATIENTS, seed=1, how=Comparing(resamples=50))
    rows = table[table["endpoint"].isin(["CR90", "EFS730"]) & (table["unknown"] == 0)]
    np.testing.assert_allclose(rows[["gain", "low", "high"]], 0.07, rtol=1e-9)
    assert sorted(rows["level"].unique()) == [0.1, 0.15, 0.2, 0.3, 0.4]
    assert (rows["value"] - rows["reference"] - rows["gain"]).abs().max() < 1e-15


def test_weights_are_those_of_patients_that_are_repeated():
    """A patient of weight 2 counts as one that is there twice, from one draw."""
    one, other = random_scan("one", 0.0), random_scan("other", 0.0, seed=2)
    twice = np.concatenate([np.arange(N), np.arange(10)])
    weights = np.ones(N)
    weights[:10] = 2.0
    copies = PATIENTS.iloc[twice].reset_index(drop=True).assign(source=twice)
    repeated = [Scan(s.name, s.intensities, s.parts[:, twice]) for s in (one, other)]
    how = Comparing(resamples=30)
    here = gains(one, other, PATIENTS, seed=3, weights=weights, how=how)
    there = gains(*repeated, copies, seed=3, how=how)
    columns = ["gain", "low", "high"]
    np.testing.assert_allclose(here[columns], there[columns], rtol=1e-9, atol=1e-12)


def test_a_patient_that_was_not_solved_counts_in_neither():
    one, other = random_scan("one", 0.0), random_scan("other", 0.05)
    broken = Scan("broken", other.intensities, other.parts.copy())
    broken.parts[2, 7] = np.nan
    rows = np.arange(N) != 7
    kept = [Scan(s.name, s.intensities, s.parts[:, rows]) for s in (other, one)]
    how = Comparing(resamples=0)
    here = gains(broken, one, PATIENTS, seed=1, how=how)
    there = gains(*kept, PATIENTS[rows], seed=1, how=how)
    np.testing.assert_allclose(here["gain"], there["gain"])
    assert here["low"].isna().all()


def test_p_values_agree_with_the_limits():
    """Where zero is far outside of the interval P is small, where it is inside P is not."""
    one, other = random_scan("one", 0.0), random_scan("other", 0.0, seed=2)
    table = gains(other, one, PATIENTS, seed=1, how=Comparing(resamples=200))
    known = table[table["endpoint"].isin(["CR90", "crs4"]) & table["low"].notna() & (table["on"] == "crs3")]
    z = known["gain"].abs() / ((known["high"] - known["low"]) / (2 * 1.96))
    from scipy.stats import norm

    np.testing.assert_allclose(norm.isf(known["p"] / 2), z, rtol=0.35, atol=0.2)
    none = gains(one, one, PATIENTS, seed=1, how=Comparing(resamples=20))
    assert (none["p"] == 1).all()


def twins(rng: np.random.Generator, patients: int = 150) -> tuple[Scan, Scan]:
    """Return two families that differ by chance alone, in each patient and at each intensity."""
    severe = np.array([0.1, 0.3, 0.5])[:, None] * rng.uniform(0.8, 1.2, (1, patients))
    scans = []
    for name in ("one", "other"):
        parts = np.zeros((3, patients, len(ENDPOINTS)))
        parts[:, :, ENDPOINTS.index("crs3")] = severe
        for k, endpoint in enumerate(ENDPOINTS):
            if endpoint in BENEFITS:
                often = np.array([0.4, 0.5, 0.6])[:, None] + 0.05 * k
                parts[:, :, k] = rng.random((1, patients)) < often
        scans.append(Scan(name, np.array([1.0, 10.0, 100.0]), parts))
    return scans[0], scans[1]


@pytest.mark.slow
def test_where_families_differ_by_chance_alone_one_gain_in_twenty_is_significant():
    """Of 2000 pairs at most 0.06 and at least 0.03 have P below 0.05, and a limit on the wrong side of 0."""
    rng, patients = np.random.default_rng(20), pd.DataFrame({"patient": np.arange(150)})
    how = Comparing(levels={"crs3": (0.3,)}, resamples=200)
    hits: dict[str, list[tuple[bool, bool]]] = {name: [] for name in ("CR90", "EFS730", "OS730")}
    for k in range(2000):
        table = gains(*twins(rng), patients, seed=k, how=how).set_index("endpoint")
        for name, listed in hits.items():
            row = table.loc[name]
            listed.append((row["p"] < 0.05, not row["low"] <= 0 <= row["high"]))
    for name, listed in hits.items():
        significant, outside = np.mean(listed, axis=0)
        assert 0.03 <= significant <= 0.06, (name, significant)
        assert 0.03 <= outside <= 0.07, (name, outside)  # of 200 resamples limits are a little narrow


def test_resampled_weights_are_multinomial():
    weights = np.linspace(1, 2, 50)
    drawn = np.array(list(resampled_weights(weights, np.arange(50), seed=4, resamples=400)))
    times = drawn / weights
    assert np.allclose(times.sum(axis=1), 50)
    assert times.mean(axis=0) == pytest.approx(1.0, abs=0.25)
    assert times.var() == pytest.approx(1 - 1 / 50, rel=0.1)
    again = next(resampled_weights(weights, np.arange(50), seed=4, resamples=1))
    np.testing.assert_array_equal(again, drawn[0])


def test_a_scan_is_refined_until_neighbours_are_near():
    table = pd.DataFrame({"intensity": [1e6, 1e8, 1e9], "crs3": [0.20, 0.21, 0.30]})
    assert between(table, (0.2, 0.4)) == pytest.approx([np.sqrt(1e17)])
    assert between(table, (0.35, 0.4)) == []


def test_scans_solve_arms():
    from fastcart.population import sample

    patients = sample(16, seed=3)
    family = of_doses(get("A0"), (1e8, 1e9))
    plain = scan(family, patients, progress=False)
    found = scan(family, patients, refined_within=(0.3, 0.9), progress=False)
    assert between(found.table(), (0.3, 0.9)) == []
    assert found.ok.all()
    assert found.intensities[0] == 1e8
    assert found.intensities[-1] == 1e9
    np.testing.assert_array_equal(found.parts[[0, -1]], plain.parts)
    single = arm_course(get("A0"), patients, dose=1e9)
    expected_values = expected(single)
    for name in ("CR90", "crs3", "crs4", "toxic_death", "EFS730", "OS730"):
        assert plain.table()[name].iloc[1] == pytest.approx(expected_values[name], rel=1e-12)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Family(name="F", make=lambda x: (get("A0"), x), intensities=(1.0,)), "at least two"),
        (lambda: Family(name="F", make=lambda x: (get("A0"), x), intensities=(0.0, 1.0)), "positive"),
        (lambda: Comparing(rule="smooth"), "one of envelope, monotone"),
    ],
)
def test_bad_families_get_one_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
