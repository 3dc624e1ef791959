"""A batch in other forms: a folder, and a dataset of xarray."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart.errors import InputError, optional_import
from fastcart.events import Action, Event
from fastcart.runs.identity import plain
from fastcart.saved import Saved, save_tables, versions
from fastcart.solvers.endpoints import endpoint_titles, endpoint_units

if TYPE_CHECKING:
    from fastcart.model import Model
    from fastcart.result import BatchResult

KIND = "batch"
TABLES = ("endpoints", "trajectories", "sensitivities", "doses")


def save_batch(result: BatchResult, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a batch into a folder, see `fastcart.BatchResult.save`."""
    tables = {name: getattr(result, name) for name in TABLES}
    return save_tables(folder, KIND, result.model, {"options": dict(result.options)}, tables, force=force)


def options_of(saved: Saved) -> dict[str, Any]:
    """Return the options of a saved batch as they were: tuples for lists, events for their parts."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.content["options"].items()}
    if "events" in given:
        given["events"] = tuple(_event(event) for event in given["events"])
    return given


def _event(parts: dict[str, Any]) -> Event:
    known = {field.name for field in fields(Event)}
    chosen = {name: value for name, value in parts.items() if name in known}
    chosen["actions"] = tuple(Action(**action) for action in chosen.get("actions", ()))
    return Event(**chosen)


def dataset_of(result: BatchResult) -> Any:
    """Return a batch as a dataset of xarray, see `fastcart.BatchResult.to_xarray`."""
    xarray = optional_import("xarray", extra="xarray", purpose="BatchResult.to_xarray")
    from fastcart.result_figures import courses_of

    model = result.model
    ids = result.endpoints["patient"].to_numpy()
    coordinates: dict[str, Any] = {"patient": ids.astype(str) if ids.dtype == object else ids}
    variables: dict[str, Any] = {}
    about = _attributes(model)
    if result.trajectories is not None:
        names = [name for name in result.trajectories.columns if name not in ("patient", "t")]
        for name in names:
            courses = courses_of(result, name)
            if not courses.shared:
                raise InputError(
                    "The patients have times of their own, which have no common dimension t; use the table "
                    "result.trajectories, or solve with one list of times."
                )
            coordinates["t"] = ("t", courses.t, {"units": f"{model.time_unit}s"})
            variables[name] = (("patient", "t"), courses.y, about.get(name, {}))
    for name in result.endpoints.columns:
        if name == "patient":
            continue
        values = result.endpoints[name]
        if isinstance(values.dtype, pd.CategoricalDtype) or values.dtype == object:
            values = values.astype(str)
        key = f"kept_{name}" if name in variables else name
        variables[key] = ("patient", np.asarray(values), about.get(name, {}))
    attributes = {
        "model": model.name, "model_options": json.dumps(plain(model.options)),
        "options": json.dumps(plain(dict(result.options))), "versions": json.dumps(versions()),
        "references": "; ".join(model.references),
    }  # fmt: skip
    return xarray.Dataset(variables, coordinates, attributes)


def _attributes(model: Model) -> dict[str, dict[str, str]]:
    """Return unit and description of courses and endpoints by name."""
    items = model.quantities
    found = {item.name: _described(item.unit, item.description) for item in items}
    for item in items:
        for prefix, what in (("final_", "at the end"), ("peak_", "largest value")):
            found[prefix + item.name] = _described(item.unit, f"{item.description or item.name}, {what}")
        found[f"t_peak_{item.name}"] = _described(f"{model.time_unit}s", f"time of the largest {item.name}")
        unit = f"{item.unit} {model.time_unit}s".strip()
        found[f"auc_{item.name}"] = _described(unit, f"integral of {item.name}")
    burden = next((state.unit for state in model.states if state.name == model.burden), None)
    titles = endpoint_titles()
    for name, unit in endpoint_units(f"{model.time_unit}s", burden).items():
        found[name] = _described(unit, titles.get(name, ""))
    return found


def _described(unit: str, description: str) -> dict[str, str]:
    return {key: text for key, text in (("units", unit), ("description", description)) if text}
