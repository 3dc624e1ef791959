"""Predictions and log-likelihoods of patients, for many parameters at once: arrays in, arrays out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from fastcart.batch import check_threads
from fastcart.checks import names, shown
from fastcart.engines import as_model
from fastcart.errors import InputError, counted, nearest
from fastcart.fit.data import FitData, check_data
from fastcart.fit.densities import Likelihoods, Predicted, gather_kernel, likelihood_kernel
from fastcart.fit.layout import Layout, layout_of
from fastcart.fit.observations import Observation, check_observations, observing
from fastcart.fit.predictions import Predictions
from fastcart.fit.solving import OUT_OF_RANGE, Courses, Group, courses_of
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.solvers.status import NAMES
from fastcart.solvers.threads import in_few_parts
from fastcart.typing_names import ModelName

_STEPS = 3_000  # a solve that needs more has blown up, or is stiff where the model is not
_CLOSE_STEPS = 10_000  # the same for smaller tolerances than
_USUAL_RTOL = 1e-8
_STEPS_OF_DOSE = 200  # and so many more for each dose
_TOGETHER = 16_384  # solves at a time
_ROWS = 1_000_000  # or so many predictions


class PreparedLikelihood:
    """A model and data, ready to be compared; made by `prepare`.

    Densities include the terms with 2 pi. Log-normal measurements count with the density of ``ln DV``; add
    ``2 * log_values.sum()`` to -2 ln L for that of ``DV``.

    Attributes
    ----------
    model : Model
    data : FitData
    observations : tuple of Observation
    columns : tuple of str
        What the columns of ``theta`` mean.
    error_names : tuple of str
        What the error parameters mean.
    error_values : ndarray
        Those that the observations have; NaN where there is none.
    log_values : ndarray, shape (patients,)
        Sum of ``ln DV`` over the log-normal measurements of a patient that are not censored.
    counts : Counter
        How many solves ended how, by status, since it was last cleared.
    layout : Layout
        The measurements, as kernels take them.
    options : SolveOptions
        How solves are made.
    floored : int
        How many predictions were too small for an error that is proportional to them, since then.
    """

    def __init__(
        self, model: Model, data: FitData, observations: tuple[Observation, ...], layout: Layout,
        courses: Courses, options: SolveOptions,
    ):  # fmt: skip
        self.model, self.data, self.observations, self.options = model, data, observations, options
        self.columns = courses.columns
        self.error_names, self.error_values = layout.error_names, layout.error_values
        self.log_values = layout.log_values
        self.counts: Counter[str] = Counter()
        self.floored = 0
        self.layout, self._courses = layout, courses
        self._last: Group | None = None
        self._default_error: np.ndarray | None = None
        self._gather, self._sum = gather_kernel(), likelihood_kernel()

    @property
    def patients(self) -> int:
        """Number of patients of the data."""
        return self.data.patients

    @property
    def threads(self) -> int:
        """At most so many threads work at a time."""
        return self._courses.threads

    @property
    def horizon(self) -> float:
        """Up to when solves go: the last measurement, unless the options say another time."""
        return self._courses.problem.t_end

    def beside(self, threads: int) -> PreparedLikelihood:
        """Return the same for another thread, with counts of its own, which `told` adds to those here."""
        other = copy(self)
        other._courses = copy(self._courses)
        other.work_in(threads)
        other.counts, other.floored, other._last = Counter(), 0, None
        return other

    def work_in(self, threads: int) -> None:
        """Let at most so many threads work from now on; results do not depend on it."""
        self._courses.threads = threads

    def told(self, other: PreparedLikelihood) -> None:
        """Add what another one counted."""
        self.counts.update(other.counts)
        self.floored += other.floored

    def measurements(self, patient_index: Any) -> np.ndarray:
        """Return how many measurements each solve is compared with."""
        who = self._who(patient_index)
        return (self.layout.of.end - self.layout.of.begin)[who]

    def predictions(self, theta: Any, patient_index: Any) -> Predictions:
        """Predict the measurements of patients.

        Parameters
        ----------
        theta : array-like, shape (solves, columns)
            In the units of the model.
        patient_index : array-like of int, shape (solves,)
            Whose data, doses and covariates each solve has.

        Returns
        -------
        Predictions
            In the order of the measurements of the data.
        """
        values, who = self._checked(theta, patient_index)
        group = self._group(who)
        offsets = group.offsets
        found, status = np.empty(offsets[-1]), np.empty(len(who), dtype=np.int8)
        for low, high in self._parts(offsets):
            first = offsets[low]
            some, status[low:high] = self._predict(values[low:high], self._part(group, low, high))
            found[first : offsets[high]] = some
        return Predictions(found, offsets, status)

    def loglik(self, theta: Any, patient_index: Any, error_parameters: Any = None) -> np.ndarray:
        """Return the log-likelihood of each solve's patient.

        Parameters
        ----------
        theta : array-like, shape (solves, columns)
        patient_index : array-like of int, shape (solves,)
        error_parameters : array-like, shape (errors,) or (solves, errors), optional
            In the order of ``error_names``; default: those of the observations.

        Returns
        -------
        ndarray, shape (solves,)
            Minus infinity where a solve failed or a value was not in its range, never NaN; 0 for a patient
            without measurements.
        """
        values, who = self._checked(theta, patient_index)
        error = self._errors(error_parameters, len(who))
        group, out = self._group(who), np.empty(len(who))
        parts = self._parts(group.offsets)
        if len(parts) == 1:
            return self._logliks(values, group, error)
        for low, high in parts:
            part = self._part(group, low, high)
            mine = error if len(error) == 1 else error[low:high]
            out[low:high] = self._logliks(values[low:high], part, mine)
        return out

    def slopes(self, theta: Any, patient_index: Any) -> tuple[Predictions, np.ndarray]:
        """Predict measurements, and differentiate predictions by the columns of ``theta``.

        By forward sensitivities where the model has them, else by central differences.

        Returns
        -------
        predictions : Predictions
        slopes : ndarray, shape (rows, columns)
            In the units of prediction and parameter; NaN where a solve failed.
        """
        values, who = self._checked(theta, patient_index)
        group = self._group(who)
        offsets = group.offsets
        found, status = np.empty(offsets[-1]), np.empty(len(who), dtype=np.int8)
        slopes = np.empty((offsets[-1], len(self.columns)))
        for low, high in self._parts(offsets):
            part = self._part(group, low, high)
            predicted, begin, status[low:high] = self._courses.slopes(values[low:high], part)
            rows = slice(offsets[low], offsets[high])
            found[rows] = self._gathered(predicted[0], begin, part)
            for c in range(len(self.columns)):
                slopes[rows, c] = self._gathered(predicted[1 + c], begin, part)
        return Predictions(found, offsets, status), slopes

    def density(
        self, predictions: Predictions, patient_index: Any, error_parameters: Any = None
    ) -> np.ndarray:
        """Return the log-likelihood of each solve from its predictions, e.g. for other error parameters."""
        who = self._who(patient_index)
        error = self._errors(error_parameters, len(who))
        gathered = Predicted(predictions.values[np.newaxis], predictions.offsets, True)
        out = self._summed(gathered, who, error)
        out[predictions.status != 0] = -np.inf
        return out

    def _logliks(self, values: np.ndarray, group: Group, error: np.ndarray) -> np.ndarray:
        predicted, begin, status = self._courses.solve(values, group)
        found = self._summed(Predicted(predicted, begin, False), group.who, error)
        if self._count(status):
            found[status != 0] = -np.inf
        return found

    def _predict(self, values: np.ndarray, group: Group) -> tuple[np.ndarray, np.ndarray]:
        predicted, begin, status = self._courses.solve(values, group)
        self._count(status)
        return self._gathered(predicted, begin, group), status

    def _count(self, status: np.ndarray) -> int:
        """Count how solves ended; return how many failed."""
        failed = int(np.count_nonzero(status))
        self.counts["ok"] += len(status) - failed
        if failed:
            for code, count in zip(*np.unique(status[status != 0], return_counts=True), strict=True):
                self.counts[OUT_OF_RANGE if code < 0 else NAMES[code]] += int(count)
        return failed

    def _gathered(self, predicted: np.ndarray, begin: np.ndarray, group: Group) -> np.ndarray:
        offsets, of = group.offsets, self.layout.of
        found = np.empty(offsets[-1])

        def part(low: int, high: int) -> None:
            self._gather(predicted, begin, group.who, of, offsets, found, (low, high))

        in_few_parts(part, len(group.who), self.threads, len(found))
        return found

    def _summed(self, predicted: Predicted, who: np.ndarray, error: np.ndarray) -> np.ndarray:
        out = Likelihoods(np.empty(len(who)), np.empty(len(who), dtype=np.int64))
        of, errors, kernel = self.layout.of, self.layout.errors, self._sum

        def part(low: int, high: int) -> None:
            kernel(predicted, who, of, errors, error, out, (low, high))

        in_few_parts(part, len(who), self.threads, predicted.values.size)
        self.floored += int(np.add.reduce(out.floored))
        return out.total

    def _group(self, who: np.ndarray) -> Group:
        """Return what follows from whose data solves have; searches ask for the same again and again."""
        last = self._last
        if last is None or last.who is not who:
            last = self._last = self._courses.group(who.copy())
        return last

    def _part(self, group: Group, low: int, high: int) -> Group:
        whole = low == 0 and high == len(group.who)
        return group if whole else self._courses.group(group.who[low:high])

    def _parts(self, offsets: np.ndarray) -> list[tuple[int, int]]:
        """Return parts of the solves that are not too large for memory; results do not depend on them."""
        solves = len(offsets) - 1
        if solves <= _TOGETHER and offsets[-1] <= _ROWS:
            return [(0, solves)] if solves else []
        size = max(1, min(_TOGETHER, int(_ROWS * solves / max(1, offsets[-1]))))
        return [(low, min(low + size, solves)) for low in range(0, solves, size)]

    def _who(self, patient_index: Any) -> np.ndarray:
        who = np.asarray(patient_index)
        last = self._last
        if last is not None and (last.who is who or np.array_equal(last.who, who)):
            return last.who
        if who.ndim != 1 or (who.dtype.kind not in "iu" and who.size):
            raise InputError(f"The patient index must be a row of whole numbers, not {shown(patient_index)}.")
        if len(who) and not 0 <= who.min() <= who.max() < self.patients:
            raise InputError(
                f"The patient index must hold places from 0 to {self.patients - 1}, not "
                f"{shown(patient_index)}."
            )
        return who.astype(np.int64, copy=False)

    def _checked(self, theta: Any, patient_index: Any) -> tuple[np.ndarray, np.ndarray]:
        who = self._who(patient_index)
        values = np.asarray(theta, dtype=np.float64)
        if values.shape != (len(who), len(self.columns)):
            raise InputError(
                f"theta must have {counted(len(who), 'row')}, one for each entry of the patient index, and "
                f"{counted(len(self.columns), 'column')} ({', '.join(self.columns)}), not the shape "
                f"{values.shape}."
            )
        return values, who

    def _errors(self, given: Any, solves: int) -> np.ndarray:
        if given is None and self._default_error is not None:
            return self._default_error
        error = np.atleast_2d(np.asarray(self.error_values if given is None else given, dtype=np.float64))
        if error.shape[1] != len(self.error_names) or len(error) not in (1, solves):
            raise InputError(
                f"The error parameters must be {counted(len(self.error_names), 'number')} "
                f"({', '.join(self.error_names) or 'none'}), or a row of them for each solve, not of shape "
                f"{np.shape(given)}."
            )
        if not (error > 0).all():
            what = "have no value yet; give them" if given is None else "must be above 0"
            raise InputError(f"The error parameters ({', '.join(self.error_names)}) {what}.")
        if given is None:
            self._default_error = error
        return error

    def __repr__(self) -> str:
        return (
            f"PreparedLikelihood({self.model.name!r}, {self.patients} patients, "
            f"columns={list(self.columns)}, errors={list(self.error_names)})"
        )


def prepare(
    model: ModelName | str | Model,
    data: FitData,
    parameters: Sequence[str] | None = None,
    *,
    observations: Any,
    threads: int | None = None,
    options: SolveOptions | None = None,
) -> PreparedLikelihood:
    """Prepare the likelihood of a model given data, to be asked for many parameters again and again.

    Parameters
    ----------
    model : str or Model
        An initial value that depends on parameters is a default that is computed from them (see
        `fastcart.State`), and so are a lag and a bioavailability (`fastcart.fit.read` names the parameters).
    data : FitData
    parameters : sequence of str, optional
        Parameters, and states (initial values), that are given by the columns of ``theta``. Default: all
        parameters that are not computed, and that the data do not have. All others have the data's values, or
        their defaults. Where both have one, that of ``theta`` counts.
    observations : Observation or sequence of Observation
        Measurements of other kinds do not count.
    threads : int, optional
        At most so many; default: all processors that this process may use. Results do not depend on it.
    options : SolveOptions, optional
        Of these the engine must be ``auto`` or ``lanes``: each solve has one method, that which suits the
        model, and one that needs more than ``max_steps`` (default here 3000, and some for each dose) has
        failed. ``breaks`` may name parameters, of which each solve has its own.

    Returns
    -------
    PreparedLikelihood

    Raises
    ------
    InputError
        For bad input.
    """
    model = as_model(model)
    check_data(data, measured=False)
    listed = check_observations(observations)
    chosen = _options(options, model, data)
    layout = layout_of(data, listed, chosen.horizon(model))
    columns = _columns(model, data, parameters)
    courses = courses_of(observing(model, listed), data, columns, layout, chosen, check_threads(threads))
    return PreparedLikelihood(model, data, listed, layout, courses, chosen)


def _options(options: SolveOptions | None, model: Model, data: FitData) -> SolveOptions:
    """Return how a fit solves: up to the last measurement, with less patience than elsewhere."""
    chosen = SolveOptions() if options is None else options
    if not isinstance(chosen, SolveOptions):
        raise InputError(f"The options must be a fastcart.SolveOptions, not {shown(options)}.")
    if chosen.engine not in ("auto", "lanes"):
        raise InputError(f"A fit is solved by engine 'auto' or 'lanes', not {chosen.engine!r}.")
    for name in ("peaks", "auc", "events"):
        if getattr(chosen, name):
            raise InputError(f"A fit looks for no {name}; leave them off.")
    changes: dict[str, Any] = {}
    if chosen.t_end is None and data.last_time > 0:
        changes["t_end"] = data.last_time
    if chosen.max_steps == SolveOptions.max_steps:
        steps = _STEPS if chosen.rtol >= _USUAL_RTOL else _CLOSE_STEPS
        changes["max_steps"] = steps + _STEPS_OF_DOSE * data.most_doses
    return replace(chosen, **changes)


def _columns(model: Model, data: FitData, parameters: Sequence[str] | None) -> tuple[str, ...]:
    if parameters is None:
        given = [*data.covariates, *data.changing]
        return tuple(x.name for x in model.parameters if not callable(x.default) and x.name not in given)
    listed = names(parameters, "The parameters of the likelihood")
    known = [item.name for item in model.items]
    for name in listed:
        if name not in known:
            raise InputError(
                f"Model {model.name!r} has no parameter or state {shown(name)}." + nearest(name, known)
            )
        if name in data.changing:
            raise InputError(
                f"The table changes {name!r} in time, so it cannot be estimated; ignore that column."
            )
    return tuple(listed)
