"""The command ``fastcart explore``: a page on this machine with sliders for a model or a trial."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastcart.cli.arguments import MODEL, add_model_options, model_options, whole_number


def register(commands: Any) -> None:
    """Add the command ``explore``."""
    parser = commands.add_parser(
        "explore", help="a page in the browser with sliders for a model, solved while you drag"
    )
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help=f"{MODEL}; default li_lei. TRIAL.toml is taken as --trial"
    )
    parser.add_argument(
        "--trial", type=Path, metavar="SPEC.toml", help="explore the arms of a trial instead of a model"
    )
    parser.add_argument(
        "--settings", type=Path, metavar="FILE.toml", help="begin with settings that the page exported"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE.csv", help="measurements to lay over: time, quantity, value[, sd]"
    )
    parser.add_argument("--port", type=whole_number, default=0, metavar="N", help="default: one that is free")
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address, and do not open the browser"
    )
    add_model_options(parser)
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    from fastcart.exploring.opening import Chosen, serve

    chosen = Chosen(
        model=options.model, options=model_options(options.option), trial=options.trial,
        settings=options.settings, data=options.data,
    )  # fmt: skip
    serve(chosen, port=options.port, browser=not options.no_browser)
    return 0
