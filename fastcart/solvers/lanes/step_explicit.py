"""One step of an explicit Runge-Kutta method for all lanes, each with its own time and step.

The code of a step is generated for a method and a number of states; the right-hand side, the costly part, is
called through its address and so compiled once per model.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import carray, njit

from fastcart.math import fast_exp2, fast_log2
from fastcart.solvers.codegen import written
from fastcart.solvers.compile import FAST, INLINED, cached
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.bernstein import slope_weights
from fastcart.solvers.lanes.codegen import HELD, StepText, explicit_step
from fastcart.solvers.lanes.intrinsics import STEP_SIGNATURE, evaluate
from fastcart.solvers.lanes.layout import LANES, Offsets, evaluation_rows, offsets
from fastcart.solvers.lanes.stage_sums import error_sums, stage_input
from fastcart.solvers.lanes.step_bounds import step_bounds
from fastcart.solvers.tableaus.base import ExplicitTableau, RosenbrockTableau
from fastcart.solvers.tableaus.confirm import confirming_weights

SHRINK = 0.2
GROW = 8.0
CAUTIOUS = 2.0  # growth where the estimate of the error is nothing but rounding
RESOLVED = 4e-15  # of the time: shorter steps are lost in rounding
MATTERS = 1e-6  # of the error allowed, squared: what limits a step
_LEAST_OLD = math.log2(1e-8)  # error of the step before, at least
CORNER = 100.0  # times the shortest step
SETTLED = 64.0  # steps that say, by how far they came, how many more are needed

_L = LANES


@njit(**INLINED)
def begin(Q, o, longest):
    """Choose the step of each lane so that stops are hit exactly and no sliver is left before them."""
    for l in range(_L):
        rest = Q[o + q.STOP * _L + l] - Q[o + q.T * _L + l]
        h = Q[o + q.H * _L + l]
        h = longest if h > longest else h
        hit = h >= rest * 0.9999999999
        half = 0.5 * rest
        h = rest if hit else (half if h > half else h)
        Q[o + q.H_USED * _L + l] = h
        Q[o + q.HIT * _L + l] = 1.0 if hit else 0.0


def step_function(
    tableau: ExplicitTableau, n: int, m: int, integrals: int, nonnegative: tuple[int, ...]
) -> Any:
    """Compile one step of a method for models of ``n`` states and ``m`` parameters.

    The tableau's numbers and all places in the buffer are constants of the code
    (`fastcart.solvers.lanes.codegen`).

    Parameters
    ----------
    tableau : ExplicitTableau
    n, m : int
    integrals : int
        How many of the states, the last ones, are integrals that nothing depends on.
    nonnegative : tuple of int
        States that may not fall below minus their tolerance: a step that takes them there is tried again.

    Returns
    -------
    numba cfunc
        ``f(ev, buffer, burden)``: address of the right-hand side; the buffer of `layout.offsets`; the
        state whose course is watched, -1 for none.
    """
    stages = len(tableau.c) + tableau.extra_stages
    at = offsets(n, m, stages)
    names = {"carray": carray, "begin": begin, "accept": accept, "combine": combine, "evaluate": evaluate}
    names |= _sums(tableau, n, m, at, integrals) | bounds_functions(tableau, at, n, integrals)
    places = [at.K + s * n * LANES for s in range(stages)]
    text = StepText("explicit_step", at, n, m, integrals, nonnegative, stages=places)
    explicit_step(text, tableau)
    function = written(text.lines, text.constants, names)
    return cached(function, f"{tableau.name} for {n} states", signature=STEP_SIGNATURE, **FAST)


def bounds_functions(
    tableau: ExplicitTableau | RosenbrockTableau, at: Offsets, n: int, integrals: int
) -> dict[str, Any]:
    """Return the functions that bound states and integrands on a step."""
    by_time = isinstance(tableau, ExplicitTableau)

    def bounds(of_integrand: bool) -> Any:
        weights = slope_weights(tableau, of_integrand=of_integrand)
        if not by_time:  # the blocks before and behind the stages are derivatives
            none = np.zeros((len(weights), 1))
            weights = np.hstack([none, weights, none])
        return step_bounds(weights, at, size=n * LANES, by_time=by_time, of_integrand=of_integrand)

    functions = {"bound_state": bounds(False)}
    if integrals:
        functions["bound_integrand"] = bounds(True)
    return functions


def _sums(tableau: ExplicitTableau, n: int, m: int, at: Offsets, integrals: int) -> dict[str, Any]:
    """Return what a step calls: the sum before each evaluation, and that of the error."""
    L, size, stages = LANES, n * LANES, len(tableau.c)
    places = [at.K + s * size for s in range(stages)]
    evaluated, h = at.W + evaluation_rows(n, m).derivatives * L, at.Q + q.H_USED * L
    functions = {}
    for s in range(1, stages):
        functions[f"input_{s}"] = stage_input(
            tableau.A[s, :s].tolist(), places[:s], size=size, start=at.U, time=at.Q + q.T * L, step=h,
            out=at.W, node=float(tableau.c[s]),
            fresh=(evaluated, places[s - 1]) if s > 1 else None,
            same=(at.Q + q.ACCEPTED * L, places[-1], places[0]) if s == 1 else None,
        )  # fmt: skip
    if tableau.held:
        assert tableau.extra_c is not None
        assert tableau.extra_A is not None
        places += [at.K + (stages + x) * size for x in range(tableau.extra_stages)]
        inputs = [(f"extra_{x}", tableau.extra_A[x], c) for x, c in enumerate(tableau.extra_c)]
        inputs.append(("inside", tableau.dense_weights(HELD), HELD))
        for name, weights, node in inputs:
            functions[name] = stage_input(
                weights.tolist()[: len(places)], places, size=size, start=at.U, time=at.Q + q.T * L, step=h,
                out=at.W, node=float(node),
            )  # fmt: skip
    estimates = [(q.ERROR, tableau.error)]
    if tableau.error_low is not None:
        estimates.append((q.SECOND, tableau.error_low))
    functions["errors"] = error_sums(
        [weights.tolist() for _, weights in estimates], confirming_weights(tableau).tolist(), places[:stages],
        states=n, integrals=integrals, old=at.U, new=at.W, tolerance=at.tolerance, step=h,
        out=[at.Q + row * L for row, _ in estimates],
        own_out=at.Q + q.OWN_ERROR * L, fresh=(evaluated, places[stages - 1]),
    )  # fmt: skip
    return functions


@njit(**INLINED)
def combine(Q, o):
    """Combine two error estimates; Hairer, Norsett & Wanner II.10, eq. (10.17)."""
    for l in range(_L):
        e5 = Q[o + q.ERROR * _L + l]
        total = e5 + 0.01 * Q[o + q.SECOND * _L + l]
        Q[o + q.ERROR * _L + l] = e5 * e5 / total if total > 0.0 else e5


@njit(**INLINED)
def accept(Q, places, n, integrates, burden):
    """Accept or reject, choose the next step by a PI controller, and flag lanes that need attention.

    Parameters
    ----------
    Q : ndarray
        The step's buffer.
    places : tuple of int
        Where the per-lane numbers, the limits, the bounds of the burden and the numbers of the controller
        begin in it. A plain tuple, as in `fastcart.solvers.lanes.step_rosenbrock.jacobian`.
    n : int
        States whose errors were added up.
    integrates : bool
        Whether there are integrals too.
    burden : int
    """
    o, limits, bounds, control = places
    alpha, beta, safety = Q[control], Q[control + 1], Q[control + 2]
    budget, horizon, ahead = Q[limits + q.BUDGET], Q[limits + q.HORIZON], Q[limits + q.AHEAD]
    floor, collapsed = Q[limits + q.SMALLEST], Q[limits + q.COLLAPSED]
    for l in range(_L):
        e = Q[o + q.ERROR * _L + l] / n
        good = e <= 1.0
        h = Q[o + q.H_USED * _L + l]
        t = Q[o + q.T * _L + l]
        shortest = RESOLVED * abs(t) + floor
        # an integrand that sets in with a corner: its first rise is never known to a relative tolerance, and
        # as short a step as there is leaves nothing of that, but at a pole: see `rise_at_corner`
        corner = False
        if integrates:
            corner = not good and h < CORNER * shortest and Q[o + q.OWN_ERROR * _L + l] <= n
            good = good or corner
        bounded = min(max(e, 1e-12), 1e12) if e == e else 1e12
        # exponents act on the square of the error norm
        size, old = fast_log2(bounded), Q[o + q.ERROR_OLD * _L + l]
        factor = safety * fast_exp2(beta * old - alpha * size)
        # an estimate that is nothing but rounding says little: the next step might leap over a whole pulse
        most = CAUTIOUS if e < collapsed else GROW
        factor = min(max(factor, SHRINK), most)
        # no growth right after a rejection
        factor = min(factor, 1.0) if Q[o + q.ACCEPTED * _L + l] == q.REJECTED_STEP else factor
        factor = factor if good else min(factor, 0.9)
        factor = GROW if corner else factor
        hit = Q[o + q.HIT * _L + l] > 0.5
        t_new = (Q[o + q.STOP * _L + l] if hit else t + h) if good else t
        Q[o + q.T_OLD * _L + l] = t
        Q[o + q.T * _L + l] = t_new
        Q[o + q.H * _L + l] = h * factor
        Q[o + q.ERROR_OLD * _L + l] = max(size, _LEAST_OLD) if good else old
        Q[o + q.ACCEPTED * _L + l] = 1.0 if good else 0.0
        steps = Q[o + q.STEPS * _L + l] + (1.0 if good else 0.0)
        rejected = Q[o + q.REJECTED * _L + l] + (0.0 if good else 1.0)
        Q[o + q.STEPS * _L + l] = steps
        Q[o + q.REJECTED * _L + l] = rejected
        flag = 1.0 if hit else 0.0
        flag += 4.0 if Q[o + q.NEXT_SAVE * _L + l] <= t_new else 0.0
        # the last step alone would not do: it is short at a jump too, and long again behind it; nor are steps
        # meant that only an integral asks for
        since, mark = Q[o + q.SINCE * _L + l] + 1.0, Q[o + q.MARK * _L + l]
        told = since >= SETTLED
        progress = t_new - mark
        hopeless = (horizon - t_new) * SETTLED > ahead * progress or progress < shortest
        hopeless = told and not hit and hopeless
        if integrates:
            hopeless = hopeless and Q[o + q.OWN_ERROR * _L + l] > MATTERS * n
        Q[o + q.SINCE * _L + l] = 0.0 if told else since
        Q[o + q.MARK * _L + l] = t_new if told else mark
        trouble = steps + rejected >= budget or hopeless or (h < shortest and not good)
        flag += float(q.CORNER) if corner else 0.0
        flag = flag if good else 0.0
        flag += 8.0 if trouble and t_new < horizon else 0.0
        Q[o + q.FLAG * _L + l] = flag
    if burden >= 0:
        for l in range(_L):
            g0, g1 = Q[o + q.ABOVE_OLD * _L + l], Q[o + q.ABOVE_NEW * _L + l]
            level = Q[o + q.LEVEL * _L + l]
            low, high = Q[bounds + l] - level, Q[bounds + _L + l] - level
            turns = Q[bounds + 2 * _L + l]
            # 1 and 0 instead of and and or, which the compiler would make branches of
            dips = 1.0 if low < 0.0 else 0.0
            visits = (1.0 if low <= 0.0 else 0.0) * (1.0 if high > 0.0 else 0.0)
            crosses = (1.0 if g0 <= 0.0 else 0.0) * (1.0 if g1 > 0.0 else 0.0)
            matters = max(turns * max(dips, visits), crosses) * Q[o + q.ACCEPTED * _L + l]
            Q[o + q.FLAG * _L + l] += 2.0 * matters
