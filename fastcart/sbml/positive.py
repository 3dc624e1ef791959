"""States that equations take the logarithm of: they are integrated in logarithm.

Steps of an engine must not take such a state below zero, however small it becomes. A derivative that is a
multiple of the state keeps it positive, and so does its logarithm.
"""

from __future__ import annotations

from fastcart.sbml import trees
from fastcart.sbml.equations import Equations
from fastcart.sbml.trees import Tree


def needed_positive(equations: Equations) -> list[str]:
    """Return states whose derivatives are multiples of them, and of which something takes the logarithm."""
    rates = list(equations.states.values())
    every = [*rates, *(equations.tree_of(name) for name in equations.ordered(rates))]
    found = (x for tree in every for x in trees.parts(tree) if isinstance(x, tuple) and x[0] == "log")
    needed = set().union(*(_factors(x[1]) for x in found))
    set_by_events = {name for event in equations.source.events for name in event.assignments}
    names = [name for name in equations.states if name in needed and name not in set_by_events]
    return [name for name in names if _Multiples(equations, name).of(equations.states[name])]


def _factors(tree: Tree) -> set[str]:
    """Return the names that are multiplied and divided."""
    if isinstance(tree, tuple) and tree[0] in ("*", "/"):
        return set().union(*map(_factors, tree[1:]))
    return {tree} if isinstance(tree, str) else set()


class _Multiples:
    """Whether expressions are multiples of a state."""

    def __init__(self, equations: Equations, state: str):
        self._equations, self._state = equations, state
        self._known: dict[str, bool] = {}

    def of(self, tree: Tree) -> bool:
        """Whether an expression is the state times something, or 0."""
        if isinstance(tree, str):
            return tree == self._state or self._named(tree)
        if not isinstance(tree, tuple):
            return tree == 0.0
        name, *operands = tree
        if name in ("+", "-"):
            return all(map(self.of, operands))
        if name == "*":
            return any(map(self.of, operands))
        if name == "piecewise":
            return len(operands) % 2 == 1 and all(map(self.of, [*operands[0::2]]))
        return name == "/" and self.of(operands[0])

    def _named(self, name: str) -> bool:
        if name not in self._equations.defined:
            return False
        if name not in self._known:
            self._known[name] = self.of(self._equations.defined[name])
        return self._known[name]
