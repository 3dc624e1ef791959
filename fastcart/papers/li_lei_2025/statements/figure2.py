"""What the text says of Figure 2: correlations with parameters, and Table 3, which numbers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.statements import (
    FAILS,
    HOLDS,
    IN_PART,
    Finding,
    Statement,
    by_parts,
)

NAMED = {"lambda_C": -1, "k_TE": 1}  # parameters that matter for PFS by the text, and the sign
EARLY, LATE = 80, 200  # days of the text
_LIMIT = paper.INSENSITIVE.value


@dataclass(frozen=True)
class Correlations:
    """Correlations with each parameter: ``value``, ``low`` and ``high`` (ends of the 95% interval).

    Parameters
    ----------
    pfs : DataFrame
        With PFS over responders.
    tumor : mapping of int to DataFrame
        With ln C over all patients, by day.
    """

    pfs: Any
    tumor: Mapping[int, Any]


def shown(row: Any) -> str:
    """Write a coefficient with its interval, if it has one."""
    if row["low"] == row["high"]:
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def exact(values: Mapping[str, float]) -> pd.DataFrame:
    """Return published coefficients, which come without an interval."""
    column = pd.Series(dict(values))
    return pd.DataFrame({"value": column, "low": column, "high": column})


def sampled(values: Mapping[str, float], patients: int) -> pd.DataFrame:
    """Return published coefficients of so many patients, with the interval of a correlation near 0."""
    half = 1.96 / np.sqrt(patients)
    column = pd.Series(dict(values))
    return pd.DataFrame({"value": column, "low": column - half, "high": column + half})


def _sign(row: Any) -> int:
    """Return the sign of a coefficient; 0 when its interval holds 0."""
    return int(row["low"] > 0) - int(row["high"] < 0)


def _beyond(row: Any) -> bool:
    """Say whether a coefficient is beyond the paper's lines for certain."""
    return bool(row["low"] > _LIMIT or row["high"] < -_LIMIT)


def _others(found: Correlations) -> tuple[pd.Series, str]:
    """Return which of the other parameters are within the stated limit for certain, and that in words."""
    others = found.pfs.drop(index=list(NAMED))
    within = (others["low"] > -_LIMIT) & (others["high"] < _LIMIT)
    rest = ", ".join(f"{name} {shown(row)}" for name, row in others[~within].iterrows())
    text = f"{int(within.sum())} of the {len(others)} others lie within ±{_LIMIT:g}"
    return within, text + (f"; not, or not for certain: {rest}" if rest else "")


def insensitive(found: Correlations) -> Finding:
    """Judge whether the coefficients of most parameters are within the stated limit."""
    within, text = _others(found)
    return Finding(HOLDS if within.sum() > len(found.pfs) / 2 else FAILS, text)


def within_limit(found: Correlations) -> Finding:
    """Judge whether the coefficients of all but the two named parameters are within the stated limit."""
    within, text = _others(found)
    return Finding(HOLDS if within.all() else IN_PART if within.mean() > 0.5 else FAILS, text)


def sensitive(found: Correlations) -> Finding:
    """Judge whether the named parameters have the stated signs and the largest sizes, beyond the limit."""
    rows = found.pfs.loc[list(NAMED)]
    largest = set(found.pfs["value"].abs().nlargest(len(NAMED)).index) == set(NAMED)
    good = [_sign(row) == NAMED[name] and _beyond(row) for name, row in rows.iterrows()]
    verdict = by_parts([*good, largest])
    text = ", ".join(f"{name} {shown(row)}" for name, row in rows.iterrows())
    return Finding(verdict, f"{text}; {'the two largest' if largest else 'not the two largest'}")


def signs(day: int, expected: Mapping[str, int]) -> Any:
    """Return a judge of the signs of coefficients with the tumor on one day."""

    def judge(found: Correlations) -> Finding:
        rows = found.tumor[day].loc[list(expected)]
        good = [_sign(row) == expected[name] for name, row in rows.iterrows()]
        text = ", ".join(f"{name} {shown(row)}" for name, row in rows.iterrows())
        return Finding(by_parts(good), f"day {day}: {text}")

    return judge


def killing_late(found: Correlations) -> Finding:
    """Judge whether the coefficient of k_TE is negative on the last day."""
    row = found.tumor[LATE].loc["k_TE"]
    text = f"day {LATE}: {shown(row)}"
    if _sign(row) < 0:
        return Finding(HOLDS, text)
    zero = "the interval holds 0" if _sign(row) == 0 else "positive"
    beyond = [day for day, table in found.tumor.items() if day < LATE and table.loc["k_TE", "high"] < -_LIMIT]
    if beyond:
        return Finding(IN_PART, f"{text}, {zero}; below -{_LIMIT:g} until day {max(beyond)}")
    return Finding(FAILS, f"{text}, {zero}")


