"""Lanes against LSODA, SciPy and the solvers of other packages, in one run: tables by script.

Run with ``make bench``, or ``python benchmarks/compare.py --patients 20000``. Writes ``work_precision.csv``
(all measured numbers) and ``report.md`` under ``results/bench``. Timings belong to the machine they are made
on, so run it on a quiet one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import peers
import work

import fastcart
from fastcart import bench, bench_report
from fastcart.bench_serial import serial_note, serial_share
from fastcart.tables.storage import write_text

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "bench"
PATIENTS = 20_000
BRIEF_RTOL = 1e-6  # on the site; the files have all
BRIEF_ENGINES = {"lsoda", "numbalsoda", "heyoka", "diffrax"}

# least ratios that are asked for: model, solver, times as fast as it at no larger error
ASKED = (("li_lei", "lsoda", 10.0), ("li_lei", "diffrax", 20.0), ("li_lei_cytokines", "lsoda", 5.0))
ASKED_OF_TWO_THREADS = 1.8


@dataclass(frozen=True)
class Measured:
    """What one run measured.

    Parameters
    ----------
    errors : dict of str to DataFrame
        Error against time by model.
    threads, shares, serial : DataFrame
    missing : dict of str to str
        Peers that were not measured, and why.
    patients : int
    """

    errors: dict[str, pd.DataFrame]
    threads: pd.DataFrame
    shares: pd.DataFrame
    serial: pd.DataFrame
    missing: dict[str, str]
    patients: int


def measure(patients: int = PATIENTS, *, progress: bool | None = None) -> Measured:
    """Measure everything, one thread except where threads are compared."""
    errors, missing = {}, {}
    for name in dict.fromkeys(name for name, _, _ in ASKED):
        model = fastcart.models.get(name)
        others, lacking = peers.contenders(model, patients=patients)
        missing.update({f"{engine}, {name}": why for engine, why in lacking.items()})
        others = [*peers.equation_contenders(model, patients), *others]
        # SciPy takes a quarter of an hour for the second model, and says there what it says for the first
        engines = [engine for engine in bench.ENGINES if engine != "scipy" or not errors]
        errors[name] = bench.work_precision(
            model, patients=patients, compared=min(bench.COMPARED, patients), engines=engines, others=others,
            progress=progress,
        )  # fmt: skip
    threads, serial = bench.thread_scaling(patients=2 * patients), serial_share(patients=10 * patients)
    return Measured(errors, threads, bench.time_shares(patients=patients), serial, missing, patients)


def least_ratios(measured: Measured) -> pd.DataFrame:
    """Compare what is asked for with what was measured.

    Returns
    -------
    DataFrame
        ``what, asked, measured, slowest``: the least ratio over the solver's methods and tolerances, and
        where it was found; NaN where the solver was not measured.
    """
    rows = []
    for name, engine, asked in ASKED:
        table = bench.speedup(measured.errors[name])
        part = table[table["engine"] == engine]
        what = f"lanes to {engine}, model {name}"
        if part.empty:
            rows.append((what, asked, float("nan"), "not measured"))
            continue
        least = part.loc[part["ratio"].idxmin()]
        where = f"{least['method']} at rtol {bench_report.tolerance(least['rtol'])}"
        rows.append((what, asked, least["ratio"], where))
    two = measured.threads[measured.threads["threads"] == 2]["ratio"]
    ratio = float(two.iloc[0]) if len(two) else float("nan")
    rows.append(("two threads to one, model li_lei", ASKED_OF_TWO_THREADS, ratio, "auto at rtol 1e-6"))
    return pd.DataFrame(rows, columns=["what", "asked", "measured", "slowest"])


def ratio_table(measured: Measured) -> str:
    """Show the ratios that are asked for."""
    rows = [
        [row["what"], f"{row['asked']:g}", "" if pd.isna(row["measured"]) else f"{row['measured']:.1f}",
         row["slowest"]]
        for row in least_ratios(measured).to_dict("records")
    ]  # fmt: skip
    return bench_report.markdown_table(["Ratio", "asked", "least measured", "where"], rows, "lrrl")


def full(measured: Measured) -> str:
    """Return all tables as Markdown."""
    parts = ["Least ratios:", ratio_table(measured)]
    for name, table in measured.errors.items():
        model = fastcart.models.get(name)
        parts += [
            f"Error against time, model `{name}`:",
            bench_report.error_table(table, model),
            bench_report.note(model, measured.patients),
            f"Lanes against the others, model `{name}`, interpolated between the tolerances of lanes:",
            bench_report.speedup_table(bench.speedup(table)),
        ]
    return "\n\n".join([*parts, *_threads_and_shares(measured), _about_peers(measured)])


def brief(measured: Measured) -> str:
    """Return what the site shows: one tolerance, and lanes against others."""
    table = measured.errors["li_lei"]
    ratios = bench.speedup(table)
    model = fastcart.models.get("li_lei")
    parts = [
        bench_report.error_table(table[np.isclose(table["rtol"], BRIEF_RTOL)], model),
        bench_report.note(model, measured.patients),
        "Lanes, the fastest method at no larger errors (median; 99th percentile; largest), against others:",
        bench_report.speedup_table(ratios[ratios["engine"].isin(BRIEF_ENGINES)]),
    ]
    return "\n\n".join([*parts, *_threads_and_shares(measured), _about_peers(measured)])


def _threads_and_shares(measured: Measured) -> list[str]:
    return [
        "Threads, model `li_lei`, engine `auto` at rtol 1e-6, endpoints only:",
        bench_report.thread_table(measured.threads),
        serial_note(measured.serial),
        "Where the time of `lanes` goes (`li_lei`, vern7, rtol 1e-6, one thread):",
        bench_report.share_table(measured.shares),
    ]


def _about_peers(measured: Measured) -> str:
    text = (
        "The solvers of other packages integrate the same variables to the same tolerances, on one core. "
        "They are timed without looking for progression and nadir, which lanes and `lsoda` do; `heyoka` is "
        "timed both ways (`Taylor, events`), with C* as a state of its own. `numbalsoda`, `plain`: in cells, "
        "with its own absolute tolerance, as its users write it. `diffrax`: "
        "vmap and jit; its states are one array, as in its documentation, or a tuple with an array over the "
        "patients for each state, which suits its compiler better."
    )
    if measured.missing:
        text += " Not measured: " + "; ".join(f"{k} ({why})" for k, why in measured.missing.items()) + "."
    return text


def origin() -> str:
    """Say when, on what machine and with what versions."""
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"Measured on {date}: {work.machine()}; {work.versions()}."


def write(measured: Measured, folder: Path = OUT) -> list[Path]:
    """Write the CSV of all numbers and the report; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.concat(measured.errors, names=["model"]).reset_index("model").reset_index(drop=True)
    files = [folder / "work_precision.csv", folder / "report.md"]
    write_text(files[0], table.to_csv(index=False))
    write_text(files[1], f"# Error against time\n\n{full(measured)}\n\n{origin()}\n")
    return files


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write the tables, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=PATIENTS, metavar="N", help=f"default: {PATIENTS}")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="default: results/bench")
    options = parser.parse_args(arguments)
    measured = measure(options.patients)
    files = write(measured, options.out)
    print(ratio_table(measured), *(f"Written: {file}" for file in files), sep="\n")


if __name__ == "__main__":
    main()
