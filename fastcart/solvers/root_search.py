"""Roots of the equations of algebraic variables of one patient: Newton's method with a safety net.

All lies in one row of numbers: the states in natural units, of which the unknowns are some, the time, the
parameters; then the answer, and room for what `equations` gives. One unknown is held between a point on
either side of its root once two such are known; several are damped.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fastcart.solvers.compile import EXACT_INNER as INSIDE

SOLVED, NOT_SOLVED = 0.0, 1.0

_TURNS = 200
_ALONE = 60  # turns in which Newton's method may find a sign change by itself
_EXACT = 2.5e-16  # of the terms of an equation: its rounding
_CLOSE = 1e-14  # relative change of an unknown: it is known
_SMALL = 1e-8  # of the terms, or of the largest value seen: smaller ones are no poles
_ROUNDED = 1e-11  # of the terms of several equations
_FARTHEST = 700.0  # a logarithm
_REACH = 4.0  # of a step of a logarithm
_WIDER = 1.7
_HALVINGS = 40
_DESCENT = 1e-4


class Row(NamedTuple):
    """Where things are in the row."""

    time: int
    parameters: int
    status: int
    values: int  # of the equations, then sizes, differences and slopes
    scratch: int
    room: int


def row_of(states: int, parameters: int, unknowns: int) -> Row:
    """Return the layout of a row."""
    status = states + 1 + parameters
    scratch = status + 1 + (3 + unknowns) * unknowns
    return Row(states, states + 1, status, status + 1, scratch, scratch + (5 + unknowns) * unknowns)


@njit(**INSIDE)
def first_guess(value, log, start):
    """Return where a search begins: where the variable is, or at its start where that is nowhere, or at 1."""
    if np.isfinite(value) and (value > 0.0 or not log):
        return value
    return start if np.isfinite(start) and (start > 0.0 or not log) else 1.0


@njit(**INSIDE)
def begin(value, log, start):
    """Return where the search for one unknown begins, as it is solved for."""
    guess = first_guess(value, log, start)
    return np.log(guess) if log else guess


@njit(**INSIDE)
def _evaluated(w, equations, row, place, log, z):
    """Return the value of the only equation and its slope."""
    w[place] = np.exp(z) if log else z
    equations(w)
    return w[row.values], w[row.values + 3] * (w[place] if log else 1.0)


@njit(**INSIDE)
def _is_zero(w, equations, row, place):
    """Whether a variable in logarithm is an exact zero: it is left one if so."""
    before, w[place] = w[place], 0.0
    equations(w)
    if w[row.values + 2] == 0.0:
        return True
    w[place] = before
    return False


@njit(**INSIDE)
def _bracket(w, equations, row, place, log, z):
    """Look ever farther to both sides for another sign; return one point with each, NaN for none."""
    here, _ = _evaluated(w, equations, row, place, log, z)
    far = 0.25 if log else 1e-3 * max(abs(z), 1.0)
    known = not np.isnan(here)
    for _ in range(_TURNS):
        for side in (-1.0, 1.0):
            there = z + side * far
            if log and abs(there) > _FARTHEST:
                continue
            value, _ = _evaluated(w, equations, row, place, log, there)
            if np.isnan(value):
                continue
            if not known:
                z, here, known = there, value, True
            elif (value < 0.0) != (here < 0.0):
                return (there, z) if value < 0.0 else (z, there)
        far *= _WIDER
        if far > (2.0 * _FARTHEST if log else 1e290):
            break
    return np.nan, np.nan


@njit(**INSIDE)
def _newton(value, slope):
    """Return Newton's step, NaN for none."""
    known = slope != 0.0 and np.isfinite(slope) and np.isfinite(value)
    return -value / slope if known else np.nan


@njit(**INSIDE)
def _limited(step, reach):
    """Return a step within reach, and how far the next one reaches."""
    if abs(step) <= reach:
        return step, reach
    return (reach if step > 0.0 else -reach), 2.0 * reach


@njit(**INSIDE)
def _within(z, step, last, below, above):
    """Return Newton's step where it stays between two points and is short enough, else to their middle."""
    low, high = min(below, above), max(below, above)
    if low < z + step < high and abs(step) <= 0.5 * abs(last):
        return step, True
    return 0.5 * (low + high) - z, False


@njit(**INSIDE)
def search_one(w, equations, row, place, log, start):
    """Solve for one unknown, in place; return whether that succeeded.

    Parameters
    ----------
    w : ndarray
    equations : function
        Of ``w``; fills in the values.
    row : Row
    place : int
    log : bool
    start : float
    """
    first = z = begin(w[place], log, start)
    below = above = np.nan  # points where the equation is negative, and positive
    largest, last, alone = 0.0, np.inf, True
    reach = _REACH if log else max(abs(z), 1.0)
    for turn in range(_TURNS):
        value, slope = _evaluated(w, equations, row, place, log, z)
        if turn == 0 and log and np.isinf(value) and _is_zero(w, equations, row, place):
            return True
        terms = w[row.values + 1]
        if abs(value) <= _EXACT * terms:
            return True
        largest = max(largest, abs(value)) if np.isfinite(value) else largest
        below, above = (z if value < 0.0 else below), (z if value > 0.0 else above)
        step, size = _newton(value, slope), max(abs(z), 1.0 if log else 0.0)
        small = abs(value) <= _SMALL * max(terms, largest)
        if abs(step) <= _CLOSE * size:
            w[place] = np.exp(z + step) if log else z + step
            return bool(alone or small)
        if not (np.isnan(below) or np.isnan(above)):
            if abs(above - below) <= _CLOSE * size:
                return bool(small)
            step, as_newton = _within(z, step, last, below, above)
            alone = alone and as_newton
        elif np.isnan(step) or turn == _ALONE:
            alone = False
            below, above = _bracket(w, equations, row, place, log, first)
            if np.isnan(below):
                break
            step = 0.5 * (below + above) - z
        else:
            step, reach = _limited(step, reach)
        z = z + step
        z = min(max(z, -_FARTHEST), _FARTHEST) if log else z
        last = step
    w[place] = np.nan
    return log and _is_zero(w, equations, row, place)


