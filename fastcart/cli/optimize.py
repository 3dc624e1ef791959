"""The command ``fastcart optimize``: the best doses or inputs for one problem or many, to a folder."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastcart.cli.arguments import (
    MODEL,
    add_model_options,
    add_solver_options,
    model_options,
    packages_for,
    real_number,
    solver_options,
    strict_float,
    whole_number,
)
from fastcart.errors import InputError
from fastcart.optimization.methods import METHODS, find

if TYPE_CHECKING:
    import pandas as pd

_EXAMPLE = """example, with one problem for each row of burdens.csv (column C):

  fastcart optimize li_lei --for-each burdens.csv --vary T4=1e3:2e7:log --vary TE=1e3:2e7:log \\
      --maximize pfs --constraint "T4 + TE <= 10*C" --constraint "peak_I6 <= 2e-3" --seed 1 --out best
"""


def register(commands: Any) -> None:
    """Add the command ``optimize``."""
    parser = commands.add_parser(
        "optimize",
        help="find the best doses or other inputs, for one problem or many at once",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="for all that is written")
    parser.add_argument("--seed", required=True, type=whole_number, metavar="N", help="of the search")
    parser.add_argument(
        "--vary", action="append", required=True, metavar="NAME=LOW:HIGH[:log]",
        help="a state, parameter or dose (repeat); bounds may be formulas over columns of --for-each",
    )  # fmt: skip
    for way in ("maximize", "minimize"):
        parser.add_argument(
            f"--{way}", action="append", default=[], metavar="FORMULA",
            help="an endpoint or formula; without a goal, pfs is maximized; two or more give a Pareto front",
        )  # fmt: skip
    parser.add_argument(
        "--constraint", action="append", default=[], metavar="FORMULA", help="e.g. 'peak_I6 <= 2e-3' (repeat)"
    )
    parser.add_argument("--for-each", type=Path, metavar="FILE", help="one problem for each row")
    parser.add_argument("--patients", type=Path, metavar="FILE", help="a virtual population")
    parser.add_argument("--aggregate", help="over --patients: mean (default), median, min, max or a quantile")
    parser.add_argument("--doses", type=Path, metavar="FILE", help="amounts may be names of --vary")
    parser.add_argument("--start", type=Path, metavar="FILE", help="a first guess of all variables")
    parser.add_argument("--method", help=", ".join(METHODS).replace("pso", "pso (default)"))
    parser.add_argument(
        "--particles",
        type=whole_number,
        metavar="N",
        help="points in an iteration (cmaes: 4 or more, de: 5 or more)",
    )  # fmt: skip
    parser.add_argument("--iterations", type=whole_number, default=50, metavar="N", help="default: 50")
    parser.add_argument(
        "--target", type=real_number, metavar="X", help="stop where the objective reaches this"
    )
    parser.add_argument(
        "--patience", type=whole_number, metavar="N", help="stop after N iterations without gain"
    )
    parser.add_argument("--threads", type=whole_number, metavar="N", help="default: all processors")
    parser.add_argument("--resume", action="store_true", help="go on with the optimization in FOLDER")
    parser.add_argument("--force", action="store_true", help="replace the optimization in FOLDER")
    parser.add_argument(
        "--no-plots", action="store_true", help="tables only, as where matplotlib is not installed"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")
    add_model_options(parser)
    add_solver_options(parser, method="--solver-method")
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Optimize, or find a front, or go on with either; 3 where none is feasible or patients fail."""
    from fastcart.errors import require
    from fastcart.models import get
    from fastcart.options import SolveOptions
    from fastcart.plausible import outside, sentences

    goals = [(text, "maximize") for text in options.maximize]
    goals += [(text, "minimize") for text in options.minimize]
    _check_given_once([text for text, _ in goals], "The goal")
    if options.aggregate is not None and options.patients is None:
        raise InputError("--aggregate is over a virtual population, so it needs --patients.")
    packages = packages_for(options.for_each, options.patients, options.doses, options.start)
    packages += ["pymoo"] if len(goals) > 1 else []
    packages += find(options.method).packages if options.method else ()
    require("This search", packages)
    common = {
        "seed": options.seed, "constraints": options.constraint, "for_each": options.for_each,
        "patients": options.patients, "aggregate": _aggregate(options.aggregate),
        "doses": options.doses, "start": options.start, "iterations": options.iterations,
        "options": SolveOptions(**solver_options(options)),
        "out": options.out, "resume": options.resume, "force": options.force, "threads": options.threads,
        "progress": False if options.quiet else None,
    }  # fmt: skip
    if options.particles is not None:
        common["particles"] = options.particles
    model = get(options.model, **model_options(options.option))
    varied = [_variable(text) for text in options.vary]
    _check_given_once([name for name, _ in varied], "--vary of")
    variables = dict(varied)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the summary and stderr say the same in full
        search = _front if len(goals) > 1 else _optimum
        found = search(model, variables, goals, options, common)
    pictured = _draw(found, model, options)
    if not options.quiet:
        print("\n".join([found.text, *pictured, *sentences(outside(model, found.endpoints), model)]))
    else:
        for note in found.notes:
            print(f"fastcart: {note}", file=sys.stderr)
    return 0 if found.feasible and (found.endpoints["status"] == "ok").all() else 3


