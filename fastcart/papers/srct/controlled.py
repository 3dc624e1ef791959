"""Families of controlled arms, and the parts of the claim that low, then rising effectors help.

The claim: few active effectors first, more later, memory last.

Each part is a contrast of two families at equal severe CRS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.papers.srct.controlled_findings import sentences
from fastcart.protocols import Controlled, Design, Infusion, Lymphodepletion, Promotion, Start, get
from fastcart.protocols.arms import Arm, Calendar
from fastcart.protocols.controlled import mean_activity, without_measurement
from fastcart.protocols.controllers import Controller
from fastcart.trial.counterfactual import DOSE
from fastcart.trial.families import (
    ENDPOINTS,
    Comparing,
    Family,
    Reader,
    Scan,
    gains,
    of_doses,
    of_targets,
    scan,
)
from fastcart.trial.outcomes import contributions
from fastcart.trial.together import Followed
from fastcart.trial.verdict import verdicts

DOSES = (1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 2.5e6, 5e6, 1e7, 2.5e7, 5e7, 1e8, 2.5e8, 1e9)
TARGET_CELLS = (3e8, 7e8, 1.5e9, 3e9, 6e9, 1.2e10, 2.4e10, 6e10)
IL6 = (80.0, 150.0, 250.0, 400.0, 600.0, 900.0)

_NICHE = (Lymphodepletion(28.0, 1.0),)
_WEEKLY = Calendar(name="weekly3", infusions=tuple(Infusion(day, 1 / 3, 1 / 3) for day in (0, 7, 14)))

# controlled families: the design beside the intensity, other options of the arm
_DESIGNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "FLAT": ({"target": "FLAT"}, {}),
    "RISE_B": ({"target": "RISE_B"}, {}),
    "RISE_T": ({}, {}),
    "RISE_TB": ({"target": "RISE_TB"}, {}),
    "REV": ({"target": "REV"}, {}),
    "RISE_T graded": ({"actuator": "graded"}, {}),
    "RISE_T depletion": ({"actuator": "depletion"}, {}),
    "FLAT graded": ({"target": "FLAT", "actuator": "graded"}, {}),
    "FLAT depletion": ({"target": "FLAT", "actuator": "depletion"}, {}),
    "mem last": ({"memory": "last"}, {}),
    "mem x10 d28": ({"memory": "extra"}, {}),
    "promote x10": ({"memory": "promote"}, {}),
    "promote x30": ({"memory": "promote", "factor": 30.0}, {}),
    "niche d28": ({}, {"lymphodepletions": _NICHE}),
    "niche d28 + mem x10": ({"memory": "extra"}, {"lymphodepletions": _NICHE}),
    "RISE_T + IL6 guard 300": ({"il6_guard": 300.0}, {}),
}


def _designed(name: str, cells: float) -> Controlled:
    design, options = _DESIGNS[name]
    return Design(**design, cells=cells).arm(name, title=name, **options)


def _on_single(name: str, rule: Controller) -> Controlled:
    return Controlled(name=name, infusions=(Infusion(0, 1, 1),), rule=rule)


def families(
    *,
    doses: tuple[float, ...] = DOSES,
    cells: tuple[float, ...] = TARGET_CELLS,
    il6: tuple[float, ...] = IL6,
    product: float = DOSE,
) -> dict[str, Family]:
    """Return all families by name, but for open loops, which follow from others; see `open_loop`.

    ``product`` is the number of cells that arms with a target infuse.
    """
    single: dict[str, Arm] = {
        "single": get("A0"),
        "weekly3": _WEEKLY,
        "LHM": get("A5"),
        # nobody measures after a single dose: from day 28 on by the calendar, as in the reference
        "single promote x10": _on_single(
            "single promote x10", Controller(promotion=Promotion(start=Start(burden=0.0)))
        ),
        "single niche d28": get("X8"),
    }
    # what is split needs more cells to be as toxic
    more = (*doses, 2.5 * max(doses), 10 * max(doses))
    found = {
        name: of_doses(arm, more if name in ("weekly3", "LHM") else doses, name=name)
        for name, arm in single.items()
    }
    targets = partial(of_targets, dose=product)
    found |= {name: targets(partial(_designed, name), cells, name=name) for name in _DESIGNS}
    found["IL6 onoff"] = targets(
        lambda level: _on_single("IL6 onoff", Controller(il6_hold=level)), il6, name="IL6 onoff"
    )
    return found


def open_loop(
    activity: Mapping[float, tuple[float, ...]], name: str = "OPEN", *, product: float = DOSE
) -> Family:
    """Return the open loop of RISE_T, from its mean activities by target."""

    def make(cells: float) -> Arm:
        return without_measurement(_designed("RISE_T", cells), activity[cells], name)

    return of_targets(make, tuple(activity), name=name, dose=product)


class Part(NamedTuple):
    """A part of the claim: a family minus another one at equal severe CRS."""

    name: str
    family: str
    versus: str
    words: str


PARTS = (
    Part("infusion timing", "LHM", "single", "only the infusions are timed low, high, memory last"),
    Part("low then rising", "RISE_T", "single", "active effectors are held low and rise"),
    Part("rising as burden falls", "RISE_B", "single", "the target follows the measured burden"),
    Part("without a rise", "FLAT", "RISE_T", "the target stays flat instead of rising"),
    Part("tying to burden", "RISE_B", "RISE_T", "the rise follows the burden instead of the calendar"),
    Part("burden and calendar", "RISE_TB", "RISE_T", "the rise follows the burden, too"),
    Part("opposite order", "REV", "single", "high first, low as the burden falls"),
    Part("without feedback", "OPEN", "RISE_T", "the same mean course without measurement"),
    Part("memory withheld to the end", "mem last", "RISE_T", "memory cells of the product infused last"),
    Part("memory infused at the end", "mem x10 d28", "RISE_T", "ten more products of memory cells"),
    Part("memory by promotion", "promote x10", "RISE_T", "effectors made memory at the end"),
    Part("whole claim", "promote x10", "single", "low, rising, and memory made at the end"),
    Part("promotion after a single dose", "single promote x10", "single", "memory made from day 28 on alone"),
    Part("graded switch", "RISE_T graded", "RISE_T", "every cell acts in part"),
    Part("depletion", "RISE_T depletion", "RISE_T", "cells above the target are killed"),
    Part("IL-6 on and off", "IL6 onoff", "single", "off while IL-6 is high"),
)


IN_PARTS = tuple(dict.fromkeys(name for part in PARTS for name in (part.versus, part.family)))
"""Families that a part of the claim needs, single doses first."""

Arrays = dict[str, np.ndarray]
KeepArrays = Callable[[str, Callable[[], Arrays]], Arrays]  # reads what is kept of a family, or makes it


class Study(NamedTuple):
    """Controlled arms in one population."""

    scans: dict[str, Scan]
    gains: dict[str, pd.DataFrame]
    verdicts: pd.DataFrame
    sentences: list[str]
    activity: dict[float, tuple[float, ...]]  # see `Solved`
    deadlier: dict[str, np.ndarray]


def _not_kept(_: str, make: Callable[[], Arrays]) -> Arrays:
    return make()


_REFINED = (0.16, 0.46)  # rates of severe CRS that resamples reach from those at which arms are compared
LETHAL = ("single", "FLAT", "RISE_T", "IL6 onoff", "promote x10")
"""Families that are judged where CRS is deadlier, too."""


def _scanned(
    family: Family,
    patients: pd.DataFrame,
    weights: np.ndarray | None,
    factors: Sequence[float],
    **options: Any,
) -> Arrays:
    """Return the scan of a family as arrays; of RISE_T with its mean activity at each target.

    Of families that are `LETHAL` also what patients add where toxic death is ``factors`` times as frequent.
    """
    activity: dict[float, tuple[float, ...]] = {}
    deadlier: dict[float, np.ndarray] = {}

    def seen(intensity: float, arm: Followed) -> None:
        if family.name == "RISE_T" and arm.activity is not None:
            activity[intensity] = mean_activity(arm.activity, weights)
        if family.name in LETHAL and factors:
            told = [contributions(arm.course, hT_factor=factor)[list(ENDPOINTS)] for factor in factors]
            deadlier[intensity] = np.array([table.to_numpy() for table in told])

    found = scan(family, patients, weights=weights, seen=seen, **options)
    arrays = {"intensities": found.intensities, "parts": found.parts}
    if activity:
        arrays["activity"] = np.array([activity[cells] for cells in found.intensities.tolist()])
    if deadlier:
        arrays["deadlier"] = np.stack([deadlier[x] for x in found.intensities.tolist()], axis=1)
    return arrays


class Solved(NamedTuple):
    """Families solved over their intensities."""

    scans: dict[str, Scan]
    activity: dict[float, tuple[float, ...]]  # mean one of RISE_T by target, which its open loop repeats
    deadlier: dict[str, np.ndarray]  # by family, (factors, intensities, patients, endpoints)


def solved(
    chosen: Mapping[str, Family],
    patients: pd.DataFrame,
    *,
    weights: np.ndarray | None = None,
    product: float = DOSE,
    factors: Sequence[float] = (),
    refined: Sequence[str] = (),
    with_open: bool = True,
    keep: KeepArrays = _not_kept,
    **options: Any,
) -> Solved:
    """Solve families; where RISE_T is among them its open loop, too.

    Parameters
    ----------
    chosen : mapping of str to Family
    patients : DataFrame
    weights : ndarray, shape (patients,), optional
    product : float
        Cells of the product of the open loop.
    factors : sequence of float
        By which toxic death is more frequent, besides 1, in families that are `LETHAL`.
    with_open : bool
        Whether the open loop is.
    refined : sequence of str
        Families to which intensities are added until neighbours hardly differ, see `scan`.
    keep : callable, optional
        ``keep(name, make)`` returns the arrays of a family, read where they are kept, else made and kept.
    **options
        As for `fastcart.trial.families.scan`.
    """
    found = Solved({}, {}, {})

    def add(family: Family) -> None:
        within = _REFINED if family.name in refined else None
        make = partial(
            _scanned, family, patients, weights, factors, refined_within=within, progress=False, **options
        )
        arrays = keep(family.name, make)
        found.scans[family.name] = Scan(family.name, arrays["intensities"], arrays["parts"])
        if "activity" in arrays:
            places = arrays["intensities"].tolist()
            found.activity.update(zip(places, map(tuple, arrays["activity"]), strict=True))
        if "deadlier" in arrays:
            found.deadlier[family.name] = arrays["deadlier"]

    for family in chosen.values():
        add(family)
    if found.activity and with_open:
        add(open_loop(found.activity, product=product))
    return found


def study(
    patients: pd.DataFrame,
    *,
    seed: int,
    chosen: Mapping[str, Family] | None = None,
    weights: np.ndarray | None = None,
    how: Comparing | None = None,
    factors: Sequence[float] = (),
    refined: Sequence[str] = (),
    keep: KeepArrays = _not_kept,
    **options: Any,
) -> Study:
    """Scan families of arms, and judge the parts of the claim that follow from them: the ablation ladder.

    Parameters
    ----------
    patients : DataFrame
    seed : int
        Of the bootstrap.
    chosen : mapping of str to Family, optional
        Default all `families`. Where RISE_T is among them, its open loop is added.
    weights : ndarray, shape (patients,), optional
    how : Comparing, optional
    factors, refined, keep, **options
        As for `solved`.
    """
    made = solved(
        chosen or families(), patients, weights=weights, factors=factors, refined=refined, keep=keep,
        **options,
    )  # fmt: skip
    scans = made.scans
    reader = Reader(patients, weights=weights, seed=seed, how=how or Comparing())
    found = {
        part.name: gains(scans[part.family], scans[part.versus], patients, seed=seed, reader=reader)
        for part in PARTS
        if part.family in scans and part.versus in scans
    }
    return Study(scans, found, verdicts(found), sentences(found), made.activity, made.deadlier)
