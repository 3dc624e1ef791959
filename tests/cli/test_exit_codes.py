"""What a command's exit code says, and that an error is one sentence."""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import slow_but

import fastcart
from fastcart.cli import command_line as cli
from fastcart.cli import main
from fastcart.errors import MissingDependencyError, OutputError, PatientsFailed, require
from fastcart.solvers import interrupts, published
from fastcart.solvers.kernel_cache import KernelCache

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
COMMAND = [sys.executable, "-m", "fastcart"]
FAST = ("--engine", "published", "--t-end", "2")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"patient": [1, 2, 3], "TE": [1e6, 2e6, 3e6], "C": 1e6}).to_csv("p.csv", index=False)
    # cells that die within 1e-11 days are beyond a fixed step of hours
    pd.DataFrame({"patient": [1, 2], "d_TE": [0.18, 1e11]}).to_csv("bad.csv", index=False)
    return tmp_path


@pytest.fixture
def act(monkeypatch, capsys):
    """Run a command whose action is the given function; return the exit code, stdout and stderr."""

    def run(action, *arguments: str):
        def parser():
            made = argparse.ArgumentParser()
            made.add_argument("--debug", action="store_true")
            made.set_defaults(action=action)
            return made

        monkeypatch.setattr(cli, "_parser", parser)
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def raising(error: BaseException):
    def action(options):
        raise error

    return action


def one_line(err: str) -> str:
    (line,) = err.splitlines()
    assert line.startswith("fastcart: ")
    return line


# --- every kind of end ------------------------------------------------------------------------------


