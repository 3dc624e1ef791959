"""Outcomes of trial arms: definitions on courses made by hand, expected values, interventions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fastcart
from fastcart.errors import InputError
from fastcart.models.b_all import infusions, lymphodeplete
from fastcart.population import draws, sample
from fastcart.trial.course import first_time, marks
from fastcart.trial.outcomes import contributions, course, expected, moments, outcomes

SINGLE = [(0, 1, 1)]


def by_hand(**changes) -> pd.DataFrame:
    """A patient in lasting remission from day 15 on, with CRS of grade 2."""
    row = {
        "patient": 0, "status": "ok", "t_end": 730.0, "S0": 1e11, "S28": 1e5, "nadir_L": 0.0, "final_L": 0.0,
        "final_R": 0.0, "t_CR": 15.0, "t_relapse": np.inf, "relapse_negative": False, "t_grade1": 3.0,
        "t_grade2": 5.0, "t_grade3": np.inf, "t_grade4": np.inf, "peak_C": 500.0, "t_peak_C": 8.0,
        "auc_C": 1e4, "peak_T": 1e10, "t_peak_T": 9.0, "t_B_recovery": 300.0, "t_toxic": np.inf,
        "t_leukemia": np.inf,
    }  # fmt: skip
    row |= {f"{name}_{day:g}": 0.0 for name in ("Ht", "Hl") for day in marks(730.0)}
    return pd.DataFrame([row | changes])


def outcome(**changes) -> pd.Series:
    return outcomes(by_hand(**changes)).iloc[0]


def test_lasting_remission():
    o = outcome()
    assert o["CR28"]
    assert o["CR90"]
    assert not o["relapse"]
    assert (o["efs"], o["os"], o["RFS12"], o["grade"]) == (730.0, 730.0, 1.0, 2)
    assert not o["efs_event"]
    assert not o["os_event"]
    assert o["crs_any"]
    assert not o["crs3"]
    assert not o["early_B_recovery"]
    assert (o["relapse_type"], o["death_cause"]) == ("", "")


def test_relapse():
    o = outcome(t_relapse=200.0, relapse_negative=True)
    assert o["CR90"]
    assert o["relapse"]
    assert (o["relapse_type"], o["efs"], o["os"], o["RFS12"]) == ("CD19-", 200.0, 730.0, 0.0)
    assert outcome(t_relapse=380.5)["RFS12"] == 1.0  # day 15 + 365 is free
    assert outcome(t_relapse=379.5)["RFS12"] == 0.0


def test_without_remission_events_are_on_day_90():
    for changes in ({"t_CR": np.inf}, {"t_CR": 91.0}, {"t_CR": 60.0, "t_relapse": 87.0}):
        o = outcome(**changes)
        assert not o["CR90"]
        assert not o["relapse"]
        assert o["efs"] == 90.0
        assert o["efs_event"]
        assert np.isnan(o["RFS12"])
    assert outcome(t_CR=np.inf, t_leukemia=50.0)["efs"] == 50.0
    assert outcome(t_CR=89.0)["CR90"]
    assert outcome(t_CR=60.0, t_relapse=88.5)["CR90"]  # held for 28 days


def test_deaths():
    o = outcome(t_toxic=10.0)
    assert not o["CR90"]
    assert not o["CR28"]
    assert (o["efs"], o["os"], o["grade"], o["death_cause"]) == (10.0, 10.0, 5, "toxic")
    assert o["crs3"]
    assert o["toxic_death"]
    assert not o["leukemia_death"]
    assert np.isinf(o["t_B_recovery"])
    early = outcome(t_leukemia=4.0)  # dies between grade 1 and grade 2
    assert (early["grade"], early["death_cause"]) == (1, "leukemia")
    late = outcome(t_relapse=200.0, t_leukemia=400.0)
    assert (late["efs"], late["os"]) == (200.0, 400.0)
    assert late["relapse"]
    before = outcome(t_relapse=200.0, t_leukemia=150.0)
    assert not before["relapse"]
    assert before["efs"] == 150.0
    free = outcomes(by_hand(t_toxic=10.0), deaths=False).iloc[0]
    assert free["CR90"]
    assert free["os"] == 730.0
    assert free["grade"] == 2


def test_a_patient_that_failed_counts_for_nothing():
    o = outcomes(by_hand(status="failed", t_CR=np.nan, t_relapse=np.nan, t_toxic=np.nan, t_leukemia=np.nan,
                         t_grade1=np.nan, t_B_recovery=np.nan)).iloc[0]  # fmt: skip
    flags = ["CR28", "CR90", "relapse", "efs_event", "os_event", "toxic_death", "crs_any", "crs3"]
    assert not o[flags].any()
    assert o[["efs", "os", "grade", "t_CR", "t_relapse"]].isna().all()


def test_expected_values_of_one_patient():
    c = by_hand(t_relapse=400.0, relapse_negative=True, t_grade3=6.0)
    for day in marks(730.0):
        c[f"Ht_{day:g}"], c[f"Hl_{day:g}"] = 0.1 * min(day, 14.0) / 14.0, 0.002 * day
    e = expected(c)
    alive = lambda t: np.exp(-0.1 * min(t, 14.0) / 14.0 - 0.002 * t)  # noqa: E731
    # competing risks: of the deaths at two constant hazards each has a fixed share, until day 14 and after
    toxic, both = 0.1, 0.1 + 0.002 * 14
    assert e["toxic_death"] == pytest.approx(toxic / both * (1 - np.exp(-both)))
    assert e["OS365"] == pytest.approx(alive(365))
    assert e["EFS365"] == pytest.approx(alive(365))
    assert e["EFS730"] == 0.0
    assert e["CR90"] == pytest.approx(alive(15))
    assert e["RFS12"] == pytest.approx(alive(380) / alive(15))
    until_6 = both * 6 / 14
    assert e["crs3"] == pytest.approx(np.exp(-until_6) + toxic / both * (1 - np.exp(-until_6)))
    assert e["crs4"] == e["toxic_death"]
    assert e["negative_share"] == 1.0
    assert expected(c, hT_factor=2.0)["toxic_death"] == pytest.approx(0.2 / 0.228 * (1 - np.exp(-0.228)))
    assert expected(c, hL_factor=0.0)["toxic_death"] == pytest.approx(1 - np.exp(-0.1))
    assert expected(c, hL_factor=0.0)["OS730"] == pytest.approx(np.exp(-0.1))


def test_weights_of_expected_values():
    two = pd.concat([by_hand(), by_hand(t_CR=np.inf)], ignore_index=True)
    assert expected(two, np.array([3.0, 1.0]))["CR90"] == pytest.approx(0.75)
    assert expected(two)["CR90"] == pytest.approx(0.5)


def test_first_times():
    t = np.array([0.0, 1.0, 2.0, 4.0])
    values = np.array([[0.0, 0.5, 2.0, 4.0], [5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(first_time(t, values, 1.0), [4 / 3, 0.0, np.inf])
    np.testing.assert_allclose(first_time(t, values, np.array([1.0, np.inf, -1.0])), [4 / 3, np.inf, 0.0])


# --- courses of solved patients -------------------------------------------------------------------


@pytest.fixture(scope="module")
def solved():
    patients = pd.concat([sample(600, seed=12), draws(600, seed=3)], axis=1)
    patients["hT"] = 0.3  # enough toxic deaths to compare
    return patients, course(patients, infusions(patients, SINGLE))


def test_drawn_deaths_agree_with_expected_values(solved):
    patients, c = solved
    e = expected(c)
    free = c.assign(t_toxic=np.inf, t_leukemia=np.inf)
    found = []
    for seed in range(40):
        luck = draws(len(patients), seed=100 + seed)
        days = np.array([0.0, *marks(730.0)])
        for name, u in (("toxic", luck["U1"]), ("leukemia", luck["U2"])):
            H = np.hstack([np.zeros((len(c), 1)), c[[f"H{name[0]}_{d:g}" for d in days[1:]]].to_numpy()])
            free[f"t_{name}"] = first_time(days, H, u.to_numpy())
        o = outcomes(free)
        found.append(
            {
                "CR90": o["CR90"].mean(),
                "RFS12": o["RFS12"].mean(),
                "OS365": (o["os"] > 365).mean(),
                "OS730": (o["os"] >= 730).mean(),
                "EFS365": (o["efs"] > 365).mean(),
                "EFS730": (o["efs"] >= 730).mean(),
                "crs_any": o["crs_any"].mean(),
                "crs3": o["crs3"].mean(),
                "negative_share": (o["relapse_type"] == "CD19-").sum() / o["relapse"].sum(),
            }
        )
    table = pd.DataFrame(found)
    for name in table:
        error = table[name].std() / np.sqrt(len(table))
        assert table[name].mean() == pytest.approx(e[name], abs=4 * error + 1e-3), name


def test_a_course_is_the_patients_own(solved):
    """Neither neighbours, nor their order, nor an arm with the same schedule change a number."""
    patients, c = solved
    some = patients.iloc[[403, 7, 90]]
    alone = course(some, infusions(some, SINGLE))
    pd.testing.assert_frame_equal(alone, c.iloc[[403, 7, 90]].reset_index(drop=True), check_exact=True)


def test_an_intervention_that_does_nothing_changes_nothing(solved):
    patients, c = solved
    some = patients.iloc[:100]
    same = course(some, infusions(some, SINGLE), interventions=[(20.0, unchanged)])
    for name in ("t_CR", "t_grade3", "t_toxic", "t_relapse"):
        a, b = same[name].to_numpy(), c[name].to_numpy()[:100]
        assert (np.isfinite(a) == np.isfinite(b)).all()
        np.testing.assert_allclose(a[np.isfinite(a)], b[np.isfinite(b)], atol=0.02)
    np.testing.assert_allclose(same["peak_C"], c["peak_C"][:100], rtol=1e-3)


def test_niche_support_lets_late_cells_grow():
    """Cells alone on day 28 do nothing; with an open niche the CAR-T cells rise again."""
    patients = sample(60, seed=8)
    doses = infusions(patients, [(0, 0.5, 0.5), (28, 0.5, 0.5)])

    def support(states, patients):
        return lymphodeplete(states, patients["N"], phi=1.0)

    plain, helped = course(patients, doses), course(patients, doses, interventions=[(28.0, support)])
    assert (helped["final_L"] <= plain["final_L"] + 1e-6 * plain["final_L"].max()).mean() > 0.9
    assert expected(helped)["EFS730"] > expected(plain)["EFS730"]


def unchanged(states, patients):
    return states


def test_B_cells_count_as_recovered_from_day_45_on():
    """Where they are back by then, that day; else when they rise, also across interventions."""
    patients = sample(40, seed=21)
    assert (course(patients)["t_B_recovery"] == 45.0).all()  # never depleted
    doses = infusions(patients, SINGLE)
    c = course(patients, doses, rtol=1e-8)
    path = fastcart.solve(
        "b_all", patients, doses=doses, save_at=np.arange(45.0, 730.5), save=["B"], extinction=1.0, rtol=1e-8
    ).trajectories
    rest = {**fastcart.models.get("b_all").default_parameters(), **patients}
    at_rest = np.broadcast_to(rest["sB"] / rest["dB"], 40)
    B = path["B"].to_numpy().reshape(40, -1) > 0.2 * at_rest[:, None]
    first = np.where(B.any(axis=1), 45.0 + B.argmax(axis=1), np.inf)
    found = c["t_B_recovery"].to_numpy()
    assert np.isfinite(found).sum() > 5
    assert (found > 46).sum() > 5
    assert ((found == first) | ((found <= first) & (found > first - 1))).all()
    for days in ((20.0,), (45.0,), (20.0, 60.0, 300.0)):
        again = course(patients, doses, rtol=1e-8, interventions=[(day, unchanged) for day in days])
        np.testing.assert_allclose(again["t_B_recovery"], found, rtol=1e-5)
    # what is done on that very day comes first
    none_left = course(patients, interventions=[(45.0, lambda states, patients: states.assign(B=0.0))])
    assert (none_left["t_B_recovery"] > 45.0).all()


def test_blasts_that_rise_before_remission_are_no_relapse():
    """The first crossing of 5 % comes before remission; the relapse is the one after it."""
    patients = pd.DataFrame({"patient": [3, 9], "L": 4.5e10, "R": [1e6, 0.0], "kap": 1.1})
    doses = infusions(patients, [(0, 0.5, 0.5), (30, 0.5, 0.5)])
    c = course(patients, doses, t_end=400.0)
    path = fastcart.solve(
        "b_all",
        patients,
        doses=doses,
        t_end=400.0,
        save_at=np.arange(0, 400.1, 0.5),
        rtol=1e-8,
        extinction=1.0,
    ).trajectories
    S = path[path["patient"] == 3].set_index("t")["S"]
    assert S.loc[:10].max() > 5e10  # 5 % is crossed before remission
    back = S.index[(S.index > 30) & (S > 5e10)][0]
    assert c["t_relapse"][0] == pytest.approx(back - 0.25, abs=0.26)
    assert c["relapse_negative"][0]
    assert np.isinf(c["t_relapse"][1])
    assert c["t_CR"].between(5, 20).all()
    # the same where remission and relapse fall into two segments: else the first crossing does not tell
    parted = course(patients, doses, t_end=400.0, interventions=[(45.0, unchanged)])
    np.testing.assert_allclose(parted["t_relapse"], c["t_relapse"], rtol=1e-5)


def test_bad_interventions():
    with pytest.raises(InputError, match="between 0 and 730"):
        course(sample(2, seed=1), interventions=[(800.0, lambda s, p: s)])


def test_moments_do_not_depend_on_luck(solved):
    patients, c = solved
    unlucky = c.assign(t_toxic=1.0, t_leukemia=1.0)
    pd.testing.assert_frame_equal(moments(c), moments(unlucky))
    m = moments(c)
    assert (m["crs4"] <= m["crs3"]).all()
    assert (m["crs3"] <= m["crs_any"]).all()
    assert (m["RFS12"] <= m["CR90"]).all()
    assert (m["negative"] <= m["relapse"]).all()


def test_a_failing_patient_is_reported():
    patients = sample(3, seed=1)
    patients.loc[1, "pC"] = 1e308
    c = course(patients, infusions(patients, SINGLE), t_end=120.0)
    assert c["status"].tolist() == ["ok", "failed", "ok"]
    assert np.isnan(c["t_CR"][1])
    assert not c["relapse_negative"][1]
    assert np.isfinite(expected(c)["CR90"])


# --- deaths that forestall each other, and what lies beyond the horizon -----------------------------


def test_deaths_are_competing_risks():
    """By simulation of each patient's two deaths, from hazards that are linear between the marks."""
    rng = np.random.default_rng(1)
    days = np.array([0.0, *marks(730.0)])
    patients = []
    for _ in range(5):
        row = by_hand(t_grade3=rng.choice([np.inf, rng.uniform(1, 400)]), t_relapse=np.inf)
        for name, scale in (("Ht", 0.8), ("Hl", 1.5)):
            values = np.cumsum(rng.exponential(scale / 12, len(days) - 1))
            row[[f"{name}_{day:g}" for day in days[1:]]] = values
        patients.append(row)
    c = pd.concat(patients, ignore_index=True)
    e = expected(c)
    draws_each = 40_000
    times = {}
    for name in ("Ht", "Hl"):
        H = np.hstack([np.zeros((5, 1)), c[[f"{name}_{day:g}" for day in days[1:]]].to_numpy()])
        luck = rng.exponential(size=(5, draws_each))
        times[name] = np.array([np.interp(u, h, days, right=np.inf) for u, h in zip(luck, H, strict=True)])
    toxic = (times["Ht"] < times["Hl"]) & np.isfinite(times["Ht"])
    assert toxic.mean() == pytest.approx(e["toxic_death"], abs=4 * 0.5 / np.sqrt(5 * draws_each))
    begins = c["t_grade3"].to_numpy()[:, None]
    severe = (begins < np.minimum(times["Ht"], times["Hl"])) | toxic
    assert severe.mean() == pytest.approx(e["crs3"], abs=4 * 0.5 / np.sqrt(5 * draws_each))
    alone = -np.expm1(-c["Ht_730"]).mean()
    assert alone - e["toxic_death"] > 0.05  # what it would be if nobody died of leukemia
    np.testing.assert_allclose(contributions(c)["crs3"].mean(), e["crs3"], rtol=1e-12)


