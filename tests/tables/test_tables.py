"""Tables of people: ids and kept columns come back exactly, in every format; what is unclear is refused."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fastcart
from fastcart import DosingSchedule, InputError
from fastcart.checks import number_in
from fastcart.cli import main
from fastcart.models import get
from fastcart.runs.streaming import run_files
from fastcart.sample import Design
from fastcart.scanning.spec import read_spec as read_scan
from fastcart.tables import delimited
from fastcart.tables.ids import id_text
from fastcart.tables.storage import TableWriter, read_table, write_text
from fastcart.trial.spec import read_spec as read_trial

FAST = dict(engine="published", t_end=2.0, progress=False)
OUTPUTS = (".csv", ".csv.gz", ".parquet")
IDS = [
    "001", "01", "1", "1E5", "1e5", "TRUE", "True", "NA", "N/A", "nan", "null", "None", "-", "1.0", "1_0",
    "=1+1", "#7", 'a "b"', "a,b", "a;b", "a\nb", "a\r\nb", "a\rb", " a", "a ", "\t", "Zoë", "患者", "١",
    "x" * 5000,
]  # fmt: skip
KEPT = ["02116", "NA", "None", "null", "", "1E5", "TRUE", "2019-04-15", "1,5", '"', " ", "#", "0x10", "inf"]


def solve_file(patients: Path, out: Path, **options) -> Path:
    run_files("li_lei_coarse", patients, out, **{**FAST, "force": True, **options})
    return out


def texts(path: Path) -> dict[str, list]:
    """Return the columns of an output as text, read by other means than fastcart's."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pydict()
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    header, *rows = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


def write_csv(path: Path, columns: dict[str, list], separator: str = ",") -> Path:
    # with this end of lines the module csv puts quotation marks around either sign of it
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator="\r\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def write_xlsx(path: Path, rows: list[list]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def refusal(patients, **options) -> str:
    """Return the one sentence with which a table is refused."""
    if isinstance(patients, Path):
        with pytest.raises(InputError) as caught:
            run_files("li_lei_coarse", patients, patients.with_name("refused.csv"), **{**FAST, **options})
        left = {entry.name for entry in patients.parent.iterdir()}
        assert not {name for name in left if name.endswith(".part") or name == "refused.csv"}
    else:
        with pytest.raises(InputError) as caught:
            fastcart.solve("li_lei_coarse", patients, **{**FAST, **options})
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    return message


def read(path: Path, content: bytes | str, numbers=("TE", "C")) -> dict[str, list]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, "The table", numbers).to_dict("list")


# --- ids and kept columns come back exactly ---------------------------------------------------------


@pytest.mark.parametrize("suffix", OUTPUTS)
def test_ids_and_kept_cells_of_a_text_come_back_as_they_are_written(tmp_path, suffix):
    kept = [KEPT[i % len(KEPT)] for i in range(len(IDS))]
    patients = write_csv(tmp_path / "p.csv", {"patient": IDS, "TE": ["1e7"] * len(IDS), "note": kept})
    paths = tmp_path / f"paths{suffix}"
    out = solve_file(patients, tmp_path / f"o{suffix}", keep=["note"], trajectories=paths, save_at=[0.0, 1.0])
    found = texts(out)
    assert found["patient"] == IDS
    assert [cell or "" for cell in found["note"]] == kept
    assert texts(paths)["patient"] == [one for one in IDS for _ in range(2)]


@pytest.mark.parametrize("suffix", OUTPUTS)
def test_kept_columns_that_are_numbers_too_stay_as_they_are_written(tmp_path, suffix):
    columns = {"TE": ["1e7", "2.50E6"], "arm": ["01", "2"]}
    patients = write_csv(tmp_path / "p.csv", columns)
    out = solve_file(patients, tmp_path / f"o{suffix}", keep=["arm", "TE"], breaks=["arm"], engine="auto")
    found = texts(out)
    if suffix == ".parquet":
        assert (found["arm"], found["TE"]) == ([1.0, 2.0], [1e7, 2.5e6])
    else:
        assert (found["arm"], found["TE"]) == (["01", "2"], ["1e7", "2.50E6"])


@pytest.mark.parametrize("suffix", OUTPUTS)
def test_outputs_are_inputs_again(tmp_path, suffix):
    patients = write_csv(tmp_path / "p.csv", {"patient": IDS, "TE": ["1e7"] * len(IDS), "note": IDS[::-1]})
    first = solve_file(patients, tmp_path / f"first{suffix}", keep=["note"])
    table = read_table(first, "The table", ())[["patient", "note"]]
    assert table.to_dict("list") == {"patient": IDS, "note": IDS[::-1]}
    again = tmp_path / f"again{suffix}"
    with TableWriter(again) as writer:
        writer.write(table.assign(TE=1e7))
    second = solve_file(again, tmp_path / "second.csv", keep=["note"])
    assert texts(second)["patient"] == IDS
    assert texts(second)["note"] == IDS[::-1]


cells = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
risky = st.sampled_from([*IDS, *KEPT, "\0", '"', "\ufeff", "sep=;", "\x1a", "\x85", "\u2028"])
rows = st.lists(
    st.tuples(st.one_of(risky, cells).filter(bool), st.one_of(risky, cells)),
    min_size=1, max_size=6, unique_by=lambda row: row[0],
)  # fmt: skip


