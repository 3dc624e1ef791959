"""Kirouac et al. 2023: an antigen toggle of memory, effector and exhausted CAR-T cells.

Source: Kirouac et al., Deconvolution of clinical variance in CAR-T cell pharmacology and response, Nat
Biotechnol 41, 1606-1617 (2023), doi:10.1038/s41587-023-01687-x. Fitted to the courses of CAR-T cells and
tumor of patients with chronic lymphocytic leukemia of Fraietta et al. 2018, by response; the 36 virtual
patients are those of the paper.
"""

from __future__ import annotations

from numba import njit

from fastcart.model import Model, Observable, Parameter, State
from fastcart.models.human_ranges import IMMUNE_CELLS, TUMOR_CELLS
from fastcart.models.zoo.kirouac_patients import PARAMETERS, PATIENTS
from fastcart.models.zoo.parts import POSITIVE, chosen

_DOC = """Antigen B_A turns memory cells T_M into effectors and effectors into exhausted cells (Kirouac 2023).

With H_x = (B_A / B50)^k_x / (1 + (B_A / B50)^k_x), K = (T_E2 / TK50)^kt / (1 + (T_E2 / TK50)^kt) and the
share of self-renewal s = fm (1 - H_m):
T_M' = um (2 s - 1) T_M - dm T_M + rm (1 - H_r) T_E2 + f1 X,
T_E1' = 2 um (1 - s) T_M - ue H_e T_E1 - de1 T_E1 + f2 X,
T_E2' = 2^N ue H_e T_E1 - (kex H_x + de2 + rm (1 - H_r)) T_E2 + f3 X,
T_X' = kex H_x T_E2 - dx T_X + f4 X,
B' = uB B (1 - B / Bmax) - kk K B, B_A' = kb1 B - kb2 B_A.
Cells wait in the product, of which fl are lost for each that comes on: D' = -(1 + fl) D,
X' = D - (f1 + f2 + f3 + f4) X. Option patient: one of the 36 virtual patients, CR-1 to CR-12, PR-1 to PR-12
or NR-1 to NR-12, gives the defaults.
"""

_MEANING: dict[str, tuple[str, str]] = {
    "B50": ("cells", "antigen at half of the toggle"),
    "uB": ("1/day", "growth of the tumor"),
    "kk": ("1/day", "killing of the tumor"),
    "fl": ("1/day", "loss of infused cells"),
    "TK50": ("cells", "effectors at half of the killing"),
    "kt": ("", "steepness of the killing"),
    "kb1": ("1/day", "antigen that comes of tumor cells"),
    "kb2": ("1/day", "loss of antigen"),
    "um": ("1/day", "division of memory cells"),
    "km": ("", "steepness of the loss of self-renewal"),
    "fm": ("", "self-renewal of memory cells without antigen"),
    "ke": ("", "steepness of the expansion"),
    "ue": ("1/day", "expansion of effectors"),
    "N": ("", "divisions of an effector"),
    "kex": ("1/day", "exhaustion"),
    "dm": ("1/day", "death of memory cells"),
    "de1": ("1/day", "death of early effectors"),
    "de2": ("1/day", "death of effectors"),
    "dx": ("1/day", "death of exhausted cells"),
    "Bmax": ("cells", "capacity for tumor cells"),
    "kx": ("", "steepness of the exhaustion"),
    "rm": ("1/day", "return of effectors to memory"),
    "kr": ("", "steepness of the return"),
    "f1": ("1/day", "infused cells that become memory cells"),
    "f2": ("1/day", "infused cells that become early effectors"),
    "f3": ("1/day", "infused cells that become effectors"),
    "f4": ("1/day", "infused cells that become exhausted"),
}


@njit
def _share(x, steepness):
    power = max(x, 0.0) ** steepness
    return power / (1.0 + power)


@njit
def _rhs(t, y, p):
    antigen = y.B_A / p.B50
    renewal = p.fm * (1.0 - _share(antigen, p.km))
    expanding = p.ue * _share(antigen, p.ke) * y.T_E1
    exhausting = p.kex * _share(antigen, p.kx) * y.T_E2
    returning = p.rm * (1.0 - _share(antigen, p.kr)) * y.T_E2
    killing = p.kk * _share(y.T_E2 / p.TK50, p.kt)
    return (
        (p.um * (2.0 * renewal - 1.0) - p.dm) * y.T_M + returning + p.f1 * y.X,
        2.0 * p.um * (1.0 - renewal) * y.T_M - expanding - p.de1 * y.T_E1 + p.f2 * y.X,
        2.0**p.N * expanding - exhausting - p.de2 * y.T_E2 - returning + p.f3 * y.X,
        exhausting - p.dx * y.T_X + p.f4 * y.X,
        (p.uB * (1.0 - y.B / p.Bmax) - killing) * y.B,
        p.kb1 * y.B - p.kb2 * y.B_A,
        -(1.0 + p.fl) * y.D,
        y.D - (p.f1 + p.f2 + p.f3 + p.f4) * y.X,
    )


@njit
def _observe(t, y, p):
    return (y.T_M + y.T_E1 + y.T_E2 + y.T_X,)


def kirouac(patient: str = "CR-1") -> Model:
    """Return the model of Kirouac et al. 2023, with 1e8 infused cells and 1e10 tumor cells at the start.

    Parameters
    ----------
    patient : str
        The virtual patient that gives the defaults: ``"CR-1"`` to ``"NR-12"``.
    """
    values = PATIENTS[chosen("patient", patient, PATIENTS)]
    ranges = dict.fromkeys(("B50", "TK50", "Bmax"), POSITIVE)
    return Model(
        "kirouac",
        [
            State("T_M", "cells", 0.0, description="memory CAR-T cells", plausible=IMMUNE_CELLS),
            State("T_E1", "cells", 0.0, description="early effector CAR-T cells", plausible=IMMUNE_CELLS),
            State("T_E2", "cells", 0.0, description="effector CAR-T cells", plausible=IMMUNE_CELLS),
            State("T_X", "cells", 0.0, description="exhausted CAR-T cells", plausible=IMMUNE_CELLS),
            State("B", "cells", 1e10, log=True, description="tumor cells", plausible=TUMOR_CELLS),
            State("B_A", "cells", 1e10, description="antigen"),
            State("D", "cells", 1e8, log=True, description="infused cells"),
            State("X", "cells", 0.0, description="infused cells on their way"),
        ],
        [
            Parameter(
                name, value, *_MEANING[name][:1], name, ranges.get(name, (0.0, float("inf"))),
                f"Kirouac et al. 2023, virtual patient {patient}", _MEANING[name][1],
            )
            for name, value in zip(PARAMETERS, values, strict=True)
        ],
        _rhs,
        t_end=365.0,
        burden="B",
        observables=[Observable("cart", "cells", "CAR-T cells of all kinds")],
        observe=_observe,
        doc=_DOC,
        options={"patient": patient},
        references=(
            "D. C. Kirouac et al., Nat Biotechnol 41, 1606-1617 (2023), doi:10.1038/s41587-023-01687-x",
        ),
    )  # fmt: skip
