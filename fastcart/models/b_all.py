"""CAR-T cells against B-cell leukemia, with the niche, normal B cells, IL-6, and hazards of death.

CD19+ and CD19- leukemia, normal B cells, effector, memory and exhausted CAR-T cells, host lymphocytes that
compete for IL-7 and IL-15, active macrophages and IL-6; two hazards that nothing depends on accumulate the
risk of toxic death and of death by leukemia.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numba import njit

from fastcart.math import reciprocals
from fastcart.model import Model, Observable, State
from fastcart.models.b_all_parameters import COPIES_PER_CELL, PARAMETERS, REFERENCES
from fastcart.models.human_ranges import IL6_PG_PER_ML, IMMUNE_CELLS, TUMOR_CELLS
from fastcart.trial.adapter import infusions as trial_infusions

_DEFAULTS = {parameter.name: float(parameter.default) for parameter in PARAMETERS}  # type: ignore[arg-type]
_CAR_T = "CAR-T"  # effectors and memory die out together: memory alone feeds the effectors again

ENTRY = ("E", "M")  # what infused effector and memory cells enter
WAITING = ("E_lag", "M_lag")  # the same where infused cells wait before they proliferate


def _il6_at_rest(values: Mapping[str, Any]) -> Any:
    return values["sC"] / values["dC"]


STATES = (
    State("L", "cells", 1e11, log=True, description="CD19+ leukemia", extinction=True, plausible=TUMOR_CELLS),
    State(
        "R", "cells", 100.0, log=True, description="CD19- leukemia", extinction=True, plausible=TUMOR_CELLS
    ),
    State("B", "cells", 1e9, description="normal CD19+ B cells", scale=1e3, plausible=IMMUNE_CELLS),
    State("E", "cells", 0.0, description="effector CAR-T cells", extinction=_CAR_T, plausible=IMMUNE_CELLS),
    State("M", "cells", 0.0, description="memory CAR-T cells", extinction=_CAR_T, plausible=IMMUNE_CELLS),
    State("X", "cells", 0.0, description="exhausted CAR-T cells", scale=1e3, plausible=IMMUNE_CELLS),
    State("N", "cells", 3e9, log=True, description="host lymphocytes", plausible=IMMUNE_CELLS),
    State("A", "1", 0.0, description="active share of macrophages", scale=1e-3),
    State(
        "C",
        "pg/ml",
        _il6_at_rest,
        description="serum IL-6 (starts at rest)",
        plausible=IL6_PG_PER_ML,
    ),
    State("Ht", "1", 0.0, description="cumulative hazard of toxic death", scale=1e-2),
    State("Hl", "1", 0.0, description="cumulative hazard of death by leukemia", scale=1e-2),
)

OBSERVABLES = (
    Observable("S", "cells", "leukemia, L + R", plausible=TUMOR_CELLS),
    Observable("T", "cells", "CAR-T cells, E + M + X", plausible=IMMUNE_CELLS),
    Observable("Ag", "cells", "CD19 antigen, L + B"),
    Observable("negative", "1", "CD19- share of leukemia"),
    Observable("copies", "copies/ug", "transgene in blood, 6.6e-7 T"),
    Observable("kill", "1/day", "killing rate per CD19+ cell"),
    Observable("stimulation", "1", "stimulation per effector, a"),
    Observable("niche", "1", "availability of the niche, q"),
    Observable("toxic_hazard", "1/day", "hazard of toxic death"),
    Observable("leukemia_hazard", "1/day", "hazard of death by leukemia"),
)

_DOC = """CAR-T cells against B-cell acute lymphoblastic leukemia. With Ag = L + B, T = E + M + X:
a = Ag/(KA (1 + E/s) + Ag), q = 1/(1 + (N + T)/Kq), k = kap E/(s + E + h Ag), sr = pmx Kp/(Kp + Ag),
dL/dt = rL L (1 - (L + R)/KL) - k L, dR/dt = rL R (1 - (L + R)/KL), dB/dt = sB - dB B - k B,
dE/dt = 2 (1 - sr) kact a M + (rhoE (1 - nu + nu q) a - dE - muEM (1 - a) - xi a (1 + Ag/(KX + Ag))) E,
dM/dt = (rhoM (q - qc) - dM) M - (1 - 2 sr) kact a M + muEM (1 - a) E with qc the niche of the recovered host,
dX/dt = xi a (1 + Ag/(KX + Ag)) E - dX X, dN/dt = -rN N ln((N + T)/KN),
dA/dt = (aE a E + aD k Ag) (1 - A) - dA A, dC/dt = sC + pC A - dC C,
dHt/dt = hT C^2/(CT^2 + C^2), dHl/dt = hL (L + R)/(KH + L + R).
Effectors stand in the denominator of a: antigen is shared, so their growth is bounded. CAR-T cells enter by
doses into E and M, of which the fractions F_E and F_M engraft (see `infusions`)."""


class Signal(NamedTuple):
    """What a clinic may change of a patient.

    Rates that follow once a CAR has bound, that of conversion to memory, the activity of the CAR, the share
    of effectors that compete for antigen and kill, and the share of IL-6 that is felt.
    """

    kap: float
    rhoE: float
    kact: float
    xi: float
    aE: float
    muEM: float
    activity: float
    acting: float
    felt: float


@njit
def signal(p, u):
    """Return what a CAR with activity u does, all in proportion to u; 1 without a switch."""
    return Signal(p.kap * u, p.rhoE * u, p.kact * u, p.xi * u, p.aE * u, p.muEM, u, 1.0, 1.0)


@njit
def equations(y, car, p):
    """Return the derivatives of the eleven states, where the CAR acts as ``car`` says, a `Signal`."""
    S = y.L + y.R
    Ag = y.L + y.B
    T = y.E + y.M + y.X
    lymphocytes = y.N + T
    C = car.felt * y.C
    C2 = C * C
    CT2 = p.CT * p.CT
    acting = car.acting * y.E
    empty = p.KA * (p.s + acting)
    # ten ratios from four divisions
    per_a, per_k, per_q = reciprocals(empty + p.s * Ag, p.s + acting + p.h * Ag, p.Kq + lymphocytes)
    per_KX, per_Kp, per_KH = reciprocals(p.KX + Ag, p.Kp + Ag, p.KH + S)
    per_C, per_qc, per_KL = reciprocals(CT2 + C2, p.Kq + p.KN, p.KL)
    a = p.s * Ag * per_a
    idle = empty * per_a + (1.0 - car.activity) * a  # 1 - u a
    q = p.Kq * per_q
    qc = p.Kq * per_qc
    k = car.kap * acting * per_k
    exhausted = car.xi * a * (1.0 + Ag * per_KX)
    sr = p.pmx * p.Kp * per_Kp
    activated = car.kact * a * y.M
    growth = p.rL * (1.0 - S * per_KL)
    proliferation = car.rhoE * ((1.0 - p.nu) + p.nu * q) * a
    to_memory = car.muEM * idle
    return (
        (growth - k) * y.L,
        growth * y.R,
        p.sB - (p.dB + k) * y.B,
        2.0 * (1.0 - sr) * activated + (proliferation - p.dE - to_memory - exhausted) * y.E,
        (p.rhoM * (q - qc) - p.dM) * y.M - (1.0 - 2.0 * sr) * activated + to_memory * y.E,
        exhausted * y.E - p.dX * y.X,
        -p.rN * y.N * math.log(lymphocytes / p.KN),
        (car.aE * a * y.E + p.aD * k * Ag) * (1.0 - y.A) - p.dA * y.A,
        p.sC + p.pC * y.A - p.dC * y.C,
        p.hT * C2 * per_C,
        p.hL * S * per_KH,
    )


@njit
def observables(y, p, car):
    """Return the ten observables, where the CAR acts as ``car`` says, a `Signal`."""
    S = y.L + y.R
    Ag = y.L + y.B
    T = y.E + y.M + y.X
    acting = car.acting * y.E
    C = car.felt * y.C
    return (
        S,
        T,
        Ag,
        y.R / max(S, 1e-300),
        COPIES_PER_CELL * T,
        car.kap * acting / (p.s + acting + p.h * Ag),
        car.activity * (Ag / (p.KA * (1.0 + acting / p.s) + Ag)),
        1.0 / (1.0 + (y.N + T) / p.Kq),
        p.hT * C * C / (p.CT * p.CT + C * C),
        p.hL * S / (p.KH + S),
    )


@njit
def _rhs(t, y, p):
    return equations(y, signal(p, 1.0), p)


@njit
def _observe(t, y, p):
    return observables(y, p, signal(p, 1.0))


def plain() -> Model:
    """Return the model without growth lag and without switch (9 states and 2 hazards)."""
    return Model(
        name="b_all",
        states=STATES,
        parameters=PARAMETERS,
        rhs=_rhs,
        t_end=730.0,
        observables=OBSERVABLES,
        observe=_observe,
        burden="L",
        method="stab5",  # IL-6 decays at 4 a day over two years
        typical=treated(ENTRY),
        doc=_DOC,
        references=REFERENCES,
    )


def treated(into: tuple[str, str]) -> dict[str, float]:
    """Return what engrafts of the default product, by the states that it enters."""
    return {name: float(cells[0]) for name, cells in zip(into, engrafted({"D": _DEFAULTS["D"]}), strict=True)}


def entry(model: Model) -> tuple[str, str]:
    """Return the states that infused effector and memory cells enter in this variant of the model."""
    return WAITING if set(WAITING) <= set(model.state_names) else ENTRY


def engrafted(
    patients: pd.DataFrame | Mapping[str, Any], E: Any = 1.0, M: Any = 1.0, *, D: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells that engraft when fractions of a patient's product are infused.

    Parameters
    ----------
    patients : DataFrame or mapping
        Columns ``D``, ``fM``, ``F_E``, ``F_M``; what is missing takes the model's default.
    E, M : float or array of float, shape (patients,)
        Fractions of the effector cells ``D (1 - fM)`` and of the memory cells ``D fM`` of the product.
    D : float or array, optional
        Cells of the product, instead of the column.

    Returns
    -------
    E_cells, M_cells : ndarray, shape (patients,)
        In cells: ``F_E E D (1 - fM)`` and ``F_M M D fM``.
    """
    size = len(patients) if isinstance(patients, pd.DataFrame) else np.size(next(iter(patients.values()), 0))
    values = {
        name: np.broadcast_to(np.asarray(patients.get(name, _DEFAULTS[name]), dtype=float), size)
        for name in ("D", "fM", "F_E", "F_M")
    }
    total = values["D"] if D is None else np.broadcast_to(np.asarray(D, dtype=float), size)
    effectors = values["F_E"] * np.asarray(E, dtype=float) * total * (1.0 - values["fM"])
    memory = values["F_M"] * np.asarray(M, dtype=float) * total * values["fM"]
    return effectors, memory


