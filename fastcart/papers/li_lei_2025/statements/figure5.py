"""What the text says of Figure 5, the full model after the control doses, and of eq. (2.11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastcart.models import get
from fastcart.papers.li_lei_2025.comparison import format_number
from fastcart.papers.li_lei_2025.statements import (
    FAILS,
    HOLDS,
    IN_PART,
    OPEN,
    Finding,
    Statement,
    by_parts,
    day_of_least,
    day_of_most,
)

# of the runs beside the control: see `plans.subtype_variants`
CONTROL, NO_MEMORY_DOSE, MORE_MEMORY, NO_MEMORY, NO_REGULATORY = (
    "control", "no memory cells infused", "ten times the memory cells", "no memory cells at all",
    "no regulatory cells",
)  # fmt: skip
_DEPLETED = 0.01  # part of the dose that counts as nearly depleted
_SHORTLY = 10.0  # days from remission to regrowth that count as shortly
_FOLLOWED = {"Tb": "C", "I2": "T4", "I6": "M"}


@dataclass(frozen=True)
class Control:
    """Numbers of Figure 5 under one solution.

    Parameters
    ----------
    path : DataFrame
        States and cytokines of the control by day.
    variants : DataFrame
        By variant: pfs (days), peak_TE (cells).
    """

    path: Any
    variants: Any


def remission(found: Control) -> Finding:
    """Judge whether the tumor has fallen steadily, to less than a thousandth of its start by day 50."""
    tumor = found.path["C"]
    part = tumor[50.0] / tumor.iloc[0]
    falls = bool((tumor[tumor.index <= 50].diff().dropna() < 0).all())
    text = f"{format_number(tumor[50.0], 3)} cells on day 50, {format_number(part, 2)} of the start"
    return Finding(by_parts([falls, part < 1e-3]), text)


def recurrence(found: Control) -> Finding:
    """Judge whether the tumor grows again shortly after day 50."""
    tumor = found.path["C"]
    nadir = day_of_least(tumor)
    back = tumor.index[(tumor.index > nadir) & (tumor > tumor.iloc[0])]
    if not len(back):
        return Finding(FAILS, f"nadir on day {nadir:g}, never above the start again")
    text = f"nadir on day {nadir:g}, above the start from day {back[0]:g} on"
    return Finding(HOLDS if nadir <= 50 + _SHORTLY else IN_PART, text)


def helpers_depleted(found: Control) -> Finding:
    """Judge whether CD4+ cells fall throughout, to nearly nothing by day 30."""
    cells = found.path["T4"]
    part = cells[30.0] / cells.iloc[0]
    falls = bool((cells.diff().dropna() < 0).all())
    return Finding(by_parts([falls, part < _DEPLETED]), f"{part:.2%} of the dose left on day 30")


def precursors(found: Control) -> Finding:
    """Judge whether pre-CD8+ cells expand, and have fallen sharply by day 15."""
    cells = found.path["TP"]
    peak, part = day_of_most(cells), cells[15.0] / cells.max()
    half = cells.index[(cells.index > peak) & (cells < cells.max() / 2)]
    text = f"peak on day {peak:g}; {part:.0%} of it on day 15" + (
        f", half on day {half[0]:g}" if len(half) else ""
    )
    return Finding(by_parts([0 < peak < 15, 0 < peak < 15 and part < 0.5]), text)


def _dip(course: Any) -> str:
    """Say until when a course that peaks later falls first; empty when it rises at once."""
    before = course[course.index <= day_of_most(course)]
    if day_of_least(before) == before.index[0]:
        return ""
    return f"falls first, to {before.min() / before.iloc[0]:.0%} on day {day_of_least(before):g}; "


def effectors(found: Control) -> Finding:
    """Judge whether effector cells rise from the start, and are low around day 50."""
    cells = found.path["TE"]
    dip, peak = _dip(cells), day_of_most(cells)
    low = bool(cells[50.0] < 0.1 * cells.iloc[0])
    rises = bool(peak > 0)
    text = f"{dip}peak on day {peak:g}; {cells[50.0] / cells.max():.1%} of the peak on day 50"
    return Finding(by_parts([rises and not dip, rises and low]), text)


def memory_course(found: Control) -> Finding:
    """Judge whether memory cells increase to day 30 or so, and decline then."""
    cells = found.path["TM"]
    peak = day_of_most(cells)
    turns = bool(cells.index[0] < peak < cells.index[-1])
    text = f"peak on day {peak:g}; {cells[30.0] / cells.max():.0%} of it on day 30"
    return Finding(by_parts([turns, turns and abs(peak - 30) <= 3]), text)


def regulatory_course(found: Control) -> Finding:
    """Judge whether regulatory cells decline on every day."""
    cells = found.path["Tr"]
    falls = cells.diff().dropna() < 0
    text = f"falls on {int(falls.sum())} of {len(falls)} days, to {format_number(cells.iloc[-1], 2)} cells"
    return Finding(HOLDS if falls.all() else IN_PART if cells.iloc[-1] < cells.iloc[0] else FAILS, text)


def followers(found: Control) -> Finding:
    """Judge whether TGF-β, IL-2 and IL-6 are proportional to tumor, CD4+ cells and macrophages."""
    worst = []
    for cytokine, cells in _FOLLOWED.items():
        kept = found.path[cells] > 0
        ratio = found.path.loc[kept, cytokine] / found.path.loc[kept, cells]
        worst.append(float(ratio.max() / ratio.min() - 1))
    if max(worst) < 0.01:
        text = f"ratios to these cells constant over {len(found.path)} days (quasi-equilibrium)"
    else:
        text = f"ratios to these cells vary by up to {max(worst):.0%}"
    return Finding(by_parts(spread < 0.01 for spread in worst), text)


def interferon(found: Control) -> Finding:
    """Judge whether IFN-γ rises and falls with the effector cells."""
    level, cells = found.path["Ig"], found.path["TE"]
    peak, dip = day_of_most(level), _dip(level)
    together = bool(peak > 0 and abs(peak - day_of_most(cells)) <= 1)
    text = f"{dip}peak on day {peak:g}, that of effector cells on day {day_of_most(cells):g}"
    return Finding(by_parts([together, together and not dip]), text)


def inhibition(found: Control) -> Finding:
    """Judge how far production of IFN-γ, from its own level, is below that without any inhibition."""
    p, path = get("li_lei").default_parameters(), found.path
    produced = p["lambda_Ig_TE"] * path["TE"] + p["lambda_Ig_T4"] * path["T4"]
    # 2 is the bracket of eq. (2.11) without inhibitors
    part = path["Ig"] * p["d_Ig"] / (2 * produced)
    saturated = path["Tb"] > 100 * p["K_Tb"]
    if not saturated.any():
        return Finding(OPEN, "TGF-β never saturates here")
    left = part[saturated]
    text = (
        f"with TGF-β far above K_Tβ {left.min():.0%} to {left.max():.0%} of the production is left, "
        f"without TGF-β up to {part.max():.0%}"
    )
    return Finding(FAILS if left.max() > 0.95 else HOLDS if left.max() < 0.1 else IN_PART, text)


def memory_critical(found: Control) -> Finding:
    """Judge whether PFS is longer with more memory cells."""
    pfs = found.variants["pfs"]
    longer = bool(pfs[MORE_MEMORY] > pfs[CONTROL] > pfs[NO_MEMORY_DOSE]), bool(pfs[CONTROL] > pfs[NO_MEMORY])
    text = (
        f"PFS {pfs[NO_MEMORY_DOSE]:.1f}, {pfs[CONTROL]:.1f}, {pfs[MORE_MEMORY]:.1f} d with 0, 1e3, 1e4 "
        f"memory cells infused; {pfs[NO_MEMORY]:.1f} d when none arise either"
    )
    return Finding(by_parts(longer), text)


def recall(found: Control) -> Finding:
    """Judge whether memory cells replace the effector cells that are lost, once the tumor is back."""
    p, path = get("li_lei").default_parameters(), found.path
    tumor = path["C"]
    back = path[(path.index > day_of_least(tumor)) & (tumor > tumor.iloc[0])]
    if back.empty:
        return Finding(OPEN, "the tumor does not come back")
    row = back.iloc[0]
    gained, lost = p["lambda_TME"] * row["TM"], (p["d_TE"] + p["lambda_TEM"]) * row["TE"]
    text = (
        f"day {back.index[0]:g}: at most {format_number(gained, 2)} effector cells a day from "
        f"{format_number(row['TM'], 3)} memory cells, {format_number(lost, 2)} a day lost"
    )
    return Finding(HOLDS if gained > 0.5 * lost else IN_PART if gained > 0.05 * lost else FAILS, text)


def restraint(found: Control) -> Finding:
    """Judge whether there are more effector cells at the peak without regulatory cells."""
    peak = found.variants["peak_TE"]
    more = peak[NO_REGULATORY] / peak[CONTROL]
    text = (
        f"without regulatory cells the peak of effector cells is {more:.2f} times as high, PFS "
        f"{found.variants['pfs'][NO_REGULATORY]:.1f} d instead of {found.variants['pfs'][CONTROL]:.1f}"
    )
    return Finding(HOLDS if more > 1.1 else IN_PART if more > 1 else FAILS, text)


STATEMENTS = (
    Statement(
        "5.1",
        "text on 5(a)",
        "tumor cells declined rapidly, reaching remission by day 50",
        remission,
        "remission: less than a thousandth of the start",
    ),
    Statement(
        "5.2",
        "text on 5(a)",
        "recurrence shortly thereafter",
        recurrence,
        f"shortly: it grows again within {_SHORTLY:g} days",
    ),
    Statement(
        "5.3",
        "text on 5(b)",
        "CD4+ cells steadily declined, nearly depleted by day 30",
        helpers_depleted,
        f"nearly depleted: below {_DEPLETED:.0%} of the dose",
    ),
    Statement(
        "5.4",
        "text on 5(c)",
        "pre-CD8+ cells expanded, but underwent a sharp decline by day 15",
        precursors,
        "sharp decline: half of the peak gone",
    ),
    Statement(
        "5.5",
        "text on 5(d)",
        "effector cells rise in the early phase, low levels around day 50",
        effectors,
        "low: below a tenth of the dose",
    ),
    Statement(
        "5.6",
        "text on 5(e)",
        "memory cells increased during the first 30 days, then began to decline",
        memory_course,
        "the peak within 3 days of day 30",
    ),
    Statement("5.7", "text on 5(f)", "regulatory cells declined continuously", regulatory_course),
    Statement(
        "5.8", "text on 5(g)", "TGF-β, IL-2 and IL-6 follow tumor, CD4+ cells and macrophages", followers
    ),
    Statement(
        "5.9", "text on 5(g)", "IFN-γ increases with effector cells, then declines with them", interferon
    ),
    Statement(
        "5.10",
        "eq. (2.11)",
        "secretion of IFN-γ is inhibited by regulatory cells and TGF-β",
        inhibition,
        "erratum 11: a sum of two factors",
    ),
    Statement(
        "5.11",
        "text after 5",
        "memory cells have a critical role in sustaining long-term immunity",
        memory_critical,
        "with more memory cells PFS should be longer",
    ),
    Statement(
        "5.12",
        "text after 5",
        "upon recurrence memory cells renew the effector cells",
        recall,
        "λ_TME T_M, the most that eq. (2.3) allows, against the loss of effector cells",
    ),
    Statement("5.13", "text after 5", "regulatory cells prevent excessive immune activation", restraint),
)