@given(rows, st.sampled_from([",", ";", "\t"]))
@example([("a", "\r")], ",")
@settings(
    derandomize=True,
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_text_survives(tmp_path, people, separator):
    ids, kept = map(list, zip(*people, strict=True))
    columns = {"patient": ids, "TE": ["1e7"] * len(ids), "note": kept}
    patients = write_csv(tmp_path / "p.csv", columns, separator)
    for suffix in (".csv", ".parquet"):
        found = texts(solve_file(patients, tmp_path / f"o{suffix}", keep=["note"]))
        assert found["patient"] == ids
        assert [cell or "" for cell in found["note"]] == kept
    # from Parquet, where an empty text is not a missing one, through CSV
    pq.write_table(pa.table({**columns, "TE": [1e7] * len(ids)}), tmp_path / "p.parquet")
    found = texts(solve_file(tmp_path / "p.parquet", tmp_path / "o.csv", keep=["note"]))
    assert (found["patient"], found["note"]) == (ids, kept)
    found = texts(solve_file(tmp_path / "p.parquet", tmp_path / "o.parquet", keep=["note"]))
    assert (found["patient"], found["note"]) == (ids, kept)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([None, 18_000, 18_001], pa.date32()),
        pa.array([None, 1, 2], pa.timestamp("us", "UTC")),
        pa.array([1, None, 2], pa.timestamp("ns")),
        pa.array([1, None, 2], pa.duration("s")),
        pa.array([1, None, 2], pa.time64("us")),
        pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("2.25")]),
        pa.array([decimal.Decimal(10) ** 50, None, None], pa.decimal256(60, 0)),
        pa.array([True, None, False]),
        pa.array([2**64 - 1, None, 1], pa.uint64()),
        pa.array(["b", None, "a"]).dictionary_encode(),
        pa.array([7, None, 8]).dictionary_encode(),
        pa.array(["NA", None, "001"], pa.large_string()),
        pa.array([[1], None, [2, 3]]),
        pa.array([{"a": 1}, None, {"a": 2}]),
        pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        pa.array([b"\0\xff", None, b""]),
        pa.array([None, None, None]),
    ],
    ids=lambda column: str(column.type),
)
def test_kept_columns_of_any_type_come_back_from_parquet_or_are_refused_for_csv(tmp_path, column):
    patients = tmp_path / "p.parquet"
    pq.write_table(pa.table({"TE": [1e7, 2e7, 3e7], "kept": column}), patients)
    out = solve_file(patients, tmp_path / "o.parquet", keep=["kept"])
    assert pq.read_table(out)["kept"].to_pylist() == column.to_pylist()
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        assert "'kept'" in refusal(patients, keep=["kept"])
    else:
        found = texts(solve_file(patients, tmp_path / "o.csv", keep=["kept"]))["kept"]
        assert [cell == "" for cell in found] == [cell is None for cell in column.to_pylist()]


def test_types_do_not_depend_on_the_batch(tmp_path, monkeypatch):
    columns = {"patient": ["1", "2", "x", "4"], "TE": ["1", "2.5", "3", "4e6"], "note": ["1", "2", "", "y"]}
    outputs = []
    for size in (1000, 2, 1):
        monkeypatch.setattr(delimited, "_BATCH_ROWS", size)
        patients = write_csv(tmp_path / "p.csv", columns)
        outputs.append(pq.read_table(solve_file(patients, tmp_path / "o.parquet", keep=["note"])))
    assert outputs[0]["patient"].to_pylist() == columns["patient"]
    assert outputs[0]["note"].to_pylist() == ["1", "2", None, "y"]
    assert outputs[0].equals(outputs[1])
    assert outputs[0].equals(outputs[2])


def test_decimal_commas_are_found_whatever_the_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BATCH_ROWS", 2)
    content = "patient;TE;C\n1;1;2\n2;3;4\n3;1,234;5\n4;6;0,5\n"
    found = read(tmp_path / "t.csv", content)
    assert found == {"patient": ["1", "2", "3", "4"], "TE": [1.0, 3.0, 1.234, 6.0], "C": [2.0, 4.0, 5.0, 0.5]}
    with pytest.raises(InputError, match=r"'1,234'.*1\.234 or 1234"):
        read(tmp_path / "t.csv", content.replace("0,5", "5"))


def test_ids_keep_the_type_that_they_have_in_python():
    for ids in (
        np.array([3, 1, 2]), np.array([0.5, 2.0, 1.0]), np.array(["01", "1", "x"], dtype=object),
        pd.date_range("2020-01-01", periods=3).to_numpy(), np.array([1, "01", "x"], dtype=object),
        pd.array(["01", "1", "x"], dtype="string"), pd.array([3, 1, 2], dtype="Int64"),
        pd.array([3, 1, 2], dtype=pd.ArrowDtype(pa.int16())),
        pd.array(["01", "1", "x"], dtype=pd.ArrowDtype(pa.large_string())),
        pd.Categorical(["01", "x", "1"], ordered=True),
        pd.date_range("2020-01-01", periods=3, tz="UTC").array,
    ):  # fmt: skip
        result = fastcart.solve(
            "li_lei_coarse", pd.DataFrame({"patient": ids, "TE": 1e7}), save_at=[0, 1], **FAST
        )
        assert result.endpoints["patient"].dtype == ids.dtype
        assert result.trajectories["patient"].dtype == ids.dtype
        assert result.endpoints["patient"].tolist() == pd.Series(ids).tolist()
        assert result.trajectories["patient"].tolist() == pd.Series(ids).repeat(2).tolist()


# --- ids are compared as text -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"), (np.int64(-3), "-3"), (2**70, str(2**70)), (1.0, "1"), (np.float32(2), "2"), (0.5, "0.5"),
        (-0.0, "0"), (1e22, str(10**22)), ("01", "01"), ("1.0", "1.0"), (" 1", " 1"), (True, "True"),
        (decimal.Decimal("3.00"), "3"), (decimal.Decimal("3.50"), "3.50"),
        (datetime.date(2020, 1, 2), "2020-01-02"),
    ],
)  # fmt: skip
def test_text_of_an_id(value, text):
    assert id_text(value) == text


def dosed(ids, whom) -> list[float]:
    """Return the final effectors, having given a dose to some; those of the others are the default's."""
    patients = pd.DataFrame({"patient": pd.Series(ids, dtype=object), "TE": 1e7})
    doses = pd.DataFrame({"time": 1.0, "state": "TE", "amount": 1e8, "patient": whom})
    return fastcart.solve("li_lei_coarse", patients, doses=doses, **FAST).endpoints["final_TE"].tolist()


