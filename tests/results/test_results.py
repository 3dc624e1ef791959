"""Results: one line, a notebook's view, pictures, a folder and back, a dataset; what is plausible."""

from __future__ import annotations

import json
from html import escape

import numpy as np
import pandas as pd
import pytest
from figure_layout import alike_but_for_colour, cut_off
from numba import njit

import fastcart
from fastcart.errors import InputError
from fastcart.result_figures import courses_of, dose_times, survival, with_gaps
from fastcart.solvers.status import Status

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@njit
def decay(t, y, p):
    return (-p.k * y.E, p.g * y.C)


@njit
def twice(t, y, p):
    return (2.0 * y.E,)


def model(**changes):
    states = [
        fastcart.State("E", "cells", 100.0, plausible=(0.0, 1e3)),
        fastcart.State("C", "cells", 50.0, log=True),
    ]
    rates = [fastcart.Parameter(name, value, range=(-9, 9)) for name, value in (("k", 0.5), ("g", -1.0))]
    parts = dict(t_end=10.0, burden="C", observables=[fastcart.Observable("D", "pg/ml")], observe=twice)
    return fastcart.Model("decaying", states, rates, decay, **(parts | changes))


DOSES = fastcart.DosingSchedule().bolus(4, "E", 50, every=2, repeats=1)


@pytest.fixture(scope="module")
def result():
    patients = {
        "patient": ["a", "b", "c", "d"], "k": [0.1, 0.2, 0.3, 0.4], "g": [-1.0, 0.1, -0.5, 0.2],
        "arm": ["x", "x", "y", "y"],
    }  # fmt: skip
    return fastcart.solve(model(), patients, doses=DOSES, save_at=range(11), keep=["arm"], progress=False)


@pytest.fixture(autouse=True)
def no_figures_left():
    from matplotlib import pyplot

    yield
    pyplot.close("all")


# --- one line, one patient --------------------------------------------------------------------------------


def test_one_line(result):
    assert len(result) == 4
    assert repr(result) == "BatchResult('decaying', 4 patients, all ok, 11 times)"


def test_a_patient_is_a_result(result):
    one = result["c"]
    assert one.endpoints["patient"].tolist() == ["c"]
    pd.testing.assert_frame_equal(
        one.trajectories, result.trajectories[result.trajectories["patient"] == "c"].reset_index(drop=True)
    )
    assert result[["d", "a"]].endpoints["patient"].tolist() == ["a", "d"]
    with pytest.raises(InputError, match=r"There is no patient 'e' in this result"):
        result["e"]


def test_html_says_in_red_who_failed(result):
    assert "b00020" not in result._repr_html_()
    failed = fastcart.solve(model(), 2, max_steps=1, warn=False, progress=False)
    shown = failed._repr_html_()
    assert "b00020" in shown
    sentence = Status[failed.endpoints["status"][0]].sentence
    assert f"2 of 2: {escape(sentence)}" in shown


def test_html_escapes_names():
    named = fastcart.solve(
        model(), {"patient": ["<b>"], "<i>": ["<u>"]}, keep=["<i>"], progress=False, save_at=[1.0]
    )
    assert "<u>" not in named._repr_html_()
    assert "<i>" not in named._repr_html_()


def test_quantiles_are_those_of_the_endpoints(result):
    table = result.quantiles()
    assert table.loc["pfs", "50%"] == result.endpoints["pfs"].median()
    assert {"nadir", "final_E"} <= set(table.index)


# --- pictures ---------------------------------------------------------------------------------------------


def test_a_line_does_not_climb_before_a_bolus(result):
    axis = result.plot("E", bands=())
    (line,) = (part for part in axis.lines if len(part.get_xdata()) > 10)
    y = line.get_ydata()
    assert np.isnan(y).sum() == 2  # one gap before each bolus
    axis = result.plot("C", bands=())  # which no bolus goes into
    assert not any(np.isnan(part.get_ydata()).any() for part in axis.lines)


def test_with_the_time_just_before_it_jumps():
    times = DOSES.save_times(10, 11)
    assert len(times) == 13
    solved = fastcart.solve(model(), 1, doses=DOSES, save_at=times, progress=False)
    courses = courses_of(solved, "E")
    t, y = with_gaps(courses.t, courses.y[0], dose_times(solved.model, solved.doses).jumps(solved.model, "E"))
    assert not np.isnan(y).any()
    place = int(np.flatnonzero(t == 4.0)[0])
    np.testing.assert_allclose(y[place] - y[place - 1], 50.0, rtol=1e-5)


