"""Cubic Hermite interpolation on one interval, and where the cubic turns and crosses zero."""

from __future__ import annotations

import math

from numba import njit


@njit
def hermite(theta, g0, d0, g1, d1):
    """Value at ``theta`` in [0, 1] of the cubic with values g and derivatives d (per unit theta)."""
    c = theta * (theta - 1.0)
    return (
        (1.0 - theta) * g0
        + theta * g1
        + c * ((1.0 - 2.0 * theta) * (g1 - g0) + (theta - 1.0) * d0 + theta * d1)
    )


@njit
def turning_points(g0, d0, g1, d1):
    """Return the two places in (0, 1) where the cubic's slope vanishes, sorted; 2.0 stands for none."""
    a = 3.0 * (d0 + d1 - 2.0 * (g1 - g0))
    b = 2.0 * (3.0 * (g1 - g0) - 2.0 * d0 - d1)
    first = 2.0
    second = 2.0
    discriminant = b * b - 4.0 * a * d0
    if discriminant >= 0.0:
        q = -0.5 * (b + math.copysign(math.sqrt(discriminant), b))
        if a != 0.0:
            first = q / a
        if q != 0.0:
            second = d0 / q
    if not 0.0 < first < 1.0:
        first = 2.0
    if not 0.0 < second < 1.0:
        second = 2.0
    return min(first, second), max(first, second)


@njit
def root(low, high, g0, d0, g1, d1):
    """Bisect for the place in [low, high] where the cubic passes from <= 0 to > 0."""
    for _ in range(60):
        middle = 0.5 * (low + high)
        if hermite(middle, g0, d0, g1, d1) > 0.0:
            high = middle
        else:
            low = middle
    return high
