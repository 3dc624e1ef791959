"""Expressions as text of Python: for compiled functions of single numbers, and for arrays of patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numba import njit

from fastcart.sbml.trees import CONNECTIVES, RELATIONS, Tree, is_condition, shallow
from fastcart.sbml.trees import names as names_in


@njit
def quotient(x, y):
    """The whole number of times that one number goes into another, towards 0."""
    return np.ceil(x / y) if x / y < 0.0 else np.floor(x / y)


@njit
def rem(x, y):
    """What a whole number of times leaves."""
    return x - y * quotient(x, y)


@njit
def xor(one, other):
    """Whether one of two conditions holds."""
    return (one and not other) or (other and not one)


def _quotients(x: Any, y: Any) -> Any:
    return np.trunc(x / y)


# names that the texts use
SCOPE: dict[str, Any] = {
    "math": math, "np": np, "nan": math.nan, "inf": math.inf, "quotient": quotient, "rem": rem, "xor": xor,
}  # fmt: skip
_FOR_ARRAYS_TOO = {
    **SCOPE, "quotient": _quotients, "rem": lambda x, y: x - y * _quotients(x, y), "xor": np.logical_xor
}  # fmt: skip

_IN_MATH = ("exp", "log", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")
_LARGEST_POWER = 64
MOST_WITHIN = 40  # operations within each other in one text: Python reads 200 brackets
_CHAINS = {"+": ("+", "-"), "-": ("+", "-"), "*": ("*", "/"), "/": ("*", "/")}
_FOR_ARRAYS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}


def free(name: str, taken: set[str]) -> str:
    """Return a name that is not taken, with underscores behind it where needed, and take it."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


class Writer:
    """Writes trees as text.

    Parameters
    ----------
    refer : callable
        Returns how a name is written.
    time : str
        How time is written.
    rate_of : callable, optional
        Returns how the derivative of a name is written.
    arrays : bool
        Whether the text is for arrays, with what chooses between values as ``np.where``.
    """

    def __init__(
        self, refer: Callable[[str], str], *, time: str = "t", rate_of: Callable[[str], str] | None = None,
        arrays: bool = False,
    ):  # fmt: skip
        self._refer, self._time, self._rate_of, self._arrays = refer, time, rate_of, arrays

    def number(self, tree: Tree) -> str:
        """Return the text of a number; what is true or false counts as 1 or 0."""
        if isinstance(tree, bool):
            return "1.0" if tree else "0.0"
        if isinstance(tree, float):
            return f"({tree!r})" if tree < 0 else repr(tree)
        if isinstance(tree, str):
            return self._refer(tree)
        if is_condition(tree):
            return self._chosen(self.condition(tree), "1.0", "0.0")
        name, *operands = tree
        if name == "time":
            return self._time
        if name == "rateOf":
            assert self._rate_of is not None
            return self._rate_of(operands[0])
        if name == "piecewise":
            return self._piecewise(operands, self.number, "nan")
        return self._operation(name, operands)

    def condition(self, tree: Tree) -> str:
        """Return the text of what is true or false; a number is true where it is not 0."""
        if isinstance(tree, bool):
            return str(tree)
        if not is_condition(tree):
            return f"({self.number(tree)} != 0.0)"
        assert isinstance(tree, tuple)
        name, *operands = tree
        if name in RELATIONS:
            a, b = map(self.number, operands)
            return f"({a} {name} {b})"
        if name == "piecewise":
            return self._piecewise(operands, self.condition, "False")
        return self._connected(tree)

    def _connected(self, tree: Tree) -> str:
        """Return the text of conditions that are connected."""
        if isinstance(tree, bool):
            return str(tree)
        assert isinstance(tree, tuple)
        name, *operands = tree
        assert name in CONNECTIVES
        given = [self.condition(x) for x in operands]
        if name == "not":
            return self._opposite(given[0])
        if name == "implies":
            return self._joined("or", [self._opposite(given[0]), given[1]])
        if name == "xor":
            result = given[0] if given else "False"
            for other in given[1:]:
                result = f"xor({result}, {other})"
            return result
        return self._joined(name, given) if given else str(name == "and")

    def _joined(self, name: str, given: list[str]) -> str:
        if len(given) == 1:
            return given[0]
        word = {"and": " & ", "or": " | "}[name] if self._arrays else f" {name} "
        return f"({word.join(given)})"

    def _opposite(self, given: str) -> str:
        return f"np.logical_not({given})" if self._arrays else f"(not {given})"

    def _chosen(self, condition: str, yes: str, no: str) -> str:
        if self._arrays:
            return f"np.where({condition}, {yes}, {no})"
        return f"({yes} if {condition} else {no})"

    def _piecewise(self, operands: list, write: Callable[[Tree], str], missing: str) -> str:
        result = write(operands[-1]) if len(operands) % 2 else missing
        pairs = list(zip(operands[0::2], operands[1::2], strict=False))
        for value, condition in reversed(pairs):
            result = self._chosen(self.condition(condition), write(value), result)
        return result

    def _operation(self, name: str, operands: list) -> str:
        if name == "^":
            return self._power(*operands)
        given = [self.number(x) for x in operands]
        if name in _CHAINS and _chains(name, operands):  # a - b - c needs no brackets
            given[0] = given[0][1:-1]
        if name in ("+", "*"):
            return f"({f' {name} '.join(given)})" if given else ("0.0" if name == "+" else "1.0")
        if name in ("-", "/"):
            return f"(-{given[0]})" if len(given) == 1 else f"({given[0]} {name} {given[1]})"
        if name in ("max", "min"):
            return self._extreme(name, given)
        if name in ("quotient", "rem"):
            return f"{name}({given[0]}, {given[1]})"
        if name == "factorial":
            return f"gamma({given[0]} + 1.0)" if self._arrays else f"math.gamma({given[0]} + 1.0)"
        if name in ("floor", "ceil"):
            return f"np.{name}({given[0]})"
        if name == "abs":
            return f"abs({given[0]})"
        assert name in _IN_MATH
        if self._arrays:
            return f"np.{_FOR_ARRAYS.get(name, name)}({given[0]})"
        return f"math.{name}({given[0]})"

    def _extreme(self, name: str, given: list[str]) -> str:
        if not self._arrays:
            return f"{name}({', '.join(given)})" if len(given) > 1 else given[0]
        result = given[0]
        for other in given[1:]:
            result = f"np.{name}imum({result}, {other})"
        return result

    def _power(self, base: Tree, exponent: Tree) -> str:
        text = self.number(base)
        if isinstance(exponent, float) and exponent.is_integer() and 0 < exponent <= _LARGEST_POWER:
            return f"({text} ** {int(exponent)})"
        if self._arrays:
            return f"np.power({text}, {self.number(exponent)})"
        return f"math.pow({text}, {self.number(exponent)})"


