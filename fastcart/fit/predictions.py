"""Predictions of measurements, in the order of these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of measurements, those of one solve after the other.

    Parameters
    ----------
    values : ndarray, shape (rows,)
        NaN where a solve failed.
    offsets : ndarray of int, shape (solves + 1,)
    status : ndarray of int, shape (solves,)
        A number of `fastcart.solvers.status.Status`; 0 is ok, -1 where a value was not in its range.
    """

    values: np.ndarray
    offsets: np.ndarray
    status: np.ndarray

    def of(self, solve: int) -> np.ndarray:
        """Return the predictions of one solve."""
        return self.values[self.offsets[solve] : self.offsets[solve + 1]]
