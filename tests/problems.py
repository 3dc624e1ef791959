"""Small problems with exact answers, for every engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit

from fastcart import Algebraic, Model, Observable, Parameter, State


@dataclass(frozen=True)
class Exact:
    """A model and its exact solution ``y(t)``, an array of shape (times, states)."""

    model: Model
    solution: Callable[[np.ndarray], np.ndarray]


@njit
def _decay(t, y, p):
    return (-p[0] * y[0],)


@njit
def _logistic(t, y, p):
    return (p[0] * y[0] * (1.0 - y[0] / p[1]),)


@njit
def _chain(t, y, p):
    return (-p[0] * y[0], p[0] * y[0] - p[1] * y[1])


@njit
def _forced(t, y, p):
    return (p[0] * np.cos(t) * y[0],)


@njit
def _dip(t, y, p):
    return ((2.0 * p[0] * (t - p[1])) * y[0],)


def decay(*, log: bool) -> Exact:
    """y' = -k y."""
    model = Model("decay", [State("y", default=3.0, log=log)], {"k": 0.4}, _decay, t_end=10.0, burden="y")
    return Exact(model, lambda t: 3.0 * np.exp(-0.4 * t)[:, None])


def logistic(*, log: bool) -> Exact:
    """Logistic growth from a hundredth of the capacity."""
    model = Model(
        "logistic",
        [State("y", default=1.0, log=log)],
        {"r": 0.7, "K": 100.0},
        _logistic,
        t_end=20.0,
        burden="y",
    )
    return Exact(model, lambda t: (100.0 / (1 + 99.0 * np.exp(-0.7 * t)))[:, None])


def chain() -> Exact:
    """One-compartment absorption and elimination."""
    ka, ke = 1.1, 0.3
    model = Model("chain", {"gut": 5.0, "blood": 0.0}, {"ka": ka, "ke": ke}, _chain, t_end=15.0)

    def solution(t):
        gut = 5.0 * np.exp(-ka * t)
        blood = 5.0 * ka / (ka - ke) * (np.exp(-ke * t) - np.exp(-ka * t))
        return np.column_stack([gut, blood])

    return Exact(model, solution)


def forced(*, log: bool) -> Exact:
    """y' = a cos(t) y, time-dependent; crosses its start at every multiple of pi."""
    model = Model("forced", [State("y", default=2.0, log=log)], {"a": 0.8}, _forced, t_end=11.0, burden="y")
    return Exact(model, lambda t: 2.0 * np.exp(0.8 * np.sin(t))[:, None])


def dip() -> Exact:
    """y = y0 exp(a (t - m)^2 - a m^2): nadir at m, back at the start at 2 m."""
    a, m = 0.11, 7.3
    parameters = [Parameter("a", a), Parameter("m", m)]
    model = Model("dip", [State("y", default=5.0, log=True)], parameters, _dip, t_end=20.0, burden="y")
    return Exact(model, lambda t: 5.0 * np.exp(a * (t - m) ** 2 - a * m * m)[:, None])


ALL = {
    "decay_log": decay(log=True),
    "decay_linear": decay(log=False),
    "logistic_log": logistic(log=True),
    "logistic_linear": logistic(log=False),
    "chain": chain(),
    "forced_log": forced(log=True),
    "forced_linear": forced(log=False),
    "dip": dip(),
}


@njit
def turnover(t, y, p):
    A, E, C = y
    k, growth = p
    return -k * A, k * A, growth * C - 0.01 * E * C


# a drug A that turns into an effect E, and a tumor C; what happens is known in closed form; all progress at
# once, since E begins at 0
TURNOVER = Model(
    "turnover", {"A": 1.0, "E": 0.0, "C": 1e3}, {"k": 0.5, "growth": 0.2}, turnover, t_end=30.0, burden="C"
)


@njit
def _roots(t, y, p):
    return -p.k * y.A, 0.0 * y.B


@njit
def _square(t, y, p):
    return (y.x * y.x * p.c - (y.A + y.B),)


@njit
def _twice(t, y, p):
    return (2.0 * y.x,)


@cache
def square_root() -> Model:
    """x = sqrt((A + B)/c), where A decays and B is what is given."""
    return Model(
        "root", [State("A", default=4.0, log=True), State("B", default=1.0)], {"k": 0.3, "c": 1.0}, _roots,
        algebraic=[Algebraic("x", log=True, start=1.0)], residual=_square, t_end=10.0,
        observables=[Observable("twice")], observe=_twice, burden="A",
    )  # fmt: skip
