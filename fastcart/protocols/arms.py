"""Arms of a trial: when which part of a patient's own product is infused.

An arm speaks of fractions. Each patient has a product of ``D`` cells, a fraction ``fM`` of them memory cells;
an arm of *equal budget* uses exactly these effector and memory cells, and only their timing differs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import number, shown
from fastcart.errors import InputError
from fastcart.protocols.visit import Rule

_ROUNDING = 1e-9  # what sums of fractions may miss 1 by
_MINUTE = (1.0 - 1e-6) / 1440.0  # of a day, but for rounding

# days with the fractions of the effector and of the memory budget; a number for all patients, or one for each
Schedule = list[tuple[float, Any, Any]]
Dose = float | np.ndarray  # of all patients, or one for each


@dataclass(frozen=True)
class Infusion:
    """One infusion, in fractions of the patient's effector and memory budgets.

    Parameters
    ----------
    day : float
        From 0 on.
    effectors, memory : float
        Not negative.
    """

    day: float
    effectors: float = 0.0
    memory: float = 0.0

    def __post_init__(self) -> None:
        for what in ("day", "effectors", "memory"):
            if number(getattr(self, what), f"The {what} of an infusion") < 0:
                raise InputError(
                    f"The {what} of an infusion must not be negative, not {getattr(self, what):g}."
                )


@dataclass(frozen=True)
class Lymphodepletion:
    """Repeated lymphodepletion or niche support, immediately before the infusions of its day.

    The host lymphocytes go back to their value of day 0, and CAR-T and B cells are multiplied by `phi`: 1
    for support that harms no cell, 0.1 for chemotherapy that also kills CAR-T cells.

    Parameters
    ----------
    day : float
        After day 0.
    phi : float
        In [0, 1].
    """

    day: float
    phi: float = 1.0

    def __post_init__(self) -> None:
        number(self.day, "The day of a lymphodepletion", positive=True)
        if not 0 <= number(self.phi, "The surviving fraction phi of a lymphodepletion") <= 1:
            raise InputError(
                f"The surviving fraction phi of a lymphodepletion must lie in [0, 1], not {self.phi:g}."
            )


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What calendars and adaptive rules have in common.

    Parameters
    ----------
    name : str
        Identifier in tables, e.g. ``A0``.
    title : str
        What a reader sees.
    equal_budget : bool
        Whether the arm uses each patient's own cells exactly. Exploratory arms need not.
    dose_of : callable, optional
        ``dose_of(patients, dose)`` returns the total number of cells of each patient, from the baseline;
        without it everyone gets the ``dose`` of the trial.
    """

    name: str
    title: str = ""
    equal_budget: bool = True
    dose_of: Callable[[pd.DataFrame, Any], Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError(f"The name of an arm must be a text, not {shown(self.name)}.")


@dataclass(frozen=True, kw_only=True)
class Calendar(Arm):
    """An arm whose infusions are fixed beforehand.

    Parameters
    ----------
    infusions : sequence of Infusion
    lymphodepletions : sequence of Lymphodepletion

    Raises
    ------
    InputError
        When fractions of an arm of equal budget do not sum to 1, or nothing is infused.

    Examples
    --------
    >>> from fastcart.protocols import Calendar, Infusion
    >>> Calendar(name="halves", infusions=(Infusion(0, 0.5, 0.5), Infusion(7, 0.5, 0.5))).days
    (0, 7)
    """

    infusions: tuple[Infusion, ...]
    lymphodepletions: tuple[Lymphodepletion, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "infusions", _items(self.infusions, Infusion, self.name))
        object.__setattr__(
            self, "lymphodepletions", _items(self.lymphodepletions, Lymphodepletion, self.name)
        )
        if not self.infusions:
            raise InputError(f"The arm {self.name!r} infuses nothing; give at least one infusion.")
        if self.equal_budget:
            check_fractions(self.infusions, self.name)

    @property
    def days(self) -> tuple[float, ...]:
        """Days on which something is infused, sorted."""
        return tuple(sorted({infusion.day for infusion in self.infusions}))


@dataclass(frozen=True, kw_only=True)
class Adaptive(Arm):
    """An arm whose later infusions follow from what is measured at visits.

    Parameters
    ----------
    start : Infusion
        The infusion of day 0.
    rule : callable
        ``rule(visit)`` gets a `Visit` and returns the fractions of the effector and of the memory budget to
        infuse now, an array of one value per patient each, or one number for all. It must be a plain function
        of each patient's own measured history.
    visits : sequence of float
        Days of the visits, ascending, after day 0.
    complete : bool
        Whether the rule always uses the whole budget by its last visit. If not, cells may be left over.
    """

    start: Infusion
    rule: Rule = field(repr=False)
    visits: tuple[float, ...]
    complete: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "visits", checked_visits(self.visits, self.name))
        if not callable(self.rule):
            raise InputError(f"The rule of the arm {self.name!r} must be a function, not {shown(self.rule)}.")
        if self.start.day != 0:
            raise InputError(
                f"The first infusion of the arm {self.name!r} must be on day 0, not {self.start.day:g}."
            )


