"""The efficacy-toxicity frontier: the single infusion over a range of doses, the measure of every schedule.

A schedule that lowers toxicity may do no more than a smaller single dose would. Hence the iso-toxic
comparison: what would the single dose with the same rate of severe CRS have achieved?
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from fastcart.checks import number
from fastcart.errors import InputError

DOSES = (3e5, 6e5, 1.2e6, 2.5e6, 5e6, 1e7, 2e7, 4e7, 7e7, 1e8, 1.5e8, 2.5e8, 5e8, 1e9, 2e9)
_LEVELLED = 0.02  # by how much the rate of severe CRS may fall at a higher dose
_SAME = 0.01  # rates of severe CRS that are taken for equal
_SPAN = 30.0  # ratio of doses of equal toxicity above which no dose is the iso-toxic one
JUDGED = ("CR90", "EFS730", "OS730")


def check_doses(doses: object) -> tuple[float, ...]:
    """Return the doses of a scan, ascending.

    Raises
    ------
    InputError
        For fewer than three doses, or one that is not positive.
    """
    listed = list(doses) if isinstance(doses, list | tuple) else []
    if len(listed) < 3:
        raise InputError("The frontier needs a list of at least three doses.")
    values = sorted(number(dose, "A dose of the frontier", positive=True) for dose in listed)
    if len(set(values)) < len(values):
        raise InputError("The doses of the frontier must differ.")
    return tuple(values)


def isotoxic(arms: pd.DataFrame, frontier: pd.DataFrame) -> pd.DataFrame:
    """Compare each arm with the single dose of equal toxicity.

    Parameters
    ----------
    arms : DataFrame
        Indexed by name; columns ``crs3`` and those of `JUDGED`, expected values.
    frontier : DataFrame
        The single infusion, a row per ``dose``, with the same columns.

    Returns
    -------
    DataFrame
        Indexed as ``arms``: ``dose`` (cells, whose single infusion has the arm's rate of severe CRS;
        interpolated in its logarithm), and for each judged endpoint the value on the frontier and
        ``gain_<endpoint>``, the arm minus the frontier. NaN where the arm is outside the scanned range, and
        where severe CRS does not rise with the dose, so that doses far apart are equally toxic.
    """
    scan = frontier.sort_values("dose")
    # more cells, more CRS; small failures of that by a finite population are levelled
    rates = scan["crs3"].to_numpy(dtype=np.float64)
    toxicity = np.maximum.accumulate(rates)
    ordered = float((toxicity - rates).max()) <= _LEVELLED
    wanted = arms["crs3"].to_numpy(dtype=np.float64)
    doses = scan["dose"].to_numpy(dtype=np.float64)
    equal = np.abs(toxicity - wanted[:, None]) <= _SAME
    span = np.where(equal, doses, 0.0).max(axis=1) / np.where(equal, doses, np.inf).min(axis=1)
    wanted = np.where(ordered & (span <= _SPAN), wanted, np.nan)
    toxicity, rows = np.unique(toxicity, return_index=True)

    def at(values: np.ndarray) -> np.ndarray:
        return np.interp(wanted, toxicity, values[rows], left=np.nan, right=np.nan)

    result = pd.DataFrame(index=arms.index)
    result["crs3"] = arms["crs3"]
    result["dose"] = 10 ** at(np.log10(doses))
    for name in JUDGED:
        result[f"frontier_{name}"] = at(scan[name].to_numpy(dtype=np.float64))
        result[f"gain_{name}"] = arms[name] - result[f"frontier_{name}"]
    return result
