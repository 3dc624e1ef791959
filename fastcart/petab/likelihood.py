"""The likelihood of a problem: rows of parameters in, solved with all conditions as one batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fastcart.fit.data import Measurements
from fastcart.model import Model
from fastcart.petab.conditions import Rows
from fastcart.petab.courses import Courses, Slopes, Steady
from fastcart.petab.observed import At, Observed, SlopesAt, arguments, slopes
from fastcart.petab.parameters import LIN, LOG10, Parameters
from fastcart.solvers.problem import places
from fastcart.solvers.status import Status

_LN_2PI = math.log(2.0 * math.pi)
_LN10 = math.log(10.0)
_NUMBERS = 20_000_000  # of slopes at a time
_MOST_STATES = 400  # with sensitivities: the code of more takes minutes to compile
_TIGHT = 1e-11
_STEP = 1e-4  # of a parameter: how far beside a course others lie
NOTHING, SENSITIVITIES, FORWARD, CENTRAL = "nothing", "sensitivities", "forward", "central"
OUT_OF_RANGE = -1  # a condition whose row no model can start from


@dataclass(frozen=True, eq=False)
class Design:
    """Which conditions there are, and where each measurement is among what is saved.

    Parameters
    ----------
    pairs : tuple of (str or None, str)
        Pre-equilibration and simulation of each condition.
    before : ndarray of int
        The place of the pre-equilibration of each condition; -1 for none.
    first, then : list of Rows
        Of each pre-equilibration, and of each condition.
    counts : ndarray of int
        How many times each condition saves.
    of : Measurements
        The measurements of the table, in its order; ``patient`` is the condition.
    place : ndarray of int
        Of each measurement among what one row of parameters saves; steady states come behind.
    steady : ndarray of int
        The conditions with measurements of their steady state.
    """

    pairs: tuple[tuple[str | None, str], ...]
    before: np.ndarray
    first: list[Rows]
    then: list[Rows]
    counts: np.ndarray
    of: Measurements
    place: np.ndarray
    steady: np.ndarray


class Start(NamedTuple):
    """Where courses start, rows x conditions x (states or parameters), and what differentiates them."""

    y0: np.ndarray
    p: np.ndarray
    status: np.ndarray  # rows x conditions
    by: Slopes | None  # rows x conditions flat

    @property
    def good(self) -> np.ndarray:
        """Which courses, flat, can be solved."""
        return np.flatnonzero(self.status.ravel() == Status.ok)


class Parts(NamedTuple):
    """What measurements consist of, rows x measurements.

    Parameters
    ----------
    value, deviation : ndarray
        Predictions and their standard deviations (of Laplace noise its scale).
    residual : ndarray
        Relative to the deviation, in the transformation.
    cost : ndarray
        Minus ln of the density.
    center_slopes, spread_slopes : ndarray or None, shape (rows, measurements, parameters)
        Of the transformed prediction relative to the deviation, and of ln of the deviation, by natural
        parameters.
    """

    value: np.ndarray
    deviation: np.ndarray
    residual: np.ndarray
    cost: np.ndarray
    center_slopes: np.ndarray | None = None
    spread_slopes: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Likelihood:
    """All that solves a problem and compares it with its measurements.

    Parameters
    ----------
    model : Model
        As it is solved.
    parameters : Parameters
    design : Design
    observed : list of Observed
    dynamic : tuple of int
        The parameters that courses depend on.
    courses : Courses or None
        None where no measurement has a finite time.
    steady : Steady
    """

    model: Model
    parameters: Parameters
    design: Design
    observed: list[Observed]
    dynamic: tuple[int, ...]
    courses: Courses | None
    steady: Steady

    @cached_property
    def differentiable(self) -> bool:
        """Whether there are sensitivities."""
        courses = self.courses if self.courses is not None else self.steady.rounds[0]
        size = len(self.model.states) * (1 + len(self.dynamic))
        return bool(self.dynamic) and size <= _MOST_STATES and courses.differentiable

    @cached_property
    def tight(self) -> Likelihood:
        """The same with tolerances at which differences of courses are accurate."""
        rtol = min(_TIGHT, self.steady.options.rtol)
        courses = self.courses
        if courses is not None:
            courses = replace(courses, problem=replace(courses.problem, rtol=rtol))
        steady = replace(self.steady, options=replace(self.steady.options, rtol=rtol))
        return replace(self, courses=courses, steady=steady)

    def rows_at_once(self, by: bool) -> int:
        """Return how many rows of parameters fit in memory, with slopes or without."""
        times = int(self.design.counts.sum()) + len(self.design.steady)
        numbers = times * max(1, len(self.steady.save)) * (1 + (len(self.dynamic) if by else 0))
        numbers += len(self.design.of.value) * (4 + (3 * len(self.parameters.names) if by else 0))
        return max(1, _NUMBERS // max(1, numbers))

    def parts(self, natural: np.ndarray, *, by: str = NOTHING) -> tuple[Parts, np.ndarray]:
        """Return what measurements consist of at rows of natural parameters, and statuses, rows x conditions.

        ``by`` says by what slopes are found, if they are asked for: `SENSITIVITIES`, or courses beside,
        `FORWARD` or `CENTRAL`.
        """
        slopes_of: np.ndarray | None
        if by in (FORWARD, CENTRAL):
            start, values, slopes_of, status = self._beside(natural, central=by == CENTRAL)
        else:
            start = self._start(natural, by == SENSITIVITIES)
            values, slopes_of, status = self._solved(start)
        conditions, place = self.design.of.patient, self.design.place
        at = At(
            natural, self.design.of.time,
            lambda k, rows: values[k][:, place[rows]], lambda j, rows: start.p[:, conditions[rows], j],
        )  # fmt: skip
        shape = (len(natural), len(conditions))
        found = Parts(*(np.full(shape, np.nan) for _ in range(4)))
        if by != NOTHING:
            wide = (*shape, len(self.parameters.names))
            found = found._replace(center_slopes=np.zeros(wide), spread_slopes=np.zeros(wide))
        moves = self._slopes_at(start, slopes_of)
        for one in self.observed:
            self._fill(one, at, moves, found)
        found.cost[~np.isfinite(found.cost)] = np.inf
        failed = status[:, conditions] != Status.ok
        found.cost[failed] = np.inf
        return found, status

    def _slopes_at(self, start: Start, slopes_of: np.ndarray | None) -> SlopesAt | None:
        if start.by is None:
            return None
        conditions, place = self.design.of.patient, self.design.place
        rows, count = start.status.shape
        of_parameters = start.by.parameters.reshape(rows, count, len(self.dynamic), -1)

        def saved(k: int, which: np.ndarray) -> np.ndarray:
            assert slopes_of is not None
            return slopes_of[:, k][:, :, place[which]]

        def parameter(j: int, which: np.ndarray) -> np.ndarray:
            return np.moveaxis(of_parameters[..., j][:, conditions[which]], 2, 0)

        return SlopesAt(saved, parameter, np.array(self.dynamic, dtype=np.int64))

    def _fill(self, one: Observed, at: At, by: SlopesAt | None, found: Parts) -> None:
        """Compare the measurements of one observable."""
        rows, shape = one.rows, (len(at.natural), len(one.rows))
        value = np.broadcast_to(one.value.value(arguments(one.value_arguments, rows, at)), shape)
        sd = np.broadcast_to(one.deviation.value(arguments(one.deviation_arguments, rows, at)), shape)
        measured = self.design.of.value[rows]
        with np.errstate(all="ignore"):
            if one.transformation == LIN:
                center, of_center, further = value, np.ones(shape), 0.0
                residual = measured - center
            else:
                unit = _LN10 if one.transformation == LOG10 else 1.0
                of_center, further = 1.0 / (value * unit), np.log(measured * unit)
                residual = (np.log(measured) - np.log(value)) / unit
            residual = np.where(sd > 0.0, residual / sd, np.nan)
            if one.noise == "normal":
                cost = 0.5 * residual**2 + np.log(sd) + 0.5 * _LN_2PI + further
            else:
                cost = np.abs(residual) + np.log(2.0 * sd) + further
            found.value[:, rows], found.deviation[:, rows] = value, sd
            found.residual[:, rows], found.cost[:, rows] = residual, cost
            if by is not None:
                assert found.center_slopes is not None
                assert found.spread_slopes is not None
                of_value = slopes(one.value, one.value_arguments, rows, at, by)
                of_sd = slopes(one.deviation, one.deviation_arguments, rows, at, by)
                found.center_slopes[:, rows] = of_value * (of_center / sd)[..., np.newaxis]
                found.spread_slopes[:, rows] = of_sd / sd[..., np.newaxis]

    def _sizes(self, natural: np.ndarray) -> np.ndarray:
        """Return what changes of the dynamic parameters are measured by, rows x dynamic."""
        parameters, dynamic = self.parameters, list(self.dynamic)
        size = np.abs(natural[:, dynamic])
        ends = np.abs(parameters.natural(np.stack([parameters.lower, parameters.upper])))[:, dynamic].max(
            axis=0
        )
        linear = np.array([parameters.scales[k] == LIN for k in dynamic], dtype=bool)
        least = np.where(np.isfinite(ends) & (ends > 0), 1e-3 * ends, 1.0)
        size = np.where(linear, np.maximum(size, least), size)
        return np.where((size > 0) & np.isfinite(size), size, 1.0)

    def _start(self, natural: np.ndarray, by: bool) -> Start:
        """Return where all courses start, behind their pre-equilibration."""
        design, rows = self.design, len(natural)
        states, parameters = len(self.model.states), len(self.model.parameters)
        count, d = len(design.pairs), len(self.dynamic)
        y0, p = np.empty((rows, count, states)), np.empty((rows, count, parameters))
        status = np.zeros((rows, count), dtype=np.int64)
        sizes = self._sizes(natural)
        of_states = np.zeros((rows, count, d, states)) if by else None
        of_parameters = np.zeros((rows, count, d, parameters)) if by else None
        for c, one in enumerate(design.then):
            y0[:, c], p[:, c], good = one.arrays(natural)
            status[~good, c] = OUT_OF_RANGE
            if of_states is not None and of_parameters is not None:
                of_states[:, c], of_parameters[:, c] = one.slopes(natural, self.dynamic, sizes)
        for k, one in enumerate(design.first):
            ended, how, moved = self._equilibrated(one, natural, sizes, by)
            for c in np.flatnonzero(design.before == k).tolist():
                kept = [
                    i for i, name in enumerate(self.model.state_names)
                    if name not in design.then[c].setting.restarted
                ]  # fmt: skip
                y0[:, c, kept] = ended[:, kept]
                status[:, c] = np.where(status[:, c] == Status.ok, how, status[:, c])
                if of_states is not None and moved is not None:
                    of_states[:, c][:, :, kept] = moved[:, :, kept]
        slopes_of = None
        if of_states is not None and of_parameters is not None:
            flat = rows * count
            slopes_of = Slopes(
                of_states.reshape(flat, d, states), of_parameters.reshape(flat, d, parameters),
                np.repeat(sizes, count, axis=0),
            )  # fmt: skip
        return Start(y0, p, status, slopes_of)

    def _beside(
        self, natural: np.ndarray, *, central: bool
    ) -> tuple[Start, np.ndarray, np.ndarray, np.ndarray]:
        """Return starts, quantities and statuses at rows, and slopes by courses beside them, one batch."""
        rows, d = len(natural), len(self.dynamic)
        sides = (1.0, -1.0) if central else (1.0,)
        step = _STEP * self._sizes(natural)
        whole = np.repeat(natural[np.newaxis], 1 + len(sides) * d, axis=0)
        for k, place in enumerate(self.dynamic):
            for side, sign in enumerate(sides):
                whole[1 + len(sides) * k + side, :, place] += sign * step[:, k]
        start = self._start(whole.reshape(-1, natural.shape[1]), False)
        values, _, status = self._solved(start)
        seen = values.reshape(len(values), -1, rows, values.shape[2])
        starts = start.p.reshape(-1, rows, *start.p.shape[1:])
        own = Start(start.y0[:rows], start.p[:rows], status[:rows], None)

        def slope(x: np.ndarray) -> np.ndarray:  # beside x rows x ...
            width = step.T.reshape(d, rows, *[1] * (x.ndim - 2))
            if central:
                return (x[1::2] - x[2::2]) / (2.0 * width)
            return (x[1:] - x[:1]) / width

        with np.errstate(invalid="ignore"):
            of_values, of_parameters = slope(np.moveaxis(seen, 0, 2)), slope(starts)
        count = start.p.shape[1]
        flat = np.moveaxis(of_parameters, 0, 2).reshape(rows * count, d, -1)
        by = Slopes(np.empty((0, 0, 0)), flat, np.empty((0, 0)))
        return own._replace(by=by), values[:, :rows], np.moveaxis(of_values, 2, 1), status[:rows]

    def _equilibrated(
        self, one: Rows, natural: np.ndarray, sizes: np.ndarray, by: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return the steady states of one condition, how each ended, and slopes, rows x dynamic x states."""
        y0, p, good = one.arrays(natural)
        count, kept = y0.shape[1], np.flatnonzero(good)
        slopes_of = None if not by else Slopes(*one.slopes(natural, self.dynamic, sizes), sizes).take(kept)
        ended, how = np.full(y0.shape, np.nan), np.full(len(y0), OUT_OF_RANGE)
        moved = np.zeros((len(y0), len(self.dynamic), count)) if by else None
        if len(kept):
            found = self.steady.solve(y0[kept], p[kept], slopes_of)
            ended[kept], how[kept] = found.values[:count].T, found.status
            if moved is not None and found.slopes is not None:
                moved[kept] = found.slopes[:, :count].transpose(2, 0, 1)
        return ended, how, moved

    def _solved(self, start: Start) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Return quantities x rows x places, their slopes, and statuses."""
        design, (rows, count) = self.design, start.status.shape
        names, status = self.steady.save, start.status.copy()
        times, d = int(design.counts.sum()), len(self.dynamic)
        values = np.full((len(names), rows, times + len(design.steady)), np.nan)
        by = None if start.by is None else np.zeros((d, *values.shape))
        y0, p = start.y0.reshape(rows * count, -1), start.p.reshape(rows * count, -1)
        condition = np.tile(np.arange(count), rows)
        timed = start.good[design.counts[condition[start.good]] > 0]
        if self.courses is not None and len(timed):
            theirs = None if start.by is None else start.by.take(timed)
            found = self.courses.solve(y0[timed], p[timed], condition[timed], theirs)
            status.ravel()[timed] = found.status
            begin = np.cumsum(design.counts) - design.counts
            at = places(begin[condition[timed]], design.counts[condition[timed]])
            row = np.repeat(timed // count, design.counts[condition[timed]])
            values[:, row, at] = found.values
            if by is not None and found.slopes is not None:
                by[:, :, row, at] = found.slopes
        for k, c in enumerate(design.steady):
            mine = np.arange(rows) * count + c
            mine = mine[status.ravel()[mine] == Status.ok]
            if not len(mine):
                continue
            theirs = None if start.by is None else start.by.take(mine)
            found = self.steady.solve(y0[mine], p[mine], theirs)
            status.ravel()[mine] = found.status
            which = [self.steady.names.index(name) for name in names]
            values[:, mine // count, times + k] = found.values[which]
            if by is not None and found.slopes is not None:
                by[:, :, mine // count, times + k] = found.slopes[:, which]
        return values, by, status
