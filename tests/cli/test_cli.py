"""The command ``fastcart``: exit codes, one line for each error, files whole or not at all."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

import fastcart
from fastcart import Event, SolveOptions
from fastcart.cli import main
from fastcart.cli.arguments import add_solver_options, solver_options, whole_number
from fastcart.tables import storage

# the coarse model by its published scheme over two days: milliseconds
FAST = ("--engine", "published", "--t-end", "2")


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def fastcart_command(capsys):
    """Run the command line in this process."""

    def command(*arguments) -> Outcome:
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as error:  # from argparse
            code = error.code
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return command


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder with the patients ``p.csv`` and ``p.parquet``, as the current one."""
    monkeypatch.chdir(tmp_path)
    patients().to_csv("p.csv", index=False)
    patients().to_parquet("p.parquet", index=False)
    return tmp_path


INPUTS = ["p.csv", "p.parquet"]


def patients() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    return pd.DataFrame({"patient": ["c", "a", "b"], "TE": 10 ** rng.uniform(6, 8, 3), "C": 1e6})


def files(folder: Path) -> list[str]:
    """Names of all files, hidden ones too."""
    return sorted(entry.name for entry in folder.iterdir())


def assert_refused(outcome: Outcome, *words: str, code: int = 2) -> None:
    """Exit code 2, nothing on stdout, one sentence on stderr."""
    assert outcome.code == code
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("fastcart")
    assert outcome.err.endswith("\n")
    assert "Traceback" not in outcome.err
    assert "np." not in outcome.err
    for word in words:
        assert word in outcome.err


# --- models -----------------------------------------------------------------------------------------


def test_models_lists_every_model(fastcart_command):
    code, out, err = fastcart_command("models")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == fastcart.models.names()[:3]
    assert "7 states, 41 parameters, 200 days" in lines[0]


def test_models_as_json(fastcart_command):
    code, out, err = fastcart_command("models", "--json")
    assert (code, err) == (0, "")
    listed = json.loads(out)
    assert [m["name"] for m in listed] == fastcart.models.names()
    assert listed[0]["states"] == 7
    assert listed[0]["t_end"] == 200.0


@pytest.mark.parametrize("name", fastcart.models.names())
def test_description_of_a_model_names_all_that_can_be_given(fastcart_command, name):
    code, out, err = fastcart_command("models", name)
    assert (code, err) == (0, "")
    model = fastcart.models.get(name)
    for item in [*model.state_names, *model.parameter_names, *model.observable_names]:
        assert f"\n  {item} " in out
    assert all(reference in out for reference in model.references)


@pytest.mark.parametrize("name", fastcart.models.names())
def test_description_of_a_model_as_json(fastcart_command, name):
    code, out, err = fastcart_command("models", name, "--json")
    assert (code, err) == (0, "")

    def no_constants(text):
        raise AssertionError(f"{text} is not valid JSON")

    described = json.loads(out, parse_constant=no_constants)
    model = fastcart.models.get(name)
    assert {s["name"]: s["default"] for s in described["states"]} == model.default_states()
    assert {p["name"]: p["default"] for p in described["parameters"]} == model.default_parameters()
    assert described["burden"] == model.burden
    assert described["options"] == dict(model.options)


def test_option_is_shown(fastcart_command):
    outcome = fastcart_command("models", "li_lei", "--option", "killing=free")
    assert "Option killing = free" in outcome.out
    described = json.loads(fastcart_command("models", "li_lei", "--json", "--option", "killing=free").out)
    assert described["options"] == {"killing": "free", "binding": "root"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("li_lie",), ("'li_lie'", "Did you mean 'li_lei'?")),
        (("li_lei", "--option", "killing"), ("NAME=VALUE", "'killing'")),
        (("li_lei", "--option", "=free"), ("NAME=VALUE", "'=free'")),
        (("li_lei", "--option", "kiling=free"), ("'kiling'", "Did you mean 'killing'?")),
        (("li_lei", "--option", "killing=fre"), ("'fre'", "Did you mean 'free'?")),
    ],
)
def test_models_with_bad_input(fastcart_command, arguments, words):
    assert_refused(fastcart_command("models", *arguments), *words)


