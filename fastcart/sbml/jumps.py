"""When the equations of a file jump: the times at which conditions that read the clock turn over.

Steps of an engine that was not told of a jump may pass over a short pulse. Where a condition compares what
is linear in time, such as ``time - t0 >= 7``, the time follows from parameters, and engines stop there. Where
it is not (``rem(time, 24) < 1``, or what events set), it is watched as the trigger of an event that does
nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from fastcart.sbml import trees
from fastcart.sbml.document import Happening
from fastcart.sbml.equations import Equations
from fastcart.sbml.trees import Tree, operation

_MOST = 16  # linear functions that one side of a condition may be
_MOST_PARTS = 1000  # of the time of a jump
_Line = tuple[Tree, Tree]  # slope, and value at time 0
_Lines = list[_Line] | None  # one of these at any time; None for what is not linear


def jumps(equations: Equations) -> tuple[list[Tree], list[Tree]]:
    """Return times of jumps, as expressions of parameters, and conditions that have none such.

    Parameters
    ----------
    equations : Equations

    Returns
    -------
    times, watched : list of Tree
    """
    times: dict[Tree, None] = {}
    watched: dict[Tree, None] = {}
    clock = _Clock(equations)
    for relation in _relations(equations):
        lines = clock.lines(operation("-", relation[1], relation[2]))
        roots = None if lines is None else [_root(*line) for line in lines if line[0] != 0.0]
        if roots is None or any(trees.size(root) > _MOST_PARTS for root in roots):
            watched[relation] = None
        else:
            times.update(dict.fromkeys(roots))
    return list(times), list(watched)


def nothing(name: str, condition: Tree) -> Happening:
    """Return an event that stops the engine where a condition turns over, and does nothing."""
    return Happening(name, condition, True, True, None, None, True, {})


def _relations(equations: Equations) -> Iterator[tuple]:
    """Yield the relations that derivatives read in which only the clock, and what events set, changes."""
    rates = [*equations.states.values(), *equations.source.algebraic]
    for tree in [*rates, *(equations.tree_of(name) for name in equations.ordered(rates))]:
        for part in trees.parts(tree):
            if isinstance(part, tuple) and part[0] in trees.RELATIONS and _reads_clock(equations, part):
                yield part


def _reads_clock(equations: Equations, tree: Tree) -> bool:
    """Whether time is in an expression, and no state that moves between events."""
    every = [tree, *(equations.tree_of(name) for name in equations.ordered([tree]))]
    read = set().union(*(trees.names(x) for x in every))
    moving = [x for x in read if equations.states.get(x, 0.0) != 0.0 or x in equations.algebraic]
    return not moving and any(trees.has_time(x) for x in every)


def _root(slope: Tree, start: Tree) -> Tree:
    return start if slope == -1.0 else _negative(trees.divide(start, slope))


def _negative(tree: Tree) -> Tree:
    if isinstance(tree, tuple) and tree[0] == "-" and len(tree) == 2:
        return tree[1]
    return operation("-", tree) if tree != 0.0 else 0.0


class _Clock:
    """Expressions as linear functions of time."""

    def __init__(self, equations: Equations):
        self._equations = equations
        self._known: dict[Any, tuple[Tree, _Lines]] = {}  # with the tree, so that no other gets its place

    def lines(self, tree: Tree) -> _Lines:
        """Return the linear functions of which an expression is always one."""
        key = id(tree) if isinstance(tree, tuple) else tree
        if key not in self._known:
            self._known[key] = tree, self._found(tree)
        return self._known[key][1]

    def _found(self, tree: Tree) -> _Lines:
        equations = self._equations
        if tree == trees.TIME:
            return [(1.0, 0.0)]
        if isinstance(tree, str) and tree in equations.defined:
            return self.lines(equations.defined[tree])
        if (isinstance(tree, str) and tree not in equations.parameters) or trees.derivatives(tree):
            return None
        return self._operation(tree[0], tree[1:]) if isinstance(tree, tuple) else [(0.0, tree)]

    def _operation(self, name: str, operands: tuple) -> _Lines:
        given = []
        for operand in operands:
            lines = self.lines(operand)
            if lines is None:
                return None
            given.append(lines)
        if name in ("max", "min"):
            every = [line for lines in given for line in lines]
            return every if len(every) <= _MOST else None
        if name == "abs":
            return [*given[0], *map(_opposite, given[0])]
        if math.prod(map(len, given)) > _MOST:
            return None
        found: list[_Line] = []
        for combination in itertools.product(*given):
            line = _combined(name, combination)
            if line is None:
                return None
            found.append(line)
        return found


def _combined(name: str, lines: tuple[_Line, ...]) -> _Line | None:
    """Return what an operation makes of linear functions, None for what is not linear."""
    if all(slope == 0.0 for slope, _ in lines):
        return 0.0, operation(name, *(start for _, start in lines))
    if name in ("+", "-"):
        return _sum(lines if name == "+" else (*lines[:-1], _opposite(lines[-1])))
    if name == "*" and sum(slope != 0.0 for slope, _ in lines) == 1:
        moving = next(line for line in lines if line[0] != 0.0)
        return _scaled(trees.multiply(*(start for slope, start in lines if slope == 0.0)), moving)
    if name == "/" and lines[1][0] == 0.0:
        return _scaled(operation("/", 1.0, lines[1][1]), lines[0])
    return None


def _sum(lines: tuple[_Line, ...]) -> _Line:
    return trees.add(*(slope for slope, _ in lines)), trees.add(*(start for _, start in lines))


def _scaled(factor: Tree, line: _Line) -> _Line:
    slope, start = (0.0 if x == 0.0 else trees.multiply(factor, x) for x in line)
    return slope, start


def _opposite(line: _Line) -> _Line:
    return _negative(line[0]), _negative(line[1])
