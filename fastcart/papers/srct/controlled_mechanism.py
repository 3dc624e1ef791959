"""Why patients differ: how much of the variance of outcomes each mechanism explains, and who gains.

Outcomes are probabilities over the deaths. A quadratic model of ranks of all inputs explains them; what it
loses without the inputs of a group is what that group explains beyond the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from fastcart.papers.srct.controlled_findings import LEVEL, gain, shown
from fastcart.papers.srct.controlled_regimes import GROUPS, NONE
from fastcart.papers.srct.controlled_tables import Reached, Setting
from fastcart.trial.families import ENDPOINTS

OUTCOMES = ("CR90", "crs3", "EFS730")
ARMS = ("single", "RISE_T")
CHANGED = 0.05  # change of a probability that counts as one
_FEWEST = 100  # patients for whom a model of two hundred terms says something
_RIDGE = 10.0  # patients' worth of shrinkage
_COUNTED = ("CR90", "crs3", "EFS730", "OS730")
# columns of a population that are named otherwise among the inputs of the prior
_COLUMNS = {"L0": "L", "B0": "B", "N0": "N"}


def inputs_of(patients: pd.DataFrame) -> pd.DataFrame:
    """Return what patients differ in, by the names of `GROUPS`."""
    found = {}
    for name in (name for names in GROUPS.values() for name in names):
        if name == "fR":
            found[name] = patients["R"] / patients["L"]
        else:
            found[name] = patients[_COLUMNS.get(name, name)]
    return pd.DataFrame(found).reset_index(drop=True)


def explained(inputs: pd.DataFrame, outcomes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the shares of the variance of outcomes that ranks of inputs explain in patients left out.

    Parameters
    ----------
    inputs : DataFrame
    outcomes : ndarray, shape (patients, outcomes)
        NaN where unknown; such a patient counts in none.
    weights : ndarray, shape (patients,)

    Returns
    -------
    ndarray, shape (outcomes,)
        Each patient is predicted from all others; at most 1, about 0 for nothing, NaN for an outcome that
        does not vary, and where there are fewer patients than a model of them needs.
    """
    known = np.isfinite(outcomes).all(axis=1) & (weights > 0)
    y, w = outcomes[known], weights[known] / weights[known].mean()
    if len(y) < _FEWEST:
        return np.full(outcomes.shape[1], np.nan)
    x = _quadratic(inputs[known].to_numpy(dtype=np.float64)) * np.sqrt(w)[:, None]
    shrunk = np.full(x.shape[1], _RIDGE)
    shrunk[0] = 0.0  # the level is not
    hat = x @ np.linalg.inv(x.T @ x + np.diag(shrunk)) @ x.T
    scaled = y * np.sqrt(w)[:, None]
    left = (scaled - hat @ scaled) / (1.0 - np.diag(hat))[:, None]  # exact for a patient left out
    total = (w[:, None] * (y - np.average(y, axis=0, weights=w)) ** 2).sum(axis=0)
    varies = total > 1e-20 * len(y)  # of probabilities, beyond rounding
    return np.where(varies, 1.0 - (left**2).sum(axis=0) / np.where(varies, total, 1.0), np.nan)


def _quadratic(values: np.ndarray) -> np.ndarray:
    """Return one, ranks from -1 to 1, their squares and products."""
    ranks = 2.0 * (stats.rankdata(values, axis=0) - 0.5) / len(values) - 1.0
    products = [ranks[:, i] * ranks[:, j] for i, j in combinations(range(ranks.shape[1]), 2)]
    return np.column_stack([np.ones(len(ranks)), ranks, ranks**2, *products])


