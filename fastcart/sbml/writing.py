"""A model of fastcart as SBML level 3 version 2: states have rate rules, observables assignment rules.

The equations are read by following the functions of the model with recording numbers, see
`fastcart.solvers.trace`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.model_parts import Algebraic
from fastcart.sbml.text import Computed, free
from fastcart.sbml.trees import Tree, is_condition
from fastcart.solvers.named import arguments
from fastcart.solvers.trace.following import follow
from fastcart.solvers.trace.graph import CONDITIONS, Graph, Traced, TraceError

_CORE = "http://www.sbml.org/sbml/level3/version2/core"
_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<sbml xmlns="{_CORE}" '
_MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML">'
_TIME = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time"> t </csymbol>'
# operations of graphs and of trees as elements of MathML
_ELEMENTS = {
    "+": "plus", "-": "minus", "*": "times", "/": "divide", "negative": "minus", "power": "power",
    "^": "power", "floor": "floor", "ceil": "ceiling", "abs": "abs", "exp": "exp", "exp_bounded": "exp",
    "log": "ln", "sqrt": "root", "rough_sqrt": "root", "sin": "sin", "cos": "cos", "tan": "tan",
    "asin": "arcsin",
    "acos": "arccos", "atan": "arctan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "max": "max",
    "min": "min", "<": "lt", "<=": "leq", ">": "gt", ">=": "geq", "==": "eq", "!=": "neq", "&": "and",
    "|": "or", "and": "and", "or": "or", "xor": "xor", "not": "not", "implies": "implies",
    "factorial": "factorial", "quotient": "quotient", "rem": "rem",
}  # fmt: skip


def dump(model: Model) -> str:
    """Return a model as the text of an SBML file.

    Parameters
    ----------
    model : Model
        States become parameters with rate rules in natural units, observables such with assignment rules.
        What defaults of one's own functions compute becomes the number that it is.

    Returns
    -------
    str
        Level 3 version 2.

    Raises
    ------
    InputError
        Where the equations cannot be followed, and for a model with events of its own.
    """
    if model.moments is not None:
        raise InputError(f"Model {model.name!r} has events of its own, which are not written to SBML.")
    try:
        return _Writer(model).text()
    except TraceError as refusal:
        raise InputError(f"Model {model.name!r} cannot be written to SBML: it {refusal}.") from None


class _Writer:
    def __init__(self, model: Model):
        self.model, self.graph = model, Graph()
        names = [*model.state_names, *model.parameter_names, *model.observable_names]
        self.ids = _ids(names)
        t = self.graph.input("t")
        y: list[Any] = [self.graph.input("y", i) for i in range(len(model.states))]
        p: list[Any] = [self.graph.input("p", k) for k in range(len(model.parameters))]
        self.given = (t, *arguments(model, y, p))
        self.rates = self._followed(model.rhs)
        self.observed = self._followed(model.observe) if model.observe is not None else ()
        self.residual = self._followed(model.residual) if model.residual is not None else ()
        named = zip(self.observed, model.observable_names, strict=True)
        self.observables = {x.number: name for x, name in named if isinstance(x, Traced)}
        self.shared = self._shared()

    def _followed(self, function: Callable) -> Sequence[Any]:
        return follow(self.graph, function, self.given)

    def _shared(self) -> dict[int, str]:
        """Return the numbers that are used several times, with their ids: of an observable, or their own."""
        outputs = [*self.rates, *self.observed, *self.residual]
        used = self.graph.used(outputs)
        counts = Counter(x.number for x in outputs if isinstance(x, Traced))
        for number in used:
            if self.graph.operations[number] != "input":
                counts.update(x for x in self.graph.arguments[number] if type(x) is int)
        kept = [
            number for number in used
            if counts[number] > 1 and self.graph.operations[number] not in ("input", *CONDITIONS)
        ]  # fmt: skip
        taken = set(self.ids.values())
        found: dict[int, str] = {}
        for number in kept:
            observable = self.observables.get(number)
            found[number] = self.ids[observable] if observable else free(f"shared_{len(found) + 1}", taken)
        return found

    def text(self) -> str:
        model = self.model
        unit = quoteattr(_unit(model.time_unit))
        defaults = model.defaults()
        observables = {self.ids[name] for name in model.observable_names}
        lines = [
            f'{_HEAD}level="3" version="2">',
            f"<model id={quoteattr(_identifier(model.name))} name={quoteattr(model.name)} timeUnits={unit}>",
            f'<notes><p xmlns="http://www.w3.org/1999/xhtml">{escape(_printable(model.doc))}</p></notes>',
            "<listOfUnitDefinitions>", *_units(model.time_unit), "</listOfUnitDefinitions>",
            "<listOfParameters>",
        ]  # fmt: skip
        for item in model.parameters:
            lines.append(self._parameter(item.name, defaults[item.name], True))
        for state in model.states:
            lines.append(self._parameter(state.name, defaults[state.name], False))
        for name in [*model.observable_names, *(x for x in self.shared.values() if x not in observables)]:
            lines.append(self._parameter(name, None, False))
        lines += ["</listOfParameters>", *self._starts(), "<listOfRules>"]
        for number, name in self.shared.items():
            lines.append(_rule("assignmentRule", name, self._operation(number)))
        for name, value in zip(model.observable_names, self.observed, strict=True):
            if self.ids[name] not in self.shared.values():
                lines.append(_rule("assignmentRule", self.ids[name], self._value(value)))
        for name, value in zip(model.differential, self.rates, strict=True):
            lines.append(_rule("rateRule", self.ids[name], self._value(value)))
        lines += [f"<algebraicRule>{_MATH}{self._value(x)}</math></algebraicRule>" for x in self.residual]
        return "\n".join([*lines, "</listOfRules>", "</model>", "</sbml>", ""])

    def _parameter(self, name: str, value: float | None, constant: bool) -> str:
        given = "" if value is None else f' value="{value!r}"'
        about = f"<parameter id={quoteattr(self.ids.get(name, name))} name={quoteattr(name)}"
        return f'{about}{given} constant="{str(constant).lower()}"/>'

    def _starts(self) -> list[str]:
        """Return initial assignments of defaults that SBML files gave."""
        lines = []
        for item in self.model.items:
            if isinstance(item.default, Computed) and not isinstance(item, Algebraic):
                names = {x: self.ids[item.default.names.get(x, x)] for x in item.default.columns}
                math_text = _of_tree(item.default.tree, names)
                lines.append(
                    f"<initialAssignment symbol={quoteattr(self.ids[item.name])}>{_MATH}{math_text}"
                    "</math></initialAssignment>"
                )
        return ["<listOfInitialAssignments>", *lines, "</listOfInitialAssignments>"] if lines else []

    def _value(self, value: Any) -> str:
        if isinstance(value, Traced):
            return self._operand(value.number)
        return _number(float(value))

    def _operand(self, operand: Any) -> str:
        if type(operand) is not int:
            return _number(float(operand))
        if operand in self.shared:
            return f"<ci> {self.shared[operand]} </ci>"
        return self._operation(operand)

    def _operation(self, number: int) -> str:
        name, operands = self.graph.operations[number], self.graph.arguments[number]
        if name == "input":
            row, place = operands if len(operands) == 2 else (operands[0], 0)
            if row == "t":
                return _TIME
            names = self.model.state_names if row == "y" else self.model.parameter_names
            return f"<ci> {self.ids[names[place]]} </ci>"
        given = [self._operand(x) for x in operands]
        if name == "where":
            return _piecewise([given[1], given[0], given[2]])
        if name in ("reciprocal", "rough_reciprocal"):  # where an iteration begins, which may be at its end
            return _apply("divide", [_number(1.0), *given])
        if name == "expm1":
            return _apply("minus", [_apply("exp", given), _number(1.0)])
        if name == "log1p":
            return _apply("ln", [_apply("plus", [_number(1.0), *given])])
        if name not in _ELEMENTS:
            raise TraceError(f"needs {name}, which SBML does not have")
        return _apply(_ELEMENTS[name], given)


def _of_tree(tree: Tree, names: Mapping[str, str]) -> str:
    """Return a tree as MathML."""
    if isinstance(tree, bool):
        return "<true/>" if tree else "<false/>"
    if isinstance(tree, float):
        return _number(tree)
    if isinstance(tree, str):
        return f"<ci> {names[tree]} </ci>"
    given = [_of_tree(x, names) for x in tree[1:]]
    if tree[0] == "piecewise":
        return _piecewise(given)
    text = _apply(_ELEMENTS[tree[0]], given)
    return text if not is_condition(tree) else _piecewise([_number(1.0), text, _number(0.0)])


def _apply(element: str, given: Iterable[str]) -> str:
    return f"<apply><{element}/>{''.join(given)}</apply>"


def _piecewise(given: Sequence[str]) -> str:
    pieces = "".join(f"<piece>{given[i]}{given[i + 1]}</piece>" for i in range(0, len(given) - 1, 2))
    other = f"<otherwise>{given[-1]}</otherwise>" if len(given) % 2 else ""
    return f"<piecewise>{pieces}{other}</piecewise>"


def _number(value: float) -> str:
    if math.isnan(value):
        return "<notanumber/>"
    if math.isinf(value):
        return "<infinity/>" if value > 0 else _apply("minus", ["<infinity/>"])
    digits, e, exponent = repr(value).partition("e")
    if e:
        return f'<cn type="e-notation"> {digits} <sep/> {int(exponent)} </cn>'
    return f"<cn> {digits} </cn>"


def _rule(kind: str, name: str, text: str) -> str:
    return f"<{kind} variable={quoteattr(name)}>{_MATH}{text}</math></{kind}>"


def _identifier(name: str) -> str:
    """Return a name as an id of SBML, which has letters of ASCII alone."""
    text = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return text if re.match(r"[A-Za-z_]", text) else f"_{text}"


def _ids(names: Iterable[str]) -> dict[str, str]:
    taken: set[str] = set()
    return {name: free(_identifier(name), taken) for name in names}


def _printable(text: str) -> str:
    return "".join(x for x in text if x.isprintable() or x in "\n\t")


_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}


def _unit(name: str) -> str:
    return "second" if name == "second" else _identifier(name)


def _units(name: str) -> list[str]:
    """Return the definition of the unit of time."""
    if name == "second":
        return []
    unit = f'<unit kind="second" exponent="1" scale="0" multiplier="{_SECONDS.get(name, 1)}"/>'
    identifier = quoteattr(_unit(name))
    return [
        f"<unitDefinition id={identifier} name={quoteattr(name)}><listOfUnits>{unit}</listOfUnits>",
        "</unitDefinition>",
    ]
