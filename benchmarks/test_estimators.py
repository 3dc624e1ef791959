"""Time of the estimators of sensitivity, for 41 outputs at once, against SALib's and SciPy's in a loop.

The shape of a time-resolved study of model li_lei: 42 inputs, 41 times, 100 resamples. Outputs are made up,
so that no time goes into solving. Run with ``make bench``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from fastcart.sensitivity_analysis.design import Design
from fastcart.sensitivity_analysis.indices import estimate
from fastcart.sensitivity_analysis.sampler import make_design

INPUTS, OUTPUTS, RESAMPLES = 42, 41, 100
RANGES = {f"x{k}": (0.9, 1.1) for k in range(INPUTS)}
PROBLEM = {"num_vars": INPUTS, "names": list(RANGES), "bounds": list(RANGES.values())}
SIZES = {"sobol": 256, "morris": 200, "spearman": 2000, "pearson": 2000, "prcc": 2000}


def outputs(design: Design) -> np.ndarray:
    """Products of a few inputs, whose weights move from output to output."""
    weights = np.random.default_rng(1).normal(size=(INPUTS, OUTPUTS))
    return np.exp(design.x @ weights)


def salib(design: Design, y: np.ndarray) -> None:
    """Analyze one output after another with SALib."""
    from SALib.analyze import morris, sobol

    for column in y.T:
        if design.method == "sobol":
            sobol.analyze(PROBLEM, column, calc_second_order=False, num_resamples=RESAMPLES, seed=1)
        else:
            morris.analyze(PROBLEM, design.x, column, num_resamples=RESAMPLES, seed=1)


def scipy_loop(design: Design, y: np.ndarray) -> None:
    """Correlate each input with each output, and do it again for every resample, with SciPy."""
    from scipy import stats

    correlate = stats.pearsonr if design.method == "pearson" else stats.spearmanr
    for column in y.T:
        for k in range(INPUTS):
            correlate(design.x[:, k], column)


THEIRS: dict[str, tuple[str, Callable[[Design, np.ndarray], None], int]] = {
    "sobol": ("SALib", salib, 1), "morris": ("SALib", salib, 1),
    # one pass without resamples is timed, and counted once for each
    "pearson": ("SciPy", scipy_loop, RESAMPLES + 1), "spearman": ("SciPy", scipy_loop, RESAMPLES + 1),
}  # fmt: skip


@pytest.mark.benchmark(group="estimators")
@pytest.mark.parametrize("method", list(SIZES))
def test_estimator(benchmark, method):
    design = make_design(method, RANGES, SIZES[method], seed=1)
    y = outputs(design)
    found = benchmark.pedantic(
        estimate, args=(design, y), kwargs={"resamples": RESAMPLES}, rounds=3, iterations=1, warmup_rounds=1
    )
    assert all(np.isfinite(value).all() for value in found.value.values())
    if benchmark.stats is None or method not in THEIRS:  # None where benchmarks are disabled
        return
    name, loop, passes = THEIRS[method]
    began = time.perf_counter()
    loop(design, y)
    theirs = (time.perf_counter() - began) * passes
    ours = benchmark.stats.stats.min
    benchmark.extra_info.update(other=name, seconds=theirs, ratio=theirs / ours)
    print(f"\n{method}: {ours:.3f} s, {name} in a loop {theirs:.1f} s, {theirs / ours:.0f} times")
