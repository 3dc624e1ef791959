"""The elementary functions that vectorise, against the C library in extended precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

import fastcart.math as vector_math

EPS = np.finfo(float).eps


def apply(function, x):
    @njit
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    x = np.asarray(x, dtype=float)
    out = np.empty_like(x)
    loop(x, out)
    return out


def test_exp_is_accurate_over_its_range():
    x = np.random.default_rng(0).uniform(-708.0, 709.78, 200_000)
    np.testing.assert_allclose(apply(vector_math.exp, x), np.exp(x), rtol=2 * EPS)


def test_exp_at_its_ends():
    found = apply(vector_math.exp, [0.0, -710.0, 710.0, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(found, [1.0, 0.0, np.inf, np.inf, 0.0, np.nan])


def test_exp_of_logarithms_of_states():
    x = np.random.default_rng(1).uniform(-690.0, 700.0, 100_000)
    np.testing.assert_allclose(apply(vector_math.exp_bounded, x), np.exp(x), rtol=4e-15)
    assert np.isfinite(apply(vector_math.exp_bounded, [1e5])[0])


def test_log_is_accurate_over_its_range():
    rng = np.random.default_rng(2)
    x = np.concatenate([10 ** rng.uniform(-307, 307, 100_000), rng.uniform(0.5, 1.5, 100_000)])
    np.testing.assert_allclose(apply(vector_math.log, x), np.log(x), rtol=3 * EPS)


def test_log_at_its_ends():
    found = apply(vector_math.log, [1.0, 0.0, -1.0, np.inf, np.nan, 5e-324])
    np.testing.assert_array_equal(found[:5], [0.0, -np.inf, np.nan, np.inf, np.nan])
    assert found[5] == pytest.approx(math.log(5e-324), rel=1e-15)


def test_pow():
    rng = np.random.default_rng(3)
    x, y = 10 ** rng.uniform(-5, 5, 1000), rng.uniform(-3, 3, 1000)
    found = [vector_math.pow(a, b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(found, x**y, rtol=1e-14)
    assert vector_math.pow(0.0, 0.0) == 1.0
    assert vector_math.pow(0.0, 2.0) == 0.0


def test_reciprocals_share_one_division():
    np.testing.assert_allclose(vector_math.reciprocals(2.0, 3.0, 7.0), [1 / 2, 1 / 3, 1 / 7], rtol=4 * EPS)


def test_a_fast_power_is_good_to_four_digits():
    x = 10 ** np.random.default_rng(4).uniform(-20, 20, 1000)
    found = [vector_math.fast_exp2(-0.14 * vector_math.fast_log2(v)) for v in x]
    np.testing.assert_allclose(found, x**-0.14, rtol=1e-4)


def test_rough_functions_start_an_iteration():
    x = 10 ** np.random.default_rng(5).uniform(-280, 280, 20_000)
    assert np.abs(apply(vector_math.rough_reciprocal, x) * x - 1).max() < 0.13
    assert np.abs(apply(vector_math.rough_sqrt, x) / np.sqrt(x) - 1).max() < 0.05


@pytest.mark.parametrize("name", ["exp", "log", "exp_bounded", "rough_reciprocal", "rough_sqrt"])
def test_functions_work_without_compiling(name):
    function = getattr(vector_math, name)
    for x in (0.3, 1.0, 17.5):
        assert function.py_func(x) == pytest.approx(function(x), rel=2 * EPS)
