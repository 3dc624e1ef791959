"""The root finder: the place where a function of one variable changes its sign."""

from __future__ import annotations

from numba import njit

from fastcart.solvers.compile import INNER

_NARROW = 1e-14  # of a step: places are not told apart below
_MOST = 100  # evaluations; bisection alone takes 47
_HALVE = 8  # every so often an interval is halved, whatever regula falsi says


@njit(**INNER)
def find_root(function, low, high, rises, data):
    """Place in [low, high] where ``function(place, data)`` changes its sign, once.

    Regula falsi with the Illinois rule, and bisection where it stalls or an end has no sign, or by rounding
    the wrong one (Dowell & Jarratt, BIT 11, 1971).

    Parameters
    ----------
    function : jitted function
    low, high : float
    rises : bool
        Whether it is negative first.
    data : tuple
    """
    sign = 1.0 if rises else -1.0
    f_low, f_high = sign * function(low, data), sign * function(high, data)
    side = 0
    place = high
    for step in range(_MOST):
        place = 0.5 * (low + high)
        if step % _HALVE != _HALVE - 1 and f_low < 0.0 < f_high:
            secant = (low * f_high - high * f_low) / (f_high - f_low)
            place = secant if low < secant < high else place
        f = sign * function(place, data)
        if f == 0.0:
            return place
        if f > 0.0:
            moved = high - place
            high, f_high = place, f
            f_low *= 0.5 if side == 1 else 1.0
            side = 1
        else:
            moved = place - low
            low, f_low = place, f
            f_high *= 0.5 if side == -1 else 1.0
            side = -1
        if high - low < _NARROW or (moved < _NARROW and step > 2):
            break  # next to the end that moved; the other may still be far
    return place
