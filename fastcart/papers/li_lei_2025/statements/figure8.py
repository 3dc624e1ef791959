"""What the text says of Figures 8 and 9: the published optimised dose beside the control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.models import get
from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.comparison import format_number
from fastcart.papers.li_lei_2025.statements import (
    FAILS,
    HOLDS,
    Finding,
    Statement,
    by_parts,
)

_CYTOKINES = {"I2": "IL-2", "I6": "IL-6", "Ig": "IFN-γ"}
_CELLS = {"T4": "CD4+", "TP": "pre-CD8+", "TE": "effector", "TM": "memory", "Tr": "regulatory"}
_CLOSE = 2.0  # days: as far as the published scheme is off for most doses
_MARKEDLY = 10.0


@dataclass(frozen=True)
class Pair:
    """The control and the published dose under one solution.

    Parameters
    ----------
    control, dose : DataFrame
        States, cytokines, C_free and killing rates by day.
    pfs : tuple of float
        Of both (days).
    """

    control: pd.DataFrame
    dose: pd.DataFrame
    pfs: tuple[float, float]


def extended(found: Pair) -> Finding:
    """Judge whether PFS is extended from 76 to 101 days."""
    stated = paper.CONTROL_PFS.value, paper.OPTIMISED_PFS.value
    close = [abs(pfs - value) <= _CLOSE for pfs, value in zip(found.pfs, stated, strict=True)]
    longer = found.pfs[1] > found.pfs[0]
    verdict = by_parts([*close, longer]) if longer else FAILS
    return Finding(verdict, f"from {found.pfs[0]:.1f} to {found.pfs[1]:.1f} d")


def lower(names: Any) -> Any:
    """Return a judge of whether quantities are lower after the dose than after the control.

    Lower is what has a lower peak, a lower mean until the control progresses, and is lower on most days
    until then.
    """

    def judge(found: Pair) -> Finding:
        until = found.control.index <= found.pfs[0]
        good, texts = [], []
        for name, word in names.items():
            control, dose = found.control.loc[until, name], found.dose.loc[until, name]
            peak, mean = dose.max() / control.max(), dose.mean() / control.mean()
            days = float((dose < control).mean())
            good.append(bool(peak < 1 and mean < 1 and days > 0.5))
            text = f"{word} peak × {format_number(peak, 2)}, mean × {format_number(mean, 2)}"
            if days < 1:
                text += f", lower on {days:.0%} of the days"
            texts.append(text)
        return Finding(by_parts(good), "; ".join(texts))

    return judge


def growth() -> float:
    """Return the net growth rate of a small tumor (1/day)."""
    p = get("li_lei").default_parameters()
    return p["lambda_C"] - p["d_C"]


def last_day(days: Any, killing: Any) -> float:
    """Return the last day on which effector cells kill faster than the tumor grows; 0 for none."""
    enough = np.asarray(killing) > growth()
    return float(np.asarray(days)[enough].max()) if enough.any() else 0.0


def killing_by_effectors(path: pd.DataFrame, memory: pd.DataFrame, regulatory: pd.DataFrame) -> np.ndarray:
    """Return the killing rate of eq. (3.4), with memory and regulatory cells of other courses (1/day)."""
    p = get("li_lei").default_parameters()
    free = path["C_free"].to_numpy()
    effector = path["TE"].to_numpy()
    D = (
        1
        + p["K_1"] * effector / (1 + p["K_1"] * free)
        + p["K_2"] * memory["TM"].to_numpy() / (1 + p["K_2"] * free)
        + p["K_3"] * path["T4"].to_numpy() / (1 + p["K_3"] * free)
        + p["K_1"] * path["C"].to_numpy()
    )
    return p["k_TE"] * p["K_1"] * effector / D / (1 + regulatory["Tr"].to_numpy() / p["K_Tr"])


def mainly_effectors(found: Pair) -> Finding:
    """Judge whether killing by effector cells is far above that by CD4+ cells, after both doses."""
    ratio = [path["killing_TE"].max() / path["killing_T4"].max() for path in (found.control, found.dose)]
    text = (
        f"highest rates: {format_number(ratio[0], 2)} times (control), {format_number(ratio[1], 2)} times "
        "(dose)"
    )
    return Finding(by_parts(r > _MARKEDLY for r in ratio), text)


def sustained(found: Pair) -> Finding:
    """Judge whether effector cells kill faster than the tumor grows for longer after the dose."""
    days = [last_day(path.index, path["killing_TE"]) for path in (found.control, found.dose)]
    text = f"above λ_C - d_C until day {days[1]:g}, after the control until day {days[0]:g}"
    return Finding(HOLDS if days[1] > days[0] else FAILS, text)


def suppression(found: Pair) -> Finding:
    """Judge whether killing is lower with memory and with regulatory cells than without them."""
    path = found.control
    none = path.assign(TM=0.0, Tr=0.0)
    day = last_day(path.index, path["killing_TE"])
    at = int(np.flatnonzero(path.index == day)[0])
    full = killing_by_effectors(path, path, path)[at]
    gains = [
        killing_by_effectors(path, none, path)[at] / full - 1,
        killing_by_effectors(path, path, none)[at] / full - 1,
    ]
    text = (
        f"control, day {day:g}: killing {gains[0]:+.1%} without memory, {gains[1]:+.1%} without regulatory "
        "cells"
    )
    return Finding(by_parts(gain > 0 for gain in gains), text)


def by_both(found: Pair) -> Finding:
    """Judge whether fewer memory and fewer regulatory cells each explain a part of the longer killing."""
    path, dose = found.control, found.dose
    start, end = (last_day(p.index, p["killing_TE"]) for p in (path, dose))
    memory = last_day(path.index, killing_by_effectors(path, dose, path)) - start
    regulatory = last_day(path.index, killing_by_effectors(path, path, dose)) - start
    text = (
        f"killing lasts {end - start:g} d longer; the control's with the memory cells of the dose "
        f"{memory:g} d, with its regulatory cells {regulatory:g} d longer"
    )
    good = [bool(gain >= 0.1 * (end - start) and gain > 0) for gain in (memory, regulatory)]
    return Finding(by_parts(good) if end > start else FAILS, text)


STATEMENTS_8 = (
    Statement(
        "8.1",
        "text on 8",
        "PFS was extended from 76 to 101 days",
        extended,
        f"within {_CLOSE:g} d, the error of the published scheme",
    ),
    Statement(
        "8.2",
        "text on 8",
        "overall lower levels of CAR-T cells",
        lower(dict(_CELLS)),
        "lower: at the peak, on average, and on most days until the control progresses; the doses "
        "themselves are lower",
    ),
    Statement(
        "8.3", "text on 8", "IL-2, IL-6 and IFN-γ are also reduced", lower(dict(_CYTOKINES)), "as for 8.2"
    ),
)
STATEMENTS_9 = (
    Statement(
        "9.1",
        "text on 9",
        "killing by effector cells is markedly higher than by CD4+ cells",
        mainly_effectors,
        f"markedly: {_MARKEDLY:g} times",
    ),
    Statement("9.2", "text on 9", "and is more sustained under the optimised dose", sustained),
    Statement("9.3", "text on 9", "memory and regulatory cells tend to suppress killing", suppression),
    Statement(
        "9.4",
        "text on 9",
        "the optimised dose has lower levels of memory and regulatory cells",
        lower({name: _CELLS[name] for name in ("TM", "Tr")}),
        "as for 8.2",
    ),
    Statement(
        "9.5",
        "text on 9",
        "it prolongs killing by minimizing the influence of memory and regulatory cells",
        by_both,
        "each: a tenth of the prolongation or more",
    ),
)
