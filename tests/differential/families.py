"""Models whose solutions are known in closed form, whatever their parameters are: each is compiled once.

What is drawn are parameters, initial values, horizons and doses; terms are switched on and off by their
coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st
from numba import njit
from numpy.polynomial import Polynomial

from fastcart import Model, Observable, Parameter, State

EVERYTHING = (-math.inf, math.inf)


SIZE = 17  # parameters of every family: a method is compiled once for each number of states and parameters


def free(**defaults: float) -> list[Parameter]:
    """Parameters that may take any value, and others without effect up to a common number."""
    unused = {f"unused{k}": 0.0 for k in range(len(defaults), SIZE)}
    return [Parameter(name, value, range=EVERYTHING) for name, value in (defaults | unused).items()]


def numbers(low: float, high: float, digits: int = 4) -> st.SearchStrategy[float]:
    """Numbers of few digits, which are easier to read where something fails."""

    def short(x: float) -> float:
        return 0.0 if abs(x) < 1e-6 and low <= 0 else min(max(float(f"{x:.{digits}g}"), low), high)

    return st.floats(low, high).map(short)


def powers(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers of all magnitudes between two positive ones."""
    return numbers(math.log10(low), math.log10(high)).map(lambda x: float(f"{10.0**x:.4g}"))


# --- courses with turning points: x' = a product of lines in t -------------------------------------------


@njit
def _turning(t, y, p):
    a, k, e1, f1, e2, f2, e3, f3, e4, f4 = p[:10]
    slope = a * (e1 * t - f1) * (e2 * t - f2) * (e3 * t - f3) * (e4 * t - f4)
    return slope, k * y[1] * slope


@njit
def _turned(t, y, p):
    return -y[0], -y[1]


# a polynomial and its exponential: methods of a high order take steps over all of their turning points
LEVELS = dict(
    level0=0.0, level1=0.0, level2=0.0, level3=0.0
)  # thresholds, so that no event needs a new kernel
LINES = dict(a=1.0, k=0.1, e1=0.0, f1=-1.0, e2=0.0, f2=-1.0, e3=0.0, f3=-1.0, e4=0.0, f4=-1.0)
TURNING = {
    burden: Model(
        f"turning_{burden}",
        [State("x"), State("z", default=1.0, log=True)],
        free(**LINES, **LEVELS),
        _turning,
        t_end=10.0,
        observables=[Observable("minus_x"), Observable("minus_z")],
        observe=_turned,
        burden=burden,
    )
    for burden in ("x", "z")
}


@dataclass(frozen=True)
class Course:
    """x is a polynomial whose turning points are drawn; z is its exponential."""

    x0: float
    height: float  # largest distance from x0 within the horizon
    turns: tuple[float, ...]
    t_end: float
    steepness: float = 0.1  # the largest exponent of z
    z0: float = 1.0

    @property
    def slope(self) -> Polynomial:
        return Polynomial.fromroots(self.turns) * self.factor if self.turns else Polynomial([self.factor])

    @property
    def factor(self) -> float:
        rise = (Polynomial.fromroots(self.turns) if self.turns else Polynomial([1.0])).integ()
        times = [*self.within, self.t_end]
        return self.height / max(abs(rise(t)) for t in times)

    @property
    def k(self) -> float:
        return self.steepness / abs(self.height)

    @property
    def within(self) -> list[float]:
        """Turning points before the horizon, in order; where two meet there is none."""
        inside = sorted(t for t in set(self.turns) if 0 < t < self.t_end)
        return [t for t in inside if self.turns.count(t) % 2]

    def x(self, t):
        return self.x0 + self.slope.integ()(np.asarray(t, dtype=float))

    def z(self, t):
        return self.z0 * np.exp(self.k * (self.x(t) - self.x0))

    def row(self) -> dict[str, float]:
        """The parameters and initial values of this patient."""
        row = {"a": self.factor, "k": self.k, "x": self.x0, "z": self.z0}
        for j in range(4):
            line = (1.0, self.turns[j]) if j < len(self.turns) else (0.0, -1.0)
            row[f"e{j + 1}"], row[f"f{j + 1}"] = line
        return row

    def crossings(self, level: float) -> list[tuple[float, int]]:
        """Times at which x passes a level, and the direction, by bisection between turning points."""
        from scipy.optimize import brentq

        ends = [0.0, *self.within, self.t_end]
        found = []
        for a, b in pairwise(ends):
            u, v = self.x(a) - level, self.x(b) - level
            if u * v < 0:
                found.append((brentq(lambda t: self.x(t) - level, a, b, xtol=1e-14), 1 if v > 0 else -1))
        return found

    def levels(self) -> list[float]:
        """Levels well between the values at turning points and ends: their crossings are all clear."""
        values = np.unique(self.x([0.0, *self.within, self.t_end]))
        gaps = np.diff(values)
        return [float(v + 0.4 * g) for v, g in zip(values, gaps, strict=False) if g > 0.02 * abs(self.height)]


