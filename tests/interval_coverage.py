"""How often intervals of sensitivity indices cover the index of a function, counted over many samples."""

from __future__ import annotations

from functools import cache

import numpy as np

from fastcart.sensitivity_analysis.indices import estimate
from fastcart.sensitivity_analysis.methods import find
from fastcart.sensitivity_analysis.methods.morris import LEVELS
from fastcart.sensitivity_analysis.methods.ranks import codes_of, rank_correlation
from fastcart.sensitivity_analysis.sampler import make_design

A = np.array([0.0, 1.0, 4.5, 9.0, 99.0, 99.0])
PI = np.pi


def ishigami(x):
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def sobol_g(x):
    return np.prod((np.abs(4 * x - 2) + A) / (1 + A), axis=1)


def polynomial(x):
    return x[:, 0] + 0.5 * x[:, 1] ** 2 + 0.3 * x[:, 0] * x[:, 2]


# name to the function, the number of inputs, and the range of each
FUNCTIONS = {
    "ishigami": (ishigami, 3, (-PI, PI)),
    "g": (sobol_g, 6, (0.0, 1.0)),
    "polynomial": (polynomial, 3, (0.0, 1.0)),
}
_LARGE = {"sobol": 2**16}


def ranges(function):
    _, k, ends = FUNCTIONS[function]
    return {f"x{j}": ends for j in range(k)}


@cache
def exact(function, method):
    """Return the indices of the function, from a sample so large that its own error is of no account."""
    if method == "morris":
        return _all_elementary_effects(function)
    design = make_design(method, ranges(function), _LARGE.get(method, 1_000_000), seed=2**31)
    y = FUNCTIONS[function][0](design.x)[:, None]
    if find(method).selective:  # without the intervals, which take long
        if method == "pearson":
            return {method: np.corrcoef(design.x.T, y.T)[-1, :-1]}
        codes = codes_of(np.hstack([design.x, y]))
        return {method: rank_correlation(*codes, None, design.x.shape[1], method == "prcc")[:, 0]}
    return {name: value[:, 0] for name, value in estimate(design, y).value.items()}


def _all_elementary_effects(function):
    """Return the indices of Morris from all steps of trajectories, which are equally likely."""
    f, k, (low, high) = FUNCTIONS[function]
    levels = LEVELS
    step = levels // 2  # of the grid, whose points are 1 / (levels - 1) apart
    points = np.stack(np.meshgrid(*[np.arange(levels)] * k, indexing="ij"), axis=-1).reshape(-1, k)
    found = {name: np.zeros(k) for name in find("morris").indices}
    for j in range(k):
        start = points[points[:, j] < step]
        end = start.copy()
        end[:, j] += step
        y0, y1 = (f(low + (high - low) * x / (levels - 1)) for x in (start, end))
        effects = (y1 - y0) / (step / (levels - 1))
        found["mu"][j], found["mu_star"][j], found["sigma"][j] = (
            effects.mean(), np.abs(effects).mean(), effects.std()
        )  # fmt: skip
    return found


def covered(function, method, n, repeats):
    """Return for each index and input the share of intervals that cover; NaN where there is none."""
    right = exact(function, method)
    hits = {name: np.zeros(len(value)) for name, value in right.items()}
    given = {name: np.zeros(len(value)) for name, value in right.items()}
    for seed in range(repeats):
        design = make_design(method, ranges(function), n, seed=seed)
        found = estimate(design, FUNCTIONS[function][0](design.x)[:, None])
        for name in find(method).indices:
            low, high = found.low[name][:, 0], found.high[name][:, 0]
            hits[name] += (low <= right[name]) & (right[name] <= high)
            given[name] += np.isfinite(low)
    with np.errstate(invalid="ignore"):
        return {name: np.where(given[name] > 0, hits[name] / given[name], np.nan) for name in hits}
