"""Simulations of a fitted population: residuals, predictive checks, distribution errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from fastcart.checks import count, seed_of, shown
from fastcart.errors import InputError
from fastcart.fit.densities import deviations_of
from fastcart.fit.marginal import draws_of, log_weights
from fastcart.fit.observations import LOGNORMAL, MEASURED
from fastcart.fit.panels import units_of_kinds

if TYPE_CHECKING:
    from fastcart.fit.population_fit import PopulationFit

_LEVELS = (0.1, 0.5, 0.9)
_INTERVAL = (0.05, 0.95)
BINS = 12  # of time, of one kind: as many as the visits of most protocols
_POSTERIOR = 1024  # draws of which one is taken


@dataclass(frozen=True)
class PredictiveCheck:
    """A visual predictive check.

    Parameters
    ----------
    bins : DataFrame
        A row for each kind, bin of time and percentile: ``observed``, and ``low``, ``median``, ``high`` of
        simulations (90 %); the percentile is NaN where it is below a limit of quantification.
    censored : DataFrame
        A row for each kind and bin: the share below the limit, ``observed``, and of simulations.
    points : DataFrame
        Measurements, corrected as the percentiles are.
    corrected : bool
        Whether values are multiplied by (typical prediction of the bin) / (that of the measurement).
    replicates : int
    time_unit : str
        Of the model, such as "day".
    units : dict of str to str
        Of each kind, where its prediction is a quantity of the model.
    """

    bins: pd.DataFrame
    censored: pd.DataFrame
    points: pd.DataFrame
    corrected: bool
    replicates: int
    time_unit: str = ""
    units: dict[str, str] = field(default_factory=dict)


def deviations(fit: PopulationFit, predicted: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return standard deviations of measurements around predictions; of logarithms where log-normal."""
    layout, errors = fit.complete.prepared.layout, fit.values.errors
    out = np.empty(predicted.shape)
    for k, model in enumerate(layout.errors.model):
        mine = layout.of.kind[rows] == k
        first = layout.errors.first[k]
        if model == MEASURED:
            found: Any = layout.of.deviation[rows][mine]
        else:
            found = deviations_of(model, predicted[..., mine], errors[first:], layout.errors.floor[k])
        out[..., mine] = found
    return out


def _logs(fit: PopulationFit) -> np.ndarray:
    """Return which measurements are log-normal."""
    layout = fit.complete.prepared.layout
    return layout.errors.model[layout.of.kind] == LOGNORMAL


def _predicted(fit: PopulationFit, phi: np.ndarray) -> np.ndarray:
    """Return predictions of all measurements, by one row of random effects for each patient."""
    who = np.arange(fit.complete.prepared.patients)
    return fit.complete.predict(phi, fit.values.fixed, who).values


def _table(fit: PopulationFit) -> pd.DataFrame:
    """Return what is known of each measurement, in the order of predictions."""
    prepared = fit.complete.prepared
    of = prepared.layout.of
    patient = np.repeat(np.arange(prepared.patients), of.end - of.begin)
    observations = np.array([one.dvid for one in prepared.observations], dtype=object)
    taken = prepared.data.measurements
    time = pd.Series(taken.time, index=taken.row).reindex(prepared.layout.rows).to_numpy()
    value = np.where(_logs(fit), np.exp(np.where(_logs(fit), of.value, 0.0)), of.value)
    return pd.DataFrame(
        {
            "patient": prepared.data.ids[patient], "time": time, "kind": observations[of.kind],
            "DV": value, "censored": of.censored,
        }
    )  # fmt: skip


