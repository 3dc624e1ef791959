"""The command ``fastcart models``: list the models, or describe one."""

from __future__ import annotations

import argparse
from typing import Any

from fastcart.cli.arguments import add_model_options, model_options


def register(commands: Any) -> None:
    """Add the command ``models``."""
    models = commands.add_parser(
        "models", help="list the models, or show states, parameters and sources of one"
    )
    models.add_argument("name", nargs="?", metavar="NAME", help="or a file")
    models.add_argument("--json", action="store_true", help="machine-readable output")
    models.add_argument(
        "--engine", action="store_true", help="how fast engine lanes runs the model here, and why not faster"
    )
    add_model_options(models)
    models.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Print the list of models, or the description of one."""
    from fastcart.describe import describe, listing
    from fastcart.errors import InputError

    if options.name is None and options.engine:
        raise InputError("The option --engine needs the name of a model: fastcart models NAME --engine.")
    if options.name is None:
        print(listing(as_json=options.json))
    else:
        from fastcart.models import get

        model = get(options.name, **model_options(options.option))
        if options.engine:
            from fastcart.explain import explain_engine

            print(explain_engine(model))
        else:
            print(describe(model, as_json=options.json))
    return 0
