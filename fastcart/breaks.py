"""Times at which a right-hand side may jump: every engine stops there and starts anew behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcart.errors import InputError, nearest
from fastcart.model import Model, computed_default

if TYPE_CHECKING:
    from fastcart.patients import PatientTable

Breaks = tuple[np.ndarray, np.ndarray]


def break_columns(model: Model, breaks: Sequence[float | str]) -> list[str]:
    """Return the columns of the patients that breaks name and that are no parameters of the model.

    Raises
    ------
    InputError
        For the name of a state.
    """
    names = [name for name in dict.fromkeys(breaks) if isinstance(name, str)]
    for name in names:
        if name in model.state_names:
            raise InputError(f"The break {name!r} is a state; name a time, a parameter or a column.")
    return [name for name in names if name not in model.parameter_names]


def require_break_columns(model: Model, breaks: Sequence[float | str], given: Iterable[str]) -> None:
    """Check that the patients have a column for each break that is no parameter of the model."""
    known = [*model.parameter_names, *given]
    for name in break_columns(model, breaks):
        if name not in known:
            raise InputError(
                f"The break {name!r} is neither a parameter of model {model.name!r} nor a column of the "
                "patients; give each patient a time." + nearest(name, known)
            )


def break_times(breaks: Sequence[float | str], table: PatientTable) -> Breaks | None:
    """Return times that all patients share, and times of their own, shape (columns, patients); None for none.

    Raises
    ------
    InputError
        For a time of a patient that is negative.
    """
    if not breaks:
        return None
    shared = np.array([item for item in breaks if not isinstance(item, str)], dtype=float)
    names = list(dict.fromkeys(item for item in breaks if isinstance(item, str)))
    own = np.empty((len(names), table.size))
    for row, name in zip(own, names, strict=True):
        row[:] = _values(name, table)
        if (row < 0).any():
            j = int(np.argmax(row < 0))
            raise InputError(
                f"The time of the break {name!r} is {row[j]:g} in row {j + 1}; it must not be negative."
            )
    return shared, own


def _values(name: str, table: PatientTable) -> Any:
    if name in table.columns:
        return table.columns[name]
    parameter = next(item for item in table.model.parameters if item.name == name)
    if not callable(parameter.default):
        return float(parameter.default)
    values: dict[str, Any] = {
        item.name: table.columns.get(item.name, item.default)
        for item in table.model.items
        if item.name in table.columns or not callable(item.default)
    }
    for item in table.model.items:
        if item.name not in values:
            values[item.name] = computed_default(table.model, item, values, (table.size,))
    return values[name]


def rows_of(breaks: Breaks, patients: int, shared: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return whose breaks, and when: one schedule for all, or one for each patient."""
    times, own = breaks
    if shared:
        return np.zeros(len(times), dtype=np.int64), times
    every = np.arange(patients)
    row = np.concatenate([np.tile(every, len(times)), np.tile(every, len(own))])
    return row.astype(np.int64), np.concatenate([np.repeat(times, patients), own.ravel()])
