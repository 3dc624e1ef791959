"""The command ``fastcart sensitivity``: how outputs depend on parameters, with tables and pictures."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from fastcart.sensitivity_analysis.methods import METHODS, find

if TYPE_CHECKING:
    from fastcart.sensitivity_analysis.result import SensitivityResult

_PICTURES = 12  # of single outputs
_SHOWN = 5  # parameters in the summary


def register(commands: Any) -> None:
    """Add the command ``sensitivity``."""
    parser = commands.add_parser(
        "sensitivity", help="measure how endpoints and trajectories depend on parameters"
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument(
        "--method", default="pearson", metavar="METHOD",
        help=", ".join(METHODS).replace("pearson", "pearson (default)"),
    )  # fmt: skip
    parser.add_argument(
        "--outputs", default="pfs", metavar="NAME,...",
        help="endpoints (pfs, nadir), states or observables at times (ln_C@80, I6@0:200:5); default: pfs",
    )  # fmt: skip
    parser.add_argument(
        "--n", type=whole_number, default=1000, metavar="N",
        help="patients; base points (64 or more) for sobol, trajectories for morris, points per curve (257 "
        "or more) for fast",
    )  # fmt: skip
    parser.add_argument(
        "--ranges", default="10%", metavar="SPEC",
        help="10%% for all parameters (default), NAME=LOW:HIGH, NAME=20%%, or with a distribution: "
        "NAME=log_uniform:LOW:HIGH, NAME=normal:MEAN:SD[:LOW:HIGH], NAME=log_normal:MEDIAN:SIGMA[:LOW:HIGH], "
        "NAME=triangular:LOW:MODE:HIGH; several with commas",
    )  # fmt: skip
    parser.add_argument(
        "--groups", default="", metavar="NAME=A+B,...",
        help="parameters that move together and get one index; for sobol and morris",
    )  # fmt: skip
    parser.add_argument("--fixed", default="", metavar="NAME=VALUE,...", help="values that replace defaults")
    parser.add_argument("--doses", type=Path, metavar="FILE", help="time, state, amount[, duration]")
    parser.add_argument(
        "--where", action="append", default=[], metavar="CONDITION",
        help="count only patients with e.g. 'pfs > 2' (may be repeated)",
    )  # fmt: skip
    parser.add_argument(
        "--censored", default="keep", metavar="RULE",
        help="patients without progression: keep them with the horizon as pfs (default), or drop",
    )  # fmt: skip
    parser.add_argument(
        "--resamples", type=whole_number, default=500, metavar="N", help="without effect; for older scripts"
    )
    parser.add_argument("--confidence", type=real_number, default=0.95, metavar="P", help="default 0.95")
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help="default 0")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="for all that is written")
    parser.add_argument("--format", default="csv", metavar="csv|parquet", help="of the tables")
    parser.add_argument("--samples", action="store_true", help="also write the points with their outputs")
    parser.add_argument("--no-plots", action="store_true", help="tables only")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    parser.add_argument("--force", action="store_true", help="replace a run in the folder")
    parser.add_argument("--threads", type=whole_number, metavar="N", help="default: all processors")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")
    add_model_options(parser)
    add_solver_options(parser, method="--solver-method")
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Solve, estimate, write tables and pictures."""
    from fastcart.errors import require
    from fastcart.sensitivity_analysis.notes import sentences

    packages = packages_for(options.doses, Path(f"x.{options.format}"))
    packages += find(options.method).packages
    require("This study", packages if options.no_plots else ["matplotlib", *packages])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the summary and stderr say the same
        result = _study(options)
    if not options.no_plots:
        _write_pictures(options.out, result)
    if not options.quiet:
        print(summary(result, options.out))
    else:
        for text in sentences(result.notes, serious=True):
            print(f"fastcart: {text}", file=sys.stderr)
    return 3 if result.values["failed"].any() else 0


def _study(options: argparse.Namespace) -> SensitivityResult:
    from fastcart.batch import check_threads
    from fastcart.models import get
    from fastcart.options import SolveOptions
    from fastcart.sensitivity_analysis.sensitivity import sensitivity

    return sensitivity(
        get(options.model, **model_options(options.option)),
        folder=options.out,
        table_format=options.format,
        keep_samples=options.samples,
        method=options.method,
        outputs=[text for text in options.outputs.split(",") if text],
        n=options.n,
        ranges=parse_ranges_text(options.ranges),
        fixed=_fixed(options.fixed),
        groups=parse_groups_text(options.groups),
        doses=options.doses,
        where=options.where,
        censored=options.censored,
        resamples=options.resamples,
        confidence=options.confidence,
        seed=options.seed,
        resume=options.resume,
        force=options.force,
        threads=check_threads(options.threads),
        progress=False if options.quiet else None,
        options=SolveOptions(**solver_options(options)),
    )


