"""Checks of a model when it is made: names, ranges, and what its functions return."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcart.checks import located, number, real, reason, shown
from fastcart.equations import in_order, unknown_name
from fastcart.errors import InputError, nearest
from fastcart.model_parts import RESERVED, Algebraic, Parameter, State
from fastcart.solvers.fingerprint import python_function

if TYPE_CHECKING:
    from fastcart.model import Model


def collected(kind: type, values: Any, what: str) -> tuple:
    """Return states, parameters or observables as a tuple, having checked that they are such."""
    items = tuple(values) if isinstance(values, Iterable) else (None,)
    for item in items:
        if not isinstance(item, kind):
            given = values if item is None else item
            raise InputError(f"{what} must be a list of fastcart.{kind.__name__}, not {shown(given)}.")
    return items


def with_algebraic(states: Sequence[State], algebraic: Sequence[Algebraic]) -> tuple[State, ...]:
    """Return the states with the algebraic variables among them: where they are already, or at the end."""
    names = [variable.name for variable in algebraic]
    kept = [state for state in states if not isinstance(state, Algebraic) or state.name in names]
    placed = {state.name for state in kept if isinstance(state, Algebraic)}
    current = {variable.name: variable for variable in algebraic}
    return (
        *(current[state.name] if isinstance(state, Algebraic) else state for state in kept),
        *(variable for variable in algebraic if variable.name not in placed),
    )


def check_model(model: Model) -> None:
    """Check names, ranges and the number of derivatives, before anything is computed."""
    if not model.states:
        raise InputError(f"Model {model.name!r} has no states; give at least one.")
    _check_names(model)
    _check_numbers(model)
    _check_method(model)
    known = [*model.state_names, *model.parameter_names]
    for item in model.typical:
        if item not in known:
            raise InputError(
                f"Model {model.name!r}: the typical patient has {shown(item)}, no state or parameter."
                + nearest(item, known)
            )
    for name in model.breaks:
        if isinstance(name, str) and name not in model.parameter_names:
            raise InputError(
                f"Model {model.name!r}: the break {name!r} is no parameter."
                + nearest(name, model.parameter_names)
            )
    _put_in_order(model)
    _check_places(model)
    _check_function(model, model.rhs, "rhs", len(model.differential), "derivatives (one for each state)")
    _check_no_chance(model, model.rhs, "rhs")
    _check_algebraic(model)
    if (model.observe is None) != (not model.observables):
        raise InputError(
            f"Model {model.name!r} must give both 'observables' (names) and 'observe' (function), or neither."
        )
    if model.observe is not None:
        _check_function(
            model, model.observe, "observe", len(model.observables), "values (one per observable)"
        )
        _check_no_raise(model)
        _check_no_chance(model, model.observe, "observe")


def _put_in_order(model: Model) -> None:
    """Give right-hand sides that name their derivatives the order of the states."""
    names, scheme = model.differential, model.published
    object.__setattr__(model, "rhs", in_order(model.rhs, names))
    if scheme is not None:
        object.__setattr__(model, "published", replace(scheme, rhs=in_order(scheme.rhs, names)))


def _check_places(model: Model) -> None:
    """Refuse another order of what the right-hand side of a derived model takes by place."""
    by_place = getattr(python_function(model.rhs), "by_place", ((), ()))
    for kind, first, names in zip(
        ("states", "parameters"), by_place, (model.state_names, model.parameter_names), strict=True
    ):
        if tuple(names[: len(first)]) != first:
            raise InputError(
                f"Model {model.name!r} is derived from another, whose {kind} {', '.join(first)} come first, "
                "in this order; change that model, and derive again."
            )


def _check_names(model: Model) -> None:
    seen: dict[str, str] = {}
    for kind, items in (
        ("state", model.states),
        ("parameter", model.parameters),
        ("observable", model.observables),
    ):
        for item in items:
            name = item.name
            if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
                raise InputError(
                    f"Model {model.name!r}: {name!r} cannot be the name of a {kind}; use letters, "
                    "digits and underscores, not starting with a digit."
                )
            if name in RESERVED:
                raise InputError(
                    f"Model {model.name!r}: the name {name!r} of a {kind} is used by the tables of "
                    "results; choose another."
                )
            if name in seen:
                raise InputError(
                    f"Model {model.name!r}: the name {name!r} is given twice, as {seen[name]} and as "
                    f"{kind}; each name must be unique."
                )
            seen[name] = kind
    if model.burden is not None and model.burden not in model.state_names:
        raise InputError(
            f"Model {model.name!r}: the burden {model.burden!r} is not a state; for a sum of states add "
            "one whose derivative is the sum of theirs." + nearest(model.burden, model.state_names)
        )


def _check_numbers(model: Model) -> None:
    where = f"Model {model.name!r}"
    for item in model.items:
        if not callable(item.default):
            number(item.default, f"{where}: the default of {item.name!r}")
    values = model.defaults()
    for name, value in values.items():  # computed ones now
        number(value, f"{where}: the default of {name!r}")
    for parameter in model.parameters:
        low, high = _limits(parameter, where)
        value = values[parameter.name]
        if not low <= value <= high:
            raise InputError(
                f"{where}: the default {value:g} of parameter {parameter.name!r} is outside its "
                f"range [{low:g}, {high:g}]; change one of them."
            )
    for state in model.states:
        if state.log and values[state.name] < 0:
            raise InputError(
                f"{where}: state {state.name!r} is integrated in logarithm, so its default must not "
                f"be negative; it is {values[state.name]:g}."
            )
        if state.nonnegative and values[state.name] < 0:
            raise InputError(
                f"{where}: state {state.name!r} is marked nonnegative, but its default is "
                f"{values[state.name]:g}; change one of them."
            )
        if not isinstance(state.unit, str):
            raise InputError(
                f"{where}: the unit of state {state.name!r} must be text, not {shown(state.unit)}; an "
                f"initial value is given by name, State({state.name!r}, default=...)."
            )
        number(state.scale, f"{where}: the scale of state {state.name!r}", positive=True)
    if model.published is not None:
        number(model.published.step, f"{where}: the step of the published scheme", positive=True)


def _limits(parameter: Parameter, where: str) -> tuple[float, float]:
    ends = parameter.range if isinstance(parameter.range, Sequence) else ()
    limits = [real(end) for end in ends]
    if len(limits) == 2 and limits[0] is not None and limits[1] is not None and limits[0] <= limits[1]:
        return limits[0], limits[1]
    raise InputError(
        f"{where}: the range of parameter {parameter.name!r} must be two numbers (low, high), not "
        f"{shown(parameter.range)}."
    )


def _check_algebraic(model: Model) -> None:
    """Check the algebraic variables and their equations, which must determine them."""
    from fastcart.solvers.trace.graph import TraceError

    where = f"Model {model.name!r}"
    if (model.residual is None) != (not model.algebraic):
        raise InputError(
            f"{where} must give both 'algebraic' (variables) and 'residual' (function), or neither."
        )
    if model.residual is None:
        return
    known = [*model.differential, *model.parameter_names]
    for variable in model.algebraic:
        what = f"{where}: algebraic variable {variable.name!r}"
        if variable.extinction or variable.nonnegative or not variable.computed:
            raise InputError(f"{what} has neither extinction nor nonnegative: its equation says where it is.")
        if isinstance(variable.start, str) and variable.start not in known:
            raise InputError(
                f"{what} starts at {variable.start!r}, which is no state or parameter."
                + nearest(variable.start, known)
            )
        if variable.start is not None and not isinstance(variable.start, str):
            number(variable.start, f"{what}: its start", positive=variable.log)
        if variable.restoring is not None and number(variable.restoring, f"{what}: its restoring rate") < 0:
            raise InputError(f"{what}: its restoring rate must not be negative, not {variable.restoring:g}.")
        if variable.name == model.burden:
            raise InputError(f"{where}: the burden {model.burden!r} is algebraic; it must be a state.")
    if model.published is not None:
        raise InputError(
            f"{where}: a published scheme steps states alone; give it with a model whose right-hand side "
            "computes the algebraic variables."
        )
    _check_function(
        model, model.residual, "residual", len(model.algebraic), "values (one for each algebraic variable)"
    )
    try:
        _ = model.system
    except TraceError as refusal:
        raise InputError(
            f"{where}: residual(t, y, p) cannot be solved for the algebraic variables: it {refusal}."
        ) from None


def _check_method(model: Model) -> None:
    from fastcart.solvers.tableaus import EXPLICIT

    if model.method is not None and model.method not in EXPLICIT:
        raise InputError(
            f"Model {model.name!r}: {shown(model.method)} is no explicit method of the lane engine."
            + nearest(model.method, EXPLICIT)
        )


def _check_no_raise(model: Model) -> None:
    """Refuse observables that raise errors: in a kernel nobody would see them."""
    from fastcart.solvers.reading import raising_lines

    for line in raising_lines(model.observe):
        raise InputError(
            f"Model {model.name!r}: observe(t, y, p) raises an error in line {line}, which a kernel cannot "
            "pass on; let it return nan where an observable has no value."
        )


def _check_no_chance(model: Model, function: Any, role: str) -> None:
    """Refuse functions that draw random numbers: no solver converges to anything then."""
    from fastcart.solvers.reading import random_lines

    for line in random_lines(function):
        raise InputError(
            f"Model {model.name!r}: {role}(t, y, p) draws random numbers in line {line}, but must give the "
            "same value for the same arguments; draw what differs between patients as parameters."
        )


def _check_function(model: Model, function: Any, role: str, length: int, what: str) -> None:
    from fastcart.solvers.compile import plain
    from fastcart.solvers.named import arguments
    from fastcart.solvers.reading import place_in

    y, p = arguments(model, model.default_states().values(), model.default_parameters().values())
    try:
        result = plain(function)(0.0, y, p)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also where it asks to end the program
        if isinstance(error, ArithmeticError) or "math domain error" in str(error):
            return  # division by zero and the like: the engines report it per patient
        place = place_in(function, error)
        where = located(*place) if place else ""
        if isinstance(error, InputError):
            raise InputError(f"Model {model.name!r}{where}: {error}") from None
        if isinstance(error, AttributeError) and type(error.obj) in (type(y), type(p)):
            raise InputError(unknown_name(model, type(error.obj).__name__, str(error.name), where)) from None
        raise InputError(
            f"Model {model.name!r}: {role}(t, y, p) fails at the default values with "
            f"{type(error).__name__}: {reason(error)}{where}."
        ) from error
    source = python_function(function)
    where = located(source.__code__.co_filename, source.__code__.co_firstlineno) if source else ""
    if not isinstance(result, tuple):
        raise InputError(
            f"Model {model.name!r}: {role}(t, y, p){where} must return a tuple of {length} {what}, not "
            f"{type(result).__name__}; end it with 'return (a, b, ...)'."
        )
    if len(result) != length:
        raise InputError(
            f"Model {model.name!r}: {role}(t, y, p){where} returns {len(result)} values, but it must return "
            f"{length} {what}."
        )
    for value in result:
        if real(value) is None and not isinstance(value, bool | np.bool_):  # an indicator counts as 0 or 1
            raise InputError(
                f"Model {model.name!r}: {role}(t, y, p){where} must return {length} real numbers; at the "
                f"default values it returns {shown(value)}."
            )
