"""Run the notebooks and keep their outputs in them: ``python benchmarks/notebooks.py [NAME ...]``.

What measures the machine (``02_performance``) is kept without, since its numbers are those of the reader's
machine; it is written only where it is named.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
MEASURING = ("02_performance",)
TIMEOUT_S = 1200  # for each cell


def run(notebook: Any, *, kernel: str = "python3") -> Any:
    """Run a notebook in an empty folder; return it with its outputs, and nothing else that a run leaves."""
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            kernel_name=kernel,
            timeout=TIMEOUT_S,
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":  # a busy machine is slow to end a worker of Dask, which says so
            cell.outputs = [o for o in cell.outputs if "distributed.nanny" not in o.get("text", "")]
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def cleared(notebook: Any) -> Any:
    """Return a notebook without outputs."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def main() -> None:
    """Run those that were asked for."""
    os.environ.setdefault("FASTCART_PROGRESS", "0")  # bars are no output to keep
    names = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    parser = argparse.ArgumentParser(description="Run notebooks and keep their outputs.")
    parser.add_argument("name", nargs="*", choices=[[], *names], help=f"of: {', '.join(names)}; default: all")
    asked = parser.parse_args().name or [name for name in names if name not in MEASURING]
    for name in asked:
        path = FOLDER / f"{name}.ipynb"
        notebook = run(cleared(nbformat.read(path, as_version=4)))
        complaints = [
            o for cell in notebook.cells for o in cell.get("outputs", []) if o.get("name") == "stderr"
        ]
        if complaints:
            raise RuntimeError(f"{name}: {complaints[0]['text']}")
        nbformat.write(notebook, path)
        print(f"{name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
