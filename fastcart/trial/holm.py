"""Holm's correction for several tests."""

from __future__ import annotations

from typing import Any

import numpy as np


def holm(p: Any) -> np.ndarray:
    """Return p values adjusted by Holm's method.

    That of statsmodels collects all garbage at each call, which takes seconds where many models are loaded.

    Parameters
    ----------
    p : array-like, shape (tests,)
        None missing.

    References
    ----------
    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6,
    65-70 (1979).
    """
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate((len(values) - np.arange(len(values))) * values[order])
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
