"""Lines of scans over one column: the endpoint, or its median and band where patients share a value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.scanning.parts import require_columns
from fastcart.scanning.words import axis_label, axis_scale, units_of
from fastcart.solvers.endpoints import survival_endpoints

_BAND = (0.05, 0.95)
_WIDE = 1e3  # from which ratio on values are on a logarithmic axis
_MARKED = 60  # values of x that have a mark each


def line_plot(
    table: pd.DataFrame,
    output: str,
    *,
    axis: str,
    model: Model | None = None,
    units: Mapping[str, str] | None = None,
    title: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw an endpoint over one column; where several patients share a value, their median and a band.

    Values at which half of the patients or more are censored (no progression by the horizon) are hollow,
    those at which none could be solved are crosses at the bottom.

    Parameters
    ----------
    table : DataFrame
        Endpoints of a scan.
    output : str
        The column to draw.
    axis : str
        The column that varies. Values that grow by a factor get a logarithmic axis.
    model : Model, optional
        Gives the units.
    units : mapping, optional
        Units of columns that the model does not know, such as amounts of doses.
    title : str, optional
    path : path, optional
        Where to write the figure, as PNG.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        For a column that is not there, holds no numbers, or does not vary.
    """
    require_columns((axis, output), table.columns)
    line_values(table, axis)
    if not pd.api.types.is_numeric_dtype(table[output]):
        raise InputError(f"The column {output!r} holds no numbers and cannot be drawn.")
    summary = _summary(table, output, axis)
    known = units_of(model) | dict(units or {})
    with plotting.style():
        figure = plotting.new_figure(5.0, 3.6)
        panel = figure.add_subplot()
        panel.set_xscale(axis_scale(summary.index.to_numpy()))
        _draw(panel, summary)
        panel.set_xlabel(axis_label(known, axis))
        panel.set_ylabel(axis_label(known, output))
        panel.set_title(title or "")
        if len(panel.get_legend_handles_labels()[1]) > 1 or summary["several"].any():
            plotting.legend_below(figure, [panel])
        if path is not None:
            plotting.save_figure(figure, path)
    return figure


def line_values(table: pd.DataFrame, axis: str) -> np.ndarray:
    """Return the values of a column that a line is drawn over.

    Raises
    ------
    InputError
        Where it holds no numbers or does not vary.
    """
    if not pd.api.types.is_numeric_dtype(table[axis]):
        raise InputError(f"The column {axis!r} holds no numbers and cannot be drawn.")
    values = np.unique(table[axis].to_numpy(dtype=float))
    if len(values) < 2:
        raise InputError(f"The column {axis!r} has one value only, over which there is nothing to draw.")
    return values


def _summary(table: pd.DataFrame, output: str, axis: str) -> pd.DataFrame:
    """Return for each value of the column what is drawn there."""
    values = table[output].where(np.isfinite(table[output].astype(float))).groupby(table[axis].astype(float))
    found = pd.DataFrame({"median": values.median(), "several": values.size() > 1})
    found["low"], found["high"] = values.quantile(_BAND[0]), values.quantile(_BAND[1])
    solved = (table["status"] == "ok").groupby(table[axis].astype(float)).any()
    found["failed"] = ~solved
    found["censored"] = False
    if output in survival_endpoints() and "censored" in table:
        found["censored"] = table["censored"].astype(float).groupby(table[axis].astype(float)).mean() >= 0.5
    return found


def _draw(panel: Any, found: pd.DataFrame) -> None:
    x, y = found.index.to_numpy(), found["median"].to_numpy()
    several = bool(found["several"].any())
    look: dict[str, Any] = {"color": plotting.BLUE}
    panel.plot(x, y, "-", label="median" if several else "solved", **look)
    if several:
        low, high = found["low"].to_numpy(), found["high"].to_numpy()
        panel.fill_between(
            x, low, high, alpha=0.2, linewidth=0, label=f"{_BAND[0]:.0%} to {_BAND[1]:.0%}", **look
        )
    hollow = found["censored"].to_numpy() & np.isfinite(y)
    filled = ~hollow & np.isfinite(y)
    if len(x) <= _MARKED:
        panel.plot(x[filled], y[filled], "o", **look)
    if hollow.any():
        panel.plot(x[hollow], y[hollow], "o", markerfacecolor="white", label="censored", **look)
    failed = found["failed"].to_numpy()
    if failed.any():
        panel.plot(
            x[failed], np.full(failed.sum(), 0.02), "x", color=plotting.GREY, label="not solved",
            transform=panel.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
    shown = found[["median", "low", "high"]].to_numpy()
    shown = shown[np.isfinite(shown)]
    if len(shown) and shown.min() > 0 and shown.max() > _WIDE * shown.min():
        panel.set_yscale("log")
    plotting.from_zero(panel)
