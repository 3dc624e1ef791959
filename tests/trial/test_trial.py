"""The simulated trial as a whole: counterfactuals, frontier, specification, report, command, resuming."""

from __future__ import annotations

import html
import html.parser
import itertools
import json
import math
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import slow_but

from fastcart.cli import main
from fastcart.errors import InputError
from fastcart.events import Event
from fastcart.protocols import get
from fastcart.trial.counterfactual import arm_course, solved_in_all
from fastcart.trial.course import OPTIONS
from fastcart.trial.frontier import check_doses, isotoxic
from fastcart.trial.outcomes import expected, outcomes
from fastcart.trial.spec import make_spec, read_spec

SPEC = """
title = "A <small> trial"
arms = ["A0", "A5", "B1"]
[population]
patients = 60
calibrate = false
seed = 4
[trial]
n_per_arm = 25
accrual = 365
cutoff = 900
dropout = 0.05
[power]
sizes = [20, 40]
replicates = 20
[frontier]
doses = [1e6, 1e7, 1e8, 1e9]
[[arm]]
name = "B1"
title = "Halves a week apart"
infusions = [{day = 0, effectors = "1/2", memory = 0.5}, {day = 7, effectors = 0.5, memory = 0.5}]
"""


@pytest.fixture(scope="module")
def population() -> pd.DataFrame:
    from fastcart.population import draws, sample

    table = sample(400, seed=11)
    luck = draws(table, seed=12)
    # the calibrated scale of the hazards is near the default
    return table.assign(U1=luck["U1"].to_numpy(), U2=luck["U2"].to_numpy())


@pytest.fixture(scope="module")
def courses(population) -> dict[str, pd.DataFrame]:
    return {
        name: arm_course(get(name), population) for name in ("A0", "A1", "A1h", "A2", "A3", "A4", "A5", "A6")
    }


# ---- population-level results of the specification


def test_orderings_of_the_arms(courses):
    """Section 10.4: rates of severe CRS and of remission fall in the same order of arms."""
    values = pd.DataFrame({name: expected(course) for name, course in courses.items()}).T
    for endpoint in ("crs3", "CR90"):
        ordered = values.loc[["A0", "A2", "A3", "A1", "A4", "A5"], endpoint]
        assert ordered.is_monotonic_decreasing, ordered
    # a hold that is asked on days 1 and 2 comes before anyone has CRS, and late doses do not matter
    assert values.loc["A1h", "crs3"] == pytest.approx(values.loc["A1", "crs3"], abs=0.005)
    assert values.loc["A6", "EFS730"] == pytest.approx(values.loc["A5", "EFS730"], abs=0.01)


def test_the_dissertations_claim_fails_in_the_default_model(courses, population):
    """At equal toxicity every schedule coincides with a smaller single dose."""
    arms = pd.DataFrame({name: expected(course) for name, course in courses.items()}).T
    doses = (1e6, 2.5e6, 5e6, 1e7, 2e7, 5e7, 1e8)
    scan = [{"dose": d, **expected(arm_course(get("A0"), population, dose=d))} for d in doses]
    table = isotoxic(arms, pd.DataFrame(scan))
    assert (table["gain_EFS730"].abs() < 0.015).all(), table
    assert table["dose"].is_monotonic_decreasing or table.loc["A5", "dose"] < table.loc["A0", "dose"]
    assert table.loc["A0", "gain_EFS730"] == pytest.approx(0, abs=1e-12)


def test_deaths_follow_the_luck_of_the_patient(courses, population):
    drawn = outcomes(courses["A0"])
    free = outcomes(courses["A0"], deaths=False)
    assert drawn["os_event"].mean() > 0.2
    assert not free["os_event"].any()
    assert (drawn["efs"] <= free["efs"] + 1e-9).all()
    assert solved_in_all(courses.values()).all()


# ---- frontier


