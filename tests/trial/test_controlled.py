"""Controlled arms: identities with other arms, measurements, predictions, actuators, what rules may do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fastcart.errors import InputError
from fastcart.population import assay_noise, sample
from fastcart.protocols import (
    EXACT,
    Assays,
    Blockade,
    Command,
    Controlled,
    Controller,
    History,
    Infusion,
    LateMemory,
    Lymphodepletion,
    OpenLoop,
    Promotion,
    Replay,
    Start,
    Switched,
    Target,
    get,
    hold_effectors,
    mean_activity,
    target,
    without_measurement,
)
from fastcart.protocols.controllers import predicted_cells
from fastcart.protocols.measurement import reading_noise
from fastcart.trial.counterfactual import arm_course, controlled_course
from fastcart.trial.outcomes import expected

SINGLE = (Infusion(0, 1, 1),)
VISITS = (2.0, 4.0, 6.0, 8.0, 10.0, 14.0, 28.0)
N = 24
DAYS = 100.0
TOLERANCE = {"rtol": 2e-3, "atol": 1e-6}  # of solutions that stop on other days


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    return sample(N, seed=3)


def arm(rule, name="C", infusions=SINGLE, visits=VISITS, **options) -> Controlled:
    return Controlled(name=name, infusions=infusions, rule=rule, visits=visits, equal_budget=False, **options)


def followed(rule, patients, *, noise_seed=5, **options):
    return controlled_course(arm(rule, **options), patients, noise_seed=noise_seed, t_end=DAYS)


def same(here: pd.DataFrame, there: pd.DataFrame) -> None:
    """Compare courses whose solver stopped on other days."""
    assert here["status"].eq("ok").all()
    for name in ("peak_C", "peak_T", "auc_C", "S28", "Ht_100", "Hl_100"):
        np.testing.assert_allclose(here[name], there[name], **TOLERANCE, err_msg=name)


# ---- identities


@pytest.fixture(scope="module")
def single(patients):
    return arm_course(get("A0"), patients, t_end=DAYS)


@pytest.mark.parametrize(
    "rule",
    [
        Controller(target=Target(np.inf)),
        Replay((0.0, 2.0), (1.0, 1.0)),
        Controller(promotion=Promotion(factor=1.0)),
        lambda history: Command(),
    ],
    ids=["infinite target", "open loop at 1", "promotion by 1", "no command"],
)
def test_a_rule_that_does_nothing_is_the_single_infusion(rule, patients, single):
    course, session = followed(rule, patients)
    same(course, single)
    assert (session.done["activity"] == 1.0).all()


def test_without_delay_noise_and_prediction_it_is_the_rule_of_before(patients):
    before = Switched(name="S", infusions=SINGLE, switch=hold_effectors(3e9, rise=0.1), visits=VISITS)
    rule = Controller(target=target("RISE_T", 3e9), predictor=0.0)
    course, _ = followed(rule, patients, switch="graded", lag=0.0, leak=0.0, assays=EXACT, noise_seed=None)
    same(course, arm_course(before, patients, t_end=DAYS))


def test_an_open_loop_of_one_patient_is_the_arm_itself(patients):
    one = patients.head(1)
    closed = arm(Controller(target=target("FLAT", 3e9)))
    course, session = controlled_course(closed, one, noise_seed=5, t_end=DAYS)
    replay = without_measurement(closed, mean_activity(session), "open")
    same(arm_course(replay, one, noise_seed=6, t_end=DAYS), course)


def test_mean_activity_is_geometric_and_weighted(patients):
    _, session = followed(Controller(target=target("FLAT", 3e9)), patients)
    weights = np.arange(1.0, N + 1)
    mean = mean_activity(session, weights)
    logs = np.log(session.done["activity"])
    np.testing.assert_allclose(np.log(mean), weights @ logs / weights.sum(), rtol=1e-12)


# ---- common random numbers


def test_noise_follows_patient_day_and_kind_alone():
    numbers = np.array([0, 5, 2])
    here = reading_noise("cells", numbers, 3.0, seed=5)
    np.testing.assert_array_equal(here, assay_noise(6, 3, seed=1005)[numbers])
    np.testing.assert_array_equal(reading_noise("cells", np.array([2]), 3.0, seed=5), here[2:])
    np.testing.assert_array_equal(
        reading_noise("burden", numbers, 42.0, seed=5), assay_noise(6, 30, seed=5)[numbers]
    )
    days = [0.0, 1.0, 1.5, 28.0, 29.0, 30.0, 35.0, 36.0, 42.0]
    drawn = {float(reading_noise("il6", np.array([0]), day, seed=5)[0]) for day in days}
    assert len(drawn) == len(days)


class Watching:
    """A rule that keeps what it is told."""

    def __init__(self, answer=Command):
        self.told: list[History] = []
        self.answer = answer

    def __call__(self, history: History) -> Command:
        self.told.append(history)
        return self.answer()


def test_a_visit_a_patient_and_an_actuator_change_no_other_reading(patients):
    rules = [Watching(), Watching(), Watching(lambda: Command(blockade=0.5))]
    followed(rules[0], patients)
    followed(rules[1], patients.tail(4).reset_index(drop=True), visits=(2.0, 3.0, *VISITS[1:]))
    followed(rules[2], patients)
    base, some, blocked = (rule.told[-1] for rule in rules)
    shared = [day in base.days for day in some.days]
    for kind in ("burden", "cells", "il6"):
        np.testing.assert_allclose(getattr(some, kind)[:, shared], getattr(base, kind)[-4:], rtol=1e-3)
        np.testing.assert_allclose(getattr(blocked, kind), getattr(base, kind), rtol=1e-3)


def test_no_patient_changes_another(patients):
    rule = Controller(target=target("RISE_TB", 3e9), promotion=Promotion())
    together, _ = followed(rule, patients)
    alone, _ = followed(rule, patients.iloc[5:9])
    pd.testing.assert_frame_equal(alone, together.iloc[5:9].reset_index(drop=True), check_exact=True)


# ---- measurement


def test_results_are_known_after_their_delay_with_noise_and_a_limit(patients):
    exact, noisy = Watching(), Watching()
    followed(exact, patients, assays=EXACT, noise_seed=None)
    followed(noisy, patients, assays=Assays(delay=3.0, burden_limit=5e10))
    assert [list(told.days) for told in noisy.told[:5]] == [[0], [0], [0], [0, 2], [0, 2, 4]]
    assert [len(told.days) for told in exact.told] == list(range(1, len(VISITS) + 2))
    truth, seen = exact.told[-1], noisy.told[-1]
    known = len(seen.days)
    numbers = np.arange(N)
    for k, day in enumerate(seen.days):
        error = np.exp(0.35 * reading_noise("cells", numbers, day, seed=5))
        np.testing.assert_allclose(seen.cells[:, k], truth.cells[:, k] * error, rtol=1e-9)
        error = np.exp(0.35 * reading_noise("burden", numbers, day, seed=5))
        burden = np.maximum(truth.burden[:, k] * error, 5e10)
        np.testing.assert_allclose(seen.burden[:, k], burden, rtol=1e-9)
    assert (seen.burden >= 5e10).all()
    assert known < truth.cells.shape[1]
    # the baseline is taken after the infusion
    np.testing.assert_allclose(truth.burden[:, 0], patients["L"] + patients["R"])
    assert (truth.cells[:, 0] > 1e5).all()


def history(cells, *, days, day, burden=1e11, il6=5.0, delay=1.0, done=None) -> History:
    """Return the history of one patient."""
    k = len(days)
    visits = np.array([d for d in (0.0, 1.0, 2.0, 7.0, 14.0) if d < day])
    given = {name: np.full((1, len(visits)), value) for name, value in (done or {}).items()}
    usual = {"activity": np.ones((1, len(visits))), "promotion": np.ones((1, len(visits)))}
    nothing = {name: np.zeros((1, len(visits))) for name in ("memory", "effectors", "blockade")}
    full = [np.broadcast_to(np.asarray(x, dtype=float), (1, k)) for x in (burden, cells, il6)]
    return History(day, delay, np.array(days), *full, visits=visits, done=usual | nothing | given)


@pytest.mark.parametrize(
    ("cells", "days", "day", "growth", "ahead"),
    [
        ([1e7], [0.0], 0.0, 0.0, 0.5),  # the baseline, before a result could come
        ([1e7], [0.0], 1.0, 2.0, 1.5),  # only the baseline is known
        ([1e7, 1e7 * np.e], [0.0, 1.0], 2.0, 1.0, 1.5),
        ([1e7, 1e7 * np.e, 1e7 * np.e**3], [0.0, 1.0, 2.0], 3.0, 2.0, 1.5),  # 2 a day is not averaged
        ([1e7, 1e7 * np.e, 1e7 * np.e**2.5], [0.0, 1.0, 2.0], 3.0, 1.25, 1.5),
        ([1e7, 1e12], [0.0, 1.0], 2.0, 2.5, 1.5),  # clipped
        ([1e7, 1e3], [0.0, 1.0], 2.0, -0.2, 1.5),
        ([1e7, 1e7, 1e7 * np.e**7], [0.0, 7.0, 14.0], 21.0, 1.0, 3.0),  # weekly: not averaged, not so far
    ],
)
def test_prediction_of_cells(cells, days, day, growth, ahead):
    told = history([cells], days=days, day=day)
    assert predicted_cells(told, 0.7) == pytest.approx([cells[-1] * np.exp(0.7 * growth * ahead)])
    assert predicted_cells(told, 0.0) == pytest.approx([cells[-1]])


def test_targets():
    told = history([[1e9, 1e9]], days=[0.0, 9.0], day=10.0, burden=[[1e11, 1e9]])
    for name, value in (
        ("FLAT", 1.0), ("RISE_T", np.e), ("RISE_B", 10.0), ("RISE_TB", 10 * np.e), ("REV", 0.1)
    ):  # fmt: skip
        assert target(name, 3e9)(told) == pytest.approx([3e9 * value])
    grown = history([[1e9, 1e9]], days=[0.0, 9.0], day=10.0, burden=[[1e11, 1e12]])
    assert target("RISE_B", 3e9)(grown) == pytest.approx([3e9])


# ---- actuators


def test_a_leak_and_a_lag(patients):
    off = lambda history: Command(activity=0.0)  # noqa: E731
    _, session = followed(off, patients)
    assert (session.done["activity"] == 0.02).all()
    quick, slow = (followed(off, patients, lag=lag)[0] for lag in (0.0, 5.0))
    assert (quick["peak_C"] < slow["peak_C"]).all()


def test_depletion_leaves_a_share_of_the_cells(patients):
    watching = Watching()

    def rule(told: History) -> Command:
        watching(told)
        return Command(keep_effectors=0.1, keep_memory=0.1) if told.day == 8.0 else Command()

    visits = (8.0, 8.001)
    followed(rule, patients, visits=visits, assays=EXACT, noise_seed=None)
    cells = watching.told[-1].cells
    np.testing.assert_allclose(cells[:, 2] / cells[:, 1], 0.1, rtol=0.02)
    mild = Controller(target=Target(1e9), deplete="effectors")
    kept = mild(history([[1e10]], days=[7.0], day=8.0)).keep_effectors
    assert kept == pytest.approx([max(0.1 * np.exp(-0.7 * 2 * 1.5), 0.05)])
    assert mild(history([[1e10]], days=[0.0], day=0.0)).keep_effectors == 1.0


def test_memory_withheld_and_infused_late_is_counted(patients):
    late = Controller(memory=LateMemory(fraction=1.0, start=Start(day=8.0, burden=0.0)))
    course, session = followed(late, patients, infusions=(Infusion(0, 1, 0),))
    budget = 1e8 * patients["fM"]
    np.testing.assert_allclose(course["memory_infused"], budget)
    np.testing.assert_allclose(course["effectors_infused"], 1e8 - budget)
    assert session.done["memory"].sum() == N
    assert (session.done["memory"][:, list(session.days).index(8.0)] == 1.0).all()
    # the rule on day 0 is the infusion of day 0
    now = Controller(memory=LateMemory(start=Start(day=0.0)))
    first, _ = followed(now, patients, infusions=(Infusion(0, 1, 0),))
    same(first, followed(Controller(), patients)[0])


def test_promotion_makes_memory_while_it_lasts(patients):
    _, ever = followed(Controller(promotion=Promotion(start=Start(day=8.0, burden=0.0))), patients)
    _, short = followed(
        Controller(promotion=Promotion(start=Start(day=8.0, burden=0.0), duration=4.0)), patients
    )
    days = ever.days
    np.testing.assert_array_equal(ever.done["promotion"][0], np.where(days >= 8, 10.0, 1.0))
    np.testing.assert_array_equal(short.done["promotion"][0], np.where((days >= 8) & (days <= 12), 10.0, 1.0))


@pytest.mark.parametrize(
    ("burden", "day", "begins"), [(1e7, 6.0, False), (1e7, 7.0, True), (1e9, 27.0, False), (1e9, 28.0, True)]
)
def test_a_start_waits_for_the_burden_or_the_day(burden, day, begins):
    told = history([[1e9]], days=[0.0], day=day, burden=burden)
    assert Start().due(told)[0] == begins
    assert (Promotion().now(told)[0] == 10.0) == begins
    assert (LateMemory(fraction=3.0).now(told)[0] == 3.0) == begins


def test_a_blockade_is_given_again_after_days():
    usual = {"days": [0.0], "il6": 500.0}
    assert Blockade().now(history([[1e9]], day=7.0, **usual)) == pytest.approx([0.8])
    given = {"blockade": 0.8}
    assert Blockade().now(history([[1e9]], day=2.0, done=given, **usual)) == pytest.approx([0.0])
    assert Blockade().now(history([[1e9]], day=20.0, done=given, **usual)) == pytest.approx([0.0])
    assert Blockade().now(history([[1e9]], day=23.0, done=given, **usual)) == pytest.approx([0.8])


def test_a_blockade_lowers_grades_and_leaves_cells_alone(patients, single):
    course, _ = followed(lambda history: Command(blockade=0.9), patients)
    assert (course["peak_C"] < 0.7 * single["peak_C"]).all()
    np.testing.assert_allclose(course["peak_T"], single["peak_T"], rtol=2e-3)
    np.testing.assert_allclose(course["final_L"], single["final_L"], rtol=2e-2, atol=1.0)


def test_il6_that_is_high_holds_the_car():
    hot, cool = (history([[1e9]], days=[0.0], day=2.0, il6=il6) for il6 in (600.0, 100.0))
    assert Controller(il6_hold=300.0)(hot).activity == pytest.approx([0.0])
    assert Controller(il6_guard=300.0)(hot).activity == pytest.approx([0.5])
    for rule in (Controller(il6_hold=300.0), Controller(il6_guard=300.0)):
        assert rule(cool).activity == pytest.approx([1.0])


def test_the_niche_can_be_supported_beside_a_controller(patients):
    rule = Controller(target=target("RISE_T", 3e9))
    plain, _ = followed(rule, patients)
    niche, _ = followed(rule, patients, lymphodepletions=(Lymphodepletion(28.0, 1.0),))
    assert (niche["peak_T"] >= plain["peak_T"] * 0.999).all()
    assert (niche["final_L"] < plain["final_L"] * 0.99).any()


# ---- what rules may do


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (lambda told: 1.0, "must return a Command, not 1.0"),
        (lambda told: Command(activity=1.5), "'activity' 1.5; it must lie in"),
        (lambda told: Command(promotion=np.nan), "'promotion' nan; it must be a finite number"),
        (lambda told: Command(memory=-0.1), "'memory' -0.1"),
        (lambda told: Command(activity=np.ones(3)), "'activity' as one number per patient"),
        (lambda told: told.nothing, "fails with AttributeError"),
    ],
)
def test_bad_rules_get_one_sentence(rule, sentence, patients):
    with pytest.raises(InputError, match=sentence):
        controlled_course(arm(rule), patients, t_end=DAYS)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: arm(3), "must be a function"),
        (lambda: arm(Controller(), switch="half"), "'fraction' or 'graded'"),
        (lambda: arm(Controller(), lag=-1.0), "days from 0 on, not -1"),
        (lambda: arm(Controller(), leak=2.0), "lie in"),
        (lambda: Assays(cells_sd=-0.1), "cells_sd of an assay must not be negative"),
        (lambda: Target(0.0), "must be positive"),
        (lambda: target("RISE", 1e9), "There is no target 'RISE'"),
        (lambda: Controller(deplete="some"), "'effectors' or of 'all'"),
        (lambda: Replay((1.0,), (1.0,)), "the first of which is 0"),
        (lambda: Target(np.nan), "must be positive, not nan"),
        (lambda: Target("many"), "must be positive, not 'many'"),
        (lambda: Promotion(factor=np.inf), "factor of a promotion"),
        (lambda: Promotion(duration=0.0), "duration of a promotion must be positive"),
        (lambda: LateMemory(fraction=-1.0), "fraction of late memory cells"),
        (lambda: Blockade(efficacy=1.5), "efficacy of a blockade must lie between 0 and 1"),
        (lambda: Blockade(again_after=-1.0), "days between two blockades"),
        (lambda: Controller(il6_hold=np.nan), "il6_hold of a controller must be positive"),
        (lambda: Start(day=-1.0), "day of a start must be positive"),
    ],
)
def test_bad_arms_get_one_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_a_target_without_a_limit_never_holds_back_whatever_its_slope():
    burden = np.array([[1e11, 1e6]])
    told = History(400.0, 0.0, np.array([0.0, 400.0]), burden, burden, burden, np.zeros(1), {})
    for cells, rise, power in ((np.inf, -10.0, 1.0), (np.inf, 10.0, -10.0), (1e9, 10.0, -10.0)):
        assert Target(cells, rise, power)(told) == np.inf
    assert Target(1e9, -10.0, 10.0)(told) == 0.0


def test_an_open_loop_of_a_rule_of_ones_own_repeats_the_activity_or_says_what_it_cannot(patients):
    few = patients.head(4)

    def half(told):
        return Command(activity=0.5)

    def more(told):
        return Command(activity=0.5, promotion=2.0)

    course = arm_course(OpenLoop.after(arm(half, name="H"), "O"), few, t_end=DAYS, noise_seed=5)
    same(course, followed(half, few)[0])
    with pytest.raises(InputError, match="the rule of 'M' commands 'promotion', too"):
        arm_course(OpenLoop.after(arm(more, name="M"), "O"), few, t_end=DAYS)


def test_a_model_without_actuators_is_refused(patients):
    from fastcart.models import for_trial

    with pytest.raises(InputError, match="needs a model with a switch and other actuators"):
        controlled_course(arm(Controller()), patients, model=replace(for_trial("b_all"), actuators=None))


def test_a_lower_target_is_milder(patients):
    low, high = (followed(Controller(target=target("RISE_T", c)), patients)[0] for c in (3e8, 3e11))
    assert low["peak_C"].median() < 0.7 * high["peak_C"].median()
    assert expected(low)["crs3"] <= expected(high)["crs3"]


# ---- the model of an arm has the actuators that the arm uses, and no more


class Everything(Controller):
    """A controller that does not say what it leaves alone."""

    activity_alone = False


def test_an_arm_that_sets_the_activity_alone_takes_the_smaller_model(patients):
    held = target("RISE_T", 3e9)
    course, small = followed(Controller(target=held), patients)
    other, whole = followed(Everything(target=held), patients)
    assert {"promotion", "blockade"} <= set(whole.adapter.model.state_names)
    assert not {"promotion", "blockade"} & set(small.adapter.model.state_names)
    same(course, other)
    np.testing.assert_allclose(small.done["activity"], whole.done["activity"], rtol=1e-4)


class Promise(Controller):
    """A controller that says that it sets the activity alone, whatever it does."""

    activity_alone = True


def test_a_rule_keeps_what_it_says_of_itself(patients):
    with pytest.raises(InputError, match="commands a promotion"):
        followed(Promise(promotion=Promotion(factor=3.0, start=Start(day=0.0))), patients)


def test_a_rule_with_a_call_of_its_own_may_do_everything():
    class Own(Controller):
        def __call__(self, history: History) -> Command:
            return Command(blockade=0.5)

    assert not Own().activity_alone
    assert Replay((0.0,), (1.0,)).activity_alone
    assert not Replay((0.0,), (1.0,), Controller(blockade=Blockade())).activity_alone
