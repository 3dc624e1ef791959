"""Posteriors of single patients given a population, by an ensemble of walkers that are solved together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart.checks import count, seed_of, shown
from fastcart.errors import InputError, optional_import
from fastcart.fit.modes import log_joint
from fastcart.tables.ids import id_places

if TYPE_CHECKING:
    from fastcart.fit.population_fit import PopulationFit

_LEAST_LENGTHS = 50.0  # autocorrelation times, below which a chain says little
_BURN = 0.2


def posterior(
    fit: PopulationFit, patient: Any, *, walkers: int = 64, steps: int = 1000, seed: int = 1
) -> pd.DataFrame:
    """Draw from the posterior of one patient's parameters, the population being known.

    By the affine-invariant ensemble sampler of emcee; half of the walkers are one batch.

    Parameters
    ----------
    fit : PopulationFit
    patient : id
    walkers : int
        Even, at least twice the random effects.
    steps : int
        Of which the first fifth is left off.
    seed : int

    Returns
    -------
    DataFrame
        A row for each walker and step: parameters in natural units, ``log_density``. ``attrs`` has
        ``autocorrelation``, of each parameter in steps, ``accepted`` (the share), and ``enough``: whether
        there are 50 autocorrelation times.

    Raises
    ------
    InputError
        For bad input.
    MissingDependencyError
        Where emcee is not installed.
    """
    from fastcart.fit.population_fit import PopulationFit

    emcee = optional_import("emcee", extra="fit", purpose="A posterior")
    if not isinstance(fit, PopulationFit):
        raise InputError(f"A posterior takes the result of fastcart.fit.population, not {shown(fit)}.")
    place = int(id_places(np.array([patient], dtype=object), fit.complete.prepared.data.ids)[0])
    if place < 0:
        raise InputError(f"The patient {shown(patient)} is not among those of the data.")
    size = len(fit.complete.effects.random)
    several, length = count(walkers, "The walkers"), count(steps, "The steps")
    if several % 2 or several < 2 * size:
        raise InputError(f"The walkers must be an even number from {2 * size} on, not {several}.")
    random = np.random.default_rng((seed_of(seed), 3))
    summary = fit.best.known.summary
    begin = summary.mean[place] + fit.deviations[place] * random.standard_normal((several, size))

    def log_probability(x: np.ndarray) -> np.ndarray:
        return log_joint(fit.complete, fit.values, x, np.full(len(x), place))

    sampler = emcee.EnsembleSampler(several, size, log_probability, vectorize=True)
    legacy = np.random.RandomState(np.random.MT19937(int(random.integers(2**31))))
    sampler.run_mcmc(emcee.State(begin, random_state=legacy.get_state()), length)
    burn = int(_BURN * length)
    chain = sampler.get_chain(discard=burn, flat=True)
    table = pd.DataFrame(fit.complete.effects.natural(chain), columns=list(fit.complete.effects.random))
    table["log_density"] = sampler.get_log_prob(discard=burn, flat=True)
    times = sampler.get_autocorr_time(discard=burn, quiet=True, tol=0)
    table.attrs |= {
        "autocorrelation": dict(zip(fit.complete.effects.random, times.tolist(), strict=True)),
        "accepted": float(sampler.acceptance_fraction.mean()),
        "enough": bool((length - burn) / np.nanmax(times) >= _LEAST_LENGTHS),
    }
    return table
