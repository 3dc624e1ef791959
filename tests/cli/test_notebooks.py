"""Every notebook runs from top to bottom without an error, and is stored with the outputs of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("ipykernel")
nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
TIMEOUT_S = 300  # for each cell
PATIENTS = 1200  # instead of a million
FEWER = {  # where these take long
    "02_performance.ipynb": 200, "09_simulated_trial.ipynb": 300, "11_fit_to_trial.ipynb": 600,
}  # fmt: skip
MEASURING = ("02_performance.ipynb",)  # stored without: its numbers are those of the reader's machine
SIZE_LIMIT = 1_500_000  # bytes


def read(name: str):
    return nbformat.read(FOLDER / name, as_version=4)


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Name of a kernel in the running interpreter, whatever kernels and settings the user has."""
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        folder = tmp_path / variable.lower()
        folder.mkdir()
        monkeypatch.setenv(variable, str(folder))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    name = "fastcart-test"
    folder = tmp_path / "jupyter_data_dir" / "kernels" / name
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "running interpreter", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return name


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name, kernel, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("FASTCART_NOTEBOOK_PATIENTS", str(FEWER.get(name, PATIENTS)))
    notebook = read(name)
    work = tmp_path / "work"
    work.mkdir()
    resources = {"metadata": {"path": str(work)}}
    client = NotebookClient(notebook, kernel_name=kernel, timeout=TIMEOUT_S, resources=resources)
    client.execute()  # raises CellExecutionError, with the cell and its traceback
    for cell in notebook.cells:
        if cell.cell_type == "code":  # a busy machine is slow to end a worker of Dask, which says so
            cell.outputs = [o for o in cell.outputs if "distributed.nanny" not in o.get("text", "")]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    complaints = [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert complaints == []
    drawn = [output for output in outputs if "image/png" in output.get("data", {})]
    asked = sum("plt.show()" in cell.source or "display(" in cell.source for cell in notebook.cells)
    assert len(drawn) == asked > 0
    assert list(work.iterdir()) == [], "a notebook leaves files behind"
    if name not in MEASURING:
        for stored, run in zip(read(name).cells, notebook.cells, strict=True):
            if run.cell_type == "code":
                assert kinds(stored) == kinds(run), (
                    "run: python benchmarks/notebooks.py " + name.split(".")[0]
                )


def kinds(cell) -> list[str]:
    """Return what a cell gives: text, pictures, tables. How a text is cut into pieces is chance."""
    found = [f"{output.output_type} {sorted(output.get('data', ()))}" for output in cell.outputs]
    return [kind for k, kind in enumerate(found) if k == 0 or kind != found[k - 1]]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_stored_as_it_is_run(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert (FOLDER / name).stat().st_size < SIZE_LIMIT
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if name in MEASURING:
        assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    else:  # run once, from top to bottom
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
