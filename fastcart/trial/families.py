"""Families of arms with an intensity, and their comparison at equal toxicity.

Arms are compared fairly only where they are equally toxic. Each arm is made a family: its intensity, a dose
or a target of cells, is scanned, and what it achieves is read off where the rate of severe CRS is a fixed
one. There two families differ by what they are, and not by how much is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from fastcart.batch import progress_bar
from fastcart.checks import number, seed_of
from fastcart.errors import InputError
from fastcart.protocols.arms import Arm
from fastcart.trial.counterfactual import DOSE
from fastcart.trial.frontier import RESAMPLES, draws_of, percentile_limits
from fastcart.trial.outcomes import contributions
from fastcart.trial.together import Followed, arms_together

BENEFITS = ("CR90", "EFS730", "OS730", "clean730")
HARMS = ("crs3", "crs4", "toxic_death", "relapse_positive", "relapse_negative")
ENDPOINTS = (*BENEFITS, *HARMS)
PRIMARY = "CR90"  # whose best points are those at which harms are read off
SCALES = ("crs3", "crs4")  # what arms can be made equal in
LEVELS = {"crs3": (0.2, 0.3, 0.4), "crs4": (0.10, 0.15, 0.20)}
RULES = ("envelope", "monotone")
STEP = 0.02  # by how much neighbours of a refined scan differ in severe CRS
_MOST_ADDED = 40
_BOOTSTRAP_STREAM = 11  # of a seed, so that no population is drawn with the same numbers


@dataclass(frozen=True, kw_only=True)
class Family:
    """Arms that differ in one intensity.

    Parameters
    ----------
    name, title : str
    make : callable
        ``make(intensity)`` returns the arm, and the cells of its product.
    intensities : sequence of float
        What is scanned, at least two, positive.
    """

    name: str
    make: Callable[[float], tuple[Arm, float]] = field(repr=False)
    intensities: tuple[float, ...]
    title: str = ""

    def __post_init__(self) -> None:
        found = sorted({number(x, f"An intensity of {self.name!r}", positive=True) for x in self.intensities})
        if len(found) < 2:
            raise InputError(f"The family {self.name!r} needs at least two intensities that differ.")
        object.__setattr__(self, "intensities", tuple(found))


def of_doses(arm: Arm, doses: Sequence[float], *, name: str = "", title: str = "") -> Family:
    """Return the family of an arm whose intensity is the number of cells of the product."""
    return Family(
        name=name or arm.name,
        title=title or arm.title,
        intensities=tuple(doses),
        make=lambda dose: (arm, dose),
    )


def of_targets(
    make: Callable[[float], Arm], cells: Sequence[float], *, name: str, title: str = "", dose: float = DOSE
) -> Family:
    """Return the family of arms that ``make(target)`` returns, all with a product of so many cells."""
    return Family(name=name, title=title, intensities=tuple(cells), make=lambda target: (make(target), dose))


@dataclass(frozen=True)
class Scan:
    """What each patient adds to each endpoint at each intensity of a family.

    Parameters
    ----------
    name : str
    intensities : ndarray, shape (intensities,)
        Ascending.
    parts : ndarray, shape (intensities, patients, endpoints)
        Of `ENDPOINTS`; NaN where a patient was not solved.
    """

    name: str
    intensities: np.ndarray
    parts: np.ndarray

    @property
    def ok(self) -> np.ndarray:
        """Who was solved at every intensity, shape (patients,) of bool."""
        return np.isfinite(self.parts[:, :, ENDPOINTS.index(PRIMARY)]).all(axis=0)

    def means(self, weights: np.ndarray) -> np.ndarray:
        """Return expected values, shape (intensities, endpoints), of patients with weights."""
        kept = weights > 0
        return np.einsum("n,kne->ke", weights[kept] / weights.sum(), self.parts[:, kept])

    def table(self, weights: np.ndarray | None = None) -> pd.DataFrame:
        """Return expected values by intensity, of the patients that were solved."""
        given = np.ones(self.parts.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
        means = self.means(np.where(self.ok, given, 0.0))
        return pd.DataFrame(means, columns=list(ENDPOINTS)).assign(
            family=self.name, intensity=self.intensities
        )


def scan(
    family: Family,
    patients: pd.DataFrame,
    *,
    weights: np.ndarray | None = None,
    refined_within: tuple[float, float] | None = None,
    progress: bool | None = None,
    seen: Callable[[float, Followed], object] | None = None,
    **options: Any,
) -> Scan:
    """Solve all arms of a family.

    Parameters
    ----------
    family : Family
    patients : DataFrame
    weights : ndarray, shape (patients,), optional
        For the refinement.
    refined_within : (float, float), optional
        Rates of severe CRS between which intensities are added until neighbours differ by at most `STEP`.
    progress : bool, optional
        Show progress on stderr; default: only on a terminal.
    seen : callable, optional
        ``seen(intensity, followed)`` gets each arm as soon as it is solved, see `arms_together`.
    **options
        As for `fastcart.trial.counterfactual.arm_course`, without ``dose``.

    Returns
    -------
    Scan
    """
    found: dict[float, np.ndarray] = {}
    given = np.ones(len(patients)) if weights is None else np.asarray(weights, dtype=np.float64)

    def add(intensities: Sequence[float]) -> None:
        with progress_bar(len(intensities), progress, unit="arms") as bar:
            arms = [family.make(intensity) for intensity in intensities]
            for intensity, arm in zip(intensities, arms_together(arms, patients, **options), strict=True):
                found[intensity] = contributions(arm.course)[list(ENDPOINTS)].to_numpy()
                if seen is not None:
                    seen(intensity, arm)
                bar.update()

    def collected() -> Scan:
        order = sorted(found)
        return Scan(family.name, np.array(order), np.stack([found[x] for x in order]))

    add(family.intensities)
    while refined_within is not None and len(found) < len(family.intensities) + _MOST_ADDED:
        missing = between(collected().table(given), refined_within)
        if not missing:
            break
        add(missing)
    return collected()


def between(table: pd.DataFrame, within: tuple[float, float], *, step: float = STEP) -> list[float]:
    """Return intensities between neighbours that differ by more than a step in severe CRS."""
    x, rate = table["intensity"].to_numpy(), table["crs3"].to_numpy()
    low, high = np.minimum(rate[:-1], rate[1:]), np.maximum(rate[:-1], rate[1:])
    wide = (high - low > step) & (high >= within[0]) & (low <= within[1]) & (x[1:] > 1.01 * x[:-1])
    return [float(value) for value in np.sqrt(x[:-1] * x[1:])[wide]]


def at_level(
    means: np.ndarray, intensities: np.ndarray, level: float, *, on: str = "crs3", rule: str = "envelope"
) -> np.ndarray:
    """Return endpoints of a scan where it has a rate of severe CRS.

    Parameters
    ----------
    means : ndarray, shape (intensities, endpoints)
    intensities : ndarray, shape (intensities,)
        Ascending.
    level : float
    on : str
        One of `SCALES`.
    rule : str
        ``"envelope"``: points are dropped that another one dominates, no more toxic and at least as good; the
        rest is interpolated linearly, so that a scan need not be monotone. Each benefit has its own best
        points, harms are read off along those of `PRIMARY`. ``"monotone"``: rates are made to rise with the
        intensity, and all endpoints interpolated along it.

    Returns
    -------
    ndarray, shape (endpoints + 1,)
        `ENDPOINTS`, then the logarithm to base 10 of the intensity; NaN outside of the range of the scan.
    """
    rates = means[:, ENDPOINTS.index(on)]
    columns = np.column_stack([means, np.log10(intensities)])
    if not rates.min() <= level <= rates.max():
        return np.full(columns.shape[1], np.nan)
    if rule == "monotone":
        return _along(np.maximum.accumulate(rates), columns, level)
    best = {name: _undominated(rates, means[:, ENDPOINTS.index(name)]) for name in BENEFITS}
    result = np.empty(columns.shape[1])
    for k, name in enumerate((*ENDPOINTS, PRIMARY)):
        rows = best.get(name, best[PRIMARY])
        result[k] = np.interp(level, rates[rows], columns[rows, k])
    return result


def _along(rates: np.ndarray, columns: np.ndarray, level: float) -> np.ndarray:
    """Return columns where rates that do not fall reach a level, the first time."""
    if level < rates[0]:
        return np.full(columns.shape[1], np.nan)
    k = min(max(int(np.searchsorted(rates, level)), 1), len(rates) - 1)
    gap = rates[k] - rates[k - 1]
    share = (level - rates[k - 1]) / gap if gap > 0 else 0.0
    return columns[k - 1] * (1 - share) + columns[k] * share


def _undominated(rates: np.ndarray, benefit: np.ndarray) -> np.ndarray:
    """Return the rows that no other one dominates, by rising rate."""
    order = np.lexsort((-benefit, rates))
    sorted_benefit = benefit[order]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(sorted_benefit)[:-1]])
    return order[sorted_benefit > before]


def resampled_weights(
    weights: np.ndarray, clusters: np.ndarray, *, seed: int, resamples: int
) -> Iterator[np.ndarray]:
    """Yield weights of bootstrap samples: how often each draw of the prior is drawn, times its weight.

    The draws are the same for all families that are compared with one seed.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed_of(seed), spawn_key=(_BOOTSTRAP_STREAM,)))
    _, place = np.unique(clusters, return_inverse=True)
    total = int(place.max()) + 1
    for _ in range(resamples):
        yield weights * rng.multinomial(total, np.full(total, 1 / total))[place]


