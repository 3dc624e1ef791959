"""The arithmetic of the benchmark tables; the timings themselves are not tested."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numba import njit

from fastcart import InputError, Model, bench, bench_report, models
from fastcart.bench import Course
from fastcart.patients import check_patients


@njit
def decay(t, y, p):
    return (-p[0] * y[0],)


def table(*rows: tuple) -> pd.DataFrame:
    """Rows of engine, method, rtol, time, PFS error, course error."""
    names = ["engine", "method", "rtol", "us_per_patient", "pfs_error_median", "ln_burden_error_median"]
    found = pd.DataFrame(rows, columns=names)
    for what in ("pfs", "ln_burden"):
        for quantile, factor in (("99", 10.0), ("max", 100.0)):
            found[f"{what}_error_{quantile}"] = factor * found[f"{what}_error_median"]
    return found


def test_errors_are_matched_on_worse_patients_too():
    """A method whose worst patients are worse is as much slower as it takes to make them good."""
    rows = table(
        ("lsoda", "lsoda", 1e-6, 100.0, 1e-4, 1e-4),
        ("lanes", "tsit5", 1e-4, 5.0, 1e-4, 1e-4),
        ("lanes", "tsit5", 1e-6, 20.0, 1e-6, 1e-6),
    )
    worst = rows["engine"] == "lanes"
    rows.loc[worst, "pfs_error_99"] *= 10
    rows.loc[worst, "ln_burden_error_max"] *= 1e4
    found = bench.speedup(rows).iloc[0]
    assert found["ratio"] == pytest.approx(20.0)
    assert found["ratio_99"] == pytest.approx(10.0)
    assert found["ratio_max"] == 0.0
    assert np.isinf(found["lanes_us_max"])
    text = bench_report.speedup_table(bench.speedup(rows))
    assert text.splitlines()[-1].endswith("| 20.0 | 10.0 | not reached |")


def test_time_at_an_error_is_interpolated_in_logarithms():
    assert bench.time_at_error([1e-2, 1e-4], [1.0, 4.0], 1e-3) == pytest.approx(2.0)


def test_no_run_coarser_than_measured_is_assumed():
    assert bench.time_at_error([1e-2, 1e-4], [1.0, 4.0], 1.0) == 1.0


def test_of_equal_errors_the_cheapest_run_counts():
    assert bench.time_at_error([0.0, 0.0, np.nan], [3.0, 4.0, 1.0], 0.0) == pytest.approx(3.0)
    assert bench.time_at_error([1e-2, 1e-1, 1e-4], [1.0, 2.0, 4.0], 1e-3) == pytest.approx(2.0)


@pytest.mark.parametrize("name", models.names())
def test_varied_patients_are_patients(name):
    check_patients(models.get(name), bench.varied_patients(name, 50, seed=1))


def test_an_error_that_no_run_reaches_takes_for_ever():
    assert bench.time_at_error([1e-2, 1e-4], [1.0, 4.0], 1e-6) == np.inf
    assert bench.time_at_error([1e-2, 1e-4], [1.0, 4.0], np.nan) == np.inf


def test_the_slower_of_both_errors_counts():
    found = bench.speedup(
        table(
            ("lsoda", "lsoda", 1e-6, 100.0, 1e-3, 1e-5),
            ("lanes", "tsit5", 1e-4, 5.0, 1e-3, 1e-3),
            ("lanes", "tsit5", 1e-6, 20.0, 1e-5, 1e-5),
        )
    )
    row = found.iloc[0]
    assert row["lanes_us"] == pytest.approx(20.0)
    assert row["ratio"] == pytest.approx(5.0)


def test_the_fastest_method_of_lanes_is_taken_for_each_other_solver():
    found = bench.speedup(
        table(
            ("lsoda", "lsoda", 1e-4, 100.0, 1e-2, 1e-2),
            ("scipy", "DOP853", 1e-8, 900.0, 1e-6, 1e-6),
            ("lanes", "tsit5", 1e-4, 5.0, 1e-2, 1e-2),
            ("lanes", "tsit5", 1e-8, 50.0, 1e-6, 1e-6),
            ("lanes", "dop853", 1e-4, 9.0, 1e-2, 1e-2),
            ("lanes", "dop853", 1e-8, 18.0, 1e-6, 1e-6),
        )
    )
    assert found["engine"].tolist() == ["lsoda", "scipy"]
    assert found["lanes_method"].tolist() == ["tsit5", "dop853"]
    np.testing.assert_allclose(found["ratio"], [20.0, 50.0])


def test_errors_are_quantiles_over_patients():
    exact = Course(np.array([10.0, 20.0, 30.0]), np.zeros((3, 4)))
    off = Course(np.array([10.5, 20.0, 29.0]), np.array([[0, 0, 0.3, 0], [0, -0.1, 0, 0], [0.2, 0, 0, 0]]))
    found = bench.errors(off, exact)
    assert found["pfs_error_median"] == 0.5
    assert found["pfs_error_99"] == pytest.approx(np.quantile([0.0, 0.5, 1.0], 0.99))
    assert found["ln_burden_error_median"] == pytest.approx(0.2)
    assert found["pfs_error_max"] == 1.0
    assert found["ln_burden_error_max"] == pytest.approx(0.3)
    assert found["failed"] == 0


def test_unsolved_patients_are_counted_and_left_out():
    exact = Course(np.array([10.0, 20.0]), np.zeros((2, 3)))
    found = bench.errors(Course(np.array([np.nan, 21.0]), np.array([[np.nan] * 3, [0.0] * 3])), exact)
    assert (found["failed"], found["pfs_error_median"]) == (1, 1.0)
    none = bench.errors(Course(np.full(2, np.nan), np.full((2, 3), np.nan)), exact)
    assert none["failed"] == 2
    assert np.isnan(none["pfs_error_median"])


def test_the_parts_of_the_time_make_the_whole(monkeypatch):
    monkeypatch.setattr(bench, "ROUNDS", 1)
    shares = bench.time_shares("li_lei_coarse", patients=512)
    assert shares["part"].iloc[0] == "right-hand side"
    assert shares["share"].sum() == pytest.approx(1.0)
    assert (shares["us_per_patient"] / shares["share"]).std() < 1e-6 * shares["us_per_patient"].sum()


def test_one_thread_is_the_unit_of_scaling():
    scaling = bench.thread_scaling("li_lei_coarse", patients=128)
    assert scaling["threads"].tolist()[0] == 1
    assert scaling["ratio"].tolist()[0] == 1.0
    assert scaling["threads"].is_monotonic_increasing


def test_tolerances_are_written_like_people_do():
    assert [bench_report.tolerance(rtol) for rtol in (1e-3, 1e-6, 1e-12)] == ["1e-3", "1e-6", "1e-12"]


def test_a_row_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="another number of columns"):
        bench_report.markdown_table(["a", "b"], [["1"]])


@pytest.mark.slow
def test_a_small_report_has_every_method(monkeypatch):
    monkeypatch.setattr(bench, "ROUNDS", 1)
    monkeypatch.setattr(bench, "PEER_RTOL", (1e-6,))
    monkeypatch.setattr(bench, "LANES_RTOL", (1e-5, 1e-7))
    text = bench_report.report("li_lei_coarse", patients=16)
    for method in ("lsoda", *bench.SCIPY_METHODS, *bench.METHODS):
        assert f"| {method} |" in text
    assert "Where the time of `lanes` goes" in text
    assert "right-hand side alone" in text


def test_a_model_without_a_burden_cannot_be_compared():
    model = Model("decay", {"y": 1.0}, {"k": 0.1}, decay)
    with pytest.raises(InputError, match="no burden"):
        bench.work_precision(model, patients=4)
