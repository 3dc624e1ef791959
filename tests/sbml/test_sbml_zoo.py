"""Published CAR-T models as SBML files, where these are at hand: states agree with libRoadRunner."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("libsbml")

from sbml_suite import InPython

from fastcart.sbml import load
from fastcart.sbml.document import read

FOLDER = Path(os.environ.get("FASTCART_SBML_ZOO", "/nowhere"))
FILES = sorted(FOLDER.glob("*.xml"))
END = 20.0

pytestmark = pytest.mark.skipif(not FILES, reason="FASTCART_SBML_ZOO names no folder of SBML files")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_states_agree(path: Path):
    roadrunner = pytest.importorskip("roadrunner", reason="libRoadRunner is not installed")
    times = np.linspace(0.0, END, 21)
    model, source = load(path, t_end=END), read(path)
    names = [x for x in model.state_names if not x.startswith("_")]
    runner = roadrunner.RoadRunner(str(path))
    runner.integrator.relative_tolerance, runner.integrator.absolute_tolerance = 1e-10, 1e-14
    runner.integrator.maximum_num_steps = 1_000_000
    asked = [f"[{x}]" if x in source.species and not source.species[x].by_amount else x for x in names]
    try:
        theirs = np.array(runner.simulate(0.0, END, len(times), asked))
    except RuntimeError as error:
        pytest.skip(f"libRoadRunner fails: {error}")
    ours = InPython(model, 1e-10).solve(times)
    for name, column in zip(names, theirs.T, strict=True):
        size = np.abs(column).max()
        np.testing.assert_allclose(ours[name], column, rtol=1e-6, atol=1e-6 * size, err_msg=name)
