"""Results of fits of individuals: estimates with errors, waterfalls of minima, what cannot be known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart.fit.data import NOT_CENSORED
from fastcart.fit.levenberg import FAILED, JOINED, Minima
from fastcart.representation import in_brief, section, table
from fastcart.tables.ids import id_shown

if TYPE_CHECKING:
    from fastcart.fit.search import Search

_FOLD = 1.0  # a standard error of a logarithm that says nothing: the 95 % interval spans a factor of 50
_QUANTILE = 1.959964  # of 95 %
_NEAR = 1e-3  # relative: so near to the best minimum another start has found it, too
_AT_BOUND = 1e-6  # of the range
_GONE, _FEW = "error at its bound", "too few measurements"
_FEW_VALUES = "few measured values"
_RELIABLE = 5  # measured values from which on a residual error of one patient is believed
_FAINT = 0.01 * math.sqrt(12.0)  # a hundredth of what bounds say: keeps apart what only nearly depends


@dataclass(frozen=True, eq=False, repr=False)
class IndividualFit:
    """A fit of each patient by itself; made by `fastcart.fit.individual`.

    Parameters
    ----------
    search : Search
    minima : Minima
        Of all starts, those of one patient after the other.
    patient : ndarray of int
        Whose they are.
    best : ndarray of int, shape (patients,)
        The best minimum of each patient.
    """

    search: Search
    minima: Minima
    patient: np.ndarray
    best: np.ndarray

    @classmethod
    def of(cls, search: Search, minima: Minima, patient: np.ndarray) -> IndividualFit:
        """Return the fit with the best minimum of each patient."""
        order = np.lexsort((np.arange(len(patient)), minima.cost, patient))
        first = np.searchsorted(patient[order], np.arange(search.prepared.patients))
        return cls(search, minima, patient, order[first])

    @cached_property
    def shown(self) -> np.ndarray:
        """The places of what was estimated, among parameters and all error parameters."""
        given = ~np.isnan(self.search.prepared.error_values)
        return np.flatnonzero(np.append(np.ones(self.search.estimates.parameters, dtype=bool), ~given))

    @property
    def names(self) -> tuple[str, ...]:
        """What was estimated: parameters, then those of the errors that had no value."""
        return tuple(self.search.estimates.names[k] for k in self.shown)

    @property
    def values(self) -> np.ndarray:
        """Estimates, patients x names, in natural units."""
        return self.whole[:, self.shown]

    @cached_property
    def whole(self) -> np.ndarray:
        """The same with all error parameters."""
        return self.search.estimates.natural(self.minima.x[self.best])

    @cached_property
    def minus2LL(self) -> np.ndarray:  # the word of the field
        """-2 ln L of each patient, by the density of ``ln DV`` where errors are log-normal."""
        number, prepared = self.search.estimates.parameters, self.search.prepared
        every = np.arange(prepared.patients)
        return -2.0 * prepared.loglik(self.whole[:, :number], every, self.whole[:, number:])

    @property
    def cost(self) -> np.ndarray:
        """The sum of squares of residuals of each patient, chi2, where deviations are known.

        Where they are estimated or depend on predictions, -2 ln L up to a constant.
        """
        return self.minima.cost[self.best]

    @cached_property
    def _slopes(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Standard errors in the scale of the estimates, and singular values, of each patient."""
        every = np.arange(self.search.prepared.patients)
        _, slopes = self.search.slopes(self.minima.x[self.best], every)
        size = len(self.search.estimates.names)
        errors = np.full((len(every), size), np.nan)
        singular = []
        for i in every:
            free = np.flatnonzero(np.isnan(self.search.fixed[i]))
            matrix = slopes[i].reshape(-1, size)[:, free]
            matrix = matrix[np.isfinite(matrix).all(axis=1)]
            width = (self.search.estimates.high - self.search.estimates.low)[free]
            singular.append(np.linalg.svd(matrix, compute_uv=False) if matrix.size else np.zeros(len(free)))
            errors[i, free] = _standard_errors(np.vstack([matrix, np.diag(_FAINT / width)]))
        return errors, singular

    @property
    def errors(self) -> np.ndarray:
        """Standard errors in the scale of the estimates, as slopes have them; infinite for no slope."""
        return self._slopes[0][:, self.shown]

    @property
    def singular_values(self) -> list[np.ndarray]:
        """Singular values of the slopes of residuals of each patient, in the scale of the estimates."""
        return self._slopes[1]

    @cached_property
    def known(self) -> np.ndarray:
        """Of each patient and name, whether the data say what it is; also where it is fixed.

        They do not where the standard error of a logarithm is 1 or more, where its 95 % interval runs over a
        bound, and where that of a linear parameter is wider than its bounds.
        """
        error, search, estimates = self._slopes[0], self.search, self.search.estimates
        x, width = self.minima.x[self.best], estimates.high - estimates.low
        with np.errstate(invalid="ignore"):
            over = (x - _QUANTILE * error < search.low) | (x + _QUANTILE * error > search.high)
            far = (error >= _FOLD) | (over & ~self._at_bound)
            unknown = np.where(estimates.log, far, 2.0 * _QUANTILE * error >= width)
        return ~unknown[:, self.shown]

    @property
    def _at_bound(self) -> np.ndarray:
        return self._at_low | self._at_high

    @property
    def _at_low(self) -> np.ndarray:
        search = self.search
        return self.minima.x[self.best] <= search.low + _AT_BOUND * (search.high - search.low)

    @property
    def _at_high(self) -> np.ndarray:
        search = self.search
        return self.minima.x[self.best] >= search.high - _AT_BOUND * (search.high - search.low)

    @cached_property
    def without_errors(self) -> dict[int, str]:
        """For places of patients whose measurements say nothing of their own error, why.

        Then nothing is known of errors of what was estimated, either.
        """
        number, free = self.search.estimates.parameters, np.isnan(self.search.fixed)
        gone = (self._at_low & free)[:, number:].any(axis=1)
        own = self.search.prepared.measurements(np.arange(len(free)))
        few = free[:, number:].any(axis=1) & (own <= free.sum(axis=1))
        return {int(i): _GONE if gone[i] else _FEW for i in np.flatnonzero(gone | few)}

    @cached_property
    def _said(self) -> np.ndarray:
        """Of which estimates an error is given."""
        said = self.known.copy()
        said[list(self.without_errors)] = False
        return said

    @property
    def not_identifiable(self) -> dict[Any, tuple[str, ...]]:
        """For each patient that has such, the names of what the data do not say."""
        ids = self.search.prepared.data.ids
        return {
            patient: tuple(name for name, good in zip(self.names, mine, strict=True) if not good)
            for patient, mine in zip(ids.tolist(), self.known, strict=True)
            if not mine.all()
        }

    @cached_property
    def standard_errors(self) -> np.ndarray:
        """Standard errors, patients x names, in natural units.

        NaN for what is fixed or not identifiable, and in patients whose own error is not known
        (`without_errors`).
        """
        error = np.where(self._said, self.errors, np.nan)
        return np.where(self.search.estimates.log[self.shown], error * self.values, error)

    @cached_property
    def _few_values(self) -> np.ndarray:
        """Which estimates are errors of kinds of which a patient has few values, patients x names."""
        prepared, estimates = self.search.prepared, self.search.estimates
        few = np.zeros((prepared.patients, len(estimates.names)), dtype=bool)
        owners = [one.dvid for one in prepared.observations for _ in one.error_names]
        if not owners:
            return few[:, self.shown]
        of, data = prepared.data.measurements, prepared.data
        seen = np.zeros((data.patients, len(data.kinds)), dtype=int)
        np.add.at(seen, (of.patient, of.kind), of.censored == NOT_CENSORED)
        for place, kind in enumerate(owners, start=estimates.parameters):
            if kind in data.kinds:
                few[:, place] = seen[:, data.kinds.index(kind)] < _RELIABLE
        few &= np.isnan(self.search.fixed)
        return few[:, self.shown]

    def table(self) -> pd.DataFrame:
        """Return a row for each patient and estimate.

        Columns: ``patient``, ``parameter``, ``estimate``, ``se``, ``rse`` (relative), ``low`` and ``high``
        (95 %, by the standard error in the scale of the estimate), ``says``: ``ok``, ``not identifiable``,
        ``at lower bound``, ``at upper bound``, ``fixed``; ``error at its bound`` where a patient's error
        parameter went to nothing (the curve runs through the measurements), and ``too few measurements``
        where there are no more than free parameters, the error's included: no error is given then; ``few
        measured values`` for the error parameter of a patient of whom fewer than five values of its kind are
        not censored: it may be far off.
        """
        estimates, x, shown = self.search.estimates, self.minima.x[self.best], self.shown
        error = np.full(x.shape, np.nan)
        error[:, shown] = np.where(self._said, self.errors, np.nan)
        low, high = (estimates.natural(x + side * _QUANTILE * error)[:, shown] for side in (-1.0, 1.0))
        says = np.full(x.shape, "ok", dtype=object)
        says[self._at_low] = "at lower bound"
        says[self._at_high] = "at upper bound"
        says = says[:, shown]
        says[~self.known] = "not identifiable"
        says[(says == "ok") & self._few_values] = _FEW_VALUES
        for place, why in self.without_errors.items():
            says[place] = why
        says[~np.isnan(self.search.fixed)[:, shown]] = "fixed"
        patients, names = says.shape
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = self.standard_errors / np.abs(self.values)
        return pd.DataFrame(
            {
                "patient": np.repeat(self.search.prepared.data.ids, names),
                "parameter": np.tile(np.array(self.names, dtype=object), patients),
                "estimate": self.values.ravel(), "se": self.standard_errors.ravel(), "rse": relative.ravel(),
                "low": low.ravel(), "high": high.ravel(), "says": says.ravel(),
            }
        )  # fmt: skip

    def patients(self) -> pd.DataFrame:
        """Return a row for each patient: measurements, cost, -2 ln L, how many starts found it."""
        prepared = self.search.prepared
        every = np.arange(prepared.patients)
        best = self.cost[self.patient]
        near = self.minima.cost <= best + _NEAR * np.abs(best)
        return pd.DataFrame(
            {
                "patient": prepared.data.ids, "measurements": prepared.measurements(every),
                "cost": self.cost, "minus2LL": self.minus2LL,
                "starts": np.bincount(self.patient), "found_by": np.bincount(self.patient, near).astype(int),
                "failed": np.bincount(self.patient, self.minima.how == FAILED).astype(int),
                "how": self.minima.how[self.best],
            }
        )  # fmt: skip

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
            ``patient``, ``time``, ``kind``, ``prediction``.

        Raises
        ------
        InputError
            For patients that are not in the fit, and times that it does not reach.
        """
        from fastcart.fit.fine_courses import fine_courses

        fine, number = fine_courses(self.search.prepared, patients, times), self.search.estimates.parameters
        return fine.table(prediction=self.whole[fine.patients, :number])

    def plot(self, patients: Any = None) -> Any:
        """Draw fitted courses through the measurements, a panel for each patient.

        Parameters
        ----------
        patients : sequence of ids, optional
            Default: the first twelve.

        Returns
        -------
        matplotlib.figure.Figure
            Limits of censored measurements are hollow triangles.

        Raises
        ------
        InputError
            For patients that are not in the fit.
        """
        from fastcart.fit.individual_figures import courses

        return courses(self, patients)

    def waterfall(self) -> pd.DataFrame:
        """Return a row for each start, the best of each patient first: where it ended, and how."""
        order = np.lexsort((np.arange(len(self.patient)), self.minima.cost, self.patient))
        rank = np.arange(len(order)) - np.searchsorted(self.patient[order], self.patient[order]) + 1
        x = self.search.estimates.natural(self.minima.x[order])
        return pd.DataFrame(
            {
                "patient": self.search.prepared.data.ids[self.patient[order]], "rank": rank,
                "cost": self.minima.cost[order], "how": self.minima.how[order],
                "iterations": self.minima.iterations[order],
                **{name: x[:, k] for k, name in zip(self.shown, self.names, strict=True)},
            }
        )  # fmt: skip

    def __repr__(self) -> str:
        return in_brief("IndividualFit", [self.summary().splitlines()[0]])

    def _repr_html_(self) -> str:
        """Show the summary and the estimates in a notebook."""
        return section("IndividualFit", [f"<pre>{escape(self.summary())}</pre>", table(self.table())])

    def summary(self) -> str:
        """Return in a few lines how the fit went, and what it does not know."""
        table = self.patients()
        lines = [
            f"{len(table)} patients, {len(self.names)} parameters, {table['starts'].iloc[0]} starts each "
            f"(with those anew around the best); -2 ln L {self.minus2LL.sum():.4f}",
            f"more than one start found the best minimum of {(table['found_by'] > 1).sum()} patients; "
            f"{np.count_nonzero(self.minima.how == JOINED)} starts joined others, {table['failed'].sum()} "
            "failed",
        ]
        prepared = self.search.prepared
        if used := [one.dvid for one in prepared.observations]:  # what comes from PEtab names none
            lines += prepared.data.not_used(used)
        for name, few in zip(self.names, self._few_values.sum(axis=0), strict=True):
            if few:
                lines.append(
                    f"{name} is not reliable in {few} of {len(table)} patients, of whom fewer than "
                    f"{_RELIABLE} values are measured and not censored"
                )
        ids = prepared.data.ids
        lines += [
            f"patient {id_shown(ids[i])}: {why}: no errors given" for i, why in self.without_errors.items()
        ]
        for patient, names in self.not_identifiable.items():
            lines.append(f"patient {id_shown(patient)}: not identifiable: {', '.join(names)}")
        return "\n".join(lines)


def _standard_errors(slopes: np.ndarray) -> np.ndarray:
    """Return standard errors by slopes of residuals, measurements x parameters; infinite for no slope."""
    size = np.sqrt((slopes**2).sum(axis=0))
    errors = np.full(slopes.shape[1], np.inf)
    some = size > 0
    if some.any():
        _, singular, right = np.linalg.svd(slopes[:, some] / size[some], full_matrices=True)
        values = np.zeros(some.sum())
        values[: len(singular)] = singular
        with np.errstate(divide="ignore"):
            shares = (right / np.maximum(values, 1e-150)[:, np.newaxis]) ** 2
        errors[some] = np.sqrt(shares.sum(axis=0)) / size[some]
    return errors
