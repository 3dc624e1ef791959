"""What correlations of inputs with outputs have in common: independent draws, and the jackknife's intervals.

Intervals are those of Fisher's z, ``atanh c ± t s / (1 - c²)``, where ``s`` is the jackknife's standard error
of a correlation and ``c`` the correlation without the bias that the jackknife finds: groups of patients are
left out in turn, and ranks made anew each time. The ranks of a sample scatter about those of the population,
which weakens strong correlations: at 100 patients a partial rank correlation of 0.988 by 0.006, as much as
its interval is wide. Where the bias of a correlation ``r`` exceeds ``t s / (1 - c²)``, the interval is as
wide as that, ``atanh c ± |atanh r - atanh c|``: the jackknife removes only a part of so large a bias, and an
interval holds its estimate. Fisher's own ``1 / sqrt(n - 3)`` holds for normal data alone. The percentiles of
a bootstrap are wrong for ranks, because every resample has ties that the population has not: they cover 19
to 73 % of strong partial rank correlations.

References
----------
Efron, The jackknife, the bootstrap and other resampling plans (1982); Busing et al., Stat. Comput. 9 (1999) 3
(groups of unequal size).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from fastcart import sample
from fastcart.errors import InputError
from fastcart.sampling.columns import Marginal
from fastcart.sensitivity_analysis.design import Design
from fastcart.sensitivity_analysis.methods.base import Found, Method, without_interval

_GROUPS = 100  # of patients, left out in turn
_CERTAIN = 1e-12  # a correlation as near as this to 1 has no interval
LEAST = 20  # patients beyond the number of inputs removed, for an interval


class Correlation(Method):
    """A correlation of each input with each output, over ``n`` independent draws."""

    signed = True
    selective = True
    removes_others: ClassVar[bool] = False  # whether other inputs are removed from each
    most_rows: ClassVar[int | None] = None  # patients that are used, at most

    def check_size(self, n: int, k: int) -> None:
        if n < k + 4:
            raise InputError(f"To vary {k} parameters, n must be at least {k + 4} patients, not {n}.")

    def runs_needed(self, n: int, k: int) -> int:
        return n

    def points(
        self, columns: Mapping[str, Marginal], n: int, *, seed: int, groups: tuple[str, ...]
    ) -> np.ndarray:
        described = {name: {item.describe()[0]: item.describe()[1:]} for name, item in columns.items()}
        return sample.Design(described, n, seed=seed).table()[list(columns)].to_numpy()

    def estimate(
        self,
        design: Design,
        rows: np.ndarray,
        y: np.ndarray,
        events: np.ndarray | None,
        confidence: float,
    ) -> Found:
        x = design.x if rows.all() else design.x[rows]
        n, k = x.shape
        removed = k if self.removes_others else 0
        if n < removed + 4:
            return self.nothing(design, y.shape[1])
        used = slice(0, self.most_rows)
        value, parts = self.correlate(x[used], y[used], None if events is None else events[used])
        n = len(x[used])
        low, high = _interval(value, parts, group_sizes(n), confidence)
        if n < LEAST + removed:
            low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
        return self.named(value, low, high)

    @abstractmethod
    def correlate(
        self, x: np.ndarray, y: np.ndarray, events: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return correlations (k, m), and those without each group of patients (groups, k, m)."""

    def named(self, value: np.ndarray, low: np.ndarray, high: np.ndarray) -> Found:
        """Return the indices by name."""
        return {self.main: (value, low, high)}

    def no_interval(self, design: Design, index: str, used: int, value: np.ndarray, low: np.ndarray) -> str:
        removed = len(design.names) if self.removes_others else 0
        if used < LEAST + removed:
            beyond = f"{LEAST} patients" + (" more than inputs" if self.removes_others else "")
            return f"no interval with less than {beyond}."
        return (
            f"no interval for {without_interval(design, value, low)}, because a correlation of 1 or -1, or "
            "too near to it for so few patients, has none."
        )


def group_sizes(n: int) -> np.ndarray:
    """Return the sizes of the groups of neighbouring rows that are left out in turn, as equal as can be."""
    groups = min(n, _GROUPS)
    return np.diff(np.append(starts(n), n)) if groups else np.zeros(0, dtype=int)


def starts(n: int) -> np.ndarray:
    """Return the first row of each of these groups."""
    groups = min(n, _GROUPS)
    return np.arange(groups) * n // groups


def _interval(
    value: np.ndarray, parts: np.ndarray, sizes: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the interval from the correlations without each group, shape (groups, k, m)."""
    from scipy.stats import t as student

    groups = len(sizes)
    with np.errstate(all="ignore"):
        share = (sizes.sum() / sizes)[:, None, None]
        pseudo = share * value - (share - 1) * parts
        centre = groups * value - ((share - 1) / share * parts).sum(axis=0)
        error = np.sqrt((((pseudo - centre) ** 2) / (share - 1)).sum(axis=0) / groups)
        half = student.ppf((1 + confidence) / 2, groups - 1) * error / (1 - centre**2)
        # a bias as large as this is itself known only roughly: what is left of it may be as much again
        half = np.maximum(half, np.abs(np.arctanh(value) - np.arctanh(centre)))
        ends = np.tanh(np.arctanh(centre) - half), np.tanh(np.arctanh(centre) + half)
        ends = np.minimum(ends[0], value), np.maximum(ends[1], value)  # to the last digit
    known = (np.abs(centre) < 1 - _CERTAIN) & (np.abs(value) < 1 - _CERTAIN) & np.isfinite(error)
    return np.where(known, ends[0], np.nan), np.where(known, ends[1], np.nan)
