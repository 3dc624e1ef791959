"""What of a model is estimated in a population: scales, covariates, random effects, errors; all in one row.

Patient ``i`` has ``phi_i = X_i b + eta_i`` in the scale of each parameter, ``eta_i ~ N(0, Omega)``. The row
of all that is estimated has ``b``, then parameters without random effect, then ``ln omega``, then Fisher's
z of correlations, then logarithms of error parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.checks import names, number, shown
from fastcart.errors import InputError, nearest
from fastcart.fit.data import FitData
from fastcart.fit.likelihood import PreparedLikelihood
from fastcart.model import Model
from fastcart.patient_rows import allowed_range
from fastcart.tables.ids import id_shown

SCALES = ("log", "normal", "logit")
_FAR = 500.0  # of a logarithm: exp of it is a number still
_NEAR_ONE = 0.999999  # a correlation is no larger


class Values(NamedTuple):
    """All that is estimated, unpacked."""

    b: np.ndarray  # (coefficients,)
    fixed: np.ndarray  # in the scale of the parameters
    omega: np.ndarray  # (random, random), variances and covariances
    errors: np.ndarray  # all error parameters, natural; also those that are known


@dataclass(frozen=True, eq=False)
class Effects:
    """What is estimated.

    Parameters
    ----------
    random, fixed : tuple of str
        Parameters with and without random effect.
    scales : tuple of str
        Of both.
    low, high : ndarray
        Between which a logit lies; else unused.
    coefficients : tuple of str
        What ``b`` means: a parameter, or ``beta_CL_WT``.
    design : ndarray, shape (patients, random, coefficients)
    pairs : tuple of (int, int)
        Random effects that are correlated.
    error_names : tuple of str
    known_errors : ndarray
        NaN where they are estimated.
    """

    random: tuple[str, ...]
    fixed: tuple[str, ...]
    scales: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    coefficients: tuple[str, ...]
    design: np.ndarray
    pairs: tuple[tuple[int, int], ...]
    error_names: tuple[str, ...]
    known_errors: np.ndarray

    @property
    def columns(self) -> tuple[str, ...]:
        """Parameters of the model that are estimated."""
        return (*self.random, *self.fixed)

    @cached_property
    def free_errors(self) -> np.ndarray:
        """Places of the error parameters that are estimated."""
        return np.flatnonzero(np.isnan(self.known_errors))

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where in the row what lies."""
        sizes = {
            "b": len(self.coefficients), "fixed": len(self.fixed), "omega": len(self.random),
            "pairs": len(self.pairs), "errors": len(self.free_errors),
        }  # fmt: skip
        places, begin = {}, 0
        for name, size in sizes.items():
            places[name] = slice(begin, begin + size)
            begin += size
        return places

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the row means."""
        return (
            *self.coefficients, *self.fixed, *(f"omega_{x}" for x in self.random),
            *(f"corr_{self.random[j]}_{self.random[k]}" for j, k in self.pairs),
            *(self.error_names[k] for k in self.free_errors),
        )  # fmt: skip

    def unpack(self, row: np.ndarray) -> Values:
        """Return the parts of a row."""
        at = self.slices
        size = np.exp(row[at["omega"]])
        errors = self.known_errors.copy()
        errors[self.free_errors] = np.exp(row[at["errors"]])
        correlation = np.eye(len(self.random))
        for (j, k), z in zip(self.pairs, row[at["pairs"]], strict=True):
            correlation[j, k] = correlation[k, j] = np.tanh(z)
        return Values(row[at["b"]], row[at["fixed"]], correlation * np.outer(size, size), errors)

    def pack(self, values: Values) -> np.ndarray:
        """Return a row of its parts."""
        size = np.sqrt(np.diag(values.omega))
        r = [values.omega[j, k] / (size[j] * size[k]) for j, k in self.pairs]
        z = np.arctanh(np.clip(r, -_NEAR_ONE, _NEAR_ONE)) if r else np.empty(0)
        errors = np.log(values.errors[self.free_errors])
        return np.concatenate([values.b, values.fixed, np.log(size), z, errors])

    def centers(self, b: np.ndarray) -> np.ndarray:
        """Return what is typical of each patient, patients x random, in the scale of the parameters."""
        return self.design @ b

    def natural(self, phi: np.ndarray, first: int = 0) -> np.ndarray:
        """Return values in natural units, columns from the one numbered ``first`` on."""
        scales = self.scales[first : first + phi.shape[-1]]
        if all(scale == "log" for scale in scales):
            return np.exp(np.clip(phi, -_FAR, _FAR))
        out = np.empty_like(phi)
        for k, scale in enumerate(scales):
            x, low, high = phi[..., k], self.low[first + k], self.high[first + k]
            if scale == "log":
                out[..., k] = np.exp(np.clip(x, -_FAR, _FAR))
            elif scale == "logit":
                out[..., k] = low + (high - low) / (1.0 + np.exp(-np.clip(x, -_FAR, _FAR)))
            else:
                out[..., k] = x
        return out

    def scaled(self, values: np.ndarray, first: int = 0) -> np.ndarray:
        """Return values in the scale of the parameters."""
        out = np.array(values, dtype=float)
        for k, scale in enumerate(self.scales[first : first + out.shape[-1]]):
            x, low, high = out[..., k], self.low[first + k], self.high[first + k]
            if scale == "log":
                out[..., k] = np.log(x)
            elif scale == "logit":
                out[..., k] = np.log((x - low) / (high - x))
        return out

    def slopes(self, phi: np.ndarray, first: int = 0) -> np.ndarray:
        """Return the derivatives of natural values by scaled ones; columns as of `natural`."""
        natural = self.natural(phi, first)
        out = np.ones_like(natural)
        for k, scale in enumerate(self.scales[first : first + phi.shape[-1]]):
            low, high = self.low[first + k], self.high[first + k]
            if scale == "log":
                out[..., k] = natural[..., k]
            elif scale == "logit":
                out[..., k] = (natural[..., k] - low) * (high - natural[..., k]) / (high - low)
        return out

    def theta(self, phi: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return what the likelihood takes: rows of parameters in natural units."""
        out = np.empty((len(phi), len(self.columns)))
        out[:, : len(self.random)] = self.natural(phi)
        if len(self.fixed):
            out[:, len(self.random) :] = self.natural(fixed, len(self.random))
        return out