# --- the parser -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("mdels",),
        ("run",),
        ("run", "li_lei"),
        ("run", "li_lei", "--patients", "p.csv"),
        ("run", "li_lei", "--patients", "p.csv", "--out", "o.csv", "--t-end", "ten"),
        ("run", "li_lei", "--patients", "p.csv", "--out", "o.csv", "--threads", "1.5"),
        ("run", "li_lei", "--patients", "p.csv", "--out", "o.csv", "--keep"),
        ("run", "li_lei", "--patients", "p.csv", "--out", "o.csv", "--save-at", "1", "--save-every", "1"),
        ("models", "li_lei", "--jsno"),
    ],
)
def test_wrong_arguments_are_one_line_that_names_the_help(folder, fastcart_command, arguments):
    assert_refused(fastcart_command(*arguments), "--help")
    assert files(folder) == INPUTS


def test_errors_of_the_parser_raise_system_exit():
    with pytest.raises(SystemExit) as caught:
        main(["mdels"])
    assert caught.value.code == 2


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("models", "--help")])
def test_help(fastcart_command, arguments):
    outcome = fastcart_command(*arguments)
    assert outcome.code == 0
    assert outcome.out.startswith("usage: fastcart")


def test_version(fastcart_command):
    assert fastcart_command("--version") == Outcome(0, f"fastcart {fastcart.__version__}\n", "")


# --- run --------------------------------------------------------------------------------------------


@pytest.fixture
def run(folder, fastcart_command):
    """Run the coarse model; without paths from ``p.csv`` to ``o.csv``."""

    def command(*arguments, source="p.csv", out="o.csv", model="li_lei_coarse", fast=FAST) -> Outcome:
        return fastcart_command("run", model, "--patients", source, "--out", out, *fast, *arguments)

    return command


def expected(**options):
    return fastcart.solve("li_lei_coarse", patients(), engine="published", t_end=2.0, **options)


def test_csv_to_csv(folder, run):
    outcome = run()
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "3 patients: 3 ok.\nEndpoints: o.csv\n"
    assert files(folder) == ["o.csv", *INPUTS]
    reference = expected().endpoints.astype({"status": "str"})
    pd.testing.assert_frame_equal(pd.read_csv("o.csv"), reference, rtol=1e-14)


def test_parquet_to_parquet_bit_for_bit(folder, run):
    assert run(source="p.parquet", out="o.parquet").code == 0
    assert files(folder) == ["o.parquet", *INPUTS]
    endpoints = pd.read_parquet("o.parquet")
    pd.testing.assert_frame_equal(endpoints, expected().endpoints.astype({"status": "str"}), check_exact=True)


@pytest.mark.parametrize("engine", ["lsoda", "auto"])
def test_other_engines_bit_for_bit(folder, run, engine):
    fast = ("--engine", engine, "--t-end", "2.5", "--rtol", "1e-7", "--threads", "1")
    assert run(source="p.parquet", out="o.parquet", fast=fast).code == 0
    result = fastcart.solve("li_lei_coarse", patients(), engine=engine, t_end=2.5, rtol=1e-7)
    pd.testing.assert_frame_equal(
        pd.read_parquet("o.parquet"), result.endpoints.astype({"status": "str"}), check_exact=True
    )


def test_keep_copies_columns_to_the_endpoints(folder, run):
    patients().assign(arm=["x", "y", "x"], age=[50, 60, 70]).to_csv("q.csv", index=False)
    assert run("--keep", "arm", "age", source="q.csv").code == 0
    endpoints = pd.read_csv("o.csv")
    assert endpoints["arm"].tolist() == ["x", "y", "x"]
    assert endpoints["age"].tolist() == [50, 60, 70]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_trajectories_at_regular_times(folder, run, suffix):
    path = f"t{suffix}"
    outcome = run("--trajectories", path, "--save-every", "0.5", out=f"o{suffix}")
    assert outcome.code == 0
    assert outcome.out.endswith(f"Endpoints: o{suffix}\nTrajectories: {path}\n")
    table = pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path)
    reference = expected(save_at=[0.0, 0.5, 1.0, 1.5, 2.0]).trajectories
    pd.testing.assert_frame_equal(table, reference, rtol=1e-14)


