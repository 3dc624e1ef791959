"""The maximum of a population's likelihood, by Newton's steps from where SAEM ended."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastcart.fit.complete import Complete
from fastcart.fit.marginal import (
    Draws,
    Rounds,
    Summary,
    draws_of,
    information,
    log_weights,
    summarise,
)
from fastcart.fit.proposals import Proposal, first_proposal
from fastcart.fit.saem import positive

DRAWS = 1024  # of each patient in a round
_ADAPTATIONS = 8
_PARTS = 4  # of a mixture, where one t distribution does not do
_GOOD_SHARE = 0.35  # of effective draws, at which a proposal needs no more parts
ENOUGH = 200.0  # effective draws of a patient
_STEPS = 12
_GAIN = 1e-3  # of -2 ln L that a further step would win
_FARTHEST = 1.0  # standard errors in one step
_NEAR = 0.5  # standard errors
_HALVINGS = 6  # of a step
_CLIMBED = 2  # rounds of draws
_FIRST_ROUNDS = 8  # after which errors are believed


@dataclass(frozen=True)
class Accuracy:
    """How exactly -2 ln L is wanted.

    Parameters
    ----------
    error : float
        Its Monte Carlo error.
    draws : int
        At most so many of each patient.
    seed : tuple of int
    """

    error: float
    draws: int
    seed: tuple[int, ...]

    def random(self, stream: int) -> np.random.Generator:
        """Return the numbers of one purpose."""
        return np.random.default_rng((*self.seed, stream))


@dataclass
class Known:
    """A row of estimates and what is known of it.

    Parameters
    ----------
    row : ndarray
    rounds : Rounds
    summary : Summary
    score, information : ndarray
    proposal : Proposal
    logs : int
        Where in the row logarithms begin.
    """

    row: np.ndarray
    rounds: Rounds
    summary: Summary
    score: np.ndarray
    information: np.ndarray
    proposal: Proposal
    logs: int

    @property
    def minus2LL(self) -> float:  # the word of the field
        """-2 ln L."""
        return float(-2.0 * self.rounds.log_likelihood.sum())

    @property
    def curvature(self) -> np.ndarray:
        """The information, no direction of it flat or negative."""
        return positive(self.information, self.logs)

    @property
    def step(self) -> np.ndarray:
        """Newton's step from here."""
        return np.linalg.solve(self.curvature, self.score)

    @property
    def gain(self) -> float:
        """By how much -2 ln L would fall if estimates went to where its slope is zero."""
        return float(self.score @ self.step)


@dataclass(frozen=True, eq=False)
class Ended:
    """One start's way.

    Parameters
    ----------
    start : ndarray
        The row of estimates there,
    averaged : ndarray
        where the stochastic approximation ended,
    known : Known
        and the maximum of the likelihood near that.
    switched : int
        The iteration from which on it averaged.
    stationary : bool
        Whether nothing drifted then.
    trace : ndarray, shape (iterations, names)
    """

    start: np.ndarray
    averaged: np.ndarray
    known: Known
    switched: int
    stationary: bool
    trace: np.ndarray


def adapt(
    complete: Complete, row: np.ndarray, proposal: Proposal, random: np.random.Generator
) -> Proposal:  # fmt: skip
    """Return a proposal that suits the estimates, of more parts where one does not do."""
    effects = complete.effects
    values = effects.unpack(row)
    every = np.arange(len(proposal.means))
    proposal = Proposal(
        proposal.shares, proposal.means, proposal.roots, effects.centers(values.b), values.omega
    )  # fmt: skip
    left = every
    for again in range(_ADAPTATIONS):
        draws = draws_of(proposal, left, DRAWS, random, complete.prepared.threads)
        weights = log_weights(complete, values, draws)
        poor = _share(weights) <= _GOOD_SHARE
        left = left[poor]
        if not len(left):
            break
        phi, weights, mine = draws.phi[poor], weights[poor], proposal.take(left)
        if again == 2 and proposal.means.shape[1] == 1 and phi.shape[2] > 1:
            proposal = proposal.in_parts(_PARTS)
            mine = mine.split(phi, weights, _PARTS, random)
        else:
            mine = mine.adapted(phi, weights)
        proposal = proposal.put(left, mine)
    return proposal


