"""What a problem estimates: names, scales, bounds, nominal values, and prior densities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import shown
from fastcart.errors import InputError

LIN, LOG, LOG10 = "lin", "log", "log10"
_UNIFORM, _NORMAL, _LAPLACE = "uniform", "normal", "laplace"
_PRIORS = {  # kind, and whether it is about the scaled value, the value or its logarithm
    "uniform": (_UNIFORM, "value"), "normal": (_NORMAL, "value"), "laplace": (_LAPLACE, "value"),
    "logNormal": (_NORMAL, "log"), "logLaplace": (_LAPLACE, "log"),
    "parameterScaleUniform": (_UNIFORM, "scale"), "parameterScaleNormal": (_NORMAL, "scale"),
    "parameterScaleLaplace": (_LAPLACE, "scale"),
}  # fmt: skip
_NEAR = 1e-8  # of a scale: a kink of a Laplace density is no sharper for steps


@dataclass(frozen=True)
class Prior:
    """The prior density of one parameter: of what, of which kind, and its two numbers."""

    place: int
    kind: str
    of: str
    first: float
    second: float


@dataclass(frozen=True, eq=False)
class Parameters:
    """Parameters that are estimated; arrays are in this order.

    Parameters
    ----------
    names : tuple of str
    scales : tuple of str
        ``lin``, ``log`` or ``log10``: arrays ``theta`` are in these.
    lower, upper, nominal : ndarray
        In the scale of each; nominal values that the table lacks are NaN.
    priors : tuple of Prior
    fixed : dict of str to float
        Values of those that are not estimated.
    """

    names: tuple[str, ...]
    scales: tuple[str, ...]
    lower: np.ndarray
    upper: np.ndarray
    nominal: np.ndarray
    priors: tuple[Prior, ...]
    fixed: dict[str, float]

    def natural(self, theta: np.ndarray) -> np.ndarray:
        """Return values of which the last axis are the parameters, without their scales."""
        with np.errstate(over="ignore"):
            return np.where(
                self._is(LOG10), 10.0 ** np.where(self._is(LOG10), theta, 0.0),
                np.where(self._is(LOG), np.exp(np.where(self._is(LOG), theta, 0.0)), theta),
            )  # fmt: skip

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Return values in their scales."""
        return _scaled(np.asarray(values, dtype=float), self._is(LOG10), self._is(LOG))

    def widths(self, natural: np.ndarray) -> np.ndarray:
        """Return derivatives of natural values by scaled ones."""
        return np.where(self._is(LOG10), natural * math.log(10.0), np.where(self._is(LOG), natural, 1.0))

    def _is(self, scale: str) -> np.ndarray:
        return np.array([x == scale for x in self.scales], dtype=bool)

    def prior(self, natural: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return minus the logarithm of the prior density, its slopes by natural values, and information.

        Parameters
        ----------
        natural : ndarray, shape (rows, parameters)

        Returns
        -------
        cost : ndarray, shape (rows,)
            The density is that of the value; of priors on the scale of a parameter, that of the scaled value.
        gradient, information : ndarray, shape (rows, parameters)
        """
        cost = np.zeros(len(natural))
        gradient, information = np.zeros(natural.shape), np.zeros(natural.shape)
        for prior in self.priors:
            k = prior.place
            value, slope, jacobian = self._about(prior, natural[:, k])
            a, b = prior.first, prior.second
            if prior.kind == _UNIFORM:
                inside = (value >= a) & (value <= b)
                cost += np.where(inside, math.log(b - a) + jacobian, np.inf)
            elif prior.kind == _NORMAL:
                z = (value - a) / b
                cost += 0.5 * z**2 + math.log(b * math.sqrt(2.0 * math.pi)) + jacobian
                gradient[:, k] += z / b * slope
                information[:, k] += (slope / b) ** 2
            else:
                z = (value - a) / b
                cost += np.abs(z) + math.log(2.0 * b) + jacobian
                gradient[:, k] += np.sign(z) / b * slope
                information[:, k] += (slope / b) ** 2 / np.maximum(np.abs(z), _NEAR)
            if prior.of == "log":
                gradient[:, k] += 1.0 / natural[:, k]
        return cost, gradient, information

    def _about(self, prior: Prior, natural: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
        """Return what a prior is about, its slope, and ln of what the density of the value is divided by."""
        k = prior.place
        scale = {"value": LIN, "log": LOG, "scale": self.scales[k]}[prior.of]
        if scale == LIN:
            return natural, np.ones(len(natural)), 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            part = 1.0 if scale == LOG else 1.0 / math.log(10.0)
            jacobian = np.log(natural) if prior.of == "log" else 0.0
            return part * np.log(natural), part / natural, jacobian


def _scaled(values: np.ndarray, log10: np.ndarray, log: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(
            log10, np.log10(np.where(log10, values, 1.0)),
            np.where(log, np.log(np.where(log, values, 1.0)), values),
        )  # fmt: skip


def parameters_of(table: pd.DataFrame) -> Parameters:
    """Return what a parameter table says.

    Raises
    ------
    InputError
        For scales, bounds and priors that are none.
    """
    names: list[str] = []
    scales: list[str] = []
    rows: list[tuple[float, float, float]] = []
    priors: list[Prior] = []
    fixed: dict[str, float] = {}
    for name, row in table.iterrows():
        nominal = _number(row.get("nominalValue", math.nan), f"the nominal value of {name!r}", missing=True)
        if not _estimated(str(name), row.get("estimate", 1)):
            if math.isnan(nominal):
                raise InputError(f"PEtab: the parameter {name!r} is not estimated and has no nominalValue.")
            fixed[str(name)] = nominal
            continue
        scale = row.get("parameterScale", LIN)
        if scale not in (LIN, LOG, LOG10):
            raise InputError(
                f"PEtab: the parameter {name!r} has the scale {shown(scale)}; known are lin, log, log10."
            )
        low = _number(row.get("lowerBound"), f"the lower bound of {name!r}")
        high = _number(row.get("upperBound"), f"the upper bound of {name!r}")
        if not low < high or (scale != LIN and low < 0):
            raise InputError(
                f"PEtab: the bounds of {name!r} are {low:g} to {high:g}; they must rise, and be positive for "
                "a logarithmic scale."
            )
        prior = _prior(len(names), str(name), dict(row))
        priors += [] if prior is None else [prior]
        names.append(str(name))
        scales.append(scale)
        rows.append((low, high, nominal))
    if not names:
        raise InputError("PEtab: no parameter of the table is estimated.")
    kinds = [np.array([x == scale for x in scales]) for scale in (LOG10, LOG)]
    lower, upper, given = (_scaled(np.array(column), *kinds) for column in zip(*rows, strict=True))
    return Parameters(tuple(names), tuple(scales), lower, upper, given, tuple(priors), fixed)


def _estimated(name: str, given: Any) -> bool:
    value = given if not isinstance(given, str) else given.strip()
    if value not in (0, 1, "0", "1"):
        raise InputError(f"PEtab: 'estimate' of the parameter {name!r} must be 0 or 1, not {shown(given)}.")
    return int(value) == 1


def _number(given: Any, what: str, *, missing: bool = False) -> float:
    try:
        value = float(given)
    except (TypeError, ValueError):
        raise InputError(f"PEtab: {what} is no number: {shown(given)}.") from None
    if math.isnan(value) and not missing:
        raise InputError(f"PEtab: {what} is missing.")
    return value


def _prior(place: int, name: str, row: Mapping[str, Any]) -> Prior | None:
    kind = row.get("objectivePriorType")
    given = row.get("objectivePriorParameters")
    if kind is None or pd.isna(kind) or kind == "":
        return None
    if kind not in _PRIORS:
        raise InputError(
            f"PEtab: the parameter {name!r} has the prior {shown(kind)}; known are {', '.join(_PRIORS)}."
        )
    parts = str(given).split(";")
    if given is None or pd.isna(given):
        if kind == "parameterScaleUniform":
            return None
        parts = []
    if len(parts) != 2:
        raise InputError(f"PEtab: the prior of {name!r} needs two numbers, as in '0;1', not {shown(given)}.")
    first, second = (_number(x, f"the prior of {name!r}") for x in parts)
    shape, of = _PRIORS[kind]
    if (second <= first) if shape == _UNIFORM else (second <= 0):
        raise InputError(f"PEtab: the prior of {name!r} has the numbers {given!r}, which are of no density.")
    return Prior(place, shape, of, first, second)