def _chains(name: str, operands: list[Tree]) -> bool:
    """Whether the first operand is a chain of the same rank, from left to right."""
    first = operands[0] if len(operands) > 1 else None
    return isinstance(first, tuple) and first[0] in _CHAINS[name] and len(first) > 2


class Computed:
    """A default that follows from other columns of a table of patients, as a model's `Parameter` takes it.

    Parameters
    ----------
    tree : Tree
        Of names of columns.
    names : mapping
        The column of each name, where it has another one.
    """

    def __init__(self, tree: Tree, names: Mapping[str, str]):
        self.tree, self.names, self.columns = tree, dict(names), sorted(names_in(tree))
        writer = Writer(lambda x: f"columns[{names.get(x, x)!r}]", time="0.0", arrays=True)
        self.kept: dict[str, str] = {}  # what is deep inside

        def keep(part: Tree) -> str:
            name = f"#{len(self.kept)}"  # no column
            self.kept[name] = writer.number(part)
            return name

        self.text = writer.number(shallow(tree, keep, MOST_WITHIN))

    def __call__(self, columns: Mapping[str, Any]) -> Any:
        """Return the values, of the shape of the columns."""
        from scipy.special import gamma

        given = _Floats(columns)
        scope = {**_FOR_ARRAYS_TOO, "gamma": gamma, "columns": given}
        for name, text in self.kept.items():
            given.kept[name] = eval(text, scope)
        return 1.0 * np.asarray(eval(self.text, scope))

    def __repr__(self) -> str:
        """The text that is computed."""
        return f"Computed({self.text})"


class _Floats:
    """Columns as numbers of NumPy: what Python refuses of plain ones, such as ``1 / 0``, is infinite here."""

    def __init__(self, columns: Mapping[str, Any]):
        self._columns = columns
        self.kept: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name in self.kept:
            return self.kept[name]
        return np.asarray(self._columns[name], dtype=float)[()]
