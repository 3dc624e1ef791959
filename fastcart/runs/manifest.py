"""Runs that can be resumed: a folder with a manifest of all that the results depend on, and whole files only.

A run is a folder. ``manifest.json`` is written first and says what the results depend on; result files are
written to a temporary name and renamed, so that a kill at any moment leaves whole files or none. A run goes
on only where its manifest is the same, so that what it adds fits what is there. ``checksums.sha256`` has a
line for each file (``sha256sum --check`` reads it): what is not as it was written is made again.
"""

from __future__ import annotations

import enum
import hashlib
import json
import logging
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import is_whole, real, reason
from fastcart.errors import InputError, OutputError
from fastcart.model import Model
from fastcart.solvers.fingerprint import examine, fingerprint, python_function

MANIFEST = "manifest.json"
CHECKSUMS = "checksums.sha256"
_MAX_SHOWN = 6  # differences named in one sentence
# packages whose versions results may depend on, to the last bit
_PACKAGES = ("fastcart", "numpy", "numba", "llvmlite", "numbalsoda", "scipy", "pandas", "pyarrow")


@dataclass(frozen=True)
class Manifest:
    """What the results of a run depend on, and nothing else: no paths, times, threads or hosts.

    Parameters
    ----------
    kind : str
        What is run, e.g. ``"scan"``.
    content : mapping
        Names and values, nested as one likes; values that JSON has no form for go through `plain`.
    """

    kind: str
    content: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return what is written as JSON."""
        return {"kind": self.kind, **plain(self.content)}

    def text(self) -> str:
        """Return the text of the file; the same manifest always gives the same bytes."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Return what differs from a manifest read from a file, a phrase each."""
        there, now = _flat(other), _flat(json.loads(self.text()))
        names = [*there, *(name for name in now if name not in there)]
        return [
            f"{name} is {_shown(there, name)} there and {_shown(now, name)} now"
            for name in names
            if there.get(name, _MISSING) != now.get(name, _MISSING)
        ]


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
            write_whole(target, data, before=lambda written: self._keep(name, checksum(written)))
        except OSError as error:
            raise OutputError(
                f"The file {str(target)!r} cannot be written: {reason(error)}. What was finished before is "
                f"kept in {str(self.folder)!r}; make room, then go on with --resume."
            ) from error
        return target

    def adopt(self, name: str) -> None:
        """Keep the checksum of a file of this run that was written by other means."""
        self._keep(name, checksum(self.path(name)))

    def _keep(self, name: str, value: str) -> None:
        with (self.folder / CHECKSUMS).open("a", encoding="utf-8") as file:
            file.write(f"{value}  {name}\n")  # lost with the power, it only costs the part
        self._sums[name] = value

    def read_json(self, name: str) -> Any:
        """Read a JSON file of this run."""
        return _read_json(self.path(name))

    def close(self) -> None:
        """Give the folder free for other processes."""
        try:
            with suppress(OSError):  # in the order of their names, whatever the order of writing
                _write_sums(self.folder, self._sums)
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
    _make_folder(path)
    lock = _lock(path)
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
    _remove(path, [f".{MANIFEST}.*.part"])  # what a kill left half-written
    if not file.exists():
        if any(path.iterdir()):
            raise InputError(
                f"The folder {str(path)!r} is not empty and holds no run of fastcart; give another folder."
            )
    else:
        there = _there(file)
        if resume and there is not None:
            _compare(path, manifest, there)
            _remove(path, ["**/.*.part"])
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
        _remove(path, ["**/.*.part", CHECKSUMS, *owns])
    try:
        write_whole(file, manifest.text())
    except OSError as error:
        raise OutputError(f"The folder {str(path)!r} cannot be written: {reason(error)}.") from error
    return False


def _there(file: Path) -> dict[str, Any] | None:
    """Return the manifest in a folder; None where it is one of fastcart's, but damaged.

    Raises
    ------
    InputError
        For a file that fastcart never wrote: what lies beside it is somebody else's.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"The file {str(file)!r} cannot be read: {reason(error)}.") from error
    content = _parsed(data)
    if _is_manifest(content):
        return content
    if data.startswith(_BEGINNING[: max(len(data), 1)]) or not data:
        return None
    raise InputError(
        f"The file {str(file)!r} is no manifest of fastcart, so its folder is left alone; give another "
        "folder, or remove the file."
    )


_BEGINNING = b'{\n  "kind": "'  # of every manifest


def _is_manifest(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("kind"), str)


def _parsed(data: bytes) -> Any:
    """Return what JSON says, None where it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


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


def _write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    lines = [f"{value}  {name}\n" for name, value in sorted(sums.items())]
    if lines:
        write_whole(folder / CHECKSUMS, "".join(lines))


def is_intact(file: Path, value: str | None) -> bool:
    """Return whether a file is there and has this checksum."""
    try:
        return value is not None and checksum(file) == value
    except OSError:
        return False


