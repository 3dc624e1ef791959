"""The options of the solver: one set, given whole or by keywords, in all functions that solve."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numba import njit

import fastcart
from fastcart import Event, InputError, Model, Observable, SolveOptions, State
from fastcart.options import SolveKeywords, SolverKeywords
from fastcart.runs.streaming import run_files

NAMES = {option.name for option in fields(SolveOptions)}


@njit
def rhs(t, y, p):
    (C,) = y
    (k,) = p
    return (-k * C if t < 5.0 else k * C,)


@njit
def observe(t, y, p):
    return (2.0 * y[0],)


MODEL = Model(
    "valley", [State("C", "cells", 100.0, extinction=True)], {"k": 0.5}, rhs, t_end=10.0, burden="C",
    observables=[Observable("twice")], observe=observe,
)  # fmt: skip
EVENT = Event("low", "C", 50.0, "down")
# every option away from its default
ALL = dict(
    t_end=8.0, engine="lanes", method="vern7", rtol=1e-7, atol=1e-6, extinction=1e-3, peaks=("C",),
    auc=("twice",), events=(EVENT,), max_steps=5000, max_step=0.5, breaks=(5.0,),
)  # fmt: skip


def solved(**keywords) -> pd.DataFrame:
    return fastcart.solve(MODEL, {"k": [0.4, 0.5]}, progress=False, **keywords).endpoints


def test_all_options_are_tested_and_typed():
    assert set(ALL) == NAMES
    assert set(SolveOptions(**ALL).changed()) == NAMES
    assert SolveOptions().changed() == {}
    assert SolveKeywords.__required_keys__ | SolveKeywords.__optional_keys__ == NAMES
    assert NAMES - {"method"} == SolverKeywords.__required_keys__ | SolverKeywords.__optional_keys__


def test_options_given_whole_or_one_by_one_are_the_same():
    whole = solved(options=SolveOptions(**ALL))
    pd.testing.assert_frame_equal(whole, solved(**ALL), check_exact=True)
    assert not whole[["peak_C", "auc_twice", "event_low"]].isna().any().any()
    mixed = solved(options=SolveOptions(**{**ALL, "t_end": 3.0}), t_end=8.0)  # the keyword counts
    pd.testing.assert_frame_equal(whole, mixed, check_exact=True)


def test_the_result_records_all_options():
    result = fastcart.solve(MODEL, progress=False, **ALL)
    assert {name: result.options[name] for name in NAMES} == ALL


def test_options_are_brought_into_one_form():
    options = SolveOptions(peaks="C", auc=["C"], events=EVENT, breaks=5, rtol=np.float32(0.01), t_end=7)
    assert options.peaks == ("C",)
    assert options.auc == ("C",)
    assert options.events == (EVENT,)
    assert options.breaks == (5.0,)
    assert type(options.rtol) is float
    assert options.watching(["C", "twice"], []).peaks == ("C", "twice")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"engine": "lane"}, "There is no engine 'lane'. Did you mean 'lanes'?"),
        ({"rtol": 0.5}, "must lie in [1e-14, 0.1], not 0.5"),
        ({"rtol": "1e-6"}, "must be a positive, finite number, not '1e-6'"),
        ({"atol": 0}, "atol must be a positive"),
        ({"t_end": float("inf")}, "horizon t_end must be a positive, finite"),
        ({"max_steps": 1.5}, "max_steps must be a whole number"),
        ({"max_step": -1}, "max_step must be a positive"),
        ({"extinction": True}, "threshold of extinction must be a positive"),
        ({"peaks": ["C", "C"]}, "must differ; 'C' is given twice"),
        ({"auc": 3}, "must be a list of names"),
        ({"events": "low"}, "must be a list of fastcart.Event"),
        ({"breaks": [-1]}, "must not be negative"),
    ],
)
def test_a_bad_option_is_refused_where_it_is_made(bad, said):
    with pytest.raises(InputError) as error:
        SolveOptions(**bad)
    assert said in str(error.value)


def test_an_unknown_keyword_is_refused_with_the_nearest():
    folder = Path("nowhere")
    calls = {
        "A batch": lambda **k: fastcart.solve(MODEL, **k),
        "A scan": lambda **k: fastcart.scan(MODEL, 1, folder, **k),
        "A sensitivity study": lambda **k: fastcart.sensitivity(MODEL, **k),
        "An optimization": lambda **k: fastcart.optimize(MODEL, {"k": (0, 1)}, seed=1, **k),
        "A run": lambda **k: run_files(MODEL, folder, folder, **k),
    }
    for what, call in calls.items():
        with pytest.raises(InputError) as error:
            call(max_stepp=1.0)
        assert str(error.value) == f"{what} has no option 'max_stepp'. Did you mean 'max_step'?"
        with pytest.raises(InputError, match=r"must be a fastcart\.SolveOptions, not \{'rtol'"):
            call(options={"rtol": 1e-3})
    with pytest.raises(InputError, match="Did you mean 'threads'"):
        fastcart.solve(MODEL, thread=1)


def test_every_function_that_solves_takes_every_option(tmp_path):
    whole = SolveOptions(**ALL)
    assert fastcart.sensitivity(MODEL, n=50, outputs=["auc_twice", "event_low"], options=whole).indices.size
    assert fastcart.optimize(
        MODEL, {"k": (0.4, 0.5)}, seed=1, iterations=1, particles=4, options=whole
    ).best.size
    result = fastcart.scan(MODEL, {"k": [0.4, 0.5]}, tmp_path / "scan", progress=False, options=whole)
    expected = solved(options=whole)
    pd.testing.assert_series_equal(result.load()["auc_twice"], expected["auc_twice"], check_exact=True)
    pd.DataFrame({"k": [0.4, 0.5]}).to_csv(tmp_path / "in.csv", index=False)
    run_files(MODEL, tmp_path / "in.csv", tmp_path / "out.csv", options=whole, progress=False)
    assert pd.read_csv(tmp_path / "out.csv")["peak_C"].tolist() == expected["peak_C"].tolist()


def test_changed_options_are_refused_when_a_study_goes_on(tmp_path):
    study = dict(outputs="final", n=50, seed=1, folder=tmp_path / "s", progress=False)
    fastcart.sensitivity(MODEL, **study)
    assert "solve" not in json.loads((tmp_path / "s/manifest.json").read_text())  # as older runs have it
    fastcart.sensitivity(MODEL, resume=True, max_steps=100_000, **study)
    with pytest.raises(InputError, match=r"solve\.atol is not given there and 1\.0 now"):
        fastcart.sensitivity(MODEL, resume=True, atol=1.0, **study)
    search = dict(seed=1, iterations=1, particles=4, out=tmp_path / "o", progress=False)
    fastcart.optimize(MODEL, {"k": (0.4, 0.5)}, **search)
    with pytest.raises(InputError, match=r"solve\.max_steps is not given there and 999 now"):
        fastcart.optimize(MODEL, {"k": (0.4, 0.5)}, resume=True, max_steps=999, **search)


def test_an_aggregate_without_a_population_is_refused():
    with pytest.raises(InputError) as error:
        fastcart.optimize(MODEL, {"k": (0, 1)}, aggregate="max", seed=1)
    assert str(error.value) == (
        "An aggregate is over a virtual population, and no patients are given; give patients, or leave "
        "aggregate off."
    )
