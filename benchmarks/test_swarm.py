"""Solves per second of a particle swarm against the bare batch of the same patients.

The work of Figure 7 of Li & Lei 2025 in small: model li_lei, the published box of doses for 100 tumor
burdens, 100 particles, 20 iterations. The two are timed in turn, so that a busy machine slows both; the
overhead is the median of the ratios of neighbours, as the clock of a machine may have more than one state.
Run with ``make bench``.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

import fastcart
from fastcart.optimization import evaluation as evaluate

BURDENS, PARTICLES, ITERATIONS = 100, 100, 20
SOLVES = BURDENS * PARTICLES * ITERATIONS
ROUNDS = 15
BOX = {
    "T4": ("5e-3*C", "7.5e-3*C"), "TP": ("4*C", "6*C"), "TE": ("4*C", "6*C"), "TM": ("5e-5*C", "7.5e-4*C"),
    "Tr": (10, 2000),
}  # fmt: skip


def swarm():
    return fastcart.optimize(
        "li_lei", BOX, for_each={"C": np.linspace(1e6, 6e6, BURDENS)}, particles=PARTICLES,
        iterations=ITERATIONS, seed=1, progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def patients():
    """The patients that the swarm asks for, as one batch."""
    asked = []

    def noted(model, given, **options):
        asked.append(given)
        return fastcart.solve(model, given, **options)

    original, evaluate.solve = evaluate.solve, noted
    try:
        swarm()
    finally:
        evaluate.solve = original
    return {name: np.concatenate([part[name] for part in asked[:ITERATIONS]]) for name in asked[0]}


@pytest.mark.benchmark(group="swarm")
def test_swarm(benchmark, patients):
    assert len(patients["C"]) == SOLVES
    bare = []

    def setup():
        began = time.perf_counter()
        fastcart.solve("li_lei", patients, progress=False)
        bare.append(time.perf_counter() - began)

    result = benchmark.pedantic(swarm, setup=setup, rounds=ROUNDS, iterations=1)
    assert result.best["evaluations"].sum() == SOLVES
    if benchmark.stats is not None:  # None where benchmarks are disabled
        times = np.array(benchmark.stats.stats.data)
        overhead = np.median(times / bare) - 1
        rate, bare_rate = SOLVES / np.median(times), SOLVES / np.median(bare)
        benchmark.extra_info.update(
            solves=SOLVES, solves_per_second=rate, bare_per_second=bare_rate, overhead=overhead
        )  # fmt: skip
        print(f"\nswarm {rate:,.0f}, bare batch {bare_rate:,.0f} solves per second, overhead {overhead:.1%}")
