"""How far a quantity goes within a step, and whether it turns: vector code for all lanes at once.

The slope on a step is a polynomial whose Bernstein coefficients are sums over the stages. Where they all
have one sign, nothing turns; where not, the steepest of them bound how far a state can get beyond its ends.
What turns at most below its end, as what grows from nearly nothing may, is bounded by its end: the rise from
anywhere in the step to the end has for coefficients the sums of the last coefficients of the slope.
Only steps that turn near something that is looked for are then looked at closely.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.layout import LANES, Offsets
from fastcart.solvers.lanes.stage_sums import (
    WIDTH,
    _add,
    _constant,
    _integer,
    _load,
    _multiply,
    _store,
    _weighted,
)

# rows of the bounds of each state
LOW, HIGH, TURNS = range(3)

_MARGIN = 0.02  # of the largest slope: below it the sign of a coefficient is not trusted
_SLACK = 0.1  # of the range, added to both sides where an integrand turns
_ROUNDING = 1e-12


def step_bounds(  # noqa: C901  one vector of lanes, from the stages to what is stored
    weights: np.ndarray, at: Offsets, *, size: int, by_time: bool, of_integrand: bool
) -> Any:
    """Make ``f(buffer, b, place)``: the bounds of a state, to be put at ``place`` in the buffer.

    ``b`` is where the state's lanes begin in each block, its number times `LANES`.

    Parameters
    ----------
    weights : ndarray, shape (coefficients, stages)
        From `fastcart.solvers.lanes.bernstein.slope_weights`.
    at : Offsets
        Of the step's buffer; the new states are in ``W``.
    size : int
        Length of a stage.
    by_time : bool
        Whether the stages are slopes, to be multiplied by the step; otherwise they are rises.
    of_integrand : bool
        Whether the state is an integral, and what is bounded is its integrand.

    Returns
    -------
    numba intrinsic
    """
    coefficients, stages = weights.shape

    @intrinsic
    def function(typingctx, buffer, b, place):
        def codegen(context, builder, signature, args):
            buffer, b, place = args
            kind = ir.FunctionType(_vector_type(), [_vector_type()])
            magnitude = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fabs.v{WIDTH}f64")

            def smaller(x, y):
                return builder.select(builder.fcmp_ordered("<", y, x), y, x)

            def larger(x, y):
                return builder.select(builder.fcmp_ordered(">", y, x), y, x)

            def subtract(x, y):
                return builder.fsub(x, y)

            with cgutils.for_range(builder, _integer(LANES // WIDTH)) as loop:
                lane = builder.mul(loop.index, _integer(WIDTH))
                k = builder.add(b, lane)
                used = [bool(weights[:, j].any()) for j in range(stages)]
                values = [
                    _load(builder, buffer, at.K + j * size, k) if used[j] or j in (0, stages - 1) else None
                    for j in range(stages)
                ]
                slopes = [_weighted(builder, row.tolist(), values) for row in weights]
                h = _load(builder, buffer, at.Q + q.H_USED * LANES, lane)
                if of_integrand:
                    corners = slopes if by_time else [builder.fdiv(s, h) for s in slopes]
                    samples = [v for v, wanted in zip(values, used, strict=True) if wanted and by_time]
                    within = [values[0], values[-1], *corners, *samples]
                    slopes = [subtract(y, x) for x, y in pairwise(corners)]
                else:
                    within = [_load(builder, buffer, at.U, k), _load(builder, buffer, at.W, k)]
                end = within[1]
                low = high = within[0]
                for value in within[1:]:
                    low, high = smaller(low, value), larger(high, value)
                least = most = slopes[0]
                for s in slopes[1:]:
                    least, most = smaller(least, s), larger(most, s)
                steepest = larger(builder.call(magnitude, [least]), builder.call(magnitude, [most]))
                margin = _multiply(builder, _constant(_MARGIN), steepest)
                if of_integrand:
                    largest = larger(builder.call(magnitude, [low]), builder.call(magnitude, [high]))
                    margin = _add(builder, margin, _multiply(builder, _constant(_ROUNDING), largest))
                    flat = builder.fcmp_ordered("<=", steepest, margin)  # nothing but rounding
                zero = _constant(0.0)
                falls = builder.fcmp_ordered("<", least, margin)
                rises = builder.fcmp_ordered(">", most, subtract(zero, margin))
                turns = builder.and_(falls, rises)
                ends_high = builder.and_(
                    _rises_to_end(builder, slopes, margin), builder.fcmp_ordered("<=", high, end)
                )
                if of_integrand:
                    turns = builder.and_(turns, builder.not_(flat))
                    down = up = _multiply(builder, _constant(_SLACK), subtract(high, low))
                else:  # from its ends it gets no further than its steepest slopes take it
                    down, up = subtract(zero, smaller(least, zero)), larger(most, zero)
                    if by_time:
                        down, up = _multiply(builder, down, h), _multiply(builder, up, h)
                low = subtract(low, builder.select(turns, down, zero))
                higher = builder.and_(turns, builder.not_(ends_high))
                high = _add(builder, high, builder.select(higher, up, zero))
                row = builder.add(place, lane)
                for which, value in (
                    (LOW, low),
                    (HIGH, high),
                    (TURNS, builder.select(turns, _constant(1.0), zero)),
                ):
                    _store(builder, value, buffer, which * LANES, row)
            return context.get_dummy_value()

        return types.void(buffer, b, place), codegen

    return function


def _rises_to_end(builder: Any, slopes: list[Any], margin: Any) -> Any:
    """Return whether nothing lies above the end of the step: no sum of last coefficients is negative."""
    zero = _constant(0.0)
    rise = least = zero
    for slope in reversed(slopes):
        rise = _add(builder, rise, builder.fsub(slope, margin))
        least = builder.select(builder.fcmp_ordered("<", rise, least), rise, least)
    return builder.fcmp_ordered(">=", least, zero)


def _vector_type() -> Any:
    return ir.VectorType(ir.DoubleType(), WIDTH)
