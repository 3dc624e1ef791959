"""Arms: budgets, what a rule sees, identities between arms, common random numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcart.errors import InputError
from fastcart.models.b_all import infusions
from fastcart.protocols import (
    ARMS,
    STANDARD,
    Adaptive,
    Calendar,
    Infusion,
    Lymphodepletion,
    administered,
    budgets,
    check_equal_budget,
    get,
    hold_if_crs,
    lhm_rule,
    schedule_of,
)
from fastcart.protocols.arms import arm_names
from fastcart.protocols.library import RISING, VISITS
from fastcart.trial.counterfactual import arm_course, counterfactuals, plan

DOSE = 1e8


def patients(n: int = 24, seed: int = 3) -> pd.DataFrame:
    from fastcart.population import draws, sample

    table = sample(n, seed=seed)
    chance = draws(table, seed=seed + 1)
    return table.assign(U1=chance["U1"].to_numpy(), U2=chance["U2"].to_numpy())


@pytest.fixture(scope="module")
def drawn() -> pd.DataFrame:
    return patients()


def reference() -> pd.DataFrame:
    """Return the patient REF of section 10.2 of the specification."""
    return pd.DataFrame(
        {"patient": [0], "L": [1e11], "R": [100.0], "B": [1e9], "N": [3e9], "fM": [0.35], "D": [1e8],
         "F_E": [0.08], "F_M": [0.20], "hT": [0.04], "hL": [math.log(2) / 220]}
    )  # fmt: skip


# ---- calendars and budgets


def test_an_unequal_budget_is_told_as_its_author_writes_it():
    from fastcart.specification import Table
    from fastcart.trial.own_arms import own_arm

    half = {"effectors": 0.5, "memory": 1.0}
    with pytest.raises(InputError, match=r"0\.5, not to 1; mend them, or set equal_budget=False for"):
        Calendar(name="B", infusions=(Infusion(0, **half),))
    with pytest.raises(
        InputError, match=r"sum to 0\.5, not to 1; mend them, or set equal_budget = false for"
    ):
        own_arm(Table({"name": "B", "infusions": [{"day": 0, **half}]}, "an own [[arm]]"), Path())
    named = {"name": "equal_budget=False", "infusions": []}  # no text of the user's is rewritten
    with pytest.raises(InputError, match="'equal_budget=False' does not fit"):
        own_arm(Table(named, "an own [[arm]]"), Path())


@pytest.mark.parametrize(
    "arm", [arm for arm in ARMS.values() if isinstance(arm, Calendar)], ids=lambda a: a.name
)
def test_calendars_of_equal_budget_use_each_patients_own_cells(arm, drawn):
    given_cells = administered(arm, schedule_of(arm), drawn, DOSE)
    own = budgets(arm, drawn, DOSE)
    if arm.equal_budget:
        np.testing.assert_allclose(given_cells["effectors"], own[0], rtol=1e-15)
        np.testing.assert_allclose(given_cells["memory"], own[1], rtol=1e-15)
    fM = drawn["fM"].to_numpy()
    if arm.name != "X12":
        np.testing.assert_array_equal(own[0], DOSE * (1 - fM))
        np.testing.assert_array_equal(own[1], DOSE * fM)


def test_standard_calendars_are_those_of_the_specification():
    assert schedule_of(get("A0")) == [(0, 1, 1)]
    for name, days in (("A1", (0, 1, 2)), ("A4", (0, 7, 14))):
        assert schedule_of(get(name)) == [(d, f, f) for d, f in zip(days, RISING, strict=True)]
    assert schedule_of(get("A5")) == [(0, 0.1, 0), (7, 0.3, 0), (14, 0.6, 0), (28, 0, 1)]
    assert [arm.name for arm in STANDARD] == ["A0", "A1", "A1h", "A2", "A3", "A4", "A5", "A6"]


def test_engrafted_cells_of_the_reference_patient():
    doses = infusions(reference(), schedule_of(get("A0")), D=DOSE)
    assert dict(zip(doses["state"], doses["amount"], strict=True)) == pytest.approx({"E": 5.2e6, "M": 7.0e6})


@settings(max_examples=50, deadline=None)
@given(
    parts=st.lists(st.integers(1, 1000), min_size=1, max_size=6),
    days=st.lists(st.floats(0, 100), min_size=6, max_size=6, unique=True),
)
def test_any_split_keeps_the_budget(parts, days):
    fractions = [part / sum(parts) for part in parts]
    arm = Calendar(
        name="split", infusions=tuple(Infusion(d, f, f) for d, f in zip(days, fractions, strict=False))
    )
    table = pd.DataFrame({"patient": [1, 2], "fM": [0.2, 0.9]})
    cells = administered(arm, schedule_of(arm), table, DOSE)
    np.testing.assert_allclose(cells.sum(axis=1), DOSE, rtol=1e-12)


def test_burden_adapted_dose_follows_the_baseline(drawn):
    effectors, memory = budgets(get("X12"), drawn, DOSE)
    np.testing.assert_allclose(effectors + memory, np.where(drawn["L"] > 2e11, 1e7, 1e8))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: get("A9"), "There is no arm 'A9'"),
        (lambda: Calendar(name="b", infusions=(Infusion(0, 0.5, 1),)), "effectors of the arm 'b' sum to 0.5"),
        (lambda: Calendar(name="b", infusions=(Infusion(0, 1, 2),)), "memory of the arm 'b'"),
        (lambda: Calendar(name="b", infusions=()), "infuses nothing"),
        (lambda: Calendar(name="", infusions=(Infusion(0, 1, 1),)), "name of an arm"),
        (lambda: Calendar(name="b", infusions=(3,)), "values of Infusion"),
        (lambda: Infusion(-1, 1, 1), "day of an infusion must not be negative"),
        (lambda: Infusion(0, -0.1, 1), "effectors of an infusion must not be negative"),
        (lambda: Infusion(0, math.nan), "finite number"),
        (lambda: Lymphodepletion(28, 2), r"\[0, 1\]"),
        (lambda: Lymphodepletion(0), "positive"),
        (lambda: Adaptive(name="b", start=Infusion(1, 1, 1), rule=lhm_rule(), visits=(3,)), "day 0, not 1"),
        (lambda: Adaptive(name="b", start=Infusion(0, 1, 1), rule=lhm_rule(), visits=(3, 3)), "sorted"),
        (lambda: Adaptive(name="b", start=Infusion(0, 1, 1), rule=7, visits=(3,)), "must be a function"),
        (lambda: arm_names([get("A0"), get("A0")]), "'A0' is given twice"),
        (lambda: arm_names([]), "no arms"),
        (lambda: budgets(get("A0"), pd.DataFrame({"fM": [0.3]}), -1.0), "dose must be a positive"),
        (lambda: budgets(get("A0"), pd.DataFrame({"fM": [1.3]}), 1.0), "fractions from 0 to 1"),
    ],
)  # fmt: skip
def test_bad_arms_get_one_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


# ---- rules


def test_adaptive_arm_of_the_reference_patient():
    """Section 10.3: escape on day 6, holds on days 9 to 18, all the rest on day 21."""
    schedule = plan(get("A6"), reference(), noise_seed=None, rtol=1e-8)
    assert [(day, float(e[0]), float(m[0])) for day, e, m in schedule] == [
        (0, 0.1, 0),
        (6, 0.3, 0),
        (21, 0.6, 1),
    ]


def test_a_rule_sees_the_noisy_history_and_nothing_else(drawn):
    from fastcart.population import assay_noise

    visits = []

    def rule(visit):
        visits.append(visit)
        return 0.25, np.full(len(visit.burden), 0.5 if visit.index == 1 else 0.0)

    arm = Adaptive(name="mine", start=Infusion(0, 0.5, 0.5), rule=rule, visits=(2.0, 5.0))
    schedule = plan(arm, drawn, noise_seed=7)
    assert [visit.day for visit in visits] == [2.0, 5.0]
    last = visits[-1]
    np.testing.assert_allclose(
        last.baseline,
        (drawn["L"] + drawn["R"]) * np.exp(0.35 * assay_noise(len(drawn), 0, seed=7)),
        rtol=1e-12,
    )
    assert last.burdens.shape == last.il6_levels.shape == (len(drawn), 3)
    np.testing.assert_array_equal(last.effectors_given, np.tile([0.5, 0.25, 0], (len(drawn), 1)))
    np.testing.assert_array_equal(last.last_effectors, 2.0)
    np.testing.assert_array_equal(last.memory_total, 1.0)
    assert [entry[0] for entry in schedule] == [0, 2, 5]
    check_equal_budget(arm, schedule, drawn)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            (0.6, 0.0),
            "asks on day 3 for the fraction 0.6 of the effectors of patient 0, of which 0.5 is left",
        ),
        ((0.0, -0.1), "fraction -0.1 of the memory cells"),
        ((math.nan, 0.0), "fraction nan"),
        (0.5, "must return two values"),
        (("much", 0.0), "one fraction of effectors per patient"),
        ((np.zeros(3), 0.0), "one fraction of effectors per patient"),
        ((0.25, 0.5), "fraction 0.75 of the budget of effectors, not 1"),
    ],
)
def test_bad_rules_get_one_sentence(answer, sentence):
    arm = Adaptive(name="bad", start=Infusion(0, 0.5, 0.5), rule=lambda visit: answer, visits=(3.0,))
    with pytest.raises(InputError, match=sentence):
        plan(arm, patients(2), noise_seed=None)


def test_rules_stop_when_the_budget_is_used(drawn):
    seen = []

    def rule(visit):
        seen.append(visit.day)
        return 0.9, 1.0

    plan(Adaptive(name="early", start=Infusion(0, 0.1), rule=rule, visits=VISITS), drawn)
    assert seen == [3.0]


# ---- identities between arms, common random numbers


def test_identical_schedules_give_identical_outcomes(drawn):
    a0 = arm_course(get("A0"), drawn, t_end=100)
    single = Calendar(name="another name", infusions=(Infusion(0, 0.25, 0.5), Infusion(0, 0.75, 0.5)))
    pd.testing.assert_frame_equal(a0, arm_course(single, drawn, t_end=100), check_exact=True)


def test_patients_without_ids_are_numbered_and_a_missing_column_is_named(drawn):
    few = drawn.head(3)
    expected = arm_course(get("A5"), few.assign(patient=np.arange(3)), t_end=40)
    pd.testing.assert_frame_equal(arm_course(get("A5"), few.drop(columns="patient"), t_end=40), expected)
    for name in ("A0", "A6"):
        with pytest.raises(InputError, match="need a column 'fM'"):
            arm_course(get(name), few.drop(columns="fM"), t_end=40)


def test_a_hold_that_never_triggers_is_no_hold(drawn):
    rule = hold_if_crs({1.0: 0.3, 2.0: 0.6}, threshold=math.inf)
    arm = Adaptive(name="A1i", start=Infusion(0, 0.1, 0.1), rule=rule, visits=(1.0, 2.0))
    pd.testing.assert_frame_equal(
        arm_course(get("A1"), drawn, t_end=100), arm_course(arm, drawn, t_end=100), check_exact=True
    )


def test_adaptive_arm_without_visits_is_its_first_infusion(drawn):
    arm = Adaptive(name="A6-", start=Infusion(0, 0.1), rule=lhm_rule(), visits=(), complete=False)
    first = Calendar(name="E.1", infusions=(Infusion(0, 0.1),), equal_budget=False)
    pd.testing.assert_frame_equal(
        arm_course(arm, drawn, t_end=100), arm_course(first, drawn, t_end=100), check_exact=True
    )


def test_no_arm_and_no_patient_changes_another(drawn):
    alone = counterfactuals(drawn.iloc[5:9].reset_index(drop=True), [get("A6")], t_end=60)["A6"]
    together = counterfactuals(drawn, [get("A0"), get("A6"), get("A5")], t_end=60)["A6"]
    pd.testing.assert_frame_equal(alone, together.iloc[5:9].reset_index(drop=True), check_exact=True)


@pytest.mark.parametrize("threads", [1, 2])
def test_arms_solved_at_the_same_time_are_those_solved_one_by_one(drawn, threads):
    """Rules, which may be the user's and remember, are asked one after the other, in the arms' order."""
    asked = []

    def remembering(name):
        def rule(visit):
            asked.append((name, visit.index))
            return np.zeros(len(visit.rows)), np.zeros(len(visit.rows))

        start = Infusion(0, 0.5, 0.5)
        return Adaptive(name=name, start=start, rule=rule, visits=(1.0, 2.0), complete=False)

    arms = [remembering("second"), get("A0"), get("A6"), get("A5"), remembering("first"), get("X8")]
    courses = counterfactuals(drawn, arms, t_end=60, threads=threads)
    assert list(courses) == [arm.name for arm in arms]
    assert asked == [(name, visit) for name in ("second", "first") for visit in (1, 2)]
    for arm in arms:
        pd.testing.assert_frame_equal(courses[arm.name], arm_course(arm, drawn, t_end=60), check_exact=True)


def test_an_arm_that_cannot_be_solved_ends_those_beside_it(drawn):
    bad = Adaptive(name="bad", start=Infusion(0, 0.5), rule=lambda visit: (2.0, 0.0), visits=(1.0,))
    with pytest.raises(InputError, match="arm 'bad' asks on day 1 for the fraction 2"):
        counterfactuals(drawn, [get("A0"), bad, get("A5")], t_end=60)


def test_lymphodepletion_without_effect_changes_nothing_before_it(drawn):
    plain = arm_course(get("A0"), drawn, t_end=60)
    niche = arm_course(get("X8"), drawn, t_end=60)
    np.testing.assert_array_equal(plain["t_grade1"] < 28, niche["t_grade1"] < 28)
    np.testing.assert_allclose(plain["S28"], niche["S28"], rtol=1e-3, atol=1)
    assert not np.allclose(plain["final_L"], niche["final_L"])
