"""Engine lsoda beside forks, threads and whoever else uses the process."""

from __future__ import annotations

import subprocess
import sys

import pytest
from numba import njit

import fastcart
from fastcart.solvers.reading import may_raise, uses_time

linux = pytest.mark.skipif(sys.platform != "linux", reason="no fork, or no table of files for each thread")

START = """
import multiprocessing, os, threading
import numpy as np
from numba import njit
import fastcart

@njit
def rhs(t, y, p):
    return (p[0] * y[0] * y[0],)

MODEL = fastcart.Model("explosive", {"C": 1.0}, {"r": 1.0}, rhs, t_end=5.0, burden="C")
RATES = np.linspace(0.01, 1.0, 200)

def ends(_=0):
    table = fastcart.solve(MODEL, {"r": RATES}, engine="lsoda", warn=False).endpoints
    return table["status"].astype(str).tolist(), table["final_C"].fillna(-1.0).tolist()

def standard_error():
    file = os.fstat(2)
    return file.st_dev, file.st_ino

alone = ends()
"""


def run(text):
    done = subprocess.run(
        [sys.executable, "-c", START + text], capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout.split(), done.stderr


@linux
def test_lsoda_works_in_a_forked_process():
    text = """
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(all(found == alone for found in pool.map_async(ends, range(4)).get(60)))
"""
    assert run(text) == (0, ["True"], "")


@linux
def test_threads_of_python_may_solve_at_once_and_standard_error_stays_where_it_is():
    text = """
before = standard_error()
found, seen = [], set()
threads = [threading.Thread(target=lambda: found.append(ends())) for _ in range(5)]
for thread in threads:
    thread.start()
while any(thread.is_alive() for thread in threads):
    seen.add(standard_error())
seen.add(standard_error())
print(len(found), all(one == alone for one in found), seen == {before})
"""
    assert run(text) == (0, ["5", "True", "True"], "")


@linux
def test_what_lsoda_writes_does_not_reach_the_terminal_but_other_words_do():
    """Behind a blow-up LSODA warns on standard error; a thread beside it is still heard."""
    text = """
print("failed" if "ok" != alone[0][-1] else "nothing failed")
stop = threading.Event()
def speak():
    while not stop.is_set():
        os.write(2, b".")
        stop.wait(0.001)
speaker = threading.Thread(target=speak)
speaker.start()
for _ in range(5):
    ends()
stop.set()
speaker.join()
"""
    code, out, err = run(text)
    assert (code, out) == (0, ["failed"])
    assert len(err) >= 3
    assert set(err) == {"."}


@njit
def _passes_on(t, x):
    return x


@njit
def _looks(t, x):
    return x + t


@njit
def _raises(x):
    if x < 0:
        raise ValueError("negative")
    return x


def _with(helper):
    @njit
    def rhs(t, y, p):
        return (helper(t, y[0]),)

    return rhs


@njit
def _helped(t, y, p):
    return (_raises(y[0]),)


def test_whether_a_right_hand_side_looks_at_the_time_or_may_raise():
    """What the shipped models do not do costs them nothing."""
    assert not uses_time(_with(_passes_on))
    assert uses_time(_with(_looks))
    assert may_raise(_helped)
    for name in fastcart.models.names():
        rhs = fastcart.models.get(name).rhs
        assert uses_time(rhs) == (name in ("cart_kinetics", "carrgo", "chaudhury"))
        assert not may_raise(rhs)
