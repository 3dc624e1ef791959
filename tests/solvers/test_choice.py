"""Engine auto begins with the method that suits the model, whoever the patients are."""

from __future__ import annotations

import json
from dataclasses import replace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from numba import njit

import fastcart
from fastcart import InputError, Model, State
from fastcart.batch import make_problem
from fastcart.options import SolveOptions
from fastcart.solvers.auto import chosen
from fastcart.trial.course import OPTIONS, begins_with, course


@njit
def _robertson(t, y, p):
    slow, fast = p.k1 * y.a, p.k2 * y.b * y.b
    back = p.k3 * y.b * y.c
    return back - slow, slow - back - fast, fast


ROBERTSON = Model(
    "robertson", {"a": 1.0, "b": 0.0, "c": 0.0}, {"k1": 0.04, "k2": 3e7, "k3": 1e4}, _robertson, t_end=1e4
)


@njit
def _circle(t, y, p):
    return p.w * y.b, -p.w * y.a


CIRCLE = Model("circle", {"a": 1.0, "b": 0.0}, {"w": 1.0}, _circle, t_end=20.0)


def methods(model, patients, **options) -> set[str]:
    return set(fastcart.solve(model, patients, **options).endpoints["engine"])


@pytest.mark.parametrize(
    ("model", "rtol", "method"),
    [
        ("li_lei", 1e-6, "vern7"), ("li_lei", 1e-4, "tsit5"), ("b_all", 1e-6, "rodas5p"),
        ("b_all", 1e-3, "rodas5p"), (ROBERTSON, 1e-6, "rodas5p"), (CIRCLE, 1e-6, "vern7"),
    ],
)  # fmt: skip
def test_the_method_that_suits_a_model(model, rtol, method):
    assert methods(model, 3, rtol=rtol) == {f"lanes-{method}"}


def test_a_model_says_who_is_typical():
    """Robertson's problem is not stiff without its fast reaction, which nobody has by default."""
    parameters = {"k1": 0.04, "k2": 0.0, "k3": 1e4}
    without = Model("mild", {"a": 1.0, "b": 0.0, "c": 0.0}, parameters, _robertson, t_end=1.0)
    typical = without.replace(typical={"k2": 3e7}, t_end=1e4)
    assert chosen(make_problem(without.replace(t_end=1e-4), SolveOptions())).method == "vern7"
    assert chosen(make_problem(typical, SolveOptions())).method == "rodas5p"
    with pytest.raises(InputError, match="typical patient has 'k4'"):
        without.replace(typical={"k4": 1.0})


def test_treated_patients_are_typical_of_leukemia():
    assert set(fastcart.models.get("b_all").typical) == {"E", "M"}
    assert set(fastcart.models.get("b_all", growth_lag=1.0).typical) == {"E_lag", "M_lag"}


def test_the_choice_follows_from_model_and_options_alone():
    """A stiff model is solved by the same method where all patients given are easy, and in any batch."""
    easy = pd.DataFrame({"k1": np.full(40, 1e-3), "k2": 1.0, "k3": 1.0})
    assert methods(ROBERTSON, easy) == methods(ROBERTSON, easy.iloc[:1]) == {"lanes-rodas5p"}
    result = fastcart.solve(ROBERTSON, 2)
    assert result.options["begins_with"] == "rodas5p"
    asked = fastcart.solve(CIRCLE, 2, method="dop853", engine="lanes")
    assert asked.options["begins_with"] == "dop853"


def test_manifests_say_what_auto_begins_with(tmp_path):
    """Of every kind of run, the same whoever the patients are; what is asked for is what is said."""
    easy = {"k2": [1.0, 2.0], "k3": 1.0}
    fastcart.scan(ROBERTSON, {"k1": [0.04, 1e-3]}, tmp_path / "scan")
    fastcart.scan(ROBERTSON, easy, tmp_path / "easy")
    fastcart.scan(CIRCLE, 2, tmp_path / "asked", method="dop853")
    fastcart.scan(CIRCLE, 2, tmp_path / "lsoda", engine="lsoda")
    fastcart.sensitivity(ROBERTSON, outputs=["final_c"], n=20, seed=1, folder=tmp_path / "sensitivity")
    fastcart.optimize(
        ROBERTSON, {"a": (0.5, 1.0)}, objective="final_c", particles=4, iterations=1, seed=1,
        out=tmp_path / "optimize",
    )  # fmt: skip
    said = {
        folder.name: json.loads((folder / "manifest.json").read_text())["begins_with"]
        for folder in tmp_path.iterdir()
    }
    stiff = dict.fromkeys(("scan", "easy", "sensitivity", "optimize"), "rodas5p")
    assert said == stiff | {"asked": "dop853", "lsoda": None}


def test_the_manifest_of_a_trial_says_what_its_courses_begin_with():
    patients = fastcart.models.get("b_all").default_parameters()
    adapter = fastcart.models.for_trial("b_all")
    for rtol, method in ((1e-8, "stab5"), (1e-5, "rodas5p")):
        with mock.patch("fastcart.trial.segments.prepare", side_effect=fastcart.prepare) as prepared:
            course(pd.DataFrame([patients]), rtol=rtol)
        (model, columns), options = prepared.call_args.args, prepared.call_args.kwargs["options"]
        thresholds = {name: [1e9] for name in columns if name not in (*model.state_names, *patients)}
        result = fastcart.solve(model, patients | thresholds, options=options)
        assert result.options["begins_with"] == method
        assert begins_with(adapter, replace(OPTIONS, rtol=rtol)) == method


def test_who_the_stiff_method_cannot_solve_goes_on_to_others():
    @njit
    def rhs(t, y, p):
        return -p.k * (y.q - np.cos(t)), p.a * y.v * y.v

    model = Model(
        "two", [State("q", default=1.0), State("v", default=0.01)], {"k": 1e6, "a": 1.0}, rhs, t_end=20.0
    )
    found = fastcart.solve(model, {"a": [1.0, 10.0, 0.0]}, warn=False).endpoints
    assert found["status"].tolist() == ["ok", "blow_up", "ok"]
    np.testing.assert_allclose(found["final_v"].to_numpy()[[0, 2]], [0.01 / 0.8, 0.01], rtol=1e-5)


def test_where_nothing_can_be_compared_auto_begins_with_the_explicit_method():
    table = np.array([1.0, 2.0])

    @njit
    def rhs(t, y, p):
        return (-table[int(p.kind)] * y.C,)

    model = Model("indexed", {"C": 1.0}, {"kind": 0.0}, rhs, t_end=1.0)
    choice = chosen(make_problem(model, SolveOptions()))
    assert choice.method == "vern7"
    assert "whole number" in choice.reason


def test_explain_engine_says_what_auto_begins_with_and_why():
    text = fastcart.explain_engine("b_all", rtol=1e-8)
    assert "starts every patient with stab5" in text
    assert "rodas5p takes" in text


def test_models_with_doses_of_their_own_begin_with_what_these_need():
    """Before the cells come the model of Hardiansyah & Ng is at rest: any method takes few steps."""
    model = fastcart.models.get("hardiansyah")
    ends = fastcart.solve(model, 3, doses=fastcart.models.doses(model)).endpoints
    assert set(ends["engine"]) == {"lanes-rodas5p"}
    assert ends["steps"].max() < 400