def diagnostics(fit: PopulationFit) -> pd.DataFrame:
    """Return a row for each measurement.

    Columns: ``patient``, ``time``, ``kind``, ``DV`` (the limit where ``censored`` is not 0), ``PRED`` (with
    typical parameters of the patient's covariates), ``IPRED`` (with the most probable ones), ``IWRES``
    ((DV - IPRED) / its standard deviation, of logarithms where errors are log-normal), ``NPDE``.
    """
    effects, values = fit.complete.effects, fit.values
    table, rows = _table(fit), np.arange(fit.measurements)
    table["PRED"] = _predicted(fit, effects.centers(values.b))
    table["IPRED"] = _predicted(fit, fit.modes.phi)
    deviation = deviations(fit, table["IPRED"].to_numpy(), rows)
    f, y = table["IPRED"].to_numpy(), table["DV"].to_numpy()
    logs = _logs(fit)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.where(logs, np.log(np.where(logs, y, 1.0)) - np.log(np.maximum(f, 1e-300)), y - f)
    table["IWRES"] = away / deviation
    table["NPDE"] = npde(fit)["NPDE"].to_numpy()
    return table


def simulate(fit: PopulationFit, replicates: int, seed: int) -> np.ndarray:
    """Return simulated measurements, replicates x measurements, nothing censored; one batch of solves.

    NaN where a solve fails.
    """
    complete, values = fit.complete, fit.values
    prepared, random = complete.prepared, np.random.default_rng(seed_of(seed))
    patients, rows = prepared.patients, np.arange(fit.measurements)
    who = np.tile(np.arange(patients), replicates)
    root = np.linalg.cholesky(values.omega)
    normal = random.standard_normal((len(who), len(root)))
    phi = complete.effects.centers(values.b)[who] + normal @ root.T
    f = complete.predict(phi, values.fixed, who).values.reshape(replicates, -1)
    noise = random.standard_normal(f.shape) * deviations(fit, f, rows)
    logs = _logs(fit)
    with np.errstate(over="ignore"):
        return np.where(logs, np.maximum(f, 1e-300) * np.exp(np.where(logs, noise, 0.0)), f + noise)


def npde(fit: PopulationFit, *, replicates: int = 1000, seed: int = 1) -> pd.DataFrame:
    """Return normalised prediction distribution errors [1], decorrelated within each patient.

    A measurement below or above a limit is drawn beyond that, given all that was measured of its patient;
    when drawn without regard to these [2], it does not suit them, and tails become heavy.

    Parameters
    ----------
    fit : PopulationFit
    replicates : int
    seed : int

    Returns
    -------
    DataFrame
        ``patient``, ``time``, ``kind``, ``NPDE``: standard normal if the model is right.

    References
    ----------
    1. K. Brendel et al., Metrics for external model evaluation, Pharmaceutical Research 23, 2036-2049 (2006).
    2. T. H. T. Nguyen et al., Extension of NPDE for evaluation of nonlinear mixed effect models in presence
       of data below the quantification limit, JPKPD 39, 499-518 (2012).
    """
    number = count(replicates, "The replicates")
    table, of = _table(fit), fit.complete.prepared.layout.of
    drawn = simulate(fit, number, seed)
    random = np.random.default_rng((seed, 1))
    out = np.full(len(table), np.nan)
    y = _imputed(fit, table, random)
    for begin, end in zip(of.begin, of.end, strict=True):
        if end > begin:
            mine = drawn[:, begin:end]
            mine = mine[np.isfinite(mine).all(axis=1)]
            if len(mine) > end - begin + 1:
                out[begin:end] = _decorrelated(y[begin:end], mine)
    return pd.DataFrame(
        {"patient": table["patient"], "time": table["time"], "kind": table["kind"], "NPDE": out}
    )  # fmt: skip