@pytest.mark.parametrize(
    ("ids", "whom"),
    [
        ([1, 2, 3], ["2"]), (["1", "2", "x"], [2]), ([1, "2", "x"], [2.0]), ([1.0, 2.0, 3.0], ["2"]),
        (["01", "2", "02"], pd.array([2], dtype="Int64")), (["1", "2", "3"], pd.Categorical(["2"])),
    ],
)  # fmt: skip
def test_doses_find_their_patient_whatever_the_types(ids, whom):
    first, second, third = dosed(ids, whom)
    assert first == third
    assert second > first + 1e6


@pytest.mark.parametrize(
    ("ids", "whom", "words"),
    [
        (["01", "2"], ["1"], ("'1'", "not among the ids", "'01'")),
        (["1"], ["01"], ("'01'", "not among the ids")),
        (["1"], ["1.0"], ("'1.0'", "not among the ids")),
        (["p1"], [" p1"], ("' p1'", "not among the ids", "'p1'")),
        (["NA"], [None], ("empty in row 1",)),
    ],
)
def test_doses_for_other_ids_are_refused(ids, whom, words):
    with pytest.raises(InputError) as caught:
        dosed(ids, whom)
    for word in words:
        assert word in str(caught.value)


def test_doses_in_a_file_find_patients_in_a_file(tmp_path):
    patients = write_csv(tmp_path / "p.csv", {"patient": ["001", "1", "a", "NA"], "TE": ["1e7"] * 4})
    doses = tmp_path / "d.csv"
    for whom, place in (("1", 1), ("001", 0), ("NA", 3)):
        write_csv(doses, {"patient": [whom], "time": ["1"], "state": [" TE"], "amount": ["1e8"]})
        found = texts(solve_file(patients, tmp_path / "o.csv", doses=doses))["final_TE"]
        assert [value != found[(place + 1) % 4] for value in found] == [k == place for k in range(4)]


@pytest.mark.parametrize(
    "ids",
    [
        [1, "1"],
        ["1", 1.0],
        [True, "True"],
        [1, 1.0],
        ["x", "x"],
        [2.5, "2.5"],
        pd.array([7, 7], dtype="Int64"),
    ],
)
def test_ids_with_the_same_text_clash(ids):
    assert "more than once" in refusal(
        {"patient": pd.Series(ids, dtype=getattr(ids, "dtype", object)), "TE": 1e7}
    )


@pytest.mark.parametrize(
    "ids", [["1", "01"], ["1", "1.0"], ["1", "1 "], ["a", "A"], ["1e5", "1E5", "100000"]]
)
def test_ids_with_other_texts_do_not(tmp_path, ids):
    patients = write_csv(tmp_path / "p.csv", {"patient": ids, "TE": ["1e7"] * len(ids)})
    assert texts(solve_file(patients, tmp_path / "o.csv"))["patient"] == ids


@pytest.mark.parametrize(
    "ids", [[1.0, None], ["a", None], ["a", ""], ["a", np.nan], pd.array([1, None], dtype="Int64")]
)
def test_every_patient_needs_an_id(ids):
    assert "'patient' is empty in row 2" in refusal(pd.DataFrame({"patient": ids, "TE": 1e7}))


@pytest.mark.parametrize("ids", [[[1], [2]], [{"a": 1}, {"a": 2}]])
def test_ids_that_are_no_ids(ids):
    assert "must be numbers or text" in refusal(pd.DataFrame({"patient": ids, "TE": 1e7}))


def test_a_result_is_asked_for_an_id_of_either_type():
    result = fastcart.solve("li_lei_coarse", {"patient": ["1", "02"], "TE": 1e7}, **FAST)
    assert result.explain(1) == result.explain("1")
    with pytest.raises(InputError, match="no patient 2"):
        result.explain(2)


# --- numbers ----------------------------------------------------------------------------------------

NUMBER = re.compile(r"[ \t\r\n\f\v]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t\r\n\f\v]*")


@given(st.one_of(st.text("0123456789+-.eE_ ,", max_size=7), st.text(max_size=4), st.floats().map(repr)))
@example("1_0")
@example("１２")
@example("0x10")
@example("1e5f")
@settings(derandomize=True, max_examples=500, deadline=None)
def test_what_a_number_is(text):
    found = number_in(text)
    assert (found is not None and np.isfinite(found)) == (
        NUMBER.fullmatch(text) is not None and np.isfinite(float(text))
    )
    if found is not None and np.isfinite(found):
        assert found == float(text)


@pytest.mark.parametrize("many", [1, 1200])
@pytest.mark.parametrize(
    "cell", ["1e4", "1E+4", "+1.5", " 1.5 ", "1.", ".5", "007", "1e-400", "0.1000000000000000055"]
)
def test_numbers_that_are_read(tmp_path, cell, many):
    assert read(tmp_path / "t.csv", "TE,C\n" + f"{cell},1\n" * many)["TE"] == [float(cell)] * many


@pytest.mark.parametrize(
    "cell",
    ["1_0", "１２", "0x10", "1e5f", "1 2", "inf", "-Infinity", "nan", "NA", "", " ", "True", "1.5.5", "--1",
     "1e", '"1,234,567"', '"1.234,5"', "1\xa0000", "1'000", "$5", "5%", "1d5", "∞", "1e999"],
)  # fmt: skip
@pytest.mark.parametrize("many", [0, 1200])
def test_cells_that_are_no_numbers(tmp_path, cell, many):
    path = tmp_path / "p.csv"
    path.write_text("TE,C\n" + "1,1\n" * many + f"{cell},1\n", encoding="utf-8")
    message = refusal(path)
    assert "'TE'" in message
    assert f"row {many + 1}, where a finite number belongs" in message


@pytest.mark.parametrize("text", ["1_0", "１２", "abc"])
@pytest.mark.parametrize(
    "options", [["--t-end"], ["--rtol"], ["--extinction"], ["--save-at"], ["--save-every"]]
)
def test_options_take_the_same_numbers(tmp_path, capsys, text, options):
    write_csv(tmp_path / "p.csv", {"TE": ["1e7"]})
    paths = ["--trajectories", str(tmp_path / "t.csv")] if options[0].startswith("--save") else []
    files = ["--patients", str(tmp_path / "p.csv"), "--out", str(tmp_path / "o.csv"), *paths]
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(["run", "li_lei_coarse", *files, *options, text]))
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert text in error
    assert error.count("\n") == 1


