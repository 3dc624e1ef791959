"""Peaks, areas under curves, events, groups that die out: against closed forms."""

import math

import numpy as np
import pandas as pd
import pytest
from conftest import slow_but
from numba import njit

import fastcart
from fastcart import DosingSchedule, Event, InputError, Model, Observable, State
from fastcart.cli import main

TIGHT = dict(rtol=1e-10)
ENGINES = ["lanes", "lsoda", "scipy"]
every_engine = pytest.mark.parametrize("engine", ENGINES)


@njit
def _turn(t, y, p):
    x, v = y
    (frequency,) = p
    return v, -frequency * frequency * x


@njit
def _energy(t, y, p):
    x, v = y
    return x * x + v * v / (p[0] * p[0]), math.exp(x)


# x = sin(w t): every peak, crossing and integral is known
OSCILLATOR = Model(
    "oscillator",
    [State("x", default=0.0), State("v", default=1.0)],
    {"frequency": 1.0},
    _turn,
    t_end=10.0,
    observables=[Observable("energy"), Observable("exp_x")],
    observe=_energy,
)


@njit
def _decay(t, y, p):
    return -p[0] * y[0], -p[1] * y[1]


DECAY = Model(
    "decay",
    [State("E", "cells", 1e3, extinction="T"), State("M", "cells", 50.0, log=True, extinction="T")],
    {"a": 1.0, "b": 0.1},
    _decay,
    t_end=60.0,
)


def only(model, **options):
    return fastcart.solve(model, **{**TIGHT, **options}).endpoints.iloc[0]


@every_engine
def test_peaks_of_states_and_observables(engine):
    row = only(OSCILLATOR, engine=engine, peaks=["x", "v", "exp_x"], t_end=6.0)
    assert row["peak_x"] == pytest.approx(1.0, abs=1e-9)
    assert row["peak_exp_x"] == pytest.approx(math.e, abs=1e-9)
    assert row["t_peak_x"] % (2 * math.pi) == pytest.approx(math.pi / 2, abs=1e-5)
    assert row["t_peak_exp_x"] % (2 * math.pi) == pytest.approx(math.pi / 2, abs=1e-5)
    assert (row["peak_v"], row["t_peak_v"]) == (1.0, 0.0)  # at the start


@every_engine
def test_peak_at_the_end_and_at_a_dose(engine):
    assert only(OSCILLATOR, engine=engine, t_end=1.0, peaks="x")[
        ["peak_x", "t_peak_x"]
    ].tolist() == pytest.approx([math.sin(1), 1.0], abs=1e-9)
    doses = DosingSchedule().bolus(math.pi, "x", 3.0)
    row = only(OSCILLATOR, engine=engine, peaks="x", doses=doses)
    # x jumps to 3 with v = -1: a circle of radius sqrt(10)
    assert row["peak_x"] == pytest.approx(math.sqrt(10), abs=1e-8)


def test_areas_under_curves():
    row = only(OSCILLATOR, t_end=7.0, auc=["x", "energy"])
    assert row["auc_x"] == pytest.approx(1 - math.cos(7.0), abs=1e-8)
    assert row["auc_energy"] == pytest.approx(7.0, abs=1e-8)
    for engine in ("lsoda", "scipy"):
        assert only(OSCILLATOR, t_end=7.0, auc=["x"], engine=engine)["auc_x"] == pytest.approx(
            1 - math.cos(7.0), abs=1e-6
        )


def test_areas_grow_along_the_trajectory():
    result = fastcart.solve(OSCILLATOR, auc=["x"], save_at=[0.0, 1.0, 2.0], **TIGHT)
    assert result.trajectories["auc_x"].tolist() == pytest.approx(
        [0.0, 1 - math.cos(1), 1 - math.cos(2)], abs=1e-8
    )


