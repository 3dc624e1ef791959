"""Figures as files: SVG and PDF beside PNG, the same bytes each time; cliffs and dropouts are not hidden."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fastcart
from fastcart import plotting
from fastcart.scanning.plot import _without_cliffs
from fastcart.sensitivity_analysis.plots import parameter_symbol

matplotlib = pytest.importorskip("matplotlib")


def test_vector_forms_beside_the_picture(tmp_path):
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        with plotting.style():
            figure = plotting.new_figure(2, 2)
            figure.subplots().plot([0, 1], [0, 1])
            plotting.save_figure(figure, folder / "x.png", dpi=50, also=plotting.VECTORS)
        written.append([(folder / f"x.{kind}").read_bytes() for kind in ("png", "svg", "pdf")])
    assert written[0] == written[1]
    assert written[0][1].startswith(b"<?xml")
    assert written[0][2].startswith(b"%PDF")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["x.pdf", "x.png", "x.svg"]
    assert plotting.beside(["x.png", "y.csv"]) == ["x.png", "x.svg", "x.pdf", "y.csv"]


def test_a_notebook_shows_a_figure():
    assert plotting.new_figure(1, 1)._repr_png_().startswith(b"\x89PNG")


def test_the_first_figure_leaves_what_a_notebook_turned_on(monkeypatch):
    """A notebook chooses its backend at the first figure; put back, no later figure would be shown."""
    monkeypatch.setitem(matplotlib.rcParams, "interactive", False)
    size = matplotlib.rcParams["font.size"]
    with plotting.style():
        matplotlib.rcParams["interactive"] = True
        assert matplotlib.rcParams["font.size"] != size
    assert matplotlib.rcParams["interactive"]
    assert matplotlib.rcParams["font.size"] == size


def test_contours_stop_at_a_cliff():
    values = np.add.outer(np.zeros(4), np.array([0.0, 1.0, 2.0, 100.0, 101.0]))
    found = _without_cliffs(values, np.array([10.0, 20.0, 30.0]))
    assert found.mask.any(axis=0).tolist() == [False, False, True, True, False]
    assert not np.ma.getmaskarray(_without_cliffs(values[:, :3], np.array([0.5, 1.5]))).any()


def test_parameters_are_written_as_in_the_paper():
    model = fastcart.models.get("li_lei")
    assert parameter_symbol(model, "lambda_TP_I2") == "$λ_{TPI2}$"
    assert parameter_symbol(model, "K_C") == "$K_C$"
    assert parameter_symbol(model, "TE") == "TE"
    assert parameter_symbol(fastcart.models.get("b_all"), "rL") == "rL"


def test_who_drops_out_is_not_alive_at_the_end():
    from fastcart.trial.individual import swimmer

    trial = pd.DataFrame(
        {"row": [0, 1, 2, 0, 1, 2], "treated": [False] * 3 + [True] * 3, "os": [62.0, 200.0, 90.0] * 2,
         "os_event": [False, False, True] * 2}
    )  # fmt: skip
    told = pd.DataFrame(
        {"t_CR": [np.nan] * 3, "t_relapse": [np.nan] * 3, "relapse_type": [""] * 3, "grade": [0] * 3,
         "death_cause": [""] * 3}
    )  # fmt: skip
    with plotting.style():
        _, table = swimmer(trial, {"A": told, "B": told}, ("A", "B"), 365.0, np.full(6, 200.0))
    by_end = table[table["arm"] == "A"].set_index("followed")["dropped out"]
    assert by_end.to_dict() == {62.0: True, 200.0: False, 90.0: False}
