"""A table of patients as engines need it: given columns as arrays, everything else at its default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.errors import InputError
from fastcart.model import Model, Parameter, State, computed_default

CHECKED_ROWS = 65_536  # rows looked at together
NOTHING_KEPT = pd.DataFrame()

_NUMBERS = {float, int, np.float64, np.int64}
_NOTHING = np.empty(0, dtype=object)
_ROWS = 512  # patients copied together


@dataclass(frozen=True)
class PatientTable:
    """Checked patients: given columns as arrays, everything else at its default.

    Parameters
    ----------
    model : Model
    columns : dict of str to ndarray
        Given parameters and initial values, each of length ``size``.
    ids : ndarray or pandas array
        The ``patient`` column in the type that it was given in, or 0, 1, 2, ...
    kept : DataFrame
        Columns carried along to the endpoints.
    """

    model: Model
    columns: dict[str, np.ndarray]
    ids: Any
    kept: pd.DataFrame

    @property
    def size(self) -> int:
        """Number of patients."""
        return len(self.ids)

    def rows(self, start: int, stop: int) -> PatientTable:
        """Return the table of patients ``start`` to ``stop``."""
        columns = {name: values[start:stop] for name, values in self.columns.items()}
        return PatientTable(self.model, columns, self.ids[start:stop], self.kept.iloc[start:stop])

    def arrays(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return initial values and parameters of patients ``start`` to ``stop``, row by row."""
        model = self.model
        n = stop - start
        values: dict[str, Any] = {}
        for item in model.items:
            if item.name in self.columns:
                values[item.name] = self.columns[item.name][start:stop]
            elif not callable(item.default):
                values[item.name] = float(item.default)
        for item in model.items:
            if item.name not in values and callable(item.default):
                values[item.name] = computed_default(model, item, values, (n,))
        return _side_by_side(values, model.state_names, n), _side_by_side(values, model.parameter_names, n)


def _side_by_side(values: Mapping[str, Any], names: Sequence[str], n: int) -> np.ndarray:
    """Return numbers and columns as a table, row by row."""
    table = np.empty((n, len(names)))
    if n <= _ROWS:
        for j, name in enumerate(names):
            table[:, j] = values[name]
        return table
    columns = [np.broadcast_to(values[name], n) for name in names]
    for start in range(0, n, _ROWS):  # so many rows stay in the cache
        block = table[start : start + _ROWS]
        for j, column in enumerate(columns):
            block[:, j] = column[start : start + _ROWS]
    return table


def plain_table(model: Model, patients: Any, first_id: int) -> PatientTable | None:
    """Return the table of a few patients given as numbers and rows of numbers, without looking at each cell.

    For anything else, and where any is not in its range, None; what is wrong is then said.
    """
    size = patients if type(patients) is int and 0 < patients <= CHECKED_ROWS else 1
    if not isinstance(patients, Mapping) and size is not patients:
        return None
    columns: dict[str, np.ndarray] = {}
    lengths = set()
    for name, values in patients.items() if isinstance(patients, Mapping) else ():
        alone = not isinstance(values, list | tuple | np.ndarray)
        cells = () if isinstance(values, np.ndarray) else (values,) if alone else values
        columns[name] = column = np.asarray(values) if _NUMBERS.issuperset(map(type, cells)) else _NOTHING
        if column.ndim != (not alone) or column.dtype.kind not in "fiu":
            return None
        lengths |= set(column.shape)
    size = max(lengths, default=size)
    if len(lengths) > 1 or not 0 < size <= CHECKED_ROWS or "patient" in columns:
        return None
    items = [item for item in model.items if item.name in columns]
    table = np.empty((len(items), size))
    for row, item in zip(table, items, strict=True):
        row[:] = columns[item.name]
    if not within_ranges(table.T, *ranges_of(items)).all():
        return None
    return PatientTable(
        model, {item.name: row for item, row in zip(items, table, strict=True)},
        np.arange(first_id, first_id + size), NOTHING_KEPT,
    )  # fmt: skip


def ranges_of(items: Sequence[Parameter | State]) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest values that parameters and initial values may have."""
    low, high = np.array([allowed_range(item) for item in items]).reshape(-1, 2).T
    return low, high


def within_ranges(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return of each column of a table whether it is finite and in its range."""
    lowest, highest = values.min(axis=0), values.max(axis=0)  # NaN where any is
    good = (lowest >= low) & (highest <= high)
    return good & np.isfinite(lowest) & np.isfinite(highest)


def is_computed(item: Parameter | State) -> bool:
    """Whether a state is an integral that `fastcart.solve` adds, which nobody can give."""
    return isinstance(item, State) and item.computed


def allowed_range(item: Parameter | State) -> tuple[float, float]:
    """Return the lowest and the highest value that a parameter or an initial value may have."""
    if isinstance(item, Parameter):
        return item.range
    return (0.0 if item.log or item.nonnegative or item.unit == "cells" else -np.inf), np.inf


def check_range(values: np.ndarray, item: Parameter | State, what: str, first_id: int) -> None:
    """Check that all values are in the range of a parameter or state; ``what`` begins the sentence.

    Raises
    ------
    InputError
    """
    low, high = allowed_range(item)
    if values.min(initial=low) < low or values.max(initial=high) > high:
        row = int(np.argmax((values < low) | (values > high)))
        allowed = f"at least {low:g}" if high == np.inf else f"from {low:g} to {high:g}"
        raise InputError(
            f"{what} {values[row]:g} in row {first_id + row + 1}; allowed is {allowed}"
            f"{' ' + item.unit if item.unit else ''}."
        )


def check_followers(table: PatientTable, first_id: int = 0) -> None:
    """Check what follows from the columns of a table: computed defaults, and sums that must be kept.

    Raises
    ------
    InputError
    """
    _check_computed_defaults(table, first_id)
    _check_sums(table, first_id)


def _check_computed_defaults(table: PatientTable, first_id: int) -> None:
    """Check that every default that follows from other columns is a number within its range."""
    items = table.model.items
    computed = [j for j, i in enumerate(items) if callable(i.default) and i.name not in table.columns]
    if not computed:
        return
    for start in range(0, table.size, CHECKED_ROWS):
        y0, p = table.arrays(start, min(start + CHECKED_ROWS, table.size))
        for j in computed:
            name = items[j].name
            values = p[:, j] if j < p.shape[1] else y0[:, j - p.shape[1]]
            bad = ~np.isfinite(values)
            if bad.any():
                row = first_id + start + int(np.argmax(bad)) + 1
                raise InputError(
                    f"The default of {name!r} cannot be computed from the other columns in row {row}; "
                    f"give the column {name!r}."
                )
            check_range(values, items[j], f"The computed default of {name!r} is", first_id + start)


def _check_sums(table: PatientTable, first_id: int) -> None:
    """Check that parameters that must add up to a total do so in every row."""
    names = table.model.parameter_names
    # a sum that no column touches holds the model's own values
    sums = [c for c in table.model.constraints if any(name in table.columns for name in c.parameters)]
    for start in range(0, table.size if sums else 0, CHECKED_ROWS):
        _, p = table.arrays(start, min(start + CHECKED_ROWS, table.size))
        for constraint in sums:
            total = p[:, [names.index(name) for name in constraint.parameters]].sum(axis=1)
            bad = np.abs(total - constraint.total) > constraint.tolerance
            if bad.any():
                row = int(np.argmax(bad))
                raise InputError(
                    f"{' + '.join(constraint.parameters)} must be {constraint.total:g}, but is "
                    f"{total[row]:.10g} in row {first_id + start + row + 1}; change one of these columns."
                )
