"""The prior of the virtual patients: marginals, a Gaussian copula, and a multiplier of heterogeneity."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, ndtri
from scipy.stats import qmc

from fastcart.checks import count, number, seed_of, seeded, shown
from fastcart.errors import InputError, nearest
from fastcart.models import get
from fastcart.population.inputs import B_ALL, Inputs

SCALES = ("ln", "log10", "logit")

# One stream of random numbers for each purpose, so that no use of one moves another.
_DESIGN, _TOXIC, _LEUKEMIA, _ASSAY, _RESAMPLE = range(5)


@dataclass(frozen=True)
class Marginal:
    """The distribution of one quantity: normal on a scale.

    Parameters
    ----------
    name : str
        One of the inputs of the model: of ``b_all`` a parameter, or ``L0, B0, N0`` (cells at the start), or
        ``fR`` (share of the leukemia that is CD19-negative at the start).
    median : float
    sd : float
        Standard deviation on the scale.
    scale : {'ln', 'log10', 'logit'}
    high : float
        Larger values become this one.
    """

    name: str
    median: float
    sd: float
    scale: str = "ln"
    high: float = math.inf

    def __post_init__(self) -> None:
        what = f"The marginal of {shown(self.name)}"
        if self.scale not in SCALES:
            raise InputError(f"{what}: the scale must be {', '.join(SCALES)}, not {shown(self.scale)}.")
        number(self.median, f"{what}: the median", positive=True)
        if self.scale == "logit" and self.median >= 1:
            raise InputError(f"{what}: on the logit scale the median must lie below 1, not {self.median:g}.")
        if number(self.sd, f"{what}: the sd") < 0:
            raise InputError(f"{what}: the sd must not be negative, not {self.sd:g}.")
        if not self.high >= self.median:
            raise InputError(f"{what}: 'high' must not lie below the median {self.median:g}.")

    def values(self, scores: np.ndarray, het: float = 1.0, *, most: float = math.inf) -> np.ndarray:
        """Return the values at normal scores, with the standard deviation times ``het``, up to ``most``."""
        shift = het * self.sd * scores
        if self.scale == "logit":
            values = expit(math.log(self.median / (1 - self.median)) + shift)
        elif self.scale == "log10":
            values = self.median * 10.0**shift
        else:
            values = self.median * np.exp(shift)
        # a share that is log-normal, such as F_E, ends at 1
        return np.minimum(values, min(self.high, most))

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Return the normal scores of values, the inverse of `values` below ``high``."""
        if self.sd == 0:
            return np.zeros(len(values))
        if self.scale == "logit":
            shift = np.log(values / (1 - values)) - math.log(self.median / (1 - self.median))
        else:
            shift = np.log(values / self.median) / (math.log(10.0) if self.scale == "log10" else 1.0)
        return shift / self.sd


