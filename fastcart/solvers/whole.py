"""Named tuples that kernels hand on whole.

numba takes a named tuple apart where a function is called, one argument for each number and each part of an
array in it, and puts it together again within: half of what the loop over lanes would consist of. Those that
are declared here are one argument each, whatever they hold.
"""

from __future__ import annotations

from typing import Any, TypeVar

from numba import types
from numba.core import errors
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic, models, register_model, typeof_impl

_Class = TypeVar("_Class", bound=type)


class WholeTuple(types.NamedTuple):
    """numba's type of such a named tuple."""

    def __init__(self, kinds: tuple[types.Type, ...], instance_class: type):
        super().__init__(kinds, instance_class)
        self.name = f"whole {self.name}"


@register_model(WholeTuple)
class _Whole(models.TupleModel):
    """How it is kept: as other named tuples are, also as an argument."""

    def get_argument_type(self) -> Any:
        return self.get_value_type()

    def as_argument(self, builder: Any, value: Any) -> Any:
        return value

    def from_argument(self, builder: Any, value: Any) -> Any:
        return value


def whole(named_tuple: _Class) -> _Class:
    """Declare a class of named tuples, which Python makes and kernels take."""
    typeof_impl.register(named_tuple)(_typeof)
    return named_tuple


def _typeof(value: Any, context: Any) -> WholeTuple | None:
    kinds = tuple(typeof_impl(part, context) for part in value)
    return None if any(kind is None for kind in kinds) else WholeTuple(kinds, type(value))


@intrinsic
def as_whole(_context, named_tuple):
    """Return a named tuple that was made within a kernel, to be handed on whole."""
    if type(named_tuple) is not types.NamedTuple:
        raise errors.TypingError(f"no named tuple of several kinds: {named_tuple}")
    kind = WholeTuple(named_tuple.types, named_tuple.instance_class)

    def same(context, builder, signature, arguments):
        return impl_ret_borrowed(context, builder, kind, arguments[0])  # arrays in it are counted once more

    return kind(named_tuple), same