def check_fractions(
    infusions: Iterable[Infusion], name: str, *, unequal: str = "equal_budget=False"
) -> None:  # fmt: skip
    """Check that the infusions of an arm use each patient's own cells exactly.

    Parameters
    ----------
    infusions : iterable of Infusion
    name : str
        Of the arm.
    unequal : str
        How its author writes that it need not, for the error.

    Raises
    ------
    InputError
        Where the fractions of a kind of cells do not sum to 1.
    """
    given = list(infusions)
    for what in ("effectors", "memory"):
        total = math.fsum(getattr(infusion, what) for infusion in given)
        if abs(total - 1) > _ROUNDING:
            raise InputError(
                f"The fractions of {what} of the arm {name!r} sum to {total:.6g}, not to 1; mend them, or "
                f"set {unequal} for an exploratory arm."
            )


def checked_visits(visits: Iterable[Any], name: str) -> tuple[float, ...]:
    """Return the days of the visits of an arm, which are after day 0, sorted, a minute apart or more."""
    days = tuple(number(day, f"A visit of the arm {name!r}", positive=True) for day in visits)
    for earlier, later in itertools.pairwise((0.0, *days)):
        if later - earlier < _MINUTE:
            raise InputError(
                f"The visits of the arm {name!r} must be sorted, after day 0, and at least a minute apart; "
                f"{later:.10g} follows {earlier:.10g}."
            )
    return days


def _items(values: Any, kind: type, name: str) -> tuple:
    items = tuple(values)
    for item in items:
        if not isinstance(item, kind):
            raise InputError(f"The arm {name!r} must list values of {kind.__name__}, not {shown(item)}.")
    return tuple(sorted(items, key=lambda item: item.day))


def budgets(arm: Arm, patients: pd.DataFrame, dose: Dose) -> tuple[np.ndarray, np.ndarray]:
    """Return the effector and the memory cells of each patient's own product.

    Parameters
    ----------
    arm : Arm
    patients : DataFrame
        With the column ``fM``, the fraction of memory cells in the product.
    dose : float or ndarray, shape (patients,)
        Total cells of a product, ``D``.

    Returns
    -------
    effectors, memory : ndarray, shape (patients,)
        ``D (1 - fM)`` and ``D fM``, before engraftment.

    Raises
    ------
    InputError
        For a dose that is not positive, a fraction outside [0, 1] or none.
    """
    if "fM" not in patients:
        raise InputError(
            "The patients need a column 'fM', the fraction of memory cells in their product; give it, or "
            "draw patients with fastcart.population.sample."
        )
    fraction = patients["fM"].to_numpy(dtype=np.float64)
    if not ((fraction >= 0) & (fraction <= 1)).all():
        raise InputError("The column 'fM' of the patients must hold fractions from 0 to 1.")
    total = product_cells(arm, patients, dose)
    return total * (1 - fraction), total * fraction


