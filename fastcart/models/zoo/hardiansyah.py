"""Hardiansyah & Ng 2019: CAR-T cells in blood and tissue, and three cytokines, in leukemia.

Source: Hardiansyah, Ng, Quantitative systems pharmacology model of chimeric antigen receptor T-cell therapy,
Clin Transl Sci 12, 343-349 (2019), doi:10.1111/cts.12636, equations 1 to 9 and Tables S1 and S2 of its
supplement, read by way of MODEL2009230001 and the vignette of nlmixr2lib. Fitted to two patients of Kalos et
al. 2011. What had to be decided: memory cells come of effectors at the rate ``a_E`` (equation 7 as printed
has no source; Figure 1a has it); ``h`` counts in 1e9 cells, as all other cells do (by its printed unit memory
would vanish, against Figure 1b); cytokines start at baselines that were read off Figure 1b. MODEL2009230001
itself counts cells one by one with rates per 1e9 cells, and infuses for ever.
"""

from __future__ import annotations

from operator import itemgetter

from numba import njit

from fastcart.dosing import DosingSchedule
from fastcart.model import Model, Observable, State
from fastcart.models.human_ranges import IL6_PG_PER_ML, IMMUNE_CELLS, TUMOR_CELLS
from fastcart.models.zoo.parts import chosen, parameters

_DOC = """CAR-T cells in blood and tissue, leukemia B, IL-6, IL-10 and IFN-gamma (Hardiansyah & Ng 2019).

Effectors E and memory cells M (in tissue: E_t, M_t), in 1e9 cells, with f = B / (B + h):
B' = (r_B - d_B) B - K_BC E B,
E' = r_E B E - d_E E - k_in E + k_out E_t - a_E E (1 - f) + a_M M f,
M' = (r_M - d_M) M - k_in M + k_out M_t + a_E E (1 - f) - a_M M f,
E_t' = k_in E - k_out E_t, M_t' = k_in M - k_out M_t;
for each cytokine x' = d_x (x_0 - x) + 1e6 P_x B E, times a_G + (1 - a_G) b_G / (IL10 + b_G) for IFN-gamma.
Option patient: UPN1, a large leukemia, or UPN3. The CAR-T cells come as doses into E: 10, 30 and 60 % on
days 0, 1 and 2.
"""

_COMMON = (
    ("r_B", 0.0093, "1/day", "growth of leukemia"),
    ("d_B", 0.0076, "1/day", "death of leukemia"),
    ("r_M", 0.0509, "1/day", "growth of memory cells"),
    ("d_M", 0.408, "1/day", "death of memory cells"),
    ("a_M", 1.0, "1/day", "effectors that come of memory cells"),
    ("k_in", 76.78, "1/day", "passage to tissue"),
    ("k_out", 1.84, "1/day", "passage to blood"),
    ("h", 1e5, "1e9 cells", "leukemia at half of the activation"),
    ("d_IL6", 3.96, "1/day", "decay of IL-6"),
    ("d_IL10", 4.68, "1/day", "decay of IL-10"),
    ("d_IFNg", 1.51, "1/day", "decay of IFN-gamma"),
    ("a_G", 0.59, "", "IFN-gamma that IL-10 cannot inhibit"),
    ("b_G", 650.0, "pg/ml", "IL-10 at half of the inhibition"),
)
_OF_PATIENT = (
    ("r_E", "1/(day 1e9 cells)", "growth of effectors"),
    ("d_E", "1/day", "death of effectors"),
    ("a_E", "1/day", "memory cells that come of effectors"),
    ("K_BC", "1/(day 1e9 cells)", "killing of leukemia"),
    ("P_IL6", "pg/(ul day 1e15 cells^2)", "production of IL-6"),
    ("P_IL10", "pg/(ul day 1e15 cells^2)", "production of IL-10"),
    ("P_IFNg", "pg/(ul day 1e15 cells^2)", "production of IFN-gamma"),
    ("IL6_0", "pg/ml", "IL-6 at rest, read off Figure 1b"),
    ("IL10_0", "pg/ml", "IL-10 at rest, read off Figure 1b"),
    ("IFNg_0", "pg/ml", "IFN-gamma at rest, read off Figure 1b"),
)
_VALUES: dict[str, tuple[float, ...]] = {
    "UPN1": (16.16, 23.04, 0.024, 0.19, 0.0018, 0.0007, 0.0003, 1.7, 4.5, 2.3),
    "UPN3": (14.40, 1.44, 0.12, 2.21, 0.006, 0.017, 0.006, 1.0, 0.5, 1.7),
}
_BURDEN = {"UPN1": 4.14, "UPN3": 0.93}
DOSES = {"UPN1": 1.1, "UPN3": 0.014}
"""CAR-T cells that the patients got, in 1e9."""
SPLIT = ((0.0, 0.1), (1.0, 0.3), (2.0, 0.6))
"""Days, and the shares that were infused on them."""


