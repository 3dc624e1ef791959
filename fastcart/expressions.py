"""Formulas over named columns, such as ``"T4 + TP <= 0.5*C"``: bounds, objectives and constraints as text.

Only arithmetic, comparisons and a few functions are known; nothing else of Python is ever run.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastcart.checks import real, reason, shown
from fastcart.errors import InputError, nearest, nearest_quantity

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip
_UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "exp": np.exp, "log": np.log, "log10": np.log10, "sqrt": np.sqrt,
    "min": np.minimum, "max": np.maximum,
}  # fmt: skip
_ARGUMENTS = {"min": 2, "max": 2}
_LONGEST = 10_000  # characters of a formula
_DEEPEST = 200  # levels: each term of a sum is one


@dataclass(frozen=True)
class Linear:
    """A linear form: a constant, and a coefficient for each name; numbers or arrays with one value a row."""

    constant: Any
    coefficients: dict[str, Any]


@dataclass(frozen=True)
class Expression:
    """A formula over named columns.

    Parameters
    ----------
    text : str
    """

    text: str

    def __post_init__(self) -> None:
        _check(_tree(self.text), self.text)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of columns in the formula, each once, in order."""
        nodes = ast.walk(_tree(self.text))
        functions = set()
        found = []
        for node in nodes:
            if isinstance(node, ast.Call):
                functions.add(id(node.func))
            elif isinstance(node, ast.Name) and id(node) not in functions:
                found.append(node.id)
        return tuple(dict.fromkeys(found))

    def check_names(
        self,
        known: Mapping[str, Any] | list[str],
        what: str,
        kinds: str = "endpoint, variable or column of a table",
    ) -> None:
        """Check that every name is known; ``what`` begins the sentence, ``kinds`` says what may be used.

        Raises
        ------
        InputError
            Naming the first that is not, and the nearest that is.
        """
        for name in self.names:
            if name not in known:
                hint = nearest_quantity(name, known)
                raise InputError(f"{what} uses {name!r}, which is no {kinds}." + hint)

    def __call__(self, columns: Mapping[str, Any]) -> Any:
        """Return the value of the formula; columns are numbers or arrays."""
        with np.errstate(all="ignore"):
            return _value(_tree(self.text), columns)

    def linear(self, variables: list[str], columns: Mapping[str, Any]) -> Linear | None:
        """Return the formula as a linear form of the variables, or None where it is not linear in them.

        Parameters
        ----------
        variables : list of str
        columns : mapping
            Values of all other names.
        """
        if any(name not in columns and name not in variables for name in self.names):
            return None
        with np.errstate(all="ignore"):
            return _linear(_tree(self.text), variables, columns)


@dataclass(frozen=True)
class Relation:
    """A comparison of two formulas, kept as ``smaller <= larger``.

    Parameters
    ----------
    text : str
        With ``<=`` or ``>=``.
    """

    text: str
    smaller: Expression
    larger: Expression


def relations(text: str) -> list[Relation]:
    """Parse a comparison such as ``"0.4 <= TE/TP <= 0.6"``, into one relation for each sign.

    Raises
    ------
    InputError
        For text that is no comparison by ``<=`` or ``>=``.
    """
    node = _tree(text)
    if not isinstance(node, ast.Compare):
        raise InputError(f"The constraint {shown(text)} must compare by <= or >=, as in 'T4 + TP <= 2e7'.")
    sides = [Expression(_source(text, side)) for side in (node.left, *node.comparators)]
    found = []
    for k, sign in enumerate(node.ops):
        if isinstance(sign, ast.LtE | ast.Lt):
            found.append(Relation(text, sides[k], sides[k + 1]))
        elif isinstance(sign, ast.GtE | ast.Gt):
            found.append(Relation(text, sides[k + 1], sides[k]))
        else:
            raise InputError(f"The constraint {shown(text)} must compare by <= or >=.")
    return found


