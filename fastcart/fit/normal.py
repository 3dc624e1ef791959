"""Normal equations of least squares: residuals whose squares add up to -2 ln L, and their slopes, summed up.

A measurement has two residuals: its own, and one of its standard deviation where that depends on what is
estimated, ``sqrt(2 ln(sd / scale) + 50)`` [1]. That of a censored one is the root of -2 times the logarithm
of its probability. Slopes are differences of residuals, so that nothing but predictions is needed.

1. A. Raue et al., Lessons learned from quantitative dynamical modeling in systems biology, PLoS ONE 8, e74335
   (2013).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from fastcart.fit.densities import Errors, Measured, log_density, spread
from fastcart.fit.measured import Layout, varies
from fastcart.fit.observations import LOGNORMAL, Observation
from fastcart.solvers.compile import EXACT, INNER, cached

_INNER = {**INNER, "fastmath": False}
_ABOVE = 50.0  # keeps the residual of a deviation real down to 1e-11 of the scale
_SHIFT = 1e-6  # of the logarithm of an error parameter, for its slope


class Weights(NamedTuple):
    """Of each observation, whether its deviation is a residual, and relative to what."""

    counts: np.ndarray
    scale: np.ndarray


class Points(NamedTuple):
    """Points at which the normal equations are asked for, one row each, and the solves around them."""

    first: np.ndarray  # the solve at the point; those of its columns follow
    patient: np.ndarray
    free: np.ndarray  # rows x columns: whether a column has a solve
    step: np.ndarray  # rows x columns: how far that is from the point
    error: np.ndarray  # rows x error parameters
    error_free: np.ndarray  # which of these are estimated; they follow the columns


class Equations(NamedTuple):
    """Results: the sum of squares, half its gradient, and the matrix."""

    cost: np.ndarray
    gradient: np.ndarray
    matrix: np.ndarray


def weights_of(observations: Sequence[Observation], layout: Layout) -> Weights:
    """Return of which observations the deviations are residuals: where they depend on what is estimated."""
    count, scale = [], []
    for k, one in enumerate(observations):
        mine = np.abs(layout.of.value[(layout.of.kind == k) & (layout.of.censored == 0)])
        typical = float(np.median(mine)) if len(mine) else 1.0
        count.append(varies(one.error.kind) or any(value is None for value in one.error.values))
        scale.append(1.0 if one.error.kind == LOGNORMAL or not typical > 0 else typical)
    return Weights(np.array(count), np.array(scale))


@njit(**_INNER)
def _residuals(f, m, error, of, errors, weights):
    """Return both residuals of measurement ``m`` for the prediction ``f``."""
    k = of.kind[m]
    center, deviation, _ = spread(
        errors.model[k], f, error, errors.first[k], errors.floor[k], of.deviation[m]
    )
    if of.censored[m] != 0:
        value = log_density(of.value[m], of.censored[m], of.limit[m], center, deviation)
        return math.sqrt(max(-2.0 * value, 0.0)), 0.0
    own = (of.value[m] - center) / deviation
    if not weights.counts[k]:
        return own, 0.0
    return own, math.sqrt(max(2.0 * math.log(deviation / weights.scale[k]) + _ABOVE, 0.0))


def _sum_up(predicted, offsets, of, errors, weights, points, out, part):
    """Sum up squares and products of slopes of each point."""
    columns = points.free.shape[1]
    names = points.error.shape[1]
    size = columns + names
    slopes = np.zeros((size, 2))
    moved = np.empty(names)
    for i in range(*part):
        begin, who = points.first[i], points.patient[i]
        error = points.error[i]
        out.gradient[i] = 0.0
        out.matrix[i] = 0.0
        cost = 0.0
        for m in range(of.begin[who], of.end[who]):
            j = m - of.begin[who]
            a, b = _residuals(predicted[offsets[begin] + j], m, error, of, errors, weights)
            cost += a * a + b * b
            solve = begin + 1
            for c in range(columns):
                slopes[c, 0] = slopes[c, 1] = 0.0
                if points.free[i, c]:
                    there = predicted[offsets[solve] + j]
                    solve += 1
                    if not math.isnan(there):
                        x, y = _residuals(there, m, error, of, errors, weights)
                        slopes[c, 0], slopes[c, 1] = (x - a) / points.step[i, c], (y - b) / points.step[i, c]
            for e in range(names):
                slopes[columns + e, 0] = slopes[columns + e, 1] = 0.0
                if points.error_free[e]:
                    moved[:] = error
                    moved[e] = error[e] * math.exp(_SHIFT)
                    x, y = _residuals(predicted[offsets[begin] + j], m, moved, of, errors, weights)
                    slopes[columns + e, 0], slopes[columns + e, 1] = (x - a) / _SHIFT, (y - b) / _SHIFT
            for c in range(size):
                out.gradient[i, c] += slopes[c, 0] * a + slopes[c, 1] * b
                for d in range(c + 1):
                    out.matrix[i, c, d] += slopes[c, 0] * slopes[d, 0] + slopes[c, 1] * slopes[d, 1]
        for c in range(size):
            for d in range(c):
                out.matrix[i, d, c] = out.matrix[i, c, d]
        out.cost[i] = np.inf if math.isnan(cost) else cost


def _residual_rows(predicted, offsets, who, of, errors, weights, error, out):
    """Write down the residuals of each solve."""
    for i in range(who.size):
        for m in range(of.begin[who[i]], of.end[who[i]]):
            j = offsets[i] + m - of.begin[who[i]]
            out[j, 0], out[j, 1] = _residuals(predicted[j], m, error[i], of, errors, weights)


def residual_kernel() -> Any:
    """Return the kernel that writes down residuals."""
    types = (Measured, Errors, Weights)
    return cached(_residual_rows, "residuals", takes=types, **EXACT)  # type: ignore[arg-type]


def normal_kernel() -> Any:
    """Return the kernel that sums up normal equations."""
    types = (Measured, Errors, Weights, Points, Equations)
    return cached(_sum_up, "normal equations", takes=types, nogil=True, **EXACT)  # type: ignore[arg-type]
