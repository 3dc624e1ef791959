"""Extended FAST: indices of first order and total ones from search curves.

There are no intervals. The error is a bias that no resampling shows: frequencies interfere, and harmonics
above the fourth are cut, so that of an output with jumps or fast changes first-order indices are too small.
How much depends on the model.

References
----------
Saltelli et al., Technometrics 41 (1999) 39.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastcart.errors import InputError
from fastcart.sensitivity_analysis.design import Design
from fastcart.sensitivity_analysis.methods.base import Found
from fastcart.sensitivity_analysis.methods.probabilities import SHARES, Designed

HARMONICS = 4  # Saltelli et al. 1999, there M
CURVES = 4  # search curves per parameter, each with its own random phase; indices are their means
LEAST = 257  # points per curve; with fewer the frequencies of a curve interfere grossly


class Fast(Designed):
    """Extended FAST; ``CURVES k n`` patients, for each curve and parameter ``n`` points."""

    name = "fast"
    indices = SHARES
    main, beside = "ST", "S1"
    unit = "search curves"
    nested = False
    sampler = "fast_sampler"

    def check_size(self, n: int, k: int) -> None:
        if k == 1:
            raise InputError(
                "FAST compares parameters, and only one is varied, so its indices are 1 by definition; vary "
                "two or more."
            )
        if n < LEAST:
            raise InputError(
                f"For FAST n must be at least {LEAST} points per curve, not {n}: with fewer its indices are "
                "wrong by interference."
            )

    def runs_needed(self, n: int, k: int) -> int:
        return CURVES * n * k

    def unit_points(
        self, sampler: Callable[..., np.ndarray], problem: Mapping[str, Any], n: int, seed: int
    ) -> np.ndarray:
        streams = np.random.SeedSequence(seed).spawn(CURVES)
        return np.concatenate(
            [sampler(problem, n, M=HARMONICS, seed=np.random.default_rng(stream)) for stream in streams]
        )

    def block(self, design: Design) -> int:
        return design.n

    def estimate(
        self,
        design: Design,
        rows: np.ndarray,
        y: np.ndarray,
        events: np.ndarray | None,
        confidence: float,
    ) -> Found:
        k, m = len(design.names), y.shape[1]
        full = np.full((CURVES * k, design.n, m), np.nan)
        full[rows.reshape(-1, design.n).all(axis=1)] = y.reshape(-1, design.n, m)
        found = {}
        for name, part in zip(("S1", "ST"), _orders(full), strict=True):
            values = part.reshape(CURVES, k, m)
            good = np.isfinite(values)
            count = np.where(good.any(axis=0), good.sum(axis=0), np.nan)
            nothing = np.full((k, m), np.nan)
            found[name] = (np.where(good, values, 0.0).sum(axis=0) / count, nothing, nothing)
        return found

    def no_interval(self, design: Design, index: str, used: int, value: np.ndarray, low: np.ndarray) -> str:
        return (
            f"no interval, because the error of FAST is a bias that its {CURVES} curves share: frequencies "
            f"interfere, and harmonics above the {HARMONICS}th are cut, so that of an output with jumps or "
            "fast changes S1 is too small; use 'sobol' for such outputs and for an interval."
        )


METHOD = Fast()


def _orders(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return first-order and total indices of search curves, ``y`` of shape (curves, points, outputs)."""
    n = y.shape[1]
    omega = (n - 1) // (2 * HARMONICS)
    power = np.abs(np.fft.fft(y, axis=1)[:, 1 : math.ceil(n / 2)]) ** 2
    variance = power.sum(axis=1)
    flat = variance <= (1e-13 * n * np.abs(y).mean(axis=1)) ** 2
    variance[flat] = np.nan
    harmonics = np.arange(1, HARMONICS + 1) * omega - 1
    return power[:, harmonics].sum(axis=1) / variance, 1 - power[:, : omega // 2].sum(axis=1) / variance
