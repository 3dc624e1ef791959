"""Particle swarms, see `fastcart.optimization.swarm`."""

from __future__ import annotations

from fastcart.optimization.methods.base import Evaluate, Optimizer, Search
from fastcart.optimization.progress import Progress
from fastcart.optimization.swarm import Swarms


class ParticleSwarm(Optimizer):
    """Particle swarms, all in step."""

    name = "pso"

    def run(self, search: Search, evaluate: Evaluate) -> Progress:
        swarms = Swarms(
            search.space, iterations=search.iterations, seed=search.seed, settings=search.settings,
            stop=search.stop, start=search.start,
        )  # fmt: skip
        while swarms.active.any():
            rows, points = swarms.ask()
            swarms.tell(*evaluate(rows, points))
        return swarms.progress


METHOD = ParticleSwarm()
