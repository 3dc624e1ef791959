"""Pictures of a sensitivity study: tornado with intervals, heat map over time, scatter panel, convergence."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.errors import InputError
from fastcart.sensitivity_analysis.methods import find

if TYPE_CHECKING:
    from fastcart.model import Model
    from fastcart.sensitivity_analysis.result import SensitivityResult

_PALE = "#BBBBBB"  # where an index is not defined
_POINTS = 3000  # points of a scatter panel; larger samples show density


def tornado(result: SensitivityResult, output: str, *, top: int = 20) -> Any:
    """Draw the largest indices of one output as bars with their intervals; return the figure."""
    table = result.table(output).head(top)
    symbols = [parameter_symbol(result.model, str(name)) for name in table.index]
    method = find(result.design.method)
    index, second = method.main, method.beside
    with plotting.style():
        figure = plotting.new_figure(4.6, 1.1 + 0.17 * len(table))
        axes = figure.subplots()
        draw_tornado(
            axes, table, plotting.BLUE, method.indices[index] if second else "", width=0.38 if second else 0.7
        )
        axes.set_yticks(np.arange(len(table)), symbols)
        if second:
            beside = result.table(output, second).loc[table.index]
            draw_tornado(axes, beside, plotting.ORANGE, method.indices[second], shift=0.4, width=0.38)
            axes.set_yticks(np.arange(len(table)) + 0.2, symbols)
            figure.legend(loc="outside upper right", ncols=2)
        confidence = result.options["confidence"]
        label = method.indices[index] if not second else "Index"
        unit = _effect_unit(result, output) if method.in_units else ""
        plotting.panel(
            axes, "", output_label(result, output), f"{label}{unit}\nlines: {confidence:.0%} intervals", ""
        )
        axes.margins(y=0.01)
    return figure


def draw_tornado(
    axes: Any, table: pd.DataFrame, color: Any, label: str = "", *, shift: float = 0.0, width: float = 0.7
) -> None:
    """Draw ``value`` with ``low`` and ``high`` as horizontal bars, the first at the top."""
    y = np.arange(len(table)) + shift
    value = table["value"].to_numpy()
    axes.barh(y, np.nan_to_num(value), width, color=color, label=label or None)
    axes.hlines(y, table["low"], table["high"], color=plotting.BLACK, linewidth=0.8)
    axes.set_yticks(np.arange(len(table)), list(table.index))
    axes.set_ylim(len(table) - 0.4 + shift, -0.6)
    axes.axvline(0, color=plotting.GREY, linewidth=0.6)
    axes.tick_params(axis="y", length=0)


def heatmap(result: SensitivityResult, quantity: str, *, top: int = 20) -> Any:
    """Draw the index of the most influential parameters at every time as colours; return the figure."""
    from matplotlib.patches import Patch

    method = find(result.design.method)
    matrix = result.matrix(quantity)
    order = matrix.abs().max(axis=1).fillna(0).sort_values(ascending=False, kind="stable").index[:top]
    matrix = matrix.loc[order]
    with plotting.style():
        figure = plotting.new_figure(5.6, 1.2 + 0.17 * len(matrix))
        axes = figure.subplots()
        shown = matrix.rename(index=lambda name: parameter_symbol(result.model, str(name)))
        mesh = draw_heatmap(axes, shown, signed=method.signed)
        unit = _effect_unit(result, result.outputs.names[0]) if method.in_units else ""
        figure.colorbar(mesh, ax=axes, label=method.indices[method.main] + unit, aspect=30, pad=0.01)
        plotting.panel(axes, "", quantity, plotting.time_label(result.model.time_unit), "")
        if matrix.isna().to_numpy().any():
            figure.legend(handles=[Patch(color=_PALE, label="not defined")], loc="outside lower center")
    return figure


def draw_heatmap(axes: Any, matrix: pd.DataFrame, *, signed: bool) -> Any:
    """Draw a table of parameters (rows) by times (columns); what is not defined stays grey."""
    times = matrix.columns.to_numpy(dtype=float)
    between = (times[1:] + times[:-1]) / 2
    edges = (
        np.concatenate([times[:1], between, times[-1:]])
        if len(times) > 1
        else [times[0] - 0.5, times[0] + 0.5]
    )
    size = float(np.nanmax(np.abs(matrix.to_numpy()))) if matrix.notna().to_numpy().any() else 1.0
    # blue to orange-red by way of white: told apart by all; viridis for what has no sign
    axes.set_facecolor(_PALE)
    mesh = axes.pcolormesh(
        edges, np.arange(len(matrix) + 1) - 0.5, np.ma.masked_invalid(matrix.to_numpy()),
        cmap="RdBu_r" if signed else "viridis", vmin=-size if signed else 0.0, vmax=size, rasterized=True,
    )  # fmt: skip
    axes.set_yticks(range(len(matrix)), list(matrix.index))
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    return mesh


def scatter(result: SensitivityResult, output: str, parameters: Sequence[str] | None = None) -> Any:
    """Draw one output against parameters, by default the four most influential; return the figure."""
    names = list(result.table(output).index[:4]) if parameters is None else list(parameters)
    for name in names:
        if name not in result.design.names:
            raise InputError(f"{name!r} is not varied in this study.")
    y = result.outputs.apply(result.values)[:, result.outputs.names.index(result.output(output).name)]
    points, y = find(result.design.method).scattered(result.design, y)
    rows = math.ceil(len(names) / 2)
    with plotting.style():
        figure = plotting.new_figure(5.6, 0.5 + 2.1 * rows)
        grid = figure.subplots(rows, min(2, len(names)), squeeze=False, sharey=True)
        for place, axes in enumerate(grid.flat):
            if place >= len(names):
                axes.axis("off")
                continue
            x = points[:, result.design.names.index(names[place])]
            mesh = draw_scatter(axes, x, y)
            ylabel = output_label(result, output) if place % 2 == 0 else ""
            plotting.panel(axes, "", "", parameter_label(result.model, names[place]), ylabel)
        if mesh is not None:
            figure.colorbar(mesh, ax=grid, label="Patients per cell (log scale)", aspect=30, pad=0.01)
    return figure


def draw_scatter(axes: Any, x: np.ndarray, y: np.ndarray, color: Any = plotting.BLUE) -> Any:
    """Draw points, or where they are many, how many lie in each cell; return the colours in that case."""
    good = np.isfinite(y)
    x, y = x[good], y[good]
    if len(x) <= _POINTS:
        axes.plot(x, y, "o", color=color, markersize=1.8, markeredgewidth=0, alpha=0.6, rasterized=True)
        return None
    return axes.hexbin(x, y, gridsize=45, bins="log", cmap="viridis", mincnt=1, linewidths=0, rasterized=True)


def output_label(result: SensitivityResult, output: str) -> str:
    """Return the name of an output with its unit."""
    column = result.output(output)
    text = "PFS" if column.quantity == "pfs" else column.name
    return f"{text} ({column.unit})" if column.unit else text


def parameter_symbol(model: Model, name: str) -> str:
    """Return how the paper of a model writes a parameter, for matplotlib; the name where it has no symbol."""
    text = next((p.symbol for p in model.parameters if p.name == name), "")
    written = text != name or re.fullmatch(r"\w+_(\w|\{\w+\})", text)
    return f"${text}$" if text and written and "$" not in text else name


def parameter_label(model: Model, name: str) -> str:
    """Return the symbol of a parameter, or the name of an initial value, with its unit."""
    unit = next((item.unit for item in model.items if item.name == name), "")
    label = parameter_symbol(model, name)
    return f"{label} ({unit})" if unit else label


def _effect_unit(result: SensitivityResult, output: str) -> str:
    unit = result.output(output).unit
    return f" ({unit} over the range)" if unit else " (over the range)"
