"""Doses of a scan: a schedule whose numbers may be columns of the patients."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_scalar

from fastcart.checks import count, number, number_in, real, shown
from fastcart.dose_tables import COLUMNS
from fastcart.dosing import NUMBERS, DosingSchedule
from fastcart.errors import InputError, nearest
from fastcart.model import Model
from fastcart.nonmem import is_nonmem, nonmem_doses, note_on_compartments
from fastcart.patients import allowed_range
from fastcart.tables.storage import is_path, read_table

_USUAL = {"time": 0.0, "amount": 0.0, "duration": 0.0}  # numbers that every entry has
_OWN = {"rate": 0.0, "lag": 0.0, "bioavailability": 1.0}  # those that it has where they are given
_PARAMETERS_TOO = ("duration", "rate", "lag", "bioavailability")  # a text may name a parameter there
_CODES = {"steady": (0, 1, 2), "reset": (0, 1)}
_KEYS = tuple(key for key in COLUMNS if key != "patient")
_NEVER_EMPTY = (*_USUAL, *_OWN, "every")
_MAX_REPEATS = 100_000


@dataclass(frozen=True)
class DoseTemplate:
    """A schedule that every patient gets, each with the numbers in their own columns.

    Parameters
    ----------
    entries : tuple of dict
        ``time``, ``state`` (None where a row is no dose), ``amount``, ``duration``, and ``shift``, which is
        added to the time; where they are given the other columns of a table of doses, and parameters that
        get a value. A text in place of a number is the name of a column of the patients, or of a parameter
        where a table of doses may name one.
    ranges : mapping of str to (float, float)
        The columns of the patients that the doses use, and what they may hold.
    """

    entries: tuple[Mapping[str, Any], ...]
    ranges: Mapping[str, tuple[float, float]]

    @property
    def columns(self) -> list[str]:
        """Names of the columns of the patients that the doses use, each once."""
        return list(self.ranges)

    def table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the doses of some patients, as `fastcart.solve` takes them."""
        keys = dict.fromkeys(key for entry in self.entries for key in entry if key != "shift")
        own = bool(self.columns)
        size = len(rows) if own else 1
        table = {key: self._column(key, rows, size) for key in keys}
        table["time"] = table["time"] + np.repeat([entry["shift"] for entry in self.entries], size)
        if own:
            whose = np.tile(np.arange(size), len(self.entries))
            table = {"patient": rows["patient"].array.take(whose), **table}
        return pd.DataFrame(table)

    def _column(self, key: str, rows: pd.DataFrame, size: int) -> np.ndarray:
        """Return a column of the table of doses, so many rows for each entry."""
        usual = {"state": None, **_USUAL, **_OWN, "every": 0.0, **dict.fromkeys(_CODES, 0)}.get(key, np.nan)
        cells = [entry.get(key, usual) for entry in self.entries]
        texts = key == "state" or any(isinstance(x, str) and x not in self.ranges for x in cells)
        column = np.empty((len(cells), size), dtype=object if texts else float)
        for part, cell in zip(column, cells, strict=True):
            part[:] = rows[cell] if key != "state" and cell in self.ranges else cell
        return column.ravel()

    def latest(self, highest: Mapping[str, float]) -> float:
        """Return the latest time of a dose, where each column reaches up to the value in ``highest``."""
        times = [
            entry["shift"] + (highest[entry["time"]] if isinstance(entry["time"], str) else entry["time"])
            for entry in self.entries
            if entry["state"] is not None or entry.get("reset")
        ]
        return max(times, default=0.0)

    def describe(self) -> list[dict[str, Any]]:
        """Return the doses in the types of JSON."""
        return [dict(entry) for entry in self.entries]


