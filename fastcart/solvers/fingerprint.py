"""A digest of a function by its content: bytecode, constants, and all that it names, recursively.

numba's own cache looks at one source file and does not see edits in the functions that a kernel calls.
A digest of everything reachable does.
"""

from __future__ import annotations

import enum
import hashlib
import sys
import types
from typing import Any

import numba
import numpy as np


def fingerprint(*items: Any) -> str:
    """Return a hexadecimal digest of functions, dispatchers, constants and containers of them."""
    import llvmlite

    digest = hashlib.sha256()
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version_info[:2])
    digest.update(repr(versions).encode())
    seen: dict[int, int] = {}
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
    """Return the Python function behind a dispatcher, ufunc, intrinsic or plain function, else None."""
    item = getattr(item, "_dispatcher", item)  # of numba.vectorize
    for attribute in ("py_func", "_defn", "_pyfunc"):
        inner = getattr(item, attribute, None)
        if isinstance(inner, types.FunctionType):
            return inner
    return item if isinstance(item, types.FunctionType) else None


# constants that their representation tells apart
_PLAIN = (bool, int, float, complex, str, bytes, type(None), range, np.dtype, numba.types.Type)


def _feed(item: Any, digest: Any, seen: dict[int, int]) -> None:
    """Feed one item; ``seen`` numbers the functions met so far, so that recursion ends."""
    if isinstance(item, _PLAIN):
        digest.update(f"{type(item).__name__} {item!r}".encode())
        return
    function = python_function(item)
    if function is not None:
        _feed_function(function, digest, seen)
        options = getattr(getattr(item, "_dispatcher", item), "targetoptions", None)
        if options:
            _feed(dict(options), digest, seen)
    elif isinstance(item, types.CodeType):
        _feed_code(item, digest, seen)
    elif isinstance(item, dict):
        for key in sorted(item, key=str):
            digest.update(str(key).encode())
            _feed(item[key], digest, seen)
    elif isinstance(item, tuple | list | enum.EnumMeta):
        digest.update(f"{type(item).__name__}{len(item)}".encode())
        for part in item:
            _feed(part, digest, seen)
    elif isinstance(item, enum.Enum):
        _feed((type(item).__qualname__, item.name, item.value), digest, seen)
    else:
        digest.update(_described(item))


def _described(item: Any) -> bytes:
    """Return what tells an object without parts from others of its kind."""
    if isinstance(item, np.ndarray | np.generic):
        return f"{type(item).__name__} {item.shape} {item.dtype!r}".encode() + item.tobytes()
    if isinstance(item, set | frozenset):
        return repr(sorted(map(repr, item))).encode()
    if isinstance(item, types.ModuleType):
        return f"module {item.__name__} {getattr(item, '__version__', '')}".encode()
    # classes, built-in functions and the like have a name, other objects that of their class
    named = item if hasattr(item, "__name__") else type(item)
    return f"{type(item)} {getattr(named, '__module__', '')}.{named.__name__}".encode()


def _feed_function(function: types.FunctionType, digest: Any, seen: dict[int, int]) -> None:
    digest.update(function.__name__.encode())
    if id(function) in seen:  # recursion, or a helper used twice: which one it was tells them apart
        digest.update(str(seen[id(function)]).encode())
        return
    seen[id(function)] = len(seen)
    _feed(function.__code__, digest, seen)
    _feed((function.__defaults__, function.__kwdefaults__), digest, seen)
    names = referenced_names(function.__code__)
    named = {name: function.__globals__[name] for name in sorted(names) if name in function.__globals__}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    entered: list[types.ModuleType] = []
    for name, value in (*named.items(), *((name, cell.cell_contents) for name, cell in cells)):
        digest.update(name.encode())
        if isinstance(value, types.ModuleType):
            _feed_module(value, names, digest, seen, entered)
        else:
            _feed(value, digest, seen)


def _feed_module(
    module: types.ModuleType,
    names: set[str],
    digest: Any,
    seen: dict[int, int],
    entered: list[types.ModuleType],
) -> None:
    """Feed what a function may reach as ``module.name`` or ``package.module.name``, each module once."""
    digest.update(_described(module))
    if module in entered:
        digest.update(str(entered.index(module)).encode())
        return
    entered.append(module)
    for name in sorted(names & module.__dict__.keys()):
        value = module.__dict__[name]
        digest.update(name.encode())
        if isinstance(value, types.ModuleType):
            _feed_module(value, names, digest, seen, entered)
        else:
            _feed(value, digest, seen)


def _feed_code(code: types.CodeType, digest: Any, seen: dict[int, int]) -> None:
    digest.update(code.co_code)
    digest.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
    digest.update(str(code.co_argcount).encode())
    for constant in code.co_consts:
        _feed(constant, digest, seen)
