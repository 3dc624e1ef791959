"""Which visits narrow a quantity most: expected information of sampling schedules over virtual patients.

The Fisher information of a patient's own parameters is a sum over measurements, so that each candidate day is
solved once and thousands of schedules are sums. A measurement below a limit of quantification still says that
it is below; its information is that of the censored normal distribution. With the population as prior, the
expected posterior covariance is the inverse of (inverse of Omega + information), of first order [1, 2].

1. F. Mentré, A. Mallet, D. Baccar, Optimal design in random-effects regression models, Biometrika 84, 429-442
   (1997).
2. Y. Merlé, F. Mentré, Bayesian design criteria, Journal of Pharmacokinetics and Biopharmaceutics 23, 101-125
   (1995).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.checks import count, real, seed_of, shown
from fastcart.engines import as_model
from fastcart.errors import InputError, counted
from fastcart.fit.information import of_measurements, spread
from fastcart.fit.likelihood import prepare
from fastcart.fit.observations import MEASURED, Observation, check_observations, lognormal
from fastcart.fit.population_fit import PopulationFit
from fastcart.fit.reader import read
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.representation import in_brief, section
from fastcart.representation import table as table_html

_ASKED = "quantity asked for"
_DPI = 160
_SHOWN = 30  # schedules in a figure
_LONGEST = 32  # letters of a name in a figure


@dataclass(frozen=True, eq=False, repr=False)
class Designs:
    """Sampling schedules compared; made by `fastcart.fit.designs`.

    Parameters
    ----------
    quantity : str
    at : float
        When it is asked for.
    schedules : dict of str to tuple of float
    sd : ndarray, shape (patients, schedules)
        Expected posterior standard deviation of the quantity.
    log_det : ndarray, shape (patients, schedules)
        Logarithm of the determinant of the posterior precision, in the scales of the parameters.
    above : ndarray, shape (patients, schedules)
        Expected share of the measurements above the limit of quantification.
    without : ndarray, shape (patients,)
        Standard deviation of the quantity without any measurement; infinite without a prior.
    time_unit : str
        Of the model, such as "day".
    """

    quantity: str
    at: float
    schedules: dict[str, tuple[float, ...]]
    sd: np.ndarray
    log_det: np.ndarray
    above: np.ndarray
    without: np.ndarray
    time_unit: str = ""

    def table(self) -> pd.DataFrame:
        """Return a row for each schedule, the best first.

        Columns: ``schedule``; ``visits``, how many; ``days``; ``sd``, the expected posterior standard
        deviation, mean over patients; ``sd_low``, ``sd_median``, ``sd_high``: 10, 50, 90 %
        of the patients; ``left``: ``sd`` relative to that without measurements; ``log_det``: D-criterion,
        mean over patients; ``above``: expected share of measurements above the limit.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            whole = self.sd.mean(axis=0)
            left = whole / self.without.mean()
        low, middle, high = np.quantile(self.sd, [0.1, 0.5, 0.9], axis=0, method="inverted_cdf")
        table = pd.DataFrame(
            {
                "schedule": list(self.schedules), "visits": [len(x) for x in self.schedules.values()],
                "days": [" ".join(f"{t:g}" for t in x) for x in self.schedules.values()], "sd": whole,
                "sd_low": low, "sd_median": middle, "sd_high": high, "left": left,
                "log_det": self.log_det.mean(axis=0), "above": self.above.mean(axis=0),
            }
        )  # fmt: skip
        return table.sort_values("sd", kind="stable").reset_index(drop=True)

    def __repr__(self) -> str:
        return in_brief("Designs", [counted(len(self.schedules), "schedule")])

    def _repr_html_(self) -> str:
        """Show the schedules, the best first, in a notebook."""
        return section(repr(self), [table_html(self.table())])

    def drawn(self, *, unit: str = "") -> Any:
        """Return a figure of the visits of the best schedules, and how well each tells the quantity."""
        table = self.table().head(_SHOWN)
        with plotting.style():
            figure = plotting.new_figure(7.2, 1.2 + 0.22 * len(table))
            visits, width = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [1.4, 1.0]})
            draw(self, table, visits, width, unit)
            plotting.legend_below(figure, (width,))
        return figure

    def figure(self, path: str | os.PathLike[str], *, unit: str = "") -> Path:
        """Draw the visits of the best schedules, and how well each tells the quantity, into a file."""
        with plotting.style():
            return plotting.save_figure(self.drawn(unit=unit), path, dpi=_DPI)


