"""Solutions that go to infinity in finite time: named so by every engine, and nothing else is."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from numba import njit
from scipy.integrate import solve_ivp

import fastcart
from fastcart import Model, State
from fastcart.solvers import named

pytestmark = pytest.mark.filterwarnings("ignore::fastcart.errors.PatientsFailed")

EXPLICIT = ["tsit5", "vern7", "dop853", "stab5"]
ENGINES = [
    ("auto", None), *(("lanes", method) for method in (*EXPLICIT, "rodas5p")), ("lsoda", None),
    ("scipy", "DOP853"), ("scipy", "Radau"),
]  # fmt: skip
# what is no pole is told from one by what these have in common
ALIKE = [("lanes", "vern7"), ("lanes", "dop853"), ("lanes", "stab5"), ("scipy", "DOP853")]
EVERY_ENGINE = pytest.mark.parametrize(
    ("engine", "method"),
    [
        pytest.param(*run, id=run[1] or run[0], marks=pytest.mark.slow if run in ALIKE else ())
        for run in ENGINES
    ],
)


@njit
def square(t, y, p):
    return (p[0] * y[0] * y[0],)


@njit
def downwards(t, y, p):
    return (-p[0] * y[0] * y[0],)


@njit
def slow_power(t, y, p):
    return (10.0 * p[0] * y[0] ** 1.1,)


@njit
def fast_power(t, y, p):
    return (0.1 * p[0] * y[0] ** 11,)


@njit
def exponential(t, y, p):
    return (p[0] * math.exp(y[0] - 1.0),)


@njit
def tangent(t, y, p):
    return (0.25 * math.pi * p[0] * (1.0 + y[0] * y[0]),)


def one_state(rhs, *, start=1.0, log=False, t_end=4.0):
    return Model("one", [State("y", default=start, log=log)], {"a": 1.0}, rhs, t_end=t_end, burden="y")


POLES = {  # all at t = 1 / a
    "square": one_state(square),
    "square in logarithm": one_state(square, log=True),
    "downwards": one_state(downwards, start=-1.0),
    "slow power": one_state(slow_power),
    "slow power in logarithm": one_state(slow_power, log=True),
    "fast power": one_state(fast_power),
    "fast power in logarithm": one_state(fast_power, log=True),
    "exponential": one_state(exponential),
    "tangent": one_state(tangent),
    "tangent in logarithm": one_state(tangent, log=True),
}


# one patient at a time: each engine meets a pole in logarithm, one of a slow power and one that is no power
ENOUGH = ("square in logarithm", "downwards", "slow power", "tangent")
CASES = [
    pytest.param(
        name, engine, method, id=f"{name}-{method or engine}",
        marks=pytest.mark.slow if engine in ("lsoda", "scipy") and name not in ENOUGH else (),
    )
    for name in POLES
    for engine, method in ENGINES
]  # fmt: skip


@pytest.mark.parametrize(("name", "engine", "method"), CASES)
def test_a_pole_is_named_and_its_time_told(name, engine, method):
    result = fastcart.solve(POLES[name], {"a": [0.1, 0.5, 1.0]}, engine=engine, method=method)
    ends = result.endpoints
    assert ends["status"].tolist() == ["ok", "blow_up", "blow_up"]
    assert result.summary() == {"blow_up": 2, "ok": 1}
    assert "infinity" in result.explain(1)
    assert ends.loc[1:, ["pfs", "nadir", "final", "final_y"]].isna().all(axis=None)
    if engine != "lsoda":  # it keeps no time of what failed
        np.testing.assert_allclose(ends["t_reached"][1:], [2.0, 1.0], rtol=1e-3)


@pytest.mark.parametrize("rtol", [1e-4, 1e-9])
@pytest.mark.parametrize("name", POLES)
def test_a_pole_is_named_at_every_tolerance_and_soon(name, rtol):
    ends = fastcart.solve(POLES[name], {"a": [0.1, 1.0]}, rtol=rtol).endpoints
    assert ends["status"].tolist() == ["ok", "blow_up"]
    assert ends["steps"][1] + ends["rejected"][1] < 2000


@pytest.mark.parametrize("rtol", [1e-6, 1e-8, 1e-10])
@pytest.mark.parametrize("name", POLES)
def test_no_method_steps_over_a_pole(name, rtol):
    """Rosenbrock methods take fast growth for a decay when a step is too long, and come out behind it."""
    for method in ("rodas5p", "tsit5", "dop853"):
        ends = fastcart.solve(
            POLES[name], {"a": [0.1, 1.0]}, engine="lanes", method=method, rtol=rtol, warn=False
        ).endpoints
        assert (ends["status"] == "ok").tolist() == [True, False], method


# --- what is no blow-up ---------------------------------------------------------------------------------


@njit
def prey(t, y, p):
    T, E, M = y
    growth = (p[0] * T - 1.0) * (1.0 - 0.1 * E)
    return (0.01 * T - 1e-3 * T * E, growth * E + 0.5 * M, 0.1 * E - 0.2 * M)


CELLS = [State("T", default=100.0, log=True), State("E", default=0.0), State("M", default=0.0)]
HUNTED = Model("hunted", CELLS, {"a": 0.1}, prey, t_end=100.0)


@pytest.mark.parametrize("seed", [1e-25, 1e-12, 1e-3])
def test_few_cells_that_grow_are_followed(seed):
    """Far below any tolerance they decide the course; a step over them would let them die out."""
    doses = fastcart.DosingSchedule([(30.0, "E", seed)])
    ends = {
        method: fastcart.solve(
            HUNTED, 1, doses=doses, engine="lanes", method=method, rtol=1e-9, atol=1e-30
        ).endpoints.loc[0, ["final_T", "final_E"]].to_numpy(float)
        for method in ("rodas5p", "vern7")
    }  # fmt: skip
    np.testing.assert_allclose(ends["rodas5p"], ends["vern7"], rtol=1e-3)


@njit
def fast_growth(t, y, p):
    return (1000.0 * p[0] * y[0],)


@njit
def switched_growth(t, y, p):
    return ((1e19 * p[0] if t > 1.0 else 0.0) * y[0] * (1.0 - y[0] / 1e9),)


@njit
def quenched(t, y, p):
    return (p[0] / (1.0 - y[0]),)


@njit
def leaves_its_domain(t, y, p):
    return (p[0] * (3.0 - y[0]) ** 0.5 if t < 0.5 else math.nan,)


@njit
def saturates_late(t, y, p):
    return (p[0] * y[0] * y[0] / (1.0 + (y[0] / 1e6) ** 2),)


@EVERY_ENGINE
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("rhs", [fast_growth, switched_growth, leaves_its_domain])
def test_growth_that_is_only_fast_and_other_failures_are_no_blow_up(rhs, log, engine, method):
    ends = fastcart.solve(one_state(rhs, log=log), 1, engine=engine, method=method).endpoints
    assert ends["status"][0] != "blow_up"


@pytest.mark.parametrize("engine", ["auto", "lanes", "lsoda"])
def test_what_overflows_is_not_solved(engine):
    """LSODA went on with the number that stands in for infinity, and ended with a solution at 2e305."""
    ends = fastcart.solve(one_state(fast_growth), 1, engine=engine).endpoints
    assert ends["status"].tolist() == ["non_finite"]


@pytest.mark.parametrize("engine", ["auto", "lanes", "lsoda"])
def test_a_singular_slope_is_no_blow_up(engine):
    ends = fastcart.solve(one_state(quenched, start=0.0), 1, engine=engine, max_steps=5000).endpoints
    assert ends["status"][0] not in ("ok", "blow_up")


@EVERY_ENGINE
def test_what_saturates_a_million_times_higher_is_solved(engine, method):
    """As a pole up to 1 - 1e-6; from then on it rises at the constant rate 1e12."""
    ends = fastcart.solve(one_state(saturates_late), 1, engine=engine, method=method).endpoints
    assert ends["status"].tolist() == ["ok"]
    c = 3.0 + 1e-12  # of -1/y + y/1e12 = t - 1 + 1e-12
    assert ends["final_y"][0] == pytest.approx(0.5e12 * (c + math.sqrt(c * c + 4e-12)), rel=1e-4)


def test_a_solution_that_turns_around_in_time_is_not_lost():
    """A loose tolerance takes a patient into infinity who at a closer one is saved just before."""
    patient = crauste_draws(2000, seed=0).iloc[[717]]
    loose = fastcart.solve(CRAUSTE, patient, engine="lanes", method="vern7", rtol=1e-4).endpoints
    model = CRAUSTE.replace(method="vern7")
    ends = fastcart.solve(model, patient, rtol=1e-4).endpoints
    assert loose["status"].tolist() == ["blow_up"]
    assert ends["status"].tolist() == ["ok"]
    close = fastcart.solve(CRAUSTE, patient, engine="lanes", method="dop853", rtol=1e-10).endpoints
    np.testing.assert_allclose(ends["final_P"], close["final_P"], rtol=1e-2)


# --- a spike at the very start: the shortest step is relative to the time, not to the horizon -----------


@njit
def spike(t, y, p):
    killed = 1e11 * p.k * y.B * y.E
    return -killed, killed


SPIKE = Model(  # errors of E grow a thousandfold, so they must begin small
    "spike", [State("B", default=0.999, scale=1e-4), State("E", default=0.001, scale=1e-4)], {"k": 1.0},
    spike, t_end=1.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("engine", "method"), [("auto", None), ("lanes", "rodas5p"), ("lsoda", None), ("scipy", "Radau")]
)
@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_a_spike_at_a_ten_billionth_of_the_horizon_is_solved(engine, method, rtol):
    """The logistic curve, whose steepest place is at 7e-11; from then on it is stiff, at a rate of 1e11."""
    rates = np.linspace(0.9, 1.1, 5 if engine == "scipy" else 40)  # more than lanes, where there are any
    times = np.array([2e-11, 5e-11, 7e-11, 1e-10, 1e-9, 0.5, 1.0])
    result = fastcart.solve(SPIKE, {"k": rates}, engine=engine, method=method, rtol=rtol, save_at=times)
    assert result.summary() == {"ok": len(rates)}
    exact = 1 / (1 + 999 * np.exp(-1e11 * np.outer(rates, times))).ravel()
    np.testing.assert_allclose(result.trajectories["E"], exact, rtol=300 * rtol)


# --- a model of which half of the draws blow up ----------------------------------------------------------

RATES = {  # as fitted, in the benchmark collection of PEtab problems
    "delta_EL": 0.517945937424841, "delta_LM": 0.022580636941607, "delta_NE": 0.011930787933602,
    "mu_EE": 3.91359365940441e-05, "mu_LE": 1.00000000000007e-10, "mu_LL": 8.11520130499257e-06,
    "mu_N": 0.739907304399124, "mu_P": 1.00000003522094e-05, "mu_PE": 1.41248724084794e-10,
    "mu_PL": 3.63403086241783e-05, "rho_E": 0.507415649004014, "rho_P": 0.126382292625502,
}  # fmt: skip


@njit
def crauste(t, y, p):
    """Naive cells, early and late effectors, memory, and a pathogen that grows with its square.

    Crauste et al. 2017, Cell Systems 4:306, 10.1016/j.cels.2017.01.014.
    """
    activated, made = p.delta_NE * y.N * y.P, p.delta_EL * y.E
    kept = p.delta_LM * y.L
    return (
        -p.mu_N * y.N - activated,
        activated + p.rho_E * y.E * y.P - p.mu_EE * y.E**2 - made,
        made - p.mu_LL * y.L**2 - p.mu_LE * y.E * y.L - kept,
        kept,
        p.rho_P * y.P**2 - p.mu_PE * y.E * y.P - p.mu_PL * y.L * y.P - p.mu_P * y.P,
    )


CRAUSTE = Model("crauste", {"N": 8090.0, "E": 0.0, "L": 0.0, "M": 0.0, "P": 1.0}, RATES, crauste, t_end=28.0)


def crauste_draws(patients, seed):
    """All rates within one decade of the published ones."""
    factors = 10 ** np.random.default_rng(seed).uniform(-1, 1, (patients, len(RATES)))
    return pd.DataFrame(factors * list(RATES.values()), columns=list(RATES))


def blows_up_in_scipy(rates):
    """Whether some state passes 1e12; a patient who does not stays far below."""
    states, parameters = named.arguments(CRAUSTE, [0.0] * 5, rates)

    def slopes(t, y):
        return crauste.py_func(t, type(states)(y.tolist()), parameters)

    def infinite(t, y):
        return np.abs(y).max() - 1e12

    infinite.terminal = True
    start = [8090.0, 0.0, 0.0, 0.0, 1.0]
    return solve_ivp(slopes, (0.0, 28.0), start, "LSODA", rtol=1e-9, atol=1e-9, events=infinite).status == 1


def test_every_blow_up_of_a_population_is_named_and_nobody_else_is():
    patients = crauste_draws(60, seed=7)
    expected = np.where([blows_up_in_scipy(row) for row in patients.to_numpy()], "blow_up", "ok")
    assert 18 < (expected == "ok").sum() < 42
    for rtol in (1e-4, 1e-6, 1e-9):
        ends = fastcart.solve(CRAUSTE, patients, rtol=rtol).endpoints
        np.testing.assert_array_equal(ends["status"].astype(str), expected)
    for engine, method in (("lsoda", None), ("lanes", "rodas5p")):
        ends = fastcart.solve(CRAUSTE, patients, engine=engine, method=method).endpoints
        np.testing.assert_array_equal(ends["status"].astype(str), expected)


def test_a_blow_up_takes_no_more_work_than_some_hundred_steps():
    """LSODA is not asked, nor the stiff method, which would walk into the pole in thousands of steps."""
    patients = crauste_draws(2000, seed=0)
    ends = fastcart.solve(CRAUSTE, patients, rtol=1e-6).endpoints
    assert set(ends["status"]) == {"ok", "blow_up"}
    assert ends["engine"].eq("lanes-vern7").all()
    assert ends.loc[ends["status"] == "blow_up", "rhs_calls"].max() < 4000
    assert ends["rhs_calls"].mean() < 2500


def test_what_happens_to_a_blow_up_depends_on_nobody_else():
    patients = crauste_draws(150, seed=3)
    whole = fastcart.solve(CRAUSTE, patients, rtol=1e-4, threads=2).endpoints
    order = np.random.default_rng(0).permutation(len(patients))
    mixed = fastcart.solve(
        CRAUSTE, patients.iloc[order].reset_index(drop=True), rtol=1e-4, threads=1
    ).endpoints
    for column in ("status", "final_P", "final_M", "t_reached", "steps", "rejected"):
        np.testing.assert_array_equal(mixed[column].to_numpy(), whole[column].to_numpy()[order])


def test_a_state_in_logarithm_that_is_driven_to_zero_is_told_of():
    """A constant loss has no place in a logarithm: the patient fails, and is told what to do."""

    @njit
    def loses(t, y, p):
        return (p[0] * y[0] - 1e9,)

    lost = Model("lost", [State("C", default=1e9, log=True)], {"g": 0.1}, loses, t_end=10.0)
    result = fastcart.solve(lost, 1, warn=False)
    assert result.endpoints["status"].tolist() == ["step_too_small"]
    assert "log=False" in result.explain(0)
