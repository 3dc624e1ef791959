"""From natural units to what is integrated: logarithm for marked states, a scale for the others.

A state marked ``log`` is integrated as ``u = ln y`` with ``du/dt = f/y``. Below `LOG_FLOOR` the rate is
taken at the floor, so nothing underflows; an exact zero is kept as the sentinel `LOG_ZERO`, has rate zero,
and comes back as an exact zero.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

LOG_FLOOR = -690.0  # exp(-690) = 1e-300, still a normal number
LOG_ZERO = -1e5  # stands for ln 0
_PIECE = 4096


def to_internal(y: np.ndarray, log: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """Return the integrated variables of natural states ``y`` (patients x states)."""
    internal = np.divide(y, scale)
    columns = np.flatnonzero(log)
    if columns.size:
        natural = y[..., columns]
        logarithm = np.full(natural.shape, LOG_ZERO)
        np.log(natural, where=natural > 0, out=logarithm)
        internal[..., columns] = logarithm
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
    columns = np.flatnonzero(log)  # only these: most states are integrated as they are
    if columns.size:
        natural[..., columns] = _from_log(u[..., columns])
    return natural


def from_log_in_place(u: np.ndarray) -> None:
    """Turn logarithms in one row into the natural values that `to_natural` gives, part by part."""
    with np.errstate(under="ignore"):
        for start in range(0, len(u), _PIECE):
            piece = u[start : start + _PIECE]
            zero = piece == LOG_ZERO
            np.maximum(piece, LOG_FLOOR, out=piece)
            np.exp(piece, out=piece)
            if zero.any():
                piece[zero] = 0.0


def _from_log(u: np.ndarray) -> np.ndarray:
    with np.errstate(under="ignore", over="ignore"):  # infinite ones are named as such
        return np.where(
            u != LOG_ZERO, np.exp(np.maximum(u, LOG_FLOOR)), 0.0
        )  # as the right-hand side sees it


@register_jitable
def kept_share(before: float, now: float, log: bool, scale: float) -> float:
    """Return by what a sensitivity is multiplied where a state jumps: it is measured by the state's size.

    Parameters
    ----------
    before, now : float
        The state as it is integrated.
    log : bool
    scale : float
        In the units of ``before``; see `fastcart.solvers.trace.sensitivities`.
    """
    if not log:
        return np.hypot(scale, before) / np.hypot(scale, now)
    return 0.0 if before == LOG_ZERO else np.exp(before - now)
