"""Lag, steady state, reset, removal and parameters that switch: closed forms in every engine."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import slow_but
from numba import njit

import fastcart
from fastcart import DosingSchedule, Event, InputError, Model, Observable, Parameter, State, batch
from fastcart.cli import main
from fastcart.nonmem import nonmem_doses

KA, KE = 1.1, 0.3
SOLVERS = [
    ("lanes", "vern7"),
    ("lanes", "tsit5"),
    ("lanes", "rodas5p"),
    ("auto", None),
    ("lsoda", None),
    ("scipy", None),
]
# vern7 finds, stops and goes on by the code of tsit5, in twice the time to compile
EVERY = pytest.mark.parametrize(
    "run", slow_but(SOLVERS[1:], SOLVERS), ids=[method or engine for engine, method in SOLVERS]
)
FEW = pytest.mark.parametrize("run", [("auto", None), ("lsoda", None)], ids=["auto", "lsoda"])
TIMES = np.linspace(0.0, 20.0, 41)


@njit
def _kinetics(t, y, p):
    return (-p.ka * y.gut, p.ka * y.gut - p.ke * y.blood)


@njit
def _cleared(t, y, p):
    return (p.ke * y.blood,)


MODEL = Model(
    "kinetics",
    {"gut": 0.0, "blood": 0.0},
    {"ka": KA, "ke": KE, "delay": 0.0, "part": 1.0, "R2": 2.0, "D2": 1.5},
    _kinetics,
    t_end=20.0,
    observables=[Observable("cleared")],
    observe=_cleared,
)


def solve(run, doses, patients=1, *, model=MODEL, rtol=1e-11, **options):
    return fastcart.solve(
        model, patients, doses=doses, engine=run[0], method=run[1], rtol=rtol, warn=False, **options
    )


def path(run, doses, patients=1, times=TIMES, **options) -> np.ndarray:
    """Gut and blood at times, shape (patients, times, 2)."""
    result = solve(run, doses, patients, save_at=times, **options)
    assert result.summary() == {"ok": len(result.endpoints)}
    return result.trajectories[["gut", "blood"]].to_numpy().reshape(-1, len(times), 2)


def bolus(t, *, state: str = "gut"):
    """Gut and blood a time ``t`` after a unit bolus, 0 before."""
    since = np.asarray(t, dtype=float)[..., None]
    fast, slow = np.exp(-KA * since), np.exp(-KE * since)
    none = np.zeros_like(slow)
    blood = KA / (KA - KE) * (slow - fast)
    values = np.concatenate([fast, blood] if state == "gut" else [none, slow], axis=-1)
    return np.where(since >= 0, values, 0.0)


def infusion(t, length):
    """Gut and blood a time ``t`` after the begin of an infusion of unit rate into blood."""
    t = np.asarray(t, dtype=float)
    rising = -np.expm1(-KE * np.clip(t, 0.0, length)) / KE
    blood = rising * np.exp(-KE * np.clip(t - length, 0.0, None))
    return np.stack([np.zeros_like(t), blood], axis=-1)


def close(found, expected, rtol=1e-8):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


# --- lag, bioavailability, rates and durations ----------------------------------------------------


@EVERY
def test_lag_and_bioavailability_of_each_patient(run):
    doses = (
        DosingSchedule()
        .bolus(1.0, "gut", 5.0, lag="delay", bioavailability="part", every=4.0, repeats=2)
        .bolus(2.0, "blood", 3.0, lag=0.25)
    )
    patients = {"delay": [0.0, 0.7, 6.0], "part": [1.0, 0.5, 0.0]}
    found = path(run, doses, patients)
    for j, (delay, part) in enumerate(zip(*patients.values(), strict=True)):
        expected = sum(5 * part * bolus(TIMES - 1 - 4 * k - delay) for k in range(3))
        close(found[j], expected + 3 * bolus(TIMES - 2.25, state="blood"))


@EVERY
def test_overlapping_infusions_by_rate_and_by_named_durations(run):
    doses = pd.DataFrame(
        {
            "time": [1.0, 2.0, 3.0], "state": "blood", "amount": [6.0, 4.0, 3.0],
            "rate": ["2", "0", "R2"], "duration": ["0", "D2", "0"], "bioavailability": [0.5, 1.0, 1.0],
        }
    )  # fmt: skip
    patients = {"R2": [2.0, 0.5], "D2": [1.5, 8.0]}
    found = path(run, doses, patients)
    for j, (rate, length) in enumerate(zip(*patients.values(), strict=True)):
        # a given rate stays, and what is not available shortens the infusion
        expected = 2 * infusion(TIMES - 1, 1.5) + 4 / length * infusion(TIMES - 2, length)
        close(found[j], expected + rate * infusion(TIMES - 3, 3.0 / rate))


# --- steady state ---------------------------------------------------------------------------------


def steady_bolus(t, every):
    """Gut and blood a time ``t`` after the last of unit boluses that were given for ever."""
    t = np.asarray(t, dtype=float)[..., None]
    fast, slow = (np.exp(-k * t) / -np.expm1(-k * every) for k in (KA, KE))
    return np.concatenate([fast, KA / (KA - KE) * (slow - fast)], axis=-1)


@EVERY
@pytest.mark.parametrize("lag", [0.0, 1.5, 6.0])
def test_steady_state_of_boluses(run, lag):
    """At the time of the row the states are those of the steady state; its dose follows after the lag."""
    doses = DosingSchedule().bolus(0.5, "gut", 99.0).bolus(
        3.0, "gut", 5.0, every=6.0, repeats=1, steady=True, lag=lag
    )  # fmt: skip
    times = TIMES[TIMES >= 3.0]
    phase = np.where(times < 3 + lag, times - 3 + 6 - lag, 0.0)
    phase = np.where(times >= 3 + lag, times - 3 - lag, phase)
    second = times >= 9 + lag
    expected = 5 * steady_bolus(np.where(second, times - 9 - lag, phase), 6.0)
    close(path(run, doses, times=times)[0], expected)


@EVERY
@pytest.mark.parametrize("length", [2.0, 6.0, 15.0])
def test_steady_state_of_infusions_that_may_overlap(run, length):
    doses = DosingSchedule().infusion(2.0, "blood", 3.0 * length, length, every=6.0, steady=True)
    times = TIMES[TIMES >= 2.0]
    before = sum(3.0 * infusion(times - 2 + 6 * k, length) for k in range(1, 200))
    close(path(run, doses, times=times)[0], before + 3.0 * infusion(times - 2, length))


@EVERY
def test_steady_states_add_up(run):
    """Two routes in steady state: the second row adds to the first."""
    doses = (
        DosingSchedule()
        .bolus(0.0, "gut", 5.0, every=6.0, steady=True)
        .infusion(0.0, "blood", 4.0, 2.0, every=12.0, steady="add")
    )
    found = path(run, doses, times=np.array([0.0, 1.0]))[0]
    expected = 5 * steady_bolus([0.0, 1.0], 6.0)
    before = sum(2.0 * infusion(np.array([0.0, 1.0]) + 12 * k, 2.0) for k in range(1, 200))
    close(found, expected + before + 2.0 * infusion([0.0, 1.0], 2.0))


@EVERY
def test_an_infusion_without_end_and_slow_decay(run):
    """The rate over the constant; an interval of 1 and a half-life of 7 years is no trouble."""
    doses = pd.DataFrame({"time": [4.0], "state": "blood", "amount": 0.0, "rate": 3.0, "steady": 1})
    patients = {"ke": [0.3, 2.7e-4]}
    found = path(run, doses, patients, times=np.array([4.0]))
    close(found[:, 0, 1], 3.0 / np.array(patients["ke"]))
    doses = DosingSchedule().bolus(0.0, "blood", 1.0, every=1.0, steady=True)
    found = path(run, doses, patients, times=np.array([0.0]), rtol=1e-8)
    close(found[:, 0, 1], 1 / -np.expm1(-np.array(patients["ke"])), rtol=1e-8)


@njit
def _saturable(t, y, p):
    return (-p.most * y.drug / (p.half + y.drug),)


@EVERY
@pytest.mark.parametrize("log", [False, True])
def test_steady_state_of_saturable_clearance(run, log):
    """Michaelis-Menten: half ln(c0/c) + c0 - c = most t, so the trough c solves it for c0 = c + dose."""
    from scipy.optimize import brentq

    model = Model(
        "saturable", [State("drug", log=log)], {"most": 2.0, "half": 3.0}, _saturable, t_end=10.0
    )  # fmt: skip
    doses = DosingSchedule().bolus(0.0, "drug", 8.0, every=5.0, steady=True)
    found = solve(run, doses, {"drug": 1e-3, "most": [1.7, 4.0]}, model=model, save_at=[0.0], rtol=1e-9)
    for most, drug in zip([1.7, 4.0], found.trajectories["drug"], strict=True):
        trough = brentq(lambda c, most=most: 3 * np.log1p(8 / c) + 8 - 5 * most, 1e-12, 1e6, xtol=1e-15)
        assert drug == pytest.approx(trough + 8, rel=1e-8)


@EVERY
def test_without_a_steady_state_there_is_a_status(run):
    """Clearance of less than is given; growth; nothing leaves."""
    model = Model(
        "saturable", [State("drug")], [Parameter("most", 2.0, range=(-9, 9)), Parameter("half", 3.0)],
        _saturable, t_end=10.0,
    )  # fmt: skip
    doses = DosingSchedule().bolus(0.0, "drug", 8.0, every=5.0, steady=True)
    ends = solve(run, doses, {"most": [1.5, -1.0, 0.0, 2.0]}, model=model, rtol=1e-7).endpoints
    assert ends["status"].tolist() == [*["no_steady_state"] * 3, "ok"]
    assert ends["final_drug"].isna().tolist() == [True, True, True, False]


def test_what_depends_on_time_has_no_steady_state():
    @njit
    def rhs(t, y, p):
        return (np.cos(t) - y.a,)

    model = Model("timed", {"a": 0.0}, {}, rhs)
    with pytest.raises(InputError, match="'timed' depends on time, so it has no steady state"):
        solve(("auto", None), DosingSchedule().bolus(0, "a", 1, every=1, steady=True), model=model)


# --- reset and removal ----------------------------------------------------------------------------


@EVERY
def test_a_reset_gives_the_start_back_and_ends_what_runs(run):
    doses = (
        DosingSchedule()
        .bolus(1.0, "gut", 5.0)
        .bolus(4.0, "gut", 5.0, lag=3.0)  # would come behind the reset
        .infusion(2.0, "blood", 30.0, 10.0)
        .reset(6.0)
        .bolus(6.0, "blood", 2.0)
        .bolus(8.0, "gut", 1.0)
    )
    found = path(run, doses, {"gut": 0.25})[0]
    before = 0.25 * bolus(TIMES) + 5 * bolus(TIMES - 1) + 3 * infusion(TIMES - 2, 10.0)
    behind = 0.25 * bolus(TIMES - 6) + 2 * bolus(TIMES - 6, state="blood") + bolus(TIMES - 8)
    close(found, np.where(TIMES[:, None] < 6, before, behind))


@EVERY
def test_a_reset_with_a_steady_state_that_adds(run):
    """NONMEM's EVID 4 with SS 2: the start again, and the steady state once."""
    doses = pd.DataFrame(
        {"time": [3.0], "state": "gut", "amount": 5.0, "every": 6.0, "steady": 2, "reset": 1}
    )
    apart = DosingSchedule().bolus(1.0, "gut", 7.0).reset(3.0)
    apart = apart.bolus(3.0, "gut", 5.0, every=6.0, repeats=0, steady="add")
    behind = TIMES >= 3
    close(path(run, doses)[0][behind], path(run, apart)[0][behind])


