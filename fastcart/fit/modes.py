"""The most probable random effects of each patient, and the likelihood by quadrature around them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fastcart.errors import InputError
from fastcart.fit.complete import Complete
from fastcart.fit.effects import Values
from fastcart.fit.proposals import log_prior

_ITERATIONS = 40
_STEP = 0.05  # of a patient's standard deviation, for differences
_NEAR = 1e-4  # standard deviations: a step that ends the search
_HARDER, _EASED = 8.0, 0.2
_ROWS = 65_536
MOST_DIMENSIONS = 3


@dataclass(frozen=True)
class Modes:
    """Where each patient's density is highest.

    Parameters
    ----------
    phi : ndarray, shape (patients, random)
        In the scales of the parameters.
    curvature : ndarray, shape (patients, random, random)
        Minus the second derivative of the log-density.
    """

    phi: np.ndarray
    curvature: np.ndarray


def log_joint(complete: Complete, values: Values, phi: np.ndarray, who: np.ndarray) -> np.ndarray:
    """Return the log-density of measurements and random effects together."""
    found = complete.density(complete.predict(phi, values.fixed, who), who, values.errors)
    return found + log_prior(phi - complete.effects.centers(values.b)[who], values.omega)


def modes(complete: Complete, values: Values, starts: np.ndarray, deviations: np.ndarray) -> Modes:
    """Find the modes by damped Newton's steps, all patients and starts in one batch.

    Parameters
    ----------
    complete : Complete
    values : Values
    starts : ndarray, shape (patients, starts, random)
    deviations : ndarray, shape (patients, random)
        About the standard deviations of the random effects given the data.
    """
    patients, several, size = starts.shape
    who = np.repeat(np.arange(patients), several)
    x = starts.reshape(-1, size).copy()
    step = _STEP * np.maximum(deviations, 1e-3 * np.sqrt(np.diag(values.omega)))[who]
    value = log_joint(complete, values, x, who)
    damping = np.full(len(x), 1e-3)
    active = np.flatnonzero(np.isfinite(value))
    for _ in range(_ITERATIONS):
        if not len(active):
            break
        gradient, curvature = _slopes(complete, values, x[active], who[active], step[active], value[active])
        scale = step[active] / _STEP
        g = gradient * scale
        matrix = curvature * scale[:, :, np.newaxis] * scale[:, np.newaxis, :]
        eigen, vectors = np.linalg.eigh(matrix)
        safe = np.maximum(np.abs(eigen), 0.05) + damping[active, np.newaxis]
        turned = np.matmul(vectors.transpose(0, 2, 1), g[:, :, np.newaxis])[:, :, 0] / safe
        move = np.clip(np.matmul(vectors, turned[:, :, np.newaxis])[:, :, 0], -2.0, 2.0)
        there = x[active] + move * scale
        new = log_joint(complete, values, there, who[active])
        better = new > value[active]
        rows = active[better]
        x[rows], value[rows] = there[better], new[better]
        damping[active] *= np.where(better, _EASED, _HARDER)
        done = (np.abs(move) < _NEAR).all(axis=1) | (damping[active] > 1e8)
        active = active[~done]
    value = np.where(np.isfinite(value), value, -np.inf).reshape(patients, several)
    best = np.argmax(value, axis=1)
    phi = x.reshape(patients, several, size)[np.arange(patients), best]
    every = np.arange(patients)
    own = step.reshape(patients, several, size)[:, 0]
    top = value[every, best]
    _, curvature = _slopes(complete, values, phi, every, own, top)
    return Modes(phi, curvature)


def _slopes(
    complete: Complete, values: Values, x: np.ndarray, who: np.ndarray, step: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient and minus the second derivative, by central differences, in one batch."""
    rows, size = x.shape
    pairs = list(combinations(range(size), 2))
    shifts = np.vstack([np.eye(size), *(_unit(size, pair)[np.newaxis] for pair in pairs)])
    every = np.concatenate([shifts, -shifts])
    points = x[:, np.newaxis] + every * step[:, np.newaxis]
    found = np.concatenate(
        [
            log_joint(
                complete, values, points[k : k + _part(len(every))].reshape(-1, size),
                np.repeat(who[k : k + _part(len(every))], len(every)),
            )
            for k in range(0, rows, _part(len(every)))
        ]
    ).reshape(rows, 2, len(shifts))  # fmt: skip
    found = np.where(np.isfinite(found), found, (value - 1e3)[:, np.newaxis, np.newaxis])
    plus, minus = found[:, 0], found[:, 1]
    gradient = (plus[:, :size] - minus[:, :size]) / (2 * step)
    second = np.empty((rows, size, size))
    single = plus[:, :size] + minus[:, :size] - 2 * value[:, np.newaxis]
    for k in range(size):
        second[:, k, k] = single[:, k] / step[:, k] ** 2
    for n, (j, k) in enumerate(pairs):
        both = plus[:, size + n] + minus[:, size + n] - 2 * value
        second[:, j, k] = (both - single[:, j] - single[:, k]) / (2 * step[:, j] * step[:, k])
        second[:, k, j] = second[:, j, k]
    return gradient, -second


def _unit(size: int, places: tuple[int, ...]) -> np.ndarray:
    unit = np.zeros(size)
    unit[list(places)] = 1.0
    return unit


def _part(count: int) -> int:
    return max(1, _ROWS // count)


def quadrature(complete: Complete, row: np.ndarray, found: Modes, nodes: int) -> np.ndarray:
    """Return each patient's log-likelihood by adaptive Gauss-Hermite quadrature.

    Parameters
    ----------
    complete : Complete
    row : ndarray
        Of estimates.
    found : Modes
    nodes : int
        In each dimension, of which there are at most three.
    """
    values = complete.effects.unpack(row)
    patients, size = found.phi.shape
    if size > MOST_DIMENSIONS:
        raise InputError(
            f"Quadrature takes at most {MOST_DIMENSIONS} random effects, not {size}; importance "
            "sampling takes any."
        )
    x, w = np.polynomial.hermite.hermgauss(nodes)
    grid = np.array(np.meshgrid(*[x] * size, indexing="ij")).reshape(size, -1).T
    weight = np.log(np.array(np.meshgrid(*[w] * size, indexing="ij"))).reshape(size, -1).sum(axis=0)
    weight = weight + (grid**2).sum(axis=1)
    out = np.empty(patients)
    for i in range(patients):
        eigen, vectors = np.linalg.eigh(found.curvature[i])
        root = vectors / np.sqrt(np.maximum(eigen, 1e-12))
        points = found.phi[i] + np.sqrt(2.0) * grid @ root.T
        log = log_joint(complete, values, points, np.full(len(points), i)) + weight
        top = log.max()
        volume = 0.5 * size * np.log(2.0) + np.log(np.abs(np.linalg.det(root)))
        out[i] = top + np.log(np.exp(log - top).sum()) + volume
    return out
