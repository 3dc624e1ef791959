"""Binding equilibrium between tumor cells and three kinds of T cell: free tumor cells C*, eq. (2.4).

Source: Li & Lei 2025, eq. (2.4),
``C* (1 + K_1 TE/(1+K_1 C*) + K_2 TM/(1+K_2 C*) + K_3 T4/(1+K_3 C*)) = C``.
"""

from __future__ import annotations

import math

from numba import njit


@njit
def free_tumor_cells(T4, TE, TM, C, K_1, K_2, K_3):
    """Return C*, the tumor cells that no T cell has bound, to rounding error.

    The left side of (2.4) grows like ``x (1 + W/(1 + k x))`` with slowly changing W and k. Each of the
    first iterations fits W and k to the value and slope at x and solves the resulting quadratic, which
    finds the right branch from x = 0 in a few steps where plain Newton crawls (the tumor about as many
    cells as bind it). Newton steps then finish; they converge from anywhere, since the left side
    is increasing and concave. Counts are fixed, not data-dependent, so that the loop vectorises.
    """
    A = K_1 * TE
    B = K_2 * TM
    D = K_3 * T4
    x = 0.0
    for _ in range(5):
        a = 1.0 + K_1 * x
        b = 1.0 + K_2 * x
        d = 1.0 + K_3 * x
        ab = a * b
        r = 1.0 / (ab * d)
        a, b, d = b * d * r, a * d * r, ab * r  # the three reciprocals from one division
        Aa = A * a
        Bb = B * b
        Dd = D * d
        s = Aa + Bb + Dd
        w = Aa * a + Bb * b + Dd * d + 1e-140  # the floor makes x = C where there are no T cells
        e = Aa * a * K_1 + Bb * b * K_2 + Dd * d * K_3
        q = w + s * s - e * C
        root = math.sqrt(q * q + 4.0 * e * w * C)
        # the two forms of the root of the quadratic, each free of cancellation on its side
        x = (2.0 * C * w if q >= 0.0 else root - q) / (q + root if q >= 0.0 else 2.0 * e)
    for _ in range(3):
        a = 1.0 + K_1 * x
        b = 1.0 + K_2 * x
        d = 1.0 + K_3 * x
        ab = a * b
        r = 1.0 / (ab * d)
        a, b, d = b * d * r, a * d * r, ab * r
        Aa = A * a
        Bb = B * b
        Dd = D * d
        step = (x * (1.0 + Aa + Bb + Dd) - C) / (1.0 + Aa * a + Bb * b + Dd * d)
        x = max(x - step, 0.25 * x)
    return x


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
