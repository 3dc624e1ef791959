"""Which of two points is better: Deb's rules where constraints count too; what leads a search off a floor.

K. Deb, Comput. Methods Appl. Mech. Eng. 186, 311 (2000): what keeps all constraints is better than what
breaks one; of two that keep them the smaller objective is better, of two that break them the smaller
violation. Of two that are equal in both, the smaller ``tie`` is better: a quantity with a slope where the
objective has none.

A floor is the worst objective, where many points share it to the last bit: the survival of all whom no
treatment helps is 0. It has no slope, so a search that finds it allowed and everything better forbidden would
stay there. While a search moves, being better than the floor therefore counts as one more constraint
(`Lead`): broken by the rate at which the tumor grows at first where survival is 0, else altogether. Survival
of 0 is a floor too where the objective has another part, with a slope that leads nowhere. What a search
reports goes by Deb's rules alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastcart.errors import InputError

FLOOR = 2.0  # the violation of a point that is no better than the floor and keeps all constraints
_FLOOR_SHARE = 0.2  # of the first points of a problem: so many share the worst objective where it is a floor


def is_better(
    value: Any,
    broken: Any,
    than: Any,
    than_broken: Any,
    *,
    tie: Any = 0.0,
    than_tie: Any = 0.0,
    or_equal: bool = False,
) -> np.ndarray:
    """Return whether points are better than others, by Deb's rules, then by the tie."""
    last = (tie <= than_tie) if or_equal else (tie < than_tie)
    return (broken < than_broken) | ((broken == than_broken) & ((value < than) | ((value == than) & last)))


def best_of(value: np.ndarray, broken: np.ndarray, tie: np.ndarray | None = None) -> np.ndarray:
    """Return the place of the best point of each row by Deb's rules; of equal ones the first."""
    chosen = np.ones(value.shape, dtype=bool)
    for key in (broken, value) if tie is None else (broken, value, tie):
        kept = np.where(chosen, key, np.inf)
        least = kept.min(axis=1, keepdims=True)
        chosen &= kept == least
    return chosen.argmax(axis=1)


def rank(value: np.ndarray, broken: np.ndarray, tie: np.ndarray | None = None) -> np.ndarray:
    """Return the rank of each point within its row by Deb's rules, from 0 for the best."""
    keys = (value, broken) if tie is None else (tie, value, broken)
    order = np.lexsort(keys, axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None, :], axis=1)
    return ranks


def floor_of(value: np.ndarray) -> np.ndarray:
    """Return the floor of each row of first points, shape (rows, points); infinite where there is none."""
    known = np.isfinite(value)
    worst = np.where(known, value, -np.inf).max(axis=1)
    return np.where(_many(known & (value == worst[:, None])), worst, np.inf)


def _many(chosen: np.ndarray) -> np.ndarray:
    """Return in which rows so many points are chosen that they make a floor."""
    number = chosen.sum(axis=1)
    return np.asarray((number >= 2) & (number >= _FLOOR_SHARE * chosen.shape[1]))


class Lead:
    """What leads the searches of some problems; it follows from the first points of each.

    Parameters
    ----------
    problems : int

    Attributes
    ----------
    floor : ndarray, shape (problems,)
        The floor of each; infinite where there is none.
    """

    def __init__(self, problems: int):
        self.floor = np.full(problems, np.inf)
        self._no_survival = np.zeros(problems, dtype=bool)  # which have a floor of survival
        self._sizes = np.full((2, problems), np.nan)  # of violations and of growth

    def begin(self, rows: np.ndarray, worth: Worth) -> None:
        """Take the first points of some problems, given by their places."""
        self.floor[rows] = floor_of(worth.value)
        self._no_survival[rows] = _many(worth.growth > 0)
        self._sizes[:, rows] = _typical(worth.broken), _typical(worth.growth)

    def __call__(self, rows: np.ndarray, worth: Worth) -> np.ndarray:
        """Return the violations by which searches move, shape (rows, points).

        They are those of Deb's rules where a problem has no floor and no patient progresses at once.
        """
        of_broken, of_growth = self._sizes[:, rows, None]
        below = self.below(rows, worth)
        outside = below | (worth.broken > 0)
        moved = _share(worth.broken, of_broken) + np.where(outside, _share(worth.growth, of_growth), 0.0)
        moved += FLOOR * (below & (worth.growth == 0))
        plain = ~self.exists[rows, None] & np.isnan(of_growth)
        return np.where(plain | np.isinf(worth.broken), worth.broken, moved)

    @property
    def exists(self) -> np.ndarray:
        """Which problems have a floor, shape (problems,)."""
        return np.isfinite(self.floor) | self._no_survival

    def below(self, rows: np.ndarray, worth: Worth) -> np.ndarray:
        """Return which points are no better than a floor, shape (rows, points)."""
        at_floor = worth.value >= self.floor[rows, None]
        return np.asarray(
            self.exists[rows, None] & (at_floor | (self._no_survival[rows, None] & (worth.growth > 0)))
        )


def _typical(values: np.ndarray) -> np.ndarray:
    """Return the median of the positive, finite values of each row; NaN where there are none."""
    kept = np.where((values > 0) & np.isfinite(values), values, np.nan)
    found = np.full(len(values), np.nan)
    some = np.isfinite(kept).any(axis=1)
    found[some] = np.nanmedian(kept[some], axis=1)
    return found


def _share(values: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return values from 0 on as numbers from 0 to 1 in the same order; ``size`` becomes a half."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(values), 1.0, values / (values + np.where(np.isnan(size), 1.0, size)))


@dataclass(frozen=True)
class Worth:
    """What points are worth, in arrays of one shape, (problems, points); each is better where it is smaller.

    Parameters
    ----------
    value, broken : ndarray
        The objective, and by how much constraints are broken; infinite for points that are out of the race.
    tie : ndarray
        What decides between points that are equal in both.
    growth : ndarray
        Rate at which the tumor grows at first, where survival is 0 for that; else 0.
    """

    value: np.ndarray
    broken: np.ndarray
    tie: np.ndarray
    growth: np.ndarray


def ordered(given: Sequence[Any], shape: tuple[int, ...]) -> Worth:
    """Return what points are worth as arrays of a shape; what is undefined is worst of all.

    An objective that is NaN or infinite, of either sign, is undefined: an eradicated tumor has no logarithm,
    and no other can be compared with it.

    Parameters
    ----------
    given : sequence of array_like or None
        Objective; then, where they are given, violation, tie and growth.
    shape : tuple of int

    Raises
    ------
    InputError
        For another shape.
    """
    filled = [*given, None, None, None][:4]
    arrays = [np.zeros(shape) if part is None else np.asarray(part, dtype=float) for part in filled]
    for array in arrays:
        if array.shape != shape:
            raise InputError(f"What the points are worth must have the shape {shape}, not {array.shape}.")
    value, broken, tie, growth = arrays
    lost = ~np.isfinite(value) | np.isnan(broken)
    growth = np.where(np.isfinite(growth), np.maximum(growth, 0.0), 0.0)
    # where survival is 0 and its inverse or logarithm undefined, less growth is still nearer to a survival
    last = np.where(lost, np.where(growth > 0, growth, np.inf), tie)
    return Worth(
        np.where(lost, np.inf, value),
        np.where(lost, np.inf, np.maximum(broken, 0.0)),
        np.where(np.isnan(last), np.inf, last),
        growth,
    )
