"""Jobs in threads, for every engine whose kernels release the interpreter's lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

import numpy as np


def in_threads(
    jobs: Sequence[Callable[[], None]],
    threads: int,
    control: np.ndarray,
    *,
    prepare: Callable[[], object] | None = None,
    brief: bool = False,
) -> None:
    """Run jobs in threads; an interrupt stops them within a moment.

    Parameters
    ----------
    jobs : sequence of callable
        Each releases the interpreter's lock while it works.
    threads : int
    control : ndarray of int
        A number other than zero in ``control[0]`` asks the kernels to stop.
    prepare : callable, optional
        What each thread does first; with it no job runs in the thread of the caller.
    brief : bool
        All together they take so little time that an interrupt may wait for their end: they run one after the
        other in the thread of the caller, since to start a thread would take longer.
    """
    alone = brief or (len(jobs) == 1 and threading.current_thread() is not threading.main_thread())
    if prepare is None and alone:
        for job in jobs:
            job()
        return
    with ThreadPoolExecutor(min(threads, len(jobs)) or 1, initializer=prepare) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            wait(futures)
        except BaseException:
            control[0] = 1
            pool.shutdown(cancel_futures=True)
            raise
        for future in futures:
            future.result()


def in_parts(
    work: Callable[[int, int], object], count: int, threads: int, *, least: int = 64, brief: bool = False
) -> None:
    """Share ``count`` rows out among threads: ``work(low, high)`` for parts of at least ``least`` rows.

    Parts are several for each thread, so that all end at about one time; ``brief`` as for `in_threads`.
    """
    size = count if brief else max(least, -(-count // (4 * threads)))
    jobs = [partial(work, low, min(low + size, count)) for low in range(0, count, max(size, 1))]
    if jobs:
        in_threads(jobs, threads, np.zeros(1, dtype=np.int64), brief=brief)
