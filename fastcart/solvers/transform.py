"""From natural units to what is integrated: logarithm for marked states, a scale for the others.

A state marked ``log`` is integrated as ``u = ln y`` with ``du/dt = f/y``. Below `LOG_FLOOR` the rate is
taken at the floor, so nothing underflows; an exact zero is kept as the sentinel `LOG_ZERO`, has rate zero,
and comes back as an exact zero.
"""

from __future__ import annotations

import numpy as np

LOG_FLOOR = -690.0  # exp(-690) = 1e-300, still a normal number
LOG_ZERO = -1e5  # stands for ln 0


def to_internal(y: np.ndarray, log: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the integrated variables of natural states ``y`` (patients x states)."""
    internal = np.divide(y, scale)
    for j in np.flatnonzero(log):
        alive = y[..., j] > 0
        logarithm = np.full(y.shape[:-1], LOG_ZERO)
        np.log(y[..., j], where=alive, out=logarithm)
        internal[..., j] = logarithm
    return internal


def to_natural(
    u: np.ndarray, log: np.ndarray, scale: np.ndarray | float, *, overwrite: bool = False
) -> np.ndarray:
    """Return natural states of integrated variables ``u`` (last axis: states), or of one state.

    ``overwrite`` allows to put them in the place of ``u``, where no state is scaled.
    """
    if np.ndim(log) == 0:
        return _from_log(u) if log else u * scale
    natural = u if overwrite and np.all(scale == 1.0) else u * scale
    for j in np.flatnonzero(log):  # only these: most states are integrated as they are
        natural[..., j] = _from_log(u[..., j])
    return natural


def _from_log(u: np.ndarray) -> np.ndarray:
    with np.errstate(under="ignore", over="ignore"):  # infinite ones are named as such
        return np.where(
            u != LOG_ZERO, np.exp(np.maximum(u, LOG_FLOOR)), 0.0
        )  # as the right-hand side sees it
