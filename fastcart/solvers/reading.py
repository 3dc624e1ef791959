"""What the bytecode of a right-hand side says: whether it looks at the time, may raise, draws at random."""

from __future__ import annotations

import dis
import random
from collections.abc import Iterator
from traceback import walk_tb
from types import CellType, FunctionType
from typing import Any

import numpy as np
from numba.extending import is_jitted

from fastcart.solvers.fingerprint import python_function, referenced_names

_BETWEEN = ("PUSH_NULL", "CACHE", "PRECALL", "NOP", "EXTENDED_ARG")


def uses_time(function: Any) -> bool:
    """Return whether ``function(t, ...)`` may look at its first argument.

    Handing it on to a jitted helper, first, counts only where the helper looks at it. What is not understood
    counts as a look.
    """
    source = python_function(function)
    if source is None or not source.__code__.co_argcount:
        return True
    code = source.__code__
    name = code.co_varnames[0]
    if name in (*code.co_cellvars, *code.co_freevars):
        return True
    steps = [step for step in dis.get_instructions(code) if step.opname not in _BETWEEN]
    for k, step in enumerate(steps):
        if not step.opname.startswith("LOAD_FAST"):
            continue
        loaded = step.argval if isinstance(step.argval, tuple) else (step.argval,)
        if name not in loaded:
            continue
        helper = _named(source, steps[k - 1]) if k and loaded.index(name) == 0 else None
        if name in loaded[1:] or helper is None or helper is function or uses_time(helper):
            return True
    return False


def _named(source: Any, step: dis.Instruction) -> Any:
    """Return the jitted helper that an instruction loads, or None."""
    value = None
    if step.opname == "LOAD_GLOBAL":
        value = source.__globals__.get(step.argval)
    elif step.opname == "LOAD_DEREF" and step.argval in source.__code__.co_freevars:
        cell = source.__closure__[source.__code__.co_freevars.index(step.argval)]
        value = cell.cell_contents
    return value if is_jitted(value) else None


def may_raise(function: Any) -> bool:
    """Return whether a function, or a jitted helper that it names, holds a ``raise`` or an ``assert``."""
    return any(True for _ in raising_lines(function))


def raising_lines(function: Any) -> Iterator[int]:
    """Yield the lines in which a function, or a jitted helper that it names, raises an error or asserts."""
    for source in functions(function):
        for step in dis.get_instructions(source):
            if step.opname == "RAISE_VARARGS":
                yield (step.positions and step.positions.lineno) or source.__code__.co_firstlineno


def random_lines(function: Any) -> Iterator[int]:
    """Yield the lines in which a function, or a jitted helper that it names, draws random numbers."""
    for source in functions(function):
        known = named_values(source)
        for step in dis.get_instructions(source):
            value = known.get(step.argval) if isinstance(step.argval, str) else None
            from_numpy = step.argval == "random" and any(value is np for value in known.values())
            if from_numpy or _is_random(value):
                yield (step.positions and step.positions.lineno) or source.__code__.co_firstlineno


def _is_random(value: Any) -> bool:
    """Whether it is a module that draws, one of its functions, or a generator."""
    if value is random or value is np.random or isinstance(value, np.random.Generator | random.Random):
        return True
    owner = getattr(value, "__self__", None)  # functions of those modules are methods of a hidden generator
    return isinstance(owner, np.random.Generator | np.random.RandomState | random.Random)


def place_in(function: Any, error: BaseException) -> tuple[str, int] | None:
    """Return where in the files of a function and its helpers an error came from, as far inside as known."""
    files = {source.__code__.co_filename for source in functions(function)}
    calls = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    return next((call for call in reversed(calls) if call[0] in files), None)


def functions(function: Any) -> Iterator[FunctionType]:
    """Yield the Python function and the jitted helpers that it names, each once."""
    seen: list[FunctionType] = []
    waiting = [function]
    while waiting:
        source = python_function(waiting.pop())
        if source is None or any(source is known for known in seen):
            continue
        seen.append(source)
        yield source
        waiting += [value for value in reversed(named_values(source).values()) if is_jitted(value)]


def named_values(function: FunctionType) -> dict[str, Any]:
    """Return what a function refers to, by name: of its module, then of what encloses it."""
    names = sorted(referenced_names(function.__code__) & function.__globals__.keys())
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {
        **{name: function.__globals__[name] for name in names},
        **{name: cell.cell_contents for name, cell in cells if cell != CellType()},
    }