@every_engine
def test_events_are_found_counted_and_have_directions(engine):
    events = [
        Event("up", "x", 0.5, "up"),
        Event("down", "x", 0.5, "down"),
        Event("both", "x", 0.5),
        Event("never", "x", 1.5),
        Event("late", "x", 0.5, "up", after=2.0),
        Event("second", "x", 0.5, "up", after="down"),
    ]
    row = only(OSCILLATOR, engine=engine, events=events)
    assert row["event_up"] == pytest.approx(math.pi / 6, abs=1e-8)
    assert row["event_down"] == pytest.approx(5 * math.pi / 6, abs=1e-8)
    assert row["event_both"] == row["event_up"]
    assert [row[f"count_{n}"] for n in ("up", "down", "both", "never")] == [2, 2, 4, 0]
    assert math.isnan(row["event_never"])
    for name in ("late", "second"):
        assert row[f"event_{name}"] == pytest.approx(math.pi / 6 + 2 * math.pi, abs=1e-8)
        assert row[f"count_{name}"] == 1


@every_engine
def test_two_crossings_within_one_step(engine):
    # at a loose tolerance a step is longer than the time above the threshold
    row = only(OSCILLATOR, engine=engine, events=[Event("top", "x", 0.999)], rtol=1e-3, t_end=3.0)
    assert row["count_top"] == 2
    # the slope is 0.045 there: an error of LSODA of twice the tolerance moves the time by 0.045
    near = 0.05 if engine == "lsoda" else 0.02
    assert row["event_top"] == pytest.approx(math.asin(0.999), abs=near)


@every_engine
def test_each_patient_has_a_threshold(engine):
    patients = {"frequency": [1.0, 2.0, 1.0], "mine": [0.5, 0.5, 0.25]}
    found = fastcart.solve(
        OSCILLATOR, patients, engine=engine, events=[Event("own", "x", "mine", "up")], **TIGHT
    ).endpoints
    expected = [
        math.pi / 6,
        math.pi / 2 / 2,
        math.asin(0.25),
    ]  # the second has amplitude 1/2: it only touches
    assert found["event_own"].iloc[[0, 2]].tolist() == pytest.approx([expected[0], expected[2]], abs=1e-8)
    by_parameter = only(OSCILLATOR, engine=engine, events=[Event("own", "v", "frequency", "down")])
    assert math.isnan(by_parameter["event_own"]) or by_parameter["event_own"] < 1e-6


@every_engine
def test_terminal_event_ends_the_course(engine):
    result = fastcart.solve(
        OSCILLATOR,
        engine=engine,
        events=[Event("stop", "x", 0.5, "down", terminal=True), Event("other", "x", 0.25, "down")],
        peaks="x",
        save_at=[1.0, 2.0, 3.0],
        **TIGHT,
    )
    row = result.endpoints.iloc[0]
    assert row["status"] == "ok"
    assert row["t_reached"] == row["event_stop"] == pytest.approx(5 * math.pi / 6, abs=1e-8)
    assert row["final_x"] == pytest.approx(0.5, abs=1e-9)
    assert row["count_other"] == 0
    assert row["peak_x"] == pytest.approx(1.0, abs=1e-9)
    saved = result.trajectories["x"].tolist()
    assert saved[:2] == pytest.approx([math.sin(1), math.sin(2)], abs=1e-8)
    assert math.isnan(saved[2])
    later = only(
        OSCILLATOR, engine=engine, events=[Event("stop", "x", 0.5, "down", terminal=True, after=4.0)]
    )
    assert later["t_reached"] == pytest.approx(5 * math.pi / 6 + 2 * math.pi, abs=1e-8)


@every_engine
def test_a_jump_over_the_threshold_is_an_event(engine):
    doses = DosingSchedule().bolus(4.0, "x", 3.0)
    row = only(OSCILLATOR, engine=engine, t_end=4.5, doses=doses, events=[Event("high", "x", 1.5)])
    assert (row["event_high"], row["count_high"]) == (4.0, 1)


@every_engine
def test_a_group_dies_out_by_its_sum(engine):
    end = only(DECAY, engine=engine, extinction=1.0)
    # 50 exp(-0.1 t) is the sum, but for 1e3 exp(-t), at its end
    when = math.log(50.0) / 0.1
    result = fastcart.solve(DECAY, engine=engine, extinction=1.0, save_at=[when - 0.1, when + 0.1], **TIGHT)
    assert result.trajectories["M"].iloc[0] > 0
    assert result.trajectories["E"].iloc[0] == pytest.approx(0.0, abs=1e-9)  # below its tolerance by then
    assert (result.trajectories[["E", "M"]].iloc[1] == 0).all()
    assert end["final_E"] == end["final_M"] == 0.0
    alone = only(DECAY, engine=engine, extinction=1.0, t_end=15.0)
    assert 0 < alone["final_E"] < 1.0  # the sum is still above