def test_all_solved(act):
    assert act(lambda options: 0) == (0, "", "")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (fastcart.InputError("bad."), 2, "bad."),
        (OutputError("full."), 1, "full."),
        (MissingDependencyError("missing."), 2, "missing."),
        (OSError(errno.ENOSPC, "No space left on device", "t.csv"), 1, "No space left on device: t.csv"),
        (PermissionError(errno.EACCES, "Permission denied"), 1, "Permission denied"),
        (MemoryError(), 1, "the memory is used up"),
        (ZeroDivisionError("division by zero"), 1, "(ZeroDivisionError: division by zero); please report it"),
        (RecursionError("too deep\nin two lines"), 1, "(RecursionError: too deep); please report it"),
        (AssertionError(), 1, "an error of fastcart itself (AssertionError: AssertionError)"),
        (SystemExit(0), 1, "SystemExit"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_error_is_one_sentence_and_a_code(act, monkeypatch, error, code, words):
    monkeypatch.delenv("FASTCART_DEBUG", raising=False)
    found, out, err = act(raising(error))
    assert (found, out) == (code, "")
    assert words in one_line(err)


def test_traceback_only_where_it_is_asked_for(act, monkeypatch):
    monkeypatch.delenv("FASTCART_DEBUG", raising=False)
    for arguments, variable in ((("--debug",), None), ((), "1")):
        if variable is not None:
            monkeypatch.setenv("FASTCART_DEBUG", variable)
        code, _, err = act(raising(ZeroDivisionError("x")), *arguments)
        assert code == 1
        assert err.count("Traceback (most recent call last)") == 1
        assert "please report it" in err
    monkeypatch.setenv("FASTCART_DEBUG", "0")
    assert "Traceback" not in act(raising(ZeroDivisionError("x")))[2]


def test_interrupted(act):
    code, out, err = act(raising(KeyboardInterrupt()))
    assert (code, out, err) == (130, "", "\nfastcart: interrupted; no output file was written.\n")


def test_terminated(act):
    def action(options):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    code, out, err = act(action)
    assert (code, out, err) == (130, "", "\nfastcart: ended; no output file was written.\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_patients_that_were_not_solved_are_3_even_where_warnings_are_errors(act):
    def action(options):
        warnings.warn(PatientsFailed({"ok": 3, "max_steps": 1}), stacklevel=1)
        print("written")
        return 0

    code, out, err = act(action)
    assert (code, out) == (3, "written\n")
    assert "1 of 4 patients was not solved (1 max_steps)" in one_line(err)


def test_the_help_documents_every_code(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for code in ("0", "1", "2", "3", "130"):
        assert f"\n  {code} " in text


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_takes_debug(command):
    assert cli._parser().parse_args(["--debug", "models"]).debug
    assert not cli._parser().parse_args(["models"]).debug
    arguments = {
        "run": ["li_lei", "--patients", "p", "--out", "o"], "scan": ["s", "--out", "o"],
        "sensitivity": ["m", "--out", "o"],
        "optimize": ["m", "--out", "o", "--seed", "1", "--vary", "x=1:2"], "trial": ["s", "--out", "o"],
        "fit": ["s", "--out", "o"], "petab": ["p", "--out", "o"], "reproduce": ["w", "--out", "o"],
        "compare": ["m", "--dose", "1", "--out", "o"],
    }.get(command, [])  # fmt: skip
    assert cli._parser().parse_args([command, *arguments, "--debug"]).debug


# --- commands ---------------------------------------------------------------------------------------


def test_run(folder, capsys):
    assert main(["run", "li_lei_coarse", "--patients", "p.csv", "--out", "o.csv", *FAST]) == 0
    capsys.readouterr()
    assert main(["run", "li_lei_coarse", "--patients", "bad.csv", "--out", "b.csv", *FAST]) == 3
    captured = capsys.readouterr()
    assert "1 of 2 patients was not solved" in one_line(captured.err)
    assert pd.read_csv("b.csv")["status"].tolist()[0] == "ok"
    assert len(pd.read_csv("b.csv")) == 2


FIT = """
model = "cart_kinetics"
data = "p.csv"
observation = [{ dvid = "cells", prediction = "cells", error = "lognormal" }]
population = { random = ["Cmax"] }
"""
SCAN = """
model = "li_lei_coarse"
patients = "{patients}"
[solve]
engine = "published"
t_end = 2
"""


def test_scan(folder, capsys):
    for name, code in (("p", 0), ("bad", 3)):
        (folder / "scan.toml").write_text(SCAN.format(patients=f"{name}.csv"))
        assert main(["scan", "scan.toml", "--out", name, "--quiet"]) == code
        assert main(["scan", "scan.toml", "--out", name, "--quiet", "--resume"]) == code
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("1 of 2 patients was not solved") == (2 if code else 0)  # each time
        assert bool(said.err) == bool(code)
        assert len(fastcart.scanning.scan.load(name)) == (2 if code else 3)


def test_sensitivity(folder, capsys):
    study = [
        "sensitivity",
        "li_lei_coarse",
        "--n",
        "20",
        "--engine",
        "published",
        "--t-end",
        "2",
        "--no-plots",
    ]
    assert main([*study, "--out", "a"]) == 0
    assert main([*study, "--out", "b", "--ranges", "d_TE=1e11:1e12"]) == 3
    assert (folder / "b" / "counts.csv").exists()


def test_optimize(folder, capsys):
    search = [
        "optimize", "li_lei_coarse", "--seed", "1", "--particles", "3", "--iterations", "2", "--engine",
        "published", "--t-end", "2", "--maximize", "final", "--vary", "TE=1e6:1e7",
    ]  # fmt: skip
    assert main([*search, "--out", "a"]) == 0
    pd.DataFrame({"d_TE": [0.18, 1e11]}).to_csv("each.csv", index=False)
    assert main([*search, "--out", "b", "--for-each", "each.csv"]) == 3
    assert len(pd.read_csv("b/best.csv")) == 2


# --- a real process ---------------------------------------------------------------------------------


def run(*arguments: str, **options):
    return subprocess.run(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, check=False, text=True, env=ENVIRONMENT, **options
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_output_to_a_full_device():
    with Path("/dev/full").open("w") as full:
        done = run("models", stdout=full)
    assert done.returncode == 1
    assert "No space left on device" in one_line(done.stderr)


@pytest.mark.parametrize("arguments", [["models"], ["models", "li_lei"], ["--help"]])
def test_reader_that_has_seen_enough(arguments):
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() in (0, 1)


def test_terminated_process_leaves_no_half_written_file(folder):
    pd.DataFrame({"TE": np.geomspace(1e6, 1e7, 4000), "C": 1e6}).to_csv("many.csv", index=False)
    with subprocess.Popen(
        [*COMMAND, "run", "li_lei_coarse", "--patients", "many.csv", "--out", "o.csv", "--engine", "scipy"],
        stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while not list(folder.glob(".o.csv.*.part")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
        assert process.stderr.read().strip() == "fastcart: ended; no output file was written."
    assert sorted(path.name for path in folder.iterdir()) == ["bad.csv", "many.csv", "p.csv"]


# --- extras -----------------------------------------------------------------------------------------


def without(monkeypatch, *packages: str) -> None:
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def test_missing_packages_are_asked_for_all_at_once(monkeypatch):
    without(monkeypatch, "pymoo", "matplotlib", "statsmodels")
    with pytest.raises(MissingDependencyError) as caught:
        require("This", ["numpy", "pymoo", "matplotlib", "statsmodels"])
    assert str(caught.value) == (
        "This needs the packages 'pymoo', 'matplotlib' and 'statsmodels', which are not installed; install "
        "them with: pip install 'fastcart[optimize,plot,trial]'"
    )
    with pytest.raises(
        MissingDependencyError, match=r"the package 'pymoo', which is .* 'fastcart\[optimize\]'$"
    ):
        require("This", ["pymoo"])


@pytest.mark.parametrize(
    ("arguments", "packages"),
    [
        (["run", "li_lei", "--patients", "p.parquet", "--out", "o.csv"], ["pyarrow"]),
        (["scan", "scan.toml", "--out", "o", "--plot", "pfs", "--scheduler", "tcp://localhost:1"],
         ["pyarrow", "matplotlib", "dask", "distributed"]),
        (["sensitivity", "li_lei", "--method", "sobol", "--format", "parquet", "--out", "o"],
         ["matplotlib", "pyarrow", "SALib"]),
        (["optimize", "li_lei", "--maximize", "pfs", "--minimize", "TE", "--vary", "TE=1:2", "--seed", "1",
          "--for-each", "x.parquet", "--out", "o"], ["pyarrow", "pymoo"]),
        (["optimize", "li_lei", "--method", "cmaes", "--vary", "TE=1:2", "--seed", "1", "--out", "o"],
         ["cmaes"]),
        (["trial", "trial.toml", "--out", "o"], ["statsmodels", "matplotlib", "pyarrow"]),
        (["fit", "fit.toml", "--out", "o"], ["matplotlib"]),
        (["reproduce", "t-cell-theories", "--out", "o"], ["matplotlib", "SALib"]),
        (["reproduce", "srct", "--out", "o"], ["statsmodels", "matplotlib", "pyarrow"]),
        (["reproduce", "li-lei-2025", "--out", "o"], ["matplotlib", "SALib"]),
    ],
)  # fmt: skip
def test_commands_ask_for_all_that_they_will_need(folder, monkeypatch, capsys, arguments, packages):
    (folder / "trial.toml").write_text('[trial]\ntreatments = ["A5"]\n')
    (folder / "fit.toml").write_text(FIT)
    without(monkeypatch, *packages)
    assert main(arguments) == 2
    line = one_line(capsys.readouterr().err)
    for package in packages:
        assert repr(package) in line
    assert not (folder / "o").exists()


# --- signals and streams at awkward moments ---------------------------------------------------------


@pytest.fixture
def lost_signal():
    """Send a signal to this process from a callback of C, in which Python ignores exceptions."""
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int)

    @kind
    def callback(number):
        signal.raise_signal(number)
        for _ in range(1000):  # the handler runs before this ends
            pass

    return callback


@pytest.mark.parametrize(("number", "word"), [(signal.SIGTERM, "ended"), (signal.SIGINT, "interrupted")])
def test_signal_in_a_callback_of_c_ends_the_run(folder, capsys, monkeypatch, lost_signal, number, word):
    solve_chunk = published.solve_chunk

    def solved(*arguments):
        lost_signal(number)
        return solve_chunk(*arguments)

    monkeypatch.setattr(published, "solve_chunk", solved)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    try:
        code = main(["run", "li_lei_coarse", "--patients", "p.csv", "--out", "o.csv", *FAST])
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 130
    assert capsys.readouterr().err.strip() == f"fastcart: {word}; no output file was written."
    assert not list(folder.glob("*o.csv*"))
    monkeypatch.undo()
    os.chdir(folder)
    assert main(["run", "li_lei_coarse", "--patients", "p.csv", "--out", "o.csv", *FAST]) == 0


def test_signal_that_is_lost_behind_the_last_batch_is_no_success(act, lost_signal):
    code, _, err = act(lambda options: lost_signal(signal.SIGTERM) or 0)
    assert code == 130
    assert "what was written is complete" in one_line(err.strip())


def test_half_a_kernel_after_a_signal_is_no_full_disk(tmp_path, caplog):
    cache = KernelCache(tmp_path / "kernel.py", "stamp")

    def half():
        raise RuntimeError("no compiled object yet")

    interrupts.request(KeyboardInterrupt())
    try:
        with pytest.raises(KeyboardInterrupt):
            cache._quietly(half)
    finally:
        interrupts.forget()
    assert not caplog.records


@pytest.mark.skipif(os.name != "posix", reason="streams are closed by a shell")
@pytest.mark.parametrize("closed", slow_but([">&- 2>&-"], [">&-", "2>&-", ">&- 2>&-"]))
def test_closed_streams(folder, closed):
    for arguments in ("models", "run li_lei_coarse --patients p.csv --out o.csv --force " + " ".join(FAST)):
        command = f'"{sys.executable}" -m fastcart {arguments} {closed}'
        done = subprocess.run(command, shell=True, capture_output=True, text=True, env=ENVIRONMENT)
        assert (done.returncode, done.stderr) == (0, "")
    assert len(pd.read_csv("o.csv")) == 3
