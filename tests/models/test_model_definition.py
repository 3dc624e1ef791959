"""Models are checked where they are defined, each mistake with one sentence that says what to do."""

from __future__ import annotations

import math
import pickle
import random

import numpy as np
import pytest
from numba import njit

import fastcart
from fastcart import InputError, Model, Observable, Parameter, PublishedScheme, State, models
from fastcart.runs.identity import describe_model


def decay(t, y, p):
    return (-p[0] * y[0],)


def one_value(t, y, p):
    return (y[0],)


def define(**changes) -> Model:
    """The model y' = -k y with some arguments replaced."""
    arguments = dict(name="tiny", states={"y": 1.0}, parameters={"k": 0.1}, rhs=decay, t_end=5.0)
    return Model(**(arguments | changes))


def refusal(**changes) -> str:
    """Return the message with which such a definition is refused."""
    with pytest.raises(InputError) as caught:
        define(**changes)
    message = str(caught.value)
    assert "\n" not in message
    return message


def assert_says(message: str, *words: str) -> None:
    for word in words:
        assert word in message


# --- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name", "kinds"),
    [
        ({"states": [State("y"), State("y")]}, "y", ("state",)),
        ({"parameters": [Parameter("k", 1.0), Parameter("k", 2.0)]}, "k", ("parameter",)),
        ({"parameters": {"y": 1.0}}, "y", ("state", "parameter")),
        ({"observables": [Observable("k")], "observe": one_value}, "k", ("parameter", "observable")),
        (
            {"observables": [Observable("o"), Observable("o")], "observe": lambda t, y, p: (1.0, 2.0)},
            "o",
            ("observable",),
        ),
    ],
)
def test_duplicate_names(changes, name, kinds):
    assert_says(refusal(**changes), "'tiny'", repr(name), "twice", "unique", *kinds)


def named(kind: str, name) -> dict:
    """A definition in which a state, parameter or observable has this name."""
    return {
        "state": {"states": [State(name)]},
        "parameter": {"parameters": [Parameter(name, 1.0)]},
        "observable": {"observables": [Observable(name)], "observe": one_value},
    }[kind]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("state", name) for name in ("2x", "a b", "", "a-b", "lambda", "a\nb", 5, None)),
        ("parameter", "2x"),
        ("observable", "2x"),
    ],
)
def test_invalid_identifiers(kind, name):
    assert_says(refusal(**named(kind, name)), repr(name), kind, "letters, digits and underscores")


@pytest.mark.parametrize(("kind", "name"), [("state", "t"), ("parameter", "patient"), ("observable", "pfs")])
def test_reserved_names(kind, name):
    assert_says(refusal(**named(kind, name)), repr(name), kind, "choose another")


def test_every_column_of_the_endpoints_is_reserved_or_made_from_a_state():
    from fastcart.model import RESERVED

    result = fastcart.solve("li_lei_coarse", t_end=1, engine="published")
    own = {c for c in result.endpoints if not c.startswith("final_")}
    assert own <= RESERVED


# --- functions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rhs", "words"),
    [
        (lambda t, y, p: (0.0, 0.0), ("returns 2", "must return 1", "derivatives")),
        (lambda t, y, p: (), ("returns 0", "must return 1", "derivatives")),
        (lambda t, y, p: [0.0], ("tuple", "not list", "return (a, b, ...)")),
        (lambda t, y, p: 0.0, ("tuple", "not float", "return (a, b, ...)")),
        (lambda t, y, p: None, ("tuple", "not NoneType", "return (a, b, ...)")),
        (lambda t, y, p: np.zeros(1), ("tuple", "not ndarray", "return (a, b, ...)")),
    ],
)
def test_right_hand_side_must_return_one_derivative_for_each_state(rhs, words):
    assert_says(refusal(rhs=rhs), "'tiny'", "rhs(t, y, p)", *words)


@pytest.mark.parametrize("value", ["a", 1j, None])
def test_derivatives_must_be_numbers(value):
    assert_says(refusal(rhs=lambda t, y, p: (value,)), "'tiny'", "rhs(t, y, p)", "number")


@pytest.mark.parametrize(
    ("rhs", "words"),
    [
        (lambda t, y: (0.0,), ("TypeError",)),
        (lambda t, y, p: (y[3],), ("IndexError",)),
        (lambda t, y, p: (p["k"],), ("TypeError",)),
        (5, ("5",)),
        (None, ("None",)),
        (math.sin, ("sin",)),
    ],
)
def test_right_hand_side_that_cannot_be_called(rhs, words):
    assert_says(refusal(rhs=rhs), "'tiny'", "rhs(t, y, p)", *words)


