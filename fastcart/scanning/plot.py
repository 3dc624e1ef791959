"""Pictures of scans: heat maps over two columns, with contours, and lines over one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart.checks import is_whole
from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.plotting import VECTORS, new_figure, save_figure, style
from fastcart.runs.manifest import read_manifest
from fastcart.scanning.line import line_plot, line_values
from fastcart.scanning.parts import require_columns
from fastcart.scanning.patients import Source
from fastcart.scanning.words import axis_label as _label
from fastcart.scanning.words import axis_scale as _scale
from fastcart.scanning.words import units_of as _units
from fastcart.solvers.endpoints import survival_endpoints

if TYPE_CHECKING:
    from fastcart.scanning.scan import ScanResult

_CONTOURS = 6
_CLIFF = 2.0  # levels between neighbours
_MAX_CELLS = 4_000_000
_WIDE, _DEEPEST = 1e3, 1e-12  # from which ratio on colours are logarithmic, and how far down
_PALE = "#D9D9D9"  # where patients failed


def heat_map(
    table: pd.DataFrame,
    output: str,
    *,
    axes: Sequence[str],
    model: Model | None = None,
    units: Mapping[str, str] | None = None,
    contours: int | Sequence[float] = _CONTOURS,
    title: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw an endpoint over a grid of two columns as colours and labelled contours.

    Cells whose patient failed are grey, cells that are censored (no progression by the horizon) hatched; the
    legend below the axes says so.

    Parameters
    ----------
    table : DataFrame
        Endpoints of a scan over a grid, one patient for each pair of values.
    output : str
        The column to draw.
    axes : sequence of str
        Two columns, x and y. Values that grow by a factor get a logarithmic axis.
    model : Model, optional
        Gives the units.
    units : mapping, optional
        Units of columns that the model does not know, such as amounts of doses.
    contours : int or sequence of float
        About how many lines, or the values at which they are drawn.
    title : str, optional
    path : path, optional
        Where to write the figure, as PNG.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        For a column that is not there, or a table that is no grid in these two columns.
    """
    x, y, values, flags = _pivot(table, output, axes)
    known = _units(model) | dict(units or {})
    with style():
        figure = new_figure(5.0, 4.4)
        panel = figure.add_subplot()
        # the scales first: labels of contours take their place from them
        panel.set_xscale(_scale(x))
        panel.set_yscale(_scale(y))
        _draw(figure, panel, x, y, values, flags, _label(known, output))
        _contours(panel, x, y, values, contours)
        for set_limits, values_of in ((panel.set_xlim, x), (panel.set_ylim, y)):
            set_limits(*_edges(values_of)[[0, -1]])
        panel.set_xlabel(_label(known, axes[0]))
        panel.set_ylabel(_label(known, axes[1]))
        panel.set_title(title or "")
        if path is not None:
            save_figure(figure, path)
    return figure


def grid_axes(table: pd.DataFrame, inputs: Sequence[str]) -> tuple[str, str]:
    """Return the two inputs that vary.

    Raises
    ------
    InputError
        When not exactly two do.
    """
    varied = [name for name in inputs if table[name].nunique() > 1]
    if len(varied) != 2:
        raise InputError(
            f"A heat map needs a scan in which two columns vary, not {len(varied)} "
            f"({', '.join(varied) or 'none'}); name two with --axes X,Y where the others are constant, or "
            "one with --axes X for a line with the median and band of all others."
        )
    return varied[0], varied[1]


