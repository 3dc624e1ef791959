"""The method's own interpolant on one step of one lane: values, turning points, crossings.

``u(theta) = u_old + sum_m c_m theta^(m+1)`` for theta in [0, 1].
"""

from __future__ import annotations

from numba import njit

from fastcart.solvers.compile import INNER
from fastcart.solvers.lanes.evaluate import LANES

_L = LANES


@njit(**INNER)
def coefficients(out, K, dense, h, i, n, lane):
    """Fill ``out`` with the polynomial of state ``i``; ``h`` multiplies the stages."""
    degree = dense.shape[1]
    for k in range(degree):
        out[k] = 0.0
    for j in range(dense.shape[0]):
        stage = h * K[(j * n + i) * _L + lane]
        for k in range(degree):
            out[k] += dense[j, k] * stage


@njit(**INNER)
def rise(c, degree, theta):
    """``u(theta) - u_old``."""
    value = 0.0
    for k in range(degree - 1, -1, -1):
        value = (value + c[k]) * theta
    return value


@njit(**INNER)
def slope(c, degree, theta):
    """Derivative of the interpolant by theta."""
    value = 0.0
    for k in range(degree - 1, -1, -1):
        value = value * theta + (k + 1) * c[k]
    return value


@njit(**INNER)
def find(c, degree, start, low, high, of_slope, rising):
    """Place in [low, high] where ``start + rise`` (or the slope) changes sign.

    Regula falsi with the Illinois rule, and bisection where it stalls; ``rising`` says whether the function
    goes from negative to positive. The ends must have opposite signs.
    """
    sign = 1.0 if rising else -1.0
    f_low = sign * (slope(c, degree, low) if of_slope else start + rise(c, degree, low))
    f_high = sign * (slope(c, degree, high) if of_slope else start + rise(c, degree, high))
    side = 0
    for k in range(80):
        width = high - low
        if width < 1e-14:
            break
        theta = (low * f_high - high * f_low) / (f_high - f_low) if k % 8 != 7 else 0.5 * (low + high)
        if not low < theta < high:
            theta = 0.5 * (low + high)
        f = sign * (slope(c, degree, theta) if of_slope else start + rise(c, degree, theta))
        if f == 0.0:
            return theta
        if f > 0.0:
            moved = high - theta
            high, f_high = theta, f
            f_low = 0.5 * f_low if side == 1 else f_low
            side = 1
        else:
            moved = theta - low
            low, f_low = theta, f
            f_high = 0.5 * f_high if side == -1 else f_high
            side = -1
        if moved < 1e-13 and k > 1:
            break
    return high
