"""What every engine is given and what it gives back: flat arrays, one row per patient."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastcart.model import Model
from fastcart.solvers.status import Status


@dataclass(frozen=True)
class Problem:
    """What is the same for all patients of a batch.

    Parameters
    ----------
    model : Model
    t_end : float
        Horizon; every patient starts at time 0.
    save_at : ndarray
        Sorted times at which the states are kept (may be empty).
    rtol : float
    scale : ndarray, shape (states,)
        The absolute tolerance of a state that is not in logarithm is ``rtol * scale``.
    max_steps : int
    method : str or None
        Variant of the engine, e.g. ``"Radau"`` for ``scipy``.
    max_steps_ahead : float
        Give a patient up early where the present step promises more steps than this to the horizon.
    """

    model: Model
    t_end: float
    save_at: np.ndarray
    rtol: float
    scale: np.ndarray
    max_steps: int
    method: str | None = None
    max_steps_ahead: float = np.inf

    @property
    def log(self) -> np.ndarray:
        """Which states are integrated in logarithm."""
        return np.array([state.log for state in self.model.states])


@dataclass
class ChunkResult:
    """Solutions of one chunk of patients, in natural units."""

    status: np.ndarray
    pfs: np.ndarray
    progression: np.ndarray
    nadir: np.ndarray
    t_nadir: np.ndarray
    final: np.ndarray
    steps: np.ndarray
    rejected: np.ndarray
    rhs_calls: np.ndarray
    t_reached: np.ndarray
    saved: np.ndarray
    engine: np.ndarray | None = field(default=None)

    @classmethod
    def empty(cls, patients: int, problem: Problem) -> ChunkResult:
        """Room for ``patients`` results; all NaN and not run."""
        states = len(problem.model.states)

        def nan(*shape: int) -> np.ndarray:
            return np.full(shape, np.nan)

        def zeros() -> np.ndarray:
            return np.zeros(patients, dtype=np.int64)

        return cls(
            status=np.full(patients, Status.not_run, dtype=np.int8),
            pfs=nan(patients),
            progression=nan(patients),
            nadir=nan(patients),
            t_nadir=nan(patients),
            final=nan(patients, states),
            steps=zeros(),
            rejected=zeros(),
            rhs_calls=zeros(),
            t_reached=np.zeros(patients),
            saved=nan(patients, len(problem.save_at), states),
        )

    def blank_failed(self) -> None:
        """Set the endpoints of patients that were not solved to NaN."""
        failed = self.status != Status.ok
        for values in (self.pfs, self.progression, self.nadir, self.t_nadir, self.final):
            values[failed] = np.nan
        if self.saved.size:
            self.saved[failed] = np.nan
