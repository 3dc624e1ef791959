"""Tables of doses: fastcart's own columns, and those of NONMEM, checked and turned into arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api.types import is_list_like, is_numeric_dtype

from fastcart.checks import number_in, reason, shown
from fastcart.errors import InputError, meant, nearest
from fastcart.patients import finite_numbers
from fastcart.tables.ids import id_places
from fastcart.tables.listed import rows_listed
from fastcart.tables.storage import is_path, read_table

if TYPE_CHECKING:
    from fastcart.model import Model
    from fastcart.solvers.system import System

REQUIRED = ("time", "state", "amount")
REPEATED = ("rate", "every", "repeats", "steady", "reset", "lag", "bioavailability")
COLUMNS = (*REQUIRED, "duration", "patient", *REPEATED)
NUMBERS = ("time", "amount", "duration", *REPEATED)
_MAX_SUGGESTED = 1000  # among more ids than this the nearest is not looked for
_MAX_REPEATS = 1_000_000
# likeness from which a column is taken for a misspelt one; 'day' is not 'death', 'cmt' not 'cost'
_TYPO = 0.7
_DOSES, _OR_SCHEDULE = "The doses", ", a path or a fastcart.DosingSchedule"
_NEEDED = "it needs 'time', 'state' and 'amount', and may have 'duration' and 'patient'"


@dataclass(frozen=True)
class Numbers:
    """A column whose cells are numbers, or parameters (by place, else -1) that hold each patient's own."""

    value: np.ndarray
    of: np.ndarray

    def take(self, rows: np.ndarray) -> Numbers:
        """Return some of them."""
        return Numbers(self.value[rows], self.of[rows])

    @property
    def named(self) -> bool:
        """Whether any is a parameter."""
        return bool((self.of >= 0).any())


@dataclass(frozen=True)
class DoseRecords:
    """The rows of a table of doses, in its order.

    Parameters
    ----------
    shared : bool
        Whether every patient has all of them.
    row : ndarray of int
        Whose they are, 0 where they are shared.
    time : ndarray
    state : ndarray of int
        -1 where a row is no dose.
    amount : ndarray
        Negative for a removal.
    duration, rate : Numbers
        0 for none; one of them at most.
    every : ndarray
    repeats, steady : ndarray of int
        ``steady`` is 1 where the steady state takes the place of all before, 2 where it is added to it.
    reset : ndarray of bool
    lag, bioavailability : Numbers
    switched : tuple of int
        Parameters that get new values.
    values : ndarray, shape (rows, switched)
        NaN where nothing changes.
    """

    shared: bool
    row: np.ndarray
    time: np.ndarray
    state: np.ndarray
    amount: np.ndarray
    duration: Numbers
    rate: Numbers
    every: np.ndarray
    repeats: np.ndarray
    steady: np.ndarray
    reset: np.ndarray
    lag: Numbers
    bioavailability: Numbers
    switched: tuple[int, ...]
    values: np.ndarray

    def ordered(self, t_end: float) -> DoseRecords:
        """Return the rows by patient and time, with times as engines have them."""
        from fastcart.solvers.doses import canonical

        time = canonical(self.time, t_end)
        order = np.lexsort((time, self.row))  # stable
        parts: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        parts["time"] = time
        for name, part in parts.items():
            if isinstance(part, Numbers):
                parts[name] = part.take(order)
            elif isinstance(part, np.ndarray):
                parts[name] = part[order]
        return DoseRecords(**parts)

    @property
    def simple(self) -> bool:
        """Whether there are boluses and infusions only, the same whoever gets them."""
        own = self.rate.named or self.duration.named or self.lag.named or self.bioavailability.named
        return not (own or self.switched or self.reset.any() or self.steady.any() or self.repeats.any()
                    or self.rate.value.any() or self.lag.value.any()
                    or (self.bioavailability.value != 1.0).any())  # fmt: skip


def as_frame(doses: Any, what: str = _DOSES) -> pd.DataFrame:
    """Return doses, or what else a table is of, as a table, whatever they were given as.

    Raises
    ------
    InputError
        For what is no table.
    """
    if hasattr(doses, "table") and not isinstance(doses, pd.DataFrame):
        doses = doses.table()
    if is_path(doses):
        doses = read_table(doses, "The table of doses", NUMBERS)
    doses = rows_listed(doses, what[:1].lower() + what[1:], complete=False)
    if isinstance(doses, Mapping):
        columns = dict(doses)
        try:
            doses = pd.DataFrame(columns if any(map(is_list_like, columns.values())) else [columns])
        except (ValueError, TypeError) as error:
            raise InputError(f"{what} cannot be made of these columns: {reason(error)}.") from None
    if not isinstance(doses, pd.DataFrame):
        kinds = "a DataFrame, a mapping of columns" + (_OR_SCHEDULE if what == _DOSES else " or a path")
        raise InputError(f"{what} must be {kinds}, not {type(doses).__name__}.")
    return doses


