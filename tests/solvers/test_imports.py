"""Solvers are numerics: they import nothing of the package above them, and import without it."""

from __future__ import annotations

import ast
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
