"""A digest of a function by its content: bytecode, constants, and all that it names, recursively.

numba's own cache looks at one source file and does not see edits in the functions that a kernel calls.
A digest of everything reachable does.
"""

from __future__ import annotations

import hashlib
import sys
import types
from typing import Any

import numpy as np


def fingerprint(*items: Any) -> str:
    """Return a hexadecimal digest of functions, dispatchers, constants and containers of them."""
    import llvmlite
    import numba

    digest = hashlib.sha256()
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version_info[:2])
    digest.update(repr(versions).encode())
    seen: set[int] = set()
    for item in items:
        _feed(item, digest, seen)
    return digest.hexdigest()


def referenced_names(code: types.CodeType) -> set[str]:
    """Return the global and attribute names that a code object and those nested in it use."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= referenced_names(constant)
    return names


def python_function(item: Any) -> types.FunctionType | None:
    """Return the Python function behind a dispatcher, an intrinsic or a plain function, else None."""
    for attribute in ("py_func", "_defn", "_pyfunc"):
        inner = getattr(item, attribute, None)
        if isinstance(inner, types.FunctionType):
            return inner
    return item if isinstance(item, types.FunctionType) else None


def _feed(item: Any, digest: Any, seen: set[int]) -> None:
    function = python_function(item)
    if function is not None:
        _feed_function(function, digest, seen)
        options = getattr(item, "targetoptions", None)
        if options:
            _feed(dict(options), digest, seen)
    elif isinstance(item, types.CodeType):
        _feed_code(item, digest, seen)
    elif isinstance(item, np.ndarray):
        digest.update(repr((item.shape, item.dtype.str)).encode() + item.tobytes())
    elif isinstance(item, dict):
        for key in sorted(item, key=str):
            digest.update(str(key).encode())
            _feed(item[key], digest, seen)
    elif isinstance(item, tuple | list):
        digest.update(f"{type(item).__name__}{len(item)}".encode())
        for part in item:
            _feed(part, digest, seen)
    elif isinstance(item, set | frozenset):
        digest.update(repr(sorted(map(repr, item))).encode())
    elif isinstance(item, types.ModuleType):
        digest.update(f"module {item.__name__} {getattr(item, '__version__', '')}".encode())
    elif isinstance(item, bool | int | float | complex | str | bytes | type(None)):
        digest.update(f"{type(item).__name__} {item!r}".encode())
    else:
        name = getattr(item, "__qualname__", type(item).__qualname__)
        digest.update(f"{type(item).__module__}.{name}".encode())


def _feed_function(function: types.FunctionType, digest: Any, seen: set[int]) -> None:
    digest.update(function.__name__.encode())
    if id(function) in seen:  # recursion, or a helper used twice
        return
    seen.add(id(function))
    _feed(function.__code__, digest, seen)
    _feed(function.__defaults__, digest, seen)
    for cell in function.__closure__ or ():
        _feed(cell.cell_contents, digest, seen)
    names = referenced_names(function.__code__)
    for name in sorted(names):
        if name in function.__globals__:
            value = function.__globals__[name]
            digest.update(name.encode())
            _feed(value, digest, seen)
            if isinstance(value, types.ModuleType):
                _feed_module_attributes(value, names, digest, seen)


def _feed_module_attributes(module: types.ModuleType, names: set[str], digest: Any, seen: set[int]) -> None:
    """Helpers and constants reached as ``module.name`` count too."""
    for name in sorted(names):
        value = module.__dict__.get(name)
        if python_function(value) is not None or isinstance(value, int | float | np.ndarray):
            digest.update(name.encode())
            _feed(value, digest, seen)


def _feed_code(code: types.CodeType, digest: Any, seen: set[int]) -> None:
    digest.update(code.co_code)
    digest.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
    digest.update(str(code.co_argcount).encode())
    for constant in code.co_consts:
        _feed(constant, digest, seen)
