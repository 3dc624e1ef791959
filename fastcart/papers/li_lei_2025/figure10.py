"""Figure 10 of Li & Lei 2025: doses averaged over tumor burdens, proportions, random proportions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.papers.frame import Job
from fastcart.papers.li_lei_2025 import drawing, optima
from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.comparison import (
    FigureResult,
    Row,
    ends_agree,
    format_number,
    range_row,
)
from fastcart.papers.li_lei_2025.plans import SUBTYPES
from fastcart.papers.li_lei_2025.runs import ACCURATE, PUBLISHED, Runs, solve_both
from fastcart.papers.li_lei_2025.statements import Assessment, assess
from fastcart.papers.li_lei_2025.statements import figure10 as statements

FILES = ("figure10.png", "figure10_pfs.csv", "figure10_bins.csv")
BIN = 0.5e6  # cells
DRAWS = 5  # random proportions for each burden
AVERAGED, RANDOM = "averaged doses", "random proportions"
_MARKERS = {optima.PROTOCOL: "o", optima.BOX: "s", optima.LIMITED: "x"}
_COLORS = {
    optima.PROTOCOL: plotting.BLACK, optima.BOX: plotting.ORANGE, optima.LIMITED: plotting.BLUE,
}  # fmt: skip
_NAMES = {"T4": "CD4+", "TP": "Pre-CD8+", "TE": "Effector", "TM": "Memory", "Tr": "Regulatory"}
_CAPTION = (
    "Doses of Figure 7 made simple. (a) Doses averaged over burdens in bins of 0.5e6 cells, and the PFS "
    "when every burden gets the average of its bin. (b) Proportions of the subtypes in the averaged doses; "
    "grey: the ranges that the paper states. (c) PFS with the total dose of the bin (published protocol) "
    "and proportions drawn at random in these ranges; effector cells are the rest. Black: published "
    "protocol; orange: optimum in the published box; blue: optimum under limits on total dose and peak "
    "IL-6. PFS in (a) and (c) is accurate; the published scheme is in the data."
)
_BURDEN = "Tumor burden $C(0)$ ($10^6$ cells)"


def make(
    *,
    burdens: int = optima.BURDENS,
    threads: int | None = None,
    progress: bool | None = None,
    job: Job | None = None,
) -> FigureResult:
    """Average, draw proportions, solve, draw and compare Figure 10."""
    found = optima.optima(burdens=burdens, threads=threads, progress=progress, job=job)
    bins = averaged(found)
    table = pd.concat([_averaged_doses(found, bins), _random_doses(found, bins)], ignore_index=True)
    runs = solve_both("li_lei", table, threads=threads, progress=progress)
    single = solve_both("li_lei", found.doses[optima.PROTOCOL], threads=threads, progress=progress)
    return FigureResult(
        10,
        "Averaged doses and proportions",
        _CAPTION,
        _draw(runs, bins),
        {"figure10_pfs.csv": runs.endpoints, "figure10_bins.csv": bins},
        _rows(runs, bins),
        _notes(runs),
        judged(runs, single, bins),
    )


def evidence(solution: str, runs: Runs, single: Runs, bins: dict[str, pd.DataFrame]) -> statements.Simplified:
    """Return what the statements on Figure 10 are judged by."""
    return statements.Simplified(
        single.ends(solution)["pfs"].to_numpy(),
        _pfs(runs, solution, AVERAGED, optima.PROTOCOL),
        _pfs(runs, solution, RANDOM, optima.PROTOCOL).reshape(-1, DRAWS),
        bins,
    )


def judged(runs: Runs, single: Runs, bins: pd.DataFrame) -> list[Assessment]:
    """Judge what the text says of Figure 10."""
    by_protocol = {str(name): part for name, part in bins.groupby("protocol", sort=False)}
    drawn = {optima.PROTOCOL: by_protocol.pop(optima.PROTOCOL)}
    result = []
    for group, right in ((statements.OUTCOMES, drawn), (statements.PROPORTIONS, by_protocol)):
        result += assess(
            group, evidence(PUBLISHED, runs, single, drawn), evidence(ACCURATE, runs, single, right)
        )
    return sorted(result, key=lambda assessment: float(assessment.statement.name))


def _bin(C: Any) -> np.ndarray:
    return np.floor(np.asarray(C, dtype=float) / BIN).astype(int)


def averaged(found: optima.Optima) -> pd.DataFrame:
    """Return mean doses and proportions for each protocol and bin of burdens."""
    parts = []
    for protocol, doses in found.doses.items():
        mean = doses[list(SUBTYPES)].groupby(_bin(doses["C"])).mean()
        total = mean.sum(axis=1)
        shares = {f"share_{name}": mean[name] / total for name in SUBTYPES}
        frame = mean.assign(total=total, **shares, low=mean.index * BIN, high=(mean.index + 1) * BIN)
        parts.append(frame.rename_axis("bin").reset_index().assign(protocol=protocol))
    return pd.concat(parts, ignore_index=True)


def _averaged_doses(found: optima.Optima, bins: pd.DataFrame) -> pd.DataFrame:
    """Return the averaged dose of its bin for every burden and protocol."""
    parts = []
    for protocol, doses in found.doses.items():
        mine = bins[bins["protocol"] == protocol].set_index("bin").loc[_bin(doses["C"])]
        frame = mine[list(SUBTYPES)].reset_index(drop=True).assign(C=doses["C"].to_numpy())
        parts.append(frame.assign(strategy=AVERAGED, protocol=protocol))
    return pd.concat(parts, ignore_index=True)


def _random_doses(found: optima.Optima, bins: pd.DataFrame) -> pd.DataFrame:
    """Return doses with the total of the bin and random proportions, `DRAWS` for each burden."""
    C = np.repeat(found.doses[optima.PROTOCOL]["C"].to_numpy(), DRAWS)
    total = bins[bins["protocol"] == optima.PROTOCOL].set_index("bin").loc[_bin(C), "total"].to_numpy()
    rng = np.random.default_rng([optima.SEED, 2])
    shares = {
        name: rng.uniform(*ends, len(C)) for name, ends in paper.PROPORTION_RANGES.items() if name != "TE"
    }
    low, high = paper.PROPORTION_RANGES["TE"]
    rest = 1.0 - sum(shares.values())
    # at the very ends of the other ranges the rest leaves its own by less than a thousandth
    shares["TE"] = np.clip(rest, low, high)
    doses = {name: shares[name] * total for name in SUBTYPES}
    return pd.DataFrame(doses).assign(C=C, strategy=RANDOM, protocol=optima.PROTOCOL)


def _pfs(runs: Runs, solution: str, strategy: str, protocol: str) -> np.ndarray:
    ends = runs.ends(solution)
    return ends.loc[(ends["strategy"] == strategy) & (ends["protocol"] == protocol), "pfs"].to_numpy()


def _rows(runs: Runs, bins: pd.DataFrame) -> list[Row]:
    both = (PUBLISHED, ACCURATE)
    stated = {optima.PROTOCOL: paper.AVERAGED_PFS_RANGE}
    rows = [
        range_row(
            f"(a) PFS with {AVERAGED}, {protocol}", "days", stated.get(protocol),
            *(_pfs(runs, solution, AVERAGED, protocol) for solution in both),
        )
        for protocol in _COLORS
    ]  # fmt: skip
    mine = bins[bins["protocol"] == optima.PROTOCOL]
    for name, (low, high) in paper.PROPORTION_RANGES.items():
        shares = mine[f"share_{name}"]
        range_text = f"{format_number(low)} to {format_number(high)}"
        text = f"{format_number(float(shares.min()), 3)} to {format_number(float(shares.max()), 3)}"
        rows.append(
            Row(
                f"(b) proportion of {name}, published protocol",  "", range_text, paper.TEXT, text, text,
                _agrees(shares, low, high),
            )
        )  # fmt: skip
    rows.append(
        range_row(
            f"(c) PFS with {RANDOM}", "days", paper.RANDOM_PFS_RANGE,
            *(_pfs(runs, solution, RANDOM, optima.PROTOCOL) for solution in both),
        )
    )  # fmt: skip
    return rows


def _agrees(shares: pd.Series, low: float, high: float) -> str:
    """Say whether averages of random doses reach both ends of a stated range, within a tenth of its width."""
    near = (high - low) / 10
    return ends_agree(abs(shares.min() - low) <= near, abs(shares.max() - high) <= near)


def _notes(runs: Runs) -> list[str]:
    limited = _pfs(runs, ACCURATE, AVERAGED, optima.LIMITED)
    lost = int((limited < 0.9 * np.median(limited)).sum())
    return [
        "Proportions and averages are those of a random draw of 100 doses for each burden, as published; "
        "another draw gives somewhat other bins. An end of a range of proportions agrees within a tenth "
        "of the width of the range.",
        f"Averaging the optimum under limits loses more than a tenth of the median PFS for {lost} of "
        f"{len(limited)} burdens: a sharp optimum does not bear averaging where the dose depends on the "
        "burden.",
    ]


def _draw(runs: Runs, bins: pd.DataFrame) -> Any:
    with plotting.style():
        figure = plotting.new_figure(7.2, 7.4)
        grid = figure.add_gridspec(3, 10)
        _draw_doses(figure.add_subplot(grid[0, :5]), bins)
        _draw_pfs(figure.add_subplot(grid[0, 5:]), runs, AVERAGED, "", "PFS with averaged doses")
        for k, name in enumerate(SUBTYPES):
            axes = figure.add_subplot(grid[1, 2 * k : 2 * k + 2])
            _draw_share(axes, bins, name, "b" if k == 0 else "")
        _draw_pfs(figure.add_subplot(grid[2, :6]), runs, RANDOM, "c", "PFS with random proportions")
        legend = figure.add_subplot(grid[2, 6:])
        legend.axis("off")
        legend.legend(handles=_handles(), loc="center")
    return figure


def _draw_doses(axes: Any, bins: pd.DataFrame) -> None:
    plotting.panel(axes, "a", "Averaged doses", _BURDEN, "Dose (cells)")
    styles = dict(zip(("total", "T4"), ("-", "--"), strict=True))
    for protocol, color in _COLORS.items():
        mine = bins[bins["protocol"] == protocol]
        for column, line in styles.items():
            edges = np.append(mine["low"], mine["high"].iloc[-1]) / 1e6
            axes.stairs(mine[column], edges, color=color, linestyle=line, baseline=None, linewidth=1.2)
            axes.plot((edges[1:] + edges[:-1]) / 2, mine[column], **_look(protocol))
    axes.set_yscale("log")
    axes.set_xlim(0.8, 6.2)


def _look(protocol: str) -> dict[str, Any]:
    """Return how points of a protocol are drawn: in its colour and with its marker."""
    return {
        "color": _COLORS[protocol], "linestyle": "none", "marker": _MARKERS[protocol], "markersize": 2.8,
        "markerfacecolor": "none" if protocol == optima.BOX else _COLORS[protocol], "markeredgewidth": 0.8,
    }  # fmt: skip


def _draw_pfs(axes: Any, runs: Runs, strategy: str, letter: str, title: str) -> None:
    plotting.panel(axes, letter, title, _BURDEN, drawing.PFS)
    ends = runs.ends(ACCURATE)
    ends = ends[ends["strategy"] == strategy]
    for protocol in _COLORS:
        chosen = ends[ends["protocol"] == protocol]
        if len(chosen):
            look = _look(protocol) | {"markersize": 1.8, "markeredgewidth": 0.4}
            axes.plot(chosen["C_0"] / 1e6, chosen["pfs"], rasterized=True, **look)
    axes.set_xlim(0.8, 6.2)
    axes.set_ylim(0, 130)


def _draw_share(axes: Any, bins: pd.DataFrame, name: str, letter: str) -> None:
    plotting.panel(axes, letter, _NAMES[name], "$C(0)$ ($10^6$ cells)", "Proportion" if letter else "")
    axes.axhspan(*paper.PROPORTION_RANGES[name], color="#D0D0D0", linewidth=0)
    for protocol in _COLORS:
        mine = bins[bins["protocol"] == protocol]
        axes.plot((mine["low"] + BIN / 2) / 1e6, mine[f"share_{name}"], **_look(protocol))
    if name not in ("TP", "TE"):
        axes.set_yscale("log")
    axes.set_xlim(0.8, 6.2)


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Line2D([], [], label=protocol, **_look(protocol) | {"markersize": 4}) for protocol in _COLORS]
    return [
        *handles,
        Line2D([], [], color=plotting.GREY, linestyle="-", label="(a) total dose"),
        Line2D([], [], color=plotting.GREY, linestyle="--", label="(a) CD4+ cells"),
        Patch(color="#D0D0D0", label="(b) stated range"),
    ]
