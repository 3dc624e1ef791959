"""Threads whose standard error goes nowhere, for C code that writes there and has no switch.

A process has one table of open files; on Linux a thread may take a copy of its own, and in that copy file 2
is pointed elsewhere. No other thread sees it, and it ends with the thread. Elsewhere than on Linux what the C
code writes reaches the terminal.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

import numpy as np

_CLONE_FILES = 0x400  # of unshare
_UNSHARE = 2  # of close_range, which containers allow more often


def silence_this_thread() -> bool:
    """Point the standard error of this thread, and of no other, to nowhere; return whether that worked."""
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):  # a C library without these calls, or not allowed to
        libc = ctypes.CDLL(None, use_errno=True)
        apart = libc.unshare(_CLONE_FILES) == 0
        if not apart:  # closes file 2 of the copy
            apart = libc.close_range(ctypes.c_uint(2), ctypes.c_uint(2), ctypes.c_int(_UNSHARE)) == 0
        if apart:
            null = os.open(os.devnull, os.O_WRONLY)
            if null != 2:
                os.dup2(null, 2)
                os.close(null)
            return True
    return False


def run_quietly(jobs: Sequence[Callable[[], None]], threads: int, control: np.ndarray) -> None:
    """Run jobs in silenced threads; an interrupt stops them within a moment.

    Parameters
    ----------
    jobs : sequence of callable
        Each releases the interpreter's lock while it works, and opens and closes no files.
    threads : int
    control : ndarray of int
        A number other than zero in ``control[0]`` asks the jobs to stop.
    """
    with ThreadPoolExecutor(min(threads, len(jobs)) or 1, initializer=silence_this_thread) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            wait(futures)
        except BaseException:
            control[0] = 1
            pool.shutdown(cancel_futures=True)
            raise
        for future in futures:
            future.result()
