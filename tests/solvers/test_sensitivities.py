"""Sensitivities: against closed forms, differences of solutions, and the laws of a batch."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from numba import njit

import fastcart
from fastcart import DosingSchedule, Event, InputError, Model, Observable, Parameter, State

ENGINES = ("auto", "lanes", "lsoda", "scipy")


@njit
def growing(t, y, p):
    return p.growth * y.C * (1.0 - y.C / p.capacity), p.feed - p.decay * y.E


@njit
def seen(t, y, p):
    return p.decay * y.E, math.log(y.C)


def model(**changes):
    parts = {
        "name": "logistic", "states": [State("C", "cells", 1e6, log=True), State("E", "cells", 1e7)],
        "parameters": {"growth": 0.3, "capacity": 1e9, "decay": 0.1, "feed": 0.0}, "rhs": growing,
        "t_end": 30.0,
        "observables": [Observable("loss"), Observable("lnC")], "observe": seen, "burden": "C",
    }  # fmt: skip
    return Model(**parts | changes)


def logistic(growth, capacity, C0, t):
    e = np.exp(-growth * t)
    return capacity / (1.0 + (capacity / C0 - 1.0) * e)


def slope(function, values, which):
    """The derivative of an analytic function, by a complex step."""
    moved = [complex(value) for value in values]
    size = abs(values[which]) or 1.0
    moved[which] += 1e-100j * size
    return np.imag(function(*moved)) / (1e-100 * size)


@pytest.mark.parametrize("engine", ENGINES)
def test_logistic_growth_and_decay(engine):
    names = ["E", "decay", "C", "capacity", "growth"]
    times = [0.0, 7.0, 30.0]
    result = fastcart.solve(
        model(), {"growth": [0.3, 0.5]}, sensitivities=names, save_at=times, auc=["E", "loss"], rtol=1e-10,
        engine=engine,
    )  # fmt: skip
    for i, growth in enumerate((0.3, 0.5)):
        row = result.endpoints.iloc[i]
        for k, name in enumerate(["growth", "capacity", "C"]):
            exact = [slope(lambda *x, t=t: logistic(*x, t), (growth, 1e9, 1e6), k) for t in times]
            path = result.sensitivities.query(f"patient == {i} and by == '{name}'")
            np.testing.assert_allclose(path["C"], exact, rtol=3e-7, atol=1e-9 * max(exact))
            assert row[f"d_final_C_d_{name}"] == pytest.approx(exact[-1], rel=3e-7)
            assert (path["E"] == 0.0).all()
        path = result.sensitivities.query(f"patient == {i} and by == 'decay'")
        t = np.array(times)
        np.testing.assert_allclose(path["E"], -t * 1e7 * np.exp(-0.1 * t), rtol=1e-8)
        np.testing.assert_allclose(path["loss"], (1.0 - 0.1 * t) * 1e7 * np.exp(-0.1 * t), rtol=1e-8)
        area = slope(lambda d: 1e7 * (1.0 - np.exp(-30.0 * d)) / d, (0.1,), 0)
        assert row["d_auc_E_d_decay"] == pytest.approx(area, rel=1e-8)
        assert row["d_auc_E_d_E"] == pytest.approx((1.0 - math.exp(-3.0)) / 0.1, rel=1e-8)
        assert row["d_auc_loss_d_decay"] == pytest.approx(30.0 * 1e7 * math.exp(-3.0), rel=1e-8)
        lnC = result.sensitivities.query(f"patient == {i} and by == 'C'")["lnC"].to_numpy()
        C = result.sensitivities.query(f"patient == {i} and by == 'C'")["C"].to_numpy()
        np.testing.assert_allclose(lnC, C / [logistic(growth, 1e9, 1e6, x) for x in times], rtol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_doses_in_closed_form(engine):
    """Boluses into a logarithm and into a state from zero, an infusion, and the end of both."""
    doses = DosingSchedule().bolus(0, "E", 1e6).bolus(5, "C", 1e6).bolus(20, "E", 1e5)
    doses = doses.infusion(10, "E", 4e6, 2)
    names = ["growth", "C", "decay", "E"]
    linear = model(parameters={"growth": 0.3, "capacity": 1e300, "decay": 0.1, "feed": 0.0})
    result = fastcart.solve(
        linear, {"E": [0.0, 1e3]}, doses=doses, sensitivities=names, rtol=1e-10, engine=engine,
        save_at=[5.0, 11.0],
    )  # fmt: skip

    def C(growth, C0):
        return C0 * np.exp(30.0 * growth) + 1e6 * np.exp(25.0 * growth)

    def E(decay, E0):
        infused = 2e6 / decay * (1.0 - np.exp(-2.0 * decay)) * np.exp(-18.0 * decay)
        return (1e6 + E0) * np.exp(-30.0 * decay) + infused + 1e5 * np.exp(-10.0 * decay)

    for i, E0 in enumerate((0.0, 1e3)):
        row = result.endpoints.iloc[i]
        assert row["final_E"] == pytest.approx(E(0.1, E0).real, rel=1e-8)
        for k, name in enumerate(["growth", "C"]):
            assert row[f"d_final_C_d_{name}"] == pytest.approx(slope(C, (0.3, 1e6), k), rel=1e-7)
        for k, name in enumerate(["decay", "E"]):
            assert row[f"d_final_E_d_{name}"] == pytest.approx(slope(E, (0.1, E0), k), rel=1e-7)
        path = result.sensitivities.query(f"patient == {i} and by == 'growth'")
        # at a dose, what is saved is behind it: the amount does not depend on the parameter
        assert path["C"].iloc[0] == pytest.approx(5.0 * 1e6 * math.exp(1.5), rel=1e-8)


def test_overlapping_infusions_end_exactly():
    """Behind the last infusion nothing flows, though rates are added up."""
    doses = DosingSchedule()
    for begin, amount in ((1, 1e7), (1.7, 0.3), (2.1, 1e5), (2.2, 7.0)):
        doses = doses.infusion(begin, "E", amount, 1.3)
    result = fastcart.solve(
        model(), {"E": 0.0, "decay": 40.0}, doses=doses, sensitivities=["decay"], save_at=[3.0, 29.0, 30.0]
    )
    assert result.trajectories["E"].iloc[1:].max() < 1e-9


@pytest.mark.parametrize("engine", ENGINES)
def test_own_start_at_zero(engine):
    """A state in logarithm that begins at an exact zero has a sensitivity to its own initial value."""
    result = fastcart.solve(
        model(), {"C": [0.0, 1e6]}, sensitivities=["growth", "C"], rtol=1e-9, engine=engine, t_end=10.0,
        doses=DosingSchedule().bolus(2, "C", 1e6),
    )  # fmt: skip
    row = result.endpoints.iloc[0]
    later = logistic(0.3, 1e9, 1e6, 8.0)
    by_start = slope(lambda C0: logistic(0.3, 1e9, C0, 8.0), (1e6,), 0) * math.exp(0.6)
    assert row["final_C"] == pytest.approx(later, rel=1e-7)
    assert row["d_final_C_d_C"] == pytest.approx(by_start, rel=1e-6)
    by_growth = slope(lambda g: logistic(g, 1e9, 1e6, 8.0), (0.3,), 0)
    assert row["d_final_C_d_growth"] == pytest.approx(by_growth, rel=1e-6)


def test_stiff_steps():
    """The traced step of the stiff method, against a decay whose fast part has a closed form."""

    @njit
    def rhs(t, y, p):
        return -p.fast * (y.A - p.level * y.B), -p.slow * y.B

    stiff = Model("stiff", {"A": 1.0, "B": 2.0}, {"fast": 1e5, "level": 3.0, "slow": 0.1}, rhs, t_end=10.0)

    def A(fast, level, slow, A0, B0):
        share = fast * level * B0 / (fast - slow)
        return share * np.exp(-10.0 * slow) + (A0 - share) * np.exp(-10.0 * fast)

    values = (1e5, 3.0, 0.1, 1.0, 2.0)
    names = ["fast", "level", "slow", "A", "B"]
    for method in ("rodas5p", None):
        row = fastcart.solve(stiff, 1, sensitivities=names, rtol=1e-9, method=method).endpoints.iloc[0]
        for k, name in enumerate(names):
            exact = slope(A, values, k)
            assert row[f"d_final_A_d_{name}"] == pytest.approx(exact, rel=1e-6, abs=1e-8 / values[k]), name


def test_removals_switches_and_own_times():
    """What is removed, a parameter that switches, and times to save of each patient's own."""
    doses = pd.DataFrame(
        {"time": [2.0, 5.0, 6.0], "state": ["C", "E", None], "amount": [-3e5, -1e6, np.nan]}
    ).assign(feed=[np.nan, np.nan, 2e5])
    linear = model(parameters={"growth": 0.3, "capacity": 1e300, "decay": 0.1, "feed": 0.0}, t_end=10.0)
    result = fastcart.solve(
        linear, {"patient": ["a", "b"], "C": [1e6, 2e6]}, doses=doses, rtol=1e-10, auc=["E"],
        sensitivities=["growth", "decay"], save_at=[[1.0, 4.0], [3.0]], save=["C"],
    )  # fmt: skip

    def C(growth, C0, t):
        return (C0 * np.exp(2.0 * growth) - 3e5) * np.exp((t - 2.0) * growth)

    def E(decay):
        before = (1e7 * np.exp(-5.0 * decay) - 1e6) * np.exp(-5.0 * decay)
        return before + 2e5 / decay * (1.0 - np.exp(-4.0 * decay))

    for i, C0 in enumerate((1e6, 2e6)):
        row = result.endpoints.iloc[i]
        assert row["d_final_C_d_growth"] == pytest.approx(slope(C, (0.3, C0, 10.0), 0), rel=1e-7)
        assert row["d_final_E_d_decay"] == pytest.approx(slope(E, (0.1,), 0), rel=1e-7)
    path = result.sensitivities
    assert path["patient"].tolist() == ["a"] * 4 + ["b"] * 2
    assert path["by"].tolist() == ["growth", "growth", "decay", "decay", "growth", "decay"]
    assert path["t"].tolist() == [1.0, 4.0, 1.0, 4.0, 3.0, 3.0]
    expected = [
        math.exp(0.3) * 1e6,
        slope(C, (0.3, 1e6, 4.0), 0),
        0.0,
        0.0,
        slope(C, (0.3, 2e6, 3.0), 0),
        0.0,
    ]
    np.testing.assert_allclose(path["C"], expected, rtol=1e-7)


