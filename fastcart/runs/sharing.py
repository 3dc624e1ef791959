"""A run that two processes work on: who comes first to a part makes it, the other one reads it.

The second process is a copy of the first. Both go through the same work, one from its other end, until they
meet. A part has the same bytes whoever makes it, so that a run does not depend on how the work was shared.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fastcart.runs.files import is_intact, read_sums, remove_matching
from fastcart.telling import LINES

Item = TypeVar("Item")

_PAUSE = 0.02  # seconds between two looks
_PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when the one ends that it was made by
CLAIM = "claim.part"  # what a kill leaves of it is removed like all that is half-written


class Claims:
    """Which process makes which part of a run, by files that only one of them can create.

    Parameters
    ----------
    folder : Path
        Of the run.
    other_lives : callable
        Whether the other process may still finish what it has claimed.
    """

    def __init__(self, folder: Path, other_lives: Callable[[], bool]) -> None:
        self._folder, self._other_lives = folder, other_lives

    def taken_over(self, name: str) -> str | None:
        """Return the checksum of a part that the other process made, or None where this one is to make it."""
        while True:
            there = self._made(name)
            if there is not None:
                return there
            if self._claim(name):
                return self._made(name)  # it may have been finished since
            if not self._other_lives():
                return self._made(name)
            time.sleep(_PAUSE)

    def _made(self, name: str) -> str | None:
        value = read_sums(self._folder).get(name)
        return value if is_intact(self._folder / name, value) else None

    def _claim(self, name: str) -> bool:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(target.with_name(f".{target.name}.{CLAIM}"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


def in_order(items: Sequence[Item], *, backwards: bool) -> list[Item]:
    """Return what is worked on in its order, for the copy from the other end."""
    return list(reversed(items)) if backwards else list(items)


@contextmanager
def helped(run: Any, work: Sequence[Callable[[int], object]], *, threads: int) -> Iterator[int]:
    """Within the context, a copy of this process works on a run, too, where the system can copy one.

    Parameters
    ----------
    run : fastcart.runs.store.Run
    work : sequence of callable
        What the copy does, in this order, each with the number of its threads: it ends in parts of the run
        that are kept. Whatever it fails to do is done by this process, which then raises what there is to
        raise.
    threads : int
        Of both processes together; one needs no copy.

    Yields
    ------
    int
        Threads that are left to this process.
    """
    if threads < 2 or not _can_copy():
        yield threads
        return
    ends = os.pipe()  # it closes with this process, however that ends
    own = threads - threads // 2
    copy = _copied()
    if copy == 0:
        _work(run, [partial(one, threads - own) for one in work], ends)
    os.close(ends[0])
    state = {"lives": True}

    def lives() -> bool:
        if state["lives"] and os.waitpid(copy, os.WNOHANG)[0] == copy:
            state["lives"] = False
        return state["lives"]

    run.claims = Claims(run.folder, lives)
    try:
        yield own
    finally:
        run.claims = None
        if lives():
            with suppress(ProcessLookupError):
                os.kill(copy, signal.SIGKILL)
            os.waitpid(copy, 0)
        os.close(ends[1])
        remove_matching(run.folder, ["**/.*.part"])
        run.learn()


def in_two(jobs: Sequence[Callable[[], object]], *, threads: int) -> None:
    """Do jobs that write files of their own, every second one in a copy of this process.

    Parameters
    ----------
    jobs : sequence of callable
        What they return is lost. Those that the copy fails to do are done by this process.
    threads : int
        One needs no copy.
    """
    mine, others = (jobs[::2], jobs[1::2]) if threads > 1 and _can_copy() else (jobs, ())
    ends = os.pipe()
    copy = _copied() if others else -1
    if copy == 0:
        _work(None, others, ends)
    os.close(ends[0])
    try:
        for job in mine:
            job()
    finally:
        status = os.waitpid(copy, 0)[1] if copy > 0 else 0
        os.close(ends[1])
    for job in others if status else ():
        job()


def _copied() -> int:
    """Return the number of a copy of this process, 0 in the copy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other threads, see `_can_copy`
        return os.fork()


def _can_copy() -> bool:
    """Whether this process can be copied: other threads would be missing, and keep their locks.

    Only on Linux, since libraries of other systems do not all survive it.
    """
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    return sys.platform == "linux" and all(
        thread.name == LINES or type(thread).__name__ == "TMonitor" for thread in others
    )


def _work(run: Any, work: Sequence[Callable[[], object]], ends: tuple[int, int]) -> None:
    """Do the work of the copy, and end with it."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is interrupted ends its copy
        os.close(ends[1])
        with suppress(Exception):  # Linux ends a copy at once with its original
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        threading.Thread(target=_end_with, args=(ends[0],), daemon=True).start()
        if run is not None:
            run.claims = Claims(run.folder, lambda: True)
            run.leave_lock()
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  two would mix their lines
        for one in work:
            one()
        code = 0
    except BaseException:  # the other process comes to the same, and says so
        code = 1
    finally:
        os._exit(code)


def _end_with(end: int) -> None:
    os.read(end, 1)  # returns when the other process has ended
    os._exit(1)
