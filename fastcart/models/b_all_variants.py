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

from collections import namedtuple

from numba import njit

from fastcart.checks import number, shown
from fastcart.errors import InputError
from fastcart.model import Model, Parameter, State
from fastcart.models.b_all import WAITING, equations, observables, plain, signal, treated

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


_Cells = namedtuple("_Cells", "L R B E M X N A C Ht Hl")


@njit
def _crowded(y):
    """Return the 11 states with waiting cells among X, which only takes room in the niche and dies."""
    waiting = y.E_lag + y.M_lag
    return _Cells(y.L, y.R, y.B, y.E, y.M, y.X + waiting, y.N, y.A, y.C, y.Ht, y.Hl)


@njit
def _switched(y, p, u):
    """Derivatives of the 11 states where a CAR has activity u."""
    dL, dR, dB, dE, dM, dX, dN, dA, dC, dHt, dHl = equations(y, signal(p, u), p)
    Ag = y.L + y.B
    resting = p.muEM * (1.0 - u) * (p.s * Ag / (p.KA * (p.s + y.E) + p.s * Ag)) * y.E
    return dL, dR, dB, dE - resting, dM + resting, dX, dN, dA, dC, dHt, dHl


@njit
def _lagging(y, p, u):
    """Derivatives of the 13 states where infused cells wait."""
    dL, dR, dB, dE, dM, dX, dN, dA, dC, dHt, dHl = _switched(_crowded(y), p, u)
    waiting = y.E_lag + y.M_lag
    out = 1.0 / p.lag
    return (
        dL, dR, dB, dE + out * y.E_lag, dM + out * y.M_lag, dX + p.dX * waiting, dN, dA, dC, dHt, dHl,
        -(out + p.dE) * y.E_lag, -(out + p.dM) * y.M_lag,
    )  # fmt: skip


@njit
def _rhs_switch(t, y, p):
    return *_switched(y, p, y.u), 0.0 * y.u


@njit
def _rhs_lag(t, y, p):
    return _lagging(y, p, 1.0)


@njit
def _rhs_both(t, y, p):
    return *_lagging(y, p, y.u), 0.0 * y.u


@njit
def _observe_switch(t, y, p):
    return observables(y, p, y.u)


@njit
def _observe_lag(t, y, p):
    return observables(_crowded(y), p, 1.0)


@njit
def _observe_both(t, y, p):
    return observables(_crowded(y), p, y.u)


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
        typical=treated(WAITING) if lagging else model.typical,
        doc=model.doc + (_DOC_LAG if lagging else "") + (_DOC_SWITCH if switch else ""),
        options={"growth_lag": growth_lag, "switch": switch},
    )


def b_all(growth_lag: float = 0.0, switch: bool = False) -> Model:
    """Build the model of CAR-T cells against B-cell leukemia (9 states and 2 hazards).

    Parameters
    ----------
    growth_lag : float
        Mean days that infused cells wait before they act and proliferate; 0: none do. It becomes the default
        of the parameter ``lag`` of the patients.
    switch : bool
        Whether the CAR can be switched, by the state ``u`` from 0 (off) to 1 (on).
    """
    days = number(growth_lag, "The option 'growth_lag'")
    if days < 0:
        raise InputError(f"The option 'growth_lag' must be days from 0 on, not {days:g}.")
    if not isinstance(switch, bool):
        raise InputError(f"The option 'switch' must be True or False, not {shown(switch)}.")
    return variant(plain(), days, switch) if days or switch else plain()
