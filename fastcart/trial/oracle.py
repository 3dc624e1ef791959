"""What perfect information about each patient would achieve: the ceiling of any rule of choice.

An oracle knows what each patient would have at each intensity of a family, in expectation over deaths, and
chooses for each so that an endpoint is best on average while severe CRS has a given rate.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from fastcart.errors import InputError
from fastcart.trial.families import BENEFITS, ENDPOINTS, SCALES, Scan

_HALVINGS = 60


def oracle(
    scans: Scan | list[Scan],
    level: float,
    *,
    endpoint: str = "EFS730",
    on: str = "crs3",
    weights: np.ndarray | None = None,
) -> pd.Series:
    """Return expected outcomes where each patient gets what is best at a rate of severe CRS.

    With a price of severe CRS each patient gets the arm of largest ``endpoint - price crs``; the price is set
    so that the rate is met on average, between two prices by a mixture of both choices. Hence no other choice
    of one arm for each patient does better at that rate.

    Parameters
    ----------
    scans : Scan or list of Scan
        Of the same patients; all of their arms may be chosen.
    level : float
        Rate of severe CRS.
    endpoint : str
        One of the benefits that is to be best.
    on : str
        Which grade of CRS has the rate, ``"crs3"`` or ``"crs4"``.
    weights : ndarray, shape (patients,), optional

    Returns
    -------
    Series
        Of `fastcart.trial.families.ENDPOINTS`; NaN where no choice has so low or so high a rate. A rate above
        that of the best choice without a price is not sought: the best choice is returned then.

    Raises
    ------
    InputError
        For an endpoint that is no benefit, or an unknown scale.
    """
    if endpoint not in BENEFITS or on not in SCALES:
        raise InputError(
            f"An oracle needs one of {', '.join(BENEFITS)} and one of {', '.join(SCALES)}, not "
            f"{endpoint!r} and {on!r}."
        )
    listed = [scans] if isinstance(scans, Scan) else scans
    ok = np.logical_and.reduce([one.ok for one in listed])
    parts = np.concatenate([one.parts for one in listed])[:, ok]
    given = np.ones(len(ok)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = given[ok] / given[ok].sum()
    benefit, rate = parts[:, :, ENDPOINTS.index(endpoint)], parts[:, :, ENDPOINTS.index(on)]

    def chosen(price: float) -> np.ndarray:
        # of equal ones the less toxic
        best = np.lexsort((rate, price * rate - benefit), axis=0)[0]
        return np.asarray(w @ parts[best, np.arange(parts.shape[1])])

    place = ENDPOINTS.index(on)
    free = chosen(0.0)
    nothing = pd.Series(np.full(len(ENDPOINTS), np.nan), index=list(ENDPOINTS))
    if level > float((w * rate).sum(axis=1).max()) or level < float(w @ rate.min(axis=0)):
        return nothing
    if free[place] <= level:
        return pd.Series(free, index=list(ENDPOINTS))
    low, high = 0.0, 1e6
    above, below = free, chosen(high)
    for _ in range(_HALVINGS):
        middle = np.sqrt(max(low, 1e-6) * high)
        found = chosen(float(middle))
        if found[place] > level:
            low, above = middle, found
        else:
            high, below = middle, found
    gap = above[place] - below[place]
    share = (level - below[place]) / gap if gap > 0 else 0.0
    return pd.Series(below + share * (above - below), index=list(ENDPOINTS))
