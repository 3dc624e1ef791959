"""Controlled arms in specifications of trials, the template, the list of arms."""

from __future__ import annotations

import textwrap

import pytest

from fastcart.cli.command_line import main
from fastcart.errors import InputError
from fastcart.protocols import (
    STANDARD,
    Assays,
    Command,
    Controlled,
    Controller,
    LateMemory,
    OpenLoop,
    Promotion,
    Start,
    Target,
)
from fastcart.protocols.controlled_arms import ACTUATORS, MEMORY
from fastcart.protocols.controllers import TARGETS
from fastcart.trial.own_arms import KINDS
from fastcart.trial.spec import make_spec, read_spec
from fastcart.trial.template import listed_arms, write_template

RISE = {"name": "R", "kind": "controlled"}


def arm(**entries) -> Controlled:
    found = make_spec({"arms": ["A0", RISE | entries]}).arms[1]
    assert isinstance(found, Controlled)
    return found


def test_words_become_a_controller():
    rule = arm(target="RISE_TB", cells=1e9, memory="promote", factor=30, il6_hold=400.0).rule
    assert rule == Controller(target=Target(1e9, 0.1, 0.5), promotion=Promotion(factor=30.0), il6_hold=400.0)
    assert arm().rule == Controller(target=Target(3e9, 0.1, 0.0))
    assert arm(rise=0.2, burden_power=-0.5).rule.target == Target(3e9, 0.2, -0.5)
    assert arm(actuator="none").rule == Controller()
    assert arm(actuator="depletion").rule.deplete == "all"
    assert arm(actuator="graded").switch == "graded"
    late = arm(memory="extra", factor=5, memory_day=14, memory_burden=0)
    assert late.rule.memory == LateMemory(fraction=5.0, start=Start(day=14.0, burden=0.0))
    withheld = arm(memory="last")
    assert withheld.rule.memory == LateMemory(fraction=1.0)
    assert [(i.effectors, i.memory) for i in withheld.infusions] == [(1, 0)]


def test_how_a_clinic_measures_and_acts():
    found = arm(cells_sd=0.5, delay=2, lag=0, leak=0.1, visits=[1, 2.5])
    assert found.assays == Assays(cells_sd=0.5, delay=2.0)
    assert (found.lag, found.leak, found.visits) == (0.0, 0.1, (1.0, 2.5))


def test_a_rule_of_ones_own(tmp_path):
    code = "from fastcart.protocols import Command\n\ndef rule(history):\n    return Command(activity=0.5)\n"
    (tmp_path / "mine.py").write_text(code)
    spec = make_spec({"arms": ["A0", RISE | {"rule": "mine.py:rule"}]}, folder=tmp_path)
    assert isinstance(spec.arms[1], Controlled)
    assert spec.arms[1].rule(None) == Command(activity=0.5)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("return None", "must return a Command, not None"),
        ("return Command(activity=float('nan'))", "on day 0 the 'activity' nan; it must lie in"),
        ("return Command(activity=1.0 if history.day < 3 else 2.0)", "on day 3 the 'activity' 2;"),
        ("return Command(memory=float('inf'))", "the 'memory' inf; it must be a finite number from 0 on"),
        ("return Command(activity='half')", "'activity' as one number per patient, not 'half'"),
        ("raise SystemExit(3)", "asks to end the program"),
        ("return Command(activity=history.cells[:, 99])", "fails with IndexError"),
    ],
)
def test_a_bad_rule_is_told_before_anything_is_computed(body, sentence, tmp_path):
    code = f"from fastcart.protocols import Command\n\ndef rule(history):\n    {body}\n"
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(InputError, match=sentence):
        make_spec({"arms": ["A0", RISE | {"rule": "mine.py:rule"}]}, folder=tmp_path)


