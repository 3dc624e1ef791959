"""What the explorer of trials answers is what ``fastcart trial`` computes, arm by arm."""

from __future__ import annotations

import json
import tomllib
from functools import partial

import numpy as np
import pandas as pd
import pytest

from fastcart.errors import InputError
from fastcart.exploring import trials
from fastcart.exploring.opening import Chosen, open_server
from fastcart.exploring.trials import TrialExplorer
from fastcart.protocols import STANDARD, get
from fastcart.solvers.threads import Stop, StoppedError
from fastcart.trial.counterfactual import arm_course
from fastcart.trial.curves import kaplan_meier
from fastcart.trial.frontier import isotoxic
from fastcart.trial.outcomes import expected, outcomes
from fastcart.trial.spec import make_spec
from fastcart.trial.template import TEMPLATE

SMALL = """\
dose = 1e8
[population]
patients = 40
calibrate = false
seed = 4
[frontier]
doses = [1e6, 1e7, 1e8, 1e9]
"""
ARMS = """
[[arms]]
name = "A0"
[[arms]]
name = "RISE"
kind = "controlled"
cells = 3e9
memory = "promote"
visits = [1, 3, 7]
[[arms]]
name = "OPEN"
kind = "open-loop"
of = "RISE"
[[arms]]
name = "A6"
"""


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    path = tmp_path_factory.mktemp("trial") / "trial.toml"
    path.write_text(SMALL + ARMS)
    return TrialExplorer(path)


def rows(meta) -> pd.DataFrame:
    return pd.DataFrame(meta["arms"]).set_index("arm")


def course(explorer, arm, dose=1e8, **more):
    spec = explorer.spec
    given = dict(noise_seed=spec.noise_seed, assay_sd=spec.assay_sd, model=spec.adapter, options=spec.options)
    return arm_course(arm, explorer.patients(40), dose=dose, **{**given, **more})


def test_arms_are_those_of_the_trial(explorer):
    meta, arrays = explorer.answer({"arms": {"A0": {}, "RISE": {}, "OPEN": {}}, "patients": 40})
    assert meta["solved"] == {"A0": [40, 40], "RISE": [40, 40], "OPEN": [40, 40]}
    for arm in explorer.spec.arms[:3]:
        path = course(explorer, arm)
        for name, value in expected(path).items():
            assert rows(meta).loc[arm.name, name] == pytest.approx(value, nan_ok=True), name
        found = outcomes(path)
        curve = kaplan_meier(found["os"].to_numpy(), found["os_event"].to_numpy())
        np.testing.assert_array_equal(arrays[f"os:{arm.name}:day"], curve.day)
        np.testing.assert_array_equal(arrays[f"os:{arm.name}:share"], curve.survival)


def test_sliders_are_entries_of_the_specification(explorer):
    moved = {"cells": 1e9, "rise": 0.2, "cells_sd": 0.0, "delay": 2.0, "dose": 5e7}
    meta, _ = explorer.answer({"arms": {"RISE": moved}, "patients": 40})
    raw = tomllib.loads(SMALL + ARMS)
    raw["arms"][1] |= {k: v for k, v in moved.items() if k != "dose"}
    arm = make_spec(raw).arms[1]
    assert rows(meta).loc["RISE", "crs3"] == pytest.approx(expected(course(explorer, arm, dose=5e7))["crs3"])


def test_an_open_loop_follows_the_sliders_of_its_arm(explorer):
    open_arm = {"OPEN": {}, "RISE": {"cells": 1e8}}
    here = rows(explorer.answer({"arms": open_arm, "patients": 40})[0])
    usual = rows(explorer.answer({"arms": {"OPEN": {}, "RISE": {}}, "patients": 40})[0])
    assert here.loc["OPEN", "CR90"] != usual.loc["OPEN", "CR90"]


def test_only_what_changes_is_solved(explorer, monkeypatch):
    given = {"arms": {"A0": {}, "A6": {}}, "patients": 40}
    explorer.answer(given)
    solved = []
    monkeypatch.setattr(
        trials, "arm_course", lambda arm, *a, **k: solved.append(arm.name) or arm_course(arm, *a, **k)
    )
    explorer.answer(given)
    assert solved == []
    explorer.answer({"arms": {"A0": {"dose": 3e7}, "A6": {}}, "patients": 40})
    assert solved == ["A0"]
    explorer.answer({"arms": {"A0": {}, "A6": {"assay_sd": 0.1}}, "patients": 40})
    assert solved == ["A0", "A6"]


def test_the_frontier_comes_in_parts_and_then_the_gains(explorer):
    given = {"arms": {"A0": {}, "RISE": {}}, "patients": 40}
    left = []
    while not left or left[-1]:
        meta, _ = explorer.answer({**given, "frontier": True})
        left.append(meta["left"])
    assert left == [2, 0]
    scan = pd.DataFrame(meta["frontier"])
    assert scan["dose"].tolist() == [1e6, 1e7, 1e8, 1e9]
    assert scan["crs3"][1] == pytest.approx(expected(course(explorer, get("A0"), dose=1e7))["crs3"])
    wanted = isotoxic(rows(meta), scan)
    for name in ("A0", "RISE"):
        assert rows(meta)["gain_CR90"].astype(float)[name] == pytest.approx(
            wanted["gain_CR90"][name], nan_ok=True
        )


