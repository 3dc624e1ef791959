"""Figures of the job ``t-cell-theories``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.batch import solve
from fastcart.models import get
from fastcart.models.t_cell_presets import PRESETS
from fastcart.models.t_cell_scenarios import PRODUCTS
from fastcart.papers.frame import Tables
from fastcart.papers.t_cell_theories.facts import FACTS, POPULATION

_CELLS = ("S", "C", "M", "E")
_COLORS = dict(
    zip((*_CELLS, "A"), (plotting.PURPLE, plotting.BLUE, plotting.GREEN, plotting.ORANGE, plotting.GREY),
        strict=True)
)  # fmt: skip
_NAMES = {"S": "S stem-like", "C": "C central memory", "M": "M effector memory", "E": "E effector"}
_STROKES = dict(zip(_CELLS, ("-.", "-", "--", (0, (5, 1, 1, 1, 1, 1))), strict=True))
_PRODUCT_LINES = {
    name: {"color": color, "linestyle": dash}
    for name, color, dash in zip(PRODUCTS, plotting.PALETTE, plotting.DASHES, strict=False)
}
_PRODUCT_POINTS = {
    name: {"color": color, "marker": marker, "linestyle": "none"}
    for name, color, marker in zip(PRODUCTS, plotting.PALETTE, plotting.MARKERS, strict=False)
}
_BACK = "antigen is back after a year (white in the map)"
_ANTIGEN = "Antigen (cells)"


def pictures(tables: Tables, threads: int) -> Iterator[tuple[str, Any]]:
    """Yield name of file and figure, one by one."""
    yield "facts.png", facts(tables["facts.csv"])
    courses_of = _courses(threads)
    yield "courses.png", courses(courses_of)
    yield "phase.png", phase(courses_of)
    yield "firmness.png", firmness(tables)
    yield "union_map.png", union_map(tables["union_map.csv"])
    yield "x1_products.png", products(tables["x1_products.csv"])
    yield "x2_theories.png", theories(tables["x2_theories.csv"])
    yield "x3_doses.png", doses(tables["x3_doses.csv"], tables["x3_splits.csv"])
    yield "x4_boosts.png", boosts(tables["x4_live.csv"], tables["x4_vaccine.csv"])
    yield "x5_variance.png", variance(tables["x5_indices.csv"], tables["x5_variances.csv"])


def facts(table: pd.DataFrame) -> Any:
    """Facts by theories: filled where reproduced."""
    presets = list(dict.fromkeys(table["preset"]))
    names = [fact.name for fact in FACTS if fact.name in set(table["fact"])]
    figure = plotting.new_figure(7.2, 4.6)
    axes = figure.subplots()
    held = table.pivot(index="fact", columns="preset", values="holds").loc[names, presets].to_numpy(bool)
    axes.imshow(np.where(held, 0.0, 1.0), cmap=_two_colors(), aspect="auto", vmin=0, vmax=1)
    values = table.pivot(index="fact", columns="preset", values="value").loc[names, presets].to_numpy(float)
    for i in range(len(names)):
        for j in range(len(presets)):
            text = "none" if np.isnan(values[i, j]) else f"{values[i, j]:.3g}"
            color = "white" if held[i, j] else plotting.BLACK
            axes.text(j, i, text, ha="center", va="center", fontsize=6, color=color)
    texts = {fact.name: f"{fact.text}  {fact.name}" for fact in FACTS}
    axes.set_yticks(range(len(names)), [texts[name] for name in names], fontsize=6.5)
    counts = held.sum(axis=0)
    labels = [f"{name}\n{count}/{len(names)}" for name, count in zip(presets, counts, strict=True)]
    axes.set_xticks(range(len(presets)), labels, fontsize=6.5, rotation=30, ha="right")
    axes.set_title("Number simulated; dark: within the cut, light: outside")
    axes.tick_params(length=0)
    return figure


def _two_colors() -> Any:
    matplotlib = plotting.require_matplotlib()
    return matplotlib.colors.ListedColormap([plotting.BLUE, "#E8E8E8"])


def _courses(threads: int) -> dict[str, pd.DataFrame]:
    times = np.unique(np.r_[np.linspace(0, 15, 151), np.linspace(15, 300, 96)])
    found = {}
    for name in PRESETS:
        model = get("t_cell", preset=name)
        path = solve(model, save_at=times, t_end=300.0, threads=threads, progress=False).trajectories
        assert path is not None
        found[name] = path
    return found


def courses(found: dict[str, pd.DataFrame]) -> Any:
    """Composition over time, a panel for each theory."""
    figure = plotting.new_figure(7.2, 6.4)
    grid = figure.subplots(3, 3, sharex=True, sharey=True)
    for k, (name, path) in enumerate(found.items()):
        axes = grid.flat[k]
        for a in _CELLS:
            axes.plot(path["t"], path[a].clip(lower=1e-3), color=_COLORS[a], ls=_STROKES[a], label=_NAMES[a])
        axes.plot(path["t"], path["A"].clip(lower=1e-3), color=_COLORS["A"], ls=":", label="antigen")
        axes.set_xscale("symlog", linthresh=10)
        axes.set_xlim(0, 300)
        axes.set_xticks([0, 5, 10, 30, 100, 300], ["0", "5", "10", "30", "100", "300"])
        plotting.log_axis(axes, 1.0, 1e9)
        plotting.panel(
            axes, "abcdefghi"[k], name, "Time (days)" if k > 5 else "", "Cells, antigen" if k % 3 == 0 else ""
        )
    figure.legend(
        *grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, handlelength=2.6
    )
    return figure


def phase(found: dict[str, pd.DataFrame]) -> Any:
    """Phase plots: T cells against antigen, and memory against effectors."""
    figure = plotting.new_figure(7.2, 3.2)
    left, right = figure.subplots(1, 2)
    for k, (name, path) in enumerate(found.items()):
        style = {
            "color": (*plotting.PALETTE, plotting.RED, plotting.GREY)[(k + k // 8) % 8],
            "ls": plotting.DASHES[k % len(plotting.DASHES)],
            "lw": 2.2 if name == "unified" else 1.0, "label": name,
        }  # fmt: skip
        seen = path["A"] > 1e-3
        left.plot(path["A"][seen], path["T"][seen].clip(lower=1e-1), **style)
        right.plot(path["E"].clip(lower=1), (path["S"] + path["C"] + path["M"]).clip(lower=1), **style)
    for axes, xlabel, ylabel, letter, title in (
        (left, _ANTIGEN, "T cells", "a", "response and clearance"),
        (right, "Effectors E (cells)", "Memory S + C + M (cells)", "b", "effectors and memory"),
    ):
        axes.set_xscale("log")
        axes.set_yscale("log")
        plotting.panel(axes, letter, title, xlabel, ylabel)
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", handlelength=2.6)
    return figure


def firmness(tables: Tables) -> Any:
    """How firm the table is: mixtures, reverse arrows, common rates."""
    figure = plotting.new_figure(7.2, 2.9)
    mix, reverse, random = figure.subplots(1, 3)
    table = tables["mixtures.csv"]
    mix.plot(table["weight"], table["passes"], "o-", color=plotting.BLUE)
    plotting.panel(mix, "a", "weighted mean", "Weight of progressive over linear", "Facts of 16")
    table, robust = tables["reverse.csv"], tables["reverse_robust.csv"]
    reverse.plot(table["factor"], table["passes"], "o-", color=plotting.BLUE, label="default rates, of 16")
    reverse.errorbar(
        robust["factor"], robust["mean"], robust["sd"], color=plotting.ORANGE, marker="s", capsize=2,
        label="random rates, of 14 (SD)",
    )  # fmt: skip
    plotting.panel(reverse, "b", "unified, reverse arrows times", "Factor", "Facts")
    reverse.legend(loc="lower right")
    table = tables["robustness.csv"].sort_values("mean")
    random.barh(table["preset"], table["mean"], xerr=table["sd"], color=plotting.SKY, capsize=2)
    plotting.panel(random, "c", "random common rates", "Facts of 14, mean and SD", "")
    random.set_xlim(0, len(POPULATION))
    for axes in (mix, reverse):
        axes.set_ylim(0, 16)
    return figure


def union_map(table: pd.DataFrame) -> Any:
    """Facts by theory and strength of the reverse arrows that are added to it."""
    figure = plotting.new_figure(5.6, 3.0)
    axes = figure.subplots()
    mean = table.pivot(index="preset", columns="factor", values="mean").loc[
        list(dict.fromkeys(table["preset"]))
    ]
    mesh = axes.imshow(mean, cmap="viridis", aspect="auto")
    middle = (mean.to_numpy().min() + mean.to_numpy().max()) / 2
    for i, row in enumerate(mean.to_numpy()):
        for j, value in enumerate(row):
            color = plotting.BLACK if value > middle else "white"
            axes.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=6.5, color=color)
    axes.set_yticks(range(len(mean)), list(mean.index))
    axes.set_xticks(range(len(mean.columns)), [f"{factor:g}" for factor in mean.columns])
    axes.tick_params(length=0)
    figure.colorbar(mesh, label=f"Facts of {len(POPULATION)}, mean")
    plotting.panel(axes, "", "Reverse arrows of unified added, random common rates",
                   "Strength of the added arrows", "")  # fmt: skip
    return figure


def products(table: pd.DataFrame) -> Any:
    """X1: persistence follows composition, the peak follows load and potency, a threshold of clearing."""
    figure = plotting.new_figure(7.2, 2.9)
    left, middle, right = figure.subplots(1, 3)
    kappas = sorted(table["kappa"].unique())
    loads = sorted(table["A"].unique())
    standard = kappas[len(kappas) // 2]
    load = min(loads, key=lambda A: abs(np.log(A / 1e11)))
    cut = table[(table["kappa"] == standard) & (table["A"] == load)]
    share = cut["share_S"] + cut["share_C"]
    left.plot(share, cut["T180"], "s", markersize=2, color=plotting.BLUE, label="cells on day 180")
    left.plot(share, cut["peak"], "o", markersize=2, color=plotting.ORANGE, label="peak")
    left.set_yscale("log")
    plotting.panel(left, "a", f"antigen {load:.1e}", "Share of Tscm and Tcm", "Cells")
    left.set_ylim(cut["T180"].min() / 100, None)  # room for the legend
    left.legend(loc="lower right")
    for kappa, color in zip(kappas, plotting.ordered_colors(len(kappas)), strict=True):
        group = table[table["kappa"] == kappa].groupby("A")
        middle.plot(group["peak"].median().index, group["peak"].median(), color=color)
        cleared = group["cleared"].agg(lambda day: np.isfinite(day).mean())
        right.plot(cleared.index, cleared, color=color, label=f"{kappa:.1e}")
    for axes in (middle, right):
        axes.set_xscale("log")
    middle.set_yscale("log")
    plotting.panel(middle, "b", "median over products", "Antigen at the start (cells)", "Peak (cells)")
    plotting.panel(right, "c", "cleared by day 180", "Antigen at the start (cells)", "Share of products")
    figure.legend(*right.get_legend_handles_labels(), loc="outside right center", title="κ (1/(cell day))")
    return figure


def theories(table: pd.DataFrame) -> Any:
    """X2: persistence of five products under each theory."""
    figure = plotting.new_figure(7.2, 2.8)
    left, right = figure.subplots(1, 2, sharey=True)
    presets = list(dict.fromkeys(table["preset"]))
    for name in PRODUCTS:
        rows = table[table["product"] == name].set_index("preset").loc[presets]
        look = _PRODUCT_POINTS[str(name)]
        left.plot(rows["T180"].clip(lower=1e-2), presets, label=str(name), **look)
        right.plot(rows["peak"], presets, **look)
    for axes, letter, label in ((left, "a", "Cells on day 180"), (right, "b", "Peak (cells)")):
        axes.set_xscale("log")
        plotting.panel(axes, letter, "", label, "")
    left.invert_yaxis()
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center")
    return figure


def doses(table: pd.DataFrame, splits: pd.DataFrame) -> Any:
    """X3: dose and fractionation."""
    figure = plotting.new_figure(7.2, 2.8)
    left, middle, right = figure.subplots(1, 3)
    for name, group in table.groupby("product", sort=False):
        look = _PRODUCT_LINES[str(name)]
        marker = _PRODUCT_POINTS[str(name)]["marker"]
        left.plot(group["dose"], group["peak"], **look)
        middle.plot(group["dose"], group["t_peak"], **look)
        left.plot([], [], marker=marker, label=str(name), **look)  # of all panels
    left.set_xscale("log")
    left.set_yscale("log")
    left.set_ylim(1e9, 1e11)
    middle.set_xscale("log")
    middle.set_ylim(0, None)
    plotting.panel(left, "a", "", "Dose (cells)", "Peak (cells)")
    plotting.panel(middle, "b", "", "Dose (cells)", "Day of the peak")
    for name, group in splits.groupby("product", sort=False):
        right.plot(group["relative"], range(len(group)), **_PRODUCT_POINTS[str(name)])
    labels = list(dict.fromkeys(splits["split"]))
    right.set_yticks(range(len(labels)), [label.replace(" on ", "\non ") for label in labels])
    right.set_xlim(0, 1.2)
    plotting.panel(right, "c", "", "Cells on day 180, over single", "")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5, handlelength=3.0)
    return figure


def boosts(live: pd.DataFrame, vaccine: pd.DataFrame) -> Any:
    """X4: gain in persistence by a boost, by day and amount; crosses where antigen is back after a year."""
    from matplotlib.lines import Line2D

    figure = plotting.new_figure(7.2, 3.0)
    grid = figure.subplots(1, 2, sharey=True)
    top = np.log10(max(live["gain"].max(), vaccine["gain"].max()))
    for axes, table, letter, title in (
        (grid[0], live, "a", "live antigen"), (grid[1], vaccine, "b", "vaccine, does not grow")
    ):  # fmt: skip
        rows = table[table["product"] == "typical"]
        gain = rows.pivot(index="amount", columns="day", values="gain")
        image = axes.pcolormesh(
            gain.columns, gain.index, np.log10(gain.clip(lower=1e-2)), cmap="viridis", vmin=0, vmax=top,
            shading="nearest",
        )  # fmt: skip
        back = rows[rows["relapse"]]
        axes.plot(back["day"], back["amount"], "x", color="white", ms=3)
        axes.set_yscale("log")
        plotting.panel(
            axes, letter, title, "Day of the boost", "Antigen given (cells)" if letter == "a" else ""
        )
    handle = Line2D([], [], color=plotting.BLACK, linestyle="none", marker="x", markersize=4, label=_BACK)
    figure.legend(handles=[handle], loc="outside lower center")
    figure.colorbar(image, ax=grid, label="log10 of cells on day 180, over no boost")
    return figure


def variance(indices: pd.DataFrame, spreads: pd.DataFrame) -> Any:
    """X5: which differences between patients make peak, persistence and clearance differ."""
    figure = plotting.new_figure(7.2, 3.2)
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    cohort = indices[indices["cohort"] == indices["cohort"].iloc[-1]]
    outputs = list(dict.fromkeys(cohort["output"]))
    inputs = list(dict.fromkeys(cohort["input"]))
    width = 0.8 / len(inputs)
    colors = [*plotting.PALETTE, plotting.GREY, plotting.RED]
    hatches = ("", "////", "", "\\\\\\\\", "....", "", "xxxx", "")
    for k, name in enumerate(inputs):
        rows = cohort[cohort["input"] == name].set_index("output").loc[outputs]
        places = np.arange(len(outputs)) + (k - len(inputs) / 2 + 0.5) * width
        left.bar(
            places,
            rows["ST"].clip(lower=0),
            width,
            color=colors[k],
            hatch=hatches[k],
            edgecolor="white",
            lw=0,
            label=name,
        )
    left.set_xticks(range(len(outputs)), outputs)
    plotting.panel(left, "a", "with contraction that differs", "", "Total Sobol index of the logarithm")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=8)
    names = list(spreads["quantity"])
    columns = [column for column in spreads.columns if column != "quantity"]
    for k, column in enumerate(columns):
        right.barh(
            np.arange(len(names)) + (k - 1) * 0.27, spreads[column], 0.25,
            color=(plotting.SKY, plotting.BLUE, plotting.ORANGE)[k], hatch=("", "", "////")[k],
            edgecolor="white", lw=0, label=column,
        )  # fmt: skip
    right.set_yticks(range(len(names)), names)
    plotting.panel(right, "b", "", "Variance of the logarithm", "")
    right.legend(loc="upper right", bbox_to_anchor=(1.0, 1.0))
    right.set_xlim(0, None)
    return figure
