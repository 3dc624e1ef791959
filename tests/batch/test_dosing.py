"""Doses: exact kinetics in every engine, jumps and rates at the right time, clear words on bad tables."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from numba import njit
from scipy.optimize import brentq

import fastcart
from fastcart import DosingSchedule, InputError, Model, Parameter, PublishedScheme, State, batch
from fastcart.cli import main
from fastcart.dosing import check_doses
from fastcart.solvers.doses import JUMP, RATE, canonical

KA, KE = 1.1, 0.3
SOLVERS = [("lanes", "tsit5"), ("lanes", "dop853"), ("lanes", "rodas5p"), ("lsoda", None), ("scipy", None)]
FAST_SOLVERS = [("lanes", "vern7"), ("lsoda", None)]
EVERY = pytest.mark.parametrize(("engine", "method"), SOLVERS)
FAST = pytest.mark.parametrize(("engine", "method"), FAST_SOLVERS)


@njit
def _kinetics(t, y, p):
    return (-p[0] * y[0], p[0] * y[0] - p[1] * y[1])


@njit
def _killing(t, y, p):
    return (-p[0] * y[0], (p[1] - p[2] * y[0]) * y[1])


@njit
def _kinetics_in_place(t, y, p):
    return (-p[0] * y[0], p[0] * y[0] - p[1] * y[1])


# blood alone is the one-compartment model, gut and blood that with absorption
KINETICS = Model(
    "kinetics", {"gut": 0.0, "blood": 0.0}, {"ka": KA, "ke": KE}, _kinetics, t_end=20.0, burden="blood",
    published=PublishedScheme(_kinetics_in_place, 0.125),
)  # fmt: skip
KILLING = Model(
    "killing",
    [State("drug", log=True), State("tumor", default=100.0, log=True)],
    {"fade": 0.5, "growth": 0.1, "kill": 0.4},
    _killing,
    t_end=20.0,
    burden="tumor",
)


def solve(model, doses, patients=1, *, rtol=1e-12, **options):
    return fastcart.solve(model, patients, doses=doses, rtol=rtol, **options)


def table(*rows, columns=("time", "state", "amount", "duration")) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)[: len(rows[0])])


def blood_after(state: str, t):
    """Blood and gut a time ``t`` after a unit bolus."""
    t = np.asarray(t)
    if state == "blood":
        return np.where(t >= 0, np.exp(-KE * t), 0.0), np.zeros(t.shape)
    blood = KA / (KA - KE) * (np.exp(-KE * t) - np.exp(-KA * t))
    return np.where(t >= 0, blood, 0.0), np.where(t >= 0, np.exp(-KA * t), 0.0)


def integrals(state: str, t):
    """The same for a unit rate since ``t`` ago: the integrals of `blood_after`."""
    t = np.maximum(t, 0.0)
    fast, slow = -np.expm1(-KA * t) / KA, -np.expm1(-KE * t) / KE
    if state == "blood":
        return slow, np.zeros(t.shape)
    return KA / (KA - KE) * (slow - fast), fast


def exact(doses: pd.DataFrame, t: np.ndarray) -> np.ndarray:
    """Gut and blood at times ``t``, doses at these times included; the equations are linear."""
    total = np.zeros((2, len(t)))
    for dose in doses.itertuples():
        since = t - dose.time
        if dose.duration == 0:
            total += dose.amount * np.array(blood_after(dose.state, since))
        else:
            rate = dose.amount / dose.duration
            total += rate * np.array(integrals(dose.state, since))
            total -= rate * np.array(integrals(dose.state, since - dose.duration))
    return total[::-1].T


MIXED = (
    DosingSchedule()
    .bolus(0.0, "gut", 3.0)
    .bolus(1.0, "gut", 5.0, every=2.5, repeats=4)
    .bolus(4.0, "blood", 2.0)
    .infusion(0.0, "blood", 4.0, 3.0)
    .infusion(2.0, "blood", 6.0, 3.0, every=6.0, repeats=1)
    .infusion(2.5, "gut", 1.0, 0.5)
    .infusion(18.0, "gut", 9.0, 6.0)  # still running at the horizon
)
TIMES = np.union1d(np.linspace(0.0, 20.0, 41), [0.7, 3.3, 19.9])


@EVERY
def test_kinetics_with_boluses_and_infusions(engine, method):
    result = solve(KINETICS, MIXED, engine=engine, method=method, save_at=TIMES)
    found = result.trajectories[["gut", "blood"]].to_numpy()
    np.testing.assert_allclose(found, exact(MIXED.table(), TIMES), rtol=1e-8, atol=1e-8)
    assert result.options["doses"] is True
    assert result.endpoints[["final_gut", "final_blood"]].to_numpy() == pytest.approx(found[-1:], rel=1e-12)


@EVERY
def test_a_bolus_into_a_zero_state_in_logarithm(engine, method):
    doses = table((3.0, "drug", 2.0))
    times = np.array([0.0, 2.9, 3.0, 5.0, 20.0])
    result = solve(KILLING, doses, engine=engine, method=method, save_at=times)
    drug = np.where(times >= 3, 2.0 * np.exp(-0.5 * (times - 3)), 0.0)
    area = np.where(times >= 3, 4.0 * -np.expm1(-0.5 * (times - 3)), 0.0)
    np.testing.assert_allclose(result.trajectories["drug"], drug, rtol=1e-8)
    np.testing.assert_allclose(
        result.trajectories["tumor"], 100 * np.exp(0.1 * times - 0.4 * area), rtol=1e-8
    )
    assert (result.trajectories["drug"][:2] == 0.0).all()


def _infused_area(t: float) -> float:
    """Integral of the drug given at rate 1 from time 2 to 6."""
    up, down = max(0.0, min(t, 6.0) - 2.0), max(0.0, t - 6.0)
    peak = 1 / 0.5 * -np.expm1(-0.5 * 4)
    area = 1 / 0.5 * (up - -np.expm1(-0.5 * up) / 0.5)
    return area + peak * -np.expm1(-0.5 * down) / 0.5


def _ln_tumor(t: float) -> float:
    return np.log(100) + 0.1 * t - 0.4 * _infused_area(t)


@EVERY
def test_an_infusion_into_a_zero_state_in_logarithm(engine, method):
    """The tumor grows, is driven below its start, has its nadir after the infusion, and returns."""
    doses = DosingSchedule().infusion(2.0, "drug", 4.0, 4.0)
    times = np.array([0.0, 1.9, 2.0, 3.0, 6.0, 11.0, 60.0])
    options = dict(engine=engine, method=method, t_end=60.0, rtol=1e-11)
    result = solve(KILLING, doses, save_at=times, **options)
    found = result.trajectories
    np.testing.assert_allclose(np.log(found["tumor"]), [_ln_tumor(t) for t in times], rtol=1e-8)
    assert (found["drug"][:3] == 0.0).all()
    row = result.endpoints.iloc[0]
    assert row.progression == 0.0
    back = brentq(lambda t: _ln_tumor(t) - np.log(100), 10.0, 60.0)
    assert row.pfs == pytest.approx(back, abs=1e-6)
    lowest = brentq(lambda t: _ln_tumor(t + 1e-5) - _ln_tumor(t - 1e-5), 6.0, 20.0)
    assert row.t_nadir == pytest.approx(lowest, abs=1e-3)
    assert row.nadir == pytest.approx(np.exp(_ln_tumor(lowest)), rel=1e-7)


@EVERY
def test_doses_on_the_burden_cross_its_start(engine, method):
    """It falls like exp(-t) from 10; the dose at 2 lifts it above, that at 6 not, that at 8 does again."""
    patients = {"fade": 1.0, "drug": 10.0, "tumor": 1.0}
    model = Model(
        "fading",
        KILLING.states,
        {"fade": 1.0, "growth": 0.0, "kill": 0.0},
        _killing,
        t_end=9.0,
        burden="drug",
    )
    doses = table((2.0, "drug", 20.0), (6.0, "drug", 5.0), (8.0, "drug", 20.0))
    row = solve(model, doses, patients, engine=engine, method=method).endpoints.iloc[0]
    assert (row.progression, row.t_nadir) == (2.0, pytest.approx(6.0))
    first = 10 * np.exp(-2.0) + 20
    assert row.nadir == pytest.approx(first * np.exp(-4.0), rel=1e-8)  # the value just before a dose
    second = (first * np.exp(-4.0) + 5) * np.exp(-2.0) + 20
    assert row.final == pytest.approx(second * np.exp(-1.0), rel=1e-8)
    below = row.final <= 10
    assert below
    assert (row.pfs, row.censored) == (9.0, True)
    row = solve(model, doses, patients, engine=engine, method=method, t_end=8.25).endpoints.iloc[0]
    assert (row.progression, row.pfs, row.censored) == (2.0, 8.0, False)


@EVERY
def test_a_dose_may_turn_the_burden_at_once(engine, method):
    """A drug that feeds the tumor: it shrinks until the dose and grows from there on, with a kink."""
    names = {"fade": 0.5, "growth": -0.1, "kill": -0.4}
    parameters = [Parameter(name, value, range=(-1.0, 1.0)) for name, value in names.items()]
    model = Model("feeding", KILLING.states, parameters, _killing, t_end=12.0, burden="tumor")
    row = solve(model, table((5.0, "drug", 2.0)), engine=engine, method=method).endpoints.iloc[0]
    assert row.t_nadir == pytest.approx(5.0, abs=1e-9)
    assert row.nadir == pytest.approx(100 * np.exp(-0.5), rel=1e-9)
    back = brentq(lambda t: -0.1 * t + 1.6 * -np.expm1(-0.5 * (t - 5)), 5.0, 8.0)
    assert row.progression == pytest.approx(back, abs=1e-7)


# --- which time, and what is the same -------------------------------------------------------------


@EVERY
def test_values_at_a_dose_are_those_after_it(engine, method):
    doses = table((0.0, "blood", 1.0), (5.0, "blood", 2.0), (0.3, "gut", 1.0), (20.0, "blood", 4.0))
    times = [0.0, 3 * 0.1, 5.0, 20.0]
    path = solve(KINETICS, doses, engine=engine, method=method, save_at=times).trajectories
    assert path["blood"][0] == 1.0
    assert path["gut"][1] == pytest.approx(1.0, rel=1e-9)  # 3 * 0.1 is not 0.3 but the same time
    full = exact(doses.assign(duration=0.0), np.array([0.0, 0.3, 5.0, 20.0]))
    np.testing.assert_allclose(path[["gut", "blood"]], full, rtol=1e-8, atol=1e-12)
    ends = solve(KINETICS, doses, engine=engine, method=method).endpoints
    assert ends["final"][0] == pytest.approx(full[-1, 1], rel=1e-9)  # with the dose at the horizon


@EVERY
def test_splitting_a_bolus_changes_nothing(engine, method):
    whole = table((2.0, "gut", 6.0), (7.0, "blood", 2.0))
    parts = table((7.0, "blood", 1.5), (2.0, "gut", 2.0), (7.0, "blood", 0.5), (2.0, "gut", 4.0))
    a, b = (solve(KINETICS, d, engine=engine, method=method, save_at=TIMES) for d in (whole, parts))
    columns = ["gut", "blood"]
    np.testing.assert_allclose(a.trajectories[columns], b.trajectories[columns], rtol=1e-11, atol=1e-14)
    assert a.endpoints["steps"].equals(b.endpoints["steps"])


@EVERY
def test_doses_at_zero_are_initial_values(engine, method):
    doses = table((0.0, "drug", 0.7), (0.0, "tumor", 50.0), (0.0, "drug", 0.1), (5.0, "drug", 0.0))
    given = solve(KILLING, doses, {"kill": [0.3, 0.5]}, engine=engine, method=method, save_at=[0, 3, 20])
    start = {"kill": [0.3, 0.5], "drug": 0.0 + 0.1 + 0.7, "tumor": 150.0}
    plain = fastcart.solve(KILLING, start, rtol=1e-12, engine=engine, method=method, save_at=[0, 3, 20])
    pd.testing.assert_frame_equal(given.endpoints, plain.endpoints, check_exact=True)
    pd.testing.assert_frame_equal(given.trajectories, plain.trajectories, check_exact=True)


@FAST
def test_the_order_of_rows_is_irrelevant(engine, method):
    doses = MIXED.table()
    doses = pd.concat([doses, doses.iloc[::2] * np.array([1, 1, 0.3, 1], dtype=object)])
    a, b = (solve(KINETICS, d, engine=engine, method=method).endpoints for d in (doses, doses.iloc[::-1]))
    pd.testing.assert_frame_equal(a, b, check_exact=True)


@pytest.mark.parametrize(("engine", "method"), [("lanes", "tsit5"), ("lsoda", None)])
def test_a_hundred_doses(engine, method):
    doses = DosingSchedule().bolus(0.1, "gut", 1.0, every=0.2, repeats=99)
    times = np.linspace(0.0, 20.0, 101)
    path = solve(KINETICS, doses, 3, engine=engine, method=method, save_at=times).trajectories
    full = np.tile(exact(doses.table(), times), (3, 1))
    np.testing.assert_allclose(path[["gut", "blood"]], full, rtol=1e-8, atol=1e-10)


# --- many patients --------------------------------------------------------------------------------


def _many(n: int = 150) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Patients with no, one or many doses; boluses, infusions into one state or the other."""
    rng = np.random.default_rng(4)
    patients = pd.DataFrame({"patient": [f"p{i}" for i in range(n)], "kill": rng.uniform(0.2, 0.6, n)})
    rows = []
    for name in patients["patient"]:
        for _ in range(rng.integers(0, 6)):
            state = rng.choice(["drug", "drug", "drug", "tumor"])
            time, amount = float(rng.integers(0, 40)) / 2, rng.uniform(0.0, 2.0)
            rows.append((time, state, amount, rng.choice([0.0, 0.0, 2.0]), name))
    doses = pd.DataFrame(rows, columns=["time", "state", "amount", "duration", "patient"])
    return patients, doses.sample(frac=1.0, random_state=1)


