"""Which of two points is better: Deb's rules where constraints count too, and what leads a search off a floor.

K. Deb, Comput. Methods Appl. Mech. Eng. 186, 311 (2000): what keeps all constraints is better than what
breaks one; of two that keep them the smaller objective is better, of two that break them the smaller
violation. Of two that are equal in both, the smaller ``tie`` is better: a quantity with a slope where the
objective has none.

A floor is the worst objective, where many points share it to the last bit: the survival of all whom no
treatment helps is 0. It has no slope, so a search that finds it allowed and everything better forbidden would
stay there. Being better than the floor therefore counts as one more constraint while a search moves
(`guided`), and the most important one; what it reports goes by Deb's rules alone.
"""

from __future__ import annotations

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
    return (broken < than_broken) | (
        (broken == than_broken) & ((value < than) | ((value == than) & last))
    )


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
    sharing = (known & (value == worst[:, None])).sum(axis=1)
    found = (sharing >= 2) & (sharing >= _FLOOR_SHARE * known.sum(axis=1))
    return np.where(found, worst, np.inf)


def guided(value: np.ndarray, broken: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Return violations by which a search moves: what is no better than the floor has the larger ones.

    Parameters
    ----------
    value, broken : ndarray, shape (rows, points)
        As from `ordered`.
    floor : ndarray, shape (rows,)
        Of these rows, as from `floor_of`.

    Returns
    -------
    ndarray, shape (rows, points)
        The violations themselves in rows without a floor.
    """
    none = np.isinf(floor)[:, None]
    with np.errstate(invalid="ignore"):
        share = np.where(np.isinf(broken), np.inf, broken / (1.0 + broken))
    return np.where(none, broken, share + FLOOR * (value >= floor[:, None]))


def ordered(
    objective: Any, violation: Any, tie: Any, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return objective, violation and tie as arrays of a shape; what is undefined is worst of all.

    An objective that is NaN or infinite, of either sign, is undefined: an eradicated tumor has no logarithm,
    and no other can be compared with it.

    Raises
    ------
    InputError
        For another shape.
    """
    value = np.asarray(objective, dtype=float)
    broken = np.zeros(shape) if violation is None else np.asarray(violation, dtype=float)
    last = np.zeros(shape) if tie is None else np.asarray(tie, dtype=float)
    if value.shape != shape or broken.shape != shape or last.shape != shape:
        raise InputError(f"What the points are worth must have the shape {shape}, not {value.shape}.")
    lost = ~np.isfinite(value) | np.isnan(broken)
    return (
        np.where(lost, np.inf, value),
        np.where(lost, np.inf, np.maximum(broken, 0.0)),
        np.where(lost | np.isnan(last), np.inf, last),
    )
