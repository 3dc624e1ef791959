"""The B-ALL model: limits with exact solutions, bookkeeping, reference values of independent integrators."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from conftest import in_python
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

import fastcart
from fastcart.models.b_all import engrafted, infusions, lymphodeplete
from fastcart.trial.course import course

MODEL = fastcart.models.get("b_all")
DEFAULTS = MODEL.default_parameters()
STATES = MODEL.state_names

# The reference patient differs from the defaults in its hazards only.
REF = {"hT": 0.04, "hL": np.log(2) / 220}
SINGLE = [(0, 1, 1)]
LHM = [(0, 0.1, 0), (7, 0.3, 0), (14, 0.6, 0), (28, 0, 1)]

# Values on which three independent integrators agree to 1e-9; eight digits are printed.
REFERENCE = {
    "single": {
        1: {"L": 1.0978084e11, "E": 5.9926510e7, "M": 4.5483995e6, "N": 5.9829465e9},
        5: {"L": 9.9187528e10, "R": 160.16870, "E": 1.2505855e10, "X": 4.8170903e9, "C": 495.13025},
        10: {
            "L": 7.4111609e9, "B": 1.7659221e8, "E": 4.0549402e10, "M": 1.7362783e8, "A": 0.034823359,
            "C": 1836.8644,
        },
        14: {"L": 6.6779360e8, "E": 2.5398668e10, "M": 5.0799612e8, "N": 1.0768539e11, "Ht": 1.9767985e-3},
        28: {"L": 761899.17, "R": 1580.6972, "E": 2.6618419e9, "M": 9.1905750e8, "Hl": 0.012906623},
        60: {"L": 3250.2820, "R": 38778.496, "B": 3.8825064e8, "E": 9.5749762e8, "M": 8.3146196e8},
    },
    "lhm": {
        10: {"L": 8.6224211e10, "E": 1.4760912e10, "M": 2.9035148e6, "C": 969.20657},
        14: {"E": 2.6140740e10, "C": 1654.9841},
        28: {"L": 8.3492926e6, "E": 3.8401563e9, "M": 5.1147811e8, "N": 2.1836721e11},
        60: {"L": 47283.964, "E": 7.5784759e8, "M": 4.9206864e8, "Ht": 1.6135811e-3},
    },
}  # fmt: skip
ARMS = {"single": SINGLE, "lhm": LHM}


def patient(**values) -> pd.DataFrame:
    return pd.DataFrame([{**REF, **values}])


def states_at(times, schedule=None, *, engine="auto", rtol=1e-9, **values) -> pd.DataFrame:
    table = patient(**values)
    doses = None if schedule is None else infusions(table, schedule)
    result = fastcart.solve(
        "b_all", table, doses=doses, t_end=float(max(times)), save_at=times, engine=engine, rtol=rtol
    )
    assert result.endpoints["status"].eq("ok").all()
    return result.trajectories


# --- reference values -----------------------------------------------------------------------------


@pytest.mark.parametrize("arm", list(ARMS))
@pytest.mark.parametrize(
    ("engine", "rtol", "tolerance"), [("scipy", 1e-13, 5e-8), ("auto", 1e-9, 1e-6), ("lsoda", 1e-9, 1e-6)]
)
def test_reference_values(arm, engine, rtol, tolerance):
    reference = REFERENCE[arm]
    path = states_at(sorted(reference), ARMS[arm], engine=engine, rtol=rtol).set_index("t")
    for day, values in reference.items():
        for name, value in values.items():
            assert path.loc[day, name] == pytest.approx(value, rel=tolerance), (day, name)


def exact(t_end: float, events, *, start: dict, parameters: dict):
    """SciPy on the plain right-hand side, with roots."""
    rhs = in_python(MODEL)
    values = MODEL.defaults() | start
    p = tuple((DEFAULTS | parameters)[n] for n in MODEL.parameter_names)
    y0 = np.array([values[n] for n in STATES])
    return solve_ivp(
        lambda t, y: rhs(t, y, p), (0, t_end), y0, method="DOP853", rtol=1e-12, atol=1e-6 * np.ones(11),
        events=events,
    )  # fmt: skip


def crossing(value, level, direction):
    def event(t, y):
        return np.log(value(y) / level)

    event.direction = direction
    return event


def test_reference_events():
    """Onset, peak, remission and relapse of the reference patient, as roots."""
    E, M = (x[0] for x in engrafted(pd.DataFrame([DEFAULTS])))
    assert pytest.approx((5.2e6, 7.0e6)) == (E, M)
    total = lambda y: y[0] + y[1]  # noqa: E731
    il6 = lambda y: y[8]  # noqa: E731
    slope = lambda t, y: 20.0 + 2e5 * y[7] - 4.0 * y[8]  # noqa: E731
    slope.direction = -1
    events = [
        crossing(il6, 150.0, 1),
        slope,
        crossing(total, 1e8, -1),
        crossing(total, 5e10, 1),
    ]
    found = exact(365.0, events, start={"E": E, "M": M}, parameters=REF)
    assert found.t_events[0][0] == pytest.approx(3.8702332, abs=1e-6)
    peak = int(np.argmax(found.y_events[1][:, 8]))
    assert found.t_events[1][peak] == pytest.approx(8.595786, abs=2e-6)
    assert found.y_events[1][peak, 8] == pytest.approx(2131.9446, rel=1e-7)
    assert found.t_events[2][0] == pytest.approx(17.284242, abs=1e-6)
    relapse = found.t_events[3][-1]
    assert relapse == pytest.approx(200.94985, abs=1e-4)
    assert found.y_events[3][-1, 1] > found.y_events[3][-1, 0]  # CD19-negative


def test_reference_course():
    """The same from the events and peaks of `course`, to the last printed digit."""
    table = pd.DataFrame([{"patient": 0, "kap": 0.75, "R": 100.0}, {"patient": 1, "kap": 1.1, "R": 0.0}])
    table = table.assign(**REF)
    one = course(table, infusions(table, SINGLE), t_end=365.0, rtol=1e-10)
    assert one["status"].eq("ok").all()
    first, cured = one.iloc[0], one.iloc[1]
    assert first["t_grade1"] == pytest.approx(3.8702332, abs=1e-6)
    assert first["peak_C"] == pytest.approx(2131.9446, rel=1e-7)
    assert first["t_peak_C"] == pytest.approx(8.595786, abs=1e-5)
    assert first["t_CR"] == pytest.approx(17.284242, abs=1e-6)
    assert first["t_relapse"] == pytest.approx(200.94985, abs=1e-5)
    assert first["relapse_negative"]
    assert first["peak_T"] == pytest.approx(6.680e10, rel=1e-4)
    assert first["t_peak_T"] == pytest.approx(9.43, abs=0.005)
    assert cured["t_grade1"] == pytest.approx(3.8702965, abs=1e-6)
    assert cured["t_CR"] == pytest.approx(12.665387, abs=1e-6)
    assert np.isinf(cured["t_relapse"])
    assert cured["final_L"] == 0.0
    lhm = course(table, infusions(table, LHM), t_end=365.0, rtol=1e-10).iloc[0]
    assert lhm["peak_C"] == pytest.approx(1703.1178, rel=1e-7)
    assert lhm["t_peak_C"] == pytest.approx(13.2820, abs=5e-5)


def test_course_at_the_default_tolerance():
    """At rtol 1e-5 times are right to a thousandth of a day, far below what outcomes need."""
    table = patient()
    row = course(table, infusions(table, SINGLE)).iloc[0]
    assert row["t_grade1"] == pytest.approx(3.8702332, abs=1e-4)
    assert row["t_CR"] == pytest.approx(17.284242, abs=1e-3)
    assert row["t_relapse"] == pytest.approx(200.94985, abs=1e-3)
    assert row["peak_C"] == pytest.approx(2131.9446, rel=1e-5)


def test_leukemia_dies_out_when_a_single_cell_is_left():
    """Patient REF-B: L reaches one cell at 71.412261 d; from there on it is zero."""
    table = patient(kap=1.1, R=0.0)
    times = [71.41, 71.4122, 71.4123, 200.0]
    path = fastcart.solve(
        "b_all", table, doses=infusions(table, SINGLE), t_end=365.0, save_at=times, rtol=1e-10, extinction=1.0
    )
    L = path.trajectories["L"].to_numpy()
    assert (L[:2] > 1.0).all()
    assert (L[2:] == 0.0).all()
    assert path.endpoints["cured"].all()
    assert path.endpoints["final_R"].eq(0.0).all()


def test_effectors_and_memory_die_out_together():
    """Without antigen effectors fall below one cell early, but memory lives on, and so do both."""
    start = {"L": 0.0, "R": 0.0, "B": 0.0, "sB": 0.0, "E": 1e3, "M": 50.0, "dM": 0.1, "rhoM": 0.0}
    free = states_at([40.0], **start)
    assert free["E"][0] + free["M"][0] > 1.0
    assert free["E"][0] < 1.0
    table = patient(**start)
    path = fastcart.solve(
        "b_all", table, t_end=200.0, save_at=[40.0, 200.0], extinction=1.0, rtol=1e-8
    ).trajectories
    np.testing.assert_allclose(path.loc[0, ["E", "M"]].astype(float), free.loc[0, ["E", "M"]].astype(float))
    assert path["E"][1] == path["M"][1] == 0.0


# --- limits with exact solutions ------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "rtol"), [("scipy", 1e-13), ("auto", 1e-13)])
def test_without_car_t_cells_everything_is_known(engine, rtol):
    times = np.array([10.0, 30.0, 60.0])
    path = states_at(times, engine=engine, rtol=rtol)
    p = MODEL.defaults() | REF

    def leukemia(t):
        S0 = p["L"] + p["R"]
        return p["KL"] / (1 + (p["KL"] / S0 - 1) * np.exp(-p["rL"] * t))

    def hazard(t):
        return p["hL"] * leukemia(t) / (p["KH"] + leukemia(t))

    rest = p["sB"] / p["dB"]
    close = dict(rtol=2e-11)
    np.testing.assert_allclose(path["S"], leukemia(times), **close)
    np.testing.assert_allclose(path["L"] / path["R"], p["L"] / p["R"], **close)
    np.testing.assert_allclose(path["B"], rest + (p["B"] - rest) * np.exp(-p["dB"] * times), **close)
    N = p["KN"] * np.exp(np.log(p["N"] / p["KN"]) * np.exp(-p["rN"] * times))
    np.testing.assert_allclose(path["N"], N, **close)
    Hl = [quad(hazard, 0, t, epsabs=0, epsrel=1e-12)[0] for t in times]
    np.testing.assert_allclose(path["Hl"], Hl, **close)
    for name in ("E", "M", "X", "A"):
        assert path[name].eq(0.0).all()


@pytest.mark.parametrize(("engine", "rtol"), [("scipy", 1e-13), ("auto", 1e-13)])
def test_without_antigen_car_t_cells_decay(engine, rtol):
    times = np.array([1.0, 10.0, 40.0])
    E0, M0 = 1e7, 2e6
    path = states_at(
        times, engine=engine, rtol=rtol, L=0.0, R=0.0, B=0.0, sB=0.0, E=E0, M=M0, rhoM=0.0, rN=0.0
    )
    d, mu, dM = DEFAULTS["dE"], DEFAULTS["muEM"], DEFAULTS["dM"]
    E = E0 * np.exp(-(d + mu) * times)
    M = M0 * np.exp(-dM * times) + mu * E0 * (np.exp(-dM * times) - np.exp(-(d + mu) * times)) / (d + mu - dM)
    np.testing.assert_allclose(path["E"], E, rtol=1e-11)
    np.testing.assert_allclose(path["M"], M, rtol=1e-11)
    np.testing.assert_allclose(path["C"], 5.0, rtol=1e-11)


@pytest.mark.parametrize(("engine", "rtol"), [("scipy", 1e-13), ("auto", 1e-13)])
def test_at_saturating_antigen_effectors_grow_exponentially(engine, rtol):
    times = np.array([0.5, 2.0, 5.0])
    E0, M0 = 1e5, 2e5
    off = dict.fromkeys(("KA", "nu", "xi", "kap", "rL", "sB", "dB", "rhoM", "rN"), 0.0)
    path = states_at(times, engine=engine, rtol=rtol, **off, Kp=1e40, pmx=0.5, E=E0, M=M0)
    g, k, d = DEFAULTS["rhoE"] - DEFAULTS["dE"], DEFAULTS["kact"], DEFAULTS["dM"]
    M = M0 * np.exp(-d * times)
    E = E0 * np.exp(g * times) + k * M0 * (np.exp(g * times) - np.exp(-d * times)) / (g + d)
    np.testing.assert_allclose(path["M"], M, rtol=1e-11)
    np.testing.assert_allclose(path["E"], E, rtol=1e-11)


# --- bookkeeping of the right-hand side -----------------------------------------------------------


def derivatives(state: dict, **parameters) -> dict[str, float]:
    values = dict.fromkeys(STATES, 0.0) | state
    p = tuple((DEFAULTS | parameters)[n] for n in MODEL.parameter_names)
    found = in_python(MODEL)(0.0, tuple(values[n] for n in STATES), p)
    return dict(zip(STATES, found, strict=True))


cells = st.floats(0.0, 12.0).map(lambda x: 10.0**x)


@given(L=cells, B=cells, M=cells, N=cells, pmx=st.floats(0, 1))
def test_an_activated_memory_cell_gives_two_daughters(L, B, M, N, pmx):
    f = derivatives({"L": L, "B": B, "M": M, "N": N}, rhoM=0.0, dM=0.0, pmx=pmx)
    a = (L + B) / (DEFAULTS["KA"] + L + B)
    activated = DEFAULTS["kact"] * a * M
    assert f["E"] + f["M"] == pytest.approx(activated, rel=1e-13, abs=1e-13 * abs(f["E"]))


@given(L=cells, E=cells, N=cells)
def test_what_effectors_lose_to_exhaustion_is_gained_by_exhausted_cells(L, E, N):
    state = {"L": L, "E": E, "N": N}
    lost = derivatives(state, xi=0.0)["E"] - derivatives(state)["E"]
    gained = derivatives(state)["X"]
    assert lost == pytest.approx(gained, rel=1e-9, abs=1e-14 * abs(derivatives(state)["E"]) + 1e-300)


@given(L=cells, B=cells, E=st.floats(0.0, 16.0).map(lambda x: 10.0**x))
def test_stimulated_effectors_are_bounded_by_the_antigen(L, B, E):
    observed = in_python(MODEL, "observe")(
        0.0, (L, 0.0, B, E, 0, 0, 1e9, 0, 5, 0, 0), tuple(DEFAULTS[n] for n in MODEL.parameter_names)
    )
    a = observed[MODEL.observable_names.index("stimulation")]
    assert a * E <= DEFAULTS["s"] * (L + B) / DEFAULTS["KA"] * (1 + 1e-12)


def test_the_observables_are_those_of_the_right_hand_side():
    path = states_at([3.0, 12.0], SINGLE)
    p = DEFAULTS | REF
    np.testing.assert_allclose(path["S"], path["L"] + path["R"])
    np.testing.assert_allclose(path["T"], path["E"] + path["M"] + path["X"])
    np.testing.assert_allclose(path["copies"], 6.6e-7 * path["T"])
    for row in path.to_dict("records"):
        f = derivatives({n: row[n] for n in STATES}, **REF)
        assert f["Ht"] == pytest.approx(row["toxic_hazard"], rel=1e-12)
        assert f["Hl"] == pytest.approx(row["leukemia_hazard"], rel=1e-12)
        assert f["B"] == pytest.approx(p["sB"] - (p["dB"] + row["kill"]) * row["B"], rel=1e-12)
        assert f["M"] == pytest.approx(
            (p["rhoM"] * (row["niche"] - 1 / (1 + p["KN"] / p["Kq"])) - p["dM"]) * row["M"]
            - (1 - 2 * p["pmx"] * p["Kp"] / (p["Kp"] + row["Ag"])) * p["kact"] * row["stimulation"] * row["M"]
            + p["muEM"] * (1 - row["stimulation"]) * row["E"],
            rel=1e-9,
        )  # fmt: skip


def test_hazards_are_linear_and_change_nothing_else():
    base = states_at([30.0, 90.0], SINGLE)
    scaled = states_at([30.0, 90.0], SINGLE, hT=0.4, hL=np.log(2) / 22)
    np.testing.assert_allclose(scaled[["Ht", "Hl"]], 10 * base[["Ht", "Hl"]], rtol=1e-7)
    others = [name for name in STATES if name not in ("Ht", "Hl")]
    np.testing.assert_allclose(scaled[others], base[others], rtol=1e-7)


# --- doses ----------------------------------------------------------------------------------------


def late_cells(schedule, **values) -> float:
    """CAR-T cells on day 28 that come from a dose too small to have any effect."""
    path = states_at([28.0], schedule, rtol=1e-11, D=1.0, **values)
    return float(path["T"][0])


def test_few_cells_superpose():
    """Effective-dose law: what a cell of day d is worth, in effectors of day 0."""
    unit = late_cells([(0, 1, 0)])
    for day, weight in ((1, 0.136), (2, 0.0227), (3, 0.0049), (7, 1.1e-4), (10, 2.9e-5)):
        digits = 2 if weight < 0.01 else 3
        assert float(f"{late_cells([(day, 1, 0)]) / unit:.{digits}g}") == pytest.approx(weight, rel=1e-6)
    parts = [fraction * late_cells([(day, 1, 0)]) for day, fraction in enumerate((0.1, 0.3, 0.6))]
    assert late_cells([(0, 0.1, 0), (1, 0.3, 0), (2, 0.6, 0)]) == pytest.approx(sum(parts), rel=1e-5)
    # of the whole product: 10/30/60 on days 0 to 2, and low effectors first with memory last
    product = late_cells(SINGLE)
    frey = late_cells([(0, 0.1, 0.1), (1, 0.3, 0.3), (2, 0.6, 0.6)])
    assert frey / product == pytest.approx(0.157, abs=0.0005)
    assert late_cells(LHM) / product == pytest.approx(0.061, abs=0.0005)
    E, M = (x[0] for x in engrafted(pd.DataFrame([DEFAULTS]), D=1.0))
    memory = late_cells([(0, 0, 1)]) / M / (unit / E)
    assert memory == pytest.approx(0.47, abs=0.005)


def test_infusions_split_the_patients_own_product():
    patients = pd.DataFrame({"patient": [7, 8], "D": [1e8, 2e8], "fM": [0.35, 0.5], "F_E": 0.1, "F_M": 0.2})
    table = infusions(patients, [(0, 0.25, 0), (7, 0.75, [1.0, 0.0])])
    total = table.groupby(["patient", "state"])["amount"].sum()
    assert total[7, "E"] == pytest.approx(0.1 * 0.65e8)
    assert total[7, "M"] == pytest.approx(0.2 * 0.35e8)
    assert total[8, "E"] == pytest.approx(0.1 * 1e8)
    assert (8, "M") not in total
    assert (table["amount"] > 0).all()
    with pytest.raises(fastcart.InputError, match="fraction"):
        infusions(patients, [(0, -0.1, 1)])


def test_a_dose_at_day_zero_is_the_same_as_an_initial_value():
    E, M = (x[0] for x in engrafted(pd.DataFrame([DEFAULTS])))
    given_ = states_at([20.0], SINGLE)
    started = states_at([20.0], E=E, M=M)
    assert given_[STATES].equals(started[STATES])


def test_lymphodepletion_opens_the_niche():
    states = pd.DataFrame({"N": [2e11, 2e11], "E": 1e8, "M": 1e8, "X": 1e7, "B": 1e9, "L": 1e5})
    after = lymphodeplete(states, 3e9, phi=0.1, rows=np.array([True, False]))
    assert after.loc[0].tolist() == [3e9, 1e7, 1e7, 1e6, 1e8, 1e5]
    assert after.loc[1].equals(states.loc[1])


# --- the engines ----------------------------------------------------------------------------------


def test_the_right_hand_side_vectorises():
    from fastcart.solvers.lanes.rhs import machine_code

    code = machine_code(MODEL)
    assert len(re.findall(r"\bv\w+pd\b", code)) > 100
    assert not re.findall(r"\bv(?:add|sub|mul|div|fn?m\w+)sd\b", code)


def test_varied_patients_stay_positive_and_bounded():
    from fastcart.population import sample

    patients = sample(500, seed=4)
    result = fastcart.solve(
        "b_all", patients, doses=infusions(patients, SINGLE), rtol=1e-5, extinction=1.0,
        save_at=np.arange(0.0, 731.0, 5.0),
    )  # fmt: skip
    assert result.endpoints["status"].eq("ok").all()
    assert result.endpoints["engine"].eq("lanes-rodas5p").all()  # which auto begins with
    path = result.trajectories
    for name in ("L", "R", "B", "E", "M", "N"):
        assert path[name].min() >= 0.0, name
    assert path["A"].between(-1e-9, 1 + 1e-9).all()
    assert path["X"].min() >= -1.0
    assert path["T"].max() < 1e13
    # L and R are absorbed at zero
    for name in ("L", "R"):
        courses = path[name].to_numpy().reshape(500, -1)
        gone = np.cumsum(courses == 0.0, axis=1) > 0
        assert (courses[gone] == 0.0).all()
        assert (courses[~gone] >= 1.0).all()


def test_one_is_not_taken_for_a_true_that_was_asked_for_before():
    assert fastcart.models.get("b_all", switch=True) is fastcart.models.get("b_all", switch=True)
    with pytest.raises(fastcart.InputError, match="'switch' must be True or False or 'fraction'"):
        fastcart.models.get("b_all", switch=1)
