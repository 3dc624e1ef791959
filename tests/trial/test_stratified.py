"""Tests within strata, one primary endpoint, and how often tests reject where nothing differs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastcart.errors import InputError
from fastcart.trial.analysis import analyse
from fastcart.trial.observe import run_trial
from fastcart.trial.power import replicate_trials
from fastcart.trial.primary import ENDPOINTS, check_primary, endpoint_tests
from fastcart.trial.randomize import Design
from fastcart.trial.stratified import landmark_difference, mantel_haenszel, stratified_logrank
from fastcart.trial.survival import logrank


def trial(n: int = 60, trials: int = 4, seed: int = 1):
    rng = np.random.default_rng(seed)
    strata = rng.integers(0, 3, (trials, n))
    time = np.ceil(rng.exponential(100.0 / (1 + strata)))  # with ties
    event, treated = rng.random((trials, n)) < 0.7, rng.random((trials, n)) < 0.5
    return time, event, treated, strata


def test_one_stratum_is_the_plain_test():
    time, event, treated, strata = trial()
    plain = logrank(time, event, treated)
    within = stratified_logrank(time, event, treated, np.zeros_like(strata))
    np.testing.assert_allclose(within, plain, rtol=1e-12)


def test_the_logrank_test_within_strata_is_that_of_statsmodels():
    from statsmodels.duration.survfunc import survdiff

    time, event, treated, strata = trial()
    chi_square, p = stratified_logrank(time, event, treated, strata)
    for k in range(len(time)):
        wanted = survdiff(time[k], event[k].astype(int), treated[k].astype(int), strata=strata[k])
        assert (chi_square[k], p[k]) == pytest.approx(wanted, rel=1e-9)


def test_shares_within_strata_are_tested_as_by_statsmodels():
    from statsmodels.stats.contingency_tables import StratifiedTable

    _, hit, treated, strata = trial()
    known = np.random.default_rng(3).random(hit.shape) < 0.9
    found = mantel_haenszel(hit, known, treated, strata)
    for k in range(len(hit)):
        tables = [
            [[np.sum(known[k] & (strata[k] == s) & (treated[k] == t) & (hit[k] == h)) for h in (True, False)]
             for t in (True, False)]
            for s in range(3)
        ]  # fmt: skip
        assert found[k] == pytest.approx(StratifiedTable(tables).test_null_odds().pvalue, rel=1e-9)


def test_shares_without_events_or_patients():
    treated, strata = np.array([[True, False] * 4]), np.zeros((1, 8), dtype=int)
    known = np.ones_like(treated)
    assert mantel_haenszel(np.zeros_like(treated), known, treated, strata)[0] == 1.0
    assert np.isnan(mantel_haenszel(treated, known, np.ones_like(treated), strata)[0])


def test_the_difference_on_a_day_is_that_of_shares_where_all_are_followed():
    time, event = np.array([50.0, 800, 800, 800, 60, 70, 800, 800]), np.array([1, 0, 0, 0, 1, 1, 0, 0])
    treated = np.repeat([False, True], 4)
    row = landmark_difference(time, event, treated, 730.0)
    assert row["estimate"] == pytest.approx(0.5 - 0.75)
    error = np.sqrt(0.75 * 0.25 / 4 + 0.5 * 0.5 / 4)  # Greenwood's without censoring is the binomial one
    assert (row["high"] - row["low"]) / (2 * 1.959964) == pytest.approx(error, rel=1e-5)
    early = landmark_difference(np.minimum(time, 100), event, treated, 730.0)
    assert np.isnan(early["estimate"])
    assert early["note"]
    none = landmark_difference(time, 0 * event, treated, 30.0)
    assert (none["estimate"], none["p"]) == (0.0, 1.0)


def contrasts(**p: float) -> pd.DataFrame:
    rows = []
    for name in ENDPOINTS:
        column, measure = (
            (name[:-2].lower(), "difference on day 730")
            if name in ("EFS24", "OS24")
            else (name, "risk difference")
        )
        rows.append({"endpoint": column, "measure": measure, "estimate": 0.1, "low": 0.0, "high": 0.2,
                     "p": p.get(name, 0.5), "note": ""})  # fmt: skip
    return pd.DataFrame(rows)


def test_only_the_others_are_adjusted_for_each_other():
    arm = dict.fromkeys(("EFS730", "OS730", "CR90", "crs3", "crs4", "toxic_death"), 0.4)
    table = endpoint_tests(contrasts(CR90=0.01, EFS24=0.04, crs3=0.02), "EFS24", arm, {**arm, "CR90": 0.6})
    by = table.set_index("endpoint")
    assert table["endpoint"].iloc[0] == "EFS24"
    assert by.loc["EFS24", "p"] == 0.04
    assert np.isnan(by.loc["EFS24", "p_holm"])
    assert by.loc["CR90", "p_holm"] == pytest.approx(5 * 0.01)
    assert by.loc["crs3", "p_holm"] == pytest.approx(4 * 0.02)
    assert by.loc["CR90", "truth"] == pytest.approx(0.2)
    with pytest.raises(InputError, match="must be one of EFS24"):
        check_primary("efs")


def population(n: int = 1500, seed: int = 5) -> tuple[pd.DataFrame, np.ndarray]:
    """Return outcomes in which all depends on the burden, so that strata tell much."""
    rng = np.random.default_rng(seed)
    burden = 10 ** rng.normal(10.9, 0.6, n)
    high = burden > 1e11
    remission = rng.random(n) < np.where(high, 0.6, 0.9)
    death = np.where(rng.random(n) < 0.03, 20.0, rng.exponential(np.where(high, 500.0, 2500.0)))
    relapse = np.where(remission, 30.0 + rng.exponential(900.0, n), np.inf)
    efs = np.where(remission, np.minimum(relapse, death), np.minimum(90.0, death))
    return pd.DataFrame({
        "CR28": remission, "CR90": remission, "crs3": rng.random(n) < np.where(high, 0.6, 0.3),
        "crs4": rng.random(n) < 0.2, "toxic_death": death == 20.0, "efs": np.minimum(efs, 730.0),
        "efs_event": efs <= 730.0, "os": np.minimum(death, 730.0), "os_event": death <= 730.0,
        "t_relapse": relapse, "relapse_type": "CD19+",
    }), burden  # fmt: skip


def test_an_analysis_knows_its_strata():
    table, burden = population(400)
    one = run_trial(table, table, burden, Design(n_per_arm=60), seed=3)
    plain, within = (analyse(one, ("A", "B"), stratified=flag).contrasts for flag in (False, True))
    assert within["method"].str.contains("within strata").sum() == 2
    assert within["method"].str.contains("Cochran-Mantel-Haenszel").sum() == 10
    same = ~within["method"].str.contains("strata|Cochran")
    pd.testing.assert_frame_equal(plain[same].drop(columns="p"), within[same].drop(columns="p"))
    np.testing.assert_array_equal(plain["estimate"], within["estimate"])


@pytest.mark.slow
@pytest.mark.parametrize("randomization", ["stratified", "blocks"])
@pytest.mark.parametrize("size", [40, 160])
def test_where_nothing_differs_every_test_rejects_one_in_twenty(randomization, size):
    """In 2000 trials at most 0.06, and at least 0.03 where a test is not exact and ignores no strata."""
    table, burden = population()
    design = Design(n_per_arm=size, randomization=randomization)
    found = replicate_trials(table, table, burden, design, seed=11, replicates=2000)
    columns = [name for name in found if name.endswith("_p")]
    assert set(columns) >= {"CR90_p", "crs3_p", "efs_logrank_p", "os_logrank_p", "efs_rmst_p", "efs_cox_p"}
    rates = {name: float((found[name] < 0.05).mean()) for name in columns}
    landmark = []
    for k in range(2000):
        one = run_trial(table, table, burden, design, seed=11, replicate=k)
        for name in ("efs", "os"):
            values = one[name].to_numpy(), one[f"{name}_event"].to_numpy(), one["treated"].to_numpy()
            landmark.append((name, landmark_difference(*values, 730.0)["p"] < 0.05))
    for name in ("efs", "os"):
        rates[f"{name}_day_730"] = float(np.mean([hit for which, hit in landmark if which == name]))
    print(randomization, size, rates)
    assert max(rates.values()) <= 0.06, rates
    if randomization == "stratified":
        low = ("CR90_p", "crs3_p", "efs_logrank_p", "os_logrank_p")
        assert min(rates[name] for name in low) >= 0.03, rates
