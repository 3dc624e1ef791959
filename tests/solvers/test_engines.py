"""Every engine against exact answers, against the others, and against high-precision references."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from numba import njit
from plan_a import DAYS, PLAN_A, PLAN_A_ACCURATE, REFERENCE
from problems import ALL

import fastcart
from fastcart import Model, State
from fastcart.solvers.status import Status

ENGINES = ["lsoda", "scipy"]
# problems that the LSODA tests use; each costs one compilation
COMPILED = ["logistic_log", "chain", "dip"]


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    return pd.read_csv(REFERENCE)


@pytest.mark.parametrize("name", list(ALL))
def test_scipy_matches_exact_solutions(name):
    problem = ALL[name]
    times = np.linspace(0, problem.model.t_end, 23)
    result = fastcart.solve(problem.model, 1, engine="scipy", rtol=1e-11, save_at=times)
    found = result.trajectories[problem.model.state_names].to_numpy()
    np.testing.assert_allclose(found, problem.solution(times), rtol=3e-9, atol=1e-9)


@pytest.mark.parametrize("name", COMPILED)
def test_lsoda_matches_exact_solutions(name):
    problem = ALL[name]
    times = np.linspace(0, problem.model.t_end, 23)
    result = fastcart.solve(problem.model, 1, engine="lsoda", rtol=1e-10, save_at=times)
    found = result.trajectories[problem.model.state_names].to_numpy()
    np.testing.assert_allclose(found, problem.solution(times), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_nadir_and_return_of_a_known_dip(engine):
    row = fastcart.solve(ALL["dip"].model, 1, engine=engine, rtol=1e-10).endpoints.iloc[0]
    assert row.pfs == pytest.approx(14.6, abs=1e-6)
    assert row.progression == pytest.approx(14.6, abs=1e-6)
    assert row.t_nadir == pytest.approx(7.3, abs=1e-4)
    assert row.nadir == pytest.approx(5 * np.exp(-0.11 * 7.3**2), rel=1e-6)
    assert not row.censored


def test_first_and_last_crossing_differ_where_the_burden_oscillates():
    # exp(a sin t) exceeds its start from 0, falls below at pi, crosses upward at 2 pi; at 11 it is below
    row = fastcart.solve(ALL["forced_log"].model, 1, engine="scipy", rtol=1e-10).endpoints.iloc[0]
    assert row.progression == 0.0
    assert row.censored
    assert row.pfs == 11.0
    row = fastcart.solve(ALL["forced_log"].model, 1, engine="scipy", rtol=1e-10, t_end=8.0).endpoints.iloc[0]
    assert row.pfs == pytest.approx(2 * np.pi, abs=1e-7)
    assert row.progression == 0.0


@pytest.mark.parametrize(
    ("engine", "method", "rtol"),
    [
        ("lsoda", None, 1e-9),
        ("scipy", "DOP853", 1e-10),
        pytest.param("scipy", "Radau", 1e-8, marks=pytest.mark.slow),  # other steps of the same engine
    ],
)
def test_plan_a_accurate_pfs(engine, method, rtol):
    pfs = fastcart.solve("li_lei", PLAN_A, engine=engine, method=method, rtol=rtol).endpoints["pfs"]
    np.testing.assert_allclose(pfs, PLAN_A_ACCURATE, atol=1e-3)


def test_lsoda_locates_events_and_counts_to_the_reference(reference):
    model = fastcart.models.get("li_lei")
    known = [c for c in reference if c in (*model.parameter_names, *model.state_names)]
    result = fastcart.solve(model, reference[known], engine="lsoda", rtol=1e-9, save_at=DAYS)
    found = result.endpoints
    np.testing.assert_allclose(found["pfs"], reference["pfs"], atol=1e-3)
    np.testing.assert_allclose(found["progression"], reference["progression"], atol=1e-3)
    np.testing.assert_allclose(found["nadir"], reference["nadir"], rtol=1e-5)
    np.testing.assert_allclose(found["t_nadir"], reference["t_nadir"], atol=0.02)
    counts = reference[[f"C_day{t:g}" for t in DAYS]].to_numpy().ravel()
    np.testing.assert_allclose(result.trajectories["C"], counts, rtol=1e-5)


@njit
def _explosive(t, y, p):
    return (p[0] * y[0] * y[0],)


@pytest.mark.filterwarnings("ignore::fastcart.errors.PatientsFailed")
def test_lsoda_comes_to_an_end_behind_a_blow_up():
    """With this rate LSODA meets the blow-up such that it goes on in steps of no length."""
    rates = [0.40077874985882006, 0.1, 0.42]
    model = Model("blow_up", {"C": 1.0}, {"r": 1.0}, _explosive, t_end=5.0)
    ends = fastcart.solve(model, {"r": rates}, engine="lsoda").endpoints
    assert ends["status"].tolist() == ["blow_up", "ok", "blow_up"]
    assert ends["final_C"][1] == pytest.approx(2.0, rel=1e-4)


def test_lsoda_agrees_with_scipy_on_varied_patients(varied_patients):
    some = varied_patients.head(15)
    fast = fastcart.solve("li_lei", some, engine="lsoda", rtol=1e-9).endpoints
    slow = fastcart.solve("li_lei", some, engine="scipy", rtol=1e-10).endpoints
    assert fast["status"].eq("ok").all()
    np.testing.assert_allclose(fast["pfs"], slow["pfs"], atol=1e-3)
    np.testing.assert_allclose(fast["progression"], slow["progression"], atol=1e-3)
    np.testing.assert_allclose(np.log(fast["nadir"]), np.log(slow["nadir"]), atol=1e-5)


def test_every_varied_patient_is_solved_in_logarithm():
    from conftest import draw_patients

    result = fastcart.solve("li_lei", draw_patients(2000, seed=3), engine="lsoda")
    assert result.summary() == {"ok": 2000}


def test_zero_doses_stay_exact_zeros():
    patients = {"T4": [0.0, 0.0], "TP": [0.0, 1e7], "Tr": [0.0, 0.0], "C": [0.0, 1e6]}
    result = fastcart.solve("li_lei", patients, engine="lsoda", save_at=[0, 1, 50, 200])
    path = result.trajectories
    assert (path[["T4", "Tr"]] == 0.0).all(axis=None)
    assert (path.loc[path.patient == 0, ["TP", "C"]] == 0.0).all(axis=None)
    first = result.endpoints.iloc[0]
    assert first.censored
    assert (first.pfs, first.nadir, first.final) == (200.0, 0.0, 0.0)


# --- failures -------------------------------------------------------------------------------------


@njit
def _explosive(t, y, p):
    return (p[0] * y[0] * y[0],)


@njit
def _not_a_number(t, y, p):
    return ((y[0] - p[0]) ** 0.5,)


@njit
def _source(t, y, p):
    return (p[0] - 0.1 * y[0],)


def _one_state(rhs, *, log=False, start=1.0, t_end=10.0):
    return Model("failing", [State("y", default=start, log=log)], {"a": 1.0}, rhs, t_end=t_end, burden="y")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.filterwarnings("ignore::fastcart.errors.PatientsFailed")
def test_a_failing_patient_does_not_take_down_the_others(engine, capfd):
    model = _one_state(_explosive)
    result = fastcart.solve(model, {"a": [0.01, 1.0, 0.02]}, engine=engine)
    ends = result.endpoints
    assert ends["status"].tolist()[::2] == ["ok", "ok"]
    assert ends["status"][1] != "ok"
    assert ends.loc[1, ["pfs", "progression", "nadir", "t_nadir", "final", "final_y"]].isna().all()
    assert not ends["censored"][1]
    np.testing.assert_allclose(ends["final"][[0, 2]], [1 / 0.9, 1 / 0.8], rtol=1e-4)
    assert sum(result.summary().values()) == 3
    assert "Patient 1" in result.explain(1)
    assert len(result.failed) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.filterwarnings("ignore::fastcart.errors.PatientsFailed")
def test_nan_in_the_right_hand_side_is_reported(engine, capfd):
    result = fastcart.solve(_one_state(_not_a_number), {"a": [2.0]}, engine=engine)
    assert result.endpoints["status"].tolist() == ["non_finite"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.filterwarnings("ignore::fastcart.errors.PatientsFailed")
def test_an_inflow_into_a_zero_log_state_is_reported(engine):
    model = _one_state(_source, log=True, start=0.0)
    result = fastcart.solve(model, 1, engine=engine)
    assert result.endpoints["status"].tolist() == ["log_inflow"]
    assert "log=False" in result.explain(0)


@pytest.mark.filterwarnings("ignore::fastcart.errors.PatientsFailed")
def test_the_budget_of_steps_is_kept():
    result = fastcart.solve("li_lei", 2, engine="lsoda", max_steps=20)
    assert result.endpoints["status"].tolist() == ["max_steps"] * 2
    assert "max_steps" in result.explain(1)


def test_every_status_has_a_sentence():
    for status in Status:
        assert len(status.sentence) > 10


_WITHOUT = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "numbalsoda" else find(name, *rest)
import fastcart
ends = fastcart.solve("leon_triana", 3).endpoints
print(ends["status"].tolist(), "fastcart.solvers.lsoda" in sys.modules)
try:
    fastcart.solve("leon_triana", 1, engine="lsoda")
except fastcart.errors.MissingDependencyError as error:
    print(error)
"""


def test_auto_needs_numbalsoda_only_for_lsoda():
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    solved, told = done.stdout.splitlines()
    assert solved == "['ok', 'ok', 'ok'] False"
    for word in ("numbalsoda", "gfortran g++", "--find-links", "conda-forge"):
        assert word in told
