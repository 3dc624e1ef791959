"""States that die out: alone, or a group of them when their sum falls below the threshold.

A state that dies out alone is compared as it is integrated, a group by the sum of its cells.
"""

from __future__ import annotations

from numba import njit

from fastcart.solvers.compile import INLINED
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.event_recording import never_grew, record_burden
from fastcart.solvers.transform import LOG_ZERO


@njit(**INLINED)
def die_out(l, j, group, steps, watch, task, out):
    """Set a group of states of a lane to zero."""
    t = steps.numbers[q.T, l]
    for i in range(steps.u.shape[0]):
        if watch.groups[i] == group:
            zero = LOG_ZERO if task.log[i] else 0.0
            steps.u[i, l] = zero
            if i == task.burden:
                out.cured[j] = True
                record_burden(watch, j, t, zero, False)
                if t == 0.0:
                    never_grew(watch, j)