def test_a_draft_is_the_beginning_of_the_patients(explorer):
    given = {"arms": {"A0": {"dose": 2e7}}, "patients": 40, "draft": 10}
    meta, _ = explorer.answer(given)
    assert meta["solved"] == {"A0": [10, 10]}
    path = arm_course(
        explorer.spec.arms[0],
        explorer.patients(40).iloc[:10],
        dose=2e7,
        noise_seed=1,
        options=explorer.spec.options,
    )
    assert rows(meta).loc["A0", "CR90"] == pytest.approx(expected(path)["CR90"])
    explorer.answer({**given, "draft": 0})
    assert explorer.answer(given)[0]["solved"] == {"A0": [40, 40]}  # what is known of all needs no draft


def test_an_arm_that_is_stopped_is_solved_anew(explorer):
    stop = Stop()
    stop()
    given = {"arms": {"A0": {"dose": 4e7}}, "patients": 40}
    with pytest.raises(StoppedError), stop.here():
        explorer.answer(given)
    assert rows(explorer.answer(given)[0]).loc["A0", "CR90"] == pytest.approx(
        expected(course(explorer, explorer.spec.arms[0], dose=4e7))["CR90"]
    )


def test_the_exported_specification_is_the_trial_that_was_explored(explorer):
    given = {"arms": {"A0": {"dose": 5e7}, "RISE": {"cells": 1e9, "dose": 5e7}, "A6": {"assay_sd": 0.2}}}
    text = explorer.toml(given)
    assert "A6 with 1e+08" in text
    spec = make_spec(tomllib.loads(text))
    assert (spec.dose, spec.assay_sd, len(spec.arms)) == (5e7, 0.2, 4)
    assert spec.arms[1].rule.target.cells == 1e9
    assert spec.population == explorer.spec.population


def test_a_trial_without_changes_is_exported_as_it_was(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text(TEMPLATE)
    explorer = TrialExplorer(path)
    text = explorer.toml({"arms": {"A0": {}, "RISE": {}}})
    assert tomllib.loads(text) == {**tomllib.loads(TEMPLATE), "dose": 1e8}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "table of tables"),
        ({"arms": {"A1x": {}}}, "no arm 'A1x'"),
        ({"arms": {"RISE": {"celsl": 1}}}, "Did you mean 'cells'"),
        ({"arms": {"RISE": {"cells": "x"}}}, "cells of the arm"),
        ({"arms": {"RISE": {"cells": -1}}}, "positive"),
        ({"arms": {"RISE": {"dose": 0}}}, "dose of the arm"),
        ({"arms": {"A0": {}}, "patients": 0}, "from 1 to 5000"),
        ({"arms": {"A0": {}}, "patients": 2.5}, "whole number"),
    ],
)
def test_bad_questions_get_a_sentence(explorer, given, words):
    with pytest.raises(InputError, match=words):
        explorer.answer(given)


def test_facts_are_json_and_sliders_begin_as_specified(explorer):
    facts = json.loads(json.dumps(explorer.facts(), allow_nan=False))
    fields = {arm["name"]: {f["name"]: f["value"] for f in arm["fields"]} for arm in facts["arms"]}
    assert fields["A0"] == {"dose": 1e8}
    assert fields["A6"] == {"dose": 1e8, "assay_sd": 0.35}
    assert fields["RISE"]["cells"] == 3e9
    assert fields["RISE"]["rise"] == 0.1
    assert "every" not in fields["RISE"]  # its visits are days of its own
    assert facts["patients"] == 40


@pytest.mark.parametrize("more", [{"settings": "s.toml"}, {"data": "d.csv"}, {"options": {"a": "b"}}])
def test_what_is_for_models_is_refused(explorer, more):
    with pytest.raises(InputError, match="models"):
        open_server(Chosen(trial=explorer.path, **more))


# --- the page -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phone", [False, True])
def test_the_page_of_a_trial(open_page, violations, explorer, phone):
    page = open_page(Chosen(model=str(explorer.path)), phone=phone)
    page.wait("A.left === 0 && !asking.flight")
    assert page.status.startswith("40 patients")
    assert page.run("return $('body').rows.length") == 4
    assert (
        page.run("return [...$('p0').querySelectorAll('text')].filter(t => ARMS.has(t.textContent)).length")
        == 4
    )
    page.run("$('pin').click()")
    page.answered("const r = ARMS.get('A0').rows[0]; r.set(1e7); changed()")
    assert page.run("return A.arms[0].dose") == 1e7
    assert page.run("return $('body').rows.length") == 8
    page.answered("ARMS.get('OPEN').tick.click()")
    assert page.run("return A.arms.map(r => r.arm)") == ["A0", "RISE", "A6"]
    page.run("$('toml').click()")
    assert tomllib.loads(page.wait("$('text').textContent"))["dose"] == 1e7
    page.run("for (const d of document.querySelectorAll('details')) d.open = true")
    assert violations(page) == []
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    page.browser.refresh()
    page.wait("typeof A === 'object' && A && A.left === 0 && !asking.flight")
    assert page.run("return A.arms.map(r => [r.arm, r.dose])") == [["A0", 1e7], ["RISE", 1e8], ["A6", 1e8]]
    assert page.complaints() == []


def test_all_arms_of_the_library_have_sliders(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text(SMALL)
    explorer = TrialExplorer(path)
    facts = explorer.facts()
    assert len(facts["arms"]) == len(STANDARD)
    assert sum(arm["shown"] for arm in facts["arms"]) == trials.SHOWN
    assert all(arm["fields"][0]["name"] == "dose" for arm in facts["arms"])
    partial(json.dumps, allow_nan=False)(facts)
