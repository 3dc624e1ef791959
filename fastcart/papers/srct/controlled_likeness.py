"""Likeness to the endogenous response, from exposure alone: the link between ``t_cell`` and ``b_all``.

The dissertation wants treatment to reintroduce characteristics of the endogenous response. Three of them can
be said of what a patient is exposed to, without its outcome: how much of the exposure to active effectors in
four weeks falls into the first one, when they are most, and how many memory cells are left on day 60. The
likeness of a protocol is minus the root mean square of its distances to an acute response in ``t_cell``.

A likeness that counts when the tumor falls would hold the outcome itself; it would measure potency.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from fastcart.batch import solve
from fastcart.models import get
from fastcart.papers.srct.controlled import Arrays, KeepArrays
from fastcart.papers.srct.controlled_tables import Setting
from fastcart.protocols import Controlled, Controller, Infusion, LateMemory, Promotion, Target
from fastcart.protocols.controlled import VISITS
from fastcart.trial.families import ENDPOINTS, Scan, at_level
from fastcart.trial.outcomes import contributions
from fastcart.trial.together import Followed, arms_together

SEED = 2026
ACUTE = "t_cell"  # in tables of courses
FEATURES = ("early share", "day of most effectors", "memory kept")
_EARLY, _WHOLE, _KEPT = 7.0, 28.0, 60.0  # days
_SCALES = (np.log(3.0), 5.0, np.log(10.0))  # of a distance of one
BENEFITS = ("CR90", "EFS730", "OS730")


def features(days: np.ndarray, effectors: np.ndarray, memory: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Return the features of exposures, shape (patients, 3): logarithms, and the day.

    Parameters
    ----------
    days : ndarray, shape (days,)
        Ascending from 0, with 7 and 28 among them, beyond 60.
    effectors, memory : ndarray, shape (patients, days)
        Active effectors, and memory cells.
    most : ndarray, shape (patients,)
        Most cells of all kinds.
    """

    def area(until: float) -> np.ndarray:
        kept = days <= until
        return np.asarray(np.trapezoid(effectors[:, kept], days[kept], axis=1))

    with np.errstate(divide="ignore", invalid="ignore"):
        early = np.log(area(_EARLY) / area(_WHOLE))
        peak = days[np.argmax(effectors, axis=1)]
        after = int(np.searchsorted(days, _KEPT))
        share = (_KEPT - days[after - 1]) / (days[after] - days[after - 1])
        logs = np.log(np.maximum(memory[:, after - 1 : after + 1], 1.0))
        left = (1 - share) * logs[:, 0] + share * logs[:, 1] - np.log(most)
    return np.column_stack([early, peak, left])


