"""How a search goes on: the best point of each problem, when to stop, and a history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import count, number
from fastcart.errors import InputError
from fastcart.optimization.ranking import Lead, Worth, best_of, is_better

TIME_ON_FLOOR = 6  # iterations after which a search that is still on a floor begins anew
PATIENCE_ON_FLOOR = 10  # the same without any improvement


@dataclass(frozen=True)
class StopRule:
    """When the search of a problem ends before its last iteration.

    Parameters
    ----------
    target : float, optional
        An objective (to be minimised) that is good enough, at a point that keeps all constraints.
    patience : int, optional
        So many iterations without an improvement by more than ``tolerance``.
    tolerance : float
        Relative improvement that still counts.
    """

    target: float | None = None
    patience: int | None = None
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.target is not None:
            number(self.target, "The target")
        if self.patience is not None:
            count(self.patience, "The patience")
        if number(self.tolerance, "The tolerance") < 0:
            raise InputError(f"The tolerance must not be negative, not {self.tolerance:g}.")


class Progress:
    """Best points of many problems, and what happened on the way.

    Parameters
    ----------
    problems, dimensions : int
    stop : StopRule, optional

    Attributes
    ----------
    point : ndarray, shape (problems, dimensions)
        Best point of each problem so far, by Deb's rules.
    objective, violation, tie : ndarray, shape (problems,)
        Of that point; the objective is minimised.
    lead : Lead
        What leads a search off a floor of the objective.
    evaluations, iterations : ndarray of int, shape (problems,)
    reason : ndarray of object, shape (problems,)
        Why a problem stopped: ``"target"``, ``"patience"``, or empty.
    """

    def __init__(self, problems: int, dimensions: int, stop: StopRule | None = None):
        self.stop = stop or StopRule()
        self.point = np.full((problems, dimensions), np.nan)
        self.objective = np.full(problems, np.inf)
        self.violation = np.full(problems, np.inf)
        self.tie = np.full(problems, np.inf)
        self.lead = Lead(problems)
        self._below = np.zeros(problems, dtype=bool)  # whether the best point is no better than a floor
        self._grows = np.zeros(problems, dtype=bool)  # whether all patients progress at once there
        self.evaluations = np.zeros(problems, dtype=np.int64)
        self.iterations = np.zeros(problems, dtype=np.int64)
        self.reason = np.full(problems, "", dtype=object)
        self._mark = np.full((problems, 2), np.inf)  # violation and objective of the last real improvement
        self._stalled = np.zeros(problems, dtype=np.int64)
        self._history: list[dict[str, np.ndarray]] = []

    @property
    def stopped(self) -> np.ndarray:
        """Which problems have met a stop rule, shape (problems,)."""
        return self.reason != ""

    @property
    def on_floor(self) -> np.ndarray:
        """Which problems have a floor and no allowed point better than it so far, shape (problems,)."""
        return self.lead.exists & (self._below | (self.violation > 0))

    def astray(self, rows: Any, since: Any, age: Any = 0) -> np.ndarray:
        """Return which searches on a floor had better begin anew.

        Parameters
        ----------
        rows : int or ndarray of int
            Problems.
        since, age : int or ndarray of int
            Iterations since each found a better point or one with a better tie, and since it began; without
            the latter it has all the time that it needs.
        """
        known = self._grows[rows] | (self.violation[rows] > 0)  # a floor indeed, not the best that there is
        return np.asarray(
            self.on_floor[rows] & ((since >= PATIENCE_ON_FLOOR) | (known & (age >= TIME_ON_FLOOR)))
        )

    def update(self, rows: np.ndarray, points: np.ndarray, worth: Worth) -> None:
        """Take a batch of evaluated points.

        Parameters
        ----------
        rows : ndarray of int, shape (k,)
        points : ndarray, shape (k, points, dimensions)
        worth : Worth
            Arrays of shape (k, points), as from `fastcart.optimization.ranking.ordered`.
        """
        objective, violation, tie = worth.value, worth.broken, worth.tie
        k = np.arange(len(rows))
        first = self.iterations[rows] == 0
        if first.any():
            parts = (part[first] for part in (objective, violation, tie, worth.growth))
            self.lead.begin(rows[first], Worth(*parts))
        best = best_of(objective, violation, tie)
        value, broken, last = objective[k, best], violation[k, best], tie[k, best]
        old, old_broken, old_tie = self.objective[rows], self.violation[rows], self.tie[rows]
        better = is_better(value, broken, old, old_broken, tie=last, than_tie=old_tie)
        better |= np.isnan(self.point[rows]).any(axis=1)
        self.point[rows] = np.where(better[:, None], points[k, best], self.point[rows])
        self.objective[rows] = np.where(better, value, old)
        self.violation[rows] = np.where(better, broken, old_broken)
        self._below[rows] = np.where(better, self.lead.below(rows, worth)[k, best], self._below[rows])
        self._grows[rows] = np.where(better, worth.growth[k, best] > 0, self._grows[rows])
        self.tie[rows] = np.where(better, last, old_tie)
        self.evaluations[rows] += objective.shape[1]
        self.iterations[rows] += 1
        kept = np.isfinite(objective) & (violation == 0)
        number_kept = kept.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(kept, objective, 0.0).sum(axis=1) / number_kept
        self._history.append({
            "row": rows.copy(), "iteration": self.iterations[rows], "evaluations": self.evaluations[rows],
            "objective": self.objective[rows], "violation": self.violation[rows],
            "feasible": number_kept / objective.shape[1], "mean": mean,
        })  # fmt: skip
        self._judge(rows)

    def _judge(self, rows: np.ndarray) -> None:
        """Apply the stop rules."""
        value, broken = self.objective[rows], self.violation[rows]
        mark_broken, mark = self._mark[rows].T
        with np.errstate(invalid="ignore"):
            gain = np.where(np.isinf(mark), np.inf, mark - value)
            real_gain = (broken < mark_broken) | (
                (broken == mark_broken) & (gain > self.stop.tolerance * np.abs(value)) & np.isfinite(value)
            )
        self._mark[rows] = np.where(real_gain[:, None], np.stack([broken, value], axis=1), self._mark[rows])
        self._stalled[rows] = np.where(real_gain, 0, self._stalled[rows] + 1)
        if self.stop.patience is not None:
            self.reason[rows[self._stalled[rows] >= self.stop.patience]] = "patience"
        if self.stop.target is not None:
            self.reason[rows[(value <= self.stop.target) & (broken == 0)]] = "target"

    def history(self) -> pd.DataFrame:
        """Return a table with a row for each problem and iteration.

        Columns: ``row``, ``iteration``, ``evaluations`` (so far), ``objective`` and ``violation`` of the best
        point so far, ``feasible`` (share of the points of this iteration that keep all constraints), ``mean``
        (of their objectives).
        """
        names: Sequence[str] = list(self._history[0]) if self._history else ["row", "iteration"]
        parts = {name: [entry[name] for entry in self._history] for name in names}
        frame = pd.DataFrame({name: np.concatenate(part) if part else [] for name, part in parts.items()})
        return frame.sort_values(["row", "iteration"], kind="stable", ignore_index=True)
