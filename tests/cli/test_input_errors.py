"""Bad input to `fastcart.solve`: one clear sentence, before anything is computed."""

from __future__ import annotations

import datetime
import math
import re
from contextlib import suppress
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import njit

import fastcart
from fastcart import InputError, Model, Parameter, State


def _decay(t, y, p):
    return (-p[0] * y[0],)


TINY = Model(
    "tiny",
    [State("y", "cells", 1.0), State("x", "", 0.0)],
    [Parameter("k", 0.1, unit="1/day"), Parameter("fraction", 0.5, range=(0.0, 1.0))],
    lambda t, y, p: (-p[0] * y[0], p[1]),
    t_end=5.0,
)


def refusal(patients=1, model=TINY, **options) -> str:
    """Return the message with which input is refused, having checked that nothing was computed."""
    computed = AssertionError("the input was accepted and the computation was started")
    with mock.patch("fastcart.batch.iterate", side_effect=computed), pytest.raises(InputError) as caught:
        fastcart.solve(model, patients, **options)
    message = str(caught.value)
    assert_is_one_sentence(message)
    return message


def assert_is_one_sentence(message: str) -> None:
    assert "\n" not in message
    assert message[0].isupper()
    assert message[-1] in ".?"
    assert not message.endswith("..")
    assert 20 < len(message) < 600
    for jargon in ("np.float64(", "np.int64(", "Traceback", "dtype("):
        assert jargon not in message


def assert_says(message: str, *words: str) -> None:
    for word in words:
        assert word in message


# --- tables of patients -----------------------------------------------------------------------------


@pytest.mark.parametrize(("column", "known"), [("fractoin", "fraction"), ("K", "k"), ("patients", "patient")])
def test_unknown_column_with_the_nearest_name(column, known):
    assert_says(refusal({column: [0.2]}), repr(column), "'tiny'", f"Did you mean {known!r}?")


def test_unknown_column_with_all_names():
    assert_says(refusal({"zzzzz": [0.2]}), "'zzzzz'", "Known: k, fraction, y, x, patient.")


def test_unknown_column_of_a_shipped_model():
    assert_says(refusal({"lambda_c": [3.0]}, model="li_lei"), "'lambda_c'", "Did you mean 'lambda_C'?")


@pytest.mark.parametrize("column", [1, None, ("a", "b"), math.nan])
def test_column_name_that_is_no_text(column):
    assert_says(refusal({column: [0.2]}), "'tiny'", "not a parameter or state")


def test_column_given_twice():
    table = pd.DataFrame([[0.1, 0.2]], columns=["k", "k"])
    assert_says(refusal(table), "'k'", "twice")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("abc", "'abc'"),
        ("", "''"),
        ("a\nb", "a"),
        (b"abc", "abc"),
        (None, "empty cell or NaN"),
        (math.nan, "empty cell or NaN"),
        (pd.NA, "empty cell or NaN"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
    ],
)
def test_value_that_is_not_a_finite_number(value, shown):
    assert_says(refusal({"k": [0.1, 0.2, value]}), "'k'", shown, "row 3", "number")


@pytest.mark.parametrize(
    "values",
    [
        [True, False],
        np.array([True, False]),
        pd.array([True, False], dtype="boolean"),
        [0.5, True],
        np.array([0.5, False], dtype=object),
        True,
    ],
    ids=["list", "numpy", "nullable", "mixed list", "mixed array", "scalar"],
)
def test_true_or_false_where_a_number_belongs(values):
    assert_says(refusal({"k": values}), "'k'", "True or False", "number")


@pytest.mark.parametrize(
    "values",
    [
        [1 + 2j],
        [1 + 0j],
        pd.to_datetime(["2020-01-01"]),
        pd.to_datetime(["2020-01-01"]).tz_localize("UTC"),
        pd.to_timedelta([5], unit="D"),
        pd.period_range("2020-01", periods=1, freq="M"),
        [datetime.date(2020, 1, 1)],
        pd.interval_range(0, 1),
        pd.Categorical(["a"]),
        [10**400],
        [[1.0, 2.0]],
        [[1.0, 2.0], [3.0, 4.0]],
        [[1.0], [2.0, 3.0]],
        np.ones((1, 2)),
        np.ones((2, 1)),
        {0.1, 0.2},
        {"a": 0.1},
        [object()],
        "abc",
        b"abc",
        None,
    ],
    ids=lambda values: type(values).__name__,
)
def test_column_of_another_kind(values):
    assert_says(refusal({"k": values}), "k")


