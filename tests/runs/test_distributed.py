"""Scans on a Dask cluster: the same files as on one machine, also when a worker is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from numba import njit

import fastcart
from fastcart import InputError, Model, State
from fastcart.runs.identity import environment
from fastcart.sample import Design
from fastcart.scanning import cluster as scan_cluster
from fastcart.scanning.parts import ScanJob, part_elsewhere

distributed = pytest.importorskip("distributed")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@njit
def _dip(t, y, p):
    return (2.0 * p[0] * (t - p[1]) * y[0],)


@pytest.fixture(scope="module")
def client():
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0", memory_limit=0
    )
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


def test_the_same_files_as_here_although_a_worker_is_killed(client, tmp_path):
    columns = {"k_TE": {"uniform": (3.2, 3.9)}, "dose_TE": {"log_uniform": (1e6, 1e8)}}
    arguments = {
        "patients": Design(columns, 600, seed=4),
        "doses": [{"time": 2, "state": "TE", "amount": "dose_TE"}],
        "chunk": 30,
    }
    here = fastcart.scan("li_lei", out=tmp_path / "here", **arguments)
    workers = client.run(os.getpid)
    killed = []

    def kill() -> None:
        while len(list((tmp_path / "there").glob("endpoints/part-*"))) < 2:
            time.sleep(0.01)
        victim = next(iter(workers.values()))
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    there = fastcart.scan("li_lei", out=tmp_path / "there", client=client, **arguments)
    killer.join(timeout=5)
    assert killed, "the scan was done before a worker could be killed"
    assert there.counts == here.counts
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_model_of_ones_own_by_the_address_of_the_scheduler(client, tmp_path):
    model = Model(
        "dip", [State("y", default=5.0, log=True)], {"a": 0.11, "m": 7.3}, _dip, t_end=20, burden="y"
    )
    patients = Design({"m": {"linspace": (6, 8, 5)}}, method="grid")
    result = fastcart.scan(model, patients, tmp_path / "out", chunk=2, scheduler=client.scheduler.address)
    assert result.load()["pfs"].to_list() == pytest.approx([12, 13, 14, 15, 16], rel=1e-5)


def test_a_scheduler_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(scan_cluster, "_CONNECT", 0.3)
    with pytest.raises(InputError, match=r"There is no scheduler at 'tcp://127.0.0.1:9'"):
        fastcart.scan("li_lei", 3, tmp_path / "out", scheduler="tcp://127.0.0.1:9")
    assert not (tmp_path / "out").exists()


def test_a_client_that_is_none(tmp_path):
    with pytest.raises(InputError, match=r"must be a distributed.Client, not str"):
        fastcart.scan("li_lei", 3, tmp_path / "out", client="tcp://127.0.0.1:9")


def test_a_cluster_without_workers_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(scan_cluster, "PATIENCE", 0.2)
    monkeypatch.setattr(scan_cluster, "_POLL", 0.1)
    cluster = distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0")
    with (
        cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        pytest.raises(InputError, match=r"no worker for 0.2 seconds; start some, then go on with --resume"),
    ):
        fastcart.scan("li_lei", 3, tmp_path / "out", client=client)


def test_a_worker_that_would_round_otherwise_is_refused():
    here = environment()
    other = {"versions": {**here["versions"], "numba": "0.1"}, "processor": "x86_64 i386"}
    job = ScanJob(fastcart.models.get("li_lei"), {}, None, [], None)
    with pytest.raises(InputError, match=r"numba is .* there and 0.1 here; the processor is .* i386 here"):
        part_elsewhere(job, Design({"k_TE": 3.0}, 1, seed=0).table(), other)
