"""Requests to end that cannot be lost.

An exception that a handler of signals raises inside a callback from C, or in a destructor, is ignored by
Python: so it is while machine code is compiled and loaded. The request is therefore remembered, too.
"""

from __future__ import annotations

_pending: list[KeyboardInterrupt] = []


def request(error: KeyboardInterrupt) -> None:
    """Remember that the process was asked to end."""
    _pending.append(error)


def check() -> None:
    """Raise what was asked for, where it was lost.

    Raises
    ------
    KeyboardInterrupt
    """
    if _pending:
        raise _pending[0]


def pending() -> bool:
    """Return whether the process was asked to end."""
    return bool(_pending)


def forget() -> None:
    """Forget all requests."""
    _pending.clear()
