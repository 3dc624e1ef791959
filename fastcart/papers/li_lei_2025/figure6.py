"""Figure 6 of Li & Lei 2025: 19 treatment plans of the full model."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pandas as pd

from fastcart import plotting
from fastcart.papers.li_lei_2025 import drawing, plans
from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.comparison import (
    FigureResult,
    Row,
    format_number,
    number_row,
)
from fastcart.papers.li_lei_2025.plan_table import draw_plans
from fastcart.papers.li_lei_2025.runs import ACCURATE, PUBLISHED, Runs, solve_both
from fastcart.papers.li_lei_2025.statements import Assessment, assess
from fastcart.papers.li_lei_2025.statements import figure6 as statements

FILES = ("figure6.png", "figure6_trajectories.csv", "figure6_pfs.csv", "figure6_totals.csv")
COMPARED_DAY = 50.0
SAVE_AT = tuple(float(day) for day in range(201))
_SHOWN_DAYS = 120
_GROUPS = {"A": "One subtype × 5", "B": "Total dose", "C": "Proportions"}
_CAPTION = (
    "Full model, 19 treatment plans. (a)-(c) Tumor under plans A (one subtype times five), B (total dose "
    "varied) and C (proportions varied). (d)-(f) PFS of the same plans. (g) The plans. A1, B5 and C7 are "
    "the control of Figure 5, in red; the paper's (c) and (f) number plans C from the control on (erratum "
    "10). Lines, full bars and the numbers above them: accurate; circles and open bars: published scheme; "
    "dotted in (a)-(c): one cell. The axes end at day 120, the data at day 200."
)


def make(*, threads: int | None = None, progress: bool | None = None) -> FigureResult:
    """Solve, draw and compare Figure 6."""
    table = plans.treatment_plans()
    runs = solve_both("li_lei", table, save_at=SAVE_AT, threads=threads, progress=progress)
    both = solve_both("li_lei", plans.more_of_both(), threads=threads, progress=progress)
    scan = solve_both("li_lei", plans.total_scan(), threads=threads, progress=progress)
    return FigureResult(
        6,
        "Treatment plans",
        _CAPTION,
        _draw(runs, table),
        {
            "figure6_trajectories.csv": runs.trajectories,
            "figure6_pfs.csv": runs.endpoints,
            "figure6_totals.csv": scan.endpoints,
        },
        _rows(runs, table, both),
        _notes(runs),
        judged(runs, table, both, scan),
    )


def _pfs(runs: Runs, solution: str) -> pd.Series:
    return runs.ends(solution).set_index("plan")["pfs"]


def _rows(runs: Runs, table: pd.DataFrame, both: Runs) -> list[Row]:
    scheme, accurate = _pfs(runs, PUBLISHED), _pfs(runs, ACCURATE)
    published = paper.PFS_PLAN_A | paper.PFS_PLAN_C
    rows = [
        number_row(f"PFS of plan {plan}", "days", published.get(plan), scheme[plan], accurate[plan], digits=6)
        for plan in table["plan"]
    ]
    rows.append(
        number_row(
            f"PFS, {plans.MORE_OF_BOTH}", "days", None,
            *(_pfs(both, solution)[plans.MORE_OF_BOTH] for solution in (PUBLISHED, ACCURATE)), digits=6,
        )
    )  # fmt: skip
    for plan, value in paper.TUMOR_DAY_50_PLAN_A.items():
        found = [runs.at(s, COMPARED_DAY, "C", plan=plan) for s in (PUBLISHED, ACCURATE)]
        rows.append(number_row(f"tumor at day 50, plan {plan}", "cells", value, *found))
    return rows


def evidence(solution: str, runs: Runs, table: pd.DataFrame, both: Runs, scan: Runs) -> statements.Plans:
    """Return what the statements on Figure 6 are judged by."""
    pfs = _pfs(runs, solution)
    pfs = pd.concat([pfs, _pfs(both, solution)])
    by_total = scan.ends(solution).set_index("total")["pfs"]
    paths = runs.paths(solution)
    peaks = paths.groupby("plan")[["TP", "TE", "I2", "I6"]].max()
    peaks["late_TE"] = paths[paths["t"] == COMPARED_DAY].set_index("plan")["TE"]
    return statements.Plans(pfs, _doses(table), by_total, peaks)


def _doses(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("plan")[list(plans.SUBTYPES)].astype(float)


def judged(runs: Runs, table: pd.DataFrame, both: Runs, scan: Runs) -> list[Assessment]:
    """Judge what the text says of Figure 6, by published PFS where they are known."""
    published = statements.published(statements.by_file(), _doses(table))
    named = ("6.1", "6.2", "6.3", "6.6", "6.7", "6.10")  # which rest on the PFS of plans A and C alone
    return assess(
        statements.STATEMENTS,
        evidence(PUBLISHED, runs, table, both, scan),
        evidence(ACCURATE, runs, table, both, scan),
        published=dict.fromkeys(named, ("result file", published)),
    )


def _notes(runs: Runs) -> list[str]:
    paths = runs.paths(ACCURATE)
    highest = paths.iloc[int(paths["TE"].to_numpy().argmax())]
    ends = runs.ends(ACCURATE)
    below = [str(plan) for plan in ends.loc[ends["nadir"] < 1, "plan"]]
    return [
        "The published scheme gives the day after the last one with C <= C(0), so whole days and at least 1; "
        "the accurate PFS of a tumor that never falls below its start is 0.",
        f"Plan {highest['plan']} reaches {format_number(highest['TE'], 3)} effector cells at day "
        f"{highest['t']:g}, far more than a body holds: the model has no limit on CAR-T expansion.",
        f"The tumor falls below one cell in {len(below)} plans ({', '.join(below)}); their PFS is regrowth "
        "from a fraction of a cell (erratum 8).",
        "Plans have the numbers of the table in Figure 6(g). The result files, the panels (c) and (f) and "
        "the text number plans C one higher, since they begin with the control (erratum 10): PFS of plan "
        "C4 is that of their C5.",
        "The published PFS of plans B were not available as numbers; figure6_totals.csv has the PFS at "
        "more total doses in the proportions of the control.",
        f"{plans.MORE_OF_BOTH} is no plan of the paper: it follows the advice of the text.",
    ]


def _draw(runs: Runs, table: pd.DataFrame) -> Any:
    with plotting.style():
        figure = plotting.new_figure(7.2, 9.0)
        grid = figure.add_gridspec(3, 3, height_ratios=(2.5, 1.7, 3.4))
        for column, (group, title) in enumerate(_GROUPS.items()):
            members = table.loc[table["group"] == group]
            colors = _colors(members)
            tumor = figure.add_subplot(grid[0, column])
            _draw_tumor(tumor, runs, "abc"[column], title, colors, first=column == 0)
            bars = figure.add_subplot(grid[1, column])
            _draw_bars(bars, runs, "def"[column], group, colors, first=column == 0)
        plan_axes = figure.add_subplot(grid[2, :])
        draw_plans(plan_axes, "g", table, _pfs(runs, PUBLISHED), _pfs(runs, ACCURATE))
        figure.legend(handles=_handles(), loc="outside lower center", ncols=4, columnspacing=1.4)
    return figure


def _colors(members: pd.DataFrame) -> dict[str, str]:
    """Return a colour for each plan of a group; the control is red, as in the paper."""
    palette = iter(plotting.PALETTE)
    return {
        plan: plotting.RED if change == "control" else next(palette)
        for plan, change in zip(members["plan"], members["change"], strict=True)
    }


# of the plans but the control, which has the whole line
_DASHES: tuple[Any, ...] = (
    "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 3))
)  # fmt: skip


def _draw_tumor(
    axes: Any, runs: Runs, letter: str, title: str, colors: dict[str, str], *, first: bool
) -> None:
    plotting.panel(axes, letter, title, drawing.DAYS, drawing.TUMOR if first else "")
    others = cycle(_DASHES)
    for plan, color in colors.items():
        dashes = "-" if color == plotting.RED else next(others)
        zorder = 3.0 if color == plotting.RED else 2.0
        look: dict[str, Any] = {"label": plan, "zorder": zorder, "linestyle": dashes}
        drawing.both(axes, runs, "C", color, until=_SHOWN_DAYS, **look, plan=plan)
    plotting.log_axis(axes, 1e-7, 1e11)  # with room for the legend below the curves
    drawing.one_cell(axes, x=0.99, side="right")
    axes.set_xlim(0, _SHOWN_DAYS)
    axes.set_xticks(range(0, _SHOWN_DAYS + 1, 40))
    axes.legend(loc="lower left", ncols=2, columnspacing=0.8, handlelength=2.4)


def _draw_bars(
    axes: Any, runs: Runs, letter: str, group: str, colors: dict[str, str], *, first: bool
) -> None:
    plotting.panel(axes, letter, "", f"Plan {group}", drawing.PFS if first else "")
    scheme, accurate = _pfs(runs, PUBLISHED), _pfs(runs, ACCURATE)
    for place, (plan, color) in enumerate(colors.items()):
        axes.bar(place - 0.2, scheme[plan], 0.38, color="white", edgecolor=color, linewidth=0.9)
        axes.bar(place + 0.2, accurate[plan], 0.38, color=color, edgecolor=color, linewidth=0.9)
        top = max(scheme[plan], accurate[plan])
        axes.text(place, top + 2, f"{accurate[plan]:.0f}", ha="center", va="bottom", fontsize=6.5)
    axes.set_xticks(range(len(colors)), list(colors))
    axes.set_ylim(0, 120)


def _handles() -> list[Any]:
    from matplotlib.patches import Patch

    return [
        *drawing.solution_handles("RK4, 1 d"),
        Patch(facecolor=plotting.BLACK, edgecolor=plotting.BLACK, label="PFS, accurate (number above)"),
        Patch(facecolor="white", edgecolor=plotting.BLACK, label="PFS, published scheme"),
    ]
