"""Pearson's correlation coefficient."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastcart.sensitivity_analysis.methods.correlation import Correlation, starts

_FLAT = 1e-13  # a standard deviation below this share of the mean is rounding


class Pearson(Correlation):
    """Pearson's correlation coefficient."""

    name = main = "pearson"
    indices: ClassVar = {"pearson": "Pearson correlation"}

    def correlate(
        self, x: np.ndarray, y: np.ndarray, events: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        return _pearson(x, y)


METHOD = Pearson()


def _pearson(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (k, m), and those without each group (groups, k, m), from sums over groups."""
    n, k = x.shape
    m = y.shape[1]
    first = starts(n)
    sums = np.empty((len(first), 1 + 2 * k + 2 * m + k * m))
    # centred and scaled: sums of products then lose no digits
    u, v = _standardised(x), _standardised(y)
    for g, (start, stop) in enumerate(zip(first, [*first[1:], n], strict=True)):
        a, b = u[start:stop], v[start:stop]
        sums[g] = np.concatenate(
            [[stop - start], a.sum(0), b.sum(0), (a * a).sum(0), (b * b).sum(0), (a.T @ b).ravel()]
        )
    total = sums.sum(axis=0)
    return _from_sums(total[None], k, m)[0], _from_sums(total - sums, k, m)


def _standardised(x: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and standard deviation 1; NaN where a column does not vary."""
    centre, scale = x.mean(axis=0), x.std(axis=0)
    # what is left by rounding of a column that does not vary is no variation
    scale = np.where(scale <= _FLAT * np.abs(centre), np.nan, scale)
    return (x - centre) / scale


def _from_sums(sums: np.ndarray, k: int, m: int) -> np.ndarray:
    count, u, v, uu, vv, uv = np.split(sums, np.cumsum([1, k, m, k, m]), axis=1)
    u, v = u / count, v / count
    covariance = (uv / count).reshape(-1, k, m) - u[:, :, None] * v[:, None, :]
    r = covariance / np.sqrt((uu / count - u * u)[:, :, None] * (vv / count - v * v)[:, None, :])
    return np.clip(r, -1.0, 1.0)
