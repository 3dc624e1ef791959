"""Families of protocols that a search goes through: few numbers, from which an arm follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from fastcart.optimization.space import Space
from fastcart.protocols import (
    Adaptive,
    Arm,
    Calendar,
    Infusion,
    Lymphodepletion,
    Switched,
    hold_effectors,
    lhm_rule,
)

Numbers = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Protocols that differ in a few numbers.

    Parameters
    ----------
    name, title : str
    bounds : mapping of str to (low, high)
        What is searched.
    make : callable
        Returns the arm of given numbers.
    start : mapping of str to float
        A first guess, within the bounds.
    log : set of str
        What is searched in logarithm.
    sums : sequence of sequences of str
        Numbers that must add up to 1 or less: what is left of a budget goes to day 0.
    say : callable
        Describes the arm of given numbers in a line.
    """

    name: str
    title: str
    bounds: Mapping[str, tuple[float, float]]
    make: Callable[[Numbers], Arm] = field(repr=False)
    start: Mapping[str, float]
    say: Callable[[Numbers], str] = field(repr=False)
    log: frozenset[str] = frozenset()
    sums: tuple[tuple[str, ...], ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the numbers."""
        return list(self.bounds)

    def space(self) -> Space:
        """Return the space to be searched, with one problem."""
        low, high = np.array(list(self.bounds.values())).T
        A = np.array([[float(name in group) for name in self.names] for group in self.sums])
        log = [name in self.log for name in self.names]
        if not self.sums:
            return Space(low, high, log=log, names=self.names)
        return Space(low, high, log=log, names=self.names, A=A, b=np.ones(len(A)))

    def arm(self, point: np.ndarray) -> Arm:
        """Return the arm of a point of the space, shape (dimensions,)."""
        return self.make(self.numbers(point))

    def numbers(self, point: np.ndarray) -> dict[str, float]:
        """Return a point by the names of its numbers."""
        return dict(zip(self.names, map(float, point), strict=True))


def _days(v: Numbers) -> list[float]:
    """Return the days of four infusions: whole days, each gap rounded on its own."""
    gaps = [0.0, *(float(round(v[f"gap{k}"])) for k in (1, 2, 3))]
    return [float(day) for day in np.cumsum(gaps)]


def _fractions(v: Numbers, what: str) -> list[float]:
    later = [v[f"{what}{k}"] for k in (1, 2, 3)]
    return [max(0.0, 1.0 - sum(later)), *later]


def _calendar(v: Numbers) -> Arm:
    plan = zip(_days(v), _fractions(v, "E"), _fractions(v, "M"), strict=True)
    return Calendar(name="calendar", infusions=tuple(Infusion(day, E, M) for day, E, M in plan))


def _percent(values: list[float]) -> str:
    return "/".join(f"{100 * value:.0f}" for value in values)


def _say_calendar(v: Numbers) -> str:
    days = "/".join(f"{day:g}" for day in _days(v))
    return f"days {days}: effectors {_percent(_fractions(v, 'E'))} %, memory {_percent(_fractions(v, 'M'))} %"


CALENDAR = Family(
    name="calendar",
    title="Four infusions on any days",
    bounds={
        **{f"gap{k}": (1.0, 21.0) for k in (1, 2, 3)},
        **{f"{what}{k}": (0.0, 1.0) for what in "EM" for k in (1, 2, 3)},
    },
    make=_calendar,
    start={"gap1": 7, "gap2": 7, "gap3": 7, "E1": 1 / 3, "E2": 1 / 3, "E3": 0.0, "M1": 1 / 3, "M2": 1 / 3,
           "M3": 0.0},
    sums=(("E1", "E2", "E3"), ("M1", "M2", "M3")),
    say=_say_calendar,
)  # fmt: skip

RULE_VISITS = tuple(float(day) for day in range(3, 46, 3))


def _tranches(v: Numbers) -> tuple[float, float, float]:
    second = v["second"] * (1.0 - v["first"])
    return v["first"], second, 1.0 - v["first"] - second


def _rule(v: Numbers) -> Arm:
    tranches = _tranches(v)
    return Adaptive(
        name="rule",
        start=Infusion(0.0, tranches[0], v["memory"]),
        rule=lhm_rule(
            tranches=tranches, hold=v["hold"], response=v["response"], memory_burden=v["memory_burden"]
        ),
        visits=RULE_VISITS,
        complete=False,
    )


RULE = Family(
    name="rule",
    title="Rule that follows burden and IL-6",
    bounds={"first": (0.02, 0.9), "second": (0.05, 0.95), "memory": (0.0, 0.98), "hold": (50.0, 3000.0),
            "response": (0.01, 2.0), "memory_burden": (1e7, 1e12)},
    log=frozenset({"hold", "response", "memory_burden"}),
    make=_rule,
    start={"first": 0.1, "second": 1 / 3, "memory": 0.0, "hold": 400.0, "response": 0.5,
           "memory_burden": 1e9},
    say=lambda v: (
        f"effectors {_percent(list(_tranches(v)))} % when burden is below {v['response']:.2g} x baseline, "
        f"memory {100 * v['memory']:.0f} % on day 0 and the rest below {v['memory_burden']:.1e} cells, "
        f"hold above IL-6 {v['hold']:.0f}"
    ),
)  # fmt: skip


def _support_days(v: Numbers) -> tuple[float, float]:
    first = 7.0 * round(v["week"])
    return first, first + 7.0 * round(v["weeks_between"])


def _niche(v: Numbers) -> Arm:
    days = _support_days(v)
    late = v["late"] * v["share"]
    infused = (Infusion(0.0, v["share"] - late, v["share"] - late), Infusion(days[0], late, late))
    return Calendar(
        name="niche",
        infusions=infused,
        lymphodepletions=tuple(Lymphodepletion(day, 1.0) for day in days),
        equal_budget=False,
    )


NICHE = Family(
    name="niche",
    title="Niche support on two days",
    bounds={"week": (1.0, 6.0), "weeks_between": (1.0, 6.0), "share": (0.02, 1.0), "late": (0.0, 0.9)},
    log=frozenset({"share"}),
    make=_niche,
    start={"week": 2.0, "weeks_between": 2.0, "share": 0.5, "late": 0.0},
    say=lambda v: (
        f"{100 * v['share']:.0f} % of the cells, {100 * v['late']:.0f} % of these with the first of two "
        f"supports of the niche, days {_support_days(v)[0]:g} and {_support_days(v)[1]:g}"
    ),
)

_SINGLE = (Infusion(0.0, 1.0, 1.0),)

SWITCH = Family(
    name="switch",
    title="Single infusion, CAR with a switch",
    bounds={"target": (3e8, 1e12), "rise": (0.0, 0.4), "hold": (50.0, 1e5)},
    log=frozenset({"target", "hold"}),
    make=lambda v: Switched(
        name="switch",
        infusions=_SINGLE,
        switch=hold_effectors(v["target"], rise=v["rise"], hold=v["hold"]),
    ),
    start={"target": 1e10, "rise": 0.05, "hold": 1e4},
    say=lambda v: (
        f"{v['target']:.1e} effective cells, rising {100 * v['rise']:.0f} % a day; off above IL-6 "
        f"{v['hold']:.0f}"
    ),
)

FAMILIES = (CALENDAR, RULE, NICHE, SWITCH)
