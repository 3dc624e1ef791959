"""A model of fastcart from the equations of a file: names, defaults, and functions as text."""

from __future__ import annotations

import keyword
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.model_parts import RESERVED, Algebraic, Observable, Parameter, State
from fastcart.sbml import trees
from fastcart.sbml.document import Happening
from fastcart.sbml.equations import Equations
from fastcart.sbml.functions import Functions
from fastcart.sbml.happenings import Added, happenings
from fastcart.sbml.jumps import jumps, nothing
from fastcart.sbml.mathml import MOST_PARTS
from fastcart.sbml.positive import needed_positive
from fastcart.sbml.text import Computed, Writer, free
from fastcart.sbml.trees import Tree

_ANY = (-math.inf, math.inf)
_SMALL = 1e-3  # of the smallest amount at the start: what still matters
_MOST_SAID = 300  # letters of an event in words


class Naming:
    """What the ids of a file are called in a model.

    An id that no Python name may be, or that tables of results use themselves, gets an underscore behind it.
    """

    def __init__(self, ids: Iterable[str]):
        taken = set(ids)
        self.of: dict[str, str] = {}
        for name in sorted(taken):
            renamed = name
            while keyword.iskeyword(renamed) or renamed in RESERVED or not renamed.isidentifier():
                renamed = f"{renamed}_" if renamed.isidentifier() else f"x{renamed}"
                while renamed in taken:
                    renamed += "_"
            self.of[name] = renamed
            taken.add(renamed)


class Start:
    """Initial values: numbers, or what they are of other columns."""

    def __init__(self, equations: Equations):
        self.equations = equations
        self._known: dict[str, Tree] = {}
        self._open: dict[str, None] = {}
        self._parameters = set(equations.parameters)

    def of(self, name: str) -> Tree:
        """Return the initial value of a parameter or state, of columns that are given before it."""
        if name in self._known:
            return self._known[name]
        if name in self._open:
            circle = " -> ".join(map(repr, [*list(self._open)[:8], name]))
            raise InputError(f"SBML: initial values need each other in a circle: {circle}.")
        self._open[name] = None
        tree = self.resolved(self.equations.start[name])
        self._open.pop(name)
        if trees.size(tree) > MOST_PARTS:
            raise InputError(f"SBML: the initial value of {name!r} has more than {MOST_PARTS} parts.")
        self._known[name] = tree
        return tree

    def resolved(self, tree: Tree) -> Tree:
        """Return an expression of what is given before it, at time 0."""
        return trees.replaced(tree, self._leaf)

    def _leaf(self, part: Tree) -> Tree | None:
        if part == trees.TIME:
            return 0.0
        if isinstance(part, tuple) and part[0] == "rateOf":
            return self.resolved(self.equations.derivative(part[1]))
        return self._named(part) if isinstance(part, str) else None

    def _named(self, name: str) -> Tree:
        found = self.equations
        if name in found.start:
            value = self.of(name)
            computed = isinstance(value, tuple | str)
            return value if computed and name not in self._parameters else name
        key = f"={name}"
        if key not in self._known:
            if key in self._open:
                raise InputError(f"SBML: initial values need each other in a circle: {name!r}.")
            self._open[key] = None
            self._known[key] = self.resolved(found.defined[name])
            self._open.pop(key)
        return self._known[key]


