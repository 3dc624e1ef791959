"""One step of a Rosenbrock method for all lanes: for stiff patients.

The Jacobian comes from forward differences, one vectorised call of the right-hand side for each state;
LU without pivoting, since ``I/(h gamma) - J`` is dominated by its diagonal at the steps that the error
allows. The right-hand side at the new point is the first of the next step, so that the driver sees the same
layout as for explicit methods: derivative at the start, stages, derivative at the end.

References
----------
E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd ed. (1996), section IV.7.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import carray, njit

from fastcart.solvers.codegen import written
from fastcart.solvers.compile import FAST, INLINED, cached
from fastcart.solvers.lanes.codegen import StepText, rosenbrock_step
from fastcart.solvers.lanes.intrinsics import STEP_SIGNATURE, evaluate
from fastcart.solvers.lanes.layout import LANES, offsets
from fastcart.solvers.lanes.step_explicit import accept, begin, bounds_functions
from fastcart.solvers.tableaus.base import RosenbrockTableau

_L = LANES

_DIFFERENCE = math.sqrt(np.finfo(float).eps)


def work_size(n: int) -> int:
    """Return the numbers needed behind the common buffer: Jacobian, factors, time derivative, kept states."""
    return (2 * n * n + 2 * n + 1) * LANES


def stage_rows(tableau: RosenbrockTableau) -> int:
    """Return the blocks among the stages: derivative at the start, stages, derivative at the end."""
    return len(tableau.c) + 2


def dense_weights(tableau: RosenbrockTableau) -> np.ndarray:
    """Return the interpolant's weights for the blocks of `stage_rows`."""
    none = np.zeros((1, tableau.dense.shape[1]))
    return np.vstack([none, tableau.dense, none])


def step_function(
    tableau: RosenbrockTableau, n: int, m: int, integrals: int, nonnegative: tuple[int, ...]
) -> Any:
    """Compile one step; see `fastcart.solvers.lanes.step_explicit.step_function`."""
    at = offsets(n, m, stage_rows(tableau))
    names = {"carray": carray, "begin": begin, "accept": accept, "evaluate": evaluate}
    names |= {"jacobian": jacobian, "factor": factor, "substitute": substitute}
    names |= bounds_functions(tableau, at, n, integrals)
    stages = [at.K + s * n * LANES for s in range(stage_rows(tableau))]
    text = StepText("rosenbrock_step", at, n, m, integrals, nonnegative, stages=stages, room=work_size(n))
    factors = at.total + n * n * LANES
    text.constants |= {"JACOBIAN": at.total, "FACTORS": factors, "BY_TIME": factors + n * n * LANES}
    rosenbrock_step(text, tableau)
    function = written(text.lines, text.constants, names)
    return cached(function, f"{tableau.name} for {n} states", signature=STEP_SIGNATURE, **FAST)


@njit(**INLINED)
def jacobian(ev, B, n, own, places):
    """Differences of the right-hand side by time and by each state but the integrals.

    They are taken towards where the state moves: who starts at a jump of the right-hand side, and leaves it,
    would by a difference across it be held there.

    Parameters
    ----------
    ev : int
    B : ndarray
        The step's buffer.
    n, own : int
    places : tuple of int
        Where in it the states begin, the states and the time at which to evaluate, the times and steps of the
        lanes, the slopes that come of it, those at the start, the Jacobian, the derivatives by time, the
        tolerances. A plain tuple, written where it is called: of that, unlike of one with names, numba takes
        the numbers for constants, by which LLVM sees that the loops may become vector code.
    """
    U, W, time, t, h, F, f0, J, dT, tolerance = places
    for j in range(own):
        typical = B[tolerance + j] / B[tolerance + n + j]
        for i in range(n):
            for l in range(_L):
                B[W + i * _L + l] = B[U + i * _L + l]
        for l in range(_L):
            B[time + l] = B[t + l]
            u = B[U + j * _L + l]
            ahead = -_DIFFERENCE if B[f0 + j * _L + l] < 0.0 else _DIFFERENCE
            B[W + j * _L + l] = u + ahead * max(abs(u), typical)
        evaluate(ev, B)
        for i in range(n):
            for l in range(_L):
                u = B[U + j * _L + l]
                # the difference that was really taken, after rounding
                ahead = -_DIFFERENCE if B[f0 + j * _L + l] < 0.0 else _DIFFERENCE
                delta = (u + ahead * max(abs(u), typical)) - u
                B[J + (i * n + j) * _L + l] = (B[F + i * _L + l] - B[f0 + i * _L + l]) / delta
    for i in range(n):
        for l in range(_L):
            B[W + i * _L + l] = B[U + i * _L + l]
    for l in range(_L):
        # never beyond the step: there the right-hand side may be another
        B[time + l] = B[t + l] + min(_DIFFERENCE * max(abs(B[t + l]), B[h + l]), B[h + l])
    evaluate(ev, B)
    for i in range(n):
        for l in range(_L):
            t_later = B[t + l] + min(_DIFFERENCE * max(abs(B[t + l]), B[h + l]), B[h + l])
            delta = max(t_later - B[t + l], 1e-300)
            B[dT + i * _L + l] = (B[F + i * _L + l] - B[f0 + i * _L + l]) / delta


@njit(**INLINED)
def factor(B, n, J, A, h, gamma):
    """LU factors of ``I/(h gamma) - J`` in each lane; the diagonal is kept inverted."""
    for i in range(n):
        for j in range(n):
            for l in range(_L):
                B[A + (i * n + j) * _L + l] = -B[J + (i * n + j) * _L + l]
        for l in range(_L):
            B[A + (i * n + i) * _L + l] += 1.0 / (gamma * max(B[h + l], 1e-300))
    for k in range(n):
        for l in range(_L):
            B[A + (k * n + k) * _L + l] = 1.0 / B[A + (k * n + k) * _L + l]
        for i in range(k + 1, n):
            for l in range(_L):
                B[A + (i * n + k) * _L + l] *= B[A + (k * n + k) * _L + l]
            for j in range(k + 1, n):
                for l in range(_L):
                    B[A + (i * n + j) * _L + l] -= B[A + (i * n + k) * _L + l] * B[A + (k * n + j) * _L + l]


@njit(**INLINED)
def substitute(B, n, A, x):
    """Solve with the factors, in place."""
    for i in range(n):
        for j in range(i):
            for l in range(_L):
                B[x + i * _L + l] -= B[A + (i * n + j) * _L + l] * B[x + j * _L + l]
    for r in range(n):
        i = n - 1 - r
        for j in range(i + 1, n):
            for l in range(_L):
                B[x + i * _L + l] -= B[A + (i * n + j) * _L + l] * B[x + j * _L + l]
        for l in range(_L):
            B[x + i * _L + l] *= B[A + (i * n + i) * _L + l]
