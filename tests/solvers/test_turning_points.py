"""Turning points and crossings within a step: the slope's polynomial decides, not the two ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

import fastcart
from fastcart import Event, Model, Observable, Parameter
from fastcart.solvers import tableaus
from fastcart.solvers.lanes import event_location
from fastcart.solvers.lanes.bernstein import MAX_DEGREE, STACK, roots, slope_weights
from fastcart.solvers.lanes.records import Roots, Turns

METHODS = ("tsit5", "vern7", "dop853", "stab5", "rodas5p")
ANY = (-math.inf, math.inf)


@njit
def _cubic(t, y, p):
    x = t - p[0]
    return (3 * x * x + 12 * x - 4 + p[1],)


@njit
def _same(t, y, p):
    return (y[0] + 1.0,)


CUBIC = Model(
    "cubic", {"y": -120.0}, [Parameter("at", 8.0), Parameter("tilt", 0.0, range=ANY)], _cubic, t_end=12.0,
    burden="y", observables=[Observable("shifted")], observe=_same,
)  # fmt: skip


def course(t):
    """Of the model at its defaults: (x + 6) (x^2 - 4) with x = t - 8."""
    x = np.asarray(t) - 8
    return (x + 6) * (x * x - 4)


@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
@pytest.mark.parametrize("method", METHODS)
def test_both_turning_points_of_a_cubic(method, rtol):
    start = float(course(0.0))
    turns = 8 + (-6 + np.array([-1, 1]) * math.sqrt(48)) / 3
    top, bottom = course(turns)
    events = [
        Event(f"{of}_{way}", of, level, way)
        for of, level in (("y", 0.0), ("shifted", 1.0))
        for way in ("up", "down", "both")
    ]
    options = dict(rtol=rtol, engine="lanes", method=method, peaks=["y", "shifted"], events=events)
    for t_end in (9.5, 12.0):
        row = fastcart.solve(CUBIC, {"y": [start]}, t_end=t_end, **options).endpoints.iloc[0]
        for of in ("y", "shifted"):
            counts = [row[f"count_{of}_{way}"] for way in ("up", "down", "both")]
            assert counts == ([2, 1, 3] if t_end > 10.0 else [1, 1, 2])
            assert row[f"event_{of}_up"] == pytest.approx(2.0, abs=1e-4)
            assert row[f"event_{of}_down"] == pytest.approx(6.0, abs=1e-4)
        if t_end == 9.5:
            assert row["peak_y"] == pytest.approx(top, rel=1e-6)
            assert row["peak_shifted"] == pytest.approx(top + 1, rel=1e-6)
            assert row["t_peak_y"] == pytest.approx(turns[0], abs=1e-3)
    # the same as a burden that begins at the top: its nadir is the bottom
    begun = fastcart.solve(CUBIC, {"y": [top], "at": [8 - turns[0]]}, t_end=12 - turns[0], **options)
    row = begun.endpoints.iloc[0]
    assert row["nadir"] == pytest.approx(bottom, rel=1e-6)
    assert row["t_nadir"] == pytest.approx(turns[1] - turns[0], abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_many_cubics_have_the_crossings_that_their_polynomials_have(method):
    """Random cubics: progression-free survival, progression, nadir, peaks and counts, from the roots."""
    rng = np.random.default_rng(8)
    at, tilt = rng.uniform(2, 9, 300), rng.uniform(-15, 30, 300)
    ends = fastcart.solve(
        CUBIC, {"at": at, "tilt": tilt, "y": np.zeros(300)}, rtol=1e-3, engine="lanes", method=method,
        events=[Event("zero", "y", -1e-3), Event("same", "shifted", 1 - 1e-3)], peaks=["y", "shifted"],
    ).endpoints  # fmt: skip
    for row, a, b in zip(ends.to_dict("records"), at, tilt, strict=True):
        p = np.polynomial.Polynomial([0, 3 * a * a - 12 * a - 4 + b, 6 - 3 * a, 1.0])
        extrema = [r.real for r in p.deriv().roots() if abs(r.imag) < 1e-9 and 0 < r.real < 12]
        assert row["nadir"] == pytest.approx(min([0.0, p(12.0), *p(np.array(extrema))]), abs=2e-3)
        highest = max([0.0, p(12.0), *p(np.array(extrema))])
        assert row["peak_y"] == pytest.approx(highest, rel=1e-6, abs=2e-3)
        assert row["peak_shifted"] == pytest.approx(highest + 1, rel=1e-6, abs=2e-3)
        zeros = sorted(r.real for r in (p + 1e-3).roots() if abs(r.imag) < 1e-9 and 0 < r.real < 12)
        if np.min(np.abs(np.diff(zeros)), initial=1.0) > 0.02:
            assert row["count_zero"] == len(zeros)
            assert row["count_same"] == len(zeros)
            if zeros:
                assert row["event_zero"] == pytest.approx(zeros[0], abs=1e-2)
        assert (p(12.0) <= 0) == (row["pfs"] == 12.0) or abs(p(12.0)) < 1e-2


def test_roots_where_a_polynomial_changes_sign_are_found_in_order():
    rng = np.random.default_rng(3)
    room, out = np.zeros((STACK, MAX_DEGREE + 3)), np.zeros(8)
    find = njit(roots.py_func)  # the kernels' own has no way in from Python
    for _ in range(300):
        degree = int(rng.integers(1, 7))
        places = np.sort(rng.uniform(-0.5, 1.5, degree))
        p = np.polynomial.Polynomial.fromroots(places) * rng.choice([-1e8, 1e-8, 1.0])
        inside = places[(places > 0) & (places < 1)]
        if np.min(np.diff(places), initial=1.0) < 1e-4:
            continue
        count = find(p.coef.copy(), degree, 0.0, 1.0, room, out, 0)
        np.testing.assert_allclose(out[:count], inside, atol=1e-7)
    double = np.polynomial.Polynomial.fromroots([0.3, 0.3])
    assert find(double.coef.copy(), 2, 0.0, 1.0, room, out, 0) == 0  # a touch is no crossing


def test_what_hardly_changes_is_followed_by_one_polynomial(monkeypatch):
    asked = []

    def value(theta, course):
        asked.append(theta)
        return 1.4e-8 * (1 + 1e-11 * (theta - 0.3) ** 2)  # two cells that grow at one rate, one by the other

    monkeypatch.setattr(event_location, "value_of", value)
    monkeypatch.setattr(event_location, "_follows", event_location._follows.py_func)
    monkeypatch.setattr(event_location, "roots", njit(roots.py_func))
    parts = event_location.HALVINGS + 2
    turns = Turns(np.zeros((1, 9)), np.zeros(1, np.int64), np.zeros((parts, 2)), np.zeros(11), 1e-3)
    work, out = Roots(np.zeros(MAX_DEGREE + 3), np.zeros((STACK, MAX_DEGREE + 3))), np.zeros(9)
    assert event_location._sampled_turns.py_func(None, out, turns, work) == 1
    assert out[0] == pytest.approx(0.3, abs=1e-3)
    assert len(asked) == 11  # eight nodes, three places between them: nothing was halved


@pytest.mark.parametrize("name", tableaus.NAMES)
def test_bounds_are_exact_for_slopes_of_low_degree(name):
    """Slopes that are polynomials of time: the Bernstein coefficients of the bounds are theirs."""
    weights = slope_weights(tableaus.get(name))
    degree = len(weights) - 1
    if name == "rodas5p":
        assert degree == 3  # its stages are no slopes: their combination is tested by the cubics above
        return
    c = tableaus.get(name).c
    theta = np.linspace(0, 1, 7)
    for power in range(degree + 1):
        corners = weights @ c**power
        basis = [math.comb(degree, i) * theta**i * (1 - theta) ** (degree - i) for i in range(degree + 1)]
        np.testing.assert_allclose(corners @ np.array(basis), theta**power, atol=1e-9)


def test_a_dose_onto_a_threshold_is_no_crossing():
    @njit
    def fades(t, y, p):
        return (-0.1 * y[0],)

    model = Model("fades", {"y": 1.0}, {"k": 1.0}, fades, t_end=20.0)
    level = math.exp(-1.0) + 3.0
    events = [Event(way, "y", level, way) for way in ("up", "down")]
    # at day 10 the state is exp(-1) to rounding: the threshold is what the engine itself has then
    before = fastcart.solve(model, 1, t_end=10.0, rtol=1e-9).endpoints["final_y"].item()
    events = [Event(way, "y", before + 3.0, way) for way in ("up", "down")]
    doses = fastcart.DosingSchedule().bolus(10.0, "y", 3.0)
    row = fastcart.solve(model, 1, doses=doses, events=events, rtol=1e-9).endpoints.iloc[0]
    assert row["count_up"] == row["count_down"] == 0
    more = fastcart.DosingSchedule().bolus(10.0, "y", 3.1)
    row = fastcart.solve(model, 1, doses=more, events=events, rtol=1e-9).endpoints.iloc[0]
    assert row["count_up"] == row["count_down"] == 1
