"""What is estimated: names, bounds, scales, and where searches start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastcart.checks import real, shown
from fastcart.errors import InputError, nearest
from fastcart.fit.likelihood import PreparedLikelihood
from fastcart.model import Model
from fastcart.patient_rows import allowed_range
from fastcart.tables.ids import id_places

SCALES = ("linear", "log")
_DECADES = 4.0  # below the bounds, in which half of the starts of a linear parameter lie
_ERRORS = 1e-6, 1e3  # bounds of error parameters, relative to what they are compared with


@dataclass(frozen=True)
class Estimates:
    """Parameters that are estimated, then those of the error models; all arrays are in this order.

    Parameters
    ----------
    names : tuple of str
    log : ndarray of bool
        Which are estimated by their logarithms.
    low, high : ndarray
        In the scale in which they are estimated; of error parameters relative to what a patient's
        measurements are (`own_errors`).
    errors : int
        How many of them, the last ones, are error parameters.
    """

    names: tuple[str, ...]
    log: np.ndarray
    low: np.ndarray
    high: np.ndarray
    errors: int = 0

    @property
    def parameters(self) -> int:
        """How many are parameters of the model."""
        return len(self.names) - self.errors

    def natural(self, x: np.ndarray) -> np.ndarray:
        """Return values in natural units; the last axis is that of the parameters."""
        with np.errstate(over="ignore"):
            return np.where(self.log, np.exp(np.where(self.log, x, 0.0)), x)

    def estimated(self, values: np.ndarray) -> np.ndarray:
        """Return values in the scale in which they are estimated."""
        with np.errstate(divide="ignore"):
            return np.where(self.log, np.log(np.where(self.log, values, 1.0)), values)

    def starts(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Return places to start from: spread evenly within the bounds (Latin hypercube).

        Half of those of a linear parameter are spread by the logarithm of their distance from zero.
        """
        size = len(self.names)
        cells = np.argsort(random.random((count, size)), axis=0)
        part = (cells + random.random((count, size))) / count
        x = self.low + part * (self.high - self.low)
        near = random.random((count, size)) < 0.8
        largest = np.maximum(np.abs(self.low), np.abs(self.high))
        close = largest * 10.0 ** (-_DECADES * random.random((count, size)))
        close *= np.where((self.low < 0) & ((self.high <= 0) | (part < 0.5)), -1.0, 1.0)
        x = np.where(near & ~self.log & (self.low <= 0) & (self.high >= 0), close, x)
        return np.clip(x, self.low, self.high)

    def with_errors(self, prepared: PreparedLikelihood) -> Estimates:
        """Return the same, and the error parameters, whose bounds are relative to each patient's size."""
        size = len(prepared.error_names)
        low, high = (np.full(size, np.log(end)) for end in _ERRORS)
        return Estimates(
            (*self.names, *prepared.error_names), np.append(self.log, np.ones(size, dtype=bool)),
            np.append(self.low, low), np.append(self.high, high), size,
        )  # fmt: skip


def typical_errors(prepared: PreparedLikelihood) -> np.ndarray:
    """Return a size for each error parameter: a part of what is measured, or for relative ones 1."""
    of = prepared.data.measurements
    sizes = []
    for one in prepared.observations:
        mine = np.abs(of.value[of.kind == prepared.data.kinds.index(one.dvid)])
        typical = float(np.median(mine)) if len(mine) else 1.0
        sizes += [(typical if typical > 0 else 1.0) if name == "a" else 1.0 for name in one.error.names]
    return np.array(sizes)


def own_errors(prepared: PreparedLikelihood) -> np.ndarray:
    """Return the same of each patient's own measurements, patients x error parameters."""
    of, kinds = prepared.data.measurements, prepared.data.kinds
    sizes = np.ones((prepared.patients, len(prepared.error_names)))
    names = [(one, name) for one in prepared.observations for name in one.error.names]
    for k, (one, name) in enumerate(names):
        if name != "a" or one.dvid not in kinds:
            continue
        rows = np.flatnonzero(of.kind == kinds.index(one.dvid))
        for i in np.unique(of.patient[rows]):
            mine = np.abs(of.value[rows[of.patient[rows] == i]])
            typical = float(np.median(mine)) or float(mine.mean())
            sizes[i, k] = typical if typical > 0 else 1.0
    return sizes