@dataclass(frozen=True)
class Prior:
    """Marginals and the correlations of their normal scores (a Gaussian copula).

    Parameters
    ----------
    marginals : tuple of Marginal
    correlations : mapping of (name, name) to float
        What is not named is not correlated.
    inputs : Inputs
        What may vary in the model.

    Raises
    ------
    InputError
        For a name that the model does not have or that is given twice, a median that it does not allow, a
        correlation with a name that does not vary, and correlations that cannot
        hold together.
    """

    marginals: tuple[Marginal, ...]
    correlations: Mapping[tuple[str, str], float] = field(default_factory=dict)
    inputs: Inputs = B_ALL

    def __post_init__(self) -> None:
        names, known = self.names, self.inputs.names
        for marginal in self.marginals:
            name, what = marginal.name, f"The marginal of {shown(marginal.name)}"
            if name not in known:
                model = self.inputs.model
                raise InputError(f"{what} names nothing that varies in {model}." + nearest(name, known))
            if names.count(name) > 1:
                raise InputError(f"{what} is given twice.")
            low, high = self.inputs.limits(name)
            if not low <= marginal.median <= high:
                raise InputError(f"{what}: the median {marginal.median:g} must lie in [{low:g}, {high:g}].")
        for pair, value in self.correlations.items():
            for name in pair:
                if name not in names:
                    raise InputError(
                        f"The correlation of {shown(pair)} names what does not vary." + nearest(name, names)
                    )
            if pair[0] == pair[1] or not -1 <= number(value, f"The correlation of {shown(pair)}") <= 1:
                raise InputError(f"The correlation of {shown(pair)} must lie in [-1, 1], between two names.")
        self.cholesky()

    @property
    def names(self) -> list[str]:
        """What varies, in order."""
        return [marginal.name for marginal in self.marginals]

    def matrix(self) -> np.ndarray:
        """Return the matrix of correlations."""
        matrix = np.eye(len(self.marginals))
        names = self.names
        for (a, b), value in self.correlations.items():
            i, j = names.index(a), names.index(b)
            matrix[i, j] = matrix[j, i] = value
        return matrix

    def cholesky(self) -> np.ndarray:
        """Return the lower factor of the matrix of correlations."""
        try:
            return np.linalg.cholesky(self.matrix())
        except np.linalg.LinAlgError:
            raise InputError(
                "The correlations cannot hold together (their matrix is not positive definite); make them "
                "smaller."
            ) from None

    def independent(self) -> Prior:
        """Return the same marginals without correlations, e.g. for a sensitivity analysis."""
        return replace(self, correlations={})

    def replaced(self, *marginals: Marginal) -> Prior:
        """Return the prior with other marginals in place of those of the same names, or added."""
        given = {marginal.name: marginal for marginal in marginals}
        kept = [given.pop(m.name, m) for m in self.marginals]
        return replace(self, marginals=(*kept, *given.values()))

    def as_dict(self) -> dict[str, Any]:
        """Return what it consists of, for a file."""
        return {
            "marginals": {
                m.name: {"median": m.median, "sd": m.sd, "scale": m.scale}
                | ({"high": m.high} if m.high < math.inf else {})
                for m in self.marginals
            },
            "correlations": [[a, b, value] for (a, b), value in self.correlations.items()],
        }


# Medians and standard deviations: see the sources in `fastcart.models.b_all_parameters`. Those of muEM and
# dM are the omegas of FB and beta of Stein 2019; the others are assumed.
PRIOR = Prior(
    (
        Marginal("L0", 10**10.7, 0.65, "log10", high=1.6e12),
        Marginal("rL", 0.10, 0.40),
        Marginal("kap", 0.75, 0.30),
        Marginal("s", 2e9, 0.4),
        Marginal("KA", 1e9, 0.4),
        Marginal("sB", 1e8, 0.5),
        Marginal("rhoE", 2.95, 0.09),
        Marginal("Kq", 3.2e10, 0.25),
        Marginal("N0", 3e9, 0.4),
        Marginal("rN", 0.17, 0.12),
        Marginal("B0", 1e9, 0.7),
        Marginal("dE", 0.18, 0.4),
        Marginal("muEM", 3e-3, 0.9),
        Marginal("xi", 0.40, 0.2),
        Marginal("KX", 7e11, 0.4),
        Marginal("dM", 0.0032, 0.93),
        Marginal("F_E", 0.08, 0.5),
        Marginal("F_M", 0.20, 0.5),
        Marginal("fM", 0.35, 0.7, "logit"),
        Marginal("pC", 2e5, 1.4),
        Marginal("fR", 10**-12.3, 2.0, "log10", high=1.0),
    ),
    {
        ("F_E", "F_M"): 0.8,
        ("rhoE", "xi"): -0.4,
        ("rhoE", "muEM"): 0.3,
        ("rhoE", "kap"): 0.2,
        ("rhoE", "fM"): 0.3,
        ("L0", "rL"): 0.2,
        ("L0", "xi"): 0.2,
    },
)


