"""Engine ``lsoda``: numbalsoda's LSODA, one patient per turn of a ``prange`` loop.

Marked states are integrated in logarithm. The right-hand side, a C callback, counts its calls and turns
to zero once a patient has failed, so that LSODA ends quickly and quietly. Crossings and the nadir are
found on a coarse grid of LSODA's own interpolated output and then located by integrating that one
interval again with a fine output. Each dose ends one integration and starts the next.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numba import carray, get_num_threads, njit, prange, set_num_threads

from fastcart.model import Model
from fastcart.solvers.compile import FAST, INNER, cached, from_source, rebuild
from fastcart.solvers.doses import RATE, DosePlan, canonical, entries_of
from fastcart.solvers.hermite import minimum, upward_crossings
from fastcart.solvers.lsoda_library import call_rhs, lsoda_wrapper, rhs_signature
from fastcart.solvers.problem import ChunkResult, Problem
from fastcart.solvers.transform import LOG_ZERO, derivative_source, to_internal, to_natural

GRID = 200  # output intervals in which crossings are looked for
FINE = 12  # outputs inside the one interval that holds a crossing or the nadir
METHODS = ("lsoda",)
DEFAULT_METHOD = "lsoda"

# control words behind the parameters and scales in the data of the right-hand side; then rates of infusion
CALLS, STEPS, LAST_T, FLAG, BUDGET, BAD, CONTROL = 0, 1, 2, 3, 4, 5, 6
FLAG_BUDGET, FLAG_NON_FINITE, FLAG_LOG_INFLOW = 1.0, 2.0, 4.0

# A wild trial step may leave the model's domain; LSODA rejects a huge derivative and tries a smaller step.
# So many in a row, and the patient itself is at fault.
_HUGE = 1e100
_BAD_IN_A_ROW = 60.0


def _callback(model: Model, log: tuple[bool, ...], infused: bool) -> Any:
    """Compile the right-hand side in integrated variables as a C function."""
    n, m = len(model.states), len(model.parameters)
    inflow = " or ".join(f"(y{i} == 0.0 and f[{i}] != 0.0)" for i in range(n) if log[i]) or "False"
    finite = " + ".join(f"0.0 * du{i}" for i in range(n))
    control = m + n
    lines = [
        "def lsoda_rhs(t, u_, du_, data_):",
        f"    u = carray(u_, ({n},)); du = carray(du_, ({n},))",
        f"    p = carray(data_, ({control + CONTROL + n},))",
        f"    scale = p[{m}:{control}]; c = p[{control}:]; r = p[{control + CONTROL}:]",
        f"    c[{CALLS}] += 1.0",
        f"    if t != c[{LAST_T}]:",
        f"        c[{STEPS}] += 1.0; c[{LAST_T}] = t",
        f"    if c[{CALLS}] > c[{BUDGET}] and c[{FLAG}] == 0.0: c[{FLAG}] = {FLAG_BUDGET}",
        f"    if c[{FLAG}] != 0.0:",
        *[f"        du[{i}] = 0.0" for i in range(n)],
        "        return",
        derivative_source(n, m, log, infused),
        f"    if {inflow}: c[{FLAG}] = {FLAG_LOG_INFLOW}",
        f"    bad = not ({finite} == 0.0)",
        f"    c[{BAD}] = c[{BAD}] + 1.0 if bad else 0.0",
        f"    if c[{BAD}] > {_BAD_IN_A_ROW}: c[{FLAG}] = {FLAG_NON_FINITE}",
        f"    stop = c[{FLAG}] != 0.0",
        *[f"    du[{i}] = 0.0 if stop else (du{i} if 0.0 * du{i} == 0.0 else {_HUGE})" for i in range(n)],
    ]
    namespace = {
        "rhs": rebuild(model.rhs, INNER), "exp": math.exp, "nan": math.nan, "carray": carray,
    }  # fmt: skip
    function = from_source("\n".join(lines), "lsoda_rhs", namespace)
    return cached(function, f"{model.name} for lsoda", signature=rhs_signature, **FAST)


@njit
def integrate(address, start, data, times, out, rtol, atol, max_steps):
    """Integrate from ``times[0]``; return whether LSODA reached the last time."""
    success = np.zeros(1, np.int32)
    lsoda_wrapper(
        address, np.int32(start.size), start.ctypes.data, data.ctypes.data, np.int32(times.size),
        times.ctypes.data, out.ctypes.data, rtol, atol, np.int32(max_steps), success.ctypes.data,
    )  # fmt: skip
    return success[0] == 1


@njit
def slope(address, t, u, du, data, burden):
    """Time derivative of the burden in integrated variables."""
    call_rhs(address, t, u.ctypes.data, du.ctypes.data, data.ctypes.data)
    return du[burden]


@njit
def refine(address, start, data, t0, t1, rtol, atol, max_steps, burden, level):
    """Integrate one interval again with fine output.

    Returns times of the first and last upward crossing of ``level`` (-1 where none), and place and
    value of the smallest burden.
    """
    times = np.empty(FINE + 1)
    for k in range(FINE + 1):
        times[k] = t0 + (t1 - t0) * k / FINE
    out = np.empty((FINE + 1, start.size))
    du = np.empty(start.size)
    first, last, t_min, g_min = -1.0, -1.0, t0, start[burden]
    if not integrate(address, start, data, times, out, rtol, atol, max_steps):
        return first, last, t_min, g_min
    h = (t1 - t0) / FINE
    d1 = h * slope(address, t0, out[0], du, data, burden)
    for k in range(FINE):
        d0 = d1
        d1 = h * slope(address, times[k + 1], out[k + 1], du, data, burden)
        g0 = out[k, burden]
        g1 = out[k + 1, burden]
        a, b = upward_crossings(g0 - level, d0, g1 - level, d1)
        if a >= 0.0:
            last = times[k] + b * h
            if first < 0.0:
                first = times[k] + a * h
        place, value = minimum(g0, d0, g1, d1)
        if value < g_min:
            g_min = value
            t_min = times[k] + place * h
    return first, last, t_min, g_min


@njit
def suspicious(k, g):
    """Whether grid interval k may hold a crossing: a change of sign, or next to an extremum."""
    if k == 0 or (g[k] <= 0.0) != (g[k + 1] <= 0.0):
        return True
    left = g[k] - g[k - 1]
    middle = g[k + 1] - g[k]
    right = g[k + 2] - g[k + 1] if k + 2 < g.size else middle
    return left * middle < 0.0 or middle * right < 0.0


@njit
def crossing(row, first, last):
    """Record upward crossings."""
    row[0] = last
    if row[1] < 0.0:
        row[1] = first


@njit
def watch(address, data, times, out, rtol, atol, max_steps, burden, level, row):
    """Bring ``row`` up to date: last and first upward crossing of the start, nadir and its time."""
    g = np.empty(times.size)
    lowest = 0
    for k in range(times.size):
        g[k] = out[k, burden] - level
        if g[k] < g[lowest]:
            lowest = k
    if out[lowest, burden] < row[2]:
        row[2], row[3] = out[lowest, burden], times[lowest]
    du = np.empty(out.shape[1])
    for k in range(g.size - 1):
        if not (suspicious(k, g) or k == lowest or k + 1 == lowest):
            continue
        h = times[k + 1] - times[k]
        if h <= 0.0:
            continue
        d0 = h * slope(address, times[k], out[k], du, data, burden)
        d1 = h * slope(address, times[k + 1], out[k + 1], du, data, burden)
        a, b = upward_crossings(g[k], d0, g[k + 1], d1)
        interior, value = minimum(out[k, burden], d0, out[k + 1, burden], d1)
        holds_minimum = value <= row[2] and 0.0 < interior < 1.0
        if a < 0.0 and not holds_minimum:
            continue
        if a == 0.0 and b == 0.0 and not holds_minimum:  # growth from the start needs no search
            crossing(row, times[k], times[k])
            continue
        r_first, r_last, r_t, r_g = refine(
            address, out[k], data, times[k], times[k + 1], rtol, atol, max_steps, burden, level
        )
        if r_first >= 0.0:
            crossing(row, r_first, r_last)
        if r_g < row[2]:
            row[2], row[3] = r_g, r_t


@njit
def give_doses(entries, k, stop, now, u, log, scale, rates):
    """Apply the entries from ``k`` that are due now; return the next one."""
    _, _, time, state, kind, value = entries
    while k < stop and time[k] <= now:
        i = state[k]
        if kind[k] == RATE:
            rates[i] = value[k]
        elif log[i]:
            u[i] = np.log((np.exp(u[i]) if u[i] != LOG_ZERO else 0.0) + value[k])
        else:
            u[i] += value[k] / scale[i]
        k += 1
    return k


@njit
def output_times(grid, g, now, end, times):
    """Fill ``times`` with now, the grid in between, and the end; return their number and the next place."""
    times[0] = now
    size = 1
    while grid[g] < end:
        if grid[g] > now:
            times[size] = grid[g]
            size += 1
        g += 1
    times[size] = end
    return size + 1, g


@njit
def keep_saved(saved, s, save_at, times, out):
    """Keep the states at times to save, from the one numbered ``s``; return the next number."""
    for i in range(times.size):
        while s < save_at.size and save_at[s] == times[i]:
            saved[s] = out[i]
            s += 1
    return s


@njit
def conclude(row, above, t_end):
    """Turn the last and first crossing into PFS and first progression."""
    row[0] = max(row[0], 0.0) if above else t_end
    if above:
        row[1] = max(row[1], 0.0)
    elif row[1] < 0.0:
        row[1] = np.nan


@njit
def solve_one(address, start, p, scale, log, grid, save_at, k, stop, entries, rtol, max_steps, burden, row,
              final, saved, counts):  # fmt: skip
    """Solve one patient from dose to dose; return 0 or what went wrong.

    ``grid`` holds the sorted output times without doses, ``k`` to ``stop`` are this patient's entries.
    """
    n, m = start.size, p.size
    data = np.zeros(m + n + CONTROL + n)
    for j in range(m):
        data[j] = p[j]
    for j in range(n):
        data[m + j] = scale[j]
    control = m + n
    data[control + LAST_T] = -1.0
    data[control + BUDGET] = 4.0 * max_steps  # LSODA makes about two calls a step, more if stiff
    # LSODA's own limit is per output time, and only for what goes on behind the end of the budget: behind a
    # blow-up it may take steps of no length, derivatives of zero or not
    max_steps = min(8 * max_steps, 2**31 - 1)
    u = start.copy()
    times = np.empty(grid.size + 2)
    out = np.empty((grid.size + 2, n))
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
        end = entries[2][k] if k < stop else t_end
        size, g = output_times(grid, g, now, end, times)
        call_rhs(address, now, u.ctypes.data, out.ctypes.data, data.ctypes.data)
        if data[control + BAD] != 0.0:  # not finite from the start
            flag = max(data[control + FLAG], FLAG_NON_FINITE)
            break
        done = integrate(address, u, data, times[:size], out[:size], rtol, rtol, max_steps)
        if done and data[control + FLAG] == 0.0 and burden >= 0:
            watch(address, data, times[:size], out[:size], rtol, rtol, max_steps, burden, level, row)
        flag = data[control + FLAG]  # a crossing located with derivatives turned to zero is none
        if flag == 0.0 and not done:
            flag = -1.0
        if flag != 0.0:
            break
        # without the end: what is saved at a dose is the state after it
        s = keep_saved(saved, s, save_at, times[: size - 1], out)
        u[:] = out[size - 1]
        now = end
    final[:] = u
    saved[s:] = u
    counts[0] = int(data[control + STEPS])
    counts[1] = int(data[control + CALLS])
    if burden >= 0:
        conclude(row, u[burden] > level, t_end)
    return flag


def _lsoda_batch(address, u0, p, scale, log, grid, save_at, entries, rtol, max_steps, burden, rows, final,
                 saved, flags, counts):  # fmt: skip
    for i in prange(u0.shape[0]):
        flags[i] = solve_one(
            address, u0[i], p[i], scale, log, grid, save_at, entries[0][i], entries[1][i], entries, rtol,
            max_steps, burden, rows[i], final[i], saved[i], counts[i],
        )  # fmt: skip


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what C code writes to stderr away from the user while a kernel runs."""
    with suppress(AttributeError, ValueError):  # no stderr, or one that is closed
        sys.stderr.flush()
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(null)
        os.close(saved)


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

    model = problem.model
    log = problem.log
    callback = _callback(model, tuple(bool(x) for x in log), any(problem.infused))
    kernel = cached(_lsoda_batch, "the LSODA loop", parallel=True, **FAST)
    result = ChunkResult.empty(len(y0), problem)
    grid = np.linspace(0.0, problem.t_end, GRID + 1)
    if doses is not None:  # so that no time of the grid lies next to a dose
        grid = canonical(grid, problem.t_end)
    grid = np.union1d(grid, problem.save_at)
    u0 = to_internal(y0, log, problem.scale)
    rows = np.full((len(y0), 4), np.nan)
    flags = np.zeros(len(y0))
    counts = np.zeros((len(y0), 2), dtype=np.int64)
    final = np.full_like(result.final, np.nan)
    previous = get_num_threads()
    set_num_threads(threads)
    try:
        with quiet_stderr():
            kernel(
                callback.address, u0, p, problem.scale, log, grid, problem.save_at,
                entries_of(doses, len(y0)), problem.rtol, problem.max_steps, model.burden_index, rows, final,
                result.saved, flags, counts,
            )  # fmt: skip
    finally:
        set_num_threads(previous)
    codes = {
        0.0: Status.ok, FLAG_BUDGET: Status.max_steps, FLAG_NON_FINITE: Status.non_finite,
        FLAG_LOG_INFLOW: Status.log_inflow, -1.0: Status.solver_error,
    }  # fmt: skip
    for flag, status in codes.items():
        result.status[flags == flag] = status
    result.pfs, result.progression, _, result.t_nadir = rows.T.copy()
    if model.burden_index >= 0:
        b = model.burden_index
        result.nadir = to_natural(rows[:, 2], log[b], problem.scale[b])
    result.final = to_natural(final, log, problem.scale)
    result.saved = to_natural(result.saved, log, problem.scale)
    result.steps, result.rhs_calls = counts[:, 0].copy(), counts[:, 1].copy()
    result.t_reached = np.where(result.status == Status.ok, problem.t_end, np.nan)
    return result
