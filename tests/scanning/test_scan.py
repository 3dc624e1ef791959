"""Scans: the same files byte for byte, however often they are killed; refused with what differs."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numba import njit

import fastcart
from fastcart import DosingSchedule, InputError
from fastcart.cli import main
from fastcart.runs.identity import describe_model, plain
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import open_run
from fastcart.sample import Design
from fastcart.scanning.doses import dose_template
from fastcart.scanning.line import line_plot
from fastcart.scanning.plot import _dose_units, drawn_axes, grid_axes, heat_map, plot_scan
from fastcart.scanning.scan import load, scan

COLUMNS = {"k_TE": {"uniform": (3.2, 3.9)}, "TE": {"log_uniform": (1e6, 1e8)}}
SPEC = """
model = "li_lei"
chunk = 20

[solve]
t_end = 150

[sample]
n = 500
seed = 3

[sample.columns]
k_TE = { uniform = [3.2, 3.9] }
TE = { log_uniform = [1e6, 1e8] }
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def design(n: int = 50, seed: int = 3) -> Design:
    return Design(COLUMNS, n, seed=seed)


def refusal(call, *arguments, **keywords) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    return message


# what a scan gives


def test_a_scan_gives_what_solve_gives(tmp_path):
    result = scan("li_lei", design(), tmp_path / "out", chunk=16, t_end=150)
    exact = fastcart.solve("li_lei", design().table(), keep=["k_TE", "TE"], t_end=150).endpoints
    exact["status"] = exact["status"].astype(str)
    pd.testing.assert_frame_equal(result.load(), exact, check_exact=True, check_dtype=False)
    assert result.counts == {"ok": 50}
    assert (result.size, result.failed, result.inputs) == (50, 0, ["k_TE", "TE"])
    assert sorted(contents(tmp_path / "out")) == [
        "checksums.sha256", *(f"endpoints/part-0000{k}.parquet" for k in range(4)), "manifest.json",
        "summary.json",
    ]  # fmt: skip
    # other programs read the parts as one data set
    assert len(pd.read_parquet(tmp_path / "out" / "endpoints")) == 50


def test_chunks_and_threads_change_no_number(tmp_path):
    one = scan("li_lei", design(), tmp_path / "one").load()
    two = scan("li_lei", design(), tmp_path / "two", chunk=7, threads=1).load()
    pd.testing.assert_frame_equal(one, two, check_exact=True)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_patients_from_a_file(tmp_path, suffix):
    table = design().table().round({"k_TE": 3, "TE": 0})
    table["patient"] = [f"p{k}" for k in range(50)]
    table["arm"] = ["a", "b"] * 25
    file = tmp_path / f"patients{suffix}"
    if suffix == ".csv":
        table.to_csv(file, index=False)
    else:
        table.to_parquet(file, index=False, row_group_size=12)
    here = scan("li_lei", table, tmp_path / "here", chunk=9, keep=["arm"])
    there = scan("li_lei", file, tmp_path / "there", chunk=9, keep=["arm"])
    assert here.load()["arm"].to_list() == table["arm"].to_list()
    assert here.load()["patient"].to_list() == table["patient"].to_list()
    for name in ("pfs", "k_TE", "TE", "patient", "arm"):
        assert here.load()[name].to_list() == there.load()[name].to_list()


def test_patients_as_a_number_or_a_mapping(tmp_path):
    assert scan("li_lei", 5, tmp_path / "number", chunk=2).size == 5
    table = scan("li_lei", {"k_TE": [3.5, 3.6]}, tmp_path / "mapping").load(["patient", "k_TE"])
    assert table.to_dict("list") == {"patient": [0, 1], "k_TE": [3.5, 3.6]}


def test_outputs_that_are_asked_for(tmp_path):
    table = scan("li_lei", design(), tmp_path / "out", outputs=["pfs", "final_C"]).load()
    assert table.columns.to_list() == ["patient", "status", "pfs", "final_C", "k_TE", "TE"]


def test_failed_patients_are_counted(tmp_path):
    result = scan("li_lei", design(20), tmp_path / "out", chunk=6, engine="lanes", max_steps=5)
    assert result.counts == {"max_steps": 20}
    assert result.failed == 20
    assert "20 patients: 0 ok, 20 failed.\n20 max_steps: the budget of steps ran out" in result.summary()
    assert result.load()["pfs"].isna().all()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["status"] == {"max_steps": 20}


