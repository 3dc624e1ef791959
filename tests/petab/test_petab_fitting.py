"""Fits of problems: the answer in closed form, bounds, seeds, profiles; the command."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import petab_problems
import pytest

pytest.importorskip("petab")
pytest.importorskip("libsbml")

import fastcart.petab
from fastcart.cli import main

PARAMETERS = [
    petab_problems.PARAMETERS[0], "k1\tlog10\t0.01\t10\t0.8\t1", "sd\tlog10\t0.0001\t10\t0.2\t1",
    "k2\tlin\t0\t1\t0\t0",
]  # fmt: skip
CONDITIONS = ["conditionId", "plain"]
OBSERVABLES = [petab_problems.OBSERVABLES[0], "a\tA\tsd\tlog\tnormal"]
TIMES, LOGS = np.array([1.0, 2.0, 3.0, 4.0]), np.array([-0.75, -1.3, -2.2, -2.7])
MEASUREMENTS = [
    "observableId\tsimulationConditionId\tmeasurement\ttime",
    *(f"a\tplain\t{math.exp(y)!r}\t{t}" for t, y in zip(TIMES, LOGS, strict=True)),
]
RATE = -(TIMES @ LOGS) / (TIMES @ TIMES)  # A = exp(-k1 t): a line through 0
SPREAD = math.sqrt(((LOGS + RATE * TIMES) ** 2).mean())


def decay(folder, **changed):
    tables = {
        "parameters": PARAMETERS, "conditions": CONDITIONS, "observables": OBSERVABLES,
        "measurements": MEASUREMENTS,
    }  # fmt: skip
    return petab_problems.write(folder, **{**tables, **changed})


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    return fastcart.petab.load(decay(tmp_path_factory.mktemp("petab")), threads=1).fit(starts=8, seed=1)


def test_the_optimum_is_that_of_the_line(fit):
    np.testing.assert_allclose(fit.problem.natural(fit.theta)[0], [RATE, SPREAD], rtol=1e-5)
    best = 4 * (0.5 + math.log(SPREAD * math.sqrt(2.0 * math.pi))) + LOGS.sum()
    assert fit.objective == pytest.approx(best, rel=1e-9)
    assert fit.problem.objective(fit.theta) == pytest.approx(best, rel=1e-9)


def test_the_waterfall_has_all_starts_the_best_first(fit):
    table = fit.waterfall()
    assert len(table) >= 8
    assert table["objective"].is_monotonic_increasing
    assert table["objective"].iloc[0] == fit.objective


def test_the_standard_error_is_that_of_the_line(fit):
    error = SPREAD / math.sqrt(TIMES @ TIMES)
    assert fit.table().set_index("parameter").loc["k1", "se"] == pytest.approx(error, rel=1e-3)


def test_the_same_seed_gives_the_same_fit(fit):
    again = fit.problem.fit(starts=8, seed=1)
    assert (again.theta == fit.theta).all()


def test_bounds_hold(tmp_path):
    rows = [PARAMETERS[0], PARAMETERS[1].replace("\t10\t", "\t0.5\t").replace("0.8", "0.4"), *PARAMETERS[2:]]
    bound = fastcart.petab.load(decay(tmp_path, parameters=rows), threads=1).fit(starts=4, seed=1)
    assert bound.problem.natural(bound.theta)[0, 0] == pytest.approx(0.5, rel=1e-12)


def test_the_profile_is_that_of_the_line(fit):
    table = fit.problem.profile(fit, "k1", points=9).table()
    for place, rise in table[["place", "rise"]].to_numpy():
        spread = math.sqrt(((LOGS + place * TIMES) ** 2).mean())
        if 1e-4 < spread < 10:
            assert rise == pytest.approx(8 * math.log(spread / SPREAD), rel=1e-4, abs=1e-6)


def test_the_command(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = decay(tmp_path)
    assert main(["petab", str(path), "--out", str(tmp_path / "out"), "--starts", "4", "--threads", "1"]) == 0
    assert "objective" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "tables" / "waterfall.csv")
    assert table["k1"].iloc[0] == pytest.approx(RATE, rel=1e-4)
    drawn = sorted(path.name for path in (tmp_path / "out" / "figures").iterdir())
    assert drawn == [
        f"{name}.{kind}" for name in ("simulations", "waterfall") for kind in ("pdf", "png", "svg")
    ]
    assert (tmp_path / "out" / "figures" / "waterfall.png").stat().st_size > 1000
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["starts"] == 4


SQUARE = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model id="square">
<listOfParameters>
<parameter id="A" value="1" constant="false"/><parameter id="k1" constant="true"/></listOfParameters>
<listOfRules><rateRule variable="A"><math xmlns="http://www.w3.org/1998/Math/MathML">
<apply><times/><ci>k1</ci><ci>A</ci><ci>A</ci></apply></math></rateRule></listOfRules></model></sbml>
"""


def test_an_optimum_beside_a_blow_up(tmp_path):
    """A = 1 / (1 - k1 t) is measured as 1e5 at time 1: beside it, by 1e-4, it has been infinite."""
    parameters = [petab_problems.PARAMETERS[0], "k1\tlog10\t0.5\t2\t0.99998\t1"]
    problem = fastcart.petab.load(
        petab_problems.write(
            tmp_path, model=SQUARE, parameters=parameters, conditions=CONDITIONS,
            observables=[petab_problems.OBSERVABLES[0], "a\tA\t0.1\tlog\tnormal"],
            measurements=[MEASUREMENTS[0], "a\tplain\t1e5\t1"],
        ),
        threads=1,
    )  # fmt: skip
    k = 0.99998
    residual = (math.log(1e5) + math.log(1.0 - k)) / 0.1
    slope = -residual / 0.1 * k / (1.0 - k) * math.log(10.0)
    assert problem.gradient()[0] == pytest.approx(slope, rel=1e-5)
    found = problem.fit(starts=1, nominal=True)
    assert found.fit.minima.how[0] != "failed"  # the nominal point
    assert 1.0 - 10 ** found.theta[0] == pytest.approx(1e-5, rel=1e-3)
