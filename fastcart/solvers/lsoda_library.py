"""numbalsoda's LSODA as symbols that cached kernels link to, and calls through function addresses."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastcart.errors import MissingDependencyError


def library_path() -> Path:
    """Return numbalsoda's shared library without importing numbalsoda, which compiles for seconds.

    Raises
    ------
    MissingDependencyError
        Where it is not installed.
    """
    spec = importlib.util.find_spec("numbalsoda")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "Engine 'lsoda', to which 'auto' turns for patients that nothing else solves, needs the package "
            "'numbalsoda', which is not installed: pip install numbalsoda, with a Fortran and a C++ compiler "
            "(Debian: apt-get install gfortran g++); without compilers pip install --find-links FOLDER "
            "numbalsoda, with a wheel of it in FOLDER, or conda install -c conda-forge numbalsoda."
        )
    suffix = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
    return Path(spec.submodule_search_locations[0]) / f"liblsoda{suffix}"


# Loaded for the whole process, so that a kernel from the disk cache finds the symbol by name; a ctypes
# address would be a constant of this process and could not be cached.
llvmlite.binding.load_library_permanently(str(library_path()))

_pointer = types.CPointer(types.float64)

lsoda_wrapper = types.ExternalFunction(
    "lsoda_wrapper",
    types.void(
        types.intp,  # address of the right-hand side
        types.int32,  # number of states
        types.intp,  # initial values
        types.intp,  # data passed to the right-hand side
        types.int32,  # number of output times
        types.intp,  # output times
        types.intp,  # output, times x states
        types.float64,  # rtol
        types.float64,  # atol
        types.int32,  # steps allowed between two output times
        types.intp,  # success, int32
    ),
)

rhs_signature = types.void(types.float64, _pointer, _pointer, _pointer)
# of time, states, derivatives; parameters with scales behind them, rates of infusion; what else is told
derivatives_signature = types.void(types.float64, *(_pointer,) * 5)


@intrinsic
def call_rhs(typingctx, address, t, u, du, data):
    """Call the C function at ``address`` with the addresses of its arrays."""
    signature = types.void(types.intp, types.float64, types.intp, types.intp, types.intp)

    def codegen(context, builder, signature, args):
        double = ir.DoubleType()
        pointer = double.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [double, pointer, pointer, pointer])
        function = builder.inttoptr(args[0], kind.as_pointer())
        arrays = [builder.inttoptr(a, pointer) for a in args[2:]]
        builder.call(function, [args[1], *arrays])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def call_derivatives(typingctx, address, t, u, du, p, rates, told):
    """Call the C function at ``address``, see `derivatives_signature`."""
    signature = types.void(types.intp, *derivatives_signature.args)

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [a.type for a in args[1:]])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def behind(typingctx, pointer, count):
    """Return the pointer to what lies ``count`` numbers behind, or before."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return _pointer(_pointer, types.intp), codegen
