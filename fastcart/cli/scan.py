"""The command ``fastcart scan``: any number of virtual patients, to a folder that can be resumed."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from fastcart.cli.arguments import (
    add_solver_options,
    add_specification,
    is_begun,
    solver_options,
    whole_number,
)


def register(commands: Any) -> None:
    """Add the command ``scan``."""
    parser = commands.add_parser(
        "scan", help="solve any number of sampled patients, to a folder of Parquet files that can be resumed"
    )
    add_specification(parser, "model, patients and options (the guide to scans explains it)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted scan in FOLDER")
    parser.add_argument("--force", action="store_true", help="replace a scan in FOLDER")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="solve on the workers of a Dask scheduler")
    parser.add_argument("--threads", type=whole_number, metavar="N", help="default: all processors")
    parser.add_argument("--plot", metavar="OUTPUT", help="draw an endpoint, e.g. pfs: a heat map or a line")
    parser.add_argument(
        "--axes", metavar="X[,Y]", help="one column or two to draw over (default: the one or two that vary)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")
    add_solver_options(parser)
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Run the scan, or the rest of it."""
    if is_begun(options, "A scan", "fastcart.scanning.template"):
        return 0
    from fastcart.engines import as_model
    from fastcart.errors import InputError, require, warn_failed
    from fastcart.plausible import sentences
    from fastcart.scanning.scan import scan
    from fastcart.scanning.spec import read_spec

    more = {"matplotlib": options.plot, "dask": options.scheduler, "distributed": options.scheduler}
    require("This scan", ["pyarrow", *(package for package, asked in more.items() if asked is not None)])
    arguments = {**read_spec(options.spec), **solver_options(options)}  # what is given here counts
    axes = None if options.axes is None else options.axes.split(",")
    if options.plot is None and axes is not None:
        raise InputError("--axes are those of a picture; give also --plot OUTPUT.")
    wanted: dict[str, Any] = {}
    if options.plot is not None:
        from fastcart.scanning.plot import check_grid, plot_scan

        wanted = {"needs": [options.plot, *(axes or ())], "accept": partial(check_grid, axes=axes)}
    result = scan(
        **arguments, **wanted, out=options.out, resume=options.resume, force=options.force,
        scheduler=options.scheduler, threads=options.threads, progress=False if options.quiet else None,
    )  # fmt: skip
    if not options.quiet:
        model = as_model(arguments["model"])
        print("\n".join([*sentences(result.implausible(model), model), result.summary()]))
    warn_failed(result.counts)
    if options.plot is not None:
        picture = plot_scan(result, arguments["model"], options.plot, axes)
        if not options.quiet:
            print(f"{'Line' if picture.name.startswith('line_') else 'Heat map'}: {picture}")
    return 3 if result.failed else 0
