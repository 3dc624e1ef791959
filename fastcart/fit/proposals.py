"""Draws for the likelihood of populations: mixtures of t distributions of each patient, and the population.

Draws are quasi-random: Sobol's points, scrambled anew for each round, shifted anew for each patient [1]. They
are as unbiased as random ones, their errors are smaller, and rounds tell how large.

1. A. B. Owen, Randomly permuted (t,m,s)-nets and (t,s)-sequences, in: Monte Carlo and Quasi-Monte Carlo
   Methods in Scientific Computing, 299-317 (1995).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.polynomial.chebyshev import chebfit, chebval
from scipy.special import gammainccinv, gammaincinv, gammaln, logsumexp, ndtr, ndtri
from scipy.stats import qmc

from fastcart.fit.effects import Effects, Values
from fastcart.solvers.threads import in_few_parts

FREEDOM = 5.0  # of the t distributions
FROM_POPULATION = 0.1  # of the draws
_BITS = 30
_FARTHEST = 6.5  # normal numbers: points of so many bits reach 6.2
_DEGREE = 26
_WIDER = 1.15  # than the weighted covariance
_THINNEST = 1e-3  # of omega


@dataclass(frozen=True)
class Proposal:
    """From where random effects of each patient are drawn.

    Parameters
    ----------
    shares : ndarray, shape (patients, parts)
        Of the parts among those that are not from the population.
    means : ndarray, shape (patients, parts, random)
    roots : ndarray, shape (patients, parts, random, random)
        Cholesky's factors of the shapes.
    centers : ndarray, shape (patients, random)
        Of the population,
    omega : ndarray
        and its covariance.
    """

    shares: np.ndarray
    means: np.ndarray
    roots: np.ndarray
    centers: np.ndarray
    omega: np.ndarray

    def take(self, patients: np.ndarray) -> Proposal:
        """Return the same for some patients."""
        return Proposal(
            self.shares[patients], self.means[patients], self.roots[patients], self.centers[patients],
            self.omega,
        )  # fmt: skip

    def put(self, patients: np.ndarray, other: Proposal) -> Proposal:
        """Return the same with that of some patients replaced."""
        changed = {name: getattr(self, name).copy() for name in ("shares", "means", "roots")}
        for name, values in changed.items():
            values[patients] = getattr(other, name)
        return replace(self, **changed)

    def in_parts(self, parts: int) -> Proposal:
        """Return the same distributions of one part as ones of several, the others without a share."""
        shares = np.zeros((len(self.means), parts))
        shares[:, 0] = 1.0
        means, roots = (np.repeat(x, parts, axis=1) for x in (self.means, self.roots))
        return replace(self, shares=shares, means=means, roots=roots)

    def draw(
        self, count: int, random: np.random.Generator, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw for each patient.

        Parameters
        ----------
        count : int
            A power of 2.
        random : Generator
        threads : int
            Draws do not depend on it.

        Returns
        -------
        phi : ndarray, shape (patients, count, random)
        log_density : ndarray, shape (patients, count)
        """
        patients, _, size = self.means.shape
        points = _points(patients, count, size + 2, random)
        phi, density = np.empty((patients, count, size)), np.empty((patients, count))

        def part(low: int, high: int) -> None:
            some = self.take(np.arange(low, high))
            phi[low:high] = some._at(points[low:high])
            density[low:high] = some.log_density(phi[low:high])

        in_few_parts(part, patients, threads, points.size, least=1)
        return phi, density

    def _at(self, u: np.ndarray) -> np.ndarray:
        """Return the draws that belong to points of the unit cube."""
        normal = ndtri(u[:, :, 1:])
        radius, normal = _stretch(normal[:, :, :1]), normal[:, :, 1:]
        bounds = np.cumsum(self.shares, axis=1)[:, :-1] * (1.0 - FROM_POPULATION)
        which = (u[:, :, :1] >= bounds[:, np.newaxis, :]).sum(axis=2)
        root = np.linalg.cholesky(self.omega)
        phi = self.centers[:, np.newaxis] + normal @ root.T
        stretched = normal * radius
        own = u[:, :, :1] < 1.0 - FROM_POPULATION
        for k in range(self.means.shape[1]):
            moved = np.matmul(stretched, self.roots[:, k].transpose(0, 2, 1))
            moved += self.means[:, k, np.newaxis]
            np.copyto(phi, moved, where=own & (which == k)[:, :, np.newaxis])
        return phi

    def parts_of(self, phi: np.ndarray) -> np.ndarray:
        """Return the log-density of each part with its share, patients x draws x parts."""
        patients, parts, size = self.means.shape
        out = np.empty((*phi.shape[:2], parts))
        constant = (
            gammaln((FREEDOM + size) / 2) - gammaln(FREEDOM / 2) - 0.5 * size * np.log(FREEDOM * np.pi)
        )  # fmt: skip
        for k in range(parts):
            inverse = np.linalg.inv(self.roots[:, k])
            z = np.matmul(phi - self.means[:, k, np.newaxis], inverse.transpose(0, 2, 1))
            volume = np.log(np.diagonal(self.roots[:, k], axis1=1, axis2=2)).sum(axis=1)
            body = -0.5 * (FREEDOM + size) * np.log1p((z**2).sum(axis=2) / FREEDOM)
            with np.errstate(divide="ignore"):
                share = np.log(self.shares[:, k])
            out[:, :, k] = constant + body + (share - volume)[:, np.newaxis]
        return out + np.log(1.0 - FROM_POPULATION)

    def log_density(self, phi: np.ndarray) -> np.ndarray:
        """Return the log-density of draws."""
        prior = log_prior(phi - self.centers[:, np.newaxis], self.omega) + np.log(FROM_POPULATION)
        return np.logaddexp(logsumexp(self.parts_of(phi), axis=2), prior)

    def adapted(self, phi: np.ndarray, log_weight: np.ndarray) -> Proposal:
        """Return a mixture that is nearer to what weighted draws say; a step of EM [1].

        1. O. Cappé et al., Adaptive importance sampling in general mixture classes, Statistics and Computing
           18, 447-459 (2008).
        """
        weight = tempered(log_weight)
        parts = self.parts_of(phi)
        with np.errstate(invalid="ignore"):
            mine = np.exp(parts - logsumexp(parts, axis=2, keepdims=True)) * weight[:, :, np.newaxis]
        mine = np.nan_to_num(mine)
        sums = mine.sum(axis=1)
        shares = np.maximum(sums / sums.sum(axis=1, keepdims=True), 0.02)
        shares /= shares.sum(axis=1, keepdims=True)
        thin = np.diag(_THINNEST**2 * np.diag(self.omega))
        means, roots = np.empty_like(self.means), np.empty_like(self.roots)
        for k in range(self.means.shape[1]):
            w = mine[:, :, k]
            total = w.sum(axis=1)
            alive = total > 1e-3  # else a part has nothing to learn from
            w = np.where(alive[:, np.newaxis], w / np.where(alive, total, 1.0)[:, np.newaxis], weight)
            mean, covariance = moments(phi, w)
            means[:, k] = mean
            roots[:, k] = np.linalg.cholesky(_WIDER * covariance + thin)
        return Proposal(shares, means, roots, self.centers, self.omega)

    def split(
        self, phi: np.ndarray, log_weight: np.ndarray, parts: int, random: np.random.Generator
    ) -> Proposal:
        """Return a mixture of several parts, that begin at draws taken by their weights."""
        weight = np.cumsum(tempered(log_weight), axis=1)
        patients = len(phi)
        u = (random.random((patients, 1)) + np.arange(parts)) / parts * weight[:, -1:]
        chosen = (u[:, :, np.newaxis] > weight[:, np.newaxis, :]).sum(axis=2)
        chosen = np.minimum(chosen, phi.shape[1] - 1)
        means = np.take_along_axis(phi, chosen[:, :, np.newaxis], axis=1)
        roots = np.repeat(self.roots[:, :1], parts, axis=1)
        return Proposal(np.full((patients, parts), 1.0 / parts), means, roots, self.centers, self.omega)


