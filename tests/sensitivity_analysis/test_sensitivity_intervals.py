"""Intervals of sensitivity indices cover what they say, or there is none and the reason is given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import slow_but
from interval_coverage import FUNCTIONS, covered, exact, ranges
from numba import njit
from scipy import stats

import fastcart
from fastcart.errors import InputError
from fastcart.sensitivity_analysis.design import Design
from fastcart.sensitivity_analysis.indices import estimate
from fastcart.sensitivity_analysis.methods import find
from fastcart.sensitivity_analysis.methods.sobol import SCRAMBLES
from fastcart.sensitivity_analysis.sampler import make_design

pytest.importorskip("SALib")

_QUICK = [
    ("polynomial", "prcc", 100), ("ishigami", "pearson", 100), ("g", "spearman", 100),
    ("ishigami", "sobol", 256), ("polynomial", "sobol", 128), ("g", "morris", 100),
]  # fmt: skip
_FULL = [
    (function, method, n)
    for function in FUNCTIONS
    for method in ("pearson", "spearman", "prcc", "sobol", "morris")
    for n in ((128, 512, 4096) if method == "sobol" else (100, 500, 4000))
]


@pytest.mark.parametrize(
    ("function", "method", "n"), slow_but([*_QUICK[1:2], *_QUICK[4:]], _QUICK, several=True)
)
def test_intervals_cover(function, method, n):
    repeats = 150
    for name, shares in covered(function, method, n, repeats).items():
        known = np.isfinite(shares)
        assert known.any() or name in ("sigma", "mu_star")
        # within 3.5 standard errors of a share of 0.95
        assert (np.abs(shares[known] - 0.95) <= 3.5 * np.sqrt(0.95 * 0.05 / repeats)).all(), (name, shares)


@pytest.mark.slow
@pytest.mark.parametrize(("function", "method", "n"), _FULL)
def test_intervals_cover_everywhere(function, method, n):
    repeats = 1000
    for name, shares in covered(function, method, n, repeats).items():
        known = np.isfinite(shares)
        # from 93 to 97 %, with three standard errors of a share of 1000
        margin = 0.02 + 3 * np.sqrt(0.95 * 0.05 / repeats)
        assert (np.abs(shares[known] - 0.95) <= margin).all(), (name, shares)


def test_the_exact_indices_are_those_of_the_books():
    """The large samples that coverage is counted against, by the closed forms of the literature."""
    a, b = 7.0, 0.1
    v1, v2 = 0.5 * (1 + b * np.pi**4 / 5) ** 2, a**2 / 8
    v13 = b**2 * np.pi**8 * (1 / 18 - 1 / 50)
    total = v1 + v2 + v13
    found = exact("ishigami", "sobol")
    np.testing.assert_allclose(found["S1"], np.array([v1, v2, 0]) / total, atol=2e-3)
    np.testing.assert_allclose(found["ST"], np.array([v1 + v13, v2, v13]) / total, atol=2e-3)
    # y = x1 + x2²/2 + 0.3 x1 x3 with uniform inputs: E[y | x1] = 1.15 x1 + c and so on
    parts = np.array([1.15**2 / 12, 0.25 * 4 / 45, 0.15**2 / 12])
    both = 0.3**2 / 144
    found = exact("polynomial", "sobol")
    np.testing.assert_allclose(found["S1"], parts / (parts.sum() + both), atol=2e-4)
    np.testing.assert_allclose(
        found["ST"], (parts + np.array([both, 0, both])) / (parts.sum() + both), atol=2e-4
    )
    # cov(x1, y) = 1.15 var(x1), and the variance is that of above
    pearson = exact("polynomial", "pearson")["pearson"]
    expected = [1.15 / 12, 0.5 / 12, 0.15 / 12] / np.sqrt((parts.sum() + both) / 12)
    np.testing.assert_allclose(pearson, expected, atol=4e-3)


@pytest.mark.parametrize("function", slow_but(["g"], FUNCTIONS))
def test_the_exact_effects_of_morris_are_those_of_many_trajectories(function):
    right, n = exact(function, "morris"), 20_000
    design = make_design("morris", ranges(function), n, seed=5)
    found = estimate(design, FUNCTIONS[function][0](design.x)[:, None]).value
    error = right["sigma"] / np.sqrt(n)
    for name in ("mu", "mu_star"):
        assert (np.abs(found[name][:, 0] - right[name]) <= 5 * error + 1e-12).all()
    np.testing.assert_allclose(found["sigma"][:, 0], right["sigma"], rtol=0.05, atol=1e-12)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_intervals_of_normal_data_are_those_of_fisher(method):
    """Where Fisher's formula holds, the width is its own: 1 / sqrt(n - 3), for ranks times sqrt(1 + r²/2)."""
    n = 20_000
    rng = np.random.default_rng(3)
    x = rng.standard_normal((n, 1))
    y = 0.5 * x + np.sqrt(0.75) * rng.standard_normal((n, 1))
    found = estimate(Design(method, ("a",), np.array([[0.0, 1.0]]), n, x), y)
    r = found.value[method][0, 0]
    half = (np.arctanh(found.high[method]) - np.arctanh(found.low[method]))[0, 0] / 2
    factor = np.sqrt(1 + r**2 / 2) if method == "spearman" else 1.0  # Bonett & Wright 2000
    assert half == pytest.approx(stats.t.ppf(0.975, 99) * factor / np.sqrt(n - 3), rel=0.2)