def test_trajectories_at_given_times(folder, run):
    assert run("--trajectories", "t.parquet", "--save-at", "0.1,1.7", "--save", "C,TE").code == 0
    reference = expected(save_at=[0.1, 1.7]).trajectories[["patient", "t", "C", "TE"]]
    pd.testing.assert_frame_equal(pd.read_parquet("t.parquet"), reference, check_exact=True)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_sensitivities_and_slopes(folder, run, suffix):
    """What `fastcart.solve` gives, also where the patients come in several parts, and through doses."""
    table = pd.concat([patients(), patients().assign(patient=["d", "e", "f"])])
    table.to_parquet("p.parquet", index=False, row_group_size=2)
    doses = pd.DataFrame({"patient": ["a", "e"], "time": 2.0, "state": "TE", "amount": [1e6, 2e6]})
    doses.to_csv("d.csv", index=False)
    asked = dict(sensitivities=["lambda_C", "TE"], save_at=[1.0, 5.0], save=["C"], t_end=5.0)
    outcome = run(
        "--sensitivities", "lambda_C,TE", "--slopes", f"s{suffix}", "--save-at", "1,5", "--save", "C",
        "--doses", "d.csv", source="p.parquet", out=f"o{suffix}", fast=("--t-end", "5"),
    )  # fmt: skip
    assert outcome.code == 0
    assert outcome.out.endswith(f"Endpoints: o{suffix}\nSlopes: s{suffix}\n")
    reference = fastcart.solve("li_lei_coarse", table, doses=doses, **asked)
    read = pd.read_parquet if suffix == ".parquet" else partial(pd.read_csv, float_precision="round_trip")
    slopes = read(f"s{suffix}")
    pd.testing.assert_frame_equal(
        slopes.astype({"by": str}), reference.sensitivities.astype({"by": str}), check_exact=True
    )
    ends = read(f"o{suffix}")
    for name in ("d_final_C_d_TE", "d_final_TE_d_lambda_C"):
        assert ends[name].tolist() == reference.endpoints[name].tolist()


@pytest.mark.parametrize(
    ("t_end", "every", "count", "last"), [("2", "0.1", 21, 2.0), ("2", "0.3", 7, 1.8), ("1", "5", 1, 0.0)]
)
def test_regular_times_reach_the_horizon_and_not_beyond(folder, run, t_end, every, count, last):
    fast = ("--engine", "published", "--t-end", t_end)
    assert run("--trajectories", "t.parquet", "--save-every", every, fast=fast).code == 0
    times = pd.read_parquet("t.parquet")["t"].unique()
    assert len(times) == count
    assert times[-1] == pytest.approx(last, abs=1e-12)
    assert times[-1] <= float(t_end)


@pytest.mark.parametrize("killing", ["free", "total"])
def test_option_of_the_model(folder, run, killing):
    assert run("--option", f"killing={killing}", out="o.parquet").code == 0
    model = fastcart.models.get("li_lei_coarse", killing=killing)
    result = fastcart.solve(model, patients(), engine="published", t_end=2.0)
    assert pd.read_parquet("o.parquet")["final_C"].tolist() == result.endpoints["final_C"].tolist()


def test_quiet_prints_nothing(folder, run):
    assert run("--quiet") == Outcome(0, "", "")
    assert files(folder) == ["o.csv", *INPUTS]


def test_failed_patients_are_counted_and_explained(folder, run):
    pd.DataFrame({"TE": [1e7, 1e7], "lambda_C": [3.3, 1e308]}).to_csv("q.csv", index=False)
    outcome = run(source="q.csv")
    assert outcome.code == 3
    assert "2 patients: 1 ok." in outcome.out
    assert "1 non_finite: the right-hand side became NaN or infinite" in outcome.out


def test_force_replaces_an_existing_output(folder, run):
    Path("o.csv").write_text("old", encoding="utf-8")
    assert run("--force").code == 0
    assert len(pd.read_csv("o.csv")) == 3


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize("out", ["p.csv", "link.csv"])
def test_table_of_patients_is_never_replaced(folder, run, force, out):
    Path("link.csv").symlink_to("p.csv")
    before = Path("p.csv").read_bytes()
    assert_refused(run(*force, out=out), f"'{out}'", "patients itself")
    assert_refused(run("--trajectories", out, "--save-at", "1", *force), f"'{out}'", "patients itself")
    assert Path("p.csv").read_bytes() == before
    assert files(folder) == ["link.csv", *INPUTS]


# --- run refuses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_existing_output_is_not_touched(folder, run, suffix):
    path = Path(f"o{suffix}")
    path.write_text("old", encoding="utf-8")
    assert_refused(run(out=path), f"'o{suffix}'", "exists already", "--force")
    assert path.read_text(encoding="utf-8") == "old"


