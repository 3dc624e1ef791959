"""Search protocols for the largest gain over the single infusion of equal toxicity.

Every protocol is measured by the frontier of the single infusion in the same patients: its gain is the
expected event-free survival at 24 months minus that of the single dose with the same rate of severe CRS. By
that alone the best protocol may be one that does little, and still more than the tiny dose that is as mild;
hence a protocol must neither be more toxic than the single infusion of the whole product, nor lose more than
a margin of its event-free survival. The search sees one population; what is reported comes from patients that
it has not seen, with a bootstrap over the draws of their prior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import count, number, seed_of
from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.optimization.swarm import Swarms, SwarmSettings
from fastcart.papers.srct.many_arms import courses_together
from fastcart.papers.srct.protocol_families import Family
from fastcart.protocols import Adaptive, Arm, Calendar, Infusion, Switched
from fastcart.trial.counterfactual import DOSE
from fastcart.trial.frontier import (
    JUDGED,
    RESAMPLES,
    at_equal_toxicity,
    draws_of,
    isotoxic,
    percentile_limits,
    resampled_means,
)
from fastcart.trial.outcomes import contributions

SHARES = (1e-4, 1e-3, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.5, 3.0)
"""Of the product, the single infusions that make up the frontier."""
OBJECTIVE = "gain_EFS730"
MARGIN = 0.02  # of event-free survival at 24 months that a protocol may lose
PARTICLES, ITERATIONS = 12, 8
REPLICATES = RESAMPLES
_BATCH = 20_000  # patients in one batch
_ENDPOINTS = ("crs3", *JUDGED)
_EFS = _ENDPOINTS.index("EFS730")


@dataclass(frozen=True)
class Setting:
    """Patients with the frontier of their single infusion.

    Parameters
    ----------
    patients : DataFrame
    dose : float
        Cells of the product.
    frontier : ndarray, shape (doses, patients, endpoints)
        What each patient adds to severe CRS and to what is judged beside it, at each of the `SHARES`.
    model : str or Model
    noise_seed : int
    threads : int, optional
    """

    patients: pd.DataFrame
    dose: float
    frontier: np.ndarray
    model: str | Model = "b_all"
    noise_seed: int = 0
    threads: int | None = None

    @property
    def single(self) -> dict[str, float]:
        """Endpoints of the single infusion of the whole product."""
        return _single(self.frontier)

    def parts(self, arms: Sequence[Arm]) -> np.ndarray:
        """Return what each patient adds to the endpoints, shape (arms, patients, endpoints)."""
        return _parts(
            arms, self.patients, dose=self.dose, model=self.model, noise_seed=self.noise_seed,
            threads=self.threads,
        )  # fmt: skip


def setting(
    patients: pd.DataFrame,
    *,
    dose: float = DOSE,
    model: str | Model = "b_all",
    noise_seed: int = 0,
    threads: int | None = None,
) -> Setting:
    """Solve the frontier of the single infusion in these patients.

    Parameters
    ----------
    patients : DataFrame
        With ``patient`` and columns of the model.
    dose : float
        Cells of the product.
    model, noise_seed, threads
        As for `fastcart.trial.counterfactual.arm_course`.

    Returns
    -------
    Setting
    """
    single = [
        Calendar(name=f"{share:g}", infusions=(Infusion(0.0, share, share),), equal_budget=False)
        for share in SHARES
    ]
    frontier = _parts(
        single, patients, dose=dose, model=model, noise_seed=noise_seed, threads=threads
    )  # fmt: skip
    return Setting(patients, dose, frontier, model, noise_seed, threads)


def _parts(arms: Sequence[Arm], patients: pd.DataFrame, **options: Any) -> np.ndarray:
    """Solve arms of any kinds, in batches of one kind, and return what each patient adds."""
    found = np.full((len(arms), len(patients), len(_ENDPOINTS)), np.nan)
    kinds: dict[Any, list[int]] = {}
    for place, arm in enumerate(arms):
        kind = (type(arm), arm.visits if isinstance(arm, Adaptive | Switched) else None)
        kinds.setdefault(kind, []).append(place)
    at_once = max(1, _BATCH // len(patients))
    for places in kinds.values():
        for k in range(0, len(places), at_once):
            batch = places[k : k + at_once]
            paths = courses_together([arms[place] for place in batch], patients, **options)
            together = contributions(pd.concat(paths, ignore_index=True))[list(_ENDPOINTS)]
            found[batch] = together.to_numpy().reshape(len(batch), len(patients), -1)
    return found


def gains(parts: np.ndarray, frontier: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return expected endpoints of arms and their gains over the iso-toxic single infusion.

    Parameters
    ----------
    parts : ndarray, shape (arms, patients, endpoints)
    frontier : ndarray, shape (doses, patients, endpoints)
    names : sequence of str
        Of the arms.

    Returns
    -------
    DataFrame
        Indexed by name: ``crs3, CR90, EFS730, OS730``, and what `fastcart.trial.frontier.isotoxic` adds, with
        ``dose`` as a share of the product.
    """
    arms = pd.DataFrame(np.nanmean(parts, axis=1), index=list(names), columns=_ENDPOINTS)
    scan = pd.DataFrame(np.nanmean(frontier, axis=1), columns=_ENDPOINTS).assign(dose=SHARES)
    return arms.join(isotoxic(arms, scan).drop(columns="crs3"))


@dataclass(frozen=True)
class Found:
    """The best protocol of a family in the patients of a search.

    Parameters
    ----------
    family : Family
    numbers : dict of str to float
    gain : float
        In event-free survival at 24 months over the iso-toxic single infusion, in the same patients, to which
        it was fitted: judge it in others.
    keeps : bool
        Whether it is no more toxic than the single infusion of the whole product, and loses no more than the
        margin of its event-free survival.
    evaluations : int
    """

    family: Family
    numbers: dict[str, float]
    gain: float
    keeps: bool
    evaluations: int

    @property
    def arm(self) -> Arm:
        """The protocol as an arm."""
        return self.family.make(self.numbers)

    @property
    def words(self) -> str:
        """The protocol in a line."""
        return self.family.say(self.numbers)


