"""The frame that all papers share: a job of steps, tables kept or written whole, pictures, a report.

A paper is a folder of `fastcart.papers` with a function ``reproduce(out, ...)``. It opens its folder with
`job`, lists `Step` objects, lets `compute` make their tables, writes tables and pictures, and last the
report: in Markdown with `markdown` and `how_made`, or in HTML with `fastcart.trial.html`. What takes long is
kept until the report is written, so that a job that was killed goes on. Numbers of the paper are constants of
its own modules; what is computed is put beside them with `compared`.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from fastcart.models import get
from fastcart.runs.files import CHECKSUMS, remove_matching
from fastcart.runs.forms import CSV
from fastcart.runs.identity import describe_model, environment
from fastcart.runs.manifest import MANIFEST, Manifest
from fastcart.runs.store import Run, open_run
from fastcart.tables.storage import write_text

Tables = Mapping[str, pd.DataFrame]  # by name of file
# keeps a table under the name of its file: read where it is there, else made and written, then read
Keep = Callable[[str, Callable[[], pd.DataFrame]], pd.DataFrame]
UNFINISHED = "unfinished"  # folder of what a job has kept until its report is written


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


def compute(
    steps: Sequence[Step], *, keep: Keep | None = None, unit: str = "tables", progress: bool | None = None
) -> dict[str, pd.DataFrame]:
    """Make the tables of all steps, in order.

    Parameters
    ----------
    steps : sequence of Step
    keep : callable, optional
        Keeps each table as soon as it is made, and reads it where it is there already; in either case what
        follows works with what was read. Without it they are held until all are made.
    unit : str
        What progress counts.
    progress : bool, optional
        Show progress on stderr; default: only on a terminal.

    Returns
    -------
    dict of str to DataFrame
        By name of file.
    """
    tables: dict[str, pd.DataFrame] = {}
    with progress_bar(len(steps), progress, unit=unit) as bar:
        for step in steps:
            bar.set_description(step.name)
            tables |= step.make(tables) if keep is None else _kept(step, keep, tables)
            bar.update()
    return tables


def _kept(step: Step, keep: Keep, before: Tables) -> Tables:
    """Return the tables of a step as they are kept, having made them where they are not there."""
    made = cache(partial(step.make, before))
    return {name: keep(name, partial(_one, made, name)) for name in step.files}


def _one(made: Callable[[], Tables], name: str) -> pd.DataFrame:
    return made()[name]


class Job(NamedTuple):
    """The folder of the outputs of a job, and the run in which it keeps what takes long."""

    folder: Path
    run: Run
    started: float

    def taken(self, threads: int) -> str:
        """Say how long the job took."""
        text = f"{time.perf_counter() - self.started:.1f} s with {threads} threads"
        return f"{text}, going on with what was kept" if self.run.resumed else text


def within(job: Job | None, name: str, *, argument: str = "out") -> dict[str, Any]:
    """Return the arguments with which a study keeps itself, and goes on, as a part of a job.

    ``argument`` is what the study calls its folder; without a job there are none.
    """
    return {} if job is None else {argument: job.run.path(name), "resume": True}


@contextmanager
def job(
    out: str | Path, names: Iterable[str], work: str, content: Mapping[str, Any], *, force: bool
) -> Iterator[Job]:
    """Open the folder of a job; what it keeps is removed when all is written, and else waits to go on.

    Parameters
    ----------
    out : path
    names : iterable of str
        Files that the job will write there.
    work : str
        One of `fastcart.papers.WORKS`.
    content : mapping
        What the results depend on, beside the models of the work and the machine.
    force : bool
        Replace outputs that exist, and begin anew where an unfinished job could go on.

    Raises
    ------
    InputError
        For a folder that cannot be used; for outputs that exist, unless ``force`` or where the job is not
        finished; for an unfinished job of other content.
    """
    from fastcart.papers import WORKS

    started, names = time.perf_counter(), plotting.beside(names)
    kept = Path(out) / UNFINISHED
    going_on = (kept / MANIFEST).exists() and not force
    folder = new_folder(out, () if going_on else names, force=force)
    models = [describe_model(get(name)) for name in WORKS[work].models]
    manifest = Manifest(f"reproduction of {work}", {**content, "models": models, **environment()})
    try:
        with open_run(kept, manifest, resume=not force, force=force) as run:
            if force:
                _clear(kept)
            remove_matching(folder, [f".{name}.*.part" for name in names])  # what a kill left half-written
            yield Job(folder, run, started)
    except BaseException:
        if {path.name for path in kept.glob("*")} <= {MANIFEST, CHECKSUMS}:  # nothing is lost
            shutil.rmtree(kept, ignore_errors=True)
        raise
    _clear(kept)  # the manifest last: a job that is killed here goes on
    shutil.rmtree(kept)


def _clear(kept: Path) -> None:
    """Remove all that an unfinished job has kept but its manifest."""
    for path in kept.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != MANIFEST:
            path.unlink()


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
            plotting.save_figure(picture, folder / name, dpi=dpi, also=plotting.VECTORS)


def markdown(heads: Iterable[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table."""

    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    listed = list(heads)
    return [line(listed), line(["---"] * len(listed)), *(line(row) for row in rows)]


def how_made(taken: str, packages: Sequence[str]) -> dict[str, str]:
    """Return what every report says of how it was made.

    Parameters
    ----------
    taken : str
        From `Job.taken`.
    packages : sequence of str
        Names of distributions whose versions matter.
    """
    return {
        "fastcart": fastcart.__version__,
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Wall time": taken,
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