def test_deaths_of_one_kind_alone_are_its_own_probability():
    c = by_hand()
    c[[f"Ht_{day:g}" for day in marks(730.0)]] = 0.3
    assert expected(c)["toxic_death"] == pytest.approx(1 - np.exp(-0.3))
    c[[f"Hl_{day:g}" for day in marks(730.0)]] = 0.3
    assert expected(c)["toxic_death"] == pytest.approx((1 - np.exp(-0.6)) / 2)


def test_nothing_is_told_of_what_comes_after_the_horizon():
    short = {"t_end": 365.0, **{f"{name}_365": 0.0 for name in ("Ht", "Hl")}}
    late = by_hand(**short)  # in remission on day 15: a year later is day 380
    assert np.isnan(outcomes(late).loc[0, "RFS12"])
    assert np.isnan(expected(late)["RFS12"])
    assert expected(late)["CR90"] == 1.0
    assert expected(late)["EFS365"] == 1.0
    assert np.isnan(expected(late)[["EFS730", "OS730"]]).all()
    # who has relapsed before is known not to be free of it
    both = pd.concat(
        [by_hand(**short, t_relapse=200.0), by_hand(**short, t_relapse=300.0)], ignore_index=True
    )
    assert (outcomes(both)["RFS12"] == 0.0).all()
    assert expected(both)["RFS12"] == 0.0
    # remission by day 90 is not known on day 60 of who is not yet in remission
    early = {"t_end": 60.0, **{f"{name}_60": 0.0 for name in ("Ht", "Hl")}}
    assert expected(by_hand(**early))["CR90"] == 1.0
    assert np.isnan(expected(by_hand(**early, t_CR=np.inf))["CR90"])
    assert np.isnan(expected(by_hand(**early))["early_B_recovery"])


def test_weights_and_failures_of_all():
    two = pd.concat([by_hand(), by_hand(t_CR=np.inf)], ignore_index=True)
    assert expected(two, np.array([0.0, 1.0]))["CR90"] == 0.0
    assert expected(two, np.array([2.0, 6.0])).equals(expected(two, np.array([0.25, 0.75])))
    for bad in ([1.0], [1.0, -1.0], [1.0, np.nan]):
        with pytest.raises(InputError, match="weights must be"):
            expected(two, np.array(bad))
    assert expected(two, np.zeros(2)).isna().all()
    assert expected(two.assign(status="failed")).isna().all()
    # a weight is a number of patients
    three = pd.concat([by_hand(), by_hand(), by_hand(t_CR=np.inf)], ignore_index=True)
    pd.testing.assert_series_equal(expected(two, np.array([2.0, 1.0])), expected(three))
