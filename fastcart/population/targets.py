"""Aggregates of trials that a population is calibrated to, and specifications by a user (TOML)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import number, read_toml, shown
from fastcart.errors import InputError, nearest
from fastcart.population.prior import PRIOR, Marginal, Prior


@dataclass(frozen=True)
class Quantity:
    """What can be a target: a ratio of two sums over patients of `fastcart.trial.outcomes.moments`.

    Parameters
    ----------
    part, whole : str
        Columns of the moments; without ``whole`` the mean over all patients. Of a flag the ratio is the share
        of the ``whole`` with it.
    description : str
    geometric : bool
        The target is a geometric mean, ``part`` a logarithm.
    """

    part: str
    whole: str
    description: str
    geometric: bool = False

    def inside(self, moments: pd.DataFrame) -> np.ndarray:
        """Return who belongs to the ``whole``."""
        ok = moments["ok"].to_numpy(dtype=bool)
        return ok & moments[self.whole].to_numpy(dtype=bool) if self.whole else ok

    def residuals(self, moments: pd.DataFrame, value: float) -> np.ndarray:
        """Return what must have the weighted mean 0: ``part - value`` within the ``whole``, 0 outside."""
        inside = self.inside(moments)
        aim = math.log(value) if self.geometric else value
        return np.where(inside, moments[self.part].to_numpy(dtype=float) - aim, 0.0)

    def reached(self, moments: pd.DataFrame, weights: np.ndarray) -> float:
        """Return the value in a weighted sample; NaN where nobody belongs to the whole."""
        w = weights * self.inside(moments)
        if not w.sum() > 0:
            return math.nan
        rows = w > 0
        mean = float(w[rows] @ moments[self.part].to_numpy(dtype=float)[rows] / w.sum())
        return math.exp(mean) if self.geometric else mean

    def limits(self, moments: pd.DataFrame) -> tuple[float, float]:
        """Return the lowest and highest value that any weights can give."""
        values = moments[self.part].to_numpy(dtype=float)[self.inside(moments)]
        if not len(values):
            return math.nan, math.nan
        low, high = float(values.min()), float(values.max())
        return (math.exp(low), math.exp(high)) if self.geometric else (low, high)


QUANTITIES = {
    "CR90": Quantity("CR90", "", "remission by day 90"),
    "RFS12": Quantity("RFS12", "CR90", "free of relapse a year after remission, of those in remission"),
    "crs_any": Quantity("crs_any", "", "CRS of any grade"),
    "crs3": Quantity("crs3", "", "CRS of grade 3 or more"),
    "crs4": Quantity("crs4", "", "CRS of grade 4 or more"),
    "negative_share": Quantity("negative", "relapse", "CD19-negative, of relapses"),
    "t_peak_T": Quantity("ln_t_peak_T", "CR90", "geometric mean day of most CAR-T cells, in remission", True),
    "early_B_recovery": Quantity("early_B_recovery", "CR90", "B cells back within 6 months, in remission"),
    "peak_T": Quantity("ln_peak_T", "CR90", "geometric mean of most CAR-T cells, in remission", True),
    "peak_C": Quantity("ln_peak_C", "", "geometric mean of the peak of IL-6, pg/ml", True),
}
HAZARDS = {"toxic_death": "toxic death", "OS12": "overall survival at 12 months"}

TARGETS: dict[str, float] = {
    "CR90": 0.81,  # ELIANA, 61 of 75 within 3 months
    "RFS12": 0.62,  # ELIANA, 59 % to 66 % at 12 months
    "crs_any": 0.77,  # ELIANA, Penn scale
    "crs3": 0.46,
    "crs4": 0.25,
    "negative_share": 0.45,  # Lamble 2023, 41 %; ELIANA more
    "t_peak_T": 9.5,  # Stein 2019, 9.3 days
    "early_B_recovery": 0.17,  # ELIANA, 83 % with B-cell aplasia at 6 months
    "toxic_death": 0.015,  # ELIANA, 1 of 75
    "OS12": 0.76,  # ELIANA
}
"""Aggregates of pediatric trials of tisagenlecleucel with a single infusion."""

_MAUDE = "Maude et al., N Engl J Med 378:439 (2018), ELIANA, doi:10.1056/NEJMoa1709866"
_LAETSCH = "Laetsch et al., J Clin Oncol 41:1664 (2023), ELIANA at three years, doi:10.1200/JCO.22.00642"
SOURCES: dict[str, str] = {
    "CR90": f"61 of 75 patients: {_MAUDE}",
    "RFS12": f"59 % in {_MAUDE}; 66 % in {_LAETSCH}",
    "crs_any": f"Penn scale: {_MAUDE}",
    "crs3": f"Penn scale: {_MAUDE}",
    "crs4": f"Penn scale: {_MAUDE}",
    "negative_share": (
        "41 % of relapses, 68 of 166: Lamble et al., Blood Adv 7(4):575 (2023), article 485109 there; more "
        f"in {_MAUDE}"
    ),
    "t_peak_T": "9.3 days: Stein et al., CPT Pharmacometrics Syst Pharmacol 8:285 (2019), "
    "doi:10.1002/psp4.12388",
    "early_B_recovery": f"83 % with B-cell aplasia at 6 months: {_MAUDE}",
    "toxic_death": f"1 of 75 patients: {_MAUDE}",
    "OS12": f"{_MAUDE}",
}
"""Where the default targets are from."""


def check_targets(targets: Mapping[str, float]) -> dict[str, float]:
    """Return targets, having checked names and values.

    Raises
    ------
    InputError
        For an unknown name, or a share outside (0, 1).
    """
    if not isinstance(targets, Mapping) or not targets:
        raise InputError(f"The targets must be a table of names and values, not {shown(targets)}.")
    known = [*QUANTITIES, *HAZARDS]
    result = {}
    for name, given in targets.items():
        if name not in known:
            raise InputError(f"There is no target {shown(name)}." + nearest(name, known))
        value = number(given, f"The target {name!r}", positive=True)
        geometric = name in QUANTITIES and QUANTITIES[name].geometric
        if not geometric and not value < 1:
            raise InputError(f"The target {name!r} is a share and must lie between 0 and 1, not {value:g}.")
        result[name] = value
    for wider, narrower in (("crs_any", "crs3"), ("crs3", "crs4"), ("crs_any", "crs4")):
        if wider in result and narrower in result and result[narrower] > result[wider]:
            raise InputError(
                f"The target {narrower!r} ({result[narrower]:g}) cannot exceed {wider!r} ({result[wider]:g})."
            )
    return result


def read_specification(source: str | Path | Mapping[str, Any]) -> tuple[Prior, dict[str, float]]:
    """Read a user's marginals, correlations and targets, over the defaults.

    Parameters
    ----------
    source : path of a TOML file, or mapping
        Tables ``[marginals.NAME]`` with ``median``, ``sd`` and optionally ``scale``, ``high``; what is left
        out keeps its default, ``fixed = 1.0`` makes it the same for everyone. ``correlations`` is a list of
        ``[name, name, value]`` that replaces the default ones. ``[targets]`` replaces the default targets.

    Returns
    -------
    prior : Prior
    targets : dict of str to float

    Raises
    ------
    InputError
        For a file that cannot be read, and for anything unknown or impossible.
    """
    table = source if isinstance(source, Mapping) else read_toml(Path(source), "The population")
    for key in table:
        if key not in ("marginals", "correlations", "targets"):
            raise InputError(
                f"The population has no table {shown(key)}."
                + nearest(key, ("marginals", "correlations", "targets"))
            )
    prior = PRIOR.replaced(*(_marginal(k, v) for k, v in _table(table, "marginals").items()))
    if "correlations" in table:
        prior = replace(prior, correlations=_correlations(table["correlations"]))
    targets = check_targets(table["targets"]) if "targets" in table else dict(TARGETS)
    return prior, targets


def _table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = table.get(name, {})
    if not isinstance(value, Mapping):
        raise InputError(f"The {name} of the population must be a table, not {shown(value)}.")
    return value


def _marginal(name: str, given: Any) -> Marginal:
    what = f"The marginal of {shown(name)}"
    if not isinstance(given, Mapping):
        raise InputError(f"{what} must be a table with 'median' and 'sd', or 'fixed', not {shown(given)}.")
    known = ("median", "sd", "scale", "high", "fixed")
    for key in given:
        if key not in known:
            raise InputError(f"{what} has no entry {shown(key)}." + nearest(key, known))
    values = dict(given)
    if "fixed" in values:
        if len(values) > 1:
            raise InputError(f"{what} is either 'fixed' or has a median and an sd, not both.")
        return Marginal(name, values["fixed"], 0.0)
    default = next((m for m in PRIOR.marginals if m.name == name), None)
    if default is None:
        if "median" not in values or "sd" not in values:
            raise InputError(f"{what} needs 'median' and 'sd'; it does not vary by default.")
        return Marginal(name, **values)
    merged = {"median": default.median, "sd": default.sd, "scale": default.scale, "high": default.high}
    return Marginal(name, **{**merged, **values})


def _correlations(given: Any) -> dict[tuple[str, str], float]:
    result = {}
    for entry in given if isinstance(given, list) else [None]:
        if not isinstance(entry, list | tuple) or len(entry) != 3:
            raise InputError(f"A correlation must be [name, name, value], not {shown(entry)}.")
        result[entry[0], entry[1]] = entry[2]
    return result
