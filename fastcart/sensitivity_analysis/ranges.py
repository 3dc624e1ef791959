"""Which parameters a sensitivity study varies, how far, and how those that must add up to a total do so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pandas.api.types import is_list_like

from fastcart.checks import number, real, shown
from fastcart.errors import InputError, nearest
from fastcart.model import Model
from fastcart.patients import allowed_range
from fastcart.sampling.columns import Marginal, column
from fastcart.sensitivity_analysis.design import Closure

DEFAULT_SPREAD = 0.1  # of the default value, up and down, as in Li & Lei 2025

Range = tuple[float, float] | Marginal


def parse_ranges(model: Model, ranges: Any = None, fixed: Mapping[str, Any] | None = None) -> dict:
    """Return name to (low, high), or to another distribution, of everything that is varied.

    Parameters
    ----------
    model : Model
    ranges : float or mapping, optional
        A number is a spread: every parameter varies by that share of its default, up and down (default
        `DEFAULT_SPREAD`). A mapping names parameters or initial values, each with ``(low, high)``, a
        spread, or a distribution as in `fastcart.sample.latin_hypercube`, such as ``{"log_uniform": (low,
        high)}``; its key ``"*"`` gives a spread to all other parameters. Of parameters that must add up to a
        total, these are the ranges of weights; one that ``"*"`` would vary alone in its sum is left out.
    fixed : mapping, optional
        Parameters and initial values that replace the defaults. They are not varied, unless ``ranges`` gives
        them a spread, which is then a share of the value given here.

    Raises
    ------
    InputError
        For an unknown name, an empty range, one that leaves what the model allows, or a range or distribution
        of what is fixed.
    """
    values = model.defaults() | _fixed_values(model, fixed)
    if ranges is None:
        ranges = DEFAULT_SPREAD
    if not isinstance(ranges, Mapping):
        ranges = {"*": ranges}
    result: dict[str, Range] = {}
    if "*" in ranges:
        spread = _spread(ranges["*"], "all parameters")
        for name in model.parameter_names:
            # a share of zero is no range
            if values[name] != 0 and name not in (fixed or {}):
                result[name] = _around(values[name], spread)
    for name, given in ranges.items():
        if name != "*":
            result[name] = _range(model, name, given, values)
            if name in (fixed or {}) and is_list_like(given):
                raise InputError(
                    f"{name!r} is fixed and has a range of its own, which would replace the fixed value; "
                    "give one of these, or a share such as 0.1 of the fixed value."
                )
    _leave_out_given_by_sums(model, ranges, result)
    if not result:
        raise InputError("No parameter is varied; give ranges for at least one.")
    for item in model.items:
        if item.name in result:
            _check_allowed(item, result[item.name])
    return {item.name: result[item.name] for item in model.items if item.name in result}


def _leave_out_given_by_sums(model: Model, named: Mapping[str, Any], result: dict[str, Range]) -> None:
    """Leave out what ``"*"`` would vary alone in its sum: all others are 0 or given, and so is this one."""
    for constraint in model.constraints:
        varied = [name for name in constraint.parameters if name in result]
        if len(varied) == 1 and varied[0] not in named:
            del result[varied[0]]


def _fixed_values(model: Model, fixed: Mapping[str, Any] | None) -> dict[str, float]:
    known = [item.name for item in model.items]
    for name in fixed or {}:
        if name not in known:
            raise InputError(
                f"{shown(name)} is not a parameter or state of model {model.name!r}." + nearest(name, known)
            )
    return {name: number(value, f"The value of {name!r}") for name, value in (fixed or {}).items()}


def _spread(value: Any, what: str) -> float:
    spread = real(value)
    if spread is None or not 0 < spread < 1:
        raise InputError(
            f"The spread of {what} must be a share between 0 and 1, e.g. 0.1 for ±10%, not {shown(value)}."
        )
    return spread


def _around(value: float, spread: float) -> tuple[float, float]:
    ends = (value * (1 - spread), value * (1 + spread))
    return min(ends), max(ends)


def _range(model: Model, name: Any, given: Any, values: Mapping[str, float]) -> Range:
    known = [item.name for item in model.items]
    if name not in known:
        raise InputError(
            f"{shown(name)} is not a parameter or state of model {model.name!r}." + nearest(name, known)
        )
    if isinstance(given, Mapping):
        found = column(name, given, grid=False)
        assert isinstance(found, Marginal)
        return found
    if not is_list_like(given):
        if values[name] == 0:
            raise InputError(
                f"The default of {name!r} is 0, of which no share can be taken; give (low, high)."
            )
        return _around(values[name], _spread(given, repr(name)))
    ends = [real(end) for end in given]
    if len(ends) != 2 or None in ends or not all(map(math.isfinite, ends)) or not ends[0] < ends[1]:  # type: ignore[arg-type,operator]
        raise InputError(f"The range of {name!r} must be two numbers, low below high, not {shown(given)}.")
    return float(ends[0]), float(ends[1])  # type: ignore[arg-type]


def _check_allowed(item: Any, given: Range) -> None:
    low, high = given.support if isinstance(given, Marginal) else given
    least, most = allowed_range(item)
    if low < least or high > most:
        allowed = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        hint = given.hint if isinstance(given, Marginal) else ""
        raise InputError(
            f"The range of {item.name!r}, {low:g} to {high:g}, leaves what the model allows: {allowed}.{hint}"
        )


def find_closures(
    model: Model, ranges: Mapping[str, Range], fixed: Mapping[str, Any] | None = None
) -> tuple[Closure, ...]:
    """Return how parameters that must add up to a total do so.

    Each of them is drawn as a weight from its own range, independently; the weights of a sum are then scaled
    so that it is right to rounding. An index of such a parameter says what happens when it gains weight
    against the others of its sum.

    Raises
    ------
    InputError
        Where one parameter of a sum is varied alone, or nothing is left for those that are varied.
    """
    values = model.defaults() | _fixed_values(model, fixed)
    order = list(ranges)
    seen: set[str] = set()
    closures = []
    for constraint in model.constraints:
        varied = [name for name in constraint.parameters if name in ranges]
        if not varied:
            continue
        total = " + ".join(constraint.parameters)
        if len(varied) == 1:
            raise InputError(
                f"{total} must be {constraint.total:g}, so {varied[0]!r} cannot vary alone; give a range to "
                "another of these, too."
            )
        rest = constraint.total - sum(values[n] for n in constraint.parameters if n not in ranges)
        if rest <= 0 or seen & {*varied}:
            raise InputError(
                f"{total} must be {constraint.total:g}, which leaves {rest:g} for {', '.join(varied)}; vary "
                "others, or fix these."
            )
        seen |= {*varied}
        closures.append(Closure(tuple(order.index(name) for name in varied), rest))
    return tuple(closures)
