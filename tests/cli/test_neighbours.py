"""A file of a user's may import the modules that lie beside it, and leaves no trace of that."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from numba import cloudpickle

import fastcart
from fastcart.cli import main
from fastcart.errors import InputError
from fastcart.runs.identity import describe_model
from fastcart.specification import from_file

OWN = """
from dataclasses import dataclass
from numba import njit
import fastcart

@njit
def rate():
    return {rate}

@njit
def rhs(t, y, p):
    return (-p[0] * rate() * y[0],)

model = fastcart.Model("own", {{"x": 1.0}}, {{"k": 1.0}}, rhs, t_end=1.0)
"""


def write(folder: Path, rate: float = 1.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.py").write_text(dedent(OWN).format(rate=rate))
    (folder / "mine.py").write_text("from own import model\n")
    return folder / "mine.py"


def final(file: Path) -> float:
    model = from_file(file, "model", "The model")
    return float(fastcart.solve(model, 1).endpoints["final_x"].iloc[0])


def test_a_file_imports_its_neighbour_and_leaves_no_trace(tmp_path, monkeypatch):
    file = write(tmp_path / "one")
    path, modules = list(sys.path), set(sys.modules)
    result = fastcart.solve(fastcart.models.get(f"{file}:model"), 1)
    assert (result.endpoints["status"] == "ok").all()
    assert sys.path == path
    assert not {"own", "mine", "fastcart_rule_mine"} & (set(sys.modules) - modules)
    # by a relative path, too
    monkeypatch.chdir(file.parent)
    assert fastcart.models.get("mine.py").name == "own"


def test_a_module_of_the_same_name_from_another_folder_is_not_taken(tmp_path):
    one, two = write(tmp_path / "one", 1.0), write(tmp_path / "two", 2.0)
    values = [final(one), final(two), final(one)]
    assert values[0] == values[2] == pytest.approx(0.36788, rel=1e-4)
    assert values[1] == pytest.approx(0.13534, rel=1e-4)
    digests = [describe_model(from_file(file, "model", "The model"))["hash"] for file in (one, two, one)]
    assert digests[0] == digests[2] != digests[1]


def test_an_edited_neighbour_is_read_anew(tmp_path):
    assert final(write(tmp_path, 1.0)) == pytest.approx(0.36788, rel=1e-4)
    assert final(write(tmp_path, 3.25)) == pytest.approx(0.03877, rel=1e-3)


def test_what_was_imported_before_stays(tmp_path, monkeypatch):
    file = write(tmp_path / "one")
    other = write(tmp_path / "two", 2.0).parent
    monkeypatch.syspath_prepend(str(other))
    monkeypatch.setitem(sys.modules, "own", None)  # forgotten in the end
    del sys.modules["own"]
    import own  # of the other folder

    assert final(file) == pytest.approx(0.36788, rel=1e-4)
    assert sys.modules["own"] is own
    # one that Python finds anyway is the same module for both
    assert from_file(other / "mine.py", "model", "The model") is own.model


def test_a_package_beside_the_file_and_a_dataclass_in_it(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("")
    (tmp_path / "parts" / "sizes.py").write_text("size = 3\n")
    (tmp_path / "file.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from parts.sizes import size\n@dataclass\nclass Held:\n    size: int = size\n\nheld = Held()\n"
    )
    assert from_file(tmp_path / "file.py", "held", "It").size == 3
    assert not {name for name in sys.modules if name.startswith("parts")}


def test_a_neighbour_that_fails_leaves_no_trace_either(tmp_path):
    write(tmp_path)
    (tmp_path / "own.py").write_text("import absent_module_of_no_one\n")
    path = list(sys.path)
    with pytest.raises(InputError, match="absent_module_of_no_one"):
        from_file(tmp_path / "mine.py", "model", "The model")
    assert sys.path == path
    assert "own" not in sys.modules


def test_what_comes_from_a_neighbour_goes_to_other_processes(tmp_path):
    """As a whole: the other process cannot import what lies in the folder."""
    model = from_file(write(tmp_path / "one", 2.0), "model", "The model")
    (tmp_path / "model.pkl").write_bytes(cloudpickle.dumps(model))
    (tmp_path / "other").mkdir()
    code = (
        "import fastcart, pathlib, sys; from numba import cloudpickle\n"
        "model = cloudpickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(fastcart.solve(model, 1).endpoints['final_x'][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.pkl")],
        cwd=tmp_path / "other", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) == pytest.approx(0.13534, rel=1e-4)


def test_the_command_runs_such_a_file(tmp_path, monkeypatch, capsys):
    write(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.csv").write_text("k\n1\n2\n")
    assert main(["run", "one/mine.py", "--patients", "p.csv", "--out", "o.csv", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
