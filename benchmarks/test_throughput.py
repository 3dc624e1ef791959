"""Patients per second of every engine on the default work; times to import and to compile.

The default work: model li_lei, every parameter within 10% of its default, 200 days, rtol 1e-6. Run with
``make bench``; the same numbers are in ``extra_info`` of the report (``--benchmark-json=FILE``).
"""

from __future__ import annotations

import subprocess
import sys

import pytest
import work

WORK = [(engine, threads) for engine in work.MEASURED for threads in work.thread_counts(engine)]

_IMPORT = """
import sys, time
t = time.perf_counter()
import fastcart
print(time.perf_counter() - t)
assert not {"numba", "pandas", "scipy"} & set(sys.modules), "import fastcart must stay quick"
"""


@pytest.fixture(scope="module")
def say(request):
    """Write lines under the results, where pytest-benchmark's own table has times only."""
    lines: list[str] = []
    yield lines.append
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print("", "", work.machine(), work.versions(), *lines, sep="\n")


@pytest.mark.benchmark(group="throughput")
@pytest.mark.parametrize(("engine", "threads"), WORK)
def test_patients_per_second(benchmark, say, engine, threads):
    patients = work.patients_for(engine)
    result = benchmark.pedantic(
        work.solve, args=(engine, patients, threads), rounds=5, iterations=1, warmup_rounds=1
    )
    assert len(result.endpoints) == len(patients)
    if benchmark.stats is not None:  # None where benchmarks are disabled
        rate = len(patients) / benchmark.stats.stats.min
        benchmark.extra_info.update(patients=len(patients), threads=threads, patients_per_second=rate)
        say(f"{engine}, {threads} thread{'s' * (threads > 1)}: {rate:,.0f} patients per second")


@pytest.mark.benchmark(group="new process")
@pytest.mark.parametrize("engine", work.MEASURED)
def test_compile(benchmark, say, engine, tmp_path):
    """The first process, with an empty cache, is timed as a whole; extra_info splits it."""
    cold = benchmark.pedantic(work.first_solve, args=(engine, tmp_path), rounds=1, iterations=1)
    warm = work.first_solve(engine, tmp_path)
    seconds = {
        "load_seconds": cold["load"],
        "compile_seconds": cold["first"],
        "from_cache_seconds": warm["first"],
    }
    benchmark.extra_info.update(seconds)
    say(f"{engine}: compiled in {cold['first']:.1f} s, taken from the cache in {warm['first']:.2f} s")


@pytest.mark.benchmark(group="new process")
def test_import(benchmark, say):
    done = benchmark.pedantic(_import, rounds=5, iterations=1, warmup_rounds=1)
    benchmark.extra_info["import_seconds"] = float(done)
    say(f"import fastcart: {1000 * float(done):.0f} ms")


def _import() -> str:
    return subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True).stdout