@EVERY
@pytest.mark.parametrize("log", [False, True])
def test_removal_at_once(run, log):
    """A leukapheresis: half, and then all there is; of those who have less the status says so."""

    @njit
    def rhs(t, y, p):
        return (-p.k * y.cells,)

    state = State("cells", default=8.0, log=log, nonnegative=not log)
    model = Model("fading", [state], {"k": 0.1}, rhs, t_end=10.0)
    left = 8 * np.exp(-0.2)
    doses = DosingSchedule().bolus(2.0, "cells", -left / 2).bolus(5.0, "cells", 1.0)
    found = solve(run, doses, {"k": [0.1, 0.6]}, model=model, save_at=[2.0, 10.0])
    assert found.endpoints["status"].tolist() == ["ok", "negative"]
    right = [left / 2, left / 2 * np.exp(-0.8) + np.exp(-0.5)]
    np.testing.assert_allclose(found.trajectories["cells"][:2], right, rtol=1e-9)
    assert found.trajectories["cells"][2:].isna().all()
    for time in (0.0, 10.0):
        there = 8 * np.exp(-0.1 * time)
        doses = DosingSchedule().bolus(time, "cells", -1.0001 * there)
        assert solve(run, doses, model=model).summary() == {"negative": 1}
        doses = DosingSchedule().bolus(time, "cells", -0.9999 * there)
        ends = solve(run, doses, model=model).endpoints
        assert ends["final_cells"].item() == pytest.approx(1e-4 * 8 * np.exp(-1), rel=1e-5)


