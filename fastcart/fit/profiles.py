"""Profile likelihoods: one parameter held at places of a grid, all others fitted anew, all in one batch.

Every place starts from the optimum; then those next to each other exchange what they found, outward from the
optimum, until none gains any more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import Any, overload

import numpy as np
import pandas as pd

from fastcart.checks import count, seed_of, shown
from fastcart.errors import InputError, nearest
from fastcart.fit.individuals import around
from fastcart.fit.levenberg import Bounds, Minima
from fastcart.fit.population_fit import PopulationFit
from fastcart.fit.population_profiles import PopulationProfile, check_points, profile_population
from fastcart.fit.results import IndividualFit
from fastcart.representation import in_brief, section
from fastcart.tables.ids import id_places, id_shown

THRESHOLD = 3.841459  # of the rise of -2 ln L: 95 % of a chi-squared distribution of one degree of freedom
_GAIN = 1e-3  # of -2 ln L, from which on a place that is lower than the optimum starts the fit anew
_WIDTH = 6.0  # standard errors to both sides, where these are known
_SPREAD = 0.3  # of logarithms, of further starts around the optimum
_EXCHANGES = 6  # at most
_ENOUGH = 1e-6  # what an exchange must gain


@dataclass(frozen=True, eq=False, repr=False)
class Profile:
    """A profile of one parameter in each patient; made by `fastcart.fit.profile`.

    Parameters
    ----------
    fit : IndividualFit
        The fit, from the lowest place where a place of the profile was lower than the optimum.
    parameter : str
    patient : ndarray of int, shape (patients,)
        Places of the patients.
    grid : ndarray, shape (patients, points)
        In natural units.
    rise : ndarray, shape (patients, points)
        Of -2 ln L above the optimum; infinite where nothing could be solved.
    values : ndarray, shape (patients, points, names)
        All estimates along the profile.
    restarted : tuple
        Ids of the patients whose optimum was found to be none.
    """

    fit: IndividualFit
    parameter: str
    patient: np.ndarray
    grid: np.ndarray
    rise: np.ndarray
    values: np.ndarray
    restarted: tuple[Any, ...]

    def table(self) -> pd.DataFrame:
        """Return a row for each patient and place: the place, ``rise``, all estimates, ``at_bound``."""
        ids = self.fit.search.prepared.data.ids[self.patient]
        points = self.grid.shape[1]
        estimates, shown = self.fit.search.estimates, self.fit.shown
        x = np.ones((len(self.patient) * points, len(estimates.names)))
        x[:, shown] = self.values.reshape(len(x), -1)
        x = estimates.estimated(x)[:, shown]
        owner, search = np.repeat(self.patient, points), self.fit.search
        low, high = search.low[owner][:, shown], search.high[owner][:, shown]
        near = 1e-6 * (high - low)
        free = np.isnan(search.fixed[owner])[:, shown]
        free[:, self.fit.names.index(self.parameter)] = False
        at = free & ((x <= low + near) | (x >= high - near))
        hits = [", ".join(n for n, hit in zip(self.fit.names, row, strict=True) if hit) for row in at]
        return pd.DataFrame(
            {
                "patient": np.repeat(ids, points), "place": self.grid.ravel(), "rise": self.rise.ravel(),
                **{name: self.values[:, :, k].ravel() for k, name in enumerate(self.fit.names)},
                "at_bound": hits,
            }
        )  # fmt: skip

    def intervals(self) -> pd.DataFrame:
        """Return the 95 % interval of each patient.

        Columns: ``patient``, ``estimate``, ``low``, ``high`` (NaN where the profile does not rise by 3.84 up
        to the bound), ``says``: ``ok``, ``no lower end``, ``no upper end``, ``not identifiable`` for neither.
        """
        which = self.fit.names.index(self.parameter)
        log = bool(self.fit.search.estimates.log[self.fit.shown[which]])
        rows = []
        for k, i in enumerate(self.patient):
            best = self.fit.values[i, which]
            low = _crossing(self.grid[k], self.rise[k], best, log, -1)
            high = _crossing(self.grid[k], self.rise[k], best, log, 1)
            says = {(True, True): "ok", (False, True): "no lower end", (True, False): "no upper end"}
            found = (bool(np.isfinite(low)), bool(np.isfinite(high)))
            rows.append((best, low, high, says.get(found, "not identifiable")))
        frame = pd.DataFrame(rows, columns=["estimate", "low", "high", "says"])
        frame.insert(0, "patient", self.fit.search.prepared.data.ids[self.patient])
        return frame

    def __repr__(self) -> str:
        return in_brief("Profile", [self.summary().splitlines()[0]])

    def _repr_html_(self) -> str:
        """Show the summary in a notebook."""
        return section("Profile", [f"<pre>{escape(self.summary())}</pre>"])

    def summary(self) -> str:
        """Return a line for each patient."""
        lines = [
            f"patient {id_shown(row.patient)}: {self.parameter} {row.estimate:.4g}, 95 % from {row.low:.4g} "
            f"to {row.high:.4g}: {row.says}"
            for row in self.intervals().itertuples()
        ]
        if self.restarted:
            who = ", ".join(map(id_shown, self.restarted))
            lines.append(f"the profile went below the optimum, and the fit started anew from there: {who}")
        return "\n".join(lines)


@overload
def profile(fit: IndividualFit, parameter: str, **options: Any) -> Profile: ...
@overload
def profile(fit: PopulationFit, parameter: str, **options: Any) -> PopulationProfile: ...
def profile(fit: Any, parameter: str, **options: Any) -> Any:
    """Return the profile likelihood of a parameter.

    Parameters
    ----------
    fit : IndividualFit or PopulationFit
    parameter : str
        One of ``fit.names``.
    **options
        As of `profile_individuals`: ``patients``, ``points``, ``starts``, ``iterations``, ``seed``; or of
        `fastcart.fit.population_profiles.profile_population`: ``points``, ``width``, ``places``, ``seed``.

    Returns
    -------
    Profile or PopulationProfile

    Raises
    ------
    InputError
        For a parameter that was not estimated, a patient in whom it is fixed, less than 3 points.
    """
    if isinstance(fit, PopulationFit):
        return profile_population(fit, parameter, **options)
    if not isinstance(fit, IndividualFit):
        raise InputError(
            f"A profile is made of a fit of individuals or of a population, not of {shown(fit)}."
        )
    return profile_individuals(fit, parameter, **options)


def profile_individuals(
    fit: IndividualFit,
    parameter: str,
    *,
    patients: Any = None,
    points: int = 21,
    starts: int = 2,
    iterations: int = 100,
    seed: int = 0,
) -> Profile:
    """Return the profile likelihood of a parameter in each patient.

    Parameters
    ----------
    fit : IndividualFit
    parameter : str
        One of ``fit.names``.
    patients : sequence of ids, optional
        Default: all.
    points : int
        Of the grid, at least 3; half of them to each side of the optimum: closely where a standard error is
        known, up to the bounds in any case.
    starts : int
        At each point: the optimum, and places around it.
    iterations : int
        At most, in each round.
    seed : int
        Of the starts.

    Returns
    -------
    Profile

    Raises
    ------
    InputError
        For a parameter that was not estimated, a patient in whom it is fixed, less than 3 points.
    """
    if parameter not in fit.names:
        raise InputError(f"The fit has no parameter {shown(parameter)}." + nearest(parameter, fit.names))
    who = _patients(fit, patients)
    which = fit.search.estimates.names.index(parameter)
    fixed = ~np.isnan(fit.search.fixed[who, which])
    if fixed.any():
        patient = fit.search.prepared.data.ids[who[int(np.argmax(fixed))]]
        raise InputError(f"The parameter {parameter!r} is fixed in patient {id_shown(patient)}.")
    many = check_points(points)
    work = _Work(fit, which, who, many, count(starts, "The starts"), iterations, seed_of(seed))
    found = work.run()
    lower = found.cost.min(axis=1) < fit.cost[who] - _GAIN
    restarted: tuple[Any, ...] = ()
    if lower.any():
        restarted = tuple(fit.search.prepared.data.ids[who[lower]].tolist())
        fit = _restarted(fit, who[lower], found.x[lower, found.cost[lower].argmin(axis=1)], iterations)
        found = replace(work, fit=fit).run()
    estimates = fit.search.estimates
    values = estimates.natural(found.x)
    rise = found.cost - fit.cost[who][:, np.newaxis]
    return Profile(fit, parameter, who, values[:, :, which], rise, values[:, :, fit.shown], restarted)


def _patients(fit: IndividualFit, given: Any) -> np.ndarray:
    ids = fit.search.prepared.data.ids
    if given is None:
        return np.arange(len(ids))
    listed = [given] if isinstance(given, str) or np.ndim(given) == 0 else list(given)
    places = id_places(pd.Series(listed), ids)
    if (places < 0).any():
        raise InputError(f"The patient {shown(listed[int(np.argmax(places < 0))])} is not in the fit.")
    return places


def _restarted(fit: IndividualFit, who: np.ndarray, x: np.ndarray, iterations: int) -> IndividualFit:
    """Return the fit with one more start for these patients, from where a profile went lower."""
    more = fit.search.minimize(x, who, iterations=2 * iterations)
    return IndividualFit.of(fit.search, fit.minima.joined(more), np.append(fit.patient, who))


@dataclass(frozen=True)
class _Work:
    """What a profile is made of."""

    fit: IndividualFit
    which: int
    who: np.ndarray
    points: int
    starts: int
    iterations: int
    seed: int

    def run(self) -> Minima:
        """Return the minimum at each place: arrays of patients x points."""
        grid = self._grid()
        number = self.starts * self.points
        optimum = self.fit.minima.x[self.fit.best[self.who]]
        first = []
        for i, x in enumerate(optimum):
            others = around(self.fit.search, x, int(self.who[i]), number, (_SPREAD, self.seed, 0))
            others[: self.points] = x
            first.append(others)
        x = np.stack(first).reshape(len(self.who), self.starts, self.points, -1)
        x[..., self.which] = grid[:, np.newaxis]
        patient = np.repeat(self.who, number)
        found = self._minimize(x.reshape(len(patient), -1), patient)
        best = _best(found, (len(self.who), self.starts, self.points), axis=1)
        for _ in range(_EXCHANGES):
            gained = self._exchange(best, grid)
            if not gained:
                break
        return best

    def _minimize(self, x: np.ndarray, patient: np.ndarray) -> Minima:
        search = self.fit.search
        fixed = search.fixed[patient]
        x = np.where(np.isnan(fixed), x, fixed)
        free = np.isnan(fixed)
        free[:, self.which] = False
        bounds = Bounds(search.low[patient], search.high[patient], free)
        return search.minimize(x, patient, iterations=self.iterations, bounds=bounds)

    def _exchange(self, best: Minima, grid: np.ndarray) -> bool:
        """Let every place start from what its neighbours found; return whether any gained."""
        patients, points = grid.shape
        place = np.arange(points)
        gained = False
        for neighbour in (np.maximum(place - 1, 0), np.minimum(place + 1, points - 1)):
            x = best.x[:, neighbour].copy()
            x[..., self.which] = grid
            patient = np.repeat(self.who, points)
            promising = np.repeat(True, patients * points)
            promising &= np.tile(neighbour, patients) != np.tile(place, patients)
            rows = np.flatnonzero(promising)
            found = self._minimize(x.reshape(patients * points, -1)[rows], patient[rows])
            old = best.cost.reshape(-1)[rows]
            enough = np.where(np.isfinite(old), _ENOUGH * np.abs(old), 0.0)
            better = found.cost < old - enough
            gained = gained or bool(better.any())
            for name, values in vars(best).items():
                flat = values.reshape(patients * points, *values.shape[2:])
                flat[rows[better]] = getattr(found, name)[better]
        return gained

    def _grid(self) -> np.ndarray:
        """Return places in the scale of the estimate: half to each side, closer next to the optimum."""
        search, best = self.fit.search, self.fit.best[self.who]
        low, high = search.low[self.who, self.which], search.high[self.who, self.which]
        x = self.fit.minima.x[best, self.which]
        error = self.fit.errors[self.who, list(self.fit.shown).index(self.which)]
        near = np.where(np.isfinite(error), np.minimum(_WIDTH * error, high - low), high - low)
        half = self.points // 2
        rows = []
        for at, width, least, most in zip(x, near, low, high, strict=True):
            below = _side(at, max(least, at - width), least, half)
            above = _side(at, min(most, at + width), most, self.points - 1 - half)
            rows.append(np.concatenate([below[::-1], [at], above]))
        return np.array(rows)


def _side(at: float, near: float, bound: float, number: int) -> np.ndarray:
    """Return places from the optimum outward, to where it should have risen, and the bound."""
    if number < 1:
        return np.empty(0)
    places = at + (near - at) * np.arange(1, number + 1) / number
    places[-1] = bound
    return places


def _best(found: Minima, shape: tuple[int, int, int], axis: int) -> Minima:
    """Return the best of the starts at each place."""
    cost = found.cost.reshape(shape)
    best = cost.argmin(axis=axis)
    taken = {}
    for name, values in vars(found).items():
        whole = values.reshape(*shape, *values.shape[1:])
        index = np.expand_dims(best, axis)
        index = index.reshape(*index.shape, *[1] * (whole.ndim - 3))
        taken[name] = np.take_along_axis(whole, index, axis=axis).squeeze(axis)
    return Minima(**taken)


def _crossing(grid: np.ndarray, rise: np.ndarray, best: float, log: bool, side: int) -> float:
    """Return where the profile first rises by the threshold to one side, interpolated; NaN for nowhere."""
    places, rises = (grid, rise) if side > 0 else (grid[::-1], rise[::-1])
    keep = (places - best) * side >= 0
    places, rises = places[keep], np.where(np.isfinite(rises[keep]), rises[keep], np.inf)
    over = np.flatnonzero(rises >= THRESHOLD)
    if not len(over) or over[0] == 0:
        return np.nan
    k = over[0]
    if not np.isfinite(rises[k]):
        return float(places[k])
    # the root of the rise is about linear
    a, b = np.sqrt(max(rises[k - 1], 0.0)), np.sqrt(rises[k])
    part = (np.sqrt(THRESHOLD) - a) / (b - a)
    ends = np.log(places[[k - 1, k]]) if log else places[[k - 1, k]]
    value = ends[0] + part * (ends[1] - ends[0])
    return float(np.exp(value) if log else value)
