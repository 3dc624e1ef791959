"""The README: its examples run, its tables and figure belong to this version."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import fastcart
from fastcart import batch, cli

pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")
FIGURE_LIMIT = 300_000  # bytes


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.M | re.S)


def commands() -> list[list[str]]:
    lines = [line for block in examples("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("fastcart ")]


@pytest.fixture(scope="module")
def readme():
    """The script that writes the generated parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import readme

        yield readme
        for name in ("readme", "work", "compare", "peers"):
            sys.modules.pop(name, None)


def test_python_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "__main__"}  # as in a script
    sources = examples("python")
    assert len(sources) == 11
    for source in sources:
        exec(compile(source, "<README>", "exec"), namespace)
    printed = capsys.readouterr().out
    assert "{'ok': 2000}" in printed
    assert "{'ok': 10000}" in printed
    assert list(tmp_path.iterdir()) == []


def test_commands_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    patients, doses = examples("csv")
    Path("patients.csv").write_text(patients, encoding="utf-8")
    Path("doses.csv").write_text(doses, encoding="utf-8")
    lines = commands()
    assert {line[0] for line in lines} == {"models", "run", "reproduce", "sensitivity"}
    for line in lines:
        assert cli.main(line) == 0, line
        for option in ("--out", "--trajectories"):
            if option in line:
                assert Path(line[line.index(option) + 1]).exists()
    assert "3 patients: 3 ok." in capsys.readouterr().out
    endpoints = pd.read_csv("endpoints.csv")
    assert endpoints["patient"].tolist() == ["control", "more CD4", "more effector"]
    assert endpoints["arm"].tolist() == [1, 2, 2]


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"\bmake ([a-z]+)\b(?= +#|`)", TEXT))
    assert {"demo", "test", "bench", "setup"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_every_endpoint_has_a_row():
    ends = fastcart.solve("li_lei", 1, engine="published").endpoints
    section = TEXT.split("## Endpoints")[1].split("\n## ")[0]
    explained = {
        name for cell in re.findall(r"^\| (.*?) \|", section, flags=re.M) for name in cell.split(", ")
    }
    for column in ends.columns:
        shown = "final_<state>" if column.startswith("final_") else column
        assert f"`{shown}`" in explained, f"README: the table of endpoints has no row for {shown}"


def test_every_engine_has_a_row():
    section = TEXT.split("## Engines")[1].split("\n## ")[0].split("<!--")[0]
    for engine in batch.ENGINES:
        if engine != "auto":
            assert f"| `{engine}` |" in section, f"README: the table of engines has no row for {engine}"


@pytest.mark.parametrize("part", ["models", "status", "plan-a"])
def test_generated_parts_are_current(readme, part):
    written = readme.blocks(TEXT)[part].strip()
    assert written == readme.PARTS[part]().strip(), f"run: python benchmarks/readme.py {part}"


def test_all_parts_are_marked_and_filled(readme):
    found = readme.blocks(TEXT)
    assert set(found) == {*readme.PARTS, *readme._PRINTED}
    assert TEXT.count("<!-- begin generated") == TEXT.count("<!-- end generated -->") == len(found)
    assert all(body.strip() for body in found.values())


def test_only_the_named_parts_are_rewritten(readme):
    new = readme.replace_blocks(TEXT, {"models": "\\1 new text"})
    assert readme.blocks(new)["models"] == "\\1 new text\n"
    assert readme.replace_blocks(new, readme.blocks(TEXT)) == TEXT


def test_unknown_part_is_an_error():
    script = ROOT / "benchmarks" / "readme.py"
    done = subprocess.run([sys.executable, script, "plan-b"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no such part: plan-b" in done.stderr


def test_links_and_figure():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
    for figure in (ROOT / "docs").glob("*.png"):
        assert 0 < figure.stat().st_size < FIGURE_LIMIT
