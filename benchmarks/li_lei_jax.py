"""The right-hand side of model li_lei in jax, states in the variables that fastcart integrates.

The same formulas and the same corrections of C* as in `fastcart.models.li_lei` and `fastcart.models.binding`,
with true square roots and divisions where those start from rough ones; a test compares values.
"""

from __future__ import annotations

from types import SimpleNamespace

import jax.numpy as jnp

from fastcart.models.li_lei_parameters import PARAMETERS
from fastcart.solvers.transform import LOG_FLOOR

_NAMES = [parameter.name for parameter in PARAMETERS]


def _reciprocals(a, b, c):
    ab = a * b
    r = 1.0 / (ab * c)
    return b * c * r, a * c * r, ab * r


def _first_root(T4, TE, TM, C, K_1, K_2, K_3):
    S = jnp.maximum(K_1 * TE + K_2 * TM, 0.0)
    T = jnp.maximum(TE + TM, 1e-140)
    D = jnp.maximum(K_3 * T4, 0.0)
    c = K_3 * jnp.maximum(C - T, 0.0)
    q = 1.0 + D - c
    m = jnp.abs(q) + jnp.sqrt(q * q + 4.0 * c)
    w = 1.0 + D * jnp.where(q < 0.0, 2.0 / (m + 2.0), m / (m + 2.0 * c))
    g = w * S
    q = w * T + S * (T - C)
    r = C * T
    m = jnp.abs(q) + jnp.sqrt(q * q + 4.0 * g * r)
    return jnp.where(q < 0.0, m, 2.0 * r) / jnp.where(q < 0.0, 2.0 * g, m)


def _products(x, K_1, K_2, K_3):
    a, b, d = 1.0 + K_1 * x, 1.0 + K_2 * x, 1.0 + K_3 * x
    return a * b * d, b * d, a * d, a * b


def _householder(x, T4, TE, TM, C, K_1, K_2, K_3):
    P, p, q, r = _products(x, K_1, K_2, K_3)
    p, q, r = K_1 * p, K_2 * q, K_3 * r
    A, B, D = TE * p, TM * q, T4 * r
    s = P + (A + B + D)
    A, B, D = A * p, B * q, D * r
    e = A + B + D
    A, B, D = A * p, B * q, D * r
    u = A + B + D
    v = A * p + B * q + D * r
    f = x * s - C * P
    slope = P * s - x * e
    bend = f * (P * e - x * u)
    n = slope * slope + bend
    return f * P * n / (slope * (n + bend) + f * f * (P * u - x * v))


def binding_equilibrium(T4, TE, TM, C, K_1, K_2, K_3):
    """Return C*, eq. (2.4), and the free fractions of TE, TM and T4."""
    C = jnp.minimum(C, 1e16)
    x = _first_root(T4, TE, TM, C, K_1, K_2, K_3)
    x = x - _householder(x, T4, TE, TM, C, K_1, K_2, K_3)
    x = x - _householder(x, T4, TE, TM, C, K_1, K_2, K_3)
    P, a, b, d = _products(x, K_1, K_2, K_3)
    p, q, r = K_1 * a, K_2 * b, K_3 * d
    A, B, D = TE * p, TM * q, T4 * r
    s = P + (A + B + D)
    slope = P * s - x * (A * p + B * q + D * r)
    f = x * s - C * P
    R = 1.0 / (P * slope)
    per_P = slope * R
    correction = f * (P * P) * R
    moved = correction * per_P
    a, b, d = a * per_P, b * per_P, d * per_P
    return x - correction, a + a * (p * moved), b + b * (q * moved), d + d * (r * moved)


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
    x, a, b, d = binding_equilibrium(T4, TE, TM, C, v.K_1, v.K_2, v.K_3)
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
