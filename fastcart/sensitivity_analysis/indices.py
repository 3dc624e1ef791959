"""Estimators of sensitivity indices for many outputs at once, with intervals; arrays in, arrays out.

SALib takes one output at a time. These estimators are its own for all columns of a table of outputs (e.g. one
per day), by the same formulas, and are tested against them. The intervals are not SALib's:

- Sobol': a scrambled design is no sample of independent points, and a bootstrap of its points is 2.6 to 9
  times too wide for many and too narrow for few. The base points are therefore several independent scrambles,
  and the interval is Student's t with the jackknife over them (P. L'Ecuyer et al., Winter Simulation
  Conference (2023), on Student's t over scrambles).
- Morris: Student's t over trajectories for the means; none for less than `MORRIS_LEAST` trajectories, which
  may miss rare effects altogether. ``sigma`` has none: its error depends on the tails of effects that take
  few values, which no number of trajectories that is usual here shows.
- FAST: none. Its error is a bias that no resampling shows: frequencies interfere, and harmonics above the
  fourth are cut, so that of an output with jumps or fast changes first-order indices are too small. How much
  depends on the model.

References
----------
Saltelli et al., Comput. Phys. Commun. 181 (2010) 259 (first-order indices, Table 2b); Jansen, Comput. Phys.
Commun. 117 (1999) 35 (total indices); Morris, Technometrics 33 (1991) 161 and Campolongo et al., Environ.
Model. Softw. 22 (2007) 1509 (elementary effects); Saltelli et al., Technometrics 41 (1999) 39 (FAST).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastcart.sensitivity_analysis.correlations import (
    correlations,
)
from fastcart.sensitivity_analysis.correlations import (
    partial_rank_correlations as partial_rank_correlations,
)
from fastcart.sensitivity_analysis.design import (
    FAST_CURVES,
    FAST_HARMONICS,
    MORRIS_LEVELS,
    SOBOL_LEAST,
    Design,
)

INDICES = {
    **{name: (name,) for name in ("pearson", "spearman", "prcc")},
    "concordance": ("somers_d", "concordance"),
    "sobol": ("S1", "ST"),
    "morris": ("mu", "mu_star", "sigma"),
    "fast": ("S1", "ST"),
}
MORRIS_LEAST = 100  # trajectories, for an interval
SOBOL_COMPLETE = SOBOL_LEAST // 2  # base points whose patients all have a value, for any index
_EQUAL = 1e-9  # what differs by less than this share is the same but for rounding
_COLUMNS = 64  # outputs worked on together


@dataclass(frozen=True)
class Estimate:
    """Indices of k parameters for m outputs.

    Parameters
    ----------
    value, low, high : dict of str to ndarray, shape (k, m)
        By the names in `INDICES`: the index, and the ends of its interval. NaN where it is not defined, e.g.
        for an output that does not vary.
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
        output; for ``sobol`` with all rows of their base point, for ``morris`` with their trajectory, for
        ``fast`` with their search curve.
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
    shape = (len(design.labels), y.shape[1])
    value, low, high = (
        {name: np.full(shape, np.nan) for name in INDICES[design.method]} for _ in ("value", "low", "high")
    )
    used = np.zeros(y.shape[1], dtype=np.int64)
    work = {"sobol": _sobol, "morris": _morris, "fast": _fast}.get(design.method)
    for rows, columns in _complete(design, y):
        used[columns] = int(rows.sum())
        for part in np.array_split(columns, math.ceil(len(columns) / _COLUMNS)):
            chosen = y[:, part] if rows.all() else y[np.ix_(rows, part)]
            if design.method != "morris":
                chosen = _within_reach(chosen)
            seen = None if events is None else events[np.ix_(rows, part)]
            with np.errstate(all="ignore"):
                if work is None:
                    found = _correlation(design, rows, chosen, seen, confidence)
                else:
                    found = work(design, rows, chosen, confidence)
            for name, parts in found.items():
                for table, values in zip((value, low, high), parts, strict=True):
                    table[name][:, part] = values
    return Estimate(value, low, high, used)


