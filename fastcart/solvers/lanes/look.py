"""Tell, for all lanes at once, which steps need a close look: peaks, events, states that may die out.

A step is quiet where no quantity crosses a threshold between its ends, and none turns near something that is
looked for, by the outlines that the step made. Quiet steps, nearly all, are done with here.
"""

from __future__ import annotations

from typing import Any

from numba import carray, njit, types

import fastcart.math as vector_math
from fastcart.solvers.compile import FAST, INNER, cached, from_source, made_once, rebuild
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.layout import LANES
from fastcart.solvers.lanes.outline import HIGH, LOW, TURNS
from fastcart.solvers.lanes.rhs import SUBSTITUTES
from fastcart.solvers.named import named_call, naming
from fastcart.solvers.system import System
from fastcart.solvers.transform import LOG_FLOOR, LOG_ZERO

_L = LANES
_SIGNATURE = types.void(types.CPointer(types.float64))

PEAK, UP, DOWN, BOTH, DIES = range(5)  # kinds of items
QUIET, LATER, AT_ONCE = 0.0, 1.0, 2.0  # what a step needs: nothing, a close look, one before the lane goes on

# columns of the table of items: which quantity, kind, does it end the course; the parameter that is the
# threshold or -1, the threshold if it is a number; time from which an event counts, item behind whose first
# time it counts or -1; is the quantity integrated in logarithm
QUANTITY, KIND, TERMINAL, BY_PARAMETER, THRESHOLD, AFTER_TIME, AFTER_ITEM, IN_LOG = range(8)
# columns of the table of quantities: the state whose outline it has (an integral's is that of its integrand;
# -1 for a sum of states that die out together), the state that it is or -1, the group that it sums or -1
OUTLINED, DIRECT, GROUP = range(3)
# rows of an item in a lane's numbers
LEVEL, BEST, WHEN, SIDE = range(4)


def natural_states(n: int, log: tuple[bool, ...], u: str, y: str) -> list[str]:
    """Return lines that turn the integrated variables ``u0, u1, ...`` into states ``y0, y1, ...``."""
    lines = []
    for i in range(n):
        value = f"exp(max({u}{i}, {LOG_FLOOR!r})) if {u}{i} != {LOG_ZERO!r} else 0.0" if log[i] else f"{u}{i}"
        lines.append(f"        {y}{i} = {value}")
    return lines


def one_function(model: System, log: tuple[bool, ...], quantities: tuple[str | tuple[int, ...], ...]) -> Any:
    """Compile ``f(buffer)`` for one patient: states as integrated, time, parameters, quantities (written).

    A quantity is the name of a state or an observable, or several states of which it is the sum.
    """
    sizes = (model.state_names, model.parameter_names, model.observable_names)
    key = ("quantities", fingerprint(model.observe), *map(tuple, sizes), log, quantities)
    return made_once(key, lambda: _one_function(model, log, quantities))


def _one_function(model: System, log: tuple[bool, ...], quantities: tuple[str | tuple[int, ...], ...]) -> Any:
    n, m = len(model.states), len(model.parameters)
    scope: dict[str, Any] = {"exp": vector_math.exp_bounded, "carray": carray}
    lines = ["def quantities(w_):", f"    w = carray(w_, ({n + 1 + m + len(quantities)},))"]
    lines += ["    if True:", *(f"        u{i} = w[{i}]" for i in range(n))]
    lines += natural_states(n, log, "u", "y")
    observed = model.observable_names
    if any(of in observed for of in quantities):
        scope["observe"] = rebuild(model.observe, INNER, SUBSTITUTES)
        scope |= naming(model)
        states, parameters = [f"y{i}" for i in range(n)], [f"w[{n + 1 + k}]" for k in range(m)]
        lines.append(f"        f = {named_call('observe', f'w[{n}]', states, parameters)}")
    for k, of in enumerate(quantities):
        if isinstance(of, tuple):
            value = " + ".join(f"y{i}" for i in of)
        else:
            value = f"f[{observed.index(of)}]" if of in observed else f"y{model.state_names.index(of)}"
        lines.append(f"        w[{n + 1 + m + k}] = {value}")
    function = from_source("\n".join(lines), "quantities", scope)
    return cached(function, f"quantities of {model.name}", signature=_SIGNATURE, **FAST)


@njit(**INNER)
def of_item(which, i, row):
    """Where a row of item ``i`` begins in the lanes' numbers, behind the quantities' old and new values."""
    return (2 * which.shape[0] + 4 * i + row) * _L


@njit(**INNER)
def need_at(which, items):
    """Where it is said what each lane needs; scratch comes behind it."""
    return of_item(which, items.shape[0], 0)