# --- texts of many countries ------------------------------------------------------------------------

PLAIN = {"patient": ["Zoë", "02"], "TE": [1.5e7, 2.0], "C": [0.5, 3.0]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "patient,TE,C\nZoë,1.5e7,0.5\n02,2,3\n"),
        ("t.csv", "\ufeffpatient,TE,C\r\nZoë,1.5e7,0.5\r\n02,2,3\r\n"),
        ("t.csv", "patient,TE,C\rZoë,1.5e7,0.5\r02,2,3"),
        ("t.csv", "patient;TE;C\nZoë;1,5e7;0,5\n02;2;3\n"),
        ("t.csv", "patient;TE;C\nZoë;1.5e7;0.5\n02;2;3\n"),
        ("t.csv", "patient;TE;C\nZoë;15000000,0;0,5\n02;2;3\n"),
        ("t.csv", "patient;TE;C\nZoë;1,50E+07;,5\n02;2,;3,000\n"),
        ("t.csv", "patient\tTE\tC\nZoë\t1,5e7\t0,5\n02\t2\t3\n"),
        ("t.tsv", "patient\tTE\tC\nZoë\t1.5e7\t0.5\n02\t2\t3\n"),
        ("t.csv", "sep=,\npatient,TE,C\nZoë,1.5e7,0.5\n02,2,3\n"),
        ("t.csv", '"sep=;"\npatient;TE;C\nZoë;1,5e7;0,5\n02;2;3\n'),
        ("t.csv", "\ufeffsep=;\r\npatient;TE;C\r\nZoë;1,5e7;0,5\r\n02;2;3\r\n"),
        ("t.csv", "SEP=|\npatient|TE|C\nZoë|1.5e7|0.5\n02|2|3\n"),
        ("t.csv", "# made by x, y; z\n\n# one, more\npatient,TE,C\nZoë,1.5e7,0.5\n02,2,3\n# the end\n"),
        ("t.csv", "patient,TE,C,,\nZoë,1.5e7,0.5,,\n02,2,3,,\n,,,,\n,,,,\n"),
        ("t.csv", ",,\n,,\npatient,TE,C\nZoë,1.5e7,0.5,,,\n02,2,3\n"),
        ("t.csv", "patient,,TE,C\nZoë,,1.5e7,0.5\n02,,2,3\n"),
        ("t.csv", "\n\npatient,TE,C\n\nZoë,1.5e7,0.5\n\n\n02,2,3\n\n"),
        ("t.csv", "patient, TE , C\nZoë, 1.5e7, 0.5\n02, 2, 3\n"),
        ("t.csv", '"patient","TE","C"\n"Zoë","1.5e7","0.5"\n"02","2","3"\n'),
        ("t.csv", '"patient","TE","C"\n"Zoë","1,5e7","0,5"\n"02","2","3"\n'),
        ("T.CSV", "patient,TE,C\nZoë,1.5e7,0.5\n02,2,3\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["utf-8", "utf-16", "utf-32", "gz"])
def test_tables_of_many_countries(tmp_path, name, content, how):
    if how.startswith("utf-") and how != "utf-8":
        data = content.removeprefix("\ufeff").encode(how)
    else:
        data = content.encode()
    if how == "gz":
        name, data = f"{name}.gz", gzip.compress(data)
    assert read(tmp_path / name, data) == PLAIN


def test_a_space_belongs_to_a_text_unless_the_header_has_it_too(tmp_path):
    assert read(tmp_path / "t.csv", "TE,patient\n1, a\n")["patient"] == [" a"]
    assert read(tmp_path / "t.csv", "TE, patient\n1, a\n")["patient"] == ["a"]


def test_a_separator_within_a_name_or_a_text(tmp_path):
    found = read(tmp_path / "t.csv", "patient;TE;dose, mg\na;1;2,5\nb;2;x\n")
    assert found == {"patient": ["a", "b"], "TE": [1.0, 2.0], "dose, mg": ["2,5", "x"]}
    assert read(tmp_path / "t.csv", 'patient,"TE",note\n"a;b",1,";;"\n')["patient"] == ["a;b"]


def test_one_column_of_decimal_commas_between_quotation_marks(tmp_path):
    assert read(tmp_path / "t.csv", 'TE\n"1,5"\n"2"\n') == {"TE": [1.5, 2.0]}


def test_text_in_a_workbook_that_may_be_thousands_is_refused(tmp_path):
    path = tmp_path / "p.xlsx"
    write_xlsx(path, [["patient", "TE"], ["a", "1.234"], ["b", 5.5]])
    message = refusal(path)
    assert "'1.234'" in message
    assert "1.234 or 1234" in message
    write_xlsx(path, [["patient", "TE"], ["a", "1.234"], ["b", "0.5"]])
    assert read_table(path, "The table", ["TE"])["TE"].tolist() == ["1.234", "0.5"]
    write_xlsx(path, [["patient", "TE"], ["1.234", 0.5]])  # an id, and a number that is one
    assert read_table(path, "The table", ["TE"])["TE"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("patient;TE\na;1,234\n", ("'1,234'", "1.234 or 1234")),
        ("patient;TE\na;1.234\nb;10.000\n", ("'1.234'", "1.234 or 1234", "semicolons")),
        ("patient\tTE\na\t1.234\nb\t10.000\n", ("'1.234'", "1.234 or 1234", "where tabs")),
        ("sep=|\npatient|TE\na|1.234\n", ("'1.234'", "1.234 or 1234", "'|'")),
        ("patient;TE;C\na;1,5;1.5\n", ("'1,5'", "'1.5'", "point")),
        ("patient;TE;C\na;0,5;1.234\n", ("'0,5'", "'1.234'", "point")),
        ('patient,TE,C\na,"1,234",1.5\n', ("'1,234'", "'1.5'")),
        ("TE,C\n1,5,2,5\n", ("row 1 has 4 cells", "header has 2")),
        ("TE\n1,5\n", ("row 1 has 2 cells", "header has 1")),
        ("patient,TE\na,1\nb,2,x\n", ("row 2 has 3 cells",)),
        (",patient,TE\n0,a,1\n", ("column 1 has no name", "'0' in row 1")),
        ("patient,TE,\na,1,x\n", ("column 3 has no name", "'x' in row 1")),
        ("1e7,2\n1e7,3\n", ("first row '1e7, 2' holds numbers", "names of the columns")),
        ("# TE,C\n1,2\n3,4\n", ("first row '1, 2' holds numbers",)),
        ("patient TE\na 1\n", ("'patient TE' holds no separator",)),
        ("patient|TE\na|1\n", ("'patient|TE' holds no separator",)),
        ("patient;TE,C\na;1,2\n", ("more than one kind of separator", "comma and semicolon", "sep=;")),
        ('patient,TE\n"a,1\n', ("never closed",)),
        ('patient,TE\n"a"b,1\n', ("line 2",)),
        ("# one\npatient,TE\n" + "x" * 200_000 + ",1\n", ("line 3", "longer than 131072")),
        ("patient,TE,C\n# a, b\nx,1,2\n", ("row 1 begins with '#'", "above the header")),
        ("patient,TE,TE\na,1,2\n", ("'TE' is given twice",)),
        ("patient,TE, TE\na,1,2\n", ("'TE' is given twice",)),
        ("patient,te\na,1\n", ("'te'", "Did you mean 'TE'?")),
        ("patient,TE\n,\na,1\n", ("'TE' holds an empty cell", "row 1")),
        ("patient,TE\n,1\n", ("'patient' is empty in row 1",)),
        ("patient,TE\na\n", ("'TE' holds an empty cell", "row 1")),
        ("patient,TE\n", ("empty", "at least one row")),
        ("patient,TE\n,,\n\n", ("empty", "at least one row")),
        ("# nothing\n", ("is empty", "header")),
        ("patient,TE\n\0\0\0\0\n", ("row 1", "damaged")),
        ("patient,TE\nZoë,1\n".encode("latin-1"), ("not UTF-8", "byte 0xeb", "'Zo'", "save it as UTF-8")),
        ("patient,TE\nZoë,1\n".encode("utf-16-le"), ("byte order mark", "save it as UTF-8")),
        ("patient,TE\nZoë,1\n".encode("utf-16")[:-1], ("UTF-16", "save it as UTF-8")),
        (b"PK\x03\x04...", (".xlsx",)),
        (b"PAR1....", (".parquet",)),
        (b"\x1f\x8b....", (".csv.gz",)),
        (b"\xd0\xcf\x11\xe0....", ("old Excel workbook",)),
    ],
)  # fmt: skip
def test_texts_that_are_refused(tmp_path, content, words):
    path = tmp_path / "p.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = refusal(path)
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", ["p.txt", "p.xls", "p.csv.zip", "p.gz", "p"])
def test_other_formats_are_refused(tmp_path, name):
    (tmp_path / name).write_text("TE\n1\n", encoding="utf-8")
    assert "must end in .csv or .parquet" in refusal(tmp_path / name)


