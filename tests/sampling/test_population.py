"""Virtual patients: prior, sampling, maximum-entropy calibration, files, and the published arm table."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import fastcart
from fastcart.errors import InputError
from fastcart.models.b_all import infusions
from fastcart.population import (
    HAZARDS,
    PRIOR,
    QUANTITIES,
    TARGETS,
    Marginal,
    Population,
    Prior,
    assay_noise,
    calibrate,
    draws,
    maximum_entropy,
    reached_by,
    read_specification,
    sample,
)
from fastcart.trial.course import first_time, marks
from fastcart.trial.outcomes import course, deaths_expected, expected, moments, outcomes

THIRD = 1 / 3
ARMS = {
    "A0": [(0, 1, 1)],
    "A1": [(0, 0.1, 0.1), (1, 0.3, 0.3), (2, 0.6, 0.6)],
    "A2": [(0, THIRD, THIRD), (1, THIRD, THIRD), (2, THIRD, THIRD)],
    "A3": [(0, THIRD, THIRD), (7, THIRD, THIRD), (14, THIRD, THIRD)],
    "A4": [(0, 0.1, 0.1), (7, 0.3, 0.3), (14, 0.6, 0.6)],
    "A5": [(0, 0.1, 0), (7, 0.3, 0), (14, 0.6, 0), (28, 0, 1)],
}
# mean and standard deviation over four independent calibrated populations of 2000
PUBLISHED = {
    "A0": {
        "CR90": (0.793, 0.013), "RFS12": (0.617, 0.014), "crs3": (0.452, 0.006), "crs4": (0.248, 0.005),
        "EFS365": (0.498, 0.017), "EFS730": (0.466, 0.014), "OS730": (0.572, 0.014),
    },
    "A1": {"CR90": (0.690, 0.012), "crs3": (0.395, 0.007), "EFS730": (0.444, 0.011)},
    "A3": {"CR90": (0.729, 0.014), "crs3": (0.418, 0.007), "EFS730": (0.453, 0.012)},
    "A4": {"CR90": (0.649, 0.012), "crs3": (0.371, 0.008), "EFS730": (0.434, 0.010)},
    "A5": {"CR90": (0.613, 0.013), "crs3": (0.346, 0.009), "EFS730": (0.422, 0.014), "OS730": (0.522, 0.010)},
}  # fmt: skip


# --- sampling -------------------------------------------------------------------------------------


def test_a_patient_is_the_same_whatever_the_number():
    many, few = sample(700, seed=3), sample(11, seed=3)
    pd.testing.assert_frame_equal(many.iloc[:11], few)
    assert not sample(11, seed=4)["rhoE"].equals(few["rhoE"])
    pd.testing.assert_frame_equal(draws(700, seed=3).iloc[:11], draws(11, seed=3))
    np.testing.assert_array_equal(assay_noise(700, 4, seed=3)[:11], assay_noise(11, 4, seed=3))
    assert not np.array_equal(assay_noise(11, 4, seed=3), assay_noise(11, 5, seed=3))


def test_the_sample_follows_the_prior():
    n = 4096
    table = sample(n, seed=1)
    names = {"L0": "L", "B0": "B", "N0": "N"}
    scores = {}
    for marginal in PRIOR.marginals:
        column = names.get(marginal.name, marginal.name)
        if column in table:
            scores[marginal.name] = marginal.scores(table[column].to_numpy())
            assert np.median(scores[marginal.name]) == pytest.approx(0.0, abs=0.02), marginal.name
            if marginal.name not in ("L0", "F_M"):  # these are cut
                assert scores[marginal.name].std() == pytest.approx(1.0, abs=0.02), marginal.name
    found = pd.DataFrame(scores).corr()
    for (a, b), value in PRIOR.correlations.items():
        assert found.loc[a, b] == pytest.approx(value, abs=0.03)
    assert abs(found.loc["KA", "sB"]) < 0.03
    assert table["L"].max() == 1.6e12
    assert ((table["R"] == 0) | (table["R"] >= 1)).all()
    assert (table["F_M"] <= 1).all()
    assert table["fM"].between(0, 1).all()
    u = draws(4000, seed=1)
    assert u.mean().to_numpy() == pytest.approx([1, 1], abs=0.05)
    assert u.std().to_numpy() == pytest.approx([1, 1], abs=0.06)
    assert abs(u.corr().iloc[0, 1]) < 0.05


def test_heterogeneity_scales_every_spread_and_keeps_the_medians():
    none, half, full = (sample(512, seed=2, het=h) for h in (0.0, 0.5, 1.0))
    assert none["rhoE"].nunique() == 1
    assert none["rhoE"][0] == pytest.approx(2.95)
    assert none["fM"][0] == pytest.approx(0.35)
    np.testing.assert_allclose(np.log(half["xi"] / 0.4), 0.5 * np.log(full["xi"] / 0.4))
    with pytest.raises(InputError, match="must not be negative"):
        sample(3, seed=1, het=-1)


def test_a_sample_goes_straight_into_solve():
    result = fastcart.solve("b_all", sample(5, seed=1), t_end=5.0, rtol=1e-5)
    assert result.endpoints["status"].eq("ok").all()


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_bad_seeds(seed):
    with pytest.raises(InputError, match="seed"):
        sample(3, seed=seed)


# --- maximum entropy ------------------------------------------------------------------------------


def flags(n: int = 1000, **shares) -> pd.DataFrame:
    """Moments of patients of whom the first so many have a flag."""
    table = pd.DataFrame({"ok": np.ones(n, dtype=bool)})
    for name, share in shares.items():
        table[name] = np.arange(n) < share * n
    return table


def test_weights_for_one_share_are_known():
    w, multipliers, unmet = maximum_entropy(flags(CR90=0.5), {"CR90": 0.8})
    np.testing.assert_allclose(w[:500], 0.8 / 500, rtol=1e-6)
    np.testing.assert_allclose(w[500:], 0.2 / 500, rtol=1e-6)
    assert unmet == ()
    assert multipliers["CR90"] > 0


def test_targets_that_hold_already_leave_equal_weights():
    w, _, _ = maximum_entropy(flags(CR90=0.6, crs3=0.3), {"CR90": 0.6, "crs3": 0.3})
    np.testing.assert_allclose(w, 1e-3, rtol=1e-6)


def test_shares_within_a_group():
    """RFS12 is a share of those in remission; CR90 must not move with it."""
    table = flags(CR90=0.5, RFS12=0.25)
    w, _, _ = maximum_entropy(table, {"RFS12": 0.8})
    assert w[:500].sum() > 0.4
    w, _, _ = maximum_entropy(table, {"CR90": 0.5, "RFS12": 0.8})
    assert w[:500].sum() == pytest.approx(0.5, abs=1e-6)
    assert w[:250].sum() / w[:500].sum() == pytest.approx(0.8, abs=1e-6)


def test_geometric_means():
    table = flags(CR90=1.0).assign(ln_t_peak_T=np.log(np.linspace(5, 20, 1000)))
    w, _, _ = maximum_entropy(table, {"t_peak_T": 9.5})
    assert np.exp(w @ table["ln_t_peak_T"]) == pytest.approx(9.5, rel=1e-6)


def test_weights_have_the_largest_entropy():
    """No other weights with the same moments have more: compare with a move that keeps them."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"ok": True, "CR90": rng.random(40) < 0.5, "crs3": rng.random(40) < 0.5})
    w, _, _ = maximum_entropy(table, {"CR90": 0.6, "crs3": 0.4})
    A = np.vstack([np.ones(40), table["CR90"], table["crs3"]]).astype(float)
    null = np.linalg.svd(A)[2][3:]
    entropy = -(w @ np.log(w))
    for direction in null:
        moved = w + 1e-3 * direction / np.abs(direction).max() * w.min()
        np.testing.assert_allclose(A @ moved, A @ w, atol=1e-12)
        assert -(moved @ np.log(moved)) <= entropy + 1e-12


