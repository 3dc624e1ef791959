"""What figures of fits have in common: looks of kinds, titles of patients, limits, units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.fit.likelihood import PreparedLikelihood

LONGEST = 22  # letters of a name
_SPREAD = 30.0  # of values, from which on axes are logarithmic


def draw_limits(axes: Any, cut: pd.DataFrame) -> None:
    """Draw measurements that are below or above a limit, by columns ``time``, ``DV`` and ``censored``."""
    for sign, arrow, word in ((1, "v", "below"), (-1, "^", "above")):
        part = cut[np.sign(cut["censored"]) == sign]
        if len(part):
            axes.plot(
                part["time"], part["DV"], arrow, color=plotting.RED, markersize=3.5, markerfacecolor="none",
                markeredgewidth=0.8, label=f"{word} the limit",
            )  # fmt: skip


def look_of(place: int) -> tuple[str, str]:
    """Return the colour and the marker of a kind of measurement."""
    return (
        plotting.PALETTE[place % len(plotting.PALETTE)],
        plotting.MARKERS[place % len(plotting.MARKERS)],
    )


def patient_title(name: str) -> str:
    """Return the title of the panel of a patient."""
    return f"Patient {name}" if len(name) < LONGEST / 2 else plotting.shortened(name, LONGEST)


def finish_panels(
    figure: Any, grid: np.ndarray, names: Sequence[str], *, time: str, label: str, log_of: pd.Series | None
) -> None:
    """Name the panels of patients and their axes, leave those out that nobody has, and add the legend.

    Axes are logarithmic, around measured values, where these are given as ``log_of``.
    """
    columns = grid.shape[1]
    for k, axes in enumerate(grid.flat):
        if k >= len(names):
            axes.set_axis_off()
            continue
        if log_of is not None:
            axes.set_yscale("log")
        last = k + columns >= len(names)
        plotting.panel(
            axes, "", patient_title(names[k]), time if last else "", label if k % columns == 0 else ""
        )
        axes.tick_params(labelbottom=last)
    if log_of is not None:
        known = log_of[log_of > 0]
        grid[0, 0].set_ylim(known.min() / 3, known.max() * 2)
    plotting.from_zero(grid[0, 0])
    plotting.legend_below(figure, grid.flat, columns=4 if columns > 2 else 2)


def units_of_kinds(prepared: PreparedLikelihood) -> dict[str, str]:
    """Return the unit of each kind of measurement whose prediction is a quantity of the model."""
    known = {item.name: item.unit for item in prepared.model.quantities}
    named = {one.dvid: one.prediction for one in prepared.observations if isinstance(one.prediction, str)}
    return {kind: known[name] for kind, name in named.items() if known.get(name)}


def common_unit(units: dict[str, str], kinds: list[str]) -> str:
    """Return the unit of all kinds, "" where there are several or it is not known."""
    several = {units.get(kind, "") for kind in kinds}
    return several.pop() if len(several) == 1 else ""


def is_wide(values: pd.Series) -> bool:
    """Whether positive values are spread so far that only a logarithmic axis shows them."""
    known = values[values > 0]
    return (
        len(known) > 0
        and bool(known.max() > _SPREAD * known.quantile(0.02))
        and len(known) > 0.9 * len(values)
    )
