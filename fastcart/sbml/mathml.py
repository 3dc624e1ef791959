"""From the syntax trees of libSBML to `fastcart.sbml.trees`: functions of the file are written out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from fastcart.errors import InputError
from fastcart.sbml.trees import MOST_DEEP, TIME, Tree, operation, size, substituted

MOST_PARTS = 50_000  # of one expression, functions written out
_MOST_IN_ALL = 1_000_000  # of a file

_PLAIN = {
    "PLUS": "+", "TIMES": "*", "MINUS": "-", "DIVIDE": "/", "POWER": "^", "FUNCTION_POWER": "^",
    "FUNCTION_ABS": "abs", "FUNCTION_EXP": "exp", "FUNCTION_LN": "log", "FUNCTION_FLOOR": "floor",
    "FUNCTION_CEILING": "ceil", "FUNCTION_FACTORIAL": "factorial", "FUNCTION_MAX": "max",
    "FUNCTION_MIN": "min", "FUNCTION_QUOTIENT": "quotient", "FUNCTION_REM": "rem",
    "FUNCTION_PIECEWISE": "piecewise", "FUNCTION_SIN": "sin", "FUNCTION_COS": "cos", "FUNCTION_TAN": "tan",
    "FUNCTION_ARCSIN": "asin", "FUNCTION_ARCCOS": "acos", "FUNCTION_ARCTAN": "atan",
    "FUNCTION_SINH": "sinh", "FUNCTION_COSH": "cosh", "FUNCTION_TANH": "tanh",
    "LOGICAL_AND": "and", "LOGICAL_OR": "or", "LOGICAL_XOR": "xor", "LOGICAL_NOT": "not",
    "LOGICAL_IMPLIES": "implies",
}  # fmt: skip
_RELATIONS = {
    "RELATIONAL_LT": "<", "RELATIONAL_LEQ": "<=", "RELATIONAL_GT": ">", "RELATIONAL_GEQ": ">=",
    "RELATIONAL_EQ": "==", "RELATIONAL_NEQ": "!=",
}  # fmt: skip
_RECIPROCALS = {"SEC": "cos", "CSC": "sin", "COT": "tan", "SECH": "cosh", "CSCH": "sinh", "COTH": "tanh"}
_OF_RECIPROCAL = {"SEC": "COS", "CSC": "SIN", "SECH": "COSH", "CSCH": "SINH", "COTH": "TANH"}
_UNARY = {"-", "abs", "exp", "log", "floor", "ceil", "factorial", "not", "sin", "cos", "tan", "asin", "acos",
          "atan", "sinh", "cosh", "tanh"}  # fmt: skip
_BINARY = {"-", "/", "^", "quotient", "rem", "implies"}


@cache
def _kinds() -> dict[int, str]:
    """Return the names of libSBML's kinds of nodes."""
    import libsbml

    return {getattr(libsbml, x): x.removeprefix("AST_") for x in dir(libsbml) if x.startswith("AST_")}


class Functions:
    """The functions that a file defines, each written out where it is called.

    Parameters
    ----------
    definitions : mapping
        The syntax tree of each, a ``lambda``.
    """

    def __init__(self, definitions: Mapping[str, Any]):
        self._definitions = definitions
        self._known: dict[str, tuple[list[str], Tree]] = {}
        self._open: list[str] = []
        self._called: dict[tuple, tuple[list[Tree], Tree]] = {}  # with what has the ids
        self.parts = 0  # of all that was read

    def called(self, name: str, operands: list[Tree]) -> Tree:
        """Return what a function is of some operands."""
        arguments, body = self._of(name)
        if len(arguments) != len(operands):
            raise InputError(
                f"SBML: the function {name!r} takes {len(arguments)} arguments, but is called with "
                f"{len(operands)}."
            )
        key = name, *(id(x) if isinstance(x, tuple) else x for x in operands)
        if key not in self._called:  # twice the same is one tree that is shared
            values = dict(zip(arguments, operands, strict=True))
            if size(body, {x: size(tree) for x, tree in values.items()}) > MOST_PARTS:
                raise InputError(_too_many(f"function {name!r}"))
            self._called[key] = operands, substituted(body, values)
        return self._called[key][1]

    def _of(self, name: str) -> tuple[list[str], Tree]:
        if name in self._known:
            return self._known[name]
        if name in self._open:
            raise InputError(f"SBML: the function {name!r} calls itself, which no function of a file may do.")
        if name not in self._definitions:
            raise InputError(f"SBML: the function {name!r} is called, but not defined.")
        node = self._definitions[name]
        if node is None or not node.getNumChildren():
            raise InputError(f"SBML: the function {name!r} has no mathematics.")
        self._open.append(name)
        if len(self._open) > MOST_DEEP:
            raise InputError(f"SBML: more than {MOST_DEEP} functions call each other.")
        last = node.getNumChildren() - 1
        arguments = [node.getChild(i).getName() for i in range(last)]
        body = tree_of(node.getChild(last), self, f"function {name!r}")
        self._open.pop()
        self._known[name] = arguments, body
        return self._known[name]


def tree_of(node: Any, functions: Functions, where: str) -> Tree:
    """Return a syntax tree of libSBML as a tree.

    Parameters
    ----------
    node : libsbml.ASTNode
    functions : Functions
    where : str
        What it is the mathematics of, for errors.

    Raises
    ------
    InputError
        For what fastcart does not take, by name: a delay, a distribution, a function that calls itself.
    """
    tree = _Reader(functions, where).read(node, 0)
    parts = size(tree)
    functions.parts += parts
    if parts > MOST_PARTS:
        raise InputError(_too_many(where))
    if functions.parts > _MOST_IN_ALL:
        raise InputError(
            f"SBML: the mathematics of the file has more than {_MOST_IN_ALL} parts, functions written out."
        )
    return tree