@dataclass(frozen=True, kw_only=True)
class Comparing:
    """How families are compared.

    Parameters
    ----------
    levels : mapping of str to tuple of float
        Rates at which they are, for each of the `SCALES`.
    rule : str
        One of `RULES`, see `at_level`.
    resamples : int
    alpha : float
        Intervals cover ``1 - alpha``.
    """

    levels: dict[str, tuple[float, ...]] = field(default_factory=lambda: dict(LEVELS))
    rule: str = "envelope"
    resamples: int = RESAMPLES
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise InputError(f"The rule of an iso-toxic comparison must be one of {', '.join(RULES)}.")


def gains(
    family: Scan,
    reference: Scan,
    patients: pd.DataFrame,
    *,
    seed: int,
    weights: np.ndarray | None = None,
    how: Comparing | None = None,
) -> pd.DataFrame:
    """Return what a family achieves beyond another one at equal severe CRS, with bootstrap intervals.

    Parameters
    ----------
    family, reference : Scan
        Of the same patients.
    patients : DataFrame
        With ``source``, the draw of the prior that each patient is; without it each is its own.
    seed : int
        Of the bootstrap.
    weights : ndarray, shape (patients,), optional
    how : Comparing, optional

    Returns
    -------
    DataFrame
        A row for each scale, level and endpoint: ``on, level, endpoint, value, reference, gain, low, high``,
        ``p`` (two-sided, of no gain, by the standard error of the bootstrap), ``unknown`` (share of the
        resamples in which the level is out of range), and the intensities ``intensity``,
        ``reference_intensity``. NaN where the level is outside of
        either scan.
    """
    how = how or Comparing()
    usable = family.ok & reference.ok
    given = np.ones(len(usable)) if weights is None else np.asarray(weights, dtype=np.float64)
    given = np.where(usable, given, 0.0)
    places = [(on, level) for on, levels in how.levels.items() for level in levels]

    def read(w: np.ndarray) -> np.ndarray:
        both = [(one.means(w), one.intensities) for one in (family, reference)]
        return np.array(
            [[at_level(*one, level, on=on, rule=how.rule) for on, level in places] for one in both]
        )

    here, there = read(given)
    size = len(ENDPOINTS)
    sampled = resampled_weights(given, draws_of(patients), seed=seed, resamples=how.resamples)
    drawn = np.array([np.subtract(*read(w)) for w in sampled]).reshape(-1, len(places), size + 1)
    low, high = percentile_limits(drawn, how.alpha) if len(drawn) else (np.full(here.shape, np.nan),) * 2
    p = _two_sided(here - there, drawn)
    rows = []
    for j, (on, level) in enumerate(places):
        known = np.isfinite(here[j] - there[j])
        for k, endpoint in enumerate(ENDPOINTS):
            rows.append(
                {
                    "on": on,
                    "level": level,
                    "endpoint": endpoint,
                    "value": here[j, k],
                    "reference": there[j, k],
                    "gain": here[j, k] - there[j, k],
                    "low": low[j, k] if known[k] else np.nan,
                    "high": high[j, k] if known[k] else np.nan,
                    "p": p[j, k] if known[k] and len(drawn) else np.nan,
                    "unknown": np.isnan(drawn[:, j, k]).mean() if len(drawn) else np.nan,
                    "intensity": 10 ** here[j, size],
                    "reference_intensity": 10 ** there[j, size],
                }
            )
    return pd.DataFrame(rows).assign(family=family.name, versus=reference.name)


def _two_sided(gain: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return P values of no difference, by the normal law with the standard error of the bootstrap."""
    with np.errstate(invalid="ignore", divide="ignore"):
        known = np.isfinite(drawn)
        count = known.sum(axis=0)
        mean = np.where(known, drawn, 0.0).sum(axis=0) / count
        error = np.sqrt(np.where(known, (drawn - mean) ** 2, 0.0).sum(axis=0) / (count - 1))
        p = 2.0 * stats.norm.sf(np.abs(gain) / error)
    return np.where(error > 0, p, np.where(gain == 0, 1.0, 0.0))
