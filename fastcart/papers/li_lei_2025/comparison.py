"""What one figure hands to the report: a picture, its data, and rows of compared numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from fastcart.papers.li_lei_2025.published_values import TEXT, Published
from fastcart.papers.li_lei_2025.statements import Assessment

RANGE_STEP = 5.0  # days: the text rounds the ends of ranges of PFS to steps of this


@dataclass(frozen=True)
class Row:
    """One compared quantity, as text.

    Parameters
    ----------
    quantity, unit : str
    published, source : str
        What the paper or its result files say, and where.
    reproduced, accurate : str
        The same with the published scheme, and solved accurately.
    agrees : str
        Whether the published scheme gives what was published, to the printed digits.
    """

    quantity: str
    unit: str
    published: str
    source: str
    reproduced: str
    accurate: str
    agrees: str


@dataclass(frozen=True)
class FigureResult:
    """One reproduced figure.

    Parameters
    ----------
    number : int
    title, caption : str
    picture : matplotlib.figure.Figure
    tables : dict of str to DataFrame
        Data by file name.
    rows : list of Row
    notes : list of str
        Sentences for below the table.
    statements : list of Assessment
        What the text says of the figure, with verdicts.
    """

    number: int
    title: str
    caption: str
    picture: Any
    tables: dict[str, pd.DataFrame]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    statements: list[Assessment] = field(default_factory=list)


def format_number(value: float, digits: int = 5) -> str:
    """Write a number with so many significant digits, e.g. ``62.775`` or ``2.0839e9``."""
    text = f"{value:.{digits}g}"
    if "e" in text or (value and not 1e-3 <= abs(value) < 1e6):
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        if "." in mantissa:
            mantissa = mantissa.rstrip("0").rstrip(".")
        text = f"{mantissa}e{int(exponent)}"
    return text


def number_row(
    quantity: str,
    unit: str,
    published: Published | None,
    reproduced: float,
    accurate: float,
    *,
    digits: int = 5,
) -> Row:
    """Compare one number; both computed ones are written with ``digits`` significant digits."""
    shown, source, agrees = "not stated", "", ""
    if published is not None:
        shown = format_number(published.value, published.digits)
        source = published.source
        agrees = verdict(published.agrees(reproduced), published.erratum)
    return Row(
        quantity,
        unit,
        shown,
        source,
        format_number(reproduced, digits),
        format_number(accurate, digits),
        agrees,
    )


def range_row(
    quantity: str,
    unit: str,
    published: tuple[float, float] | None,
    reproduced: np.ndarray,
    accurate: np.ndarray,
) -> Row:
    """Compare a range, whose ends the text gives in steps of five: it agrees when both its ends do."""

    def shown(values: np.ndarray) -> str:
        return f"{values.min():.1f} to {values.max():.1f}"

    stated, source, agrees = "not stated", "", ""
    if published is not None:
        low, high = published
        stated, source = f"{low:g} to {high:g}", TEXT
        agrees = ends_agree(
            abs(reproduced.min() - low) <= RANGE_STEP / 2, abs(reproduced.max() - high) <= RANGE_STEP / 2
        )
    return Row(quantity, unit, stated, source, shown(reproduced), shown(accurate), agrees)


def ends_agree(low: bool, high: bool) -> str:
    """Say whether both ends of a range are as stated, and if not, which are not."""
    wrong = [name for name, good in (("lower", low), ("upper", high)) if not good]
    return f"no, {' and '.join(wrong)} end" + "s" * (len(wrong) > 1) if wrong else "yes"


def verdict(same: bool, erratum: int | None = None) -> str:
    """Say in a word whether what was published is reproduced."""
    if same:
        return "yes"
    return "no" if erratum is None else f"no, erratum {erratum}"
