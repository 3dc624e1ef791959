"""Figures of the likeness to the endogenous response, and of the question to other models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.papers.srct.controlled_findings import LEVEL
from fastcart.papers.srct.controlled_zoo import CONTRASTS, OURS
from fastcart.papers.srct.figures import Drawn
from fastcart.trial.figures import label_arms

_PANELS = (
    ("CR90", "Remission", "Patients (%)", plotting.BLUE, "o"),
    ("crs3", "Severe CRS", "", plotting.RED, "s"),
    ("gain_EFS730", "Event-free gain", "Over the single dose (points)", plotting.PURPLE, "^"),
)


def likeness(protocols: pd.DataFrame, correlations: pd.DataFrame) -> Drawn:
    """Draw what protocols achieve against the likeness of their exposure to an endogenous response."""
    figure = plotting.new_figure(7.2, 2.9)
    random = protocols["protocol"].str.startswith("random ")
    ranks = correlations[(correlations["of"] == "likeness") & (correlations["given"].fillna("") == "")]
    known = dict(zip(ranks["with"], ranks["rank"], strict=True))
    for axes, letter, (name, title, label, color, marker) in zip(
        figure.subplots(1, 3), "abc", _PANELS, strict=True
    ):
        axes.plot(protocols.loc[random, "likeness"], 100 * protocols.loc[random, name], marker, color=color,
                  markersize=3, alpha=0.6, linestyle="none")  # fmt: skip
        for row in protocols[~random].to_dict("records"):
            if np.isfinite(row[name]):
                axes.plot(row["likeness"], 100 * row[name], "D", markersize=4, color=plotting.RED)
        rank = known.get(name, np.nan)
        told = f"{title} (rank {rank:+.2f})" if np.isfinite(rank) else title
        plotting.panel(axes, letter, told, "Likeness of exposure", label)
        named = protocols[~random & np.isfinite(protocols[name])]
        places = named[["likeness", name]].to_numpy(dtype=np.float64) * (1.0, 100.0)
        others = protocols.loc[random, ["likeness", name]].to_numpy(dtype=np.float64) * (1.0, 100.0)
        label_arms(axes, list(named["protocol"]), places, along=others[np.isfinite(others).all(axis=1)],
                   fontsize=5, coincide=1e-3)  # fmt: skip
    shown = ["protocol", "likeness", "CR90", "crs3", "EFS730", "gain_EFS730"]
    told_table = protocols[shown].copy()
    return figure, told_table


def zoo(table: pd.DataFrame) -> Drawn:
    """Draw the gain in response of each contrast in each model."""
    rows = table[(table["endpoint"] == "CR90") & table["gain"].notna()]
    models = [OURS, *(name for name in dict.fromkeys(rows["model"]) if name != OURS)]
    contrasts = [name for name, _, _ in CONTRASTS if name in set(rows["contrast"])]
    figure = plotting.new_figure(7.2, 1.4 + 0.26 * len(models))
    panels = figure.subplots(1, len(contrasts), sharey=True, squeeze=False)[0]
    for axes, letter, contrast in zip(panels, "abcdef", contrasts, strict=False):
        part = rows[rows["contrast"] == contrast].set_index("model")["gain"].reindex(models)
        y = -np.arange(len(models))
        axes.axvline(0, color=plotting.GREY, linewidth=0.7, linestyle=":")
        for place, (model, gain) in zip(y, part.items(), strict=True):
            if np.isfinite(gain):
                own = model == OURS
                axes.plot(100 * gain, place, "D" if own else "o", markersize=4,
                          color=plotting.RED if own else plotting.BLUE)  # fmt: skip
            else:
                axes.text(0, place, "–", ha="center", va="center", fontsize=7)
        axes.set_yticks(y, models, fontsize=6.5)
        words = contrast.replace(" made at", "\nmade at").replace(" instead", "\ninstead")
        plotting.panel(axes, letter, words, "Gain (points)", "")
    wide = table[table["contrast"].notna()].copy()
    wide["gain"] = 100 * wide["gain"]
    shown = ["model", "contrast", "endpoint", "gain", "toxicity", "agrees"]
    names = {"CR90": "Response", "EFS730": "Response that lasts"}
    wide["endpoint"] = wide["endpoint"].map(names)
    return figure, wide[shown].rename(
        columns={
            "model": "Model", "contrast": "Contrast", "gain": "Gain (points)",
            "toxicity": "Toxic is the peak of",
            "agrees": f"As in {OURS}",
        }
    )  # fmt: skip


def drawn(tables: Mapping[str, pd.DataFrame]) -> dict[str, Drawn]:
    """Return the figures for which there are tables, by name of file."""
    made: dict[str, Drawn] = {}
    if len(tables["protocols"]):
        made["controlled_likeness"] = likeness(tables["protocols"], tables["likeness"])
    if len(tables["zoo"]) and tables["zoo"]["gain"].notna().any():
        made["controlled_zoo"] = zoo(tables["zoo"])
    return made


CAPTIONS = {
    "controlled_likeness": (
        "Likeness to the endogenous response",
        "Random protocols by how alike their exposure is to an acute response in the model t_cell: the share "
        "of four weeks' exposure to active effectors that falls into the first one, the day of most of them, "
        "and memory on day 60 over the most cells. Larger is more alike. It goes with severe CRS as with "
        "remission: it measures potency.",
    ),
    "controlled_zoo": (
        "The question to other models",
        "Gain in response (tumor below 1 % of its start by day 90) where toxicity is equal, "
        f"{100 * LEVEL:g} %, in models that can be asked: targets are held by taking effectors away at "
        "visits. Toxicity is the peak of a cytokine, or of effectors where a model has none. –: the rate is "
        "outside of a scan. It is a plainer question than that of the other figures, in b_all too.",
    ),
}
