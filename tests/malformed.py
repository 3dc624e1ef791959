"""Malformed inputs without end: each must be refused by one sentence, or be no error at all.

``python tests/malformed.py 1500 --seed 7`` tries so many; the tests try a few hundred.
"""

# ruff: noqa: E501
from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastcart.cli import main as command

SECONDS = 30.0  # of the longest; on a busy machine

SCAN = {
    "model": "li_lei_coarse", "outputs": ["pfs", "final"], "chunk": 5,
    "sample": {
        "method": "random", "n": 12, "seed": 1,
        "columns": {
            "TE": {"uniform": [1e6, 1e7]}, "k_TE": {"log_uniform": [2.0, 4.0]}, "C": {"normal": [1e6, 1e5]},
            "TM": 100.0, "dose": {"log_normal": [1e6, 0.3]},
        },
        "correlation": [["C", "dose", 0.3]],
    },
    "doses": [{"time": 1.0, "state": "TE", "amount": "dose"}, {"time": 1.5, "state": "TM", "amount": 5.0, "every": 0.2, "repeats": 2}],
    "solve": {"engine": "published", "t_end": 2.0, "rtol": 1e-6, "max_steps": 1000},
    "model_options": {"killing": "free"},
}  # fmt: skip
GRID = {
    "model": "li_lei_coarse",
    "sample": {"method": "grid", "columns": {"TE": {"geomspace": [1e6, 1e7, 3]}, "C": {"linspace": [1e6, 2e6, 2]}, "TM": [1.0, 2.0]}},
    "events": [{"name": "low", "of": "C", "threshold": 1e5, "direction": "down", "terminal": True, "after": 0.5}],
    "keep": [], "solve": {"engine": "published", "t_end": 1.0, "peaks": ["killing_TE"], "auc": ["C"], "extinction": 1.0},
}  # fmt: skip
TRIAL = {
    "title": "t", "arms": ["A0", "A5", "B1"],
    "population": {"patients": 20, "calibrate": False, "seed": 4, "het": 1.0, "sample": 50},
    "trial": {"treatments": ["A5"], "n_per_arm": 10, "accrual": 365.0, "cutoff": 900.0, "dropout": 0.05},
    "power": {"sizes": [20], "replicates": 5}, "frontier": {"doses": [1e6, 1e7, 1e8]},
    "arm": [{
        "name": "B1", "title": "x", "infusions": [{"day": 0, "effectors": "1/2", "memory": 0.5}, {"day": 7, "effectors": 0.5, "memory": 0.5}],
        "lymphodepletions": [{"day": 1, "phi": 0.5}],
    }],
}  # fmt: skip
PATIENTS = "patient,TE,C\n1,1e6,1e6\n2,2e6,1e6\n3,3e6,2e6\n"
DOSES = "time,state,amount,patient\n0.5,TE,1e5,1\n1.5,TE,1e5,2\n"
FAST = ["--engine", "published", "--t-end", "2"]
# some are refused as they are, behind all that is read: engine 'published' looks for no peaks, and a trial
# would take minutes
COMMANDS = [
    ["models", "li_lei", "--option", "killing=free"],
    ["models", "--json"],
    ["run", "li_lei_coarse", "--patients", "p.csv", "--out", "o.csv", "--doses", "d.csv", *FAST, "--option", "killing=free"],
    ["run", "li_lei_coarse", "--patients", "p.csv", "--out", "o.parquet", "--t-end", "1", "--peaks", "killing_TE", "--auc", "C",
     "--event", "low:C:1e5:down:stop", "--extinction", "1", "--rtol", "1e-6", "--atol", "1", "--threads", "1", "--engine", "published"],
    ["run", "li_lei_coarse", "--patients", "p.csv", "--out", "o.csv", "--trajectories", "t.csv", "--save-every", "0.5",
     "--save", "C,TE", *FAST],
    ["run", "li_lei_coarse", "--patients", "p.csv", "--out", "o.csv", "--trajectories", "t.csv", "--save-at", "0.5,1", *FAST],
    ["run", "t_cell", "--patients", "q.csv", "--out", "o.csv", "--preset", "unified", "--scenario", "acute", "--t-end", "0.1",
     "--engine", "scipy"],
    ["scan", "scan.toml", "--out", "out", "--plot", "pfs", "--axes", "TE,C"],
    ["scan", "grid.toml", "--out", "out", "--plot", "pfs", "--axes", "TE,C"],
    ["sensitivity", "li_lei_coarse", "--out", "out", "--method", "pearson", "--outputs", "pfs,ln_C@0:2:1", "--n", "20",
     "--ranges", "10%,TE=1e6:1e7,k_TE=20%", "--fixed", "TM=50", "--where", "pfs > 1", "--resamples", "5", "--confidence", "0.9",
     "--seed", "1", "--no-plots", "--doses", "e.csv", "--censored", "drop", "--format", "csv", *FAST],
    ["sensitivity", "li_lei_coarse", "--out", "out", "--method", "morris", "--n", "4", "--ranges", "TE=1e6:1e7,C=10%",
     "--resamples", "5", "--no-plots", *FAST],
    ["optimize", "li_lei_coarse", "--out", "out", "--seed", "1", "--vary", "TE=1e6:1e7", "--vary", "TM=10:1e3:log",
     "--maximize", "pfs - 1e-6*TE", "--constraint", "TE + TM <= 9e6", "--constraint", "0.1 <= TE/C <= 100", "--particles", "4",
     "--iterations", "2", "--aggregate", "mean", "--for-each", "each.csv", "--patience", "2", "--target", "50", *FAST],
    ["optimize", "li_lei_coarse", "--out", "out", "--seed", "1", "--vary", "TE=1e6:1e7", "--maximize", "pfs", "--minimize", "TE",
     "--particles", "4", "--iterations", "2", "--patients", "c.csv", *FAST],
    ["trial", "trial.toml", "--out", "missing/out"],
    ["reproduce", "li-lei-2025", "--out", "out", "--figures", "99"],
    ["bench", "li_lei_course", "--patients", "10"],  # no such model, or it would measure for minutes
]  # fmt: skip
FILES = {"p.csv": PATIENTS, "q.csv": "patient\n1\n", "d.csv": DOSES, "e.csv": "time,state,amount\n1,TE,1e5\n",
         "each.csv": "C\n1e6\n2e6\n", "c.csv": "C,k_TE\n1e6,3\n2e6,3.1\n"}  # fmt: skip