def test_observables_may_be_true_or_false():
    assert define(observables=[Observable("o")], observe=lambda t, y, p: (y[0] > 1.0,)).observable_names == [
        "o"
    ]


def test_division_by_zero_at_the_defaults_is_left_to_the_engines():
    assert define(rhs=lambda t, y, p: (1.0 / (y[0] - y[0]),)).name == "tiny"


def test_observables_without_observe():
    assert_says(refusal(observables=[Observable("o")]), "'tiny'", "'observables'", "'observe'", "both")


def test_observe_without_observables():
    assert_says(refusal(observe=one_value), "'tiny'", "'observables'", "'observe'", "both")


def test_wrong_number_of_observables():
    message = refusal(observables=[Observable("o")], observe=lambda t, y, p: (1.0, 2.0))
    assert_says(message, "observe(t, y, p)", "returns 2", "must return 1")


def test_plain_python_function_gives_what_its_jitted_form_gives():
    plain = fastcart.solve(define(), {"k": [0.1, 0.3]}, engine="lsoda").endpoints
    jitted = fastcart.solve(define(rhs=njit(decay)), {"k": [0.1, 0.3]}, engine="lsoda").endpoints
    assert plain["final_y"].tolist() == jitted["final_y"].tolist()
    np.testing.assert_allclose(plain["final_y"], np.exp(-5.0 * np.array([0.1, 0.3])), rtol=1e-4)


# --- numbers ----------------------------------------------------------------------------------------


def test_no_states():
    assert_says(refusal(states={}, rhs=lambda t, y, p: ()), "'tiny'", "no states", "at least one")


def test_unknown_burden_with_the_nearest_state():
    message = refusal(states={"tumor": 1.0}, burden="tumour")
    assert_says(message, "'tumour'", "not a state", "Did you mean 'tumor'?")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["states", "parameters"])
def test_default_must_be_finite(kind, value):
    assert_says(refusal(**{kind: {"q": value}}), "'tiny'", "default of 'q'", "finite", repr(value))


@pytest.mark.parametrize("value", ["x", None, [1.0], np.ones(2)])
@pytest.mark.parametrize("kind", ["states", "parameters"])
def test_default_must_be_a_number(kind, value):
    assert_says(refusal(**{kind: {"q": value}}), "'tiny'", "default of 'q'", "number")


@pytest.mark.parametrize("kind", ["states", "parameters"])
def test_default_too_large_for_a_float(kind):
    assert_says(refusal(**{kind: {"q": 10**400}}), "'tiny'", "default of 'q'")


@pytest.mark.parametrize(("value", "limits"), [(-1.0, (0.0, math.inf)), (3.0, (0.0, 1.0)), (3.0, (5.0, 9.0))])
def test_default_outside_its_range(value, limits):
    message = refusal(parameters=[Parameter("k", value, range=limits)])
    assert_says(message, "'k'", f"{value:g}", f"[{limits[0]:g}, {limits[1]:g}]", "outside", "change")


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_both_ends_of_the_range_are_allowed(value):
    model = define(parameters=[Parameter("k", value, range=(0.0, 1.0))])
    assert model.default_parameters() == {"k": value}


def test_negative_default_of_a_state_in_logarithm():
    message = refusal(states=[State("y", default=-2.0, log=True)])
    assert_says(message, "'y'", "logarithm", "negative", "-2")


def test_negative_default_of_another_state_is_allowed():
    assert define(states={"y": -2.0}).default_states() == {"y": -2.0}


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, "x", None])
def test_scale_must_be_positive(scale):
    assert_says(refusal(states=[State("y", scale=scale)]), "'y'", "scale", "positive")


@pytest.mark.parametrize("t_end", [0, -1.0])
def test_horizon_must_be_positive(t_end):
    assert_says(refusal(t_end=t_end), "'tiny'", "'t_end'", "positive", repr(t_end))


@pytest.mark.parametrize(
    "t_end", [math.nan, math.inf, "x", "5", None, [1.0], pytest.param(10**400, id="huge")]
)
def test_horizon_must_be_a_finite_number(t_end):
    assert_says(refusal(t_end=t_end), "'tiny'", "'t_end'")


@pytest.mark.parametrize(
    "changes",
    [
        {"states": ["y"]},
        {"states": 5},
        {"states": [Parameter("y", 1.0)]},
        {"parameters": ["k"]},
        {"parameters": 5},
        {"parameters": [State("k")]},
        {"parameters": [Parameter("k", 1.0, range=5)]},
        {"parameters": [Parameter("k", 1.0, range=("a", "b"))]},
        {"parameters": [Parameter("k", 1.0, range=(2.0, 1.0))]},
        {"observables": ["o"], "observe": one_value},
        {"published": PublishedScheme(decay, step=0.0)},
    ],
)
def test_wrong_kinds_of_arguments_are_input_errors(changes):
    assert_says(refusal(**changes), "'tiny'")


