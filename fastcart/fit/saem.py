"""The stochastic approximation of EM: chains of all patients, averaged statistics, the maximum given those.

A run explores with a memory of one iteration, the random effects' and errors' sizes annealed, until nothing
that is estimated drifts any more; then it averages. Means, variances, covariances and plain errors have
closed maxima; parameters without random effect, combined errors and those of censored measurements move by
Newton's steps on the complete likelihood, averaged alike [1, 2].

1. B. Delyon, M. Lavielle, E. Moulines, Convergence of a stochastic approximation version of the EM algorithm,
   Annals of Statistics 27, 94-128 (1999).
2. E. Kuhn, M. Lavielle, Maximum likelihood estimation in nonlinear mixed effects models, Computational
   Statistics & Data Analysis 49, 1020-1038 (2005).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastcart.fit.chains import Chains, Walk, alone, begin_chains
from fastcart.fit.complete import Complete, slopes, solves_of_slopes
from fastcart.fit.effects import Values
from fastcart.fit.layout import varies
from fastcart.fit.observations import ADDITIVE, LOGNORMAL, PROPORTIONAL
from fastcart.fit.stationarity import is_stationary

_ANNEALED = 75  # iterations in which variances and errors fall slowly
_AFAR = 3  # iterations afterwards, of which one has proposals from the population
_FALL = 0.95  # so slowly, per iteration
_LARGEST_PART = (
    0.3  # relative errors while annealed: larger ones let far too large predictions pass for likely
)
_FADES = 0.7  # the memory grows with this power: estimates are averaged, so that none is too slow
_LONGEST_STEP = 0.5  # of Newton, in scaled parameters
_SMALLEST = 1e-8  # variance
_FLAT = 1e-6  # curvature, of the largest, both in units of their own
_LEAST_OF_LOG = 0.01  # curvature: a factor of 20000 up and down
_KNOWN_STATISTICS = (ADDITIVE, PROPORTIONAL, LOGNORMAL)


@dataclass(frozen=True)
class Schedule:
    """How long a run lasts.

    Parameters
    ----------
    chains : int
    explore : tuple of int
        At least and at most so many iterations before it averages.
    average : int
    prior_steps : int
        Proposals from the population in each iteration.
    """

    chains: int
    explore: tuple[int, int] = (150, 400)
    average: int = 150

    @property
    def most(self) -> int:
        """So many iterations a run takes at most."""
        return self.explore[1] + self.average


@dataclass
class State:
    """A run at some iteration: all that its next iterations depend on.

    Parameters
    ----------
    values : Values
    chains : Chains
    random : Generator
    iteration : int
    switched : int
        The iteration from which on it averages; -1 before.
    stationary : bool
        Whether nothing drifted then.
    first, second : ndarray
        Averaged statistics of the random effects: (patients, random), (random, random).
    squares : ndarray
        Of residuals, of each observation.
    curvature : ndarray
        Averaged, of what moves by Newton's steps.
    trace : list of ndarray
        What was estimated after each iteration.
    """

    values: Values
    chains: Chains
    random: np.random.Generator
    iteration: int = 0
    switched: int = -1
    stationary: bool = False
    first: np.ndarray = field(default_factory=lambda: np.empty(0))
    second: np.ndarray = field(default_factory=lambda: np.empty(0))
    squares: np.ndarray = field(default_factory=lambda: np.empty(0))
    curvature: np.ndarray = field(default_factory=lambda: np.empty(0))
    trace: list[np.ndarray] = field(default_factory=list)


class Saem:
    """The method on one likelihood.

    Parameters
    ----------
    complete : Complete
    schedule : Schedule
    """

    def __init__(self, complete: Complete, schedule: Schedule):
        self.complete, self.schedule = complete, schedule
        prepared, effects = complete.prepared, complete.effects
        of, self.models = prepared.layout.of, prepared.layout.errors.model
        self.counts = np.bincount(of.kind, minlength=len(self.models))
        cut = np.bincount(of.kind, of.censored != 0, len(self.models)) > 0
        first = prepared.layout.errors.first
        free = set(effects.free_errors.tolist())
        self.closed = [
            k for k, model in enumerate(self.models)
            if model in _KNOWN_STATISTICS and not cut[k] and first[k] in free and self.counts[k]
        ]  # fmt: skip
        done = {int(first[k]) for k in self.closed}
        self.numeric = np.array([k for k in effects.free_errors if k not in done], dtype=int)
        self.place = {k: int(first[k]) for k in self.closed}
        self.moves = len(effects.fixed) + len(self.numeric)
        last = [
            int(first[k]) + (model != PROPORTIONAL) for k, model in enumerate(self.models) if varies(model)
        ]
        self.relative = np.array([k for k in last if k in free], dtype=int)

    @property
    def solves(self) -> int:
        """Of an iteration, about."""
        complete, size = self.complete, len(self.complete.effects.random)
        steps = alone(size) + (size > 1)
        fixed = len(complete.effects.fixed)
        steps += solves_of_slopes(fixed) if fixed else 0  # one of them is that of the step itself
        far = (_ANNEALED + (self.schedule.most - _ANNEALED) / _AFAR) / self.schedule.most
        return round((steps + min(far, 1.0)) * self.schedule.chains * complete.prepared.patients)

    def begin(self, start: np.ndarray, seed: tuple[int, ...]) -> State:
        """Return a state at iteration 0."""
        random = np.random.default_rng(seed)
        values = self.complete.effects.unpack(start)
        values.errors[self.relative] = np.minimum(values.errors[self.relative], _LARGEST_PART)
        chains = begin_chains(self.complete, values, self.schedule.chains, random)
        return State(values, chains, random)

    def run(
        self, state: State, keep: Callable[[State], object] | None = None, every: int = 50
    ) -> State:  # fmt: skip
        """Go on until the end; ``keep`` is called now and then with a state from which one can go on."""
        while not self.finished(state):
            self.iterate(state)
            if keep is not None and (state.iteration % every == 0 or self.finished(state)):
                keep(state)
        return state

    def finished(self, state: State) -> bool:
        """Whether it has averaged enough."""
        return state.switched >= 0 and state.iteration - state.switched >= self.schedule.average

    def estimate(self, state: State) -> np.ndarray:
        """Return the mean of what was estimated while averaging, the first quarter left off."""
        begin = state.switched + (state.iteration - state.switched) // 4
        return np.mean(state.trace[begin:], axis=0)

    def iterate(self, state: State) -> None:
        """Make one iteration: steps of the chains, statistics, the maximum."""
        chains = state.chains
        # where variances no longer fall, proposals from the population are seldom taken
        afar = state.iteration < _ANNEALED or state.iteration % _AFAR == 0
        Walk(self.complete, chains, state.values, state.random).step(state.iteration, afar)
        state.iteration += 1
        averaging = state.switched >= 0
        rate = float(state.iteration - state.switched) ** -_FADES if averaging else 1.0
        chains.note_moments(min(rate, 0.05) if averaging else 0.1)
        self._note(state, rate)
        values = self._maximum(state, rate)
        if state.iteration <= _ANNEALED:
            values = self._annealed(values, state.values)
        self._move_to(state, values)
        state.trace.append(self.complete.effects.pack(state.values))
        if not averaging:
            self._maybe_switch(state)

    def _note(self, state: State, rate: float) -> None:
        """Average the statistics."""
        chains = state.chains
        mine = chains.by_patient(chains.phi)
        first = mine.mean(axis=1)
        second = chains.phi.T @ chains.phi / chains.per_patient
        squares = self._squares(chains)
        if rate == 1.0 or not state.first.size:
            state.first, state.second, state.squares = first, second, squares
        else:
            state.first = state.first + rate * (first - state.first)
            state.second = state.second + rate * (second - state.second)
            state.squares = state.squares + rate * (squares - state.squares)

    def _squares(self, chains: Chains) -> np.ndarray:
        """Return the sum of squares of residuals of each observation whose error has a closed maximum."""
        sums = np.zeros(len(self.models))
        if not self.closed:
            return sums
        layout, f = self.complete.prepared.layout, chains.predictions.values
        rows = self._rows(chains)
        kind, value = layout.of.kind[rows], layout.of.value[rows]
        for k in self.closed:
            mine = kind == k if len(self.models) > 1 else slice(None)
            g, y = f[mine], value[mine]
            if self.models[k] == LOGNORMAL:
                part = y - np.log(np.maximum(g, 1e-300))
            elif self.models[k] == PROPORTIONAL:
                part = (y - g) / np.maximum(np.abs(g), layout.errors.floor[k])
            else:
                part = y - g
            sums[k] = part @ part / chains.per_patient
        return sums

    def _rows(self, chains: Chains) -> np.ndarray:
        """Return which measurement each prediction is of."""
        if not hasattr(self, "_known_rows"):
            of = self.complete.prepared.layout.of
            self._known_rows = np.concatenate([np.arange(of.begin[i], of.end[i]) for i in chains.who])
        return self._known_rows

    def _maximum(self, state: State, rate: float) -> Values:
        """Return what is most likely given the statistics."""
        b, omega = random_effects(self.complete.effects, state.first, state.second, state.values.omega)
        errors, fixed = state.values.errors.copy(), state.values.fixed
        for k in self.closed:
            errors[self.place[k]] = max(np.sqrt(state.squares[k] / self.counts[k]), 1e-150)
        if self.moves:
            step = self._newton(state, rate)
            fixed = fixed + step[: len(fixed)]
            errors[self.numeric] *= np.exp(step[len(fixed) :])
        return Values(b, fixed, omega, errors)

    def _newton(self, state: State, rate: float) -> np.ndarray:
        """Return a step towards the maximum of the complete likelihood, of what has no closed one."""
        chains, values = state.chains, state.values
        found = slopes(
            self.complete, chains.phi, chains.who, (values.fixed, values.errors), at=chains.predictions,
            which=self.numeric,
        )  # fmt: skip
        gradient = found.first.sum(axis=0) / chains.per_patient
        curvature = -found.second.sum(axis=0) / chains.per_patient
        if not state.curvature.size:
            state.curvature = curvature
        else:
            state.curvature = state.curvature + max(min(rate, 0.2), 1.0 / (1 + state.iteration)) * (
                curvature - state.curvature
            )
        step = rate * np.linalg.solve(positive(state.curvature), gradient)
        return np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)

    def _annealed(self, new: Values, old: Values) -> Values:
        """Let variances and errors fall slowly, so that chains see more than where they start."""
        before, now = np.diag(old.omega), np.diag(new.omega)
        grown = np.sqrt(np.maximum(now, _FALL * before) / now)
        errors = np.maximum(new.errors, _FALL * old.errors)
        errors[self.relative] = np.minimum(errors[self.relative], _LARGEST_PART)
        return new._replace(omega=new.omega * np.outer(grown, grown), errors=errors)

    def _move_to(self, state: State, values: Values) -> None:
        """Take new values, and what follows for the chains."""
        chains = state.chains
        if len(values.fixed) and not np.array_equal(values.fixed, state.values.fixed):
            there = self.complete.predict(chains.phi, values.fixed, chains.who)
            lost = ~np.isfinite(self.complete.density(there, chains.who, values.errors))
            if lost.any():  # do not go where chains cannot follow
                values = values._replace(fixed=state.values.fixed)
            else:
                chains.predictions = there
        state.values = values
        chains.log_likelihood = self.complete.density(chains.predictions, chains.who, values.errors)

    def _maybe_switch(self, state: State) -> None:
        least, most = self.schedule.explore
        if state.iteration < least:
            return
        trace = np.array(state.trace[max(min(_ANNEALED, least // 2), state.iteration // 2) :])
        state.stationary = is_stationary(trace)
        if state.stationary or state.iteration >= most:
            state.switched = state.iteration


def random_effects(
    effects: Any, first: np.ndarray, second: np.ndarray, omega: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients and covariance that are most likely given moments of the random effects.

    Parameters
    ----------
    effects : Effects
    first : ndarray, shape (patients, random)
        Means of each patient.
    second : ndarray, shape (random, random)
        The sum of products.
    omega : ndarray
        The covariance before; weighs the effects where covariates of one say something of another.
    """
    precision = np.linalg.inv(omega)
    design = effects.design
    weighted = np.einsum("iqm,qr->irm", design, precision)
    matrix = np.einsum("irm,irn->mn", weighted, design)
    b = np.linalg.solve(matrix, np.einsum("irm,ir->m", weighted, first))
    centers = design @ b
    cross = first.T @ centers
    new = (second - cross - cross.T + centers.T @ centers) / len(first)
    mask = np.eye(len(omega), dtype=bool)
    for j, k in effects.pairs:
        mask[j, k] = mask[k, j] = True
    new = np.where(mask, new, 0.0)
    every = np.arange(len(omega))
    new[every, every] = np.maximum(new[every, every], _SMALLEST)
    return b, new