def test_scrambles_are_independent_and_of_equal_size():
    design = make_design("sobol", ranges("ishigami"), 256, seed=1)
    assert SCRAMBLES == 16
    base = design.x.reshape(256, find("sobol").block(design), 3)[:, 0].reshape(16, 16, 3)
    unit = (base + np.pi) / (2 * np.pi)
    for j in range(16):  # each scramble is a net of its own: one point in each sixteenth of every axis
        for axis in range(3):
            assert sorted(np.floor(16 * unit[:, j, axis]).astype(int)) == list(range(16))
    assert len(np.unique(base.reshape(-1, 3), axis=0)) == 256


def test_where_there_is_no_interval_the_reason_is_said():
    model = _plain_model()
    for method, n, name, text in (
        ("fast", 257, "S1", "with jumps or fast changes S1 is too small"),
        ("morris", 10, "mu", "less than 100 trajectories"),
        ("morris", 100, "sigma", "tails of effects"),
        ("prcc", 15, "prcc", "less than 20 patients more than inputs"),
    ):  # fmt: skip
        study = fastcart.sensitivity(model, method=method, outputs="final_y", n=n, seed=1)
        assert study.indices.query(f"index == {name!r}")["low"].isna().all()
        notes = study.notes.query(f"index == {name!r}")["note"]
        assert text in notes.iloc[0]
        assert not study.notes["serious"].any()
    with pytest.raises(InputError, match="at least 257 points per curve, not 65"):
        fastcart.sensitivity(model, method="fast", outputs="final_y", n=65)


# --- relatives: inputs and outputs that are out of the ordinary ---------------------------------------


def _design(method, x):
    k = x.shape[1]
    return Design(method, tuple(f"x{j}" for j in range(k)), np.tile([0.0, 1.0], (k, 1)), len(x), x)


@pytest.mark.parametrize("method", ["pearson", "spearman", "prcc", "concordance"])
def test_odd_inputs_of_correlations(method):
    rng = np.random.default_rng(2)
    x = rng.random((300, 4))
    x[:, 2] = 0.5  # does not vary
    y = (x[:, 0] + 0.5 * rng.random(300))[:, None]
    name = next(iter(find(method).indices))
    found = estimate(_design(method, x), y)
    plain = estimate(_design(method, x[:, [0, 1, 3]]), y)
    assert np.isnan(found.value[name][2]).all()
    np.testing.assert_allclose(found.value[name][[0, 1, 3]], plain.value[name], atol=1e-12)
    np.testing.assert_allclose(found.low[name][[0, 1, 3]], plain.low[name], atol=1e-12)
    # another order of inputs gives the same in that order
    order = [3, 0, 2, 1]
    again = estimate(_design(method, x[:, order]), y)
    for part in ("value", "low", "high"):
        np.testing.assert_allclose(getattr(again, part)[name], getattr(found, part)[name][order], atol=1e-12)
    # far from zero, and in other units, is the same
    moved = estimate(_design(method, x), 1e9 + 1e3 * y)
    np.testing.assert_allclose(moved.value[name], found.value[name], atol=1e-6)
    one = estimate(_design(method, x[:, :1]), y)
    assert np.isfinite(one.low[name]).all()


def test_a_column_given_twice_has_no_partial_correlation_and_harms_no_other():
    rng = np.random.default_rng(4)
    x = rng.random((200, 3))
    y = (x[:, 0] + x[:, 1] ** 2 + 0.3 * rng.random(200))[:, None]
    twice = estimate(_design("prcc", np.column_stack([x, x[:, 2]])), y).value["prcc"]
    once = estimate(_design("prcc", x), y).value["prcc"]
    np.testing.assert_allclose(twice[:2], once[:2], atol=1e-8)
    assert np.isnan(twice[2:]).all()


