"""The command ``fastcart bench``: error against time on this machine."""

from __future__ import annotations

import argparse
from typing import Any

from fastcart.cli.arguments import whole_number


def register(commands: Any) -> None:
    """Add the command ``bench``."""
    bench = commands.add_parser("bench", help="measure error against time of the engines on this machine")
    bench.add_argument(
        "model", nargs="?", default="li_lei", metavar="MODEL", help="as of run; default: li_lei"
    )
    bench.add_argument("--patients", type=whole_number, default=20_000, metavar="N", help="default: 20000")
    bench.add_argument("--threads", type=whole_number, default=1, metavar="N", help="default: 1")
    bench.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Print the table of error against time."""
    from fastcart.batch import check_threads
    from fastcart.bench_report import report
    from fastcart.checks import count

    size = count(options.patients, "The number of patients")
    print(report(options.model, patients=size, threads=check_threads(options.threads)))
    return 0
