"""Patient-arms per second of the simulated trial, and replicated trials per second.

The eight standard arms, two of which follow rules from visit to visit, over 730 days, on all processors. A
million patient-arms are 125 000 patients; fewer are timed, and the rest is scaled. Run with ``make bench``.
"""

from __future__ import annotations

import pandas as pd
import pytest

from fastcart.population import draws, sample
from fastcart.protocols import STANDARD
from fastcart.trial.counterfactual import counterfactuals
from fastcart.trial.outcomes import outcomes
from fastcart.trial.power import replicate_trials
from fastcart.trial.randomize import Design


def population(size: int) -> pd.DataFrame:
    return pd.concat([sample(size, seed=1), draws(size, seed=1)], axis=1)


@pytest.mark.benchmark(group="trial")
@pytest.mark.parametrize("size", [3_000, 25_000])
def test_counterfactuals(benchmark, size):
    patients = population(size if benchmark.enabled else 50)
    counterfactuals(patients[:50], STANDARD, progress=False)  # compile

    courses = benchmark.pedantic(
        lambda: counterfactuals(patients, STANDARD, progress=False), rounds=5, iterations=1
    )
    assert all((course["status"] == "ok").all() for course in courses.values())
    if benchmark.stats is not None:  # None where benchmarks are disabled
        done, seconds = len(patients) * len(courses), benchmark.stats.stats.median
        benchmark.extra_info.update(patient_arms=done, per_second=done / seconds)
        print(
            f"\n{done:,} patient-arms: {seconds:.2f} s; a million at this rate: {1e6 / done * seconds:.0f} s"
        )


@pytest.mark.benchmark(group="trial")
def test_replicated_trials(benchmark):
    """Two arms of 160 patients, with Cox, log-rank and restricted means, a thousand times."""
    patients = population(400)
    control, treatment = (
        outcomes(course) for course in counterfactuals(patients, STANDARD[:2], progress=False).values()
    )
    replicates = 1000 if benchmark.enabled else 5
    table = benchmark.pedantic(
        lambda: replicate_trials(
            control, treatment, patients["L"].to_numpy(), Design(), seed=1, replicates=replicates
        ),
        rounds=3, iterations=1,
    )  # fmt: skip
    assert len(table) == replicates
    if benchmark.stats is not None:
        print(f"\n{replicates} trials of 2 x 160 patients: {benchmark.stats.stats.median:.2f} s")
