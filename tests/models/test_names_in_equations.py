"""Equations by name: the same numbers as by position in every engine, and a clear word for a wrong name."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import slow_but
from numba import njit

import fastcart
from fastcart import DosingSchedule, Event, InputError, Model, Observable, PublishedScheme, State, derivatives
from fastcart.explain import MachineCode, obstacles
from fastcart.solvers.compile import plain
from fastcart.solvers.lanes.rhs import evaluation, machine_code
from fastcart.solvers.named import arguments

STATES = (State("C", "cells", 1e6, log=True), State("E", "cells", 1e5))
PARAMETERS = dict(growth=0.3, capacity=1e9, kill=1e-7, expand=0.6, half_C=1e5, death=0.2)
PATIENTS = {"kill": np.geomspace(1e-8, 1e-6, 9), "growth": np.linspace(0.1, 0.5, 9)}


@njit
def _expansion_by_position(y, p):
    C, E = y
    return p[3] * C / (p[4] + C) * E


@njit
def by_position(t, y, p):
    C, E = y
    growth, capacity, kill, _, _, death = p
    return growth * (1 - C / capacity) * C - kill * E * C, _expansion_by_position(y, p) - death * E


@njit
def observe_by_position(t, y, p):
    return (p[2] * y[1], _expansion_by_position(y, p))


@njit
def _expansion(y, p):
    return p.expand * y.C / (p.half_C + y.C) * y.E


@njit
def by_name(t, y, p):
    growth = p.growth * (1 - y.C / p.capacity) * y.C
    return growth - p.kill * y.E * y.C, _expansion(y, p) - p.death * y.E


@njit
def observe_by_name(t, y, p):
    return (p.kill * y.E, _expansion(y, p))


@njit
def derivatives_by_name(t, y, p):
    growth = p.growth * (1 - y.C / p.capacity) * y.C
    return fastcart.derivatives(E=_expansion(y, p) - p.death * y.E, C=growth - p.kill * y.E * y.C)


def two_cells(rhs=by_name, observe=observe_by_name, **changes) -> Model:
    given = dict(
        observables=[Observable("killing"), Observable("expansion")], observe=observe, burden="C", t_end=30.0,
        published=PublishedScheme(rhs, 0.25),
    )  # fmt: skip
    return Model("two_cells", STATES, PARAMETERS, rhs, **(given | changes))


TWIN = two_cells(by_position, observe_by_position)


def solved(model: Model, **options):
    result = fastcart.solve(model, PATIENTS, save_at=[1.0, 10.0, 30.0], **options)
    assert result.endpoints["status"].eq("ok").all()
    return result


def assert_same(rhs, **options) -> None:
    here, there = solved(two_cells(rhs), **options), solved(TWIN, **options)
    assert here.endpoints.equals(there.endpoints)
    assert here.trajectories.equals(there.trajectories)


@pytest.mark.parametrize("rhs", [by_name, derivatives_by_name])
@pytest.mark.parametrize(
    "engine", slow_but(["lanes", "lsoda", "scipy"], ["lanes", "lsoda", "scipy", "published"])
)
def test_a_model_by_name_is_its_twin_by_position_to_the_bit(engine, rhs):
    assert_same(rhs, engine=engine)


@pytest.mark.parametrize("rhs", [by_name, derivatives_by_name])
def test_watched_quantities_and_doses_are_the_same_to_the_bit(rhs):
    low = [Event("low", "C", "level", "down"), Event("fast", "killing", 0.1, "up")]
    options = dict(auc=["killing", "C"], peaks=["expansion"], doses=DosingSchedule().bolus(3.0, "E", 1e6))
    patients = {**PATIENTS, "level": np.geomspace(1e2, 1e5, 9)}
    here, there = (
        fastcart.solve(model, patients, events=low, **options).endpoints for model in (two_cells(rhs), TWIN)
    )
    assert here.equals(there)
    assert here["auc_killing"].gt(0).all()


def test_the_machine_code_is_the_same():
    counts = [MachineCode.of(machine_code(m)) for m in (two_cells(), two_cells(derivatives_by_name), TWIN)]
    assert counts[0] == counts[1] == counts[2]


@pytest.mark.parametrize("engine", ["lanes", "lsoda"])
def test_an_error_of_an_equation_by_name_is_caught_in_its_own_patient(engine):
    @njit
    def raises(t, y, p):
        if p.k > 1.0:
            raise ValueError("too fast")
        return (-p.k * y.x,)

    model = Model("raises", {"x": 1.0}, {"k": 0.5}, raises, t_end=2.0)
    result = fastcart.solve(model, {"k": [0.5, 2.0, 0.25]}, engine=engine, warn=False)
    assert result.endpoints["status"].tolist() == ["ok", "rhs_error", "ok"]


def test_names_are_found_whatever_the_order_of_the_states():
    """The same equations with states in another order are another kernel."""
    turned = Model("two_cells", STATES[::-1], PARAMETERS, derivatives_by_name, t_end=30.0, burden="C")
    parameters = dict(reversed(PARAMETERS.items()))
    mixed = Model("two_cells", STATES, parameters, by_name, t_end=30.0, burden="C")
    expected = solved(two_cells(by_name)).trajectories
    for model in (turned, mixed):
        found = solved(model).trajectories
        np.testing.assert_allclose(found[["C", "E"]], expected[["C", "E"]], rtol=1e-5)
    log = (False, False)
    assert evaluation(mixed, log, False) is not evaluation(two_cells(), log, False)


# --- what a tuple could do before -----------------------------------------------------------------


def test_states_and_parameters_are_still_tuples():
    @njit
    def as_tuples(t, y, p):
        total = 0.0
        for k in range(len(y)):
            total += y[k]
        for value in p[1:]:
            total += value
        longer = y + p
        chosen = y if t > 1.0 else (1.0, 2.0)
        return -p[0] * y[0], 0.0 * (total + longer[-1] + max(chosen))

    model = Model("tuples", {"a": 1.0, "b": 2.0}, {"k": 0.5, "m": 3.0}, as_tuples, t_end=2.0)
    for engine in ("lanes", "lsoda", "scipy"):
        ends = fastcart.solve(model, engine=engine).endpoints
        assert ends["final_a"].item() == pytest.approx(math.exp(-1.0), rel=1e-5)


def test_a_right_hand_side_can_be_called_from_python():
    y, p = arguments(TWIN, [1e6, 1e5], PARAMETERS.values())
    assert by_name(0.0, y, p) == pytest.approx(by_position(0.0, tuple(y), tuple(p)))
    assert two_cells(derivatives_by_name).rhs(0.0, y, p) == by_name(0.0, y, p)


@pytest.mark.parametrize("name", ["count", "index", "_hidden", "real", "µ", "kappa_ε"])
def test_any_name_that_models_allow_can_be_read(name):
    scope: dict = {}
    exec(f"def rhs(t, y, p):\n    return (-p.{name} * y.y_{name},)", scope)
    model = Model("named", {f"y_{name}": 1.0}, {name: 0.5}, njit(scope["rhs"]), t_end=2.0)
    ends = fastcart.solve(model).endpoints
    assert ends[f"final_y_{name}"].item() == pytest.approx(math.exp(-1.0), rel=1e-5)


def test_a_model_without_parameters():
    model = Model("free", {"x": 1.0}, {}, njit(lambda t, y, p: (-y.x,)), t_end=1.0)
    assert fastcart.solve(model).endpoints["final_x"].item() == pytest.approx(math.exp(-1.0), rel=1e-5)


@pytest.mark.parametrize("rhs", ["tuple", "derivatives"])
def test_many_states_in_every_engine(rhs):
    """Long tuples are made of other bytecode than short ones."""
    names = [f"x{i}" for i in range(32)]
    rates = ", ".join(f"{x}=-p.k * y.{x}" if rhs == "derivatives" else f"-p.k * y.{x}" for x in names)
    scope = {"derivatives": derivatives}
    exec(f"def rhs(t, y, p):\n    return {'derivatives' if rhs == 'derivatives' else ''}({rates})", scope)
    states = [State(x, default=1.0, log=i % 2 == 0) for i, x in enumerate(names)]
    model = Model("many", states, {"k": 0.5}, njit(scope["rhs"]), t_end=2.0)
    for engine in ("lanes", "lsoda", "scipy") if rhs == "tuple" else ("lanes", "scipy"):  # one by numba
        ends = fastcart.solve(model, engine=engine).endpoints
        assert ends[["final_x0", "final_x31"]].to_numpy() == pytest.approx(math.exp(-1.0), rel=1e-5)


# --- wrong names ----------------------------------------------------------------------------------


def refusal(rhs, **changes) -> str:
    with pytest.raises(InputError) as caught:
        fastcart.solve(two_cells(njit(rhs), **changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_misspelt_name_is_refused_when_the_model_is_defined():
    with pytest.raises(InputError, match=r"reads p\.grwth, but there is no parameter 'grwth'.*'growth'\?$"):
        two_cells(njit(lambda t, y, p: (p.grwth * y.C, y.E)))
    with pytest.raises(InputError, match=r"reads y\.D, .* no state 'D' \(line \d+ of .*\)\. Known: C, E\.$"):
        two_cells(observe=njit(lambda t, y, p: (y.D, y.E)))


def test_a_state_is_no_parameter_and_the_other_way_round():
    message = refusal(lambda t, y, p: (p.C, y.E))
    assert "no parameter 'C'" in message
    assert message.endswith(" It is a state: y.C.")
    message = refusal(lambda t, y, p: (y.kill, y.E))
    assert "no state 'kill'" in message
    assert message.endswith(" It is a parameter: p.kill.")


def test_a_misspelt_name_that_the_defaults_do_not_reach_is_told_at_the_first_solve():
    rhs = lambda t, y, p: (y.C, y.E if y.E > 0.0 else p.deth)  # noqa: E731
    where = f"(line {rhs.__code__.co_firstlineno} of test_names_in_equations.py)"
    message = refusal(rhs)
    assert message.endswith(f"reads p.deth, but there is no parameter 'deth' {where}. Did you mean 'death'?")


@pytest.mark.parametrize(
    ("rhs", "end"),
    [
        (
            lambda t, y, p: derivatives(C=1.0),
            "lacks the state 'E'; give each state its derivative",
        ),
        (lambda t, y, p: derivatives(C=1.0, E=0.0, D=1.0), "names 'D', which is no state. Known: C, E."),
        (lambda t, y, p: fastcart.derivatives(1.0, 2.0), "each derivative by the name of its state: C=..."),
    ],
)
def test_wrong_derivatives_are_told_when_the_model_is_defined(rhs, end):
    assert end in refusal(rhs)


# --- derivatives by name --------------------------------------------------------------------------


def test_derivatives_named_in_a_closure_or_a_helper():
    inner = derivatives

    @njit
    def helper(y, p):
        return inner(E=-p.death * y.E, C=p.growth * y.C)

    model = two_cells(njit(lambda t, y, p: helper(y, p)))
    y, p = arguments(model, [2.0, 3.0], PARAMETERS.values())
    assert plain(model.rhs)(0.0, y, p) == pytest.approx((0.6, -0.6))
    assert solved(model, engine="lanes").endpoints["final_C"].notna().all()


def test_derivatives_keep_their_names_where_a_model_is_changed():
    model = two_cells(derivatives_by_name).replace(t_end=20.0)
    assert model.rhs is not derivatives_by_name
    assert obstacles(model) == []
    assert solved(model.replace(t_end=30.0)).endpoints.equals(solved(TWIN).endpoints)


def test_a_model_travels_to_another_process(tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(two_cells(derivatives_by_name)))
    code = "import pickle, sys; m = pickle.load(open(sys.argv[1], 'rb')); print(m.rhs(0.0, *arguments(m)))"
    code = code.replace("arguments(m)", "arguments(m, [1e6, 1e5], m.default_parameters().values())")
    code = f"from fastcart.solvers.named import arguments; {code}"
    told = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model.pkl"], capture_output=True, text=True, check=True
    ).stdout
    expected = by_name(0.0, *arguments(TWIN, [1e6, 1e5], PARAMETERS.values()))
    assert told.strip() == str(expected)


def test_without_a_model_derivatives_are_a_tuple():
    assert derivatives(C=1.0, E=2.0) == (1.0, 2.0)


def test_the_digest_of_a_model_sees_the_order_of_its_derivatives():
    from fastcart.solvers.fingerprint import fingerprint

    turned = Model("two_cells", STATES[::-1], PARAMETERS, derivatives_by_name)
    assert fingerprint(turned.rhs) != fingerprint(two_cells(derivatives_by_name).rhs)
    again = two_cells(derivatives_by_name)
    assert fingerprint(again.rhs) == fingerprint(two_cells(derivatives_by_name).rhs)
