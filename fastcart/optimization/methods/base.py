"""What every optimizer is given and can do: it asks for batches of points of all problems that still run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastcart.optimization.progress import Progress, StopRule
from fastcart.optimization.space import Space
from fastcart.optimization.swarm import SwarmSettings

# rows and points to objective and violation, then perhaps tie and growth, each of shape (k, points)
Evaluate = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]


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


class Optimizer(ABC):
    """A method that looks for the best point of each problem.

    Attributes
    ----------
    name : str
        As users give it.
    least : int
        Particles, below which it cannot work.
    packages : sequence of str
        What must be installed for it.
    in_step : bool
        Whether a batch holds points of all problems; else one problem follows the other.
    """

    name: ClassVar[str]
    least: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ()
    in_step: ClassVar[bool] = True

    @abstractmethod
    def run(self, search: Search, evaluate: Evaluate) -> Progress:
        """Search; deterministic, given the seed of the search and the answers of ``evaluate``."""


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
