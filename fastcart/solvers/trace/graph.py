"""A right-hand side as a graph: what it does to numbers, each operation once.

A node is an operation on nodes and constants. Equal operations are one node, constants are folded, and what
is multiplied by 1 or added to 0 disappears, so that derivatives of a graph, which repeat most of it, cost
little more than they must.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

LARGEST = 1e300  # what x is held at in x / (1 + x), so that it is 1 where x has no number
WHOLE = 64  # constant exponents up to which a power is a product
# functions that the C library computes, number by number
LIBRARY = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "expm1", "log1p")
CONDITIONS = ("<", "<=", "==", "!=", "&", "|", "not")
_COMMUTE = {"+", "*", "==", "!=", "&", "|"}
_UNARY: dict[str, Callable[[float], float]] = {
    "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "abs": abs, "floor": math.floor, "sin": math.sin,
    "cos": math.cos, "tan": math.tan, "asin": math.asin, "acos": math.acos, "atan": math.atan,
    "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh, "expm1": math.expm1, "log1p": math.log1p,
    "rough_reciprocal": lambda x: 1.0 / x, "rough_sqrt": math.sqrt,
}  # fmt: skip


class TraceError(Exception):
    """A function does what cannot be traced; the message is the end of the sentence that says so."""


class Graph:
    """Nodes in the order in which they were made: arguments come before what uses them."""

    def __init__(self) -> None:
        self.operations: list[str] = []
        self.arguments: list[tuple] = []
        self._numbers: dict[tuple, int] = {}
        self.lifting = False  # see `multiply`
        self.quotients: dict[tuple[int, int], Any] = {}  # see `fastcart.solvers.trace.program.quotient`
        self.choices: Any = None  # of the way through branches, where one is being followed

    def node(self, operation: str, *arguments: int | float | str) -> Traced:
        """Return the node of an operation; arguments are numbers of nodes, as int, or constants, as float."""
        if operation in _COMMUTE and _rank(arguments[1]) < _rank(arguments[0]):
            arguments = arguments[::-1]
        key = (operation, *((type(x), x) for x in arguments))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.operations)
            self.operations.append(operation)
            self.arguments.append(arguments)
        return Traced(self, number)

    def input(self, row: str, place: int = 0) -> Traced:
        """Return what is given to the graph: number ``place`` of a row of inputs."""
        return self.node("input", row, place)

    def used(self, outputs: Iterable[Any]) -> list[int]:
        """Return the nodes that outputs depend on, in order."""
        needed: set[int] = set()
        waiting = [value.number for value in outputs if isinstance(value, Traced)]
        while waiting:
            number = waiting.pop()
            if number not in needed:
                needed.add(number)
                if self.operations[number] != "input":
                    waiting += [x for x in self.arguments[number] if type(x) is int]
        return sorted(needed)


def _rank(argument: int | float | str) -> tuple:
    return (1, argument) if type(argument) is int else (0, repr(argument))


class Traced:
    """A number of a graph; what Python does with it becomes a node."""

    __slots__ = ("graph", "number")

    def __init__(self, graph: Graph, number: int):
        self.graph, self.number = graph, number

    @property
    def operation(self) -> str:
        """What makes this number."""
        return self.graph.operations[self.number]

    @property
    def arguments(self) -> tuple:
        """What it is made of: numbers of nodes and constants."""
        return self.graph.arguments[self.number]

    def argument(self, place: int) -> Traced | float:
        """Return one of the arguments as a number."""
        value = self.arguments[place]
        return Traced(self.graph, value) if type(value) is int else value

    def __add__(self, other):
        return add(self, other)

    def __radd__(self, other):
        return add(other, self)

    def __sub__(self, other):
        return subtract(self, other)

    def __rsub__(self, other):
        return subtract(other, self)

    def __mul__(self, other):
        return multiply(self, other)

    def __rmul__(self, other):
        return multiply(other, self)

    def __truediv__(self, other):
        return divide(self, other)

    def __rtruediv__(self, other):
        return divide(other, self)

    def __floordiv__(self, other):
        return unary("floor", divide(self, other))

    def __rfloordiv__(self, other):
        return unary("floor", divide(other, self))

    def __mod__(self, other):
        return remainder(self, other)

    def __rmod__(self, other):
        return remainder(other, self)

    def __pow__(self, other):
        return power(self, other)

    def __rpow__(self, other):
        return power(other, self)

    def __neg__(self):
        return negative(self)

    def __pos__(self):
        return self

    def __abs__(self):
        return unary("abs", self)

    def __lt__(self, other):
        return compare("<", self, other)

    def __le__(self, other):
        return compare("<=", self, other)

    def __gt__(self, other):
        return compare("<", other, self)

    def __ge__(self, other):
        return compare("<=", other, self)

    def __eq__(self, other):
        return compare("==", self, other)

    def __ne__(self, other):
        return compare("!=", self, other)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other):
        return both(self, other)

    __rand__ = __and__

    def __or__(self, other):
        return either(self, other)

    __ror__ = __or__

    def __invert__(self):
        return opposite(self)

    def __bool__(self):
        if self.graph.choices is None:
            raise TraceError("asks whether a number is true where no branch can be followed")
        return self.graph.choices.take(self)

    def _whole(self, *_):
        raise TraceError("uses a state, a parameter or the time as a whole number (an index, range, int)")

    __int__ = __float__ = __index__ = __complex__ = __trunc__ = __round__ = _whole

    def __iter__(self):
        raise TraceError("unpacks a number")


def is_constant(value: Any, constant: float) -> bool:
    """Whether a value is a constant, and this one."""
    return not isinstance(value, Traced) and value == constant


def _stored(value: Any) -> int | float:
    """Return a value as an argument of a node of numbers, a condition as 1 or 0."""
    if isinstance(value, Traced):
        return as_number(value).number
    if isinstance(value, bool | np.bool_):
        return 1.0 if value else 0.0
    if isinstance(value, int | float | np.floating | np.integer):
        return float(value)
    raise TraceError(f"computes with {type(value).__name__}")


def as_number(value: Any) -> Any:
    """Return a condition as the number 1 or 0, anything else as it is."""
    if isinstance(value, Traced) and value.operation in CONDITIONS:
        return value.graph.node("where", value.number, 1.0, 0.0)
    return float(value) if isinstance(value, bool | np.bool_) else value


def graph_of(*values: Any) -> Graph | None:
    """Return the graph that one of the values is of, None where all are constants."""
    for value in values:
        if isinstance(value, Traced):
            return value.graph
    return None


def _listed(*values: Any) -> bool:
    """Whether one of the values is an array: NumPy then goes through its numbers."""
    return any(isinstance(value, np.ndarray) for value in values)


def add(a: Any, b: Any) -> Any:
    """Return a + b."""
    if _listed(a, b):
        return NotImplemented if isinstance(a, Traced) else a + b
    a, b = as_number(a), as_number(b)
    graph = graph_of(a, b)
    if graph is None:
        return a + b
    if is_constant(a, 0):
        return b
    if is_constant(b, 0):
        return a
    if isinstance(b, Traced) and b.operation == "negative":
        return subtract(a, b.argument(0))
    return graph.node("+", _stored(a), _stored(b))


def subtract(a: Any, b: Any) -> Any:
    """Return a - b; what people write for a Hill term, 1 - 1/(1 + x), as x/(1 + x), which does not cancel."""
    if _listed(a, b):
        return NotImplemented if isinstance(a, Traced) else a - b
    a, b = as_number(a), as_number(b)
    graph = graph_of(a, b)
    if graph is None:
        return a - b
    if is_constant(b, 0):
        return a
    if is_constant(a, 0):
        return negative(b)
    if isinstance(b, Traced) and b.operation == "negative":
        return add(a, b.argument(0))
    if isinstance(a, Traced) and isinstance(b, Traced) and a.number == b.number:
        return graph.node("-", _stored(a), _stored(b))  # 0, but for what is no number
    if is_constant(a, 1):
        rest = _rest_of_one(b)
        if rest is not None:
            return rest
    return graph.node("-", _stored(a), _stored(b))


def _rest_of_one(part: Traced) -> Any:
    """Return 1 - part for a part a/(a + b), which is b/(a + b); None for anything else."""
    if part.operation == "reciprocal":
        share: Any = 1.0
        below = part
    elif part.operation == "*":
        factors = [part.argument(0), part.argument(1)]
        below = next((x for x in factors if isinstance(x, Traced) and x.operation == "reciprocal"), part)
        if below is part:
            return None
        share = factors[1] if _same(factors[0], below) else factors[0]
    else:
        return None
    total = below.argument(0)
    if not isinstance(total, Traced) or total.operation != "+":
        return None
    terms = [total.argument(0), total.argument(1)]
    for term, other in (terms, terms[::-1]):
        if _same(term, share):
            if isinstance(other, Traced) and other.operation == "min" and other.arguments[1] == LARGEST:
                return multiply(other, below)
            if not isinstance(other, Traced):
                return multiply(other, below)
            held = smaller(other, LARGEST)
            return multiply(held, reciprocal(add(term, held)))
    return None


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Traced) and isinstance(b, Traced):
        return a.number == b.number
    return not isinstance(a, Traced) and not isinstance(b, Traced) and a == b


def negative(a: Any) -> Any:
    """Return -a."""
    a = as_number(a)
    if not isinstance(a, Traced):
        return -a
    return a.argument(0) if a.operation == "negative" else a.graph.node("negative", a.number)


def multiply(a: Any, b: Any) -> Any:
    """Return a b.

    Where a graph is lifting, as when derivatives are taken, what is chosen to be 0 stays 0 beside a factor
    that is infinite.
    """
    if _listed(a, b):
        return NotImplemented if isinstance(a, Traced) else a * b
    a, b = as_number(a), as_number(b)
    graph = graph_of(a, b)
    if graph is None:
        return a * b
    for x, y in ((a, b), (b, a)):
        if is_constant(x, 0):
            return 0.0
        if is_constant(x, 1):
            return y
        if is_constant(x, -1):
            return negative(y)
        if not isinstance(x, Traced):
            continue
        if x.operation == "negative":
            return negative(multiply(x.argument(0), y))
        if graph.lifting and x.operation == "where" and type(x.arguments[2]) is float and x.arguments[2] == 0:
            return where(x.argument(0), multiply(x.argument(1), y), 0.0)
    return graph.node("*", _stored(a), _stored(b))


def reciprocal(a: Any) -> Any:
    """Return 1/a."""
    a = as_number(a)
    if not isinstance(a, Traced):
        return _quotient(1.0, a)
    return a.graph.node("reciprocal", a.number)


def _quotient(a: float, b: float) -> float:
    """Divide constants as the processor does."""
    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))


def divide(a: Any, b: Any) -> Any:
    """Return a / b, as a times 1/b: derivatives need 1/b again."""
    if _listed(a, b):
        return NotImplemented if isinstance(a, Traced) else a / b
    a, b = as_number(a), as_number(b)
    graph = graph_of(a, b)
    if graph is None:
        return _quotient(a, b)
    if not isinstance(b, Traced):
        inverse = _quotient(1.0, b)
        exact = math.isfinite(inverse) and math.frexp(b)[0] in (0.5, -0.5)
        return multiply(a, inverse) if exact else graph.node("/", _stored(a), _stored(b))
    if is_constant(a, 0):
        return 0.0
    return multiply(a, reciprocal(b))


def remainder(a: Any, b: Any) -> Any:
    """Return a modulo b, with the sign of b, as Python does."""
    return subtract(a, multiply(b, unary("floor", divide(a, b))))


def power(base: Any, exponent: Any) -> Any:
    """Return base to the power of exponent."""
    if _listed(base, exponent):
        return NotImplemented if isinstance(base, Traced) else base**exponent
    base, exponent = as_number(base), as_number(exponent)
    graph = graph_of(base, exponent)
    if graph is None:
        with np.errstate(all="ignore"):
            return float(np.power(np.float64(base), np.float64(exponent)))
    if not isinstance(exponent, Traced):
        if exponent == int(exponent) and abs(exponent) <= WHOLE:
            return _whole_power(base, int(exponent))
        if exponent == 0.5:
            return unary("sqrt", base)
    return graph.node("power", _stored(base), _stored(exponent))


def _whole_power(base: Any, exponent: int) -> Any:
    count, result, square = abs(exponent), 1.0, base
    while count:
        if count & 1:
            result = multiply(result, square)
        count >>= 1
        if count:
            square = multiply(square, square)
    return result if exponent >= 0 else reciprocal(result)


def unary(operation: str, x: Any) -> Any:
    """Return a function of one number: ``"exp"``, ``"log"``, ``"sqrt"``, ``"abs"``, ``"floor"``, ..."""
    if isinstance(x, np.ndarray):
        return np.frompyfunc(lambda value: unary(operation, value), 1, 1)(x)
    x = as_number(x)
    if isinstance(x, Traced):
        return x.graph.node(operation, x.number)
    try:
        return float(_UNARY[operation](x))
    except (ValueError, ArithmeticError):  # where Python raises, the processor goes on
        names = {
            "asin": "arcsin", "acos": "arccos", "atan": "arctan", "rough_reciprocal": "reciprocal",
            "rough_sqrt": "sqrt",
        }  # fmt: skip
        with np.errstate(all="ignore"):
            return float(getattr(np, names.get(operation, operation))(np.float64(x)))


def compare(operation: str, a: Any, b: Any) -> Any:
    """Return whether a is ``<``, ``<=``, ``==`` or ``!=`` b."""
    if _listed(a, b):
        return NotImplemented
    a, b = as_number(a), as_number(b)
    graph = graph_of(a, b)
    if graph is None:
        return {"<": a < b, "<=": a <= b, "==": a == b, "!=": a != b}[operation]
    return graph.node(operation, _stored(a), _stored(b))


def _is_condition(value: Any) -> bool:
    if isinstance(value, Traced):
        return value.operation in CONDITIONS
    return isinstance(value, bool | np.bool_)


def _condition(value: Any) -> Any:
    """Return a value as a condition: a number is one where it is not 0."""
    return value if not isinstance(value, Traced) or value.operation in CONDITIONS else value != 0.0


def both(a: Any, b: Any) -> Any:
    """Return a and b."""
    a, b = _condition(a), _condition(b)
    for x, y in ((a, b), (b, a)):
        if not isinstance(x, Traced):
            return y if x else False
    return a.graph.node("&", a.number, b.number)


def either(a: Any, b: Any) -> Any:
    """Return a or b."""
    a, b = _condition(a), _condition(b)
    for x, y in ((a, b), (b, a)):
        if not isinstance(x, Traced):
            return True if x else y
    return a.graph.node("|", a.number, b.number)


def opposite(a: Any) -> Any:
    """Return not a."""
    a = _condition(a)
    return a.graph.node("not", a.number) if isinstance(a, Traced) else not a


def where(condition: Any, a: Any, b: Any) -> Any:
    """Return a where a condition holds, b elsewhere; tuples and arrays go number by number."""
    condition = _condition(condition)
    if not isinstance(condition, Traced):
        return a if condition else b
    if isinstance(a, tuple | list | np.ndarray) or isinstance(b, tuple | list | np.ndarray):
        if not (isinstance(a, tuple | list | np.ndarray) and isinstance(b, tuple | list | np.ndarray)):
            raise TraceError("chooses between a number and several")
        if len(a) != len(b):
            raise TraceError("chooses between tuples of different lengths")
        chosen = [where(condition, x, y) for x, y in zip(a, b, strict=True)]
        return tuple(chosen) if isinstance(a, tuple) else chosen
    if _same(a, b):
        return a
    if all(_is_condition(x) for x in (a, b)):
        return either(both(condition, a), both(opposite(condition), b))
    return condition.graph.node("where", condition.number, _stored(a), _stored(b))


def larger(*values: Any) -> Any:
    """Return the largest of numbers: the first of those that are no number and come first."""
    return _extreme("max", max, values)


def smaller(*values: Any) -> Any:
    """Return the smallest of numbers."""
    return _extreme("min", min, values)


def _extreme(operation: str, pick: Callable, values: Sequence[Any]) -> Any:
    values = tuple(values[0]) if len(values) == 1 else values
    result = values[0]
    for value in values[1:]:
        graph = graph_of(result, value)
        if graph is None:
            result = pick(result, value)
        else:
            result = graph.node(operation, _stored(result), _stored(value))
    return result
