"""The columns of a sample: distributions and their quantiles, values of a grid, streams of random numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pandas.api.types import is_list_like
from scipy.special import ndtr, ndtri

from fastcart.checks import count, number, real, shown
from fastcart.errors import InputError, nearest

KINDS = ("uniform", "log_uniform", "normal", "log_normal", "triangular")
SPACINGS = ("linspace", "geomspace")
_MAX_VALUES = 10_000_000
# uniform draws are multiples of 2**-53 below 1; half of the smallest stands for 0, whose score is infinite
SMALLEST, _LARGEST = 2.0**-54, 1.0 - 2.0**-53


@dataclass(frozen=True)
class Values:
    """Values of a grid, or one constant."""

    values: np.ndarray

    hint = ""

    @property
    def support(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return float(self.values.min()), float(self.values.max())

    def describe(self) -> list[Any]:
        """Return what it is in the types of JSON."""
        return ["values", *self.values.tolist()]


@dataclass(frozen=True)
class Marginal:
    """The distribution of one column.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    center, spread : float
        Low and high of the uniform kinds; mean and standard deviation, or median and standard deviation
        of the logarithm, of the normal ones; mode and width of the triangular one.
    low, high : float
        Limits of the normal kinds; ends of the triangular one.
    """

    kind: str
    center: float
    spread: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def limited(self) -> bool:
        """Whether a normal kind has limits."""
        return self.low > -math.inf or self.high < math.inf

    @property
    def hint(self) -> str:
        """What to do where values leave the range of a parameter."""
        if self.kind != "normal" or self.limited:
            return ""
        return " Give limits, as (mean, sd, low, high), or a log-normal column."

    @property
    def support(self) -> tuple[float, float]:
        """The lowest and the highest value that can be drawn."""
        least, most = self.quantile(np.array([SMALLEST, _LARGEST])).tolist()
        return least, most

    def quantile(self, u: np.ndarray, score: np.ndarray | None = None) -> np.ndarray:
        """Return the values at probabilities ``u``, or at normal scores where given.

        Parameters
        ----------
        u : ndarray
            From 0 on, below 1.
        score : ndarray, optional
            Stands for ``u`` in the normal kinds.
        """
        if self.kind == "uniform":
            return np.clip(self.center + u * (self.spread - self.center), self.center, self.spread)
        if self.kind == "log_uniform":
            start, stop = math.log(self.center), math.log(self.spread)
            return np.clip(np.exp(start + u * (stop - start)), self.center, self.spread)
        if self.kind == "triangular":
            left, right = (self.center - self.low) * self.spread, (self.high - self.center) * self.spread
            rising = u * self.spread < self.center - self.low
            values = np.where(rising, self.low + np.sqrt(u * left), self.high - np.sqrt((1 - u) * right))
            return np.clip(values, self.low, self.high)
        if score is None and not self.limited:
            score = ndtri(np.maximum(u, SMALLEST))
        elif self.limited:
            start, stop = (float(ndtr(self._score(limit))) for limit in (self.low, self.high))
            inner = start + (u if score is None else ndtr(score)) * (stop - start)
            score = ndtri(np.clip(inner, SMALLEST, _LARGEST))
        assert score is not None
        values = self.center + self.spread * score
        if self.kind == "log_normal":
            values = self.center * np.exp(self.spread * score)
        return np.clip(values, self.low, self.high) if self.limited else values

    def _score(self, limit: float) -> float:
        """Return the normal score of a limit."""
        if self.kind == "normal":
            return (limit - self.center) / self.spread
        if limit <= 0:
            return -math.inf
        return (math.log(limit) - math.log(self.center)) / self.spread

    def describe(self) -> list[Any]:
        """Return what it is in the types of JSON."""
        if self.kind == "triangular":
            return [self.kind, self.low, self.center, self.high]
        limits = [self.low, self.high] if self.limited else []
        return [self.kind, self.center, self.spread, *limits]


def column(name: str, given: Any, *, grid: bool) -> Values | Marginal:
    """Check and return what a column is made from.

    Raises
    ------
    InputError
        For a distribution that does not exist or whose numbers do not fit it.
    """
    where = f"The column {name!r}"
    if real(given) is not None:
        return Values(np.array([number(given, where)]))
    if isinstance(given, Mapping):
        if len(given) != 1:
            raise InputError(f"{where} must name one distribution, not {shown(dict(given))}.")
        kind, numbers = next(iter(given.items()))
        known = SPACINGS if grid else KINDS
        if kind not in known:
            what = "spacing of a grid" if grid else "distribution"
            raise InputError(f"{where}: there is no {what} {shown(kind)}." + nearest(kind, known))
        return _spaced(where, kind, numbers) if grid else _marginal(where, kind, numbers)
    if grid and is_list_like(given) and len(given):
        if len(given) > _MAX_VALUES:
            raise InputError(f"{where} must have at most {_MAX_VALUES} values, not {len(given)}.")
        return Values(np.array([number(value, f"{where}: each value") for value in given]))
    what = "values, {'linspace': (low, high, count)}" if grid else "a distribution, {'uniform': (low, high)},"
    raise InputError(f"{where} must be given as {what} or a number, not {shown(given)}.")


def _numbers(where: str, kind: str, given: Any, meaning: str, lengths: tuple[int, ...]) -> list[float]:
    values = list(given) if is_list_like(given) and not isinstance(given, Mapping | set) else []
    if len(values) not in lengths:
        raise InputError(f"{where}: {kind} needs ({meaning}), not {shown(given)}.")
    return [number(value, f"{where}: each of ({meaning})") for value in values]


def _spaced(where: str, kind: str, given: Any) -> Values:
    low, high, _ = _numbers(where, kind, given, "low, high, count", (3,))
    size = count(list(given)[2], f"{where}: the count of values")
    if size > _MAX_VALUES:
        raise InputError(f"{where} must have at most {_MAX_VALUES} values, not {size}.")
    if kind == "geomspace" and min(low, high) <= 0:
        raise InputError(f"{where}: the ends of geomspace must be above 0, not {low:g} and {high:g}.")
    return Values(np.linspace(low, high, size) if kind == "linspace" else np.geomspace(low, high, size))


def _marginal(where: str, kind: str, given: Any) -> Marginal:
    if kind in ("uniform", "log_uniform"):
        low, high = _numbers(where, kind, given, "low, high", (2,))
        if not low < high:
            raise InputError(f"{where}: the low end must lie below the high one, not {low:g} and {high:g}.")
        if kind == "log_uniform" and low <= 0:
            raise InputError(f"{where}: the low end of log_uniform must be above 0, not {low:g}.")
        return Marginal(kind, low, high)
    if kind == "triangular":
        low, mode, high = _numbers(where, kind, given, "low, mode, high", (3,))
        if not (low <= mode <= high and low < high):
            raise InputError(
                f"{where}: triangular needs low <= mode <= high and low < high, not {shown(given)}."
            )
        return Marginal(kind, mode, high - low, low, high)
    meaning = "mean, sd[, low, high]" if kind == "normal" else "median, sigma[, low, high]"
    center, spread, *limits = _numbers(where, kind, given, meaning, (2, 4))
    if spread <= 0 or (kind == "log_normal" and center <= 0):
        raise InputError(
            f"{where}: {kind} needs {'a sd' if kind == 'normal' else 'a median and a sigma'} above 0, not "
            f"{shown(given)}."
        )
    item = Marginal(kind, center, spread, *limits)
    if limits and not _reaches(item):
        raise InputError(
            f"{where}: the limits {item.low:g} and {item.high:g} leave nothing of the distribution; the low "
            "one must lie below the high one, and both near the center."
        )
    return item


def _reaches(item: Marginal) -> bool:
    """Return whether a noticeable part of a distribution lies between its limits."""
    low, high = item._score(item.low), item._score(item.high)
    return low < high and float(ndtr(high) - ndtr(low)) > 1e-12


def generator(seed: int | None, name: str) -> np.random.Generator:
    """Return the generator of a column; it follows from the seed and the name alone."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=tuple(name.encode()))))


def stream(seed: int | None, name: str, start: int, stop: int) -> np.ndarray:
    """Return the draws ``start`` to ``stop`` of a column, uniform in [0, 1)."""
    rng = generator(seed, name)
    rng.bit_generator.advance(start)  # type: ignore[attr-defined]  # one step for each draw
    return rng.random(stop - start)


def strata(seed: int | None, name: str, n: int) -> np.ndarray:
    """Return a column of a Latin hypercube below 1: one draw in each of ``n`` strata, in random order."""
    from scipy.stats import qmc

    # of one column at a time, so that none depends on the others; it may reach 1 by rounding
    return np.minimum(qmc.LatinHypercube(1, rng=generator(seed, name)).random(n)[:, 0], _LARGEST)
