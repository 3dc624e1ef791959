"""An SBML file as plain data: what it lists, with expressions as trees, and nothing of libSBML any more.

A file may be anything: before libSBML sees it, it is looked at without being trusted (no document types and
entities, no endless nesting, not more than fastcart could solve).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from fastcart.errors import InputError, require
from fastcart.sbml.mathml import Functions, tree_of
from fastcart.sbml.trees import Tree

MOST_BYTES = 64 * 2**20
MOST_NESTED = 1000
_MOST = {"species": 2000, "reaction": 10_000, "parameter": 20_000, "event": 200, "compartment": 2000}


@dataclass
class Compartment:
    """A compartment."""

    id: str
    size: float | None
    constant: bool
    unit: str
    name: str


@dataclass
class Species:
    """A species; what its id means in equations is an amount or a concentration."""

    id: str
    compartment: str
    amount: float | None
    concentration: float | None
    by_amount: bool
    boundary: bool
    constant: bool
    factor: str | None  # the parameter that converts extents of reactions
    unit: str
    name: str


@dataclass
class Quantity:
    """A parameter."""

    id: str
    value: float | None
    constant: bool
    unit: str
    name: str


@dataclass
class Participant:
    """A reactant (negative) or product of a reaction."""

    id: str | None
    species: str
    sign: float
    stoichiometry: float | None


@dataclass
class Reaction:
    """A reaction, whose rate is an extent per time."""

    id: str
    participants: list[Participant]
    rate: Tree | None
    name: str


@dataclass
class Happening:
    """An event of a file."""

    id: str
    trigger: Tree
    persistent: bool
    before: bool  # whether the trigger counts as true before time 0
    delay: Tree | None
    priority: Tree | None
    from_trigger: bool  # whether values are those of the time at which it was triggered
    assignments: dict[str, Tree]


@dataclass
class Source:
    """All that a file says."""

    name: str
    title: str
    notes: str
    time_unit: str
    compartments: dict[str, Compartment] = field(default_factory=dict)
    species: dict[str, Species] = field(default_factory=dict)
    parameters: dict[str, Quantity] = field(default_factory=dict)
    references: dict[str, float | None] = field(default_factory=dict)  # stoichiometries with an id
    reactions: dict[str, Reaction] = field(default_factory=dict)
    assigned: dict[str, Tree] = field(default_factory=dict)
    rates: dict[str, Tree] = field(default_factory=dict)
    algebraic: list[Tree] = field(default_factory=list)
    initial: dict[str, Tree] = field(default_factory=dict)
    events: list[Happening] = field(default_factory=list)


def read(source: str | Path) -> Source:
    """Read a file, or a text that is XML.

    Raises
    ------
    InputError
        For what is no SBML, for what is hostile, and for what fastcart does not take, by name.
    """
    require("Reading SBML", ["libsbml"])
    text = text_of(source)
    check_text(text)
    import libsbml

    document = libsbml.readSBMLFromString(text)
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR:
            message = " ".join(error.getMessage().split())
            raise InputError(f"This is no valid SBML, line {error.getLine()}: {message[:200]}")
    if document.getModel() is None:
        raise InputError("This SBML file holds no model.")
    _check_packages(document)
    if document.getLevel() < 3 and not document.setLevelAndVersion(3, 2, False):
        raise InputError(
            f"SBML: level {document.getLevel()} version {document.getVersion()} cannot be converted to "
            "level 3; libSBML says why: sbmlConvert."
        )
    return _Reader(document.getModel()).source()


def text_of(source: str | Path) -> str:
    """Return the text of a file, or a text that is XML itself.

    Raises
    ------
    InputError
        For a file that is not there, too large, or no text.
    """
    if isinstance(source, str) and source.lstrip("\ufeff \t\r\n").startswith("<"):
        if len(source) > MOST_BYTES:
            raise InputError(f"The SBML text is larger than {MOST_BYTES // 2**20} MiB.")
        return source.lstrip("\ufeff \t\r\n")
    path = Path(source)
    file = f"The SBML file {str(path)[:200]!r}"
    try:
        large = path.stat().st_size > MOST_BYTES
        text = "" if large else path.read_text(encoding="utf-8-sig").lstrip()
    except FileNotFoundError:
        raise InputError(f"{file} does not exist; check the path.") from None
    except (OSError, ValueError) as error:
        why = (
            "no UTF-8" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        )
        raise InputError(f"{file} cannot be read: {why}.") from None
    if large:
        raise InputError(f"{file} is larger than {MOST_BYTES // 2**20} MiB.")
    if not text:
        raise InputError(f"{file} is empty; give one that holds a model.")
    return text


def check_text(text: str) -> None:
    """Look at XML without building anything of it.

    Raises
    ------
    InputError
        For document types and entities, endless nesting, more elements than fastcart takes, and no XML.
    """
    counts = dict.fromkeys(_MOST, 0)
    depth = 0

    def start(name: str, _: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_NESTED:
            raise InputError(f"The SBML file nests elements more than {MOST_NESTED} times.")
        local = name.rpartition(":")[2]
        if depth == 1 and local != "sbml":
            raise InputError(f"This is no SBML: the file begins with <{local[:40]}>.")
        if local in counts:
            counts[local] += 1
            if counts[local] > _MOST[local]:
                raise InputError(
                    f"The SBML file has more than {_MOST[local]} elements <{local}>, which is more than "
                    "fastcart takes."
                )

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: Any) -> None:
        raise InputError("The SBML file has a document type or entities, which fastcart does not read.")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text.encode("utf-8", "surrogatepass"), True)
    except expat.ExpatError as error:
        raise InputError(f"This is no XML: {error}.") from None


def _check_packages(document: Any) -> None:
    """Refuse what a package says; packages of drawings say nothing about the equations."""
    for i in range(document.getNumPlugins()):
        package = document.getPlugin(i).getPackageName()
        if package not in ("layout", "render", "groups", "l3v2extendedmath", "annot"):
            raise InputError(
                f"The SBML file uses the package {package!r}, which fastcart does not take; it takes SBML "
                "core."
            )
    for i in range(document.getNumUnknownPackages()):
        prefix = document.getUnknownPackagePrefix(i)
        if document.getPackageRequired(document.getUnknownPackageURI(i)):
            raise InputError(f"The SBML file uses the package {prefix!r}, which fastcart does not take.")


def _number(value: float, is_set: bool) -> float | None:
    return float(value) if is_set and not math.isnan(value) else None


class _Reader:
    """Takes what a model lists out of libSBML's objects."""

    def __init__(self, model: Any):
        self._model = model
        definitions = {f.getId(): f.getMath() for f in model.getListOfFunctionDefinitions()}
        self._functions = Functions(definitions)
        self._units = {u.getId(): u for u in model.getListOfUnitDefinitions()}

    def source(self) -> Source:
        model = self._model
        source = Source(
            model.getId() or "model", model.getName(), _plain(model.getNotesString()),
            self._unit(model.getTimeUnits()) or "second",
        )  # fmt: skip
        for c in model.getListOfCompartments():
            source.compartments[c.getId()] = Compartment(
                c.getId(), _number(c.getSize(), c.isSetSize()), c.getConstant(),
                self._unit(c.getUnits()), c.getName(),
            )  # fmt: skip
        for s in model.getListOfSpecies():
            source.species[s.getId()] = self._species(s)
        for p in model.getListOfParameters():
            source.parameters[p.getId()] = Quantity(
                p.getId(), _number(p.getValue(), p.isSetValue()), p.getConstant(), self._unit(p.getUnits()),
                p.getName(),
            )  # fmt: skip
        for r in model.getListOfReactions():
            self._reaction(r, source)
        self._rules(source)
        for event in model.getListOfEvents():
            self._event(event, source)
        return source

    def _tree(self, node: Any, where: str) -> Tree:
        return tree_of(node, self._functions, where)

    def _species(self, s: Any) -> Species:
        model = self._model
        factor = s.getConversionFactor() or (
            model.getConversionFactor() if model.isSetConversionFactor() else ""
        )
        return Species(
            s.getId(), s.getCompartment(), _number(s.getInitialAmount(), s.isSetInitialAmount()),
            _number(s.getInitialConcentration(), s.isSetInitialConcentration()), s.getHasOnlySubstanceUnits(),
            s.getBoundaryCondition(), s.getConstant(), factor or None,
            self._unit(s.getSubstanceUnits() or model.getSubstanceUnits()), s.getName(),
        )  # fmt: skip

    def _reaction(self, r: Any, source: Source) -> None:
        where = f"reaction {r.getId()!r}"
        if r.isSetFast() and r.getFast():
            raise InputError(f"SBML: {where} is fast, which fastcart does not take.")
        participants = []
        for sign, listed in ((-1.0, r.getListOfReactants()), (1.0, r.getListOfProducts())):
            for x in listed:
                value = _number(x.getStoichiometry(), x.isSetStoichiometry())
                participants.append(Participant(x.getId() or None, x.getSpecies(), sign, value))
                if x.getId():
                    source.references[x.getId()] = value
        law, rate = r.getKineticLaw(), None
        if law is not None and law.getMath() is not None:
            rate = self._with_locals(self._tree(law.getMath(), where), law, r.getId(), source)
        source.reactions[r.getId()] = Reaction(r.getId(), participants, rate, r.getName())

    def _with_locals(self, rate: Tree, law: Any, reaction: str, source: Source) -> Tree:
        """Return the rate of a reaction with its local parameters as parameters of the model."""
        from fastcart.sbml.trees import substituted

        names: dict[str, Tree] = {}
        for p in [*law.getListOfLocalParameters(), *law.getListOfParameters()]:
            if p.getId() in names:
                continue
            name = f"{reaction}_{p.getId()}"
            while name in source.parameters or self._model.getElementBySId(name) is not None:
                name += "_"
            names[p.getId()] = name
            source.parameters[name] = Quantity(
                name, _number(p.getValue(), p.isSetValue()), True, self._unit(p.getUnits()),
                p.getName() or f"{p.getId()} of {reaction}",
            )  # fmt: skip
        return substituted(rate, names) if names else rate

    def _rules(self, source: Source) -> None:
        for rule in self._model.getListOfRules():
            if rule.getMath() is None:
                continue
            if rule.isAlgebraic():
                source.algebraic.append(self._tree(rule.getMath(), "an algebraic rule"))
                continue
            of = rule.getVariable()
            into = source.assigned if rule.isAssignment() else source.rates
            into[of] = self._tree(rule.getMath(), f"the rule of {of!r}")
        for a in self._model.getListOfInitialAssignments():
            if a.getMath() is not None:
                source.initial[a.getSymbol()] = self._tree(
                    a.getMath(), f"the initial assignment of {a.getSymbol()!r}"
                )

    def _event(self, event: Any, source: Source) -> None:
        name = event.getId() or f"event_{len(source.events) + 1}"
        where = f"event {name!r}"
        trigger = event.getTrigger()
        if trigger is None or trigger.getMath() is None:
            return
        delay, priority = event.getDelay(), event.getPriority()
        source.events.append(Happening(
            name, self._tree(trigger.getMath(), where), trigger.getPersistent(), trigger.getInitialValue(),
            None if delay is None or delay.getMath() is None else self._tree(delay.getMath(), where),
            None if priority is None or priority.getMath() is None
            else self._tree(priority.getMath(), where),
            event.getUseValuesFromTriggerTime(),
            {a.getVariable(): self._tree(a.getMath(), where) for a in event.getListOfEventAssignments()
             if a.getMath() is not None},
        ))  # fmt: skip

    def _unit(self, name: str) -> str:
        """Return a unit by name: its own, or what it is made of."""
        import libsbml

        made = self._units.get(name)
        if made is None:
            return name
        return made.getName() or libsbml.UnitDefinition.printUnits(made, True).replace(", ", " ") or name


def _plain(notes: str) -> str:
    """Return notes, which are XHTML, as text."""
    found: list[str] = []
    parser = expat.ParserCreate()
    parser.CharacterDataHandler = found.append
    try:
        parser.Parse(notes.encode(), True)
    except expat.ExpatError:
        return ""
    lines = (" ".join(line.split()) for line in "".join(found).splitlines())
    return "\n".join(line for line in lines if line)
