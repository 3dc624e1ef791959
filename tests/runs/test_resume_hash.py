"""A study whose model has changed in anything that results depend on is not resumed."""

from __future__ import annotations

import pytest
from numba import njit

import fastcart
from fastcart import InputError, Model, Observable, Parameter, PublishedScheme, State
from fastcart.model import Sum
from fastcart.runs.identity import describe_model


@njit
def _rhs(t, y, p):
    return -p[0] * y[0], p[1] * y[0] - y[1]


@njit
def _other_rhs(t, y, p):
    return -p[0] * y[0], p[1] * y[0] - 2.0 * y[1]


@njit
def _observe(t, y, p):
    return y[0] + y[1], y[0] * y[1]


@njit
def _other_observe(t, y, p):
    return y[0] + y[1], y[0] - y[1]


def _of_a(values):
    return 1.0 - values["a"]


def _more_of_a(values):
    return 1.5 - values["a"]


STATES = {"x": dict(default=2.0, log=True, extinction="G"), "y": dict(default=0.5, scale=0.1)}
PARAMETERS = {
    "a": dict(default=0.5, range=(0.0, 1.0)), "b": dict(default=0.5), "c": dict(default=_of_a),
}  # fmt: skip


def made(*, states=(), parameters=(), **changes) -> Model:
    """The model, with changes: of states and parameters by their names, of anything else by keyword."""
    stated = {name: {**values, **dict(states).get(name, {})} for name, values in STATES.items()}
    given = {name: {**values, **dict(parameters).get(name, {})} for name, values in PARAMETERS.items()}
    whole = dict(
        observables=[Observable("total"), Observable("product")], observe=_observe, burden="x", t_end=5.0,
        constraints=[Sum(("a", "b"), 1.0)],
    )  # fmt: skip
    return Model(
        "resumed",
        [State(name, **values) for name, values in stated.items()],
        [Parameter(name, **values) for name, values in given.items()],
        changes.pop("rhs", _rhs),
        **(whole | changes),
    )


CHANGES = {
    "right-hand side": dict(rhs=_other_rhs),
    "what is observed": dict(observe=_other_observe),
    "order of observables": dict(observables=[Observable("product"), Observable("total")]),
    "name of an observable": dict(observables=[Observable("sum"), Observable("product")]),
    "no observables": dict(observables=[], observe=None),
    "default of a parameter": dict(parameters={"a": dict(default=0.4), "b": dict(default=0.6)}),
    "computed default": dict(parameters={"c": dict(default=_more_of_a)}),
    "lower end of a range": dict(parameters={"a": dict(range=(0.1, 1.0))}),
    "upper end of a range": dict(parameters={"a": dict(range=(0.0, 2.0))}),
    "default of a state": dict(states={"x": dict(default=2.5)}),
    "logarithm": dict(states={"x": dict(log=False)}),
    "scale of a state": dict(states={"y": dict(scale=1.0)}),
    "who dies out": dict(states={"x": dict(extinction=False)}),
    "group that dies out": dict(states={"y": dict(extinction="G")}),
    "burden": dict(burden="y"),
    "horizon": dict(t_end=6.0),
    "constraints": dict(constraints=[]),
    "total of a constraint": dict(constraints=[Sum(("a", "b"), 1.0, tolerance=0.1)]),
    "first method": dict(method="stab5"),
    "published scheme": dict(published=PublishedScheme(_rhs, 0.5)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_hash_sees(change):
    assert describe_model(made(**CHANGES[change]))["hash"] != describe_model(made())["hash"]


def test_the_hash_sees_the_step_of_a_published_scheme():
    one, other = (describe_model(made(published=PublishedScheme(_rhs, step))) for step in (0.5, 0.25))
    assert one["hash"] != other["hash"]


def test_the_same_model_made_twice_has_one_hash():
    assert describe_model(made()) == describe_model(made())


@pytest.mark.parametrize(
    "change", ["name of an observable", "default of a parameter", "upper end of a range", "constraints"]
)
def test_a_scan_of_a_changed_model_is_not_resumed(tmp_path, change):
    patients = {"x": [1.0, 2.0, 3.0]}
    options = dict(engine="scipy", chunk=2, progress=False)
    fastcart.scan(made(), patients, tmp_path / "out", **options)
    fastcart.scan(made(), patients, tmp_path / "out", resume=True, **options)
    with pytest.raises(InputError, match=r"cannot go on.*model\.hash"):
        fastcart.scan(made(**CHANGES[change]), patients, tmp_path / "out", resume=True, **options)