@njit
def _alone(t, y, p):
    return (-p[0] * y[0],)


ALONE = Model(
    "alone", [State("L", "cells", 1e3, log=True, extinction=True)], {"a": 1.0}, _alone, t_end=30.0, burden="L"
)


@every_engine
def test_what_died_out_is_seeded_again_by_a_dose(engine):
    gone, back = math.log(1e3), 10.0 + math.log(50.0)
    doses = DosingSchedule().bolus(10.0, "L", 50.0)
    events = [Event("low", "L", 5.0, "down"), Event("high", "L", 20.0, "up"), Event("nothing", "L", 0.5)]
    options = dict(engine=engine, extinction=1.0, doses=doses, events=events, peaks="L")
    result = fastcart.solve(ALONE, save_at=[gone + 0.1, 10.0, back - 0.1, 30.0], **options, **TIGHT)
    row = result.endpoints.iloc[0]
    assert row["event_low"] == pytest.approx(math.log(200.0), abs=1e-7)
    assert (row["event_high"], row["count_high"], row["count_low"]) == (10.0, 1, 2)
    # a jump to zero where it dies, one by the dose, and one where it dies again
    assert (row["event_nothing"], row["count_nothing"]) == (pytest.approx(gone, abs=1e-7), 3)
    assert (row["peak_L"], row["t_peak_L"]) == (pytest.approx(1e3), 0.0)
    assert (row["nadir"], row["final"], row["cured"]) == (0.0, 0.0, True)
    assert row["t_nadir"] == pytest.approx(gone, abs=1e-7)
    saved = result.trajectories["L"].tolist()
    assert saved[0] == saved[3] == 0.0
    assert saved[1:3] == pytest.approx([50.0, math.exp(0.1)], rel=1e-7)
    early = only(ALONE, t_end=10.5, **options)
    assert not early["cured"]
    assert early["final"] == pytest.approx(50 * math.exp(-0.5), rel=1e-7)


@every_engine
def test_what_is_infused_grows_from_nothing_and_dies_when_it_ends(engine):
    doses = DosingSchedule().infusion(1.0, "E", 8.0, 4.0)  # 2 a day, up to 2 (1 - exp(-4))
    options = dict(engine=engine, extinction=1.0, doses=doses, t_end=10.0, peaks="E")
    row = fastcart.solve(DECAY, {"E": [0.0], "M": [0.0]}, **options, **TIGHT).endpoints.iloc[0]
    assert row["peak_E"] == pytest.approx(2 - 2 * math.exp(-4), abs=1e-8)
    result = fastcart.solve(DECAY, {"E": [0.0], "M": [0.0]}, save_at=[1.5, 4.9, 5.5, 6.0], **options, **TIGHT)
    values = result.trajectories["E"].tolist()
    assert values[:2] == pytest.approx([2 - 2 * math.exp(-0.5), 2 - 2 * math.exp(-3.9)], abs=1e-7)
    left = 2 - 2 * math.exp(-4)
    assert values[2] == pytest.approx(left * math.exp(-0.5), abs=1e-7)
    assert values[3] == 0.0


@njit
def _explosive(t, y, p):
    return (p[0] * y[0] * y[0],)


@every_engine
def test_a_course_that_ends_before_it_blows_up_has_not_failed(engine):
    model = Model("explosive", {"y": 1.0}, {"r": 1.0}, _explosive, t_end=5.0)
    stop = Event("high", "y", 100.0, "up", terminal=True)
    row = fastcart.solve(model, {"r": [1.0]}, engine=engine, events=[stop], rtol=1e-8).endpoints.iloc[0]
    assert row["status"] == "ok"
    assert row["t_reached"] == row["event_high"] == pytest.approx(0.99, abs=1e-6)
    assert row["final_y"] == pytest.approx(100.0, rel=1e-4)


