"""Doses: schedules built in Python, and what is given turned into what engines take."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.breaks import Breaks, rows_of
from fastcart.checks import count, is_whole, number, shown
from fastcart.dose_tables import NUMBERS as NUMBERS
from fastcart.dose_tables import DoseRecords, as_frame, read_doses
from fastcart.errors import InputError, counted
from fastcart.nonmem import is_nonmem, nonmem_doses, note_on_compartments
from fastcart.representation import section, table

if TYPE_CHECKING:
    from fastcart.model import Model
    from fastcart.regimens import Regimen
    from fastcart.solvers.doses import DosePlan
    from fastcart.solvers.system import System

_NONE = pd.DataFrame({"time": [], "state": [], "amount": []})
_MAX_REPEATS = 1_000_000
_JUST_BEFORE = 1e-8  # of the horizon; nearer than 1e-11 would be the same moment


class Dose(NamedTuple):
    """One row of a schedule, see `fastcart.solve` for the columns."""

    time: float
    state: str | None
    amount: float | str
    duration: float | str = 0.0
    patient: Any = None
    every: float = 0.0
    steady: int = 0
    reset: int = 0
    lag: float | str = 0.0
    bioavailability: float | str = 1.0
    parameter: str | None = None  # that gets another value
    value: float | str = np.nan


@dataclass(frozen=True)
class DosingSchedule:
    """A schedule of doses, built dose by dose; every call returns a new schedule.

    Parameters
    ----------
    doses : tuple of Dose
        Time, state, amount, duration and patient of each dose, and what else it has.

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

    doses: tuple[Dose, ...] = ()

    def bolus(
        self,
        time: float,
        state: str,
        amount: float | str,
        *,
        every: float | None = None,
        repeats: int = 0,
        patient: Any = None,
        lag: float | str = 0.0,
        bioavailability: float | str = 1.0,
        steady: bool | str = False,
    ) -> DosingSchedule:
        """Add an amount to a state at once.

        Parameters
        ----------
        time : float
            In the model's unit of time, from 0 on.
        state : str
        amount : float or str
            In the state's unit; negative to remove so much. Where a state in logarithm or one that is
            ``nonnegative`` has less, the patient ends with the status ``negative``. The name of a variable or
            column where `fastcart.optimize` or `fastcart.scan` gets the schedule.
        every : float, optional
            Interval between repeated doses.
        repeats : int
            How many more doses follow the first one.
        patient : optional
            Id of the one who gets it; None for everyone. A schedule holds either kind, not both.
        lag : float or str
            How much later it is given; the name of a parameter for each patient's own, as it is at ``time``.
        bioavailability : float or str
            The part of the amount that counts; a number or the name of a parameter.
        steady : bool or 'add'
            Whether the patient has had such doses in intervals ``every`` for ever: at ``time`` the states are
            those that this leads to, whatever was before (resets come to mind), or ``"add"`` these.
        """
        size = _named_or(number, amount, "The amount of a dose")
        return self._with(
            time, state, size, 0.0, every, repeats, patient, lag=lag, bioavailability=bioavailability,
            steady=steady,
        )  # fmt: skip

    def infusion(
        self,
        time: float,
        state: str,
        amount: float | str,
        duration: float | str,
        *,
        every: float | None = None,
        repeats: int = 0,
        patient: Any = None,
        lag: float | str = 0.0,
        bioavailability: float | str = 1.0,
        steady: bool | str = False,
    ) -> DosingSchedule:
        """Add an amount to a state at a constant rate over a duration; the rest as for `bolus`.

        The duration may be the name of a parameter, the amount must not be negative.
        """
        what = "The duration of an infusion"
        length = duration if isinstance(duration, str) else number(duration, what, positive=True)
        size = _named_or(_not_negative, amount, "The amount of a dose")
        return self._with(
            time, state, size, length, every, repeats, patient,
            lag=lag, bioavailability=bioavailability, steady=steady,
        )  # fmt: skip

    def reset(self, time: float, *, patient: Any = None) -> DosingSchedule:
        """Give all states their initial values again, and end all infusions and doses that were to come.

        What is named behind it in the schedule, at the same time or later, is given.
        """
        begin = _not_negative(time, "The time of a reset")
        return self._and(Dose(begin, None, 0.0, patient=patient, reset=1))

    def switch(
        self, time: float, parameter: str, value: float | str, *, patient: Any = None
    ) -> DosingSchedule:
        """Give a parameter another value from a time on; defaults that are computed from it follow.

        Every engine stops there and starts anew, so that no switch is stepped over.
        """
        begin = _not_negative(time, "The time of a switch")
        if not isinstance(parameter, str):
            raise InputError(f"The parameter to switch must be a name, not {shown(parameter)}.")
        size = _named_or(number, value, f"The value of {parameter!r} in a switch")
        return self._and(Dose(begin, None, 0.0, patient=patient, parameter=parameter, value=size))

    def _and(self, *doses: Dose) -> DosingSchedule:
        return replace(self, doses=(*self.doses, *doses))

    def _with(self, time, state, amount, duration, every, repeats, patient, **more: Any) -> DosingSchedule:
        if isinstance(time, str):
            raise InputError(
                f"The time of a dose must be a finite number, not {shown(time)}. A time that is searched or "
                "differs between patients stands by name in a table or list of mappings: "
                f'[{{"time": {time!r}, "state": {state!r}, "amount": ...}}].'
            )
        begin = _not_negative(time, "The time of a dose")
        if not isinstance(state, str):
            raise InputError(f"The state of a dose must be a name, not {shown(state)}.")
        if not (is_whole(repeats) and repeats == 0):
            repeats = min(count(repeats, "The number of repeats"), _MAX_REPEATS)
        steady = more.pop("steady")
        if not isinstance(steady, bool) and steady != "add":
            raise InputError(f"'steady' of a dose must be True, False or 'add', not {shown(steady)}.")
        if steady and every is None:
            raise InputError("A steady state needs the interval 'every' of its doses.")
        if not steady and (every is None) != (repeats == 0):
            raise InputError(
                "Repeated doses need both 'every' (the interval) and 'repeats' (how many follow)."
            )
        interval = 0.0 if every is None else number(every, "The interval 'every'", positive=True)
        for name in ("lag", "bioavailability"):
            if not isinstance(more[name], str):
                more[name] = _not_negative(more[name], f"The {name} of a dose")
        first = Dose(begin, state, amount, duration, patient, **more)
        rest = [first._replace(time=begin + k * interval) for k in range(1, int(repeats) + 1)]
        code = 2 if steady == "add" else int(steady)
        return self._and(first._replace(steady=code, every=interval) if code else first, *rest)

    def __add__(self, other: DosingSchedule) -> DosingSchedule:
        """Join two schedules."""
        if not isinstance(other, DosingSchedule):
            return NotImplemented
        return DosingSchedule(self.doses + other.doses)

    def __len__(self) -> int:
        return len(self.doses)

    def table(self) -> pd.DataFrame:
        """Return the doses as a table: time, state, amount, duration, and other columns that are needed.

        Raises
        ------
        InputError
            When some doses name a patient and others do not.
        """
        doses = [Dose(*dose) for dose in self.doses]
        frame = pd.DataFrame(doses, columns=list(Dose._fields))
        named = [dose.patient is not None for dose in doses]
        if any(named) and not all(named):
            raise InputError(
                "Some doses of the schedule name a patient and others do not; name the patient of each dose, "
                "or of none."
            )
        for name in dict.fromkeys(dose.parameter for dose in doses if dose.parameter is not None):
            frame[name] = frame["value"].where(frame["parameter"] == name)
        usual = {"every": 0.0, "steady": 0, "reset": 0, "lag": 0.0, "bioavailability": 1.0}
        idle = [name for name, value in usual.items() if all(getattr(d, name) == value for d in doses)]
        return frame.drop(columns=[*idle, "parameter", "value", *([] if any(named) else ["patient"])])

    def save_times(self, t_end: float, times: int = 201) -> np.ndarray:
        """Return times for ``save_at``: evenly spaced ones, each dose, and just before each dose.

        What is saved at a bolus is the state after it. With the time just before, a picture shows the jump.

        Parameters
        ----------
        t_end : float
            Horizon, in the model's unit of time.
        times : int
            How many evenly spaced times, both ends included.

        Returns
        -------
        ndarray

        Examples
        --------
        >>> from fastcart import DosingSchedule
        >>> len(DosingSchedule().bolus(40, "TE", 1e7).save_times(200))
        202
        """
        end = number(t_end, "The horizon t_end", positive=True)
        even = np.linspace(0.0, end, count(times, "The number of times"))
        at = np.array([dose.time for dose in self.doses if dose.state is not None and 0 < dose.time <= end])
        return np.unique(np.concatenate([even, at, at - _JUST_BEFORE * end]))

    def __repr__(self) -> str:
        return f"DosingSchedule({counted(len(self), 'dose')})"

    def _repr_html_(self) -> str:
        """Show the doses as a table in a notebook."""
        return section(repr(self), [table(self.table(), rows=20) if len(self) else ""])


