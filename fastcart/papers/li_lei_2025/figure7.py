"""Figure 7 of Li & Lei 2025: doses for 400 tumor burdens, as published and truly optimal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.batch import solve
from fastcart.papers.frame import Job
from fastcart.papers.li_lei_2025 import drawing, optima, plans
from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.comparison import FigureResult, Row, format_number, number_row, range_row
from fastcart.papers.li_lei_2025.plans import SUBTYPES
from fastcart.papers.li_lei_2025.runs import ACCURATE, PUBLISHED, Runs, solve_both
from fastcart.papers.li_lei_2025.statements import Assessment, assess
from fastcart.papers.li_lei_2025.statements import figure7 as statements

FILES = ("figure7.png", "figure7_doses.csv", "figure7_front.csv", "figure7_unlimited.csv")
PROTOCOLS = {
    optima.PROTOCOL: plotting.BLACK,
    optima.BOX: plotting.ORANGE,
    optima.LIMITED: plotting.BLUE,
}
# small above large, so that none hides another where they agree
_MARKERS: dict[str, dict[str, Any]] = {
    optima.BOX: {"marker": "o", "markersize": 3.4, "linestyle": "none", "markeredgewidth": 0, "zorder": 2},
    optima.LIMITED: {"marker": "x", "markersize": 2.2, "linestyle": "none", "markeredgewidth": 0.4,
                     "zorder": 3},
    optima.PROTOCOL: {"marker": ".", "markersize": 1.8, "linestyle": "none", "zorder": 4},
}  # fmt: skip
_COLOURED = 0.97  # of the points of (h); what lies above has the last colour, lest one take the scale
_CAPTION = (
    "Doses for 400 tumor burdens. (a)-(f) Total dose and doses of the subtypes. (g) PFS, accurate. (h) "
    "Among doses of 1e3 to 2e7 cells of each subtype, with a total of at most the published protocol's "
    "and a peak of IL-6 of at most the control's, those of which none is better in PFS, total dose and "
    "peak IL-6 together; a marker for each of three burdens, coloured by peak IL-6, the highest 3% alike. "
    "Black: what the "
    "authors' program does, the best of 100 random doses in a box; orange: the optimum in the same box; "
    "blue: the optimum within the limits of (h)."
)
_PANELS = (
    ("b", "T4", "CD4+", "$T_4$ (cells)"),
    ("c", "TP", "Pre-CD8+", "$T_P$ (cells)"),
    ("d", "TE", "Effector", "$T_E$ (cells)"),
    ("e", "TM", "Memory", "$T_M$ (cells)"),
    ("f", "Tr", "Regulatory", "$T_r$ (cells)"),
)
_DISCARDED = 1e15  # cells
_PLAN_BURDENS = 21  # for which the plans of Figure 6 are solved
_BURDEN = "Tumor burden $C(0)$ ($10^6$ cells)"


def make(
    *,
    burdens: int = optima.BURDENS,
    threads: int | None = None,
    progress: bool | None = None,
    job: Job | None = None,
) -> FigureResult:
    """Optimise, solve, draw and compare Figure 7."""
    found = optima.optima(burdens=burdens, threads=threads, progress=progress, job=job)
    runs = dose_runs(found, threads=threads, progress=progress)
    others = plan_runs(found, threads=threads, progress=progress)
    return FigureResult(
        7,
        "Doses for tumor burdens of 1e6 to 6e6 cells",
        _CAPTION,
        _draw(runs, found),
        {
            "figure7_doses.csv": runs.endpoints,
            "figure7_front.csv": found.front,
            "figure7_unlimited.csv": found.unlimited,
        },
        _rows(runs, found),
        _notes(runs, found),
        judged(runs, found, others),
    )


def dose_runs(found: optima.Optima, *, threads: int | None = None, progress: bool | None = None) -> Runs:
    """Solve the doses of all protocols for all burdens with both solutions."""
    table = pd.concat([doses.assign(protocol=name) for name, doses in found.doses.items()], ignore_index=True)
    table["total"] = table[list(SUBTYPES)].sum(axis=1)
    return solve_both("li_lei", table, threads=threads, progress=progress)


def plan_runs(found: optima.Optima, *, threads: int | None = None, progress: bool | None = None) -> Runs:
    """Solve the plans of Figure 6 for some of the burdens, the control once."""
    C = np.sort(found.doses[optima.PROTOCOL]["C"].to_numpy())
    C = np.unique(C[np.linspace(0, len(C) - 1, min(len(C), _PLAN_BURDENS)).astype(int)])
    table = plans.treatment_plans()
    table = table[(table["change"] != "control") | (table["plan"] == "A1")][["plan", *SUBTYPES]]
    rows = table.merge(pd.DataFrame({"C": C}), how="cross")
    return solve_both("li_lei", rows, threads=threads, progress=progress)


def evidence(
    solution: str, runs: Runs, others: Runs, doses: dict[str, pd.DataFrame], start: pd.DataFrame
) -> statements.Doses:
    """Return what the statements on Figure 7 are judged by."""
    pfs = runs.ends(solution).pivot(index="C_0", columns="protocol", values="pfs")[list(PROTOCOLS)]
    by_plan = others.ends(solution).pivot(index="C_0", columns="plan", values="pfs")
    judged_doses = {name: statements.with_total(table) for name, table in doses.items()}
    return statements.Doses(judged_doses, pfs, optima.PROTOCOL, by_plan, statements.with_total(start))


def judged(runs: Runs, found: optima.Optima, others: Runs) -> list[Assessment]:
    """Judge what the text says of Figure 7: a draw as the published one on the left, optima on the right."""
    doses = found.doses
    protocol = {optima.PROTOCOL: doses[optima.PROTOCOL]}
    box = {optima.BOX: doses[optima.BOX]}
    limited = {optima.LIMITED: doses[optima.LIMITED]}
    published = {"published dose": pd.DataFrame([paper.FIGURE_8_START])}
    control = pd.DataFrame([plans.CONTROL])
    of_file = replace(
        evidence(PUBLISHED, runs, others, protocol, control),
        pfs=pd.DataFrame({optima.PROTOCOL: paper.FILE_PFS_RANGE}),
    )
    groups = (
        (statements.SCALING, protocol, box | limited, control),
        (statements.REGULATORY, protocol, box, control),
        (statements.OUTCOMES, protocol, protocol, control),
    )
    result = []
    for group, left, right, start in groups:
        result += assess(
            group,
            evidence(PUBLISHED, runs, others, left, start),
            evidence(ACCURATE, runs, others, right, start),
            published={"7.4": ("result file, burdens 1 to 200", of_file)},
        )
    return result + assess(
        statements.INCREASED,
        evidence(PUBLISHED, runs, others, published, control),
        evidence(ACCURATE, runs, others, limited, doses[optima.PROTOCOL]),
    )


def _pfs(runs: Runs, solution: str, protocol: str) -> np.ndarray:
    ends = runs.ends(solution)
    return ends.loc[ends["protocol"] == protocol, "pfs"].to_numpy()


def _rows(runs: Runs, found: optima.Optima) -> list[Row]:
    both = (PUBLISHED, ACCURATE)
    published = [_pfs(runs, solution, optima.PROTOCOL) for solution in both]
    rows = [range_row("(g) PFS of the published protocol", "days", paper.OPTIMISED_PFS_RANGE, *published)]
    for protocol in (optima.BOX, optima.LIMITED):
        rows.append(range_row(f"(g) PFS, {protocol}", "days", None, *(_pfs(runs, s, protocol) for s in both)))
    for protocol in PROTOCOLS:
        values = [float(_pfs(runs, solution, protocol)[0]) for solution in both]
        label = f"PFS at C = {format_number(optima.FIGURE_8_BURDEN)}, {protocol}"
        rows.append(number_row(label, "days", None, *values, digits=6))
    gains = [float((_pfs(runs, s, optima.BOX) - _pfs(runs, s, optima.PROTOCOL)).mean()) for s in both]
    rows.append(
        number_row("mean gain in the box over the published protocol", "days", None, *gains, digits=3)
    )
    ends = runs.ends(ACCURATE)
    for protocol in PROTOCOLS:
        chosen = ends[ends["protocol"] == protocol]
        share = float((chosen["total"] / chosen["C_0"]).median())
        rows.append(number_row(f"(a) median of total dose / C, {protocol}", "", None, share, share, digits=3))
    return rows


def _notes(runs: Runs, found: optima.Optima) -> list[str]:
    low, high = (format_number(limit) for limit in optima.LIMITS)
    solves = sum(found.solves.values())
    unlimited, few = found.unlimited, found.doses[optima.LIMITED]
    censored = int((unlimited["censored"] == 1).sum())
    worst = float((_pfs(runs, ACCURATE, optima.LIMITED) - _pfs(runs, ACCURATE, optima.PROTOCOL)).min())
    return [
        f"Published protocol: {optima.PARTICLES} random doses for each burden in a box that is proportional "
        "to it, the best kept, which is all that the authors' program does (erratum 6). Optimum: a "
        f"particle swarm of {optima.PARTICLES} particles and {optima.ITERATIONS} iterations for each "
        f"burden, all burdens at once, judged by the PFS at rtol {format_number(optima.RTOL)}.",
        f"In {_on_edge(found)} of {len(found.doses[optima.BOX])} burdens the optimum in the box has at "
        "least one dose at an end of the box (within 1% of its width): there the box, and not the model, "
        "sets it.",
        f"Within {low} to {high} cells of each subtype the optimum is unbounded: for "
        f"{censored} of {len(unlimited)} burdens tried the swarm finds doses after which the tumor is still "
        f"at or below its start at the horizon, PFS {format_number(float(unlimited['objective'].min()))} "
        "days, censored (erratum 7). A longer horizon would give a longer PFS; the number is no maximum. "
        "After these doses CAR-T cells grow without limit in this model. The authors' program discards doses "
        f"after which pre-CD8+ cells reach {format_number(_DISCARDED)}, as they do after "
        f"{_discarded(unlimited)} of "
        "these.",
        "With the total dose limited to that of the published protocol and peak IL-6 to that of the "
        f"control of Figure 5 ({format_number(found.control_peak, 4)} ng/ml), the best doses found have a "
        f"PFS that is at least {worst:.1f} days longer than that of the published protocol, for every "
        f"burden. They are effector cells and {format_number(float(few['T4'].min()), 3)} to "
        f"{format_number(float(few['T4'].max()), 3)} CD4+ cells, with the other subtypes near the lower "
        "limit.",
        f"The published protocol itself exceeds the control's peak of IL-6 for {found.above} burdens.",
        f"Solves for this figure: {solves:,} patients.",
    ]


def _discarded(unlimited: pd.DataFrame) -> int:
    """Return after how many doses pre-CD8+ cells reach what the authors' program discards."""
    peaks = solve("li_lei", unlimited[["C", *SUBTYPES]], peaks=("TP",)).endpoints["peak_TP"]
    return int((peaks >= _DISCARDED).sum())


