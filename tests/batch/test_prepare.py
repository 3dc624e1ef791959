"""A prepared solver: the numbers of `solve`, to the bit, whoever is solved beside or before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from conftest import slow_but
from numba import njit

import fastcart
from fastcart import DosingSchedule, Event, Model, Parameter, State
from fastcart.errors import InputError

ENGINES = ["auto", "lanes", "lsoda", "published", "scipy"]
COLUMNS = ["TE", "lambda_C", "k_TE"]


@njit
def _decay(t, y, p):
    return (-p.k * y.A, p.k * y.A - p.d * y.B)


CHAIN = Model("chain", {"A": 100.0, "B": 0.0}, {"k": 1.0, "d": 0.1}, _decay, t_end=30.0, burden="B")


@njit
def _gone(t, y, p):
    return (p.k * y.A,)


DELAYED = Model(
    "delayed", {"A": 0.0, "B": 0.0}, {"k": 1.0, "d": 0.1, "delay": 0.0, "part": 1.0, "length": 1.0}, _decay,
    t_end=30.0, burden="B", observables=[fastcart.Observable("gone")], observe=_gone,
)  # fmt: skip


@njit
def _explodes(t, y, p):
    return (p.a * y.x * y.x,)


BLOW_UP = Model("blow_up", {"x": 1.0}, [Parameter("a", -0.1, range=(-1.0, 1.0))], _explodes, t_end=20.0)


def some_patients(count: int) -> np.ndarray:
    defaults = fastcart.models.get("li_lei").defaults()
    factors = np.random.default_rng(3).uniform(0.9, 1.1, (count, len(COLUMNS)))
    return factors * [defaults[name] for name in COLUMNS]


def assert_same(solution, result) -> None:
    """A solution holds the numbers of a result of `solve`, to the bit."""
    ends = result.endpoints
    assert list(solution.endpoints) == [c for c in ends if c not in ("patient", "status", "engine")]
    for name, values in solution.endpoints.items():
        np.testing.assert_array_equal(values, ends[name].to_numpy(), err_msg=name)
    assert solution.summary() == result.summary()
    assert solution.failed == len(result.failed)
    if result.trajectories is not None:
        for name in result.trajectories.columns[1:]:
            values = solution.t if name == "t" else solution.saved[name]
            np.testing.assert_array_equal(values, result.trajectories[name].to_numpy(), err_msg=name)


@pytest.mark.parametrize("engine", slow_but(ENGINES[:-1], ENGINES))
def test_the_numbers_of_solve(engine):
    values = some_patients(3)
    options = dict(engine=engine, t_end=60.0, save_at=[0.0, 20.0, 60.0])
    if engine not in ("published",):
        options |= dict(peaks=["I6"], events=[Event("low", "C", 1e5, "down")], auc=["TE"])
    solution = fastcart.prepare("li_lei", COLUMNS, **options)(values)
    assert_same(solution, fastcart.solve("li_lei", pd.DataFrame(values, columns=COLUMNS), **options))
    np.testing.assert_array_equal(solution.final[:, 5], solution.endpoints["final_C"])
    assert solution.of(1)["t"].tolist() == [0.0, 20.0, 60.0]
    np.testing.assert_array_equal(solution.of(1)["C"], solution.saved["C"][3:6])


@pytest.mark.parametrize("model", fastcart.models.names())
def test_defaults_of_shipped_models(model):
    solver = fastcart.prepare(model)
    assert_same(solver(), fastcart.solve(model, warn=False))
    first = fastcart.models.get(model).states[0]
    name, value = first.name, 1.5 * fastcart.models.get(model).default_states()[first.name]
    assert_same(fastcart.prepare(model, [name])([value]), fastcart.solve(model, {name: value}, warn=False))


def test_nothing_is_left_from_the_call_before():
    values = some_patients(70)
    options = dict(save_at=range(0, 201, 50), peaks=["C"], events=[Event("low", "C", 1e5, "down")])
    alone = fastcart.prepare("li_lei", COLUMNS, **options)(values[:1])
    solver = fastcart.prepare("li_lei", COLUMNS, **options)
    for rows in (values, values[::-1], values[:1]):
        last = solver(rows)
    for name, numbers in alone.endpoints.items():
        np.testing.assert_array_equal(last.endpoints[name], numbers)
    for name, numbers in alone.saved.items():
        np.testing.assert_array_equal(last.saved[name], numbers)


def test_many_threads_may_call_one_solver():
    solver = fastcart.prepare("li_lei", COLUMNS)
    values = some_patients(40)
    expected = [solver(row).endpoints["pfs"][0] for row in values]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: solver(row).endpoints["pfs"][0], values))
    assert found == expected


def test_small_batches_start_no_thread():
    solver = fastcart.prepare("li_lei", COLUMNS, threads=2)
    with mock.patch("threading.Thread.start", side_effect=AssertionError("a thread was started")):
        assert solver(some_patients(10)).failed == 0


def test_patients_that_fail_have_a_status_and_nan_and_are_counted():
    solution = fastcart.prepare(BLOW_UP, ["a"], save_at=[1.0, 20.0])([[-0.1], [1.0], [-0.2]])
    assert solution.failed == 1
    assert solution.status[[0, 2]].tolist() == [0, 0]
    assert solution.status[1] != 0
    assert np.isnan(solution.final[1]).all()
    assert np.isnan(solution.of(1)["x"]).all()
    np.testing.assert_allclose(solution.of(0)["x"], [1 / 1.1, 1 / 3.0], rtol=1e-5)


def test_doses_of_all_and_of_each():
    shared = DosingSchedule().bolus(0, "A", 10.0).infusion(5, "A", 20.0, 2.0)
    solver = fastcart.prepare(CHAIN, ["k"], doses=shared, save_at=[5.0, 30.0])
    assert_same(
        solver([[0.5], [1.5]]), fastcart.solve(CHAIN, {"k": [0.5, 1.5]}, doses=shared, save_at=[5.0, 30.0])
    )
    own = {"patient": ["a", "b", "b"], "time": [1.0, 2.0, 3.0], "state": "A", "amount": [1.0, 2.0, 3.0]}
    solver = fastcart.prepare(CHAIN, ["k"], patients=["a", "b"], doses=own)
    expected = fastcart.solve(CHAIN, {"patient": ["a", "b"], "k": [0.5, 1.5]}, doses=own)
    assert_same(solver([[0.5], [1.5]]), expected)
    both = solver([[1.5], [0.5], [1.5]], who=[1, 0, 1]).endpoints["final_B"]
    assert both.tolist() == [expected.endpoints["final_B"][k] for k in (1, 0, 1)]


@pytest.mark.parametrize("engine", ["auto", "lsoda", "scipy"])
def test_doses_that_depend_on_the_patient(engine):
    """Lag, bioavailability, steady state, reset, removal and switches: the numbers of `solve`, to the bit."""
    doses = (
        DosingSchedule()
        .bolus(0.0, "A", 8.0, every=3.0, repeats=2, steady=True, lag="delay", bioavailability="part")
        .bolus(8.0, "A", -0.01)
        .infusion(11.0, "A", 5.0, "length")
        .reset(15.0)
        .switch(0.0, "k", 0.8)
        .switch(18.0, "k", 2.0)
    )
    model = DELAYED
    values = {"d": [0.1, 0.3], "delay": [0.0, 1.25], "part": [1.0, 0.5], "length": [2.0, 6.0]}
    options = dict(engine=engine, doses=doses, save_at=[0.0, 5.0, 20.0], rtol=1e-8)
    solver = fastcart.prepare(model, list(values), breaks=[4.0], **options)
    rows = np.column_stack(list(values.values()))
    expected = fastcart.solve(model, values, breaks=[4.0], **options)
    assert expected.summary() == {"ok": 2}
    for _ in range(2):  # nothing of the first call is left
        assert_same(solver(rows), expected)
    alone = solver(rows[1:])
    np.testing.assert_array_equal(alone.saved["gone"], expected.trajectories["gone"][3:].to_numpy())


def test_tables_of_nonmem_and_who():
    events = pd.DataFrame(
        [(1, 0, 9.0, 1, 1, None), (2, 1, 4.0, 1, 1, None), (2, 5, 0, 1, 2, 0.5)],
        columns=["ID", "TIME", "AMT", "CMT", "EVID", "k"],
    )
    expected = fastcart.solve(CHAIN, {"patient": [1, 2], "d": [0.1, 0.2]}, doses=events)
    solver = fastcart.prepare(CHAIN, ["d"], patients=[1, 2], doses=events)
    assert_same(solver([[0.1], [0.2]]), expected)
    turned = solver([[0.2], [0.1], [0.2]], who=[1, 0, 1]).endpoints["final_B"]
    assert turned.tolist() == [expected.endpoints["final_B"][k] for k in (1, 0, 1)]
    with pytest.raises(InputError, match="The doses name patients"):
        fastcart.prepare(CHAIN, ["d"], doses=events)


def test_who_has_no_steady_state_is_counted():
    doses = DosingSchedule().bolus(0.0, "A", 1.0, every=2.0, steady=True)
    solution = fastcart.prepare(CHAIN, ["d"], doses=doses)([[0.1], [0.0]])
    assert solution.summary() == {"ok": 1, "no_steady_state": 1}
    assert np.isnan(solution.endpoints["final_B"]).tolist() == [False, True]


def test_a_switch_beyond_its_range_is_refused_at_once():
    doses = DosingSchedule().switch(1.0, "a", 3.0)
    with pytest.raises(InputError, match="'a' is switched to 3; allowed is from -1 to 1"):
        fastcart.prepare(BLOW_UP, doses=doses)


def test_slopes_with_a_lag_and_a_switch():
    doses = DosingSchedule().bolus(1.0, "A", 5.0, lag="delay").switch(4.0, "k", 2.0)
    options = dict(doses=doses, sensitivities=["d"], save_at=[3.0, 9.0])
    found = fastcart.prepare(DELAYED, ["delay"], **options)([[0.5], [2.5]])
    expected = fastcart.solve(DELAYED, {"delay": [0.5, 2.5]}, **options)
    assert_same(found, expected)
    np.testing.assert_array_equal(found.sensitivities["d"]["B"], expected.sensitivities["B"].to_numpy())


def test_breaks_of_each_patient():
    options = dict(breaks=["when", 4.0])
    values = [[0.5, 3.0], [1.5, 7.0]]
    solver = fastcart.prepare(CHAIN, ["k", "when"], **options)
    assert_same(solver(values), fastcart.solve(CHAIN, {"k": [0.5, 1.5], "when": [3.0, 7.0]}, **options))


def test_doses_beside_breaks_of_each_patient():
    options = dict(breaks=["when"], doses=DosingSchedule().bolus(2.0, "A", 5.0))
    solver = fastcart.prepare(CHAIN, ["k", "when"], **options)
    expected = fastcart.solve(CHAIN, {"k": [0.5, 1.5], "when": [1.0, 7.0]}, **options)
    assert_same(solver([[0.5, 1.0], [1.5, 7.0]]), expected)
    with pytest.raises(InputError, match="'AA'"):
        fastcart.prepare(CHAIN, ["when"], breaks=["when"], doses=DosingSchedule().bolus(2.0, "AA", 5.0))
    with pytest.raises(InputError, match="patients of its own and the break 'when'"):
        fastcart.prepare(CHAIN, ["when"], patients=2, breaks=["when"])


def test_thresholds_of_each_patient():
    options = dict(events=[Event("low", "A", "level", "down")])
    solver = fastcart.prepare(CHAIN, ["level", "k"], **options)
    expected = fastcart.solve(CHAIN, {"level": [1.0, 20.0], "k": [0.5, 1.0]}, **options)
    assert_same(solver([[1.0, 0.5], [20.0, 1.0]]), expected)


def test_computed_defaults_follow_the_values():
    model = Model(
        "half", [State("A", default=lambda values: values["whole"] / 2), State("B", default=0.0)],
        [Parameter("k", 1.0), Parameter("d", 0.1), Parameter("whole", 8.0, range=(0.0, 100.0))],
        _decay, t_end=10.0,
    )  # fmt: skip
    solver = fastcart.prepare(model, ["whole"], save_at=[0.0])
    assert solver([[2.0], [6.0]]).saved["A"].tolist() == [1.0, 3.0]
    assert fastcart.prepare(model, save_at=[0.0])().saved["A"].tolist() == [4.0]


@pytest.mark.parametrize(
    ("message", "values", "options"),
    [
        ("a table of 1 column, a row for each patient", [[1.0, 2.0]], {}),
        ("in row 2, where a finite number belongs", [[1.0], [np.nan]], {}),
        ("must be numbers", [["x"]], {}),
        ("no row", np.empty((0, 1)), {}),
        ("All patients of this solver are given the same", [[1.0]], {"who": [0]}),
    ],
)
def test_bad_values_are_refused(message, values, options):
    with pytest.raises(InputError, match=message):
        fastcart.prepare(CHAIN, ["k"])(values, **options)


@pytest.mark.parametrize(
    ("message", "arguments", "options"),
    [
        ("Did you mean 'k'", ["K"], {}),
        ("given twice", ["k", "k"], {}),
        ("no option 'rtoll'", ["k"], {"rtoll": 1e-3}),
        (
            "The doses name patients",
            [],
            {"doses": {"patient": [1], "time": [1], "state": "A", "amount": [1]}},
        ),
        ("patients of a solver", [], {"patients": 0}),
        ("stands more than once", [], {"patients": [1, "1"]}),
        ("'level'", ["k"], {"events": [Event("low", "A", "level", "down")]}),
    ],
)
def test_bad_preparations_are_refused(message, arguments, options):
    with pytest.raises(InputError, match=message):
        fastcart.prepare(CHAIN, arguments, **options)


def test_rows_must_be_the_patients_or_say_who_they_are():
    solver = fastcart.prepare(CHAIN, ["k"], patients=2)
    with pytest.raises(InputError, match="prepared for 2 patients, not 1"):
        solver([[1.0]])
    with pytest.raises(InputError, match="places from 0 to 1"):
        solver([[1.0]], who=[2])
    with pytest.raises(InputError, match="a whole number for each of 1 rows"):
        solver([[1.0]], who=[0.5])


def test_columns_of_a_table_are_taken_by_their_names():
    solver = fastcart.prepare("li_lei", ["TE", "C"])
    plain = solver([[1e7, 2e6]]).endpoints["pfs"]
    for table in (pd.DataFrame({"C": [2e6], "TE": [1e7]}), {"C": [2e6], "TE": [1e7]}):
        np.testing.assert_array_equal(solver(table).endpoints["pfs"], plain)
    with pytest.raises(InputError, match="prepared for the columns TE, C"):
        solver(pd.DataFrame({"C": [2e6], "M": [1e7]}))
    with pytest.raises(InputError, match="masked"):
        solver(np.ma.masked_array([[1e7, 2e6]], mask=[[True, False]]))