def check_effects(
    model: Model, data: FitData, random: Sequence[str], fixed: Sequence[str], *,
    omega: Any, covariates: Any, scales: Any,
) -> Effects:  # fmt: skip
    """Check what is to be estimated; error parameters are added by `with_errors`.

    Raises
    ------
    InputError
    """
    effects = names(random, "The parameters with random effects")
    others = names(fixed, "The parameters without random effects") if len(fixed) else []
    if not effects:
        raise InputError("At least one parameter must have a random effect; name it in 'random'.")
    columns = [*effects, *others]
    items = {item.name: item for item in model.items}
    for name in columns:
        if name not in items:
            raise InputError(
                f"Model {model.name!r} has no parameter or state {shown(name)} to estimate."
                + nearest(name, items)
            )
        if columns.count(name) > 1:
            raise InputError(f"{name!r} is named twice among the parameters to estimate.")
    chosen = _scales(scales, columns)
    low, high = (np.array(ends) for ends in zip(*(allowed_range(items[x]) for x in columns), strict=True))
    for name, scale, a, b in zip(columns, chosen, low, high, strict=True):
        if scale == "logit" and not np.isfinite([a, b]).all():
            raise InputError(f"{name!r} cannot have the scale 'logit': the model gives it no finite range.")
        if scale == "log" and b <= 0:
            raise InputError(f"{name!r} cannot have the scale 'log': the model allows no value above 0.")
    design, coefficients = _design(data, effects, covariates)
    pairs = _pairs(omega, effects)
    none: tuple[str, ...] = ()
    return Effects(
        tuple(effects), tuple(others), chosen, low, high, coefficients, design, pairs, none, np.empty(0)
    )  # fmt: skip


def with_errors(effects: Effects, prepared: PreparedLikelihood) -> Effects:
    """Return the same with the error parameters of a likelihood."""
    return replace(effects, error_names=prepared.error_names, known_errors=prepared.error_values.copy())


def _scales(given: Any, columns: Sequence[str]) -> tuple[str, ...]:
    mapping = {} if given is None else given
    if not isinstance(mapping, Mapping):
        raise InputError(f"The scales must be a mapping such as {{'F': 'logit'}}, not {shown(given)}.")
    for name, scale in mapping.items():
        if name not in columns:
            raise InputError(
                f"The scales name {shown(name)}, which is not estimated." + nearest(name, columns)
            )
        if scale not in SCALES:
            raise InputError(f"The scale of {name!r} must be one of {', '.join(SCALES)}, not {shown(scale)}.")
    return tuple(mapping.get(name, "log") for name in columns)


