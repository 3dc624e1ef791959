"""Virtual patients with their predictions at the times of data: weights, posteriors, starts, checks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.checks import count, real, seed_of, shown
from fastcart.errors import InputError, counted, nearest
from fastcart.fit.likelihood import PreparedLikelihood
from fastcart.fit.population_fit import PopulationFit
from fastcart.fit.predictions import Predictions
from fastcart.fit.proposals import log_prior
from fastcart.fit.reweighting import ENOUGH, Weighted, posterior_rows
from fastcart.representation import section
from fastcart.runs.chunks import Chunk as Part
from fastcart.sampling.columns import Values
from fastcart.sampling.density import log_density
from fastcart.sampling.design import Design
from fastcart.tables.ids import id_places, id_shown

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
            raise InputError(
                f"No draw of the library is possible for patient {shown(patient)}; widen the prior."
            )
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
        natural, given = self.draws_of_all(), dict(zip(effects.error_names, values.errors, strict=True))
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
            f"same: {self.solves} solves, {self.failed} failed; {numbers} predictions "
            f"({8e-6 * numbers:.0f} MB)",
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the summary in a notebook."""
        return section("Library", [f"<pre>{escape(self.summary())}</pre>"])

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
        """Return error parameters of some draws, or one row: of observations, the prior, a mapping."""
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
                f"{len(few)} of {counted(len(effective), 'patient')} have fewer than {ENOUGH:g} effective "
                f"draws (the least {few.min():.3g}, patient {id_shown(few.idxmin())}): raise n, or narrow "
                "the prior.",
                UserWarning,
                stacklevel=3,
            )
