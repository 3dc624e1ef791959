"""A PEtab problem: its objective, its gradient, its simulations, and fits of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart.checks import shown
from fastcart.errors import InputError
from fastcart.fit.data import Measurements
from fastcart.petab.likelihood import OUT_OF_RANGE, Likelihood
from fastcart.petab.parameters import Parameters
from fastcart.petab.reading import Files
from fastcart.petab.slopes import gradient_of, with_slopes
from fastcart.solvers.status import NAMES, Status

if TYPE_CHECKING:
    from fastcart.fit.profiles import Profile
    from fastcart.petab.fitting import PetabFit


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Objectives of rows of parameters, and how their courses ended.

    Parameters
    ----------
    objective : ndarray, shape (rows,)
        Minus ln of the likelihood; infinite where a course failed, or a measurement has no density.
    chi2 : ndarray, shape (rows,)
        Sum of squares of residuals over deviations.
    status : ndarray of int, shape (rows, conditions)
    """

    objective: np.ndarray
    chi2: np.ndarray
    status: np.ndarray

    @property
    def failed(self) -> int:
        """How many courses were not solved."""
        return int(np.count_nonzero(self.status != Status.ok))

    def summary(self) -> dict[str, int]:
        """Return how many courses ended with each status, by name."""
        codes, counts = np.unique(self.status, return_counts=True)
        names = {OUT_OF_RANGE: "out_of_range", **dict(enumerate(NAMES))}
        return {names[int(code)]: int(count) for code, count in zip(codes, counts, strict=True)}


