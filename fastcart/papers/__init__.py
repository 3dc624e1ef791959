"""Published works and what fastcart makes of them: guests that use what the package offers to everyone.

Each has a folder here, and its function ``reproduce`` writes figures, their data and a report that compares.
`fastcart.papers.frame` holds what they share. Nothing outside this package but the command ``reproduce``
knows any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from fastcart.errors import InputError, nearest


@dataclass(frozen=True)
class Work:
    """A work that can be reproduced.

    Parameters
    ----------
    name : str
        For the command line.
    module : str
        The package with the function ``reproduce(out, ...)``, which returns the path of the report.
    title : str
        What it is, in one line.
    models : tuple of str
        The models that it uses.
    source : str
        What is reproduced, and what its numbers are compared with.
    options : tuple of str
        The flags of the command, beside those of all works, that its function takes.
    """

    name: str
    module: str
    title: str
    models: tuple[str, ...]
    source: str
    options: tuple[str, ...] = ()


WORKS: dict[str, Work] = {
    work.name: work
    for work in (
        Work(
            "li-lei-2025",
            "fastcart.papers.li_lei_2025",
            "optimal dosing schedules of CAR-T cells: figures 2 and 4 to 10",
            ("li_lei", "li_lei_coarse"),
            "R. Li, J. Lei, Math Biosci Eng 22:1653 (2025); numbers of the text and of its result files",
            ("figures", "sample"),
        ),
        Work(
            "t-cell-theories",
            "fastcart.papers.t_cell_theories",
            "theories of T-cell differentiation in one model, against sixteen facts",
            ("t_cell",),
            "facts from the literature with their limits, named in its table",
        ),
        Work(
            "srct",
            "fastcart.papers.srct",
            "a simulated randomized trial of low-high-memory dosing, with its experiments",
            ("b_all",),
            "the hypothesis of a dissertation; numbers of the prototype of its specification",
            ("sample", "quick"),
        ),
    )
}


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
    if name not in WORKS:
        raise InputError(f"There is no work {name!r} to reproduce." + nearest(name, WORKS))
    return import_module(WORKS[name].module).reproduce
