"""Drawing that the figures of Li & Lei 2025 share: two solutions in one panel, one cell marked."""

from __future__ import annotations

from math import inf
from typing import Any

import pandas as pd

from fastcart import plotting
from fastcart.papers.li_lei_2025.comparison import format_number
from fastcart.papers.li_lei_2025.runs import ACCURATE, PUBLISHED, RTOL, Runs

DAYS = "Time after infusion (days)"
TUMOR = "Tumor cells $C$ (cells)"
PFS = "PFS (days)"
SCHEME_MARKERS_DAYS = 10  # the published scheme is marked every so many days


def both(
    axes: Any,
    runs: Runs,
    quantity: str,
    color: Any,
    *,
    label: str = "",
    unit: float = 1.0,
    until: float = inf,
    zorder: float = 2.0,
    linestyle: Any = "-",
    fine: pd.DataFrame | None = None,
    **labels: Any,
) -> None:
    """Draw one quantity of one run: a line for the accurate solution, circles for the published scheme.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    runs : Runs
    quantity : str
        A state or observable.
    color : color
    label : str
        For the legend.
    unit : float
        The quantity is drawn in multiples of this.
    until : float
        The last day drawn.
    zorder : float
        What is higher lies above.
    linestyle : str or dashes
        Of the line, so that colour is not needed to tell runs apart.
    fine : DataFrame, optional
        The accurate solution at more times, for the line alone: days that are joined would have kinks.
    **labels
        Which run, e.g. ``plan="A1"``.
    """
    path = runs.paths(ACCURATE, **labels) if fine is None else fine
    path = path[path["t"] <= until]
    line = {"color": color, "label": label or None, "zorder": zorder, "linestyle": linestyle}
    axes.plot(path["t"], path[quantity] / unit, **line)
    path = runs.paths(PUBLISHED, **labels)
    path = path[(path["t"] % SCHEME_MARKERS_DAYS == 0) & (path["t"] <= until)]
    axes.plot(
        path["t"], path[quantity] / unit, "o", color=color, markerfacecolor="white", markersize=2.6,
        markeredgewidth=0.7, zorder=zorder + 0.1, clip_on=False,
    )  # fmt: skip


def one_cell(axes: Any, *, x: float = 0.02, side: str = "left") -> None:
    """Mark one cell; below it the continuous model speaks of fractions of a cell."""
    axes.axhline(1.0, color=plotting.GREY, linewidth=0.6, linestyle=":", zorder=1)
    axes.text(
        x, 1.0, "1 cell", transform=axes.get_yaxis_transform(), fontsize=6.5, color=plotting.GREY,
        va="bottom", ha=side,
    )  # fmt: skip


def solution_handles(scheme: str, *, short: bool = False) -> list[Any]:
    """Return legend handles for the two solutions; ``scheme`` says what the published one is.

    ``short`` breaks the labels into two lines.
    """
    from matplotlib.lines import Line2D

    gap = "\n" if short else " "
    return [
        Line2D([], [], color=plotting.BLACK, label=f"{ACCURATE}{gap}(LSODA, rtol {format_number(RTOL)})"),
        Line2D(
            [], [], color=plotting.BLACK, linestyle="none", marker="o", markersize=2.6,
            markerfacecolor="white", markeredgewidth=0.7, label=f"{PUBLISHED}{gap}({scheme})",
        ),
    ]  # fmt: skip