@njit
def _rhs(t, y, p):
    active = y.B / (y.B + p.h)
    to_memory = p.a_E * y.E * (1.0 - active) - p.a_M * y.M * active
    leaves_E = p.k_in * y.E - p.k_out * y.E_t
    leaves_M = p.k_in * y.M - p.k_out * y.M_t
    met = 1e6 * y.B * y.E  # of pg/ul per 1e15 cells^2, in pg/ml per 1e9 cells each
    inhibited = p.a_G + (1.0 - p.a_G) * p.b_G / (y.IL10 + p.b_G)
    return (
        (p.r_B - p.d_B - p.K_BC * y.E) * y.B,
        (p.r_E * y.B - p.d_E) * y.E - leaves_E - to_memory,
        leaves_E,
        (p.r_M - p.d_M) * y.M - leaves_M + to_memory,
        leaves_M,
        p.d_IL6 * (p.IL6_0 - y.IL6) + p.P_IL6 * met,
        p.d_IL10 * (p.IL10_0 - y.IL10) + p.P_IL10 * met,
        p.d_IFNg * (p.IFNg_0 - y.IFNg) + p.P_IFNg * met * inhibited,
    )


@njit
def _observe(t, y, p):
    return (y.E + y.M,)


def doses_of(model: Model) -> DosingSchedule:
    """Return the infusions that the patient of a variant of the model got."""
    schedule = DosingSchedule()
    for day, share in SPLIT:
        schedule = schedule.bolus(day, "E", share * DOSES[model.options["patient"]])
    return schedule


def hardiansyah(patient: str = "UPN1") -> Model:
    """Return the model of Hardiansyah & Ng 2019.

    Parameters
    ----------
    patient : str
        ``"UPN1"`` or ``"UPN3"`` of Kalos et al. 2011.
    """
    values = _VALUES[chosen("patient", patient, _VALUES)]
    rows = [(name, value, unit, text) for value, (name, unit, text) in zip(values, _OF_PATIENT, strict=True)]
    source = "Hardiansyah & Ng 2019"
    return Model(
        "hardiansyah",
        [
            State(
                "B",
                "1e9 cells",
                _BURDEN[patient],
                log=True,
                description="leukemia in blood",
                plausible=(0.0, TUMOR_CELLS[1] / 1e9),
            ),
            State(
                "E",
                "1e9 cells",
                0.0,
                scale=1e-6,
                description="effector CAR-T cells in blood",
                plausible=(0.0, IMMUNE_CELLS[1] / 1e9),
            ),
            State(
                "E_t",
                "1e9 cells",
                0.0,
                scale=1e-6,
                description="effector CAR-T cells in tissue",
                plausible=(0.0, IMMUNE_CELLS[1] / 1e9),
            ),
            State("M", "1e9 cells", 0.0, scale=1e-6, description="memory CAR-T cells in blood"),
            State("M_t", "1e9 cells", 0.0, scale=1e-6, description="memory CAR-T cells in tissue"),
            State("IL6", "pg/ml", itemgetter("IL6_0"), description="interleukin 6", plausible=IL6_PG_PER_ML),
            State("IL10", "pg/ml", itemgetter("IL10_0"), description="interleukin 10"),
            State("IFNg", "pg/ml", itemgetter("IFNg_0"), description="interferon gamma"),
        ],
        [
            *parameters(f"{source}, Table S1", _COMMON, positive=("h", "b_G")),
            *parameters(f"{source}, Table S2, {patient}", rows),
        ],
        _rhs,
        t_end=350.0,
        burden="B",
        observables=[Observable("cart", "1e9 cells", "CAR-T cells in blood")],
        observe=_observe,
        doc=_DOC,
        options={"patient": patient},
        typical={"E": DOSES[patient]},  # nothing is stiff before the cells come
        references=("D. Hardiansyah, C. M. Ng, Clin Transl Sci 12, 343-349 (2019), doi:10.1111/cts.12636",),
    )
