"""Markov chains of all patients at once: each step is one batch of patients x chains.

Three kinds of steps: proposals from the population, of one random effect alone (each chain takes one by
chance), and of all together along the shape that a patient's values have had. The last two adapt their
sizes to each patient, so that two of five are accepted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastcart.errors import InputError
from fastcart.fit.complete import Complete, merged
from fastcart.fit.effects import Values
from fastcart.fit.predictions import Predictions

_ACCEPTED = 0.4
_ADAPT = 0.4  # how fast sizes adapt, at first
_SETTLES = 100.0  # iterations
_SMALLEST, _LARGEST = 1e-4, 1e2  # sizes, relative to omega or to the shape
_FIRST_SIZE = 0.5
_ROUNDS = 60  # of draws for a patient that cannot be solved
_FLOOR = 1e-3  # of omega: a shape is no thinner


@dataclass
class Chains:
    """Where the chains are.

    Parameters
    ----------
    patients, per_patient : int
    phi : ndarray, shape (patients * chains, random)
        Those of one patient after the other.
    log_likelihood : ndarray, shape (patients * chains,)
    predictions : Predictions
    sizes : ndarray, shape (patients, random)
        Of steps of one random effect, relative to omega.
    size : ndarray, shape (patients,)
        Of steps of all.
    mean, square : ndarray
        Running moments of each patient's values, (patients, random) and (patients, random, random).
    """

    patients: int
    per_patient: int
    phi: np.ndarray
    log_likelihood: np.ndarray
    predictions: Predictions
    sizes: np.ndarray
    size: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    who: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Say whose each chain is."""
        self.who = np.repeat(np.arange(self.patients), self.per_patient)

    def by_patient(self, values: np.ndarray) -> np.ndarray:
        """Return a row for each patient, with its chains in the second axis."""
        return values.reshape(self.patients, self.per_patient, *values.shape[1:])

    def note_moments(self, rate: float) -> None:
        """Let the running moments follow."""
        mine = self.by_patient(self.phi)
        self.mean += rate * (mine.mean(axis=1) - self.mean)
        square = np.matmul(mine.transpose(0, 2, 1), mine) / self.per_patient
        self.square += rate * (square - self.square)

    @property
    def covariance(self) -> np.ndarray:
        """Return the covariance of each patient's values, by the running moments."""
        return self.square - self.mean[:, :, np.newaxis] * self.mean[:, np.newaxis, :]


def begin_chains(complete: Complete, values: Values, per_patient: int, random: np.random.Generator) -> Chains:
    """Draw the first values of all chains from the population; those that cannot be solved, again.

    Raises
    ------
    InputError
        Where a patient cannot be solved with any.
    """
    effects = complete.effects
    centers = effects.centers(values.b)
    patients, size = centers.shape
    who = np.repeat(np.arange(patients), per_patient)
    root = np.linalg.cholesky(values.omega)
    phi = centers[who] + random.standard_normal((len(who), size)) @ root.T
    predictions = complete.predict(phi, values.fixed, who)
    found = complete.density(predictions, who, values.errors)
    for again in range(_ROUNDS):
        lost = ~np.isfinite(found)
        if not lost.any():
            break
        closer = 0.9**again
        new = centers[who] + closer * random.standard_normal((len(who), size)) @ root.T
        new = np.where(lost[:, np.newaxis], new, phi)
        there = complete.predict(new, values.fixed, who)
        phi, predictions = new, merged(predictions, there, lost)
        found = np.where(lost, complete.density(there, who, values.errors), found)
    else:
        patient = effects_patient(complete, int(who[np.argmax(~np.isfinite(found))]))
        raise InputError(
            f"Patient {patient} cannot be solved with any of {_ROUNDS} draws around the start; give other "
            "starts, or raise max_steps."
        )
    omega = np.diag(values.omega)
    return Chains(
        patients, per_patient, phi, found, predictions, np.full((patients, size), _FIRST_SIZE),
        np.full(patients, _FIRST_SIZE), centers.copy(),
        centers[:, :, np.newaxis] * centers[:, np.newaxis, :] + np.diag(omega),
    )  # fmt: skip


def effects_patient(complete: Complete, place: int) -> object:
    """Return the id of a patient, as a sentence shows it."""
    from fastcart.tables.ids import id_shown

    return id_shown(complete.prepared.data.ids[place])


