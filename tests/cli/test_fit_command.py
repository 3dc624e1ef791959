"""The command ``fastcart fit``: a report, on after a kill, bad input in one sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import drawn_as_pixels
from fit_models import line_table

from fastcart.cli import main
from fastcart.fit.keeping import Keeper

pytest.importorskip("matplotlib")

SPEC = """
title = "Straight lines"
model = "lines.py:LINE"
data = "lines.csv"
virtual_patients = 20

[[observation]]
dvid = "y"
prediction = "a + b * t"
error = "additive"

[population]
random = ["a", "b"]
scales = { a = "normal", b = "normal" }
iterations = [32, 10]
accuracy = 1.0
draws = 1024

[[start]]
a = 3.0

[checks]
replicates = 100
bins = 4

[designs]
quantity = "a + b * t"
at = 12.0
always = [0.0, 1.0]
candidates = [4.0, 9.0]
further = 2
patients = 20
"""


@pytest.fixture
def folder(tmp_path):
    table = line_table(12, measurements=5).assign(DVID="y")
    table["DV"] += 0.3 * np.random.default_rng(1).standard_normal(len(table))
    table.to_csv(tmp_path / "lines.csv", index=False)
    (tmp_path / "lines.py").write_text("from fit_models import LINE\n", encoding="utf-8")
    (tmp_path / "fit.toml").write_text(SPEC, encoding="utf-8")
    return tmp_path


@drawn_as_pixels()
def test_a_fit_goes_on_after_a_kill_to_the_same_files(folder, capsys, monkeypatch):
    spec, whole, other = str(folder / "fit.toml"), folder / "whole", folder / "killed"
    assert main(["fit", spec, "--out", str(whole)]) == 0
    assert "-2 ln L" in capsys.readouterr().out
    writes = Keeper.keep

    def killed(self, number, arrays):
        writes(self, number, arrays)
        raise KeyboardInterrupt

    monkeypatch.setattr(Keeper, "keep", killed)
    assert main(["fit", spec, "--out", str(other)]) == 130
    assert not (other / "report.md").exists()
    monkeypatch.undo()
    assert main(["fit", spec, "--out", str(other)]) == 2
    assert "use --resume to go on" in capsys.readouterr().err
    assert main(["fit", spec, "--out", str(other), "--resume"]) == 0
    for name in ("estimates", "individuals", "predictive_check", "diagnostics", "virtual_patients"):
        file = f"tables/{name}.csv"
        assert (other / file).read_bytes() == (whole / file).read_bytes()
    text = (whole / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# Straight lines")
    assert (other / "report.md").read_text(encoding="utf-8") == text
    figures = {path.name for path in (whole / "figures").iterdir()}
    assert len(figures) == 3 * 8
    for name in figures:
        assert f"figures/{name.split('.')[0]}.png" in text
        assert name.split(".")[1] in ("png", "svg", "pdf")
        assert (other / "figures" / name).read_bytes() == (whole / "figures" / name).read_bytes()
    estimates = pd.read_csv(whole / "tables" / "estimates.csv", index_col="parameter")
    schedules = pd.read_csv(whole / "tables" / "designs.csv", index_col="schedule")
    assert set(schedules.index) == {"none of them", "4", "9", "4 + 9"}
    assert schedules.index[0] == "4 + 9"
    assert schedules.loc["4 + 9", "visits"] == 4
    assert "expected posterior standard deviation" in text
    # all lines are parallel: the spread of slopes goes to nothing, and errors of their mean are not given
    assert estimates.loc["a", "low"] < 7.5 < estimates.loc["a", "high"]
    assert estimates.loc["b", "estimate"] == pytest.approx(-0.5, abs=0.05)
    assert estimates.loc[["b", "omega_b"], "says"].tolist() == ["spread at zero", "not identifiable"]
    assert np.isnan(estimates.loc["b", "se"])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('error = "additive"', 'error = "addditive"', "must be one of additive"),
        ('random = ["a", "b"]', 'random = ["a", "q"]', "has no parameter or state 'q'"),
        ('data = "lines.csv"', 'data = "nothing.csv"', "is no file"),
        ("bins = 4", "bins = 0", "must be a whole number from 1 on"),
        ("[checks]", "[checkz]", "no entry 'checkz'"),
        ('data = "lines.csv"', 'dat = "lines.csv"', "no entry 'dat' in the fit. Did you mean 'data'?"),
        ('data = "lines.csv"', "", "The fit has no entry 'data', which it needs; give a text."),
        ("[[observation]]", "[[observations]]", "no entry 'observations' in the fit. Did you mean 'obs"),
        ("[population]", "[populaton]", "no entry 'populaton' in the fit. Did you mean 'population'?"),
        ('dvid = "y"', 'dvd = "y"', "no entry 'dvd' in an [[observation]]. Did you mean 'dvid'?"),
        ("random = [", "randm = [", "no entry 'randm' in the table [population]. Did you mean 'random'?"),
        ("quantity = ", "quantiti = ", "in the table [designs]. Did you mean 'quantity'?"),
        ('model = "lines.py:LINE"', 'model = "lines.py:NONE"', "has no 'NONE'. Did you mean 'LINE'?"),
        ("iterations = [32, 10]", "iterations = 64", "must be two numbers"),
        ("candidates = [4.0, 9.0]", "candidates = [4.0, -9.0]", "must be a list of times from 0 on"),
        ("candidates = [4.0, 9.0]", "", "The table [designs] needs schedules"),
        ('quantity = "a + b * t"', 'quantity = "a + q"', "uses 'q', which is no state, parameter"),
        ("further = 2", "limit = -1", "must be above 0"),
    ],
)
def test_bad_input_is_one_sentence(folder, capsys, old, new, sentence):
    assert old in SPEC
    (folder / "fit.toml").write_text(SPEC.replace(old, new), encoding="utf-8")
    assert main(["fit", str(folder / "fit.toml"), "--out", str(folder / "out")]) == 2
    text = capsys.readouterr().err
    assert sentence in text
    assert len(text.strip().splitlines()) == 1
    assert not (folder / "out").exists()