# --- parameters that switch -----------------------------------------------------------------------


def stepwise(t, times, rates):
    """Blood, from 1 on, with clearances from times on."""
    t = np.asarray(t, dtype=float)
    edges = np.append(times, np.inf)
    area = sum(k * np.clip(t - a, 0, b - a) for k, a, b in zip(rates, edges[:-1], edges[1:], strict=True))
    return np.exp(-area)


SWITCHES = ([0.0, 2.0, 2.25, 7.0, 15.0], [0.3, 3.0, 0.05, 0.6, 0.0])


def switched(*, patient=None) -> DosingSchedule:
    doses = DosingSchedule()
    for time, rate in list(zip(*SWITCHES, strict=True))[1:]:
        doses = doses.switch(time, "ke", rate, patient=patient)
    return doses


@EVERY
def test_clearance_in_steps(run):
    """States, observables, areas, peaks and crossings have the value of their time."""
    options = {"peaks": ["cleared"], "auc": ["blood", "cleared"]}
    events = [Event("spike", "cleared", 0.5, direction="up"), Event("half", "blood", 0.5, direction="down")]
    result = solve(run, switched(), {"blood": 1.0}, save_at=TIMES, events=events, **options)
    blood = stepwise(TIMES, *SWITCHES)
    rate = np.array(SWITCHES[1])[np.searchsorted(SWITCHES[0], TIMES, side="right") - 1]
    np.testing.assert_allclose(result.trajectories["blood"], blood, rtol=1e-8)
    np.testing.assert_allclose(result.trajectories["cleared"], rate * blood, rtol=1e-8)
    ends = result.endpoints.iloc[0]
    assert ends["peak_cleared"] == pytest.approx(3 * np.exp(-0.6), rel=1e-8)
    assert ends["t_peak_cleared"] == 2.0
    assert (ends["event_spike"], ends["count_spike"]) == (2.0, 1)
    assert ends["event_half"] == pytest.approx(2 + (np.log(2) - 0.6) / 3, rel=1e-8)
    assert ends["auc_cleared"] == pytest.approx(1 - blood[-1], rel=1e-8)
    parts = np.append(SWITCHES[0], 20.0)
    at = stepwise(parts, *SWITCHES)
    areas = [(a - b) / k if k else a * h
             for a, b, k, h in zip(at, at[1:], SWITCHES[1], np.diff(parts), strict=False)]  # fmt: skip
    assert ends["auc_blood"] == pytest.approx(sum(areas), rel=1e-8)


