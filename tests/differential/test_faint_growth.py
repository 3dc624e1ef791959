"""What is far below the absolute tolerance and grows decides the course later: its own size measures it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from numba import njit

import fastcart
from fastcart import Model, State

CAPACITY, SPEED = 10.0, 1000.0
DAYS = np.linspace(0.0, 100.0, 41)
PATIENTS = pd.DataFrame(
    [(start, rate) for start in (1e-12, 1e-11, 1e-9, 1e-6, 1e-3) for rate in (0.2, 0.5, 1.0, 3.0, 8.0, 10.0)],
    columns=["E", "a"],
)


@njit
def gentle(t, y, p):
    E, C = y
    return (p[0] * E * (1.0 - E / CAPACITY), 0.1 * (E - C))


@njit
def stiff(t, y, p):
    E, C = y
    return (p[0] * E * (1.0 - E / CAPACITY), SPEED * (E - C))


@njit
def untraceable(t, y, p):
    E, C = y
    total = 0.0
    while total < 1.0:
        total += 0.5
    return (p[0] * E * (total - E / CAPACITY), SPEED * (E - C))


def model(rhs) -> Model:
    return Model("cells", [State("E", default=1.0), State("C", default=0.0)], {"a": 1.0}, rhs, t_end=DAYS[-1])


CASES = [
    *((gentle, method) for method in (None, "tsit5", "vern7", "dop853", "stab5")),
    *((stiff, method) for method in (None, "rodas5p", "stab5")),
    (untraceable, "rodas5p"),
]


@pytest.mark.parametrize(("rhs", "method"), CASES, ids=lambda x: getattr(x, "__name__", str(x)))
def test_few_cells_grow_as_they_should(rhs, method):
    engine = "auto" if method is None else "lanes"
    result = fastcart.solve(model(rhs), PATIENTS, save_at=DAYS, engine=engine, method=method, warn=False)
    late = result.trajectories["E"].to_numpy().reshape(len(PATIENTS), -1)
    start, rate = PATIENTS["E"].to_numpy()[:, None], PATIENTS["a"].to_numpy()[:, None]
    exact = CAPACITY / (1.0 + (CAPACITY / start - 1.0) * np.exp(-rate * DAYS))
    assert (result.endpoints["status"] == "ok").all()
    off = abs(late - exact).max(axis=1) / CAPACITY
    assert off[PATIENTS["E"] > 1e-12].max() < 3e-3
    assert off.max() < 0.02  # at 1e-12 of its scale, at rtol 1e-6, rounding is near


def test_a_later_dose_of_few_cells_is_followed():
    doses = fastcart.DosingSchedule([(50.0, "E", 1e-10)])
    ends = fastcart.solve(model(stiff), {"a": [0.5], "E": [0.0]}, doses=doses).endpoints
    exact = CAPACITY / (1.0 + (CAPACITY / 1e-10 - 1.0) * np.exp(-0.5 * 50.0))
    assert ends.loc[0, "final_E"] == pytest.approx(exact, rel=3e-3)


@njit
def from_a_source(t, y, p):
    E, C = y
    return (p[1] + p[0] * E * (1.0 - E), SPEED * (E - C))


def test_what_a_source_begins_is_followed():
    """Steps that are too long for growth came out below zero, and went on to minus infinity."""
    begun = Model("begun", [State("E"), State("C")], {"a": 1.0, "s": 1e-11}, from_a_source, t_end=25.0)
    patients = pd.DataFrame({"a": [1.0, 0.8, 1.1, 1.2, 0.9], "s": [1e-11, 1e-9, 1e-11, 1e-10, 1e-10]})
    ends = fastcart.solve(begun, patients).endpoints
    tight = fastcart.solve(begun, patients, rtol=1e-11, atol=1e-30).endpoints
    np.testing.assert_allclose(ends["final_E"], tight["final_E"], rtol=5e-3)


@njit
def woken_by_a_state(t, y, p):
    E, C, T = y
    seed = 1e-9 if 0.45 < T < 0.5 else 0.0
    return (seed + 3.0 * E * (1.0 - E), SPEED * (E - C), -0.02 * T)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
def test_what_rests_may_be_woken_within_a_step(rtol):
    """A few days of a hundred, in another state: steps over them took cells that would grow for none."""
    states = [State("E"), State("C"), State("T", default=1.0)]
    ends = fastcart.solve(
        Model("woken", states, {"k": 1.0}, woken_by_a_state, t_end=100.0), 1, rtol=rtol
    ).endpoints
    assert ends.loc[0, "status"] == "ok"
    assert ends.loc[0, "final_E"] == pytest.approx(1.0, rel=1e-6)


@njit
def seeded_softly(t, y, p):
    E, C, T = y
    seed = p[0] * math.exp(-(((T - 0.5) / p[1]) ** 2))
    return (seed + 3.0 * E * (1.0 - E), p[2] * (E - C), -0.02 * T)


def test_a_blow_up_that_is_none_is_not_said():
    states, wanted = [State("E"), State("C"), State("T", default=1.0)], {"w": 1e-9, "width": 0.05, "k": 10.0}
    seeded = Model("seeded", states, wanted, seeded_softly, t_end=100.0)
    patients = pd.DataFrame(
        [(w, width, k) for k in (1.0, 10.0, 20.0) for w, width in
         [(1e-12, 0.01), (1e-6, 0.02), (1e-6, 0.03), (1e-10, 0.05)]], columns=list(wanted),
    )  # fmt: skip
    for rtol in (1e-3, 1e-4, 1e-5, 1e-6):
        ends = fastcart.solve(
            seeded, patients, rtol=rtol, save_at=np.linspace(0, 100, 21), auc=["E"]
        ).endpoints
        assert (ends["status"] == "ok").all(), rtol


@njit
def swings(t, y, p):
    return (p[0] * y[1], -p[0] * y[0], 0.1 * (1.0 - y[2]))


@njit
def rests(t, y, p):
    A, B, D, x = y
    return (0.1 * A, 0.1 * B, 0.1 * D, p[0] * (A - B - D) - x)


def test_small_swings_and_noise_below_the_tolerance_cost_nothing():
    swinging = Model(
        "swinging", [State("x"), State("v"), State("z", default=2.0)], {"w": 10.0}, swings, t_end=365.0
    )
    patients = {"x": [1e-9, 1e-7, 1e-5], "w": [10.0, 10.0, 10.0]}
    for method, most in (("rodas5p", 100), ("vern7", 2500)):
        ends = fastcart.solve(swinging, patients, engine="lanes", method=method).endpoints
        assert (ends["steps"] + ends["rejected"]).max() < most, method
    shares = [State("A", default=1.0), State("B", default=0.3), State("D", default=0.7), State("x")]
    resting = Model("resting", shares, {"F": 1e4}, rests, t_end=100.0)
    for method in ("vern7", "rodas5p"):
        ends = fastcart.solve(resting, {"F": [1e2, 1e4, 1e6]}, engine="lanes", method=method).endpoints
        assert (ends["steps"] + ends["rejected"]).max() < 80, method


def test_what_decays_below_its_scale_costs_nothing():
    """Only growth is measured so: a decay by a hundred decades must not take steps."""

    @njit
    def decay(t, y, p):
        return (-p[0] * y[0], -0.01 * y[1])

    fading = Model(
        "fading", [State("E", default=1.0), State("C", default=1.0)], {"a": 5.0}, decay, t_end=50.0
    )
    for method in ("vern7", "rodas5p"):
        ends = fastcart.solve(fading, 1, engine="lanes", method=method).endpoints
        assert ends.loc[0, "steps"] + ends.loc[0, "rejected"] < 130, method
