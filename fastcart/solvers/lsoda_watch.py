"""What is looked for in LSODA's solution of one segment: crossings and nadir of the burden, gaps in time.

The notes of LSODA's own steps say where to look. The slope of LSODA's polynomial on a step follows the slopes
at the steps around it; where these, with a wide margin, leave no room for a change of sign, the burden only
rises or only falls, and its ends tell all. Elsewhere the piece is integrated again with an output that is
finer than the steps, and cubics through values and slopes are searched.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fastcart.solvers.hermite import hermite, minimum, upward_crossings
from fastcart.solvers.lsoda_callback import BASE_T, LAST_T, NOTES, STUCK
from fastcart.solvers.lsoda_library import call_rhs, lsoda_wrapper

# for functions that only kernels call
INSIDE: dict[str, bool] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

FINE = 12  # pieces, at least, into which an interval that holds a crossing or the nadir is cut,
PER_STEP = 4  # and at least so many for each step in it
_DEEPER = 0.1  # tolerances by which a nadir is looked for below the lowest value that is known
_CUBIC = 0.1  # tolerances that a cubic may be off by
_PARTS = 200.0
_MARGIN = 2.0  # spreads of the slopes at the steps around that the slope inside a step may leave them by

SKIPPED = 1e-2  # a step so short, in units of the distance of the looks, has seen what there is
_PAIR = 1e-5  # distance of the two times of one look, in the same unit


@njit(**INSIDE)
def integrate(address, start, data, times, out, rtol, atol, max_steps):
    """Integrate from ``times[0]``; return whether LSODA reached the last time."""
    success = np.zeros(1, np.int32)
    lsoda_wrapper(
        address, np.int32(start.size), start.ctypes.data, data.ctypes.data, np.int32(times.size),
        times.ctypes.data, out.ctypes.data, rtol, atol, np.int32(max_steps), success.ctypes.data,
    )  # fmt: skip
    return success[0] == 1


@njit(**INSIDE)
def derivatives(address, t, u, du, data, control):
    """Evaluate the derivatives, as the step at ``t`` itself."""
    data[control + LAST_T] = data[control + BASE_T] = t
    data[control + STUCK] = 0.0
    call_rhs(address, t, u.ctypes.data, du.ctypes.data, data.ctypes.data)


@njit(**INSIDE)
def slope(address, t, u, du, data, control, burden):
    """Time derivative of the burden in integrated variables."""
    derivatives(address, t, u, du, data, control)
    return du[burden]


@njit(**INSIDE)
def finer(t0, t1, notes, first, last):
    """Cut the time from ``t0`` to ``t1`` at the steps noted from ``first`` to ``last``, and finer."""
    pieces = last - first + 1
    each = max(PER_STEP, -(-FINE // pieces))
    times = np.empty(pieces * each + 1)
    times[0] = t0
    size = 1
    low = t0
    for k in range(first, last + 1):
        high = notes[k, 0] if k < last else t1
        for j in range(1, each + 1):
            t = low + (high - low) * j / each
            if t > times[size - 1]:
                times[size] = t
                size += 1
        low = high
    times[size - 1] = t1
    return times[:size]


@njit(**INSIDE)
def trace(address, start, data, control, times, rtol, max_steps, burden):
    """Integrate again to ``times``; return states, slopes of the burden, and whether that succeeded."""
    out = np.empty((times.size, start.size))
    slopes = np.empty(times.size)
    du = np.empty(start.size)
    data[control + LAST_T] = data[control + BASE_T] = times[0]
    data[control + STUCK] = 0.0
    done = integrate(address, start, data, times, out, rtol, rtol, max_steps)
    if done:
        for k in range(times.size):
            slopes[k] = slope(address, times[k], out[k], du, data, control, burden)
    return out, slopes, done


@njit(**INSIDE)
def parts_of(times, out, slopes, k, burden, rtol):
    """Return into how many parts piece ``k`` must be cut for its cubic to be as good as the solution.

    The cubic over two pieces is held against the value between them; that over one is 16 times better.
    """
    i = k if k + 2 < times.size else max(k - 1, 0)
    if i + 2 >= times.size:
        return 1
    h = times[i + 2] - times[i]
    theta = (times[i + 1] - times[i]) / h
    middle = hermite(theta, out[i, burden], h * slopes[i], out[i + 2, burden], h * slopes[i + 2])
    off = abs(middle - out[i + 1, burden]) / 16.0
    ratio = off / (_CUBIC * rtol * (1.0 + abs(out[k, burden])))
    return 1 if not ratio > 1.0 else int(min(np.ceil(1.5 * ratio**0.25), _PARTS))


@njit(**INSIDE)
def look_at(times, out, slopes, k, burden, level):
    """Return times of the first and last upward crossing in piece ``k`` (-1 for none), and its minimum."""
    h = times[k + 1] - times[k]
    g0, g1 = out[k, burden], out[k + 1, burden]
    a, b = upward_crossings(g0 - level, h * slopes[k], g1 - level, h * slopes[k + 1])
    place, value = minimum(g0, h * slopes[k], g1, h * slopes[k + 1])
    if a >= 0.0:
        a, b = times[k] + a * h, times[k] + b * h
    return a, b, times[k] + place * h, value


@njit(**INSIDE)
def look_nearer(address, start, data, control, times, rtol, max_steps, burden, level):
    """Integrate one piece once more; return what `look_at` does, of all parts, and whether that succeeded."""
    out, slopes, done = trace(address, start, data, control, times, rtol, max_steps, burden)
    first, last, place, value = -1.0, -1.0, times[0], start[burden]
    for j in range(times.size - 1 if done else 0):
        a, b, t, g = look_at(times, out, slopes, j, burden, level)
        if a >= 0.0:
            first = a if first < 0.0 else first
            last = b
        if g < value:
            place, value = t, g
    return first, last, place, value, done


@njit(**INSIDE)
def refine(address, start, data, control, times, rtol, max_steps, burden, level):
    """Integrate one interval again with fine output, and pieces of it once more where these are too coarse.

    Returns times of the first and last upward crossing of ``level`` (-1 where none), and place and
    value of the smallest burden.
    """
    first, last, t_min, g_min = -1.0, -1.0, times[0], start[burden]
    out, slopes, done = trace(address, start, data, control, times, rtol, max_steps, burden)
    for k in range(times.size - 1 if done else 0):
        a, b, place, value = look_at(times, out, slopes, k, burden, level)
        parts = 1
        if a >= 0.0 or (value < g_min and times[k] < place < times[k + 1]):
            parts = parts_of(times, out, slopes, k, burden, rtol)
        if parts > 1:
            nearer = np.linspace(times[k], times[k + 1], parts + 1)
            c, d, place2, value2, done = look_nearer(
                address, out[k], data, control, nearer, rtol, max_steps, burden, level
            )
            if done:
                place, value = place2, value2
                if c >= 0.0 or not out[k, burden] <= level < out[k + 1, burden]:
                    a, b = c, d
        if a >= 0.0:
            first = a if first < 0.0 else first
            last = b
        if value < g_min:
            t_min, g_min = place, value
    return first, last, t_min, g_min


@njit(**INSIDE)
def crossing(row, first, last):
    """Record upward crossings."""
    row[0] = last
    if row[1] < 0.0:
        row[1] = first


@njit(**INSIDE)
def mark(times, t0, t1, hidden):
    """Mark the intervals between outputs that overlap with ``t0`` to ``t1``."""
    k = max(np.searchsorted(times, t0, side="right") - 1, 0)
    while k < hidden.size and times[k] < t1:
        hidden[k] = True
        k += 1


@njit(**INSIDE)
def mark_hidden(notes, count, times, lowest, level, rtol, hidden):
    """Mark the intervals in which a step may hold a crossing of ``level`` or go below ``lowest``."""
    lowest -= _DEEPER * rtol * (1.0 + abs(lowest))
    for k in range(count):
        t0, g0 = notes[k, 0], notes[k, 1]
        if t0 >= times[-1]:
            break
        if k + 1 == count:  # the notes were full
            if count == NOTES:
                mark(times, t0, times[-1], hidden)
            break
        t1, g1 = notes[k + 1, 0], notes[k + 1, 1]
        low = high = notes[k, 2]
        for j in range(max(k - 1, 0), min(k + 3, count)):
            low = min(low, notes[j, 2])
            high = max(high, notes[j, 2])
        spread = _MARGIN * (high - low)
        low -= spread
        high += spread
        if low >= 0.0 or high <= 0.0:  # it only rises or only falls
            if g0 <= level < g1 and not (k == 0 and g0 == level):  # growth from the start needs no search
                mark(times, t0, t1, hidden)
            continue
        middle = 0.5 * (g0 + g1)
        reach = 0.5 * (t1 - t0) * max(-low, high)
        if middle - reach < lowest or middle - reach <= level < middle + reach:
            mark(times, t0, t1, hidden)


@njit(**INSIDE)
def watch_interval(address, data, control, pieces, t0, t1, u0, u1, rtol, max_steps, burden, level, row):
    """Bring ``row`` up to date for one interval between outputs.

    ``pieces`` are the times at which it is looked at where its two ends do not tell all; none where they do.
    """
    h = t1 - t0
    du = np.empty(u0.size)
    d0 = h * slope(address, t0, u0, du, data, control, burden)
    d1 = h * slope(address, t1, u1, du, data, control, burden)
    g0, g1 = u0[burden], u1[burden]
    a, b = upward_crossings(g0 - level, d0, g1 - level, d1)
    if pieces.size == 0:  # the interval is shorter than a step, or the steps in it are clear
        place, value = minimum(g0, d0, g1, d1)
        holds_minimum = value <= row[2] and 0.0 < place < 1.0
        if a < 0.0 and not holds_minimum:
            return
        if a == 0.0 and b == 0.0 and not holds_minimum:  # growth from the start needs no search
            crossing(row, t0, t0)
            return
        pieces = np.linspace(t0, t1, FINE + 1)
    first, last, place, value = refine(address, u0, data, control, pieces, rtol, max_steps, burden, level)
    if first >= 0.0:
        crossing(row, first, last)
    elif g0 <= level < g1:  # so near an end that the finer solution has it outside
        crossing(row, t0 + a * h, t0 + b * h)
    if value < row[2]:
        row[2], row[3] = value, place


@njit(**INSIDE)
def watch(address, data, control, notes, count, times, out, rtol, max_steps, burden, level, row):
    """Bring ``row`` up to date: last and first upward crossing of the start, nadir and its time."""
    intervals = times.size - 1
    lowest = np.argmin(out[:, burden])
    if out[lowest, burden] < row[2]:
        row[2], row[3] = out[lowest, burden], times[lowest]
    if count > 1 and notes[0, 1] == level and notes[0, 2] > 0.0:  # growth from the start
        crossing(row, times[0], times[0])
    hidden = np.zeros(intervals, np.bool_)
    mark_hidden(notes, count, times, row[2], level, rtol, hidden)
    first = 0  # of the notes behind the start of the interval
    for k in range(intervals):
        while first < count and notes[first, 0] <= times[k]:
            first += 1
        changes = (out[k, burden] <= level) != (out[k + 1, burden] <= level)
        if hidden[k] or k == 0 or changes or k == lowest or k + 1 == lowest:
            last = first
            while hidden[k] and last < count and notes[last, 0] < times[k + 1]:
                last += 1
            pieces = times[:0]
            if last - first > 1:
                pieces = finer(times[k], times[k + 1], notes, first, last)
            watch_interval(
                address, data, control, pieces, times[k], times[k + 1], out[k], out[k + 1], rtol, max_steps,
                burden, level, row,
            )  # fmt: skip


@njit(**INSIDE)
def solve_linear(A, b):
    """Solve ``A x = b`` in place of ``b``; return whether the matrix allows it."""
    n = b.size
    for k in range(n):
        pivot = k
        for i in range(k + 1, n):
            if abs(A[i, k]) > abs(A[pivot, k]):
                pivot = i
        if not abs(A[pivot, k]) > 0.0:
            return False
        for j in range(n):
            A[k, j], A[pivot, j] = A[pivot, j], A[k, j]
        b[k], b[pivot] = b[pivot], b[k]
        for i in range(k + 1, n):
            factor = A[i, k] / A[k, k]
            for j in range(k, n):
                A[i, j] -= factor * A[k, j]
            b[i] -= factor * b[k]
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            b[k] -= A[k, j] * b[j]
        b[k] /= A[k, k]
    return True


def looks(grid: np.ndarray) -> np.ndarray:
    """Return the times of pairs of looks, two in each interval of a grid."""
    length = np.diff(grid)
    first = grid[:-1] + 0.381966 * length
    return np.stack([first, first + _PAIR * length], axis=1).ravel()


@njit(**INSIDE)
def become_error(address, t, step, u, f, f2, J, r, data, control):
    """Turn ``r``, what the slope is off by, into an error of the states over a step."""
    n = u.size
    for j in range(n):
        kept = u[j]
        u[j] += 1e-7 * (1.0 + abs(kept))
        change = u[j] - kept
        derivatives(address, t, u, f2, data, control)
        u[j] = kept
        for q in range(n):
            J[q, j] = (1.0 / step if q == j else 0.0) - (f2[q] - f[q]) / change
    if not solve_linear(J, r):
        r[:] = 0.0  # nothing can be said


@njit(**INSIDE)
def resolved(address, data, control, notes, count, times, out, pair, rtol):
    """Whether the solution follows its right-hand side between the steps too, wherever ``pair`` has a look.

    A right-hand side that depends on time may have a pulse, or whole periods, between two steps. At a pair of
    times close to each other the slope of the solution is compared with the right-hand side. Their difference
    is turned into an error of the states, over one step, by Newton's method: a stiff right-hand side is large
    wherever its states are a little off.
    """
    n = out.shape[1]
    f0, f1, f2, r = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    J = np.empty((n, n))
    allowed = min(1000.0 * rtol, max(0.1, 30.0 * rtol))
    k = 0
    for i in range(times.size - 1):
        if not pair[i] or not pair[i + 1]:
            continue
        t, length = times[i], times[i + 1] - times[i]
        while k + 1 < count and notes[k + 1, 0] <= t:
            k += 1
        if k + 1 >= count:
            break
        step = min(notes[k + 1, 0], times[-1]) - notes[k, 0]
        if step * _PAIR < SKIPPED * length or not length > 0.0:
            continue
        derivatives(address, t, out[i], f0, data, control)
        derivatives(address, times[i + 1], out[i + 1], f1, data, control)
        suspect = False
        for j in range(n):
            r[j] = 0.5 * (f0[j] + f1[j]) - (out[i + 1, j] - out[i, j]) / length
            suspect = suspect or abs(step * r[j]) > allowed * (1.0 + abs(out[i, j]))
        if not suspect:
            continue
        become_error(address, t, step, out[i], f0, f2, J, r, data, control)
        for j in range(n):
            if abs(r[j]) > allowed * (1.0 + abs(out[i, j])):
                return False
    return True