# --- shipped models ---------------------------------------------------------------------------------------

DOSES = {
    "li_lei": DosingSchedule().bolus(0, "TE", 1e6).bolus(7, "T4", 1e3).infusion(10, "TE", 1e7, 2)
    .infusion(15, "TP", 1e6, 3).bolus(20, "C", 1e5).bolus(30, "TM", 1e4),
    "li_lei_cytokines": DosingSchedule().bolus(7, "T4", 1e3).infusion(10, "TE", 1e7, 2).bolus(20, "I6", 1e-4),
    "li_lei_coarse": DosingSchedule().bolus(7, "TE", 1e6).infusion(10, "TM", 1e5, 2).bolus(20, "C", 1e5),
    "b_all": DosingSchedule().bolus(0, "E", 1e6).bolus(7, "E", 1e7).infusion(10, "M", 1e5, 2)
    .bolus(30, "L", 1e4).infusion(40, "R", 1e2, 1.0),
    "t_cell": DosingSchedule().bolus(7, "S", 1e2).infusion(10, "E", 1e3, 2).bolus(20, "A", 1e4),
}  # fmt: skip
APART = 2e-4  # of a parameter: steps of differences of order 4


def directions(shipped, count=4):
    """Some parameters, drawn once, and the first and the last state."""
    known = [
        item.name for item in shipped.parameters
        if not callable(item.default) and item.default and item.range != (0.0, 1.0)
    ]  # fmt: skip
    drawn = sorted(np.random.default_rng(1).choice(len(known), count, replace=False))
    return [*(known[i] for i in drawn), shipped.state_names[0], shipped.state_names[-1]]


