"""Courses on chosen days are those of the outcomes, whatever is done on the way."""

from __future__ import annotations

import numpy as np
import pytest

from fastcart.models import for_trial
from fastcart.population import sample
from fastcart.protocols import Design, OpenLoop, get
from fastcart.trial.counterfactual import arm_course, fixed
from fastcart.trial.paths import arm_paths

VISITS = (2.0, 4.0, 6.0, 8.0, 10.0, 14.0, 28.0)
RISE = Design(target="RISE_TB", memory="promote").arm("RISE", visits=VISITS)
DAYS = np.array([0.0, 6.0, 7.0, 28.0, 60.0])


@pytest.fixture(scope="module")
def patients():
    return sample(12, seed=3)


@pytest.mark.parametrize("arm", [get("A5"), get("X8"), get("A6"), RISE], ids=lambda arm: arm.name)
def test_paths_are_those_of_the_outcomes(arm, patients):
    path = arm_paths(arm, patients, DAYS, adapter=for_trial("b_all"), dose=1e8, noise_seed=5)
    course = arm_course(arm, patients, noise_seed=5, t_end=60.0)
    assert list(path["t"]) == list(DAYS) * len(patients)

    def on(day, name):
        return path.loc[path["t"] == day, name].to_numpy()

    np.testing.assert_allclose(on(28.0, "S"), course["S28"], rtol=2e-3, atol=2.0)
    np.testing.assert_allclose(on(60.0, "Ht"), course["Ht_60"], rtol=2e-3, atol=1e-7)
    np.testing.assert_allclose(on(60.0, "L"), course["final_L"], rtol=5e-3, atol=2.0)
    np.testing.assert_allclose(on(0.0, "L"), patients["L"], rtol=1e-9)


def test_an_open_loop_is_fixed_by_the_patients_and_their_weights(patients):
    loop = OpenLoop.after(RISE, "OPEN")
    plain = fixed(loop, patients, noise_seed=5, t_end=60.0)
    weighted = fixed(loop, patients.assign(weight=np.arange(1.0, 13.0)), noise_seed=5, t_end=60.0)
    assert plain.rule.activity != weighted.rule.activity
    first = patients.assign(weight=np.eye(12)[0])
    alone = fixed(loop, first, noise_seed=5, t_end=60.0)
    whole = arm_course(alone, patients.head(1), t_end=60.0)
    own = arm_course(RISE, patients.head(1), noise_seed=5, t_end=60.0)
    np.testing.assert_allclose(whole["peak_C"], own["peak_C"], rtol=1e-3)
    assert fixed(RISE, patients) is RISE


def test_segments_that_are_alike_are_prepared_once(patients, monkeypatch):
    from fastcart.trial import segments

    made = []
    prepare = segments.prepare
    monkeypatch.setattr(segments, "prepare", lambda *a, **k: made.append(1) or prepare(*a, **k))
    visits = tuple(float(day) for day in range(1, 15))
    arm = Design().arm("daily", visits=visits)
    path = arm_paths(arm, patients, np.arange(0.0, 21.0), adapter=for_trial("b_all"), dose=1e8, noise_seed=5)
    assert np.isfinite(path["S"]).all()
    assert len(made) == 3  # the day of the infusion, a day between two visits, what follows the last one
