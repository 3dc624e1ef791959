"""Gains over the single dose of equal toxicity: bootstrap of the prior draws; what treated patients reach."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastcart.trial.frontier import (
    JUDGED,
    RESAMPLES,
    draws_of,
    falls,
    gain_limits,
    isotoxic,
    percentile_limits,
    resampled_means,
    why_incomparable,
)


def population(rng, draws: int, patients: int):
    """Draw a population as the calibration does: weighted draws of a prior, resampled to equal weights."""
    value = rng.normal(size=draws)
    weights = np.exp(0.5 * rng.normal(size=draws))
    source = rng.choice(draws, size=patients, p=weights / weights.sum())
    return value[source], source


def test_the_bootstrap_knows_that_copies_are_not_independent():
    """The variance of a mean over populations, each of new draws, against that of the bootstrap."""
    rng = np.random.default_rng(1)
    draws, patients = 400, 800
    means, clustered, alone = [], [], []
    for k in range(400):
        values, source = population(rng, draws, patients)
        means.append(values.mean())
        if k < 40:
            for clusters, found in ((source, clustered), (np.arange(patients), alone)):
                resampled = resampled_means(values[None, :, None], clusters, rng=rng, resamples=300)
                found.append(np.var([m[0, 0] for m in resampled]))
    # theory: a mean over N picks of draws with weights w has the variance (1/N + (1 - 1/N) sum w^2) var(y)
    share = 1 / patients + np.exp(0.25) / draws
    assert np.var(means) == pytest.approx(share, rel=0.2)
    assert np.mean(clustered) == pytest.approx(share, rel=0.08)
    assert np.mean(alone) < 0.5 * share


def test_intervals_of_gains_cover_what_they_say():
    rng = np.random.default_rng(3)
    doses = np.array([1e6, 1e7, 1e8])
    gain, inside, trials = 0.05, np.zeros(len(JUDGED)), 160
    for _ in range(trials):
        values, source = population(rng, 150, 300)
        noise = np.random.default_rng(rng.integers(2**32)).normal(0, 0.3, (150, len(JUDGED)))[source]
        # a dose ten times as large: 20 points more CRS, 10 of the rest; the arm is as toxic as the middle one
        toxicity = 0.5 + 0.05 * values
        scan = np.stack(
            [
                np.column_stack([toxicity + shift, *(0.4 + 0.1 * values + shift / 2,) * len(JUDGED)])
                for shift in (-0.2, 0.0, 0.2)
            ]
        )
        arm = np.column_stack([toxicity, 0.4 + 0.1 * values[:, None] + gain + noise])
        low, high, unknown = gain_limits(arm[None], scan, doses, source, seed=7, resamples=200)
        inside += (low[0] <= gain) & (gain <= high[0])
        assert unknown[0] == 0.0
    # 160 trials of as many independent endpoints
    assert (inside / trials).mean() == pytest.approx(0.945, abs=0.03)


def test_resampling_draws_is_the_same_comparison():
    """Every resample is what `isotoxic` says of patients repeated as often as their draw was drawn."""
    rng = np.random.default_rng(0)
    doses = np.array([1e6, 1e7, 1e8, 1e9])
    base = rng.random((1, 60, 1 + len(JUDGED)))
    scan = np.concatenate([0.5 * base + 0.1 * k for k in range(4)])
    arms = 0.5 * base + rng.uniform(0.05, 0.25, (3, 60, 1 + len(JUDGED)))
    source = rng.integers(0, 20, 60)
    low, high, _ = gain_limits(arms, scan, doses, source, seed=5, resamples=40, alpha=0.1)
    gains = []
    clusters = np.unique(source)
    generator = np.random.default_rng(5)
    for _ in range(40):
        chosen = clusters[generator.integers(0, len(clusters), len(clusters))]
        rows = np.concatenate([np.flatnonzero(source == c) for c in chosen])
        columns = ["crs3", *JUDGED]
        table = isotoxic(
            pd.DataFrame(arms[:, rows].mean(axis=1), columns=columns),
            pd.DataFrame(scan[:, rows].mean(axis=1), columns=columns).assign(dose=doses),
        )
        gains.append(table[[f"gain_{name}" for name in JUDGED]].to_numpy())
    expected = percentile_limits(np.array(gains), 0.1)
    np.testing.assert_allclose(low, expected[0], atol=1e-12)
    np.testing.assert_allclose(high, expected[1], atol=1e-12)
    again = gain_limits(arms, scan, doses, source, seed=5, resamples=40, alpha=0.1)
    np.testing.assert_array_equal(low, again[0])
    assert RESAMPLES == 1000


def test_unknown_gains_make_limits_wider_or_none():
    drawn = np.arange(100.0)
    assert [float(v) for v in percentile_limits(drawn, 0.1)] == [4.0, 95.0]
    drawn[[50, 60]] = np.nan  # they might have been lowest or highest
    low, high = (float(v) for v in percentile_limits(drawn, 0.1))
    assert (low, high) == (2.0, 97.0)
    drawn[:10] = np.nan
    assert np.isnan(percentile_limits(drawn, 0.1)).all()


def test_the_draws_of_patients():
    frame = pd.DataFrame({"patient": [0, 1, 2]})
    assert draws_of(frame).tolist() == [0, 1, 2]
    assert draws_of(frame.assign(source=[7, 7, 3])).tolist() == [7, 7, 3]


DOSES = np.array([1e6, 1e7, 1e8, 1e9])


def frontier(crs3, doses=DOSES) -> pd.DataFrame:
    """Return a frontier on which each judged endpoint tells the dose: its logarithm."""
    return pd.DataFrame({"dose": doses, "crs3": crs3, **dict.fromkeys(JUDGED, np.log10(doses))})


def arms(*crs3) -> pd.DataFrame:
    return pd.DataFrame({"crs3": crs3, **dict.fromkeys(JUDGED, 8.0)})


def test_the_dose_of_equal_toxicity_is_found_where_more_cells_are_less_toxic():
    """The example of the guide: the arm that is the dose of 1e8 gains nothing over itself."""
    scan = frontier([0.533, 0.456, 0.396, 0.336])
    table = isotoxic(arms(0.396, 0.426, 0.533, 0.336, 0.54, 0.33), scan)
    assert falls(scan)
    expected = [1e8, 10**7.5, 1e6, 1e9, np.nan, np.nan]
    np.testing.assert_allclose(table["dose"], expected, rtol=1e-12)
    for name in JUDGED:
        np.testing.assert_allclose(table[f"gain_{name}"], 8.0 - np.log10(expected), atol=1e-12)
    assert why_incomparable(0.54, scan) == "no single dose that was scanned has the same rate of severe CRS"


def test_a_falling_frontier_is_the_mirror_of_a_rising_one():
    rng = np.random.default_rng(4)
    for _ in range(50):
        rates, wanted = np.sort(rng.uniform(0.1, 0.9, 4)), rng.uniform(0.05, 0.95, 6)
        up = isotoxic(arms(*wanted), frontier(rates))["dose"]
        down = isotoxic(arms(*wanted), frontier(rates[::-1]))["dose"]  # doses mirrored about 10**7.5
        both = np.log10(up) + np.log10(down)
        np.testing.assert_allclose(both, np.where(np.isnan(up), np.nan, 15.0))


@pytest.mark.parametrize(
    ("rates", "wanted", "why"),
    [
        ([0.2, 0.5, 0.5, 0.3], 0.4, "severe CRS turns"),
        ([0.5, 0.3, 0.3, 0.6], 0.4, "severe CRS turns"),
        ([0.4, 0.2, 0.2, 0.2], 0.2, "doses far apart"),
        ([0.2, 0.2, 0.2, 0.4], 0.2, "doses far apart"),
        ([0.0, 0.0, 0.0, 0.0], 0.0, "doses far apart"),
        ([0.3, 0.3, 0.3, 0.3], 0.5, "no single dose that was scanned"),
    ],
)
def test_where_doses_disagree_nothing_is_compared(rates, wanted, why):
    table = isotoxic(arms(wanted), frontier(rates))
    assert table.drop(columns="crs3").isna().all(axis=None)
    assert why in why_incomparable(wanted, frontier(rates))


def test_intervals_of_a_falling_frontier_hold_the_gain():
    rng = np.random.default_rng(8)
    base = rng.random((80, 1 + len(JUDGED)))
    scan = np.stack([0.5 * base + np.r_[0.3 - 0.1 * k, np.full(len(JUDGED), 0.1 * k)] for k in range(4)])
    low, high, unknown = gain_limits(scan[[2]], scan, DOSES, np.arange(80), seed=1, resamples=50)
    np.testing.assert_allclose([low, high], 0.0, atol=1e-12)
    assert unknown[0] == 0.0