@pytest.mark.parametrize("column", ["y", "k", "fraction"])
def test_negative_cells_and_rates(column):
    assert_says(refusal({column: [0.5, -0.25]}), repr(column), "-0.25", "row 2", "allowed")


def test_value_above_its_range():
    assert_says(refusal({"fraction": [1.5]}), "'fraction'", "1.5", "row 1", "from 0 to 1")


def test_negative_start_of_a_state_that_does_not_count_cells_is_allowed():
    assert fastcart.solve(TINY, {"x": -1.0}, engine="lsoda").summary() == {"ok": 1}


@pytest.mark.parametrize(
    "table",
    [pd.DataFrame(), pd.DataFrame({"k": []}), {"k": []}, {"k": np.empty(0)}, pd.DataFrame(columns=["k"])],
)
def test_empty_table(table):
    assert_says(refusal(table), "empty", "at least one row")


@pytest.mark.parametrize("number", [0, -1, np.int64(0)])
def test_number_of_patients_must_be_positive(number):
    assert_says(refusal(number), "number of patients", "at least 1", str(int(number)))


@pytest.mark.parametrize("number", [True, False, np.bool_(True)])
def test_number_of_patients_must_not_be_true_or_false(number):
    assert_says(refusal(number), "number of patients", "True or False")


@pytest.mark.parametrize("patients", [2.0, math.nan, "abc", None, [1, 2], np.ones(3), object()])
def test_patients_of_another_type(patients):
    message = refusal(patients)
    assert_says(message, "DataFrame", "mapping", "number", f"not {type(patients).__name__}")


def test_more_patients_than_can_be_counted():
    assert_says(refusal(10**30), "number of patients")


def test_columns_of_different_lengths():
    assert_says(refusal({"k": [0.1, 0.2], "y": [1.0, 2.0, 3.0]}), "k: 2", "y: 3", "length", "equal")


@pytest.mark.parametrize(
    ("ids", "shown"), [([1, 2, 1], "id 1 "), (["a", "b", "a"], "id 'a' "), ([1.5, 2.0, 1.5], "id 1.5 ")]
)
def test_duplicated_ids(ids, shown):
    assert_says(refusal({"patient": ids}), shown, "more than once", "'patient'")


def test_missing_id():
    assert_says(refusal({"patient": ["a", None, "c"]}), "'patient'", "row 2", "id")


def test_rows_of_a_table_are_counted_by_position_not_by_its_index():
    table = pd.DataFrame({"k": [0.1, math.nan]}, index=[17, 4])
    assert_says(refusal(table), "row 2")


def test_columns_given_as_series_are_taken_in_their_own_order():
    one = pd.Series([0.1, 0.2], index=[1, 0])
    other = pd.Series([0.3, 0.4], index=[7, 9])
    start = fastcart.solve(TINY, {"y": one, "x": other}, engine="lsoda", save_at=[0.0]).trajectories
    assert start["y"].tolist() == [0.1, 0.2]
    assert start["x"].tolist() == [0.3, 0.4]


# --- columns to keep --------------------------------------------------------------------------------


def test_column_to_keep_that_is_not_there():
    assert_says(refusal({"k": [0.1], "arm": ["a"]}, keep=["amr"]), "'amr'", "keep", "Did you mean 'arm'?")


@pytest.mark.parametrize("column", ["patient", "status", "pfs", "final_y"])
def test_column_to_keep_that_the_endpoints_have_already(column):
    assert_says(refusal(pd.DataFrame({column: ["a"]}), keep=[column]), repr(column), "keep")


def test_column_to_keep_named_twice():
    assert_says(refusal({"k": [0.1], "arm": ["a"]}, keep=["arm", "arm"]), "'arm'", "twice")


@pytest.mark.parametrize("keep", [5, [["arm"]], True], ids=repr)
def test_columns_to_keep_of_another_type(keep):
    assert_says(refusal({"k": [0.1]}, keep=keep), "keep")


