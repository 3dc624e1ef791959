"""Fits of a problem by what fits patients: Levenberg and Marquardt's method from many starts, in batches."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from fastcart.checks import count, seed_of
from fastcart.errors import InputError
from fastcart.fit import profile as profile_of
from fastcart.fit.estimates import Estimates
from fastcart.fit.individuals import searched
from fastcart.fit.levenberg import Minima
from fastcart.fit.normal import Equations
from fastcart.fit.profiles import Profile
from fastcart.fit.results import IndividualFit
from fastcart.fit.search import Search
from fastcart.petab.likelihood import FORWARD, Likelihood, Parts
from fastcart.petab.parameters import LIN
from fastcart.petab.slopes import gradient_of, put, roots, with_slopes

if TYPE_CHECKING:
    from fastcart.petab.problem import PetabProblem

_ROUNDS = 20  # of new starts instead of those that failed
_BEGUN = 3  # times the starts begin,
_FIRST_ITERATIONS = 8  # for so long; then the best go on
_TURNS, _MANY = 3, 20  # searches from so many starts are made so often, where the best is found by one alone
_SAME = 0.1  # in twice the objective
_REFINED = 8  # searches that end with exact slopes
_MOST_STEPS = 6000  # of a course in a search: few good points need more, and bad ones take all


class _Data:
    """The one patient that a problem is to what fits patients."""

    def __init__(self, name: str):
        self.ids = np.array([name], dtype=object)


class _Prepared:
    """What `Search` asks a prepared likelihood for."""

    def __init__(self, problem: PetabProblem, estimates: Estimates):
        self.patients, self.data = 1, _Data(problem.name)
        self.error_names, self.error_values = (), np.empty((1, 0))
        self.observations: list[Any] = []
        self._problem, self._estimates = problem, estimates

    def measurements(self, patient: np.ndarray) -> np.ndarray:
        """Return how many measurements there are."""
        return np.full(len(patient), len(self._problem.measurements.value))

    def loglik(self, natural: np.ndarray, patient: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Return ln of the likelihood."""
        return -np.asarray(self._problem.objective(self._problem.parameters.scaled(natural)))


