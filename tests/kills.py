"""Kill a command at random moments, go on, and compare with a run that nobody disturbed.

``python tests/kills.py scan 20 --seed 3`` kills a scan twenty times; the tests do a few of these.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastcart.cli import main as command

SCAN = """
model = "li_lei_coarse"
chunk = 200
[sample]
method = "random"
n = 4000
seed = 3
columns = {TE = {uniform = [1e6, 1e7]}, C = {log_uniform = [1e5, 1e7]}}
"""
TRIAL = """
arms = ["A0", "A5"]
[population]
patients = 20
calibrate = false
seed = 4
[trial]
treatments = ["A5"]
n_per_arm = 8
cutoff = 900
[power]
sizes = [10]
replicates = 20
[frontier]
doses = [1e6, 1e7, 1e8, 1e9]
"""
COARSE = ["li_lei_coarse", "--out", "OUT"]
COMMANDS = {
    "scan": ["scan", "scan.toml", "--out", "OUT"],
    "sensitivity": [
        "sensitivity",
        *COARSE,
        "--outputs",
        "ln_C@0:100:1",
        "--n",
        "1500",
        "--resamples",
        "5",
        "--no-plots",
        "--samples",
    ],
    "optimize": [
        "optimize",
        *COARSE,
        "--vary",
        "TE=1e6:1e7",
        "--vary",
        "TM=10:1e4:log",
        "--constraint",
        "TE + TM <= 9e6",
        "--maximize",
        "pfs",
        "--seed",
        "1",
        "--particles",
        "500",
        "--iterations",
        "30",
    ],
    "trial": ["trial", "trial.toml", "--out", "OUT"],
    "reproduce": ["reproduce", "li-lei-2025", "--figures", "2", "--sample", "1000", "--out", "OUT"],
    "run": [
        "run",
        "li_lei_coarse",
        "--patients",
        "patients.csv",
        "--out",
        "OUT.parquet",
        "--trajectories",
        "OUT.csv",
        "--save-every",
        "5",
    ],
}


@dataclass
class Study:
    """A command with what it reads, in a folder of its own, and what it makes when nobody disturbs it."""

    kind: str
    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "scan.toml").write_text(SCAN)
        (self.folder / "trial.toml").write_text(TRIAL)
        doses = np.geomspace(1e6, 1e7, 6000)
        lines = [f"{k},{dose!r},1e6" for k, dose in enumerate(doses.tolist())]
        (self.folder / "patients.csv").write_text("\n".join(["patient,TE,C", *lines, ""]))
        self.inputs = {path.name for path in self.folder.iterdir()}
        here = Path.cwd()
        os.chdir(self.folder)
        try:  # in this process: it compiles
            with contextlib.redirect_stdout(io.StringIO()):
                assert command([word.replace("OUT", "whole") for word in COMMANDS[self.kind]]) == 0
        finally:
            os.chdir(here)
        self.remove("whole")
        start = time.monotonic()
        self.finish("whole")
        self.seconds = time.monotonic() - start
        self.whole = self.contents("whole")
        self.remove("whole")

    def start(self, name: str, *more: str) -> int:
        """Begin the command with its output under a name; return the process.

        It is forked from this one, which has compiled everything, so that a kill falls into the work itself.
        """
        words = [word.replace("OUT", name) for word in COMMANDS[self.kind]]
        sys.stdout.flush()
        process = os.fork()
        if process:
            return process
        try:
            os.chdir(self.folder)
            for descriptor, file in ((1, os.devnull), (2, f"{self.folder}.told")):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
            sys.stdout, sys.stderr = (os.fdopen(k, "w") for k in (1, 2))
            code = command([*words, *more])
            sys.stderr.flush()
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            sys.stderr.flush()
            code = 99
        os._exit(code)

    def finish(self, name: str, *more: str) -> None:
        """Run the command to its end."""
        _, status = os.waitpid(self.start(name, *more), 0)
        told = Path(f"{self.folder}.told").read_text()
        assert os.waitstatus_to_exitcode(status) == 0, told
        # a kill between a checksum and its file costs a part, and that is said
        assert all("missing or damaged, so" in line for line in told.splitlines()), told

    def remove(self, name: str) -> None:
        """Remove what a run has made."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        for file in self.folder.glob(f"{name}.*"):
            file.unlink()

    def contents(self, name: str) -> dict[str, bytes]:
        """Return all that lies in the folder beside the inputs, hidden files too."""
        return {
            str(path.relative_to(self.folder)).replace(name, "OUT", 1): _undated(path)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.name not in self.inputs
        }

    def kill(self, name: str, share: float, *more: str) -> bool:
        """Begin, or go on; kill after a share of the usual time; return whether it was still running."""
        process = self.start(name, *more)
        time.sleep(share * self.seconds)
        os.kill(process, signal.SIGKILL)  # nothing, where it has ended and nobody has waited for it yet
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, -signal.SIGKILL), Path(f"{self.folder}.told").read_text()
        return code != 0


def _undated(path: Path) -> bytes:
    """Return a file without the time at which a report was made."""
    data = path.read_bytes()
    if path.name == "report.html":
        return re.sub(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC", b"", data)
    if path.name == "report.md":  # which says how long it took, too
        return re.sub(rb"\| (Date|Wall time) \|.*", b"", data)
    if path.name == "checksums.sha256":
        return b"".join(line for line in data.splitlines(True) if not line.endswith(b"report.html\n"))
    return data


def disturbed(study: Study, kills: int, seed: int, most: int = 4) -> int:
    """Kill a study so many times in all; return how many runs it took.

    Every run is killed one to ``most`` times, is then let go on to its end, and must leave the same files as
    the undisturbed one, byte for byte, and no others.
    """
    rng = np.random.default_rng([seed, sorted(COMMANDS).index(study.kind)])
    resume = () if study.kind in ("run", "reproduce") else ("--resume",)
    done = runs = 0
    while done < kills:
        runs += 1
        name = f"killed{runs}"
        moments = []
        for _ in range(int(rng.integers(1, most + 1))):
            share = float(rng.uniform(0.0, 1.02))
            killed = study.kill(name, share, *resume)
            if not killed:
                break
            moments.append(round(share, 3))
            done += 1
            if done == kills:
                break
        if killed or resume:
            study.finish(name, *resume)
        found = study.contents(name)
        if found != study.whole:
            differ = {k for k in {*found, *study.whole} if found.get(k) != study.whole.get(k)}
            raise AssertionError(
                f"{study.kind}, run {runs}, seed {seed}, killed at {moments}: {sorted(differ)}"
            )
        study.remove(name)
        assert runs < 20 * kills + 20, "the study ends before it can be killed"
    return runs


def main() -> None:
    """Kill from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=[*COMMANDS, "all"])
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for kind in COMMANDS if options.kind == "all" else [options.kind]:
        with tempfile.TemporaryDirectory() as folder:
            study = Study(kind, Path(folder))
            runs = disturbed(study, options.kills, options.seed)
        told = {"kind": kind, "kills": options.kills, "runs": runs, "seconds": round(study.seconds, 1)}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
