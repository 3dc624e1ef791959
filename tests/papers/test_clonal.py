"""Families of single cells: means follow the equations, seeds and threads, known correlations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import fastcart
from fastcart import InputError, models
from fastcart.models.t_cell_presets import make_preset
from fastcart.papers.t_cell_theories import clonal, draws
from fastcart.papers.t_cell_theories.clonal import family_facts, simulate_families
from fastcart.solvers.compile import EXACT, cached


def _draw(seed, n, p, log_rest, out):
    state = np.zeros(1, np.uint64)
    state[0] = seed
    for k in range(out.size):
        out[k] = draws.binomial(state, n, p, log_rest)


@pytest.mark.parametrize(("n", "p"), [(1, 0.3), (7, 0.5), (40, 0.02), (60, 0.9), (100, 0.3), (5000, 0.01)])
def test_binomial_numbers_have_the_binomial_law(n, p):
    drawn = np.zeros(40_000, np.int64)
    cached(_draw, "numbers for a test", **EXACT)(np.uint64(11), n, *clonal._with_rest(np.array(p)), drawn)
    low, high = stats.binom.ppf([0.001, 0.999], n, p).astype(int)
    edges = np.arange(low, high + 2)
    observed = np.histogram(np.clip(drawn, low, high), bins=edges)[0]
    chances = stats.binom.pmf(np.arange(low, high + 1), n, p)
    chances[0] = stats.binom.cdf(low, n, p)
    chances[-1] = stats.binom.sf(high - 1, n, p)
    kept = chances * drawn.size > 5
    assert drawn.min() >= 0
    assert drawn.max() <= n
    expected = chances[kept] / chances[kept].sum() * observed[kept].sum()
    assert stats.chisquare(observed[kept], expected).pvalue > 1e-3


@pytest.mark.parametrize("preset", ["linear", "unified", "signal"])
def test_mean_family_follows_the_equations(preset):
    patient = {"d_N": 0.0, "s_N": 0.0}
    families = simulate_families(preset, 20_000, t_end=6.0, patient=patient, seed=3)
    model = models.get("t_cell", preset=preset)
    row = fastcart.solve(model, patient, t_end=6, save_at=[6], rtol=1e-8).trajectories.iloc[0]
    for name in ("S", "C", "M", "E"):
        expected = row[name] / 150
        error = families[name].std() / np.sqrt(len(families))
        # 3 standard errors, and the first order of the leap in the composition
        assert abs(families[name].mean() - expected) <= 3 * error + 0.02 * expected
    error = families["size"].std() / np.sqrt(len(families))
    assert abs(families["size"].mean() - row["T"] / 150) < 3 * error


def test_pure_birth_has_a_geometric_law():
    # one kind of cell that only divides at a constant rate: sizes are geometric (Yule)
    theory = make_preset("birth", first={"E": 1}, h_E=0.4, don_E=0.0, doff_E=0.0)
    patient = {"rho_E": 0.0, "alpha": 1000.0, "delta_I": 0.0, "d_N": 0.0}
    families = simulate_families(theory, 20_000, patient=patient, t_end=4.0, seed=2)
    growth = np.exp(0.4 * (4.0 - families["recruited"]))
    assert families["size"].mean() == pytest.approx(2 * growth.mean(), rel=0.02)
    assert families["size"].var() == pytest.approx(
        2 * (growth * (growth - 1)).mean() + 4 * growth.var(), rel=0.1
    )


def test_families_depend_on_the_seed_only():
    some = simulate_families("unified", 300, seed=7, t_end=5.0, threads=1)
    again = simulate_families("unified", 9000, seed=7, t_end=5.0, threads=2)
    pd.testing.assert_frame_equal(some, again.head(300))
    other = simulate_families("unified", 300, seed=8, t_end=5.0)
    assert not some.equals(other)


def test_first_daughters():
    day = 0.9
    for correlation, share in ((1, 0.0), (-1, 1.0), (0, 0.5)):
        families = simulate_families(
            "bifurcating", 4000, patient={"lambda_I": 40.0, "rho_C": 0.0, "rho_E": 0.0}, t_end=day,
            correlation=correlation, seed=1,
        )  # fmt: skip
        pairs = families[families["size"] == 2]
        mixed = ((pairs["C"] == 1) & (pairs["E"] == 1)).mean()
        assert mixed == pytest.approx(share, abs=0.03)


def test_facts_of_families():
    linear = family_facts(simulate_families("linear", 1500, seed=1, step=0.02))
    progressive = family_facts(simulate_families("progressive", 1500, seed=1, step=0.02))
    assert linear["spearman"] > 0
    assert progressive["spearman"] < -0.7
    assert 0.4 < linear["top_tenth"] < 0.6
    none = family_facts(simulate_families("linear", 2, patient={"alpha": 0.0}, t_end=1.0))
    assert none["families"] == 0
    assert np.isnan(none["spearman"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"families": 0}, "number of families"),
        ({"t_end": -1}, "horizon"),
        ({"step": 0}, "step"),
        ({"correlation": 3}, "must be -1, 0 or 1"),
        ({"seed": -1}, "seed must be"),
        ({"patient": {"alfa": 1}}, "Did you mean 'alpha'"),
        ({"preset": "x"}, "no preset"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(InputError, match=message):
        simulate_families(**options)