def test_failed_patients_have_no_weight():
    table = flags(CR90=0.5)
    table.loc[::10, "ok"] = False
    w, _, _ = maximum_entropy(table, {"CR90": 0.7})
    assert (w[::10] == 0).all()
    assert w[:500].sum() == pytest.approx(0.7, abs=1e-6)


def test_targets_that_cannot_be_met_are_named():
    with pytest.raises(
        InputError, match=r"This target cannot be met.*'crs4' = 0.2 \(the patients.*between 0 and 0\)"
    ):
        maximum_entropy(flags(CR90=0.5, crs4=0.0), {"CR90": 0.8, "crs4": 0.2})
    with pytest.raises(InputError, match="no patient of the sample counts"):
        maximum_entropy(flags(relapse=0.0, negative=0.0), {"negative_share": 0.4})
    # each alone can be met, both together cannot: whoever has grade 3 is in remission
    table = flags(CR90=0.5, crs3=0.5)
    with pytest.raises(InputError, match="cannot be met together"):
        maximum_entropy(table, {"CR90": 0.3, "crs3": 0.6})
    w, _, unmet = maximum_entropy(table, {"CR90": 0.3, "crs3": 0.6}, allow_unmet=True)
    assert unmet
    assert 0.3 <= w[:500].sum() <= 0.6


