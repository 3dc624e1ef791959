"""What is far below the absolute tolerance and grows decides the course later: its own size measures it."""

from __future__ import annotations

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
