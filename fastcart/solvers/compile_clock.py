"""How long this process has compiled, by numba and by LLVM directly: so that time to go leaves it out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event

_NUMBA = "numba:compiler_lock"  # held, or waited for, whenever numba compiles


class _Clock(event.Listener):
    """Runs while anybody compiles, in whatever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth, self._begun, self._total = 0, 0.0, 0.0

    def on_start(self, event: Any = None) -> None:
        """Note that somebody begins."""
        with self._lock:
            if self._depth == 0:
                self._begun = time.monotonic()
            self._depth += 1

    def on_end(self, event: Any = None) -> None:
        """Note that somebody is done."""
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._total += time.monotonic() - self._begun

    def seconds(self) -> float:
        """Return for how long so far."""
        with self._lock:
            return self._total + (time.monotonic() - self._begun if self._depth else 0.0)


_clock = _Clock()
event.register(_NUMBA, _clock)


def seconds() -> float:
    """Return for how many seconds this process has compiled so far, by the clock on the wall."""
    return _clock.seconds()


@contextmanager
def compiling() -> Iterator[None]:
    """Count the time within as one of compiling; numba's own is counted without it."""
    _clock.on_start()
    try:
        yield
    finally:
        _clock.on_end()