@every_engine
def test_a_terminal_event_by_a_dose_ends_with_the_dose(engine):
    doses = DosingSchedule().bolus(2.0, "x", 3.0)
    events = [Event("high", "x", 3.5, "up", terminal=True), Event("also", "x", 2.0)]
    result = fastcart.solve(
        OSCILLATOR, engine=engine, doses=doses, events=events, save_at=[1.0, 2.0, 3.0], **TIGHT
    )
    row = result.endpoints.iloc[0]
    assert (row["t_reached"], row["event_high"], row["event_also"]) == (2.0, 2.0, 2.0)
    saved = result.trajectories["x"].tolist()
    assert saved[1] == row["final_x"] == pytest.approx(3.0 + math.sin(2.0), abs=1e-8)
    assert math.isnan(saved[2])


@every_engine
def test_many_crossings_of_an_observable_are_all_counted(engine):
    events = [Event("wave", "exp_x", 2.0), Event("crest", "exp_x", 2.7, "up")]
    row = fastcart.solve(
        OSCILLATOR, {"frequency": [1.0]}, engine=engine, events=events, t_end=100.0, rtol=1e-7
    )
    row = row.endpoints.iloc[0]
    turns = math.floor(100.0 / (2 * math.pi))
    assert row["count_wave"] == 2 * turns + 2  # a crest begins at 94.2 + 0.77 and ends before 100
    assert row["count_crest"] == turns + 1
    assert row["event_wave"] == pytest.approx(math.asin(math.log(2.0)), abs=1e-5)


@njit
def _hump(t, y, p):
    return ((1.0 - t) * math.exp(-t),)


@every_engine
def test_the_peak_of_a_hump(engine):
    """The hump is t exp(-t)."""
    model = Model("hump", {"y": 0.0}, {"k": 1.0}, _hump, t_end=20.0)
    row = fastcart.solve(model, engine=engine, peaks="y", events=[Event("third", "y", 0.3)], rtol=1e-9)
    row = row.endpoints.iloc[0]
    assert row["peak_y"] == pytest.approx(math.exp(-1), abs=1e-8)
    assert row["t_peak_y"] == pytest.approx(1.0, abs=1e-3)
    assert row["count_third"] == 2
    assert row["event_third"] == pytest.approx(0.489402227180214, abs=1e-6)  # -W(-0.3)


WATCHED = {
    "li_lei": dict(
        peaks=["TE", "I6"], auc=["TE"], events=[Event("low", "C", 1e5, "down"), Event("many", "TE", 5e7)],
        doses=DosingSchedule().bolus(20.0, "TE", 1e7).infusion(40.0, "TM", 1e6, 2.0), extinction=1e4,
    ),
    "b_all": dict(
        peaks=["E", "C"], events=[Event("low", "L", 1e6, "down"), Event("back", "L", 1e8, "up", after="low")],
        doses=DosingSchedule().bolus(1.0, "E", 1e8).bolus(15.0, "M", 1e6), extinction=1.0, t_end=100.0,
    ),
}  # fmt: skip


# one by default: each compiles a large model anew
@pytest.mark.parametrize(
    ("model", "engine"),
    slow_but(
        [("b_all", "lsoda")],
        [(model, engine) for model in WATCHED for engine in ("lsoda", "scipy")],
        several=True,
    ),
)
def test_engines_agree_on_the_shipped_models(model, engine):
    patients = {"TE": [1e7, 2e7]} if model == "li_lei" else {"L": [1e10, 1e11]}
    expected = fastcart.solve(model, patients, engine="lanes", rtol=1e-9, **WATCHED[model]).endpoints
    found = fastcart.solve(model, patients, engine=engine, rtol=1e-9, **WATCHED[model]).endpoints
    for column in expected:
        if expected[column].dtype.kind == "f" and column != "rejected":
            near = dict(atol=0.02) if column.startswith(("t_peak", "t_nadir")) else dict(rtol=1e-4, atol=1e-3)
            np.testing.assert_allclose(found[column], expected[column], **near, err_msg=column)
        elif column.startswith(("count_", "status", "cured", "censored")):
            assert found[column].tolist() == expected[column].tolist(), column


def test_patients_that_lanes_give_up_are_watched_by_lsoda(monkeypatch):
    from fastcart.solvers import auto
    from fastcart.solvers.status import Status

    def gives_up(*args):
        result = solve_chunk(*args)
        result.status[:] = Status.max_steps
        return result

    solve_chunk = auto.lanes.solve_chunk
    options = dict(peaks=["x"], events=[Event("up", "x", 0.5, "up")])
    expected = only(OSCILLATOR, engine="lsoda", **options)
    monkeypatch.setattr(auto.lanes, "solve_chunk", gives_up)
    found = only(OSCILLATOR, **options)
    assert found["engine"] == "lsoda"
    for column in ("peak_x", "t_peak_x", "event_up", "count_up"):
        assert found[column] == expected[column]


