"""A method of sensitivity is one file and one line: a toy one, added as a user's own would be."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

import fastcart
from fastcart import InputError, Model, State
from fastcart.cli import main
from fastcart.sensitivity_analysis.methods import METHODS, find

TOY = """
import numpy as np
from fastcart.errors import InputError
from fastcart.sensitivity_analysis.methods.base import Method


class Slopes(Method):
    name = "slopes"
    indices = {"slope": "Slope", "share": "Share of the variance"}
    main, beside = "slope", "share"
    signed = in_units = True

    def check_size(self, n, k):
        if n <= k:
            raise InputError(f"Slopes of {k} parameters need more than {k} patients, not {n}.")

    def runs_needed(self, n, k):
        return n

    def points(self, columns, n, *, seed, groups):
        unit = np.random.default_rng(seed).random((n, len(columns)))
        return np.stack([item.quantile(unit[:, j]) for j, item in enumerate(columns.values())], axis=1)

    def estimate(self, design, rows, y, events, confidence):
        low, high = design.bounds.T
        x = (design.x[rows] - low) / (high - low)
        slope = np.linalg.lstsq(x - x.mean(axis=0), y - y.mean(axis=0), rcond=None)[0]
        nothing = np.full(slope.shape, np.nan)
        share = slope**2 * x.var(axis=0)[:, None] / y.var(axis=0)
        return {"slope": (slope, nothing, nothing), "share": (share, nothing, nothing)}

    def no_interval(self, design, index, used, value, low):
        return "no interval, because this is a toy."


METHOD = Slopes()
"""


@njit
def rhs(t, y, p):
    growth, influx = p
    return (growth * y[0] + influx,)


MODEL = Model("line", [State("C", default=10.0)], {"growth": 0.01, "influx": 2.0}, rhs, t_end=2.0)


@pytest.fixture
def slopes(tmp_path, monkeypatch):
    (tmp_path / "slopes_of_my_own.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(METHODS, "slopes", "slopes_of_my_own")


def test_a_new_method_is_one_file_and_one_line(slopes, tmp_path):
    options = dict(method="slopes", outputs=["final_C", "C@1"], ranges=0.1, n=400, seed=1, engine="scipy")
    study = fastcart.sensitivity(MODEL, folder=tmp_path / "study", **options)
    # C(2) = C0 e^(2 g) + influx (e^(2 g) - 1) / g, so nearly 2 influx, which varies from 1.8 to 2.2
    slope = study.table("final_C")["value"]
    assert slope["influx"] == pytest.approx(0.4 * np.expm1(0.02) / 0.01, rel=1e-3)
    assert list(slope.index) == ["influx", "growth"]
    assert study.main_index == "slope"
    assert study.table("final_C", "share")["value"]["influx"] == pytest.approx(1.0, abs=0.02)
    assert set(study.notes["note"]) == {"no interval, because this is a toy."}
    assert study.convergence["n"].unique().tolist() == [50, 100, 200, 400]
    with pytest.raises(InputError, match=r"no index 'shares'\. Did you mean 'share'"):
        study.table("final_C", "shares")
    again = fastcart.sensitivity(MODEL, folder=tmp_path / "study", resume=True, **options)
    assert again.indices.equals(study.indices)


def test_a_new_method_is_asked_for_everywhere(slopes, tmp_path, capsys):
    with pytest.raises(InputError, match="Slopes of 2 parameters need more than 2 patients, not 2"):
        fastcart.sensitivity(MODEL, method="slopes", outputs="final_C", n=2, engine="scipy")
    with pytest.raises(InputError, match="Groups are for sobol and morris; the method 'slopes' has none"):
        fastcart.sensitivity(
            MODEL, method="slopes", outputs="final_C", n=9, groups={"both": ["growth", "influx"]}
        )
    selective = ", ".join(name for name in METHODS if find(name).selective)
    with pytest.raises(InputError, match=rf"for correlations \({selective}\)"):
        fastcart.sensitivity(MODEL, method="slopes", outputs="final_C", where="final_C > 1")
    with pytest.raises(
        InputError, match=r"There is no method 'slope' of sensitivity\. Did you mean 'slopes'"
    ):
        fastcart.sensitivity(MODEL, method="slope", outputs="final_C")
    with pytest.raises(SystemExit):
        main(["sensitivity", "--help"])
    assert "slopes" in capsys.readouterr().out


def test_plots_of_a_new_method(slopes):
    pytest.importorskip("matplotlib")
    from fastcart.sensitivity_analysis import plots

    study = fastcart.sensitivity(
        MODEL, method="slopes", outputs=["final_C", "C@0.5:2:0.5"], n=50, engine="scipy"
    )
    for figure in (
        plots.tornado(study, "final_C"),
        plots.scatter(study, "final_C"),
        plots.heatmap(study, "C"),
    ):
        figure.canvas.draw()


def test_times_without_an_index_are_named():
    """At the start no parameter has changed anything."""
    pytest.importorskip("matplotlib")
    from fastcart.sensitivity_analysis import plots

    study = fastcart.sensitivity(MODEL, outputs=["C@0:2:0.5"], n=50, engine="scipy")
    assert study.matrix("C")[0.0].isna().all()
    figure = plots.heatmap(study, "C")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["not defined"]


def test_every_method_says_what_it_is():
    for name in METHODS:
        method = find(name)
        assert method.name == name
        assert method.main in method.indices
        assert method.beside is None or method.beside in method.indices
    assert [name for name in METHODS if find(name).grouped] == ["sobol", "morris"]
    assert [name for name in METHODS if find(name).packages] == ["sobol", "morris", "fast"]
