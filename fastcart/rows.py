"""Arrays of parameters and initial values in, the arrays that engines take out: nothing else is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import shown
from fastcart.errors import InputError, counted
from fastcart.model import Model, computed_default
from fastcart.patient_rows import NOTHING_KEPT, PatientTable, check_followers, ranges_of, within_ranges
from fastcart.patients import checked_column

Places = np.ndarray | slice
_LARGEST = np.finfo(np.float64).max
_KEPT_ROWS = 20_000


class RowMaker:
    """Makes rows of initial values and of parameters, those not given at their defaults.

    Parameters
    ----------
    model : Model
    columns : tuple of str
        What the columns of the values mean.
    """

    def __init__(self, model: Model, columns: tuple[str, ...]):
        self.model, self.columns = model, columns
        items = {item.name: item for item in model.items}
        self.given = [items[name] for name in columns]
        self.low, self.high = ranges_of(self.given)
        self.finite = np.clip([self.low, self.high], -_LARGEST, _LARGEST)
        self._last: tuple[np.ndarray, ...] | None = None
        computed = any(callable(item.default) and item.name not in columns for item in model.items)
        sums = any(name in columns for constraint in model.constraints for name in constraint.parameters)
        self.followers = bool(columns) and (computed or sums)  # then the values decide about others
        self.parts = [self._part(model.state_names), self._part(model.parameter_names)]
        self.known = {
            item.name: float(item.default)
            for item in model.items
            if not callable(item.default) and item.name not in columns
        }
        self.computed = [i for i in model.items if callable(i.default) and i.name not in columns]
        self.allowed = ranges_of(self.computed)

    def _part(self, names: list[str]) -> tuple[np.ndarray, Places, Places]:
        """Return a row of defaults, the places of it that are given, and by which columns."""
        defaults = self.model.defaults()
        row = np.array([defaults[name] for name in names])
        places = [k for k, name in enumerate(names) if name in self.columns]
        columns = [self.columns.index(names[k]) for k in places]
        return row, _places(places), _places(columns)

    def arrays(self, given: Any) -> tuple[np.ndarray, np.ndarray, Callable[[], PatientTable]]:
        """Return initial values, parameters, and what makes a table of the patients where one is needed.

        Raises
        ------
        InputError
            For values of another shape, that are not finite, or beyond their ranges.
        """
        values = self._checked(given)

        def table() -> PatientTable:
            columns = {name: values[:, j] for j, name in enumerate(self.columns)}
            ids = np.arange(len(values))
            return PatientTable(self.model, columns, ids, NOTHING_KEPT)

        y0, p = self._filled(values)
        if self.followers and not self._follow(values, y0, p):
            check_followers(table())
        return y0, p, table

    def _filled(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return initial values and parameters, those not given at their defaults."""
        rows = []
        for whole, (_, places, columns) in zip(self._repeated(len(values))[:2], self.parts, strict=True):
            part = whole.copy()
            if part.size and len(self.columns):
                part[:, places] = values[:, columns]
            rows.append(part)
        return rows[0], rows[1]

    def _repeated(self, count: int) -> tuple[np.ndarray, ...]:
        """Return both rows of defaults and the ends of ranges, so many times: not to be changed.

        Those of the last number of rows are kept: fits and searches ask for as many again and again, and what
        is as long as the values is copied and compared in a fifth of the time.
        """
        kept = self._last
        if kept is None or len(kept[0]) != count:
            rows = (self.parts[0][0], self.parts[1][0], *self.finite)
            kept = tuple(np.tile(row, (count, 1)) for row in rows)
            if count <= _KEPT_ROWS:
                self._last = kept
        return kept

    def judged(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return initial values and parameters, and of each row whether all is finite and in its range.

        Parameters
        ----------
        values : ndarray, shape (rows, columns)
        """
        low, high = self._repeated(len(values))[2:]
        inside = values >= low
        inside &= values <= high
        # nearly always all are, which is told in less time than of each row
        good = np.ones(len(values), dtype=np.bool_)
        if not inside.all():
            good = np.logical_and.reduce(inside, axis=1)
        y0, p = self._filled(values)
        if self.followers:
            found = self._followers(values, y0, p)
            low, high = self.allowed
            good &= ((found >= low) & (found <= high) & (np.abs(found) < np.inf)).all(axis=1)
            for sums in self._sums(values, found):
                good &= sums
        return y0, p, good

    def _in_order(self, given: Any) -> Any:
        """Return a table's columns in the order of the solver's; other values have no names."""
        if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
            raise InputError("The values of a solver must all be there; this array is masked in places.")
        names = list(given) if isinstance(given, Mapping) else list(getattr(given, "columns", ()))
        if not names:
            return given
        if sorted(map(str, names)) != sorted(self.columns):
            raise InputError(
                f"The solver was prepared for the columns {', '.join(self.columns) or '(none)'}, not "
                f"{', '.join(map(str, names))}; give these, or numbers without names in that order."
            )
        return np.column_stack([np.atleast_1d(given[name]) for name in self.columns])

    def _checked(self, given: Any) -> np.ndarray:
        given = self._in_order(given)
        try:
            values = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"The values must be numbers, not {shown(given)}.") from None
        if values.ndim == 1:
            values = values[np.newaxis]
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise InputError(
                f"The values must be a table of {counted(len(self.columns), 'column')}, a row for each "
                f"patient, not of shape {np.shape(given)}."
            )
        if not len(values):
            raise InputError("The values have no row; give at least one patient.")
        good = within_ranges(values, self.low, self.high)
        if not good.all():
            j = int(np.argmin(good))
            checked_column(pd.Series(values[:, j]), self.given[j], 0)
        return values

    def _follow(self, values: np.ndarray, y0: np.ndarray, p: np.ndarray) -> bool:
        """Fill in what follows from the values; return whether it is in its ranges, and sums are kept."""
        found = self._followers(values, y0, p)
        good = bool(within_ranges(found, *self.allowed).all())
        return good and all(bool(kept.all()) for kept in self._sums(values, found))

    def _followers(self, values: np.ndarray, y0: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Fill in what follows from the values, and return it."""
        model = self.model
        known: dict[str, Any] = {**self.known, **self._columns(values)}
        states, parameters = model.state_names, model.parameter_names
        found = np.empty((len(values), len(self.computed)))
        for k, item in enumerate(self.computed):
            known[item.name] = computed_default(model, item, known, (len(values),))
            found[:, k] = known[item.name]
            part, names = (y0, states) if item.name in states else (p, parameters)
            part[:, names.index(item.name)] = found[:, k]
        return found

    def _columns(self, values: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values[:, j] for j, name in enumerate(self.columns)}

    def _sums(self, values: np.ndarray, found: np.ndarray) -> Iterator[np.ndarray]:
        """Yield for each constraint which rows keep it."""
        known: dict[str, Any] = {**self.known, **self._columns(values)}
        known |= {item.name: found[:, k] for k, item in enumerate(self.computed)}
        for c in self.model.constraints:
            total = sum(known[name] for name in c.parameters)
            yield np.abs(total - c.total) <= np.full(len(values), 0.5 * c.tolerance)


def _places(found: list[int]) -> Places:
    """Return places of a row, as a slice where they follow each other: that is copied in less time."""
    begin = found[0] if found else 0
    if found == list(range(begin, begin + len(found))):
        return slice(begin, begin + len(found))
    return np.array(found, dtype=np.int64)
