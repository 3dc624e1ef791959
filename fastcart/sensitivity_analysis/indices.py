"""Indices of many outputs at once, with intervals, by any method; arrays in, arrays out.

SALib takes one output at a time. These estimators are its own for all columns of a table of outputs (e.g. one
per day), by the same formulas, and are tested against them. The intervals are not SALib's; each method says
how they are made, or why there are none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fastcart.sensitivity_analysis.design import Design
from fastcart.sensitivity_analysis.methods import find

_COLUMNS = 64  # outputs worked on together


@dataclass(frozen=True)
class Estimate:
    """Indices of k parameters for m outputs.

    Parameters
    ----------
    value, low, high : dict of str to ndarray, shape (k, m)
        By the names of the method's indices: the index, and the ends of its interval. NaN where it is not
        defined, e.g. for an output that does not vary.
    used : ndarray, shape (m,)
        Rows of the design that went into each output.
    """

    value: dict[str, np.ndarray]
    low: dict[str, np.ndarray]
    high: dict[str, np.ndarray]
    used: np.ndarray


def estimate(
    design: Design,
    y: np.ndarray,
    *,
    events: np.ndarray | None = None,
    confidence: float = 0.95,
    resamples: int = 0,
    seed: int = 0,
) -> Estimate:
    """Estimate the indices of every output.

    Parameters
    ----------
    design : Design
    y : ndarray, shape (rows, m)
        Outputs at the points of the design; NaN where there is none. Rows with NaN are left out of that
        output, with all rows of their block: of the base point, the trajectory or the search curve.
    events : ndarray of bool, shape (rows, m), optional
        For ``concordance``: where an output is the time of an event, and not of the end of observation.
    confidence : float
        Of the intervals, in (0, 1).
    resamples, seed
        Without effect: no interval is made by resampling.

    Returns
    -------
    Estimate
    """
    y = np.asarray(y, dtype=np.float64)
    method = find(design.method)
    shape = (len(design.labels), y.shape[1])
    value, low, high = (
        {name: np.full(shape, np.nan) for name in method.indices} for _ in ("value", "low", "high")
    )
    used = np.zeros(y.shape[1], dtype=np.int64)
    for rows, columns in _complete(y, method.block(design)):
        used[columns] = int(rows.sum())
        for part in np.array_split(columns, math.ceil(len(columns) / _COLUMNS)):
            chosen = y[:, part] if rows.all() else y[np.ix_(rows, part)]
            if not method.in_units:
                chosen = _within_reach(chosen)
            seen = None if events is None else events[np.ix_(rows, part)]
            with np.errstate(all="ignore"):
                found = method.estimate(design, rows, chosen, seen, confidence)
            for name, parts in found.items():
                for table, values in zip((value, low, high), parts, strict=True):
                    table[name][:, part] = values
    return Estimate(value, low, high, used)


def _within_reach(y: np.ndarray) -> np.ndarray:
    """Return outputs, those whose squares are too large or too small for a number in another unit."""
    largest = np.abs(y).max(axis=0, initial=0.0)
    far = (largest > 0) & ((largest < 1e-100) | (largest > 1e100))
    return y / np.where(far, largest, 1.0) if far.any() else y


def _complete(y: np.ndarray, block: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows that can be used and the outputs that share them."""
    finite = np.isfinite(y)
    blocks = finite.reshape(-1, block, y.shape[1]).all(axis=1)
    patterns, place = np.unique(np.packbits(blocks, axis=0).T, axis=0, return_inverse=True)
    for k in range(len(patterns)):
        columns = np.flatnonzero(place.ravel() == k)
        yield np.repeat(blocks[:, columns[0]], block), columns