def _imputed(fit: PopulationFit, table: pd.DataFrame, random: np.random.Generator) -> np.ndarray:
    """Return measurements, those behind a limit drawn given all that was measured of their patient.

    Random effects are drawn from the patient's posterior, then the measurement beyond its limit: with a model
    that is right, what is drawn and what was measured have together the distribution of measurements.
    """
    y, of = table["DV"].to_numpy().copy(), fit.complete.prepared.layout.of
    rows = np.flatnonzero(of.censored)
    if not len(rows):
        return y
    known, every = fit.best.known, np.arange(fit.complete.prepared.patients)
    draws = draws_of(known.proposal, every, _POSTERIOR, random)
    weight = log_weights(fit.complete, fit.values, draws)
    weight = np.cumsum(np.exp(weight - weight.max(axis=1, keepdims=True)), axis=1)
    chosen = (weight < random.random((len(every), 1)) * weight[:, -1:]).sum(axis=1)
    f = _predicted(fit, draws.phi[every, chosen])
    deviation, logs = deviations(fit, f, np.arange(len(f)))[rows], _logs(fit)[rows]
    center = np.where(logs, np.log(np.maximum(f[rows], 1e-300)), f[rows])
    ends = [(x - center) / deviation for x in (of.value[rows], of.limit[rows])]
    low, high = np.minimum(*ends), np.maximum(*ends)
    mirrored = low > 0  # there the distribution function of the mirror image has the digits
    below, above = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    share = ndtr(below) + random.random(len(rows)) * (ndtr(above) - ndtr(below))
    drawn = np.clip(ndtri(np.clip(share, 1e-300, 1.0)), below, above)
    drawn = center + deviation * np.where(mirrored, -drawn, drawn)
    y[rows] = np.where(logs, np.exp(np.where(logs, drawn, 0.0)), drawn)
    return y