def model_of(equations: Equations, *, t_end: float, burden: str | None) -> Model:
    """Return the model of equations.

    Parameters
    ----------
    equations : Equations
    t_end : float
    burden : str, optional
        The state that is the tumor.

    Raises
    ------
    InputError
        For what has no initial value, circles, and what `Model` refuses.
    """
    source = equations.source
    equations.ordered([*equations.states.values(), *equations.defined])  # circles are said first
    naming = Naming([*equations.states, *equations.parameters, *equations.defined, *equations.algebraic])
    functions = Functions(equations, naming.of)
    start = Start(equations)
    states = _states(equations, naming.of, start)
    observed = [name for name in equations.defined if not _is_nothing(equations.defined[name])]
    derivatives = list(equations.states.values())
    if not states:
        states, derivatives = [State("nothing", description="the file has no states")], [0.0]
    options: dict[str, Any] = {}
    parameters = _parameters(equations, naming.of, start)
    times, watched = jumps(equations)
    breaks, made = _breaks(equations, naming.of, start, times)
    levels: list[Tree] = []
    observables = [_observable(equations, name, naming.of) for name in observed]
    events = list(source.events)
    if not equations.algebraic:  # there are no events beside algebraic variables
        events += [nothing(f"jump {k}", condition) for k, condition in enumerate(watched)]
    if events and equations.states:
        added = _happenings(equations, events, naming.of, [p.name for p in parameters])
        states += added.states
        derivatives += [0.0] * len(added.states)
        observables += added.observables
        levels, options["moments"] = added.levels, added.moments
    if equations.algebraic:
        options = {
            "algebraic": [_algebraic(equations, name, naming.of, start) for name in equations.algebraic],
            "residual": functions.returning("residual", list(source.algebraic)),
        }
    if observables:
        options["observables"] = observables
        options["observe"] = functions.returning("observe", [*observed, *levels])
    return Model(
        _title(source.name), states, [*parameters, *made],
        functions.returning("rhs", derivatives), t_end=t_end, burden=burden, time_unit=source.time_unit,
        doc=_doc(equations, naming.of), breaks=breaks, **options,
    )  # fmt: skip


def _breaks(
    equations: Equations, naming: Mapping[str, str], start: Start, times: Sequence[Tree]
) -> tuple[list[float | str], list[Parameter]]:
    """Return times at which equations jump: numbers, and parameters, of which some are made for it."""
    found: dict[float | str, None] = {}
    made: list[Parameter] = []
    taken = set(naming.values())
    for time in times:
        if isinstance(time, float):
            if 0.0 < time < math.inf:
                found[time] = None
        elif isinstance(time, str) and number_of(equations, start, start.resolved(time)) >= 0.0:
            found[naming[time]] = None
        else:
            name = free(f"jump_{len(made) + 1}", taken)
            after = ("and", (">", time, 0.0), ("<", time, math.inf))  # no start, and no number: no jump
            default = _value(name, start.resolved(("piecewise", time, after, 0.0)), naming)
            about = "a time at which the equations jump"
            made.append(Parameter(name, default, equations.source.time_unit, "", _ANY, description=about))
            found[name] = None
    return list(found), made


def _happenings(
    equations: Equations, events: Sequence[Happening], naming: Mapping[str, str], parameters: Sequence[str]
) -> Added:
    ids = {renamed: name for name, renamed in naming.items()}
    places = {name: i for i, name in enumerate(equations.states)}
    return happenings(equations, events, naming, places, {ids[name]: k for k, name in enumerate(parameters)})


def _title(name: str) -> str:
    return name if name.isidentifier() else "sbml_model"


def _doc(equations: Equations, naming: Mapping[str, str]) -> str:
    source = equations.source
    named = source.title not in ("", source.name) or not source.notes
    lines = [source.title or source.name] if named else []
    lines += [f"{new} is called {old} in the file." for old, new in naming.items() if old != new]
    lines += [f"{new} is the amount of {old}." for old, new in equations.amounts.items()]
    lines += [_in_words(event, naming) for event in source.events]
    return "\n".join([*lines, *([source.notes] if source.notes else [])])


def _in_words(event: Happening, naming: Mapping[str, str]) -> str:
    """Return an event as a sentence."""
    writer = Writer(lambda x: naming.get(x, x), time="time", rate_of=lambda x: f"rateOf({x})")
    wait = "" if event.delay is None else f" and {writer.number(event.delay)} passed"
    does = ", ".join(f"{naming.get(x, x)} = {writer.number(of)}" for x, of in event.assignments.items())
    said = f"Event {event.id}: when {writer.condition(event.trigger)}{wait}: {does or 'nothing'}."
    said = said.replace("math.", "")
    return said if len(said) <= _MOST_SAID else f"{said[:_MOST_SAID]} ..."


def _is_nothing(tree: Tree) -> bool:
    return isinstance(tree, float) and math.isnan(tree)


