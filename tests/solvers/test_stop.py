"""A solve that is stopped by another thread, or fails, ends at once and spoils none that comes after."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import fastcart
from fastcart.solvers.threads import Stop, StoppedError, in_threads

MANY = np.geomspace(1e6, 1e8, 20_000)[:, None]


@pytest.fixture(scope="module")
def solver():
    return fastcart.prepare("li_lei", ["TE"], save_at=[50.0, 100.0], save=["C"], threads=2)


def stopped_after(seconds: float, solver, values) -> bool:
    """Solve in a thread, ask it to stop, and return whether it was."""
    stop, begun, found = Stop(), threading.Event(), []

    def work():
        try:
            with stop.here():
                begun.set()
                solver(values)
            found.append(False)
        except StoppedError:
            found.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    threading.Event().wait(seconds)
    stop()
    thread.join(60)
    assert not thread.is_alive()
    return found[0]


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.1])
def test_a_stop_ends_the_solve_and_later_ones_are_right_to_the_bit(solver, seconds):
    before = solver(MANY[::40])
    assert stopped_after(seconds, solver, MANY)
    after = solver(MANY[::40])
    np.testing.assert_array_equal(before.final, after.final)
    np.testing.assert_array_equal(before.saved["C"], after.saved["C"])


def test_lsoda_stops_too():
    stop = Stop()
    solver = fastcart.prepare("leon_triana", ["C"], engine="lsoda")
    assert solver([[1e6]]).failed == 0
    stop()
    with pytest.raises(StoppedError), stop.here():
        solver([[1e6]])
    assert solver([[1e6]]).failed == 0  # the thread itself is free again


def test_who_is_not_asked_to_stop_goes_on():
    stop = Stop()
    with stop.here():
        assert fastcart.solve("leon_triana").summary() == {"ok": 1}
    assert not stop.asked
    stop()
    assert stop.asked
    assert fastcart.solve("leon_triana").summary() == {"ok": 1}


def until_stopped(control, begun):
    """Do as a kernel: go on until it is asked to stop."""
    begun.set()
    while control[0] == 0:
        threading.Event().wait(0.001)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_thread_of_the_caller_ends_the_job_beside_it(error):
    control, begun, before = np.zeros(1, dtype=np.int64), threading.Event(), threading.active_count()

    def fails():
        begun.wait(60)
        raise error

    with pytest.raises(error):
        in_threads([fails, lambda: until_stopped(control, begun)], 2, control, joined=True)
    assert threading.active_count() == before
    assert begun.is_set()


def test_nobody_waits_for_the_jobs_beside_one_that_fails():
    control, begun = np.zeros(1, dtype=np.int64), threading.Event()

    def fails():
        begun.wait(60)
        raise ValueError("first")

    def goes_on():
        until_stopped(control, begun)

    with pytest.raises(ValueError, match="first"):
        in_threads([fails, goes_on, goes_on], 2, control)
    assert control[0] == 1


def test_an_error_beside_the_caller_reaches_it():
    who = []

    def fails():
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        in_threads(
            [lambda: who.append(threading.current_thread()), fails],
            2,
            np.zeros(1, dtype=np.int64),
            joined=True,
        )
    assert who == [threading.current_thread()]


def test_a_stop_reaches_the_caller_and_the_job_beside_it():
    control, stop = np.zeros(1, dtype=np.int64), Stop()
    begun = [threading.Event(), threading.Event()]

    def stopper():
        for one in begun:
            one.wait(60)
        stop()

    thread = threading.Thread(target=stopper)
    thread.start()
    with pytest.raises(StoppedError), stop.here():
        in_threads([lambda x=x: until_stopped(control, x) for x in begun], 2, control, joined=True)
    thread.join()


@pytest.mark.parametrize("joined", [False, True])
def test_jobs_treat_what_is_no_number_as_their_caller_does(joined):
    """A job may call a function of the user's, who asked for an error, or for silence."""
    seen = []
    jobs = [lambda: seen.append(np.geterr()["invalid"])] * 3
    for mode in ("raise", "ignore"):
        with np.errstate(invalid=mode):
            in_threads(jobs, 2, np.zeros(1, dtype=np.int64), joined=joined)
    assert seen == ["raise"] * 3 + ["ignore"] * 3
