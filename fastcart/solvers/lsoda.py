"""Engine ``lsoda``: numbalsoda's LSODA, patients shared out among threads.

The threads are Python's and the kernel leaves the interpreter's lock alone: unlike a ``prange`` loop, whose
layer of threads dies in a forked process and aborts where two threads enter it, they work after a fork,
beside other solves, and stop at an interrupt. LSODA keeps no state of its own beyond a call.

Marked states are integrated in logarithm. The right-hand side, a C callback, keeps watch over LSODA's
steps; see `fastcart.solvers.lsoda_callback`. Crossings and the nadir are looked for on LSODA's interpolated
output and located by integrating a short piece again with a fine output. Each dose and each break ends one
integration and starts the next.

Integrals are states of their own, in units of a tenth of what they come to: then an error of ``rtol`` is
one of the integral of the absolute value. That size is not known before, so it is guessed, and where the
guess was far too large the patient is solved again. Where the right-hand side depends on time, a look
between the steps shows whether something was stepped over, and the patient is solved again with shorter
steps.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba import njit

from fastcart.solvers.compile import FAST, cached
from fastcart.solvers.doses import AROUND_BREAK, BREAK, RATE, DosePlan, canonical, entries_of
from fastcart.solvers.lsoda_callback import (
    BAD,
    BASE_T,
    BUDGET,
    CALLS,
    CONTROL,
    FLAG,
    FLAG_BUDGET,
    FLAG_GAVE_UP,
    FLAG_LOG_INFLOW,
    FLAG_NEGATIVE,
    FLAG_NON_FINITE,
    FLAG_RAISED,
    FLAG_STUCK,
    FLAG_UNRESOLVED,
    HIGH,
    LAST_T,
    LOW,
    MAX_STEP,
    NODES,
    NOTE,
    NOTES,
    RAISED,
    REFUSED,
    REFUSED_T,
    RTOL,
    STEPS,
    STUCK,
    SUM,
    SUM_BASE,
    SUMS,
    Kind,
    data_size,
    rhs_callback,
)
from fastcart.solvers.lsoda_library import call_rhs
from fastcart.solvers.lsoda_watch import INSIDE, crossing, integrate, looks, resolved, watch
from fastcart.solvers.problem import ChunkResult, Problem
from fastcart.solvers.quiet import run_quietly
from fastcart.solvers.reading import uses_time
from fastcart.solvers.transform import LOG_ZERO, to_internal, to_natural

GRID = 200  # output intervals in which crossings are looked for
METHODS = ("lsoda",)
DEFAULT_METHOD = "lsoda"

_PART = 32  # patients that a thread takes at once
_TENTH = 0.1  # unit of an integral, in integrals of the absolute value
_TOO_LARGE = 30.0  # a unit so many times too large lets the error of an integral grow too much
_TOO_SMALL = (FLAG_BUDGET, FLAG_GAVE_UP, FLAG_STUCK)  # how a patient ends where it is far too small
_SHORTER = 8.0  # steps are limited to an interval of the grid, then to this part of one
_ATTEMPTS = 6


@njit(**INSIDE)
def give_doses(entries, k, stop, now, u, log, scale, rates):
    """Apply the entries from ``k`` that are due now; return the next one."""
    _, _, time, state, kind, value = entries
    while k < stop and time[k] <= now:
        i = state[k]
        if kind[k] == RATE:
            rates[i] = value[k]
        elif kind[k] == BREAK:
            pass
        elif log[i]:
            u[i] = np.log((np.exp(u[i]) if u[i] != LOG_ZERO else 0.0) + value[k])
        else:
            u[i] += value[k] / scale[i]
        k += 1
    return k


@njit(**INSIDE)
def output_times(grid, pair, g, now, end, times, looked):
    """Fill ``times`` with now, the grid in between, and the end; return their number and the next place.

    ``looked`` says which of them are looks between the steps.
    """
    times[0] = now
    looked[0] = False
    size = 1
    while grid[g] < end:
        if grid[g] > now:
            times[size] = grid[g]
            looked[size] = pair[g]
            size += 1
        g += 1
    times[size] = end
    looked[size] = False
    return size + 1, g


@njit(**INSIDE)
def keep_saved(saved, s, save_at, times, out):
    """Keep the states at times to save, from the one numbered ``s``; return the next number."""
    for i in range(times.size):
        while s < save_at.size and save_at[s] == times[i]:
            saved[s] = out[i]
            s += 1
    return s


@njit(**INSIDE)
def conclude(row, above, t_end):
    """Turn the last and first crossing into PFS and first progression."""
    row[0] = max(row[0], 0.0) if above else t_end
    if above:
        row[1] = max(row[1], 0.0)
    elif row[1] < 0.0:
        row[1] = np.nan


@njit(**INSIDE)
def prepare(data, p, scale, rtol, max_step, max_steps, noted):
    """Fill in the data of the right-hand side for one patient, at the start; return where its parts begin."""
    n, m = scale.size, p.size
    control = m + n
    data[:m] = p
    data[m:control] = scale
    data[control : data.size - NOTES * NOTE if noted else data.size] = 0.0
    data[control + REFUSED_T] = -1.0
    data[control + BUDGET] = 4.0 * max_steps  # LSODA makes about two calls a step, more if stiff
    data[control + RTOL] = rtol
    data[control + MAX_STEP] = max_step * (1.0 + 1e-9)
    return control


@njit(**INSIDE)
def begin(address, now, end, inner, u, du, data, control, burden, noted, sums):
    """Set the clock of a segment, evaluate its first derivatives, and return what is wrong with them.

    ``inner`` says whether the segment ends before the horizon. What jumps at its start is seen from behind,
    what jumps at its end from before.
    """
    data[control + LAST_T] = data[control + BASE_T] = now
    data[control + LOW] = now * (1.0 + AROUND_BREAK)
    data[control + HIGH] = end * (1.0 - AROUND_BREAK) if inner else end
    data[control + NODES] = data[control + REFUSED_T] = -1.0
    data[control + STUCK] = 0.0
    for s in range(sums, data.size if not noted else data.size - NOTES * NOTE, SUMS):
        data[s + SUM_BASE] = data[s + SUM]
    call_rhs(address, now, u.ctypes.data, du.ctypes.data, data.ctypes.data)
    if data[control + REFUSED] != 0.0:
        return FLAG_NEGATIVE
    while data[control + FLAG] == 0.0 and (data[control + BAD] != 0.0 or data[control + RAISED] != 0.0):
        data[control + STUCK] = 0.0
        call_rhs(address, now, u.ctypes.data, du.ctypes.data, data.ctypes.data)  # until it says what is wrong
    if noted:
        first = data.size - NOTES * NOTE
        data[first] = now
        data[first + 1] = u[burden] if burden >= 0 else 0.0
        data[first + 2] = du[burden] if burden >= 0 else 0.0
        data[control + NODES] = 1.0
    return data[control + FLAG]


@njit(**INSIDE)
def examine(address, data, control, sums, times, out, looked, timed, rtol, max_steps, burden, level, row):
    """Look between the steps of a segment, and at the burden; return 0 or what is wrong."""
    last = data.size - NOTES * NOTE
    notes = data[last:].reshape((-1, NOTE))
    count = int(data[control + NODES])
    data[control + NODES] = -1.0
    kept = data[sums:last].copy()
    flag = 0.0
    if timed and not resolved(address, data, control, notes, count, times, out, looked, rtol):
        flag = FLAG_UNRESOLVED
    elif burden >= 0:
        watch(address, data, control, notes, count, times, out, rtol, max_steps, burden, level, row)
    data[sums:last] = kept
    # a crossing located with derivatives turned to zero is none
    return max(flag, data[control + FLAG])


@njit(**INSIDE)
def attempt(address, start, p, scale, log, grid, pair, save_at, k, stop, entries, rtol, max_step, max_steps,
            burden, noted, timed, row, final, saved, counts, data, times, out, looked):  # fmt: skip
    """Solve one patient from dose to dose; return 0 or what went wrong.

    ``grid`` holds the sorted output times without doses, ``k`` to ``stop`` are this patient's entries.
    """
    n = start.size
    control = prepare(data, p, scale, rtol, max_step, max_steps, noted)
    sums = control + CONTROL + 2 * n
    # LSODA's own limit is per output time, and only for what goes on behind the end of the budget: behind a
    # blow-up it may take steps of no length, derivatives of zero or not
    max_steps = min(8 * max_steps, 2**31 - 1)
    u = start.copy()
    level = start[burden] if burden >= 0 else 0.0
    if burden >= 0:
        row[0], row[1], row[2], row[3] = -1.0, -1.0, level, 0.0
    now, t_end = 0.0, grid[-1]
    g, s = 0, 0
    flag = 0.0
    while True:
        below = burden >= 0 and u[burden] <= level
        k = give_doses(entries, k, stop, now, u, log, scale, data[control + CONTROL :])
        if below and u[burden] > level:
            crossing(row, now, now)
        if now >= t_end:
            break
        inner = k < stop and entries[2][k] < t_end
        end = entries[2][k] if k < stop else t_end
        size, g = output_times(grid, pair, g, now, end, times, looked)
        flag = begin(address, now, end, inner, u, out[0], data, control, burden, noted, sums)
        if flag != 0.0:
            break
        done = integrate(address, u, data, times[:size], out[:size], rtol, rtol, max_steps)
        flag = data[control + FLAG]
        if flag == 0.0 and done and noted:
            flag = examine(
                address, data, control, sums, times[:size], out[:size], looked, timed, rtol, max_steps,
                burden, level, row,
            )  # fmt: skip
        if data[control + RAISED] != 0.0 and flag == 0.0:
            flag = FLAG_RAISED
        if flag == 0.0 and not done:
            flag = FLAG_GAVE_UP
        if flag != 0.0:
            break
        # without the end: what is saved at a dose is the state after it
        s = keep_saved(saved, s, save_at, times[: size - 1], out)
        u[:] = out[size - 1]
        now = end
    final[:] = u
    saved[s:] = u
    counts[0] += int(data[control + STEPS])
    counts[1] += int(data[control + CALLS])
    if burden >= 0:
        conclude(row, u[burden] > level, t_end)
    return flag


@njit(**INSIDE)
def rescale(scale, data, first, sums, failed):
    """Set the units of the integrals by what they came to; return whether to solve the patient again."""
    again = False
    s = sums
    for j in range(first, scale.size):
        unit = _TENTH * data[s + SUM]
        if (
            unit > 0.0
            and np.isfinite(unit)
            and (scale[j] > _TOO_LARGE * unit or (failed and _TOO_LARGE * scale[j] < unit))
        ):
            again = True
            scale[j] = unit
        s += SUMS
    return again


@njit(**INSIDE)
def first_units(address, u, du, data, control, first, sums, t_end, scale):
    """Guess the units of the integrals by what is integrated at the start."""
    data[control + NODES] = -1.0
    data[control + HIGH] = t_end
    call_rhs(address, 0.0, u.ctypes.data, du.ctypes.data, data.ctypes.data)
    for j in range(first, scale.size):
        unit = _TENTH * abs(du[j]) * t_end
        if 0.0 < unit < 1e100:
            scale[j] = unit


def _solve_part(address, low, high, u0, p, scale, log, outputs, entries, limits, kind, size, results,
                control):  # fmt: skip
    """Solve the patients ``low`` to ``high``."""
    grid, pair, save_at = outputs
    rtol, max_step, max_steps = limits
    burden, integrals, noted, timed = kind
    rows, final, saved, flags, counts = results
    n, m = u0.shape[1], p.shape[1]
    data = np.empty(size)
    times = np.empty(grid.size + 2)
    looked = np.empty(grid.size + 2, np.bool_)
    out = np.empty((grid.size + 2, n))
    sums = m + n + CONTROL + 2 * n
    for i in range(low, high):
        if control[0] != 0:
            return
        if integrals > 0:
            at = prepare(data, p[i], scale[i], rtol, max_step, max_steps, noted)
            first_units(address, u0[i], out[0], data, at, n - integrals, sums, grid[-1], scale[i])
        longest = max_step
        flag = 0.0
        for _ in range(_ATTEMPTS):
            flag = attempt(
                address, u0[i], p[i], scale[i], log, grid, pair, save_at, entries[0][i], entries[1][i],
                entries, rtol, longest, max_steps, burden, noted, timed, rows[i], final[i], saved[i],
                counts[i], data, times, out, looked,
            )  # fmt: skip
            if flag == FLAG_UNRESOLVED:
                interval = grid[-1] / GRID
                shorter = interval if longest > interval else interval / _SHORTER
                if longest <= shorter:
                    break
                longest = shorter
            elif integrals == 0 or not rescale(scale[i], data, n - integrals, sums, flag in _TOO_SMALL):
                break
        flags[i] = flag


_STATUS = {
    0.0: "ok", FLAG_BUDGET: "max_steps", FLAG_NON_FINITE: "non_finite", FLAG_LOG_INFLOW: "log_inflow",
    FLAG_RAISED: "rhs_error", FLAG_NEGATIVE: "negative", FLAG_GAVE_UP: "solver_error",
    FLAG_UNRESOLVED: "solver_error", FLAG_STUCK: "step_too_small",
}  # fmt: skip


def solve_chunk(
    problem: Problem, y0: np.ndarray, p: np.ndarray, threads: int, doses: DosePlan | None = None
) -> ChunkResult:
    """Solve one chunk of patients.

    Parameters
    ----------
    problem : Problem
    y0 : ndarray, shape (patients, states)
        Initial values, natural units.
    p : ndarray, shape (patients, parameters)
    threads : int
    doses : DosePlan, optional
        What these patients are given; the jumps at time 0 are already in ``y0``.
    """
    from fastcart.solvers.status import Status

    model, log = problem.model, problem.log
    patients, n = y0.shape
    timed = uses_time(model.rhs)
    kind = Kind(
        tuple(bool(x) for x in log), any(problem.infused), tuple(bool(x) for x in problem.nonnegative),
        problem.integrals, timed or model.burden_index >= 0,
    )  # fmt: skip
    callback = rhs_callback(model, kind)
    kernel = cached(_solve_part, "the LSODA loop", nogil=True, **FAST)
    result = ChunkResult.empty(patients, problem)
    scale = np.repeat(problem.scale[np.newaxis], patients, axis=0)
    scale[:, n - kind.integrals :] = 1.0  # until something is known
    outputs = _outputs(problem, timed, kind.noted, doses is not None)
    u0 = to_internal(y0, log, problem.scale)
    rows = np.full((patients, 4), np.nan)
    flags = np.full(patients, np.nan)
    counts = np.zeros((patients, 2), dtype=np.int64)
    final = np.full_like(result.final, np.nan)
    control = np.zeros(1, dtype=np.int64)
    entries = entries_of(doses, patients)
    jobs = [
        partial(
            kernel, callback.address, low, min(low + _PART, patients), u0, p, scale, log, outputs, entries,
            (problem.rtol, problem.max_step, problem.max_steps),
            (model.burden_index, kind.integrals, kind.noted, timed), data_size(n, p.shape[1], kind),
            (rows, final, result.saved, flags, counts), control,
        )
        for low in range(0, patients, _PART)
    ]  # fmt: skip
    run_quietly(jobs, threads, control)
    for flag, status in _STATUS.items():
        result.status[flags == flag] = Status[status]
    result.pfs, result.progression, _, result.t_nadir = rows.T.copy()
    if model.burden_index >= 0:
        b = model.burden_index
        result.nadir = to_natural(rows[:, 2], log[b], problem.scale[b])
    result.final = to_natural(final, log, scale)
    result.saved = to_natural(result.saved, log, scale[:, np.newaxis])
    result.steps, result.rhs_calls = counts[:, 0].copy(), counts[:, 1].copy()
    result.t_reached = np.where(result.status == Status.ok, problem.t_end, np.nan)
    return result


def _outputs(problem: Problem, timed: bool, noted: bool, dosed: bool) -> tuple[Any, Any, Any]:
    """Return all times of output, which of them are looks between the steps, and the times to save."""
    grid = np.linspace(0.0, problem.t_end, GRID + 1)
    if dosed:  # so that no time of the grid lies next to a dose
        grid = canonical(grid, problem.t_end)
    pairs = looks(grid) if timed else np.empty(0)
    if not noted:  # nothing is looked for
        grid = grid[[0, -1]]
    grid = np.union1d(np.union1d(grid, problem.save_at), pairs)
    return grid, np.isin(grid, pairs), problem.save_at