def _too_many(where: str) -> str:
    return f"SBML: the mathematics of {where} has more than {MOST_PARTS} parts, its functions written out."


class _Reader:
    def __init__(self, functions: Functions, where: str):
        self._functions, self._where = functions, where

    def read(self, node: Any, depth: int) -> Tree:
        if depth > MOST_DEEP:
            raise InputError(
                f"SBML: the mathematics of {self._where} is nested more than {MOST_DEEP} times; write it "
                "with fewer brackets, or in parts."
            )
        kind = _kinds().get(node.getType(), "UNKNOWN")
        leaf = self._leaf(kind, node)
        if leaf is not None:
            return leaf
        if kind == "FUNCTION_DELAY":
            raise InputError(f"SBML: {self._where} has a delay, which fastcart does not take.")
        if kind == "FUNCTION_RATE_OF":
            of = node.getChild(0)
            if node.getNumChildren() != 1 or not of.isName():
                raise InputError(f"SBML: {self._where} has a rateOf of what is no name.")
            return "rateOf", of.getName()
        operands = [self.read(child, depth + 1) for child in _operands(node)]
        if kind == "FUNCTION":
            return self._functions.called(node.getName(), operands)
        return self._operation(kind, operands, node)

    def _leaf(self, kind: str, node: Any) -> Tree | None:
        if kind == "INTEGER":
            return float(node.getInteger())
        if kind in ("REAL", "REAL_E", "RATIONAL", "NAME_AVOGADRO"):
            return float(node.getReal())
        if kind == "NAME":
            return str(node.getName())
        known: dict[str, Tree] = {
            "NAME_TIME": TIME, "CONSTANT_PI": math.pi, "CONSTANT_E": math.e, "CONSTANT_TRUE": True,
            "CONSTANT_FALSE": False,
        }  # fmt: skip
        return known.get(kind)

    def _operation(self, kind: str, operands: list[Tree], node: Any) -> Tree:
        count = len(operands)
        if kind in _RELATIONS:
            if count < 2:
                return True
            pairs = [operation(_RELATIONS[kind], *operands[i : i + 2]) for i in range(count - 1)]
            return pairs[0] if len(pairs) == 1 else operation("and", *pairs)
        if kind in _PLAIN:
            name = _PLAIN[kind]
            allowed = (count == 1 and name in _UNARY) or (count == 2 and name in _BINARY)
            if name in _UNARY | _BINARY and not allowed:
                raise InputError(f"SBML: {self._where} has {name!r} with {count} operands.")
            if name in ("max", "min") and not count:
                raise InputError(f"SBML: {self._where} has {name!r} of nothing.")
            return operation(name, *operands)
        special = _special(kind.removeprefix("FUNCTION_"), operands)
        if special is None:
            what = node.getName() or kind.lower().replace("_", " ")
            raise InputError(f"SBML: {self._where} has {what!r}, which fastcart does not take.")
        return special


def _operands(node: Any) -> list[Any]:
    """Return the operands of a node; of ``((a + b) + c) + d``, as tools write sums, those of one sum."""
    kind, found = node.getType(), []
    while True:
        children = [node.getChild(i) for i in range(node.getNumChildren())]
        found += reversed(children[1:])
        chained = _kinds().get(kind) in ("PLUS", "TIMES") and children and children[0].getType() == kind
        if not chained or not children[0].getNumChildren():
            return [*children[:1], *reversed(found)]
        node = children[0]


def _special(kind: str, x: list[Tree]) -> Tree | None:
    """Return what is no operation of its own: roots, logarithms to a base, rare functions of angles."""
    op = operation
    if kind == "ROOT":
        if len(x) == 1 or x[0] == 2.0:
            return op("sqrt", x[-1])
        return op("^", x[1], op("/", 1.0, x[0]))
    if kind == "LOG":
        base = x[0] if len(x) == 2 else 10.0
        return op("/", op("log", x[-1]), op("log", base))
    if len(x) != 1:
        return None
    if kind in _RECIPROCALS:
        return op("/", 1.0, op(_RECIPROCALS[kind], x[0]))
    return _inverse(kind.removeprefix("ARC"), x[0]) if kind.startswith("ARC") else None


def _inverse(kind: str, z: Tree) -> Tree | None:
    """Return an inverse function of an angle."""
    op = operation
    if kind == "COT":  # continuous at infinity, pi/2 at 0
        return op("piecewise", math.pi / 2, op("==", z, 0.0), op("atan", op("/", 1.0, z)))
    if kind in _OF_RECIPROCAL:
        kind, z = _OF_RECIPROCAL[kind], op("/", 1.0, z)
    if kind in ("SIN", "COS"):
        return op("a" + kind.lower(), z)
    if kind == "TANH":
        return op("*", 0.5, op("log", op("/", op("+", 1.0, z), op("-", 1.0, z))))
    if kind == "COSH":
        return op("log", op("+", z, op("*", op("sqrt", op("-", z, 1.0)), op("sqrt", op("+", z, 1.0)))))
    if kind == "SINH":  # of the size, for what is added must not cancel
        size_of = op("abs", z)
        value = op("log", op("+", size_of, op("sqrt", op("+", op("*", z, z), 1.0))))
        return op("piecewise", op("-", value), op("<", z, 0.0), value)
    return None