Doses = DosingSchedule | pd.DataFrame | Mapping[str, Any] | str | os.PathLike[str]


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=5)  # points at the caller of fastcart.solve


def check_doses(
    model: Model | System, doses: Doses | None, ids: Any, t_end: float, *, breaks: Breaks | None = None,
    warn: Callable[[str], None] = _warn,
) -> DosePlan | Regimen | None:  # fmt: skip
    """Check a table of doses and turn it into what engines take.

    Parameters
    ----------
    model : Model or System
    doses : DosingSchedule, DataFrame, mapping, path or None
        With the columns that `fastcart.solve` names, or those of NONMEM (`fastcart.nonmem`); rows in any
        order, those of one time in the order of the table.
    ids : ndarray, shape (patients,)
        Ids of the patients, in the order of their rows. Those of the doses are compared with them as text,
        see `fastcart.tables.ids`.
    t_end : float
        Horizon; a dose after it is left out, with a warning. What is after it by rounding alone is at it.
    breaks : (ndarray, ndarray), optional
        From `fastcart.breaks.break_times`: times at which the engines are to stop too.
    warn : callable
        What is told about doses left out, and of those that name no compartment and go into the burden.

    Returns
    -------
    DosePlan, Regimen or None
        A regimen where doses depend on the parameters or the course of each patient; None where nothing is
        given.

    Raises
    ------
    InputError
        For a table that is empty or lacks a column; an unknown column, state or patient; a time, amount or
        duration that is not a number or is negative.
    """
    if doses is None and breaks is None:
        return None
    frame = _NONE if doses is None else as_frame(doses)
    given = frame if is_nonmem(frame) else None
    if given is not None:
        frame = nonmem_doses(given, model)
    records = read_doses(model, frame, ids, empty=doses is None)
    if given is not None and (note := note_on_compartments(given, model)) is not None:
        warn(note)
    late = _canonical(records.time, t_end) > t_end
    late &= (records.state >= 0) | records.reset
    if late.any():
        be = "is" if late.sum() == 1 else "are"
        warn(
            f"{late.sum()} of {len(late)} doses {be} after the horizon {t_end:g} and {be} left out; "
            "raise t_end to give them."
        )
    make = _plan if records.simple else _regimen
    return make(model, records, len(ids), t_end, breaks)


