"""Files that get their name only when they are whole, and what runs that were killed left of them."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import BinaryIO

from fastcart.errors import InputError

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]


class Unfinished:
    """A temporary file beside a target, locked while it is written.

    The lock ends with the process, however that ends: a file that can be locked was left over. Of two runs
    that begin to write the same target at the very same time, the one that finishes last wins.

    Parameters
    ----------
    target : Path
        The name that the file gets when it is finished.

    Raises
    ------
    InputError
        Where another run is writing the same target.
    OSError
        Where the file cannot be made.
    """

    def __init__(self, target: Path):
        self.target = target
        remove_left_over(target)
        while True:
            name = f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
            self.path = target.with_name(name)
            self.stream: BinaryIO = self.path.open("xb")
            _lock(self.stream)
            if self.path.exists():  # else another run took it for left over before it was locked
                return
            self.stream.close()

    def finish(self) -> None:
        """Give the file its name."""
        if fcntl is None:
            self.stream.close()
        else:
            self.stream.flush()  # closed only behind the rename: until then it must be locked
        self.path.replace(self.target)
        self.stream.close()

    def remove(self) -> None:
        """Remove what is not finished; does nothing after `finish`."""
        try:
            self.stream.close()
        finally:
            self.path.unlink(missing_ok=True)


def remove_left_over(target: Path) -> None:
    """Remove what runs that were killed left of a target.

    Raises
    ------
    InputError
        Where a run that is still alive is writing it.
    """
    name = re.compile(rf"\.{re.escape(target.name)}\.\d+(-[0-9a-f]+)?\.part")
    found: list[Path] = []
    with contextlib.suppress(PermissionError):  # a folder that may be written but not listed
        found = [entry for entry in target.parent.iterdir() if name.fullmatch(entry.name)]
    for entry in found:
        if not _removed(entry):
            raise InputError(
                f"The file {str(target)!r} is being written by another run; wait for it, or give another "
                "name."
            )


def _removed(path: Path) -> bool:
    """Remove a file unless it is being written; return False where it is."""
    if fcntl is None:
        try:
            path.unlink(missing_ok=True)
        except PermissionError:
            return False
        return True
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:  # gone in the meantime, or not ours
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: it stays
        pass
    finally:
        os.close(descriptor)
    return True


def _lock(stream: BinaryIO) -> None:
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(stream, fcntl.LOCK_EX)
