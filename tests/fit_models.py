"""Models that several tests of fits share, so that each is compiled once."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numba import njit

from fastcart import Model, Parameter


@njit
def _oral(t, y, p):
    return -p.ka * y.depot, p.ka * y.depot - p.CL / p.V * y.center


ORAL = Model(
    "oral", {"depot": 0.0, "center": 0.0},
    [
        Parameter("ka", 1.0), Parameter("CL", 3.0), Parameter("V", 30.0), Parameter("tlag", 0.0),
        Parameter("F", 1.0),
    ],
    _oral, t_end=50.0,
)  # fmt: skip


def oral_curve(time, dose, ka, CL, V):
    """The concentration after a dose at time 0, one compartment with absorption of first order."""
    k = CL / V
    return dose * ka / (V * (ka - k)) * (np.exp(-k * time) - np.exp(-ka * time))


@njit
def _nothing(t, y, p):
    return (0.0 * y.z,)


LINE = Model(
    "line", {"z": 0.0},
    [Parameter("a", 1.0, range=(-1e6, 1e6)), Parameter("b", 1.0, range=(-1e6, 1e6)), Parameter("c", 1.0)],
    _nothing, t_end=10.0,
)  # fmt: skip


def line_table(patients: int = 3, *, seed: int = 0, measurements: int = 8) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    parts = []
    for i in range(patients):
        time = np.sort(random.uniform(0, 10, measurements))
        value = 2.0 + i - 0.5 * time + random.normal(0, 0.3, measurements)
        parts.append(pd.DataFrame({"ID": f"p{i}", "TIME": time, "DV": value}))
    return pd.concat(parts, ignore_index=True)