def test_doses_are_ticks(result):
    assert dose_times(result.model, result.doses).times.tolist() == [4.0, 6.0]
    repeated = {"time": [1.0], "state": ["E"], "amount": [5.0], "every": [3.0], "repeats": [2]}
    assert dose_times(result.model, repeated).times.tolist() == [1.0, 4.0, 7.0]
    with_ticks, without = (len(result.plot("E", doses=doses).lines) for doses in (None, False))
    assert with_ticks == without + 2


def test_the_median_is_drawn(result):
    axis = result.plot("D", doses=False)
    line = next(part for part in axis.lines if part.get_label() == "median")
    values = result.trajectories["D"].to_numpy().reshape(4, 11)
    drawn = line.get_ydata()
    np.testing.assert_array_equal(drawn[~np.isnan(drawn)], np.median(values, axis=0))
    assert len(axis.collections) == 2  # two bands


def test_groups_are_told_apart_without_colour(result):
    axis = result.plot("E", by="arm", observed={"t": [2.0], "E": [80.0], "E_sd": [5.0], "arm": ["y"]})
    lines = [part for part in axis.lines if str(part.get_label()).startswith(("x", "y"))]
    assert [line.get_label() for line in lines] == ["x (n = 2)", "y (n = 2)"]
    assert len({line.get_linestyle() for line in lines}) == 2
    assert not axis.collections or all(len(c.get_paths()) < 11 for c in axis.collections)  # no bands
    assert axis.get_legend().get_title().get_text() == "arm"


def told(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_a_legend_says_what_thin_lines_and_ticks_are(result):
    axis = result.plot("E", by="arm", patients=["a"])
    assert told(axis) == ["x (n = 2)", "y (n = 2)", "thin: 5% and 95%", "single patients", "dose"]
    axis = result["a"].plot("E", doses=DOSES)
    assert told(axis) == ["dose"]
    assert "dose" not in told(result.plot("E", doses=False))


def test_one_time_is_seen_as_a_point():
    axis = fastcart.solve(model(), 3, save_at=[5.0], progress=False).plot("E", patients=1)
    assert [line.get_marker() for line in axis.lines] == ["o", "."]


def test_what_only_a_later_panel_has_is_in_the_legend(result):
    axes = result.plot(["E", "D"], observed={"t": [2.0, 3.0], "D": [80.0, 90.0]})
    assert "observed" in told(axes[0])


def test_a_state_that_stays_at_zero_has_an_axis_from_zero():
    solved = fastcart.solve(model(), {"E": [0.0, 0.0], "C": [0.0, 0.0]}, save_at=range(11), progress=False)
    for axis in solved.plot(["E", "C", "D"]):
        assert axis.get_ylim() == (0.0, 1.0)
    assert solved["0"].plot("E").get_ylim() == (0.0, 1.0)


def test_amounts_that_are_not_negative_have_no_negative_axis():
    solved = fastcart.solve(model(), 1, save_at=range(11), progress=False)
    axis = solved.plot("D")
    assert axis.get_yscale() == "linear"
    assert axis.get_ylim()[0] == 0.0
    below = solved.plot("D", observed={"t": [8.0], "D": [5.0], "D_sd": [20.0]})
    assert below.get_ylim()[0] < -15.0  # a bar is not cut off


def test_a_measured_zero_is_seen_on_a_logarithmic_axis(result):
    axis = result["a"].plot("C", observed={"t": [2.0, 9.0], "C": [8.0, 0.0]})
    assert axis.get_yscale() == "log"
    (none,) = (line for line in axis.lines if line.get_label() == "observed: none")
    assert none.get_xdata().tolist() == [9.0]
    assert "observed: none" in told(axis)


def test_eight_groups_with_long_names_are_told_apart_and_not_cut_off():
    names = [f"patients of the hospital of the university, arm {k}" for k in range(8)]
    solved = fastcart.solve(
        model(),
        {"g": np.linspace(-1.0, 0.2, 8), "arm": names},
        save_at=range(11),
        keep=["arm"],
        progress=False,
    )
    for axis in (solved.plot("E", by="arm"), solved.plot(["E", "D"], by="arm")[1], solved.plot_pfs(by="arm")):
        assert len(set(told(axis))) == 8
        assert alike_but_for_colour(axis) == []
        assert len({line.get_color() for line in axis.lines if line.get_label() in told(axis)}) == 8
        assert cut_off(axis.figure) == []


def test_one_cell_is_marked_where_the_tumor_falls_below(result):
    axis = result["a"].plot()
    assert axis.get_yscale() == "log"
    assert "one cell" in [text.get_text() for text in axis.texts]


def test_failed_patients_are_left_out_and_said():
    solved = fastcart.solve(
        model(), {"k": [0.1, 1.0]}, save_at=[0, 10], max_steps=1, warn=False, progress=False
    )
    axis = solved.plot("E")
    assert axis.get_title(loc="left") == "2 of 2 patients not solved, left out"


def test_own_times_are_lines():
    solved = fastcart.solve(model(), 2, save_at=[[0.0, 1.0, 2.0], [5.0]], progress=False)
    courses = courses_of(solved, "E")
    assert not courses.shared
    assert [len(t) for t in courses.t] == [3, 1]
    assert len(solved.plot("E").lines) >= 2
    with pytest.raises(InputError, match="times of their own"):
        solved.to_xarray()


def test_progression_free_survival(result):
    axis = result.plot_pfs(by="arm")
    assert axis.get_ylim()[0] == 0
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels[0].startswith("x (n = 2, median 0 days)")
    t, share = survival(np.array([1.0, 2.0, 2.0, 5.0]), np.array([True, True, False, False]))
    assert t.tolist() == [0.0, 1.0, 2.0, 5.0]
    np.testing.assert_allclose(share, [1.0, 0.75, 0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda r: r.plot("TE"), "There is no course of 'TE'"),
        (
            lambda r: fastcart.solve(r.model, 1, save_at=[1], save=["C"], progress=False).plot("D"),
            r"Known: C. Solve with save=\[..., 'D'\]",
        ),
        (lambda r: fastcart.load("no such folder"), "'no such folder' does not exist"),
        (lambda r: fastcart.load(__file__), "is a file; give the folder"),
        (lambda r: r.plot(by="arms"), "Did you mean 'arm'"),
        (lambda r: r.plot(bands=(0.9, 0.1)), "quantiles in pairs"),
        (lambda r: r.plot(by=[1, 2]), "2 values for 4 patients"),
        (lambda r: r.plot(observed={"x": [1]}), "needs the column t"),
        (lambda r: fastcart.solve(r.model, 1, progress=False).plot(), "solve with save_at"),
        (
            lambda r: fastcart.solve(r.model, 9, save_at=[1], progress=False).plot(by=range(9)),
            "a picture can",
        ),
    ],
)
def test_what_cannot_be_drawn_or_loaded(result, call, sentence):
    with pytest.raises(InputError, match=sentence):
        call(result)


