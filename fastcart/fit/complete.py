"""Likelihoods of patients with given random effects, and how they change with what all patients share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from fastcart.fit.effects import Effects
from fastcart.fit.likelihood import PreparedLikelihood
from fastcart.fit.predictions import Predictions

_STEP = (
    0.02  # of a scaled parameter without random effect: its differences are far above the errors of solves
)
_STEP_OF_ERROR = 1e-3  # of the logarithm of an error parameter


@dataclass(frozen=True, eq=False)
class Complete:
    """The likelihood of measurements given each patient's parameters.

    Parameters
    ----------
    prepared : PreparedLikelihood
    effects : Effects
    solved : callable, optional
        Is told how many solves were made.
    """

    prepared: PreparedLikelihood
    effects: Effects
    solved: Callable[[int], object] | None = None

    def predict(self, phi: np.ndarray, fixed: np.ndarray, who: np.ndarray) -> Predictions:
        """Predict measurements; solves x random effects in their scales."""
        found = self.prepared.predictions(self.effects.theta(phi, fixed), who)
        if self.solved is not None:
            self.solved(len(who))
        return found

    def density(self, predictions: Predictions, who: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each solve."""
        return self.prepared.density(predictions, who, errors)


@dataclass(frozen=True, eq=False)
class Slopes:
    """How log-likelihoods change with parameters without random effect, then with logarithms of errors.

    Parameters
    ----------
    value : ndarray, shape (solves,)
    first : ndarray, shape (solves, names)
    second : ndarray, shape (solves, names, names)
    """

    value: np.ndarray
    first: np.ndarray
    second: np.ndarray


def slopes(
    complete: Complete, phi: np.ndarray, who: np.ndarray, shared: tuple[np.ndarray, np.ndarray],
    *, at: Predictions | None = None, which: np.ndarray | None = None,
) -> Slopes:  # fmt: skip
    """Differentiate log-likelihoods by what patients share; central differences.

    Parameters
    ----------
    complete : Complete
    phi, who : ndarray
    shared : fixed and errors
    at : Predictions, optional
        Those of ``phi``, where they are there.
    which : ndarray of int, optional
        Which of the error parameters; default: all that are estimated.
    """
    fixed, errors = shared
    which = complete.effects.free_errors if which is None else which
    names = len(fixed) + len(which)
    steps = np.concatenate([np.full(len(fixed), _STEP), np.full(len(which), _STEP_OF_ERROR)])

    def moved(shift: np.ndarray, known: Predictions | None) -> np.ndarray:
        other = errors.copy()
        other[which] *= np.exp(shift[len(fixed) :])
        if known is None:
            known = complete.predict(phi, fixed + shift[: len(fixed)], who)
        return complete.density(known, who, other)

    here = complete.predict(phi, fixed, who) if at is None else at
    value = complete.density(here, who, errors)
    first, second = np.empty((len(phi), names)), np.empty((len(phi), names, names))
    plus: dict[int, np.ndarray] = {}
    minus: dict[int, np.ndarray] = {}
    with np.errstate(invalid="ignore"):
        for j, shift in enumerate(np.diag(steps)):
            known = here if j >= len(fixed) else None
            plus[j], minus[j] = moved(shift, known), moved(-shift, known)
            first[:, j] = (plus[j] - minus[j]) / (2 * steps[j])
            second[:, j, j] = (plus[j] - 2 * value + minus[j]) / steps[j] ** 2
        for j, k in _pairs(names):
            shift = np.zeros(names)
            shift[[j, k]] = steps[[j, k]]
            known = here if j >= len(fixed) else None
            both = moved(shift, known) + moved(-shift, known)
            mixed = both - plus[j] - minus[j] - plus[k] - minus[k] + 2 * value
            second[:, j, k] = second[:, k, j] = mixed / (2 * steps[j] * steps[k])
    lost = ~np.isfinite(first).all(axis=1) | ~np.isfinite(second).all(axis=(1, 2))
    first[lost], second[lost] = 0.0, 0.0  # beside a solve that fails nothing is known
    return Slopes(value, first, second)


def solves_of_slopes(fixed: int) -> int:
    """Return how many solves `slopes` takes of each row: differences by parameters without random effect."""
    return 1 + 2 * fixed + fixed * (fixed - 1)


def _pairs(count: int) -> Iterator[tuple[int, int]]:
    for j in range(count):
        for k in range(j + 1, count):
            yield j, k


def merged(old: Predictions, new: Predictions, taken: np.ndarray) -> Predictions:
    """Return predictions of the same patients, those of the solves ``taken`` being new."""
    rows = np.repeat(taken, np.diff(old.offsets))
    return replace(
        old, values=np.where(rows, new.values, old.values), status=np.where(taken, new.status, old.status)
    )
