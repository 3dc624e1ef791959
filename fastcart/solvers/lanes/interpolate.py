"""The method's own interpolant on one step of one lane: values, turning points, crossings.

``u(theta) = u_old + sum_m c_m theta^(m+1)`` for theta in [0, 1].
"""

from __future__ import annotations

from numba import njit

from fastcart.solvers.compile import FAST
from fastcart.solvers.lanes.evaluate import LANES

_L = LANES


@njit(**FAST)
def coefficients(out, K, dense, h, i, n, lane):
    """Fill ``out`` with the polynomial of state ``i``; ``h`` multiplies the stages."""
    degree = dense.shape[1]
    for k in range(degree):
        out[k] = 0.0
    for j in range(dense.shape[0]):
        stage = h * K[(j * n + i) * _L + lane]
        for k in range(degree):
            out[k] += dense[j, k] * stage


@njit(**FAST)
def rise(c, degree, theta):
    """``u(theta) - u_old``."""
    value = 0.0
    for k in range(degree - 1, -1, -1):
        value = (value + c[k]) * theta
    return value


@njit(**FAST)
def slope(c, degree, theta):
    """Derivative of the interpolant by theta."""
    value = 0.0
    for k in range(degree - 1, -1, -1):
        value = value * theta + (k + 1) * c[k]
    return value


@njit(**FAST)
def find(c, degree, start, low, high, of_slope, rising):
    """Place in [low, high] where ``start + rise`` (or the slope) changes sign; bisection kept safe Newton.

    ``rising`` says whether the function goes from negative to positive.
    """
    sign = 1.0 if rising else -1.0
    theta = 0.5 * (low + high)
    for _ in range(60):
        if of_slope:
            value = sign * slope(c, degree, theta)
        else:
            value = sign * (start + rise(c, degree, theta))
        if value > 0.0:
            high = theta
        else:
            low = theta
        if high - low < 1e-14:
            break
        if of_slope:
            theta = 0.5 * (low + high)
            continue
        tangent = sign * slope(c, degree, theta)
        newton = theta - value / tangent if tangent > 0.0 else -1.0
        inside = low < newton < high
        moved = abs(newton - theta)
        theta = newton if inside else 0.5 * (low + high)
        if inside and moved < 1e-13:
            break
    return theta
