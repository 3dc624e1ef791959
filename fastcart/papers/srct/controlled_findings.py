"""Sentences on controlled arms, computed from gains at equal severe CRS; none is said without its number."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

LEVEL = 0.3  # the rate of severe CRS that sentences speak of
LIMITS = (
    "CRS grade is one peak of IL-6 with calibrated cut-offs; ICANS and infection are absent.",
    "The switch is all or none and reversible without cost: no immunogenicity, no loss when off. Promotion "
    "has no loss of function. There is no salvage treatment.",
    "Intervals shrink with the number of patients and hold no uncertainty of parameters or structure.",
    "One target is for all patients and was scanned; the rise of 0.1 per day and the predictor were chosen "
    "on a population of the same prior.",
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
    return f"{values[0]:+.1f} points ({values[1]:.1f} to {values[2]:.1f})"


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
