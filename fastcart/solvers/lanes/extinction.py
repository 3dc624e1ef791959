"""States that die out: alone, or a group of them when their sum falls below the threshold.

A state that dies out alone is compared as it is integrated, a group by the sum of its cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from fastcart.solvers.compile import INLINED
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.event_recording import never_grew, record_burden
from fastcart.solvers.transform import LOG_ZERO


def groups_of(states: Sequence[bool | str]) -> tuple[np.ndarray, list[list[int]]]:
    """Return the group of each state, -1 for none, and the states of each group.

    Parameters
    ----------
    states : sequence of bool or str
        ``State.extinction`` of each state.
    """
    names = [mark if isinstance(mark, str) else j for j, mark in enumerate(states) if mark]
    order = {name: g for g, name in enumerate(dict.fromkeys(names))}
    group = np.array([order[m if isinstance(m, str) else j] if m else -1 for j, m in enumerate(states)])
    return group, [np.flatnonzero(group == g).tolist() for g in range(len(order))]


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
