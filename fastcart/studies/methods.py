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
from fastcart.studies.progress import Progress, StopRule
from fastcart.studies.ranking import ordered, rank
from fastcart.studies.space import Space
from fastcart.studies.swarm import Swarms, SwarmSettings, generator

# rows and points to objective and violation, both of shape (k, points)
Evaluate = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

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
    space, size = search.space, max(4, search.settings.particles)
    n = space.dimensions
    first = np.full((space.problems, 1, n), 0.5)
    if search.start is not None:
        first = space.to_unit(search.start[:, None, :])
    box = np.tile([0.0, 1.0], (n, 1))
    optimizers = [
        cmaes.CMA(
            first[k, 0], _SIGMA, bounds=box, population_size=size,
            seed=int(generator(search.seed, k).integers(2**31)),
        )
        for k in range(space.problems)
    ]  # fmt: skip
    progress = Progress(space.problems, n, search.stop)
    for iteration in range(search.iterations):
        rows = np.flatnonzero(~progress.stopped)
        if not rows.size:
            break
        unit = np.array([[optimizers[k].ask() for _ in range(size)] for k in rows])
        if iteration == 0 and search.start is not None:
            unit[:, 0] = first[:, 0]
        natural = space.repair(space.to_natural(unit, rows), rows)
        told = space.to_unit(natural, rows) if space.constrained else unit
        value, broken = ordered(*evaluate(rows, natural), natural.shape[:2])
        progress.update(rows, natural, value, broken)
        ranks = rank(value, broken)
        for place, k in enumerate(rows):
            optimizers[k].tell([(told[place, i], float(ranks[place, i])) for i in range(size)])
            if optimizers[k].should_stop() and not progress.reason[k]:
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

    space, size = search.space, max(5, search.settings.particles)
    n = space.dimensions
    row = np.array([k])
    rng = generator(search.seed, k)
    strata = np.argsort(rng.random((size, n)), axis=0)
    first = (strata + rng.random((size, n))) / size
    if search.start is not None:
        first[0] = space.to_unit(search.start[row][:, None, :], row)[0, 0]

    def worth(unit: np.ndarray) -> np.ndarray:
        natural = space.repair(space.to_natural(unit.T[None], row), row)
        value, broken = ordered(*evaluate(row, natural), natural.shape[:2])
        progress.update(row, natural, value, broken)
        return as_one_number(value[0], broken[0])

    def stopped(intermediate_result: Any) -> bool:
        return bool(progress.stopped[k])

    evolve(
        worth, [(0.0, 1.0)] * n, maxiter=search.iterations - 1, init=first, rng=rng, tol=0.0, atol=0.0,
        vectorized=True, updating="deferred", polish=False, callback=stopped,
    )  # fmt: skip
    if progress.iterations[k] < search.iterations and not progress.reason[k]:
        progress.reason[k] = "converged"


def as_one_number(value: np.ndarray, broken: np.ndarray) -> np.ndarray:
    """Return numbers in the order of Deb's rules, for methods that only compare."""
    with np.errstate(invalid="ignore"):
        share = np.where(np.isinf(broken), 1.0, broken / (1.0 + broken))
    kept = np.minimum(value, _BROKEN)
    return np.where(broken > 0, _BROKEN * (1.0 + share), kept)


METHODS: dict[str, Callable[[Search, Evaluate], Progress]] = {
    "pso": particle_swarm,
    "cmaes": cma_es,
    "de": differential_evolution,
}