def test_isotoxic_comparison_interpolates_the_single_dose():
    frontier = pd.DataFrame(
        {"dose": [1e6, 1e8, 1e7], "crs3": [0.2, 0.4, 0.3], "CR90": [0.5, 0.8, 0.7], "EFS730": [0.2, 0.5, 0.4],
         "OS730": [0.3, 0.6, 0.5], "crs4": 0.1, "toxic_death": 0.01}
    )  # fmt: skip
    arms = pd.DataFrame(
        {"crs3": [0.25, 0.4, 0.9], "CR90": [0.65, 0.8, 1], "EFS730": [0.3, 0.5, 1], "OS730": 0.5}
    ).assign(crs4=0.1, toxic_death=0.01)
    table = isotoxic(arms, frontier)
    assert table["dose"].iloc[:2].tolist() == pytest.approx([10**6.5, 1e8])
    assert table["gain_CR90"].iloc[:2].tolist() == pytest.approx([0.05, 0])
    assert table["gain_EFS730"].iloc[0] == pytest.approx(0)
    assert math.isnan(table["gain_CR90"].iloc[2])  # outside of what was scanned


@pytest.mark.parametrize("doses", [[1e6, 1e7], [1e6, 1e7, -1], [1e6, 1e6, 1e7], "many"])
def test_bad_frontiers(doses):
    with pytest.raises(InputError, match="frontier"):
        check_doses(doses)


# ---- specification


def test_a_specification_is_read_whole(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text(SPEC)
    spec = read_spec(path)
    assert [arm.name for arm in spec.arms] == ["A0", "A5", "B1"]
    assert spec.treatments == ("A5", "B1")
    assert spec.arms[2].infusions[0].effectors == 0.5
    assert spec.design.cutoff == 900
    assert spec.control.name == "A0"


def test_a_rule_of_the_users_own(tmp_path):
    (tmp_path / "rules.py").write_text("def mine(visit):\n    return 0.9, visit.burden * 0 + 1.0\n")
    table = {
        "arms": ["A0", "C1", "C2"],
        "arm": [
            {"name": "C1", "rule": "rules.py:mine", "start": {"effectors": 0.1}, "visits": [3]},
            {"name": "C2", "rule": "lhm", "rule_options": {"hold": 300.0, "escape": [9, 100]},
             "start": {"effectors": 0.1}, "visits": [3, 6, 9]},
        ],
    }  # fmt: skip
    spec = make_spec(table, folder=tmp_path)
    assert [arm.name for arm in spec.arms] == ["A0", "C1", "C2"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"arms": ["A0", "A9"]}, "There is no arm 'A9'"),
        ({"arms": ["A0"]}, "one arm"),
        ({"arms": ["A1", "A1"]}, "lists 'A1' twice"),
        ({"arms": "A0"}, "list of names"),
        ({"dose": -1}, "dose of the trial must be a positive"),
        ({"dosis": 1e8}, "There is no entry 'dosis' in the trial. Did you mean 'dose'"),
        ({"horizon": 100}, "at least 365 days"),
        ({"assay_sd": -1}, "must not be negative"),
        ({"trial": {"accrual": -5}}, "accrual must not be negative"),
        ({"trial": {"treatments": ["A9"]}}, "treatment 'A9' is not among"),
        ({"trial": {"alpha": 2}}, "alpha must lie between 0 and 1"),
        ({"trial": {"n": 20}}, r"no entry 'n' in the table \[trial\]"),
        ({"trial": {"block_sizes": 4}}, "must be a list"),
        ({"trial": 3}, r"table \[trial\] must be a table"),
        ({"power": {"sizes": []}}, "'sizes'"),
        ({"power": {"replicates": 0}}, "whole number from 1"),
        ({"frontier": {"doses": [1]}}, "at least three"),
        ({"population": {"het": -1}}, "het must not be negative"),
        ({"population": {"targets": {"CR90": 1.5}}}, "CR90"),
        ({"population": {"targets": {"CR91": 0.5}}}, "no target 'CR91'"),
        ({"population": {"people": 5}}, "no entry 'people'"),
        ({"arm": [{"name": "B", "infusions": [{"day": 0, "effectors": 0.5, "memory": 1}]}]}, "sum to 0.5"),
        (
            {"arm": [{"name": "B", "infusions": [{"day": 0, "effectors": 0.5, "memory": 1}]}]},
            "or set equal_budget = false for",
        ),
        ({"arm": [{"name": "B", "infusions": [{"effectors": 1, "memory": 1}]}]}, "needs an entry 'day'"),
        ({"arm": [{"name": "B", "infusions": [{"day": 0, "effectors": "half"}]}]}, "as '1/3', not 'half'"),
        ({"arm": [{"name": "B", "infusions": [{"day": 0, "cells": 1}]}]}, "no entry 'cells'"),
        ({"arm": [{"name": "B", "rule": "lmh", "visits": [3]}]}, "no rule 'lmh'.*Did you mean 'lhm'"),
        (
            {"arm": [{"name": "B", "rule": "lhm", "rule_options": {"x": 1}, "visits": [3]}]},
            "do not fit 'lhm'",
        ),
        ({"arm": [{"name": "B", "rule": "lhm"}]}, "visits of the arm 'B'"),
        (
            {"arm": [{"name": "B", "rule": "no.py:f", "visits": [3]}]},
            "no.py' is no file of Python, for it does not exist; check",
        ),
        (
            {"arm": [{"name": "a/b", "infusions": [{"day": 0, "effectors": 1, "memory": 1}]}]},
            "letters, digits",
        ),
        ({"arm": [{"infusions": []}]}, "'name'"),
    ],
)
def test_bad_specifications_get_one_sentence(change, sentence):
    with pytest.raises(InputError, match=sentence):
        make_spec({"arms": ["A0", "A5"], **change})


