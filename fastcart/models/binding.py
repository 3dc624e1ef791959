"""Binding equilibrium between tumor cells and three kinds of T cell: free tumor cells C*, eq. (2.4).

Source: Li & Lei 2025, eq. (2.4),
``C* (1 + K_1 TE/(1+K_1 C*) + K_2 TM/(1+K_2 C*) + K_3 T4/(1+K_3 C*)) = C``.
"""

from __future__ import annotations

from numba import njit

from fastcart.math import rough_reciprocal, rough_sqrt

_TINY = 1e-140  # in place of no T cells


@njit
def _rough_root(T4, TE, TM, C, K_1, K_2, K_3):
    """Return a first x, mostly right to some percent.

    Effector and memory cells bind about equally (K_1 and K_2 are near), CD4+ cells much more weakly. First
    the CD4+ cells compete for what is left when the others are full: a lower bound of x, exact for many
    tumor cells. It tells which share of the CD4+ cells is free, and with that share the others compete: one
    more quadratic equation, exact for few tumor cells. Roots are rough, so no division is needed.
    """
    # rounding may leave a number of cells just below zero
    S = max(K_1 * TE + K_2 * TM, 0.0)
    T = max(TE + TM, _TINY)
    D = max(K_3 * T4, 0.0)
    c = K_3 * max(C - T, 0.0)
    # y + D y/(1 + y) = c with y = K_3 x
    q = 1.0 + D - c
    m = abs(q) + rough_sqrt(q * q + 4.0 * c)
    many = q < 0.0
    # D/(1 + y), where y is m/2 or 2 c/m: each form is free of cancellation on its side
    w = 1.0 + D * (2.0 if many else m) * rough_reciprocal(m + (2.0 if many else 2.0 * c))
    # w x + S x/(1 + (S/T) x) = C
    g = w * S
    q = w * T + S * (T - C)
    r = C * T
    m = abs(q) + rough_sqrt(q * q + 4.0 * g * r)
    many = q < 0.0
    return (m if many else 2.0 * r) * rough_reciprocal(2.0 * g if many else m)


@njit
def _products(x, K_1, K_2, K_3):
    """Return ``a b d, b d, a d, a b`` of ``a = 1 + K_1 x`` etc.

    Terms with denominators a, b and d are kept as multiples of a power of ``a b d``, so that one division
    for each correction of x is enough.
    """
    a = 1.0 + K_1 * x
    b = 1.0 + K_2 * x
    d = 1.0 + K_3 * x
    ab = a * b
    return ab * d, b * d, a * d, ab


@njit
def _householder(x, T4, TE, TM, C, K_1, K_2, K_3):
    """Return numerator and denominator of Householder's correction, of order 4, to be taken from x.

    Source: A. S. Householder, The Numerical Treatment of a Single Nonlinear Equation (1970): with f, f' etc.
    at x, the correction is ``f (f'^2 - f f''/2) / (f'^3 - f f' f'' + f^2 f'''/6)``.
    """
    P, p, q, r = _products(x, K_1, K_2, K_3)
    p = K_1 * p
    q = K_2 * q
    r = K_3 * r
    A = TE * p
    B = TM * q
    D = T4 * r
    s = P + (A + B + D)
    A = A * p
    B = B * q
    D = D * r
    e = A + B + D
    A = A * p
    B = B * q
    D = D * r
    u = A + B + D
    v = A * p + B * q + D * r
    f = x * s - C * P  # f P
    slope = P * s - x * e  # f' P^2
    bend = f * (P * e - x * u)  # -f f''/2 P^4
    n = slope * slope + bend
    return f * P * n, slope * (n + bend) + f * f * (P * u - x * v)


@njit
def binding_equilibrium(T4, TE, TM, C, K_1, K_2, K_3):
    """Return C*, the tumor cells that no T cell has bound, and the free fractions of TE, TM and T4.

    Two corrections of order 4 from a rough start and one of Newton's give C* to rounding error for all
    numbers of cells, with binding constants within a factor of two of the paper's; shown in
    tests/models/test_binding.py. Newton's method alone, and the authors' iteration, crawl where the tumor
    has about as many cells as bind it. Counts are fixed, not data-dependent, so that the loop vectorises.
    """
    C = min(C, 1e16)  # far beyond any body; keeps powers from overflowing in wild trials
    x = _rough_root(T4, TE, TM, C, K_1, K_2, K_3)
    n, d = _householder(x, T4, TE, TM, C, K_1, K_2, K_3)
    rough = rough_reciprocal(d)
    x = x - n * (rough * (2.0 - rough * d))
    n, d = _householder(x, T4, TE, TM, C, K_1, K_2, K_3)
    x = x - n / d
    # Newton's step for the last digits shares its division with the free fractions
    P, a, b, d = _products(x, K_1, K_2, K_3)
    p = K_1 * a
    q = K_2 * b
    r = K_3 * d
    A = TE * p
    B = TM * q
    D = T4 * r
    s = P + (A + B + D)
    slope = P * s - x * (A * p + B * q + D * r)
    f = x * s - C * P
    R = 1.0 / (P * slope)
    per_P = slope * R
    correction = f * (P * P) * R
    # fractions 1/(1 + K x) at x, taken to the new x by their slopes
    moved = correction * per_P
    a = a * per_P
    b = b * per_P
    d = d * per_P
    return x - correction, a + a * (p * moved), b + b * (q * moved), d + d * (r * moved)


def binding_written(x, T4, TE, TM, C, K_1, K_2, K_3):
    """Return what is zero where x is C*, as it is printed, and what `binding_equilibrium` returns."""
    pairs = [(K, T) for K, T in ((K_1, TE), (K_2, TM), (K_3, T4)) if not isinstance(K, float)]  # 0 in some
    bound = [K * T / (1.0 + K * x) for K, T in pairs]
    condition = x * (1.0 + sum(bound[1:], bound[0])) - C
    return condition, (x, 1.0 / (1.0 + K_1 * x), 1.0 / (1.0 + K_2 * x), 1.0 / (1.0 + K_3 * x))


@njit
def free_tumor_cells(T4, TE, TM, C, K_1, K_2, K_3):
    """Return C*, the tumor cells that no T cell has bound; see `binding_equilibrium`."""
    return binding_equilibrium(T4, TE, TM, C, K_1, K_2, K_3)[0]


@njit
def free_tumor_cells_published(T4, TE, TM, C, K_1, K_2, K_3):
    """Return C* as the authors' program does: fixed-point iteration until it moves by one cell or less."""
    previous = 0.0
    x = C
    count = 0
    while abs(x - previous) > 1.0 and count < 1_000_000:
        previous = x
        bound = K_1 * TE / (1 + K_1 * x) + K_2 * TM / (1 + K_2 * x) + K_3 * T4 / (1 + K_3 * x)
        x = C / (1 + bound)
        count += 1
    return x


@njit
def binding_published(T4, TE, TM, C, K_1, K_2, K_3):
    """Return what `binding_equilibrium` does, for C* of the authors' program."""
    x = free_tumor_cells_published(T4, TE, TM, C, K_1, K_2, K_3)
    return x, 1.0 / (1.0 + K_1 * x), 1.0 / (1.0 + K_2 * x), 1.0 / (1.0 + K_3 * x)