def _run(patients, doses, engine, method, **options):
    result = solve(
        KILLING, doses, patients, rtol=1e-7, engine=engine, method=method, save_at=[0, 3, 7.5, 20], **options
    )
    return result.endpoints.set_index("patient"), result.trajectories.set_index("patient")


@pytest.mark.parametrize(("engine", "method"), [("lanes", None), ("lsoda", None), ("auto", None)])
def test_schedules_in_a_batch_equal_each_alone_bit_for_bit(engine, method, monkeypatch):
    patients, doses = _many()
    ends, paths = _run(patients, doses, engine, method)
    assert ends["status"].eq("ok").all()
    for k in range(0, 150, 11):
        one = patients.iloc[[k]]
        mine = doses[doses["patient"] == one["patient"].item()]
        alone, path = _run(one, mine if len(mine) else None, engine, method)
        pd.testing.assert_frame_equal(ends.loc[one["patient"]], alone, check_exact=True)
        pd.testing.assert_frame_equal(paths.loc[one["patient"]], path, check_exact=True)
        shared, _ = _run(one, mine.drop(columns="patient") if len(mine) else None, engine, method)
        pd.testing.assert_frame_equal(alone, shared, check_exact=True)
    # not on the order, the threads or the pieces either
    for options in ({}, {"threads": 1}):
        other, other_paths = _run(patients.iloc[::-1], doses, engine, method, **options)
        pd.testing.assert_frame_equal(ends, other.loc[ends.index], check_exact=True)
        pd.testing.assert_frame_equal(
            paths.sort_values(["patient", "t"]), other_paths.sort_values(["patient", "t"]), check_exact=True
        )
    monkeypatch.setitem(batch._CHUNK, engine, 13)
    pd.testing.assert_frame_equal(ends, _run(patients, doses, engine, method)[0], check_exact=True)


