"""Named variants of the T-cell model beside the reference, and what each one changes.

``blasts``: a division programme of the cell itself, for F16. ``contraction``: rates of contraction that
differ between patients. ``clinic``: fewer cells kept as memory, for the memory share of tisagenlecleucel.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from fastcart.models.t_cell_presets import Preset, make_preset
from fastcart.studies import t_cell_cart as cart
from fastcart.studies.t_cell_facts import BY_NAME, POPULATION, fact_numbers

# `blasts`: topology and rates found by random search over the free values of ``unified``, rho_B and kappa
# (22 800 trials, the most of the fourteen facts of the equations, then the largest F16), then rounded
BLAST_PRESET: Preset = make_preset(
    "unified_blasts", first={"S": 0.02, "C": 0.98},
    division={"S": {"S": 0.888, "C": 0.112}, "C": {"C": 0.2, "M": 0.8}, "M": {"M": 0.284, "E": 0.716}},
    off={"EM": 0.0022, "MC": 0.065, "CS": 0.0004},
    theory="unified, after a division programme of the naive cell itself",
)  # fmt: skip
BLAST_RATES = {"rho_B": 2.96, "kappa": 3.4e-5}

# `clinic`: values of the scenario ``cart`` under ``unified``, from a random search of 4000 trials for the
# typical fold, day of the peak, contraction and memory share of Stein 2019, then rounded
CLINIC_VALUES = {
    "P_SC": 0.60, "P_CM": 0.47, "P_ME": 0.124, "rho_S": 1.11, "rho_C": 1.277, "rho_M": 1.443, "rho_E": 1.499
}  # fmt: skip


def compare_variants(*, patients: int = 4000, seed: int = 0, threads: int | None = None) -> pd.DataFrame:
    """Return what each variant changes, beside the reference.

    Parameters
    ----------
    patients : int
        Virtual patients of the variant ``contraction``.
    seed : int
    threads : int, optional

    Returns
    -------
    DataFrame
        ``variant``, ``quantity``, ``reference``, ``with_variant``, ``target``.
    """
    rows: list[tuple[str, str, float, float, Any]] = []
    here: dict[str, Any] = {"threads": threads}
    plain = fact_numbers("unified", pd.DataFrame(index=[0]), **here)
    blasts = fact_numbers(BLAST_PRESET, pd.DataFrame([BLAST_RATES]), variant={"blasts": True}, **here)
    for name in POPULATION:
        fact = BY_NAME[name]
        signs = ["+" if fact.holds(numbers)[0] else "-" for numbers in (plain, blasts)]
        for column in fact.columns:
            rows.append(
                ("blasts", f"{name} {column} ({' to '.join(signs)})", plain[column].iloc[0],
                 blasts[column].iloc[0], fact.cut)
            )  # fmt: skip
    before, held = (sum(bool(BY_NAME[name].holds(n)[0]) for name in POPULATION) for n in (plain, blasts))
    rows.append(("blasts", "facts of 14", before, held, ""))

    spread = [
        cart.variances(cart.kinetics(cart.virtual_patients(patients, contraction=c, seed=seed), **here))
        for c in (cart.COHORTS["reference"], cart.COHORTS["contraction"])
    ]
    for name in ("alpha", "t_peak", "peak", "fold", "FB"):
        rows.append(
            ("contraction", f"variance of ln {name}", spread[0][name], spread[1][name],
             cart.CLINIC_VARIANCE[name])
        )  # fmt: skip

    typical = cart.kinetics(pd.DataFrame(index=[0]), **here)
    clinic = cart.kinetics(pd.DataFrame([CLINIC_VALUES]), **here)
    for name, target in cart.CLINIC.items():
        rows.append(("clinic", name, typical[name].iloc[0], clinic[name].iloc[0], target))
    return pd.DataFrame(rows, columns=["variant", "quantity", "reference", "with_variant", "target"])
