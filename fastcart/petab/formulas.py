"""Formulas of observables and of noise: functions of arrays, with their derivatives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fastcart.checks import first_line
from fastcart.errors import InputError

_PLACEHOLDER = re.compile(r"(observable|noise)Parameter(\d+)_(.+)")
TIME = "time"


@dataclass(frozen=True, eq=False)
class Formula:
    """A formula of names, as functions of arrays.

    Parameters
    ----------
    expression : sympy expression
    names : tuple of str
        What it reads, in the order of the arguments.
    """

    expression: Any
    names: tuple[str, ...]

    def value(self, arguments: list[np.ndarray]) -> Any:
        """Return the value; arguments are arrays that broadcast."""
        with np.errstate(all="ignore"):
            return self._value(*arguments)

    def slopes(self, arguments: list[np.ndarray]) -> list[Any]:
        """Return the derivatives by each argument, None where it is zero throughout."""
        with np.errstate(all="ignore"):
            return [None if f is None else f(*arguments) for f in self._slopes]

    @cached_property
    def _symbols(self) -> list[Any]:
        found = {symbol.name: symbol for symbol in self.expression.free_symbols}
        return [found[name] for name in self.names]

    @cached_property
    def _value(self) -> Callable[..., Any]:
        return _function(self._symbols, self.expression)

    @cached_property
    def _slopes(self) -> list[Callable[..., Any] | None]:
        slopes = [self.expression.diff(symbol) for symbol in self._symbols]
        return [None if slope == 0 else _function(self._symbols, slope) for slope in slopes]

    def with_names(self, values: Mapping[str, Formula]) -> Formula:
        """Return the formula with other formulas instead of some names."""
        inside = {s: values[s.name].expression for s in self._symbols if s.name in values}
        return self if not inside else formula_of_expression(self.expression.subs(inside))


def _function(symbols: list[Any], expression: Any) -> Callable[..., Any]:
    import sympy

    return sympy.lambdify(symbols, expression, modules="numpy", cse=True)


def formula_of_expression(expression: Any) -> Formula:
    """Return the formula of an expression of sympy."""
    return Formula(expression, tuple(sorted(symbol.name for symbol in expression.free_symbols)))


def formula_of(given: Any, what: str) -> Formula:
    """Return the formula that a table has, a number or a text.

    Raises
    ------
    InputError
        For what petab cannot read.
    """
    from petab.v1.math import sympify_petab

    try:
        expression = sympify_petab(given)
    except Exception as error:  # the parser's own kinds
        raise InputError(
            f"PEtab: {what}, {str(given)[:80]!r}, cannot be read: {first_line(str(error))}."
        ) from None
    if not hasattr(expression, "free_symbols"):
        raise InputError(f"PEtab: {what}, {str(given)[:80]!r}, is no number.")
    return formula_of_expression(expression)


def placeholder(name: str) -> tuple[str, int, str] | None:
    """Return the kind, number and observable of a name that each measurement fills in; None for others."""
    found = _PLACEHOLDER.fullmatch(name)
    return None if found is None else (found[1], int(found[2]), found[3])