def test_a_target_within_a_group_is_not_met_by_an_empty_group():
    """Weight 0 for everyone in remission leaves nothing to be off, and meets nothing."""
    table = flags(CR90=0.5).assign(ln_t_peak_T=np.log(np.linspace(5, 20, 1000)))
    aim = {"t_peak_T": 5000.0}
    with pytest.raises(InputError, match=r"cannot be met by any weights.*lie between 5 and 12.5"):
        maximum_entropy(table, aim)
    w, _, unmet = maximum_entropy(table, aim, allow_unmet=True)
    assert unmet == ("t_peak_T",)
    assert w[:500].sum() == pytest.approx(0.5, abs=0.05)  # the group keeps its share
    # two that each can be met, but not by the same patients: remission early, relapse late
    late = flags(CR90=0.5, RFS12=0.25).assign(
        ln_t_peak_T=np.log(np.r_[np.full(250, 5.0), np.full(750, 20.0)])
    )
    with pytest.raises(InputError, match="cannot be met together"):
        maximum_entropy(late, {"RFS12": 0.8, "t_peak_T": 15.0})
    w, _, unmet = maximum_entropy(late, {"CR90": 0.6, "RFS12": 0.8, "t_peak_T": 15.0}, allow_unmet=True)
    assert "CR90" not in unmet
    assert w[:500].sum() == pytest.approx(0.6, abs=6e-4)


# --- specifications -------------------------------------------------------------------------------


def test_a_users_specification(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        """
        correlations = [["rhoE", "xi", -0.5]]
        [marginals.L0]
        median = 1e10
        [marginals.h]
        median = 0.1
        sd = 0.2
        [marginals.rN]
        fixed = 0.2
        [targets]
        CR90 = 0.7
        OS12 = 0.6
        """
    )
    prior, targets = read_specification(file)
    by_name = {m.name: m for m in prior.marginals}
    assert by_name["L0"] == Marginal("L0", 1e10, 0.65, "log10", high=1.6e12)
    assert by_name["h"].sd == 0.2
    assert targets == {"CR90": 0.7, "OS12": 0.6}
    assert prior.correlations == {("rhoE", "xi"): -0.5}
    table = sample(50, seed=1, prior=prior)
    assert table["rN"].eq(0.2).all()
    assert table["h"].nunique() == 50
    # as written by a population, and read again
    assert read_specification(json.loads(json.dumps(prior.as_dict())))[0] == prior
    assert read_specification({})[0] == PRIOR
    assert read_specification({})[1] == TARGETS


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"targets": {"CR91": 0.5}}, "no target 'CR91'. Did you mean 'CR90'"),
        ({"targets": {"CR90": 1.2}}, "between 0 and 1"),
        ({"targets": {"CR90": "much"}}, "finite number"),
        ({"targets": {"crs3": 0.5, "crs_any": 0.4}}, "'crs3' .* cannot exceed 'crs_any'"),
        ({"marginals": {"rhoX": {"median": 1, "sd": 1}}}, "names nothing that varies"),
        ({"marginals": {"h": {"median": 1}}}, "needs 'median' and 'sd'"),
        ({"marginals": {"L0": {"mean": 1}}}, "no entry 'mean'"),
        ({"marginals": {"L0": {"fixed": 1e9, "sd": 1}}}, "either 'fixed'"),
        ({"marginals": {"L0": {"sd": -1}}}, "must not be negative"),
        ({"marginals": {"nu": {"median": 2, "sd": 0.1}}}, r"must lie in \[0, 1\]"),
        ({"marginals": {"L0": {"scale": "log2"}}}, "scale must be"),
        ({"marginals": {"L0": {"median": 1e13}}}, "'high' must not lie below"),
        ({"marginals": 3}, "must be a table"),
        ({"correlations": [["rhoE", "xi"]]}, "must be .name, name, value."),
        ({"correlations": [["rhoE", "rhoX", 0.1]]}, "names what does not vary"),
        ({"correlations": [["rhoE", "xi", 1.5]]}, r"must lie in \[-1, 1\]"),
        (
            {"correlations": [["rhoE", "xi", 0.9], ["rhoE", "dE", 0.9], ["xi", "dE", -0.9]]},
            "cannot hold together",
        ),
        ({"target": {}}, "no table 'target'. Did you mean 'targets'"),
    ],
)
def test_bad_specifications_get_one_sentence(table, message):
    with pytest.raises(InputError, match=message) as error:
        read_specification(table)
    assert "\n" not in str(error.value)


