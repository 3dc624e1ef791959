"""Figures of the experiments, each with the numbers that it shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fastcart import plotting

Drawn = tuple[Any, pd.DataFrame]


def amplification(table: pd.DataFrame) -> Drawn:
    """Draw the gain of splitting over the iso-toxic single dose against amplification."""
    figure = plotting.new_figure(7.2, 3.0)
    axes, other = figure.subplots(1, 2)
    for color, arm in zip(plotting.PALETTE, ("A3", "A4", "A5"), strict=False):
        part = table[table["arm"] == arm]
        axes.semilogx(part["amplification"], 100 * part["gain_EFS730"], "o-", color=color, label=arm)
        other.semilogx(part["amplification"], 100 * part["gain_CR90"], "o-", color=color, label=arm)
    what = "Amplification: most CAR-T cells / engrafted cells"
    for letter, panel, title in (("a", axes, "Event-free at 24 months"), ("b", other, "Remission (CR90)")):
        panel.axhline(0, color=plotting.GREY, linewidth=0.6, linestyle=":")
        plotting.panel(panel, letter, title, what, "Gain over iso-toxic single dose (points)")
    axes.legend()
    return figure, table[["rhoE", "amplification", "arm", "dose", "crs3", "CR90", "EFS730", "gain_EFS730"]]


def regime_map(table: pd.DataFrame) -> Drawn:
    """Draw the gain in event-free survival over growth rate (amplification) and heterogeneity."""
    figure = plotting.new_figure(7.2, 3.0)
    arms = ("A3", "A4", "A5")
    reach = float(np.nanmax([100 * table["gain_EFS730"].abs().max(), 1.0]))
    colored = None
    for k, (axes, arm) in enumerate(zip(figure.subplots(1, 3, sharey=True), arms, strict=True)):
        grid = 100 * table[table["arm"] == arm].pivot(index="het", columns="rhoE", values="gain_EFS730")
        colored = axes.imshow(
            np.ma.masked_invalid(grid.to_numpy()), cmap="PuOr_r", vmin=-reach, vmax=reach, origin="lower",
            aspect="auto",
        )  # fmt: skip
        axes.set_facecolor("#D9D9D9")
        for (row, column), value in np.ndenumerate(grid.to_numpy()):
            text = "–" if np.isnan(value) else f"{value:+.0f}"
            strong = not np.isnan(value) and abs(value) > 0.6 * reach
            axes.text(column, row, text, ha="center", va="center", fontsize=6.5,
                      color="white" if strong else plotting.BLACK)  # fmt: skip
        median = table.groupby("rhoE")["amplification"].median()
        labels = [f"{rho:g}\n×{median[rho]:.2g}" for rho in grid.columns]
        axes.set_xticks(range(len(grid.columns)), labels, fontsize=6)
        axes.set_yticks(range(len(grid.index)), [f"{het:g}" for het in grid.index])
        plotting.panel(axes, "abc"[k], arm, "rhoE (1/d), median amplification", "" if k else "Heterogeneity")
    figure.colorbar(colored, ax=figure.axes, label="Gain of EFS at 24 months (points)", shrink=0.8)
    return figure, table[["het", "rhoE", "amplification", "arm", "crs3", "CR90", "EFS730", "gain_EFS730"]]


def heterogeneity(table: pd.DataFrame) -> Drawn:
    """Draw remission, severe CRS and event-free survival of A0 and A5 against heterogeneity."""
    figure = plotting.new_figure(7.2, 2.6)
    titles = {"CR90": "Remission", "crs3": "CRS of grade ≥ 3", "EFS730": "Event-free at 24 months"}
    panels = figure.subplots(1, 3, sharey=True)
    for k, (axes, (name, title)) in enumerate(zip(panels, titles.items(), strict=True)):
        for arm, color in (("A0", plotting.BLUE), ("A5", plotting.RED)):
            part = table[table["arm"] == arm]
            axes.plot(part["het"], 100 * part[name], "o-", color=color, label=arm)
        plotting.panel(axes, "abc"[k], title, "Heterogeneity (1: calibrated)", "" if k else "Patients (%)")
    panels[0].legend()
    return figure, table[["het", "arm", "CR90", "crs3", "EFS730", "OS730"]]


def niche(table: pd.DataFrame, frontier: pd.DataFrame) -> Drawn:
    """Draw exploratory arms over the frontier of the single dose."""
    from fastcart.trial.figures import arm_labels

    figure = plotting.new_figure(7.2, 3.6)
    for axes, letter, endpoint, label in zip(
        figure.subplots(1, 2),
        "ab",
        ("CR90", "EFS730"),
        ("CR within 90 days (%)", "Event-free at 24 months (%)"),
        strict=True,
    ):
        scan = frontier.sort_values("dose")
        axes.plot(
            100 * scan["crs3"], 100 * scan[endpoint], ".-", color=plotting.GREY, label="single infusion"
        )
        places = 100 * table[["crs3", endpoint]].to_numpy(dtype=np.float64)
        axes.plot(places[:, 0], places[:, 1], "o", color=plotting.RED, markersize=4, label="arm")
        for name, place in arm_labels(list(table["arm"]), places):
            axes.annotate(name, place, xytext=(-4, 4), textcoords="offset points", fontsize=6.5, ha="right",
                          color=plotting.RED)  # fmt: skip
        plotting.panel(axes, letter, "", "CRS of grade ≥ 3 (%)", label)
        axes.legend(loc="lower right")
    shown = ["arm", "title", "CR90", "crs3", "EFS730", "dose", "gain_CR90", "gain_EFS730"]
    return figure, table[shown]


def prcc(table: pd.DataFrame) -> Drawn:
    """Draw partial rank correlations as coloured cells."""
    figure = plotting.new_figure(7.2, 4.6)
    axes = figure.subplots()
    values = table.drop(columns="parameter").to_numpy()
    order = np.argsort(-np.abs(values).max(axis=1))
    colored = axes.imshow(values[order], cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values[order]):
        axes.text(column, row, f"{value:+.2f}", ha="center", va="center", fontsize=6,
                  color="white" if abs(value) > 0.6 else plotting.BLACK)  # fmt: skip
    names = [name for name in table.columns if name != "parameter"]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(order)), table["parameter"].iloc[order])
    plotting.panel(axes, "", "Single infusion, independent inputs", "Outcome", "Parameter")
    figure.colorbar(colored, label="Partial rank correlation")
    return figure, table.iloc[order]
