"""Sentences on controlled arms, computed from gains at equal severe CRS; none is said without its number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from fastcart.trial.counterfactual import DOSE
from fastcart.trial.html import cells_in_words
from fastcart.trial.verdict import MARGINS

LEVEL = 0.3  # the rate of severe CRS that sentences speak of
LIMITS = (
    "CRS grade is one peak of IL-6 with calibrated cut-offs; ICANS and infection are absent.",
    "The switch is all or none and reversible without cost: no immunogenicity, no loss when off. Promotion "
    "has no loss of function. There is no salvage treatment.",
    "Intervals shrink with the number of patients and hold no uncertainty of parameters or structure.",
    "One target is for all patients and was scanned; the rise of 0.1 per day and the predictor were chosen "
    "on a population of the same prior.",
    "Two rules were set after first results were seen: verdicts rest on ten times the resamples of other "
    "intervals, and whether one is robust is asked of the endpoints that are evident at two levels or more.",
    "A single dose of equal severe CRS lies far below the clinical one: the gain is partly that the single "
    "dose is a bad way to be less toxic.",
)


def gain(table: pd.DataFrame, endpoint: str, *, level: float = LEVEL, on: str = "crs3") -> tuple[float, ...]:
    """Return a gain with its limits, in points; NaN where there is none."""
    rows = table[(table["on"] == on) & (table["level"] == level) & (table["endpoint"] == endpoint)]
    if not len(rows):
        return (math.nan,) * 3
    return tuple(100.0 * float(rows[name].iloc[0]) for name in ("gain", "low", "high"))


def shown(values: tuple[float, ...]) -> str:
    """Return a gain with its limits as text; nothing where one of them is unknown."""
    if not all(map(math.isfinite, values)):
        return ""
    change, low, high = (round(value, 1) + 0.0 for value in values)  # no -0.0
    return f"{change:+.1f} points ({low:.1f} to {high:.1f})"


def sentences(parts: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the sentences for which there are numbers.

    Parameters
    ----------
    parts : mapping of str to DataFrame
        Gains by the name of the part in `fastcart.papers.srct.controlled.PARTS`.
    """
    found = [_low_then_rising(parts), _feedback(parts), _burden(parts), _memory(parts)]
    return [text for text in found if text]


def _of(parts: Mapping[str, pd.DataFrame], part: str, endpoint: str) -> tuple[float, ...]:
    return gain(parts[part], endpoint) if part in parts else (math.nan,) * 3


def _low_then_rising(parts: Mapping[str, pd.DataFrame]) -> str:
    remission, free = (shown(_of(parts, "low then rising", name)) for name in ("CR90", "EFS730"))
    if not remission or not free:
        return ""
    return (
        f"At the same rate of severe CRS ({100 * LEVEL:g} %), holding active cells low and letting them rise "
        f"changes remission by {remission} and event-free survival at 24 months by {free} compared with a "
        "smaller single dose."
    )


def _feedback(parts: Mapping[str, pd.DataFrame]) -> str:
    closed = _of(parts, "low then rising", "EFS730")[0]
    opened = _of(parts, "without feedback", "EFS730")[0]
    grade4 = _of(parts, "without feedback", "crs4")
    if not all(map(math.isfinite, (closed, opened))) or closed <= 0 or not shown(grade4):
        return ""
    table = parts["without feedback"]
    rows = table[(table["on"] == "crs3") & (table["level"] == LEVEL) & (table["endpoint"] == "crs4")]
    share = min(max((closed + opened) / closed, 0.0), 1.0)
    return (
        f"{100 * share:.0f} % of the gain in event-free survival remains without any measurement (same "
        f"average course); without it CRS of grade 4 or more changes by {shown(grade4)}, to "
        f"{100 * float(rows['value'].iloc[0]):.1f} %."
    )


def _burden(parts: Mapping[str, pd.DataFrame]) -> str:
    text = shown(_of(parts, "tying to burden", "EFS730"))
    return f"Tying the rise to the measured burden changes event-free survival by {text}." if text else ""


def _memory(parts: Mapping[str, pd.DataFrame]) -> str:
    made = shown(_of(parts, "memory by promotion", "EFS730"))
    last = shown(_of(parts, "memory withheld to the end", "EFS730"))
    if not made or not last:
        return ""
    return (
        f"Memory cells made from the patient's expanded effectors change event-free survival by {made}; the "
        f"same product's memory cells infused last change it by {last}."
    )


class Statement(NamedTuple):
    """What the dissertation claims, and the part that tests it.

    Where a part takes something out of the rising target, harm of taking it out supports the statement.
    """

    words: str
    part: str
    taken_out: bool = False


STATEMENTS = (
    Statement("timing the infusions low, high, memory last", "infusion timing"),
    Statement("holding active effectors low and letting them rise", "low then rising"),
    Statement("that they rise, instead of staying flat", "without a rise", True),
    Statement("letting them rise as the burden falls", "rising as burden falls"),
    Statement("tying the rise to the burden instead of the calendar", "tying to burden"),
    Statement("that cells are measured, instead of one calendar for all", "without feedback", True),
    Statement("memory cells infused last", "memory withheld to the end"),
    Statement("more memory cells, made of expanded effectors", "memory by promotion"),
    Statement("all of it together", "whole claim"),
)
_TOLD = {
    "supported": "Supported",
    "harm": "Harmful",
    "trade-off": "Better in one endpoint and worse in another",
    "no effect": "Without effect",
    "no benefit": "Without benefit",
    "undecided": "Undecided",
    "not comparable": "Not comparable at two rates of severe CRS or more",
}
_TURNED = {"supported": "harm", "harm": "supported"}
_ENDPOINTS = {
    "CR90": "remission",
    "EFS730": "event-free survival",
    "OS730": "survival",
    "crs4": "CRS of grade 4 or more",
    "toxic_death": "death from CRS",
}


