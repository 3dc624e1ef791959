"""The points at which a model is evaluated for a study of sensitivity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Closure:
    """Parameters of a sum that are drawn as weights, and scaled so that the sum is right for every patient.

    Parameters
    ----------
    places : tuple of int
        Which columns of a design.
    total : float
        What they add up to.
    """

    places: tuple[int, ...]
    total: float


@dataclass(frozen=True)
class Design:
    """The points at which a model is evaluated.

    Parameters
    ----------
    method : str
        One of `fastcart.sensitivity_analysis.methods.METHODS`.
    names : tuple of str
        What is varied, k names.
    bounds : ndarray, shape (k, 2)
        Lowest and highest value of each; of an unbounded distribution nearly so.
    n : int
        As asked for; what it counts is up to the method: patients, base points, trajectories, points of a
        search curve.
    x : ndarray, shape (rows, k)
        What the rows are, and which belong together, is up to the method.
    groups : tuple of str, optional
        The group of each name; a name that is in none is one of its own.
    closures : tuple of Closure
        Columns of ``x`` that are weights; see `values`.
    """

    method: str
    names: tuple[str, ...]
    bounds: np.ndarray
    n: int
    x: np.ndarray
    groups: tuple[str, ...] = ()
    closures: tuple[Closure, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """What has an index: the groups in order of their first parameters, else the names."""
        return tuple(dict.fromkeys(self.groups or self.names))

    def values(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return what patients ``start`` to ``stop`` are solved with: ``x``, with weights scaled to sums."""
        values = self.x[start:stop].copy()
        for closure in self.closures:
            places = list(closure.places)
            weights = values[:, places]
            values[:, places] = weights * (closure.total / weights.sum(axis=1, keepdims=True))
        return values
