"""The method's own interpolant on one step of one lane: values and crossings.

``u(theta) = u_old + sum_m c_m theta^(m+1)`` for theta in [0, 1].
"""

from __future__ import annotations

from numba import njit

from fastcart.solvers.compile import INNER


@njit(**INNER)
def rise_of(C, i, degree, theta):
    """``u(theta) - u_old`` of state ``i``; a slice of the polynomials would cost more than the value."""
    value = 0.0
    for k in range(degree - 1, -1, -1):
        value = (value + C[i, k]) * theta
    return value


@njit(**INNER)
def root(C, i, degree, start, low, high):
    """Place in [low, high] where ``start + rise`` changes sign; its ends must have opposite signs.

    Regula falsi with the Illinois rule, and bisection where it stalls.
    """
    f_low = start + rise_of(C, i, degree, low)
    f_high = start + rise_of(C, i, degree, high)
    sign = 1.0 if f_high > f_low else -1.0
    f_low *= sign
    f_high *= sign
    side = 0
    for k in range(80):
        width = high - low
        if width < 1e-14:
            break
        theta = (low * f_high - high * f_low) / (f_high - f_low) if k % 8 != 7 else 0.5 * (low + high)
        if not low < theta < high:
            theta = 0.5 * (low + high)
        f = sign * (start + rise_of(C, i, degree, theta))
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
            return theta  # next to the end that moved; the other may still be far
    return high
