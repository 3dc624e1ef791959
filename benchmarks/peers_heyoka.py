"""heyoka on model li_lei: Taylor series, batches of patients in the lanes of vector instructions.

States in logarithm where fastcart has them so. The free antigen C*, eq. (2.4), is one more state: what the
equation says of its derivative is worked out by heyoka, its start is the root, and a small term pulls it back
to the equation. Timed with the final state
only, and with two events more: where the burden crosses its start, and where it turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numba import njit

from fastcart.batch import make_problem
from fastcart.model import Model
from fastcart.models.binding import binding_equilibrium
from fastcart.options import SolveOptions
from fastcart.patients import check_patients
from fastcart.solvers.transform import to_internal

PULL = 1.0  # a day, back to eq. (2.4): without it some patients drift off at loose tolerances and never end
_made: dict[tuple[float, bool], Any] = {}


def solver(model: Model, rtol: float, *, events: bool) -> Callable[[pd.DataFrame, np.ndarray], np.ndarray]:
    """Return a function that solves a population: population, times -> (patients, times, states)."""

    def solve(population: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        problem = make_problem(model, SolveOptions())
        y0, p = check_patients(model, population).arrays(0, len(population))
        u0 = to_internal(y0, problem.log, problem.scale)
        if (rtol, events) not in _made:
            _made[rtol, events] = _integrator(model, rtol, events)
        stepper, batch = _made[rtol, events]
        free = np.empty(len(y0))
        names, states = model.parameter_names, model.state_names
        affinities = p[:, [names.index(name) for name in ("K_1", "K_2", "K_3")]]
        _roots(y0[:, [states.index(name) for name in ("T4", "TE", "TM", "C")]], affinities, free)
        start = np.column_stack([u0, free]).T
        given = np.column_stack([p, u0[:, model.burden_index]]).T[: len(stepper.pars)]
        out = np.empty((len(y0), len(times), len(states)))
        for first in range(0, len(y0), batch):
            # the last batch is filled up with its last patient
            who = np.minimum(np.arange(first, first + batch), len(y0) - 1)
            stepper.set_time(0.0)
            stepper.state[:] = start[:, who]
            stepper.pars[:] = given[:, who]
            real = min(batch, len(y0) - first)
            if len(times) == 2:
                stepper.propagate_until([times[1]] * batch)
                out[first : first + real, 0] = u0[first : first + real]
                out[first : first + real, 1] = stepper.state[: len(states), :real].T
            else:
                grid = np.repeat(times[:, np.newaxis], batch, axis=1)
                path = stepper.propagate_grid(grid)
                path = path[-1] if isinstance(path, tuple) else path
                out[first : first + real] = path[:, : len(states), :real].transpose(2, 0, 1)
        return out

    return solve


@njit
def _roots(cells, affinities, free):
    for i in range(free.size):
        T4, TE, TM, C = cells[i]
        K_1, K_2, K_3 = affinities[i]
        free[i] = math.log(binding_equilibrium(T4, TE, TM, C, K_1, K_2, K_3)[0])


def _integrator(model: Model, rtol: float, events: bool) -> tuple[Any, int]:
    """Return heyoka's stepper for a batch of patients, and how many these are."""
    import heyoka as hy

    system, derivative, burden = _equations(model, hy)
    batch = hy.recommended_simd_size()
    options: dict[str, Any] = {}
    if events:
        crossed, nadirs = [], []
        level = burden - hy.par[len(model.parameters)]
        options["nt_events"] = [
            hy.nt_event_batch(level, lambda stepper, t, sign, lane: crossed.append(t)),
            hy.nt_event_batch(derivative, lambda stepper, t, sign, lane: nadirs.append(t)),
        ]
    shape = (len(system), batch)
    stepper = hy.taylor_adaptive_batch(
        system, np.ones(shape), pars=np.zeros((len(model.parameters) + events, batch)), tol=rtol, **options
    )
    return stepper, batch


def _equations(model: Model, hy: Any) -> tuple[list, Any, Any]:
    """Return the system, the derivative of the logarithm of the burden, and that logarithm."""
    u = hy.make_vars(*(f"u_{name}" for name in model.state_names), "w")
    *u, w = u
    names = model.state_names
    log = [state.log for state in model.states]
    T4, TP, TE, TM, Tr, C, M = (hy.exp(x) if is_log else x for x, is_log in zip(u, log, strict=True))
    v = SimpleNamespace(**{name: hy.par[k] for k, name in enumerate(model.parameter_names)})
    x = hy.exp(w)
    E, N, F = TE / (1.0 + v.K_1 * x), TM / (1.0 + v.K_2 * x), T4 / (1.0 + v.K_3 * x)
    inhibition = v.K_Tr / (v.K_Tr + Tr)
    I2, Tb, I6 = v.lambda_I2_T4 * T4, v.lambda_Tb_C * C, v.lambda_I6_M * M
    K_Tb = v.K_Tb * v.d_Tb
    Ig = (v.lambda_Ig_TE * TE + v.lambda_Ig_T4 * T4) * (inhibition + K_Tb / (K_Tb + Tb))
    q = v.K_2 * x / (1.0 + v.K_2 * x)
    K_TM = v.K_TM0 + v.K_TM1 * q
    bound = 1.0 + v.K_1 * E + v.K_2 * N + v.K_3 * F + v.K_1 * C
    kill = (v.k_TE * v.K_1 * TE + v.k_T4 * v.K_3 * T4) / bound * inhibition
    h2, hg = I2 / (v.K_I2 * v.d_I2 + I2), Ig / (v.K_Ig * v.d_Ig + Ig)
    s = I6 / (v.K_I6 * v.d_I6 + I6) + hg
    back = v.lambda_TME * q * TM
    du = [
        v.lambda_T4_I2 * h2 - v.d_T4,
        v.lambda_TP_I2 * h2 * inhibition - v.lambda_TPE * s - v.d_TP,
        v.lambda_TPE * s * TP + back - (v.lambda_TEM + v.d_TE) * TE,
        v.lambda_TM * K_TM / (K_TM + TM) * TM + v.lambda_TEM * TE - back - v.d_TM * TM,
        v.lambda_Tr_I2 * h2 - v.d_Tr,
        v.lambda_C * v.K_C / (v.K_C + C) - v.d_C - kill,
        v.lambda_M_Ig * v.M_0 * hg - v.d_M * M,
    ]
    # eq. (2.4) in logarithm, and what it says of the derivative of C*
    residual = w + hy.log(1.0 + v.K_1 * E + v.K_2 * N + v.K_3 * F) - u[names.index("C")]
    moved = sum(hy.diff(residual, state) * rate for state, rate in zip(u, du, strict=True))
    moved += PULL * residual
    system = [*zip(u, du, strict=True), (w, -moved / hy.diff(residual, w))]
    return system, du[names.index("C")], u[names.index("C")]
