"""Likelihoods against closed forms: every error model, censoring, intervals; and unusual input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from fit_models import ORAL, oral_curve
from numba import njit
from scipy.special import lambertw, log_ndtr
from scipy.stats import norm

from fastcart import Model, SolveOptions, fit, models
from fastcart.errors import InputError
from fastcart.fit.densities import log_between, log_normal_tail
from fastcart.solvers.compile import plain

CLOSE = SolveOptions(rtol=1e-9)
ERRORS = {
    "additive": (fit.additive(0.7), lambda f: np.full_like(f, 0.7)),
    "proportional": (fit.proportional(0.2), lambda f: 0.2 * f),
    "combined1": (fit.combined1(0.3, 0.1), lambda f: 0.3 + 0.1 * f),
    "combined2": (fit.combined2(0.3, 0.1), lambda f: np.sqrt(0.09 + 0.01 * f * f)),
    "lognormal": (fit.lognormal(0.25), None),
}
THETA = np.array([[1.2, 2.5, 28.0], [0.7, 4.0, 35.0], [2.0, 3.0, 25.0]])
NAMES = ["ka", "CL", "V"]


def oral_table() -> pd.DataFrame:
    """Three patients, 300 units each, with values below and above limits, and intervals."""
    random = np.random.default_rng(5)
    parts = []
    for i in range(3):
        time = np.sort(random.uniform(0.2, 24, 9))
        value = oral_curve(time, 300.0, *THETA[i]) * np.exp(0.2 * random.standard_normal(9))
        rows = pd.DataFrame({"ID": i + 1, "TIME": time, "DV": value, "AMT": 0.0, "CENS": 0, "LIMIT": "."})
        rows.loc[[1, 7], "CENS"] = 1
        rows.loc[7, "LIMIT"] = 0.3 * rows.loc[7, "DV"]
        rows.loc[[3, 5], "CENS"] = -1
        rows.loc[5, "LIMIT"] = 3.0 * rows.loc[5, "DV"]
        dose = {"ID": i + 1, "TIME": 0.0, "DV": ".", "AMT": 300.0, "CENS": 0, "LIMIT": "."}
        parts += [pd.DataFrame([dose]), rows]
    return pd.concat(parts, ignore_index=True).astype(object)


def expected(of: Any, f: np.ndarray, kind: str) -> np.ndarray:
    """The log-density of each measurement, by scipy."""
    deviation = ERRORS[kind][1]
    value, limit, center = of.value, of.limit, f
    if deviation is None:
        value, limit, center, spread = np.log(value), np.log(limit), np.log(f), np.full_like(f, 0.25)
    else:
        spread = deviation(f)
    z, end = (value - center) / spread, (limit - center) / spread
    cut = np.where(of.censored > 0, norm.logcdf(z), norm.logsf(z))
    ends = np.sort(np.column_stack([z, end]), axis=1)
    between = np.log(norm.cdf(ends[:, 1]) - norm.cdf(ends[:, 0]))
    free = norm.logpdf(z) - np.log(spread)
    return np.where(of.censored == 0, free, np.where(np.isnan(limit), cut, between))


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_model_with_and_without_censoring(kind):
    data = fit.read(oral_table(), ORAL, observables={1: "conc"})
    prepared = fit.prepare(
        ORAL, data, NAMES, observations=fit.Observation("conc", "center / V", ERRORS[kind][0]), options=CLOSE
    )
    of = data.measurements
    f = oral_curve(of.time, 300.0, *THETA[of.patient].T)
    sums = np.bincount(of.patient, expected(of, f, kind))
    np.testing.assert_allclose(prepared.loglik(THETA, [0, 1, 2]), sums, rtol=1e-6)
    np.testing.assert_allclose(prepared.predictions(THETA, [0, 1, 2]).values, f, rtol=1e-7)
    # error parameters of each solve, and other ones for the same predictions
    twice = np.tile(2 * prepared.error_values, (2, 1))
    again = prepared.loglik(THETA[[1, 1]], [1, 1], np.vstack([prepared.error_values, twice[0]]))
    assert again[0] == prepared.loglik(THETA[[1]], [1])[0]
    found = prepared.predictions(THETA[[1, 1]], [1, 1])
    np.testing.assert_array_equal(prepared.density(found, [1, 1], twice)[1], again[1])


def test_density_of_the_logarithm_and_of_the_value():
    data = fit.read(oral_table(), ORAL, observables={1: "conc"})
    logs = fit.Observation("conc", "center / V", fit.lognormal(0.25))
    prepared = fit.prepare(ORAL, data, NAMES, observations=logs)
    of = data.measurements
    plain = of.censored == 0
    sums = np.bincount(of.patient[plain], np.log(of.value[plain]))
    np.testing.assert_allclose(prepared.log_values, sums, rtol=1e-14)


def test_tails_of_the_normal_distribution():
    tail, between = plain(log_normal_tail), plain(log_between)
    for z in (-1e6, -300.0, -40.0, -20.001, -19.999, -8.0, -1.0, 0.0, 0.9, 1.1, 6.0, 9.0):
        assert tail(z) == pytest.approx(log_ndtr(z), rel=1e-13)
    for low, high in ((-41.0, -40.0), (40.0, 41.0), (-1.0, 2.0), (-0.1, -0.0999), (-np.inf, -40.0)):
        a, b = (low, high) if low <= 0 else (-high, -low)
        with np.errstate(divide="ignore"):
            wanted = log_ndtr(b) + np.log1p(-np.exp(log_ndtr(a) - log_ndtr(b)))
        assert between(low, high) == pytest.approx(wanted, rel=1e-9)


def test_theophylline_and_warfarin(references):
    """Real tables: the file as it is, two formats of what was measured."""
    data = fit.read(references / "fit" / "theophylline.csv", ORAL, observables={2: "conc"})
    assert (data.patients, len(data.measurements.time), data.kinds) == (12, 132, ("conc",))
    prepared = fit.prepare(
        ORAL,
        data,
        NAMES,
        observations=fit.Observation("conc", "center / V", fit.additive(0.7)),
        options=CLOSE,
    )
    theta = np.exp(np.tile([0.45929, 1.01167, 3.45385], (12, 1)))
    of, dose = data.measurements, data.doses["amount"].to_numpy()
    f = oral_curve(of.time, dose[of.patient], *theta[of.patient].T)
    sums = np.bincount(of.patient, norm.logpdf(of.value, f, 0.7))
    np.testing.assert_allclose(prepared.loglik(theta, np.arange(12)), sums, rtol=1e-6)

    with pytest.warns(UserWarning, match="further ones"):
        data = fit.read(references / "fit" / "warfarin.csv", ORAL, map={"CMT": None})
    assert (data.patients, len(data.ids), set(data.kinds)) == (32, 32, {"cp", "pca"})
    theta = np.exp(np.tile([-0.5463, -2.0131, 2.0492], (32, 1)))
    for kind, (error, deviation) in ERRORS.items():
        if deviation is None or kind == "proportional":  # four measurements are 0
            continue
        one = fit.Observation("cp", "center / V", error)
        prepared = fit.prepare(ORAL, data, NAMES, observations=one, options=CLOSE)
        of = data.measurements.take(np.flatnonzero(data.measurements.kind == data.kinds.index("cp")))
        dose = data.doses.set_index("patient")["amount"].reindex(data.ids).to_numpy()
        f = oral_curve(of.time, dose[of.patient], *theta[of.patient].T)
        sums = np.bincount(of.patient, norm.logpdf(of.value, f, deviation(f)))
        np.testing.assert_allclose(prepared.loglik(theta, np.arange(32)), sums, rtol=1e-6)
    for error, name in ((fit.lognormal(0.2), "log-normal"), (fit.proportional(0.2), "proportional")):
        with pytest.raises(InputError, match=f"row 2 is 0, which a {name} error cannot take"):
            fit.prepare(ORAL, data, NAMES, observations=fit.Observation("cp", "center / V", error))


def test_a_proportional_error_takes_no_zero_unless_it_is_a_limit():
    table = pd.DataFrame({"ID": [1, 1, 2], "TIME": [1.0, 2.0, 1.0], "DV": [4.0, 0.0, 1.0], "CENS": [0, 0, 0]})
    data = fit.read(table, ORAL, observables={1: "conc"})
    one = fit.Observation("conc", "center / V", fit.proportional())
    for make in (
        lambda: fit.prepare(ORAL, data, NAMES, observations=one),
        lambda: fit.individual(ORAL, data, observations=one, estimate={"CL": (1, 9)}),
        lambda: fit.population(ORAL, data, observations=one, random=["CL"]),
    ):
        with pytest.raises(InputError, match="row 2 is 0, which a proportional error cannot take"):
            make()
    fit.prepare(
        ORAL, data, NAMES, observations=fit.Observation("conc", "center / V", fit.combined2(1.0, 0.1))
    )
    cut = fit.read(table.assign(CENS=[0, -1, 0]), ORAL, observables={1: "conc"})
    fit.prepare(ORAL, cut, NAMES, observations=one)


@njit
def _saturated(t, y, p):
    return (-p.VM / p.V * y.C / (p.KM + y.C),)


def test_michaelis_menten(references):
    table = pd.read_csv(references / "fit" / "Bolus_1CPTMM.csv").query("SD == 1")
    table = table[["ID", "TIME", "DV", "MDV", "EVID", "AMT", "DOSE"]]
    model = Model("saturated", {"C": 0.0}, {"V": 60.0, "VM": 900.0, "KM": 250.0, "F": 1.0}, _saturated)
    model = model.replace(
        parameters=[
            *(x for x in model.parameters if x.name != "F"),
            type(model.parameters[0])("F", lambda values: 1.0 / values["V"]),
        ]
    )
    data = fit.read(table, model, observables={1: "C"}, ignore=["DOSE"], bioavailability={"C": "F"})
    assert (data.patients, len(data.measurements.time)) == (120, 2274)
    prepared = fit.prepare(
        model, data, ["V", "VM", "KM"], observations=fit.Observation("C", "C", fit.lognormal(0.2006)),
        options=SolveOptions(rtol=1e-9, atol=1e-13),
    )  # fmt: skip
    theta = np.exp(np.tile([4.2009, 6.8339, 5.4011], (120, 1)))
    of, dose = data.measurements, data.doses.set_index("patient")["amount"].reindex(data.ids).to_numpy()
    V, VM, KM = theta[0]
    start = dose[of.patient] / V
    f = KM * lambertw(start / KM * np.exp((start - VM / V * of.time) / KM)).real
    sums = np.bincount(of.patient, norm.logpdf(np.log(of.value), np.log(f), 0.2006))
    np.testing.assert_allclose(prepared.loglik(theta, np.arange(120)), sums, rtol=1e-6)


def test_cart_kinetics(references):
    """Initial values by parameters, a break of each solve, values below the limit of quantification."""
    folder = references / "fit"
    model = models.get("cart_kinetics")
    with pytest.warns(UserWarning, match="17 measurements have the patient, time and kind of another"):
        data = fit.read(folder / "cart_kinetics.csv", model, observables={1: "cells"})
    assert (data.patients, len(data.measurements.time), int(data.measurements.censored.sum())) == (
        90,
        1185,
        173,
    )
    prepared = fit.prepare(
        model, data, observations=fit.Observation("cells", "cells", fit.lognormal(0.56)), options=CLOSE
    )
    theta = pd.read_csv(folder / "cart_kinetics_true_individual.csv")[list(prepared.columns)].to_numpy()
    of = data.measurements
    foldx, Tmax, Cmax, alpha, FB, beta = theta[of.patient].T
    s = of.time - Tmax
    behind = Cmax * ((1 - FB) * np.exp(-alpha * np.maximum(s, 0)) + FB * np.exp(-beta * np.maximum(s, 0)))
    f = np.where(s < 0, Cmax / foldx * np.exp(np.log(foldx) / Tmax * np.minimum(of.time, Tmax)), behind)
    z = (np.log(of.value) - np.log(f)) / 0.56
    each = np.where(of.censored == 1, log_ndtr(z), norm.logpdf(z) - np.log(0.56))
    found = prepared.loglik(theta, np.arange(90))
    np.testing.assert_allclose(found, np.bincount(of.patient, each), rtol=1e-6)


# ---- what is no ordinary input -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared() -> fit.PreparedLikelihood:
    """Four patients: as above, one with a single measurement, one without, one with all below the limit."""
    table = oral_table()
    more = pd.DataFrame({"ID": [4, 5, 6, 6], "TIME": [2.0, 0.0, 1.0, 5.0], "DV": [5.0, ".", 9.0, 8.0],
                         "AMT": [0.0, 300.0, 0.0, 0.0], "CENS": [0, 0, 1, 1], "LIMIT": "."})  # fmt: skip
    data = fit.read(pd.concat([table, more.astype(object)], ignore_index=True), ORAL, observables={1: "conc"})
    return fit.prepare(
        ORAL, data, NAMES, observations=fit.Observation("conc", "center/V", fit.combined1(0.3, 0.1))
    )


def test_identical_solves_are_all_solved(prepared):
    found = prepared.loglik(np.tile(THETA[0], (500, 1)), np.zeros(500, dtype=int))
    assert np.isfinite(found).all()
    assert len(np.unique(found)) == 1


def test_patients_with_little(prepared):
    one, none, censored = prepared.loglik(np.tile(THETA[0], (3, 1)), [3, 4, 5])
    assert one == pytest.approx(norm.logpdf(5.0, 0.0, 0.3), rel=1e-9)  # no dose, so no concentration
    assert none == 0.0
    assert np.isfinite(censored)
    assert censored == pytest.approx(norm.logcdf([9.0, 8.0], 0.0, 0.3).sum(), abs=1e-12)
    assert prepared.measurements([3, 4, 5]).tolist() == [1, 0, 2]


def test_no_solve_at_all(prepared):
    assert prepared.loglik(np.empty((0, 3)), np.empty(0, dtype=int)).shape == (0,)


def test_failures_are_minus_infinity_and_counted(prepared):
    prepared.counts.clear()
    theta = np.vstack([THETA, -THETA[0], np.full(3, np.nan), [1e9, 1e9, 1e-9]])
    found = prepared.loglik(theta, np.arange(6) % 3)
    assert np.isfinite(found[:3]).all()
    assert (found[3:] == -np.inf).all()
    assert prepared.counts["ok"] == 3
    assert prepared.counts["out_of_range"] == 2
    assert sum(prepared.counts.values()) == 6
    everyone = prepared.loglik(np.full((40, 3), np.nan), np.zeros(40, dtype=int))
    assert (everyone == -np.inf).all()


def test_results_depend_on_nobody(prepared, monkeypatch):
    random = np.random.default_rng(0)
    theta = np.exp(np.log(THETA[0]) + 0.5 * random.standard_normal((700, 3)))
    who = random.integers(0, 6, 700)
    whole = prepared.loglik(theta, who)
    alone = np.array([prepared.loglik(theta[[i]], who[[i]])[0] for i in range(0, 700, 50)])
    np.testing.assert_array_equal(whole[::50], alone)
    monkeypatch.setattr("fastcart.fit.likelihood._TOGETHER", 99)
    np.testing.assert_array_equal(prepared.loglik(theta, who), whole)
    for threads in (1, 2):
        monkeypatch.setattr(prepared._courses, "threads", threads)
        monkeypatch.setattr("fastcart.solvers.threads._FEW_NUMBERS", 10)
        np.testing.assert_array_equal(prepared.loglik(theta, who), whole)


def test_small_predictions_stay_finite_and_are_counted():
    table = pd.DataFrame({"ID": [1, 1], "TIME": [0.0, 2.0], "DV": [0.5, 4.0]})
    data = fit.read(table, ORAL, observables={1: "conc"})
    for error in (fit.proportional(0.2), fit.lognormal(0.2)):
        prepared = fit.prepare(ORAL, data, NAMES, observations=fit.Observation("conc", "center / V", error))
        assert np.isfinite(prepared.loglik(THETA[[0]], [0])).all()  # no dose: all predictions are zero
        assert prepared.floored == 2


def test_slopes_of_predictions(prepared):
    """Forward sensitivities, which the model has, against differences of the closed form."""
    found, slopes = prepared.slopes(THETA, [0, 1, 2])
    of = prepared.data.measurements
    mine = of.patient < 3
    theta = THETA[of.patient[mine]]
    for k in range(3):
        step = 1e-6 * theta[:, k]
        ends = []
        for side in (-1, 1):
            moved = theta.copy()
            moved[:, k] += side * step
            ends.append(oral_curve(of.time[mine], 300.0, *moved.T))
        np.testing.assert_allclose(slopes[:, k], (ends[1] - ends[0]) / (2 * step), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.values, oral_curve(of.time[mine], 300.0, *theta.T), rtol=1e-5)


@pytest.mark.parametrize(
    ("theta", "who", "error", "says"),
    [
        (np.ones((2, 2)), [0, 1], None, "3 columns (ka, CL, V), not the shape (2, 2)"),
        (np.ones((2, 3)), [0], None, "1 row, one for each entry of the patient index"),
        (np.ones((1, 3)), [6], None, "places from 0 to 5"),
        (np.ones((1, 3)), [0.5], None, "whole numbers"),
        (np.ones((1, 3)), [0], [1.0], "must be 2 numbers (a_conc, b_conc)"),
        (np.ones((1, 3)), [0], [1.0, -1.0], "must be above 0"),
    ],
)
def test_bad_calls_get_one_sentence(prepared, theta, who, error, says):
    with pytest.raises(InputError) as caught:
        prepared.loglik(theta, who, error)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_preparations_get_one_sentence():
    data = fit.read(oral_table(), ORAL, observables={1: "conc"})
    good = fit.Observation("conc", "center / V", fit.additive())
    for arguments, says in (
        (dict(observations=fit.Observation("konc", "center", fit.additive())), "no measurement 'konc'"),
        (dict(observations=fit.Observation("conc", "centre", fit.additive())), "uses 'centre'"),
        (dict(observations=[good, good]), "given twice"),
        (dict(observations=[]), "a list of fastcart.fit.Observation"),
        (dict(observations=fit.Observation("conc", "center", fit.measured())), "no known standard deviation"),
        (dict(observations=good, parameters=["kb"]), "no parameter or state 'kb'"),
        (dict(observations=good, options=SolveOptions(engine="lsoda")), "'auto' or 'lanes', not 'lsoda'"),
        (dict(observations=good, options=SolveOptions(peaks=["center"])), "looks for no peaks"),
        (dict(observations=good, options=SolveOptions(t_end=3.0)), "after the horizon 3; raise t_end"),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            fit.prepare(ORAL, data, **arguments)
        assert says in str(caught.value)
    for make, says in (
        (lambda: fit.additive(-1.0), "'a' must be a positive"),
        (lambda: fit.Observation(1, "center", "additive"), "must be additive()"),
        (lambda: fit.Observation(1, 3, fit.additive()), "must be a formula"),
        (lambda: fit.prepare(ORAL, oral_table(), observations=good), "must come from fastcart.fit.read"),
    ):
        with pytest.raises(InputError) as caught:
            make()
        assert says in str(caught.value)
    with pytest.raises(InputError, match="have no value yet"):
        fit.prepare(ORAL, data, NAMES, observations=good).loglik(THETA[[0]], [0])
