"""Specifications: tables of TOML from which entries are taken by name, and what files of Python hold."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any

from fastcart.checks import count, number, reason, shown
from fastcart.errors import InputError, nearest

_NEVER_HIDDEN = {"fastcart", "numba", "numpy", "llvmlite", "scipy", "pandas", "pyarrow", "matplotlib"}


class Table:
    """A table of TOML from which entries are taken; what is left over at the end is a mistake."""

    def __init__(self, table: Any, what: str):
        if not isinstance(table, Mapping):
            raise InputError(f"{what.capitalize()} must be a table, not {shown(table)}.")
        self._left = dict(table)
        self._known: list[str] = []
        self._what = what

    def expect(self, names: Iterable[str]) -> None:
        """Raise an error if there is an entry of another name, before one is missed that is misspelt."""
        self._known.extend(names)
        for name in self._left:
            if name not in self._known:
                raise self._unknown(name)

    def take(self, name: str, default: Any) -> Any:
        """Return an entry, whatever it is."""
        self._known.append(name)
        return self._left.pop(name, default)

    def peek(self, name: str) -> Any:
        """Return an entry that stays in the table; None where there is none."""
        return self._left.get(name)

    def take_last(self, name: str, default: Any) -> Any:
        """Return an entry, and see that there is no other."""
        value = self.take(name, default)
        self.done()
        return value

    def rest(self) -> dict[str, Any]:
        """Return all entries that are left."""
        left, self._left = self._left, {}
        return left

    def table(self, name: str) -> Table:
        """Return a table within this one."""
        return Table(self.take(name, {}), f"the table [{name}]")

    def tables(self, name: str) -> list[Table]:
        """Return the tables of a list ``[[name]]``."""
        given = self.take(name, [])
        if not isinstance(given, list):
            raise InputError(f"Own arms are written as [[{name}]], not {shown(given)}.")
        return [Table(entry, f"an own [[{name}]]") for entry in given]

    def number(self, name: str, default: float) -> float:
        """Return a finite number."""
        return number(self.take(name, default), f"The entry {name!r} of {self._what}")

    def count(self, name: str, default: int) -> int:
        """Return a whole number from 1 on."""
        return count(self.take(name, default), f"The entry {name!r} of {self._what}")

    def seed(self, name: str, default: int) -> int:
        """Return a whole number from 0 on."""
        value = self.take(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InputError(f"The entry {name!r} must be a whole number from 0 on, not {shown(value)}.")
        return value

    def text(self, name: str, default: str) -> str:
        """Return a text that is not empty; it must be given where the default is empty."""
        self._need(name, default, "a text")
        value = self.take(name, default)
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"The entry {name!r} of {self._what} must be a text, not {shown(value)}.")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise InputError(f"The entry {name!r} of {self._what} must be true or false, not {shown(value)}.")
        return value

    def names(self, name: str, default: Any) -> list[str]:
        """Return different names; they must be given where the default is empty."""
        self._need(name, default, "a list of names")
        value = self.take(name, list(default))
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise InputError(
                f"The entry {name!r} of {self._what} must be a list of names, not {shown(value)}."
            )
        for item in value:
            if value.count(item) > 1:
                raise InputError(f"The entry {name!r} of {self._what} lists {item!r} twice.")
        return value

    def done(self) -> None:
        """Raise an error if an entry was not asked for."""
        for name in self._left:
            raise self._unknown(name)

    def _unknown(self, name: str) -> InputError:
        known = dict.fromkeys(self._known)
        return InputError(f"There is no entry {name!r} in {self._what}." + nearest(name, known))

    def _need(self, name: str, default: Any, what: str) -> None:
        """Raise an error if an entry without a default is not there."""
        if name not in self._left and not default:
            who = self._what[:1].upper() + self._what[1:]
            raise InputError(f"{who} has no entry {name!r}, which it needs; give {what}.")


def write_new(path: str | Path, text: str) -> Path:
    """Write a specification to begin with, as a new file.

    Raises
    ------
    InputError
        For a file that is there already, or cannot be written.
    """
    target = Path(path)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"The file {str(target)!r} is there already; give another name.") from None
    except OSError as error:
        raise InputError(f"The file {str(target)!r} cannot be written: {error.strerror}.") from None
    return target


def from_file(path: Path, name: str, what: str) -> Any:
    """Load something of a user's from a file of Python; ``what`` says what, for errors.

    Raises
    ------
    InputError
        When the file is not there, fails, or has nothing of that name.
    """
    with _loading(path, what) as module:
        if hasattr(module, name):
            return getattr(module, name)
    known = [held for held in vars(module) if not held.startswith("_")]
    raise InputError(f"{what} is not there: {str(path)!r} has no {name!r}." + nearest(name, known))


def only_one(path: Path, kind: type, what: str) -> Any:
    """Load the one object of a class that a file of Python holds; ``what`` says what it is, for errors.

    Raises
    ------
    InputError
        When the file is not there, fails, or holds none or several.
    """
    with _loading(path, what) as module:
        held = {name: value for name, value in vars(module).items() if isinstance(value, kind)}
    names = list({id(value): name for name, value in reversed(held.items()) if name[:1] != "_"}.values())
    if not names:
        raise InputError(
            f"{what} is not there: {str(path)!r} holds no fastcart.{kind.__name__}; assign one to a name in "
            "it."
        )
    if len(names) > 1:
        raise InputError(
            f"{what} is one of several in {str(path)!r}: {', '.join(reversed(names))}; say which, e.g. "
            f"{path}:{names[-1]}."
        )
    return held[names[0]]


@contextmanager
def _loading(path: Path, what: str) -> Iterator[Any]:
    """Yield a file of Python as a module; what goes wrong with it is one sentence."""
    from importlib.util import module_from_spec, spec_from_file_location

    found = spec_from_file_location(f"fastcart_rule_{path.stem}", path)
    if not path.exists():
        raise InputError(
            f"{what} is not there: {str(path)!r} is no file of Python, for it does not exist; check the path."
        )
    if found is None or found.loader is None or not path.is_file():
        raise InputError(f"{what} is not there: {str(path)!r} is no file of Python.")
    module = module_from_spec(found)
    try:
        with _importable(path.resolve().parent), _known_as(module):
            found.loader.exec_module(module)
        yield module
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also where it asks to end the program
        kind = "" if isinstance(error, InputError | SyntaxError) else f"{type(error).__name__}: "
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == found.origin]
        line = f", line {lines[-1]}" if lines else ""
        raise InputError(
            f"{what} cannot be loaded from {str(path)!r}{line}: {kind}{reason(error)}."
        ) from None


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let what is run import modules of a folder, as ``python folder/file.py`` does, and leave no trace.

    A module of the same name from elsewhere is out of sight meanwhile. Those of the folder are forgotten like
    the file itself, so that an edited one is read anew, and what is sent to other processes goes there as it
    is, not as a name that they do not find; unless Python finds the folder anyway.
    """
    from importlib import invalidate_caches

    own = _names_in(folder)
    hidden: dict[str, Any] = {
        name: module for name, module in sys.modules.items()
        if name.partition(".")[0] in own and not _lies_in(folder, sys.modules.get(name.partition(".")[0]))
    }  # fmt: skip
    for name in hidden:
        del sys.modules[name]
    before, entry = set(sys.modules), str(folder)
    invalidate_caches()  # a file may be younger than what Python knows of the folder
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)
        stays = folder in {Path(place).resolve() for place in sys.path}
        shadowed = {name.partition(".")[0] for name in hidden}
        for name in set(sys.modules) - before:
            top = name.partition(".")[0]
            new = top not in before and _lies_in(folder, sys.modules.get(top))
            if top in shadowed or (new and not stays):
                hidden.setdefault(name, None)
        for name in hidden:
            sys.modules.pop(name, None)
        sys.modules.update({name: module for name, module in hidden.items() if module is not None})


def _names_in(folder: Path) -> set[str]:
    """Return the modules and packages that a folder has, but for those that everything here rests on."""
    names = {file.stem for file in folder.glob("*.py")}
    names |= {file.parent.name for file in folder.glob("*/__init__.py")}
    return {name for name in names if name[:2] != "__"} - set(sys.stdlib_module_names) - _NEVER_HIDDEN


def _lies_in(folder: Path, module: Any) -> bool:
    """Whether a module is a file of a folder, or a package right in it."""
    paths = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
    return any(path and folder in Path(path).resolve().parents[:1] for path in paths)


@contextmanager
def _known_as(module: Any) -> Iterator[None]:
    """Let a module be found by its name while it is run, as Python's dataclasses expect."""
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        del sys.modules[module.__name__]
        if before is not None:
            sys.modules[module.__name__] = before
