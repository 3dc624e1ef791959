"""Peaks and events: states and observables that are watched inside the loop, located on the interpolant.

At both ends of each step the quantities and their slopes are known, from one vectorised function. Where these
allow a crossing or a turning point that matters, the step is looked at closely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import carray, njit, types

import fastcart.math as vector_math
from fastcart.model import Model
from fastcart.solvers.compile import FAST, INNER, cached, from_source, rebuild
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.evaluate import SUBSTITUTES
from fastcart.solvers.lanes.interpolate import rise
from fastcart.solvers.lanes.layout import LANES
from fastcart.solvers.lanes.pointer import evaluate
from fastcart.solvers.problem import Problem
from fastcart.solvers.transform import LOG_FLOOR, LOG_ZERO

_L = LANES

PEAK, UP, DOWN, BOTH = range(4)  # kinds of items
_KINDS = {"up": UP, "down": DOWN, "both": BOTH}
OLD, NEW, SLOPE_OLD, SLOPE_NEW = range(4)  # what is known of a quantity at the ends of a step
_REACH = 1e-4  # of a step, for differences in place of derivatives


def quantity_function(model: Model, log: tuple[bool, ...], names: tuple[str, ...], lanes: int = LANES) -> Any:
    """Compile ``f(buffer)``: rows of states as integrated, time, parameters, and the quantities (written)."""
    n, m = len(model.states), len(model.parameters)
    lines = [
        "def quantities(w_):",
        f"    w = carray(w_, ({(n + 1 + m + len(names)) * lanes},))",
        f"    for l in range({lanes}):",
        f"        t = w[{n * lanes} + l]",
    ]
    for i in range(n):
        lines.append(f"        u{i} = w[{i * lanes} + l]")
        if log[i]:
            lines.append(f"        y{i} = exp(max(u{i}, {LOG_FLOOR!r})) if u{i} != {LOG_ZERO!r} else 0.0")
        else:
            lines.append(f"        y{i} = u{i}")
    observed = [name for name in names if name in model.observable_names]
    namespace: dict[str, Any] = {"exp": vector_math.exp_bounded, "carray": carray}
    if observed:
        states = "".join(f"y{i}, " for i in range(n))
        parameters = "".join(f"w[{(n + 1 + k) * lanes} + l], " for k in range(m))
        lines.append(f"        f = observe(t, ({states}), ({parameters}))")
        namespace["observe"] = rebuild(model.observe, FAST, SUBSTITUTES)
    for k, name in enumerate(names):
        if name in observed:
            value = f"f[{model.observable_names.index(name)}]"
        else:
            value = f"y{model.state_names.index(name)}"
        lines.append(f"        w[{(n + 1 + m + k) * lanes} + l] = {value}")
    function = from_source("\n".join(lines), "quantities", namespace)
    signature = types.void(types.CPointer(types.float64))
    return cached(function, f"peaks and events of {model.name}", signature=signature, **FAST)


@dataclass(frozen=True)
class Look:
    """What the loop needs to know of peaks and events; see `looks`."""

    of: np.ndarray  # per item: which quantity, kind, is it terminal, parameter that is the threshold or -1,
    kind: np.ndarray  # and the threshold if it is a number
    terminal: np.ndarray
    parameter: np.ndarray
    level: np.ndarray
    after: np.ndarray  # an event counts behind this time, and behind the first time of this item or -1
    behind: np.ndarray
    all_lanes: Any
    one_lane: Any
    sizes: tuple[int, int, int]  # quantities, states, parameters

    def arrays(self, best: np.ndarray, when: np.ndarray, times: np.ndarray) -> tuple[Any, ...]:
        """Return the tuple that the loop takes, with its own buffers; the results go into the arguments."""
        count, n, m = self.sizes
        rows = n + 1 + m + count
        items = (self.of, self.kind, self.terminal, self.parameter, self.level, self.after, self.behind)
        ends = np.zeros((2, 4, count, _L))
        return (
            self.all_lanes.address, self.one_lane.address, np.zeros(rows * _L), np.zeros(rows), items,
            ends[0], ends[1], best, when, times,
        )  # fmt: skip


def looks(problem: Problem, log: tuple[bool, ...]) -> Look | None:
    """Prepare peaks and events of a problem; None where there are none."""
    model = problem.model
    if not problem.peaks and not problem.events:
        return None
    of = [*problem.peaks, *(event.of for event in problem.events)]
    names = tuple(dict.fromkeys(of))
    kinds = [PEAK] * len(problem.peaks) + [_KINDS[event.direction] for event in problem.events]
    levels = [0.0] * len(problem.peaks) + [event.threshold for event in problem.events]
    terminal = [False] * len(problem.peaks) + [event.terminal for event in problem.events]
    after = [-1.0] * len(problem.peaks) + [event.after for event in problem.events]
    items = [*problem.peaks, *(event.name for event in problem.events)]
    return Look(
        np.array([names.index(name) for name in of]), np.array(kinds), np.array(terminal),
        np.array([model.parameter_names.index(v) if isinstance(v, str) else -1 for v in levels]),
        np.array([np.nan if isinstance(v, str) else float(v) for v in levels]),
        np.array([-1.0 if isinstance(v, str) else float(v) for v in after]),
        np.array([len(items) - 1 - items[::-1].index(v) if isinstance(v, str) else -1 for v in after]),
        quantity_function(model, log, names), quantity_function(model, log, names, 1),
        (len(names), len(model.states), len(model.parameters)),
    )  # fmt: skip


@njit(**INNER)
def measure(address, V, W, Q, U, K, at, G, n, m, step_row):
    """Compute all quantities and their slopes, at the present time of all lanes, into ``NEW`` of ``G``.

    ``at`` is where the derivatives begin. The slope is a difference along them.
    """
    count = G.shape[1]
    out = (n + 1 + m) * _L
    for r in range((n + 1) * _L, out):
        V[r] = W[r]
    for part in range(2):
        for l in range(_L):
            e = 1e-5 * Q[step_row * _L + l] * part
            V[n * _L + l] = Q[q.T * _L + l] + e
            for i in range(n):
                V[i * _L + l] = U[i * _L + l] + e * K[at + i * _L + l]
        evaluate(address, V)
        for k in range(count):
            for l in range(_L):
                if part == 0:
                    G[NEW, k, l] = V[out + k * _L + l]
                else:
                    change = V[out + k * _L + l] - G[NEW, k, l]
                    G[SLOPE_NEW, k, l] = change / (1e-5 * Q[step_row * _L + l])


@njit(**INNER)
def crosses(kind, before, after, level):
    """Whether an item's quantity crosses its threshold in the item's direction."""
    up = before <= level and after > level
    down = before >= level and after < level
    return (up and kind != DOWN) or (down and kind != UP)


@njit(**INNER)
def threshold(items, i, p, j):
    """The threshold of item ``i`` for patient ``j``: a number, or one of the parameters."""
    index = items[3][i]
    return p[j, index] if index >= 0 else items[4][i]


@njit(**INNER)
def keep(best, when, j, i, value, t):
    """Record a value that may be a peak."""
    if value > best[j, i] or (value == best[j, i] and t < when[j, i]):
        best[j, i] = value
        when[j, i] = t


@njit(**INNER)
def happened(items, when, times, j, i, t):
    """Record an event, unless it only counts later."""
    behind = items[6][i]
    if t >= items[5][i] and (behind < 0 or t > when[j, behind]):
        when[j, i] = min(when[j, i], t)
        times[j, i] += 1


@njit(**INNER)
def begin_quantities(l, j, fresh, t, items, G, p, best, when, times):
    """Record what holds at the start of a patient (``fresh`` is 1), or behind a jump (2)."""
    for i in range(items[0].size):
        k = items[0][i]
        value = G[NEW, k, l]
        if items[1][i] == PEAK:
            keep(best, when, j, i, value, t)
        elif fresh == 2 and crosses(items[1][i], G[OLD, k, l], value, threshold(items, i, p, j)):
            happened(items, when, times, j, i, t)
    next_step(l, G)


@njit(**INNER)
def next_step(l, G):
    """Make the end of a step the start of the next."""
    for k in range(G.shape[1]):
        G[OLD, k, l] = G[NEW, k, l]
        G[SLOPE_OLD, k, l] = G[SLOPE_NEW, k, l]


@njit(**INNER)
def step_end(l, j, t, items, G, best, when):
    """Record the end of a step as a candidate for peaks, and make it the start of the next."""
    for i in range(items[0].size):
        if items[1][i] == PEAK:
            keep(best, when, j, i, G[NEW, items[0][i], l], t)
    next_step(l, G)


@njit(**INNER)
def notice(l, j, h, items, G, p, best):
    """Tell what the last step needs: 0 nothing, 1 a close look, 2 a close look at once (it may end here)."""
    need = 0
    for i in range(items[0].size):
        k, kind = items[0][i], items[1][i]
        g0, g1, s0, s1 = G[OLD, k, l], G[NEW, k, l], G[SLOPE_OLD, k, l], G[SLOPE_NEW, k, l]
        reach = h * (abs(s0) + abs(s1))
        if kind == PEAK:
            found = s0 > 0.0 and s1 < 0.0 and max(g0, g1) + reach > best[j, i]
        else:
            level = threshold(items, i, p, j)
            found = crosses(kind, g0, g1, level)
            found = found or (s0 > 0.0 and s1 < 0.0 and g0 <= level and max(g0, g1) + reach > level)
            found = found or (s0 < 0.0 and s1 > 0.0 and g0 >= level and min(g0, g1) - reach < level)
        if found:
            need = max(need, 2 if items[2][i] else 1)
    return need


@njit(**INNER)
def inside(theta, k, s, t, h, address, one, U_old, C, n, m, degree):
    """Quantity ``k`` at a place of the step of slot ``s``; ``one`` holds the patient's parameters."""
    for i in range(n):
        one[i] = U_old[i * _L + s] + rise(C[i], degree, theta)
    one[n] = t + theta * h
    evaluate(address, one)
    return one[n + 1 + m + k]