def test_manifests_know_the_options_of_rules():
    from fastcart.trial.run import manifest

    def of(hold: float) -> str:
        arm = {
            "name": "C",
            "rule": "lhm",
            "rule_options": {"hold": hold},
            "visits": [3],
            "start": {"effectors": 0.1},
        }
        return manifest(make_spec({"arms": ["A0", "C"], "arm": [arm]})).text()

    assert of(400.0) == of(400.0)
    assert of(400.0) != of(300.0)


# ---- how it is solved


def test_a_trial_is_solved_as_all_else_is(population):
    spec = make_spec({"arms": ["A0", "A5"], "horizon": 400, "solve": {"rtol": 1e-8, "max_steps": 5000}})
    assert (spec.options.rtol, spec.options.max_steps, spec.options.extinction) == (1e-8, 5000, 1.0)
    assert spec.horizon == spec.options.t_end == 400.0
    patients, one = population.head(40), get("A6")  # which asks a rule
    usual = arm_course(one, patients, t_end=60.0)
    same = arm_course(one, patients, options=replace(OPTIONS, t_end=60.0))
    pd.testing.assert_frame_equal(usual, same, check_exact=True)
    finer = arm_course(one, patients, options=replace(OPTIONS, t_end=60.0), rtol=1e-9)
    assert (finer["S28"] != usual["S28"]).any()
    np.testing.assert_allclose(finer["peak_C"], usual["peak_C"], rtol=1e-2)
    short = arm_course(get("A0"), patients, t_end=60.0, max_steps=5)
    assert (short["status"] == "failed").all()


def test_the_manifest_holds_options_that_are_not_the_usual_ones():
    from fastcart.trial.run import manifest

    def of(**solving) -> dict:
        return manifest(make_spec({"arms": ["A0", "A5"], "solve": solving})).as_dict()

    usual, finer = of(), of(rtol=1e-8, engine="lsoda")
    assert "solve" not in usual  # so that runs of before go on
    assert of(rtol=1e-5, extinction=1.0) == usual
    assert usual["begins_with"] == "rodas5p"
    assert finer == {**usual, "begins_with": None, "solve": {"engine": "lsoda", "rtol": 1e-8}}


@pytest.mark.parametrize(
    ("solving", "sentence"),
    [
        ({"rtool": 1e-8}, r"The trial: the table \[solve\] has no key 'rtool'. Did you mean 'rtol'"),
        ({"rtol": "small"}, r"'rtol' in \[solve\] must be a number, not 'small'"),
        ({"rtol": 1.0}, "must lie in"),
        ({"t_end": 900.0}, "has no key 't_end'"),
        ({"peaks": ["C"]}, "has no key 'peaks'"),
    ],
)
def test_bad_options_of_a_trial(solving, sentence):
    with pytest.raises(InputError, match=sentence):
        make_spec({"arms": ["A0", "A5"], "solve": solving})


def test_a_trial_looks_for_what_it_needs(population):
    for name, value in {
        "peaks": ["C"],
        "auc": ["C"],
        "breaks": [3.0],
        "events": [Event("x", "C", 1.0)],
    }.items():
        with pytest.raises(InputError, match=f"A trial takes no '{name}'"):
            arm_course(get("A0"), population, **{name: value})
    with pytest.raises(InputError, match=r"A trial has no option 'rtool'\. Did you mean 'rtol'"):
        arm_course(get("A0"), population, rtool=1e-5)


