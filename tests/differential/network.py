"""Networks of cells and signals of several sizes: Hill terms, forcing, stiffness, all set by coefficients.

They have no closed form; the reference is SciPy at a tight tolerance on the plain Python function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from families import free, numbers, powers
from hypothesis import strategies as st
from numba import njit

from fastcart import Model, Observable, State

# log or linear, for each size that is compiled
PATTERNS = {"cells": (True, False, True), "large": (True, True, False, False) * 3}
_COMMON = ("K", "H", "hill", "a", "w", "phase", "fast", "level")
_OWN = ("r", "d", "s")


def _source(log: Sequence[bool]) -> str:
    """The right-hand side and observables of a network, as a text.

    A cell population grows to K, is killed by its neighbour, grows with the season; a signal is made by
    its neighbour by a Hill function and decays, the last one `fast` times as quickly.
    """
    n = len(log)
    names = [*_COMMON, *(f"{x}{i}" for i in range(n) for x in _OWN)]
    lines = ["def rhs(t, y, p):", f"    {', '.join(names)}, = p"]
    lines.append(f"    {''.join(f'y{i}, ' for i in range(n))} = y")
    lines.append("    season = 1 + a * math.sin(w * t + phase)")
    for i, cells in enumerate(log):
        j = (i + 1) % n
        last = " * fast" if not cells and not any(not x for x in log[i + 1 :]) else ""
        if cells:
            lines.append(f"    f{i} = y{i} * (r{i} * season * (1 - y{i} / K) - d{i} * y{j} / (H + y{j}))")
        else:
            lines.append(f"    u{i} = max(y{j}, 0.0) ** hill / (H ** hill + max(y{j}, 0.0) ** hill)")
            lines.append(f"    f{i} = (s{i} * season + r{i} * u{i} - d{i} * y{i}){last}")
    lines.append(f"    return {''.join(f'f{i}, ' for i in range(n))}")
    lines += ["def observe(t, y, p):", f"    {', '.join(names)}, = p"]
    lines.append("    total = " + " + ".join(f"y[{i}]" for i in range(n)))
    lines.append("    beat = y[0] * math.sin(5 * w * t) ** 2")
    lines.append("    return total, y[0] / (H + total), beat")
    return "\n".join(lines)


def _network(name: str, log: Sequence[bool]) -> Model:
    scope = {"math": math, "__name__": __name__}
    exec(_source(log), scope)
    parameters = dict(K=10.0, H=1.0, hill=2.0, a=0.0, w=1.0, phase=0.0, fast=1.0, level=0.0)
    parameters |= {f"{x}{i}": 0.5 for i in range(len(log)) for x in _OWN}
    return Model(
        name,
        [State(f"y{i}", default=1.0, log=cells) for i, cells in enumerate(log)],
        free(**parameters),
        njit(scope["rhs"]),
        t_end=10.0,
        observables=[Observable("total"), Observable("ratio"), Observable("beat")],
        observe=njit(scope["observe"]),
        burden="y0",
    )


NETWORKS = {name: _network(name, log) for name, log in PATTERNS.items()}


@st.composite
def rows(draw: st.DrawFn, name: str, *, stiff: bool = False) -> dict[str, float]:
    """Parameters and initial values of one patient of a network."""
    log = PATTERNS[name]
    rates = st.one_of(st.just(0.0), st.just(1.0), numbers(0.0, 2.0, 2))
    row = dict(
        K=draw(st.sampled_from([10.0, 1000.0])),
        H=draw(st.sampled_from([1.0, 0.1, 5.0])),
        hill=draw(st.sampled_from([1.0, 2.0, 4.0, 1.5])),
        a=draw(st.sampled_from([0.0, 0.5, 2.0])),
        w=draw(powers(0.1, 20.0)),
        phase=draw(st.sampled_from([0.0, 1.0])),
        fast=draw(powers(1e2, 1e6)) if stiff else draw(st.sampled_from([1.0, 10.0])),
    )
    for i, cells in enumerate(log):
        row |= {f"r{i}": draw(rates), f"d{i}": draw(rates), f"s{i}": draw(rates)}
        low = [0.0, 1.0, 5.0] if not cells else [0.0, 1.0, 1e-3, 9.0]
        row[f"y{i}"] = draw(st.sampled_from(low))
    return row


@dataclass(frozen=True)
class Reference:
    """A solution in natural units, with its dense output."""

    at: Callable[[np.ndarray], np.ndarray]
    t: np.ndarray

    def observed(self, model: Model, row: Mapping[str, float], times: np.ndarray) -> np.ndarray:
        """Observables at times, shape (times, observables)."""
        p = values(model.default_parameters(), row)
        y = self.at(times)
        observe = model.observe.py_func  # type: ignore[union-attr]
        return np.array([observe(t, tuple(y[:, k]), p) for k, t in enumerate(times)])


def values(defaults: Mapping[str, float], row: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(float(row.get(name, value)) for name, value in defaults.items())


_KNOWN: dict[str, Any] = {}


def reference(model: Model, row: Mapping[str, float], t_end: float) -> Reference | None:
    """Solve one patient with SciPy; engines that are tried on the same one share the solution."""
    key = f"{model.name} {sorted(row.items())} {t_end}"
    if key not in _KNOWN:
        if len(_KNOWN) > 500:
            _KNOWN.clear()
        _KNOWN[key] = accurate(model, row, t_end)
    return _KNOWN[key]


def accurate(
    model: Model, row: Mapping[str, float], t_end: float, *, breaks: Sequence[float] = ()
) -> Reference | None:
    """Solve one patient with SciPy from the plain Python function; None where SciPy fails.

    States in logarithm are solved as such, an exact zero stays one.
    """
    from scipy.integrate import solve_ivp

    f = model.rhs.py_func
    p = values(model.default_parameters(), row)
    y0 = np.array(values(model.default_states(), row))
    log = np.array([state.log for state in model.states]) & (y0 > 0)
    zero = np.array([state.log for state in model.states]) & (y0 == 0)

    def natural(u):
        with np.errstate(over="ignore"):
            return np.where(log[:, None], np.exp(np.where(log[:, None], u, 0.0)), u) * ~zero[:, None]

    def rhs(t, u):
        y = natural(u[:, None])[:, 0]
        du = np.array(f(t, tuple(y.tolist()), p))
        return np.where(zero, 0.0, np.where(log, du / np.where(log, y, 1.0), du))

    u = np.where(log, np.log(np.where(log, y0, 1.0)), y0)
    pieces, ends = [], [0.0, *(b for b in sorted(breaks) if 0 < b < t_end), t_end]
    for a, b in pairwise(ends):
        stiff = row.get("fast", 1.0) > 50
        try:
            found = solve_ivp(
                rhs, (a, b), u, method="Radau" if stiff else "DOP853", rtol=1e-9 if stiff else 1e-11,
                atol=1e-12, dense_output=True,
            )  # fmt: skip
        except (ArithmeticError, ValueError):
            return None
        if not found.success or not np.isfinite(found.y).all():
            return None
        pieces.append(found)
        u = found.y[:, -1]

    def at(times):
        which = np.minimum(np.searchsorted(ends[1:], times, side="left"), len(pieces) - 1)
        return natural(np.stack([pieces[w].sol(t) for w, t in zip(which, times, strict=True)], axis=1))

    return Reference(at, np.concatenate([piece.t for piece in pieces]))
