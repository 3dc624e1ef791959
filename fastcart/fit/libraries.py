"""A library of virtual patients, solved once: data give them weights, and nothing is solved anew.

Rows are drawn from a prior and predicted at the times of the data. A patient's posterior is the rows weighted
by the likelihood of its measurements; how many of them count is said with every number.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.checks import count, real, seed_of, shown
from fastcart.engines import as_model
from fastcart.errors import InputError, counted, nearest
from fastcart.fit.data import FitData, check_data
from fastcart.fit.groups import grouped, slots
from fastcart.fit.likelihood import Predictions, PreparedLikelihood, prepare
from fastcart.fit.observations import check_observations
from fastcart.fit.population_fit import PopulationFit
from fastcart.fit.proposals import log_prior
from fastcart.fit.reweighting import ENOUGH, Weighted, posterior_rows
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.runs.chunks import PartFiles, chunks, here, stream
from fastcart.runs.chunks import Chunk as Part
from fastcart.runs.forms import decode_arrays, encode_arrays
from fastcart.runs.identity import describe_model, environment, plain
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import open_run
from fastcart.sampling.columns import SMALLEST, Values
from fastcart.sampling.density import log_density
from fastcart.sampling.design import Design
from fastcart.tables.ids import id_places, id_shown

OWNS = ("parts/*.npz",)
_PART = "parts/{:06d}.npz"
_HELD = 60_000_000  # predictions, of 8 bytes, that are held in memory; more are kept in a folder
_NUMBERS = 2_000_000  # predictions of a part
_WEIGHED = 20_000_000  # log-likelihoods at a time
_LOGS = ("log_normal", "log_uniform")


class Reweighted(NamedTuple):
    """-2 ln L of a population by weights of a library.

    Parameters
    ----------
    minus2LL : float
    error : float
        Its Monte Carlo standard error.
    effective : ndarray, shape (patients,)
        Effective draws of each patient; with few of them even the error is too small.
    """

    minus2LL: float
    error: float
    effective: np.ndarray


class Library:
    """Virtual patients with their predictions at the times of data; made by `fastcart.fit.library`.

    Attributes
    ----------
    prepared : PreparedLikelihood
        Of the data.
    design : Design
        What was drawn.
    n : int
    names : tuple of str
        Parameters (and initial values, and error parameters) that were drawn.
    scales : tuple of str
        ``log`` or ``normal``, of each: what it is likely to be normal in.
    group : ndarray of int, shape (patients,)
        Which patients share solves.
    solves, failed : int
    """

    def __init__(
        self, prepared: PreparedLikelihood, design: Design, places: Sequence[np.ndarray], group: np.ndarray,
        parts: Sequence[tuple[Part, Callable[[], np.ndarray]]], failed: int,
    ):  # fmt: skip
        self.prepared, self.design, self.group = prepared, design, group
        self._places, self._parts, self.failed = places, parts, failed
        drawn = {name: item for name, item in design.columns.items() if not isinstance(item, Values)}
        self.names = tuple(drawn)
        self.scales = tuple("log" if item.kind in _LOGS else "normal" for item in drawn.values())

    @property
    def n(self) -> int:
        """How many were drawn."""
        return self.design.size

    @property
    def solves(self) -> int:
        """How many courses were solved: one for each draw and group."""
        return self.n * (int(self.group.max()) + 1)

    def draws(self, start: int = 0, stop: int | None = None) -> pd.DataFrame:
        """Return what was drawn, a row for each virtual patient, as `fastcart.solve` takes it."""
        table = self.design.rows(start, self.n if stop is None else min(stop, self.n))
        return table.drop(columns=[x for x in self.prepared.error_names if x in table])

    def weights(self, patient: Any, *, errors: Mapping[str, float] | None = None) -> np.ndarray:
        """Return how much each draw counts for a patient; together 1, or all 0 where none is possible."""
        return Weighted.of(self.log_likelihoods(self._place(patient), errors)[:, 0]).weights

    def posteriors(
        self,
        *,
        errors: Mapping[str, float] | None = None,
        quantiles: Sequence[float] = (0.025, 0.5, 0.975),
    ) -> pd.DataFrame:
        """Return the posterior of every patient, the prior being what was drawn from.

        Parameters
        ----------
        errors : mapping, optional
            Error parameters by name, ``{"a_cp": 0.7}``, of those that observations and prior do not give.
        quantiles : sequence of float

        Returns
        -------
        DataFrame
            A row for each patient and parameter: ``mean``, ``sd``, quantiles as ``q0.5``; ``scaled_mean``,
            ``scaled_sd`` of its logarithm where ``scale`` is ``log``; ``error``, the Monte Carlo standard
            error of ``scaled_mean``; ``effective`` draws; ``says``: ``ok``, ``few draws`` for less than 200
            (the numbers are rough), ``no draw`` where none is possible (they are NaN).
        """
        levels = np.asarray(list(quantiles), dtype=float)
        if not ((levels > 0) & (levels < 1)).all():
            raise InputError(f"The quantiles must lie between 0 and 1, not {shown(quantiles)}.")
        natural = self.draws_of_all()
        rows, ids = [], self.prepared.data.ids
        for patients, found in self._blocks(errors):
            for k, i in enumerate(patients):
                weighted = Weighted.of(found[:, k])
                for row in posterior_rows(natural, self.names, self.scales, weighted, levels):
                    rows.append({"patient": ids[i], **row})
        table = pd.DataFrame(rows)
        self._warn(table.drop_duplicates("patient").set_index("patient")["effective"])
        return table

    def sample(
        self, patient: Any, n: int, *, errors: Mapping[str, float] | None = None, seed: int = 1
    ) -> pd.DataFrame:
        """Draw from the posterior of a patient: rows of the library by their weights, some of them again.

        Returns
        -------
        DataFrame
            As `fastcart.solve` takes it; ``draw`` is the row of the library.
        """
        weight = self.weights(patient, errors=errors)
        if not weight.any():
            raise InputError(f"No draw of the library is possible for patient {shown(patient)}; widen the prior.")
        random = np.random.default_rng((seed_of(seed), 11))
        rows = np.sort(random.choice(self.n, size=count(n, "The number of patients"), p=weight))
        table = self.draws().iloc[rows].reset_index(drop=True)
        table.insert(1, "draw", rows)
        return table.assign(patient=np.arange(len(rows)))

    def start(self, *, errors: Mapping[str, float] | None = None, iterations: int = 100) -> dict[str, float]:
        """Return estimates of a population from weights alone, a start for `fastcart.fit.population`.

        By EM: draws are weighted by the measurements and by the population, normal without correlations in
        `scales`, then the population gets the moments of all patients. Error parameters that nothing gives
        are estimated, too. Of large libraries only as many draws count as memory allows.

        Returns
        -------
        dict
            ``{"CL": 2.8, "omega_CL": 0.3, "a_cp": 0.7}``.
        """
        from fastcart.fit.prevalence import prevalence

        return prevalence(self, errors, count(iterations, "The iterations"))

    def minus2LL(self, fit: PopulationFit) -> Reweighted:  # the word of the field
        """Return -2 ln L of a population by weights, with its error: a check of a fit.

        Parameters
        ----------
        fit : PopulationFit
            Of the same data; all that it estimates has a random effect, and those parameters were drawn.

        Raises
        ------
        InputError
            For another fit.
        """
        effects, values = self._checked(fit), fit.values
        natural, given = self.draws_of_all(), dict(zip(fit.complete.effects.error_names, values.errors, strict=True))
        phi = effects.scaled(natural[:, [self.names.index(x) for x in effects.random]])
        volume = np.log(np.abs(effects.slopes(phi))).sum(axis=1)
        drawn = dict(zip(self.names, natural.T, strict=True))
        prior = log_density(self.design, {name: drawn[name] for name in effects.random})
        centers = effects.centers(values.b)
        total, variance, effective = 0.0, 0.0, np.empty(len(centers))
        for patients, found in self._blocks(given, drawn=False):
            for k, i in enumerate(patients):
                with np.errstate(invalid="ignore"):
                    weight = found[:, k] + log_prior(phi - centers[i], values.omega) - volume - prior
                one = Weighted.of(weight)
                total += one.log_mean
                variance += one.variance
                effective[i] = one.effective
        self._warn(pd.Series(effective, index=self.prepared.data.ids))
        return Reweighted(-2.0 * total, 2.0 * float(np.sqrt(variance)), effective)

    def summary(self) -> str:
        """Return in a few lines what was drawn, and what it cost."""
        groups, numbers = int(self.group.max()) + 1, self.n * self._width
        lines = [
            f"{counted(self.n, 'draw')} of {', '.join(self.names)}",
            f"{counted(self.prepared.patients, 'patient')} in {counted(groups, 'group')} that are given the "
            f"same: {self.solves} solves, {self.failed} failed; {numbers} predictions ({8e-6 * numbers:.0f} MB)",
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Library of {self.prepared.model.name!r}: {self.n} draws, {self.prepared.patients} patients>"

    @property
    def _width(self) -> int:
        return max((int(place.max(initial=-1)) + 1 for place in self._places), default=0)

    def draws_of_all(self) -> np.ndarray:
        """Return what was drawn, draws x `names`."""
        return self.design.rows(0, self.n)[list(self.names)].to_numpy()

    def log_likelihoods(
        self, patients: np.ndarray, errors: Mapping[str, float] | None = None, *, most: int | None = None,
        drawn: bool = True,
    ) -> np.ndarray:  # fmt: skip
        """Return the log-likelihood of each draw for some patients, draws x patients.

        Parameters
        ----------
        patients : ndarray of int
            Places.
        errors : mapping, optional
        most : int, optional
            Only so many draws.
        drawn : bool
            Whether error parameters that were drawn count; else ``errors`` has all.
        """
        most = self.n if most is None else min(most, self.n)
        out = np.empty((most, len(patients)))
        for part, read in self._parts:
            if part.start >= most:
                break
            values, rows = read(), np.arange(part.start, min(part.stop, most))
            error = self.errors(errors, rows if drawn else None)
            for k, i in enumerate(patients):
                found = self.predicted(values[: len(rows)], int(i))
                who = np.full(len(rows), i)
                out[rows, k] = self.prepared.density(found, who, error)
        return out

    def predicted(self, values: np.ndarray, patient: int) -> Predictions:
        """Return what rows of a part predict of one patient."""
        mine = np.ascontiguousarray(values[:, self._places[patient]])
        rows, size = mine.shape
        status = np.isnan(mine).any(axis=1).astype(np.int8)
        return Predictions(mine.ravel(), np.arange(rows + 1, dtype=np.int64) * size, status)

    def rows_of(self, draws: np.ndarray) -> np.ndarray:
        """Return what was predicted by draws, in ascending order."""
        found = [
            read()[draws[(draws >= part.start) & (draws < part.stop)] - part.start]
            for part, read in self._parts
            if ((draws >= part.start) & (draws < part.stop)).any()
        ]
        return np.concatenate(found)

    def errors(self, given: Mapping[str, float] | None, rows: np.ndarray | None) -> np.ndarray:
        """Return error parameters of some draws, rows or one row, from observations, the prior and a mapping."""
        prepared = self.prepared
        out = prepared.error_values[np.newaxis].copy()
        names = {} if given is None else given
        if not isinstance(names, Mapping):
            raise InputError(f"The errors must be a mapping such as {{'a_cp': 0.7}}, not {shown(given)}.")
        for name, value in names.items():
            if name not in prepared.error_names:
                raise InputError(
                    f"There is no error parameter {shown(name)}." + nearest(name, prepared.error_names)
                )
            size = real(value)
            if size is None or not 0 < size < np.inf:
                raise InputError(f"The error parameter {name!r} must be above 0, not {shown(value)}.")
            out[0, prepared.error_names.index(name)] = size
        mine = [x for x in self.design.columns if x in prepared.error_names]
        if mine and rows is not None:
            out = np.repeat(out, len(rows), axis=0)
            table = self.design.rows(int(rows[0]), int(rows[-1]) + 1)
            for name in mine:
                out[:, prepared.error_names.index(name)] = table[name]
        missing = np.isnan(out).any(axis=0)
        if missing.any():
            name = prepared.error_names[int(np.argmax(missing))]
            raise InputError(
                f"The error parameter {name!r} has no value: give it to the observation, as "
                f"errors={{{name!r}: ...}}, or a distribution in the prior."
            )
        return out

    def _blocks(
        self, errors: Mapping[str, float] | None, *, drawn: bool = True
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
        """Yield some patients, and log-likelihoods of all draws for them, as many as memory allows."""
        size = max(1, _WEIGHED // self.n)
        every = np.arange(self.prepared.patients)
        for k in range(0, len(every), size):
            yield every[k : k + size], self.log_likelihoods(every[k : k + size], errors, drawn=drawn)

    def _place(self, patient: Any) -> np.ndarray:
        place = id_places(np.array([patient], dtype=object), self.prepared.data.ids)
        if place[0] < 0:
            raise InputError(f"The patient {shown(patient)} is not among those of the data.")
        return place

    def _checked(self, fit: PopulationFit) -> Any:
        if not isinstance(fit, PopulationFit):
            raise InputError(
                f"A library is compared with the result of fastcart.fit.population, not {shown(fit)}."
            )
        effects, mine = fit.complete.effects, self.prepared.layout.of
        drawn = {name for name in self.names if name not in self.prepared.error_names}
        if effects.fixed or set(effects.random) != drawn:
            raise InputError(
                f"The fit has random effects of {', '.join(effects.random)}"
                f"{' and estimates ' + ', '.join(effects.fixed) + ' without' if effects.fixed else ''}; the "
                f"library draws {', '.join(sorted(drawn))}. Both must be the same, all with random effects."
            )
        theirs = fit.complete.prepared.layout.of
        if len(mine.value) != len(theirs.value) or not np.array_equal(mine.value, theirs.value):
            raise InputError("The fit has other measurements than the library.")
        return effects

    def _warn(self, effective: pd.Series) -> None:
        few = effective[effective < ENOUGH]
        if len(few):
            warnings.warn(
                f"{len(few)} of {counted(len(effective), 'patient')} have fewer than {ENOUGH:g} effective draws "
                f"(the least {few.min():.3g}, patient {id_shown(few.idxmin())}): raise n, or narrow the prior.",
                UserWarning,
                stacklevel=3,
            )


def library(
    model: str | Model,
    data: FitData,
    prior: Mapping[str, Any] | PopulationFit,
    *,
    observations: Any,
    n: int = 100_000,
    seed: int = 1,
    correlation: Any = None,
    keep: Any = None,
    threads: int | None = None,
    options: SolveOptions | None = None,
) -> Library:
    """Draw virtual patients and predict what was measured, once for all patients of the data.

    Patients that are given the same doses, and have the same values of what the model reads, share solves: 90
    patients after one infusion cost ``n`` solves, 12 patients with doses by weight 12 n.

    Parameters
    ----------
    model : str or Model
    data : FitData
    prior : mapping or PopulationFit
        Distributions as of `fastcart.sample.Design`, ``{"CL": {"log_normal": (2.8, 0.5)}}``, also of error
        parameters (``a_cp``); a number is a constant. Or a fit, whose typical values and spread are taken; the
        data's covariates do not count then.
    observations : Observation or sequence of Observation
    n : int
        Draw k is the same for every n.
    seed : int
    correlation : optional
        As of `fastcart.sample.Design`.
    keep : path, optional
        A folder for the predictions. Called again with the same inputs, it goes on where it was. Without one
        they are held in memory, at most 60 million of them (480 MB).
    threads : int, optional
        Results do not depend on it.
    options : SolveOptions, optional
        As for `fastcart.fit.prepare`.

    Returns
    -------
    Library

    Raises
    ------
    InputError
        For bad input, and where the predictions are too many for memory.
    """
    model = as_model(model)
    check_data(data, measured=True)
    listed = check_observations(observations)
    given = _of_fit(prior) if isinstance(prior, PopulationFit) else (prior, correlation)
    design = Design(given[0], n, seed=seed_of(seed), correlation=given[1])
    errors = [name for one in listed for name in one.error_names]
    design.checked(model, {name: (SMALLEST, np.inf) for name in errors})
    if all(isinstance(item, Values) for item in design.columns.values()):
        raise InputError("The prior of a library draws nothing; give at least one distribution.")
    columns = [name for name in design.columns if name not in errors]
    prepared = prepare(model, data, columns, observations=listed, threads=threads, options=options)
    one, group = grouped(data, listed, model, columns)
    solving = prepare(model, one, columns, observations=listed, threads=threads, options=options)
    kinds = {x.dvid for x in listed}
    of = data.measurements
    observed = np.flatnonzero(np.array([x in kinds for x in data.kinds], dtype=bool)[of.kind])
    offset = solving.layout.of.begin
    places = [place + offset[g] for place, g in zip(slots(data, one, group, observed), group, strict=True)]
    parts, failed = _filled(solving, design, keep, _content(prepared, design, options))
    return Library(prepared, design, places, group, parts, failed)


def _of_fit(fit: PopulationFit) -> tuple[dict[str, Any], Any]:
    """Return distributions and correlations of a fitted population."""
    effects, values = fit.complete.effects, fit.values
    if "logit" in effects.scales or effects.fixed:
        raise InputError(
            "A prior from a fit must have random effects alone, in the scales 'log' and 'normal'; give "
            "distributions."
        )
    size, kinds = np.sqrt(np.diag(values.omega)), {"log": "log_normal", "normal": "normal"}
    center = np.array([values.b[effects.coefficients.index(name)] for name in effects.random])
    natural = effects.natural(center[np.newaxis])[0]
    columns = {
        name: {kinds[scale]: (float(middle), float(sd))}
        for name, scale, middle, sd in zip(effects.random, effects.scales, natural, size, strict=False)
    }
    pairs = {
        (effects.random[j], effects.random[k]): float(values.omega[j, k] / size[j] / size[k])
        for j, k in effects.pairs
    }
    return columns, pairs


def _content(prepared: PreparedLikelihood, design: Design, options: Any) -> dict[str, Any]:
    data = prepared.data
    return {
        "model": describe_model(prepared.model),
        "data": {
            "ids": plain(data.ids), "measurements": plain(vars(data.measurements)),
            "doses": plain(data.doses), "covariates": plain(data.covariates),
        },
        "observations": [[one.dvid, plain(one.prediction)] for one in prepared.observations],
        "options": plain(options), "prior": design.describe(), **environment(),
    }  # fmt: skip


def _filled(
    solving: PreparedLikelihood, design: Design, keep: Any, content: dict[str, Any]
) -> tuple[list[tuple[Part, Callable[[], np.ndarray]]], int]:
    """Solve all parts; return what reads each of them, and how many solves failed."""
    width = max(1, len(solving.layout.of.value))
    if keep is None and design.size * width > _HELD:
        raise InputError(
            f"{design.size} draws x {width} predictions are more than memory holds ({_HELD}): keep them in a "
            f"folder (keep=..., {8e-9 * design.size * width:.1f} GB), or draw at most {_HELD // width}."
        )
    every = np.arange(solving.patients)
    columns = list(solving.columns)

    def solve(part: Part) -> dict[str, np.ndarray]:
        theta = design.rows(part.start, part.stop)[columns].to_numpy()
        found, failed = [], 0
        for g in every:
            one = solving.predictions(theta, np.full(len(theta), g))
            found.append(one.values.reshape(len(theta), -1))
            failed += int(np.count_nonzero(one.status))
        return {"predicted": np.hstack(found), "failed": np.array(failed)}

    wanted = chunks(design.size, max(64, _NUMBERS // width))
    parts, failed = {}, 0
    with ExitStack() as stack:
        files = None
        if keep is not None:
            run = stack.enter_context(open_run(keep, Manifest("library", content), resume=True, owns=OWNS))
            files = PartFiles(run, _PART, encode_arrays, _failed_of_file, wanted=_failed)
        for part, kept in stream(wanted, here(solve), files=files):
            failed += kept if files is not None else _failed(kept)
            if files is None:
                parts[part] = partial(_same, kept["predicted"])
            else:
                parts[part] = partial(_predicted, run.path(_PART.format(part.number)))
    return [(part, parts[part]) for part in wanted], failed


def _same(values: np.ndarray) -> np.ndarray:
    return values


def _predicted(path: Path) -> np.ndarray:
    return decode_arrays(path)["predicted"]


def _failed(part: Mapping[str, np.ndarray]) -> int:
    return int(part["failed"])


def _failed_of_file(path: Path) -> int:
    with np.load(path) as file:  # without its predictions
        return int(file["failed"])
