"""Each patient by itself: least squares from many starts, of all patients in one batch per iteration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcart.checks import count, real, seed_of, shown
from fastcart.engines import as_model
from fastcart.errors import InputError
from fastcart.fit.data import FitData, check_data
from fastcart.fit.estimates import check_estimates, check_fixed
from fastcart.fit.levenberg import BEHIND, MOST_ITERATIONS, Minima
from fastcart.fit.likelihood import prepare
from fastcart.fit.observations import check_distinct
from fastcart.fit.results import IndividualFit
from fastcart.fit.search import STEP_OF_RANGE, Search
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.typing_names import ModelName

_RTOL = 1e-8  # differences of predictions are taken
_ROUNDS = 20  # of new starts instead of those that failed
_SCOUTING = 20  # iterations of all starts; then only the best go on,
_PART = 4  # this part of them,
_FEWEST = 3  # or so many
_ANEW = 8  # this part of them start anew around the best,
_SPREADS = 0.5, 1.0, 0.2  # so far from it, one time after the other
_AROUND = 7  # of the seed of these
_SCREENED = 16  # places that are looked at for each start
_HAIR = 1e-12  # relative: of a bound by its logarithm
_USUAL = 0.3  # of its size: where an error parameter starts


def individual(
    model: ModelName | str | Model,
    data: FitData,
    *,
    observations: Any,
    estimate: Mapping[str, Any],
    starts: int = 32,
    guesses: Mapping[str, Any] | None = None,
    fixed: Mapping[Any, Mapping[str, float]] | None = None,
    iterations: int = 200,
    seed: int = 0,
    threads: int | None = None,
    options: SolveOptions | None = None,
) -> IndividualFit:
    """Fit each patient by itself.

    Least squares by Levenberg and Marquardt's method, from many starts, with bounds: residuals are those of
    the likelihood, censored measurements and deviations that depend on predictions included. All patients,
    starts and differences are one batch in each iteration.

    Parameters
    ----------
    model : str or Model
    data : FitData
    observations : Observation or sequence of Observation
        Error parameters with a value keep it, those without are estimated for each patient.
    estimate : mapping
        ``{"ka": (0.1, 10, "log"), "lag": (0, 2)}``: bounds, and the scale in which a parameter is estimated,
        by default linear. Initial values of states are named likewise.
    starts : int
        For each patient. An eighth of them (one at least) goes three times anew around the best that was
        found: 8 are 11 in all, 16 are 22, and one more with ``guesses``.
    guesses : mapping, optional
        A value, or one for each patient, of parameters that are estimated: one more start.
    fixed : mapping, optional
        For a patient's id, values of parameters that are not free, ``{17: {"kappa": 0.0}}``.
    iterations : int
        At most.
    seed : int
        Of the starts.
    threads : int, optional
    options : SolveOptions, optional
        As for `fastcart.fit.prepare`; the default ``rtol`` here is 1e-8.

    Returns
    -------
    IndividualFit

    Raises
    ------
    InputError
        For bad input, and where no start of a patient can be solved.
    """
    model = as_model(model)
    estimates = check_estimates(model, estimate)
    check_data(data, measured=True)
    chosen = SolveOptions(rtol=_RTOL) if options is None else options
    prepared = prepare(
        model, data, list(estimates.names), observations=observations, threads=threads, options=chosen
    )
    check_distinct(model, prepared.error_names)
    whole = estimates.with_errors(prepared)
    values = check_fixed(fixed, data.ids, whole, model)
    known = ~np.isnan(prepared.error_values)
    values[:, whole.parameters :][:, known] = prepared.error_values[known]
    search = Search(prepared, whole, whole.estimated(values))
    count(starts, "The number of starts")
    number = seed_of(seed)
    x, patient = _starts(search, starts, number, guesses)
    how = (number, guesses is not None)
    return IndividualFit.of(search, *searched(search, x, patient, count(iterations, "The iterations"), how))


def searched(
    search: Search, x: np.ndarray, patient: np.ndarray, iterations: int, how: tuple[int, bool]
) -> tuple[Minima, np.ndarray]:
    """Minimize from all starts for a while, go on with the best, and start anew around what was found.

    ``how`` is the seed, and whether the first start of each patient is one that the user gave.
    """
    seed, first = how
    patients = search.prepared.patients
    every, starts = np.arange(patients), len(x) // patients
    found = search.minimize(x, patient, iterations=min(_SCOUTING, iterations), groups=patient)
    _go_on(search, found, patient, max(_FEWEST, starts // _PART), iterations, first)
    number = max(1, starts // _ANEW)
    again = np.repeat(every, number)
    for k, spread in enumerate(_SPREADS):
        best = found.x[_ranked(found, patient)[:, 0]]
        starting = np.concatenate([around(search, best[i], int(i), number, (spread, seed, k)) for i in every])
        more = search.minimize(starting, again, iterations=iterations, groups=again)
        found, patient = found.joined(more), np.append(patient, again)
    _go_on(search, found, patient, 1, iterations)
    return found, patient


def _ranked(found: Minima, patient: np.ndarray) -> np.ndarray:
    """Return the searches of each patient, the best first; all patients have equally many."""
    order = np.lexsort((np.arange(len(patient)), found.cost, patient))
    return order.reshape(len(np.unique(patient)), -1)


def _go_on(
    search: Search, found: Minima, patient: np.ndarray, keep: int, iterations: int, first: bool = False
) -> None:
    """Let the best searches of each patient that have not ended go on, and give up the others.

    ``first`` says whether the first of each patient goes on in any case.
    """
    ranked = _ranked(found, patient)
    best = np.unique(np.append(ranked[:, :keep].ravel(), ranked.min(axis=1) if first else []).astype(int))
    rest = np.setdiff1d(ranked.ravel(), best)
    found.how[rest[found.how[rest] == MOST_ITERATIONS]] = BEHIND
    rows = best[found.how[best] == MOST_ITERATIONS]
    if len(rows):
        more = search.minimize(found.x[rows], patient[rows], iterations=iterations, groups=patient[rows])
        more.iterations += found.iterations[rows]
        found.put(rows, more)


def around(
    search: Search, x: np.ndarray, patient: int, number: int, how: tuple[float, int, int]
) -> np.ndarray:
    """Return places around a minimum of a patient.

    ``how`` is the standard deviation of logarithms, a seed, and the round.
    """
    spread, *seed = how
    random = np.random.default_rng([_AROUND, *map(int, seed), search.keys[patient]])
    estimates = search.estimates
    shift = spread * random.standard_normal((number, len(x)))
    small = STEP_OF_RANGE * (estimates.high - estimates.low) * random.standard_normal(shift.shape)
    linear = np.where(np.abs(x) > np.abs(small), x * np.exp(np.where(estimates.log, 0.0, shift)), small)
    with np.errstate(invalid="ignore"):
        moved = np.clip(np.where(estimates.log, x + shift, linear), search.low[patient], search.high[patient])
    return np.where(np.isnan(search.fixed[patient]), moved, x)


def _starts(
    search: Search, starts: int, seed: int, guesses: Mapping[str, Any] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return where each patient's searches start, and whose they are: the best of some more places."""
    patients, estimates = search.prepared.patients, search.estimates
    every = np.arange(patients)
    pool, costs = [], []
    wanted = _SCREENED * starts
    for again in range(_ROUNDS):
        rows = []
        for i in every:
            random = np.random.default_rng([seed, search.keys[i], again])
            rows.append(estimates.starts(wanted, random))
        x = np.concatenate(rows)
        who = np.repeat(every, wanted)
        x = _with_errors(search, np.where(np.isnan(search.fixed[who]), x, search.fixed[who]), who)
        pool.append(x.reshape(patients, wanted, -1))
        costs.append(search.costs(x, who).reshape(patients, wanted))
        enough = np.isfinite(np.concatenate(costs, axis=1)).sum(axis=1) >= starts
        if enough.all():
            break
    pooled, sums = np.concatenate(pool, axis=1), np.concatenate(costs, axis=1)
    nobody = ~np.isfinite(sums).any(axis=1)
    if nobody.any():
        patient = search.prepared.data.ids[int(np.argmax(nobody))]
        raise InputError(
            f"No start of patient {shown(patient)} can be solved ({sums.shape[1]} tried): narrow the bounds, "
            "or raise max_steps."
        )
    best = np.argsort(sums, axis=1, kind="stable")[:, :starts]
    chosen = np.take_along_axis(pooled, best[:, :, np.newaxis], axis=1)
    given = _guessed(search, guesses)
    if given is not None:
        chosen = np.concatenate([given[:, np.newaxis], chosen], axis=1)
    return chosen.reshape(-1, chosen.shape[2]), np.repeat(every, chosen.shape[1])


