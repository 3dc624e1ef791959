"""Figures of a problem: the waterfall of its starts, and simulations beside measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart.plotting import new_figure, style

if TYPE_CHECKING:
    from fastcart.petab.problem import PetabProblem

_FLOOR = 1e-6  # of what lies above the best: what is nearer is drawn there


def waterfall(table: pd.DataFrame, problem: PetabProblem) -> Any:
    """Return a figure of by how much each start ended above the best, the best first."""
    ended = table["objective"].to_numpy(dtype=float)
    ended = ended[np.isfinite(ended)]
    with style():
        figure = new_figure(4.5, 3.2)
        axes = figure.add_subplot()
        above = np.maximum(ended - ended.min(initial=np.inf), _FLOOR)
        axes.semilogy(np.arange(1, len(above) + 1), above, "o", markersize=3)
        axes.set_xlabel("start, the best first")
        axes.set_ylabel("objective above the best")
        axes.set_title(f"{problem.name}: best {ended.min(initial=np.inf):.4f}")
        return figure


def simulated_and_measured(problem: PetabProblem, table: pd.DataFrame) -> Any:
    """Return a figure of what is simulated over what is measured, each observable in a colour."""
    measured = problem.measurements.value
    with style():
        figure = new_figure(4.2, 4.2)
        axes = figure.add_subplot()
        for name in table["observableId"].unique():
            mine = (table["observableId"] == name).to_numpy()
            axes.plot(
                measured[mine], table["simulation"].to_numpy()[mine], "o", markersize=3, label=str(name)
            )
        ends = np.array([measured.min(), measured.max()])
        axes.plot(ends, ends, color="0.6", linewidth=0.8, zorder=0)
        axes.set_xlabel("measured")
        axes.set_ylabel("simulated")
        if table["observableId"].nunique() <= 8:
            axes.legend(fontsize=6)
        return figure