@every_engine
def test_results_do_not_depend_on_neighbours(engine):
    rng = np.random.default_rng(5)
    patients = {"frequency": rng.uniform(0.5, 3.0, 200), "mine": rng.uniform(-0.3, 0.3, 200)}
    options = dict(
        engine=engine,
        peaks=["x", "exp_x"],
        auc=["x"],
        events=[Event("own", "x", "mine"), Event("next", "v", 0.0, after="own")],
    )
    if engine == "scipy":
        patients = {name: values[:3] for name, values in patients.items()}
    together = fastcart.solve(OSCILLATOR, patients, **options).endpoints
    for k in (0, 2) if engine == "scipy" else (0, 63, 64, 199):
        mine = {name: values[k : k + 1] for name, values in patients.items()}
        alone = fastcart.solve(OSCILLATOR, mine, **options).endpoints.drop(columns="patient")
        assert alone.iloc[0].equals(together.drop(columns="patient").iloc[k])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(peaks=["y"]), "no state or observable 'y'"),
        (dict(auc=["energyy"]), "Did you mean 'energy'"),
        (dict(peaks=["x"], engine="published"), "looks for no peaks and events"),
        (dict(auc=["x"], engine="published"), "integrates no areas"),
        (dict(events=[3]), "list of fastcart.Event, not 3"),
        (dict(events=[Event("a", "z", 1.0)]), "no state or observable 'z'"),
        (dict(events=[Event("a b", "x", 1.0)]), "named with letters"),
        (dict(events=[Event("a", "x", 1.0, "upp")]), "Did you mean 'up'"),
        (dict(events=[Event("a", "x", math.nan)]), "must be a finite number"),
        (dict(events=[Event("a", "x", "nowhere")]), "nor a column of the patients"),
        (dict(events=[Event("a", "x", 1.0), Event("a", "x", 2.0)]), "'a' is given twice"),
        (dict(events=[Event("a", "x", 1.0, after="b")]), "no event before it"),
        (dict(events=[Event("a", "x", 1.0), Event("b", "x", 1.0, terminal=True, after="a")]), "after a time"),
    ],
)
def test_bad_requests_are_one_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        fastcart.solve(OSCILLATOR, **options)
    assert "\n" not in str(caught.value)


def test_the_command_line_gives_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"TE": [1e7, 3e7], "mine": [2e7, 1e7]}).to_csv("p.csv", index=False)
    command = "run li_lei_coarse --patients p.csv --out e.csv --quiet --peaks TE --auc C"
    command += " --event low:C:1e5:down --event own:TE:mine:up:stop"
    assert main(command.split()) == 0
    found = pd.read_csv("e.csv", float_precision="round_trip")
    events = [Event("low", "C", 1e5, "down"), Event("own", "TE", "mine", "up", terminal=True)]
    expected = fastcart.solve(
        "li_lei_coarse", pd.read_csv("p.csv"), peaks=["TE"], auc=["C"], events=events
    ).endpoints
    for name in ("peak_TE", "t_peak_TE", "auc_C", "event_low", "count_low", "event_own", "t_reached"):
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("text", ["low:C", "low:C:1:up:go", "low:C:1:upp", "low:CC:1", "low:C:nowhere"])
def test_a_bad_event_on_the_command_line_is_one_sentence(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"TE": [1e7]}).to_csv("p.csv", index=False)
    assert main(f"run li_lei_coarse --patients p.csv --out e.csv --event {text}".split()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("fastcart: ")
    assert not (tmp_path / "e.csv").exists()


def test_events_may_be_none_and_nothing_else_but_events():
    plain = fastcart.solve("li_lei_coarse", t_end=1.0).endpoints
    pd.testing.assert_frame_equal(fastcart.solve("li_lei_coarse", t_end=1.0, events=None).endpoints, plain)
    with pytest.raises(InputError, match=r"events must be a list of fastcart.Event, not 5"):
        fastcart.solve("li_lei_coarse", events=5)