def difference(four, size):
    """The derivative from values at -2, -1, 1 and 2 steps."""
    return (8.0 * (four[2] - four[1]) - (four[3] - four[0])) / (12.0 * APART * size)


LARGE = (
    "li_lei",
    "li_lei_coarse",
    "li_lei_cytokines",
    "b_all",
    "t_cell",
)  # ten to thirty seconds of compiling each


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in DOSES]
)
def test_shipped_models(name):
    shipped = fastcart.models.get(name)
    names, defaults = directions(shipped), shipped.defaults()
    times = [0, 5, 7, 12, 20, 41, 60]
    asked = {
        "doses": DOSES[name], "save_at": times, "t_end": 60.0,
        "auc": [shipped.state_names[0], shipped.observable_names[-1]],
    }  # fmt: skip
    result = fastcart.solve(shipped, 1, sensitivities=names, rtol=1e-10, **asked)
    assert result.summary() == {"ok": 1}
    given = {item.name: defaults[item.name] for item in shipped.items if not callable(item.default)}
    moved = []
    for by in names:
        size = abs(defaults[by]) or 1.0
        values = [defaults[by] + k * APART * size for k in (-2, -1, 1, 2)]
        if by in shipped.state_names and defaults[by] == 0.0:  # none may be negative
            values = [k * APART * size for k in (0, 1, 3, 4)]
        moved += [given | {by: value} for value in values]
    rows = pd.DataFrame(moved)
    for item in shipped.items:  # computed, but where it is what moves
        if item.name in rows and callable(item.default):
            rows[item.name] = rows[item.name].fillna(item.default(rows))
    references = fastcart.solve(shipped, rows, rtol=1e-12, engine="lanes", **asked)
    courses = references.trajectories.groupby("patient")
    for k, by in enumerate(names):
        size = abs(defaults[by]) or 1.0
        four = range(4 * k, 4 * k + 4)
        path = result.sensitivities[result.sensitivities["by"] == by]
        for column in [*shipped.state_names, *shipped.observable_names]:
            values = np.stack([courses.get_group(i)[column].to_numpy() for i in four])
            exact = difference(values, size)
            # what a change of the parameter by its own size does, or a part of the quantity, if larger:
            # differences at rtol 1e-12 have a noise of 1e-9 of it
            largest = max(abs(exact).max(), 4e-3 * abs(values).max() / size)
            if defaults[by] != 0.0:
                assert abs(path[column].to_numpy() - exact).max() <= 1e-6 * largest, (by, column)
        for column in asked["auc"]:
            values = references.endpoints[f"auc_{column}"].to_numpy()[list(four)]
            exact = difference(values, size)
            largest = max(abs(exact), 1e-3 * abs(values[1]) / size)
            if defaults[by] != 0.0:
                assert abs(result.endpoints[f"d_auc_{column}_d_{by}"].iloc[0] - exact) <= 1e-6 * largest, by