# --- gzip and Excel ---------------------------------------------------------------------------------


def test_gzip_is_the_same_bytes_whenever_it_is_written(tmp_path):
    patients = write_csv(tmp_path / "p.csv", {"patient": ["a", "b"], "TE": ["1e7", "2e7"]})
    plain = solve_file(patients, tmp_path / "o.csv").read_bytes()
    first = solve_file(patients, tmp_path / "o.csv.gz").read_bytes()
    second = solve_file(patients, tmp_path / "other.csv.gz").read_bytes()
    assert gzip.decompress(first) == plain
    assert first == second
    assert b"\r" not in plain


def test_gzip_that_is_damaged(tmp_path):
    whole = gzip.compress(b"patient,TE\n" + b"".join(b"%d,%d\n" % (k, k * k) for k in range(500)))
    path = tmp_path / "p.csv.gz"
    for data in (whole[:-9], whole[:100], whole[:20] + b"\xff" * 4 + whole[24:], b"patient,TE\na,1\n", b""):
        path.write_bytes(data)
        refusal(path)


def test_a_workbook_keeps_text_as_text_and_numbers_as_numbers(tmp_path):
    day = datetime.datetime(2024, 5, 6)
    rows = [["patient", "TE", "zip", "n", "day"], ["001", 1.5e7, "02116", 7, day], ["1", 2, None, 8, None]]
    out = solve_file(write_xlsx(tmp_path / "p.xlsx", rows), tmp_path / "o.parquet", keep=["zip", "n", "day"])
    found = texts(out)
    assert found["patient"] == ["001", "1"]
    assert found["zip"] == ["02116", None]
    assert found["n"] == [7, 8]
    assert found["day"] == [day, None]
    same = fastcart.solve("li_lei_coarse", {"TE": [1.5e7, 2.0]}, **FAST).endpoints
    assert found["final"] == same["final"].tolist()


def test_a_workbook_whose_ids_are_numbers_or_both(tmp_path):
    path = tmp_path / "p.xlsx"
    found = texts(solve_file(write_xlsx(path, [["patient", "TE"], [2, 1], [1, 1]]), tmp_path / "o.parquet"))
    assert found["patient"] == [2, 1]
    found = texts(solve_file(write_xlsx(path, [["patient", "TE"], [2, 1], ["x", 1]]), tmp_path / "o.parquet"))
    assert found["patient"] == ["2", "x"]
    write_xlsx(path, [["patient", "TE"], [1, 1], ["1", 1]])
    assert "id 1 stands more than once" in refusal(path)


