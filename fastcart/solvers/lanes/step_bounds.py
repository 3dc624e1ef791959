"""How far a quantity goes within a step, and whether it turns: vector code for all lanes at once.

The slope on a step is a polynomial whose Bernstein coefficients are sums over the stages. Where they all
have one sign, nothing turns; where not, the steepest of them bound how far a state can get beyond its ends.
What turns at most below its end, as what grows from nearly nothing may, is bounded by its end: the rise from
anywhere in the step to the end has for coefficients the sums of the last coefficients of the slope.
Only steps that turn near something that is looked for are then looked at closely.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

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
_MARGIN_OF_INTEGRAND = 0.1  # whose slopes at the ends are not exact
_SLACK = 0.1  # of the range, added to both sides where an integrand turns
_ROUNDING = 1e-12


class _Curve(NamedTuple):
    """How a quantity is known on a step: see `step_bounds`."""

    weights: np.ndarray
    at: Offsets
    size: int
    by_time: bool
    of_integrand: bool


class _Followed(NamedTuple):
    """Vectors of the values that a quantity has within a step, the second one at its end, and its slopes."""

    within: list[Any]
    slopes: list[Any]


def step_bounds(weights: np.ndarray, at: Offsets, *, size: int, by_time: bool, of_integrand: bool) -> Any:
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
    curve = _Curve(weights, at, size, by_time, of_integrand)

    @intrinsic
    def function(typingctx, buffer, b, place):
        def codegen(context, builder, signature, args):
            buffer, b, place = args
            with cgutils.for_range(builder, _integer(LANES // WIDTH)) as loop:
                lane = builder.mul(loop.index, _integer(WIDTH))
                k = builder.add(b, lane)
                h = _load(builder, buffer, at.Q + q.H_USED * LANES, lane)
                values = _bounded(builder, curve, _followed(builder, curve, buffer, k, h), h)
                row = builder.add(place, lane)
                for which, value in zip((LOW, HIGH, TURNS), values, strict=True):
                    _store(builder, value, buffer, which * LANES, row)
            return context.get_dummy_value()

        return types.void(buffer, b, place), codegen

    return function


def _followed(builder: Any, curve: _Curve, buffer: Any, k: Any, h: Any) -> _Followed:
    """Load what is known of a quantity on a step of length ``h``, from row ``k`` of the stages on."""
    at, stages = curve.at, curve.weights.shape[1]
    used = [bool(curve.weights[:, j].any()) for j in range(stages)]
    values = [
        _load(builder, buffer, at.K + j * curve.size, k) if used[j] or j in (0, stages - 1) else None
        for j in range(stages)
    ]
    slopes = [_weighted(builder, row.tolist(), values) for row in curve.weights]
    if not curve.of_integrand:
        return _Followed([_load(builder, buffer, at.U, k), _load(builder, buffer, at.W, k)], slopes)
    corners = slopes if curve.by_time else [builder.fdiv(s, h) for s in slopes]
    samples = [v for v, wanted in zip(values, used, strict=True) if wanted and curve.by_time]
    within = [values[0], values[-1], *corners, *samples]
    return _Followed(within, [builder.fsub(y, x) for x, y in pairwise(corners)])


def _bounded(builder: Any, curve: _Curve, known: _Followed, h: Any) -> tuple[Any, Any, Any]:
    """Return the bounds of a quantity on a step of length ``h``, and whether it turns there."""
    zero = _constant(0.0)
    low, high = _extremes(builder, known.within)
    least, most = _extremes(builder, known.slopes)
    steepest = _largest(builder, least, most)
    trusted = _MARGIN_OF_INTEGRAND if curve.of_integrand else _MARGIN
    margin = _multiply(builder, _constant(trusted), steepest)
    if curve.of_integrand:
        rounding = _multiply(builder, _constant(_ROUNDING), _largest(builder, low, high))
        margin = _add(builder, margin, rounding)
    falls = builder.fcmp_ordered("<", least, margin)
    rises = builder.fcmp_ordered(">", most, builder.fsub(zero, margin))
    turns = builder.and_(falls, rises)
    ends_high = builder.and_(
        _rises_to_end(builder, known.slopes, margin), builder.fcmp_ordered("<=", high, known.within[1])
    )
    if curve.of_integrand:
        flat = builder.fcmp_ordered("<=", steepest, margin)  # nothing but rounding
        turns = builder.and_(turns, builder.not_(flat))
        down = up = _multiply(builder, _constant(_SLACK), builder.fsub(high, low))
    else:  # from its ends it gets no further than its steepest slopes take it
        down, up = builder.fsub(zero, _smaller(builder, least, zero)), _larger(builder, most, zero)
        if curve.by_time:
            down, up = _multiply(builder, down, h), _multiply(builder, up, h)
    low = builder.fsub(low, builder.select(turns, down, zero))
    higher = builder.and_(turns, builder.not_(ends_high))
    high = _add(builder, high, builder.select(higher, up, zero))
    return low, high, builder.select(turns, _constant(1.0), zero)


def _smaller(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", y, x), y, x)


def _larger(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", y, x), y, x)


def _extremes(builder: Any, values: list[Any]) -> tuple[Any, Any]:
    """Return the smallest and the largest of some vectors, lane by lane."""
    low = high = values[0]
    for value in values[1:]:
        low, high = _smaller(builder, low, value), _larger(builder, high, value)
    return low, high


def _largest(builder: Any, x: Any, y: Any) -> Any:
    """Return the larger magnitude."""
    kind = ir.FunctionType(_vector_type(), [_vector_type()])
    magnitude = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fabs.v{WIDTH}f64")
    return _larger(builder, builder.call(magnitude, [x]), builder.call(magnitude, [y]))


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
