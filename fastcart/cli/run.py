"""The command ``fastcart run``: patients in, endpoints out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from fastcart.cli.arguments import (
    MODEL,
    add_model_options,
    add_solver_options,
    model_options,
    numbers,
    packages_for,
    real_number,
    solver_options,
    whole_number,
)


def register(commands: Any) -> None:
    """Add the command ``run``."""
    parser = commands.add_parser("run", help="solve a table of patients, write a table of endpoints")
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument(
        "--patients", required=True, type=Path, metavar="FILE", help=".csv, .tsv, .csv.gz, .parquet or .xlsx"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help=".csv, .csv.gz or .parquet")
    parser.add_argument(
        "--doses", type=Path, metavar="FILE", help="time, state, amount[, ...], or TIME, AMT[, ...]"
    )
    parser.add_argument(
        "--preset", metavar="NAME", help="option 'preset' of the model, e.g. unified of t_cell"
    )
    parser.add_argument(
        "--scenario", metavar="NAME", help="option 'scenario', with its doses where --doses gives none"
    )
    parser.add_argument("--threads", type=whole_number, metavar="N", help="default: all processors")
    parser.add_argument("--trajectories", type=Path, metavar="FILE", help="also write trajectories")
    parser.add_argument(
        "--sensitivities", metavar="NAME,...",
        help="parameters and states (initial values) to differentiate by: columns d_final_X_d_NAME of --out",
    )  # fmt: skip
    parser.add_argument(
        "--slopes", type=Path, metavar="FILE",
        help="also write derivatives of trajectories by --sensitivities: patient, by, t, what is saved",
    )  # fmt: skip
    times = parser.add_mutually_exclusive_group()
    times.add_argument("--save-every", type=real_number, metavar="D", help="times of trajectories and slopes")
    times.add_argument("--save-at", metavar="D,D,...", help="times of trajectories and slopes")
    parser.add_argument(
        "--save", metavar="NAME,...", help="states or observables in the trajectories (default: all)"
    )
    parser.add_argument(
        "--keep", nargs="+", default=[], metavar="COLUMN", help="columns to copy to the endpoints"
    )
    parser.add_argument("--force", action="store_true", help="replace existing output files")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")
    add_model_options(parser)
    add_solver_options(parser)
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Solve a table of patients."""
    from fastcart.errors import require
    from fastcart.models import doses as model_doses
    from fastcart.models import get
    from fastcart.runs.streaming import run_files

    files = (options.patients, options.out, options.doses, options.trajectories, options.slopes)
    require("Reading and writing these files", packages_for(*files))

    named = {"preset": options.preset, "scenario": options.scenario}
    given = {name: value for name, value in named.items() if value is not None}
    model = get(options.model, **{**model_options(options.option), **given})
    doses = model_doses(model) if options.doses is None else options.doses
    summary = run_files(
        model,
        options.patients,
        options.out,
        doses=doses,
        threads=options.threads,
        trajectories=options.trajectories,
        save_every=options.save_every,
        save_at=None if options.save_at is None else numbers(options.save_at, "--save-at"),
        save=None if options.save is None else options.save.split(","),
        sensitivities=() if options.sensitivities is None else options.sensitivities.split(","),
        slopes=options.slopes,
        keep=options.keep,
        force=options.force,
        progress=False if options.quiet else None,
        warn=lambda text: print(f"fastcart: {text}", file=sys.stderr),
        **solver_options(options),
    )
    if not options.quiet:
        print(summary)
    return 0
