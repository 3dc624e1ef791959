"""Sampling schedules: against closed forms of the information, and against numerical integrals."""

from __future__ import annotations

import tomllib

import numpy as np
import pandas as pd
import pytest
from fit_models import LINE, ORAL, oral_curve
from numba import njit
from scipy.integrate import quad
from scipy.stats import norm

from fastcart import InputError, Model, Parameter, fit
from fastcart.fit.information import of_measurements
from fastcart.fit.spec_designs import designs_of
from fastcart.specification import Table


@njit
def _falls(t, y, p):
    return (-p.k * y.c,)


DECAY = Model("decay", {"c": 10.0}, [Parameter("k", 0.1)], _falls, t_end=100.0)
TIMES = {f"day {t:g}": [t] for t in np.arange(1.0, 41.0)}


@pytest.fixture(scope="module")
def decay() -> fit.Designs:
    return fit.designs(
        DECAY, TIMES, quantity="k", patients=pd.DataFrame({"k": [0.05, 0.1]}),
        estimate={"k": ("normal", None)}, observations=fit.Observation("c", "c", fit.additive(0.3)),
    )  # fmt: skip


def test_a_rate_is_best_told_at_its_inverse(decay):
    """Known start, additive error: the standard deviation is s exp(k t) / (C0 t), least at t = 1 / k."""
    t = np.arange(1.0, 41.0)
    for k, rate in enumerate((0.05, 0.1)):
        np.testing.assert_allclose(decay.sd[k], 0.3 * np.exp(rate * t) / (10.0 * t), rtol=1e-4)
        assert t[decay.sd[k].argmin()] == 1 / rate
        assert t[decay.log_det[k].argmax()] == 1 / rate
    assert np.isinf(decay.without).all()
    table = decay.table()
    assert (table["sd"].diff().dropna() >= 0).all()
    assert (table["above"] == 1).all()


