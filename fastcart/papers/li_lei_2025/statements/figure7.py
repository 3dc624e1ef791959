"""What the text says of Figure 7 and of optimal doses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.comparison import RANGE_STEP, format_number
from fastcart.papers.li_lei_2025.plans import SUBTYPES
from fastcart.papers.li_lei_2025.statements import (
    FAILS,
    HOLDS,
    IN_PART,
    OPEN,
    Finding,
    Statement,
    by_parts,
    by_range,
    combined,
)

_NAMES = {"T4": "CD4+", "TP": "pre-CD8+", "TE": "effector", "TM": "memory"}
_STEEP = 0.15  # how far from 1 the slope of log dose on log burden may be for a dose to be proportional
_TURN = 2.3e6  # cells: the burden above which regulatory cells are constant, by the text
_CONSTANT = 0.25  # coefficient of variation up to which doses are relatively constant


@dataclass(frozen=True)
class Doses:
    """Numbers of Figure 7 under one solution.

    Parameters
    ----------
    doses : mapping of str to DataFrame
        By protocol: C, the subtypes, total (cells). These are judged.
    pfs : DataFrame
        PFS (days) of the three protocols, a column each, by burden.
    protocol : str
        Name of the published protocol in ``pfs``.
    plans : DataFrame
        PFS (days) of the plans of Figure 6, a column each, by burden (cells).
    start : DataFrame
        Doses that were changed, as in ``doses``, for the statement on what was increased.
    """

    doses: Mapping[str, pd.DataFrame]
    pfs: Any
    protocol: str
    plans: Any
    start: pd.DataFrame


def slope(table: pd.DataFrame, name: str) -> float:
    """Return the slope of the logarithm of a dose on that of the burden, to two decimals."""
    exponent = np.polyfit(np.log(table["C"]), np.log(table[name]), 1)[0]
    return round(float(exponent), 2) + 0.0  # no -0.0


def _correlation(table: pd.DataFrame, name: str) -> float:
    if table[name].std() == 0:
        return 0.0
    return float(np.corrcoef(table["C"], table[name])[0, 1])


def proportional(found: Doses) -> Finding:
    """Judge whether the total dose is proportional to the burden."""
    verdicts, texts = [], []
    for label, table in found.doses.items():
        s, r = slope(table, "total"), _correlation(table, "total")
        verdicts.append(HOLDS if abs(s - 1) <= _STEEP and r > 0.9 else IN_PART if r > 0.5 else FAILS)
        texts.append(f"{label}: total grows as C^{s:.2f}, r = {r:.2f}")
    return Finding(combined(*verdicts), "; ".join(texts))


def scaled(found: Doses) -> Finding:
    """Judge whether doses of CD4+, pre-CD8+, effector and memory cells grow with the burden."""
    verdicts, texts = [], []
    for label, table in found.doses.items():
        exponents = {name: slope(table, name) for name in _NAMES}
        good = [exponents[name] > 0.25 and _correlation(table, name) > 0.5 for name in _NAMES]
        verdicts.append(by_parts(good))
        words = ", ".join(
            f"{word} C^{exponents[name]:.2f} (r {_correlation(table, name):.2f})"
            for name, word in _NAMES.items()
        )
        texts.append(f"{label}: {words}")
    return Finding(combined(*verdicts), "; ".join(texts))


def regulatory(found: Doses) -> Finding:
    """Judge whether regulatory doses vary up to 2.3e6 tumor cells, and are relatively constant above."""
    verdicts, texts = [], []
    for label, table in found.doses.items():
        low, high = (table.loc[side, "Tr"] for side in (table["C"] <= _TURN, table["C"] > _TURN))
        spread = float(high.std() / high.mean())
        varies = bool(low.max() > 2 * low.min())
        constant = spread <= _CONSTANT
        verdicts.append(by_parts([varies, constant]))
        texts.append(
            f"{label}: {format_number(low.min(), 3)} to {format_number(low.max(), 3)} cells up to 2.3e6, "
            f"{format_number(high.min(), 3)} to {format_number(high.max(), 3)} above (mean "
            f"{format_number(high.mean(), 3)}, coefficient of variation {spread:.2f})"
        )
    return Finding(combined(*verdicts), "; ".join(texts))


def pfs_range(found: Doses) -> Finding:
    """Judge whether PFS of the published protocol ranges from 70 to 100 days."""
    pfs = found.pfs[found.protocol]
    verdict = by_range(pfs.min(), pfs.max(), paper.OPTIMISED_PFS_RANGE, RANGE_STEP / 2)
    return Finding(verdict, f"{pfs.min():.1f} to {pfs.max():.1f} d")


def outperforms(found: Doses) -> Finding:
    """Judge whether PFS is longer than with most plans of Figure 6, at the same burden."""
    if found.plans.empty:
        return Finding(OPEN, "")
    mine = found.pfs[found.protocol].loc[found.plans.index]
    beaten = found.plans.lt(mine, axis=0).sum(axis=1)
    number = len(found.plans.columns)
    most = beaten > number / 2
    first = beaten.index.min()
    text = (
        f"longer than {beaten[first]} of {number} plans at {format_number(first)} cells, than "
        f"{beaten.min()} to {beaten.max()} at others; than more than half for {most.sum()} of {len(most)} "
        "burdens"
    )
    ahead = [str(plan) for plan in found.plans.columns if (found.plans[plan] >= mine).mean() > 0.5]
    if ahead:
        text += f"; for most burdens no longer than {', '.join(ahead)}"
    return Finding(by_parts(most), text)


def maximal(found: Doses) -> Finding:
    """Judge whether no dose has a longer PFS, in the same box or with no more cells and no more IL-6."""
    gains = {
        str(name): found.pfs[name] - found.pfs[found.protocol]
        for name in found.pfs.columns if name != found.protocol
    }  # fmt: skip
    better = [bool(gain.mean() > 1) for gain in gains.values()]
    text = "; ".join(
        f"{name}: longer by {gain.mean():.1f} d on average ({gain.min():.1f} to {gain.max():.1f})"
        for name, gain in gains.items()
    )
    return Finding(by_parts(not longer for longer in better), text)


def increased(found: Doses) -> Finding:
    """Judge whether the better doses have more CD4+ and more pre-CD8+ cells, by dose or by proportion."""
    verdicts, texts = [], []
    for label, table in found.doses.items():
        good, words = [], []
        for name in ("T4", "TP"):
            dose = float((table[name] / found.start[name]).median())
            share = float(
                (table[name] / table["total"] / (found.start[name] / found.start["total"])).median()
            )
            good.append(max(dose, share) > 1.05)
            cells = format_number(float(table[name].median()), 3)
            words.append(
                f"{_NAMES[name]} {cells} cells: dose × {format_number(dose, 2)}, "
                f"proportion × {format_number(share, 2)}"
            )
        verdicts.append(by_parts(good))
        texts.append(f"{label}: {'; '.join(words)}")
    return Finding(combined(*verdicts), "; ".join(texts))


def with_total(doses: pd.DataFrame) -> pd.DataFrame:
    """Return doses with their total."""
    return doses.assign(total=doses[list(SUBTYPES)].sum(axis=1)).reset_index(drop=True)


_BOX = "the box that the program draws from is proportional to the burden, so any draw from it is"
SCALING = (
    Statement(
        "7.1",
        "text on 7(a)",
        "the total dose increases proportionally with tumor burden",
        proportional,
        f"an exponent within {_STEEP:g} of 1; {_BOX}",
    ),
    Statement(
        "7.2",
        "text on 7(b)-(e)",
        "CD4+, pre-CD8+, effector and memory cells scale with tumor burden",
        scaled,
        _BOX,
    ),
)
REGULATORY = (
    Statement(
        "7.3",
        "text on 7(f)",
        "regulatory cells: nonlinear for small burdens, relatively constant above 2.3e6",
        regulatory,
        f"constant: coefficient of variation of at most {_CONSTANT:g}; the constant is the lower end of "
        "the box",
    ),
)
OUTCOMES = (
    Statement(
        "7.4",
        "text on 7(g)",
        "PFS varied consistently between 70 and 100 days",
        pfs_range,
        "both ends within 2.5 d; the text itself has 101 d in Figure 8",
    ),
    Statement(
        "7.5",
        "text on 7(g)",
        "outperforming most dosing strategies of Figure 6",
        outperforms,
        "plans of Figure 6 solved for the same burdens, the control counted once",
    ),
    Statement(
        "7.6",
        "Discussion",
        "doses that maximize PFS across tumor sizes",
        maximal,
        "errata 6 and 7; maximal: no dose is longer by more than a day on average",
    ),
)
INCREASED = (
    Statement(
        "7.7",
        "Discussion",
        "increasing CD4+ and pre-CD8+ cells while adjusting the others prolongs PFS",
        increased,
        "published: the dose of Figure 8 against the control; accurate: the optimum under limits "
        "against the published protocol",
    ),
)
