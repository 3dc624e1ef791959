"""The command ``fastcart trial``: a simulated randomized trial from a specification."""

from __future__ import annotations

import argparse
from typing import Any

from fastcart.cli.arguments import (
    add_solver_options,
    add_specification,
    is_begun,
    solver_options,
    whole_number,
)
from fastcart.options import OF_A_COURSE


def register(commands: Any) -> None:
    """Add the command ``trial``."""
    parser = commands.add_parser(
        "trial", help="compare dosing protocols in simulated randomized trials, with a report"
    )
    add_specification(parser, "arms ('fastcart arms' lists them), population, trial")
    parser.set_defaults(needed_without_init={})  # `is_begun` says so
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.add_argument("--force", action="store_true", help="replace the run in the folder")
    parser.add_argument("--threads", type=whole_number, metavar="N", help="default: all processors")
    add_solver_options(parser, without=OF_A_COURSE)
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Run the trial, say where the report is."""
    if is_begun(options, "A trial", "fastcart.trial.template"):
        return 0
    from fastcart.trial.primary import unseen
    from fastcart.trial.proportions import few_patients
    from fastcart.trial.run import run_spec
    from fastcart.trial.spec import read_spec

    spec, solving = read_spec(options.spec), solver_options(options)
    report = run_spec(
        spec, options.out, resume=options.resume, force=options.force, threads=options.threads,
        **solving,
    )  # fmt: skip
    print(f"Report: {report}")
    if spec.population.folder is None and (few := few_patients(spec.population.patients)):
        print(few)
    if (sentence := unseen(spec.primary, solving.get("t_end", spec.horizon), spec.design)) is not None:
        print(sentence)
    return 0
