"""Binding equilibrium between tumor cells and three kinds of T cell: free tumor cells C*, eq. (2.4).

Source: Li & Lei 2025, eq. (2.4),
``C* (1 + K_1 TE/(1+K_1 C*) + K_2 TM/(1+K_2 C*) + K_3 T4/(1+K_3 C*)) = C``.
"""

from __future__ import annotations

import math

from numba import njit

# Enough for rounding error over all cell numbers, with binding constants within a factor of two of the
# paper's; shown in tests/test_binding.py.
FITS = 2
HALLEY_STEPS = 2


@njit
def _terms(x, A, B, D, K_1, K_2, K_3):
    """Return ``bd, ad, ab, abd`` of ``a = 1 + K_1 x`` etc., and ``A, B, D`` times the product of the others.

    All is kept as a multiple of a power of ``abd``, so that one division per iteration is enough.
    """
    a = 1.0 + K_1 * x
    b = 1.0 + K_2 * x
    d = 1.0 + K_3 * x
    bd = b * d
    ad = a * d
    ab = a * b
    return bd, ad, ab, ab * d, A * bd, B * ad, D * ab


@njit
def _fit(s, w, e, C):
    """Return the root of ``x (1 + W/(1 + k x)) = C`` with ``W = s^2/w``, ``k = e/w``."""
    q = w + s * s - e * C
    root = math.sqrt(q * q + 4.0 * e * w * C)
    # the two forms of the root of the quadratic, each free of cancellation on its side
    return (2.0 * C * w if q >= 0.0 else root - q) / (q + root if q >= 0.0 else 2.0 * e)


@njit
def free_tumor_cells(T4, TE, TM, C, K_1, K_2, K_3):
    """Return C*, the tumor cells that no T cell has bound, to rounding error.

    The left side of (2.4) grows like ``x (1 + W/(1 + k x))`` with slowly changing W and k. Each of the
    first iterations fits W and k to the value and slope at x and solves the resulting quadratic, which
    finds the right branch from x = 0 in a few steps where plain Newton crawls (the tumor about as many
    cells as bind it). Halley's method, Newton's with the curvature, then converges, Newton finishes. Counts
    are fixed, not data-dependent, so that the loop vectorises.
    """
    C = min(C, 1e20)  # far beyond any body; keeps the powers below from overflowing in wild trials
    A = K_1 * TE
    B = K_2 * TM
    D = K_3 * T4
    s = A + B + D
    # the floor 1e-140 makes x = C where there are no T cells
    x = _fit(s, s + 1e-140, A * K_1 + B * K_2 + D * K_3, C)
    for _ in range(FITS):
        bd, ad, ab, _, Ab, Ba, Da = _terms(x, A, B, D, K_1, K_2, K_3)
        s = Ab + Ba + Da
        Ab = Ab * bd
        Ba = Ba * ad
        Da = Da * ab
        x = _fit(s, Ab + Ba + Da + 1e-140, Ab * K_1 + Ba * K_2 + Da * K_3, C)
    for _ in range(HALLEY_STEPS):
        bd, ad, ab, abd, Ab, Ba, Da = _terms(x, A, B, D, K_1, K_2, K_3)
        # the left side minus C, its slope, and half its negative curvature, times abd, abd^2, abd^3
        g = x * (abd + (Ab + Ba + Da)) - C * abd
        Ab = Ab * bd
        Ba = Ba * ad
        Da = Da * ab
        slope = abd * abd + (Ab + Ba + Da)
        bend = Ab * bd * K_1 + Ba * ad * K_2 + Da * ab * K_3
        x = max(x - g * slope * abd / (slope * slope + g * bend), 0.25 * x)
    # a Newton step for the last digits
    bd, ad, ab, abd, Ab, Ba, Da = _terms(x, A, B, D, K_1, K_2, K_3)
    g = x * (abd + (Ab + Ba + Da)) - C * abd
    return x - g * abd / (abd * abd + (Ab * bd + Ba * ad + Da * ab))


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