def dose_template(model: Model, doses: Any) -> DoseTemplate | None:
    """Check the doses of a scan.

    Parameters
    ----------
    model : Model
    doses : DosingSchedule, DataFrame, path, sequence of mappings, or None
        Rows with the columns of a table of doses, see `fastcart.solve`, or those of NONMEM; a text as a
        number is the name of a column of the patients.

    Raises
    ------
    InputError
        For an unknown key or state, or a value that is neither a number that may stand there nor a name.
    """
    if doses is None:
        return None
    if isinstance(doses, DosingSchedule):
        doses = doses.table()
    if is_path(doses):
        doses = read_table(doses, "The table of doses", NUMBERS)
    if isinstance(doses, pd.DataFrame):
        if is_nonmem(doses):
            doses, given = nonmem_doses(doses, model), doses
            if (note := note_on_compartments(given, model)) is not None:
                warnings.warn(note, UserWarning, stacklevel=3)  # for who called fastcart.scan
        if "patient" in doses.columns:
            raise InputError(
                "The doses of a scan have no column 'patient', since all patients get them; name columns of "
                "the patients as amount, time or another number instead."
            )
        doses = [_given(dose) for dose in doses.to_dict("records")]
    if isinstance(doses, Mapping):
        doses = [doses]
    if not isinstance(doses, Sequence) or not doses or not all(isinstance(d, Mapping) for d in doses):
        raise InputError(
            f"The doses must be a DosingSchedule, a table or a list of mappings, not {shown(doses)}."
        )
    entries = [entry for place, dose in enumerate(doses) for entry in _entries(model, place + 1, dose)]
    return DoseTemplate(tuple(entries), _ranges(model, entries))


