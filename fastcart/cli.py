"""The command ``fastcart``: models, run, reproduce, bench."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from fastcart import __version__
from fastcart.errors import InputError, MissingDependencyError, nearest


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
        print("\nfastcart: interrupted; no output file was written.", file=sys.stderr)
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
    _add_models(commands)
    _add_run(commands)
    _add_reproduce(commands)
    _add_bench(commands)
    return parser


def _add_models(commands: Any) -> None:
    models = commands.add_parser(
        "models", help="list the models, or show states, parameters and sources of one"
    )
    models.add_argument("name", nargs="?", metavar="NAME")
    models.add_argument("--json", action="store_true", help="machine-readable output")
    _add_model_options(models)
    models.set_defaults(action=_models)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a named option of the model, e.g. killing=free (may be repeated)",
    )


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="solve a table of patients, write a table of endpoints")
    run.add_argument("model", metavar="MODEL", help="a name from 'fastcart models'")
    run.add_argument("--patients", required=True, type=Path, metavar="FILE", help=".csv or .parquet")
    run.add_argument("--out", required=True, type=Path, metavar="FILE", help=".csv or .parquet")
    run.add_argument("--doses", type=Path, metavar="FILE", help="time, state, amount[, duration][, patient]")
    run.add_argument("--engine", default="auto", help="auto (default), lanes, lsoda, published, scipy")
    run.add_argument("--method", help="variant of the engine, e.g. Radau for scipy")
    run.add_argument("--t-end", type=float, metavar="D", help="horizon (default: the model's)")
    run.add_argument("--rtol", type=float, default=1e-6, metavar="R", help="default 1e-6")
    run.add_argument("--atol", type=float, metavar="A", help="default: rtol times a state's scale")
    run.add_argument(
        "--extinction", default="off", metavar="off|CELLS", help="below so many cells the tumor is gone"
    )
    run.add_argument("--threads", type=int, metavar="N", help="default: all processors")
    run.add_argument("--trajectories", type=Path, metavar="FILE", help="also write trajectories")
    times = run.add_mutually_exclusive_group()
    times.add_argument("--save-every", type=float, metavar="D", help="times of the trajectories")
    times.add_argument("--save-at", metavar="D,D,...", help="times of the trajectories")
    run.add_argument(
        "--keep", nargs="+", default=[], metavar="COLUMN", help="columns to copy to the endpoints"
    )
    run.add_argument("--force", action="store_true", help="replace existing output files")
    run.add_argument("--quiet", action="store_true", help="no progress, no summary")
    _add_model_options(run)
    run.set_defaults(action=_run)


def _add_reproduce(commands: Any) -> None:
    reproduce = commands.add_parser(
        "reproduce", help="make the figures and tables of a published work, with a report"
    )
    reproduce.add_argument("work", metavar="WORK", help="li-lei-2025")
    reproduce.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    reproduce.add_argument("--figures", metavar="N,N,...", help="default: all")
    reproduce.add_argument("--threads", type=int, metavar="N", help="default: all processors")
    reproduce.add_argument("--force", action="store_true", help="replace existing output files")
    reproduce.set_defaults(action=_reproduce)


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser("bench", help="measure error against time of the engines on this machine")
    bench.add_argument("model", nargs="?", default="li_lei", metavar="MODEL", help="default: li_lei")
    bench.add_argument("--patients", type=int, default=20_000, metavar="N", help="default: 20000")
    bench.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")
    bench.set_defaults(action=_bench)


def model_options(texts: Sequence[str]) -> dict[str, str]:
    """Parse ``NAME=VALUE`` texts."""
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"A model option must be given as NAME=VALUE, not {text!r}.")
        options[name] = value
    return options


def numbers(text: str, what: str) -> list[float]:
    """Parse a list of numbers separated by commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{what} must be numbers separated by commas, not {text!r}.") from None


def threshold(text: str) -> float:
    """Parse the number of cells of ``--extinction``."""
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--extinction must be 'off' or a number of cells, not {text!r}.") from None


def _models(options: argparse.Namespace) -> int:
    from fastcart.describe import describe, listing

    if options.name is None:
        print(listing(as_json=options.json))
    else:
        from fastcart.models import get

        model = get(options.name, **model_options(options.option))
        print(describe(model, as_json=options.json))
    return 0


def _run(options: argparse.Namespace) -> int:
    from fastcart.models import get
    from fastcart.run import run_files

    model = get(options.model, **model_options(options.option))
    summary = run_files(
        model,
        options.patients,
        options.out,
        doses=options.doses,
        engine=options.engine,
        method=options.method,
        t_end=options.t_end,
        rtol=options.rtol,
        atol=options.atol,
        extinction=None if options.extinction == "off" else threshold(options.extinction),
        threads=options.threads,
        trajectories=options.trajectories,
        save_every=options.save_every,
        save_at=None if options.save_at is None else numbers(options.save_at, "--save-at"),
        keep=options.keep,
        force=options.force,
        progress=False if options.quiet else None,
        warn=lambda text: print(f"fastcart: {text}", file=sys.stderr),
    )
    if not options.quiet:
        print(summary)
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from fastcart.batch import check_threads
    from fastcart.reproduce import WORKS, get

    if options.work not in WORKS:
        raise InputError(f"There is no work {options.work!r} to reproduce." + nearest(options.work, WORKS))
    check_threads(options.threads)
    keywords: dict[str, Any] = {"force": options.force, "threads": options.threads}
    if options.figures is not None:
        keywords["figures"] = tuple(numbers(options.figures, "--figures"))
    report = get(options.work)(options.out, **keywords)
    print(f"Report: {report}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    from fastcart.batch import check_threads
    from fastcart.bench import report
    from fastcart.checks import count

    size = count(options.patients, "The number of patients")
    print(report(options.model, patients=size, threads=check_threads(options.threads)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
