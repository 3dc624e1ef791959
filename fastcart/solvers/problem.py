"""What every engine is given and what it gives back: flat arrays, one row per patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcart.solvers.endpoints import recorded_endpoints
from fastcart.solvers.status import Status
from fastcart.solvers.system import System, hidden

_OK = int(Status.ok)
_FEW = 1000  # patients

if TYPE_CHECKING:
    from fastcart.events import Event
    from fastcart.solvers.trace.sensitivities import Directions


@dataclass(frozen=True)
class Problem:
    """What is the same for all patients of a batch.

    Parameters
    ----------
    model : System
    t_end : float
        Horizon; every patient starts at time 0.
    save_at : ndarray
        Times at which the states are kept (may be empty): the same for all patients and sorted, or one row of
        sorted times after the other, and `Saves` say which of them are whose.
    rtol : float
    scale : ndarray, shape (states,)
        The absolute tolerance of a state that is not in logarithm is ``rtol * scale``.
    max_steps : int
    method : str or None
        Variant of the engine, e.g. ``"Radau"`` for ``scipy``.
    max_steps_ahead : float
        Give a patient up early where the present step promises more steps than this to the horizon.
    infused : tuple of bool
        States that receive infusions; empty for none. These are not integrated in logarithm: a constant
        inflow is not proportional to the state, and may start from an exact zero.
    extinction : float or None
        Threshold below which states that may die out become zero.
    peaks : tuple of str
        States and observables whose largest value is looked for.
    events : tuple of Event
    auc : tuple of str
        What is integrated over time, by the last states of the model, ``auc_<name>``.
    integrands : tuple of str
        Observables that peaks and events are about and no area: integrals of these come behind those, only so
        that the steps follow them. They are no endpoints.
    save : tuple of str
        The states and observables of the trajectories.
    max_step : float
        No step is longer.
    breaks : tuple of float or str
        Times at which the right-hand side may jump, or parameters that hold them; engines get them with the
        doses.
    typical : callable, optional
        Returns initial values and parameters of patients that are typical of the model, by which a method is
        chosen.
    directions : Directions, optional
        What the solution is differentiated by.
    differentiated : (int, int)
        How many states, the first ones, are followed by sensitivities, and how many each has: so have the
        areas; see `fastcart.solvers.trace.sensitivities`.
    plain : Problem, optional
        The same without sensitivities, by which a method is chosen.
    """

    model: System
    t_end: float
    save_at: np.ndarray
    rtol: float
    scale: np.ndarray
    max_steps: int
    method: str | None = None
    max_steps_ahead: float = np.inf
    infused: tuple[bool, ...] = ()
    extinction: float | None = None
    peaks: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    auc: tuple[str, ...] = ()
    save: tuple[str, ...] = ()
    max_step: float = np.inf
    breaks: tuple[float | str, ...] = ()
    integrands: tuple[str, ...] = ()
    typical: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None
    directions: Directions | None = None
    differentiated: tuple[int, int] = (0, 0)
    plain: Problem | None = None

    @property
    def integrals(self) -> int:
        """How many of the states, the last ones, are integrals that nothing depends on."""
        return len(self.auc) * (1 + self.differentiated[1]) + len(self.integrands)

    def integral_of(self, name: str) -> str:
        """Return the state that is the integral of a quantity."""
        return f"auc_{name}" if name in self.auc else hidden(name)

    @property
    def asked_events(self) -> tuple[Event, ...]:
        """The events that were asked for; behind them are those of the model itself."""
        moments = self.model.moments
        return self.events if moments is None else self.events[: len(self.events) - len(moments.watch)]

    @cached_property
    def saved_states(self) -> np.ndarray:
        """The states that are saved: those asked for; all where others are computed of them."""
        names = self.model.state_names
        if not len(self.save_at):
            return np.empty(0, dtype=np.int64)
        manifold = self.model.manifold
        algebraic = set() if manifold is None else {names[i] for i in manifold.places}
        if set(self.save) <= set(names) - algebraic:  # these are solved for once more, from all states
            return np.array(sorted(names.index(name) for name in self.save), dtype=np.int64)
        return np.arange(len(names))

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What engines made for this problem, and keep for when it is solved for other patients."""
        return {}

    @cached_property
    def log(self) -> np.ndarray:
        """Which states are integrated in logarithm."""
        log = np.array([state.log for state in self.model.states])
        return log & ~np.array(self.infused) if self.infused else log

    @cached_property
    def nonnegative(self) -> np.ndarray:
        """Which states may not go below zero; those in logarithm cannot."""
        return np.array([state.nonnegative for state in self.model.states]) & ~self.log


@dataclass(frozen=True)
class Saves:
    """Which of the times to save are whose: those of patient ``i`` are ``begin[i]`` to ``end[i]``."""

    begin: np.ndarray
    end: np.ndarray
    shared: bool = False  # whether all times are everyone's

    @classmethod
    def all_of(cls, times: np.ndarray, patients: int) -> Saves:
        """All times, for every patient."""
        return (_known_times if patients <= _FEW else _all_times)(len(times), patients)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where the rows of each patient begin, one patient after the other, and where they end."""
        return np.concatenate([[0], np.cumsum(self.end - self.begin)])

    def take(self, rows: slice | np.ndarray) -> Saves:
        """Return those of some of the patients."""
        return Saves(self.begin[rows], self.end[rows], self.shared)


def _all_times(times: int, patients: int) -> Saves:
    every = np.zeros(patients, dtype=np.int64), np.full(patients, times, dtype=np.int64)
    return Saves(*every, shared=True)


_known_times = lru_cache(maxsize=64)(_all_times)  # a small batch asks several times; nobody writes into them


def places(begin: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return ``begin[i] .. begin[i] + count[i]`` for one ``i`` after the other."""
    before = np.cumsum(count) - count
    return np.repeat(begin - before, count) + np.arange(int(count.sum()))


