"""Let ``x ** y`` vectorise: a pass of the compiler that calls `fastcart.math.power` instead of the C library.

Python's operator has no name that could be given another meaning, as ``math.exp`` has. Exponents that are
literal multiples of one half stay: of these LLVM makes products and square roots.
"""

from __future__ import annotations

import operator
from typing import Any

from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.errors import ConstantInferenceError
from numba.core.ir_utils import build_definitions
from numba.core.untyped_passes import InlineClosureLikes

from fastcart.math import power

_PRODUCTS = 32  # the largest exponent of which LLVM makes products
_OPERATORS = (operator.pow, operator.ipow)


def _is_power(statement: Any, functions: Any) -> bool:
    """Whether a statement is ``z = x ** y`` with an exponent that is not made into products."""
    value = getattr(statement, "value", None)
    if not (isinstance(value, ir.Expr) and value.op in ("binop", "inplace_binop")):
        return False
    if value.fn not in _OPERATORS:
        return False
    try:
        exponent = functions.infer_constant(value.rhs)
    except ConstantInferenceError:
        return True
    if isinstance(exponent, int):
        return False
    return not (isinstance(exponent, float) and abs(exponent) <= _PRODUCTS and 2 * exponent % 1 == 0)


def _with_calls(block: Any, functions: Any) -> list[Any]:
    """Return the statements of a block with calls in the place of powers."""
    body = []
    for k, statement in enumerate(block.body):
        if not _is_power(statement, functions):
            body.append(statement)
            continue
        value, where = statement.value, statement.loc
        name = block.scope.redefine(f"$power.{k}", where)
        body.append(ir.Assign(ir.Global(power.__name__, power, where), name, where))
        call = ir.Expr.call(name, (value.lhs, value.rhs), (), where)
        body.append(ir.Assign(call, statement.target, where))
    return body


@register_pass(mutates_CFG=False, analysis_only=False)
class _CallPowers(FunctionPass):
    """Replace powers in all blocks of a function."""

    _name = "fastcart_call_powers"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        functions = state.func_ir
        bodies = {label: _with_calls(block, functions) for label, block in functions.blocks.items()}
        if all(len(body) == len(functions.blocks[label].body) for label, body in bodies.items()):
            return False
        for label, body in bodies.items():
            functions.blocks[label].body = body
        functions._definitions = build_definitions(functions.blocks)
        return True


class VectorPowers(CompilerBase):
    """numba's compiler with that pass, for ``numba.njit(pipeline_class=...)``."""

    # what becomes part of the machine code without being named by any function: for the fingerprint
    named = (power, _is_power, _with_calls)

    def define_pipelines(self) -> list[Any]:
        """Return numba's own passes, and the powers behind closures that become part of the function."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_CallPowers, InlineClosureLikes)
        passes.finalize()
        return [passes]
