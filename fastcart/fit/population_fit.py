"""Results of a population's fit: estimates with errors, individuals, criteria, what it becomes next."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart.checks import count
from fastcart.fit.complete import Complete
from fastcart.fit.effects import Values
from fastcart.fit.maximum import Ended
from fastcart.fit.modes import Modes, modes, quadrature
from fastcart.fit.simulated import BINS
from fastcart.representation import section

if TYPE_CHECKING:
    from fastcart.fit.simulated import PredictiveCheck

_GONE = 5.0  # Fisher's z: a correlation of one
_FLAT = 0.05  # information of a logarithm: it is known to a factor of 90
_INVERSES: dict[str, Any] = {"log": np.exp, "z": np.tanh, "normal": float}
_FOLD = np.log(10.0)  # a standard error of a logarithm that large says nothing


class PopulationFit:
    """A population that was fitted; made by `fastcart.fit.population`.

    -2 ln L includes the terms with 2 pi; log-normal measurements count with the density of ``ln DV`` (see
    `minus2LL_of_DV`).

    Attributes
    ----------
    complete : Complete
    ended : list of Ended
        One of each start.
    """

    def __init__(self, complete: Complete, ended: Sequence[Ended], seed: int, accuracy: float):
        self.complete, self.ended, self.seed, self.accuracy = complete, list(ended), seed, accuracy

    @cached_property
    def best(self) -> Ended:
        """The start that ended at the lowest -2 ln L."""
        return min(self.ended, key=lambda one: one.known.minus2LL)

    @property
    def row(self) -> np.ndarray:
        """What was estimated, in the scales of the estimates; ``names`` says what."""
        return self.best.known.row

    @property
    def names(self) -> tuple[str, ...]:
        """What was estimated."""
        return self.complete.effects.names

    @property
    def values(self) -> Values:
        """Coefficients, parameters without random effect, covariance, error parameters."""
        return self.complete.effects.unpack(self.row)

    @property
    def minus2LL(self) -> float:  # the word of the field
        """-2 ln L, of ``ln DV`` where errors are log-normal."""
        return self.best.known.minus2LL

    @property
    def minus2LL_of_DV(self) -> float:
        """-2 ln L with densities of ``DV``; it differs only where errors are log-normal."""
        return self.minus2LL + 2.0 * float(self.complete.prepared.log_values.sum())

    @property
    def minus2LL_error(self) -> float:
        """The Monte Carlo standard error of -2 ln L."""
        return self.best.known.rounds.error

    @property
    def measurements(self) -> int:
        """How many measurements were fitted."""
        return len(self.complete.prepared.layout.of.value)

    @property
    def patients_measured(self) -> int:
        """How many patients have measurements; the others say nothing."""
        prepared = self.complete.prepared
        return int(np.count_nonzero(prepared.measurements(np.arange(prepared.patients))))

    @property
    def aic(self) -> float:
        """Akaike's criterion."""
        return self.minus2LL + 2.0 * len(self.row)

    @property
    def bic(self) -> float:
        """The Bayesian criterion, by the number of patients that have measurements."""
        return self.minus2LL + np.log(self.patients_measured) * len(self.row)

    @property
    def bicc(self) -> float:
        """The corrected Bayesian criterion.

        Parameters of random effects count by the patients that have measurements, those that all patients
        share by the measurements (Delattre et al., Electronic Journal of Statistics 8, 456-475, 2014).
        """
        at = self.complete.effects.slices
        shared = sum(at[name].stop - at[name].start for name in ("fixed", "errors"))
        own = len(self.row) - shared
        return float(
            self.minus2LL + np.log(self.patients_measured) * own + np.log(self.measurements) * shared
        )

    @cached_property
    def cov(self) -> np.ndarray:
        """The covariance of the estimates, in their scales, by the observed information (Louis)."""
        return np.linalg.inv(self.best.known.curvature)

    @property
    def condition(self) -> float:
        """The condition number of the correlations of the estimates."""
        size = np.sqrt(np.diag(self.cov))
        eigen = np.linalg.eigvalsh(self.cov / np.outer(size, size))
        return float(eigen[-1] / max(eigen[0], 1e-300))

    @cached_property
    def known(self) -> np.ndarray:
        """Of which estimates the data say more than nothing: logarithms to less than a factor of ten."""
        relative = np.array([scale in ("log", "z") for scale in self.row_scales()])
        gone = relative & (np.abs(self.row) > _GONE) & (np.array(self.row_scales()) == "z")
        return ~(relative & (np.sqrt(np.diag(self.cov)) > _FOLD)) & ~gone & ~self.lost

    @property
    def lost(self) -> np.ndarray:
        """Which spreads and errors went to nothing: their parts of the information vanish."""
        begin = self.complete.effects.slices["omega"].start
        flat = np.diag(self.best.known.information) <= _FLAT
        return flat & (np.arange(len(self.row)) >= begin)

    @property
    def of_lost(self) -> np.ndarray:
        """Which coefficients are of random effects whose spread went to nothing.

        Draws of such an effect do not move, and say nothing of how well its mean is known.
        """
        effects, at = self.complete.effects, self.complete.effects.slices
        owner = (effects.design != 0).any(axis=0)  # random x coefficients
        found = np.zeros(len(self.row), dtype=bool)
        found[at["b"]] = owner[self.lost[at["omega"]]].any(axis=0)
        return found

    @cached_property
    def problems(self) -> list[str]:
        """What speaks against the fit having converged, a sentence each."""
        from fastcart.fit.population_tables import problems

        return problems(self)

    @property
    def converged(self) -> bool:
        """Whether all starts came to one maximum, and nothing promises a better one."""
        return not [text for text in self.problems if "Monte Carlo" not in text]

    def table(self) -> pd.DataFrame:
        """Return a row for each estimate.

        Columns: ``parameter``; ``estimate`` in natural units (typical values, standard deviations of random
        effects, correlations, error parameters); ``se`` and ``rse`` of it (relative, first order); ``low``
        and ``high`` (95 %, by the standard error in the scale of the estimate); ``scaled``, ``scaled_se`` and
        ``scale``: the same in the scale in which it was estimated; ``says``: ``ok``, or ``not identifiable``,
        or ``spread at zero`` (of a random effect that went to nothing: estimate it as ``fixed``), where no
        error is given; ``method`` of the standard errors.
        """
        from fastcart.fit.population_tables import estimates

        return estimates(self)

    def row_scales(self) -> list[str]:
        """Return the scale of each estimate: ``log``, ``logit``, ``normal``, or ``z`` of correlations."""
        effects, at = self.complete.effects, self.complete.effects.slices
        scales = []
        for k, name in enumerate(self.names):
            if name in effects.columns and k < at["omega"].start:
                scales.append(effects.scales[effects.columns.index(name)])
            elif k < at["omega"].start:
                scales.append("normal")
            else:
                scales.append("z" if at["pairs"].start <= k < at["pairs"].stop else "log")
        return scales

    def natural(self, row: np.ndarray) -> np.ndarray:
        """Return a row of estimates in natural units."""
        effects, out = self.complete.effects, np.empty_like(row)
        for k, scale in enumerate(self.row_scales()):
            if scale == "logit":
                place = effects.columns.index(self.names[k])
                out[k] = effects.natural(row[k : k + 1], place)[0]
            else:
                out[k] = _INVERSES[scale](row[k])
        return out

    def slopes(self) -> np.ndarray:
        """Return how fast each estimate changes in natural units with its scaled value."""
        step = 1e-6
        return (self.natural(self.row + step) - self.natural(self.row - step)) / (2 * step)

    @cached_property
    def modes(self) -> Modes:
        """The most probable random effects of each patient."""
        summary = self.best.known.summary
        proposal = self.best.known.proposal
        starts = np.concatenate([summary.mean[:, np.newaxis], proposal.means], axis=1)
        return modes(self.complete, self.values, starts, self.deviations)

    @property
    def deviations(self) -> np.ndarray:
        """Conditional standard deviations of each patient's random effects, patients x random."""
        summary = self.best.known.summary
        return np.sqrt(
            np.maximum(np.diagonal(summary.square, axis1=1, axis2=2) - summary.mean**2, 0.0)
        )  # fmt: skip

    def individuals(self) -> pd.DataFrame:
        """Return a row for each patient.

        Columns: ``patient``, ``minus2LL``, and for each parameter with a random effect its ``NAME_mode``
        (most probable, natural), and ``NAME_scaled_mode``, ``NAME_scaled_mean``, ``NAME_scaled_sd`` given
        the data, in the scale of the parameter.
        """
        from fastcart.fit.population_tables import individuals

        return individuals(self)

    def shrinkage(self) -> pd.DataFrame:
        """Return the shrinkage of random effects and of residuals: 0 where data tell all, 1 where nothing.

        Returns
        -------
        DataFrame
            A row for each parameter with a random effect, then ``residuals of NAME`` for each measurement.
            Columns, without unit: ``parameter``; ``variance`` (1 - variance / omega^2) and ``deviation``
            (1 - SD / omega) of patients' conditional means, ``mode_variance`` and ``mode_deviation`` of their
            most probable values, omega as estimated. Of residuals the same of ``IWRES``, in the last two.
        """
        from fastcart.fit.population_tables import shrinkage

        return shrinkage(self)

    def starts(self) -> pd.DataFrame:
        """Return a row for each start: where it ended, -2 ln L with its error, when it began to average."""
        from fastcart.fit.population_tables import starts

        return starts(self)

    def quadrature(self, nodes: int = 11) -> float:
        """Return -2 ln L by adaptive Gauss-Hermite quadrature, a check; at most three random effects.

        Raises
        ------
        InputError
            For more of them.
        """
        found = quadrature(self.complete, self.row, self.modes, count(nodes, "The nodes"))
        return float(-2.0 * found.sum())

    def courses(self, patients: Any = None, *, times: Any = None) -> pd.DataFrame:
        """Return courses between the measurements, close enough to draw.

        Parameters
        ----------
        patients : sequence of ids, optional
            Default: all.
        times : sequence of float, optional
            Default: close ones up to each patient's last measurement, from just before to behind each dose.

        Returns
        -------
        DataFrame
            ``patient``, ``time``, ``kind``, ``PRED`` (typical parameters), ``IPRED`` (most probable ones).

        Raises
        ------
        InputError
            For patients that are not in the fit, and times that it does not reach.
        """
        from fastcart.fit.fine_courses import fine_courses

        fine, effects, values = (
            fine_courses(self.complete.prepared, patients, times),
            self.complete.effects,
            self.values,
        )
        phi = {"PRED": effects.centers(values.b), "IPRED": self.modes.phi}
        return fine.table(**{name: effects.theta(x[fine.patients], values.fixed) for name, x in phi.items()})

    def diagnostics(self) -> pd.DataFrame:
        """Return predictions and residuals of all measurements.

        Returns
        -------
        DataFrame
            A row for each measurement: ``patient``; ``time`` (unit of the model); ``kind``, what is measured;
            ``DV``, in the unit of the data, the limit where ``censored`` is not 0; ``PRED`` and ``IPRED``, in
            the same unit, predicted with typical parameters of the patient's covariates, and with the most
            probable ones; without unit ``IWRES`` ((DV - IPRED) / SD, of logarithms where errors are
            log-normal) and ``NPDE``, standard normal if the model is right.
        """
        return self._diagnostics.copy()

    @cached_property
    def _diagnostics(self) -> pd.DataFrame:
        from fastcart.fit.simulated import diagnostics

        return diagnostics(self)

    def vpc(
        self, *, bins: int = BINS, corrected: bool = False, replicates: int = 1000, seed: int = 1
    ) -> PredictiveCheck:
        """Return a visual predictive check: percentiles of measurements beside those of simulations.

        Parameters
        ----------
        bins : int
            Of time, for each kind by itself: each time at which it was measured, where there are no more than
            so many (default 12), else so many bins at most with about equally many measurements.
        corrected : bool
            Correct for predictions (Bergstrand et al., AAPS Journal 13, 143-151, 2011), for patients whose
            doses or covariates differ.
        replicates, seed : int
            How often all patients are simulated, and the seed of that.

        Returns
        -------
        PredictiveCheck
            Tables: ``bins`` (a row for each kind, bin and percentile: ``observed`` and ``low``, ``median``,
            ``high`` of 90 % of the simulations; NaN below the limit), ``censored`` (the share below the
            limit), ``points`` (the measurements).
        """
        from fastcart.fit.simulated import vpc

        return vpc(self, bins=bins, corrected=corrected, replicates=replicates, seed=seed)

    def npde(self, *, replicates: int = 1000, seed: int = 1) -> pd.DataFrame:
        """Return normalised prediction distribution errors: standard normal if the model is right.

        Parameters
        ----------
        replicates, seed : int
            How often all patients are simulated, and the seed of that.

        Returns
        -------
        DataFrame
            ``patient``, ``time``, ``kind``, ``NPDE``.
        """
        from fastcart.fit.simulated import npde

        return npde(self, replicates=replicates, seed=seed)

    def to_population(self, n: int, *, uncertainty: bool = False, seed: int = 1) -> pd.DataFrame:
        """Draw virtual patients, as `fastcart.solve` takes them.

        Parameters
        ----------
        n : int
            How many.
        uncertainty : bool
            Whether each comes from a population that is itself drawn, from the estimates and their
            covariance; else from the estimates. What the data do not say keeps its estimate.
        seed : int

        Returns
        -------
        DataFrame
            ``n`` rows: parameters that were estimated, in natural units, and what the data have of patients
            (covariates, other parameters), together as they are in one patient drawn by chance.

        Warns
        -----
        UserWarning
            Naming estimates that the data do not say, where ``uncertainty`` is asked for.
        """
        from fastcart.fit.population_tables import virtual_patients

        return virtual_patients(self, n, uncertainty=uncertainty, seed=seed)

    def summary(self) -> str:
        """Return in a few lines what was fitted, how well, and what speaks against it."""
        from fastcart.fit.population_tables import summary

        return summary(self)

    def _repr_html_(self) -> str:
        """Show the summary in a notebook."""
        return section("PopulationFit", [f"<pre>{escape(self.summary())}</pre>"])

    def __repr__(self) -> str:
        return f"<PopulationFit of {self.complete.prepared.model.name!r}: -2 ln L {self.minus2LL:.2f}>"