def positive(matrix: np.ndarray, logs: int | None = None) -> np.ndarray:
    """Return a symmetric matrix with the directions of negative curvature turned over, none flat.

    What is flat is told with each estimate in units of its own curvature: results do not depend on units.

    Parameters
    ----------
    matrix : ndarray
    logs : int, optional
        From here on estimates are logarithms (or Fisher's z), of which something is known in any case.
    """
    symmetric = (matrix + matrix.T) / 2
    every = np.arange(len(symmetric))
    own = np.abs(np.diag(symmetric))
    if logs is not None:
        known = np.where((every >= logs) & (own < _LEAST_OF_LOG), _LEAST_OF_LOG, own)
        symmetric[every, every] += known - own
        own = known
    size = np.sqrt(np.where(own > 0, own, 1.0))
    # of a matrix that is not positive products may be larger than squares
    size *= np.sqrt(np.maximum(1.0, np.abs(symmetric / np.outer(size, size)).max(axis=1, initial=0.0)))
    values, vectors = np.linalg.eigh(symmetric / np.outer(size, size))
    curved = np.abs(values)
    curved = np.maximum(curved, _FLAT * max(curved.max(initial=0.0), 1e-300))
    return (vectors * curved) @ vectors.T * np.outer(size, size)


def encode(state: State) -> dict[str, np.ndarray]:
    """Return a state as arrays, to be kept."""
    chains, values = state.chains, state.values
    random = json.dumps(state.random.bit_generator.state)
    return {
        "b": values.b, "fixed": values.fixed, "omega": values.omega, "errors": values.errors,
        "phi": chains.phi, "log_likelihood": chains.log_likelihood, "sizes": chains.sizes,
        "size": chains.size,
        "mean": chains.mean, "square": chains.square, "first": state.first, "second": state.second,
        "squares": state.squares, "curvature": state.curvature, "trace": np.array(state.trace),
        "counts": np.array([state.iteration, state.switched, int(state.stationary), chains.per_patient]),
        "random": np.frombuffer(random.encode(), dtype=np.uint8),
    }  # fmt: skip


def decode(arrays: dict[str, np.ndarray], complete: Complete) -> State:
    """Return the state that was kept; predictions are solved again, to the same bits."""
    values = Values(*(arrays[name] for name in ("b", "fixed", "omega", "errors")))
    iteration, switched, stationary, per_patient = (int(x) for x in arrays["counts"])
    phi = arrays["phi"]
    patients = len(phi) // per_patient
    who = np.repeat(np.arange(patients), per_patient)
    predictions = complete.predict(phi, values.fixed, who)
    chains = Chains(
        patients, per_patient, phi, arrays["log_likelihood"], predictions, arrays["sizes"], arrays["size"],
        arrays["mean"], arrays["square"],
    )  # fmt: skip
    random = np.random.default_rng(0)
    random.bit_generator.state = json.loads(arrays["random"].tobytes().decode())
    return State(
        values, chains, random, iteration, switched, bool(stationary), arrays["first"], arrays["second"],
        arrays["squares"], arrays["curvature"], list(arrays["trace"]),
    )  # fmt: skip
