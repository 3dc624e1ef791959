"""What a step may leap over: breaks, longest steps, pulses; what ends with a status instead of a number."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from conftest import slow_but
from numba import njit

import fastcart
from fastcart import DosingSchedule, InputError, Model, Observable, Parameter, PatientsFailed, State

METHODS = ("tsit5", "vern7", "dop853", "stab5", "rodas5p")
ENGINES = ("auto", "lsoda", "scipy")
ANY = (-math.inf, math.inf)


@njit
def _pulse(t, y, p):
    on, off, rate, loss = p
    inflow = rate if on < t and t <= off else 0.0
    return (inflow - loss * y[0],)


PULSE = Model("pulse", {"y": 0.0}, {"on": 45.0, "off": 55.0, "rate": 2.0, "loss": 0.05}, _pulse, t_end=100.0)


def after_pulse(on, off, t=100.0):
    given = 2.0 * (1 - np.exp(-0.05 * (np.asarray(off) - on))) / 0.05
    return given * np.exp(-0.05 * (t - np.asarray(off)))


@pytest.mark.parametrize("engine", ENGINES)
def test_breaks_make_a_pulse_exact(engine):
    on, off = np.array([45.0, 10.1, 99.0, 3.0]), np.array([55.0, 10.103, 99.5, 50.0])
    result = fastcart.solve(
        PULSE, {"on": on, "off": off}, breaks=["on", "off"], engine=engine, rtol=1e-8, save_at=[50.0, 100.0]
    )
    np.testing.assert_allclose(result.endpoints["final_y"], after_pulse(on, off), rtol=1e-6, atol=1e-8)
    if engine == "auto":
        assert result.endpoints["rejected"].sum() == 0  # nobody stumbles over a jump
    shared = fastcart.solve(PULSE, 3, breaks=[45, 55.0], engine=engine, rtol=1e-8).endpoints["final_y"]
    np.testing.assert_allclose(shared, after_pulse(45.0, 55.0), rtol=1e-6)


@njit
def _given(t, y, p):
    on, off, loss = p
    return ((1.0 / (off - on) if on < t and t <= off else 0.0) - loss * y[0],)


@pytest.mark.parametrize("method", METHODS)
def test_a_pulse_that_is_hardly_longer_than_the_breaks_themselves(method):
    """What is given while a step passes over a break comes from the slopes on its two sides."""
    model = Model("given", {"y": 0.0}, {"on": 8.0, "off": 9.0, "loss": 1e-9}, _given, t_end=10.0)
    width = 2.0 ** -np.array([30, 34, 38])  # these sums are exact
    patients = {"on": [8.0] * 3, "off": 8.0 + width}
    ends = fastcart.solve(model, patients, breaks=["on", "off"], method=method, rtol=1e-6).endpoints
    least = np.spacing(8.0)  # a time is known no better
    assert (abs(ends["final_y"] - 1.0) < 1e-8 + 4.0 * least / width).all()


@njit
def _decaying(t, y, p):
    return (-p[0] * y[0],)


@pytest.mark.parametrize("engine", ["lanes", "lsoda", "scipy"])
@pytest.mark.parametrize("log", [False, True])
def test_an_inflow_that_begins_at_a_break_passes_a_level_there(engine, log):
    """What stood on its start exactly was above it behind the break, with nobody seeing it pass."""
    model = Model(
        "decaying", [State("y", default=1.0, log=log)], {"rate": 0.0}, _decaying, t_end=10.0, burden="y"
    )
    up = fastcart.Event("up", "y", 1.0, direction="up")
    doses = DosingSchedule().infusion(5.0, "y", 3.0, 0.5)
    ends = fastcart.solve(
        model, {"rate": [0.0, 0.1]}, doses=doses, breaks=[5.0], engine=engine, events=[up], rtol=1e-8
    ).endpoints
    later = 5.0 + 10.0 * np.log((60.0 - np.exp(-0.5)) / 59.0)  # y' = 6 - y / 10 from exp(-1/2) on
    for name in ("pfs", "progression", "event_up"):
        assert ends[name].tolist() == pytest.approx([5.0, later], abs=1e-7), name


@pytest.mark.parametrize("engine", ENGINES)
def test_a_longest_step_sees_a_pulse(engine):
    found = fastcart.solve(PULSE, 1, max_step=2.0, engine=engine, rtol=1e-6).endpoints
    assert found["final_y"].item() == pytest.approx(after_pulse(45.0, 55.0), rel=1e-4)
    if engine != "lsoda":
        assert found["steps"].item() >= 50


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("low", [-0.5, -1.5])
def test_a_switch_to_and_fro_is_not_leapt_over(method, low):
    @njit
    def switching(t, y, p):
        return (1.0 if t % 1.0 < 0.5 else p[0],)

    model = Model("switching", {"y": 1.0}, [Parameter("low", 0.0, range=ANY)], switching, t_end=50.0)
    right = 1 + 25 * (1 + low)
    for rtol in (1e-6, 1e-9):
        end = fastcart.solve(model, {"low": [low]}, engine="lanes", method=method, rtol=rtol).endpoints
        # each of a hundred jumps may cost a tolerance of the largest value
        assert abs(end["final_y"].item() - right) < 100 * rtol * 40


@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_a_stiff_state_follows_its_forcing_within_the_steps_too(rtol):
    @njit
    def forced(t, y, p):
        return (-1e9 * (y[0] - math.sin(50 * t)),)

    times = np.linspace(0, 5, 501)
    result = fastcart.solve(
        Model("forced", {"y": 0.0}, {"k": 1.0}, forced, t_end=5.0), 1, rtol=rtol, save_at=times
    )
    error = np.abs(result.trajectories["y"] - np.sin(50 * times))
    assert result.summary() == {"ok": 1}
    assert error.max() < 30 * rtol


def test_breaks_with_doses_events_and_columns():
    doses = DosingSchedule().bolus(45.0, "y", 7.0).infusion(50.0, "y", 4.0, duration=10.0)
    patients = {"on": [45.0, 45.0], "off": [55.0, 55.0], "mine": [20.0, 45.0]}
    result = fastcart.solve(
        PULSE, patients, doses=doses, breaks=["on", "off", "mine"], save_at=[45.0, 100.0], rtol=1e-9,
        events=[fastcart.Event("high", "y", 6.5, "up")],
    )  # fmt: skip
    infused = 4.0 / 10 * (1 - math.exp(-0.5)) / 0.05 * math.exp(-0.05 * 40)
    right = after_pulse(45.0, 55.0) + 7 * math.exp(-0.05 * 55) + infused
    np.testing.assert_allclose(result.endpoints["final_y"], right, rtol=1e-7)
    np.testing.assert_allclose(result.trajectories["y"][::2], 7.0, rtol=1e-9)  # after the dose
    np.testing.assert_allclose(result.endpoints["event_high"], 45.0, atol=1e-9)
    plain = fastcart.solve(PULSE, patients, doses=doses, breaks=[45, 55], rtol=1e-9, keep=["mine"])
    np.testing.assert_allclose(plain.endpoints["final_y"], right, rtol=1e-7)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(max_step=0.0), "max_step"),
        (dict(max_step=1e-9), "raise one of them"),
        (dict(breaks=[-1.0]), "must not be negative"),
        (dict(breaks=["nowhere"]), "neither a parameter"),
        (dict(breaks=["y"]), "is a state"),
        (dict(breaks=[math.nan]), "finite"),
        (dict(breaks=3.0, engine="published"), "fixed step|no published"),
    ],
)
def test_bad_steps_and_breaks_are_one_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        fastcart.solve(PULSE, 1, **options)
    assert "\n" not in str(caught.value)


@njit
def _picky(t, y, p):
    if y[0] < p[1]:
        raise ValueError("too low")
    return (-p[0] * y[0],)


PICKY = Model("picky", {"y": 1.0}, {"k": 0.1, "low": 0.2}, _picky, t_end=10.0)


@pytest.mark.parametrize("method", [None, *METHODS])
def test_a_right_hand_side_that_raises_has_a_status_and_harms_no_neighbour(method):
    low = np.full(70, 0.2)
    low[[3, 40, 41]] = 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PatientsFailed)
        ends = fastcart.solve(PICKY, {"low": low}, method=method).endpoints
    assert ends["status"].eq("rhs_error").to_numpy().nonzero()[0].tolist() == [3, 40, 41]
    assert ends.loc[[3, 40, 41], "final_y"].isna().all()
    np.testing.assert_allclose(ends["final_y"].drop([3, 40, 41]), math.exp(-1), rtol=1e-5)


def test_observables_that_raise_are_refused():
    @njit
    def observe(t, y, p):
        if y[0] < 0.5:
            raise ValueError("too low")
        return (y[0],)

    with pytest.raises(InputError, match="raises an error in line"):
        Model("m", {"y": 1.0}, {"k": 0.1}, _picky_rhs, observables=[Observable("o")], observe=observe)


@njit
def _picky_rhs(t, y, p):
    return (-p[0] * y[0],)


@njit
def _consumed(t, y, p):
    return (-y[0] / (p[0] + y[0]),)


@njit
def _minus_one(t, y, p):
    return (-1.0 + 0.0 * p[0],)


SCIPY = pytest.param("scipy", marks=pytest.mark.slow)  # which takes half a minute to give up


@pytest.mark.parametrize("engine", ["auto", "lanes", "lsoda", SCIPY])
def test_what_counts_something_does_not_fall_below_zero(engine):
    """Consumption that saturates ends at zero, or the patient has a status: never at -10 with status ok."""
    states = [State("y", default=10.0, nonnegative=True)]
    for constant in (1e-3, 1e-6):
        model = Model("consumed", states, {"Km": constant}, _consumed, t_end=20.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PatientsFailed)
            row = fastcart.solve(model, 1, engine=engine).endpoints.iloc[0]
        if row["status"] == "ok":
            assert -1e-5 <= row["final_y"] < 1e-5
        assert row["status"] == "ok" or engine != "auto"
    with pytest.warns(PatientsFailed):
        row = fastcart.solve(
            Model("m", states, {"k": 0.0}, _minus_one, t_end=20.0), 1, engine=engine
        ).endpoints.iloc[0]
    assert row["status"] == "negative"
    assert math.isnan(row["final_y"])


def test_a_nonnegative_state_must_begin_so():
    states = [State("y", default=-1.0, nonnegative=True)]
    with pytest.raises(InputError, match="marked nonnegative"):
        Model("m", states, {"k": 0.0}, _minus_one)
    model = Model("m", [State("y", default=1.0, nonnegative=True)], {"k": 0.0}, _minus_one)
    with pytest.raises(InputError, match="-3"):
        fastcart.solve(model, {"y": [-3.0]})


def test_a_tumor_that_is_seeded_again_is_not_cured():
    states = [State("C", "cells", 10.0, log=True, extinction=True)]
    model = Model("seeded", states, {"k": 1.0}, _picky_rhs, t_end=10.0, burden="C")
    for doses, cured in ((None, True), (DosingSchedule().bolus(8.0, "C", 1e9), False)):
        row = fastcart.solve(model, 1, extinction=1.0, doses=doses).endpoints.iloc[0]
        assert bool(row["cured"]) == cured
        assert (row["final_C"] == 0.0) == cured


def test_an_inflow_into_a_state_that_may_die_out_lets_it_rise():
    states = [State("y", "cells", 0.0, log=True, extinction=True)]
    model = Model("infused", states, {"k": 1.0}, _picky_rhs, t_end=0.5)
    doses = DosingSchedule().infusion(0.0, "y", 40.0, duration=0.25)
    row = fastcart.solve(model, 1, extinction=0.1, doses=doses).endpoints.iloc[0]
    right = 160 * (1 - math.exp(-0.25)) * math.exp(-0.25)
    assert row["final_y"] == pytest.approx(right, rel=1e-5)


def test_who_starts_very_stiff_or_ends_at_a_square_root_is_solved():
    @njit
    def robertson(t, y, p):
        a, b, c = y
        return -0.04 * a + 1e4 * b * c, 0.04 * a - 1e4 * b * c - 3e7 * b * b, 3e7 * b * b

    states = [State("a", default=1.0), State("b", scale=1e-6), State("c")]
    model = Model("robertson", states, {"k": 1.0}, robertson, t_end=1e11)
    row = fastcart.solve(model, 1, rtol=1e-8).endpoints.iloc[0]
    assert row["status"] == "ok"
    assert row["final_a"] == pytest.approx(2.083340149e-8, rel=1e-3)  # Hairer & Wanner II, IV.10

    @njit
    def draining(t, y, p):
        return (-math.sqrt(y[0]),)

    # behind day 2 it has no value that a step could find: zero, or refused
    model = Model("draining", {"y": 1.0}, {"k": 1.0}, draining, t_end=5.0)
    row = fastcart.solve(model, 1, warn=False).endpoints.iloc[0]
    assert math.isnan(row["final_y"]) if row["status"] != "ok" else abs(row["final_y"]) < 1e-5


def test_the_command_line_takes_breaks_and_longest_steps(tmp_path, monkeypatch):
    """`li_lei` has no switch: the answers stay, the steps become more."""
    import pandas as pd

    from fastcart.cli import main

    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"patient": ["a", "b"], "switch": [3.0, 4.5]}).to_csv("p.csv", index=False)
    command = "run li_lei_coarse --patients p.csv --out {} --quiet"
    assert main([*command.format("plain.csv").split(), "--keep", "switch"]) == 0
    assert main(f"{command.format('breaks.csv')} --breaks 2.5,switch --max-step 1".split()) == 0
    plain, found = pd.read_csv("plain.csv"), pd.read_csv("breaks.csv")
    np.testing.assert_allclose(found["pfs"], plain["pfs"], rtol=1e-5)
    assert (found["steps"] >= 100).all()
    assert main(f"{command.format('bad.csv')} --breaks nowhere".split()) == 2


@njit
def _swing(t, y, p):
    return y[1], -p[0] * p[0] * y[0]


@njit
def _kinks(t, y, p):
    return max(y[0] - p[1], 0.0), (1.0 if y[0] > p[1] else 0.0), math.floor(t), math.sqrt(abs(y[0]))


KINKED = Model(
    "kinked", {"x": 0.0, "v": 1.0}, {"w": 1.0, "level": 0.5}, _swing, t_end=20.0,
    observables=[Observable(name) for name in ("ramp", "on", "days", "root")], observe=_kinks,
)  # fmt: skip


@pytest.mark.parametrize(
    "method", slow_but(["tsit5"], METHODS[:-1])
)  # the Jacobian of rodas5p is of differences: it has no corners
def test_observables_that_set_in_with_a_corner_are_solved(method):
    """They begin at zero, where an integral has no size of its own to be measured by."""
    levels = np.linspace(0.05, 0.95, 20)
    names = ["ramp", "on", "days", "root"]
    for rtol in (1e-4, 1e-6):
        ends = fastcart.solve(
            KINKED,
            {"level": levels},
            peaks=names,
            auc=["ramp", "on"],
            engine="lanes",
            method=method,
            rtol=rtol,
        ).endpoints
        assert ends["status"].eq("ok").all()
        np.testing.assert_allclose(ends["peak_ramp"], 1 - levels, rtol=30 * rtol)
        # above the level from asin(level) to pi - asin(level) in each of four turns; the fourth is cut at 20
        up, cut = np.arcsin(levels), 20 - 6 * np.pi
        last = np.clip(np.minimum(np.pi - up, cut) - up, 0, None)
        on = 3 * (np.pi - 2 * up) + last
        np.testing.assert_allclose(ends["auc_on"], on, rtol=200 * rtol)
        area = 3 * (2 * np.cos(up) - levels * (np.pi - 2 * up))
        area += np.where(last > 0, np.cos(up) - np.cos(up + last) - levels * last, 0.0)
        np.testing.assert_allclose(ends["auc_ramp"], area, rtol=30 * rtol)


def test_a_jump_that_is_a_terminal_event_ends_the_course():
    states = [State("C", default=1e6, log=True, extinction=True)]
    model = Model("jump", states, {"k": 0.1}, _picky_rhs, t_end=10.0, burden="C")
    stop = [fastcart.Event("stop", "C", 2e6, "up", terminal=True)]
    doses = DosingSchedule().bolus(3, "C", 1e7).bolus(5, "C", 1e7)
    row = fastcart.solve(model, 1, doses=doses, events=stop, save_at=[2.0, 3.0, 4.0]).endpoints.iloc[0]
    assert (row["t_reached"], row["event_stop"], row["count_stop"]) == (3.0, 3.0, 1)
    assert row["final"] == pytest.approx(1e7 + 1e6 * math.exp(-0.3), rel=1e-6)
    gone = [fastcart.Event("gone", "C", 0.3, "down", terminal=True)]
    row = fastcart.solve(model, {"C": [0.5]}, extinction=1.0, events=gone).endpoints.iloc[0]
    assert (row["t_reached"], row["event_gone"], row["nadir"], row["final"]) == (0.0, 0.0, 0.0, 0.0)
    growing = model.replace(rhs=_growing)
    row = fastcart.solve(growing, {"C": [0.5]}, extinction=1.0).endpoints.iloc[0]
    assert row["cured"]
    assert row["nadir"] == row["final"] == 0.0
    assert math.isnan(row["progression"])


@njit
def _growing(t, y, p):
    return (p[0] * y[0],)


def test_a_dose_at_the_horizon_is_progression_there():
    model = Model("late", [State("C", default=1e6, log=True)], {"k": 1.0}, _picky_rhs, t_end=10.0, burden="C")
    for engine in ENGINES:
        row = fastcart.solve(
            model, 1, doses=DosingSchedule().bolus(10, "C", 1e7), engine=engine
        ).endpoints.iloc[0]
        assert (row["pfs"], row["progression"], bool(row["censored"])) == (10.0, 10.0, False)
        assert bool(fastcart.solve(model, 1, engine=engine).endpoints["censored"].item())


def test_integrals_that_are_added_cannot_be_given():
    for column in ("auc_x", "_integral_of_ramp"):
        with pytest.raises(InputError, match="is not a parameter or state"):
            fastcart.solve(KINKED, {column: [5.0]}, auc=["x"], peaks=["ramp"])
    with pytest.raises(InputError, match="is not a state"):
        fastcart.solve(KINKED, 1, auc=["x"], doses=DosingSchedule().bolus(2, "auc_x", 100.0))