@njit(**INNER)
def survey(V, which, items, slots, B, places, last, own, groups, log):  # noqa: C901  a loop for each kind
    """Fill in the quantities at the end of the step of all lanes, and what each needs; return the sum.

    Parameters
    ----------
    V : ndarray
        Numbers of the lanes: old and new values of the quantities, rows of the items, needs.
    which, items : ndarray
        Tables of quantities and items.
    slots : ndarray of int
        The how manieth outline is that of a state.
    B : ndarray
        The step's buffer, ``places`` where its parts begin; derivatives at the end of the step are at
        ``last`` among the stages.
    own : int
        States that are no integrals.
    groups : ndarray of int
        The group of each state that may die out.
    log : ndarray of bool
    """
    count = which.shape[0]
    for k in range(count):
        r = which[k, OUTLINED]
        if r >= 0:
            source = places[2] + r * _L if r < own else places[4] + last + r * _L
            for l in range(_L):
                V[(count + k) * _L + l] = B[source + l]
    need = need_at(which, items)
    for l in range(_L):
        V[need + l] = QUIET
    for i in range(items.shape[0]):
        k, kind = int(items[i, QUANTITY]), items[i, KIND]
        outlined = places[6] + 3 * slots[which[k, OUTLINED]] * _L
        low, high, turns = outlined + LOW * _L, outlined + HIGH * _L, outlined + TURNS * _L
        new, level = (count + k) * _L, of_item(which, i, LEVEL)
        best, side = of_item(which, i, BEST), of_item(which, i, SIDE)
        asks = AT_ONCE if items[i, TERMINAL] != 0.0 else LATER
        if kind == PEAK:
            for l in range(_L):
                found = B[turns + l] > 0.5 and B[high + l] > V[best + l]
                V[need + l] = max(V[need + l], LATER) if found else V[need + l]
        elif kind == DIES:
            lowest, alive = need + _L, need + 2 * _L
            lower_bound(V, lowest, alive, which, k, slots, B, places, own, groups, log)
            for l in range(_L):
                found = V[alive + l] > 0.0 and V[lowest + l] <= V[level + l]
                V[need + l] = AT_ONCE if found else V[need + l]
        else:
            up, down = kind != DOWN, kind != UP
            for l in range(_L):
                rises = up and V[new + l] > V[level + l] and V[side + l] <= 0.0
                falls = down and V[new + l] < V[level + l] and V[side + l] >= 0.0
                visits = B[turns + l] > 0.5 and B[low + l] < V[level + l] and B[high + l] > V[level + l]
                V[need + l] = max(V[need + l], asks) if rises or falls or visits else V[need + l]
    total = 0.0
    accepted = places[1] + q.ACCEPTED * _L
    for l in range(_L):
        V[need + l] = V[need + l] if B[accepted + l] == q.ACCEPTED_STEP else QUIET
        total += V[need + l]
    for k in range(count):
        for l in range(_L):
            done = B[accepted + l] == q.ACCEPTED_STEP and V[need + l] == QUIET
            V[k * _L + l] = V[(count + k) * _L + l] if done else V[k * _L + l]
    time = places[1] + q.T * _L
    for i in range(items.shape[0]):
        new = (count + int(items[i, QUANTITY])) * _L
        level, best = of_item(which, i, LEVEL), of_item(which, i, BEST)
        when, side = of_item(which, i, WHEN), of_item(which, i, SIDE)
        if items[i, KIND] == PEAK:
            for l in range(_L):
                done = B[accepted + l] == q.ACCEPTED_STEP and V[need + l] == QUIET
                more = done and V[new + l] > V[best + l]
                V[best + l] = V[new + l] if more else V[best + l]
                V[when + l] = B[time + l] if more else V[when + l]
        else:
            for l in range(_L):
                done = B[accepted + l] == q.ACCEPTED_STEP and V[need + l] == QUIET
                here = (
                    1.0 if V[new + l] > V[level + l] else (-1.0 if V[new + l] < V[level + l] else V[side + l])
                )
                V[side + l] = here if done else V[side + l]
    return total


@njit(**INNER)
def lower_bound(V, lowest, alive, which, k, slots, B, places, own, groups, log):
    """What a state or a sum that may die out cannot be below in the step, and whether there is any."""
    for l in range(_L):
        V[lowest + l] = 0.0
        V[alive + l] = 0.0
    alone = which[k, DIRECT] >= 0
    for i in range(own):
        if groups[i] == which[k, GROUP]:
            old, low = places[3] + i * _L, places[6] + (3 * slots[i] + LOW) * _L
            zero = LOG_ZERO if log[i] else 0.0
            by_log = log[i] and not alone
            for l in range(_L):
                V[alive + l] += 1.0 if B[old + l] != zero else 0.0
                value = B[low + l]
                if by_log:
                    value = vector_math.exp_bounded(max(value, LOG_FLOOR)) if B[old + l] != LOG_ZERO else 0.0
                V[lowest + l] += value


@njit(**INNER)
def step_done(l, t, V, which, items):
    """Make the end of an accepted step, not quiet, the start of the next, after it was put aside."""
    count = which.shape[0]
    for k in range(count):
        V[k * _L + l] = V[(count + k) * _L + l]
    for i in range(items.shape[0]):
        value = V[(count + int(items[i, QUANTITY])) * _L + l]
        if items[i, KIND] == PEAK:
            keep_in_lane(l, i, t, value, V, which)
        else:
            set_side(l, i, value, V, which)


@njit(**INNER)
def set_side(l, i, value, V, which):
    """Note on which side of its threshold an event's quantity is; on the threshold itself, where it was."""
    level, side = of_item(which, i, LEVEL) + l, of_item(which, i, SIDE) + l
    if value > V[level]:
        V[side] = 1.0
    elif value < V[level]:
        V[side] = -1.0


@njit(**INNER)
def keep_in_lane(l, i, t, value, V, which):
    """Record the value at the end of a step, or at a start, that may be a peak."""
    best, when = of_item(which, i, BEST) + l, of_item(which, i, WHEN) + l
    if value > V[best]:
        V[best] = value
        V[when] = t
