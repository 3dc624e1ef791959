"""The command ``fastcart arms``: the arms of trials, and what an own one may be."""

from __future__ import annotations

import argparse
from typing import Any


def register(commands: Any) -> None:
    """Add the command ``arms``."""
    parser = commands.add_parser("arms", help="list the arms of trials, and what own arms may be")
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Print the arms."""
    from fastcart.trial.template import listed_arms

    print(listed_arms())
    return 0
