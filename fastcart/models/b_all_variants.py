"""Variants of the B-ALL model: infused cells that wait before they proliferate, and a CAR with a switch.

Growth lag. Infused cells enter two further states, in which they only wait and die:

    dE_lag/dt = -(1/lag + dE) E_lag,  dM_lag/dt = -(1/lag + dM) M_lag,
    dE/dt = ... + E_lag/lag,  dM/dt = ... + M_lag/lag,  T = E + M + X + E_lag + M_lag.

Waiting cells are counted with the CAR-T cells T, in the blood and in the niche; they meet no antigen. The
wait of a cell is exponential with mean ``lag`` days, so that the transgene rises late and then as before.

Switch. The state ``u``, constant between visits, scales what a CAR does once it has bound: with a and k as in
the model without it, stimulation is ``u a`` and the killing rate ``u k``. Hence proliferation, exhaustion,
activation of memory, killing and the drive of IL-6 all are in proportion to u, and the cells that rest by it
may become memory, as those without antigen do: ``muEM (1 - u a)``. With u = 1 it is the model without switch.

References
----------
E. W. Weber et al., Transient rest restores functionality in exhausted CAR-T cells through epigenetic
remodeling, Science 372:eaba1786 (2021): drug-regulated CARs that are switched off rest and gain memory.
"""

from __future__ import annotations

from numba import njit

from fastcart.model import Model, Parameter, State
from fastcart.models.b_all import _observe, _rhs

_SWITCH = State("u", "1", 1.0, description="activity of the CAR, from 0 (off) to 1 (on)")
_LAGGING = (
    State("E_lag", "cells", 0.0, description="infused effectors that wait", extinction="CAR-T"),
    State("M_lag", "cells", 0.0, description="infused memory cells that wait", extinction="CAR-T"),
)

_DOC_LAG = """
Growth lag: infused cells wait for lag days on average, dE_lag/dt = -(1/lag + dE) E_lag and
dM_lag/dt = -(1/lag + dM) M_lag, then E_lag/lag and M_lag/lag enter E and M; T counts them."""
_DOC_SWITCH = """
Switch: u from 0 to 1 scales the stimulation a and the killing rate k, and with them proliferation,
exhaustion, activation of memory and IL-6; resting effectors become memory with muEM (1 - u a)."""


@njit
def _switched(t, y, p, u):
    """Derivatives of the 11 states where a CAR has activity u."""
    L, R, B, E, M, X, N, A, C, Ht, Hl = y
    (rL, KL, kap, s, h, KA, sB, dB, rhoE, nu, Kq, kact, pmx, Kp, dE, muEM, xi, KX, rhoM, dM, dX, rN, KN,
     aE, aD, dA, sC, dC, pC, hT, CT, hL, KH, F_E, F_M, D, fM) = p  # fmt: skip
    # each rate in which a or k stands, times u; only the rest of idle effectors needs a itself
    q = (rL, KL, kap * u, s, h, KA, sB, dB, rhoE * u, nu, Kq, kact * u, pmx, Kp, dE, muEM, xi * u, KX, rhoM,
         dM, dX, rN, KN, aE * u, aD, dA, sC, dC, pC, hT, CT, hL, KH, F_E, F_M, D, fM)  # fmt: skip
    dL, dR, dB_, dE_, dM_, dX_, dN, dA_, dC_, dHt, dHl = _rhs(t, y, q)
    Ag = L + B
    resting = muEM * (1.0 - u) * (s * Ag / (KA * (s + E) + s * Ag)) * E
    return dL, dR, dB_, dE_ - resting, dM_ + resting, dX_, dN, dA_, dC_, dHt, dHl


@njit
def _rhs_switch(t, y, p):
    L, R, B, E, M, X, N, A, C, Ht, Hl, u = y
    dL, dR, dB, dE, dM, dX, dN, dA, dC, dHt, dHl = _switched(t, (L, R, B, E, M, X, N, A, C, Ht, Hl), p, u)
    return dL, dR, dB, dE, dM, dX, dN, dA, dC, dHt, dHl, 0.0 * u


@njit
def _rhs_lag(t, y, p):
    L, R, B, E, M, X, N, A, C, Ht, Hl, E_lag, M_lag = y
    return _lagging(t, (L, R, B, E, M, X, N, A, C, Ht, Hl), p, E_lag, M_lag, 1.0)