TEXTS = [
    "", " ", "nan", "inf", "-inf", "-1", "0", "1e999", "-0.0", "1_0", "٣", "1e-400", "0x10", "1,5", "True", "None", "null",
    "a", "C", "TE", "pfs", "patient", "status", "li_lei", "b_all", "=", ":", ",", "a=b=c", "::::", ",,,", "%", "10%", "TE=", "=1",
    "TE=1:", "TE=2:1", "TE=nan:1", "x" * 300, "é", "漢字", "\t", "a\nb", "\ud800", "../../x", "/", "/dev/null/x", ".", "~",
    "1e6", "C <= ", "<= 1", "C < 1 < 2", "C == 1", "C ** C ** C", "(" * 50, "__import__('os')", "C.__class__", "1/0",
    "0*C", "9" * 400, "-" * 2000 + "C", "+".join(["C"] * 400), "9**9**9", "C@", "@1", "C@1:2", "C@0:1:0", "C@0:1:-1", "C@nan",
    "C@0:1e12:1e-3", "ln_@1", "low:C:1e5", "low:C:x:up:stop", "low:Q:1", "low:C:nan", "q.parquet", "o.xyz", "--", "-",
    "99999999999999999999", "1.5", "[]", "{}", "'", '"', "\\", "$HOME", "*", "?", "0.5,0.4", "1,,2", "pfs,pfs", "C,C",
]  # fmt: skip
VALUES: list[Any] = [
    "", "a", "C", "TE", "nan", "patient", "status", "x" * 300, "\u0000", "b_all", True, False, 0, -1, 1, 1.5, float("nan"),
    float("inf"), -float("inf"), 10**30, -(10**30), 2**63, 1e308, 1e-320, -0.0, [], {}, [1], ["a"], [[]], [{}], {"a": 1},
    [1, 2], [2, 1], [float("nan"), 1], ["a", "b"], [True, False], {"uniform": [2, 1]}, {"uniform": ["a", 1]}, {"normal": []},
    {"log_normal": [-1, 1]}, {"uniform": [1, 2], "normal": [1, 2]}, {"geomspace": [0, 1, 3]}, {"linspace": [0, 1, 1e9]},
    {"linspace": [0, 1, -3]}, "1/0", "1/2", "9" * 400, [1e6] * 3, {"day": 1}, [{"day": -1}], [{"day": "x"}], ["C", "C"],
]  # fmt: skip


def toml(value: Any) -> str:
    """Write a value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = "".join(
            c if c.isprintable() and c not in '\\"' else f"\\u{min(ord(c), 0xFFFF):04x}" for c in value
        )
        return f'"{escaped}"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value)


def document(content: Mapping[str, Any]) -> str:
    """Write a document of TOML."""
    return "".join(f"{toml(str(key))} = {toml(value)}\n" for key, value in content.items())


def places(content: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of every value."""
    items = (
        content.items()
        if isinstance(content, Mapping)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def changed(content: Any, path: tuple, how: str, value: Any) -> Any:
    """Return a copy with the value at a path replaced, removed, renamed, or joined by another."""
    if not path:
        return value
    head, *rest = path
    copy: Any = dict(content) if isinstance(content, Mapping) else list(content)
    if rest or how == "replace":
        copy[head] = changed(copy[head], tuple(rest), how, value)
    elif how == "remove":
        del copy[head]
    elif isinstance(copy, dict):
        other = str(value)[:30] if how == "rename" else "another"
        copy[other] = copy.pop(head) if how == "rename" else value
    else:
        copy.append(value)
    return copy


@dataclass
class Case:
    """A command line, and the files that it may read."""

    arguments: list[str]
    files: dict[str, str | bytes]
    what: str


def _change_arguments(arguments: list[str], rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 3))):
        place = int(rng.integers(1, len(arguments)))
        way = rng.choice(["replace", "remove", "insert", "swap"], p=[0.7, 0.12, 0.1, 0.08])
        text = TEXTS[rng.integers(len(TEXTS))]
        if way == "replace" and not arguments[place].startswith("--"):
            arguments[place] = text
        elif way == "remove":
            del arguments[place]
        elif way == "insert":
            arguments.insert(place, text)
        else:
            other = int(rng.integers(1, len(arguments)))
            arguments[place], arguments[other] = arguments[other], arguments[place]
        if len(arguments) < 2:
            break