def draw(found: Designs, table: pd.DataFrame, visits: Any, width: Any, unit: str = "") -> None:
    """Draw rows of a table of schedules into two axes that share their vertical axis."""
    place = np.arange(len(table))
    for k, name in enumerate(table["schedule"]):
        days = found.schedules[name]
        visits.plot(days, np.full(len(days), k), "o", color=plotting.BLUE, markersize=3.5)
    visits.set_yticks(place, [plotting.shortened(name, _LONGEST) for name in table["schedule"]])
    visits.set_ylim(len(table) - 0.5, -0.5)
    time = plotting.with_unit("Time", unit) if unit else plotting.time_label(found.time_unit)
    plotting.panel(visits, "a", "Visits", time, "Schedule")
    ends = [table["sd_median"] - table["sd_low"], table["sd_high"] - table["sd_median"]]
    width.errorbar(
        table["sd_median"], place, xerr=ends, fmt="none", ecolor=plotting.GREY, elinewidth=0.8,
        label="10 to 90 % of the patients",
    )  # fmt: skip
    width.plot(table["sd"], place, "o", color=plotting.RED, markersize=4, label="mean")
    if np.isfinite(found.without).all():
        width.axvline(
            float(found.without.mean()), color=plotting.GREY, linewidth=0.8, linestyle="--",
            label="mean without any visit",
        )  # fmt: skip
    quantity = plotting.shortened(found.quantity, _LONGEST)
    plotting.panel(width, "b", "What is left to know", f"Posterior SD of {quantity}", "")