def test_computed_defaults_move():
    """An initial value and a parameter that follow from a parameter move with it, unless they are given."""
    followed = model(
        states=[
            State("C", "cells", lambda v: 1e5 * v["decay"] ** 2 + v["E"], log=True), State("E", "cells", 1e7)
        ],
        parameters=[
            Parameter("growth", lambda v: 3.0 * v["decay"]), Parameter("capacity", 1e300),
            Parameter("decay", 0.1), Parameter("feed", lambda v: v["growth"] * 1e3),
        ],
    )  # fmt: skip

    def C(decay, E0):
        return (1e5 * decay**2 + E0) * np.exp(3.0 * decay * 30.0)

    result = fastcart.solve(followed, {"decay": [0.1, 0.2]}, sensitivities=["decay", "E"], rtol=1e-10)
    for i, decay in enumerate((0.1, 0.2)):
        row = result.endpoints.iloc[i]
        for k, name in enumerate(["decay", "E"]):
            assert row[f"d_final_C_d_{name}"] == pytest.approx(slope(C, (decay, 1e7), k), rel=1e-8)
    given = fastcart.solve(followed, {"decay": 0.1, "growth": 0.3, "C": 1e6}, sensitivities=["decay"])
    assert given.endpoints["d_final_C_d_decay"].iloc[0] == 0.0


# --- laws -------------------------------------------------------------------------------------------------


def dosed(**options):
    rng = np.random.default_rng(5)
    patients = pd.DataFrame({"growth": rng.uniform(0.1, 0.4, 70), "E": rng.uniform(0, 1e7, 70)})
    patients["patient"] = np.arange(70)
    doses = DosingSchedule().bolus(3, "C", 1e5).infusion(5, "E", 1e6, 2)
    return patients, {
        "doses": doses, "save_at": [0.0, 3.0, 20.0], "auc": ["loss"],
        "sensitivities": ["growth", "E", "decay"], **options,
    }  # fmt: skip