def _on_edge(found: optima.Optima) -> int:
    """Return for how many burdens the optimum in the box has a dose at an end of the box."""
    doses = found.doses[optima.BOX]
    ends = optima.box(doses["C"].to_numpy())
    places = [(doses[name] - low) / (high - low) for name, (low, high) in ends.items()]
    return int(np.any([(place < 0.01) | (place > 0.99) for place in places], axis=0).sum())


def _draw(runs: Runs, found: optima.Optima) -> Any:
    with plotting.style():
        figure = plotting.new_figure(7.2, 7.6)
        axes = figure.subplots(3, 3)
        ends = runs.ends(ACCURATE)
        total = axes[0, 0]
        plotting.panel(total, "a", "Total dose", _BURDEN, "Total (cells)")
        _scatter(total, ends, "total")
        for where, (letter, name, title, label) in zip(axes.flat[1:6], _PANELS, strict=True):
            plotting.panel(where, letter, title, _BURDEN, label)
            _scatter(where, ends, f"{name}_0")
        for where in axes.flat[:6]:
            where.set_yscale("log")
        pfs = axes[2, 0]
        plotting.panel(pfs, "g", "PFS", _BURDEN, drawing.PFS)
        _scatter(pfs, ends, "pfs")
        pfs.set_ylim(65, 125)
        _draw_front(figure, axes[2, 1], found)
        axes[2, 2].axis("off")
        axes[2, 2].legend(handles=_handles(), loc="center", handlelength=1.2)
    return figure


