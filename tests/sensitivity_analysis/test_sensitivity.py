"""Sensitivity: closed forms, SALib and SciPy as references, who is counted, resuming, the command."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from conftest import drawn_as_pixels
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy import stats

import fastcart
from fastcart.cli import main
from fastcart.errors import InputError, MissingDependencyError
from fastcart.sensitivity_analysis import sensitivity as module
from fastcart.sensitivity_analysis.design import Design
from fastcart.sensitivity_analysis.indices import estimate
from fastcart.sensitivity_analysis.methods import METHODS, find
from fastcart.sensitivity_analysis.methods.fast import CURVES
from fastcart.sensitivity_analysis.methods.morris import elementary_effects
from fastcart.sensitivity_analysis.outputs import parse_outputs
from fastcart.sensitivity_analysis.ranges import parse_ranges
from fastcart.sensitivity_analysis.sampler import make_design
from fastcart.sensitivity_analysis.sensitivity import sensitivity

pytest.importorskip("SALib")

PI = math.pi
SIZES = {"fast": 257}
ISHIGAMI = dict.fromkeys(("x1", "x2", "x3"), (-PI, PI))
# Ishigami & Homma 1990, a = 7, b = 0.1
_V = 49 / 8 + 0.1 * PI**4 / 5 + 0.01 * PI**8 / 18 + 0.5
ISHIGAMI_S1 = np.array([0.5 * (1 + 0.1 * PI**4 / 5) ** 2, 49 / 8, 0]) / _V
ISHIGAMI_ST = ISHIGAMI_S1 + 0.01 * PI**8 * (1 / 18 - 1 / 50) / _V * np.array([1, 0, 1])
G_A = np.array([0.0, 1.0, 4.5, 9.0, 99.0, 99.0])
G_RANGES = {f"x{i}": (0.0, 1.0) for i in range(len(G_A))}
_V_I = 1 / (3 * (1 + G_A) ** 2)
_G_V = np.prod(1 + _V_I) - 1
G_S1 = _V_I / _G_V
G_ST = _V_I * np.prod(1 + _V_I) / (1 + _V_I) / _G_V


def ishigami(x):
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def sobol_g(x):
    return np.prod((np.abs(4 * x - 2) + G_A) / (1 + G_A), axis=1)


def problem(ranges):
    return {"num_vars": len(ranges), "names": list(ranges), "bounds": [list(r) for r in ranges.values()]}


@njit
def ishigami_rhs(t, y, p):
    x1, x2, x3 = p
    return (math.sin(x1) + 7 * math.sin(x2) ** 2 + 0.1 * x3**4 * math.sin(x1),)


def ishigami_model():
    """A model whose state is the Ishigami function of its parameters at t = 1."""
    parameters = [fastcart.Parameter(name, 1.0, range=(-4.0, 4.0)) for name in ISHIGAMI]
    return fastcart.Model(
        "ishigami", {"y": 0.0}, parameters, ishigami_rhs, t_end=1.0,
        published=fastcart.PublishedScheme(ishigami_rhs, 0.5),
    )  # fmt: skip


# --- closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranges", "function", "first", "total"),
    [(ISHIGAMI, ishigami, ISHIGAMI_S1, ISHIGAMI_ST), (G_RANGES, sobol_g, G_S1, G_ST)],
    ids=["Ishigami", "Sobol' G"],
)
@pytest.mark.parametrize(
    ("method", "n", "first_error", "total_error"), [("sobol", 8192, 0.02, 0.01), ("fast", 1001, 0.03, 0.06)]
)
# FAST has a bias by interference of its frequencies, which more points do not remove
def test_variance_indices_have_their_closed_forms(
    ranges, function, first, total, method, n, first_error, total_error
):
    design = make_design(method, ranges, n, seed=1)
    found = estimate(design, function(design.x)[:, None])
    np.testing.assert_allclose(found.value["S1"][:, 0], first, atol=first_error)
    np.testing.assert_allclose(found.value["ST"][:, 0], total, atol=total_error)
    if method == "sobol":
        for name, exact in (("S1", first), ("ST", total)):
            inside = (found.low[name][:, 0] <= exact + 1e-3) & (found.high[name][:, 0] >= exact - 1e-3)
            assert inside.mean() >= 0.8


def test_errors_of_sobol_indices_fall_with_n():
    errors = []
    for n in (64, 512, 4096):
        design = make_design("sobol", G_RANGES, n, seed=3)
        errors.append(np.abs(estimate(design, sobol_g(design.x)[:, None]).value["ST"][:, 0] - G_ST).max())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01


def test_elementary_effects_of_a_plane_are_its_slopes():
    design = make_design("morris", {"a": (0.0, 2.0), "b": (-1.0, 1.0), "c": (5.0, 6.0)}, 10, seed=1)
    y = design.x @ np.array([3.0, -1.0, 0.0])
    found = estimate(design, y[:, None])
    np.testing.assert_allclose(found.value["mu"][:, 0], [6.0, -2.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.value["mu_star"][:, 0], [6.0, 2.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.value["sigma"][:, 0], 0.0, atol=1e-6)


@pytest.mark.parametrize("method", ["pearson", "spearman", "prcc"])
def test_correlations_of_exact_dependence(method):
    design = make_design(method, {"a": (0.0, 1.0), "b": (0.0, 1.0)}, 400, seed=1)
    y = np.stack([5 * design.x[:, 0] - 2, -design.x[:, 0], np.ones(400)], axis=1)
    value = estimate(design, y, resamples=20).value[method]
    np.testing.assert_allclose(value[0, :2], [1.0, -1.0], atol=1e-6)
    assert np.isnan(value[:, 2]).all()  # what does not vary has no correlation


# --- SALib and SciPy as references ----------------------------------------------------------------


@pytest.fixture(scope="module")
def several():
    """Points, and outputs with interactions, ties and noise."""
    rng = np.random.default_rng(1)
    x = rng.random((300, 4))
    y = np.stack(
        [
            x[:, 0] - x[:, 1] + 0.3 * rng.random(300),
            np.round(4 * x[:, 2] * x[:, 0]),
            np.exp(5 * x[:, 3]) * x[:, 1],
        ],
        axis=1,
    )
    return x, y


def correlation_design(method, x):
    k = x.shape[1]
    return Design(method, tuple("abcdefgh"[:k]), np.tile([0.0, 1.0], (k, 1)), len(x), x)


@pytest.mark.parametrize(
    ("method", "reference"), [("pearson", stats.pearsonr), ("spearman", stats.spearmanr)]
)
def test_correlations_are_those_of_scipy(several, method, reference):
    x, y = several
    found = estimate(correlation_design(method, x), y, resamples=10).value[method]
    for j in range(4):
        for m in range(3):
            assert found[j, m] == pytest.approx(reference(x[:, j], y[:, m]).statistic, abs=1e-12)


def test_prcc_is_the_correlation_of_residuals(several):
    x, y = several
    found = estimate(correlation_design("prcc", x), y, resamples=10).value["prcc"]
    ranks_x, ranks_y = stats.rankdata(x, axis=0), stats.rankdata(y, axis=0)
    for j in range(4):
        others = np.column_stack([np.ones(len(x)), np.delete(ranks_x, j, axis=1)])
        for m in range(3):
            left = [
                v - others @ np.linalg.lstsq(others, v, rcond=None)[0] for v in (ranks_x[:, j], ranks_y[:, m])
            ]
            assert found[j, m] == pytest.approx(stats.pearsonr(*left).statistic, abs=1e-10)


def test_prcc_of_what_the_other_inputs_explain_is_undefined():
    x = np.random.default_rng(5).random((300, 3))
    y = np.column_stack([np.log(x[:, 0]), x[:, 0] + 1e-3 * x[:, 1]])
    found = estimate(correlation_design("prcc", x), y, resamples=10).value["prcc"]
    assert found[0, 0] == pytest.approx(1, abs=1e-12)
    assert np.isnan(found[1:, 0]).all()  # nothing is left of ln x_0 for the others
    assert np.isfinite(found[:, 1]).all()


def test_sobol_indices_are_those_of_salib():
    from SALib.analyze import sobol

    design = make_design("sobol", G_RANGES, 256, seed=2)
    y = np.stack([sobol_g(design.x), design.x[:, 0] ** 2 + 100], axis=1)
    found = estimate(design, y, resamples=500)
    for m in range(2):
        theirs = sobol.analyze(problem(G_RANGES), y[:, m], calc_second_order=False, seed=1, num_resamples=500)
        for name in ("S1", "ST"):
            np.testing.assert_allclose(found.value[name][:, m], theirs[name], atol=1e-12)


def test_elementary_effects_are_those_of_salib():
    from SALib.analyze import morris

    design = make_design("morris", ISHIGAMI, 50, seed=2)
    y = ishigami(design.x)
    found = estimate(design, y[:, None])
    theirs = morris.analyze(problem(ISHIGAMI), design.x, y, seed=1)
    for name in find("morris").indices:
        np.testing.assert_allclose(found.value[name][:, 0], np.asarray(theirs[name]), atol=1e-12)
    assert elementary_effects(design, y[:, None]).shape == (50, 3, 1)


@pytest.mark.parametrize("n", [257, 300])
def test_fast_indices_are_those_of_salib(n):
    from SALib.analyze.fast import compute_orders

    design = make_design("fast", ISHIGAMI, n, seed=2)
    y = ishigami(design.x)
    found = estimate(design, y[:, None])
    curves = y.reshape(CURVES, 3, n)
    theirs = np.array([[compute_orders(c, n, 4, (n - 1) // 8) for c in curve] for curve in curves]).mean(
        axis=0
    )
    np.testing.assert_allclose(found.value["S1"][:, 0], theirs[:, 0], atol=1e-12)
    np.testing.assert_allclose(found.value["ST"][:, 0], theirs[:, 1], atol=1e-12)


# --- intervals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [300, 5000])
def test_intervals_of_pearson_have_the_width_of_theory(n):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((n, 1))
    y = 0.6 * x + 0.8 * rng.standard_normal((n, 1))
    found = estimate(correlation_design("pearson", x), y, resamples=2000)
    r = found.value["pearson"][0, 0]
    half = (found.high["pearson"] - found.low["pearson"])[0, 0] / 2
    assert half == pytest.approx(1.96 * (1 - r**2) / math.sqrt(n), rel=0.12)
    assert found.low["pearson"][0, 0] < r < found.high["pearson"][0, 0]


@pytest.mark.parametrize("method", ["spearman", "prcc"])
def test_intervals_of_ranks_are_scaled_above_ten_thousand(method):
    rng = np.random.default_rng(5)
    n = 40_000
    x = rng.random((n, 2))
    found = estimate(correlation_design(method, x), rng.random((n, 1)), resamples=150)
    half = (found.high[method] - found.low[method])[:, 0] / 2
    np.testing.assert_allclose(half, 1.96 / math.sqrt(n), rtol=0.25)


def test_intervals_cover():
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((80, 1))
        y = 0.5 * x + math.sqrt(0.75) * rng.standard_normal((80, 1))
        found = estimate(correlation_design("pearson", x), y, resamples=300)
        covered += found.low["pearson"][0, 0] <= 0.5 <= found.high["pearson"][0, 0]
    assert 51 <= covered <= 60  # 95% of 60 are 57


# --- properties -----------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(list(METHODS)), st.floats(0.1, 50), st.floats(-100, 100))
def test_indices_do_not_depend_on_the_unit_of_an_output(method, scale, shift):
    design = make_design(method, ISHIGAMI, SIZES.get(method, 128), seed=4)
    y = ishigami(design.x)[:, None]
    a, b = estimate(design, y, resamples=5), estimate(design, scale * y + shift, resamples=5)
    factor = scale if method == "morris" else 1.0
    for name in find(method).indices:
        np.testing.assert_allclose(b.value[name], factor * a.value[name], atol=1e-8 * max(1.0, factor))
        np.testing.assert_allclose(b.high[name], factor * a.high[name], atol=1e-8 * max(1.0, factor))


@pytest.mark.parametrize("method", METHODS)
def test_an_output_does_not_depend_on_its_neighbours(method):
    design = make_design(method, ISHIGAMI, SIZES.get(method, 128), seed=4)
    y = ishigami(design.x)
    gaps = y.copy()
    gaps[7] = np.nan
    many = np.stack([y, y**2, gaps, *[y + k for k in range(70)]], axis=1)
    for column in (0, 1, 2, 72):
        alone, together = (estimate(design, v, resamples=10) for v in (many[:, [column]], many))
        for name in find(method).indices:
            for part in ("value", "low", "high"):
                a, b = getattr(alone, part)[name][:, 0], getattr(together, part)[name][:, column]
                np.testing.assert_allclose(a, b, atol=1e-10)


def test_samples_are_nested():
    for method, n in (("pearson", 100), ("sobol", 64), ("morris", 20)):
        small, large = (make_design(method, ISHIGAMI, size, seed=9) for size in (n, 2 * n))
        np.testing.assert_array_equal(small.x, large.x[: len(small.x)])
    more = make_design("pearson", {"w": (0.0, 1.0), **ISHIGAMI}, 100, seed=9)
    np.testing.assert_array_equal(more.x[:, 1:], make_design("pearson", ISHIGAMI, 100, seed=9).x)


# --- who is counted -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "n", "lost"), [("prcc", 100, 1), ("sobol", 64, 5), ("morris", 20, 4), ("fast", 257, 257)]
)
def test_a_missing_value_takes_its_block_with_it(method, n, lost):
    design = make_design(method, ISHIGAMI, n, seed=1)
    y = ishigami(design.x)
    y[6] = np.nan
    found = estimate(design, y[:, None], resamples=10)
    assert found.used[0] == len(y) - lost
    assert all(np.isfinite(v).all() for v in found.value.values())
    if method != "fast":
        block = find(method).block(design)
        rows = np.arange(len(y)) // block != 6 // block
        part = Design(method, design.names, design.bounds, int(rows.sum()) // block, design.x[rows])
        for name, value in estimate(part, y[rows, None], resamples=10).value.items():
            np.testing.assert_allclose(found.value[name], value, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_left_gives_nan(method):
    design = make_design(method, ISHIGAMI, SIZES.get(method, 128), seed=1)
    found = estimate(design, np.full((len(design.x), 1), np.nan), resamples=5)
    assert found.used[0] == 0
    assert all(np.isnan(v).all() for v in found.value.values())


def test_every_patient_is_in_one_count():
    model = fastcart.models.get("li_lei")
    outputs = parse_outputs(
        model, ["pfs", "progression", "ln_nadir", "C@5"], t_end=200.0, where="pfs > 2", censored="drop"
    )
    endpoints = pd.DataFrame(
        {
            "status": ["ok", "ok", "ok", "max_steps", "ok"], "pfs": [10.0, 200.0, 0.0, np.nan, 30.0],
            "progression": [10.0, np.nan, 0.0, np.nan, 30.0], "nadir": [1.0, 0.0, 1.0, np.nan, 1.0],
            "censored": [False, True, False, False, False],
        }
    )  # fmt: skip
    values = outputs.evaluate(endpoints, pd.DataFrame({"C": [1.0, 2.0, 3.0, np.nan, 5.0]}))
    y = outputs.apply(values)
    np.testing.assert_array_equal(y[:, 0], [10, np.nan, np.nan, np.nan, 30])
    counts = outputs.counts(values, np.isfinite(y).sum(axis=0)).set_index("output")
    parts = ["used", "failed", "left_out", "censored_dropped", "undefined", "with_others"]
    assert (counts[parts].sum(axis=1) == counts["patients"]).all()
    assert counts.loc["pfs", parts].tolist() == [2, 1, 1, 1, 0, 0]
    assert counts.loc["progression", parts].tolist() == [2, 1, 1, 0, 1, 0]
    assert counts.loc["ln_nadir", parts].tolist() == [2, 1, 1, 0, 1, 0]  # the logarithm of zero
    assert counts.loc["C@5", parts].tolist() == [3, 1, 1, 0, 0, 0]
    assert (counts["censored"] == 1).all()


def test_failed_patients_are_counted_through_the_whole_study(monkeypatch):
    def failing(model, patients, **options):
        result = fastcart.solve(model, patients, **options)
        result.endpoints.loc[result.endpoints["patient"] == 3, "status"] = "max_steps"
        return result

    monkeypatch.setattr(module, "solve", failing)
    result = sensitivity(
        ishigami_model(), method="sobol", outputs="final_y", n=64, ranges=ISHIGAMI, engine="published"
    )
    row = result.counts.iloc[0]
    assert row["failed"] == 1
    assert row["with_others"] == 4
    assert row["used"] == row["patients"] - 5


# --- whole studies --------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "n"), [("sobol", 2048), ("fast", 501)])
def test_a_model_that_is_the_ishigami_function(method, n):
    result = sensitivity(
        ishigami_model(), method=method, outputs=["final_y", "y@0.5:1:0.5"], n=n, ranges=ISHIGAMI,
        engine="published", seed=1,
    )  # fmt: skip
    for output in ("final_y", "y@0.5", "y@1"):
        total = result.table(output)["value"]
        np.testing.assert_allclose(total[list(ISHIGAMI)], ISHIGAMI_ST, atol=0.04)
    assert result.matrix("y", "S1").shape == (3, 2)
    assert len(result.convergence) == (0 if method == "fast" else 4 * 3 * 2 * 3)


@pytest.fixture(scope="module")
def li_lei():
    return sensitivity(
        "li_lei",
        outputs=["pfs", "ln_C@80", "log10_I6@10:30:10"],
        n=400,
        where="pfs > 2",
        seed=1,
        resamples=100,
    )


def test_tumor_growth_and_killing_decide_pfs(li_lei):
    table = li_lei.table("pfs")
    assert set(table.index[:2]) == {"lambda_C", "k_TE"}
    assert table.loc["lambda_C", "high"] < -0.4
    assert table.loc["k_TE", "low"] > 0.4
    assert li_lei.counts["left_out"].iloc[0] == (li_lei.values["y"][:, 0] <= 2).sum()
    assert len(li_lei.indices) == 41 * 5
    assert set(li_lei.convergence["n"]) == {50, 100, 200, 400}
    last = li_lei.convergence[li_lei.convergence["n"] == 400].drop(columns="n").reset_index(drop=True)
    pd.testing.assert_frame_equal(last, li_lei.indices)


def test_the_outputs_are_those_of_solve(li_lei):
    patients = pd.DataFrame(li_lei.design.x[:5], columns=list(li_lei.design.names))
    result = fastcart.solve("li_lei", patients, save_at=[10, 20, 30, 80])
    path = result.trajectories
    y = li_lei.values["y"][:5]
    np.testing.assert_allclose(y[:, 0], result.endpoints["pfs"])
    np.testing.assert_allclose(y[:, 1], np.log(path.loc[path["t"] == 80, "C"]))
    np.testing.assert_allclose(y[:, 3], np.log10(path.loc[path["t"] == 20, "I6"]))


def test_peaks_and_integrals_are_outputs():
    result = sensitivity(
        "li_lei", outputs=["peak_I6", "t_peak_I6", "ln_auc_TE", "nadir"], n=60, where="peak_TE > 0", seed=1,
        resamples=5, convergence=False,
    )  # fmt: skip
    patients = pd.DataFrame(result.design.x, columns=list(result.design.names))
    ends = fastcart.solve("li_lei", patients, peaks=["I6", "TE"], auc=["TE"]).endpoints
    y = result.values["y"]
    np.testing.assert_allclose(y[:, 0], ends["peak_I6"])
    np.testing.assert_allclose(y[:, 1], ends["t_peak_I6"])
    np.testing.assert_allclose(y[:, 2], np.log(ends["auc_TE"]))
    units = [column.unit for column in result.outputs.columns]
    assert units == ["ng/ml", "days", "ln cells × days", "cells"]


def test_neither_threads_nor_parts_change_anything(li_lei, monkeypatch):
    monkeypatch.setattr(module, "_PART", 256)
    again = sensitivity(
        "li_lei", outputs=["pfs", "ln_C@80", "log10_I6@10:30:10"], n=400, where="pfs > 2", seed=1,
        resamples=100, threads=1,
    )  # fmt: skip
    pd.testing.assert_frame_equal(again.indices, li_lei.indices, check_exact=True)
    pd.testing.assert_frame_equal(again.samples(), li_lei.samples(), check_exact=True)


def test_ranges_and_fixed_values():
    model = fastcart.models.get("li_lei")
    everything = parse_ranges(model)
    assert list(everything) == model.parameter_names
    assert everything["lambda_C"] == pytest.approx((2.97, 3.63))
    some = parse_ranges(model, {"*": 0.2, "TE": (1e6, 2e7), "k_TE": 0.1}, {"d_C": 0.1, "k_TE": 4.0})
    assert "d_C" not in some
    assert some["TE"] == (1e6, 2e7)
    assert some["k_TE"] == pytest.approx((3.6, 4.4))
    assert some["d_TE"] == pytest.approx((0.144, 0.216))
    assert list(parse_ranges(model, {"T4": 0.5})) == ["T4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sobel"}, "Did you mean 'sobol'"),
        ({"method": "sobol", "n": 1000}, "power of 2, not 1000; use 512 or 1024"),
        ({"method": "sobol", "n": 32}, "at least 64 base points, not 32"),
        ({"method": "sobol", "n": 2}, "at least 64 base points, not 2"),
        ({"method": "fast", "n": 65}, "at least 257"),
        ({"method": "fast", "ranges": {"k_TE": 0.1}}, "only one is varied, so its indices are 1"),
        ({"method": "morris", "n": 1}, "at least 2"),
        ({"n": 20}, "at least 45"),
        ({"outputs": "pfz"}, "Did you mean 'pfs'"),
        ({"outputs": "C"}, "needs a time"),
        ({"outputs": "pfs@80"}, "which has no time"),
        ({"outputs": "C@300"}, "between 0 and the horizon"),
        ({"outputs": "C@1:2"}, "FIRST:LAST:STEP"),
        ({"outputs": ()}, "No output"),
        ({"where": "pfs"}, "must read like"),
        ({"where": "pfz > 2"}, "Did you mean 'pfs'"),
        ({"where": "pfs > 2", "method": "morris"}, "must be complete"),
        ({"censored": "drip"}, "Did you mean 'drop'"),
        ({"ranges": 1.5}, "between 0 and 1"),
        ({"ranges": {"k_TEE": 0.1}}, "Did you mean 'k_TE'"),
        ({"ranges": {"k_TE": (4, 3)}}, "low below high"),
        ({"ranges": {"k_TE": (-1, 3)}}, "leaves what the model allows"),
        ({"ranges": {}}, "No parameter is varied"),
        ({"fixed": {"k": 1}}, "not a parameter or state"),
        ({"fixed": {"TE": 2e6}, "ranges": {"TE": (1e6, 2e7)}}, "'TE' is fixed and has a range of its own"),
        (
            {"fixed": {"TE": 2e6}, "ranges": {"TE": {"log_uniform": (1e6, 2e7)}}},
            "'TE' is fixed and has a range of its own",
        ),
        ({"seed": -1}, "from 0 on"),
        ({"confidence": 2}, "between 0 and 1"),
        ({"doses": {"time": [1], "state": ["TE"], "amount": [1.0], "patient": [1]}}, "same for all"),
        ({"table_format": "xlsx"}, "Known: csv, parquet"),
    ],
)  # fmt: skip
def test_bad_input(options, message):
    with pytest.raises(InputError, match=message):
        sensitivity("li_lei", **options)


def test_salib_is_optional(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "SALib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "SALib", None)
    with pytest.raises(MissingDependencyError, match=r"fastcart\[sensitivity\]"):
        make_design("sobol", ISHIGAMI, 64, seed=1)
    assert len(make_design("prcc", ISHIGAMI, 64, seed=1).x) == 64


# --- on disk --------------------------------------------------------------------------------------

_SLOW = """
import sys, time
from fastcart.cli import main
from fastcart.runs.store import Run
from fastcart.sensitivity_analysis import sensitivity
sensitivity._PART = 256
write = Run.write
def slowly(*arguments):
    write(*arguments)
    time.sleep(0.1)