# --- computed defaults ------------------------------------------------------------------------------


def twice_k(values):
    return 2.0 * values["k"]


def computed(**changes) -> Model:
    """A model whose state starts at twice the parameter k."""
    return define(**({"states": [State("y", default=twice_k)], "parameters": {"k": 0.5}} | changes))


def test_state_default_computed_from_parameters():
    model = computed()
    assert model.default_states() == {"y": 1.0}
    assert model.default_parameters() == {"k": 0.5}


def test_parameter_default_computed_from_another():
    model = define(parameters=[Parameter("k", 0.5), Parameter("double", twice_k)])
    assert model.default_parameters() == {"k": 0.5, "double": 1.0}


def test_computed_default_follows_each_patient_and_a_given_column_wins():
    model = computed()
    patients = {"k": [0.1, 0.2, 0.4]}
    start = fastcart.solve(model, patients, engine="lsoda", save_at=[0.0]).trajectories["y"]
    assert start.tolist() == [0.2, 0.4, 0.8]
    given = {**patients, "y": [7.0, 8.0, 9.0]}
    start = fastcart.solve(model, given, engine="lsoda", save_at=[0.0]).trajectories["y"]
    assert start.tolist() == [7.0, 8.0, 9.0]


@pytest.mark.parametrize(
    "default",
    [
        lambda values: values["missing"],
        lambda values: "text",
        lambda values: np.ones(3),
        lambda values: math.nan,
        lambda values: math.inf,
        lambda values: 1 / 0,
        lambda: 1.0,
    ],
    ids=["key", "text", "array", "nan", "infinity", "division", "signature"],
)
@pytest.mark.parametrize("kind", ["state", "parameter"])
def test_computed_default_that_fails_names_its_item(kind, default):
    changes = {
        "state": {"states": [State("q", default=default)]},
        "parameter": {"parameters": [Parameter("q", default)]},
    }[kind]
    assert_says(refusal(**changes), "'tiny'", "'q'", "default")


def test_computed_parameter_outside_its_range():
    assert_says(refusal(parameters=[Parameter("q", lambda values: -5.0)]), "'q'", "-5", "range")