def _pairs(omega: Any, random: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return which random effects are correlated."""
    if isinstance(omega, str):
        if omega not in ("diagonal", "full"):
            raise InputError(
                f"omega must be 'diagonal', 'full' or a list of blocks such as "
                f"[['CL', 'V']], not {shown(omega)}."
            )
        blocks = [list(random)] if omega == "full" else []
    elif isinstance(omega, Sequence):
        blocks = [names(block, "A block of omega") for block in omega]
    else:
        raise InputError(f"omega must be 'diagonal', 'full' or a list of blocks, not {shown(omega)}.")
    named = [name for block in blocks for name in block]
    for name in named:
        if name not in random:
            raise InputError(f"A block of omega names {shown(name)}, which has no random effect.")
        if named.count(name) > 1:
            raise InputError(f"{name!r} is in two blocks of omega; join them.")
    places = [[random.index(name) for name in block] for block in blocks]
    return tuple((j, k) for block in places for n, j in enumerate(block) for k in block[n + 1 :])


def _design(data: FitData, random: Sequence[str], covariates: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the matrix of each patient, and what its columns mean."""
    mapping = {} if covariates is None else covariates
    if not isinstance(mapping, Mapping):
        raise InputError(f"The covariates must be a mapping such as {{'CL': 'WT'}}, not {shown(covariates)}.")
    for name in mapping:
        if name not in random:
            raise InputError(
                f"The covariates name {shown(name)}, which has no random effect." + nearest(name, random)
            )
    columns, meaning = [], []
    for j, name in enumerate(random):
        listed = names(mapping.get(name, []), f"The covariates of {name!r}")
        mine = [(name, np.ones(data.patients))]
        for covariate in listed:
            mine += [(f"beta_{name}_{label}", values) for label, values in _regressors(data, covariate)]
        if np.linalg.matrix_rank(np.column_stack([x / np.abs(x).max() for _, x in mine])) < len(mine):
            raise InputError(
                f"The covariates of {name!r} ({', '.join(listed)}) say the same: one of them, as it enters, "
                "follows from the others, or there are more than patients; leave one out."
            )
        for label, values in mine:
            column = np.zeros((data.patients, len(random)))
            column[:, j] = values
            columns.append(column)
            meaning.append(label)
    return np.stack(columns, axis=2), tuple(meaning)


def _regressors(data: FitData, covariate: str) -> list[tuple[str, np.ndarray]]:
    """Return what a covariate adds to the design; see `fastcart.fit.population`."""
    values = data.covariate(covariate)
    missing = pd.isna(values)
    if missing.any():
        place = int(np.argmax(missing))
        raise InputError(f"The covariate {covariate!r} of patient {id_shown(data.ids[place])} is missing.")
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        counts = pd.Series(values).value_counts(sort=True)
        if len(counts) < 2:
            raise InputError(f"The covariate {covariate!r} is the same in all patients.") from None
        usual = sorted(counts.index, key=lambda level: (-counts[level], str(level)))
        return [(f"{covariate}_{level}", (values == level).astype(float)) for level in usual[1:]]
    if (numbers == numbers[0]).all():
        raise InputError(f"The covariate {covariate!r} is the same in all patients.")
    if len(np.unique(numbers)) == 2:
        return [(covariate, (numbers > numbers.min()).astype(float))]
    if (numbers > 0).all():
        return [(covariate, np.log(numbers / np.median(numbers)))]
    return [(covariate, numbers - np.median(numbers))]


def check_start(effects: Effects, model: Model, given: Any) -> dict[str, float]:
    """Check a start, ``{"CL": 2.8, "omega_CL": 0.5, "a_cp": 1.0}``, all natural, any of them.

    Raises
    ------
    InputError
    """
    if not isinstance(given, Mapping):
        raise InputError(f"A start must be a mapping of names to values, not {shown(given)}.")
    found = {}
    for name, value in given.items():
        if name not in effects.names:
            raise InputError(
                f"A start names {shown(name)}, which is not estimated." + nearest(name, effects.names)
            )
        positive = not name.startswith(("beta_", "corr_")) and (
            name not in effects.columns or effects.scales[effects.columns.index(name)] == "log"
        )
        found[name] = number(value, f"The start of {name!r}", positive=positive)
        if name in effects.columns:
            k = effects.columns.index(name)
            if effects.scales[k] == "logit" and not effects.low[k] < found[name] < effects.high[k]:
                raise InputError(
                    f"The start of {name!r} must lie between {effects.low[k]:g} and {effects.high[k]:g}, not "
                    f"{found[name]:g}."
                )
    return found
