"""Large batches, of which each thread takes a part from the table to the results."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest
from numba import njit

import fastcart
from fastcart import DosingSchedule, Event, Model, batch
from fastcart.bench import varied_patients
from fastcart.bench_serial import serial_note, serial_share
from fastcart.errors import InputError


@njit
def _rotation(t, y, p):
    return (p.w * y.b, -p.w * y.a)


ENDLESS = Model("endless", {"a": 1.0, "b": 0.0}, {"w": 1e6}, _rotation, t_end=1e6)


@pytest.mark.parametrize("threads", [1, 2])
def test_parts_are_irrelevant(monkeypatch, threads):
    """Solved part by part in threads of their own: the tables of one chunk, to the bit."""
    patients = varied_patients("li_lei", 150, seed=4).assign(site="x", patient=np.arange(150) + 7)
    options = dict(
        keep=["site"], save_at=[[0.0, 50.0][: k % 3] for k in range(150)], save=["C", "I6"], peaks=["I6"],
        events=[Event("low", "C", 1e5, "down")], doses=DosingSchedule().bolus(3.0, "TE", 1e6),
    )  # fmt: skip
    monkeypatch.setattr(batch, "_ALONE", ())
    whole = fastcart.solve("li_lei", patients, **options)
    monkeypatch.undo()
    monkeypatch.setattr(batch, "_PART", 37)
    parts = fastcart.solve("li_lei", patients, threads=threads, **options)
    pd.testing.assert_frame_equal(parts.endpoints, whole.endpoints, check_exact=True)
    pd.testing.assert_frame_equal(parts.trajectories, whole.trajectories, check_exact=True)


@pytest.mark.parametrize(("total", "most", "threads"), [(100, 37, 2), (5, 8, 2), (64, 8, 3), (1, 1, 1)])
def test_parts_cover_all_and_are_of_one_size(total, most, threads):
    parts = batch.even_parts(total, most, threads)
    assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
    assert parts[-1][1] == total
    assert max(stop - start for start, stop in parts) <= most
    assert len(parts) <= threads * -(-total // (most * threads))


def test_a_bad_cell_of_a_large_table_is_named():
    values = np.full(70_000, 1e7)
    values[69_998] = np.nan
    with pytest.raises(InputError, match="'TP' holds an empty cell or NaN in row 69999"):
        fastcart.solve("li_lei", {"TE": values, "TP": -values}, threads=2)


def test_an_interrupt_ends_kernels_within_threads():
    patients = {"w": np.full(2 * batch._PART, 1e6)}
    main = threading.main_thread().ident
    timer = threading.Timer(1.0, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fastcart.solve(ENDLESS, patients, engine="lanes", method="tsit5", max_steps=2**31 - 1, threads=2)
    assert time.monotonic() - begun < 60
    assert fastcart.solve(ENDLESS, {"w": [1e-6]}).summary() == {"ok": 1}


def test_what_is_left_to_one_thread_is_counted():
    shares = serial_share("li_lei", patients=9000)
    assert 0 < shares["share"][0] < 0.5
    assert shares["speedup_8"][0] < 8
    assert serial_note(shares).startswith("Outside of the threads are ")