# ---- the command, the report, resuming


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href"):
                self.sources.append(value)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr("fastcart.trial.figures.make_figures", lambda *_, **__: [])


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trial")
    (folder / "trial.toml").write_text(SPEC)
    assert main(["trial", str(folder / "trial.toml"), "--out", str(folder / "out")]) == 0
    return folder / "out"


def test_the_report_is_one_whole_page(finished):
    text = (finished / "report.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert "A &lt;small&gt; trial" in text
    # nothing comes from elsewhere: pictures are inside, links stay in the page
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in page.sources)
    assert not re.findall(r"(?:src|href)=['\"]http", text)
    pictures = list((finished / "figures").glob("*.svg"))
    assert text.count("<figure>") == text.count("<svg ") == len(pictures) == 7
    assert page.tags.count("table") >= len(pictures)
    for phrase in (
        "Not observable in a real trial", "Limits and doubts", "Virtual patients", "giving less",
        "CD19- of relapses", "CD19+ relapse", "5 % of the marrow", "with replacement",
        "one trial as it might have come out", "Truth in this model", "Primary endpoint", "Holm",
    ):  # fmt: skip
        assert phrase in text
    assert text.count("<li>") >= 8  # every limit of the specification


def test_the_report_can_be_read_by_everyone(finished):
    """Every picture has words, every table a caption, ids are of one thing, headings do not leap."""
    text = (finished / "report.html").read_text()
    assert text.count("<caption>") >= text.count("<table>") - 1  # how it was made has a heading of its own
    for head in re.findall(r"<svg [^>]*>", text):
        assert "role='img'" in head
        assert len(re.search(r"aria-label='([^']*)'", head)[1]) > 40
    ids = re.findall(r"\bid=['\"]([^'\"]+)", text)
    assert len(ids) == len(set(ids))
    for target in re.findall(r"(?:href=['\"]#|url\(#)([^'\")]+)", text):
        assert target in ids
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", text)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert text.count("<h1") == 1
    assert "<html lang='en'>" in text


def test_one_trial_stands_beside_the_truth(finished):
    tests = pd.read_csv(finished / "tables" / "tests.csv")
    arms = pd.read_csv(finished / "tables" / "arms.csv", index_col="arm")
    assert (tests.groupby("treatment")["endpoint"].first() == "EFS24").all()
    first = tests[tests["treatment"] == "A5"].set_index("endpoint")
    assert first.loc["EFS24", "truth"] == pytest.approx(arms.loc["A5", "EFS730"] - arms.loc["A0", "EFS730"])
    assert first["role"].tolist() == ["primary", *["secondary"] * 5]
    assert np.isnan(first.loc["EFS24", "p_holm"])
    known = first["p_holm"].notna()
    assert (first.loc[known, "p_holm"] >= first.loc[known, "p"] - 1e-12).all()


def test_the_primary_endpoint_is_named_in_the_specification():
    assert make_spec({"arms": ["A0", "A5"]}).primary == "EFS24"
    assert make_spec({"arms": ["A0", "A5"], "trial": {"primary": "CR90"}}).primary == "CR90"
    with pytest.raises(InputError, match="primary endpoint must be one of EFS24"):
        make_spec({"arms": ["A0", "A5"], "trial": {"primary": "EFS12"}})


def test_a_primary_endpoint_that_nobody_reaches_is_refused():
    short = {"arms": ["A0", "A5"], "horizon": 500}
    told = (
        "EFS24 is that of day 730, but patients are followed for 500 days; set horizon = 730, or in .* CR90"
    )
    with pytest.raises(InputError, match=told):
        make_spec({**short, "trial": {"primary": "EFS24"}})
    assert make_spec(short).primary == "EFS24"  # the usual one: the trial may be run for the others
    assert make_spec({**short, "trial": {"primary": "crs3"}}).primary == "crs3"
    assert make_spec({**short, "horizon": 730, "trial": {"primary": "OS24"}}).primary == "OS24"


