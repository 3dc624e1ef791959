"""Free tumor cells C*, eq. (2.4)."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit, prange  # noqa: F401

from fastcart.models.binding import binding_equilibrium, free_tumor_cells, free_tumor_cells_published


@njit
def _many(T4, TE, TM, C, K_1, K_2, K_3):
    out = np.empty_like(C)
    for i in range(C.size):
        out[i] = free_tumor_cells(T4[i], TE[i], TM[i], C[i], K_1[i], K_2[i], K_3[i])
    return out


def _left_side(x, T4, TE, TM, K_1, K_2, K_3):
    return x * (1 + K_1 * TE / (1 + K_1 * x) + K_2 * TM / (1 + K_2 * x) + K_3 * T4 / (1 + K_3 * x))


def _draw(n, seed):
    rng = np.random.default_rng(seed)
    TE = 10 ** rng.uniform(-8, 8.5, n)
    TM = 10 ** rng.uniform(-3, 5, n)
    T4 = 10 ** rng.uniform(-12, 6, n)
    C = 10 ** rng.uniform(-60, 10, n)
    near = rng.random(n) < 0.5  # as many tumor cells as bind them: the hard case
    C = np.where(near, (TE + TM + T4) * 10 ** rng.uniform(-0.3, 0.3, n), C)
    K = [k * rng.uniform(0.5, 2.0, n) for k in (0.05, 0.04, 0.001)]
    return T4, TE, TM, C, *K


def _bisect(T4, TE, TM, C, K_1, K_2, K_3):
    """The root in logarithm by 200 bisections: slow, safe, independent."""
    low = np.log(C / (1 + K_1 * TE + K_2 * TM + K_3 * T4))
    high = np.log(C)
    for _ in range(200):
        middle = 0.5 * (low + high)
        above = _left_side(np.exp(middle), T4, TE, TM, K_1, K_2, K_3) > C
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.exp(0.5 * (low + high))


def _draw_mixed(n, seed):
    """All kinds of T cell in any proportion, as many tumor cells as bind them within a factor of five."""
    rng = np.random.default_rng(seed)
    total = 10 ** rng.uniform(-1, 8, n)
    TE, TM, T4 = total * rng.dirichlet([0.5, 0.5, 0.5], n).T
    K = [k * rng.uniform(0.5, 2.0, n) for k in (0.05, 0.04, 0.001)]
    return T4, TE, TM, total * 10 ** rng.uniform(-0.7, 0.7, n), *K


@pytest.mark.parametrize("draw", [_draw, _draw_mixed])
def test_is_the_root_to_rounding_error(draw):
    T4, TE, TM, C, K_1, K_2, K_3 = draw(40_000, seed=0)
    x = _many(T4, TE, TM, C, K_1, K_2, K_3)
    slope = 1 + sum(K * T / (1 + K * x) ** 2 for K, T in ((K_1, TE), (K_2, TM), (K_3, T4)))
    residual = np.abs(_left_side(x, T4, TE, TM, K_1, K_2, K_3) - C)
    # a backward error of a few roundings of C, carried to x by the slope
    assert np.all(residual <= 8 * np.finfo(float).eps * (C + slope * x))


def test_agrees_with_bisection():
    case = _draw(4_000, seed=1)
    np.testing.assert_allclose(_many(*case), _bisect(*case), rtol=1e-9)


def test_free_fractions_belong_to_the_root():
    case = _draw(2_000, seed=2)
    for T4, TE, TM, C, K_1, K_2, K_3 in zip(*case, strict=True):
        x, a, b, d = binding_equilibrium(T4, TE, TM, C, K_1, K_2, K_3)
        exact = [1 / (1 + K * x) for K in (K_1, K_2, K_3)]
        np.testing.assert_allclose([a, b, d], exact, rtol=8 * np.finfo(float).eps)


def test_numbers_of_t_cells_just_below_zero():
    x = free_tumor_cells(1e-9, -1e-7, 1e-8, 5.0, 0.05, 0.04, 0.001)
    assert _left_side(x, 1e-9, -1e-7, 1e-8, 0.05, 0.04, 0.001) == pytest.approx(5.0, rel=1e-15)


def test_without_t_cells_every_tumor_cell_is_free():
    assert free_tumor_cells(0.0, 0.0, 0.0, 1e6, 0.05, 0.04, 0.001) == pytest.approx(1e6, rel=1e-15)


def test_without_tumor_there_is_nothing_free():
    assert free_tumor_cells(1e4, 1e7, 1e3, 0.0, 0.05, 0.04, 0.001) == 0.0


def test_one_kind_of_cell_gives_the_quadratic():
    TE, C, K = 1e7, 3e6, 0.05
    b = 1 + K * TE - K * C
    exact = 2 * C / (b + np.sqrt(b * b + 4 * K * C))
    assert free_tumor_cells(0.0, TE, 0.0, C, K, 0.04, 0.001) == pytest.approx(exact, rel=1e-14)


def test_published_iteration_stops_within_about_a_cell():
    exact = free_tumor_cells(1e4, 1e7, 1e3, 1e6, 0.05, 0.04, 0.001)
    published = free_tumor_cells_published(1e4, 1e7, 1e3, 1e6, 0.05, 0.04, 0.001)
    assert abs(published - exact) < 3.0
    assert published != exact


def test_published_iteration_returns_the_tumor_itself_below_one_cell():
    assert free_tumor_cells_published(1e4, 1e7, 1e3, 0.7, 0.05, 0.04, 0.001) == 0.7
