"""Named variants of the T-cell model beside the reference, and what each one changes.

``blasts``: a division programme of the cell itself, for F16. ``contraction``: rates of contraction that differ
between patients. ``clinic``: fewer cells kept as memory, for the memory share of tisagenlecleucel.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from fastcart.models.t_cell_presets import PRESETS, Preset, make_preset
from fastcart.studies import t_cell_cart as cart
from fastcart.studies.t_cell_facts import BY_NAME, POPULATION, fact_numbers, passes

# `clinic`: values of the scenario ``cart`` of the preset ``unified``
CLINIC_VALUES = {
    "P_CM": 0.39, "P_SC": 0.50, "P_ME": 0.14, "rho_S": 1.05, "rho_C": 1.21, "rho_M": 1.365, "rho_E": 1.418
}  # fmt: skip


def blast_preset() -> tuple[Preset, dict[str, float]]:
    """Return the topology, and the common rates, that go with the option ``blasts``."""
    return _BLAST, dict(_BLAST_RATES)