def _within_reach(y: np.ndarray) -> np.ndarray:
    """Return outputs, those whose squares are too large or too small for a number in another unit."""
    largest = np.abs(y).max(axis=0, initial=0.0)
    far = (largest > 0) & ((largest < 1e-100) | (largest > 1e100))
    return y / np.where(far, largest, 1.0) if far.any() else y


def _correlation(
    design: Design, rows: np.ndarray, y: np.ndarray, events: np.ndarray | None, confidence: float
) -> dict[str, Any]:
    x = design.x if rows.all() else design.x[rows]
    n, k = x.shape
    if n < (k + 4 if design.method == "prcc" else 4):
        return _nothing(design, y.shape[1])
    return dict(correlations(design.method, x, y, events, confidence))


def _complete(design: Design, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows that can be used and the outputs that share them."""
    finite = np.isfinite(y)
    blocks = finite.reshape(-1, design.block, y.shape[1]).all(axis=1)
    patterns, place = np.unique(np.packbits(blocks, axis=0).T, axis=0, return_inverse=True)
    for k in range(len(patterns)):
        columns = np.flatnonzero(place.ravel() == k)
        yield np.repeat(blocks[:, columns[0]], design.block), columns


# --- designs ----------------------------------------------------------------------------------------------


def _sobol(design, rows, y, confidence):
    k, m = len(design.labels), y.shape[1]
    if len(y) < SOBOL_COMPLETE * design.block:
        return _nothing(design, m)
    centre, spread = y.mean(axis=0), y.std(axis=0)
    spread[spread <= 1e-13 * np.abs(centre)] = np.nan
    y = ((y - centre) / spread).reshape(-1, k + 2, m)
    scramble = np.flatnonzero(rows[:: design.block]) % design.scrambles
    order = np.argsort(scramble, kind="stable")
    y, scramble = y[order], scramble[order]
    starts = np.flatnonzero(np.diff(scramble, prepend=-1))
    a, b = y[:, 0], y[:, k + 1]

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, starts, axis=0)

    first = np.stack([total(b * (y[:, j] - a)) for j in range(1, k + 1)], axis=1)
    change = np.stack([total((a - y[:, j]) ** 2) for j in range(1, k + 1)], axis=1) / 2
    mean = (a + b).mean(axis=0) / 2
    spreads = total(((a - mean) ** 2 + (b - mean) ** 2) / 2)[:, None]
    found = {}
    for name, parts in (("S1", first), ("ST", change)):
        value = parts.sum(axis=0) / spreads.sum(axis=0)
        low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
        if len(starts) == design.scrambles:
            left = (parts.sum(axis=0) - parts) / (spreads.sum(axis=0) - spreads)
            low, high = _over_scrambles(value, left, confidence, logarithm=name == "ST")
        found[name] = (value, low, high)
    return found


def _over_scrambles(
    value: np.ndarray, left: np.ndarray, confidence: float, *, logarithm: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of intervals from the indices without each scramble, (scrambles, k, m).

    In logarithm for total indices: the mean square of changes is skewed where few inputs change much.
    """
    from scipy.stats import t as student

    scrambles = len(left)
    whole, parts = (np.log(value), np.log(left)) if logarithm else (value, left)
    error = np.sqrt((scrambles - 1) / scrambles * ((parts - parts.mean(axis=0)) ** 2).sum(axis=0))
    half = student.ppf((1 + confidence) / 2, scrambles - 1) * error
    half[~(error > _EQUAL * np.abs(whole))] = np.nan
    return (np.exp(whole - half), np.exp(whole + half)) if logarithm else (whole - half, whole + half)


def elementary_effects(design: Design, y: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the elementary effects of Morris, shape (trajectories, k, m).

    They are changes per full range of a parameter, of another distribution than the uniform per its
    probabilities from 0 to 1. Those of a group of several have no sign.
    """
    k, m = len(design.labels), y.shape[1]
    x = design.x if rows is None else design.x[rows]
    scaled = (x - design.bounds[:, 0]) / (design.bounds[:, 1] - design.bounds[:, 0])
    steps = np.diff(scaled.reshape(-1, k + 1, x.shape[1]), axis=1)
    member, several = _membership(design)
    which = (np.abs(steps) @ member).argmax(axis=2)
    sign = np.sign(np.take_along_axis(steps @ member, which[:, :, None], axis=2))
    change = np.diff(y.reshape(-1, k + 1, m), axis=1)
    change = np.where(several[which][:, :, None], np.abs(change), change * sign)
    effects = np.empty_like(change)
    np.put_along_axis(effects, which[:, :, None], change, axis=1)
    return effects / (MORRIS_LEVELS / (2 * (MORRIS_LEVELS - 1)))


def _membership(design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Return which names are in which groups (names, groups), and which groups have several."""
    groups = design.groups or design.names
    member = np.array([[group == label for label in design.labels] for group in groups], dtype=float)
    return member, member.sum(axis=0) > 1


def _morris(design, rows, y, confidence):
    from scipy.stats import t as student

    effects = elementary_effects(design, y, rows)
    n = len(effects)
    if n < 2:
        return _nothing(design, y.shape[1])
    factor = student.ppf((1 + confidence) / 2, n - 1) / math.sqrt(n) if n >= MORRIS_LEAST else np.nan
    found = {}
    for name, values in (("mu", effects), ("mu_star", np.abs(effects))):
        mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
        half = factor * np.where(spread > _EQUAL * np.abs(mean), spread, np.nan)
        found[name] = (mean, mean - half, mean + half)
    spread = effects.std(axis=0, ddof=1)
    several = _membership(design)[1][:, None]  # whose effects have no sign

    mean, low, high = (np.where(several, np.nan, part) for part in found["mu"])
    found["mu"] = (mean, low, high)
    spread = np.where(several, np.nan, spread)
    found["sigma"] = (spread, np.full_like(spread, np.nan), np.full_like(spread, np.nan))
    return found


def _fast(design, rows, y, confidence):
    k, m = len(design.names), y.shape[1]
    full = np.full((FAST_CURVES * k, design.n, m), np.nan)
    full[rows.reshape(-1, design.n).all(axis=1)] = y.reshape(-1, design.n, m)
    found = {}
    for name, part in zip(("S1", "ST"), _fast_orders(full), strict=True):
        values = part.reshape(FAST_CURVES, k, m)
        good = np.isfinite(values)
        count = np.where(good.any(axis=0), good.sum(axis=0), np.nan)
        nothing = np.full((k, m), np.nan)
        found[name] = (np.where(good, values, 0.0).sum(axis=0) / count, nothing, nothing)
    return found


def _fast_orders(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return first-order and total indices of search curves, ``y`` of shape (curves, points, outputs)."""
    n = y.shape[1]
    omega = (n - 1) // (2 * FAST_HARMONICS)
    power = np.abs(np.fft.fft(y, axis=1)[:, 1 : math.ceil(n / 2)]) ** 2
    variance = power.sum(axis=1)
    flat = variance <= (1e-13 * n * np.abs(y).mean(axis=1)) ** 2
    variance[flat] = np.nan
    harmonics = np.arange(1, FAST_HARMONICS + 1) * omega - 1
    return power[:, harmonics].sum(axis=1) / variance, 1 - power[:, : omega // 2].sum(axis=1) / variance


def _nothing(design: Design, m: int) -> dict[str, Any]:
    nothing = np.full((len(design.labels), m), np.nan)
    return dict.fromkeys(INDICES[design.method], (nothing, nothing, nothing))
