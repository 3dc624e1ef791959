"""Randomization, accrual and drop-out of one trial, from a seed and the number of the replicate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastcart.checks import count, number, shown
from fastcart.errors import InputError, nearest
from fastcart.typing_names import Randomization

METHODS = ("simple", "blocks", "stratified")
STRATA_EDGES = (5e10, 2e11)  # cells; strata of the baseline burden

# one stream for each purpose, so that a change of one thing leaves all others as they are
_ENROLL, _RANDOMIZE, _ACCRUAL, _DROPOUT = range(4)


@dataclass(frozen=True, kw_only=True)
class Design:
    """How a two-arm trial is run.

    Parameters
    ----------
    n_per_arm : int
        Twice as many patients are enrolled; simple randomization splits them only about evenly.
    randomization : {'stratified', 'blocks', 'simple'}
        Permuted blocks within strata of the baseline burden, permuted blocks, or a coin for each patient.
    block_sizes : sequence of int
        Even sizes, drawn at random, so that the last allocation of a block cannot be guessed.
    strata_edges : sequence of float
        Burdens (cells) between the strata, ascending.
    accrual : float
        Days over which patients enter, uniformly.
    cutoff : float, optional
        Calendar day of the analysis, counted from the first entry; those still followed are censored.
        Default: everyone is followed to the horizon.
    dropout : float
        Share of patients lost to follow-up per year, in [0, 1); exponential.

    Raises
    ------
    InputError
        For negative times, odd blocks, a cut-off before accrual has ended, and the like.
    """

    n_per_arm: int = 160
    randomization: Randomization = "stratified"
    block_sizes: tuple[int, ...] = (4, 6)
    strata_edges: tuple[float, ...] = STRATA_EDGES
    accrual: float = 0.0
    cutoff: float | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        count(self.n_per_arm, "The number of patients per arm")
        if self.randomization not in METHODS:
            raise InputError(
                f"There is no randomization {shown(self.randomization)}."
                + nearest(self.randomization, METHODS)
            )
        object.__setattr__(self, "block_sizes", _block_sizes(self.block_sizes))
        edges = tuple(number(e, "An edge of the strata", positive=True) for e in self.strata_edges)
        if list(edges) != sorted(set(edges)):
            raise InputError("The edges of the strata must be ascending and distinct.")
        object.__setattr__(self, "strata_edges", edges)
        if number(self.accrual, "The days of accrual") < 0:
            raise InputError(f"The days of accrual must not be negative, not {self.accrual:g}.")
        if self.cutoff is not None:
            end = number(self.cutoff, "The day of the cut-off", positive=True)
            if end <= self.accrual:
                raise InputError(
                    f"The cut-off on day {end:g} must come after the accrual of {self.accrual:g} days."
                )
        if not 0 <= number(self.dropout, "The drop-out per year") < 1:
            raise InputError(f"The drop-out per year must lie in [0, 1), not {self.dropout:g}.")


def _block_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    listed = tuple(count(size, "The size of a block") for size in sizes)
    if not listed or any(size % 2 for size in listed):
        raise InputError(f"The sizes of blocks must be even numbers, not {shown(list(listed))}.")
    return listed


def stream(seed: int, replicate: int, purpose: int) -> np.random.Generator:
    """Return the generator of one purpose of one replicate."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(replicate, purpose)))


def enroll(population: int, design: Design, *, seed: int, replicate: int = 0) -> np.ndarray:
    """Draw the patients of one trial with replacement; rows of the population, in the order of entry."""
    return stream(seed, replicate, _ENROLL).integers(population, size=2 * design.n_per_arm)


def strata_of(burden: np.ndarray, edges: Sequence[float] = STRATA_EDGES) -> np.ndarray:
    """Return the stratum of each baseline burden (cells); a burden on an edge belongs to the upper one."""
    return np.searchsorted(np.asarray(edges), burden, side="right")


def randomize(strata: np.ndarray, design: Design, *, seed: int, replicate: int = 0) -> np.ndarray:
    """Allocate the patients of one trial.

    Parameters
    ----------
    strata : ndarray of int, shape (patients,)
        In the order of entry; looked at by stratified randomization only.
    design : Design
    seed, replicate : int

    Returns
    -------
    ndarray of bool, shape (patients,)
        Whether a patient gets the treatment rather than the control. In permuted blocks the arms of a stratum
        differ by at most half of the largest block.
    """
    rng = stream(seed, replicate, _RANDOMIZE)
    n = len(strata)
    if design.randomization == "simple":
        return rng.random(n) < 0.5
    treated = np.empty(n, dtype=bool)
    groups = strata if design.randomization == "stratified" else np.zeros(n, dtype=int)
    # every possible stratum draws, so that who is in one does not change the allocation in another
    for group in range(len(design.strata_edges) + 1):
        sequence = _permuted_blocks(n, design.block_sizes, rng)
        rows = np.flatnonzero(groups == group)
        treated[rows] = sequence[: len(rows)]
    return treated


def _permuted_blocks(n: int, sizes: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    drawn = rng.choice(np.asarray(sizes), size=n // min(sizes) + 1)
    block = np.repeat(np.arange(len(drawn)), drawn)
    place = np.arange(len(block)) - np.repeat(np.cumsum(drawn) - drawn, drawn)
    half = place < np.repeat(drawn // 2, drawn)
    order = np.lexsort((rng.random(len(block)), block))
    return half[order][:n]


def follow_up(design: Design, horizon: float, *, seed: int, replicate: int = 0) -> np.ndarray:
    """Return for how long each enrolled patient is followed (days): horizon, cut-off or drop-out."""
    n = 2 * design.n_per_arm
    days = np.full(n, float(horizon))
    # patients are enrolled in the order of entry
    entry = np.sort(stream(seed, replicate, _ACCRUAL).random(n)) * design.accrual
    if design.cutoff is not None:
        days = np.minimum(days, design.cutoff - entry)
    if design.dropout > 0:
        rate = -np.log1p(-design.dropout) / 365.0
        days = np.minimum(days, stream(seed, replicate, _DROPOUT).exponential(1 / rate, size=n))
    return days


def draw(
    burden: np.ndarray, design: Design, *, seed: int, replicate: int, horizon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw all that is random in one trial.

    Parameters
    ----------
    burden : ndarray, shape (population,)
        Baseline burden (cells).
    design : Design
    seed, replicate : int
    horizon : float
        Days.

    Returns
    -------
    rows, strata, treated, followed : ndarray, shape (enrolled,)
        Row of the population, stratum, whether treated, days of follow-up; in the order of entry.
    """
    rows = enroll(len(burden), design, seed=seed, replicate=replicate)
    strata = strata_of(burden[rows], design.strata_edges)
    treated = randomize(strata, design, seed=seed, replicate=replicate)
    return rows, strata, treated, follow_up(design, horizon, seed=seed, replicate=replicate)
