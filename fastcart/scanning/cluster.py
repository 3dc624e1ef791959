"""The chunks of a scan on a Dask cluster: a few at a time, again where a worker is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from fastcart.checks import reason
from fastcart.errors import InputError, optional_import
from fastcart.runs.chunks import Chunk, Solved
from fastcart.runs.identity import environment
from fastcart.scanning.parts import Part, ScanJob, part_elsewhere
from fastcart.scanning.patients import Source

_CONNECT = 15.0  # seconds to find the scheduler
_POLL = 2.0  # seconds between looks whether workers are left
PATIENCE = 120.0  # seconds without any worker after which a scan gives up
_AHEAD = 2  # chunks sent to each worker ahead of time


def _distributed() -> Any:
    return optional_import("distributed", extra="distributed", purpose="Running on a cluster")


@contextmanager
def connect(scheduler: str | None, client: Any) -> Iterator[Any]:
    """Yield the client given, or a new one of the scheduler at an address, closed afterwards.

    Raises
    ------
    InputError
        When there is no scheduler at the address.
    """
    distributed = _distributed()
    if client is not None:
        if scheduler is not None:
            raise InputError("Give either the address of a scheduler or a client, not both.")
        if not isinstance(client, distributed.Client) or client.asynchronous:
            raise InputError(f"The client must be a distributed.Client, not {type(client).__name__}.")
        yield client
        return
    try:
        made = distributed.Client(scheduler, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"There is no scheduler at {scheduler!r}: {reason(error)}.") from error
    with made:
        yield made


def on_cluster(client: Any, job: ScanJob, source: Source, wanted: Sequence[Chunk]) -> Solved:
    """Solve chunks on a cluster; yield each and what fetches its part, as it is done.

    A chunk whose worker is lost is solved again elsewhere; the result is the same.

    Parameters
    ----------
    client : distributed.Client
    job : ScanJob
    source : Source
    wanted : sequence of Chunk

    Raises
    ------
    InputError
        When no worker is left for two minutes, or a chunk kills the workers that solve it.
    """
    distributed = _distributed()
    dask = optional_import("dask", extra="distributed", purpose="Running on a cluster")
    here = environment()
    waiting = iter(wanted)
    running: dict[Any, Chunk] = {}
    workers = _Workers(client)
    try:
        while True:
            ahead = _AHEAD * max(1, workers.count())
            while len(running) < ahead:
                chunk = next(waiting, None)
                if chunk is None:
                    break
                # the rows of one chunk are meant to travel with it
                with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
                    future = client.submit(
                        part_elsewhere, job, source.rows(chunk.start, chunk.stop), here, pure=False
                    )
                running[future] = chunk
            if not running:
                return
            try:
                with client.as_current():
                    done, _ = distributed.wait(list(running), timeout=_POLL, return_when="FIRST_COMPLETED")
            except TimeoutError:
                continue
            for future in done:
                yield running.pop(future), partial(_result, distributed, future)
    finally:
        client.cancel(list(running))


def _result(distributed: Any, future: Any) -> Part:
    try:
        return future.result()
    except distributed.KilledWorker as error:
        raise InputError(
            "A chunk was given up, because several workers died while solving it; look for want of memory, "
            "then go on with --resume."
        ) from error


class _Workers:
    """The workers of a cluster, looked at now and then."""

    def __init__(self, client: Any):
        self._client = client
        self._seen = time.monotonic()

    def count(self) -> int:
        """Return how many workers there are.

        Raises
        ------
        InputError
            When there has been none for too long.
        """
        found = len(self._client.nthreads())
        now = time.monotonic()
        if found:
            self._seen = now
        elif now - self._seen > PATIENCE:
            raise InputError(
                f"The cluster has had no worker for {PATIENCE:g} seconds; start some, then go on with "
                "--resume."
            )
        return found