def designs(
    model: str | Model | PopulationFit,
    schedules: Mapping[str, Sequence[float]],
    *,
    quantity: str,
    at: float | None = None,
    limit: float | None = None,
    patients: pd.DataFrame | int = 500,
    estimate: Mapping[str, Any] | None = None,
    observations: Any = None,
    doses: pd.DataFrame | None = None,
    seed: int = 1,
    threads: int | None = None,
    options: SolveOptions | None = None,
) -> Designs:
    """Compare sampling schedules by how well they tell a quantity of each patient.

    Parameters
    ----------
    model : str, Model or PopulationFit
        Of a fit the model, observations with their errors, typical values and spread are taken: patients are
        drawn from it, and it is their prior.
    schedules : mapping of str to sequence of float
        Times of the visits; at each one everything that is observed is measured.
    quantity : str
        A formula of parameters, states, observables and ``t``: ``"log(beta)"``, ``"log(cells)"``.
    at : float, optional
        When it is asked for; default: the last of all visits.
    limit : float, optional
        Of quantification, below: a measurement below it says just that. For all observations.
    patients : DataFrame or int
        Virtual patients, as `fastcart.solve` takes them; of a fit, or how many are drawn from it.
    estimate : mapping, optional
        Without a fit: what is not known of a patient, with the scale and the standard deviation of its
        prior, ``{"beta": ("log", 0.7), "k": ("normal", None)}``; None is no prior.
    observations : Observation or sequence of Observation, optional
        Without a fit; with values of their errors.
    doses : DataFrame, optional
        Of all patients, in columns of `fastcart.fit.read` without ID and DV: ``TIME``, ``AMT``, ``CMT``.
    seed : int
        Of the patients that are drawn.
    threads : int, optional
    options : SolveOptions, optional

    Returns
    -------
    Designs
        With ``table()`` and ``figure(path)``.

    Raises
    ------
    InputError
        For bad input, and where a patient cannot be solved.
    """
    chosen = check_schedules(schedules)
    if isinstance(model, PopulationFit):
        known = _of_fit(model, patients, seed, (estimate, observations, doses))
    else:
        known = _given(as_model(model), patients, estimate, observations)
    times = np.unique(np.concatenate([np.array(x) for x in chosen.values()]))
    when = real(at) if at is not None else float(times[-1])
    if when is None or not 0 <= when < np.inf:
        raise InputError(f"The time at which the quantity is asked for must be 0 or later, not {shown(at)}.")
    check_limit(limit)
    for one in known.observations:
        if one.error.kind == MEASURED:
            raise InputError(
                f"Observation {one.dvid!r} takes deviations from a table, which visits to come do not have; "
                "give additive(...)."
            )
    asked = Observation(_ASKED, quantity, lognormal(1.0))
    every = [*known.observations, asked]
    table = pd.DataFrame(
        [(0, t, 1.0, one.dvid) for one in known.observations for t in times] + [(0, when, 1.0, _ASKED)],
        columns=["ID", "TIME", "DV", "DVID"],
    )
    if doses is not None:
        table = pd.concat([table, doses.assign(ID=0)], ignore_index=True)
    columns = [x for x in known.table if x in {item.name for item in known.model.items}]
    prepared = prepare(
        known.model, read(table, known.model), columns, observations=every, threads=threads, options=options
    )
    theta = known.table[columns].to_numpy(dtype=float)
    predictions, slopes = prepared.slopes(theta, np.zeros(len(theta), dtype=np.int64))
    good = predictions.status == 0
    if not good.any():
        raise InputError("None of the patients can be solved; give others, or raise max_steps.")
    if not good.all():
        warnings.warn(
            f"{np.count_nonzero(~good)} of {len(theta)} patients cannot be solved and are left off.",
            stacklevel=2,
        )
    of = prepared.layout
    f = predictions.values.reshape(len(theta), -1)[good]
    own = [columns.index(x) for x in known.names]
    scaled = slopes.reshape(len(theta), -1, len(columns))[good][:, :, own]
    scaled = scaled * np.where(known.logs, theta[good][:, own], 1.0)[:, np.newaxis]
    last = of.of.kind == len(known.observations)
    information, above = _information(f, scaled, of.of.kind, known, limit)
    time = prepared.data.measurements.time
    return _compared(chosen, (quantity, when), time, last, (information, above), scaled[:, last][:, 0], known)


def check_limit(limit: Any) -> float | None:
    """Return a limit of quantification, None where there is none.

    Raises
    ------
    InputError
    """
    if limit is not None and not (real(limit) or 0.0) > 0:
        raise InputError(f"The limit of quantification must be above 0, not {shown(limit)}.")
    return real(limit)


@dataclass(frozen=True, eq=False)
class _Known:
    """Whose parameters are to be told, by what, and what is known of them before."""

    model: Model
    observations: tuple[Observation, ...]
    errors: np.ndarray
    table: pd.DataFrame
    names: tuple[str, ...]
    logs: np.ndarray
    precision: np.ndarray


def check_schedules(given: Any) -> dict[str, tuple[float, ...]]:
    """Return schedules with their times in order.

    Raises
    ------
    InputError
    """
    if not isinstance(given, Mapping) or not given:
        raise InputError(f"The schedules must be a mapping of names to times, not {shown(given)}.")
    found = {}
    for name, times in given.items():
        listed = [times] if np.ndim(times) == 0 else list(times)
        numbers = [real(t) for t in listed]
        if not numbers or any(t is None or not 0 <= t < np.inf for t in numbers):
            raise InputError(
                f"The schedule {shown(name)} must be a list of times from 0 on, not {shown(times)}."
            )
        found[str(name)] = tuple(sorted(float(t) for t in numbers if t is not None))
    return found