def read_doses(model: Model | System, frame: pd.DataFrame, ids: Any, *, empty: bool = False) -> DoseRecords:
    """Check a table of doses with fastcart's own columns; it may be ``empty`` where that is said.

    Raises
    ------
    InputError
        Naming column and row of the first cell that cannot be.
    """
    parameters = _parameter_names(model)
    switched = [name for name in frame.columns if name in parameters and name not in COLUMNS]
    _check_columns(frame, [*COLUMNS, *parameters])
    if frame.empty and not empty:
        raise InputError("The table of doses is empty; give at least one row, or no table.")
    values = np.column_stack([_optional(frame, name) for name in switched] or [np.empty((len(frame), 0))])
    reset = _flags(frame, "reset", (0, 1)) == 1
    dose = np.ones(len(frame), dtype=bool)
    if switched or reset.any():  # rows without a dose
        dose = ~(_empty(frame["state"]) & (reset | ~np.isnan(values).all(axis=1)))
    amount = np.zeros(len(frame))
    amount[dose] = _column(frame, "amount", dose, negative=True)
    duration, rate = _numbers(frame, "duration", parameters), _numbers(frame, "rate", parameters)
    steady = _flags(frame, "steady", (0, 1, 2))
    _check_infusions(frame, amount, duration, rate, steady)
    repeats, every = _repeats(frame), _column(frame, "every", None)
    lacking = (every == 0) & (repeats > 0)
    if lacking.any():
        raise InputError(
            f"The dose in row {int(np.argmax(lacking)) + 1} is repeated without an interval; give 'every'."
        )
    endless = (amount == 0) & ((rate.value > 0) | (rate.of >= 0))
    lacking = (steady > 0) & (every == 0) & ~endless
    if lacking.any():
        raise InputError(
            f"The steady state in row {int(np.argmax(lacking)) + 1} needs the interval 'every' of its doses, "
            "or the amount 0 and a 'rate' for an infusion without end."
        )
    shared, row = _rows(frame, ids)
    state = np.full(len(frame), -1)
    named = _stripped(frame["state"])
    known = np.array([s.name for s in model.states if not s.computed], dtype=object)
    state[dose] = _places(named, known, f"a state of model {model.name!r}", dose)
    return DoseRecords(
        shared, row, _column(frame, "time", None), state, amount, duration, rate, every, repeats, steady,
        reset, _numbers(frame, "lag", parameters), _numbers(frame, "bioavailability", parameters, 1.0),
        tuple(parameters.index(name) for name in switched), values,
    )  # fmt: skip


def _stripped(column: pd.Series) -> pd.Series:
    """Return a column of names without blanks around them; each of the few names is looked at once."""
    try:
        codes, names = pd.factorize(column.to_numpy(dtype=object), use_na_sentinel=False)
    except TypeError:  # lists and the like, which are refused later
        return column
    plain = np.empty(len(names), dtype=object)
    plain[:] = [name.strip() if isinstance(name, str) else name for name in names]
    return pd.Series(plain[codes], name=column.name)


def _parameter_names(model: Model | System) -> list[str]:
    return list(model.parameter_names)


def _check_columns(frame: pd.DataFrame, known: Sequence[str]) -> None:
    given = list(frame.columns)
    for name in given:
        if name not in known:
            typo = meant(name, known, cutoff=_TYPO)
            raise InputError(
                f"The column {shown(name)} is not one of a table of doses"
                + (f". Did you mean {typo!r}?" if typo else f"; {_NEEDED}, or NONMEM's TIME, AMT, CMT.")
            )
        if given.count(name) > 1:
            raise InputError(f"The column {name!r} is given twice in the table of doses.")
    for name in REQUIRED:
        if name not in given:
            raise InputError(f"The table of doses has no column {name!r}; {_NEEDED}.")


def _empty(column: pd.Series) -> np.ndarray:
    return np.array([pd.isna(x) or (isinstance(x, str) and not x.strip()) if not is_list_like(x) else False
                     for x in column])  # fmt: skip


def _column(frame: pd.DataFrame, name: str, rows: np.ndarray | None, *, negative: bool = False) -> np.ndarray:
    """Return a column of numbers, or some rows of it; zeros where the table has no such column."""
    if name not in frame:
        return np.zeros(len(frame))
    what = f"The column {name!r} of the doses holds"
    _refuse_names(frame[name], what, rows)
    if rows is None or rows.all():
        values = finite_numbers(frame[name], what, 0)
    else:  # rows are counted in the whole table
        cells = frame[name].astype(object).where(rows, 0.0)
        values = finite_numbers(cells, what, 0)[rows]
    if not negative and (values < 0).any():
        row = int(np.argmax(values < 0))
        raise InputError(f"{what} {values[row]:g} in row {row + 1}; it must not be negative.")
    return values


