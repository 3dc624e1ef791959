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
from fastcart.solvers.compile import FAST, INLINED, cached, from_source
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.bernstein import slope_weights
from fastcart.solvers.lanes.intrinsics import STEP_SIGNATURE, evaluate
from fastcart.solvers.lanes.layout import LANES, Offsets, offsets
from fastcart.solvers.lanes.stage_sums import error_sums, stage_input
from fastcart.solvers.lanes.step_bounds import step_bounds
from fastcart.solvers.tableaus.base import ExplicitTableau, RosenbrockTableau
from fastcart.solvers.tableaus.confirm import confirming_weights

SAFETY = 0.85
SHRINK = 0.2
GROW = 8.0
HELD = 0.4  # place in the step where an interpolant is held against the right-hand side
HELD_WEIGHT = 0.3
CAUTIOUS = 2.0  # growth where the estimate of the error is nothing but rounding
RESOLVED = 4e-15  # of the time: shorter steps are lost in rounding
MATTERS = 1e-6  # of the error allowed, squared: what limits a step
_LEAST_OLD = math.log2(1e-8)  # error of the step before, at least
CORNER = 100.0  # times the shortest step
BELOW_ZERO = 1e4  # error, in tolerances squared, of a step that takes what counts something below zero
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

    The tableau's numbers and all offsets into the buffer are constants of the code.

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
    at = offsets(n, m, len(tableau.c) + tableau.extra_stages)
    names = {"carray": carray, "begin": begin, "accept": accept, "combine": combine, "evaluate": evaluate}
    names |= _sums(tableau, n, m, at, integrals) | bounds_functions(tableau, at, n, integrals)
    function = from_source(_source(tableau, n, m, at, integrals, nonnegative), "explicit_step", names)
    return cached(function, f"{tableau.name} for {n} states", signature=STEP_SIGNATURE, **FAST)


def bounds_functions(
    tableau: ExplicitTableau | RosenbrockTableau, at: Offsets, n: int, integrals: int
) -> dict[str, Any]:
    """Return the functions that bound states and integrands on a step."""
    weights = slope_weights(tableau)
    by_time = isinstance(tableau, ExplicitTableau)
    if not by_time:  # the blocks before and behind the stages are derivatives
        none = np.zeros((len(weights), 1))
        weights = np.hstack([none, weights, none])
    common = {"size": n * LANES, "by_time": by_time}
    functions = {"bound_state": step_bounds(weights, at, of_integrand=False, **common)}
    if integrals:
        functions["bound_integrand"] = step_bounds(weights, at, of_integrand=True, **common)
    return functions


def _sums(tableau: ExplicitTableau, n: int, m: int, at: Offsets, integrals: int) -> dict[str, Any]:
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


def weighted_sum(weights: np.ndarray, stage: int, size: int) -> str:
    """Return code for a sum over the stages from offset ``stage`` on, of state ``b // LANES``."""
    terms = [f"({w!r}) * B[{stage + j * size} + b + l]" for j, w in enumerate(weights.tolist()) if w != 0.0]
    return " + ".join(terms) or "0.0"


def _source(
    tableau: ExplicitTableau, n: int, m: int, at: Offsets, integrals: int, nonnegative: tuple[int, ...]
) -> str:
    lines = step_header("explicit_step", at).splitlines()
    for s in range(1, len(tableau.c)):
        lines += [f"    input_{s}(B_)", "    evaluate(ev, B)"]
    lines.append("    errors(B_)")
    if tableau.error_low is not None:
        lines.append(f"    combine(B, {at.Q})")
    if tableau.held:
        lines += _held_lines(tableau, n, m, at, integrals)
    lines += step_footer(at, n, integrals, nonnegative).splitlines()
    return "\n".join(lines)


def _held_lines(tableau: ExplicitTableau, n: int, m: int, at: Offsets, integrals: int) -> list[str]:
    """Return lines that hold the interpolant against the right-hand side inside the step.

    Its error is far from that at the end of the step where stability limits the steps, and wherever the
    method is better than its interpolant. How far its slope is off tells how far it is itself, to a factor of
    about 3.
    """
    L, size, f = LANES, n * LANES, at.W + (2 * n + 1 + m) * LANES
    stages, extra = len(tableau.c), tableau.extra_stages
    slope = tableau.dense @ (
        np.arange(1, tableau.dense.shape[1] + 1) * HELD ** np.arange(tableau.dense.shape[1])
    )
    lines = [f"    for k in range({size}):", f"        B[{at.U_old} + k] = B[{at.W} + k]"]
    for x in range(extra):
        lines += [f"    extra_{x}(B_)", "    evaluate(ev, B)", f"    for k in range({size}):"]
        lines.append(f"        B[{at.K + (stages + x) * size} + k] = B[{f} + k]")
    lines += [
        "    inside(B_)",
        "    evaluate(ev, B)",
        f"    for l in range({L}):",
        f"        B[{at.Q + q.SECOND * L} + l] = 0.0",
        f"    for i in range({n - integrals}):",
        f"        b = i * {L}",
        f"        absolute, relative = B[{at.tolerance} + i], B[{at.tolerance + n} + i]",
        f"        for l in range({L}):",
        f"            scale = absolute + relative * max(abs(B[{at.U} + b + l]), abs(B[{at.U_old} + b + l]))",
        f"            e = B[{f} + b + l] - ({weighted_sum(slope, at.K, size)})",
        f"            e *= {HELD_WEIGHT!r} * B[{at.Q + q.H_USED * L} + l] / scale",
        f"            B[{at.Q + q.SECOND * L} + l] += e * e",
        f"    for l in range({L}):",
        f"        e, second = B[{at.Q + q.ERROR * L} + l], B[{at.Q + q.SECOND * L} + l]",
        f"        B[{at.Q + q.ERROR * L} + l] = (second if second > e else e) + 0.0 * second",
        f"    for k in range({size}):",
        f"        B[{at.W} + k] = B[{at.U_old} + k]",
    ]
    return lines


