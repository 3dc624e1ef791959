"""The command ``fastcart compare``: one dose of CAR-T cells in all models that can be asked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastcart.cli.arguments import add_solver_options, real_number, solver_options


def register(commands: Any) -> None:
    """Add the command ``compare``."""
    parser = commands.add_parser("compare", help="ask several models what one dose of CAR-T cells does")
    parser.add_argument(
        "models", nargs="*", metavar="MODEL",
        help="names from 'fastcart models', also with options, kirouac:patient=NR-1; default: all",
    )  # fmt: skip
    parser.add_argument("--dose", required=True, type=real_number, metavar="CELLS", help="on day 0")
    parser.add_argument("--horizon", type=real_number, default=365.0, metavar="DAYS", help="default 365")
    parser.add_argument(
        "--subject", default="patient", metavar="patient|mouse", help="of the models (default: patient)"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="for all that is written")
    parser.add_argument("--force", action="store_true", help="replace a comparison in the folder")
    parser.add_argument("--no-plots", action="store_true", help="tables only")
    parser.add_argument("--quiet", action="store_true", help="no summary")
    add_solver_options(parser, without=("t_end", "peaks", "auc", "events", "breaks"))
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Compare, write the tables and the figure, print the table."""
    from fastcart.comparing.compare import check_folder, compare
    from fastcart.errors import require

    require("This comparison", [] if options.no_plots else ["matplotlib"])
    check_folder(options.out, force=options.force)
    found = compare(
        options.models or None,
        dose=options.dose,
        horizon=options.horizon,
        subject=options.subject,
        **solver_options(options),
    )
    found.save(options.out, force=options.force, figure=not options.no_plots)
    if not options.quiet:
        print(summary(found))
    answered = found.table["status"] != "left out"
    return 3 if (found.table["status"][answered] != "ok").any() else 0


def summary(found: Any) -> str:
    """Return the table of a comparison for a terminal, and who was left out."""
    shown = ["model", "cmax", "tmax", "persistence", "nadir", "t_nadir", "relapse"]
    answered = found.table[found.table["status"] == "ok"]
    lines = [f"{found.dose:g} CAR-T cells, {found.horizon:g} days:"]
    if len(answered):
        lines.append(answered[shown].to_string(index=False, float_format="{:.3g}".format, na_rep="none"))
    others = found.table[~found.table["status"].isin(["ok", "left out"])]
    lines += [f"{row.model}: not solved ({row.status})" for row in others.itertuples()]
    lines += [f"{model} was left out: {reason}." for model, reason in found.left_out.items()]
    return "\n".join(lines)
