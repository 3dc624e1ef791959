"""Figure 4 of Li & Lei 2025: the coarse-grained model, eqs. (3.1)-(3.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.batch import solve
from fastcart.models import get
from fastcart.papers.li_lei_2025 import drawing, plans
from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.comparison import FigureResult, Row, format_number, number_row
from fastcart.papers.li_lei_2025.runs import ACCURATE, ENGINES, PUBLISHED, RTOL, Runs, solve_both
from fastcart.papers.li_lei_2025.statements import Assessment, assess
from fastcart.papers.li_lei_2025.statements import figure4 as statements

FILES = (
    "figure4.png",
    "figure4_trajectories.csv",
    "figure4_killing.csv",
    "figure4_pfs.csv",
    "figure4_threshold.csv",
)
KILLING_DAY = 40.0  # Figure 4(e)
COMPARED_DAY = 50.0
SAVE_AT = tuple(0.5 * k for k in range(201))  # 100 days
_DAYS_200 = tuple(float(day) for day in range(201))  # of the published files
_LOW, _HIGH = 1e-3, 1e11  # cells, the axis of the panels
_CAPTION = (
    "Coarse-grained model. (a) Tumor without CAR-T cells. (b) Effector and memory CAR-T cells and tumor "
    "after 1e7 effector and 1e3 memory cells. (c) Tumor by dose of effector cells, with 1e3 memory cells. "
    "(d) Tumor by dose of memory cells, with 1e7 effector cells. (e) Killing rate at day 40 by dose of "
    "memory cells. (f) PFS by dose of effector cells, with the threshold. Lines: accurate; circles: "
    "published scheme; red in (c) and (d): the doses of (b); dotted: one cell."
)


def make(*, threads: int | None = None, progress: bool | None = None) -> FigureResult:
    """Solve, draw and compare Figure 4."""
    runs = solve_both(
        "li_lei_coarse", plans.coarse_runs(), save_at=SAVE_AT, threads=threads, progress=progress
    )
    pfs = solve_both("li_lei_coarse", plans.coarse_pfs_runs(), threads=threads, progress=progress)
    scan = solve_both("li_lei_coarse", plans.threshold_scan(), threads=threads, progress=progress)
    late = solve_both(
        "li_lei_coarse", plans.coarse_default(), save_at=_DAYS_200, t_end=_DAYS_200[-1], threads=threads,
        progress=progress,
    )  # fmt: skip
    thresholds = {solution: _threshold(scan, solution) for solution in (PUBLISHED, ACCURATE)}
    killing = _killing(runs)
    return FigureResult(
        4,
        "Dynamics of the coarse-grained model",
        _CAPTION,
        _draw(runs, pfs, scan, (killing, _killing_curve(threads, progress)), thresholds),
        {
            "figure4_trajectories.csv": runs.trajectories,
            "figure4_killing.csv": killing,
            "figure4_pfs.csv": pfs.endpoints,
            "figure4_threshold.csv": scan.endpoints,
        },
        _rows(runs, pfs, killing, thresholds),
        _notes(),
        judged({s: evidence(s, runs, pfs, late, thresholds[s]) for s in thresholds}),
    )


def evidence(solution: str, runs: Runs, pfs: Runs, late: Runs, threshold: float) -> statements.Coarse:
    """Return what the statements on Figure 4 are judged by."""
    untreated = runs.paths(solution, panel="a").set_index("t")["C"]
    default = late.paths(solution).set_index("t")[["C", "TE", "TM"]]
    ends = runs.ends(solution)
    by_memory = ends[ends["panel"] == "d"].set_index("TM_0")[["pfs", "t_nadir"]]
    day = runs.paths(solution, panel="d", t=KILLING_DAY).set_index("TM_0")
    memory = by_memory.join(day[["C", "TE", "TM", "C_free", "killing_TE"]])
    by_effector = pfs.ends(solution).set_index("TE_0")["pfs"]
    return statements.Coarse(untreated, default, by_effector, memory, threshold)


def judged(found: dict[str, statements.Coarse]) -> list[Assessment]:
    """Judge what the text says of Figure 4."""
    scheme = found[PUBLISHED]
    published = replace(scheme, untreated=pd.Series(paper.UNTREATED))
    return assess(
        statements.STATEMENTS, scheme, found[ACCURATE], published={"4.1": ("result file", published)}
    )


def _threshold(scan: Runs, solution: str) -> float:
    """Return the effector dose (cells) at which PFS rises most steeply."""
    ends = scan.ends(solution)
    jump = int(np.argmax(np.diff(ends["pfs"])))
    return float(ends["TE_0"].iloc[jump : jump + 2].mean())


def _killing(runs: Runs) -> pd.DataFrame:
    """Return the killing rate (1/day) at day 40 for the memory doses of panel (d)."""
    at_day = runs.trajectories[runs.trajectories["t"] == KILLING_DAY]
    columns = ["solution", "TE_0", "TM_0", "t", "killing_TE"]
    return at_day.loc[at_day["panel"] == "d", columns].reset_index(drop=True)


def _killing_curve(threads: int | None, progress: bool | None) -> pd.DataFrame:
    """Return the accurate killing rate of panel (e) at many memory doses, for a line without kinks."""
    doses = np.geomspace(plans.MEMORY_DOSES[0], plans.MEMORY_DOSES[-1], 61)
    found = solve(
        "li_lei_coarse", {"TE": np.full(len(doses), plans.COARSE_TE), "TM": doses}, engine=ENGINES[ACCURATE],
        rtol=RTOL, save_at=[KILLING_DAY], save=["killing_TE"], threads=threads, progress=progress,
    ).trajectories  # fmt: skip
    assert found is not None
    return pd.DataFrame({"TM_0": doses, "killing_TE": found["killing_TE"].to_numpy()})


def _settled() -> float:
    """Return where the tumor settles without CAR-T cells (cells), (λ_C/d_C - 1) K_C."""
    p = get("li_lei_coarse").default_parameters()
    return (p["lambda_C"] / p["d_C"] - 1) * p["K_C"]


def _rows(runs: Runs, pfs: Runs, killing: pd.DataFrame, thresholds: dict[str, float]) -> list[Row]:
    end = SAVE_AT[-1]

    def both(t: float, quantity: str, **labels: Any) -> tuple[float, float]:
        scheme = runs.at(PUBLISHED, t, quantity, **labels)
        return scheme, runs.at(ACCURATE, t, quantity, **labels)

    rows = [
        number_row(
            "(a) tumor settles at (here: day 100)", "cells", paper.SETTLES, *both(end, "C", panel="a")
        ),
        number_row("(a) tumor at day 1", "cells", paper.UNTREATED_DAY_1, *both(1.0, "C", panel="a")),
    ]
    for name, value in paper.COARSE_DAY_50.items():
        rows.append(number_row(f"(b) {name} at day 50", "cells", value, *both(COMPARED_DAY, name, panel="b")))
    for dose, value in paper.EFFECTOR_DAY_50.items():
        found = both(COMPARED_DAY, "C", panel="c", TE_0=dose)
        label = f"(c) tumor at day 50, effector dose {format_number(dose)}"
        rows.append(number_row(label, "cells", value, *found))
    for dose, value in paper.MEMORY_DAY_50.items():
        found = both(COMPARED_DAY, "C", panel="d", TM_0=dose)
        label = f"(d) tumor at day 50, memory dose {format_number(dose)}"
        rows.append(number_row(label, "cells", value, *found))
    ends = {solution: runs.ends(solution) for solution in (PUBLISHED, ACCURATE)}
    for dose in plans.MEMORY_DOSES:
        pair = [
            end.loc[(end["panel"] == "d") & (end["TM_0"] == dose), "pfs"].iloc[0] for end in ends.values()
        ]
        label = f"(d) PFS, memory dose {format_number(dose)}"
        rows.append(number_row(label, "days", None, *pair, digits=6))
    for dose in (plans.MEMORY_DOSES[0], plans.MEMORY_DOSES[-1]):
        found = both(KILLING_DAY, "killing_TE", panel="d", TM_0=dose)
        label = f"(e) killing rate at day 40, memory dose {format_number(dose)}"
        rows.append(number_row(label, "1/day", None, *found))
    rows += _pfs_rows(pfs, thresholds)
    return rows


def _pfs_rows(pfs: Runs, thresholds: dict[str, float]) -> list[Row]:
    rows = []
    scheme, accurate = pfs.ends(PUBLISHED), pfs.ends(ACCURATE)
    for dose in (8e6, 9e6, plans.COARSE_TE, 20e6):
        index = plans.PFS_DOSES.index(dose)
        label = f"(f) PFS, effector dose {format_number(dose)}"
        found = scheme["pfs"].iloc[index], accurate["pfs"].iloc[index]
        rows.append(number_row(label, "days", None, *found, digits=6))
    found = thresholds[PUBLISHED], thresholds[ACCURATE]
    for value in (paper.THRESHOLD_CAPTION, paper.THRESHOLD_SECTION, paper.THRESHOLD_TUMOR):
        rows.append(number_row("(f) threshold of the effector dose", "cells", value, *found, digits=4))
    return rows


def _notes() -> list[str]:
    settled = _settled()
    capacity = get("li_lei_coarse").default_parameters()["K_C"]
    needed = capacity * paper.SETTLES.value / settled
    return [
        f"(λ_C/d_C - 1) K_C with the printed parameters is {format_number(settled)} cells; to settle at "
        f"{format_number(paper.SETTLES.value, 2)} cells K_C would have to be {format_number(needed, 3)} "
        f"instead of {format_number(capacity, 3)} (erratum 3).",
        "The threshold is the effector dose at which PFS rises most steeply, from a scan in steps of 1e4 "
        "cells (figure4_threshold.csv).",
        "A tumor that never falls below its start has PFS 0; the published scheme then gives its first grid "
        "time, 0.1 days.",
        "The killing rate is evaluated with the exact number of free tumor cells C* for both solutions.",
    ]


def _draw(
    runs: Runs, pfs: Runs, scan: Runs, killing: tuple[pd.DataFrame, pd.DataFrame],
    thresholds: dict[str, float],
) -> Any:  # fmt: skip
    with plotting.style():
        figure = plotting.new_figure(7.2, 7.6)
        axes = figure.subplots(3, 2)
        _draw_untreated(axes[0, 0], runs)
        _draw_default(axes[0, 1], runs)
        _draw_doses(axes[1, 0], runs, "c", _EFFECTORS)
        _draw_doses(axes[1, 1], runs, "d", _MEMORY)
        _draw_killing(axes[2, 0], *killing)
        _draw_pfs(axes[2, 1], pfs, scan, thresholds[ACCURATE])
        figure.legend(handles=drawing.solution_handles("RK4, 0.1 d"), loc="outside lower center", ncols=2)
    return figure


def _time_axis(axes: Any) -> None:
    axes.set_xlim(0, SAVE_AT[-1])


def _draw_untreated(axes: Any, runs: Runs) -> None:
    plotting.panel(axes, "a", "No CAR-T cells", drawing.DAYS, drawing.TUMOR)
    drawing.both(axes, runs, "C", plotting.BLUE, panel="a")
    plotting.log_axis(axes, 1e5, _HIGH, step=1)
    _time_axis(axes)
    stated = paper.SETTLES.value
    axes.axhline(stated, color=plotting.GREY, linewidth=0.8, linestyle="--")
    axes.text(
        99, stated * 1.3, "settles here according to the paper: $1.2\\times10^{10}$", fontsize=7,
        color=plotting.GREY, ha="right", va="bottom",
    )  # fmt: skip
    settled = f"{_settled() / 1e9:.2f}\\times10^9"
    axes.text(
        99, _settled() / 1.6, f"$(\\lambda_C/d_C-1)\\,K_C={settled}$", fontsize=7,
        color=plotting.BLUE, ha="right", va="top",
    )  # fmt: skip


def _draw_default(axes: Any, runs: Runs) -> None:
    plotting.panel(axes, "b", "Default doses", drawing.DAYS, "Cells")
    for name, color, text, x, y in (
        ("TE", plotting.ORANGE, "effector $T_E$", 14, 3e7),
        ("TM", plotting.GREEN, "memory $T_M$", 67, 1e4),
        ("C", plotting.BLUE, "tumor $C$", 66, 1.5e7),
    ):
        drawing.both(axes, runs, name, color, panel="b")
        axes.text(x, y, text, color=color, fontsize=7.5)
    plotting.log_axis(axes, _LOW, _HIGH)
    drawing.one_cell(axes)
    _time_axis(axes)


class _Doses(NamedTuple):
    """Doses of one kind of cells, and how a panel shows them."""

    column: str
    doses: tuple[float, ...]
    default: float
    unit: float
    title: str
    legend: str


_EFFECTORS = _Doses(
    "TE_0", plans.EFFECTOR_DOSES, plans.COARSE_TE, 1e6, "Tumor by effector dose", "$T_E$ dose\n($10^6$ cells)"
)
_MEMORY = _Doses(
    "TM_0", plans.MEMORY_DOSES, plans.COARSE_TM, 1e3, "Tumor by memory dose", "$T_M$ dose\n($10^3$ cells)"
)


def _draw_doses(axes: Any, runs: Runs, letter: str, shown: _Doses) -> None:
    plotting.panel(axes, letter, shown.title, drawing.DAYS, drawing.TUMOR)
    for dose, color in zip(shown.doses, plotting.ordered_colors(len(shown.doses)), strict=True):
        shade = plotting.RED if dose == shown.default else color
        which: dict[str, Any] = {"panel": letter, shown.column: dose}
        drawing.both(axes, runs, "C", shade, label=f"{dose / shown.unit:g}", **which)
    plotting.log_axis(axes, _LOW, _HIGH)
    drawing.one_cell(axes)
    _time_axis(axes)
    axes.legend(
        title=shown.legend, title_fontsize=7, loc="lower right", ncols=2, columnspacing=1.0,
        frameon=True, framealpha=1.0, edgecolor="none", borderpad=0.1,
    )  # fmt: skip


def _draw_killing(axes: Any, killing: pd.DataFrame, curve: pd.DataFrame) -> None:
    plotting.panel(
        axes, "e", "Killing rate at day 40", "Memory dose $T_M$ ($10^3$ cells)", "Killing rate $k$ (1/day)"
    )
    scheme = killing[killing["solution"] == PUBLISHED]
    axes.plot(curve["TM_0"] / 1e3, curve["killing_TE"], color=plotting.BLUE)
    axes.plot(
        scheme["TM_0"] / 1e3, scheme["killing_TE"], "o", color=plotting.BLUE,
        markerfacecolor="white",
        markersize=4, clip_on=False, zorder=3,
    )  # fmt: skip
    axes.set_ylim(0, 3.8)
    axes.set_xlim(0, 10.5)


def _draw_pfs(axes: Any, pfs: Runs, scan: Runs, threshold: float) -> None:
    plotting.panel(axes, "f", "Progression-free survival", "Effector dose $T_E$ ($10^6$ cells)", drawing.PFS)
    scheme = pfs.ends(PUBLISHED)
    accurate = pd.concat([pfs.ends(ACCURATE), scan.ends(ACCURATE)]).sort_values("TE_0")
    axes.plot(accurate["TE_0"] / 1e6, accurate["pfs"], color=plotting.BLUE)
    axes.plot(
        scheme["TE_0"] / 1e6, scheme["pfs"], "o", color=plotting.BLUE, markerfacecolor="white",
        markersize=4, clip_on=False, zorder=3,
    )  # fmt: skip
    axes.axvline(threshold / 1e6, color=plotting.RED, linewidth=0.9, linestyle="--", zorder=1)
    axes.text(
        threshold / 1e6 + 0.4, 8, f"threshold\n${threshold / 1e6:.3f}\\times10^6$ cells",
        color=plotting.RED, fontsize=7.5, va="bottom",
    )  # fmt: skip
    axes.set_xlim(0, 20.5)
    axes.set_ylim(0, 64)
    axes.set_xticks(range(0, 21, 4))