class _Found(NamedTuple):
    """What a search found.

    What to say, its notes, whether all is feasible, endpoints of what it reports, and the result itself.
    """

    text: str
    notes: Sequence[str]
    feasible: bool
    endpoints: pd.DataFrame
    result: Any


def _draw(found: _Found, model: Any, options: argparse.Namespace) -> list[str]:
    """Draw the way of the search or the front into the folder, and say where."""
    from importlib.util import find_spec

    is_front = hasattr(found.result, "front")
    if options.no_plots or find_spec("matplotlib") is None or (is_front and found.result.front.empty):
        return []
    from fastcart.optimization.problem import PICTURES
    from fastcart.plotting import VECTORS, save_figure

    path = options.out / PICTURES[is_front]
    save_figure(found.result.plot(model=model), path, also=VECTORS)
    return [f"Picture: {path}"]


def _optimum(
    model: Any, variables: dict, goals: list[Any], options: argparse.Namespace, common: dict
) -> _Found:
    from fastcart.optimization.optimize import optimize

    first: tuple[Any, Any] = goals[0] if goals else ("pfs", "maximize")
    objective, goal = first
    result = optimize(
        model, variables, objective=objective, goal=goal, method=options.method or "pso",
        target=options.target, patience=options.patience, **common,
    )  # fmt: skip
    text = f"{result.summary()}\nBest: {options.out / 'best.csv'}"
    return _Found(text, result.notes, bool(result.best["feasible"].all()), result.endpoints, result)


def _front(model: Any, variables: dict, goals: list, options: argparse.Namespace, common: dict) -> _Found:
    from fastcart.optimization.pareto import pareto

    for name in ("method", "target", "patience"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} is for one objective; a front of several has none.")
    result = pareto(model, variables, objectives=dict(goals), **common)
    text = f"{result.summary()}\nFront: {options.out / 'front.csv'}"
    return _Found(text, result.notes, result.nearest.empty, result.endpoints, result)


def _check_given_once(names: Sequence[str], what: str) -> None:
    for k, name in enumerate(names):
        if name in names[:k]:
            raise InputError(f"{what} {name!r} is given twice; give it once.")


def _variable(text: str) -> tuple[str, tuple]:
    """Parse ``NAME=LOW:HIGH[:log]``; bounds are numbers or formulas."""
    name, equals, rest = text.partition("=")
    parts = [part.strip() for part in rest.split(":")]
    scaled = len(parts) == 2 or parts[2:] in (["log"], ["linear"])
    if not (equals and name and all(parts) and scaled):
        raise InputError(f"--vary must be NAME=LOW:HIGH or NAME=LOW:HIGH:log, not {text!r}.")
    return name.strip(), (*(_bound(part) for part in parts[:2]), *parts[2:])


def _bound(text: str) -> float | str:
    try:
        return strict_float(text)
    except ValueError:
        return text


def _aggregate(text: str | None) -> float | str | None:
    if text is None:
        return None
    try:
        return strict_float(text)
    except ValueError:
        return text