def _share(weights: np.ndarray) -> np.ndarray:
    top = weights.max(axis=1, keepdims=True)
    w = np.exp(weights - np.where(np.isfinite(top), top, 0.0))
    return w.sum(axis=1) ** 2 / np.maximum((w**2).sum(axis=1), 1e-300) / weights.shape[1]


def know(
    complete: Complete, row: np.ndarray, proposal: Proposal, accuracy: Accuracy, before: Known | None = None
) -> Known:
    """Draw until -2 ln L at a row of estimates is as exact as wanted; go on from what is known before."""
    patients = len(proposal.means)
    rounds = Rounds(patients, DRAWS) if before is None else before.rounds
    random = accuracy.random(1 if before is None else 2)
    most = max(_FIRST_ROUNDS, accuracy.draws // DRAWS)
    active = np.arange(patients) if before is None else _worth_more(rounds, accuracy.error)
    while len(active):
        draws = draws_of(proposal, active, DRAWS, random, complete.prepared.threads)
        rounds.add(active, summarise(complete, row, draws))
        if rounds.rounds.max() >= _FIRST_ROUNDS:
            active = _worth_more(rounds, accuracy.error)
        active = active[rounds.rounds[active] < most]
    summary = rounds.summary()
    score, observed, _ = information(complete.effects, row, summary)
    return Known(row, rounds, summary, score, observed, proposal, complete.effects.slices["omega"].start)


def rounds_to_come(known: Known, accuracy: Accuracy, *, anew: bool) -> float:
    """Return about how many rounds of all patients it takes to the wanted error, from here or from none."""
    done = float(known.rounds.rounds.mean())
    needed = done * (known.rounds.error / accuracy.error) ** 2
    needed = min(max(needed, _FIRST_ROUNDS), accuracy.draws / DRAWS)
    return needed + 1.0 if anew else max(needed - done, 0.0)


def _worth_more(rounds: Rounds, wanted: float) -> np.ndarray:
    """Return the patients whose further draws make the error smaller; none where it is small enough."""
    few = rounds.effective < ENOUGH
    variance = rounds.variances
    if rounds.error <= wanted:
        return np.flatnonzero(few)
    return np.flatnonzero(few | (variance >= 0.5 * variance.mean()))


def climb(
    complete: Complete, row: np.ndarray, proposal: Proposal, accuracy: Accuracy
) -> tuple[np.ndarray, Proposal]:
    """Go to the maximum of the likelihood as fixed draws see it, by Newton's steps.

    Returns
    -------
    row : ndarray
    proposal : Proposal
        Which suits it.
    """
    random = accuracy.random(0)
    proposal = adapt(complete, row, proposal, random)
    draws = _some(complete, row, proposal, random)
    at = _seen(complete, row, draws)
    for _ in range(_STEPS):
        score, observed, _ = information(complete.effects, row, at)
        step = np.linalg.solve(positive(observed, complete.effects.slices["omega"].start), score)
        length = math.sqrt(max(float(score @ step), 0.0))
        if length**2 < _GAIN:
            break
        step *= min(1.0, _FARTHEST / length)
        for _ in range(_HALVINGS):
            there = _seen(complete, row + step, draws)
            if there.log_mean.sum() > at.log_mean.sum():
                break
            step /= 2
        else:
            break
        row, at = row + step, there
        if length > _NEAR:  # fixed draws see only their neighbourhood
            proposal = adapt(complete, row, proposal, random)
            draws = _some(complete, row, proposal, random)
            at = _seen(complete, row, draws)
    return row, adapt(complete, row, proposal, random)


def _some(
    complete: Complete, row: np.ndarray, proposal: Proposal, random: np.random.Generator
) -> list[Draws]:  # fmt: skip
    """Return draws to climb with."""
    every = np.arange(len(proposal.means))
    threads = complete.prepared.threads
    return [
        draws_of(proposal, every, DRAWS, random, threads).predicted(complete, row) for _ in range(_CLIMBED)
    ]


def _seen(complete: Complete, row: np.ndarray, draws: list[Draws]) -> Summary:
    """Return what the same draws say at another row."""
    rounds = Rounds(len(draws[0].patients), DRAWS)
    for some in draws:
        rounds.add(some.patients, summarise(complete, row, some))
    return rounds.summary()


def proposal_of(complete: Complete, row: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> Proposal:
    """Return a first proposal from moments of chains."""
    return first_proposal(complete.effects, complete.effects.unpack(row), mean, covariance)
