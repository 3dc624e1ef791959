"""Profile likelihoods of a population: one estimate held at places, all others fitted anew.

All refits see the same draws of each patient, whose predictions are kept, so that thousands of them need no
further solve; -2 ln L rises by differences on these, which Monte Carlo errors leave nearly alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtri

from fastcart.checks import count, number, seed_of, shown
from fastcart.errors import InputError, nearest
from fastcart.fit.marginal import Rounds, Summary, draws_of, information, summarise
from fastcart.fit.population_fit import PopulationFit
from fastcart.fit.saem import positive
from fastcart.representation import in_brief, section

_DRAWS = 1024  # of each patient in a round
_ROUNDS = (3, 8)  # at least and at most; in between so many that no more than
_WEIGHED = 300_000  # draws of all patients are weighed at each step,
_KEPT = 24_000_000  # and predictions are kept
_STEPS = 30
_GAIN = 1e-3  # of -2 ln L that a further step would win
_FARTHEST = 1.0  # standard errors in one step
_HALVINGS = 8
_LEAST_SHARE = 0.02  # of effective draws: fewer, and a place is too far from the draws
_LEVEL = 0.05


@dataclass(frozen=True, eq=False, repr=False)
class PopulationProfile:
    """Profiles of a population's likelihood; made by `fastcart.fit.profile` of a population's fit.

    Parameters
    ----------
    fit : PopulationFit
    parameter : str
    grid : ndarray, shape (points,)
        In the scale of the estimate.
    rise : ndarray, shape (points,)
        Of -2 ln L above its minimum on the same draws; NaN where nothing was found.
    error : ndarray, shape (points,)
        Its Monte Carlo error.
    rows : ndarray, shape (points, names)
        All estimates along the profile, in their scales.
    says : tuple of str
        ``ok``; ``not found`` where Newton's steps did not end, ``draws do not reach`` where a patient has too
        few effective draws.
    """

    fit: PopulationFit
    parameter: str
    grid: np.ndarray
    rise: np.ndarray
    error: np.ndarray
    rows: np.ndarray
    says: tuple[str, ...]

    def table(self) -> pd.DataFrame:
        """Return a row for each place: ``place``, ``rise``, ``error``, all estimates (natural), ``says``."""
        natural = np.array([self.fit.natural(row) for row in self.rows])
        which = self.fit.names.index(self.parameter)
        place = []
        for at in self.grid:
            row = self.fit.row.copy()
            row[which] = at
            place.append(self.fit.natural(row)[which])
        return pd.DataFrame(
            {
                "place": place, "rise": self.rise, "error": self.error,
                **{name: natural[:, k] for k, name in enumerate(self.fit.names)}, "says": self.says,
            }
        )  # fmt: skip

    def interval(self, level: float = 1.0 - _LEVEL) -> tuple[float, float]:
        """Return within what the profile rises by less than a chi-squared quantile; NaN for no end."""
        part = number(level, "The level", positive=True)
        if not part < 1:
            raise InputError(f"The level must lie between 0 and 1, not {shown(level)}.")
        limit = float(chdtri(1, 1.0 - part))
        which = self.fit.names.index(self.parameter)
        ends = []
        for side in (-1.0, 1.0):
            row = self.fit.row.copy()
            row[which] = _end(self.grid, self.rise, float(self.fit.row[which]), limit, side)
            ends.append(float(self.fit.natural(row)[which]) if np.isfinite(row[which]) else np.nan)
        return ends[0], ends[1]

    def __repr__(self) -> str:
        return in_brief("PopulationProfile", [self.summary().splitlines()[0]])

    def _repr_html_(self) -> str:
        """Show the summary in a notebook."""
        return section("PopulationProfile", [f"<pre>{escape(self.summary())}</pre>"])

    def summary(self) -> str:
        """Return the estimate with its interval in a line, and what was not found."""
        which = self.fit.names.index(self.parameter)
        low, high = self.interval()
        text = (
            f"{self.parameter} {self.fit.natural(self.fit.row)[which]:.4g}, 95 % by its profile from "
            f"{_shown(low)} to {_shown(high)}"
        )
        lost = [x for x in self.says if x != "ok"]
        if not lost:
            return text
        return f"{text}; {len(lost)} of {len(self.says)} places: {', '.join(sorted(set(lost)))}"


def _shown(end: float) -> str:
    return f"{end:.4g}" if np.isfinite(end) else "no end within the places"


def profile_population(
    fit: PopulationFit, parameter: str, *, points: int = 21, width: float = 3.0, places: Any = None,
    seed: int = 0,
) -> PopulationProfile:  # fmt: skip
    """Return the profile likelihood of one estimate of a population.

    Parameters
    ----------
    fit : PopulationFit
    parameter : str
        One of ``fit.names``, such as ``beta`` or ``omega_beta``.
    points : int
        At least 3.
    width : float
        To so many standard errors on both sides.
    places : sequence of float, optional
        Instead of ``points``: natural values at which it is held.
    seed : int
        Of the draws.

    Returns
    -------
    PopulationProfile

    Raises
    ------
    InputError
        For bad input, and an estimate without a standard error where no places are given.
    """
    if parameter not in fit.names:
        raise InputError(f"The fit has no estimate {shown(parameter)}." + nearest(str(parameter), fit.names))
    which = fit.names.index(parameter)
    grid = _grid(fit, which, points, width, places)
    refits = _Refits(fit, which, seed_of(seed))
    best = refits.refit(fit.row, free=True)
    if best is None:
        raise InputError("The likelihood has no maximum near the fit; fit with more draws.")
    found: list[tuple[np.ndarray, Summary, str] | None] = [None] * len(grid)
    middle = int(np.searchsorted(grid, best[0][which]))
    for side in (range(middle, len(grid)), range(middle - 1, -1, -1)):
        row = best[0]
        for k in side:  # warm: from the place before
            there = refits.refit(refits.moved(row, best, grid[k]), free=False)
            if there is not None:
                row, found[k] = there[0], (*there, refits.reached(there[1]))
    rise, error = np.full(len(grid), np.nan), np.full(len(grid), np.nan)
    rows, says = np.full((len(grid), len(fit.row)), np.nan), []
    for k, one in enumerate(found):
        says.append("not found" if one is None else one[2])
        if one is not None and one[2] == "ok":
            rows[k] = one[0]
            rise[k], error[k] = refits.difference(best[0], one[0])
    return PopulationProfile(fit, parameter, grid, rise, error, rows, tuple(says))


def check_points(given: Any) -> int:
    """Return the number of places of a profile.

    Raises
    ------
    InputError
        For less than 3.
    """
    many = count(given, "The points")
    if many < 3:
        raise InputError(f"A profile needs at least 3 points, the optimum and one to each side, not {many}.")
    return many


def _grid(fit: PopulationFit, which: int, points: int, width: float, places: Any) -> np.ndarray:
    """Return places in the scale of the estimate, in ascending order."""
    name = fit.names[which]
    if places is not None:
        listed = [number(x, f"A place of {name!r}") for x in _listed(places)]
        found = np.unique([_scaled(fit, which, x) for x in listed])
        if not np.isfinite(found).all():
            raise InputError(f"A place of {name!r} lies outside of what it can be.")
        return found
    many = check_points(points)
    error = float(np.sqrt(fit.cov[which, which]))
    if not fit.known[which]:
        raise InputError(f"The data do not say what {name!r} is; give the places of its profile.")
    far = number(width, "The width", positive=True) * error
    return fit.row[which] + far * np.linspace(-1.0, 1.0, many)


def _listed(places: Any) -> Sequence[Any]:
    if np.ndim(places) != 1 or not len(places):
        raise InputError(f"The places of a profile must be a list of numbers, not {shown(places)}.")
    return list(places)


def _scaled(fit: PopulationFit, which: int, value: float) -> float:
    """Return a natural value in the scale of its estimate, by bisection: scales are monotonous."""
    row = fit.row.copy()

    def natural(x: float) -> float:
        row[which] = x
        return float(fit.natural(row)[which])

    low, high = -700.0, 700.0
    if natural(1.0) == 1.0 and natural(-2.0) == -2.0:
        return value
    if not natural(low) < value < natural(high):
        return math.nan
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if natural(middle) < value else (low, middle)
    return 0.5 * (low + high)


class _Refits:
    """Maxima of the likelihood as the same draws see it."""

    def __init__(self, fit: PopulationFit, which: int, seed: int):
        self.fit, self.which = fit, which
        complete = fit.complete
        random = np.random.default_rng((seed, 13))
        patients = np.arange(complete.prepared.patients)
        rows = _DRAWS * int(complete.prepared.measurements(patients).sum())
        rounds = int(np.clip(min(_KEPT // max(rows, 1), _WEIGHED // (_DRAWS * len(patients))), *_ROUNDS))
        proposal = fit.best.known.proposal
        self.draws = [
            draws_of(proposal, patients, _DRAWS, random).predicted(complete, fit.row) for _ in range(rounds)
        ]
        self.logs = complete.effects.slices["omega"].start

    def seen(self, row: np.ndarray) -> Summary:
        """Return what the draws say at a row of estimates."""
        rounds = Rounds(len(self.draws[0].patients), _DRAWS)
        for some in self.draws:
            rounds.add(some.patients, summarise(self.fit.complete, row, some))
        return rounds.summary()

    def refit(self, row: np.ndarray, *, free: bool) -> tuple[np.ndarray, Summary] | None:
        """Return the maximum from a row on, with the estimate held where it is unless ``free``."""
        moves = np.arange(len(row))
        if not free:
            moves = np.delete(moves, self.which)
        at = self.seen(row)
        for _ in range(_STEPS):
            score, observed, _ = information(self.fit.complete.effects, row, at)
            curved = positive(observed[np.ix_(moves, moves)], int((moves < self.logs).sum()))
            step = np.zeros(len(row))
            step[moves] = np.linalg.solve(curved, score[moves])
            length = math.sqrt(max(float(score @ step), 0.0))
            if length**2 < _GAIN:
                return row, at
            step *= min(1.0, _FARTHEST / length)
            for _ in range(_HALVINGS):
                there = self.seen(row + step)
                if there.log_mean.sum() > at.log_mean.sum():
                    break
                step /= 2
            else:
                return None
            row, at = row + step, there
        return None

    def moved(
        self, row: np.ndarray, best: tuple[np.ndarray, Summary], place: float
    ) -> np.ndarray:  # fmt: skip
        """Return a row with the estimate at a place, and the others where its covariance says."""
        covariance = self.fit.cov
        along = covariance[:, self.which] / covariance[self.which, self.which]
        out = row + along * (place - row[self.which])
        out[self.which] = place
        return out

    @staticmethod
    def reached(at: Summary) -> str:
        """Whether all patients have enough effective draws."""
        return "ok" if at.share.min() >= _LEAST_SHARE else "draws do not reach"

    def difference(self, best: np.ndarray, row: np.ndarray) -> tuple[float, float]:
        """Return by how much -2 ln L rises from one row to another, and the error of that."""
        logs = np.array(
            [[summarise(self.fit.complete, x, some).log_mean for some in self.draws] for x in (best, row)]
        )  # 2 x rounds x patients
        top = logs.max(axis=1, keepdims=True)
        weight = np.exp(logs - top)
        mean = weight.mean(axis=1)
        rise = 2.0 * float((np.log(mean[0]) + top[0, 0] - np.log(mean[1]) - top[1, 0]).sum())
        relative = weight[0] / mean[0] - weight[1] / mean[1]  # rounds x patients; of mean 0
        rounds = len(relative)
        return rise, 2.0 * float(np.sqrt((relative**2).sum() / rounds / (rounds - 1)))


def _end(grid: np.ndarray, rise: np.ndarray, best: float, limit: float, side: float) -> float:
    """Return where a profile rises above a limit, its root being about linear; NaN where it does not."""
    places, rises = np.append(grid, best), np.append(rise, 0.0)
    keep = np.isfinite(rises) & ((places - best) * side >= 0)
    order = np.argsort((places[keep] - best) * side, kind="stable")
    places, rises = places[keep][order], rises[keep][order]
    over = np.flatnonzero(rises >= limit)
    if not len(over) or over[0] == 0:
        return math.nan
    k = int(over[0])
    a, b = (math.sqrt(max(float(rises[j]), 0.0)) for j in (k - 1, k))
    return float(places[k - 1] + (math.sqrt(limit) - a) / (b - a) * (places[k] - places[k - 1]))