def courses(turns: int = 4) -> st.SearchStrategy[Course]:
    places = st.lists(numbers(-1.0, 11.0, 3), max_size=turns, unique=True).map(tuple)
    return st.builds(
        Course,
        x0=numbers(-200.0, 200.0, 3),
        height=st.sampled_from([100.0, -100.0, 1e4]),
        turns=places,
        t_end=numbers(2.0, 12.0, 3),
        steepness=st.sampled_from([0.1, 1.0, 10.0]),
        z0=st.sampled_from([1.0, 1e6, 1e-6]),
    )


# --- cells that are cleared, with doses; observables that are faster than the states ---------------------


@njit
def _clearance(t, y, p):
    return -p[0] * y[0], -p[1] * y[1]


@njit
def _cleared(t, y, p):
    k, l, f, h = p[:4]  # noqa: E741
    s = math.sin(math.pi * f * t)
    return y[0] * s * s, y[1] / (h + y[1]), s


CLEARANCE = Model(
    "clearance",
    [State("y", default=1.0, log=True, extinction=True), State("w", default=1.0)],
    free(k=0.1, l=0.1, f=1.0, h=1.0, level_y=0.0, level_w=0.0),
    _clearance,
    t_end=10.0,
    observables=[Observable("fast"), Observable("share"), Observable("wave")],
    observe=_cleared,
    burden="y",
)


@dataclass(frozen=True)
class Dose:
    time: float
    state: str
    amount: float
    duration: float = 0.0


@dataclass(frozen=True)
class Clearance:
    """y and w decay at rates k and l; wave is sin(pi f t), fast is y wave², share is w / (h + w)."""

    y: float = 1.0
    w: float = 1.0
    k: float = 0.1
    l: float = 0.1  # noqa: E741
    f: float = 1.0
    h: float = 1.0

    def row(self) -> dict[str, float]:
        return dict(self.__dict__)

    def state(self, name: str, t, doses: Sequence[Dose] = ()):
        """Cells at times ``t``: what was there and what was given decay each by itself."""
        start, rate = (self.y, self.k) if name == "y" else (self.w, self.l)
        t = np.asarray(t, dtype=float)
        total = start * np.exp(-rate * t)
        for dose in doses:
            if dose.state == name:
                since = np.maximum(t - dose.time, 0.0)
                if dose.duration == 0:
                    total = total + np.where(t >= dose.time, dose.amount * np.exp(-rate * since), 0.0)
                else:
                    speed = dose.amount / dose.duration
                    held = np.minimum(since, dose.duration)
                    total = total + speed * _held(rate, held) * np.exp(-rate * (since - held))
        return total

    def area(self, name: str, t_end: float, doses: Sequence[Dose] = ()) -> float:
        """Integral of a state from 0 to the horizon."""
        start, rate = (self.y, self.k) if name == "y" else (self.w, self.l)
        total = start * _held(rate, t_end)
        for dose in doses:
            if dose.state == name and dose.time < t_end:
                since = t_end - dose.time
                if dose.duration == 0:
                    total += dose.amount * _held(rate, since)
                else:
                    held = min(since, dose.duration)
                    speed = dose.amount / dose.duration
                    # while it runs, then what has been reached decays
                    total += speed * _held_twice(rate, held)
                    total += speed * _held(rate, held) * _held(rate, since - held)
        return float(total)

    def area_fast(self, t_end: float) -> float:
        """Integral of y sin²(pi f t), without doses."""
        turn = 2 * math.pi * self.f
        wave = complex(-self.k, turn)
        return self.y * (_held(self.k, t_end) - ((np.exp(wave * t_end) - 1) / wave).real) / 2

    def area_share(self, t_end: float) -> float:
        """Integral of w / (h + w), without doses."""
        end = self.w * math.exp(-self.l * t_end)
        return math.log1p((self.w - end) / (self.h + end)) / self.l

    def crests(self, t_end: float) -> tuple[np.ndarray, np.ndarray]:
        """Times and heights of the crests of fast within the horizon."""
        period = 1 / self.f
        first = math.atan2(2 * math.pi * self.f, self.k) / (math.pi * self.f)
        times = np.arange(first, t_end, period)
        return times, self.y * np.exp(-self.k * times) * np.sin(math.pi * self.f * times) ** 2

    def fast(self, t):
        return self.y * np.exp(-self.k * t) * np.sin(math.pi * self.f * t) ** 2


