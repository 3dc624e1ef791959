"""What cannot be solved is refused or gets a status: an error never becomes a number, nor an old kernel."""

from __future__ import annotations

import math
import os
from collections import namedtuple

import numpy as np
import pytest
from families import FORCED, SIZE, free, numbers, powers
from hypothesis import strategies as st
from law import RUNS, law, solve
from numba import cfunc, float64, njit
from scipy.special import lambertw

from fastcart import InputError, Model, State

# --- errors inside of a right-hand side -------------------------------------------------------------------


@njit
def _guarded(t, y, p):
    if y[0] < p[1]:
        raise ValueError("too low")
    return (-p[0] * y[0],)


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_a_right_hand_side_that_raises_gives_no_number(run):
    """Where the model is not refused when it is made or solved, those who meet the error are not ok."""
    try:
        model = Model("guarded", {"y": 1.0}, free(k=1.0, lo=0.0), _guarded, t_end=2.0)
        ends = solve(model, {"lo": [0.0, 0.5, 0.05]}, run).endpoints
    except InputError:
        return
    assert ends["status"].tolist()[::2] == ["ok", "ok"]
    assert ends["status"][1] != "ok"
    assert np.isnan(ends["final_y"][1])
    np.testing.assert_allclose(ends["final_y"][[0, 2]], math.exp(-2), rtol=1e-4)


# --- cells are never negative -----------------------------------------------------------------------------


@njit
def _eliminated(t, y, p):
    return (-p[0] * y[0] / (p[1] + y[0]),)


def eliminated(y0: float, v: float, km: float, t: float) -> float:
    """Michaelis-Menten elimination, by Lambert's function of an exponential that may overflow."""
    exponent = math.log(y0 / km) + (y0 - v * t) / km
    if exponent > 500:
        x = exponent
        for _ in range(60):
            x = exponent - math.log(x)
        return km * x
    return km * lambertw(math.exp(exponent)).real


@law(15, scipy=8, run=RUNS, y0=numbers(0.5, 20.0, 3), v=numbers(0.1, 3.0, 2), km=powers(1e-6, 1.0),
     t_end=numbers(0.5, 30.0, 3), rtol=st.sampled_from([1e-4, 1e-6]))  # fmt: skip
def test_cells_that_are_eliminated_are_not_negative(run, y0, v, km, t_end, rtol):
    model = Model(
        "eliminated", [State("y", default=10.0, nonnegative=True)], free(v=1.0, km=1.0), _eliminated
    )
    options = {"max_steps": 4000} if run[0] == "scipy" else {}  # where it takes more, it takes minutes
    ends = solve(model, {"y": y0, "v": v, "km": km}, run, t_end=t_end, rtol=rtol, **options).endpoints.iloc[0]
    if ends["status"] == "ok":
        exact = eliminated(y0, v, km, t_end)
        # where it runs out, a fast layer of width km is crossed: the time of that is known to the tolerance
        assert ends["final_y"] == pytest.approx(exact, abs=100 * rtol * (1 + y0))
        assert ends["final_y"] > -10 * rtol
    else:
        assert math.isnan(ends["final_y"])


# --- patients that go on to a stiffer solver --------------------------------------------------------------


@njit
def _robertson(t, y, p):
    a, b, c = y
    return -p[0] * a + p[1] * b * c, p[0] * a - p[1] * b * c - p[2] * b * b, p[2] * b * b


def test_robertson_to_the_end():
    """At time 1e11 nearly all is gone: the value of the first species is that of the test set for solvers."""
    states = [State("a", default=1.0, scale=1e-8), State("b", scale=1e-10), State("c", scale=1e-3)]
    model = Model("robertson", states, free(k1=0.04, k2=1e4, k3=3e7), _robertson, t_end=1e11)
    ends = solve(model, 40, rtol=1e-6).endpoints
    assert set(ends["status"]) == {"ok"}
    np.testing.assert_allclose(ends["final_a"], 0.2083340149701255e-7, rtol=1e-2)


# --- old kernels ------------------------------------------------------------------------------------------

Forward = namedtuple("C", ["a", "b"])
Backward = namedtuple("C", ["b", "a"])


def _with_constants(constants):
    @njit
    def rhs(t, y, p):
        return (-constants.a * y[0] + constants.b,)

    return Model("named", {"y": 1.0}, free(), rhs, t_end=3.0)


@pytest.mark.parametrize("engine", ["auto", "lsoda", "scipy"])
def test_the_order_of_fields_of_a_constant_counts(engine):
    for constants in (
        Forward(a=0.5, b=0.0),
        Backward(b=0.5, a=0.0),
        Forward(a=0.0, b=0.5),
        Backward(b=0.0, a=0.5),
    ):
        a, b = constants.a, constants.b
        exact = math.exp(-a * 3) + (b * 3 if a == 0 else 0.0)
        found = solve(_with_constants(constants), 1, (engine, None)).endpoints["final_y"].iloc[0]
        assert found == pytest.approx(exact, rel=1e-4), constants


@cfunc(float64(float64))
def _halved(x):
    return 0.5 * x


@cfunc(float64(float64))
def _doubled(x):
    return 2.0 * x


@pytest.mark.filterwarnings("ignore:Cannot cache")  # nor need it: an address is of this process
@pytest.mark.parametrize("engine", ["auto", "lsoda", "scipy"])
def test_pointers_to_functions_are_told_apart(engine):
    for callback, factor in ((_halved, 0.5), (_doubled, 2.0), (_halved, 0.5)):
        call = callback.ctypes

        @njit
        def rhs(t, y, p):
            return (-call(y[0]),)  # noqa: B023

        try:
            model = Model("pointing", {"y": 1.0}, free(), rhs, t_end=1.0)
            found = solve(model, 1, (engine, None)).endpoints["final_y"].iloc[0]
        except InputError:  # to refuse such a model is right too
            continue
        assert found == pytest.approx(math.exp(-factor), rel=1e-4), factor


def test_the_kernels_of_an_ordinary_model_are_kept_on_disk(tmp_path, monkeypatch):
    """What names no address is compiled once for all processes: a right-hand side and a step of each kind."""
    monkeypatch.setenv("FASTCART_CACHE_DIR", str(tmp_path))

    @njit
    def rhs(t, y, p):
        return (math.exp(-p[0] * t) - 0.123 * y[0],)

    # of a size that nothing else has asked for
    model = Model("kept", {"y": 1.0}, free(**{f"p{k}": 1.0 for k in range(SIZE + 165)}), rhs, t_end=1.0)
    for run in (("lanes", "tsit5"), ("lsoda", None)):
        solve(model, 1, run)
    kept = {file.name.split("-")[0] for file in (tmp_path / "__pycache__").glob("*.nbc")}
    kept |= {file.name.split("-")[0] for file in tmp_path.glob("*.py")}
    kept |= {file.name.split("-")[0] for file in (tmp_path / "__pycache__").glob("*.o")}
    assert {"traced", "lsoda_derivatives", "explicit_step"} <= kept


# --- LSODA beside others ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_stderr_stays_where_it_is():
    from concurrent.futures import ThreadPoolExecutor

    before = os.fstat(2)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: solve(FORCED, 200, ("lsoda", None), threads=1), range(16)))
    after = os.fstat(2)
    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)