def test_a_cut_off_before_the_primary_endpoint_is_told():
    from fastcart.trial.primary import unseen
    from fastcart.trial.randomize import Design

    assert unseen("EFS24", 730.0, Design()) is None
    assert unseen("EFS24", 730.0, Design(accrual=365, cutoff=1000)) is None  # who enters first is seen
    told = unseen("EFS24", 730.0, Design(accrual=100, cutoff=600))
    assert told is not None
    assert told.startswith(
        "The primary endpoint EFS24 is that of day 730, but the data are cut off on day 600"
    )
    assert "set cutoff = 730 or later (830 to see it in all who enter), or in [trial] the primary one" in told
    assert told.endswith("one of CR90, crs3, crs4, toxic_death.")
    assert str(unseen("OS24", 730.0, Design(cutoff=60))).endswith("one of crs3, crs4, toxic_death.")
    assert str(unseen("CR90", 730.0, Design(cutoff=20))).endswith("set cutoff = 90 or later.")
    assert "followed for 500 days" in str(unseen("EFS24", 500.0, Design(cutoff=400)))  # the horizon first


def test_in_short_tells_what_is_followed():
    """Where follow-up is short, survival at 12 months, and gains in what is seen; without a verdict."""
    from fastcart.trial.report_words import in_short

    shares = {"CR90": 0.7, "crs3": 0.3, "toxic_death": 0.02, "EFS365": 0.5, "OS365": 0.8,
              "EFS730": np.nan, "OS730": np.nan}  # fmt: skip
    control = {**shares, "crs3": 0.4, "EFS365": 0.6, "OS365": 0.803}
    arms = pd.DataFrame([{"title": "single", **control}, {"title": "mine", **shares}], index=["A0", "B"])
    ends = {"": 0.01, "_low": -0.02, "_high": 0.03}
    gains = {f"gain_{name}{end}": value for end, value in ends.items() for name in ("CR90", "crs4")}
    gains |= {f"gain_{name}{end}": np.nan for end in ends for name in ("EFS730", "OS730")}
    gains |= {f"gain_toxic_death{end}": 0.0 for end in ends}
    row = pd.DataFrame([{"dose": 1e7, "unjudged": 0.0, **gains}], index=["B"])
    spec = SimpleNamespace(control=SimpleNamespace(name="A0"))
    words = in_short(SimpleNamespace(arms=arms, isotoxic=row, spec=spec), "B")
    assert (
        "Of 100 patients treated so, 10 fewer are alive without relapse at 12 months, 10 fewer have" in words
    )
    assert "remission +1.0 (-2.0 to +3.0); CRS of grade 4 or more +1.0" in words
    assert "not followed to 24 months, so that survival then is not compared, and no verdict" in words
    assert "nan" not in words
    row["gain_CR90_low"] = np.nan
    words = in_short(SimpleNamespace(arms=arms, isotoxic=row, spec=spec), "B")
    assert "So the gain of +1.0 points of remission has no interval." in words


def test_shares_and_their_difference_add_up_for_a_reader():
    """As a reader subtracts what is shown, so many of 100 patients fare otherwise."""
    from fastcart.trial.report_words import _of_hundred, instead_of

    assert instead_of(0.36, 0.46) == "36 % instead of 46 %"
    assert instead_of(0.3551, 0.4641) == "35.5 % instead of 46.4 %"  # 11 fewer, where 36 and 46 say 10
    assert instead_of(0.454, 0.456) == "45.4 % instead of 45.6 %"  # nobody of 100
    assert instead_of(0.046, 0.124) == "4.6 % instead of 12.4 %"
    rng, other = np.random.default_rng(3), dict.fromkeys(("EFS730", "OS730", "toxic_death"), np.nan)
    for one, two in rng.uniform(0, 1, (500, 2)):
        shown = [float(number) for number in re.findall(r"([\d.]+) %", instead_of(one, two))]
        told = re.search(r"(\d+) (?:more|fewer) reach", _of_hundred(
            {"CR90": one, "crs3": np.nan, **other}, {"CR90": two, "crs3": np.nan, **other}
        ))  # fmt: skip
        assert abs(abs(shown[0] - shown[1]) - (int(told[1]) if told else 0)) < 0.5, (one, two, shown)


