"""The help of ``fastcart reproduce`` says which flags a work has, and so does the refusal of another one."""

from __future__ import annotations

import inspect

import pytest

from fastcart.cli import main
from fastcart.papers import WORKS, get

CHOICES = ("figures", "sample", "quick")


@pytest.mark.parametrize("name", WORKS)
def test_the_flags_of_a_work_are_those_of_its_function(name):
    takes = inspect.signature(get(name)).parameters
    assert sorted(WORKS[name].options) == sorted(flag for flag in CHOICES if flag in takes)


def test_the_help_and_the_refusal_name_them(tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["reproduce", "--help"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    place = next(k for k, line in enumerate(lines) if line.startswith("srct "))
    assert lines[place + 1] == "with --sample, --quick"
    assert main(["reproduce", "t-cell-theories", "--quick", "--out", str(tmp_path / "o")]) == 2
    assert "'t-cell-theories' has no option --quick; srct has it." in capsys.readouterr().err
