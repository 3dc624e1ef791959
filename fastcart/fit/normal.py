"""Normal equations of fits: -2 ln L up to a constant, half its gradient, and the Fisher information.

A measurement counts with the square of its residual, and with ``2 ln(sd / scale)`` where its standard
deviation depends on what is estimated; a censored one with -2 times the logarithm of its probability. The
information of a measurement is ``(df / sd)**2 + 2 (d ln sd)**2``, so that steps by it are right for error
parameters, too. Slopes are differences, so that nothing but predictions is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from fastcart.fit.densities import Errors, Measured, log_density, spread
from fastcart.fit.layout import Layout, varies
from fastcart.fit.observations import LOGNORMAL, Observation
from fastcart.solvers.compile import EXACT, INNER, cached

_INNER = {**INNER, "fastmath": False}
_ROOT2 = math.sqrt(2.0)
_SHIFT = 1e-6  # of the logarithm of an error parameter, for its slope


class Weights(NamedTuple):
    """Of each observation, whether its deviation counts, and relative to what in each patient."""

    counts: np.ndarray
    scale: np.ndarray  # patients x observations


class Points(NamedTuple):
    """Points at which the normal equations are asked for, one row each, and the solves around them."""

    first: np.ndarray  # the solve at the point; those of its columns follow
    patient: np.ndarray
    free: np.ndarray  # rows x columns: whether a column has a solve
    step: np.ndarray  # rows x columns: how far that is from the point
    error: np.ndarray  # rows x error parameters
    error_free: np.ndarray  # which of these are estimated; they follow the columns


class Equations(NamedTuple):
    """Results: -2 ln L up to a constant, half its gradient, and the information."""

    cost: np.ndarray
    gradient: np.ndarray
    matrix: np.ndarray


def weights_of(observations: Sequence[Observation], layout: Layout) -> Weights:
    """Return of which observations the deviations count: where they depend on what is estimated."""
    of = layout.of
    scale = np.ones((len(of.begin), len(observations)))
    for k, one in enumerate(observations):
        if one.error.kind == LOGNORMAL:
            continue
        for i, (begin, end) in enumerate(zip(of.begin, of.end, strict=True)):
            mine = np.abs(of.value[begin:end][(of.kind[begin:end] == k) & (of.censored[begin:end] == 0)])
            typical = float(np.median(mine)) if len(mine) else 0.0
            scale[i, k] = typical if typical > 0 else 1.0
    count = [
        varies(one.error.kind) or any(value is None for value in one.error.values) for one in observations
    ]
    return Weights(np.array(count), scale)


@njit(**_INNER)
def _parts(f, m, i, error, of, errors, weights):
    """Return what measurement ``m`` of patient ``i`` consists of for the prediction ``f``.

    Its residual, centre, logarithm of the deviation, and deviation. Where it is censored, the residual is the
    root of -2 times the logarithm of its probability.
    """
    k = of.kind[m]
    center, deviation, _ = spread(
        errors.model[k], f, error, errors.first[k], errors.floor[k], of.deviation[m]
    )
    value = log_density(of.value[m], of.censored[m], of.limit[m], center, deviation, math.log(deviation))
    if of.censored[m] != 0:
        return math.sqrt(max(-2.0 * value, 0.0)), 0.0, 0.0, deviation
    size = math.log(deviation / weights.scale[i, k]) if weights.counts[k] else 0.0
    return (of.value[m] - center) / deviation, center, size, deviation


@njit(**_INNER)
def _measure(m, i, predictions, of, errors, weights, points, found):
    """Write down the parts of a measurement at point ``i`` in the last row, and beside it in the others.

    NaN where a column is not free.
    """
    predicted, offsets = predictions
    columns, size = points.free.shape[1], found.shape[0] - 1
    begin, j = points.first[i], m - of.begin[points.patient[i]]
    solve = begin
    moved = points.error[i].copy()
    for x in range(-1, size):
        value, used = predicted[offsets[begin] + j], True
        if 0 <= x < columns:
            used = points.free[i, x]
            if used:
                solve += 1
                value = predicted[offsets[solve] + j]
        elif x >= columns:
            used = points.error_free[x - columns]
            moved[x - columns] *= math.exp(_SHIFT)
        own, center, size_of, deviation = _parts(value, m, points.patient[i], moved, of, errors, weights)
        found[x, 0], found[x, 1], found[x, 2], found[x, 3] = own, center, size_of, deviation
        if not used:
            found[x, 0] = np.nan
        if x >= columns:
            moved[x - columns] = points.error[i, x - columns]


@njit(**_INNER)
def _differentiate(m, i, of, points, found, slopes):
    """Turn parts beside a point into slopes: of residual, deviation, and the two of the information."""
    columns = points.free.shape[1]
    here = found[slopes.shape[0]]
    for x in range(slopes.shape[0]):
        slopes[x] = 0.0
        if math.isnan(found[x, 0]):
            continue
        step = points.step[i, x] if x < columns else _SHIFT
        slopes[x, 0] = (found[x, 0] - here[0]) / step
        slopes[x, 1] = (found[x, 2] - here[2]) / step
        slopes[x, 2] = (found[x, 1] - here[1]) / here[3] / step
        if of.censored[m] != 0:
            slopes[x, 2] = slopes[x, 0]
        slopes[x, 3] = _ROOT2 * slopes[x, 1]


def _sum_up(predicted, offsets, of, errors, weights, points, out, part):
    """Sum up what all measurements of each point say."""
    size = points.free.shape[1] + points.error.shape[1]
    slopes, found = np.zeros((size, 4)), np.zeros((size + 1, 4))
    for i in range(*part):
        who = points.patient[i]
        gradient, matrix = out.gradient[i], out.matrix[i]
        gradient[:] = 0.0
        matrix[:] = 0.0
        cost = 0.0
        for m in range(of.begin[who], of.end[who]):
            _measure(m, i, (predicted, offsets), of, errors, weights, points, found)
            _differentiate(m, i, of, points, found, slopes)
            here = found[size]
            cost += here[0] * here[0] + 2.0 * here[2]
            for c in range(size):
                gradient[c] += slopes[c, 0] * here[0] + slopes[c, 1]
                for d in range(c + 1):
                    matrix[c, d] += slopes[c, 2] * slopes[d, 2] + slopes[c, 3] * slopes[d, 3]
        for c in range(size):
            for d in range(c):
                matrix[d, c] = matrix[c, d]
        out.cost[i] = np.inf if math.isnan(cost) else cost


def _part_rows(predicted, offsets, who, of, errors, weights, error, out):
    """Write down what the measurements of each solve consist of."""
    for i in range(who.size):
        for m in range(of.begin[who[i]], of.end[who[i]]):
            j = offsets[i] + m - of.begin[who[i]]
            found = _parts(predicted[j], m, who[i], error[i], of, errors, weights)
            out[j, 0], out[j, 1], out[j, 2], out[j, 3] = found


def part_kernel() -> Any:
    """Return the kernel that writes down what the measurements consist of."""
    types = (Measured, Errors, Weights)
    return cached(_part_rows, "residuals", takes=types, **EXACT)  # type: ignore[arg-type]


def normal_kernel() -> Any:
    """Return the kernel that sums up normal equations."""
    types = (Measured, Errors, Weights, Points, Equations)
    return cached(_sum_up, "normal equations", takes=types, nogil=True, **EXACT)  # type: ignore[arg-type]