def test_engines_agree_on_many_patients():
    patients, doses = _many(60)
    found = {
        engine: solve(
            KILLING, doses[doses["patient"].isin(patients["patient"])], patients, engine=engine, rtol=1e-10
        ).endpoints
        for engine in ("auto", "lanes", "lsoda", "scipy")
    }
    for engine in ("auto", "lanes", "lsoda"):
        for column in ("pfs", "progression", "t_nadir"):
            np.testing.assert_allclose(
                found[engine][column], found["scipy"][column], atol=2e-3, err_msg=f"{engine} {column}"
            )
        np.testing.assert_allclose(found[engine]["nadir"], found["scipy"]["nadir"], rtol=1e-6)
        np.testing.assert_allclose(found[engine]["final"], found["scipy"]["final"], rtol=1e-7)
    assert found["auto"]["engine"].str.startswith("lanes-").all()


def test_a_second_course_of_cells_in_the_full_model():
    """Li & Lei: a repeated infusion of effector cells keeps the tumor down longer, and engines agree."""
    doses = DosingSchedule().bolus(60, "TE", 1e7).infusion(70, "TE", 1e7, 0.5)
    ends = {
        e: solve("li_lei", doses, engine=e, rtol=1e-9).endpoints.iloc[0] for e in ("auto", "lsoda", "scipy")
    }
    plain = fastcart.solve("li_lei", engine="auto", rtol=1e-9).endpoints.iloc[0]
    assert ends["auto"].pfs > plain.pfs + 1
    for engine in ("auto", "lsoda"):
        assert ends[engine].pfs == pytest.approx(ends["scipy"].pfs, abs=1e-3)
        assert ends[engine].nadir == pytest.approx(ends["scipy"].nadir, rel=1e-5)
    assert ends["auto"]["engine"].startswith("lanes-vern7")


