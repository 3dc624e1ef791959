"""Call a compiled C function by its address, so that one driver serves every model."""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from fastcart.solvers.compile import INNER


@intrinsic
def _call(typingctx, address, buffer):
    """Call ``void f(double *)`` at ``address``."""
    signature = types.void(types.intp, types.intp)

    def codegen(context, builder, signature, args):
        pointer = ir.DoubleType().as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer])
        function = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(args[1], pointer)])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _fetch_add(typingctx, address, amount):
    """Add to the 64-bit number at ``address`` in one piece, whatever other threads do; return what it was."""
    signature = types.intp(types.intp, types.intp)

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, args[1], "monotonic")

    return signature, codegen


@njit(**INNER)
def claim(counter, amount):
    """Take the next ``amount`` of what all threads share; return the first."""
    return _fetch_add(counter.ctypes.data, amount)


@njit(**INNER)
def evaluate(address, buffer):
    """Evaluate the right-hand side of all lanes in their buffer."""
    _call(address, buffer.ctypes.data)


def repeat(address, buffer, count):
    """Evaluate the right-hand side many times, to measure it."""
    for _ in range(count):
        evaluate(address, buffer)


STEP_SIGNATURE = types.void(types.intp, types.CPointer(types.float64), types.intp)


@intrinsic
def _call_step(typingctx, address, ev, buffer, burden):
    """Call ``void f(intptr ev, double *buffer, intptr burden)`` at ``address``."""
    signature = types.void(types.intp, types.intp, types.intp, types.intp)

    def codegen(context, builder, signature, args):
        pointer = ir.DoubleType().as_pointer()
        integer = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [integer, pointer, integer])
        function = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(function, [args[1], builder.inttoptr(args[2], pointer), args[3]])
        return context.get_dummy_value()

    return signature, codegen


@njit(**INNER)
def take_step(address, ev, buffer, burden):
    """Advance all lanes by one step with the compiled step function at ``address``."""
    _call_step(address, ev, buffer.ctypes.data, burden)