def test_the_first_sheet_is_read_and_its_margins_are_not(tmp_path):
    path = write_xlsx(
        tmp_path / "p.xlsx", [[None, None], ["patient", "TE", None], ["a", 1, None], [None, None, " "]]
    )
    book = openpyxl.load_workbook(path)
    book.create_sheet("notes").append(["nothing", "here"])
    book.save(path)
    assert texts(solve_file(path, tmp_path / "o.csv"))["patient"] == ["a"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([["patient", "TE"], ["a", "=1+1"]], ("B2", "formula without a value")),
        ([["patient", "TE"], ["a", "1_0"]], ("'1_0'", "row 1")),
        ([["patient", "TE"], ["a", True]], ("'TE'", "True", "row 1")),
        ([["patient", "TE"], ["a", None], ["b", 1]], ("'TE' holds an empty cell", "row 1")),
        ([["patient", "TE"], ["a", 1, "note"]], ("column 3 has no name", "'note' in row 1")),
        ([["patient", "TE", "TE"], ["a", 1, 2]], ("'TE' is given twice",)),
        ([["patient", "TE"]], ("at least one row",)),
        ([[]], ("is empty", "header")),
    ],
)
def test_workbooks_that_are_refused(tmp_path, rows, words):
    message = refusal(write_xlsx(tmp_path / "p.xlsx", rows))
    for word in words:
        assert word in message


