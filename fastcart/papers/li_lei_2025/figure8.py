"""Figure 8 of Li & Lei 2025: the full model after optimised doses, beside the control of Figure 5."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.batch import solve
from fastcart.papers.frame import Job
from fastcart.papers.li_lei_2025 import drawing, optima, plans
from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.comparison import FigureResult, Row, number_row
from fastcart.papers.li_lei_2025.runs import ACCURATE, ENGINES, PUBLISHED, RTOL, Runs, solve_both
from fastcart.papers.li_lei_2025.statements import assess
from fastcart.papers.li_lei_2025.statements import figure8 as statements

FILES = ("figure8.png", "figure8_trajectories.csv", "figure8_pfs.csv")
COMPARED_DAY = 50.0
SAVE_AT = tuple(float(day) for day in range(201))
CONTROL, DOSE = "control", "published dose"
REGIMENS = {
    CONTROL: plotting.RED,
    DOSE: plotting.PURPLE,
    optima.BOX: plotting.ORANGE,
    optima.LIMITED: plotting.BLUE,
}
DASHES: dict[str, Any] = dict(zip(REGIMENS, ("-", "--", "-.", (0, (4, 1, 1, 1, 1, 1))), strict=True))
_FINE = 2401  # times of a line
_CAPTION = (
    "Full model at C = 1.0198e6 cells after the published optimised dose, the optimum in the published box "
    "and the optimum under limits on total dose and peak IL-6; red: the control of Figure 5 (C = 1e6 "
    "cells). (a) Tumor. (b)-(f) CAR-T subtypes. (g) Cytokines. The panel of macrophages is an addition to "
    "the paper's. Lines: accurate; circles: published scheme; dotted in (a): one cell. The axes end at day "
    "120, the data at day 200."
)
_UNTIL = 120.0
# letter, quantity, title, y label; logarithmic, for regimens differ by orders of magnitude
_PANELS = (
    ("a", "C", "Tumor", drawing.TUMOR, (1e-5, 1e11)),
    ("b", "T4", "CD4+ CAR-T", "$T_4$ (cells)", (1e-8, 1e6)),
    ("c", "TP", "Pre-CD8+ CAR-T", "$T_P$ (cells)", (1e0, 1e9)),
    ("d", "TE", "Effector CAR-T", "$T_E$ (cells)", (1e0, 1e9)),
    ("e", "TM", "Memory CAR-T", "$T_M$ (cells)", (1e0, 1e5)),
    ("f", "Tr", "Regulatory CAR-T", "$T_r$ (cells)", (1e-4, 1e4)),
    ("", "M", "Macrophages", "$M$ (cells)", (1e1, 1e4)),
    ("g", "I2", "IL-2", "IL-2 (ng/ml)", (1e-14, 1e0)),
    ("", "Ig", "IFN-γ", "IFN-γ (ng/ml)", (1e-10, 1e-1)),
    ("", "Tb", "TGF-β", "TGF-β (ng/ml)", (1e-12, 1e5)),
    ("", "I6", "IL-6", "IL-6 (ng/ml)", (1e-5, 1e-2)),
)


def make(
    *,
    burdens: int = optima.BURDENS,
    threads: int | None = None,
    progress: bool | None = None,
    job: Job | None = None,
) -> FigureResult:
    """Solve, draw and compare Figure 8."""
    runs = regimen_runs(burdens, threads=threads, progress=progress, job=job)
    return FigureResult(
        8,
        "Dynamics of the full model after optimised doses",
        _CAPTION,
        _draw(runs),
        {"figure8_trajectories.csv": runs.trajectories, "figure8_pfs.csv": runs.endpoints},
        _rows(runs),
        _notes(runs),
        assess(statements.STATEMENTS_8, *both_solutions(runs)),
    )


def both_solutions(runs: Runs) -> tuple[statements.Pair, statements.Pair]:
    """Return what the statements on Figures 8 and 9 are judged by, for both solutions."""
    scheme, accurate = (evidence(runs, solution) for solution in (PUBLISHED, ACCURATE))
    return scheme, accurate


def evidence(runs: Runs, solution: str) -> statements.Pair:
    """Return the control and the published dose under one solution."""
    control, dose = (runs.paths(solution, regimen=name).set_index("t") for name in (CONTROL, DOSE))
    pfs = _end(runs, solution, CONTROL, "pfs"), _end(runs, solution, DOSE, "pfs")
    return statements.Pair(control, dose, pfs)


def regimen_runs(
    burdens: int, *, threads: int | None = None, progress: bool | None = None, job: Job | None = None
) -> Runs:
    """Solve the regimens of Figures 8 and 9; once in a session."""
    return _regimen_runs(burdens, threads, progress, job)


def fine_paths(
    burdens: int, quantities: Sequence[str], until: float, *,
    threads: int | None = None, progress: bool | None = None, job: Job | None = None,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return the accurate solution of each regimen at many times (days), for lines without kinks."""
    rows = _regimens(burdens, threads, progress, job)
    times = np.linspace(0.0, until, _FINE)
    found = solve(
        "li_lei", rows.drop(columns="regimen"), engine=ENGINES[ACCURATE], rtol=RTOL, save_at=times,
        save=list(quantities), threads=threads, progress=progress,
    ).trajectories  # fmt: skip
    assert found is not None
    return {name: found[found["patient"] == k] for k, name in enumerate(rows["regimen"])}


