"""CAR-T models in SBML, where they are at hand: an independent solution, and libRoadRunner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("libsbml")

from sbml_equations import Equations
from sbml_suite import InPython

import fastcart
from fastcart.sbml import load
from fastcart.sbml.document import read

EVENTS = ["BIOMD0000001019", "BIOMD0000001020"]
PLAIN = [
    "BIOMD0000000837", "BIOMD0000001011", "BIOMD0000001012", "BIOMD0000001013", "BIOMD0000001014",
    "BIOMD0000001024", "BIOMD0000001025", "BIOMD0000001041", "MODEL2009230001", "MODEL2109110006",
]  # fmt: skip
LOGARITHM = "MODEL2109110005"  # of a state that falls below 1e-100: what solves the state itself fails
END = 20.0
TIMES = np.linspace(0.0, END, 21)


def agree(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], within: float = 1e-6) -> None:
    for name, column in theirs.items():
        size = np.abs(column).max()
        np.testing.assert_allclose(ours[name], column, rtol=within, atol=within * size, err_msg=name)


@pytest.mark.parametrize("name", PLAIN)
def test_states_agree_with_an_independent_solution(references: Path, name: str):
    path = references / "sbml_zoo" / f"{name}.xml"
    model = load(path, t_end=END)
    values = model.defaults()
    stops = [values[x] if isinstance(x, str) else x for x in model.breaks]
    logs = [state.name for state in model.states if state.log]
    agree(InPython(model, 1e-10).solve(TIMES), Equations(path).solve(TIMES, breaks=stops, logarithm=logs))


def test_a_state_whose_logarithm_is_taken_falls_by_a_hundred_decades(references: Path):
    path = references / "sbml_zoo" / f"{LOGARITHM}.xml"
    model = load(path, t_end=END)
    assert [state.name for state in model.states if state.log] == ["U"]
    stops = [model.defaults()[x] for x in model.breaks]
    exact = Equations(path).solve(TIMES, breaks=stops, logarithm=["U"])
    assert exact["U"][-1] < 1e-100
    patients = {"T_max": [9.3, 8.4, 10.2], "d": [7e-4, 6.3e-4, 7.7e-4]}
    result = fastcart.solve(model, patients, rtol=1e-10, save_at=TIMES, threads=1)
    assert result.summary() == {"ok": 3}
    first = result.trajectories.iloc[: len(TIMES)]
    agree({x: first[x].to_numpy() for x in exact}, exact)
    np.testing.assert_allclose(np.log(first["U"]), np.log(exact["U"]), rtol=1e-7)


@pytest.mark.parametrize("name", [*PLAIN, *EVENTS])
def test_states_agree_with_libroadrunner(references: Path, name: str):
    roadrunner = pytest.importorskip("roadrunner", reason="libRoadRunner is not installed")
    path = references / "sbml_zoo" / f"{name}.xml"
    model, source = load(path, t_end=END), read(path)
    names = [x for x in model.state_names if not x.startswith("_")]
    runner = roadrunner.RoadRunner(str(path))
    runner.integrator.relative_tolerance, runner.integrator.absolute_tolerance = 1e-10, 1e-14
    runner.integrator.maximum_num_steps = 1_000_000
    asked = [f"[{x}]" if x in source.species and not source.species[x].by_amount else x for x in names]
    theirs = np.array(runner.simulate(0.0, END, len(TIMES), asked))
    agree(InPython(model, 1e-10).solve(TIMES), dict(zip(names, theirs.T, strict=True)))
