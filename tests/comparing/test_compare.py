"""One dose in many models: numbers of single solutions, closed forms, what is left out and why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numba import njit

import fastcart
from fastcart import InputError, Model, cli, compare
from fastcart.comparing.compare import COLUMNS, extremum
from fastcart.models import for_trial, get, names
from fastcart.models.core_variables import CoreVariables, core_variables

FAST = {"engine": "scipy", "method": "LSODA", "rtol": 1e-8}


@pytest.fixture(scope="module")
def found():
    asked = [
        "kimmel",
        "leon_triana",
        "chaudhury:expansion=first order",
        "hardiansyah",
        "cart_kinetics",
        "barros",
    ]
    return compare(asked, dose=2e8, **FAST)


def test_every_shipped_model_is_in_the_table():
    for name in names():
        model = get(name)
        core = core_variables(model)
        assert isinstance(core, CoreVariables)
        parts = (*core.tumor, *core.cart, *core.effector, *core.memory, *core.cytokine, *(core.infused or {}))
        assert set(parts) <= set(model.state_names)
        assert set(core.effector) | set(core.memory) <= set(core.cart) or not core.cart
        if core.reason:
            continue
        assert all((core.tumor, core.cart, core.cells))
        assert model.time_unit == "day"
        if core.infused is None:
            assert for_trial(model).model is model
        else:
            assert sum(core.infused.values()) == pytest.approx(1.0)


def test_states_follow_the_variant():
    assert core_variables(get("leon_triana_solid", targets="two")).infused == {"C_B": 1.0}
    assert core_variables(get("chaudhury", expansion="Lotka-Volterra")).cart == ("C_E",)
    for name in ("mine", "kimmel"):
        assert core_variables(Model(name, {"x": 1.0}, {"k": 1.0}, _decay)) is None
    assert core_variables(Model("kimmel", {"x": 1.0}, {"k": 1.0}, _decay, options={"of": "mine"})) is None
    assert core_variables(get("kimmel").derived({"area": "C"})).cart == ("C",)


def test_numbers_are_those_of_a_solution(found):
    row = found.table.set_index("model").loc["kimmel"]
    alone = fastcart.solve(
        "kimmel", {"C": 2e8}, t_end=365, peaks=["C"], save_at=[365], engine="scipy", method="LSODA", rtol=1e-8
    )
    ends = alone.endpoints.iloc[0]
    assert row["status"] == "ok"
    assert row["cmax"] == pytest.approx(ends["peak_C"], rel=1e-5)
    assert row["tmax"] == pytest.approx(ends["t_peak_C"], abs=1e-2)
    assert row["expansion"] == pytest.approx(ends["peak_C"] / 2e8, rel=1e-5)
    assert row["nadir"] == pytest.approx(ends["nadir"], rel=1e-3)
    assert row["t_nadir"] == pytest.approx(ends["t_nadir"], abs=0.05)
    assert row["cart_end"] == pytest.approx(alone.trajectories["C"].iloc[0], rel=1e-5)
    assert row["eradicated"]
    assert np.isnan(row["relapse"])
    assert np.isnan(row["cytokine_max"])


def test_units_are_cells_and_days_and_picograms(found):
    table = found.table.set_index("model")
    first_order = table.loc["chaudhury:expansion=first order"]
    # 2e8 cells in 5 liters of blood grow with 1 per day until day 9.3, then decay with 0.1612 per day
    assert first_order["tmax"] == pytest.approx(9.3, abs=0.05)
    assert first_order["cmax"] == pytest.approx(2e8 * np.exp(9.3), rel=0.05)
    assert first_order["tumor_start"] == pytest.approx(900 * 5e6)
    assert table.loc["hardiansyah", "tumor_start"] == pytest.approx(4.14e9)
    course = found.courses[found.courses["model"] == "hardiansyah"]
    assert course["cart"].iloc[0] == pytest.approx(2e8)
    assert course["cytokine"].iloc[0] == pytest.approx(1.7)
    assert course["t"].iloc[-1] == 365


def test_relapse_and_persistence_are_read_off_the_course(found):
    row = found.table.set_index("model").loc["leon_triana"]
    course = found.courses[found.courses["model"] == "leon_triana"]
    at = np.interp(row["persistence"], course["t"], course["cart"])
    assert at == pytest.approx(0.01 * row["cmax"], rel=1e-2)
    later = compare(["leon_triana"], dose=2e8, horizon=600, **FAST).table.iloc[0]
    assert np.isnan(row["relapse"])
    assert 365 < later["relapse"] < 600
    # behind the contraction leukemia grows with rho_L alone
    grown = later["t_nadir"] + np.log(later["tumor_start"] / later["nadir"]) * 30
    assert later["relapse"] == pytest.approx(grown, rel=0.1)


def test_who_cannot_answer_is_named_with_the_reason(found):
    assert list(found.table.columns) == list(COLUMNS)
    assert set(found.left_out) == {"cart_kinetics", "barros"}
    assert found.left_out["barros"] == "it is of a mouse, not of a patient"
    assert "transgene" in found.left_out["cart_kinetics"]
    assert set(found.courses["model"]) == set(found.table["model"]) - {"cart_kinetics", "barros"}
    own = compare([Model("mine", {"x": 1.0}, {"k": 1.0}, _decay)], dose=1.0)
    assert "not in the table" in own.left_out["mine"]
    assert own.courses.empty


@njit
def _decay(t, y, p):
    return (-p.k * y.x,)


def test_extremum_of_a_parabola_in_logarithm():
    t = np.linspace(0, 10, 41)
    when, what = extremum(t, np.exp(5 - (t - 3.3) ** 2), highest=True)
    assert (when, what) == (pytest.approx(3.3), pytest.approx(np.exp(5)))
    assert extremum(t, t, highest=True) == (10.0, 10.0)
    assert extremum(t, np.zeros(41), highest=False) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"models": ["kimel"]}, "no model 'kimel'"),
        ({"models": ["kimmel:K"]}, "NAME:OPTION=VALUE"),
        ({"models": ["none.xml"]}, "none.xml"),
        ({"models": [3]}, "must be models or their names, not 3"),
        ({"dose": 0}, "The dose"),
        ({"horizon": -1}, "The horizon"),
        ({"subject": "mous"}, "Did you mean 'mouse'"),
        ({"t_end": 30.0}, "leave out 't_end'"),
    ],
)
def test_bad_input_is_one_sentence(settings, words):
    with pytest.raises(InputError) as caught:
        compare(**{"models": ["kimmel"], "dose": 1e8, **settings})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_command_writes_tables_and_a_figure(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "answers"
    line = [
        "compare",
        "kimmel",
        "carrgo",
        "--dose",
        "1e8",
        "--horizon",
        "100",
        "--engine",
        "scipy",
        "--out",
        str(out),
    ]
    assert cli.main(line) == 0
    printed = capsys.readouterr().out
    assert "kimmel" in printed
    assert "carrgo was left out: it is a dish" in printed
    assert sorted(path.name for path in out.iterdir()) == [
        "comparison.csv",
        "comparison.pdf",
        "comparison.png",
        "comparison.svg",
        "courses.csv",
    ]
    table = pd.read_csv(out / "comparison.csv")
    assert table["status"].tolist() == ["ok", "left out"]
    assert table["papers"].str.contains("doi|J R Soc").all()
    assert pd.read_csv(out / "courses.csv")["t"].max() == 100
    assert cli.main(line) == 2
    assert "--force" in capsys.readouterr().err
    assert cli.main([*line, "--force", "--quiet", "--no-plots"]) == 0
    assert capsys.readouterr().out == ""


def test_a_figure_of_one_model_has_bars_and_no_walls():
    pytest.importorskip("matplotlib")
    figure = compare("kimmel", dose=1e8, horizon=100, **FAST).plot()
    cart, tumor, *bars = figure.axes if figure.axes else [x for part in figure.subfigs for x in part.axes]
    assert cart.get_xlim() == tumor.get_xlim() == (0, 100)
    low, high = sorted(bars[0].get_ylim())
    assert high - low >= 5
