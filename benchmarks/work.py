"""The default work of the benchmarks: which patients, how many for each engine, which machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

import fastcart
from fastcart.batch import ENGINES, check_threads

MODEL = "li_lei"
SPREAD = 0.1
RTOL = 1e-6
SEED = 2025

MEASURED = tuple(engine for engine in ENGINES if engine != "auto")
ONE_THREAD = ("published", "scipy")  # these engines use one thread whatever is asked
_PATIENTS = {"lsoda": 4096, "published": 4096, "scipy": 24}
_PATIENTS_OF_OTHERS = 16_384

_FIRST_SOLVE = """
import json, sys, time
t0 = time.perf_counter()
import fastcart
t1 = time.perf_counter()
model, solve = fastcart.models.get(sys.argv[1]), fastcart.solve
t2 = time.perf_counter()
solve(model, 2, engine=sys.argv[2], progress=False)
t3 = time.perf_counter()
solve(model, 2, engine=sys.argv[2], progress=False)
t4 = time.perf_counter()
print(json.dumps({"import": t1 - t0, "load": t2 - t1, "first": (t3 - t2) - (t4 - t3)}))
"""


def draw_patients(
    n: int, *, seed: int | np.random.SeedSequence = SEED, model: str = MODEL, spread: float = SPREAD
) -> pd.DataFrame:
    """Draw patients with every parameter uniform within ``spread`` of its default."""
    rng = np.random.default_rng(seed)
    defaults = fastcart.models.get(model).default_parameters()
    factors = 1 + spread * (2 * rng.random((n, len(defaults))) - 1)
    return pd.DataFrame(factors * np.array(list(defaults.values())), columns=list(defaults))


def patients_for(engine: str) -> pd.DataFrame:
    """Return as many patients as an engine solves in about a second or less."""
    return draw_patients(_PATIENTS.get(engine, _PATIENTS_OF_OTHERS))


def thread_counts(engine: str) -> list[int]:
    """Return the numbers of threads to measure: one, and all where the engine uses them."""
    return sorted({1} if engine in ONE_THREAD else {1, check_threads(None)})


def solve(engine: str, patients: pd.DataFrame, threads: int) -> fastcart.BatchResult:
    """Do the default work; a patient that fails would spoil the measurement."""
    result = fastcart.solve(
        MODEL, patients, engine=engine, rtol=RTOL, threads=threads, progress=False
    )  # fmt: skip
    if len(result.failed):
        raise RuntimeError(f"{engine}: {result.explain(result.failed['patient'].iloc[0])}")
    return result


def patients_per_second(engine: str, threads: int, *, rounds: int = 5) -> float:
    """Return the best rate of several rounds, after one that is not timed."""
    patients = patients_for(engine)
    solve(engine, patients, threads)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        solve(engine, patients, threads)
        seconds.append(time.perf_counter() - start)
    return len(patients) / min(seconds)


def first_solve(engine: str, cache: str | Path) -> dict[str, float]:
    """Time a new process that keeps its compiled kernels in ``cache``.

    Returns
    -------
    dict
        Seconds for ``import`` (``import fastcart``), ``load`` (the model and `fastcart.solve`, which
        bring in numba and pandas) and ``first`` (what the first solve takes longer than the second:
        compiling where the cache is empty, else reading from it).
    """
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_SOLVE, MODEL, engine],
        env={**os.environ, "FASTCART_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def first_solve_cold_and_warm(engine: str) -> tuple[dict[str, float], dict[str, float]]:
    """Time two new processes, the first with an empty cache, the second with what it left."""
    with tempfile.TemporaryDirectory() as cache:
        return first_solve(engine, cache), first_solve(engine, cache)


def machine() -> str:
    """Describe the processor and how many of it this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    threads = check_threads(None)
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}, {platform.system()} {platform.machine()}"


def versions() -> str:
    """List the versions that timings depend on."""
    packages = ("numba", "numbalsoda", "numpy", "scipy")
    listed = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"fastcart {fastcart.__version__}, Python {platform.python_version()}, {listed}"
