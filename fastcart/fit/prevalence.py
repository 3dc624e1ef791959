"""A population by weights of a library alone: EM with moments of weighted draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from fastcart.fit.estimates import typical_errors
from fastcart.fit.predictions import Predictions
from fastcart.fit.reweighting import Weighted
from fastcart.sampling.columns import Values
from fastcart.sampling.density import log_density

if TYPE_CHECKING:
    from fastcart.fit.weighted_library import Library

_NUMBERS = 20_000_000  # log-likelihoods
_ROUNDS = 30  # of error parameters,
_STEPS = 3  # of EM in each of them
_SAME = 0.01  # change of a logarithm of an error parameter that ends them
_PICKED = 64  # draws of each patient, for these
_ENOUGH = 1e-3  # of a standard deviation: a step that ends EM
_THINNEST = 0.02  # of what was drawn: a spread is no smaller, since draws do not tell
_OF_ERROR = 0.5  # of its typical size, where an error parameter starts


def prevalence(library: Library, errors: Mapping[str, float] | None, iterations: int) -> dict[str, float]:
    """Return typical values, spreads and errors of a population; see `Library.start`."""
    prepared = library.prepared
    own = [k for k, name in enumerate(library.names) if name not in prepared.error_names]
    names = [library.names[k] for k in own]
    logs = np.array([library.scales[k] == "log" for k in own])
    most = min(library.n, max(1, _NUMBERS // prepared.patients))
    natural = library.draws_of_all()[:most, own]
    phi = np.where(logs, np.log(np.where(logs, natural, 1.0)), natural)
    prior = log_density(library.design, dict(zip(names, natural.T, strict=True)))
    prior += np.where(logs, phi, 0.0).sum(axis=1)  # in the scales
    at = {} if errors is None else dict(errors)
    open_errors = _open(library, at)
    usual = dict(zip(prepared.error_names, _OF_ERROR * typical_errors(prepared), strict=True))
    at |= {name: float(usual[name]) for name in open_errors}
    every = np.arange(prepared.patients)
    mean, sd = phi.mean(axis=0), phi.std(axis=0)
    least = _THINNEST * sd
    population = (mean, sd)
    for k in range(_ROUNDS if open_errors else 1):
        found = library.log_likelihoods(every, at, most=most) - prior[:, np.newaxis]
        # errors begin too large: they are made smaller before the population is, which would have no way back
        steps = (0 if k == 0 else _STEPS) if open_errors else iterations
        population, weights = _moved(found, phi, population, least, steps)
        if open_errors:
            before = dict(at)
            at |= _better(library, weights, at, open_errors)
            if k > 1 and max(abs(np.log(at[name] / before[name])) for name in open_errors) < _SAME:
                break
    if open_errors:
        found = library.log_likelihoods(every, at, most=most) - prior[:, np.newaxis]
        population, _ = _moved(found, phi, population, least, iterations)
    mean, sd = population
    values = np.where(logs, np.exp(mean), mean)
    start = dict(zip(names, values.tolist(), strict=True))
    start |= {f"omega_{name}": float(x) for name, x in zip(names, sd, strict=True)}
    return start | {name: at[name] for name in open_errors}


def _open(library: Library, given: Mapping[str, float]) -> list[str]:
    """Return the error parameters that neither observations nor prior nor the caller give."""
    prepared = library.prepared
    library.errors(dict.fromkeys(prepared.error_names, 1.0) | dict(given), None)
    drawn = {x for x, item in library.design.columns.items() if not isinstance(item, Values)}
    constants = set(library.design.columns) - drawn
    return [
        name
        for name, value in zip(prepared.error_names, prepared.error_values, strict=True)
        if np.isnan(value) and name not in given and name not in drawn | constants
    ]


def _moved(
    log_ratio: np.ndarray,
    phi: np.ndarray,
    begin: tuple[np.ndarray, np.ndarray],
    least: np.ndarray,
    steps: int,
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return mean and standard deviation of the population after EM, and the weights, draws x patients."""
    mean, sd = begin
    for again in range(steps + 1):
        weights = _weights(log_ratio, phi, mean, sd)
        seen = weights.any(axis=0)
        if again == steps or not seen.any():
            break
        average = weights[:, seen].mean(axis=1)
        new = average @ phi
        spread = np.maximum(np.sqrt(average @ (phi - new) ** 2), least)
        step = max(np.abs((new - mean) / sd).max(), np.abs(np.log(spread / sd)).max())
        mean, sd = new, spread
        if step < _ENOUGH:
            break
    return (mean, sd), weights


def _weights(log_ratio: np.ndarray, phi: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return weights of draws for each patient, in a population."""
    population = -0.5 * (((phi - mean) / sd) ** 2).sum(axis=1)
    weights = np.empty(log_ratio.shape)
    for i in range(log_ratio.shape[1]):
        weights[:, i] = Weighted.of(log_ratio[:, i] + population).weights
    return weights


def _better(
    library: Library, weights: np.ndarray, at: dict[str, float], names: list[str]
) -> dict[str, float]:  # fmt: skip
    """Return error parameters with which weighted draws make the measurements most likely."""
    prepared = library.prepared
    levels = (np.arange(_PICKED) + 0.5) / _PICKED
    found, who, counts, drawn = [], [], [], []
    for i in np.flatnonzero(weights.any(axis=0)):
        below = np.cumsum(weights[:, i])
        rows, times = np.unique(np.searchsorted(below, levels * below[-1]), return_counts=True)
        found.append(library.predicted(library.rows_of(rows), int(i)))
        who.append(np.full(len(rows), i))
        counts.append(times)
        drawn.append(np.concatenate([library.errors(at, row) for row in rows[:, np.newaxis]]))
    sizes = np.concatenate([np.diff(one.offsets) for one in found])
    whole = Predictions(
        np.concatenate([one.values for one in found]), np.append(0, np.cumsum(sizes)),
        np.concatenate([one.status for one in found]),
    )  # fmt: skip
    patient, times, error = np.concatenate(who), np.concatenate(counts), np.concatenate(drawn)
    places = [prepared.error_names.index(name) for name in names]

    def minus(logs: np.ndarray) -> float:
        error[:, places] = np.exp(np.clip(logs, -300, 300))
        return float(-times @ np.maximum(prepared.density(whole, patient, error), -1e6))

    start = np.log([at[name] for name in names])
    best = minimize(
        minus, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-2, "maxiter": 200}
    )
    return dict(zip(names, np.exp(best.x).tolist(), strict=True))