# --- the published scheme -------------------------------------------------------------------------


def test_published_scheme_with_doses_on_its_grid():
    doses = DosingSchedule().bolus(1.0, "gut", 5.0, every=2.5, repeats=3).infusion(2.0, "blood", 6.0, 3.0)
    times = np.linspace(0.0, 20.0, 41)
    path = solve(KINETICS, doses, engine="published", save_at=times).trajectories
    np.testing.assert_allclose(path[["gut", "blood"]], exact(doses.table(), times), rtol=1e-4, atol=1e-4)


def test_published_scheme_is_that_of_the_parts():
    """Up to the dose, and from there with the dose added: the same numbers as in one go."""
    doses = table((40.0, "TE", 2e7))
    whole = fastcart.solve("li_lei", engine="published", doses=doses).endpoints.iloc[0]
    states = fastcart.models.get("li_lei").state_names
    first = fastcart.solve("li_lei", engine="published", t_end=40.0).endpoints.iloc[0]
    middle = {name: first[f"final_{name}"] + (2e7 if name == "TE" else 0.0) for name in states}
    second = fastcart.solve("li_lei", middle, engine="published", t_end=160.0).endpoints.iloc[0]
    for name in states:
        assert whole[f"final_{name}"] == second[f"final_{name}"]


@pytest.mark.parametrize("doses", [table((2.51, "gut", 1.0, 0.0)), table((2.5, "gut", 1.0, 0.3))])
def test_published_scheme_needs_doses_on_its_grid(doses):
    with pytest.raises(InputError, match=r"fixed step of 0\.125 day, and doses must begin and end at"):
        solve(KINETICS, doses, engine="published")


