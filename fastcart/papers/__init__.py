"""Reproductions of published results, by name: figures, their data, and a report that compares."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from fastcart.errors import InputError, nearest

# name of the work: (module, function); the function takes the folder for the outputs
_REGISTRY: dict[str, tuple[str, str]] = {
    "li-lei-2025": ("fastcart.papers.li_lei_2025", "reproduce"),
    "t-cell-theories": ("fastcart.papers.t_cell_theories", "reproduce"),
    "srct": ("fastcart.papers.srct", "reproduce"),
}


WORKS = tuple(_REGISTRY)


def get(name: str) -> Callable[..., Path]:
    """Return the function that reproduces a published work.

    Parameters
    ----------
    name : str
        One of `WORKS`.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if name not in _REGISTRY:
        raise InputError(f"There is no work {name!r} to reproduce." + nearest(name, WORKS))
    module, function = _REGISTRY[name]
    return getattr(import_module(module), function)
