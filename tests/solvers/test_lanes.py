"""The lane engine: exact answers, orders, stiffness, independence of neighbours, vectorised machine code."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from numba import njit
from plan_a import DAYS, PLAN_A, PLAN_A_ACCURATE, REFERENCE
from problems import ALL

import fastcart
from fastcart import Model, State
from fastcart.solvers.lanes.layout import LANES
from fastcart.solvers.lanes.rhs import machine_code

EXPLICIT = ["tsit5", "vern7", "dop853", "stab5"]
METHODS = [*EXPLICIT, "rodas5p"]


def lane_solve(model, patients=1, **options):
    return fastcart.solve(model, patients, engine="lanes", **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["logistic_log", "chain", "forced_linear"])
def test_exact_solutions_at_every_save_time(name, method):
    problem = ALL[name]
    times = np.linspace(0, problem.model.t_end, 57)
    result = lane_solve(problem.model, 1, method=method, rtol=1e-10, save_at=times)
    found = result.trajectories[problem.model.state_names].to_numpy()
    np.testing.assert_allclose(found, problem.solution(times), rtol=2e-7, atol=2e-8)


@pytest.mark.parametrize("method", METHODS)
def test_nadir_and_return_of_a_known_dip(method):
    row = lane_solve(ALL["dip"].model, 1, method=method, rtol=1e-9).endpoints.iloc[0]
    assert row.pfs == pytest.approx(14.6, abs=1e-6)
    assert row.progression == row.pfs
    assert row.t_nadir == pytest.approx(7.3, abs=1e-6)
    assert row.nadir == pytest.approx(5 * np.exp(-0.11 * 7.3**2), rel=1e-7)


def test_crossings_of_an_oscillating_burden():
    model = ALL["forced_log"].model
    row = lane_solve(model, 1, rtol=1e-9).endpoints.iloc[0]
    assert (row.progression, row.pfs, row.censored) == (0.0, 11.0, True)
    row = lane_solve(model, 1, rtol=1e-9, t_end=8.0).endpoints.iloc[0]
    assert row.pfs == pytest.approx(2 * np.pi, abs=1e-7)
    assert row.nadir == pytest.approx(2 * np.exp(-0.8), rel=1e-8)
    assert row.t_nadir == pytest.approx(1.5 * np.pi, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_error_shrinks_with_the_tolerance(method):
    problem = ALL["forced_linear"]
    times = np.linspace(0.5, 11.0, 22)
    exact = problem.solution(times)
    errors = []
    for rtol in (1e-5, 1e-7, 1e-9):
        path = lane_solve(problem.model, 1, method=method, rtol=rtol, save_at=times).trajectories
        errors.append(np.abs(path["y"].to_numpy()[:, None] / exact - 1).max())
    assert errors[0] < 2e-3
    assert errors[1] < 0.15 * errors[0]
    assert errors[2] < 0.15 * errors[1]


# --- Li & Lei -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", EXPLICIT)
def test_plan_a_accurate_pfs(method):
    pfs = lane_solve("li_lei", PLAN_A, method=method, rtol=1e-9).endpoints["pfs"]
    np.testing.assert_allclose(pfs, PLAN_A_ACCURATE, atol=1e-3)


def test_reference_patients():
    reference = pd.read_csv(REFERENCE)
    model = fastcart.models.get("li_lei")
    known = [c for c in reference if c in (*model.parameter_names, *model.state_names)]
    result = lane_solve(model, reference[known], rtol=1e-9, save_at=DAYS)
    np.testing.assert_allclose(result.endpoints["pfs"], reference["pfs"], atol=1e-3)
    np.testing.assert_allclose(result.endpoints["progression"], reference["progression"], atol=1e-3)
    np.testing.assert_allclose(result.endpoints["nadir"], reference["nadir"], rtol=1e-6)
    np.testing.assert_allclose(result.endpoints["t_nadir"], reference["t_nadir"], atol=1e-3)
    counts = reference[[f"C_day{t:g}" for t in DAYS]].to_numpy().ravel()
    np.testing.assert_allclose(result.trajectories["C"], counts, rtol=1e-6)


def test_varied_patients_against_lsoda():
    from conftest import draw_patients

    patients = draw_patients(3000, seed=11)
    fast = fastcart.solve("li_lei", patients, rtol=1e-9).endpoints
    slow = fastcart.solve("li_lei", patients, engine="lsoda", rtol=1e-9).endpoints
    assert fast["status"].eq("ok").all()
    near = (fast["pfs"] - slow["pfs"]).abs() < 1e-3
    assert near.mean() >= 0.99
    assert fast["engine"].eq("lanes-vern7").all()


def test_zero_doses_stay_exact_zeros():
    path = lane_solve("li_lei", {"T4": 0.0, "Tr": 0.0, "C": 0.0}, save_at=[0, 1, 200]).trajectories
    assert (path[["T4", "Tr", "C"]] == 0.0).all(axis=None)


# --- independence ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["tsit5", "dop853", "rodas5p"])
def test_bitwise_independent_of_neighbours_position_and_threads(method):
    from conftest import draw_patients

    patients = draw_patients(3 * LANES + 5, seed=2).assign(patient=range(3 * LANES + 5))
    times = [0.0, 13.7, 80.0, 200.0]

    def run(table, **options):
        result = lane_solve("li_lei", table, method=method, save_at=times, **options)
        return (
            result.endpoints.set_index("patient").sort_index(),
            result.trajectories.set_index(["patient", "t"]).sort_index(),
        )

    ends, paths = run(patients)
    for others in (
        run(patients.iloc[::-1]),
        run(patients.sample(frac=1.0, random_state=0)),
        run(patients, threads=1),
    ):
        pd.testing.assert_frame_equal(ends, others[0], check_exact=True)
        pd.testing.assert_frame_equal(paths, others[1], check_exact=True)
    pd.testing.assert_frame_equal(ends, run(patients)[0], check_exact=True)
    for k in (0, 31, 32, 100):
        alone, path = run(patients.iloc[[k]])
        pd.testing.assert_frame_equal(ends.loc[[k]], alone, check_exact=True)
        pd.testing.assert_frame_equal(paths.loc[[k]], path, check_exact=True)


def test_save_times_do_not_change_endpoints():
    from conftest import draw_patients

    patients = draw_patients(50, seed=8)
    plain = lane_solve("li_lei", patients).endpoints
    saved = lane_solve("li_lei", patients, save_at=np.linspace(0, 200, 401)).endpoints
    pd.testing.assert_frame_equal(plain, saved, check_exact=True)


# --- stiff patients -------------------------------------------------------------------------------


@njit
def _robertson(t, y, p):
    a, b, c = y
    return (-p[0] * a + p[1] * b * c, p[0] * a - p[1] * b * c - p[2] * b * b, p[2] * b * b)


@njit
def _van_der_pol(t, y, p):
    return (y[1], p[0] * (1 - y[0] * y[0]) * y[1] - y[0])


@njit
def _hires(t, y, p):
    y1, y2, y3, y4, y5, y6, y7, y8 = y
    return (
        -1.71 * y1 + 0.43 * y2 + 8.32 * y3 + 0.0007,
        1.71 * y1 - 8.75 * y2,
        -10.03 * y3 + 0.43 * y4 + 0.035 * y5,
        8.32 * y2 + 1.71 * y3 - 1.12 * y4,
        -1.745 * y5 + 0.43 * y6 + 0.43 * y7,
        -p[0] * y6 * y8 + 0.69 * y4 + 1.71 * y5 - 0.43 * y6 + 0.69 * y7,
        p[0] * y6 * y8 - 1.81 * y7,
        -p[0] * y6 * y8 + 1.81 * y7,
    )


ROBERTSON = Model(
    "robertson",
    [State("a", default=1.0, scale=1e-3), State("b", scale=1e-9), State("c", scale=1e-3)],
    {"k1": 0.04, "k2": 1e4, "k3": 3e7},
    _robertson,
    t_end=1e5,
)
VAN_DER_POL = Model("van_der_pol", {"x": 2.0, "v": 0.0}, {"mu": 1000.0}, _van_der_pol, t_end=2000.0)
HIRES = Model(
    "hires",
    [State(f"y{k}", default=1.0 if k == 1 else (0.0057 if k == 8 else 0.0), scale=1e-4) for k in range(1, 9)],
    {"k": 280.0},
    _hires,
    t_end=321.8122,
)


@pytest.mark.parametrize(
    ("model", "expected", "rtol"),
    [
        # Hairer & Wanner's test set and its successors: reference solutions at these times
        (ROBERTSON, [1.78659213e-02, 7.27475151e-08, 9.82134006e-01], 1e-5),
        (VAN_DER_POL, [1.706167732170469, -0.8928097010248125e-3], 1e-4),
        (
            HIRES,
            [0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2,
             0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2],
            1e-5,
        ),
    ],
    ids=["robertson", "van_der_pol", "hires"],
)  # fmt: skip
def test_stiff_problems_are_solved_automatically(model, expected, rtol):
    result = fastcart.solve(model, 3, rtol=1e-7)
    assert result.summary() == {"ok": 3}
    final = result.endpoints[[f"final_{name}" for name in model.state_names]].to_numpy()
    np.testing.assert_allclose(final, [expected] * 3, rtol=rtol)
    if model is not HIRES:  # HIRES is within reach of an explicit method
        assert result.endpoints["engine"].eq("lanes-rodas5p").all()


def test_only_stiff_patients_change_the_solver():
    mild = VAN_DER_POL.replace(parameters={"mu": 1.0})
    result = fastcart.solve(mild, {"mu": [1.0, 1000.0, 2.0]}, t_end=200.0)
    assert result.endpoints["engine"].tolist() == ["lanes-vern7", "lanes-rodas5p", "lanes-vern7"]
    alone = fastcart.solve(mild, {"mu": [1000.0]}, t_end=200.0)
    assert alone.endpoints["final_x"][0] == result.endpoints["final_x"][1]


def test_cytokine_model_in_lanes():
    fast = fastcart.solve("li_lei_cytokines", PLAN_A, rtol=1e-8).endpoints
    slow = fastcart.solve("li_lei_cytokines", PLAN_A, engine="lsoda", rtol=1e-9).endpoints
    stiff = lane_solve("li_lei_cytokines", PLAN_A, method="rodas5p", rtol=1e-6).endpoints
    np.testing.assert_allclose(fast["pfs"], slow["pfs"], atol=1e-3)
    np.testing.assert_allclose(stiff["pfs"], slow["pfs"], atol=5e-3)


# --- failures -------------------------------------------------------------------------------------


@njit
def _explosive(t, y, p):
    return (p[0] * y[0] * y[0],)


@njit
def _root(t, y, p):
    return ((p[0] - y[0]) ** 0.5,)


@njit
def _source(t, y, p):
    return (p[0] - 0.1 * y[0],)


@pytest.mark.filterwarnings("ignore::fastcart.errors.PatientsFailed")
def test_failures_are_told_apart_and_leave_the_others_alone():
    model = Model("blow_up", {"y": 1.0}, {"a": 1.0}, _explosive, t_end=10.0, burden="y")
    ends = lane_solve(model, {"a": [0.01, 1.0, 0.02]}).endpoints
    assert ends["status"].tolist() == ["ok", "blow_up", "ok"]
    assert ends.loc[1, ["pfs", "nadir", "final", "final_y"]].isna().all()
    assert ends["t_reached"][1] == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(ends["final"][[0, 2]], [1 / 0.9, 1 / 0.8], rtol=1e-5)
    model = Model("nan", {"y": 1.0}, {"a": 2.0}, _root, t_end=10.0)
    assert lane_solve(model, {"a": 0.0}).endpoints["status"].tolist() == ["non_finite"]
    model = Model("inflow", [State("y", log=True)], {"a": 1.0}, _source, t_end=10.0)
    assert lane_solve(model).endpoints["status"].tolist() == ["log_inflow"]


@pytest.mark.filterwarnings("ignore::fastcart.errors.PatientsFailed")
def test_the_budget_of_steps_is_kept():
    ends = lane_solve("li_lei", 2, max_steps=20).endpoints
    assert ends["status"].tolist() == ["max_steps"] * 2
    assert (ends["steps"] + ends["rejected"] == 20).all()
    assert (ends["t_reached"] > 0).all()


# --- machine code and counts: the gate against regressions, without a clock ----------------------------


@pytest.mark.parametrize("name", ["li_lei", "li_lei_cytokines", "li_lei_coarse"])
def test_the_right_hand_side_is_vectorised(name):
    assembly = machine_code(fastcart.models.get(name))
    packed = len(re.findall(r"\bv?(?:div|mul|add|sqrt)pd\b", assembly))
    scalar = len(re.findall(r"\bv?(?:div|mul|add|sqrt)sd\b", assembly))
    assert packed > 100
    assert scalar == 0
    assert not re.search(r"\bcallq?\s+\*?%?(?:exp|log|pow)", assembly)


@njit
def _powers(t, y, p):
    h, k, m, n, s = p
    a, b = y
    c = a**h / (1.0 + a**h) - b**k
    c **= m
    return c - a, (a + 1.0) ** -n - 2.0**s * b


def _power_model():
    parameters = {"h": 1.5, "k": 2.5, "m": 3.0, "n": 0.5, "s": 0.5}
    return Model("powers", {"a": 1.0, "b": 0.5}, parameters, _powers, t_end=2.0)


def test_powers_with_variable_exponents_are_vectorised():
    assembly = machine_code(_power_model())
    assert len(re.findall(r"\bv?(?:mul|add)pd\b|\bvf\w+pd\b", assembly)) > 100
    assert not re.search(r"\bv?(?:div|mul|add|sqrt)sd\b", assembly)
    assert not re.search(r"\bpow\b", assembly)


def test_powers_agree_with_those_of_the_c_library():
    patients = {"m": [1.0, 2.0, 3.0, 4.0], "h": [0.0, 0.7, 2.0, 9.5]}
    fast = lane_solve(_power_model(), patients, rtol=1e-10).endpoints
    slow = fastcart.solve(_power_model(), patients, engine="scipy", rtol=1e-11).endpoints
    assert fast["status"].eq("ok").all()
    np.testing.assert_allclose(fast[["final_a", "final_b"]], slow[["final_a", "final_b"]], rtol=1e-8)


def test_counts_of_work_on_the_default_population():
    """Steps and calls are the same on every machine; more of them is a regression."""
    from conftest import draw_patients

    patients = draw_patients(500, seed=1)
    for method, rtol, steps in (("tsit5", 1e-6, 145), ("dop853", 1e-8, 102), ("vern7", 1e-6, 88)):
        ends = lane_solve("li_lei", patients, method=method, rtol=rtol).endpoints
        assert (ends["steps"] + ends["rejected"]).mean() < steps


def test_lanes_begin_with_the_method_that_the_model_names():
    problem = ALL["dip"]
    one = dict(
        states=problem.model.states, parameters=problem.model.parameters, rhs=problem.model.rhs, t_end=20.0
    )
    named = Model("named_dip", **one, method="stab5")
    for options, used in (({}, "stab5"), ({"auc": ["y"]}, "stab5"), ({"method": "tsit5"}, "tsit5")):
        ends = fastcart.solve(named, 1, engine="lanes", **options).endpoints
        assert ends["engine"].tolist() == [f"lanes-{used}"]
    # auto weighs it against the stiff one
    assert re.search("starts every patient with stab5|stab5 takes", fastcart.explain_engine(named))


# --- extinction -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["tsit5", "dop853", "rodas5p"])
def test_a_tumor_that_falls_below_the_threshold_is_gone(method):
    problem = ALL["dip"]
    model = Model(
        "mortal_dip", [State("y", default=5.0, log=True, extinction=True)], problem.model.parameters,
        problem.model.rhs, t_end=20.0, burden="y",
    )  # fmt: skip
    # 5 exp(a (t - m)^2 - a m^2) falls through 1 where (t - m)^2 = m^2 - ln 5 / a
    gone = 7.3 - np.sqrt(7.3**2 - np.log(5) / 0.11)
    times = [0.0, 0.9 * gone, gone + 1e-6, 10.0, 20.0]
    result = lane_solve(model, 1, method=method, rtol=1e-9, extinction=1.0, save_at=times)
    row = result.endpoints.iloc[0]
    assert row.cured
    assert row.censored
    assert (row.pfs, row.final, row.nadir) == (20.0, 0.0, 0.0)
    assert row.t_nadir == pytest.approx(gone, abs=1e-7)
    np.testing.assert_allclose(
        result.trajectories["y"][:2], problem.solution(np.array(times[:2]))[:, 0], rtol=1e-7
    )
    assert (result.trajectories["y"][2:] == 0.0).all()


def test_extinction_changes_only_those_who_fall_below():
    from conftest import draw_patients

    patients = draw_patients(300, seed=6)
    plain = fastcart.solve("li_lei", patients).endpoints
    mortal = fastcart.solve("li_lei", patients, extinction=1.0).endpoints
    below = plain["nadir"] < 1.0
    assert 0 < below.sum() < len(patients)
    np.testing.assert_array_equal(mortal["cured"], below)
    assert not plain["cured"].any()
    assert (mortal.loc[below, "pfs"] == 200.0).all()
    assert (mortal.loc[below, "final"] == 0.0).all()
    pd.testing.assert_frame_equal(plain[~below], mortal[~below], check_exact=True)


def test_extinction_needs_a_state_that_may_die_out_and_an_engine_that_knows_it():
    with pytest.raises(fastcart.InputError, match="die out"):
        fastcart.solve(ALL["dip"].model, 1, extinction=1.0)
    with pytest.raises(fastcart.InputError, match="knows no extinction"):
        fastcart.solve("li_lei", 1, extinction=1.0, engine="published")
    with pytest.raises(fastcart.InputError, match="positive"):
        fastcart.solve("li_lei", 1, extinction=-1.0)
