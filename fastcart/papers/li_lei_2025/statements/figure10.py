"""What the text says of Figure 10: averaged doses and proportions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.comparison import RANGE_STEP
from fastcart.papers.li_lei_2025.statements import (
    FAILS,
    HOLDS,
    IN_PART,
    Finding,
    Statement,
    by_parts,
    by_range,
    combined,
)

_KEPT = 0.9  # part of the PFS of the single doses that counts as kept
_MOST = 0.95  # part of the burdens


@dataclass(frozen=True)
class Simplified:
    """Numbers of Figure 10 under one solution.

    Parameters
    ----------
    single, averaged : ndarray, shape (burdens,)
        PFS (days) of the published protocol, and with the averages of its bins.
    random : ndarray, shape (burdens, draws)
        PFS (days) with random proportions.
    bins : mapping of str to DataFrame
        By protocol: ``share_<subtype>`` of each bin. These are judged.
    """

    single: np.ndarray
    averaged: np.ndarray
    random: np.ndarray
    bins: Mapping[str, pd.DataFrame]


def averaged_range(found: Simplified) -> Finding:
    """Judge whether PFS with averaged doses ranges from 70 to 100 days."""
    low, high = found.averaged.min(), found.averaged.max()
    return Finding(
        by_range(low, high, paper.AVERAGED_PFS_RANGE, RANGE_STEP / 2), f"{low:.1f} to {high:.1f} d"
    )


def effective(found: Simplified) -> Finding:
    """Judge whether averaged doses keep the PFS of the single ones."""
    kept = found.averaged >= _KEPT * found.single
    responds = bool((found.averaged > paper.RESPONSE_DAYS).all())
    text = (
        f"{'all' if responds else 'not all'} respond; {kept.mean():.1%} of the burdens keep {_KEPT:.0%} of "
        f"their PFS, mean change {np.mean(found.averaged - found.single):+.1f} d"
    )
    if not responds:
        return Finding(IN_PART if kept.mean() > 0.5 else FAILS, text)
    return Finding(HOLDS if kept.mean() >= _MOST else IN_PART, text)


def proportions(found: Simplified) -> Finding:
    """Judge whether the proportions of all bins lie in the stated ranges, to the two digits printed."""
    verdicts, texts = [], []
    for label, bins in found.bins.items():
        inside = {}
        for name, (low, high) in paper.PROPORTION_RANGES.items():
            shares = [paper.round_digits(float(share), 2) for share in bins[f"share_{name}"]]
            inside[name] = sum(low <= share <= high for share in shares)
        good = [name for name, number in inside.items() if number == len(bins)]
        verdicts.append(by_parts(name in good for name in inside))
        rest = ", ".join(f"{name} in {inside[name]} of {len(bins)}" for name in inside if name not in good)
        texts.append(
            f"{label}: all bins in the ranges of {len(good)} of {len(inside)} subtypes"
            + (f"; {rest}" * bool(rest))
        )
    return Finding(combined(*verdicts), "; ".join(texts))


def random_range(found: Simplified) -> Finding:
    """Judge whether PFS with random proportions ranges from 65 to 100 days."""
    low, high = found.random.min(), found.random.max()
    return Finding(by_range(low, high, paper.RANDOM_PFS_RANGE, RANGE_STEP / 2), f"{low:.1f} to {high:.1f} d")


def robust(found: Simplified) -> Finding:
    """Judge whether random proportions keep the PFS of the single doses."""
    kept = found.random >= _KEPT * found.single[:, None]
    responds = bool((found.random > paper.RESPONSE_DAYS).all())
    text = (
        f"{'all' if responds else 'not all'} respond; {kept.mean():.0%} of the draws keep {_KEPT:.0%} of "
        "the PFS of the published protocol, mean change "
        f"{np.mean(found.random - found.single[:, None]):+.1f} d"
    )
    if not responds:
        return Finding(FAILS, text)
    return Finding(HOLDS if kept.mean() >= _MOST else IN_PART, text)


OUTCOMES = (
    Statement(
        "10.1",
        "text on 10(a)",
        "averaged doses maintain a PFS of approximately 70 to 100 days",
        averaged_range,
        "both ends within 2.5 d",
    ),
    Statement(
        "10.2",
        "text on 10(a)",
        "even a streamlined dosing strategy can effectively suppress tumors",
        effective,
        f"{_KEPT:.0%} of the PFS of the single doses for {_MOST:.0%} of the burdens",
    ),
    Statement(
        "10.4",
        "text on 10(c)",
        "with random proportions PFS remained between 65 and 100 days",
        random_range,
        "both ends within 2.5 d; erratum 13: the text points to Figure 8(c)",
    ),
    Statement(
        "10.5",
        "text on 10(c)",
        "demonstrating the robustness of proportional dosing",
        robust,
        f"robust: {_KEPT:.0%} of the PFS for {_MOST:.0%} of the draws",
    ),
)
PROPORTIONS = (
    Statement(
        "10.3",
        "text on 10(b)",
        "the optimal proportions lie in the stated ranges",
        proportions,
        "published: a draw as the published one; accurate: optima",
    ),
)