def variance(found: Mapping[str, Reached], at: Setting) -> pd.DataFrame:
    """Return what each group of inputs explains of outcomes, both arms at the rate `LEVEL` of severe CRS.

    Rows: ``arm, outcome, group``, ``all`` (what all inputs explain), ``lost`` (what is lost without the
    group).
    """
    inputs, arms = inputs_of(at.patients), [arm for arm in ARMS if arm in found and len(found[arm].parts)]
    places = [ENDPOINTS.index(outcome) for outcome in OUTCOMES]
    columns = ["arm", "outcome", "group", "all", "lost"]
    if not arms:
        return pd.DataFrame(columns=columns)
    values = np.column_stack([found[arm].parts[:, places] for arm in arms])
    whole = explained(inputs, values, at.weights)
    rows = []
    for group, names in GROUPS.items():
        without = explained(inputs.drop(columns=list(names)), values, at.weights)
        for k, (arm, outcome) in enumerate((arm, outcome) for arm in arms for outcome in OUTCOMES):
            rows.append((arm, outcome, group, whole[k], whole[k] - without[k]))
    return pd.DataFrame(rows, columns=columns)


def individual(found: Mapping[str, Reached], at: Setting) -> pd.DataFrame:
    """Return how many patients gain and lose by the rising target over the equally toxic single dose.

    Rows: ``endpoint, more, less, same`` (shares of patients whose probability changes by more than
    `CHANGED`), ``predicted`` (share of the variance of the change that inputs explain).
    """
    columns = ["endpoint", "more", "less", "same", "predicted"]
    if not all(arm in found and len(found[arm].parts) for arm in ARMS):
        return pd.DataFrame(columns=columns)
    places = [ENDPOINTS.index(endpoint) for endpoint in _COUNTED]
    changes = found["RISE_T"].parts[:, places] - found["single"].parts[:, places]
    predicted = explained(inputs_of(at.patients), changes, at.weights)
    rows = []
    for k, endpoint in enumerate(_COUNTED):
        known = np.isfinite(changes[:, k]) & (at.weights > 0)
        weights = at.weights[known] / at.weights[known].sum()
        more, less = (float(weights @ (sign * changes[known, k] > CHANGED)) for sign in (1.0, -1.0))
        rows.append((endpoint, more, less, 1.0 - more - less, predicted[k]))
    return pd.DataFrame(rows, columns=columns)


_WHAT = {"CR90": "remission", "crs3": "severe CRS", "EFS730": "event-free survival"}
WHEN = f"at {100 * LEVEL:g} % severe CRS"


def why_patients_differ(
    variances: pd.DataFrame, frozen: pd.DataFrame, het: pd.DataFrame, gainers: pd.DataFrame
) -> list[str]:
    """Return four sentences on why patients differ, each from its table; none is said without its numbers."""
    texts = [_explains(variances), _dilutes(frozen), _spreads(het), _pays(gainers)]
    return [text for text in texts if text]


def _explains(table: pd.DataFrame) -> str:
    told = []
    for outcome, words in _WHAT.items():
        rows = table[(table["arm"] == "single") & (table["outcome"] == outcome) & table["lost"].notna()]
        rows = rows.sort_values("lost", ascending=False)
        if len(rows) < 2 or not rows["lost"].iloc[0] > 0:
            return ""
        first, second = (
            f"{row['group']} ({100 * row['lost']:.0f} %)" for row in rows.head(2).to_dict("records")
        )
        told.append(f"in {words} by {first}, then {second}")
    return (
        f"Under a single dose ({WHEN}) patients differ {'; '.join(told)}: shares of the variance that no "
        "other mechanism explains."
    )


def _dilutes(table: pd.DataFrame) -> str:
    rows = table[(table["level"] == LEVEL) & (table["endpoint"] == "CR90") & table["gain"].notna()]
    now = rows.loc[rows["group"] == NONE, "gain"]
    others = rows[rows["group"] != NONE].sort_values("gain", ascending=False)
    if not len(now) or len(others) < 2:
        return ""
    first, second = (f"{row['group']} {100 * row['gain']:+.1f}" for row in others.head(2).to_dict("records"))
    return (
        f"In draws of the prior without weights the rising target gains {100 * float(now.iloc[0]):+.1f} "
        f"points of remission over the single dose ({WHEN}); were one mechanism alike in all patients it "
        f"would gain most with {first} and {second}."
    )


