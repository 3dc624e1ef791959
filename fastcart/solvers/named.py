"""States and parameters by name in equations: ``p.growth * y.C``.

Numbers stay in flat arrays; only where a right-hand side is called they get names. To numba they are a tuple
of floats, with all that such a tuple can do (unpack, index, slice, add), whose elements can also be read as
attributes. A name is looked up while compiling, so machine code is the same with names and without.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    models,
    register_model,
    typeof_impl,
)

from fastcart.solvers.system import PARAMETERS, STATES, System

if TYPE_CHECKING:
    from fastcart.model import Model


class NamedNumbers(types.UniTuple):
    """numba's type of a tuple of floats whose elements have names."""

    def __init__(self, kind: str, names: tuple[str, ...]):
        self.kind, self.names = kind, names
        super().__init__(types.float64, len(names))
        self.name = kind  # what numba's errors call it

    @property
    def key(self) -> Any:
        """What tells one such type from another."""
        return self.kind, self.names

    def __unliteral__(self) -> NamedNumbers:
        return self


register_model(NamedNumbers)(models.UniTupleModel)


@infer_getattr
class _ByName(AttributeTemplate):
    key = NamedNumbers

    def generic_resolve(self, numbers, name):  # type: ignore[override]
        return numbers.dtype if name in numbers.names else None


@lower_getattr_generic(NamedNumbers)
def _read(context, builder, kind, numbers, name):
    return builder.extract_value(numbers, kind.names.index(name))


class Values(tuple):
    """A tuple of numbers by name, in Python; `arguments` makes subclasses, which have the names."""

    __slots__ = ()
    __match_args__: tuple[str, ...]


@typeof_impl.register(Values)
def _typeof(values, _):
    return NamedNumbers(type(values).__name__, values.__match_args__)


def _as_in_source(names: Iterable[str]) -> tuple[str, ...]:
    """Return names as Python reads them in an equation: it takes the micro sign for a Greek letter."""
    return tuple(unicodedata.normalize("NFKC", name) for name in names)


@cache
def _values_class(kind: str, names: tuple[str, ...]) -> type[Values]:
    names = _as_in_source(names)
    elements = {name: property(itemgetter(i)) for i, name in enumerate(names)}
    return type(kind, (Values,), {**elements, "__slots__": (), "__match_args__": names})


def arguments(model: Model | System, y: Iterable[float], p: Iterable[float]) -> tuple[Values, Values]:
    """Return states and parameters with their names, for a right-hand side that is called from Python.

    Parameters
    ----------
    model : Model or System
    y, p : iterable of float
        In the order of the model's states and parameters.
    """
    return (
        _values_class(STATES, tuple(model.state_names))(y),
        _values_class(PARAMETERS, tuple(model.parameter_names))(p),
    )


@cache
def _naming(kind: str, names: tuple[str, ...]) -> Any:
    """Make what gives a tuple of floats its names, within a kernel; it costs no instruction."""
    named_numbers = NamedNumbers(kind, _as_in_source(names))

    @intrinsic
    def name(typingctx, numbers):
        def unchanged(context, builder, signature, values):
            return values[0]

        return named_numbers(types.UniTuple(types.float64, len(names))), unchanged

    name.in_python = _values_class(kind, names)  # type: ignore[attr-defined]  # what `plain` puts there
    return name


def naming(model: Model | System) -> dict[str, Any]:
    """Return what the text of `named_call` refers to, by name."""
    return {
        "states": _naming(STATES, tuple(model.state_names)),
        "parameters": _naming(PARAMETERS, tuple(model.parameter_names)),
        "read": _reading(len(model.parameter_names)),
    }


@cache
def _reading(count: int) -> Any:
    """Make what reads the first numbers of a contiguous row as a tuple, within a kernel.

    numba takes milliseconds to compile each ``row[k]`` of a text, a second for a large model.
    """

    @intrinsic
    def read(typingctx, row):
        def loads(context, builder, signature, values):
            data = context.make_array(row)(context, builder, values[0]).data
            place = ir.IntType(64)
            numbers = [builder.load(builder.gep(data, [ir.Constant(place, k)])) for k in range(count)]
            return context.make_tuple(builder, signature.return_type, numbers)

        return types.UniTuple(types.float64, count)(row), loads

    read.in_python = lambda row: tuple(row[:count])  # type: ignore[attr-defined]
    return read


def named(kind: str, values: Sequence[str]) -> str:
    """Return the text of a tuple with names; ``kind`` is ``"states"`` or ``"parameters"``."""
    return f"{kind}(({', '.join(values)},))" if values else "()"


def named_call(function: str, t: str, states: Sequence[str], parameters: Sequence[str] | str) -> str:
    """Return the text of a call of a right-hand side, or of observables, with names; see `naming`.

    Parameters
    ----------
    function, t : str
    states : sequence of str
        Texts of the values.
    parameters : sequence of str, or str
        Likewise, or the text of a tuple of all.
    """
    given = parameters if isinstance(parameters, str) else named("parameters", parameters)
    return f"{function}({t}, {named('states', states)}, {given})"


def read_parameters(model: Model | System, row: str) -> str:
    """Return the text of the parameters, which are the first numbers of a contiguous row of an array."""
    return f"parameters(read({row}))" if model.parameter_names else "()"
