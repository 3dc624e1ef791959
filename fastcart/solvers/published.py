"""Engine ``published``: the scheme that a paper's own program used, reproduced step for step.

Classical Runge-Kutta of order 4 with a fixed step, linear states, the authors' own inner iterations, and
progression-free survival read off the grid: where the burden ends above its start, the grid time AFTER
the last one at or below it; else the last grid time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fastcart.errors import InputError
from fastcart.solvers.arrays import natural_rhs
from fastcart.solvers.compile import EXACT, cached, prepared_function
from fastcart.solvers.doses import RATE, DosePlan, entries_of
from fastcart.solvers.endpoints import Found, Mark, fill, watched_marks
from fastcart.solvers.items import DOWN, HIGHEST, KINDS, LOWEST, UP
from fastcart.solvers.problem import ChunkResult, Problem, Saves
from fastcart.solvers.status import Status

METHODS = ("rk4",)
DEFAULT_METHOD = "rk4"
_OK, _NON_FINITE = int(Status.ok), int(Status.non_finite)  # kernels know numbers
MAX_STEPS = 100_000_000  # about a minute for one patient


class _Grid(NamedTuple):
    """The times of the scheme, counted in steps."""

    step: float
    steps: int
    save_index: np.ndarray
    first: np.ndarray  # of each patient, the first time to save and that behind the last,
    last: np.ndarray
    row: np.ndarray  # and where they go
    kept: np.ndarray  # states that are saved


class _Doses(NamedTuple):
    """Entries, as in `fastcart.solvers.doses`, and the step at which each is given."""

    begin: np.ndarray
    end: np.ndarray
    at: np.ndarray
    state: np.ndarray
    kind: np.ndarray
    value: np.ndarray


class _Marks(NamedTuple):
    """What is watched along the burden: kinds, and arrays of shape (patients, marks) as in `Found`."""

    kinds: np.ndarray
    level: np.ndarray
    first: np.ndarray
    last: np.ndarray
    best: np.ndarray


class _Answer(NamedTuple):
    """What is written for each patient."""

    final: np.ndarray
    saved: np.ndarray
    status: np.ndarray


@njit(**EXACT)
def _give(y, rate, doses, e, last, step):
    """Give what is due up to a step, from entry ``e`` on; return the first that is not."""
    while e < last and doses.at[e] <= step:
        if doses.kind[e] == RATE:
            rate[doses.state[e]] = doses.value[e]
        else:
            y[doses.state[e]] += doses.value[e]
        e += 1
    return e


@njit(**EXACT)
def _keep_extrema(marks, i, value, t):
    """Record a value of the burden that may be an extremum."""
    for x in range(marks.kinds.size):
        kind, best = marks.kinds[x], marks.best[i, x]
        if (kind == HIGHEST and value > best) or (kind == LOWEST and value < best):
            marks.best[i, x] = value
            marks.first[i, x] = t


@njit(**EXACT)
def _keep_crossings(marks, i, value, t, beyond):
    """Record which levels the burden has crossed since it was last looked at."""
    for x in range(marks.kinds.size):
        kind, level = marks.kinds[x], marks.level[i, x]
        now = (kind == UP and value > level) or (kind == DOWN and value < level)
        if now and not beyond[x] and t > 0.0:
            marks.first[i, x] = min(marks.first[i, x], t)
            marks.last[i, x] = t
        beyond[x] = now


def _published_batch(y0, p, grid, doses, burden, marks, found):
    n, h = y0.shape[1], grid.step
    y, rate = np.empty(n), np.empty(n)
    z, k, total = np.empty(n), np.empty(n), np.empty(n)
    beyond = np.empty(marks.kinds.size, np.bool_)
    shift = (0.0, 0.5, 0.5, 1.0)
    weight = (1.0, 2.0, 2.0, 1.0)
    for i in range(y0.shape[0]):
        y[:] = y0[i]
        rate[:] = 0.0
        s, e = grid.first[i], doses.begin[i]
        for step in range(grid.steps + 1):
            t = step * h
            _keep_extrema(marks, i, y[burden], t)
            e = _give(y, rate, doses, e, doses.end[i], step)
            while s < grid.last[i] and grid.save_index[s] == step:
                for c in range(grid.kept.size):
                    found.saved[c, grid.row[i] + s - grid.first[i]] = y[grid.kept[c]]
                s += 1
            _keep_extrema(marks, i, y[burden], t)
            _keep_crossings(marks, i, y[burden], t, beyond)
            if step == grid.steps:
                break
            z[:] = y
            total[:] = 0.0
            for stage in range(4):  # one call site, so that the right-hand side is compiled once
                rhs_into(t + shift[stage] * h, z, p[i], k)  # type: ignore[name-defined] # noqa: F821
                for j in range(n):
                    k[j] += rate[j]
                    total[j] += weight[stage] * k[j]
                    if stage < 3:
                        z[j] = y[j] + shift[stage + 1] * h * k[j]
            for j in range(n):
                y[j] += h / 6.0 * total[j]
        found.final[i] = y
        found.status[i] = _OK if np.isfinite(y).all() else _NON_FINITE


def grid_index(problem: Problem) -> tuple[int, np.ndarray]:
    """Return the number of steps and the grid index of each save time.

    Raises
    ------
    InputError
        When the model has no published scheme, a time is not on its grid, or the grid is too long.
    """
    scheme = problem.model.published
    if scheme is None:
        raise InputError(
            f"Model {problem.model.name!r} has no published scheme; use engine 'auto', 'lsoda' or 'scipy'."
        )
    if problem.t_end / scheme.step > MAX_STEPS:
        raise InputError(
            f"The horizon {problem.t_end:g} is more than {MAX_STEPS} steps of {scheme.step:g} "
            f"{problem.model.time_unit} of the published scheme; lower t_end."
        )
    times = np.append(problem.save_at, problem.t_end)
    index = np.rint(times / scheme.step).astype(np.int64)
    off = np.abs(index * scheme.step - times) > 1e-9 * np.maximum(1.0, times)
    if off.any():
        raise InputError(
            f"The published scheme of {problem.model.name!r} has a fixed step of {scheme.step:g} "
            f"{problem.model.time_unit}; the time {times[off][0]:g} is not a multiple of it."
        )
    return int(index[-1]), index[:-1]


def dose_index(problem: Problem, doses: DosePlan | None) -> np.ndarray:
    """Return the grid index of each dose entry.

    Raises
    ------
    InputError
        When a dose does not begin and end on the grid.
    """
    scheme = problem.model.published
    if scheme is None or doses is None:
        return np.empty(0, dtype=np.int64)
    index = np.rint(doses.time / scheme.step).astype(np.int64)
    off = np.abs(index * scheme.step - doses.time) > 1e-9 * np.maximum(1.0, doses.time)
    if off.any():
        raise InputError(
            f"The published scheme of {problem.model.name!r} has a fixed step of {scheme.step:g} "
            f"{problem.model.time_unit}, and doses must begin and end at multiples of it; "
            f"{doses.time[off][0]:g} is none."
        )
    return index


def solve_chunk(
    problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None = None,
    saves: Saves | None = None,
) -> ChunkResult:  # fmt: skip
    """Solve one chunk of patients; see `fastcart.solvers.lsoda.solve_chunk`. One thread is used."""
    model = problem.model
    steps, save_index = grid_index(problem)
    assert model.published is not None
    saves = saves or Saves.all_of(problem.save_at, len(y0))
    result = ChunkResult.empty(len(y0), problem, saves)
    rhs_into = natural_rhs(model, model.published.rhs)
    kernel = cached(
        prepared_function(_published_batch, rhs_into=rhs_into),
        f"{model.name} for the published scheme",
        takes=(_Grid, _Doses, _Marks, _Answer),
        **EXACT,
    )
    burden = model.burden_index
    watched = watched_marks() if burden >= 0 else []
    marks = _marks(watched, y0[:, [burden]])
    begin, end, _, *entries = entries_of(doses, len(y0))
    with np.errstate(all="ignore"):
        kernel(
            y0, p,
            _Grid(
                model.published.step, steps, save_index, saves.begin, saves.end, saves.offsets,
                problem.saved_states,
            ),
            _Doses(begin, end, dose_index(problem, doses), *entries), max(burden, 0), marks,
            _Answer(result.final, result.saved, result.status),
        )  # fmt: skip
    result.steps[:] = steps
    result.rhs_calls[:] = 4 * steps
    result.t_reached[:] = np.where(result.status == Status.ok, problem.t_end, np.nan)
    if watched:
        found = [Found(*(values[:, x] for values in marks[1:])) for x in range(len(watched))]
        fill(result, found, y0[:, burden], result.final[:, burden])
    return result


def _marks(watched: list[Mark], start: np.ndarray) -> _Marks:
    """Return room for what is found of marks, from the burden at the start, shape (patients, 1)."""
    shape = (len(start), len(watched))
    kinds = np.array([KINDS[mark.kind] for mark in watched], dtype=np.int64)
    return _Marks(
        kinds, start * np.array([mark.part for mark in watched]), np.full(shape, np.inf),
        np.full(shape, -np.inf), np.full(shape, np.where(kinds == HIGHEST, -np.inf, np.inf)),
    )  # fmt: skip
