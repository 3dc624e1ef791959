"""Elementary functions that LLVM can vectorise across patients: ``exp``, ``log``, ``pow``, ``sqrt``.

The C library's functions stop vectorisation; these are branch-free polynomials with bit operations on the
exponent, accurate to a few units in the last place. A model may call them by name; in the lane engine they
also stand in for ``math.exp``, ``math.log``, ``math.pow``, their NumPy namesakes and ``x ** y``.

References
----------
J.-M. Muller et al., Handbook of Floating-Point Arithmetic, 2nd ed. (2018), ch. 10: argument reduction
``x = k ln 2 + r`` with ln 2 in two parts (Cody & Waite), and ``log m = 2 artanh((m - 1)/(m + 1))``.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

_FAST: dict[str, Any] = {
    "fastmath": {"nsz", "arcp", "contract", "reassoc", "afn"},
    "error_model": "numpy",
    "boundscheck": False,
    "no_cfunc_wrapper": True,
    "forceinline": True,
}
# The reductions below split constants in two parts; reassociation would merge them again.
_STRICT: dict[str, Any] = {**_FAST, "fastmath": {"nsz", "contract"}}
# zeros have signs
_EXACT: dict[str, Any] = {**_FAST, "fastmath": {"contract"}}

LOG2_E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
ROUND = 6755399441055744.0  # 1.5 * 2**52: adding it rounds to an integer in the low bits
TINY = 2.2250738585072014e-308
_TWO_52 = 4503599627370496.0
TWO_54 = 18014398509481984.0


def _bits(x):
    """The 64 bits of a double as an integer."""
    return struct.unpack("<q", struct.pack("<d", x))[0]


def _double(i):
    """The double with these 64 bits."""
    return struct.unpack("<d", struct.pack("<Q", i & 0xFFFFFFFFFFFFFFFF))[0]


@intrinsic
def _cast_to_bits(typingctx, x):

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def _cast_to_double(typingctx, i):

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@overload(_bits, jit_options={"forceinline": True})
def _compiled_bits(x):
    return lambda x: _cast_to_bits(x)


@overload(_double, jit_options={"forceinline": True})
def _compiled_double(i):
    return lambda i: _cast_to_double(i)


@intrinsic
def ratio(typingctx, a, b):
    """``a / b`` with leave to cancel a factor ``b`` of ``a``; only for b not zero."""

    def codegen(context, builder, signature, args):
        return builder.fdiv(args[0], args[1], flags=("reassoc", "nnan", "nsz", "arcp", "contract"))

    return types.float64(types.float64, types.float64), codegen


@njit(**_STRICT)
def exp_bounded(x):
    """Exponential function for x from -708 up; what the engine applies to logarithms of states.

    Above 709 it is held there, at 8e307; NaN may come out as a number. The relative error is at most 3e-15:
    the polynomial of degree 10 agrees with ``exp(r)`` at Chebyshev points of ``|r| <= ln(2)/2``.
    """
    x = min(x, 709.0)
    shifted = x * LOG2_E + ROUND
    k = shifted - ROUND
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    q = 2.761380686153829e-07
    q = q * r + 2.762511557828763e-06
    q = q * r + 2.4801536388690766e-05
    q = q * r + 0.00019841208732536384
    q = q * r + 0.0013888888905881542
    q = q * r + 0.008333333353729397
    q = q * r + 0.04166666666665136
    q = q * r + 0.1666666666664829
    q = q * r + 0.5
    q = q * r + 1.0
    q = q * r + 1.0
    return q * _double((_bits(shifted) + 1023) << 52)


@njit(**_STRICT)
def exp(x):
    """Exponential function; 0 below -708 (no subnormals), infinite above 709.78, NaN for NaN."""
    bounded = min(max(x, -708.0), 709.79)
    shifted = bounded * LOG2_E + ROUND
    k = shifted - ROUND
    r = (bounded - k * LN2_HIGH) - k * LN2_LOW
    # Taylor's polynomial
    q = 1.0 / 6227020800.0
    q = q * r + 1.0 / 479001600.0
    q = q * r + 1.0 / 39916800.0
    q = q * r + 1.0 / 3628800.0
    q = q * r + 1.0 / 362880.0
    q = q * r + 1.0 / 40320.0
    q = q * r + 1.0 / 5040.0
    q = q * r + 1.0 / 720.0
    q = q * r + 1.0 / 120.0
    q = q * r + 1.0 / 24.0
    q = q * r + 1.0 / 6.0
    q = q * r + 0.5
    q = q * r + 1.0
    q = q * r + 1.0
    # 2**k could overflow, half of it does not
    y = q * _double((_bits(shifted) + 1022) << 52) * 2.0
    y = 0.0 if x < -708.0 else y
    y = math.inf if x > 709.782712893384 else y
    return y if x == x else x


@njit(**_STRICT)
def log(x):
    """Natural logarithm; -infinity at 0, NaN below."""
    small = x < TINY
    scaled = x * TWO_54 if small else x
    i = _bits(scaled)
    exponent = _double((i >> 52) | 0x4330000000000000) - 4503599627371519.0  # 2**52 + 1023
    m = _double((i & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    high = m > 1.4142135623730951
    m = 0.5 * m if high else m
    k = exponent + (1.0 if high else 0.0) - (54.0 if small else 0.0)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    q = 1.0 / 23.0
    q = q * z + 1.0 / 21.0
    q = q * z + 1.0 / 19.0
    q = q * z + 1.0 / 17.0
    q = q * z + 1.0 / 15.0
    q = q * z + 1.0 / 13.0
    q = q * z + 1.0 / 11.0
    q = q * z + 1.0 / 9.0
    q = q * z + 1.0 / 7.0
    q = q * z + 1.0 / 5.0
    q = q * z + 1.0 / 3.0
    y = (2.0 * s + 2.0 * s * z * q + k * LN2_LOW) + k * LN2_HIGH
    y = -math.inf if x == 0.0 else y
    y = math.inf if x == math.inf else y
    return y if x >= 0.0 else math.nan


@njit(**_FAST)
def sqrt(x):
    """Square root; a single instruction, here for completeness."""
    return math.sqrt(x)


@njit(**_EXACT)
def _upper(x):
    """The first 26 bits of a double: products of two such are exact."""
    return _double(_bits(x) & -134217728)


@njit(**_EXACT)
def _log2_in_two(x):
    """Logarithm to base 2 of a positive finite x, the sum of two: the first of 26 bits, together about 65."""
    small = x < TINY
    i = _bits(x * TWO_54 if small else x)
    exponent = _double((i >> 52) | 0x4330000000000000) - 4503599627371519.0  # 2**52 + 1023
    m = _double((i & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    high = m > 1.4142135623730951
    m = 0.5 * m if high else m
    k = exponent + (1.0 if high else 0.0) - (54.0 if small else 0.0)
    # s = (m - 1) / (m + 1) in two parts
    below, above = m - 1.0, m + 1.0
    inverse = 1.0 / above
    s = below * inverse
    s_high, above_high = _upper(s), _upper(above)
    above_low = m - (above_high - 1.0)
    s_low = ((below - s_high * above_high) - s_high * above_low) * inverse
    # log2 m = 2 / (3 ln 2) * s * (3 + s**2 + s**4 * q)
    z = s * s
    q = 0.19370244100204728
    q = q * z + 0.19928950910835924
    q = q * z + 0.23078361750688242
    q = q * z + 0.272727123774111
    q = q * z + 0.3333333340661617
    q = q * z + 0.4285714285700784
    q = q * z + 0.6000000000000004
    square = s_high * s_high
    rest = z * z * q + s_low * (s_high + s)
    series = _upper(3.0 + square + rest)
    series_low = rest - ((series - 3.0) - square)
    product, product_low = s_high * series, s_low * series + series_low * s
    p_high = _upper(product + product_low)
    p_low = product_low - (p_high - product)
    first = 0.9617966860532761 * p_high
    second = 7.872699542894897e-09 * p_high + 0.9617966939259756 * p_low
    total = _upper((first + second) + k)
    return total, second - ((total - k) - first)


@njit(**_EXACT)
def pow(x, y):
    """``x ** y`` with the signs, zeros, infinities and NaN of IEEE 754, subnormal results included.

    The error is at most 1.5 units in the last place, for all finite results that are not subnormal. The
    logarithm is kept in two parts, so that a large ``|y log x|`` does not cost digits.

    References
    ----------
    J.-M. Muller et al., Handbook of Floating-Point Arithmetic, 2nd ed. (2018), ch. 4: products of halves of
    doubles are exact (Veltkamp & Dekker); the C library of Sun (fdlibm, e_pow.c) has the same plan.
    """
    x, y = 1.0 * x, 1.0 * y
    size = abs(x)
    special = size == 0.0 or size == math.inf
    log_high, log_low = _log2_in_two(1.0 if special else size)
    bounded = min(max(y, -3.7e19), 3.7e19)  # beyond, everything but 1 overflows or underflows
    y_high = _upper(bounded)
    high, low = y_high * log_high, (bounded - y_high) * log_high + bounded * log_low
    z = high + low
    near = min(max(z, -1100.0), 1100.0)
    k = (near + ROUND) - ROUND
    r = (high - k) + low
    # 2**r - 1 = r * q
    q = 2.5729324177362305e-11
    q = q * r + 4.4558179083360645e-10
    q = q * r + 7.0548973041554995e-09
    q = q * r + 1.0178057087733941e-07
    q = q * r + 1.3215486808705563e-06
    q = q * r + 1.5252733841556773e-05
    q = q * r + 0.00015403530393370734
    q = q * r + 0.001333355814640647
    q = q * r + 0.00961812910762848
    q = q * r + 0.055504108664821625
    q = q * r + 0.24022650695910072
    q = q * r + 0.6931471805599453
    # 2**k may overflow or be subnormal where its two halves are not
    shifted = 0.5 * k + ROUND
    k_half = shifted - ROUND
    value = (1.0 + r * q) * _double((_bits(shifted) + 1023) << 52)
    value *= _double((_bits((k - k_half) + ROUND) + 1023) << 52)
    value = math.inf if z > 1100.0 else value
    value = 0.0 if z < -1100.0 else value
    value = (math.inf if (size > 1.0) == (y > 0.0) else 0.0) if special else value
    # whole numbers, and odd ones among them: 2**52 leaves no room for a fraction
    y_size = abs(y)
    half = 0.5 * y_size
    whole = y_size >= _TWO_52 or (y_size + _TWO_52) - _TWO_52 == y_size
    odd = whole and y_size < 2.0 * _TWO_52 and (half + _TWO_52) - _TWO_52 != half
    value = -value if odd and _bits(x) < 0 else value
    value = math.nan if x < 0.0 and not whole and size != math.inf else value
    value = value if x == x and y == y else math.nan
    return 1.0 if y == 0.0 or x == 1.0 else value


def power(x, y):
    """``x ** y`` as it is written: in compiled code numbers go to `pow`, all else to Python's operator."""
    return x**y


