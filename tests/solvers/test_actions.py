"""Events that act: closed forms in every engine, order, delay, and what acts on each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import slow_but
from numba import njit

import fastcart
from fastcart import Action, DosingSchedule, Event, InputError, Model, Observable, Parameter, State, batch

SOLVERS = [
    ("lanes", "vern7"), ("lanes", "tsit5"), ("lanes", "rodas5p"), ("auto", None), ("lsoda", None),
    ("scipy", None),
]  # fmt: skip
# vern7 finds, stops and goes on by the code of tsit5, in twice the time to compile
EVERY = pytest.mark.parametrize(
    "run", slow_but(SOLVERS[1:], SOLVERS), ids=[method or engine for engine, method in SOLVERS]
)


@njit
def _falling(t, y, p):
    return (y.v, -p.g)


@njit
def _rising(t, y, p):
    return (p.speed, 0.0, 0.0)


@njit
def _fading(t, y, p):
    return (-p.k * y.a,)


@njit
def _twice(t, y, p):
    return (2.0 * y.a,)


BALL = Model(
    "ball",
    {"h": 1.0, "v": 0.0},
    [Parameter("g", 9.81), Parameter("e", -0.8, range=(-1.0, 0.0))],
    _falling,
    t_end=3.0,
)
CLOCK = Model("clock", {"x": 0.0, "y": 0.0, "z": 0.0}, {"speed": 1.0, "wait": 2.5}, _rising, t_end=9.5)


def fading(*, log: bool) -> Model:
    return Model(
        "fading", [State("a", default=1.0, log=log, nonnegative=not log)],
        {"k": 1.0, "wait": 0.1, "more": 0.5}, _fading, t_end=5.0, observables=[Observable("twice")],
        observe=_twice, burden="a",
    )  # fmt: skip


def solve(run, model, events, patients=1, *, rtol=1e-10, **options):
    return fastcart.solve(
        model, patients, events=events, engine=run[0], method=run[1], rtol=rtol, warn=False, **options
    )


def height(t: float, e: float = 0.8, g: float = 9.81) -> float:
    """Of a ball that was dropped from 1."""
    fall = np.sqrt(2 / g)
    if t < fall:
        return 1 - g * t * t / 2
    v, since = g * fall * e, t - fall
    while since > 2 * v / g:
        since -= 2 * v / g
        v *= e
    return v * since - g * since**2 / 2


@EVERY
def test_a_ball_that_bounces(run):
    bounce = Event("bounce", "h", 0.0, direction="down", actions=Action("v", "scale", "e"))
    times = np.linspace(0, 2, 31)
    result = solve(run, BALL, [bounce], {"e": [-0.8, -0.7]}, save_at=times, t_end=2.0, peaks=["v"])
    found = result.trajectories["h"].to_numpy().reshape(2, -1)
    for row, e in zip(found, (0.8, 0.7), strict=True):
        np.testing.assert_allclose(row, [height(t, e) for t in times], atol=1e-7)
    ends = result.endpoints.iloc[0]
    assert ends["event_bounce"] == pytest.approx(np.sqrt(2 / 9.81), rel=1e-9)
    assert ends["peak_v"] == pytest.approx(0.8 * np.sqrt(2 * 9.81), rel=1e-9)


@EVERY
@pytest.mark.parametrize(("log", "of"), [(False, "twice"), (True, "a")])
def test_a_dose_a_little_after_a_level(run, log, of):
    """It falls from 1 to a half, and gets as much again after a tenth; and so on."""
    low = Event(
        "low", of, 0.5 if of == "a" else 1.0, direction="down", actions=[Action("a", "add", "more")],
        delay="wait",
    )  # fmt: skip
    times = np.linspace(0, 5, 51)
    result = solve(run, fading(log=log), [low], save_at=times, auc=["a"])
    begin, start, at = 0.0, 1.0, []
    expected, area, count = np.empty(51), 0.0, 0
    while begin <= 5.0:
        at.append(begin + np.log(start / 0.5))
        end = at[-1] + 0.1
        inside = (times >= begin) & (times < end)
        expected[inside] = start * np.exp(begin - times[inside])
        area += start * -np.expm1(begin - min(end, 5.0))
        count += at[-1] <= 5.0
        start, begin = start * np.exp(begin - end) + 0.5, end
    np.testing.assert_allclose(result.trajectories["a"], expected, rtol=1e-7)
    ends = result.endpoints.iloc[0]
    assert ends["event_low"] == pytest.approx(np.log(2), rel=1e-8)
    assert ends["count_low"] == count
    assert ends["auc_a"] == pytest.approx(area, rel=1e-7)
    assert ends["nadir"] == pytest.approx(0.5 * np.exp(-0.1), rel=1e-7)


@EVERY
def test_a_saw_and_actions_that_wait_at_the_same_time(run):
    saw = Event("tooth", "x", 1.0, direction="up", actions=[Action("x", "set", 0.0)])
    late = Event("late", "x", 0.5, direction="up", actions=[Action("z", "add", 1.0)], delay="wait")
    times = np.arange(0.25, 9.4, 0.5)
    result = solve(run, CLOCK, [saw, late], save_at=times, t_end=9.4)
    np.testing.assert_allclose(result.trajectories["x"], times % 1.0, atol=1e-8)
    np.testing.assert_allclose(result.trajectories["z"], np.maximum(np.floor(times - 2.0), 0), atol=1e-12)
    ends = result.endpoints.iloc[0]
    assert (ends["count_tooth"], ends["count_late"], ends["final_z"]) == (9, 9, 7)


@EVERY
@pytest.mark.parametrize("jump", [False, True])
def test_at_the_same_time_the_highest_priority_acts_first(run, jump):
    """Two that cross together, in the course or by a dose; a third crosses because of what they do."""

    def events(first: float, second: float) -> list[Event]:
        return [
            Event("three", "y", 15.0, direction="up", actions=[Action("z", "add", 1.0)], priority=9.0),
            Event("one", "x", 1.0, direction="up", actions=[Action("y", "set", 2.0)], priority=first),
            Event("two", "x", 1.0, direction="up", actions=[Action("y", "scale", 10.0)], priority=second),
        ]

    doses = DosingSchedule().bolus(0.5, "x", 1.0) if jump else None
    times = [0.5, 1.0, 2.0] if jump else [1.0, 2.0]
    for (first, second), y, z in (((1, 0), 20.0, 1.0), ((0, 1), 2.0, 0.0), ((0, 0), 20.0, 1.0)):
        result = solve(run, CLOCK, events(first, second), doses=doses, save_at=times, t_end=2.5)
        assert result.summary() == {"ok": 1}
        assert result.trajectories["y"].tolist()[-1] == pytest.approx(y)
        assert result.trajectories["z"].tolist()[-1] == z
        if jump:
            assert result.trajectories["y"].tolist()[0] == pytest.approx(y)
        ends = result.endpoints.iloc[0]
        assert (ends["count_one"], ends["count_two"], ends["count_three"]) == (1, 1, z)
        assert ends["event_two"] == pytest.approx(0.5 if jump else 1.0, rel=1e-9)


@EVERY
def test_what_acts_on_each_other_for_ever_ends_with_a_status(run):
    events = [
        Event("up", "x", 1.0, direction="up", actions=[Action("x", "set", 0.0)]),
        Event("down", "x", 0.5, direction="down", actions=[Action("x", "set", 2.0)]),
    ]
    assert solve(run, CLOCK, events, {"speed": [1.0, 0.0]}).endpoints["status"].tolist() == [
        "max_steps",
        "ok",
    ]


@EVERY
def test_actions_reach_terminal_events_and_later_ones_count(run):
    give = Event("give", "x", 1.0, direction="up", actions=[Action("y", "add", 5.0)], after=0.5)
    early = Event("early", "x", 0.25, direction="up", actions=[Action("z", "add", 1.0)], after=0.5)
    end = Event("end", "y", 3.0, direction="up", terminal=True)
    ends = solve(run, CLOCK, [end, give, early]).endpoints.iloc[0]
    assert ends["t_reached"] == pytest.approx(1.0, rel=1e-9)
    assert (ends["final_y"], ends["final_z"], ends["count_early"]) == (5.0, 0.0, 0)
    late = Event("give", "x", 1.0, direction="up", actions=[Action("y", "add", 5.0)], delay=20.0)
    ends = solve(run, CLOCK, [end, late]).endpoints.iloc[0]
    assert (ends["t_reached"], ends["final_y"], ends["count_give"]) == (9.5, 0.0, 1)


@EVERY
@pytest.mark.parametrize("log", [False, True])
def test_who_has_less_than_is_removed_says_so(run, log):
    take = Event("take", "a", 0.5, direction="down", actions=[Action("a", "add", "more")])
    model = fading(log=log)
    model = model.replace(parameters=[Parameter(p.name, p.default, range=(-1, 1)) for p in model.parameters])
    ends = solve(run, model, [take], {"more": [-0.6, -0.4, 0.0]}).endpoints
    assert ends["status"].tolist() == ["negative", "ok", "ok"]
    np.testing.assert_allclose(ends["final_a"][1:], [0.1 * 2 * np.exp(-5), np.exp(-5)], rtol=1e-6)
    assert ends["count_take"].tolist()[1:] == [1, 1]


@EVERY
def test_an_action_has_the_value_that_its_parameter_has_then(run):
    doses = DosingSchedule().switch(2.0, "wait", 7.0)
    give = Event("give", "x", 3.0, direction="up", actions=[Action("y", "set", "wait")])
    assert solve(run, CLOCK, [give], doses=doses).endpoints["final_y"].item() == 7.0


@pytest.mark.parametrize("run", slow_but(SOLVERS[1:5], SOLVERS[:5]), ids=[m or e for e, m in SOLVERS[:5]])
def test_actions_in_a_batch_equal_each_alone_bit_for_bit(run, monkeypatch):
    rng = np.random.default_rng(8)
    n = 70
    patients = pd.DataFrame({"k": rng.uniform(0.2, 3, n), "wait": rng.uniform(0, 0.5, n)})
    patients["more"] = rng.uniform(0.1, 1, n)
    patients["patient"] = [f"p{i}" for i in range(n)]
    low = Event("low", "a", 0.5, direction="down", actions=[Action("a", "add", "more")], delay="wait")
    high = Event("high", "twice", 1.9, direction="up", actions=[Action("a", "scale", 0.5)])
    doses = DosingSchedule().bolus(2.0, "a", 0.4).bolus(2.5, "a", 0.9)
    options = {"rtol": 1e-6, "doses": doses, "save_at": [0, 2, 2.5, 5], "peaks": ["twice"]}
    model = fading(log=True)
    whole = solve(run, model, [low, high], patients, **options)
    assert whole.summary() == {"ok": n}
    ends = whole.endpoints.set_index("patient")
    for k in range(0, n, 9):
        alone = solve(run, model, [low, high], patients.iloc[[k]], **options).endpoints.set_index("patient")
        pd.testing.assert_frame_equal(ends.iloc[[k]], alone, check_exact=True)
    monkeypatch.setitem(batch._CHUNK, run[0], 13)
    again = solve(run, model, [low, high], patients.iloc[::-1], threads=1, **options).endpoints
    pd.testing.assert_frame_equal(ends, again.set_index("patient").loc[ends.index], check_exact=True)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"actions": ["v"]}, "The actions of event 'e' must be fastcart.Action, not 'v'."),
        ({"actions": Action("v", "ad", 1)}, "must be 'set', 'add' or 'scale', not 'ad'. Did you mean 'add'?"),
        ({"actions": Action("w", "add", 1)}, "The event 'e' acts on 'w', which is no state of model 'ball'."),
        (
            {"actions": Action("v", "add", None)},
            "The value of an action of event 'e' must be a finite number",
        ),
        ({"actions": Action("v", "add", "w")}, "The value 'w' of event 'e' is neither a parameter"),
        (
            {"actions": Action("v", "add", 1), "direction": "both"},
            "The event 'e' acts, so its direction must",
        ),
        ({"actions": Action("v", "add", 1), "terminal": True}, "The event 'e' acts, so its direction must"),
        ({"actions": Action("v", "add", 1), "delay": -1.0}, "The delay of event 'e' must not be negative"),
        ({"delay": 1.0}, "The event 'e' has a delay but does nothing; give actions."),
        ({"priority": "high"}, "The priority of event 'e' must be a finite number, not 'high'."),
    ],
)
def test_bad_actions_get_one_clear_sentence(more, words):
    with pytest.raises(InputError) as caught:
        solve(("auto", None), BALL, [Event("e", "h", 0.0, **{"direction": "down", **more})])
    assert words in str(caught.value)
