"""Levenberg and Marquardt's method for many problems at once: every iteration is one batch of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastcart.fit.normal import Equations

CONVERGED, MOST_ITERATIONS, STUCK, FAILED = "converged", "most_iterations", "stuck", "failed"
JOINED, BEHIND = "joined", "behind"  # given up: another start is there, others are better

_FIRST, _LEAST, _MOST = 1e-2, 1e-12, 1e12  # damping
_EASED, _HARDER = 0.2, 4.0  # and how it changes
_ENOUGH = 1e-4  # of the promised gain that makes a step count
_SMALL = 1e-9  # relative gain, twice running, or step, at which a problem has converged
_EQUAL = 1e-6  # of the cost: two that differ by less, and promise to, are one

Evaluate = Callable[[np.ndarray, np.ndarray], Equations]


@dataclass
class Minima:
    """Where problems ended, one row each.

    Parameters
    ----------
    x : ndarray, shape (problems, parameters)
    cost : ndarray
        A sum of squares up to a constant; infinite where the start failed.
    gradient : ndarray, shape (problems, parameters)
        Half of that of the cost.
    matrix : ndarray, shape (problems, parameters, parameters)
    how : ndarray of str
    iterations : ndarray of int
    """

    x: np.ndarray
    cost: np.ndarray
    gradient: np.ndarray
    matrix: np.ndarray
    how: np.ndarray
    iterations: np.ndarray

    def put(self, rows: np.ndarray, other: Minima) -> None:
        """Take over some rows."""
        for name, values in vars(self).items():
            values[rows] = getattr(other, name)

    def joined(self, other: Minima) -> Minima:
        """Return these and others."""
        return Minima(**{name: np.concatenate([x, getattr(other, name)]) for name, x in vars(self).items()})


@dataclass(frozen=True)
class Bounds:
    """Bounds of parameters in the scale in which they are estimated, and which are free in each problem.

    Parameters
    ----------
    low, high : ndarray, shape (parameters,) or (problems, parameters)
    free : ndarray of bool, shape (problems, parameters)
    """

    low: np.ndarray
    high: np.ndarray
    free: np.ndarray

    def of(self, rows: np.ndarray) -> Bounds:
        """Return those of some problems, a row for each."""
        low, high = (np.broadcast_to(x, self.free.shape)[rows] for x in (self.low, self.high))
        return Bounds(low, high, self.free[rows])


def minimize(
    evaluate: Evaluate, x: np.ndarray, bounds: Bounds, *, iterations: int, groups: np.ndarray | None = None,
    longest: float = np.inf,
) -> Minima:  # fmt: skip
    """Minimize sums of squares within bounds.

    A parameter that a step would push over its bound ends on it.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(x, rows)`` returns the normal equations of some of the problems, by their numbers.
    x : ndarray, shape (problems, parameters)
        Within the bounds.
    bounds : Bounds
    iterations : int
        At most.
    groups : ndarray of int, optional
        Problems of one group are one problem with several starts: of those that come together the worse one
        is given up.
    longest : float
        No parameter moves farther in one step.

    Returns
    -------
    Minima
        Results of a problem do not depend on those of other groups.
    """
    count = len(x)
    rows = np.arange(count)
    at = evaluate(x, rows)
    found = Minima(
        x.copy(), at.cost.copy(), at.gradient.copy(), at.matrix.copy(),
        np.full(count, MOST_ITERATIONS, dtype=object), np.zeros(count, dtype=np.int64),
    )  # fmt: skip
    found.how[~np.isfinite(found.cost)] = FAILED
    damping, slow = np.full(count, _FIRST), np.zeros(count, dtype=np.int64)
    active = np.flatnonzero(np.isfinite(found.cost))
    for _ in range(iterations):
        if not len(active):
            break
        mine = bounds.of(active)
        near = mine
        if np.isfinite(longest):
            x_now = found.x[active]
            near = Bounds(
                np.maximum(mine.low, x_now - longest), np.minimum(mine.high, x_now + longest), mine.free
            )
        step, held = _steps(found, active, damping[active], near)
        free = mine.free
        moved = np.where(free, np.clip(found.x[active] + step, mine.low, mine.high), found.x[active])
        step = np.where(free, moved - found.x[active], 0.0)
        at = evaluate(moved, active)
        found.iterations[active] += 1
        old = found.cost[active]
        gain = old - at.cost
        promised = _promised(found, active, step)
        better = (gain > 0) & (gain >= _ENOUGH * promised)
        took = active[better]
        found.x[took], found.cost[took] = moved[better], at.cost[better]
        found.gradient[took], found.matrix[took] = at.gradient[better], at.matrix[better]
        damping[active] = np.where(
            better, np.maximum(damping[active] * _EASED, _LEAST), damping[active] * _HARDER
        )
        little = np.where(better, gain <= _SMALL * np.abs(old), promised <= _SMALL * np.abs(old))
        slow[active] = np.where(little, slow[active] + 1, 0)
        still = held | ((np.abs(step) <= _SMALL * (np.abs(moved) + _SMALL)) | ~free).all(axis=1)
        ended = (slow[active] >= 2) | still | (found.cost[active] == 0.0)
        stuck = ~ended & (damping[active] > _MOST)
        found.how[active[ended]] = CONVERGED
        found.how[active[stuck]] = STUCK
        active = active[~(ended | stuck)]
        if groups is not None:
            active = _unjoined(found, active, groups, bounds.free)
    return found


def _steps(
    found: Minima, active: np.ndarray, damping: np.ndarray, bounds: Bounds
) -> tuple[np.ndarray, np.ndarray]:
    """Return steps that stay within the bounds, those of active problems, and where no parameter can move.

    A parameter whose step leads over its bound goes to the bound, and the others are asked anew what to do.
    """
    x, gradient, matrix = found.x[active], found.gradient[active], found.matrix[active]
    free = bounds.free & ~((x <= bounds.low) & (gradient > 0)) & ~((x >= bounds.high) & (gradient < 0))
    diagonal = np.einsum("ijj->ij", matrix)
    free &= diagonal > 0  # of what nothing depends on
    held, damped = ~free.any(axis=1), diagonal * (1.0 + damping[:, np.newaxis])
    step = np.zeros(x.shape)
    for _ in range(x.shape[1] + 1):
        right = -gradient - np.einsum("ijk,ik->ij", matrix, step)
        step = np.where(free, _solved(matrix, damped, right, free), step)
        low, high = x + step < bounds.low, x + step > bounds.high
        over = free & (low | high)
        if not over.any():
            break
        with np.errstate(invalid="ignore"):
            step = np.where(over, np.where(low, bounds.low, bounds.high) - x, np.where(free, 0.0, step))
        free &= ~over
    return np.where(bounds.free, step, 0.0), held


def _solved(matrix: np.ndarray, damped: np.ndarray, right: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Solve the damped equations for the free parameters, each scaled by its size."""
    both = free[:, :, np.newaxis] & free[:, np.newaxis, :]
    size = np.sqrt(np.where(free, damped, 1.0))
    scaled = np.where(both, matrix / (size[:, :, np.newaxis] * size[:, np.newaxis, :]), 0.0)
    every = np.arange(damped.shape[1])
    scaled[:, every, every] = 1.0
    return np.linalg.solve(scaled, np.where(free, right / size, 0.0)[:, :, np.newaxis])[:, :, 0] / size


def _promised(found: Minima, active: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return by how much the sum of squares falls if residuals are linear."""
    linear = np.einsum("ij,ij->i", found.gradient[active], step)
    return np.maximum(-2.0 * linear - np.einsum("ij,ijk,ik->i", step, found.matrix[active], step), 0.0)


def _unjoined(found: Minima, active: np.ndarray, groups: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Leave off those that came to where another of the group is, which is not worse."""
    order = active[np.lexsort((active, found.cost[active], groups[active]))]
    same_group = groups[order[1:]] == groups[order[:-1]]
    cost = found.cost[order]
    near = np.abs(cost[1:] - cost[:-1]) <= _EQUAL * (1e-300 + np.abs(cost[:-1]))
    with np.errstate(invalid="ignore"):
        apart = np.where(free[order[1:]], found.x[order[1:]] - found.x[order[:-1]], 0.0)
    distance = np.einsum("ij,ijk,ik->i", apart, found.matrix[order[:-1]], apart)
    joined = order[1:][same_group & near & (distance <= _EQUAL * np.abs(cost[:-1]))]
    found.how[joined] = JOINED
    return np.setdiff1d(active, joined, assume_unique=True)
