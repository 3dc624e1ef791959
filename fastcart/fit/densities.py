"""Densities of measurements around predictions: error models, values below or above a limit, intervals.

Kernels; one number for each solve. All includes the terms with 2 pi. Of log-normal measurements it is the
density of ``ln DV``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from fastcart.fit.observations import (
    ADDITIVE,
    COMBINED1,
    LOGNORMAL,
    MEASURED,
    PROPORTIONAL,
)
from fastcart.solvers.compile import EXACT, INNER, cached

_LOG_2PI_HALF = 0.5 * math.log(2.0 * math.pi)
_SQRT_HALF = math.sqrt(0.5)
_FAR = -20.0  # from here on the asymptotic series is exact to rounding
LEAST = 1e-300  # a log-normal prediction is no smaller
_INNER = {**INNER, "fastmath": False}


class Measured(NamedTuple):
    """Measurements as kernels take them, those of one patient after the other; logarithms if log-normal."""

    begin: np.ndarray  # of each patient,
    end: np.ndarray
    save: np.ndarray  # of each measurement: its place among the times of its patient that are saved,
    kind: np.ndarray  # of which observation it is,
    value: np.ndarray
    censored: np.ndarray
    limit: np.ndarray  # infinite for none
    deviation: np.ndarray


class Errors(NamedTuple):
    """Error models of the observations."""

    model: np.ndarray
    first: np.ndarray  # of the parameters of each
    floor: np.ndarray  # a prediction counts for a deviation as if it were this large at least


class Predicted(NamedTuple):
    """Predictions: of each measurement of a solve, or of each observation at the times that are saved."""

    values: np.ndarray  # 1 x rows, or observations x rows
    begin: np.ndarray  # of each solve
    gathered: bool  # whether they are of each measurement


class Likelihoods(NamedTuple):
    """Results, one row per solve."""

    total: np.ndarray
    floored: np.ndarray  # how many predictions were smaller than the floor


@njit(**_INNER)
def log_normal_tail(z):
    """Return the logarithm of the normal distribution function, also far below."""
    if z > _FAR:
        if z > 1.0:
            return math.log1p(-0.5 * math.erfc(z * _SQRT_HALF))
        return math.log(0.5 * math.erfc(-z * _SQRT_HALF))
    if z == -np.inf:
        return -np.inf
    x, term, total = 1.0 / (z * z), 1.0, 1.0
    for k in range(8):
        term *= -(2 * k + 1) * x
        total += term
    return -0.5 * z * z - math.log(-z) - _LOG_2PI_HALF + math.log(total)


@njit(**_INNER)
def log_between(low, high):
    """Return the logarithm of the normal probability between two numbers, the first one smaller."""
    if low > 0.0:
        low, high = -high, -low
    upper, lower = log_normal_tail(high), log_normal_tail(low)
    if upper == -np.inf:
        return -np.inf
    return upper + math.log(-math.expm1(lower - upper))


@njit(**_INNER)
def spread(model, f, error, first, floor, deviation):
    """Return where a measurement is centred, its standard deviation, and whether a floor counted."""
    if model == LOGNORMAL:
        return math.log(max(f, LEAST)), error[first], f < LEAST
    if model == MEASURED:
        return f, deviation, False
    if model == ADDITIVE:
        return f, error[first], False
    size = abs(f)
    low = size < floor
    if low:
        size = floor
    if model == PROPORTIONAL:
        return f, error[first] * size, low
    if model == COMBINED1:
        return f, error[first] + error[first + 1] * abs(f), False
    return f, math.sqrt(error[first] ** 2 + (error[first + 1] * f) ** 2), False


def deviations_of(model: int, f: np.ndarray, errors: np.ndarray, floor: float) -> np.ndarray:
    """Return standard deviations around many predictions by one error model that knows them; as `spread`.

    Parameters
    ----------
    model : int
    f : ndarray
    errors : ndarray
        The parameters of this error model.
    floor : float
        A prediction counts for a proportional error as if it were this large at least.
    """
    size = np.abs(f)
    if model in (ADDITIVE, LOGNORMAL):
        return np.full(f.shape, errors[0])
    if model == PROPORTIONAL:
        return errors[0] * np.maximum(size, floor)
    if model == COMBINED1:
        return errors[0] + errors[1] * size
    return np.sqrt(errors[0] ** 2 + (errors[1] * size) ** 2)


@njit(**_INNER)
def log_density(value, censored, limit, center, deviation, log_deviation):
    """Return the log-density of a measurement, or the log-probability of where it may be."""
    z = (value - center) / deviation
    if censored == 0:
        return -0.5 * z * z - log_deviation - _LOG_2PI_HALF
    if limit == -np.inf or limit == np.inf:
        return log_normal_tail(z if censored > 0 else -z)
    other = (limit - center) / deviation
    return log_between(min(z, other), max(z, other))


def _log_likelihoods(predicted, who, of, errors, error, out, part):
    """Sum the log-densities of each solve; not a number among the predictions gives minus infinity."""
    shared = error.shape[0] == 1
    known, log_known = 1.0, 0.0  # a deviation is often that of the measurement before
    for i in range(*part):
        parameters = error[0 if shared else i]
        total, count = 0.0, 0
        for m in range(of.begin[who[i]], of.end[who[i]]):
            k = of.kind[m]
            if predicted.gathered:
                f = predicted.values[0, predicted.begin[i] + m - of.begin[who[i]]]
            else:
                f = predicted.values[k, predicted.begin[i] + of.save[m]]
            center, deviation, low_f = spread(
                errors.model[k], f, parameters, errors.first[k], errors.floor[k], of.deviation[m]
            )
            if deviation != known:
                known, log_known = deviation, math.log(deviation)
            total += log_density(of.value[m], of.censored[m], of.limit[m], center, deviation, log_known)
            count += low_f
        out.total[i] = -np.inf if math.isnan(total) else total
        out.floored[i] = count


def _gather(predicted, saved_from, who, of, offsets, out, part):
    """Take from what was saved, a row for each observation, the prediction of each measurement."""
    for i in range(*part):
        j = offsets[i]
        for m in range(of.begin[who[i]], of.end[who[i]]):
            out[j] = predicted[of.kind[m], saved_from[i] + of.save[m]]
            j += 1


def likelihood_kernel() -> Any:
    """Return the kernel that sums log-densities."""
    label, types = "log-likelihoods of measurements", (Measured, Errors, Predicted, Likelihoods)
    return cached(_log_likelihoods, label, takes=types, nogil=True, **EXACT)  # type: ignore[arg-type]


def gather_kernel() -> Any:
    """Return the kernel that takes predictions from what was saved."""
    label = "predictions of measurements"
    return cached(_gather, label, takes=(Measured,), nogil=True, **EXACT)  # type: ignore[arg-type]
