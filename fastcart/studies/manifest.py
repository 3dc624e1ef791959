"""Runs that can be resumed: a folder with a manifest of all that the results depend on, and whole files only.

A run is a folder. ``manifest.json`` is written first and says what the results depend on; result files are
written to a temporary name and renamed, so that a kill at any moment leaves whole files or none. A run goes
on only where its manifest is the same, so that what it adds fits what is there.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import is_whole, real, reason
from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.solvers.fingerprint import fingerprint, python_function

MANIFEST = "manifest.json"
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

    def __init__(self, folder: Path, manifest: Manifest, resumed: bool, lock: int | None):
        self.folder = folder
        self.manifest = manifest
        self.resumed = resumed
        self._lock = lock

    def path(self, name: str) -> Path:
        """Return the path of a file of this run; ``name`` may have folders, as in ``"parts/0.parquet"``."""
        return self.folder / name

    def has(self, name: str) -> bool:
        """Return whether a file is there; then it is whole."""
        return self.path(name).is_file()

    def write(self, name: str, data: bytes | str | Callable[[Path], Any]) -> Path:
        """Write a file, whole or not at all.

        Parameters
        ----------
        name : str
        data : bytes, str or callable
            A callable gets the path of a temporary file and writes that.

        Raises
        ------
        InputError
            When it cannot be written, e.g. because the disk is full.
        """
        target = self.path(name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, data)
        except OSError as error:
            raise InputError(
                f"The file {str(target)!r} cannot be written: {reason(error)}. What was finished before is "
                f"kept in {str(self.folder)!r}; make room, then go on with --resume."
            ) from error
        return target

    def read_json(self, name: str) -> Any:
        """Read a JSON file of this run."""
        return _read_json(self.path(name))

    def close(self) -> None:
        """Give the folder free for other processes."""
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
    except BaseException:
        if lock is not None:
            os.close(lock)
        raise
    return Run(path, manifest, resumed, lock)


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
        there = _read_json(file)
        kind = there.get("kind", "run")
        if resume:
            _compare(path, manifest, there)
            _remove(path, ["**/.*.part"])
            return True
        if not force:
            raise InputError(
                f"The folder {str(path)!r} holds a {kind} already; use --resume to go on with it or --force "
                "to replace it."
            )
        if kind != manifest.kind:
            raise InputError(
                f"The folder {str(path)!r} holds a {kind}, which a {manifest.kind} does not replace; give "
                "another folder."
            )
        # before the new manifest is there, so that old parts never pass for new ones
        _remove(path, ["**/.*.part", *owns])
    try:
        write_whole(file, manifest.text())
    except OSError as error:
        raise InputError(f"The folder {str(path)!r} cannot be written: {reason(error)}.") from error
    return False


def _compare(path: Path, manifest: Manifest, there: Mapping[str, Any]) -> None:
    differ = manifest.differences(there)
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
    content = _read_json(file)
    if content.get("kind") != kind:
        raise InputError(f"The folder {str(folder)!r} holds a {content.get('kind')}, not a {kind}.")
    return content


def write_whole(target: Path, data: bytes | str | Callable[[Path], Any]) -> None:
    """Write a file under a temporary name, hand it to the disk, rename it."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if callable(data):
            data(temporary)
        else:
            temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
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
    except (OSError, ValueError) as error:
        raise InputError(f"The file {str(file)!r} cannot be read: {reason(error)}.") from error


def describe_model(model: Model) -> dict[str, Any]:
    """Return name, options and a hash of everything that a model is: functions, defaults, ranges."""
    declared = [[getattr(item, f.name) for f in fields(item)] for item in model.items]
    parts = [
        declared, [o.name for o in model.observables], model.rhs, model.observe, model.burden, model.t_end,
        None if model.published is None else [model.published.rhs, model.published.step],
    ]  # fmt: skip
    if model.method is not None:
        parts.append(model.method)
    return {"name": model.name, "options": plain(model.options), "hash": fingerprint(*parts)}


def environment() -> dict[str, Any]:
    """Return what else results depend on to the last bit: versions, and the kind of processor."""
    import llvmlite.binding as llvm

    from fastcart import __version__

    versions = {"python": platform.python_version(), "fastcart": __version__}
    for package in _PACKAGES[1:]:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {"versions": versions, "processor": f"{platform.machine()} {llvm.get_host_cpu_name()}"}


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
    return str(value)


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
