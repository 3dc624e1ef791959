"""Specifications with comments, which commands write to begin with: they hold, and so do their comments."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastcart.cli import main
from fastcart.fit import read
from fastcart.fit import spec as fit_spec
from fastcart.fit.simulated import BINS
from fastcart.fit.template import TEMPLATE as FIT
from fastcart.scanning import spec as scan_spec
from fastcart.scanning.template import TEMPLATE as SCAN

TABLE = "ID,TIME,DV,DVID,CENS\n1,2,300,1,0\n1,9,9000,1,0\n2,2,200,1,0\n2,9,50,1,1\n"


def all_entries(template: str, *but: str) -> str:
    """Return a template with its further entries, without comments."""
    rest = re.sub(r"^# (?=(?:\w+ = |\[))", "", template, flags=re.MULTILINE)
    return "".join(line for line in rest.splitlines(keepends=True) if not line.startswith(but))


@pytest.mark.parametrize("command", ["scan", "fit", "trial"])
def test_a_command_writes_a_file_once(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([command, "--init", "new.toml"]) == 0
    assert capsys.readouterr().out == "Specification: new.toml\n"
    before = Path("new.toml").read_bytes()
    assert main([command, "--init", "new.toml"]) == 2
    assert "'new.toml' is there already; give another name." in capsys.readouterr().err
    assert Path("new.toml").read_bytes() == before
    assert main([command, "--init", "nowhere/new.toml"]) == 2
    assert "cannot be written: No such file or directory." in capsys.readouterr().err
    for given, missing in (
        (["new.toml"], "--out"),
        (["--out", "run"], "SPEC.toml"),
        ([], "SPEC.toml, --out"),
    ):
        if command == "trial":
            assert main([command, *given]) == 2
            told = "A trial needs its specification and --out FOLDER; --init FILE writes one."
        else:
            with pytest.raises(SystemExit, match="2"):
                main([command, *given])
            told = f"arguments are required: {missing}; --init FILE writes a specification; see"
        assert told in capsys.readouterr().err
    assert not Path("run").exists()


def test_the_scan_that_is_written_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["scan", "--init", "scan.toml"]) == 0
    assert main(["scan", "scan.toml", "--out", "run", "--quiet"]) == 0
    Path("all.toml").write_text(all_entries(SCAN, "patients = ", "keep = ").replace("n = 1000", "n = 10"))
    given = scan_spec.read_spec(Path("all.toml"))
    assert set(given) >= {"doses", "events", "chunk", "outputs", "peaks", "auc"}
    assert main(["scan", "all.toml", "--out", "all", "--quiet"]) == 0


def test_the_fit_that_is_written_holds(tmp_path):
    (tmp_path / "patients.csv").write_text(TABLE)
    (tmp_path / "fit.toml").write_text(FIT)
    (tmp_path / "least.toml").write_text(
        'model = "cart_kinetics"\ndata = "patients.csv"\nobservables = {1 = "cells"}\n'
        '[[observation]]\ndvid = "cells"\nprediction = "cells"\nerror = "lognormal"\n'
        '[population]\nrandom = ["foldx", "Tmax", "Cmax", "alpha", "FB", "beta"]\n'
    )
    shown, least = (fit_spec.read_spec(tmp_path / name) for name in ("fit.toml", "least.toml"))
    assert (shown.bins, shown.replicates, shown.patients, shown.title, shown.observations) == (
        BINS, least.replicates, least.patients, least.title, least.observations
    )  # fmt: skip
    assert {**shown.population, "fixed": ()} == {**least.population, "fixed": ()}
    assert read(shown.data, shown.model, **shown.reading).kinds == ("cells",)
    (tmp_path / "all.toml").write_text(all_entries(FIT))
    every = fit_spec.read_spec(tmp_path / "all.toml")
    assert every.designs is not None
    assert every.population["starts"] == {"Cmax": 2e4, "omega_Cmax": 0.5}
    assert every.reading["lag"] == {"depot": "tlag"}
