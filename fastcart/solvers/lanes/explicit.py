"""One step of an explicit Runge-Kutta method for all lanes, each with its own time and step.

The code of a step is generated for a method and a number of states; the right-hand side, the costly part, is
called through its address and so compiled once per model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from fastcart.math import fast_power
from fastcart.solvers.compile import FAST, INNER, cached, from_source
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.evaluate import LANES
from fastcart.solvers.lanes.layout import Offsets, offsets
from fastcart.solvers.lanes.pointer import STEP_SIGNATURE, evaluate
from fastcart.solvers.lanes.sums import error_sums, stage_input
from fastcart.solvers.tableaus.base import ExplicitTableau

INLINED: dict[str, Any] = {**INNER, "forceinline": True}

SAFETY = 0.85
SHRINK = 0.2
GROW = 8.0
SETTLED = 64.0  # steps after which the step says how many more are needed

_L = LANES


@njit(**INLINED)
def begin(Q, o):
    """Choose the step of each lane so that stops are hit exactly and no sliver is left before them."""
    for l in range(_L):
        rest = Q[o + q.STOP * _L + l] - Q[o + q.T * _L + l]
        h = Q[o + q.H * _L + l]
        hit = h >= rest * 0.9999999999
        half = 0.5 * rest
        h = rest if hit else (half if h > half else h)
        Q[o + q.H_USED * _L + l] = h
        Q[o + q.HIT * _L + l] = 1.0 if hit else 0.0


def step_function(tableau: ExplicitTableau, n: int, m: int) -> Any:
    """Compile one step of a method for models of ``n`` states and ``m`` parameters.

    The tableau's numbers and all offsets into the buffer are constants of the code.

    Returns
    -------
    numba cfunc
        ``f(ev, buffer, burden)``: address of the right-hand side; the buffer of `layout.offsets`; the
        state whose course is watched, -1 for none.
    """
    at = offsets(n, m, len(tableau.c) + tableau.extra_stages)
    names = {"carray": carray, "begin": begin, "accept": accept, "combine": combine, "evaluate": evaluate}
    function = from_source(_source(tableau, n, m, at), "explicit_step", names | _sums(tableau, n, m, at))
    return cached(function, f"{tableau.name} for {n} states", signature=STEP_SIGNATURE, **FAST)


def _sums(tableau: ExplicitTableau, n: int, m: int, at: Offsets) -> dict[str, Any]:
    """Return what a step calls: the sum before each evaluation, and that of the error."""
    L, size, stages = LANES, n * LANES, len(tableau.c)
    places = [at.K + s * size for s in range(stages)]
    evaluated, h = at.W + (2 * n + 1 + m) * L, at.Q + q.H_USED * L
    functions = {}
    for s in range(1, stages):
        functions[f"input_{s}"] = stage_input(
            tableau.A[s, :s].tolist(), places[:s], size=size, start=at.U, time=at.Q + q.T * L, step=h,
            out=at.W, node=float(tableau.c[s]),
            fresh=(evaluated, places[s - 1]) if s > 1 else None,
            same=(at.Q + q.ACCEPTED * L, places[-1], places[0]) if s == 1 else None,
        )  # fmt: skip
    estimates = [(q.ERROR, tableau.error)]
    if tableau.error_low is not None:
        estimates.append((q.SECOND, tableau.error_low))
    functions["errors"] = error_sums(
        [weights.tolist() for _, weights in estimates], places, states=n, old=at.U, new=at.W,
        tolerance=at.tolerance, step=h, out=[at.Q + row * L for row, _ in estimates],
        fresh=(evaluated, places[-1]),
    )  # fmt: skip
    return functions


def weighted_sum(weights: np.ndarray, stage: int, size: int) -> str:
    """Return code for a sum over the stages from offset ``stage`` on, of state ``b // LANES``."""
    terms = [f"({w!r}) * B[{stage + j * size} + b + l]" for j, w in enumerate(weights.tolist()) if w != 0.0]
    return " + ".join(terms) or "0.0"


def _source(tableau: ExplicitTableau, n: int, m: int, at: Offsets) -> str:
    lines = step_header("explicit_step", at).splitlines()
    for s in range(1, len(tableau.c)):
        lines += [f"    input_{s}(B_)", "    evaluate(ev, B)"]
    lines.append("    errors(B_)")
    if tableau.error_low is not None:
        lines.append(f"    combine(B, {at.Q})")
    lines += step_footer(at, n, at.K + (len(tableau.c) - 1) * n * LANES).splitlines()
    return "\n".join(lines)


def step_header(name: str, at: Offsets) -> str:
    """Return the first lines of a step function."""
    return f"""\
def {name}(ev, B_, burden):
    B = carray(B_, ({at.total},))
    n = int(B[{at.limits + 4}])  # not a constant, so that the loops over states are not unrolled
    begin(B, {at.Q})"""


