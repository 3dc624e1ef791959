"""What comes together: doses, breaks, switches, actions, saves at one moment, in one order everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

import fastcart
from fastcart import Action, DosingSchedule, Event, Model

SOLVERS = [
    ("lanes", "vern7"), ("lanes", "tsit5"), ("lanes", "dop853"), ("lanes", "stab5"), ("lanes", "rodas5p"),
    ("auto", None), ("lsoda", None), ("scipy", None), ("scipy", "Radau"),
]  # fmt: skip
EVERY = pytest.mark.parametrize("run", SOLVERS, ids=["-".join(filter(None, run)) for run in SOLVERS])
# rates of a clock and times at which it strikes; sums of steps hit none of them to the last digit
TIMES = [(1.0, 1.0), (0.3, 3.7), (1.7, 0.1), (1 / 3, 7.0)]


@njit
def _clock(t, y, p):
    return (p.speed, 0.0, -0.5 * y.z)


CLOCK = Model(
    "clock", {"x": 0.0, "y": 1.0, "z": 1.0}, {"speed": 1.0, "level": 1.0, "gift": 3.0}, _clock,
    t_end=9.0,
)  # fmt: skip


def strikes(kind: str, value, **options) -> Event:
    """The clock reaches its level, and something is done to ``y``."""
    return Event("strike", "x", "level", direction="up", actions=Action("y", kind, value), **options)


def solve(run, events, *, doses=None, patients=None, **options):
    """``y`` just before, at and long after the time of a strike, its end, and when it was, of that time."""
    found = []
    for speed, t in TIMES:
        given = {"speed": [speed], "level": [speed * t], **(patients or {})}
        result = fastcart.solve(
            CLOCK, given, events=events, doses=None if doses is None else doses(t), engine=run[0],
            method=run[1], save_at=[0.5 * t, t, 8.5], save=["y"], warn=False,
            **{name: value(t) for name, value in options.items()},
        )  # fmt: skip
        assert result.summary() == {"ok": 1}
        ends = result.endpoints.iloc[0]
        found.append((*result.trajectories["y"], ends["final_y"], ends["event_strike"] / t))
    return found


ON_TIME = pytest.approx(1.0, rel=1e-10)


@EVERY
def test_a_save_at_the_time_of_an_action_is_the_state_behind_it(run):
    for before, at, after, _, when in solve(run, [strikes("set", 5.0)]):
        assert (before, at, after, when) == (1.0, 5.0, 5.0, ON_TIME)


@EVERY
def test_a_dose_comes_before_an_action(run):
    for before, at, after, _, when in solve(
        run, [strikes("scale", 10.0)], doses=lambda t: DosingSchedule().bolus(t, "y", 2.0)
    ):
        assert (before, at, after, when) == (1.0, 30.0, 30.0, ON_TIME)


@EVERY
def test_what_sets_the_clock_back_at_its_strike_comes_first(run):
    """A reset, or a dose: it strikes later, once it gets there again."""
    for before, at, _, last, when in solve(
        run, [strikes("set", 5.0)], doses=lambda t: DosingSchedule().bolus(t / 2, "y", 1.0).reset(t)
    ):
        assert (before, at) == (2.0, 1.0)
        assert np.isnan(when) if last == 1.0 else when == pytest.approx(2.0)
    for before, at, after, _, when in solve(
        run, [strikes("set", 5.0)], doses=lambda t: DosingSchedule().bolus(t, "x", -0.05)
    ):
        assert (before, at, after) == (1.0, 1.0, 5.0)
        assert when > 1.004


@EVERY
def test_a_switch_comes_before_an_action(run):
    for before, at, after, _, when in solve(
        run, [strikes("set", "gift")], doses=lambda t: DosingSchedule().switch(t, "gift", 7.0)
    ):
        assert (before, at, after, when) == (1.0, 7.0, 7.0, ON_TIME)


@EVERY
def test_a_break_is_passed_before_an_action(run):
    for before, at, after, _, when in solve(run, [strikes("add", 1.0)], breaks=lambda t: [t]):
        assert (before, at, after, when) == (1.0, 2.0, 2.0, ON_TIME)


@EVERY
def test_what_waited_comes_behind_a_dose_and_before_what_crosses(run):
    """Due at the strike of the clock: y = (1 + 2) 10 - 4."""
    late = strikes("add", -4.0, priority=5.0)
    for speed, t in TIMES:
        # it passes a hundredth on the way, and the rest of the time is waited for
        early = Event(
            "early", "x", 0.01 * speed, direction="up", actions=Action("y", "scale", 10.0),
            delay=t - 0.01, priority=-1.0,
        )  # fmt: skip
        result = fastcart.solve(
            CLOCK, {"speed": speed, "level": speed * t}, events=[early, late], engine=run[0], method=run[1],
            doses=DosingSchedule().bolus(t, "y", 2.0), save_at=[t], warn=False,
        )  # fmt: skip
        assert result.trajectories["y"].item() == 26.0


@EVERY
def test_an_end_comes_behind_a_dose_and_before_an_action(run):
    end = Event("end", "x", "level", direction="up", terminal=True)
    for _, at, after, last, when in solve(
        run, [strikes("scale", 10.0, priority=9.0), end], doses=lambda t: DosingSchedule().bolus(t, "y", 2.0)
    ):
        assert (at, last) == (3.0, 3.0)
        assert np.isnan(after)
        assert np.isnan(when)


@EVERY
def test_the_highest_priority_is_first_however_each_is_computed(run):
    """Two clocks that strike together, one of them three times as fast."""

    @njit
    def both(t, y, p):
        return (p.speed, 3.0 * p.speed, 0.0)

    model = Model(
        "both", {"a": 0.0, "b": 0.0, "y": 1.0}, {"speed": 1.0, "la": 1.0, "lb": 3.0}, both, t_end=9.0
    )
    for first, value in ((1.0, 20.0), (-1.0, 11.0)):
        events = [
            Event("add", "a", "la", direction="up", actions=Action("y", "add", 1.0), priority=first),
            Event("scale", "b", "lb", direction="up", actions=Action("y", "scale", 10.0)),
        ]
        for speed, t in TIMES:
            level = speed * t
            given = {"speed": speed, "la": level, "lb": 3 * level}
            result = fastcart.solve(
                model, given, events=events, engine=run[0], method=run[1], save_at=[t], warn=False
            )
            assert result.trajectories["y"].item() == value
