"""Doses of a scan: a schedule whose amounts, times and durations may be columns of the patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import count, number, number_in, real, shown
from fastcart.dosing import DosingSchedule
from fastcart.errors import InputError, nearest
from fastcart.model import Model
from fastcart.tables.storage import is_path, read_table

_NUMBERS = ("time", "amount", "duration")
_KEYS = ("time", "state", "amount", "duration", "every", "repeats")
_MAX_REPEATS = 100_000


@dataclass(frozen=True)
class DoseTemplate:
    """A schedule that every patient gets, each with the numbers in their own columns.

    Parameters
    ----------
    entries : tuple of dict
        ``time``, ``state``, ``amount``, ``duration``, and ``shift``, which is added to the time; a text in
        place of a number is the name of a column of the patients.
    """

    entries: tuple[Mapping[str, Any], ...]

    @property
    def columns(self) -> list[str]:
        """Names of the columns of the patients that the doses use, each once."""
        named = [entry[key] for entry in self.entries for key in _NUMBERS if isinstance(entry[key], str)]
        return list(dict.fromkeys(named))

    def table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the doses of some patients, as `fastcart.solve` takes them."""
        if not self.columns:
            frame = pd.DataFrame(list(self.entries))
            frame["time"] += frame.pop("shift")
            return frame
        parts = []
        for entry in self.entries:
            part = {key: rows[entry[key]] if isinstance(entry[key], str) else entry[key] for key in _NUMBERS}
            part["time"] = part["time"] + entry["shift"]
            parts.append(pd.DataFrame({"patient": rows["patient"], "state": entry["state"], **part}))
        return pd.concat(parts, ignore_index=True)

    def latest(self, highest: Mapping[str, float]) -> float:
        """Return the latest time of a dose, where each column reaches up to the value in ``highest``."""
        times = [
            entry["shift"] + (highest[entry["time"]] if isinstance(entry["time"], str) else entry["time"])
            for entry in self.entries
        ]
        return max(times)

    def describe(self) -> list[dict[str, Any]]:
        """Return the doses in the types of JSON."""
        return [dict(entry) for entry in self.entries]


def dose_template(model: Model, doses: Any) -> DoseTemplate | None:
    """Check the doses of a scan.

    Parameters
    ----------
    model : Model
    doses : DosingSchedule, DataFrame, path, sequence of mappings, or None
        Rows with ``time``, ``state``, ``amount`` and optionally ``duration``, in a sequence also ``every``
        and ``repeats``.

    Raises
    ------
    InputError
        For an unknown key or state, or a value that is neither a number from 0 on nor a name.
    """
    if doses is None:
        return None
    if isinstance(doses, DosingSchedule):
        doses = doses.table()
    if is_path(doses):
        doses = _read(doses)
    if isinstance(doses, pd.DataFrame):
        if "patient" in doses.columns:
            raise InputError(
                "The doses of a scan have no column 'patient'; name columns of the patients as time, amount "
                "or duration instead."
            )
        doses = doses.to_dict("records")
    if isinstance(doses, Mapping):
        doses = [doses]
    if not isinstance(doses, Sequence) or not doses or not all(isinstance(d, Mapping) for d in doses):
        raise InputError(
            f"The doses must be a DosingSchedule, a table or a list of mappings, not {shown(doses)}."
        )
    entries = [entry for place, dose in enumerate(doses) for entry in _entries(model, place + 1, dose)]
    template = DoseTemplate(tuple(entries))
    for name in template.columns:
        if name in model.parameter_names or name in model.state_names:
            raise InputError(
                f"The doses use the column {name!r}, which is a {_kind(model, name)} of model "
                f"{model.name!r}; give the doses a column of their own, e.g. 'dose_{name}'."
            )
    return template


def _read(path: Any) -> pd.DataFrame:
    frame = read_table(path, "The table of doses", (*_NUMBERS, "every", "repeats"))
    if "repeats" in frame and frame["repeats"].dtype.kind == "f":
        whole = (frame["repeats"] == np.round(frame["repeats"])).all()
        frame["repeats"] = frame["repeats"].astype(np.int64 if whole else np.float64)
    return frame


def _kind(model: Model, name: str) -> str:
    return "parameter" if name in model.parameter_names else "state"


def _entries(model: Model, place: int, dose: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one entry for each time that a dose is given."""
    where = f"Dose {place}"
    for key in dose:
        if key not in _KEYS:
            raise InputError(f"{where}: there is no {shown(key)}." + nearest(key, _KEYS))
    for key in ("time", "state", "amount"):
        if key not in dose:
            raise InputError(f"{where} needs 'time', 'state' and 'amount'; {key!r} is missing.")
    state = dose["state"].strip() if isinstance(dose["state"], str) else dose["state"]
    if state not in model.state_names:
        raise InputError(
            f"{where}: {shown(state)} is not a state of model {model.name!r}."
            + nearest(state, model.state_names)
        )
    entry: dict[str, Any] = {"state": str(state)}
    entry |= {key: _number(f"{where}: the {key}", dose.get(key, 0.0)) for key in _NUMBERS}
    if ("every" in dose) != ("repeats" in dose):
        raise InputError(f"{where}: repeated doses need both 'every' (the interval) and 'repeats'.")
    if "every" not in dose:
        return [{**entry, "shift": 0.0}]
    interval = number(dose["every"], f"{where}: the interval 'every'", positive=True)
    repeats = min(count(dose["repeats"], f"{where}: the number of repeats"), _MAX_REPEATS)
    return [{**entry, "shift": k * interval} for k in range(repeats + 1)]


def _number(what: str, value: Any) -> float | str:
    """Return a number from 0 on, or the name of a column."""
    if isinstance(value, str):
        found = number_in(value)  # as in a CSV file whose other rows name columns
        if found is None:
            return value.strip()
        value = found
    result = real(value)
    if result is None or not 0 <= result < float("inf"):
        raise InputError(f"{what} must be a number from 0 on or the name of a column, not {shown(value)}.")
    return result
