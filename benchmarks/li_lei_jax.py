"""The right-hand side of model li_lei in jax, states in the variables that fastcart integrates.

The same formulas in the same order as `fastcart.models.li_lei` and `fastcart.models.binding`; a test compares
them at random states.
"""

from __future__ import annotations

from types import SimpleNamespace

import jax.numpy as jnp

from fastcart.models.binding import FITS, HALLEY_STEPS
from fastcart.models.li_lei_parameters import PARAMETERS
from fastcart.solvers.transform import LOG_FLOOR

_NAMES = [parameter.name for parameter in PARAMETERS]


def _reciprocals(a, b, c):
    ab = a * b
    r = 1.0 / (ab * c)
    return b * c * r, a * c * r, ab * r


def _terms(x, A, B, D, K_1, K_2, K_3):
    a, b, d = 1.0 + K_1 * x, 1.0 + K_2 * x, 1.0 + K_3 * x
    bd, ad, ab = b * d, a * d, a * b
    return bd, ad, ab, ab * d, A * bd, B * ad, D * ab


def _fit(s, w, e, C):
    q = w + s * s - e * C
    root = jnp.sqrt(q * q + 4.0 * e * w * C)
    above = jnp.where(q >= 0.0, 2.0 * C * w, root - q)
    return above / jnp.where(q >= 0.0, q + root, 2.0 * e)


def free_tumor_cells(T4, TE, TM, C, K_1, K_2, K_3):
    """Return C*, eq. (2.4)."""
    C = jnp.minimum(C, 1e20)
    A, B, D = K_1 * TE, K_2 * TM, K_3 * T4
    s = A + B + D
    x = _fit(s, s + 1e-140, A * K_1 + B * K_2 + D * K_3, C)
    for _ in range(FITS):
        bd, ad, ab, _, Ab, Ba, Da = _terms(x, A, B, D, K_1, K_2, K_3)
        s = Ab + Ba + Da
        Ab, Ba, Da = Ab * bd, Ba * ad, Da * ab
        x = _fit(s, Ab + Ba + Da + 1e-140, Ab * K_1 + Ba * K_2 + Da * K_3, C)
    for _ in range(HALLEY_STEPS):
        bd, ad, ab, abd, Ab, Ba, Da = _terms(x, A, B, D, K_1, K_2, K_3)
        g = x * (abd + (Ab + Ba + Da)) - C * abd
        Ab, Ba, Da = Ab * bd, Ba * ad, Da * ab
        slope = abd * abd + (Ab + Ba + Da)
        bend = Ab * bd * K_1 + Ba * ad * K_2 + Da * ab * K_3
        x = jnp.maximum(x - g * slope * abd / (slope * slope + g * bend), 0.25 * x)
    bd, ad, ab, abd, Ab, Ba, Da = _terms(x, A, B, D, K_1, K_2, K_3)
    g = x * (abd + (Ab + Ba + Da)) - C * abd
    return x - g * abd / (abd * abd + (Ab * bd + Ba * ad + Da * ab))


def right_hand_side(t, u, p):
    """Return du/dt: T4, TP, Tr and C in logarithm, the others in units of their scale, which is 1."""
    u_T4, u_TP, TE, TM, u_Tr, u_C, M = u
    T4, TP, Tr, C = (jnp.exp(jnp.maximum(x, LOG_FLOOR)) for x in (u_T4, u_TP, u_Tr, u_C))
    v = SimpleNamespace(**dict(zip(_NAMES, p, strict=True)))
    # eqs. (2.10)-(2.13) at rest, each times its degradation rate
    I2, Tb, I6 = v.lambda_I2_T4 * T4, v.lambda_Tb_C * C, v.lambda_I6_M * M
    K_Tb = v.K_Tb * v.d_Tb
    per_Tr, per_Tb, per_C = _reciprocals(v.K_Tr + Tr, K_Tb + Tb, v.K_C + C)
    inhibition = v.K_Tr * per_Tr
    Ig = (v.lambda_Ig_TE * TE + v.lambda_Ig_T4 * T4) * (inhibition + K_Tb * per_Tb)
    # eqs. (2.1)-(2.9)
    x = free_tumor_cells(T4, TE, TM, C, v.K_1, v.K_2, v.K_3)
    a, b, d = _reciprocals(1.0 + v.K_1 * x, 1.0 + v.K_2 * x, 1.0 + v.K_3 * x)
    D = 1.0 + v.K_1 * TE * a + v.K_2 * TM * b + v.K_3 * T4 * d + v.K_1 * C
    q = v.K_2 * x * b
    K_TM = v.K_TM0 + v.K_TM1 * q
    per_D, per_TM, _ = _reciprocals(D, K_TM + TM, 1.0)
    kill = (v.k_TE * v.K_1 * TE + v.k_T4 * v.K_3 * T4) * per_D * inhibition
    per_I2, per_Ig, per_I6 = _reciprocals(v.K_I2 * v.d_I2 + I2, v.K_Ig * v.d_Ig + Ig, v.K_I6 * v.d_I6 + I6)
    h2, hg = I2 * per_I2, Ig * per_Ig
    s = I6 * per_I6 + hg
    reactivation = v.lambda_TME * q * TM
    return (
        v.lambda_T4_I2 * h2 - v.d_T4,
        v.lambda_TP_I2 * h2 * inhibition - v.lambda_TPE * s - v.d_TP,
        v.lambda_TPE * s * TP + reactivation - (v.lambda_TEM + v.d_TE) * TE,
        v.lambda_TM * K_TM * per_TM * TM + v.lambda_TEM * TE - reactivation - v.d_TM * TM,
        v.lambda_Tr_I2 * h2 - v.d_Tr,
        v.lambda_C * v.K_C * per_C - v.d_C - kill,
        v.lambda_M_Ig * v.M_0 * hg - v.d_M * M,
    )