# --- bad tables -----------------------------------------------------------------------------------

GOOD = {"time": [1.0], "state": ["gut"], "amount": [2.0]}


@pytest.mark.parametrize(
    ("doses", "words"),
    [
        ({**GOOD, "state": ["Gut"]}, "The state 'Gut' of the dose in row 1 is not a state of model "
                                     "'kinetics'. Did you mean 'gut'?"),
        ({**GOOD, "state": [3]}, "The state 3 of the dose in row 1"),
        ({**GOOD, "state": [None]}, "row 1 is not a state"),
        ({**GOOD, "state": [["gut"]]}, "must hold numbers or text"),
        ({**GOOD, "amont": [1.0]}, "'amont' is not one of a table of doses. Did you mean 'amount'?"),
        ({"day": [1.0], **GOOD}, "'day' is not one of a table of doses; it needs 'time', 'state'"),
        ({"cmt": [1.0], **GOOD}, "and may have 'duration' and 'patient', or NONMEM's TIME, AMT, CMT."),
        ({"time": [1.0], "state": ["gut"]}, "no column 'amount'"),
        ({**GOOD, "amount": [-1.0], "duration": [2]}, "amount of the dose in row 1 must not be negative"),
        ({**GOOD, "amount": [np.nan]}, "'amount' of the doses holds an empty cell or NaN in row 1"),
        ({**GOOD, "amount": ["much"]}, "'amount' of the doses holds 'much' in row 1"),
        ({**GOOD, "amount": [np.inf]}, "holds inf in row 1"),
        ({**GOOD, "time": [-1.0]}, "'time' of the doses holds -1 in row 1"),
        ({**GOOD, "time": ["x"]}, "'time' of the doses holds 'x' in row 1"),
        ({**GOOD, "time": [None]}, "'time' of the doses holds an empty cell or NaN in row 1"),
        ({**GOOD, "duration": [-2.0]}, "'duration' of the doses holds -2 in row 1"),
        ({**GOOD, "duration": [np.nan]}, "'duration' of the doses holds an empty cell or NaN in row 1"),
        ({**GOOD, "duration": [True]}, "'duration' of the doses holds True or False in row 1"),
        ({**GOOD, "patient": [7]}, "The patient 7 of the dose in row 1 is not among the ids of the patients. "
                                   "Known: 0, 1."),
        ({**GOOD, "patient": ["00"]}, "The patient '00' of the dose in row 1 is not"),
        ({**GOOD, "patient": [None]}, "The column 'patient' of the doses is empty in row 1"),
        ({**GOOD, "patient": [[1]]}, "must hold numbers or text"),
        ({name: [] for name in GOOD}, "The table of doses is empty"),
        (DosingSchedule(), "The table of doses is empty"),
        (pd.concat([pd.DataFrame(GOOD), pd.DataFrame({"time": [2.0]})], axis=1), "'time' is given twice"),
        ({**GOOD, "amount": [1.0, 2.0]}, "The doses cannot be made of these columns"),
        ("doses.csv", "The table of doses 'doses.csv' does not exist"),
        ("doses", "must be a DataFrame, a mapping of columns, a path or a fastcart.DosingSchedule, not str"),
        (5, "not int"),
    ],
)  # fmt: skip
def test_bad_tables_get_one_clear_sentence(doses, words):
    with pytest.raises(InputError) as caught:
        solve(KINETICS, doses, 2)
    text = str(caught.value)
    assert words in text
    assert "\n" not in text
    assert text.endswith((".", "?"))