@EVERY
def test_a_schedule_that_never_changes_is_none(run):
    doses = DosingSchedule().bolus(3.0, "gut", 1.0)
    idle = doses.switch(0.0, "ke", KE).switch(5.0, "ke", KE).switch(5.0, "ka", KA)
    a, b = (solve(run, d, {"blood": 1.0}, save_at=TIMES, rtol=1e-7) for d in (doses, idle))
    pd.testing.assert_frame_equal(a.endpoints, b.endpoints, check_exact=True)
    pd.testing.assert_frame_equal(a.trajectories, b.trajectories, check_exact=True)
    there = solve(run, doses.switch(5.0, "ke", 0.9).switch(5.0, "ke", KE), {"blood": 1.0}, save_at=TIMES)
    close(there.trajectories["blood"], path(run, doses, {"blood": 1.0})[0, :, 1])


def _weighed(model_of):
    """Clearance by weight, and a start by weight: defaults that follow from another column."""
    parameters = [
        Parameter("weight", 70.0), Parameter("ka", KA),
        Parameter("ke", lambda x: KE * (x["weight"] / 70.0) ** 0.75),
    ]  # fmt: skip
    states = [State("gut"), State("blood", default=lambda x: x["weight"] / 70.0)]
    return Model("weighed", states, parameters, model_of, t_end=20.0)


