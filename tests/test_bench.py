"""The arithmetic of the benchmark tables; the timings themselves are not tested."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastcart import bench


def test_time_at_an_error_is_interpolated_in_logarithms():
    assert bench.time_at_error([1e-2, 1e-4], [1.0, 4.0], 1e-3) == pytest.approx(2.0)


def test_no_run_coarser_than_measured_is_assumed():
    assert bench.time_at_error([1e-2, 1e-4], [1.0, 4.0], 1.0) == 1.0


def test_an_error_that_no_run_reaches_takes_for_ever():
    assert bench.time_at_error([1e-2, 1e-4], [1.0, 4.0], 1e-6) == np.inf


def test_the_slower_of_both_errors_counts():
    table = pd.DataFrame(
        {
            "engine": ["lsoda", "lanes", "lanes"],
            "method": ["lsoda", "tsit5", "tsit5"],
            "rtol": [1e-6, 1e-4, 1e-6],
            "us_per_patient": [100.0, 5.0, 20.0],
            "pfs_error_median": [1e-3, 1e-3, 1e-5],
            "ln_burden_error_median": [1e-5, 1e-3, 1e-5],
        }
    )
    row = bench.speedup(table).iloc[0]
    assert row["lanes_us"] == pytest.approx(20.0)
    assert row["ratio"] == pytest.approx(5.0)


def test_a_small_report_has_every_method():
    text = bench.report("li_lei_coarse", patients=64)
    for method in ("lsoda", *bench.METHODS):
        assert f"| {method} |" in text
    assert "ns per patient" in text
