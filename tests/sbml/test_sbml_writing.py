"""Models written as SBML and read again have the same courses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("libsbml")

from sbml_suite import InPython
from sbml_texts import initial, listed, parameters, rule, sbml

import fastcart
from fastcart.sbml import dump, load, write

TIMES = np.linspace(0.0, 10.0, 11)


@pytest.mark.parametrize("name", ["cart_kinetics", "carrgo", "b_all", "li_lei"])
def test_a_shipped_model_survives(name: str):
    model = fastcart.models.get(name)
    again = load(dump(model))
    assert again.time_unit == model.time_unit
    assert again.default_parameters() == model.default_parameters()
    before, behind = InPython(model, 1e-9).solve(TIMES), InPython(again, 1e-9).solve(TIMES)
    for state in [*model.state_names, *model.observable_names]:
        np.testing.assert_allclose(behind[state], before[state], rtol=1e-6, err_msg=state)


def test_what_is_derived_stays_derived_and_files_are_written(tmp_path: Path):
    text = sbml(
        parameters(a=2.0, b=1.0, x_v=1.0),
        listed("InitialAssignments", initial("b", "piecewise(a^2, a > 1, 1e-7)")),
        listed("Rules", rule("rate", "x_v", "-b * x_v")),
    )
    write(load(text), tmp_path / "again.xml")
    again = load(tmp_path / "again.xml")
    default = next(p.default for p in again.parameters if p.name == "b")
    np.testing.assert_allclose(default({"a": np.array([0.5, 3.0])}), [1e-7, 9.0])


def test_names_that_sbml_does_not_have():
    def rhs(t, y, p):
        return (p.λ * y.S,)

    again = load(dump(fastcart.Model("greek", {"S": 1.0}, {"λ": 0.5}, rhs)))
    assert again.default_parameters() == {"_": 0.5}


def test_a_right_hand_side_that_cannot_be_followed_is_refused():
    def rhs(t, y, p):
        x = y.S
        while x > 1.0:
            x = x - p.k
        return (x,)

    with pytest.raises(fastcart.InputError, match="cannot be written"):
        dump(fastcart.Model("loop", {"S": 1.5}, {"k": 1.0}, rhs))


@pytest.mark.parametrize("name", ["carrgo", "hanson"])
def test_what_was_read_is_written_as_it_was(name: str):
    once = dump(load(dump(fastcart.models.get(name))))
    assert sorted(dump(load(once)).splitlines()) == sorted(once.splitlines())
