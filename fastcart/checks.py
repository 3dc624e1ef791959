"""Checks of single values that many places share, and how a bad one is shown in a sentence."""

from __future__ import annotations

import math
import numbers
import reprlib
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from difflib import get_close_matches
from functools import wraps
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import Any, ParamSpec, TypeVar

import numpy as np

from fastcart.errors import InputError, nearest
from fastcart.errors import first_line as first_line
from fastcart.errors import located as located
from fastcart.errors import reason as reason

_ROUNDING = 1e-12  # of a time, relative
_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


class _Short(reprlib.Repr):
    """Short representations, in which a NumPy number looks like the number it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 80

    def repr1(self, x: Any, level: int) -> str:
        return super().repr1(x.item() if isinstance(x, np.generic) else x, level)


def shown(value: Any) -> str:
    """Return how a bad value is shown: on one line, short, without NumPy's type names."""
    try:
        return " ".join(_Short().repr(value).split())
    except Exception:  # a foreign object may even fail to show itself
        return f"a value of type {type(value).__name__}"


@contextmanager
def user_code(what: str, *, locate: bool = False) -> Iterator[None]:
    """Within the context runs code of the user: whatever it raises becomes one sentence that begins so.

    With ``locate`` it ends with the line of the user's file.

    Raises
    ------
    InputError
        For anything but an interrupt and an `InputError` of its own; also for a request to end the program.
    """
    try:
        yield
    except (InputError, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise InputError(f"{what} asks to end the program (SystemExit: {shown(error.code)}).") from error
    except BaseException as error:
        place = _users_line(error) if locate else ""
        raise InputError(f"{what} fails with {type(error).__name__}: {reason(error)}{place}.") from error


def _users_line(error: BaseException) -> str:
    """Return where in the user's file an error arose, or was handed on to a library."""
    own = str(Path(__file__).parent)
    frames = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith(own)]
    lines = [frame.lineno for frame in frames if frame.filename == frames[0].filename]
    if not lines or lines[-1] is None or "site-packages" in frames[0].filename:
        return ""
    return located(frames[0].filename, lines[-1])


def real(value: Any) -> float | None:
    """Return a real number as a float; None for text, True, complex numbers and all else."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    # NumPy counts time differences among the whole numbers
    if isinstance(value, bool | np.timedelta64) or not isinstance(value, numbers.Real | Decimal):
        return None
    try:
        return float(value)
    except (OverflowError, ValueError):  # 10**400, Decimal("sNaN")
        return None


def number_in(text: str) -> float | None:
    """Return the number that a text holds, spaces around it aside; None where it holds none.

    Digits are ASCII, without underscores: Python's own ``float`` takes ``1_0`` and digits of other scripts.
    """
    if not text.isascii() or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def number(value: Any, what: str, *, positive: bool = False) -> float:
    """Return a finite number as a float.

    Raises
    ------
    InputError
        Where it is none, or where it must be positive and is not; ``what`` begins the sentence.
    """
    result = real(value)
    if result is None or not math.isfinite(result) or (positive and result <= 0):
        kind = "a positive, finite number" if positive else "a finite number"
        raise InputError(f"{what} must be {kind}, not {shown(value)}.")
    return result


def held_to(times: Any, t_end: float) -> Any:
    """Return times of which those beyond the horizon by rounding alone, such as ``3 * 0.1``, are the horizon.

    As for the times of doses, see `fastcart.solvers.doses.canonical`, 12 digits count.
    """
    times = np.asarray(times, dtype=np.float64)
    return np.where((times > t_end) & (times <= t_end * (1 + _ROUNDING)), t_end, times)


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number; True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool | np.timedelta64)


def count(value: Any, what: str) -> int:
    """Return a whole number from 1 on.

    Raises
    ------
    InputError
        For anything else; ``what`` begins the sentence.
    """
    if not is_whole(value) or value < 1:
        raise InputError(f"{what} must be a whole number from 1 on, not {shown(value)}.")
    return int(value)


def seed_of(value: Any) -> int:
    """Return a seed: a whole number from 0 on.

    Raises
    ------
    InputError
        For anything else.
    """
    if not is_whole(value) or value < 0:
        raise InputError(f"The seed must be a whole number from 0 on, not {shown(value)}.")
    return int(value)


def seeded(function: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
    """Let a function whose ``seed`` must be given say so in a sentence where it is not."""

    @wraps(function)
    def called(*args: _Given.args, **keywords: _Given.kwargs) -> _Answer:
        if "seed" not in keywords:
            alike = get_close_matches("seed", keywords, n=1)
            meant = f" {alike[0]!r} is not its name." if alike else ""
            raise InputError(
                f"{function.__name__}() needs a seed, a whole number from 0 on, e.g. seed=1: the same seed "
                f"gives the same numbers.{meant}"
            )
        return function(*args, **keywords)

    return called


def names(values: Any, what: str) -> list[str]:
    """Return a list of names, each once; a single text counts as one name.

    Raises
    ------
    InputError
        For anything else; ``what`` begins the sentence.
    """
    listed = [values] if isinstance(values, str) else values
    listed = list(listed) if isinstance(listed, Iterable) else [None]
    if not all(isinstance(name, str) for name in listed):
        raise InputError(f"{what} must be a list of names, not {shown(values)}.")
    for name in listed:
        if listed.count(name) > 1:
            raise InputError(f"{what} must differ; {shown(name)} is given twice.")
    return listed


def check_file(path: Path, what: str) -> None:
    """Check that a file is there and no folder; ``what`` it is begins the sentence.

    Raises
    ------
    InputError
    """
    if path.is_dir():
        raise InputError(f"{what} {str(path)!r} is a folder; give the name of a file.")
    if not path.exists():
        raise InputError(f"{what} {str(path)!r} does not exist; check the path.")


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises
    ------
    InputError
        For a file that is not there or cannot be read; ``what`` it is begins the sentence.
    """
    check_file(path, what)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        problem = f"it is no TOML, {first_line(str(error))}"
        if "Illegal character '\\n'" in problem:
            problem += "; a quotation mark may be missing there"
    except (OSError, ValueError) as error:
        problem = reason(error)
    raise InputError(f"{what} {str(path)!r} cannot be read: {problem}.")


def check_breaks(given: Any) -> tuple[float | str, ...]:
    """Return times, and names of columns that hold each patient's own, having checked that they are such.

    Raises
    ------
    InputError
        For anything else, and for times that are negative or not finite.
    """
    if given is None:
        return ()
    alone = isinstance(given, str | bytes) or not isinstance(given, Iterable)
    alone = alone or getattr(given, "ndim", 1) == 0
    listed = [given] if alone else list(given)
    checked: list[float | str] = []
    for item in listed:
        if isinstance(item, str):
            if not item.isidentifier():
                raise InputError(
                    f"A break is a time, or the name of a parameter or column of times, not {shown(item)}."
                )
            checked.append(item)
        else:
            time = number(item, "A time of the breaks")
            if time < 0:
                raise InputError(f"A time of the breaks must not be negative, not {shown(item)}.")
            checked.append(time)
    return tuple(checked)


def registered(name: Any, modules: Mapping[str, str], what: str) -> Any:
    """Return the object ``METHOD`` of the module that a registry has under a name; it is loaded now.

    Raises
    ------
    InputError
        Where there is none; ``what`` says in the sentence what it would be.
    """
    if not isinstance(name, str) or name not in modules:
        raise InputError(f"There is no {what.format(shown(name))}." + nearest(name, modules))
    return import_module(modules[name]).METHOD
