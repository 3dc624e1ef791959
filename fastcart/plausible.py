"""Which patients leave what a model holds plausible: a notice beside the numbers, no limit to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastcart.errors import counted

if TYPE_CHECKING:
    from fastcart.model import Model

COLUMNS = ("quantity", "low", "high", "patients", "most")
_ROUNDING = 1e-9  # relative: who stands at a limit has not left it


def ranges_of(model: Model) -> dict[str, tuple[float, float]]:
    """Return the plausible range of each state and observable that has one."""
    return {item.name: item.plausible for item in model.quantities if item.plausible}


def outside(model: Model, endpoints: pd.DataFrame, trajectories: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return how many patients leave a plausible range, by what is known of them.

    Parameters
    ----------
    model : Model
    endpoints : DataFrame
        With the columns ``final_<name>`` and ``peak_<name>`` that there are.
    trajectories : DataFrame, optional

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, a row for each quantity that anybody leaves the range of.
    """
    ranges, rows = ranges_of(model), []
    for name, (low, high) in ranges.items():
        gone = np.zeros(len(endpoints), dtype=bool)
        most = np.nan
        for values, patients in _values(name, endpoints, trajectories):
            slack = _ROUNDING * max(abs(low), abs(high))
            far = (values < low - slack) | (values > high + slack)
            if not far.any():
                continue
            if patients is None:
                gone |= far
            else:
                gone |= endpoints["patient"].isin(patients[far].unique()).to_numpy()
            most = _farther(most, values[far], low, high)
        if gone.any():
            rows.append((name, low, high, int(gone.sum()), most))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def sentences(table: pd.DataFrame, model: Model) -> list[str]:
    """Return a sentence for each row of what `outside` returns."""
    units = {item.name: item.unit for item in model.quantities}
    said = []
    for name, low, high, patients, most in table.itertuples(index=False, name=None):
        limit, side = (high, "above") if most > high else (low, "below")
        shown = " ".join(filter(None, [f"{limit:g}", units.get(name, "")]))
        said.append(
            f"In {counted(patients, 'patient')} {name} is {side} what is plausible ({shown}; up to "
            f"{most:.2g})."
        )
    return said


def together(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return what `outside` says of parts as one table."""
    parts = [table for table in tables if len(table)]
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    rows = []
    for name, group in pd.concat(parts).groupby("quantity", sort=False):
        low, high = group["low"].iloc[0], group["high"].iloc[0]
        most = _farther(np.nan, group["most"].to_numpy(dtype=float), low, high)
        rows.append((name, low, high, int(group["patients"].sum()), most))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _values(
    name: str, endpoints: pd.DataFrame, trajectories: pd.DataFrame | None
) -> Iterable[tuple[np.ndarray, pd.Series | None]]:
    """Yield what is known of a quantity, and whose it is where that is not a value for each patient."""
    for column in (f"final_{name}", f"peak_{name}"):
        if column in endpoints:
            yield endpoints[column].to_numpy(dtype=float), None
    if trajectories is not None and name in trajectories:
        yield trajectories[name].to_numpy(dtype=float), trajectories["patient"]


def _farther(most: float, values: np.ndarray, low: float, high: float) -> float:
    """Return the value that is farthest outside: the largest where any is above."""
    both = values if np.isnan(most) else np.append(values, most)
    return float(both.max() if (both > high).any() else both.min())