def test_measurements_below_the_limit_say_less():
    """With a limit that is soon reached the best visit is earlier, and nothing is lost where it is far."""
    how = dict(
        quantity="log(k)", estimate={"k": ("log", 0.5)}, patients=pd.DataFrame({"k": [0.1]}),
        observations=fit.Observation("c", "c", fit.lognormal(0.3)),
    )  # fmt: skip
    free = fit.designs(DECAY, TIMES, **how)
    # of log-normal errors ln f = ln C0 - k t: information (k t / s)^2 about ln k
    t = np.arange(1.0, 41.0)
    np.testing.assert_allclose(free.sd[0], (1 / 0.25 + (0.1 * t / 0.3) ** 2) ** -0.5, rtol=1e-4)
    assert free.without == pytest.approx(0.5)
    low = fit.designs(DECAY, TIMES, limit=1e-3, **how)
    np.testing.assert_allclose(low.sd, free.sd, rtol=1e-6)
    cut = fit.designs(DECAY, TIMES, limit=1.0, **how)
    assert (cut.sd >= free.sd - 1e-12).all()
    assert cut.sd[0].argmin() < 25  # at t = 23 the prediction is the limit
    assert cut.sd[0][-1] == pytest.approx(0.5, rel=0.01)
    expected = norm.sf((0.0 - np.log(10.0) + 0.1 * t) / 0.3)
    np.testing.assert_allclose(cut.above[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "error", [fit.additive(0.4), fit.proportional(0.3), fit.combined1(0.2, 0.2), fit.combined2(0.3, 0.2)]
)
@pytest.mark.parametrize("limit", [None, 1.5, 4.0])
def test_information_is_the_mean_square_of_the_score(error, limit):
    one = fit.Observation("c", "c", error)
    errors = np.array(error.values, dtype=float)
    f = np.array([0.5, 2.0, 5.0])

    def deviation(x):
        a, b = (errors[0], 0.0) if error.names == ("a",) else (0.0, errors[0])
        if len(errors) == 2:
            a, b = errors
        return np.hypot(a, b * x) if error.kind == fit.combined2().kind else a + b * x

    for x, found, above in zip(f, *of_measurements(f, one, errors, limit), strict=True):

        def score(y, of=norm.logpdf, x=x):
            high, low = (of(y, x + h, deviation(x + h)) for h in (1e-5, -1e-5))
            return (high - low) / 2e-5

        def square(y, x=x):
            return score(y) ** 2 * norm.pdf(y, x, deviation(x))

        start = x - 12 * deviation(x) if limit is None else limit
        end = max(x, start) + 12 * deviation(x)
        exact = quad(square, start, end, limit=200)[0]
        seen = 1.0
        if limit is not None:
            hidden = norm.cdf(limit, x, deviation(x))
            exact += score(limit, norm.logcdf) ** 2 * hidden
            seen = 1 - hidden
        assert found == pytest.approx(exact, rel=1e-5)
        assert above == pytest.approx(seen, rel=1e-9, abs=1e-12)


def test_two_parameters_with_a_prior_are_those_of_the_linear_model():
    """The posterior covariance of a straight line is known; so is that of what it will be later."""
    schedules = {"early": [0, 1], "late": [0, 9], "twice": [9, 9]}
    found = fit.designs(
        LINE, schedules, quantity="a + b * t", at=10.0, patients=pd.DataFrame({"a": [2.0], "b": [-0.5]}),
        estimate={"a": ("normal", 1.0), "b": ("normal", 0.5)},
        observations=fit.Observation("y", "a + b * t", fit.additive(0.4)),
    )  # fmt: skip
    direction = np.array([1.0, 10.0])
    for k, times in enumerate(schedules.values()):
        z = np.column_stack([np.ones(2), times])
        precision = np.diag([1.0, 4.0]) + z.T @ z / 0.16
        assert found.sd[0, k] == pytest.approx(np.sqrt(direction @ np.linalg.solve(precision, direction)))
        assert found.log_det[0, k] == pytest.approx(np.linalg.slogdet(precision)[1])
    assert found.without[0] == pytest.approx(np.sqrt(1.0 + 25.0))
    assert found.table()["schedule"].tolist()[-1] == "early"


ORAL_VISITS = np.array([1.0, 4.0, 12.0])


def oral_deviations(doses: pd.DataFrame | None) -> np.ndarray:
    """How exactly one visit tells the volume of a patient that is given doses."""
    found = fit.designs(
        ORAL, {f"{t:g}": [t] for t in ORAL_VISITS}, quantity="log(V)", estimate={"V": ("log", None)},
        patients=pd.DataFrame({"ka": [1.2], "CL": [2.5], "V": [28.0]}),
        observations=fit.Observation("conc", "center / V", fit.additive(0.5)), doses=doses,
    )  # fmt: skip
    return found.sd[0]


def test_doses_are_given_to_all_patients():
    step = 1e-6
    found = oral_deviations(pd.DataFrame({"TIME": [0.0], "AMT": [300.0], "CMT": ["depot"]}))
    high, low = (oral_curve(ORAL_VISITS, 300.0, 1.2, 2.5, 28.0 * np.exp(x)) for x in (step, -step))
    np.testing.assert_allclose(found, 0.5 / np.abs((high - low) / (2 * step)), rtol=1e-3)


def test_doses_of_a_specification_are_a_bolus_and_an_infusion():
    """Of 300 into the depot at once, and 40 into the blood from hour 2 to 5: closed forms, superposed."""
    text = """
        quantity = "log(V)"
        schedules = { first = [1.0] }
        dose = [
            { time = 0, amount = 300, state = "depot" },
            { time = 2, amount = 40, state = "center", duration = 3 },
        ]
    """
    spec = designs_of(Table(tomllib.loads(text), "the table [designs]"), ORAL)

    def curve(V: float) -> np.ndarray:
        k = 2.5 / V
        since = [np.maximum(ORAL_VISITS - t, 0.0) for t in (2.0, 5.0)]
        infused = 40 / 3 / 2.5 * (np.exp(-k * since[1]) - np.exp(-k * since[0]))
        return oral_curve(ORAL_VISITS, 300.0, 1.2, 2.5, V) + infused

    step = 1e-6
    slope = (curve(28.0 * np.exp(step)) - curve(28.0 * np.exp(-step))) / (2 * step)
    np.testing.assert_allclose(oral_deviations(spec.doses), 0.5 / np.abs(slope), rtol=1e-3)


@pytest.mark.parametrize(
    ("dose", "sentence"),
    [
        (
            {"amount": 1.0, "state": "depo"},
            "must be a state of model 'oral', not 'depo'. Did you mean 'depot'?",
        ),
        ({"amount": 1.0}, "A ..designs.dose.. has no entry 'state', which it needs; give a text"),
        ({"state": "depot"}, "'amount' of a ..designs.dose.. must be above 0"),
        ({"amount": 1.0, "state": "depot", "time": -1.0}, "'time' and 'duration' not below 0"),
        ({"amount": "much", "state": "depot"}, "'amount' of a ..designs.dose.. must be a "),
        ({"amount": 1.0, "state": "depot", "rate": 2.0}, "There is no entry 'rate'"),
        (3, "must be a table, not 3"),
    ],
)
def test_bad_doses_of_a_specification_are_one_sentence(dose, sentence):
    table = {"quantity": "log(V)", "schedules": {"first": [1.0]}, "dose": [dose]}
    with pytest.raises(InputError, match=sentence):
        designs_of(Table(table, "the table [designs]"), ORAL)


def test_a_figure(decay, tmp_path):
    pytest.importorskip("matplotlib")
    assert decay.figure(tmp_path / "visits.png", unit="days").stat().st_size > 5000


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(schedules={}), "The schedules must be a mapping of names to times"),
        (dict(schedules={"a": []}), "The schedule 'a' must be a list of times from 0 on"),
        (dict(schedules={"a": [-1]}), "The schedule 'a' must be a list of times from 0 on"),
        (dict(quantity="log(q)"), "'q', which is no state, parameter or observable"),
        (dict(limit=-1), "The limit of quantification must be above 0"),
        (dict(at=-1), "must be 0 or later"),
        (dict(patients=5), "need a table of virtual patients"),
        (dict(estimate=None), "need what is not known of a patient"),
        (dict(estimate={"k": ("ln", 1)}), "must be .'log' or 'normal', standard deviation or None."),
        (dict(estimate={"q": ("log", 1)}), "have no column 'q'"),
        (dict(observations=fit.Observation("c", "c", fit.additive())), "need values of their errors"),
        (dict(observations=fit.Observation("c", "c", fit.measured())), "takes deviations from a table"),
    ],
)
def test_bad_input_is_one_sentence(change, sentence):
    how = dict(
        schedules={"a": [1.0]}, quantity="k", estimate={"k": ("log", 1.0)},
        patients=pd.DataFrame({"k": [0.1]}), observations=fit.Observation("c", "c", fit.additive(0.3)),
    )  # fmt: skip
    with pytest.raises(InputError, match=sentence):
        fit.designs(DECAY, **(how | change))