def test_peaks_areas_and_events_of_a_spec(tmp_path):
    text = """
model = "li_lei"
outputs = ["pfs", "peak_TE", "auc_C", "event_low"]
[solve]
peaks = ["TE"]
auc = ["C"]
[[events]]
name = "low"
of = "C"
threshold = "limit"
direction = "down"
[sample]
n = 5
seed = 1
[sample.columns]
limit = { log_uniform = [1e2, 1e5] }
"""
    (tmp_path / "scan.toml").write_text(text)
    assert main(["scan", str(tmp_path / "scan.toml"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    patients = Design({"limit": {"log_uniform": (1e2, 1e5)}}, 5, seed=1).table()
    events = [fastcart.Event("low", "C", "limit", direction="down")]
    exact = fastcart.solve("li_lei", patients, peaks=["TE"], auc=["C"], events=events, keep=["limit"])
    found = load(tmp_path / "out")
    for name in ("pfs", "peak_TE", "auc_C", "event_low", "limit"):
        np.testing.assert_array_equal(found[name], exact.endpoints[name])
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["options"]["events"][0]["of"] == "C"


# doses


def test_doses_from_columns_of_the_patients(tmp_path):
    amounts, times = [1e6, 1e7, 5e7], [0.0, 3.0, 5.5]
    patients = pd.DataFrame({"dose_TE": amounts, "when": times})
    doses = [
        {"time": "when", "state": "TE", "amount": "dose_TE"},
        {"time": 7, "state": "T4", "amount": 1e6, "duration": 2, "every": 7, "repeats": 1},
    ]
    result = scan("li_lei", patients, tmp_path / "out", doses=doses, chunk=2).load()
    for k in range(3):
        schedule = DosingSchedule().bolus(times[k], "TE", amounts[k])
        schedule = schedule.infusion(7, "T4", 1e6, 2, every=7, repeats=1)
        alone = fastcart.solve("li_lei", 1, doses=schedule).endpoints
        assert result["pfs"][k] == alone["pfs"][0]
        assert result["final_C"][k] == alone["final_C"][0]
    assert result["dose_TE"].to_list() == amounts


def test_the_same_doses_for_all(tmp_path):
    schedule = DosingSchedule().bolus(2, "TE", 1e7)
    one = scan("li_lei", design(4), tmp_path / "one", doses=schedule).load()
    two = scan("li_lei", design(4), tmp_path / "two", doses=schedule.table()).load()
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    exact = fastcart.solve("li_lei", design(4).table(), doses=schedule).endpoints
    assert one["pfs"].to_list() == exact["pfs"].to_list()


@pytest.mark.parametrize(
    ("doses", "expected"),
    [
        ([{"time": 1, "state": "TF", "amount": 1}], "'TF' is not a state of model 'li_lei'. Did you mean"),
        ([{"time": 1, "state": "TE"}], "'amount' is missing"),
        ([{"time": -1, "state": "TE", "amount": 1}], "must be a number from 0 on or the name of a column"),
        ([{"time": 1, "state": "TE", "amount": -1, "duration": 2}], "what is removed is removed at once"),
        ([{"time": 1, "state": "TE", "amount": 1, "duration": 2, "rate": 3}], "a duration and a rate"),
        ([{"time": 1, "state": "TE", "amount": 1, "steady": 1}], "needs the interval 'every'"),
        ([{"time": 1, "state": "TE", "amount": 1, "steady": 3}], "must be one of 0, 1, 2, not 3"),
        ([{"time": 1, "amount": 1, "reset": 1}], "'state' is missing"),
        ([{"time": 1, "state": "TE", "amount": 1, "lag": "C"}], "is a state of model 'li_lei'"),
        ([{"time": 1, "k_TE": -2.0}], "is switched to -2"),
        (pd.DataFrame({"TIME": [1], "AMT": 1, "CMT": "TE", "ID": 0}), "have no column 'patient'"),
        ([{"time": 1, "state": "TE", "amont": 1}], "Did you mean 'amount'?"),
        ([{"time": 1, "state": "TE", "amount": "k_TE"}], "is a parameter of model 'li_lei'"),
        ([{"time": 1, "state": "TE", "amount": 1, "every": 2}], "need both 'every'"),
        (
            {"time": 1, "state": "TE", "amount": "dose"},
            "use the column 'dose', which the patients do not have",
        ),
        ([{"time": 300, "state": "TE", "amount": 1}], "A dose is given at 300, after the horizon 200"),
        (pd.DataFrame({"time": [1], "state": "TE", "amount": 1, "patient": 0}), "have no column 'patient'"),
        ("TE", "must be a DosingSchedule, a table or a list"),
    ],
)
def test_doses_that_make_no_sense(tmp_path, doses, expected):
    assert expected in refusal(scan, "li_lei", design(), tmp_path / "out", doses=doses)
    assert not (tmp_path / "out").exists()


def test_what_columns_of_doses_may_hold(tmp_path):
    patients = pd.DataFrame({"dose": [1.0, -2.0]})
    for doses in (
        {"time": "dose", "state": "TE", "amount": 1.0},
        {"time": 1, "state": "TE", "amount": "dose", "duration": 1.0},
    ):
        message = refusal(scan, "li_lei", patients, tmp_path / "out", doses=doses)
        assert "holds -2 in row 2; it must not be negative" in message
    message = refusal(scan, "li_lei", patients, tmp_path / "out", doses={"time": 1, "k_TE": "dose"})
    assert "holds -2 in row 2; it must not be negative" in message
    removed = {"time": 1, "state": "TE", "amount": "dose"}
    assert dose_template(fastcart.models.get("li_lei"), removed).columns == ["dose"]
    assert scan("li_lei", patients, tmp_path / "out", doses=removed).failed == 0


@njit
def _absorbed(t, y, p):
    return -p.ka * y.gut, p.ka * y.gut - p.ke * y.blood


KINETICS = fastcart.Model(
    "kinetics", {"gut": 0.0, "blood": 0.0}, {"ka": 1.1, "ke": 0.3, "delay": 0.5}, _absorbed, t_end=48.0
)


def test_all_that_a_table_of_doses_can_say(tmp_path):
    """Lag, bioavailability, rate, steady state, reset, removal, switch: what `solve` gives, to the bit."""
    patients = pd.DataFrame(
        {"delay": [0.2, 1.5, 0.0], "part": [1.0, 0.5, 0.9], "amount": [9.0, 4.0, 2.0],
         "back": [30.0, 33.0, 40.0], "later": [0.2, 0.5, 0.1], "speed": [1.0, 2.0, 0.5],
         "taken": [-0.1, -0.01, -0.2]}
    )  # fmt: skip
    doses = [
        {"time": 1, "state": "gut", "amount": "amount", "steady": 1, "every": 6, "repeats": 2,
         "lag": "delay", "bioavailability": "part"},
        {"time": 9, "state": "blood", "amount": 3.0, "rate": "speed"},
        {"time": 20, "state": "blood", "amount": "taken"},
        {"time": 24, "ke": "later"},
        {"time": "back", "state": "gut", "amount": 5.0, "reset": 1},
    ]  # fmt: skip
    found = scan(KINETICS, patients, tmp_path / "out", doses=doses, chunk=2).load()
    assert found["status"].tolist() == ["ok"] * 3
    for k, row in patients.iterrows():
        schedule = (
            DosingSchedule()
            .bolus(1, "gut", row["amount"], steady=True, every=6, repeats=2, lag="delay",
                   bioavailability=row["part"])
            .infusion(9, "blood", 3.0, 3.0 / row["speed"])
            .bolus(20, "blood", row["taken"])
            .switch(24, "ke", row["later"])
            .reset(row["back"]).bolus(row["back"], "gut", 5.0)
        )  # fmt: skip
        alone = fastcart.solve(KINETICS, {"delay": [row["delay"]]}, doses=schedule).endpoints
        for name in ("final_gut", "final_blood", "steps"):
            assert found[name][k] == alone[name][0]


def test_tables_and_files_of_doses_say_the_same(tmp_path):
    schedule = (
        DosingSchedule().bolus(0, "gut", 5.0, every=8, repeats=3, lag="delay").switch(20, "ke", 0.6).reset(40)
    )
    events = pd.DataFrame(
        [(0, 5.0, 1, 1, 8, 3, None), (20, 0, 1, 2, 0, 0, 0.6)],
        columns=["TIME", "AMT", "CMT", "EVID", "II", "ADDL", "ke"],
    )
    patients = {"delay": [0.0, 0.7]}
    expected = fastcart.solve(KINETICS, patients, doses=schedule).endpoints
    schedule.table().to_csv(tmp_path / "doses.csv", index=False)
    events.to_csv(tmp_path / "events.csv", index=False)
    for k, doses in enumerate([schedule, schedule.table(), tmp_path / "doses.csv"]):
        found = scan(KINETICS, patients, tmp_path / str(k), doses=doses).load()
        assert found["final_blood"].tolist() == expected["final_blood"].tolist() == [0.0, 0.0]
        assert found["steps"].tolist() == expected["steps"].tolist()
    read = fastcart.solve(KINETICS, patients, doses=events).endpoints["final_blood"].tolist()
    for k, doses in enumerate([events, tmp_path / "events.csv"]):
        found = scan(KINETICS, patients, tmp_path / f"nonmem {k}", doses=doses).load()
        assert found["final_blood"].tolist() == read


# killed and resumed


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    (folder / "scan.toml").write_text(SPEC)
    assert main(["scan", str(folder / "scan.toml"), "--out", str(folder / "out"), "--quiet"]) == 0
    return folder


def test_killed_again_and_again_the_files_are_the_same(uninterrupted, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "fastcart", "scan", str(uninterrupted / "scan.toml")]
    command += ["--out", str(out), "--resume", "--quiet"]
    parts = 0
    for _ in range(2):
        process = subprocess.Popen(command)
        while len(list(out.glob("endpoints/part-*"))) < parts + 3 and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        parts = len(list(out.glob("endpoints/part-*")))
        assert 0 < parts < 25
        assert not (out / "summary.json").exists()
        assert "is not finished" in refusal(load, out)
    assert main(command[3:]) == 0
    assert contents(out) == contents(uninterrupted / "out")


class _Killed(BaseException):
    """Nothing catches this, as nothing catches a kill."""


@pytest.mark.parametrize("moment", range(6))
def test_killed_before_any_rename(tmp_path, monkeypatch, moment):
    """Manifest, three parts and summary are renamed; before each of them the process ends."""
    scan("li_lei", design(), tmp_path / "whole", chunk=20)
    left = moment
    rename, remove = Path.replace, Path.unlink

    def replace(self, target):
        nonlocal left
        left -= 1
        if left < 0:
            raise _Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # a kill leaves what there is
        try:
            scan("li_lei", design(), tmp_path / "out", chunk=20)
        except _Killed:
            assert list((tmp_path / "out").rglob(".*.part"))
    assert Path.unlink is remove
    scan("li_lei", design(), tmp_path / "out", chunk=20, resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_finished_scan_is_not_solved_again(uninterrupted, monkeypatch, capsys):
    before = contents(uninterrupted / "out")
    monkeypatch.setattr("fastcart.scanning.parts.encode_table", None)  # a part that is made anew would fail
    command = ["scan", str(uninterrupted / "scan.toml"), "--out", str(uninterrupted / "out"), "--resume"]
    assert main(command) == 0
    assert "500 patients: 500 ok, 0 failed." in capsys.readouterr().out
    assert contents(uninterrupted / "out") == before


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rtol": 1e-8}, "options.rtol is 1e-06 there and 1e-08 now"),
        ({"chunk": 10}, "chunk is 20 there and 10 now"),
        ({"patients": design(60)}, "patients.sample.n is 50 there and 60 now"),
        ({"patients": design(seed=4)}, "patients.sample.seed is 3 there and 4 now"),
        ({"model": "li_lei_coarse", "patients": 50}, "model.name is \"li_lei\" there and"),
        ({"outputs": ["pfs"]}, "outputs is null there and [\"pfs\"] now"),
        ({"doses": {"time": 1, "state": "TE", "amount": 1}}, "doses is null there and"),
    ],
)  # fmt: skip
def test_another_scan_is_not_resumed(tmp_path_factory, changes, expected):
    out = tmp_path_factory.getbasetemp() / "to_resume"
    arguments = {"model": "li_lei", "patients": design(), "chunk": 20}
    if not out.exists():
        scan(**arguments, out=out)
    before = contents(out)
    message = refusal(scan, **(arguments | changes), out=out, resume=True)
    assert "cannot go on, because it was begun with other inputs" in message
    assert expected in message
    assert contents(out) == before


def test_another_version_is_named(tmp_path, monkeypatch):
    scan("li_lei", 3, tmp_path / "out")
    version = fastcart.__version__
    monkeypatch.setattr("fastcart.runs.identity.__version__", "0.0.9")
    message = refusal(scan, "li_lei", 3, tmp_path / "out", resume=True)
    assert f'versions.fastcart is "{version}" there and "0.0.9" now' in message


def test_a_scan_that_is_there_is_kept_unless_forced(tmp_path):
    scan("li_lei", design(), tmp_path / "out", chunk=10)
    before = contents(tmp_path / "out")
    message = refusal(scan, "li_lei", design(), tmp_path / "out", chunk=10)
    assert "holds a scan already; use --resume to go on with it or --force to replace it" in message
    assert contents(tmp_path / "out") == before
    assert "not both" in refusal(scan, "li_lei", 3, tmp_path / "out", resume=True, force=True)
    scan("li_lei", design(20), tmp_path / "out", chunk=20, force=True)
    assert len(list((tmp_path / "out" / "endpoints").iterdir())) == 1


def test_a_damaged_part_is_not_loaded(tmp_path):
    scan("li_lei", design(), tmp_path / "out", chunk=20)
    part = tmp_path / "out" / "endpoints" / "part-00001.parquet"
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    part.write_bytes(damaged)
    assert "part-00001.parquet' is not as it was written; --resume" in refusal(load, tmp_path / "out")


# folders and disks


def test_a_folder_that_holds_something_else(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear reader")
    for keywords in ({}, {"resume": True}, {"force": True}):
        assert "is not empty and holds no run" in refusal(scan, "li_lei", 3, tmp_path, **keywords)
    assert contents(tmp_path) == {"letter.txt": b"Dear reader"}
    assert "is a file" in refusal(scan, "li_lei", 3, tmp_path / "letter.txt")
    assert "does not exist; create it" in refusal(scan, "li_lei", 3, tmp_path / "no" / "out")
    assert "holds no scan" in refusal(load, tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    assert "is not writable" in refusal(scan, "li_lei", 3, tmp_path / "out")


def test_a_full_disk_says_how_to_go_on(tmp_path, monkeypatch):
    written = 0

    def fsync(descriptor):
        nonlocal written
        written += 1
        if written > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        message = refusal(scan, "li_lei", design(), tmp_path / "out", chunk=10)
    assert "part-00002.parquet' cannot be written: No space left on device" in message
    assert "make room, then go on with --resume" in message
    assert sorted(contents(tmp_path / "out")) == [
        "checksums.sha256", "endpoints/part-00000.parquet", "endpoints/part-00001.parquet", "manifest.json",
    ]  # fmt: skip
    scan("li_lei", design(), tmp_path / "out", chunk=10, resume=True)
    scan("li_lei", design(), tmp_path / "whole", chunk=10)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked on Windows")
def test_two_processes_do_not_share_a_folder(tmp_path):
    with open_run(tmp_path / "out", Manifest("scan", {})):
        assert "is in use by another process" in refusal(scan, "li_lei", 3, tmp_path / "out", resume=True)


# manifests


def test_a_manifest_in_plain_types():
    values = {
        "a": np.float64(0.1), "b": (np.int32(3), None, True), "c": {"d": np.array([1.5, np.inf])},
        "e": pd.DataFrame({"x": [1]}), "f": Path("x"), "g": {"z", "y"},
    }  # fmt: skip
    assert plain(values) == {
        "a": 0.1, "b": [3, None, True], "c": {"d": [1.5, "inf"]}, "e": {"x": [1]}, "f": "x", "g": ["y", "z"],
    }  # fmt: skip
    assert Manifest("scan", values).differences(json.loads(Manifest("scan", values).text())) == []


def test_many_differences_are_counted():
    there = {"kind": "scan", **{f"x{k}": k for k in range(10)}}
    phrases = Manifest("scan", {"y": 1}).differences(there)
    assert phrases[0] == "x0 is 0 there and not given now"
    assert phrases[-1] == "y is not given there and 1 now"
    assert len(phrases) == 11


def test_the_hash_of_a_model_sees_its_functions_and_defaults():
    def hashed(**options):
        return describe_model(fastcart.models.get("li_lei", **options))["hash"]

    assert hashed() == hashed()
    assert hashed() != hashed(killing="free")


# bad input


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"outputs": ["pfz"]}, "There is no output 'pfz'. Did you mean 'pfs'?"),
        ({"engin": "lsoda"}, "A scan has no option 'engin'. Did you mean 'engine'?"),
        ({"engine": "lsodar"}, "There is no engine 'lsodar'. Did you mean 'lsoda'?"),
        ({"save_at": [1]}, "A scan has no option 'save_at'"),
        ({"chunk": 0}, "patients per chunk must be a whole number from 1 on"),
        ({"keep": ["arm"]}, "A sample has no further columns to keep"),
        ({"patients": Design({"k_TEE": 3.0}, 5, seed=1)}, "Did you mean 'k_TE'?"),
        ({"patients": "nowhere.parquet"}, "'nowhere.parquet' does not exist"),
        ({"patients": {"k_TE": [3, -1]}}, "holds -1 in row 2"),
    ],
)
def test_bad_input_leaves_no_folder(tmp_path, arguments, expected):
    given = {"model": "li_lei", "patients": design(5), "out": tmp_path / "out"} | arguments
    assert expected in refusal(scan, **given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model = ", "is no TOML"),
        ("chunk = 3", "names no model"),
        ("model = 'li_lei'", "either 'patients' (a file) or a table [sample]"),
        ("model = 'li_lei'\nsampel = 1", "has no key 'sampel'. Did you mean 'sample'?"),
        ("model = 'li_lei'\n[sample]\nsize = 3", "the table [sample] has no key 'size'"),
        ("model = 'li_lei'\n[sample]\nn = 3", "The columns of a sample must be a mapping"),
        ("model = 'li_lei'\npatients = 3", "'patients' must name a file, not 3"),
        ("model = 'li_lei'\nevents = 3\nsample = 3", "must be a list of tables [[events]]"),
        ("model = 'li_lei'\nevents = [{nam = 3}]\nsample = 3", "an event has no key 'nam'. Did you mean"),
        ("model = 'li_lei'\nevents = [{name = 'x'}]\nsample = 3", "'of' is missing"),
        ("model = 'li_lei'\nsample = 3", "'sample' must be a table, not 3"),
        ("model = 'li_ley'\npatients = 'x.csv'", "Did you mean 'li_lei'?"),
    ],
)
def test_specs_that_make_no_sense(tmp_path, capsys, text, expected):
    (tmp_path / "scan.toml").write_text(text)
    assert main(["scan", str(tmp_path / "scan.toml"), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert expected in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_plot_that_will_not_be_possible_is_refused_before_the_scan(tmp_path, capsys):
    spec = tmp_path / "grid.toml"
    spec.write_text(
        'model = "li_lei"\n[sample]\nmethod = "grid"\n[sample.columns]\nC = [1e6, 2e6]\nTE = [1e6, 1e7]\n'
    )
    out = tmp_path / "out"
    assert main(["scan", str(spec), "--out", str(out), "--plot", "psf"]) == 2
    assert "The scan has no column 'psf'. Did you mean 'pfs'?" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("columns", "axes", "said"),
    [
        ("C = 1e6\nTE = 1e6", [], "two columns vary, not 0 (none)"),
        ("C = [1e6, 2e6]\nTE = 1e6", ["--axes", "TE"], "The column 'TE' has one value only"),
        ("C = [1e6, 2e6]\nTE = [1e6, 1e7]\nTM = [1, 2]", ["--axes", "C,TE"], "is no grid in 'C' and 'TE'"),
    ],
)
def test_a_plot_of_what_is_no_grid_is_refused_before_the_scan(tmp_path, capsys, columns, axes, said):
    spec = tmp_path / "grid.toml"
    spec.write_text(f'model = "li_lei"\n[sample]\nmethod = "grid"\n[sample.columns]\n{columns}\n')
    out = tmp_path / "out"
    assert main(["scan", str(spec), "--out", str(out), "--plot", "pfs", *axes]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_options_of_the_command_count_over_those_of_the_file(tmp_path):
    spec = tmp_path / "scan.toml"
    spec.write_text(
        'model = "li_lei"\n[sample]\nmethod = "grid"\n[sample.columns]\nC = [1e6]\n[solve]\nt_end = 9\n'
    )
    out = tmp_path / "out"
    assert main(["scan", str(spec), "--out", str(out), "--t-end", "5", "--auc", "C", "--quiet"]) == 0
    assert load(out)["t_reached"].tolist() == [5.0]
    assert "auc_C" in load(out)


def test_axes_without_a_plot_and_no_spec(tmp_path, capsys):
    (tmp_path / "scan.toml").write_text(SPEC)
    command = ["scan", str(tmp_path / "scan.toml"), "--out", str(tmp_path / "out")]
    assert main([*command, "--axes", "k_TE,TE"]) == 2
    assert main(["scan", str(tmp_path / "no.toml"), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "give also --plot OUTPUT" in message
    assert "no.toml' does not exist" in message


def test_an_interrupt_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    (tmp_path / "scan.toml").write_text(SPEC)

    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastcart.scanning.scan._fill", interrupted)
    assert main(["scan", str(tmp_path / "scan.toml"), "--out", str(tmp_path / "out")]) == 130
    assert "Go on with --resume" in capsys.readouterr().err


# heat maps


def test_a_grid_is_drawn(tmp_path, capsys):
    (tmp_path / "grid.toml").write_text(
        "model = 'li_lei'\n[sample]\nmethod = 'grid'\n[sample.columns]\n"
        "C = {geomspace = [1e5, 1e8, 6]}\nk_TE = {linspace = [2.5, 5, 5]}\nTE = 2e7\n"
    )
    out = tmp_path / "out"
    assert main(["scan", str(tmp_path / "grid.toml"), "--out", str(out), "--plot", "pfs"]) == 0
    assert (out / "heatmap_pfs.png").read_bytes().startswith(b"\x89PNG")
    assert f"Heat map: {out / 'heatmap_pfs.png'}" in capsys.readouterr().out
    figure = heat_map(load(out), "pfs", axes=("C", "k_TE"), model=fastcart.models.get("li_lei"))
    panel, bar = figure.axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("C (cells)", "k_TE (1/day)")
    assert (panel.get_xscale(), panel.get_yscale()) == ("log", "linear")
    assert bar.get_ylabel() == "Progression-free survival (days)"
    values = panel.collections[0].get_array()
    table = load(out).sort_values(["k_TE", "C"])
    assert values.filled(np.nan).ravel().tolist() == table["pfs"].to_list()


def test_axes_of_doses_have_their_units(tmp_path):
    axes = Design({"dose": [1e6, 1e7], "day": [0, 1, 2]}, method="grid")
    model = fastcart.models.get("li_lei")
    doses = {"time": "day", "state": "TE", "amount": "dose"}
    result = scan(model, axes, tmp_path / "out", doses=doses)
    assert _dose_units(model, plain(dose_template(model, doses).describe())) == {
        "day": "days",
        "dose": "cells",
    }
    assert plot_scan(result, model, "pfs").is_file()


def _grid(x, y, values, **columns):
    a, b = (grid.ravel() for grid in np.meshgrid(x, y))
    return pd.DataFrame({"x": a, "y": b, "nadir": values(a, b), "status": "ok", **columns})


def test_what_ranges_over_decades_has_logarithmic_colours_and_short_contours():
    table = _grid(np.geomspace(1, 1e3, 9), np.geomspace(1, 1e4, 9), lambda x, y: x * y)
    panel, bar = heat_map(table, "nadir", axes=("x", "y")).axes
    assert bar.get_yscale() == "log"
    labels = {text.get_text() for text in panel.texts}
    assert labels
    assert all(len(label) <= 5 for label in labels)
    table["nadir"] -= 1.0  # with a zero there is no logarithm
    assert heat_map(table, "nadir", axes=("x", "y")).axes[1].get_yscale() == "linear"


def test_cells_of_a_coarse_grid_are_seen_around_their_values():
    """Halfway between numbers that grow tenfold and more, the first cell would begin below zero."""
    figure = heat_map(_grid([1.0, 1e2, 1e4], [1.0, 2.0, 3.0], lambda x, y: x + y), "nadir", axes=("x", "y"))
    figure.draw_without_rendering()
    assert figure.axes[0].get_xlim() == pytest.approx((0.1, 1e5))
    assert figure.axes[0].get_ylim() == pytest.approx((0.5, 3.5))


def test_all_of_a_censored_cell_is_hatched():
    table = _grid([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], lambda x, y: x + y, censored=True)
    figure = heat_map(table.assign(pfs=9.0), "pfs", axes=("x", "y"))
    hatched = figure.axes[0].collections[1].get_paths()[0].get_extents()
    assert hatched.extents == pytest.approx((0.5, 0.5, 3.5, 3.5), rel=1e-4)


def test_failed_and_censored_cells_are_in_the_legend():
    x, y = (grid.ravel() for grid in np.meshgrid([1.0, 2, 3], [1.0, 2, 3, 4]))
    table = pd.DataFrame({"x": x, "y": y, "pfs": x * y, "status": "ok", "censored": x * y == 12})
    table.loc[0, ["pfs", "status"]] = [np.nan, "max_steps"]
    figure = heat_map(table, "pfs", axes=("x", "y"), contours=[3, 6])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["not solved", "censored"]
    flat = heat_map(table.assign(pfs=1.0, status="ok", censored=False), "pfs", axes=("x", "y"))
    assert not flat.legends


@pytest.mark.parametrize(
    ("axes", "output", "expected"),
    [
        (("x", "z"), "pfs", "no column 'z'"),
        (("x", "y"), "pfz", "Did you mean 'pfs'?"),
        (("x", "x"), "pfs", "two different columns"),
        (("x", "u"), "pfs", "is no grid in 'x' and 'u': 4 patients for 2 times 4 values"),
        (("x", "y"), "status", "holds no numbers"),
    ],
)
def test_what_cannot_be_drawn(axes, output, expected):
    table = pd.DataFrame(
        {"x": [1, 1, 2, 2], "y": [1, 2, 1, 2], "u": [1, 2, 3, 4], "pfs": 1.0, "status": "ok"}
    )
    assert expected in refusal(heat_map, table, output, axes=axes)
    assert "not 3 (x, y, u)" in refusal(grid_axes, table, ["x", "y", "u"])
    assert grid_axes(table, ["x", "y"]) == ("x", "y")


# lines


def test_a_scan_over_one_column_is_a_line(tmp_path, capsys):
    (tmp_path / "one.toml").write_text(
        "model = 'li_lei'\n[sample]\nmethod = 'grid'\n[sample.columns]\n"
        "C = {geomspace = [1e5, 1e8, 6]}\nTE = 2e7\n"
    )
    out = tmp_path / "out"
    assert main(["scan", str(tmp_path / "one.toml"), "--out", str(out), "--plot", "nadir"]) == 0
    assert (out / "line_nadir.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "line_nadir.svg").is_file()
    assert f"Line: {out / 'line_nadir.png'}" in capsys.readouterr().out
    table = load(out).sort_values("C")
    (panel,) = fastcart.scanning.scan.ScanResult(out, {"ok": 6}, ["C", "TE"]).plot("nadir").axes
    assert (panel.get_xlabel(), panel.get_xscale()) == ("C", "log")
    assert panel.lines[0].get_xydata().tolist() == table[["C", "nadir"]].to_numpy().tolist()
    panel = line_plot(table, "pfs", axis="C", model=fastcart.models.get("li_lei")).axes[0]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("C (cells)", "Progression-free survival (days)")


def test_patients_who_share_a_value_are_a_median_and_a_band():
    table = pd.DataFrame(
        {"x": np.repeat([1.0, 2.0, 3.0], 11), "u": np.tile(np.arange(11.0), 3), "status": "ok"}
    )
    table["pfs"], table["censored"] = table["x"] * 10 + table["u"], table["x"] == 3.0
    table.loc[table["x"] == 2.0, ["pfs", "status"]] = [np.nan, "max_steps"]
    figure = line_plot(table, "pfs", axis="x")
    (panel,) = figure.axes
    assert panel.lines[0].get_ydata()[[0, 2]].tolist() == [15.0, 35.0]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["median", "5% to 95%", "censored", "not solved"]
    assert "has one value only" in refusal(line_plot, table.assign(x=1.0), "pfs", axis="x")
    assert "holds no numbers" in refusal(line_plot, table, "status", axis="x")
    assert "--axes X for a line" in refusal(drawn_axes, table.assign(v=table["u"]), ["x", "u", "v"], None)
    assert drawn_axes(table, ["x", "u", "v"], ["x"]) == ("x",)
