"""An observable that is a state has its peaks and events: nothing turns unseen near the end of a step."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

import fastcart
from fastcart import Event, Model, Observable, State

PATIENTS = 300


@njit
def bell(t, y, p):
    A, B = y
    return (p.a - p.b * t) * A, 0.03 * A - 0.005 * B


@njit
def hunt(t, y, p):
    A, B = y
    return p.a * A * (1 - A / 1e8) - p.b * B * A / (A + 1e7), p.c * A / (1e6 + A) * B - 0.1 * B


@njit
def wave(t, y, p):
    A, B = y
    return p.a * B, -p.a * A - 0.01 * p.b * B


@njit
def states(t, y, p):
    return y[0], y[1]


def model(rhs, start, parameters, t_end) -> Model:
    both = [State(name, default=value, scale=max(1.0, 1e-3 * value)) for name, value in start.items()]
    seen = [Observable("A_seen"), Observable("B_seen")]
    return Model(rhs.__name__, both, parameters, rhs, t_end=t_end, observables=seen, observe=states)


RANDOM = np.random.default_rng(0)
CASES = {
    "bell": (
        model(bell, {"A": 1e6, "B": 0.0}, {"a": 0.5, "b": 0.03}, 60.0),
        {"a": RANDOM.uniform(0.3, 0.9, PATIENTS), "b": RANDOM.uniform(0.01, 0.08, PATIENTS)},
    ),
    "hunt": (
        model(hunt, {"A": 1e6, "B": 1.0}, {"a": 0.3, "b": 1e6, "c": 0.6}, 100.0),
        {
            "a": RANDOM.uniform(0.1, 0.6, PATIENTS), "b": 10 ** RANDOM.uniform(4, 6, PATIENTS),
            "c": RANDOM.uniform(0.3, 1.2, PATIENTS),
        },
    ),
    "wave": (
        model(wave, {"A": 1.0, "B": 0.0}, {"a": 1.0, "b": 1.0}, 30.0),
        {"a": RANDOM.uniform(0.3, 3.0, PATIENTS), "b": RANDOM.uniform(0.3, 5.0, PATIENTS)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", ["tsit5", "vern7", "dop853", "stab5", "rodas5p"])
@pytest.mark.parametrize("case", CASES)
def test_an_observable_peaks_and_crosses_as_its_state(case, method):
    observed, patients = CASES[case]
    for rtol in (1e-4, 1e-5, 1e-6, 1e-8):
        options = {"engine": "lanes", "method": method, "rtol": rtol, "warn": False}
        names = ["A", "A_seen", "B", "B_seen"]
        ends = fastcart.solve(observed, patients, peaks=names, **options).endpoints
        for name in ("A", "B"):
            np.testing.assert_allclose(ends[f"peak_{name}_seen"], ends[f"peak_{name}"], rtol=10 * rtol)
        level = (ends["peak_A"] * (1 - 1e-4)).fillna(1.0)
        events = [Event("seen", of="A_seen", threshold="level"), Event("state", of="A", threshold="level")]
        times = fastcart.solve(observed, {**patients, "level": level}, events=events, **options).endpoints
        np.testing.assert_array_equal(np.isfinite(times["event_seen"]), np.isfinite(times["event_state"]))
