"""The one store of runs: a folder with a manifest and whole files, which a later run can go on with.

``manifest.json`` is written first and says what the results depend on; all other files are written to a
temporary name and renamed, so that a kill at any moment leaves whole files or none. A run goes on only where
its manifest is the same, so that what it adds fits what is there. ``checksums.sha256`` has a line for each
file (``sha256sum --check`` reads it): what is not as it was written is made again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from fastcart.checks import reason
from fastcart.errors import InputError, OutputError
from fastcart.runs.files import (
    CHECKSUMS,
    checksum,
    is_intact,
    lock_folder,
    make_folder,
    read_sums,
    remove_matching,
    write_sums,
    write_whole,
)
from fastcart.runs.forms import Form
from fastcart.runs.manifest import MANIFEST, Manifest, read_file, require_same
from fastcart.runs.sharing import Claims

Value = TypeVar("Value")


class Run:
    """An opened folder of a run, see `open_run`; use as a context manager, which gives the folder free.

    Attributes
    ----------
    folder : Path
    manifest : Manifest
    resumed : bool
        Whether the folder held this run already.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, resumed: bool, lock: int | None, sums: dict[str, str]
    ):
        self.folder = folder
        self.manifest = manifest
        self.resumed = resumed
        self._lock = lock
        self._sums = sums
        self.claims: Claims | None = None  # of a run that two processes work on, see `fastcart.runs.sharing`

    def path(self, name: str) -> Path:
        """Return the path of a file of this run; ``name`` may have folders, as in ``"parts/0.parquet"``."""
        return self.folder / name

    def has(self, name: str) -> bool:
        """Return whether a file is there; then it is as it was written."""
        return name in self._sums and self.path(name).is_file()

    def write(self, name: str, data: bytes | str | Callable[[Path], Any]) -> Path:
        """Write a file, whole or not at all, and its checksum.

        Parameters
        ----------
        name : str
        data : bytes, str or callable
            A callable gets the path of a temporary file and writes that.

        Raises
        ------
        OutputError
            When it cannot be written, e.g. because the disk is full.
        """
        target = self.path(name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # the checksum first: after a kill in between it belongs to no file, and never the other way
            write_whole(target, data, before=lambda written: self._note_sum(name, checksum(written)))
        except OSError as error:
            raise OutputError(
                f"The file {str(target)!r} cannot be written: {reason(error)}. What was finished before is "
                f"kept in {str(self.folder)!r}; make room, then go on with --resume."
            ) from error
        return target

    def kept(self, name: str, make: Callable[[], Value], form: Form[Value]) -> Value:
        """Return a part: read where it is there, else made and written.

        It is read back in either case, so that a run that was killed goes on from the very same values.

        Parameters
        ----------
        name : str
        make : callable
        form : Form
            How the part lies in its file, see `fastcart.runs.forms`.
        """
        if not self.has(name) and not self._taken_over(name):
            self.write(name, form.encode(make()))
        return form.decode(self.path(name))

    def _taken_over(self, name: str) -> bool:
        """Whether another process that works on this run has made a part; wait where it is about to."""
        value = None if self.claims is None else self.claims.taken_over(name)
        if value is not None:
            self._sums[name] = value
        return value is not None

    def learn(self) -> None:
        """Take over the checksums of what another process made of this run."""
        self._sums = read_sums(self.folder) | self._sums

    def leave_lock(self) -> None:
        """Leave the lock of the folder to the process that this one is a copy of."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def adopt(self, name: str) -> None:
        """Keep the checksum of a file of this run that was written by other means."""
        self._note_sum(name, checksum(self.path(name)))

    def _note_sum(self, name: str, value: str) -> None:
        with (self.folder / CHECKSUMS).open("a", encoding="utf-8") as file:
            file.write(f"{value}  {name}\n")  # lost with the power, it only costs the part
        self._sums[name] = value

    def withdraw(self) -> None:
        """Leave no trace of a run that ended before it kept anything: its input was bad."""
        if self.resumed or {item.name for item in self.folder.iterdir()} - {MANIFEST, CHECKSUMS}:
            return
        for name in (MANIFEST, CHECKSUMS):
            (self.folder / name).unlink(missing_ok=True)
        self.folder.rmdir()

    def close(self) -> None:
        """Give the folder free for other processes."""
        try:
            with suppress(OSError):  # in the order of their names, whatever the order of writing
                write_sums(self.folder, self._sums)
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_run(
    folder: str | os.PathLike[str],
    manifest: Manifest,
    *,
    resume: bool = False,
    force: bool = False,
    owns: Sequence[str] = (),
) -> Run:
    """Open the folder of a run: a new one, or with ``resume`` one that is to go on.

    Parameters
    ----------
    folder : path
        Made where it does not exist; its parent must.
    manifest : Manifest
    resume : bool
        Go on with a run in this folder; where there is none yet, begin it.
    force : bool
        Begin anew where the folder holds a run: its files are removed, other files stay.
    owns : sequence of str
        Patterns of the files that such a run makes, e.g. ``"parts/*.parquet"``: what ``force`` removes.

    Raises
    ------
    InputError
        For a folder that holds something else, cannot be written, or is in use by another process; for a
        run that is there without ``resume`` or ``force``; for a manifest that does not match, with what
        differs.
    """
    path = Path(folder)
    if resume and force:
        raise InputError("Give either --resume (go on) or --force (begin anew), not both.")
    make_folder(path)
    lock = lock_folder(path)
    try:
        resumed = _prepare(path, manifest, resume, force, owns)
        sums = _verified(path) if resumed else {}
    except BaseException:
        if lock is not None:
            os.close(lock)
        raise
    return Run(path, manifest, resumed, lock, sums)


def _prepare(path: Path, manifest: Manifest, resume: bool, force: bool, owns: Sequence[str]) -> bool:
    """Compare with what is there; remove it or write the manifest; return whether the run goes on."""
    file = path / MANIFEST
    remove_matching(path, [f".{MANIFEST}.*.part"])  # what a kill left half-written
    if not file.exists():
        if any(path.iterdir()):
            raise InputError(
                f"The folder {str(path)!r} is not empty and holds no run of fastcart; give another folder."
            )
    else:
        there = read_file(file)
        if resume and there is not None:
            require_same(path, manifest, there)
            remove_matching(path, ["**/.*.part"])
            return True
        if not force:
            if there is None:
                raise InputError(
                    f"The file {str(file)!r} is damaged, so it does not say what the results beside it belong"
                    " to; use --force to begin anew, or give another folder."
                )
            raise InputError(
                f"The folder {str(path)!r} holds a {there['kind']} already; use --resume to go on with it or "
                "--force to replace it."
            )
        if there is not None and there["kind"] != manifest.kind:
            raise InputError(
                f"The folder {str(path)!r} holds a {there['kind']}, which a {manifest.kind} does not "
                "replace; give another folder."
            )
        # before the new manifest is there, so that old parts never pass for new ones
        remove_matching(path, ["**/.*.part", CHECKSUMS, *owns])
    try:
        write_whole(file, manifest.text())
    except OSError as error:
        raise OutputError(f"The folder {str(path)!r} cannot be written: {reason(error)}.") from error
    return False


def _verified(folder: Path) -> dict[str, str]:
    """Return the checksums of the files that are as they were written; say which are not."""
    kept = read_sums(folder)
    sums = {name: value for name, value in kept.items() if is_intact(folder / name, value)}
    bad = [name for name in kept if name not in sums]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        is_or_are, it = ("is", "it is") if len(bad) == 1 else ("are", "they are")
        logging.getLogger("fastcart").warning(
            "fastcart: in %r, %s%s %s missing or damaged, so %s computed again.",
            str(folder), ", ".join(bad[:3]), more, is_or_are, it,
        )  # fmt: skip
    try:
        write_sums(folder, sums)
    except OSError as error:
        raise OutputError(f"The folder {str(folder)!r} cannot be written: {reason(error)}.") from error
    return sums
