"""What is watched, as a table of items: the burden's own, peaks, events, and states that may die out.

An item is a quantity with a level, or with an extremum. Progression is the first upward crossing of the
burden over its start, progression-free survival the last, the nadir a minimum, a peak a maximum, an event a
crossing, and extinction a crossing that sets states to zero. A new endpoint is a row of the table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastcart.solvers.actions import Actions, actions_of
from fastcart.solvers.lanes.bernstein import STACK
from fastcart.solvers.lanes.dense_output import MAX_DEGREE
from fastcart.solvers.lanes.event_location import HALVINGS, MANY
from fastcart.solvers.lanes.event_recording import (
    BOTH,
    DOWN,
    EXTINCTION,
    MAXIMUM,
    MINIMUM,
    PROGRESSION,
    UP,
)
from fastcart.solvers.lanes.extinction import groups_of
from fastcart.solvers.lanes.layout import LANES, aligned_rows
from fastcart.solvers.lanes.observed_quantities import quantity_function
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

_KINDS = {"up": UP, "down": DOWN, "both": BOTH}
NADIR, RISE = range(2)  # the items of the burden, which the step itself detects


class Item(NamedTuple):
    """One row of the table; see `fastcart.solvers.lanes.records.ITEM`."""

    quantity: int
    kind: int
    terminal: bool = False
    parameter: int = -1
    threshold: float = math.nan
    after: float = -1.0
    after_item: int = -1


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
    sizes: tuple[int, int]  # states, parameters
    follows: float

    def recorded(self, patients: int) -> np.ndarray:
        """Return room for what is recorded of patients."""
        recorded = np.zeros((patients, len(self.items)), dtype=RECORD)
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
            self.function, np.zeros(n + 1 + m + quantities), turns, roots,
        )  # fmt: skip


def items_of(problem: Problem, log: np.ndarray) -> Table:
    """Return the table of what is watched in a problem; ``log`` marks states integrated in logarithm."""
    model = problem.model
    names = [] if not model.burden else [model.burden]
    of_burden = [Item(0, MINIMUM), Item(0, PROGRESSION)] if names else []
    names += [x for x in (*problem.peaks, *(event.of for event in problem.events)) if x not in names]
    names = list(dict.fromkeys(names))
    sums: list[str | tuple[int, ...]] = [*names]
    quantities = [_quantity(name, problem) for name in names]
    items = [*of_burden, *(Item(names.index(name), MAXIMUM) for name in problem.peaks)]
    items += _events(problem, names, len(items))
    groups, members = groups_of([state.extinction for state in model.states])
    if problem.extinction is None:
        groups[:], members = -1, []
    for g, of_group in enumerate(members):
        state = of_group[0] if len(of_group) == 1 else -1
        items.append(Item(len(quantities), EXTINCTION, True, threshold=problem.extinction or 0.0))
        quantities.append(Quantity(state, state, g))
        sums.append(tuple(of_group))
    in_log = [(state := quantities[item.quantity].state) >= 0 and bool(log[state]) for item in items]
    watched = len(items) > len(of_burden)
    bounded = [q.bounded for q in quantities if q.bounded >= 0] + [i for group in members for i in group]
    return Table(
        np.array([(*item, flag) for item, flag in zip(items, in_log, strict=True)], dtype=ITEM),
        np.array([tuple(quantity) for quantity in quantities], dtype=QUANTITY),
        len(of_burden), tuple(dict.fromkeys(bounded)), groups,
        actions_of(problem, len(items), len(of_burden) + len(problem.peaks), scaled=False),
        quantity_function(model, tuple(bool(x) for x in log), tuple(sums)).address if watched else 0,
        (len(model.states), len(model.parameters)), min(max(problem.rtol, 1e-9), 1e-5),
    )  # fmt: skip


def _quantity(name: str, problem: Problem) -> Quantity:
    states = problem.model.state_names
    if name in states:
        return Quantity(states.index(name), states.index(name))
    return Quantity(states.index(problem.integral_of(name)), -1)


def _events(problem: Problem, names: list[str], first: int) -> list[Item]:
    """Return the items of the events, which begin at place ``first``."""
    parameters = problem.model.parameter_names
    place = {event.name: first + i for i, event in enumerate(problem.events)}
    items = []
    for event in problem.events:
        level, after = event.threshold, event.after
        items.append(
            Item(
                names.index(event.of), _KINDS[event.direction], event.terminal or bool(event.actions),
                parameter=parameters.index(level) if isinstance(level, str) else -1,
                threshold=math.nan if isinstance(level, str) else level,
                after=-1.0 if isinstance(after, str) else after,
                after_item=place[after] if isinstance(after, str) else -1,
            )
        )  # fmt: skip
    return items
