"""Who dies of leukemia first cannot die of toxicity: the cause of lower rates than ``1 - exp(-Ht)``."""

from __future__ import annotations

import numpy as np
import pytest

from fastcart.population import sample
from fastcart.protocols import get
from fastcart.trial.counterfactual import arm_course
from fastcart.trial.outcomes import contributions


@pytest.fixture(scope="module")
def course():
    return arm_course(get("A0"), sample(12, seed=3), dose=1e6)


def test_toxic_death_is_forestalled_by_death_of_leukemia(course):
    alone = -np.expm1(-course["Ht_730"].to_numpy())
    competing = contributions(course)["toxic_death"].to_numpy()
    assert (competing <= alone + 1e-12).all()
    assert competing.mean() < alone.mean()
    # without a hazard of leukemia both are the same
    none = course.assign(**{name: 0.0 for name in course if name.startswith("Hl_")})
    np.testing.assert_allclose(contributions(none)["toxic_death"], alone, rtol=1e-12, atol=1e-15)


def test_a_deadlier_crs_multiplies_the_hazard(course):
    none = course.assign(**{name: 0.0 for name in course if name.startswith("Hl_")})
    tenfold = contributions(none, hT_factor=10.0)["toxic_death"]
    np.testing.assert_allclose(tenfold, -np.expm1(-10.0 * course["Ht_730"]), rtol=1e-12, atol=1e-15)
    assert (contributions(course, hT_factor=10.0)["OS730"] <= contributions(course)["OS730"] + 1e-12).all()
