"""The events of a file, as `fastcart.solvers.moments` takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastcart.events import Action, Event
from fastcart.model_parts import Observable, State
from fastcart.sbml import trees
from fastcart.sbml.document import Happening
from fastcart.sbml.equations import Equations
from fastcart.sbml.functions import Functions, compiled
from fastcart.sbml.text import Writer, free
from fastcart.sbml.trees import Tree, multiply
from fastcart.solvers.moments import SLOTS, MomentTable
from fastcart.solvers.system import Moments
from fastcart.typing_names import Direction

_UP: Direction = "up"


@dataclass
class Conditions:
    """The relations in the conditions of events, each once: its sides, and whether it is strict."""

    relations: dict[tuple[Tree, Tree, bool], int] = field(default_factory=dict)

    def logic(self, tree: Tree) -> Tree:
        """Return a condition of relations: ``("side", k)`` stands for one."""
        if isinstance(tree, bool):
            return tree
        if not trees.is_condition(tree):
            return self._relation("!=", tree, 0.0)
        assert isinstance(tree, tuple)
        name, *operands = tree
        if name in trees.RELATIONS:
            a, b = operands
            if trees.is_condition(a) and trees.is_condition(b) and name in ("==", "!="):
                differ: Tree = ("xor", self.logic(a), self.logic(b))
                return differ if name == "!=" else ("not", differ)
            return self._relation(name, a, b)
        if name == "piecewise":
            return self._piecewise(operands)
        return (name, *(self.logic(x) for x in operands))

    def _piecewise(self, operands: Sequence[Tree]) -> Tree:
        result: Tree = self.logic(operands[-1]) if len(operands) % 2 else False
        pairs = list(zip(operands[0::2], operands[1::2], strict=False))
        for value, condition in reversed(pairs):
            holds = self.logic(condition)
            result = ("or", ("and", holds, self.logic(value)), ("and", ("not", holds), result))
        return result

    def _relation(self, name: str, a: Tree, b: Tree) -> Tree:
        if name == "==":
            return "and", self._side(a, b, False), self._side(b, a, False)
        if name == "!=":
            return "or", self._side(a, b, True), self._side(b, a, True)
        if name in ("<", "<="):
            a, b = b, a
        return self._side(a, b, name in ("<", ">"))

    def _side(self, left: Tree, right: Tree, strict: bool) -> Tree:
        key = (left, right, strict)
        return "side", str(self.relations.setdefault(key, len(self.relations)))


@dataclass
class Place:
    """The hidden states, in order, under names that the file does not use."""

    first: int
    taken: set[str]
    names: list[str] = field(default_factory=list)

    def take(self, name: str) -> int:
        """Return the place of one more."""
        self.names.append(free(name, self.taken))
        return self.first + len(self.names) - 1

    def name(self, place: int) -> str:
        """Return what is at a place."""
        return self.names[place - self.first]


@dataclass
class Added:
    """What events add to a model."""

    states: list[State]
    observables: list[Observable]
    levels: list[Tree]
    moments: Moments | None


def happenings(
    equations: Equations, events: Sequence[Happening], naming: Mapping[str, str], places: Mapping[str, int],
    numbers: Mapping[str, int],
) -> Added:  # fmt: skip
    """Return what the events of a file add to its model.

    Parameters
    ----------
    equations : Equations
    events : sequence of Happening
    naming : mapping
        What ids are called in the model.
    places, numbers : mapping
        The place of each state and of each parameter.
    """
    return _Maker(equations, events, naming, places, numbers).added()


class _Maker:
    def __init__(
        self, equations: Equations, events: Sequence[Happening], naming: Mapping[str, str],
        places: Mapping[str, int], numbers: Mapping[str, int],
    ):  # fmt: skip
        self.equations, self.naming = equations, naming
        self.places, self.numbers = places, numbers
        self.events = events
        self.conditions = Conditions()
        self.hidden = Place(len(places), {*naming, *naming.values()})
        self.needed: list[Tree] = []

    def _need(self, tree: Tree | None) -> int:
        if tree is None:
            return -1
        self.needed.append(tree)
        return len(self.needed) - 1

    def added(self) -> Added:
        """Return the states, observables, and the table."""
        logic = [self.conditions.logic(event.trigger) for event in self.events]
        table = self._table()
        say = self._say(logic, table)
        relations = list(self.conditions.relations)
        levels: list[Tree] = []
        watch: list[Event] = []
        names: list[str] = []
        for k, (left, right, _) in enumerate(relations):
            side, level = self.hidden.name(table.side[k]), free(f"_level_{k}", self.hidden.taken)
            levels.append(multiply(trees.operation("-", side), trees.operation("-", left, right)))
            names.append(level)
            watch.append(Event(level, level, 0.0, _UP, actions=(Action(side, "scale", -1.0),)))
        if table.next >= 0:
            due, wake = self.hidden.name(table.next), free("_due", self.hidden.taken)
            late = trees.operation("-", trees.TIME, due)
            levels.append(("piecewise", late, (">=", due, 0.0), -1.0))
            names.append(wake)
            watch.append(Event(wake, wake, 0.0, _UP, actions=(Action(due, "add", 0.0),)))
        self.equations.states.update(dict.fromkeys(self.hidden.names, 0.0))
        hidden = (*self.hidden.names, *names)
        return Added(
            [State(name, computed=True) for name in self.hidden.names],
            [Observable(name) for name in names], levels,
            Moments(say, len(self.needed), table, tuple(watch), hidden),
        )  # fmt: skip

    def _table(self) -> MomentTable:
        relations = list(self.conditions.relations)
        count = range(len(relations))
        assignments = [self._assignments(event) for event in self.events]
        rows = [row for of_event in assignments for row in of_event]
        sides = [self.hidden.take(f"_side_{k}") for k in count]
        seen = [self.hidden.take(f"_seen_{k}") for k in count]
        slack = [self.hidden.take(f"_slack_{k}") for k in count]
        true = [self.hidden.take(f"_true_{j}") for j in range(len(self.events))]
        waiting = [
            self._queue(j, event, len(assignments[j])) for j, event in enumerate(self.events)
        ]  # fmt: skip
        turns = _whole([self.hidden.take(f"_turn_{j}") for j in range(len(self.events))])
        delayed = any(place >= 0 for place in waiting)
        scaled = [place for row in rows for place in row[2]]
        return MomentTable(
            _whole(sides), _whole(seen), _whole(slack),
            _whole([self._need(left) for left, _, _ in relations]),
            _whole([self._need(right) for _, right, _ in relations]),
            np.array([strict for _, _, strict in relations], dtype=np.bool_),
            _whole(true), _flags(self.events, "before"), _flags(self.events, "persistent"),
            _flags(self.events, "from_trigger"),
            _whole([self._need(event.delay) for event in self.events]),
            _whole([self._need(event.priority) for event in self.events]), _whole(waiting),
            _starts([len(of_event) for of_event in assignments]),
            _whole([row[0] for row in rows]), _whole([row[1] for row in rows]),
            _starts([len(row[2]) for row in rows]), _whole(scaled),
            turns, self.hidden.take("_next_due") if delayed else -1,
        )  # fmt: skip

    def _queue(self, j: int, event: Happening, values: int) -> int:
        """Return the first of the states in which a delayed event keeps what waits."""
        if event.delay is None or event.delay == 0.0:
            return -1
        names = [f"_{part}_{j}_{x}" for x in range(SLOTS)
                 for part in ("when", *(f"value_{a}" for a in range(values)))]  # fmt: skip
        places = [self.hidden.take(name) for name in names]
        return places[0]

    def _assignments(self, event: Happening) -> list[tuple[int, int, list[int]]]:
        """Return the state, the value and the concentrations to be scaled of each assignment."""
        rows: list[tuple[int, int, list[int]]] = []
        source = self.equations.source
        # sizes last: a concentration that is assigned with one is of the size before
        for name in sorted(event.assignments, key=lambda x: x in source.compartments):
            tree = event.assignments[name]
            amount = self.equations.amounts.get(name)
            if amount is not None:
                size = source.species[name].compartment
                rows.append((self.places[amount], self._need(multiply(tree, size)), []))
                continue
            scaled = []
            if name in source.compartments:
                scaled = [
                    self.places[s.id] for s in source.species.values()
                    if s.compartment == name and not s.by_amount and s.id in self.places
                ]  # fmt: skip
            rows.append((self.places[name], self._need(tree), scaled))
        return rows

    def _by_place(self, name: str) -> str:
        if name in self.places:
            return f"y[{self.places[name]}]"
        return f"p[{self.numbers[name]}]"

    def _say(self, logic: Sequence[Tree], table: MomentTable) -> Any:
        functions = Functions(self.equations, self.naming)
        sides = _Sides(lambda x: x)
        sides.places = [int(place) for place in table.side]

        def end(writer: Writer, needed: list[Tree]) -> list[str]:
            lines = [f"    f[{i}] = {writer.number(tree)}" for i, tree in enumerate(needed)]
            return [
                *lines,
                *(f"    now[{j}] = 1.0 if {sides.condition(x)} else -1.0" for j, x in enumerate(logic)),
            ]

        text = functions.text("def say(t, y, p, f, now):", self.needed, self._by_place, end)
        return compiled(text, "say")


class _Sides(Writer):
    """Writes conditions of the sides of relations."""

    places: list[int]

    def condition(self, tree: Tree) -> str:
        """Return the text of a condition."""
        if isinstance(tree, tuple) and tree[0] == "side":
            return f"(y[{self.places[int(tree[1])]}] > 0.0)"
        return self._connected(tree)


def _whole(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def _starts(counts: Sequence[int]) -> np.ndarray:
    return np.append(0, np.cumsum(counts)).astype(np.int64)


def _flags(events: Sequence[Happening], name: str) -> np.ndarray:
    return np.array([getattr(event, name) for event in events], dtype=np.bool_)
