"""Optimizers behind one call: each asks for batches of points of all problems that still run.

References
----------
N. Hansen, A. Ostermeier, Evol. Comput. 9, 159 (2001): CMA-ES, as in the package cmaes.
R. Storn, K. Price, J. Global Optim. 11, 341 (1997): differential evolution, as in SciPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastcart.errors import optional_import
from fastcart.optimization.progress import Progress, StopRule
from fastcart.optimization.ranking import FLOOR, ordered, rank
from fastcart.optimization.space import Space
from fastcart.optimization.swarm import Swarms, SwarmSettings, generator

# rows and points to objective and violation, then perhaps tie and growth, each of shape (k, points)
Evaluate = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]

LEAST = {"cmaes": 4, "de": 5}  # particles, below which a method cannot work; SciPy's own limit is 5
_SIGMA = 0.3  # first standard deviation of CMA-ES in the unit cube, as its author advises: a third of the box
_BROKEN = 1e100  # where points that break constraints begin; larger than any objective


@dataclass(frozen=True)
class Search:
    """What every method is given.

    Parameters
    ----------
    space : Space
    iterations : int
        Batches of each problem, at most.
    seed : int
    settings : SwarmSettings
        Of the swarm; the other methods take its number of particles as the size of their population.
    stop : StopRule
    start : ndarray, shape (problems, dimensions), or None
        A first guess.
    """

    space: Space
    iterations: int
    seed: int
    settings: SwarmSettings
    stop: StopRule
    start: np.ndarray | None = None


def particle_swarm(search: Search, evaluate: Evaluate) -> Progress:
    """Run particle swarms, all in step."""
    swarms = Swarms(
        search.space, iterations=search.iterations, seed=search.seed, settings=search.settings,
        stop=search.stop, start=search.start,
    )  # fmt: skip
    while swarms.active.any():
        rows, points = swarms.ask()
        swarms.tell(*evaluate(rows, points))
    return swarms.progress


def cma_es(search: Search, evaluate: Evaluate) -> Progress:
    """Run CMA-ES, all problems in step; it sees ranks by Deb's rules, which is all that it uses."""
    cmaes = optional_import("cmaes", extra="optimize", purpose="The method 'cmaes'")
    space, size = search.space, search.settings.particles
    n = space.dimensions
    first = np.full((space.problems, 1, n), 0.5)
    if search.start is not None:
        first = space.to_unit(search.start[:, None, :])
    box = np.tile([0.0, 1.0], (n, 1))
    streams = [generator(search.seed, k) for k in range(space.problems)]

    def begin(k: int, mean: np.ndarray) -> Any:
        return cmaes.CMA(mean, _SIGMA, bounds=box, population_size=size, seed=int(streams[k].integers(2**31)))

    optimizers = [begin(k, first[k, 0]) for k in range(space.problems)]
    progress = Progress(space.problems, n, search.stop)
    stalls = [Stall() for _ in range(space.problems)]
    for iteration in range(search.iterations):
        rows = np.flatnonzero(~progress.stopped)
        if not rows.size:
            break
        unit = np.array([[optimizers[k].ask() for _ in range(size)] for k in rows])
        if iteration == 0 and search.start is not None:
            unit[:, 0] = first[:, 0]
        natural = space.repair(space.to_natural(unit, rows), rows)
        told = space.to_unit(natural, rows) if space.constrained else unit
        worth = ordered(evaluate(rows, natural), natural.shape[:2])
        progress.update(rows, natural, worth)
        moved = progress.lead(rows, worth)
        ranks = rank(worth.value, moved, worth.tie)
        best = ranks.argmin(axis=1)
        for place, k in enumerate(rows):
            optimizers[k].tell([(told[place, i], float(ranks[place, i])) for i in range(size)])
            one = place, best[place]
            stalls[k].see((float(moved[one]), float(worth.value[one]), float(worth.tie[one])))
            done = optimizers[k].should_stop()
            if progress.astray(int(k), stalls[k].since) or (done and progress.on_floor[k]):
                optimizers[k] = begin(int(k), streams[k].random(n))
                stalls[k] = Stall()
            elif done and not progress.reason[k]:
                progress.reason[k] = "converged"
    return progress


def differential_evolution(search: Search, evaluate: Evaluate) -> Progress:
    """Run SciPy's differential evolution, one problem after the other."""
    progress = Progress(search.space.problems, search.space.dimensions, search.stop)
    for k in range(search.space.problems):
        _evolve(search, evaluate, progress, k)
    return progress


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


class Stall:
    """How many iterations a search has gone without a better point since it began (anew)."""

    def __init__(self) -> None:
        self.since = 0
        self._best: tuple[float, ...] | None = None

    def see(self, best: tuple[float, ...]) -> None:
        """Take what the best point of an iteration is worth, in the order of its keys."""
        if self._best is None or best < self._best:
            self.since, self._best = 0, best
        else:
            self.since += 1


def latin_hypercube(rng: np.random.Generator, points: int, dimensions: int) -> np.ndarray:
    """Return points of the unit cube, one in each of as many strata of every variable."""
    strata = np.argsort(rng.random((points, dimensions)), axis=0)
    return np.asarray((strata + rng.random((points, dimensions))) / points)


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


METHODS: dict[str, Callable[[Search, Evaluate], Progress]] = {
    "pso": particle_swarm,
    "cmaes": cma_es,
    "de": differential_evolution,
}