def drawn_axes(table: pd.DataFrame, inputs: Sequence[str], axes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the columns that are drawn over: those asked for, else the one or two that vary.

    Raises
    ------
    InputError
        When none or more than two vary.
    """
    if axes is not None:
        return tuple(axes)
    varied = [name for name in inputs if table[name].nunique() > 1]
    return (varied[0],) if len(varied) == 1 else grid_axes(table, inputs)


def draw(table: pd.DataFrame, output: str, axes: Sequence[str], **more: Any) -> Any:
    """Draw an endpoint over one column as a line, over two as a heat map; the rest as for `heat_map`."""
    if len(axes) == 1:
        return line_plot(table, output, axis=axes[0], **more)
    return heat_map(table, output, axes=axes, **more)


def _pivot(
    table: pd.DataFrame, output: str, axes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return the values of x and y, the output over them (y, x), and which cells failed or are censored."""
    require_columns((*axes, output), table.columns)
    x, y, place = _grid(table, axes)
    if not pd.api.types.is_numeric_dtype(table[output]):
        raise InputError(f"The column {output!r} holds no numbers and cannot be drawn.")

    def over_grid(values: np.ndarray) -> np.ndarray:
        result = np.empty(len(place), dtype=values.dtype)
        result[place] = values
        return result.reshape(len(y), len(x))

    flags = {"failed": over_grid((table["status"] != "ok").to_numpy())}
    if output in survival_endpoints() and "censored" in table:
        flags["censored"] = over_grid(table["censored"].to_numpy(dtype=bool))
    return x, y, over_grid(table[output].to_numpy(dtype=float)), flags


def check_grid(source: Source, axes: Sequence[str] | None) -> None:
    """Check that patients are a grid in two columns, by default those that vary, or that one column varies.

    Raises
    ------
    InputError
        Otherwise.
    """
    if source.size > _MAX_CELLS:
        raise InputError(f"A picture has at most {_MAX_CELLS} patients, and these are {source.size}.")
    table = source.rows(0, source.size)
    pair = drawn_axes(table, source.names, axes)
    if len(pair) == 1 and pair[0] in table.columns:
        line_values(table, pair[0])
    elif set(pair) <= set(table.columns):  # of others, which are not there, the scan tells
        _grid(table, pair)


def _grid(table: pd.DataFrame, axes: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values of x and y of a grid, and the place of each patient in it, by rows of y."""
    if len(axes) != 2 or axes[0] == axes[1]:
        raise InputError(f"A heat map needs two different columns as axes, not {', '.join(axes)}.")
    x, column = np.unique(table[axes[0]].to_numpy(dtype=float), return_inverse=True)
    y, row = np.unique(table[axes[1]].to_numpy(dtype=float), return_inverse=True)
    cells = len(x) * len(y)
    if min(len(x), len(y)) < 2 or cells != len(table) or cells > _MAX_CELLS:
        raise InputError(
            f"The scan is no grid in {axes[0]!r} and {axes[1]!r}: {len(table)} patients for {len(x)} times "
            f"{len(y)} values; a heat map needs one for each pair."
        )
    place = row * len(x) + column
    if len(np.unique(place)) != cells:
        raise InputError(f"The scan has several patients for the same {axes[0]!r} and {axes[1]!r}.")
    return x, y, place


def _draw(figure, panel, x, y, values, flags, label) -> None:
    """Draw the colours, mark the cells that failed or are censored, and say so in a legend."""
    from matplotlib.patches import Patch

    panel.set_facecolor(_PALE)
    finite = np.isfinite(values)
    columns, rows = _edges(x), _edges(y)
    norm = _colours(values[finite])
    mesh = panel.pcolormesh(
        columns, rows, np.ma.masked_invalid(values), cmap="viridis", norm=norm, rasterized=True
    )
    below = norm is not None and values[finite].min() < norm.vmin
    figure.colorbar(mesh, ax=panel, label=label, extend="min" if below else "neither")
    shown = []
    if flags["failed"].any():
        shown.append(Patch(facecolor=_PALE, edgecolor="black", linewidth=0.5, label="not solved"))
    if (~finite & ~flags["failed"]).any():
        shown.append(Patch(facecolor=_PALE, edgecolor="black", linewidth=0.5, label="no value"))
    if "censored" in flags and flags["censored"].any():
        # no fill, only the hatches
        whole = np.repeat(np.repeat(flags["censored"].astype(float), 2, axis=0), 2, axis=1)
        panel.contourf(
            _sides(columns), _sides(rows), whole, levels=[0.5, 1.5], colors="none", hatches=["////"]
        )
        shown.append(Patch(facecolor="none", edgecolor="black", hatch="////", label="censored"))
    if shown:
        figure.legend(handles=shown, loc="outside lower center", ncols=len(shown))


def _contours(panel: Any, x: np.ndarray, y: np.ndarray, values: np.ndarray, asked: Any) -> None:
    """Draw contours and their values, readable on every colour of the map."""
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import MaxNLocator

    finite = values[np.isfinite(values)]
    if not len(finite) or np.ptp(finite) == 0:
        return
    low, high = finite.min(), finite.max()
    norm = _colours(finite)
    levels: np.ndarray
    if not is_whole(asked):
        levels = np.unique(asked)
    elif norm is None:
        levels = np.asarray(MaxNLocator(asked).tick_values(low, high))
    else:
        # of a logarithmic scale whole decades, to which jumps are compared in logarithms, too
        first, last = np.ceil(np.log10([norm.vmin, norm.vmax]))
        levels = 10.0 ** np.arange(first, last, max(1, int((last - first) // asked)))
    levels = levels[(levels > low) & (levels < high)]  # at the ends there is an area, not a line
    if not len(levels):
        return
    if norm is None:
        drawn = _without_cliffs(values, levels)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = _without_cliffs(np.log10(values), np.log10(levels))
        drawn = np.ma.array(values, mask=np.ma.getmaskarray(logs))
    lines = panel.contour(x, y, drawn, levels=levels, colors="white", linewidths=0.8)
    lines.set_path_effects([withStroke(linewidth=1.6, foreground="black")])
    for text in panel.clabel(lines, fontsize=6.5, colors="black", fmt=lambda level: f"{level:.4g}"):
        text.set_bbox({"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 0.8})


def _without_cliffs(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return values, masked where they jump over several levels from one cell to the next.

    There all lines would lie on each other; the colours show the jump.
    """
    step = float(np.diff(levels).min()) if len(levels) > 1 else np.inf
    steep = np.zeros(values.shape, dtype=bool)
    for axis in (0, 1):
        jump = np.abs(np.diff(values, axis=axis)) > _CLIFF * step
        for ends in ((0, 1), (1, 0)):
            widths = [(0, 0), (0, 0)]
            widths[axis] = ends
            steep |= np.pad(jump, widths)
    return np.ma.masked_where(steep | ~np.isfinite(values), values)


def _colours(values: np.ndarray) -> Any:
    """Return a logarithmic scale of colours for what ranges over decades, None for a linear one.

    It does not reach farther down than can be told apart; what is less has the lowest colour.
    """
    from matplotlib.colors import LogNorm

    if not len(values) or values.min() <= 0 or values.max() < _WIDE * values.min():
        return None
    return LogNorm(max(values.min(), _DEEPEST * values.max()), values.max())


def _edges(values: np.ndarray) -> np.ndarray:
    """Return where cells around values meet: halfway, on a logarithmic axis as one sees it there."""
    log = _scale(values) == "log"
    places = np.log(values) if log else values
    between = (places[1:] + places[:-1]) / 2
    ends = 2 * places[[0, -1]] - between[[0, -1]]
    edges = np.concatenate([ends[:1], between, ends[1:]])
    return np.exp(edges) if log else edges


def _sides(edges: np.ndarray) -> np.ndarray:
    """Return both sides of each cell, just within it."""
    inside = 1e-6 * np.diff(edges)
    return np.column_stack([edges[:-1] + inside, edges[1:] - inside]).ravel()


def _dose_units(model: Model, doses: Sequence[Mapping[str, Any]] | None) -> dict[str, str]:
    """Return the units of the columns that the doses of a manifest use."""
    units = {}
    known = {item.name: item.unit for item in model.items}
    for dose in doses or ():
        of = {key: known[key] for key in dose if key in known} | {"bioavailability": ""}
        of |= dict.fromkeys(("time", "duration", "lag"), f"{model.time_unit}s")
        if dose["state"] is not None:
            unit = known[dose["state"]]
            of |= {"amount": unit, "rate": f"{unit}/{model.time_unit}"}
        for key in of.keys() & dose.keys():
            if isinstance(dose[key], str) and dose[key] not in known:
                units[dose[key]] = of[key]
    return units


def plot_scan(result: ScanResult, model: Model, output: str, axes: Sequence[str] | None = None) -> Path:
    """Draw a finished scan into its folder, as ``heatmap_<output>.png`` or ``line_<output>.png``.

    Parameters
    ----------
    result : ScanResult
    model : Model
    output : str
    axes : sequence of str, optional
        One for a line, two for a heat map. Default: the one or two inputs that vary.
    """
    table = result.load()
    pair = drawn_axes(table, result.inputs, axes)
    path = result.folder / f"{'line' if len(pair) == 1 else 'heatmap'}_{output}.png"
    units = _dose_units(model, read_manifest(result.folder, "scan")["doses"])
    save_figure(draw(table, output, pair, model=model, units=units), path, also=VECTORS)
    return path
