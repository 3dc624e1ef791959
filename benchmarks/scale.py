"""How time and memory grow with the number of patients: endpoints in memory, and streamed to Parquet.

``python benchmarks/scale.py`` solves 1e4, 1e5 and 1e6 patients with endpoints only, each size in a process of
its own, so that its peak memory is its own. ``--stream 10000000`` draws so many patients piece by piece and
writes their endpoints to a Parquet file. Model li_lei, every parameter within 10% of its default, engine
``auto``. Writes ``scale.csv`` and ``scale.md`` under ``results/bench``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import compare
import numpy as np
import pandas as pd
import work

import fastcart
from fastcart.batch import check_threads
from fastcart.bench_report import markdown_table
from fastcart.tables.storage import TableWriter, write_text

SIZES = (10_000, 100_000, 1_000_000)
PIECE = 262_144  # patients drawn and solved at a time when they are streamed
RTOL = work.RTOL


def solve_in_memory(size: int, threads: int) -> dict[str, float]:
    """Solve so many patients at once, endpoints only."""
    patients = work.draw_patients(size)
    start = time.perf_counter()
    result = fastcart.solve(work.MODEL, patients, rtol=RTOL, threads=threads, progress=False)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "failed": len(result.failed), "bytes": 0}


def stream_to_parquet(size: int, threads: int) -> dict[str, float]:
    """Draw, solve and write piece by piece; drawing and writing are part of the time."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "endpoints.parquet"
        start = time.perf_counter()
        seeds = np.random.SeedSequence(work.SEED).spawn(-(-size // PIECE))
        with TableWriter(file) as writer:
            for k, seed in enumerate(seeds):
                first = k * PIECE
                patients = work.draw_patients(min(PIECE, size - first), seed=seed)
                patients.insert(0, "patient", np.arange(first, first + len(patients)))
                result = fastcart.solve(work.MODEL, patients, rtol=RTOL, threads=threads, progress=False)
                failed += len(result.failed)
                writer.write(result.endpoints)
        return {"seconds": time.perf_counter() - start, "failed": failed, "bytes": file.stat().st_size}


MODES = {"memory": solve_in_memory, "parquet": stream_to_parquet}


def measure_here(mode: str, size: int, threads: int) -> dict[str, float]:
    """Measure in this process, with kernels loaded beforehand; ``peak_bytes`` is that of the process."""
    work.solve("auto", work.draw_patients(2 * threads * 64), threads)
    found = MODES[mode](size, threads)
    return {**found, "peak_bytes": peak_memory()}


def peak_memory() -> int:
    """Return the largest memory that this process has held, in bytes."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(mode: str, size: int, threads: int) -> dict[str, float]:
    """Measure in a new process."""
    command = [sys.executable, __file__, "--here", mode, "--sizes", str(size), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return {"mode": mode, "patients": size, "threads": threads, **found,
            "patients_per_second": size / found["seconds"]}  # fmt: skip


def growth(table: pd.DataFrame) -> float:
    """Return the power of the number of patients that the time grows with; 1 is linear.

    The slope of a straight line through the logarithms; NaN for fewer than two sizes.
    """
    part = table[table["mode"] == "memory"]
    if len(part) < 2:
        return float("nan")
    return float(np.polyfit(np.log(part["patients"]), np.log(part["seconds"]), 1)[0])


def report(table: pd.DataFrame) -> str:
    """Show the measurements as Markdown."""
    where = {"memory": "a table in memory", "parquet": "streamed to Parquet"}
    rows = [
        [f"{row['patients']:,}", where[row["mode"]], f"{row['threads']}", f"{row['seconds']:.2f}",
         f"{row['patients_per_second']:,.0f}", f"{row['peak_bytes'] / 1e9:.2f}", f"{row['failed']}"]
        for row in table.to_dict("records")
    ]  # fmt: skip
    head = ["Patients", "Endpoints", "Threads", "Seconds", "patients/s", "Peak memory, GB", "failed"]
    text = markdown_table(head, rows, "rlrrrrr")
    power = growth(table)
    note = (
        f"Model `{work.MODEL}`, every parameter within {work.SPREAD:.0%} of its default, engine `auto`, rtol "
        f"{RTOL:g}, endpoints only. Peak memory is that of the whole process. Streamed: drawing patients and "
        "writing the file are part of the time."
    )
    if np.isfinite(power):
        note += f" Time in memory grows with the number of patients to the power {power:.2f}."
    return f"{text}\n\n{note}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all sizes, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = [f"{size:_}" for size in SIZES]
    parser.add_argument("--sizes", nargs="*", default=sizes, metavar="N", help=f"default: {' '.join(sizes)}")
    parser.add_argument("--stream", nargs="*", default=[], metavar="N", help="sizes streamed to Parquet")
    parser.add_argument("--threads", type=int, metavar="N", help="default: all")
    parser.add_argument("--out", type=Path, default=compare.OUT, metavar="FOLDER", help="results/bench")
    parser.add_argument("--here", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    threads = check_threads(options.threads)
    if options.here:
        print(json.dumps(measure_here(options.here, int(float(options.sizes[0])), threads)))
        return
    asked = [("memory", size) for size in options.sizes] + [("parquet", size) for size in options.stream]
    table = pd.DataFrame([measure(mode, int(float(size)), threads) for mode, size in asked])
    options.out.mkdir(parents=True, exist_ok=True)
    write_text(options.out / "scale.csv", table.to_csv(index=False))
    text = report(table)
    write_text(options.out / "scale.md", f"# Scale\n\n{text}\n\n{compare.origin()}\n")
    print(text, f"Written: {options.out / 'scale.md'}", sep="\n\n")


if __name__ == "__main__":
    main()
