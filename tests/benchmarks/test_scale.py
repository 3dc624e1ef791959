"""The script that measures how time and memory grow with the number of patients."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def scale():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        import scale

        yield scale
        for name in ("scale", "compare", "peers", "work"):
            sys.modules.pop(name, None)


def table(*rows: tuple) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["mode", "patients", "seconds"])
    return frame.assign(
        threads=2, failed=0, peak_bytes=3e8, patients_per_second=frame["patients"] / frame["seconds"]
    )


def test_growth_is_the_power_of_the_number_of_patients(scale):
    linear = table(("memory", 10_000, 0.5), ("memory", 100_000, 5.0), ("parquet", 10, 9.0))
    assert scale.growth(linear) == pytest.approx(1.0)
    square = table(("memory", 10, 1.0), ("memory", 100, 100.0), ("memory", 1000, 1e4))
    assert scale.growth(square) == pytest.approx(2.0)
    assert np.isnan(scale.growth(linear.head(1)))


def test_the_report_has_a_row_for_each_size(scale):
    text = scale.report(table(("memory", 10_000, 0.5), ("memory", 100_000, 5.0), ("parquet", 200_000, 16.0)))
    assert "| 100,000 | a table in memory | 2 | 5.00 | 20,000 | 0.30 | 0 |" in text
    assert "| 200,000 | streamed to Parquet | 2 | 16.00 | 12,500 | 0.30 | 0 |" in text
    assert "to the power 1.00" in text


@pytest.mark.parametrize("mode", ["memory", "parquet"])
def test_a_small_size_is_measured(scale, monkeypatch, mode):
    if mode == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(scale, "PIECE", 100)
    found = scale.measure_here(mode, 250, 1)
    assert found["seconds"] > 0
    assert found["failed"] == 0
    assert (found["bytes"] > 0) == (mode == "parquet")
    assert found["peak_bytes"] > 50e6


def test_streamed_endpoints_are_those_of_all_patients_in_order(scale, monkeypatch, tmp_path):
    written = []
    monkeypatch.setattr(scale, "PIECE", 100)
    monkeypatch.setattr(scale, "TableWriter", lambda file: Recorder(file, written))
    scale.stream_to_parquet(250, 1)
    assert [len(part) for part in written] == [100, 100, 50]
    joined = pd.concat(written)
    assert joined["patient"].tolist() == list(range(250))
    assert joined["pfs"].nunique() > 200  # no piece repeats another's patients


class Recorder:
    def __init__(self, file: Path, written: list):
        self.file, self.written = file, written

    def __enter__(self):
        self.file.write_bytes(b"")
        return self

    def __exit__(self, *error):
        return None

    def write(self, part: pd.DataFrame) -> None:
        self.written.append(part)
