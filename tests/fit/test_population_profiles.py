"""Profiles of populations: against the closed form of a linear model, and against quadrature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fit_models import LINE, ORAL
from scipy.optimize import minimize

from fastcart import InputError, fit
from fastcart.fit.modes import modes, quadrature

STRAIGHT = fit.Observation("y", "a + b * t", fit.additive())
TIMES = np.array([0.0, 3.0, 6.0, 9.0])


def lines(patients: int = 16) -> pd.DataFrame:
    random = np.random.default_rng(5)
    rows = []
    for i in range(patients):
        a, b = 5.0 + random.standard_normal(), -0.5 + 0.4 * random.standard_normal()
        rows += [(i, t, a + b * t + 0.5 * random.standard_normal(), "y") for t in TIMES]
    return pd.DataFrame(rows, columns=["ID", "TIME", "DV", "DVID"])


def exact(row: np.ndarray) -> float:
    """-2 ln L of straight lines, all measured at the same times: means, ln omega twice, ln s."""
    z = np.column_stack([np.ones(4), TIMES])
    covariance = z @ np.diag(np.exp(2 * row[2:4])) @ z.T + np.exp(2 * row[4]) * np.eye(4)
    away = lines()["DV"].to_numpy().reshape(-1, 4) - z @ row[:2]
    return float(
        len(away) * np.linalg.slogdet(2 * np.pi * covariance)[1]
        + np.einsum("ij,ij->", away @ np.linalg.inv(covariance), away)
    )


@pytest.fixture(scope="module")
def fitted() -> fit.PopulationFit:
    return fit.population(
        LINE, fit.read(lines(), LINE), observations=STRAIGHT, random=["a", "b"], iterations=(100, 60),
        scales={"a": "normal", "b": "normal"}, starts=[{"a": 4.0, "b": -0.3}],
    )  # fmt: skip


@pytest.mark.parametrize("name", ["a", "omega_b", "a_y"])
def test_a_profile_is_that_of_the_closed_form(fitted, name):
    found = fit.profile(fitted, name, points=5)
    assert set(found.says) == {"ok"}
    which = fitted.names.index(name)
    others = [k for k in range(5) if k != which]
    best = minimize(exact, fitted.row, method="BFGS").fun
    for at, rise, error, row in zip(found.grid, found.rise, found.error, found.rows, strict=True):

        def held(x, at=at):
            whole = np.empty(5)
            whole[which], whole[others] = at, x
            return exact(whole)

        known = minimize(held, fitted.row[others], method="BFGS")
        assert row[which] == at
        np.testing.assert_allclose(row[others], known.x, atol=0.02)
        assert abs(rise - (known.fun - best)) < 4 * error + 0.01
        assert error < 0.1
    assert found.rise.max() > 6
    low, high = found.interval()
    assert low < fitted.natural(fitted.row)[which] < high
    assert f"{name} " in found.summary()
    assert found.table()["says"].tolist() == ["ok"] * 5


def test_an_interval_ends_where_the_rise_is_a_quantile(fitted):
    """Of a mean the profile is near a parabola: the ends lie 1.96 standard errors away."""
    low, high = fit.profile(fitted, "b", points=9).interval()
    error = fitted.table().set_index("parameter").loc["b", "se"]
    assert 1.8 < (high - low) / (2 * error) < 2.4
    narrow = fit.profile(fitted, "b", points=3, width=1.0)
    assert np.isnan(narrow.interval()).all()
    assert "no end within the places" in narrow.summary()


def test_places_can_be_given(fitted):
    places = [0.3, 0.5]
    found = fit.profile(fitted, "omega_b", places=places)
    np.testing.assert_allclose(found.table()["place"], places, rtol=1e-9)
    np.testing.assert_allclose(found.table()["omega_b"], places, rtol=1e-9)


def test_a_place_that_draws_do_not_reach_is_not_given(fitted):
    found = fit.profile(fitted, "a", places=[4.9, 25.0])
    assert found.says[0] == "ok"
    assert found.says[1] != "ok"
    assert np.isnan(found.rise[1])
    assert "1 of 2 places" in found.summary()


def test_schedules_have_the_fitted_population_as_prior(fitted):
    found = fit.designs(fitted, {"far": [0, 9], "near": [0, 1]}, quantity="b", patients=20)
    values = fitted.values
    for k, times in enumerate(found.schedules.values()):
        z = np.column_stack([np.ones(2), times])
        covariance = np.linalg.inv(np.linalg.inv(values.omega) + z.T @ z / values.errors[0] ** 2)
        np.testing.assert_allclose(found.sd[:, k], np.sqrt(covariance[1, 1]), rtol=1e-4)
    np.testing.assert_allclose(found.without, np.sqrt(values.omega[1, 1]), rtol=1e-6)
    with pytest.raises(InputError, match="A fit says what is estimated"):
        fit.designs(fitted, {"far": [0, 9]}, quantity="b", observations=STRAIGHT)


@pytest.mark.slow
def test_theophylline_by_quadrature():
    """At the refitted estimates nothing but what is held has a slope, and the rise is that of quadrature."""
    table = pd.read_csv(Path(__file__).parent / "theophylline.csv")
    table["CMT"] = np.where(table["EVID"] == 1, "depot", "conc")
    whole = fit.population(
        ORAL, fit.read(table, ORAL), random=["ka", "CL", "V"], iterations=(120, 60), accuracy=0.02,
        observations=fit.Observation("conc", "center / V", fit.additive()),
        starts=[{"ka": 1.6, "CL": 2.8, "V": 32.0, "a_conc": 0.7}],
    )  # fmt: skip
    complete = whole.complete

    def at(row):
        values = complete.effects.unpack(row)
        found = modes(complete, values, whole.best.known.summary.mean[:, np.newaxis], whole.deviations)
        return -2.0 * quadrature(complete, row, found, 15).sum()

    best = at(whole.row)
    for name, places in {"CL": [2.3, 3.2], "omega_ka": [0.4, 1.0]}.items():
        profile = fit.profile(whole, name, places=places)
        which = whole.names.index(name)
        for rise, row in zip(profile.rise, profile.rows, strict=True):
            here = at(row)
            assert here - best == pytest.approx(rise, abs=0.03)
            for k, error in enumerate(np.sqrt(np.diag(whole.cov))):
                for side in (-0.3, 0.3):
                    moved = row.copy()
                    moved[k] += side * error * (k != which)
                    assert at(moved) >= here


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(parameter="c"), "The fit has no estimate 'c'"),
        (dict(points=2), "at least 3 points, the optimum and one to each side, not 2"),
        (dict(width=0), "The width must be a positive"),
        (dict(places=3.0), "The places of a profile must be a list of numbers"),
        (dict(places=[]), "The places of a profile must be a list of numbers"),
        (dict(places=[-1.0], parameter="omega_a"), "lies outside of what it can be"),
        (dict(seed=-1), "The seed must be a whole number"),
    ],
)
def test_bad_input_is_one_sentence(fitted, change, sentence):
    how = dict(parameter="a") | change
    with pytest.raises(InputError, match=sentence):
        fit.profile(fitted, how.pop("parameter"), **how)