@EVERY
def test_computed_defaults_follow_what_they_are_computed_from(run):
    model = _weighed(_kinetics)
    doses = DosingSchedule().switch(0.0, "weight", 35.0).switch(4.0, "weight", 140.0)
    found = solve(run, doses, model=model, save_at=TIMES).trajectories["blood"]
    rates = KE * np.array([0.5, 2.0]) ** 0.75
    close(found, 0.5 * stepwise(TIMES, [0.0, 4.0], rates))
    given = solve(run, doses, {"ke": 0.1}, model=model, save_at=TIMES).trajectories["blood"]
    close(given, 0.5 * np.exp(-0.1 * TIMES))


@pytest.mark.parametrize("run", slow_but(SOLVERS[1:5], SOLVERS[:5]), ids=[m or e for e, m in SOLVERS[:5]])
def test_regimens_in_a_batch_equal_each_alone_bit_for_bit(run, monkeypatch):
    rng = np.random.default_rng(5)
    n = 70
    patients = pd.DataFrame({"patient": [f"p{i}" for i in range(n)], "ke": rng.uniform(0.1, 0.9, n)})
    patients["delay"] = rng.uniform(0, 2, n)
    rows = DosingSchedule()
    for name in patients["patient"]:
        kind = rng.integers(0, 4)
        time = float(rng.integers(0, 30)) / 2
        rows = rows.bolus(time, "gut", rng.uniform(1, 2), lag="delay", patient=name)
        if kind == 1:
            rows = rows.switch(time + 1, "ke", rng.uniform(0.1, 0.9), patient=name)
        elif kind == 2:
            rows = rows.reset(time + 0.7, patient=name)
        elif kind == 3:
            rows = rows.bolus(time, "blood", 1.0, every=3.0, repeats=2, steady=True, patient=name)
    doses = rows.table().sample(frac=1.0, random_state=2)
    options = {"rtol": 1e-6, "save_at": [0, 3, 20], "peaks": ["cleared"]}
    whole = solve(run, doses, patients, **options)
    assert whole.summary() == {"ok": n}
    ends = whole.endpoints.set_index("patient")
    for k in range(0, n, 9):
        name = patients["patient"][k]
        alone = solve(run, doses[doses["patient"] == name], patients.iloc[[k]], **options)
        pd.testing.assert_frame_equal(
            ends.loc[[name]], alone.endpoints.set_index("patient"), check_exact=True
        )
    monkeypatch.setitem(batch._CHUNK, run[0], 13)
    again = solve(run, doses, patients.iloc[::-1], threads=1, **options).endpoints.set_index("patient")
    pd.testing.assert_frame_equal(ends, again.loc[ends.index], check_exact=True)


def test_thresholds_and_breaks_cannot_switch():
    doses = DosingSchedule().switch(1.0, "delay", 2.0)
    with pytest.raises(InputError, match="'delay' is a threshold of an event or a break"):
        solve(("auto", None), doses, events=[Event("e", "blood", "delay")])
    with pytest.raises(InputError, match="'delay' is a threshold of an event or a break"):
        solve(("auto", None), doses, breaks=["delay"])


# --- tables with the columns of NONMEM ------------------------------------------------------------

NONMEM = """ID,TIME,AMT,RATE,CMT,EVID,ADDL,II,SS,MDV,DV,ke
a,0,.,.,.,2,.,.,.,1,.,0.3
a,1,100,.,1,1,2,4,.,1,.,0.3
a,2,.,.,2,0,.,.,.,0,3.5,0.3
a,6,20,10,2,1,.,.,.,1,.,0.6
a,12,50,.,1,4,.,.,.,1,.,0.6
b,0,100,.,gut,1,.,6,1,1,.,0.3
b,5,12,-1,2,1,.,.,.,1,.,.
b,9,12,-2,2,1,.,.,.,1,.,.
b,15,.,.,.,3,.,.,.,1,.,.
"""


def written(text: str) -> pd.DataFrame:
    lines = [line.split(",") for line in text.split()]
    return pd.DataFrame(lines[1:], columns=lines[0])