def test_arms_are_named_or_tables(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text(
        textwrap.dedent("""
        [[arms]]
        name = "OPEN"
        kind = "open-loop"
        of = "R"
        [[arms]]
        name = "A5"
        [[arms]]
        name = "R"
        kind = "controlled"
        """)
    )
    arms = read_spec(path).arms
    assert [a.name for a in arms] == ["A0", "OPEN", "A5", "R"]
    assert isinstance(arms[1], OpenLoop)
    assert arms[1].of == arms[3]
    # as before: names, and own arms by themselves
    assert [a.name for a in make_spec({}).arms] == [a.name for a in STANDARD]
    both = make_spec({"arms": ["A0", "R"], "arm": [RISE]}).arms
    assert [a.name for a in both] == ["A0", "R"]


def test_an_own_arm_is_listed_or_repeated():
    calendar = {"name": "B", "infusions": [{"day": 0, "effectors": 1, "memory": 1}]}
    for table in (RISE, calendar):
        with pytest.raises(
            InputError, match=f"arm '{table['name']}' .* not listed in 'arms'.*; list it there"
        ):
            make_spec({"arms": ["A0", "A5"], "arm": [table]})
    assert [a.name for a in make_spec({"arms": ["A5"], "control": "B", "arm": [calendar]}).arms] == [
        "B",
        "A5",
    ]
    loop = {"name": "O", "kind": "open-loop", "of": "R"}
    assert [a.name for a in make_spec({"arms": ["A0", "O"], "arm": [RISE, loop]}).arms] == ["A0", "O"]


@pytest.mark.parametrize("first", ['arms = ["A0", "A5"]\n', ""])
def test_two_ways_to_give_arms_do_not_mix(tmp_path, first):
    tables = '[[arms]]\nname = "A0"\n[[arms]]\nname = "R"\nkind = "controlled"\n'
    (tmp_path / "trial.toml").write_text(first + tables)
    if first:
        with pytest.raises(
            InputError, match=r"mixes two ways to give arms: .* or every arm as a table \[\[arms"
        ):
            read_spec(tmp_path / "trial.toml")
    else:
        assert [a.name for a in read_spec(tmp_path / "trial.toml").arms] == ["A0", "R"]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"target": "RISE"}, "There is no target 'RISE' of controlled arms"),
        ({"actuator": "switch"}, "There is no actuator 'switch'"),
        ({"memory": "later"}, "There is no memory 'later'"),
        ({"cells": -1.0}, "cells of a target must be positive"),
        ({"cells": "many"}, "'cells' of the arm 'R' must be a finite number, not 'many'"),
        ({"kind": "control"}, "There is no kind 'control' of arms for the arm 'R'.*'controlled'"),
        ({"rule": "lhm"}, "must be 'FILE.py:FUNCTION', not 'lhm'"),
        ({"visits": []}, "visits of the arm 'R' must be a list of days"),
        ({"cell": 1e9}, "There is no entry 'cell'"),
        ({"cells_sd": -1}, "cells_sd of an assay"),
        ({"kind": "open-loop", "of": "A0"}, "must name a controlled arm in 'of', not 'A0'"),
        ({"rise": 1e6}, "rise of a target must lie between -10 and 10"),
        ({"burden_power": -11}, "burden_power of a target must lie between -10 and 10"),
        ({"predictor": -1}, "predictor of a controller must lie between 0 and 2"),
        ({"predictor": float("inf")}, "predictor of a controller must be a finite number"),
        ({"il6_hold": 0}, "il6_hold of a controller must be positive, not 0"),
        ({"il6_guard": -300}, "il6_guard of a controller must be positive, not -300"),
        ({"memory": "promote", "memory_day": -5}, "day of a start must be positive, not -5"),
        ({"memory": "extra", "memory_burden": -1}, "burden of a start must be positive, not -1"),
        ({"visits": [1, 1]}, "at least a minute apart; 1 follows 1"),
        ({"visits": [1, 1.0001]}, "at least a minute apart; 1.0001 follows 1"),
        ({"visits": [0.0001]}, "after day 0, and at least a minute apart"),
        ({"actuator": "none", "cells": 1e9}, "'cells' of the arm 'R' does nothing where actuator = 'none'"),
        ({"factor": 10}, "'factor' of the arm 'R' does nothing where memory = 'first'"),
        ({"memory_day": 14}, "'memory_day' of the arm 'R' does nothing where memory = 'first'"),
    ],
)
def test_bad_entries_get_one_sentence(entries, sentence):
    with pytest.raises(InputError, match=sentence):
        make_spec({"arms": ["A0", RISE | entries]})


def test_an_open_loop_of_a_depletion_would_do_nothing():
    tables = [RISE | {"actuator": "depletion"}, {"name": "O", "kind": "open-loop", "of": "R"}]
    with pytest.raises(
        InputError, match="repeats the activity of the switch, which the arm 'R' never lowers"
    ):
        make_spec({"arms": ["A0", *tables]})


def test_the_template_is_a_specification(tmp_path, capsys):
    path = tmp_path / "trial.toml"
    assert main(["trial", "--init", str(path)]) == 0
    spec = read_spec(path)
    assert [type(a).__name__ for a in spec.arms] == ["Calendar", "Controlled", "OpenLoop", "Calendar"]
    # what it shows as defaults are those
    plain = make_spec({})
    for name in ("dose", "options", "noise_seed", "frontier", "seed", "power"):
        assert getattr(spec, name) == getattr(plain, name), name
    assert spec.population == plain.population
    with pytest.raises(InputError, match="is there already"):
        write_template(path)
    assert main(["trial", "--init", str(path)]) == 2
    assert main(["trial", str(path)]) == 2
    assert "needs its specification and --out" in capsys.readouterr().err


def test_all_arms_and_kinds_are_listed(capsys):
    assert main(["arms"]) == 0
    text = capsys.readouterr().out
    assert text.strip() == listed_arms()
    for name in (*(a.name for a in STANDARD), *KINDS, *TARGETS, *ACTUATORS, *MEMORY):
        assert f"    {name} " in text or f"    {name}\n" in text, name
