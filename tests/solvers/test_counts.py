"""Counts of work: steps, calls of the right-hand side, packed instructions.

They are the same on every machine, so they guard against regressions where a clock could not. A bound is a
few percent above what was counted when it was set; lower it when the engine needs less.
"""

from __future__ import annotations

import pytest
from conftest import draw_patients

import fastcart
from fastcart.explain import MachineCode
from fastcart.solvers.lanes.rhs import machine_code

PATIENTS = 300


@pytest.mark.parametrize(
    ("model", "method", "rtol", "steps", "calls"),
    [
        ("li_lei", "tsit5", 1e-4, 68, 410),
        ("li_lei", "tsit5", 1e-6, 146, 880),
        ("li_lei", "vern7", 1e-6, 86, 865),
        ("li_lei", "dop853", 1e-6, 60, 945),
        ("li_lei", "dop853", 1e-8, 96, 1530),
        ("li_lei", "rodas5p", 1e-4, 74, 1260),
        ("li_lei_cytokines", "tsit5", 1e-6, 775, 4650),
        ("li_lei_cytokines", "dop853", 1e-6, 400, 6400),
        ("li_lei_cytokines", "stab5", 1e-6, 340, 3050),
        ("li_lei_cytokines", "rodas5p", 1e-4, 146, 3075),
    ],
)
def test_steps_and_calls_on_varied_patients(model, method, rtol, steps, calls):
    patients = draw_patients(PATIENTS, seed=1, model=model)
    ends = fastcart.solve(model, patients, engine="lanes", method=method, rtol=rtol).endpoints
    assert ends["status"].eq("ok").all()
    assert (ends["steps"] + ends["rejected"]).mean() < steps
    assert ends["rhs_calls"].mean() < calls


@pytest.mark.parametrize("model", ["li_lei", "li_lei_cytokines"])
def test_no_patient_of_the_default_population_leaves_the_explicit_method(model):
    ends = fastcart.solve(model, draw_patients(PATIENTS, seed=1, model=model)).endpoints
    assert ends["engine"].str.startswith("lanes-").all()
    assert not ends["engine"].eq("lanes-rodas5p").any()


@pytest.mark.parametrize("name", ["li_lei", "li_lei_cytokines", "li_lei_coarse"])
def test_instructions_of_the_right_hand_side(name):
    code = MachineCode.of(machine_code(fastcart.models.get(name)))
    if not code.readable:
        pytest.skip("the machine code of this processor is not understood")
    assert code.packed > 100
    assert code.scalar == 0
    assert code.calls == ()
