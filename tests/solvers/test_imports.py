"""Solvers are numerics: they import nothing of the package above them, and import without it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fastcart

ROOT = Path(fastcart.__file__).parent
ALLOWED = ("fastcart.solvers", "fastcart.errors", "fastcart.math")


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the modules that code imports when it runs, in functions too; not what only types need."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from imported(child)


def test_solvers_import_nothing_of_the_layers_above():
    found = {
        (path.name, name)
        for path in (ROOT / "solvers").rglob("*.py")
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name.startswith("fastcart") and not name.startswith(ALLOWED)
    }
    assert found == set()


def test_linear_algebra_is_imported_only_where_it_is_used(tmp_path):
    """numba looks for a BLAS as soon as it compiles; a matrix product must still find the true one."""
    script = """
import sys
import numpy as np
from numba import njit
import fastcart.solvers.compile

@njit
def product(a, b):
    return a @ b

assert "scipy.linalg" not in sys.modules
assert product(2.0 * np.eye(2), np.ones((2, 2))).tolist() == [[2.0, 2.0], [2.0, 2.0]]
assert sys.modules["scipy.linalg.cython_blas"].__pyx_capi__
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
