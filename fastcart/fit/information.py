"""Expected information of measurements that are still to be made, and what a quantity's spread is by it."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr

from fastcart.fit.densities import deviations_of
from fastcart.fit.layout import varies
from fastcart.fit.observations import LOGNORMAL, Observation

_LOG_2PI_HALF = 0.5 * np.log(2.0 * np.pi)
_SHIFT = 1e-6
_FLOOR = 1e-12  # of the largest prediction: less of one does not make a deviation smaller


def of_measurements(
    f: np.ndarray, one: Observation, errors: np.ndarray, limit: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the Fisher information of measurements about their predictions, and how probably they are seen.

    Of a normal distribution with mean ``f`` and a deviation that may depend on it, censored below ``limit``.

    Parameters
    ----------
    f : ndarray
        Predictions.
    one : Observation
    errors : ndarray
        Its error parameters.
    limit : float, optional
    """
    model = one.error.kind
    if model == LOGNORMAL:
        center, deviation, slope = np.log(np.maximum(f, 1e-300)), np.full(f.shape, errors[0]), 0.0
        low = -np.inf if limit is None else np.log(limit)
        inner = 1.0 / np.maximum(f, 1e-300)
    else:
        floor = _FLOOR * max(float(np.abs(f).max(initial=0.0)), 1e-300)
        center, deviation = f, deviations_of(model, f, errors, floor)
        low, inner, slope = -np.inf if limit is None else limit, np.ones(f.shape), 0.0
        if varies(model):
            step = _SHIFT * np.maximum(np.abs(f), floor)
            beside = [deviations_of(model, f + x, errors, floor) for x in (step, -step)]
            slope = (beside[0] - beside[1]) / (2 * step)
    z = (low - center) / deviation
    with np.errstate(invalid="ignore"):
        density = np.exp(-0.5 * z * z - _LOG_2PI_HALF)
        m0 = np.exp(log_ndtr(-z))
        m1, m2 = density, m0 + np.where(np.isfinite(z), z, 0.0) * density
        finite = np.where(np.isfinite(z), z, 0.0)
        m3, m4 = (finite**2 + 2.0) * density, 3.0 * m2 + finite**3 * density
        seen = m2 + 2.0 * slope * (m3 - m1) + slope**2 * (m4 - 2.0 * m2 + m0)
        hidden = np.exp(2.0 * (-0.5 * z * z - _LOG_2PI_HALF) - log_ndtr(z)) * (1.0 + finite * slope) ** 2
    hidden = np.where(np.isfinite(z), hidden, 0.0)
    return (seen + hidden) / deviation**2 * inner**2, m0


def spread(precision: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return standard deviations of a quantity, and logarithms of determinants; infinite where flat."""
    size = np.sqrt(np.maximum(np.diagonal(precision, axis1=1, axis2=2), 1e-300))
    scaled = precision / (size[:, :, np.newaxis] * size[:, np.newaxis])
    eigen, vectors = np.linalg.eigh(scaled)
    part = np.einsum("pij,pi->pj", vectors, gradient / size) ** 2
    flat = eigen < 1e-12
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(flat, np.where(part > 1e-12 * part.sum(axis=1, keepdims=True), np.inf, 0.0),
                            part / eigen).sum(axis=1)  # fmt: skip
        log_det = np.where(flat, -np.inf, np.log(eigen)).sum(axis=1) + 2.0 * np.log(size).sum(axis=1)
    return np.sqrt(variance), log_det
