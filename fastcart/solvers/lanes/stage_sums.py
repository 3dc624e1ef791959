"""Sums over stages as vector code, written for LLVM directly.

The same loops in generated Python source take seconds to compile: numba treats each of some hundred terms as
an object of its own. Here a sum is one loop over vectors of `WIDTH` numbers, which LLVM splits where the
processor has shorter ones. The order of additions is fixed, so results do not depend on neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastcart.solvers.lanes.layout import LANES, OF_ITSELF, STEEPER

WIDTH = 8  # numbers in a vector
_FLAGS = ("contract", "nsz")


def _integer(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)


def _vector() -> Any:
    return ir.VectorType(ir.DoubleType(), WIDTH)


def _constant(value: float) -> Any:
    return ir.Constant(_vector(), [float(value)] * WIDTH)


def _place(builder: Any, buffer: Any, offset: int, index: Any) -> Any:
    return builder.gep(buffer, [builder.add(index, _integer(offset))])


def _load(builder: Any, buffer: Any, offset: int, index: Any) -> Any:
    place = builder.bitcast(_place(builder, buffer, offset, index), _vector().as_pointer())
    return builder.load(place, align=8)


def _store(builder: Any, value: Any, buffer: Any, offset: int, index: Any) -> None:
    place = builder.bitcast(_place(builder, buffer, offset, index), _vector().as_pointer())
    builder.store(value, place, align=8)


def _spread(builder: Any, buffer: Any, offset: int, index: Any) -> Any:
    """Return a vector of copies of one number in the buffer."""
    number = builder.load(_place(builder, buffer, offset, index), align=8)
    undefined = ir.Constant(_vector(), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, undefined, zeros)


def _add(builder: Any, a: Any, b: Any) -> Any:
    return builder.fadd(a, b, flags=_FLAGS)


def _multiply(builder: Any, a: Any, b: Any) -> Any:
    return builder.fmul(a, b, flags=_FLAGS)


def _weighted(builder: Any, weights: Sequence[float], values: Sequence[Any]) -> Any:
    total = None
    for weight, value in zip(weights, values, strict=True):
        if weight != 0.0:
            term = _multiply(builder, _constant(weight), value)
            total = term if total is None else _add(builder, total, term)
    return _constant(0.0) if total is None else total


def _known(builder: Any, buffer: Any, k: Any, lane: Any, fresh: Any, same: Any) -> dict[int, Any]:
    """Put stages in their place that are elsewhere; return their values by place."""
    known = {}
    if fresh is not None:
        source, stage = fresh
        known[stage] = _load(builder, buffer, source, k)
        _store(builder, known[stage], buffer, stage, k)
    if same is not None:
        flag, last, first = same
        accepted = builder.fcmp_ordered("==", _load(builder, buffer, flag, lane), _constant(1.0))
        candidates = _load(builder, buffer, last, k), _load(builder, buffer, first, k)
        known[first] = builder.select(accepted, *candidates)
        _store(builder, known[first], buffer, first, k)
    return known


def _values(
    builder: Any, buffer: Any, k: Any, stages: Sequence[int], used: Sequence[bool], known: dict[int, Any]
) -> list[Any]:
    """Return the stages that are used, the others as None."""
    values = []
    for stage, wanted in zip(stages, used, strict=True):
        value = known.get(stage)
        values.append(_load(builder, buffer, stage, k) if wanted and value is None else value)
    return values


def _at(builder: Any, buffer: Any, stage: int, k: Any, known: dict[int, Any]) -> Any:
    """Return a stage, from what is known already where it is there."""
    return known[stage] if stage in known else _load(builder, buffer, stage, k)


def _allowed(
    builder: Any, numbers: Sequence[Any], start: Any, before: Any, larger: Any, slopes: Sequence[Any]
) -> Any:
    """Return how wrong a state may be, by its value ``start`` and its slopes at both ends of a step.

    ``before`` is the magnitude of ``start``, ``larger`` that of the larger of its values, and ``numbers`` are
    its tolerances, see `error_sums`. What grows by itself is measured by itself.
    """
    absolute, relative, faint, _ = numbers
    usual = _add(builder, absolute, _multiply(builder, relative, larger))
    of_itself = _multiply(builder, _multiply(builder, _constant(OF_ITSELF), relative), larger)
    less = _add(builder, faint, of_itself)
    first, last = slopes
    steep = _multiply(builder, _constant(STEEPER), _multiply(builder, first, first))
    twice = _multiply(builder, _constant(2.0), before)
    grows = builder.fcmp_ordered("<", less, usual)
    for small, large in (
        (_constant(0.0), _multiply(builder, start, first)), (twice, larger),
        (steep, _multiply(builder, first, last)),
    ):  # fmt: skip
        grows = builder.and_(grows, builder.fcmp_ordered("<", small, large))
    return builder.select(grows, less, usual)


def _allowed_of_integral(
    builder: Any, magnitude: Any, numbers: Sequence[Any], values: tuple[Any, Any], larger: Any, h: Any,
    slopes: Sequence[Any],
) -> Any:  # fmt: skip
    """Return how wrong an integral may be, by its values and slopes at both ends of a step of length ``h``.

    ``numbers`` are its tolerances, see `error_sums`; ``larger`` is the larger of its values.
    """
    absolute, relative, so_far, part = numbers
    rise, change = (builder.call(magnitude, [builder.fsub(y, x)]) for x, y in (values, slopes))
    size = _add(builder, rise, _multiply(builder, so_far, larger))
    allowed = _add(builder, absolute, _multiply(builder, relative, size))
    return _add(builder, allowed, _multiply(builder, _multiply(builder, part, h), change))


def stage_input(
    weights: Sequence[float], stages: Sequence[int], *, size: int, start: int, time: int, step: int, out: int,
    node: float, fresh: tuple[int, int] | None = None, same: tuple[int, int, int] | None = None,
) -> Any:  # fmt: skip
    """Make ``f(buffer)``: where to evaluate next, at ``start + h sum_j w_j k_j`` and time ``t + c h``.

    Parameters
    ----------
    weights : sequence of float
    stages : sequence of int
        Where each stage begins in the buffer.
    size : int
        Length of a stage: states times lanes.
    start, time, step, out : int
        Where the states at the start, the times and steps of the lanes, and the result begin: states, then
        time.
    node : float
        The number c.
    fresh : (int, int), optional
        Where derivatives were just evaluated, and the stage that they are.
    same : (int, int, int), optional
        Flags of the lanes, last stage, first stage: where the flag is 1, the last stage of the step before
        becomes the first of this.

    Returns
    -------
    numba intrinsic
    """

    @intrinsic
    def function(typingctx, buffer):
        def codegen(context, builder, signature, args):
            buffer = args[0]
            with cgutils.for_range(builder, _integer(size // WIDTH)) as loop:
                k = builder.mul(loop.index, _integer(WIDTH))
                lane = builder.and_(k, _integer(LANES - 1))
                known = _known(builder, buffer, k, lane, fresh, same)
                values = _values(builder, buffer, k, stages, [w != 0.0 for w in weights], known)
                total = _weighted(builder, weights, values)
                rise = _multiply(builder, _load(builder, buffer, step, lane), total)
                _store(builder, _add(builder, _load(builder, buffer, start, k), rise), buffer, out, k)
            with cgutils.for_range(builder, _integer(LANES // WIDTH)) as loop:
                lane = builder.mul(loop.index, _integer(WIDTH))
                later = _multiply(builder, _constant(node), _load(builder, buffer, step, lane))
                t = _add(builder, _load(builder, buffer, time, lane), later)
                _store(builder, t, buffer, out + size, lane)
            return context.get_dummy_value()

        return types.void(buffer), codegen

    return function


def error_sums(
    estimates: Sequence[Sequence[float]], confirming: Sequence[float], stages: Sequence[int], *, states: int,
    integrals: int, old: int, new: int, tolerance: int, step: int, out: Sequence[int], own_out: int,
    fresh: tuple[int, int] | None = None,
) -> Any:  # fmt: skip
    """Make ``f(buffer)``: sums over the states of (h times estimate / tolerance) squared.

    Integrals do not enter the sums, so that to ask for one does not loosen the others: a sum is raised to
    what it would be if each state erred as much, in its tolerances, as the worst integral does.

    Parameters
    ----------
    estimates : sequence of sequences of float
        Weights of the stages, for each estimate.
    confirming : sequence of float
        Weights of another estimate: the first one of an integral is at least this.
    stages : sequence of int
        Where each stage begins in the buffer.
    states : int
    integrals : int
        How many of the states, the last ones, are integrals; their tolerance is said differently.
    old, new : int
        Where the states before and after the step begin.
    tolerance : int
        Where the absolute and, behind them, the relative tolerances of the states begin; then the absolute
        tolerances of states that grow by themselves. Those of integrals are relative to their rise in the
        step, and to a part of what they are so far, which has the same place; the last are added, as parts of
        the step times the change of the integrand within it.
    step : int
        Where the steps of the lanes begin.
    out : sequence of int
        Where the row of each estimate begins.
    own_out : int
        Where the first estimate goes without what integrals add to it; only where there are any.
    fresh : (int, int), optional
        As for `stage_input`.

    Returns
    -------
    numba intrinsic
    """

    @intrinsic
    def function(typingctx, buffer):
        def codegen(context, builder, signature, args):
            buffer = args[0]
            kind = ir.FunctionType(_vector(), [_vector()])
            magnitude = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fabs.v{WIDTH}f64")
            totals = [cgutils.alloca_once(builder, _vector()) for _ in out]
            needed = [*estimates, confirming] if integrals else estimates
            used = [any(w != 0.0 for w in of_stage) for of_stage in zip(*needed, strict=True)]
            with cgutils.for_range(builder, _integer(LANES // WIDTH)) as loop:
                lane = builder.mul(loop.index, _integer(WIDTH))
                for total in totals:
                    builder.store(_constant(0.0), total)

                def squares(i, of_integral):
                    """Yield the square of each estimate of state ``i``, in its tolerances."""
                    k = builder.add(builder.mul(i, _integer(LANES)), lane)
                    known = _known(builder, buffer, k, lane, fresh, None)
                    before, after = (_load(builder, buffer, x, k) for x in (old, new))
                    a, b = (builder.call(magnitude, [x]) for x in (before, after))
                    larger = builder.select(builder.fcmp_ordered(">", a, b), a, b)  # NaN of the new stays
                    h = _load(builder, buffer, step, lane)
                    numbers = [_spread(builder, buffer, tolerance + x * states, i) for x in range(4)]
                    ends = [_at(builder, buffer, x, k, known) for x in (stages[0], stages[-1])]
                    if of_integral:
                        allowed = _allowed_of_integral(
                            builder, magnitude, numbers, (before, after), larger, h, ends
                        )
                    else:
                        allowed = _allowed(builder, numbers, before, a, larger, ends)
                    factor = builder.fdiv(h, allowed)
                    values = _values(builder, buffer, k, stages, used, known)

                    def square(weights):
                        e = _multiply(builder, _weighted(builder, weights, values), factor)
                        return _multiply(builder, e, e)

                    first, *others = (square(weights) for weights in estimates)
                    if of_integral:
                        other = square(confirming)
                        less = builder.fcmp_ordered("<=", other, first)  # not so where one is NaN
                        first = builder.select(less, first, other)
                    yield from (first, *others)

                own = states - integrals
                with cgutils.for_range(builder, _integer(own)) as inner:
                    for total, square in zip(totals, squares(inner.index, False), strict=True):
                        builder.store(_add(builder, builder.load(total), square), total)
                if integrals:
                    _store(builder, builder.load(totals[0]), buffer, own_out, lane)
                    with cgutils.for_range(builder, _integer(integrals)) as inner:
                        i = builder.add(inner.index, _integer(own))
                        for total, square in zip(totals, squares(i, True), strict=True):
                            alone = _multiply(builder, _constant(own), square)
                            so_far = builder.load(total)
                            more = builder.fcmp_ordered(">", alone, so_far)
                            worst = builder.select(more, alone, so_far)
                            nothing = _multiply(builder, _constant(0.0), alone)  # but for its NaN
                            builder.store(_add(builder, worst, nothing), total)
                for total, row in zip(totals, out, strict=True):
                    _store(builder, builder.load(total), buffer, row, lane)
            return context.get_dummy_value()

        return types.void(buffer), codegen

    return function