@njit(**INNER)
def seek(low, high, of_slope, level, k, s, t, h, address, one, U_old, C, n, m, degree):
    """Place in [low, high] where the quantity crosses ``level``, or where its slope changes sign.

    Regula falsi with the Illinois rule. The ends must have opposite signs.
    """
    f_low = f_high = 0.0
    side = 0
    reach = _REACH if of_slope else 0.0
    for step in range(62):
        if step == 0:
            theta = low
        elif step == 1:
            theta = high
        else:
            theta = low - f_low * (high - low) / (f_high - f_low) if step % 8 != 7 else 0.5 * (low + high)
            if not low < theta < high:
                theta = 0.5 * (low + high)
        f = inside(theta + reach, k, s, t, h, address, one, U_old, C, n, m, degree)
        f -= inside(theta - reach, k, s, t, h, address, one, U_old, C, n, m, degree) if of_slope else level
        if step == 0:
            f_low = f
        elif step == 1:
            f_high = f
        elif f == 0.0:
            return theta
        else:
            if (f > 0.0) == (f_high > 0.0):
                moved = high - theta
                high, f_high = theta, f
                f_low *= 0.5 if side == 1 else 1.0
                side = 1
            else:
                moved = theta - low
                low, f_low = theta, f
                f_high *= 0.5 if side == -1 else 1.0
                side = -1
            if high - low < 1e-13 or (moved < 1e-13 and step > 3):
                break
    return high


