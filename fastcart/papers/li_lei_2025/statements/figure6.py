"""What the text says of Figure 6, the treatment plans; plans have the numbers of its table (g)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.comparison import format_number
from fastcart.papers.li_lei_2025.plans import MORE_OF_BOTH
from fastcart.papers.li_lei_2025.statements import (
    FAILS,
    HOLDS,
    IN_PART,
    OPEN,
    Finding,
    Statement,
    by_parts,
)

MARGINAL = 0.1  # part of the control's PFS up to which a change counts as marginal
_NAMES = {"T4": "CD4+", "TP": "pre-CD8+", "TE": "effector", "TM": "memory", "Tr": "regulatory"}


@dataclass(frozen=True)
class Plans:
    """Numbers of Figure 6 under one solution.

    Parameters
    ----------
    pfs : Series
        PFS (days) by plan, and of `MORE_OF_BOTH`.
    doses : DataFrame
        Doses (cells) by plan.
    scan : Series
        PFS (days) by total dose (cells), proportions of the control; empty where it is not known.
    peaks : DataFrame
        By plan: highest TP, TE (cells), I2, I6 (ng/ml), and TE at day 50 as ``late_TE``; likewise.
    """

    pfs: Any
    doses: Any
    scan: Any
    peaks: Any


def _against(found: Plans, plan: str, control: str = "A1") -> str:
    apart = found.pfs[plan] - found.pfs[control]
    return f"{plan} {found.pfs[plan]:.1f} d ({apart:+.1f} d, {apart / found.pfs[control]:+.0%})"


def helpers(found: Plans) -> Finding:
    """Judge whether PFS is clearly longer with five times the CD4+ cells."""
    gain = found.pfs["A2"] / found.pfs["A1"] - 1
    return Finding(HOLDS if gain > MARGINAL else IN_PART if gain > 0 else FAILS, _against(found, "A2"))


def marginal(found: Plans) -> Finding:
    """Judge whether plans A3 to A5 change PFS by a tenth or less."""
    plans = ("A3", "A4", "A5")
    small = [abs(found.pfs[plan] / found.pfs["A1"] - 1) <= MARGINAL for plan in plans]
    return Finding(by_parts(small), "; ".join(_against(found, plan) for plan in plans))


def suppressed(found: Plans) -> Finding:
    """Judge whether there is no response with five times the regulatory cells."""
    pfs = found.pfs["A6"]
    return Finding(HOLDS if pfs <= paper.RESPONSE_DAYS else FAILS, f"A6 {pfs:.1f} d")


def onset(scan: Any) -> tuple[float, float]:
    """Return the largest total dose without a response below the smallest with one (cells)."""
    responds = scan > paper.RESPONSE_DAYS
    first = float(scan.index[responds][0])
    below = scan.index[scan.index < first]
    return (float(below[-1]) if len(below) else 0.0), first


def threshold(found: Plans) -> Finding:
    """Judge whether therapy is effective only with more than the stated total dose."""
    stated = paper.PLAN_B_INEFFECTIVE_TOTAL.value
    pfs = found.scan
    if not (pfs > paper.RESPONSE_DAYS).any():
        return Finding(FAILS, "no response at any total dose")
    low, high = onset(pfs)
    text = (
        f"response from a total between {format_number(low)} and {format_number(high)} cells on; at "
        f"{format_number(stated)} cells {pfs[stated]:.1f} d"
    )
    if low == 0:
        return Finding(FAILS, text)
    return Finding(HOLDS if low >= stated else IN_PART, text)


def diminishing(found: Plans) -> Finding:
    """Judge whether PFS is shorter at higher totals than the stated one, among the plans."""
    stated = paper.PLAN_B_BEST_TOTAL.value
    plans = found.doses[found.doses.index.str.startswith("B")]
    total = plans.sum(axis=1)
    best = str((total - stated).abs().idxmin())
    more = [plan for plan in plans.index if total[plan] > total[best]]
    shorter = [found.pfs[plan] < found.pfs[best] for plan in more]
    text = f"{best} {found.pfs[best]:.1f} d, then " + ", ".join(f"{p} {found.pfs[p]:.1f} d" for p in more)
    if len(found.scan):
        at = format_number(float(found.scan.idxmax()))
        text += f"; longest of a finer scan {found.scan.max():.1f} d at {at} cells"
    return Finding(by_parts(shorter), text)


def _changes(doses: Any, plan: str, control: str) -> str:
    """Say what a plan has more and fewer of than the control."""
    words = []
    for word, sign in (("more", 1), ("fewer", -1)):
        names = [
            _NAMES[name] for name in _NAMES
            if name != "Tr" and sign * (doses.loc[plan, name] / doses.loc[control, name] - 1) > 0.01
        ]  # fmt: skip
        words += [f"{word} {' and '.join(names)}"] if names else []
    return ", ".join(words)


def effector_rich(found: Plans) -> Finding:
    """Judge whether PFS is longer with each of the plans C that have more effector cells."""
    doses, pfs = found.doses, found.pfs
    plans = [plan for plan in doses.index if plan.startswith("C") and plan != "C7"]
    rich = [plan for plan in plans if doses.loc[plan, "TE"] > 1.01 * doses.loc["C7", "TE"]]
    longer = sorted((plan for plan in plans if pfs[plan] > pfs["C7"]), key=lambda plan: -pfs[plan])
    rest = [plan for plan in rich if plan not in longer]
    text = f"control {pfs['C7']:.1f} d; longer: " + (
        "; ".join(f"{plan} {pfs[plan]:.1f} d ({_changes(doses, plan, 'C7')})" for plan in longer) or "none"
    )
    if rest:
        text += "; not longer: " + "; ".join(
            f"{plan} {pfs[plan]:.1f} d ({_changes(doses, plan, 'C7')})" for plan in rest
        )
    return Finding(by_parts(plan in longer for plan in rich), text)


def increases_both(found: Plans) -> Finding:
    """Judge whether plans C3 and C6 have more CD4+ and more pre-CD8+ cells than the control."""
    doses = found.doses
    ratio = {plan: doses.loc[plan] / doses.loc["C7"] for plan in ("C3", "C6")}
    good = [bool(r["T4"] > 1 and r["TP"] > 1) for r in ratio.values()]
    text = "; ".join(f"{plan}: CD4+ × {r['T4']:.2g}, pre-CD8+ × {r['TP']:.2g}" for plan, r in ratio.items())
    return Finding(by_parts(good), text)


def _peaks(found: Plans, plan: str, *names: str) -> Any:
    if found.peaks.empty:
        return None
    return found.peaks.loc[plan, list(names)] / found.peaks.loc["A1", list(names)]


def cytokines(found: Plans) -> Finding:
    """Judge whether five times the CD4+ cells raise the peaks of IL-2, pre-CD8+ and effector cells."""
    ratio = _peaks(found, "A2", "I2", "TP", "TE")
    if ratio is None:
        return Finding(OPEN, "")
    text = ", ".join(
        f"{word} × {format_number(ratio[name], 2)}"
        for name, word in (("I2", "IL-2"), ("TP", "pre-CD8+"), ("TE", "effector cells"))
    )
    return Finding(by_parts(ratio > 1.1), f"A2, at the peak: {text}")


def sustained(found: Plans) -> Finding:
    """Judge whether five times the pre-CD8+ cells give more effector cells, and a longer PFS."""
    ratio = _peaks(found, "A3", "TE")
    if ratio is None:
        return Finding(OPEN, "")
    more, longer = bool(ratio["TE"] > 1.1), bool(found.pfs["A3"] > found.pfs["A1"])
    text = f"effector cells at the peak × {ratio['TE']:.2g}; PFS of {_against(found, 'A3')}"
    return Finding(by_parts([more, longer]), text)


def saturation(found: Plans) -> Finding:
    """Judge whether PFS is shorter with five times the memory cells."""
    return Finding(HOLDS if found.pfs["A5"] < found.pfs["A1"] else FAILS, _against(found, "A5"))


def overabundance(found: Plans) -> Finding:
    """Judge whether five times the effector cells raise peaks of IL-6, and leave fewer of them later."""
    ratio = _peaks(found, "A4", "I6", "late_TE")
    if ratio is None:
        return Finding(OPEN, "")
    activation, depletion = bool(ratio["I6"] > 1), bool(ratio["late_TE"] < 1)
    text = (
        f"A4: peak of IL-6 × {ratio['I6']:.2f}; effector cells on day 50 × {ratio['late_TE']:.2f}; PFS of "
        f"{_against(found, 'A4')}"
    )
    return Finding(by_parts([activation, depletion]), text)


def increase_both(found: Plans) -> Finding:
    """Judge whether PFS is longer with more CD4+ cells, with more pre-CD8+ cells, and with more of both."""
    plans = ("A2", "A3", MORE_OF_BOTH, "C1", "C2", "C3")
    given = [plan for plan in plans if plan in found.pfs.index]
    control = {plan: "C7" if plan in ("C1", "C2", "C3") else "A1" for plan in given}
    better = [plan for plan in given if found.pfs[plan] > (1 + MARGINAL) * found.pfs[control[plan]]]
    text = "; ".join(_against(found, plan, control[plan]) for plan in given)
    return Finding(by_parts(plan in better for plan in given), text)


def published(pfs: dict[str, float], doses: pd.DataFrame) -> Plans:
    """Return published PFS (days) of some plans."""
    return Plans(pd.Series(pfs), doses, pd.Series(dtype=float), pd.DataFrame())


def by_file() -> dict[str, float]:
    """Return the published PFS (days) of plans A and C by the numbers of Figure 6(g)."""
    values = paper.PFS_PLAN_A | paper.PFS_PLAN_C
    return {plan: value.value for plan, value in values.items()}


STATEMENTS = (
    Statement("6.1", "text on 6(d)", "increasing CD4+ cells (A2) significantly increased PFS", helpers),
    Statement(
        "6.2",
        "text on 6(d)",
        "more pre-CD8+ (A3), effector (A4), memory cells (A5) only marginally changed PFS",
        marginal,
        f"marginally: by {MARGINAL:.0%} at most",
    ),
    Statement(
        "6.3", "text on 6(d)", "increasing regulatory cells (A6) failed to induce remission", suppressed
    ),
    Statement(
        "6.4",
        "text on 6(e)",
        "effective only when the total exceeded 5e6 cells, a threshold effect",
        threshold,
        "in part: there is a threshold, but below 5e6",
    ),
    Statement(
        "6.5", "text on 6(e)", "beyond 10e6 cells PFS is not extended further, but diminished", diminishing
    ),
    Statement(
        "6.6",
        "text on 6(f)",
        "increasing effector cells (C5 and C6) extends PFS",
        effector_rich,
        "erratum 10: the text's C5 and C6 are C4 and C5 here",
    ),
    Statement(
        "6.7", "text on 6(c)", "C3 and C6 increase both CD4+ and pre-CD8+ cells", increases_both, "erratum 10"
    ),
    Statement(
        "6.8",
        "text after 6",
        "high doses of CD4+ cells enhance cytokines and expand effector and pre-CD8+ cells",
        cytokines,
    ),
    Statement(
        "6.9",
        "text after 6",
        "more pre-CD8+ cells sustain activity by new effector cells",
        sustained,
        "both parts: more effector cells, and a longer PFS",
    ),
    Statement("6.10", "text after 6", "excessive memory cells may impede effector cells", saturation),
    Statement(
        "6.11",
        "text after 6",
        "an overabundance of effector cells can lead to overactivation and depletion",
        overabundance,
        "overactivation: a higher peak of IL-6",
    ),
    Statement(
        "6.12",
        "text after 6",
        "carefully increasing CD4+ and pre-CD8+ cells can significantly enhance efficacy",
        increase_both,
        f"PFS longer by more than {MARGINAL:.0%}; C1 to C3 keep the total",
    ),
)