@dataclass
class Walk:
    """Steps of all chains with the population held.

    Parameters
    ----------
    complete : Complete
    chains : Chains
    values : Values
    random : Generator
    """

    complete: Complete
    chains: Chains
    values: Values
    random: np.random.Generator

    def __post_init__(self) -> None:
        """Prepare what all steps share."""
        self.centers = self.complete.effects.centers(self.values.b)[self.chains.who]
        self.root = np.linalg.cholesky(self.values.omega)
        self.precision = np.linalg.inv(self.values.omega)
        self.omega = np.sqrt(np.diag(self.values.omega))
        self.prior = self._prior(self.chains.phi)

    def step(self, iteration: int, afar: bool) -> None:
        """Make the steps of one iteration, and adapt their sizes; ``afar``: from the population, too."""
        chains = self.chains
        rate = _ADAPT / (1.0 + iteration / _SETTLES)
        if afar:
            self._from_population()
        size = chains.phi.shape[1]
        for _ in range(alone(size)):
            self._alone(rate)
        if size > 1:
            chains.size = _adapted(chains.size, chains.by_patient(self._together()).mean(axis=1), rate)

    def _from_population(self) -> None:
        draws = self.random.standard_normal(self.chains.phi.shape)
        new = self.centers + draws @ self.root.T
        self._accept(new, self._prior(new), drawn=True)

    def _alone(self, rate: float) -> None:
        chains = self.chains
        rows, size = np.arange(len(chains.phi)), chains.phi.shape[1]
        which = self.random.integers(size, size=len(rows))
        new = chains.phi.copy()
        step = chains.sizes[chains.who, which] * self.omega[which]
        new[rows, which] += step * self.random.standard_normal(len(rows))
        taken = self._accept(new, self._prior(new))
        cell = chains.who * size + which
        tried = np.bincount(cell, minlength=chains.sizes.size)
        accepted = np.bincount(cell, taken, chains.sizes.size) / np.maximum(tried, 1)
        grown = _adapted(chains.sizes, accepted.reshape(chains.sizes.shape), rate)
        chains.sizes = np.where(tried.reshape(chains.sizes.shape) > 0, grown, chains.sizes)

    def _together(self) -> np.ndarray:
        chains = self.chains
        shape = chains.covariance + np.diag((_FLOOR * self.omega) ** 2)
        root = np.linalg.cholesky(shape) * chains.size[:, np.newaxis, np.newaxis]
        draws = chains.by_patient(self.random.standard_normal(chains.phi.shape))
        moves = np.matmul(draws, root.transpose(0, 2, 1)).reshape(chains.phi.shape)
        new = chains.phi + moves
        return self._accept(new, self._prior(new))

    def _prior(self, phi: np.ndarray) -> np.ndarray:
        away = phi - self.centers
        return -0.5 * ((away @ self.precision) * away).sum(axis=1)

    def _accept(self, new: np.ndarray, prior: np.ndarray, *, drawn: bool = False) -> np.ndarray:
        """Take proposals or not; return which were taken.

        Where they are ``drawn`` from the population, their density there is that of the proposal, too.
        """
        chains = self.chains
        predictions = self.complete.predict(new, self.values.fixed, chains.who)
        found = self.complete.density(predictions, chains.who, self.values.errors)
        ratio = found - chains.log_likelihood
        if not drawn:
            ratio = ratio + (prior - self.prior)
        with np.errstate(divide="ignore"):
            taken = np.log(self.random.random(len(new))) < ratio
        chains.phi = np.where(taken[:, np.newaxis], new, chains.phi)
        self.prior = np.where(taken, prior, self.prior)
        chains.log_likelihood = np.where(taken, found, chains.log_likelihood)
        chains.predictions = merged(chains.predictions, predictions, taken)
        return taken


def alone(size: int) -> int:
    """Return how many steps of one of so many random effects an iteration has."""
    return max(1, size // 2)


def _adapted(sizes: np.ndarray, accepted: np.ndarray, rate: float) -> np.ndarray:
    return np.clip(sizes * np.exp(rate * (accepted - _ACCEPTED)), _SMALLEST, _LARGEST)
