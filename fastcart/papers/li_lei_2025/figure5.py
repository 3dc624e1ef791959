"""Figure 5 of Li & Lei 2025: the full model after the control doses, cells and cytokines."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fastcart import plotting
from fastcart.papers.li_lei_2025 import drawing, plans
from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.comparison import FigureResult, Row, number_row
from fastcart.papers.li_lei_2025.runs import ACCURATE, PUBLISHED, Runs, solve_both
from fastcart.papers.li_lei_2025.statements import Assessment, assess
from fastcart.papers.li_lei_2025.statements import figure5 as statements

FILES = ("figure5.png", "figure5_trajectories.csv", "figure5_pfs.csv", "figure5_variants.csv")
COMPARED_DAY = 50.0
SAVE_AT = tuple(float(day) for day in range(201))
_CAPTION = (
    "Full model, control doses: 1e4 CD4+, 1e7 pre-CD8+, 1e7 effector, 1e3 memory and 1e3 regulatory CAR-T "
    "cells; 1e6 tumor cells and 1e2 macrophages. (a) Tumor. (b)-(f) CAR-T subtypes. (g) Cytokines at "
    "quasi-equilibrium, eqs. (2.10)-(2.13), in the colour of the cells that they follow. The panel of "
    "macrophages, which make IL-6, is an addition to the paper's. Lines: accurate; circles: published "
    "scheme; dotted in (a): one cell."
)

# letter, quantity, title, y label, scale of the axis
_CELLS = (
    ("b", "T4", "CD4+ CAR-T", "$T_4$ ($10^3$ cells)", 1e3),
    ("c", "TP", "Pre-CD8+ CAR-T", "$T_P$ ($10^7$ cells)", 1e7),
    ("d", "TE", "Effector CAR-T", "$T_E$ ($10^7$ cells)", 1e7),
    ("e", "TM", "Memory CAR-T", "$T_M$ ($10^3$ cells)", 1e3),
    ("f", "Tr", "Regulatory CAR-T", "$T_r$ ($10^3$ cells)", 1e3),
    ("", "M", "Macrophages", "$M$ ($10^3$ cells)", 1e3),
)
_CYTOKINES = (
    ("g", "I2", "IL-2", "IL-2 ($10^{-2}$ ng/ml)", 1e-2),
    ("", "Ig", "IFN-γ", "IFN-γ ($10^{-3}$ ng/ml)", 1e-3),
    ("", "Tb", "TGF-β", "TGF-β (ng/ml)", 1.0),
    ("", "I6", "IL-6", "IL-6 ($10^{-3}$ ng/ml)", 1e-3),
)
_NOTES = [
    "The variants (figure5_variants.csv) are not in the paper; they are the control with other memory or "
    "regulatory cells. No memory cells at all: none infused, and λ_TEM = 0, so that none arise from "
    "effector cells.",
    "Peaks, nadirs and days of the statements are on the daily grid.",
]
_DAYS = "Time (days)"
_COLORS = {
    "C": plotting.BLUE, "T4": plotting.SKY, "TP": plotting.PURPLE, "TE": plotting.ORANGE,
    "TM": plotting.GREEN, "Tr": plotting.RED, "M": plotting.BLACK, "I2": plotting.SKY,
    "Ig": plotting.ORANGE, "Tb": plotting.BLUE, "I6": plotting.BLACK,
}  # fmt: skip


def make(*, threads: int | None = None, progress: bool | None = None) -> FigureResult:
    """Solve, draw and compare Figure 5."""
    runs = solve_both("li_lei", plans.control(), save_at=SAVE_AT, threads=threads, progress=progress)
    variants = solve_both(
        "li_lei", plans.subtype_variants(), save_at=SAVE_AT, threads=threads, progress=progress
    )
    return FigureResult(
        5,
        "Dynamics of the full model after the control doses",
        _CAPTION,
        _draw(runs),
        {
            "figure5_trajectories.csv": runs.trajectories,
            "figure5_pfs.csv": runs.endpoints,
            "figure5_variants.csv": variants.endpoints,
        },
        _rows(runs, variants),
        _NOTES,
        judged(runs, variants),
    )


def evidence(solution: str, runs: Runs, variants: Runs) -> statements.Control:
    """Return what the statements on Figure 5 are judged by."""
    pfs = variants.ends(solution).set_index("variant")["pfs"]
    peaks = variants.paths(solution).groupby("variant")["TE"].max()
    found = pd.DataFrame({"pfs": pfs, "peak_TE": peaks})
    return statements.Control(runs.paths(solution).set_index("t"), found)


def judged(runs: Runs, variants: Runs) -> list[Assessment]:
    """Judge what the text says of Figure 5, of memory cells and of eq. (2.11)."""
    return assess(
        statements.STATEMENTS,
        evidence(PUBLISHED, runs, variants),
        evidence(ACCURATE, runs, variants),
    )


def _rows(runs: Runs, variants: Runs) -> list[Row]:
    ends = [runs.ends(solution).iloc[0] for solution in (PUBLISHED, ACCURATE)]
    rows = [number_row("PFS", "days", paper.CONTROL_PFS, *(end["pfs"] for end in ends), digits=6)]
    for name, value in paper.CONTROL_DAY_50.items():
        found = [runs.at(solution, COMPARED_DAY, name) for solution in (PUBLISHED, ACCURATE)]
        rows.append(number_row(f"{name} at day 50", "cells", value, *found))
    rows.append(number_row("nadir of the tumor", "cells", None, *(end["nadir"] for end in ends)))
    rows.append(number_row("day of the nadir", "days", None, *(end["t_nadir"] for end in ends)))
    for name in ("I2", "Ig", "Tb", "I6"):
        peaks = [float(runs.paths(solution)[name].max()) for solution in (PUBLISHED, ACCURATE)]
        rows.append(number_row(f"highest {name} on the daily grid", "ng/ml", None, *peaks, digits=4))
    pfs = [variants.ends(solution).set_index("variant")["pfs"] for solution in (PUBLISHED, ACCURATE)]
    for name in pfs[0].index[1:]:
        rows.append(number_row(f"PFS, {name}", "days", None, *(found[name] for found in pfs), digits=6))
    return rows


def _draw(runs: Runs) -> Any:
    with plotting.style():
        figure = plotting.new_figure(7.2, 6.6)
        axes = figure.subplots(3, 4)
        _draw_tumor(axes[0, 0], runs)
        panels = [axes[0, 1], axes[0, 2], axes[0, 3], axes[1, 0], axes[1, 1], axes[1, 2]]
        for where, (letter, name, title, label, unit) in zip(panels, _CELLS, strict=True):
            _draw_linear(where, runs, letter, name, title, label, unit)
        for where, (letter, name, title, label, unit) in zip(axes[2], _CYTOKINES, strict=True):
            _draw_linear(where, runs, letter, name, title, label, unit)
        plotting.log_axis(axes[2, 2], 1e-7, 1e5, step=3)  # follows the tumor
        axes[1, 3].axis("off")
        axes[1, 3].legend(
            handles=drawing.solution_handles("RK4, 1 d", short=True), loc="center", handlelength=2
        )
    return figure


def _draw_tumor(axes: Any, runs: Runs) -> None:
    plotting.panel(axes, "a", "Tumor", _DAYS, drawing.TUMOR)
    drawing.both(axes, runs, "C", _COLORS["C"])
    plotting.log_axis(axes, 1e-2, 1e11)
    drawing.one_cell(axes, x=0.6)
    axes.set_xlim(0, SAVE_AT[-1])


def _draw_linear(axes: Any, runs: Runs, letter: str, name: str, title: str, label: str, unit: float) -> None:
    plotting.panel(axes, letter, title, _DAYS, label)
    drawing.both(axes, runs, name, _COLORS[name], unit=unit)
    axes.set_xlim(0, SAVE_AT[-1])
    axes.set_ylim(bottom=0)
