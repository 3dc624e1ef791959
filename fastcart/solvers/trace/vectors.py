"""A graph as vector code, written for LLVM directly: what numba takes seconds for is done in tenths.

The elementary functions are those of `fastcart.math`, for whole vectors; the others are called number by
number from the C library. Results of a lane do not depend on its neighbours: all lanes run the same code.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llvmlite import ir

from fastcart.math import LN2_HIGH, LN2_LOW, LOG2_E, ROUND, TINY, TWO_54
from fastcart.solvers.trace.graph import LIBRARY, Graph, Traced, TraceError

WIDTH = 8  # numbers in a vector
_GONE = -708.4  # the exponential function of this is below the smallest number that is not subnormal
_LARGEST = 709.782712893384  # the exponential function of more is infinite
_NEVER_NEGATIVE = ("exp", "exp_bounded", "abs", "sqrt")
_FLUSHES = platform.machine() in ("x86_64", "AMD64")
_TO_ZERO = 0x8040  # results and operands that are subnormal are zero, in the register that says so
_FAST = ("contract", "nsz", "reassoc", "arcp")
_STRICT = ("contract", "nsz")  # constants in two parts must not be merged again

_EXP = (
    2.761380686153829e-07, 2.762511557828763e-06, 2.4801538368690766e-05, 0.00019841208732536384,
    0.0013888888905881542, 0.008333333353729397, 0.04166666666665136, 0.1666666666664829, 0.5, 1.0, 1.0,
)  # fmt: skip
_LOG = tuple(1.0 / k for k in range(23, 2, -2))
_double, _integer = ir.DoubleType(), ir.IntType(64)
_vector, _integers = ir.VectorType(_double, WIDTH), ir.VectorType(_integer, WIDTH)


class Code:
    """Code of one function, from its builder: what a graph asks for, vector by vector."""

    def __init__(self, builder: ir.IRBuilder):
        self.builder = builder
        self._logarithms: dict[int, Any] = {}

    def constant(self, value: float) -> Any:
        """Return a vector of copies of a number."""
        return ir.Constant(_vector, [float(value)] * WIDTH)

    def _whole(self, value: int) -> Any:
        return ir.Constant(_integers, [value] * WIDTH)

    def _multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        product = self.builder.fmul(a, b, flags=_STRICT)
        return self.builder.fadd(product, c, flags=_STRICT)

    def _less(self, a: Any, b: Any) -> Any:
        return self.builder.fcmp_ordered("<", a, b)

    def _polynomial(self, coefficients: Sequence[float], x: Any) -> Any:
        total = self.constant(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self._multiply_add(total, x, self.constant(coefficient))
        return total

    def _power_of_two(self, shifted: Any, bias: int) -> Any:
        """Return 2 to the power of the integer in the low bits of a number."""
        builder = self.builder
        exponent = builder.add(builder.bitcast(shifted, _integers), self._whole(bias))
        return builder.bitcast(builder.shl(exponent, self._whole(52)), _vector)

    def exp(self, x: Any, *, bounded: bool) -> Any:
        """Exponential function; see `fastcart.math.exp`, and `exp_bounded` there.

        What is too small is held where the power of two is 0 by itself. Where subnormal numbers are flushed,
        0 begins at -707.7.
        """
        builder, c = self.builder, self.constant
        held = x if bounded else builder.select(self._less(x, c(_GONE)), c(_GONE), x)
        most = c(709.0 if bounded else 709.79)
        held = builder.select(self._less(most, held), most, held)
        shifted = self._multiply_add(held, c(LOG2_E), c(ROUND))
        k = builder.fsub(shifted, c(ROUND), flags=("nsz",))
        high = builder.fsub(held, builder.fmul(k, c(LN2_HIGH), flags=_STRICT), flags=_STRICT)
        r = builder.fsub(high, builder.fmul(k, c(LN2_LOW), flags=_STRICT), flags=_STRICT)
        q = self._polynomial(_EXP, r)
        if bounded:
            return builder.fmul(q, self._power_of_two(shifted, 1023), flags=_STRICT)
        # 2**k could overflow, half of it does not
        half = builder.fmul(q, self._power_of_two(shifted, 1022), flags=_STRICT)
        # infinity is said for itself: a factor around this function might be multiplied with the half first
        twice = builder.fmul(half, c(2.0), flags=_STRICT)
        return builder.select(self._less(c(_LARGEST), x), c(math.inf), twice)

    def log(self, x: Any) -> Any:
        """Natural logarithm; see `fastcart.math.log`. Subnormal numbers are zero where they are flushed."""
        if id(x) in self._logarithms:
            return self._logarithms[id(x)][1]
        builder, c = self.builder, self.constant
        small = None if _FLUSHES else self._less(x, c(TINY))
        scaled = x if small is None else builder.select(small, builder.fmul(x, c(TWO_54)), x)
        bits = builder.bitcast(scaled, _integers)
        exponent = builder.or_(builder.lshr(bits, self._whole(52)), self._whole(0x4330000000000000))
        exponent = builder.fsub(builder.bitcast(exponent, _vector), c(4503599627371519.0))
        mantissa = builder.and_(bits, self._whole(0x000FFFFFFFFFFFFF))
        m = builder.bitcast(builder.or_(mantissa, self._whole(0x3FF0000000000000)), _vector)
        high = self._less(c(1.4142135623730951), m)
        m = builder.select(high, builder.fmul(m, c(0.5)), m)
        k = builder.fadd(exponent, builder.select(high, c(1.0), c(0.0)))
        if small is not None:
            k = builder.fsub(k, builder.select(small, c(54.0), c(0.0)))
        s = builder.fdiv(builder.fsub(m, c(1.0)), builder.fadd(m, c(1.0)))
        z = builder.fmul(s, s, flags=_STRICT)
        twice = builder.fadd(s, s)
        cubed = builder.fmul(builder.fmul(twice, z, flags=_STRICT), self._polynomial(_LOG, z), flags=_STRICT)
        y = self._multiply_add(k, c(LN2_LOW), builder.fadd(twice, cubed, flags=_STRICT))
        y = self._multiply_add(k, c(LN2_HIGH), y)
        y = builder.select(builder.fcmp_ordered("==", x, c(0.0)), c(-math.inf), y)
        y = builder.select(builder.fcmp_ordered("==", x, c(math.inf)), c(math.inf), y)
        y = builder.select(builder.fcmp_ordered(">=", x, c(0.0)), y, c(math.nan))
        self._logarithms[id(x)] = x, y  # x too, so that no other has its identity
        return y

    def power(self, x: Any, y: Any) -> Any:
        """Power with the signs of IEEE: a negative base has one for whole exponents."""
        builder, c = self.builder, self.constant
        value = self._power_of_size(self.magnitude(x), y)
        shifted = builder.fadd(y, c(ROUND))
        whole = builder.fcmp_ordered("==", builder.fsub(shifted, c(ROUND)), y)
        odd = builder.shl(builder.bitcast(shifted, _integers), self._whole(63))
        signed = builder.bitcast(builder.xor(builder.bitcast(value, _integers), odd), _vector)
        value = builder.select(self._less(x, c(0.0)), builder.select(whole, signed, c(math.nan)), value)
        return self._one_where_defined(x, y, value)

    def power_of_nonnegative(self, x: Any, y: Any) -> Any:
        """Power of a base that is known not to be negative."""
        return self._one_where_defined(x, y, self._power_of_size(x, y))

    def _power_of_size(self, x: Any, y: Any) -> Any:
        return self.exp(self.builder.fmul(y, self.log(x), flags=_STRICT), bounded=False)

    def _one_where_defined(self, x: Any, y: Any, value: Any) -> Any:
        """Return 1 for the exponent 0 and the base 1, whatever the other is, else the value."""
        builder, c = self.builder, self.constant
        one = builder.or_(builder.fcmp_ordered("==", y, c(0.0)), builder.fcmp_ordered("==", x, c(1.0)))
        return builder.select(one, c(1.0), value)

    def magnitude(self, x: Any) -> Any:
        """Absolute value."""
        bits = self.builder.and_(self.builder.bitcast(x, _integers), self._whole(0x7FFFFFFFFFFFFFFF))
        return self.builder.bitcast(bits, _vector)

    def intrinsic(self, name: str, x: Any) -> Any:
        """Call what LLVM has for vectors."""
        kind = ir.FunctionType(_vector, [_vector])
        return self.builder.call(self._declared(f"llvm.{name}.v{WIDTH}f64", kind), [x])

    def library(self, name: str, x: Any) -> Any:
        """Call a function of the C library for each number."""
        function = self._declared(name, ir.FunctionType(_double, [_double]))
        result = ir.Constant(_vector, ir.Undefined)
        for place in range(WIDTH):
            at = ir.Constant(ir.IntType(32), place)
            number = self.builder.call(function, [self.builder.extract_element(x, at)])
            result = self.builder.insert_element(result, number, at)
        return result

    def _declared(self, name: str, kind: ir.FunctionType) -> Any:
        known = self.builder.module.globals
        return known[name] if name in known else ir.Function(self.builder.module, kind, name)

    def extreme(self, a: Any, b: Any, *, larger: bool) -> Any:
        """Return the larger or the smaller; where one is no number, the first."""
        pick = self._less(a, b) if larger else self._less(b, a)
        return self.builder.select(pick, b, a)

    def rough_reciprocal(self, x: Any) -> Any:
        """See `fastcart.math.rough_reciprocal`."""
        bits = self.builder.sub(self._whole(0x7FDE6238502484BA), self.builder.bitcast(x, _integers))
        return self.builder.bitcast(bits, _vector)

    def rough_sqrt(self, x: Any) -> Any:
        """See `fastcart.math.rough_sqrt`."""
        half = self.builder.ashr(self.builder.bitcast(x, _integers), self._whole(1))
        return self.builder.bitcast(self.builder.add(half, self._whole(0x1FF7A3BEA91D9B1B)), _vector)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": lambda code, a, b: code.builder.fadd(a, b, flags=_FAST),
    "-": lambda code, a, b: code.builder.fsub(a, b, flags=_FAST),
    "*": lambda code, a, b: code.builder.fmul(a, b, flags=_FAST),
    "/": lambda code, a, b: code.builder.fdiv(a, b, flags=_FAST),
    "negative": lambda code, a: code.builder.fsub(code.constant(-0.0), a, flags=_FAST),
    "reciprocal": lambda code, a: code.builder.fdiv(code.constant(1.0), a, flags=_STRICT),
    "exp": lambda code, a: code.exp(a, bounded=False),
    "exp_bounded": lambda code, a: code.exp(a, bounded=True),
    "log": lambda code, a: code.log(a),
    "power": lambda code, a, b: code.power(a, b),
    "power of nonnegative": lambda code, a, b: code.power_of_nonnegative(a, b),
    "sqrt": lambda code, a: code.intrinsic("sqrt", a),
    "floor": lambda code, a: code.intrinsic("floor", a),
    "abs": lambda code, a: code.magnitude(a),
    "max": lambda code, a, b: code.extreme(a, b, larger=True),
    "min": lambda code, a, b: code.extreme(a, b, larger=False),
    "<": lambda code, a, b: code.builder.fcmp_ordered("<", a, b),
    "<=": lambda code, a, b: code.builder.fcmp_ordered("<=", a, b),
    "==": lambda code, a, b: code.builder.fcmp_ordered("==", a, b),
    "!=": lambda code, a, b: code.builder.fcmp_unordered("!=", a, b),
    "&": lambda code, a, b: code.builder.and_(a, b),
    "|": lambda code, a, b: code.builder.or_(a, b),
    "not": lambda code, a: code.builder.not_(a),
    "where": lambda code, c, a, b: code.builder.select(c, a, b),
    "rough_reciprocal": lambda code, a: code.rough_reciprocal(a),
    "rough_sqrt": lambda code, a: code.rough_sqrt(a),
}


def module_text(
    graph: Graph, name: str, *, inputs: Mapping[tuple[str, int], int], single: Mapping[tuple[str, int], int],
    outputs: Sequence[tuple[Any, int]], lanes: int, side_by_side: int = 1,
) -> str:  # fmt: skip
    """Return the text of a module with ``void name(double *buffer)``, for all lanes of a buffer.

    Parameters
    ----------
    graph : Graph
    name : str
    inputs : mapping
        Where the rows of ``lanes`` numbers of each input begin in the buffer, by name and place.
    single : mapping
        The same for inputs that all lanes share.
    outputs : sequence of (number, int)
        What is written, and to which row: all is computed before.
    lanes : int
        A multiple of ``side_by_side`` times `WIDTH`.
    side_by_side : int
        Vectors that are worked on in turn, operation by operation: where each waits for the one before, as in
        an exponential function, the processor has the other's meanwhile. Results do not depend on it.

    Raises
    ------
    TraceError
        For an operation that has no code.
    """
    module = ir.Module(name)
    pointer = _double.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer]), name)
    buffer = function.args[0]
    buffer.add_attribute("noalias")
    entry, body, end = (function.append_basic_block(label) for label in ("entry", "body", "end"))
    builder = ir.IRBuilder(entry)

    def place(row: int, lane: Any) -> Any:
        return builder.gep(buffer, [builder.add(lane, ir.Constant(_integer, row))])

    restore = _without_subnormals(builder)
    zero = ir.Constant(_integer, 0)
    shared = {key: _spread(builder, builder.load(place(row, zero), align=8)) for key, row in single.items()}
    builder.branch(body)
    builder.position_at_end(body)
    lane = builder.phi(_integer)
    lane.add_incoming(zero, entry)
    code = Code(builder)
    firsts = [builder.add(lane, ir.Constant(_integer, WIDTH * k)) for k in range(side_by_side)]
    values: list[dict[int, Any]] = [{} for _ in firsts]
    nonnegative: set[int] = set()  # nodes that are plainly not below zero
    for number in graph.used(output for output, _ in outputs):
        operation, arguments = graph.operations[number], graph.arguments[number]
        if _never_negative(operation, arguments, nonnegative):
            nonnegative.add(number)
        if operation == "power" and _in_or_constant(arguments[0], nonnegative):
            operation = "power of nonnegative"
        for first, known in zip(firsts, values, strict=True):
            if operation != "input":
                known[number] = _result(code, operation, arguments, known)
            elif arguments in shared:
                known[number] = shared[arguments]
            else:
                at = builder.bitcast(place(inputs[arguments], first), _vector.as_pointer())
                known[number] = builder.load(at, align=8)
    for output, row in outputs:
        for first, known in zip(firsts, values, strict=True):
            value = known[output.number] if isinstance(output, Traced) else code.constant(output)
            builder.store(value, builder.bitcast(place(row, first), _vector.as_pointer()), align=8)
    following = builder.add(lane, ir.Constant(_integer, WIDTH * side_by_side))
    lane.add_incoming(following, body)
    more = builder.icmp_signed("<", following, ir.Constant(_integer, lanes))
    builder.cbranch(more, body, end)
    builder.position_at_end(end)
    restore()
    builder.ret_void()
    return str(module)


def _without_subnormals(builder: ir.IRBuilder) -> Callable[[], None]:
    """Let the processor take numbers below 1e-307 for zero from here on; return what ends that.

    A cell that is long gone times a rate is such a number, and each takes some hundred cycles on processors
    that have a register for this.
    """
    if not _FLUSHES:
        return lambda: None
    integer, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer])
    store, load = (ir.Function(builder.module, kind, f"llvm.x86.sse.{way}mxcsr") for way in ("st", "ld"))
    before, now = builder.alloca(integer), builder.alloca(integer)
    builder.call(store, [builder.bitcast(before, pointer)])
    builder.store(builder.or_(builder.load(before), ir.Constant(integer, _TO_ZERO)), now)
    builder.call(load, [builder.bitcast(now, pointer)])

    def restore() -> None:
        builder.call(load, [builder.bitcast(before, pointer)])

    return restore


def _in_or_constant(argument: Any, nonnegative: set[int]) -> bool:
    """Whether an argument is one of these nodes, or a constant that is not below zero."""
    return argument >= 0.0 if type(argument) is float else argument in nonnegative


def _never_negative(operation: str, arguments: Sequence[Any], known: set[int]) -> bool:
    """Whether it is plain to see that a result is not below zero; it may be no number.

    ``known`` are the nodes before of which this is known.
    """
    if operation == "max":  # the first, where the other is no number
        return _in_or_constant(arguments[0], known) or (type(arguments[1]) is float and arguments[1] >= 0.0)
    if operation in ("min", "*", "+"):
        return all(_in_or_constant(argument, known) for argument in arguments)
    return operation in _NEVER_NEGATIVE


def _result(code: Code, operation: str, arguments: Sequence[Any], values: Mapping[int, Any]) -> Any:
    """Return the result of an operation on what is known."""
    operands = [values[x] if type(x) is int else code.constant(x) for x in arguments]
    if operation in LIBRARY:
        return code.library(operation, *operands)
    if operation in _OPERATIONS:
        return _OPERATIONS[operation](code, *operands)
    raise TraceError(f"needs {operation}, which has no vector code")


def _spread(builder: ir.IRBuilder, number: Any) -> Any:
    """Return a vector of copies of a number."""
    undefined = ir.Constant(_vector, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, undefined, zeros)
