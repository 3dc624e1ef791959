"""What equations say by name: derivatives in any order, and one clear sentence for a name that is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fastcart.errors import InputError, nearest
from fastcart.solvers.system import PARAMETERS, System

if TYPE_CHECKING:
    from fastcart.model import Model

IN_ORDER = "<derivatives>"  # the "file" of what `in_order` makes
_STAND_IN = "fastcart of a model"  # no module that can be imported


def derivatives(*values: float, **rates: float) -> tuple[float, ...]:
    """Return the derivatives of a right-hand side by the names of their states, in any order.

    A model puts them in the order of its states when it is defined; that takes no time when it is solved.

    Parameters
    ----------
    *values : float
        Not taken; a mistake is said where rates come without names.
    **rates : float
        One for each state, in natural units per unit of time.

    Returns
    -------
    tuple of float

    Raises
    ------
    InputError
        When the model is defined: for a name that is no state, and for a state without a derivative.

    Examples
    --------
    >>> import fastcart
    >>> from numba import njit
    >>> @njit
    ... def rhs(t, y, p):
    ...     return fastcart.derivatives(E=-p.death * y.E, C=p.growth * y.C - p.kill * y.E * y.C)
    >>> rates = dict(growth=0.3, kill=1e-7, death=0.1)
    >>> fastcart.Model("killing", {"C": 1e6, "E": 1e7}, rates, rhs).state_names
    ['C', 'E']
    """
    if values:
        raise InputError("fastcart.derivatives takes each derivative by the name of its state: C=...")
    return tuple(rates.values())


def in_order(rhs: Callable, states: Sequence[str]) -> Callable:
    """Return a right-hand side whose `derivatives` are a tuple in the order of the states.

    Parameters
    ----------
    rhs : jitted function
        Where it does not name `derivatives` it is returned as it is. One that was put in order before is
        taken as it was given then.
    states : sequence of str
    """
    from numba import njit

    from fastcart.solvers.compile import from_source, rebuild
    from fastcart.solvers.fingerprint import python_function, referenced_names
    from fastcart.solvers.reading import functions, named_values

    before = getattr(python_function(rhs), "put_in_order", None)
    if before is not None:
        given, order = before
        return rhs if order == tuple(states) else in_order(given, states)
    fastcart = sys.modules[__package__ or ""]  # what the user wrote, which lies above this module
    named: set[str] = set()
    values: list[Any] = []
    for function in functions(rhs):
        named |= referenced_names(function.__code__)
        values += named_values(function).values()
    by_module = "derivatives" in named and any(value is fastcart for value in values)
    if not by_module and not any(value is derivatives for value in values):
        return rhs
    listed = ", ".join(states)
    function = from_source(f"def derivatives({listed}):\n    return ({listed},)", "derivatives", {})
    checked = _checked(tuple(states))
    function.in_python = checked  # type: ignore[attr-defined]
    ordered = njit(function)
    # a module of its own, which another process gets with the model
    package, in_python = ModuleType(_STAND_IN), ModuleType(_STAND_IN)
    used = {name: getattr(fastcart, name) for name in sorted(named) if hasattr(fastcart, name)}
    package.__dict__.update(used, derivatives=ordered, in_python=in_python)
    in_python.__dict__.update(used, derivatives=checked)
    found = rebuild(rhs, {}, {derivatives: ordered, fastcart: package})
    found.py_func.put_in_order = rhs, tuple(states)
    return found


def _checked(states: tuple[str, ...]) -> Callable:
    """Make the `derivatives` of a model in Python, where names are checked."""

    def checked(*values: float, **rates: float) -> tuple[float, ...]:
        derivatives(*values, **rates)
        for name in rates:
            if name not in states:
                raise InputError(
                    f"fastcart.derivatives names {name!r}, which is no state." + nearest(name, states)
                )
        missing = [name for name in states if name not in rates]
        if missing:
            raise InputError(
                f"fastcart.derivatives lacks the state {missing[0]!r}; give each state its derivative, 0.0 "
                "where it stays."
            )
        return tuple(rates[name] for name in states)

    return checked


def unknown_name(model: Model | System, kind: str, name: str, where: str = "") -> str:
    """Say that an equation reads a state or parameter that the model does not have.

    Parameters
    ----------
    model : Model or System
    kind : str
        ``"States"`` or ``"Parameters"``: what was asked for the name.
    name : str
    where : str
        The line, from `fastcart.errors.located`.
    """
    word, letter, names = ("state", "y", model.state_names)
    other, others = (f"parameter: p.{name}", model.parameter_names)
    if kind == PARAMETERS:
        word, letter, names = ("parameter", "p", model.parameter_names)
        other, others = (f"state: y.{name}", model.state_names)
    hint = f" It is a {other}." if name in others else nearest(name, names)
    reads = f"an equation reads {letter}.{name}"
    return f"Model {model.name!r}: {reads}, but there is no {word} {name!r}{where}.{hint}"