@dataclass
class ChunkResult:
    """Solutions of one chunk of patients, in natural units."""

    status: np.ndarray
    endpoints: np.ndarray  # a column for each of `fastcart.solvers.endpoints.recorded_endpoints`
    final: np.ndarray
    steps: np.ndarray
    rejected: np.ndarray
    rhs_calls: np.ndarray
    t_reached: np.ndarray
    saved: np.ndarray  # saved states x rows, the rows of each patient one after the other
    offsets: np.ndarray  # where those of each patient begin, and where they end
    cured: np.ndarray
    best: np.ndarray  # of peaks, then events (which do not use it): the largest value,
    when: np.ndarray  # when it was, or when the event happened first,
    times: np.ndarray  # and how often it happened
    above: np.ndarray  # whether the burden ends above its start
    engine: np.ndarray | None = field(default=None)
    # derivatives, where asked for: patients x directions x states and areas,
    final_slopes: np.ndarray | None = field(default=None)
    saved_slopes: np.ndarray | None = field(default=None)  # directions x columns of trajectories x rows

    @classmethod
    def empty(
        cls, patients: int, problem: Problem, saves: Saves, *, blank_saved: bool = True
    ) -> ChunkResult:  # fmt: skip
        """Room for ``patients`` results; all NaN and not run.

        Without ``blank_saved`` the engine sets ``saved`` to NaN itself, in its threads.
        """
        states = len(problem.model.states)
        items = len(problem.peaks) + len(problem.events)
        path = (len(problem.saved_states), int(saves.offsets[-1]))

        def nan(*shape: int) -> np.ndarray:
            return np.full(shape, np.nan)

        def zeros() -> np.ndarray:
            return np.zeros(patients, dtype=np.int64)

        return cls(
            status=np.full(patients, Status.not_run, dtype=np.int8),
            endpoints=nan(patients, len(recorded_endpoints())),
            final=nan(patients, states),
            steps=zeros(),
            rejected=zeros(),
            rhs_calls=zeros(),
            t_reached=np.zeros(patients),
            saved=nan(*path) if blank_saved else np.empty(path),
            offsets=saves.offsets,
            cured=np.zeros(patients, dtype=np.bool_),
            best=np.full((patients, items), -np.inf),
            when=np.full((patients, items), np.inf),
            times=np.zeros((patients, items), dtype=np.int64),
            above=np.zeros(patients, dtype=np.bool_),
        )

    def recorded(self) -> dict[str, np.ndarray]:
        """Return the endpoints that engines record, by name."""
        return {row.name: self.endpoints[:, k].copy() for k, row in enumerate(recorded_endpoints())}

    def take(self, rows: np.ndarray) -> ChunkResult:
        """Return the results of some rows."""
        count = np.diff(self.offsets)[rows]
        taken = {
            "saved": self.saved[:, places(self.offsets[rows], count)],
            "offsets": np.concatenate([[0], np.cumsum(count)]),
            "engine": None if self.engine is None else self.engine[rows],
            "final_slopes": None, "saved_slopes": None,
        }  # fmt: skip
        others = (item.name for item in fields(self) if item.name not in taken)
        return ChunkResult(**taken, **{name: getattr(self, name)[rows] for name in others})

    def put(self, rows: np.ndarray, other: ChunkResult) -> None:
        """Take over the results of some rows."""
        for item in fields(self):
            if item.name not in ("engine", "saved", "offsets", "final_slopes", "saved_slopes"):
                getattr(self, item.name)[rows] = getattr(other, item.name)
        theirs = places(self.offsets[rows], np.diff(other.offsets))
        if self.saved.size:
            self.saved[:, theirs] = other.saved
        if other.final_slopes is not None:
            if self.final_slopes is None:
                self.final_slopes = np.full((len(self.status), *other.final_slopes.shape[1:]), np.nan)
            self.final_slopes[rows] = other.final_slopes
        if other.saved_slopes is not None:
            if self.saved_slopes is None:
                self.saved_slopes = np.full((*other.saved_slopes.shape[:2], int(self.offsets[-1])), np.nan)
            self.saved_slopes[..., theirs] = other.saved_slopes
        if other.engine is not None:
            # texts of any length
            names = np.full(len(self.status), None) if self.engine is None else self.engine.astype(object)
            names[rows] = other.engine
            self.engine = names

    def blank_failed(self) -> None:
        """Set the endpoints of patients that were not solved to NaN."""
        failed = self.status != _OK
        if not failed.any():
            return
        self.endpoints[failed] = self.final[failed] = np.nan
        self.cured[failed] = False
        if self.final_slopes is not None:
            self.final_slopes[failed] = np.nan
        rows = np.flatnonzero(failed)
        lost = places(self.offsets[rows], np.diff(self.offsets)[rows])
        if self.saved.size:
            self.saved[:, lost] = np.nan
        if self.saved_slopes is not None:
            self.saved_slopes[..., lost] = np.nan