def _tree(text: str) -> Any:
    if not isinstance(text, str):
        raise InputError(f"A formula must be text, not {shown(text)}.")
    if len(text) > _LONGEST:
        raise InputError(
            f"The formula {shown(text)} has {len(text)} characters, and at most {_LONGEST} are read; compute "
            "some of it beforehand, as a column."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Python will not allow some day
            node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise InputError(f"The formula {shown(text)} cannot be read: {reason(error)}.") from None
    except (RecursionError, MemoryError):
        node = None
    if node is None or _depth(node) > _DEEPEST:
        raise InputError(
            f"The formula {shown(text)} has more than {_DEEPEST} terms or parentheses within one another; "
            "compute some of it beforehand, as a column."
        )
    return node


def _depth(tree: ast.AST) -> int:
    """Return how many levels a formula has, without recursion."""
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _source(text: str, node: Any) -> str:
    """Return the part of a formula that a node was read from."""
    return " ".join((ast.get_source_segment(text.strip(), node) or text).split())


def _check(node: Any, text: str) -> None:
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        _check(node.left, text)
        _check(node.right, text)
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        _check(node.operand, text)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        name = node.func.id
        if name not in _FUNCTIONS:
            raise InputError(f"The formula {shown(text)} calls {name!r}." + nearest(name, _FUNCTIONS))
        wanted = _ARGUMENTS.get(name, 1)
        if len(node.args) != wanted:
            raise InputError(
                f"In the formula {shown(text)} the function {name!r} takes {wanted} values, not "
                f"{len(node.args)}."
            )
        for argument in node.args:
            _check(argument, text)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        if not math.isfinite(real(node.value) or 0.0) or real(node.value) is None:
            raise InputError(f"The formula {shown(text)} holds a number that is too large.")
    elif not isinstance(node, ast.Name):
        raise InputError(
            f"The formula {shown(text)} may hold numbers, names of columns, + - * / **, parentheses and "
            f"{', '.join(_FUNCTIONS)}; {shown(_source(text, node))} is something else."
        )


def _value(node: Any, columns: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return np.float64(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        # whole numbers would run over without a word, or have no negative powers
        return np.asarray(columns[node.id], dtype=np.float64)[()]
    if isinstance(node, ast.UnaryOp):
        return _UNARY[type(node.op)](_value(node.operand, columns))
    if isinstance(node, ast.Call):
        return _FUNCTIONS[node.func.id](*(_value(part, columns) for part in node.args))  # type: ignore[attr-defined]
    return _BINARY[type(node.op)](_value(node.left, columns), _value(node.right, columns))


def _linear(node: Any, variables: list[str], columns: Mapping[str, Any]) -> Linear | None:
    """Return a node as a linear form; None where a variable enters otherwise."""
    if not any(isinstance(part, ast.Name) and part.id in variables for part in ast.walk(node)):
        return Linear(_value(node, columns), {})
    if isinstance(node, ast.Name):
        return Linear(0.0, {node.id: 1.0})
    if isinstance(node, ast.UnaryOp):
        inner = _linear(node.operand, variables, columns)
        return None if inner is None else _scaled(inner, _UNARY[type(node.op)](1.0))
    if not isinstance(node, ast.BinOp):
        return None
    left, right = _linear(node.left, variables, columns), _linear(node.right, variables, columns)
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Add | ast.Sub):
        return _sum(left, _scaled(right, 1.0 if isinstance(node.op, ast.Add) else -1.0))
    if isinstance(node.op, ast.Mult) and not left.coefficients:
        return _scaled(right, left.constant)
    if isinstance(node.op, ast.Mult) and not right.coefficients:
        return _scaled(left, right.constant)
    if isinstance(node.op, ast.Div) and not right.coefficients:
        return _scaled(left, 1.0 / right.constant)
    return None


def _scaled(form: Linear, factor: Any) -> Linear:
    return Linear(form.constant * factor, {name: c * factor for name, c in form.coefficients.items()})


def _sum(a: Linear, b: Linear) -> Linear:
    names = dict.fromkeys([*a.coefficients, *b.coefficients])
    coefficients = {name: a.coefficients.get(name, 0.0) + b.coefficients.get(name, 0.0) for name in names}
    return Linear(a.constant + b.constant, coefficients)