def step_header(name: str, at: Offsets) -> str:
    """Return the first lines of a step function."""
    return f"""\
def {name}(ev, B_, burden):
    B = carray(B_, ({at.total},))
    n = int(B[{at.limits + q.STATES}])  # not a constant, so that the loops over states are not unrolled
    begin(B, {at.Q}, B[{at.limits + q.MAX_STEP}])"""


def step_footer(at: Offsets, n: int, integrals: int, nonnegative: tuple[int, ...]) -> str:
    """Return the last lines: bounds, the decision, the new states."""
    L, Q, U, V, W, O = LANES, at.Q, at.U, at.U_old, at.W, at.bounds
    lines = []
    for i in nonnegative:
        absolute, relative = f"B[{at.tolerance + i}]", f"B[{at.tolerance + n + i}]"
        u, w = f"B[{U + i * L} + l]", f"B[{W + i * L} + l]"
        lines += [
            f"    for l in range({L}):",
            f"        below = {w} < -({absolute} + {relative} * max(abs({u}), abs({w})))",
            f"        e, large = B[{Q + q.ERROR * L} + l], {BELOW_ZERO * n!r}",
            f"        B[{Q + q.ERROR * L} + l] = large if below and e < large else e",
        ]
    lines += [
        f"    for w in range(int(B[{at.bounded}])):",
        f"        i = int(B[{at.bounded + 1} + w])",
    ]
    of, place = f"i * {L}", f"{O} + 3 * {L} * w"
    bound = f"bound_state(B_, {of}, {place})"
    if integrals:
        lines += [
            f"        if i < {n - integrals}:",
            f"            {bound}",
            "        else:",
            f"            bound_integrand(B_, {of}, {place})",
        ]
    else:
        lines.append(f"        {bound}")
    lines += [
        "    if burden >= 0:",
        f"        b = burden * {L}",
        f"        for l in range({L}):",
        f"            B[{Q + q.ABOVE_OLD * L} + l] = B[{U} + b + l] - B[{Q + q.LEVEL * L} + l]",
        f"            B[{Q + q.ABOVE_NEW * L} + l] = B[{W} + b + l] - B[{Q + q.LEVEL * L} + l]",
        f"    accept(B, {Q}, B[{at.control}], B[{at.control + 1}], {at.limits}, {O}, "
        f"{n - integrals}, {integrals > 0}, burden)",
        "    for i in range(n):",
        f"        b = i * {L}",
        f"        for l in range({L}):",
        f"            u = B[{U} + b + l]",
        f"            B[{V} + b + l] = u",
        f"            B[{U} + b + l] = "
        f"B[{W} + b + l] if B[{Q + q.ACCEPTED * L} + l] == {q.ACCEPTED_STEP!r} else u",
    ]
    return "\n".join(lines)


@njit(**INLINED)
def combine(Q, o):
    """Combine two error estimates; Hairer, Norsett & Wanner II.10, eq. (10.17)."""
    for l in range(_L):
        e5 = Q[o + q.ERROR * _L + l]
        total = e5 + 0.01 * Q[o + q.SECOND * _L + l]
        Q[o + q.ERROR * _L + l] = e5 * e5 / total if total > 0.0 else e5


@njit(**INLINED)
def accept(Q, o, alpha, beta, limits, bounds, n, integrates, burden):
    """Accept or reject, choose the next step by a PI controller, and flag lanes that need attention.

    Parameters
    ----------
    Q : ndarray
        The step's buffer.
    o, limits, bounds : int
        Where the per-lane numbers, the limits and the bounds of the burden begin in it.
    alpha, beta : float
        Exponents of the controller.
    n : int
        States whose errors were added up.
    integrates : bool
        Whether there are integrals too.
    burden : int
    """
    budget, horizon, ahead = Q[limits + q.BUDGET], Q[limits + q.HORIZON], Q[limits + q.AHEAD]
    floor, collapsed = Q[limits + q.SMALLEST], Q[limits + q.COLLAPSED]
    for l in range(_L):
        e = Q[o + q.ERROR * _L + l] / n
        good = e <= 1.0
        h = Q[o + q.H_USED * _L + l]
        t = Q[o + q.T * _L + l]
        shortest = RESOLVED * abs(t) + floor
        # an integrand that sets in with a corner: its first rise is never known to a relative tolerance, and
        # as short a step as there is leaves nothing of that
        corner = False
        if integrates:
            corner = not good and h < CORNER * shortest and Q[o + q.OWN_ERROR * _L + l] <= n
            good = good or corner
        bounded = min(max(e, 1e-12), 1e12) if e == e else 1e12
        # exponents act on the square of the error norm
        size, old = fast_log2(bounded), Q[o + q.ERROR_OLD * _L + l]
        factor = SAFETY * fast_exp2(beta * old - alpha * size)
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
        hopeless = told and not hit and (horizon - t_new) * SETTLED > ahead * (t_new - mark)
        if integrates:
            hopeless = hopeless and Q[o + q.OWN_ERROR * _L + l] > MATTERS * n
        Q[o + q.SINCE * _L + l] = 0.0 if told else since
        Q[o + q.MARK * _L + l] = t_new if told else mark
        trouble = steps + rejected >= budget or hopeless or (h < shortest and not good)
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