@dataclass(frozen=True)
class ProblemSearch(Search):
    """Searches for the parameters of a problem; prior densities count as in its objective with priors.

    Parameters
    ----------
    exact : bool
        Slopes by sensitivities where there are any, not by courses beside. Where objectives are steep, beside
        parameters at which a state blows up, differences lead astray.
    """

    prepared: Any
    exact: bool = False
    longest: ClassVar[float] = math.log(10.0)  # short beside bounds many decades apart

    @property
    def problem(self) -> PetabProblem:
        """The problem."""
        found: PetabProblem = self.prepared._problem
        return found

    @property
    def sizes(self) -> np.ndarray:
        """No parameter of an error counts relative to measurements."""
        return np.zeros(self.fixed.shape)

    def equations(self, x: np.ndarray, patient: np.ndarray, free: np.ndarray) -> Equations:
        """Return normal equations at points; the cost is twice the objective with priors."""
        size = x.shape[1]
        out = Equations(np.empty(len(x)), np.zeros((len(x), size)), np.zeros((len(x), size, size)))
        by = bool(free.any())
        step = self.problem.likelihood.rows_at_once(by)
        for begin in range(0, len(x), step):
            part = slice(begin, begin + step)
            natural = self.estimates.natural(x[part])
            prior, slope, information = self.problem.parameters.prior(natural)
            if not by:
                values = self.problem.objective(self.problem.parameters.scaled(natural))
                out.cost[part] = 2.0 * (values + prior)
                continue
            self._add_up(natural, (prior, slope, information), Equations(*(values[part] for values in out)))
        out.cost[np.isnan(out.cost)] = np.inf
        return out

    def _add_up(self, natural: np.ndarray, prior: Any, out: Equations) -> None:
        likelihood, width = self.problem.likelihood, self._widths(natural)
        found = (with_slopes if self.exact else _with_quick_slopes)(likelihood, natural)
        with np.errstate(invalid="ignore"):
            cost = found.cost.sum(axis=1) + prior[0]
            gradient = (gradient_of(found, likelihood) + prior[1]) * width
            root = roots(found, likelihood) * width[:, np.newaxis]
            matrix = np.matmul(root.swapaxes(1, 2), root)
        every = np.arange(natural.shape[1])
        matrix[:, every, every] += prior[2] * width**2
        good = np.isfinite(cost) & np.isfinite(gradient).all(axis=1) & np.isfinite(matrix).all(axis=(1, 2))
        out.cost[:] = np.where(good, 2.0 * cost, np.inf)
        out.gradient[good], out.matrix[good] = gradient[good], matrix[good]

    def _widths(self, natural: np.ndarray) -> np.ndarray:
        return np.where(self.estimates.log, natural, 1.0)

    def slopes(self, x: np.ndarray, patient: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return residuals of each point, and roots of its information, measurements x 2 x parameters."""
        natural = self.estimates.natural(x)
        width, likelihood = self._widths(natural), self.problem.likelihood
        found = with_slopes(likelihood, natural)
        root = roots(found, likelihood) * width[:, np.newaxis]
        information = self.problem.parameters.prior(natural)[2]
        listed = []
        for one, of_prior, wide in zip(root, information, width, strict=True):
            whole = np.vstack([one, np.diag(np.sqrt(of_prior) * wide)])
            whole = np.vstack([whole, np.zeros((len(whole) % 2, len(wide)))])
            listed.append(whole.reshape(-1, 2, len(wide)))
        return list(found.residual), listed


def _with_quick_slopes(likelihood: Likelihood, natural: np.ndarray) -> Parts:
    """Return what measurements consist of, slopes by courses beside; by sensitivities where one fails.

    Next to parameters at which a state blows up, the course itself may be fine. Optima may lie there.
    """
    found, _ = likelihood.parts(natural, by=FORWARD)
    slopes = np.concatenate([found.center_slopes, found.spread_slopes], axis=1)
    rows = np.flatnonzero(np.isfinite(found.cost).all(axis=1) & ~np.isfinite(slopes).all(axis=(1, 2)))
    if len(rows):
        put(found, rows, with_slopes(likelihood, natural[rows]))
    return found


@dataclass(frozen=True, eq=False)
class PetabFit:
    """A fit of a problem; made by `PetabProblem.fit`.

    Parameters
    ----------
    problem : PetabProblem
    fit : IndividualFit
        The same to what fits patients: the problem is its one patient.
    """

    problem: PetabProblem
    fit: IndividualFit

    @property
    def theta(self) -> np.ndarray:
        """The best point, scaled."""
        return self.problem.parameters.scaled(self.fit.values[0])

    @property
    def objective(self) -> float:
        """The objective there, with priors."""
        return float(self.fit.cost[0] / 2.0)

    def table(self) -> pd.DataFrame:
        """Return a row for each parameter: natural estimate, standard error, 95 % interval, what it says."""
        table = self.fit.table().drop(columns="patient")
        table.insert(1, "scale", list(self.problem.parameters.scales))
        return table.assign(nominal=self.problem.parameters.natural(self.problem.nominal))

    def waterfall(self) -> pd.DataFrame:
        """Return a row for each start, the best first: objective with priors, how it ended, values."""
        table = self.fit.waterfall().drop(columns="patient")
        table.insert(1, "objective", table.pop("cost") / 2.0)
        return table

    def profile(self, parameter: str, **options: Any) -> Profile:
        """Return the profile likelihood of a parameter; see `fastcart.fit.profile`."""
        return profile_of(self.fit, parameter, **options)

    def summary(self) -> str:
        """Return in a few lines how the fit went, and what it does not know."""
        table = self.fit.patients().iloc[0]
        unknown = next(iter(self.fit.not_identifiable.values()), ())
        lines = [
            f"{self.problem.name}: objective {self.objective:.4f} from {table['starts']} starts, found by "
            f"{table['found_by']}; {table['failed']} failed",
        ]
        return "\n".join([*lines, *([f"not identifiable: {', '.join(unknown)}"] if unknown else [])])


def fit(problem: PetabProblem, *, starts: int, seed: int, iterations: int, nominal: bool) -> PetabFit:
    """Fit a problem; see `PetabProblem.fit`."""
    number, wanted = seed_of(seed), count(starts, "The number of starts")
    most = count(iterations, "The iterations")
    search = search_of(problem)
    found, patient = _from_starts(search, wanted, most, (number,), nominal=nominal)
    for turn in range(1, _TURNS if wanted >= _MANY else 1):
        if (found.cost <= found.cost.min() + _SAME).sum() > 1:
            break
        # an optimum that one start alone found is hardly the best
        more, again = _from_starts(search, wanted, most, (number, turn), nominal=False)
        found, patient = found.joined(more), np.append(patient, again)
    return PetabFit(problem, IndividualFit.of(search, found, patient))


def _from_starts(
    search: ProblemSearch, wanted: int, iterations: int, seed: tuple[int, ...], *, nominal: bool
) -> tuple[Minima, np.ndarray]:
    """Search from so many new starts, and from the nominal parameters on request."""
    x = _begun(search, _starts(search, _BEGUN * wanted, seed), wanted)
    if nominal:
        x = np.vstack([_nominal(search), x])
    nobody = np.zeros(len(x), dtype=np.int64)
    found, patient = searched(search, x, nobody, iterations, (sum(seed), nominal))
    if search.problem.likelihood.differentiable:
        _refine(replace(search, exact=True), found, iterations)
    return found, patient


def _refine(search: ProblemSearch, found: Minima, iterations: int) -> None:
    """Let the best go on with exact slopes."""
    best = np.argsort(found.cost, kind="stable")[:_REFINED]
    best = best[np.isfinite(found.cost[best])]
    more = search.minimize(found.x[best], np.zeros(len(best), dtype=np.int64), iterations=iterations)
    more.iterations += found.iterations[best]
    found.put(best, more)


def _begun(search: ProblemSearch, x: np.ndarray, wanted: int) -> np.ndarray:
    """Return where the best of more starts are after some iterations; in narrow valleys few arrive."""
    nobody = np.zeros(len(x), dtype=np.int64)
    found = search.minimize(x, nobody, iterations=_FIRST_ITERATIONS)
    best = np.sort(np.argsort(found.cost, kind="stable")[:wanted])
    return found.x[best]


def _starts(search: ProblemSearch, wanted: int, seed: tuple[int, ...]) -> np.ndarray:
    """Return places within the bounds that can be solved.

    They are not chosen by their objective: where bounds are many decades apart, what is low at random lies
    on plateaus, from which no slope leads on.
    """
    random = np.random.default_rng(seed)
    found = np.empty((0, len(search.estimates.names)))
    for _ in range(_ROUNDS):
        x = search.estimates.starts(wanted, random)
        found = np.vstack([found, x[np.isfinite(search.costs(x, np.zeros(wanted, dtype=np.int64)))]])
        if len(found) >= wanted:
            return found[:wanted]
    if not len(found):
        raise InputError(
            f"No start of {search.problem.name!r} can be solved ({_ROUNDS * wanted} tried): narrow the "
            "bounds."
        )
    return found


def _nominal(search: ProblemSearch) -> np.ndarray:
    problem = search.problem
    if np.isnan(problem.nominal).any():
        name = problem.names[int(np.argmax(np.isnan(problem.nominal)))]
        raise InputError(f"The parameter {name!r} has no nominal value to start from.")
    x = search.estimates.estimated(problem.natural(problem.nominal))
    return np.clip(x, search.low, search.high)


def search_of(problem: PetabProblem) -> ProblemSearch:
    """Return what searches for the parameters of a problem.

    Raises
    ------
    InputError
        For bounds between which nobody can search.
    """
    parameters = problem.parameters
    log = np.array([scale != LIN for scale in parameters.scales])
    low, high = (parameters.natural(x) for x in (parameters.lower, parameters.upper))
    bad = ~np.isfinite(high) | ~np.isfinite(low) | (log & (low <= 0))
    if bad.any():
        raise InputError(
            f"The bounds of {problem.names[int(np.argmax(bad))]!r} are infinite in its scale, so no start "
            "lies between them; give finite ones."
        )
    with np.errstate(divide="ignore"):
        least, most = (np.where(log, np.log(np.where(log, x, 1.0)), x) for x in (low, high))
    estimates = Estimates(parameters.names, log, least, most)
    fixed = np.full((1, len(parameters.names)), np.nan)
    courses = problem.likelihood.courses
    if courses is not None:
        steps = min(courses.problem.max_steps, _MOST_STEPS)
        limited = replace(courses, problem=replace(courses.problem, max_steps=steps))
        problem = replace(problem, likelihood=replace(problem.likelihood, courses=limited))
    return ProblemSearch(_Prepared(problem, estimates), estimates, fixed)