def acute(threads: int | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """Return days, and the states of an acute response in ``t_cell`` on them."""
    model = get("t_cell", preset="unified", scenario="acute")
    days = np.linspace(0.0, 100.0, 401)
    path = solve(
        model, {"patient": [0]}, save_at=days, t_end=100.0, threads=threads, progress=False
    ).trajectories
    assert path is not None
    return days, path


def acute_course(days: np.ndarray, path: pd.DataFrame) -> pd.DataFrame:
    """Return effectors and memory of an acute response on whole days, as rows of a table of courses."""
    whole = np.isclose(days % 1.0, 0.0)
    parts = [
        pd.DataFrame({"family": ACUTE, "quantity": quantity, "day": days[whole], "median": values[whole]})
        for quantity, values in (
            ("active", path["E"].to_numpy()), ("M", path[["S", "C"]].sum(axis=1).to_numpy())
        )
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def endogenous(days: np.ndarray, path: pd.DataFrame) -> np.ndarray:
    """Return the features of an acute response, shape (3,); see `acute`."""
    cells = path[["S", "C", "M", "E", "X"]].sum(axis=1).to_numpy()
    memory = path[["S", "C"]].sum(axis=1).to_numpy()
    one = features(days, path["E"].to_numpy()[None], memory[None], cells.max(keepdims=True))
    return np.asarray(one[0])


def likeness(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return minus the root mean square of the distances of features, in their scales."""
    return -float(np.sqrt(np.mean(((found - wanted) / np.array(_SCALES)) ** 2)))


class Protocol(NamedTuple):
    """A protocol that is compared with the endogenous response."""

    name: str
    arm: Controlled
    dose: float


_SCHEDULES = (
    (Infusion(0, 1, 1),),
    tuple(Infusion(day, 1 / 3, 1 / 3) for day in (0, 7, 14)),
    (Infusion(0, 0.1, 0.0), Infusion(7, 0.3, 0.0), Infusion(14, 0.6, 0.0), Infusion(28, 0.0, 1.0)),
)


def protocols(n: int, *, seed: int = SEED) -> list[Protocol]:
    """Draw protocols: schedule, dose, actuator, target, rise, burden, release, memory; like ones in a row."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    drawn = []
    for k in range(n):
        u = rng.random(10)  # all of them, whatever is used: protocol k is the same for any number
        schedule, last = _SCHEDULES[int(3 * u[0])], u[1] < 0.25
        actuator = ("none", "fraction", "graded", "deplete")[int(4 * u[2])]
        rule = Controller(
            target=None if actuator == "none" else Target(
                float(10 ** (8.5 + 2.0 * u[3])), rise=-0.05 + 0.25 * u[4], burden_power=-0.5 + 1.25 * u[5]
            ),
            deplete="effectors" if actuator == "deplete" else "",
            release_burden=5e9 if u[6] < 0.25 else -1.0,
            promotion=None if u[7] < 0.5 else Promotion(factor=float(10 ** (1.5 * (2 * u[7] - 1)))),
            memory=LateMemory() if last else None,
        )  # fmt: skip
        infusions = tuple(Infusion(i.day, i.effectors, 0.0) for i in schedule) if last else schedule
        arm = Controlled(
            name=f"random {k}", infusions=infusions, rule=rule, equal_budget=False,
            switch="graded" if actuator == "graded" else "fraction",
        )  # fmt: skip
        drawn.append(Protocol(arm.name, arm, float(10 ** (5.0 + 3.5 * u[8]))))
    return sorted(drawn, key=_kind)


def _kind(one: Protocol) -> tuple[str, str, bool]:
    """Return what protocols have in common that are solved as one batch."""
    alone = bool(getattr(one.arm.rule, "activity_alone", False))
    return str(one.arm.infusions), one.arm.switch, alone


def measured(listed: Sequence[Protocol], at: Setting, wanted: np.ndarray) -> pd.DataFrame:
    """Return the likeness and the expected outcomes of protocols, a row for each.

    Features of a protocol are means over patients with their weights: of logarithms, and of the day.
    """
    days, rows = np.array([0.0, *VISITS]), []
    arms = [(one.arm, one.dose) for one in listed]
    for one, followed in zip(listed, arms_together(arms, at.patients, **at.options), strict=True):
        found = _features_of(followed, days, at.weights)
        told = contributions(followed.course)[list(ENDPOINTS)].to_numpy()
        ok = np.isfinite(told).all(axis=1)
        means = np.average(told[ok], axis=0, weights=at.weights[ok])
        row = {"protocol": one.name, "likeness": likeness(found, wanted)}
        row |= dict(zip(FEATURES, found.tolist(), strict=True))
        rows.append(row | dict(zip(ENDPOINTS, means.tolist(), strict=True)))
    return pd.DataFrame(rows)


def kept(
    keep: KeepArrays, name: str, listed: Sequence[Protocol], at: Setting, wanted: np.ndarray
) -> pd.DataFrame:
    """Return `measured` as it is kept under a name."""

    def made() -> Arrays:
        table = measured(listed, at, wanted).drop(columns="protocol")
        return {str(column): table[column].to_numpy() for column in table}

    return pd.DataFrame({"protocol": [one.name for one in listed], **keep(name, made)})


def _features_of(followed: Followed, days: np.ndarray, weights: np.ndarray) -> np.ndarray:
    there = followed.there
    assert there is not None
    found = features(days, there["act"], there["memory"], followed.course["peak_T"].to_numpy())
    ok = np.isfinite(found).all(axis=1)
    return np.asarray(np.average(found[ok], axis=0, weights=weights[ok]))


def over_the_frontier(table: pd.DataFrame, single: Scan, weights: np.ndarray) -> pd.DataFrame:
    """Return the table with ``gain_*``, what each protocol achieves beyond a single dose as toxic."""
    means = single.means(np.where(single.ok, weights, 0.0))
    frontier = np.array([at_level(means, single.intensities, rate)[:-1] for rate in table["crs3"]])
    gains = {f"gain_{name}": table[name].to_numpy() - frontier[:, ENDPOINTS.index(name)] for name in BENEFITS}
    return table.assign(**gains)


def correlations(
    table: pd.DataFrame, wanted: np.ndarray, *, resamples: int = 300, seed: int = SEED
) -> pd.DataFrame:
    """Return rank correlations of the likeness, and of its features, with outcomes, of random protocols.

    Only protocols within the frontier of the single dose count. Rows: ``of, with, given`` (empty, or crs3),
    ``rank``, ``low``, ``high`` (by resampling protocols).
    """
    inside = table[table["gain_EFS730"].notna()].reset_index(drop=True)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    pairs: list[tuple[str, str, str]] = [("likeness", name, "") for name in (*BENEFITS, "crs3")]
    pairs += [("likeness", name, "crs3") for name in BENEFITS]
    pairs += [("likeness", f"gain_{name}", "") for name in BENEFITS]
    pairs += [(name, "gain_EFS730", "") for name in FEATURES]
    draws = [rng.integers(0, len(inside), len(inside)) for _ in range(resamples)] if len(inside) > 3 else []
    rows = []
    for of, other, given in pairs:
        names = [of, other, *([given] if given else [])]
        values = inside[names].to_numpy(dtype=np.float64)
        if of in FEATURES:  # nearer to the endogenous response
            values[:, 0] = -np.abs(values[:, 0] - wanted[FEATURES.index(of)])
        found = np.array([_rank(values[rows]) for rows in draws])
        known = found[np.isfinite(found)]
        low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
        rows.append((of, other, given, _rank(values) if draws else np.nan, low, high))
    columns = ["of", "with", "given", "rank", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(protocols=len(inside))


def _rank(values: np.ndarray) -> float:
    """Return Spearman's correlation of two columns, given a third one where there is one."""
    ranks = stats.rankdata(values, axis=0)
    if (np.ptp(ranks, axis=0) == 0).any():
        return float("nan")
    if ranks.shape[1] == 3:
        other = np.column_stack([np.ones(len(ranks)), ranks[:, 2]])
        ranks = ranks[:, :2] - other @ np.linalg.lstsq(other, ranks[:, :2], rcond=None)[0]
    if (np.ptp(ranks, axis=0) < 1e-9).any():
        return float("nan")
    return float(np.corrcoef(ranks[:, 0], ranks[:, 1])[0, 1])


def named(arms: dict[str, tuple[Any, float]]) -> list[Protocol]:
    """Return arms with names as protocols; a calendar becomes a controlled arm that leaves cells alone."""
    listed = []
    for name, (arm, dose) in arms.items():
        if not isinstance(arm, Controlled):
            arm = Controlled(name=name, infusions=arm.infusions, rule=Controller(), equal_budget=False)
        listed.append(Protocol(name, arm, dose))
    return listed


def in_words(table: pd.DataFrame) -> str:
    """Say what the likeness predicts: potency, and hardly what is gained at equal toxicity."""
    known = {(row["of"], row["with"], row["given"] or ""): row for row in table.to_dict("records")}
    told = []
    for key, words in (
        (("likeness", "CR90", ""), "remission"),
        (("likeness", "crs3", ""), "severe CRS"),
        (
            ("likeness", "gain_EFS730", ""),
            "the gain in event-free survival over an equally toxic single dose",
        ),
        (("memory kept", "gain_EFS730", ""), ""),
    ):
        row = known.get(key)
        if row is None or not np.isfinite([row["rank"], row["low"], row["high"]]).all():
            return ""
        told.append((words, f"{row['rank']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})", row))
    (_, cr, first), (_, crs, _), (_, free, _), (_, kept, _) = told
    return (
        f"Over {first['protocols']} random protocols the likeness of exposure to an endogenous response goes "
        f"with remission (rank correlation {cr}) and with severe CRS alike ({crs}); with {told[2][0]} it "
        f"goes {free}, the part of it that is memory kept {kept}."
    )
