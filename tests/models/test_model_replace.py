"""Copies of models with changes: nothing is forgotten, and what is changed is checked."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import fields

import pytest
from numba import njit

import fastcart
from fastcart import InputError, Model, Observable, Parameter, PatientsFailed, PublishedScheme, State
from fastcart.model import Sum
from fastcart.writing import written_equations


@njit
def rhs(t, y, p):
    (C,) = y
    a, b = p
    return ((a - b) * C,)


@njit
def other(t, y, p):
    (C,) = y
    a, b = p
    return (-a * b * C,)


@njit
def observe(t, y, p):
    return (2 * y[0],)


def full() -> Model:
    """Return a model that gives every part, so that a forgotten one is seen."""
    return Model(
        "full",
        [State("C", "cells", 1e6, log=True, scale=2.0, description="tumor", extinction=True)],
        [Parameter("a", 0.25, range=(0, 1)), Parameter("b", 0.75, range=(0, 1))],
        rhs,
        t_end=50.0,
        observables=[Observable("twice")],
        observe=observe,
        burden="C",
        time_unit="week",
        doc="text",
        references=("somebody",),
        published=PublishedScheme(rhs, 0.1),
        options={"killing": "free"},
        constraints=[Sum(("a", "b"))],
        method="stab5",
        breaks=(3.0,),
        typical={"C": 2e6},
    )


# A published scheme steps states alone, so these are of other models: see tests/solvers/test_algebraic.py
# and tests/sbml
PARTS = [part for part in fields(Model) if part.name not in ("algebraic", "residual", "moments")]


def test_full_model_gives_every_part():
    plain = Model("full", {"C": 1e6}, {"a": 0.25, "b": 0.75}, other)
    for part in PARTS:
        if part.name != "name":
            assert getattr(full(), part.name) != getattr(plain, part.name), part.name


@pytest.mark.parametrize("part", [part.name for part in PARTS])
def test_replace_changes_one_part_and_keeps_all_others(part):
    model = full()
    changed = {
        "name": "new", "states": (State("C", default=5.0),),
        "parameters": (Parameter("a", 0.5), Parameter("b", 0.5)), "rhs": other, "t_end": 7.0,
        "observables": (Observable("double"),), "observe": njit(lambda t, y, p: (1.0,)), "burden": None,
        "time_unit": "day", "doc": "new", "references": (), "published": None, "options": {},
        "constraints": (), "method": None, "breaks": (4.0,), "typical": {"a": 0.5},
    }[part]  # fmt: skip
    copy = model.replace(**{part: changed})
    for other_part in fields(Model):
        expected = changed if other_part.name == part else getattr(model, other_part.name)
        assert getattr(copy, other_part.name) == expected, other_part.name
    assert getattr(model, part) != changed  # the model itself stays as it is


def test_replace_without_changes_is_an_equal_model():
    assert full().replace() == full().replace()
    assert full().replace() == full()


def test_replace_checks_as_a_new_model_is_checked():
    with pytest.raises(InputError, match="too many values to unpack"):
        full().replace(states={"C": 1.0, "D": 1.0})
    with pytest.raises(InputError, match="horizon 't_end' must be a positive"):
        full().replace(t_end=-1)


def test_replace_of_an_unknown_part_names_the_nearest():
    with pytest.raises(InputError, match=r"A model has no part 'paramaters'\. Did you mean 'parameters'"):
        full().replace(paramaters=())


def test_a_subclass_stays_itself():
    class Own(Model):
        pass

    own = Own("own", {"C": 1.0}, {"a": 0.5, "b": 0.5}, rhs)
    assert type(own.replace(t_end=3.0)) is Own


def test_derived_models_differ_in_what_was_added_alone():
    model = full()
    longer = model.derived({"auc_twice": "twice", "auc_C": "C"}, ["limit"])
    added = {"states", "parameters", "rhs", "observe"}
    for part in PARTS:
        if part.name not in added:
            assert getattr(longer, part.name) == getattr(model, part.name), part.name
    assert longer.states[:1] == model.states
    assert longer.parameters[:2] == model.parameters
    assert longer.state_names == ["C", "auc_twice", "auc_C"]
    assert [state.computed for state in longer.states] == [False, True, True]
    assert longer.parameter_names == ["a", "b", "limit"]
    assert longer.rhs(0.0, (3.0, 0.0, 0.0), (0.25, 0.75, 9.0)) == (-1.5, 6.0, 3.0)
    assert longer.observe(0.0, (3.0, 0.0, 0.0), (0.25, 0.75, 9.0)) == (6.0,)


def test_the_same_request_derives_once_and_nothing_is_the_model_itself():
    model = full()
    assert model.derived({"auc_C": "C"}) is model.derived({"auc_C": "C"})
    assert model.derived({"auc_C": "C"}) is not model.derived({"auc_C": "C"}, ["limit"])
    assert model.derived({}) is model
    for k in range(200):
        model.derived({}, [f"limit{k}"])
    assert len(model._derived) <= 64


def test_a_model_travels_without_what_is_derived_from_it():
    model = full()
    model.derived({"auc_C": "C"})
    assert model.system.name == "full"
    copy = pickle.loads(pickle.dumps(model))
    assert set(vars(copy)) == {part.name for part in fields(Model)}
    assert copy.replace(rhs=rhs, observe=observe, published=None) == model.replace(published=None)


def test_the_system_says_what_solvers_need_of_the_model():
    model = full()
    system = model.system
    for name in ("name", "rhs", "observe", "burden", "method", "published", "time_unit", "burden_index"):
        assert getattr(system, name) == getattr(model, name), name
    for name in ("state_names", "parameter_names", "observable_names"):
        assert getattr(system, name) == getattr(model, name), name
    assert system.states[0] == ("C", True, False, True, False)


def test_warning_of_failed_patients_counts_by_status():
    failed = PatientsFailed({"ok": 7, "max_steps": 2, "non_finite": 1, "solver_error": 0})
    assert (failed.failed, failed.size) == (3, 10)
    assert failed.counts == {"ok": 7, "max_steps": 2, "non_finite": 1}
    assert str(failed).startswith("3 of 10 patients were not solved (2 max_steps, 1 non_finite)")
    with pytest.warns(fastcart.PatientsFailed) as seen:
        warnings.warn(failed, stacklevel=1)
    assert seen[0].message.counts["max_steps"] == 2
    assert pickle.loads(pickle.dumps(failed)).counts == failed.counts


@njit
def by_name(t, y, p):
    return fastcart.derivatives(E=-p.d * y.E, C=p.g * y.C)


@pytest.mark.parametrize("engine", ["lanes", "scipy"])
def test_named_derivatives_follow_another_order_of_the_states(engine):
    rates = {"g": 1.0, "d": 0.5}
    model = Model("two", {"C": 1.0, "E": 2.0}, rates, by_name, t_end=1.0)
    turned = model.replace(states=[State("E", default=2.0), State("C", default=1.0)])
    back = pickle.loads(pickle.dumps(turned)).replace(states=model.states)
    for one in (model, turned, back):
        final = fastcart.solve(one, engine=engine, rtol=1e-8).endpoints.iloc[0]
        assert final["final_C"] == pytest.approx(2.718281828, rel=1e-6)
        assert final["final_E"] == pytest.approx(1.213061319, rel=1e-6)
    assert written_equations(turned) == written_equations(
        Model("two", {"E": 2.0, "C": 1.0}, rates, by_name, t_end=1.0)
    )


def test_a_derived_model_keeps_the_order_of_the_one_it_is_of():
    model = Model("two", {"C": 1.0, "E": 2.0}, {"g": 1.0, "d": 0.5}, by_name, t_end=1.0)
    derived = model.derived({"auc_C": "C"}, ["foo"])
    assert derived.replace(t_end=2.0).t_end == 2.0
    for part in ("states", "parameters"):
        with pytest.raises(InputError, match="derived from another"):
            derived.replace(**{part: getattr(derived, part)[::-1]})


def test_models_are_keys_of_mappings_by_their_parts():
    model = fastcart.models.get("li_lei")
    same, other = model.replace(), model.replace(t_end=1.0)
    assert same == model
    assert hash(same) == hash(model)
    assert {model: 1, same: 2, other: 3} == {model: 2, other: 3}
