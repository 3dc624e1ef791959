"""A run that two processes work on: each part is made once, whoever fails, and a kill ends both."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import numpy as np
import pytest

from fastcart.runs.forms import ARRAYS
from fastcart.runs.manifest import Manifest
from fastcart.runs.sharing import helped, in_two
from fastcart.runs.store import open_run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be copied here")
PARTS = 8


@pytest.fixture
def alone(monkeypatch):
    """Let the threads of whoever runs the tests not count."""
    monkeypatch.setattr("fastcart.runs.sharing._can_copy", lambda: True)


def opened(folder, **how):
    return open_run(folder, Manifest("test", {"parts": PARTS}), resume=True, **how)


def made(run, k, log, wait=0.05):
    def make():
        with log.open("a") as file:
            file.write(f"{os.getpid()} {k}\n")
        time.sleep(wait)
        return {"x": np.full(3, float(k))}

    return run.kept(f"parts/{k}.npz", make, ARRAYS)["x"]


def all_of(run, log, order, threads=1):
    return {k: made(run, k, log) for k in order}


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "parts").iterdir())}


@pytest.mark.parametrize("threads", [1, 2])
def test_each_part_is_made_once_and_is_the_same(tmp_path, alone, threads):
    log = tmp_path / "log"
    with opened(tmp_path / "run") as run:
        backwards = partial(all_of, run, log, range(PARTS - 1, -1, -1))
        with helped(run, [lambda given: backwards(threads=given)], threads=threads) as left:
            assert left == 1
            found = all_of(run, log, range(PARTS))
    assert [found[k].tolist() for k in range(PARTS)] == [[k] * 3 for k in range(PARTS)]
    lines = [line.split() for line in log.read_text().splitlines()]
    assert sorted(int(k) for _, k in lines) == list(range(PARTS))
    assert len({process for process, _ in lines}) == threads
    assert len(bytes_of(tmp_path / "run")) == PARTS  # and nothing hidden is left
    with opened(tmp_path / "run") as again:
        assert all(again.has(f"parts/{k}.npz") for k in range(PARTS))


def test_what_the_copy_fails_at_is_done_by_its_original(tmp_path, alone):
    log = tmp_path / "log"

    def fails(threads):
        made(run, 5, log)
        run.kept("parts/6.npz", lambda: 1 / 0, ARRAYS)  # claimed, and never finished

    with opened(tmp_path / "run") as run, helped(run, [fails], threads=2):
        time.sleep(0.3)
        found = all_of(run, log, range(PARTS))
    assert len(found) == PARTS
    assert sorted(int(line.split()[1]) for line in log.read_text().splitlines()) == list(range(PARTS))


def test_an_error_of_the_original_ends_the_copy(tmp_path, alone):
    began = time.monotonic()
    with (
        pytest.raises(ValueError, match="bad"),
        opened(tmp_path / "run") as run,
        helped(run, [lambda threads: time.sleep(60)], threads=2),
    ):
        raise ValueError("bad")
    assert time.monotonic() - began < 30


def test_a_kill_ends_the_copy_and_the_run_goes_on(tmp_path, alone):
    log, folder = tmp_path / "log", tmp_path / "run"
    process = os.fork()
    if process == 0:
        try:
            with opened(folder) as run:
                slowly = [lambda threads: [made(run, k, log, 0.2) for k in range(PARTS - 1, -1, -1)]]
                with helped(run, slowly, threads=2):
                    [made(run, k, log, 0.2) for k in range(PARTS)]
        finally:
            os._exit(0)
    while not log.exists() or len({x.split()[0] for x in log.read_text().splitlines()}) < 2:
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    copy = next(int(x.split()[0]) for x in log.read_text().splitlines() if int(x.split()[0]) != process)
    for _ in range(500):
        try:
            os.kill(copy, 0)
        except ProcessLookupError:
            break
        time.sleep(0.01)
    else:
        pytest.fail("the copy lives on")
    with opened(folder) as run:
        all_of(run, log, range(PARTS))
    with opened(tmp_path / "other") as run:
        all_of(run, log, range(PARTS))
    assert bytes_of(folder) == bytes_of(tmp_path / "other")


def test_jobs_in_two_processes_write_all_their_files(tmp_path, alone):
    def job(k, fails=False):
        if fails and os.getpid() != original:
            raise ValueError
        (tmp_path / f"{k}").write_text(f"{os.getpid()}")

    original = os.getpid()
    in_two([partial(job, k) for k in range(5)], threads=2)
    assert len({(tmp_path / f"{k}").read_text() for k in range(5)}) == 2
    in_two([partial(job, k, fails=True) for k in range(5)], threads=2)
    assert {(tmp_path / f"{k}").read_text() for k in range(5)} == {f"{original}"}
    in_two([partial(job, k) for k in range(5)], threads=1)
    assert {(tmp_path / f"{k}").read_text() for k in range(5)} == {f"{original}"}
