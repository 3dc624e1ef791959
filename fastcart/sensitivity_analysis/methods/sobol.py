"""Sobol' indices of first order and total ones.

A scrambled design is no sample of independent points, and a bootstrap of its points is 2.6 to 9 times too
wide for many and too narrow for few. The base points are therefore several independent scrambles, and the
interval is Student's t with the jackknife over them.

References
----------
Saltelli et al., Comput. Phys. Commun. 181 (2010) 259 (first-order indices, Table 2b); Jansen, Comput. Phys.
Commun. 117 (1999) 35 (total indices); P. L'Ecuyer et al., Winter Simulation Conference (2023) (Student's t
over scrambles).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastcart.errors import InputError
from fastcart.sensitivity_analysis.design import Design
from fastcart.sensitivity_analysis.methods.base import Found, without_interval
from fastcart.sensitivity_analysis.methods.probabilities import SHARES, Designed

LEAST = 64  # base points; with fewer the indices are noise, and no interval says so
# independent ones, among which the base points are shared; their spread gives intervals. More of them cost
# accuracy, and fewer leave too few degrees of freedom
SCRAMBLES = 16
_SEEN = 0.01  # of the variance, by which S1 may be above ST without a word
_EQUAL = 1e-9  # what differs by less than this share is the same but for rounding


class Sobol(Designed):
    """Sobol' indices; ``n (k + 2)`` patients in blocks A, AB_1 to AB_k, B, scrambles in turn."""

    name = "sobol"
    indices = SHARES
    main, beside = "ST", "S1"
    unit = "base points"
    needed = LEAST // 2  # complete base points
    grouped = True
    sampler = "sobol"

    def check_size(self, n: int, k: int) -> None:
        if n < LEAST:
            raise InputError(
                f"For Sobol' indices n must be a power of 2 of at least {LEAST} base points, not {n}: with "
                "fewer they are noise."
            )
        if n & (n - 1):
            below = 1 << (n.bit_length() - 1)
            raise InputError(
                f"For Sobol' indices n must be a power of 2, not {n}; use {below} or {2 * below}."
            )

    def check_groups(self, groups: tuple[str, ...]) -> None:
        if len(groups) > 1 and len(set(groups)) == 1:
            raise InputError(
                f"The group {groups[0]!r} holds all that is varied, so its Sobol' indices are 1 by "
                "definition; leave a parameter out of it, or make two groups."
            )

    def runs_needed(self, n: int, k: int) -> int:
        return n * (k + 2)

    def unit_points(
        self, sampler: Callable[..., np.ndarray], problem: Mapping[str, Any], n: int, seed: int
    ) -> np.ndarray:
        each = n // SCRAMBLES
        parts = [
            sampler(problem, each, calc_second_order=False, seed=np.random.default_rng(one))
            for one in np.random.SeedSequence(seed).spawn(SCRAMBLES)
        ]
        # base points of all scrambles in turn, so that the first of a larger design are the same
        block = len(parts[0]) // each
        turns = np.stack([part.reshape(-1, block, part.shape[1]) for part in parts], axis=1)
        return turns.reshape(-1, turns.shape[-1])

    def block(self, design: Design) -> int:
        return len(design.labels) + 2

    def estimate(
        self,
        design: Design,
        rows: np.ndarray,
        y: np.ndarray,
        events: np.ndarray | None,
        confidence: float,
    ) -> Found:
        k, m, block = len(design.labels), y.shape[1], self.block(design)
        if len(y) < self.needed * block:
            return self.nothing(design, m)
        centre, spread = y.mean(axis=0), y.std(axis=0)
        spread[spread <= 1e-13 * np.abs(centre)] = np.nan
        y = ((y - centre) / spread).reshape(-1, k + 2, m)
        scramble = np.flatnonzero(rows[::block]) % SCRAMBLES
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
            if len(starts) == SCRAMBLES:
                left = (parts.sum(axis=0) - parts) / (spreads.sum(axis=0) - spreads)
                low, high = _over_scrambles(value, left, confidence, logarithm=name == "ST")
            found[name] = (value, low, high)
        return found

    def no_interval(self, design: Design, index: str, used: int, value: np.ndarray, low: np.ndarray) -> str:
        if np.isfinite(low).any():
            names = without_interval(design, value, low)
            return f"no interval for {names}, because all {self.unit} give the same."
        return "no interval where all base points of one of the scrambles are missing."

    def doubts(self, design: Design, found: Found) -> list[str]:
        # where nothing interacts they are equal, and either may be estimated larger
        (first, low, _), (total, _, high) = found["S1"], found["ST"]
        above = first - total > _SEEN
        if not above.any():
            return []
        apart = (above & (low > high)).any()
        how = "by more than their intervals, which are too narrow here" if apart else "within their error"
        return [  # the same for all outputs of a course, so that it is said once
            f"of some parameters S1 is above ST, {how}, which cannot be so in truth; take more base points, "
            f"e.g. n = {4 * design.n}, before S1 and ST are compared."
        ]

    def scattered(self, design: Design, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # the blocks between A and B repeat their coordinates
        block = self.block(design)
        ends = slice(None, None, block - 1)
        y = y.reshape(-1, block)[:, ends].ravel()
        return design.x.reshape(-1, block, design.x.shape[1])[:, ends].reshape(len(y), -1), y


METHOD = Sobol()


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