def test_existing_trajectories_are_not_touched(folder, run):
    Path("t.csv").write_text("old", encoding="utf-8")
    assert_refused(run("--trajectories", "t.csv", "--save-at", "1"), "'t.csv'", "--force")
    assert Path("t.csv").read_text(encoding="utf-8") == "old"
    assert files(folder) == [*INPUTS, "t.csv"]


GARBAGE = bytes(range(256)) * 8


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("q.csv", GARBAGE, ("cannot be read",)),
        ("q.parquet", GARBAGE, ("cannot be read",)),
        ("q.csv", b"", ("is empty", "header")),
        ("q.parquet", b"", ("cannot be read",)),
        ("q.csv", b"TE,C\n", ("empty", "at least one row")),
        ("q.csv", b"\0\0\0", ()),
        ("q.csv", "TE,µ\n1,2\n".encode("latin-1"), ("cannot be read",)),
        ("q.csv", b"TE|C\n1|2\n", ("'TE|C'", "separator")),
        ("q.csv", b"TE,C\n1,2,3\n", ()),
        ("q.csv", b"TE,C\n1,2\n1,2,3\n", ("cannot be read",)),
        ("q.csv", b"TE\nabc\n", ("'abc'", "row 1")),
        ("q.csv", b"TE\n1\nTrue\n", ("'True'", "row 2")),
        ("q.csv", b"TE\nTrue\n", ("'True'", "row 1")),
        ("q.csv", b"TE,C\n1,\n", ("empty cell", "row 1")),
        ("q.csv", b"TE\ninf\n", ("inf", "row 1")),
        ("q.csv", b"TE\n1e400\n", ("row 1",)),
        ("q.csv", b"TE\n" + b"9" * 400 + b"\n", ("'TE'",)),
        ("q.csv", b"TE\n-1\n", ("-1", "row 1")),
        ("q.csv", b"TE,TE\n1,2\n", ("TE",)),
        ("q.csv", b"Te\n1\n", ("'Te'", "Did you mean 'TE'?")),
        ("q.csv", b"patient,TE\n7,1\n7,1\n", ("id 7 ", "more than once")),
        ("q.txt", b"TE\n1\n", ("must end in .csv or .parquet",)),
    ],
)
def test_tables_of_patients_that_are_refused(folder, run, name, content, words):
    Path(name).write_bytes(content)
    assert_refused(run(source=name, out="o.parquet"), *words)
    assert files(folder) == [*INPUTS, name]


def test_parquet_without_rows(folder, run):
    patients().iloc[:0].to_parquet("q.parquet")
    assert_refused(run(source="q.parquet"), "empty", "at least one row")


def test_parquet_that_is_damaged_inside(folder, run):
    content = bytearray(Path("p.parquet").read_bytes())
    content[4:80] = b"\xff" * 76
    Path("q.parquet").write_bytes(bytes(content))
    assert_refused(run(source="q.parquet"), "'q.parquet'", "cannot be read")
    assert files(folder) == [*INPUTS, "q.parquet"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "missing.csv"}, ("'missing.csv'", "does not exist")),
        ({"source": "."}, ("folder",)),
        ({"out": "o.txt"}, ("'o.txt'", ".csv or .parquet")),
        ({"out": "o"}, ("'o'", ".csv or .parquet")),
        ({"out": "missing/o.csv"}, ("'missing'", "does not exist", "create it")),
        ({"out": "p.csv/o.csv"}, ("'p.csv'",)),
        ({"model": "li_lie_coarse"}, ("'li_lie_coarse'", "Did you mean 'li_lei_coarse'?")),
        ({"fast": ("--engine", "publshed")}, ("'publshed'", "Did you mean 'published'?")),
        ({"model": "li_lei_cytokines"}, ("no published scheme",)),
    ],
)
def test_paths_and_names_that_are_refused(folder, run, arguments, words):
    assert_refused(run(**arguments), *words)
    assert files(folder) == INPUTS