def infusions(
    patients: pd.DataFrame,
    schedule: Iterable[tuple[float, Any, Any]],
    *,
    D: Any = None,
    into: tuple[str, str] = ENTRY,
) -> pd.DataFrame:
    """Return the doses of a schedule of infusions, for `fastcart.solve`.

    Parameters
    ----------
    patients : DataFrame
        Columns ``patient``, ``D``, ``fM``, ``F_E``, ``F_M``; the id is the row number where none is given.
    schedule : iterable of (day, E, M)
        Fractions of each patient's effector and memory cells; a number, or one for each patient.
    D : float or array, optional
        Cells of the product, instead of the column.
    into : (str, str)
        The states that effector and memory cells enter, `entry` of the model.

    Returns
    -------
    DataFrame
        ``patient, time, state, amount``, with engraftment applied; amounts of zero are left out.

    Raises
    ------
    InputError
        For a fraction that is negative or not a number.
    """
    return trial_infusions(engrafted, into, patients, schedule, D=D)


def lymphodeplete(
    states: pd.DataFrame, N0: Any, *, phi: float, rows: np.ndarray | None = None
) -> pd.DataFrame:
    """Return states after lymphodepletion: ``N = N0``; E, M, X and B times ``phi``.

    Parameters
    ----------
    states : DataFrame
        Columns ``N, E, M, X, B``.
    N0 : float or array, shape (patients,)
        Host lymphocytes afterwards, cells.
    phi : float
        Share of CAR-T and B cells that survives: 1 for cytokine support that kills none, about 0.1 for
        chemotherapy.
    rows : ndarray of bool, shape (patients,), optional
        Who is treated; default everyone.
    """
    result = states.copy()
    treated = np.ones(len(states), dtype=bool) if rows is None else np.asarray(rows, dtype=bool)
    result["N"] = np.where(treated, N0, states["N"])
    for name in ("E", "M", "X", "B", *(name for name in WAITING if name in states)):
        result[name] = np.where(treated, phi * states[name], states[name])
    return result