def stream(seed: int, *purpose: int) -> np.random.Generator:
    """Return the random numbers of one purpose.

    Raises
    ------
    InputError
        For a seed that is not a whole number from 0 on.
    """
    return np.random.default_rng(np.random.SeedSequence(seed_of(seed), spawn_key=purpose))


@seeded
def sample(n: int, *, seed: int, het: float = 1.0, prior: Prior = PRIOR) -> pd.DataFrame:
    """Draw virtual patients from the prior.

    The scores are scrambled Sobol' points: as even as a Latin hypercube, and patient k is the same whatever
    the number of patients.

    Parameters
    ----------
    n : int
        Number of patients.
    seed : int
    het : float
        Multiplies every standard deviation, medians stay: 0.25 low, 0.5 medium, 1 as in the prior, 1.5 high.
    prior : Prior

    Returns
    -------
    DataFrame
        ``patient`` (0, 1, ...), initial values, parameters that vary, and constants; columns of the model. Of
        ``b_all``: ``L, R, B, N`` (cells), with ``R = fR L0`` where that is at least one cell, else 0, and
        ``D``.

    Raises
    ------
    InputError
        For a bad number, seed or multiplier.
    """
    n = count(n, "The number of patients")
    het = number(het, "The multiplier of heterogeneity 'het'")
    if het < 0:
        raise InputError(f"The multiplier of heterogeneity 'het' must not be negative, not {het:g}.")
    scores = _points(n, len(prior.marginals), stream(seed, _DESIGN)) @ prior.cholesky().T
    inputs = prior.inputs
    drawn = {
        m.name: m.values(scores[:, j], het, most=inputs.limits(m.name)[1])
        for j, m in enumerate(prior.marginals)
    }
    columns = inputs.columns(drawn, get(inputs.model).default_states() if inputs.shares else {})
    return pd.DataFrame({"patient": np.arange(n), **columns, **inputs.constants})


def _points(n: int, dimensions: int, rng: np.random.Generator) -> np.ndarray:
    """Return normal scores of scrambled Sobol' points, shape (n, dimensions)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # balance for powers of two is not what is asked for
        points = qmc.Sobol(dimensions, scramble=True, bits=30, rng=rng).random(n)
    return ndtri(np.clip(points, 2.0**-31, 1 - 2.0**-31))


def draws(patients: pd.DataFrame | int, *, seed: int) -> pd.DataFrame:
    """Draw the luck of each patient: the cumulative hazards at which toxic and leukemia death strike.

    Parameters
    ----------
    patients : DataFrame or int
        How many; patient k draws the same whatever the number.
    seed : int

    Returns
    -------
    DataFrame
        ``U1, U2``, exponential with mean 1, the same in all arms.
    """
    n = len(patients) if isinstance(patients, pd.DataFrame) else count(patients, "The number of patients")
    return pd.DataFrame(
        {
            "U1": -np.log1p(-stream(seed, _TOXIC).random(n)),
            "U2": -np.log1p(-stream(seed, _LEUKEMIA).random(n)),
        }
    )


def assay_noise(n: int, visit: int, *, seed: int) -> np.ndarray:
    """Draw the error of a measurement: standard normal, a function of patient and number of visit alone.

    Parameters
    ----------
    n : int
        Number of patients.
    visit : int
        Number of the visit, from 0 on.
    seed : int

    Returns
    -------
    ndarray, shape (n,)
    """
    return ndtri(np.maximum(stream(seed, _ASSAY, int(visit)).random(n), 2.0**-54))


def picks(weights: np.ndarray, n: int, *, seed: int) -> np.ndarray:
    """Draw rows with replacement in proportion to weights; draw k is the same whatever the number."""
    total = np.cumsum(weights)
    places = np.searchsorted(total / total[-1], stream(seed, _RESAMPLE).random(n), side="right")
    return np.minimum(places, len(weights) - 1)