@lru_cache(maxsize=1)
def _regimens(burdens: int, threads: int | None, progress: bool | None, job: Job | None) -> pd.DataFrame:
    """Return the doses of the regimens, a row for each."""
    found = optima.optima(burdens=burdens, threads=threads, progress=progress, job=job)
    rows = [
        {"regimen": CONTROL, "C": 1e6, **plans.CONTROL},
        {"regimen": DOSE, **paper.FIGURE_8_START},
        *({"regimen": name, **found.doses[name].iloc[0]} for name in (optima.BOX, optima.LIMITED)),
    ]
    return pd.DataFrame(rows)


@lru_cache(maxsize=1)
def _regimen_runs(burdens: int, threads: int | None, progress: bool | None, job: Job | None) -> Runs:
    rows = _regimens(burdens, threads, progress, job)
    return solve_both("li_lei", rows, save_at=SAVE_AT, threads=threads, progress=progress)


def _rows(runs: Runs) -> list[Row]:
    both = (PUBLISHED, ACCURATE)
    published = {CONTROL: paper.CONTROL_PFS, DOSE: paper.OPTIMISED_PFS}
    rows = [
        number_row(
            f"PFS, {name}", "days", published.get(name), *(_end(runs, s, name, "pfs") for s in both), digits=6
        )
        for name in REGIMENS
    ]
    for name, value in paper.OPTIMISED_DAY_50.items():
        found = [runs.at(solution, COMPARED_DAY, name, regimen=DOSE) for solution in both]
        rows.append(number_row(f"{name} at day 50, {DOSE}", "cells", value, *found))
    for name in REGIMENS:
        found = [_end(runs, solution, name, "nadir") for solution in both]
        rows.append(number_row(f"nadir of the tumor, {name}", "cells", None, *found))
    return rows + _peak_rows(runs)


def _end(runs: Runs, solution: str, regimen: str, column: str) -> float:
    """Return one endpoint of one regimen."""
    ends = runs.ends(solution)
    return float(ends.loc[ends["regimen"] == regimen, column].iloc[0])


def _peak_rows(runs: Runs) -> list[Row]:
    rows = []
    for name in ("I2", "I6", "Ig"):
        ratios = []
        for solution in (PUBLISHED, ACCURATE):
            dose, control = (runs.paths(solution, regimen=regimen)[name].max() for regimen in (DOSE, CONTROL))
            ratios.append(float(dose / control))
        rows.append(
            number_row(f"highest {name}, {DOSE} / {CONTROL}", "", None, ratios[0], ratios[1], digits=3)
        )
    return rows


def _notes(runs: Runs) -> list[str]:
    below = ", ".join(name for name in REGIMENS if _end(runs, ACCURATE, name, "nadir") < 1)
    return [
        "The published PFS of 101 days is that of the published scheme at its own dose; the accurate PFS "
        f"of the same dose is {_end(runs, ACCURATE, DOSE, 'pfs'):.2f} days.",
        f"The tumor falls below one cell after: {below}; that PFS is regrowth from a fraction of a cell "
        "(erratum 8).",
    ]


def _draw(runs: Runs) -> Any:
    with plotting.style():
        figure = plotting.new_figure(7.2, 7.0)
        axes = figure.subplots(3, 4)
        places = [*axes.flat[:7], *axes[2]]
        for where, (letter, name, title, label, limits) in zip(places, _PANELS, strict=True):
            plotting.panel(where, letter, title, "Time (days)", label)
            for regimen, color in REGIMENS.items():
                drawing.both(
                    where, runs, name, color, until=_UNTIL, linestyle=DASHES[regimen], regimen=regimen
                )
            plotting.log_axis(where, *limits, step=4 if limits[1] / limits[0] > 1e10 else 2)
            where.set_xlim(0, _UNTIL)
        drawing.one_cell(axes[0, 0], x=0.05)
        axes[1, 3].axis("off")
        axes[1, 3].legend(handles=regimen_handles(), loc="center", handlelength=2.6)
        figure.legend(handles=drawing.solution_handles("RK4, 1 d"), loc="outside lower center", ncols=2)
    return figure


def regimen_handles() -> list[Any]:
    """Return legend handles for the regimens."""
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [],
            [],
            color=color,
            linestyle=DASHES[name],
            label=name.replace(" in ", "\nin ").replace(" under ", "\nunder "),
        )
        for name, color in REGIMENS.items()
    ]
