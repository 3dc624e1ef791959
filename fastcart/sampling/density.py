"""How probable the rows of a sample are: densities of the distributions that `Design` draws from."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr, ndtri

from fastcart.sampling.columns import SMALLEST, Marginal, Values
from fastcart.sampling.design import Design

_LOG_2PI_HALF = 0.5 * math.log(2.0 * math.pi)


def log_density(design: Design, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the log-density of rows of a random sample, in the units of the columns.

    Constants count nothing. Correlated columns have the Gaussian copula that `Design` draws with.

    Parameters
    ----------
    design : Design
        Random, a Latin hypercube or Sobol's points; of a grid nothing has a density.
    columns : mapping of str to ndarray
        A value of each row. The density is that of these columns; those that correlate with one of them are
        among them.

    Returns
    -------
    ndarray, shape (rows,)
        Minus infinity where a value is never drawn.
    """
    drawn = {name: design.columns[name] for name in columns}
    rows = len(next(iter(columns.values())))
    total = np.zeros(rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        for name, item in drawn.items():
            if isinstance(item, Values):
                continue
            total += _marginal(item, np.asarray(columns[name], dtype=float))
        order, factor = design.correlated
        if any(name in drawn for name in order):
            scores = np.column_stack([_score_of(design, name, columns) for name in order])
            white = scores @ np.linalg.inv(factor).T
            total += 0.5 * (scores**2 - white**2).sum(axis=1) - np.log(np.diag(factor)).sum()
    return np.where(np.isnan(total), -np.inf, total)


def _score_of(design: Design, name: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    item = design.columns[name]
    assert isinstance(item, Marginal)
    return _score(item, np.asarray(columns[name], dtype=float))


def _normal_score(item: Marginal, x: np.ndarray) -> np.ndarray:
    """Return the distance from the center in standard deviations."""
    if item.kind == "log_normal":
        return np.log(np.maximum(x, 0.0) / item.center) / item.spread
    return (x - item.center) / item.spread


def _ends(item: Marginal) -> tuple[float, float]:
    """Return the probabilities below the limits of a normal kind."""
    low, high = (float(ndtr(_normal_score(item, np.array(end)))) for end in (item.low, item.high))
    return low, high


def _score(item: Marginal, x: np.ndarray) -> np.ndarray:
    """Return the normal score that a value of a normal kind was drawn by."""
    score = _normal_score(item, x)
    if not item.limited:
        return score
    low, high = _ends(item)
    return ndtri(np.clip((ndtr(score) - low) / (high - low), SMALLEST, 1.0 - SMALLEST))


def _marginal(item: Marginal, x: np.ndarray) -> np.ndarray:
    """Return the log-density of one column."""
    low, high = (item.center, item.spread) if item.kind.endswith("uniform") else (item.low, item.high)
    inside = (x >= low) & (x <= high)
    if item.kind == "uniform":
        found = np.full(len(x), -math.log(high - low))
    elif item.kind == "log_uniform":
        found = -np.log(x) - math.log(math.log(high / low))
    elif item.kind == "triangular":
        left, right = item.center - low, high - item.center
        rising = (x - low) / left if left > 0 else np.ones(len(x))
        falling = (high - x) / right if right > 0 else np.ones(len(x))
        found = np.log(2.0 / item.spread * np.minimum(rising, falling))
    else:
        found = -0.5 * _normal_score(item, x) ** 2 - _LOG_2PI_HALF - math.log(item.spread)
        if item.kind == "log_normal":
            found = found - np.log(x)
        if item.limited:
            first, last = _ends(item)
            found = found - math.log(last - first)
    return np.where(inside, found, -np.inf)
