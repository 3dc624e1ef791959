"""Figures of the experiments, each with the numbers that it shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.models.b_all_parameters import PARAMETERS
from fastcart.papers.srct.tuning import CR90
from fastcart.protocols import get
from fastcart.trial.figures import label_arms

Drawn = tuple[Any, pd.DataFrame]
_SPLIT = ("A3", "A4", "A5")
_MISSED = 0.02  # by how much the remission of the control may miss the wanted one
_PLAIN = {"het": "Heterogeneity", "amplification": "Amplification"}
_OUTCOMES = {
    "ln_peak_T": "most\nCAR-T",
    "ln_peak_C": "peak\nIL-6",
    "CR90": "remission",
    "CD19+ relapse": "CD19+\nrelapse",
    "CD19- relapse": "CD19-\nrelapse",
    "early_B_recovery": "early B-cell\nrecovery",
}
_MEANING = {p.name: p.description.partition(" (of doses")[0] for p in PARAMETERS} | {
    "L": "leukemia at the start",
    "B": "normal B cells at the start",
    "N": "host lymphocytes at the start",
    "fR": "share of leukemia that is CD19- at the start",
}


def amplification(table: pd.DataFrame) -> Drawn:
    """Draw the gain of splitting over the iso-toxic single dose against amplification."""
    figure = plotting.new_figure(7.2, 3.3)
    panels = figure.subplots(1, 2)
    for color, marker, dash, arm in zip(
        plotting.PALETTE, plotting.MARKERS, plotting.DASHES, _SPLIT, strict=False
    ):
        part = table[table["arm"] == arm]
        for axes, gain in zip(panels, ("gain_EFS730", "gain_CR90"), strict=True):
            axes.semilogx(
                part["amplification"], 100 * part[gain], marker=marker, linestyle=dash, color=color,
                markersize=4, linewidth=1.2, label=f"{arm}: {get(arm).title}",
            )  # fmt: skip
    what = "Amplification: most CAR-T cells / engrafted cells"
    for letter, axes, title in zip(
        "ab", panels, ("Event-free at 24 months", "Remission (CR90)"), strict=True
    ):
        axes.axhline(0, color=plotting.GREY, linewidth=0.6, linestyle=":")
        plotting.panel(axes, letter, title, what, "Gain over iso-toxic single dose (points)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    shown = ["rhoE", "amplification", "arm", "dose", "crs3", "CR90", "EFS730", "gain_EFS730"]
    return figure, table[shown].rename(columns=_PLAIN)


def regime_map(table: pd.DataFrame) -> Drawn:
    """Draw the gain in event-free survival over growth rate (amplification) and heterogeneity."""
    figure = plotting.new_figure(7.2, 6.2)
    # gains mean something only where the single infusion reaches the wanted remission
    control = table[table["arm"] == "A0"].set_index(["het", "rhoE"])["CR90"]
    missed = (control < CR90 - _MISSED).unstack().to_numpy()
    gain = 100 * table["gain_EFS730"]
    reach = float(np.nanmax([gain.abs().max(), 1.0]))
    rates, hets = sorted(table["rhoE"].unique()), sorted(table["het"].unique())
    colored = None
    for k, (axes, arm) in enumerate(zip(figure.subplots(3, 1, sharex=True), _SPLIT, strict=True)):
        cells = table[table["arm"] == arm].set_index(["het", "rhoE"])
        grid = 100 * cells["gain_EFS730"].unstack().mask(missed)
        colored = axes.imshow(
            np.ma.masked_invalid(grid.to_numpy()), cmap="PuOr_r", vmin=-reach, vmax=reach, origin="lower",
            aspect="auto",
        )  # fmt: skip
        axes.set_facecolor("#D9D9D9")
        for (row, column), value in np.ndenumerate(grid.to_numpy()):
            times = short(cells["amplification"][hets[row], rates[column]])
            text = "–" if np.isnan(value) else f"{value:+.0f}" if round(value) else "0"
            text = "no dose" if missed[row, column] else text
            strong = not np.isnan(value) and abs(value) > 0.6 * reach
            axes.text(column, row, f"{text} (×{times})", ha="center", va="center", fontsize=6.5,
                      color="white" if strong else plotting.BLACK)  # fmt: skip
        axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        axes.set_yticks(range(len(hets)), [f"{het:g}" for het in hets])
        last = k == len(_SPLIT) - 1
        across = "Growth of effectors rhoE (1/day); in brackets: amplification" if last else ""
        plotting.panel(axes, "abc"[k], f"{arm}: {get(arm).title}", across, "Heterogeneity")
    figure.colorbar(colored, ax=figure.axes, label="Gain of EFS at 24 months (points)", shrink=0.6)
    shown = ["het", "rhoE", "amplification", "arm", "crs3", "CR90", "EFS730", "gain_EFS730"]
    return figure, table[shown].rename(columns=_PLAIN)


def short(value: float) -> str:
    """Return two digits without an exponent."""
    rounded = float(f"{value:.2g}")
    return f"{rounded / 1000:g}k" if rounded >= 1000 else f"{rounded:g}"


def heterogeneity(table: pd.DataFrame) -> Drawn:
    """Draw remission, severe CRS and event-free survival of A0 and A5 against heterogeneity."""
    figure = plotting.new_figure(7.2, 2.6)
    titles = {"CR90": "Remission", "crs3": "CRS of grade ≥ 3", "EFS730": "Event-free at 24 months"}
    panels = figure.subplots(1, 3, sharey=True)
    for k, (axes, (name, title)) in enumerate(zip(panels, titles.items(), strict=True)):
        for arm, color, look in (("A0", plotting.BLUE, "o-"), ("A5", plotting.RED, "s--")):
            part = table[table["arm"] == arm]
            axes.plot(part["het"], 100 * part[name], look, color=color, label=arm)
        plotting.panel(axes, "abc"[k], title, "Heterogeneity (1: calibrated)", "" if k else "Patients (%)")
    panels[0].legend(handlelength=2.6)
    return figure, table[["het", "arm", "CR90", "crs3", "EFS730", "OS730"]].rename(columns=_PLAIN)


def niche(table: pd.DataFrame, frontier: pd.DataFrame) -> Drawn:
    """Draw exploratory arms over the frontier of the single dose."""
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
        plotting.panel(axes, letter, "", "CRS of grade ≥ 3 (%)", label)
        label_arms(axes, list(table["arm"]), places, along=100 * scan[["crs3", endpoint]].to_numpy())
        axes.legend(loc="lower right")
    shown = ["arm", "title", "CR90", "crs3", "EFS730", "isotoxic_dose", "gain_CR90", "gain_EFS730"]
    return figure, table.rename(columns={"dose": "isotoxic_dose"})[shown]


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
    names = [_OUTCOMES.get(name, name) for name in table.columns if name != "parameter"]
    told = [f"{name}: {_MEANING[name]}" for name in table["parameter"].iloc[order]]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(order)), told, fontsize=6.5)
    plotting.panel(axes, "", "Single infusion, independent inputs", "", "")
    figure.colorbar(colored, label="Partial rank correlation")
    plain = {name: text[0].upper() + text[1:].replace("\n", " ") for name, text in _OUTCOMES.items()}
    return figure, table.iloc[order].rename(columns={**plain, "parameter": "Parameter"})
