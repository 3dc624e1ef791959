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
from contextlib import suppress

import numpy as np

from fastcart.solvers.threads import in_threads

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
    """Run jobs, which open and close no files, in silenced threads; see `fastcart.solvers.threads`."""
    in_threads(jobs, threads, control, prepare=silence_this_thread)
