"""What is kept of the batch before never changes a number: edits and other options are seen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

import fastcart
from fastcart import Algebraic, Event, Model, Observable, Parameter
from fastcart.batch import _MOST_KEPT, _problems

_rate = 1.0


@njit
def rhs(t, y, p):
    return (-_rate * p.k * y.x,)


@njit
def observe(t, y, p):
    return (_rate * y.x,)


SEEN = [Observable("seen")]
DECAY = Model("decay", {"x": 1.0}, {"k": 1.0}, rhs, observables=SEEN, observe=observe, t_end=1.0)


def test_an_edit_of_what_a_right_hand_side_names_is_seen(monkeypatch):
    for rate in (1.0, 2.0, 1.0):
        monkeypatch.setitem(globals(), "_rate", rate)
        result = fastcart.solve(DECAY, 1, save_at=[1.0])
        np.testing.assert_allclose(result.endpoints["final_x"], np.exp(-rate), rtol=1e-5)
        np.testing.assert_allclose(result.trajectories["seen"], rate * np.exp(-rate), rtol=1e-5)


@njit
def residual(t, y, p):
    return (y.seen - _rate * y.x,)


@njit
def by_seen(t, y, p):
    return (-p.k * y.seen,)


def test_an_edit_of_what_a_residual_names_is_seen(monkeypatch):
    seen = Model("seen", {"x": 1.0}, {"k": 1.0}, by_seen, algebraic=[Algebraic("seen")], residual=residual)
    for rate in (1.0, 2.0, 1.0):
        monkeypatch.setitem(globals(), "_rate", rate)
        result = fastcart.solve(seen, 1, t_end=1.0)
        np.testing.assert_allclose(result.endpoints["final_x"], np.exp(-rate), rtol=1e-5)
        np.testing.assert_allclose(result.endpoints["final_seen"], rate * np.exp(-rate), rtol=1e-5)


def test_the_method_is_chosen_anew_where_typical_patients_are_others():
    rate = {"k": 1.0}
    stiff = Model("stiff", {"x": 1.0}, [Parameter("k", lambda known: rate["k"])], rhs, t_end=1.0)
    given = Model("stiff", {"x": 1.0}, {"k": 1.0}, rhs, t_end=1.0, typical={"k": 1.0})
    begun = []
    for k in (1.0, 1e6, 1.0):
        rate["k"] = given.typical["k"] = k
        begun += [fastcart.solve(model, 1).options["begins_with"] for model in (stiff, given)]
    assert begun == [*["vern7"] * 2, *["rodas5p"] * 2, *["vern7"] * 2]


def test_models_that_cannot_be_compared_are_solved():
    for level in (1.0, 2.0, 1.0):
        model = DECAY.replace(options={"levels": np.array([level, 0.0])}, parameters={"k": level})
        np.testing.assert_allclose(fastcart.solve(model, 1).endpoints["final_x"], np.exp(-level), rtol=1e-5)


def test_times_that_the_caller_changes_are_other_times():
    times = np.array([0.25, 0.5])
    first = fastcart.solve(DECAY, 1, save_at=times).trajectories["t"]
    times[1] = 1.0
    fastcart.solve(DECAY, 1, save_at=[0.25, 0.5])
    assert fastcart.solve(DECAY, 1, save_at=times).trajectories["t"].tolist() == [0.25, 1.0]
    assert fastcart.solve(DECAY, 1, save_at=[0.25, 0.5]).trajectories["t"].tolist() == first.tolist()


def test_options_and_models_are_told_apart():
    def final(model=DECAY, patients=1, **options):
        return fastcart.solve(model, patients, **options).endpoints.iloc[0]

    assert final(rtol=1e-3)["steps"] < final(rtol=1e-9)["steps"]
    assert final(t_end=2.0)["final_x"] < final()["final_x"]
    below, above = (final(events=[Event("e", "x", level)])["event_e"] for level in (0.5, 0.75))
    np.testing.assert_allclose([below, above], -np.log([0.5, 0.75]), rtol=1e-5)
    faster = DECAY.replace(parameters={"k": 3.0})
    np.testing.assert_allclose(final(faster)["final_x"], np.exp(-3.0), rtol=1e-5)
    assert final(save_at=[0.5], save=["seen"])["final_x"] == final(save_at=[0.5])["final_x"]


def test_the_last_problems_are_kept_and_no_more():
    for k in range(2 * _MOST_KEPT):
        fastcart.solve(DECAY, 1, t_end=1.0 + k)
    assert len(_problems) <= _MOST_KEPT


def test_many_threads_keep_problems_at_a_time():
    def final(k: int) -> float:
        return fastcart.solve(DECAY, 1, t_end=1.0 + k, threads=1).endpoints["final_x"][0]

    many = [*range(3 * _MOST_KEPT)] * 2
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(final, many))
    assert found == [final(k) for k in many]