def search(
    family: Family,
    where: Setting,
    *,
    seed: int,
    particles: int = PARTICLES,
    iterations: int = ITERATIONS,
    margin: float = MARGIN,
) -> Found:
    """Look for the protocol of a family with the largest gain over the iso-toxic single infusion.

    Parameters
    ----------
    family : Family
    where : Setting
        Patients of the search; all particles of an iteration are solved as one batch.
    seed : int
    particles, iterations : int
    margin : float
        How much less event-free survival at 24 months than the single infusion of the whole product it may
        bring.

    Returns
    -------
    Found
        A protocol that is more toxic than the whole product at once, or less effective by more than the
        margin, loses against every one that is not; one whose toxicity no single infusion has, so that its
        gain is unknown, loses against all.
    """
    margin = number(margin, "The margin")
    single = where.single
    settings = SwarmSettings(particles=count(particles, "The number of particles"))
    start = np.array([[float(family.start[name]) for name in family.names]])
    swarms = Swarms(family.space(), iterations=iterations, seed=seed_of(seed), settings=settings, start=start)
    while swarms.active.any():
        _, points = swarms.ask()
        arms = [family.arm(point) for point in points[0]]
        worth = gains(where.parts(arms), where.frontier, [f"{k}" for k in range(len(arms))])
        gain = worth[OBJECTIVE].to_numpy(dtype=np.float64)
        violation = np.maximum(worth["crs3"].to_numpy() - single["crs3"], 0.0)
        violation += np.maximum(single["EFS730"] - margin - worth["EFS730"].to_numpy(), 0.0)
        swarms.tell(-gain[None], np.where(np.isnan(gain), 1.0, violation)[None])
    progress = swarms.progress
    return Found(
        family,
        family.numbers(progress.point[0]),
        -float(progress.objective[0]),
        bool(progress.violation[0] <= 0.0),
        int(progress.evaluations[0]),
    )


def judge(
    arms: Mapping[str, Arm],
    where: Setting,
    *,
    seed: int,
    replicates: int = REPLICATES,
    level: float = 0.95,
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Judge protocols in patients that no search has seen, with bootstrap intervals.

    Parameters
    ----------
    arms : mapping of str to Arm
    where : Setting
    seed : int
        Of the bootstrap, which draws patients, those of one ``source`` together; arms and frontier share each
        draw.
    replicates : int
    level : float
        Of the intervals.
    margin : float
        By how much a protocol may be worse than the single infusion of the whole product, in severe CRS or in
        event-free survival at 24 months, and still be eligible as the best one.

    Returns
    -------
    DataFrame
        A row per arm: ``arm``, expected endpoints, gains over the iso-toxic single infusion, ``eligible``,
        ``low`` and ``high``: percentile interval of the gain in event-free survival (NaN where too many draws
        have no iso-toxic single infusion), ``best``: share of the
        draws in which it is the eligible arm that gains most, ``unjudged``: share of draws without an
        iso-toxic single infusion.

    Raises
    ------
    InputError
        When fewer than two patients are solved in every arm.
    """
    names = list(arms)
    parts = where.parts(list(arms.values()))
    solved = ~np.isnan(np.concatenate([parts, where.frontier])).any(axis=(0, 2))
    if solved.sum() < 2:
        raise InputError("Fewer than two patients are solved in every arm; there is nothing to judge.")
    parts, frontier = parts[:, solved], where.frontier[:, solved]
    table = gains(parts, frontier, names)
    scan = np.nanmean(frontier, axis=1)
    table["eligible"] = _eligible(
        table[list(_ENDPOINTS)].to_numpy(), table[OBJECTIVE].to_numpy(), scan, margin
    )
    generator = np.random.default_rng(seed_of(seed))
    clusters = draws_of(where.patients)[solved]
    drawn = np.empty((count(replicates, "The number of replicates"), len(names)))
    first = np.zeros(len(names))
    both = np.concatenate([parts, frontier])
    again_means = resampled_means(both, clusters, rng=generator, resamples=replicates)
    for k, means in enumerate(again_means):
        found, scan = means[: len(names)], means[len(names) :]
        drawn[k] = found[:, _EFS] - at_equal_toxicity(found[:, 0], np.array(SHARES), scan)[:, _EFS]
        allowed = np.where(_eligible(found, drawn[k], scan, margin), drawn[k], -np.inf)
        if np.isfinite(allowed).any():
            first[allowed.argmax()] += 1
    table["low"], table["high"] = percentile_limits(drawn, 1 - level)
    table["best"] = first / replicates
    table["unjudged"] = np.isnan(drawn).mean(axis=0)
    return table.reset_index(names="arm")


def _single(frontier: np.ndarray) -> dict[str, float]:
    values = np.nanmean(frontier[SHARES.index(1.0)], axis=0)
    return dict(zip(_ENDPOINTS, map(float, values), strict=True))


def _eligible(found: np.ndarray, gain: np.ndarray, scan: np.ndarray, margin: float) -> np.ndarray:
    """Return which arms are not worse than the whole product at once by more than a margin, and judged.

    ``found``, shape (arms, endpoints), and ``scan``, shape (doses, endpoints), are expected values.
    """
    whole = scan[SHARES.index(1.0)]
    good = (found[:, 0] <= whole[0] + margin) & (found[:, _EFS] >= whole[_EFS] - margin)
    return np.asarray(good & ~np.isnan(gain))