def _of_fit(fit: PopulationFit, patients: Any, seed: int, others: tuple[Any, Any, Any]) -> _Known:
    estimate, observations, doses = others
    if estimate is not None or observations is not None:
        raise InputError(
            "A fit says what is estimated and observed; leave 'estimate' and 'observations' off."
        )
    effects, values, prepared = fit.complete.effects, fit.values, fit.complete.prepared
    if prepared.data.doses is not None and doses is None:
        raise InputError("The patients of the fit are given doses; say which in 'doses'.")
    if "logit" in effects.scales:
        raise InputError("Designs know the scales 'log' and 'normal', not 'logit'.")
    if isinstance(patients, pd.DataFrame):
        table = patients
    else:
        table = fit.to_population(count(patients, "The number of patients"), seed=seed_of(seed))
    _require_columns(table, effects.random)
    logs = np.array([scale == "log" for scale in effects.scales[: len(effects.random)]])
    return _Known(
        prepared.model, prepared.observations, values.errors, table, effects.random, logs,
        np.linalg.inv(values.omega),
    )  # fmt: skip


def _given(model: Model, patients: Any, estimate: Any, observations: Any) -> _Known:
    if not isinstance(patients, pd.DataFrame) or not len(patients):
        raise InputError("Designs without a fit need a table of virtual patients: patients=DataFrame.")
    if not isinstance(estimate, Mapping) or not estimate:
        raise InputError(
            "Designs without a fit need what is not known of a patient, estimate={'beta': ('log', 0.7)}, not "
            f"{shown(estimate)}."
        )
    logs, precision = [], []
    for name, said in estimate.items():
        scale, sd = said if isinstance(said, tuple | list) and len(said) == 2 else (None, None)
        size = None if sd is None else real(sd)
        if scale not in ("log", "normal") or (sd is not None and (size is None or not size > 0)):
            raise InputError(
                f"What is known of {name!r} must be ('log' or 'normal', standard deviation or None), not "
                f"{shown(said)}."
            )
        logs.append(scale == "log")
        precision.append(0.0 if size is None else size**-2)
    _require_columns(patients, estimate)
    listed = check_observations(observations)
    errors = [value for one in listed for value in one.error.values]
    if any(value is None for value in errors):
        raise InputError("The observations of designs need values of their errors, such as additive(0.3).")
    return _Known(
        model, listed, np.array(errors, dtype=float), patients, tuple(estimate), np.array(logs),
        np.diag(precision),
    )  # fmt: skip


def _require_columns(table: pd.DataFrame, names: Any) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise InputError(f"The virtual patients have no column {missing[0]!r}, which is to be told.")


def _information(
    f: np.ndarray, slopes: np.ndarray, kind: np.ndarray, known: _Known, limit: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the information of measurements, patients x measurements x names x names.

    And how probable it is that each is above the limit.
    """
    weight, above = np.zeros(f.shape), np.ones(f.shape)
    first = 0
    for k, one in enumerate(known.observations):
        mine = kind == k
        size = len(one.error.names)
        weight[:, mine], above[:, mine] = of_measurements(
            f[:, mine], one, known.errors[first : first + size], limit
        )
        first += size
    return np.einsum("pm,pmi,pmj->pmij", weight, slopes, slopes), above


def _compared(
    schedules: dict[str, tuple[float, ...]], asked: tuple[str, float], time: np.ndarray, last: np.ndarray,
    measured: tuple[np.ndarray, np.ndarray], gradient: np.ndarray, known: _Known,
) -> Designs:  # fmt: skip
    """Return what each schedule says of the quantity."""
    information, above = measured
    patients, count_ = len(gradient), len(schedules)
    sd, log_det, seen = (np.empty((patients, count_)) for _ in range(3))
    for k, times in enumerate(schedules.values()):
        # a visit that a schedule names twice counts twice
        often = (np.asarray(times)[:, np.newaxis] == time).sum(axis=0) * ~last
        whole = np.einsum("m,pmij->pij", often.astype(float), information) + known.precision
        sd[:, k], log_det[:, k] = spread(whole, gradient)
        seen[:, k] = (above * often).sum(axis=1) / often.sum()
    without, _ = spread(np.tile(known.precision, (patients, 1, 1)), gradient)
    return Designs(*asked, schedules, sd, log_det, seen, without, known.model.time_unit)
