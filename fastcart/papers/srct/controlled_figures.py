"""Figures of the experiment on controlled concentrations, each with the numbers that it shows.

Families differ in line and marker as well as in colour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.papers.srct.controlled_findings import LEVEL
from fastcart.papers.srct.controlled_likeness import ACUTE
from fastcart.papers.srct.controlled_tables import BENEFITS_SHOWN, COURSES, GAINERS, QUANTITIES, SHOWN
from fastcart.papers.srct.figures import Drawn
from fastcart.trial.counterfactual import DOSE

NAMES = {
    "single": "single dose",
    "FLAT": "held flat",
    "RISE_B": "rising as burden falls",
    "RISE_T": "rising with time",
    "OPEN": "same, unmeasured",
    "REV": "high, then low",
    "IL6 onoff": "off at high IL-6",
    "promote x10": "rising, memory promoted",
}
_COLORS = (
    plotting.BLACK, plotting.GREEN, plotting.PURPLE, plotting.BLUE, plotting.SKY, plotting.GREY,
    plotting.ORANGE, plotting.RED,
)  # fmt: skip
_MARKERS = ("o", "s", "v", "^", "x", "P", "D", "*")
_DASHES = ("-", "--", ":", "-", "-.", ":", "--", "-")
_SHORT = {
    "CR90": "Remission (CR90)",
    "EFS730": "Event-free, 24 months",
    "OS730": "Alive, 24 months",
    "crs4": "CRS of grade ≥ 4",
    "crs3": "CRS of grade ≥ 3",
}
_RANGE = "10 to 90 % of patients"
_ACUTE = "acute response (t_cell), scaled"
_SCALES = {"crs3": "CRS of grade ≥ 3 (%)", "crs4": "CRS of grade ≥ 4 (%)"}


def frontier(scans: pd.DataFrame, bands: pd.DataFrame) -> Drawn:
    """Draw what each family achieves against its toxicity, and mark the clinical single dose."""
    figure = plotting.new_figure(7.2, 7.6)
    panels = figure.subplots(len(BENEFITS_SHOWN), len(_SCALES), sharex="col", sharey="row")
    clinical = scans[(scans["family"] == "single") & np.isclose(scans["intensity"], DOSE)]
    shown = [name for name in SHOWN if name in set(bands["family"])]
    for (row, column), axes in np.ndenumerate(panels):
        endpoint, on = BENEFITS_SHOWN[row], tuple(_SCALES)[column]
        part = bands[(bands["endpoint"] == endpoint) & (bands["on"] == on)]
        for k, name in enumerate(SHOWN):
            line = 100 * part.loc[part["family"] == name, ["rate", "value", "low", "high"]]
            if name in shown:
                axes.fill_between(
                    line["rate"], line["low"], line["high"], color=_COLORS[k], alpha=0.09, linewidth=0
                )
                axes.plot(
                    line["rate"], line["value"], color=_COLORS[k], linestyle=_DASHES[k], linewidth=1.1,
                    marker=_MARKERS[k], markersize=3, markevery=2, label=NAMES[name],
                )  # fmt: skip
        if len(clinical):
            axes.plot(
                100 * clinical[on], 100 * clinical[endpoint], "o", markersize=8, markerfacecolor="none",
                color=plotting.BLACK, label=f"clinical dose ({DOSE:.0e} cells)".replace("e+0", "e"),
            )  # fmt: skip
        last, first = row == len(BENEFITS_SHOWN) - 1, column == 0
        plotting.panel(
            axes, "abcdef"[2 * row + column], _SHORT[endpoint], _SCALES[on] if last else "",
            "Patients (%)" if first else "",
        )  # fmt: skip
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure, scans.loc[scans["family"].isin(shown)].drop(columns=["clean730"])


def ladder(contrasts: pd.DataFrame, verdicts: pd.DataFrame) -> Drawn:
    """Draw the gain of each part of the claim at three rates of severe CRS, with intervals."""
    names = list(verdicts["part"])
    words = dict(zip(names, verdicts["verdict"], strict=True))
    endpoints = ("CR90", "EFS730", "OS730", "crs4")
    table = contrasts[(contrasts["on"] == "crs3") & contrasts["endpoint"].isin(endpoints)]
    figure = plotting.new_figure(7.2, 1.3 + 0.32 * len(names))
    panels = figure.subplots(1, len(endpoints), sharey=True)
    levels = sorted(table["level"].unique())
    for k, (axes, endpoint) in enumerate(zip(panels, endpoints, strict=True)):
        for j, (level, marker, color) in enumerate(
            zip(levels, "os^", (plotting.SKY, plotting.BLUE, plotting.BLACK), strict=False)
        ):
            rows = table[(table["endpoint"] == endpoint) & (table["level"] == level)].set_index("part")
            values = 100 * rows.reindex(names)[["low", "gain", "high"]].to_numpy(dtype=np.float64)
            y = -np.arange(len(names)) - 0.24 * (j - (len(levels) - 1) / 2)
            axes.hlines(y, values[:, 0], values[:, 2], color=color, linewidth=0.9)
            axes.plot(
                values[:, 1], y, marker, color=color, markersize=3, label=f"at {100 * level:g} % severe CRS"
            )
        axes.axvline(0, color=plotting.GREY, linewidth=0.7, linestyle=":")
        axes.set_yticks(-np.arange(len(names)), [f"{name}\n({words[name]})" for name in names], fontsize=6)
        axes.set_ylim(-len(names) + 0.4, 0.6)
        for row in range(1, len(names)):
            axes.axhline(0.5 - row, color=plotting.GREY, linewidth=0.25, alpha=0.5)
        plotting.panel(axes, "abcd"[k], _SHORT[endpoint].partition(",")[0], "Difference (points)", "")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    shown = ["part", "endpoint", "level", "gain", "low", "high"]
    told = table[shown].copy()
    told[["gain", "low", "high"]] *= 100
    return figure, told.rename(columns={"gain": "Gain (points)"})


def serum(courses: pd.DataFrame) -> Drawn:
    """Draw medians and ranges of what is in the blood, a column for each family, a row for each quantity."""
    shown = [name for name in COURSES if name in set(courses["family"])]
    figure = plotting.new_figure(7.2, 7.4)
    panels = figure.subplots(len(QUANTITIES), max(len(shown), 1), sharex=True, sharey="row", squeeze=False)
    lows = {"active": 1e5, "M": 1e5, "S": 1.0, "C": 3.0}
    for (row, column), axes in np.ndenumerate(panels):
        quantity = tuple(QUANTITIES)[row]
        if column < len(shown):
            name = shown[column]
            part = courses[(courses["family"] == name) & (courses["quantity"] == quantity)]
            floor = lows[quantity]
            low, middle, high = (part[c].clip(lower=floor / 10) for c in ("low", "median", "high"))
            color = _COLORS[SHOWN.index(name)]
            axes.fill_between(part["day"], low, high, color=color, alpha=0.2, linewidth=0, label=_RANGE)
            axes.plot(part["day"], middle, color=color, label="median")
            _behind(axes, courses, quantity, float(middle.max()))
            title = NAMES[name] if row == 0 else ""
            plotting.panel(
                axes, "abcdefghijkl"[row * len(shown) + column], title,
                "Time (days)" if row == len(QUANTITIES) - 1 else "",
                QUANTITIES[quantity] if column == 0 else "",
            )  # fmt: skip
        axes.set_yscale("log")
        top = float(courses.loc[courses["quantity"] == quantity, "high"].max())
        axes.set_ylim(lows[quantity], 2 * top if top > lows[quantity] else 10 * lows[quantity])
    plotting.legend_below(figure, panels[:, 0])
    told = courses[courses["day"].isin([0.0, 7.0, 14.0, 28.0, 60.0, 100.0])]
    return figure, told.drop(columns="intensity")


def _behind(axes: Any, courses: pd.DataFrame, quantity: str, most: float) -> None:
    """Draw the acute response of t_cell, scaled to the same maximum, where it has the quantity."""
    part = courses[(courses["family"] == ACUTE) & (courses["quantity"] == quantity)]
    if len(part) and most > 0:
        scaled = part["median"] * (most / part["median"].max())
        axes.plot(
            part["day"], scaled, color=plotting.GREY, linestyle="--", linewidth=0.9, zorder=0, label=_ACUTE
        )


def gainers(table: pd.DataFrame) -> Drawn:
    """Draw who gains, by quarter of what patients differ in."""
    figure = plotting.new_figure(7.2, 3.9)
    panels = figure.subplots(2, len(GAINERS), sharey="row")
    for (row, column), axes in np.ndenumerate(panels):
        variable, endpoint = tuple(GAINERS)[column], ("CR90", "crs3")[row]
        part = table[(table["variable"] == variable) & (table["endpoint"] == endpoint)]
        color, marker = ((plotting.BLUE, "o"), (plotting.RED, "s"))[row]
        gain, low, high = (100 * part[name].to_numpy(dtype=np.float64) for name in ("gain", "low", "high"))
        axes.vlines(part["quarter"], low, high, color=color, linewidth=1.2)
        axes.plot(part["quarter"], gain, marker, color=color, markersize=4)
        axes.axhline(0, color=plotting.GREY, linewidth=0.7, linestyle=":")
        axes.set_xticks([1, 2, 3, 4], ["low", "2", "3", "high"])
        axes.set_xlim(0.5, 4.5)
        what = f"{GAINERS[variable][0].upper()}{GAINERS[variable][1:]}"
        plotting.panel(
            axes, "abcdefgh"[row * len(GAINERS) + column], what if row == 0 else "",
            "Quarter of patients" if row else "",
            f"{('Remission', 'Severe CRS')[row]} (points)" if column == 0 else "",
        )  # fmt: skip
    told = table.copy()
    told[["gain", "low", "high"]] *= 100
    return figure, told.rename(columns={"gain": "Change (points)"})


def memory(table: pd.DataFrame) -> Drawn:
    """Draw event-free survival and the kinds of relapse by what is done for memory."""
    figure = plotting.new_figure(7.2, 3.2)
    left, right = figure.subplots(1, 2, sharey=True)
    y = -np.arange(len(table))
    left.barh(y, 100 * table["EFS730"], color=plotting.SKY, edgecolor=plotting.BLACK, linewidth=0.5)
    for place, value, crs in zip(y, 100 * table["EFS730"], 100 * table["crs3"], strict=True):
        left.text(value + 1, place, f"{value:.0f} (CRS {crs:.0f})", va="center", fontsize=6.5)
    left.set_yticks(y, list(table["arm"]), fontsize=7)
    left.set_xlim(0, 1.35 * float(np.nanmax(100 * table["EFS730"])))
    positive, negative = ((100 * table[name]).to_numpy() for name in ("relapse_positive", "relapse_negative"))
    edge = {"edgecolor": plotting.BLACK, "linewidth": 0.5}
    right.barh(y, positive, color=plotting.BLUE, label="CD19+", **edge)
    right.barh(y, negative, left=positive, color="white", hatch="////", label="CD19-", **edge)
    plotting.panel(left, "a", "Event-free at 24 months", "Patients (%); in brackets CRS ≥ 3 (%)", "")
    plotting.panel(right, "b", "Relapse within 24 months", "Patients (%)", "")
    right.legend(loc="lower right", frameon=True, framealpha=1.0, edgecolor="white")
    shown = ["arm", "crs3", "CR90", "EFS730", "OS730", "relapse_positive", "relapse_negative"]
    return figure, table[shown]


def drawn(tables: dict[str, pd.DataFrame]) -> dict[str, Drawn]:
    """Return all figures by name of file; one whose table is empty is left out."""
    made: dict[str, Any] = {
        "controlled_frontier": frontier(tables["scans"], tables["frontier"]),
        "controlled_ladder": ladder(tables["contrasts"], tables["verdicts"]),
    }
    for name, draw in (("courses", serum), ("gainers", gainers), ("memory", memory)):
        if len(tables[name]):
            made[f"controlled_{name}"] = draw(tables[name])
    return made


CAPTIONS = {
    "controlled_frontier": (
        "Efficacy against toxicity, controlled",
        "Each line is a family of arms over its intensity, the best for each rate of toxicity; bands: 95 % "
        "by resampling draws of the prior. A line above that of the single dose does better at equal "
        "toxicity. The two columns are two scales of toxicity, which may rank families differently.",
    ),
    "controlled_ladder": (
        "What each part of the claim adds",
        "Difference between two families at equal severe CRS, with 95 % intervals and in brackets the "
        "verdict. Parts that compare with the single dose say whether something helps; those that take "
        "something out of the rising target say by what is lost whether it is needed. No mark: the rate lies "
        "outside of a scan; no line: outside of that of too many resamples.",
    ),
    "controlled_courses": (
        "What is in the blood",
        f"Median and 10th to 90th percentile of patients, as if nobody died, each family at the intensity "
        f"with {100 * LEVEL:g} % severe CRS. Active effectors: those that the switch lets act. "
        "Dashed: effectors and memory of an acute endogenous response (t_cell), scaled to the same maximum.",
    ),
    "controlled_gainers": (
        "Who gains",
        f"Change by the rising target over the single dose, both at {100 * LEVEL:g} % severe CRS, by quarter "
        "of the leukemia at the start, the growth of effectors, the IL-6 that an effector makes, and the "
        "number of cells that the niche holds.",
    ),
    "controlled_memory": (
        "More memory",
        "Under the rising target at one intensity: memory cells infused (in products) and effectors made "
        "memory cells (factor of the conversion, from low burden or from the day on; from day 0 and 14 by "
        "the calendar alone).",
    ),
}
