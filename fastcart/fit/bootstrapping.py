"""The bootstrap of a population's fit: patients drawn with replacement, all replicates from the same draws.

A replicate counts each patient as often as it was drawn. Its likelihood is that of the importance samples of
the fit, weighted, so that nothing is solved anew; its maximum is found by Newton's steps from the fit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastcart.checks import count, seed_of, shown
from fastcart.errors import InputError
from fastcart.fit.marginal import Draws, Rounds, Summary, draws_of, information, summarise
from fastcart.fit.saem import positive

if TYPE_CHECKING:
    from fastcart.fit.population_fit import PopulationFit

_DRAWS = 1024
_STEPS = 15
_GAIN = 1e-4
_FARTHEST = 1.0
_HALVINGS = 6
_LEAST_SHARE = 0.02  # of effective draws: fewer, and a replicate is too far from the fit


def bootstrap(fit: PopulationFit, n: int = 200, *, seed: int = 1) -> pd.DataFrame:
    """Refit resampled patients.

    Parameters
    ----------
    fit : PopulationFit
    n : int
        Replicates.
    seed : int

    Returns
    -------
    DataFrame
        A row for each replicate: ``status``, and the estimates in natural units. ``ok``; or ``not_found``
        (no maximum near the fit, or draws of the fit do not reach it), where the estimates are NaN.
    """
    from fastcart.fit.population_fit import PopulationFit

    if not isinstance(fit, PopulationFit):
        raise InputError(f"The bootstrap takes the result of fastcart.fit.population, not {shown(fit)}.")
    number = count(n, "The number of replicates")
    random = np.random.default_rng((seed_of(seed), 5))
    patients = fit.complete.prepared.patients
    weights = random.multinomial(patients, np.full(patients, 1.0 / patients), size=number).astype(float)
    every = np.arange(patients)
    proposal = fit.best.known.proposal
    draws = [draws_of(proposal, every, _DRAWS, random).predicted(fit.complete, fit.row)]
    there = _seen(fit, fit.row, draws)
    rows, statuses = [], []
    for weight in weights:
        row = _refit(fit, weight, draws, there)
        statuses.append("ok" if row is not None else "not_found")
        rows.append(np.full(len(fit.row), np.nan) if row is None else fit.natural(row))
    table = pd.DataFrame(np.array(rows), columns=list(fit.names))
    table.insert(0, "status", statuses)
    return table


def _refit(fit: PopulationFit, weight: np.ndarray, draws: list[Draws], at: Summary) -> np.ndarray | None:
    """Return the maximum of one replicate."""
    effects, row = fit.complete.effects, fit.row
    for _ in range(_STEPS):
        score, observed, _ = information(effects, row, at, weight)
        step = np.linalg.solve(positive(observed, effects.slices["omega"].start), score)
        length = math.sqrt(max(float(score @ step), 0.0))
        if length**2 < _GAIN:
            reached = at.share[weight > 0].min() >= _LEAST_SHARE
            return row if reached else None
        step *= min(1.0, _FARTHEST / length)
        value = weight @ at.log_mean
        for _ in range(_HALVINGS):
            new = _seen(fit, row + step, draws)
            if weight @ new.log_mean > value:
                break
            step /= 2
        else:
            return None
        row, at = row + step, new
    return None


def _seen(fit: PopulationFit, row: np.ndarray, draws: list[Draws]) -> Summary:
    rounds = Rounds(len(draws[0].patients), _DRAWS)
    for some in draws:
        rounds.add(some.patients, summarise(fit.complete, row, some))
    return rounds.summary()
