"""Tables of the experiment on controlled concentrations, from scans of families of arms.

Arms are compared where they are equally toxic. At the rate that sentences speak of, `LEVEL`, each family is
solved once more at the intensity that its scan gives: so the rate that is reached is seen, and what each
patient has there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.models import for_trial
from fastcart.papers.srct.controlled import PARTS, Study, families, open_loop
from fastcart.papers.srct.controlled_findings import LEVEL
from fastcart.protocols import Controlled, Design, Start
from fastcart.protocols.arms import Arm
from fastcart.trial.counterfactual import DOSE, arm_course
from fastcart.trial.families import (
    ENDPOINTS,
    LEVELS,
    Family,
    Scan,
    at_level,
    at_levels,
    means_of,
    resampled_weights,
)
from fastcart.trial.frontier import draws_of, percentile_limits
from fastcart.trial.outcomes import contributions
from fastcart.trial.paths import arm_paths

SHOWN = ("single", "FLAT", "RISE_B", "RISE_T", "OPEN", "REV", "IL6 onoff", "promote x10")  # on the frontier
BENEFITS_SHOWN = ("CR90", "EFS730", "OS730")
COURSES = ("single", "RISE_T", "promote x10")
QUANTITIES = {
    "active": "Active effectors (cells)",
    "M": "Memory cells",
    "S": "Leukemia (cells)",
    "C": "IL-6 (pg/mL)",
}
GAINERS = {"L": "leukemia", "rhoE": "growth of effectors", "pC": "IL-6 per effector", "Kq": "niche"}
_QUARTERS = 4
_STEPS = 12  # rates of toxicity along which a frontier is drawn


class Setting(NamedTuple):
    """Whom an experiment treats, and how intervals are found."""

    patients: pd.DataFrame
    weights: np.ndarray
    seed: int
    resamples: int
    options: Mapping[str, Any]  # of `fastcart.trial.counterfactual.arm_course`


class Reached(NamedTuple):
    """A family at the rate `LEVEL` of severe CRS: its intensity, and what each patient adds to endpoints."""

    intensity: float
    parts: np.ndarray  # (patients, endpoints); empty where the rate is out of range


def scans_table(scans: Mapping[str, Scan], weights: np.ndarray) -> pd.DataFrame:
    """Return expected values of all arms: a row for each family and intensity."""
    table = pd.concat([scan.table(weights) for scan in scans.values()], ignore_index=True)
    return table[["family", "intensity", *ENDPOINTS]]


def contrasts(gains: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the gains of all parts of the claim in one table, with a column ``part``."""
    table = pd.concat([table.assign(part=part) for part, table in gains.items()], ignore_index=True)
    first = ["part", "family", "versus"]
    return table[[*first, *(name for name in table if name not in first)]]


