"""Jobs in threads, for every engine whose kernels release the interpreter's lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

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
