"""Equations of a simple SBML file as a Python function, for an independent solution by SciPy.

One compartment or several of size 1, species as concentrations, reactions with numbers as stoichiometry, rate
and assignment rules, initial assignments of parameters, function definitions; no events, which a test gives
itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

_FUNCTIONS: dict[str, Callable] = {
    "plus": lambda *x: sum(x), "times": lambda *x: math.prod(x), "divide": lambda a, b: a / b,
    "power": lambda a, b: a**b, "ln": np.log, "exp": np.exp,
}  # fmt: skip


class Equations:
    """The equations of a file.

    Parameters
    ----------
    path : Path
    **changed : float
        Values of parameters and initial states that differ from those of the file.
    """

    def __init__(self, path: Path, **changed: float):
        libsbml = pytest.importorskip("libsbml")
        self._document = libsbml.readSBML(str(path))
        model = self._document.getModel()
        self._formula = libsbml.formulaToL3String
        self.constants = {c.getId(): c.getSize() for c in model.getListOfCompartments()}
        self.constants |= {p.getId(): p.getValue() for p in model.getListOfParameters()}
        initial = {s.getId(): s.getInitialConcentration() for s in model.getListOfSpecies()}
        self._functions: dict[str, Any] = {}
        for function in model.getListOfFunctionDefinitions():
            names = [function.getArgument(k).getName() for k in range(function.getNumArguments())]
            body = compile(self._python(function.getBody()), function.getId(), "eval")
            self._functions[function.getId()] = self._call(names, body)
        for name, value in changed.items():
            (initial if name in initial else self.constants)[name] = value
        for assignment in model.getListOfInitialAssignments():
            value = self._value(self._python(assignment.getMath()), {**initial})
            (initial if assignment.getSymbol() in initial else self.constants)[assignment.getSymbol()] = value
        self._assigned = {
            r.getVariable(): self._python(r.getMath()) for r in model.getListOfRules() if r.isAssignment()
        }
        terms: dict[str, list[tuple[float, str]]] = {}
        for rule in model.getListOfRules():
            if rule.isRate():
                terms[rule.getVariable()] = [(1.0, self._python(rule.getMath()))]
        for reaction in model.getListOfReactions():
            rate = self._python(reaction.getKineticLaw().getMath())
            for sign, sides in ((-1.0, reaction.getListOfReactants()), (1.0, reaction.getListOfProducts())):
                for side in sides:
                    terms.setdefault(side.getSpecies(), []).append((sign * side.getStoichiometry(), rate))
        self.names = [name for name in initial if name not in self._assigned]
        self.start = {name: initial[name] for name in self.names}
        self._terms = [
            [(factor, compile(text, name, "eval")) for factor, text in terms.get(name, [])]
            for name in self.names
        ]
        self._assigned_code = [(n, compile(t, n, "eval")) for n, t in self._assigned.items()]

    def _python(self, math_: Any) -> str:
        text = self._formula(math_).replace("^", "**")
        return text.replace("lambda(", "lambda_(")

    def _call(self, names: list[str], body: Any) -> Callable:
        return lambda *values: eval(body, self._globals(), dict(zip(names, values, strict=True)))

    def _globals(self) -> dict[str, Any]:
        def piecewise(*parts: Any) -> Any:
            for value, condition in zip(parts[::2], parts[1::2], strict=False):
                if condition:
                    return value
            return parts[-1]

        known = {"ln": np.log, "log10": np.log10, "exp": np.exp, "piecewise": piecewise}
        return {**_FUNCTIONS, **known, **self._functions}

    def _value(self, text: str, values: Mapping[str, float]) -> float:
        return eval(text, self._globals(), {**self.constants, **values})

    def rates(self, t: float, y: Any) -> list[float]:
        """Return the derivatives, in the order of `names`."""
        values: dict[str, Any] = {**self.constants, "time": t}
        values |= zip(self.names, np.asarray(y, np.float64), strict=True)
        known = self._globals()
        with np.errstate(over="ignore"):  # what is infinite below a fraction bar is no error
            for name, code in self._assigned_code:
                values[name] = eval(code, known, values)
            return [sum(f * eval(code, known, values) for f, code in terms) for terms in self._terms]

    def solve(
        self, times: Any, *, jumps: Mapping[float, Mapping[str, float]] | None = None, breaks: Any = (),
        logarithm: Any = (), rtol: float = 1e-10, atol: float = 1e-20,
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """Return the course at times by SciPy's LSODA.

        ``jumps`` set states at a time, ``breaks`` start the steps anew, and of the states ``logarithm`` the
        logarithm is integrated.
        """
        times = np.asarray(times, float)
        logs = np.isin(self.names, list(logarithm))

        def natural(u: Any) -> np.ndarray:
            return np.where(logs, np.exp(np.where(logs, u, 0.0)), u)

        def rates(t: float, u: Any) -> np.ndarray:
            y = natural(u)
            return np.array(self.rates(t, y)) / np.where(logs, y, 1.0)

        y = np.array([self.start[name] for name in self.names])
        found = np.full((len(times), len(y)), np.nan)
        found[times <= 0.0] = y
        begin = 0.0
        for stop in sorted({*(jumps or {}), *breaks, times[-1]}):
            inside = (times > begin) & (times <= stop)
            at = np.unique([*times[inside], stop])
            first = np.nextafter(begin, stop) if begin else begin  # behind a jump of the equations
            u = np.where(logs, np.log(np.where(logs, y, 1.0)), y)
            part = solve_ivp(rates, (first, stop), u, method="LSODA", t_eval=at, rtol=rtol, atol=atol)
            assert part.success, part.message
            states = np.array([natural(column) for column in part.y.T])
            found[inside] = states[np.isin(at, times[inside])]
            y = states[-1]
            for name, value in (jumps or {}).get(stop, {}).items():
                y[self.names.index(name)] = value
            begin = stop
        return {name: found[:, k] for k, name in enumerate(self.names)}
