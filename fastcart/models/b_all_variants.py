"""Variants of the B-ALL model: infused cells that wait at first, a CAR with a switch, actuators.

Growth lag. Infused cells enter two further states, in which they only wait and die:

    dE_lag/dt = -(1/lag + dE) E_lag,  dM_lag/dt = -(1/lag + dM) M_lag,
    dE/dt = ... + E_lag/lag,  dM/dt = ... + M_lag/lag,  T = E + M + X + E_lag + M_lag.

Waiting cells are counted with the CAR-T cells T, in the blood and in the niche; they meet no antigen. The
wait of a cell is exponential with mean ``lag`` days, so that the transgene rises late and then as before.

Switch. The state ``u``, from 0 to 1, is the activity of the CAR. There are two kinds:

- *graded*, every cell acts in part: with a and k as in the model without it, stimulation is ``u a`` and the
  killing rate ``u k``;
- *fraction*, a part of the cells acts in full: only ``u E`` effectors compete for antigen and kill,
  ``a = Ag/(KA (1 + u E/s) + Ag)``, ``k = kap u E/(s + u E + h Ag)``; stimulation per effector is ``u a``.

Proliferation, exhaustion, activation of memory and the drive of IL-6 follow the stimulation ``u a``, and
cells that rest by the switch may become memory, as those without antigen do: ``muEM (1 - u a)``. With u = 1
both are the model without switch.

Actuators. What else a clinic may do to cells that are infused, as states that interventions set:

- ``u_set``, the activity that the drug of the switch is dosed for: ``du/dt = switch_rate (u_set - u)``; where
  ``switch_rate`` is 0, u is what it was set to;
- ``promotion``, the factor of muEM, e.g. of a drug or culture signal that makes memory of effectors;
- ``blockade``, the share of IL-6 whose signal a blocker of its receptor takes away:
  ``dblockade/dt = -blockade/blockade_days``. What is felt, graded and deadly is ``C (1 - blockade)``.

Where a clinic neither promotes nor blocks, the variant with ``u_set`` alone takes less time.

References
----------
E. W. Weber et al., Transient rest restores functionality in exhausted CAR-T cells through epigenetic
remodeling, Science 372:eaba1786 (2021): drug-regulated CARs that are switched off rest and gain memory.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from functools import lru_cache

from numba import njit

from fastcart.checks import number, shown
from fastcart.errors import InputError
from fastcart.model import Model, Observable, Parameter, State
from fastcart.models.b_all import WAITING, Signal, equations, observables, plain, signal, treated

FRACTION = "fraction"
SWITCHES = (False, True, FRACTION)  # True: graded
ACTIVITY = "activity"
ACTUATORS = (False, True, ACTIVITY)  # ACTIVITY: u_set alone

_SWITCH = State("u", "1", 1.0, description="activity of the CAR, from 0 (off) to 1 (on)")
_LAGGING = (
    State("E_lag", "cells", 0.0, description="infused effectors that wait", extinction="CAR-T"),
    State("M_lag", "cells", 0.0, description="infused memory cells that wait", extinction="CAR-T"),
)
_ACTUATORS = (
    State("u_set", "1", 1.0, description="activity of the CAR that its drug is dosed for"),
    State("promotion", "1", 1.0, description="factor of the conversion of effectors to memory"),
    State("blockade", "1", 0.0, description="share of IL-6 whose signal is blocked", scale=1e-3),
)
_ACTUATOR_PARAMETERS = (
    Parameter(
        "switch_rate", 4.0, unit="1/day", range=(0.0, float("inf")), source="assumed",
        description="rate at which the activity of the CAR follows its drug; 0: it stays as it is set",
    ),
    Parameter(
        "blockade_days", 14.0, unit="day", range=(1e-3, float("inf")), source="assumed",
        description="mean days that a blockade of the IL-6 receptor lasts",
    ),
)  # fmt: skip
_FELT = Observable("felt", "pg/ml", "IL-6 whose signal is not blocked, C (1 - blockade)")

_DOC_LAG = """
Growth lag: infused cells wait for lag days on average, dE_lag/dt = -(1/lag + dE) E_lag and
dM_lag/dt = -(1/lag + dM) M_lag, then E_lag/lag and M_lag/lag enter E and M; T counts them."""
_DOC_SWITCHES = {
    False: "",
    True: """