@cache
def _stretch_series() -> np.ndarray:
    """Return Chebyshev's series of the logarithm of how far a t distribution stretches a normal one.

    By the normal number of the same rank as the chi-square number in it: smooth, while that number itself
    takes thirty times as long as the rest of a draw.
    """
    z = _FARTHEST * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    above = z > 0  # each tail by its own function: of a rank near one little is left
    chi_square = np.where(
        above, 2 * gammaincinv(FREEDOM / 2, ndtr(-z)), 2 * gammainccinv(FREEDOM / 2, ndtr(z))
    )
    return chebfit(z / _FARTHEST, 0.5 * np.log(FREEDOM / chi_square), _DEGREE)


def _stretch(z: np.ndarray) -> np.ndarray:
    """Return by how much normal numbers are to be stretched, given other ones."""
    return np.exp(chebval(z / _FARTHEST, _stretch_series()))


def _points(patients: int, count: int, size: int, random: np.random.Generator) -> np.ndarray:
    """Return points of the unit cube, each patient's shifted by its own random bits."""
    seed = int(random.integers(2**31))
    base = qmc.Sobol(size, scramble=True, bits=_BITS, rng=np.random.default_rng(seed)).random(count)
    whole = (base * 2.0**_BITS).astype(np.int64)
    shift = random.integers(2**_BITS, size=(patients, 1, size), dtype=np.int64)
    return ((whole ^ shift) + 0.5) / 2.0**_BITS


def log_prior(away: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """Return the log-density of random effects; the last axis is theirs."""
    root = np.linalg.cholesky(omega)
    z = away @ np.linalg.inv(root).T
    return -0.5 * (z**2).sum(axis=-1) - np.log(np.diag(root)).sum() - 0.5 * len(omega) * np.log(2 * np.pi)


def moments(phi: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weighted means and covariances of each patient's draws; weights add up to one."""
    mean = np.matmul(weight[:, np.newaxis, :], phi)[:, 0]
    away = phi - mean[:, np.newaxis]
    return mean, np.matmul((away * weight[:, :, np.newaxis]).transpose(0, 2, 1), away)


def tempered(log_weight: np.ndarray, enough: float = 40.0) -> np.ndarray:
    """Return weights, flattened where a few draws have nearly all."""
    top = log_weight.max(axis=1, keepdims=True)
    away = np.where(np.isfinite(log_weight), log_weight - np.where(np.isfinite(top), top, 0.0), -np.inf)
    weight = np.zeros_like(away)
    left = np.ones(len(away), dtype=bool)
    for power in (1.0, 0.7, 0.5, 0.3, 0.15, 0.05):
        w = np.exp(power * away[left])
        w /= w.sum(axis=1, keepdims=True)
        weight[left] = w
        few = 1.0 / (w**2).sum(axis=1) < enough
        left[np.flatnonzero(left)[~few]] = False
        if not left.any():
            break
    return weight


def first_proposal(
    effects: Effects, values: Values, mean: np.ndarray, covariance: np.ndarray
) -> Proposal:  # fmt: skip
    """Return a t distribution around each patient's mean, of its covariance."""
    thin = np.diag(_THINNEST * np.diag(values.omega))
    roots = np.linalg.cholesky(_WIDER * covariance + thin)
    shares = np.ones((len(mean), 1))
    centers = effects.centers(values.b)
    return Proposal(shares, mean[:, np.newaxis], roots[:, np.newaxis], centers, values.omega)
