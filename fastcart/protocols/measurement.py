"""What a clinic measures of treated patients: assays with noise, a limit of detection and a delay.

The noise of a reading is a function of the seed, the patient and the day alone: no other patient, visit, arm
or actuator changes it. Hence arms that are compared share their luck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from fastcart.checks import number
from fastcart.errors import InputError
from fastcart.population.prior import assay_noise

KINDS = ("burden", "cells", "il6")
_STREAM = 1000  # between the seeds of two kinds of assay
_DAILY = 28  # the last day of daily visits in the usual calendar, weekly afterwards
_MINUTES = 1440.0  # of a day
_BETWEEN = 10_000_000  # readings at other times are numbered from here on


@dataclass(frozen=True, kw_only=True)
class Assays:
    """How a clinic measures.

    Parameters
    ----------
    burden_sd, cells_sd, il6_sd : float
        Standard deviations of the logarithm of a reading: 0 is exact.
    burden_limit : float
        Tumor cells below which a reading is this number.
    delay : float
        Days until a result is known; the baseline of day 0 is known at once.

    Raises
    ------
    InputError
        For a number that is negative or not finite.
    """

    burden_sd: float = 0.35
    cells_sd: float = 0.35
    il6_sd: float = 0.2
    burden_limit: float = 1e7
    delay: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if number(getattr(self, field.name), f"The {field.name} of an assay") < 0:
                raise InputError(
                    f"The {field.name} of an assay must not be negative, not {getattr(self, field.name):g}."
                )

    def read(
        self, kind: str, values: np.ndarray, *, numbers: np.ndarray, day: float, seed: int | None
    ) -> np.ndarray:
        """Return the readings of one kind of assay on a day.

        Parameters
        ----------
        kind : str
            One of `KINDS`.
        values : ndarray, shape (patients,)
            What there is to be measured.
        numbers : ndarray of int, shape (patients,)
            Of the patients in the population.
        day : float
        seed : int or None
            None measures exactly.
        """
        if seed is not None:
            spread = getattr(self, f"{kind}_sd")
            values = values * np.exp(spread * reading_noise(kind, numbers, day, seed=seed))
        if kind == "burden":
            return np.maximum(values, self.burden_limit)
        return np.maximum(values, 1.0) if kind == "cells" else values


EXACT = Assays(burden_sd=0.0, cells_sd=0.0, il6_sd=0.0, burden_limit=0.0, delay=0.0)


def reading_noise(kind: str, numbers: np.ndarray, day: float, *, seed: int) -> np.ndarray:
    """Return the error of a reading, standard normal, for each patient.

    Parameters
    ----------
    kind : str
        One of `KINDS`; each has a stream of its own.
    numbers : ndarray of int, shape (patients,)
        Of the patients in the population.
    day : float
        Times within a day are told apart by the minute.
    seed : int
    """
    size = int(numbers.max(initial=0)) + 1
    return _noise(size, reading_number(day), seed + _STREAM * KINDS.index(kind))[numbers]


@lru_cache(maxsize=256)  # arms of a study are measured on the same days
def _noise(size: int, reading: int, seed: int) -> np.ndarray:
    noise = assay_noise(size, reading, seed=seed)
    noise.flags.writeable = False
    return noise


def reading_number(day: float) -> int:
    """Return the number of a reading: that of its visit in the usual calendar, else one of its own.

    It follows from the day alone, so that further visits leave the readings of others as they are.
    """
    if day == int(day):
        if day <= _DAILY:
            return int(day)
        weeks, rest = divmod(int(day) - _DAILY, 7)
        if rest == 0:
            return _DAILY + weeks
    return _BETWEEN + round(day * _MINUTES)


@dataclass(frozen=True)
class History:
    """What is known at a visit: the readings whose results are there, and what was done at visits before.

    A rule of an arm gets it and nothing else. All arrays have a row for each patient.

    Parameters
    ----------
    day : float
        Of this visit.
    delay : float
        Days until a result is known.
    days : ndarray, shape (readings,)
        When the readings were made; the first is the baseline of day 0, after the infusion of that day.
    burden : ndarray, shape (patients, readings)
        Measured tumor cells.
    cells : ndarray, shape (patients, readings)
        Measured CAR-T cells of all kinds, as the transgene in blood counts them.
    il6 : ndarray, shape (patients, readings)
        Measured serum IL-6, pg/mL.
    visits : ndarray, shape (visits,)
        Days of the visits before this one.
    done : mapping of str to ndarray, shape (patients, visits)
        What was done at these: the fields of `Command` by name.
    active : ndarray, shape (patients,), or float
        Activity of the CAR now: it follows from what was commanded and the lag of the drug, which are known.
    """

    day: float
    delay: float
    days: np.ndarray
    burden: np.ndarray
    cells: np.ndarray
    il6: np.ndarray
    visits: np.ndarray
    done: Mapping[str, np.ndarray]
    active: Any = 1.0


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is done at a visit; each a number for all patients, or an array with one for each.

    Parameters
    ----------
    activity : float or array
        Of the CAR until the next visit, from 0 (off) to 1 (on); its drug acts with a lag, and leaks.
    keep_effectors, keep_memory : float or array
        Share of the effector and exhausted cells, and of the memory cells, that a depletion leaves.
    promotion : float or array
        Factor of the conversion of effectors to memory until the next visit.
    effectors, memory : float or array
        Fractions of the product's effector and memory cells that are infused now.
    blockade : float or array
        Efficacy of an IL-6 receptor blocker that is given now, from 0 (none) to 1.
    """

    activity: Any = 1.0
    keep_effectors: Any = 1.0
    keep_memory: Any = 1.0
    promotion: Any = 1.0
    effectors: Any = 0.0
    memory: Any = 0.0
    blockade: Any = 0.0


COMMANDS = tuple(field.name for field in fields(Command))
NOT_DONE = {field.name: float(field.default) for field in fields(Command)}  # type: ignore[arg-type]
AT_MOST_ONE = ("activity", "keep_effectors", "keep_memory", "blockade")