def parse_ranges_text(text: str) -> dict[str, Any]:
    """Read ``10%``, ``NAME=LOW:HIGH``, ``NAME=20%`` and ``NAME=normal:3:0.5``, separated by commas.

    Raises
    ------
    InputError
        For anything else.
    """
    ranges: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.strip().rpartition("=")
        try:
            if value.endswith("%"):
                given: Any = strict_float(value.lstrip("±")[:-1]) / 100
            elif value[:1].isalpha() and ":" in value:
                kind, *numbers = value.split(":")
                given = {kind: tuple(strict_float(end) for end in numbers)} if name else None
            else:
                low, high = value.split(":")
                given = (strict_float(low), strict_float(high))
        except ValueError:
            given = None
        if given is None or (not equals and isinstance(given, tuple)) or (equals and not name):
            raise InputError(
                "A range must read 10% (all parameters), NAME=LOW:HIGH, NAME=20% or e.g. "
                f"NAME=log_uniform:LOW:HIGH, not {part!r}."
            )
        key = name or "*"
        if key in ranges:
            raise InputError(f"The range of {'all parameters' if key == '*' else repr(key)} is given twice.")
        ranges[key] = given
    return ranges


def parse_groups_text(text: str) -> dict[str, list[str]]:
    """Read ``NAME=A+B,OTHER=C+D``.

    Raises
    ------
    InputError
        For anything else.
    """
    groups: dict[str, list[str]] = {}
    for part in filter(None, text.split(",")):
        name, equals, members = (piece.strip() for piece in part.partition("="))
        if not equals or not name or not members or name in groups:
            raise InputError(f"A group must read NAME=A+B, each name once, not {part!r}.")
        groups[name] = [member.strip() for member in members.split("+")]
    return groups


def _fixed(text: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        name = name.strip()
        try:
            number = strict_float(value)
        except ValueError:
            raise InputError(f"A fixed value must read NAME=VALUE, not {part!r}.") from None
        if name in values:
            raise InputError(f"The fixed value of {name!r} is given twice.")
        values[name] = number
    return values


def _write_pictures(folder: Path, result: SensitivityResult) -> None:
    from fastcart import plotting
    from fastcart.sensitivity_analysis import plots as plots

    single, over_time = outputs_to_draw(result)
    save = partial(plotting.save_figure, also=plotting.VECTORS)
    with plotting.style():
        for name in filter(result.has_indices, single[:_PICTURES]):
            file = re.sub(r"\W+", "_", name)
            save(plots.tornado(result, name), folder / f"tornado_{file}.png")
            save(plots.scatter(result, name), folder / f"scatter_{file}.png")
        for quantity in over_time:
            if result.matrix(quantity).isna().all(axis=None):
                continue
            save(plots.heatmap(result, quantity), folder / f"heatmap_{quantity}.png")


def outputs_to_draw(result: SensitivityResult) -> tuple[list[str], list[str]]:
    """Return the outputs that are drawn one by one, and the quantities that are drawn over time."""
    times: dict[str, list[str]] = {}
    for column in result.outputs.columns:
        times.setdefault(column.quantity, []).append(column.name)
    single = [name for columns in times.values() if len(columns) < 3 for name in columns]
    return single, [quantity for quantity, columns in times.items() if len(columns) >= 3]


def summary(result: SensitivityResult, folder: Path) -> str:
    """Say who was counted and which parameters matter most, in words for a terminal."""
    from fastcart.sensitivity_analysis.notes import sentences
    from fastcart.solvers.endpoints import survival_endpoints

    counts = result.counts
    total = int(counts["patients"].iloc[0])
    index = result.main_index
    lines = [f"{total} patients, {len(result.design.names)} varied, method {result.design.method}."]
    single, over_time = outputs_to_draw(result)
    for name in single:
        row = counts[counts["output"] == name].iloc[0].copy()
        if result.output(name).column not in survival_endpoints():
            row["censored"] = 0  # of the progression, which is not asked for here
        notes = [
            f"{int(row[column])} {text}"
            for column, text in (
                ("failed", "failed"), ("left_out", "left out by --where"), ("undefined", "undefined"),
                ("with_others", "left out with another point"), ("censored_dropped", "censored and dropped"),
                ("censored", "censored (kept)" if result.outputs.censored == "keep" else "censored"),
            )
            if row[column]
        ]  # fmt: skip
        lines.append(f"{name}: {int(row['used'])} used" + "".join(f", {note}" for note in notes))
        if not result.has_indices(name):
            lines.append("  no index, see below; nothing is drawn")
            continue
        for parameter, (value, low, high) in result.table(name).head(_SHOWN).iterrows():
            ends = f"  [{low:.3g}, {high:.3g}]" if low == low else ""
            lines.append(f"  {parameter:<14} {index} {value:8.3g}{ends}")
    for quantity in over_time:
        used = counts.loc[counts["output"].str.startswith(f"{quantity}@"), "used"]
        largest = result.matrix(quantity).abs().max(axis=1).sort_values(ascending=False).index[:_SHOWN]
        lines.append(
            f"{quantity} over time: {used.min()} to {used.max()} used; largest: {', '.join(largest)}"
        )
    lines += sentences(result.notes)
    lines.append(f"Tables and pictures: {folder}")
    return "\n".join(lines)