def claim(verdicts: pd.DataFrame) -> list[str]:
    """Return what the verdicts say about the claim, a sentence for each verdict; failures, too.

    Parameters
    ----------
    verdicts : DataFrame
        From `fastcart.trial.verdict.verdicts`.
    """
    known = dict(zip(verdicts["part"], verdicts["verdict"], strict=True))
    found: dict[str, list[str]] = {}
    for statement in STATEMENTS:
        if statement.part not in known:
            continue
        word = known[statement.part]
        if statement.taken_out:
            # that nothing is lost without it speaks against it; that something might be is open
            word = "undecided" if word == "no benefit" else _TURNED.get(word, word)
        found.setdefault(word, []).append(statement.words)
    texts = [f"{_TOLD[word]}: {'; '.join(found[word])}." for word in _TOLD if word in found]
    texts += on_the_margin(verdicts)
    if known.get("infusion timing") == "no effect":
        texts.append(
            "By remission, event-free and overall survival, grade 4 and death from CRS alike, infusions "
            "timed low, high, memory last do what a smaller single dose does."
        )
    return texts


def on_the_margin(verdicts: pd.DataFrame) -> list[str]:
    """Say of which verdicts a limit lies on a margin, a sentence for each."""
    words = {statement.part: statement.words for statement in STATEMENTS}
    texts = []
    for row in verdicts.to_dict("records"):
        told = [
            f"with margins a twentieth {size} the verdict is {row[name]!r}"
            for name, size in (("if_narrower", "smaller"), ("if_wider", "larger"))
            if isinstance(row.get(name), str) and row[name]
        ]
        if told:
            texts.append(
                f"On the margin: {words.get(row['part'], row['part'])} ({row['verdict']}); "
                f"{' and '.join(told)}, so that other resamples may decide otherwise."
            )
    return texts


def parts_in_words(parts: Mapping[str, pd.DataFrame], verdicts: pd.DataFrame) -> list[str]:
    """Return a sentence for each part of the claim: its verdict, and gains at the rate `LEVEL`."""
    texts = []
    for row in verdicts.to_dict("records"):
        told = [
            f"{words} {text}"
            for name, words in _ENDPOINTS.items()
            if name in ("CR90", "EFS730") and (text := shown(gain(parts[row["part"]], name)))
        ]
        numbers = f" At {100 * LEVEL:g} % severe CRS: {', '.join(told)}." if told else ""
        texts.append(f"{row['family']} against {row['versus']} ({row['words']}): {row['verdict']}.{numbers}")
    return [*texts, *on_the_margin(verdicts)]


def lower_dose(parts: Mapping[str, pd.DataFrame]) -> str:
    """Say how far below the clinical one the single dose lies with which is compared."""
    table = parts.get("low then rising")
    rows = None if table is None else table[(table["on"] == "crs3") & (table["level"] == LEVEL)]
    dose = math.nan if rows is None or not len(rows) else float(rows["reference_intensity"].iloc[0])
    if not math.isfinite(dose):
        return ""
    return (
        f"The single dose with {100 * LEVEL:g} % severe CRS is {cells_in_words(dose)} cells, "
        f"{DOSE / dose:.3g} times below the clinical one: the gain is partly that a smaller single dose is a "
        "bad way to be less toxic."
    )


def best_survival(scans: pd.DataFrame) -> str:
    """Say which family survives best where severe CRS is not avoided for its own sake."""
    clinical = scans[(scans["family"] == "single") & (abs(scans["intensity"] / DOSE - 1) < 1e-6)]
    best: dict[str, dict[str, float]] = {}
    for name in ("single", "FLAT", "RISE_T", "IL6 onoff", "promote x10"):
        rows = scans[(scans["family"] == name) & scans["OS730"].notna()].sort_values("OS730")
        if len(rows):
            best[name] = {key: float(rows[key].iloc[-1]) for key in ("OS730", "crs3")}
    if not len(clinical) or "single" not in best or len(best) < 2:
        return ""
    toxic = float(clinical["toxic_death"].iloc[0])
    told = ", ".join(
        f"{name} {100 * row['OS730']:.1f} % (severe CRS {100 * row['crs3']:.0f} %)"
        for name, row in best.items()
    )
    plain = {name: row["OS730"] for name, row in best.items() if name != "promote x10"}
    first = max(plain, key=lambda name: plain[name])
    whose = "a large single dose gives" if first == "single" else f"{first} gives"
    return (
        f"If survival alone is the aim and toxicity kills {100 * toxic:.1f} % under the clinical dose, "
        f"{whose} the best overall survival at 24 months of the families without promotion. Best over all "
        f"intensities: {told}."
    )


def not_at_the_end(memory: pd.DataFrame) -> str:
    """Say whether promotion has to come at the end, from the same target with promotion from day 0."""
    rows = {row["arm"]: row for row in memory.to_dict("records")}
    early, late = rows.get("promoted x10, day 0"), rows.get("promoted x10, day 28")
    if early is None or late is None:
        return ""
    change = tuple(100.0 * early[name] for name in ("change_EFS730", "change_low", "change_high"))
    if not shown(change):
        return ""
    why = ""
    if change[1] > -100 * MARGINS["EFS730"]:
        why = ": what helps is more memory from expanded effectors, not that it comes last"
    return (
        f"Promotion from day 0 instead of at low burden or on day 28 changes event-free survival by "
        f"{shown(change)} at the same target (severe CRS {100 * early['crs3']:.1f} against "
        f"{100 * late['crs3']:.1f} %){why}."
    )
