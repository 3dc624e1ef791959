"""Tell, for all lanes at once, which steps need a close look: peaks, events, states that may die out.

One function per model and set of items, generated and vectorised: the quantities and their slopes at the end
of a step, and from these and those at its start whether a crossing or a turning point that matters may lie
between. Quiet steps, nearly all, are done with here: their end is the start of the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import carray, njit, types

import fastcart.math as vector_math
from fastcart.model import Model
from fastcart.solvers.compile import FAST, INNER, cached, from_source, made_once, rebuild
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.evaluate import SUBSTITUTES
from fastcart.solvers.lanes.layout import LANES
from fastcart.solvers.lanes.pointer import evaluate
from fastcart.solvers.transform import LOG_FLOOR, LOG_ZERO

_L = LANES
_SIGNATURE = types.void(types.CPointer(types.float64))

PEAK, UP, DOWN, BOTH = range(4)  # kinds of items
QUIET, LATER, AT_ONCE = 0.0, 1.0, 2.0  # what a step needs: nothing, a close look, one before the lane goes on


@dataclass(frozen=True)
class Rows:
    """Where the rows of the buffer begin, in numbers; ``states``, then what the fields name."""

    time: int
    parameters: int
    slopes: int  # derivatives of the states
    step: int
    accepted: int
    old: int  # the quantities at the start of the step, then those of the groups
    new: int
    slope_old: int
    slope_new: int
    level: int  # thresholds of the items
    best: int  # largest value so far, where an item is a peak
    when: int
    need: int
    total: int

    @classmethod
    def of(cls, n: int, m: int, quantities: int, items: int) -> Rows:
        """Return the rows for ``n`` states and ``m`` parameters."""
        sizes = (n, 1, m, n, 1, 1, *(4 * (quantities,)), *(3 * (items,)), 1)
        return cls(*(int(end) for end in np.cumsum(sizes) * _L))


@dataclass(frozen=True)
class Item:
    """A peak or an event, as the generated function needs it."""

    quantity: int
    kind: int
    terminal: bool


def natural_states(n: int, log: tuple[bool, ...], u: str, y: str) -> list[str]:
    """Return lines that turn the integrated variables ``u0, u1, ...`` into states ``y0, y1, ...``."""
    lines = []
    for i in range(n):
        value = f"exp(max({u}{i}, {LOG_FLOOR!r})) if {u}{i} != {LOG_ZERO!r} else 0.0" if log[i] else f"{u}{i}"
        lines.append(f"        {y}{i} = {value}")
    return lines


def quantity(model: Model, name: str, states: str, observed: str) -> str:
    """Return the expression for a state or an observable."""
    if name in model.observable_names:
        return f"{observed}[{model.observable_names.index(name)}]"
    return f"{states}{model.state_names.index(name)}"


def namespace(model: Model, names: tuple[str, ...]) -> dict[str, Any]:
    """Return what generated functions of quantities need to know by name."""
    scope: dict[str, Any] = {"exp": vector_math.exp_bounded, "carray": carray}
    if any(name in model.observable_names for name in names):
        scope["observe"] = rebuild(model.observe, INNER, SUBSTITUTES)
    return scope


def look_function(
    model: Model, log: tuple[bool, ...], names: tuple[str, ...], items: list[Item],
    groups: list[tuple[list[int], bool, float]],
) -> tuple[Any, Rows]:  # fmt: skip
    """Compile ``f(buffer)`` for all lanes, with the rows of the buffer.

    Parameters
    ----------
    model : Model
    log : tuple of bool
        Which states are integrated in logarithm.
    names : tuple of str
        The quantities that the items are about.
    items : list of Item
    groups : list of (states, is it one state, threshold)
        What may die out; see `fastcart.solvers.lanes.extinction.groups`.
    """
    dying = tuple((tuple(members), alone, limit) for members, alone, limit in groups)
    key = ("look", _content(model), log, names, tuple(items), dying)
    return made_once(key, lambda: _look_function(model, log, names, items, groups))


def _content(model: Model) -> Any:
    """Return what the generated functions depend on, beside their other arguments."""
    names = (model.state_names, model.parameter_names, model.observable_names)
    return fingerprint(model.observe), *map(tuple, names)


def _look_function(
    model: Model, log: tuple[bool, ...], names: tuple[str, ...], items: list[Item],
    groups: list[tuple[list[int], bool, float]],
) -> tuple[Any, Rows]:  # fmt: skip
    n, m = len(model.states), len(model.parameters)
    rows = Rows.of(n, m, len(names) + len(groups), len(items))
    observes = any(name in model.observable_names for name in names)
    lines = ["def look(v_):", f"    v = carray(v_, ({rows.total},))", f"    for l in range({_L}):"]
    lines += [f"        t = v[{rows.time} + l]", f"        h = v[{rows.step} + l]", "        e = 1e-5 * h"]
    for i in range(n):
        lines.append(f"        u{i} = v[{i * _L} + l]")
        lines.append(f"        d{i} = u{i} + e * v[{rows.slopes + i * _L} + l]")
    lines += natural_states(n, log, "u", "y") + natural_states(n, log, "d", "z")
    if observes:
        parameters = "".join(f"v[{rows.parameters + k * _L} + l], " for k in range(m))
        for target, time, states in (("f", "t", "y"), ("g", "t + e", "z")):
            values = "".join(f"{states}{i}, " for i in range(n))
            lines.append(f"        {target} = observe({time}, ({values}), ({parameters}))")
    pairs = [(quantity(model, name, "y", "f"), quantity(model, name, "z", "g")) for name in names]
    for members, alone, _ in groups:
        for_end, for_later = ("u", "d") if alone else ("y", "z")
        pairs.append(
            (" + ".join(f"{for_end}{i}" for i in members), " + ".join(f"{for_later}{i}" for i in members))
        )
    for k, (here, later) in enumerate(pairs):
        lines += [
            f"        new{k} = {here}",
            f"        s{k} = (({later}) - new{k}) / e",
            f"        old{k} = v[{rows.old + k * _L} + l]",
            f"        r{k} = v[{rows.slope_old + k * _L} + l]",
            f"        reach{k} = h * (abs(r{k}) + abs(s{k}))",
            f"        v[{rows.new + k * _L} + l] = new{k}",
            f"        v[{rows.slope_new + k * _L} + l] = s{k}",
        ]
    lines.append("        need = 0.0")
    for i, item in enumerate(items):
        lines += _item_lines(i, item, rows)
    for g, (members, alone, limit) in enumerate(groups):
        k = len(names) + g
        zero = LOG_ZERO if alone and log[members[0]] else 0.0
        lines += [
            f"        limit = {limit!r}",
            f"        under = (new{k} <= limit) & (old{k} != {zero!r})",
            f"        dips = (r{k} < 0.0) & (s{k} > 0.0) & (min(old{k}, new{k}) - reach{k} <= limit)",
            f"        need = {AT_ONCE} if under | dips else need",
        ]
    accepted = f"v[{rows.accepted} + l] == {q.ACCEPTED_STEP!r}"
    lines.append(f"        v[{rows.need} + l] = need if {accepted} else 0.0")
    lines.append(f"        quiet = ({accepted}) & (need == 0.0)")
    for i, item in enumerate(items):
        if item.kind == PEAK:
            best, when = f"v[{rows.best + i * _L} + l]", f"v[{rows.when + i * _L} + l]"
            lines += [
                f"        higher = quiet & (new{item.quantity} > {best})",
                f"        {best} = new{item.quantity} if higher else {best}",
                f"        {when} = t if higher else {when}",
            ]
    for k in range(len(pairs)):
        lines += [
            f"        v[{rows.old + k * _L} + l] = new{k} if quiet else old{k}",
            f"        v[{rows.slope_old + k * _L} + l] = s{k} if quiet else r{k}",
        ]
    function = from_source("\n".join(lines), "look", namespace(model, names))
    return cached(function, f"peaks and events of {model.name}", signature=_SIGNATURE, **FAST), rows


def _item_lines(i: int, item: Item, rows: Rows) -> list[str]:
    """Lines that raise ``need`` where item ``i`` asks for it."""
    k = item.quantity
    top = f"(r{k} > 0.0) & (s{k} < 0.0)"
    bottom = f"(r{k} < 0.0) & (s{k} > 0.0)"
    if item.kind == PEAK:
        found = f"{top} & (max(old{k}, new{k}) + reach{k} > v[{rows.best + i * _L} + l])"
    else:
        level = f"v[{rows.level + i * _L} + l]"
        up = f"((old{k} <= {level}) & (new{k} > {level}))"
        down = f"((old{k} >= {level}) & (new{k} < {level}))"
        crossed = {UP: up, DOWN: down, BOTH: f"{up} | {down}"}[item.kind]
        over = f"({top} & (old{k} <= {level}) & (max(old{k}, new{k}) + reach{k} > {level}))"
        under = f"({bottom} & (old{k} >= {level}) & (min(old{k}, new{k}) - reach{k} < {level}))"
        found = f"{crossed} | {over} | {under}"
    return [f"        need = max(need, {AT_ONCE if item.terminal else LATER}) if {found} else need"]


def one_function(model: Model, log: tuple[bool, ...], names: tuple[str, ...]) -> Any:
    """Compile ``f(buffer)`` for one patient: states as integrated, time, parameters, quantities (written)."""
    return made_once(("quantities", _content(model), log, names), lambda: _one_function(model, log, names))


def _one_function(model: Model, log: tuple[bool, ...], names: tuple[str, ...]) -> Any:
    n, m = len(model.states), len(model.parameters)
    lines = ["def quantities(w_):", f"    w = carray(w_, ({n + 1 + m + len(names)},))", "    if True:"]
    lines += [f"        u{i} = w[{i}]" for i in range(n)] + natural_states(n, log, "u", "y")
    if any(name in model.observable_names for name in names):
        states = "".join(f"y{i}, " for i in range(n))
        parameters = "".join(f"w[{n + 1 + k}], " for k in range(m))
        lines.append(f"        f = observe(w[{n}], ({states}), ({parameters}))")
    lines += [
        f"        w[{n + 1 + m + k}] = {quantity(model, name, 'y', 'f')}" for k, name in enumerate(names)
    ]
    function = from_source("\n".join(lines), "quantities", namespace(model, names))
    return cached(function, f"quantities of {model.name}", signature=_SIGNATURE, **FAST)


@njit(**INNER)
def copy(target, place, source, start, size):
    """Copy a part of one flat array into another."""
    # of parts that begin at 0, the compiler knows that no index is negative, and copies vectors
    to, of = target[place : place + size], source[start : start + size]
    for k in range(size):
        to[k] = of[k]


@njit(**INNER)
def look_at_all(look, Q, U, K, derivatives, n, step_row, a_step):
    """Fill the buffer with the present of all lanes and evaluate; ``derivatives`` is where theirs begin.

    Without ``a_step`` only the quantities and slopes are computed. Returns how much attention is needed.
    """
    V, at = look[1], look[2]
    copy(V, 0, U, 0, n * _L)
    copy(V, at[0], Q, q.T * _L, _L)
    copy(V, at[2], K, derivatives, n * _L)
    copy(V, at[3], Q, step_row * _L, _L)
    accepted, need = V[at[4] : at[4] + _L], V[at[12] : at[12] + _L]
    for l in range(_L):
        accepted[l] = Q[q.ACCEPTED * _L + l] if a_step else q.FRESH
    evaluate(look[0], V)
    total = 0.0
    for l in range(_L):
        total += need[l]
    return total


@njit(**INNER)
def advance(l, at, V, quantities):
    """Make the end of a step the start of the next."""
    for k in range(quantities):
        V[at[5] + k * _L + l] = V[at[6] + k * _L + l]
        V[at[7] + k * _L + l] = V[at[8] + k * _L + l]