def _changed_document(content: Any, rng: np.random.Generator) -> tuple[Any, str]:
    what = ""
    for _ in range(int(rng.integers(1, 3))):
        paths = list(places(content))
        path = paths[rng.integers(len(paths))]
        how = str(rng.choice(["replace", "remove", "rename", "add"], p=[0.7, 0.1, 0.1, 0.1]))
        content = changed(content, path, how, VALUES[rng.integers(len(VALUES))])
        what += f" {how} {path}"
    return content, what


def _changed_bytes(whole: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(data)))
        way = rng.choice(["flip", "cut", "insert", "double"])
        if way == "flip":
            data[place] ^= 1 << int(rng.integers(8))
        elif way == "cut":
            del data[place : place + int(rng.integers(1, 20))]
        elif way == "insert":
            data[place:place] = TEXTS[rng.integers(len(TEXTS))].encode(errors="replace")[:60]
        else:
            data += data[place:]
        if not data:
            break
    return bytes(data)


def case(rng: np.random.Generator) -> Case:
    """Return a malformed input; some are well-formed by accident."""
    arguments = list(COMMANDS[rng.integers(len(COMMANDS))])
    files: dict[str, Any] = dict(FILES)
    documents = {"scan.toml": SCAN, "grid.toml": GRID, "trial.toml": TRIAL}
    wanted = [name for name in documents if name in arguments]
    tables = [name for name in FILES if name in arguments]
    kind = rng.choice(["argument", "document", "bytes"], p=[0.45, 0.45, 0.1]) if wanted else "argument"
    if tables and rng.random() < 0.2:
        kind = "table"
    what = str(kind)
    for name in documents:
        files[name] = document(documents[name])
    if kind == "argument":
        _change_arguments(arguments, rng)
        files["trial.toml"] = document({**TRIAL, "arms": ["A0", "A99"]})  # or a trial may take minutes
    elif kind == "document":
        content, how = _changed_document(documents[wanted[0]], rng)
        what += how
        files[wanted[0]] = document(content)
    else:
        name = (tables if kind == "table" else wanted)[0]
        files[name] = _changed_bytes(files[name].encode(), rng)
    return Case(arguments, files, what)


def attempt(tried: Case, folder: Path) -> tuple[str, Any]:
    """Run a command in this process; return what is wrong with how it ended, if anything, and its exit code."""
    for name, text in tried.files.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    before = {path.name for path in folder.iterdir()}
    out, err = io.StringIO(), io.StringIO()
    start, here = time.monotonic(), Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("error")
            code: Any = command(list(tried.arguments))
    except SystemExit as error:
        code = error.code
    except BaseException:
        return traceback.format_exc(), None
    finally:
        os.chdir(here)
    seconds = time.monotonic() - start
    made = sorted({path.name for path in folder.iterdir()} - before)
    for name in made:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = err.getvalue()
    lines = said.splitlines()
    told = f"exit code {code}, {seconds:.1f} s, {said[:600]!r}, made {made}"
    if "Traceback" in said or code not in (0, 2, 3):
        return told, code
    if code == 2 and (
        len([line for line in lines if "missing or damaged" not in line]) != 1 or len(said) > 1000
    ):
        return f"not one sentence: {told}", code
    if code == 2 and any(name.endswith((".csv", ".parquet", ".part")) for name in made):
        return f"refused, but written: {told}", code
    return f"slow: {told}" if seconds > SECONDS else "", code


def campaign(number: int, seed: int, folder: Path, *, first: int = 0) -> tuple[list[str], Counter[str]]:
    """Try cases; return what was wrong, and how many ended with each code or fault."""
    faults, counts = [], Counter[str]()
    for k in range(first, first + number):
        tried = case(np.random.default_rng([seed, k]))
        wrong, code = attempt(tried, folder)
        counts["wrong" if wrong else f"exit code {code}"] += 1
        if wrong:
            faults.append(f"case {k} of seed {seed}, {tried.what}: fastcart {tried.arguments}\n{wrong}")
    return faults, counts


def main() -> None:
    """Try cases from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    counts = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        for k in range(options.first, options.first + options.number):
            faults, more = campaign(1, options.seed, Path(folder), first=k)
            counts += more
            for fault in faults:
                print(fault, flush=True)
            if k % 100 == 99:
                print(dict(counts), flush=True)
    print(dict(counts))


if __name__ == "__main__":
    main()
