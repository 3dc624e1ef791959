"""What stands in for functions of numbers where a function is followed: rules for ``math`` and ``numpy``.

A function without a rule may be called with constants only.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np

import fastcart.math as vector_math
from fastcart.solvers.trace.graph import (
    Traced,
    TraceError,
    add,
    both,
    divide,
    either,
    larger,
    multiply,
    opposite,
    power,
    smaller,
    unary,
    where,
)


def _safe(module: str, name: str, function: Callable) -> Callable:
    """Return a function that may be called with constants only."""

    def called(*values: Any, **named: Any) -> Any:
        if any(_holds_traced(value) for value in (*values, *named.values())):
            raise TraceError(f"calls {module}.{name}, which has no rule")
        return function(*values, **named)

    return called


def _holds_traced(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(_holds_traced(item) for item in value)
    if isinstance(value, np.ndarray):
        return value.dtype == object and any(isinstance(item, Traced) for item in value.flat)
    return isinstance(value, Traced)


def _of(operation: str) -> Callable:
    return lambda x: unary(operation, x)


def _logarithm(x: Any, base: Any = None) -> Any:
    result = unary("log", x)
    return result if base is None else divide(result, unary("log", base))


def _zeros(shape: Any, *_: Any, **__: Any) -> np.ndarray:
    made = np.empty(shape, dtype=object)
    made.fill(0.0)
    return made


def _array(values: Any, *_: Any, **__: Any) -> np.ndarray:
    return np.array(list(values) if isinstance(values, tuple) else values, dtype=object)


def _two(pick: Callable) -> Callable:
    def of_two(a: Any, b: Any) -> Any:
        if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
            return np.frompyfunc(pick, 2, 1)(a, b)
        return pick(a, b)

    return of_two


def _clip(x: Any, low: Any, high: Any) -> Any:
    return _two(smaller)(_two(larger)(x, low), high)


_RULES: dict[str, Any] = {
    **{name: _of(name) for name in (
        "exp", "sqrt", "floor", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "expm1",
        "log1p",
    )},
    "arcsin": _of("asin"), "arccos": _of("acos"), "arctan": _of("atan"), "fabs": _of("abs"),
    "abs": _of("abs"), "absolute": _of("abs"), "log": _logarithm,
    "log10": lambda x: multiply(unary("log", x), 1.0 / math.log(10.0)),
    "log2": lambda x: multiply(unary("log", x), 1.0 / math.log(2.0)),
    "pow": power, "power": power, "square": lambda x: multiply(x, x), "ceil": lambda x: -unary("floor", -x),
    "maximum": _two(larger), "fmax": _two(larger), "minimum": _two(smaller), "fmin": _two(smaller),
    "clip": _clip, "where": where, "logical_and": both, "logical_or": either, "logical_not": opposite,
    "zeros": _zeros, "empty": _zeros, "array": _array, "asarray": _array, "sum": np.sum, "dot": np.dot,
    "add": add, "multiply": multiply, "divide": divide, "float64": lambda x: x,
    "zeros_like": lambda x: _zeros(len(x)), "empty_like": lambda x: _zeros(len(x)),
}  # fmt: skip


def _with_rules(module: types.ModuleType) -> types.ModuleType:
    """Return a stand-in for ``math`` or ``numpy``, whose functions take numbers of a graph."""
    stand_in = types.ModuleType(module.__name__)
    for name, value in module.__dict__.items():
        if name.startswith("__"):
            continue
        if name in _RULES:
            stand_in.__dict__[name] = _RULES[name]
        elif callable(value) and not isinstance(value, type):
            stand_in.__dict__[name] = _safe(module.__name__, name, value)
        else:
            stand_in.__dict__[name] = value
    return stand_in


_STAND_INS: list[tuple[Any, Any]] = [
    (math, _with_rules(math)), (np, _with_rules(np)),
    *((getattr(module, name), rule) for module in (math, np) for name, rule in _RULES.items()
      if hasattr(module, name)),
    (vector_math.exp, _RULES["exp"]), (vector_math.exp_bounded, _RULES["exp"]),
    (vector_math.log, _RULES["log"]), (vector_math.pow, power), (vector_math.sqrt, _RULES["sqrt"]),
    (vector_math.ratio, divide), (vector_math.rough_reciprocal, _of("rough_reciprocal")),
    (vector_math.rough_sqrt, _of("rough_sqrt")),
]  # fmt: skip
BUILT_IN: dict[str, Any] = {"max": larger, "min": smaller, "abs": _RULES["abs"], "pow": power}


def _float(x: Any) -> Any:
    return x if isinstance(x, Traced) else float(x)


BUILT_IN["float"] = _float


def stand_in(value: Any) -> Any:
    """Return what stands in for a value that a function names, None where it stays."""
    for original, rule in _STAND_INS:
        if value is original:
            return rule
    if isinstance(value, np.floating):  # NumPy's own numbers make arrays of comparisons
        return float(value)
    return None
