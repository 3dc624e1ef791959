"""Every notebook runs from top to bottom without an error, and is stored with the outputs of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("ipykernel")
nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
TIMEOUT_S = 300  # for each cell
PATIENTS = 1200  # instead of a million
FEWER = {  # where these take long
    "02_performance.ipynb": 50, "07_t_cell_theories.ipynb": 150, "09_simulated_trial.ipynb": 300,
    "11_fit_to_trial.ipynb": 600,
}  # fmt: skip
MEASURING = ("02_performance.ipynb",)  # stored without: its numbers are those of the reader's machine
SIZE_LIMIT = 1_500_000  # bytes


def read(name: str):
    return nbformat.read(FOLDER / name, as_version=4)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """The name of a kernel in the running interpreter, whatever kernels and settings the user has."""
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            (folder / variable.lower()).mkdir()
            patch.setenv(variable, str(folder / variable.lower()))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        patch.delenv("MPLBACKEND", raising=False)
        name = "fastcart-test"
        place = folder / "jupyter_data_dir" / "kernels" / name
        place.mkdir(parents=True)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": command, "display_name": "running interpreter", "language": "python"}
        (place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        yield name


@pytest.fixture(scope="module")
def kernel(settings):
    """A kernel for one notebook after another: to start one takes as long as many a notebook."""
    from jupyter_client import AsyncKernelManager
    from jupyter_core.utils import run_sync

    manager = AsyncKernelManager(kernel_name=settings)
    yield manager
    if manager.has_kernel:
        run_sync(manager.shutdown_kernel)(now=True)


def beginning(folder: Path, patients: int) -> str:
    """What makes a kernel that has run another notebook as a new one is: no names, no settings of figures."""
    return f"""%reset -f
__name__, __spec__, __loader__, __package__ = "__main__", None, None, None
import matplotlib, matplotlib.pyplot, os
matplotlib.pyplot.close("all")
matplotlib.rcdefaults()
os.chdir({str(folder)!r})
os.environ["FASTCART_NOTEBOOK_PATIENTS"] = "{patients}"
del matplotlib, os
"""


def run(name: str, folder: Path, manager: Any = None, **given: Any) -> Any:
    """Run a notebook in an empty folder, in a kernel that is there or in one of its own; return it."""
    from nbclient import NotebookClient

    notebook = read(name)
    begin = nbformat.v4.new_code_cell(beginning(folder, FEWER.get(name, PATIENTS)))
    notebook.cells.insert(0, begin)
    client = NotebookClient(notebook, km=manager, timeout=TIMEOUT_S, **given)
    try:
        client.execute()  # raises CellExecutionError, with the cell and its traceback
    finally:
        if manager is not None:
            client.kc.stop_channels()
    assert notebook.cells.pop(0).outputs == []
    return notebook


def check(name: str, notebook: Any, folder: Path) -> None:
    """Check that a notebook that was run gives what it is stored with, and leaves nothing."""
    for cell in notebook.cells:
        if cell.cell_type == "code":  # a busy machine is slow to end a worker of Dask, which says so
            cell.outputs = [o for o in cell.outputs if "distributed.nanny" not in o.get("text", "")]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    complaints = [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert complaints == []
    drawn = [output for output in outputs if "image/png" in output.get("data", {})]
    asked = sum("plt.show()" in cell.source or "display(" in cell.source for cell in notebook.cells)
    assert len(drawn) == asked > 0
    assert list(folder.iterdir()) == [], "a notebook leaves files behind"
    if name not in MEASURING:
        for stored, made in zip(read(name).cells, notebook.cells, strict=True):
            if made.cell_type == "code":
                assert kinds(stored) == kinds(made), (
                    "run: python benchmarks/notebooks.py " + name.split(".")[0]
                )


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name, kernel, tmp_path):
    check(name, run(name, tmp_path, kernel), tmp_path)


@pytest.mark.slow  # what a notebook needs of another is missed above only where it changes a module
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_in_a_kernel_of_its_own(name, settings, tmp_path):
    check(name, run(name, tmp_path, kernel_name=settings), tmp_path)


def test_a_notebook_finds_nothing_of_the_one_before(kernel, tmp_path, monkeypatch):
    from nbclient.exceptions import CellExecutionError

    texts = iter(["left = 1", "left"])
    cell = nbformat.v4.new_code_cell
    monkeypatch.setitem(globals(), "read", lambda _: nbformat.v4.new_notebook(cells=[cell(next(texts))]))
    run("before", tmp_path, kernel)
    with pytest.raises(CellExecutionError, match="'left' is not defined"):
        run("behind", tmp_path, kernel)


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
