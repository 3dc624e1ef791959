"""Jobs in threads, for every engine whose kernels release the interpreter's lock, and how to stop them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial

import numpy as np

# Seconds of this process in which jobs were run that threads share: what is not in them is left to one thread
spent = [0.0]
_FEW_NUMBERS = 50_000  # take less time than to start threads
_here = threading.local()  # of a thread that works on jobs: what asks its kernels to stop


class StoppedError(Exception):
    """What a thread worked on was stopped by another one, see `Stop`; it has no answer."""


def in_threads(
    jobs: Sequence[Callable[[], None]],
    threads: int,
    control: np.ndarray,
    *,
    prepare: Callable[[], object] | None = None,
    brief: bool = False,
    joined: bool = False,
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
    joined : bool
        An interrupt may wait for the end of one job: the thread of the caller takes the first itself, which
        saves the start of a thread and the wait for it.

    Raises
    ------
    StoppedError
        Where another thread asked for it, see `Stop`: what the jobs were to fill in is incomplete.
    """
    outer = getattr(_here, "controls", None)
    if outer is not None:  # within a job of other threads, which an interrupt stops
        outer.append(control)
        if outer[0][0] != 0:
            control[0] = 1
    alone = brief or (len(jobs) == 1 and threading.current_thread() is not threading.main_thread())
    begun = time.perf_counter()
    try:
        if prepare is None and alone:
            for job in jobs:
                job()
        elif prepare is None and joined:
            _beside(jobs, control)
        else:
            _in_pool(jobs, threads, control, prepare)
    finally:
        if outer is not None:
            outer.remove(control)
        else:
            spent[0] += time.perf_counter() - begun
    if outer is not None and outer[0][0] != 0:
        raise StoppedError


class _Controls(list):
    """What asks the kernels to stop that jobs run: first that of the jobs, then those of kernels within."""

    def remove(self, control: np.ndarray) -> None:
        """Remove the last entry that is this very array; others may have equal values."""
        for k in range(len(self) - 1, 0, -1):
            if self[k] is control:
                del self[k]
                return


class Stop:
    """Stops what one thread solves, from any other, within a moment: nobody waits for its answer any more.

    What is being compiled, and what the engine ``scipy`` solves, goes on to its end.

    Examples
    --------
    >>> import fastcart
    >>> stop = Stop()
    >>> stop()  # as another thread would
    >>> with stop.here():
    ...     fastcart.solve("leon_triana")
    Traceback (most recent call last):
    fastcart.solvers.threads.StoppedError
    """

    def __init__(self) -> None:
        self._controls = _Controls([np.zeros(1, dtype=np.int64)])

    def __call__(self) -> None:
        """Ask the thread to stop."""
        for control in list(self._controls):
            control[0] = 1

    @property
    def asked(self) -> bool:
        """Whether the thread was asked to stop."""
        return bool(self._controls[0][0])

    @contextmanager
    def here(self) -> Iterator[None]:
        """Within the context, this is the thread that is stopped: engines raise `StoppedError`."""
        before = getattr(_here, "controls", None)
        _here.controls = self._controls
        try:
            yield
        finally:
            _here.controls = before


def _beginning(control: np.ndarray) -> Callable[[], _Controls]:
    """Return what each thread does first; it returns what asks the kernels of its jobs to stop."""
    floating = np.geterr()  # a job may call functions of the user's, who asked for this

    def begin() -> _Controls:
        _here.controls = _Controls([control])
        np.seterr(**floating)
        return _here.controls

    return begin


def _beside(jobs: Sequence[Callable[[], None]], control: np.ndarray) -> None:
    """Run the first job in this thread, each other one in a thread of its own."""
    failed: list[BaseException] = []
    begin = _beginning(control)

    def run(job: Callable[[], None]) -> None:
        begin()
        try:
            job()
        except BaseException as error:  # raised in the thread of the caller
            failed.append(error)

    others = [threading.Thread(target=run, args=(job,)) for job in jobs[1:]]
    begun: list[threading.Thread] = []
    try:
        for thread in others:
            thread.start()
            begun.append(thread)
        jobs[0]()
        for thread in others:
            thread.join()
    except BaseException:
        control[0] = 1
        for thread in begun:
            thread.join()
        raise
    if failed:
        raise failed[0]


def _in_pool(
    jobs: Sequence[Callable[[], None]], threads: int, control: np.ndarray,
    prepare: Callable[[], object] | None,
) -> None:  # fmt: skip
    every: list[_Controls] = []
    start = _beginning(control)

    def begin() -> None:
        every.append(start())
        if prepare is not None:
            prepare()

    with ThreadPoolExecutor(min(threads, len(jobs)) or 1, initializer=begin) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            # of jobs that fail the first raises, and nobody waits for the others
            done = wait(futures, return_when=FIRST_EXCEPTION).done
            for future in futures:
                if future in done:
                    future.result()
        except BaseException:
            control[0] = 1
            for controls in every:
                for inner in list(controls):
                    inner[0] = 1
            pool.shutdown(cancel_futures=True)
            raise


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


def in_few_parts(
    work: Callable[[int, int], object], count: int, threads: int, numbers: int, *, least: int = 64
) -> None:
    """Share rows out among threads where ``numbers`` to be worked on are many enough; see `in_parts`."""
    if numbers < _FEW_NUMBERS or threads == 1:
        work(0, count)
    else:
        in_parts(work, count, threads, least=least)