BY_HAND = (
    DosingSchedule()
    .bolus(1.0, "gut", 100.0, every=4.0, repeats=2, patient="a")
    .switch(6.0, "ke", 0.6, patient="a")
    .infusion(6.0, "blood", 20.0, 2.0, patient="a")
    .reset(12.0, patient="a")
    .bolus(12.0, "gut", 50.0, patient="a")
    .bolus(0.0, "gut", 100.0, every=6.0, steady=True, patient="b")
    .infusion(5.0, "blood", 12.0, 6.0, patient="b")
    .infusion(9.0, "blood", 12.0, 1.5, patient="b")
    .reset(15.0, patient="b")
)


@EVERY
def test_a_table_of_nonmem_is_the_schedule_it_means(run):
    patients = {"patient": ["a", "b"]}
    found, expected = (path(run, d, patients) for d in (written(NONMEM), BY_HAND))
    close(found, expected, rtol=1e-9)


def test_lag_and_bioavailability_have_reserved_names():
    model = MODEL.replace(parameters=[*MODEL.parameters, Parameter("ALAG1", 0.5), Parameter("F2", 0.25)])
    table = pd.DataFrame({"TIME": [1.0, 1.0], "AMT": [4.0, 8.0], "CMT": [1, 2]})
    found = path(("auto", None), table, model=model)[0]
    close(found, 4 * bolus(TIMES - 1.5) + 2 * bolus(TIMES - 1, state="blood"))


@FEW
def test_covariates_are_carried_forward_or_backward(run):
    table = pd.DataFrame(
        {"ID": 0, "TIME": [0.0, 3.0, 7.0], "AMT": [1.0, 0, 0], "CMT": 2, "ke": [0.1, 0.5, 0.9]}
    )
    forward = path(run, table)[0, :, 1]
    close(forward, stepwise(TIMES, [0, 3, 7], [0.1, 0.5, 0.9]))
    backward = path(run, nonmem_doses(table, MODEL, covariates="backward"))[0, :, 1]
    close(backward, stepwise(TIMES, [0, 3], [0.5, 0.9]))
    late = (
        table.assign(TIME=[2.0, 3.0, 7.0], delay=[1.0, 2.0, 3.0]).drop(columns="AMT").assign(AMT=[1.0, 0, 0])
    )
    doses = nonmem_doses(late, MODEL, covariates="backward").assign(lag="delay")
    doses["lag"] = doses["lag"].where(doses["amount"] > 0, 0.0)
    shifted = path(run, doses)[0, :, 1]  # the lag is that of the row itself
    area = stepwise(TIMES, [0, 3, 7], [0.5, 0.9, 0.9]) / stepwise(3.0, [0, 3], [0.5, 0.9])
    close(shifted, np.where(TIMES >= 3, area, 0.0))


def test_doses_of_nonmem_without_a_compartment_are_said_to_go_into_the_tumor(tmp_path):
    doses, says = pd.DataFrame({"TIME": [1.0], "AMT": [2.0]}), r"1 dose names no compartment .* burden 'gut'"
    solve(("auto", None), doses)  # without a tumor, into the first state as in NONMEM
    model = MODEL.replace(burden="gut")
    with pytest.warns(UserWarning, match=says) as caught:
        fastcart.solve(model, 1, doses=doses, t_end=5.0)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match=says):
        fastcart.scan(model, 2, doses=doses, out=tmp_path / "scan", progress=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"WT": 70.0}, "The column 'WT' of the table of doses is none of NONMEM's, and no parameter"),
        ({"EVID": 5}, "'EVID' of the doses holds 5 in row 1; allowed is 0 observation, 1 dose"),
        ({"EVID": 0}, "Row 1 of the doses has EVID 0 and an amount; change one of them."),
        ({"AMT": 0.0, "EVID": 1}, "Row 1 of the doses has EVID 1 and no amount"),
        ({"CMT": 3}, "The compartment 3 of the dose in row 1 is no state of model 'kinetics'; give a number"),
        ({"CMT": "gutt"}, "The compartment 'gutt' of the dose in row 1 is no state"),
        ({"RATE": -1.0}, "RATE -1 in row 1 of the doses asks for the parameter 'R1'"),
        ({"RATE": -3.0}, "'RATE' of the doses holds -3 in row 1"),
        ({"RATE": 1.0, "DUR": 2.0}, "The dose in row 1 has a duration and a rate"),
        ({"TIME": -1.0}, "times count from 0, the start of the patient"),
        ({"TIME": [2.0, 1.0]}, "'TIME' of the doses goes back in row 2"),
        ({"SS": 1.0}, "The steady state in row 1 needs the interval 'every'"),
        ({"SS": 3.0}, "'steady' of the doses holds 3 in row 1; allowed is 0, 1, 2."),
        ({"ADDL": 2.0}, "The dose in row 1 is repeated without an interval"),
        ({"AMT": "much"}, "'AMT' of the doses holds 'much' in row 1"),
    ],
)
def test_bad_tables_of_nonmem_get_one_clear_sentence(change, words):
    table = pd.DataFrame({"TIME": [1.0, 2.0], "AMT": [1.0, 1.0]}).assign(**change)
    with pytest.raises(InputError) as caught:
        solve(("auto", None), table)
    assert words in str(caught.value)
    assert str(caught.value).endswith((".", "?"))