Switch: u from 0 to 1 scales the stimulation a and the killing rate k, and with them proliferation,
exhaustion, activation of memory and IL-6; resting effectors become memory with muEM (1 - u a).""",
    FRACTION: """
Switch, all or none for each cell: u E effectors act, a = Ag/(KA (1 + u E/s) + Ag) and
k = kap u E/(s + u E + h Ag); proliferation, exhaustion, activation of memory and IL-6 follow u a, and resting
effectors become memory with muEM (1 - u a).""",
}
_DOC_ACTIVITY = """
Actuator: du/dt = switch_rate (u_set - u)."""
_DOC_ACTUATORS = """
Actuators: du/dt = switch_rate (u_set - u); promotion multiplies muEM; dblockade/dt = -blockade/blockade_days,
and hazards follow C (1 - blockade)."""


_Cells = namedtuple("_Cells", "L R B E M X N A C Ht Hl")


@njit
def fraction(p, u):
    """Return what CAR-T cells do of which the share u acts in full, the others not at all."""
    return Signal(p.kap, p.rhoE * u, p.kact * u, p.xi * u, p.aE * u, p.muEM, u, u, 1.0)


@njit
def _crowded(y):
    """Return the 11 states with waiting cells among X, which only takes room in the niche and dies."""
    waiting = y.E_lag + y.M_lag
    return _Cells(y.L, y.R, y.B, y.E, y.M, y.X + waiting, y.N, y.A, y.C, y.Ht, y.Hl)


@njit
def _lagging(y, car, p):
    """Derivatives of the 13 states where infused cells wait."""
    dL, dR, dB, dE, dM, dX, dN, dA, dC, dHt, dHl = equations(_crowded(y), car, p)
    waiting = y.E_lag + y.M_lag
    out = 1.0 / p.lag
    return (
        dL, dR, dB, dE + out * y.E_lag, dM + out * y.M_lag, dX + p.dX * waiting, dN, dA, dC, dHt, dHl,
        -(out + p.dE) * y.E_lag, -(out + p.dM) * y.M_lag,
    )  # fmt: skip


@njit
def _acted(y, p):
    """Derivatives of u and of what sets it and the others."""
    return p.switch_rate * (y.u_set - y.u), 0.0 * y.u_set, 0.0 * y.promotion, -y.blockade / p.blockade_days


@njit
def _followed(y, p):
    """Derivatives of u and of what it follows."""
    return p.switch_rate * (y.u_set - y.u), 0.0 * y.u_set


@njit
def _kept(y, p):
    """Derivative of u where it is set at once."""
    return (0.0 * y.u,)


@njit
def _as_is(y):
    return y


@lru_cache(maxsize=16)
def _functions(lagging: bool, switch: bool | str, actuators: bool | str) -> tuple[Callable, Callable]:
    """Return the right-hand side and the observables of a variant."""
    derivatives = _lagging if lagging else equations
    crowded = _crowded if lagging else _as_is
    kind = fraction if switch == FRACTION else signal

    if actuators is True:

        @njit
        def car(y, p):
            c = kind(p, y.u)
            return Signal(
                c.kap, c.rhoE, c.kact, c.xi, c.aE, c.muEM * y.promotion, c.activity, c.acting,
                1.0 - y.blockade,
            )  # fmt: skip

        @njit
        def rhs(t, y, p):
            return *derivatives(y, car(y, p), p), *_acted(y, p)

        @njit
        def observe(t, y, p):
            return *observables(crowded(y), p, car(y, p)), y.C * (1.0 - y.blockade)

    elif switch:
        of_switch = _followed if actuators else _kept

        @njit
        def rhs(t, y, p):
            return *derivatives(y, kind(p, y.u), p), *of_switch(y, p)

        @njit
        def observe(t, y, p):
            return observables(crowded(y), p, kind(p, y.u))

    else:

        @njit
        def rhs(t, y, p):
            return derivatives(y, signal(p, 1.0), p)

        @njit
        def observe(t, y, p):
            return observables(crowded(y), p, signal(p, 1.0))

    return rhs, observe


def variant(
    model: Model, growth_lag: float, switch: bool | str, actuators: bool | str = False
) -> Model:  # fmt: skip
    """Return the model with a growth lag of so many days, a switch, actuators.

    Parameters
    ----------
    model : Model
        The B-ALL model without either.
    growth_lag : float
        Default of the parameter ``lag``, days; 0 for no lag.
    switch : bool or str
        One of `SWITCHES`.
    actuators : bool or str
        One of `ACTUATORS`, only with a switch.
    """
    lagging = growth_lag > 0
    count = 0 if not actuators else 1 if actuators == ACTIVITY else len(_ACTUATORS)
    rhs, observe = _functions(lagging, switch, actuators)
    lag = Parameter(
        "lag",
        growth_lag or 1.0,
        unit="day",
        symbol="lag",
        range=(1e-3, float("inf")),
        source="assumed",
        description="mean days that infused cells wait before they proliferate",
    )
    doc = model.doc + (_DOC_LAG if lagging else "") + _DOC_SWITCHES[switch]
    return model.replace(
        states=(
            *model.states, *(_LAGGING if lagging else ()), *((_SWITCH,) if switch else ()),
            *_ACTUATORS[:count],
        ),
        parameters=(
            *model.parameters, *((lag,) if lagging else ()), *_ACTUATOR_PARAMETERS[:count],
        ),
        observables=(*model.observables, *((_FELT,) if count > 1 else ())),
        rhs=rhs,
        observe=observe,
        typical=treated(WAITING) if lagging else model.typical,
        doc=doc + ("" if not count else _DOC_ACTIVITY if count == 1 else _DOC_ACTUATORS),
        options={"growth_lag": growth_lag, "switch": switch, "actuators": actuators},
    )  # fmt: skip


def b_all(
    growth_lag: float = 0.0, switch: bool | str = False, actuators: bool | str = False
) -> Model:  # fmt: skip
    """Build the model of CAR-T cells against B-cell leukemia (9 states and 2 hazards).

    Parameters
    ----------
    growth_lag : float
        Mean days that infused cells wait before they act and proliferate; 0: none do. It becomes the default
        of the parameter ``lag`` of the patients.
    switch : bool or "fraction"
        Whether the CAR can be switched, by the state ``u`` from 0 (off) to 1 (on): True, every cell acts in
        part; ``"fraction"``, the share u of the cells acts in full.
    actuators : bool or "activity"
        Whether a clinic can act on infused cells otherwise, by the states ``u_set``, ``promotion`` and
        ``blockade``, or ``"activity"``, by ``u_set`` alone; only with a switch.
    """
    days = number(growth_lag, "The option 'growth_lag'")
    if days < 0:
        raise InputError(f"The option 'growth_lag' must be days from 0 on, not {days:g}.")
    if not (isinstance(switch, bool) or switch == FRACTION):
        raise InputError(
            f"The option 'switch' must be True or False or 'fraction' (a share of the cells acts), not "
            f"{shown(switch)}."
        )
    if not (isinstance(actuators, bool) or actuators == ACTIVITY):
        raise InputError(
            f"The option 'actuators' must be True or False or 'activity' (of the CAR alone), not "
            f"{shown(actuators)}."
        )
    if actuators and not switch:
        raise InputError("The option 'actuators' needs a switch; give switch=True or switch='fraction'.")
    return variant(plain(), days, switch, actuators) if days or switch else plain()