@njit(**INSIDE)
def _norm(w, row, count):
    """Return the largest value of the equations, each in the size of its terms."""
    largest = 0.0
    for j in range(count):
        value, size = abs(w[row.values + j]), w[row.values + count + j]
        if not np.isfinite(value):
            return np.inf
        largest = max(largest, value / size if size > 0.0 else value)
    return largest


@njit(**INSIDE)
def _system(w, row, count, places, log, zero):
    """Fill in the matrix of Newton's step, and its right side: of logarithms, and without zeros."""
    slopes, matrix, step = row.values + 3 * count, row.scratch, row.scratch + count * count
    for i in range(count):
        w[step + i] = 0.0 if zero[i] else -w[row.values + i]
        for j in range(count):
            entry = w[slopes + i * count + j] * (w[places[j]] if log[j] else 1.0)
            left_out = zero[i] or zero[j]
            w[matrix + i * count + j] = (1.0 if i == j else 0.0) if left_out else entry


@njit(**INSIDE)
def _pivot(w, matrix, step, count, k):
    """Bring the largest entry of a column to the diagonal; return whether there is one."""
    pivot = k
    for i in range(k + 1, count):
        if abs(w[matrix + i * count + k]) > abs(w[matrix + pivot * count + k]):
            pivot = i
    if pivot != k:
        for j in range(count):
            a, b = matrix + k * count + j, matrix + pivot * count + j
            w[a], w[b] = w[b], w[a]
        w[step + k], w[step + pivot] = w[step + pivot], w[step + k]
    return abs(w[matrix + k * count + k]) > 0.0


@njit(**INSIDE)
def _direction(w, row, count, places, log, zero):
    """Solve for Newton's step by elimination with pivots; return whether that succeeded."""
    matrix, step = row.scratch, row.scratch + count * count
    _system(w, row, count, places, log, zero)
    for k in range(count):
        if not _pivot(w, matrix, step, count, k):
            return False
        for i in range(k + 1, count):
            factor = w[matrix + i * count + k] / w[matrix + k * count + k]
            for j in range(k, count):
                w[matrix + i * count + j] -= factor * w[matrix + k * count + j]
            w[step + i] -= factor * w[step + k]
    for k in range(count - 1, -1, -1):
        for j in range(k + 1, count):
            w[step + k] -= w[matrix + k * count + j] * w[step + j]
        w[step + k] /= w[matrix + k * count + k]
    return True


@njit(**INSIDE)
def _values(w, equations, row, count, zero):
    """Evaluate the equations, those of zeros left out; return the largest value in the size of its terms."""
    equations(w)
    for j in range(count):
        if zero[j]:
            w[row.values + j] = 0.0
    return _norm(w, row, count)


@njit(**INSIDE)
def _find_zeros(w, equations, row, places, log, zero):
    """Find variables in logarithm that are exact zeros: a side of their equation is, and it holds there."""
    count = places.size
    equations(w)
    for j in range(count):
        if log[j] and np.isinf(w[row.values + j]):
            before, w[places[j]] = w[places[j]], 0.0
            equations(w)
            zero[j] = w[row.values + 2 * count + j] == 0.0
            w[places[j]] = 0.0 if zero[j] else before
            equations(w)


@njit(**INSIDE)
def _lengths(w, row, places, log):
    """Keep where the unknowns are; return by how much a step is too long, and the largest relative change."""
    count = places.size
    kept, step = row.scratch + (1 + count) * count, row.scratch + count * count
    farthest, change = 1.0, 0.0
    for j in range(count):
        here = w[kept + j] = w[places[j]]
        size = abs(w[step + j])
        if log[j]:
            farthest = max(farthest, size / _REACH)
            change = max(change, size)
        elif size > 0.0:
            change = max(change, size / max(abs(here), size))
    return farthest, change


@njit(**INSIDE)
def _move(w, row, places, log, part):
    """Go a part of the step from where the unknowns were kept."""
    count = places.size
    kept, step = row.scratch + (1 + count) * count, row.scratch + count * count
    for j in range(count):
        moved = part * w[step + j]
        w[places[j]] = w[kept + j] * np.exp(moved) if log[j] else w[kept + j] + moved


@njit(**INSIDE)
def search_many(w, equations, row, places, log, starts):
    """Solve for several unknowns, in place; return whether that succeeded. See `search_one`."""
    count = places.size
    zero = np.zeros(count, np.bool_)
    for j in range(count):
        w[places[j]] = first_guess(w[places[j]], log[j], starts[j])
    _find_zeros(w, equations, row, places, log, zero)
    norm = _values(w, equations, row, count, zero)
    for _ in range(_TURNS):
        if norm <= _EXACT:
            return True
        if not np.isfinite(norm) or not _direction(w, row, count, places, log, zero):
            return False
        farthest, change = _lengths(w, row, places, log)
        part, better = 1.0 / farthest, False
        for _ in range(_HALVINGS if change > _CLOSE else 1):
            _move(w, row, places, log, part)
            new = _values(w, equations, row, count, zero)
            better = new <= max(norm * (1.0 - _DESCENT * part), _EXACT)
            if better:
                break
            part *= 0.5
        if not better:  # at rounding, or nowhere
            _move(w, row, places, log, 0.0)
            break
        norm = new
    return norm <= _ROUNDED