def check_estimates(model: Model, given: Any) -> Estimates:
    """Check what is to be estimated, ``{name: (low, high)}`` or ``{name: (low, high, "log")}``.

    Raises
    ------
    InputError
    """
    if not isinstance(given, Mapping) or not given:
        raise InputError(f"What is to be estimated must be a mapping of names to bounds, not {shown(given)}.")
    items = {item.name: item for item in model.items}
    rows = []
    for name, bounds in given.items():
        if name not in items:
            raise InputError(
                f"Model {model.name!r} has no parameter or state {shown(name)} to estimate."
                + nearest(name, items)
            )
        rows.append(_bounds(name, bounds, allowed_range(items[name])))
    low, high, log = (np.array(column) for column in zip(*rows, strict=True))
    return Estimates(tuple(given), log.astype(bool), low.astype(float), high.astype(float))


def _bounds(name: str, given: Any, allowed: tuple[float, float]) -> tuple[float, float, bool]:
    """Return the bounds of a parameter in its scale, and whether that is logarithmic."""
    parts = tuple(given) if isinstance(given, tuple | list) else ()
    scale = parts[2] if len(parts) == 3 else "linear"
    low, high = (real(x) for x in parts[:2]) if len(parts) in (2, 3) else (None, None)
    if low is None or high is None or not low < high or not np.isfinite([low, high]).all():
        raise InputError(
            f"The bounds of {name!r} must be (low, high) or (low, high, 'log') with low < high, not "
            f"{shown(given)}."
        )
    if scale not in SCALES:
        raise InputError(f"The scale of {name!r} must be 'linear' or 'log', not {shown(scale)}.")
    if scale == "log" and low <= 0:
        raise InputError(f"The lower bound of {name!r} must be above 0 for the scale 'log', not {low:g}.")
    if low < allowed[0] or high > allowed[1]:
        raise InputError(
            f"The bounds of {name!r} are {low:g} to {high:g}, but the model allows {allowed[0]:g} to "
            f"{allowed[1]:g}."
        )
    return (np.log(low), np.log(high), True) if scale == "log" else (low, high, False)


def check_fixed(given: Any, ids: np.ndarray, estimates: Estimates, model: Model) -> np.ndarray:
    """Return the values that parameters have in patients, patients x parameters, NaN where they are free.

    Parameters
    ----------
    given : mapping of id to mapping of name to value, or None
    ids : ndarray
    estimates : Estimates
    model : Model
        Whose ranges hold; bounds of the search do not.

    Raises
    ------
    InputError
    """
    values = np.full((len(ids), len(estimates.names)), np.nan)
    if given is None:
        return values
    if not isinstance(given, Mapping) or not all(isinstance(x, Mapping) for x in given.values()):
        raise InputError("What is fixed must be a mapping of patients' ids to mappings of names to values.")
    ranges = {item.name: allowed_range(item) for item in model.items if item.name in estimates.names}
    places = id_places(np.array(list(given), dtype=object), ids)
    for patient, place, mine in zip(given, places, given.values(), strict=True):
        if place < 0:
            raise InputError(f"The patient {shown(patient)} of what is fixed is not among those of the data.")
        for name, value in mine.items():
            if name not in estimates.names:
                raise InputError(
                    f"What is fixed names {shown(name)}, which is not estimated."
                    + nearest(name, estimates.names)
                )
            fixed = real(value)
            if fixed is None or not np.isfinite(fixed):
                raise InputError(f"The value of {name!r} of patient {shown(patient)} is not a number.")
            low, high = ranges.get(name, (0.0, np.inf))
            if not low <= fixed <= high or (name not in ranges and fixed == 0):
                limits = f"{low:g} to {high:g}" if name in ranges else "values above 0"
                raise InputError(
                    f"The value of {name!r} of patient {shown(patient)} is {fixed:g}, but the model allows "
                    f"{limits}."
                )
            values[place, estimates.names.index(name)] = fixed
    return values
