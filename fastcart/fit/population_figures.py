"""Figures of a population's fit: measurements and predictions, checks by simulation, ways of starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.fit.simulated import PredictiveCheck

if TYPE_CHECKING:
    from fastcart.fit.population_fit import PopulationFit

_COLORS = {0.1: plotting.SKY, 0.5: plotting.BLUE, 0.9: plotting.SKY}
_SPREAD = 30.0  # of values, from which on axes are logarithmic
DPI = 160
_COURSES = 12  # patients whose courses are drawn


def observed_and_predicted(fit: PopulationFit) -> Any:
    """Return measurements against predictions, and weighted residuals against predictions and time."""
    table = fit.diagnostics()
    with plotting.style():
        figure = plotting.new_figure(7.2, 5.4)
        panels = figure.subplots(2, 2)
        seen = table[table["censored"] == 0]
        log = _is_wide(seen["DV"])
        for axes, column, letter, title in (
            (panels[0, 0], "PRED", "a", "Typical parameters"),
            (panels[0, 1], "IPRED", "b", "Most probable parameters of each patient"),
        ):
            axes.plot(seen[column], seen["DV"], ".", color=plotting.BLUE, alpha=0.5, markeredgewidth=0)
            positive = seen[(seen[column] > 0) & (seen["DV"] > 0)] if log else seen
            ends = [min(positive[column].min(), positive["DV"].min()), positive[[column, "DV"]].max().max()]
            axes.plot(ends, ends, color=plotting.BLACK, linewidth=0.8)
            if log:
                axes.set_xscale("log")
                axes.set_yscale("log")
                axes.set_xlim(ends[0] / 1.5, ends[1] * 1.5)
                axes.set_ylim(ends[0] / 1.5, ends[1] * 1.5)
            plotting.panel(axes, letter, title, "Predicted", "Measured")
        for axes, column, letter in ((panels[1, 0], "IPRED", "c"), (panels[1, 1], "time", "d")):
            axes.axhline(0.0, color=plotting.BLACK, linewidth=0.8)
            for level in (-1.96, 1.96):
                axes.axhline(level, color=plotting.GREY, linewidth=0.6, linestyle="--")
            some = seen[seen[column] > 0] if log and column == "IPRED" else seen
            axes.plot(some[column], some["IWRES"], ".", color=plotting.BLUE, alpha=0.5, markeredgewidth=0)
            if log and column == "IPRED":
                axes.set_xscale("log")
            label = "Time" if column == "time" else "Predicted, each patient"
            plotting.panel(axes, letter, "", label, "Weighted residual")
        return figure


def predictive_check(check: PredictiveCheck) -> Any:
    """Return percentiles of measurements on bands of simulations, and the share below the limit."""
    kinds = list(dict.fromkeys(check.bins["kind"]))
    censored = bool((check.censored["observed"] > 0).any() or (check.censored["high"] > 0).any())
    with plotting.style():
        figure = plotting.new_figure(7.2 if len(kinds) > 1 else 5.4, 5.0 if censored else 3.4)
        grid = figure.subplots(
            1 + censored, len(kinds), squeeze=False, sharex="col",
            gridspec_kw={"height_ratios": [2.4, 1.0][: 1 + censored]},
        )  # fmt: skip
        for column, kind in enumerate(kinds):
            top = grid[0, column]
            _percentiles(top, check, kind)
            word = "corrected for predictions" if check.corrected else "as measured"
            plotting.panel(top, "", f"{kind}, {word}", "" if censored else "Time", "Measured")
            if column == 0:
                top.legend()
            if censored:
                below = grid[1, column]
                mine = check.censored[check.censored["kind"] == kind]
                below.fill_between(
                    mine["time"], mine["low"], mine["high"], color=plotting.ORANGE, alpha=0.3, lw=0
                )
                below.plot(mine["time"], mine["median"], color=plotting.ORANGE)
                below.plot(mine["time"], mine["observed"], "o-", color=plotting.BLACK, linewidth=0.8)
                below.set_ylim(-0.03, 1.03)
                plotting.panel(below, "", "", "Time", "Below the limit")
        return figure


def _percentiles(axes: Any, check: PredictiveCheck, kind: str) -> None:
    mine = check.bins[check.bins["kind"] == kind]
    points = check.points[check.points["kind"] == kind]
    axes.plot(
        points["time"], points["DV"], ".", color=plotting.GREY, alpha=0.35, markeredgewidth=0, markersize=3
    )
    for level, part in mine.groupby("percentile"):
        color = _COLORS[float(level)]  # type: ignore[arg-type]
        known = part[part[["low", "high"]].notna().all(axis=1)]
        label = "simulated, 90 %" if level == 0.5 else None
        axes.fill_between(
            known["time"], known["low"], known["high"], color=color, alpha=0.35, lw=0, label=label
        )
        label = "measured: 10, 50, 90 %" if level == 0.5 else None
        axes.plot(
            part["time"], part["observed"], color=plotting.BLACK, linewidth=1.1,
            linestyle="-" if level == 0.5 else "--", label=label,
        )  # fmt: skip
    if _is_wide(points["DV"]):
        axes.set_yscale("log")
        axes.set_ylim(points["DV"][points["DV"] > 0].min() / 1.6, points["DV"].max() * 1.6)


def distribution_errors(fit: PopulationFit) -> Any:
    """Return a figure of normalised prediction distribution errors: their quantiles, and over time."""
    from scipy.special import ndtri

    table = fit.diagnostics()
    values = np.sort(table["NPDE"].dropna().to_numpy())
    expected = ndtri((np.arange(len(values)) + 0.5) / len(values))
    with plotting.style():
        figure = plotting.new_figure(7.2, 3.0)
        left, right = figure.subplots(1, 2)
        left.plot([-3.2, 3.2], [-3.2, 3.2], color=plotting.BLACK, linewidth=0.8)
        left.plot(expected, values, ".", color=plotting.BLUE, markeredgewidth=0)
        title = f"mean {values.mean():.2f}, SD {values.std(ddof=1):.2f}"
        plotting.panel(left, "a", title, "Normal quantile", "NPDE")
        right.axhline(0.0, color=plotting.BLACK, linewidth=0.8)
        for level in (-1.96, 1.96):
            right.axhline(level, color=plotting.GREY, linewidth=0.6, linestyle="--")
        right.plot(table["time"], table["NPDE"], ".", color=plotting.BLUE, alpha=0.5, markeredgewidth=0)
        plotting.panel(right, "b", "", "Time", "NPDE")
        return figure


def traces(fit: PopulationFit) -> Any:
    """Return a figure of the way of each start, and where the likelihood has its maximum."""
    names = fit.names
    columns = 4
    rows = -(-len(names) // columns)
    with plotting.style():
        figure = plotting.new_figure(7.2, 0.5 + 1.25 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for k, name in enumerate(names):
            axes = grid[k // columns, k % columns]
            for number, one in enumerate(fit.ended):
                color = plotting.PALETTE[number % len(plotting.PALETTE)]
                natural = np.array([fit.natural(row)[k] for row in one.trace])
                axes.plot(natural, color=color, linewidth=0.8)
                axes.axvline(one.switched, color=color, linewidth=0.6, linestyle=":")
            axes.axhline(fit.natural(fit.row)[k], color=plotting.BLACK, linewidth=0.6)
            plotting.panel(axes, "", name, "Iteration" if k // columns == rows - 1 else "", "")
        for k in range(len(names), rows * columns):
            grid[k // columns, k % columns].set_axis_off()
        return figure


def starts(fit: PopulationFit) -> Any:
    """Return the waterfall of the starts: -2 ln L above the best one, with Monte Carlo errors."""
    table = fit.starts().sort_values("minus2LL")
    best = table["minus2LL"].iloc[0]
    with plotting.style():
        figure = plotting.new_figure(3.6, 2.6)
        axes = figure.subplots()
        axes.axhline(0.0, color=plotting.BLACK, linewidth=0.8)
        axes.errorbar(
            range(1, len(table) + 1), table["minus2LL"] - best, yerr=1.96 * table["error"], fmt="o",
            color=plotting.BLUE, capsize=2,
        )  # fmt: skip
        axes.set_xticks(range(1, len(table) + 1))
        plotting.panel(axes, "", f"best: {best:.2f}", "Start", "-2 ln L above the best")
        return figure


def courses(fit: PopulationFit) -> Any:
    """Return a figure of the courses of the first patients through their measurements."""
    table = fit.diagnostics()
    patients = list(dict.fromkeys(table["patient"]))[:_COURSES]
    fine = fit.courses(patients)
    columns = min(4, len(patients))
    rows = -(-len(patients) // columns)
    log = _is_wide(table["DV"])
    with plotting.style():
        figure = plotting.new_figure(7.2, 0.4 + 1.4 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for k, patient in enumerate(patients):
            axes = grid[k // columns, k % columns]
            for number, (kind, mine) in enumerate(
                table[table["patient"] == patient].groupby("kind", sort=False)
            ):
                curve = fine[(fine["patient"] == patient) & (fine["kind"] == kind)]
                _course(axes, mine, curve, plotting.PALETTE[number])
            if log:
                axes.set_yscale("log")
            plotting.panel(
                axes, "", f"{patient}", "Time" if k // columns == rows - 1 else "",
                "Measured" if k % columns == 0 else "",
            )  # fmt: skip
        for k in range(len(patients), rows * columns):
            grid[k // columns, k % columns].set_axis_off()
        if log:
            known = table["DV"][table["DV"] > 0]
            grid[0, 0].set_ylim(known.min() / 3, known.max() * 2)
        return figure


def _course(axes: Any, mine: pd.DataFrame, curve: pd.DataFrame, color: str) -> None:
    cut, seen = mine[mine["censored"] != 0], mine[mine["censored"] == 0]
    axes.plot(curve["time"], curve["IPRED"], color=color, linewidth=1.0)
    axes.plot(curve["time"], curve["PRED"], color=plotting.GREY, linewidth=0.7, linestyle=":")
    axes.plot(seen["time"], seen["DV"], "o", color=color, markersize=2.5)
    axes.plot(cut["time"], cut["DV"], "v", color=plotting.RED, markersize=2.5)


def _is_wide(values: pd.Series) -> bool:
    """Whether positive values are spread so far that only a logarithmic axis shows them."""
    known = values[values > 0]
    return (
        len(known) > 0
        and bool(known.max() > _SPREAD * known.quantile(0.02))
        and len(known) > 0.9 * len(values)
    )
