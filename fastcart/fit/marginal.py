"""The likelihood of a population by importance sampling, with its error, slope and information.

What draws say is summed up for each patient and round; rounds are drawn until the error is small enough, more
of those patients whose error is large. Score and observed information are those of Louis [1], from the same
draws.

1. T. A. Louis, Finding the observed information matrix when using the EM algorithm, Journal of the Royal
   Statistical Society B 44, 226-233 (1982).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from fastcart.fit.complete import Complete, slopes
from fastcart.fit.effects import Effects, Values
from fastcart.fit.predictions import Predictions
from fastcart.fit.proposals import Proposal, log_prior
from fastcart.solvers.threads import in_threads

Part = TypeVar("Part")

_ROWS = 65_536  # draws at a time
_PER_THREAD = 3  # parts at least, so that all end at about one time
_KEPT = 12_000_000  # predictions
_SHIFT = 1e-4  # of the row of estimates, for the curvature of random effects


@dataclass
class Summary:
    """What draws of each patient say at one row of estimates.

    Parameters
    ----------
    log_mean : ndarray, shape (patients,)
        Logarithm of the mean weight: of the likelihood.
    share : ndarray
        The effective part of the draws.
    mean, square : ndarray
        Moments of the random effects, (patients, random) and (patients, random, random).
    score : ndarray, shape (patients, names)
    products : ndarray, shape (patients, names, names)
        Mean products of the scores of single draws.
    second : ndarray, shape (patients, shared, shared)
        Mean second derivatives by what patients share without random effect, and errors.
    """

    log_mean: np.ndarray
    share: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    score: np.ndarray
    products: np.ndarray
    second: np.ndarray


@dataclass(frozen=True)
class Draws:
    """Draws of some patients, patients x draws, and what was predicted with them, where that is kept."""

    patients: np.ndarray
    phi: np.ndarray
    log_density: np.ndarray
    predictions: Predictions | None = None

    def part(self, low: int, high: int) -> Draws:
        """Return those of a part of the patients."""
        kept = self.predictions
        if kept is not None:
            count = self.phi.shape[1]
            offsets = kept.offsets[low * count : high * count + 1]
            kept = Predictions(
                kept.values[offsets[0] : offsets[-1]], offsets - offsets[0],
                kept.status[low * count : high * count],
            )  # fmt: skip
        return Draws(self.patients[low:high], self.phi[low:high], self.log_density[low:high], kept)

    def predicted(self, complete: Complete, row: np.ndarray) -> Draws:
        """Return the same with predictions, where they are few enough to keep, and depend on draws alone."""
        number = self.phi.shape[1] * int(complete.prepared.measurements(self.patients).sum())
        if complete.effects.fixed or number > _KEPT:
            return self
        who = np.repeat(self.patients, self.phi.shape[1])
        values = complete.effects.unpack(row)
        found = complete.predict(self.phi.reshape(-1, self.phi.shape[2]), values.fixed, who)
        return Draws(self.patients, self.phi, self.log_density, found)


def draws_of(
    proposal: Proposal, patients: np.ndarray, count: int, random: np.random.Generator, threads: int = 1
) -> Draws:
    """Draw for some patients."""
    phi, density = proposal.take(patients).draw(count, random, threads)
    return Draws(patients, phi, density)


def log_weights(complete: Complete, values: Values, draws: Draws) -> np.ndarray:
    """Return logarithms of weights, patients x draws."""
    return np.concatenate(_in_parts(complete, draws, lambda one, part: _log_weights(one, values, part)))


def _log_weights(complete: Complete, values: Values, draws: Draws) -> np.ndarray:
    shape = draws.phi.shape[:2]
    phi, who = draws.phi.reshape(-1, draws.phi.shape[2]), np.repeat(draws.patients, shape[1])
    found = complete.density(complete.predict(phi, values.fixed, who), who, values.errors).reshape(shape)
    centers = complete.effects.centers(values.b)[draws.patients]
    return found + log_prior(draws.phi - centers[:, np.newaxis], values.omega) - draws.log_density


def summarise(complete: Complete, row: np.ndarray, draws: Draws) -> Summary:
    """Sum up draws at a row of estimates, some patients at a time."""
    parts = _in_parts(complete, draws, lambda one, part: _summarise(one, row, part))
    return Summary(*(np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])))


def _in_parts(complete: Complete, draws: Draws, work: Callable[[Complete, Draws], Part]) -> list[Part]:
    """Return what ``work`` makes of the draws of some patients at a time; threads take parts of them.

    Around the solves there is as much to be done, which they would do one after the other.
    """
    patients, threads = len(draws.patients), complete.prepared.threads
    most = max(1, _ROWS // draws.phi.shape[1])
    size = min(most, -(-patients // (_PER_THREAD * threads))) if threads > 1 else most
    ends = [(low, min(low + size, patients)) for low in range(0, patients, size)]
    if threads == 1 or len(ends) == 1:
        return [work(complete, draws.part(low, high)) for low, high in ends]
    found: dict[int, Part] = {}
    beside = [complete.prepared.beside(1) for _ in ends]

    def job(k: int) -> None:
        found[k] = work(replace(complete, prepared=beside[k]), draws.part(*ends[k]))

    in_threads([partial(job, k) for k in range(len(ends))], threads, np.zeros(1, dtype=np.int64))
    for one in beside:
        complete.prepared.told(one)
    return [found[k] for k in range(len(ends))]


def _summarise(complete: Complete, row: np.ndarray, draws: Draws) -> Summary:
    effects = complete.effects
    values = effects.unpack(row)
    patients, count, size = draws.phi.shape
    phi, who = draws.phi.reshape(-1, size), np.repeat(draws.patients, count)
    found = slopes(complete, phi, who, (values.fixed, values.errors), at=draws.predictions)
    design = effects.design[draws.patients]
    away = draws.phi - (design @ values.b)[:, np.newaxis]
    weight = found.value.reshape(patients, count) + log_prior(away, values.omega) - draws.log_density
    weight = np.where(np.isnan(weight), -np.inf, weight)
    top = weight.max(axis=1)
    w = np.exp(weight - np.where(np.isfinite(top), top, 0.0)[:, np.newaxis])
    total = w.sum(axis=1)
    with np.errstate(divide="ignore"):
        log_mean = np.where(total > 0, top + np.log(total / count), -np.inf)
    w /= np.where(total > 0, total, 1.0)[:, np.newaxis]
    share = 1.0 / np.maximum((w**2).sum(axis=1), 1e-300) / count * (total > 0)
    scores = np.empty((patients, count, len(row)))
    _effect_scores(effects, values, away, design, scores)
    shared = _shared(effects)
    scores[:, :, shared] = found.first.reshape(patients, count, -1)
    weighted = scores * w[:, :, np.newaxis]
    second = np.matmul(w[:, np.newaxis, :], found.second.reshape(patients, count, -1))[:, 0]
    return Summary(
        log_mean, share, np.matmul(w[:, np.newaxis, :], draws.phi)[:, 0],
        np.matmul((draws.phi * w[:, :, np.newaxis]).transpose(0, 2, 1), draws.phi), weighted.sum(axis=1),
        np.matmul(weighted.transpose(0, 2, 1), scores), second.reshape(patients, len(shared), len(shared)),
    )  # fmt: skip


def _shared(effects: Effects) -> np.ndarray:
    """Return the places in the row of what has no random effect."""
    at = effects.slices
    every = np.arange(len(effects.names))
    return np.concatenate([every[at["fixed"]], every[at["errors"]]])


def _directions(effects: Effects, values: Values) -> np.ndarray:
    """Return how the covariance changes with ``ln omega`` and Fisher's z, one matrix each."""
    omega, size = values.omega, np.sqrt(np.diag(values.omega))
    out = []
    for k in range(len(size)):
        moved = np.zeros_like(omega)
        moved[k] += omega[k]
        moved[:, k] += omega[:, k]
        out.append(moved)
    for j, k in effects.pairs:
        moved = np.zeros_like(omega)
        r = omega[j, k] / (size[j] * size[k])
        moved[j, k] = moved[k, j] = size[j] * size[k] * (1.0 - r * r)
        out.append(moved)
    return np.array(out)


