"""What a rule sees at a visit of an adaptive arm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Visit:
    """What is known at a visit: the measured history of each patient, and what was infused.

    Every array has one row per patient; the last column is this visit, the first one the baseline of day 0.

    Parameters
    ----------
    index : int
        Number of this visit; day 0 is 0.
    days : ndarray, shape (visits so far,)
    burdens : ndarray, shape (patients, visits so far)
        Measured leukemia cells L + R, with the noise of the assay.
    il6_levels : ndarray, shape (patients, visits so far)
        Serum IL-6, pg/mL.
    effectors_given, memory_given : ndarray, shape (patients, visits so far)
        Fractions of the budgets that were infused; zero in the last column, which is being decided.
    rows : ndarray of int, shape (patients,)
        Places of these patients in the table of all; those whose budget is used up come no more.
    """

    index: int
    days: np.ndarray
    burdens: np.ndarray
    il6_levels: np.ndarray
    effectors_given: np.ndarray
    memory_given: np.ndarray
    rows: np.ndarray

    @property
    def day(self) -> float:
        """Day of this visit."""
        return float(self.days[-1])

    @property
    def burden(self) -> np.ndarray:
        """Burden measured now."""
        return self.burdens[:, -1]

    @property
    def baseline(self) -> np.ndarray:
        """Burden measured on day 0."""
        return self.burdens[:, 0]

    @property
    def il6(self) -> np.ndarray:
        """IL-6 measured now."""
        return self.il6_levels[:, -1]

    @property
    def effectors_total(self) -> np.ndarray:
        """Fraction of the effector budget given so far."""
        return self.effectors_given.sum(axis=1)

    @property
    def memory_total(self) -> np.ndarray:
        """Fraction of the memory budget given so far."""
        return self.memory_given.sum(axis=1)

    @property
    def effector_infusions(self) -> np.ndarray:
        """Number of infusions of effectors so far."""
        return (self.effectors_given > 0).sum(axis=1)

    @property
    def last_effectors(self) -> np.ndarray:
        """Day of the last infusion of effectors; minus infinity before the first one."""
        return np.where(self.effectors_given > 0, self.days, -np.inf).max(axis=1)


Rule = Callable[[Visit], tuple[Any, Any]]