def estimands(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return what each part of the claim compares, and the verdict on it."""
    words = {part.name: part for part in PARTS}
    told = pd.DataFrame(
        {"part": name, "family": words[name].family, "versus": words[name].versus, "words": words[name].words}
        for name in verdicts["part"]
    )
    return told.merge(verdicts, on="part")


def read_off(scan: Scan, weights: np.ndarray, level: float, on: str = "crs3") -> np.ndarray:
    """Return endpoints and the logarithm to base 10 of the intensity where a scan has a rate."""
    return at_level(scan.means(np.where(scan.ok, weights, 0.0)), scan.intensities, level, on=on)


def family_of(name: str, study: Study) -> Family:
    """Return a family by name, the open loop with activities between those of the scan, too."""
    if name != "OPEN":
        return families()[name]
    known = np.array(list(study.activity))
    logs = np.log(np.array(list(study.activity.values())))

    def between(cells: float) -> tuple[float, ...]:
        places = np.log(known)
        return tuple(np.exp([np.interp(np.log(cells), places, column) for column in logs.T]).tolist())

    return Family(
        name="OPEN",
        intensities=tuple(known.tolist()),
        make=lambda cells: open_loop({cells: between(cells), 2 * cells: between(cells)}).make(cells),
    )


def reached(name: str, study: Study, at: Setting) -> dict[str, np.ndarray]:
    """Solve a family where its scan has the rate `LEVEL` of severe CRS; arrays of `Reached` by name."""
    intensity = float(10 ** read_off(study.scans[name], at.weights, LEVEL)[-1])
    if not np.isfinite(intensity):
        return {"intensity": np.array(np.nan), "parts": np.empty((0, len(ENDPOINTS)))}
    arm, dose = family_of(name, study).make(intensity)
    course = arm_course(arm, at.patients, dose=dose, **at.options)
    return {"intensity": np.array(intensity), "parts": contributions(course)[list(ENDPOINTS)].to_numpy()}


def _mean(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    ok = np.isfinite(parts).all(axis=1) & (weights > 0)
    return np.asarray(np.average(parts[ok], axis=0, weights=weights[ok]))


def equal_toxicity(study: Study, found: Mapping[str, Reached], weights: np.ndarray) -> pd.DataFrame:
    """Return the intensity of each family at each rate of toxicity, and the rate that it reaches there.

    The rate reached is that of the family solved once more, at the rate `LEVEL` of severe CRS.
    """
    rows = []
    for name, scan in study.scans.items():
        for on, levels in LEVELS.items():
            for level in levels:
                row = {"family": name, "on": on, "wanted": level, "reached": np.nan}
                row["intensity"] = 10 ** read_off(scan, weights, level, on)[-1]
                if (on, level) == ("crs3", LEVEL) and len(found[name].parts):
                    row["reached"] = _mean(found[name].parts, weights)[ENDPOINTS.index("crs3")]
                rows.append(row)
    return pd.DataFrame(rows)


def frontier(scans: Mapping[str, Scan], at: Setting) -> pd.DataFrame:
    """Return benefits along rates of toxicity of the families that are `SHOWN`, with bootstrap limits."""
    parts = []
    for name in (name for name in SHOWN if name in scans):
        scan = scans[name]
        weights = np.where(scan.ok, at.weights, 0.0)
        drawn = resampled_weights(weights, draws_of(at.patients), seed=at.seed, resamples=at.resamples)
        means = means_of(scan, np.array([weights, *drawn]))
        places = [ENDPOINTS.index(name) for name in BENEFITS_SHOWN]
        for on in LEVELS:
            rates = means[0, :, ENDPOINTS.index(on)]
            levels = np.linspace(rates.min(), rates.max(), _STEPS)
            read = at_levels(means, scan.intensities, levels.tolist(), on=on)[:, :, places]
            value = read[0]
            low, high = percentile_limits(read[1:], 0.05)
            for k, endpoint in enumerate(BENEFITS_SHOWN):
                parts.append(
                    pd.DataFrame({
                        "family": name, "on": on, "endpoint": endpoint, "rate": levels, "value": value[:, k],
                        "low": low[:, k], "high": high[:, k],
                    })
                )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def courses(study: Study, found: Mapping[str, Reached], at: Setting, *, last: float = 100.0) -> pd.DataFrame:
    """Return medians and the 10th and 90th percentile of what is in the blood, at equal severe CRS.

    A row for each family of `COURSES` that reaches the rate, quantity of `QUANTITIES`, and day.
    """
    days, parts = np.arange(0.0, last + 1.0), []
    for name in (name for name in COURSES if name in found and len(found[name].parts)):
        arm, dose = family_of(name, study).make(found[name].intensity)
        table = _plain(at.patients)
        path = arm_paths(arm, table, days, adapter=for_trial("b_all"), dose=dose, **at.options)
        path["active"] = path["E"] * path.get("u", 1.0)
        weights = at.weights
        for quantity in QUANTITIES:
            wide = path.pivot(index="patient", columns="t", values=quantity)
            values = wide.loc[table["patient"]].to_numpy(dtype=np.float64)
            low, middle, high = weighted_quantiles(values, weights, (0.1, 0.5, 0.9))
            parts.append(
                pd.DataFrame({
                    "family": name, "intensity": found[name].intensity, "quantity": quantity, "day": days,
                    "low": low, "median": middle, "high": high,
                })
            )  # fmt: skip
    columns = ["family", "intensity", "quantity", "day", "low", "median", "high"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _plain(patients: pd.DataFrame) -> pd.DataFrame:
    """Return patients without columns that a path does not know."""
    return patients.drop(columns=[name for name in ("source", "weight", "U1", "U2") if name in patients])


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return quantiles over rows, shape (levels, columns), of rows with weights; NaN has none."""
    result = np.full((len(levels), values.shape[1]), np.nan)
    for k, column in enumerate(values.T):
        known = np.isfinite(column) & (weights > 0)
        if known.any():
            order = np.argsort(column[known], kind="stable")
            share = np.cumsum(weights[known][order])
            places = np.searchsorted(share, np.asarray(levels) * share[-1])
            result[:, k] = column[known][order][np.minimum(places, len(share) - 1)]
    return result


def who_gains(found: Mapping[str, Reached], at: Setting) -> pd.DataFrame:
    """Return by quarter of what patients differ in what RISE_T changes over the equally toxic single dose.

    A row for each of `GAINERS`, quarter, and endpoint, remission and severe CRS, with bootstrap limits.
    """
    columns = ["variable", "quarter", "middle", "endpoint", "gain", "low", "high"]
    if not all(name in found and len(found[name].parts) for name in ("single", "RISE_T")):
        return pd.DataFrame(columns=columns)
    change = found["RISE_T"].parts - found["single"].parts
    ok = np.isfinite(change).all(axis=1)
    weights = np.where(ok, at.weights, 0.0)
    drawn = list(resampled_weights(weights, draws_of(at.patients), seed=at.seed, resamples=at.resamples))
    rows = []
    for variable in GAINERS:
        values = at.patients[variable].to_numpy(dtype=np.float64)
        edges = weighted_quantiles(values[:, None], weights, (0.25, 0.5, 0.75))[:, 0]
        quarter = np.searchsorted(edges, values)
        for k in range(_QUARTERS):
            mine = (quarter == k) & (weights > 0)
            middle = weighted_quantiles(values[mine][:, None], weights[mine], (0.5,))[0, 0]
            for endpoint in ("CR90", "crs3"):
                part = change[mine, ENDPOINTS.index(endpoint)]
                read = partial(_weighted_mean, part, mine)
                low, high = percentile_limits(np.array([read(w) for w in drawn]), 0.05)
                rows.append((variable, k + 1, middle, endpoint, read(weights), float(low), float(high)))
    return pd.DataFrame(rows, columns=columns)


def _weighted_mean(values: np.ndarray, chosen: np.ndarray, weights: np.ndarray) -> float:
    given = weights[chosen]
    return float(given @ values / given.sum()) if given.sum() > 0 else float("nan")


def _memory_arms(cells: float) -> dict[str, tuple[str, float, Arm]]:
    """Return arms that differ in what is done for memory, with what it is and how much of it."""
    arms: dict[str, tuple[str, float, Arm]] = {"no more memory": ("none", 0.0, _memory("first", cells))}
    for factor in (1.0, 10.0, 100.0, 1000.0):
        name = f"infused x{factor:g}, day 28"
        arms[name] = ("infused", factor, _memory("extra", cells, factor=factor))
    for factor in (3.0, 10.0, 30.0):
        name = f"promoted x{factor:g}, day 28"
        arms[name] = ("promoted", factor, _memory("promote", cells, factor=factor))
    for day in (0.0, 14.0):
        start = Start(day=day, burden=0.0)
        arms[f"promoted x10, day {day:g}"] = ("promoted", 10.0, _memory("promote", cells, start=start))
    return arms


def _memory(memory: str, cells: float, **options: Any) -> Controlled:
    return Design(cells=cells, memory=memory, **options).arm(memory)


def memory_response(found: Mapping[str, Reached], at: Setting) -> pd.DataFrame:
    """Return what more memory does under RISE_T at one target, and from which relapses patients are kept.

    ``change_EFS730`` is over promotion ten times from day 28 on, in the same patients, with bootstrap limits.
    """
    target = found["RISE_T"].intensity if "RISE_T" in found else np.nan
    arms = _memory_arms(target if np.isfinite(target) else Design().cells)
    parts = {
        name: contributions(arm_course(arm, at.patients, dose=DOSE, **at.options))[list(ENDPOINTS)].to_numpy()
        for name, (_, _, arm) in arms.items()
    }
    ok = np.all([np.isfinite(values).all(axis=1) for values in parts.values()], axis=0)
    weights = np.where(ok, at.weights, 0.0)
    drawn = list(resampled_weights(weights, draws_of(at.patients), seed=at.seed, resamples=at.resamples))
    usual = parts["promoted x10, day 28"]
    rows = []
    for name, (kind, amount, arm) in arms.items():
        assert isinstance(arm, Controlled)
        change = (parts[name] - usual)[:, ENDPOINTS.index("EFS730")]
        read = partial(_weighted_mean, change[ok], ok)
        low, high = percentile_limits(np.array([read(w) for w in drawn]), 0.05)
        means = dict(zip(ENDPOINTS, _mean(parts[name], weights), strict=True))
        rows.append(
            {"arm": name, "kind": kind, "amount": amount, **means, "change_EFS730": read(weights),
             "change_low": float(low), "change_high": float(high)}
        )  # fmt: skip
    return pd.DataFrame(rows)