def _canonical(times: np.ndarray, t_end: float) -> np.ndarray:
    """Return times as all engines have them, see `fastcart.solvers.doses.canonical`."""
    from fastcart.solvers.doses import canonical

    return canonical(times, t_end)


def _plan(
    model: Model | System, records: DoseRecords, patients: int, t_end: float, breaks: Breaks | None
) -> DosePlan | None:
    """Return the entries of boluses and infusions; patients who share a schedule share them."""
    from fastcart.solvers.doses import make_plan

    begin = _canonical(records.time, t_end)
    with np.errstate(over="ignore"):
        end = _canonical(records.time + records.duration.value, t_end)
    shared, row, state, amount = records.shared, records.row, records.state, records.amount
    stops = None
    if breaks is not None:
        if shared and len(breaks[1]):  # each patient has a schedule, of the same doses
            row = np.repeat(np.arange(patients), len(begin))
            begin, end, state, amount = (np.tile(x, patients) for x in (begin, end, state, amount))
            shared = False
        rows, times = rows_of(breaks, patients, shared)
        stops = rows, times
    schedules = 1 if shared else patients
    plan = make_plan(schedules, len(model.states), row, begin, end, state, amount, t_end, stops)
    return plan.take(np.zeros(patients, dtype=np.int64)) if plan is not None and shared else plan


def _regimen(
    model: Model | System, records: DoseRecords, patients: int, t_end: float, breaks: Breaks | None
) -> Regimen:
    """Return what is given to each patient, to be made out when the patients are known."""
    from fastcart.regimens import Regimen

    stops = None
    if breaks is not None:
        rows, times = rows_of(breaks, patients, False)
        order = np.argsort(rows, kind="stable")
        stops = rows[order], times[order]
    system: Any = getattr(model, "system", model)
    return Regimen(system, records.ordered(t_end), np.arange(patients), t_end, stops)


def _named_or(checked: Callable[[Any, str], float], value: Any, what: str) -> float | str:
    """Return the name of a variable or column as it is, all else as a checked number."""
    return value if isinstance(value, str) and value.isidentifier() else checked(value, what)


def _not_negative(value: Any, what: str) -> float:
    result = number(value, what)
    if result < 0:
        raise InputError(f"{what} must not be negative, not {shown(value)}.")
    return result