def test_ties_and_whole_numbers():
    rng = np.random.default_rng(5)
    x = rng.random((250, 3))
    y = np.floor(4 * x[:, 0] + rng.random(250))[:, None]
    found = estimate(_design("spearman", x), y)
    for j in range(3):
        expected = stats.spearmanr(x[:, j], y[:, 0]).statistic
        assert found.value["spearman"][j, 0] == pytest.approx(expected, abs=1e-12)
    assert (found.low["spearman"] < found.value["spearman"]).all()


@pytest.mark.parametrize("method", ["pearson", "spearman", "sobol", "fast"])
@pytest.mark.parametrize("unit", [1e-250, 1e200])
def test_outputs_whose_squares_are_no_numbers(method, unit):
    design = make_design(method, ranges("polynomial"), {"fast": 257}.get(method, 128), seed=1)
    y = FUNCTIONS["polynomial"][0](design.x)[:, None]
    plain, far = estimate(design, y), estimate(design, unit * y)
    for name in find(method).indices:
        np.testing.assert_allclose(far.value[name], plain.value[name], rtol=1e-9)
        np.testing.assert_allclose(far.low[name], plain.low[name], rtol=1e-6)


def test_a_perfect_correlation_has_no_interval():
    x = np.random.default_rng(6).random((100, 2))
    found = estimate(_design("spearman", x), np.exp(x[:, :1]))
    assert found.value["spearman"][0, 0] == pytest.approx(1, abs=1e-12)
    assert np.isnan(found.low["spearman"][0, 0])
    assert np.isfinite(found.low["spearman"][1, 0])


# --- censored survival --------------------------------------------------------------------------------


def test_concordance_is_that_of_lifelines():
    utils = pytest.importorskip("lifelines.utils")
    rng = np.random.default_rng(8)
    x = rng.random((200, 3))
    x[:, 2] = np.round(x[:, 2], 1)  # with ties
    true = np.round(rng.exponential(1 + 3 * x[:, 0]), 1)
    seen = true < 2.5
    time = np.minimum(true, 2.5)
    found = estimate(_design("concordance", x), time[:, None], events=seen[:, None])
    for j in range(3):
        theirs = utils.concordance_index(time, x[:, j], seen)
        # lifelines counts pairs that die at the same time as half; here they are no pairs
        tied = sum(seen[a] and seen[b] and time[a] == time[b] for a in range(200) for b in range(a + 1, 200))
        pairs = sum(seen[a] and (time[a] < time[b] or (time[a] == time[b] and not seen[b]))
                    for a in range(200) for b in range(200))  # fmt: skip
        ours = found.value["concordance"][j, 0]
        candidates = [ours, (ours * pairs + 0.5 * tied) / (pairs + tied)]
        assert min(abs(theirs - c) for c in candidates) < 1e-12
    np.testing.assert_allclose(found.value["somers_d"], 2 * found.value["concordance"] - 1, atol=1e-15)


def test_concordance_does_not_depend_on_the_horizon_and_covers():
    """Somers' D of exponential times with rates in proportion: censoring widens the interval, no more."""
    hits = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x = rng.integers(0, 2, (200, 1)).astype(float)
        time = rng.exponential(1 / (1 + 2 * x[:, 0]))  # rates 1 and 3: P(T1 < T0) = 3/4
        found = estimate(
            _design("concordance", x), np.minimum(time, 0.3)[:, None], events=(time < 0.3)[:, None]
        )
        # pairs that differ in x are half of all; hazards in proportion make 3/4 hold until any horizon
        differs = _share_of_different_pairs(x[:, 0], time, 0.3)
        hits += found.low["somers_d"][0, 0] <= -0.5 * differs <= found.high["somers_d"][0, 0]
    assert 85 <= hits <= 100


def _share_of_different_pairs(x, time, horizon):
    first = np.flatnonzero(time < horizon)
    pairs = [(x[i] != x[time > time[i]]).mean() for i in first]
    sizes = [(time > time[i]).sum() for i in first]
    return float(np.average(np.nan_to_num(pairs), weights=sizes))


def test_censored_patients_are_said_and_drop_changes_what_is_asked():
    model = _tumor()
    with pytest.warns(UserWarning, match=r"of 300 patients \(\d+%\) are censored") as caught:
        kept = fastcart.sensitivity(model, n=300, seed=1, ranges={"kill": (0.0, 0.6), "growth": 0.1})
    share = kept.counts["censored"].iloc[0] / 300
    assert f"({share:.0%})" in str(caught[0].message)
    right = fastcart.sensitivity(
        model, method="concordance", n=300, seed=1, ranges={"kill": (0.0, 0.6), "growth": 0.1}
    )
    assert right.notes.empty
    assert right.table("pfs").loc["kill", "low"] > 0.5
    with pytest.raises(InputError, match="leave censored at 'keep'"):
        fastcart.sensitivity(model, method="concordance", censored="drop")