# --- a folder and back ------------------------------------------------------------------------------------


def test_saved_and_loaded(result, tmp_path):
    pytest.importorskip("pyarrow")
    event = fastcart.Event("low", "E", 60.0, "down", actions=[fastcart.Action("E", "add", 1.0)])
    patients = {
        "patient": [1, "x"],
        "k": [0.1, 0.2],
        "mixed": [2.5, "text"],
        "class": pd.Categorical(["u", "v"]),
    }
    asked = fastcart.solve(
        result.model, patients, events=[event], peaks=["E"], save_at=[0, 5], keep=["mixed", "class"],
        sensitivities=(), doses=DOSES, progress=False,
    )  # fmt: skip
    asked.save(tmp_path / "kept")
    back = fastcart.load(tmp_path / "kept", model=result.model)
    for name in ("endpoints", "trajectories", "doses"):
        pd.testing.assert_frame_equal(getattr(back, name), getattr(asked, name))
    assert back.sensitivities is None
    assert back.options == dict(asked.options)
    assert repr(back) == repr(asked)
    assert not any(b"pickle" in path.read_bytes() for path in (tmp_path / "kept").iterdir())


def test_a_shipped_model_is_found_again(tmp_path):
    solved = fastcart.solve(fastcart.models.get("li_lei_coarse", killing="total"), 2, progress=False)
    solved.save(tmp_path / "kept")
    assert fastcart.load(tmp_path / "kept").model.options == {"killing": "total", "binding": "root"}


def test_a_changed_model_is_told(result, tmp_path):
    result.save(tmp_path / "kept")
    changed = model(t_end=11.0)
    with pytest.warns(UserWarning, match="no longer the one"):
        back = fastcart.load(tmp_path / "kept", model=changed)
    pd.testing.assert_frame_equal(back.endpoints, result.endpoints)
    # what only is read by people does not count
    fastcart.load(tmp_path / "kept", model=model(doc="other words"))
    with pytest.raises(InputError, match="fastcart does not ship"):
        fastcart.load(tmp_path / "kept")
    with pytest.raises(InputError, match="not of 'other'"):
        fastcart.load(tmp_path / "kept", model=model().replace(name="other"))


