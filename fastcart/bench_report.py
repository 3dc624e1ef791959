"""The measurements of `fastcart.bench` as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastcart import bench
from fastcart.batch import as_model
from fastcart.bench_serial import serial_note, serial_share
from fastcart.errors import warn_failed
from fastcart.model import Model


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Format a table; ``align`` has one letter for each column, l or r."""
    rules = ["---:" if letter == "r" else "---" for letter in align or "l" * len(head)]
    if {len(row) for row in rows} - {len(rules)}:
        raise ValueError(f"rows of {head} have another number of columns")
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rules, *rows])


def error_table(table: pd.DataFrame, model: Model) -> str:
    """Show error against time."""
    unit = f"{model.time_unit}s"
    head = [
        "Engine", "Method", "rtol", "µs per patient and core", f"PFS error, median ({unit})", "99%",
        "largest", f"ln {model.burden} error, median", "99%", "largest", "calls", "failed",
    ]  # fmt: skip
    rows = [
        [
            f"`{row['engine']}`", row["method"], tolerance(row["rtol"]), f"{row['us_per_patient']:.1f}",
            *(f"{row[name]:.1e}" for name in bench.ERRORS),
            "" if np.isnan(row["rhs_calls"]) else f"{row['rhs_calls']:.0f}", f"{row['failed']}",
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    return markdown_table(head, rows, "llrrrrrrrrrr")


def speedup_table(ratios: pd.DataFrame) -> str:
    """Show how much faster lanes are than each other solver, at that solver's error (`bench.speedup`)."""
    head = [
        "Solver", "Method", "rtol", "µs", "Lanes at no larger median errors, µs", "Lane method", "Ratio",
        "at 99%", "at the largest",
    ]  # fmt: skip
    rows = [
        [
            f"`{row['engine']}`", row["method"], tolerance(row["rtol"]), f"{row['us_per_patient']:.1f}",
            f"{row['lanes_us']:.1f}" if np.isfinite(row["lanes_us"]) else "", row["lanes_method"],
            *(f"{row[name]:.1f}" if row[name] > 0 else "not reached" for name in _RATIOS),
        ]
        for row in ratios.to_dict("records")
    ]  # fmt: skip
    return markdown_table(head, rows, "llrrrlrrr")


_RATIOS = ("ratio", "ratio_99", "ratio_max")


def thread_table(scaling: pd.DataFrame) -> str:
    """Show patients per second by the number of threads."""
    rows = [
        [f"{row['threads']:.0f}", f"{row['patients_per_second']:,.0f}", f"{row['ratio']:.2f}"]
        for row in scaling.to_dict("records")
    ]
    return markdown_table(["Threads", "patients/s", "Ratio"], rows, "rrr")


def share_table(shares: pd.DataFrame) -> str:
    """Show where the time goes."""
    rows = [
        [row["part"], f"{row['us_per_patient']:.1f}", f"{row['share']:.0%}"]
        for row in shares.to_dict("records")
    ]
    whole = shares["us_per_patient"].sum()
    floor = shares["us_per_patient"].iloc[0]
    rows.append(["together", f"{whole:.1f}", f"{whole / floor:.1f} times the right-hand side alone"])
    return markdown_table(["Part", "µs per patient", "Share"], rows, "lrr")


def tolerance(rtol: float) -> str:
    """Write a tolerance as people do: 1e-6."""
    return f"{rtol:.0e}".replace("e-0", "e-")


def note(model: Model, patients: int, threads: int = 1) -> str:
    """Say what was measured."""
    return (
        f"Model `{model.name}`, {patients} patients with every parameter within {bench.SPREAD:.0%} of its "
        f"default (fewer for slow solvers), {model.t_end:g} {model.time_unit}s, "
        f"{threads} thread{'s' if threads > 1 else ''}, best of {bench.ROUNDS} rounds; errors of "
        f"{min(bench.COMPARED, patients)} patients against SciPy's DOP853 at rtol {bench.REFERENCE_RTOL:g}; "
        f"ln {model.burden} error: the largest over the days."
    )


def report(
    model: str | Model = "li_lei", *, patients: int = 20_000, threads: int = 1, progress: bool | None = None
) -> str:
    """Measure the engines of fastcart on this machine and return Markdown tables.

    Parameters
    ----------
    model : str or Model
        With a burden.
    patients, threads : int
    progress : bool, optional

    Returns
    -------
    str
        Error against time; lanes against the others at their error; threads; where the time goes.
    """
    model = as_model(model)
    options: dict[str, Any] = dict(patients=patients)
    table = bench.work_precision(
        model, compared=min(bench.COMPARED, patients), threads=threads, progress=progress, **options
    )
    failed = int(table["failed"].sum())
    warn_failed({"ok": patients * len(table) - failed, "not solved by one of the engines": failed})
    shares = bench.time_shares(model, **options)
    parts = [error_table(table, model), note(model, patients, threads), speedup_table(bench.speedup(table))]
    scaling = bench.thread_scaling(model, **options)
    if len(scaling) > 1:
        parts += ["Engine `auto` at rtol 1e-6, endpoints only:", thread_table(scaling)]
    parts.append(serial_note(serial_share(model, patients=patients)))
    parts += ["Where the time of `lanes` goes (vern7, rtol 1e-6, one thread):", share_table(shares)]
    return "\n\n".join(parts)
