"""A second model in a trial: leukemia, effectors, memory, a marker of toxicity, and nothing of ``b_all``."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numba import njit

from fastcart import Model, Observable, State
from fastcart.errors import InputError
from fastcart.models import for_trial, get
from fastcart.population import Inputs, Marginal, Population, Prior, draws, sample
from fastcart.protocols import Infusion, Switched, on_off
from fastcart.protocols import get as get_arm
from fastcart.trial.adapter import Hazard, Measure, Recovery, TrialAdapter
from fastcart.trial.counterfactual import arm_course
from fastcart.trial.outcomes import outcomes
from fastcart.trial.run import run_spec
from fastcart.trial.spec import make_spec, read_spec

SPEC = {
    "title": "A small trial of a small model",
    "model": "small.py:ADAPTER",
    "arms": ["A0", "A3"],
    "trial": {"n_per_arm": 20},
    "power": {"sizes": [20], "replicates": 10},
    "frontier": {"doses": [1e6, 1e7, 1e8]},
    "population": {"folder": "people"},
}


@njit
def small_rhs(t, y, p):
    """Blasts that grow, effectors that blasts drive, memory, a marker of their fight, and its hazard."""
    blasts, effectors, memory, marker, risk = y
    growth, kill, expand, death, rest, heat, deadly, fM = p
    met = blasts / (blasts + 1e9)
    fight = effectors * met
    return (
        growth * blasts - kill * effectors * blasts / (blasts + effectors + 1e9),
        expand * fight + 0.1 * met * memory - (death + rest) * effectors,
        rest * effectors - 0.1 * met * memory,
        heat * fight - marker,
        deadly * marker / (1000.0 + marker),
    )


@njit
def smaller_rhs(t, y, p):
    """The same without a parameter for the share of memory cells in a product."""
    growth, kill, expand, death, rest, heat, deadly = p
    return small_rhs(t, y, (growth, kill, expand, death, rest, heat, deadly, 0.0))


@njit
def small_observe(t, y, p):
    return (y[1] + y[2],)


def engraft(patients, effectors, memory, *, D=1e8):
    share = patients["fM"].to_numpy()
    return 0.1 * D * effectors * (1 - share), 0.1 * D * memory * share


SMALL = Model(
    "small",
    [
        State("blasts", "cells", 1e11, log=True, extinction=True),
        State("effectors", "cells", 0.0, scale=1.0),
        State("memory", "cells", 0.0, scale=1.0),
        State("marker", "1", 0.0, scale=1e-2),
        State("risk", "1", 0.0, scale=1e-3),
    ],
    {"growth": 0.05, "kill": 1.0, "expand": 1.2, "death": 0.3, "rest": 0.02, "heat": 1e-8, "deadly": 0.01,
     "fM": 0.3},
    small_rhs,
    observables=(Observable("car_t", "cells"),),
    observe=small_observe,
    burden="blasts",
    t_end=365.0,
)  # fmt: skip
ADAPTER = TrialAdapter(
    model=SMALL,
    disease="small leukemia",
    burden=Measure("blasts"),
    cells=Measure("car_t", ("effectors", "memory")),
    marker=Measure("marker"),
    grades=(100.0, 300.0, 1000.0, 3000.0),
    entry=("effectors", "memory"),
    engraft=engraft,
    toxic=Hazard("risk", "deadly"),
    limits=("It is a toy.",),
)


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 40
    table = pd.DataFrame(
        {
            "patient": np.arange(n),
            "source": np.arange(n),
            "blasts": 10 ** rng.normal(10.5, 0.6, n),
            "growth": rng.uniform(0.03, 0.08, n),
            "heat": 1e-8 * 10 ** rng.normal(0, 0.5, n),
            "fM": rng.uniform(0.2, 0.5, n),
        }
    )
    luck = draws(n, seed=3)
    return table.assign(U1=luck["U1"].to_numpy(), U2=luck["U2"].to_numpy())


@pytest.fixture
def folder(tmp_path, people):
    Population(people, {"of": "the test"}).save(tmp_path / "people")
    (tmp_path / "small.py").write_text(f"from {__name__} import ADAPTER\n")
    return tmp_path


def test_a_trial_of_a_second_model_from_specification_to_report(folder, people):
    spec = make_spec(SPEC, folder=folder)
    assert spec.adapter is ADAPTER
    report = run_spec(spec, folder / "run", progress=False)
    text = report.read_text(encoding="utf-8")
    assert "small leukemia" in text
    assert "It is a toy." in text
    assert not re.search("IL-6|niche|B-cell leukemia|dissertation|CD19|marrow|children", text)
    assert "relapses" not in text  # no cell of it loses a target
    assert "with replacement" in text
    arms = pd.read_csv(folder / "run" / "tables" / "arms.csv").set_index("arm")
    assert arms["CR90"].between(0.05, 1.0).all()
    assert arms["effectors_infused"].nunique() == 1  # the same cells, at other times
    assert arms["CR90"].nunique() == 2
    assert arms["toxic_death"].between(1e-4, 0.5).all()
    assert (folder / "run" / "tables" / "trials.parquet").is_file()


def test_the_course_of_a_second_model_says_what_its_own_solution_says(people):
    from fastcart import solve

    course = arm_course(get_arm("A0"), people, model=ADAPTER, t_end=365.0, dose=1e8)
    doses = ADAPTER.infusions(people, [(0.0, 1.0, 1.0)], D=1e8)
    inputs = people[["patient", "blasts", "growth", "heat", "fM"]]
    path = solve(
        SMALL, inputs, doses=doses, t_end=365.0, rtol=1e-8, extinction=1.0,
        save_at=np.r_[np.arange(0, 60, 0.1), np.arange(60, 365.5, 0.5)],
    ).trajectories  # fmt: skip
    marker = path["marker"].to_numpy().reshape(len(people), -1)
    blasts = path["blasts"].to_numpy().reshape(len(people), -1)
    np.testing.assert_allclose(course["peak_C"], marker.max(axis=1), rtol=5e-3)
    np.testing.assert_allclose(course["t_CR"].isna() | np.isinf(course["t_CR"]), (blasts > 1e8).all(axis=1))
    np.testing.assert_allclose(course["S0"], people["blasts"])
    found = outcomes(course)
    assert set(found["relapse_type"]) <= {"", "CD19+"}
    assert not found["leukemia_death"].any()
    assert (course["final_R"] == 0).all()
    assert np.isinf(course["t_B_recovery"]).all()


def test_a_rule_sees_the_burden_and_the_marker_of_a_second_model(people):
    seen = []

    def rule(visit):
        seen.append((visit.burden.copy(), visit.il6.copy()))
        return 1.0 - visit.effectors_total, 1.0 - visit.memory_total

    arm = replace(get_arm("A6"), name="mine", rule=rule, visits=(4.0,))
    course = arm_course(arm, people, model=ADAPTER, t_end=60.0, noise_seed=None)
    assert (course["status"] == "ok").all()
    assert (seen[0][0] > 0).all()
    assert (seen[0][1] > 0).all()  # a tenth of the effectors had been given


def test_what_a_model_cannot_do_is_said(people):
    with pytest.raises(InputError, match="'X8' lymphodepletes, which the model 'small' does not know"):
        arm_course(get_arm("X8"), people, model=ADAPTER, t_end=60.0)
    arm = Switched(name="S", infusions=(Infusion(0, 1, 1),), switch=on_off(400.0, 150.0))
    with pytest.raises(InputError, match="'S' needs a CAR with a switch, which the model 'small' has not"):
        arm_course(arm, people, model=ADAPTER, t_end=60.0)
    with pytest.raises(InputError, match="baseline in the column 'L'"):
        arm_course(get_arm("X12"), people, model=ADAPTER, t_end=60.0)
    with pytest.raises(InputError, match=r"'li_lei': it has no adapter\. Shipped with one: b_all"):
        for_trial("li_lei")
    with pytest.raises(InputError, match="it has no adapter"):
        for_trial(7)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"burden": Measure("blast")}, "no state or observable 'blast'. Did you mean 'blasts'"),
        ({"cells": Measure("car_t")}, "no state 'car_t'"),
        ({"entry": ("effectors", "M")}, "no state 'M'"),
        ({"toxic": Hazard("marks", "deadly")}, "no state 'marks'"),
        ({"grades": (1.0, 2.0, 2.0, 3.0)}, "four levels that rise"),
    ],
)
def test_bad_adapters_get_one_sentence(change, sentence):
    with pytest.raises(InputError, match=sentence):
        replace(ADAPTER, **change)


def test_a_bad_adapter_of_a_specification_gets_one_sentence(folder):
    (folder / "other.py").write_text("ADAPTER = 3\n")
    with pytest.raises(InputError, match="must be a TrialAdapter"):
        make_spec({**SPEC, "model": "other.py:ADAPTER"}, folder=folder)
    with pytest.raises(InputError, match="The adapter of the trial is not there"):
        make_spec({**SPEC, "model": "nowhere.py:ADAPTER"}, folder=folder)


def test_a_population_of_another_model_is_refused(folder):
    with pytest.raises(InputError, match="one of the model 'b_all'; for 'small' give the folder"):
        make_spec({**SPEC, "population": {"patients": 30}}, folder=folder)


def test_patients_of_a_second_model_are_drawn_from_a_prior_of_its_own():
    inputs = Inputs(
        "small", {"growth": (0.0, 1.0), "fM": (0.0, 1.0)}, initial={"B0": "blasts"}, constants={"heat": 1e-8}
    )
    prior = Prior((Marginal("B0", 1e10, 0.5, "log10"), Marginal("fM", 0.3, 0.2, "logit")), inputs=inputs)
    table = sample(200, seed=1, prior=prior)
    assert table.columns.tolist() == ["patient", "blasts", "fM", "heat"]
    assert np.median(table["blasts"]) == pytest.approx(1e10, rel=0.1)
    assert (arm_course(get_arm("A0"), table.head(5), model=ADAPTER, t_end=30.0)["status"] == "ok").all()
    with pytest.raises(InputError, match="'L0' names nothing that varies in small"):
        Prior((Marginal("L0", 1e10, 0.5, "log10"),), inputs=inputs)


def test_variants_of_b_all_have_adapters():
    plain, lag = for_trial("b_all"), for_trial(get("b_all", growth_lag=2.0))
    assert plain.entry == ("E", "M")
    assert lag.entry == ("E_lag", "M_lag")
    assert lag.cells.states == ("E", "M", "X", "E_lag", "M_lag")
    assert for_trial(plain) is plain


def reworded(folder, **changes):
    """Write an adapter of other words and no limits into the folder; return the specification."""
    told = ", ".join(f"{name}={value}" for name, value in changes.items())
    (folder / "small.py").write_text(
        f"from dataclasses import replace\nfrom {__name__} import ADAPTER as OTHER\n"
        f"from fastcart.trial.adapter import Measure\n"
        f"ADAPTER = replace(OTHER, limits=(), {told})\n"
    )
    return SPEC


def test_reports_take_the_words_of_the_adapter(folder):
    given = reworded(
        folder, disease="'a lump'", escaped="Measure('memory')", antigen="'GD2'", organ="'gland'"
    )
    text = run_spec(make_spec(given, folder=folder), folder / "run", progress=False).read_text("utf-8")
    for words in ("GD2- of relapses", "of kind GD2- where", "one in 10 000 of the gland", "GD2- relapse"):
        assert words in text, words
    assert not re.search("CD19|marrow|leukemia|Limits", text)  # no empty heading, no link to it


def test_what_a_trial_lacks_is_said_at_once(folder, people):
    Population(people.drop(columns="fM"), {}).save(folder / "people")
    (folder / "small.py").write_text(
        "from dataclasses import replace\nimport fastcart\n"
        f"from {__name__} import ADAPTER as OTHER, SMALL, engraft\n"
        "def mine(patients, effectors, memory, *, D):\n"
        "    return engraft(patients, effectors, memory, D=D * patients.vigor * patients['age'])\n"
        "states = [replace(state, extinction=False) for state in SMALL.states]\n"
        "ADAPTER = replace(OTHER, model=SMALL.replace(states=states), engraft=mine)\n"
    )
    (folder / "trial.toml").write_text(
        'model = "small.py:ADAPTER"\narms = ["A0", "A3"]\n[population]\nfolder = "people"\n'
    )
    for ask in (
        lambda: read_spec(folder / "trial.toml"),
        lambda: run_spec(folder / "trial.toml", folder / "x"),
    ):
        with pytest.raises(InputError, match="lacks 2 things") as told:
            ask()
        assert "extinction=True" in str(told.value)
        assert "columns 'vigor', 'age', 'fM'" in str(told.value)
    assert not (folder / "x").exists()


def test_arms_that_a_model_cannot_have_are_refused_before_anything_is_computed(folder):
    spec = make_spec({**SPEC, "arms": ["A0", "X8", "X12"]}, folder=folder)
    with pytest.raises(InputError, match=r"'X8' lymphodepletes, .*; \(2\) .*column 'L'"):
        run_spec(spec, folder / "run", progress=False)
    assert not (folder / "run").exists()


def test_patients_need_no_share_of_memory_cells_where_nothing_reads_it(people):
    names = [name for name in SMALL.parameter_names if name != "fM"]
    model = Model(
        "smaller", SMALL.states, {name: SMALL.defaults()[name] for name in names}, smaller_rhs,
        observables=SMALL.observables, observe=small_observe, burden="blasts", t_end=365.0,
    )  # fmt: skip
    half = replace(ADAPTER, model=model, engraft=lambda patients, E, M, *, D: (0.05 * D * E, 0.05 * D * M))
    course = arm_course(get_arm("A0"), people.drop(columns="fM").head(5), model=half, t_end=60.0)
    assert (course["status"] == "ok").all()
    assert course[["effectors_infused", "memory_infused"]].isna().all(axis=None)


def test_a_refused_trial_leaves_nothing_and_names_the_line(folder):
    (folder / "rules.py").write_text("def mine(visit):\n    shift = 1\n    return visit.nothing, shift\n")
    mine = {"name": "mine", "rule": "rules.py:mine", "visits": [7], "start": {"effectors": 0.2}}
    spec = make_spec({**SPEC, "arms": ["A0", "mine"], "arm": [mine]}, folder=folder)
    with pytest.raises(InputError, match=r"fails with AttributeError: .*\(line 3 of rules\.py\)\."):
        run_spec(spec, folder / "run", progress=False)
    assert not (folder / "run").exists()
    (folder / "rules.py").write_text("def mine(visit):\n    return 0.8, 1\n")
    mended = make_spec({**SPEC, "arms": ["A0", "mine"], "arm": [mine]}, folder=folder)
    assert run_spec(mended, folder / "run", progress=False).is_file()


def test_engraftment_that_fails_is_the_users(people):
    def fails(patients, effectors, memory, *, D):
        return patients["zeal"] * D, D

    with pytest.raises(
        InputError, match=r"'fails' of the adapter fails with KeyError: .*line \d+ of test_ad"
    ):
        arm_course(get_arm("A0"), people, model=replace(ADAPTER, engraft=fails), t_end=60.0)
    three = replace(ADAPTER, engraft=lambda patients, E, M, *, D: (D, D, D))
    with pytest.raises(InputError, match="must return the effector and the memory cells that engraft"):
        arm_course(get_arm("A0"), people, model=three, t_end=60.0)


def test_other_functions_of_an_adapter_that_fail_are_the_users(people):
    def fails(*given, **named):
        return given[0]["zeal"]

    for change, arm, what in (
        ({"recovery": Recovery("memory", fails)}, "A0", "level of recovery"),
        ({"lymphocytes": "memory", "lymphodeplete": fails}, "X8", "lymphodepletion"),
    ):
        with pytest.raises(InputError, match=rf"The {what} of the adapter fails with KeyError: .*line \d+"):
            arm_course(get_arm(arm), people, model=replace(ADAPTER, **change), t_end=60.0)
