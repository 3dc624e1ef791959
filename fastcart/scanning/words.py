"""What stands at the axes of pictures of scans: names, units, scales."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastcart.model import Model, Observable, State
from fastcart.solvers.endpoints import endpoint_titles, endpoint_units


def axis_scale(values: np.ndarray) -> str:
    """Return the scale of an axis: logarithmic where its values grow by a factor."""
    if values[0] > 0 and len(values) > 2:
        ratios = values[1:] / values[:-1]
        if np.ptp(ratios) < 1e-6 * ratios.mean():
            return "log"
    return "linear"


def axis_label(units: Mapping[str, str], name: str) -> str:
    """Return the name of a column with its unit."""
    text = endpoint_titles().get(name, name)
    return f"{text} ({units[name]})" if units.get(name) else text


def units_of(model: Model | None) -> dict[str, str]:
    """Return the units of the columns that a model knows."""
    if model is None:
        return {}
    units = {item.name: item.unit for item in model.items}
    time = f"{model.time_unit}s"
    units |= {"t_reached": time} | endpoint_units(time, units.get(str(model.burden)))
    units |= {f"final_{state.name}": state.unit for state in model.states}
    watched: list[State | Observable] = [*model.states, *model.observables]
    for item in watched:
        units[f"peak_{item.name}"] = item.unit
        units[f"t_peak_{item.name}"] = f"{model.time_unit}s"
        units[f"auc_{item.name}"] = f"{item.unit} {model.time_unit}"
    return units
