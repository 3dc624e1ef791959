"""The command ``fastcart fit``: a population fitted to a table, from a specification."""

from __future__ import annotations

import argparse
from typing import Any

from fastcart.cli.arguments import add_specification, is_begun, whole_number


def register(commands: Any) -> None:
    """Add the command ``fit``."""
    parser = commands.add_parser("fit", help="fit a population to patients' data, with a report")
    add_specification(parser, "model, table, observations, what is estimated (the guide to fits explains it)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.add_argument("--force", action="store_true", help="replace the run in the folder")
    parser.add_argument("--threads", type=whole_number, metavar="N", help="default: all processors")
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Fit, say how it went and where the report is."""
    if is_begun(options, "A fit", "fastcart.fit.template"):
        return 0
    from fastcart.fit.run import run_spec
    from fastcart.fit.spec import read_spec

    spec = read_spec(options.spec)
    report, fit = run_spec(
        spec, options.out, resume=options.resume, force=options.force, threads=options.threads
    )
    print(fit.summary())
    print(f"Report: {report}")
    return 0
