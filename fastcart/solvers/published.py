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
from fastcart.solvers.problem import ChunkResult, Problem, Saves
from fastcart.solvers.status import Status

METHODS = ("rk4",)
DEFAULT_METHOD = "rk4"
MAX_STEPS = 100_000_000  # about a minute for one patient


class _Grid(NamedTuple):
    """The times of the scheme, counted in steps."""

    step: float
    steps: int
    save_index: np.ndarray
    begin: np.ndarray  # which of them are a patient's,
    end: np.ndarray
    row: np.ndarray  # where in what is saved these begin,
    states: np.ndarray  # and which states are saved


class _Doses(NamedTuple):
    """Entries, as in `fastcart.solvers.doses`, and the step at which each is given."""

    begin: np.ndarray
    end: np.ndarray
    at: np.ndarray
    state: np.ndarray
    kind: np.ndarray
    value: np.ndarray


class _Found(NamedTuple):
    """What is written for each patient."""

    burden: np.ndarray  # progression-free survival, progression, nadir and its time
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


def _published_batch(y0, p, grid, doses, burden, found):
    n, h = y0.shape[1], grid.step
    y, rate = np.empty(n), np.empty(n)
    z, k, total = np.empty(n), np.empty(n), np.empty(n)
    shift = (0.0, 0.5, 0.5, 1.0)
    weight = (1.0, 2.0, 2.0, 1.0)
    for i in range(y0.shape[0]):
        y[:] = y0[i]
        rate[:] = 0.0
        start = y[burden]
        lowest, t_lowest = start, 0
        last, first = 0, -1
        above = False
        s, e = grid.begin[i], doses.begin[i]
        for step in range(grid.steps + 1):
            t = step * h
            if y[burden] < lowest:
                lowest, t_lowest = y[burden], step
            e = _give(y, rate, doses, e, doses.end[i], step)
            while s < grid.end[i] and grid.save_index[s] == step:
                for c in range(grid.states.size):
                    found.saved[c, grid.row[i] + s - grid.begin[i]] = y[grid.states[c]]
                s += 1
            now_above = y[burden] > start
            if now_above and not above and first < 0:
                first = step
            above = now_above
            last = last if above else step
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
        found.status[i] = 0 if np.isfinite(y).all() else 2
        found.burden[i, 0] = (last + 1) * h if above else grid.steps * h
        found.burden[i, 1] = first * h if first >= 0 else np.nan
        found.burden[i, 2] = lowest
        found.burden[i, 3] = t_lowest * h


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
        takes=(_Grid, _Doses, _Found),
        **EXACT,
    )
    rows = np.full((len(y0), 4), np.nan)
    begin, end, _, *entries = entries_of(doses, len(y0))
    with np.errstate(all="ignore"):
        kernel(
            y0, p,
            _Grid(
                model.published.step, steps, save_index, saves.begin, saves.end, saves.offsets,
                problem.saved_states,
            ),
            _Doses(begin, end, dose_index(problem, doses), *entries), max(model.burden_index, 0),
            _Found(rows, result.final, result.saved, result.status),
        )  # fmt: skip
    if model.burden_index >= 0:
        result.pfs, result.progression, result.nadir, result.t_nadir = rows.T.copy()
    result.steps[:] = steps
    result.rhs_calls[:] = 4 * steps
    result.t_reached[:] = np.where(result.status == Status.ok, problem.t_end, np.nan)
    return result
