"""Machine code of modules written for LLVM directly: compiled here, kept on disk sealed, by their text."""

from __future__ import annotations

import hashlib
import re
import threading
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from fastcart.solvers.compile_clock import compiling
from fastcart.solvers.kernel_cache import (
    FORMAT,
    Unusable,
    not_kept,
    own_folder,
    say,
    seal,
    unseal,
    write_whole,
)

# LLVM halves vectors of 512 bits on processors that have them, unless it is told not to
_WIDE = '"prefer-vector-width"="512" "min-legal-vector-width"="512"'
_loaded: dict[str, Any] = {}  # engines, whose code lives as long as they do
_lock = threading.Lock()


def _machine() -> Any:
    """Return a new machine: an engine wants its own."""
    import numba.core.codegen  # noqa: F401  which sets LLVM up

    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2, jit=True
    )


def address(text: str, name: str, announce: Any = None) -> int:
    """Return the address of a function of a module, whose machine code is made or taken from the disk.

    Parameters
    ----------
    text : str
        From `fastcart.solvers.trace.vectors.module_text`.
    name : str
    announce : callable, optional
        Called before it is compiled.
    """
    key = key_of(text)
    with _lock:
        if key not in _loaded:
            code = from_disk(key)
            if code is None:
                if announce is not None:
                    announce()
                with compiling():
                    code = _compiled(text, name)
                to_disk(key, code)
            _load(key, code)
        return _loaded[key].get_function_address(name)


def key_of(text: str) -> str:
    """Return the key under which the machine code of a module is kept, on this processor."""
    settings = (
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        llvmlite.__version__,
        FORMAT,
    )
    return hashlib.sha256(repr((text, settings)).encode()).hexdigest()


def known_address(key: str, name: str) -> int | None:
    """Return the address of a function whose machine code is in memory or on disk; None where it is not."""
    with _lock:
        if key not in _loaded:
            code = from_disk(key)
            if code is None:
                return None
            _load(key, code)
        return _loaded[key].get_function_address(name)


def _load(key: str, code: bytes) -> None:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _loaded[key] = engine


def assembly(text: str, name: str) -> str:
    """Return the machine code of a module as text; it is compiled anew."""
    machine, module = _optimised(text, name)
    return machine.emit_assembly(module)


def _compiled(text: str, name: str) -> bytes:
    """Return an object file."""
    machine, module = _optimised(text, name)
    return machine.emit_object(module)


def _optimised(text: str, name: str) -> tuple[Any, Any]:
    """Return a machine, and a module that only has to become its code."""
    text = re.sub(rf'(define void @"{name}"\([^)]*\))', rf"\1 {_WIDE}", text, count=1)
    module = llvm.parse_assembly(text)
    module.verify()
    machine = _machine()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine, module


def _file(key: str, ending: str = "o") -> Any:
    folder = own_folder()
    return None if folder is None else folder / "__pycache__" / f"traced-{key[:32]}.{ending}"


def from_disk(key: str, ending: str = "o") -> bytes | None:
    """Return what is kept under a key; None where there is nothing to use."""
    file = _file(key, ending)
    if file is None:
        return None
    try:
        return unseal(file)
    except FileNotFoundError:
        return None
    except (Unusable, OSError) as error:
        say("read", f"a compiled kernel on disk is not used, because {error}; it is compiled anew.")
        return None


def to_disk(key: str, data: bytes, ending: str = "o") -> None:
    """Keep something under a key, where that is possible."""
    file = _file(key, ending)
    if file is None:
        return
    try:
        write_whole(file, seal(data))
    except OSError as error:
        not_kept(error, file.parent)
