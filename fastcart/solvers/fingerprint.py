"""A digest of a function by its content: bytecode, constants, and all that it names, recursively.

numba's own cache looks at one source file and does not see edits in the functions that a kernel calls.
A digest of everything reachable does. What cannot be told apart by its content, such as a pointer into
memory, counts by its identity: then the digest is of use in this process only, and says so.
"""

from __future__ import annotations

import copyreg
import dis
import enum
import functools
import hashlib
import itertools
import os
import sys
import types
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.typing.templates import builtin_registry

_FOLDER = f"{Path(__file__).parent.parent}{os.sep}"


@dataclass(frozen=True)
class Examined:
    """A digest, and whether it holds beyond this process.

    Attributes
    ----------
    digest : str
        Hexadecimal.
    opaque : tuple of str
        Types of what counted by its identity, e.g. ``"CFunctionType"``; then another process has another
        digest for the same things, and nothing may be kept on disk under this one.
    modules : tuple of str
        Where the functions live that were met: compiled code names these modules, the digest does not.
    """

    digest: str
    opaque: tuple[str, ...]
    modules: tuple[str, ...]


def fingerprint(*items: Any) -> str:
    """Return a hexadecimal digest of functions, dispatchers, constants and containers of them."""
    if len(items) != 1 or not _is_ours(items[0]):
        return examine(*items).digest
    if items[0] not in _ours:
        _ours[items[0]] = examine(items[0]).digest
    return _ours[items[0]]


_ours: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def _is_ours(item: Any) -> bool:
    """Whether a function is written or made by this package, with all that it uses: then it never changes."""
    function = python_function(item)
    if function is None:
        return False
    contents = [_contents(cell) for cell in function.__closure__ or ()]
    if hasattr(function, "__fastcart_source__"):  # see `fastcart.solvers.compile.from_source`
        scope = function.__globals__
        contents += [scope[name] for name in referenced_names(function.__code__) if name in scope]
    elif not function.__code__.co_filename.startswith(_FOLDER):
        return False
    return all(_is_constant(value) or _is_ours(value) for value in contents)


def _is_constant(item: Any) -> bool:
    """Whether it can never change: a number, a text, a type of numba, or a tuple of such."""
    if type(item) is tuple:
        return all(_is_constant(part) for part in item)
    return type(item) in (int, *_PLAIN) or isinstance(item, numba.types.UniTuple)


def examine(*items: Any) -> Examined:
    """Return the digest of some things, and what in them it could only tell by identity."""
    import llvmlite

    feeder = _Feeder(hashlib.sha256(), {}, [], set())
    feeder.text(repr((numba.__version__, llvmlite.__version__, np.__version__, sys.version_info[:2])))
    for item in items:
        feeder.feed(item)
    opaque = tuple(dict.fromkeys(feeder.opaque))
    return Examined(feeder.digest.hexdigest(), opaque, tuple(sorted(feeder.modules)))


@functools.cache
def own_sources() -> str:
    """Return a digest of the modules that write code: what is kept of their work holds for these alone."""
    digest = hashlib.sha256()
    folder = Path(_FOLDER)
    for file in sorted([*folder.glob("solvers/**/*.py"), *folder.glob("*.py")]):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


