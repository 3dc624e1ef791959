"""An optimizer is one file and one line: a toy one, added as a user's own would be."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

import fastcart
from fastcart import InputError, Model, State
from fastcart.cli import main
from fastcart.optimization.methods import METHODS, find

TOY = """
import numpy as np
from fastcart.optimization.methods.base import Optimizer
from fastcart.optimization.progress import Progress
from fastcart.optimization.ranking import ordered
from fastcart.optimization.swarm import generator


class Chance(Optimizer):
    name = "chance"
    least = 3

    def run(self, search, evaluate):
        space, size = search.space, search.settings.particles
        progress = Progress(space.problems, space.dimensions, search.stop)
        streams = [generator(search.seed, k) for k in range(space.problems)]
        for _ in range(search.iterations):
            rows = np.flatnonzero(~progress.stopped)
            unit = np.stack([streams[k].random((size, space.dimensions)) for k in rows])
            points = space.repair(space.to_natural(unit, rows), rows)
            progress.update(rows, points, ordered(evaluate(rows, points), points.shape[:2]))
        return progress


METHOD = Chance()
"""


@njit
def rhs(t, y, p):
    return (-p[0] * y[0],)


MODEL = Model("decay", [State("C", default=1.0)], {"rate": 1.0}, rhs, t_end=1.0)


@pytest.fixture
def chance(tmp_path, monkeypatch):
    (tmp_path / "chance_of_my_own.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(METHODS, "chance", "chance_of_my_own")


def test_a_new_optimizer_is_one_file_and_one_line(chance, tmp_path):
    options = dict(
        variables={"C": (1.0, 9.0)}, constraints="C <= 8", objective="final_C", method="chance", particles=20,
        iterations=10, seed=1, engine="scipy", out=tmp_path / "out",
    )  # fmt: skip
    found = fastcart.optimize(MODEL, **options)
    assert 7.5 < found.best["C"].iloc[0] <= 8
    assert found.best["objective"].iloc[0] == pytest.approx(found.best["C"].iloc[0] * np.exp(-1), rel=1e-5)
    (tmp_path / "out" / "batches" / "000004.npz").unlink()
    again = fastcart.optimize(MODEL, **options, resume=True)
    assert again.history.equals(found.history)


def test_a_new_optimizer_is_asked_for_everywhere(chance, capsys):
    with pytest.raises(InputError, match="The method 'chance' needs at least 3 particles, not 2"):
        fastcart.optimize(MODEL, {"C": (1.0, 9.0)}, method="chance", particles=2, seed=1)
    with pytest.raises(InputError, match=r"There is no method 'chanc'\. Did you mean 'chance'"):
        fastcart.optimize(MODEL, {"C": (1.0, 9.0)}, method="chanc", seed=1)
    with pytest.raises(SystemExit):
        main(["optimize", "--help"])
    assert "chance" in capsys.readouterr().out


def test_every_optimizer_says_what_it_is():
    assert {name: find(name).least for name in METHODS} == {"pso": 1, "cmaes": 4, "de": 5}
    assert [name for name in METHODS if find(name).name != name] == []
