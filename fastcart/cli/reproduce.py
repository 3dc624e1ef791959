"""The command ``fastcart reproduce``: figures and tables of a published work."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

from fastcart.cli.arguments import numbers, whole_number
from fastcart.errors import InputError, nearest


def register(commands: Any) -> None:
    """Add the command ``reproduce``."""
    reproduce = commands.add_parser(
        "reproduce", help="make the figures and tables of a published work, with a report"
    )
    reproduce.add_argument("work", metavar="WORK", help="e.g. li-lei-2025, t-cell-theories")
    reproduce.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    reproduce.add_argument("--figures", metavar="N,N,...", help="default: all")
    reproduce.add_argument(
        "--sample",
        type=whole_number,
        metavar="N",
        help="patients of the large sample of Figure 2 (default: 1000000)",
    )
    reproduce.add_argument("--threads", type=whole_number, metavar="N", help="default: all processors")
    reproduce.add_argument("--force", action="store_true", help="replace existing output files")
    reproduce.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Make figures, tables and the report."""
    from fastcart.batch import check_threads
    from fastcart.papers import WORKS, get

    if options.work not in WORKS:
        raise InputError(f"There is no work {options.work!r} to reproduce." + nearest(options.work, WORKS))
    check_threads(options.threads)
    keywords: dict[str, Any] = {"force": options.force, "threads": options.threads}
    if options.sample is not None:
        keywords["sample"] = options.sample
    if options.figures is not None:
        keywords["figures"] = tuple(numbers(options.figures, "--figures"))
    function = get(options.work)
    for name in keywords:
        if name not in inspect.signature(function).parameters:
            raise InputError(f"The work {options.work!r} has no option --{name}.")
    report = function(options.out, **keywords)
    print(f"Report: {report}")
    return 0