def product_cells(arm: Arm, patients: pd.DataFrame, dose: Dose) -> np.ndarray:
    """Return the total cells of each patient's product: the dose, or what the arm makes of it.

    Raises
    ------
    InputError
        For a dose that is not positive.
    """
    if np.ndim(dose) == 0:
        dose = number(dose, "The dose", positive=True)
    elif not (np.isfinite(dose) & (np.asarray(dose) > 0)).all():
        raise InputError("The doses must be positive, finite numbers of cells.")
    if arm.dose_of is None:
        return np.array(np.broadcast_to(np.asarray(dose, dtype=np.float64), len(patients)))
    total = np.broadcast_to(np.asarray(arm.dose_of(patients, dose), dtype=np.float64), len(patients))
    if not (np.isfinite(total) & (total > 0)).all():
        raise InputError(f"The doses of the arm {arm.name!r} must be positive, finite numbers of cells.")
    return total


def schedule_of(arm: Calendar) -> Schedule:
    """Return the days of a calendar with the fractions of both budgets that are infused on them.

    Parameters
    ----------
    arm : Calendar

    Returns
    -------
    list of (day, effectors, memory)
    """
    return [
        (
            float(day),
            math.fsum(i.effectors for i in arm.infusions if i.day == day),
            math.fsum(i.memory for i in arm.infusions if i.day == day),
        )
        for day in arm.days
    ]


def administered(arm: Arm, schedule: Schedule, patients: pd.DataFrame, dose: Dose) -> pd.DataFrame:
    """Return the effector and memory cells that each patient gets in all, before engraftment.

    Parameters
    ----------
    arm : Arm
    schedule : list of (day, effectors, memory)
        From `schedule_of` or `follow_rule`.
    patients : DataFrame
        With ``patient`` and ``fM``.
    dose : float or ndarray, shape (patients,)
        Total cells of a product.

    Returns
    -------
    DataFrame
        ``effectors`` and ``memory`` (cells), indexed by ``patient``.
    """
    columns = {}
    for place, (what, budget) in enumerate(
        zip(("effectors", "memory"), budgets(arm, patients, dose), strict=True), start=1
    ):
        columns[what] = budget * _total(schedule, place, len(patients))
    return pd.DataFrame(columns, index=pd.Index(patients["patient"], name="patient"))


def check_equal_budget(arm: Arm, schedule: Schedule, patients: pd.DataFrame) -> None:
    """Check that every patient gets exactly the own effector and memory cells.

    Parameters
    ----------
    arm : Arm
        One that need not is not looked at.
    schedule : list of (day, effectors, memory)
        Fractions of the budgets, numbers or arrays of shape (patients,).
    patients : DataFrame

    Raises
    ------
    InputError
        Naming the arm, the patient, and the fraction of the budget that is given.
    """
    if not arm.equal_budget or (isinstance(arm, Adaptive) and not arm.complete):
        return
    for place, what in enumerate(("effectors", "memory cells"), start=1):
        total = _total(schedule, place, len(patients))
        bad = ~(np.abs(total - 1) <= _ROUNDING)
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(
                f"The arm {arm.name!r} gives patient {shown(patients['patient'].iloc[row])} the fraction "
                f"{total[row]:.6g} of the budget of {what}, not 1; mend its rule or its fractions."
            )


def _total(schedule: Schedule, place: int, size: int) -> np.ndarray:
    """Return the sum of the fractions of one kind of cells for each patient, exactly rounded."""
    given = [entry[place] for entry in schedule]
    if not any(map(np.ndim, given)):  # a calendar: the same for all
        return np.full(size, math.fsum(given))
    fractions = [np.broadcast_to(np.asarray(fraction, dtype=np.float64), size) for fraction in given]
    return np.array([math.fsum(values) for values in zip(*fractions, strict=True)])


def arm_names(arms: Sequence[Arm]) -> list[str]:
    """Return the names of arms, having checked that they differ.

    Raises
    ------
    InputError
        For an empty list, or a name given twice.
    """
    listed = [arm.name for arm in arms]
    if not listed:
        raise InputError("There are no arms; give at least one.")
    for name in listed:
        if listed.count(name) > 1:
            raise InputError(f"The arm {name!r} is given twice; each arm needs its own name.")
    return listed
