"""Harrell's concordance, and Somers' D = 2 C - 1: a rank correlation that takes censored survival as such.

References
----------
Harrell et al., Stat. Med. 15 (1996) 361; Somers, Am. Sociol. Rev. 27 (1962) 799.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np

from fastcart.sensitivity_analysis.methods.base import Found
from fastcart.sensitivity_analysis.methods.correlation import Correlation, group_sizes, starts


class Concordance(Correlation):
    """Harrell's concordance of each input with each time, and Somers' D."""

    name = "concordance"
    indices: ClassVar = {"somers_d": "Somers' $D$", "concordance": "Concordance"}
    main = "somers_d"
    censoring = True
    most_rows = 10_000  # patients are compared pair by pair

    def correlate(
        self, x: np.ndarray, y: np.ndarray, events: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        return _somers(x, y, np.ones(y.shape, bool) if events is None else events)

    def named(self, value: np.ndarray, low: np.ndarray, high: np.ndarray) -> Found:
        return {
            "somers_d": (value, low, high),
            "concordance": ((1 + value) / 2, (1 + low) / 2, (1 + high) / 2),
        }


METHOD = Concordance()


def _somers(x: np.ndarray, y: np.ndarray, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Somers' D (k, m) by Harrell's pairs, and that without each group (groups, k, m)."""
    n, k = x.shape
    group = np.repeat(np.arange(len(starts(n))), group_sizes(n))
    order = np.stack([np.unique(column, return_inverse=True)[1].ravel() for column in x.T], axis=1)
    value = np.empty((k, y.shape[1]))
    parts = np.empty((int(group[-1]) + 1, k, y.shape[1]))
    for j in range(y.shape[1]):
        one, pairs = _pair_counter()(np.ascontiguousarray(order), y[:, j].copy(), events[:, j].copy(), group)
        inside = np.arange(len(pairs))
        own = pairs.sum(axis=0) + pairs.sum(axis=1) - pairs[inside, inside]
        agree = one.sum(axis=0) + one.sum(axis=1) - one[inside, inside]
        total, sums = pairs.sum(), one.sum(axis=(0, 1))
        value[:, j] = sums / total if total else np.nan
        rest = np.where(total - own > 0, total - own, np.nan)
        parts[:, :, j] = (sums - agree) / rest[:, None]
    value[x.std(axis=0) == 0] = np.nan
    return value, parts


@cache
def _pair_counter() -> Any:
    from fastcart.solvers.compile import EXACT, cached

    return cached(_count_pairs, "the pairs of a concordance", **EXACT)  # type: ignore[arg-type]


def _count_pairs(order, time, event, group):
    """Return concordant minus discordant pairs by input, and comparable pairs, between groups of rows.

    A pair is comparable where it is known who had the event first.
    """
    n, k = order.shape
    groups = group[n - 1] + 1
    agree = np.zeros((groups, groups, k))
    pairs = np.zeros((groups, groups))
    for i in range(n):
        if not event[i]:
            continue
        for j in range(n):
            if time[i] < time[j] or (time[i] == time[j] and not event[j]):
                pairs[group[i], group[j]] += 1.0
                for c in range(k):
                    if order[j, c] > order[i, c]:
                        agree[group[i], group[j], c] += 1.0
                    elif order[j, c] < order[i, c]:
                        agree[group[i], group[j], c] -= 1.0
    return agree, pairs
