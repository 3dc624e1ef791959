"""What all models share is compiled ahead of time, once."""

from __future__ import annotations

import pytest

from fastcart import DosingSchedule, InputError, solve
from fastcart.ahead import compile_ahead
from fastcart.cli import main
from fastcart.solvers.compile import announcements


def test_what_is_compiled_ahead_is_at_hand_afterwards():
    compile_ahead(1)
    said: list[str] = []
    compile_ahead(1, said.append)
    assert said == []


def test_the_loop_of_lsoda_is_at_hand_whatever_is_watched_and_given():
    compile_ahead(1)
    doses = DosingSchedule().infusion(1.0, "cart", 1.0, duration=2.0)
    said: list[str] = []
    with announcements(said.append):
        found = solve("carrgo", engine="lsoda", doses=doses, peaks=["cancer"], save_at=[0, 5], t_end=5)
    assert found.endpoints["status"].eq("ok").all()
    assert not [words for words in said if "loop" in words]


def test_the_command(capsys):
    assert main(["compile", "--states", "1"]) == 0
    assert capsys.readouterr().out == ""


def test_bad_numbers_of_states():
    with pytest.raises(InputError, match="number of states"):
        compile_ahead(0)
    assert main(["compile", "--states", "0"]) == 2