@overload(power, jit_options={"forceinline": True})
def _compiled_power(x, y):
    numbers = isinstance(x, types.Float | types.Integer | types.Boolean) and isinstance(
        y, types.Float | types.Integer | types.Boolean
    )
    if numbers and (isinstance(x, types.Float) or isinstance(y, types.Float)):
        return lambda x, y: pow(x, y)
    return lambda x, y: x**y


@njit(**_STRICT)
def fast_log2(x):
    """Logarithm to base 2, to about four digits, for x in [1e-30, 1e30]: enough for the control of steps."""
    i = _bits(x)
    m = _double((i & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    e = _double((i >> 52) | 0x4330000000000000) - 4503599627371519.0
    return e + (
        -2.7868129538674
        + m * (5.0469803 + m * (-3.4924937 + m * (1.5939013 + m * (-0.40486717 + m * 0.043428908))))
    )


@njit(**_STRICT)
def fast_exp2(z):
    """``2 ** z`` to about six digits for z in [-1000, 1000], the other half of a fast power."""
    shifted = z + ROUND
    r = (z - (shifted - ROUND)) * 0.6931471805599453
    q = 1.0 + r * (1.0 + r * (0.5 + r * (0.16666667 + r * (0.041666667 + r * 0.0083333333))))
    return q * _double((_bits(shifted) + 1023) << 52)


@njit(**_FAST)
def reciprocals(a, b, c):
    """Return ``1/a, 1/b, 1/c`` from a single division, the slowest vector instruction."""
    ab = a * b
    r = 1.0 / (ab * c)
    return b * c * r, a * c * r, ab * r


@njit(**_STRICT)
def rough_reciprocal(x):
    """``1 / x`` within 13% for positive normal x, to start an iteration: far cheaper than a division.

    The bits of a double, read as an integer, are nearly its logarithm.
    """
    return _double(0x7FDE6238502484BA - _bits(x))


@njit(**_STRICT)
def rough_sqrt(x):
    """``sqrt(x)`` within 5% for positive normal x, in the same way."""
    return _double((_bits(x) >> 1) + 0x1FF7A3BEA91D9B1B)