def test_the_frontier_shows_survival_that_is_followed():
    from fastcart.trial.figures import frontier_figure

    shares = {"crs3": [0.1, 0.3, 0.5], "CR90": [0.4, 0.6, 0.8], "EFS365": [0.3, 0.5, 0.6], "EFS730": np.nan}
    scan = pd.DataFrame({"dose": [1e6, 1e7, 1e8], **shares})
    arms = pd.DataFrame(shares, index=pd.Index(["A0", "A1", "A5"], name="arm"))
    gains = pd.DataFrame(
        dict.fromkeys(("crs3", "dose", "frontier_CR90", "gain_CR90", "frontier_EFS730", "gain_EFS730"), 0.1),
        index=arms.index,
    )
    for horizon, label in ((500.0, "Event-free at 12 months (%)"), (730.0, "Event-free at 24 months (%)")):
        result = SimpleNamespace(
            spec=SimpleNamespace(horizon=horizon), arms=arms, frontier=scan, isotoxic=gains
        )
        figure, table = frontier_figure(result)
        assert figure.axes[1].get_ylabel() == label
        drawn = np.concatenate([line.get_ydata() for line in figure.axes[1].lines])
        assert np.isfinite(drawn).all() == (horizon < 730)
        assert ("gain_EFS730" in table) == (horizon >= 730)


def test_the_tables(finished):
    arms = pd.read_csv(finished / "tables" / "arms.csv", index_col="arm")
    assert list(arms.index) == ["A0", "A5", "B1"]
    np.testing.assert_allclose(arms["effectors_infused"] + arms["memory_infused"], 1e8, rtol=1e-8)
    every = pd.read_parquet(finished / "tables" / "outcomes.parquet")
    assert every.groupby("arm").size().tolist() == [60, 60, 60]
    trials = pd.read_parquet(finished / "tables" / "trials.parquet")
    assert trials.groupby("treatment").size().tolist() == [50, 50]
    power = pd.read_csv(finished / "tables" / "power.csv")
    assert set(power["treatment"]) == {"A0", "A5", "B1"}
    assert {"wilson_low", "exact_low"} <= set(pd.read_csv(finished / "tables" / "proportions.csv"))


def _tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "tables").iterdir())}