def test_doses_after_the_horizon_are_left_out_with_a_warning():
    doses = table((5.0, "gut", 1.0), (20.5, "gut", 1.0))
    with pytest.warns(UserWarning, match=r"^1 of 2 doses is after the horizon 20 and is left out") as caught:
        late = solve(KINETICS, doses, engine="lsoda").endpoints
    assert caught[0].filename == __file__
    pd.testing.assert_frame_equal(
        late, solve(KINETICS, doses[:1], engine="lsoda").endpoints, check_exact=True
    )
    with pytest.warns(UserWarning, match="2 of 2 doses are after the horizon 4"):
        none = solve(KINETICS, doses, engine="lsoda", t_end=4.0).endpoints
    plain = fastcart.solve(KINETICS, engine="lsoda", rtol=1e-12, t_end=4.0).endpoints
    pd.testing.assert_frame_equal(none, plain, check_exact=True)


def test_scalars_and_mappings_are_tables():
    doses = {"time": [1, 2], "state": "gut", "amount": 1}
    a = solve(KINETICS, doses, engine="lsoda").endpoints
    b = solve(KINETICS, table((1.0, "gut", 1.0), (2.0, "gut", 1.0)), engine="lsoda").endpoints
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    one = solve(KINETICS, {"time": 1, "state": "gut", "amount": 1, "patient": 1}, 2, engine="lsoda").endpoints
    assert one["final_gut"][0] == 0.0 < one["final_gut"][1]


# --- plans ----------------------------------------------------------------------------------------


def entries(plan, patient: int) -> list[tuple]:
    part = slice(plan.start[patient], plan.stop[patient])
    return list(zip(plan.time[part], plan.state[part], plan.kind[part], plan.value[part], strict=True))


def test_overlapping_infusions_add_up_and_end_at_exactly_zero():
    doses = table(
        (0.0, "gut", 0.3, 3.0), (1.0, "gut", 1e20, 1.0), (1.5, "gut", 0.7, 1.5), (2.0, "gut", 5.0, 1e-16)
    )
    plan = check_doses(KINETICS, doses, np.arange(1), 20.0)
    rate, more = 0.3 / 3, 0.7 / 1.5
    assert entries(plan, 0) == [
        (0.0, 0, RATE, rate),
        (1.0, 0, RATE, rate + 1e20),
        (1.5, 0, RATE, rate + 1e20 + more),
        (2.0, 0, JUMP, 5.0),  # too short to be told from a bolus
        (2.0, 0, RATE, rate + more),
        (3.0, 0, RATE, 0.0),
    ]
    assert plan.infused.tolist() == [[True, False]]


def test_patients_share_one_schedule():
    plan = check_doses(KINETICS, MIXED, np.arange(1000), 20.0)
    assert len(plan.time) < 25
    assert (plan.stop == len(plan.time)).all()
    y0 = np.zeros((1000, 2))
    plan.add_initial(y0)
    assert (y0 == [3.0, 0.0]).all()


def test_times_that_differ_by_rounding_are_one_time():
    given = np.array(
        [0.0, 3 * 0.1, 0.7000000000000001, 1 / 3, 1e-300, 1e20, 5.000000000001, 19.999999999999996]
    )
    expected = [0.0, 0.3, 0.7, 0.3333333333333, 1e-300, 1e20, 5.000000000001, 20.0]
    assert canonical(given, 20.0).tolist() == expected


