"""Particle swarms, many at once: ask for points, tell what they are worth.

All swarms move together as arrays of shape (swarms, particles, dimensions), so that the points of all of them
can be evaluated as one batch. Each swarm draws from a stream of random numbers of its own, which follows from
the seed and the number of the swarm alone, and draws as many in every iteration: a swarm does the same
whatever the others do.

References
----------
J. Kennedy, R. Eberhart, Particle swarm optimization, Proc. ICNN (1995).
Y. Shi, R. Eberhart, A modified particle swarm optimizer, Proc. CEC (1998): inertia that falls with time.
M. Clerc, J. Kennedy, IEEE Trans. Evol. Comput. 6, 58 (2002): constriction.
K. Deb, Comput. Methods Appl. Mech. Eng. 186, 311 (2000): comparing points that break constraints.
Z.-H. Zhan et al., IEEE Trans. SMC B 39, 1362 (2009): mutating the best particle; the mutation is polynomial
as in K. Deb, M. Goyal, Comput. Sci. Inform. 26, 30 (1996).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from fastcart.checks import count, is_whole, number, seed_of, shown
from fastcart.errors import InputError, nearest
from fastcart.optimization.progress import Progress, StopRule
from fastcart.optimization.ranking import best_of, is_better, ordered, rank
from fastcart.optimization.space import Space
from fastcart.solvers.compile import EXACT, cached
from fastcart.typing_names import Topology

TOPOLOGIES = ("global", "ring")
_BOUNCE = 0.5  # share of the velocity that a particle keeps when it meets the end of the box
_CROSSED = 0.5  # of the particles of a swarm that began on a floor; they start from one of the best
_TOP = 0.3  # of these, as in J. Zhang, A. C. Sanderson, IEEE Trans. Evol. Comput. 13, 945 (2009)
_MUTATION_INDEX = (5.0, 30.0)  # of the polynomial mutation, drawn log-uniformly: large means small steps


@dataclass(frozen=True)
class SwarmSettings:
    """How particles move.

    Parameters
    ----------
    particles : int
        In each swarm.
    inertia : float, (float, float), callable or "constriction"
        Share of the velocity that is kept: constant, falling from the first to the second number over the
        iterations, a function of the progress from 0 to 1, or the factor of Clerc & Kennedy, which scales
        the whole step and follows from ``cognitive + social``, then more than 4.
    cognitive, social : float
        Largest pull towards the particle's own best point and towards that of its neighbours.
    topology : {'global', 'ring'}
        Neighbours: the whole swarm, or ``neighbours`` particles on each side.
    neighbours : int
    velocity_limit : float
        Largest step of one variable, as a share of the box.
    mutate_best : bool
        Put a mutant of the swarm's best point in place of its best particle's next point.
    restarts : int
        How often a swarm may begin anew after ``restart_after`` iterations without a better point; its best
        point is kept as the result, and the particles forget it. A swarm that is still on a floor of the
        objective (see `fastcart.optimization.ranking`) begins anew every few iterations.
    restart_after : int
    """

    particles: int = 25
    inertia: Any = (0.8, 0.3)
    cognitive: float = 1.49618
    social: float = 1.49618
    topology: Topology = "global"
    neighbours: int = 1
    velocity_limit: float = 0.2
    mutate_best: bool = True
    restarts: int = 0
    restart_after: int = 20

    def __post_init__(self) -> None:
        count(self.particles, "The number of particles")
        count(self.neighbours, "The number of neighbours")
        count(self.restart_after, "The number of iterations before a restart")
        if not is_whole(self.restarts) or self.restarts < 0:
            raise InputError(f"The number of restarts must be a whole number, not {shown(self.restarts)}.")
        for name in ("cognitive", "social", "velocity_limit"):
            value = number(getattr(self, name), f"The setting {name!r} of the swarm")
            if value < 0 or (name == "velocity_limit" and value == 0):
                raise InputError(f"The setting {name!r} of the swarm must be positive, not {value:g}.")
        if self.topology not in TOPOLOGIES:
            raise InputError(
                f"There is no topology {shown(self.topology)}." + nearest(self.topology, TOPOLOGIES)
            )
        self.factors(0.0)

    def factors(self, progress: float) -> tuple[float, float]:
        """Return inertia and constriction at a progress from 0 to 1."""
        if isinstance(self.inertia, str):
            phi = self.cognitive + self.social
            if self.inertia != "constriction" or phi <= 4:
                raise InputError(
                    "The inertia of the swarm must be a number, two numbers, a function or 'constriction', "
                    f"and constriction needs cognitive + social > 4; given are {self.inertia!r} and {phi:g}."
                )
            return 1.0, 2.0 / (phi - 2.0 + np.sqrt(phi * phi - 4.0 * phi))
        if callable(self.inertia):
            return number(self.inertia(progress), "The inertia of the swarm"), 1.0
        if isinstance(self.inertia, tuple | list) and len(self.inertia) == 2:
            first, last = (number(value, "The inertia of the swarm") for value in self.inertia)
            return first + (last - first) * progress, 1.0
        return number(self.inertia, "The inertia of the swarm"), 1.0


class _Particles(NamedTuple):
    """Those of all swarms, in the unit cube; shape (swarms, particles, dimensions)."""

    u: np.ndarray  # positions
    velocity: np.ndarray
    own: np.ndarray  # the best position of each so far


class Swarms:
    """Swarms that minimise, one for each problem of a space.

    Parameters
    ----------
    space : Space
    iterations : int
        Longest run; schedules of inertia end there.
    seed : int
    settings : SwarmSettings, optional
    stop : StopRule, optional
        When a swarm ends before.
    start : ndarray, shape (problems, dimensions), optional
        A first guess in natural units, in place of the first point of each swarm.

    Attributes
    ----------
    progress : Progress
        Best points, and the history.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcart.optimization.space import Space
    >>> from fastcart.optimization.swarm import Swarms
    >>> swarms = Swarms(Space([-5, -5], [5, 5], problems=3), iterations=100, seed=1)
    >>> while swarms.active.any():
    ...     rows, points = swarms.ask()
    ...     swarms.tell((points**2).sum(axis=-1))
    >>> bool((swarms.progress.objective < 1e-8).all())
    True
    """

    def __init__(
        self,
        space: Space,
        *,
        iterations: int,
        seed: int,
        settings: SwarmSettings | None = None,
        stop: StopRule | None = None,
        start: np.ndarray | None = None,
    ):
        self.space = space
        self.settings = settings or SwarmSettings()
        self.iterations = count(iterations, "The number of iterations")
        self.seed = seed_of(seed)
        self.iteration = 0
        self.progress = Progress(space.problems, space.dimensions, stop)
        self._start = None if start is None else space.to_unit(start[:, None, :])[:, 0]
        shape = (space.problems, self.settings.particles)
        self._u = np.zeros((*shape, space.dimensions))  # positions in the unit cube
        self._velocity = np.zeros_like(self._u)
        self._own_u = np.zeros_like(self._u)
        self._own = np.full(shape, np.inf)
        self._own_violation = np.full(shape, np.inf)
        self._own_tie = np.full(shape, np.inf)
        self._restarts = np.zeros(space.problems, dtype=int)
        self._since = np.zeros(space.problems, dtype=int)  # iterations since a better point or a restart
        self._age = np.zeros(space.problems, dtype=int)  # iterations since the start or a restart
        self._best = np.full((space.problems, 3), np.inf)  # violation, objective, tie since the restart
        self._asked: tuple[np.ndarray, np.ndarray] | None = None
        self._streams = [generator(self.seed, row) for row in range(space.problems)]

    @property
    def active(self) -> np.ndarray:
        """Which swarms go on, shape (swarms,)."""
        if self.iteration >= self.iterations:
            return np.zeros(self.space.problems, dtype=bool)
        return ~self.progress.stopped

    def ask(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the swarms that go on, shape (k,), and their points, (k, particles, dimensions)."""
        rows = np.flatnonzero(self.active)
        moves, spread, mutation = self._draws(rows)
        anew = self._since[rows] >= self.settings.restart_after
        anew &= self._restarts[rows] < self.settings.restarts
        self._restarts[rows[anew]] += 1
        anew |= self.progress.astray(rows, self._since[rows], self._age[rows])
        if self.iteration == 0:
            anew[:] = True
        self._begin(rows[anew], moves[anew])
        self._move(rows[~anew], moves[~anew], mutation[~anew])
        if self.iteration == 0 and self._start is not None:
            self._u[rows, 0] = self._start[rows]
        natural = self.space.to_natural(self._u[rows], rows)
        if self.space.constrained:
            # first points are spread between the interior point and the constraint, evenly in volume
            spread = np.where(anew[:, None], spread ** (1.0 / self.space.dimensions), 1.0)
            if self._start is not None:
                spread[:, 0] = 1.0
            natural = self.space.repair(natural, rows, spread)
            self._u[rows] = self.space.to_unit(natural, rows)
        self._asked = rows, natural
        return rows, natural

    def tell(self, objective: Any, violation: Any = None, tie: Any = None, growth: Any = None) -> None:
        """Take what the asked points are worth.

        Parameters
        ----------
        objective : array_like, shape (k, particles)
            To be minimised; NaN and infinity of either sign count as worst.
        violation : array_like, shape (k, particles), optional
            By how much a point breaks nonlinear constraints; 0 where it keeps them. By Deb's rules what keeps
            them is better than what breaks them, and among those that do, the smaller violation.
        tie : array_like, shape (k, particles), optional
            What decides between points that are equal in both; the smaller is better.
        growth : array_like, shape (k, particles), optional
            Rate at which a tumor grows at first where survival is 0 for that, else 0: leads off a floor.
        """
        if self._asked is None:
            raise InputError("Ask the swarms for points before telling what they are worth.")
        rows, natural = self._asked
        worth = ordered((objective, violation, tie, growth), natural.shape[:2])
        self._asked = None
        self.progress.update(rows, natural, worth)
        value, broken, tie = worth.value, self.progress.lead(rows, worth), worth.tie
        better = is_better(
            value, broken, self._own[rows], self._own_violation[rows], tie=tie, than_tie=self._own_tie[rows],
            or_equal=True,
        )  # fmt: skip
        self._own[rows] = np.where(better, value, self._own[rows])
        self._own_violation[rows] = np.where(better, broken, self._own_violation[rows])
        self._own_tie[rows] = np.where(better, tie, self._own_tie[rows])
        self._own_u[rows] = np.where(better[..., None], self._u[rows], self._own_u[rows])
        best = best_of(value, broken, tie)
        k = np.arange(len(rows))
        now = np.stack([broken[k, best], value[k, best], tie[k, best]], axis=1)
        old = self._best[rows]
        improved = is_better(now[:, 1], now[:, 0], old[:, 1], old[:, 0], tie=now[:, 2], than_tie=old[:, 2])
        self._best[rows] = np.where(improved[:, None], now, old)
        self._since[rows] = np.where(improved, 0, self._since[rows] + 1)
        self._age[rows] += 1
        self.iteration += 1

    def _draws(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the uniform numbers of this iteration.

        Shapes (k, particles, 3, dimensions) for the moves, (k, particles) for the spread of first points,
        (k, 2 dimensions + 1) for the mutation.
        """
        particles, dimensions = self.settings.particles, self.space.dimensions
        sizes = np.cumsum([particles * 3 * dimensions, particles, 2 * dimensions + 1])
        drawn = np.empty((len(rows), sizes[-1]))
        for place, row in enumerate(rows):
            self._streams[row].random(out=drawn[place])
        moves, spread, mutation = np.split(drawn, sizes[:-1], axis=1)
        return moves.reshape(len(rows), particles, 3, dimensions), spread, mutation

    def _begin(self, rows: np.ndarray, moves: np.ndarray) -> None:
        """Place the particles as a Latin hypercube, with random velocities."""
        if not rows.size:
            return
        strata = np.argsort(moves[:, :, 0], axis=1)
        self._u[rows] = (strata + moves[:, :, 1]) / self.settings.particles
        self._velocity[rows] = (2.0 * moves[:, :, 2] - 1.0) * self.settings.velocity_limit
        self._own[rows] = self._own_violation[rows] = self._own_tie[rows] = np.inf
        self._best[rows] = np.inf
        self._since[rows] = self._age[rows] = 0

    def _move(self, rows: np.ndarray, moves: np.ndarray, mutation: np.ndarray) -> None:
        if not rows.size:
            return
        options = self.settings
        factors = options.factors(self.iteration / max(1, self.iterations - 1))
        pulls = (options.cognitive, options.social)
        best = best_of(self._own[rows], self._own_violation[rows], self._own_tie[rows])
        particles = _Particles(self._u, self._velocity, self._own_u)
        _step()(rows, particles, self._leaders(rows, best), moves, factors, pulls, options.velocity_limit)
        self._cross(rows, moves)
        if options.mutate_best:
            self._u[rows, best] = mutate(self._own_u[rows, best], mutation)

    def _cross(self, rows: np.ndarray, moves: np.ndarray) -> None:
        """Put the worst particles of swarms that began on a floor beside good ones.

        They step from the best point of a good particle by the difference of those of two others, as in
        differential evolution: the points above a floor are few and lie along its edge, not around one
        another, and there may be several such regions.
        """
        here = np.flatnonzero(self.progress.lead.exists[rows])
        number = int(_CROSSED * self.settings.particles)
        if not here.size or not number:
            return
        swarm = rows[here, None]
        order = rank(self._own[rows[here]], self._own_violation[rows[here]], self._own_tie[rows[here]])
        worst = np.argsort(-order, axis=1, kind="stable")[:, :number]
        draws = moves[here[:, None], worst]
        one, other = ((draws[..., j, 0] * order.shape[1]).astype(int) for j in (0, 1))
        good = (draws[..., 0, -1] * max(1.0, _TOP * order.shape[1])).astype(int)
        base = np.take_along_axis(np.argsort(order, axis=1, kind="stable"), good, axis=1)
        step = self._own_u[swarm, one] - self._own_u[swarm, other]
        length = 0.2 + 0.8 * draws[..., 2, :1]
        self._u[swarm, worst] = np.clip(self._own_u[swarm, base] + length * step, 0.0, 1.0)

    def _leaders(self, rows: np.ndarray, best: np.ndarray) -> np.ndarray:
        """Return for each particle which one of its neighbours has the best point, shape (k, particles)."""
        particles = self.settings.particles
        reach = min(self.settings.neighbours, (particles - 1) // 2)
        if self.settings.topology == "global":
            return np.repeat(best[:, None], particles, axis=1)
        order = rank(self._own[rows], self._own_violation[rows], self._own_tie[rows])
        around = np.array([(np.arange(particles) + k) % particles for k in range(-reach, reach + 1)])
        choice = order[:, around].argmin(axis=1)
        return around[choice, np.arange(particles)]


def mutate(point: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return points of the unit cube with one variable or a few moved, by the polynomial mutation.

    Parameters
    ----------
    point : ndarray, shape (k, dimensions)
    draws : ndarray, shape (k, 2 dimensions + 1)
        Uniform in [0, 1): which variables move, how far, and the index of the mutation.
    """
    dimensions = point.shape[1]
    choice, far, index = draws[:, :dimensions], draws[:, dimensions:-1], draws[:, -1:]
    chosen = (choice < 1.0 / dimensions) | (choice == choice.min(axis=1, keepdims=True))
    low, high = np.log(_MUTATION_INDEX)
    power = 1.0 / (np.exp(low + (high - low) * index) + 1.0)
    step = np.where(far < 0.5, (2.0 * far) ** power - 1.0, 1.0 - (2.0 - 2.0 * far) ** power)
    return np.clip(point + np.where(chosen, step, 0.0), 0.0, 1.0)


def generator(seed: int, row: int) -> np.random.Generator:
    """Return the stream of random numbers of one problem."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(row, 0))))


@cache
def _step() -> Any:
    moves = _step_particles
    return cached(moves, "the moves of particles", takes=(_Particles,), **EXACT)  # type: ignore[arg-type]


def _step_particles(rows, particles, leaders, moves, factors, pulls, limit):
    """Move the particles of some swarms in place; those that leave the box are reflected, and slowed."""
    u, velocity, own = particles
    inertia, constriction = factors
    cognitive, social = pulls
    for k in range(rows.size):
        row = rows[k]
        for i in range(u.shape[1]):
            leader = leaders[k, i]
            for j in range(u.shape[2]):
                at = u[row, i, j]
                step = inertia * velocity[row, i, j]
                step += cognitive * moves[k, i, 0, j] * (own[row, i, j] - at)
                step += social * moves[k, i, 1, j] * (own[row, leader, j] - at)
                step = min(max(step * constriction, -limit), limit)
                at += step
                if at < 0.0 or at > 1.0:
                    at = -at if at < 0.0 else 2.0 - at
                    step *= -_BOUNCE
                u[row, i, j] = min(max(at, 0.0), 1.0)
                velocity[row, i, j] = step
