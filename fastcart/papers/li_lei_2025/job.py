"""The job ``li-lei-2025``: figures, their data, and a report, written into one folder."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from fastcart.batch import check_threads
from fastcart.errors import InputError, require
from fastcart.papers.frame import Step, Tables, compute, job, write_outputs
from fastcart.papers.li_lei_2025.comparison import FigureResult
from fastcart.papers.li_lei_2025.report import write_report

# A module per figure: FILES, the names that it writes, and make(threads=..., progress=...) -> FigureResult
_MODULES = {
    2: "fastcart.papers.li_lei_2025.figure2",
    4: "fastcart.papers.li_lei_2025.figure4",
    5: "fastcart.papers.li_lei_2025.figure5",
    6: "fastcart.papers.li_lei_2025.figure6",
    7: "fastcart.papers.li_lei_2025.figure7",
    8: "fastcart.papers.li_lei_2025.figure8",
    9: "fastcart.papers.li_lei_2025.figure9",
    10: "fastcart.papers.li_lei_2025.figure10",
}
FIGURES = tuple(_MODULES)
_LONG = (2, 7, 8, 9, 10)  # figures whose size can be chosen, and whose parts are kept
REPORT = "report.md"


def reproduce(
    out: str | Path,
    figures: Iterable[int] = FIGURES,
    *,
    force: bool = False,
    sample: int | None = None,
    burdens: int | None = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Path:
    """Reproduce figures of Li & Lei 2025, and compare published, reproduced and accurate numbers.

    Writes ``figure<N>.png`` (300 dpi), the data of each figure as CSV, and ``report.md``. Each file is
    written whole or not at all, the report last. A job that was killed goes on when it is started again with
    the same folder, figures and sizes.

    Parameters
    ----------
    out : path
        Folder for the outputs; it is made where it does not exist.
    figures : iterable of int
        Any of `FIGURES`.
    force : bool
        Replace outputs that exist, and begin anew.
    sample : int, optional
        Patients of the large sample of Figure 2; default a million.
    burdens : int, optional
        Tumor burdens of Figures 7 to 10; default 400, as in the paper.
    threads : int, optional
        Default: all processors that this process may use.
    progress : bool, optional
        Show progress on stderr; default: only on a terminal.

    Returns
    -------
    Path
        Of ``report.md``.

    Raises
    ------
    InputError
        For an unknown figure, a folder that cannot be used, outputs that exist, or an unfinished job of other
        figures or sizes, before anything is computed.
    MissingDependencyError
        When matplotlib is not installed.
    """
    numbers = _check_figures(figures)
    threads = check_threads(threads)
    require("The work li-lei-2025", ["matplotlib", *(["SALib"] if 2 in numbers else [])])
    modules = {number: _module(number) for number in numbers}
    names = [*(name for module in modules.values() for name in module.FILES), REPORT]
    content = {"figures": numbers, "sample": sample, "burdens": burdens}
    results: list[FigureResult] = []
    with job(out, names, "li-lei-2025", content, force=force) as opened:

        def make(number: int, tables: Tables) -> Tables:
            more: dict[str, Any] = {}
            if number in _LONG:
                name, size = ("sample", sample) if number == 2 else ("burdens", burdens)
                more = {"job": opened, **({} if size is None else {name: size})}
            results.append(modules[number].make(threads=threads, progress=progress, **more))
            return results[-1].tables

        steps = [Step(f"Figure {n}", _data(module), partial(make, n)) for n, module in modules.items()]
        made = compute(steps, unit="figures", progress=progress)
        write_outputs(opened.folder, made, lambda: [(f"figure{r.number}.png", r.picture) for r in results])
        report = opened.folder / REPORT
        write_report(results, report, opened.taken(threads))
    return report


def _data(module: ModuleType) -> list[str]:
    """Return the names of the tables of a figure."""
    return [name for name in module.FILES if name.endswith(".csv")]


def _module(number: int) -> ModuleType:
    return import_module(_MODULES[number])


def _check_figures(figures: Iterable[int]) -> list[int]:
    """Return the figures in ascending order, each once."""
    given = [figures] if isinstance(figures, int | str) else list(figures)
    available = ", ".join(str(number) for number in FIGURES)
    if not given:
        raise InputError(f"No figure is asked for; available are the figures {available}.")
    for number in given:
        if isinstance(number, bool) or number not in FIGURES:
            shown = f"{number:g}" if isinstance(number, float) else repr(number)
            raise InputError(
                f"Figure {shown} of Li & Lei 2025 cannot be reproduced; available are the figures "
                f"{available}."
            )
    return sorted({int(number) for number in given})
