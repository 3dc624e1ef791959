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

from fastcart.solvers.compile import FAST, INLINED, cached, from_source
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.intrinsics import STEP_SIGNATURE, evaluate
from fastcart.solvers.lanes.layout import LANES, offsets
from fastcart.solvers.lanes.stage_sums import SO_FAR
from fastcart.solvers.lanes.step_explicit import (
    accept,
    begin,
    bounds_functions,
    step_footer,
    step_header,
    weighted_sum,
)
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
    function = from_source(
        _source(tableau, n, m, integrals, nonnegative),
        "rosenbrock_step",
        {
            "carray": carray, "begin": begin, "accept": accept, "evaluate": evaluate,
            "jacobian": jacobian, "factor": factor, "substitute": substitute,
            **bounds_functions(tableau, at, n, integrals),
        },
    )  # fmt: skip
    return cached(function, f"{tableau.name} for {n} states", signature=STEP_SIGNATURE, **FAST)


def _source(tableau: RosenbrockTableau, n: int, m: int, integrals: int, nonnegative: tuple[int, ...]) -> str:
    L, size, stages = LANES, n * LANES, len(tableau.c)
    at = offsets(n, m, stage_rows(tableau))
    W, Q, U, K = at.W, at.Q, at.U, at.K
    F, h, t = W + (2 * n + 1 + m) * L, Q + q.H_USED * L, Q + q.T * L
    first, last = K + size, K + (stages + 1) * size  # stages come after the derivative at the start
    J = at.total
    A = J + n * n * L
    dT = A + n * n * L
    header = step_header("rosenbrock_step", at).replace(f"({at.total},)", f"({at.total + work_size(n)},)")
    lines = [
        *header.splitlines(),
        "    for i in range(n):",
        f"        b = i * {L}",
        f"        for l in range({L}):",
        f"            fresh = B[{Q + q.ACCEPTED * L} + l] != {q.ACCEPTED_STEP!r}",
        f"            B[{K} + b + l] = B[{K} + b + l] if fresh else B[{last} + b + l]",
        f"    jacobian(ev, B, n, {n - integrals}, {U}, {W}, {n * L}, {t}, {h}, {F}, {K}, {J}, {dT}, "
        f"{at.tolerance})",
        f"    factor(B, n, {J}, {A}, {h}, {tableau.gamma!r})",
    ]
    for s in range(stages):
        stage = first + s * size
        lines += [
            "    for i in range(n):",
            f"        b = i * {L}",
            f"        for l in range({L}):",
            f"            B[{W} + b + l] = B[{U} + b + l] + ({weighted_sum(tableau.A[s], first, size)})",
            f"    for l in range({L}):",
            f"        B[{W + n * L} + l] = B[{t} + l] + {float(tableau.c[s])!r} * B[{h} + l]",
            "    evaluate(ev, B)",
            "    for i in range(n):",
            f"        b = i * {L}",
            f"        for l in range({L}):",
            f"            B[{stage} + b + l] = (B[{F} + b + l]",
            f"                + ({weighted_sum(tableau.C[s], first, size)}) / max(B[{h} + l], 1e-300)",
            f"                + {float(tableau.d[s])!r} * B[{h} + l] * B[{dT} + b + l])",
            f"    substitute(B, n, {A}, {stage})",
        ]
    # the interpolant in the middle of the step: how far it is from what the right-hand side wants there
    middle = tableau.dense @ 0.5 ** np.arange(1, tableau.dense.shape[1] + 1)
    slope = tableau.dense @ (
        np.arange(1, tableau.dense.shape[1] + 1) * 0.5 ** np.arange(tableau.dense.shape[1])
    )
    lines += [
        "    for i in range(n):",
        f"        b = i * {L}",
        f"        for l in range({L}):",
        f"            B[{W} + b + l] = B[{U} + b + l] + ({weighted_sum(middle, first, size)})",
        f"    for l in range({L}):",
        f"        B[{W + n * L} + l] = B[{t} + l] + 0.5 * B[{h} + l]",
        f"        B[{Q + q.ERROR * L} + l] = 0.0",
        "    evaluate(ev, B)",
        "    for i in range(n):",
        f"        b = i * {L}",
        f"        for l in range({L}):",
        f"            B[{last} + b + l] = B[{F} + b + l] - ({weighted_sum(slope, first, size)})"
        f" / max(B[{h} + l], 1e-300)",
        f"    substitute(B, n, {A}, {last})",
        f"    for i in range({n - integrals}):",
        f"        b = i * {L}",
        f"        absolute = B[{at.tolerance} + i]",
        f"        relative = B[{at.tolerance + n} + i]",
        f"        for l in range({L}):",
        f"            e = B[{last} + b + l]",
        f"            e /= absolute + relative * max(abs(B[{U} + b + l]), abs(B[{W} + b + l]))",
        f"            B[{Q + q.ERROR * L} + l] += e * e",
    ]
    lines += [
        "    for i in range(n):",
        f"        b = i * {L}",
        f"        for l in range({L}):",
        f"            B[{W} + b + l] = B[{U} + b + l] + ({weighted_sum(tableau.b, first, size)})",
        f"    for l in range({L}):",
        f"        B[{W + n * L} + l] = B[{t} + l] + B[{h} + l]",
        "    evaluate(ev, B)",
        f"    for k in range({size}):",
        f"        B[{last} + k] = B[{F} + k]",
        f"    for i in range({n - integrals}):",
        f"        b = i * {L}",
        f"        absolute = B[{at.tolerance} + i]",
        f"        relative = B[{at.tolerance + n} + i]",
        f"        for l in range({L}):",
        f"            scale = absolute + relative * max(abs(B[{U} + b + l]), abs(B[{W} + b + l]))",
        f"            e = ({weighted_sum(tableau.error, first, size)}) / scale",
        f"            B[{Q + q.ERROR * L} + l] += e * e",
    ]
    if integrals:
        lines += [
            f"    for l in range({L}):",
            f"        B[{Q + q.OWN_ERROR * L} + l] = B[{Q + q.ERROR * L} + l]",
            f"    for i in range({n - integrals}, {n}):",
            f"        b = i * {L}",
            f"        absolute = B[{at.tolerance} + i]",
            f"        relative = B[{at.tolerance + n} + i]",
            f"        for l in range({L}):",
            f"            before, after = B[{U} + b + l], B[{W} + b + l]",
            f"            size = abs(after - before) + {SO_FAR!r} * max(abs(before), abs(after))",
            f"            e = ({weighted_sum(tableau.error, first, size)}) / (absolute + relative * size)",
            f"            alone = {n - integrals} * e * e",
            f"            total = B[{Q + q.ERROR * L} + l]",
            f"            B[{Q + q.ERROR * L} + l] = (alone if alone > total else total) + 0.0 * alone",
        ]
    lines += step_footer(at, n, integrals, nonnegative).splitlines()
    return "\n".join(lines)


@njit(**INLINED)
def jacobian(ev, B, n, own, U, W, time, t, h, F, f0, J, dT, tolerance):
    """Forward differences of the right-hand side by time and by each state but the integrals."""
    for j in range(own):
        typical = B[tolerance + j] / B[tolerance + n + j]
        for i in range(n):
            for l in range(_L):
                B[W + i * _L + l] = B[U + i * _L + l]
        for l in range(_L):
            B[W + time + l] = B[t + l]
            u = B[U + j * _L + l]
            B[W + j * _L + l] = u + _DIFFERENCE * max(abs(u), typical)
        evaluate(ev, B)
        for i in range(n):
            for l in range(_L):
                u = B[U + j * _L + l]
                # the difference that was really taken, after rounding
                delta = (u + _DIFFERENCE * max(abs(u), typical)) - u
                B[J + (i * n + j) * _L + l] = (B[F + i * _L + l] - B[f0 + i * _L + l]) / delta
    for i in range(n):
        for l in range(_L):
            B[W + i * _L + l] = B[U + i * _L + l]
    for l in range(_L):
        # never beyond the step: there the right-hand side may be another
        B[W + time + l] = B[t + l] + min(_DIFFERENCE * max(abs(B[t + l]), B[h + l]), B[h + l])
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
