"""Algebraic variables of one lane, which are solved for anew where its states or parameters jump."""

from __future__ import annotations

import numpy as np
from numba import njit

from fastcart.solvers.compile import INNER
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.intrinsics import evaluate
from fastcart.solvers.transform import LOG_ZERO


@njit(**INNER)
def put_on_manifold(l, task, work):
    """Solve for the algebraic variables of a lane where it jumped to; return whether there is a solution."""
    if task.settler == 0:
        return True
    u, row = work.steps.u, work.row
    n, m = u.shape[0], work.evaluation.parameters.shape[0]
    for i in range(n):
        row[i] = u[i, l]
        if task.log[i]:
            row[i] = np.exp(u[i, l]) if u[i, l] != LOG_ZERO else 0.0
    row[n] = work.steps.numbers[q.T, l]
    for k in range(m):
        row[n + 1 + k] = work.evaluation.parameters[k, l]
    evaluate(task.settler, row)
    for i in task.solved:
        u[i, l] = row[i]
        if task.log[i]:
            u[i, l] = np.log(row[i]) if row[i] > 0.0 else LOG_ZERO
    return row[task.status] == 0.0
