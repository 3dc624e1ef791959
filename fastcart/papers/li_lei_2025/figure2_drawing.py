"""The picture of Figure 2 of Li & Lei 2025."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.models import get
from fastcart.papers.li_lei_2025 import drawing
from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.figure2_study import COMPARED_DAY, KEY_PARAMETERS, LAST_DAY, Study, pfs_of
from fastcart.papers.li_lei_2025.runs import ACCURATE, PUBLISHED
from fastcart.sensitivity_analysis.plots import draw_heatmap

SCATTERED = ("lambda_C", "d_C", "k_TE", "d_TE")  # panel (b)
_POINTS = 1000
_PEARSON = "Pearson correlation"
_COLORS = {PUBLISHED: plotting.ORANGE, ACCURATE: plotting.BLUE}
_SOBOL_SHOWN = 8


def draw(study: Study) -> Any:
    """Draw all panels; return the figure."""
    with plotting.style():
        figure = plotting.new_figure(7.2, 9.6)
        left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.35))
        _draw_pfs(left.subplots(), study)
        left.legend(handles=_handles(), loc="outside lower center", ncols=1)
        grid = right.add_gridspec(5, 2, height_ratios=(1, 1, 1.3, 1.25, 1.4))
        for place, name in enumerate(SCATTERED):
            _draw_scatter(right.add_subplot(grid[divmod(place, 2)]), study, name, place)
        _draw_day(right.add_subplot(grid[2, :]), study)
        over_time = right.add_subplot(grid[3, :])
        right.colorbar(_draw_over_time(over_time, study), ax=over_time, label=_PEARSON, aspect=12, pad=0.01)
        _draw_sobol(right.add_subplot(grid[4, 0]), study)
        plane = right.add_subplot(grid[4, 1])
        right.colorbar(
            _draw_boundary(plane, study), ax=plane, label="Share of responders", aspect=14, pad=0.02
        )
    return figure


def symbol(name: str) -> str:
    """Return a parameter as the paper writes it, for matplotlib."""
    text = next(p.symbol for p in get("li_lei").parameters if p.name == name)
    if name == "lambda_TPE":
        text = "λ_{TPE}"  # a bare λ in the paper
    return f"${text}$"


def _unit(name: str) -> str:
    return next(p.unit for p in get("li_lei").parameters if p.name == name)


def _draw_pfs(axes: Any, study: Study) -> None:
    accurate, scheme = study.over_responders(ACCURATE), study.over_responders(PUBLISHED)
    order = list(accurate["value"].abs().sort_values(ascending=False).index)
    y = np.arange(len(order))
    published = pd.Series(paper.PFS_CORRELATION)[order]
    half = 1.96 * (1 - published**2) / np.sqrt(paper.PUBLISHED_RESPONDERS)
    axes.hlines(y - 0.25, published - half, published + half, color=plotting.GREY, linewidth=0.7)
    axes.plot(
        published, y - 0.25, "o", color=plotting.GREY, markersize=2.4, markerfacecolor="white",
        markeredgewidth=0.7,
    )  # fmt: skip
    for shift, solution, table in (
        (0.05, PUBLISHED, scheme.loc[order]),
        (0.3, ACCURATE, accurate.loc[order]),
    ):
        axes.barh(y + shift, table["value"], 0.24, color=_COLORS[solution])
        axes.hlines(y + shift, table["low"], table["high"], color=plotting.BLACK, linewidth=0.6)
    axes.axvline(0, color=plotting.GREY, linewidth=0.6)
    axes.set_yticks(y, [symbol(name) for name in order])
    axes.set_ylim(len(order) - 0.4, -0.8)
    axes.tick_params(axis="y", length=0, labelsize=7)
    plotting.panel(axes, "a", "PFS, responders", f"{_PEARSON} with PFS", "")


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Line2D(
            [], [], color=plotting.GREY, linewidth=0.7, marker="o", markersize=2.4, markerfacecolor="white",
            markeredgewidth=0.7, label=f"published patients ({paper.PUBLISHED_RESPONDERS} responders)",
        ),
        Patch(color=_COLORS[PUBLISHED], label=f"{PUBLISHED}, new patients"),
        Patch(color=_COLORS[ACCURATE], label="accurate, large sample"),
        Line2D([], [], color=plotting.BLACK, linewidth=0.6, label="95% intervals"),
    ]  # fmt: skip


def _draw_scatter(axes: Any, study: Study, name: str, place: int) -> None:
    result = study.scheme
    x, pfs = result.design.x[:_POINTS, result.design.names.index(name)], pfs_of(result)[:_POINTS]
    axes.plot(x, pfs, "o", color=_COLORS[PUBLISHED], markersize=1.3, markeredgewidth=0, rasterized=True)
    axes.set_ylim(-3, 110)
    axes.locator_params(axis="x", nbins=3)
    letter, title = ("b", "PFS, 1000 patients") if place == 0 else ("", "")
    label = f"{symbol(name)} ({_unit(name)})"
    plotting.panel(axes, letter, title, label, drawing.PFS if place % 2 == 0 else "")


def _draw_day(axes: Any, study: Study) -> None:
    x = np.arange(len(KEY_PARAMETERS))
    for shift, solution in ((-0.2, PUBLISHED), (0.2, ACCURATE)):
        table = study.at_day(solution, COMPARED_DAY).loc[list(KEY_PARAMETERS)]
        axes.bar(x + shift, table["value"], 0.38, color=_COLORS[solution])
        axes.vlines(x + shift, table["low"], table["high"], color=plotting.BLACK, linewidth=0.8)
    axes.axhline(0, color=plotting.GREY, linewidth=0.6)
    axes.set_xticks(x, [symbol(name) for name in KEY_PARAMETERS])
    axes.tick_params(axis="x", length=0, labelsize=6)
    plotting.panel(axes, "c", f"Tumor at day {COMPARED_DAY}, all patients", "", f"{_PEARSON}\nwith ln $C$")


def _draw_over_time(axes: Any, study: Study) -> Any:
    matrix = study.scheme.matrix("ln_C").loc[list(KEY_PARAMETERS)]
    mesh = draw_heatmap(axes, matrix.rename(index=symbol), signed=True)
    axes.set_xlim(0, LAST_DAY)
    axes.tick_params(axis="y", labelsize=6.5)
    plotting.panel(axes, "d", "Tumor over time, all patients", drawing.DAYS, "")
    return mesh


def _draw_sobol(axes: Any, study: Study) -> None:
    first, second = study.sobol.outputs.names
    largest = pd.concat([study.sobol.table(name)["value"] for name in (first, second)], axis=1).max(axis=1)
    order = list(largest.sort_values(ascending=False).index[:_SOBOL_SHOWN])
    y = np.arange(len(order))
    labels = {first: "PFS", second: f"ln $C$, day {COMPARED_DAY}"}
    for shift, output, color in ((-0.2, first, plotting.BLUE), (0.2, second, plotting.SKY)):
        table = study.sobol.table(output).loc[order]
        axes.barh(y + shift, table["value"], 0.38, color=color, label=labels[output])
        axes.hlines(y + shift, table["low"], table["high"], color=plotting.BLACK, linewidth=0.8)
    axes.set_yticks(y, [symbol(name) for name in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="center right")
    plotting.panel(axes, "e", "Sobol' indices", "Total index $S_T$", "")


def _draw_boundary(axes: Any, study: Study) -> Any:
    table = study.boundary.fraction.pivot(index="k_TE", columns="lambda_C", values="responders")
    growth, killing = table.columns.to_numpy(), table.index.to_numpy()
    mesh = axes.pcolormesh(
        growth, killing, np.ma.masked_invalid(table.to_numpy()), cmap="cividis", vmin=0, vmax=1,
        rasterized=True,
    )  # fmt: skip
    axes.plot(growth, study.boundary.threshold * growth, color=plotting.BLACK, linestyle="--", linewidth=1)
    axes.set_xlim(growth[0], growth[-1])
    axes.set_ylim(killing[0], killing[-1])
    x, y = symbol("lambda_C"), symbol("k_TE")
    plotting.panel(axes, "f", "Who responds", f"{x} (1/day)", f"{y} (1/day)")
    return mesh