def test_one_column_to_keep_may_be_given_as_text():
    result = fastcart.solve(TINY, {"k": [0.1], "arm": ["a"]}, keep="arm", engine="lsoda")
    assert result.endpoints["arm"].tolist() == ["a"]


# --- times ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ([1.0, 0.5], ("sorted",)),
        ([1.0, 1.0], ("distinct",)),
        ([-1.0, 1.0], ("negative", "-1")),
        ([1.0, 6.0], ("exceed", "horizon 5", "6", "t_end")),
        ([1.0, math.nan], ("finite",)),
        ([1.0, math.inf], ("finite",)),
        (math.nan, ("finite",)),
        ([[1.0], 2.0], ("numbers",)),
        ([[1.0], [2.0, 3.0]], ("2 rows", "1 patient")),
        (["a"], ("numbers", "'a'")),
        ("abc", ("numbers", "'abc'")),
        ([1j], ("numbers",)),
        ([None], ("numbers",)),
        ([True], ("numbers",)),
        (True, ("numbers",)),
        ([10**400], ()),
        ({"a": 1.0}, ("'a'", "patient", "time")),
        (object(), ("numbers",)),
        (pd.to_datetime(["2020-01-01"]), ("numbers",)),
        (pd.DataFrame({"a": [1.0, 2.0]}), ("'a'", "patient", "time")),
        (np.ones((20, 20)), ("numbers",)),
    ],
    ids=lambda x: None if isinstance(x, tuple) else type(x).__name__,
)
def test_times_to_save(times, words):
    assert_says(refusal(save_at=times), "'save_at'", *words)


def test_columns_of_trajectories():
    path = fastcart.solve(TINY, 2, save_at=[1.0], save=["y"], engine="lsoda").trajectories
    assert path.columns.tolist() == ["patient", "t", "y"]
    assert_says(refusal(save_at=[1.0], save=["yy"]), "'yy'", "'y'")
    assert_says(refusal(save=["y"]), "save_at")


@pytest.mark.parametrize("number", [2000, 200_000])
def test_message_about_many_bad_times_stays_short(number):
    refusal(save_at=["a"] * number)


def test_times_may_exceed_the_default_horizon_when_it_is_raised():
    result = fastcart.solve(TINY, save_at=[6.0], t_end=7.0, engine="lsoda")
    assert result.trajectories["t"].tolist() == [6.0]


@pytest.mark.parametrize(
    "times", [2.0, [2.0], (2.0,), np.array([2.0]), np.array(2.0), pd.Series([2.0], index=[9])]
)
def test_times_in_any_usual_form(times):
    assert fastcart.solve(TINY, save_at=times, engine="lsoda").trajectories["t"].tolist() == [2.0]


# --- options ----------------------------------------------------------------------------------------


def test_unknown_engine_with_the_nearest_name():
    assert_says(refusal(engine="lsoad"), "engine 'lsoad'", "Did you mean 'lsoda'?")


@pytest.mark.parametrize("engine", ["", None, 5, ["lsoda"], np.array(["lsoda", "auto"])], ids=repr)
def test_engine_of_another_type(engine):
    assert_says(refusal(engine=engine), "engine")


@pytest.mark.parametrize(
    ("engine", "method", "words"),
    [
        ("scipy", "Radua", ("'scipy'", "'Radua'", "Did you mean 'Radau'?")),
        ("lsoda", "DOP853", ("'lsoda'", "'DOP853'")),
        ("scipy", "", ("'scipy'",)),
        ("scipy", 5, ("'scipy'", "5")),
        ("scipy", ["Radau"], ("'scipy'",)),
        ("scipy", np.array([1, 2]), ("'scipy'",)),
    ],
)
def test_unknown_method(engine, method, words):
    assert_says(refusal(engine=engine, method=method), "method", *words)


def label(value) -> str:
    return f"{type(value).__name__} {value!r}"[:30]


NOT_POSITIVE = [0, -1, math.nan, math.inf]
NOT_A_NUMBER = ["x", "1e-6", True, np.bool_(True), [1.0], np.ones(2), 1j, {}, pd.NA, b"1", 10**400]


@pytest.mark.parametrize("t_end", [*NOT_POSITIVE, *NOT_A_NUMBER], ids=label)
def test_horizon(t_end):
    assert_says(refusal(t_end=t_end), "t_end", "positive")


