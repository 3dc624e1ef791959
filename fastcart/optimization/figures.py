"""Pictures of searches: the best value against evaluations, and the front of several objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.scanning.words import axis_label, units_of

if TYPE_CHECKING:
    from fastcart.optimization.optimize import OptimizationResult
    from fastcart.optimization.pareto import ParetoResult

_TOLD_APART = 8  # problems; of more each is a thin line
_LONGEST = 40  # letters of the name of a problem, of an objective
_ABREAST = 3  # panels in a row
_MEANING = {"maximize": "more is better", "minimize": "less is better"}
_WIDE = 1e3  # from which ratio on values are on a logarithmic axis


def draw_history(result: OptimizationResult, model: Model | None = None) -> Any:
    """Draw the best value so far against evaluations, see `fastcart.OptimizationResult.plot`."""
    history, options = result.history, result.options
    names = _problems(result.best, _given(result.best, "objective"))
    with plotting.style():
        figure = plotting.new_figure(5.0, 3.6)
        axes = figure.add_subplot()
        for place, (row, mine) in enumerate(history.groupby("row")):
            kept = mine["objective"].where(mine["violation"] == 0)
            axes.plot(
                mine["evaluations"], kept, drawstyle="steps-post", **_line(place, len(names), names[row])
            )
        if len(names) == 1:
            axes.plot(
                history["evaluations"], history["mean"], ":", color=plotting.GREY,
                label="mean of the points of an iteration that keep all constraints",
            )  # fmt: skip
        if not history["objective"].where(history["violation"] == 0).notna().any():
            axes.set_title("no point keeps all constraints")
        goal = _MEANING.get(str(options.get("goal", "")), "")
        label = _label(str(options["objective"]), model)
        plotting.panel(axes, "", axes.get_title("left"), "Points evaluated", f"{label}\n{goal}".strip())
        _widen(axes, history["objective"].to_numpy(dtype=float), axes.set_yscale)
        plotting.legend_below(figure, [axes], columns=2)
    return figure


def draw_front(result: ParetoResult, model: Model | None = None) -> Any:
    """Draw the points of a front, see `fastcart.ParetoResult.plot`.

    Raises
    ------
    InputError
        Where there is no point to draw.
    """
    goals = _goals(result)
    if result.front.empty:
        raise InputError("The front has no point, so there is nothing to draw; result.notes say why.")
    first, others = goals[0], goals[1:]
    rows = sorted(result.front["row"].unique())
    drawn = result.front.drop_duplicates("row").set_index("row")
    names = _problems(drawn, _given(drawn, first[0]))
    columns = min(len(others), _ABREAST)
    with plotting.style():
        figure = plotting.new_figure(4.6 if columns == 1 else 3.0 * columns, 3.6 * -(-len(others) // columns))
        panels = figure.subplots(-(-len(others) // columns), columns, squeeze=False)
        for axes, (name, way) in zip(panels.flat, others, strict=False):
            for place, row in enumerate(rows):
                mine = result.front[result.front["row"] == row].sort_values(first[0])
                look = _points(place, len(rows), names[row], joined=len(others) == 1)
                axes.plot(mine[first[0]], mine[name], **look)
            _widen(axes, result.front[first[0]].to_numpy(dtype=float), axes.set_xscale)
            _widen(axes, result.front[name].to_numpy(dtype=float), axes.set_yscale)
            plotting.panel(axes, "", "", _objective(*first, model), _objective(name, way, model))
        for spare in list(panels.flat)[len(others) :]:
            spare.set_axis_off()
        if len(rows) > 1:
            plotting.legend_below(figure, panels.flat, columns=2 if columns == 1 else 4)
    return figure


def _goals(result: ParetoResult) -> list[tuple[str, str]]:
    """Return each objective and whether more or less of it is better."""
    given: Mapping[str, Any] = result.options["objectives"]
    return [(name, way if isinstance(way, str) else str(way[-1])) for name, way in given.items()]


def _objective(name: str, way: str, model: Model | None) -> str:
    return f"{_label(name, model)}\n{_MEANING.get(way, '')}".strip()


def _label(name: str, model: Model | None) -> str:
    return plotting.shortened(axis_label(units_of(model), name), _LONGEST)


def _given(table: pd.DataFrame, end: str) -> list[str]:
    """Return the columns that came with the problems: those before the results which differ between them."""
    columns = [name for name in table.columns if name != "row"]
    before = columns[: columns.index(end)]
    return [name for name in before if table[name].nunique() == len(table) > 1]


def _problems(table: pd.DataFrame, telling: Sequence[str]) -> dict[Any, str]:
    """Return the name of each problem: by the first column that tells all apart, else its row."""
    if len(table) == 1:
        return {table.index[0]: "best point so far"}
    if not telling:
        return {row: f"row {row + 1}" for row in table.index}
    name = telling[0]
    return {row: plotting.shortened(_told(name, value), _LONGEST) for row, value in table[name].items()}


def _told(name: str, value: Any) -> str:
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def _line(place: int, many: int, name: str) -> dict[str, Any]:
    if many > _TOLD_APART:
        label = f"each of {many} problems" if place == 0 else None
        return {"color": plotting.BLUE, "linewidth": 0.6, "alpha": 0.5, "label": label}
    colors = (*plotting.PALETTE, plotting.RED, plotting.GREY)
    return {"color": colors[place], "linestyle": plotting.DASHES[place], "label": name}


def _points(place: int, many: int, name: str, *, joined: bool) -> dict[str, Any]:
    look = _line(place, many, name) | {"markersize": 3.0}
    look["marker"] = "o" if many > _TOLD_APART else plotting.MARKERS[place]
    if not joined:
        look["linestyle"] = "none"
    else:
        look["linewidth"] = 0.6
    return look


def _widen(axes: Any, values: np.ndarray, set_scale: Any) -> None:
    """Make an axis logarithmic where its values are positive and range over decades."""
    known = values[np.isfinite(values)]
    if len(known) and known.min() > 0 and known.max() > _WIDE * known.min():
        set_scale("log")
