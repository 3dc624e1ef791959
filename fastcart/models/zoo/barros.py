"""Barros et al. 2021, CARTmath: effector and memory CAR-T cells against human tumors in mice.

Source: Barros et al., CARTmath - a mathematical model of CAR-T immunotherapy in preclinical studies of
hematological cancers, Cancers 13, 2941 (2021), doi:10.3390/cancers13122941; equations, values and doses by
way of BIOMD0000001019 (HDLM-2) and BIOMD0000001020 (Raji). Fitted to tumors of mice.
"""

from __future__ import annotations

from numba import njit

from fastcart.dosing import DosingSchedule
from fastcart.model import Model, State
from fastcart.models.zoo.parts import chosen, parameters

_DOC = """Effector (C_T) and memory (C_M) CAR-T cells against a tumor (T) in mice (Barros 2021, CARTmath).

T' = rho T (1 - beta T) - gamma C_T T, C_T' = (phi - pi) C_T + theta T C_M - alpha T C_T, C_M' = epsilon C_T -
theta T C_M - mu C_M. Option line: HDLM-2, Raji, Raji-IDO (tumor cells that make indoleamine 2,3-dioxygenase)
or Raji-IDO+1MT (with its inhibitor). The CAR-T cells come as doses: 2e6 on day 45 and new tumor cells, 1e6,
on day 250 for HDLM-2; 1e7 on day 7 for Raji.
"""

_LINES: dict[str, tuple[float, ...]] = {
    # phi, pi, epsilon, theta, alpha, mu, rho, beta, gamma, T(0)
    "HDLM-2": (0.265, 0.35, 0.15, 6e-6, 4.5e-8, 0.005, 0.05650026, 1.404029e-12, 3.715843e-6, 2e6),
    "Raji": (0.83, 0.8300536, 1.59795, 2.3e-4, 1.248506e-8, 6.89e-7, 0.5071721, 0.0, 3.365388e-8, 3e6),
}
for _name, _alpha in (("Raji-IDO", 1.461699e-8), ("Raji-IDO+1MT", 1.26166e-8)):
    _LINES[_name] = (*_LINES["Raji"][:4], _alpha, *_LINES["Raji"][5:])

_NAMES = (
    ("phi", "1/day", "growth of effectors"),
    ("pi", "1/day", "death of effectors"),
    ("epsilon", "1/day", "memory cells that come of effectors"),
    ("theta", "1/(day cell)", "effectors that come of memory cells, per tumor cell"),
    ("alpha", "1/(day cell)", "inhibition of effectors by tumor cells"),
    ("mu", "1/day", "death of memory cells"),
    ("rho", "1/day", "growth of the tumor"),
    ("beta", "1/cell", "inverse of the capacity for tumor cells"),
    ("gamma", "1/(day cell)", "killing of tumor cells"),
)


@njit
def _rhs(t, y, p):
    recalled = p.theta * y.T * y.C_M
    return (
        (p.phi - p.pi - p.alpha * y.T) * y.C_T + recalled,
        p.epsilon * y.C_T - recalled - p.mu * y.C_M,
        (p.rho * (1.0 - p.beta * y.T) - p.gamma * y.C_T) * y.T,
    )


def doses_of(model: Model) -> DosingSchedule:
    """Return the doses of the experiment that a variant of the model was fitted to."""
    if model.options["line"] == "HDLM-2":
        return DosingSchedule().bolus(45.0, "C_T", 2e6).bolus(250.0, "T", 1e6)
    return DosingSchedule().bolus(7.0, "C_T", 1e7)


def barros(line: str = "HDLM-2") -> Model:
    """Return the model of Barros et al. 2021.

    Parameters
    ----------
    line : str
        The tumor: ``"HDLM-2"``, ``"Raji"``, ``"Raji-IDO"`` or ``"Raji-IDO+1MT"``.
    """
    *values, start = _LINES[chosen("line", line, _LINES)]
    source = f"Barros et al. 2021 (BIOMD000000{1019 if line == 'HDLM-2' else 1020})"
    rows = [(name, value, unit, text) for value, (name, unit, text) in zip(values, _NAMES, strict=True)]
    return Model(
        "barros",
        [
            State("C_T", "cells", 0.0, description="effector CAR-T cells"),
            State("C_M", "cells", 0.0, description="memory CAR-T cells"),
            State("T", "cells", start, log=True, description="tumor cells"),
        ],
        parameters(source, rows),
        _rhs,
        t_end=500.0 if line == "HDLM-2" else 20.0,
        burden="T",
        doc=_DOC,
        options={"line": line},
        references=("L. R. C. Barros et al., Cancers 13, 2941 (2021), doi:10.3390/cancers13122941",),
    )
