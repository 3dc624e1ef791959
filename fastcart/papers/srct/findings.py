"""What the trial says about the hypothesis of the dissertation, in sentences made of its numbers."""

from __future__ import annotations

import math

import pandas as pd

from fastcart.trial.frontier import JUDGED
from fastcart.trial.html import points
from fastcart.trial.report_words import conclusion, over_the_single_dose

HYPOTHESIS = (
    "The hypothesis under test: few effector cells first, more as the burden falls, and memory cells last, "
    "does better than one infusion or equal parts, above all where patients differ much."
)
LIMITS = (
    "The arms of the trial got identical cells, not identical serum curves; only the experiment on "
    "controlled concentrations holds the level of effectors, by a switch, and what it says is no property of "
    "infusions.",
    "The model of the dissertation whose hypothesis is tested is unknown. Agreement or disagreement says "
    "nothing about whether its simulations were right within their assumptions.",
)
SMALL = 0.01  # a difference in event-free survival that matters to nobody
FEW_TIMES, MANY_TIMES = 10.0, 100.0  # amplification of products that hardly, and that strongly multiply
_ARM = "A5"
_NAMES = {"crs3": "severe CRS", "CR90": "remission", "EFS730": "event-free survival"}


def equal_cells(arms: pd.DataFrame) -> str:
    """Say what low-high-memory changes at the same number of cells; ``arms`` is indexed by name."""
    old, new = arms.loc["A0"], arms.loc[_ARM]

    def change(name: str) -> str:
        return f"{100 * old[name]:.0f} % to {100 * new[name]:.0f} %"

    return (
        f"With the same cells, low-high-memory ({_ARM}) instead of a single infusion takes severe CRS from "
        f"{change('crs3')}, remission from {change('CR90')}, and event-free survival at 24 months from "
        f"{change('EFS730')}."
    )


def equal_toxicity(isotoxic: pd.DataFrame) -> str:
    """Say whether low-high-memory beats the single dose of equal toxicity; indexed by name of the arm."""
    row = isotoxic.loc[[_ARM]].to_dict("records")[0]
    limits = [row[f"gain_{name}{end}"] for name in JUDGED for end in ("", "_low", "_high")]
    if any(map(math.isnan, limits)):
        return "Whether low-high-memory beats the single dose with the same rate of severe CRS is not known."
    return f"Low-high-memory against giving less: {over_the_single_dose(row)} {conclusion(row)}"


def amplified(table: pd.DataFrame) -> str:
    """Say where splitting gains, from the experiment on amplification."""
    split = table[table["arm"] != "A0"]

    def gains(chosen: pd.Series) -> str:
        values = split.loc[chosen, "gain_EFS730"].dropna()
        return f"{points(values.min())} to {points(values.max())} points"

    default = split.loc[split["rhoE"] == split["rhoE"].max(), "amplification"].iloc[0]
    return (
        f"Where CAR-T cells reach less than {FEW_TIMES:g} times the engrafted number, splitting (A3 to A5) "
        f"changes event-free survival by {gains(split['amplification'] < FEW_TIMES)} over the single dose "
        f"of equal toxicity; above {MANY_TIMES:g} times by {gains(split['amplification'] > MANY_TIMES)}. At "
        f"the calibrated growth rate they reach about {float(f'{default:.1g}'):.0f} times that number."
    )


def what_drives(table: pd.DataFrame) -> str:
    """Say with what the gain of splitting goes, from the regime map."""
    split = table[(table["arm"] != "A0") & table["gain_EFS730"].notna()]
    with_gain = split[["amplification", "het"]].corrwith(split["gain_EFS730"], method="spearman")
    return (
        "Over all regimes, each with its own dose, the rank correlation of that gain is "
        f"{with_gain['amplification']:+.2f} with amplification and {with_gain['het']:+.2f} with "
        "heterogeneity."
    )


def unlike_patients(table: pd.DataFrame) -> str:
    """Say how the cost of low-high-memory changes with heterogeneity."""
    ends = []
    for het in (0.25, 1.5):
        arms = table[table["het"] == het].set_index("arm")[list(_NAMES)]
        move = (arms.loc[[_ARM]] - arms.loc["A0"]).to_dict("records")[0]
        ends.append(", ".join(f"{text} {points(move[name])}" for name, text in _NAMES.items()))
    return (
        "Among patients with a quarter of the usual spread, low-high-memory with the same cells changes, in "
        f"points, {ends[0]}; with one and a half times the spread {ends[1]}."
    )


def niche(table: pd.DataFrame) -> str:
    """Say which exploratory arm lies farthest above the frontier, and what late cells add to its niche."""
    arms = table.set_index("arm")
    best = str(arms["gain_EFS730"].idxmax())
    late = float(arms["EFS730"]["X5"] - arms["EFS730"]["X13"])
    why = ": the niche matters, not the cells" if abs(late) <= SMALL else ""
    return (
        f"Of the exploratory arms, {best} ({arms['title'][best]}) is farthest above the single dose of equal "
        f"toxicity: {points(arms['gain_EFS730'][best])} points of event-free survival. With niche support on "
        "day 28, giving the second half of the cells then (X5) instead of not at all (X13) changes it by "
        f"{points(late)} points{why}."
    )


def variants(table: pd.DataFrame) -> str:
    """Say what other structures of the model make of it."""
    gains = table.loc[table["arm"] == _ARM].set_index("variant")["gain_EFS730"]
    known = gains.dropna()
    text = (
        f"In {len(known)} of {len(gains)} structures of the model, low-high-memory changes event-free "
        f"survival by {points(known.min())} to {points(known.max())} points over the single dose of equal "
        "toxicity"
    )
    rest = len(gains) - len(known)
    return (
        f"{text}; in {rest}, doses far apart are equally toxic, and none can be compared with."
        if rest
        else f"{text}."
    )


def all_findings(arms: pd.DataFrame, isotoxic: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> list[str]:
    """Return every sentence, in the order of a report."""
    return [
        equal_cells(arms),
        equal_toxicity(isotoxic),
        unlike_patients(tables["heterogeneity"]),
        amplified(tables["amplification"]),
        what_drives(tables["regime_map"]),
        variants(tables["structures"]),
        niche(tables["niche"]),
    ]
