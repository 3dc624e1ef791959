"""Weights of draws, and what weighted draws say: means, quantiles, errors, how many of them count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ENOUGH = 200.0  # effective draws
_NOTHING = -100.0  # of a logarithm, below the largest weight: less only slows arithmetic down


@dataclass(frozen=True)
class Weighted:
    """Draws with weights.

    Parameters
    ----------
    weights : ndarray
        Together 1; all 0 where no draw is possible.
    log_mean : float
        Logarithm of the mean weight, before they were made to sum to 1.
    """

    weights: np.ndarray
    log_mean: float

    @classmethod
    def of(cls, log_weights: np.ndarray) -> Weighted:
        """Return weights by their logarithms; what is no number counts nothing."""
        log_weights = np.where(np.isnan(log_weights), -np.inf, log_weights)
        top = float(log_weights.max())
        if not np.isfinite(top):
            return cls(np.zeros(len(log_weights)), -np.inf)
        away = log_weights - top
        weights = np.where(away > _NOTHING, np.exp(away), 0.0)
        total = float(weights.sum())
        return cls(weights / total, top + float(np.log(total / len(weights))))

    @property
    def effective(self) -> float:
        """How many draws count, by the sum of squared weights."""
        squares = float((self.weights**2).sum())
        return 1.0 / squares if squares > 0 else 0.0

    @property
    def variance(self) -> float:
        """The variance of `log_mean`, of first order."""
        if not self.effective:
            return np.inf
        n = len(self.weights)
        return float(max(1.0 / self.effective - 1.0 / n, 0.0) * n / max(n - 1, 1))


def posterior_rows(
    natural: np.ndarray, names: Sequence[str], scales: Sequence[str], weighted: Weighted, levels: np.ndarray
) -> Iterator[dict[str, Any]]:
    """Yield what weighted draws say of each parameter.

    Parameters
    ----------
    natural : ndarray, shape (draws, names)
    names, scales : sequence of str
    weighted : Weighted
    levels : ndarray
        Of the quantiles.
    """
    rows = np.flatnonzero(weighted.weights)
    weight, effective = weighted.weights[rows], weighted.effective
    says = "ok" if effective >= ENOUGH else "few draws" if effective else "no draw"
    for k, (name, scale) in enumerate(zip(names, scales, strict=True)):
        x = natural[rows, k]
        scaled = np.log(x) if scale == "log" else x
        mean, sd, _ = _moments(x, weight)
        of_scaled, sd_of_scaled, error = _moments(scaled, weight)
        found = {"parameter": name, "mean": mean, "sd": sd}
        found |= {f"q{level:g}": q for level, q in zip(levels, _quantiles(x, weight, levels), strict=True)}
        yield found | {
            "scale": scale, "scaled_mean": of_scaled, "scaled_sd": sd_of_scaled, "error": error,
            "effective": effective, "says": says,
        }  # fmt: skip


def _moments(x: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """Return mean, standard deviation, and the Monte Carlo error of the mean."""
    if not len(x):
        return np.nan, np.nan, np.nan
    mean = float(weight @ x)
    away = (x - mean) ** 2
    return mean, float(np.sqrt(weight @ away)), float(np.sqrt(weight**2 @ away))


def _quantiles(x: np.ndarray, weight: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return weighted quantiles, interpolated between draws."""
    if not len(x):
        return np.full(len(levels), np.nan)
    order = np.argsort(x, kind="stable")
    below = np.cumsum(weight[order])
    return np.interp(levels, below - 0.5 * weight[order], x[order])
