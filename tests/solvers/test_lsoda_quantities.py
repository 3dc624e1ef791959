"""Engines lsoda and scipy: what is asked of a solution is right to the tolerance, or there is a status."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

import fastcart
from fastcart import Model, Observable, State

ENGINES = ["lsoda", "scipy"]


def solve(model, engine, patients=1, **options):
    return fastcart.solve(model, patients, engine=engine, warn=False, **options).endpoints


@njit
def _decay(t, y, p):
    return (-p[0] * y[0],)


@njit
def _look(t, y, p):
    return (y[0] * math.sin(2 * math.pi * t) ** 2, y[0] * math.cos(3 * t), y[0] / (2.0 + y[0]))


WATCHED = [Observable("beat"), Observable("swing"), Observable("quotient")]
LOG = Model("log", [State("y", default=1e6, log=True)], {"k": 0.5}, _decay, t_end=100.0)
LINEAR = Model(
    "linear", {"y": 1.0}, {"k": 0.01}, _decay, t_end=100.0, observables=WATCHED, observe=_look
)  # fmt: skip


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_integral_of_a_state_in_logarithm(engine, rtol):
    """The logarithm is a straight line, which says nothing about the state."""
    found = solve(LOG, engine, auc=["y"], rtol=rtol)
    exact = 2e6 * (1 - math.exp(-50))
    assert found["status"].tolist() == ["ok"]
    assert abs(found["auc_y"][0] / exact - 1) < 30 * rtol


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("engine", ENGINES)
def test_integrals_of_what_is_faster_than_its_states(engine, rtol):
    found = solve(LINEAR, engine, auc=["beat", "swing", "quotient"], rtol=rtol).iloc[0]
    k, w, end = 0.01, 4 * math.pi, math.exp(-1)

    def cosine(w):  # ∫ exp(-k t) cos(w t) dt to t = 100
        return (end * (w * math.sin(100 * w) - k * math.cos(100 * w)) + k) / (k * k + w * w)

    assert found["status"] == "ok"
    beat = 0.5 * (1 - end) / k - 0.5 * cosine(w)
    assert abs(found["auc_beat"] / beat - 1) < 30 * rtol
    size = 2 / math.pi * (1 - end) / k  # about the integral of the absolute value
    assert abs(found["auc_swing"] - cosine(3.0)) < 30 * rtol * size
    quotient = math.log(3 / (2 + end)) / k
    assert abs(found["auc_quotient"] / quotient - 1) < 30 * rtol


@pytest.mark.parametrize("engine", ENGINES)
def test_the_unit_of_a_state_does_not_change_the_error_of_its_integral(engine):
    """A guess of the size by the start is far off for what begins at zero or decays fast, of any unit."""
    for y0 in (1e-9, 1.0, 1e12):
        found = solve(LOG, engine, {"y": [y0], "k": [30.0]}, auc=["y"])
        assert abs(found["auc_y"][0] / (y0 / 30) - 1) < 3e-5
    doses = {"time": [50.0], "state": ["y"], "amount": [1e-7]}
    found = solve(LINEAR, engine, {"y": [0.0], "k": [1.0]}, auc=["y"], doses=doses, atol=1e-15)
    assert abs(found["auc_y"][0] / 1e-7 - 1) < 3e-5


@pytest.mark.parametrize("engine", ENGINES)
def test_integrals_go_on_over_doses_and_are_saved(engine):
    doses = {"time": [10.0, 20.0], "state": ["y", "y"], "amount": [2.0, 3.0], "duration": [0.0, 5.0]}
    result = fastcart.solve(
        LINEAR, {"k": [0.5]}, engine=engine, auc=["y"], doses=doses, save_at=[10.0, 100.0], rtol=1e-8
    )  # fmt: skip
    final = result.endpoints["final_y"][0]
    assert math.isclose(result.endpoints["auc_y"][0], (1 + 2 + 3 - final) / 0.5, rel_tol=1e-7)
    saved = result.trajectories["auc_y"]
    assert math.isclose(saved[0], (1 - math.exp(-5)) / 0.5, rel_tol=1e-7)
    assert saved[1] == result.endpoints["auc_y"][0]


@njit
def _wave(t, y, p):  # y - y0 = x (x - 1) (x - 2) (x - 3)
    x = y[1]
    return (((4 * x - 18) * x + 22) * x - 6, 1.0)


WAVE = Model("wave", {"y": 10.0, "x": 0.0}, {}, _wave, burden="y")


@pytest.mark.parametrize("t_end", [3.5, 10.0, 1000.0, 4000.0])
@pytest.mark.parametrize("engine", ENGINES)
def test_crossings_and_turning_points_that_one_step_or_one_interval_holds(engine, t_end):
    """High orders take a polynomial in one step; of 4000 days all of it lies in the first of 200 parts."""
    for rtol in (1e-3, 1e-6, 1e-9):
        found = solve(WAVE, engine, t_end=t_end, rtol=rtol).iloc[0]
        assert abs(found["progression"] - 1) < 100 * rtol
        assert abs(found["pfs"] - 3) < 100 * rtol
        assert abs(found["nadir"] - 9) < 100 * rtol
        turn = (3 - math.sqrt(5)) / 2
        assert min(abs(found["t_nadir"] - turn), abs(found["t_nadir"] - (3 - turn))) < 30 * math.sqrt(rtol)


@njit
def _jumping(t, y, p):
    if t == 10.0:  # belongs to neither side
        return (1e6,)
    return (1.0 if t < 10.0 else -2.0,)


JUMPING = Model("jumping", {"y": 0.0}, {}, _jumping, t_end=20.0, burden="y")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_break_is_met_exactly_and_seen_from_its_own_side(engine):
    result = fastcart.solve(JUMPING, engine=engine, breaks=[10.0], save_at=[5.0, 10.0, 15.0])
    found = result.endpoints.iloc[0]
    np.testing.assert_allclose(result.trajectories["y"], [5.0, 10.0, 0.0], rtol=1e-9, atol=1e-9)
    assert math.isclose(found["final_y"], -10.0, rel_tol=1e-9)
    assert found["steps"] < 150


@njit
def _own_jump(t, y, p):
    return (1.0 if t <= p[0] else -1.0,)


@pytest.mark.parametrize("engine", ENGINES)
def test_breaks_of_each_patient_s_own_and_doses_at_them(engine):
    model = Model("own jump", {"y": 0.0}, {"at": 5.0}, _own_jump, t_end=20.0)
    doses = {"time": [7.0], "state": ["y"], "amount": [100.0]}
    found = solve(model, engine, {"at": [3.0, 7.0, 20.0]}, breaks=["at"], doses=doses)
    np.testing.assert_allclose(found["final_y"], [86.0, 94.0, 120.0], rtol=1e-9)


@njit
def _ending(t, y, p):
    return (math.sqrt(p[0] - t) if t < 20.0 else math.nan,)


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_evaluated_behind_the_horizon(engine):
    """Behind the horizon there is no derivative at all."""
    model = Model("ending", {"y": 0.0}, {"end": 10.0}, _ending, t_end=10.0)
    found = solve(model, engine)
    assert found["status"].tolist() == ["ok"]
    assert math.isclose(found["final_y"][0], 2 / 3 * 10**1.5, rel_tol=1e-4)


@njit
def _pulse(t, y, p):
    return (1.0 if p[0] <= t < p[0] + p[1] else 0.0,)


PULSE = Model("pulse", {"y": 0.0}, {"begin": 40.0, "length": 10.0}, _pulse, t_end=100.0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pulse_is_not_stepped_over(engine):
    begin = np.array([3.3, 40.0, 71.7, 89.2])
    found = solve(PULSE, engine, {"begin": begin, "length": [10.0, 10.0, 2.0, 1.0]})
    assert found["status"].tolist() == ["ok"] * 4
    np.testing.assert_allclose(found["final_y"], [10.0, 10.0, 2.0, 1.0], rtol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_step_is_longer_than_asked_for(engine):
    """A pulse too short to be found by looking for it."""
    found = solve(PULSE, engine, {"begin": [40.03], "length": [0.02]}, max_step=0.015)
    assert found["status"].tolist() == ["ok"]
    assert abs(found["final_y"][0] - 0.02) < 1e-4
    assert found["steps"][0] >= 100 / 0.015 * 0.99


@njit
def _chased(t, y, p):
    return (-p[0] * (y[0] - math.sin(50 * t)),)


@pytest.mark.parametrize(("engine", "method"), [("lsoda", None), ("scipy", "Radau")])
def test_a_stiff_state_follows_a_fast_forcing_or_has_a_status(engine, method):
    """Steps of whole periods see a constant."""
    model = Model("chased", {"y": 0.0}, {"k": 1e9}, _chased, t_end=4.0)
    times = np.linspace(0.5, 4.0, 57)
    result = fastcart.solve(model, engine=engine, method=method, save_at=times, warn=False)
    if result.summary() == {"ok": 1}:
        np.testing.assert_allclose(result.trajectories["y"], np.sin(50 * times), atol=1e-3)


@pytest.mark.parametrize("method", ["Radau", "BDF", "LSODA", "RK45"])
def test_every_method_of_scipy_integrates(method):
    found = solve(LINEAR, "scipy", auc=["y"], method=method, rtol=1e-7).iloc[0]
    assert found["status"] == "ok"
    assert math.isclose(found["auc_y"], (1 - math.exp(-1)) / 0.01, rel_tol=3e-6)


@njit
def _eaten(t, y, p):
    return (-y[0] / (p[0] + y[0]),)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_count_does_not_end_below_zero(engine):
    model = Model(
        "eaten", [State("y", default=10.0, nonnegative=True)], {"Km": 1e-6}, _eaten, t_end=20.0
    )  # fmt: skip
    for km in (1e-6, 0.1):
        found = solve(model, engine, {"Km": [km]}, max_steps=1000)
        status = found["status"][0]
        assert status == "ok" if km == 0.1 else status in ("ok", "negative", "max_steps")
        if status == "ok":
            assert -1e-4 < found["final_y"][0] < 1e-3


@njit
def _refusing(t, y, p):
    if y[0] < p[1]:
        raise ValueError("too low")
    return (-p[0] * y[0],)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_right_hand_side_that_raises_is_never_ok(engine):
    model = Model("refusing", {"y": 1.0}, {"k": 0.5, "low": 0.0}, _refusing, t_end=10.0)
    found = solve(model, engine, {"low": [0.5, 0.0, 2.0]})
    assert found["status"].tolist() == ["rhs_error", "ok", "rhs_error"]
    assert math.isclose(found["final_y"][1], math.exp(-5), rel_tol=1e-4)
    assert np.isnan(found["final_y"][[0, 2]]).all()


RAISES, NAN, ZERO_BY_ZERO, ROOT = range(4)


@njit
def _without_derivatives_from_2_on(t, y, p):
    left = 2.0 - y[0]
    slope = p[0] * y[0]
    if left < 0.0:
        if p[1] == RAISES:
            raise ValueError("too high")
        if p[1] == NAN:
            slope = math.nan
        if p[1] == ZERO_BY_ZERO:
            slope *= max(left, 0.0) / max(left, 0.0)
    return (slope if p[1] != ROOT else slope + 1e-9 * math.sqrt(left),)


@pytest.mark.parametrize(
    ("engine", "method"),
    [pytest.param("auto", None, marks=pytest.mark.slow), ("lanes", "tsit5"), ("lanes", "rodas5p")]
    + [("lsoda", None)]
    + [("scipy", method) for method in ("DOP853", "Radau", "RK45", "BDF", "LSODA")],
)
def test_a_state_that_rises_to_where_there_are_no_derivatives_says_why_it_failed(engine, method):
    model = Model("ending", {"y": 1.0}, {"g": 1.0, "way": 0.0}, _without_derivatives_from_2_on, t_end=3.0)
    ways, rates = [RAISES, NAN, ZERO_BY_ZERO, ROOT], np.array([1.0, 0.3, 2.0])
    table = {"way": np.repeat(ways, 3), "g": np.tile(rates, 4)}
    found = solve(model, engine, table, method=method)
    reasons = dict(zip(ways, ["rhs_error", *["non_finite"] * 3], strict=True))
    assert found["status"].tolist() == [reasons[way] for way in table["way"]]
    # how far it came; a method of several steps gives up behind its last one
    near = 0.2 if method in ("BDF", "LSODA") else 1e-3
    np.testing.assert_allclose(found["t_reached"], np.tile(math.log(2.0) / rates, 4), rtol=near)


@njit
def _at(values, k):
    return values[k]


@njit
def _indexing(t, y, p):
    return (_at((1.0, 2.0, 3.0), int(t)),)  # raises from day 3 on


@pytest.mark.parametrize("engine", ENGINES)
def test_errors_that_the_code_does_not_show_are_never_ok(engine, monkeypatch):
    monkeypatch.setattr("sys.unraisablehook", lambda error: None)
    model = Model("indexing", {"y": 0.0}, {}, _indexing, t_end=2.5)
    with np.errstate(all="ignore"):
        assert solve(model, engine, t_end=5.0)["status"].tolist() == ["rhs_error"]


def test_an_error_while_compiling_is_not_one_of_the_patient(monkeypatch):
    """Such as a warning about the compiled code on disk, where warnings are errors."""

    class Damaged:
        def compile(self, signature):
            raise UserWarning("a compiled kernel on disk is not used")

    monkeypatch.setattr("fastcart.solvers.scipy_ivp.internal_rhs", lambda *_: Damaged())
    with pytest.raises(UserWarning, match="on disk"):
        solve(LOG, "scipy")
