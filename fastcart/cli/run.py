"""The command ``fastcart run``: patients in, endpoints out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from fastcart.cli.arguments import (
    add_model_options,
    breaks,
    event,
    model_options,
    numbers,
    packages_for,
    real_number,
    threshold,
)


def register(commands: Any) -> None:
    """Add the command ``run``."""
    parser = commands.add_parser("run", help="solve a table of patients, write a table of endpoints")
    parser.add_argument("model", metavar="MODEL", help="a name from 'fastcart models'")
    parser.add_argument(
        "--patients", required=True, type=Path, metavar="FILE", help=".csv, .tsv, .csv.gz, .parquet or .xlsx"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help=".csv, .csv.gz or .parquet")
    parser.add_argument(
        "--doses", type=Path, metavar="FILE", help="time, state, amount[, duration][, patient]"
    )
    parser.add_argument(
        "--preset", metavar="NAME", help="option 'preset' of the model, e.g. unified of t_cell"
    )
    parser.add_argument(
        "--scenario", metavar="NAME", help="option 'scenario', with its doses where --doses gives none"
    )
    parser.add_argument("--engine", default="auto", help="auto (default), lanes, lsoda, published, scipy")
    parser.add_argument("--method", help="variant of the engine, e.g. Radau for scipy")
    parser.add_argument("--t-end", type=real_number, metavar="D", help="horizon (default: the model's)")
    parser.add_argument("--rtol", type=real_number, default=1e-6, metavar="R", help="default 1e-6")
    parser.add_argument("--atol", type=real_number, metavar="A", help="default: rtol times a state's scale")
    parser.add_argument(
        "--extinction", default="off", metavar="off|CELLS", help="below so many cells the tumor is gone"
    )
    parser.add_argument("--peaks", metavar="NAME,...", help="states or observables: largest value, and when")
    parser.add_argument("--auc", metavar="NAME,...", help="states or observables: integral over the course")
    parser.add_argument(
        "--event", action="append", default=[], metavar="NAME:OF:THRESHOLD[:up|down|both[:stop]]",
        help="when, and how often, a state or observable crosses a threshold (may be repeated)",
    )  # fmt: skip
    parser.add_argument("--max-step", type=real_number, metavar="D", help="no step is longer (default: none)")
    parser.add_argument(
        "--breaks", metavar="D|NAME,...",
        help="times, or parameters or columns of times, at which the right-hand side may jump",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, metavar="N", help="default: all processors")
    parser.add_argument("--trajectories", type=Path, metavar="FILE", help="also write trajectories")
    times = parser.add_mutually_exclusive_group()
    times.add_argument("--save-every", type=real_number, metavar="D", help="times of the trajectories")
    times.add_argument("--save-at", metavar="D,D,...", help="times of the trajectories")
    parser.add_argument(
        "--save", metavar="NAME,...", help="states or observables in the trajectories (default: all)"
    )
    parser.add_argument(
        "--keep", nargs="+", default=[], metavar="COLUMN", help="columns to copy to the endpoints"
    )
    parser.add_argument("--force", action="store_true", help="replace existing output files")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")
    add_model_options(parser)
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Solve a table of patients."""
    from fastcart.errors import require
    from fastcart.models import doses as model_doses
    from fastcart.models import get
    from fastcart.runs.streaming import run_files

    files = (options.patients, options.out, options.doses, options.trajectories)
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
        engine=options.engine,
        method=options.method,
        t_end=options.t_end,
        rtol=options.rtol,
        atol=options.atol,
        extinction=None if options.extinction == "off" else threshold(options.extinction),
        peaks=[] if options.peaks is None else options.peaks.split(","),
        auc=[] if options.auc is None else options.auc.split(","),
        events=[event(text) for text in options.event],
        max_step=options.max_step,
        breaks=[] if options.breaks is None else breaks(options.breaks),
        threads=options.threads,
        trajectories=options.trajectories,
        save_every=options.save_every,
        save_at=None if options.save_at is None else numbers(options.save_at, "--save-at"),
        save=None if options.save is None else options.save.split(","),
        keep=options.keep,
        force=options.force,
        progress=False if options.quiet else None,
        warn=lambda text: print(f"fastcart: {text}", file=sys.stderr),
    )
    if not options.quiet:
        print(summary)
    return 0
