"""Designs of SALib, in probabilities: points of the unit cube, which distributions turn into values."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from fastcart.errors import optional_import
from fastcart.sampling.columns import Marginal
from fastcart.sensitivity_analysis.methods.base import Method

SHARES = {"S1": "First-order index $S_1$", "ST": "Total index $S_T$"}  # of the variance
TAIL = 0.005  # bounds of an unbounded distribution stay away from its ends by this probability


class Designed(Method):
    """A method whose points are a design of SALib, and must be complete."""

    packages = ("SALib",)
    sampler: ClassVar[str]  # the module of SALib.sample

    def points(
        self, columns: Mapping[str, Marginal], n: int, *, seed: int, groups: tuple[str, ...]
    ) -> np.ndarray:
        # in the unit cube: SALib scales in place, and names and bounds are ours
        problem: dict[str, Any] = {
            "num_vars": len(columns), "names": list(columns), "bounds": [[0.0, 1.0]] * len(columns),
        }  # fmt: skip
        if groups:
            problem["groups"] = list(groups)
        sampler = optional_import(
            f"SALib.sample.{self.sampler}", extra="sensitivity", purpose=f"The method {self.name!r}"
        ).sample
        unit = np.clip(self.unit_points(sampler, problem, n, seed), 0.0, 1.0)
        return np.stack([self.at(item, unit[:, j]) for j, item in enumerate(columns.values())], axis=1)

    @abstractmethod
    def unit_points(
        self, sampler: Callable[..., np.ndarray], problem: Mapping[str, Any], n: int, seed: int
    ) -> np.ndarray:
        """Return points of the unit cube by a sampler of SALib."""

    def at(self, item: Marginal, unit: np.ndarray) -> np.ndarray:
        """Return the values of a distribution at probabilities."""
        return item.quantile(np.minimum(unit, 1 - 2.0**-53) if item.kind != "uniform" else unit)


def is_unbounded(item: Marginal) -> bool:
    """Return whether a distribution has no ends."""
    return item.kind in ("normal", "log_normal") and not item.limited


def bounds(item: Marginal) -> tuple[float, float]:
    """Return lowest and highest value of a distribution; of an unbounded one nearly so."""
    if not is_unbounded(item):
        return item.support if item.kind != "uniform" else (item.center, item.spread)
    low, high = item.quantile(np.array([TAIL, 1 - TAIL])).tolist()
    return low, high
