"""Least squares of patients by themselves: normal equations of many points in one batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import ClassVar

import numpy as np

from fastcart.fit.estimates import Estimates, own_errors
from fastcart.fit.levenberg import Bounds, Minima, minimize
from fastcart.fit.likelihood import PreparedLikelihood
from fastcart.fit.normal import Equations, Points, Weights, normal_kernel, part_kernel, weights_of
from fastcart.fit.predictions import Predictions
from fastcart.solvers.problem import places
from fastcart.solvers.threads import in_few_parts
from fastcart.tables.ids import id_text

_STEP = 1e-4  # of a parameter, for differences of predictions
STEP_OF_RANGE = 1e-3  # times that: no smaller than so much of the range of a linear parameter
_ROWS = 4_000_000  # predictions at a time
_NEAR = 1e-6  # of a scale: where slopes are carried to, so that residuals follow


@dataclass(frozen=True)
class Search:
    """What all searches of a fit share.

    Parameters
    ----------
    prepared : PreparedLikelihood
    estimates : Estimates
    fixed : ndarray, shape (patients, parameters)
        In the scale in which parameters are estimated; NaN where they are free.
    """

    prepared: PreparedLikelihood
    estimates: Estimates
    fixed: np.ndarray
    longest: ClassVar[float] = np.inf  # step of a parameter, in the scale in which it is estimated

    def bounds(self, patient: np.ndarray) -> Bounds:
        """Return the bounds of problems of these patients."""
        return Bounds(self.low[patient], self.high[patient], np.isnan(self.fixed[patient]))

    @cached_property
    def sizes(self) -> np.ndarray:
        """Logarithms of what errors of each patient are compared with; 0 for parameters of the model."""
        sizes = np.zeros(self.fixed.shape)
        sizes[:, self.estimates.parameters :] = np.log(own_errors(self.prepared))
        return sizes

    @cached_property
    def low(self) -> np.ndarray:
        """Bounds of each patient, patients x parameters; those of errors are by its own measurements."""
        return self.estimates.low + self.sizes

    @cached_property
    def high(self) -> np.ndarray:
        """The same above."""
        return self.estimates.high + self.sizes

    @cached_property
    def keys(self) -> tuple[int, ...]:
        """Numbers for seeds, of each patient's id alone: of neighbours and their order nobody depends."""
        return tuple(
            int.from_bytes(blake2b(id_text(x).encode(), digest_size=8).digest(), "big")
            for x in self.prepared.data.ids.tolist()
        )

    def minimize(
        self, x: np.ndarray, patient: np.ndarray, *, iterations: int, bounds: Bounds | None = None,
        groups: np.ndarray | None = None,
    ) -> Minima:  # fmt: skip
        """Minimize from each row of ``x``, of the patient named."""
        bounds = bounds or self.bounds(patient)

        def evaluate(points: np.ndarray, rows: np.ndarray) -> Equations:
            return self.equations(points, patient[rows], bounds.free[rows])

        return minimize(evaluate, x, bounds, iterations=iterations, groups=groups, longest=self.longest)

    def costs(self, x: np.ndarray, patient: np.ndarray) -> np.ndarray:
        """Return -2 ln L up to a constant."""
        return self.equations(x, patient, np.zeros(x.shape, dtype=bool)).cost

    def equations(self, x: np.ndarray, patient: np.ndarray, free: np.ndarray) -> Equations:
        """Return normal equations at points, in parts that are not too large for memory."""
        size = x.shape[1]
        out = Equations(np.empty(len(x)), np.empty((len(x), size)), np.empty((len(x), size, size)))
        columns = 1 + free[:, : self.estimates.parameters].sum(axis=1)
        rows = np.cumsum(columns * self.prepared.measurements(patient))
        begin = 0
        while begin < len(x):
            before = rows[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(rows, before + _ROWS, side="right")))
            part = slice(begin, end)
            mine = Equations(*(values[part] for values in out))
            self._sum_up(x[part], patient[part], free[part], mine)
            begin = end
        return out

    def _sum_up(self, x: np.ndarray, patient: np.ndarray, free: np.ndarray, out: Equations) -> None:
        """Solve at points and beside them, and sum up what comes of it."""
        estimates, prepared = self.estimates, self.prepared
        number = estimates.parameters
        own, moves = x[:, :number], free[:, :number]
        step = self._step(own)
        solves = 1 + moves.sum(axis=1)
        first = np.cumsum(solves) - solves
        row = np.repeat(np.arange(len(x)), solves)
        theta = own[row]
        which, column = np.nonzero(moves)  # row by row
        place = first[which] + 1 + (np.cumsum(moves, axis=1) - 1)[which, column]
        theta[place, column] += step[which, column]
        whole = np.hstack([theta, x[row][:, number:]])
        predictions = prepared.predictions(estimates.natural(whole)[:, :number], patient[row])
        points = Points(
            first, patient, moves, step, np.ascontiguousarray(estimates.natural(x)[:, number:]),
            np.asarray(free[:, number:].any(axis=0)),
        )  # fmt: skip
        of, errors = prepared.layout.of, prepared.layout.errors
        kernel, weights = normal_kernel(), self.weights

        def part(low: int, high: int) -> None:
            kernel(predictions.values, predictions.offsets, of, errors, weights, points, out, (low, high))

        in_few_parts(part, len(x), prepared.threads, len(predictions.values))

    def _step(self, x: np.ndarray) -> np.ndarray:
        """Return how far beside a point solves lie, towards the inside of the bounds."""
        number = self.estimates.parameters
        low, high = self.estimates.low[:number], self.estimates.high[:number]
        size = np.where(self.estimates.log[:number], 1.0, np.maximum(np.abs(x), STEP_OF_RANGE * (high - low)))
        step = _STEP * size
        return np.where(x + step > high, -step, step)

    @cached_property
    def weights(self) -> Weights:
        """Of which observations deviations count."""
        return weights_of(self.prepared.observations, self.prepared.layout)

    def slopes(self, x: np.ndarray, patient: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return residuals of each point, and roots of its information, measurements x 2 x parameters.

        Of censored measurements residuals are roots of -2 times the logarithm of their probabilities.
        """
        number, prepared = self.estimates.parameters, self.prepared
        natural = self.estimates.natural(x)
        predictions, slopes = prepared.slopes(natural[:, :number], patient)
        size = np.where(self.estimates.log[:number], natural[:, :number], 1.0)
        counts = np.diff(predictions.offsets)
        slopes = slopes * np.repeat(size, counts, axis=0)
        error = natural[:, number:]
        here = self._parts(predictions, patient, error)
        found = np.zeros((len(here), 2, x.shape[1]))
        of = prepared.layout.of
        censored = of.censored[places(of.begin[patient], of.end[patient] - of.begin[patient])]
        for c in range(x.shape[1]):
            if c < number:
                moved = replace(predictions, values=predictions.values + _NEAR * slopes[:, c])
                there = self._parts(moved, patient, error)
            else:
                other = error.copy()
                other[:, c - number] *= np.exp(_NEAR)
                there = self._parts(predictions, patient, other)
            change = (there - here) / _NEAR
            found[:, 0, c] = np.where(censored != 0, change[:, 0], change[:, 1] / here[:, 3])
            found[:, 1, c] = np.sqrt(2.0) * change[:, 2]
        cuts = predictions.offsets[1:-1]
        return np.split(here[:, 0], cuts), np.split(found, cuts)

    def _parts(self, predictions: Predictions, patient: np.ndarray, error: np.ndarray) -> np.ndarray:
        out, layout = np.empty((len(predictions.values), 4)), self.prepared.layout
        part_kernel()(
            predictions.values, predictions.offsets, patient, layout.of, layout.errors, self.weights,
            np.ascontiguousarray(error), out,
        )  # fmt: skip
        return out
