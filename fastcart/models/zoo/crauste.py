"""Crauste et al. 2017: CD8 T cells of mice, from naive cells to memory.

Source: Crauste et al., Identification of nascent memory CD8 T cells and modeling of their ontogeny, Cell Syst
4, 306-317 (2017), doi:10.1016/j.cels.2017.01.014; equations and the maximum-likelihood values by way of the
Benchmark Models collection for PEtab. Fitted to counts of four kinds of CD8 T cells.
"""

from __future__ import annotations

from numba import njit

from fastcart.model import Model, State
from fastcart.models.zoo.parts import parameters

_DOC = """CD8 T cells against a pathogen P: naive N, early E and late L effectors, memory M (Crauste 2017).

N' = -mu_N N - delta_NE N P, E' = delta_NE N P + rho_E E P - mu_EE E^2 - delta_EL E,
L' = delta_EL E - mu_LL L^2 - mu_LE E L - delta_LM L, M' = delta_LM L,
P' = rho_P P^2 - mu_PE E P - mu_PL L P - mu_P P.
For large rho_P the pathogen grows beyond all bounds within finite time.
"""

_ROWS = (
    ("delta_NE", 0.011930787933602, "1/day", "activation of naive cells"),
    ("delta_EL", 0.517945937424841, "1/day", "early effectors that become late ones"),
    ("delta_LM", 0.022580636941607, "1/day", "late effectors that become memory cells"),
    ("rho_E", 0.507415649004014, "1/day", "growth of early effectors"),
    ("rho_P", 0.126382292625502, "1/day", "growth of the pathogen"),
    ("mu_N", 0.739907304399124, "1/day", "death of naive cells"),
    ("mu_EE", 3.91359465940441e-5, "1/(day cell)", "death of early effectors among themselves"),
    ("mu_LE", 1.0e-10, "1/(day cell)", "death of late effectors by early ones"),
    ("mu_LL", 8.11520130499257e-6, "1/(day cell)", "death of late effectors among themselves"),
    ("mu_PE", 1.41248724084794e-10, "1/(day cell)", "clearance of the pathogen by early effectors"),
    ("mu_PL", 3.63403086241783e-5, "1/(day cell)", "clearance of the pathogen by late effectors"),
    ("mu_P", 1.0e-5, "1/day", "decay of the pathogen"),
)


@njit
def _rhs(t, y, p):
    activated = p.delta_NE * y.N * y.P
    late = p.delta_EL * y.E
    memory = p.delta_LM * y.L
    return (
        -(p.mu_N + p.delta_NE * y.P) * y.N,
        activated + (p.rho_E * y.P - p.mu_EE * y.E) * y.E - late,
        late - (p.mu_LL * y.L + p.mu_LE * y.E) * y.L - memory,
        memory,
        (p.rho_P * y.P - p.mu_PE * y.E - p.mu_PL * y.L - p.mu_P) * y.P,
    )


def crauste() -> Model:
    """Return the model of Crauste et al. 2017."""
    return Model(
        "crauste",
        [
            State("N", "cells", 8090.0, log=True, description="naive cells"),
            State("E", "cells", 0.0, description="early effector cells"),
            State("L", "cells", 0.0, description="late effector cells"),
            State("M", "cells", 0.0, description="memory cells"),
            State("P", "", 1.0, log=True, description="pathogen, as a share of its start"),
        ],
        parameters("Crauste et al. 2017, maximum likelihood", _ROWS),
        _rhs,
        t_end=30.0,
        doc=_DOC,
        references=("F. Crauste et al., Cell Syst 4, 306-317 (2017), doi:10.1016/j.cels.2017.01.014",),
    )