def test_what_is_there_is_not_replaced(result, tmp_path):
    result.save(tmp_path)
    with pytest.raises(InputError, match="holds a result already"):
        result.save(tmp_path)
    result["a"].save(tmp_path, force=True)
    assert len(fastcart.load(tmp_path, model=result.model)) == 1


@pytest.mark.parametrize("damage", ["bytes", "missing", "json", "empty"])
def test_damage_is_told(result, tmp_path, damage):
    result.save(tmp_path)
    table, about = tmp_path / "endpoints.parquet", tmp_path / "result.json"
    if damage == "bytes":
        table.write_bytes(table.read_bytes()[:-9] + b"012345678")
    elif damage == "missing":
        table.unlink()
    elif damage == "json":
        about.write_text("{")
    else:
        about.unlink()
    with pytest.raises(InputError):
        fastcart.load(tmp_path, model=result.model)


# --- xarray -----------------------------------------------------------------------------------------------


def test_a_dataset(result):
    pytest.importorskip("xarray")
    data = result.to_xarray()
    assert dict(data.sizes) == {"patient": 4, "t": 11}
    assert float(data["E"].sel(patient="b", t=3.0)) == pytest.approx(100 * np.exp(-0.6), rel=1e-5)
    assert data["E"].attrs["units"] == "cells"
    assert data["t"].attrs["units"] == "days"
    assert data["arm"].values.tolist() == ["x", "x", "y", "y"]
    assert json.loads(data.attrs["options"])["rtol"] == 1e-6
    assert json.loads(data.attrs["versions"])["fastcart"] == fastcart.__version__


# --- what is plausible ------------------------------------------------------------------------------------


def test_who_leaves_what_is_plausible_is_counted():
    solved = fastcart.solve(model(), {"k": [0.5, -0.5, -0.1]}, progress=False)  # 100 exp(5) = 1.5e4
    found = solved.implausible()
    assert found[["quantity", "patients"]].to_numpy().tolist() == [["E", 1]]
    assert solved.notes == ["In 1 patient E is above what is plausible (1000 cells; up to 1.5e+04)."]
    assert "E implausible in 1" in repr(solved)
    assert solved.notes[0] in solved._repr_html_()
    assert solved.notes[0] in solved.explain(1)
    assert "plausible" not in solved.explain(0)
    assert solved[[0, 2]].notes == []


def test_a_peak_and_a_course_tell_it_too():
    given = {"E": [5e3]}  # and at the end nothing of it is left
    assert fastcart.solve(model(), given, progress=False).notes == []
    assert len(fastcart.solve(model(), given, peaks=["E"], progress=False).notes) == 1
    assert len(fastcart.solve(model(), given, save_at=[0, 1], progress=False).notes) == 1


def test_a_range_must_be_one():
    for wrong in ((1.0, 0.0), 3, (1, 2, 3), ("a", "b")):
        with pytest.raises(InputError, match="'plausible' must be"):
            fastcart.State("E", plausible=wrong)


def test_shipped_models_are_plausible_with_defaults():
    for name in ("li_lei", "b_all", "kimmel"):
        shipped = fastcart.models.get(name)
        assert any(state.plausible for state in shipped.states)
        assert fastcart.solve(shipped, 1, progress=False).notes == []


# --- others show themselves -------------------------------------------------------------------------------


def test_a_model_and_a_schedule_show_themselves():
    shown = model()._repr_html_()
    assert "dE/dt = -k*E" in shown
    assert "0 to 1000" in shown
    assert repr(DOSES) == "DosingSchedule(2 doses)"
    assert "<table>" in DOSES._repr_html_()
    assert "DosingSchedule(0 doses)" in fastcart.DosingSchedule()._repr_html_()