@functools.lru_cache(maxsize=10_000)
def referenced_names(code: types.CodeType) -> frozenset[str]:
    """Return the global and attribute names that a code object and those nested in it use."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= referenced_names(constant)
    return frozenset(names)


@functools.lru_cache(maxsize=10_000)
def global_names(code: types.CodeType) -> frozenset[str]:
    """Return the global names alone: a state ``y.m`` has nothing to do with a variable ``m`` around it."""
    names = set(_loaded_globals(code))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= global_names(constant)
    return frozenset(names)


def _loaded_globals(code: types.CodeType) -> Iterator[str]:
    """Yield the names that one code object loads from its globals; `dis` takes 20 times as long to say."""
    if sys.version_info >= (3, 15):  # where nobody has looked yet how the numbers of names are written
        yield from (step.argval for step in dis.get_instructions(code) if step.opname in _GLOBAL)
        return
    high = 0
    for operation, number in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        if operation == dis.EXTENDED_ARG:
            high = (high | number) << 8
            continue
        if operation in _GLOBAL_OPERATIONS:  # the lowest bit of one says whether a call follows
            yield code.co_names[(high | number) >> _GLOBAL_OPERATIONS[operation]]
        high = 0


_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME")
_GLOBAL_OPERATIONS = {dis.opmap["LOAD_GLOBAL"]: 1, dis.opmap["LOAD_NAME"]: 0}


def python_function(item: Any) -> types.FunctionType | None:
    """Return the Python function behind a dispatcher, ufunc, intrinsic or plain function, else None."""
    if isinstance(item, type):
        return None  # classes have what their instances have
    item = getattr(item, "_dispatcher", item)  # of numba.vectorize
    for attribute in ("py_func", "_defn", "_pyfunc"):
        inner = getattr(item, attribute, None)
        if isinstance(inner, types.FunctionType):
            return inner
    return item if isinstance(item, types.FunctionType) else None


# constants that their representation tells apart; numbers may be longer than Python likes to print
_PLAIN = (bool, float, complex, str, bytes, type(None), type(Ellipsis), range, slice)
# what comes with a package of a known version is told by its name
_KNOWN = frozenset({"numba", "numpy", "llvmlite", "scipy", "pandas", "pyarrow"})
# of a class: what differs without meaning anything
_IDLE = frozenset(
    {"__dict__", "__weakref__", "__doc__", "__annotations__", "__module__", "__firstlineno__", "_abc_impl",
     "__static_attributes__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__match_args__"}
)  # fmt: skip
_serials: dict[int, tuple[Any, int]] = {}  # keeps what it numbers, so that no other object gets its address
_serial = itertools.count()
_process: list[Any] = []  # number and a random name of this process


def _serial_number(item: Any) -> str:
    """Return a text that no other object has, in this process or another."""
    if _process[:1] != [os.getpid()]:  # after a fork, too
        _process[:] = [os.getpid(), uuid.uuid4()]
    if id(item) not in _serials:
        _serials[id(item)] = (item, next(_serial))
    return f"{_process[1]} {_serials[id(item)][1]}"


@functools.lru_cache(maxsize=10_000)
def _digest_of(code: types.CodeType) -> bytes:
    """Return a digest of a code object, which never changes; those that do the same are equal."""
    digest = hashlib.sha256()
    _Feeder(digest, {}, [], set()).code_parts(code)
    return digest.digest()


_replaced: dict[int, list[Any]] = {}
_registered = 0


def _replacements() -> dict[int, list[Any]]:
    """Return what numba has in the place of objects, by their identity; indexed as its list grows."""
    global _registered
    listed = builtin_registry.globals
    for replaced, kind in listed[_registered:]:
        _replaced.setdefault(id(replaced), []).append(kind)
    _registered = len(listed)
    return _replaced


class _Feeder:
    """Feeds a digest; ``seen`` numbers what is met and has parts, so that recursion ends."""

    def __init__(self, digest: Any, seen: dict[int, tuple[Any, int]], opaque: list[str], modules: set[str]):
        self.digest = digest
        self.seen = seen
        self.opaque = opaque
        self.modules = modules
        self.met = itertools.count(len(seen))

    def text(self, *words: str) -> None:
        """Feed words, each with its length, so that no two rows of words look the same."""
        joined = "".join([f"{len(word)}:{word}" for word in words])
        self.digest.update(joined.encode(errors="backslashreplace"))

    def feed(self, item: Any) -> None:
        """Feed one item, whatever it is."""
        kind = type(item)
        if kind is str:
            self.text("str", item)
        elif kind is int:
            self.text("int", hex(item))
        elif kind in _PLAIN:
            self.text(kind.__name__, repr(item))
        elif isinstance(item, np.dtype):
            self.text("dtype", repr(item))
        elif kind is np.ndarray:
            self._array(item)
        elif isinstance(item, np.generic) and not item.dtype.hasobject:
            self.text(kind.__name__, repr(item.dtype))
            self.digest.update(item.tobytes())
        elif kind in (tuple, list):
            self._inside(item, lambda: self._sequence(item))
        elif kind in (dict, types.MappingProxyType):
            self._inside(item, lambda: self._mapping(item))
        elif kind in (set, frozenset):
            self._inside(item, lambda: self._set(item))
        else:
            self._thing(item)

    def _thing(self, item: Any) -> None:
        """Feed what is no value of Python or NumPy: functions, classes, objects."""
        function = python_function(item)
        if function is not None:
            self._function(function)
            self._options(item)
            if item is function:
                self._overloads(function)
        elif isinstance(item, types.CodeType):
            self._code(item)
        elif isinstance(item, types.ModuleType):
            self._module_name(item)
        elif isinstance(item, type):
            self._class(item)
        elif isinstance(item, enum.Enum):
            self.text("member", type(item).__qualname__, item.name)
            self.feed(item.value)
        elif isinstance(item, types.MethodType):
            self.text("method")
            self.feed(item.__func__)
            self.feed(item.__self__)
        elif isinstance(item, staticmethod | classmethod):
            self.text(type(item).__name__)
            self.feed(item.__func__)
        elif isinstance(item, property):
            self.text("property")
            self.feed((item.fget, item.fset, item.fdel))
        elif isinstance(item, numba.types.Type):
            self._numba_type(item)
        elif isinstance(item, types.CellType):
            self._cell(item)
        else:
            self._object(item)

    def _inside(self, item: Any, feed: Callable[[], None]) -> None:
        """Feed the parts of something that may hold itself; it is known until they are fed."""
        if id(item) in self.seen:
            self.text("again", str(self.seen[id(item)][1]))
            return
        self.seen[id(item)] = (item, next(self.met))
        feed()
        del self.seen[id(item)]

    def _sequence(self, item: Any) -> None:
        self.text(type(item).__name__, str(len(item)))
        for part in item:
            self.feed(part)

    def _mapping(self, item: Mapping) -> None:
        self.text("dict", str(len(item)))
        for key in sorted(item, key=lambda k: (type(k).__name__, str(k))):
            self.feed(key)
            self.feed(item[key])

    def _set(self, item: Any) -> None:
        self.text(type(item).__name__, str(len(item)))
        if all(type(part) is str for part in item):
            self.text("texts", *sorted(item))
            return
        parts = []
        for part in item:
            alone = _Feeder(hashlib.sha256(), dict(self.seen), self.opaque, self.modules)
            alone.feed(part)
            parts.append(alone.digest.hexdigest())
        self.text(*sorted(parts))

    def _array(self, item: np.ndarray) -> None:
        self.text("array", repr(item.shape), repr(item.dtype))
        if item.dtype.hasobject:
            self._inside(item, lambda: self._sequence(item.tolist()))
        else:
            self.digest.update(item.tobytes())

    def _function(self, function: types.FunctionType) -> None:
        if _comes_with_package(function):
            # what a package of a known version does; it may well look at addresses of its own
            self.text("function", str(function.__module__), function.__qualname__)
            return
        self.text("function", function.__name__)
        self.modules.add(str(function.__module__))
        if id(function) in self.seen:  # recursion, or a helper used twice: which one tells them apart
            self.text("again", str(self.seen[id(function)][1]))
            return
        self.seen[id(function)] = (function, next(self.met))
        self._code(function.__code__)
        self.feed((function.__defaults__, function.__kwdefaults__))
        names = referenced_names(function.__code__)
        scope = function.__globals__
        named = {name: scope[name] for name in sorted(global_names(function.__code__)) if name in scope}
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        entered: list[types.ModuleType] = []
        for name, value in (*named.items(), *cells):
            self.text(name)
            inner = _contents(value) if isinstance(value, types.CellType) else value
            if isinstance(inner, types.ModuleType):
                self._module(inner, names, entered)
            else:
                self.feed(value)

    def _options(self, item: Any) -> None:
        """Feed what a dispatcher or a C callback was compiled with."""
        item = getattr(item, "_dispatcher", item)
        options = getattr(item, "targetoptions", None)
        if options:
            self.feed(dict(options))
        pipeline = getattr(getattr(item, "_compiler", None), "pipeline_class", None)
        self.feed(getattr(pipeline, "named", None))
        signature = getattr(item, "_sig", None)
        if signature is not None:  # of a C callback
            self.text("callback", str(signature))
            self.feed(dict(getattr(getattr(item, "_compiler", None), "targetoptions", None) or {}))

    def _overloads(self, function: types.FunctionType) -> None:
        """Feed what `numba.extending.overload` puts in the place of a function."""
        if str(function.__module__).partition(".")[0] in _KNOWN:
            return
        for kind in _replacements().get(id(function), ()):
            for template in getattr(kind, "templates", ()):
                self.text("overload")
                self.feed(getattr(template, "_overload_func", None))

    def _module_name(self, module: types.ModuleType) -> None:
        self.text("module", module.__name__, str(getattr(module, "__version__", "")))

    def _module(self, module: types.ModuleType, names: set[str], entered: list[types.ModuleType]) -> None:
        """Feed what a function may reach as ``module.name`` or ``package.module.name``, each module once."""
        self._module_name(module)
        if module in entered:
            self.text(str(entered.index(module)))
            return
        entered.append(module)
        for name in sorted(names & module.__dict__.keys()):
            value = module.__dict__[name]
            self.text(name)
            if isinstance(value, types.ModuleType):
                self._module(value, names, entered)
            else:
                self.feed(value)

    def _code(self, code: types.CodeType) -> None:
        self.digest.update(_digest_of(code))

    def code_parts(self, code: types.CodeType) -> None:
        """Feed all that a code object does."""
        self.digest.update(code.co_code)
        self.digest.update(code.co_exceptiontable)
        self.text(repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)))
        self.text(repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)))
        for constant in code.co_consts:
            self.feed(constant)

    def _class(self, item: type) -> None:
        """Feed a class: by its name where a package of a known version has it, else all that it defines."""
        self.text("class", str(item.__module__), item.__qualname__)
        if isinstance(item, enum.EnumMeta):
            members = [(name, member.value) for name, member in item.__members__.items()]
            self._inside(item, lambda: self.feed(members))
        elif not _is_known(item):
            self._inside(item, lambda: self._class_contents(item))

    def _class_contents(self, item: type) -> None:
        self.feed(item.__bases__)
        compiled = getattr(item, "class_type", None)  # of numba's jitclass
        if compiled is not None:
            self.text(repr(dict(compiled.struct)))
            self.feed((compiled.jit_methods, compiled.jit_props, compiled.jit_static_methods))
            return
        for name, value in sorted(vars(item).items()):
            if name not in _IDLE and not isinstance(
                value, types.GetSetDescriptorType | types.MemberDescriptorType
            ):
                self.text(name)
                self.feed(value)
        # a class without the fields' order would take C(a, b) for C(b, a)
        self.feed(list(getattr(item, "_fields", ())))
        annotated = vars(item).get("__annotations__", {})
        self.feed(list(annotated) if isinstance(annotated, dict) else [])

    def _numba_type(self, item: Any) -> None:
        self.text("numba type", type(item).__name__, repr(item))
        if isinstance(item, numba.types.ExternalFunctionPointer):
            self._identity(item)
        if isinstance(item, numba.types.Dispatcher):
            self.feed(item.dispatcher)

    def _cell(self, cell: types.CellType) -> None:
        value = _contents(cell)
        if value is _EMPTY:
            self.text("empty cell")
        else:
            self.feed(value)

    def _object(self, item: Any) -> None:
        """Feed an object by what it would be copied from: its class, its state, its parts."""
        if isinstance(item, types.BuiltinFunctionType) and isinstance(item.__self__, types.ModuleType | None):
            self.text("built-in", str(item.__module__), item.__qualname__)
            return
        if type(item).__module__ in ("numba.typed.typedlist", "numba.typed.typeddict"):
            self.text("typed", str(getattr(item, "_numba_type_", "")))
            self.feed(dict(item) if isinstance(item, Mapping) else list(item))
            return
        registered = copyreg.dispatch_table.get(type(item))
        try:
            parts = item.__reduce_ex__(4) if registered is None else registered(item)
        except Exception:  # a pointer, a lock, a handle: nothing tells it from another
            self._identity(item)
            return
        if isinstance(parts, str):  # found under this name in its module
            self.text("name", type(item).__qualname__, str(getattr(item, "__module__", "")), parts)
        else:
            # what is made on the way must live until the end, so that no address is used twice
            self._inside(item, lambda: self._reduced(item, parts))

    def _reduced(self, item: Any, parts: tuple) -> None:
        make, arguments, *rest = (*parts, *[None] * 5)[:5]
        self.text("object")
        self._class(type(item))
        self.feed(make)
        self.feed(arguments)
        state, listed, mapped = rest
        self.feed(state)
        if listed is not None:
            self.feed(list(listed))
        if mapped is not None:
            self.feed(dict(mapped))

    def _identity(self, item: Any) -> None:
        self.text("identity", _serial_number(item))
        self.opaque.append(type(item).__name__)


_EMPTY = object()


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _comes_with_package(function: types.FunctionType) -> bool:
    """Whether a function belongs to a package whose version is part of every digest, and is found there."""
    if str(function.__module__).partition(".")[0] not in _KNOWN:
        return False
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return python_function(found) is function


def _is_known(item: type) -> bool:
    """Return whether a class belongs to Python or a package of a known version, and is found there."""
    package = str(item.__module__).partition(".")[0]
    if package not in _KNOWN and package not in sys.stdlib_module_names:
        return False
    try:
        found: Any = sys.modules[item.__module__]
        for name in item.__qualname__.split("."):
            found = getattr(found, name)
    except (KeyError, AttributeError):
        return bool(not item.__flags__ & (1 << 9))  # what C defines may have no place of its own
    return found is item
