"""The equations of a file: what is a state, what a parameter, and what follows from these.

A species in a compartment of constant size is a state in what its id means, an amount or a concentration.
Where the size follows a rate rule, so is a concentration: ``c' = (sum of reactions) / V - c V' / V``. Where
it follows an assignment rule, the amount is the state, ``<id>_amount``, and the concentration is defined
by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fastcart.errors import InputError
from fastcart.sbml import trees
from fastcart.sbml.document import Participant, Source, Species
from fastcart.sbml.trees import Tree, add, divide, multiply


@dataclass
class Equations:
    """What a file comes to.

    Attributes
    ----------
    states : dict
        Name of each state to its derivative.
    start : dict
        The value at time 0 of all that has one.
    parameters : list of str
        What does not change in time, and has a number or an initial value.
    defined : dict
        What follows from states, parameters and time: rules, rates of reactions, constants without a number.
    amounts : dict
        Species whose state is an amount although their id is a concentration, to the name of that state.
    algebraic : list of str
        What algebraic rules determine.
    """

    source: Source
    states: dict[str, Tree] = field(default_factory=dict)
    start: dict[str, Tree] = field(default_factory=dict)
    parameters: list[str] = field(default_factory=list)
    defined: dict[str, Tree] = field(default_factory=dict)
    amounts: dict[str, str] = field(default_factory=dict)
    algebraic: list[str] = field(default_factory=list)

    def ordered(self, wanted: list[Tree]) -> list[str]:
        """Return what is defined and needed for some expressions, each behind what it needs itself.

        ``"'x"`` stands for the derivative of ``x``.

        Raises
        ------
        InputError
            For definitions that need each other.
        """
        order: list[str] = []
        done: set[str] = set()
        for tree in wanted:
            self._visit(sorted(self._needs(tree)), order, done)
        return order

    def tree_of(self, name: str) -> Tree:
        """Return the definition of what `ordered` lists."""
        return self.defined[name] if not name.startswith("'") else self.derivative(name[1:])

    def derivative(self, name: str) -> Tree:
        """Return the derivative of what an id means."""
        if name in self.states:
            return self.states[name]
        if name in self.amounts or name in self.source.assigned or name in self.algebraic:
            raise InputError(
                f"SBML: there is a rateOf {name!r}, which a rule determines; fastcart takes rateOf of what "
                "has a rate."
            )
        if name in self.parameters or name in self.defined:
            return 0.0
        raise InputError(f"SBML: there is a rateOf {name!r}, which the file does not define.")

    def _needs(self, tree: Tree) -> set[str]:
        found = {name for name in trees.names(tree) if name in self.defined}
        return found | {f"'{name}" for name in trees.derivatives(tree)}

    def _visit(self, roots: list[str], order: list[str], done: set[str]) -> None:
        """Visit by depth first, without recursion: chains of rules may be long."""
        path: dict[str, None] = {}  # in order
        waiting: list[tuple[str, bool]] = [(root, False) for root in reversed(roots)]
        while waiting:
            name, behind = waiting.pop()
            if behind:
                path.popitem()
                done.add(name)
                order.append(name)
                continue
            if name in done:
                continue
            if name in path:
                listed = list(path)
                circle = [*listed[listed.index(name) :], name]
                shown = " -> ".join(repr(x.lstrip("'")) for x in circle[:8])
                raise InputError(f"SBML: rules need each other in a circle: {shown}.")
            path[name] = None
            waiting.append((name, True))
            waiting += [(x, False) for x in sorted(self._needs(self.tree_of(name)), reverse=True)]


def equations_of(source: Source) -> Equations:
    """Return what a file comes to.

    Raises
    ------
    InputError
        For what is not defined, defined twice, or circular.
    """
    found = Equations(source)
    maker = _Maker(source, found)
    maker.check()
    maker.collect()
    return found


class _Maker:
    def __init__(self, source: Source, found: Equations):
        self.source, self.found = source, found
        self.targets = {name for event in source.events for name in event.assignments}
        self.known = {
            *source.compartments, *source.species, *source.parameters, *source.references, *source.reactions,
        }  # fmt: skip
        self.moved = self._moved()
        self.parts_of: dict[str, list[tuple[str, Participant]]] = {name: [] for name in source.species}
        for reaction in source.reactions.values():
            for x in reaction.participants if reaction.rate is not None else ():
                self.parts_of.get(x.species, []).append((reaction.id, x))

    def _moved(self) -> set[str]:
        """Return the species that reactions change."""
        listed = self.source.reactions.values()
        moved = {x.species for reaction in listed for x in reaction.participants}
        species = self.source.species
        return {x for x in moved if x in species and not species[x].boundary and not species[x].constant}

    def check(self) -> None:
        """Refuse names that are not there, and rules for one thing twice."""
        source = self.source
        for name in [*source.assigned, *source.rates, *source.initial, *self.targets]:
            if name not in self.known or name in source.reactions:
                raise InputError(f"SBML: a rule is for {name!r}, which the file does not define.")
        for name in source.assigned:
            if name in source.rates or name in source.initial or name in self.targets:
                raise InputError(f"SBML: {name!r} has an assignment rule, and another rule or event besides.")
        for name in [*source.rates, *source.assigned]:
            if name in self.moved:
                raise InputError(f"SBML: reactions change {name!r}, which has a rule, too.")
        self._check_references()
        for what, tree in self._all_trees():
            for name in sorted(trees.names(tree) | trees.derivatives(tree)):
                if name not in self.known:
                    raise InputError(f"SBML: {what} reads {name!r}, which the file does not define.")

    def _check_references(self) -> None:
        """Refuse species and reactions that name what is not there."""
        source = self.source
        for s in source.species.values():
            if s.compartment not in source.compartments:
                raise InputError(
                    f"SBML: the species {s.id!r} is in {s.compartment!r}, which is no compartment."
                )
            if s.factor is not None and s.factor not in source.parameters:
                raise InputError(f"SBML: the conversion factor {s.factor!r} is no parameter.")
        for r in source.reactions.values():
            for x in r.participants:
                if x.species not in source.species:
                    raise InputError(f"SBML: the reaction {r.id!r} names {x.species!r}, which is no species.")

    def _all_trees(self) -> list[tuple[str, Tree]]:
        source = self.source
        listed: list[tuple[str, Tree]] = [
            (f"the reaction {r.id!r}", r.rate) for r in source.reactions.values() if r.rate is not None
        ]
        for rules in (source.assigned, source.rates, source.initial):
            listed += [(f"the rule of {name!r}", tree) for name, tree in rules.items()]
        listed += [("an algebraic rule", tree) for tree in source.algebraic]
        for event in source.events:
            every = [event.trigger, event.delay, event.priority, *event.assignments.values()]
            listed += [(f"the event {event.id!r}", tree) for tree in every if tree is not None]
        return listed

    def collect(self) -> None:
        """Sort everything into states, parameters and definitions."""
        source, found = self.source, self.found
        from fastcart.sbml.algebraic import determined

        found.algebraic = determined(source, self.moved, self.targets)
        for c in source.compartments.values():
            self._quantity(c.id, c.size, default=1.0)
        for p in source.parameters.values():
            self._quantity(p.id, p.value, default=None)
        for name, value in source.references.items():
            self._quantity(name, value, default=1.0)
        for reaction in source.reactions.values():
            found.defined[reaction.id] = math.nan if reaction.rate is None else reaction.rate
        for s in source.species.values():
            self._species(s)
        for name in source.assigned:
            found.defined[name] = source.assigned[name]
            found.start.pop(name, None)

    def _quantity(self, name: str, value: float | None, *, default: float | None) -> None:
        source, found = self.source, self.found
        start = source.initial.get(name, value)
        if name in source.assigned:
            return
        if start is None:
            start = default
        if name in found.algebraic:
            if start is not None:
                found.start[name] = start
        elif name in source.rates:
            found.states[name] = source.rates[name]
            found.start[name] = start if start is not None else math.nan
        elif name in self.targets:
            found.states[name] = 0.0
            found.start[name] = start if start is not None else math.nan
        elif start is None or (isinstance(start, float) and not math.isfinite(start)):
            found.defined[name] = math.nan if start is None else start
        else:
            found.parameters.append(name)
            found.start[name] = start

    def _species(self, s: Species) -> None:
        source, found = self.source, self.found
        if s.id in source.assigned:
            return
        size: Tree = s.compartment
        by_amount = s.by_amount
        start = self._start_of(s, by_amount)
        changes = s.compartment in source.assigned or s.compartment in source.rates
        changes = changes or s.compartment in self.targets or s.compartment in found.algebraic
        follows = not by_amount and changes  # its concentration changes with the size
        rate = self._reactions_of(s) if s.id in self.moved else 0.0
        if s.id in found.algebraic:
            found.start[s.id] = start
        elif s.id in source.rates:
            found.states[s.id], found.start[s.id] = source.rates[s.id], start
        elif follows and (s.compartment in source.assigned or s.compartment in found.algebraic):
            name = f"{s.id}_amount"
            while name in self.known:
                name += "_"
            found.amounts[s.id] = name
            found.states[name], found.start[name] = rate, multiply(start, size)
            found.defined[s.id] = divide(name, size)
        elif s.id in self.moved or s.id in self.targets or follows:
            if not by_amount:
                rate = divide(rate, size) if rate != 0.0 else 0.0
                if s.compartment in source.rates:
                    shrinks = trees.operation("*", s.id, ("rateOf", s.compartment))
                    rate = trees.operation("-", rate, divide(shrinks, size))
            found.states[s.id], found.start[s.id] = rate, start
        elif isinstance(start, float) and not math.isfinite(start):
            found.defined[s.id] = start
        else:
            found.parameters.append(s.id)
            found.start[s.id] = start

    def _start_of(self, s: Species, by_amount: bool) -> Tree:
        """Return the initial value of what the id means."""
        if s.id in self.source.initial:
            return self.source.initial[s.id]
        if s.amount is not None:
            return s.amount if by_amount else divide(s.amount, s.compartment)
        if s.concentration is not None:
            return multiply(s.concentration, s.compartment) if by_amount else s.concentration
        return math.nan

    def _reactions_of(self, s: Species) -> Tree:
        """Return the sum of what reactions do to the amount of a species."""
        terms: list[Tree] = []
        for reaction, x in self.parts_of[s.id]:
            count: Tree = x.id if x.id is not None else (1.0 if x.stoichiometry is None else x.stoichiometry)
            term = multiply(count, reaction)
            terms.append(term if x.sign > 0 else trees.operation("-", term))
        total = add(*terms) if terms else 0.0
        return total if s.factor is None else multiply(s.factor, total)
