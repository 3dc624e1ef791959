"""Doses: schedules built in Python, and tables of doses checked against a model and its patients."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api.types import is_list_like

from fastcart.breaks import Breaks, rows_of
from fastcart.checks import count, is_whole, number, reason, shown
from fastcart.errors import InputError, nearest
from fastcart.patients import finite_numbers
from fastcart.tables.ids import id_places
from fastcart.tables.storage import is_path, read_table

if TYPE_CHECKING:
    from fastcart.model import Model
    from fastcart.solvers.doses import DosePlan
    from fastcart.solvers.system import System

_REQUIRED = ("time", "state", "amount")
_NONE = pd.DataFrame({"time": [], "state": [], "amount": []})
_COLUMNS = (*_REQUIRED, "duration", "patient")
NUMBERS = ("time", "amount", "duration")
_MAX_REPEATS = 1_000_000
_MAX_SUGGESTED = 1000  # among more ids than this the nearest is not looked for


@dataclass(frozen=True)
class DosingSchedule:
    """A schedule of doses, built dose by dose; every call returns a new schedule.

    Parameters
    ----------
    doses : tuple of tuple
        Time, state, amount, duration and patient of each dose.

    Examples
    --------
    >>> from fastcart import DosingSchedule
    >>> schedule = DosingSchedule().bolus(0, "TE", 1e7).infusion(7, "T4", 1e6, 2, every=7, repeats=1)
    >>> schedule.table()
       time state      amount  duration
    0   0.0    TE  10000000.0       0.0
    1   7.0    T4   1000000.0       2.0
    2  14.0    T4   1000000.0       2.0
    """

    doses: tuple[tuple[float, str, float, float, Any], ...] = ()

    def bolus(
        self,
        time: float,
        state: str,
        amount: float,
        *,
        every: float | None = None,
        repeats: int = 0,
        patient: Any = None,
    ) -> DosingSchedule:
        """Add an amount to a state at once.

        Parameters
        ----------
        time : float
            In the model's unit of time, from 0 on.
        state : str
        amount : float
            In the state's unit, not negative.
        every : float, optional
            Interval between repeated doses.
        repeats : int
            How many more doses follow the first one.
        patient : optional
            Id of the one who gets it; None for everyone. A schedule holds either kind, not both.
        """
        return self._with(time, state, amount, 0.0, every, repeats, patient)

    def infusion(
        self,
        time: float,
        state: str,
        amount: float,
        duration: float,
        *,
        every: float | None = None,
        repeats: int = 0,
        patient: Any = None,
    ) -> DosingSchedule:
        """Add an amount to a state at a constant rate over a duration; the rest as for `bolus`."""
        length = number(duration, "The duration of an infusion", positive=True)
        return self._with(time, state, amount, length, every, repeats, patient)

    def _with(self, time, state, amount, duration, every, repeats, patient) -> DosingSchedule:
        begin, size = _not_negative(time, "The time of a dose"), _not_negative(amount, "The amount of a dose")
        if not isinstance(state, str):
            raise InputError(f"The state of a dose must be a name, not {shown(state)}.")
        if not (is_whole(repeats) and repeats == 0):
            repeats = min(count(repeats, "The number of repeats"), _MAX_REPEATS)
        if (every is None) != (repeats == 0):
            raise InputError(
                "Repeated doses need both 'every' (the interval) and 'repeats' (how many follow)."
            )
        interval = 0.0 if every is None else number(every, "The interval 'every'", positive=True)
        times = [begin + k * interval for k in range(int(repeats) + 1)]
        return replace(self, doses=(*self.doses, *((t, state, size, duration, patient) for t in times)))

    def __add__(self, other: DosingSchedule) -> DosingSchedule:
        """Join two schedules."""
        if not isinstance(other, DosingSchedule):
            return NotImplemented
        return DosingSchedule(self.doses + other.doses)

    def __len__(self) -> int:
        return len(self.doses)

    def table(self) -> pd.DataFrame:
        """Return the doses as a table: time, state, amount, duration, and patient where one was named.

        Raises
        ------
        InputError
            When some doses name a patient and others do not.
        """
        frame = pd.DataFrame(list(self.doses), columns=list(_COLUMNS))
        named = [dose[4] is not None for dose in self.doses]
        if any(named) and not all(named):
            raise InputError(
                "Some doses of the schedule name a patient and others do not; name the patient of each dose, "
                "or of none."
            )
        return frame if any(named) else frame.drop(columns="patient")

    def __repr__(self) -> str:
        return f"DosingSchedule({len(self)} doses)"


Doses = DosingSchedule | pd.DataFrame | Mapping[str, Any] | str | os.PathLike[str]


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=5)  # points at the caller of fastcart.solve


def check_doses(
    model: Model | System, doses: Doses | None, ids: Any, t_end: float, *, breaks: Breaks | None = None,
    warn: Callable[[str], None] = _warn,
) -> DosePlan | None:  # fmt: skip
    """Check a table of doses and turn it into what engines take.

    Parameters
    ----------
    model : Model or System
    doses : DosingSchedule, DataFrame, mapping, path or None
        Columns ``time``, ``state``, ``amount``, and optionally ``duration`` (0 for a bolus) and
        ``patient`` (without it every patient gets every dose); rows in any order.
    ids : ndarray, shape (patients,)
        Ids of the patients, in the order of their rows. Those of the doses are compared with them as text,
        see `fastcart.tables.ids`.
    t_end : float
        Horizon; a dose after it is left out, with a warning. What is after it by rounding alone is at it.
    breaks : (ndarray, ndarray), optional
        From `fastcart.breaks.break_times`: times at which the engines are to stop too.
    warn : callable
        What is told about doses left out, one sentence.

    Returns
    -------
    DosePlan or None
        None where nothing is given.

    Raises
    ------
    InputError
        For a table that is empty or lacks a column; an unknown column, state or patient; a time, amount or
        duration that is not a number or is negative.
    """
    from fastcart.solvers.doses import canonical, make_plan

    if doses is None and breaks is None:
        return None
    frame = _NONE if doses is None else _as_frame(doses)
    if doses is not None:
        _check_columns(frame)
    time = _column(frame, "time")
    amount = _column(frame, "amount")
    duration = _column(frame, "duration") if "duration" in frame else np.zeros(len(frame))
    named = frame["state"].map(lambda name: name.strip() if isinstance(name, str) else name)
    state = _places(
        named,
        np.array([s.name for s in model.states if not s.computed], dtype=object),
        f"a state of model {model.name!r}",
    )
    shared = "patient" not in frame
    row = np.zeros(len(frame), dtype=np.int64)
    if not shared:
        empty = frame["patient"].isna().to_numpy()
        if empty.any():
            raise InputError(
                f"The column 'patient' of the doses is empty in row {int(np.argmax(empty)) + 1}; name the "
                "patient of each dose, or leave the column out to give every patient every dose."
            )
        row = _places(frame["patient"], ids, "among the ids of the patients")
    begin = canonical(time, t_end)
    with np.errstate(over="ignore"):
        end = canonical(time + duration, t_end)
    late = begin > t_end
    if late.any():
        be = "is" if late.sum() == 1 else "are"
        warn(
            f"{late.sum()} of {len(late)} doses {be} after the horizon {t_end:g} and {be} left out; "
            "raise t_end to give them."
        )
    stops = None
    if breaks is not None:
        if shared and len(breaks[1]):  # each patient has a schedule, of the same doses
            row = np.repeat(np.arange(len(ids)), len(frame))
            begin, end, state, amount = (np.tile(x, len(ids)) for x in (begin, end, state, amount))
            shared = False
        rows, times = rows_of(breaks, len(ids), shared)
        stops = rows, canonical(times, t_end)
    schedules = 1 if shared else len(ids)
    plan = make_plan(schedules, len(model.states), row, begin, end, state, amount, t_end, stops)
    return plan.take(np.zeros(len(ids), dtype=np.int64)) if plan is not None and shared else plan


def _as_frame(doses: Any) -> pd.DataFrame:
    if isinstance(doses, DosingSchedule):
        doses = doses.table()
    if is_path(doses):
        doses = read_table(doses, "The table of doses", NUMBERS)
    if isinstance(doses, Mapping):
        columns = dict(doses)
        try:
            doses = pd.DataFrame(columns if any(map(is_list_like, columns.values())) else [columns])
        except (ValueError, TypeError) as error:
            raise InputError(f"The doses are not a table: {reason(error)}.") from None
    if not isinstance(doses, pd.DataFrame):
        raise InputError(
            "The doses must be a DataFrame, a mapping of columns, a path or a fastcart.DosingSchedule, not "
            f"{type(doses).__name__}."
        )
    return doses


def _check_columns(frame: pd.DataFrame) -> None:
    given = list(frame.columns)
    for name in given:
        if name not in _COLUMNS:
            raise InputError(
                f"The column {shown(name)} is not one of a table of doses." + nearest(name, _COLUMNS)
            )
        if given.count(name) > 1:
            raise InputError(f"The column {name!r} is given twice in the table of doses.")
    for name in _REQUIRED:
        if name not in given:
            raise InputError(
                f"The table of doses has no column {name!r}; it needs 'time', 'state' and 'amount', and may "
                "have 'duration' and 'patient'."
            )
    if frame.empty:
        raise InputError("The table of doses is empty; give at least one row, or no table.")


def _column(frame: pd.DataFrame, name: str) -> np.ndarray:
    what = f"The column {name!r} of the doses holds"
    values = finite_numbers(frame[name], what, 0)
    if (values < 0).any():
        row = int(np.argmax(values < 0))
        raise InputError(f"{what} {values[row]:g} in row {row + 1}; it must not be negative.")
    return values


def _places(column: pd.Series, known: Any, what: str) -> np.ndarray:
    """Return the place of each cell among the known names."""
    try:
        places = id_places(column, known)
    except InputError:  # lists and the like
        raise InputError(f"The column {column.name!r} of the doses must hold numbers or text.") from None
    if (places < 0).any():
        row = int(np.argmax(places < 0))
        name = column.iloc[row]
        hint = nearest(name, known) if len(known) <= _MAX_SUGGESTED else " Check the id."
        raise InputError(
            f"The {column.name} {shown(name)} of the dose in row {row + 1} is not {what}." + hint
        )
    return places.astype(np.int64)


def _not_negative(value: Any, what: str) -> float:
    result = number(value, what)
    if result < 0:
        raise InputError(f"{what} must not be negative, not {shown(value)}.")
    return result
