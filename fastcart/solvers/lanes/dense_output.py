"""Dense output: the method's own interpolant on one step, and the states saved from it.

``u(theta) = u_old + sum_m c_m theta^(m+1)`` for theta in [0, 1].
"""

from __future__ import annotations

from numba import njit

from fastcart.solvers.compile import INLINED, INNER
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.intrinsics import evaluate
from fastcart.solvers.lanes.layout import LANES

MAX_DEGREE = 8  # of the interpolants


@njit(**INLINED)
def rise_of(C, i, degree, theta):
    """``u(theta) - u_old`` of state ``i``; a slice of the polynomials would cost more than the value."""
    value = 0.0
    for k in range(degree - 1, -1, -1):
        value = (value + C[i, k]) * theta
    return value


@njit(**INNER)
def polynomials(s, C, steps, scheme, first, stop):
    """Fill ``C`` with the polynomials of states ``first .. stop`` in slot or lane ``s``."""
    dense, stages = scheme.dense, steps.stages
    h = steps.numbers[q.H_USED, s] if scheme.by_time else 1.0
    for i in range(first, stop):
        for k in range(0, scheme.degree, 4):
            c0 = c1 = c2 = c3 = 0.0  # numbers, not places in memory, which take longer
            for j in range(dense.shape[0]):
                stage = h * stages[j, i, s]
                c0 += dense[j, k] * stage
                c1 += dense[j, k + 1] * stage
                c2 += dense[j, k + 2] * stage
                c3 += dense[j, k + 3] * stage
            C[i, k], C[i, k + 1], C[i, k + 2], C[i, k + 3] = c0, c1, c2, c3


@njit(**INNER)
def extra_stages(evaluation, steps, scheme):
    """Compute the stages that only the interpolant needs, of all slots, behind the others."""
    c, weights, used, numbers = scheme.extra_c, scheme.extra_weights, scheme.extra_used, steps.numbers
    n = steps.u.shape[0]
    for x in range(c.size):
        for i in range(n):
            to = evaluation.states[i]
            for l in range(LANES):
                to[l] = 0.0
            for j in range(0, used.shape[1], 4):
                if used[x, j] < 0:
                    break
                w0, w1, w2, w3 = weights[x, j], weights[x, j + 1], weights[x, j + 2], weights[x, j + 3]
                k0, k1 = steps.stages[used[x, j], i], steps.stages[used[x, j + 1], i]
                k2, k3 = steps.stages[used[x, j + 2], i], steps.stages[used[x, j + 3], i]
                for l in range(LANES):
                    to[l] += (w0 * k0[l] + w1 * k1[l]) + (w2 * k2[l] + w3 * k3[l])
            for l in range(LANES):
                to[l] = steps.u_old[i, l] + numbers[q.H_USED, l] * to[l]
        for l in range(LANES):
            evaluation.time[l] = numbers[q.T_OLD, l] + c[x] * numbers[q.H_USED, l]
        evaluate(scheme.rhs, evaluation.buffer)
        for i in range(n):
            for l in range(LANES):
                steps.stages[scheme.stages + x, i, l] = evaluation.derivatives[i, l]


@njit(**INNER)
def saved_polynomials(P, steps, scheme, states):
    """Fill ``P`` (states x `MAX_DEGREE` x slots) with polynomials of some states, of all steps at once."""
    dense, stages, numbers = scheme.dense, steps.stages, steps.numbers
    for c in range(states.size):
        for k in range(0, scheme.degree, 4):
            p0, p1, p2, p3 = P[c, k], P[c, k + 1], P[c, k + 2], P[c, k + 3]
            for s in range(LANES):
                p0[s] = p1[s] = p2[s] = p3[s] = 0.0
            for j in range(dense.shape[0]):
                d0, d1, d2, d3 = dense[j, k], dense[j, k + 1], dense[j, k + 2], dense[j, k + 3]
                if d0 == 0.0 and d1 == 0.0 and d2 == 0.0 and d3 == 0.0:
                    continue
                stage = stages[j, states[c]]
                for s in range(LANES):
                    p0[s] += d0 * stage[s]
                    p1[s] += d1 * stage[s]
                    p2[s] += d2 * stage[s]
                    p3[s] += d3 * stage[s]
            if scheme.by_time:
                for s in range(LANES):
                    h = numbers[q.H_USED, s]
                    p0[s] *= h
                    p1[s] *= h
                    p2[s] *= h
                    p3[s] *= h


@njit(**INLINED)
def save_inside(look, slot, steps, P, degree, saves, saved):
    """Save what is due in a step, up to where it is cut; return how far that is."""
    s, shift, states = look.place, saves.shift[look.patient], saves.states
    for k in range(slot.save_from, slot.save_to):
        time = saves.times[k]
        if look.end <= 1.0 and time >= look.t + look.end * look.h:
            return k
        at_end = time == steps.numbers[q.T, s]
        theta = (time - look.t) / look.h
        for c in range(states.size):
            if at_end:
                saved[c, k + shift] = steps.u[states[c], s]
                continue
            value = 0.0
            for d in range(degree - 1, -1, -1):
                value = (value + P[c, d, s]) * theta
            saved[c, k + shift] = steps.u_old[states[c], s] + value
    return slot.save_to
