"""Elementary effects, the screening of Morris.

Intervals of the means are Student's t over trajectories; none for less than `LEAST_FOR_INTERVAL` of them,
which may miss rare effects altogether. ``sigma`` has none: its error depends on the tails of effects that
take few values, which no number of trajectories that is usual here shows.

References
----------
Morris, Technometrics 33 (1991) 161; Campolongo et al., Environ. Model. Softw. 22 (2007) 1509.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from fastcart.errors import InputError
from fastcart.sampling.columns import Marginal
from fastcart.sensitivity_analysis.design import Design
from fastcart.sensitivity_analysis.methods.base import Found, without_interval
from fastcart.sensitivity_analysis.methods.probabilities import TAIL, Designed, is_unbounded

LEVELS = 4  # Morris 1991; SALib's default
LEAST_FOR_INTERVAL = 100  # trajectories
_EQUAL = 1e-9  # what differs by less than this share is the same but for rounding


class Morris(Designed):
    """Elementary effects; ``n (k + 1)`` patients, a trajectory after the other."""

    name = "morris"
    indices: ClassVar = {
        "mu": "Mean elementary effect $\\mu$", "mu_star": "Mean size of elementary effects $\\mu^*$",
        "sigma": "Standard deviation of effects $\\sigma$",
    }  # fmt: skip
    main, beside = "mu_star", "sigma"
    unit = "trajectories"
    grouped = True
    in_units = True
    sampler = "morris"

    def check_size(self, n: int, k: int) -> None:
        if n < 2:
            raise InputError("For Morris' method n must be at least 2 trajectories.")

    def runs_needed(self, n: int, k: int) -> int:
        return n * (k + 1)

    def unit_points(
        self, sampler: Callable[..., np.ndarray], problem: Mapping[str, Any], n: int, seed: int
    ) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return sampler(problem, n, num_levels=LEVELS, seed=np.random.default_rng(seed))

    def at(self, item: Marginal, unit: np.ndarray) -> np.ndarray:
        # the outermost levels of an unbounded distribution are not its ends
        return super().at(item, TAIL + (1 - 2 * TAIL) * unit if is_unbounded(item) else unit)

    def block(self, design: Design) -> int:
        return len(design.labels) + 1

    def estimate(
        self,
        design: Design,
        rows: np.ndarray,
        y: np.ndarray,
        events: np.ndarray | None,
        confidence: float,
    ) -> Found:
        from scipy.stats import t as student

        effects = elementary_effects(design, y, rows)
        n = len(effects)
        if n < 2:
            return self.nothing(design, y.shape[1])
        factor = (
            student.ppf((1 + confidence) / 2, n - 1) / math.sqrt(n) if n >= LEAST_FOR_INTERVAL else np.nan
        )
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

    def no_interval(self, design: Design, index: str, used: int, value: np.ndarray, low: np.ndarray) -> str:
        if index == "sigma":
            return (
                "no interval, because it depends on the tails of effects, of which few values are seen; "
                "repeat with other seeds to see how it varies."
            )
        if np.isfinite(low).any():
            names = without_interval(design, value, low)
            return f"no interval for {names}, because all {self.unit} give the same."
        return f"no interval with less than {LEAST_FOR_INTERVAL} trajectories, which may miss rare effects."


METHOD = Morris()


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
    return effects / (LEVELS / (2 * (LEVELS - 1)))


def _membership(design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Return which names are in which groups (names, groups), and which groups have several."""
    groups = design.groups or design.names
    member = np.array([[group == label for label in design.labels] for group in groups], dtype=float)
    return member, member.sum(axis=0) > 1