def _held(rate: float, time):
    """Integral of exp(-rate s) from 0 to ``time``."""
    return -np.expm1(-rate * time) / rate if rate else time


def _held_twice(rate: float, time: float) -> float:
    """Integral of `_held` from 0 to ``time``."""
    x = rate * time
    if x < 1e-3:
        return time * time * (1 / 2 - x / 6 + x * x / 24 - x**3 / 120)
    return (time - _held(rate, time)) / rate


def clearances() -> st.SearchStrategy[Clearance]:
    return st.builds(
        Clearance,
        y=st.one_of(st.just(1.0), powers(1e-3, 1e9)),
        w=st.one_of(st.just(1.0), powers(1e-2, 1e3)),
        k=powers(1e-3, 2.0),
        l=powers(1e-3, 2.0),
        f=powers(0.1, 5.0),
        h=powers(1e-2, 10.0),
    )


# --- forced, stiff or not, beside a state that may blow up -----------------------------------------------


@njit
def _forced(t, y, p):
    rate, c, a, w, b = p[:5]
    return rate * (c + a * math.sin(w * t) - y[0]), b * y[1] * y[1]


FORCED = Model(
    "forced", {"q": 0.0, "v": 1.0}, free(rate=0.5, c=1.0, a=0.0, w=1.0, b=0.0), _forced, t_end=10.0
)


@dataclass(frozen=True)
class Forced:
    """q is drawn to c + a sin(w t) at a rate, from slow to very stiff; v blows up at 1 / (b v)."""

    q: float = 0.0
    v: float = 1.0
    rate: float = 0.5
    c: float = 1.0
    a: float = 0.0
    w: float = 1.0
    b: float = 0.0

    def row(self) -> dict[str, float]:
        return dict(self.__dict__)

    def fails(self, t_end: float) -> bool:
        return self.b * self.v * t_end >= 1

    def _wave(self) -> tuple[float, float]:
        """Amplitudes of sin and cos once the start is forgotten."""
        whole = self.rate**2 + self.w**2
        return self.a * self.rate**2 / whole, -self.a * self.rate * self.w / whole

    def values(self, t):
        t = np.asarray(t, dtype=float)
        s, c = self._wave()
        q = self.c + s * np.sin(self.w * t) + c * np.cos(self.w * t)
        q = q + (self.q - self.c - c) * np.exp(-self.rate * t)
        return np.stack([q, self.v / (1 - self.b * self.v * t)], axis=-1)

    def area(self, t_end: float) -> float:
        s, c = self._wave()
        wave = s * (1 - math.cos(self.w * t_end)) / self.w + c * math.sin(self.w * t_end) / self.w
        return float(self.c * t_end + wave + (self.q - self.c - c) * _held(self.rate, t_end))


def forced(*, failing: bool = False) -> st.SearchStrategy[Forced]:
    return st.builds(
        Forced,
        q=st.sampled_from([0.0, 1.0, -3.0, 100.0]),
        rate=st.one_of(powers(1e-2, 10.0), powers(10.0, 1e9)),
        c=numbers(-2.0, 2.0, 2),
        a=st.one_of(st.just(0.0), numbers(0.0, 3.0, 2)),
        w=powers(0.1, 50.0),
        b=st.sampled_from([0.0, 0.0, 0.01, 2.0]) if failing else st.just(0.0),
    )