@njit(**INNER)
def crossings(i, s, j, end, t, h, items, G, p, address, one, U_old, C, n, m, degree):
    """Return the places of the crossings of an event up to ``theta = end``, at most two; 2.0 for none."""
    k, kind, level = items[0][i], items[1][i], threshold(items, i, p, j)
    turn = 2.0
    if G[SLOPE_OLD, k, s] * G[SLOPE_NEW, k, s] < 0.0:
        turn = seek(0.0, 1.0, True, 0.0, k, s, t, h, address, one, U_old, C, n, m, degree)
    first = second = 2.0
    low, before = 0.0, G[OLD, k, s]
    while low < end:
        high = turn if low < turn < end else end
        after = G[NEW, k, s]
        if high < 1.0:
            after = inside(high, k, s, t, h, address, one, U_old, C, n, m, degree)
        if crosses(kind, before, after, level):
            place = low
            if before != level:
                place = seek(low, high, False, level, k, s, t, h, address, one, U_old, C, n, m, degree)
            if first > 1.0:
                first = place
            else:
                second = place
        low, before = high, after
    return first, second


@njit(**INNER)
def first_terminal(s, j, t, h, items, G, p, address, one, U_old, C, n, m, degree):
    """Return the place of the first terminal event in the step, and its item; 2.0, -1 for none."""
    first, which = 2.0, -1
    for i in range(items[0].size):
        if items[2][i]:
            for place in crossings(i, s, j, 1.0, t, h, items, G, p, address, one, U_old, C, n, m, degree):
                if place < first and t + place * h >= items[5][i]:
                    first, which = place, i
    return first, which


@njit(**INNER)
def look_inside(s, j, end, t, h, items, G, p, best, when, times, address, one, U_old, C, n, m, degree):
    """Record peaks and crossings of all items that do not end the integration, up to ``theta = end``."""
    for i in range(items[0].size):
        k = items[0][i]
        if items[1][i] == PEAK:
            turn = 2.0
            if G[SLOPE_OLD, k, s] > 0.0 and G[SLOPE_NEW, k, s] < 0.0:
                turn = seek(0.0, 1.0, True, 0.0, k, s, t, h, address, one, U_old, C, n, m, degree)
            for place in (end, turn):
                if place < 1.0 and place <= end:
                    value = inside(place, k, s, t, h, address, one, U_old, C, n, m, degree)
                    keep(best, when, j, i, value, t + place * h)
        elif not items[2][i]:
            for place in crossings(i, s, j, end, t, h, items, G, p, address, one, U_old, C, n, m, degree):
                if place <= 1.0:
                    happened(items, when, times, j, i, t + place * h)


@njit(**INNER)
def cut_quantities(l, s, end, t, h, G, address, one, U_old, C, n, m, degree):
    """Make the quantities at the place where the step was cut the start of what follows in the lane."""
    for k in range(G.shape[1]):
        G[OLD, k, l] = inside(end, k, s, t, h, address, one, U_old, C, n, m, degree)