def test_a_specification_that_is_no_file(tmp_path):
    with pytest.raises(InputError, match=r"The population .*none\.toml' does not exist"):
        read_specification(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("targets = [")
    with pytest.raises(InputError, match="cannot be read: it is no TOML"):
        read_specification(broken)


def test_a_name_given_twice():
    with pytest.raises(InputError, match="given twice"):
        Prior((Marginal("rL", 0.1, 0.1), Marginal("rL", 0.1, 0.1)))


# --- calibration ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calibration():
    return calibrate(2048, seed=11)


@pytest.fixture(scope="module")
def population(calibration):
    return calibration.resample(2000, seed=12)


def test_calibration_meets_its_targets(calibration):
    table = calibration.table()
    assert table["met"].all()
    np.testing.assert_allclose(table["calibrated"], table["value"], rtol=1e-4)
    assert calibration.weights.sum() == pytest.approx(1.0)
    assert calibration.unmet == ()
    # what the specification reports of its own populations
    assert 0.70 <= calibration.ess_share <= 0.85
    assert 0.028 <= calibration.hT <= 0.035
    assert 0.0031 <= calibration.hL <= 0.0036
    assert calibration.shifts().abs().max() < 0.15
    assert "effective" in calibration.summary()


def test_calibrated_hazards_give_the_deaths(calibration):
    factors = {"hT_factor": calibration.hT / 0.0331, "hL_factor": calibration.hL / 0.00337}
    e = expected(calibration.course, calibration.weights, **factors)
    assert e["toxic_death"] == pytest.approx(0.015, rel=1e-6)
    assert e["OS365"] == pytest.approx(0.76, rel=1e-6)


def test_resampling(calibration, population):
    few = calibration.resample(20, seed=12)
    pd.testing.assert_frame_equal(few.patients, population.patients.iloc[:20])
    counts = np.bincount(population.patients["source"], minlength=2048)
    assert counts @ np.log(calibration.weights + 1e-300) > np.log(calibration.weights).mean() * 2000
    assert population.patients["hT"].eq(calibration.hT).all()
    assert list(population.model_columns) == [
        c for c in population.patients if c not in ("source", "U1", "U2")
    ]


def test_impossible_targets_stop_a_calibration():
    with pytest.raises(InputError, match="'t_peak_T' = 3000"):
        calibrate(128, seed=1, targets={"CR90": 0.8, "t_peak_T": 3000.0})
    loose = calibrate(128, seed=1, targets={"CR90": 0.8, "t_peak_T": 3000.0}, allow_unmet=True)
    assert loose.unmet == ("t_peak_T",)
    assert "Not met: t_peak_T" in loose.summary()
    table = loose.table().set_index("target")
    assert table["met"].to_dict() == {"CR90": True, "t_peak_T": False}
    alone = calibrate(64, seed=1, targets={"t_peak_T": 5000.0}, allow_unmet=True)
    assert alone.unmet == ("t_peak_T",)
    assert not alone.table()["met"].any()


def test_a_population_on_disk(population, tmp_path):
    folder = population.save(tmp_path / "population")
    again = Population.load(folder)
    pd.testing.assert_frame_equal(again.patients, population.patients)
    assert again.hash == population.hash
    about = json.loads((folder / "population.json").read_text())
    assert about["hash"] == population.hash
    assert about["made"]["targets"] == TARGETS
    other = Population(population.patients.assign(rL=0.1), population.made)
    assert other.hash != population.hash
    about["hash"] = other.hash
    (folder / "population.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="hash"):
        Population.load(folder)
    with pytest.raises(InputError, match="does not exist"):
        Population.load(tmp_path / "none")


@pytest.fixture(scope="module")
def arms(calibration):
    """Expected outcomes of the arms over the weighted sample: without the noise of resampling and of luck."""
    patients, weights = calibration.sample, calibration.weights
    patients = patients.assign(hT=calibration.hT, hL=calibration.hL)
    return {
        name: expected(course(patients, infusions(patients, plan)), weights) for name, plan in ARMS.items()
    }


def test_published_ranges_of_the_arms(arms):
    for name, ranges in PUBLISHED.items():
        for quantity, (mean, sd) in ranges.items():
            assert arms[name][quantity] == pytest.approx(mean, abs=3 * sd), (name, quantity)


def test_published_orderings_of_the_arms(arms):
    for quantity in ("crs3", "CR90"):
        order = sorted(arms, key=lambda name: -arms[name][quantity])
        assert order == ["A0", "A2", "A3", "A1", "A4", "A5"]


def test_a_drawn_population_agrees_with_expected_values(population, arms):
    patients = population.patients
    c = course(patients, infusions(patients, ARMS["A0"]))
    assert c["status"].eq("ok").all()
    o = outcomes(c)
    found = {
        "CR90": o["CR90"], "crs3": o["crs3"], "crs4": o["crs4"], "EFS365": o["efs"] > 365,
        "EFS730": o["efs"] >= 730, "OS730": o["os"] >= 730,
    }  # fmt: skip
    for name, flag in found.items():
        share = arms["A0"][name]
        assert flag.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(o))), name


