"""Samples of virtual patients: exact grids, right distributions, the same table for the same seed."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import fastcart
from fastcart import InputError, sample
from fastcart.sample import Design

N = 20_000


def refusal(call, *arguments, **keywords) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    return message


# grids


def test_a_grid_is_every_combination_the_last_column_fastest():
    table = sample.grid({"k_TE": [3.0, 4.0], "TE": {"geomspace": (1e6, 1e8, 3)}, "d_TE": 0.2})
    assert table.columns.to_list() == ["patient", "k_TE", "TE", "d_TE"]
    assert table["patient"].to_list() == [0, 1, 2, 3, 4, 5]
    assert table["k_TE"].to_list() == [3, 3, 3, 4, 4, 4]
    assert table["TE"].to_list() == [1e6, 1e7, 1e8] * 2
    assert table["d_TE"].to_list() == [0.2] * 6


def test_a_grid_takes_arrays_and_even_spacing():
    table = sample.grid({"a": np.array([1, 2]), "b": {"linspace": [0, 1, 5]}})
    assert table["b"].to_list() == [0, 0.25, 0.5, 0.75, 1] * 2


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
@settings(deadline=None, max_examples=30)
def test_rows_of_a_grid_are_those_of_the_product(lengths, data):
    axes = {f"x{j}": list(range(n)) for j, n in enumerate(lengths)}
    design = Design(axes, method="grid")
    expected = pd.MultiIndex.from_product(list(axes.values())).to_frame(index=False)
    start = data.draw(st.integers(0, design.size))
    stop = data.draw(st.integers(start, design.size))
    rows = design.rows(start, stop)
    assert rows["patient"].to_list() == list(range(start, stop))
    assert (rows[list(axes)].to_numpy() == expected.to_numpy()[start:stop]).all()


# distributions


@pytest.mark.parametrize(
    ("function", "numbers", "exact"),
    [
        (sample.uniform, (2, 5), stats.uniform(2, 3)),
        (sample.log_uniform, (1e6, 1e8), stats.loguniform(1e6, 1e8)),
        (sample.normal, (3, 0.5), stats.norm(3, 0.5)),
        (sample.log_normal, (2e7, 0.3), stats.lognorm(0.3, scale=2e7)),
        (sample.normal, (3, 0.5, 2.5, 4), stats.truncnorm(-1, 2, 3, 0.5)),
        (sample.latin_hypercube, (2, 5), stats.uniform(2, 3)),
        (sample.latin_hypercube, {"log_uniform": (1, 9)}, stats.loguniform(1, 9)),
        (sample.sobol, {"normal": (3, 0.5)}, stats.norm(3, 0.5)),
        (sample.sobol, {"log_normal": (2, 0.3)}, stats.lognorm(0.3, scale=2)),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_columns_have_the_distribution_asked_for(function, numbers, exact, seed):
    n = 2**14 if function is sample.sobol else N
    table = function({"a": numbers, "b": numbers}, n, seed=seed)
    for name in ("a", "b"):
        assert stats.kstest(table[name], exact.cdf).pvalue > 1e-3
    assert abs(stats.spearmanr(table["a"], table["b"]).statistic) < 4 / math.sqrt(n)


def test_limits_hold_to_the_last_bit():
    table = sample.log_normal({"a": (1, 2, 0.5, 1.5)}, N, seed=1)
    assert table["a"].between(0.5, 1.5).all()
    inside = stats.lognorm(2)
    cdf = lambda x: (inside.cdf(x) - inside.cdf(0.5)) / (inside.cdf(1.5) - inside.cdf(0.5))  # noqa: E731
    assert stats.kstest(table["a"], cdf).pvalue > 1e-3
    for kind in (sample.uniform, sample.log_uniform):
        assert kind({"a": (0.1, 0.3)}, N, seed=1)["a"].between(0.1, 0.3).all()


def test_correlations_are_those_asked_for():
    pairs = {("a", "b"): 0.7, ("b", "c"): -0.4}
    columns = {"a": (1, 0.1), "b": (2, 0.5), "c": (0, 3), "d": (0, 1)}
    table = sample.normal(columns, N, seed=5, correlation=pairs)
    found = table[list("abcd")].corr()
    for a, b, rho in (("a", "b", 0.7), ("b", "c", -0.4), ("a", "c", 0), ("a", "d", 0), ("c", "d", 0)):
        assert found.loc[a, b] == pytest.approx(rho, abs=4 / math.sqrt(N))
    assert table["b"].std() == pytest.approx(0.5, rel=0.03)


def test_correlations_of_logarithms_and_a_matrix():
    matrix = pd.DataFrame([[1, 0.5], [0.5, 1]], index=["a", "b"], columns=["a", "b"])
    columns = {"a": (1e6, 0.4), "b": (3, 0.2)}
    table = sample.log_normal(columns, N, seed=5, correlation=matrix)
    assert np.log(table[["a", "b"]]).corr().loc["a", "b"] == pytest.approx(0.5, abs=4 / math.sqrt(N))
    same = sample.log_normal(columns, N, seed=5, correlation=[("b", "a", 0.5)])
    pd.testing.assert_frame_equal(table, same, check_exact=True)


def test_a_latin_hypercube_has_one_patient_in_each_stratum():
    table = sample.latin_hypercube({"a": (0, 1), "b": (10, 20)}, 500, seed=3)
    for name, low, width in (("a", 0, 1), ("b", 10, 10)):
        strata = np.floor((table[name] - low) / width * 500).astype(int)
        assert sorted(strata) == list(range(500))


def test_sobol_points_are_balanced():
    table = sample.sobol({"a": (0, 1), "b": (0, 1)}, 256, seed=3)
    cells = np.floor(table["a"] * 16).astype(int) * 16 + np.floor(table["b"] * 16).astype(int)
    assert sorted(cells) == list(range(256))


# the same seed


DESIGNS = {
    "random": Design(
        {"a": {"normal": (0, 1)}, "b": {"log_normal": (1, 1)}, "c": {"log_uniform": (1, 7)}, "d": 4.0},
        999, seed=8, correlation={("a", "b"): 0.3},
    ),
    "latin_hypercube": Design({"a": {"normal": (0, 1)}, "b": {"uniform": (0, 1)}}, 999, seed=8,
                              method="latin_hypercube"),
    "sobol": Design({"a": {"normal": (0, 1)}, "b": {"uniform": (0, 1)}}, 999, seed=8, method="sobol"),
    "grid": Design({"a": {"linspace": (0, 1, 27)}, "b": {"geomspace": (1, 9, 37)}}, method="grid"),
}  # fmt: skip


@pytest.mark.parametrize("method", DESIGNS)
@given(start=st.integers(0, 999), length=st.integers(0, 999))
@settings(deadline=None, max_examples=25)
def test_rows_do_not_depend_on_what_else_is_asked_for(method, start, length):
    design = DESIGNS[method]
    stop = min(start + length, design.size)
    rows = design.rows(min(start, stop), stop)
    expected = design.table().iloc[min(start, stop) : stop].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)


@pytest.mark.parametrize("function", [sample.uniform, sample.log_uniform, sample.normal, sample.log_normal])
def test_random_columns_stay_when_columns_or_patients_are_added(function):
    one = function({"b": (1, 2)}, 100, seed=7)
    more = function({"a": (1, 2), "b": (1, 2), "c": (3, 4)}, 1000, seed=7)
    assert more["b"].to_list()[:100] == one["b"].to_list()
    assert function({"b": (1, 2)}, 100, seed=8)["b"].to_list() != one["b"].to_list()
    assert len(set(more["a"]) & set(more["b"])) == 0


def test_an_uncorrelated_column_changes_no_correlated_ones():
    columns = {"b": {"normal": (0, 1)}, "c": {"normal": (0, 1)}}
    pairs = {("b", "c"): 0.5}
    one = Design(columns, 50, seed=1, correlation=pairs).table()
    more = Design({"a": {"normal": (0, 1)}, **columns}, 50, seed=1, correlation=pairs).table()
    other_order = Design(dict(reversed(columns.items())), 50, seed=1, correlation={("c", "b"): 0.5}).table()
    for table in (more, other_order):
        pd.testing.assert_frame_equal(table[["b", "c"]], one[["b", "c"]], check_exact=True)


def test_columns_of_a_latin_hypercube_do_not_depend_on_each_other():
    one = sample.latin_hypercube({"b": (0, 1)}, 64, seed=7)
    more = sample.latin_hypercube({"a": (0, 1), "b": (0, 1)}, 64, seed=7)
    assert one["b"].to_list() == more["b"].to_list()


def test_more_sobol_points_begin_with_the_same():
    few, more = (sample.sobol({"a": (0, 1), "b": (0, 1)}, n, seed=7) for n in (64, 256))
    pd.testing.assert_frame_equal(few, more.iloc[:64], check_exact=True)


def test_published_stream_of_a_column():
    # what a table depends on is fixed: a change here breaks every scan that is to be resumed
    key = np.random.SeedSequence(1, spawn_key=tuple(b"k_TE"))
    expected = np.random.Generator(np.random.PCG64(key)).random(3)
    assert sample.uniform({"k_TE": (0, 1)}, 3, seed=1)["k_TE"].to_list() == expected.tolist()


# with a model


def test_a_sample_goes_into_solve():
    table = sample.latin_hypercube(
        {"k_TE": (3, 4), "TE": {"log_uniform": (1e6, 1e8)}}, 8, seed=1, model="li_lei"
    )
    endpoints = fastcart.solve("li_lei", table, keep=["TE"]).endpoints
    assert (endpoints["status"] == "ok").all()
    assert endpoints["TE"].to_list() == table["TE"].to_list()


def test_a_typo_is_told_with_the_nearest_name():
    message = refusal(sample.uniform, {"k_TEE": (1, 2)}, 5, seed=1, model="li_lei")
    assert message.startswith("The column 'k_TEE' is not a parameter or state of model 'li_lei'.")
    assert "Did you mean 'k_TE'?" in message


@pytest.mark.parametrize(
    ("function", "columns", "expected"),
    [
        (sample.uniform, {"k_TE": (-1, 2)}, "reaches from -1 to 2; allowed is at least 0 1/day"),
        (sample.normal, {"k_TE": (1, 0.5)}, "Give limits, as (mean, sd, low, high)"),
        (sample.grid, {"TE": [1e6, -1]}, "reaches from -1 to 1e+06; allowed is at least 0 cells"),
        (sample.normal, {"dose_TE": (1, 1)}, "allowed is at least 0"),
    ],
)
def test_values_outside_their_range_are_refused(function, columns, expected):
    keywords = {} if function is sample.grid else {"n": 5, "seed": 1}
    message = refusal(function, columns, **keywords, model="li_lei", dose_columns=["dose_TE"])
    assert expected in message


def test_normal_columns_within_reach_of_the_range_are_allowed():
    table = sample.normal({"k_TE": (3.57, 0.357), "dose_TE": (5, 1, 0, 9)}, 5, seed=1, model="li_lei",
                          dose_columns=["dose_TE"])  # fmt: skip
    assert (table["k_TE"] > 0).all()


@pytest.mark.parametrize(
    "function",
    [
        sample.uniform,
        sample.log_uniform,
        sample.normal,
        sample.log_normal,
        sample.latin_hypercube,
        sample.sobol,
    ],
)
def test_a_sample_without_a_seed_says_what_to_give(function):
    assert f"{function.__name__}() needs a seed, a whole number" in refusal(function, {"a": (1, 2)}, 5)


@pytest.mark.parametrize(
    ("arguments", "keywords", "expected"),
    [
        (({"a": {"uniform": (1, 2)}}, 5), {}, "must be a whole number from 0 on, not None"),
        (({"a": {"uniform": (1, 2)}}, 5), {"seed": -1}, "The seed of a sample must be"),
        (({"a": {"uniform": (1, 2)}},), {"seed": 1}, "The number of patients n must be a whole number"),
        (({"a": {"uniform": (1, 2)}}, 0), {"seed": 1}, "The number of patients n must be a whole number"),
        (({"a": {"uniform": (2, 1)}}, 5), {"seed": 1}, "must lie below the high one, not 2 and 1"),
        (({"a": {"uniform": (1,)}}, 5), {"seed": 1}, "uniform needs (low, high), not"),
        (({"a": {"uniform": (1, "x")}}, 5), {"seed": 1}, "must be a finite number, not 'x'"),
        (({"a": {"unifrom": (1, 2)}}, 5), {"seed": 1}, "Did you mean 'uniform'?"),
        (({"a": {"log_uniform": (0, 2)}}, 5), {"seed": 1}, "must be above 0, not 0"),
        (({"a": {"normal": (0, 0)}}, 5), {"seed": 1}, "normal needs a sd above 0"),
        (({"a": {"log_normal": (0, 1)}}, 5), {"seed": 1}, "needs a median and a sigma above 0"),
        (({"a": {"normal": (0, 1, 3, 2)}}, 5), {"seed": 1}, "leave nothing of the distribution"),
        (({"a": {"normal": (0, 1, 30, 31)}}, 5), {"seed": 1}, "leave nothing of the distribution"),
        (({"a": [1, 2]}, 5), {"seed": 1}, "must be given as a distribution"),
        (({"a": {"uniform": (1, 2), "normal": (1, 2)}}, 5), {"seed": 1}, "must name one distribution"),
        (({"a": (1, 2)},), {"method": "grid", "seed": 1}, "A grid draws no random numbers"),
        (({"a": (1, 2)}, 5), {"method": "grid"}, "leave n off"),
        (({"a": {"linspace": (1, 2)}},), {"method": "grid"}, "linspace needs (low, high, count)"),
        (({"a": {"geomspace": (0, 2, 3)}},), {"method": "grid"}, "must be above 0, not 0 and 2"),
        (({"a": []},), {"method": "grid"}, "must be given as values"),
        (({"pfs": {"uniform": (1, 2)}}, 5), {"seed": 1}, "cannot have the name 'pfs'"),
        (({}, 5), {"seed": 1}, "must be a mapping of names"),
        (({"a": 1}, 5), {"seed": 1, "method": "sobbol"}, "Did you mean 'sobol'?"),
        (({"a": {"uniform": (1, 2)}}, 2**31), {"seed": 1, "method": "sobol"}, "must be at most 1073741824"),
    ],
)  # fmt: skip
def test_what_is_no_design_is_refused(arguments, keywords, expected):
    assert expected in refusal(Design, *arguments, **keywords)


@pytest.mark.parametrize(
    ("correlation", "expected"),
    [
        ({("a", "b"): 1.5}, "must lie between -1 and 1, not 1.5"),
        ({("a", "z"): 0.5}, "names 'z', which is no normal or log-normal column"),
        ({("a", "a"): 0.5}, "two different columns"),
        ({"ab": 0.5}, "must name two columns, not 'ab'"),
        ([("a", "b", 0.1), ("b", "a", 0.2)], "is given twice"),
        ("a b", "rows of two names and a number"),
        ({("a", "b"): 0.9, ("b", "c"): 0.9, ("a", "c"): -0.9}, "No random numbers have these correlations"),
        (pd.DataFrame([[1, 0.5], [0.4, 1]], index=["a", "b"], columns=["a", "b"]), "must be symmetric"),
    ],
)
def test_what_are_no_correlations_is_refused(correlation, expected):
    columns = dict.fromkeys("abc", (1, 0.1))
    assert expected in refusal(sample.normal, columns, 5, seed=1, correlation=correlation)