def test_output_that_is_a_folder(folder, run):
    Path("o.csv").mkdir()
    assert_refused(run("--force"), "'o.csv'", "is a folder")
    assert files(Path("o.csv")) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--save-at", "1"), ("--trajectories",)),
        (("--slopes", "s.csv", "--save-at", "1"), ("--slopes", "--sensitivities")),
        (("--slopes", "s.csv", "--sensitivities", "TE"), ("--slopes", "--save-every")),
        (("--slopes", "o.csv", "--sensitivities", "TE", "--save-at", "1"), ("different files",)),
        (("--sensitivities", "TEE"), ("'TEE'", "Did you mean 'TE'?")),
        (("--sensitivities", "TE"), ("'published' knows no sensitivities",)),
        (("--save", "C"), ("--trajectories",)),
        (("--trajectories", "t.csv", "--save-at", "1", "--save", "C,TEE"), ("'TEE'", "'TE'")),
        (("--save-every", "1"), ("--trajectories",)),
        (("--trajectories", "t.csv"), ("--save-every", "--save-at")),
        (("--trajectories", "o.csv", "--save-at", "1"), ("different files",)),
        (("--trajectories", "./o.csv", "--save-at", "1"), ("different files",)),
        (("--trajectories", "t.txt", "--save-at", "1"), ("'t.txt'", ".csv or .parquet")),
        (("--trajectories", "missing/t.csv", "--save-at", "1"), ("'missing'", "does not exist")),
        (("--trajectories", "t.csv", "--save-at", "1,x"), ("--save-at", "'1,x'", "numbers")),
        (("--trajectories", "t.csv", "--save-at", ""), ("--save-at", "numbers")),
        (("--trajectories", "t.csv", "--save-at", "1,0.5"), ("sorted",)),
        (("--trajectories", "t.csv", "--save-at", "1,5"), ("horizon 2", "5")),
        (("--trajectories", "t.csv", "--save-at", "0.15"), ("step of 0.1", "0.15")),
        (("--trajectories", "t.csv", "--save-every", "0"), ("--save-every", "positive")),
        (("--trajectories", "t.csv", "--save-every", "-1"), ("--save-every", "positive")),
        (("--trajectories", "t.csv", "--save-every", "nan"), ("--save-every", "positive")),
        (("--trajectories", "t.csv", "--save-every", "1e-9"), ("--save-every", "larger")),
        (("--trajectories", "t.csv", "--save-every", "1", "--t-end", "nan"), ("t_end", "positive")),
        (("--trajectories", "t.csv", "--save-every", "1", "--t-end", "inf"), ("t_end", "positive")),
        (("--t-end", "0"), ("t_end", "positive")),
        (("--t-end", "nan"), ("t_end", "positive")),
        (("--rtol", "0.2"), ("rtol", "[1e-14, 0.1]")),
        (("--atol", "-1"), ("atol", "positive")),
        (("--threads", "0"), ("threads", "from 1 on")),
        (("--method", "Radau"), ("'published'", "'Radau'", "rk4")),
        (("--keep", "amr"), ("'amr'", "keep")),
        (("--keep", "TE", "TE"), ("'TE'", "twice")),
        (("--option", "killing=fre"), ("'fre'", "Did you mean 'free'?")),
        (("--option", "killing"), ("NAME=VALUE",)),
    ],
)
def test_options_that_are_refused(folder, run, arguments, words):
    assert_refused(run(*arguments), *words)
    assert files(folder) == INPUTS


@pytest.mark.parametrize("out", ["o.csv", "o.parquet"])
def test_kept_columns_that_the_endpoints_have_already(folder, run, out):
    patients().assign(status="x", pfs=1.0).to_csv("q.csv", index=False)
    assert_refused(run("--keep", "status", "pfs", source="q.csv", out=out), "'status'", "keep")
    assert files(folder) == [*INPUTS, "q.csv"]


# --- run breaks off ---------------------------------------------------------------------------------


def break_second_write(monkeypatch, error: BaseException) -> None:
    """Let the second part that is written to a table raise an error."""
    monkeypatch.setattr(storage, "_BATCH_ROWS", 1)
    monkeypatch.setattr(storage.TableWriter, "write", _breaking(storage.TableWriter.write, error))


def _breaking(write, error):
    def broken(self, part):
        if self._started:
            raise error
        write(self, part)

    return broken


TRAJECTORIES = ("--trajectories", "t.parquet", "--save-at", "1")


@pytest.mark.parametrize("out", ["o.csv", "o.parquet"])
def test_error_while_writing_leaves_no_file(folder, run, monkeypatch, out):
    break_second_write(monkeypatch, RuntimeError("broken"))
    outcome = run(*TRAJECTORIES, source="p.parquet", out=out)
    assert outcome.code == 1
    assert "(RuntimeError: broken); please report it" in outcome.err
    assert files(folder) == INPUTS