def _verified(folder: Path) -> dict[str, str]:
    """Return the checksums of the files that are as they were written; say which are not."""
    kept = read_sums(folder)
    sums = {name: value for name, value in kept.items() if is_intact(folder / name, value)}
    bad = [name for name in kept if name not in sums]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        is_or_are, it = ("is", "it is") if len(bad) == 1 else ("are", "they are")
        say(
            f"in {str(folder)!r}, {', '.join(bad[:3])}{more} {is_or_are} missing or damaged, so {it} "
            "computed again."
        )
    try:
        _write_sums(folder, sums)
    except OSError as error:
        raise OutputError(f"The folder {str(folder)!r} cannot be written: {reason(error)}.") from error
    return sums


def say(sentence: str) -> None:
    """Tell the user, on stderr unless logging is set up otherwise, what a run does on its own account."""
    logging.getLogger("fastcart").warning("fastcart: %s", sentence)


def _compare(path: Path, manifest: Manifest, there: Mapping[str, Any]) -> None:
    differ = manifest.differences(there)
    opaque = _flat(manifest.as_dict()).get("model.not_comparable")
    if opaque:
        differ = [f"the model holds a {opaque[0]}, which cannot be compared with that of another process"]
    if differ:
        more = f"; and {len(differ) - _MAX_SHOWN} more" if len(differ) > _MAX_SHOWN else ""
        raise InputError(
            f"The {there.get('kind', 'run')} in {str(path)!r} cannot go on, because it was begun with other "
            f"inputs: {'; '.join(differ[:_MAX_SHOWN])}{more}. Give the same inputs, another folder, or "
            "--force to begin anew."
        )


def read_manifest(folder: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """Read the manifest of a finished or unfinished run.

    Raises
    ------
    InputError
        Where the folder holds none, or that of another kind of run.
    """
    file = Path(folder) / MANIFEST
    if not file.is_file():
        raise InputError(f"The folder {str(folder)!r} holds no {kind}: there is no {MANIFEST}.")
    content = _there(file)
    if content is None:
        raise InputError(f"The file {str(file)!r} is damaged; begin the {kind} anew with --force.")
    if content["kind"] != kind:
        raise InputError(f"The folder {str(folder)!r} holds a {content['kind']}, not a {kind}.")
    return content


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


def _make_folder(path: Path) -> None:
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


def _lock(path: Path) -> int | None:
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


def _remove(folder: Path, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        for file in folder.glob(pattern):
            if file.is_file():
                file.unlink()


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"The file {str(file)!r} cannot be read: {reason(error)}.") from error


# words, on which no number depends
_WORDS = frozenset({"doc", "references", "description", "symbol", "source"})


def describe_model(model: Model) -> dict[str, Any]:
    """Return name, options and a hash of all that results depend on: everything of a model but its words.

    Where something in it has no content, such as a pointer, ``not_comparable`` says what, and the hash is
    that of no other process.
    """
    found = examine(_declared(model))
    described = {"name": model.name, "options": plain(model.options), "hash": found.digest}
    if found.opaque:
        described["not_comparable"] = list(found.opaque)
    return described


def _declared(thing: Any) -> Any:
    """Return a model and its parts as names and values, without what is only for reading."""
    if is_dataclass(thing) and not isinstance(thing, type):
        parts = [(f.name, _declared(getattr(thing, f.name))) for f in fields(thing) if f.name not in _WORDS]
        return (type(thing).__name__, parts)
    if isinstance(thing, tuple | list):
        return [_declared(part) for part in thing]
    return thing


def environment() -> dict[str, Any]:
    """Return what else results depend on to the last bit: versions, and what numba compiles for."""
    from numba.core import config
    from numba.core.registry import cpu_target

    from fastcart import __version__
    from fastcart.solvers.compile import numba_settings

    versions = {"python": platform.python_version(), "fastcart": __version__}
    for package in _PACKAGES[1:]:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    versions["C library"] = " ".join(filter(None, platform.libc_ver())) or platform.system()
    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    # the host's own names stand for those that NUMBA_CPU_NAME and NUMBA_CPU_FEATURES do not replace
    instructions = hashlib.sha256(str(features).encode()).hexdigest()[:12]
    settings = {**numba_settings(), "SVML": bool(getattr(config, "USING_SVML", False))}
    return {
        "versions": versions,
        "processor": f"{platform.machine()} {name}, instruction set {instructions}",
        "numba": plain(settings),
    }


def plain(value: Any) -> Any:
    """Return a value in the types of JSON; functions as a hash of what they do."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, pd.DataFrame):
        return {str(name): plain(value[name].tolist()) for name in value.columns}
    if isinstance(value, np.ndarray | pd.Series):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, str | bool | None):
        return value
    if is_whole(value):
        return int(value)
    number = real(value)
    if number is not None:
        return number if np.isfinite(number) else str(number)
    if python_function(value) is not None:
        return f"function {fingerprint(value)}"
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, os.PathLike | complex | np.generic):
        return str(value)
    return f"{type(value).__name__} {fingerprint(value)}"  # its text may hold an address, or leave things out


_MISSING = object()


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with names joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(content: Mapping[str, Any], name: str) -> str:
    if name not in content:
        return "not given"
    text = json.dumps(content[name], ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