def table_refusal(model: Model) -> str:
    """Return the message with which two patients with k = 0.1 and 0.2 are refused."""
    with pytest.raises(InputError) as caught:
        fastcart.solve(model, {"k": [0.1, 0.2]}, engine="lsoda")
    return str(caught.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_computed_default_that_is_bad_for_one_patient(bad):
    def default(values):
        return np.where(np.asarray(values["k"]) > 0.15, bad, 1.0)

    model = define(states=[State("q", default=default, log=True)])
    assert_says(table_refusal(model), "'q'", "default", "row 2")


def test_computed_parameter_outside_its_range_for_one_patient():
    model = define(parameters=[Parameter("k", 0.1), Parameter("q", lambda values: 0.15 - values["k"])])
    assert_says(table_refusal(model), "'q'", "default", "-0.05", "row 2", "at least 0")


@pytest.mark.parametrize("kind", ["length", "key"])
def test_computed_default_that_fails_for_arrays(kind):
    def default(values):
        if np.ndim(values["k"]) == 0:
            return 1.0
        return np.ones(3) if kind == "length" else values["missing"]

    model = define(states=[State("q", default=default)])
    assert_says(table_refusal(model), "'tiny'", "'q'", "default")


# --- the model itself -------------------------------------------------------------------------------


def test_mappings_and_sequences_define_the_same_model():
    short = define(states={"y": 2.0}, parameters={"k": 0.3})
    long = define(states=[State("y", default=2.0)], parameters=[Parameter("k", 0.3)])
    assert short.states == long.states
    assert short.parameters == long.parameters


def test_defaults_follow_the_order_of_definition():
    model = define(parameters={"k": 1.0, "b": 2.0, "a": 3.0})
    assert list(model.default_parameters()) == model.parameter_names == ["k", "b", "a"]
    assert list(model.defaults()) == ["k", "b", "a", "y"]


def test_model_without_parameters():
    model = define(parameters={}, rhs=lambda t, y, p: (-0.2 * y[0],))
    assert model.default_parameters() == {}


def test_repr_shows_name_sizes_and_options():
    assert repr(define(options={"killing": "free"})) == (
        "Model('tiny', 1 states, 1 parameters, killing='free')"
    )


def test_method_is_explicit():
    assert define().method is None
    assert define(method="stab5").method == "stab5"
    assert_says(refusal(method="stab"), "'tiny'", "'stab'", "Did you mean 'stab5'?")
    for value in ("rodas5p", 5, ["stab5"]):
        assert_says(refusal(method=value), "'tiny'", "no explicit method", "stab5")


def test_burden_index():
    assert define().burden_index == -1
    assert define(burden="y").burden_index == 0


# --- the registry -----------------------------------------------------------------------------------


def registry_refusal(*arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        fastcart.models.get(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", fastcart.models.names())
def test_every_shipped_model_can_be_built(name):
    model = fastcart.models.get(name)
    assert model.name == name
    assert all(math.isfinite(v) for v in model.defaults().values())
    assert len(model.doc) > 40
    assert model.references


def test_the_same_model_is_built_once():
    assert fastcart.models.get("li_lei_coarse") is fastcart.models.get("li_lei_coarse")


def test_option_makes_another_model():
    assert fastcart.models.get("li_lei", killing="free").options == {"killing": "free", "binding": "root"}
    assert fastcart.models.get("li_lei").options == {"killing": "total", "binding": "root"}


def test_unknown_model_with_the_nearest_name():
    assert_says(registry_refusal("li_lie"), "'li_lie'", "Did you mean 'li_lei'?")


def test_unknown_model_with_all_names():
    assert_says(registry_refusal("zzz"), "'zzz'", "Known:", *fastcart.models.names())


def test_unknown_option_with_the_nearest_name():
    message = registry_refusal("li_lei", kiling="free")
    assert_says(message, "'li_lei'", "'kiling'", "Did you mean 'killing'?")


@pytest.mark.parametrize("value", ["fre", "", None, 5, ["free"]])
def test_unknown_value_of_an_option(value):
    assert_says(registry_refusal("li_lei", killing=value), "'killing'", repr(value), "'total'", "'free'")


@pytest.mark.parametrize("name", [None, 5, ["li_lei"]])
def test_name_of_a_model_must_be_text(name):
    registry_refusal(name)


# --- chance -----------------------------------------------------------------------------------------


@njit
def _noise():
    return np.random.normal()  # noqa: NPY002


@njit
def _by_helper(t, y, p):
    return (_noise(),)


@njit
def _by_library(t, y, p):
    return (random.random() - p.k * y.y,)


_GENERATOR = np.random.default_rng(1)


def _by_generator(t, y, p):
    return (_GENERATOR.random(),)


@pytest.mark.parametrize("drawn", [_by_helper, _by_library, _by_generator])
def test_functions_that_draw_random_numbers_are_refused(drawn):
    assert_says(refusal(rhs=drawn), "rhs(t, y, p) draws random numbers in line", "as parameters")
    message = refusal(observables=[Observable("o")], observe=drawn)
    assert_says(message, "observe(t, y, p) draws random numbers")


def test_what_is_only_called_random_is_no_chance():
    def rhs(t, y, p):
        random = p.k
        return (-random * y.y,)

    assert define(rhs=rhs).name == "tiny"


def test_an_initial_value_in_the_place_of_the_unit_is_refused():
    """The state began at 0."""
    assert_says(refusal(states=[State("y", 1.0)]), "unit", "must be text, not 1.0", "default=")


def helped(x):
    return (x, [x][3])[1]  # line 2 of it


def misspelt(t, y, p):
    rate = p.kk
    return (-rate * y.y,)


def out_of_range(t, y, p):
    return (helped(y.y),)


def another_name(t, y, p):
    return fastcart.derivatives(z=-p.k * y.y)


def two_values(t, y, p):
    return (y.y, y.y)


def a_list(t, y, p):
    return [y.y]


def text(t, y, p):
    return ("a",)


@pytest.mark.parametrize(
    ("rhs", "source", "line"),
    [(misspelt, misspelt, 1), (out_of_range, helped, 1), (another_name, another_name, 1)]
    + [(rhs, rhs, 0) for rhs in (two_values, a_list, text)],
)
def test_what_a_right_hand_side_does_wrong_is_told_with_its_line(rhs, source, line):
    where = f"(line {source.__code__.co_firstlineno + line} of test_model_definition.py)"
    assert_says(refusal(rhs=rhs), where)


def test_code_that_was_made_has_no_line_of_a_file():
    made = {}
    exec("def rhs(t, y, p):\n    return (y.z,)", made)
    assert "line" not in refusal(rhs=made["rhs"])


@pytest.mark.parametrize("name", models.names())
def test_a_shipped_model_travels_to_other_processes(name):
    model = models.get(name)
    copy = pickle.loads(pickle.dumps(model))
    assert copy.default_states() == model.default_states()
    assert copy.default_parameters() == model.default_parameters()
    assert describe_model(copy)["hash"] == describe_model(model)["hash"]