def _with_errors(search: Search, x: np.ndarray, who: np.ndarray) -> np.ndarray:
    """Let error parameters that are estimated start at a usual size."""
    number = search.estimates.parameters
    usual, fixed = np.log(_USUAL) + search.sizes[who, number:], search.fixed[who, number:]
    x[:, number:] = np.where(np.isnan(fixed), usual, fixed)
    return x


def _check_guess(search: Search, name: str, given: np.ndarray, ends: tuple[np.ndarray, np.ndarray]) -> None:
    """Refuse a guess that is not a number within the bounds; where it is fixed, none counts."""
    estimates = search.estimates
    place = estimates.names.index(name)
    log = estimates.log[place]
    low, high = (np.exp(end) if log else end for end in ends)
    hair = _HAIR * (np.abs(low) + np.abs(high))
    outside = ~((given >= low - hair) & (given <= high + hair)) & np.isnan(search.fixed[:, place])
    if outside.any():
        i = int(np.argmax(outside))
        raise InputError(
            f"The guess of {name!r} of patient {shown(search.prepared.data.ids[i])} must lie within the "
            f"bounds, {low[i]:g} to {high[i]:g}, not {given[i]:g}."
        )


def _guessed(search: Search, guesses: Mapping[str, Any] | None) -> np.ndarray | None:
    """Return the start that the user gave for each patient."""
    if guesses is None:
        return None
    if not isinstance(guesses, Mapping):
        raise InputError(f"The guesses must be a mapping such as {{'k': 0.1}}, not {shown(guesses)}.")
    estimates, patients = search.estimates, search.prepared.patients
    values = np.tile(estimates.natural((estimates.low + estimates.high) / 2), (patients, 1))
    defaults = search.prepared.model.defaults()
    for k, name in enumerate(estimates.names[: estimates.parameters]):
        given = guesses.get(name, defaults[name])
        sequence = np.ndim(given) == 1 and not isinstance(given, str)
        column = list(given) if sequence else [given]
        if len(column) not in (1, patients) or any(real(x) is None for x in column):
            raise InputError(f"The guess of {name!r} must be a number, or one for each patient.")
        values[:, k] = column
        if name in guesses:
            _check_guess(search, name, values[:, k], (search.low[:, k], search.high[:, k]))
    unknown = set(guesses) - set(estimates.names)
    if unknown:
        raise InputError(f"The guesses name {shown(sorted(unknown)[0])}, which is not estimated.")
    with np.errstate(invalid="ignore"):
        x = np.clip(estimates.estimated(values), search.low, search.high)
    return _with_errors(search, np.where(np.isnan(search.fixed), x, search.fixed), np.arange(patients))
