"""The frame that all papers share: a job of steps, tables kept or written whole, pictures, a report.

A paper is a folder of `fastcart.papers` with a function ``reproduce(out, ...)``. It lists `Step` objects,
lets `compute` make their tables, writes tables and pictures, and last the report: in Markdown with `markdown`
and `how_made`, or in HTML with `fastcart.trial.html`. Numbers of the paper are constants of its own
modules; what is computed is put beside them with `compared`.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import fastcart
from fastcart import plotting
from fastcart.batch import progress_bar
from fastcart.errors import InputError
from fastcart.runs.forms import CSV
from fastcart.runs.store import Run
from fastcart.tables.storage import write_text

Tables = Mapping[str, pd.DataFrame]  # by name of file


@dataclass(frozen=True)
class Step:
    """One step of a job.

    Parameters
    ----------
    name : str
        What progress shows.
    files : sequence of str
        Names of the tables that it makes, e.g. ``("facts.csv",)``.
    make : callable
        ``make(tables)`` gets the tables of the steps before, by name of file, and returns its own.
    """

    name: str
    files: Sequence[str]
    make: Callable[[Tables], Tables]


@dataclass
class Made:
    """What the steps of a job have made: tables by name of file, and the seconds of each step."""

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def compute(
    steps: Sequence[Step], *, kept: Run | None = None, unit: str = "tables", progress: bool | None = None
) -> Made:
    """Make the tables of all steps, in order.

    Parameters
    ----------
    steps : sequence of Step
    kept : Run, optional
        Tables are written there as soon as they are made, and read where they are there already; in either
        case what follows works with what was read. Without it they are held until all are made.
    unit : str
        What progress counts.
    progress : bool, optional
        Show progress on stderr; default: only on a terminal.

    Returns
    -------
    Made
    """
    made = Made()
    with progress_bar(len(steps), progress, unit=unit) as bar:
        for step in steps:
            bar.set_description(step.name)
            before = time.perf_counter()
            made.tables |= step.make(made.tables) if kept is None else _kept(step, kept, made.tables)
            made.seconds[step.name] = time.perf_counter() - before
            bar.update()
    return made


def _kept(step: Step, run: Run, before: Tables) -> Tables:
    """Return the tables of a step as a run keeps them, having made them where they are not there."""
    made = cache(partial(step.make, before))
    return {name: run.kept(name, partial(_one, made, name), CSV) for name in step.files}


def _one(made: Callable[[], Tables], name: str) -> pd.DataFrame:
    return made()[name]


def new_folder(out: str | Path, names: Iterable[str], *, force: bool) -> Path:
    """Make the folder for outputs, and check that nothing in it would be replaced unasked.

    Raises
    ------
    InputError
        For a folder that cannot be made, and for outputs that exist, unless ``force``.
    """
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"The output folder {str(folder)!r} is a file; name a folder.")
    existing = [name for name in names if (folder / name).exists()]
    if existing and not force:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise InputError(
            f"The folder {str(folder)!r} already holds {existing[0]}{more}; choose another folder, or ask "
            "to replace them with force."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The output folder {str(folder)!r} cannot be made: {error.strerror}.") from None
    return folder


def write_outputs(
    folder: Path,
    tables: Tables,
    pictures: Callable[[], Iterable[tuple[str, Any]]],
    *,
    dpi: int = plotting.DPI,
) -> None:
    """Write tables and pictures, each whole or not at all.

    Parameters
    ----------
    folder : Path
    tables : mapping of str to DataFrame
        By name of file.
    pictures : callable
        Returns pairs of name of file and figure; it is called in the style of fastcart.
    dpi : int
    """
    for name, table in tables.items():
        write_text(folder / name, CSV.encode(table).decode())
    with plotting.style():
        for name, picture in pictures():
            plotting.save_figure(picture, folder / name, dpi=dpi)


def markdown(heads: Iterable[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table."""

    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    listed = list(heads)
    return [line(listed), line(["---"] * len(listed)), *(line(row) for row in rows)]


def how_made(threads: int, wall_time: float, packages: Sequence[str]) -> dict[str, str]:
    """Return what every report says of how it was made.

    Parameters
    ----------
    threads : int
    wall_time : float
        Seconds.
    packages : sequence of str
        Names of distributions whose versions matter.
    """
    return {
        "fastcart": fastcart.__version__,
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Wall time": f"{wall_time:.1f} s with {threads} threads",
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "Packages": ", ".join(f"{name} {_version(name)}" for name in packages),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(unknown version)"


class Compared(NamedTuple):
    """A number of a paper beside the same number computed.

    ``tolerance`` is a difference, or where it is at least 1 a factor.
    """

    where: str
    what: str
    published: float
    here: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the two lie within the tolerance."""
        if self.tolerance >= 1:
            return 1 / self.tolerance <= self.here / self.published <= self.tolerance
        return abs(self.here - self.published) <= self.tolerance


def compared(numbers: Iterable[Compared], *, where: str, published: str) -> pd.DataFrame:
    """Return a row per number, under the names that a paper has for where it stands and who says it."""
    return pd.DataFrame(
        {
            where: number.where,
            "what": number.what,
            published: number.published,
            "here": number.here,
            "tolerance": f"times {number.tolerance:g}" if number.tolerance >= 1 else f"{number.tolerance:g}",
            "agrees": bool(number.agrees),
        }
        for number in numbers
    )