Run.write = slowly
sys.exit(main(sys.argv[1:]))
"""
_STUDY = [
    "sensitivity",
    "li_lei",
    "--outputs",
    "pfs,ln_C@40:80:20",
    "--n",
    "3000",
    "--resamples",
    "50",
    "--no-plots",
    "--quiet",
    "--samples",
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals of Unix")
def test_a_killed_run_goes_on(tmp_path, monkeypatch, capsys):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([sys.executable, "-c", _SLOW, *_STUDY, "--out", str(killed)])
    deadline = time.monotonic() + 120
    while len(list(killed.glob("parts/*.npz"))) < 3 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    stored = {path.name: path.stat().st_mtime_ns for path in killed.glob("parts/*.npz")}
    assert 3 <= len(stored) < 12
    assert not (killed / "indices.csv").exists()

    monkeypatch.setattr(module, "_PART", 256)
    assert main([*_STUDY, "--out", str(killed)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*_STUDY, "--out", str(killed), "--seed", "1", "--resume"]) == 2
    assert "seed is 0 there and 1 now" in capsys.readouterr().err
    assert main([*_STUDY, "--out", str(killed), "--resume"]) == 0
    assert main([*_STUDY, "--out", str(whole)]) == 0
    for name, time_ns in stored.items():
        assert (killed / "parts" / name).stat().st_mtime_ns == time_ns  # not solved again
    tables = sorted(path.name for path in whole.glob("*.csv"))
    assert tables == ["convergence.csv", "counts.csv", "indices.csv", "samples.csv"]
    for name in tables:
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


@drawn_as_pixels()
def test_the_command_writes_tables_and_pictures(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "study"
    arguments = [
        "sensitivity", "li_lei", "--method", "prcc", "--outputs", "pfs,ln_C@0:200:50", "--n", "200",
        "--ranges", "10%,TE=5e6:2e7,d_TM=20%", "--fixed", "M=50", "--where", "pfs > 2", "--format", "parquet",
        "--seed", "3", "--resamples", "20", "--out", str(out),
    ]  # fmt: skip
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "200 patients, 42 varied, method prcc." in shown
    assert "left out by --where" in shown
    names = {path.name for path in out.iterdir()}
    assert {"indices.parquet", "counts.parquet", "convergence.parquet"} <= names
    assert {"tornado_pfs.png", "scatter_pfs.png", "heatmap_ln_C.png"} <= names
    table = pd.read_parquet(out / "indices.parquet")
    assert len(table) == 42 * 6
    at_start = table[table["output"] == "ln_C@0"]
    assert at_start["value"].isna().all()  # C(0) is the same for all
    assert main([*arguments, "--force"]) == 0


def test_all_censored_is_said_once_and_not_drawn(tmp_path, capsys):
    """The tumor is gone long before the horizon; a peak of a cytokine has nothing to do with that."""
    pytest.importorskip("matplotlib")
    out = tmp_path / "study"
    arguments = [
        "sensitivity", "li_lei", "--method", "prcc", "--outputs", "pfs,peak_I6", "--n", "60", "--seed", "3",
        "--ranges", "k_TE=4.5:4.9,TE=1e8:2e8", "--fixed", "C=1e6", "--t-end", "20",
        "--resamples", "20", "--out", str(out),
    ]  # fmt: skip
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    place = next(k for k, line in enumerate(lines) if line.startswith("pfs: "))
    assert lines[place] == "pfs: 60 used, 60 censored (kept)"
    assert lines[place + 1] == "  no index, see below; nothing is drawn"
    assert lines[place + 2] == "peak_I6: 60 used"
    assert not any("nan" in line for line in lines)
    assert any("all patients are censored at the horizon" in line for line in lines)
    assert {path.name for path in out.glob("*.png")} == {"tornado_peak_I6.png", "scatter_peak_I6.png"}


@pytest.mark.parametrize("text", ["x%", "k_TE", "k_TE=1", "1:2", "=10%", "10%,20%", "k_TE=1:b"])
def test_bad_ranges_on_the_command_line(tmp_path, capsys, text):
    assert main(["sensitivity", "li_lei", "--ranges", text, "--out", str(tmp_path / "x")]) == 2
    assert "range" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("method", "n"), [("sobol", 64), ("morris", 4), ("fast", 257), ("spearman", 60)])
def test_plots_of_every_method(method, n):
    pytest.importorskip("matplotlib")
    from fastcart.sensitivity_analysis import plots as plots

    ranges = dict.fromkeys(("lambda_C", "k_TE", "d_C"), 0.1)
    result = sensitivity(
        "li_lei", method=method, outputs=["pfs", "ln_C@20:80:20"], n=n, ranges=ranges, resamples=10, seed=1
    )
    for figure in (plots.tornado(result, "pfs"), plots.scatter(result, "pfs"), plots.heatmap(result, "ln_C")):
        assert figure.axes
        figure.canvas.draw()
    assert "(days)" in plots.tornado(result, "pfs").axes[0].get_title(loc="left")