def death_of_tumor(found: Correlations) -> Finding:
    """Judge whether the coefficient of d_C is moderately negative early, and strongly negative late."""
    early, late = (found.tumor[day].loc["d_C"] for day in (EARLY, LATE))
    moderate = _sign(early) < 0 and _beyond(early)
    strong = _sign(late) < 0 and _beyond(late) and late["high"] < early["low"]
    if _sign(early) == 0:
        remark = ", the interval holds 0"
    else:
        remark = (
            "" if moderate else f", negative, but within ±{_LIMIT:g}" if _sign(early) < 0 else ", positive"
        )
    text = f"day {EARLY}: {shown(early)}{remark}; day {LATE}: {shown(late)}"
    return Finding(by_parts([moderate, strong]), text)


def early_and_late(found: Correlations) -> Finding:
    """Judge whether k_TE matters more than d_C early, and d_C more than k_TE late."""
    size = {day: found.tumor[day]["value"].abs() for day in (EARLY, LATE)}
    early = size[EARLY]["k_TE"] > size[EARLY]["d_C"] and _beyond(found.tumor[EARLY].loc["k_TE"])
    late = size[LATE]["d_C"] > size[LATE]["k_TE"] and _beyond(found.tumor[LATE].loc["d_C"])
    text = "; ".join(
        f"day {day}: k_TE {shown(found.tumor[day].loc['k_TE'])}, d_C {shown(found.tumor[day].loc['d_C'])}"
        for day in (EARLY, LATE)
    )
    return Finding(by_parts([early, late]), text)


def numbering(varied: tuple[str, ...]) -> Any:
    """Return a judge of the names of Table 3 against the parameters that were varied, in their order."""

    def judge(table: tuple[str, ...]) -> Finding:
        same = [a == b for a, b in zip(table, varied, strict=False)]
        first = same.index(False) if False in same else len(same)
        if len(table) == len(varied) and first == len(varied):
            return Finding(HOLDS, f"all {len(table)} names")
        absent = [name for name in table if name not in varied]
        text = (
            f"{len(table)} names for {len(varied)} parameters that were varied; the first {first} agree, "
            f"{sum(same[first:])} of the others do"
        )
        if absent:
            text += f"; not varied: No. {table.index(absent[0]) + 1}, {absent[0]}"
        return Finding(IN_PART if first else FAILS, text)

    return judge


STATEMENTS = (
    Statement("2.1", "text on 2(a)", "PFS is insensitive to most parameters", insensitive),
    Statement(
        "2.2",
        "text on 2(a)",
        "with coefficients between -0.2 and 0.2, but those of λ_C and k_TE",
        within_limit,
        "the interval of a coefficient decides, where it has one",
    ),
    Statement(
        "2.3",
        "text on 2(a)",
        "λ_C and k_TE are significant, λ_C negative, k_TE positive",
        sensitive,
        f"significant: beyond ±{_LIMIT:g}, the lines of the figure",
    ),
    Statement(
        "2.4",
        "text on 2(c)",
        "at day 80 λ_C is positively correlated with the tumor, k_TE negatively",
        signs(EARLY, {"lambda_C": 1, "k_TE": -1}),
    ),
    Statement(
        "2.5",
        "text on 2(d)",
        "over 200 days λ_C maintains a positive correlation",
        signs(LATE, {"lambda_C": 1}),
    ),
    Statement(
        "2.6",
        "text on 2(d)",
        "k_TE exhibits a moderate negative effect, -0.05 at day 200",
        killing_late,
        "negative: the 95% interval lies below 0; that of the printed number is ±0.06, for 1000 patients",
    ),
    Statement(
        "2.7",
        "text on 2(d)",
        "d_C: a moderate negative effect at day 80, strongly negative at day 200",
        death_of_tumor,
        f"moderate: beyond ±{_LIMIT:g}, the lines of the figure",
    ),
    Statement(
        "2.8",
        "text on 2(d)",
        "k_TE is crucial for early response, d_C for the final count after relapse",
        early_and_late,
    ),
)
TABLE_3 = Statement(
    "2.9",
    "Table 3",
    "the parameters in Figure 2(a) have these serial numbers",
    numbering(tuple(paper.PFS_CORRELATION)),
    "erratum 12",
)
