"""The command ``fastcart``: what all its commands have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from fastcart import __version__
from fastcart.errors import InputError, MissingDependencyError

# modules of fastcart.commands, in the order of the help; they import little until they run
COMMANDS = ("models", "run", "scan", "sensitivity", "optimize", "trial", "reproduce", "bench")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence and the way to the help."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see '{self.prog} --help'.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return options.action(options)
    except (InputError, MissingDependencyError) as error:
        print(f"fastcart: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = "no output file was written"
        if getattr(options, "out", None) is not None and hasattr(options, "resume"):
            kept = f"what is finished is kept in {options.out}. Go on with --resume"
        print(f"\nfastcart: interrupted; {kept}.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        from fastcart.checks import reason

        file = f": {error.filename}" if error.filename else ""
        print(f"fastcart: {reason(error)}{file}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastcart",
        description="CAR-T cell therapy models for thousands to millions of virtual patients at once.",
    )
    parser.add_argument("--version", action="version", version=f"fastcart {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"fastcart.commands.{name}").register(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