@pytest.mark.parametrize("rtol", [0, "x", None, 0.1000001, 1], ids=label)
def test_relative_tolerance(rtol):
    assert_says(refusal(rtol=rtol), "rtol")


@pytest.mark.parametrize("atol", [0, -1, "x", [1.0, 2.0]], ids=label)
def test_absolute_tolerance(atol):
    assert_says(refusal(atol=atol), "atol", "positive")


def test_relative_tolerance_says_what_is_allowed():
    assert_says(refusal(rtol=0.2), "[1e-14, 0.1]", "0.2")


NOT_WHOLE = [0, -1, 1.0, 1.5, "x", "5", True, math.nan, [1], 1j]


@pytest.mark.parametrize("value", [*NOT_WHOLE, None], ids=label)
def test_budget_of_steps(value):
    assert_says(refusal(max_steps=value), "max_steps", "whole number from 1 on", repr(value))


@pytest.mark.parametrize("value", NOT_WHOLE, ids=label)
def test_threads(value):
    assert_says(refusal(threads=value), "threads", "whole number from 1 on", repr(value))


@pytest.mark.parametrize("value", [2**31 - 1, 2**31, 2**32, 10**30], ids=label)
def test_a_very_large_budget_of_steps_is_a_large_budget(value):
    assert fastcart.solve(TINY, engine="lsoda", max_steps=value).summary() == {"ok": 1}


@pytest.mark.filterwarnings("ignore::fastcart.errors.PatientsFailed")
def test_a_budget_that_is_used_up_is_a_status_and_no_error():
    result = fastcart.solve("li_lei_coarse", engine="lsoda", max_steps=1)
    assert result.summary() == {"max_steps": 1}
    assert np.isnan(result.endpoints["pfs"][0])


@pytest.mark.parametrize("value", [1, 1000, 10**30], ids=label)
def test_more_threads_than_processors_is_no_error(value):
    assert fastcart.solve(TINY, engine="lsoda", threads=value).summary() == {"ok": 1}


# --- the published engine ---------------------------------------------------------------------------


@pytest.mark.parametrize("model", [TINY, "li_lei_cytokines"], ids=["tiny", "li_lei_cytokines"])
def test_published_engine_for_a_model_without_a_published_scheme(model):
    assert_says(refusal(model=model, engine="published"), "published scheme", "'lsoda'")


@pytest.mark.parametrize(
    ("options", "time"),
    [({"t_end": 10.05}, "10.05"), ({"save_at": [0.1, 0.25]}, "0.25"), ({"t_end": 0.01}, "0.01")],
)
def test_published_engine_with_times_off_its_grid(options, time):
    message = refusal(model="li_lei_coarse", engine="published", **options)
    assert_says(message, "step of 0.1 day", f"time {time} ", "multiple")


@pytest.mark.parametrize("t_end", [1e25, 1e300])
def test_published_engine_with_more_steps_than_can_be_counted(t_end):
    assert_says(refusal(model="li_lei_coarse", engine="published", t_end=t_end), "step")


# --- models -----------------------------------------------------------------------------------------


def test_unknown_model_with_the_nearest_name():
    assert_says(refusal(model="li_lie_coarse"), "'li_lie_coarse'", "Did you mean 'li_lei_coarse'?")


@pytest.mark.parametrize("model", [5, None, ["li_lei"], {}, b"li_lei", Model, _decay], ids=label)
def test_model_of_another_type(model):
    assert_says(refusal(model=model), "name", "fastcart.Model", f"not {type(model).__name__}")


def not_jitted(x):
    return x


def as_text(t, y, p):
    return (float(str(y[0])[:5]),)


def with_a_plain_helper(t, y, p):
    return (not_jitted(y[0]),)


def catching(t, y, p):
    try:
        return (y[0],)
    except KeyError as error:
        print(error)
        return (0.0,)


@njit
def of_two_types(x):
    found = {"a": x}
    found["b"] = "c"
    return x


def with_a_helper_of_two_types(t, y, p):
    return (of_two_types(y[0]),)


def opening(t, y, p):
    with suppress(KeyError) as _:
        rate = 1.0
    return (rate * y[0],)


