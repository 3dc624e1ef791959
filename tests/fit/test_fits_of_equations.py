"""Fits of models with algebraic variables, and with events of their own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from problems import square_root

import fastcart
from fastcart import Model, SolveOptions, fit, models

TIMES = np.array([0.0, 0.5, 2.9, 3.0, 3.5, 5.0, 6.5, 9.0])
CLOSE = SolveOptions(rtol=1e-9)


@pytest.fixture(scope="module")
def root() -> Model:
    return square_root()


def measured_root(t, k, c, dose=0.0):
    """Return x behind a bolus at the start, one at 3, and an infusion from 4 to 6."""
    given = np.where(t >= 3, 5 * np.exp(-k * (t - 3)), 0.0) + np.clip(t - 4, 0, 2) if dose else 0.0
    return np.sqrt((4 * np.exp(-k * t) + 1 + dose + given) / c)


def test_doses_and_infusions_move_what_is_predicted(root):
    doses = [("A", 3.0, 5.0, 0.0), ("B", 4.0, 2.0, 1.0)]
    rows = [
        {"ID": i, "TIME": time, "AMT": amount, "CMT": state, "RATE": rate, "EVID": 1}
        for i in (1, 2)
        for state, time, amount, rate in [("B", 0.0, float(i), 0.0), *doses]
    ]
    rows += [{"ID": i, "TIME": t, "DV": 1.0, "CMT": "x", "EVID": 0} for i in (1, 2) for t in TIMES]
    data = fit.read(pd.DataFrame(rows), root)
    seen = fit.Observation("x", "x", fit.additive(0.1))
    prepared = fit.prepare(root, data, ["k", "c"], observations=seen, options=CLOSE)
    theta = np.array([[0.3, 1.0], [0.5, 2.0]])
    found = prepared.predictions(theta, [0, 1])
    for i, row in enumerate(theta):
        np.testing.assert_allclose(found.of(i), measured_root(TIMES, *row, dose=i + 1.0), rtol=1e-12)


def test_what_is_measured_before_a_dose_at_the_start(root):
    rows = pd.DataFrame({
        "ID": 1, "TIME": [0.0, 0.0, 0.0, 2.0], "DV": [2.0, None, 2.0, 2.0], "AMT": [0, 3.0, 0, 0],
        "EVID": [0, 1, 0, 0], "CMT": ["x", "B", "x", "x"],
    })  # fmt: skip
    data = fit.read(rows, root)
    seen = fit.Observation("x", "x", fit.additive(0.1))
    prepared = fit.prepare(root, data, ["c"], observations=seen, options=CLOSE)
    wanted = np.sqrt([5.0, 8.0, 4 * np.exp(-0.6) + 4.0])
    np.testing.assert_allclose(prepared.predictions([[1.0]], [0]).values, wanted, rtol=1e-11)


def test_an_equation_without_solution_is_impossible_and_counted(root):
    rows = pd.DataFrame({"ID": 1, "TIME": [1.0, 2.0], "DV": 1.0, "CMT": "x"})
    data = fit.read(rows, root)
    seen = fit.Observation("x", "x", fit.additive(0.1))
    prepared = fit.prepare(root, data, ["B"], observations=seen)
    found = prepared.loglik([[1.0], [-5.0]], [0, 0])
    assert np.isfinite(found[0])
    assert found[1] == -np.inf
    assert prepared.counts["ok"] == 1
    assert sum(prepared.counts.values()) == 2


def test_a_fit_finds_what_the_equation_was_made_with(root):
    time = TIMES[1:]
    rows = [
        {"ID": i, "TIME": t, "DV": value, "CMT": "x"}
        for i, k in enumerate((0.1, 0.4))
        for t, value in zip(time, measured_root(time, k, 2.0), strict=True)
    ]
    data = fit.read(pd.DataFrame(rows), root)
    found = fit.individual(
        root, data, observations=fit.Observation("x", "x", fit.additive(0.01)), starts=3,
        estimate={"k": (0.01, 3, "log"), "c": (0.1, 10, "log")}, options=CLOSE,
    )  # fmt: skip
    np.testing.assert_allclose(found.values, [[0.1, 2.0], [0.4, 2.0]], rtol=1e-6)


def test_a_stiff_start_is_no_failure():
    """The first step of this model is a hundred thousandth of the others."""
    model, time = models.get("kirouac"), np.array([20.0, 60.0])
    data = fit.read(pd.DataFrame({"ID": 1, "TIME": time, "DV": 1.0, "CMT": "B"}), model)
    prepared = fit.prepare(model, data, ["B50"], observations=fit.Observation("B", "B", fit.additive(1.0)))
    found = prepared.predictions([[model.defaults()["B50"]]], [0])
    solved = fastcart.solve(model, save_at=time, save=["B"], t_end=60.0).trajectories["B"]
    assert (found.status == 0).all()
    np.testing.assert_allclose(found.values, solved, rtol=1e-9)


def test_events_of_the_model_happen_in_fits():
    pytest.importorskip("libsbml")
    from sbml_texts import event, listed, parameters, rule, sbml

    from fastcart.sbml import load

    model = load(
        sbml(
            parameters(S_v=1.0, z_v=0.0, k=1.0),
            listed("Rules", rule("rate", "S_v", "-k * S_v")),
            listed("Events", event("back", "S_v < 0.5", S_v="S_v + 1"),
                   event("at_start", "S_v > 0.9", before=False, z_v="7")),
        ),
        t_end=2.0,
    )  # fmt: skip
    time = np.array([0.0, 0.3, 1.0, 1.7])
    rows = pd.DataFrame({"ID": 1, "TIME": np.repeat(time, 2), "DV": 1.0, "CMT": ["S_v", "z_v"] * 4})
    seen = [fit.Observation(name, name, fit.additive(0.1)) for name in ("S_v", "z_v")]
    prepared = fit.prepare(model, fit.read(rows, model), ["k"], observations=seen, options=CLOSE)
    for rate in (0.5, 1.0):
        found = prepared.predictions([[rate]], [0]).values.reshape(4, 2)
        half = np.log(2) / rate
        curve = np.where(time < half, np.exp(-rate * time), 1.5 * np.exp(-rate * (time - half)))
        np.testing.assert_allclose(found[:, 0], curve, rtol=1e-7)
        assert (found[:, 1] == 7).all()
