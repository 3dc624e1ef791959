"""What the results of a run depend on: the model, the versions, the processor; in the types of JSON."""

from __future__ import annotations

import enum
import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd

from fastcart._version import __version__
from fastcart.checks import is_whole, real
from fastcart.model import Model
from fastcart.solvers.fingerprint import examine, fingerprint, python_function

# packages whose versions results may depend on, to the last bit
_PACKAGES = ("numpy", "numba", "llvmlite", "numbalsoda", "scipy", "pandas", "pyarrow")
# words, on which no number depends
# typical patients decide on the method alone, which manifests name themselves
_WORDS = frozenset({"doc", "references", "description", "symbol", "source", "typical", "plausible"})


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

    from fastcart.solvers.compile import numba_settings

    versions = {"python": platform.python_version(), "fastcart": __version__}
    for package in _PACKAGES:
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