def _decorrelated(y: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return distribution errors of one patient, measurements decorrelated by simulations."""
    count_ = len(drawn)
    ranks = drawn.argsort(axis=0).argsort(axis=0)  # heavy tails of simulations do no harm in ranks
    normal = ndtri((ranks + 0.5) / count_)
    place = (drawn < y).sum(axis=0)
    own = ndtri((np.clip(place, 0.5, count_ - 0.5)) / count_)
    covariance = np.atleast_2d(np.cov(normal.T)) + 1e-9 * np.eye(len(y))
    root = np.linalg.inv(np.linalg.cholesky(covariance))
    white, mine = normal @ root.T, root @ own
    share = (white < mine).sum(axis=0)
    return ndtri(np.clip(share, 0.5, count_ - 0.5) / count_)


def vpc(
    fit: PopulationFit, *, bins: int = BINS, corrected: bool = False, replicates: int = 1000, seed: int = 1
) -> PredictiveCheck:  # fmt: skip
    """Return percentiles of measurements beside those of simulations, with the share below the limit.

    Simulated values below a patient's limit of quantification (the largest ``DV`` of ``CENS`` 1 of that kind)
    count as below it, as measurements do; percentiles that lie there are not known, and NaN.

    Parameters
    ----------
    fit : PopulationFit
    bins : int
        Of time, for each kind by itself: each time at which it was measured, where there are no more than so
        many, else so many bins at most with about equally many measurements.
    corrected : bool
        Correct for predictions (Bergstrand et al., AAPS Journal 13, 143-151, 2011). Values below a limit stay
        so.
    replicates : int
    seed : int
    """
    number, several = count(bins, "The bins"), count(replicates, "The replicates")
    if not isinstance(corrected, bool | np.bool_):
        raise InputError(f"'corrected' must be true or false, not {shown(corrected)}.")
    table, drawn = _table(fit), simulate(fit, several, seed)
    typical = _predicted(fit, fit.complete.effects.centers(fit.values.b))
    parts, shares, points = [], [], []
    for kind, mine in table.groupby("kind", sort=False):
        rows = mine.index.to_numpy()
        part = _Binned(mine, drawn[:, rows], typical[rows], number)
        if corrected:
            part.correct()
        parts.append(part.percentiles().assign(kind=kind))
        shares.append(part.shares().assign(kind=kind))
        points.append(part.points().assign(kind=kind))
    whole, below, seen = (pd.concat(some, ignore_index=True) for some in (parts, shares, points))
    model = fit.complete.prepared.model
    return PredictiveCheck(whole, below, seen, corrected, several, model.time_unit, units_of(fit))


def units_of(fit: PopulationFit) -> dict[str, str]:
    """Return the unit of each kind of measurement whose prediction is a quantity of the model."""
    return units_of_kinds(fit.complete.prepared)


def bins_of(time: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each time: its own where there are few different ones, else by its rank.

    Equal times are never parted, so that there may be fewer bins than ``bins`` where many are equal.
    """
    times, place, counts = np.unique(time, return_inverse=True, return_counts=True)
    if len(times) <= bins:
        return place
    middle = np.cumsum(counts) - counts / 2  # the mean rank of each time
    return np.floor(bins * middle / len(time)).astype(np.int64)[place]


class _Binned:
    """Measurements of one kind and their simulations, in bins of time."""

    def __init__(self, table: pd.DataFrame, drawn: np.ndarray, typical: np.ndarray, bins: int):
        self.time = table["time"].to_numpy()
        self.cut = table["censored"].to_numpy() > 0
        self.y, self.drawn, self.typical = table["DV"].to_numpy(), drawn, typical
        self.limit = self.y[self.cut].max() if self.cut.any() else -np.inf
        self.bin = bins_of(self.time, bins)
        with np.errstate(invalid="ignore"):
            self.below = np.where(np.isfinite(drawn), drawn < self.limit, np.nan)
        self.drawn = np.where(self.below == 1.0, -np.inf, drawn)
        self.y = np.where(self.cut, -np.inf, self.y)

    def correct(self) -> None:
        """Multiply by the typical prediction of the bin, relative to that of each measurement."""
        middle = pd.Series(self.typical).groupby(self.bin).transform("median").to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where(self.typical > 0, middle / self.typical, 1.0)
        factor = np.where(np.isfinite(factor) & (factor > 0), factor, 1.0)
        self.y, self.drawn = self.y * factor, self.drawn * factor

    def _each(self) -> Any:
        for k in np.unique(self.bin):
            rows = np.flatnonzero(self.bin == k)
            # a time of measurements, also where as many are before as after
            yield float(np.quantile(self.time[rows], 0.5, method="inverted_cdf")), rows

    def percentiles(self) -> pd.DataFrame:
        """Return percentiles, of measurements and of simulations."""
        out = []
        for time, rows in self._each():
            own = np.quantile(self.y[rows], _LEVELS, method="inverted_cdf")
            some = self.drawn[:, rows]
            some = some[~np.isnan(some).any(axis=1)]
            theirs = np.quantile(some, _LEVELS, axis=1, method="inverted_cdf")
            for level, observed, simulated in zip(_LEVELS, own, theirs, strict=True):
                low, middle, high = np.quantile(
                    simulated, [_INTERVAL[0], 0.5, _INTERVAL[1]], method="inverted_cdf"
                )
                values = [x if np.isfinite(x) else np.nan for x in (observed, low, middle, high)]
                out.append((time, level, len(rows), *values))
        names = ["time", "percentile", "measurements", "observed", "low", "median", "high"]
        return pd.DataFrame(out, columns=names)

    def shares(self) -> pd.DataFrame:
        """Return which part is below the limit."""
        out = []
        for time, rows in self._each():
            theirs = np.nanmean(self.below[:, rows], axis=1)
            ends = np.quantile(theirs, [_INTERVAL[0], 0.5, _INTERVAL[1]])
            out.append((time, len(rows), float(self.cut[rows].mean()), *ends))
        return pd.DataFrame(out, columns=["time", "measurements", "observed", "low", "median", "high"])

    def points(self) -> pd.DataFrame:
        """Return measurements that are not censored."""
        seen = ~self.cut
        return pd.DataFrame({"time": self.time[seen], "DV": self.y[seen]})
