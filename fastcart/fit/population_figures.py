"""Figures of a population's fit: measurements and predictions, checks by simulation, ways of starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.fit.panels import LONGEST, common_unit, draw_limits, finish_panels, is_wide, look_of
from fastcart.fit.simulated import PredictiveCheck, units_of

if TYPE_CHECKING:
    from fastcart.fit.population_fit import PopulationFit

_COLORS = {0.1: plotting.SKY, 0.5: plotting.BLUE, 0.9: plotting.SKY}
DPI = 160
_COURSES = 12  # patients whose courses are drawn
_ABREAST = 3  # kinds in a row
_PREDICTED = {"PRED": "Population prediction", "IPRED": "Individual prediction"}


def observed_and_predicted(fit: PopulationFit) -> Any:
    """Return measurements against predictions, and weighted residuals against predictions and time.

    What is predicted for the population is hollow, for each patient filled; kinds differ in colour and in
    marker.
    """
    table = fit.diagnostics()
    with plotting.style():
        figure = plotting.new_figure(7.2, 5.7)
        panels = figure.subplots(2, 2)
        seen = table[table["censored"] == 0]
        log = is_wide(seen["DV"]) and bool((seen[["PRED", "IPRED"]] > 0).any().all())
        unit = common_unit(units_of(fit), list(dict.fromkeys(table["kind"])))
        for axes, column, letter, title in (
            (panels[0, 0], "PRED", "a", "Typical parameters"),
            (panels[0, 1], "IPRED", "b", "Most probable parameters of each patient"),
        ):
            _points(axes, fit, seen, column, "DV")
            positive = seen[(seen[column] > 0) & (seen["DV"] > 0)] if log else seen
            if len(positive):
                ends = [positive[[column, "DV"]].min().min(), positive[[column, "DV"]].max().max()]
                axes.plot(ends, ends, color=plotting.BLACK, linewidth=0.8, label="measured as predicted")
            if log:
                axes.set_xscale("log")
                axes.set_yscale("log")
                axes.set_xlim(ends[0] / 1.5, ends[1] * 1.5)
                axes.set_ylim(ends[0] / 1.5, ends[1] * 1.5)
            label = plotting.with_unit(_PREDICTED[column], unit)
            plotting.panel(axes, letter, title, label, plotting.with_unit("Measured", unit))
        time = plotting.time_label(fit.complete.prepared.model.time_unit)
        label = plotting.with_unit(_PREDICTED["IPRED"], unit)
        for axes, column, letter, under in (
            (panels[1, 0], "IPRED", "c", label), (panels[1, 1], "time", "d", time)
        ):  # fmt: skip
            _standard_normal(axes)
            some = seen[seen[column] > 0] if log and column == "IPRED" else seen
            _points(axes, fit, some, column, "IWRES")
            if log and column == "IPRED":
                axes.set_xscale("log")
            plotting.panel(axes, letter, "", under, "Weighted residual, IWRES")
        plotting.legend_below(figure, panels.flat)
        return figure


def _points(axes: Any, fit: PopulationFit, table: pd.DataFrame, x: str, y: str) -> None:
    """Draw measurements, of each kind in its colour and marker, hollow against what is for the population."""
    words = {"PRED": ", population prediction", "IPRED": ", individual prediction"}.get(x, "")
    for number, one in enumerate(fit.complete.prepared.observations):
        mine = table[table["kind"] == one.dvid]
        color, marker = look_of(number)
        face = "none" if x == "PRED" else color
        # residuals against time are those of individual predictions, too
        label = _name(fit, one.dvid) + (words or ", individual prediction")
        axes.plot(
            mine[x], mine[y], marker, color=color, markerfacecolor=face, markersize=2.5, markeredgewidth=0.5,
            alpha=0.7, label=label,
        )  # fmt: skip


def _standard_normal(axes: Any) -> None:
    """Draw where a standard normal number has its mean, and 95 % of its values."""
    axes.axhline(0.0, color=plotting.BLACK, linewidth=0.8)
    for level in (-1.96, 1.96):
        axes.axhline(
            level, color=plotting.GREY, linewidth=0.6, linestyle="--", label="95 % if the model is right"
        )


def predictive_check(check: PredictiveCheck) -> Any:
    """Return percentiles of measurements on bands of simulations, and the share below the limit."""
    kinds = list(dict.fromkeys(check.bins["kind"]))
    censored = bool((check.censored["observed"] > 0).any() or (check.censored["high"] > 0).any())
    time = plotting.time_label(check.time_unit)
    columns = min(len(kinds), _ABREAST)
    rows = -(-len(kinds) // columns)
    with plotting.style():
        figure = plotting.new_figure(7.2 if columns > 1 else 5.4, 0.5 + (4.9 if censored else 3.3) * rows)
        grid = figure.subplots(
            (1 + censored) * rows, columns, squeeze=False,
            gridspec_kw={"height_ratios": [2.4, 1.0][: 1 + censored] * rows},
        )  # fmt: skip
        for number, kind in enumerate(kinds):
            row, column = divmod(number, columns)
            top = grid[(1 + censored) * row, column]
            _percentiles(top, check, kind)
            word = "corrected for predictions" if check.corrected else "as measured"
            label = plotting.with_unit("Measured", check.units.get(kind, ""))
            plotting.panel(
                top, "", f"{plotting.shortened(kind, LONGEST)}, {word}", "" if censored else time, label
            )
            if censored:
                below = grid[2 * row + 1, column]
                below.sharex(top)
                top.tick_params(labelbottom=False)
                _shares(below, check.censored[check.censored["kind"] == kind])
                plotting.panel(below, "", "", time, "Share below\nthe limit")
        for spare in range(len(kinds), rows * columns):
            row, column = divmod(spare, columns)
            for axes in grid[(1 + censored) * row : (1 + censored) * (row + 1), column]:
                axes.set_axis_off()
        plotting.legend_below(figure, grid.flat, columns=3 if columns > 1 else 2)
        return figure


def _shares(axes: Any, mine: pd.DataFrame) -> None:
    axes.fill_between(
        mine["time"], mine["low"], mine["high"], color=plotting.ORANGE, alpha=0.3, lw=0,
        label="simulated share: 90 % interval",
    )  # fmt: skip
    axes.plot(mine["time"], mine["median"], color=plotting.ORANGE, label="simulated share: median")
    axes.plot(
        mine["time"], mine["observed"], "o-", color=plotting.BLACK, linewidth=0.8, label="measured share"
    )
    axes.set_ylim(-0.03, 1.03)


def _percentiles(axes: Any, check: PredictiveCheck, kind: str) -> None:
    mine = check.bins[check.bins["kind"] == kind]
    points = check.points[check.points["kind"] == kind]
    for level, part in mine.groupby("percentile"):
        known = part[part[["low", "high"]].notna().all(axis=1)]
        which = "median" if level == 0.5 else "10 and 90 %"
        axes.fill_between(
            known["time"], known["low"], known["high"], color=_COLORS[float(level)], alpha=0.35, lw=0,  # type: ignore[arg-type]
            label=f"simulated {which}: 90 % interval",
        )  # fmt: skip
        axes.plot(
            part["time"], part["observed"], color=plotting.BLACK, linewidth=1.1,
            linestyle="-" if level == 0.5 else "--", label=f"measured: {which}",
        )  # fmt: skip
    # above the bands, and dark enough to be seen on them
    axes.plot(
        points["time"], points["DV"], "o", color=plotting.BLACK, markerfacecolor="none", markersize=2.5,
        markeredgewidth=0.5, alpha=0.6, label="measurement",
    )  # fmt: skip
    if is_wide(points["DV"]):
        axes.set_yscale("log")
        axes.set_ylim(points["DV"][points["DV"] > 0].min() / 1.6, points["DV"].max() * 1.6)
    plotting.from_zero(axes)


def distribution_errors(fit: PopulationFit) -> Any:
    """Return a figure of normalised prediction distribution errors: their quantiles, and over time."""
    from scipy.special import ndtri

    table = fit.diagnostics()
    values = np.sort(table["NPDE"].dropna().to_numpy())
    expected = ndtri((np.arange(len(values)) + 0.5) / len(values))
    name = "Normalised prediction\ndistribution error"
    with plotting.style():
        figure = plotting.new_figure(7.2, 3.2)
        left, right = figure.subplots(1, 2)
        left.plot([-3.2, 3.2], [-3.2, 3.2], color=plotting.BLACK, linewidth=0.8, label="standard normal")
        left.plot(
            expected, values, "o", color=plotting.BLUE, markersize=2, markeredgewidth=0, label="measurement"
        )
        title = f"mean {values.mean():.2f}, SD {values.std(ddof=1):.2f}"
        plotting.panel(left, "a", title, "Quantile of the standard normal distribution", name)
        _standard_normal(right)
        right.plot(
            table["time"], table["NPDE"], ".", color=plotting.BLUE, alpha=0.7, markeredgewidth=0,
            label="measurement",
        )  # fmt: skip
        plotting.panel(right, "b", "", plotting.time_label(fit.complete.prepared.model.time_unit), name)
        plotting.legend_below(figure, (left, right))
        return figure


def traces(fit: PopulationFit) -> Any:
    """Return a figure of the way of each start, and where the likelihood has its maximum."""
    names = fit.names
    units = {item.name: item.unit for item in fit.complete.prepared.model.items}
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    with plotting.style():
        figure = plotting.new_figure(7.2, 0.8 + 1.25 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for k, name in enumerate(names):
            axes = grid[k // columns, k % columns]
            for number, one in enumerate(fit.ended):
                color = plotting.PALETTE[number % len(plotting.PALETTE)]
                dash = plotting.DASHES[number % len(plotting.DASHES)]
                natural = np.array([fit.natural(row)[k] for row in one.trace])
                axes.plot(natural, color=color, linestyle=dash, linewidth=0.8, label=f"start {number + 1}")
                axes.axvline(
                    one.switched,
                    color=plotting.GREY,
                    linewidth=0.6,
                    linestyle=":",
                    label="averaged from here",
                )
            axes.axhline(
                fit.natural(fit.row)[k],
                color=plotting.BLACK,
                linewidth=0.6,
                label="maximum of the likelihood",
            )
            last = k + columns >= len(names)  # of its column
            label = plotting.with_unit(plotting.shortened(name, LONGEST), units.get(name, ""))
            plotting.panel(axes, "", label, "Iteration" if last else "", "")
            axes.tick_params(labelbottom=last)
        for k in range(len(names), rows * columns):
            grid[k // columns, k % columns].set_axis_off()
        plotting.legend_below(figure, grid.flat, columns=6)
        return figure


def starts(fit: PopulationFit) -> Any:
    """Return the waterfall of the starts: -2 ln L above the best one, with Monte Carlo errors."""
    table = fit.starts().sort_values("minus2LL")
    best = table["minus2LL"].iloc[0]
    with plotting.style():
        figure = plotting.new_figure(3.8, 2.8)
        axes = figure.subplots()
        axes.axhline(0.0, color=plotting.BLACK, linewidth=0.8)
        axes.errorbar(
            range(1, len(table) + 1), table["minus2LL"] - best, yerr=1.96 * table["error"], fmt="o",
            color=plotting.BLUE, capsize=2, label="95 % of the Monte Carlo error",
        )  # fmt: skip
        axes.set_xticks(range(1, len(table) + 1))
        axes.margins(x=0.15)
        plotting.panel(
            axes, "", f"best: -2 ln L = {best:.2f}", "Start, the best first", "-2 ln L above the best"
        )
        plotting.legend_below(figure, (axes,))
        return figure


def courses(fit: PopulationFit) -> Any:
    """Return a figure of the courses of the first patients through their measurements."""
    table = fit.diagnostics()
    patients = list(dict.fromkeys(table["patient"]))[:_COURSES]
    fine = fit.courses(patients)
    columns = min(4, len(patients))
    rows = -(-len(patients) // columns)
    log = is_wide(table["DV"])
    time = plotting.time_label(fit.complete.prepared.model.time_unit)
    places = {one.dvid: k for k, one in enumerate(fit.complete.prepared.observations)}
    kinds = list(dict.fromkeys(table["kind"]))
    unit = common_unit(units_of(fit), kinds)
    alone = _name(fit, kinds[0]) if len(kinds) == 1 else "Measured"
    with plotting.style():
        figure = plotting.new_figure(max(7.2 * columns / 4, 4.4), 0.9 + 1.4 * max(rows, 1.5))
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for k, patient in enumerate(patients):
            axes = grid[k // columns, k % columns]
            for kind, mine in table[table["patient"] == patient].groupby("kind", sort=False):
                curve = fine[(fine["patient"] == patient) & (fine["kind"] == kind)]
                prefix = f"{_name(fit, str(kind))}, " if len(kinds) > 1 else ""
                _course(axes, mine, curve, places[kind], prefix)
        finish_panels(
            figure, grid, [f"{patient}" for patient in patients], time=time,
            label=plotting.with_unit(alone, unit), log_of=table["DV"] if log else None,
        )  # fmt: skip
        return figure


def _course(axes: Any, mine: pd.DataFrame, curve: pd.DataFrame, place: int, prefix: str) -> None:
    color, marker = look_of(place)
    cut, seen = mine[mine["censored"] != 0], mine[mine["censored"] == 0]
    axes.plot(
        curve["time"], curve["IPRED"], color=color, linewidth=1.0, label=f"{prefix}individual prediction"
    )
    # by dots, and in the colour of its kind where there are several
    grey = color if prefix else plotting.GREY
    axes.plot(
        curve["time"], curve["PRED"], color=grey, linewidth=0.8, linestyle=":",
        label=f"{prefix}population prediction",
    )  # fmt: skip
    if len(seen):
        axes.plot(seen["time"], seen["DV"], marker, color=color, markersize=2.8, label=f"{prefix}measured")
    draw_limits(axes, cut)


def _name(fit: PopulationFit, kind: str) -> str:
    """Return how a kind is called: by what is measured, where the table has only a number for it."""
    prediction = next(one.prediction for one in fit.complete.prepared.observations if one.dvid == kind)
    name = prediction if kind.isdigit() and isinstance(prediction, str) else kind
    return plotting.shortened(name, LONGEST)
