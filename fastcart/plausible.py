"""Which patients leave what a model holds plausible: a notice beside the numbers, no limit to them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastcart.errors import counted

if TYPE_CHECKING:
    from fastcart.model import Model

COLUMNS = ("quantity", "low", "high", "patients", "most")
_ROUNDING = 1e-9  # relative: who stands at a limit has not left it
# what units of amounts begin with, whatever they are per
_AMOUNT = re.compile(
    r"(^|\s)(cells?|copies|molecules?|particles|[kmµμunpf]?(g|mol|M|IU|U)|percent|%)(?![A-Za-z])"
)
_LOGARITHM = re.compile(r"log|ln")
_TOLERATED = 1e-3  # part of the largest value, of the usual initial one, or of the scale below 0


def ranges_of(model: Model) -> dict[str, tuple[float, float]]:
    """Return the plausible range of each state and observable that has one."""
    return {item.name: item.plausible for item in model.quantities if item.plausible}


def amounts_of(model: Model) -> dict[str, float]:
    """Return the states that count something and are not held to be so, and how far below 0 rounding goes.

    What they count is told by their unit. States that are integrated in logarithm or marked ``nonnegative``
    cannot be negative, and those with a plausible range have said what they may be.
    """
    sizes = model.defaults()
    found = {}
    for state in model.states:
        marked = state.log or state.nonnegative or state.computed or state.plausible is not None
        if not marked and _AMOUNT.search(state.unit) and not _LOGARITHM.search(state.unit):
            found[state.name] = _TOLERATED * max(state.scale, abs(sizes.get(state.name, 0.0)))
    return found


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
    for name, least in amounts_of(model).items():
        below, lowest = _negative(name, least, endpoints, trajectories)
        if below:
            rows.append((name, 0.0, np.inf, below, lowest))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _negative(
    name: str, least: float, endpoints: pd.DataFrame, trajectories: pd.DataFrame | None
) -> tuple[int, float]:
    """Return in how many patients an amount is negative, by more than the solver's error, and how far."""
    known = list(_values(name, endpoints, trajectories))
    sizes = [np.nanmax(np.abs(values)) for values, _ in known if np.isfinite(values).any()]
    slack = max([least, *(_TOLERATED * size for size in sizes if np.isfinite(size))])
    gone, most = np.zeros(len(endpoints), dtype=bool), 0.0
    for values, patients in known:
        far = values < -slack
        if far.any():
            most = min(most, float(values[far].min()))
            whole = far if patients is None else endpoints["patient"].isin(patients[far].unique()).to_numpy()
            gone |= whole
    return int(gone.sum()), most


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
