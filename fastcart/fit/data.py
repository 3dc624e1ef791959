"""What a table of doses and measurements says, checked: one row of arrays per measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import shown
from fastcart.errors import InputError, counted, nearest
from fastcart.representation import section

NOT_CENSORED, BELOW, ABOVE = 0, 1, -1
NOT_USED = "; not used, for no observation names this kind"


@dataclass(frozen=True, eq=False)
class Measurements:
    """Measurements, those of one patient after the other, in the order of their times.

    Parameters
    ----------
    patient : ndarray of int, shape (measurements,)
        The place of the patient.
    time : ndarray
        As in the table.
    kind : ndarray of int
        The place of what is measured among `FitData.kinds`.
    value : ndarray
    censored : ndarray of int
        0; 1 where the true value is below ``value``, -1 where it is above.
    limit : ndarray
        The other end of the interval of a censored value; NaN for none.
    deviation : ndarray
        The standard deviation of the measurement, where the table has it; else NaN.
    before : ndarray of bool
        Whether it was taken just before a dose that is given at this time.
    row : ndarray of int
        The row of the table, from 1 on.
    """

    patient: np.ndarray
    time: np.ndarray
    kind: np.ndarray
    value: np.ndarray
    censored: np.ndarray
    limit: np.ndarray
    deviation: np.ndarray
    before: np.ndarray
    row: np.ndarray

    def take(self, rows: np.ndarray) -> Measurements:
        """Return some of them."""
        return Measurements(**{name: values[rows] for name, values in vars(self).items()})


@dataclass(frozen=True, eq=False)
class FitData:
    """A checked table; made by `fastcart.fit.read`.

    Parameters
    ----------
    ids : ndarray
        Of the patients, in the order in which the table names them.
    kinds : tuple of str
        What is measured, by the name that an `Observation` has.
    measurements : Measurements
    doses : DataFrame or None
        What is given, as `fastcart.solve` takes it.
    covariates : DataFrame
        A row for each patient, a column for each covariate that is constant.
    changing : tuple of str
        Parameters of the model that the table changes in time: the last value is carried forward.
    not_measured : int
        Rows of measurements without a value, left out.
    notes : tuple of str
        What was warned of.
    doses_with_value : int
        Rows of doses with a value, which is not read.
    """

    ids: np.ndarray
    kinds: tuple[str, ...]
    measurements: Measurements
    doses: pd.DataFrame | None
    covariates: pd.DataFrame
    changing: tuple[str, ...] = ()
    not_measured: int = 0
    notes: tuple[str, ...] = ()
    doses_with_value: int = 0

    @property
    def patients(self) -> int:
        """Number of patients."""
        return len(self.ids)

    @cached_property
    def last_time(self) -> float:
        """The time of the last measurement; 0 where there is none."""
        return float(self.measurements.time.max(initial=0.0))

    @cached_property
    def most_doses(self) -> int:
        """How many doses a patient is given at most, repeated ones and resets included."""
        if self.doses is None or "patient" not in self.doses:
            return 0
        count = 1.0 + self.doses["repeats"]
        return int(count.groupby(self.doses["patient"], sort=False).sum().max())

    def covariate(self, name: str) -> np.ndarray:
        """Return a constant covariate of each patient by its name, in capitals or not.

        Raises
        ------
        InputError
            For one that the table does not have.
        """
        known = {str(column).casefold(): column for column in self.covariates}
        column = known.get(name.casefold()) if isinstance(name, str) else None
        if column is None:
            raise InputError(
                f"The table has no constant covariate {shown(name)}."
                + nearest(name, [str(x) for x in known.values()])
            )
        return self.covariates[column].to_numpy()

    def __repr__(self) -> str:
        counts = np.bincount(self.measurements.kind, minlength=len(self.kinds))
        kinds = [
            f"{counted(int(n), 'measurement')} of {name}" for name, n in zip(self.kinds, counts, strict=True)
        ]
        parts = [counted(self.patients, "patient"), *kinds, self._of_doses()]
        return f"<FitData: {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        """Show the summary in a notebook."""
        return section("FitData", [f"<pre>{escape(self.summary())}</pre>"])

    def summary(self, *, used: Sequence[str] | None = None) -> str:
        """Return in a few lines: patients, measurements of each kind, censored share, doses, covariates.

        Parameters
        ----------
        used : sequence of str, optional
            Kinds that a fit has observations of; of all others it is said that they are not used.
        """
        of, without = self.measurements, self.patients - len(np.unique(self.measurements.patient))
        lines = [f"{self.patients} patients, {len(of.time)} measurements up to time {self.last_time:g}"]
        if without:
            lines.append(f"{without} patients without a measurement")
        for k, name in enumerate(self.kinds):
            mine = of.kind == k
            cut = of.censored[mine]
            lines.append(
                f"{name}: {mine.sum()} measurements, {(cut == BELOW).mean():.1%} below and "
                f"{(cut == ABOVE).mean():.1%} above their limits"
                + ("" if used is None or name in used else NOT_USED)
            )
        if self.not_measured:
            lines.append(f"{self.not_measured} rows without a value, left out")
        if self.doses_with_value:
            lines.append(f"{self.doses_with_value} rows of doses with a value, which is not read")
        lines.append(self._of_doses())
        if len(self.covariates.columns):
            lines.append("covariates: " + ", ".join(map(str, self.covariates)))
        if self.changing:
            lines.append("parameters that change in time, carried forward: " + ", ".join(self.changing))
        return "\n".join([*lines, *self.notes])

    def not_used(self, used: Sequence[str]) -> list[str]:
        """Say of each kind that is not among those used how many measurements there are."""
        counts = np.bincount(self.measurements.kind, minlength=len(self.kinds))
        kinds = zip(self.kinds, counts, strict=True)
        return [f"{kind}: {number} measurements{NOT_USED}" for kind, number in kinds if kind not in used]

    def _of_doses(self) -> str:
        if self.doses is None:
            return "no doses"
        given = self.doses["state"].notna()
        parts = []
        for state, rows in self.doses[given].groupby("state", sort=False):
            lasts = [
                _is_given(d) or _is_given(r) for d, r in zip(rows["duration"], rows["rate"], strict=True)
            ]
            parts.append(f"{len(rows)} into {state} ({sum(lasts)} infusions)")
        for column, word in (("steady", "at steady state"), ("reset", "resets"), ("repeats", "repeated")):
            count = int((self.doses[column] > 0).sum())
            if count:
                parts.append(f"{count} {word}")
        return "doses: " + (", ".join(parts) or "none")


def check_data(data: Any, *, measured: bool) -> FitData:
    """Return the data, having checked that they are such, and have measurements where ``measured``.

    Raises
    ------
    InputError
        For anything else.
    """
    if not isinstance(data, FitData):
        raise InputError(f"The data must come from fastcart.fit.read, not {shown(data)}.")
    if measured and not len(data.measurements.time):
        raise InputError("The data have no measurement, so nothing can be estimated.")
    return data


def _is_given(cell: Any) -> bool:
    return isinstance(cell, str) or cell > 0