@pytest.mark.parametrize("engine", ["lsoda", "scipy"])
@pytest.mark.parametrize(
    ("rhs", "why"),
    [
        (as_text, "float"),
        (with_a_plain_helper, "not_jitted"),
        (catching, "Exception"),
        (with_a_helper_of_two_types, "setitem"),
        (opening, "construct is not supported"),
    ],
)
def test_model_that_numba_cannot_compile(rhs, why, engine):
    with pytest.raises(InputError) as caught:
        fastcart.solve(Model("pythonic", {"y": 1.0}, {}, rhs), engine=engine)
    assert_is_one_sentence(str(caught.value))
    assert_says(str(caught.value), "'pythonic'", "numba cannot compile", why)
    source = of_two_types.py_func if rhs is with_a_helper_of_two_types else rhs
    found = re.search(r"[^.] \(line (\d+) of test_input_errors\.py\); use", str(caught.value))
    assert found is not None, str(caught.value)
    # within the function that is at fault, and no line of numba's own
    assert 0 < int(found[1]) - source.__code__.co_firstlineno < 5


# --- anything at all --------------------------------------------------------------------------------

KNOWN = ["patient", *TINY.parameter_names, *TINY.state_names]
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.dates(),
    st.just(10**400),
    st.just(pd.NA),
    st.just(pd.NaT),
)
CELLS = st.one_of(PLAIN, st.complex_numbers(), st.lists(st.floats(), max_size=2), st.just({"a": 1.0}))
COLUMNS = st.one_of(
    CELLS,
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=3),
    st.lists(CELLS, max_size=3),
    st.lists(st.floats(), max_size=3).map(np.array),
    st.lists(CELLS, max_size=3).map(lambda values: pd.Series(values, dtype=object)),
)
TABLES = st.one_of(
    st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=3) | PLAIN, COLUMNS, max_size=3),
    PLAIN.filter(lambda value: not isinstance(value, int) or value < 10),
    st.lists(PLAIN, max_size=3),
)
VALUES = st.one_of(CELLS, st.lists(CELLS, max_size=3), st.lists(st.floats(0.0, 5.0), max_size=3))
ENGINES = st.sampled_from(["auto", "lsoda", "published", "scipy", "sciyp"]) | CELLS
METHODS = st.sampled_from(["Radau", "lsoda", "rk4"]) | CELLS

fuzz = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class ReachedError(Exception):
    """The input was accepted."""


def accept_or_refuse(*arguments, **options) -> None:
    """Pass input up to where computing would begin; nothing but `InputError` may come of it."""
    with mock.patch("fastcart.batch.iterate", side_effect=ReachedError), suppress(ReachedError):
        try:
            fastcart.solve(*arguments, progress=False, **options)
        except InputError as error:
            message = str(error)
        else:
            message = "Accepted."
        assert "\n" not in message


@fuzz
@given(TABLES)
def test_random_tables_are_solved_or_refused(table):
    try:
        result = fastcart.solve(TINY, table, engine="lsoda", progress=False)
    except InputError as error:
        message = str(error)
    else:
        message = f"{len(result.endpoints)} solved"
    assert "\n" not in message


@fuzz
@given(
    st.dictionaries(st.sampled_from(["t_end", "rtol", "atol", "max_steps", "threads"]), VALUES, min_size=1)
)
def test_random_numbers_as_options_are_accepted_or_refused(options):
    accept_or_refuse(TINY, 1, **options)


@fuzz
@given(VALUES)
def test_random_times_are_accepted_or_refused(times):
    accept_or_refuse(TINY, 1, save_at=times)


@fuzz
@given(ENGINES, METHODS)
def test_random_engines_are_accepted_or_refused(engine, method):
    accept_or_refuse(TINY, 1, engine=engine, method=method)


@fuzz
@given(VALUES)
def test_random_columns_to_keep_are_accepted_or_refused(keep):
    accept_or_refuse(TINY, {"k": [0.1]}, keep=keep)


@fuzz
@given(CELLS | st.lists(CELLS, max_size=2))
def test_random_models_are_refused(model):
    refusal(model=model)


@pytest.mark.parametrize("column", ["ID", "id", "subject", "SUBJID", "Subject_ID"])
def test_usual_names_of_ids_are_the_column_patient(column):
    assert_says(refusal({column: [1], "k": [0.1]}), repr(column), "Did you mean 'patient'?")
