"""Tables on disk: read exactly, batch by batch; written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastcart
from fastcart import InputError, batch
from fastcart.runs.streaming import run_files
from fastcart.tables import storage
from fastcart.tables.storage import TableReader, TableWriter, check_output, write_text

SUFFIXES = (".csv", ".parquet")


def files(folder: Path) -> list[str]:
    """Names of all files, hidden ones too."""
    return sorted(entry.name for entry in folder.iterdir())


def read(path: Path) -> pd.DataFrame:
    return pd.concat(list(TableReader(path, "The table")), ignore_index=True)


def load(path: Path) -> pd.DataFrame:
    """Read what fastcart has written."""
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def save(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix != ".parquet":  # compressed where the name says so
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in path.suffixes else ",")
    else:
        frame.to_parquet(path, index=False)
    return path


def refusal(path: Path) -> str:
    """Return the message with which a file is refused, while it is opened or while it is read."""
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert not message.endswith("..")
    assert "The table" in message
    assert path.name in message
    return message


def varied(n: int, *, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "patient": [f"p{i}" for i in range(n)],
            "TE": 10 ** rng.uniform(6, 8, n),
            "lambda_C": rng.uniform(3.0, 3.6, n),
        }
    )


# --- reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_numbers_are_read_exactly(tmp_path, suffix):
    rng = np.random.default_rng(0)
    numbers = rng.uniform(1, 10, 5000) * 10.0 ** rng.integers(-300, 300, 5000)
    path = save(pd.DataFrame({"x": numbers}), tmp_path / f"t{suffix}")
    assert (read(path)["x"].to_numpy() == numbers).all()


def test_rows_are_counted_before_they_are_read(tmp_path):
    for suffix in SUFFIXES:
        assert TableReader(save(varied(7), tmp_path / f"t{suffix}"), "The table").rows == 7


def test_parquet_is_read_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_BATCH_ROWS", 3)
    reader = TableReader(save(varied(7), tmp_path / "t.parquet"), "The table")
    assert [len(batch) for batch in reader] == [3, 3, 1]
    assert [len(batch) for batch in reader] == [3, 3, 1]


@pytest.mark.parametrize("suffix", [".CSV", ".Parquet"])
def test_suffix_may_be_in_capitals(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    save(varied(2), tmp_path / f"t{suffix.lower()}").rename(path)
    assert len(read(path)) == 2


def test_spaces_after_commas_and_a_byte_order_mark_are_ignored(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\ufeffTE, C\n1.5, 2.5\n", encoding="utf-8")
    assert read(path).to_dict("list") == {"TE": [1.5], "C": [2.5]}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"\n\n", "empty"),
        ("t.csv", bytes(range(256)) * 8, "cannot be read"),
        ("t.csv", b"\xff\xfe\x00T\x00E", "cannot be read"),
        ("t.csv", b'TE\n"1\n', "cannot be read"),
        ("t.csv", b"TE,C\n1,2\n1,2,3,4\n", "cannot be read"),
        ("t.parquet", b"", "cannot be read"),
        ("t.parquet", bytes(range(256)) * 8, "cannot be read"),
        ("t.parquet", b"PAR1" + bytes(100) + b"PAR1", "cannot be read"),
        ("t.txt", b"TE\n1\n", "must end in .csv or .parquet"),
        ("t", b"TE\n1\n", "must end in .csv or .parquet"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    assert words in refusal(path)


def test_rows_with_more_cells_than_the_header_are_refused(tmp_path):
    """Else the first cells would be taken for the index, and all columns would be shifted by one."""
    path = tmp_path / "t.csv"
    path.write_text("TE,C\n1,2,3\n4,5,6\n", encoding="utf-8")
    refusal(path)


def test_parquet_that_is_damaged_inside(tmp_path):
    path = save(varied(50), tmp_path / "t.parquet")
    content = bytearray(path.read_bytes())
    content[4:80] = b"\xff" * 76
    path.write_bytes(bytes(content))
    assert "cannot be read" in refusal(path)


def test_missing_file_and_folder(tmp_path):
    assert "does not exist" in refusal(tmp_path / "t.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder.csv")


def test_column_that_pandas_stored_as_index_is_still_a_column(tmp_path):
    path = tmp_path / "t.parquet"
    varied(3).set_index("patient").to_parquet(path)
    assert read(path)["patient"].tolist() == ["p0", "p1", "p2"]


def test_nameless_index_that_pandas_stored_is_no_column(tmp_path):
    path = tmp_path / "t.parquet"
    varied(3).iloc[[0, 2]].to_parquet(path)
    assert read(path).columns.tolist() == ["patient", "TE", "lambda_C"]


def test_column_that_is_stored_twice(tmp_path):
    pq.write_table(pa.table([[1.0], [2.0]], names=["TE", "TE"]), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="'TE' is given twice"):
        run(tmp_path / "p.parquet", tmp_path / "o.parquet")


# --- writing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_parts_are_appended(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    frame = varied(10)
    with TableWriter(path) as writer:
        for start in (0, 4, 8):
            writer.write(frame.iloc[start : start + 4])
        assert not path.exists()
    pd.testing.assert_frame_equal(load(path), frame)
    assert files(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_categories_that_differ_from_part_to_part(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    with TableWriter(path) as writer:
        writer.write(pd.DataFrame({"status": pd.Categorical(["a", "b"])}))
        writer.write(pd.DataFrame({"status": pd.Categorical(["c"])}))
    assert load(path)["status"].tolist() == ["a", "b", "c"]


def write_and_fail(path: Path, parts: int, error: BaseException) -> None:
    with TableWriter(path) as writer:
        for _ in range(parts):
            writer.write(varied(3))
        raise error


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("parts", [0, 1, 2])
def test_exception_while_writing_leaves_no_file(tmp_path, suffix, parts):
    with pytest.raises(RuntimeError, match="power cut"):
        write_and_fail(tmp_path / f"t{suffix}", parts, RuntimeError("power cut"))
    assert files(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exception_while_writing_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        write_and_fail(path, 1, KeyboardInterrupt())
    assert path.read_text(encoding="utf-8") == "old"
    assert files(tmp_path) == [path.name]


class _FullDisk:
    """A file whose last buffer does not fit on the disk any more."""

    def __init__(self, inner):
        self.inner = inner
        self.schema = getattr(inner, "schema", None)

    def close(self):
        self.inner.close()
        raise OSError(28, "No space left on device")


def write_to_full_disk(path: Path) -> None:
    with TableWriter(path) as writer:
        writer.write(varied(3))
        writer._writer = _FullDisk(writer._writer)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_disk_that_is_full_at_the_end_leaves_no_file(tmp_path, suffix):
    with pytest.raises(OSError, match="No space left"):
        write_to_full_disk(tmp_path / f"t{suffix}")
    assert files(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_written_makes_no_file(tmp_path, suffix):
    with TableWriter(tmp_path / f"t{suffix}"):
        pass
    assert files(tmp_path) == []


def test_text_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.md"
    write_text(path, "λ_C = 3.3\n")
    assert path.read_text(encoding="utf-8") == "λ_C = 3.3\n"

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "half of it")
    assert path.read_text(encoding="utf-8") == "λ_C = 3.3\n"
    assert files(tmp_path) == ["report.md"]


# --- checks before computing ------------------------------------------------------------------------


def output_refusal(path: Path, *, force: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        check_output(path, "The output file", force=force)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["t.txt", "t", "t.gz", "t.csv.zip", "t.xlsx", "t.parquet "])
def test_output_with_another_suffix(tmp_path, name):
    assert "must end in .csv or .parquet" in output_refusal(tmp_path / name)


def test_output_that_exists(tmp_path):
    path = save(varied(1), tmp_path / "t.csv")
    assert "--force" in output_refusal(path)
    check_output(path, "The output file", force=True)


def test_output_that_is_a_folder_is_refused_even_by_force(tmp_path):
    (tmp_path / "t.csv").mkdir()
    assert "is a folder" in output_refusal(tmp_path / "t.csv", force=True)


def test_output_in_a_missing_folder(tmp_path):
    assert "does not exist; create it" in output_refusal(tmp_path / "no" / "t.csv")


def test_output_below_a_file(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "does not exist" in output_refusal(tmp_path / "file" / "t.csv")


def test_output_in_a_folder_that_is_not_writable(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "not writable" in output_refusal(tmp_path / "t.csv")


# --- whole runs -------------------------------------------------------------------------------------


def run(patients: Path, out: Path, **options) -> pd.DataFrame:
    """Run the coarse model by its published scheme over two days, and read the endpoints back."""
    run_files("li_lei_coarse", patients, out, engine="published", t_end=2.0, progress=False, **options)
    return load(out)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_small_batches_give_the_same_files_as_one(tmp_path, monkeypatch, suffix):
    patients = save(varied(11), tmp_path / "p.parquet")
    tables = []
    for rows in (1000, 4, 1):
        monkeypatch.setattr(storage, "_BATCH_ROWS", rows)
        paths = tmp_path / f"paths{rows}{suffix}"
        endpoints = run(
            patients, tmp_path / f"o{rows}{suffix}", keep=["lambda_C"], trajectories=paths, save_every=0.5
        )
        tables.append((endpoints, load(paths)))
    for endpoints, paths in tables[1:]:
        pd.testing.assert_frame_equal(endpoints, tables[0][0], check_exact=True)
        pd.testing.assert_frame_equal(paths, tables[0][1], check_exact=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2, None, 4]),
        pa.array([None, None, 3, 4]),
        pa.array([2**60 + 1, 2, None, 2**60 + 1]),
        pa.array(["a", "b", None, None]),
        pa.array([None, None, "a", "b"]),
        pa.array([True, False, None, True]),
        pa.array([None, None, True, False]),
        pa.array([None, None, 18_000, 18_001], pa.date32()),
        pa.array(["a", "b", "c", "d"]).dictionary_encode(),
        pa.array([1.5, None, 2.5, None]),
    ],
    ids=[
        "whole numbers", "whole numbers last", "large numbers", "text", "text last", "flags", "flags last",
        "dates last", "categories", "numbers",
    ],
)  # fmt: skip
def test_kept_columns_with_empty_cells_do_not_depend_on_batches(tmp_path, monkeypatch, column, suffix):
    patients = tmp_path / "p.parquet"
    pq.write_table(pa.table({"TE": [1e7, 2e7, 3e7, 4e7], "kept": column}), patients)
    outputs = []
    for rows in (1000, 2):
        monkeypatch.setattr(storage, "_BATCH_ROWS", rows)
        out = tmp_path / f"o{rows}{suffix}"
        run(patients, out, keep=["kept"])
        outputs.append(
            out.read_text(encoding="utf-8") if suffix == ".csv" else pq.read_table(out)["kept"].to_pylist()
        )
    assert outputs[0] == outputs[1]


def test_large_whole_numbers_are_kept_exactly(tmp_path):
    patients = tmp_path / "p.parquet"
    codes = [2**60 + 1, None, 2**60 + 3]
    pq.write_table(pa.table({"TE": [1e7, 2e7, 3e7], "code": codes}), patients)
    run(patients, tmp_path / "o.parquet", keep=["code"])
    assert pq.read_table(tmp_path / "o.parquet")["code"].to_pylist() == codes


def test_text_that_begins_after_the_first_patients_computed_together(tmp_path):
    rows = batch._CHUNK["published"] + 1
    patients = save(pd.DataFrame({"TE": 1e7, "arm": [None] * (rows - 1) + ["b"]}), tmp_path / "p.csv")
    assert run(patients, tmp_path / "o.parquet", keep="arm")["arm"].iloc[-1] == "b"


def failing_run(frame: pd.DataFrame, folder: Path) -> str:
    patients = save(frame, folder / "p.parquet")
    with pytest.raises(InputError) as caught:
        run(patients, folder / "o.parquet")
    assert files(folder) == ["p.parquet"]
    return str(caught.value)


def test_duplicated_ids_across_batches_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_BATCH_ROWS", 2)
    frame = varied(5).assign(patient=[10, 11, 12, 13, 10])
    assert "id 10 stands more than once" in failing_run(frame, tmp_path)


def test_bad_value_in_a_later_batch_is_found_before_computing_and_named_by_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_BATCH_ROWS", 2)
    frame = varied(5)
    frame.loc[4, "TE"] = np.nan
    message = failing_run(frame, tmp_path)
    assert "'TE'" in message
    assert "row 5" in message


def test_patients_without_ids_are_counted_through_all_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_BATCH_ROWS", 2)
    patients = save(varied(5)[["TE"]], tmp_path / "p.parquet")
    assert run(patients, tmp_path / "o.csv")["patient"].tolist() == [0, 1, 2, 3, 4]


def test_files_give_what_the_python_interface_gives(tmp_path):
    frame = varied(6)
    expected = fastcart.solve("li_lei_coarse", frame, engine="published", t_end=2.0).endpoints
    for source in (*SUFFIXES, ".csv.gz", ".tsv", ".tsv.gz"):
        endpoints = run(save(frame, tmp_path / f"p{source}"), tmp_path / f"from_{source[1:]}.parquet")
        expected_plain = expected.astype({"status": "str"})
        pd.testing.assert_frame_equal(endpoints, expected_plain, check_exact=True)