# --- schedules built in Python --------------------------------------------------------------------


def test_schedules_are_built_step_by_step():
    first = DosingSchedule().bolus(1, "gut", 2, every=3, repeats=2)
    both = first + DosingSchedule().infusion(0.5, "blood", 4, 1.5)
    assert len(first) == 3
    assert repr(both) == "DosingSchedule(4 doses)"
    expected = table(
        (1.0, "gut", 2.0, 0.0), (4.0, "gut", 2.0, 0.0), (7.0, "gut", 2.0, 0.0), (0.5, "blood", 4.0, 1.5)
    )
    pd.testing.assert_frame_equal(both.table(), expected)
    named = DosingSchedule().bolus(1, "gut", 2, patient="a").bolus(1, "gut", 3, patient="b")
    assert named.table()["patient"].tolist() == ["a", "b"]
    with pytest.raises(InputError, match="name the patient of each dose, or of none"):
        (first + named).table()
    with pytest.raises(TypeError):
        first + 1


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda s: s.bolus(-1, "gut", 1), "The time of a dose must not be negative, not -1."),
        (lambda s: s.bolus("x", "gut", 1), "The time of a dose must be a finite number, not 'x'."),
        (lambda s: s.bolus(1, 3, 1), "The state of a dose must be a name, not 3."),
        (lambda s: s.infusion(1, "gut", -1, 2), "The amount of a dose must not be negative"),
        (lambda s: s.bolus(1, "gut", 1, steady=True), "A steady state needs the interval 'every'"),
        (lambda s: s.bolus(1, "gut", 1, lag=-1), "The lag of a dose must not be negative, not -1."),
        (lambda s: s.switch(1, 2, 1), "The parameter to switch must be a name, not 2."),
        (lambda s: s.bolus(1, "gut", 1, every=2), "need both 'every'"),
        (lambda s: s.bolus(1, "gut", 1, repeats=2), "need both 'every'"),
        (lambda s: s.bolus(1, "gut", 1, every=0, repeats=2), "The interval 'every' must be a positive"),
        (lambda s: s.bolus(1, "gut", 1, every=1, repeats=-1), "The number of repeats must be a whole number"),
        (lambda s: s.infusion(1, "gut", 1, 0), "The duration of an infusion must be a positive, finite"),
    ],
)
def test_bad_schedules_get_one_clear_sentence(build, words):
    with pytest.raises(InputError) as caught:
        build(DosingSchedule())
    assert words in str(caught.value)


def test_amounts_by_name_are_for_searches_and_scans():
    schedule = (
        DosingSchedule().bolus(0, "gut", "first").infusion(3, "blood", "second", 2).switch(5, "ke", "slower")
    )
    assert schedule.table()["amount"].tolist()[:2] == ["first", "second"]
    values = {"first": 3.0, "second": 2.0, "slower": 0.1}
    numbers = DosingSchedule().bolus(0, "gut", 3).infusion(3, "blood", 2, 2).switch(5, "ke", 0.1)
    expected = fastcart.solve(KINETICS, 1, doses=numbers).endpoints["final_blood"][0]
    variables = {name: (value, value * (1 + 1e-9)) for name, value in values.items()}
    found = fastcart.optimize(
        KINETICS, variables, doses=schedule, objective="final_blood", particles=4, iterations=1, seed=1
    )
    assert found.best["objective"][0] == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match=r"holds 'slower' in row 3.*fastcart\.optimize.*column 'patient'"):
        solve(KINETICS, schedule)
    with pytest.raises(InputError, match="must be a finite number, not '1e6'"):
        DosingSchedule().bolus(0, "gut", "1e6")
    with pytest.raises(InputError, match=r"list of mappings: \[\{\"time\": 'when', \"state\": 'gut'"):
        DosingSchedule().bolus("when", "gut", 1)


# --- command line ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"patient": ["a", "b", "c"], "C": [1e6, 2e6, 3e6]}).to_csv("p.csv", index=False)
    return tmp_path


