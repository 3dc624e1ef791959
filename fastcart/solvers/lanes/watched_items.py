"""What is watched, as lanes take it: the rows of `fastcart.solvers.items`, and which states are bounded.

An item is a quantity with a level, or with an extremum. Those of the burden that the steps themselves detect
come first (`fastcart.solvers.endpoints.STEPS_DETECT`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastcart.solvers.actions import Actions, actions_of
from fastcart.solvers.endpoints import STEPS_DETECT, watched_marks
from fastcart.solvers.items import UP, first_event, groups_of, rows_of
from fastcart.solvers.lanes.bernstein import STACK
from fastcart.solvers.lanes.dense_output import MAX_DEGREE
from fastcart.solvers.lanes.event_location import HALVINGS, MANY
from fastcart.solvers.lanes.event_recording import MINIMUM, PROGRESSION
from fastcart.solvers.lanes.layout import LANES, aligned_rows
from fastcart.solvers.lanes.observed_quantities import quantity_function, states_read
from fastcart.solvers.lanes.records import (
    ITEM,
    QUANTITY,
    RECORD,
    Detection,
    Roots,
    Turns,
    Watch,
)
from fastcart.solvers.problem import Problem


class Quantity(NamedTuple):
    """One row of the table of quantities; see `fastcart.solvers.lanes.records.QUANTITY`."""

    bounded: int
    state: int
    group: int = -1


@dataclass(frozen=True)
class Table:
    """What is watched, the same for all patients and threads."""

    items: np.ndarray
    quantities: np.ndarray
    of_burden: int
    bounded: tuple[int, ...]  # states whose bounds each step gives, the burden first
    groups: np.ndarray
    actions: Actions
    function: int
    read: np.ndarray  # of each quantity, the states that it is computed from
    sizes: tuple[int, int]  # states, parameters
    follows: float

    def recorded(self, patients: int) -> np.ndarray:
        """Return room for what is recorded of patients."""
        recorded = np.zeros((patients, len(self.items)), dtype=RECORD)
        if not recorded.size:
            return recorded
        recorded["best"] = np.where(self.items["kind"] == MINIMUM, np.inf, -np.inf)
        recorded["first"], recorded["last"] = np.inf, -1.0
        return recorded

    def detection(self) -> Detection | None:
        """Return what a thread detects events with; None where the steps themselves detect all there is."""
        items = len(self.items)
        if items == self.of_burden:
            return None
        value = aligned_rows(1, len(self.quantities) * LANES).reshape(-1, LANES)
        return Detection(*np.zeros((4, items, LANES)), np.zeros(LANES), value, *np.zeros((2, LANES)))

    def watch(self, recorded: np.ndarray) -> Watch:
        """Return what a thread watches with, in buffers of its own."""
        n, m = self.sizes
        quantities = len(self.quantities)
        bounds_of = np.full(n, -1)
        bounds_of[list(self.bounded)] = np.arange(len(self.bounded))
        turns = Turns(
            np.zeros((quantities, MANY + 1)), np.zeros(quantities, np.int64), np.zeros((HALVINGS + 2, 2)),
            np.zeros(MAX_DEGREE + 3), self.follows,
        )  # fmt: skip
        roots = Roots(np.zeros(MAX_DEGREE + 3), np.zeros((STACK, MAX_DEGREE + 3)))
        return Watch(
            self.items, self.quantities, recorded, self.of_burden, bounds_of, self.groups, self.actions,
            self.function, self.read, np.zeros(n + 1 + m + quantities), turns, roots,
        )  # fmt: skip


def items_of(problem: Problem, log: np.ndarray) -> Table:
    """Return the table of what is watched in a problem; ``log`` marks states integrated in logarithm."""
    model, rows = problem.model, rows_of(problem)
    groups, members = groups_of([state.extinction for state in model.states])
    if problem.extinction is None:
        groups[:], members = -1, []
    of = list(dict.fromkeys(row.of for row in rows))
    quantities = [_quantity(name, problem, members) for name in of]
    of_burden = len(set(watched_marks()) & set(STEPS_DETECT)) if model.burden else 0
    items = []
    for i, row in enumerate(rows):
        k = of.index(row.of)
        kind = PROGRESSION if i < of_burden and row.kind == UP else row.kind
        state = quantities[k].state
        items.append((k, kind, *row[2:], state >= 0 and bool(log[state])))
    detected = len(items) > of_burden
    sums = [tuple(members[name]) if isinstance(name, int) else name for name in of]
    bounded = [q.bounded for q in quantities if q.bounded >= 0] + [i for group in members for i in group]
    return Table(
        np.array(items, dtype=ITEM), np.array([tuple(quantity) for quantity in quantities], dtype=QUANTITY),
        of_burden, tuple(dict.fromkeys(bounded)), groups,
        actions_of(problem, len(items), first_event(problem), scaled=False),
        quantity_function(model, tuple(bool(x) for x in log), tuple(sums)).address if detected else 0,
        states_read(model, tuple(sums)) if detected else np.full((len(of), len(model.states)), -1),
        (len(model.states), len(model.parameters)), min(max(problem.rtol, 1e-9), 1e-5),
    )  # fmt: skip


def _quantity(name: str | int, problem: Problem, members: list[list[int]]) -> Quantity:
    if isinstance(name, int):
        state = members[name][0] if len(members[name]) == 1 else -1
        return Quantity(state, state, name)
    states = problem.model.state_names
    if name in states:
        return Quantity(states.index(name), states.index(name))
    return Quantity(states.index(problem.integral_of(name)), -1)