def _given(dose: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a row of a table that say something; others are there for other rows."""
    usual = {**_OWN, "every": 0.0, "repeats": 0.0, **dict.fromkeys(_CODES, 0)}
    found = {}
    for key, cell in dose.items():
        empty = is_scalar(cell) and (pd.isna(cell) or (isinstance(cell, str) and not cell.strip()))
        if key in _NEVER_EMPTY if empty else not (key in usual and real(cell) == usual[key]):
            found[key] = cell
    if "repeats" in dose and not {"repeats", "steady"} & set(found):  # an interval of no repeats
        found.pop("every", None)
    if real(found.get("repeats")) is not None and float(found["repeats"]).is_integer():
        found["repeats"] = int(found["repeats"])
    return found


def _ranges(model: Model, entries: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Return the columns that entries use, and between what each of them must lie."""
    parameters = {item.name: item for item in model.parameters}
    ranges: dict[str, tuple[float, float]] = {}
    for entry in entries:
        for key, name in entry.items():
            if not isinstance(name, str) or key == "state":
                continue
            if name in parameters and key in _PARAMETERS_TOO:
                continue
            if name in parameters or name in model.state_names:
                raise InputError(
                    f"The doses use the column {name!r}, which is a {_kind(model, name)} of model "
                    f"{model.name!r}; give the doses a column of their own, e.g. 'dose_{name}'."
                )
            low, high = 0.0, np.inf
            if key in parameters and key not in COLUMNS:
                low, high = allowed_range(parameters[key])
            elif key == "amount" and _at_once(entry):
                low = -np.inf
            before = ranges.get(name, (-np.inf, np.inf))
            ranges[name] = (max(before[0], low), min(before[1], high))
    return ranges


def _at_once(entry: Mapping[str, Any]) -> bool:
    """Whether a dose is a bolus, which may remove something."""
    return entry["duration"] == 0.0 and entry.get("rate", 0.0) == 0.0 and "steady" not in entry


def _kind(model: Model, name: str) -> str:
    return "parameter" if name in model.parameter_names else "state"


def _entries(model: Model, place: int, dose: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one entry for each time that a dose is given."""
    where = f"Dose {place}"
    switched = [name for name in model.parameter_names if name in dose and name not in COLUMNS]
    for key in dose:
        if key not in _KEYS and key not in switched:
            raise InputError(f"{where}: there is no {shown(key)}." + nearest(key, _KEYS))
    codes = {key: _code(where, key, dose[key]) for key in _CODES if key in dose}
    alone = bool(switched or codes.get("reset")) and dose.get("state") is None
    if alone and real(dose.get("amount")) in (None, 0.0):  # what no dose has is not looked at
        dose = {key: dose[key] for key in dose if key in ("time", "reset", *switched)}
        codes.pop("steady", None)
    for key in ("time",) if alone and "amount" not in dose else ("time", "state", "amount"):
        if key not in dose:
            raise InputError(f"{where} needs 'time', 'state' and 'amount'; {key!r} is missing.")
    entry: dict[str, Any] = {"state": None if alone else _state(model, where, dose["state"])}
    for key in (*_USUAL, *(key for key in _OWN if key in dose), *switched):
        signed = key == "amount" or key in switched
        entry[key] = _number(f"{where}: the {key}", dose.get(key, _USUAL.get(key)), signed=signed)
    entry |= {key: code for key, code in codes.items() if code}
    _check_lasting(where, entry)
    return _repeated(where, dose, entry)


def _state(model: Model, where: str, given: Any) -> str:
    state = given.strip() if isinstance(given, str) else given
    if state not in model.state_names:
        raise InputError(
            f"{where}: {shown(state)} is not a state of model {model.name!r}."
            + nearest(state, model.state_names)
        )
    return str(state)


def _check_lasting(where: str, entry: Mapping[str, Any]) -> None:
    """Check that a dose lasts in one way only, and that only a bolus removes something."""
    if entry["duration"] != 0.0 and entry.get("rate", 0.0) != 0.0:
        raise InputError(f"{where} has a duration and a rate; leave one of them off.")
    amount = entry["amount"]
    if not isinstance(amount, str) and amount < 0 and not _at_once(entry):
        raise InputError(
            f"{where}: the amount must not be negative, not {amount:g}: what is removed is removed at once, "
            "without duration, rate or steady state."
        )


def _repeated(where: str, dose: Mapping[str, Any], entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an entry and what follows it in intervals; at a steady state the first alone has it."""
    steady = "steady" in entry
    endless = entry["amount"] == 0.0 and entry.get("rate", 0.0) != 0.0
    if steady and "every" not in dose and not endless:
        raise InputError(
            f"{where}: a steady state needs the interval 'every' of its doses, or the amount 0 and a 'rate' "
            "for an infusion without end."
        )
    lone = ("every" in dose) != ("repeats" in dose)
    if lone and not (steady and "every" in dose):
        raise InputError(f"{where}: repeated doses need both 'every' (the interval) and 'repeats'.")
    if "every" not in dose:
        return [{**entry, "shift": 0.0}]
    interval = number(dose["every"], f"{where}: the interval 'every'", positive=True)
    repeats = 0
    if "repeats" in dose:
        repeats = min(count(dose["repeats"], f"{where}: the number of repeats"), _MAX_REPEATS)
    first = {**entry, "every": interval} if steady else entry
    rest = {key: value for key, value in entry.items() if key not in _CODES}
    later = [{**rest, "shift": k * interval} for k in range(1, repeats + 1)]
    return [{**first, "shift": 0.0}, *later]


def _code(where: str, key: str, value: Any) -> int:
    code = real(value)
    if code not in _CODES[key]:
        allowed = ", ".join(map(str, _CODES[key]))
        raise InputError(f"{where}: {key!r} must be one of {allowed}, not {shown(value)}.")
    return int(code)


def _number(what: str, value: Any, *, signed: bool) -> float | str:
    """Return a number, from 0 on unless it may have a sign, or the name of a column."""
    if isinstance(value, str):
        found = number_in(value)  # as in a CSV file whose other rows name columns
        if found is None:
            return value.strip()
        value = found
    result = real(value)
    if result is None or not (-np.inf if signed else 0) <= result < np.inf or result == -np.inf:
        allowed = "a finite number" if signed else "a number from 0 on"
        raise InputError(f"{what} must be {allowed} or the name of a column, not {shown(value)}.")
    return result