@pytest.mark.parametrize("out", ["o.csv", "o.parquet"])
def test_full_disk_is_one_line_and_leaves_no_file(folder, run, monkeypatch, out):
    break_second_write(monkeypatch, OSError(28, "No space left on device"))
    outcome = run(*TRAJECTORIES, source="p.parquet", out=out)
    assert_refused(outcome, "No space left on device", code=1)
    assert not outcome.err.rstrip("\n").endswith((":", " "))
    assert files(folder) == INPUTS


@pytest.mark.parametrize("out", ["o.csv", "o.parquet"])
def test_interrupt_leaves_no_file_and_exits_with_130(folder, run, monkeypatch, out):
    break_second_write(monkeypatch, KeyboardInterrupt())
    outcome = run(*TRAJECTORIES, source="p.parquet", out=out)
    assert outcome.code == 130
    assert "interrupted; no output file was written" in outcome.err
    assert "Traceback" not in outcome.err
    assert files(folder) == INPUTS


def test_interrupt_leaves_the_old_file(folder, run, monkeypatch):
    Path("o.csv").write_text("old", encoding="utf-8")
    break_second_write(monkeypatch, KeyboardInterrupt())
    assert run("--force", source="p.parquet").code == 130
    assert Path("o.csv").read_text(encoding="utf-8") == "old"


# --- a real process ---------------------------------------------------------------------------------


