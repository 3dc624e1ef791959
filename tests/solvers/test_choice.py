"""Engine auto begins with the method that suits the model, whoever the patients are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numba import njit

import fastcart
from fastcart import Model, State
from fastcart.batch import make_problem
from fastcart.options import SolveOptions
from fastcart.solvers.auto import chosen


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
        ("b_all", 1e-4, "rodas5p"), (ROBERTSON, 1e-6, "rodas5p"), (CIRCLE, 1e-6, "vern7"),
    ],
)  # fmt: skip
def test_the_method_that_suits_a_model(model, rtol, method):
    assert methods(model, 3, rtol=rtol) == {f"lanes-{method}"}


def test_the_choice_follows_from_model_and_options_alone():
    """A stiff model is solved by the same method where all patients given are easy, and in any batch."""
    easy = pd.DataFrame({"k1": np.full(40, 1e-3), "k2": 1.0, "k3": 1.0})
    assert methods(ROBERTSON, easy) == methods(ROBERTSON, easy.iloc[:1]) == {"lanes-rodas5p"}
    result = fastcart.solve(ROBERTSON, 2)
    assert result.options["begins_with"] == "rodas5p"
    asked = fastcart.solve(CIRCLE, 2, method="dop853", engine="lanes")
    assert asked.options["begins_with"] == "dop853"


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
    text = fastcart.explain_engine("b_all", rtol=1e-6)
    assert "starts every patient with rodas5p" in text
    assert "stab5 takes" in text
