"""Compile kernels once: re-jit a user's functions for speed, keep machine code on disk by content.

A kernel's functions are rebuilt with the options that let LLVM vectorise across patients (no division
checks, helpers inlined), so that a plain ``@njit`` right-hand side runs at full speed in every engine.
"""

from __future__ import annotations

import gc
import hashlib
import operator
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from numba import cfunc, njit
from numba.core import config
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature
from numba.extending import is_jitted

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None  # type: ignore[assignment]

from fastcart.solvers.fingerprint import examine, python_function, referenced_names
from fastcart.solvers.inner_libraries import optimise_once
from fastcart.solvers.kept_answers import answers_kept
from fastcart.solvers.kernel_cache import (
    FORMAT,
    KernelCache,
    cache_directory,
    not_kept,
    own_folder,
    use,
    write_whole,
)
from fastcart.solvers.lean_import import import_lean
from fastcart.solvers.powers import VectorPowers

import_lean("numba.np.arraymath")

# 'nnan' and 'ninf' are left out on purpose: they delete the NaN checks, and a failed patient would spin
# for ever. 'reassoc' and 'contract' are fixed at compile time, so results do not depend on neighbours.
FAST: dict[str, Any] = {
    "fastmath": {"nsz", "arcp", "contract", "reassoc", "afn"},
    "error_model": "numpy",
    "boundscheck": False,
}
# For functions that only kernels call: wrappers for Python take a fifth of the time to compile.
INNER: dict[str, Any] = {**FAST, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
INLINED: dict[str, Any] = {**INNER, "forceinline": True}
UNROLLED = 31  # turns up to which a loop in a callback disappears, if its body is short
_ANY = 2**32 - 1
_RECURSION = 20_000
EXACT: dict[str, Any] = {"fastmath": False, "error_model": "numpy", "boundscheck": False}
EXACT_INNER: dict[str, Any] = {**EXACT, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DISABLE_JIT", "DEBUGINFO_DEFAULT")

__all__ = [
    "EXACT", "EXACT_INNER", "FAST", "INLINED", "INNER", "UNROLLED", "announce", "announce_by",
    "announcements", "assembly", "cache_directory", "cached", "collector_paused", "from_source", "made_once",
    "numba_settings", "plain", "prepared_function", "rebuild",
]  # fmt: skip

_announce: Callable[[str], None] | None = None
_listening = False  # somebody has said whether to announce
_otherwise: Callable[[str], None] | None = None
_one_at_a_time = threading.RLock()
_memory: dict[str, Any] = {}
_made: dict[Any, Any] = {}


@contextmanager
def announcements(write: Callable[[str], None] | None) -> Iterator[None]:
    """Within the context, tell ``write`` once about each kernel that must be compiled now.

    Within another such context the outer one counts.
    """
    global _announce, _listening
    if _listening:
        yield
        return
    _announce, _listening = write, True
    try:
        yield
    finally:
        _announce, _listening = None, False


def announce(label: str) -> None:
    """Tell who wants to know that a kernel must be compiled now."""
    write = _announce if _listening else _otherwise
    if write is not None:
        write(f"compiling {label}, once ...")


def announce_by(write: Callable[[str], None]) -> None:
    """Set who is told where nobody has said, see `announcements`."""
    global _otherwise
    _otherwise = write


def _is_own_math(value: Any) -> bool:
    function = python_function(value)
    return function is not None and function.__module__ == "fastcart.math"


def _is_helper(value: Any) -> bool:
    return is_jitted(value) and python_function(value) is not None


def _substituted(value: Any, substitutes: dict[Any, Any]) -> Any:
    """Return what stands in for a global value, compared by identity."""
    for original, replacement in substitutes.items():
        if value is original:
            return replacement
    return value


def rebuild(function: Any, options: dict[str, Any], substitutes: dict[Any, Any] | None = None):
    """Re-jit a function, and the jitted helpers that it names, with ``options`` and inlined.

    Parameters
    ----------
    function : numba dispatcher or plain function
        What the model's author wrote.
    options : dict
        Options of ``numba.njit``: `FAST` or `EXACT`, or `INNER` for what Python itself never calls.
    substitutes : dict, optional
        Replacements for global values, e.g. for ``math`` one whose ``exp`` vectorises; with one for
        ``operator.pow``, what is written ``x ** y`` vectorises too.
    """
    source = python_function(function)
    if source is None:
        raise TypeError(f"not a Python function or numba dispatcher: {function!r}")

    def renewed(value: Any) -> Any:
        value = _substituted(value, substitutes or {})
        again = _is_helper(value) and value is not function and not _is_own_math(value)  # that vectorises
        return rebuild(value, options, substitutes) if again else value

    namespace = dict(source.__globals__)
    for name in referenced_names(source.__code__) & namespace.keys():
        namespace[name] = renewed(namespace[name])
    closure = tuple(types.CellType(renewed(cell.cell_contents)) for cell in source.__closure__ or ())
    # machine code on disk remembers a module by name: one that is always there, not the user's script
    namespace["__name__"] = __name__
    copy = types.FunctionType(source.__code__, namespace, source.__name__, source.__defaults__, closure)
    if hasattr(source, "in_python"):
        copy.in_python = source.in_python  # type: ignore[attr-defined]
    if operator.pow in (substitutes or {}):
        options = {**options, "pipeline_class": VectorPowers}
    return njit(forceinline=True, **options)(copy)


def plain(function: Any):
    """Return the function and its jitted helpers as plain Python, to call it without compiling."""
    source = python_function(function)
    if source is None:
        raise TypeError(f"not a Python function or numba dispatcher: {function!r}")
    namespace = dict(source.__globals__)
    for name in referenced_names(source.__code__) & namespace.keys():
        if namespace[name] is not function:
            namespace[name] = _in_python(namespace[name])
    closure = tuple(types.CellType(_in_python(cell.cell_contents)) for cell in source.__closure__ or ())
    return types.FunctionType(source.__code__, namespace, source.__name__, source.__defaults__, closure)


def _in_python(value: Any) -> Any:
    """Return what a value that only kernels know stands for in Python: its ``in_python``, or plain code."""
    told = getattr(value, "in_python", None)
    if told is not None:
        return told
    return plain(value) if _is_helper(value) else value


def from_source(text: str, name: str, namespace: dict[str, Any]) -> types.FunctionType:
    """Make a Python function from generated text; the text is kept beside its machine code."""
    scope = dict(namespace)
    scope["__name__"] = __name__  # numba imports this module when it loads the kernel from disk
    exec(compile(text, f"<{name}>", "exec"), scope)
    function = scope[name]
    function.__fastcart_source__ = text
    return function


@contextmanager
def collector_paused() -> Iterator[None]:
    """Compile without the garbage collector, which would walk millions of objects again and again.

    numba follows the branches of a function by recursion, of a large right-hand side beyond Python's limit.
    """
    paused, limit = gc.isenabled(), sys.getrecursionlimit()
    gc.disable()
    sys.setrecursionlimit(max(limit, _RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
        if paused:
            gc.enable()


@contextmanager
def _interleaved(count: int) -> Iterator[None]:
    """Within the context, LLVM interleaves so many vectors in each loop; 0 leaves the choice to LLVM.

    Then short loops are unrolled, but not those over lanes, which must become vectors first.
    """
    llvm.set_option("fastcart", f"-force-vector-interleave={count}")
    llvm.set_option("fastcart", f"-unroll-full-max-count={UNROLLED if count else _ANY}")
    try:
        yield
    finally:
        llvm.set_option("fastcart", "-force-vector-interleave=0")
        llvm.set_option("fastcart", f"-unroll-full-max-count={_ANY}")


def made_once(key: Any, make: Callable[[], Any]) -> Any:
    """Return ``make()``, a kernel from generated text, or what it returned before for the same key."""
    with _one_at_a_time:  # threads that ask for the same must get the same, to the bit
        if key not in _made:
            _made[key] = make()
        return _made[key]


@contextmanager
def _alone(file: Path | None) -> Iterator[None]:
    """Compile while no other process compiles the same kernel; it then finds the machine code on disk."""
    with ExitStack() as stack:
        if fcntl is not None and file is not None:
            with suppress(OSError):  # a file system without locks: both compile, which only takes time
                lock = stack.enter_context(file.open())
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached(
    function: types.FunctionType, label: str, *, signature: Any = None, interleave: int = 0,
    takes: tuple[type, ...] = (), **options: Any,
) -> Any:  # fmt: skip
    """Jit a kernel so that its machine code is kept on disk under a name that sees every edit.

    Parameters
    ----------
    function : function
        The kernel; what it names by its globals is part of the key.
    label : str
        What the user is told when it must be compiled, e.g. ``"li_lei for lsoda"``.
    signature : numba signature, optional
        With it a C callback (``numba.cfunc``) is made instead of a dispatcher.
    interleave : int
        For a callback: how many vectors LLVM works on side by side in a loop. A long chain of dependent
        operations leaves the processor waiting; a second chain beside it fills the gaps.
    takes : tuple of type
        Named tuples among its arguments: numba knows them by their name, not by the order of their fields.
    **options
        Options of ``numba.njit``.

    Returns
    -------
    numba dispatcher or cfunc
    """
    examined = examine(
        function, takes, options, str(signature), (interleave, UNROLLED), FORMAT, numba_settings()
    )
    # code on disk is read by importing the modules of what it calls, so one that moved is another
    key = hashlib.sha256(repr((examined.digest, examined.modules)).encode()).hexdigest()
    with _one_at_a_time:
        if key not in _memory:
            _memory[key] = _compiled(function, label, key, examined.opaque, signature, interleave, options)
        return _memory[key]


def _compiled(
    function: types.FunctionType, label: str, key: str, opaque: bool, signature: Any, interleave: int,
    options: dict[str, Any],
) -> Any:  # fmt: skip
    """Compile a kernel, or load it from disk; see `cached`."""
    # addresses and the like mean nothing to another process
    cache = None if opaque else _disk_cache(function, key)
    scope = dict(function.__globals__)
    scope["__name__"] = __name__
    code = function.__code__ if cache is None else function.__code__.replace(co_filename=str(cache.source))
    copy = types.FunctionType(code, scope, function.__name__, function.__defaults__)
    copy.__module__ = __name__
    # numba finds the constants of a function by its name and a number, which code from disk brings along: of
    # two functions of one name the later would have those of the first
    copy.__qualname__ = f"{function.__name__}_{key[:24]}"
    known = cache is not None and cache.known
    if not known:
        announce(label)
    if signature is None:
        kernel = optimise_once(copy, options, partial(_alone, None if cache is None else cache.source))
        use(kernel, cache)
    else:
        alone = _alone(None if known or cache is None else cache.source)
        with alone, answers_kept(), _interleaved(interleave):
            kernel = CFunc(copy, normalize_signature(signature), locals={}, options=options)
            use(kernel, cache)
            kernel.compile()
    return kernel


def may_raise(kernel: Any) -> bool:
    """Whether a callback can raise an error, by what LLVM could not prove away.

    numba prints the error of a callback and goes on as if nothing had happened.
    """
    code = getattr(kernel._library, "_compiled_object", None)
    if code is None:  # it came from disk, and LLVM has it now
        stub = Path(kernel._pyfunc.__code__.co_filename)
        stored = list((stub.parent / "__pycache__").glob(f"{stub.stem}.*.nbc"))
        if not stored:
            return "numba_do_raise" in kernel._library.get_asm_str()
        return any(b"numba_do_raise" in file.read_bytes() for file in stored)
    return b"numba_do_raise" in code


def numba_settings() -> dict[str, Any]:
    """Return numba's own settings that machine code depends on, set in the environment."""
    return {name: getattr(config, name, None) for name in _SETTINGS}


def _disk_cache(function: types.FunctionType, key: str) -> KernelCache | None:
    """Return where the machine code of a kernel is kept, beside its text; None where that is impossible."""
    folder = own_folder()
    if folder is None:
        return None
    source = folder / f"{function.__name__}-{key[:24]}.py"
    cache = KernelCache(source, key)
    if cache.known:
        return cache
    text = getattr(function, "__fastcart_source__", "")
    try:
        if not source.exists():
            # behind the text, whose lines keep their numbers
            write_whole(source, f"{text}\n# fastcart kernel {key}\n".encode())
        with tempfile.TemporaryFile(dir=cache.cache_path):  # before minutes are spent on compiling
            pass
    except OSError as error:
        not_kept(error, folder)
        return None
    return cache


def assembly(kernel: Any, *, interleave: int = 0, **options: Any) -> str:
    """Compile a callback that `cached` made once more, and return its machine code as text."""
    with _interleaved(interleave):
        fresh = cfunc(kernel._sig, **options)(kernel._pyfunc)
    return fresh._library.get_asm_str()  # type: ignore[attr-defined]


def prepared_function(function: Callable, **names: Any) -> types.FunctionType:
    """Copy a template kernel with other globals, e.g. a model's right-hand side under ``rhs``."""
    scope = dict(function.__globals__)
    scope.update(names)
    return types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
