"""Arms solved as one batch are, to the bit, those solved one by one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastcart.errors import InputError
from fastcart.population import sample
from fastcart.protocols import Controlled, Controller, Design, Infusion, get
from fastcart.trial import together
from fastcart.trial.counterfactual import arm_course
from fastcart.trial.families import of_doses, of_targets, scan
from fastcart.trial.together import arms_together

VISITS = (1.0, 2.0, 3.0, 5.0, 8.0, 14.0, 28.0)


@pytest.fixture(scope="module")
def patients():
    return sample(9, seed=4).iloc[[7, 2, 5]].reset_index(drop=True)  # ids are not the rows


def target(cells, **design):
    return Design(cells=cells, **design).arm(f"at {cells:g}", visits=VISITS)


def same(arms, patients):
    alone = [arm_course(arm, patients, dose=dose, noise_seed=5, t_end=120.0) for arm, dose in arms]
    at_once = [one.course for one in arms_together(arms, patients, noise_seed=5, t_end=120.0)]
    for one, other in zip(alone, at_once, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    return alone


@pytest.mark.parametrize(
    "design", [{}, {"memory": "promote"}, {"actuator": "depletion"}, {"memory": "extra"}]
)
def test_targets_at_once(design, patients):
    alone = same([(target(cells, **design), 1e8) for cells in (1e9, 3e9, 2e10)], patients)
    assert not np.allclose(alone[0]["peak_C"], alone[2]["peak_C"])


def test_doses_at_once(patients):
    for arm in (get("A0"), get("A5"), get("X8")):
        same([(arm, dose) for dose in (1e6, 1e8)], patients)


def test_arms_that_differ_in_more_are_solved_apart(patients, monkeypatch):
    other = target(3e9)
    arms = [(target(1e9), 1e8), (other, 1e8), (target(3e9, memory="promote"), 1e8), (get("A6"), 1e8)]
    sizes = []
    batch = together._batch
    monkeypatch.setattr(together, "_batch", lambda arms, *rest: sizes.append(len(arms)) or batch(arms, *rest))
    same(arms, patients)
    assert sizes == [2, 1, 1]
    monkeypatch.setattr(together, "MOST", 3)
    same(arms[:2], patients)
    assert sizes[3:] == [1, 1]


def test_a_rule_is_asked_about_its_own_patients_and_blamed_for_its_own_answer(patients):
    def rule(history):
        assert len(history.cells) == len(patients)
        return Controller(il6_hold=100.0)(history)

    arm = Controlled(name="mine", infusions=(Infusion(0, 1, 1),), rule=rule, visits=VISITS)
    bad = Controlled(name="bad", infusions=(Infusion(0, 1, 1),), rule=lambda _: 1.0, visits=VISITS)
    same([(arm, 1e8), (arm, 1e7)], patients)
    with pytest.raises(InputError, match="'bad' must return a Command"):
        list(arms_together([(arm, 1e8), (bad, 1e8)], patients, t_end=120.0))


def test_a_scan_tells_what_was_commanded(patients):
    seen = {}
    scan(of_targets(target, (1e9, 3e9), name="RISE_T"), patients, progress=False, noise_seed=5,
         seen=lambda cells, arm: seen.update({cells: arm.activity}))  # fmt: skip
    assert {cells: activity.shape for cells, activity in seen.items()} == dict.fromkeys(
        (1e9, 3e9), (3, 1 + len(VISITS))
    )
    assert (seen[1e9] <= seen[3e9]).any(axis=None)
    scan(of_doses(get("A0"), (1e6, 1e8)), patients, progress=False,
         seen=lambda dose, arm: seen.update({dose: arm.activity}))  # fmt: skip
    assert seen[1e8] is None


def test_doses_of_patients_are_positive_numbers(patients):
    with pytest.raises(InputError, match="positive, finite"):
        arm_course(get("A0"), patients, dose=np.array([1e8, 0.0, 1e8]))
