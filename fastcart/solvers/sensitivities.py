"""Any engine with sensitivities: the system is differentiated, solved as any other, and taken apart again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastcart.errors import InputError
from fastcart.solvers.algebraic import settle
from fastcart.solvers.arrays import observe
from fastcart.solvers.compile import made_once
from fastcart.solvers.doses import JUMP, RATE, DosePlan
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.problem import ChunkResult, Problem, Saves
from fastcart.solvers.status import Status
from fastcart.solvers.system import System
from fastcart.solvers.trace.graph import TraceError
from fastcart.solvers.trace.jumps import jumping
from fastcart.solvers.trace.sensitivities import (
    SHARE,
    Directions,
    Setting,
    differentiated,
    differentiated_observables,
)

# States of a system with sensitivities, beyond which directions go in groups: more code than this neither
# compiles in a few seconds nor stays in the caches
_MOST = 96


@dataclass(frozen=True)
class WithSensitivities:
    """An engine that gives sensitivities, too.

    Parameters of its patients go on behind those of the model: by how much the parameters of
    ``directions.moved`` change, then the changes of initial values, direction by direction, then the sizes of
    the directions, which results are divided by.
    """

    engine: Callable[..., ChunkResult]

    def solve_chunk(
        self, problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None = None,
        saves: Saves | None = None,
    ) -> ChunkResult:  # fmt: skip
        """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`."""
        assert problem.directions is not None
        own = len(problem.model.states) - problem.integrals
        count = -(-problem.directions.count // max(1, _MOST // own - 1))
        given = _Given(y0, p, threads, doses, saves or Saves.all_of(problem.save_at, len(y0)))
        if count == 1:
            return self._solve_together(problem, given)
        found = [
            self._solve_together(group, replace(given, p=theirs))
            for group, theirs in _groups(problem, count, p, own)
        ]
        return _joined(found)

    def _solve_together(self, problem: Problem, given: _Given) -> ChunkResult:
        """Solve the patients with all directions at once."""
        own = len(problem.model.states) - problem.integrals
        changes, _ = _changes(problem, given.p, own)
        # a state in logarithm that is zero, and is not in the changed patient, has no logarithm there
        natural = problem.log[:own] & (given.y0[:, :own] == 0.0) & (changes != 0.0).any(axis=1)
        if not natural.any():
            return self._solve(_split(problem, problem.infused, problem.infused), given)
        result = ChunkResult.empty(len(given.y0), problem, given.saves)
        for flags in np.unique(natural, axis=0):
            integrated = np.zeros(len(problem.model.states), dtype=bool)
            integrated[:own] = flags
            integrated |= problem.infused or False
            infused = tuple(integrated.tolist()) if integrated.any() else ()
            rows = np.flatnonzero((natural == flags).all(axis=1))
            result.put(rows, self._solve(_split(problem, infused, problem.infused), given.take(rows)))
        return result

    def _solve(self, split: _Split, given: _Given) -> ChunkResult:
        problem, own, y0 = split.problem, split.setting.own, given.y0
        changes, sizes = _changes(problem, given.p, own)
        p = np.ascontiguousarray(given.p[:, : len(problem.model.parameters) + len(split.directions.moved)])
        start = np.zeros((len(y0), split.total))
        start[:, split.plain] = y0
        with np.errstate(all="ignore"):
            relative = changes / split.sizes(y0[:, :own])[:, np.newaxis]
        start[:, split.sensitivities[:, :own]] = np.where(changes != 0.0, relative, 0.0)
        settle(split.differentiated.model, np.zeros(len(p)), start, p)
        doses = None if given.doses is None else split.given(given.doses)
        found = self.engine(split.differentiated, start, p, given.threads, doses, given.saves)
        values = {item.name: getattr(found, item.name) for item in fields(found)}
        values["final"] = found.final[:, split.plain]
        values["final_slopes"] = split.slopes(found.final) / sizes[:, :, np.newaxis]
        if len(problem.save_at):
            values["saved"] = found.saved[split.plain[problem.saved_states]]
            sizes = sizes.T.repeat(np.diff(found.offsets), axis=1)[:, np.newaxis]
            parameters = p if doses is None else doses.parameters(p)
            values["saved_slopes"] = self._over_time(split, given, found.saved, parameters) / sizes
        return ChunkResult(**values)

    def _over_time(self, split: _Split, given: _Given, saved: np.ndarray, p: Any) -> np.ndarray:
        """Return the derivatives of what is saved, directions x columns x rows."""
        problem = split.problem
        names = [*problem.model.state_names[: split.setting.own], *(f"auc_{x}" for x in problem.auc)]
        slopes = split.slopes(saved.T)
        found = np.empty((split.directions.count, len(problem.save), saved.shape[1]))
        observed = [name for name in problem.save if name not in names]
        if observed:
            system = split.observables()
            asked = [x for x, name in zip(system.observables, split.named, strict=True) if name in observed]
            rows = observe(system, problem.save_at, given.saves, saved, p, asked, given.threads)
            of = [name for name in split.named if name in observed]
        for c, name in enumerate(problem.save):
            if name in names:
                found[:, c] = slopes[:, :, names.index(name)].T
            else:
                found[:, c] = rows[[x for x, other in enumerate(of) if other == name]]
        return found


@dataclass(frozen=True)
class _Given:
    """Patients, and what they are given."""

    y0: np.ndarray
    p: np.ndarray
    threads: int
    doses: DosePlan | None
    saves: Saves

    def take(self, rows: np.ndarray) -> _Given:
        doses = None if self.doses is None else self.doses.take(rows)
        return _Given(self.y0[rows], self.p[rows], self.threads, doses, self.saves.take(rows))


def check(problem: Problem) -> None:
    """Find out whether a system can be differentiated.

    Raises
    ------
    TraceError
    """
    split = _split(problem, (), ())
    split.system()
    if _jumps(problem):
        raise TraceError("jumps where a state crosses a level, at a time that moves")
    if split.observed:
        split.observables()


def _jumps(problem: Problem) -> bool:
    """Whether a rate is found to jump, as far as there are typical patients to look around."""
    if problem.typical is None:
        return False
    try:
        y, p = problem.typical()
    except InputError:  # the defaults are no patient
        return False
    key = ("jumps", fingerprint(problem.model.rhs), problem.t_end, y.tobytes(), p.tobytes())
    return made_once(key, lambda: jumping(problem.model, y, p, problem.t_end))


def _changes(problem: Problem, p: np.ndarray, own: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the changes of initial values, patients x directions x states, and sizes of directions."""
    assert problem.directions is not None
    count = problem.directions.count
    changes = p[:, p.shape[1] - count * (own + 1) : p.shape[1] - count]
    return changes.reshape(len(p), count, own), p[:, p.shape[1] - count :]


def _groups(problem: Problem, count: int, p: np.ndarray, own: int) -> Iterator[tuple[Problem, np.ndarray]]:
    """Yield the problem for some of the directions each, with the parameters that it needs."""
    directions = problem.directions
    assert directions is not None
    changes, sizes = _changes(problem, p, own)
    first = len(problem.model.parameters)
    for some in np.array_split(np.arange(directions.count), count):
        low, high = int(some[0]), int(some[-1]) + 1
        inside = [first + x for x, (_, k) in enumerate(directions.moved) if low <= k < high]
        moved = tuple((j, k - low) for j, k in directions.moved if low <= k < high)
        theirs = [p[:, :first], p[:, inside], changes[:, low:high].reshape(len(p), -1), sizes[:, low:high]]
        key = f"directions {low} to {high}"
        if key not in problem.kept:
            problem.kept[key] = replace(problem, directions=Directions(directions.names[low:high], moved))
        yield problem.kept[key], np.hstack(theirs)


def _joined(found: list[ChunkResult]) -> ChunkResult:
    """Return the results of all groups of directions; who fails in one has failed."""
    whole = found[0]
    for other in found[1:]:
        worse = (whole.status == Status.ok) & (other.status != Status.ok)
        whole.status[worse], whole.t_reached[worse] = other.status[worse], other.t_reached[worse]
        whole.steps += other.steps
        whole.rejected += other.rejected
        whole.rhs_calls += other.rhs_calls
    whole.final_slopes = np.concatenate([x.final_slopes for x in found], axis=1)
    if whole.saved_slopes is not None:
        whole.saved_slopes = np.concatenate([x.saved_slopes for x in found], axis=0)
    return whole


def _split(problem: Problem, infused: tuple[bool, ...], fed: tuple[bool, ...]) -> _Split:
    """Return a problem with its sensitivities, made once."""
    key = f"sensitivities {infused} {fed}"
    if key not in problem.kept:
        part = problem if infused == problem.infused else replace(problem, infused=infused)
        problem.kept[key] = _Split(part, fed)
    return problem.kept[key]


class _Split:
    """Where the states of a differentiated problem are; see `differentiated`.

    ``fed`` says which states are infused: not all that are not in logarithm for it need be.
    """

    def __init__(self, problem: Problem, fed: tuple[bool, ...]):
        assert problem.directions is not None
        self.problem, self.directions = problem, problem.directions
        own, areas, hidden = (
            len(problem.model.states) - problem.integrals, len(problem.auc), len(problem.integrands)
        )  # fmt: skip
        self.setting = Setting(
            tuple(problem.log[:own].tolist()), tuple(problem.scale[:own].tolist()),
            tuple(np.flatnonzero(fed).tolist()), areas, hidden,
        )  # fmt: skip
        count = self.directions.count
        self.rates = own * (1 + count)
        first = self.rates + len(self.setting.fed)
        behind = first + areas * (1 + count)
        self.total = behind + hidden
        self.plain = np.concatenate([np.arange(own), first + np.arange(areas), behind + np.arange(hidden)])
        starts = [(own * (1 + k), first + areas * (1 + k)) for k in range(count)]
        self.sensitivities = np.array([[*range(a, a + own), *range(b, b + areas)] for a, b in starts])

    @property
    def observed(self) -> bool:
        """Whether derivatives of observables are asked for."""
        return bool(set(self.problem.save) & set(self.problem.model.observables))

    @property
    def named(self) -> list[str]:
        """Whose derivatives the observables of `observables` are."""
        return [*self.problem.model.observables] * self.directions.count

    def sizes(self, y: np.ndarray) -> np.ndarray:
        """Return what sensitivities of states are measured by, of states as the last axis."""
        return np.where(self.setting.log, y, np.hypot(y, self.setting.scale))

    def slopes(self, values: np.ndarray) -> np.ndarray:
        """Return derivatives of states and areas, the last axes are directions and states."""
        own, slopes = self.setting.own, values[..., self.sensitivities]
        slopes[..., own:] -= SHARE * values[..., np.newaxis, self.plain[own : own + self.setting.areas]]
        with np.errstate(all="ignore"):
            slopes[..., :own] *= self.sizes(values[..., :own])[..., np.newaxis, :]
        return slopes

    @cached_property
    def differentiated(self) -> Problem:
        """The problem of the differentiated system; all its states are saved."""
        problem, own = self.problem, self.setting.own
        scale = np.ones(self.total)
        scale[self.plain] = problem.scale
        infused: tuple[bool, ...] = ()
        if problem.infused:
            infused = (*problem.infused[:own], *[False] * (self.total - own))
        system = self.system()
        return replace(
            problem, model=system, scale=scale, infused=infused, directions=None,
            differentiated=(own, self.directions.count), save=tuple(system.state_names),
            plain=replace(problem, directions=None),
        )  # fmt: skip

    def given(self, doses: DosePlan) -> DosePlan:
        """Return doses where an infusion is a state that jumps to another rate."""
        state, kind, value = doses.state.copy(), doses.kind.copy(), doses.value.copy()
        for begin, end in np.unique(np.stack([doses.start, doses.stop], axis=1), axis=0):
            rates = dict.fromkeys(self.setting.fed, 0.0)
            for k in range(begin, end):
                if doses.kind[k] == RATE:
                    i = int(doses.state[k])
                    # what is added to the rate, so that it is exact behind the last infusion
                    value[k] = doses.value[k] - rates[i]
                    rates[i] += value[k]
                    state[k], kind[k] = self.rates + self.setting.fed.index(i), JUMP
        return replace(doses, state=state, kind=kind, value=value)

    def system(self) -> System:
        """Return the differentiated system."""
        return self._made(differentiated)

    def observables(self) -> System:
        """Return the differentiated system with derivatives of the observables as observables."""
        system = self._made(differentiated_observables)
        return replace(self.system(), observables=system.observables, observe=system.observe)

    def _made(self, make: Callable[[System, Directions, Setting], System]) -> System:
        model = self.problem.model
        functions = fingerprint(model.rhs), model.observe and fingerprint(model.observe)
        key = (
            "sensitivities", make.__name__, model.name, functions, model.states, model.parameters,
            self.directions, self.setting,
        )  # fmt: skip

        def made() -> System | TraceError:
            try:
                return make(model, self.directions, self.setting)
            except TraceError as refusal:
                return refusal

        system = made_once(key, made)
        if isinstance(system, TraceError):
            raise system
        return system