@pytest.mark.parametrize("engine", ["auto", "lsoda"])
def test_neighbours_threads_and_order_change_nothing(engine):
    patients, options = dosed(engine=engine, rtol=1e-7)
    whole = fastcart.solve(model(), patients, **options, threads=1)
    few = fastcart.solve(model(), patients.iloc[[40, 3, 69]], **options, threads=2)
    for i, k in enumerate((40, 3, 69)):
        pd.testing.assert_series_equal(few.endpoints.iloc[i], whole.endpoints.iloc[k], check_names=False)
        paths = [
            x.sensitivities[x.sensitivities["patient"] == k].reset_index(drop=True) for x in (few, whole)
        ]
        pd.testing.assert_frame_equal(*paths)
    turned = {**options, "sensitivities": options["sensitivities"][::-1]}
    other = fastcart.solve(model(), patients, **turned, threads=2)
    pd.testing.assert_frame_equal(other.endpoints, whole.endpoints)
    pd.testing.assert_frame_equal(other.sensitivities, whole.sensitivities)


def test_groups_of_directions_agree(monkeypatch):
    from fastcart.solvers import sensitivities

    patients, options = dosed(rtol=1e-9)
    whole = fastcart.solve(model(), patients, **options)
    monkeypatch.setattr(sensitivities, "_MOST", 4)  # one direction at a time
    apart = fastcart.solve(model(), patients, **options)
    assert list(apart.endpoints) == list(whole.endpoints)
    for column in [x for x in whole.endpoints if x.startswith("d_")]:
        one, other = apart.endpoints[column], whole.endpoints[column]
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8 * abs(other).max() + 1e-6)
    assert (apart.endpoints["steps"] > whole.endpoints["steps"]).all()


def test_what_is_asked_for_is_there():
    result = fastcart.solve(model(), 2, sensitivities=["decay", "C"], save_at=[0.0, 1.0], save=["E", "lnC"])
    assert list(result.sensitivities) == ["patient", "by", "t", "E", "lnC"]
    assert result.sensitivities["by"].tolist() == ["decay", "decay", "C", "C"] * 2
    for end, name in itertools.product(("C", "E"), ("decay", "C")):
        assert f"d_final_{end}_d_{name}" in result.endpoints
    assert fastcart.solve(model(), 1, sensitivities=["decay"]).sensitivities is None
    assert fastcart.solve(model(), 1, save_at=[1.0]).sensitivities is None


def test_peaks_and_events_that_do_not_act_are_found_as_before():
    event = Event("low", "E", 1e6, direction="down")
    options = {"events": [event], "peaks": ["loss"], "rtol": 1e-9}
    plain = fastcart.solve(model(), 3, **options).endpoints
    both = fastcart.solve(model(), 3, **options, sensitivities=["decay"]).endpoints
    for column in ("event_low", "peak_loss", "final_C"):
        np.testing.assert_allclose(both[column], plain[column], rtol=1e-7)
    assert both["d_final_E_d_decay"].iloc[0] == pytest.approx(-30.0 * 1e7 * math.exp(-3.0), rel=1e-7)


def test_who_fails_has_no_sensitivities():
    result = fastcart.solve(model(), 2, sensitivities=["growth"], save_at=[1.0], max_steps=2, warn=False)
    assert set(result.endpoints["status"]) == {"max_steps"}
    assert result.endpoints["d_final_C_d_growth"].isna().all()
    assert result.sensitivities[["C", "E"]].isna().all(axis=None)


