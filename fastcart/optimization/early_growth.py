"""How fast the burden of patients grows at first: what leads a search where there is no survival."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fastcart.batch import solve
from fastcart.model import Model

_SHORT = 1e-3  # of the horizon: the time over which growth is measured
_OPTIONS = ("engine", "rtol", "atol", "threads")


def early_growth(
    model: Model, patients: Any, doses: pd.DataFrame | None, options: Mapping[str, Any]
) -> np.ndarray:
    """Return the rate at which the burden of each patient grows at first, by unit of time; 0 where it falls.

    Parameters
    ----------
    model : Model
        With a burden.
    patients : mapping or int
        As for `fastcart.solve`.
    doses : DataFrame or None
    options : mapping
        Of `fastcart.solve`; those that do not concern a short course are left out.
    """
    horizon = _SHORT * (options.get("t_end") or model.t_end)
    if doses is not None:
        soon = doses["time"] <= horizon
        doses = doses[soon] if soon.any() else None
    burden = str(model.burden)
    paths = solve(
        model, patients, doses=doses, t_end=horizon, save_at=[0.0, horizon], save=[burden], progress=False,
        warn=False, **{name: options[name] for name in _OPTIONS if name in options},
    ).trajectories  # fmt: skip
    assert paths is not None
    size = np.maximum(paths[burden].to_numpy(dtype=float).reshape(-1, 2), np.finfo(float).tiny)
    rate = np.diff(np.log(size), axis=1)[:, 0] / horizon
    return np.where(rate > 0, rate, 0.0)