def test_a_killed_run_goes_on_to_the_same_tables(finished, tmp_path, monkeypatch, no_figures):
    import fastcart.trial.run as module

    spec = str(finished.parent / "trial.toml")
    real, calls = module.arm_course, []

    def killed(arm, *args, **options):
        calls.append(arm.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(arm, *args, **options)

    monkeypatch.setattr(module, "arm_course", killed)
    out = tmp_path / "out"
    assert main(["trial", spec, "--out", str(out)]) == 130
    assert not (out / "report.html").exists()
    calls.append("resumed")
    assert main(["trial", spec, "--out", str(out), "--resume"]) == 0
    assert calls.count("A0") == 1 + 4  # the first arm was not solved again; the frontier has four doses
    assert _tables(out) == _tables(finished)


def test_a_run_goes_on_with_the_same_options_only(finished, tmp_path, capsys, no_figures):
    out, spec = tmp_path / "out", str(finished.parent / "trial.toml")
    shutil.copytree(finished, out)
    assert main(["trial", spec, "--out", str(out), "--resume", "--rtol", "1e-7", "--engine", "lanes"]) == 2
    said = capsys.readouterr().err
    assert "solve.rtol is not given there and 1e-07 now" in said
    assert "solve.engine is not given there" in said
    assert main(["trial", spec, "--out", str(out), "--resume", "--t-end", "300"]) == 2
    assert "at least 365 days" in capsys.readouterr().err
    assert main(["trial", spec, "--out", str(out), "--resume", "--rtol", "1e-5"]) == 0
    assert _tables(out) == _tables(finished)


def test_adding_an_arm_changes_no_other_number(finished, tmp_path, no_figures):
    text = (finished.parent / "trial.toml").read_text()
    spec = tmp_path / "more.toml"
    spec.write_text(text.replace('["A0", "A5", "B1"]', '["A0", "A1", "A5", "B1"]'))
    assert main(["trial", str(spec), "--out", str(tmp_path / "out")]) == 0
    for name, keys in (
        ("arms", "arm"),
        ("contrasts", "treatment"),
        ("power", "treatment"),
        ("isotoxic", "arm"),
    ):
        one = pd.read_csv(finished / "tables" / f"{name}.csv")
        more = pd.read_csv(tmp_path / "out" / "tables" / f"{name}.csv")
        more = more[more[keys] != "A1"].reset_index(drop=True)
        pd.testing.assert_frame_equal(one, more, check_exact=True)


def test_bad_requests_end_with_code_2(finished, tmp_path, capsys):
    bad = tmp_path / "bad.toml"
    bad.write_text('arms = ["A0", "A9"]')
    assert main(["trial", str(bad), "--out", str(tmp_path / "x")]) == 2
    assert not (tmp_path / "x").exists()
    error = capsys.readouterr().err
    assert error.startswith("fastcart: There is no arm 'A9'")
    assert error.count("\n") == 1
    assert main(["trial", str(tmp_path / "none.toml"), "--out", str(tmp_path / "x")]) == 2
    assert "none.toml' does not exist; check the path" in capsys.readouterr().err
    # a folder that holds a run is not overwritten unasked
    assert main(["trial", str(finished.parent / "trial.toml"), "--out", str(finished)]) == 2
    assert "--resume" in capsys.readouterr().err


def test_targets_that_cannot_be_met_say_so(tmp_path, capsys):
    spec = tmp_path / "trial.toml"
    spec.write_text(
        'arms = ["A0", "A5"]\n[population]\nsample = 60\npatients = 20\n'
        "[population.targets]\nCR90 = 0.8\nt_peak_T = 5000\n"
    )
    assert main(["trial", str(spec), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "t_peak_T" in error
    assert "Traceback" not in error


def test_the_manifest_holds_what_results_depend_on(finished):
    content = json.loads((finished / "manifest.json").read_text())
    assert content["kind"] == "trial"
    assert content["spec"]["seed"] == 2024
    assert content["arms"]["B1"]["infusions"][1]["day"] == 7
    assert str(Path(sys.prefix)) not in json.dumps(content)


# ---- experiments of the specification


def test_isotoxic_comparison_needs_toxicity_that_rises_with_the_dose():
    frontier = pd.DataFrame({"dose": [1e6, 1e7, 1e8], "crs3": [0.2, 0.5, 0.4], "CR90": 0.5, "EFS730": 0.5})
    others = {"OS730": 0.5, "crs4": 0.1, "toxic_death": 0.01}
    arms = pd.DataFrame({"crs3": [0.3], "CR90": [0.5], "EFS730": [0.5], **others})
    assert isotoxic(arms, frontier.assign(**others)).filter(like="gain").isna().all(axis=None)
    # doses from 1e6 to 1e8 are equally toxic, but do not do the same; at 1e9 it is clear
    frontier = pd.DataFrame(
        {"dose": [1e6, 1e7, 1e8, 1e9], "crs3": [0.3, 0.302, 0.304, 0.4], "CR90": [0.5, 0.6, 0.7, 0.8]}
    ).assign(EFS730=0.5, **others)
    arms = pd.DataFrame({"crs3": [0.302, 0.4], "CR90": [0.7, 0.8], "EFS730": 0.5, **others})
    gains = isotoxic(arms, frontier)["gain_CR90"]
    assert math.isnan(gains[0])
    assert gains[1] == pytest.approx(0)


# ---- trials of few patients, short follow-up


SMALL = """
arms = ["A0", "A5"]
horizon = 400
[population]
patients = 40
sample = 300
seed = 4
[population.targets]
CR90 = 0.75
toxic_death = 0.02
OS12 = 0.7
[trial]
n_per_arm = SIZE
randomization = "simple"
accrual = 100
cutoff = 300
seed = SEED
[power]
sizes = [1, 4]
replicates = 20
[frontier]
doses = [1e6, 1e7, 1e9]
"""


def words_of(report: Path) -> str:
    text = re.sub(
        r"<style>.*?</style>|<svg .*?</svg>|data:image/png;base64,[A-Za-z0-9+/=]+",
        "",
        report.read_text(),
        flags=re.S,
    )
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


@pytest.mark.parametrize(("size", "seed"), slow_but([(1, 2024)], [(1, 2024), (4, 2)], several=True))
def test_trials_of_few_patients_get_a_report(tmp_path, monkeypatch, capsys, size, seed):
    """An arm may be empty, without events, or not followed to the horizon: figures, no warning."""
    monkeypatch.setattr("fastcart.trial.figures.DPI", 40)
    spec = tmp_path / "trial.toml"
    spec.write_text(SMALL.replace("SIZE", str(size)).replace("SEED", str(seed)))
    assert main(["trial", str(spec), "--out", str(tmp_path / "out")]) == 0
    words = words_of(tmp_path / "out" / "report.html")
    assert " nan" not in words.lower()
    told = "40 virtual patients are few: with 40 others of the same kind, a share of an arm may come out"
    assert told in " ".join(words.split())
    said = capsys.readouterr().out
    assert told in said
    assert "event-free at 12 months" in words
    assert "Patients are not followed to 24 months" in words
    unseen = "The primary endpoint EFS24 is that of day 730, but patients are followed for 400 days"
    assert unseen in said
    assert unseen in words
    assert re.search(
        r"\d+ of 20 replicates with 1 patients per arm \(A5\) have an arm without patients", words
    )
    tables = tmp_path / "out" / "tables"
    trials = pd.read_parquet(tables / "trials.parquet")
    contrasts = pd.read_csv(tables / "contrasts.csv", keep_default_na=False)
    empty = len(set(trials["treated"])) == 1
    assert empty == (size == 1)  # with these seeds
    if empty:
        assert (contrasts["note"] == "no patient in the treatment arm").all()
        assert "The trial of A5 has no patient in the treatment arm: nothing can be compared." in words
    survival = pd.read_csv(tables / "survival.csv")
    assert survival.loc[survival["day"] == 365, ["survival", "low", "high"]].isna().all(axis=None)
    power = pd.read_csv(tables / "power.csv")
    assert (power.loc[power["n_per_arm"] == 1, "empty_arm"] > 0).all()


def test_the_report_says_what_treated_patients_reach(tmp_path, no_figures):
    spec = tmp_path / "trial.toml"
    spec.write_text(
        SMALL.replace("SIZE", "20").replace("SEED", "3").replace("horizon = 400", "horizon = 730")
    )
    assert main(["trial", str(spec), "--out", str(tmp_path / "out")]) == 0
    words = words_of(tmp_path / "out" / "report.html")
    assert "Weighted sample, as if nobody died" in words
    assert "Treated patients, with deaths" in words
    arms = pd.read_csv(tmp_path / "out" / "tables" / "arms.csv", index_col="arm")
    row = re.search(r"CR within 90 days\s+0\.75\s+0\.75\s+([\d.]+)", words)
    assert float(row[1]) == pytest.approx(arms.loc["A0", "CR90"], abs=6e-4)
    # numbers needed in words, for a benefit and for a harm
    notes = pd.read_csv(tmp_path / "out" / "tables" / "contrasts.csv", keep_default_na=False)["note"]
    needed = notes[notes.str.startswith("NN")]
    assert len(needed) == 5
    assert needed.str.fullmatch(
        r"(NNT|NNH) (infinity|[\d.]+) \(95 % interval: (NNT|NNH) [\d.]+ to "
        r"(infinity( to (NNT|NNH) [\d.]+)?|[\d.]+)\)"
    ).all()
    assert all(text in words for text in needed)


def test_what_the_calibration_was_for_is_solved_where_no_arm_is_it(tmp_path, no_figures):
    """Half of the dose in every arm: what the treated reach of the targets is still of the whole one."""
    spec = tmp_path / "trial.toml"
    text = SMALL.replace("SIZE", "20").replace("SEED", "3").replace("horizon = 400", "horizon = 730")
    spec.write_text(text)
    halves = tmp_path / "halves.toml"
    halves.write_text("dose = 5e7\n" + text)
    found = []
    for path, out in ((spec, "whole"), (halves, "half")):
        assert main(["trial", str(path), "--out", str(tmp_path / out)]) == 0
        words = words_of(tmp_path / out / "report.html")
        found.append(re.search(r"CR within 90 days\s+0\.75\s+0\.75\s+([\d.]+)", words)[1])
    assert found[0] == found[1]


def test_the_seed_of_a_trial_decides_its_bootstrap(finished, tmp_path, no_figures):
    text = (finished.parent / "trial.toml").read_text()
    spec = tmp_path / "other.toml"
    spec.write_text(text.replace("[trial]", "[trial]\nseed = 5"))
    assert main(["trial", str(spec), "--out", str(tmp_path / "out")]) == 0
    one, other = (
        pd.read_csv(folder / "tables" / "isotoxic.csv", index_col="arm")
        for folder in (finished, tmp_path / "out")
    )
    point = [f"gain_{name}" for name in ("CR90", "EFS730", "OS730")]
    pd.testing.assert_frame_equal(one[point], other[point], check_exact=True)
    limits = [f"{name}_{end}" for name in point for end in ("low", "high")]
    known = one.loc["B1", limits].notna()
    assert known.any()
    assert (one.loc["B1", limits][known] != other.loc["B1", limits][known]).any()
    for name in point:
        inside = one[[f"{name}_low", name, f"{name}_high"]].dropna().to_numpy()
        assert (np.diff(inside, axis=1) >= -1e-12).all()
