"""What an SBML file says, against closed forms; SciPy solves it and nothing is compiled."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("libsbml")

from sbml_suite import InPython
from sbml_texts import (
    compartment,
    event,
    function,
    initial,
    listed,
    math_of,
    parameters,
    reaction,
    rule,
    sbml,
    species,
)

import fastcart
from fastcart.sbml import load

ONE = 'stoichiometry="1"'
TIMES = np.linspace(0.0, 2.0, 5)


def solved(text: str, times: np.ndarray = TIMES) -> dict[str, np.ndarray]:
    return InPython(load(text, t_end=float(times[-1])), 1e-11).solve(times)


def near(got: np.ndarray, exact: np.ndarray) -> None:
    np.testing.assert_allclose(got, exact, rtol=1e-7, atol=1e-9)


def test_concentrations_and_amounts_of_a_reaction_in_a_volume():
    text = sbml(
        listed("Compartments", compartment("V", 4.0)),
        listed("Species", species("A", 8.0), species("B", 1.0, by_amount=True)),
        parameters(k=0.5),
        listed("Reactions", reaction("r", "k * A * V", {"A": ONE}, {"B": 'stoichiometry="2"'})),
    )  # fmt: skip
    values = solved(text)
    near(values["A"], 2.0 * np.exp(-0.5 * TIMES))
    near(values["B"], 1.0 + 2.0 * 8.0 * (1 - np.exp(-0.5 * TIMES)))
    near(values["r"], 4.0 * np.exp(-0.5 * TIMES))


def test_initial_amounts_follow_the_volume_of_a_patient():
    model = load(sbml(listed("Compartments", compartment("V", 4.0)), listed("Species", species("A", 8.0)),
                      listed("Reactions", reaction("r", "A", {"A": 'stoichiometry="1"'}, {}))))  # fmt: skip
    default = next(state.default for state in model.states if state.name == "A")
    np.testing.assert_allclose(default({"V": np.array([1.0, 2.0])}), [8.0, 4.0])


@pytest.mark.parametrize("kind", ["rate", "assignment"])
def test_a_growing_volume_dilutes_what_is_in_it(kind: str):
    formula = "0.5 * V" if kind == "rate" else "2 * exp(0.5 * time)"
    text = sbml(
        listed("Compartments", compartment("V", 2.0, constant=False)), listed("Species", species("A", 8.0)),
        listed("Rules", rule(kind, "V", formula)),
    )  # fmt: skip
    values = solved(text)
    near(values["V"], 2.0 * np.exp(0.5 * TIMES))
    near(values["A"], 4.0 * np.exp(-0.5 * TIMES))


def test_local_parameters_functions_and_conversion_factors():
    local = listed("LocalParameters", '<localParameter id="k" value="2"/>')
    law = reaction("r", "mass(k, A)", {"A": 'stoichiometry="1"'}, {}, local)
    text = sbml(
        listed("FunctionDefinitions", function("mass", "lambda(x, y, x * y)")),
        listed("Compartments", compartment("V", 1.0)),
        listed("Species", species("A", 3.0, more='conversionFactor="f"')), parameters(k=100.0, f=0.25),
        listed("Reactions", law),
    )  # fmt: skip
    model = load(text)
    assert model.default_parameters()["r_k"] == 2.0
    near(solved(text)["A"], 3.0 * np.exp(-0.5 * TIMES))


def test_what_is_derived_stays_derived():
    text = sbml(
        parameters(a=2.0, b=1.0, x_v=0.0),
        listed("InitialAssignments", initial("b", "a^2"), initial("x_v", "b + 1")),
        listed("Rules", rule("rate", "x_v", "-x_v")),
    )  # fmt: skip
    model = load(text)
    assert model.defaults() == {"a": 2.0, "b": 4.0, "x_v": 5.0}
    by_name = {item.name: item for item in model.items}
    given = {"a": np.array([1.0, 3.0])}
    given["b"] = by_name["b"].default(given)
    np.testing.assert_allclose(by_name["x_v"].default(given), [2.0, 10.0])


def test_stoichiometry_by_id_and_by_a_rule():
    text = sbml(
        listed("Compartments", compartment("V", 1.0)),
        listed("Species", species("A", 0.0), species("B", 0.0)),
        listed("Rules", rule("assignment", "n", "1 + time")),
        listed("Reactions", reaction("r", "2", {}, {"A": 'id="n"', "B": 'id="m" stoichiometry="3"'})),
    )  # fmt: skip
    values = solved(text)
    near(values["A"], 2 * TIMES + TIMES**2)
    near(values["B"], 6 * TIMES)


@pytest.mark.parametrize(
    ("formula", "exact"),
    [
        ("piecewise(1, time < 1, 3)", np.where(TIMES < 1, TIMES, 1 + 3 * (TIMES - 1))),
        ("rateOf(y_v) + 1", 3 * TIMES),
        ("(2 + time)^2 - time^2", 4 * TIMES + 2 * TIMES**2),
        ("max(1, time) + min(1, time)", TIMES + TIMES**2 / 2),
        ("factorial(3) + quotient(7, 2) + rem(7, 2)", 10 * TIMES),
        ("arcsinh(sinh(2)) + arctanh(0.5) + log10(100)", (4 + math.atanh(0.5)) * TIMES),
        ("piecewise(2, (time >= 0) && !(time < 0), 5)", 2 * TIMES),
        ("piecewise(2, xor(true, true, true), 5) + root(3, 8)", 4 * TIMES),
    ],
)
def test_mathematics(formula: str, exact: np.ndarray):
    text = sbml(
        parameters(x_v=0.0, y_v=0.0), listed("Rules", rule("rate", "x_v", formula), rule("rate", "y_v", "2"))
    )
    near(solved(text)["x_v"], exact)


def test_time_that_is_compared_is_a_break():
    rules = listed("Rules", rule("rate", "x_v", "piecewise(1, time < stop, piecewise(2, time >= 3, 0))"))
    assert load(sbml(parameters(x_v=0.0, stop=1.5), rules)).breaks == (3.0, "stop")


@pytest.mark.parametrize(
    ("condition", "times"),
    [
        ("time >= t0 + 7", [12.0]),
        ("t0 - time < -2", [7.0]),
        ("2 * (time - t0) / w > 8", [13.0]),
        ("abs(time - t0) < w / 4", [4.5, 5.5]),
        ("max(time, t0) < 2 * w", [4.0]),
        ("since > 3", [8.0]),
        ("time > t0 - 20", [0.0]),
        ("(time - t0) * 0 < w", []),
        ("time > t0", [5.0]),
        ("x_v > time", []),
    ],
)
def test_times_of_jumps_follow_parameters(condition: str, times: list[float]):
    rules = [rule("assignment", "since", "time - t0"), rule("rate", "x_v", f"piecewise(1, {condition}, 0)")]
    model = load(sbml(parameters(x_v=0.0, t0=5.0, w=2.0, since_v=0.0, since=0.0), listed("Rules", *rules)))
    values = model.defaults()
    assert sorted(values[x] if isinstance(x, str) else x for x in model.breaks) == pytest.approx(times)
    assert model.moments is None


def test_a_jump_of_a_patient_is_where_its_parameters_say():
    rules = listed("Rules", rule("rate", "x_v", "piecewise(1, (time > t0 + 1) && (time < t0 + 1.01), 0)"))
    result = fastcart.solve(load(sbml(parameters(x_v=0.0, t0=5.0), rules)), {"t0": [-9.0, 3.0, 70.0, 200.0]})
    np.testing.assert_allclose(result.endpoints["final_x_v"], [0.0, 0.01, 0.01, 0.0], rtol=1e-6)


def test_what_is_not_linear_in_time_is_watched():
    rules = listed("Rules", rule("rate", "x_v", "piecewise(1, rem(time, day) < 0.02, 0)"))
    model = load(sbml(parameters(x_v=0.0, day=0.7), rules))
    assert (model.breaks, len(model.moments.watch)) == ((), 1)


def test_ids_that_generated_names_have_too():
    rules = [rule("rate", "_side_0", "-_side_0"), rule("assignment", "_level_0", "2 * jump_1"),
             rule("rate", "x_v", "piecewise(1, time > x0 + 1, 0)")]  # fmt: skip
    model = load(
        sbml(parameters(_side_0=1.0, _level_0=0.0, jump_1=4.0, x_v=0.0, x0=1.0, _due=1.0),
             listed("Rules", *rules), listed("Events", event("e", "time > 0.5", delay="0.1", _due="3")))
    )  # fmt: skip
    assert model.breaks == ("jump_1_",)
    assert {"_side_0", "_side_0_", "_due", "_next_due"} <= set(model.state_names)
    assert {"_level_0", "_level_0_", "_due_"} <= set(model.observable_names)


@pytest.mark.parametrize("kind", ["rate", "start"])
@pytest.mark.parametrize("name", ["sin", "piecewise", "quotient"])
def test_as_deep_as_is_read_is_computed(name: str, kind: str):
    before, behind = {"sin": ("sin(", ")"), "piecewise": ("piecewise(1, a < 0, ", ")"),
                      "quotient": ("quotient(", ", 0.5)")}[name]  # fmt: skip
    deep = 60 if name == "quotient" else 240  # twice as much each time
    formula, exact = before * deep + "a" + behind * deep, 0.7
    for _ in range(deep):
        exact = {"sin": math.sin, "piecewise": float, "quotient": lambda x: np.trunc(x / 0.5)}[name](exact)
    starts = [initial("x_v", formula)] if kind == "start" else []
    text = sbml(parameters(x_v=0.0, a=0.7), listed("InitialAssignments", *starts),
                listed("Rules", rule("rate", "x_v", "0" if starts else formula)))  # fmt: skip
    x = solved(text)["x_v"]
    near(x, np.full(5, exact) if starts else exact * TIMES)


def test_a_long_table_of_pieces_and_a_long_sum():
    pieces = ", ".join(f"{k}, time < {(k + 1) * 2 / 400!r}" for k in range(400))
    rules = [
        rule("assignment", "y_v", f"piecewise({pieces}, 0)"),
        rule("rate", "x_v", " + ".join(["1"] * 400)),
    ]
    values = solved(sbml(parameters(x_v=0.0, y_v=0.0), listed("Rules", *rules)), np.linspace(0.0, 1.999, 5))
    near(values["y_v"], [0, 99, 199, 299, 399])
    near(values["x_v"], 400 * np.linspace(0.0, 1.999, 5))


def test_names_that_tables_or_python_use_get_an_underscore():
    model = load(
        sbml(parameters(lambda_=1.0, status=2.0, x_v=0.0), listed("Rules", rule("rate", "x_v", "status")))
    )
    assert model.parameter_names == ["lambda_", "status_"]
    assert "status_ is called status in the file." in model.doc


def test_an_algebraic_rule_is_an_algebraic_variable():
    rules = f"{rule('rate', 'x_v', '-z_v')}<algebraicRule>{math_of('2 * z_v - x_v')}</algebraicRule>"
    model = load(sbml(parameters(x_v=1.0, z_v=0.5), listed("Rules", rules)))
    assert [variable.name for variable in model.algebraic] == ["z_v"]
    assert model.residual.py_func(0.0, *_named(model, [1.0, 0.5]))[0] == 0.0


def _named(model, values):
    from fastcart.solvers.named import arguments

    return arguments(model, values, [])


def test_units_and_notes_are_in_the_model():
    text = sbml(
        '<notes><p xmlns="http://www.w3.org/1999/xhtml">Of cells &amp; more</p></notes>',
        listed("Parameters", '<parameter id="x" value="1" units="litre" constant="true"/>',
               '<parameter id="y" value="1" constant="false"/>'),
        listed("Rules", rule("rate", "y", "x")), head='timeUnits="second" name="A model"',
    )  # fmt: skip
    model = load(text)
    assert (model.time_unit, model.parameters[0].unit) == ("second", "litre")
    assert model.doc.splitlines() == ["A model", "Of cells & more"]


def test_choices_among_many_states():
    states = {f"x{k}_v": 0.0 for k in range(32)}
    rules = (rule("rate", name, f"piecewise(1, {name} < 5, 0)") for name in states)
    result = fastcart.solve(load(sbml(parameters(**states), listed("Rules", *rules)), t_end=2.0))
    np.testing.assert_allclose(result.endpoints["final_x31_v"], 2.0)


@pytest.mark.parametrize("growth", ["U_v * log(100 / U_v)", "(U_v * a) * (log(100) - log(U_v)) / a"])
def test_what_equations_take_the_logarithm_of_stays_positive(growth: str):
    rules = listed("Rules", rule("rate", "U_v", f"0.1 * {growth} - 9 * C_v * U_v"), rule("rate", "C_v", "0"))
    model = load(sbml(parameters(U_v=50.0, C_v=2.0, a=3.0), rules))
    assert [state.name for state in model.states if state.log] == ["U_v"]
    assert model.states[0].default == 50.0
    refused = [rule("rate", "U_v", "0.1 * U_v * log(U_v) - C_v"), rule("rate", "C_v", "log(C_v + 1) * C_v")]
    model = load(sbml(parameters(U_v=50.0, C_v=2.0), listed("Rules", *refused)))
    assert not any(state.log for state in model.states)


def test_events_are_told_and_what_they_remember_is_not():
    events = listed("Events", event("stop", "x_v > 3", delay="0.5", x_v="0"))
    rules = [rule("rate", "x_v", "r_v + 1"), rule("assignment", "r_v", "x_v * 2")]
    model = load(sbml(parameters(x_v=1.0, r_v=0.0), listed("Rules", *rules), events))
    assert "Event stop: when (x_v > 3.0) and 0.5 passed: x_v = 0.0." in model.doc
    written = " ".join(fastcart.written_equations(model).split())
    assert written == "dx_v/dt = 1 + 2*x_v r_v = 2*x_v"
