"""The evolution strategy with covariance matrix adaptation, as in the package cmaes.

References
----------
N. Hansen, A. Ostermeier, Evol. Comput. 9, 159 (2001).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcart.errors import optional_import
from fastcart.optimization.methods.base import Evaluate, Optimizer, Search, Stall
from fastcart.optimization.progress import Progress
from fastcart.optimization.ranking import ordered, rank
from fastcart.optimization.swarm import generator

_SIGMA = 0.3  # first standard deviation in the unit cube, as its author advises: a third of the box


class CMAES(Optimizer):
    """CMA-ES, all problems in step; it sees ranks by Deb's rules, which is all that it uses."""

    name = "cmaes"
    least = 4
    packages = ("cmaes",)

    def run(self, search: Search, evaluate: Evaluate) -> Progress:
        cmaes = optional_import("cmaes", extra="optimize", purpose="The method 'cmaes'")
        space, size = search.space, search.settings.particles
        n = space.dimensions
        first = np.full((space.problems, 1, n), 0.5)
        if search.start is not None:
            first = space.to_unit(search.start[:, None, :])
        box = np.tile([0.0, 1.0], (n, 1))
        streams = [generator(search.seed, k) for k in range(space.problems)]

        def begin(k: int, mean: np.ndarray) -> Any:
            return cmaes.CMA(
                mean, _SIGMA, bounds=box, population_size=size, seed=int(streams[k].integers(2**31))
            )

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


METHOD = CMAES()
