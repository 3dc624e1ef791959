"""Differential evolution, as in SciPy.

References
----------
R. Storn, K. Price, J. Global Optim. 11, 341 (1997).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcart.optimization.methods.base import Evaluate, Optimizer, Search, Stall, latin_hypercube
from fastcart.optimization.progress import Progress
from fastcart.optimization.ranking import FLOOR, ordered
from fastcart.optimization.swarm import generator

_BROKEN = 1e100  # where points that break constraints begin; larger than any objective


class DifferentialEvolution(Optimizer):
    """SciPy's differential evolution, one problem after the other."""

    name = "de"
    least = 5  # SciPy's own limit
    in_step = False

    def run(self, search: Search, evaluate: Evaluate) -> Progress:
        progress = Progress(search.space.problems, search.space.dimensions, search.stop)
        for k in range(search.space.problems):
            _evolve(search, evaluate, progress, k)
        return progress


METHOD = DifferentialEvolution()


def _evolve(search: Search, evaluate: Evaluate, progress: Progress, k: int) -> None:
    """Run differential evolution on one problem."""
    from scipy.optimize import differential_evolution as evolve

    space, size = search.space, search.settings.particles
    n = space.dimensions
    row = np.array([k])
    rng = generator(search.seed, k)
    first = latin_hypercube(rng, size, n)
    if search.start is not None:
        first[0] = space.to_unit(search.start[row][:, None, :], row)[0, 0]

    stall = Stall()

    def worth(unit: np.ndarray) -> np.ndarray:
        natural = space.repair(space.to_natural(unit.T[None], row), row)
        found = ordered(evaluate(row, natural), natural.shape[:2])
        progress.update(row, natural, found)
        energy = as_one_number(found.value, progress.lead(row, found), found.tie)[0]
        stall.see((float(energy.min()),))
        return energy

    def stopped(intermediate_result: Any) -> bool:
        return bool(progress.stopped[k]) or stuck()

    def stuck() -> bool:
        return bool(progress.astray(k, stall.since))

    while True:
        left = search.iterations - int(progress.iterations[k])
        evolve(
            worth, [(0.0, 1.0)] * n, maxiter=left - 1, init=first, rng=rng, tol=0.0, atol=0.0,
            vectorized=True, updating="deferred", polish=False, callback=stopped,
        )  # fmt: skip
        if progress.stopped[k] or not stuck() or progress.iterations[k] >= search.iterations:
            break
        first, stall = latin_hypercube(rng, size, n), Stall()
    if progress.iterations[k] < search.iterations and not progress.reason[k]:
        progress.reason[k] = "converged"


def as_one_number(value: np.ndarray, broken: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """Return numbers in the order of violations as from `Lead`, then objectives, then ties.

    For methods that only compare.

    Ties count on a floor only: elsewhere equal objectives are equal numbers.
    """
    with np.errstate(invalid="ignore"):
        share = np.where(np.isinf(broken), 4.0, broken / (1.0 + broken))
        last = np.where(np.isinf(tie), 1.0, 0.5 + np.arctan(tie) / np.pi)
    kept = np.minimum(value, _BROKEN)
    share = share - np.where(broken == FLOOR, 0.1 * (1.0 - last), 0.0)
    return np.where(broken > 0, _BROKEN * (1.0 + share), kept)
