"""Machine code on disk: sealed by a checksum, read only where nobody else could have written, never needed.

The files are numba's own (an index ``.nbi`` and the code ``.nbc`` of each kernel), with a checksum at the end
of each. numba would unpickle and run whatever is in them; here a file that is not as it was written counts
for nothing, and the kernel is compiled anew. Whatever is wrong with the folder, a run goes on without it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core.caching import IndexDataCacheFile, _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from fastcart.errors import reason
from fastcart.solvers import interrupts

FORMAT = b"fastcart-kernel-4"  # marks a sealed file; part of the key too, so that no older file is met
_SEAL = len(FORMAT) + hashlib.sha256().digest_size

_log = logging.getLogger("fastcart")
_said: set[str] = set()


class Unusable(Exception):  # noqa: N818
    """What is on disk must not be used; the message says why, as part of a sentence."""


def say(subject: str, sentence: str) -> None:
    """Say a sentence once per process and subject, on stderr unless logging is set up otherwise.

    A log and not a warning: where warnings are errors, a full disk must still not stop a run.
    """
    if subject not in _said:
        _said.add(subject)
        _log.warning("fastcart: %s", sentence)


def cache_directory() -> Path | None:
    """Return the folder for kernels: ``FASTCART_CACHE_DIR``, else below the user's cache folder.

    None where there is neither, e.g. because there is no home.
    """
    given = os.environ.get("FASTCART_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "fastcart"
    except RuntimeError:  # no home is known
        return None


def check_private(status: os.stat_result, path: Path) -> None:
    """Check that a file or folder is this user's own, and that nobody else may write it.

    Raises
    ------
    Unusable
        Otherwise: what another user wrote would run with this user's rights.
    """
    if not hasattr(os, "geteuid"):  # Windows keeps other users out of a user's folders
        return
    if status.st_uid != os.geteuid():
        raise Unusable(f"{str(path)!r} belongs to another user, whose code would be run; name a folder of "
                       "your own by FASTCART_CACHE_DIR")  # fmt: skip
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unusable(f"other users may write {str(path)!r}, and their code would be run; take their right "
                       f"away (chmod -R go-w), or name another folder by FASTCART_CACHE_DIR")  # fmt: skip


def own_folder() -> Path | None:
    """Return the folder of machine code, made where it is missing; None where there is none to use."""
    folder = cache_directory()
    if folder is None:
        say("folder", "there is no home folder, so compiled kernels are not kept for the next time; name a "
            "folder by FASTCART_CACHE_DIR.")  # fmt: skip
        return None
    code = folder / "__pycache__"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for path in (folder, code):
            path.mkdir(mode=0o700, exist_ok=True)
            check_private(path.stat(), path)
        if not os.access(code, os.R_OK | os.X_OK):
            raise PermissionError(13, "Permission denied", str(code))
    except Unusable as error:
        say("folder", f"compiled kernels are neither taken from the disk nor kept there: {error}.")
        return None
    except (OSError, ValueError) as error:
        not_kept(error, folder)
        return None
    return folder


def not_kept(error: Exception, folder: Path) -> None:
    """Say that kernels cannot be written, and so are compiled anew in each process."""
    say(
        "write",
        f"compiled kernels cannot be kept in {str(folder)!r} ({reason(error)}), so each process compiles "
        "them anew; make room or name another folder by FASTCART_CACHE_DIR.",
    )


def seal(data: bytes) -> bytes:
    """Return data with its checksum at the end, where unpickling does not look."""
    return data + FORMAT + hashlib.sha256(data).digest()


def unseal(path: Path) -> bytes:
    """Return the data of a sealed file.

    Raises
    ------
    Unusable
        For a file that is damaged, or that another user could have written.
    OSError
        Where it is missing or cannot be read.
    """
    with path.open("rb") as file:
        check_private(os.fstat(file.fileno()), path)
        content = file.read()
    data = content[:-_SEAL]
    if len(content) <= _SEAL or content != seal(data):
        raise Unusable(f"{str(path)!r} is damaged")
    return data


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, that only this user may read."""
    temporary = tempfile.NamedTemporaryFile("wb", dir=path.parent, delete=False)  # noqa: SIM115
    try:
        with temporary:
            temporary.write(data)
        Path(temporary.name).replace(path)
    finally:
        Path(temporary.name).unlink(missing_ok=True)