def _scatter(axes: Any, ends: pd.DataFrame, column: str) -> None:
    for protocol, color in PROTOCOLS.items():
        chosen = ends[ends["protocol"] == protocol]
        axes.plot(chosen["C_0"] / 1e6, chosen[column], color=color, rasterized=True, **_MARKERS[protocol])
    axes.set_xlim(0.8, 6.2)


def _draw_front(figure: Any, axes: Any, found: optima.Optima) -> None:
    plotting.panel(axes, "h", "Trade-off", "Total dose ($10^6$ cells)", drawing.PFS)
    markers = dict(zip(optima.FRONT_BURDENS, "osD", strict=True))
    front = found.front
    peak = front["peak_I6"] * 1e4
    high = float(np.quantile(peak, _COLOURED))
    for burden, marker in markers.items():
        chosen = front["C"] == burden
        drawn = axes.scatter(
            front.loc[chosen, "total"] / 1e6, front.loc[chosen, "pfs"], c=peak[chosen], marker=marker, s=7,
            cmap="viridis", vmin=peak.min(), vmax=high, linewidths=0, rasterized=True,
        )  # fmt: skip
    axes.set_xlim(left=0)
    label = "Peak IL-6 ($10^{-4}$ ng/ml)"
    figure.colorbar(drawn, ax=axes, label=label, shrink=0.9, extend="max" if peak.max() > high else "neither")


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=color, **{**_MARKERS[protocol], "markersize": 4}, label=protocol)
        for protocol, color in PROTOCOLS.items()
    ]
    for burden, marker in zip(optima.FRONT_BURDENS, "osD", strict=True):
        label = f"(h) $C(0)$ = {burden / 1e6:.3g} $\\times 10^6$ cells"
        handles.append(
            Line2D([], [], color=plotting.GREY, linestyle="none", marker=marker, markersize=3.5, label=label)
        )
    return handles
