"""What is saved: each patient's own times, only the columns asked for, whatever is saved beside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numba import njit

import fastcart
from fastcart import DosingSchedule, Event, Model
from fastcart.errors import InputError

ENGINES = ["auto", "lanes", "lsoda", "scipy"]
METHODS = ["tsit5", "vern7", "dop853", "stab5", "rodas5p"]
OWN = [[0.0, 3.0, 7.5], [], [1.0, 30.0], np.linspace(0.0, 30.0, 97), [30.0]]
RATES = [0.5, 0.7, 1.0, 1.3, 2.0]


@njit
def _chain(t, y, p):
    return (-p.k * y.A, p.k * y.A - p.d * y.B)


@njit
def _observe(t, y, p):
    return (y.A + y.B, p.k * y.A + t)


CHAIN = Model(
    "chain", {"A": 100.0, "B": 0.0}, {"k": 1.0, "d": 0.1}, _chain, t_end=30.0, burden="B",
    observables=[fastcart.Observable("both"), fastcart.Observable("rate")], observe=_observe,
)  # fmt: skip


def rows_of(path: pd.DataFrame, patient: int) -> pd.DataFrame:
    return path[path["patient"] == patient].drop(columns="patient").reset_index(drop=True)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("doses", [None, DosingSchedule().bolus(3.0, "A", 5.0)])
def test_own_times_give_what_common_times_give(engine, doses):
    """Each patient has the values that it has alone, where the times are its own, to the bit."""
    path = fastcart.solve(CHAIN, {"k": RATES}, save_at=OWN, engine=engine, doses=doses).trajectories
    assert path.columns.tolist() == ["patient", "t", "A", "B", "both", "rate"]
    for k, times in enumerate(OWN):
        mine = rows_of(path, k)
        assert mine["t"].tolist() == list(times)
        if len(times):
            options = dict(save_at=times, engine=engine, doses=doses)
            alone = fastcart.solve(CHAIN, {"k": RATES[k]}, **options).trajectories
            pd.testing.assert_frame_equal(mine, rows_of(alone, 0), check_exact=True)
            if doses is None:
                np.testing.assert_allclose(mine["A"], 100 * np.exp(-RATES[k] * mine["t"]), atol=1e-3)


def test_own_times_of_the_published_scheme():
    own = [[0.0, 50.0], [], [100.0, 150.0, 200.0]]
    path = fastcart.solve("li_lei", 3, save_at=own, engine="published").trajectories
    common = fastcart.solve("li_lei", 1, save_at=range(0, 201, 50), engine="published").trajectories
    np.testing.assert_array_equal(path["C"], common["C"])


@pytest.mark.parametrize("method", METHODS)
def test_values_do_not_depend_on_what_else_is_saved(method):
    """Few times or many, one column or all, alone or among others: the same numbers, to the bit."""
    times = np.linspace(0.0, 30.0, 7)
    patients = {"k": np.linspace(0.5, 2.0, 45)}
    many = np.union1d(times, np.linspace(0.0, 30.0, 121))
    whole = fastcart.solve(CHAIN, patients, save_at=times, method=method)
    dense = fastcart.solve(CHAIN, patients, save_at=many, method=method, save=["B"])
    kept = dense.trajectories[np.isin(dense.trajectories["t"], times)]
    np.testing.assert_array_equal(whole.trajectories["B"], kept["B"])
    pd.testing.assert_frame_equal(whole.endpoints, dense.endpoints, check_exact=True)
    alone = fastcart.solve(CHAIN, {"k": patients["k"][[44]]}, save_at=times, method=method, save=["both"])
    np.testing.assert_array_equal(alone.trajectories["both"], rows_of(whole.trajectories, 44)["both"])


def test_chunks_and_threads_are_irrelevant(monkeypatch):
    generator = np.random.default_rng(2)
    own = [np.sort(generator.uniform(0, 30, k % 60)) for k in range(90)]
    options = dict(save_at=own, save=["rate", "B"], events=[Event("low", "A", 1.0, "down")])
    patients = {"k": generator.uniform(0.5, 2.0, 90)}
    whole = fastcart.solve(CHAIN, patients, threads=1, **options)
    monkeypatch.setitem(fastcart.batch._CHUNK, "auto", 7)
    for threads in (1, 2):
        parts = fastcart.solve(CHAIN, patients, threads=threads, **options)
        pd.testing.assert_frame_equal(parts.trajectories, whole.trajectories, check_exact=True)
        pd.testing.assert_frame_equal(parts.endpoints, whole.endpoints, check_exact=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_times_behind_an_early_end_are_nan(engine):
    ends = [Event("low", "A", 10.0, "down", terminal=True)]
    path = fastcart.solve(CHAIN, {"k": [0.5, 2.0]}, save_at=[1.0, 2.0, 20.0], events=ends, engine=engine)
    values = path.trajectories["A"].to_numpy()
    assert np.isfinite(values[[0, 1, 3]]).all()
    assert np.isnan(values[[2, 4, 5]]).all()


@pytest.mark.parametrize("ask", [fastcart.solve, fastcart.prepare])
def test_one_name_is_a_list_of_one_and_a_number_is_refused(ask):
    made = ask(CHAIN, save_at=[0.0, 3.0], save="both")
    if ask is fastcart.solve:
        assert list(made.trajectories) == ["patient", "t", "both"]
    else:
        assert list(made(np.empty((1, 0))).saved) == ["both"]
    with pytest.raises(InputError, match="must be a list of names, not 5"):
        ask(CHAIN, save_at=[0.0, 3.0], save=5)


def test_a_table_of_times():
    table = pd.DataFrame({"patient": ["b", "a", "b"], "time": [5.0, 1.0, 2.0]})
    path = fastcart.solve(CHAIN, {"patient": ["a", "b", "c"], "k": RATES[:3]}, save_at=table).trajectories
    assert path["patient"].tolist() == ["a", "b", "b"]
    assert path["t"].tolist() == [1.0, 2.0, 5.0]
    solver = fastcart.prepare(CHAIN, ["k"], patients=["a", "b", "c"], save_at=table)
    solution = solver([[k] for k in RATES[:3]])
    np.testing.assert_array_equal(solution.saved["B"], path["B"])
    assert solution.of(2)["t"].size == 0
    again = solver([[RATES[1]], [RATES[0]]], who=[1, 0])
    np.testing.assert_array_equal(again.of(0)["B"], solution.of(1)["B"])
    np.testing.assert_array_equal(again.of(1)["both"], solution.of(0)["both"])


def test_a_solver_with_own_times_in_a_list():
    solver = fastcart.prepare(CHAIN, ["k"], save_at=OWN)
    path = fastcart.solve(CHAIN, {"k": RATES}, save_at=OWN).trajectories
    solution = solver(np.array(RATES)[:, np.newaxis])
    np.testing.assert_array_equal(solution.t, path["t"])
    np.testing.assert_array_equal(solution.saved["rate"], path["rate"])
    assert np.diff(solution.offsets).tolist() == [len(times) for times in OWN]


@pytest.mark.parametrize(
    ("message", "times"),
    [
        ("2 rows for 1 patient", [[1.0], [2.0]]),
        ("not both", [[1.0], 2.0]),
        ("is not after the one before", [[2.0, 1.0]]),
        ("exceeds the horizon", [[31.0]]),
        ("is negative", [[-1.0]]),
        ("not a finite number", [[np.nan]]),
        ("a row of numbers", [["x"]]),
        ("not among the ids", {"patient": [1], "time": [1.0]}),
        ("needs the columns 'patient' and 'time'", {"time": [1.0]}),
        ("is not one of a table of times in 'save_at'", {"patient": [0], "tme": [1.0]}),
        ("where a finite number belongs", {"patient": [0], "time": [None]}),
        ("is empty in row 1", {"patient": [None], "time": [1.0]}),
    ],
)
def test_bad_times_are_refused(message, times):
    with pytest.raises(InputError, match=message):
        fastcart.solve(CHAIN, save_at=times)


def test_times_that_name_patients_need_them():
    with pytest.raises(InputError, match="name these in prepare"):
        fastcart.prepare(CHAIN, save_at={"patient": ["a"], "time": [1.0]})


def test_memory_is_that_of_the_table():
    import tracemalloc

    times = np.linspace(0.0, 30.0, 401)
    patients = {"k": np.linspace(0.5, 2.0, 12_000)}
    fastcart.solve(CHAIN, {"k": [1.0]}, save_at=times, save=["B"])
    tracemalloc.start()
    path = fastcart.solve(CHAIN, patients, save_at=times, save=["B"]).trajectories
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * path.memory_usage().sum()
