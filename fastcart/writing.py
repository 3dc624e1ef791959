"""The equations of a model as text and as LaTeX, read off its right-hand side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastcart.checks import shown
from fastcart.errors import InputError, nearest
from fastcart.math import reciprocals
from fastcart.model import Model
from fastcart.models import get
from fastcart.models.binding import binding_equilibrium, binding_written, free_tumor_cells
from fastcart.solvers.named import arguments
from fastcart.solvers.trace.following import follow
from fastcart.solvers.trace.graph import Graph, TraceError
from fastcart.solvers.trace.readable import (
    Call,
    Choice,
    Formula,
    Number,
    Power,
    Product,
    Reader,
    Sum,
    Symbol,
    local_names,
)
from fastcart.typing_names import EquationStyle, ModelName

STYLES = ("text", "latex")

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu", "µ": "mu", "ν": "nu", "ξ": "xi", "π": "pi",
    "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega",
}  # fmt: skip
_LETTERS = "|".join(sorted({*_GREEK.values()}, key=len, reverse=True))
_ROUGH = ("rough_reciprocal", "rough_sqrt")  # of a numerical solution within the right-hand side
_SIGNS = {"<": "<", "<=": "<=", "==": "==", "!=": "!=", "&": "and", "|": "or"}
_LATEX_SIGNS = {"<": "<", "<=": r"\le", "==": "=", "!=": r"\ne", "&": r"\wedge", "|": r"\vee"}
_LATEX_NAMES = {"log": r"\ln", "asin": r"\arcsin", "acos": r"\arccos", "atan": r"\arctan"}
_LATEX_OWN = ("exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min")
# how closely operations bind, the loosest first
_CHOICE, _EITHER, _COMPARED, _ADDED, _MULTIPLIED, _RAISED, _ONE = range(7)


class Equations(NamedTuple):
    """What a model says.

    Parameters
    ----------
    definitions : list of (name, formula)
        Quantities that the equations use, in the order in which they can be computed.
    rates : list of (state, formula)
    conditions : list of formula
        What is zero, for algebraic variables.
    observables : list of (name, formula)
    """

    definitions: list[tuple[str, Formula]]
    rates: list[tuple[str, Formula]]
    conditions: list[Formula]
    observables: list[tuple[str, Formula]]


def read_equations(model: Model) -> Equations:
    """Return the equations of a model as formulas.

    Raises
    ------
    TraceError
        Where its functions cannot be followed; the message is the end of a sentence about them.
    """
    graph = Graph()
    inputs = {"p": model.parameter_names, "y": model.state_names, "t": ["t"]}
    # parameters first: that is how products are written
    given: dict[str, list[Any]] = {
        row: [graph.input(row, k) for k in range(len(names))] for row, names in inputs.items()
    }
    at = (given["t"][0], *arguments(model, given["y"], given["p"]))
    instead, bound = _without_numbers(graph, inputs)
    with local_names() as names:
        rates: Sequence[Any] = follow(graph, model.rhs, at, instead=instead)
        conditions = follow(graph, model.residual, at) if model.residual is not None else ()
        observed: Sequence[Any] = ()
        if model.observe is not None:
            observed = follow(graph, model.observe, at, instead=instead)
        conditions = (*conditions, *bound[:1])
    hidden = model.moments.hidden if model.moments is not None else ()  # what events remember
    shown_states, rates = _without(hidden, model.differential, rates)
    shown_observables, observed = _without(hidden, model.observable_names, observed)
    outputs = (*rates, *conditions, *observed)
    for operation in {graph.operations[number] for number in graph.used(outputs)}:
        if operation in _ROUGH:
            raise TraceError("solves an equation by numbers, step by step")
    reader = Reader(graph, outputs, inputs, {node: name for node, name in names.items() if name.strip("_")})
    found = iter(reader.outputs)
    return Equations(
        reader.definitions,
        list(zip(shown_states, found, strict=False)),
        [next(found) for _ in conditions],
        # one that a quantity has the name of, as it is in the source, is that quantity
        [(name, of) for name, of in zip(shown_observables, found, strict=False) if of != Symbol(name)],
    )


def _without(hidden: Sequence[str], names: Sequence[str], values: Sequence[Any]) -> tuple[list, list]:
    """Return names and values without those that are hidden."""
    kept = [i for i, name in enumerate(names) if name not in hidden]
    return [names[i] for i in kept], [values[i] for i in kept if i < len(values)]


def _without_numbers(graph: Graph, inputs: dict[str, Any]) -> tuple[dict[Any, Any], list[Any]]:
    """Return what stands for the numerical solution of a binding equilibrium, and for shared divisions.

    The root is a symbol; the list gets its equation, from whoever asks for it.
    """
    conditions: list[Any] = []

    def equilibrium(*numbers: Any) -> tuple[Any, ...]:
        inputs["root"] = ["C_free"]
        condition, found = binding_written(graph.input("root"), *numbers)
        conditions.append(condition)
        return found

    return {
        binding_equilibrium: equilibrium,
        free_tumor_cells: lambda *numbers: equilibrium(*numbers)[0],
        reciprocals: lambda *numbers: tuple(1.0 / x for x in numbers),
    }, conditions


def written_equations(model: ModelName | str | Model, *, style: EquationStyle = "text") -> str:
    """Write the equations of a model, as its right-hand side computes them.

    Quantities that are used again, or have a name in the source, stand above as definitions.

    Parameters
    ----------
    model : str or Model
    style : str
        ``"text"``, in which each right-hand side is an expression of Python, or ``"latex"``, an ``align*``.

    Returns
    -------
    str
        For a model that cannot be followed, a sentence that says why, and its description.

    Raises
    ------
    InputError
        For an unknown model or style.

    Examples
    --------
    >>> import fastcart
    >>> print(fastcart.written_equations("leon_triana").splitlines()[1])
    dL/dt = L*(rho_L - alpha*C)
    """
    chosen = get(model) if isinstance(model, str) else model
    if not isinstance(chosen, Model):
        raise InputError(f"Equations are those of a model or of its name, not of {shown(model)}.")
    if style not in STYLES:
        raise InputError(f"The style must be 'text' or 'latex', not {shown(style)}." + nearest(style, STYLES))
    try:
        equations = read_equations(chosen)
    except TraceError as error:
        return (
            f"The equations of {chosen.name} cannot be written out: its right-hand side {error}. "
            f"Its description says:\n\n{chosen.doc}"
        )
    return _latex(chosen, equations) if style == "latex" else _text(equations)


def _text(equations: Equations) -> str:
    lines = [f"{name} = {_plain(formula)}" for name, formula in equations.definitions]
    lines += [""] if lines else []
    lines += [f"d{name}/dt = {_plain(formula)}" for name, formula in equations.rates]
    lines += [f"0 = {_plain(formula)}" for formula in equations.conditions]
    if equations.observables:
        lines += ["", *(f"{name} = {_plain(formula)}" for name, formula in equations.observables)]
    return "\n".join(lines)


def _latex(model: Model, equations: Equations) -> str:
    symbols = {p.name: symbol(p.symbol or p.name) for p in model.parameters}
    write = _Latex(symbols)
    lines = [rf"{write.name(name)} &= {write(formula)}" for name, formula in equations.definitions]
    lines += [rf"\frac{{d{write.name(name)}}}{{dt}} &= {write(formula)}" for name, formula in equations.rates]
    lines += [f"0 &= {write(formula)}" for formula in equations.conditions]
    lines += [rf"{write.name(name)} &= {write(formula)}" for name, formula in equations.observables]
    body = " \\\\\n".join(lines)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"


# --- text ---------------------------------------------------------------------------------------------------


def _number(value: float) -> str:
    texts = (text for text in (f"{value:g}", repr(float(value))) if float(text) == value)
    mantissa, _, power = min(texts, key=len).partition("e")
    return f"{mantissa}e{int(power)}" if power else mantissa


def _plain(formula: Formula, binding: int = _CHOICE) -> str:
    """Return a formula as Python, in parentheses where it stands beside what binds closer."""
    text, own = _PLAIN[type(formula)](formula)
    return f"({text})" if own < binding else text


def _plain_sum(formula: Sum) -> tuple[str, int]:
    text = ""
    for minus, term in formula.terms:
        sign = (" - " if minus else " + ") if text else ("-" if minus else "")
        text += sign + _plain(term, _MULTIPLIED)
    return text, _ADDED


def _plain_product(formula: Product) -> tuple[str, int]:
    above = "*".join(_raised(*factor) for factor in formula.above)
    if not formula.below:
        return above, _MULTIPLIED
    below = "*".join(_raised(*factor) for factor in formula.below)
    single = len(formula.below) == 1
    return f"{above}/{below if single else f'({below})'}", _MULTIPLIED


def _raised(factor: Formula, exponent: int) -> str:
    # a product below a fraction bar needs parentheses of its own
    text = _plain(factor, _RAISED if exponent == 1 else _ONE)
    return text if exponent == 1 else f"{text}**{exponent}"


def _plain_call(formula: Call) -> tuple[str, int]:
    if formula.name in _SIGNS:
        binding = _EITHER if formula.name in "&|" else _COMPARED
        sides = [_plain(side, binding + 1) for side in formula.arguments]
        return f" {_SIGNS[formula.name]} ".join(sides), binding
    if formula.name == "not":
        return f"not {_plain(formula.arguments[0], _COMPARED)}", _EITHER
    return f"{formula.name}({', '.join(map(_plain, formula.arguments))})", _ONE


def _plain_choice(formula: Choice) -> tuple[str, int]:
    yes, condition = _plain(formula.yes, _EITHER), _plain(formula.condition, _EITHER)
    return f"{yes} if {condition} else {_plain(formula.no, _EITHER)}", _CHOICE


_PLAIN: dict[type, Any] = {
    Number: lambda x: (_number(x.value), _ONE if x.value >= 0 else _ADDED),
    Symbol: lambda x: (x.name, _ONE),
    Sum: _plain_sum,
    Product: _plain_product,
    Power: lambda x: (f"{_plain(x.base, _ONE)}**{_plain(x.exponent, _ONE)}", _RAISED),
    Call: _plain_call,
    Choice: _plain_choice,
}


# --- LaTeX --------------------------------------------------------------------------------------------------


def symbol(name: str) -> str:
    r"""Return a name, or a symbol as a paper's table has it, as LaTeX: Greek letters, subscripts.

    Examples
    --------
    >>> print(symbol("rho_C"), symbol("T_E1"), symbol("muEM"))
    \rho_{C} T_{E1} \mu_{EM}
    """
    name = "".join(rf"\{_GREEK[letter]} " if letter in _GREEK else letter for letter in name)
    if "{" in name:
        return name.replace(" _", "_").strip()
    base, _, below = name.partition("_")
    base = base.strip()
    if not below:
        split = re.fullmatch(rf"({_LETTERS}|[A-Za-z])([A-Z0-9]\w*)", base)
        base, below = split.groups() if split else (base, "")
    below = ",".join(_below(part) for part in below.strip("_ ").split("_") if part)
    if base in _GREEK.values():
        base = rf"\{base}"
    elif len(base) > 1 and not base.startswith("\\"):
        base = rf"\mathrm{{{base}}}" if base.isidentifier() else rf"\left({base}\right)"
    return f"{base}_{{{below}}}" if below else base


def _below(part: str) -> str:
    """Return a part of a subscript."""
    if part in _GREEK.values():
        return rf"\{part}"
    return rf"\mathrm{{{part}}}" if part.isalpha() and len(part) > 2 else part


class _Latex:
    """Writes formulas with the symbols of a model."""

    def __init__(self, symbols: dict[str, str]):
        self._symbols = symbols

    def name(self, name: str) -> str:
        return self._symbols.get(name) or symbol(name)

    def __call__(self, formula: Formula, binding: int = _CHOICE) -> str:
        text, own = getattr(self, f"_{type(formula).__name__.lower()}")(formula)
        return rf"\left({text}\right)" if own < binding else text

    def _number(self, formula: Number) -> tuple[str, int]:
        mantissa, _, power = _number(formula.value).partition("e")
        if not power:
            return mantissa, _ONE
        times = "" if mantissa in ("1", "1.0") else rf"{mantissa} \cdot "
        return f"{times}10^{{{int(power)}}}", _MULTIPLIED

    def _symbol(self, formula: Symbol) -> tuple[str, int]:
        return self.name(formula.name), _ONE

    def _sum(self, formula: Sum) -> tuple[str, int]:
        text = ""
        for minus, term in formula.terms:
            sign = (" - " if minus else " + ") if text else ("-" if minus else "")
            text += sign + self(term, _MULTIPLIED)
        return text, _ADDED

    def _product(self, formula: Product) -> tuple[str, int]:
        above = self._factors(formula.above, alone=bool(formula.below))
        if not formula.below:
            return above, _MULTIPLIED
        return rf"\frac{{{above}}}{{{self._factors(formula.below, alone=True)}}}", _MULTIPLIED

    def _factors(self, factors: tuple[tuple[Formula, int], ...], *, alone: bool) -> str:
        if alone and len(factors) == 1 and factors[0][1] == 1:
            return self(factors[0][0])
        texts = [
            self(factor, _MULTIPLIED) if exponent == 1 else f"{self(factor, _ONE)}^{{{exponent}}}"
            for factor, exponent in factors
        ]
        return r" \, ".join(texts)

    def _power(self, formula: Power) -> tuple[str, int]:
        return f"{self(formula.base, _ONE)}^{{{self(formula.exponent)}}}", _RAISED

    def _call(self, formula: Call) -> tuple[str, int]:
        name, given = formula.name, formula.arguments
        if name in _LATEX_SIGNS:
            binding = _EITHER if name in "&|" else _COMPARED
            return f" {_LATEX_SIGNS[name]} ".join(self(side, binding + 1) for side in given), binding
        if name == "not":
            return rf"\neg {self(given[0], _ONE)}", _EITHER
        if name in ("sqrt", "abs", "floor"):
            left, right = {
                "sqrt": (r"\sqrt{", "}"), "abs": (r"\left|", r"\right|"),
                "floor": (r"\left\lfloor ", r"\right\rfloor"),
            }[name]  # fmt: skip
            return f"{left}{self(given[0])}{right}", _ONE
        head = _LATEX_NAMES.get(name) or (rf"\{name}" if name in _LATEX_OWN else rf"\mathrm{{{name}}}")
        return rf"{head}\left({', '.join(map(self, given))}\right)", _RAISED

    def _choice(self, formula: Choice) -> tuple[str, int]:
        cases = rf"{self(formula.yes)} & {self(formula.condition)} \\ {self(formula.no)} & \mathrm{{else}}"
        return rf"\begin{{cases}} {cases} \end{{cases}}", _ONE
