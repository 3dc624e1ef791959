"""Figures of fits of individuals: courses through the measurements of each patient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.fit.panels import (
    LONGEST,
    common_unit,
    draw_limits,
    finish_panels,
    is_wide,
    look_of,
    units_of_kinds,
)
from fastcart.tables.ids import id_text

if TYPE_CHECKING:
    from fastcart.fit.results import IndividualFit

_MOST = 12  # patients that are drawn unless others are asked for
_ABREAST = 4


def courses(fit: IndividualFit, patients: Any = None) -> Any:
    """Return a figure of courses and measurements, see `fastcart.fit.IndividualFit.plot`."""
    prepared = fit.search.prepared
    fine = fit.courses(list(prepared.data.ids[:_MOST]) if patients is None else patients)
    measured = _measured(fit)
    drawn = list(dict.fromkeys(fine["patient"]))
    names = {one.dvid: _name(one) for one in prepared.observations}
    kinds = [kind for kind in names if (measured["kind"] == kind).any()]
    unit = common_unit(units_of_kinds(prepared), kinds)
    columns = min(_ABREAST, len(drawn))
    rows = -(-len(drawn) // columns)
    shown = measured[measured["patient"].isin(drawn) & measured["kind"].isin(names)]
    log = is_wide(shown["DV"])
    time = plotting.time_label(prepared.model.time_unit)
    with plotting.style():
        figure = plotting.new_figure(max(1.8 * columns, 4.4), 0.9 + 1.4 * max(rows, 1.5))
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for k, patient in enumerate(drawn):
            axes = grid[k // columns, k % columns]
            for place, kind in enumerate(names):
                mine = shown[(shown["patient"] == patient) & (shown["kind"] == kind)]
                curve = fine[(fine["patient"] == patient) & (fine["kind"] == kind)]
                prefix = f"{names[kind]}, " if len(kinds) > 1 else ""
                if len(mine):
                    _draw(axes, mine, curve, look_of(place), prefix)
        alone = names[kinds[0]] if len(kinds) == 1 else "Measured"
        finish_panels(
            figure, grid, [id_text(patient) for patient in drawn], time=time,
            label=plotting.with_unit(alone, unit), log_of=shown["DV"] if log else None,
        )  # fmt: skip
    return figure


def _measured(fit: IndividualFit) -> pd.DataFrame:
    """Return the measurements of the data."""
    data = fit.search.prepared.data
    of = data.measurements
    return pd.DataFrame({
        "patient": data.ids[of.patient], "time": of.time, "DV": of.value,
        "kind": np.array(data.kinds, dtype=object)[of.kind], "censored": of.censored,
    })  # fmt: skip


def _name(observation: Any) -> str:
    prediction = observation.prediction
    name = prediction if observation.dvid.isdigit() and isinstance(prediction, str) else observation.dvid
    return plotting.shortened(name, LONGEST)


def _draw(axes: Any, mine: pd.DataFrame, curve: pd.DataFrame, look: tuple[str, str], prefix: str) -> None:
    color, marker = look
    axes.plot(curve["time"], curve["prediction"], color=color, linewidth=1.0, label=f"{prefix}fitted")
    seen = mine[mine["censored"] == 0]
    if len(seen):
        axes.plot(seen["time"], seen["DV"], marker, color=color, markersize=2.8, label=f"{prefix}measured")
    draw_limits(axes, mine[mine["censored"] != 0])
