"""A graph as formulas for readers: sums, fractions and powers, with names for what is used again."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count
from types import FrameType
from typing import Any, NamedTuple

from fastcart.solvers.trace.graph import CONDITIONS, LARGEST, Graph, Traced

NAMED = 3  # numbers that a formula with a name of the author's has at least
REPEATED = 4  # numbers that a formula without a name has at least, where it is used again
_MANY = 1_000_000


class Number(NamedTuple):
    """A constant."""

    value: float


class Symbol(NamedTuple):
    """A name: of an input of the graph, or of a formula that stands on its own."""

    name: str


class Sum(NamedTuple):
    """Terms, each with whether it is subtracted."""

    terms: tuple[tuple[bool, Any], ...]


class Product(NamedTuple):
    """A fraction of factors with exponents, from 1 on."""

    above: tuple[tuple[Any, int], ...]
    below: tuple[tuple[Any, int], ...]


class Power(NamedTuple):
    """A base to the power of an exponent."""

    base: Any
    exponent: Any


class Call(NamedTuple):
    """A function: ``exp``, ``log``, ``sqrt``, ``max``, a comparison, ..."""

    name: str
    arguments: tuple[Any, ...]


class Choice(NamedTuple):
    """One formula where a condition holds, another one elsewhere."""

    condition: Any
    yes: Any
    no: Any


Formula = Number | Symbol | Sum | Product | Power | Call | Choice


@contextmanager
def local_names() -> Iterator[dict[int, str]]:
    """Within the context, names that functions which are followed give to numbers are collected, by node.

    Of two names of one number that of the calling function counts.
    """
    found: dict[int, str] = {}

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_code.co_filename == f"<{frame.f_code.co_name}>":  # see `following`
            for name, value in frame.f_locals.items():
                if type(value) is Traced and value.operation != "input":
                    found[value.number] = name

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(before)


class Reader:
    """Formulas of outputs of a graph.

    Parameters
    ----------
    graph : Graph
    outputs : sequence
        Numbers of the graph or constants.
    inputs : mapping
        Names of each row of inputs.
    names : mapping
        Names of nodes; those that are inputs' already get another.
    """

    def __init__(
        self, graph: Graph, outputs: Sequence[Any], inputs: Mapping[str, Sequence[str]],
        names: Mapping[int, str],
    ):  # fmt: skip
        self._graph, self._inputs = graph, inputs
        self._sizes: dict[int, int] = {}
        self._symbols: dict[int, str] = {}
        self._name(outputs, names)
        self.definitions = [(name, self._formula(number)) for number, name in self._symbols.items()]
        self.outputs = [self.formula(x.number if isinstance(x, Traced) else float(x)) for x in outputs]

    def _name(self, outputs: Sequence[Any], names: Mapping[int, str]) -> None:
        """Choose the nodes that stand on their own."""
        used = self._graph.used(outputs)
        uses = dict.fromkeys(used, 0)
        for number in used:
            if self._graph.operations[number] != "input":
                for argument in {x for x in self._graph.arguments[number] if type(x) is int}:
                    uses[argument] += 1
        for output in outputs:
            if isinstance(output, Traced):
                uses[output.number] += 1
        taken = {name for row in self._inputs.values() for name in row}
        for number in used:
            operation = self._graph.operations[number]
            if operation == "input" or operation in CONDITIONS:
                continue
            size, name = self._size(number), names.get(number)
            if size < REPEATED if name is None else size < NAMED:
                continue
            if name is None and uses[number] < 2:
                continue
            tried = (f"x_{k}" for k in count(1)) if name is None else _in_turn(name)
            name = next(text for text in tried if text not in taken)
            taken.add(name)
            self._symbols[number] = name

    def _size(self, x: int | float) -> int:
        """How many numbers a formula has, those of names that it stands for included."""
        if type(x) is not int:
            return 1
        if self._graph.operations[x] == "input":
            return 1
        if x not in self._sizes:
            self._sizes[x] = min(sum(self._size(a) for a in self._graph.arguments[x]), _MANY)
        return self._sizes[x]

    def formula(self, x: int | float) -> Formula:
        """Return a node or a constant as a formula."""
        if type(x) is not int:
            return Number(float(x))
        return Symbol(self._symbols[x]) if x in self._symbols else self._formula(x)

    def _formula(self, number: int) -> Formula:
        operation, arguments = self._graph.operations[number], self._graph.arguments[number]
        if operation == "input":
            row, place = arguments
            return Symbol(self._inputs[row][place])
        if operation in ("+", "-", "negative"):
            return self._sum(number)
        if operation in ("*", "/", "reciprocal"):
            return self._product(number)
        if operation == "power":
            return Power(*map(self.formula, arguments))
        if operation == "where":
            return Choice(*map(self.formula, arguments))
        if operation == "min" and LARGEST in arguments:  # see `graph.subtract`
            return self.formula(next(x for x in arguments if x != LARGEST))
        return Call(operation, tuple(map(self.formula, arguments)))

    def _sum(self, number: int) -> Formula:
        terms: list[tuple[bool, Any]] = []

        def collect(x: int | float, minus: bool, first: bool = False) -> None:
            operation = self._graph.operations[x] if type(x) is int else ""
            if type(x) is not int or operation not in ("+", "-", "negative"):
                terms.append(self._signed(x, minus))
            elif x in self._symbols and not first:
                terms.append((minus, self.formula(x)))
            elif operation == "negative":
                collect(self._graph.arguments[x][0], not minus)
            else:
                collect(self._graph.arguments[x][0], minus)
                collect(self._graph.arguments[x][1], minus != (operation == "-"))

        collect(number, False, True)
        terms = _together(terms)
        # what is added comes first, else a line would begin with a sign
        lead = next((k for k, (minus, _) in enumerate(terms) if not minus), 0)
        terms.insert(0, terms.pop(lead))
        return terms[0][1] if len(terms) == 1 and not terms[0][0] else Sum(tuple(terms))

    def _signed(self, x: int | float, minus: bool) -> tuple[bool, Any]:
        """Return a term, its sign apart from it."""
        if type(x) is not int:
            return minus != (x < 0), Number(abs(float(x)))
        formula = self.formula(x)
        if isinstance(formula, Sum) and len(formula.terms) == 1:  # a product with a sign
            inner, term = formula.terms[0]
            return minus != inner, term
        return minus, formula

    def _product(self, number: int) -> Formula:
        exponents: dict[Any, int] = {}
        constant, minus = 1.0, False

        def collect(x: int | float, exponent: int, first: bool = False) -> None:
            nonlocal constant, minus
            if type(x) is not int:
                constant *= float(x) ** exponent
                return
            operation = self._graph.operations[x]
            if operation not in ("*", "/", "reciprocal", "negative") or (x in self._symbols and not first):
                exponents[x] = exponents.get(x, 0) + exponent
                return
            if operation == "negative":
                minus = not minus
            arguments = self._graph.arguments[x]
            if operation == "reciprocal":
                collect(arguments[0], -exponent)
                return
            collect(arguments[0], exponent)
            for argument in arguments[1:]:
                collect(argument, -exponent if operation == "/" else exponent)

        collect(number, 1, True)
        if constant < 0:
            constant, minus = -constant, not minus
        above: list[tuple[Any, int]] = []
        below: list[tuple[Any, int]] = []
        for x, exponent in sorted(exponents.items()):
            if exponent:
                (above if exponent > 0 else below).append((self.formula(x), abs(exponent)))
        if constant != 1.0 or not above:
            above.insert(0, (Number(constant), 1))
        plain = not below and len(above) == 1 and above[0][1] == 1
        found: Formula = above[0][0] if plain else Product(tuple(above), tuple(below))
        return Sum(((True, found),)) if minus else found


def _in_turn(name: str) -> Iterator[str]:
    """Return a name, then the name with a number."""
    return chain([name], (f"{name}_{k}" for k in count(2)))


def _together(terms: list[tuple[bool, Any]]) -> list[tuple[bool, Any]]:
    """Return terms of which equal ones are one, with their count."""
    counts: dict[tuple[bool, Any], int] = {}
    for term in terms:
        counts[term] = counts.get(term, 0) + 1
    return [(minus, formula if n == 1 else _times(n, formula)) for (minus, formula), n in counts.items()]


def _times(count: int, formula: Any) -> Formula:
    above, below = formula if isinstance(formula, Product) else (((formula, 1),), ())
    if isinstance(above[0][0], Number):
        return Product(((Number(count * above[0][0].value), 1), *above[1:]), below)
    return Product(((Number(float(count)), 1), *above), below)
