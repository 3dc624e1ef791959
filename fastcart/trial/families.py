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
    return at_levels(means[None], intensities, (level,), on=on, rule=rule)[0, 0]


def at_levels(
    means: np.ndarray,
    intensities: np.ndarray,
    levels: Sequence[float],
    *,
    on: str = "crs3",
    rule: str = "envelope",
) -> np.ndarray:
    """Return endpoints of many scans of the same intensities where they have rates of severe CRS.

    Parameters
    ----------
    means : ndarray, shape (scans, intensities, endpoints)
    intensities, on, rule
        As for `at_level`.
    levels : sequence of float

    Returns
    -------
    ndarray, shape (scans, levels, endpoints + 1)
        As `at_level`.
    """
    rates, size = means[:, :, ENDPOINTS.index(on)], means.shape[2]
    logs = np.broadcast_to(np.log10(intensities), rates.shape)
    columns = np.concatenate([means, logs[:, :, None]], axis=2)
    result = np.full((len(means), len(levels), size + 1), np.nan)
    if rule == "monotone":
        ways = [(np.maximum.accumulate(rates, axis=1), columns, list(range(size + 1)))]
    else:
        others = [k for k, name in enumerate(ENDPOINTS) if name not in BENEFITS]
        ways = []
        for name in BENEFITS:
            kept, ordered = _undominated(rates, means[:, :, ENDPOINTS.index(name)], columns)
            mine = [ENDPOINTS.index(name), *([*others, size] if name == PRIMARY else [])]
            ways.append((kept, ordered, mine))
    for k, level in enumerate(levels):
        within = (rates.min(axis=1) <= level) & (level <= rates.max(axis=1))
        for known, ordered, mine in ways:
            found = _interpolated(known, ordered[:, :, mine], level)
            if rule == "monotone":
                found = np.where((known[:, :1] <= level), found, np.nan)
            result[:, k, mine] = np.where(within[:, None], found, np.nan)
    return result


def _undominated(
    rates: np.ndarray, benefit: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return rates that rise, NaN for a point that another one dominates, and the columns in their order."""
    order = np.lexsort((-benefit, rates), axis=1)
    sorted_benefit = np.take_along_axis(benefit, order, axis=1)
    before = np.maximum.accumulate(sorted_benefit, axis=1)[:, :-1]
    kept = np.ones(order.shape, dtype=bool)
    kept[:, 1:] = sorted_benefit[:, 1:] > before
    sorted_rates = np.take_along_axis(rates, order, axis=1)
    return np.where(kept, sorted_rates, np.nan), np.take_along_axis(columns, order[:, :, None], axis=1)


def _interpolated(rates: np.ndarray, columns: np.ndarray, level: float) -> np.ndarray:
    """Return columns where rates that do not fall reach a level, linear between the points that are known.

    Beyond the last point its own values; where a rate is reached more than once, those of the first.
    """
    places = np.arange(rates.shape[1])
    below, above = rates < level, rates >= level
    right = np.where(above.any(axis=1), np.argmax(above, axis=1), -1)
    left = np.where(below, places, -1).max(axis=1)
    right = np.where(right < 0, left, right)
    left = np.where(left < 0, right, left)
    rows = np.arange(len(rates))
    gap = rates[rows, right] - rates[rows, left]
    share = np.divide(level - rates[rows, left], gap, out=np.zeros(len(gap)), where=gap > 0)
    low, high = columns[rows, left], columns[rows, right]
    return np.asarray(low + share[:, None] * (high - low))


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


class Reader:
    """Reads scans at rates of severe CRS, in the sample and in its resamples, each once.

    Parameters
    ----------
    patients, weights, seed, how
        As for `gains`.
    """

    def __init__(
        self, patients: pd.DataFrame, *, weights: np.ndarray | None, seed: int, how: Comparing
    ) -> None:
        given = np.ones(len(patients)) if weights is None else np.asarray(weights, dtype=np.float64)
        drawn = resampled_weights(given, draws_of(patients), seed=seed, resamples=how.resamples)
        self.weights = np.array([given, *drawn])
        self.how = how
        self.places = [(on, level) for on, levels in how.levels.items() for level in levels]
        self._read: dict[tuple[int, bytes], np.ndarray] = {}

    def __call__(self, scan: Scan, usable: np.ndarray) -> np.ndarray:
        """Return endpoints at all places, shape (1 + resamples, places, endpoints + 1); the sample first."""
        key = (id(scan), usable.tobytes())
        if key not in self._read:
            means = means_of(scan, np.where(usable, self.weights, 0.0))
            parts = [
                at_levels(means, scan.intensities, levels, on=on, rule=self.how.rule)
                for on, levels in self.how.levels.items()
            ]
            self._read[key] = np.concatenate(parts, axis=1)
        return self._read[key]


def means_of(scan: Scan, weights: np.ndarray) -> np.ndarray:
    """Return expected values, shape (samples, intensities, endpoints), of patients with many weights each.

    ``weights`` has the shape (samples, patients); it is 0 for those that were not solved.
    """
    kept = weights.any(axis=0)
    parts = np.moveaxis(scan.parts[:, kept], 1, 0)
    shares = weights[:, kept] / weights.sum(axis=1, keepdims=True)
    return np.tensordot(shares, parts, axes=1)


def gains(
    family: Scan,
    reference: Scan,
    patients: pd.DataFrame,
    *,
    seed: int,
    weights: np.ndarray | None = None,
    how: Comparing | None = None,
    reader: Reader | None = None,
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
    reader : Reader, optional
        Made of the same patients, weights, seed and way of comparing: it reads each scan once for all
        comparisons.

    Returns
    -------
    DataFrame
        A row for each scale, level and endpoint: ``on, level, endpoint, value, reference, gain, low, high``,
        ``p`` (two-sided, of no gain, by the standard error of the bootstrap), ``unknown`` (share of the
        resamples in which the level is out of range), and the intensities ``intensity``,
        ``reference_intensity``. NaN where the level is outside of
        either scan.
    """
    how = reader.how if reader else how or Comparing()
    usable = family.ok & reference.ok
    reader = reader or Reader(patients, weights=weights, seed=seed, how=how)
    places, size = reader.places, len(ENDPOINTS)
    both = [reader(one, usable) for one in (family, reference)]
    (here, there), drawn = (one[0] for one in both), both[0][1:] - both[1][1:]
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
