"""Figure 9 of Li & Lei 2025: killing rates after optimised doses, beside the control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fastcart import plotting
from fastcart.papers.frame import Job
from fastcart.papers.li_lei_2025 import drawing, optima
from fastcart.papers.li_lei_2025.comparison import FigureResult, Row, number_row
from fastcart.papers.li_lei_2025.figure8 import (
    DASHES,
    REGIMENS,
    both_solutions,
    fine_paths,
    regimen_handles,
    regimen_runs,
)
from fastcart.papers.li_lei_2025.runs import ACCURATE, PUBLISHED, Runs
from fastcart.papers.li_lei_2025.statements import assess
from fastcart.papers.li_lei_2025.statements.figure8 import STATEMENTS_9, growth, last_day

FILES = ("figure9.png", "figure9_killing.csv")
_CAPTION = (
    "Killing rates of tumor cells by (a) effector and (b) CD4+ CAR-T cells, eqs. (3.4) and (3.5), after the "
    "doses of Figure 8. Dotted: growth rate less death rate of a small tumor, λ_C - d_C, which killing must "
    "exceed for the tumor to shrink. Lines: accurate; circles: published scheme."
)
_UNTIL = 120.0
_PANELS = (("a", "killing_TE", "Effector CAR-T"), ("b", "killing_T4", "CD4+ CAR-T"))


def make(
    *,
    burdens: int = optima.BURDENS,
    threads: int | None = None,
    progress: bool | None = None,
    job: Job | None = None,
) -> FigureResult:
    """Solve, draw and compare Figure 9."""
    runs = regimen_runs(burdens, threads=threads, progress=progress, job=job)
    names = [name for _, name, _ in _PANELS]
    fine = fine_paths(burdens, names, _UNTIL, threads=threads, progress=progress, job=job)
    columns = ["solution", "regimen", "t", "killing_TE", "killing_T4"]
    return FigureResult(
        9,
        "Killing rates",
        _CAPTION,
        _draw(runs, fine),
        {"figure9_killing.csv": runs.trajectories[columns].reset_index(drop=True)},
        _rows(runs),
        [],
        assess(STATEMENTS_9, *both_solutions(runs)),
    )


def _rows(runs: Runs) -> list[Row]:
    paths = [
        {name: runs.paths(solution, regimen=name) for name in REGIMENS} for solution in (PUBLISHED, ACCURATE)
    ]
    rows = []
    for name in REGIMENS:
        for column in ("killing_TE", "killing_T4"):
            found = [float(path[name][column].max()) for path in paths]
            rows.append(number_row(f"highest {column}, {name}", "1/day", None, *found, digits=4))
        found = [last_day(path[name]["t"], path[name]["killing_TE"]) for path in paths]
        rows.append(number_row(f"last day with killing_TE > λ_C - d_C, {name}", "days", None, *found))
    return rows


def _draw(runs: Runs, fine: Mapping[str, pd.DataFrame]) -> Any:
    with plotting.style():
        figure = plotting.new_figure(7.2, 6.2)
        axes = figure.subplots(2, 1)
        for where, (letter, name, title) in zip(axes, _PANELS, strict=True):
            plotting.panel(where, letter, title, drawing.DAYS, "Killing rate (1/day)")
            for regimen, color in REGIMENS.items():
                look = {"linestyle": DASHES[regimen], "fine": fine[regimen]}
                drawing.both(where, runs, name, color, until=_UNTIL, **look, regimen=regimen)
            where.set_xlim(0, _UNTIL)
            where.set_ylim(bottom=0)
        axes[0].axhline(growth(), color=plotting.GREY, linewidth=0.8, linestyle=":")
        axes[0].text(_UNTIL, growth(), r"$\lambda_C - d_C$", ha="right", va="bottom", color=plotting.GREY)
        figure.legend(
            handles=[*regimen_handles(), *drawing.solution_handles("RK4, 1 d", short=True)],
            loc="outside lower center", ncols=6, columnspacing=1.2,
        )  # fmt: skip
    return figure