@dataclass(frozen=True, eq=False)
class PetabProblem:
    """A PEtab problem; made by `fastcart.petab.load`.

    Points ``theta`` are rows of the estimated parameters in the order of `names`, each in its own
    ``parameterScale``.

    Parameters
    ----------
    files : Files
    parameters : Parameters
    likelihood : Likelihood
    """

    files: Files
    parameters: Parameters
    likelihood: Likelihood

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.files.name

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that are estimated."""
        return self.parameters.names

    @property
    def nominal(self) -> np.ndarray:
        """Nominal values, scaled."""
        return self.parameters.nominal.copy()

    @property
    def lower(self) -> np.ndarray:
        """Lower bounds, scaled."""
        return self.parameters.lower.copy()

    @property
    def upper(self) -> np.ndarray:
        """Upper bounds, scaled."""
        return self.parameters.upper.copy()

    @property
    def measurements(self) -> Measurements:
        """The measurements in the order of their table; a patient is a condition."""
        return self.likelihood.design.of

    @property
    def conditions(self) -> tuple[tuple[str | None, str], ...]:
        """Pre-equilibration and simulation of each condition that is measured."""
        return self.likelihood.design.pairs

    def natural(self, theta: Any) -> np.ndarray:
        """Return the values of scaled parameters without their scales."""
        return self.parameters.natural(self._rows(theta)[0])

    def scaled(self, values: Mapping[str, float]) -> np.ndarray:
        """Return a point of natural values by name; those left off are nominal."""
        unknown = set(values) - set(self.names)
        if unknown:
            raise InputError(f"The problem estimates no parameter {shown(sorted(unknown)[0])}.")
        natural = self.parameters.natural(self.parameters.nominal)
        natural = np.array([values.get(name, x) for name, x in zip(self.names, natural, strict=True)])
        return self.parameters.scaled(natural)

    def evaluate(self, theta: Any = None) -> Evaluation:
        """Return the objective of points, solved with all conditions as one batch.

        Parameters
        ----------
        theta : array-like, shape (parameters,) or (rows, parameters), optional
            Default: the nominal point.

        Raises
        ------
        InputError
            For another shape, and for what is not finite.
        """
        rows, _ = self._rows(theta)
        cost, chi2, statuses = [], [], []
        for part in self._parts_of(rows, by=False):
            found, status = self.likelihood.parts(self.parameters.natural(part))
            cost.append(found.cost.sum(axis=1))
            chi2.append((found.residual**2).sum(axis=1))
            statuses.append(status)
        return Evaluation(np.concatenate(cost), np.concatenate(chi2), np.concatenate(statuses))

    def objective(self, theta: Any = None, *, priors: bool = False) -> Any:
        """Return minus ln of the likelihood of points: a number for one point, an array for several.

        A point of which a course fails, or a measurement has no density, is infinite; `evaluate` counts.

        Parameters
        ----------
        theta : array-like, shape (parameters,) or (rows, parameters), optional
            Default: the nominal point.
        priors : bool
            Add minus ln of the prior densities.

        Raises
        ------
        InputError
            For another shape, and for what is not finite.
        """
        rows, single = self._rows(theta)
        values = self.evaluate(rows).objective
        if priors:
            values = values + self.parameters.prior(self.parameters.natural(rows))[0]
        return float(values[0]) if single else values

    def gradient(self, theta: Any = None, *, priors: bool = False) -> np.ndarray:
        """Return the gradient of the objective by the scaled parameters, of the shape of ``theta``.

        By forward sensitivities; by central differences where a model has none (`differentiable`). NaN where
        the objective is infinite.

        Parameters
        ----------
        theta : array-like, shape (parameters,) or (rows, parameters), optional
        priors : bool

        Raises
        ------
        InputError
        """
        rows, single = self._rows(theta)
        gradient = np.concatenate([self._gradient(part) for part in self._parts_of(rows, by=True)])
        if priors:
            natural = self.parameters.natural(rows)
            gradient = gradient + self.parameters.prior(natural)[1] * self.parameters.widths(natural)
        return gradient[0] if single else gradient

    @property
    def differentiable(self) -> bool:
        """Whether gradients are by sensitivities; none go through events and jumps at estimated times."""
        return self.likelihood.differentiable or not self.likelihood.dynamic

    def simulate(self, theta: Any = None) -> pd.DataFrame:
        """Return the measurement table with ``simulation`` instead of ``measurement``, and ``residual``.

        Parameters
        ----------
        theta : array-like, shape (parameters,), optional
        """
        rows, single = self._rows(theta)
        if not single:
            raise InputError("A simulation is of one point; give one row of parameters.")
        found, _ = self.likelihood.parts(self.parameters.natural(rows))
        table = self.files.measurements.drop(columns="measurement")
        return table.assign(simulation=found.value[0], residual=found.residual[0])

    def fit(
        self, *, starts: int = 100, seed: int = 0, iterations: int = 200, nominal: bool = False
    ) -> PetabFit:
        """Minimize the objective with priors from many starts within the bounds.

        Least squares by Levenberg and Marquardt's method as in `fastcart.fit.individual`: all starts are one
        batch in each iteration, and starts that cannot be solved are drawn anew.

        Parameters
        ----------
        starts : int
        seed : int
            Of the starts.
        iterations : int
            At most.
        nominal : bool
            Start from the nominal point, too.

        Returns
        -------
        PetabFit

        Raises
        ------
        InputError
        """
        from fastcart.petab.fitting import fit

        return fit(self, starts=starts, seed=seed, iterations=iterations, nominal=nominal)

    def profile(self, fit: PetabFit, parameter: str, **options: Any) -> Profile:
        """Return the profile likelihood of a parameter around a fit; see `fastcart.fit.profile`."""
        return fit.profile(parameter, **options)

    def _rows(self, theta: Any) -> tuple[np.ndarray, bool]:
        try:
            values = self.parameters.nominal if theta is None else np.asarray(theta, dtype=float)
        except (TypeError, ValueError):
            raise InputError(f"Points must be numbers, not {shown(theta)}.") from None
        single = values.ndim == 1
        rows = values[np.newaxis] if single else values
        if rows.ndim != 2 or rows.shape[1] != len(self.names) or not len(rows):
            raise InputError(
                f"Points must be rows of {len(self.names)} parameters, not of shape {np.shape(theta)}."
            )
        if not np.isfinite(rows).all():
            name = self.names[int(np.argmin(np.isfinite(rows).all(axis=0)))]
            raise InputError(f"The value of {name!r} is missing or not finite; give a number.")
        return rows, single

    def _parts_of(self, rows: np.ndarray, *, by: bool) -> list[np.ndarray]:
        step = self.likelihood.rows_at_once(by)
        return [rows[begin : begin + step] for begin in range(0, len(rows), step)]

    def _gradient(self, rows: np.ndarray) -> np.ndarray:
        natural = self.parameters.natural(rows)
        # at an optimum large slopes cancel
        found = with_slopes(self.likelihood, natural, exact=True)
        gradient = gradient_of(found, self.likelihood) * self.parameters.widths(natural)
        gradient[~np.isfinite(found.cost.sum(axis=1))] = np.nan
        return gradient
