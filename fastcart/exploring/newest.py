"""Who is solved for: one question at a time, of each page the newest, and nobody who has left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from fastcart.solvers.threads import Stop, StoppedError

_Answer = TypeVar("_Answer")
_PATIENCE = 0.05  # seconds between looks at a request to stop, while another page is served


class Newest:
    """Answers questions one after the other, as engines use all processors; a newer one stops the older.

    Attributes
    ----------
    stopped : int
        How many questions were given up.
    """

    def __init__(self) -> None:
        self._engine, self._lock = threading.Lock(), threading.Lock()
        self._turns: dict[str, tuple[int, Stop]] = {}
        self.stopped = 0

    def answer(
        self, page: str, number: int, work: Callable[[], _Answer], begun: Callable[[Stop], None]
    ) -> _Answer:
        """Return what a page asks for.

        Parameters
        ----------
        page : str
            Whose questions replace each other.
        number : int
            Of the question; higher ones are newer.
        work : callable
            What is done in this thread.
        begun : callable
            Gets the `Stop` of this question before it waits for its turn.

        Raises
        ------
        StoppedError
            Where a newer question came, or the stop was asked for.
        """
        stop = Stop()
        begun(stop)
        with self._lock:
            newest, older = self._turns.get(page, (number, None))
            if newest > number:
                self.stopped += 1
                raise StoppedError
            self._turns[page] = (number, stop)
        if older is not None:
            older()
        try:
            return self._in_turn(stop, work)
        except StoppedError:
            self.stopped += 1
            raise
        finally:
            with self._lock:
                if self._turns.get(page, (0, None))[1] is stop:
                    del self._turns[page]

    def _in_turn(self, stop: Stop, work: Callable[[], _Answer]) -> _Answer:
        while not self._engine.acquire(timeout=_PATIENCE):
            if stop.asked:
                raise StoppedError
        try:
            if stop.asked:
                raise StoppedError
            with stop.here():
                return work()
        finally:
            self._engine.release()

    def stop_all(self) -> None:
        """Stop whatever is being worked on."""
        with self._lock:
            stops = [stop for _, stop in self._turns.values()]
        for stop in stops:
            stop()
