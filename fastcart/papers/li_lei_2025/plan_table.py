"""The table of treatment plans in Figure 6(g) of Li & Lei 2025, drawn as text."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fastcart import plotting
from fastcart.papers.li_lei_2025.plans import SUBTYPES

_HEADS = (
    "Plan", "Change", "CD4+\n$T_4$", "Pre-CD8+\n$T_P$", "Effector\n$T_E$", "Memory\n$T_M$",
    "Regulatory\n$T_r$", "Total\ndose", "PFS (days)\nscheme", "PFS (days)\naccurate",
)  # fmt: skip
# where each column starts (two text columns) or ends (numbers), as a fraction of the width
_X = (0.0, 0.055, 0.30, 0.40, 0.50, 0.585, 0.69, 0.80, 0.90, 1.0)
_TEXT_COLUMNS = 2


def draw_plans(axes: Any, letter: str, table: pd.DataFrame, scheme: pd.Series, accurate: pd.Series) -> None:
    """Draw the doses (cells) and PFS (days) of all plans, the control in red.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    letter : str
    table : DataFrame
        From `plans.treatment_plans`.
    scheme, accurate : Series
        PFS by plan under the published scheme, and solved accurately.
    """
    plotting.panel(axes, letter, "Treatment plans; doses in cells", "", "")
    axes.axis("off")
    axes.set_xlim(0, 1)
    _line(axes, -2.2, 0.8)
    _write(axes, -1.1, _HEADS, plotting.BLACK, weight="bold")
    _line(axes, -0.1, 0.5)
    y = 0.6
    previous = None
    for row in table.to_dict("records"):
        plan = row["plan"]
        if previous not in (None, row["group"]):
            _line(axes, y - 0.35, 0.4)
            y += 0.3
        previous = row["group"]
        cells = (
            plan,
            row["change"],
            *(_dose(row[name]) for name in SUBTYPES),
            _dose(row["total"]),
            f"{scheme[plan]:.0f}",
            f"{accurate[plan]:.2f}",
        )
        color = plotting.RED if row["change"] == "control" else plotting.BLACK
        _write(axes, y, cells, color)
        y += 1.0
    _line(axes, y - 0.3, 0.8)
    axes.set_ylim(y, -2.4)


def _line(axes: Any, y: float, width: float) -> None:
    axes.plot([0, 1], [y, y], color=plotting.BLACK, linewidth=width, clip_on=False)


def _write(axes: Any, y: float, cells: tuple[str, ...], color: str, weight: str = "normal") -> None:
    for column, (x, text) in enumerate(zip(_X, cells, strict=True)):
        side = "left" if column < _TEXT_COLUMNS else "right"
        axes.text(x, y, text, ha=side, va="center", fontsize=6.8, color=color, fontweight=weight)


def _dose(value: float) -> str:
    """Write a dose with four digits, e.g. ``9,994`` or ``1.499e7``."""
    if value < 1e5:
        return f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"${float(mantissa):g}\\times10^{{{int(exponent)}}}$"
