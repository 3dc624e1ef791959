"""Searches and fronts draw themselves, and the command writes the pictures beside the tables."""

from __future__ import annotations

import numpy as np
import pytest
from figure_layout import cut_off

import fastcart
from fastcart.cli import main
from fastcart.errors import InputError

MODEL = "li_lei_coarse"
VARIED = {"TE": (1e5, 1e7, "log"), "TM": (10, 1e3)}


def told(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.filterwarnings("ignore:.*plateau")
def test_a_search_draws_its_way():
    found = fastcart.optimize(MODEL, VARIED, seed=1, particles=8, iterations=4)
    figure = found.plot(model=fastcart.models.get(MODEL))
    (axes,) = figure.axes
    assert axes.get_ylabel() == "Progression-free survival (days)\nmore is better"
    assert axes.lines[0].get_ydata()[-1] == found.best["objective"][0]
    assert axes.lines[0].get_xdata()[-1] == found.best["evaluations"][0]
    assert told(figure)[0] == "best point so far"
    assert cut_off(figure) == []
    several = fastcart.optimize(
        MODEL, VARIED, for_each={"C": [1e6, 2e6]}, seed=1, particles=8, iterations=2, goal="minimize",
        objective="final_C",
    )  # fmt: skip
    figure = several.plot()
    assert told(figure) == ["C 1e+06", "C 2e+06"]
    assert figure.axes[0].get_ylabel() == "final_C\nless is better"


def test_what_keeps_no_constraint_is_not_drawn():
    found = fastcart.optimize(
        MODEL, VARIED, seed=1, particles=8, iterations=2, constraints="pfs >= 1e6"
    )  # fmt: skip
    (axes,) = found.plot().axes
    assert axes.get_title("left") == "no point keeps all constraints"
    assert np.isnan(axes.lines[0].get_ydata()).all()


@pytest.mark.parametrize("loaded", [False, True])
def test_a_front_draws_itself(tmp_path, loaded):
    pytest.importorskip("pymoo")
    goals = {"pfs": "maximize", "TE + TM": "minimize", "final_C": "minimize"}
    found = fastcart.pareto(MODEL, VARIED, objectives=goals, particles=12, iterations=3, seed=1)
    if loaded:
        found.save(tmp_path / "front")
        found = fastcart.load(tmp_path / "front")
    figure = found.plot(model=fastcart.models.get(MODEL))
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "TE + TM\nless is better", "final_C (cells)\nless is better",
    ]  # fmt: skip
    assert {axes.get_xlabel() for axes in figure.axes} == {"Progression-free survival (days)\nmore is better"}
    points = figure.axes[0].lines[0].get_xydata()
    assert sorted(points[:, 0]) == sorted(found.front["pfs"])
    empty = type(found)(found.front[:0], found.endpoints[:0], 0, found.options)
    with pytest.raises(InputError, match="no point"):
        empty.plot()


def test_the_command_writes_the_pictures(tmp_path, capsys):
    pytest.importorskip("pymoo")
    command = ["optimize", MODEL, "--vary", "TE=1e5:1e7:log", "--vary", "TM=10:1e3", "--seed", "1"]
    command += ["--particles", "8", "--iterations", "2", "--out"]
    assert main([*command, str(tmp_path / "one")]) == 0
    assert f"Picture: {tmp_path / 'one' / 'history.png'}" in capsys.readouterr().out
    assert (tmp_path / "one" / "history.svg").is_file()
    goals = ["--maximize", "pfs", "--minimize", "TE + TM"]
    assert main([*command, str(tmp_path / "two"), *goals]) == 0
    assert (tmp_path / "two" / "front.png").read_bytes().startswith(b"\x89PNG")
    # tables only; those of before are not left beside them
    assert main([*command, str(tmp_path / "one"), "--no-plots", "--force"]) == 0
    assert not list((tmp_path / "one").glob("history.png"))
    assert "Picture" not in capsys.readouterr().out.splitlines()[-1]