def test_the_command_in_a_process_of_its_own(folder):
    command = [sys.executable, "-m", "fastcart", "run", "li_lei_coarse", "--patients", "p.csv", *FAST]
    done = subprocess.run(
        [*command, "--out", "o.parquet"], capture_output=True, text=True, check=False, cwd=folder
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "3 patients: 3 ok.\nEndpoints: o.parquet\n"
    again = subprocess.run(
        [*command, "--out", "o.parquet"], capture_output=True, text=True, check=False, cwd=folder
    )
    assert_refused(Outcome(again.returncode, again.stdout, again.stderr), "--force")
    assert pd.read_parquet("o.parquet")["final_C"].tolist() == expected().endpoints["final_C"].tolist()


def test_extinction_on_the_command_line(tmp_path, capsys):
    patients, out = tmp_path / "patients.csv", tmp_path / "out.csv"
    patients.write_text("T4\n1e4\n5e4\n")
    arguments = ["run", "li_lei", "--patients", str(patients), "--out", str(out)]
    assert main([*arguments, "--extinction", "1"]) == 0
    assert pd.read_csv(out)["cured"].tolist() == [False, True]  # nadirs of 2.9 and 0.007 cells
    assert main([*arguments, "--force", "--extinction", "off"]) == 0
    assert not pd.read_csv(out)["cured"].any()
    for wrong in ("soon", "-1", "nan"):
        capsys.readouterr()
        assert main([*arguments, "--force", "--extinction", wrong]) == 2
        assert "xtinction" in capsys.readouterr().err


SOLVING = {"run": "--method", "scan": "--method", "sensitivity": "--solver-method",
           "optimize": "--solver-method"}  # fmt: skip


@pytest.mark.parametrize("command", SOLVING)
def test_every_command_that_solves_has_all_flags_of_the_solver(fastcart_command, command):
    text = fastcart_command(command, "--help").out
    flags = [f"--{option.name.replace('_', '-')}" for option in fields(SolveOptions)]
    flags = ["--event" if f == "--events" else SOLVING[command] if f == "--method" else f for f in flags]
    for flag in flags:
        assert f"\n  {flag} " in text, flag


def test_flags_become_options_of_the_solver():
    parser = argparse.ArgumentParser()
    add_solver_options(parser)
    assert solver_options(parser.parse_args([])) == {}
    given = (
        "--t-end 8 --engine lanes --method vern7 --rtol 1e-7 --atol 2 --peaks C,E --auc C --breaks 5,start "
        "--event low:C:50:down:stop --event high:C:x --max-steps 9 --max-step 0.5 --extinction off"
    )
    assert solver_options(parser.parse_args(given.split())) == {
        "t_end": 8.0, "engine": "lanes", "method": "vern7", "rtol": 1e-7, "atol": 2.0, "peaks": ["C", "E"],
        "auc": ["C"], "events": [Event("low", "C", 50.0, "down", True), Event("high", "C", "x")],
        "max_steps": 9, "max_step": 0.5, "breaks": [5.0, "start"], "extinction": None,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["1_0", "1.0", "\u0661", "ten", ""])
def test_whole_numbers_are_written_in_digits_alone(fastcart_command, text):
    outcome = fastcart_command("optimize", "li_lei", "--vary", "TE=1:2", "--out", "o", "--seed", text)
    assert outcome.code == 2
    assert f"argument --seed: {text!r} is no whole number" in outcome.err
    assert whole_number(" -7 ") == -7


def test_a_part_of_a_flag_is_no_flag(tmp_path, capsys):
    out = str(tmp_path / "out.csv")
    with pytest.raises(SystemExit, match="2"):
        main(["run", "li_lei", "--patients", "none.csv", "--out", out, "--engin", "lsoda"])
    assert "did you mean '--engine'?" in capsys.readouterr().err


def test_a_warning_of_fastcarts_is_a_sentence(capsys):
    """Without the line that warns, which says nothing to a user."""
    from fastcart.cli import command_line

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with command_line._messages():
            warnings.warn_explicit("Doses are late.", UserWarning, fastcart.__file__, 1)
    assert capsys.readouterr().err == "fastcart: Doses are late.\n"


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ("run li_lei -patients 5", "--patients"), ("run li_lei --patients x.csv -out=y.csv", "--out"),
        ("optimize li_lei -seed 1", "--seed"), ("trial -init x.toml", "--init"), ("run -help", "--help"),
        ("run li_lei --patients x.csv --out y.csv -rtol 1e-3", "--rtol"), ("-version", "--version"),
        ("run li_lei \u2014patients 5", "--patients"), ("run li_lei \u2013\u2013patients=5", "--patients"),
        ("sensitivity li_lei -n 64", "--n"),
    ],
)  # fmt: skip
def test_a_flag_with_other_dashes_is_a_misspelt_one(given, flag, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(given.split())
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"did you mean '{flag}'?" in said


def test_a_negative_number_is_no_flag(capsys):
    assert main(["sensitivity", "li_lei", "--fixed", "-5", "--out", "y"]) == 2
    assert "must read NAME=VALUE, not '-5'" in capsys.readouterr().err


def test_every_flag_says_what_it_is():
    from fastcart.cli.command_line import _parser

    (commands,) = (a.choices for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name, parser in commands.items():
        for action in parser._actions:
            assert action.help, (name, action.option_strings or action.dest)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--bogus"], "fastcart: unknown argument: --bogus; see"),  # not what it would do with a command
        (["models", "li_lei", "--bogus"], "unknown argument: --bogus; see"),  # rather than a far one
        (["sensitivity", "li_lei", "-o"], "unknown argument: -o; see"),  # --outputs or --out
        (["run", "li_lei", "-q"], "unknown argument: -q (did you mean '--quiet'?); see"),
        (["sensitivity", "li_lei", "--ranges", "-10%", "--out", "x"],
         "argument --ranges needs a value; '-10%' looks like a flag, write --ranges=-10%; see"),
        (["run", "li_lei", "--out"], "argument --out needs a value; see"),
        (["run", "li_lei", "--out", "--force"], "argument --out needs a value; see"),
    ],
)  # fmt: skip
def test_arguments_that_argparse_does_not_explain(given, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(given)
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_flags_of_the_program_itself_are_looked_at(tmp_path):
    done = subprocess.run([sys.executable, "-m", "fastcart", "-verson"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "unknown argument: -verson (did you mean '--version'?)" in done.stderr


@pytest.mark.parametrize("value", ["-1e3", "-5", "-.5", "-2.5e-3"])
def test_negative_numbers_are_values(value, capsys):
    arguments = ["optimize", "li_ley", "--vary", "T4=1:2", "--seed", "1", "--out", "x", "--target", value]
    assert main(arguments) == 2
    assert "There is no model 'li_ley'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "meant"), [("solve", "run"), ("simulate", "run"), ("pareto", "optimize")]
)
def test_usual_names_of_commands_are_pointed_to_ours(capsys, command, meant):
    with pytest.raises(SystemExit, match="2"):
        main([command, "li_lei"])
    assert f"there is no command {command!r} (did you mean {meant!r}?)" in capsys.readouterr().err
