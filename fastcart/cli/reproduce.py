"""The command ``fastcart reproduce``: figures and tables of a published work."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

from fastcart.cli.arguments import numbers, whole_number
from fastcart.errors import InputError


def register(commands: Any) -> None:
    """Add the command ``reproduce``."""
    from fastcart.papers import WORKS

    reproduce = commands.add_parser(
        "reproduce",
        help="make the figures and tables of a published work, with a report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(["works:", *(_told(work) for work in WORKS.values())]),
    )
    reproduce.add_argument("work", metavar="WORK", help="one of the works below")
    reproduce.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="for all of it")
    reproduce.add_argument("--figures", metavar="N,N,...", help="where a work has it; default: all")
    reproduce.add_argument(
        "--sample",
        type=whole_number,
        metavar="N",
        help="where a work has it: patients of its largest sample (default: as many as it says)",
    )
    reproduce.add_argument(
        "--quick", action="store_true", help="where a work has it: a look in about a minute, not to be cited"
    )
    reproduce.add_argument("--threads", type=whole_number, metavar="N", help="default: all processors")
    reproduce.add_argument("--force", action="store_true", help="replace existing output files, begin anew")
    reproduce.set_defaults(action=run, goes_on="The same command goes on")


def _told(work: Any) -> str:
    """Return the lines of a work for the help."""
    flags = ", ".join(f"--{name}" for name in work.options)
    return f"  {work.name:<17}{work.title}" + (f"\n{'':19}with {flags}" if flags else "")


def run(options: argparse.Namespace) -> int:
    """Make figures, tables and the report."""
    from fastcart.batch import check_threads
    from fastcart.papers import WORKS, get

    function = get(options.work)
    check_threads(options.threads)
    keywords: dict[str, Any] = {"force": options.force, "threads": options.threads}
    if options.sample is not None:
        keywords["sample"] = options.sample
    if options.figures is not None:
        keywords["figures"] = tuple(numbers(options.figures, "--figures"))
    if options.quick:
        keywords["quick"] = True
    for name in keywords:
        if name not in inspect.signature(function).parameters:
            those = [work.name for work in WORKS.values() if name in work.options]
            raise InputError(
                f"The work {options.work!r} has no option --{name}; {' and '.join(those)} "
                f"{'has' if len(those) == 1 else 'have'} it."
            )
    report = function(options.out, **keywords)
    print(f"Report: {report}")
    return 0
