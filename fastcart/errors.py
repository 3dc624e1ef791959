"""Errors that a user can cause, each with one sentence that says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: what was given, what is allowed, what to do. The command line exits with code 2."""


class MissingDependencyError(ImportError):
    """An optional package is needed and not installed."""


def nearest(name: object, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name nearest to a typo, else the known names."""
    names = [str(k) for k in known]
    lowered = {n.lower(): n for n in reversed(names)}
    matches = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=0.5)
    if matches:
        return f" Did you mean {lowered[matches[0]]!r}?"
    shown = ", ".join(names[:60]) + (", ..." if len(names) > 60 else "")
    return f" Known: {shown}."


def optional_import(module: str, *, extra: str, purpose: str):
    """Import an optional package, or say in one sentence how to get it.

    Raises
    ------
    MissingDependencyError
        When the package is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingDependencyError(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'fastcart[{extra}]'"
        ) from error
