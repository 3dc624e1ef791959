"""What the explorer answers is what `fastcart.solve` gives, summed up by NumPy and Kaplan-Meier."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

import fastcart
from fastcart import sample
from fastcart.errors import InputError
from fastcart.exploring.measured import read_measured
from fastcart.exploring.models import ModelExplorer
from fastcart.exploring.settings import QUANTILES, as_python, as_toml, read_settings, read_toml_text
from fastcart.exploring.summaries import bands, packed, survival, thinned, waterfall
from fastcart.trial.curves import kaplan_meier

GIVEN = {
    "patients": 60, "seed": 3, "t_end": 120.0, "times": 13, "lines": 5, "outputs": ["C", "TE"],
    "values": {"k_TE": 4.0, "TE": 2e7}, "spread": {"TE": 0.3, "lambda_C": 0.1},
    "doses": [{"time": 20.0, "state": "TE", "amount": 1e7, "every": 10.0, "repeats": 2},
              {"time": 30.0, "state": "TP", "amount": 1e6, "duration": 2.0}],
}  # fmt: skip


@pytest.fixture(scope="module")
def explorer():
    return ModelExplorer(fastcart.models.get("li_lei"), "li_lei")


@pytest.fixture(scope="module")
def solved(explorer):
    """The same patients by the functions that everyone uses."""
    varied = {"TE": (2e7, 0.3), "lambda_C": (3.3, 0.1)}
    patients = sample.log_normal(varied, 60, seed=3, model="li_lei").assign(k_TE=4.0)
    doses = fastcart.DosingSchedule().bolus(20, "TE", 1e7, every=10, repeats=2).infusion(30, "TP", 1e6, 2)
    return fastcart.solve(
        "li_lei", patients, doses=doses, t_end=120, save_at=np.linspace(0, 120, 13), save=["C", "TE"]
    )


def test_bands_and_lines_are_those_of_the_patients(explorer, solved):
    meta, arrays = explorer.answer(explorer.read(GIVEN))
    assert meta["ok"] == meta["patients"] == 60
    for name in ("C", "TE"):
        courses = solved.trajectories[name].to_numpy().reshape(60, 13)
        np.testing.assert_allclose(
            arrays[f"band:{name}"], np.quantile(courses, QUANTILES, axis=0), rtol=1e-12
        )
        assert {tuple(line) for line in arrays[f"line:{name}"]} <= {tuple(line) for line in courses}
        assert len(arrays[f"line:{name}"]) == 5


def test_survival_and_waterfall_are_those_of_the_endpoints(explorer, solved):
    meta, arrays = explorer.answer(explorer.read(GIVEN))
    curve = kaplan_meier(solved.endpoints["pfs"], ~solved.endpoints["censored"])
    np.testing.assert_array_equal(arrays["day"], curve.day)
    np.testing.assert_array_equal(arrays["share"], curve.survival)
    assert meta["median"] == curve.median
    fallen = np.log10(np.maximum(solved.endpoints["nadir"], 1.0) / 1e6)  # below one cell nothing is left
    np.testing.assert_allclose(arrays["waterfall"], np.sort(fallen)[::-1], atol=1e-12)


def test_a_slider_moves_patients_and_draws_nobody_anew(explorer):
    _, one = explorer.patients(explorer.read(GIVEN))
    moved = {**GIVEN, "values": {**GIVEN["values"], "TE": 4e7}}
    _, other = explorer.patients(explorer.read(moved))
    columns = explorer.patients(explorer.read(GIVEN))[0]
    ratio = other / one
    assert columns == ("TE", "k_TE", "lambda_C")
    np.testing.assert_allclose(ratio, np.tile([2.0, 1.0, 1.0], (60, 1)), rtol=1e-12)
    more = explorer.patients(explorer.read({**GIVEN, "patients": 90}))[1]
    np.testing.assert_array_equal(more[:60], one)


def test_solvers_are_kept_by_what_they_were_prepared_for(explorer):
    explorer.answer(explorer.read(GIVEN))
    before = len(explorer._solvers)
    explorer.answer(explorer.read({**GIVEN, "values": {"k_TE": 5.0, "TE": 1e7}}))
    assert len(explorer._solvers) == before
    explorer.answer(explorer.read({**GIVEN, "doses": []}))
    assert len(explorer._solvers) == before + 1


def test_patients_that_fail_are_counted_and_left_out():
    explorer = ModelExplorer(fastcart.models.get("crauste"), "crauste")
    given = {"patients": 40, "spread": {"rho_E": 0.2}, "outputs": ["E"], "times": 7}
    meta, arrays = explorer.answer(explorer.read(given))
    assert 0 < meta["ok"] < 40
    assert meta["status"]["ok"] == meta["ok"]
    assert sum(meta["status"].values()) == 40
    assert np.isfinite(arrays["band:E"]).all()
    assert "share" not in arrays  # a model without a burden


@pytest.mark.parametrize("name", fastcart.models.names())
def test_every_model_has_a_page_whose_first_settings_can_be_taken_away(name):
    model = fastcart.models.get(name)
    explorer = ModelExplorer(model, name)
    facts = json.loads(json.dumps(explorer.facts(), allow_nan=False))
    grouped = [item for group in facts["groups"] for item in group["names"]]
    assert sorted(grouped) == sorted(item["name"] for item in facts["inputs"])
    assert all(item["reference"] > 0 for item in facts["inputs"])
    assert facts["start"]["spread"]
    assert explorer.load({"text": explorer.toml(facts["start"])}) == facts["start"]
    compile(explorer.python(facts["start"]), "exported.py", "exec")


def test_doses_that_a_model_brings_are_in_its_table():
    explorer = ModelExplorer(fastcart.models.get("barros"), "barros")
    assert [(d["time"], d["state"]) for d in explorer.facts()["start"]["doses"]] == [
        (45.0, "C_T"),
        (250.0, "T"),
    ]


def test_a_file_of_python_and_one_of_sbml_are_explored(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from numba import njit\nfrom fastcart import Model\n"
        "@njit\ndef rhs(t, y, p):\n    return (-p.k * y.x,)\n"
        'decay = Model("decay", {"x": 8.0}, {"k": 0.5}, rhs, t_end=2.0)\n'
    )
    name = f"{file}:decay"
    explorer = ModelExplorer(fastcart.models.get(name), name)
    _, arrays = explorer.answer(explorer.read({"values": {"k": 1.0}, "times": 3}))
    np.testing.assert_allclose(arrays["band:x"][2], 8 * np.exp([0.0, -1.0, -2.0]), rtol=1e-5)
    assert repr(name) in explorer.python({})
    pytest.importorskip("libsbml")
    sbml = tmp_path / "decay.xml"
    from fastcart.sbml import write

    write(explorer.model, sbml)
    imported = ModelExplorer(fastcart.models.get(str(sbml)), str(sbml))
    _, others = imported.answer(imported.read({"values": {"k": 1.0}, "times": 3, "t_end": 2.0}))
    np.testing.assert_allclose(others["band:x"][2], 8 * np.exp([0.0, -1.0, -2.0]), rtol=1e-5)


# --- taken away and brought back ----------------------------------------------------------------------------


def test_the_program_gives_the_bands_of_the_page(explorer, capsys):
    _, arrays = explorer.answer(explorer.read(GIVEN))
    known: dict = {}
    exec(explorer.python(GIVEN), known)
    assert "{'ok': 60}" in capsys.readouterr().out
    found = known["result"].trajectories.groupby("t")["TE"].quantile(list(QUANTILES)).unstack()
    np.testing.assert_allclose(found.to_numpy().T, arrays["band:TE"], rtol=1e-12)


@pytest.mark.parametrize("given", [{}, {"values": {"TE": 3e7}}])
def test_the_program_of_one_patient_gives_its_course(explorer, given, capsys):
    _, arrays = explorer.answer(explorer.read(given))
    known: dict = {}
    exec(explorer.python(given), known)
    np.testing.assert_allclose(known["result"].trajectories["C"], arrays["band:C"][2], rtol=1e-12)


def test_settings_come_back_from_toml_and_json(explorer):
    settings = explorer.read(GIVEN)
    assert read_settings(read_toml_text(as_toml(settings, explorer.model, {})), explorer.model) == settings
    assert read_settings(json.loads(json.dumps(settings.plain())), explorer.model) == settings


def test_options_of_a_model_travel_with_its_settings():
    free = ModelExplorer(fastcart.models.get("li_lei", killing="free"), "li_lei", {"killing": "free"})
    given = {"options": {"killing": "free"}}
    text = free.toml(given)
    assert 'killing = "free"' in text
    assert "killing='free'" in free.python(given)
    assert free.load({"text": text})["patients"] == 1000
    total = ModelExplorer(fastcart.models.get("li_lei"), "li_lei")
    with pytest.raises(InputError, match="--option"):
        total.load({"text": text})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"patients": 0}, "from 1 to 20000"),
        ({"patients": True}, "whole number"),
        ({"times": 1}, "from 2"),
        ({"seed": -1}, "seed"),
        ({"rtol": 1}, "rtol"),
        ({"t_end": 0}, "horizon"),
        ({"t_end": float("nan")}, "horizon"),
        ({"outputs": []}, "one or two"),
        ({"outputs": ["C", "TE", "TM"]}, "one or two"),
        ({"outputs": ["c_"]}, "Did you mean 'C'"),
        ({"values": {"lamda_C": 1}}, "Did you mean 'lambda_C'"),
        ({"values": {"TE": "many"}}, "'TE'"),
        ({"values": [1]}, "table"),
        ({"spread": {"TE": -0.1}}, "negative"),
        ({"values": {"TE": 0}, "spread": {"TE": 0.1}}, "logarithm"),
        ({"doses": {}}, "list"),
        ({"doses": [{"state": "X"}]}, "no state 'X'"),
        ({"doses": [{"state": "TE", "time": 1, "amount": 1, "duration": -1}]}, "negative"),
        ({"doses": [{"state": "TE", "amuont": 1}]}, "amuont"),
        ({"pateints": 5}, "Did you mean 'patients'"),
        ({"model": "t_cell"}, "'t_cell'"),
        (7, "table"),
    ],
)
def test_bad_settings_get_a_sentence(explorer, given, words):
    with pytest.raises(InputError, match=words):
        explorer.read(given)


def test_values_beyond_their_range_are_said_by_the_solver(explorer):
    with pytest.raises(InputError, match="k_TE"):
        explorer.answer(explorer.read({"values": {"k_TE": -1.0}}))


def test_what_is_no_toml_gets_a_sentence(explorer):
    with pytest.raises(InputError, match="no TOML"):
        explorer.load({"text": "patients ="})


# --- summaries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patients", [1, 2, 7, 100])
def test_bands_are_quantiles(patients):
    values = np.random.default_rng(patients).lognormal(size=(patients, 9))
    np.testing.assert_allclose(bands(values, QUANTILES), np.quantile(values, QUANTILES, axis=0), rtol=1e-13)


def test_a_waterfall_ends_at_one_cell_or_at_twelve_powers():
    start, nadir = np.array([1e6, 1e6, 1e6]), np.array([1e5, 1e-30, 1e6])
    np.testing.assert_allclose(waterfall(start, nadir, cells=True), [0, -1, -6], atol=1e-12)
    np.testing.assert_allclose(waterfall(start, nadir, cells=False), [0, -1, -12], atol=1e-12)
    assert len(waterfall(np.zeros(2), np.zeros(2), cells=False)) == 0


def test_a_curve_that_does_not_reach_a_half_has_no_median():
    day, share, median = survival(np.array([5.0, 9.0, 9.0, 9.0]), np.array([False, True, True, True]))
    assert median is None
    assert share[-1] == 0.75
    assert day.tolist() == [0.0, 5.0, 9.0]


def test_thinning_keeps_both_ends():
    places = thinned(10_000, 100)
    assert len(places) == 100
    assert places[[0, -1]].tolist() == [0, 9999]
    assert thinned(3, 100).tolist() == [0, 1, 2]
    assert thinned(1, 100).tolist() == [0]


def test_answers_are_packed_so_that_the_page_can_unpack_them():
    data = packed({"ok": 2}, {"t": np.array([0.0, 0.1]), "band:C": np.array([[1e300, np.nan]])})
    (size,) = struct.unpack_from("<Q", data)
    head = json.loads(data[8 : 8 + size])
    assert (8 + size) % 8 == 0
    assert head == {"ok": 2, "arrays": [["t", 2], ["band:C", 2]]}
    np.testing.assert_array_equal(np.frombuffer(data, "<f8", offset=8 + size), [0.0, 0.1, 1e300, np.nan])


# --- measurements -------------------------------------------------------------------------------------------


def test_measurements_come_long_or_wide(explorer):
    long = "time,quantity,value,sd\n0,C,1e6,1e5\n7,C,2e6,2e5\n7,TE,5e7,\n"
    found = read_measured(long, explorer.model)
    assert found == [
        {"quantity": "C", "time": [0.0, 7.0], "value": [1e6, 2e6], "sd": [1e5, 2e5]},
        {"quantity": "TE", "time": [7.0], "value": [5e7]},
    ]
    wide = "t;C;TE;note\n0;1000000,5;;a\n7;2000000,5;5,5;b\n"
    assert read_measured(wide, explorer.model) == [
        {"quantity": "C", "time": [0.0, 7.0], "value": [1000000.5, 2000000.5]},
        {"quantity": "TE", "time": [7.0], "value": [5.5]},
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "^The table of measurements is empty"),
        ("time,C\n1,2,3\n", "^The table of measurements cannot be read: row 1 has 3 cells"),
        ("day,C\n1,2\n", "'time'"),
        ("time,quantity\n1,C\n", "'value'"),
        ("time,value\n1,2\n", "'quantity'"),
        ("time,quantity,value\n1,CC,2\n", "Did you mean 'C'"),
        ("time,quantity,value\n1,C,many\n", "'value' must hold numbers"),
        ("time,X\n1,2\n", "columns named"),
    ],
)
def test_bad_measurements_get_a_sentence(explorer, text, words):
    with pytest.raises(InputError, match=words):
        read_measured(text, explorer.model)


def test_programs_quote_names_of_files(explorer):
    text = as_python(explorer.read({}), explorer.model, "it's.py:m", {})
    assert 'models.get("it\'s.py:m")' in text