def _effect_scores(
    effects: Effects, values: Values, away: np.ndarray, design: np.ndarray, out: np.ndarray
) -> None:
    """Write the slopes of the log-density of random effects."""
    precision = np.linalg.inv(values.omega)
    u = away @ precision
    at = effects.slices
    out[:, :, at["b"]] = np.matmul(u, design)
    begin = at["omega"].start
    for k, moved in enumerate(_directions(effects, values)):
        out[:, :, begin + k] = 0.5 * ((u @ moved) * u).sum(axis=2) - 0.5 * np.trace(precision @ moved)


def _effect_gradient(
    effects: Effects, row: np.ndarray, mean: np.ndarray, square: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return the slope of the expected log-density of all random effects, given their moments."""
    values = effects.unpack(row)
    precision = np.linalg.inv(values.omega)
    centers = effects.centers(values.b)
    away = mean - centers
    out = np.zeros(len(row))
    at = effects.slices
    out[at["b"]] = np.einsum("i,iqm,qr,ir->m", weight, effects.design, precision, away)
    sums = np.einsum("i,iqr->qr", weight, square)
    cross = np.einsum("i,iq,ir->qr", weight, mean, centers)
    sums = sums - cross - cross.T + np.einsum("i,iq,ir->qr", weight, centers, centers)
    for k, moved in enumerate(_directions(effects, values)):
        part = precision @ moved
        out[at["omega"].start + k] = 0.5 * np.trace(part @ precision @ sums) - 0.5 * weight.sum() * np.trace(
            part
        )
    return out


def information(
    effects: Effects, row: np.ndarray, found: Summary, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return score, observed information and that of the complete data.

    Parameters
    ----------
    effects : Effects
    row : ndarray
    found : Summary
    weight : ndarray, shape (patients,), optional
        How often each patient counts; default: once.
    """
    weight = np.ones(len(found.mean)) if weight is None else weight
    names = len(row)
    complete = np.zeros((names, names))
    own = effects.slices["omega"].start
    moving = [*range(effects.slices["b"].stop), *range(own, effects.slices["pairs"].stop)]
    for j in moving:
        up, down = row.copy(), row.copy()
        up[j] += _SHIFT
        down[j] -= _SHIFT
        above = _effect_gradient(effects, up, found.mean, found.square, weight)
        below = _effect_gradient(effects, down, found.mean, found.square, weight)
        complete[j] = -(above - below) / (2 * _SHIFT)
    complete = (complete + complete.T) / 2
    shared = _shared(effects)
    complete[np.ix_(shared, shared)] = -np.einsum("i,ijk->jk", weight, found.second)
    score = weight @ found.score
    missing = np.einsum("i,ijk->jk", weight, found.products) - np.einsum(
        "i,ij,ik->jk", weight, found.score, found.score
    )
    return score, complete - missing, complete


class Rounds:
    """Summaries of several rounds of draws at one row, put together.

    Attributes
    ----------
    rounds : ndarray of int, shape (patients,)
    """

    def __init__(self, patients: int, draws: int):
        self.draws = draws
        self.rounds = np.zeros(patients, dtype=np.int64)
        self._offset = np.full(patients, -np.inf)
        self._sum = np.zeros(patients)  # of mean weights, relative to the offset
        self._squares = np.zeros(patients)
        self._effective = np.zeros(patients)  # sum of squared weights
        self._parts: dict[str, np.ndarray] = {}

    def add(self, patients: np.ndarray, found: Summary) -> None:
        """Put in a round of some patients."""
        top = np.maximum(self._offset[patients], found.log_mean)
        top = np.where(np.isfinite(top), top, 0.0)
        with np.errstate(invalid="ignore"):
            old = np.where(np.isfinite(self._offset[patients]), np.exp(self._offset[patients] - top), 0.0)
        new = np.exp(found.log_mean - top)
        self._offset[patients] = top
        self._sum[patients] = old * self._sum[patients] + new
        self._squares[patients] = old**2 * self._squares[patients] + new**2
        per_draw = new**2 / np.maximum(found.share * self.draws, 1e-300)
        self._effective[patients] = old**2 * self._effective[patients] + per_draw
        for name in ("mean", "square", "score", "products", "second"):
            value = vars(found)[name]
            if name not in self._parts:
                self._parts[name] = np.zeros((len(self.rounds), *value.shape[1:]))
            wide = (slice(None), *(np.newaxis,) * (value.ndim - 1))
            self._parts[name][patients] = old[wide] * self._parts[name][patients] + new[wide] * value
        self.rounds[patients] += 1

    @property
    def log_likelihood(self) -> np.ndarray:
        """Of each patient."""
        with np.errstate(divide="ignore"):
            return self._offset + np.log(self._sum / self.rounds)

    @property
    def variances(self) -> np.ndarray:
        """Of each patient's log-likelihood, by how its rounds differ; infinite for less than two."""
        n = self.rounds
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = self._sum / n
            spread = np.maximum(self._squares / n - mean**2, 0.0) * n / (n - 1)
            found = spread / n / mean**2
        return np.where(n > 1, found, np.inf)

    @property
    def error(self) -> float:
        """The standard error of -2 ln L."""
        return float(2.0 * np.sqrt(self.variances.sum()))

    @property
    def effective(self) -> np.ndarray:
        """The effective number of draws of each patient."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(self._sum**2 / self._effective)

    def summary(self) -> Summary:
        """Return all rounds as one."""
        parts = {
            name: value / self._sum[(slice(None), *(np.newaxis,) * (value.ndim - 1))]
            for name, value in self._parts.items()
        }
        return Summary(self.log_likelihood, self.effective / (self.rounds * self.draws), **parts)
