"""Files of a run: written whole or not at all, with checksums, in a folder that is locked."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastcart.checks import reason
from fastcart.errors import InputError

CHECKSUMS = "checksums.sha256"


def write_whole(
    target: Path,
    data: bytes | str | Callable[[Path], Any],
    *,
    before: Callable[[Path], Any] | None = None,
) -> None:
    """Write a file under a temporary name, hand it to the disk, rename it; ``before`` that, see to it."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if callable(data):
            data(temporary)
        else:
            temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if before is not None:
            before(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make the folder of a run where it does not exist, and check that it can be written."""
    if path.exists() and not path.is_dir():
        raise InputError(f"The output {str(path)!r} is a file; give the name of a folder.")
    try:
        path.mkdir(exist_ok=True)
    except FileNotFoundError:
        raise InputError(f"The folder {str(path.parent)!r} does not exist; create it.") from None
    except OSError as error:
        raise InputError(f"The folder {str(path)!r} cannot be made: {reason(error)}.") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"The folder {str(path)!r} is not writable.")


def lock_folder(path: Path) -> int | None:
    """Keep other processes out of the folder; the lock ends with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InputError(
            f"The folder {str(path)!r} is in use by another process; wait for it or end it."
        ) from None
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def remove_matching(folder: Path, patterns: Sequence[str]) -> None:
    """Remove the files of a folder that match one of the patterns."""
    for pattern in patterns:
        for file in folder.glob(pattern):
            if file.is_file():
                file.unlink()


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def read_sums(folder: Path) -> dict[str, str]:
    """Return the checksums that a run has kept, by name; lines that are none count for nothing."""
    try:
        text = (folder / CHECKSUMS).read_bytes().decode(errors="replace")
    except OSError:
        return {}
    found = re.findall(r"^([0-9a-f]{64})  (\S.*)$", text, flags=re.MULTILINE)
    return {name: value for value, name in found}


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write the checksums of a run, a line each, in the order of the names."""
    lines = [f"{value}  {name}\n" for name, value in sorted(sums.items())]
    if lines:
        write_whole(folder / CHECKSUMS, "".join(lines))


def is_intact(file: Path, value: str | None) -> bool:
    """Return whether a file is there and has this checksum."""
    try:
        return value is not None and checksum(file) == value
    except OSError:
        return False
