"""The elementary functions that vectorise, against the C library in extended precision."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

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


def ulps_of_power(x, y):
    """Errors of `pow` in units of the last place, against sixty decimal digits; all results are finite."""
    getcontext().prec = 60
    found = apply_to_two(vector_math.pow, x, y)
    errors = []
    for a, b, value in zip(x.tolist(), y.tolist(), found.tolist(), strict=True):
        exact = (Decimal(a).ln() * Decimal(b)).exp()
        errors.append(abs(float((Decimal(value) - exact) / Decimal(math.ulp(value)))))
    return max(errors)


def apply_to_two(function, x, y):
    @njit
    def loop(x, y, out):
        for i in range(x.size):
            out[i] = function(x[i], y[i])

    out = np.empty_like(x)
    loop(x, y, out)
    return out


def with_exponents(x, low, high):
    """``y`` such that ``y log x`` is between two numbers."""
    return np.random.default_rng(4).uniform(low, high, x.size) / np.log(x)


def test_pow_is_accurate_to_units_in_the_last_place():
    rng = np.random.default_rng(3)
    usual = 10 ** rng.uniform(-5, 5, 2000)
    assert ulps_of_power(usual, rng.uniform(-8, 8, usual.size)) < 1.5
    wide = 10 ** rng.uniform(-307, 308, 2000)
    assert ulps_of_power(wide, with_exponents(wide, -708, 709)) < 1.5
    for reach in (0.5, 1e-3, 1e-9):
        near_one = 1 + rng.uniform(-reach, reach, 2000)
        assert ulps_of_power(near_one, with_exponents(near_one, -708, 709)) < 1.5
    subnormal = 5e-324 * rng.integers(1, 2**51, 1000)
    assert ulps_of_power(subnormal, rng.uniform(-0.95, 0.95, subnormal.size)) < 1.5
    small = 10 ** rng.uniform(-9, -1, 1000)
    assert ulps_of_power(small, with_exponents(small, -744, -708.4)) <= 1.0  # results are subnormal


_MARKED = [
    0.0, 0.5, 1.0, 2.0, 3.0, 2.5, 1e300, 1.7e308, 5e-324, 1e-310, 1023.0, 1024.0, 1074.0, 1076.0,
    2.0**51 + 0.5, 2.0**52 + 1, 2.0**53 - 1, 2.0**53, 2.0**53 + 2,
    np.nextafter(1, 2), np.nextafter(1, 0), np.inf, np.nan,
]  # fmt: skip


def test_pow_has_the_signs_and_the_ends_of_ieee():
    """All pairs of numbers where something special happens, against the C library."""
    marked = np.array([*_MARKED, *(-x for x in _MARKED)])
    x, y = (grid.ravel() for grid in np.meshgrid(marked, marked))
    found = apply_to_two(vector_math.pow, x, y)
    with np.errstate(all="ignore"):
        wanted = np.power(x, y)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    number = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(wanted[number]))
    exact = (wanted == 0) | np.isinf(wanted)
    np.testing.assert_array_equal(found[exact], wanted[exact])
    np.testing.assert_allclose(found[number & ~exact], wanted[number & ~exact], rtol=2 * EPS, atol=5e-324)


def test_pow_as_one_writes_it():
    assert vector_math.pow(-2.0, 3.0) == -8.0
    assert vector_math.pow(0.0, 0.0) == vector_math.pow(np.nan, 0.0) == vector_math.pow(1.0, np.nan) == 1.0
    assert math.isnan(vector_math.pow(-2.0, 0.5))
    assert vector_math.pow(2, 10) == vector_math.pow.py_func(2, 10) == 1024.0


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
