"""Algebraic variables: exact solutions, engines, doses, sensitivities, and what is refused."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pandas as pd
import pytest
from conftest import slow_but
from numba import njit
from problems import square_root as root

import fastcart
from fastcart import Action, Algebraic, Event, InputError, Model, State
from fastcart.solvers.algebraic import settle

TIMES = np.linspace(0.0, 10.0, 41)
ENGINES = [
    ("auto", None), ("lanes", "tsit5"), ("lanes", "vern7"), ("lanes", "dop853"), ("lanes", "stab5"),
    ("lanes", "rodas5p"), ("lsoda", None), ("scipy", "DOP853"), ("scipy", "Radau"),
]  # fmt: skip
ENOUGH = [("auto", None), ("lanes", "tsit5"), ("lanes", "rodas5p"), ("lsoda", None), ("scipy", "DOP853")]


SCHEDULE = (
    fastcart.DosingSchedule()
    .bolus(0, "B", 1.0)
    .bolus(3, "A", 5.0)
    .infusion(4, "B", 2.0, duration=2)
    .switch(7, "c", 4.0)
)


def dosed_root(t: np.ndarray) -> np.ndarray:
    """Return x under `SCHEDULE`."""
    A = 4.0 * np.exp(-0.3 * t) + np.where(t >= 3, 5.0 * np.exp(-0.3 * (t - 3)), 0.0)
    return np.sqrt((A + 2.0 + np.clip(t - 4, 0.0, 2.0)) / np.where(t >= 7, 4.0, 1.0))


@njit
def _binding(t, y, p):
    return -p.k * y.C, p.s * y.T


@njit
def _complex(t, y, p):
    bound = p.K * y.free_C * y.free_T
    return y.free_C + bound - y.C, y.free_T + bound - y.T


@cache
def binding() -> Model:
    """Two equations that depend on each other: what is free of two partners."""
    return Model(
        "binding", [State("C", default=4.0, log=True, extinction=True), State("T", default=1.0)],
        {"k": 3.0, "K": 2.0, "s": 0.1}, _binding, t_end=10.0,
        algebraic=[Algebraic("free_C", log=True, start="C"), Algebraic("free_T", log=True, start="T")],
        residual=_complex,
    )  # fmt: skip


def free(C, T, K: float = 2.0):
    """Return what is free of both, from the quadratic equation."""
    q = K * (C + T) + 1.0
    bound = 2.0 * K * C * T / (q + np.sqrt(q * q - 4.0 * K * K * C * T))
    return C - bound, T - bound


@pytest.mark.parametrize(("engine", "method"), slow_but(ENOUGH, ENGINES, several=True))
def test_doses_infusions_and_switches_move_the_solution(engine, method):
    asked = {
        "engine": engine, "method": method, "doses": SCHEDULE, "save_at": TIMES, "peaks": ["x"],
        "auc": ["x", "twice"], "events": [Event("low", "x", 1.2, direction="down")],
    }  # fmt: skip
    for rtol in (1e-5, 1e-8):
        found = fastcart.solve(root(), rtol=rtol, **asked)
        path = found.trajectories
        assert np.abs(path["x"] / dosed_root(TIMES) - 1).max() < 300 * rtol
        assert np.array_equal(path["twice"], 2 * path["x"])
        level = (path["A"] + path["B"]) / np.where(TIMES >= 7, 4.0, 1.0)
        assert np.abs(path["x"] ** 2 / level - 1).max() < 1e-13  # whatever the tolerance
        row = found.endpoints.iloc[0]
        assert row["peak_x"] == pytest.approx(dosed_root(np.array(3.0)), rel=100 * rtol)
        pieces = [np.linspace(a, b, 2001)[:-1] for a, b in ((0, 3), (3, 4), (4, 6), (6, 7), (7, 10))]
        area = sum(_simpson(piece) for piece in pieces)
        assert row["auc_x"] == pytest.approx(area, rel=30 * rtol)
        assert row["auc_twice"] == pytest.approx(2 * area, rel=30 * rtol)
        t = row["event_low"]
        assert t == 7.0 or dosed_root(np.array(t)) == pytest.approx(1.2, rel=300 * rtol)


def _simpson(start: np.ndarray) -> float:
    """Integrate `dosed_root` over a piece without a jump, from the starts of small intervals."""
    h = start[1] - start[0]
    middle, end = dosed_root(start + h / 2), dosed_root(np.nextafter(start + h, 0))
    return float(h / 6 * (dosed_root(start) + 4 * middle + end).sum())


@njit
def _drains(t, y, p):
    return (-y.speed,)


@njit
def _torricelli(t, y, p):
    return (y.speed * y.speed - p.g * y.level,)


@pytest.mark.parametrize("log", [False, True])
def test_it_converges_as_the_tolerance_tightens(log):
    """A tank that drains: level = (2 - t/2)**2, speed = 2 - t/2."""
    speed = Algebraic("speed", log=log, start="level")
    tank = Model(
        "tank", {"level": 4.0}, {"g": 1.0}, _drains, algebraic=[speed], residual=_torricelli, t_end=3.8
    )  # fmt: skip
    t = np.linspace(0.0, 3.8, 20)
    errors = []
    for rtol in (1e-4, 1e-6, 1e-8, 1e-10):
        path = fastcart.solve(tank, engine="lanes", method="vern7", rtol=rtol, save_at=t).trajectories
        errors.append(np.abs(path["speed"] - (2 - t / 2)).max())
        assert np.abs(path["speed"] ** 2 / path["level"] - 1).max() < 1e-13
    assert errors[0] < 1e-3
    assert errors[-1] < 1e-9
    assert all(later < 0.2 * earlier for earlier, later in itertools.pairwise(errors))


@pytest.mark.parametrize(("engine", "method"), [("lanes", "vern7"), ("lanes", "rodas5p"), ("scipy", None)])
def test_equations_that_depend_on_each_other(engine, method):
    """Through an extinction, after which one of the two is an exact zero, and a dose behind it."""
    asked = {"engine": engine, "method": method, "rtol": 1e-8, "extinction": 1e-6}
    dose = fastcart.DosingSchedule().bolus(8, "C", 2.0)
    path = fastcart.solve(binding(), save_at=[0, 1, 5, 7, 8, 9], doses=dose, **asked).trajectories
    for found, exact in zip((path["free_C"], path["free_T"]), free(path["C"], path["T"]), strict=True):
        assert found.to_numpy() == pytest.approx(exact.to_numpy(), rel=1e-13, abs=0)
    assert path["C"].iloc[3] == path["free_C"].iloc[3] == 0.0
    assert path["free_T"].iloc[3] == pytest.approx(path["T"].iloc[3], rel=1e-14)
    assert path["free_C"].iloc[4] > 0.5


@pytest.mark.parametrize("engine", ["lanes", "lsoda", "scipy"])
def test_an_event_about_the_variable_acts_on_what_moves_it(engine):
    refill = Event("low", "free_C", 0.5, direction="down", actions=[Action("C", "add", 3.0)])
    asked = {"engine": engine, "rtol": 1e-9, "t_end": 3.0, "save_at": np.linspace(0, 3, 31)}
    found = fastcart.solve(binding(), events=[refill], **asked)
    path, row = found.trajectories, found.endpoints.iloc[0]
    assert path["free_C"].to_numpy() == pytest.approx(free(path["C"], path["T"])[0].to_numpy(), rel=1e-12)
    first = row["event_low"]
    assert free(4 * np.exp(-3 * first), np.exp(0.1 * first))[0] == pytest.approx(0.5, rel=1e-7)
    assert row["count_low"] >= 3
    assert path["free_C"].min() > 0.499


def test_sensitivities_go_through_doses():
    base = {"k": 0.3, "c": 1.0, "A": 4.0, "B": 1.0}
    dose = fastcart.DosingSchedule().bolus(0, "B", 1.0).bolus(3, "A", 5.0).infusion(4, "B", 2.0, duration=2)
    t = np.array([2.0, 3.0, 5.0, 10.0])
    later = np.where(t >= 3, 5.0 * np.exp(-0.3 * (t - 3)), 0.0)
    A = 4 * np.exp(-0.3 * t) + later
    x = np.sqrt(A + 2.0 + np.clip(t - 4, 0, 2))
    exact = {
        "k": (-t * 4 * np.exp(-0.3 * t) - (t - 3) * later) / (2 * x), "c": -x / 2,
        "A": np.exp(-0.3 * t) / (2 * x), "B": 1 / (2 * x),
    }  # fmt: skip
    for engine, method in (("lanes", "vern7"), ("scipy", None)):
        asked = {"engine": engine, "method": method, "doses": dose, "save_at": t, "rtol": 1e-10}
        slopes = fastcart.solve(root(), base, sensitivities=list(base), **asked).sensitivities
        for name, value in exact.items():
            found = slopes[slopes["by"] == name]
            assert found["x"].to_numpy() == pytest.approx(value, rel=1e-7)
            assert found["twice"].to_numpy() == pytest.approx(2 * value, rel=1e-7)


@njit
def _falls(t, y, p):
    return (-p.k,)


@njit
def _parabola(t, y, p):
    return (y.x * y.x - y.A,)


@cache
def fold() -> Model:
    """x = sqrt(A) while A = 1 - k t is positive: the branch ends where the slope of the equation is zero."""
    x = Algebraic("x", start=1.0)
    return Model("fold", {"A": 1.0}, {"k": 0.4}, _falls, algebraic=[x], residual=_parabola, t_end=2.0)


@pytest.mark.parametrize(
    ("engine", "method"), [("lanes", "tsit5"), ("lanes", "vern7"), ("lanes", "rodas5p"), ("scipy", None)]
)
def test_no_number_behind_the_end_of_a_branch(engine, method):
    asked = {"engine": engine, "method": method, "max_steps": 2000, "save_at": [1.0, 2.0]}
    with pytest.warns(fastcart.PatientsFailed, match="2 of 3"):
        found = fastcart.solve(fold(), {"k": [0.4, 0.55, 2.0]}, **asked)
    assert found.endpoints["status"].tolist()[0] == "ok"
    assert "ok" not in found.endpoints["status"].tolist()[1:]
    assert found.endpoints["final_x"].isna().tolist() == [False, True, True]
    assert found.endpoints["final_x"][0] == pytest.approx(np.sqrt(0.2), rel=1e-6)
    assert found.trajectories["x"].notna().tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize("engine", ["auto", "scipy"])
def test_who_has_no_root_is_named(engine):
    with pytest.warns(fastcart.PatientsFailed, match="1 no_root"):
        found = fastcart.solve(fold(), {"A": [1.0, -1.0]}, engine=engine)
    assert found.endpoints["status"].tolist() == ["ok", "no_root"]
    assert np.isnan(found.endpoints["final_x"][1])
    dose = fastcart.DosingSchedule().bolus(1, "A", -3.0)
    with pytest.warns(fastcart.PatientsFailed, match="1 no_root"):
        fastcart.solve(fold(), engine=engine, doses=dose)


def test_a_pole_is_no_root():
    @njit
    def pole(t, y, p):
        return (1.0 / (y.x - 2.0) + 0.0 * y.A,)

    x = Algebraic("x", start=1.0)
    model = Model("pole", {"A": 1.0}, {"k": 1.0}, _falls, algebraic=[x], residual=pole)
    y = np.array([[1.0, np.nan]])
    assert settle(model.system, np.zeros(1), y, np.ones((1, 1))).all()
    assert np.isnan(y[0, 1])


def test_roots_over_twenty_decades():
    random = np.random.default_rng(1)
    y = 10.0 ** random.uniform(-10, 10, (2000, 4))
    y[:, 2:] = np.nan
    failed = settle(binding().system, np.zeros(len(y)), y, np.tile([3.0, 2.0, 0.1], (len(y), 1)))
    # both are large and equal to some digits: then what is free of one is a difference of large numbers
    assert not failed.any()
    bound = 2.0 * y[:, 2] * y[:, 3]
    assert (y[:, 2] > 0).all()
    assert (y[:, 3] > 0).all()
    assert np.abs((y[:, 2] + bound) / y[:, 0] - 1).max() < 1e-12
    assert np.abs((y[:, 3] + bound) / y[:, 1] - 1).max() < 1e-12


def test_neither_threads_nor_neighbours_nor_prepare_matter():
    patients = pd.DataFrame({"k": np.linspace(0.1, 0.9, 70), "A": np.linspace(1.0, 9.0, 70)})
    asked = {"doses": fastcart.DosingSchedule().bolus(3, "A", 5.0), "save_at": [1.0, 5.0], "method": "vern7"}
    whole = fastcart.solve(root(), patients, threads=2, **asked)
    alone = fastcart.solve(root(), patients.iloc[[33]], threads=1, **asked)
    assert whole.endpoints["final_x"][33] == alone.endpoints["final_x"][0]
    solver = fastcart.prepare(root(), ["k", "A"], save=["x"], **asked)
    solution = solver(patients.to_numpy())
    assert np.array_equal(solution.of(33)["x"], whole.trajectories["x"][66:68])


def test_a_changed_model_keeps_its_equations():
    longer = root().replace(t_end=20.0)
    assert longer.state_names == ["A", "B", "x"]
    assert longer.differential == ["A", "B"]
    assert fastcart.solve(longer, rtol=1e-9).endpoints["final_x"][0] == pytest.approx(
        np.sqrt(4 * np.exp(-6.0) + 1)
    )
    plain = root().replace(algebraic=(), residual=None, observables=(), observe=None)
    assert plain.state_names == ["A", "B"]


@njit
def _iterates(t, y, p):
    x = y.x
    while abs(x * x - y.A) > 1e-3:
        x = 0.5 * (x + y.A / x)
    return (x - y.x,)


@njit
def _elsewhere(t, y, p):
    return (y.A - 1.0,)


@njit
def _jumps_in_time(t, y, p):
    return (y.x * y.x - (y.A if t < 0.5 else 2.0 * y.A),)


@njit
def _jumps_by_state(t, y, p):
    return (y.x * y.x - y.A * (1.0 + math.floor(3.0 * y.A)),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"residual": None}, "both 'algebraic'"),
        ({"residual": _jumps_in_time}, "may jump where time or a state passes a value"),
        ({"residual": _jumps_by_state}, "may jump where time or a state passes a value"),
        ({"residual": _iterates}, "a loop whose end depends on the numbers"),
        ({"residual": _elsewhere}, "no equation left that determines 'x'"),
        ({"residual": _complex}, "there is no parameter 'K'"),
        ({"algebraic": [Algebraic("x", start="Q")]}, "no state or parameter"),
        ({"algebraic": [Algebraic("x", log=True, start=0.0)]}, "its start"),
        ({"algebraic": [Algebraic("x", restoring=-1.0)]}, "must not be negative"),
        ({"algebraic": [Algebraic("A")]}, "given twice"),
        ({"burden": "x"}, "it must be a state"),
        ({"published": fastcart.PublishedScheme(_falls, step=1.0)}, "a published scheme"),
    ],
)
def test_what_is_refused_when_a_model_is_made(changes, message):
    with pytest.raises(InputError, match=message):
        fold().replace(**changes)


def test_patients_doses_and_actions_cannot_give_it():
    with pytest.raises(InputError, match="'x'"):
        fastcart.solve(fold(), {"x": [1.0]})
    with pytest.raises(InputError, match="'x'"):
        fastcart.solve(fold(), doses=fastcart.DosingSchedule().bolus(1, "x", 1.0))
    acts = Event("e", "A", 0.5, direction="down", actions=[Action("x", "set", 1.0)])
    with pytest.raises(InputError, match="'x', which is no state"):
        fastcart.solve(fold(), events=[acts])


# --- the binding equilibrium of a shipped model, as its paper prints it ------------------------------------


@njit
def _equilibrium(t, y, p):
    x = y.C_star
    bound = p.K_1 * y.TE / (1 + p.K_1 * x) + p.K_2 * y.TM / (1 + p.K_2 * x)
    return (x * (1 + bound) - y.C,)


@njit
def _coarse(t, y, p):
    x = y.C_star
    free = p.K_1 * y.TE / (1 + p.K_1 * x)
    killing = p.k_TE * free / (1 + free + p.K_2 * y.TM / (1 + p.K_2 * x) + p.K_1 * y.C)
    q = p.K_2 * x / (1 + p.K_2 * x)
    K_TM = p.K_TM0 + p.K_TM1 * q
    waking = p.lambda_TME * q * y.TM
    return (
        waking - (p.lambda_TEM + p.d_TE) * y.TE,
        p.lambda_TM * K_TM / (K_TM + y.TM) * y.TM + p.lambda_TEM * y.TE - waking - p.d_TM * y.TM,
        (p.lambda_C * p.K_C / (p.K_C + y.C) - p.d_C - killing) * y.C,
    )


def test_the_binding_equilibrium_needs_no_root_finder():
    shipped = fastcart.models.get("li_lei_coarse")
    model = Model(
        "coarse by eq. (2.4)", shipped.states, shipped.parameters, _coarse, t_end=100.0, burden="C",
        algebraic=[Algebraic("C_star", log=True, start="C")], residual=_equilibrium,
    )  # fmt: skip
    rng = np.random.default_rng(3)
    patients = {name: value * rng.uniform(0.9, 1.1, 40) for name, value in model.default_parameters().items()}
    asked = {"engine": "lanes", "method": "vern7", "save_at": range(101)}
    exact = fastcart.solve(shipped, patients, rtol=1e-12, **asked)
    found = fastcart.solve(model, patients, rtol=1e-7, **asked)
    for name, same in (("C", "C"), ("C_star", "C_free")):
        apart = np.abs(np.log(found.trajectories[name] / exact.trajectories[same]))
        assert apart.max() < 1e-5
    assert np.abs(found.endpoints["pfs"] - exact.endpoints["pfs"]).max() < 1e-4
