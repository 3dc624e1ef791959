"""One patient's equations as LSODA solves them: calls of the library, and what is measured of a solution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fastcart.solvers.items import Watched, measure
from fastcart.solvers.lsoda_callback import BASE_T, LAST_T, STUCK, TROUBLE
from fastcart.solvers.lsoda_library import call_rhs, lsoda_wrapper

# for functions that only kernels call,
INSIDE: dict[str, bool] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# and among them for those that neither make, copy nor return an array: they need not count who
# holds one
BARE: dict[str, bool] = {**INSIDE, "_nrt": False}

_BYTES = 8  # of a number
_SHIFT = 1e-4  # of a piece: how far the slope of an observable looks to the sides


class System(NamedTuple):
    """What is integrated, and what is looked for."""

    address: int  # of what LSODA calls
    derivatives: int  # of the model's own derivatives
    data: np.ndarray  # parameters, scales, control words and so on
    control: int  # where the control words begin,
    sums: int  # the sums of integrals,
    notes: int  # and the notes of steps
    width: int  # numbers in a note, 0 where steps are not noted
    log: np.ndarray
    counted: np.ndarray  # which states may not be negative
    scale: np.ndarray
    watched: Watched
    noted: int  # so many quantities, the first, are noted with each step
    ends: bool  # whether there are items that may end the integration
    timed: bool  # whether the right-hand side depends on time
    rtol: float
    max_steps: int  # between two outputs
    differentiated: int  # states that have sensitivities,
    directions: int  # and how many each has
    settler: int  # address of what solves for the algebraic variables, 0 where there are none;
    solved: np.ndarray  # the states that it gives
    status: int  # where in its row is whether it did,
    row: np.ndarray  # and the row


class Nodes(NamedTuple):
    """Points of a solution, with quantities and their slopes."""

    times: np.ndarray
    states: np.ndarray
    values: np.ndarray
    slopes: np.ndarray


@njit(**BARE)
def words(system):
    """Return the address of the control words."""
    return system.data.ctypes.data + _BYTES * system.control


@njit(**BARE)
def ask(system, t, u, du):
    """Call the right-hand side as LSODA does."""
    call_rhs(system.address, t, u.ctypes.data, du.ctypes.data, words(system))


@njit(**INSIDE)
def integrate(system, start, times, out):
    """Integrate from ``times[0]``; return whether LSODA reached the last time."""
    success = np.zeros(1, np.int32)
    lsoda_wrapper(
        system.address, np.int32(start.size), start.ctypes.data, words(system), np.int32(times.size),
        times.ctypes.data, out.ctypes.data, system.rtol, system.rtol, np.int32(system.max_steps),
        success.ctypes.data,
    )  # fmt: skip
    return success[0] == 1


@njit(**BARE)
def set_clock(system, t):
    """Take ``t`` for the time of the last step that was accepted."""
    system.data[system.control + LAST_T] = system.data[system.control + BASE_T] = t
    system.data[system.control + STUCK] = system.data[system.control + TROUBLE] = 0.0


@njit(**BARE)
def derivatives(system, t, u, du):
    """Evaluate the derivatives, as the step at ``t`` itself."""
    set_clock(system, t)
    ask(system, t, u, du)


@njit(**BARE)
def measure_all(system, u, du, values, slopes):
    """Fill in the values of all quantities, and the slopes of those that are no observables."""
    for k in range(values.size):
        values[k], slopes[k] = measure(system.watched, k, u, du, system.log, system.scale)


@njit(**BARE)
def observed(system, t, u, du, shift, work, values):
    """Fill ``values`` with the observables a little later or earlier along the solution."""
    for i in range(u.size):
        work[0, i] = u[i] + shift * du[i]
    derivatives(system, t + shift, work[0], work[1])
    for k in range(system.noted, values.size):
        values[k] = measure(system.watched, k, work[0], work[1], system.log, system.scale)[0]


@njit(**INSIDE)
def fill_nodes(system, nodes):
    """Fill in the quantities and slopes of nodes from their states.

    The slope of an observable is a difference of second order, to the inner side at both ends.
    """
    count, n = nodes.states.shape
    total = nodes.values.shape[1]
    du, work, side = np.empty(n), np.empty((2, n)), np.empty((2, total))
    for j in range(count):
        fill_node(system, nodes, j, du, work, side)


@njit(**BARE)
def fill_node(system, nodes, j, du, work, side):
    """Fill in the quantities and slopes of one node; see `fill_nodes`."""
    total = nodes.values.shape[1]
    t, u = nodes.times[j], nodes.states[j]
    derivatives(system, t, u, du)
    measure_all(system, u, du, nodes.values[j], nodes.slopes[j])
    if system.noted == total:
        return
    if 0 < j < nodes.times.size - 1:
        shift = _SHIFT * min(t - nodes.times[j - 1], nodes.times[j + 1] - t)
        observed(system, t, u, du, -shift, work, side[0])
        observed(system, t, u, du, shift, work, side[1])
        for k in range(system.noted, total):
            nodes.slopes[j, k] = (side[1, k] - side[0, k]) / (2.0 * shift)
    else:
        shift = _SHIFT * (nodes.times[1] - t if j == 0 else nodes.times[j - 1] - t)
        observed(system, t, u, du, shift, work, side[0])
        observed(system, t, u, du, 2.0 * shift, work, side[1])
        for k in range(system.noted, total):
            g = nodes.values[j, k]
            nodes.slopes[j, k] = (4.0 * (side[0, k] - g) - (side[1, k] - g)) / (2.0 * shift)


@njit(**INSIDE)
def trace(system, start, times):
    """Integrate again to ``times``; return the nodes there, and whether that succeeded."""
    total = system.watched.quantities.size
    nodes = Nodes(
        times,
        np.empty((times.size, start.size)),
        np.empty((times.size, total)),
        np.empty((times.size, total)),
    )
    set_clock(system, times[0])
    done = integrate(system, start, times, nodes.states)
    if done:
        fill_nodes(system, nodes)
    return nodes, done
