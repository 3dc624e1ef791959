"""Which of two points is better where constraints count too: Deb's rules.

K. Deb, Comput. Methods Appl. Mech. Eng. 186, 311 (2000): what keeps all constraints is better than what
breaks one; of two that keep them the smaller objective is better, of two that break them the smaller
violation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcart.errors import InputError


def is_better(value: Any, broken: Any, than: Any, than_broken: Any, *, or_equal: bool = False) -> np.ndarray:
    """Return whether points are better than others, by Deb's rules."""
    same = (value <= than) if or_equal else (value < than)
    return (broken < than_broken) | ((broken == than_broken) & same)


def best_of(value: np.ndarray, broken: np.ndarray) -> np.ndarray:
    """Return the place of the best point of each row by Deb's rules; of equal ones the first."""
    least = broken == broken.min(axis=1, keepdims=True)
    lowest = np.where(least, value, np.inf)
    # where all of these are infinite, the first of them
    return np.where(lowest.min(axis=1) == np.inf, least.argmax(axis=1), lowest.argmin(axis=1))


def rank(value: np.ndarray, broken: np.ndarray) -> np.ndarray:
    """Return the rank of each point within its row by Deb's rules, from 0 for the best."""
    order = np.lexsort((value, broken), axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None, :], axis=1)
    return ranks


def ordered(objective: Any, violation: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return objective and violation as arrays of a shape; what is NaN is worst of all.

    Raises
    ------
    InputError
        For another shape.
    """
    value = np.asarray(objective, dtype=float)
    broken = np.zeros(shape) if violation is None else np.asarray(violation, dtype=float)
    if value.shape != shape or broken.shape != shape:
        raise InputError(f"What the points are worth must have the shape {shape}, not {value.shape}.")
    lost = np.isnan(value) | np.isnan(broken)
    return np.where(lost, np.inf, value), np.where(lost, np.inf, np.maximum(broken, 0.0))
