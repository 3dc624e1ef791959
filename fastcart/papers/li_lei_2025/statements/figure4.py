"""What the text says of Figure 4, the coarse-grained model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastcart.models import get
from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.comparison import format_number
from fastcart.papers.li_lei_2025.statements import (
    FAILS,
    HOLDS,
    IN_PART,
    Finding,
    Statement,
    by_parts,
    day_of_least,
    day_of_most,
)

_SETTLED = 0.95  # part of the equilibrium that counts as having reached it
_EQUILIBRIUM_DAYS = 30.0
_REBOUND_DAY = 50.0
_LOW_DOSE, _HIGH_DOSE = 5e6, 9e6  # effector cells: little response up to the one, response from the other on


@dataclass(frozen=True)
class Coarse:
    """Numbers of Figure 4 under one solution.

    Parameters
    ----------
    untreated : Series
        Tumor (cells) by day, without CAR-T cells.
    default : DataFrame
        C, TE, TM (cells) by day, to day 200.
    pfs : Series
        PFS (days) by dose of effector cells, with 1e3 memory cells.
    memory : DataFrame
        By dose of memory cells: pfs, t_nadir (days), and at day 40 C, TE, TM, C_free (cells) and
        killing_TE (1/day).
    threshold : float
        Dose of effector cells (cells) at which PFS rises most steeply.
    """

    untreated: Any
    default: Any
    pfs: Any
    memory: Any
    threshold: float


def equilibrium(tumor: Any) -> Finding:
    """Judge whether an untreated tumor settles at the stated size, within the stated time."""
    end = float(tumor.iloc[-1])
    day = float(tumor.index[tumor >= _SETTLED * end][0])
    good = paper.SETTLES.agrees(end), day <= _EQUILIBRIUM_DAYS
    text = f"settles at {format_number(end, 3)} cells; {_SETTLED:.0%} of it by day {day:g}"
    return Finding(by_parts(good), text)


def reduction(found: Coarse) -> Finding:
    """Judge whether the tumor is reduced by a factor of more than ten."""
    tumor = found.default["C"]
    text = (
        f"from {format_number(tumor.iloc[0], 3)} to {format_number(tumor.min(), 2)} cells "
        f"(day {day_of_least(tumor):g})"
    )
    return Finding(HOLDS if tumor.min() < 0.1 * tumor.iloc[0] else FAILS, text)


def rebound(found: Coarse) -> Finding:
    """Judge whether the tumor has risen from its nadir by day 50, and returns to its start."""
    tumor = found.default["C"]
    nadir = day_of_least(tumor)
    risen = nadir < _REBOUND_DAY and tumor[_REBOUND_DAY] > 10 * tumor.min()
    back = tumor.index[(tumor.index > nadir) & (tumor > tumor.iloc[0])]
    text = (
        f"nadir on day {nadir:g}; {format_number(tumor[_REBOUND_DAY], 3)} cells on day {_REBOUND_DAY:g}"
        + (f", above the start from day {back[0]:g} on" if len(back) else ", never above the start again")
    )  # fmt: skip
    return Finding(by_parts([risen, len(back)]), text)


def differentiation(found: Coarse) -> Finding:
    """Judge whether effector cells decline while memory cells increase."""
    effector, memory = found.default["TE"], found.default["TM"]
    good = (effector.diff().dropna() < 0).all(), memory.max() > 1.1 * memory.iloc[0]
    text = (
        f"effector from {format_number(effector.iloc[0], 3)} to {format_number(effector[_REBOUND_DAY], 3)} "
        f"on day {_REBOUND_DAY:g}, memory from {format_number(memory.iloc[0], 3)} to "
        f"{format_number(memory.max(), 3)} (day {day_of_most(memory):g})"
    )
    return Finding(by_parts(good), text)


def late_memory(found: Coarse) -> Finding:
    """Judge whether memory cells decrease after day 50, to below their dose."""
    memory = found.default["TM"]
    late = memory[memory.index >= _REBOUND_DAY]
    good = (late.diff().dropna() < 0).all(), late.iloc[-1] < memory.iloc[0]
    text = ", ".join(f"{format_number(late[day], 3)} on day {day:g}" for day in (50.0, 100.0, 200.0))
    return Finding(by_parts(good), f"{text}; dose {format_number(memory.iloc[0], 3)}")


def by_effector_dose(found: Coarse) -> Finding:
    """Judge whether low doses of effector cells give a short PFS, and high ones a long one."""
    low, high = found.pfs[found.pfs.index <= _LOW_DOSE], found.pfs[found.pfs.index >= _HIGH_DOSE]
    good = low.max() < 5, high.min() > 30
    text = (
        f"PFS at most {low.max():.1f} d up to {format_number(_LOW_DOSE)} cells, {high.min():.1f} d and more "
        f"from {format_number(_HIGH_DOSE)} on"
    )
    return Finding(by_parts(good), text)


def threshold(stated: paper.Published) -> Any:
    """Return a judge of a stated threshold of the effector dose."""

    def judge(found: Coarse) -> Finding:
        text = f"PFS rises most steeply at {format_number(found.threshold, 3)} cells"
        if not stated.agrees(found.threshold):
            text += f", {found.threshold / stated.value:.1f} times what is stated"
        return Finding(HOLDS if stated.agrees(found.threshold) else FAILS, text)

    return judge


def memory_shortens(found: Coarse) -> Finding:
    """Judge whether PFS falls with the dose of memory cells."""
    pfs = found.memory["pfs"]
    falls = pfs.diff().dropna() < 0
    text = (
        f"{pfs.iloc[0]:.1f} d at {format_number(pfs.index[0])} to {pfs.iloc[-1]:.1f} d at "
        f"{format_number(pfs.index[-1])} memory cells"
    )
    return Finding(by_parts(falls), text)


def before_recurrence(found: Coarse) -> Finding:
    """Judge whether tumors on day 40 differ by dose, and have not yet come back."""
    tumor, nadir = found.memory["C"], found.memory["t_nadir"]
    p = get("li_lei_coarse").default_parameters()
    rate = p["lambda_C"] - p["d_C"] - found.memory["killing_TE"]
    back = int((found.memory["pfs"] <= 40).sum())
    text = (
        f"{format_number(tumor.iloc[0], 2)} to {format_number(tumor.iloc[-1], 2)} cells; nadirs on days "
        f"{nadir.min():.0f} to {nadir.max():.0f}, on day 40 they grow by {rate.min():.1f} to "
        f"{rate.max():.1f} per day, {back} of {len(nadir)} above the start again"
    )
    if tumor.max() <= 10 * tumor.min():
        return Finding(FAILS, text)
    return Finding(IN_PART if back else HOLDS, text)


def killing_falls(found: Coarse) -> Finding:
    """Judge whether the killing rate on day 40 falls with the dose of memory cells."""
    rate = found.memory["killing_TE"]
    falls = rate.diff().dropna() < 0
    text = f"{rate.iloc[0]:.2f} to {rate.iloc[-1]:.2f} per day"
    return Finding(by_parts(falls), text)


def competition(found: Coarse) -> Finding:
    """Judge how much of the fall in killing is due to memory cells that bind tumor cells."""
    p = get("li_lei_coarse").default_parameters()

    def killing(row: Any, memory: Any) -> float:
        bound = p["K_1"] * row["TE"] / (1 + p["K_1"] * row["C_free"])
        rival = p["K_2"] * memory["TM"] / (1 + p["K_2"] * memory["C_free"])
        return float(p["k_TE"] * bound / (1 + bound + rival + p["K_1"] * row["C"]))

    first, last = found.memory.iloc[0], found.memory.iloc[-1]
    whole = killing(first, first) - killing(last, last)
    part = killing(first, first) - killing(first, last)
    share = part / whole if whole > 0 else np.nan
    text = f"the memory cells alone explain {share:.0%} of the fall, more tumor cells the rest"
    return Finding(HOLDS if share >= 0.5 else IN_PART if share > 0.1 else FAILS, text)


STATEMENTS = (
    Statement(
        "4.1",
        "text on 4(a)",
        "without therapy a stable equilibrium of about 1.2e10 cells within 30 days",
        lambda found: equilibrium(found.untreated),
        "erratum 3: the published file was made with other parameters",
    ),
    Statement("4.2", "text on 4(b)", "CAR-T cells significantly reduced the tumor burden", reduction),
    Statement(
        "4.3",
        "text on 4(b)",
        "tumor cells rebounded rapidly by day 50",
        rebound,
        "rebounded: ten times the nadir or more",
    ),
    Statement(
        "4.4", "text on 4(b)", "effector cells declined, while memory cells increased", differentiation
    ),
    Statement(
        "4.5",
        "text on 4(b)",
        "later memory cells decreased and remained at a low level",
        late_memory,
        "low: below the dose",
    ),
    Statement(
        "4.6",
        "text on 4(c)",
        "minimal response at low doses of effector cells, elimination at higher ones",
        by_effector_dose,
    ),
    Statement(
        "4.7",
        "text on 4(c)",
        "a marked reduction above 0.9e7 effector cells: a critical threshold",
        threshold(paper.THRESHOLD_TUMOR),
    ),
    Statement(
        "4.8",
        "text on 4(f)",
        "PFS rises sharply when effector cells exceed about 0.9e6",
        threshold(paper.THRESHOLD_SECTION),
        "erratum 4: read 0.9e7, as in the text on 4(c)",
    ),
    Statement(
        "4.9",
        "caption of 4(f)",
        "a threshold around 0.85e6",
        threshold(paper.THRESHOLD_CAPTION),
        "erratum 4: a factor of ten",
    ),
    Statement(
        "4.10",
        "text on 4(d)",
        "more memory cells did not enhance suppression, but noticeably reduced PFS",
        memory_shortens,
    ),
    Statement(
        "4.11",
        "text on 4(d)",
        "on day 40, before the rapid phase of recurrence, tumors differ markedly",
        before_recurrence,
        "before: none is above its start yet",
    ),
    Statement(
        "4.12",
        "text on 4(e)",
        "the killing rate at day 40 decreases with the number of memory cells",
        killing_falls,
    ),
    Statement(
        "4.13",
        "text on 4(e)",
        "because memory and effector cells compete for binding to tumor cells",
        competition,
        "share of the fall that stays when only the memory cells change; half or more holds",
    ),
)