COMMAND = ["run", "li_lei_coarse", "--patients", "p.csv", "--quiet", "--engine", "lsoda", "--t-end", "10"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_doses_from_a_file(folder, capsys, kind):
    doses = table((2.0, "TE", 1e6, 0.0), (3.0, "TM", 1e3, 1.5)).assign(patient=["c", "a"])
    getattr(doses, f"to_{kind}")(f"d.{kind}", index=False)
    assert main([*COMMAND, "--doses", f"d.{kind}", "--out", "e.csv"]) == 0
    assert capsys.readouterr().err == ""
    found = pd.read_csv("e.csv", float_precision="round_trip")
    expected = fastcart.solve(
        "li_lei_coarse", pd.read_csv("p.csv"), doses=doses, engine="lsoda", t_end=10.0
    ).endpoints
    assert found["final_TE"].tolist() == expected["final_TE"].tolist()
    plain = fastcart.solve("li_lei_coarse", pd.read_csv("p.csv"), engine="lsoda", t_end=10.0).endpoints
    assert (found["final_TE"] != plain["final_TE"]).tolist() == [True, False, True]


def test_files_read_in_batches_get_their_own_doses(folder, monkeypatch):
    from fastcart.tables import storage

    pd.read_csv("p.csv").to_parquet("p.parquet", index=False)
    table((2.0, "TE", 1e6, "c")).set_axis(["time", "state", "amount", "patient"], axis=1).to_csv(
        "d.csv", index=False
    )
    command = [word.replace("p.csv", "p.parquet") for word in COMMAND]
    assert main([*command, "--doses", "d.csv", "--out", "whole.csv"]) == 0
    monkeypatch.setattr(storage, "_BATCH_ROWS", 2)
    assert main([*command, "--doses", "d.csv", "--out", "parts.csv"]) == 0
    assert (folder / "whole.csv").read_text() == (folder / "parts.csv").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,state,amount\n1,TX,5\n", "The state 'TX' of the dose in row 1"),
        ("time,state,amount,patient\n1,TE,5,a\n1,TE,5,\n", "'patient' of the doses is empty in row 2"),
        ("time,state,amount,patient\n1,TE,5,z\n", "The patient 'z' of the dose in row 1"),
        ("time,state,amount\n1,TE,\n", "an empty cell or NaN in row 1"),
        ("time,state,amount\n", "The table of doses is empty"),
        ("", "The table of doses 'd.csv' is empty"),
        ("time|state|amount\n1|TE|5\n", "its header 'time|state|amount' holds no separator"),
        ("time;state;amount\n1;TE;5,000\n", "'5,000', which may be 5.000 or 5000"),
    ],
)
def test_bad_files_of_doses_are_refused(folder, capsys, text, words):
    (folder / "d.csv").write_text(text)
    assert main([*COMMAND, "--doses", "d.csv", "--out", "e.csv"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert not (folder / "e.csv").exists()


def test_files_of_doses_are_never_replaced(folder, capsys):
    table((1.0, "TE", 5.0)).to_csv("d.csv", index=False)
    assert main([*COMMAND, "--doses", "d.csv", "--out", "d.csv", "--force"]) == 2
    assert "is the table of doses itself" in capsys.readouterr().err
    assert main([*COMMAND, "--doses", "none.csv", "--out", "e.csv"]) == 2
    assert "The table of doses 'none.csv' does not exist" in capsys.readouterr().err


def test_late_doses_are_told_in_one_line(folder, capsys):
    table((1.0, "TE", 5.0), (11.0, "TE", 5.0)).to_csv("d.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main([*COMMAND, "--doses", "d.csv", "--out", "e.csv"]) == 0
    text = "fastcart: 1 of 2 doses is after the horizon 10 and is left out; raise t_end to give them.\n"
    assert capsys.readouterr().err == text


@njit
def _fading(t, y, p):
    return (-p[0] * y[0],)


@pytest.mark.parametrize("engine", ["lanes", "lsoda", "scipy"])
@pytest.mark.parametrize("log", [False, True])
def test_a_break_at_the_start_or_end_of_a_short_infusion_loses_nothing_of_it(engine, log):
    """The engine steps over the break itself, a time in which a very short infusion gives something."""
    model = Model("fading", [State("y", default=1e-3, log=log)], {"k": 0.1}, _fading, t_end=10.0)
    schedule = DosingSchedule().infusion(7.0, "y", 1.0, 1e-8)
    right = 1e-3 * np.exp(-1.0) + np.exp(-0.3)
    for breaks in ([7.0], [7.0 + 1e-8], [7.0, 7.0 + 1e-8]):
        ends = fastcart.solve(
            model, 1, doses=schedule, breaks=breaks, engine=engine, rtol=1e-8
        ).endpoints  # 1e-7 is a unit in the last place of the times, in durations
        assert ends["final_y"].item() == pytest.approx(right, rel=1e-6)
