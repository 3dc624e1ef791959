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
    models.add_argument("name", nargs="?", metavar="NAME", help="of the list, or a file; default: the list")
    models.add_argument("--json", action="store_true", help="machine-readable output")
    models.add_argument(
        "--engine", action="store_true", help="how fast engine lanes runs the model here, and why not faster"
    )
    models.add_argument(
        "--equations", nargs="?", const="text", choices=("text", "latex"),
        help="its equations, as text (default) or as LaTeX",
    )  # fmt: skip
    add_model_options(models)
    models.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Print the list of models, or the description of one."""
    from fastcart.describe import describe, listing
    from fastcart.errors import InputError

    for flag in ("engine", "equations"):
        if options.name is None and getattr(options, flag):
            raise InputError(f"The option --{flag} needs the name of a model: fastcart models NAME --{flag}.")
    if options.name is None:
        print(listing(as_json=options.json))
    else:
        from fastcart.models import get

        model = get(options.name, **model_options(options.option))
        if options.engine:
            from fastcart.explain import explain_engine

            print(explain_engine(model))
        elif options.equations:
            from fastcart.writing import written_equations

            print(written_equations(model, style=options.equations))
        else:
            print(describe(model, as_json=options.json))
    return 0
