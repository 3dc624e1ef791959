"""Every patient of a batch gets an answer, however the batch is made up."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import draw_patients
from numba import njit

import fastcart
from fastcart import Model, Observable, PatientsFailed, State

SIZES = (1, 31, 33, 65, 257, 1000)


@njit
def _inflow(t, y, p):
    return (p[0] - 0.5 * y[0],)


@njit
def _stiff(t, y, p):
    return (-p[0] * (y[0] - np.cos(t)), -0.1 * y[1])


INFLOW = Model("inflow", {"y": 0.0}, {"a": 1.0}, _inflow, t_end=10.0, burden="y")
STIFF = Model("forced_stiff", {"y": 1.0, "z": 1.0}, {"k": 1e6}, _stiff, t_end=9.0)
SHIPPED = ("li_lei", "li_lei_cytokines", "li_lei_coarse", "b_all", "t_cell")


def statuses(*args, **options) -> dict[str, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PatientsFailed)
        result = fastcart.solve(*args, **options)
    assert len(result.endpoints) == sum(result.summary().values())
    return result.summary()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("model", [*SHIPPED, INFLOW, STIFF], ids=lambda m: getattr(m, "name", m))
def test_equal_patients_all_get_an_answer(model, threads):
    for size in SIZES if model not in ("b_all", "t_cell", "li_lei_cytokines") else (1, 33, 257):
        assert statuses(model, size, threads=threads) == {"ok": size}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_other_batches_all_get_an_answer(size, threads):
    without_effect = {"K_TP": np.linspace(4e7, 6e7, size)}
    assert statuses("li_lei", without_effect, threads=threads) == {"ok": size}
    varied = draw_patients(size, seed=3)
    for horizon in (1e-3, 0.1, 1.0):
        assert statuses("li_lei", varied, t_end=horizon, threads=threads) == {"ok": size}
    assert statuses("li_lei", varied, max_steps=5, threads=threads) == {"max_steps": size}
    assert statuses(INFLOW, {"a": np.linspace(1, 2, size)}, threads=threads) == {"ok": size}


@pytest.mark.parametrize("method", ["tsit5", "vern7", "dop853", "stab5", "rodas5p"])
def test_every_method_answers_for_everybody(method):
    for size in (1, 33, 65, 257):
        assert statuses(INFLOW, size, engine="lanes", method=method, threads=2) == {"ok": size}


def test_who_is_stiff_from_the_start_is_handed_over():
    rng = np.random.default_rng(1)
    k = rng.permutation(np.r_[np.full(70, 1e7), np.full(70, 1.0)])
    mild = STIFF.replace(parameters={"k": 1.0})
    result = fastcart.solve(mild, {"k": k}, threads=2)
    assert result.summary() == {"ok": 140}
    stiff = result.endpoints["engine"].eq("lanes-rodas5p")
    assert (stiff == (k > 1e6)).all()


def test_answers_do_not_depend_on_neighbours_that_end_together():
    """Equal rows among others: the whole batch, its halves and single rows agree to the bit."""
    mixed = pd.concat([draw_patients(40, seed=4), draw_patients(1, seed=5).loc[[0] * 70]], ignore_index=True)
    whole = fastcart.solve("li_lei", mixed, threads=2).endpoints.drop(columns="patient")
    halves = [fastcart.solve("li_lei", part, threads=1).endpoints for part in (mixed[:55], mixed[55:])]
    split = pd.concat(halves, ignore_index=True).drop(columns="patient")
    pd.testing.assert_frame_equal(whole, split, check_exact=True)
    assert whole[40:].drop_duplicates().shape[0] == 1


def test_failed_patients_are_said_once_with_counts():
    patients = {"y": [1.0] * 40, "k": [1e7] * 3 + [1.0] * 37}
    with pytest.warns(PatientsFailed, match="3 of 40 patients were not solved") as caught:
        result = fastcart.solve(STIFF, patients, method="tsit5", max_steps=500)
    assert len(caught) == 1
    assert caught[0].message.counts == {"ok": 37, "max_steps": 3}
    assert caught[0].filename == __file__
    assert result.summary() == {"ok": 37, "max_steps": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fastcart.solve(STIFF, patients, method="tsit5", max_steps=500, warn=False)


def test_an_engine_that_leaves_somebody_out_is_an_internal_error(monkeypatch):
    from fastcart.solvers.lanes import engine
    from fastcart.solvers.status import Status

    solve_chunk = engine.solve_chunk

    def forgetful(*args):
        result = solve_chunk(*args)
        result.status[-1] = Status.not_run
        return result

    monkeypatch.setattr(engine, "solve_chunk", forgetful)
    with pytest.raises(RuntimeError, match="left out 1 of 5 patients"):
        fastcart.solve(INFLOW, 5, engine="lanes")


@njit
def _decay(t, y, p):
    return (-y.x,)


@njit
def _inverse(t, y, p):
    return (1.0 / (y.x - 0.5),)


def test_looks_at_a_pole_come_to_an_end():
    """Engine ``scipy`` looked ever closer at an observable that has no highest value."""
    observed = dict(observables=[Observable("inverse")], observe=_inverse)
    model = Model("pole", {"x": 1.0}, {"k": 1.0}, _decay, t_end=2.0, **observed)
    assert statuses(model, 1, engine="scipy", peaks=["inverse"], max_steps=500) == {"max_steps": 1}


@njit
def _bounded(t, y, p):
    if y.x < p.low:
        raise ValueError("too low")
    return (-y.x,)


@pytest.mark.parametrize("engine", ["auto", "lanes"])
def test_who_starts_where_an_error_is_raised_has_met_one(engine):
    """All steps but those that change nothing raise it: the budget went for these."""
    model = Model("bounded", {"x": 1.0}, {"low": 1.0}, _bounded, t_end=2.0)
    assert statuses(model, 1, engine=engine) == {"rhs_error": 1}


@njit
def _fed(t, y, p):
    return (p.s - p.d * y.C,)


@pytest.mark.parametrize("engine", ["auto", "lsoda"])
@pytest.mark.parametrize("start", [1e-30, 1e-100, 1e-200])
def test_a_state_in_logarithm_that_is_fed_from_next_to_nothing(engine, start):
    """LSODA said that it had come to the end where derivatives were so large that it took no step."""
    model = Model("fed", [State("C", default=1.0, log=True)], {"s": 5.0, "d": 10.0}, _fed, t_end=100.0)
    found = fastcart.solve(model, {"C": [start]}, engine=engine, warn=False).endpoints
    assert found["status"][0] != "blow_up"
    if found["status"][0] == "ok":
        assert found["final_C"][0] == pytest.approx(0.5, rel=1e-5)
    assert found["status"][0] == "ok" or start < 1e-150