def _value(name: str, tree: Tree, naming: Mapping[str, str]) -> Any:
    """Return a default: a number, or what computes it."""
    if isinstance(tree, bool | float):
        value = float(tree)
        if not math.isfinite(value):
            raise InputError(f"SBML: {name!r} has no initial value; give it a finite one in the file.")
        return value
    return Computed(tree, {x: naming[x] for x in trees.names(tree)})


def _about(equations: Equations, name: str) -> tuple[str, str]:
    """Return unit and name of what an id stands for."""
    source = equations.source
    for kind in (source.parameters, source.compartments):
        if name in kind:
            return kind[name].unit, kind[name].name
    if name in source.reactions:
        return "", source.reactions[name].name or f"rate of {name}"
    species = {amount: of for of, amount in equations.amounts.items()}.get(name, name)
    if species not in source.species:
        return "", ""
    s = source.species[species]
    by_amount = s.by_amount or name != species
    size = source.compartments[s.compartment].unit
    return (s.unit if by_amount or not s.unit else f"{s.unit}/{size or 'volume'}"), s.name


def _states(equations: Equations, naming: Mapping[str, str], start: Start) -> list[State]:
    defaults = {name: _value(name, start.of(name), naming) for name in equations.states}
    smallest = _SMALL * _smallest(equations, defaults, start)
    positive = {x for x in needed_positive(equations) if number_of(equations, start, start.of(x)) > 0.0}
    made = []
    for name, default in defaults.items():
        unit, about = _about(equations, name)
        own = _SMALL * abs(default) if isinstance(default, float) and default else smallest
        made.append(State(naming[name], unit, default, name in positive,
                          max(min(1.0, own, smallest), 1e-30), about))  # fmt: skip
    return made


def _smallest(equations: Equations, defaults: Mapping[str, Any], start: Start) -> float:
    """Return the smallest amount that there is of anything at the start; 1 for nothing."""
    found = [abs(x) for x in defaults.values() if isinstance(x, float) and x != 0.0]
    for name, default in defaults.items():
        if isinstance(default, Computed):
            value = abs(number_of(equations, start, start.of(name)))
            found += [value] if 0.0 < value < math.inf else []
    return min(found, default=1.0)


def number_of(equations: Equations, start: Start, tree: Tree) -> float:
    """Return the number that a resolved expression is at the defaults."""
    values: dict[str, float] = {}

    def of(name: str) -> float:
        if name not in values:
            known = start.of(name)
            values[name] = float(trees.evaluate(known, {x: of(x) for x in trees.names(known)}))
        return values[name]

    return float(trees.evaluate(tree, {x: of(x) for x in trees.names(tree)}))


def _parameters(equations: Equations, naming: Mapping[str, str], start: Start) -> list[Parameter]:
    """Return the parameters, those that are computed behind the others, in an order that serves."""
    order: list[str] = []
    computed = [name for name in equations.parameters if isinstance(start.of(name), tuple | str)]
    waiting = dict.fromkeys(computed)
    order = [name for name in equations.parameters if name not in waiting]
    while waiting:
        ready = [name for name in waiting if not trees.names(start.of(name)) & waiting.keys()]
        if not ready:
            raise InputError(f"SBML: initial values need each other in a circle: {next(iter(waiting))!r}.")
        order += ready
        for name in ready:
            waiting.pop(name)
    made = []
    for name in order:
        unit, about = _about(equations, name)
        symbol = name if naming[name] != name else ""
        default = _value(name, start.of(name), naming)
        made.append(Parameter(naming[name], default, unit, symbol, _ANY, description=about))
    return made


def _observable(equations: Equations, name: str, naming: Mapping[str, str]) -> Observable:
    unit, about = _about(equations, name)
    return Observable(naming[name], unit, about)


def _algebraic(equations: Equations, name: str, naming: Mapping[str, str], start: Start) -> Algebraic:
    unit, about = _about(equations, name)
    begin: float | None = None
    if name in equations.start:
        value = number_of(equations, start, start.of(name))
        begin = value if np.isfinite(value) else None
    return Algebraic(naming[name], unit, description=about, start=begin)