def _refuse_names(column: pd.Series, what: str, rows: np.ndarray | None) -> None:
    """Say of the name of a variable, which has no value here, where it has one."""
    if is_numeric_dtype(column.dtype):
        return
    for row, cell in enumerate(column):
        if (rows is None or rows[row]) and isinstance(cell, str) and cell.strip().isidentifier():
            if number_in(cell) is not None:  # inf, which is said to be no finite number
                continue
            raise InputError(
                f"{what} {shown(cell)} in row {row + 1}, where a number belongs; names of variables or "
                "columns are for fastcart.optimize and fastcart.scan. Else give each patient's number, in "
                "rows with a column 'patient'."
            )


def _optional(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column of numbers whose cells may be empty, NaN there."""
    empty = _empty(frame[name])
    values = np.full(len(frame), np.nan)
    values[~empty] = _column(frame, name, ~empty, negative=True)
    return values


def _flags(frame: pd.DataFrame, name: str, allowed: Sequence[int]) -> np.ndarray:
    values = _column(frame, name, None)
    wrong = ~np.isin(values, allowed)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"The column {name!r} of the doses holds {values[row]:g} in row {row + 1}; allowed is "
            f"{', '.join(map(str, allowed))}."
        )
    return values.astype(np.int64)


def _repeats(frame: pd.DataFrame) -> np.ndarray:
    values = _column(frame, "repeats", None)
    wrong = values != np.round(values)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"The column 'repeats' of the doses holds {values[row]:g} in row {row + 1}, where a whole number "
            "belongs."
        )
    return np.minimum(values, _MAX_REPEATS).astype(np.int64)


def _numbers(frame: pd.DataFrame, name: str, parameters: Sequence[str], default: float = 0.0) -> Numbers:
    """Return a column of numbers from 0 on or names of parameters."""
    none = np.full(len(frame), -1)
    if name not in frame:
        return Numbers(np.full(len(frame), default), none)
    column = frame[name]
    if is_numeric_dtype(column.dtype):
        return Numbers(_column(frame, name, None), none)
    names = [x.strip() if isinstance(x, str) and number_in(x) is None else None for x in column]
    of = np.array([parameters.index(x) if x in parameters else -1 for x in names], dtype=np.int64)
    for row, text in enumerate(names):
        if text and of[row] < 0:
            raise InputError(
                f"The column {name!r} of the doses holds {text!r} in row {row + 1}, which is neither a "
                "number nor a parameter of the model." + nearest(text, parameters)
            )
    values = np.zeros(len(frame))
    values[of < 0] = _column(frame, name, of < 0)
    return Numbers(values, of)


def _check_infusions(
    frame: pd.DataFrame, amount: np.ndarray, duration: Numbers, rate: Numbers, steady: np.ndarray
) -> None:
    """Check that a dose has a duration or a rate or neither, and that only a bolus removes something."""
    lasts, flows = (duration.value > 0) | (duration.of >= 0), (rate.value > 0) | (rate.of >= 0)
    both = lasts & flows
    if both.any():
        raise InputError(
            f"The dose in row {int(np.argmax(both)) + 1} has a duration and a rate; leave one of them off."
        )
    wrong = (amount < 0) & (lasts | flows | (steady > 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"The amount of the dose in row {row + 1} must not be negative, not {amount[row]:g}: what is "
            "removed is removed at once, without duration, rate or steady state."
        )


def _rows(frame: pd.DataFrame, ids: Any) -> tuple[bool, np.ndarray]:
    """Return whether every patient has all doses, else whose each is."""
    if "patient" not in frame:
        return True, np.zeros(len(frame), dtype=np.int64)
    empty = frame["patient"].isna().to_numpy()
    if empty.any():
        raise InputError(
            f"The column 'patient' of the doses is empty in row {int(np.argmax(empty)) + 1}; name the "
            "patient of each dose, or leave the column out to give every patient every dose."
        )
    return False, _places(frame["patient"], ids, "among the ids of the patients", None)


def _places(column: pd.Series, known: Any, what: str, rows: np.ndarray | None) -> np.ndarray:
    """Return the place of each cell, or of some, among the known names."""
    try:
        places = id_places(column, known)
    except InputError:  # lists and the like
        raise InputError(f"The column {column.name!r} of the doses must hold numbers or text.") from None
    wrong = places < 0 if rows is None else (places < 0) & rows
    if wrong.any():
        row = int(np.argmax(wrong))
        name = column.iloc[row]
        hint = nearest(name, known) if len(known) <= _MAX_SUGGESTED else " Check the id."
        raise InputError(
            f"The {column.name} {shown(name)} of the dose in row {row + 1} is not {what}." + hint
        )
    places = places.astype(np.int64)
    return places if rows is None else places[rows]
