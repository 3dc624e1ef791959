"""The oracle against all choices there are, its limits, and what it ignores."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastcart.errors import InputError
from fastcart.trial.families import ENDPOINTS, Scan
from fastcart.trial.oracle import oracle

N, K = 5, 3
CRS, EFS = ENDPOINTS.index("crs3"), ENDPOINTS.index("EFS730")


@pytest.fixture(scope="module", params=[1, 2, 3])
def scan(request):
    parts = np.random.default_rng(request.param).random((K, N, len(ENDPOINTS)))
    return Scan("family", np.array([1e6, 1e7, 1e8]), parts)


def all_choices(scan: Scan, weights: np.ndarray) -> np.ndarray:
    """Return mean endpoints of every choice of one arm for each patient."""
    w = weights / weights.sum()
    choices = itertools.product(range(K), repeat=N)
    return np.array([w @ scan.parts[list(choice), np.arange(N)] for choice in choices])


def test_no_choice_of_arms_is_better_than_the_oracle(scan):
    weights = np.arange(1.0, N + 1)
    means = all_choices(scan, weights)
    for level in np.quantile(means[:, CRS], [0.01, 0.2, 0.5]):
        found = oracle(scan, level, weights=weights)
        allowed = means[means[:, CRS] <= level]
        assert found["EFS730"] >= allowed[:, EFS].max() - 1e-9
        assert found["crs3"] <= level + 1e-9
        # on the line between two choices, it is no better than the best of all
        assert found["EFS730"] <= means[:, EFS].max() + 1e-12


def test_a_rate_that_needs_no_price_gives_the_best_of_each(scan):
    best = scan.parts[:, :, EFS].argmax(axis=0)
    free = scan.parts[best, np.arange(N)].mean(axis=0)
    highest = scan.parts[:, :, CRS].mean(axis=1).max()
    if free[CRS] <= highest:
        assert oracle(scan, highest)["EFS730"] == pytest.approx(free[EFS])


def test_rates_that_no_choice_has_are_unknown(scan):
    assert oracle(scan, scan.parts[:, :, CRS].min(axis=0).mean() - 1e-6).isna().all()
    assert oracle(scan, 1.1).isna().all()


def test_more_arms_are_no_worse_and_failed_patients_do_not_count(scan):
    other = Scan("other", scan.intensities, scan.parts[:, ::-1].copy())
    level = float(np.mean(scan.parts[:, :, CRS]))
    assert oracle([scan, other], level)["EFS730"] >= oracle(scan, level)["EFS730"] - 1e-9
    broken = scan.parts.copy()
    broken[1, 2] = np.nan
    kept = Scan("kept", scan.intensities, np.delete(scan.parts, 2, axis=1))
    np.testing.assert_allclose(oracle(Scan("b", scan.intensities, broken), level), oracle(kept, level))


def test_bad_endpoints_get_one_sentence(scan):
    with pytest.raises(InputError, match="An oracle needs one of CR90"):
        oracle(scan, 0.3, endpoint="crs3")