@pytest.mark.parametrize(
    ("doses", "words"),
    [
        ({"lag": "dellay"}, "'lag' of the doses holds 'dellay' in row 1, which is neither a number nor a"),
        ({"lag": "delay"}, "The lag 'delay' of a dose is -1 for a patient"),
        ({"lag": 2.0, "every": 1.0, "steady": 1}, "The lag 2 of a dose at steady state is longer than the"),
        ({"repeats": 1.5, "every": 1.0}, "'repeats' of the doses holds 1.5 in row 1"),
        ({"ke": -1.0}, "The parameter 'ke' is switched to -1; allowed is from 0 to inf."),
        ({"ke": "x"}, "'ke' of the doses holds 'x' in row 1"),
        ({"amount": -1.0, "rate": 1.0}, "The amount of the dose in row 1 must not be negative"),
    ],
)
def test_bad_regimens_get_one_clear_sentence(doses, words):
    model = MODEL.replace(parameters=[
        Parameter("delay", -1.0, range=(-1.0, 9.0)) if p.name == "delay" else p for p in MODEL.parameters
    ])  # fmt: skip
    with pytest.raises(InputError) as caught:
        solve(("auto", None), {"time": [1.0], "state": "gut", "amount": 1.0, **doses}, model=model)
    assert words in str(caught.value)


def test_the_published_scheme_refuses_what_it_does_not_know():
    with pytest.raises(InputError, match="'published' knows boluses and infusions only"):
        fastcart.solve("li_lei", doses=DosingSchedule().reset(5.0), engine="published")
    with pytest.raises(InputError, match="'published' knows boluses and infusions only"):
        fastcart.solve("li_lei", doses=DosingSchedule().bolus(5.0, "TE", -1.0), engine="published")


def test_nonmem_and_switches_on_the_command_line(tmp_path, monkeypatch):
    from fastcart.tables import storage

    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"patient": ["a", "b", "c"], "C": [1e6, 2e6, 3e6]}).to_parquet("p.parquet", index=False)
    rows = "ID,TIME,AMT,CMT,ADDL,II,EVID,rho\na,1,1e6,TE,1,2,1,.\na,5,.,.,.,.,2,0.4\nc,2,1e3,TM,.,.,1,.\n"
    parameter = fastcart.models.get("li_lei_coarse").parameter_names[0]
    (tmp_path / "d.csv").write_text(rows.replace("rho", parameter))
    command = ["run", "li_lei_coarse", "--patients", "p.parquet", "--quiet", "--t-end", "10"]
    assert main([*command, "--doses", "d.csv", "--out", "whole.csv"]) == 0
    monkeypatch.setattr(storage, "_BATCH_ROWS", 2)
    assert main([*command, "--doses", "d.csv", "--out", "parts.csv"]) == 0
    assert (tmp_path / "whole.csv").read_text() == (tmp_path / "parts.csv").read_text()
    schedule = (
        DosingSchedule().bolus(1, "TE", 1e6, every=2, repeats=1, patient="a")
        .switch(5, parameter, 0.4, patient="a").bolus(2, "TM", 1e3, patient="c")
    )  # fmt: skip
    expected = fastcart.solve("li_lei_coarse", "p.parquet", doses=schedule, t_end=10.0).endpoints
    found = pd.read_csv("whole.csv", float_precision="round_trip")
    assert found["final_TE"].tolist() == expected["final_TE"].tolist()
