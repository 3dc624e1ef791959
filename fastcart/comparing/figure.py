"""The figure of a comparison: courses in common units, and what the table says of each model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastcart import plotting

if TYPE_CHECKING:
    from fastcart.comparing.compare import Comparison

_ROWS = 5  # for which there is room at least
_FEWEST = 1.0  # cells that are drawn


def comparison_figure(comparison: Comparison) -> Any:
    """Return a figure of a comparison.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    matplotlib.figure.Figure
        CAR-T cells and tumor over time; expansion, persistence, fall of the tumor and relapse of each model.
    """
    table = comparison.table[comparison.table["status"] == "ok"].reset_index(drop=True)
    with plotting.style():
        figure = plotting.new_figure(7.2, 5.4)
        top, below = figure.subfigures(2, 1, height_ratios=[1.25, 1.0])
        cart, tumor = top.subplots(1, 2)
        colors = plotting.ordered_colors(len(table))
        for k, name in enumerate(table["model"]):
            course = comparison.courses[comparison.courses["model"] == name]
            line = {"color": colors[k], "linestyle": plotting.DASHES[k % len(plotting.DASHES)]}
            for axes, column in ((cart, "cart"), (tumor, "tumor")):
                shown = np.where(course[column] >= _FEWEST, course[column], np.nan)
                axes.plot(course["t"], shown, label=name if axes is cart else None, **line)
        for axes, letter, title, unit in (
            (cart, "a", f"CAR-T after a dose of {comparison.dose:.3g} cells", "CAR-T (cells)"),
            (tumor, "b", "Tumor", "Tumor (cells)"),
        ):
            axes.set_yscale("log")
            axes.set_xlim(0, comparison.horizon)  # also where all are gone before
            plotting.panel(axes, letter, title, "Time (days)", unit)
        if len(table):
            top.legend(loc="outside right upper", handlelength=2.6)
        _bars(below, table, colors, comparison.horizon)
    return figure


def _bars(part: Any, table: Any, colors: list[Any], horizon: float) -> None:
    """Draw a row of panels with a bar for each model."""
    panels = part.subplots(1, 4, sharey=True)
    places = np.arange(len(table))
    for axes, letter, column, title, unit in zip(
        panels, "cdef", ("cmax", "persistence", "log10_fall", "relapse"),
        ("Expansion", "Persistence", "Fall to the nadir", "Relapse"),
        ("Most CAR-T (cells)", "Time (days)", "Tumor (decades)", "Time (days)"), strict=True,
    ):  # fmt: skip
        values = table[column].to_numpy(dtype=float) if len(table) else np.empty(0)
        if column == "cmax":
            axes.set_xscale("log")
            axes.plot(values, places, "none")
            axes.scatter(values, places, c=colors, s=14)
        else:
            axes.barh(places, np.nan_to_num(values), color=colors, height=0.6)
        if column in ("persistence", "relapse"):
            axes.set_xlim(0, 1.05 * horizon)
        if column == "relapse":
            for place in places[np.isnan(values)]:
                axes.text(0.02 * horizon, place, "none", va="center", fontsize=6.5)
        plotting.panel(axes, letter, title, unit, "")
    panels[0].set_yticks(places, table["model"].tolist())
    panels[0].set_ylim(max(len(table), _ROWS) - 0.5, -0.5)  # bars of one model are no walls