def test_studies_show_themselves(tmp_path):
    study = fastcart.sensitivity(model(), outputs=["final_E", "ln_E@2:10:4"], n=60, progress=False)
    assert repr(study) == (
        "SensitivityResult('decaying', pearson, 60 patients, 2 varied, of final_E, ln_E@2, ln_E@6, ... (4))"
    )
    assert "<table>" in study._repr_html_()
    for kind in ("tornado", "scatter", "heatmap"):
        assert study.plot(kind=kind)._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="Did you mean 'tornado'"):
        study.plot(kind="tornados")
    best = fastcart.optimize(
        model(), {"E": (1.0, 10.0)}, objective="final_E", seed=1, particles=4, iterations=2, progress=False
    )
    assert repr(best).startswith("OptimizationResult(")
    assert "1 problem, all feasible, pso" in repr(best)
    assert "<table>" in best._repr_html_()
    best.save(tmp_path / "best")
    back = fastcart.load(tmp_path / "best")
    pd.testing.assert_frame_equal(back.best, best.best)
    pd.testing.assert_frame_equal(back.history, best.history)
    assert back.notes == best.notes


def test_scans_and_fits_show_themselves(tmp_path):
    pytest.importorskip("pyarrow")
    grid = fastcart.sample.grid({"E": {"geomspace": (1.0, 1e3, 4)}, "k": {"linspace": (0.1, 0.4, 4)}})
    scanned = fastcart.scan(model(), grid, tmp_path / "scan", progress=False)
    assert repr(scanned) == f"ScanResult({tmp_path / 'scan'}, 16 patients, all ok)"
    assert "16 patients" in scanned._repr_html_()
    assert scanned.plot("final_E", model=model())._repr_png_().startswith(b"\x89PNG")
    assert scanned.implausible(model()).empty
    days = [1.0, 2.0, 4.0, 8.0]
    seen = fastcart.solve(model(), {"k": [0.2, 0.3]}, save_at=days, save=["E"], progress=False).trajectories
    table = pd.DataFrame(
        {"ID": seen["patient"], "TIME": seen["t"], "DV": seen["E"] * np.tile([1.01, 0.98, 1.0, 1.02], 2)}
    )
    fit = fastcart.fit.individual(
        model(), fastcart.fit.read(table, model()), estimate={"k": (0.01, 1.0, "log")}, starts=2,
        observations=fastcart.fit.Observation(1, "E", fastcart.fit.lognormal(0.02)),
    )  # fmt: skip
    assert repr(fit).startswith("IndividualFit(2 patients, 1 parameters")
    assert "<table>" in fit._repr_html_()


def test_a_model_without_words_leaves_no_gap():
    from fastcart.describe import describe

    assert describe(model()).startswith("decaying\n\nHorizon: 10 days.")
    assert describe(model(doc="Cells.")).startswith("decaying\n\nCells.\n\nHorizon: 10 days.")


def test_the_scale_of_an_axis_does_not_depend_on_the_unit():
    """A concentration that is a part of what is counted in cells goes over the same decades."""

    def rhs(t, y, p):
        return p.grow * y.E * (1 - y.E / p.most), -p.fade * y.W

    def observe(t, y, p):
        return (y.E / 5e6,)

    grown = fastcart.Model(
        "grown",
        [fastcart.State("E", "cells", default=2e6), fastcart.State("W", "", default=1.0)],
        {"grow": 2.0, "most": 6e10, "fade": 0.02}, rhs, observe=observe,
        observables=[fastcart.Observable("conc", "copies/ug")], t_end=100.0,
    )  # fmt: skip
    solved = fastcart.solve(grown, 1, save_at=range(101), progress=False)
    scales = [axis.get_yscale() for axis in solved.plot(["E", "conc", "W"])]
    assert scales == ["log", "log", "linear"]


def test_an_amount_that_goes_below_zero_is_said(recwarn):
    def drained(unit: str, **marks) -> fastcart.BatchResult:
        drain = fastcart.Model(
            "drain", [fastcart.State("C", unit, default=1000.0, **marks)], {"out": 11.0},
            lambda t, y, p: (-p.out,), t_end=100.0,
        )  # fmt: skip
        return fastcart.solve(drain, {"out": [11.0, 9.0, 10.0001]}, save_at=range(101), progress=False)

    result = drained("cells")
    assert result.notes == ["In 1 patient C is below what is plausible (0 cells; up to -1e+02)."]
    assert result.implausible()["low"].tolist() == [0.0]
    for unit in ("pg/mL", "10^6 cells", "cells/µL"):
        assert len(drained(unit).notes) == 1
    for unit in ("", "mV", "log10 cells", "1/cells"):
        assert drained(unit).notes == []
    assert drained("cells", plausible=(-1e3, 1e4)).notes == []
    assert not recwarn.list


def test_no_shipped_model_is_negative_where_it_counts():
    for name in fastcart.models.names():
        assert "is below what is plausible (0 " not in " ".join(fastcart.solve(name, 1, progress=False).notes)
