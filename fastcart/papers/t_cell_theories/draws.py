"""Random numbers and binomial draws within kernels, from a stream of each family's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from fastcart.solvers.compile import EXACT

INNER: dict[str, Any] = {
    **EXACT, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": True,
}  # fmt: skip


@njit(**INNER)
def following(state):
    """One 64-bit number of SplitMix64 (Steele, Lea & Flood 2014); ``state`` holds the position."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(**INNER)
def uniform(state):
    """A number from 0 (excluded) to 1 (excluded)."""
    return (float(following(state) >> np.uint64(11)) + 0.5) * 1.1102230246251565e-16


@njit(**INNER)
def _stirling(k):
    """Rest of Stirling's formula for ``ln k!``."""
    if k < 10:
        total = 0.0
        for i in range(2, k + 1):
            total += np.log(float(i))
        return total - ((k + 0.5) * np.log(k + 1.0) - (k + 1.0) + 0.9189385332046727)
    r = 1.0 / (k + 1.0)
    return (1.0 / 12.0 - (1.0 / 360.0 - r * r / 1260.0) * r * r) * r


@njit(**INNER)
def binomial(state, n, p, log_rest):
    """How many of ``n`` events of chance ``p`` happen.

    ``log_rest`` is the logarithm of 1 - p, or of p where that is larger.
    """
    if n <= 0 or p <= 0.0:
        return 0
    if p >= 1.0:
        return n
    if p > 0.5:
        return n - _binomial_half(state, n, 1.0 - p, log_rest)
    return _binomial_half(state, n, p, log_rest)


@njit(**INNER)
def _binomial_half(state, n, p, log_rest):
    """The same for a chance of at most one half: inversion, or BTRS (Hormann 1993) where n p >= 10."""
    if n * p < 10.0:
        u = uniform(state)
        if u <= 1.0 - n * p:  # at most the chance of none, (1 - p)^n
            return 0
        chance = np.exp(n * log_rest)
        ratio = p / (1.0 - p)
        k = 0
        while u > chance and k < n:
            u -= chance
            k += 1
            chance *= ratio * (n - k + 1) / k
        return k
    ratio = p / (1.0 - p)
    spread = np.sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = n * p + 0.5
    limit = 0.92 - 4.2 / b
    alpha = (2.83 + 5.1 / b) * spread
    m = int((n + 1) * p)
    while True:
        u = uniform(state) - 0.5
        v = uniform(state)
        us = 0.5 - abs(u)
        k = int(np.floor((2.0 * a / us + b) * u + c))
        if us >= 0.07 and v <= limit:
            return k
        if k < 0 or k > n:
            continue
        v = np.log(v * alpha / (a / (us * us) + b))
        bound = (
            (m + 0.5) * np.log((m + 1.0) / (ratio * (n - m + 1.0)))
            + (n + 1.0) * np.log((n - m + 1.0) / (n - k + 1.0))
            + (k + 0.5) * np.log(ratio * (n - k + 1.0) / (k + 1.0))
            + _stirling(m) + _stirling(n - m) - _stirling(k) - _stirling(n - k)
        )  # fmt: skip
        if v <= bound:
            return k
