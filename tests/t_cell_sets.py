"""Random parameter sets of the T-cell model, for tests of what must hold for all of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fastcart.models.t_cell_parameters import ARROWS, FATES, PHENOTYPES


def random_sets(count: int, seed: int = 5) -> pd.DataFrame:
    """Return random topologies and rates over the ranges of the specification and beyond."""
    rng = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {}
    for block in ("flo", "fhi"):
        shares = rng.dirichlet(np.full(4, 0.4), count)
        columns |= {f"{block}_{b}": shares[:, k] for k, b in enumerate(PHENOTYPES)}
    for a in PHENOTYPES:
        shares = rng.dirichlet(np.full(5, 0.4), count)
        columns |= {f"P_{a}{b}": shares[:, k] for k, b in enumerate(FATES)}
    for phase, top in (("Kon", 3.0), ("Koff", 0.3)):
        for arrow in ARROWS:
            present = rng.random(count) < 0.3
            columns[f"{phase}_{arrow}"] = np.where(present, rng.uniform(0, top, count), 0.0)
    for name, low, high in (
        ("alpha", 0.3, 2), ("lambda_I", 1, 6), ("delta_I", 0.3, 1), ("q", 1, 2), ("xi", 0, 0.3),
        ("dXon", 0, 0.1), ("dXoff", 0.1, 0.5), ("g", 0, 3.2), ("delta_A", 0, 1), ("eta", 0, 10),
        ("phi_M", 0.1, 1), ("phi_X", 0, 0.3), ("rho_S", 0.5, 2), ("rho_C", 0.5, 2.5), ("rho_M", 0.5, 3),
        ("rho_E", 0.5, 3.2), ("h_S", 0, 0.03), ("h_C", 0, 0.03), ("h_M", 0, 0.03), ("doff_E", 0.1, 0.9),
    ):  # fmt: skip
        columns[name] = rng.uniform(low, high, count)
    for name, low, high in (("K_I", 4, 6), ("A", 3, 6), ("kappa", -6, -4), ("N", 1, 3)):
        columns[name] = 10 ** rng.uniform(low, high, count)
    return pd.DataFrame(columns)
