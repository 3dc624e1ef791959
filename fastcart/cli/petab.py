"""The command ``fastcart petab``: a PEtab problem evaluated and fitted, with tables and figures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastcart.cli.arguments import whole_number


def register(commands: Any) -> None:
    """Add the command ``petab``."""
    parser = commands.add_parser("petab", help="evaluate and fit a PEtab problem, with tables and figures")
    parser.add_argument("problem", type=Path, metavar="PROBLEM.yaml", help="PEtab version 1, model in SBML")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="for all that is written")
    parser.add_argument(
        "--starts", type=whole_number, default=100, metavar="N", help="default: 100; 0: no fit"
    )
    parser.add_argument(
        "--seed", type=whole_number, default=0, metavar="S", help="of the starts (default: 0)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.add_argument("--force", action="store_true", help="replace the run in the folder")
    parser.add_argument("--threads", type=whole_number, metavar="N", help="default: all processors")
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Evaluate and fit, and say how it went."""
    from fastcart.errors import warn_failed
    from fastcart.petab.run import run_problem

    found = run_problem(
        options.problem, options.out, starts=options.starts, seed=options.seed, resume=options.resume,
        force=options.force, threads=options.threads,
    )  # fmt: skip
    print(
        f"{found.problem.name}: objective {found.nominal['objective'].iloc[0]:.6g} at the nominal parameters"
    )
    if found.fit is not None:
        print(found.fit.summary())
    print(f"Tables: {options.out / 'tables'}")
    warn_failed(found.statuses)
    return 0
