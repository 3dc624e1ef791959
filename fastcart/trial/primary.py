"""One primary endpoint of a trial, and what the others are adjusted for: one test for each endpoint.

A trial that looks at many endpoints finds a difference in some by chance. Only the primary one is tested at
the whole level; p of the others is adjusted by Holm's procedure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from fastcart.errors import InputError, nearest
from fastcart.trial.holm import holm
from fastcart.trial.randomize import Design

PRIMARY = "EFS24"
# endpoint: in which column of a contrast it is looked for, which measure, and its expected value
_FOUND = {
    "EFS24": ("efs", "difference on day 730", "EFS730"),
    "OS24": ("os", "difference on day 730", "OS730"),
    "CR90": ("CR90", "risk difference", "CR90"),
    "crs3": ("crs3", "risk difference", "crs3"),
    "crs4": ("crs4", "risk difference", "crs4"),
    "toxic_death": ("toxic_death", "risk difference", "toxic_death"),
}
ENDPOINTS = tuple(_FOUND)
# of follow-up that an endpoint needs; grades of CRS are known by day 30, see `fastcart.trial.observe`
_DAYS = {"EFS24": 730.0, "OS24": 730.0, "CR90": 90.0, "crs3": 30.0, "crs4": 30.0, "toxic_death": 30.0}


def check_primary(name: object) -> str:
    """Return the name of a primary endpoint.

    Raises
    ------
    InputError
        For any other.
    """
    if not isinstance(name, str) or name not in ENDPOINTS:
        raise InputError(
            f"The primary endpoint must be one of {', '.join(ENDPOINTS)}, not {name!r}."
            + nearest(str(name), ENDPOINTS)
        )
    return name


def unseen(primary: str, horizon: float, design: Design | None = None) -> str | None:
    """Return a sentence where nobody is followed to the primary endpoint, else None.

    Parameters
    ----------
    primary : str
    horizon : float
        Days for which patients are followed.
    design : Design, optional
        Of the trials, whose data may be cut off before.
    """
    day = _DAYS[primary]
    cutoff = math.inf if design is None or design.cutoff is None else design.cutoff
    seen = [name for name in ENDPOINTS if _DAYS[name] <= min(horizon, cutoff)]
    others = f", or in [trial] the primary one of {', '.join(seen)}" if seen else ""
    if horizon < day:
        return (
            f"The primary endpoint {primary} is that of day {day:g}, but patients are followed for "
            f"{horizon:g} days; set horizon = {day:g}{others}."
        )
    if design is not None and cutoff < day:
        everybody = f" ({day + design.accrual:g} to see it in all who enter)" if design.accrual else ""
        return (
            f"The primary endpoint {primary} is that of day {day:g}, but the data are cut off on day "
            f"{cutoff:g} after the first entry, when no trial has seen it; set cutoff = {day:g} or "
            f"later{everybody}{others}."
        )
    return None


def endpoint_tests(
    contrasts: pd.DataFrame, primary: str, control: Mapping[str, float], treatment: Mapping[str, float]
) -> pd.DataFrame:
    """Return one test for each endpoint of a trial, beside what is true in the model.

    Parameters
    ----------
    contrasts : DataFrame
        Of `fastcart.trial.analysis.Analysis`.
    primary : str
        One of `ENDPOINTS`.
    control, treatment : mapping of str to float
        Expected values of both arms in the whole population.

    Returns
    -------
    DataFrame
        Rows by endpoint, the primary one first: ``endpoint, role, estimate, low, high`` (differences of
        shares, treatment minus control), ``p``, ``p_holm`` (of the secondary ones, adjusted for each other),
        ``truth`` (the expected difference), ``note``.
    """
    rows = []
    for endpoint in (primary, *(name for name in ENDPOINTS if name != primary)):
        column, measure, expected = _FOUND[endpoint]
        found = contrasts[(contrasts["endpoint"] == column) & (contrasts["measure"] == measure)]
        row = dict.fromkeys(("estimate", "low", "high", "p"), np.nan)
        note = "patients are not followed so far"
        if len(found):
            first = found.iloc[0]
            row, note = {name: float(first[name]) for name in row}, str(first["note"])
        truth = float(treatment[expected]) - float(control[expected])
        role = "primary" if endpoint == primary else "secondary"
        rows.append({"endpoint": endpoint, "role": role, **row, "truth": truth, "note": note})
    table = pd.DataFrame(rows)
    others = table.index[(table["role"] == "secondary") & table["p"].notna()]
    table["p_holm"] = np.nan
    if len(others):
        table.loc[others, "p_holm"] = holm(table.loc[others, "p"])
    columns = ["endpoint", "role", "estimate", "low", "high", "p", "p_holm", "truth", "note"]
    return table[columns]
