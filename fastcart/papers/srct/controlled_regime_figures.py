"""Figures of regimes, of heterogeneity and its mechanisms, each with the numbers that it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.papers.srct.controlled_findings import LEVEL
from fastcart.papers.srct.controlled_mechanism import OUTCOMES
from fastcart.papers.srct.controlled_regimes import GROUPS, NONE
from fastcart.papers.srct.figures import Drawn

_PARTS = {
    "low then rising": "rising − single",
    "without feedback": "feedback",
    "without a rise": "rise instead of flat",
    "infusion timing": "timed infusions − single",
    "memory by promotion": "memory by promotion",
}
_TAKEN_OUT = ("without feedback", "without a rise")  # whose loss is the value of what is taken out
_LOOKS = (
    (plotting.BLUE, "o", "-"), (plotting.SKY, "x", "-."), (plotting.GREEN, "s", "--"),
    (plotting.BLACK, "D", ":"), (plotting.RED, "*", "-"),
)  # fmt: skip
_TITLES = {"CR90": "Remission (CR90)", "EFS730": "Event-free, 24 months", "crs3": "Severe CRS"}
_AT = f"Gain at {100 * LEVEL:g} % severe CRS (points)"


def _at_level(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["level"] == LEVEL]


def heterogeneity(table: pd.DataFrame) -> Drawn:
    """Draw the gain and what it consists of, and the ceiling of choice, against the spread of patients."""
    rows = _at_level(table)
    figure = plotting.new_figure(7.2, 3.1)
    panels = figure.subplots(1, 3)
    for axes, letter, endpoint in zip(panels, "ab", ("CR90", "EFS730"), strict=False):
        for (part, label), (color, marker, dash) in zip(_PARTS.items(), _LOOKS, strict=True):
            line = rows[(rows["part"] == part) & (rows["endpoint"] == endpoint)]
            sign = -100 if part in _TAKEN_OUT else 100
            axes.plot(line["het"], sign * line["gain"], color=color, marker=marker, linestyle=dash,
                      label=label, markersize=4)  # fmt: skip
        axes.axhline(0, color=plotting.GREY, linewidth=0.7, linestyle=":")
        plotting.panel(
            axes, letter, _TITLES[endpoint], "Spread (1: calibrated)", _AT if letter == "a" else ""
        )
    once = rows.drop_duplicates("het")
    panels[2].plot(once["het"], 100 * once["chosen"], "^-", color=plotting.PURPLE, label="chosen for each")
    panels[2].plot(once["het"], 100 * once["uniform"], "o--", color=plotting.BLACK, label="one for all")
    plotting.panel(panels[2], "c", "Single dose, perfect choice", "Spread (1: calibrated)", "Event-free (%)")
    panels[2].legend(loc="upper right", fontsize=6)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    told = rows[["het", "part", "endpoint", "gain", "uniform", "chosen"]].copy()
    told[["gain", "uniform", "chosen"]] *= 100
    return figure, told.rename(
        columns={"gain": "Gain (points)", "uniform": "EFS, one dose (%)", "chosen": "EFS, chosen dose (%)"}
    )


def regimes(table: pd.DataFrame) -> Drawn:
    """Draw the gain of each part in each regime as coloured cells; hatched where there is none to compare."""
    rows = _at_level(table)
    names, parts = list(dict.fromkeys(rows["regime"])), list(dict.fromkeys(rows["part"]))
    figure = plotting.new_figure(7.2, 1.9 + 0.23 * len(names))
    panels = figure.subplots(1, 2, sharey=True)
    colored = None
    for axes, letter, endpoint in zip(panels, "ab", ("CR90", "EFS730"), strict=True):
        grid = rows[rows["endpoint"] == endpoint].pivot(index="regime", columns="part", values="gain")
        values = 100 * grid.reindex(index=names, columns=parts).to_numpy(dtype=np.float64)
        colored = _cells(axes, values, most=20, white=13, form="+.0f", size=5.5)
        axes.set_xticks(range(len(parts)), parts, rotation=60, ha="right", fontsize=6)
        axes.set_yticks(range(len(names)), names, fontsize=6)
        plotting.panel(axes, letter, _TITLES[endpoint], "", "")
    figure.colorbar(colored, ax=panels, label=_AT.replace(" (", "\n("), shrink=0.6)
    told = rows[["regime", "part", "endpoint", "gain", "dose", "amplification"]].copy()
    told["gain"] *= 100
    told = told.rename(columns={"gain": "Gain (points)", "dose": "Usual dose (cells)"})
    return figure, told


def _cells(axes: Any, values: np.ndarray, *, most: float, white: float, form: str, size: float) -> Any:
    """Draw points as coloured cells with numbers, white beyond ``white``; hatched where there are none."""
    colored = axes.imshow(values, cmap="PuOr_r", vmin=-most, vmax=most, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(column, row, f"{value:{form}}", ha="center", va="center", fontsize=size,
                      color="white" if abs(value) > white else plotting.BLACK)  # fmt: skip
        else:
            axes.add_patch(_hatched(column, row))
    return colored


def _hatched(column: int, row: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(
        (column - 0.5, row - 0.5),
        1,
        1,
        facecolor="#eeeeee",
        edgecolor=plotting.GREY,
        hatch="////",
        linewidth=0,
    )


def clinics(table: pd.DataFrame) -> Drawn:
    """Draw the gain of the rising target by noise of the assays and days between visits."""
    rows = _at_level(table)
    usual = (rows["delay"] == 1.0) & (rows["lag"] == 0.25) & (rows["leak"] == 0.02)
    grid = rows[usual & (rows["family"] == "RISE_T")]
    figure = plotting.new_figure(7.2, 2.9)
    panels = figure.subplots(1, 2, sharey=True)
    colored = None
    for axes, letter, endpoint in zip(panels, "ab", ("CR90", "EFS730"), strict=True):
        wide = grid[grid["endpoint"] == endpoint].pivot(index="interval", columns="noise", values="gain")
        values = 100 * wide.to_numpy(dtype=np.float64)
        colored = _cells(axes, values, most=15, white=10, form="+.1f", size=7)
        axes.set_xticks(range(len(wide.columns)), [f"{x:g}" for x in wide.columns])
        axes.set_yticks(range(len(wide.index)), [f"{x:g}" for x in wide.index])
        plotting.panel(axes, letter, _TITLES[endpoint], "Noise of readings (sd of the logarithm)",
                       "Days between visits" if letter == "a" else "")  # fmt: skip
    figure.colorbar(colored, ax=panels, label=_AT.replace(" (", "\n("))
    shown = ["family", "noise", "interval", "delay", "lag", "leak", "endpoint", "gain"]
    told = rows[rows["endpoint"].isin(["CR90", "EFS730"])][shown].copy()
    told["gain"] *= 100
    return figure, told.rename(columns={"gain": "Gain (points)"})


def lethality(table: pd.DataFrame) -> Drawn:
    """Draw the best survival of each family, and its gain at equal severe CRS, against how deadly CRS is."""
    figure = plotting.new_figure(7.2, 3.1)
    left, right = figure.subplots(1, 2)
    names = list(dict.fromkeys(table["family"]))
    for k, name in enumerate(names):
        part = table[table["family"] == name]
        color, marker, dash = _LOOKS[k % len(_LOOKS)]
        style = {"color": color, "marker": marker, "linestyle": dash, "markersize": 4, "label": name}
        left.plot(100 * part["wanted"], 100 * part["best_OS730"], **style)
        if name != "single":
            right.plot(100 * part["wanted"], 100 * part["gain_OS730"], **style)
    right.axhline(0, color=plotting.GREY, linewidth=0.7, linestyle=":")
    deaths = "Toxic deaths under the clinical dose (%)"
    plotting.panel(left, "a", "Best over all intensities", deaths, "Alive at 24 months (%)")
    plotting.panel(right, "b", "Over the single dose, equal CRS", deaths, _AT.replace("Gain", "Survival"))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    told = table.copy()
    shares = [str(name) for name in told if str(name).startswith(("best_", "gain_")) or name == "wanted"]
    told[shares] *= 100
    return figure, told


def mechanism(tables: Mapping[str, pd.DataFrame]) -> Drawn:
    """Draw why patients differ: what each mechanism explains, and what gains are where it is alike in all."""
    variances, frozen = tables["variance"], _at_level(tables["frozen"])
    groups = [group for group in GROUPS if group in set(variances["group"])]
    figure = plotting.new_figure(7.2, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0), sharey=True)
    arms = list(dict.fromkeys(variances["arm"]))
    columns = [(arm, outcome) for outcome in OUTCOMES for arm in arms]
    wide = variances.pivot(index="group", columns=["arm", "outcome"], values="lost")
    values = 100 * wide.reindex(index=groups)[columns].to_numpy(dtype=np.float64)
    left.imshow(np.maximum(values, 0), cmap="Blues", vmin=0, vmax=45, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        left.text(column, row, f"{value:.0f}" if np.isfinite(value) else "–", ha="center", va="center",
                  fontsize=7, color="white" if value > 28 else plotting.BLACK)  # fmt: skip
    short = {"single": "single", "RISE_T": "rising"}
    heads = {"CR90": "remission", "crs3": "severe CRS", "EFS730": "event-free"}
    left.set_xticks(range(len(columns)), [f"{heads[o]}\n{short[a]}" for a, o in columns], fontsize=5.5)
    left.set_yticks(range(len(groups)), [name.replace(" and growth", "\nand growth") for name in groups])
    plotting.panel(left, "a", "Variance that only this explains (%)", "", "")
    y = {group: k for k, group in enumerate(groups)}
    for endpoint, color, marker in (("CR90", plotting.BLUE, "o"), ("EFS730", plotting.RED, "s")):
        rows = frozen[frozen["endpoint"] == endpoint]
        mine = rows[rows["group"].isin(groups)]
        right.plot(100 * mine["gain"], [y[name] for name in mine["group"]], marker, color=color, markersize=4,
                   linestyle="none", label=_TITLES[endpoint])  # fmt: skip
        for gain in rows.loc[rows["group"] == NONE, "gain"]:
            right.axvline(
                100 * gain, color=color, linewidth=0.9, linestyle="--" if endpoint == "CR90" else ":",
                label=f"{_TITLES[endpoint]}: nothing alike",
            )  # fmt: skip
    right.axvline(0, color=plotting.GREY, linewidth=0.7, linestyle=":")
    plotting.panel(right, "b", "Rising − single, this alike in all", _AT, "")
    plotting.legend_below(figure, (right,))
    alike = frozen[frozen["endpoint"].isin(["CR90", "EFS730"])]
    wide = alike.pivot(index="group", columns="endpoint", values="gain").reindex([NONE, *groups])
    told = pd.DataFrame({"Mechanism": [NONE, *groups]})
    for k, (arm, outcome) in enumerate(columns):
        told[f"{heads[outcome][0].upper()}{heads[outcome][1:]}, {short[arm]}: explains (%)"] = [
            np.nan,
            *values[:, k],
        ]
    for endpoint in ("CR90", "EFS730"):
        told[f"Gain with it alike, {endpoint} (points)"] = 100 * wide[endpoint].to_numpy()
    return figure, told


def drawn(tables: Mapping[str, pd.DataFrame]) -> dict[str, Drawn]:
    """Return the figures for which there are tables, by name of file."""
    made: dict[str, Drawn] = {}
    for name, draw in (("heterogeneity", heterogeneity), ("regimes", regimes), ("clinics", clinics),
                       ("lethality", lethality)):  # fmt: skip
        if len(tables[name]):
            made[f"controlled_{name}"] = draw(tables[name])
    if len(tables["variance"]) and len(tables["frozen"]):
        made["controlled_mechanism"] = mechanism(tables)
    return made


CAPTIONS = {
    "controlled_mechanism": (
        "Why patients differ, by mechanism",
        "a: share of the variance of each outcome that is lost when a quadratic model of the ranks of all "
        "inputs does without those of one mechanism, each patient predicted from all others, both arms at "
        f"{100 * LEVEL:g} % severe CRS; what two mechanisms explain together is in neither. b: what the "
        "rising target gains over the single dose of equal severe CRS where one mechanism is alike in all "
        "patients; dashed: where none is.",
    ),
    "controlled_heterogeneity": (
        "Like and unlike patients",
        "What the rising target gains, and what feedback, the rise and promoted memory add to it, where "
        "every spread of the prior is multiplied. c: the ceiling, a single dose for each patient with "
        "perfect information, at the same rate of severe CRS.",
    ),
    "controlled_regimes": (
        "Where parts of the claim hold",
        "Growth of effectors lowered, and other structures of the model; in each the single dose is set so "
        "that remission is as usual, and IL-6 so that severe CRS is. Points, no intervals: these are other "
        "parameters and structures, not other patients. Hatched: the rate of severe CRS is outside of "
        "a scan.",
    ),
    "controlled_clinics": (
        "How good a clinic has to be",
        "Gain of the rising target by the noise of readings and the days between visits up to day 28; "
        "hatched: the rate of severe CRS cannot be reached. The table has other delays, lags and leaks, too.",
    ),
    "controlled_lethality": (
        "Deadlier CRS, controlled",
        "The hazard of toxic death is multiplied until that share of patients dies of it under the clinical "
        "single dose. a: the best overall survival of each family over its own intensity; b: what it gains "
        "where severe CRS is equally frequent.",
    ),
}
