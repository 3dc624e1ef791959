"""Courses between measurements: against the closed form, on both sides of a dose."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fit_models import ORAL, oral_curve

from fastcart import InputError, SolveOptions, fit
from fastcart.fit.population_figures import courses

TIMES = np.array([1.0, 3.0, 24.0, 25.0])
TRUTH = {"a": (1.2, 2.5, 28.0), "b": (0.7, 4.0, 35.0)}
SEEN = fit.Observation("conc", "center / V", fit.additive(0.1))


def twice(time, *values):
    """The curve behind doses of 300 at 0 and 12."""
    later = np.where(time > 12, oral_curve(np.maximum(time - 12, 0), 300.0, *values), 0.0)
    return oral_curve(time, 300.0, *values) + later


@pytest.fixture(scope="module")
def data() -> fit.FitData:
    rows = []
    for name, values in TRUTH.items():
        rows.append({"ID": name, "TIME": 0.0, "AMT": 300.0, "CMT": "depot", "ADDL": 1, "II": 12.0})
        rows += [{"ID": name, "TIME": t, "DV": twice(t, *values), "CMT": "conc"} for t in TIMES]
    return fit.read(pd.DataFrame(rows), ORAL)


@pytest.fixture(scope="module")
def fitted(data) -> fit.IndividualFit:
    estimate = dict.fromkeys(("ka", "CL", "V"), (0.01, 200, "log"))
    guesses = {"ka": 1.0, "CL": 3.0, "V": 30.0}
    return fit.individual(
        ORAL, data, observations=SEEN, estimate=estimate, starts=1, guesses=guesses,
        options=SolveOptions(rtol=1e-8),
    )  # fmt: skip


def test_courses_of_individuals_follow_the_curve(fitted):
    np.testing.assert_allclose(fitted.values, list(TRUTH.values()), rtol=1e-3)
    table = fitted.courses()
    for name, values in zip(TRUTH, fitted.values, strict=True):
        mine = table[table["patient"] == name]
        time = mine["time"].to_numpy()
        np.testing.assert_allclose(mine["prediction"], twice(time, *values), rtol=1e-6, atol=1e-9)
        assert np.diff(time).min() == 0  # just before the second dose, and behind it
        assert np.diff(time).max() < 0.26
        assert (np.isin(TIMES, time)).all()
        assert (time[0], time[-1]) == (0.0, 25.0)


def test_times_and_patients_can_be_chosen(fitted):
    table = fitted.courses(["b"], times=[5.0, 2.0])
    assert table["patient"].tolist() == ["b", "b"]
    np.testing.assert_allclose(table["prediction"], twice(np.array([2.0, 5.0]), *fitted.values[1]), rtol=1e-6)
    with pytest.raises(InputError, match="The patient 'c' is not in the fit"):
        fitted.courses(["c"])
    with pytest.raises(InputError, match="from 0 to 25"):
        fitted.courses(times=[26.0])


def test_figures_of_populations_have_no_false_corners(data):
    found = fit.population(
        ORAL, data, random=["CL", "V"], observations=SEEN, chains=4, iterations=(20, 10), accuracy=5.0,
        draws=2048, starts=[{"CL": 3.0, "V": 30.0}],
    )  # fmt: skip
    table = found.courses()
    figure = courses(found)
    for name, axes in zip(TRUTH, figure.axes, strict=False):
        mine = table[table["patient"] == name]
        drawn, typical, *_ = axes.get_lines()
        np.testing.assert_array_equal(drawn.get_ydata(), mine["IPRED"])
        np.testing.assert_array_equal(typical.get_ydata(), mine["PRED"])
        k, of = list(TRUTH).index(name), found.modes.phi
        curve = twice(mine["time"].to_numpy(), 1.0, *np.exp(of[k]))
        np.testing.assert_allclose(mine["IPRED"], curve, rtol=1e-3, atol=1e-4)