def test_a_prepared_solver_gives_the_same():
    doses = DosingSchedule().bolus(3, "C", 1e5).infusion(5, "E", 1e6, 2)
    options = {"doses": doses, "save_at": [1.0, 20.0], "auc": ["loss"], "sensitivities": ["growth", "E"]}
    solution = fastcart.prepare(model(), ["growth", "E"], **options)([[0.3, 1e7], [0.2, 0.0]])
    result = fastcart.solve(model(), {"growth": [0.3, 0.2], "E": [1e7, 0.0]}, **options)
    for column in (x for x in result.endpoints if x.startswith("d_")):
        np.testing.assert_array_equal(solution.endpoints[column], result.endpoints[column])
    for by in ("growth", "E"):
        path = result.sensitivities[result.sensitivities["by"] == by]
        for column in ("C", "E", "auc_loss", "loss", "lnC"):
            np.testing.assert_array_equal(solution.sensitivities[by][column], path[column])


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "options", "sentence"),
    [
        (["grwth"], {}, "no parameter or state 'grwth'"),
        (["loss"], {}, "no parameter or state 'loss'"),
        (["growth"], {"events": [Event("low", "E", 1.0, terminal=True)]}, "cannot end at event 'low'"),
        (["growth"], {"engine": "published"}, "has no"),
        (["decay"], {"breaks": ["decay"]}, "time of a break is 'decay'"),
    ],
)
def test_refusals(asked, options, sentence):
    with pytest.raises(InputError, match=sentence):
        fastcart.solve(model(), 1, sensitivities=asked, **options)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"lag": "decay"}, "depends on 'decay'"),
        ({"bioavailability": "decay"}, "depends on 'decay'"),
        ({"steady": 1, "every": 7.0}, "not through a reset or a steady state"),
        ({"decay": 0.3}, "depends on 'decay' or switches it"),
    ],
)
def test_doses_that_move_are_refused(columns, sentence):
    doses = pd.DataFrame(
        {"time": [3.0], "state": ["E"], "amount": [1e6], **{k: [v] for k, v in columns.items()}}
    )
    with pytest.raises(InputError, match=sentence):
        fastcart.solve(model(), 1, doses=doses, sensitivities=["decay"])


def test_actions_are_refused():
    event = Event("low", "E", 1e6, direction="down", actions=fastcart.Action("E", "add", 1e6))
    with pytest.raises(InputError, match="what event 'low' does"):
        fastcart.solve(model(), 1, events=[event], sensitivities=["growth"])


def test_extinction_is_refused():
    dying = model(states=[State("C", "cells", 1e6, log=True, extinction=True), State("E", "cells", 1e7)])
    with pytest.raises(InputError, match="extinction"):
        fastcart.solve(dying, 1, sensitivities=["growth"], extinction=1.0)


def test_a_switch_whose_time_moves_is_refused():
    @njit
    def rhs(t, y, p):
        return (p.rate if t < p.stop else 0.0,)

    switched = Model("switched", {"A": 0.0}, {"rate": 1.0, "stop": 3.0}, rhs, t_end=10.0)
    with pytest.raises(InputError, match="a switch whose time moves with 'stop'"):
        fastcart.solve(switched, 1, sensitivities=["rate", "stop"])
    row = fastcart.solve(switched, 1, sensitivities=["rate"], breaks=["stop"], rtol=1e-9).endpoints.iloc[0]
    assert row["d_final_A_d_rate"] == pytest.approx(3.0, rel=1e-8)


def test_a_jump_at_a_level_is_refused_and_a_corner_is_not():
    @njit
    def jump(t, y, p):
        return (p.rate if y.A < 1e3 else 3.0 * p.rate,)

    @njit
    def corner(t, y, p):
        return (p.rate * max(0.0, 1e3 - y.A) + (2.0 * y.A if y.A > 500.0 else y.A + 500.0),)

    parts = ({"A": 1.0}, {"rate": 2.0})
    with pytest.raises(InputError, match="jumps where a state crosses a level"):
        fastcart.solve(Model("jump", *parts, jump, t_end=1e3), 1, sensitivities=["rate"])
    result = fastcart.solve(Model("corner", *parts, corner, t_end=1.0), 1, sensitivities=["rate"])
    assert result.summary() == {"ok": 1}


def test_what_cannot_be_traced_is_refused():
    @njit
    def rhs(t, y, p):
        total = 0.0
        while total < y[0]:
            total += p[0]
        return (-total,)

    looping = Model("looping", {"A": 1.0}, {"step": 0.5}, rhs, t_end=1.0)
    with pytest.raises(InputError, match=r"'looping' are not known: .* loop whose end depends"):
        fastcart.solve(looping, 1, sensitivities=["step"])
