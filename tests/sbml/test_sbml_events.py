"""Events of SBML files against closed forms, by all engines."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from conftest import slow_but

pytest.importorskip("libsbml")

from sbml_suite import InPython
from sbml_texts import compartment, event, listed, parameters, rule, sbml, species

import fastcart
from fastcart.sbml import load

TIMES = np.linspace(0.0, 2.0, 21)
FIRST = log(2.0)  # when S falls to a half
# one between roots, and one that begins with an event at 1, which makes x 12
PULSES = "piecewise(1, (time^2 > 2.1) && (time^2 < 2.2), 1, time < x_v - 10.98, 0)"


@pytest.fixture(scope="module")
def model() -> fastcart.Model:
    """Many events in one model: they are compiled once for each engine."""
    return load(
        sbml(
            parameters(S_v=1.0, x_v=1.0, y_v=0.0, z_v=0.0, w_v=0.0, u_v=0.0, wait=0.25, at=1.0),
            listed("Rules", rule("rate", "S_v", "-S_v"),
                   rule("rate", "u_v", PULSES)),
            listed(
                "Events",
                event("back", "S_v < 0.5", delay="wait", S_v="S_v + 1"),  # of when it was triggered
                event("adds", "time >= at", priority="1", from_trigger=False, x_v="x_v + 2"),
                event("times", "time >= at", priority="2", from_trigger=False, x_v="x_v * 10"),
                event("not_then", "(time >= at) && (x_v < 5)", persistent=False, priority="0", y_v="1"),
                event("at_start", "S_v > 0.9", before=False, z_v="7"),
                event("in_a_row", "x_v > 11", w_v="w_v + x_v"),
            ),
        ),
        t_end=2.0,
    )  # fmt: skip


def expected(times: np.ndarray, wait: float = 0.25) -> dict[str, np.ndarray]:
    due = FIRST + wait
    late = times >= 1.0 - 1e-9
    return {
        "S_v": np.where(times < due, np.exp(-times), 1.5 * np.exp(-(times - due))),
        "x_v": np.where(late, 12.0, 1.0), "y_v": np.zeros(len(times)), "z_v": np.full(len(times), 7.0),
        "w_v": np.where(late, 12.0, 0.0),
        "u_v": sum(np.clip(times - a, 0.0, w) for a, w in ((1.0, 0.02), (2.1**0.5, 2.2**0.5 - 2.1**0.5))),
    }  # fmt: skip


@pytest.mark.parametrize("engine", slow_but(("lanes", "lsoda"), ["lanes", "lsoda", "scipy"]))
def test_all_engines_follow_events(model: fastcart.Model, engine: str):
    result = fastcart.solve(model, save_at=TIMES, engine=engine, rtol=1e-9, threads=1)
    assert result.summary() == {"ok": 1}
    for name, exact in expected(TIMES).items():
        np.testing.assert_allclose(result.trajectories[name], exact, rtol=1e-6, atol=1e-9, err_msg=name)


def test_patients_have_their_own_times_and_what_is_hidden_stays_so(model: fastcart.Model):
    waits = [0.2, 0.25, 0.5]
    result = fastcart.solve(model, {"wait": waits}, engine="lanes", rtol=1e-9, threads=1)
    exact = [expected(np.array([2.0]), wait)["S_v"][0] for wait in waits]
    np.testing.assert_allclose(result.endpoints["final_S_v"], exact, rtol=1e-6)
    columns = [*result.endpoints.columns]
    assert not [name for name in columns if "_side" in name or "_level" in name or name.startswith("event")]


def test_a_dose_triggers_what_belongs_to_the_model(model: fastcart.Model):
    doses = {"time": [0.5], "state": ["x_v"], "amount": [20.0]}
    result = fastcart.solve(model, doses=doses, engine="lanes", rtol=1e-9, threads=1)
    end = result.endpoints.iloc[0]
    assert (end["final_w_v"], end["final_x_v"]) == (21.0, 212.0)


def test_events_refuse_sensitivities(model: fastcart.Model):
    with pytest.raises(fastcart.InputError, match="Sensitivities cannot go through"):
        fastcart.solve(model, sensitivities=["wait"], engine="lanes")


def test_events_of_a_model_are_not_written(model: fastcart.Model):
    with pytest.raises(fastcart.InputError, match="events of its own"):
        fastcart.sbml.dump(model)


# --- what is not compiled -----------------------------------------------------------------------------------


def solved(text: str, end: float = 2.0, steps: int = 20) -> dict[str, np.ndarray]:
    times = np.linspace(0.0, end, steps + 1)
    return InPython(load(text, t_end=end), 1e-10).solve(times) | {"t": times}


def test_an_amount_stays_when_a_volume_is_changed():
    values = solved(
        sbml(
            listed("Compartments", compartment("V", 1.0, constant=False)),
            listed("Species", species("A", 6.0)),
            listed("Events", event("grow", "time > 1.01", V="3")),
        )
    )  # fmt: skip
    np.testing.assert_allclose(values["A"], np.where(values["t"] > 1.01, 2.0, 6.0))


def test_a_concentration_that_is_assigned_with_its_volume_is_of_the_volume_before():
    values = solved(
        sbml(
            listed("Compartments", compartment("V", 0.5, constant=False)),
            listed("Species", species("A", 1.0)),
            listed("Events", event("both", "time >= 0.45", V="0.2", A="0.2")),
        )
    )  # fmt: skip
    np.testing.assert_allclose(values["A"], np.where(values["t"] > 0.45, 0.5, 2.0))


def test_a_saw_tooth_is_triggered_again_and_again():
    values = solved(
        sbml(
            parameters(x_v=0.0, n_v=0.0), listed("Rules", rule("rate", "x_v", "1")),
            listed("Events", event("reset", "x_v >= 0.3", x_v="0", n_v="n_v + 1")),
        ), end=1.7, steps=17,
    )  # fmt: skip
    assert values["n_v"][-1] == 5.0
    assert values["x_v"][-1] == pytest.approx(0.2, abs=1e-6)


def test_several_wait_at_the_same_time():
    values = solved(
        sbml(
            parameters(x_v=0.0, y_v=0.0), listed("Rules", rule("rate", "x_v", "1")),
            listed("Events", event("reset", "x_v >= 0.31", x_v="0"),
                   event("late", "x_v < 0.15", delay="1", y_v="y_v + 1", from_trigger=False)),
        ), end=1.75, steps=35,
    )  # fmt: skip
    # triggered at 0.31, 0.62, 0.93, ..., a unit of time later each
    np.testing.assert_allclose(values["y_v"], np.floor(np.maximum(values["t"] - 1.0, 0.0) / 0.31 + 1e-6))


def test_equal_is_true_for_a_moment():
    values = solved(
        sbml(
            parameters(x_v=0.0, n_v=0.0), listed("Rules", rule("rate", "x_v", "1")),
            listed("Events", event("there", "x_v == 0.55", n_v="n_v + 1")),
        )
    )  # fmt: skip
    np.testing.assert_array_equal(values["n_v"], (values["t"] > 0.55).astype(float))


@pytest.mark.parametrize("engine", ["lanes", "lsoda"])
def test_what_an_event_leaves_at_its_level_may_leave_it(engine: str):
    """A ball is put on the ground, where ``h <= 0`` still holds, and must be seen to leave it."""
    text = sbml(
        parameters(h_v=0.5, u_v=0.0),
        listed("Rules", rule("rate", "h_v", "u_v"), rule("rate", "u_v", "-1")),
        listed("Events", event("bounces", "h_v <= 0", h_v="0", u_v="-0.5 * u_v")),
    )
    times = np.linspace(0.0, 2.6, 14)
    result = fastcart.solve(load(text, t_end=2.6), save_at=times, engine=engine, rtol=1e-9, threads=1)
    begin, speed = np.array([0.0, 1.0, 2.0, 2.5]), np.array([0.0, 0.5, 0.25, 0.125])
    k = np.searchsorted(begin, times, side="right") - 1
    since = times - begin[k]
    exact = np.where(k == 0, 0.5, 0.0) + speed[k] * since - since**2 / 2
    np.testing.assert_allclose(result.trajectories["h_v"], exact, atol=1e-8)