def step_footer(at: Offsets, n: int, last: int) -> str:
    """Return the last lines: slopes and heights of the burden, the decision, the new states.

    ``last`` is where the slopes at the new point are.
    """
    L, Q, U, V, W, K = LANES, at.Q, at.U, at.U_old, at.W, at.K
    return f"""\
    if burden >= 0:
        b = burden * {L}
        for l in range({L}):
            B[{Q + q.SLOPE_OLD * L} + l] = B[{K} + b + l]
            B[{Q + q.SLOPE_NEW * L} + l] = B[{last} + b + l]
            B[{Q + q.ABOVE_OLD * L} + l] = B[{U} + b + l] - B[{Q + q.LEVEL * L} + l]
            B[{Q + q.ABOVE_NEW * L} + l] = B[{W} + b + l] - B[{Q + q.LEVEL * L} + l]
    accept(B, {Q}, n, B[{at.control}], B[{at.control + 1}], B[{at.limits}], B[{at.limits + 1}],
           B[{at.limits + 2}], B[{at.limits + 3}])
    for i in range(n):
        b = i * {L}
        for l in range({L}):
            u = B[{U} + b + l]
            B[{V} + b + l] = u
            B[{U} + b + l] = B[{W} + b + l] if B[{Q + q.ACCEPTED * L} + l] == {q.ACCEPTED_STEP!r} else u"""


@njit(**INLINED)
def combine(Q, o):
    """Combine two error estimates; Hairer, Norsett & Wanner II.10, eq. (10.17)."""
    for l in range(_L):
        e5 = Q[o + q.ERROR * _L + l]
        total = e5 + 0.01 * Q[o + q.SECOND * _L + l]
        Q[o + q.ERROR * _L + l] = e5 * e5 / total if total > 0.0 else e5


@njit(**INLINED)
def accept(Q, o, n, alpha, beta, budget, smallest, horizon, ahead):
    """Accept or reject, choose the next step by a PI controller, and flag lanes that need attention."""
    for l in range(_L):
        e = Q[o + q.ERROR * _L + l] / n
        good = e <= 1.0
        bounded = min(max(e, 1e-12), 1e12) if e == e else 1e12
        # exponents act on the square of the error norm
        factor = SAFETY * fast_power(bounded, -alpha) * fast_power(Q[o + q.ERROR_OLD * _L + l], beta)
        factor = min(max(factor, SHRINK), GROW)
        # no growth right after a rejection
        factor = min(factor, 1.0) if Q[o + q.ACCEPTED * _L + l] == q.REJECTED_STEP else factor
        factor = factor if good else min(factor, 0.9)
        h = Q[o + q.H_USED * _L + l]
        t = Q[o + q.T * _L + l]
        hit = Q[o + q.HIT * _L + l] > 0.5
        t_new = (Q[o + q.STOP * _L + l] if hit else t + h) if good else t
        Q[o + q.T_OLD * _L + l] = t
        Q[o + q.T * _L + l] = t_new
        Q[o + q.H * _L + l] = h * factor
        Q[o + q.ERROR_OLD * _L + l] = max(bounded, 1e-8) if good else Q[o + q.ERROR_OLD * _L + l]
        Q[o + q.ACCEPTED * _L + l] = 1.0 if good else 0.0
        steps = Q[o + q.STEPS * _L + l] + (1.0 if good else 0.0)
        rejected = Q[o + q.REJECTED * _L + l] + (0.0 if good else 1.0)
        Q[o + q.STEPS * _L + l] = steps
        Q[o + q.REJECTED * _L + l] = rejected
        g0, g1 = Q[o + q.ABOVE_OLD * _L + l], Q[o + q.ABOVE_NEW * _L + l]
        s0, s1 = Q[o + q.SLOPE_OLD * _L + l], Q[o + q.SLOPE_NEW * _L + l]
        # how far the burden can go beyond its ends inside the step
        reach = h * (abs(s0) + abs(s1))
        lowest = max(0.0, Q[o + q.LOWEST * _L + l] - Q[o + q.LEVEL * _L + l])
        dips = s0 < 0.0 and s1 > 0.0 and min(g0, g1) - reach < lowest
        peaks = s0 > 0.0 and s1 < 0.0 and g0 <= 0.0 and g1 <= 0.0 and max(g0, g1) + reach > 0.0
        crosses = g0 <= 0.0 and g1 > 0.0
        flag = 1.0 if hit else 0.0
        flag += 2.0 if dips or peaks or crosses else 0.0
        flag += 4.0 if Q[o + q.NEXT_SAVE * _L + l] <= t_new else 0.0
        flag = flag if good else 0.0
        since = Q[o + q.SINCE * _L + l] + 1.0
        Q[o + q.SINCE * _L + l] = since
        hopeless = since > SETTLED and not hit and horizon - t_new > ahead * h
        trouble = steps + rejected >= budget or hopeless or (h < smallest and not good)
        flag += 8.0 if trouble and t_new < horizon else 0.0
        Q[o + q.FLAG * _L + l] = flag