@njit
def _rhs_both(t, y, p):
    L, R, B, E, M, X, N, A, C, Ht, Hl, E_lag, M_lag, u = y
    d = _lagging(t, (L, R, B, E, M, X, N, A, C, Ht, Hl), p, E_lag, M_lag, u)
    return d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], 0.0 * u


@njit
def _lagging(t, y, p, E_lag, M_lag, u):
    """Derivatives of the 13 states where infused cells wait."""
    L, R, B, E, M, X, N, A, C, Ht, Hl = y
    (rL, KL, kap, s, h, KA, sB, dB, rhoE, nu, Kq, kact, pmx, Kp, dE, muEM, xi, KX, rhoM, dM, dX, rN, KN,
     aE, aD, dA, sC, dC, pC, hT, CT, hL, KH, F_E, F_M, D, fM, lag) = p  # fmt: skip
    waiting = E_lag + M_lag
    base = (rL, KL, kap, s, h, KA, sB, dB, rhoE, nu, Kq, kact, pmx, Kp, dE, muEM, xi, KX, rhoM, dM, dX, rN,
            KN, aE, aD, dA, sC, dC, pC, hT, CT, hL, KH, F_E, F_M, D, fM)  # fmt: skip
    # X does nothing but take room in the niche and die: waiting cells are counted with it there
    dL, dR, dB_, dE_, dM_, dX_, dN, dA_, dC_, dHt, dHl = _switched(
        t, (L, R, B, E, M, X + waiting, N, A, C, Ht, Hl), base, u
    )
    out = 1.0 / lag
    return (
        dL, dR, dB_, dE_ + out * E_lag, dM_ + out * M_lag, dX_ + dX * waiting, dN, dA_, dC_, dHt, dHl,
        -(out + dE) * E_lag, -(out + dM) * M_lag,
    )  # fmt: skip


@njit
def _observed(t, y, p, waiting, u):
    L, R, B, E, M, X, N, A, C, Ht, Hl = y
    S, T, Ag, negative, copies, kill, stimulation, niche, toxic, leukemia = _observe(
        t, (L, R, B, E, M, X + waiting, N, A, C, Ht, Hl), p
    )
    return S, T, Ag, negative, copies, u * kill, u * stimulation, niche, toxic, leukemia


@njit
def _observe_switch(t, y, p):
    L, R, B, E, M, X, N, A, C, Ht, Hl, u = y
    return _observed(t, (L, R, B, E, M, X, N, A, C, Ht, Hl), p, 0.0, u)


@njit
def _observe_lag(t, y, p):
    L, R, B, E, M, X, N, A, C, Ht, Hl, E_lag, M_lag = y
    return _observed(t, (L, R, B, E, M, X, N, A, C, Ht, Hl), p, E_lag + M_lag, 1.0)


@njit
def _observe_both(t, y, p):
    L, R, B, E, M, X, N, A, C, Ht, Hl, E_lag, M_lag, u = y
    return _observed(t, (L, R, B, E, M, X, N, A, C, Ht, Hl), p, E_lag + M_lag, u)


def variant(model: Model, growth_lag: float, switch: bool) -> Model:
    """Return the model with a growth lag of so many days, a switch, or both.

    Parameters
    ----------
    model : Model
        The B-ALL model without either.
    growth_lag : float
        Default of the parameter ``lag``, days; 0 for no lag.
    switch : bool
    """
    lagging = growth_lag > 0
    functions = {
        (True, False): (_rhs_lag, _observe_lag),
        (False, True): (_rhs_switch, _observe_switch),
        (True, True): (_rhs_both, _observe_both),
    }
    rhs, observe = functions[lagging, switch]
    lag = Parameter(
        "lag",
        growth_lag or 1.0,
        unit="day",
        symbol="lag",
        range=(1e-3, float("inf")),
        source="assumed",
        description="mean days that infused cells wait before they proliferate",
    )
    return model.replace(
        states=(*model.states, *(_LAGGING if lagging else ()), *((_SWITCH,) if switch else ())),
        parameters=(*model.parameters, *((lag,) if lagging else ())),
        rhs=rhs,
        observe=observe,
        doc=model.doc + (_DOC_LAG if lagging else "") + (_DOC_SWITCH if switch else ""),
        options={"growth_lag": growth_lag, "switch": switch},
    )