def test_indices_that_cannot_be_had_are_said():
    model = _tumor()
    options = dict(ranges={"kill": (0.0, 0.6), "growth": 0.1}, seed=1)
    with pytest.warns(UserWarning, match="none of the 64 base points is complete"):
        study = fastcart.sensitivity(
            model, method="sobol", n=64, censored="drop",
            **{**options, "ranges": {"kill": (0.4, 0.6), "growth": 0.1}},
        )  # fmt: skip
    assert study.indices["value"].isna().all()
    with pytest.warns(UserWarning, match="all patients are censored"):
        fastcart.sensitivity(model, n=50, ranges={"kill": (0.5, 0.6), "growth": 0.1}, seed=1)


def test_patients_that_have_no_such_value_are_said():
    """Of a Sobol' design a third may go with the few that have no logarithm."""
    signed = fastcart.Parameter("a", 1.0, range=(-1.0, 1.0))
    model = fastcart.Model("sum", {"x": 0.0}, [signed, fastcart.Parameter("b", 1.0)], _sum, t_end=1.0)
    for method, n, others in (
        ("sobol", 64, "stand in the same base points"),
        ("pearson", 100, "no such value"),
    ):
        with pytest.warns(UserWarning, match=others) as caught:
            study = fastcart.sensitivity(
                model, method=method, n=n, ranges={"a": (-1.0, 1.0), "b": (0.0, 2.0)}, outputs="ln_x@1",
                convergence=False,
            )  # fmt: skip
        assert "inputs are no longer independent" in str(caught[0].message)
        assert study.notes["serious"].all()
        count = study.counts.iloc[0]
        lost = int(count["patients"] - count["used"])
        assert f"{lost} of {int(count['patients'])} patients" in study.notes["note"].iloc[0]


def test_sobol_indices_of_few_complete_base_points_are_not_given():
    design = make_design("sobol", ranges("ishigami"), 64, seed=1)
    y = design.x.sum(axis=1)[:, None].repeat(2, axis=1)
    block = find("sobol").block(design)
    y.reshape(64, block, 2)[:33, 0, 0] = np.nan  # leaves 31 of 64
    y.reshape(64, block, 2)[:32, 0, 1] = np.nan
    found = estimate(design, y)
    assert found.used.tolist() == [31 * block, 32 * block]
    for name in ("S1", "ST"):
        assert np.isnan(found.value[name][:, 0]).all()
        assert np.isfinite(found.value[name][:, 1]).all()


def _tumor():
    from numba import njit

    @njit
    def rhs(t, y, p):
        kill, growth = p
        # killed at first, then it grows again
        return (y[0] * (growth - kill * np.exp(-0.1 * t) - 0.2 * kill),)

    return fastcart.Model(
        "regrowing", [fastcart.State("C", "cells", 1e6, log=True)], {"kill": 0.3, "growth": 0.1}, rhs,
        t_end=60.0, burden="C",
    )  # fmt: skip


@njit
def _sum(t, y, p):
    return (p[0] + p[1],)


def _plain_model():
    from numba import njit

    @njit
    def rhs(t, y, p):
        return (p[0] + p[1] * p[2],)

    return fastcart.Model("plain", {"y": 0.0}, {"a": 1.0, "b": 2.0, "c": 3.0}, rhs, t_end=1.0)


def test_notes_are_a_table_in_the_folder(tmp_path):
    fastcart.sensitivity(
        _plain_model(), method="morris", outputs="final_y", n=10, seed=1, folder=tmp_path / "m"
    )
    notes = pd.read_csv(tmp_path / "m" / "notes.csv")
    assert set(notes["index"]) == {"mu", "mu_star", "sigma"}


def early_logistic(x):
    """A logistic tumor after 20 days, which its growth rate all but determines by itself."""
    rate, capacity = x.T
    return capacity / (1 + (capacity / 1e6 - 1) * np.exp(-20 * rate))


def test_intervals_hold_their_estimate_where_its_bias_is_larger_than_they_are():
    """Beside an input that explains nearly all, ranks of a sample hide most of what the other one does."""
    columns = {"rate": (0.05, 0.15), "capacity": (0.5e9, 2e9)}
    right, hits, repeats = 0.794, 0, 40  # at 200 000 patients; each of 1000 finds 0.64
    for seed in range(repeats):
        design = make_design("prcc", columns, 1000, seed=seed)
        found = estimate(design, early_logistic(design.x)[:, None])
        value, low, high = (one["prcc"][:, 0] for one in (found.value, found.low, found.high))
        assert ((low >= -1) & (low <= value) & (value <= high) & (high <= 1)).all()
        hits += low[1] <= right <= high[1]
    assert hits >= 0.85 * repeats  # 21 of 40 with intervals of the standard error alone