class _SealedFiles(IndexDataCacheFile):
    """numba's files of one kernel, each with a checksum."""

    def _load_index(self) -> dict:
        try:
            stamp, overloads = pickle.loads(unseal(Path(self._index_path)))
        except FileNotFoundError:
            return {}
        return overloads if stamp == self._source_stamp else {}

    def _save_index(self, overloads: dict) -> None:
        self._write(self._index_path, (self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        return pickle.loads(unseal(Path(self._data_path(name))))

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _write(self, path: str, content: Any) -> None:
        data = seal(dumps(content))  # what cannot be pickled fails here
        write_whole(Path(path), data)

    def forget(self) -> None:
        """Remove the index, so that what is saved next replaces all that was there."""
        Path(self._index_path).unlink(missing_ok=True)

    def known(self) -> bool:
        """Return whether there is an index that can be used."""
        try:
            return bool(self._load_index())
        except Exception:  # it is said, and mended, where the kernel is loaded
            return False


class KernelCache(_Cache):
    """Where numba looks for the machine code of one kernel, and leaves it.

    Parameters
    ----------
    source : Path
        The file for its text, in the folder that `own_folder` returns; the machine code goes below.
    stamp : str
        What the index must say: the digest of the kernel.
    """

    def __init__(self, source: Path, stamp: str):
        self.source = source
        self._folder = source.parent
        python = f"py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"
        self._files = _SealedFiles(self.cache_path, f"{source.stem}.{python}", stamp)
        self._enabled = True

    @property
    def cache_path(self) -> str:
        """The folder of the files."""
        return str(self._folder / "__pycache__")

    @property
    def known(self) -> bool:
        """Whether there is an index of this kernel."""
        return self._files.known()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the machine code for a signature, None where there is none to use."""
        if not self._enabled:
            return None
        target_context.refresh()
        try:
            payload = self._files.load(_index_key(sig, target_context.codegen()))
            return None if payload is None else CompileResult._rebuild(target_context, *payload)
        except Unusable as error:
            self._start_anew(str(error))
        except Exception as error:  # unpickling what is no pickle may raise anything
            of = f"what {self._files._index_name!r} names cannot be read"
            self._start_anew(f"{of} ({type(error).__name__}: {error})")
        return None

    def _start_anew(self, why: str) -> None:
        self._quietly(self._files.forget)
        say("read", f"a compiled kernel on disk is not used, because {why}; it is compiled anew.")

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code, unless it holds addresses of this process or the disk does not take it."""
        if not self._enabled or data.library.has_dynamic_globals or any(not x.can_cache for x in data.lifted):
            return
        key = _index_key(sig, data.codegen)
        self._quietly(lambda: self._files.save(key, data._reduce()))

    def _quietly(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except OSError as error:
            not_kept(error, self._folder)
        except Unusable:  # the index was damaged in between: the next process mends it
            self._enabled = False
        except Exception as error:  # what numba cannot pickle
            interrupts.check()  # that came while the kernel was compiled, so that there is only half of it
            not_kept(error, self._folder)

    def enable(self) -> None:
        """Read and write again."""
        self._enabled = True

    def disable(self) -> None:
        """Neither read nor write."""
        self._enabled = False

    def flush(self) -> None:
        """Forget the machine code on disk."""
        self._quietly(self._files.forget)


def _index_key(sig: Any, codegen: Any) -> tuple:
    """Return what machine code depends on beside the kernel: types, processor and its features."""
    return sig, codegen.magic_tuple()


def use(kernel: Any, cache: KernelCache | None) -> None:
    """Let a dispatcher or C callback of numba, not compiled yet, keep its machine code in a cache of ours."""
    if cache is not None and hasattr(kernel, "_cache"):  # without its compiler, numba makes plain functions
        kernel._cache = cache
