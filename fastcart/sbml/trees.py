"""Expressions as plain trees: a number, a truth value, a name, or an operation with its operands.

``("+", "S1", 2.0)`` is ``S1 + 2``; ``("time",)`` is time, ``("rateOf", "S1")`` a derivative. Trees are tuples
and may share parts; what walks over them visits a shared part once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Tree = float | bool | str | tuple  # a tuple is an operation and its operands

TIME: Tree = ("time",)
MOST_DEEP = 250  # operations within each other
RELATIONS = ("<", "<=", ">", ">=", "==", "!=")
CONNECTIVES = ("and", "or", "xor", "not", "implies")


def add(*terms: Tree) -> Tree:
    """Return a sum, without zeros."""
    kept = tuple(term for term in terms if term != 0.0 or isinstance(term, bool))
    return kept[0] if len(kept) == 1 else operation("+", *kept)


def multiply(*factors: Tree) -> Tree:
    """Return a product, without ones."""
    kept = tuple(factor for factor in factors if factor != 1.0 or isinstance(factor, bool))
    return kept[0] if len(kept) == 1 else operation("*", *kept)


def divide(a: Tree, b: Tree) -> Tree:
    """Return a quotient."""
    return a if b == 1.0 and not isinstance(b, bool) else operation("/", a, b)


def is_condition(tree: Tree) -> bool:
    """Whether a tree is true or false rather than a number."""
    if isinstance(tree, tuple):
        if tree[0] == "piecewise":
            return all(is_condition(value) for value in tree[1::2][: len(tree) // 2])
        return tree[0] in RELATIONS or tree[0] in CONNECTIVES
    return isinstance(tree, bool)


def parts(tree: Tree) -> Iterator[Tree]:
    """Yield a tree and all trees in it, each shared one once."""
    seen: set[int] = set()
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, tuple):
            if id(part) in seen:
                continue
            seen.add(id(part))
            if part[0] != "rateOf":
                waiting += part[1:]
        yield part


def names(tree: Tree) -> set[str]:
    """Return the names in a tree, those of derivatives left out."""
    return {part for part in parts(tree) if isinstance(part, str)}


def derivatives(tree: Tree) -> set[str]:
    """Return whose derivatives are in a tree."""
    return {part[1] for part in parts(tree) if isinstance(part, tuple) and part[0] == "rateOf"}


def has_time(tree: Tree) -> bool:
    """Whether time is in a tree."""
    return any(part == TIME for part in parts(tree))


def size(tree: Tree, of: Mapping[str, int] | None = None) -> int:
    """Return of how many parts a tree is when it is written out, shared ones as often as they occur.

    ``of`` says it of names that stand for trees.
    """
    given = of or {}

    def counted(part: Tree, below: list[int]) -> int:
        return given.get(part, 1) if isinstance(part, str) else 1 + sum(below)

    return int(_folded(tree, counted))


def replaced(tree: Tree, change: Callable[[Tree], Tree | None]) -> Tree:
    """Return a tree in which parts are replaced by what a function makes of them, None for what stays."""

    def made(part: Tree, below: list[Tree]) -> Tree:
        return operation(part[0], *below) if isinstance(part, tuple) else part

    return _folded(tree, made, change)


def shallow(tree: Tree, keep: Callable[[Tree], str], most: int) -> Tree:
    """Return a tree in which operations are within each other no more than ``most`` times.

    What is further down is handed to ``keep``, which returns a name for it, the innermost first.
    """

    def made(part: Tree, below: list[tuple[Tree, int]]) -> tuple[Tree, int]:
        if not below:
            return part, 0
        assert isinstance(part, tuple)
        operands = [x for x, _ in below]
        deep = 1 + max(depth for _, depth in below)
        if part[0] == "piecewise":
            operands = _in_pieces(operands, is_condition(part), keep, max(1, most - deep))
            deep += len(operands) // 2
        result = (part[0], *operands)
        return (keep(result), 0) if deep >= most else (result, deep)

    return _folded(tree, made)[0]


def _in_pieces(operands: list[Tree], condition: bool, keep: Callable[[Tree], str], most: int) -> list[Tree]:
    """Return the operands of a choice that is among no more than ``most``; the last may be a kept choice."""
    while len(operands) // 2 > most:
        last = operands.pop() if len(operands) % 2 else (False if condition else math.nan)
        pairs = operands[-2 * most :]
        operands[-2 * most :] = [keep(("piecewise", *pairs, last))]
    return operands


def substituted(tree: Tree, values: Mapping[str, Tree]) -> Tree:
    """Return a tree with trees instead of names."""

    def change(part: Tree) -> Tree | None:
        if isinstance(part, tuple) and part[0] == "rateOf" and part[1] in values:
            of = values[part[1]]
            return ("rateOf", of) if isinstance(of, str) else 0.0
        return values.get(part) if isinstance(part, str) else None

    return replaced(tree, change)


def _folded(tree: Tree, make: Callable[[Tree, list], Any], change: Callable | None = None) -> Any:
    """Make something of each part from what was made of those below it, each shared one once."""
    known: dict[int, Any] = {}

    def of(part: Tree) -> Any:
        if id(part) in known:
            return known[id(part)]
        changed = None if change is None else change(part)
        if changed is not None:
            result = changed
        elif isinstance(part, tuple) and part[0] != "rateOf":
            result = make(part, [of(below) for below in part[1:]])
        else:
            result = part if change is not None else make(part, [])
        if isinstance(part, tuple):
            known[id(part)] = result
        return result

    return of(tree)


def operation(name: str, *operands: Tree) -> Tree:
    """Return an operation, or the number that it is where all operands are numbers."""
    tree = (name, *operands)
    if name in ("time", "rateOf") or not all(isinstance(x, float | bool) for x in operands):
        return tree
    return evaluate(tree, {})


def evaluate(tree: Tree, values: Mapping[str, Any]) -> Any:
    """Return the number that a tree is; NaN where there is none.

    ``values`` holds those of names, and that of ``"time"``, if there is one.
    """
    if isinstance(tree, str):
        return values[tree]
    if not isinstance(tree, tuple):
        return tree
    name, *operands = tree
    if name == "time":
        return values.get("time", 0.0)
    if name == "piecewise":
        for value, condition in zip(operands[0::2], operands[1::2], strict=False):
            if evaluate(condition, values):
                return evaluate(value, values)
        return evaluate(operands[-1], values) if len(operands) % 2 else math.nan
    given = [evaluate(x, values) for x in operands]
    try:
        result = _FUNCTIONS[name](*given)
    except (ValueError, ArithmeticError):
        result = _beyond(name, given)
    if isinstance(result, bool):
        return result
    return float(result) if not isinstance(result, complex) else math.nan


def _beyond(name: str, given: list) -> float:
    """Return what processors make of what Python refuses."""
    if name == "/" and given[1] == 0 and given[0] != 0 and not math.isnan(given[0]):
        return math.copysign(math.inf, given[0]) * math.copysign(1.0, given[1])
    if name == "log" and given[0] == 0:
        return -math.inf
    if name in ("exp", "^", "sinh", "cosh", "factorial") and all(math.isfinite(x) for x in given):
        return math.inf
    return math.nan


def _whole(x: float, y: float) -> float:
    quotient = x / y
    return float(math.trunc(quotient)) if math.isfinite(quotient) else quotient


def _step(function: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: float(function(x)) if math.isfinite(x) else x


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "+": lambda *x: math.fsum(x) if all(map(math.isfinite, x)) else sum(x),
    "*": lambda *x: math.prod(x), "-": lambda x, *y: x - y[0] if y else -x, "/": lambda x, y: x / y,
    "^": lambda x, y: math.pow(x, y),
    "<": lambda x, y: x < y, "<=": lambda x, y: x <= y, ">": lambda x, y: x > y, ">=": lambda x, y: x >= y,
    "==": lambda x, y: x == y, "!=": lambda x, y: x != y,
    "and": lambda *x: all(x), "or": lambda *x: any(x), "xor": lambda *x: sum(map(bool, x)) % 2 == 1,
    "not": lambda x: not x, "implies": lambda x, y: (not x) or bool(y),
    "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "abs": abs, "floor": _step(math.floor),
    "ceil": _step(math.ceil), "factorial": lambda x: math.gamma(x + 1.0),
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "asin": math.asin, "acos": math.acos,
    "atan": math.atan, "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh,
    "max": lambda *x: max(x), "min": lambda *x: min(x), "quotient": _whole,
    "rem": lambda x, y: x - y * _whole(x, y),
}  # fmt: skip
