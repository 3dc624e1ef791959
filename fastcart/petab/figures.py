"""Figures of a problem: the waterfall of its starts, and simulations beside measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart.plotting import MARKERS, legend_below, new_figure, shortened, style

if TYPE_CHECKING:
    from fastcart.petab.problem import PetabProblem

_FLOOR = 1e-6  # of what lies above the best: what is nearer is drawn there
_WIDE = 100.0  # times, from which on axes are logarithmic
_MOST_NAMED = 16  # observables in a legend
_LONGEST = 32  # letters of a name


def waterfall(table: pd.DataFrame, problem: PetabProblem) -> Any:
    """Return a figure of by how much each start ended above the best, the best first."""
    ended = table["objective"].to_numpy(dtype=float)
    ended = ended[np.isfinite(ended)]
    with style():
        figure = new_figure(4.5, 3.2)
        axes = figure.add_subplot()
        above = np.maximum(ended - ended.min(initial=np.inf), _FLOOR)
        axes.semilogy(np.arange(1, len(above) + 1), above, "o", markersize=3)
        axes.set_xlabel("Start, the best first")
        axes.set_ylabel("Objective above the best")
        axes.set_title(f"{shortened(problem.name, _LONGEST)}: best {ended.min(initial=np.inf):.4f}")
        return figure


def simulated_and_measured(problem: PetabProblem, table: pd.DataFrame) -> Any:
    """Return a figure of what is simulated over what is measured, each observable in a colour."""
    measured = problem.measurements.value
    simulated = table["simulation"].to_numpy(dtype=float)
    finite = np.isfinite(measured) & np.isfinite(simulated)
    both = np.concatenate([measured[finite], simulated[finite]])
    wide = len(both) > 0 and both.min() > 0 and both.max() > _WIDE * both.min()
    with style():
        named = table["observableId"].nunique()
        figure = new_figure(4.4, 4.2 + 0.13 * min(named, _MOST_NAMED))
        axes = figure.add_subplot()
        for place, name in enumerate(table["observableId"].unique()):
            mine = (table["observableId"] == name).to_numpy()
            axes.plot(
                measured[mine], simulated[mine], MARKERS[place % len(MARKERS)], markersize=3,
                label=shortened(str(name), _LONGEST),
            )  # fmt: skip
        if len(both):
            ends = np.array([both.min(), both.max()])
            axes.plot(ends, ends, color="0.6", linewidth=0.8, zorder=0, label="simulated as measured")
        if wide:
            axes.set_xscale("log")
            axes.set_yscale("log")
        axes.set_xlabel("Measured")
        axes.set_ylabel("Simulated")
        if named <= _MOST_NAMED:
            legend_below(figure, (axes,), columns=3)
        return figure
