"""Statistics of trials: against lifelines, statsmodels and SciPy, exact answers, type I error."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fastcart.errors import InputError
from fastcart.trial.analysis import (
    UNOBSERVABLE,
    analyse,
    compare_pairs,
    cumulative_incidence,
    proportion,
    risk_difference,
    survival_contrasts,
)
from fastcart.trial.observe import CAUSES, observe, run_trial
from fastcart.trial.power import fisher, power_table, replicate_trials, required_size
from fastcart.trial.randomize import Design, draw, enroll, follow_up, randomize, strata_of
from fastcart.trial.survival import cox, logrank, restricted_mean

HORIZON = 730.0


def tied_trials(trials: int = 12, n: int = 70, seed: int = 0):
    """Return times with heavy ties, events and arms of several trials."""
    rng = np.random.default_rng(seed)
    treated = rng.random((trials, n)) < 0.5
    time = np.round(rng.exponential(np.where(treated, 8, 5))) + 1
    return time, rng.random((trials, n)) < 0.7, treated


def made_outcomes(n: int = 2000, *, seed: int = 0, scale: float = 600.0, crs: float = 0.45) -> pd.DataFrame:
    """Return outcomes like those of the model, without solving it."""
    rng = np.random.default_rng(seed)
    relapse = rng.exponential(scale, n)
    death = rng.exponential(3 * scale, n)
    CR90 = (rng.random(n) < 0.8) & (death > 30)
    efs = np.where(CR90, np.minimum(relapse, death), np.minimum(90.0, death))
    relapsed = CR90 & (relapse < death) & (relapse <= HORIZON)
    grade3 = rng.random(n) < crs
    return pd.DataFrame(
        {
            "CR28": CR90 & (rng.random(n) < 0.9),
            "CR90": CR90,
            "crs3": grade3,
            "crs4": grade3 & (rng.random(n) < 0.5),
            "toxic_death": grade3 & (rng.random(n) < 0.03),
            "efs": np.minimum(efs, HORIZON),
            "efs_event": efs <= HORIZON,
            "os": np.minimum(death, HORIZON),
            "os_event": death <= HORIZON,
            "t_relapse": np.where(relapsed, relapse, np.inf),
            "relapse_type": np.where(relapsed, np.where(rng.random(n) < 0.5, "CD19-", "CD19+"), ""),
        }
    )


@pytest.fixture(scope="module")
def burden() -> np.ndarray:
    return 10 ** np.random.default_rng(5).normal(10.7, 0.65, 2000)


# ---- survival statistics of many trials at once


def test_cox_and_logrank_agree_with_the_libraries():
    lifelines = pytest.importorskip("lifelines")
    from lifelines.statistics import logrank_test
    from statsmodels.duration.hazard_regression import PHReg

    time, event, treated = tied_trials()
    beta, error, p = cox(time, event, treated)
    chi_square, p_logrank = logrank(time, event, treated)
    for k in range(len(time)):
        x = treated[k].astype(float)
        fit = PHReg(time[k], x[:, None], status=event[k], ties="efron").fit()
        assert beta[k] == pytest.approx(fit.params[0], abs=1e-8)
        assert error[k] == pytest.approx(fit.bse[0], abs=1e-8)
        assert p[k] == pytest.approx(fit.pvalues[0], abs=1e-8)
        test = logrank_test(time[k][x == 1], time[k][x == 0], event[k][x == 1], event[k][x == 0])
        assert chi_square[k] == pytest.approx(test.test_statistic, rel=1e-9)
        assert p_logrank[k] == pytest.approx(test.p_value, rel=1e-8)
    frame = pd.DataFrame({"time": time[0], "event": event[0], "x": treated[0].astype(float)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = lifelines.CoxPHFitter().fit(frame, "time", "event")
    assert beta[0] == pytest.approx(model.params_["x"], abs=1e-3)  # the library stops its iteration early


def test_logrank_agrees_with_scipy():
    time, event, treated = tied_trials(seed=4)
    data = [
        stats.CensoredData(uncensored=time[0][g & event[0]], right=time[0][g & ~event[0]])
        for g in (treated[0], ~treated[0])
    ]
    assert logrank(time, event, treated)[1][0] == pytest.approx(stats.logrank(*data).pvalue, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(0.1, 50))
def test_invariances_of_survival_statistics(seed, factor):
    time, event, treated = tied_trials(3, 40, seed)
    order = np.random.default_rng(seed).permutation(40)
    for statistic in (cox, logrank):
        first = statistic(time, event, treated)
        # neither the unit of time, nor the order of patients, nor the other trials matter
        np.testing.assert_allclose(first, statistic(time * factor, event, treated), rtol=1e-9)
        shuffled = statistic(time[:, order], event[:, order], treated[:, order])
        np.testing.assert_allclose(first, shuffled, rtol=1e-9)
        np.testing.assert_allclose(
            np.array(first)[:, :1], statistic(time[:1], event[:1], treated[:1]), rtol=1e-9
        )
    # exchanging the arms turns the hazard ratio over
    np.testing.assert_allclose(cox(time, event, ~treated)[0], -cox(time, event, treated)[0], atol=1e-9)


def test_no_hazard_ratio_where_one_arm_has_no_event():
    time = np.array([[1.0, 2, 3, 4], [1, 2, 3, 4]])
    event = np.array([[True, True, False, False], [False] * 4])
    treated = np.array([[True, True, False, False]] * 2)
    beta, error, p = cox(time, event, treated)
    assert beta[0] == np.inf  # all events that there are, in the treatment arm
    assert np.isnan([error[0], p[0], beta[1], error[1], p[1]]).all()
    assert np.isnan(logrank(time, event, treated)[1][1])


def test_restricted_mean():
    pytest.importorskip("lifelines")
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    time, event, _ = tied_trials()
    mean, error = restricted_mean(time, event, 10.0)
    for k in range(len(time)):
        fit = KaplanMeierFitter().fit(time[k], event[k])
        assert mean[k] == pytest.approx(restricted_mean_survival_time(fit, t=10.0), rel=1e-9)
    # without censoring it is a mean of numbers
    mean, error = restricted_mean(time, np.ones_like(event), 10.0)
    short = np.minimum(time, 10.0)
    np.testing.assert_allclose(mean, short.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(error, short.std(axis=1) / math.sqrt(time.shape[1]), rtol=1e-9)
    # nobody has an event: everyone lives to the horizon, for certain
    mean, error = restricted_mean(time, np.zeros_like(event), 10.0)
    np.testing.assert_array_equal(mean, 10.0)
    np.testing.assert_array_equal(error, 0.0)


def test_restricted_mean_error_agrees_with_the_bootstrap():
    time, event, _ = tied_trials(1, 150, 8)
    _, error = restricted_mean(time, event, 12.0)
    rows = np.random.default_rng(1).integers(150, size=(2000, 150))
    resampled, _ = restricted_mean(time[0][rows], event[0][rows], 12.0)
    assert error[0] == pytest.approx(resampled.std(), rel=0.06)


# ---- one trial


def test_intervals_of_a_proportion_are_the_published_ones():
    # Frey et al. 2020, single dose cohort: 3 of 9, exact interval [.07, .70]
    row = proportion(3, 9)
    assert (round(row["exact_low"], 2), round(row["exact_high"], 2)) == (0.07, 0.70)
    exact = stats.binomtest(18, 20).proportion_ci(method="exact")
    wilson = stats.binomtest(18, 20).proportion_ci(method="wilson")
    row = proportion(18, 20)
    assert (row["exact_low"], row["exact_high"]) == pytest.approx((exact.low, exact.high))
    assert (row["wilson_low"], row["wilson_high"]) == pytest.approx((wilson.low, wilson.high))
    assert math.isnan(proportion(0, 0)["share"])


def test_risk_difference_and_number_needed():
    # Newcombe 1998, Stat Med 17:873, table II, column (a): 56/70 - 48/80, method 10
    newcombe, score, needed = risk_difference((48, 80), (56, 70))
    assert newcombe["estimate"] == pytest.approx(0.2)
    assert (round(newcombe["low"], 4), round(newcombe["high"], 4)) == (0.0524, 0.3339)
    assert score["low"] < 0.2 < score["high"]
    assert newcombe["p"] == pytest.approx(stats.fisher_exact([[56, 14], [48, 32]]).pvalue)
    assert needed["estimate"] == pytest.approx(5)
    assert (needed["low"], needed["high"]) == pytest.approx((1 / newcombe["high"], 1 / newcombe["low"]))
    assert needed["measure"] == "number needed to treat"
    assert risk_difference((48, 80), (56, 70), harm=True)[2]["measure"] == "number needed to harm"


def test_fisher_of_many_tables_is_scipys():
    rng = np.random.default_rng(0)
    n1, n0 = rng.integers(1, 60, size=(2, 200))
    n0[:50] = n1[:50]  # arms of one size: every table has one that is exactly as probable
    x1, x0 = rng.integers(0, n1 + 1), rng.integers(0, n0 + 1)
    p = [
        stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue for a, n, b, m in zip(x1, n1, x0, n0, strict=True)
    ]
    np.testing.assert_allclose(fisher(x1, n1, x0, n0), p, rtol=1e-9)


def test_contrasts_of_one_trial_agree_with_those_of_many():
    pytest.importorskip("lifelines")
    time, event, treated = tied_trials(1, 200, 3)
    rows = {row["measure"]: row for row in survival_contrasts(time[0], event[0], treated[0], 15.0)}
    beta, error, _ = cox(time, event, treated)
    assert rows["hazard ratio"]["estimate"] == pytest.approx(math.exp(beta[0]), rel=1e-3)
    assert rows["hazard ratio"]["low"] == pytest.approx(math.exp(beta[0] - 1.959964 * error[0]), rel=1e-3)
    assert rows["hazard ratio"]["p"] == pytest.approx(logrank(time, event, treated)[1][0], rel=1e-6)
    assert 0 <= rows["proportional hazards"]["p"] <= 1


def test_schoenfeld_check_finds_crossing_hazards():
    pytest.importorskip("lifelines")
    rng = np.random.default_rng(2)
    treated = np.arange(600) < 300
    time = np.where(treated, rng.weibull(0.5, 600), rng.weibull(3, 600)) * 100
    rows = {r["measure"]: r for r in survival_contrasts(time, np.ones(600, bool), treated, 200.0)}
    assert rows["proportional hazards"]["p"] < 1e-6


def test_cumulative_incidence_without_censoring_is_a_share():
    pytest.importorskip("lifelines")
    rng = np.random.default_rng(0)
    time, cause = rng.exponential(100, 400), rng.integers(1, 4, 400)
    for row in cumulative_incidence(time, cause, [50.0, 150.0]):
        code = CAUSES.index(row["cause"])
        share = ((cause == code) & (time <= row["day"])).mean()
        assert row["incidence"] == pytest.approx(share, abs=1e-9)
        assert row["low"] <= row["incidence"] <= row["high"]


def test_cumulative_incidences_and_survival_sum_to_one(burden):
    pytest.importorskip("lifelines")
    a, b = made_outcomes(seed=1), made_outcomes(seed=2, scale=900)
    trial = run_trial(a, b, burden, Design(n_per_arm=300, accrual=300, cutoff=800, dropout=0.1), seed=3)
    result = analyse(trial, ("A0", "A5"))
    survival = result.survival.set_index(["endpoint", "arm", "day"])["survival"]
    for arm in ("A0", "A5"):
        incidence = result.competing[result.competing["arm"] == arm].groupby("day")["incidence"].sum()
        for day in (180.0, 365.0):
            assert incidence[day] + survival["efs", arm, day] == pytest.approx(1, abs=1e-12)
    assert set(result.proportions["endpoint"]) == {"CR28", "CR90", "crs3", "crs4", "toxic_death"}
    measures = result.contrasts.groupby("endpoint")["measure"].agg(set)
    days = {"difference on day 365", "difference on day 730"}
    assert measures["efs"] == {"hazard ratio", "proportional hazards", "restricted mean", *days}
    assert measures["crs3"] == {"risk difference", "number needed to treat"}


def test_pairs_are_labelled_as_impossible():
    pytest.importorskip("statsmodels")
    a = pd.DataFrame({"crs3": [True] * 30 + [False] * 70})
    b = pd.DataFrame({"crs3": [True] * 19 + [False] * 80 + [True]})
    row = compare_pairs(a, b).iloc[0]
    assert (row["avoided"], row["caused"], row["unchanged"]) == pytest.approx((0.11, 0.01, 0.88))
    assert row["difference"] == pytest.approx(-0.10)
    assert row["p"] == pytest.approx(stats.binomtest(1, 12).pvalue)
    assert row["note"] == UNOBSERVABLE
    assert row["variance_ratio"] > 1


# ---- randomization, follow-up, observation


@pytest.mark.parametrize("method", ["blocks", "stratified"])
def test_permuted_blocks_balance_every_stratum(method, burden):
    design = Design(n_per_arm=101, randomization=method)
    for replicate in range(50):
        rows, strata, treated, _ = draw(burden, design, seed=1, replicate=replicate, horizon=HORIZON)
        groups = strata if method == "stratified" else np.zeros(len(rows))
        for group in np.unique(groups):
            part = treated[groups == group]
            running = np.cumsum(np.where(part, 1, -1))
            assert np.abs(running).max() <= max(design.block_sizes) / 2


def test_randomization_is_deterministic_and_depends_on_the_replicate(burden):
    design = Design(n_per_arm=50, accrual=100, cutoff=400, dropout=0.2)
    first, again, other = (draw(burden, design, seed=1, replicate=k, horizon=HORIZON) for k in (3, 3, 4))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    # one purpose does not disturb another
    simple = Design(n_per_arm=50, randomization="simple")
    np.testing.assert_array_equal(enroll(2000, simple, seed=1, replicate=3), first[0])


def test_simple_randomization_is_a_fair_coin():
    design = Design(n_per_arm=4000, randomization="simple")
    treated = randomize(np.zeros(8000, int), design, seed=0)
    assert stats.binomtest(int(treated.sum()), 8000).pvalue > 0.01


def test_follow_up():
    assert (follow_up(Design(), HORIZON, seed=0) == HORIZON).all()
    days = follow_up(Design(accrual=365, cutoff=500), HORIZON, seed=0)
    assert (days >= 135).all()
    assert (np.diff(days) <= 0).all()  # who enters later is followed for less time
    lost = follow_up(Design(n_per_arm=5000, dropout=0.3), 1e9, seed=0)
    assert (lost < 365).mean() == pytest.approx(0.3, abs=0.015)


def test_strata_of_burden():
    assert strata_of(np.array([1e9, 5e10, 1e11, 2e11, 1e12])).tolist() == [0, 1, 1, 2, 2]


def test_censored_outcomes():
    table = made_outcomes(300)
    full = observe(table, np.full(300, HORIZON))
    np.testing.assert_array_equal(full["efs"], table["efs"])
    np.testing.assert_array_equal(full["CR90"], table["CR90"])
    np.testing.assert_array_equal(full["cause"] == 2, table["relapse_type"] == "CD19-")
    short = observe(table, np.full(300, 20.0))
    assert not short["CR90"].any()
    assert (short["efs"] <= 20).all()
    assert (short["cause"][~short["efs_event"]] == 0).all()
    assert not short["grade_known"][~short["os_event"]].any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_per_arm": 0}, "patients per arm must be a whole number"),
        ({"randomization": "coin"}, "There is no randomization 'coin'"),
        ({"block_sizes": (3,)}, "even numbers"),
        ({"block_sizes": ()}, "even numbers"),
        ({"accrual": -1}, "accrual must not be negative"),
        ({"accrual": 100, "cutoff": 50}, "must come after the accrual"),
        ({"dropout": 1.0}, r"\[0, 1\)"),
        ({"strata_edges": (2, 1)}, "ascending"),
    ],
)
def test_bad_designs_get_one_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence):
        Design(**options)


# ---- operating characteristics


def test_replicates_are_the_single_trials(burden):
    pytest.importorskip("lifelines")
    a, b = made_outcomes(seed=1), made_outcomes(seed=2, scale=900)
    design = Design(n_per_arm=60, accrual=200, cutoff=600, dropout=0.1)
    table = replicate_trials(a, b, burden, design, seed=9, replicates=5)
    trial = run_trial(a, b, burden, design, seed=9, replicate=3)
    contrasts = analyse(trial, ("a", "b"), stratified=True).contrasts.drop_duplicates(["endpoint", "measure"])
    contrasts = contrasts.set_index(["endpoint", "measure"])
    row = table.iloc[3]
    assert row["treated"] == trial["treated"].sum()
    assert row["efs_logrank_p"] == pytest.approx(contrasts.loc[("efs", "hazard ratio"), "p"], rel=1e-6)
    assert row["efs_rmst"] == pytest.approx(contrasts.loc[("efs", "restricted mean"), "estimate"])
    assert row["crs3_p"] == pytest.approx(contrasts.loc[("crs3", "risk difference"), "p"])
    # replicates do not depend on how many there are
    later = replicate_trials(a, b, burden, design, seed=9, replicates=2, first=3)
    pd.testing.assert_frame_equal(later.reset_index(drop=True), table.iloc[3:].reset_index(drop=True))


def test_type_one_error(burden):
    a = made_outcomes(seed=1)
    table = power_table(a, a, burden, Design(), sizes=[160], seed=11, replicates=1000).set_index("endpoint")
    assert table.loc["efs", "power"] == pytest.approx(0.05, abs=0.014)
    assert table.loc["os", "power"] == pytest.approx(0.05, abs=0.014)
    assert table.loc["efs_rmst", "power"] == pytest.approx(0.05, abs=0.02)
    assert table.loc["crs3", "power"] <= 0.064  # Fisher's test is conservative


def test_power_grows_with_the_size_and_agrees_with_the_formula(burden):
    a, b = made_outcomes(20000, seed=1, crs=0.46), made_outcomes(20000, seed=2, crs=0.35)
    b10 = np.resize(burden, 20000)
    table = power_table(a, b, b10, Design(), sizes=[40, 160, 320], seed=11, replicates=300)
    crs = table[table["endpoint"] == "crs3"].set_index("n_per_arm")["power"]
    assert crs.is_monotonic_increasing
    from statsmodels.stats.power import NormalIndPower
    from statsmodels.stats.proportion import proportion_effectsize

    effect = proportion_effectsize(a["crs3"].mean(), b["crs3"].mean())
    # Fisher's test has a little less power than the normal test
    assert crs[320] == pytest.approx(NormalIndPower().power(effect, 320, 0.05), abs=0.08)
    sizes = required_size(table).set_index("endpoint")
    assert 160 < sizes.loc["crs3", "n_per_arm"] <= 320


def test_required_size_outside_the_simulated_range():
    table = pd.DataFrame(
        {"n_per_arm": [10, 20] * 2, "endpoint": ["a", "a", "b", "b"], "power": [0.1, 0.2, 0.9, 0.95]}
    )
    sizes = required_size(table).set_index("endpoint")
    assert math.isnan(sizes.loc["a", "n_per_arm"])
    assert sizes["note"].tolist() == ["more than 20", "at most 10"]


def test_bad_power_requests():
    with pytest.raises(InputError, match="level alpha"):
        power_table(None, None, None, Design(), sizes=[10], seed=0, alpha=5)
    with pytest.raises(InputError, match="number of replicates"):
        replicate_trials(made_outcomes(20), made_outcomes(20), np.ones(20), Design(), seed=0, replicates=0)
