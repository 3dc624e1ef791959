"""The command ``fastcart compile``: what all models share, compiled ahead of time."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from fastcart.cli.arguments import whole_number


def register(commands: Any) -> None:
    """Add the command ``compile``."""
    parser = commands.add_parser(
        "compile", help="compile what all models share, so that a new one gives its first result in seconds"
    )
    parser.add_argument(
        "--states",
        type=whole_number,
        default=8,
        metavar="N",
        help="for models of up to N states (default: 8)",
    )
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Compile, and say what."""
    from fastcart.ahead import compile_ahead

    compile_ahead(options.states, lambda text: print(text, file=sys.stderr, flush=True))
    return 0
