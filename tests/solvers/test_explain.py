"""What explain_engine says about a model, and that a model which cannot vectorise is solved all the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

import fastcart
from fastcart import Model, State, cli
from fastcart.explain import MachineCode, call_cost, obstacles

TURNS = 5


@njit
def smooth(t, y, p):
    return (p[0] * y[0] * (1.0 - y[0] / p[1]),)


@njit
def square_root(a):
    x = a
    while abs(x * x - a) > 1e-13 * a:
        x = 0.5 * (x + a / x)
    return x


@njit
def with_while(t, y, p):
    return (square_root(y[0]) - p[0] * y[0],)


@njit
def with_return(t, y, p):
    if t > p[1]:
        return (-p[0] * y[0] * math.exp(-0.1 * t),)
    return (p[0] * y[0] / (1.0 + y[0]),)


@njit
def with_lgamma(t, y, p):
    return (math.lgamma(1.0 + y[0]) - p[0] * y[0],)


@njit
def with_power(t, y, p):
    return (p[1] - y[0] ** p[0],)


@njit
def with_math_pow(t, y, p):
    return (p[1] - math.pow(y[0], p[0]),)


@njit
def with_count_of_data(t, y, p):
    x = y[0]
    for _ in range(int(p[1])):
        x = 0.5 * (x + p[1] / x)
    return (x - p[0] * y[0],)


@njit
def with_short_loop(t, y, p):
    x = y[0]
    for _ in range(TURNS):
        x = 0.5 * (x + p[1] / x)
    return (x - p[0] * y[0],)


@njit
def with_long_loop(t, y, p):
    x = y[0]
    for _ in range(100 * TURNS):
        x = 0.5 * (x + p[1] / x)
    return (x - p[0] * y[0],)


@njit
def with_array(t, y, p):
    z = np.zeros(2)
    z[0] = p[0] * y[0]
    return (z[1] - z[0],)


@njit
def with_exception(t, y, p):
    if y[0] < 0:
        raise ValueError("negative")
    return (-p[0] * y[0],)


def model(rhs) -> Model:
    return Model(rhs.__name__, [State("y", default=1.5)], {"a": 0.7, "b": 3.0}, rhs, t_end=6.0)


@pytest.mark.parametrize("name", fastcart.models.names())
def test_shipped_models_are_vectorised(name):
    text = fastcart.explain_engine(name)
    assert "Vectorised: yes" in text
    assert "Likely cause" not in text
    assert f"{len(fastcart.models.get(name).states)} states" in text


def test_a_smooth_model_says_method_and_cost():
    text = fastcart.explain_engine(model(smooth))
    assert "1 state, 0 of them" in text
    assert "starts every patient with vern7" in text
    assert "ns for each patient" in text
    assert "starts every patient with tsit5" in fastcart.explain_engine(model(smooth), rtol=1e-3)
    assert "starts every patient with stab5" in fastcart.explain_engine("b_all", rtol=1e-8)


@pytest.mark.parametrize(
    ("rhs", "cause"),
    [
        (with_while, "a while loop"),
        (with_count_of_data, "a loop whose count depends on the data"),
        (with_lgamma, "a call of lgamma"),
        (with_exception, "an exception"),
    ],
)
def test_the_cause_is_named_where_nothing_is_vectorised(rhs, cause):
    text = fastcart.explain_engine(model(rhs))
    assert "Vectorised: yes" not in text
    assert cause in text.split("Likely cause:")[1]


def test_an_array_in_which_numbers_are_put_is_no_obstacle():
    assert "Vectorised: yes" in fastcart.explain_engine(model(with_array))


def test_the_place_of_a_cause_is_named():
    line = square_root.py_func.__code__.co_firstlineno + 3
    text = fastcart.explain_engine(model(with_while))
    assert f"(function square_root, line {line} of {__name__}.py)" in text


def test_a_power_does_not_stand_in_the_way():
    assert "Vectorised: yes" in fastcart.explain_engine(model(with_power))
    assert "Vectorised: yes" in fastcart.explain_engine(model(with_math_pow))


def test_selects_and_short_loops_are_no_obstacle():
    assert "Vectorised: yes" in fastcart.explain_engine(model(with_short_loop))
    assert "Vectorised: yes" in fastcart.explain_engine(model(with_return))
    assert obstacles(model(with_short_loop)) == []
    assert obstacles(fastcart.models.get("li_lei")) == []


def test_a_long_loop_is_found_in_the_source():
    (found,) = obstacles(model(with_long_loop))
    assert found.startswith("a loop of 500 turns, too long to be unrolled")


def test_a_function_without_source_is_said_to_be_so():
    space: dict = {"njit": njit}
    exec("@njit\ndef hidden(t, y, p):\n    return (-y[0],)", space)
    (found,) = obstacles(Model("hidden", {"y": 1.0}, {}, space["hidden"]))
    assert "not at hand" in found


@pytest.mark.parametrize("rhs", [with_while, with_return, with_lgamma, with_count_of_data, with_array])
def test_what_cannot_vectorise_is_solved_like_scipy(rhs):
    patients = {"a": [0.6, 0.7, 0.9], "b": [2.0, 3.0, 3.5]}
    times = [0.0, 1.0, 3.3, 6.0]
    for engine in ("auto", "lanes"):
        fast = fastcart.solve(model(rhs), patients, engine=engine, rtol=1e-9, save_at=times)
        slow = fastcart.solve(model(rhs), patients, engine="scipy", rtol=1e-11, save_at=times)
        assert fast.summary() == {"ok": 3}
        np.testing.assert_allclose(fast.trajectories["y"], slow.trajectories["y"], rtol=1e-6)


def test_instructions_are_counted():
    text = """
    vfmadd213pd %zmm1, %zmm2, %zmm3
    vmulpd (%rax), %zmm2, %zmm3
    vdivsd %xmm0, %xmm1, %xmm1
    vaddps %xmm0, %xmm1, %xmm1
    movabsq $lgamma, %rax
    callq *%rax
    callq sin
    movabsq $NRT_MemInfo_alloc_aligned, %rcx
    movabsq $9223372036854775800, %rcx
    """
    assert MachineCode.of(text) == MachineCode(packed=2, scalar=1, width=8, calls=("lgamma", "sin"))
    assert not MachineCode.of("fmul v0.2d, v1.2d, v2.2d").readable


def test_the_cost_of_a_call_is_a_time():
    assert 0.1 < call_cost(model(smooth), seconds=0.005) < 1e4


def test_math_is_public():
    assert fastcart.math.exp(1.0) == pytest.approx(math.e, rel=1e-14)
    assert fastcart.math.pow(2.0, 0.5) == pytest.approx(math.sqrt(2), rel=1e-14)


def test_the_command_explains_a_model(capsys):
    assert cli.main(["models", "li_lei_coarse", "--engine"]) == 0
    assert "Vectorised: yes" in capsys.readouterr().out
    assert cli.main(["models", "--engine"]) == 2
    assert "needs the name of a model" in capsys.readouterr().err