def test_workbook_that_is_damaged(tmp_path):
    path = write_xlsx(tmp_path / "p.xlsx", [["patient", "TE"], ["a", 1]])
    whole = path.read_bytes()
    for data in (
        whole[: len(whole) // 2],
        b"patient,TE\na,1\n",
        b"",
        whole[:900] + b"\xff" * 40 + whole[940:],
    ):
        path.write_bytes(data)
        assert "cannot be read" in refusal(path)


def test_without_openpyxl_the_extra_is_named(tmp_path, monkeypatch):
    path = write_xlsx(tmp_path / "p.xlsx", [["TE"], [1]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ImportError, match=r"openpyxl.*fastcart\[xlsx\]"):
        read_table(path, "The table")


# --- paths in the Python interface ------------------------------------------------------------------


@pytest.fixture
def people(tmp_path) -> Path:
    return write_csv(tmp_path / "people.csv", {"patient": ["01", "1"], "TE": ["1e7", "2e7"]})


@pytest.fixture
def doses(tmp_path) -> Path:
    return write_csv(
        tmp_path / "doses.csv", {"time": ["1", "1,5"], "state": ["TE", "TE"], "amount": ["1e7", "2"]}, ";"
    )


SCHEDULE = DosingSchedule().bolus(1.0, "TE", 1e7).bolus(1.5, "TE", 2.0)


@pytest.mark.parametrize("kind", [str, Path])
def test_solve_takes_paths(people, doses, kind):
    found = fastcart.solve("li_lei_coarse", kind(people), doses=kind(doses), **FAST).endpoints
    same = fastcart.solve("li_lei_coarse", {"patient": ["01", "1"], "TE": [1e7, 2e7]}, doses=SCHEDULE, **FAST)
    assert found["patient"].tolist() == ["01", "1"]
    pd.testing.assert_frame_equal(found.drop(columns="patient"), same.endpoints.drop(columns="patient"))


def test_solve_keeps_columns_of_a_path(tmp_path):
    path = write_csv(tmp_path / "p.csv", {"patient": ["1"], "TE": ["1e7"], "zip": ["02116"]})
    assert fastcart.solve("li_lei_coarse", path, keep="zip", **FAST).endpoints["zip"].tolist() == ["02116"]


def test_scan_takes_paths(people, doses, tmp_path):
    options = {key: value for key, value in FAST.items() if key != "progress"}
    found = fastcart.scan(
        "li_lei_coarse", str(people), tmp_path / "one", doses=str(doses), progress=False, **options
    )
    table = pd.DataFrame({"patient": ["01", "1"], "TE": [1e7, 2e7]})
    same = fastcart.scan("li_lei_coarse", table, tmp_path / "two", doses=SCHEDULE, progress=False, **options)
    pd.testing.assert_frame_equal(found.load(), same.load())
    assert found.load()["patient"].tolist() == ["01", "1"]


def test_breaks_may_be_columns_of_a_file(tmp_path):
    people = write_csv(
        tmp_path / "p.csv", {"patient": ["01", "1"], "TE": ["1e7", "2e7"], "when": ["0,5", "1"]}, ";"
    )
    options = dict(breaks=["when"], t_end=2.0, progress=False)
    table = {"patient": ["01", "1"], "TE": [1e7, 2e7], "when": [0.5, 1.0]}
    same = fastcart.solve("li_lei_coarse", table, **options).endpoints["final"].tolist()
    assert fastcart.solve("li_lei_coarse", people, **options).endpoints["final"].tolist() == same
    scanned = fastcart.scan("li_lei_coarse", people, tmp_path / "scan", **options).load()
    assert (scanned["final"].tolist(), scanned["when"].tolist()) == (same, [0.5, 1.0])


def test_doses_of_a_scan_in_a_file_may_name_columns_and_repeat(tmp_path):
    path = write_csv(
        tmp_path / "d.csv",
        {"time": ["0.5"], "state": [" TE"], "amount": ["mine"], "every": ["0.5"], "repeats": ["2"]},
    )
    people = Design({"mine": {"linspace": (1.0, 3.0, 3)}}, method="grid")
    listed = [{"time": 0.5, "state": "TE", "amount": "mine", "every": 0.5, "repeats": 2}]
    tables = [
        fastcart.scan("li_lei_coarse", people, tmp_path / str(k), doses=given, **FAST).load()
        for k, given in enumerate((path, listed))
    ]
    pd.testing.assert_frame_equal(*tables)


def test_kept_text_of_a_scan_has_one_type_in_all_parts(tmp_path):
    path = write_csv(tmp_path / "p.csv", {"TE": ["1", "2", "3"], "note": ["", "", "007"]})
    result = fastcart.scan("li_lei_coarse", path, tmp_path / "scan", keep=["note"], chunk=1, **FAST)
    kinds = {pq.read_schema(part).field("note").type for part in (tmp_path / "scan" / "endpoints").iterdir()}
    assert len(kinds) == 1
    assert result.load()["note"].tolist() == [None, None, "007"]


def test_sensitivity_takes_a_path(doses):
    options = dict(n=8, ranges={"TE": (1e6, 2e6)}, resamples=10, convergence=False, **FAST)
    found = fastcart.sensitivity("li_lei_coarse", outputs="final", doses=doses, **options)
    same = fastcart.sensitivity("li_lei_coarse", outputs="final", doses=SCHEDULE, **options)
    pd.testing.assert_frame_equal(found.indices, same.indices)


def test_optimize_takes_paths_and_gives_the_rows_back_as_they_are_written(people, doses, tmp_path):
    each = write_csv(
        tmp_path / "each.csv", {"site": ["007", "N\rA"], "C": ["1e6", "2e6"], "most": ["5e6", "8e6"]}
    )
    start = write_csv(tmp_path / "start.csv", {"TM": ["1e3"]})
    options = dict(goal="minimize", objective="final", seed=1, particles=3, iterations=2, engine="published",
                   t_end=2.0, progress=False)  # fmt: skip
    found = fastcart.optimize(
        "li_lei_coarse",
        {"TM": (0.0, "most")},
        for_each=each,
        patients=people,
        doses=doses,
        start=start,
        out=tmp_path / "found",
        **options,
    )
    same = fastcart.optimize(
        "li_lei_coarse", {"TM": (0.0, "most")}, for_each={"C": [1e6, 2e6], "most": [5e6, 8e6]},
        patients={"TE": [1e7, 2e7]}, doses=SCHEDULE, start={"TM": 1e3}, **options,
    )  # fmt: skip
    assert found.best["site"].tolist() == ["007", "N\rA"]
    assert texts(tmp_path / "found" / "best.csv")["site"] == ["007", "N\rA"]
    assert found.endpoints["patient"].tolist() == ["01", "1"] * 2
    assert found.best["objective"].tolist() == same.best["objective"].tolist()


@pytest.mark.parametrize("path", ["no.csv", "no/such/table.parquet", Path("no.xlsx"), "x" * 5000 + ".csv"])
def test_paths_to_nothing(path):
    message = refusal(path)
    assert "The table of patients" in message


def test_rows_are_a_table():
    """A list of mappings, wherever a table goes: as the DataFrame of it."""
    rows = [{"patient": "a", "TE": 1e7}, {"patient": "b", "TE": 2e7}]
    doses = [{"time": 1.0, "state": "TE", "amount": 1e6}, {"time": 2.0, "state": "TE", "amount": 1e6}]
    listed = fastcart.solve("li_lei_coarse", rows, doses=doses, **FAST)
    framed = fastcart.solve("li_lei_coarse", pd.DataFrame(rows), doses=pd.DataFrame(doses), **FAST)
    pd.testing.assert_frame_equal(listed.endpoints, framed.endpoints)
    series = [row for _, row in pd.DataFrame(rows)[["TE"]].iterrows()]
    assert fastcart.solve("li_lei_coarse", series, **FAST).endpoints["final_TE"].nunique() == 2
    assert len(fastcart.solve("li_lei_coarse", [{}, {}, {}], **FAST).endpoints) == 3
    data = fastcart.fit.read([{"ID": 1, "TIME": 0.0, "DV": 1e6, "DVID": "TE"}], "li_lei_coarse")
    assert data.measurements.value.tolist() == [1e6]


def test_rows_wherever_tables_of_searches_and_scans_go(tmp_path):
    found = fastcart.optimize(
        "li_lei_coarse", {"TM": (0.0, 1e7)}, for_each=[{"C": 1e6}, {"C": 2e6}], patients=[{"TE": 1e7}],
        start=[{"TM": 1e3}], seed=1, iterations=1, objective="TM", **FAST,
    )  # fmt: skip
    assert found.best["C"].tolist() == [1e6, 2e6]
    rows = [{"TE": 1e7, "C": 1e6}, {"TE": 2e7, "C": 1e6}]
    scanned = fastcart.scan("li_lei_coarse", rows, tmp_path / "scan", **FAST)
    assert scanned.load()["TE"].tolist() == [1e7, 2e7]


def test_rows_must_have_the_same_names_and_nothing_else_is_a_row():
    assert refusal([{"TE": 1e7}, {"C": 1e6}]) == (
        "Row 1 of the patients has no 'C', which others have; give it in every row."
    )
    for no_table in ([1e7, 2e7], [], [{"TE": 1e7}, 3], np.ones((2, 2))):
        said = refusal(no_table)
        assert "not list. Write columns" in said or "not ndarray. Write columns" in said
        assert "[1e6, 2e6]}, or rows, [{" in said
    assert "'TEE'" in refusal([{"TEE": 1e7}])


@pytest.mark.parametrize("text", ["patients", "li_lei", ""])
def test_texts_that_are_no_paths(text):
    assert "must be a DataFrame, a mapping of columns, a path" in refusal(text)


# --- what killed runs leave -------------------------------------------------------------------------

KILLED = """
import os, signal, sys, time
from pathlib import Path
import pandas as pd
from fastcart.tables.storage import TableWriter
with TableWriter(Path(sys.argv[1])) as writer:
    writer.write(pd.DataFrame({"x": range(10_000)}))
    print("writing", flush=True)
    time.sleep(60)
"""


def writing(path: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    return process


def left(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
def test_what_a_killed_run_left_is_removed_and_what_a_live_one_writes_is_not(tmp_path, people):
    out = tmp_path / "o.csv"
    process = writing(out)
    try:
        alive = [name for name in left(tmp_path) if name.endswith(".part")]
        assert len(alive) == 1
        with pytest.raises(InputError, match=r"o\.csv.* is being written by another run"):
            solve_file(people, out)
        solve_file(people, tmp_path / "other.csv")  # another output is no matter
        assert alive[0] in left(tmp_path)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert alive[0] in left(tmp_path)
    solve_file(people, out)
    assert left(tmp_path) == ["o.csv", "other.csv", "people.csv"]
    assert texts(out)["patient"] == ["01", "1"]


def test_only_what_is_left_of_the_same_output_is_removed(tmp_path, people):
    mine = [".o.csv.123.part", ".o.csv.123-0123abcd.part"]
    others = [
        ".o.csv.part",
        ".o.csv.x.part",
        ".other.csv.123.part",
        ".oxcsv.123.part",
        ".o.csv.gz.123.part",
        "o.csv.123.part",
    ]
    for name in (*mine, *others):
        (tmp_path / name).write_text("half", encoding="utf-8")
    solve_file(people, tmp_path / "o.csv")
    assert left(tmp_path) == sorted([*others, "o.csv", "people.csv"])
    (tmp_path / ".report.md.7.part").write_text("half", encoding="utf-8")
    write_text(tmp_path / "report.md", "whole")
    assert ".report.md.7.part" not in left(tmp_path)


def test_two_writers_of_one_table_in_one_process(tmp_path):
    table = pd.DataFrame({"x": [1.5]})
    path = tmp_path / "o.parquet"
    with TableWriter(path) as first:
        first.write(table)
        with pytest.raises(InputError, match="being written"), TableWriter(path):
            pass
    assert pq.read_table(path).to_pydict() == {"x": [1.5]}
    assert left(tmp_path) == ["o.parquet"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
@pytest.mark.parametrize("suffix", OUTPUTS)
def test_a_full_disk_is_one_sentence_with_the_name_of_the_file(tmp_path, capsys, suffix):
    import resource

    rng = np.random.default_rng(0)
    columns = {
        "patient": [str(k) for k in range(2000)],
        "TE": [f"{x:.17g}" for x in rng.uniform(1e6, 1e7, 2000)],
    }
    patients = write_csv(tmp_path / "p.csv", columns)
    out = tmp_path / f"o{suffix}"
    files = ["--patients", str(patients), "--out", str(out)]
    arguments = ["run", "li_lei_coarse", *files, "--engine", "published", "--t-end", "1", "--quiet"]
    assert main(arguments) == 0  # with all kernels compiled
    out.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # larger files fail, as on a full disk
    try:
        code = main(arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    captured = capsys.readouterr()
    assert code == 1
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert str(out) in captured.err
    assert ".part" not in captured.err
    assert left(tmp_path) == ["p.csv"]


# --- times at the horizon ---------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["auto", "published", "scipy", "lsoda"])
def test_times_beyond_the_horizon_by_rounding_are_the_horizon(engine):
    step = get("li_lei_coarse").published.step
    times = np.arange(4) * step  # 3 * 0.1 is more than 0.3
    result = fastcart.solve(
        "li_lei_coarse", 1, t_end=0.3, save_at=[*times[:3], 0.30000000000000004], engine=engine
    )
    assert result.trajectories["t"].iloc[-1] == 0.3
    same = fastcart.solve("li_lei_coarse", 1, t_end=0.3, save_at=[*times[:3], 0.3], engine=engine)
    pd.testing.assert_frame_equal(result.trajectories, same.trajectories)


def test_sums_of_steps_end_at_the_horizon():
    for step, end in ((0.1, 0.3), (0.1, 100.0), (0.7, 70.0), (1 / 3, 10.0), (1e-3, 1.0)):
        times = [0.0]
        while times[-1] < end - step / 2:
            times.append(times[-1] + step)
        found = fastcart.patients.check_times(times, end)
        assert found[-1] == pytest.approx(end, rel=1e-12)
        assert found[-1] <= end


@pytest.mark.parametrize("late", [0.3 + 1e-9, 0.31, np.nextafter(0.3, 1) * (1 + 1e-11)])
def test_times_that_are_beyond_the_horizon_are_refused(late):
    assert "must not exceed the horizon 0.3" in refusal(1, t_end=0.3, save_at=[late], engine="auto")


def test_two_times_at_the_horizon_are_one_too_many():
    assert "sorted and distinct" in refusal(1, t_end=0.3, save_at=[0.3, 0.30000000000000004], engine="auto")


def test_doses_and_outputs_at_the_horizon_by_rounding(tmp_path):
    late = {"time": 0.30000000000000004, "state": "TE", "amount": 1e8}
    with_dose = fastcart.solve("li_lei_coarse", 1, doses=late, t_end=0.3, engine="auto").endpoints
    scanned = fastcart.scan(
        "li_lei_coarse", 1, tmp_path / "scan", doses=[late], t_end=0.3, progress=False
    ).load()
    without = fastcart.solve("li_lei_coarse", 1, t_end=0.3, engine="auto").endpoints
    for found in (with_dose, scanned):
        assert found["final_TE"].iloc[0] == pytest.approx(without["final_TE"].iloc[0] + 1e8, rel=1e-9)
    study = fastcart.sensitivity(
        "li_lei_coarse",
        outputs=["C@0.1:0.30000000000000004:0.1"],
        n=20,
        t_end=0.3,
        resamples=10,
        convergence=False,
    )
    assert study.counts["used"].tolist() == [20, 20, 20]


# --- TOML -------------------------------------------------------------------------------------------


def test_toml_that_begins_with_a_byte_order_mark(tmp_path):
    scan = tmp_path / "scan.toml"
    scan.write_text("\ufeffmodel = 'li_lei_coarse'\npatients = 'p.csv'\n", encoding="utf-8")
    assert read_scan(scan)["patients"] == tmp_path / "p.csv"
    trial = tmp_path / "trial.toml"
    trial.write_text("\ufefftitle = 'Zoë'\narms = ['A1']\n", encoding="utf-8")
    assert read_trial(trial).title == "Zoë"
    prior = tmp_path / "population.toml"
    prior.write_text("\ufeff[marginals]\nrL = { median = 0.125 }\n", encoding="utf-8")
    from fastcart.population.targets import read_specification

    marginals = {marginal.name: marginal for marginal in read_specification(prior)[0].marginals}
    assert marginals["rL"].median == 0.125