def test_what_treated_patients_reach_is_told_beside_the_targets(calibration, population):
    """The weighted sample reaches 81 % as if nobody died; some of the patients die before remission."""
    patients = population.patients
    single = course(patients, infusions(patients, ARMS["A0"]))
    reached = reached_by(single, [*QUANTITIES, *HAZARDS])
    assert set(reached) == {*QUANTITIES, *HAZARDS}
    # by drawn deaths, each patient with the luck of 60 others
    draws_each, found = 60, {"CR90": [], "toxic_death": [], "OS12": []}
    days = np.array([0.0, *marks(730.0)])
    for k in range(draws_each):
        luck = draws(len(patients), seed=500 + k)
        drawn = single.copy()
        for name, u in (("toxic", luck["U1"]), ("leukemia", luck["U2"])):
            H = single[[f"H{name[0]}_{d:g}" for d in days[1:]]].to_numpy()
            drawn[f"t_{name}"] = first_time(days, np.hstack([np.zeros((len(H), 1)), H]), u.to_numpy())
        o = outcomes(drawn)
        found["CR90"].append(o["CR90"].mean())
        found["toxic_death"].append(o["toxic_death"].mean())
        found["OS12"].append((o["os"] > 365).mean())
    for name, values in found.items():
        assert reached[name] == pytest.approx(
            np.mean(values), abs=4 * np.std(values) / draws_each**0.5 + 1e-4
        )
    m = moments(single)
    death_free = QUANTITIES["CR90"].reached(m, m["ok"].to_numpy(dtype=float))
    assert reached["CR90"] < death_free - 0.005
    assert reached["peak_C"] == pytest.approx(QUANTITIES["peak_C"].reached(m, np.ones(len(m))))
    in_remission = m.loc[m["CR90"], "ln_t_peak_T"]
    assert reached["t_peak_T"] == pytest.approx(np.exp(in_remission.mean()), rel=0.02)


def test_deaths_of_both_kinds_are_calibrated_together(calibration):
    """Toxic deaths as they are seen: those that leukemia has not forestalled."""
    c, w = calibration.course, calibration.weights
    factors = calibration.hT / 0.0331, calibration.hL / 0.00337
    toxic, alive = deaths_expected(c, 365.0, hT_factor=factors[0], hL_factor=factors[1])
    assert w @ toxic == pytest.approx(0.015, rel=1e-9)
    assert w @ alive == pytest.approx(0.76, rel=1e-9)
    alone = w @ -np.expm1(-factors[0] * c["Ht_730"])
    assert alone > 0.0151  # as many would die if nobody died of leukemia
    # half have died of toxicity before long: 90 % cannot be alive at 12 months
    with pytest.raises(InputError, match=r"'OS12' = 0\.9 cannot be met together with 'toxic_death' = 0\.5"):
        calibrate(64, seed=1, targets={"toxic_death": 0.5, "OS12": 0.9})
