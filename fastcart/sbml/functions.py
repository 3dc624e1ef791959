"""Compiled functions of equations: what is defined and needed line by line, then what is returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numba import njit

from fastcart.errors import InputError
from fastcart.sbml.equations import Equations
from fastcart.sbml.text import MOST_WITHIN, SCOPE, Writer
from fastcart.sbml.trees import Tree, is_condition, parts, shallow
from fastcart.solvers.compile import from_source

_LONG = 30  # numbers in a tuple, in which numba takes no choices
_TAKEN = {"t", "y", "p", "f", "now", "max", "min", "abs", *SCOPE}


class Functions:
    """Makes functions of ``t``, ``y`` and ``p`` of equations."""

    def __init__(self, equations: Equations, naming: Mapping[str, str]):
        self.equations, self.naming = equations, naming

    def text(
        self, head: str, wanted: list[Tree], refer: Callable[[str], str],
        end: Callable[[Writer, list[Tree]], list[str]],
    ) -> str:  # fmt: skip
        """Return a function: what is defined and needed line by line, then its end."""
        equations = self.equations
        order = equations.ordered(wanted)
        local = {name: self._local(name) for name in order if not name.startswith("'")}
        rates = {name[1:]: f"r_{name[1:]}" for name in order if name.startswith("'")}
        writer = Writer(lambda x: local.get(x) or refer(x), rate_of=lambda x: rates[x])
        lines = [head]

        def keep(tree: Tree) -> str:
            name = f"#{len(lines)}"  # no id
            local[name] = f"w_{len(lines)}"
            lines.append(f"    {local[name]} = {writer.number(tree)}")
            return name

        for name in order:
            target = rates[name[1:]] if name.startswith("'") else local[name]
            value = shallow(equations.tree_of(name), keep, MOST_WITHIN)
            lines.append(f"    {target} = {writer.number(value)}")
        given = [shallow(tree, keep, MOST_WITHIN) for tree in wanted]
        return "\n".join([*lines, *end(writer, given)])

    def _local(self, name: str) -> str:
        """Return what a definition is called in a text: as in the model, so that equations are read."""
        known = self.naming.get(name, name)
        return f"v_{known}" if known in _TAKEN or known[1:2] == "_" else known

    def returning(self, name: str, wanted: list[Tree]) -> Any:
        """Return a compiled function that returns a tuple of expressions."""

        def end(writer: Writer, trees: list[Tree]) -> list[str]:
            lines, values = [], []
            for i, tree in enumerate(trees):
                text = writer.number(tree)
                if len(trees) > _LONG and any(is_condition(part) for part in parts(tree)):
                    lines.append(f"    o_{i} = {text}")
                    text = f"o_{i}"
                values.append(f"        {text},")
            return [*lines, "    return (", *values, "    )"]

        return compiled(self.text(f"def {name}(t, y, p):", wanted, self.by_name, end), name)

    def by_name(self, name: str) -> str:
        """Return how a state or parameter is read in a right-hand side."""
        equations = self.equations
        letter = "y" if name in equations.states or name in equations.algebraic else "p"
        return f"{letter}.{self.naming.get(name, name)}"  # hidden states have no other name


def compiled(text: str, name: str) -> Any:
    """Return a compiled function of a text.

    Raises
    ------
    InputError
        Where it is nested more deeply than Python reads.
    """
    try:
        return njit(from_source(text, name, SCOPE))
    except (SyntaxError, RecursionError, MemoryError):
        raise InputError("SBML: an expression is nested more deeply than Python reads.") from None