def _spreads(table: pd.DataFrame) -> str:
    rows = table[
        (table["part"] == "low then rising") & (table["level"] == LEVEL) & (table["endpoint"] == "CR90")
    ].dropna(subset=["gain"])
    known = dict(zip(rows["het"], rows["gain"], strict=True))
    if len(known) < 2 or min(known) == max(known):
        return ""
    low, high = min(known), max(known)
    values, most = [known[het] for het in sorted(known)], max(known, key=lambda het: known[het])
    if values == sorted(values, reverse=True):
        change = "shrinks as patients differ more"
    elif most == high:
        change = "does not shrink as patients differ more"
    else:
        change = f"is largest ({100 * known[most]:+.1f}) at {most:g} times"
    usual = table[table["het"] == 1.0]
    ceiling = ""
    if len(usual) and np.isfinite(usual[["uniform", "chosen"]].iloc[0]).all():
        uniform, chosen = (100 * float(usual[name].iloc[0]) for name in ("uniform", "chosen"))
        ceiling = (
            f"; a dose chosen for each patient with perfect information would raise event-free survival from "
            f"{uniform:.1f} to {chosen:.1f} %"
        )
    return (
        f"With {low:g} and {high:g} times the spread between patients the gain in remission is "
        f"{100 * known[low]:+.1f} and {100 * known[high]:+.1f} points: it {change}"
        f"{ceiling}."
    )


def _pays(table: pd.DataFrame) -> str:
    rows = table[(table["variable"] == "pC") & (table["endpoint"] == "crs3")].set_index("quarter")["gain"]
    if len(rows) < 4 or not np.isfinite(rows.loc[[1, 4]]).all():
        return ""
    weak, strong = (100 * float(rows.loc[k]) for k in (1, 4))
    rest = (
        "the same target for all shifts severe CRS onto those with the strongest IL-6 response"
        if strong > max(weak, 0.0)
        else "the same target for all spares those with the strongest IL-6 response"
    )
    return (
        f"Under the rising target severe CRS changes by {weak:+.1f} points in the quarter of patients with "
        f"the weakest IL-6 response and by {strong:+.1f} in that with the strongest: {rest}."
    )


def regimes_in_words(parts: Mapping[str, pd.DataFrame], table: pd.DataFrame) -> list[str]:
    """Say of each part that helps in the usual regime in which others it does not; counts, no interval."""
    texts = []
    for part, words in (("low then rising", "The rising target"), ("memory by promotion", "Promotion")):
        rows = table[(table["part"] == part) & (table["level"] == LEVEL)]
        for endpoint in ("CR90", "EFS730"):
            known = rows[(rows["endpoint"] == endpoint) & rows["gain"].notna()]
            usual = shown(gain(parts[part], endpoint)) if part in parts else ""
            if not len(known) or not usual:
                continue
            lost = known.loc[known["gain"] <= 0, "regime"].tolist()
            told = f"; not in: {', '.join(lost)}" if lost else ""
            what = _WHAT[endpoint]
            texts.append(
                f"{words} changes {what} by {usual} in the usual regime; it raises {what} in "
                f"{len(known) - len(lost)} of {len(known)} regimes that can be compared {WHEN}{told}."
            )
    return texts


def wider(parts: Mapping[str, pd.DataFrame], table: pd.DataFrame) -> pd.DataFrame:
    """Return the interval of each gain by drawn patients beside its range over regimes, in points.

    The first holds who was drawn, the second other parameters and structures of the model; neither holds
    both.
    """
    rows = []
    for part, known in parts.items():
        for endpoint, words in (("CR90", "Remission"), ("EFS730", "Event-free, 24 months")):
            change, low, high = gain(known, endpoint)
            there = table[
                (table["part"] == part) & (table["level"] == LEVEL) & (table["endpoint"] == endpoint)
            ]["gain"].dropna()
            if np.isfinite([change, low, high]).all() and len(there):
                rows.append(
                    (part, words, change, low, high, 100 * there.min(), 100 * there.max(), len(there))
                )
    heads = ["Part", "Endpoint", "Gain", "Low", "High", "Lowest regime", "Highest regime", "Regimes"]
    return pd.DataFrame(rows, columns=heads)
